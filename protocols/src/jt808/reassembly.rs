//! Split messages: packets in, whole bodies out, in any order, with bounds for what a device may leave half done.

use std::collections::VecDeque;
use std::time::Duration;

use super::downlink::fields::MAX_ASKED;
use super::header::{Header, Packet, Peer};
use super::message::id;

/// Half-received messages of one connection. A terminal sends one at a time; a photo may overtake a slow list.
const MAX_OPEN: usize = 4;
/// Packets of one message: a photo of the largest resolution in the standard is far below a megabyte of packets of 1 KB.
const MAX_PACKETS: u16 = 1024;
/// Bytes that all half-received messages of one connection may hold: as many as one message of that many packets.
const MAX_BYTES: usize = 1024 * 1024;
/// Without a packet for so long, the missing ones are asked for. Radio pauses of a few seconds are usual.
const ASK_AFTER: Duration = Duration::from_secs(5);
/// How often they are asked for in a row; terminals by default send three times, too.
const MAX_ASKS: u32 = 3;
/// Without a packet for so long, a message is given up.
const LIFETIME: Duration = Duration::from_secs(60);
/// Finished messages that are remembered, because a terminal that missed our answer sends packets again.
const MAX_DONE: usize = MAX_OPEN;

/// What became of a packet.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Added {
    /// More are missing.
    Waiting,
    /// It is here already.
    Repeat,
    /// Its message is complete already; for multimedia, the item's number.
    Done(Option<u32>),
    /// Nothing is missing any more.
    Whole(Whole),
    /// It cannot belong to a message.
    Refused(&'static str),
}

/// A message whose packets are all here.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Whole {
    pub(super) body: Vec<u8>,
    /// Serial numbers of the packets in the order of their numbers.
    pub(super) serials: Box<[u16]>,
}

/// Packets that are to be asked for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Ask {
    pub(super) peer: Peer,
    pub(super) first_serial: u16,
    pub(super) missing: Vec<u16>,
    /// For multimedia, whose requests name the item, where the packet that says it is here.
    pub(super) media: Option<u32>,
}

/// A message that stays incomplete.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct GivenUp {
    pub(super) detail: String,
    /// What came, in the order of packet numbers.
    pub(super) bytes: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
struct Slot {
    serial: u16,
    start: usize,
    length: usize,
}

#[derive(Debug)]
struct Open {
    message: u16,
    peer: Peer,
    /// What the serial number of packet 1 is, if serial numbers are consecutive.
    first_serial: u16,
    slots: Vec<Option<Slot>>,
    /// Bodies in the order in which they came.
    data: Vec<u8>,
    progress: Duration,
    asks: u32,
}

#[derive(Debug)]
struct Done {
    message: u16,
    first_serial: u16,
    total: u16,
    media: Option<u32>,
    at: Duration,
}

/// The split messages of one connection.
#[derive(Debug, Default)]
pub(super) struct Reassembly {
    open: Vec<Open>,
    done: VecDeque<Done>,
}

impl Open {
    fn slot(&self, number: u16) -> Option<Slot> {
        self.slots.get(usize::from(number).wrapping_sub(1)).copied().flatten()
    }

    fn bytes(&self, slot: Slot) -> &[u8] {
        self.data.get(slot.start..slot.start + slot.length).unwrap_or_default()
    }

    fn is_of(&self, message: u16, total: u16) -> bool {
        self.message == message && self.slots.len() == usize::from(total)
    }

    fn missing(&self) -> impl Iterator<Item = u16> {
        self.slots.iter().zip(1..).filter(|(slot, _)| slot.is_none()).map(|(_, number)| number)
    }

    fn in_order(&self) -> Vec<u8> {
        self.slots.iter().flatten().flat_map(|slot| self.bytes(*slot)).copied().collect()
    }

    fn due(&self) -> Duration {
        let wait = if self.asks < MAX_ASKS { ASK_AFTER * (self.asks + 1) } else { LIFETIME };
        self.progress + wait.min(LIFETIME)
    }

    fn media(&self) -> Option<u32> {
        let first = self.slot(1).filter(|_| self.message == id::MEDIA)?;
        self.bytes(first).first_chunk::<4>().copied().map(u32::from_be_bytes)
    }

    fn ask(&self) -> Ask {
        Ask {
            peer: self.peer,
            first_serial: self.first_serial,
            missing: self.missing().take(MAX_ASKED).collect(),
            media: self.media(),
        }
    }

