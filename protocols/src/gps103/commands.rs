//! The backend's commands in this protocol's words.

use serde_json::{Map, Value};

use crate::command::{Assign, Kind, OrderId, Output};
use crate::desk::{Confirms, Errand, Key, OpenOrder, Plan, Unfit};
use crate::gps103::dialect::{Codes, Dialect};
use crate::gps103::downlink::{Day, Downlink, Interval, MAX_TEXT, ORDER_DIGITS, OrderNumber, Plain, Point, Text, Words};
use crate::gps103::reply::Imei;
use crate::parts::template::{offer_text, order_text};
use crate::parts::text::within;
use crate::profile::{Charset, TimeZone};

/// What can be said, and what the device says to it at best.
pub(super) const COMMANDS: &[(&str, Confirms)] = &[
    ("alarm_confirm", Confirms::Receipt),
    ("locate", Confirms::Answer),
    ("order_assign", Confirms::Receipt),
    ("order_cancel", Confirms::Receipt),
    ("order_offer", Confirms::Answer),
    ("output", Confirms::Answer),
    ("set_parameters", Confirms::Receipt),
    ("take_photo", Confirms::Answer),
    ("text", Confirms::Receipt),
    ("track", Confirms::Receipt),
];

/// Numbers of the commands whose answers are waited for.
pub(super) const LOCATE: u16 = 100;
pub(super) const PHOTO: u16 = 160;
pub(super) const OFFER: u16 = 171;
const SILENCE: u16 = 104;
const TRACK: u16 = 101;
const STOP_TRACKING: u16 = 102;
const ANNOUNCE: u16 = 170;
const WON: u16 = 172;
const LOST: u16 = 173;
const CANCELLED: u16 = 174;

/// The largest order number.
const MAX_NUMBER: u64 = 10_u64.pow(ORDER_DIGITS as u32) - 1;

/// The key of an answer that names no order.
pub(super) const fn key(command: u16) -> Key {
    Key { kind: command, number: 0 }
}

/// The key of an answer about an order: its number, or, where that is no number, what stands for its text.
pub(super) fn order_key(command: u16, order: &str) -> Key {
    /// FNV-1a.
    const START: u64 = 0xCBF2_9CE4_8422_2325;
    const FACTOR: u64 = 0x0100_0000_01B3;
    let hash = || order.bytes().fold(START, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(FACTOR));
    Key { kind: command, number: order.parse().unwrap_or_else(|_| hash()) }
}

/// The dispatch centre's number of an order: the id where it has this form, else a number with zeros in front.
fn order_number(id: &OrderId, errand: &mut Errand<'_>) -> Result<OrderNumber, Unfit> {
    let number = own_form(id).or_else(|| with_zeros(errand.number(id, MAX_NUMBER)));
    number.ok_or(Unfit::Unsupported)
}

/// The same of an order that the device has.
pub(super) fn number_of(order: &OpenOrder) -> Option<OrderNumber> {
    let number = || order.token.or_else(|| order.order_id.as_str().parse().ok());
    own_form(&order.order_id).or_else(|| with_zeros(number()?))
}

fn own_form(id: &OrderId) -> Option<OrderNumber> {
    Some(id.as_str()).filter(|text| text.len() == ORDER_DIGITS).and_then(OrderNumber::new)
}

fn with_zeros(number: u64) -> Option<OrderNumber> {
    OrderNumber::new(&format!("{number:0ORDER_DIGITS$}"))
}

