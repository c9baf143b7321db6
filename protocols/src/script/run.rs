//! From a [`Script`] to a [`Transcript`]: a fresh session hears what the device said, and everything that comes of it is
//! written down, and counted, so that nothing can vanish.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::parse::{Action, Order, Script};
use crate::command::Command;
use crate::cursor::Trace;
use crate::event::{Body, serialize_body};
use crate::fault::FaultKind;
use crate::identity::{DeviceId, SessionId};
use crate::profile::{Auth, Profile, Settings};
use crate::registry::Protocol;
use crate::session::{Close, Delivery, Fate, MAX_REJECT_BYTES, News, Opening, Outgoing, Seen, Session, Told, Turn, WINDOW};
use crate::time::Now;

/// The secret that signs authentication codes in fixtures; a script's device may answer with a code made from it.
pub const SECRET: &[u8] = b"the secret of the fixtures";

/// How often a session may ask to be called again at one instant before it counts as stalled. An honest one asks once.
const MAX_CALLS_AT_ONCE: usize = 16;

/// How often deadlines may pass while nothing is received. Over [`super::MAX_ADVANCE`] this allows one every 10 s; the
/// protocols have a few retries at most.
const MAX_DEADLINES: usize = 10_000;

/// How bytes are handed to the session.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Feed {
    /// Each `>` line in one piece.
    #[default]
    AsWritten,
    /// As written, but the line that holds this offset (counted over all lines) comes in two pieces.
    SplitAt(usize),
    /// Byte by byte.
    Bytewise,
    /// Lines without a pause between them in one piece.
    Glued,
}

/// When frames are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Storage {
    /// As soon as they come.
    #[default]
    AtOnce,
    /// When the window of the connection is full, or at the end.
    Late,
}

/// What a reply may depend on besides what the device says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct World {
    /// Added to the script's wall clock, milliseconds.
    pub clock_offset_ms: i64,
    /// The session's id.
    pub session: SessionId,
    /// The first signs, all verify.
    pub secrets: Vec<Vec<u8>>,
}

impl Default for World {
    /// The one in which expected lines are written.
    fn default() -> Self {
        Self { clock_offset_ms: 0, session: SessionId(0), secrets: vec![SECRET.to_vec()] }
    }
}

impl World {
    /// How many other worlds there are. Three, because a byte that depends on the world may be the same in two by chance.
    pub const OTHERS: u32 = 3;

    /// One that differs in everything; codes signed in the default world still verify in it.
    pub fn other(n: u32) -> Self {
        // more than a year, and no part of a date stays: 401 days 3 h 7 min 11 s
        const STEP_MS: i64 = ((401 * 24 + 3) * 60 + 7) * 60_000 + 11_000;
        let i = n % Self::OTHERS + 1;
        Self {
            clock_offset_ms: STEP_MS * i64::from(i),
            session: SessionId(0x1121_3141_5161_0203 * u64::from(i)),
            secrets: vec![format!("another secret {i}").into_bytes(), SECRET.to_vec()],
        }
    }
}

/// How to run a script.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// How bytes are handed over.
    pub feed: Feed,
    /// When frames are stored.
    pub storage: Storage,
    /// What became of what was stored; `None` is [`Delivery::Stored`].
    pub delivery: Option<Delivery>,
    /// The rest of the world.
    pub world: World,
    /// Whether frames are kept with their fields.
    pub trace: bool,
}

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A frame of our own to the device.
    Sent(Vec<u8>),
    /// An acknowledgement to the device.
    Acknowledged(Vec<u8>),
    /// An event, as JSON.
    Event(String),
    /// Bytes went to the rejects.
    Rejected(FaultKind),
    /// A fault was accepted and counted.
    Tolerated(FaultKind),
    /// A reject about earlier frames.
    Notice(FaultKind),
    /// Something about a command: its id, the stage or result, and what the outcome says besides.
    Told(String),
    /// The session wants the connection closed.
    Closes(Close),
}

