//! One terminal on one connection: who it is, what its messages become, and what it is answered.

use std::collections::VecDeque;
use std::time::Duration;

use super::commands::{self, Words};
use super::context::Context;
use super::dialect::MenuEvent;
use super::downlink::fields::{Counted, Text};
use super::downlink::screen::{Choice, Events, MAX_CHOICE};
use super::downlink::{Downlink, Message};
use super::frame::{self, SHORTEST};
use super::header::{self, Header, Isu};
use super::media::{Media, Uploads};
use super::message::{self, Answered, Batch, Content, Told, id};
use super::parameters;
use super::reply::{self, result};
use crate::command::{Command, Kind};
use crate::cursor::{Cursor, Field, Trace};
use crate::desk::{Aside, Confirms, Emitted, Errand, Key, MAX_OPEN, OrderRef, Plan, Unfit, Verdict, digest};
use crate::event::{Actor, Attributes, Body, Content as Carried, Data, DataKind, Order, OrderAction, Report, Value};
use crate::fault::{Fault, FaultKind};
use crate::identity::{MessageType, SessionId};
use crate::outcome::EndingReason;
use crate::parts::text;
use crate::profile::{Button, Profile, Unshowable};
use crate::session::{Delivery, Handled, Outgoing};
use crate::time::{Now, undo_week_rollover};
use crate::wire::{Answer, Cut, Frame, Limits, Link, Probe, Source, Step, Wire};

/// Sixteen times the largest piece of a picture that the standard advises, and four times the length above which the one
/// platform that splits messages does so.
pub(super) const MAX_FRAME: usize = 8192;
/// Half a frame waits for its other half this long only where it is no frame by its beginning; radio links pause for less.
const QUIET: Duration = Duration::from_secs(30);
/// Three of the longest usual heartbeat periods; 20 to 60 s were seen, 30 s is the default.
const IDLE: Duration = Duration::from_secs(3 * 60);

/// State of a connection.
#[derive(Debug)]
pub(super) struct Jt905 {
    /// Number of our next message.
    serial: u16,
    /// The last sender that was identified, so that the same bytes need no second look.
    isu: Option<Isu>,
    uploads: Uploads,
    /// High half of the numbers of our questions, so that an answer to an earlier session's is not taken for one to this
    /// session's; the low half is the serial number.
    questions_of: u16,
    /// Questions that may be answered: number, and the backend's ids of the answers by the terminal's.
    questions: VecDeque<(u32, Vec<(u8, String)>)>,
}

/// What is needed to answer a message.
#[derive(Debug)]
pub(super) struct Ack {
    isu: Isu,
    message: u16,
    serial: u16,
    result: u8,
}

impl Ack {
    fn of(header: &Header) -> Self {
        let Header { isu, message, serial, .. } = *header;
        Self { isu, message, serial, result: result::DONE }
    }

    fn result(self, result: u8) -> Self {
        Self { result, ..self }
    }
}

type Served = Answer<Ack>;

impl Wire for Jt905 {
    const NAME: &'static str = "jt905";
    const LIMITS: Limits = Limits { max_frame: MAX_FRAME, quiet: QUIET, idle: IDLE };
    type Message<'f> = message::Message<'f>;
    type Ack = Ack;

    fn new(session: SessionId) -> Self {
        let [.., a, b, high, low] = session.0.to_be_bytes();
        Self {
            serial: u16::from_be_bytes([high, low]),
            isu: None,
            uploads: Uploads::default(),
            questions_of: u16::from_be_bytes([a, b]),
            questions: VecDeque::new(),
        }
    }

    fn probe(head: &[u8]) -> Probe {
        frame::probe(head)
    }