/// Put a command into words. `zone` is the driver's, as far as known.
pub(super) fn plan(kind: &Kind, imei: Imei, zone: Option<TimeZone>, errand: &mut Errand<'_>) -> Result<Plan<Downlink>, Unfit> {
    let codes = Dialect::of(errand.profile()).codes;
    let zone = errand.profile().time_zone.or(zone).unwrap_or(TimeZone::UTC);
    let say = |words| Downlink::Do { imei, words, closed: true };
    let plain = |plain: Plain| say(plain.in_codes(codes));
    Ok(match kind {
        Kind::OrderOffer(offer) => {
            let (details, warnings) = shown(&offer_text(offer, errand.profile(), zone), errand)?;
            let number = order_number(&offer.order_id, errand)?;
            let key = order_key(OFFER, number.as_str());
            Plan { warnings, ..Plan::answer(say(Words::Offer(number, details)), vec![key]) }
        }
        Kind::OrderAssign(Assign::Won(offer)) => {
            let text = order_text(kind, errand.profile(), zone).unwrap_or_default();
            let (details, warnings) = shown(&text, errand)?;
            let number = order_number(&offer.order_id, errand)?;
            let key = order_key(WON, number.as_str());
            Plan { warnings, ..Plan::receipt(say(Words::Won(number, details)), key) }
        }
        Kind::OrderAssign(Assign::Lost(id)) => {
            let number = order_number(id, errand)?;
            let key = order_key(LOST, number.as_str());
            Plan::receipt(say(Words::Lost(number)), key)
        }
        Kind::OrderCancel(cancel) => {
            let number = order_number(&cancel.order_id, errand)?;
            let key = order_key(CANCELLED, number.as_str());
            let unsaid = cancel.reason.as_ref().map(|_| "the device has no words for the reason".to_owned());
            Plan { warnings: unsaid.into_iter().collect(), ..Plan::receipt(say(Words::Cancelled(number)), key) }
        }
        Kind::Text(text) => {
            let (words, warnings) = shown(&text.text, errand)?;
            Plan { warnings, ..Plan::receipt(say(Words::Announce(words)), key(ANNOUNCE)) }
        }
        Kind::AlarmConfirm(_) => Plan::receipt(plain(Plain::Silence), key(SILENCE)),
        Kind::Locate(_) => Plan::answer(plain(Plain::Locate), vec![key(LOCATE)]),
        Kind::TakePhoto(photo) => {
            let only = photo.channel.filter(|channel| *channel > 1).map(|_| "the device has one camera".to_owned());
            Plan { warnings: only.into_iter().collect(), ..Plan::answer(plain(Plain::Photo), vec![key(PHOTO)]) }
        }
        Kind::Track(track) if track.interval_s == 0 => Plan::receipt(plain(Plain::StopTracking), key(STOP_TRACKING)),
        Kind::Track(track) => {
            let every = Interval::of_seconds(track.interval_s);
            let every = every.ok_or_else(|| Unfit::Field("interval_s: the longest is 99 hours".to_owned()))?;
            let mut warnings = Vec::new();
            if every.seconds() != track.interval_s {
                warnings.push(format!("interval_s: {} is said", every.seconds()));
            }
            if track.duration_s.is_some() {
                warnings.push("duration_s: the device goes on until it is told otherwise".to_owned());
            }
            let track = say(Words::Track(every, codes));
            // by its letter it is answered by nothing but reports
            let plan = if codes == Codes::Numbers { Plan::receipt(track, key(TRACK)) } else { Plan::blind(track) };
            Plan { warnings, ..plan }
        }
        Kind::Output(output) => {
            let (what, number) = switch(output)?;
            Plan::answer(plain(what), vec![key(number)])
        }
        Kind::SetParameters(set) => {
            let settings = set.values.iter().map(|(name, value)| setting(name, value, codes));
            let settings = settings.collect::<Result<Vec<_>, _>>()?;
            let Some((_, last)) = settings.last() else {
                return Err(Unfit::Field("values: none".to_owned()));
            };
            // the device takes one after the other, so that the answer to the last is that to all
            let keys: Vec<_> = last.iter().copied().map(key).collect();
            let ends = if keys.is_empty() { Confirms::Never } else { Confirms::Receipt };
            let downlinks = settings.into_iter().map(|(words, _)| say(words)).collect();
            Plan { downlinks, keys, ends, ..Plan::raw() }
        }
        _ => return Err(Unfit::Unsupported),
    })
}

/// Text for the screen, and what the outcome should say about it. Lines and the end of a command cannot be shown.
fn shown(text: &str, errand: &Errand<'_>) -> Result<(Text, Vec<String>), Unfit> {
    let charset = errand.profile().charset.unwrap_or(Charset::Ascii);
    let mut bytes = errand.text(text, Charset::Ascii)?;
    for byte in &mut bytes {
        match byte {
            b';' => *byte = b',',
            b'\n' => *byte = b' ',
            _ => {}
        }
    }
    let fitting = within(&bytes, MAX_TEXT, charset);
    let cut = (fitting.len() < bytes.len()).then(|| format!("the text is cut after {} of {} bytes", fitting.len(), bytes.len()));
    let text = Text::new(fitting, MAX_TEXT).ok_or(Unfit::Unsupported)?;
    Ok((text, cut.into_iter().collect()))
}

/// What to say, and the number of its answer.
type Switch = (Plain, u16);

/// What can be switched: name, and the words for `true` and `false`.
const OUTPUTS: &[(&str, Switch, Option<Switch>)] = &[
    ("fuel", (Plain::CutFuel, 109), Some((Plain::RestoreFuel, 110))),
    ("circuit", (Plain::CutFuel, 109), Some((Plain::RestoreFuel, 110))),
    ("armed", (Plain::Arm, 111), Some((Plain::Disarm, 112))),
    ("engine", (Plain::Start, 125), None),
];

