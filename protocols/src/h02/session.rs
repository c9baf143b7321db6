//! What messages do: identify, emit, and how each is acknowledged.

use std::time::Duration;

use serde_json::Value;

use crate::command::Command;
use crate::cursor::Trace;
use crate::desk::{Confirms, Emitted, Errand, OrderRef, Plan, Unfit, Verdict};
use crate::event::{Actor, Body, Data, DataKind, Order, OrderAction, Reason, Report};
use crate::fault::{Fault, FaultKind};
use crate::h02::commands::{self, Shown, Writer, key_of};
use crate::h02::dialect::Dialect;
use crate::h02::downlink::{self, Beat, Downlink, Say};
use crate::h02::fields::pairs;
use crate::h02::frame::{self, Known};
use crate::h02::identity::{Id, Maker};
use crate::h02::message::{self, Content, Facts, Head, Key, Message};
use crate::h02::picture::{Picture, Taken};
use crate::identity::SessionId;
use crate::outcome::EndingReason;
use crate::profile::Profile;
use crate::session::{Delivery, Handled, Outgoing};
use crate::time::{Now, undo_week_rollover};
use crate::wire::{Answer, Cut, Frame, Limits, Link, Probe, Source, Step, Wire};

/// An H02 unit on a connection.
#[derive(Debug)]
pub(super) struct H02 {
    /// As it wrote them last; a downlink uses the same.
    maker: Maker,
    id: Id,
    /// The length of its `$` frames, once that is certain.
    known: Option<Known>,
    /// The length of its last one, while that is not.
    last: Option<Known>,
    picture: Option<Box<Picture>>,
    /// What the screen shows.
    shown: Shown,
    /// The last key that decided an offer, as its message has it.
    pressed: Option<Box<[u8]>>,
    /// Second of the day that the last command has.
    last_second: Option<u32>,
}

/// What is needed to acknowledge a message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ack {
    maker: Maker,
    id: Id,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Received(downlink::Report),
    Echo(Beat),
    /// For units that want something for everything.
    Short,
}

impl Wire for H02 {
    const NAME: &'static str = "h02";
    const LIMITS: Limits = Limits {
        max_frame: frame::MAX_TEXT,
        // a binary frame says neither its length nor its end
        quiet: Duration::from_millis(300),
        // reports come every 10 s to 5 min, the heartbeats of sleeping units as seldom
        idle: Duration::from_secs(15 * 60),
    };
    type Message<'f> = Message<'f>;
    type Ack = Ack;

    fn new(_: SessionId) -> Self {
        Self {
            maker: Maker::COMMON,
            id: Id::NONE,
            known: None,
            last: None,
            picture: None,
            shown: Shown::Offer,
            pressed: None,
            last_second: None,
        }
    }

    fn probe(head: &[u8]) -> Probe {
        frame::probe(head)
    }

    fn cut<'b>(&self, input: &'b [u8], quiet: bool, _: &'b mut Vec<u8>) -> Cut<'b> {
        frame::cut(input, self.known, quiet)
    }

