//! `navgate import` of captures that the tests make byte by byte.

use std::net::SocketAddr;
use std::path::Path;

use protocols::registry;
use protocols::script::{Script, check};

use crate::harness::device::Device;
use crate::harness::gateway::{Setup, navgate};

const SYN: u8 = 0x02;
const FIN: u8 = 0x01;
const ACK: u8 = 0x10;

/// The header of TCP and what it carries. Checksums are zero: offloaded ones look so in a capture.
fn tcp(from: u16, to: u16, sequence: u32, acknowledged: u32, flags: u8, payload: &[u8]) -> Vec<u8> {
    let mut packet = [from.to_be_bytes(), to.to_be_bytes()].concat();
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&acknowledged.to_be_bytes());
    packet.extend_from_slice(&[0x50, flags, 0xFF, 0xFF, 0, 0, 0, 0]);
    packet.extend_from_slice(payload);
    packet
}

fn ip(from: SocketAddr, to: SocketAddr, inside: &[u8]) -> Vec<u8> {
    match (from, to) {
        (SocketAddr::V4(from), SocketAddr::V4(to)) => {
            let length = u16::try_from(20 + inside.len()).unwrap().to_be_bytes();
            let mut packet = vec![0x45, 0, length[0], length[1], 0, 0, 0x40, 0, 64, 6, 0, 0];
            packet.extend_from_slice(&from.ip().octets());
            packet.extend_from_slice(&to.ip().octets());
            packet.extend_from_slice(inside);
            packet
        }
        (SocketAddr::V6(from), SocketAddr::V6(to)) => {
            let length = u16::try_from(inside.len()).unwrap().to_be_bytes();
            let mut packet = vec![0x60, 0, 0, 0, length[0], length[1], 6, 64];
            packet.extend_from_slice(&from.ip().octets());
            packet.extend_from_slice(&to.ip().octets());
            packet.extend_from_slice(inside);
            packet
        }
        _ => panic!("{from} {to}"),
    }
}

/// Ethernet with a VLAN tag, filled up to the shortest frame.
fn ethernet(inside: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 0x81, 0x00, 0, 7];
    frame.extend_from_slice(if inside[0] >> 4 == 4 { &[0x08, 0x00] } else { &[0x86, 0xDD] });
    frame.extend_from_slice(inside);
    frame.resize(frame.len().max(64), 0);
    frame
}

/// Linux cooked.
fn cooked(inside: &[u8]) -> Vec<u8> {
    let mut frame = vec![0, 0, 0, 1, 0, 6, 2, 0, 0, 0, 0, 1, 0, 0, 0x08, 0x00];
    frame.extend_from_slice(inside);
    frame
}

/// A packet and when it came, milliseconds from 2026-03-01T10:00:00Z.
type Packet = (u32, Vec<u8>);

fn pcap(link: u32, packets: &[Packet]) -> Vec<u8> {
    let mut file = [0xA1B2_C3D4_u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4], [0xFF, 0xFF, 0, 0], link.to_le_bytes()].concat();
    for (ms, packet) in packets {
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let (s, us) = (1_772_359_200 + ms / 1000, ms % 1000 * 1000);
        file.extend([s.to_le_bytes(), us.to_le_bytes(), length, length].concat());
        file.extend_from_slice(packet);
    }
    file
}

fn pcapng(link: u16, packets: &[Packet]) -> Vec<u8> {
    let block = |kind: u32, body: &[u8]| {
        let mut body = body.to_vec();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
        [&kind.to_le_bytes()[..], &length, &body, &length].concat()
    };
    let mut file = block(0x0A0D_0D0A, &[&0x1A2B_3C4D_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xFF; 8]].concat());
    file.extend(block(1, &[&link.to_le_bytes()[..], &[0, 0, 0, 0, 0, 0]].concat()));
    for (ms, packet) in packets {
        let us = (1_772_359_200_000 + u64::from(*ms)) * 1000;
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let (high, low) = (((us >> 32) as u32).to_le_bytes(), (us as u32).to_le_bytes());
        file.extend(block(6, &[&[0, 0, 0, 0][..], &high, &low, &length, &length, packet].concat()));
    }
    file
}

