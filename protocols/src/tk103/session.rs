//! What messages do: identify, emit, and how each is acknowledged.
//!
//! Every frame carries an id, except with firmware before version 1.8 of the protocol: there the twelve digits in front are
//! the time, and only the login and the handshake say who it is. A login tells which of the two it is: its long id ends with
//! what stands in front, or what stands in front is a time. A report tells it too: it repeats its own date and time in front.

use std::time::Duration;

use serde_json::Value;

use crate::command::Command;
use crate::cursor::Trace;
use crate::desk::{Confirms, Errand, Plan, Unfit, Verdict};
use crate::event::{self, Attributes, Body, Data, Report};
use crate::fault::Fault;
use crate::identity::{MessageType, SessionId};
use crate::profile::Profile;
use crate::session::{Delivery, Handled, Outgoing};
use crate::time::{Now, Timestamp, undo_week_rollover};
use crate::tk103::commands;
use crate::tk103::dialect::Dialect;
use crate::tk103::downlink::{self, Downlink, Order, Short};
use crate::tk103::frame::{self, Head, MAX_FRAME, Style};
use crate::tk103::kinds::{self, Shape};
use crate::tk103::message::{self, Content, HANDSHAKE, Message, is_time, same_device};
use crate::tk103::position::Facts;
use crate::wire::{Answer, Cut, Frame, Limits, Link, Probe, Source, Step, Wire};

/// A TK103 unit on a connection.
#[derive(Debug, Default)]
pub(super) struct Tk103 {
    /// What stands in front of its frames is the time.
    timed: bool,
    /// What stood in front when it was last identified, so that a usual frame costs one comparison.
    known: Short,
    /// What stood in front of the last frame that is the device's.
    front: Short,
}

impl Wire for Tk103 {
    const NAME: &'static str = "tk103";
    const LIMITS: Limits = Limits {
        max_frame: MAX_FRAME,
        // a text without its second `$` ends when nothing more comes
        quiet: Duration::from_secs(2),
        // handshakes come every few minutes; the longest timer seen is 0x1A4 = 420 s
        idle: Duration::from_secs(20 * 60),
    };
    type Message<'f> = Message<'f>;
    type Ack = Downlink;
    type Downlink = Downlink;

    fn new(_: SessionId) -> Self {
        Self::default()
    }

    fn probe(head: &[u8]) -> Probe {
        frame::probe(head)
    }

    fn cut<'b>(&self, input: &'b [u8], quiet: bool, _: &'b mut Vec<u8>) -> Cut<'b> {
        frame::cut(input, quiet)
    }

