//! From a frame to a message: what the row of its command says.

use crate::cursor::{Cursor, Trace, unhex};
use crate::event::{Data, DataKind};
use crate::fault::{Fault, FaultKind};
use crate::profile::{Charset, Profile, TimeZone};
use crate::tk103::dialect::{Dialect, vehicle_alarm};
use crate::tk103::fields::{pairs, whole};
use crate::tk103::frame::{self, Head, Style, ascii};
use crate::tk103::kinds::{self, Row, Says, Shape};
use crate::tk103::position::{self, Context, Facts, comma, field, marks, number, six, state, text_of};
use crate::tk103::{obd, radio};
use crate::wire::Frame;

/// A message.
#[derive(Debug)]
pub(super) struct Message<'f> {
    pub(super) head: Head<'f>,
    pub(super) content: Content<'f>,
}

/// What a message says.
#[derive(Debug)]
pub(super) enum Content<'f> {
    /// Who it is, at full length if it says so, and perhaps where.
    Login(&'f str, Facts),
    /// Who it is, if it says so, and what follows `HSO`.
    Handshake(&'f str, &'f [u8]),
    /// What it reports.
    Report(Facts),
    /// A report with this alarm digit.
    Alarm(u8, Facts),
    /// A text, values or what nobody has described.
    Data(Box<Data>),
    /// These bytes.
    Bytes(Box<Data>, &'f [u8]),
    /// The number of the vehicle.
    Vin(Facts),
    /// Nothing but that a command was heard; a digit or two say what was set, or how it went.
    Answer(&'f str),
}

pub(super) const HANDSHAKE: &[u8] = b"HSO";
/// Letters and digits of a vehicle identification number (ISO 3779).
const VIN: usize = 17;
/// A level or a voltage that was not measured.
const NO_LEVEL: u64 = 255;
const NO_VOLTAGE: u64 = 65_535;
/// Battery levels of `ZC20`, percent, from 2 on.
const LEVELS: [f64; 5] = [10.0, 20.0, 50.0, 80.0, 100.0];

/// Read a message.
pub(super) fn decode<'f>(frame: &Frame<'f>, profile: &Profile, mut trace: Option<&mut Trace>) -> Result<Message<'f>, Fault> {
    let head = frame::head(frame.content)?;
    let row = kinds::find(head.command);
    if let Some(trace) = &mut trace {
        trace.title = format!("{} {}", head.command, row.title);
        let mut c = Cursor::new(frame.content, 0, Some(trace));
        marks(&mut c, "start", 1);
        marks(&mut c, "id", head.id.len());
        comma(&mut c);
        c.bytes("command", head.command.len())?;
        c.show(|| format!("{}  {}", head.command, row.title));
        let separator = head.at.saturating_sub(c.offset());
        marks(&mut c, "separator", separator);
    }
    let dialect = Dialect::of(profile);
    let context = Context {
        offset_s: profile.time_zone.unwrap_or(TimeZone::UTC).offset_s,
        kmh: dialect.kmh,
        charset: profile.charset.unwrap_or(Charset::Gbk),
    };
    let c = Cursor::new(head.body, head.at, trace.as_deref_mut());
    let content = Reader { c, context, dialect, style: head.style, row }.content(&head)?;
    if let Some(trace) = trace {
        let end = frame.content.len().saturating_sub(1);
        marks(&mut Cursor::new(b")", end, Some(trace)), "end", 1);
    }
    Ok(Message { head, content })
}

struct Reader<'f, 't> {
    c: Cursor<'f, 't>,
    context: Context,
    dialect: &'static Dialect,
    style: Style,
    row: &'static Row,
}

