//! The fields between commas, read one by one; who wants to look is told which bytes were which field.

use std::fmt;

use crate::cursor::{Field, Trace};

/// Most fields that are told apart; what is behind stays with the last. The longest message of the documents has 19, one with the
/// tyres of a lorry and its trailer more.
const MAX_FIELDS: usize = 80;

/// Reads forward through the fields of a message.
#[derive(Debug)]
pub(super) struct Fields<'f, 't> {
    text: &'f str,
    /// Where each field starts, found in one go; behind the last stands where one more would.
    starts: [u16; MAX_FIELDS + 1],
    count: usize,
    /// How many are read.
    read: usize,
    /// Where the text starts in the frame.
    base: usize,
    trace: Option<&'t mut Trace>,
}

impl<'f, 't> Fields<'f, 't> {
    /// Over `text`, which starts `base` bytes into the frame.
    pub(super) fn new(text: &'f str, base: usize, trace: Option<&'t mut Trace>) -> Self {
        let mut starts = [0; MAX_FIELDS + 1];
        let mut slots = starts.iter_mut().skip(1);
        let mut count = 1;
        for (at, byte) in text.bytes().enumerate() {
            if byte == b',' && count < MAX_FIELDS {
                if let Some(slot) = slots.next() {
                    *slot = u16::try_from(at + 1).unwrap_or(u16::MAX);
                }
                count += 1;
            }
        }
        if let Some(slot) = slots.next() {
            *slot = u16::try_from(text.len() + 1).unwrap_or(u16::MAX);
        }
        Self { text, starts, count, read: 0, base, trace }
    }

    /// Where this field starts.
    fn start(&self, n: usize) -> usize {
        self.starts.get(n).copied().map_or(usize::MAX, usize::from)
    }

    fn get(&self, n: usize) -> Option<&'f str> {
        if n >= self.count {
            return None;
        }
        self.text.get(self.start(n)..self.start(n + 1) - 1).map(str::trim_ascii)
    }

    /// The next field; `None` when none is left. An empty field is one.
    pub(super) fn next(&mut self, name: &str) -> Option<&'f str> {
        let field = self.get(self.read)?;
        if self.trace.is_some() {
            self.record(name, self.start(self.read), self.start(self.read + 1), field);
        }
        self.read += 1;
        Some(field)
    }

    /// Tell who wants to look of what stands there, the comma behind it included.
    fn record(&mut self, name: &str, start: usize, end: usize, value: &str) {
        let (start, end) = (self.base + start, self.base + end.min(self.text.len()));
        if let Some(trace) = self.trace.as_mut().filter(|_| start < end) {
            trace.fields.push(Field { span: start..end, name: name.to_owned(), value: value.to_owned() });
        }
    }

    /// The next field as a number; `None` if it is none.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        self.next(name).and_then(number)
    }

    /// The field `n` behind the next one, without reading it.
    pub(super) fn peek(&self, n: usize) -> Option<&'f str> {
        self.get(self.read + n)
    }

    /// All that is left.
    pub(super) fn rest(&self) -> Option<&'f str> {
        if self.read < self.count { self.text.get(self.start(self.read)..) } else { None }
    }

    /// All that is left, as one field; `None` if that is nothing but commas.
    pub(super) fn take_rest(&mut self, name: &str) -> Option<&'f str> {
        const FILL: [char; 2] = [',', ' '];
        let whole = self.rest()?;
        let rest = whole.trim_matches(FILL);
        self.record(name, self.text.len() - whole.len(), self.text.len(), rest);
        self.read = self.count;
        if rest.is_empty() { None } else { Some(rest) }
    }

    /// Say what the field just read means; the closure runs only when somebody looks.
    pub(super) fn note<D: fmt::Display>(&mut self, meaning: impl FnOnce() -> D) {
        if let Some(field) = self.trace.as_mut().and_then(|t| t.fields.last_mut()) {
            field.value = format!("{}  {}", field.value, meaning());
        }
    }

    /// A title for the message.
    pub(super) fn title(&mut self, title: impl FnOnce() -> String) {
        if let Some(trace) = &mut self.trace {
            trace.title = title();
        }
    }
}

