//! Writing frames to the terminal: straight into the outgoing bytes, escaped as they are written, nothing allocated.

use super::frame::{Marks, marks};
use super::header::{Peer, VERSION_FLAG};
use crate::parts::bcd;
use crate::time::Timestamp;

/// Messages of the platform that are written here.
pub(super) mod id {
    pub(in super::super) const GENERAL: u16 = 0x8001;
    pub(in super::super) const PACKETS_AGAIN: u16 = 0x8003;
    pub(in super::super) const SERVER_TIME: u16 = 0x8004;
    pub(in super::super) const REGISTERED: u16 = 0x8100;
    pub(in super::super) const CLOCK: u16 = 0x8109;
    pub(in super::super) const MEDIA: u16 = 0x8800;
    /// Answers 0x5501 and 0x5502; its own serial number has one byte too.
    pub(in super::super) const LOCK: u16 = 0x4401;
}

/// Results of 0x8001.
pub(super) mod result {
    pub(in super::super) const DONE: u8 = 0;
    pub(in super::super) const FAILED: u8 = 1;
    pub(in super::super) const FAULTY: u8 = 2;
}

/// Most packet numbers in one request: the 2019 edition's limit for 0x8800, and it fits a count of one byte.
pub(super) const MAX_ASKED: usize = 125;

/// One frame being written.
pub(super) struct Writer<'o> {
    out: &'o mut Vec<u8>,
    marks: &'static Marks,
    check: u8,
}

impl Writer<'_> {
    /// Write a whole frame whose body, written by `body`, has this length.
    pub(super) fn frame(
        out: &mut Vec<u8>,
        peer: &Peer,
        message: u16,
        serial: u16,
        length: usize,
        body: impl FnOnce(&mut Writer<'_>),
    ) {
        let marks = marks(peer.form);
        out.push(marks.flag);
        let mut w = Writer { out, marks, check: 0 };
        w.u16(message);
        let length = length as u16; // bodies of ours stay below the 10 bits of the length, see MAX_ASKED
        w.u16(if peer.version.is_some() { length | VERSION_FLAG } else { length });
        if let Some(version) = peer.version {
            w.u8(version);
        }
        w.bytes(peer.number());
        if message == id::LOCK {
            w.u8(serial as u8);
        } else {
            w.u16(serial);
        }
        body(&mut w);
        let check = w.check;
        w.u8(check);
        out.push(marks.flag);
    }

    pub(super) fn u8(&mut self, byte: u8) {
        self.check ^= byte;
        match self.marks.escapes.iter().find(|(.., meant)| *meant == byte) {
            None => self.out.push(byte),
            Some((lead, second, _)) => self.out.extend_from_slice(&[*lead, *second]),
        }
    }

    pub(super) fn u16(&mut self, n: u16) {
        self.bytes(&n.to_be_bytes());
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.u8(*byte);
        }
    }
}

/// 0x8001.
pub(super) fn general(out: &mut Vec<u8>, peer: &Peer, serial: u16, of: (u16, u16), result: u8) {
    Writer::frame(out, peer, id::GENERAL, serial, 5, |w| {
        w.u16(of.0);
        w.u16(of.1);
        w.u8(result);
    });
}

/// 0x8100; the code goes out with result 0 only.
pub(super) fn registered(out: &mut Vec<u8>, peer: &Peer, serial: u16, of: u16, result: u8, code: &str) {
    let code = if result == result::DONE { code.as_bytes() } else { &[] };
    Writer::frame(out, peer, id::REGISTERED, serial, 3 + code.len(), |w| {
        w.u16(of);
        w.u8(result);
        w.bytes(code);
    });
}

/// 0x8004, UTC in packed decimal.
pub(super) fn server_time(out: &mut Vec<u8>, peer: &Peer, serial: u16, utc: Timestamp) {
    Writer::frame(out, peer, id::SERVER_TIME, serial, 6, |w| {
        for n in utc.civil(0).six() {
            w.u8(bcd::pack(n));
        }
    });
}

/// 0x8109, UTC in binary, year in full, then a result.
pub(super) fn clock(out: &mut Vec<u8>, peer: &Peer, serial: u16, utc: Timestamp) {
    let c = utc.civil(0);
    Writer::frame(out, peer, id::CLOCK, serial, 8, |w| {
        w.u16(c.year);
        w.bytes(&[c.month, c.day, c.hour, c.minute, c.second, result::DONE]);
    });
}

