use std::net::SocketAddr;
use std::path::Path;

use proptest::prelude::*;

use super::{Header, MAX_HEADER, Parsed, parse, v1, v2};

/// What the fuzzer asserts.
#[path = "../../fuzz/laws/proxy.rs"]
mod law;

fn address(text: &str) -> SocketAddr {
    text.parse().unwrap()
}

fn via(src: &str, dst: &str) -> Header {
    Header::Proxied { src: address(src), dst: address(dst) }
}

/// A version 2 header around a block.
fn binary(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let length = u16::try_from(block.len()).unwrap();
    [v2::SIGNATURE, &[command, family], &length.to_be_bytes(), block].concat()
}

fn field(kind: u8, value: &[u8]) -> Vec<u8> {
    [&[kind][..], &u16::try_from(value.len()).unwrap().to_be_bytes(), value].concat()
}

const CAR_V4: [u8; 12] = [203, 0, 113, 7, 10, 0, 0, 5, 0x9C, 0xBB, 0x22, 0xC3];

fn car() -> Header {
    via("203.0.113.7:40123", "10.0.0.5:8899")
}

/// A header with a right checksum, whose field stands last.
fn summed(command: u8, family: u8, block: &[u8]) -> Vec<u8> {
    let mut header = binary(command, family, &[block, &field(3, &[0; 4])].concat());
    let at = header.len() - 4;
    let sum = v2::checksum(&header, at);
    header[at..].copy_from_slice(&sum.to_be_bytes());
    header
}

/// It is accepted whole, waits for the rest at every shorter length, and leaves what follows alone.
fn accepts(bytes: &[u8], header: Header, unique_id: Option<&[u8]>) {
    let expected = Parsed::Header { used: bytes.len(), header, unique_id };
    assert_eq!(parse(bytes), expected, "{}", bytes.escape_ascii());
    for cut in 0..bytes.len() {
        assert_eq!(parse(&bytes[..cut]), Parsed::More, "{cut} bytes of {}", bytes.escape_ascii());
    }
    for after in [&b"\x78\x78\x0d\x01"[..], b"\r\n", b"PROXY TCP4 6.6.6.6 6.6.6.6 1 1\r\n", v2::SIGNATURE] {
        assert_eq!(parse(&[bytes, after].concat()), expected, "{} and payload", bytes.escape_ascii());
    }
}

fn refuses(bytes: &[u8], why: &str) {
    match parse(bytes) {
        Parsed::Bad(said) => assert_eq!(said, why, "{}", bytes.escape_ascii()),
        other => panic!("{}: {other:?} instead of {why}", bytes.escape_ascii()),
    }
}

#[test]
fn accepts_lines() {
    accepts(b"PROXY TCP4 1.2.3.4 5.6.7.8 0 65535\r\n", via("1.2.3.4:0", "5.6.7.8:65535"), None);
    accepts(b"PROXY TCP6 2001:DB8::1 ::1 1 2\r\n", via("[2001:db8::1]:1", "[::1]:2"), None);
    accepts(b"PROXY TCP6 :: :: 0 0\r\n", via("[::]:0", "[::]:0"), None);
    accepts(b"PROXY TCP6 ::ffff:1.2.3.4 ::1 1 2\r\n", via("1.2.3.4:1", "[::1]:2"), None);
    accepts(b"PROXY UNKNOWN\r\n", Header::Local, None);
    accepts(b"PROXY UNKNOWN \xff\r\x00\n anything\r\n", Header::Local, None);
}

#[test]
fn accepts_the_longest_line_and_refuses_a_longer_one() {
    let line = |n: usize| [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; n - 16], b"\r\n".to_vec()].concat();
    accepts(&line(v1::MAX_LINE), Header::Local, None);
    let long = line(v1::MAX_LINE + 1);
    refuses(&long, "v1 line too long");
    refuses(&long[..v1::MAX_LINE], "v1 line too long");
    assert_eq!(parse(&long[..v1::MAX_LINE - 1]), Parsed::More);
}