/// Digits behind which a number is no longer exact in the mantissa of an `f64`.
const EXACT_DIGITS: usize = 15;
/// Powers of ten that an `f64` has exactly, as many as there are digits.
const TENS: [f64; EXACT_DIGITS + 1] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];

/// A decimal number with a sign or without; what else Rust takes for a number is none here. Two exact numbers divided are
/// rounded once, as the parser of the standard library does it.
pub(super) fn number(text: &str) -> Option<f64> {
    let (negative, digits) = match text.as_bytes() {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        all => (false, all),
    };
    let (mut mantissa, mut count, mut decimals) = (0_u64, 0, None);
    for byte in digits {
        match byte {
            b'0'..=b'9' if count < EXACT_DIGITS => {
                mantissa = mantissa * 10 + u64::from(byte - b'0');
                count += 1;
                decimals = decimals.map(|n| n + 1);
            }
            b'.' if decimals.is_none() => decimals = Some(0),
            // more digits than any field has
            _ => return None,
        }
    }
    let scale = TENS.get(decimals.unwrap_or(0))?;
    let value = mantissa as f64 / scale;
    (count > 0).then_some(if negative { -value } else { value })
}

/// A number with or without a percent sign behind it.
pub(super) fn percent(text: &str) -> Option<f64> {
    number(text.strip_suffix('%').unwrap_or(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_and_their_places() {
        let mut trace = Trace::default();
        let mut fields = Fields::new("tracker,, 5 ,,1;2,,", 21, Some(&mut trace));
        assert_eq!((fields.peek(0), fields.peek(2), fields.peek(7)), (Some("tracker"), Some("5"), None));
        assert_eq!(fields.next("keyword"), Some("tracker"));
        assert_eq!(fields.next("local_time"), Some(""));
        assert_eq!(fields.number("phone"), Some(5.0));
        fields.note(|| "five");
        assert_eq!(fields.take_rest("rest"), Some("1;2"));
        assert_eq!((fields.next("none"), fields.take_rest("none")), (None, None));
        let shown: Vec<_> = trace.fields.iter().map(|f| (f.span.clone(), f.name.as_str(), f.value.as_str())).collect();
        let expected =
            [(21..29, "keyword", "tracker"), (29..30, "local_time", ""), (30..34, "phone", "5  five"), (34..40, "rest", "1;2")];
        assert_eq!(shown, expected);
    }

    #[test]
    fn accepts_numbers() {
        assert_eq!(["+28.0", "-5", "0012.50", ".5"].map(number), [Some(28.0), Some(-5.0), Some(12.5), Some(0.5)]);
        assert_eq!(["51.93%", "42.350", "100%"].map(percent), [Some(51.93), Some(42.35), Some(100.0)]);
    }

    #[test]
    fn numbers_are_those_of_the_standard_library() {
        for text in [
            "2232.5716",
            "11403.4736",
            "0.025",
            "65.26",
            "271.82",
            "9246.30767",
            "22.542860",
            "-114.057893",
            "0.1",
            "999999999999999",
        ] {
            assert_eq!(number(text), text.parse().ok(), "{text}");
        }
    }

    #[test]
    fn fields_that_are_too_many_stay_with_the_last() {
        let text = "1,".repeat(MAX_FIELDS + 5);
        let mut fields = Fields::new(&text, 0, None);
        let read: Vec<_> = std::iter::from_fn(|| fields.next("field")).collect();
        assert_eq!((read.len(), read.concat().len()), (MAX_FIELDS, MAX_FIELDS - 1 + 1 + 2 * 5 + 1));
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "+", ".", "-.", "+-1", "inf", "NaN", "1e5", "1 2", "1.2.3", "é", "1234567890123456"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(percent("%"), None);
    }
}