const LOGIN: &[u8] = b"\x78\x78\x0d\x01\x08\x61\x20\x00\x00\x00\x00\x12\x00\x01\x1d\x5a\x0d\x0a";
const LOGIN_ANSWER: &[u8] = b"\x78\x78\x05\x01\x00\x01\xd9\xdc\x0d\x0a";

fn addresses() -> (SocketAddr, SocketAddr) {
    ("10.1.2.3:40000".parse().unwrap(), "10.9.8.7:5023".parse().unwrap())
}

/// A sign-on and two positions of a device: out of order, again, overlapping, through a balancer, answered by another server.
fn conversation() -> Vec<(u32, Vec<u8>)> {
    let (device, server) = addresses();
    let up = |sequence: u32, flags: u8, payload: &[u8]| {
        ip(device, server, &tcp(device.port(), server.port(), sequence, 1, flags, payload))
    };
    let down = |sequence: u32, acknowledged: u32, flags: u8, payload: &[u8]| {
        ip(server, device, &tcp(server.port(), device.port(), sequence, acknowledged, flags, payload))
    };
    let mut unit = Device::new("gt06", 1);
    let [first, second] = [(); 2].map(|()| unit.position().2);
    let header = b"PROXY TCP4 203.0.113.7 10.9.8.7 4242 5023\r\n";
    let stream = [header.as_slice(), LOGIN, &first, &second].concat();
    let at = |offset: usize| 1001 + u32::try_from(offset).unwrap();
    let login = header.len() + LOGIN.len();
    vec![
        (0, up(1000, SYN, b"")),
        (1, down(0, 1001, SYN | ACK, b"")),
        // the end of the sign-on before its beginning, and the beginning twice
        (10, up(at(50), ACK, &stream[50..login])),
        (12, up(at(0), ACK, &stream[..50])),
        (14, up(at(0), ACK, &stream[..50])),
        (40, down(1, at(login), ACK, LOGIN_ANSWER)),
        // two positions in one segment, which overlaps what came before, five seconds later
        (5040, up(at(login - 4), ACK, &stream[login - 4..])),
        (5060, down(11, at(stream.len()), ACK, b"\x78\x78\x05\x12\x00\x01\x00\x00\x0d\x0a")),
        (5070, up(at(stream.len()), ACK | FIN, b"")),
        (5080, down(21, at(stream.len()) + 1, ACK | FIN, b"")),
    ]
}

/// The one script that came of it.
fn only_script(directory: &Path) -> (String, String) {
    let mut files: Vec<_> = std::fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let path = files.remove(0);
    (path.file_name().unwrap().to_str().unwrap().to_owned(), std::fs::read_to_string(path).unwrap())
}