    fn decode<'f>(&self, frame: &Frame<'f>, profile: &Profile, trace: Option<&mut Trace>) -> Result<Message<'f>, Fault> {
        message::decode(frame, profile, trace)
    }

    fn on_message(&mut self, message: Message<'_>, step: &mut Step<'_>) -> Answer<Downlink> {
        let Message { head, content } = message;
        let id = Short::new(head.id.as_bytes());
        let compact = head.style == Style::Compact;
        match content {
            Content::Handshake(long, timer) => {
                // it says nothing that is stored, so it contradicts nobody
                if step.link().device_id().is_none()
                    && let Err(fault) = self.log_in(&head, long, step)
                {
                    return Answer::Rejected(fault, None);
                }
                let echo = Dialect::of(step.profile()).echoes_timer && !timer.is_empty();
                let timer = Short::new(if echo { timer } else { HANDSHAKE });
                Answer::Handled(Handled::Handshake, compact.then_some(Downlink::Round(id, Order::Handshake(timer))))
            }
            Content::Login(long, mut facts) => {
                if let Err(fault) = self.log_in(&head, long, step) {
                    return Answer::Rejected(fault, None);
                }
                let ack = compact.then_some(Downlink::Round(id, Order::Login));
                if long.len() >= IMEI && !long.starts_with('0') && facts != Facts::default() {
                    facts.report.attributes.set("imei", long.to_owned());
                }
                match report(&head, facts, step) {
                    true => Answer::Stored(ack),
                    false => Answer::Handled(Handled::Handshake, ack),
                }
            }
            Content::Alarm(code, facts) => {
                let ack = Dialect::of(step.profile()).answers_alarms && compact;
                self.stored(&head, facts, ack.then_some(Downlink::Round(id, Order::Alarm(code))), step)
            }
            Content::Report(facts) => {
                let answer = self.stored(&head, facts, None, step);
                // a position that was asked for, or that comes with an answer
                if !matches!(answer, Answer::Rejected(..)) {
                    answered(&head, || None, step);
                }
                answer
            }
            Content::Vin(facts) => self.stored(&head, facts, None, step),
            Content::Data(mut data) => {
                if let Err(fault) = self.recognise(&head, None, step) {
                    return Answer::Rejected(fault, None);
                }
                if answered(&head, || said(&data), step) {
                    return Answer::Handled(Handled::Answer, None);
                }
                let mut source = source(&head, data.time.is_some());
                correct(&mut data.time, &mut data.attributes, step);
                step.emit(&mut source, Body::Data(data));
                Answer::Stored(None)
            }
            Content::Bytes(data, bytes) => {
                if let Err(fault) = self.recognise(&head, None, step) {
                    return Answer::Rejected(fault, None);
                }
                step.emit_bytes(&mut source(&head, false), &data, bytes);
                Answer::Stored(None)
            }
            Content::Answer(result) => {
                if let Err(fault) = self.recognise(&head, None, step) {
                    return Answer::Rejected(fault, None);
                }
                if answered(&head, || None, step) {
                    return Answer::Handled(Handled::Answer, None);
                }
                let mut answer = Attributes::default();
                answer.set("answer", head.command.to_owned());
                if !result.is_empty() {
                    answer.set("result", result.to_owned());
                }
                step.emit_unmatched(&mut source(&head, false), answer, head.body.len());
                Answer::Stored(None)
            }
        }
    }

    fn on_unreadable(&mut self, frame: &Frame<'_>, _: &Fault, step: &mut Step<'_>) -> Option<Downlink> {
        let head = frame::head(frame.content).ok().filter(|head| head.style == Style::Compact)?;
        let id = Short::new(head.id.as_bytes());
        match kinds::find(head.command).shape {
            Shape::Login => Some(Downlink::Round(id, Order::Login)),
            Shape::Alarm if Dialect::of(step.profile()).answers_alarms => {
                head.body.first().filter(|code| code.is_ascii_digit()).map(|code| Downlink::Round(id, Order::Alarm(code - b'0')))
            }
            _ => None,
        }
    }

    fn acknowledge(&mut self, ack: Downlink, delivery: Delivery, _: &Link, _: Now, out: &mut Outgoing) {
        // there is no word for a refusal
        if delivery != Delivery::UnknownDevice {
            out.frame(|out| downlink::encode(&ack, out));
        }
    }

    const COMMANDS: &'static [(&'static str, Confirms)] = commands::COMMANDS;

    fn samples() -> Vec<Downlink> {
        downlink::samples()
    }

    fn encode(&self, downlink: &Downlink, _: &Link, out: &mut Vec<u8>) {
        downlink::encode(downlink, out);
    }

    fn decode_downlink(&self, raw: &[u8], _: &Profile, trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
        downlink::decode(raw, trace)
    }

    fn seal(_: u8, content: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(content);
    }

    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Downlink>, Unfit> {
        commands::plan(command, self.front(errand.link()), Dialect::of(errand.profile()))
    }
}

/// Digits of an IMEI.
const IMEI: usize = 15;

impl Tk103 {
    /// A login or a handshake: who it is, and what stands in front of its frames.
    fn log_in(&mut self, head: &Head<'_>, long: &str, step: &mut Step<'_>) -> Result<(), Fault> {
        let compact = head.style == Style::Compact;
        let named = long.bytes().any(|b| b != b'0');
        self.timed =
            compact && named && (Dialect::of(step.profile()).time_in_front || is_time(head.id) && !same_device(head.id, long));
        if self.timed {
            step.identify(long, None)?;
            self.front = Short::new(head.id.as_bytes());
            return Ok(());
        }
        self.identify(head, step)
    }

    /// A frame that must be from the device of this connection. `stamp`: the date and time that it holds.
    fn recognise(&mut self, head: &Head<'_>, stamp: Option<[u8; 12]>, step: &mut Step<'_>) -> Result<(), Fault> {
        if head.style == Style::Compact {
            let own_time = stamp.is_some_and(|stamp| head.id.as_bytes() == stamp);
            if self.timed || own_time || Dialect::of(step.profile()).time_in_front {
                self.front = Short::new(head.id.as_bytes());
                return Ok(());
            }
        }
        self.identify(head, step)
    }

    fn identify(&mut self, head: &Head<'_>, step: &mut Step<'_>) -> Result<(), Fault> {
        if self.known.as_str() == head.id && step.link().device_id().is_some() {
            return Ok(());
        }
        step.identify(head.id, None)?;
        self.known = Short::new(head.id.as_bytes());
        self.front = self.known;
        Ok(())
    }

