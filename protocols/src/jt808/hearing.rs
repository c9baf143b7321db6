//! What terminals say to messages of ours: receipts, answers, and the keys that drivers press.

use serde_json::{Value as Json, json};

use super::commands::{ACCEPT, DECLINE, buttons, is_of_screen};
use super::header::Header;
use super::message::{Content, id};
use super::session::Jt808;
use crate::desk::{Emitted, Key, OrderRef, Verdict};
use crate::event::{Actor, Attributes, Body, Content as Carried, Order, OrderAction, Report, Value};
use crate::outcome::EndingReason;
use crate::wire::{Source, Step};

/// How a message that concerns an order is accounted for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Heard {
    /// Its order event is among the turn's events.
    Stored,
    /// The driver asked again for what was decided.
    Repeat,
}

/// Results of 0x0001.
const DONE: u8 = 0;
const UNKNOWN: u8 = 3;
const ALARM_HANDLED: u8 = 4;

/// Acknowledgements of ours: a terminal that receipts them says nothing that anybody waits for.
const ACKNOWLEDGEMENTS: [u16; 7] = [0x4401, 0x8001, 0x8003, 0x8004, 0x8100, 0x8109, 0x8800];

impl Jt808 {
    /// 0x0001. True if somebody waited for it.
    pub(super) fn receipted_by(&mut self, (serial, message, result): (u16, u16, u8), step: &mut Step<'_>) -> bool {
        if result == UNKNOWN && is_of_screen(message) {
            step.not_understood(message);
        }
        let verdict = match result {
            DONE | ALARM_HANDLED => Verdict::Delivered,
            UNKNOWN => Verdict::Refused(Some(EndingReason::DeviceUnsupported)),
            _ => Verdict::Refused(Some(EndingReason::DeviceFailed)),
        };
        step.answer(Key { kind: message, number: serial.into() }, verdict) || ACKNOWLEDGEMENTS.contains(&message)
    }

    /// Take what a message answers, before it is told as an event. `Some` if it is about an order: then that is its event.
    pub(super) fn heard(
        &mut self,
        header: &Header,
        content: &Content<'_>,
        source: &mut Source<'_>,
        step: &mut Step<'_>,
    ) -> Option<Heard> {
        match content {
            Content::Position(report) => self.located(header.message, report, step),
            Content::Data(data) => {
                let Carried::Values(values) = &data.content else { return None };
                match header.message {
                    id::EVENT => return pressed(values, source, step),
                    id::QUESTION_ANSWER => return self.chosen(values, source, step),
                    id::MENU_CHOICE => return self.looked_up(values, source, step),
                    id::PARAMETERS => answered(id::PARAMETERS, values, Verdict::Done(Some(parameters(values))), step),
                    id::PHOTO_ANSWER => answered(id::PHOTO_ANSWER, values, photo(values), step),
                    _ => {}
                }
            }
            Content::Media(media) => {
                let asked_for = media.data.attributes.get("event") == Some(&Value::from("platform"));
                if let Some(channel) = media.data.channel.filter(|_| asked_for && media.is_last) {
                    let key = Key { kind: id::MEDIA, number: channel.into() };
                    step.answer(key, Verdict::Done(Some(json!({ "media_ids": [media.id] }))));
                }
            }
            _ => {}
        }
        None
    }

    /// 0x0201 and 0x0500: a position that answers.
    fn located(&self, message: u16, report: &Report, step: &mut Step<'_>) {
        let serial = number(&report.attributes, "answers_serial").and_then(|n| u16::try_from(n).ok());
        let of = |serial: u16| Key { kind: message, number: serial.into() };
        match message {
            id::LOCATION_ANSWER => {
                if let Some(serial) = serial.or(self.office.locate) {
                    step.answer(of(serial), Verdict::Done(None));
                }
            }
            id::CONTROL_ANSWER => {
                let locked = report.attributes.get("doors_locked") == Some(&Value::Bool(true));
                let wanted = self.office.doors.filter(|(asked, _)| Some(*asked) == serial);
                if let Some((serial, lock)) = wanted {
                    let refused = Verdict::Refused(Some(EndingReason::DeviceFailed));
                    step.answer(of(serial), if locked == lock { Verdict::Done(None) } else { refused });
                }
            }
            _ => {}
        }
    }

