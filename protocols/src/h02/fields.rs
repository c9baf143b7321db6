//! The fields of a sentence, and what is written in them.

use nom::bytes::complete::{tag, take_till};
use nom::combinator::opt;
use nom::sequence::terminated;

use crate::cursor::{Cursor, ParserError};
use crate::fault::{Fault, FaultKind};
use crate::parts::geo;
use crate::time::{Civil, Timestamp};

/// Reads fields that stand between commas.
#[derive(Debug)]
pub(super) struct Fields<'f, 'c, 't> {
    pub(super) c: &'c mut Cursor<'f, 't>,
}

impl<'f> Fields<'f, '_, '_> {
    /// The next field without the white space around it; `None` behind the last.
    pub(super) fn next(&mut self, name: &str) -> Option<&'f [u8]> {
        if self.c.remaining() == 0 {
            return None;
        }
        let field = take_till::<_, &[u8], ParserError<'_>>(|b| b == b',');
        let raw = self.c.read(name, terminated(field, opt(tag(&b","[..])))).ok()?;
        self.c.show(|| String::from_utf8_lossy(raw).into_owned());
        Some(raw.trim_ascii())
    }

    /// The next field, which must be there.
    ///
    /// # Errors
    /// `Truncated` behind the last.
    pub(super) fn need(&mut self, name: &str) -> Result<&'f [u8], Fault> {
        self.next(name).ok_or_else(|| self.c.fault_here(FaultKind::Truncated, format!("no {name}")))
    }

    /// The next field as a number; nothing where it is empty.
    ///
    /// # Errors
    /// `Value` if it is anything else.
    pub(super) fn number(&mut self, name: &str) -> Result<Option<f64>, Fault> {
        let at = self.c.offset();
        let field = self.need(name)?;
        if field.is_empty() {
            return Ok(None);
        }
        number(field).map(Some).ok_or_else(|| no_such(at, name, field))
    }

    /// The next field as a whole number in so many digits to the base.
    ///
    /// # Errors
    /// `Value` if it is anything else, `Truncated` if there is none.
    pub(super) fn whole<T: TryFrom<u64>>(&mut self, name: &str, base: u32) -> Result<T, Fault> {
        let at = self.c.offset();
        let field = self.need(name)?;
        whole(field, base).ok_or_else(|| no_such(at, name, field))
    }

    /// What the next field would be.
    pub(super) fn peek(&self) -> Option<&'f [u8]> {
        self.ahead().next()
    }

    /// The fields that have not been read, without reading them.
    pub(super) fn ahead(&self) -> impl Iterator<Item = &'f [u8]> + use<'f> {
        let rest = self.c.rest();
        let fields = (!rest.is_empty()).then(|| rest.split(|b| *b == b','));
        fields.into_iter().flatten().map(<[u8]>::trim_ascii)
    }
}

/// A field that cannot be what it should be.
pub(super) fn no_such(at: usize, name: &str, field: &[u8]) -> Fault {
    Fault::new(FaultKind::Value, at, format!("`{}` is no {name}", field.escape_ascii()))
}

/// A decimal number of at most 18 digits, perhaps signed.
pub(super) fn number(text: &[u8]) -> Option<f64> {
    /// What fits a `u64` for certain.
    const DIGITS: usize = 18;
    let (negative, digits) = match text {
        [b'-', rest @ ..] => (true, rest),
        [b'+', rest @ ..] => (false, rest),
        _ => (false, text),
    };
    let (mut mantissa, mut scale, mut count, mut point) = (0_u64, 1.0, 0, false);
    for b in digits {
        match b {
            b'0'..=b'9' if count < DIGITS => {
                mantissa = mantissa * 10 + u64::from(b - b'0');
                count += 1;
                if point {
                    scale *= 10.0;
                }
            }
            b'.' if !point => point = true,
            _ => return None,
        }
    }
    let size = mantissa as f64 / scale;
    (count > 0).then_some(if negative { -size } else { size })
}

/// A whole number without a sign.
pub(super) fn whole<T: TryFrom<u64>>(text: &[u8], base: u32) -> Option<T> {
    if text.is_empty() {
        return None;
    }
    let add = |n: u64, b: &u8| n.checked_mul(u64::from(base))?.checked_add(u64::from(char::from(*b).to_digit(base)?));
    T::try_from(text.iter().try_fold(0, add)?).ok()
}