impl<'f> Reader<'f, '_> {
    fn content(mut self, head: &Head<'f>) -> Result<Content<'f>, Fault> {
        match self.row.shape {
            Shape::Login => self.login(),
            Shape::Handshake => self.handshake(),
            Shape::Alarm => self.alarm(),
            Shape::VehicleAlarm => self.vehicle_alarm(),
            Shape::Report => self.report().map(Content::Report),
            Shape::Network => {
                let mut facts = Facts::default();
                radio::cells(&mut self.c, &self.context, &mut facts)?;
                Ok(Content::Report(facts))
            }
            Shape::Battery => self.battery(),
            Shape::Text => self.text(),
            Shape::Vin if head.body.len() == VIN && head.body.iter().all(u8::is_ascii_alphanumeric) => {
                let mut facts = Facts::default();
                let vin = text_of(&mut self.c, "vin", VIN, self.context.charset)?;
                facts.report.attributes.set("vin", vin);
                Ok(Content::Vin(facts))
            }
            Shape::Obd => self.obd(),
            Shape::Controller => {
                let data = Data::bytes(DataKind::Passthrough, "application/octet-stream");
                Ok(self.bytes(data, head))
            }
            Shape::Answer | Shape::Vin => self.answer(head),
            Shape::Unknown => self.unknown(head),
        }
    }

    /// A position block at this offset of the body, with everything behind it.
    fn position(&mut self, at: usize, facts: &mut Facts) -> Result<(), Fault> {
        if at > 0 {
            let prefix = self.c.bytes("prefix", at)?;
            self.c.show(|| ascii(prefix));
        }
        position::read(&mut self.c, self.style, &self.context, facts)
    }

    fn login(&mut self) -> Result<Content<'f>, Fault> {
        let id = self.long_id();
        if self.c.rest().starts_with(HANDSHAKE) {
            return Ok(Content::Handshake(id, self.tail()));
        }
        let mut facts = Facts::default();
        comma(&mut self.c);
        match self.c.rest() {
            [] => {}
            [b'{', ..] => radio::list(&mut self.c, &self.context, &mut facts)?,
            rest => match position::find(rest) {
                Some(0) => self.position(0, &mut facts)?,
                _ => return Err(self.c.fault_here(FaultKind::Value, "neither a position nor cells behind the id")),
            },
        }
        Ok(Content::Login(id, facts))
    }

    /// The id in the body: what stands before a position block, a comma or `HSO`.
    fn long_id(&mut self) -> &'f str {
        let body = self.c.rest();
        let word = body.iter().take_while(|b| b.is_ascii_alphanumeric()).count();
        let handshake = body.windows(HANDSHAKE.len()).position(|w| w == HANDSHAKE);
        let length = word.min(position::find(body).or(handshake).unwrap_or(word));
        if length == 0 {
            return "";
        }
        let id = self.c.bytes("long_id", length).unwrap_or_default();
        self.c.show(|| ascii(id));
        ascii(id)
    }

    fn handshake(&mut self) -> Result<Content<'f>, Fault> {
        if matches!(self.c.rest(), [b'X', b'G' | b'T', ..]) {
            let mut facts = Facts::default();
            position::read_topflytech(&mut self.c, &self.context, &mut facts)?;
            return Ok(Content::Report(facts));
        }
        let id = self.long_id();
        Ok(Content::Handshake(id, self.tail()))
    }

    fn tail(&mut self) -> &'f [u8] {
        if self.c.rest().starts_with(HANDSHAKE) {
            let _ = self.c.bytes("handshake", HANDSHAKE.len());
            self.c.show(|| ascii(HANDSHAKE));
        }
        let tail = self.c.take_rest("timer");
        self.c.show(|| ascii(tail));
        tail
    }

    fn alarm(&mut self) -> Result<Content<'f>, Fault> {
        let fault = self.c.fault_here(FaultKind::Value, "an alarm is not one digit and a position");
        let code = *self.c.bytes("alarm_code", 1)?.first().unwrap_or(&0);
        let alarm = self.dialect.alarm(code);
        self.c.show(|| format!("{}  {}", char::from(code), alarm.map_or("unknown", |a| a.label())));
        let mut facts = Facts::default();
        comma(&mut self.c);
        if !code.is_ascii_digit() || position::find(self.c.rest()) != Some(0) {
            return Err(fault);
        }
        self.position(0, &mut facts)?;
        alarm.into_iter().for_each(|a| facts.report.alarms.insert(a));
        facts.report.attributes.set("alarm_code", code - b'0');
        Ok(Content::Alarm(code - b'0', facts))
    }

    fn vehicle_alarm(&mut self) -> Result<Content<'f>, Fault> {
        comma(&mut self.c);
        if field(&mut self.c, "kind") != b"ALARM" {
            return Err(self.c.fault_here(FaultKind::Value, "no ALARM"));
        }
        let mut facts = Facts::default();
        let code = number(&mut self.c, "alarm_code", 10)?;
        let alarm = vehicle_alarm(code);
        self.c.note(|| alarm.map_or("unknown", |a| a.label()));
        // what was measured when it was raised, in the unit of its kind
        let value = number(&mut self.c, "alarm_value", 10)?;
        match position::find(self.c.rest()) {
            Some(0) => self.position(0, &mut facts)?,
            _ => return Err(self.c.fault_here(FaultKind::Value, "no position behind an alarm")),
        }
        alarm.into_iter().for_each(|a| facts.report.alarms.insert(a));
        facts.report.attributes.set("alarm_code", code);
        facts.report.attributes.set("alarm_value", value);
        Ok(Content::Report(facts))
    }

    fn report(&mut self) -> Result<Facts, Fault> {
        let mut facts = Facts::default();
        match position::find(self.c.rest()) {
            Some(at) => {
                let prefix = self.c.rest().get(..at).unwrap_or_default();
                self.position(at, &mut facts)?;
                self.prefix(prefix, &mut facts);
            }
            None if self.c.remaining() == 0 => {}
            None if self.style == Style::Commas && radio::begins(self.c.rest()) => {
                radio::cells_and_wifi(&mut self.c, &self.context, &mut facts)?;
            }
            None => return Err(self.c.fault_here(FaultKind::Value, "neither a position nor cells")),
        }
        match self.row.says {
            Says::Nothing => {}
            Says::Alarm(alarm) => facts.report.alarms.insert(alarm),
            Says::Ignition(on) => facts.report.ignition = Some(on),
            Says::Trigger(why) => facts.report.attributes.set("trigger", why),
        }
        Ok(facts)
    }

    /// What stands before a position, without the commas around it.
    fn prefix(&self, bytes: &[u8], facts: &mut Facts) {
        let start = bytes.iter().take_while(|b| **b == b',').count();
        let end = bytes.iter().rev().take_while(|b| **b == b',').count();
        if let Some(prefix) = bytes.get(start..bytes.len().saturating_sub(end)).filter(|p| !p.is_empty()) {
            facts.report.attributes.set("prefix", crate::parts::text::decode(prefix, self.context.charset));
        }
    }

    fn battery(&mut self) -> Result<Content<'f>, Fault> {
        let mut facts = Facts::default();
        self.date_and_time(&mut facts)?;
        let level = number(&mut self.c, "battery_level", 10)?;
        let battery = number(&mut self.c, "battery_10mv", 10)?;
        let power = number(&mut self.c, "power_100mv", 10)?;
        let report = &mut facts.report;
        report.battery_percent = level.checked_sub(2).and_then(|n| usize::try_from(n).ok()).and_then(|n| LEVELS.get(n)).copied();
        if level != NO_LEVEL && report.battery_percent.is_none() {
            report.attributes.set("battery_level", level);
        }
        let volts = |n: u64, scale: f64| (n != NO_VOLTAGE).then(|| n as f64 / scale);
        report.battery_v = volts(battery, 100.0);
        report.power_v = volts(power, 10.0);
        if self.c.remaining() > 0 {
            let installed = number(&mut self.c, "installed", 10)?;
            if installed != NO_LEVEL {
                facts.report.attributes.set("installed", installed);
            }
        }
        Ok(Content::Report(facts))
    }

    /// `DDMMYY,hhmmss,` in front of messages that hold no position.
    fn date_and_time(&mut self, facts: &mut Facts) -> Result<(), Fault> {
        let [day, month, year] = six(&mut self.c, "date")?;
        comma(&mut self.c);
        let time = six(&mut self.c, "time")?;
        comma(&mut self.c);
        facts.time([year, month, day], time, &self.context);
        Ok(())
    }

    fn text(&mut self) -> Result<Content<'f>, Fault> {
        let mut facts = Facts::default();
        self.date_and_time(&mut facts)?;
        let quoted = self.c.rest();
        let open = usize::from(quoted.first() == Some(&b'$'));
        let inside = quoted.get(open..).unwrap_or_default();
        let length = inside.iter().position(|b| *b == b'$').unwrap_or(inside.len());
        marks(&mut self.c, "quote", open);
        let words = text_of(&mut self.c, "text", length, self.context.charset)?;
        let rest = self.c.remaining();
        marks(&mut self.c, "quote", rest);
        let data = Data { time: facts.report.time, ..Data::text(DataKind::Text, words) };
        Ok(Content::Data(Box::new(Data { attributes: facts.report.attributes, ..data })))
    }

    /// `,0,` values in hex, time, state.
    fn obd(&mut self) -> Result<Content<'f>, Fault> {
        comma(&mut self.c);
        let kind = number(&mut self.c, "kind", 10)?;
        let fault = self.c.fault_here(FaultKind::Value, "values are not hex");
        let hex = field(&mut self.c, "values");
        let bytes = unhex(ascii(hex)).ok_or(fault)?;
        let mut facts = Facts::default();
        let fault = self.c.fault_here(FaultKind::Value, "a time is not twelve digits");
        let stamp = field(&mut self.c, "time");
        let halves = stamp.first_chunk::<6>().zip(stamp.last_chunk::<6>()).filter(|_| stamp.len() == 12);
        let (date, time) = halves.and_then(|(d, t)| pairs(d).zip(pairs(t))).ok_or(fault)?;
        facts.time(date, time, &self.context);
        if self.c.remaining() == 8 {
            state(&mut self.c, &mut facts)?;
        }
        self.c.take_rest("extra");
        let mut data = Data::values(DataKind::Obd, obd::values(&bytes), bytes.len());
        data.time = facts.report.time;
        data.attributes = facts.report.attributes;
        if let Some(on) = facts.report.ignition {
            data.attributes.set("ignition", on);
        }
        if kind != 0 {
            data.attributes.set("kind", kind);
        }
        Ok(Content::Data(Box::new(data)))
    }

    /// An answer may repeat what it answers, and tell where the device is.
    fn answer(&mut self, head: &Head<'f>) -> Result<Content<'f>, Fault> {
        match position::find(self.c.rest()) {
            Some(_) => {
                let mut facts = self.report()?;
                facts.report.attributes.set("answer", self.row.command);
                Ok(Content::Report(facts))
            }
            None if head.body.len() <= 2 => Ok(Content::Answer(ascii(self.c.take_rest("result")))),
            None => self.words(DataKind::Parameters, head),
        }
    }

    fn unknown(&mut self, head: &Head<'f>) -> Result<Content<'f>, Fault> {
        match position::find(self.c.rest()) {
            Some(_) => {
                let mut facts = self.report()?;
                facts.report.attributes.set("message_type", head.command.to_owned());
                Ok(Content::Report(facts))
            }
            None => self.words(DataKind::Unknown, head),
        }
    }

    fn words(&mut self, kind: DataKind, head: &Head<'f>) -> Result<Content<'f>, Fault> {
        if head.body.is_empty() || !head.body.iter().all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n')) {
            return Ok(self.bytes(Data::bytes(kind, "application/octet-stream"), head));
        }
        let length = self.c.remaining();
        let mut data = Data::text(kind, text_of(&mut self.c, "text", length, self.context.charset)?);
        data.attributes.set("message_type", head.command.to_owned());
        Ok(Content::Data(Box::new(data)))
    }

    fn bytes(&mut self, mut data: Data, head: &Head<'f>) -> Content<'f> {
        data.attributes.set("message_type", head.command.to_owned());
        Content::Bytes(Box::new(data), self.c.take_rest("bytes"))
    }
}

/// Whether `long`, the id at full length, is the one that stands in front of every frame: the same digits, or their end.
pub(super) fn same_device(front: &str, long: &str) -> bool {
    let (front, long) = (front.trim_start_matches('0'), long.trim_start_matches('0'));
    !front.is_empty() && (long.ends_with(front) || front.ends_with(long) && !long.is_empty())
}

/// Whether twelve digits can be `YYMMDDhhmmss`.
pub(super) fn is_time(front: &str) -> bool {
    let number = |at: usize| front.get(at..at + 2).and_then(|d| whole(d.as_bytes(), 10)).unwrap_or(u64::MAX);
    front.len() == 12
        && (1..=12).contains(&number(2))
        && (1..=31).contains(&number(4))
        && number(6) < 24
        && number(8) < 60
        && number(10) < 60
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{Alarm, Value};
    use crate::wire::Checksum;

    fn read(text: &str) -> Result<Message<'_>, Fault> {
        let raw = text.as_bytes();
        decode(&Frame { raw, content: raw, form: 0, checksum: Checksum::Good }, &Profile::default(), None)
    }

    fn report(text: &str) -> Facts {
        match read(text).map(|m| m.content) {
            Ok(Content::Report(facts) | Content::Alarm(_, facts) | Content::Login(_, facts) | Content::Vin(facts)) => facts,
            other => panic!("{text}: {other:?}"),
        }
    }

    fn data(text: &str) -> Data {
        match read(text).map(|m| m.content) {
            Ok(Content::Data(data)) => *data,
            other => panic!("{text}: {other:?}"),
        }
    }

    const BLOCK: &str = "260301A2232.9806N11404.9355E000.1101241323.8700000000L000450AC";

    #[test]
    fn logins() {
        let id = |body: &str| match read(&format!("(013800000001BP05{body})")).map(|m| m.content) {
            Ok(Content::Login(id, facts)) => (id.to_owned(), facts.located, facts.report.cells.len()),
            other => panic!("{other:?}"),
        };
        assert_eq!(id(&format!("000013800000001{BLOCK}")), ("000013800000001".into(), true, 0));
        assert_eq!(id(BLOCK), (String::new(), true, 0));
        assert_eq!(id("000013800000001"), ("000013800000001".into(), false, 0));
        assert_eq!(id("000013800000001,{460,1,28101,3101}\n,01000000"), ("000013800000001".into(), false, 1));
        assert_eq!(id(""), (String::new(), false, 0));
        assert!(read("(013800000001BP05000013800000001#)").is_err());
        assert!(report("(013800000001,BP05,010326,A,2234.0297N,11405.9101E,4.80,112825,155.49)").located);
    }

    #[test]
    fn handshakes() {
        let said = |text: &'static str| match read(text).map(|m| m.content) {
            Ok(Content::Handshake(id, tail)) => (id, tail),
            other => panic!("{other:?}"),
        };
        assert_eq!(said("(013800000001BP00013800000001HSO01A4)"), ("013800000001", &b"01A4"[..]));
        assert_eq!(said("(013800000001BP00HSO)"), ("", &b""[..]));
        assert_eq!(said("(013800000001BP00000013800000001)"), ("000013800000001", &b""[..]));
        assert_eq!(said("(013800000001BP05000013800000001HSO)"), ("000013800000001", &b""[..]));
    }

    #[test]
    fn alarms() {
        let facts = report(&format!("(013800000001BO012{BLOCK})"));
        assert_eq!(facts.report.alarms.iter().collect::<Vec<_>>(), [Alarm::Sos]);
        let facts = report(&format!("(013800000001BO019{BLOCK})"));
        assert!(facts.report.alarms.is_empty());
        assert_eq!(facts.report.attributes.get("alarm_code"), Some(&Value::Int(9)));
        let facts = report(&format!("(013800000001BQ81,ALARM,1,121,{BLOCK})"));
        assert_eq!(facts.report.alarms.iter().collect::<Vec<_>>(), [Alarm::Overspeed]);
        assert_eq!(facts.report.attributes.get("alarm_value"), Some(&Value::Int(121)));
        for bad in ["BO01x", "BO01", "BQ81,ALARM,1,", "BQ81,NOTE,1,121,"] {
            assert!(read(&format!("(013800000001{bad}{BLOCK})")).is_err(), "{bad}");
        }
    }

    #[test]
    fn reports_say_what_their_command_says() {
        let text = |command: &str| format!("(861200000000012,{command},010326,A,2234.0297N,11405.9101E,4.80,112825,155.49)");
        assert!(report(&text("ZC17")).report.alarms.contains(Alarm::Removed));
        assert_eq!(report(&text("ZC16")).report.ignition, Some(false));
        assert!(report(&text("ZC19")).located);
        let facts = report("(861200000000012,DW5E,460,1,28101,3101,0,010326,102211)");
        assert!(!facts.located && facts.report.alarms.contains(Alarm::Sos));
        let facts = report(&format!("(013800000001BR01{BLOCK})"));
        assert_eq!(facts.report.attributes.get("trigger"), Some(&Value::Text("distance".into())));
        let facts = report("(861200000000012BP02,G,2,260301A2215.7466N11401.8460E001.709445592.159,7)");
        assert_eq!(facts.report.attributes.get("prefix"), Some(&Value::Text("G,2".into())));
        assert_eq!((facts.report.speed_kmh, facts.report.course_deg), (Some(1.7), Some(92.159)));
        assert!(read("(013800000001BR00260301)").is_err());
    }

    #[test]
    fn battery_levels() {
        let r = report("(861200000000012,ZC20,010326,144222,6,391,65535,255)").report;
        assert_eq!((r.battery_percent, r.battery_v, r.power_v), (Some(100.0), Some(3.91), None));
        let r = report("(861200000000012,ZC20,010326,144222,1,419,113,0)").report;
        assert_eq!((r.battery_percent, r.power_v), (None, Some(11.3)));
        assert_eq!(r.attributes.get("battery_level"), Some(&Value::Int(1)));
        assert!(read("(861200000000012,ZC20,010326,144222,6,392)").is_err());
    }

    #[test]
    fn texts_and_values() {
        let text = data("(861200000000012,ZC03,010326,234207,$a (b)\r\nc$)");
        assert_eq!(text.time.unwrap().to_string(), "2026-03-01T23:42:07.000Z");
        assert_eq!(serde_json::to_value(&text).unwrap()["text"], "a (b)\r\nc");
        let values = data("(013800000001BQ86,0,055a0d32,260301005232,01000001)");
        assert_eq!(serde_json::to_value(&values).unwrap()["values"], serde_json::json!({"coolant_c": 50.0, "obd_speed_kmh": 50.0}));
        assert_eq!(values.attributes.get("ignition"), Some(&Value::Bool(true)));
        assert!(read("(013800000001BQ86,0,055,260301005232,01000001)").is_err());
        assert!(read("(013800000001BQ86,0,05,26030100523,01000001)").is_err());
        let r = report("(013800000001BV00LTESTTAXI00000001)").report;
        assert_eq!(r.attributes.get("vin"), Some(&Value::Text("LTESTTAXI00000001".into())));
    }

    #[test]
    fn answers_and_the_unknown() {
        assert!(matches!(read("(013800000001BT00)").unwrap().content, Content::Answer("")));
        assert!(matches!(read("(013800000001BV001)").unwrap().content, Content::Answer("1")));
        let r = report(&format!("(013800000001BV011{BLOCK})")).report;
        assert_eq!(r.attributes.get("answer"), Some(&Value::Text("BV01".into())));
        assert_eq!(r.attributes.get("prefix"), Some(&Value::Text("1".into())));
        assert_eq!(data("(013800000001BP03GSM:21)").kind, DataKind::Parameters);
        assert_eq!(data("(013800000001BX99hello)").attributes.get("message_type"), Some(&Value::Text("BX99".into())));
        assert!(matches!(read("(013800000001BS50\u{1}\u{2})").unwrap().content, Content::Bytes(_, b"\x01\x02")));
    }

    #[test]
    fn ids_that_are_times() {
        assert!(same_device("013800000001", "000013800000001"));
        assert!(same_device("000000000012", "861200000000012"));
        assert!(!same_device("040331141830", "000013800000001"));
        assert!(!same_device("000000000000", "000013800000001"));
        assert!(is_time("260301100000"));
        for none in ["261301100000", "260301240000", "26030110000x", "2603011000"] {
            assert!(!is_time(none), "{none}");
        }
    }
}