    fn decode<'f>(&self, frame: &Frame<'f>, profile: &Profile, trace: Option<&mut Trace>) -> Result<Message<'f>, Fault> {
        message::decode(frame, profile, trace)
    }

    fn on_message(&mut self, message: Message<'_>, step: &mut Step<'_>) -> Answer<Ack> {
        let Message { head, content } = message;
        if let Err(fault) = self.identify(&head, step) {
            // an echo is about the line, not about a report
            return Answer::Rejected(fault, self.ack(&head, step).filter(|ack| matches!(ack.what, What::Echo(_))));
        }
        self.learn(&head, step.profile());
        if head.form == frame::OPEN_TEXT || head.form == frame::BINARY_BEGINNING {
            step.tolerate(FaultKind::Length);
        }
        let ack = self.ack(&head, step);
        match content {
            Content::Nothing => Answer::Handled(Handled::Heartbeat, ack),
            Content::Report(facts) => {
                let mut source = source(&head, &facts);
                if report(facts, &mut source, step) { Answer::Stored(ack) } else { Answer::Handled(Handled::Heartbeat, ack) }
            }
            Content::Answer { command, words, facts } => answered(&head, command, words, facts, ack, step),
            Content::Key { key, facts } => self.pressed(&head, key, facts, ack, step),
            Content::Text(words) => {
                if step.answer(commands::SMS, Verdict::Done(Some(Value::String(words.clone())))) {
                    return Answer::Handled(Handled::Answer, ack);
                }
                let data = Body::Data(Box::new(Data::text(DataKind::Text, words)));
                step.emit(&mut Source::undated(head.message_type(), head.body, None), data);
                Answer::Stored(ack)
            }
            Content::Bytes(data, bytes) => {
                step.emit_bytes(&mut Source::undated(head.message_type(), head.body, None), &data, bytes);
                Answer::Stored(ack)
            }
            Content::Picture { camera, number, block } => self.block(&head, camera, number, block, step),
        }
    }

    fn on_unreadable(&mut self, frame: &Frame<'_>, _: &Fault, step: &mut Step<'_>) -> Option<Ack> {
        if matches!(frame.form, frame::BINARY | frame::BINARY_BY_SILENCE) {
            // a length that leads to what cannot be read is none
            self.known = None;
        }
        message::head(frame, None).ok().and_then(|head| self.ack(&head, step))
    }

    fn acknowledge(&mut self, ack: Ack, delivery: Delivery, _: &Link, now: Now, out: &mut Outgoing) {
        // the protocol has no word for a refusal
        if delivery == Delivery::UnknownDevice {
            return;
        }
        let say = match ack.what {
            What::Received(report) => Say::Received(report, now.utc),
            What::Echo(beat) => Say::Echo(beat),
            What::Short => {
                let c = now.utc.civil(0);
                Say::Command([c.hour, c.minute, c.second], downlink::Order::Received)
            }
        };
        out.frame(|out| Downlink { maker: ack.maker, id: ack.id, say }.write(out));
    }

    fn deadline(&self) -> Option<Duration> {
        self.picture.as_ref().map(|picture| picture.deadline())
    }

    fn on_deadline(&mut self, _: bool, step: &mut Step<'_>) {
        if let Some(picture) = self.picture.take() {
            picture.give_up(step);
        }
    }

    type Downlink = Downlink;

    const COMMANDS: &'static [(&'static str, Confirms)] = commands::COMMANDS;

    fn samples() -> Vec<Downlink> {
        Downlink::samples()
    }

    fn encode(&self, downlink: &Downlink, _: &Link, out: &mut Vec<u8>) {
        downlink.write(out);
    }

    fn decode_downlink(&self, raw: &[u8], _: &Profile, trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
        Downlink::read(raw, trace)
    }

    fn seal(_: u8, content: &[u8], out: &mut Vec<u8>) {
        // no form has a checksum, and the content holds the marks
        out.extend_from_slice(content);
    }

    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Downlink>, Unfit> {
        let second = self.next_second(errand.now());
        let time = [second / 3600, second / 60 % 60, second % 60].map(|n| n as u8);
        let writer = Writer { maker: self.maker, id: self.addressee(errand.link()), time };
        let (plan, shown) = writer.plan(command, errand)?;
        self.last_second = Some(second);
        self.shown = shown.unwrap_or_else(|| std::mem::replace(&mut self.shown, Shown::Offer));
        Ok(plan)
    }

    fn parameters() -> Vec<(u32, &'static str)> {
        commands::SETTINGS.to_vec()
    }

    fn one_offer(&self, _: &Link) -> bool {
        true
    }
}