    /// What our frames have in front: what the device's have; before it has sent one, its id at the documented length.
    fn front(&self, link: &Link) -> Short {
        match link.device_id() {
            Some(id) if self.front.bytes().is_empty() => Short::new(format!("{:0>12}", id.as_str()).as_bytes()),
            _ => self.front,
        }
    }

    fn stored(&mut self, head: &Head<'_>, facts: Facts, ack: Option<Downlink>, step: &mut Step<'_>) -> Answer<Downlink> {
        if let Err(fault) = self.recognise(head, facts.stamp, step) {
            return Answer::Rejected(fault, None);
        }
        match report(head, facts, step) {
            true => Answer::Stored(ack),
            false => Answer::Handled(Handled::Heartbeat, ack),
        }
    }
}

/// Whether the message answers a command of ours. `what` it says is asked for only if there is one.
fn answered(head: &Head<'_>, what: impl FnOnce() -> Option<Value>, step: &mut Step<'_>) -> bool {
    step.link().desk().is_some() && step.answer(commands::key(head.command), Verdict::Done(what()))
}

/// The text of a message.
fn said(data: &Data) -> Option<Value> {
    match &data.content {
        event::Content::Text(text) => Some(Value::String(text.clone())),
        _ => None,
    }
}

/// Emit a report. False if it says nothing.
fn report(head: &Head<'_>, facts: Facts, step: &mut Step<'_>) -> bool {
    let Facts { mut report, located, .. } = facts;
    if report == Report::default() {
        return false;
    }
    let mut source = source(head, report.time.is_some());
    correct(&mut report.time, &mut report.attributes, step);
    let body = if located {
        Body::Position(report)
    } else if report.alarms.is_empty() {
        Body::Status(report)
    } else {
        Body::Alarm(report)
    };
    step.emit(&mut source, body);
    true
}

/// Old receivers repeat their weeks every 1024.
fn correct(time: &mut Option<Timestamp>, attributes: &mut Attributes, step: &Step<'_>) {
    let Some(sent) = *time else {
        return;
    };
    let (corrected, moved) = undo_week_rollover(sent, step.now().utc);
    if moved {
        *time = Some(corrected);
        attributes.set("time_corrected", true);
    }
}