    fn give_up(self) -> GivenUp {
        let missing = self.missing().count();
        let (message, total) = (self.message, self.slots.len());
        let detail = format!("split message 0x{message:04x} given up with {} of {total} packets", total - missing);
        GivenUp { detail, bytes: self.in_order() }
    }
}

impl Reassembly {
    /// A packet came. Where it makes an older message be given up, that comes back, too.
    pub(super) fn add(&mut self, header: &Header, packet: Packet, body: &[u8], now: Duration) -> (Added, Option<GivenUp>) {
        let Packet { total, number } = packet;
        if number == 0 || number > total {
            return (Added::Refused("a packet number beyond the number of packets"), None);
        }
        if total > MAX_PACKETS {
            return (Added::Refused("more packets than a message may have"), None);
        }
        let first_serial = header.serial.wrapping_sub(number - 1);
        let is_done =
            |d: &&Done| (d.message, d.first_serial, d.total) == (header.message, first_serial, total) && now < d.at + LIFETIME;
        if let Some(done) = self.done.iter().find(is_done) {
            return (Added::Done(done.media), None);
        }
        let mut evicted = None;
        let at = match self.find(header.message, first_serial, packet, body) {
            Some(at) => at,
            None => {
                if self.open.len() >= MAX_OPEN {
                    evicted = self.evict();
                }
                self.open.push(Open {
                    message: header.message,
                    peer: header.peer,
                    first_serial,
                    slots: vec![None; usize::from(total)],
                    data: Vec::new(),
                    progress: now,
                    asks: 0,
                });
                self.open.len() - 1
            }
        };
        let held: usize = self.open.iter().map(|open| open.data.len()).sum();
        if held + body.len() > MAX_BYTES {
            let given_up = (at < self.open.len()).then(|| self.open.swap_remove(at).give_up());
            return (Added::Refused("a message too large to be put together"), given_up.or(evicted));
        }
        let Some(open) = self.open.get_mut(at) else {
            return (Added::Waiting, evicted);
        };
        let slot = Slot { serial: header.serial, start: open.data.len(), length: body.len() };
        match open.slots.get_mut(usize::from(number) - 1) {
            Some(empty @ None) => *empty = Some(slot),
            _ => return (Added::Repeat, evicted),
        }
        open.data.extend_from_slice(body);
        (open.progress, open.asks) = (now, 0);
        if open.missing().next().is_some() {
            return (Added::Waiting, evicted);
        }
        let open = self.open.swap_remove(at);
        self.remember(Done { message: open.message, first_serial: open.first_serial, total, media: open.media(), at: now });
        let serials = open.slots.iter().flatten().map(|slot| slot.serial).collect();
        (Added::Whole(Whole { body: open.in_order(), serials }), evicted)
    }

    /// The open message that a packet belongs to: by consecutive serial numbers, else (units were seen to break them) one
    /// of the same type and size that misses this number or holds the same bytes under it.
    fn find(&self, message: u16, first_serial: u16, packet: Packet, body: &[u8]) -> Option<usize> {
        let strict = self.open.iter().position(|o| o.is_of(message, packet.total) && o.first_serial == first_serial);
        strict.or_else(|| {
            self.open.iter().position(|o| {
                let fits = |slot: Option<Slot>| slot.is_none_or(|slot| o.bytes(slot) == body);
                o.is_of(message, packet.total) && fits(o.slot(packet.number))
            })
        })
    }

    fn evict(&mut self) -> Option<GivenUp> {
        let (oldest, _) = self.open.iter().enumerate().min_by_key(|(_, open)| open.progress)?;
        Some(self.open.swap_remove(oldest).give_up())
    }

    fn remember(&mut self, done: Done) {
        if self.done.len() >= MAX_DONE {
            self.done.pop_front();
        }
        self.done.push_back(done);
    }

    /// The message that was completed last could not be used: sent again, it is to be put together again.
    pub(super) fn forget_last(&mut self) {
        self.done.pop_back();
    }

    /// When something is to be asked for or given up.
    pub(super) fn deadline(&self) -> Option<Duration> {
        self.open.iter().map(Open::due).min()
    }

    /// What is to be asked for and what is given up now.
    pub(super) fn expire(&mut self, now: Duration) -> (Vec<Ask>, Vec<GivenUp>) {
        let dead = |open: &mut Open| now >= open.progress + LIFETIME;
        let given_up = self.open.extract_if(.., dead).map(Open::give_up).collect();
        let mut asks = Vec::new();
        for open in self.open.iter_mut().filter(|open| open.due() <= now) {
            open.asks += 1;
            asks.push(open.ask());
        }
        (asks, given_up)
    }