fn switch(output: &Output) -> Result<Switch, Unfit> {
    let row = OUTPUTS.iter().find(|(name, ..)| *name == output.name);
    let (_, on, off) = row.ok_or_else(|| {
        let names = OUTPUTS.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ");
        Unfit::Field(format!("name: there are {names}"))
    })?;
    match (output.state, off) {
        (true, _) => Ok(*on),
        (false, Some(off)) => Ok(*off),
        (false, None) => Err(Unfit::Field(format!("state: {} has no other", output.name))),
    }
}

/// Reads the value of a setting into words, and the number of its answer where it has one; `None` if it is none.
type Setting = fn(&Value, Codes) -> Option<(Words, Option<u16>)>;

/// Settings: the number of the command that sets them, name, and how they are read.
const SETTINGS: &[(u32, &str, Setting)] = &[
    // metres between reports
    (103, "track_distance_m", |value, codes| {
        let answer = (codes == Codes::Numbers).then_some(103);
        Some((Words::Distance(whole(value, 1, 9999)?, codes), answer))
    }),
    // metres that a parked car may be moved; 0 is off. The letter has no number behind it: it means 200
    (105, "move_alarm_m", |value, codes| match (whole(value, 0, 9999)?, codes) {
        (0, _) => Some((Plain::NoMoveAlarm.in_codes(codes), Some(106))),
        (200, Codes::Letters) => Some((Plain::MoveAlarm.in_codes(codes), Some(105))),
        (metres, _) => Some((Words::Moved(metres), Some(105))),
    }),
    (107, "speed_alarm_kmh", |value, codes| Some((Words::Speed(whole(value, 1, 999)?, codes), Some(107)))),
    // whole hours, as +08:00
    (108, "time_zone", |value, codes| {
        let offset_s = TimeZone::parse(value.as_str()?)?.offset_s;
        let hours = i8::try_from(offset_s / 3600).ok().filter(|_| offset_s % 3600 == 0)?;
        Some((Words::Zone(hours, codes), Some(108)))
    }),
    (113, "sms_mode", |value, codes| (value == true).then(|| (Plain::SmsMode.in_codes(codes), Some(113)))),
    // two corners as [latitude, longitude, latitude, longitude], or false
    (114, "fence", |value, codes| {
        if value == false {
            return Some((Plain::NoFence.in_codes(codes), (codes == Codes::Numbers).then_some(115)));
        }
        let numbers = value.as_array()?.iter().map(Value::as_f64).collect::<Option<Vec<_>>>()?;
        let [a, b, c, d] = *numbers.as_slice() else { return None };
        Some((Words::Fence([Point::new(a, b)?, Point::new(c, d)?], codes), Some(114)))
    }),
    // the day whose stored reports are wanted, as 2026-03-01, or false
    (116, "upload_day", |value, codes| {
        let answer = |number| (codes == Codes::Numbers).then_some(number);
        if value == false {
            return Some((Plain::NoUpload.in_codes(codes), answer(117)));
        }
        let mut parts = value.as_str()?.splitn(3, '-');
        let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
        let day = Day::new(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)?;
        Some((Words::Upload(day, codes), answer(116)))
    }),
    (118, "less_traffic", |value, codes| {
        let (plain, answer) = if value.as_bool()? { (Plain::LessTraffic, 118) } else { (Plain::FullTraffic, 119) };
        Some((plain.in_codes(codes), Some(answer)))
    }),
    (120, "corner_deg", |value, _| Some((Words::Corners(whole(value, 1, 359)?), Some(120)))),
    // {"number", "latitude", "longitude", "radius_m"}
    (121, "area", |value, _| {
        let area = value.as_object()?;
        let number = |name: &str| area.get(name).and_then(Value::as_f64);
        let place = Point::new(number("latitude")?, number("longitude")?)?;
        let which = u8::try_from(whole(area.get("number")?, 0, 99)?).ok()?;
        Some((Words::Area(place, which, whole(area.get("radius_m")?, 1, 9999)?), Some(121)))
    }),
    // host:port
    (122, "server", |value, _| {
        let (host, port) = value.as_str()?.rsplit_once(':')?;
        let plain = !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-'));
        let host = Text::new(host.as_bytes(), MAX_TEXT).filter(|_| plain)?;
        Some((Words::Server(host, port.parse().ok().filter(|port| *port > 0)?), Some(122)))
    }),
    (123, "vibration_alarm", |value, codes| {
        let (plain, answer) = if value.as_bool()? { (Plain::VibrationAlarm, 123) } else { (Plain::NoVibrationAlarm, 124) };
        Some((plain.in_codes(codes), Some(answer)))
    }),
    // {"line", "text"} of the board of light
    (180, "board", |value, _| {
        let board: &Map<String, Value> = value.as_object()?;
        let line = u8::try_from(whole(board.get("line")?, 3, 99)?).ok()?;
        let text = board.get("text")?.as_str().filter(|text| text.is_ascii())?;
        Some((Words::Board(line, Text::new(text.as_bytes(), crate::gps103::downlink::MAX_BOARD_TEXT)?), Some(180)))
    }),
];