impl H02 {
    /// A key of the dispatch screen. OK accepts what is offered and CLR declines it; else the key is about what was shown last.
    fn pressed(&mut self, head: &Head<'_>, key: Key, facts: Facts, ack: Option<Ack>, step: &mut Step<'_>) -> Answer<Ack> {
        let mut source = source(head, &facts);
        let undecided = commands::undecided(step.link(), step.now());
        let code = match key {
            Key::Ok => Key::OK,
            Key::Clear => Key::CLEAR,
            Key::Other(code) => {
                let mut attributes = facts.report.attributes;
                attributes.set("key", code);
                let data = Data::values(DataKind::Unknown, attributes, head.body.len());
                step.emit(&mut source, Body::Data(Box::new(data)));
                return Answer::Stored(ack);
            }
        };
        // the same press, sent again because a unit does not know whether it was heard
        let again = self.pressed.as_deref() == Some(head.body);
        let answers = |number, verdict, step: &mut Step<'_>| step.answer(Shown::key(number), verdict);
        let (action, reason) = match &self.shown {
            Shown::Won(number) if !undecided && !again => {
                answers(*number, Verdict::Done(None), step);
                (OrderAction::Read, None)
            }
            Shown::Text(number) if !undecided && !again => {
                if answers(*number, Verdict::Done(None), step) {
                    return Answer::Handled(Handled::Answer, ack);
                }
                return unmatched(code, facts, head, &mut source, ack, step);
            }
            Shown::Question(number, ids) if !undecided && !again => {
                let [ok, clear] = ids;
                let chosen = if key == Key::Ok { ok } else { clear };
                let verdict = chosen.clone().map_or(Verdict::Refused(None), |id| Verdict::Done(Some(Value::String(id))));
                if answers(*number, verdict, step) {
                    return Answer::Handled(Handled::Answer, ack);
                }
                return unmatched(code, facts, head, &mut source, ack, step);
            }
            _ if key == Key::Ok => (OrderAction::Accepted, None),
            _ => (OrderAction::Declined, Some(Reason::Driver)),
        };
        if matches!(action, OrderAction::Accepted | OrderAction::Declined) {
            self.pressed = Some(head.body.into());
        }
        let order = Order { reason, attributes: facts.report.attributes, ..Order::of(action, Actor::Driver) };
        match step.emit_order(&mut source, order, OrderRef::Only) {
            Emitted::Stored => Answer::Stored(ack),
            Emitted::Repeat => Answer::Handled(Handled::Repeat, ack),
        }
    }

    /// What a message is answered with.
    fn ack(&self, head: &Head<'_>, step: &Step<'_>) -> Option<Ack> {
        let what = if let Some(report) = downlink::Report::of(head.word) {
            What::Received(report)
        } else if let Some(beat) = Beat::of(head.word) {
            What::Echo(beat)
        } else {
            let silent = matches!(head.word, "" | "LINK" | "XT" | "SMS" | "V4" | "P");
            (Dialect::of(step.profile()).answers_all && !silent).then_some(What::Short)?
        };
        // an echo is what was sent; what names nobody is from whoever is known
        let named = matches!(what, What::Echo(_)) || !head.id.is_none();
        let maker = if matches!(head.form, frame::TEXT | frame::OPEN_TEXT) { head.maker } else { self.maker };
        Some(Ack { maker, id: if named { head.id } else { self.addressee(step.link()) }, what })
    }

    /// The id as the device writes it, else as it is known.
    fn addressee(&self, link: &Link) -> Id {
        let known = || link.device_id().and_then(|id| Id::of(id.as_str().as_bytes()));
        if self.id.is_none() { known().unwrap_or(Id::NONE) } else { self.id }
    }

    /// A second of the day for a command: now, or the next that no command of this connection has.
    fn next_second(&self, now: Now) -> u32 {
        let c = now.utc.civil(0);
        let this = (u32::from(c.hour) * 60 + u32::from(c.minute)) * 60 + u32::from(c.second);
        let ahead = |last: u32| (last + DAY_S - this) % DAY_S;
        // a last command up to a minute ahead came in the same burst; more is yesterday's
        self.last_second.filter(|last| ahead(*last) < BURST_S).map_or(this, |last| (last + 1) % DAY_S)
    }

    /// Every frame but `X` says who it is; one that does not belongs to the connection.
    fn identify(&mut self, head: &Head<'_>, step: &mut Step<'_>) -> Result<(), Fault> {
        let same = head.id == self.id && step.link().device_id().is_some();
        if !head.id.is_none() && !same {
            step.identify(head.id.as_str(), None)?;
            self.id = head.id;
        }
        if matches!(head.form, frame::TEXT | frame::OPEN_TEXT) {
            self.maker = head.maker;
        }
        Ok(())
    }

