//! Taxis: a screen that shows orders, a driver who answers them, a meter. One speaks JT/T 905, one JT/T 808.
//!
//! As real terminals do, a taxi says again on its next connection what was not acknowledged on the last one, under the same
//! serial number. Nothing here waits: [`Taxi::look`] takes what has come, and does what the driver does then.

use std::collections::BTreeMap;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocols::cursor::unhex;

use super::device::{jt808, unescaped};
use super::{PATIENCE, until};

/// The protocols that there are taxis of.
pub(crate) const KINDS: [&str; 2] = ["jt808", "jt905"];

/// Between two tries to connect; a real unit waits longer.
const RECONNECT: Duration = Duration::from_millis(100);

/// Body of a meter's record of a trip. The number of its order stands at [`TRIP_ORDER`].
const TRIP: &str = "0000000000000100016d55000429bce801a72c2603011750000000000000000300016dc0d0042a21b001a72c26030118150035f5\
                    3a400000000000000000000000425430303031313130303030303031000000000000003131303130313139393030313031303030\
                    3000260301175018150001230056000010001200023500000c0100";
const TRIP_ORDER: usize = 61;

/// How far a driver goes with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until {
    /// The screen shows the offer and does not even say so.
    Shown,
    /// It says that it shows the offer; the driver does nothing.
    Receipted,
    /// The driver takes it, and waits to be told.
    Accepted,
    /// The driver has it.
    Assigned,
    /// The driver is on the way: all but the last step is done.
    Driving,
    /// The order is over.
    Finished,
}

impl Until {
    pub(crate) const ALL: [Self; 6] = [Self::Shown, Self::Receipted, Self::Accepted, Self::Assigned, Self::Driving, Self::Finished];
}

/// What became of one order, as the driver sees it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    /// How often it was offered, repeats of the same message included.
    pub(crate) offered: usize,
    /// How often the driver was told to have it, and how often not to.
    pub(crate) won: usize,
    pub(crate) lost: usize,
    /// The number of the question that it came in.
    question: u16,
    accepted: bool,
    steps: usize,
}

/// One taxi over all its connections.
#[derive(Debug)]
pub(crate) struct Taxi {
    pub(crate) protocol: &'static str,
    /// As events name it.
    pub(crate) id: String,
    pub(crate) until: Until,
    pub(crate) orders: BTreeMap<u32, Seen>,
    /// Texts that were shown.
    pub(crate) texts: usize,
    /// Where it connects, and what a balancer would say before it.
    to: SocketAddr,
    header: Vec<u8>,
    stream: Option<TcpStream>,
    /// Connections that it forgot without ending them, as a radio does.
    forgotten: Vec<TcpStream>,
    tried: Option<Instant>,
    received: Vec<u8>,
    serial: u16,
    /// The first message of this connection, until it is acknowledged.
    greeting: Option<u16>,
    /// Said and not acknowledged.
    unacknowledged: Vec<(u16, Vec<u8>)>,
}

impl Taxi {
    /// Number `n` of its kind; invented identities.
    pub(crate) fn new(protocol: &'static str, n: u32, to: SocketAddr, until: Until) -> Self {
        let id = if protocol == "jt905" { format!("1099001{n:05}") } else { format!("1380001{n:04}") };
        Self {
            protocol,
            id,
            until,
            orders: BTreeMap::new(),
            texts: 0,
            to,
            header: Vec::new(),
            stream: None,
            forgotten: Vec::new(),
            tried: None,
            received: Vec::new(),
            serial: 0,
            greeting: None,
            unacknowledged: Vec::new(),
        }
    }

    /// Connect, and wait until it is known who this is.
    pub(crate) fn sign_on(&mut self) {
        until("a taxi to be known", || {
            self.look();
            self.is_known().then_some(())
        });
    }

    /// Connect here from now on, behind this header. The old connection ends, or is forgotten.
    pub(crate) fn move_to(&mut self, to: SocketAddr, header: Vec<u8>, forget: bool) {
        let old = self.stream.take();
        self.forgotten.extend(old.filter(|_| forget));
        (self.to, self.header, self.tried) = (to, header, None);
        self.sign_on();
    }

    /// Connected, and the gateway has answered.
    pub(crate) fn is_known(&self) -> bool {
        self.stream.is_some() && self.greeting.is_none()
    }

    /// All that it said was acknowledged.
    pub(crate) fn is_heard(&self) -> bool {
        self.is_known() && self.unacknowledged.is_empty()
    }

    /// Whether the driver is as far with this order as the driver goes.
    pub(crate) fn has_done(&self, order: u32) -> bool {
        let Some(seen) = self.orders.get(&order) else { return false };
        self.is_heard()
            && match self.until {
                Until::Shown | Until::Receipted => seen.offered > 0,
                Until::Accepted => seen.accepted,
                until => seen.won > 0 && seen.steps == self.steps(until),
            }
    }

    fn steps(&self, until: Until) -> usize {
        let all = if self.protocol == "jt905" { 2 } else { 3 };
        match until {
            Until::Driving => all - 1,
            Until::Finished => all,
            _ => 0,
        }
    }