fn whole(value: &Value, least: u16, most: u16) -> Option<u16> {
    let number = value.as_u64().and_then(|n| u16::try_from(n).ok())?;
    (least..=most).contains(&number).then_some(number)
}

/// The settings by number and name.
pub(super) fn parameters() -> Vec<(u32, &'static str)> {
    SETTINGS.iter().map(|(number, name, _)| (*number, *name)).collect()
}

fn setting(name: &str, value: &Value, codes: Codes) -> Result<(Words, Option<u16>), Unfit> {
    let number = name.strip_prefix("0x").and_then(|hex| u32::from_str_radix(hex, 16).ok());
    let row = SETTINGS.iter().find(|(code, known, _)| *known == name || Some(*code) == number);
    let (_, _, read) = row.ok_or_else(|| Unfit::Field(format!("values: there is no `{}`", name.escape_debug())))?;
    read(value, codes).ok_or_else(|| Unfit::Field(format!("values: {name} cannot be {value}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn keys_of_orders_do_not_mind_zeros() {
        assert_eq!(order_key(OFFER, "0000000004711"), order_key(OFFER, "4711"));
        assert_ne!(order_key(OFFER, "A-20260301-01"), order_key(OFFER, "A-20260301-02"));
        assert_ne!(order_key(OFFER, "4711"), order_key(WON, "4711"));
    }

    #[test]
    fn settings_say_what_they_are() {
        let said =
            |name: &str, value: Value, codes| setting(name, &value, codes).map(|(words, answer)| (format!("{words:?}"), answer));
        let letters = |name: &str, value| said(name, value, Codes::Letters);
        assert_eq!(letters("speed_alarm_kmh", json!(80)), Ok(("Speed(80, Letters)".to_owned(), Some(107))));
        assert_eq!(letters("move_alarm_m", json!(200)), Ok(("Plain(MoveAlarm, Letters)".to_owned(), Some(105))));
        assert_eq!(letters("move_alarm_m", json!(300)), Ok(("Moved(300)".to_owned(), Some(105))));
        assert_eq!(letters("move_alarm_m", json!(0)), Ok(("Plain(NoMoveAlarm, Numbers)".to_owned(), Some(106))));
        assert_eq!(letters("time_zone", json!("-05:00")), Ok(("Zone(-5, Letters)".to_owned(), Some(108))));
        assert_eq!(letters("fence", json!(false)), Ok(("Plain(NoFence, Letters)".to_owned(), None)));
        let day = "Upload(Day { year: 2026, month: 3, day: 1 }, Numbers)".to_owned();
        assert_eq!(said("upload_day", json!("2026-03-01"), Codes::Numbers), Ok((day, Some(116))));
        assert_eq!(letters("server", json!("example.com:5001")), Ok(("Server(\"example.com\", 5001)".to_owned(), Some(122))));
        assert_eq!(letters("board", json!({"line": 3, "text": "FREE"})), Ok(("Board(3, \"FREE\")".to_owned(), Some(180))));
        let area = json!({"number": 1, "latitude": 22.5, "longitude": 114.0, "radius_m": 800});
        assert_eq!(letters("area", area).unwrap().1, Some(121));
    }

    #[test]
    fn refuses_settings_that_are_none() {
        for (name, value) in [
            ("nonsense", json!(1)),
            ("speed_alarm_kmh", json!(0)),
            ("speed_alarm_kmh", json!("80")),
            ("time_zone", json!("+05:30")),
            ("sms_mode", json!(false)),
            ("fence", json!([22.5, 114.0])),
            ("fence", json!([99.5, 114.0, 1.0, 1.0])),
            ("upload_day", json!("2026-02-30")),
            ("server", json!("a;b:1")),
            ("server", json!("example.com")),
            ("board", json!({"line": 2, "text": "x"})),
            ("corner_deg", json!(360)),
        ] {
            assert!(matches!(setting(name, &value, Codes::Letters), Err(Unfit::Field(_))), "{name} {value}");
        }
    }

    #[test]
    fn kinds_and_settings_are_named_once_and_in_order() {
        assert!(COMMANDS.is_sorted_by(|a, b| a.0 < b.0));
        assert!(SETTINGS.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(setting("0x006b", &json!(80), Codes::Letters), setting("speed_alarm_kmh", &json!(80), Codes::Letters));
    }
}
