//! The message header of all editions, and who a terminal number is.

use nom::number::complete::{be_u8, be_u16};

use crate::cursor::{Cursor, hex};
use crate::fault::Fault;
use crate::parts::checksum::luhn;

use super::frame::VARIANT;

/// Attribute bit 14: the header of the 2019 edition, with a version byte and a terminal number of 10 bytes.
pub(super) const VERSION_FLAG: u16 = 1 << 14;
/// Attribute bit 13: a packet item follows the serial number.
pub(super) const PACKET_FLAG: u16 = 1 << 13;
/// Attribute bit 15, reserved by the standard: 0x55xx units ask for an answer with it.
const ANSWER_FLAG: u16 = 1 << 15;
/// Attribute bits 10 to 12 name the encryption of the body; the standard defines RSA only.
const ENCRYPTION: u16 = 7 << 10;
const LENGTH: u16 = 0x3FF;

/// The three editions. 2011 and 2013 have the same header; a registration tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Edition {
    V2011,
    V2013,
    V2019,
}

/// Who sent a message, in the form in which answers must name it: they repeat form, version byte and number bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) form: u8,
    pub(super) version: Option<u8>,
    number: [u8; 10],
    used: u8,
}

impl Peer {
    /// The first ten bytes of a number count; no edition has more.
    pub(super) fn new(form: u8, version: Option<u8>, sent: &[u8]) -> Self {
        let mut number = [0; 10];
        for (to, from) in number.iter_mut().zip(sent) {
            *to = *from;
        }
        Self { form, version, number, used: sent.len().min(10) as u8 }
    }

    /// The terminal number as on the wire.
    pub(super) fn number(&self) -> &[u8] {
        self.number.get(..usize::from(self.used)).unwrap_or_default()
    }

    /// The edition, where the header shows it, else this one.
    pub(super) const fn edition(&self, otherwise: Edition) -> Edition {
        if self.version.is_some() { Edition::V2019 } else { otherwise }
    }

    /// Whether the terminal has no number at all.
    pub(super) fn is_nameless(&self) -> bool {
        self.number == [0; 10]
    }

    /// The identity that the number says. Packed decimal digits are themselves; six bytes with other digits are the first
    /// 14 digits of an IMEI as a binary number, whose check digit is added here.
    pub(super) fn identity(&self) -> String {
        let digits = hex(self.number());
        if self.used != 6 || digits.bytes().all(|b| b.is_ascii_digit()) {
            return digits;
        }
        let imei = self.number().iter().fold(0u64, |n, b| n << 8 | u64::from(*b)).to_string();
        match luhn(&imei) {
            Some(check) if imei.len() <= 14 => format!("{imei}{check}"),
            _ => digits,
        }
    }
}

/// One of the packets of a split message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    /// How many there are, at least 2.
    pub(super) total: u16,
    /// Which one this is, from 1.
    pub(super) number: u16,
}

/// A header.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    pub(super) message: u16,
    pub(super) peer: Peer,
    pub(super) serial: u16,
    pub(super) packet: Option<Packet>,
    pub(super) wants_answer: bool,
    pub(super) encrypted: bool,
    /// Whether the declared length is that of the body.
    pub(super) length_fits: bool,
}

impl Header {
    /// Stands for the header that `( … )` sentences do not have.
    pub(super) const fn of_sentence() -> Self {
        Self {
            message: 0,
            peer: Peer { form: super::frame::SENTENCE, version: None, number: [0; 10], used: 0 },
            serial: 0,
            packet: None,
            wants_answer: true,
            encrypted: false,
            length_fits: true,
        }
    }
}

/// Whether this message is one of the 0x55xx units.
pub(super) const fn is_lock_report(message: u16) -> bool {
    matches!(message, 0x5501 | 0x5502)
}

/// The answer to lock reports.
const LOCK_ANSWER: u16 = 0x4401;

/// Whether the serial number of this message has one byte.
pub(super) const fn has_short_serial(message: u16) -> bool {
    is_lock_report(message) || message == LOCK_ANSWER
}

/// Length of header, body and check byte as id and attributes declare it.
pub(super) const fn frame_length(message: u16, attributes: u16) -> usize {
    let header = if attributes & VERSION_FLAG != 0 { 17 } else { 12 };
    let short_serial = if has_short_serial(message) { 1 } else { 0 };
    let packet = if attributes & PACKET_FLAG != 0 { 4 } else { 0 };
    header - short_serial + packet + (attributes & LENGTH) as usize + 1
}

