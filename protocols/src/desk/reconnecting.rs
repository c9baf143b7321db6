//! What is known of a device goes on over its next connection, and what of a command was written is told apart from what was not.

use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::open::PATIENCE;
use super::{DeviceState, MAX_UNHEARD};
use crate::command::{Command, CommandId};
use crate::cursor::{hex, unhex};
use crate::event::{Body, Order};
use crate::identity::{DeviceId, SessionId};
use crate::outcome::{Ending, EndingReason, Outcome, Stage};
use crate::profile::Settings;
use crate::registry::Protocol;
use crate::script::toy;
use crate::session::{Delivery, News, Opening, Outgoing, Recall, Session, Ticket, Turn};
use crate::time::{Now, Timestamp};

/// A connection whose clock and socket the test moves.
struct Line {
    session: Box<dyn Session>,
    protocol: &'static Protocol,
    turn: Turn,
    now: Now,
    serial: u16,
}

fn at(seconds: u64) -> Now {
    let utc = Timestamp::parse("2026-03-01T10:00:05Z").unwrap();
    Now { utc: utc.plus_millis(i64::try_from(seconds).unwrap() * 1000), uptime: Duration::from_secs(seconds) }
}

impl Line {
    fn open(protocol: &'static Protocol, profile: &Value, left: Option<DeviceState>) -> Self {
        let profiles = vec![Arc::new(serde_json::from_value(profile.clone()).unwrap())];
        let settings = Settings { profiles, recall: Recall::of(move |_| left.clone()), ..Settings::default() };
        let opening = Opening { session: SessionId(7), settings: Arc::new(settings), device: None };
        Self { session: (protocol.open)(opening), protocol, turn: Turn::default(), now: at(0), serial: 0 }
    }

    fn receive(&mut self, bytes: &[u8]) {
        assert_eq!(self.session.receive(bytes, self.now, &mut self.turn), bytes.len());
    }

    /// A message of a terminal of JT/T 808-2019 or JT/T 905.
    fn hear(&mut self, message: u16, body: &str) {
        let body = unhex(body).unwrap();
        let length = u16::try_from(body.len()).unwrap();
        let (attributes, identity) = match self.protocol.name {
            "jt808" => (0x4000 | length, "0100000000013800001111"),
            _ => (length, "109900000001"),
        };
        let head = [message.to_be_bytes(), attributes.to_be_bytes()].concat();
        // the last byte is the check, computed anew
        let content = [head, unhex(identity).unwrap(), self.serial.to_be_bytes().to_vec(), body, vec![0]].concat();
        self.serial += 1;
        let mut frame = Vec::new();
        (self.protocol.down.seal)(0, &content, &mut frame);
        self.receive(&frame);
    }

    /// The receipt of this frame of ours.
    fn receipt(&mut self, frame: &str, result: u8) {
        let serial = if self.protocol.name == "jt808" { 32..36 } else { 22..26 };
        self.hear(0x0001, &format!("{}{}{result:02x}", &frame[serial], &frame[2..6]));
    }

    fn command(&mut self, id: &str, within_s: u64, kind: Value) {
        let command = Command {
            id: CommandId::new(id).unwrap(),
            device_id: DeviceId::normalise("1").unwrap(),
            deadline: self.now.utc.plus_millis(i64::try_from(within_s).unwrap() * 1000),
            kind: serde_json::from_value(kind).unwrap(),
        };
        let deadline = self.now.uptime + Duration::from_secs(within_s);
        self.session.command(command, deadline, Vec::new(), self.now, &mut self.turn);
    }

    /// Nothing comes until then.
    fn wait_until(&mut self, seconds: u64) {
        self.now = at(seconds);
        self.session.receive(&[], self.now, &mut self.turn);
    }

    /// What the turn wants written for commands.
    fn writes(&self) -> Vec<(Ticket, String)> {
        let write = |news: &News| match news {
            News::Write { ticket, frames, .. } => Some((*ticket, hex(frames))),
            _ => None,
        };
        self.turn.told.iter().filter_map(|told| write(&told.news)).collect()
    }

    /// Write what the turn wants written.
    fn write(&mut self) -> Vec<String> {
        let all = self.writes();
        for (ticket, _) in &all {
            self.session.written(*ticket, self.now, &mut self.turn);
        }
        all.into_iter().map(|(_, frames)| frames).collect()
    }

