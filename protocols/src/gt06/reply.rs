//! Frames that go to the device.

use crate::parts::checksum::crc_itu;
use crate::time::{Civil, Timestamp};

/// `ADDRESS` answers: the answer's own type.
const ADDRESS: u8 = 0x97;
/// A polite answer to who asks for an address: there is none.
const NO_ADDRESS: &[u8] = b"NA&&NA&&0##";
/// The request for a part of a photo.
const PHOTO_REQUEST: u8 = 0x36;
const TOPIN_TIME: u8 = 0x30;
/// Topin's answers to a login.
const TOPIN_WELCOME: u8 = 0x01;
const TOPIN_REFUSED: u8 = 0x44;

/// A `78 78` frame. `content` has at most 250 bytes.
pub(super) fn basic(out: &mut Vec<u8>, kind: u8, serial: u16, content: &[u8]) {
    out.extend_from_slice(&[0x78, 0x78]);
    let from = out.len();
    out.push(u8::try_from(content.len() + 5).unwrap_or(u8::MAX));
    finish(out, from, kind, serial, &[content]);
}

/// A `79 79` frame.
pub(super) fn extended(out: &mut Vec<u8>, kind: u8, serial: u16, content: &[&[u8]]) {
    out.extend_from_slice(&[0x79, 0x79]);
    let from = out.len();
    let length = content.iter().map(|c| c.len()).sum::<usize>() + 5;
    out.extend_from_slice(&u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes());
    finish(out, from, kind, serial, content);
}

fn finish(out: &mut Vec<u8>, from: usize, kind: u8, serial: u16, content: &[&[u8]]) {
    out.push(kind);
    content.iter().for_each(|c| out.extend_from_slice(c));
    out.extend_from_slice(&serial.to_be_bytes());
    let crc = crc_itu(out.get(from..).unwrap_or_default());
    out.extend_from_slice(&crc.to_be_bytes());
    out.extend_from_slice(&[0x0D, 0x0A]);
}

/// The time, UTC.
pub(super) fn time(out: &mut Vec<u8>, kind: u8, serial: u16, now: Timestamp) {
    basic(out, kind, serial, &now.civil(0).six());
}

/// No address: length of what follows (u16, as GT06 v1.8 has it), server flag 0, text.
pub(super) fn no_address(out: &mut Vec<u8>, serial: u16) {
    let length = u16::try_from(NO_ADDRESS.len() + 4).unwrap_or(u16::MAX).to_be_bytes();
    extended(out, ADDRESS, serial, &[&length, &[0; 4], NO_ADDRESS]);
}

/// Ask for `size` bytes of a photo.
pub(super) fn photo_request(out: &mut Vec<u8>, serial: u16, id: u32, offset: u32, size: u16) {
    let mut content = [0; 10];
    let fields = id.to_be_bytes().into_iter().chain(offset.to_be_bytes()).chain(size.to_be_bytes());
    content.iter_mut().zip(fields).for_each(|(slot, byte)| *slot = byte);
    basic(out, PHOTO_REQUEST, serial, &content);
}

/// Topin: marks, third byte, type, content, end.
pub(super) fn topin(out: &mut Vec<u8>, x: u8, kind: u8, content: &[u8]) {
    out.extend_from_slice(&[0x78, 0x78, x, kind]);
    out.extend_from_slice(content);
    out.extend_from_slice(&[0x0D, 0x0A]);
}

/// Topin: the answer to a login.
pub(super) fn topin_login(out: &mut Vec<u8>, x: u8, welcome: bool) {
    topin(out, x, 0x01, &[if welcome { TOPIN_WELCOME } else { TOPIN_REFUSED }]);
}

/// Topin: the time, UTC.
pub(super) fn topin_time(out: &mut Vec<u8>, c: Civil) {
    let [high, low] = c.year.to_be_bytes();
    topin(out, 7, TOPIN_TIME, &[high, low, c.month, c.day, c.hour, c.minute, c.second]);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::hex;

    fn written(write: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        write(&mut out);
        hex(&out)
    }

    #[test]
    fn answers_as_published() {
        assert_eq!(written(|o| basic(o, 0x01, 1, &[])), "787805010001d9dc0d0a");
        assert_eq!(written(|o| extended(o, 0x32, 0xBC, &[])), "797900053200bcedd10d0a");
        let then = Timestamp::parse("2015-12-29T00:00:21Z").unwrap();
        assert_eq!(written(|o| time(o, 0x8A, 6, then)), "78780b8a0f0c1d0000150006f0860d0a");
        assert_eq!(written(|o| photo_request(o, 0, 0x20E3_ACD3, 0, 1024)), "78780f3620e3acd3000000000400000002ba0d0a");
    }

    #[test]
    fn an_address_counts_what_follows_its_length() {
        let frame = written(|o| no_address(o, 7));
        assert!(frame.starts_with("7979001697000f000000004e412626"), "{frame}");
    }

    #[test]
    fn topin_answers() {
        assert_eq!(written(|o| topin_login(o, 0x0D, true)), "78780d01010d0a");
        assert_eq!(written(|o| topin_login(o, 0x0D, false)), "78780d01440d0a");
        let then = Timestamp::parse("2026-11-23T02:49:05Z").unwrap();
        assert_eq!(written(|o| topin_time(o, then.civil(0))), "7878073007ea0b170231050d0a");
    }
}
