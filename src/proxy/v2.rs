//! Version 2: a binary head, an address block, and type-length-value fields.

use crc::{CRC_32_ISCSI, Crc};
use haproxy_protocol::ProxyHdrV2;

use super::{Header, MAX_HEADER, Parsed, proxied};

/// How a header begins.
pub(super) const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// Signature, version and command, family and transport, length.
pub(super) const HEAD: usize = 16;

/// The longest UNIQUE_ID that the specification allows, in bytes.
const MAX_UNIQUE_ID: usize = 128;

/// What an SSL field holds before its own fields: client flags and the result of the verification.
const SSL_FIXED: usize = 5;

/// Castagnoli's polynomial, as the field's name says.
const CRC32C: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// The type numbers of the fields that are looked at.
mod field {
    pub(super) const CRC32C: u8 = 0x03;
    pub(super) const UNIQUE_ID: u8 = 0x05;
    pub(super) const SSL: u8 = 0x20;
}

/// Judge bytes that agree with [`SIGNATURE`] as far as they go. What is wrong is said as soon as it can be seen.
pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    let Some(&command) = input.get(12) else { return Parsed::More };
    let local = match command {
        0x20 => true,
        0x21 => false,
        _ => return Parsed::Bad("v2 version or command unknown"),
    };
    let Some(&family) = input.get(13) else { return Parsed::More };
    // of a LOCAL header the family may be anything
    let addresses = match (address_bytes(family), local) {
        (Some(n), _) => n,
        (None, true) => usize::MAX,
        (None, false) => return Parsed::Bad("v2 family or transport unknown"),
    };
    let (Some(&high), Some(&low)) = (input.get(14), input.get(15)) else { return Parsed::More };
    let used = HEAD + usize::from(u16::from_be_bytes([high, low]));
    if used > MAX_HEADER {
        return Parsed::Bad("v2 header too long");
    }
    if !local && used < HEAD + addresses {
        return Parsed::Bad("v2 address block too short");
    }
    let Some(header) = input.get(..used) else { return Parsed::More };
    // the fields of a LOCAL header whose block is no address block of its family cannot be found: they are skipped
    let fields = match read_fields(header, HEAD.saturating_add(addresses)) {
        Ok(fields) => fields,
        // an unusable block means nothing where the specification says to ignore it
        Err(Wrong { why: _, may_be_ignored: true }) if local || family >> 4 == 0 => Fields::default(),
        Err(Wrong { why, .. }) => return Parsed::Bad(why),
    };
    if local || !matches!(family, 0x11 | 0x21) {
        // datagrams and UNIX sockets cannot have led to this TCP connection: the header is legal, its addresses mean nothing
        return Parsed::Header { used, header: Header::Local, unique_id: fields.unique_id };
    }
    match ProxyHdrV2::parse(header) {
        Ok((taken, parsed)) if taken == used => proxied(used, parsed.to_remote_addr(), fields.unique_id),
        _ => Parsed::Bad("address"),
    }
}

/// Size of the address block of a family (high half) and transport (low half); `None` if either is not assigned.
/// A family with an unspecified transport is not among the bytes that the specification lists, but each half of it is:
/// like UNSPEC it is accepted without its addresses.
fn address_bytes(family: u8) -> Option<usize> {
    match (family >> 4, family & 15) {
        (0, 0..=2) => Some(0),
        (1, 0..=2) => Some(2 * (4 + 2)),
        (2, 0..=2) => Some(2 * (16 + 2)),
        (3, 0..=2) => Some(2 * 108),
        _ => None,
    }
}

#[derive(Default)]
struct Fields<'a> {
    unique_id: Option<&'a [u8]>,
}

struct Wrong {
    why: &'static str,
    may_be_ignored: bool,
}

/// Walk the fields of a whole header from `at` to its end.
fn read_fields(header: &[u8], mut at: usize) -> Result<Fields<'_>, Wrong> {
    let wrong = |why| Wrong { why, may_be_ignored: true };
    let mut fields = Fields::default();
    let mut summed = false;
    while at < header.len() {
        let rest = header.get(at..).unwrap_or_default();
        let [kind, high, low, rest @ ..] = rest else { return Err(wrong("v2 field cut short")) };
        let length = usize::from(u16::from_be_bytes([*high, *low]));
        let Some(value) = rest.get(..length) else { return Err(wrong("v2 field cut short")) };
        let start = at + 3;
        at = start + length;
        match *kind {
            field::CRC32C => {
                let Ok(sum) = <[u8; 4]>::try_from(value) else { return Err(wrong("v2 checksum of a wrong size")) };
                // the sum covers one field of zeros, so a second field cannot be right as well
                if summed || u32::from_be_bytes(sum) != checksum(header, start) {
                    return Err(Wrong { why: "v2 checksum wrong", may_be_ignored: false });
                }
                summed = true;
            }
            field::UNIQUE_ID if length > MAX_UNIQUE_ID => return Err(wrong("v2 unique id too long")),
            field::UNIQUE_ID => fields.unique_id = Some(value),
            field::SSL if length < SSL_FIXED => return Err(wrong("v2 SSL field cut short")),
            _ => {}
        }
    }
    Ok(fields)
}

/// CRC-32C of a header whose own four bytes of it, at `at`, count as zeros.
pub(super) fn checksum(header: &[u8], at: usize) -> u32 {
    let mut digest = CRC32C.digest();
    digest.update(header.get(..at).unwrap_or_default());
    digest.update(&[0; 4]);
    digest.update(header.get(at + 4..).unwrap_or_default());
    digest.finalize()
}
