//! Commands in the protocol's words, and what answers them.
//!
//! Frames carry no serial number: an answer names the command that it is to, and means the last one of that name. There is no
//! word for a text or an order, so those are `unsupported`; a taxi with such a box answers with its alarm button at best.

use serde_json::Value;

use crate::command::{AlarmConfirm, Command, Kind, Output, QueryParameters, SetParameters, Track};
use crate::desk::{Confirms, Key, Plan, Unfit};
use crate::event::Alarms;
use crate::tk103::dialect::Dialect;
use crate::tk103::downlink::{Downlink, Order, Short, Sms2, Words};

/// What can be said, and what the device says to it at best.
pub(super) const COMMANDS: &[(&str, Confirms)] = &[
    ("alarm_confirm", Confirms::Never),
    ("locate", Confirms::Answer),
    ("reboot", Confirms::Receipt),
    ("track", Confirms::Receipt),
    ("output", Confirms::Receipt),
    ("set_parameters", Confirms::Receipt),
    ("query_parameters", Confirms::Answer),
    ("raw", Confirms::Never),
];

/// What a unit's text says, whatever it was asked with.
pub(super) const TEXT: &str = "ZC03";

/// The key of an answer: its second letter and its number.
pub(super) fn key(answer: &str) -> Key {
    let letter = answer.as_bytes().get(1).copied().unwrap_or_default();
    let number = answer.get(2..).and_then(|n| u8::from_str_radix(n, 16).ok()).unwrap_or_default();
    Key { kind: u16::from_be_bytes([letter, number]), number: 0 }
}

/// Put a command into words for who has `front` in front of its frames.
pub(super) fn plan(command: &Command, front: Short, dialect: &Dialect) -> Result<Plan<Downlink>, Unfit> {
    if dialect.sms2 {
        return short_message(&command.kind);
    }
    let round = |order| Downlink::Round(front, order);
    match &command.kind {
        Kind::Locate(_) => Ok(Plan::answer(round(Order::Locate), vec![key("BP04")])),
        Kind::Reboot(_) => Ok(Plan::receipt(round(Order::Restart), key("BT00"))),
        Kind::Track(track) => {
            let (order, warnings) = tracking(track)?;
            Ok(Plan { warnings, ..Plan::receipt(round(order), key("BS08")) })
        }
        Kind::Output(output) => {
            let (order, answer) = switch(output)?;
            Ok(Plan::receipt(round(order), key(answer)))
        }
        Kind::AlarmConfirm(confirm) => {
            let downlinks: Vec<_> = alarm_codes(confirm, dialect).map(|code| round(Order::Alarm(code))).collect();
            let first = downlinks.first().cloned().ok_or_else(|| Unfit::Field("alarms: none of them has a digit here".into()))?;
            Ok(Plan { downlinks, ..Plan::blind(first) })
        }
        Kind::SetParameters(set) => settings(set, front),
        Kind::QueryParameters(query) => {
            let (order, answer) = question(query)?;
            Ok(Plan::answer(round(order), vec![key(answer), key(TEXT)]))
        }
        _ => Err(Unfit::Unsupported),
    }
}

/// The words of a short message; units that know them answer none of these.
fn short_message(kind: &Kind) -> Result<Plan<Downlink>, Unfit> {
    let blind = |words| Ok(Plan::blind(Downlink::Sms2(words)));
    match kind {
        Kind::Locate(_) => blind(Sms2::Locate),
        Kind::Reboot(_) => blind(Sms2::Reset),
        Kind::Track(track) if track.interval_s == 0 => blind(Sms2::TrackOff),
        Kind::Track(_) => {
            let warnings = vec!["the device has one way to track: interval and duration are its own".to_owned()];
            Ok(Plan { warnings, ..Plan::blind(Downlink::Sms2(Sms2::Track)) })
        }
        Kind::QueryParameters(query) => match query.names.as_deref() {
            Some([name]) if name != "version" => Err(no_parameter(name)),
            Some([_, _, ..]) => Err(one_at_a_time()),
            _ => Ok(Plan::answer(Downlink::Sms2(Sms2::About), vec![key(TEXT)])),
        },
        Kind::SetParameters(set) => {
            let words = set.values.iter().map(|(name, value)| short_setting(name, value));
            let mut words = words.collect::<Result<Vec<_>, _>>()?;
            // nothing is heard after that
            words.sort_by_key(|word| *word == Sms2::TurnOff);
            several(words.into_iter().map(Downlink::Sms2).collect())
        }
        _ => Err(Unfit::Unsupported),
    }
}