/// Read the header; the cursor then stands at the body.
pub(super) fn read(c: &mut Cursor<'_, '_>, form: u8) -> Result<Header, Fault> {
    let message = c.read("message_id", be_u16)?;
    c.show(|| format!("0x{message:04x}"));
    let attributes = c.read("attributes", be_u16)?;
    c.note(|| {
        let [length, version, packet] = [attributes & LENGTH, attributes & VERSION_FLAG, attributes & PACKET_FLAG];
        format!("length {length}{}{}", if version != 0 { ", 2019" } else { "" }, if packet != 0 { ", split" } else { "" })
    });
    let version = if attributes & VERSION_FLAG != 0 { Some(c.read("version", be_u8)?) } else { None };
    let size = match (version, form) {
        (Some(_), _) => 10,
        (None, VARIANT) => 7,
        (None, _) => 6,
    };
    let peer = Peer::new(form, version, c.bytes("terminal_number", size)?);
    let serial = match has_short_serial(message) {
        true => u16::from(c.read("serial", be_u8)?),
        false => c.read("serial", be_u16)?,
    };
    let packet = match attributes & PACKET_FLAG != 0 {
        true => Some(Packet { total: c.read("packets", be_u16)?, number: c.read("packet_number", be_u16)? }),
        false => None,
    };
    let length_fits = c.remaining() == usize::from(attributes & LENGTH);
    Ok(Header {
        message,
        peer,
        serial,
        // a message in one packet is not split
        packet: packet.filter(|p| p.total > 1),
        wants_answer: attributes & ANSWER_FLAG != 0,
        encrypted: attributes & ENCRYPTION != 0 && !is_lock_report(message),
        length_fits,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::frame::STANDARD;

    fn header(bytes: &[u8], form: u8) -> Header {
        read(&mut Cursor::new(bytes, 0, None), form).unwrap()
    }

    #[test]
    fn accepts_both_layouts_and_the_packet_item() {
        let h = header(b"\x02\x00\x20\x01\x01\x38\x00\x00\x11\x11\x00\x07\x00\x03\x00\x02x", STANDARD);
        assert_eq!((h.message, h.serial, h.packet), (0x0200, 7, Some(Packet { total: 3, number: 2 })));
        assert!(h.length_fits && !h.encrypted && h.peer.version.is_none());
        assert_eq!(h.peer.identity(), "013800001111");
        let h = header(b"\x00\x02\x40\x00\x01\0\0\0\0\x01\x38\x00\x00\x11\x11\x00\x07", STANDARD);
        assert_eq!((h.peer.version, h.peer.identity().as_str()), (Some(1), "00000000013800001111"));
    }

    #[test]
    fn a_single_packet_is_no_split_message() {
        assert_eq!(header(b"\x02\x00\x20\x00\x01\x38\x00\x00\x11\x11\x00\x07\x00\x01\x00\x01", STANDARD).packet, None);
    }

    #[test]
    fn lock_reports_have_a_serial_of_one_byte() {
        let h = header(b"\x55\x01\x80\x01\x01\x38\x00\x00\x11\x11\x09x", STANDARD);
        assert_eq!((h.serial, h.wants_answer, h.length_fits), (9, true, true));
    }

    #[test]
    fn an_imei_as_a_number_gets_its_check_digit() {
        let peer = |number: &[u8]| Peer::new(STANDARD, None, number).identity();
        assert_eq!(peer(b"\x4e\x53\x60\x02\x10\x01"), "861200000000012");
        assert_eq!(peer(b"\xff\xff\xff\xff\xff\xff"), "ffffffffffff"); // 15 digits already, so no IMEI without its check digit
        assert!(Peer::new(STANDARD, None, &[0; 6]).is_nameless());
    }

    #[test]
    fn refuses_a_header_that_is_cut_off() {
        for n in 0..12 {
            let bytes = b"\x02\x00\x00\x00\x01\x38\x00\x00\x11\x11\x00\x07";
            assert!(read(&mut Cursor::new(&bytes[..n], 0, None), STANDARD).is_err(), "{n}");
        }
    }
}