    fn outcomes(&self) -> Vec<(&str, &Outcome)> {
        let told = self.turn.told.iter();
        told.filter_map(|told| match &told.news {
            News::Outcome(outcome) => Some((told.command_id.as_str(), outcome.as_ref())),
            _ => None,
        })
        .collect()
    }

    /// The results of the commands that ended, and why.
    fn ended(&self) -> Vec<(&str, Ending, Option<EndingReason>)> {
        self.outcomes().into_iter().map(|(id, outcome)| (id, outcome.result, outcome.reason)).collect()
    }

    fn stages(&self) -> Vec<Stage> {
        let stage = |news: &News| if let News::Stage(stage, _) = news { Some(*stage) } else { None };
        self.turn.told.iter().filter_map(|told| stage(&told.news)).collect()
    }

    fn order(&self) -> &Order {
        let order = self.turn.events.iter().find_map(|event| if let Body::Order(order) = &event.body { Some(order) } else { None });
        order.expect("an order event")
    }

    fn sent(&self) -> String {
        hex(&self.turn.send.bytes)
    }

    fn acknowledgement(&mut self) -> String {
        let mut out = Outgoing::default();
        self.session.release(Some(Delivery::Stored), self.now, &mut out);
        hex(&out.bytes)
    }
}

fn jt808() -> &'static Protocol {
    &crate::jt808::PROTOCOL
}

fn jt905() -> &'static Protocol {
    &crate::jt905::PROTOCOL
}

fn offer(id: &str) -> Value {
    json!({"order_offer": {"order_id": id, "type": "immediate", "pickup": {"address": "A"}}})
}

fn cancel(id: &str) -> Value {
    json!({"order_cancel": {"order_id": id}})
}

#[test]
fn buttons_are_installed_once_and_again_when_the_profile_changes() {
    let named = json!({"buttons": [{"id": 1, "action": "arrived", "text": "Here"}]});
    for protocol in [jt808(), jt905()] {
        let mut line = Line::open(protocol, &named, None);
        line.hear(0x0002, "");
        let set = line.sent();
        assert!(set.starts_with("7e8301") && set.contains(&hex(b"Here")), "{set}");
        line.hear(0x0002, "");
        assert_eq!(line.sent(), "", "it is on its way");
        assert_eq!(line.session.state(), None, "it has not been taken yet");

        // a failure changes nothing: the next connection tries again
        line.receipt(&set, 1);
        assert!(!line.turn.state_changed && line.turn.events.is_empty());
        let mut line = Line::open(protocol, &named, line.session.state());
        line.hear(0x0002, "");
        let set = line.sent();
        line.receipt(&set, 0);
        assert!(line.turn.state_changed && line.turn.events.is_empty());
        let left = line.session.state();

        let mut next = Line::open(protocol, &named, left.clone());
        next.hear(0x0002, "");
        assert_eq!(next.sent(), "");
        let other = json!({"buttons": [{"id": 2, "action": "arrived", "text": "Here"}]});
        let mut next = Line::open(protocol, &other, left.clone());
        next.hear(0x0002, "");
        assert!(next.sent().starts_with("7e8301"), "{}", next.sent());
        let mut next = Line::open(protocol, &json!({"buttons": []}), left);
        next.hear(0x0002, "");
        let removed = next.sent();
        assert!(removed.starts_with("7e8301") && !removed.contains(&hex(b"Here")), "{removed}");
        next.receipt(&removed, 0);
        assert_eq!(next.session.state(), None);
    }
}

#[test]
fn a_terminal_that_knows_no_events_is_not_asked_again() {
    let named = json!({"buttons": [{"id": 1, "action": "arrived", "text": "Here"}]});
    for protocol in [jt808(), jt905()] {
        let mut line = Line::open(protocol, &named, None);
        line.hear(0x0002, "");
        let set = line.sent();
        line.receipt(&set, 3);
        let left = line.session.state().unwrap();
        assert_eq!(serde_json::to_value(&left).unwrap(), json!({"screen": {"unknown": ["0x8301"]}}));
        let mut next = Line::open(protocol, &named, Some(left));
        next.hear(0x0002, "");
        assert_eq!(next.sent(), "");
    }
}

#[test]
fn buttons_do_not_disturb_a_sign_on() {
    let named = json!({"buttons": [{"id": 1, "action": "arrived", "text": "Here"}]});
    let mut line = Line::open(jt808(), &named, None);
    line.hear(0x0100, &format!("000b0069{}{}{}01{}", "00".repeat(11), "00".repeat(30), "00".repeat(30), hex(b"BT1")));
    assert_eq!(line.sent(), "");
    line.hear(0x0102, &format!("03{}{}", hex(b"abc"), "00".repeat(35)));
    assert_eq!(line.sent(), "");
    line.hear(0x0002, "");
    assert!(line.sent().starts_with("7e8301"));
}