fn import(bytes: &[u8], more: &[&str]) -> (Option<i32>, String, String, tempfile::TempDir) {
    let (input, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let file = input.path().join("x.pcap");
    std::fs::write(&file, bytes).unwrap();
    let (file, folder) = (file.to_str().unwrap(), out.path().to_str().unwrap());
    let (status, said, talk) = navgate(&[&["import", file, "--out", folder][..], more].concat());
    (status.code(), said, talk, out)
}

#[test]
fn a_connection_becomes_a_script_that_replays() {
    let packets = conversation();
    let link = |frame: fn(&[u8]) -> Vec<u8>| packets.iter().map(|(ms, packet)| (*ms, frame(packet))).collect::<Vec<_>>();
    let raw = |packet: &[u8]| packet.to_vec();
    let files = [pcap(1, &link(ethernet)), pcap(113, &link(cooked)), pcapng(101, &link(raw)), pcapng(1, &link(ethernet))];
    let mut scripts = Vec::new();
    for file in files {
        let (status, said, talk, out) = import(&file, &[]);
        assert_eq!(status, Some(0), "{said}{talk}");
        assert!(said.contains("gt06: 3 frames, 2 events, 0 rejects"), "{said}");
        scripts.push((only_script(out.path()), out));
    }
    let ((name, text), out) = &scripts[0];
    assert!(scripts.iter().all(|((other, same), _)| (other, same) == (name, text)), "{scripts:?}");
    assert_eq!(name, "gt06-20260301T100000012Z-10-1-2-3-40000.script");
    for line in [
        "# imported: 10.1.2.3:40000 to 10.9.8.7:5023, gt06",
        "# behind a balancer's PROXY header: from 203.0.113.7:4242 to 10.9.8.7:5023",
        "# 1 segments came again with nothing new",
        "> 78780d01086120000000001200011d5a0d0a",
        "< 787805010001d9dc0d0a",
        "# < 787805010001d9dc0d0a",
        "@ +5028ms",
        "# < 78780512000100000d0a",
    ] {
        assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
    }
    let script = Script::parse(text).unwrap();
    assert_eq!(check(registry::find("gt06").unwrap(), &script), Ok(Vec::new()));
    let journal = tempfile::tempdir().unwrap();
    let gateway = Setup::journal("gw-1", journal.path()).listen("gt06").start();
    let (path, to) = (out.path().join(name), gateway.address("gt06").to_string());
    let events = journal.path().to_str().unwrap();
    let (status, said, talk) = navgate(&["replay", path.to_str().unwrap(), "--to", &to, "--protocol", "gt06", "--events", events]);
    assert!(status.success(), "{said}{talk}");
}

#[test]
fn what_the_capture_lacks_is_said() {
    let packets = conversation();
    let frames: Vec<_> = packets.iter().enumerate().filter(|(n, _)| *n != 6).map(|(_, (ms, p))| (*ms, ethernet(p))).collect();
    let (status, said, talk, out) = import(&pcap(1, &frames), &[]);
    assert_eq!(status, Some(0), "{said}{talk}");
    assert!(!only_script(out.path()).1.contains("= "), "the positions are lost");
    // the sign-on's second half is: nothing of it can be read, and that is told
    let frames: Vec<_> = packets.iter().enumerate().filter(|(n, _)| *n != 2).map(|(_, (ms, p))| (*ms, ethernet(p))).collect();
    let (status, said, talk, out) = import(&pcap(1, &frames), &[]);
    assert_eq!(status, Some(0), "{said}{talk}");
    let text = only_script(out.path()).1;
    assert!(text.contains("bytes of the device were not captured"), "{text}");
}

#[test]
fn anonymised_it_names_nobody() {
    let frames: Vec<_> = conversation().iter().map(|(ms, packet)| (*ms, ethernet(packet))).collect();
    let (status, said, talk, out) = import(&pcap(1, &frames), &["--anonymise"]);
    assert_eq!(status, Some(0), "{said}{talk}");
    let (name, text) = only_script(out.path());
    for secret in ["861200000000012", "0861200000000012", "10.1.2.3", "203.0.113.7", "22.5431", "114.0579"] {
        assert!(!text.contains(secret) && !name.contains(secret), "{secret} in {name}\n{text}");
    }
    assert_eq!(check(registry::find("gt06").unwrap(), &Script::parse(&text).unwrap()), Ok(Vec::new()));
}

#[test]
fn the_port_or_the_bytes_or_the_command_line_say_what_is_spoken() {
    let device: SocketAddr = "[2001:db8::7]:50000".parse().unwrap();
    let other: SocketAddr = "[2001:db8::1]:9000".parse().unwrap();
    let one = |payload: &[u8]| vec![(0, ip(device, other, &tcp(device.port(), other.port(), 1, 1, ACK, payload)))];
    let recognised = import(&pcap(101, &one(LOGIN)), &[]);
    assert!(recognised.0 == Some(0) && recognised.1.contains(" gt06:"), "{recognised:?}");
    assert!(only_script(recognised.3.path()).1.contains("# the beginning of the connection was not captured"));
    let unknown = import(&pcap(101, &one(b"HELLO")), &[]);
    assert!(unknown.0 == Some(1) && unknown.2.contains("--listen"), "{unknown:?}");
    let told = import(&pcap(101, &one(b"HELLO")), &["--listen", "9000=jt808"]);
    assert!(told.0 == Some(0) && told.1.contains(" jt808:"), "{told:?}");
}

#[test]
fn refuses_what_is_no_capture() {
    for bytes in [&b"no capture"[..], b"", &pcap(1, &[(0, vec![1; 60])])[..50]] {
        let (status, said, talk, _) = import(bytes, &[]);
        assert_eq!(status, Some(1), "{said}{talk}");
    }
    assert_eq!(navgate(&["import", "no/such/file", "--out", "/tmp"]).0.code(), Some(2));
    assert_eq!(navgate(&["import", "x", "--out", "/tmp", "--listen", "5023"]).0.code(), Some(2));
}
