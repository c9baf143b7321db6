//! Connections: which side is the device, what it spoke, and when it is over.

use std::collections::HashMap;
use std::net::SocketAddr;

use protocols::registry::{self, Protocol, Recognised};
use protocols::script::{Heard, Moment, Recording};
use protocols::time::Timestamp;
use protocols::wire::Probe;

use super::packets::Segment;
use super::tcp::{Half, Piece};
use crate::proxy::{self, Header, Parsed};

/// Bytes of all connections that are kept at once; beyond it the largest is written as far as it goes, and goes on in another file.
const MOST_BYTES: usize = 256 * 1024 * 1024;
/// Connections at once; beyond it the one that was silent longest is taken for over.
const MOST_FLOWS: usize = 16_384;
/// What a moment costs besides its bytes.
const MOMENT: usize = 64;

/// Ports of devices, and what is spoken there.
pub(super) type Ports = HashMap<u16, &'static Protocol>;

/// A connection, without regard to direction.
type Key = (SocketAddr, SocketAddr);

/// A connection on its way.
#[derive(Debug)]
struct Flow {
    device: SocketAddr,
    server: SocketAddr,
    up: Half,
    down: Half,
    /// The beginning was not captured.
    late: bool,
    moments: Vec<Moment>,
    bytes: usize,
    last: Timestamp,
    ended: u8,
}

/// A connection that is over.
#[derive(Debug)]
pub(super) struct Finished {
    pub(super) device: SocketAddr,
    pub(super) server: SocketAddr,
    pub(super) protocol: &'static Protocol,
    pub(super) recording: Recording,
    pub(super) begun: Timestamp,
}

/// Connections that became no script.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Skipped {
    /// The client said nothing.
    pub(super) silent: u64,
    /// What it said is no protocol that is known.
    pub(super) unknown: u64,
}

/// All connections.
pub(super) struct Flows {
    /// Said on the command line.
    told: Ports,
    /// The usual ones.
    usual: Ports,
    flows: HashMap<Key, Flow>,
    bytes: usize,
    pub(super) skipped: Skipped,
}

impl Flows {
    pub(super) fn new(told: Ports) -> Self {
        let usual = protocols::PROTOCOLS.iter().map(|p| (p.port, *p)).collect();
        Self { told, usual, flows: HashMap::new(), bytes: 0, skipped: Skipped::default() }
    }

    fn is_server(&self, port: u16) -> bool {
        self.told.contains_key(&port) || self.usual.contains_key(&port)
    }

    /// A segment; connections that are over with it, or for which there is no more room, go to `done`.
    pub(super) fn on(&mut self, segment: &Segment<'_>, done: &mut impl FnMut(Finished)) {
        let key = key(segment.from, segment.to);
        if segment.syn && self.flows.get(&key).is_some_and(|flow| flow.half(segment.from).is_begun_otherwise(segment.sequence)) {
            // the same ports once more
            self.finish(&key, done);
        }
        if !self.flows.contains_key(&key) {
            if segment.rst || (segment.payload.is_empty() && !segment.syn) {
                return; // the end of something that was over before
            }
            let flow = self.begin(segment);
            self.flows.insert(key, flow);
        }
        let Some(flow) = self.flows.get_mut(&key) else { return };
        let before = flow.size();
        flow.on(segment);
        let over = segment.rst || flow.ended >= 2;
        self.bytes = (self.bytes + flow.size()).saturating_sub(before);
        if over {
            self.finish(&key, done);
        } else if self.bytes > MOST_BYTES {
            self.make_room(|flow| flow.size(), done);
        } else if self.flows.len() > MOST_FLOWS {
            let now = segment.at.as_millis();
            self.make_room(|flow| usize::try_from(now - flow.last.as_millis()).unwrap_or(0), done);
        }
    }

    fn begin(&self, segment: &Segment<'_>) -> Flow {
        let outward = match (segment.syn, segment.acknowledged.is_some()) {
            (true, answered) => !answered,
            // nobody saw who began: the well-known port is the server's, else the lower one
            (false, _) => match (self.is_server(segment.from.port()), self.is_server(segment.to.port())) {
                (true, false) => false,
                (false, true) => true,
                _ => segment.from.port() > segment.to.port(),
            },
        };
        let (device, server) = if outward { (segment.from, segment.to) } else { (segment.to, segment.from) };
        Flow {
            device,
            server,
            up: Half::default(),
            down: Half::default(),
            late: !segment.syn,
            moments: Vec::new(),
            bytes: 0,
            last: segment.at,
            ended: 0,
        }
    }

    /// The one of which there is most.
    fn make_room(&mut self, most: impl Fn(&Flow) -> usize, done: &mut impl FnMut(Finished)) {
        let found = self.flows.iter().max_by_key(|(_, flow)| most(flow)).map(|(key, _)| *key);
        if let Some(key) = found {
            if let Some(flow) = self.flows.get_mut(&key) {
                let at = flow.last;
                flow.remark(at, "cut here for want of memory; what follows is in another file".into());
            }
            self.finish(&key, done);
        }
    }