#[test]
fn refuses_lines_that_only_look_right() {
    for rest in [
        "TCP4",
        "TCP4 ",
        "TCP4  1.2.3.4 5.6.7.8 1 2",
        "TCP4 1.2.3.4  5.6.7.8 1 2",
        "TCP4 1.2.3.4 5.6.7.8 1 2 ",
        "TCP4 1.2.3.4 5.6.7.8 1 2 3",
        "TCP4 1.2.3.4 5.6.7.8\t1 2",
        "TCP4 1.2.3.4 5.6.7.8 1",
        "TCP4 1.2.3.4 5.6.7.8 +1 2",
        "TCP4 1.2.3.4 5.6.7.8 01 2",
        "TCP4 1.2.3.4 5.6.7.8 1 65536",
        "TCP4 1.2.3.4 5.6.7.8 1 ",
        "TCP4 1.2.3.04 5.6.7.8 1 2",
        "TCP4 1.2.3 5.6.7.8 1 2",
        "TCP4 1.2.3.256 5.6.7.8 1 2",
        "TCP4 ::1 ::1 1 2",
        "TCP6 1.2.3.4 5.6.7.8 1 2",
        "TCP6 1::2::3 ::1 1 2",
        "TCP6 fe80::1%eth0 ::1 1 2",
        "TCP4 1.2.3.4\0 5.6.7.8 1 2",
        "TCP4 1.2.3.4 5.6.7.8 1 2\n",
        "tcp4 1.2.3.4 5.6.7.8 1 2",
        "UDP4 1.2.3.4 5.6.7.8 1 2",
        "UNKNOWNX",
        "",
    ] {
        refuses(format!("PROXY {rest}\r\n").as_bytes(), "v1 line malformed");
    }
    refuses(b"PROXY TCP4 1.2.3.\xff 5.6.7.8 1 2\r\n", "v1 line malformed");
}

#[test]
fn bytes_of_devices_are_no_header_from_their_first_wrong_byte_on() {
    for bytes in [
        &b"\x78\x78\x0d\x01"[..],
        b"\x7e\x01",
        b"##,imei:",
        b"proxy TCP4",
        b"PROXYX",
        b"PROXY\t",
        b"\r\n\r\n\0\r\nQUIX",
        b"\r\nGET",
    ] {
        assert_eq!(parse(bytes), Parsed::None, "{}", bytes.escape_ascii());
    }
    for bytes in [&b""[..], b"P", b"\r", b"\r\n\r\n"] {
        assert_eq!(parse(bytes), Parsed::More, "{}", bytes.escape_ascii());
    }
}

#[test]
fn accepts_binary_headers() {
    accepts(&binary(0x21, 0x11, &CAR_V4), car(), None);
    let v6 = [&[0x20, 1, 0x0D, 0xB8][..], &[0; 11], &[7], &[0; 15], &[1], &[0, 1, 0, 2]].concat();
    accepts(&binary(0x21, 0x21, &v6), via("[2001:db8::7]:1", "[::1]:2"), None);
    let mapped = [&[0; 10][..], &[0xFF, 0xFF, 203, 0, 113, 7], &[0; 10], &[0xFF, 0xFF, 10, 0, 0, 5], &CAR_V4[8..]].concat();
    accepts(&binary(0x21, 0x21, &mapped), car(), None);
    let fields = [field(4, b"padding"), field(5, b"id-1"), field(0x20, &[0; 5]), field(0xE0, b"own")].concat();
    accepts(&binary(0x21, 0x11, &[&CAR_V4, &fields[..]].concat()), car(), Some(b"id-1"));
    let longest = [b'i'; 128];
    accepts(&binary(0x21, 0x11, &[&CAR_V4, &field(5, &longest)[..]].concat()), car(), Some(&longest));
}