/// What was counted while a script ran.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Tally {
    /// Bytes handed over.
    pub bytes: usize,
    /// Of them, consumed by turns.
    pub consumed: usize,
    /// Of them, left over when the connection ended.
    pub left: usize,
    /// Of them, thrown away because the session had asked to close.
    pub dropped: usize,
    /// Frames, and runs of skipped bytes.
    pub frames: usize,
    /// Of them, stored.
    pub stored: usize,
    /// Of them, handled.
    pub handled: usize,
    /// Of them, rejected.
    pub rejected: usize,
    /// Receipts asked for.
    pub asked: usize,
    /// Receipts released.
    pub released: usize,
    /// Calls of [`Session::receive`].
    pub calls: usize,
}

/// Everything that came of a script.
#[derive(Debug, Clone, Default)]
pub struct Transcript {
    /// What was said, each with the index of the item after which it was.
    pub said: Vec<(usize, Said)>,
    /// What was counted.
    pub tally: Tally,
    /// Promises that the session broke, in words; empty for a correct one.
    pub broken: Vec<String>,
    /// Who the session takes itself for at the end.
    pub device: Option<DeviceId>,
    /// With [`Options::trace`], the frames.
    pub frames: Vec<Framed>,
}

/// A frame, where it stood, and what was read in it.
#[derive(Debug, Clone)]
pub struct Framed {
    /// Offset of its first byte in all that was handed over.
    pub start: usize,
    /// The frame.
    pub seen: Seen,
    /// Its fields; none if it was not read.
    pub trace: Trace,
    /// The events that it gave, as JSON.
    pub events: Vec<String>,
}

impl Transcript {
    /// What was said, without when.
    pub fn flat(&self) -> impl Iterator<Item = &Said> {
        self.said.iter().map(|(_, said)| said)
    }

    /// The events of this type.
    pub fn events<'a>(&'a self, type_name: &'a str) -> impl Iterator<Item = &'a str> {
        self.flat().filter_map(move |said| match said {
            Said::Event(json) => {
                let found = json.strip_prefix("{\"")?.strip_prefix(type_name)?.starts_with("\":");
                found.then_some(json.as_str())
            }
            _ => None,
        })
    }
}

/// Run a script against a fresh session.
pub fn run(protocol: &Protocol, script: &Script, options: &Options) -> Transcript {
    let mut line = Line::open(protocol, script, options);
    let mut offset = 0;
    let mut index = 0;
    while let Some(item) = script.items.get(index) {
        line.item = index;
        match &item.action {
            Action::Advance(pause) => line.advance(*pause),
            Action::Command(order) => line.command(order),
            Action::Receive(first) if options.feed == Feed::Glued => {
                let mut all = first.clone();
                while let Some(Action::Receive(next)) = script.items.get(index + 1).map(|i| &i.action) {
                    all.extend_from_slice(next);
                    index += 1;
                }
                line.receive(&all);
            }
            Action::Receive(bytes) => {
                let (head, tail) = match options.feed {
                    Feed::SplitAt(at) => bytes.split_at_checked(at.wrapping_sub(offset)).unwrap_or((bytes, &[])),
                    _ => (bytes.as_slice(), [].as_slice()),
                };
                if options.feed == Feed::Bytewise {
                    head.chunks(1).for_each(|byte| line.receive(byte));
                } else {
                    line.receive(head);
                    line.receive(tail);
                }
                offset += bytes.len();
            }
        }
        index += 1;
    }
    line.end()
}

/// A connection without a network.
struct Line {
    session: Box<dyn Session>,
    turn: Turn,
    now: Now,
    pending: Vec<u8>,
    closed: bool,
    storage: Storage,
    delivery: Delivery,
    /// For each frame whose storage is awaited: whether the session asked to close with it.
    waiting: VecDeque<Option<Close>>,
    out: Outgoing,
    sequence: u64,
    item: usize,
    transcript: Transcript,
}