#[test]
fn a_terminal_without_questions_is_told_the_offer_as_text_at_once_and_every_later_one() {
    let mut line = Line::open(jt808(), &json!({}), None);
    line.hear(0x0002, "");
    line.command("c1", 60, offer("A"));
    let asked = line.write();
    assert!(asked[0].starts_with("7e8302"), "{asked:?}");
    assert_eq!(line.stages(), [Stage::Sent]);

    line.receipt(&asked[0], 3);
    assert!(line.turn.state_changed && line.ended().is_empty());
    let told = line.write();
    assert!(told.len() == 2 && told[0].starts_with("7e8301") && told[1].starts_with("7e8300"), "{told:?}");
    assert_eq!(line.stages(), [], "it was sent before");
    // the keys for the answers
    assert!(told[0].contains(&format!("0706{}", hex(b"Accept"))), "{}", told[0]);
    line.receipt(&told[0], 0);
    line.receipt(&told[1], 0);
    assert_eq!(line.stages(), [Stage::Delivered]);
    line.hear(0x0301, "07");
    assert_eq!((line.order().order_id.as_deref(), line.order().command_id.as_deref()), (Some("A"), Some("c1")));
    assert_eq!(line.ended(), [("c1", Ending::Acknowledged, None)]);
    assert_eq!(line.outcomes()[0].1.attempts, 2);

    let mut later = Line::open(jt808(), &json!({}), line.session.state());
    later.hear(0x0002, "");
    later.command("c2", 60, offer("B"));
    let told = later.write();
    assert!(told.len() == 1 && told[0].starts_with("7e8300"), "{told:?}");
}

#[test]
fn an_offer_that_is_refused_as_text_too_is_refused() {
    let mut line = Line::open(jt808(), &json!({}), None);
    line.hear(0x0002, "");
    line.command("c1", 60, offer("A"));
    let asked = line.write();
    line.receipt(&asked[0], 3);
    let told = line.write();
    line.receipt(&told[1], 3);
    assert_eq!(line.ended(), [("c1", Ending::Rejected, Some(EndingReason::DeviceUnsupported))]);
}

#[test]
fn an_offer_refused_too_late_for_other_words_is_refused() {
    let mut line = Line::open(jt808(), &json!({}), None);
    line.hear(0x0002, "");
    line.command("c1", 10, offer("A"));
    let asked = line.write();
    line.now = at(7);
    line.receipt(&asked[0], 3);
    assert_eq!(line.ended(), [("c1", Ending::Rejected, Some(EndingReason::DeviceUnsupported))]);
    assert_eq!(line.outcomes()[0].1.attempts, 1);
}

#[test]
fn two_offers_that_a_terminal_did_not_know_are_shown_one_after_the_other() {
    let mut line = Line::open(jt808(), &json!({}), None);
    line.hear(0x0002, "");
    line.command("c1", 60, offer("A"));
    let first = line.write();
    line.command("c2", 60, offer("B"));
    let second = line.write();
    line.receipt(&first[0], 3);
    assert_eq!(line.write().len(), 2, "the keys, and the text");
    line.receipt(&second[0], 3);
    assert_eq!((line.write(), line.ended()), (vec![], vec![]));
    line.hear(0x0301, "08");
    assert_eq!(line.ended(), [("c1", Ending::Rejected, None)]);
    let told = line.write();
    assert!(told.len() == 1 && told[0].starts_with("7e8300"), "{told:?}");
}

#[test]
fn the_first_message_of_a_connection_may_answer_an_offer() {
    let left = json!({
        "driver": {"driver_id": "D1", "authorized": true},
        "open_orders": [{"order_id": "1001", "command_id": "c1", "stage": "offered", "deadline": "2026-03-01T10:00:30.000Z"}]
    });
    let mut line = Line::open(jt905(), &json!({}), Some(serde_json::from_value(left).unwrap()));
    line.hear(0x0b01, "000003e9");
    let order = line.order();
    assert_eq!((order.order_id.as_deref(), order.command_id.as_deref()), (Some("1001"), Some("c1")));
    assert_eq!((order.driver_id.as_deref(), order.authorized), (Some("D1"), Some(true)));
    assert_eq!(line.ended(), [("c1", Ending::Acknowledged, None)]);
}

