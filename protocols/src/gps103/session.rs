//! What messages do: identify, emit, and how each is acknowledged.

use std::time::Duration;

use crate::command::Command;
use crate::cursor::Trace;
use crate::desk::{Confirms, Emitted, Errand, OrderRef, OrderStage, Plan, Unfit, Verdict};
use crate::event::{Actor, Body, Data, DataKind, Driver, Method, Order, OrderAction, Reason, Report};
use crate::fault::{Fault, FaultKind};
use crate::gps103::clock::Zones;
use crate::gps103::commands::{self, key, order_key};
use crate::gps103::dialect::Dialect;
use crate::gps103::downlink::{self, Downlink, OrderNumber, Words};
use crate::gps103::frame;
use crate::gps103::keywords::Outcome;
use crate::gps103::message::{self, Content, Message, OrderStep};
use crate::gps103::orders::Trips;
use crate::gps103::photo::{Part, Photo, Taken};
use crate::gps103::read::Facts;
use crate::gps103::reply::{self, Imei};
use crate::identity::{MessageType, SessionId};
use crate::outcome::EndingReason;
use crate::profile::{Profile, TimeZone};
use crate::session::{Delivery, Handled, Outgoing};
use crate::time::{Now, undo_week_rollover};
use crate::wire::{Answer, Cut, Frame, Limits, Link, Probe, Source, Step, Wire};

/// A unit of this family on a connection.
#[derive(Debug)]
pub(super) struct Gps103 {
    /// The identity as it was sent; commands repeat its digits.
    imei: Option<Imei>,
    /// The zone that its reports have shown.
    zone: Option<TimeZone>,
    /// One at a time: the parts do not say to which they belong.
    photo: Option<Box<Photo>>,
    /// Orders whose passenger is in the car.
    trips: Trips,
}

/// What is needed to acknowledge a message.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Ack {
    /// `LOAD`.
    load: bool,
    /// `ON`.
    on: bool,
    /// The SOS is heard: the device may stop calling.
    heard: Option<Imei>,
}

impl Ack {
    const LOAD: Self = Self { load: true, on: false, heard: None };
    const ON: Self = Self { load: false, on: true, heard: None };

    fn or_none(self) -> Option<Self> {
        (self != Self::default()).then_some(self)
    }
}

/// The keyword of an SOS.
const SOS: &str = "help me";
/// The message type of a photo, whose parts have this keyword.
const PHOTO: &str = "vr";

impl Wire for Gps103 {
    const NAME: &'static str = "gps103";
    const LIMITS: Limits = Limits {
        max_frame: frame::MAX_FRAME,
        // a message that stops for so long and has a whole shape is whole; the next one comes after 20 s at the earliest
        quiet: Duration::from_secs(10),
        // heartbeats come every 60 s, from some units every 3 minutes
        idle: Duration::from_secs(8 * 60),
    };
    type Message<'f> = Message<'f>;
    type Ack = Ack;

    fn new(_: SessionId) -> Self {
        Self { imei: None, zone: None, photo: None, trips: Trips::default() }
    }

    fn probe(head: &[u8]) -> Probe {
        frame::probe(head)
    }

    fn cut<'b>(&self, input: &'b [u8], quiet: bool, _: &'b mut Vec<u8>) -> Cut<'b> {
        frame::cut(input, quiet)
    }