    /// Take what has come, do what the driver does, connect again if need be.
    pub(crate) fn look(&mut self) {
        if self.stream.is_none() && self.tried.is_none_or(|at| at.elapsed() >= RECONNECT) {
            self.tried = Some(Instant::now());
            self.connect();
        }
        let mut buffer = [0; 4096];
        while let Some(stream) = &mut self.stream {
            match stream.read(&mut buffer) {
                Ok(n) if n > 0 => self.received.extend_from_slice(&buffer[..n]),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                _ => self.stream = None,
            }
        }
        while let Some(end) = self.received.iter().skip(1).position(|b| *b == 0x7E) {
            let content = unescaped(&self.received[1..=end]);
            self.received.drain(..=end + 1);
            self.hear(&content);
        }
        self.drive();
    }

    fn connect(&mut self) {
        let Ok(stream) = TcpStream::connect_timeout(&self.to, PATIENCE) else { return };
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.stream = Some(stream);
        self.received.clear();
        let serial = self.next_serial();
        self.greeting = Some(serial);
        let mut first = self.header.clone();
        first.extend(self.frame(0x0002, serial, &[]));
        self.unacknowledged.iter().for_each(|(_, frame)| first.extend_from_slice(frame));
        self.write(&first);
    }

    fn next_serial(&mut self) -> u16 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    fn frame(&self, id: u16, serial: u16, body: &[u8]) -> Vec<u8> {
        jt808(id, &format!("{:0>12}", self.id), serial, body)
    }

    fn write(&mut self, bytes: &[u8]) {
        // some hundred bytes always fit; a connection that is gone shows when it is read
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(bytes);
        }
    }

    fn say(&mut self, id: u16, body: &[u8]) {
        let serial = self.next_serial();
        let frame = self.frame(id, serial, body);
        self.unacknowledged.push((serial, frame.clone()));
        self.write(&frame);
    }

    fn receipt(&mut self, serial: u16, id: u16) {
        let own = self.next_serial();
        let body = [serial.to_be_bytes(), id.to_be_bytes()].concat();
        let frame = self.frame(0x0001, own, &[&body[..], &[0]].concat());
        self.write(&frame);
    }

    fn hear(&mut self, content: &[u8]) {
        let number = |at: usize| u16::from_be_bytes([content[at], content[at + 1]]);
        let (id, serial, body) = (number(0), number(10), &content[12..content.len() - 1]);
        match id {
            // 0: heard
            0x8001 if body[4] == 0 => {
                let heard = number(12);
                self.greeting = self.greeting.filter(|greeting| *greeting != heard);
                self.unacknowledged.retain(|(serial, _)| *serial != heard);
            }
            0x8001 => panic!("{}: message {} was refused: {}", self.id, number(12), body[4]),
            0x8B00 | 0x8302 => {
                let seen = self.orders.entry(order_of(id, body).unwrap()).or_default();
                seen.offered += 1;
                seen.question = serial;
                if self.until > Until::Shown {
                    self.receipt(serial, id);
                }
            }
            0x8B01 | 0x8300 => {
                if let Some(order) = order_of(id, body) {
                    let seen = self.orders.entry(order).or_default();
                    let lost = if id == 0x8B01 { body.len() == 4 } else { !body[1..].starts_with(b"OK ") };
                    *(if lost { &mut seen.lost } else { &mut seen.won }) += 1;
                } else {
                    self.texts += 1;
                }
                self.receipt(serial, id);
            }
            _ => self.receipt(serial, id),
        }
    }

    /// The driver does one thing after the other.
    fn drive(&mut self) {
        if !self.is_heard() {
            return;
        }
        let Some((order, seen)) = self.orders.iter().find(|(_, seen)| seen.lost == 0 && !self.is_over(seen)) else { return };
        let (order, question, accepted, won, steps) = (*order, seen.question, seen.accepted, seen.won > 0, seen.steps);
        if !accepted && self.until >= Until::Accepted {
            match self.protocol {
                "jt905" => self.say(0x0B01, &order.to_be_bytes()),
                _ => self.say(0x0302, &[&question.to_be_bytes()[..], &[1]].concat()),
            }
            self.orders.get_mut(&order).unwrap().accepted = true;
        } else if won && steps < self.steps(self.until) {
            match (self.protocol, steps) {
                ("jt905", 0) => {
                    let mut trip = unhex(TRIP).unwrap();
                    trip[TRIP_ORDER..TRIP_ORDER + 4].copy_from_slice(&order.to_be_bytes());
                    self.say(0x0B05, &trip);
                }
                ("jt905", _) => self.say(0x0B07, &order.to_be_bytes()),
                // a button of the menu that came with the order
                (_, n) => self.say(0x0301, &[u8::try_from(n).unwrap() + 1]),
            }
            self.orders.get_mut(&order).unwrap().steps += 1;
        }
    }

    fn is_over(&self, seen: &Seen) -> bool {
        seen.steps == self.steps(Until::Finished)
    }
}

/// Whose number stands in a message that is about an order, if it is.
fn order_of(id: u16, body: &[u8]) -> Option<u32> {
    if matches!(id, 0x8B00 | 0x8B01) {
        return Some(u32::from_be_bytes([body[0], body[1], body[2], body[3]]));
    }
    // a passenger stands at `Stand ORDER.`; the loser is told the number and why
    let text = String::from_utf8_lossy(body);
    let digits = |from: &str| from.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    match text.split_once("Stand ") {
        Some((_, rest)) => digits(rest),
        None => text.split_once(": taken").and_then(|(front, _)| digits(&front[1..])),
    }
}