    /// The file is over.
    pub(super) fn end(&mut self, done: &mut impl FnMut(Finished)) {
        let mut keys: Vec<_> = self.flows.iter().map(|(key, flow)| (flow.begun(), *key)).collect();
        keys.sort();
        keys.iter().for_each(|(_, key)| self.finish(key, done));
    }

    fn finish(&mut self, key: &Key, done: &mut impl FnMut(Finished)) {
        let Some(mut flow) = self.flows.remove(key) else { return };
        self.bytes = self.bytes.saturating_sub(flow.size());
        let at = flow.last;
        let (up, down) = (flow.up.end(), flow.down.end());
        flow.tell(up, true, at);
        flow.tell(down, false, at);
        let header = flow.strip_header();
        let mut head = Vec::new();
        for moment in &flow.moments {
            if let Heard::FromDevice(bytes) = &moment.what {
                head.extend_from_slice(bytes);
            }
            if head.len() >= registry::PROBE_WINDOW {
                break;
            }
        }
        if head.is_empty() {
            self.skipped.silent += 1;
            return;
        }
        let Some(protocol) = self.protocol(flow.server.port(), &head) else {
            self.skipped.unknown += 1;
            return;
        };
        let mut remarks = vec![format!("imported: {} to {}, {}", flow.device, flow.server, protocol.name)];
        remarks.extend(header);
        if flow.late {
            remarks.push("the beginning of the connection was not captured".into());
        }
        let repeated = flow.up.repeated + flow.down.repeated;
        if repeated > 0 {
            remarks.push(format!("{repeated} segments came again with nothing new"));
        }
        let begun = flow.begun();
        let recording = Recording { remarks, moments: flow.moments, ..Recording::default() };
        done(Finished { device: flow.device, server: flow.server, protocol, recording, begun });
    }

    /// By the command line, by the usual port unless the bytes say no, by the bytes.
    fn protocol(&self, port: u16, head: &[u8]) -> Option<&'static Protocol> {
        if let Some(told) = self.told.get(&port) {
            return Some(told);
        }
        let usual =
            self.usual.get(&port).copied().filter(|p| (p.probe)(head.get(..registry::PROBE_WINDOW).unwrap_or(head)) != Probe::No);
        usual.or_else(|| match registry::recognise(head) {
            Recognised::As(protocol) => Some(protocol),
            Recognised::Undecided(_) | Recognised::No => None,
        })
    }
}

fn key(a: SocketAddr, b: SocketAddr) -> Key {
    if a < b { (a, b) } else { (b, a) }
}

impl Flow {
    fn half(&self, from: SocketAddr) -> &Half {
        if from == self.device { &self.up } else { &self.down }
    }

    fn begun(&self) -> Timestamp {
        self.moments.first().map_or(self.last, |moment| moment.at)
    }

    fn size(&self) -> usize {
        self.bytes + self.up.held() + self.down.held()
    }

    fn on(&mut self, segment: &Segment<'_>) {
        let up = segment.from == self.device;
        self.last = self.last.max(segment.at);
        let (own, other) = if up { (&mut self.up, &mut self.down) } else { (&mut self.down, &mut self.up) };
        if segment.syn {
            own.syn(segment.sequence);
        }
        let sequence = if segment.syn { segment.sequence.wrapping_add(1) } else { segment.sequence };
        let pieces = own.receive(sequence, segment.payload, segment.cut);
        // a FIN takes a number too, and would look like a byte that is missing
        let acknowledged = segment.acknowledged.filter(|_| self.ended == 0).map(|number| other.on_acknowledged(number));
        self.tell(pieces, up, segment.at);
        self.tell(acknowledged.unwrap_or_default(), !up, segment.at);
        self.ended = self.ended.saturating_add(u8::from(segment.fin));
    }

    fn tell(&mut self, pieces: Vec<Piece>, up: bool, at: Timestamp) {
        for piece in pieces {
            match piece {
                Piece::Missing(bytes) => {
                    let whose = if up { "the device" } else { "the server" };
                    self.remark(at, format!("{bytes} bytes of {whose} were not captured"));
                }
                Piece::Bytes(bytes) => {
                    self.bytes += bytes.len() + MOMENT;
                    let what = if up { Heard::FromDevice(bytes) } else { Heard::ToDevice(bytes) };
                    self.moments.push(Moment { at, what });
                }
            }
        }
    }

    fn remark(&mut self, at: Timestamp, what: String) {
        self.bytes += what.len() + MOMENT;
        self.moments.push(Moment { at, what: Heard::Remark(what) });
    }