impl Line {
    fn open(protocol: &Protocol, script: &Script, options: &Options) -> Self {
        let ours = |p: &Profile| Arc::new(Profile { protocol: Some(protocol.name.to_owned()), ..p.clone() });
        let settings = Settings {
            profiles: script.profiles.iter().map(ours).collect(),
            auth: Auth { required: script.auth_required, secrets: options.world.secrets.clone() },
            ..Settings::default()
        };
        let opening = Opening { session: options.world.session, settings: Arc::new(settings), device: script.device.clone() };
        let utc = script.start.plus_millis(options.world.clock_offset_ms);
        Self {
            session: (protocol.open)(opening),
            turn: Turn::observed(options.trace),
            now: Now { utc, uptime: Duration::ZERO },
            pending: Vec::new(),
            closed: false,
            storage: options.storage,
            delivery: options.delivery.unwrap_or(Delivery::Stored),
            waiting: VecDeque::new(),
            out: Outgoing::marked(),
            sequence: 0,
            item: 0,
            transcript: Transcript::default(),
        }
    }

    fn receive(&mut self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.transcript.tally.bytes += bytes.len();
        if self.closed {
            self.transcript.tally.dropped += bytes.len();
            return;
        }
        self.pending.extend_from_slice(bytes);
        self.consume();
    }

    /// A command comes, for whoever the session takes itself for.
    fn command(&mut self, order: &Order) {
        if self.closed {
            return;
        }
        let within = i64::try_from(order.within.as_millis()).unwrap_or(i64::MAX);
        let Some(device_id) = self.session.device_id().cloned().or_else(|| DeviceId::normalise("1")) else { return };
        let deadline = self.now.utc.plus_millis(within);
        let command = Command { id: order.id.clone(), device_id, deadline, kind: order.kind.clone() };
        self.session.command(command, self.now.uptime + order.within, Vec::new(), self.now, &mut self.turn);
        self.take();
    }

    /// What was told about commands; what is to be written is written at once.
    fn tell(&mut self) {
        for _ in 0..MAX_CALLS_AT_ONCE {
            let mut written = Vec::new();
            for Told { command_id, news } in std::mem::take(&mut self.turn.told) {
                match news {
                    News::Write { ticket, deadline, frames, .. } => {
                        if deadline <= self.now.uptime {
                            self.transcript.broken.push(format!("{} is to be written after its deadline", command_id.as_str()));
                        }
                        self.transcript.said.push((self.item, Said::Sent(frames)));
                        written.push(ticket);
                    }
                    other => {
                        if let Some(text) = news_text(command_id.as_str(), &other) {
                            self.transcript.said.push((self.item, Said::Told(text)));
                        }
                    }
                }
            }
            if written.is_empty() {
                return;
            }
            for ticket in written {
                let mut turn = Turn::observed(false);
                self.session.written(ticket, self.now, &mut turn);
                self.turn.told.append(&mut turn.told);
            }
        }
        self.transcript.broken.push("commands are written without end".into());
    }

    /// Let the session look at what is pending until it takes no more; how much it took.
    fn consume(&mut self) -> usize {
        let mut at = 0;
        while !self.closed {
            let used = self.turn(at);
            at += used;
            if used == 0 {
                break;
            }
        }
        self.pending.drain(..at.min(self.pending.len()));
        self.drop_rest();
        at
    }

    /// After a request to close nothing more is read.
    fn drop_rest(&mut self) {
        if self.closed {
            self.transcript.tally.dropped += self.pending.len();
            self.pending.clear();
        }
    }

    /// One call of the session with what is pending from `at` on.
    fn turn(&mut self, at: usize) -> usize {
        let input = self.pending.get(at..).unwrap_or_default();
        let used = self.session.receive(input, self.now, &mut self.turn);
        self.transcript.tally.calls += 1;
        if used > input.len() {
            let detail = format!("{used} bytes consumed of {}", input.len());
            self.transcript.broken.push(detail);
        }
        let used = used.min(input.len());
        self.transcript.tally.consumed += used;
        if self.turn.fate.is_some() && used == 0 {
            self.transcript.broken.push("a frame of no bytes".into());
        }
        if let Some(seen) = self.turn.seen.take() {
            let start = self.transcript.tally.consumed.saturating_sub(seen.length);
            let events = self.turn.events.iter().map(|event| json(&event.body)).collect();
            self.transcript.frames.push(Framed { start, seen, trace: self.turn.trace.clone().unwrap_or_default(), events });
        }
        self.take();
        used
    }