    /// Remember how long this unit's `$` frames are: when the profile says so, when the next frame shows a length that models
    /// are known to have, or when two frames agree.
    fn learn(&mut self, head: &Head<'_>, profile: &Profile) {
        /// The lengths that profiles say are counted with an id of so many bytes.
        const ID: usize = 5;
        if let Some(length) = Dialect::of(profile).binary_length {
            self.known = Some(Known { id: ID, length });
            return;
        }
        let id = head.at.saturating_sub(1);
        let this = Known { id, length: head.length };
        let certain = head.form == frame::BINARY && frame::is_known_length(id, head.length);
        match head.form {
            frame::BINARY | frame::BINARY_BY_SILENCE if certain || self.last == Some(this) => self.known = Some(this),
            frame::BINARY | frame::BINARY_BY_SILENCE => self.last = Some(this),
            _ => {}
        }
    }

    fn block(&mut self, head: &Head<'_>, camera: u8, number: u8, block: &[u8], step: &mut Step<'_>) -> Answer<Ack> {
        if step.link().device_id().is_none() {
            return Answer::Rejected(Fault::new(FaultKind::Unidentified, 0, "a picture of nobody"), None);
        }
        let now = step.now().uptime;
        let mut taken = self.picture.as_mut().map_or(Taken::Stray, |picture| picture.take(camera, number, block, now));
        if taken == Taken::Stray
            && let Some((picture, first)) = Picture::begin(camera, number, block, now)
        {
            if let Some(older) = self.picture.replace(Box::new(picture)) {
                older.give_up(step);
            }
            taken = first;
        }
        match taken {
            Taken::Part => Answer::Handled(Handled::Fragment, None),
            Taken::Known => Answer::Handled(Handled::Repeat, None),
            Taken::Whole => {
                if let Some(picture) = self.picture.take() {
                    let (data, bytes) = picture.finish();
                    // the picture itself is the body: sent again it is the same
                    step.emit_bytes(&mut Source::dated(head.message_type(), &bytes), &data, &bytes);
                }
                Answer::Stored(None)
            }
            Taken::Stray => {
                let detail = format!("block {number} of a picture whose beginning is missing");
                Answer::Rejected(Fault::new(FaultKind::Reassembly, 0, detail), None)
            }
        }
    }
}

/// A day.
const DAY_S: u32 = 24 * 3600;
/// Commands are at most [`crate::desk::MAX_WAITING`] and [`crate::desk::MAX_OPEN`] at once, each a second after the one before.
const BURST_S: u32 = 60;

/// A key about something that waits for no answer.
fn unmatched(
    code: u16,
    facts: Facts,
    head: &Head<'_>,
    source: &mut Source<'_>,
    ack: Option<Ack>,
    step: &mut Step<'_>,
) -> Answer<Ack> {
    let mut attributes = facts.report.attributes;
    attributes.set("key", code);
    step.emit_unmatched(source, attributes, head.body.len());
    Answer::Stored(ack)
}

/// Emit a report. False if it says nothing.
fn report(facts: Facts, source: &mut Source<'_>, step: &mut Step<'_>) -> bool {
    let Facts { mut report, located, .. } = facts;
    if report == Report::default() {
        return false;
    }
    correct_time(&mut report, step.now());
    let body = if located {
        Body::Position(report)
    } else if report.alarms.is_empty() {
        Body::Status(report)
    } else {
        Body::Alarm(report)
    };
    step.emit(source, body);
    true
}

/// How old a report may be that a unit stored while out of coverage; see [`correct_time`].
const STORED_FOR_MS: i64 = 30 * 24 * 3600 * 1000;

/// Old receivers repeat their weeks every 1024. One that does is right again once it is corrected, to within the time that it
/// stores reports; a date that is then still old comes from a clock that was never set, and stays as sent.
fn correct_time(report: &mut Report, now: Now) {
    let Some(time) = report.time else {
        return;
    };
    let (corrected, moved) = undo_week_rollover(time, now.utc);
    if moved && now.utc.as_millis() - corrected.as_millis() <= STORED_FOR_MS {
        report.time = Some(corrected);
        report.attributes.set("time_corrected", true);
        report.attributes.set("time_sent", time.to_string());
    }
}

/// What a unit says that could not do what it was told.
const FAILED: &[u8] = b"ERROR";

