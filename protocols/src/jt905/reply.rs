//! Writing frames to the terminal: straight into the outgoing bytes, escaped as they are written.

use super::header::Isu;
use super::message::id;
use crate::parts::flagged::{STANDARD, Writer};

/// Results of 0x8001.
pub(super) mod result {
    pub(in super::super) const DONE: u8 = 0;
    pub(in super::super) const FAILED: u8 = 1;
    pub(in super::super) const FAULTY: u8 = 2;
    /// Not in the standard's own list; JT/T 808 has it, and to a terminal it is as good as "not done".
    pub(in super::super) const UNSUPPORTED: u8 = 3;
}

/// A whole frame. Bodies of ours are shorter than the length can say; one that is not would be cut there.
pub(super) fn frame(out: &mut Vec<u8>, isu: Isu, message: u16, serial: u16, body: &[u8]) {
    let length = u16::try_from(body.len()).unwrap_or(u16::MAX);
    let mut w = Writer::open(out, &STANDARD);
    w.u16(message);
    w.u16(length);
    w.bytes(&isu.0);
    w.u16(serial);
    w.bytes(body.get(..length.into()).unwrap_or(body));
    w.close();
}

/// A frame with this content, as [`super::frame::cut`] tells it, but for its check byte.
pub(super) fn seal(content: &[u8], out: &mut Vec<u8>) {
    let mut w = Writer::open(out, &STANDARD);
    if let Some((_, content)) = content.split_last() {
        w.bytes(content);
    }
    w.close();
}

/// 0x8001.
pub(super) fn general(out: &mut Vec<u8>, isu: Isu, own: u16, (serial, message): (u16, u16), result: u8) {
    let ([a, b], [c, d]) = (serial.to_be_bytes(), message.to_be_bytes());
    frame(out, isu, id::GENERAL, own, &[a, b, c, d, result]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::hex;

    const ISU: Isu = Isu([0x10, 0x99, 0, 0, 0, 1]);

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        hex(&out)
    }

    #[test]
    fn answers_name_the_terminal_and_its_message() {
        let answer = written(|out| general(out, ISU, 1, (7, 0x0200), result::DONE));
        assert_eq!(answer, "7e800100051099000000010001000702000008".to_owned() + "7e");
    }

    #[test]
    fn what_looks_like_a_flag_is_escaped() {
        let answer = written(|out| general(out, ISU, 0x7E7D, (0x7E7D, 0x0200), 0));
        assert!(answer.contains("7d027d01") && answer.matches("7e").count() == 2, "{answer}");
    }

    #[test]
    fn sealing_computes_the_check_byte_anew() {
        assert_eq!(
            written(|out| seal(b"\x00\x02\x00\x00\x10\x99\x00\x00\x00\x01\x00\x02\xff", out)),
            "7e00020000109900000001000288".to_owned() + "7e"
        );
        assert_eq!(written(|out| seal(b"", out)), "7e007e");
    }
}