fn short_setting(name: &str, value: &Value) -> Result<Sms2, Unfit> {
    let text = value.as_str().unwrap_or_default();
    let found = match name {
        "sos" => value.as_bool().map(Sms2::Sos),
        "sleep" => value.as_u64().and_then(|n| u8::try_from(n).ok()).filter(|n| *n < 10).map(Sms2::Sleep),
        "power" => value.as_bool().filter(|on| !on).map(|_| Sms2::TurnOff),
        "server" => text.parse().ok().map(|server: std::net::SocketAddrV4| Sms2::Server(*server.ip(), server.port())),
        "master" => text
            .split_once(',')
            .and_then(|(password, phone)| Some(Sms2::Master { password: Words::single(password)?, phone: Words::single(phone)? })),
        _ => return Err(no_parameter(name)),
    };
    found.ok_or_else(|| not_this(name))
}

/// Interval in seconds, 16 bits; duration in hours and minutes, nothing for until changed. An interval of 0 ends it.
fn tracking(track: &Track) -> Result<(Order, Vec<String>), Unfit> {
    let Ok(interval_s) = u16::try_from(track.interval_s) else {
        return Err(Unfit::Field(format!("interval_s: at most {} here", u16::MAX)));
    };
    let minutes = track.duration_s.unwrap_or_default().div_ceil(60);
    let warnings = match track.duration_s {
        Some(0) => return Err(Unfit::Field("duration_s: 0 would be until changed here".to_owned())),
        Some(s) if s % 60 != 0 => vec![format!("duration_s: rounded up to {minutes} minutes")],
        _ => Vec::new(),
    };
    let Ok(hours) = u8::try_from(minutes / 60) else {
        return Err(Unfit::Field(format!("duration_s: at most {} hours here", u8::MAX)));
    };
    let minutes = u8::try_from(minutes % 60).unwrap_or_default();
    let stop = interval_s == 0;
    let order = Order::Track { interval_s, hours: if stop { 0 } else { hours }, minutes: if stop { 0 } else { minutes } };
    Ok((order, warnings))
}

/// Oil is documented: 0 cuts, 1 gives back. The circuit has the same form, and its number is taken the same way.
fn switch(output: &Output) -> Result<(Order, &'static str), Unfit> {
    let number = u8::from(!output.state);
    match output.name.as_str() {
        "fuel" => Ok((Order::Oil(number), "BV01")),
        "circuit" => Ok((Order::Circuit(number), "BV00")),
        _ => Err(Unfit::Unsupported),
    }
}

/// The digits of these alarms, or all of them.
fn alarm_codes(confirm: &AlarmConfirm, dialect: &Dialect) -> impl Iterator<Item = u8> {
    let wanted: Option<Alarms> = confirm.alarms;
    (0..=9).filter(move |code| dialect.alarm(b'0' + code).is_some_and(|alarm| wanted.is_none_or(|wanted| wanted.contains(alarm))))
}