    /// The connection ended: nothing more will come.
    pub(super) fn end(&mut self) -> Vec<GivenUp> {
        self.open.drain(..).map(Open::give_up).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;
    use crate::jt808::header;

    const SECOND: Duration = Duration::from_secs(1);

    fn packet(message: u16, serial: u16, total: u16, number: u16) -> (Header, Packet) {
        let bytes = b"\x00\x00\x00\x00\x01\x38\x00\x00\x11\x11\x00\x00";
        let plain = header::read(&mut Cursor::new(bytes, 0, None), 0).unwrap();
        let packet = Packet { total, number };
        (Header { message, serial, packet: Some(packet), ..plain }, packet)
    }

    fn add(r: &mut Reassembly, serial: u16, total: u16, number: u16, body: &[u8], at: Duration) -> Added {
        let (header, packet) = packet(id::MEDIA, serial, total, number);
        r.add(&header, packet, body, at).0
    }

    #[test]
    fn accepts_any_order() {
        let mut r = Reassembly::default();
        assert_eq!(add(&mut r, 12, 3, 3, b"c", SECOND), Added::Waiting);
        assert_eq!(add(&mut r, 10, 3, 1, b"a", SECOND), Added::Waiting);
        assert_eq!(add(&mut r, 10, 3, 1, b"a", SECOND), Added::Repeat);
        let whole = Whole { body: b"abc".to_vec(), serials: [10, 11, 12].into() };
        assert_eq!(add(&mut r, 11, 3, 2, b"b", SECOND), Added::Whole(whole));
        assert_eq!(add(&mut r, 11, 3, 2, b"b", SECOND), Added::Done(None));
        assert_eq!(add(&mut r, 11, 3, 2, b"b", LIFETIME * 2), Added::Waiting);
        assert_eq!(r.end().len(), 1);
    }

    #[test]
    fn accepts_serial_numbers_that_do_not_follow_each_other() {
        let mut r = Reassembly::default();
        assert_eq!(add(&mut r, 1233, 2, 1, b"a", SECOND), Added::Waiting);
        assert!(matches!(add(&mut r, 1250, 2, 2, b"b", SECOND), Added::Whole(w) if w.body == b"ab"));
    }

    #[test]
    fn two_messages_of_one_type_are_kept_apart() {
        let mut r = Reassembly::default();
        add(&mut r, 10, 2, 1, b"a", SECOND);
        add(&mut r, 20, 2, 1, b"x", SECOND);
        assert!(matches!(add(&mut r, 21, 2, 2, b"y", SECOND), Added::Whole(w) if w.body == b"xy"));
        assert!(matches!(add(&mut r, 11, 2, 2, b"b", SECOND), Added::Whole(w) if w.body == b"ab"));
    }

    #[test]
    fn asks_then_gives_up() {
        let mut r = Reassembly::default();
        add(&mut r, 10, 3, 1, b"\0\0\0\x4d", SECOND);
        let mut asks = 0;
        while let Some(at) = r.deadline() {
            let (asked, given_up) = r.expire(at);
            for ask in asked {
                assert_eq!((ask.first_serial, ask.missing.as_slice(), ask.media), (10, &[2, 3][..], Some(77)));
                asks += 1;
            }
            for g in given_up {
                assert_eq!((at, g.bytes.as_slice()), (SECOND + LIFETIME, &b"\0\0\0\x4d"[..]));
            }
        }
        assert_eq!(asks, MAX_ASKS);
    }

    #[test]
    fn refuses_what_cannot_be() {
        let mut r = Reassembly::default();
        for (total, number) in [(2, 0), (2, 3), (MAX_PACKETS + 1, 1)] {
            assert!(matches!(add(&mut r, 10, total, number, b"a", SECOND), Added::Refused(_)));
        }
        assert_eq!(r.deadline(), None);
    }

    #[test]
    fn memory_is_bounded() {
        let mut r = Reassembly::default();
        let mut given_up = 0;
        for message in 0..u16::try_from(MAX_OPEN).unwrap() + 3 {
            let (header, packet) = packet(message, 10, 2, 1);
            given_up += usize::from(r.add(&header, packet, b"a", SECOND * u32::from(message + 1)).1.is_some());
        }
        assert_eq!((r.open.len(), given_up), (MAX_OPEN, 3));
        let block = vec![0; 4096];
        let mut refused = 0;
        for number in 1..=300 {
            refused += usize::from(matches!(add(&mut r, number, 301, number, &block, SECOND), Added::Refused(_)));
            assert!(r.open.iter().map(|o| o.data.len()).sum::<usize>() <= MAX_BYTES);
        }
        assert!(refused > 0);
    }
}
