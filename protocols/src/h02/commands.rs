//! Commands in the protocol's words, and what answers them.
//!
//! A device answers a command with `V4`, the command's word and its time of day, which so serves as a serial: no two commands of
//! a connection have the same. What a screen shows is answered by a key as well, which names nothing: it is about what was
//! shown last.

use serde_json::Value;

use crate::command::{Assign, Command, Kind, Question, SetParameters, Track};
use crate::desk::{Confirms, Errand, Key, OpenOrder, OrderStage, Plan, Unfit};
use crate::h02::dialect::Dialect;
use crate::h02::downlink::{Downlink, Fuel, Order, PLAIN, Say, Words};
use crate::h02::identity::{Id, Maker};
use crate::h02::screen::ScreenText;
use crate::outcome::EndingReason;
use crate::parts::{template, text};
use crate::profile::{Charset, TimeZone};
use crate::time::Now;
use crate::wire::Link;

/// What can be said, and what the device says to it at best.
pub(super) const COMMANDS: &[(&str, Confirms)] = &[
    ("order_offer", Confirms::Answer),
    ("order_assign", Confirms::Receipt),
    ("order_cancel", Confirms::Receipt),
    ("text", Confirms::Receipt),
    ("question", Confirms::Answer),
    ("alarm_confirm", Confirms::Receipt),
    ("locate", Confirms::Receipt),
    ("reboot", Confirms::Receipt),
    ("take_photo", Confirms::Receipt),
    ("track", Confirms::Receipt),
    ("call", Confirms::Receipt),
    ("output", Confirms::Receipt),
    ("set_parameters", Confirms::Receipt),
    ("query_parameters", Confirms::Answer),
];

/// Settings that have a name, by the number in their word; the one word without a number has 0.
pub(super) const SETTINGS: &[(u32, &str)] = &[
    (0, "armed"),
    (14, "speed_limits"),
    (17, "old_report_interval_s"),
    (20, "dynamic_fuel_cut"),
    (23, "server"),
    (24, "apn"),
    (71, "report_interval_s"),
];

/// Keys are about what is shown; the number is that of the text.
const SHOWN: u16 = u16::from_be_bytes(*b"K\0");
/// An answer to bare words.
pub(super) const SMS: Key = Key { kind: u16::from_be_bytes(*b"M\0"), number: 0 };
/// The word that asks for the parameters.
pub(super) const QUERY: &str = "S26";
/// An answer to it that holds no time of a command.
pub(super) const UNTIMED_QUERY: Key = Key { kind: u16::from_be_bytes(*b"Q\0"), number: 0 };
/// Longest interval between reports, a day: beyond that a device looks dead.
const MAX_INTERVAL_S: u32 = 86_400;

/// The key of an answer to a command.
pub(super) fn key_of(word: &str, [hour, minute, second]: [u8; 3]) -> Key {
    let letter = word.bytes().next().unwrap_or_default();
    // the one word without a number gets one that none has
    let number = word.get(1..).and_then(|number| number.parse().ok()).unwrap_or(u8::MAX);
    let clock = (u64::from(hour) * 60 + u64::from(minute)) * 60 + u64::from(second);
    Key { kind: u16::from_be_bytes([letter, number]), number: clock }
}

/// Whether an offer waits for its key. One whose time is over is answered only while nothing else is shown.
pub(super) fn undecided(link: &Link, now: Now) -> bool {
    let waits = |o: &OpenOrder| o.stage == OrderStage::Offered && o.deadline.is_none_or(|deadline| now.utc < deadline);
    link.desk().is_some_and(|desk| desk.open_orders().any(waits))
}

/// What the screen shows, as far as this connection knows.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Shown {
    /// Nothing that was sent here, or an offer.
    Offer,
    /// The order is the driver's; whoever reads it presses a key.
    Won(u64),
    /// Something to read.
    Text(u64),
    /// A question: the ids of the answers that OK and CLR stand for.
    Question(u64, [Option<String>; 2]),
}

impl Shown {
    /// The key that a press of OK or CLR answers.
    pub(super) const fn key(number: u64) -> Key {
        Key { kind: SHOWN, number }
    }
}

/// Who is spoken to, and when.
#[derive(Debug)]
pub(super) struct Writer {
    pub(super) maker: Maker,
    pub(super) id: Id,
    /// Time of day, different for every command of a connection.
    pub(super) time: [u8; 3],
}