/// The times that an answer holds: that of its command is one of them.
fn times(words: &[u8]) -> impl Iterator<Item = [u8; 3]> {
    words.split(|b| *b == b',').filter_map(pairs)
}

/// What an answer says besides that it is one.
fn said(words: &[u8]) -> Option<Value> {
    let rest = words.split(|b| *b == b',').filter(|word| pairs(word).is_none() && !matches!(*word, b"DONE" | b"OK" | b""));
    let text = rest.map(String::from_utf8_lossy).collect::<Vec<_>>().join(",");
    (!text.is_empty()).then_some(Value::String(text))
}

/// A command was carried out. Its place is a place like others; without one the words are all there is, and if they answer
/// something of ours they are told there.
fn answered(head: &Head<'_>, command: &str, words: &[u8], mut facts: Facts, ack: Option<Ack>, step: &mut Step<'_>) -> Answer<Ack> {
    let failed = words.split(|b| *b == b',').any(|word| word == FAILED);
    let verdict = || match command {
        _ if failed => Verdict::Refused(Some(EndingReason::DeviceFailed)),
        downlink::SHOW => Verdict::Delivered,
        _ => Verdict::Done(said(words)),
    };
    let ours = times(words).any(|time| step.answer(key_of(command, time), verdict()))
        || command == commands::QUERY && times(words).next().is_none() && step.answer(commands::UNTIMED_QUERY, verdict());
    let words = String::from_utf8_lossy(words).into_owned();
    let mut source = source(head, &facts);
    if facts.report != Report::default() {
        facts.report.attributes.set("answered_command", command.to_owned());
        facts.report.attributes.set("answer", words);
        report(facts, &mut source, step);
    } else if ours {
        return Answer::Handled(Handled::Answer, ack);
    } else {
        let kind = if command == commands::QUERY { DataKind::Parameters } else { DataKind::Text };
        let mut data = Data::text(kind, format!("{command},{words}"));
        data.attributes.set("answered_command", command.to_owned());
        step.emit(&mut source, Body::Data(Box::new(data)));
    }
    Answer::Stored(ack)
}