    fn cut<'b>(&self, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
        frame::cut(input, quiet, scratch)
    }

    fn decode<'f>(
        &self,
        frame: &Frame<'f>,
        profile: &Profile,
        mut trace: Option<&mut Trace>,
    ) -> Result<message::Message<'f>, Fault> {
        let Some((check, content)) = frame.content.split_last() else {
            return Err(Fault::new(FaultKind::Truncated, 0, "an empty frame"));
        };
        let mut c = Cursor::new(content, 0, trace.as_deref_mut());
        let header = header::read(&mut c)?;
        let body = c.rest();
        let told = message::read(&header, &mut c, &Context::new(profile))?;
        if let Some(trace) = trace {
            let name = super::MESSAGES.iter().find(|(n, _)| *n == format!("0x{:04x}", header.message));
            trace.title = format!("0x{:04x} {}", header.message, name.map_or("unknown", |(_, name)| name));
            let span = content.len()..content.len() + 1;
            trace.fields.push(Field { span, name: "check".into(), value: format!("{check:02x}") });
        }
        Ok(message::Message { header, body, told })
    }

    fn on_message(&mut self, message: message::Message<'_>, step: &mut Step<'_>) -> Served {
        let message::Message { header, body, told } = message;
        if let Err(fault) = self.identify(&header, step) {
            return Answer::Rejected(fault, Some(Ack::of(&header).result(result::FAILED)));
        }
        if !header.length_fits {
            step.tolerate(FaultKind::Length);
        }
        self.serve(&header, body, told, step)
    }

    fn on_unreadable(&mut self, frame: &Frame<'_>, _fault: &Fault, step: &mut Step<'_>) -> Option<Ack> {
        let content = frame.content.get(..frame.content.len().saturating_sub(1)).filter(|c| c.len() + 1 >= SHORTEST)?;
        let header = header::read(&mut Cursor::new(content, 0, None)).ok()?;
        if self.identify(&header, step).is_err() {
            return Some(Ack::of(&header).result(result::FAILED));
        }
        (!message::ANSWERS.contains(&header.message)).then(|| Ack::of(&header).result(result::FAULTY))
    }

    fn acknowledge(&mut self, ack: Ack, delivery: Delivery, _link: &Link, _now: Now, out: &mut Outgoing) {
        let Ack { isu, message, serial, result } = ack;
        let result = if delivery == Delivery::Stored { result } else { result::FAILED };
        let own = self.next_serial();
        out.frame(|out| reply::general(out, isu, own, (serial, message), result));
    }

    type Downlink = Downlink;

    const COMMANDS: &'static [(&'static str, Confirms)] = commands::COMMANDS;
    const DRIVERS: bool = true;

    fn samples() -> Vec<Downlink> {
        Downlink::samples()
    }

    fn encode(&self, downlink: &Downlink, link: &Link, out: &mut Vec<u8>) {
        downlink.write(link.profile(), out);
    }

    fn decode_downlink(&self, raw: &[u8], profile: &Profile, trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
        Downlink::read(raw, profile, trace)
    }

    fn seal(_form: u8, content: &[u8], out: &mut Vec<u8>) {
        reply::seal(content, out);
    }

    fn parameters() -> Vec<(u32, &'static str)> {
        parameters::named()
    }

    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Downlink>, Unfit> {
        if let Kind::Raw(raw) = &command.kind {
            return commands::raw(&raw.bytes, errand.profile());
        }
        let isu = self.isu.or_else(|| Isu::of(errand.link())).ok_or(Unfit::Unsupported)?;
        let question = self.next_question();
        let Words { message, warnings, choices } = commands::words(&command.kind, question, errand)?;
        // a picture that answers nothing says so with a zero
        if matches!(message, Message::TakePicture(_)) && self.serial == 0 {
            self.next_serial();
        }
        let serial = self.next_serial();
        let mut keys = vec![Key { kind: message.id(), number: serial.into() }];
        if let Message::Ask(asked) = &message {
            keys.push(Key { kind: id::CHOICE, number: asked.id.into() });
            if self.questions.len() >= MAX_OPEN {
                self.questions.pop_front();
            }
            self.questions.push_back((asked.id, choices));
        }
        let ends = if commands::specific_answer(&message) { Confirms::Answer } else { Confirms::Receipt };
        let repeats = !matches!(message, Message::Offer(_)) || Context::new(errand.profile()).dialect.repeats_offers;
        let retry = repeats.then_some(commands::RETRY);
        Ok(Plan { downlinks: vec![Downlink { isu, serial, message }], keys, ends, retry, warnings, ..Plan::raw() })
    }
}