/// Captured from HAProxy 2.6 with `deploy/haproxy.cfg`: the checksum comes first there.
#[test]
fn accepts_what_the_deployed_balancer_sends() {
    let v4 = protocols::cursor::unhex(
        "0d0a0d0a000d0a515549540a211100317f0000017f000001d79c51480300040ef96c8105001b\
         37463030303030313a443739435f36423036423530305f30303038",
    );
    accepts(&v4.unwrap(), via("127.0.0.1:55196", "127.0.0.1:20808"), Some(b"7F000001:D79C_6B06B500_0008"));
}

#[test]
fn headers_without_usable_addresses_leave_the_sockets_own() {
    for (command, family, length) in [
        (0x20, 0x00, 0),
        (0x20, 0x11, 0),
        (0x20, 0x11, 12),
        (0x20, 0xFF, 4),
        (0x20, 0x00, 3),
        (0x21, 0x00, 0),
        (0x21, 0x00, 2),
        (0x21, 0x12, 12),
        (0x21, 0x22, 36),
        (0x21, 0x10, 12),
        (0x21, 0x31, 216),
    ] {
        accepts(&binary(command, family, &vec![0xAB; length]), Header::Local, None);
    }
    // head and two paths: what a receiver without cap of its own has to have room for
    assert_eq!(binary(0x21, 0x31, &[0; 216]).len(), 232);
    accepts(&binary(0x20, 0x00, &field(5, b"probe")), Header::Local, Some(b"probe"));
}

#[test]
fn refuses_binary_headers_at_the_byte_that_is_wrong() {
    for command in [0x11, 0x31, 0x22, 0x2F] {
        refuses(&binary(command, 0x11, &CAR_V4)[..13], "v2 version or command unknown");
    }
    for family in [0x41, 0x13, 0x03, 0x33] {
        refuses(&binary(0x21, family, &CAR_V4)[..14], "v2 family or transport unknown");
    }
    for (family, length) in [(0x11, 11), (0x21, 35), (0x21, 12), (0x31, 215), (0x12, 0)] {
        refuses(&binary(0x21, family, &vec![0; length])[..16], "v2 address block too short");
    }
    for command in [0x20, 0x21] {
        refuses(&binary(command, 0x11, &[0; MAX_HEADER - 15])[..16], "v2 header too long");
    }
    let padding = field(4, &[0; MAX_HEADER - 16 - 12 - 3]);
    accepts(&binary(0x21, 0x11, &[&CAR_V4, &padding[..]].concat()), car(), None);
}

#[test]
fn refuses_fields_that_do_not_add_up() {
    let with = |fields: &[u8]| binary(0x21, 0x11, &[&CAR_V4, fields].concat());
    refuses(&with(&[5]), "v2 field cut short");
    refuses(&with(&[4, 0, 0, 5, 0]), "v2 field cut short");
    refuses(&with(&[5, 0, 2, b'i']), "v2 field cut short");
    refuses(&with(&field(5, &[b'i'; 129])), "v2 unique id too long");
    refuses(&with(&field(0x20, &[0; 4])), "v2 SSL field cut short");
    refuses(&with(&field(3, &[0; 3])), "v2 checksum of a wrong size");
}

#[test]
fn the_checksum_is_obeyed_even_where_the_block_means_nothing() {
    accepts(&summed(0x21, 0x11, &CAR_V4), car(), None);
    accepts(&summed(0x21, 0x11, &[&CAR_V4, &field(5, b"id-2")[..]].concat()), car(), Some(b"id-2"));
    accepts(&summed(0x20, 0x00, &[]), Header::Local, None);
    for good in [summed(0x21, 0x11, &CAR_V4), summed(0x20, 0x00, &[]), summed(0x21, 0x31, &[0; 216])] {
        let mut bad = good;
        *bad.last_mut().unwrap() ^= 1;
        refuses(&bad, "v2 checksum wrong");
    }
    // what HAProxy 2.6 puts into each of its health checks
    assert_eq!(summed(0x20, 0x00, &[])[19..], [0xA9, 0xB8, 0x7E, 0x8F]);
}

