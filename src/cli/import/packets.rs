//! From a capture file to TCP segments: the file's own format, the link, the network.

use std::fmt;
use std::io::Read;
use std::net::{IpAddr, SocketAddr};

use etherparse::{EtherType, LaxNetSlice, LaxSlicedPacket, TransportSlice};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};
use protocols::time::Timestamp;

/// What is read of the file at once, and at first the longest block that is taken.
const BUFFER: usize = 256 * 1024;
/// A block that is longer is none: the largest packets of a loopback have 64 KiB, pcapng's options are shorter still.
const LARGEST_BLOCK: usize = 16 * 1024 * 1024;

/// A segment of TCP.
#[derive(Debug, Clone)]
pub(super) struct Segment<'p> {
    pub(super) at: Timestamp,
    pub(super) from: SocketAddr,
    pub(super) to: SocketAddr,
    pub(super) sequence: u32,
    /// What the sender has got of the other direction.
    pub(super) acknowledged: Option<u32>,
    pub(super) syn: bool,
    pub(super) fin: bool,
    pub(super) rst: bool,
    pub(super) payload: &'p [u8],
    /// So many bytes of the payload were not captured.
    pub(super) cut: usize,
}

/// Packets that hold no whole segment of TCP.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Passed {
    /// Of other protocols.
    pub(super) other: u64,
    /// Damaged, cut off before their payload, or fragments.
    pub(super) unreadable: u64,
    /// Of links that are not known.
    pub(super) links: u64,
}

/// Why the file cannot be read further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Unreadable(String);

impl fmt::Display for Unreadable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How to read the packets of an interface.
#[derive(Debug, Clone, Copy)]
struct Interface {
    link: Linktype,
    /// Units of its times in a second.
    units: u64,
    offset_s: i64,
}

/// Hand every segment in the file to `take`, in the file's order.
///
/// # Errors
/// If it is no capture, or is damaged; what came before has been handed over.
pub(super) fn read(file: impl Read + Send, mut take: impl FnMut(&Segment<'_>)) -> Result<Passed, Unreadable> {
    let mut reader = create_reader(BUFFER, file).map_err(|_| Unreadable("this is neither pcap nor pcapng".into()))?;
    let mut interfaces: Vec<Interface> = Vec::new();
    let mut passed = Passed::default();
    let mut size = BUFFER;
    loop {
        let step = match reader.next() {
            Ok((used, block)) => {
                on_block(&block, &mut interfaces, &mut passed, &mut take);
                Step::On(used)
            }
            Err(PcapError::Eof) => return Ok(passed),
            Err(PcapError::Incomplete(_)) => Step::More,
            Err(PcapError::UnexpectedEof) => return Err(Unreadable(TORN.into())),
            Err(e) => Step::Damaged(name(&e)),
        };
        match step {
            Step::On(used) => reader.consume(used),
            Step::More if reader.reader_exhausted() => return Err(Unreadable(TORN.into())),
            Step::More => {
                if reader.data().len() >= size {
                    size *= 2;
                    if size > LARGEST_BLOCK || !reader.grow(size) {
                        return Err(Unreadable(format!("a packet in it says that it has more than {LARGEST_BLOCK} bytes")));
                    }
                }
                reader.refill().map_err(|_| Unreadable("it cannot be read".into()))?;
            }
            Step::Damaged(how) => return Err(Unreadable(format!("it is damaged {} bytes in ({how})", reader.consumed()))),
        }
    }
}

/// What is to be done after a look at the file.
enum Step {
    On(usize),
    More,
    Damaged(String),
}

const TORN: &str = "it ends in the middle of a packet";

/// The error without the bytes that it carries.
fn name<I: fmt::Debug>(error: &PcapError<I>) -> String {
    let text = format!("{error:?}");
    text.split(['(', '{', ' ']).next().unwrap_or_default().to_owned()
}

fn on_block(block: &PcapBlockOwned<'_>, interfaces: &mut Vec<Interface>, passed: &mut Passed, take: &mut impl FnMut(&Segment<'_>)) {
    let mut packet = |interface: &Interface, ticks: u64, data: &[u8], length: u32| {
        let ms = i128::from(ticks) * 1000 / i128::from(interface.units.max(1)) + i128::from(interface.offset_s) * 1000;
        let at = Timestamp::from_millis(i64::try_from(ms).unwrap_or_default());
        on_packet(interface.link, at, data, usize::try_from(length).unwrap_or(data.len()), passed, take);
    };
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            let units = if header.is_nanosecond_precision() { 1_000_000_000 } else { 1_000_000 };
            *interfaces = vec![Interface { link: header.network, units, offset_s: 0 }];
        }
        PcapBlockOwned::Legacy(block) => {
            if let Some(interface) = interfaces.first() {
                let ticks = u64::from(block.ts_sec) * interface.units + u64::from(block.ts_usec);
                packet(interface, ticks, block.data, block.origlen);
            }
        }
        PcapBlockOwned::NG(Block::SectionHeader(_)) => interfaces.clear(),
        PcapBlockOwned::NG(Block::InterfaceDescription(block)) => {
            let units = block.ts_resolution().unwrap_or(1_000_000);
            interfaces.push(Interface { link: block.linktype, units, offset_s: block.if_tsoffset });
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(block)) => {
            let interface = usize::try_from(block.if_id).ok().and_then(|id| interfaces.get(id));
            if let Some(interface) = interface {
                let ticks = u64::from(block.ts_high) << 32 | u64::from(block.ts_low);
                packet(interface, ticks, block.packet_data(), block.origlen);
            }
        }
        PcapBlockOwned::NG(Block::SimplePacket(block)) => {
            if let Some(interface) = interfaces.first() {
                packet(interface, 0, block.packet_data(), block.origlen);
            }
        }
        PcapBlockOwned::NG(_) => {}
    }
}