    /// 0x0302: the answer to a question of ours, which may have been an offer.
    fn chosen(&self, values: &Attributes, source: &mut Source<'_>, step: &mut Step<'_>) -> Option<Heard> {
        let serial = u16::try_from(number(values, "question_serial")?).ok()?;
        let answer = u8::try_from(number(values, "answer_id")?).ok()?;
        if let Some(ids) = self.office.question(serial) {
            if let Some(id) = ids.get(usize::from(answer).wrapping_sub(1)) {
                let key = Key { kind: id::QUESTION_ANSWER, number: serial.into() };
                step.answer(key, Verdict::Done(Some(json!(id))));
            }
            return None;
        }
        // an offer is remembered with the device: the driver may answer over a later connection
        step.link().desk()?.called(serial.into())?;
        let action = match answer {
            ACCEPT => OrderAction::Accepted,
            DECLINE => OrderAction::Declined,
            _ => return None,
        };
        Some(emitted(Order::of(action, Actor::Driver), OrderRef::Named(&serial.to_string()), source, step))
    }

    /// 0x0303: the driver wants to read more of an order of the menu.
    fn looked_up(&self, values: &Attributes, source: &mut Source<'_>, step: &mut Step<'_>) -> Option<Heard> {
        if values.get("choice") != Some(&Value::from("subscribe")) {
            return None;
        }
        let entry = usize::try_from(number(values, "information_type")?).ok()?;
        let id = self.office.menu.get(entry.wrapping_sub(1))?;
        // which order it is, the menu says; nothing happens to it by being read
        let mut order = Order::of(OrderAction::DetailsRequested, Actor::Driver);
        order.order_id = Some(id.as_str().to_owned());
        let known = step.link().desk().and_then(|desk| desk.order(id));
        order.command_id = known.and_then(|order| order.command_id.as_ref()).map(|id| id.as_str().to_owned());
        step.emit(source, Body::Order(Box::new(order)));
        Some(Heard::Stored)
    }
}

/// 0x0301: a button. The usual ones mean something only while there is an order: a terminal may have buttons of its own.
fn pressed(values: &Attributes, source: &mut Source<'_>, step: &mut Step<'_>) -> Option<Heard> {
    let id = u16::try_from(number(values, "event_id")?).ok()?;
    if step.profile().buttons.is_none() {
        step.link().desk()?.open_orders().next()?;
    }
    let button = buttons(step.link()).into_iter().find(|button| button.id == id)?;
    let order = Order { reason: button.reason, ..Order::of(button.action, Actor::Driver) };
    Some(emitted(order, OrderRef::Only, source, step))
}

fn emitted(order: Order, names: OrderRef<'_>, source: &mut Source<'_>, step: &mut Step<'_>) -> Heard {
    match step.emit_order(source, order, names) {
        Emitted::Stored => Heard::Stored,
        Emitted::Repeat => Heard::Repeat,
    }
}

fn answered(message: u16, values: &Attributes, verdict: Verdict, step: &mut Step<'_>) {
    if let Some(serial) = number(values, "answers_serial").and_then(|n| u64::try_from(n).ok()) {
        step.answer(Key { kind: message, number: serial }, verdict);
    }
}

fn number(values: &Attributes, name: &str) -> Option<i64> {
    match values.get(name) {
        Some(Value::Int(n)) => Some(*n),
        _ => None,
    }
}

/// The terminal's parameters by name.
fn parameters(values: &Attributes) -> Json {
    let of_parameters = values.iter().filter(|(name, _)| *name != "answers_serial");
    Json::Object(of_parameters.map(|(name, value)| (name.to_owned(), json!(value))).collect())
}