impl Jt905 {
    pub(super) fn next_serial(&mut self) -> u16 {
        let serial = self.serial;
        self.serial = serial.wrapping_add(1);
        serial
    }

    fn identify(&mut self, header: &Header, step: &mut Step<'_>) -> Result<(), Fault> {
        let known = self.isu == Some(header.isu) && step.link().device_id().is_some();
        if !known {
            step.identify(&header.isu.identity(), None)?;
            self.isu = Some(header.isu);
            self.install_events(header.isu, step);
        }
        Ok(())
    }

    /// Put the profile's or the dialect's keys on the terminal's menu, once.
    fn install_events(&mut self, isu: Isu, step: &mut Step<'_>) {
        let charset = Context::new(step.profile()).charset;
        let entry = |button: Button| {
            let text = text::fit(&button.text, charset, Unshowable::Transliterate).unwrap_or_default();
            Some((u8::try_from(button.id).ok()?, text::within(&text, MAX_CHOICE - 1, charset).to_vec()))
        };
        let entries: Vec<_> = buttons(step.profile()).into_iter().filter_map(entry).take(u8::MAX.into()).collect();
        let digest = digest(entries.iter().map(|(id, text)| (*id, text.as_slice())));
        if step.link().has_buttons(digest.as_deref()) || !step.link().understands(id::SET_EVENTS) {
            return;
        }
        let events = entries.into_iter().map(|(id, text)| Choice { id, text: Text::new(&text) }).collect();
        let message = Message::SetEvents(Events { events: Counted(events) });
        let downlink = Downlink { isu, serial: self.next_serial(), message };
        let mut frame = Vec::new();
        downlink.write(step.profile(), &mut frame);
        let key = Key { kind: id::SET_EVENTS, number: downlink.serial.into() };
        step.send_aside(key, Aside::Buttons(digest), |out| out.extend_from_slice(&frame));
    }

    /// The number of our next question.
    fn next_question(&self) -> u32 {
        u32::from(self.questions_of) << 16 | u32::from(self.serial)
    }

    /// 0x0302: what the driver chose, in the backend's words.
    fn chosen(&mut self, values: &Attributes, step: &mut Step<'_>) {
        let (Some(Value::Int(question)), Some(Value::Int(answer))) = (values.get("question_id"), values.get("answer_id")) else {
            return;
        };
        let choices = self.questions.iter().find(|(number, _)| i64::from(*number) == *question).map(|(_, choices)| choices);
        let choice = choices.and_then(|choices| choices.iter().find(|(number, _)| i64::from(*number) == *answer));
        let answer = choice.map_or_else(|| answer.to_string(), |(_, id)| id.clone());
        step.answer(Key { kind: id::CHOICE, number: question.unsigned_abs() }, Verdict::Done(Some(answer.into())));
    }

    fn serve(&mut self, header: &Header, body: &[u8], told: Told<'_>, step: &mut Step<'_>) -> Served {
        let Told { content, dated } = told;
        let kind = MessageType::Hex(header.message.into(), 4);
        let mut source = match dated {
            true => Source::dated(kind, body),
            false => Source::undated(kind, body, Some(header.serial.into())),
        };
        let ack = || (!message::ANSWERS.contains(&header.message)).then(|| Ack::of(header));
        match content {
            Content::Position(mut report) => {
                correct_time(&mut report, step.now());
                answered(header, &report.attributes, None, step);
                step.emit(&mut source, Body::Position(*report));
            }
            Content::Batch(batch) => store_batch(header, *batch, step),
            Content::Driver(mut driver) => {
                driver.position.iter_mut().for_each(|place| correct_time(place, step.now()));
                step.emit(&mut source, Body::Driver(driver));
            }
            Content::Order(mut order, business) => {
                order.position.iter_mut().for_each(|place| correct_time(place, step.now()));
                return ordered(header, order, business, &mut source, step);
            }
            Content::Event(event) => return happened(header, event, &mut source, step),
            Content::Data(data) => {
                if let Carried::Values(values) = &data.content {
                    match header.message {
                        id::CHOICE => self.chosen(values, step),
                        _ => answered(header, values, Some(values), step),
                    }
                }
                step.emit(&mut source, Body::Data(data));
            }
            Content::Bytes(data, bytes) => step.emit_bytes(&mut source, &data, bytes),
            Content::Media(media) => self.media(header, *media, &mut source, step),
            Content::Unknown(bytes) => {
                step.emit_bytes(&mut source, &message::unknown(header.message), bytes);
                return Answer::Stored(Some(Ack::of(header).result(result::UNSUPPORTED)));
            }
            Content::Heartbeat => return Answer::Handled(Handled::Heartbeat, ack()),
            Content::Answer(answer) => return general_answer(answer, &mut source, step),
        }
        Answer::Stored(ack())
    }

