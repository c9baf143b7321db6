//! The message header, and who a terminal is.

use nom::number::complete::be_u16;

use crate::cursor::{Cursor, hex};
use crate::fault::Fault;
use crate::parts::bcd;
use crate::wire::Link;

/// Bytes of a header.
pub(super) const LENGTH: usize = 12;

/// A split message of the CTFO engine says so in this bit of the length, ...
const SPLIT_FLAG: u16 = 1 << 13;
/// ... and in the first byte of the ISU id, which is [`MARK`] in every other message.
const SPLIT_MARK: u8 = 0x00;

/// First byte of every ISU id. No mainland telephone number in JT/T 808 begins so.
pub(super) const MARK: u8 = 0x10;

/// The id of a terminal ("ISU"), twelve packed digits: mark, vendor, device type, serial number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Isu(pub(super) [u8; 6]);

impl Isu {
    /// The digits.
    pub(super) fn identity(self) -> String {
        hex(&self.0)
    }

    /// Of a device that is known before it has said anything.
    pub(super) fn of(link: &Link) -> Option<Self> {
        let id = link.device_id()?.as_str();
        bcd::pack_digits(id.strip_prefix(&*link.settings().device_prefix).unwrap_or(id)).map(Self)
    }
}

/// One of the packets of a message that was split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Packet {
    pub(super) total: u16,
    /// From 1.
    pub(super) number: u16,
}

/// A header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) message: u16,
    pub(super) isu: Isu,
    pub(super) serial: u16,
    pub(super) packet: Option<Packet>,
    /// Whether the declared length is that of the body.
    pub(super) length_fits: bool,
}

/// Whether a frame without its marks declares as many bytes as it is.
pub(super) fn length_fits(content: &[u8]) -> bool {
    let Some([_, _, high, low, isu]) = content.first_chunk::<5>() else {
        return false;
    };
    let declared = u16::from_be_bytes([*high, *low]);
    let there = content.len().saturating_sub(LENGTH + 1);
    usize::from(declared) == there || is_split(declared, *isu, there)
}

fn is_split(declared: u16, isu: u8, there: usize) -> bool {
    declared & SPLIT_FLAG != 0 && isu == SPLIT_MARK && there.checked_sub(4) == Some((declared & (SPLIT_FLAG - 1)).into())
}

/// Read the header; the cursor then stands at the body.
pub(super) fn read(c: &mut Cursor<'_, '_>) -> Result<Header, Fault> {
    let message = c.read("message_id", be_u16)?;
    c.show(|| format!("0x{message:04x}"));
    let declared = c.read("length", be_u16)?;
    let mut isu = Isu([0; 6]);
    isu.0.copy_from_slice(c.bytes("isu", 6)?);
    let serial = c.read("serial", be_u16)?;
    let split = is_split(declared, isu.0[0], c.remaining());
    let length_fits = split || usize::from(declared) == c.remaining();
    let mut packet = None;
    if split {
        isu.0[0] = MARK;
        packet = Some(Packet { total: c.read("packets", be_u16)?, number: c.read("packet_number", be_u16)? });
    }
    Ok(Header { message, isu, serial, packet, length_fits })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(bytes: &[u8]) -> Header {
        read(&mut Cursor::new(bytes, 0, None)).unwrap()
    }

    #[test]
    fn accepts_lengths_of_sixteen_bits() {
        let mut bytes = b"\x02\x00\x20\x00\x10\x99\x00\x00\x00\x01\x00\x07".to_vec();
        bytes.resize(LENGTH + 0x2000, 0);
        let h = header(&bytes);
        assert_eq!((h.message, h.serial, h.packet, h.length_fits), (0x0200, 7, None, true));
        assert_eq!(h.isu.identity(), "109900000001");
    }

    #[test]
    fn a_split_message_names_its_sender_all_the_same() {
        let h = header(b"\x08\x06\x20\x01\x00\x99\x00\x00\x00\x01\x00\x07\x00\x03\x00\x02x");
        assert_eq!((h.packet, h.length_fits), (Some(Packet { total: 3, number: 2 }), true));
        assert_eq!(h.isu.identity(), "109900000001");
        assert!(length_fits(b"\x08\x06\x20\x01\x00\x99\x00\x00\x00\x01\x00\x07\x00\x03\x00\x02x\x00"));
    }

    #[test]
    fn a_length_that_does_not_fit_is_noticed() {
        assert!(!header(b"\x02\x00\x20\x01\x10\x99\x00\x00\x00\x01\x00\x07\x00\x03\x00\x02x").length_fits);
        assert!(!length_fits(b"\x00\x02\x00\x01\x10\x99\x00\x00\x00\x01\x00\x07\x00"));
        assert!(!length_fits(b"\x00\x02"));
    }

    #[test]
    fn refuses_a_header_that_is_cut_off() {
        let bytes = b"\x02\x00\x00\x00\x10\x99\x00\x00\x00\x01\x00\x07";
        for n in 0..LENGTH {
            assert!(read(&mut Cursor::new(&bytes[..n], 0, None)).is_err(), "{n}");
        }
    }
}
