//! The fields between commas, read one by one; who wants to look is told which bytes were which field.

use std::fmt;

use crate::cursor::{Field, Trace};

/// Reads forward through the fields of a message.
#[derive(Debug)]
pub(super) struct Fields<'f, 't> {
    text: &'f str,
    /// Where the next field starts; behind the text when none is left.
    at: usize,
    /// Where the text starts in the frame.
    base: usize,
    trace: Option<&'t mut Trace>,
}

impl<'f, 't> Fields<'f, 't> {
    /// Over `text`, which starts `base` bytes into the frame.
    pub(super) fn new(text: &'f str, base: usize, trace: Option<&'t mut Trace>) -> Self {
        Self { text, at: 0, base, trace }
    }

    /// The next field; `None` when none is left. An empty field is one.
    pub(super) fn next(&mut self, name: &str) -> Option<&'f str> {
        let rest = self.rest()?;
        let field = rest.split_once(',').map_or(rest, |(field, _)| field);
        if let Some(trace) = &mut self.trace
            && !field.is_empty()
        {
            let start = self.base + self.at;
            let span = start..start + field.len();
            trace.fields.push(Field { span, name: name.to_owned(), value: field.trim().to_owned() });
        }
        self.at += field.len() + 1;
        Some(field.trim())
    }

    /// The next field as a number; `None` if it is none.
    pub(super) fn number(&mut self, name: &str) -> Option<f64> {
        self.next(name).and_then(number)
    }

    /// The field `n` behind the next one, without reading it.
    pub(super) fn peek(&self, n: usize) -> Option<&'f str> {
        self.rest()?.split(',').nth(n).map(str::trim)
    }

    /// All that is left.
    pub(super) fn rest(&self) -> Option<&'f str> {
        self.text.get(self.at..)
    }

    /// All that is left, as one field; `None` if that is nothing but commas.
    pub(super) fn take_rest(&mut self, name: &str) -> Option<&'f str> {
        let rest = self.rest()?.trim_matches([',', ' ']);
        let at = self.base + self.text.len() - self.rest()?.trim_start_matches([',', ' ']).len();
        self.at = self.text.len() + 1;
        if rest.is_empty() {
            return None;
        }
        if let Some(trace) = &mut self.trace {
            trace.fields.push(Field { span: at..at + rest.len(), name: name.to_owned(), value: rest.to_owned() });
        }
        Some(rest)
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

/// A decimal number with a sign or without; what else Rust takes for a number is none here.
pub(super) fn number(text: &str) -> Option<f64> {
    let plain = !text.is_empty() && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'+' | b'-'));
    if plain { text.parse().ok() } else { None }
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
        assert_eq!(shown, [(21..28, "keyword", "tracker"), (30..33, "phone", "5  five"), (35..38, "rest", "1;2")]);
    }

    #[test]
    fn accepts_numbers() {
        assert_eq!(["+28.0", "-5", "0012.50", ".5"].map(number), [Some(28.0), Some(-5.0), Some(12.5), Some(0.5)]);
        assert_eq!(["51.93%", "42.350", "100%"].map(percent), [Some(51.93), Some(42.35), Some(100.0)]);
    }

    #[test]
    fn refuses_what_is_no_number() {
        for text in ["", "+", "inf", "NaN", "1e5", "1 2", "1.2.3", "é"] {
            assert_eq!(number(text), None, "{text}");
        }
        assert_eq!(percent("%"), None);
    }
}