/// Degrees without a sign: `DDMM.MMMM`, where zero degrees may be left out; `DDMMmmmm` without a point; or `-DD-MM.MMMM`.
pub(super) fn coordinate(text: &[u8]) -> Option<f64> {
    /// Digits of a compact latitude without its leading zero.
    const COMPACT: usize = 7;
    let (degrees, minutes) = match text {
        [b'-', rest @ ..] if rest.contains(&b'-') => {
            let dash = rest.iter().position(|b| *b == b'-')?;
            let (degrees, minutes) = rest.split_at_checked(dash)?;
            (f64::from(whole::<u16>(degrees, 10)?), number(minutes.get(1..)?)?)
        }
        _ => {
            let digits = text.strip_prefix(b"-").unwrap_or(text);
            if !digits.first().is_some_and(u8::is_ascii_digit) {
                return None;
            }
            let compact = digits.len() >= COMPACT && digits.iter().all(u8::is_ascii_digit);
            let both = number(digits)? / if compact { 1e4 } else { 1.0 };
            let degrees = (both / 100.0).trunc();
            (degrees, both - degrees * 100.0)
        }
    };
    (0.0..60.0).contains(&minutes).then(|| geo::round(degrees + minutes / 60.0, 7))
}

/// Six digits, two by two.
pub(super) fn pairs(text: &[u8]) -> Option<[u8; 3]> {
    let six = text.first_chunk::<6>().filter(|_| text.len() == 6 && text.iter().all(u8::is_ascii_digit))?;
    let [a, b, c, d, e, f] = six.map(|digit| digit - b'0');
    Some([a * 10 + b, c * 10 + d, e * 10 + f])
}

/// The instant of a time `hhmmss` and a date `ddmmyy`, if there is one.
pub(super) fn instant([hour, minute, second]: [u8; 3], [day, month, year]: [u8; 3], offset_s: i32) -> Option<Timestamp> {
    Timestamp::from_civil(Civil::from_six([year, month, day, hour, minute, second]), offset_s)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers() {
        assert_eq!(number(b"000.27"), Some(0.27));
        assert_eq!(number(b"-3"), Some(-3.0));
        assert_eq!(number(b"7."), Some(7.0));
        for no in [b"".as_slice(), b".", b"-", b"1x", b"1.2.3", b"1234567890123456789"] {
            assert_eq!(number(no), None, "{}", no.escape_ascii());
        }
        assert_eq!(whole::<u16>(b"010278", 10), Some(10278));
        assert_eq!(whole::<u32>(b"02DE", 16), Some(734));
        assert_eq!(whole::<u8>(b"300", 10), None);
        assert_eq!(whole::<u64>(b"-1", 10), None);
        assert_eq!(whole::<u64>(b"99999999999999999999", 10), None);
    }

    #[test]
    fn coordinates_of_every_form() {
        let near =
            |text: &[u8], degrees: f64| assert!((coordinate(text).unwrap() - degrees).abs() < 1e-6, "{}", text.escape_ascii());
        near(b"2235.1777", 22.586295);
        near(b"11357.8913", 113.964855);
        near(b"38.6508", 0.64418);
        near(b"701.8915", 7.031525);
        near(b"-23-35.3408", 23.5890133);
        near(b"-48-2.8926", 48.04821);
        near(b"-2335.3408", 23.5890133);
        near(b"22351777", 22.586295);
        near(b"113578913", 113.964855);
    }

    #[test]
    fn refuses_coordinates_that_are_not() {
        for no in [b"".as_slice(), b"2260.0000", b"N", b"-", b"--1", b"-23-", b"+2235.1777", b"22:35"] {
            assert_eq!(coordinate(no), None, "{}", no.escape_ascii());
        }
    }

    #[test]
    fn times() {
        assert_eq!(pairs(b"164549"), Some([16, 45, 49]));
        assert_eq!(pairs(b"16454"), None);
        assert_eq!(pairs(b"16454x"), None);
        assert_eq!(instant([16, 45, 49], [1, 3, 26], 0).unwrap().to_string(), "2026-03-01T16:45:49.000Z");
        assert_eq!(instant([16, 1, 69], [1, 3, 26], 0), None);
        assert_eq!(instant([0, 0, 0], [0, 0, 0], 0), None);
    }
}