#[test]
fn a_refusal_is_known_over_the_next_connection_and_told_again() {
    let left: DeviceState =
        serde_json::from_value(json!({"driver": {"driver_id": "D1", "name": "Li", "authorized": false}})).unwrap();
    let profile = json!({"templates": {"refused": "[{name} ]no[ {reason}]"}});
    let mut line = Line::open(jt905(), &profile, Some(left.clone()));
    line.hear(0x0b01, "000003e9");
    assert_eq!(line.order().authorized, Some(false));
    let told = line.sent();
    assert!(told.starts_with("7e8300") && told.contains(&hex(b"Li no")), "{told}");
    assert!(line.acknowledgement().contains("0b0101"));
    line.receipt(&told, 0);
    assert!(line.turn.events.is_empty(), "the receipt is expected");

    let silent = json!({"templates": {"refused": ""}});
    let mut line = Line::open(jt905(), &silent, Some(left));
    line.hear(0x0b01, "000003e9");
    assert_eq!(line.sent(), "");
}

#[test]
fn a_text_offer_waits_for_one_that_was_shown_over_an_earlier_connection() {
    let left = json!({
        "screen": {"unknown": ["0x8302", "0x8301"]},
        "open_orders": [{"order_id": "A", "command_id": "c1", "stage": "offered", "deadline": "2026-03-01T10:00:35.000Z"}]
    });
    let mut line = Line::open(jt808(), &json!({}), Some(serde_json::from_value(left).unwrap()));
    line.hear(0x0002, "");
    line.command("c2", 60, offer("B"));
    assert_eq!((line.stages(), line.writes().len()), (vec![Stage::Waiting], 0));
    assert_eq!(line.session.deadline(), Some(Duration::from_secs(30)));
    line.wait_until(29);
    assert_eq!(line.writes().len(), 0);
    line.wait_until(30);
    assert_eq!(line.write().len(), 1);
    // the same order again does not wait for itself
    line.command("c3", 60, offer("B"));
    assert_eq!((line.ended(), line.writes().len()), (vec![("c2", Ending::Superseded, None)], 1));
}

#[test]
fn only_what_was_never_written_needs_no_cancellation() {
    let mut line = Line::open(&toy::TOY, &json!({}), None);
    line.receive(&toy::frame(toy::LOGIN, b"7"));
    line.command("c1", 60, offer("A"));
    line.command("c2", 60, cancel("A"));
    assert_eq!(line.ended(), [("c1", Ending::Superseded, None), ("c2", Ending::Acknowledged, Some(EndingReason::NotShown))]);
    // the first is on the screen, whatever became of the second
    line.command("c3", 60, offer("B"));
    line.write();
    line.command("c4", 60, offer("B"));
    assert_eq!(line.ended(), [("c3", Ending::Superseded, None)]);
    line.command("c5", 60, cancel("B"));
    assert_eq!(line.ended(), [("c4", Ending::Superseded, None), ("c5", Ending::Unsupported, None)]);
}

#[test]
fn an_offer_is_not_begun_when_too_little_is_left_to_read_it() {
    let mut line = Line::open(&toy::TOY, &json!({}), None);
    line.receive(&toy::frame(toy::LOGIN, b"7"));
    line.command("c1", 10, offer("A"));
    let News::Write { ticket, deadline, .. } = line.turn.told[0].news else { panic!("{:?}", line.turn.told) };
    assert_eq!(deadline, Duration::from_millis(6001));
    // the socket was stuck until then
    line.now = at(7);
    line.session.unwritten(ticket, line.now, &mut line.turn);
    assert_eq!(line.ended(), [("c1", Ending::Expired, Some(EndingReason::Lag))]);
}

#[test]
fn the_lag_of_a_device_is_remembered_while_nothing_is_open() {
    let mut line = Line::open(&toy::TOY, &json!({}), None);
    line.receive(&toy::frame(toy::LOGIN, b"7"));
    line.command("c1", 60, json!({"text": {"text": "hi"}}));
    line.write();
    line.now = at(4);
    line.receive(&toy::frame(toy::GOT, &8_u16.to_be_bytes()));
    assert_eq!(line.ended(), [("c1", Ending::Acknowledged, None)]);
    assert_eq!(line.session.desk().unwrap().lag(), Duration::from_secs(2));
    line.command("c2", 5, offer("A"));
    assert_eq!(line.ended(), [("c2", Ending::Expired, Some(EndingReason::Lag))]);
    line.command("c3", 6, offer("A"));
    assert_eq!(line.writes().len(), 1);
}