impl Writer {
    fn downlink(&self, order: Order) -> Downlink {
        Downlink { maker: self.maker, id: self.id, say: Say::Command(self.time, order) }
    }

    /// One command that `V4` answers.
    fn plain(&self, order: Order) -> Plan<Downlink> {
        let key = key_of(order.word(), self.time);
        Plan::receipt(self.downlink(order), key)
    }

    /// A command of these words, which must be among the known ones.
    fn words(&self, word: &str, parameters: &str) -> Result<Plan<Downlink>, Unfit> {
        let known = PLAIN.iter().find(|(known, _)| *known == word).map(|(known, _)| *known).ok_or(Unfit::Unsupported)?;
        let words = Words::new(parameters).ok_or_else(|| Unfit::Field(format!("{word}: `{parameters}` cannot be said here")))?;
        Ok(self.plain(Order::Plain(known, words)))
    }

    /// A text on the screen, answered by a receipt or a key.
    fn show(&self, what: &str, errand: &Errand<'_>, ends: Confirms) -> Result<Plan<Downlink>, Unfit> {
        let profile = errand.profile();
        if !Dialect::of(profile).screen {
            return Err(Unfit::Unsupported);
        }
        // the screen has two charsets in one: a byte behind a zero, or two of GBK
        let charset = profile.charset.filter(|charset| *charset != Charset::Utf8).unwrap_or(Charset::Gbk);
        let bytes = text::fit(what, charset, profile.unshowable).map_err(Unfit::Field)?;
        let (text, whole) = ScreenText::new(&bytes);
        let mut plan = self.plain(Order::Show(text));
        plan.keys.push(Shown::key(self.number()));
        plan.ends = ends;
        if !whole {
            plan.warnings.push("the text was cut to what a screen takes".to_owned());
        }
        Ok(plan)
    }

    fn number(&self) -> u64 {
        key_of("K", self.time).number
    }

    /// Put a command into words, and say what the screen shows then, if that changes.
    pub(super) fn plan(&self, command: &Command, errand: &Errand<'_>) -> Result<(Plan<Downlink>, Option<Shown>), Unfit> {
        let number = self.number();
        // drivers of these screens are in China, whatever clock their devices have
        let zone = errand.profile().time_zone.unwrap_or(TimeZone::CHINA);
        let order_text = || template::order_text(&command.kind, errand.profile(), zone).unwrap_or_default();
        let undecided = || undecided(errand.link(), errand.now());
        let (plan, shown) = match &command.kind {
            Kind::OrderOffer(_) => (self.show(&order_text(), errand, Confirms::Answer)?, Some(Shown::Offer)),
            Kind::OrderAssign(Assign::Won(_)) => (self.show(&order_text(), errand, Confirms::Receipt)?, Some(Shown::Won(number))),
            Kind::OrderAssign(Assign::Lost(_)) | Kind::OrderCancel(_) => {
                (self.show(&order_text(), errand, Confirms::Receipt)?, Some(Shown::Text(number)))
            }
            Kind::Text(text) => {
                let plan = self.show(&text.text, errand, Confirms::Receipt)?;
                // over an undecided offer a key still answers the offer
                (plan, (!undecided()).then_some(Shown::Text(number)))
            }
            Kind::Question(question) => {
                if undecided() {
                    return Err(Unfit::Refused(EndingReason::Busy));
                }
                let (words, ids) = two_answers(question)?;
                (self.show(&words, errand, Confirms::Answer)?, Some(Shown::Question(number, ids)))
            }
            Kind::AlarmConfirm(confirm) => (self.words(if confirm.end == Some(true) { "R7" } else { "A1" }, "")?, None),
            Kind::Locate(_) => (self.words("S1", "")?, None),
            Kind::Reboot(_) => (self.words("R1", "")?, None),
            Kind::TakePhoto(photo) => {
                let mut plan = self.words("S39", "")?;
                if photo.channel.is_some() {
                    plan.warnings.push("channel: the protocol does not name its cameras".to_owned());
                }
                (plan, None)
            }
            Kind::Track(track) => (self.plain(interval(track)?), None),
            Kind::Call(call) if call.listen_only == Some(true) => {
                let digits = !call.phone.0.is_empty() && call.phone.0.bytes().all(|b| b.is_ascii_digit() || b == b'+');
                if !digits {
                    return Err(Unfit::Field("phone: digits are expected".to_owned()));
                }
                (self.words("R8", &call.phone.0)?, None)
            }
            Kind::Output(output) => {
                let order = match output.name.as_str() {
                    "fuel" if output.state => Order::Fuel(Fuel::Cut),
                    "fuel" => Order::Fuel(Fuel::Restore),
                    "doors" => Order::CentralLock(output.state),
                    other => return Err(Unfit::Field(format!("name: `{other}`; this protocol has fuel and doors"))),
                };
                (self.plain(order), None)
            }
            Kind::SetParameters(set) => (self.settings(set)?, None),
            Kind::QueryParameters(query) => {
                let mut plan = if Dialect::of(errand.profile()).bare_words {
                    let say = Say::Bare(Words::new(STATUS).ok_or(Unfit::Unsupported)?);
                    Plan::answer(Downlink { maker: Maker::COMMON, id: Id::NONE, say }, vec![SMS])
                } else {
                    let mut plan = Plan { ends: Confirms::Answer, ..self.words(QUERY, "")? };
                    plan.keys.push(UNTIMED_QUERY);
                    plan
                };
                if query.names.is_some() {
                    plan.warnings.push("names: the protocol tells all of them".to_owned());
                }
                (plan, None)
            }
            _ => return Err(Unfit::Unsupported),
        };
        Ok((plan, shown))
    }

