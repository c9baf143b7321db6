//! Reading fields out of a frame with nom, once, for two purposes: the values, and (when somebody wants to look) which
//! bytes were which field. Because `navgate decode` shows what this very code read, the explanation cannot drift.

use std::fmt::{self, Write};
use std::ops::Range;

use nom::Parser;
use nom::error::{Error, ErrorKind, ParseError};

use crate::fault::{Fault, FaultKind};

/// The error type all our parsers use: nom's smallest.
pub type ParserError<'a> = Error<&'a [u8]>;

/// One field of a frame, for a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Field {
    /// Where the field lies in the frame's content.
    pub span: Range<usize>,
    /// Its name, with the unit where it has one.
    pub name: String,
    /// The value as read, then what it means.
    pub value: String,
}

/// The fields of one frame in the order read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trace {
    /// The content that the spans refer to: unescaped, with marks and checksum.
    pub content: Vec<u8>,
    /// A title for the frame, e.g. `0x0200 location report`.
    pub title: String,
    /// The fields.
    pub fields: Vec<Field>,
}

/// Reads forward through bytes; every failure knows the offset and the field's name.
#[derive(Debug)]
pub struct Cursor<'a, 't> {
    input: &'a [u8],
    at: usize,
    base: usize,
    trace: Option<&'t mut Trace>,
}

impl<'a, 't> Cursor<'a, 't> {
    /// Over `input`, which starts `base` bytes into the frame's content.
    pub fn new(input: &'a [u8], base: usize, trace: Option<&'t mut Trace>) -> Self {
        Self { input, at: 0, base, trace }
    }

    /// What has not been read.
    pub fn rest(&self) -> &'a [u8] {
        self.input.get(self.at..).unwrap_or_default()
    }

    /// How many bytes have not been read.
    pub fn remaining(&self) -> usize {
        self.input.len().saturating_sub(self.at)
    }

    /// Offset of the next byte in the frame's content.
    pub fn offset(&self) -> usize {
        self.base + self.at
    }

    /// Run a nom parser on the rest and name what it read.
    ///
    /// # Errors
    /// `Truncated` if the parser ran out of bytes, `Value` if it refused them.
    pub fn read<T: fmt::Debug, P>(&mut self, name: &str, mut parser: P) -> Result<T, Fault>
    where
        P: Parser<&'a [u8], Output = T, Error = ParserError<'a>>,
    {
        let before = self.rest();
        match parser.parse_complete(before) {
            Ok((after, value)) => {
                let used = before.len() - after.len();
                let start = self.offset();
                if let Some(trace) = &mut self.trace {
                    let span = start..start + used;
                    trace.fields.push(Field { span, name: name.to_owned(), value: format!("{value:?}") });
                }
                self.at += used;
                Ok(value)
            }
            Err(error) => Err(self.fault(name, error)),
        }
    }

    /// Like [`Cursor::read`], and the value must be this long: `n` bytes, borrowed.
    ///
    /// # Errors
    /// `Truncated` if there are fewer.
    pub fn bytes(&mut self, name: &str, n: usize) -> Result<&'a [u8], Fault> {
        let start = self.at;
        let Some(bytes) = self.rest().get(..n) else {
            return Err(self.short(name, n));
        };
        self.at = start + n;
        if let Some(trace) = &mut self.trace {
            let span = self.base + start..self.base + start + n;
            trace.fields.push(Field { span, name: name.to_owned(), value: hex(bytes) });
        }
        Ok(bytes)
    }

    /// Everything that is left, as one field; nothing is recorded if nothing is left.
    pub fn take_rest(&mut self, name: &str) -> &'a [u8] {
        let n = self.remaining();
        if n == 0 {
            return &[];
        }
        self.bytes(name, n).unwrap_or_default()
    }

    /// Say what the field just read means; the closure runs only when somebody looks.
    pub fn note<D: fmt::Display>(&mut self, meaning: impl FnOnce() -> D) {
        if let Some(field) = self.trace.as_mut().and_then(|t| t.fields.last_mut()) {
            let _ = write!(field.value, "  {}", meaning());
        }
    }

    /// Replace the shown value of the field just read (e.g. text instead of its bytes).
    pub fn show<D: fmt::Display>(&mut self, value: impl FnOnce() -> D) {
        if let Some(field) = self.trace.as_mut().and_then(|t| t.fields.last_mut()) {
            field.value = value().to_string();
        }
    }

    /// A cursor over the next `n` bytes, which this one then has behind it: for length-prefixed parts.
    ///
    /// # Errors
    /// `Truncated` if there are fewer.
    pub fn sub(&mut self, name: &str, n: usize) -> Result<Cursor<'a, '_>, Fault> {
        let base = self.offset();
        let Some(input) = self.rest().get(..n) else {
            return Err(self.short(name, n));
        };
        self.at += n;
        Ok(Cursor { input, at: 0, base, trace: self.trace.as_deref_mut() })
    }

    /// A fault of this kind at the present offset.
    pub fn fault_here(&self, kind: FaultKind, detail: impl Into<std::borrow::Cow<'static, str>>) -> Fault {
        Fault::new(kind, self.offset(), detail)
    }

    fn short(&self, name: &str, n: usize) -> Fault {
        let left = self.remaining();
        self.fault_here(FaultKind::Truncated, format!("{name} needs {n} bytes, {left} left"))
    }

    fn fault(&self, name: &str, error: nom::Err<ParserError<'a>>) -> Fault {
        match error {
            nom::Err::Incomplete(_) => self.fault_here(FaultKind::Truncated, format!("{name} needs more bytes")),
            nom::Err::Error(e) | nom::Err::Failure(e) => match e.code {
                ErrorKind::Eof => {
                    self.fault_here(FaultKind::Truncated, format!("{name} needs more than the {} bytes left", self.remaining()))
                }
                code => self.fault_here(FaultKind::Value, format!("{name} cannot be read: {}", code.description())),
            },
        }
    }
}