    fn media(&mut self, header: &Header, mut media: Media<'_>, source: &mut Source<'_>, step: &mut Step<'_>) {
        answered(header, &media.data.attributes, None, step);
        match self.uploads.place(&mut media) {
            None => step.emit_bytes(source, &media.data, media.bytes),
            Some(part) => step.emit(source, Body::Data(Box::new(media.into_part(part)))),
        }
    }
}

/// The keys of the menu that say something about an order: the profile's, else the dialect's.
fn buttons(profile: &Profile) -> Vec<Button> {
    let of_dialect = || Context::new(profile).dialect.events.iter().map(MenuEvent::button).collect();
    profile.buttons.clone().unwrap_or_else(of_dialect)
}

/// What answers a message of ours more than generally: message, and the message of ours.
static SPECIFIC: &[(u16, u16)] = &[
    (id::POSITION_ANSWER, id::QUERY_POSITION),
    (id::CONTROL_ANSWER, id::CONTROL_VEHICLE),
    (id::PARAMETERS, id::QUERY_PARAMETERS),
    (id::PICTURE, id::TAKE_PICTURE),
];

/// Such an answer ends the command that asked for it; what it says is told as well.
fn answered(header: &Header, says: &Attributes, answer: Option<&Attributes>, step: &mut Step<'_>) {
    let Some((_, asked)) = SPECIFIC.iter().find(|(message, _)| *message == header.message) else { return };
    if let Some(Value::Int(serial)) = says.get("answers_serial") {
        let says = |values: &Attributes| {
            let named = values.iter().filter(|(name, _)| *name != "answers_serial");
            named.filter_map(|(name, value)| Some((name.to_owned(), serde_json::to_value(value).ok()?))).collect()
        };
        let answer = answer.map(|values| serde_json::Value::Object(says(values)));
        step.answer(Key { kind: *asked, number: serial.unsigned_abs() }, Verdict::Done(answer));
    }
}

/// 0x0001.
fn general_answer(answer: Answered, source: &mut Source<'_>, step: &mut Step<'_>) -> Served {
    let Answered { serial, message, result } = answer;
    if result == result::UNSUPPORTED && message == id::SET_EVENTS {
        step.not_understood(message);
    }
    let verdict = match result {
        result::DONE => Verdict::Delivered,
        result::UNSUPPORTED => Verdict::Refused(Some(EndingReason::DeviceUnsupported)),
        _ => Verdict::Refused(Some(EndingReason::DeviceFailed)),
    };
    if step.answer(Key { kind: message, number: serial.into() }, verdict) {
        return Answer::Handled(Handled::Answer, None);
    }
    let mut values = Attributes::default();
    values.set("answers_message", format!("0x{message:04x}"));
    values.set("answers_serial", serial);
    values.set("result", result);
    step.emit_unmatched(source, values, GENERAL_ANSWER);
    Answer::Stored(None)
}

/// Bytes of 0x0001.
const GENERAL_ANSWER: usize = 5;