/// Where the ids of a message's events come from. The last byte of long binary frames counts records, so it is not of the body.
fn source<'f>(head: &Head<'f>, facts: &Facts) -> Source<'f> {
    /// The shortest frame with a record number, counted with an id of five bytes.
    const COUNTED: usize = 45;
    let counted = matches!(head.form, frame::BINARY | frame::BINARY_BY_SILENCE) && head.length >= COUNTED && head.length != 46;
    let body = head.body.get(..head.body.len() - usize::from(counted && !head.body.is_empty())).unwrap_or(head.body);
    if facts.report.time.is_some() && !facts.day_only {
        Source::dated(head.message_type(), body)
    } else {
        Source::undated(head.message_type(), body, None)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cursor::unhex;
    use crate::event::Event;
    use crate::machine::Machine;
    use crate::session::{Fate, Opening, Session, Turn};
    use crate::time::Timestamp;

    const PLACE: &str = "*HQ,13800001234,V1,100000,A,3954.2400,N,11624.4200,E,028.20,087,010326,FFFFFFFF#";

    fn at(uptime_ms: u64) -> Now {
        let utc = Timestamp::parse("2026-03-01T10:00:05Z").unwrap();
        Now { utc, uptime: Duration::from_millis(uptime_ms) }
    }

    fn open() -> Box<dyn Session> {
        Machine::<H02>::open(Opening { session: SessionId(7), settings: Arc::default(), device: None })
    }

    /// Hear one frame; tell the fate, the events and what goes back when all is stored with this result.
    fn hear(session: &mut dyn Session, frame: &[u8], delivery: Delivery) -> (Option<Fate>, Vec<Event>, String) {
        let mut turn = Turn::default();
        assert_eq!(session.receive(frame, at(0), &mut turn), frame.len());
        let mut out = Outgoing::default();
        if turn.receipt {
            session.release(Some(delivery), at(0), &mut out);
        }
        (turn.fate, turn.events, String::from_utf8(out.bytes).unwrap())
    }

    #[test]
    fn a_report_is_acknowledged_by_its_word_and_a_repeat_has_its_id() {
        let mut session = open();
        let (fate, first, reply) = hear(&mut *session, PLACE.as_bytes(), Delivery::Stored);
        assert_eq!((fate, reply.as_str()), (Some(Fate::Store), "*HQ,13800001234,V4,V1,20260301100005#"));
        let (_, again, _) = hear(&mut *session, PLACE.as_bytes(), Delivery::Refused);
        assert_eq!(first[0].id, again[0].id);
        let (_, other, _) = hear(&mut *session, PLACE.replace("100000", "100001").as_bytes(), Delivery::Stored);
        assert_ne!(first[0].id, other[0].id);
    }

    #[test]
    fn nothing_is_said_to_an_unknown_device() {
        assert_eq!(hear(&mut *open(), PLACE.as_bytes(), Delivery::UnknownDevice).2, "");
        let heartbeat = hear(&mut *open(), b"*HQ,13800001234,HTBT#", Delivery::Stored);
        assert_eq!((heartbeat.0, heartbeat.2.as_str()), (Some(Fate::Handled(Handled::Heartbeat)), "*HQ,13800001234,HTBT#"));
    }

    #[test]
    fn undated_reports_differ() {
        let mut session = open();
        let mut id = || hear(&mut *session, b"*HQ,13800001234,HTBT,87#", Delivery::Stored).1[0].id;
        assert_ne!(id(), id());
        let mut day_only =
            || hear(&mut *session, b"*hq,13800001234,VP1,A,3954.2400,N,11624.4200,E,0.48,0.0,010326#", Delivery::Stored);
        assert_ne!(day_only().1[0].id, day_only().1[0].id);
    }

    #[test]
    fn the_record_number_is_not_of_the_report() {
        let frame = |record| {
            format!("24123456789010000001032639542400061162442 00e028087fffffbffff0015060000002c01cc00262b0f17{record}")
                .replace(' ', "")
        };
        let both = unhex(&[frame("0a"), frame("0b"), frame("0c")].concat()).unwrap();
        let (mut session, mut turn) = (open(), Turn::default());
        let mut ids = Vec::new();
        for from in [0, 45] {
            assert_eq!(session.receive(&both[from..], at(0), &mut turn), 45);
            ids.extend(turn.events.iter().map(|event| event.id));
        }
        assert_eq!((ids.len(), ids[0]), (2, ids[1]));
    }

    #[test]
    fn two_silences_show_a_length() {
        let mut wire = H02::new(SessionId(0));
        let head = |form, length| Head { form, maker: Maker::COMMON, id: Id::NONE, word: "$", body: &[], at: 6, length };
        let profile = Profile::default();
        wire.learn(&head(frame::BINARY_BY_SILENCE, 45), &profile);
        assert_eq!(wire.known, None);
        wire.learn(&head(frame::BINARY_BY_SILENCE, 32), &profile);
        assert_eq!(wire.known, None, "they do not agree");
        wire.learn(&head(frame::BINARY_BY_SILENCE, 32), &profile);
        assert_eq!(wire.known, Some(Known { id: 5, length: 32 }));
        wire.learn(&head(frame::BINARY, 49), &profile);
        assert_eq!(wire.known, Some(Known { id: 5, length: 32 }), "once is no proof of a length that no model has");
        wire.learn(&head(frame::BINARY, 47), &profile);
        assert_eq!(wire.known, Some(Known { id: 5, length: 47 }));
        let named = Profile { dialect: Some("binary51".into()), ..Profile::default() };
        wire.learn(&head(frame::TEXT, 100), &named);
        assert_eq!(wire.known, Some(Known { id: 5, length: 51 }));
    }

    #[test]
    fn no_two_commands_have_the_same_second() {
        let mut wire = H02::new(SessionId(0));
        let mut second = |text: &str| {
            let second = wire.next_second(Now { utc: Timestamp::parse(text).unwrap(), uptime: Duration::ZERO });
            wire.last_second = Some(second);
            second
        };
        assert_eq!(second("2026-03-01T23:59:59Z"), DAY_S - 1);
        assert_eq!(second("2026-03-01T23:59:59Z"), 0);
        assert_eq!(second("2026-03-02T00:00:00Z"), 1);
        assert_eq!(second("2026-03-02T00:00:07Z"), 7);
    }
}