    fn decode<'f>(&self, frame: &Frame<'f>, profile: &Profile, trace: Option<&mut Trace>) -> Result<Message<'f>, Fault> {
        message::decode(frame, Zones { set: profile.time_zone, shown: self.zone }, profile, trace)
    }

    fn on_message(&mut self, message: Message<'_>, step: &mut Step<'_>) -> Answer<Ack> {
        let Message { imei, keyword, body, behind_heartbeat, short, content } = message;
        if let Content::Heartbeat = content
            && !short
        {
            return heartbeat(imei, step);
        }
        if let Err(fault) = step.identify(imei, None) {
            return Answer::Rejected(fault, None);
        }
        self.imei = Imei::new(imei);
        let ack = Ack { load: short, on: behind_heartbeat, heard: self.imei.filter(|_| keyword == SOS) }.or_none();
        match content {
            Content::SignOn => Answer::Handled(Handled::Handshake, Some(Ack::LOAD)),
            Content::Heartbeat => Answer::Handled(Handled::Heartbeat, ack),
            Content::Report(facts) => self.report(keyword, body, facts, ack, step),
            Content::Order { step: does, number, facts } => {
                let facts = self.settle(facts, step);
                let mut source = source(keyword, body, &facts);
                self.order(&Said { does, number, keyword, body }, facts, ack, &mut source, step)
            }
            Content::PhotoPart(bytes) => self.photo_part(&bytes, step),
            Content::Unknown => {
                let data = Data::text(DataKind::Unknown, body.to_owned());
                step.emit(&mut Source::undated(MessageType::Word(keyword), body.as_bytes(), None), Body::Data(Box::new(data)));
                Answer::Stored(ack)
            }
        }
    }

    fn on_unreadable(&mut self, _: &Frame<'_>, _: &Fault, _: &mut Step<'_>) -> Option<Ack> {
        None // a report has no acknowledgement, and what cannot be read is no sign-on
    }

    fn acknowledge(&mut self, ack: Ack, delivery: Delivery, _: &Link, _: Now, out: &mut Outgoing) {
        if delivery == Delivery::UnknownDevice {
            return; // there is no word for a refusal
        }
        if ack.load {
            out.frame(|out| out.extend_from_slice(reply::LOAD));
        }
        if ack.on {
            out.frame(|out| out.extend_from_slice(reply::ON));
        }
        if let Some(imei) = ack.heard {
            out.frame(|out| reply::heard(out, &imei));
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.photo.as_ref().map(|photo| photo.deadline())
    }

    fn on_deadline(&mut self, _: bool, step: &mut Step<'_>) {
        if let Some(photo) = self.photo.take() {
            photo.give_up(step);
        }
    }

    type Downlink = Downlink;

    const COMMANDS: &'static [(&'static str, Confirms)] = commands::COMMANDS;

    fn parameters() -> Vec<(u32, &'static str)> {
        commands::parameters()
    }

    fn samples() -> Vec<Downlink> {
        downlink::samples()
    }

    fn encode(&self, downlink: &Downlink, _: &Link, out: &mut Vec<u8>) {
        downlink::encode(downlink, out);
    }

    fn decode_downlink(&self, raw: &[u8], _: &Profile, trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
        downlink::decode(raw, trace)
    }

    fn seal(form: u8, content: &[u8], out: &mut Vec<u8>) {
        frame::seal(form, content, out);
    }

    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Downlink>, Unfit> {
        let link = errand.link();
        let id = link.device_id().map_or("", |id| id.as_str());
        let id = id.strip_prefix(link.settings().device_prefix.as_str()).unwrap_or(id);
        // without its digits no command reaches the device
        let imei = self.imei.or_else(|| Imei::restored(id)).ok_or(Unfit::Unsupported)?;
        let plan = commands::plan(&command.kind, imei, self.zone, errand)?;
        for downlink in &plan.downlinks {
            if let Downlink::Do { words: Words::Offer(number, _), .. } = downlink {
                self.trips.forget(number.as_str());
            }
        }
        Ok(plan)
    }
}

/// A message about an order.
struct Said<'f> {
    does: OrderStep,
    number: Option<&'f str>,
    keyword: &'f str,
    body: &'f str,
}

