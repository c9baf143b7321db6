//! The unit in a car: how it says in its protocol what a driver does, and what the gateway's messages say to a driver.

use std::fmt;

use super::coban::Coban;
use super::jt::Jt;
use super::tianhe::Tianhe;
use super::trackers::{Gt06, Tk103};

/// The protocols whose units can carry orders.
pub(crate) const KINDS: [&str; 4] = ["gps103", "h02", "jt808", "jt905"];

/// The protocols of boxes without a screen: no order can be shown on them, but they carry out commands.
pub(crate) const BOXES: [&str; 2] = ["gt06", "tk103"];

/// What a driver says.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Word<'a> {
    /// Takes an order.
    Accept(u32),
    /// The next step of an order, counted from 0.
    Step(u32, usize),
    /// Begins a shift, by this name.
    SignOn(&'a str),
    /// Ends it.
    SignOff,
}

/// A message of a unit that it says again until it is acknowledged.
#[derive(Debug, Clone)]
pub(super) struct Said {
    /// Its number, where the protocol numbers what it acknowledges.
    pub(super) serial: Option<u16>,
    pub(super) bytes: Vec<u8>,
}

/// A message of the gateway.
#[derive(Debug, Default)]
pub(super) struct Heard {
    pub(super) news: News,
    /// What the unit says to it without its driver.
    pub(super) receipt: Vec<u8>,
    /// What a person can read of it.
    pub(super) text: String,
}

/// What a message of the gateway says.
#[derive(Debug, Default)]
pub(super) enum News {
    #[default]
    Nothing,
    /// What was said is stored: the message of this number, or the oldest that is not acknowledged.
    Stored(Option<u16>),
    /// The same, but no.
    Refused(u16),
    Offer(u32),
    Won(u32),
    Lost(u32),
    Text,
    /// A command that its receipt answers.
    Asked(String),
}

/// A unit.
pub(super) trait Unit: fmt::Debug + Send {
    /// As events name it.
    fn id(&self) -> &str;

    /// What becomes of an order once it is taken, as the topic tells it: a step of the driver for each.
    fn story(&self) -> &'static [&'static str];

    /// The first message of a connection.
    fn greet(&mut self) -> Said;

    /// A driver's word.
    fn say(&mut self, word: Word<'_>) -> Said;

    /// Take one whole message off what has come.
    fn hear(&mut self, received: &mut Vec<u8>) -> Option<Heard>;
}

/// Number `n` of its kind; invented identities.
pub(super) fn unit(protocol: &str, n: u32) -> Box<dyn Unit> {
    match protocol {
        "gps103" => Box::new(Coban::new(n)),
        "gt06" => Box::new(Gt06::new(n)),
        "h02" => Box::new(Tianhe::new(n)),
        "jt808" | "jt905" => Box::new(Jt::new(protocol, n)),
        "tk103" => Box::new(Tk103::new(n)),
        other => panic!("there are no cars of {other}"),
    }
}

/// The number of the order that a screen's text is about, and whether its driver has it; none if it is about no order. A
/// passenger waits at `Stand 1000.`; a loser is told the number and why.
pub(super) fn order_in(text: &str) -> Option<(u32, Option<bool>)> {
    let digits = |from: &str| from.chars().take_while(char::is_ascii_digit).collect::<String>().parse().ok();
    let text = text.trim_start_matches(|c: char| c.is_control());
    match text.split_once("Stand ") {
        Some((front, rest)) => digits(rest).map(|order| (order, front.starts_with("OK").then_some(true))),
        None => text.split_once(": taken").and_then(|(front, _)| digits(front)).map(|order| (order, Some(false))),
    }
}

/// What a screen's text says.
pub(super) fn news_of(text: &str) -> News {
    match order_in(text) {
        Some((order, None)) => News::Offer(order),
        Some((order, Some(true))) => News::Won(order),
        Some((order, Some(false))) => News::Lost(order),
        None => News::Text,
    }
}

/// What of a message is ASCII, the rest left out.
pub(super) fn readable(bytes: &[u8]) -> String {
    bytes.iter().filter(|b| matches!(b, b' '..=b'~')).map(|b| char::from(*b)).collect()
}

/// The clock of a unit: every message that it dates has a later second, however fast it says them.
#[derive(Debug)]
pub(super) struct Clock(i64);

impl Clock {
    pub(super) fn new() -> Self {
        Self(super::now_ms())
    }

    /// The next second.
    pub(super) fn tick(&mut self) -> protocols::time::Timestamp {
        self.0 += 1000;
        protocols::time::Timestamp::from_millis(self.0)
    }
}

/// Everything up to and with this byte, if it has come.
pub(super) fn take_through(received: &mut Vec<u8>, end: u8) -> Option<Vec<u8>> {
    let at = received.iter().position(|b| *b == end)?;
    Some(received.drain(..=at).collect())
}