/// Headers and refusals collected outside this repository, with the strength of each verdict; where they are at hand.
/// "must" and "must-if-crc" are the specification's word. "should", "choice", "policy" and "tolerant" are ours to decide,
/// and we decide like the collection.
#[test]
fn agrees_with_the_collected_vectors() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors/proxy_vectors.jsonl");
    let Ok(text) = std::fs::read_to_string(&path) else {
        println!("skipped: no collected vectors beside this repository");
        return;
    };
    let mut seen = 0;
    for line in text.lines() {
        let vector: serde_json::Value = serde_json::from_str(line).unwrap();
        let word = |key: &str| vector[key].as_str();
        let bytes = protocols::cursor::unhex(word("hex").unwrap()).unwrap();
        let got = parse(&bytes);
        match word("verdict").unwrap() {
            "accept" => {
                let length = usize::try_from(vector["header_len"].as_u64().unwrap()).unwrap();
                let header = match (word("addr_mode"), word("src"), word("dst")) {
                    (Some("proxied"), Some(src), Some(dst)) => via(src, dst),
                    _ => Header::Local,
                };
                let Parsed::Header { used, header: read, .. } = got else { panic!("{}: {got:?}", vector["id"]) };
                assert_eq!((used, read), (length, header), "{}", vector["id"]);
                for cut in 0..length {
                    assert_eq!(parse(&bytes[..cut]), Parsed::More, "{cut} bytes of {}", vector["id"]);
                }
            }
            "reject" => assert!(matches!(got, Parsed::None | Parsed::Bad(_)), "{}: {got:?}", vector["id"]),
            "incomplete" => assert_eq!(got, Parsed::More, "{}", vector["id"]),
            other => panic!("verdict {other}"),
        }
        seen += 1;
    }
    assert!(seen > 0, "the collection is empty");
}

#[test]
fn everything_that_the_fuzzer_keeps_passes() {
    let corpus = std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/proxy")).unwrap();
    let kept: Vec<_> = corpus.map(|file| std::fs::read(file.unwrap().path()).unwrap()).collect();
    kept.iter().for_each(|bytes| law::check(bytes));
    assert!(!kept.is_empty());
}

proptest! {
    #[test]
    fn any_bytes_get_a_verdict_within_the_bound(
        version in 0..3_usize, tail in proptest::collection::vec(any::<u8>(), 0..600), cut in any::<prop::sample::Index>(),
    ) {
        let start: &[u8] = [&b""[..], v1::SIGNATURE, v2::SIGNATURE][version];
        let mut bytes = [start, &tail].concat();
        if let Parsed::Header { used, .. } = parse(&bytes) {
            prop_assert!(used <= bytes.len());
        }
        // a verdict stands whatever comes after it
        let cut = cut.index(bytes.len() + 1);
        if parse(&bytes[..cut]) != Parsed::More {
            prop_assert_eq!(parse(&bytes[..cut]), parse(&bytes));
        }
        bytes.resize(MAX_HEADER, 0);
        prop_assert_ne!(parse(&bytes), Parsed::More);
    }

    #[test]
    fn a_changed_address_never_passes_the_checksum(at in 16..28_usize, change in 1..=u8::MAX) {
        let mut bytes = summed(0x21, 0x11, &CAR_V4);
        bytes[at] ^= change;
        prop_assert_eq!(parse(&bytes), Parsed::Bad("v2 checksum wrong"));
    }

    #[test]
    fn every_pair_of_addresses_comes_through(
        src in any::<(std::net::IpAddr, u16)>(), dst in any::<(std::net::IpAddr, u16)>(),
    ) {
        let (src, dst) = (SocketAddr::from(src), SocketAddr::from(dst));
        if src.is_ipv4() == dst.is_ipv4() {
            let family = if src.is_ipv4() { "TCP4" } else { "TCP6" };
            let line = format!("PROXY {family} {} {} {} {}\r\n", src.ip(), dst.ip(), src.port(), dst.port());
            let plain = |a: SocketAddr| SocketAddr::new(a.ip().to_canonical(), a.port());
            accepts(line.as_bytes(), Header::Proxied { src: plain(src), dst: plain(dst) }, None);
        }
    }
}
