//! What a balancer says before a device's first byte.

/// A device that is not here: an address of RFC 5737.
pub(crate) const DEVICE: &str = "203.0.113.7:4242";

pub(crate) fn v1() -> Vec<u8> {
    b"PROXY TCP4 203.0.113.7 198.51.100.1 4242 5023\r\n".to_vec()
}

pub(crate) fn v2() -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c".to_vec();
    header.extend_from_slice(&[203, 0, 113, 7, 198, 51, 100, 1]);
    header.extend_from_slice(&4242_u16.to_be_bytes());
    header.extend_from_slice(&5023_u16.to_be_bytes());
    header
}