    /// Each setting is a command of its own; the answer to any of them answers all.
    fn settings(&self, set: &SetParameters) -> Result<Plan<Downlink>, Unfit> {
        let mut all: Option<Plan<Downlink>> = None;
        for (name, value) in &set.values {
            let one = self.setting(name, value)?;
            match &mut all {
                None => all = Some(one),
                Some(all) => {
                    all.downlinks.extend(one.downlinks);
                    all.keys.extend(one.keys);
                    all.warnings = vec!["values: the answer to one of several ends the command".to_owned()];
                }
            }
        }
        all.ok_or_else(|| Unfit::Field("values: none is given".to_owned()))
    }

    fn setting(&self, name: &str, value: &Value) -> Result<Plan<Downlink>, Unfit> {
        let unfit = |expected: &str| Unfit::Field(format!("{name}: {expected} expected"));
        let number = |value: &Value| value.as_u64().and_then(|n| u16::try_from(n).ok());
        let order = match name {
            "report_interval_s" => Order::ReportInterval(seconds(value.as_u64()).ok_or_else(|| unfit("1 to 86400 seconds"))?),
            "old_report_interval_s" => Order::OldInterval(seconds(value.as_u64()).ok_or_else(|| unfit("1 to 86400 seconds"))?),
            "armed" => Order::Arm(value.as_bool().ok_or_else(|| unfit("true or false is"))?),
            "speed_limits" => {
                let list = value.as_array().map(Vec::as_slice);
                let Some([Some(max_kn), Some(min_kn), Some(lasting_s)]) = list
                    .and_then(|list| list.first_chunk::<3>().filter(|_| list.len() == 3))
                    .map(|three| three.each_ref().map(number))
                else {
                    return Err(unfit("[most knots, least knots, seconds] is"));
                };
                Order::SpeedLimits { max_kn, min_kn, lasting_s }
            }
            "server" => server(value.as_str().unwrap_or_default()).ok_or_else(|| unfit("an address like 192.0.2.1:5013 is"))?,
            "dynamic_fuel_cut" => {
                let words = value.as_str().and_then(Words::new).filter(|words| !words.as_str().is_empty());
                Order::Fuel(Fuel::Dynamic(words.ok_or_else(|| unfit("the parameters of S20 are"))?))
            }
            "apn" => return self.words("S24", value.as_str().ok_or_else(|| unfit("a name is"))?),
            word => {
                let known = PLAIN.iter().any(|(known, _)| *known == word);
                if !known {
                    return Err(Unfit::Field(format!("{name}: there is no such setting")));
                }
                return self.words(word, value.as_str().ok_or_else(|| unfit("the parameters as text are"))?);
            }
        };
        Ok(self.plain(order))
    }
}