    fn advance(&mut self, pause: Duration) {
        let target = self.now.uptime + pause;
        let mut fired = 0;
        let mut at_once = 0;
        while let Some(deadline) = self.session.deadline().filter(|at| *at <= target && !self.closed) {
            at_once = if deadline > self.now.uptime { 1 } else { at_once + 1 };
            fired += 1;
            if at_once > MAX_CALLS_AT_ONCE || fired > MAX_DEADLINES {
                self.transcript.broken.push(format!("stalled: the deadline stays at {deadline:?} or comes back without end"));
                break;
            }
            self.set_clock(deadline.max(self.now.uptime));
            if self.consume() > 0 {
                at_once = 0;
            }
        }
        self.set_clock(target);
    }

    fn set_clock(&mut self, uptime: Duration) {
        let passed = uptime.saturating_sub(self.now.uptime);
        self.now.utc = self.now.utc.plus_millis(i64::try_from(passed.as_millis()).unwrap_or(i64::MAX));
        self.now.uptime = uptime;
    }

    /// Write down what the turn says.
    fn take(&mut self) {
        self.check();
        let mut said = Vec::new();
        let tally = &mut self.transcript.tally;
        if let Some(run) = &self.turn.skipped {
            tally.frames += 1;
            tally.rejected += 1;
            said.push(Said::Rejected(run.fault.kind));
        }
        match self.turn.fate {
            Some(Fate::Store) => tally.stored += 1,
            Some(Fate::Handled(_)) => tally.handled += 1,
            Some(Fate::Reject(_)) => tally.rejected += 1,
            None => {}
        }
        tally.frames += usize::from(self.turn.fate.is_some());
        said.extend(self.turn.notices.iter().map(|notice| Said::Notice(notice.fault.kind)));
        said.extend(self.turn.tolerated.iter().copied().map(Said::Tolerated));
        said.extend(self.turn.reject.iter().map(|reject| Said::Rejected(reject.fault.kind)));
        for event in &self.turn.events {
            let json = json(&event.body);
            for broken in lies(&event.body, &json) {
                self.transcript.broken.push(format!("{broken}: {json}"));
            }
            said.push(Said::Event(json));
        }
        said.extend(self.turn.send.frames().map(|frame| Said::Sent(frame.to_vec())));
        self.transcript.said.extend(said.into_iter().map(|said| (self.item, said)));
        let close = self.turn.close;
        self.closed |= close.is_some();
        self.tell();
        if self.turn.receipt {
            self.transcript.tally.asked += 1;
            self.waiting.push_back(close);
            if self.storage == Storage::AtOnce || self.waiting.len() == WINDOW {
                self.release();
            }
        } else if let Some(close) = close {
            self.release();
            self.transcript.said.push((self.item, Said::Closes(close)));
        }
    }

    /// Everything that waits is stored now.
    fn release(&mut self) {
        while let Some(close) = self.waiting.pop_front() {
            self.out.clear();
            self.session.release(Some(self.delivery), self.now, &mut self.out);
            self.transcript.tally.released += 1;
            let acknowledged = self.out.frames().map(|frame| (self.item, Said::Acknowledged(frame.to_vec())));
            self.transcript.said.extend(acknowledged);
            self.transcript.said.extend(close.map(|close| (self.item, Said::Closes(close))));
        }
    }

