//! Frames between flags, escaped, with one check byte: how JT/T 808 and JT/T 905 lie on the wire.
//!
//! The flag byte is a separator, not a bracket: units share one between two frames, double it, or lose one. A slice behind
//! a flag is a frame whatever its checksum says; a slice without an opening flag is one only if it is a message beyond
//! doubt, because noise between frames must not become a reject of its own kind.

use super::checksum::xor;
use crate::fault::{Fault, FaultKind};
use crate::wire::{Checksum, Cut, Frame};

/// How a form marks and escapes its frames.
#[derive(Debug)]
pub struct Marks {
    /// Stands before and behind a frame.
    pub flag: u8,
    /// Lead byte, second byte, and the byte they stand for.
    pub escapes: &'static [(u8, u8, u8)],
}

/// The marks of the standards.
pub static STANDARD: Marks = Marks { flag: 0x7E, escapes: &[(0x7D, 0x02, 0x7E), (0x7D, 0x01, 0x7D)] };

const NO_FRAME: &str = "bytes between frames";

impl Marks {
    fn is_lead(&self, byte: u8) -> bool {
        self.escapes.iter().any(|(lead, ..)| *lead == byte)
    }

    /// The bytes without their escapes, borrowed where there are none.
    ///
    /// # Errors
    /// `Escape` where a lead byte begins nothing.
    pub fn unescape<'b>(&self, inside: &'b [u8], scratch: &'b mut Vec<u8>) -> Result<&'b [u8], Fault> {
        let plain = match self.escapes {
            [(lead, ..), rest @ ..] if rest.iter().all(|(other, ..)| other == lead) => find(inside, *lead).is_none(),
            _ => !inside.iter().any(|b| self.is_lead(*b)),
        };
        if plain {
            return Ok(inside);
        }
        scratch.clear();
        let mut bytes = inside.iter().copied();
        while let Some(byte) = bytes.next() {
            if !self.is_lead(byte) {
                scratch.push(byte);
                continue;
            }
            let second = bytes.next();
            let Some((.., meant)) = self.escapes.iter().find(|(l, s, _)| *l == byte && Some(*s) == second) else {
                let detail = format!("{byte:02x} begins no escape of this protocol");
                return Err(Fault::new(FaultKind::Escape, scratch.len(), detail));
            };
            scratch.push(*meant);
        }
        Ok(scratch)
    }
}

/// What tells frames of a form apart from noise.
#[derive(Debug)]
pub struct Framing {
    /// The form's marks.
    pub marks: &'static Marks,
    /// The protocol's number of the form.
    pub form: u8,
    /// Header and check byte: nothing shorter is a message.
    pub shortest: usize,
    /// Whether unescaped bytes declare exactly as many bytes as they are.
    pub length_fits: fn(&[u8]) -> bool,
}

impl Framing {
    /// The first frame of input that begins with a flag.
    pub fn between_flags<'b>(&self, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
        let inside = input.get(1..).unwrap_or_default();
        let Some(end) = find(inside, self.marks.flag) else {
            // a flag on its own is fill; half a frame may still become whole, radio links pause for longer than we wait
            return if quiet && inside.is_empty() { Cut::Fill(1) } else { Cut::More };
        };
        if end == 0 {
            return Cut::Fill(1);
        }
        let (Some(raw), Some(inside)) = (input.get(..end + 2), inside.get(..end)) else {
            return Cut::More;
        };
        match self.marks.unescape(inside, scratch) {
            Err(fault) => Cut::Skip(raw.len(), fault),
            Ok(content) if content.len() < self.shortest => {
                Cut::Skip(raw.len(), Fault::new(FaultKind::Truncated, content.len(), "shorter than any message"))
            }
            Ok(content) => Cut::Frame(Frame { raw, content, form: self.form, checksum: verdict(content) }),
        }
    }

    /// What to do with input that begins with no flag; `is_mark` knows the bytes that a frame may begin with.
    pub fn unopened<'b>(&self, is_mark: impl Fn(u8) -> bool, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
        let skip = |bytes: &[u8]| {
            let inside = bytes.iter().skip(1).position(|b| is_mark(*b)).map_or(bytes.len(), |n| n + 1);
            Cut::Skip(inside, garbage())
        };
        let Some(end) = find(input, self.marks.flag) else {
            return if quiet { skip(input) } else { Cut::More };
        };
        let (Some(raw), Some(inside)) = (input.get(..=end), input.get(..end)) else {
            return Cut::More;
        };
        if inside.len() < self.shortest || !self.marks.unescape(inside, scratch).is_ok_and(|content| self.is_certain(content)) {
            return skip(inside);
        }
        match self.marks.unescape(inside, scratch) {
            Ok(content) => Cut::Frame(Frame { raw, content, form: self.form, checksum: Checksum::Good }),
            Err(_) => Cut::Skip(inside.len(), garbage()),
        }
    }

    /// Whether bytes are a message beyond doubt: the checksum fits and the header says as many bytes as there are.
    fn is_certain(&self, content: &[u8]) -> bool {
        content.len() >= self.shortest && (self.length_fits)(content) && xor(content) == 0
    }
}