#[test]
fn a_device_that_receipts_nothing_gets_its_next_offer_all_the_same() {
    let mut line = Line::open(&toy::TOY, &json!({}), None);
    line.receive(&toy::frame(toy::LOGIN, b"7"));
    for n in 0..MAX_UNHEARD {
        line.command(&format!("t{n}"), 600, json!({"text": {"text": "hi"}}));
        line.write();
    }
    line.command("c1", 300, offer("A"));
    assert_eq!((line.stages(), line.writes().len()), (vec![Stage::Waiting], 0));
    for seconds in 1..PATIENCE.as_secs() {
        line.wait_until(seconds);
        line.write();
        assert_ne!(line.stages(), [Stage::Sent], "after {seconds} s");
    }
    assert_eq!(line.session.deadline(), Some(PATIENCE));
    line.wait_until(PATIENCE.as_secs());
    line.write();
    assert_eq!(line.stages(), [Stage::Sent]);
}

#[test]
fn what_a_driver_has_yet_to_choose_from_is_not_in_the_way_of_a_text() {
    let mut line = Line::open(jt905(), &json!({}), None);
    line.hear(0x0002, "");
    for n in 1..=MAX_UNHEARD + 1 {
        line.command(&format!("c{n}"), 60, offer(&n.to_string()));
        let shown = line.write();
        assert_eq!(shown.len(), 1, "offer {n}");
        line.receipt(&shown[0], 0);
    }
    line.command("t", 60, json!({"text": {"text": "hi"}}));
    assert_eq!(line.writes().len(), 1);
}

#[test]
fn a_loser_who_asks_again_is_told_again() {
    let mut line = Line::open(jt905(), &json!({}), None);
    line.hear(0x0002, "");
    line.command("c1", 60, offer("1001"));
    let offered = line.write();
    line.receipt(&offered[0], 0);
    line.hear(0x0b01, "000003e9");
    line.command("c2", 60, json!({"order_assign": {"order_id": "1001", "won": false}}));
    let lost = line.write();
    line.receipt(&lost[0], 0);
    assert_eq!(line.ended(), [("c2", Ending::Acknowledged, None)]);
    line.hear(0x0b01, "000003e9");
    assert_eq!((line.sent(), line.turn.events.len()), (lost[0].clone(), 0));
    line.receipt(&lost[0], 0);
    assert!(line.turn.events.is_empty(), "the receipt is expected");
    line.receipt(&lost[0], 0);
    assert_eq!(line.turn.events.len(), 1, "once");
}

#[test]
fn an_order_that_was_cancelled_is_not_won_again() {
    let mut line = Line::open(jt905(), &json!({}), None);
    line.hear(0x0002, "");
    let won = json!({"order_assign": {"order_id": "1001", "won": true, "type": "immediate", "pickup": {"address": "A"}}});
    line.command("c1", 60, won);
    line.write();
    line.command("c2", 60, cancel("1001"));
    let cancelled = line.write();
    line.hear(0x0b01, "000003e9");
    // told again, and the backend hears of what the driver did for the first time
    assert_eq!((line.sent(), line.turn.events.len()), (cancelled[0].clone(), 1));
}

#[test]
fn an_authorization_is_kept_whatever_comes_of_telling_it() {
    let refused = |driver: &str| json!({"driver_authorization": {"driver_id": driver, "authorized": false, "reason": "papers"}});
    let mut line = Line::open(jt905(), &json!({}), None);
    line.hear(0x0002, "");
    line.command("c1", 10, refused("D1"));
    let told = line.write();
    assert!(told[0].starts_with("7e8300") && told[0].contains(&hex(b"(papers)")), "{told:?}");
    line.receipt(&told[0], 0);
    assert_eq!(line.ended(), [("c1", Ending::Acknowledged, None)]);
    line.command("c2", 10, refused("D1"));
    line.write();
    line.wait_until(11);
    assert_eq!(line.ended(), [("c2", Ending::Acknowledged, None)]);
    assert_eq!(line.outcomes()[0].1.warnings.len(), 1, "nobody knows whether the driver has read it");
    // of another driver: neither kept nor told
    line.command("c3", 10, refused("D2"));
    assert_eq!((line.ended(), line.writes().len()), (vec![("c3", Ending::Acknowledged, None)], 0));
    assert_eq!(line.session.state().unwrap().driver.unwrap().driver_id, "D1");
}