/// `mileage_m` can be set to 0; what else can be set is the body of a command, as the maker's manual has it.
fn settings(set: &SetParameters, front: Short) -> Result<Plan<Downlink>, Unfit> {
    let setting = |(name, value): (&String, &Value)| match name.as_str() {
        "mileage_m" if value.as_f64() == Some(0.0) => Ok(Order::ClearMileage),
        "mileage_m" => Err(Unfit::Field("mileage_m: only 0 can be set".to_owned())),
        // `AP03` and the like are no settings
        "AP07" | "AP11" | "AP12" | "AP15" => value.as_str().and_then(|body| Order::read(name, body)).ok_or_else(|| not_this(name)),
        _ if name.starts_with("AA") => value.as_str().and_then(|body| Order::read(name, body)).ok_or_else(|| not_this(name)),
        _ => Err(no_parameter(name)),
    };
    let orders = set.values.iter().map(setting).collect::<Result<Vec<_>, _>>()?;
    match &orders[..] {
        [limits @ Order::SpeedLimits(_)] => Ok(Plan::receipt(Downlink::Round(front, limits.clone()), key("BP12"))),
        _ => several(orders.into_iter().map(|order| Downlink::Round(front, order)).collect()),
    }
}

/// Several frames that nothing answers.
fn several(downlinks: Vec<Downlink>) -> Result<Plan<Downlink>, Unfit> {
    let first = downlinks.first().cloned().ok_or_else(|| Unfit::Field("values: nothing to set".to_owned()))?;
    Ok(Plan { downlinks, ..Plan::blind(first) })
}

fn question(query: &QueryParameters) -> Result<(Order, &'static str), Unfit> {
    match query.names.as_deref() {
        None | Some([]) => Ok((Order::ReadParameters, "BP02")),
        Some([name]) => match name.as_str() {
            "parameters" => Ok((Order::ReadParameters, "BP02")),
            "status" => Ok((Order::ReadStatus, "BP03")),
            "version" => Ok((Order::Version(Words::default()), "BP07")),
            "phones" => Ok((Order::ReadPhones, "BP17")),
            _ => Err(no_parameter(name)),
        },
        Some(_) => Err(one_at_a_time()),
    }
}

fn no_parameter(name: &str) -> Unfit {
    Unfit::Field(format!("there is no parameter `{}`", name.escape_debug()))
}

fn not_this(name: &str) -> Unfit {
    Unfit::Field(format!("{name}: this value cannot be set"))
}

