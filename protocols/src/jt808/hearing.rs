//! What terminals say to messages of ours: receipts, answers, and the keys that drivers press.

use serde_json::{Value as Json, json};

use super::commands::{ACCEPT, Asked, DECLINE, is_of_screen};
use super::header::Header;
use super::message::{Content, id};
use super::session::Jt808;
use crate::desk::{Desk, Emitted, Key, OrderRef, Verdict};
use crate::event::{Actor, Attributes, Body, Content as Carried, Order, OrderAction, Report, Value};
use crate::outcome::EndingReason;
use crate::profile::Button;
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
            self.office.text_only = true;
        }
        let verdict = match result {
            DONE | ALARM_HANDLED => Verdict::Delivered,
            UNKNOWN => Verdict::Refused(Some(EndingReason::DeviceUnsupported)),
            _ => Verdict::Refused(Some(EndingReason::DeviceFailed)),
        };
        step.answer(Key { kind: message, number: serial.into() }, verdict)
            || ACKNOWLEDGEMENTS.contains(&message)
            || self.office.is_of_buttons(message, serial)
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
        match self.office.question(serial)? {
            Asked::Offer(order) => {
                let action = match answer {
                    ACCEPT => OrderAction::Accepted,
                    DECLINE => OrderAction::Declined,
                    _ => return None,
                };
                Some(emitted(Order::of(action, Actor::Driver), OrderRef::Named(order.as_str()), source, step))
            }
            Asked::Question(ids) => {
                if let Some(id) = ids.get(usize::from(answer).wrapping_sub(1)) {
                    let key = Key { kind: id::QUESTION_ANSWER, number: serial.into() };
                    step.answer(key, Verdict::Done(Some(json!(id))));
                }
                None
            }
        }
    }

    /// 0x0303: the driver wants to read more of an order of the menu.
    fn looked_up(&self, values: &Attributes, source: &mut Source<'_>, step: &mut Step<'_>) -> Option<Heard> {
        if values.get("choice") != Some(&Value::from("subscribe")) {
            return None;
        }
        let entry = usize::try_from(number(values, "information_type")?).ok()?;
        let id = self.office.menu.get(entry.wrapping_sub(1))?;
        let mut order = Order::of(OrderAction::DetailsRequested, Actor::Driver);
        if step.link().desk().is_some_and(|desk| desk.order(id).is_some()) {
            return Some(emitted(order, OrderRef::Named(id.as_str()), source, step));
        }
        // it was listed and never offered
        order.order_id = Some(id.as_str().to_owned());
        order.driver_id = step.link().desk().and_then(Desk::driver).map(|driver| driver.driver_id.clone());
        step.emit(source, Body::Order(Box::new(order)));
        Some(Heard::Stored)
    }
}

/// 0x0301: a button. The usual ones mean something only while there is an order: a terminal may have buttons of its own.
fn pressed(values: &Attributes, source: &mut Source<'_>, step: &mut Step<'_>) -> Option<Heard> {
    let id = u16::try_from(number(values, "event_id")?).ok()?;
    let of_profile = |buttons: &[Button]| buttons.iter().find(|button| button.id == id).cloned();
    let button = match &step.profile().buttons {
        Some(buttons) => of_profile(buttons)?,
        None => {
            step.link().desk()?.open_orders().next()?;
            of_profile(&Button::usual())?
        }
    };
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