fn on_packet(link: Linktype, at: Timestamp, data: &[u8], length: usize, passed: &mut Passed, take: &mut impl FnMut(&Segment<'_>)) {
    let Some(packet) = sliced(link, data, passed) else { return };
    let (from, to): (IpAddr, IpAddr) = match &packet.net {
        Some(LaxNetSlice::Ipv4(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        Some(LaxNetSlice::Ipv6(ip)) => (ip.header().source_addr().into(), ip.header().destination_addr().into()),
        Some(LaxNetSlice::Arp(_)) => {
            passed.other += 1;
            return;
        }
        None => {
            if packet.stop_err.is_some() {
                passed.unreadable += 1
            } else {
                passed.other += 1
            }
            return;
        }
    };
    match &packet.transport {
        Some(TransportSlice::Tcp(tcp)) => take(&Segment {
            at,
            from: SocketAddr::new(from, tcp.source_port()),
            to: SocketAddr::new(to, tcp.destination_port()),
            sequence: tcp.sequence_number(),
            acknowledged: tcp.ack().then(|| tcp.acknowledgment_number()),
            syn: tcp.syn(),
            fin: tcp.fin(),
            rst: tcp.rst(),
            payload: tcp.payload(),
            cut: length.saturating_sub(data.len()),
        }),
        Some(_) => passed.other += 1,
        None => passed.unreadable += 1,
    }
}

/// Below the link, whichever it is. What follows a cut-off packet's headers is taken as far as it goes.
fn sliced<'p>(link: Linktype, data: &'p [u8], passed: &mut Passed) -> Option<LaxSlicedPacket<'p>> {
    /// Linux cooked: where the number of the network protocol stands, and where the header ends.
    const COOKED: (usize, usize) = (14, 16);
    const COOKED_2: (usize, usize) = (0, 20);
    /// BSD loopback: an address family, in the byte order of whoever wrote it; the IP version says the same.
    const LOOPBACK: usize = 4;
    let cooked = |(at, end): (usize, usize)| {
        let number: [u8; 2] = data.get(at..at + 2)?.try_into().ok()?;
        Some(LaxSlicedPacket::from_ether_type(EtherType(u16::from_be_bytes(number)), data.get(end..)?))
    };
    let ip = |data: Option<&'p [u8]>| LaxSlicedPacket::from_ip(data?).ok();
    let found = match link {
        Linktype::ETHERNET => LaxSlicedPacket::from_ethernet(data).ok(),
        Linktype::LINUX_SLL => cooked(COOKED),
        Linktype::LINUX_SLL2 => cooked(COOKED_2),
        Linktype::RAW | Linktype::IPV4 | Linktype::IPV6 => ip(Some(data)),
        Linktype::NULL | Linktype::LOOP => ip(data.get(LOOPBACK..)),
        // raw IP by the numbers that some systems write
        Linktype(12 | 14) => ip(Some(data)),
        _ => {
            passed.links += 1;
            return None;
        }
    };
    if found.is_none() {
        passed.unreadable += 1;
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One segment with `abc`, 10.0.0.1:256 to 10.0.0.2:5023, on a link of this kind behind these bytes.
    fn file(link: u32, before: &[u8]) -> Vec<u8> {
        let mut packet = before.to_vec();
        packet.extend_from_slice(&[0x45, 0, 0, 43, 0, 0, 0x40, 0, 64, 6, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
        packet.extend_from_slice(&[1, 0, 0x13, 0x9F, 0, 0, 0, 7, 0, 0, 0, 9, 0x50, 0x10, 0, 0, 0, 0, 0, 0]);
        packet.extend_from_slice(b"abc");
        let length = u32::try_from(packet.len()).unwrap().to_le_bytes();
        let mut file =
            [0xA1B2_C3D4_u32.to_le_bytes(), [2, 0, 4, 0], [0; 4], [0; 4], [0xFF, 0xFF, 0, 0], link.to_le_bytes()].concat();
        file.extend([1_u32.to_le_bytes(), 500_000_u32.to_le_bytes(), length, length].concat());
        file.extend(packet);
        file
    }

    fn payloads(file: &[u8]) -> (Vec<Vec<u8>>, Result<Passed, Unreadable>) {
        let mut found = Vec::new();
        let read = read(file, |segment| found.push(segment.payload.to_vec()));
        (found, read)
    }

    #[test]
    fn accepts_every_kind_of_link() {
        let ethernet = [[2; 12].as_slice(), &[8, 0]].concat();
        let tagged = [[2; 12].as_slice(), &[0x88, 0xA8, 0, 5, 0x81, 0, 0, 7, 8, 0]].concat();
        let cooked = [[0; 14].as_slice(), &[8, 0]].concat();
        let cooked_2 = [[8, 0].as_slice(), &[0; 18]].concat();
        for (link, before) in
            [(1, ethernet), (1, tagged), (113, cooked), (276, cooked_2), (101, vec![]), (228, vec![]), (0, vec![2, 0, 0, 0])]
        {
            let (found, read) = payloads(&file(link, &before));
            assert_eq!((found, read), (vec![b"abc".to_vec()], Ok(Passed::default())), "link {link}");
        }
        assert_eq!(payloads(&file(999, &[])).1, Ok(Passed { links: 1, ..Passed::default() }));
    }

    #[test]
    fn times_and_numbers_are_taken_over() {
        let mut told = Vec::new();
        read(&file(101, &[])[..], |s| told.push((s.at.as_millis(), s.from.to_string(), s.to.port(), s.sequence, s.acknowledged)))
            .unwrap();
        assert_eq!(told, [(1500, "10.0.0.1:256".to_owned(), 5023, 7, Some(9))]);
    }

    #[test]
    fn refuses_damage_and_always_comes_to_an_end() {
        let whole = file(1, &[[2; 12].as_slice(), &[8, 0]].concat());
        for end in 0..whole.len() {
            let (found, read) = payloads(&whole[..end]);
            assert!(found.is_empty() && (read.is_err() || end == 24), "{end}: {read:?}");
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7F, 0x80, 0xFF] {
                let mut damaged = whole.clone();
                damaged[at] = byte;
                let _ = payloads(&damaged);
            }
        }
    }
}
