//! Version 1: one line of text.

use std::net::{Ipv4Addr, Ipv6Addr};

use haproxy_protocol::ProxyHdrV1;

use super::{Header, Parsed, proxied};

/// How a line begins.
pub(super) const SIGNATURE: &[u8] = b"PROXY ";

/// The longest line, its CR LF included, that the specification allows for any family.
pub(super) const MAX_LINE: usize = 107;

/// Judge bytes that agree with [`SIGNATURE`] as far as they go.
pub(super) fn parse(input: &[u8]) -> Parsed<'_> {
    let head = input.get(..MAX_LINE).unwrap_or(input);
    // only CR LF ends a line, neither of them alone does
    let Some(end) = head.windows(2).position(|pair| pair == b"\r\n") else {
        return if input.len() < MAX_LINE { Parsed::More } else { Parsed::Bad("v1 line too long") };
    };
    let used = end + 2;
    let line = head.get(SIGNATURE.len()..end).unwrap_or_default();
    if line == b"UNKNOWN" || line.starts_with(b"UNKNOWN ") {
        return Parsed::Header { used, header: Header::Local, unique_id: None };
    }
    if !well_formed(line) {
        return Parsed::Bad("v1 line malformed");
    }
    match ProxyHdrV1::parse(head) {
        Ok((taken, header)) if taken == used => proxied(used, header.to_remote_addr(), None),
        _ => Parsed::Bad("v1 line malformed"),
    }
}

/// Whether this is family, two addresses of that family and two ports, one space between them and nothing else. The crate
/// takes several blanks, tabs, signs and leading zeros too, and addresses of another family than the line says.
fn well_formed(line: &[u8]) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let mut fields = line.split(' ');
    let address: fn(&str) -> bool = match fields.next() {
        Some("TCP4") => |text| text.parse::<Ipv4Addr>().is_ok(),
        // a dotted tail (`::ffff:1.2.3.4`) stands outside the strict grammar, but inet_pton and real senders know it
        Some("TCP6") => |text| text.parse::<Ipv6Addr>().is_ok(),
        _ => return false,
    };
    fields.next().is_some_and(address)
        && fields.next().is_some_and(address)
        && fields.next().is_some_and(port)
        && fields.next().is_some_and(port)
        && fields.next().is_none()
}

fn port(text: &str) -> bool {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    plain && text.parse::<u16>().is_ok()
}