impl Gps103 {
    fn report(&mut self, keyword: &str, body: &str, facts: Facts<'_>, ack: Option<Ack>, step: &mut Step<'_>) -> Answer<Ack> {
        let facts = self.settle(facts, step);
        let mut source = source(keyword, body, &facts);
        let Facts { report, located, card, photo, answer, .. } = facts;
        let time = report.time;
        if let Some((command, outcome)) = answer {
            step.answer(key(command), verdict(command, outcome));
        }
        if located && matches!(keyword, "tracker" | "001" | "100") {
            // by its letter, the command to report now is answered by a report like others
            step.answer(key(commands::LOCATE), Verdict::Done(None));
        }
        if photo.is_some_and(|photo| !photo.for_alarm) {
            step.answer(key(commands::PHOTO), Verdict::Delivered);
        }
        if report == (Report { time, ..Report::default() }) && card.is_none() {
            return Answer::Handled(Handled::Heartbeat, ack);
        }
        let body = if located {
            Body::Position(report)
        } else if report.alarms.is_empty() {
            Body::Status(report)
        } else {
            Body::Alarm(report)
        };
        step.emit(&mut source, body);
        if let Some(card) = card {
            let mut driver = Driver::new(Dialect::of(step.profile()).card);
            driver.driver_id = Some(card.to_owned());
            driver.method = Some(Method::Card);
            driver.time = time;
            step.emit(&mut source, Body::Driver(Box::new(driver)));
        }
        if let Some(info) = photo
            && !self.photo.as_ref().is_some_and(|open| open.is(info, time))
        {
            if let Some(older) = self.photo.take() {
                older.give_up(step);
            }
            self.photo = Photo::begin(info, time, step).map(Box::new);
            if self.photo.is_none() {
                step.tolerate(FaultKind::Value);
            }
        }
        Answer::Stored(ack)
    }

    /// The time of a report, as far as the device and the present tell it.
    fn settle<'f>(&mut self, mut facts: Facts<'f>, step: &Step<'_>) -> Facts<'f> {
        if facts.report.valid == Some(true) {
            self.zone = facts.zone.or(self.zone);
        }
        let now = step.now().utc;
        let report = &mut facts.report;
        match report.time {
            Some(time) => {
                let (corrected, moved) = undo_week_rollover(time, now);
                if moved {
                    report.time = Some(corrected);
                    report.attributes.set("time_corrected", true);
                }
            }
            None => {
                report.time = facts.clock.dated(now);
                if report.time.is_some() {
                    report.attributes.set("date_assumed", true);
                }
            }
        }
        facts
    }

    /// A message about an order. News that the device has received are a report like others.
    fn order(
        &mut self,
        said: &Said<'_>,
        facts: Facts<'_>,
        ack: Option<Ack>,
        source: &mut Source<'_>,
        step: &mut Step<'_>,
    ) -> Answer<Ack> {
        let Facts { mut report, located, .. } = facts;
        let Said { does, number, keyword, body } = *said;
        let only = if number.is_none() { only_order(step) } else { None };
        let handle = number.or_else(|| only.as_ref().map(OrderNumber::as_str)).unwrap_or_default();
        let (action, actor) = match does {
            OrderStep::Told => {
                let command = keyword.parse().unwrap_or_default();
                step.answer(order_key(command, handle), Verdict::Delivered);
                self.trips.forget(handle);
                report.attributes.set("answer", keyword.to_owned());
                if let Some(number) = number {
                    report.attributes.set("order", number.to_owned());
                }
                step.emit(source, if located { Body::Position(report) } else { Body::Status(report) });
                return Answer::Stored(ack);
            }
            OrderStep::Delivered => (OrderAction::Delivered, Actor::Device),
            OrderStep::Accepted => (OrderAction::Accepted, Actor::Driver),
            OrderStep::Cancelled => (OrderAction::Cancelled, Actor::Driver),
            OrderStep::Key => (self.last_key(handle, body, step), Actor::Driver),
        };
        match action {
            OrderAction::Delivered => {
                self.trips.forget(handle);
                step.answer(order_key(commands::OFFER, handle), Verdict::Delivered);
            }
            OrderAction::Cancelled => {
                self.trips.forget(handle);
                // who gives up an offer that is still open has answered it
                step.answer(order_key(commands::OFFER, handle), Verdict::Refused(None));
            }
            _ => {}
        }
        let time = report.time;
        let says_more = report != (Report { time, ..Report::default() });
        let order = Order {
            reason: (action == OrderAction::Cancelled).then_some(Reason::Driver),
            time,
            position: says_more.then(|| Box::new(report)),
            ..Order::of(action, actor)
        };
        match step.emit_order(source, order, number.map_or(OrderRef::Only, OrderRef::Named)) {
            Emitted::Stored => Answer::Stored(ack),
            Emitted::Repeat => Answer::Handled(Handled::Repeat, ack),
        }
    }