    /// What holds of every turn of every protocol.
    fn check(&mut self) {
        let turn = &self.turn;
        let mut wrong = Vec::new();
        let mut must = |holds: bool, law: &str| {
            if !holds {
                wrong.push(format!("{law}: fate {:?}", turn.fate));
            }
        };
        match turn.fate {
            Some(Fate::Store) => {
                must(!turn.events.is_empty(), "a stored frame has events");
                must(turn.reject.is_none(), "a stored frame has no reject");
                must(turn.receipt, "a stored frame asks for a receipt");
                must(self.session.device_id().is_some(), "events belong to a device");
            }
            Some(Fate::Handled(_)) => {
                must(turn.events.is_empty(), "a handled frame has no events");
                must(turn.reject.is_none(), "a handled frame has no reject");
            }
            Some(Fate::Reject(kind)) => {
                must(turn.events.is_empty(), "a rejected frame has no events");
                must(turn.reject.as_ref().is_some_and(|r| r.fault.kind == kind), "a rejected frame has its reject");
                must(turn.receipt, "a rejected frame asks for a receipt");
            }
            None => {
                must(turn.events.is_empty(), "without a frame there are no events");
                must(turn.reject.is_none(), "without a frame there is no reject");
                must(!turn.receipt, "without a frame there is no receipt");
            }
        }
        for reject in turn.skipped.iter().chain(&turn.reject).chain(&turn.notices) {
            must(reject.bytes.len() == reject.length.min(MAX_REJECT_BYTES), "a reject holds its bytes up to the bound");
        }
        for event in &turn.events {
            must(event.sequence == self.sequence, "sequences count the events of a session");
            self.sequence += 1;
        }
        self.transcript.broken.append(&mut wrong);
    }

    /// The connection ends.
    fn end(mut self) -> Transcript {
        self.transcript.tally.left += self.pending.len();
        self.session.finish(&self.pending, self.now, &mut self.turn);
        self.take();
        self.release();
        let Tally { bytes, consumed, left, dropped, asked, released, .. } = self.transcript.tally;
        if bytes != consumed + left + dropped {
            self.transcript.broken.push(format!("of {bytes} bytes {consumed} were consumed, {left} left and {dropped} dropped"));
        }
        if asked != released {
            self.transcript.broken.push(format!("{asked} receipts were asked for and {released} released"));
        }
        self.transcript.device = self.session.device_id().cloned();
        self.transcript
    }
}

/// The text of a `^` line; times are left out. `None` for what shows as something else.
fn news_text(id: &str, news: &News) -> Option<String> {
    let word = |value: Value| value.as_str().unwrap_or_default().to_owned();
    Some(match news {
        News::Write { .. } | News::Withdraw(_) => return None,
        News::Stage(stage, _) => format!("{id} {}", word(serde_json::to_value(stage).unwrap_or_default())),
        News::Returned => format!("{id} returned"),
        News::Cut { attempts, .. } => format!("{id} cut {{\"attempts\":{attempts}}}"),
        News::Outcome(outcome) => {
            let Ok(Value::Object(mut fields)) = serde_json::to_value(outcome) else { return None };
            let result = word(fields.remove("result").unwrap_or_default());
            ["command_id", "sent_at", "answered_at"].into_iter().for_each(|field| drop(fields.remove(field)));
            if outcome.attempts == u32::from(outcome.sent_at.is_some()) {
                fields.remove("attempts");
            }
            if fields.is_empty() { format!("{id} {result}") } else { format!("{id} {result} {}", Value::Object(fields)) }
        }
    })
}

/// The content under its type, as a fixture has it.
fn json(body: &Body) -> String {
    let mut text = Vec::new();
    let write = |text: &mut Vec<u8>| -> serde_json::Result<()> {
        let mut serializer = serde_json::Serializer::new(text);
        let mut map = (&mut serializer).serialize_map(Some(1))?;
        serialize_body(&mut map, body)?;
        map.end()
    };
    match write(&mut text) {
        Ok(()) => String::from_utf8(text).unwrap_or_default(),
        Err(e) => format!("{{\"unserialisable\":\"{e}\"}}"),
    }
}