/// What a driver or the meter says about an order. A driver whom the backend has refused is told so at once; everybody
/// else is told that it was heard, and the backend decides.
fn ordered(header: &Header, order: Box<Order>, business: Option<u32>, source: &mut Source<'_>, step: &mut Step<'_>) -> Served {
    let refused = order.action == OrderAction::Accepted && step.link().driver_refused();
    let ack = Ack::of(header).result(if refused { result::FAILED } else { result::DONE });
    let Some(business) = business else {
        // hailed in the street: no order of ours, even where only one is open
        step.emit(source, Body::Order(order));
        return Answer::Stored(Some(ack));
    };
    match step.emit_order(source, *order, OrderRef::Named(&business.to_string())) {
        Emitted::Stored => Answer::Stored(Some(ack)),
        Emitted::Repeat => Answer::Handled(Handled::Repeat, Some(ack)),
    }
}

/// 0x0301: a choice from the terminal's menu.
fn happened(header: &Header, event: u8, source: &mut Source<'_>, step: &mut Step<'_>) -> Served {
    let ack = Some(Ack::of(header));
    if let Some(button) = buttons(step.profile()).into_iter().find(|button| button.id == u16::from(event)) {
        let order = Order { reason: button.reason, ..Order::of(button.action, Actor::Driver) };
        return match step.emit_order(source, order, OrderRef::Only) {
            Emitted::Stored => Answer::Stored(ack),
            Emitted::Repeat => Answer::Handled(Handled::Repeat, ack),
        };
    }
    let mut values = Attributes::default();
    values.set("event_id", event);
    let mut data = Data::values(DataKind::Parameters, values, 1);
    data.attributes.set("message", "event_report");
    step.emit(source, Body::Data(Box::new(data)));
    Answer::Stored(ack)
}

/// Each position has the id of the 0x0200 that it is.
fn store_batch(header: &Header, batch: Batch<'_>, step: &mut Step<'_>) {
    let kind = MessageType::Hex(id::POSITION.into(), 4);
    for (mut report, body) in batch.items {
        let mut source = match report.time {
            Some(_) => Source::dated(kind, body),
            None => Source::undated(kind, body, Some(header.serial.into())),
        };
        correct_time(&mut report, step.now());
        report.archived = Some(true);
        step.emit(&mut source, Body::Position(*report));
    }
    if !batch.rest.is_empty() {
        step.tolerate(FaultKind::Length);
        let kind = MessageType::Hex(header.message.into(), 4);
        let mut source = Source::undated(kind, batch.rest, Some(header.serial.into()));
        step.emit_bytes(&mut source, &message::unknown(header.message), batch.rest);
    }
}

