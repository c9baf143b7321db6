//! What messages do: identify, emit, and how each is acknowledged.

use std::time::Duration;

use crate::cursor::Trace;
use crate::event::{Actor, Body, Data, DataKind, Order, OrderAction, Reason, Report};
use crate::fault::{Fault, FaultKind};
use crate::h02::dialect::Dialect;
use crate::h02::downlink::{self, Beat, Downlink, Say};
use crate::h02::frame::{self, Known};
use crate::h02::identity::{Id, Maker};
use crate::h02::message::{self, Content, Facts, Head, Key, Message};
use crate::h02::picture::{Picture, Taken};
use crate::identity::SessionId;
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
    /// The length of its last one, if only a silence showed it.
    by_silence: Option<Known>,
    picture: Option<Box<Picture>>,
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
        Self { maker: Maker::COMMON, id: Id::NONE, known: None, by_silence: None, picture: None }
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
            return Answer::Rejected(fault, ack(&head, step).filter(|ack| matches!(ack.what, What::Echo(_))));
        }
        self.learn(&head, step.profile());
        if head.form == frame::OPEN_TEXT || head.form == frame::BINARY_BEGINNING {
            step.tolerate(FaultKind::Length);
        }
        let ack = ack(&head, step);
        match content {
            Content::Nothing => Answer::Handled(Handled::Heartbeat, ack),
            Content::Report(facts) => {
                let mut source = source(&head, &facts);
                if report(facts, &mut source, step) { Answer::Stored(ack) } else { Answer::Handled(Handled::Heartbeat, ack) }
            }
            Content::Answer { command, words, facts } => {
                answered(&head, command, words, facts, step);
                Answer::Stored(ack)
            }
            Content::Key { key, facts } => {
                pressed(&head, key, facts, step);
                Answer::Stored(ack)
            }
            Content::Text(words) => {
                step.emit(&mut Source::undated(head.message_type(), head.body, None), Body::Data(Box::new(Data::text(DataKind::Text, words))));
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
        message::head(frame, None).ok().and_then(|head| ack(&head, step))
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
}

impl H02 {
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

    /// Remember how long this unit's `$` frames are: when the profile says so, when the next frame showed it, or when two
    /// silences agreed.
    fn learn(&mut self, head: &Head<'_>, profile: &Profile) {
        let id = head.at.saturating_sub(1);
        let length = Dialect::of(profile).binary_length.filter(|_| id == 5);
        if let Some(length) = length {
            self.known = Some(Known { id, length });
            return;
        }
        let this = Known { id, length: head.length };
        match head.form {
            frame::BINARY => self.known = Some(this),
            frame::BINARY_BY_SILENCE if self.by_silence == Some(this) => self.known = Some(this),
            frame::BINARY_BY_SILENCE => self.by_silence = Some(this),
            _ => {}
        }
    }

    fn block(&mut self, head: &Head<'_>, camera: u8, number: u8, block: &[u8], step: &mut Step<'_>) -> Answer<Ack> {
        if step.link().device_id().is_none() {
            return Answer::Rejected(Fault::new(FaultKind::Unidentified, 0, "a picture of nobody"), None);
        }
        let now = step.now().uptime;
        let mut taken = self.picture.as_mut().map_or(Taken::Stray, |picture| picture.take(camera, number, block, now));
        if taken == Taken::Stray {
            if let Some((picture, first)) = Picture::begin(camera, number, block, now) {
                if let Some(older) = self.picture.replace(Box::new(picture)) {
                    older.give_up(step);
                }
                taken = first;
            }
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

/// What a message is answered with.
fn ack(head: &Head<'_>, step: &Step<'_>) -> Option<Ack> {
    let what = if let Some(report) = downlink::Report::of(head.word) {
        What::Received(report)
    } else if let Some(beat) = Beat::of(head.word) {
        What::Echo(beat)
    } else {
        let silent = matches!(head.word, "" | "LINK" | "XT" | "SMS" | "V4" | "P");
        (Dialect::of(step.profile()).answers_all && !silent).then_some(What::Short)?
    };
    Some(Ack { maker: head.maker, id: head.id, what })
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

/// A command was carried out. Its place is a place like others; without one the words are all there is.
fn answered(head: &Head<'_>, command: &str, words: &[u8], mut facts: Facts, step: &mut Step<'_>) {
    let words = String::from_utf8_lossy(words).into_owned();
    let mut source = source(head, &facts);
    if facts.report == Report::default() {
        let mut data = Data::text(DataKind::Text, format!("{command},{words}"));
        data.attributes.set("answered_command", command.to_owned());
        return step.emit(&mut source, Body::Data(Box::new(data)));
    }
    facts.report.attributes.set("answered_command", command.to_owned());
    facts.report.attributes.set("answer", words);
    report(facts, &mut source, step);
}

/// A key of the dispatch screen: OK accepts what is offered, CLR declines it.
fn pressed(head: &Head<'_>, key: Key, facts: Facts, step: &mut Step<'_>) {
    let mut source = source(head, &facts);
    let (action, reason) = match key {
        Key::Ok => (OrderAction::Accepted, None),
        Key::Clear => (OrderAction::Declined, Some(Reason::Driver)),
        Key::Other(code) => {
            let mut attributes = facts.report.attributes;
            attributes.set("key", code);
            let data = Data::values(DataKind::Unknown, attributes, head.body.len());
            return step.emit(&mut source, Body::Data(Box::new(data)));
        }
    };
    let order = Order {
        action,
        actor: Actor::Driver,
        order_id: None,
        token: None,
        command_id: None,
        driver_id: None,
        authorized: None,
        reason,
        time: None,
        eta_s: None,
        fare: None,
        distance_m: None,
        waiting_s: None,
        started_at: None,
        ended_at: None,
        late: None,
        position: None,
        attributes: facts.report.attributes,
    };
    step.emit(&mut source, Body::Order(Box::new(order)));
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