/// What no event may say.
fn lies(body: &Body, json: &str) -> Vec<String> {
    let mut lies = Vec::new();
    // JSON has no word for a number that is none, so serde_json writes null; nothing else of ours does
    if json.contains("null") && serde_json::from_str(json).is_ok_and(|value| has_null(&value)) {
        lies.push("a value is no number".to_owned());
    }
    let place = match body {
        Body::Position(report) => Some(report),
        Body::Status(_) | Body::Alarm(_) | Body::Data(_) => None,
        Body::Order(order) => order.position.as_deref(),
        Body::Driver(driver) => driver.position.as_deref(),
    };
    if let Some(report) = place {
        let within = |x: Option<f64>, bound: f64| x.is_none_or(|x| (-bound..=bound).contains(&x));
        if !within(report.latitude, 90.0) || !within(report.longitude, 180.0) {
            lies.push("there is no such place".to_owned());
        }
        if report.latitude.is_some() != report.longitude.is_some() {
            lies.push("half a place".to_owned());
        }
    }
    lies
}

fn has_null(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Array(items) => items.iter().any(has_null),
        Value::Object(fields) => fields.values().any(has_null),
        Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::super::toy::{self, TOY};
    use super::*;
    use std::iter;

    fn script(frames: &[Vec<u8>]) -> Script {
        Script::parse("").unwrap().with(frames.iter().map(|f| Action::Receive(f.clone())))
    }

    #[test]
    fn frames_are_acknowledged_only_when_stored() {
        let frames = [toy::frame(toy::LOGIN, b"7"), toy::position(0, 0), toy::position(1, 1)];
        let order = |storage| {
            let transcript = run(&TOY, &script(&frames), &Options { storage, ..Options::default() });
            assert_eq!(transcript.broken, Vec::<String>::new());
            assert_eq!(transcript.device.as_ref().map(DeviceId::as_str), Some("7"));
            let sign = |said: &Said| if matches!(said, Said::Acknowledged(_)) { 'a' } else { 'e' };
            transcript.flat().map(sign).collect::<String>()
        };
        assert_eq!(order(Storage::AtOnce), "aeaea");
        assert_eq!(order(Storage::Late), "eeaaa");
    }

    #[test]
    fn a_full_window_is_stored_before_more_is_received() {
        let frames: Vec<_> = iter::once(toy::frame(toy::LOGIN, b"7")).chain((0..200).map(|n| toy::position(n, n))).collect();
        let transcript = run(&TOY, &script(&frames), &Options { storage: Storage::Late, ..Options::default() });
        assert_eq!((transcript.tally.asked, transcript.tally.released), (201, 201));
        assert_eq!(transcript.events("position").count(), 200);
    }

    #[test]
    fn everything_received_is_counted() {
        let frames = [b"xx".to_vec(), toy::frame(toy::BYE, b""), toy::frame(toy::HEARTBEAT, b"")];
        let tally = run(&TOY, &script(&frames), &Options::default()).tally;
        assert_eq!((tally.bytes, tally.consumed, tally.left, tally.dropped), (12, 7, 0, 5));
        assert_eq!((tally.frames, tally.stored, tally.handled, tally.rejected), (2, 0, 1, 1));
        let cut = run(&TOY, &script(&[vec![2, 9]]), &Options::default());
        assert_eq!((cut.tally.left, cut.tally.rejected), (2, 1));
        assert_eq!(cut.said, [(0, Said::Rejected(FaultKind::Truncated))]);
    }

    #[test]
    fn the_profile_and_the_secret_reach_the_session() {
        let mut bad = toy::frame(toy::HEARTBEAT, b"");
        bad[3] ^= 1;
        let refused = run(&TOY, &script(std::slice::from_ref(&bad)), &Options::default());
        assert_eq!(refused.said, [(0, Said::Rejected(FaultKind::Checksum))]);
        let lenient = Script::parse("% profile {\"checksum\":\"accept_and_count\"}").unwrap();
        let accepted = run(&TOY, &lenient.with([Action::Receive(bad)]), &Options::default());
        assert_eq!(accepted.said[0], (0, Said::Tolerated(FaultKind::Checksum)));
        let codes = |world| run(&TOY, &script(&[toy::frame(toy::LOGIN, b"7")]), &Options { world, ..Options::default() }).said;
        assert_ne!(codes(World::default()), codes(World { secrets: World::other(0).secrets, ..World::default() }));
    }
}
