//! Taxis: a unit that shows orders, a driver who answers them, a meter; and boxes that only carry out commands.
//!
//! As real units do, a taxi says again on its next connection what was not acknowledged on the last one, in the same bytes.
//! Nothing here waits: [`Taxi::look`] takes what has come, and does what the driver does then.

mod coban;
mod jt;
mod tianhe;
mod trackers;
mod unit;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

pub(crate) use unit::{BOXES, KINDS, Word};
use unit::{Heard, News, Said, Unit};

use super::{PATIENCE, now_ms, patiently};

/// Between two tries to connect; a real unit waits longer.
const RECONNECT: Duration = Duration::from_millis(100);

/// Bytes that were written at the last moment may be so long on their way through the balancer, on a machine that is busy
/// with other things.
const TRAVEL_MS: i64 = 500;

/// How far a driver goes with an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Until {
    /// The screen shows the offer and does not even say so. A box does nothing.
    Shown,
    /// It says that it shows the offer; the driver does nothing. A box answers.
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
    /// How often each.
    pub(crate) each_text: BTreeMap<String, usize>,
    /// Commands that were carried out, or would have been, and how often each.
    pub(crate) asked: BTreeMap<String, usize>,
    /// Words of the driver that were refused.
    pub(crate) refused: usize,
    /// What arrived though it was worth nothing any more.
    pub(crate) late: Vec<String>,
    unit: Box<dyn Unit>,
    /// Where it connects, and what a balancer would say before it.
    to: SocketAddr,
    header: Vec<u8>,
    stream: Option<TcpStream>,
    /// Connections that it forgot without ending them, as a radio does.
    forgotten: Vec<TcpStream>,
    tried: Option<Instant>,
    received: Vec<u8>,
    /// The first message of this connection, until it is acknowledged.
    greeting: Option<Said>,
    /// Said and not acknowledged, oldest first.
    unacknowledged: VecDeque<Said>,
    /// What a unit that does nothing does not say on this connection.
    withheld: Vec<Vec<u8>>,
    /// Deadlines of what was shown, each of which was a first time.
    shown: BTreeSet<i64>,
    /// When it last looked whether something had come.
    looked_ms: i64,
}

impl Taxi {
    /// Number `n` of its kind.
    pub(crate) fn new(protocol: &'static str, n: u32, to: SocketAddr, until: Until) -> Self {
        let unit = unit::unit(protocol, n);
        Self {
            protocol,
            id: unit.id().to_owned(),
            until,
            orders: BTreeMap::new(),
            texts: 0,
            each_text: BTreeMap::new(),
            asked: BTreeMap::new(),
            refused: 0,
            late: Vec::new(),
            unit,
            to,
            header: Vec::new(),
            stream: None,
            forgotten: Vec::new(),
            tried: None,
            received: Vec::new(),
            greeting: None,
            unacknowledged: VecDeque::new(),
            withheld: Vec::new(),
            shown: BTreeSet::new(),
            looked_ms: now_ms(),
        }
    }

    /// Whether orders can be shown on it.
    pub(crate) fn has_screen(&self) -> bool {
        KINDS.contains(&self.protocol)
    }