/// The bare words that ask for the status.
const STATUS: &str = "CXZT";

/// Report at another interval: so often, or until told otherwise.
fn interval(track: &Track) -> Result<Order, Unfit> {
    let interval_s =
        seconds(Some(track.interval_s.into())).ok_or_else(|| Unfit::Field("interval_s: 1 to 86400 seconds".to_owned()))?;
    Ok(match track.duration_s {
        None => Order::ReportInterval(interval_s),
        Some(duration_s) => Order::Interval { interval_s, count: Some(duration_s.div_ceil(interval_s).max(1)) },
    })
}

fn seconds(n: Option<u64>) -> Option<u32> {
    n.and_then(|n| u32::try_from(n).ok()).filter(|n| (1..=MAX_INTERVAL_S).contains(n))
}

/// `192.0.2.1:5013`, and behind a comma whatever the operator knows of the last parameter.
fn server(text: &str) -> Option<Order> {
    let (server, last) = text.split_once(',').unwrap_or((text, ""));
    let server: std::net::SocketAddrV4 = server.parse().ok()?;
    Some(Order::Server { address: server.ip().octets(), port: server.port(), last: Words::new(last)? })
}

/// A question with the two keys that answer it, and the ids that they stand for.
fn two_answers(question: &Question) -> Result<(String, [Option<String>; 2]), Unfit> {
    let labels = ["OK", "CLR"];
    if question.answers.is_empty() || question.answers.len() > labels.len() {
        return Err(Unfit::Field("answers: the screen has two keys".to_owned()));
    }
    let mut words = question.text.clone();
    for (label, answer) in labels.iter().zip(&question.answers) {
        words.push_str(&format!(" {label}={}", answer.text));
    }
    let id = |n: usize| question.answers.get(n).map(|answer| answer.id.clone());
    Ok((words, [id(0), id(1)]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_tell_words_and_times_apart() {
        let key = |word| key_of(word, [1, 2, 3]);
        let words: Vec<_> =
            PLAIN.iter().map(|(word, _)| *word).chain(["S20", "D1", "S71", "S17", "SCF", "S6", "S14", "S23", "I1"]).collect();
        for (n, word) in words.iter().enumerate() {
            assert!(words.iter().skip(n + 1).all(|other| key(other) != key(word)), "{word}");
            assert!(key(word) != SMS && key(word).kind != SHOWN, "{word}");
        }
        assert_eq!(key("S20").number, 3723);
    }

    #[test]
    fn every_setting_can_be_set() {
        let writer = Writer { maker: Maker::COMMON, id: Id::NONE, time: [0; 3] };
        let value = |name| match name {
            "armed" => serde_json::json!(true),
            "speed_limits" => serde_json::json!([60, 0, 10]),
            "server" => serde_json::json!("192.0.2.1:5013"),
            "dynamic_fuel_cut" | "apn" => serde_json::json!("1"),
            _ => serde_json::json!(60),
        };
        for (number, name) in SETTINGS {
            let plan = writer.setting(name, &value(*name)).unwrap();
            let Say::Command(_, order) = &plan.downlinks[0].say else { panic!("{name}") };
            assert_eq!(order.word().get(1..).and_then(|n| n.parse().ok()).unwrap_or(0), *number, "{name}");
            assert!(writer.setting(name, &Value::Null).is_err(), "{name}");
        }
        assert!(writer.setting("colour", &value("apn")).is_err());
    }

    #[test]
    fn a_server_is_an_address_and_a_port() {
        assert!(server("192.0.2.1:5013").is_some());
        assert!(
            server("192.0.2.1:5013,10").is_some_and(|order| matches!(order, Order::Server { last, .. } if last.as_str() == "10"))
        );
        for bad in ["192.0.2.1", "example.com:5013", "192.0.2.1:99999", ""] {
            assert_eq!(server(bad), None, "{bad}");
        }
    }

    #[test]
    fn tracking_ends_by_count() {
        let track = |interval_s, duration_s| interval(&Track { interval_s, duration_s });
        assert_eq!(track(10, Some(65)).unwrap(), Order::Interval { interval_s: 10, count: Some(7) });
        assert_eq!(track(10, None).unwrap(), Order::ReportInterval(10));
        assert!(track(0, None).is_err());
        assert!(track(86_401, None).is_err());
    }
}