/// A nom error saying that the value is impossible: for our own parsers.
pub fn refuse<T>(input: &[u8]) -> nom::IResult<&[u8], T> {
    Err(nom::Err::Error(ParserError::from_error_kind(input, ErrorKind::Verify)))
}

/// Lower-case hex without separators.
pub fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    push_hex(&mut text, bytes);
    text
}

/// Append lower-case hex.
pub fn push_hex(text: &mut String, bytes: &[u8]) {
    const DIGITS: [char; 16] = ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'a', 'b', 'c', 'd', 'e', 'f'];
    for byte in bytes {
        for digit in [byte >> 4, byte & 15] {
            text.push(DIGITS.get(usize::from(digit)).copied().unwrap_or('0'));
        }
    }
}

/// Bytes from hex text; white space is skipped. `None` if it is not whole hex bytes.
pub fn unhex(text: &str) -> Option<Vec<u8>> {
    let mut digits = text.bytes().filter(|b| !b.is_ascii_whitespace()).map(|b| char::from(b).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len() / 2);
    while let Some(high) = digits.next() {
        let low = digits.next()?;
        bytes.push(u8::try_from(high? << 4 | low?).ok()?);
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nom::number::complete::{be_u8, be_u16};

    #[test]
    fn values_and_their_bytes() {
        let mut trace = Trace::default();
        let mut c = Cursor::new(&[1, 2, 3, 4], 10, Some(&mut trace));
        assert_eq!(c.read("kind", be_u8), Ok(1));
        assert_eq!(c.read("speed_kmh", be_u16), Ok(0x0203));
        c.note(|| "51.5 km/h");
        assert_eq!(c.take_rest("rest"), [4]);
        let shown: Vec<_> = trace.fields.iter().map(|f| (f.span.clone(), f.name.as_str(), f.value.as_str())).collect();
        assert_eq!(shown, [(10..11, "kind", "1"), (11..13, "speed_kmh", "515  51.5 km/h"), (13..14, "rest", "04")]);
    }

    #[test]
    fn faults_say_where_and_what() {
        let mut c = Cursor::new(&[1], 12, None);
        let fault = c.read("altitude_m", be_u16).unwrap_err();
        assert_eq!((fault.kind, fault.offset), (FaultKind::Truncated, 12));
        assert!(fault.detail.contains("altitude_m"));
        assert_eq!(c.bytes("tail", 2).unwrap_err().detail, "tail needs 2 bytes, 1 left");
    }

    #[test]
    fn hex_round_trip() {
        assert_eq!(unhex("00 fF\n7e"), Some(vec![0, 0xFF, 0x7E]));
        assert_eq!(unhex("0"), None);
        assert_eq!(unhex("zz"), None);
        assert_eq!(hex(&[0, 0xFF, 0x7E]), "00ff7e");
    }
}
