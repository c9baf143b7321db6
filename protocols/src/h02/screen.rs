//! Text for the dispatch screen: every character takes two bytes, ASCII behind a zero, Chinese as GBK has it.

use crate::fault::{Fault, FaultKind};
use crate::h02::downlink::{number, numeral};
use crate::h02::fields::Fields;
use crate::parts::text;
use crate::profile::Charset;

/// Most bytes of a text. No document says what the screen holds; a sentence of either direction is within 1 KiB, and so is this.
pub(super) const MAX_SCREEN: usize = 900;

/// The second parameter of `I1`, which no document explains.
const P2: u32 = 0;

/// A text as the screen gets it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct ScreenText {
    p2: u32,
    units: Vec<u8>,
}

impl ScreenText {
    /// As much of a text in GBK as fits, and whether that is all of it.
    pub(super) fn new(gbk: &[u8]) -> (Self, bool) {
        let mut units = Vec::with_capacity(gbk.len() * 2);
        let mut rest = gbk;
        while let [first, after @ ..] = rest {
            if units.len() + 2 > MAX_SCREEN {
                break;
            }
            let (unit, after) = match (first, after) {
                (0x81..=0xFE, [second, after @ ..]) => ([*first, *second], after),
                (b' '..=b'~', _) => ([0, *first], after),
                // line feeds, and the one byte of GBK that is neither ASCII nor the first of two
                (b'\n', _) => ([0, b' '], after),
                _ => ([0, b'?'], after),
            };
            units.extend_from_slice(&unit);
            rest = after;
        }
        (Self { p2: P2, units }, rest.is_empty())
    }

    /// The text for a person.
    fn text(&self) -> String {
        let mut plain = Vec::with_capacity(self.units.len());
        for unit in self.units.chunks(2) {
            match *unit {
                [0, ascii] => plain.push(ascii),
                _ => plain.extend_from_slice(unit),
            }
        }
        text::decode(&plain, Charset::Gbk)
    }

    /// `,P2,0,length,text`.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        numeral(out, self.p2);
        numeral(out, 0);
        numeral(out, u32::try_from(self.units.len()).unwrap_or(0));
        out.push(b',');
        out.extend_from_slice(&self.units);
    }

    /// Read it again, behind the time.
    ///
    /// # Errors
    /// A length that is not that of the text.
    pub(super) fn read(f: &mut Fields<'_, '_, '_>) -> Result<Self, Fault> {
        let p2 = number(f, "p2")?;
        number(f, "zero")?;
        let at = f.c.offset();
        let length = usize::try_from(number(f, "length")?).unwrap_or(usize::MAX);
        if length > MAX_SCREEN || length % 2 != 0 {
            return Err(Fault::new(
                FaultKind::Length,
                at,
                format!("a text of {length} bytes; two for each character, at most {MAX_SCREEN}"),
            ));
        }
        let units = f.c.bytes("text", length)?.to_vec();
        f.c.take_rest("end");
        Ok(Self { p2, units })
    }
}

impl std::fmt::Debug for ScreenText {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?}", self.text())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;

    fn written(text: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        ScreenText::new(text).0.write(&mut out);
        out
    }

    #[test]
    fn characters_take_two_bytes() {
        assert_eq!(written(b"A\xBE\xA9"), b",0,0,4,\0A\xBE\xA9");
        assert_eq!(ScreenText::new(b"A\n\x80\xBE").0.text(), "A ??");
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let (text, whole) = ScreenText::new(&b"\xBE\xA9".repeat(1000));
        assert!(!whole);
        assert_eq!(text.text().chars().count(), MAX_SCREEN / 2);
    }

    #[test]
    fn refuses_lengths_that_are_not() {
        let read = |bytes: &[u8]| ScreenText::read(&mut Fields { c: &mut Cursor::new(bytes, 0, None) });
        assert_eq!(read(b"0,0,4,\0A\xBE\xA9").unwrap().text(), "A京");
        assert_eq!(read(b"0,0,3,abc").unwrap_err().kind, FaultKind::Length);
        assert_eq!(read(b"0,0,2000,abc").unwrap_err().kind, FaultKind::Length);
        assert_eq!(read(b"0,0,4,ab").unwrap_err().kind, FaultKind::Truncated);
    }
}