fn one_at_a_time() -> Unfit {
    Unfit::Field("names: one at a time, answers do not say what they are to".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::command::CommandId;
    use crate::identity::DeviceId;
    use crate::profile::Profile;
    use crate::time::Timestamp;
    use serde_json::json;

    fn planned(dialect: &str, kind: &str, content: Value) -> Result<(String, Confirms, Vec<String>), Unfit> {
        let kind = serde_json::from_value(json!({kind: content})).unwrap();
        let command = Command {
            id: CommandId::new("c-1").unwrap(),
            device_id: DeviceId::normalise("13800000001").unwrap(),
            deadline: Timestamp::from_seconds(0),
            kind,
        };
        let profile = Profile { dialect: Some(dialect.into()), ..Profile::default() };
        let plan = plan(&command, Short::new(b"013800000001"), Dialect::of(&profile))?;
        let mut out = Vec::new();
        plan.downlinks.iter().for_each(|d| crate::tk103::downlink::encode(d, &mut out));
        Ok((String::from_utf8(out).unwrap(), plan.ends, plan.warnings))
    }

    fn says(dialect: &str, kind: &str, content: Value) -> String {
        planned(dialect, kind, content).unwrap().0
    }

    #[test]
    fn commands_in_round_brackets() {
        let says = |kind, content| says("", kind, content);
        assert_eq!(says("locate", json!({})), "(013800000001AP00)");
        assert_eq!(says("reboot", json!({})), "(013800000001AT00)");
        assert_eq!(says("track", json!({"interval_s": 60})), "(013800000001AR00003C0000)");
        assert_eq!(says("track", json!({"interval_s": 30, "duration_s": 5400})), "(013800000001AR00001E011E)");
        assert_eq!(says("track", json!({"interval_s": 0, "duration_s": 60})), "(013800000001AR0000000000)");
        assert_eq!(says("output", json!({"name": "fuel", "state": true})), "(013800000001AV010)");
        assert_eq!(says("output", json!({"name": "circuit", "state": false})), "(013800000001AV001)");
        assert_eq!(says("alarm_confirm", json!({"alarms": ["sos", "overspeed"]})), "(013800000001AS012)(013800000001AS015)");
        assert_eq!(says("alarm_confirm", json!({})).matches("AS01").count(), 8);
        assert_eq!(says("set_parameters", json!({"values": {"mileage_m": 0}})), "(013800000001AX01)");
        assert_eq!(says("set_parameters", json!({"values": {"AP12": "078000"}})), "(013800000001AP12078000)");
        assert_eq!(says("query_parameters", json!({})), "(013800000001AP03)");
        assert_eq!(says("query_parameters", json!({"names": ["version"]})), "(013800000001AP07)");
    }

    #[test]
    fn commands_as_short_messages() {
        let says = |kind, content| says("sms2", kind, content);
        assert_eq!(says("locate", json!({})), "[begin]sms2,*getposl*,[end]");
        assert_eq!(says("reboot", json!({})), "[begin]sms2,88888888,[end]");
        assert_eq!(says("track", json!({"interval_s": 30})), "[begin]sms2,*routetrack*99*,[end]");
        assert_eq!(says("track", json!({"interval_s": 0})), "[begin]sms2,*routetrackoff*,[end]");
        assert_eq!(says("query_parameters", json!({})), "[begin]sms2,*about*,[end]");
        let set = says("set_parameters", json!({"values": {"server": "192.0.2.1:5002", "sos": true}}));
        assert_eq!(set, "[begin]sms2,*setip*192*0*2*1*5002*,[end][begin]sms2,*soson*,[end]");
        assert_eq!(
            says("set_parameters", json!({"values": {"master": "123456,13800000002"}})),
            "[begin]sms2,*master*123456*13800000002*,[end]"
        );
    }

    #[test]
    fn what_was_changed_is_told() {
        let (frame, ends, warnings) = planned("", "track", json!({"interval_s": 30, "duration_s": 90})).unwrap();
        assert_eq!((frame.as_str(), ends, warnings.len()), ("(013800000001AR00001E0002)", Confirms::Receipt, 1));
        assert_eq!(planned("sms2", "track", json!({"interval_s": 30})).unwrap().2.len(), 1);
    }

    #[test]
    fn refuses_what_cannot_be_said() {
        for (kind, content) in [
            ("text", json!({"text": "x"})),
            ("call", json!({"phone": "13800000002"})),
            ("output", json!({"name": "doors", "state": true})),
            ("raw", json!({"hex": "2829"})),
        ] {
            for dialect in ["", "sms2"] {
                assert_eq!(planned(dialect, kind, content.clone()), Err(Unfit::Unsupported), "{kind}");
            }
        }
        for (dialect, kind, content) in [
            ("", "track", json!({"interval_s": 65536})),
            ("", "track", json!({"interval_s": 30, "duration_s": 0})),
            ("", "track", json!({"interval_s": 30, "duration_s": 921_660})),
            ("", "alarm_confirm", json!({"alarms": ["tow"]})),
            ("", "set_parameters", json!({"values": {}})),
            ("", "set_parameters", json!({"values": {"mileage_m": 5}})),
            ("", "set_parameters", json!({"values": {"AP12": "a)b"}})),
            ("", "set_parameters", json!({"values": {"AP05": ""}})),
            ("", "query_parameters", json!({"names": ["apn"]})),
            ("", "query_parameters", json!({"names": ["status", "version"]})),
            ("sms2", "set_parameters", json!({"values": {"server": "example.com:5002"}})),
            ("sms2", "set_parameters", json!({"values": {"power": true}})),
            ("sms2", "query_parameters", json!({"names": ["status"]})),
        ] {
            assert!(matches!(planned(dialect, kind, content.clone()), Err(Unfit::Field(_))), "{kind} {content}");
        }
    }

    #[test]
    fn keys_differ() {
        let answers = ["BP02", "BP03", "BP04", "BP07", "BP12", "BP17", "BS08", "BT00", "BV00", "BV01", TEXT];
        for (i, one) in answers.iter().enumerate() {
            assert!(answers[..i].iter().all(|other| key(other) != key(one)), "{one}");
        }
    }
}