/// The fault of bytes between frames.
pub fn garbage() -> Fault {
    Fault::new(FaultKind::Garbage, 0, NO_FRAME)
}

/// Where this byte stands first. Works on blocks that the compiler turns into vector comparisons: every received byte
/// passes here, and most frames are a few blocks long.
pub fn find(bytes: &[u8], wanted: u8) -> Option<usize> {
    let (blocks, rest) = bytes.as_chunks::<16>();
    let at = blocks.iter().position(|block| block.iter().fold(false, |hit, b| hit | (*b == wanted)));
    let (base, tail): (usize, &[u8]) = match at {
        Some(n) => (n * 16, blocks.get(n).map_or(&[], |b| b)),
        None => (blocks.len() * 16, rest),
    };
    tail.iter().position(|b| *b == wanted).map(|n| base + n)
}

fn verdict(content: &[u8]) -> Checksum {
    match (content.split_last(), xor(content)) {
        (Some((check, before)), wrong) if wrong != 0 => {
            Checksum::Wrong { expected: u32::from(check ^ wrong), found: u32::from(*check), offset: before.len() }
        }
        _ => Checksum::Good,
    }
}

/// One frame being written: escaped and summed up as its bytes come, nothing allocated.
#[derive(Debug)]
pub struct Writer<'o> {
    out: &'o mut Vec<u8>,
    marks: &'static Marks,
    check: u8,
}

impl<'o> Writer<'o> {
    /// Write the opening flag.
    pub fn open(out: &'o mut Vec<u8>, marks: &'static Marks) -> Self {
        out.push(marks.flag);
        Self { out, marks, check: 0 }
    }

    /// Write the check byte and the closing flag.
    pub fn close(mut self) {
        let check = self.check;
        self.u8(check);
        self.out.push(self.marks.flag);
    }

    /// A byte.
    pub fn u8(&mut self, byte: u8) {
        self.check ^= byte;
        match self.marks.escapes.iter().find(|(.., meant)| *meant == byte) {
            None => self.out.push(byte),
            Some((lead, second, _)) => self.out.extend_from_slice(&[*lead, *second]),
        }
    }

    /// A word, high byte first.
    pub fn u16(&mut self, n: u16) {
        self.bytes(&n.to_be_bytes());
    }

    /// Bytes as they are.
    pub fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.u8(*byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn find_sees_every_place() {
        for n in 0..70 {
            let mut bytes = vec![0; 70];
            bytes[n] = 0x7E;
            assert_eq!(find(&bytes, 0x7E), Some(n));
        }
        assert_eq!(find(&[0; 70], 0x7E), None);
    }

    #[test]
    fn escapes_are_undone_into_the_scratch_only_where_there_are_some() {
        let mut scratch = Vec::new();
        assert_eq!(STANDARD.unescape(b"ab", &mut scratch).unwrap(), b"ab");
        assert_eq!(STANDARD.unescape(b"\x30\x7d\x02\x08\x7d\x01\x55", &mut scratch).unwrap(), b"\x30\x7e\x08\x7d\x55");
        assert!(STANDARD.unescape(b"\x7d", &mut scratch).is_err());
    }

    #[test]
    fn what_is_written_can_be_read() {
        let mut out = Vec::new();
        let mut w = Writer::open(&mut out, &STANDARD);
        w.bytes(b"\x7e\x01\x7d");
        w.u16(0x7E00);
        w.close();
        let mut scratch = Vec::new();
        let content = STANDARD.unescape(&out[1..out.len() - 1], &mut scratch).unwrap();
        assert_eq!(verdict(content), Checksum::Good);
        assert_eq!(content[..5], *b"\x7e\x01\x7d\x7e\x00");
    }
}