/// 0x4401.
pub(super) fn lock(out: &mut Vec<u8>, peer: &Peer, serial: u16, of: u16, result: u8) {
    Writer::frame(out, peer, id::LOCK, serial, 3, |w| {
        w.u16(of);
        w.u8(result);
    });
}

/// 0x8800; with nothing missing it is the acknowledgement, exactly four bytes. The 2011 edition puts the serial number of
/// the answered message first.
pub(super) fn media(out: &mut Vec<u8>, peer: &Peer, serial: u16, of: Option<u16>, media: u32, missing: &[u16]) {
    let missing = missing.get(..missing.len().min(MAX_ASKED)).unwrap_or_default();
    let list = if missing.is_empty() { 0 } else { 1 + 2 * missing.len() };
    let length = 4 + list + if of.is_some() { 2 } else { 0 };
    Writer::frame(out, peer, id::MEDIA, serial, length, |w| {
        if let Some(of) = of {
            w.u16(of);
        }
        w.bytes(&media.to_be_bytes());
        if !missing.is_empty() {
            w.u8(missing.len() as u8);
            missing.iter().for_each(|n| w.u16(*n));
        }
    });
}

/// 0x8003: the count has one byte until 2013 and two since 2019.
pub(super) fn packets_again(out: &mut Vec<u8>, peer: &Peer, serial: u16, first: u16, missing: &[u16]) {
    let missing = missing.get(..missing.len().min(MAX_ASKED)).unwrap_or_default();
    let wide = peer.version.is_some();
    let length = 3 + usize::from(wide) + 2 * missing.len();
    Writer::frame(out, peer, id::PACKETS_AGAIN, serial, length, |w| {
        w.u16(first);
        match wide {
            true => w.u16(missing.len() as u16),
            false => w.u8(missing.len() as u8),
        }
        missing.iter().for_each(|n| w.u16(*n));
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{Cursor, hex};
    use crate::jt808::header;

    fn peer(version: bool, form: u8) -> Peer {
        let old = b"\x00\x02\x00\x00\x01\x38\x00\x00\x11\x11\x00\x07";
        let new = b"\x00\x02\x40\x00\x01\0\0\0\0\x01\x38\x00\x00\x11\x11\x00\x07";
        let bytes: &[u8] = if version { new } else { old };
        header::read(&mut Cursor::new(bytes, 0, None), form).unwrap().peer
    }

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        hex(&out)
    }

    #[test]
    fn answers_repeat_layout_and_number() {
        let old = written(|out| general(out, &peer(false, 0), 1, (7, 0x0200), result::DONE));
        assert_eq!(old, "7e8001000501380000111100010007020000b97e");
        let new = written(|out| general(out, &peer(true, 0), 1, (7, 0x0200), result::DONE));
        assert!(new.starts_with("7e8001400501000000000138000011110001"), "{new}");
    }

    #[test]
    fn what_looks_like_a_flag_is_escaped() {
        let frame = written(|out| general(out, &peer(false, 0), 0x7E7D, (0x7E7D, 0x0200), 0));
        assert!(frame.contains("7d027d01"), "{frame}");
        assert_eq!(frame.matches("7e").count(), 2, "{frame}");
    }

    #[test]
    fn counts_have_the_width_of_the_edition() {
        let old = written(|out| packets_again(out, &peer(false, 0), 1, 10, &[2, 3]));
        assert!(old.contains("000a0200020003"), "{old}");
        let new = written(|out| packets_again(out, &peer(true, 0), 1, 10, &[2, 3]));
        assert!(new.contains("000a000200020003"), "{new}");
    }

    #[test]
    fn a_complete_photo_is_answered_with_four_bytes() {
        assert!(written(|out| media(out, &peer(false, 0), 1, None, 77, &[])).starts_with("7e88000004"));
        assert!(written(|out| media(out, &peer(false, 0), 1, Some(9), 77, &[])).starts_with("7e88000006"));
        let many: Vec<u16> = (1..=300).collect();
        assert!(written(|out| media(out, &peer(false, 0), 1, None, 77, &many)).starts_with("7e880000ff"));
    }

    #[test]
    fn a_refused_registration_has_no_code() {
        assert!(written(|out| registered(out, &peer(false, 0), 1, 7, 4, "code")).starts_with("7e81000003"));
        assert!(written(|out| registered(out, &peer(false, 0), 1, 7, 0, "code")).starts_with("7e81000007"));
    }
}