    /// Take a balancer's header off the front of what the client said, and tell what it says.
    fn strip_header(&mut self) -> Option<String> {
        let said: Vec<u8> = self
            .moments
            .iter()
            .filter_map(|moment| if let Heard::FromDevice(bytes) = &moment.what { Some(bytes.as_slice()) } else { None })
            .scan(0, |length, bytes| {
                let wanted = *length < proxy::MAX_HEADER;
                *length += bytes.len();
                wanted.then_some(bytes)
            })
            .flatten()
            .copied()
            .collect();
        let Parsed::Header { used, header, .. } = proxy::parse(&said) else { return None };
        let mut left = used;
        for moment in &mut self.moments {
            if let Heard::FromDevice(bytes) = &mut moment.what {
                let here = left.min(bytes.len());
                bytes.drain(..here);
                left -= here;
            }
        }
        self.moments.retain(|moment| !matches!(&moment.what, Heard::FromDevice(bytes) if bytes.is_empty()));
        Some(match header {
            Header::Proxied { src, dst } => format!("behind a balancer's PROXY header: from {src} to {dst}"),
            Header::Local => "behind a balancer's PROXY header that names nobody".into(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOGIN: &[u8] = b"\x78\x78\x0d\x01\x08\x61\x20\x00\x00\x00\x00\x12\x00\x01\x1d\x5a\x0d\x0a";

    fn segment<'p>(from: &str, to: &str, sequence: u32, payload: &'p [u8]) -> Segment<'p> {
        Segment {
            at: Timestamp::from_millis(1_772_359_200_000),
            from: from.parse().unwrap(),
            to: to.parse().unwrap(),
            sequence,
            acknowledged: None,
            syn: false,
            fin: false,
            rst: false,
            payload,
            cut: 0,
        }
    }

    fn finished(told: Ports, segments: &[Segment<'_>]) -> (Vec<Finished>, Skipped) {
        let mut flows = Flows::new(told);
        let mut done = Vec::new();
        for segment in segments {
            flows.on(segment, &mut |f| done.push(f));
        }
        flows.end(&mut |f| done.push(f));
        (done, flows.skipped)
    }

    #[test]
    fn the_device_is_whoever_began() {
        let syn = Segment { syn: true, ..segment("10.0.0.1:700", "10.0.0.2:9999", 0, b"") };
        let (done, _) = finished(Ports::new(), &[syn, segment("10.0.0.1:700", "10.0.0.2:9999", 1, LOGIN)]);
        assert_eq!((done[0].device.port(), done[0].protocol.name, done.len()), (700, "gt06", 1));
        // nobody saw the beginning: the port of the protocol, then the lower one is the server's
        for (from, to) in [("10.0.0.1:700", "10.0.0.2:5023"), ("10.0.0.1:50000", "10.0.0.2:9999")] {
            let (done, _) = finished(Ports::new(), &[segment(to, from, 5, b"early"), segment(from, to, 1, LOGIN)]);
            assert_eq!(done[0].device.to_string(), from);
            assert!(done[0].recording.remarks.iter().any(|r| r.contains("beginning")));
        }
    }

    #[test]
    fn what_is_no_device_is_skipped() {
        let web = segment("10.0.0.1:50000", "10.0.0.2:80", 1, b"GET / HTTP/1.1\r\n\r\n");
        let silent = Segment { syn: true, ..segment("10.0.0.3:50000", "10.0.0.2:5023", 1, b"") };
        let (done, skipped) = finished(Ports::new(), &[web.clone(), silent]);
        assert_eq!((done.len(), skipped), (0, Skipped { silent: 1, unknown: 1 }));
        let told = Ports::from([(80, registry::find("gt06").unwrap())]);
        assert_eq!(finished(told, &[web]).0.len(), 1, "the command line has the last word");
    }

    #[test]
    fn the_same_ports_once_more_are_another_connection() {
        let (from, to) = ("10.0.0.1:50000", "10.0.0.2:5023");
        let syn = |sequence| Segment { syn: true, ..segment(from, to, sequence, b"") };
        let (done, _) = finished(Ports::new(), &[syn(0), segment(from, to, 1, LOGIN), syn(900), segment(from, to, 901, LOGIN)]);
        assert_eq!(done.len(), 2);
    }

    #[test]
    fn a_header_in_two_segments_is_taken_off() {
        let (from, to) = ("10.0.0.1:50000", "10.0.0.2:5023");
        let header = b"PROXY TCP4 203.0.113.7 198.51.100.1 4242 5023\r\n";
        let rest = [&header[20..], LOGIN].concat();
        let (done, _) = finished(Ports::new(), &[segment(from, to, 1, &header[..20]), segment(from, to, 21, &rest)]);
        let moments: Vec<_> = done[0].recording.moments.iter().map(|m| m.what.clone()).collect();
        assert_eq!(moments, [Heard::FromDevice(LOGIN.to_vec())]);
        assert!(done[0].recording.remarks.iter().any(|r| r.contains("203.0.113.7:4242")));
    }
}