/// 0x0805.
fn photo(values: &Attributes) -> Verdict {
    match values.get("result") {
        Some(Value::Text(result)) if result == "ok" => {
            let ids = values.get("media_ids").map_or(Json::Null, |ids| json!(ids));
            Verdict::Done(Some(json!({ "media_ids": ids })))
        }
        Some(Value::Text(result)) if result == "channel_unsupported" => Verdict::Refused(Some(EndingReason::DeviceUnsupported)),
        _ => Verdict::Refused(Some(EndingReason::DeviceFailed)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use super::*;
    use crate::command::{Command, CommandId};
    use crate::cursor::{hex, unhex};
    use crate::event::Body;
    use crate::identity::{DeviceId, SessionId};
    use crate::profile::Settings;
    use crate::session::{News, Opening, Recall, Session, Turn};
    use crate::time::{Now, Timestamp};

    const HEARTBEAT: &str = "7e000200000138000011110002397e";

    fn now() -> Now {
        Now { utc: Timestamp::parse("2026-03-01T10:00:05Z").unwrap(), uptime: Duration::ZERO }
    }

    fn open(session: u64, recall: Recall) -> Box<dyn Session> {
        let settings = Arc::new(Settings { recall, ..Settings::default() });
        let opening = Opening { session: SessionId(session), settings, device: None };
        let mut session = (crate::jt808::PROTOCOL.open)(opening);
        session.receive(&unhex(HEARTBEAT).unwrap(), now(), &mut Turn::default());
        session
    }

    #[test]
    fn an_offer_may_be_answered_over_a_later_connection() {
        let offer = json!({"order_offer": {"order_id": "5", "type": "immediate", "pickup": {"address": "A"}}});
        let command = Command {
            id: CommandId::new("c-1").unwrap(),
            device_id: DeviceId::normalise("13800001111").unwrap(),
            deadline: now().utc.plus_millis(60_000),
            kind: serde_json::from_value(offer).unwrap(),
        };
        let (mut first, mut turn) = (open(0x1234, Recall::default()), Turn::default());
        first.command(command, Duration::from_secs(60), Vec::new(), now(), &mut turn);
        let News::Write { ticket, frames, .. } = turn.told[0].news.clone() else { panic!("{:?}", turn.told) };
        assert!(hex(&frames).starts_with("7e830200") && hex(&frames)[22..26] == *"1234", "{}", hex(&frames));
        first.written(ticket, now(), &mut turn);
        let state = first.state().unwrap();

        let mut later = open(0x9999, Recall::of(move |_| Some(state.clone())));
        let mut answer = Vec::new();
        crate::jt808::reply::seal(0, &unhex("03020003013800001111000312340100").unwrap(), &mut answer);
        later.receive(&answer, now(), &mut turn);
        let Body::Order(order) = &turn.events[0].body else { panic!("{:?}", turn.events) };
        assert_eq!((order.action, order.order_id.as_deref()), (OrderAction::Accepted, Some("5")));
        assert!(matches!(&turn.told[0].news, News::Outcome(_)));
    }

    #[test]
    fn parameters_answer_by_name_and_without_the_number() {
        let mut values = Attributes::default();
        values.set("answers_serial", 7u8);
        values.set("tcp_port", 5015u16);
        assert_eq!(parameters(&values), json!({"tcp_port": 5015}));
    }

    #[test]
    fn a_photo_that_was_not_taken_is_refused() {
        let said = |result: &'static str| {
            let mut values = Attributes::default();
            values.set("result", result);
            photo(&values)
        };
        assert!(matches!(said("ok"), Verdict::Done(_)));
        assert_eq!(said("failed"), Verdict::Refused(Some(EndingReason::DeviceFailed)));
        assert_eq!(said("channel_unsupported"), Verdict::Refused(Some(EndingReason::DeviceUnsupported)));
    }
}