fn source<'f>(head: &Head<'f>, dated: bool) -> Source<'f> {
    let message = MessageType::Word(head.command);
    if dated { Source::dated(message, head.body) } else { Source::undated(message, head.body, None) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::event::Event;
    use crate::fault::FaultKind;
    use crate::machine::Machine;
    use crate::profile::Settings;
    use crate::session::{Fate, Opening, Session, Turn};

    const BLOCK: &str = "260301A2232.9806N11404.9355E000.1101241323.8700000000L000450AC";

    fn at(uptime_s: u64) -> Now {
        let utc = Timestamp::parse("2026-03-01T10:15:00Z").unwrap();
        Now { utc, uptime: Duration::from_secs(uptime_s) }
    }

    fn open(dialect: Option<&str>) -> Box<dyn Session> {
        let profile = Profile { dialect: dialect.map(Into::into), ..Profile::default() };
        let settings = Settings { profiles: vec![Arc::new(profile)], ..Settings::default() };
        Machine::<Tk103>::open(Opening { session: SessionId(7), settings: Arc::new(settings), device: None })
    }

    /// Hear one frame; tell the fate, the events and what goes back when all is stored with this result.
    fn hear(session: &mut dyn Session, text: &str, delivery: Delivery) -> (Option<Fate>, Vec<Event>, String) {
        let mut turn = Turn::default();
        assert_eq!(session.receive(text.as_bytes(), at(0), &mut turn), text.len());
        let mut out = Outgoing::default();
        if turn.receipt {
            session.release(Some(delivery), at(0), &mut out);
        }
        (turn.fate, turn.events, String::from_utf8(out.bytes).unwrap())
    }

    fn reply(session: &mut dyn Session, text: &str) -> String {
        hear(session, text, Delivery::Stored).2
    }

    #[test]
    fn every_frame_identifies() {
        for first in ["(013800000001BP00HSO)".to_owned(), format!("(013800000001BR00{BLOCK})"), "(013800000001,ZC07)".to_owned()] {
            let mut session = open(None);
            hear(&mut *session, &first, Delivery::Stored);
            assert_eq!(session.device_id().unwrap().as_str(), "13800000001", "{first}");
        }
    }

    #[test]
    fn answers() {
        let mut session = open(None);
        assert_eq!(reply(&mut *session, &format!("(013800000001BP05000013800000001{BLOCK})")), "(013800000001AP05)");
        assert_eq!(reply(&mut *session, "(013800000001BP00000013800000001HSO1A4)"), "(013800000001AP01HSO)");
        assert_eq!(reply(&mut *session, &format!("(013800000001BO012{BLOCK})")), "(013800000001AS012)");
        assert_eq!(reply(&mut *session, &format!("(013800000001BR00{BLOCK})")), "");
        assert_eq!(reply(&mut *session, "(013800000001BP05000013800000001?)"), "(013800000001AP05)");
        assert_eq!(reply(&mut *session, "(013800000001BO012?)"), "(013800000001AS012)");
        assert_eq!(reply(&mut *session, "(013800000001,BP05,010326,V,0000.0000N,00000.0000E,000.0,193133,000.0)"), "");
    }

    #[test]
    fn answers_of_dialects() {
        let mut session = open(Some("echoes_timer"));
        assert_eq!(reply(&mut *session, "(013800000001BP00000013800000001HSO1A4)"), "(013800000001AP011A4)");
        let mut session = open(Some("silent_alarms"));
        assert_eq!(reply(&mut *session, &format!("(013800000001BO012{BLOCK})")), "");
        assert_eq!(reply(&mut *session, "(013800000001BO012?)"), "");
    }

    #[test]
    fn nothing_is_said_to_an_unknown_device() {
        let login = format!("(013800000001BP05000013800000001{BLOCK})");
        assert_eq!(hear(&mut *open(None), &login, Delivery::UnknownDevice).2, "");
    }

    #[test]
    fn refuses_another_device() {
        let mut session = open(None);
        reply(&mut *session, "(013800000001BP00HSO)");
        for text in [
            format!("(013800000002BR00{BLOCK})"),
            format!("(013800000002BP05000013800000002{BLOCK})"),
            "(013800000002,ZC03,010326,234207,$x$)".to_owned(),
            "(013800000002BT00)".to_owned(),
        ] {
            let (fate, events, reply) = hear(&mut *session, &text, Delivery::Stored);
            assert_eq!((fate, events.len(), reply.as_str()), (Some(Fate::Reject(FaultKind::Identity)), 0, ""), "{text}");
        }
        assert_eq!(reply(&mut *session, "(013800000002BP00HSO)"), "(013800000002AP01HSO)");
    }

    #[test]
    fn the_time_may_stand_in_front() {
        let mut session = open(None);
        assert_eq!(reply(&mut *session, "(260301101200BP00000013800000001HSO)"), "(260301101200AP01HSO)");
        assert_eq!(session.device_id().unwrap().as_str(), "13800000001");
        let (_, events, _) = hear(&mut *session, &format!("(260301101241BR00{BLOCK})"), Delivery::Stored);
        assert_eq!(events.len(), 1);
        assert_eq!(reply(&mut *session, "(260301101300BT00)"), "");
        // a login under way tells that it is another one now
        let (fate, ..) = hear(&mut *session, &format!("(260301101241BP05000013800000002{BLOCK})"), Delivery::Stored);
        assert_eq!(fate, Some(Fate::Reject(FaultKind::Identity)));
    }

    #[test]
    fn a_report_with_its_own_time_in_front_names_nobody() {
        let mut session = open(None);
        let (fate, ..) = hear(&mut *session, &format!("(260301101241BR00{BLOCK})"), Delivery::Stored);
        assert_eq!(fate, Some(Fate::Reject(FaultKind::Unidentified)));
        let mut session = open(Some("time_in_front"));
        let (fate, ..) = hear(&mut *session, &format!("(260301101240BR00{BLOCK})"), Delivery::Stored);
        assert_eq!(fate, Some(Fate::Reject(FaultKind::Unidentified)));
    }

    #[test]
    fn a_repeat_has_the_id_of_the_first() {
        let mut session = open(None);
        let mut id = |text: &str| hear(&mut *session, text, Delivery::Stored).1[0].id;
        let dated = format!("(013800000001BR00{BLOCK})");
        assert_eq!(id(&dated), id(&dated));
        let undated = "(013800000001BZ00,460,1,2a10,5b01)";
        assert_ne!(id(undated), id(undated));
    }

    #[test]
    fn a_date_is_moved_by_1024_weeks() {
        let mut session = open(None);
        let text = format!("(013800000001BR00{})", BLOCK.replacen("260301", "060716", 1));
        let (_, events, _) = hear(&mut *session, &text, Delivery::Stored);
        assert_eq!(events[0].body.time().unwrap().to_string(), "2026-03-01T10:12:41.000Z");
    }

    #[test]
    fn what_says_nothing_is_a_heartbeat() {
        let mut session = open(None);
        let (fate, events, _) = hear(&mut *session, "(861200000000012,ZC07)", Delivery::Stored);
        assert_eq!((fate, events.len()), (Some(Fate::Handled(Handled::Heartbeat)), 0));
    }
}