    /// What the last key means. Over which connection the passenger got in does not matter where the order is known.
    fn last_key(&mut self, handle: &str, body: &str, step: &Step<'_>) -> OrderAction {
        if !Dialect::of(step.profile()).picks_up {
            return OrderAction::Completed;
        }
        let mut open = step.link().desk().into_iter().flat_map(|desk| desk.open_orders());
        let in_car = open.any(|order| {
            let named = commands::number_of(order).is_some_and(|number| number.as_str() == handle);
            named && order.stage == OrderStage::PickedUp
        });
        self.trips.key(handle, body, in_car)
    }

    fn photo_part(&mut self, bytes: &[u8], step: &mut Step<'_>) -> Answer<Ack> {
        let part = match Part::read(bytes) {
            Ok(part) => part,
            Err(fault) => return Answer::Rejected(fault, None),
        };
        let Some(mut photo) = self.photo.take() else {
            return stray(part);
        };
        match photo.take(part, step) {
            Taken::Last => {
                let asked_for = photo.asked_for();
                let (data, whole) = photo.finish();
                // the photo itself is the body: sent again over another connection it is the same
                step.emit_bytes(&mut Source::dated(MessageType::Word(PHOTO), &whole), &data, &whole);
                if asked_for {
                    step.answer(key(commands::PHOTO), Verdict::Done(None));
                }
                Answer::Stored(None)
            }
            other => {
                self.photo = Some(photo);
                match other {
                    Taken::Known => Answer::Handled(Handled::Repeat, None),
                    Taken::Stray => stray(part),
                    Taken::One | Taken::Last => Answer::Handled(Handled::Fragment, None),
                }
            }
        }
    }
}

/// The number of the only order that the device has: what a message without a number means.
fn only_order(step: &Step<'_>) -> Option<OrderNumber> {
    let open = step.link().desk()?.open_orders();
    let mut open = open.filter(|order| !matches!(order.stage, OrderStage::Declined | OrderStage::Ended));
    let only = open.next()?;
    if open.next().is_some() { None } else { commands::number_of(only) }
}

/// What an answer says about its command. Photos and orders have more to say after it.
fn verdict(command: u16, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Done if command == commands::PHOTO => Verdict::Delivered,
        Outcome::Done => Verdict::Done(None),
        Outcome::Later => Verdict::Delivered,
        Outcome::Refused => Verdict::Refused(Some(EndingReason::DeviceFailed)),
    }
}

fn stray(part: Part<'_>) -> Answer<Ack> {
    Answer::Rejected(Fault::new(FaultKind::Reassembly, 0, format!("part {} of no photo", part.index)), None)
}

/// A bare number is the device's own, but not always the one that it signed on with: it identifies who is unknown, and
/// contradicts nobody.
fn heartbeat(number: &str, step: &mut Step<'_>) -> Answer<Ack> {
    match step.identify(number, None) {
        Ok(()) => {}
        Err(fault) if fault.kind == FaultKind::Identity => step.tolerate(FaultKind::Identity),
        Err(fault) => return Answer::Rejected(fault, None),
    }
    Answer::Handled(Handled::Heartbeat, Some(Ack::ON))
}

