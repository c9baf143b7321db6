//! The PROXY header that a balancer puts before a device's bytes: who really called, and which address was called.
//!
//! Pure: bytes in, verdict out. Deadlines, trust in the sender and what to do with [`Parsed::None`] are the listener's.
//! Everything that can be wrong with a header is found here first; the address block of a header that passed is then read
//! by the `haproxy-protocol` crate. That crate logs every header it refuses (targets `haproxy_protocol` and
//! `haproxy_protocol::parse`), so it is never shown one that it would refuse.
//!
//! Facts: HAProxy's "The PROXY protocol, versions 1 & 2".

mod v1;
mod v2;

use std::net::SocketAddr;

use haproxy_protocol::RemoteAddress;

/// The longest header that is accepted, in bytes, and so the room that a connection needs before its first payload byte.
/// The length field of version 2 could ask for 65 551. The specification wants headers to fit 536; a TLS client certificate
/// alone takes 1 to 2 KiB, so this leaves room for one. A longer one is refused at its 16th byte instead of being buffered.
pub(crate) const MAX_HEADER: usize = 4096;

/// What a whole header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// The balancer passes on a connection between these; IPv4 inside IPv6 is plain IPv4 here.
    Proxied {
        /// The device, or the carrier's NAT in front of it.
        src: SocketAddr,
        /// The address that it called.
        dst: SocketAddr,
    },
    /// No addresses that we could use (LOCAL, UNKNOWN, UNSPEC, UNIX, datagrams): the socket's own hold. It does not mean a
    /// health check: HAProxy sends LOCAL and then payload for clients of a UNIX socket.
    Local,
}

/// Verdict over the first bytes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Parsed<'a> {
    /// So far the beginning of a header; its end is at most [`MAX_HEADER`] bytes from the start.
    More,
    /// A whole header; what follows its first `used` bytes is payload, even if it looks like another header.
    Header {
        /// Length of the header.
        used: usize,
        /// What it says.
        header: Header,
        /// The balancer's own id of the connection, opaque, at most 128 bytes.
        unique_id: Option<&'a [u8]>,
    },
    /// These bytes begin no header of either version: a device that speaks for itself.
    None,
    /// A header of ours begins here, but it cannot be obeyed; the words are static, fit for a metric's label.
    Bad(&'static str),
}

/// Judge the first bytes of a connection.
pub(crate) fn parse(input: &[u8]) -> Parsed<'_> {
    if begins(input, v2::SIGNATURE) {
        v2::parse(input)
    } else if begins(input, v1::SIGNATURE) {
        v1::parse(input)
    } else {
        Parsed::None
    }
}

/// Whether input and signature agree as far as both go.
fn begins(input: &[u8], signature: &[u8]) -> bool {
    input.iter().zip(signature).all(|(a, b)| a == b)
}

/// A header of `used` bytes with the addresses that the crate found in it.
fn proxied<'a>(used: usize, address: RemoteAddress, unique_id: Option<&'a [u8]>) -> Parsed<'a> {
    let (src, dst) = match address {
        RemoteAddress::TcpV4 { src, dst } => (SocketAddr::V4(src), SocketAddr::V4(dst)),
        RemoteAddress::TcpV6 { src, dst } => (SocketAddr::V6(src), SocketAddr::V6(dst)),
        // the crate would have to disagree with our own reading of a family that it supports
        RemoteAddress::Local | RemoteAddress::Invalid | RemoteAddress::UdpV4 { .. } | RemoteAddress::UdpV6 { .. } => {
            return Parsed::Bad("address");
        }
    };
    // HAProxy sends ::ffff:a.b.c.d when one side is IPv4 and the other IPv6: limits and logs want one form
    let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
    Parsed::Header { used, header: Header::Proxied { src: plain(src), dst: plain(dst) }, unique_id }
}

#[cfg(test)]
mod tests;