/// Old receivers repeat their weeks every 1024.
fn correct_time(report: &mut Report, now: Now) {
    let Some(time) = report.time else {
        return;
    };
    let (corrected, moved) = undo_week_rollover(time, now.utc);
    if moved {
        report.attributes.set("time_corrected", true);
        report.attributes.set("time_sent", time.to_string());
        report.time = Some(corrected);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{hex, unhex};
    use crate::machine::Machine;
    use crate::profile::Settings;
    use crate::session::{Fate, Opening, Session, Turn};
    use crate::time::Timestamp;
    use std::sync::Arc;

    struct Line {
        session: Box<dyn Session>,
        turn: Turn,
    }

    impl Line {
        fn new(session: u64) -> Self {
            let opening = Opening { session: SessionId(session), settings: Arc::new(Settings::default()), device: None };
            Self { session: Machine::<Jt905>::open(opening), turn: Turn::default() }
        }

        fn receive(&mut self, message: u16, serial: u16, body: &str) -> Option<Fate> {
            let mut bytes = Vec::new();
            reply::frame(&mut bytes, Isu([0x10, 0x99, 0, 0, 0, 1]), message, serial, &unhex(body).unwrap());
            assert_eq!(self.session.receive(&bytes, now(), &mut self.turn), bytes.len());
            self.turn.fate
        }

        fn release(&mut self, delivery: Delivery) -> String {
            let mut out = Outgoing::default();
            self.session.release(Some(delivery), now(), &mut out);
            hex(&out.bytes)
        }
    }

    fn now() -> Now {
        Now { utc: Timestamp::parse("2026-03-01T10:00:05Z").unwrap(), uptime: Duration::ZERO }
    }

    const POSITION: &str = "00000000 00000100 016d5500 0429bce8 0000 00 260301180000";

    #[test]
    fn nothing_is_acknowledged_before_its_turn() {
        let mut line = Line::new(0);
        assert_eq!(line.receive(id::POSITION, 1, POSITION), Some(Fate::Store));
        assert_eq!(line.receive(id::HEARTBEAT, 2, ""), Some(Fate::Handled(Handled::Heartbeat)));
        assert!(line.turn.send.bytes.is_empty());
        assert!(line.release(Delivery::Stored).contains("0001020000"));
        assert!(line.release(Delivery::Stored).contains("0002000200"));
    }

    #[test]
    fn what_could_not_be_stored_is_answered_as_failed() {
        for delivery in [Delivery::Refused, Delivery::UnknownDevice] {
            let mut line = Line::new(0);
            line.receive(id::GRAB, 1, "000003e9");
            assert!(line.release(delivery).contains("00010b0101"));
        }
    }

    #[test]
    fn what_cannot_be_read_and_what_is_unknown_are_told_apart() {
        let mut line = Line::new(0);
        assert_eq!(line.receive(id::GRAB, 1, "0003e9"), Some(Fate::Reject(FaultKind::Truncated)));
        assert!(line.release(Delivery::Stored).contains("00010b0102"));
        assert_eq!(line.receive(0x0100, 2, "00"), Some(Fate::Store));
        assert!(line.release(Delivery::Stored).contains("0002010003"));
        assert_eq!(line.receive(id::POSITION_ANSWER, 3, "00"), Some(Fate::Reject(FaultKind::Truncated)));
        assert_eq!(line.release(Delivery::Stored), "");
    }

    #[test]
    fn our_serial_numbers_start_from_the_session() {
        let mut line = Line::new(0xABCD_1234);
        line.receive(id::POSITION, 1, POSITION);
        line.receive(id::HEARTBEAT, 2, "");
        assert_eq!(line.release(Delivery::Stored)[22..26], *"1234");
        assert_eq!(line.release(Delivery::Stored)[22..26], *"1235");
    }

    #[test]
    fn a_stored_position_has_the_id_of_the_report_that_it_is() {
        let mut line = Line::new(0);
        line.receive(id::POSITION, 1, POSITION);
        let once = line.turn.events[0].id;
        line.receive(id::STORED_POSITIONS, 2, &POSITION.repeat(2));
        assert_eq!(line.turn.events.iter().map(|e| e.id).collect::<Vec<_>>(), [once; 2]);
    }

    /// Some terminals call themselves by their telephone number; only a port of their own tells them from JT/T 808.
    #[test]
    fn accepts_a_telephone_number_for_an_id() {
        let mut line = Line::new(0);
        let mut bytes = Vec::new();
        reply::frame(&mut bytes, Isu([0x01, 0x38, 0, 0, 0x11, 0x11]), id::HEARTBEAT, 1, &[]);
        assert_eq!(line.session.receive(&bytes, now(), &mut line.turn), bytes.len());
        assert_eq!(line.session.device_id().map(|id| id.as_str()), Some("13800001111"));
        assert_eq!(frame::probe(&bytes), Probe::No);
    }

    #[test]
    fn a_street_trip_is_nobodys_order() {
        let mut line = Line::new(0);
        let trip = format!("{POSITION}{POSITION} 35f53a40 00000000 00 0000 00000000");
        assert_eq!(line.receive(id::TRIP, 1, &trip), Some(Fate::Store));
        let Body::Order(order) = &line.turn.events[0].body else { panic!("a trip is an order event") };
        assert_eq!((order.action, &order.token, &order.order_id), (OrderAction::Trip, &None, &None));
        let trip = trip.replace("0000 00000000", "0000 000003e9");
        line.receive(id::TRIP, 2, &trip);
        let Body::Order(order) = &line.turn.events[0].body else { panic!("a trip is an order event") };
        assert_eq!(order.token.as_deref(), Some("1001"));
    }
}