    /// What the topic tells of an order that it drives to its end.
    pub(crate) fn story(&self) -> Vec<&'static str> {
        [&["accepted"], self.unit.story()].concat()
    }

    /// Connect, and wait until it is known who this is.
    pub(crate) fn sign_on(&mut self) {
        let mut connections = 0;
        let known = patiently(|| {
            let before = self.tried;
            self.look();
            connections += usize::from(self.tried != before);
            self.is_known().then_some(())
        });
        assert!(known.is_some(), "not known after {connections} connections: {self:?}");
    }

    /// Connect here from now on, behind this header. The old connection ends, or is forgotten.
    pub(crate) fn move_to(&mut self, to: SocketAddr, header: Vec<u8>, forget: bool) {
        let old = self.stream.take();
        self.forgotten.extend(old.filter(|_| forget));
        (self.to, self.header, self.tried) = (to, header, None);
        self.sign_on();
    }

    /// End the connection, and make no other before [`Taxi::move_to`].
    pub(crate) fn leave(&mut self) {
        self.stream = None;
        self.tried = Some(Instant::now() + PATIENCE);
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
        let all = self.unit.story().len();
        match until {
            Until::Driving => all.saturating_sub(1),
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
        while let Some(heard) = self.unit.hear(&mut self.received) {
            self.hear(heard);
        }
        self.looked_ms = now_ms();
        if self.until > Until::Shown {
            std::mem::take(&mut self.withheld).iter().for_each(|bytes| self.write(bytes));
        }
        self.drive();
    }

    fn connect(&mut self) {
        let Ok(stream) = TcpStream::connect_timeout(&self.to, PATIENCE) else { return };
        stream.set_nodelay(true).unwrap();
        stream.set_nonblocking(true).unwrap();
        self.stream = Some(stream);
        self.received.clear();
        self.withheld.clear();
        let greeting = self.unit.greet();
        let mut first = [&self.header[..], &greeting.bytes].concat();
        self.unacknowledged.iter().for_each(|said| first.extend_from_slice(&said.bytes));
        self.greeting = Some(greeting);
        self.write(&first);
    }

    fn write(&mut self, bytes: &[u8]) {
        // some hundred bytes always fit; a connection that is gone shows when it is read
        if let Some(stream) = &mut self.stream {
            let _ = stream.write_all(bytes);
        }
    }

    /// The driver says something.
    pub(crate) fn say(&mut self, word: Word<'_>) {
        let said = self.unit.say(word);
        self.write(&said.bytes);
        self.unacknowledged.push_back(said);
    }

    fn hear(&mut self, heard: Heard) {
        let Heard { news, receipt, text } = heard;
        self.note_lateness(&text);
        let waits = matches!(news, News::Offer(_) | News::Asked(_)) && self.until == Until::Shown;
        match news {
            News::Nothing => {}
            News::Stored(serial) => self.stored(serial),
            News::Refused(serial) => {
                self.refused += 1;
                self.stored(Some(serial));
            }
            News::Offer(order) => self.orders.entry(order).or_default().offered += 1,
            News::Won(order) => self.orders.entry(order).or_default().won += 1,
            News::Lost(order) => self.orders.entry(order).or_default().lost += 1,
            News::Text => {
                self.texts += 1;
                *self.each_text.entry(text).or_default() += 1;
            }
            News::Asked(what) => *self.asked.entry(what).or_default() += 1,
        }
        if waits { self.withheld.push(receipt) } else { self.write(&receipt) }
    }

    fn stored(&mut self, serial: Option<u16>) {
        if let Some(greeting) = &self.greeting
            && (serial.is_none() || serial == greeting.serial)
        {
            self.greeting = None;
        } else if serial.is_some() {
            self.unacknowledged.retain(|said| said.serial != serial);
        } else {
            self.unacknowledged.pop_front();
        }
    }

    /// What the tests show says until when it is worth something; see [`worth_until`]. What comes again is a repeat.
    fn note_lateness(&mut self, text: &str) {
        let Some(deadline) = text.split_once(WORTH_UNTIL).and_then(|(_, rest)| rest.get(..13)?.parse().ok()) else { return };
        // it came after the look before this one
        if self.shown.insert(deadline) && self.looked_ms > deadline + TRAVEL_MS {
            self.late.push(format!("{} ms: {text}", self.looked_ms - deadline));
        }
    }

    /// The driver does one thing after the other.
    fn drive(&mut self) {
        if !self.is_heard() {
            return;
        }
        let (all, steps) = (self.steps(Until::Finished), self.steps(self.until));
        let over = |seen: &Seen| seen.won > 0 && seen.steps == all;
        let Some((order, seen)) = self.orders.iter_mut().find(|(_, seen)| seen.lost == 0 && !over(seen)) else { return };
        let order = *order;
        if !seen.accepted && self.until >= Until::Accepted {
            seen.accepted = true;
            self.say(Word::Accept(order));
        } else if seen.won > 0 && seen.steps < steps {
            let step = seen.steps;
            seen.steps += 1;
            self.say(Word::Step(order, step));
        }
    }
}

/// In front of a deadline, in milliseconds.
const WORTH_UNTIL: &str = "by ";

/// What a screen's text says of its deadline.
pub(crate) fn worth_until(deadline_ms: i64) -> String {
    format!("{WORTH_UNTIL}{deadline_ms}")
}