/// A message is dated by its local time; one that has none may come again tomorrow.
fn source<'f>(keyword: &'f str, body: &'f str, facts: &Facts<'_>) -> Source<'f> {
    let message = MessageType::Word(keyword);
    let dated = facts.report.time.is_some() && (facts.clock.local.is_some() || facts.clock.utc_ms.is_none());
    if dated { Source::dated(message, body.as_bytes()) } else { Source::undated(message, body.as_bytes(), None) }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::desk::DeviceState;
    use crate::event::{Content as DataContent, Event};
    use crate::machine::Machine;
    use crate::parts::checksum::sum8;
    use crate::profile::Settings;
    use crate::session::{Fate, Opening, Recall, Session, Turn};
    use crate::time::Timestamp;

    const PLACE: &str = "2603011800,,F,100000.000,A,2232.5716,N,11403.4736,E,0.00,0";

    fn at(uptime_s: u64) -> Now {
        let utc = Timestamp::parse("2026-03-01T10:00:05Z").unwrap();
        Now { utc, uptime: Duration::from_secs(uptime_s) }
    }

    fn open(profile: Profile) -> Box<dyn Session> {
        open_with(Settings { profiles: vec![Arc::new(profile)], ..Settings::default() })
    }

    fn open_with(settings: Settings) -> Box<dyn Session> {
        Machine::<Gps103>::open(Opening { session: SessionId(7), settings: Arc::new(settings), device: None })
    }

    /// Hear one message; tell the fate, the events and what goes back when all is stored.
    fn hear(session: &mut dyn Session, text: &str) -> (Option<Fate>, Vec<Event>, String) {
        heard_by(session, text, Delivery::Stored)
    }

    fn heard_by(session: &mut dyn Session, text: &str, delivery: Delivery) -> (Option<Fate>, Vec<Event>, String) {
        let mut turn = Turn::default();
        assert_eq!(session.receive(text.as_bytes(), at(0), &mut turn), text.len());
        let mut out = Outgoing::default();
        if turn.receipt {
            session.release(Some(delivery), at(0), &mut out);
        }
        (turn.fate, turn.events, String::from_utf8(out.bytes).unwrap())
    }

    fn about(text: &str) -> String {
        format!("imei:861200000000012,{text};")
    }

    #[test]
    fn each_message_has_its_answer() {
        let mut session = open(Profile::default());
        let mut answer = |text: &str| hear(&mut *session, text).2;
        assert_eq!(answer("##,imei:861200000000012,A;"), "LOAD");
        assert_eq!(answer("861200000000012;"), "ON");
        assert_eq!(answer(&about("L,")), "LOAD");
        assert_eq!(answer(&about(&format!("tracker,{PLACE}"))), "");
        assert_eq!(answer(&about(&format!("help me,{PLACE}"))), "**,imei:861200000000012,E;");
        assert_eq!(answer(&about("help me")), "LOAD**,imei:861200000000012,E;");
        let behind = format!("861200000000012{}", about(&format!("tracker,{PLACE}")));
        assert_eq!(answer(&behind), "ON");
        assert_eq!(session.device_id().unwrap().as_str(), "861200000000012");
    }

    #[test]
    fn nothing_is_said_to_an_unknown_device() {
        for text in ["##,imei:861200000000012,A;", "861200000000012;", &about("help me")] {
            assert_eq!(heard_by(&mut *open(Profile::default()), text, Delivery::UnknownDevice).2, "", "{text}");
        }
    }

    #[test]
    fn refuses_another_device_but_not_its_heartbeat() {
        let mut session = open(Profile::default());
        hear(&mut *session, "##,imei:861200000000012,A;");
        let (fate, events, _) = hear(&mut *session, &format!("imei:861200000000020,tracker,{PLACE};"));
        assert_eq!((fate, events.len()), (Some(Fate::Reject(FaultKind::Identity)), 0));
        let (fate, _, answer) = hear(&mut *session, "861200000000020;");
        assert_eq!((fate, answer.as_str()), (Some(Fate::Handled(Handled::Heartbeat)), "ON"));
    }

    #[test]
    fn a_repeat_has_the_id_of_the_first() {
        let ids = |body: &str| {
            let mut session = open(Profile::default());
            [(); 2].map(|()| hear(&mut *session, &about(body)).1[0].id)
        };
        let [first, again] = ids(&format!("tracker,{PLACE}"));
        assert_eq!(first, again);
        let [first, again] = ids("tracker,000000000,13800000001,L,");
        assert_ne!(first, again, "it has no time");
    }

    #[test]
    fn the_zone_of_one_report_dates_the_next() {
        let mut session = open(Profile::default());
        let mut time = |text: &str| hear(&mut *session, &about(text)).1[0].body.time().unwrap().to_string();
        assert_eq!(time("OBD,260301180500,1"), "2026-03-01T18:05:00.000Z");
        assert_eq!(time(&format!("tracker,{PLACE}")), "2026-03-01T10:00:00.000Z");
        assert_eq!(time("OBD,260301180500,1"), "2026-03-01T10:05:00.000Z");
        // a fix without a date
        assert_eq!(time("tracker,000000000,,F,095500.000,A,2232.5716,N,11403.4736,E,0.00,0"), "2026-03-01T09:55:00.000Z");
    }

    #[test]
    fn the_profile_says_what_the_last_key_means() {
        let actions = |dialect: &str| {
            let mut session = open(Profile { dialect: Some(dialect.into()), ..Profile::default() });
            ["2603011801", "2603011802"].map(|time| {
                let text = about(&format!("177,1301220909091,{time},,L,"));
                match &hear(&mut *session, &text).1[0].body {
                    Body::Order(order) => order.action,
                    other => panic!("{other:?}"),
                }
            })
        };
        assert_eq!(actions(""), [OrderAction::PickedUp, OrderAction::Completed]);
        assert_eq!(actions("completed_only"), [OrderAction::Completed; 2]);
    }

    #[test]
    fn a_passenger_stays_in_the_car_over_a_new_connection() {
        let orders = serde_json::json!({"open_orders": [{"order_id": "4711", "stage": "picked_up"}]});
        let state: DeviceState = serde_json::from_value(orders).unwrap();
        let mut session = open_with(Settings { recall: Recall::of(move |_| Some(state.clone())), ..Settings::default() });
        hear(&mut *session, "##,imei:861200000000012,A;");
        let (_, events, _) = hear(&mut *session, &about("177,0000000004711,2603011801,,L,"));
        let Body::Order(order) = &events[0].body else { panic!("{events:?}") };
        assert_eq!((order.action, order.order_id.as_deref()), (OrderAction::Completed, Some("4711")));
    }

    fn part(index: u8, payload: &[u8]) -> String {
        let size = u8::try_from(payload.len()).unwrap();
        let bytes = [&[index, 0, size, 0], payload].concat();
        about(&format!("vr,{}{:02x}00", crate::cursor::hex(&bytes), sum8(&bytes)))
    }

    #[test]
    fn the_parts_become_one_photo_in_any_order() {
        let mut session = open(Profile::default());
        hear(&mut *session, &about(&format!("vt2,{PLACE}")));
        assert_eq!(hear(&mut *session, &part(1, &[3, 4])).0, Some(Fate::Handled(Handled::Fragment)));
        assert_eq!(hear(&mut *session, &part(1, &[3, 4])).0, Some(Fate::Handled(Handled::Repeat)));
        assert_eq!(hear(&mut *session, &part(2, &[5])).0, Some(Fate::Reject(FaultKind::Reassembly)));
        let (_, events, _) = hear(&mut *session, &part(0, &[0xFF, 0xD8]));
        let Body::Data(data) = &events[0].body else { panic!("{events:?}") };
        assert_eq!(data.content, DataContent::Base64(vec![0xFF, 0xD8, 3, 4]));
        assert_eq!((data.content_type.as_ref(), session.deadline()), ("image/jpeg", None));
    }

    #[test]
    fn a_photo_that_does_not_go_on_is_given_up() {
        let mut session = open(Profile::default());
        hear(&mut *session, &about(&format!("wt2,{PLACE}")));
        hear(&mut *session, &part(0, &[1]));
        let mut turn = Turn::default();
        assert_eq!(session.deadline(), Some(Duration::from_secs(90)));
        session.receive(&[], at(90), &mut turn);
        assert_eq!(turn.notices[0].fault.kind, FaultKind::Reassembly);
        assert_eq!(session.deadline(), None);
    }

    #[test]
    fn refuses_photos_that_nobody_would_hold() {
        for word in ["wt0", "wt65"] {
            let mut session = open(Profile::default());
            hear(&mut *session, &about(&format!("{word},{PLACE}")));
            assert_eq!(session.deadline(), None);
        }
    }
}
