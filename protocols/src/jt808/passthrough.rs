//! 0x0900: bytes of something behind the terminal. Kinds that are understood become what they mean; all others are passed on.

use nom::number::complete::{be_i32, be_u8, be_u16, be_u32};

use super::context::Context;
use super::header::Edition;
use super::message::Content;
use super::{driver, layout, obd, position};
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Data, DataKind, Report, Value};
use crate::fault::Fault;
use crate::parts::text;

static KINDS: &[(u8, &str)] = &[
    (0x00, "gnss"),
    (0x0B, "ic_card"),
    (0x41, "serial_1"),
    (0x42, "serial_2"),
    (0xF7, "peripheral_status"),
    (0xF8, "peripheral_information"),
];

/// Alarms of the OBD record's third subtype.
static OBD_ALARMS: &[(u8, Alarm)] = &[
    (0x01, Alarm::PowerRestored),
    (0x02, Alarm::PowerCut),
    (0x0E, Alarm::Idle),
    (0x1A, Alarm::HardAcceleration),
    (0x1B, Alarm::HardBraking),
    (0x1C, Alarm::HardCornering),
    (0x1D, Alarm::LaneChange),
    (0x1E, Alarm::LaneChange),
    (0x1F, Alarm::LaneChange),
    (0x23, Alarm::Fatigue),
    (0x25, Alarm::Overspeed),
    (0x26, Alarm::Accident),
    (0x27, Alarm::Accident),
    (0x28, Alarm::Accident),
    (0x31, Alarm::Door),
    (0x32, Alarm::Door),
];

/// Events of its subtype 0x15.
static OBD_EVENTS: &[(u32, Alarm)] = &[
    (51, Alarm::HardAcceleration),
    (52, Alarm::HardBraking),
    (53, Alarm::HardCornering),
    (54, Alarm::LaneChange),
    (56, Alarm::Accident),
];

/// The whole body; and whether it holds a time.
pub(super) fn read<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<(Content<'f>, bool), Fault> {
    let kind = c.read("kind", be_u8)?;
    let word = KINDS.iter().find(|(k, _)| *k == kind).map(|(_, word)| *word);
    c.note(|| word.unwrap_or("custom"));
    if context.edition == Edition::V2011 && declares_itself(c.rest()) {
        c.read("total_bytes", be_u32)?;
        c.read("packet_bytes", be_u16)?;
    }
    let body = c.rest();
    // a reading is tried on the side, so that one that does not fit leaves the bytes to be passed on
    let mut probe = Cursor::new(body, c.offset(), None);
    if let Some(understood) = meaning(kind, &mut probe, context) {
        c.take_rest("data");
        return Ok(understood);
    }
    let bytes = c.take_rest("data");
    let mut data = Data::bytes(DataKind::Passthrough, "application/octet-stream");
    data.channel = Some(kind.into());
    data.attributes.set("message", "passthrough");
    if let Some(word) = word {
        data.attributes.set("source", word);
    }
    Ok((Content::Bytes(Box::new(data), bytes), false))
}

/// The lengths in front of the data that only the edition of 2011 has.
fn declares_itself(body: &[u8]) -> bool {
    matches!(body, [_, _, _, _, high, low, data @ ..] if usize::from(u16::from_be_bytes([*high, *low])) == data.len())
}

fn meaning<'f>(kind: u8, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Option<(Content<'f>, bool)> {
    match kind {
        0x40 | 0x41 if is_printable(c.rest()) => Some(said(kind, &text::decode(c.rest(), context.charset))),
        0x53 | 0x54 => sensors(kind, c, context).ok().map(placed),
        0xF0 => obd_record(c, context).ok().map(|(report, has_place)| {
            let dated = report.time.is_some();
            match has_place {
                true => placed(report),
                false if report.alarms.is_empty() => (Content::Status(report), dated),
                false => (Content::Alarm(report), dated),
            }
        }),
        0xFF => plain_position(c, context).ok().map(placed),
        _ => None,
    }
}

fn placed<'f>(report: Box<Report>) -> (Content<'f>, bool) {
    let dated = report.time.is_some();
    (Content::Position(report), dated)
}

fn is_printable(bytes: &[u8]) -> bool {
    !bytes.is_empty() && bytes.iter().all(|b| (0x20..0x7F).contains(b) || matches!(b, 0 | b'\r' | b'\n'))
}

fn said<'f>(kind: u8, said: &str) -> (Content<'f>, bool) {
    if let Some(driver) = driver::swipe(said).filter(|_| kind == 0x40) {
        return (Content::Driver(driver), false);
    }
    let numbers = said.split(',').skip(1).filter(|f| f.trim().parse::<f64>().is_ok()).count();
    // serial port 1 of the standard, or a list of engine values: the list is nearly all numbers
    if kind == 0x41 && numbers >= 3 {
        let mut report = Box::<Report>::default();
        obd::from_text(said, &mut report);
        return (Content::Status(report), false);
    }
    let mut data = Data::text(DataKind::Passthrough, said.to_owned());
    data.channel = Some(kind.into());
    data.attributes.set("message", "passthrough");
    (Content::Data(Box::new(data)), false)
}

/// Kind 0xF0: time, whether stored, vehicle type, subtype. The first three subtypes end with the place, those of stored records
/// with a time behind it: an hour or two later than the record's, in the published ones, so the place is of that time.
fn obd_record(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<(Box<Report>, bool), Fault> {
    let mut report = Box::<Report>::default();
    position::set_time(c.bytes("time", 6)?, &mut report, context);
    report.archived = Some(c.read("archived", be_u8)? > 0);
    report.attributes.set("vehicle_type", c.read("vehicle_type", be_u8)?);
    let subtype = c.read("subtype", be_u8)?;
    report.attributes.set("obd_subtype", subtype);
    match subtype {
        0x01 => {
            let count = c.read("count", be_u8)?;
            obd::set(obd::PASSED, count.into(), c, &mut report, context)?;
        }
        0x02 => report.attributes.set("trouble_codes", trouble_codes(c, context)?),
        0x03 => {
            for _ in 0..c.read("count", be_u8)? {
                let (id, length) = (c.read("alarm_id", be_u8)?, c.read("length", be_u8)?);
                let value = c.bytes("alarm", length.into())?;
                match OBD_ALARMS.iter().find(|(k, _)| *k == id) {
                    Some((_, alarm)) => report.alarms.insert(*alarm),
                    None => report.attributes.set(format!("obd_alarm_{id:02x}"), hex(value)),
                }
            }
        }
        0x0B => {
            if c.read("has_vin", be_u8)? > 0 {
                report.attributes.set("vin", text::decode(c.bytes("vin", 17)?, context.charset));
            }
        }
        0x15 => {
            let event = c.read("event", be_u32)?;
            match OBD_EVENTS.iter().find(|(k, _)| *k == event) {
                Some((_, alarm)) => report.alarms.insert(*alarm),
                None => report.attributes.set("event", event),
            }
        }
        _ => return Err(c.fault_here(crate::fault::FaultKind::Value, "no known subtype")),
    }
    let has_place = matches!(subtype, 0x01..=0x03);
    if has_place {
        position::place(c, &mut report, context)?;
        if let Some(of_place) = context.time(c.rest()).filter(|_| c.remaining() == 6) {
            c.bytes("place_time", 6)?;
            let of_record = report.time.replace(of_place);
            of_record.into_iter().for_each(|time| report.attributes.set("record_time", time.to_string()));
        }
    }
    if c.remaining() > 0 {
        report.attributes.set("rest", hex(c.take_rest("rest")));
    }
    Ok((report, has_place))
}

fn trouble_codes(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Value, Fault> {
    let mut codes = Vec::new();
    for _ in 0..c.read("systems", be_u16)? {
        c.read("system", be_u32)?;
        for _ in 0..c.read("codes", be_u16)? {
            c.read("code", be_u32)?;
            c.read("state", be_u32)?;
            let length = c.read("length", be_u16)?;
            codes.push(Value::from(text::decode(c.bytes("text", length.into())?, context.charset)));
        }
    }
    Ok(Value::List(codes))
}

/// Kinds 0x53 and 0x54: a place, then Bluetooth nodes or samples of sensors.
fn sensors(kind: u8, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Box<Report>, Fault> {
    let mut report = Box::<Report>::default();
    position::place(c, &mut report, context)?;
    position::motion(c, &mut report)?;
    position::set_time(c.bytes("time", 6)?, &mut report, context);
    let mut list = Vec::new();
    if kind == 0x53 {
        report.attributes.set("nodes", c.read("nodes", be_u8)?);
        while c.remaining() > 0 {
            let mut tag = Attributes::default();
            tag.set("index", c.read("index", be_u8)?);
            tag.set("mac", hex(c.bytes("mac", 6)?));
            tag.set("rssi", layout::Num::I8.read(c, "rssi")?);
            let length = c.read("length", be_u8)?;
            tag.set("data", hex(c.bytes("data", length.into())?));
            list.push(Value::from(tag));
        }
        report.attributes.set("tags", Value::List(list));
    } else {
        while c.remaining() > 0 {
            list.push(Value::from(sample(c, context)?));
        }
        report.attributes.set("samples", Value::List(list));
    }
    Ok(report)
}

fn sample(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Attributes, Fault> {
    let mut sample = Attributes::default();
    let mask = c.read("mask", be_u16)?;
    let has = |bit: u8| mask >> bit & 1 == 1;
    let time = c.bytes("time", 6)?;
    sample.set("time", context.time(time).map_or_else(|| hex(time), |t| t.to_string()));
    let tenth = |c: &mut Cursor<'_, '_>, name: &'static str| -> Result<Value, Fault> {
        Ok(Value::from(layout::Num::I16.read(c, name)? as f64 / 10.0))
    };
    if has(0) {
        sample.set("illuminance", c.read("illuminance", be_u16)?);
    }
    if has(1) {
        sample.set("temperature_c", tenth(c, "temperature_0.1_c")?);
        sample.set("humidity_percent", tenth(c, "humidity_0.1_percent")?);
    }
    if has(2) {
        sample.set("probe_temperature_c", tenth(c, "probe_0.1_c")?);
    }
    if has(3) {
        sample.set("acceleration", hex(c.bytes("acceleration", 6)?));
    }
    if has(4) {
        sample.set("air_pressure_hpa", c.read("air_pressure", be_u16)?);
    }
    Ok(sample)
}

/// Kind 0xFF: time, signed degrees, motion; then what is not documented.
fn plain_position(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Box<Report>, Fault> {
    let mut report = Box::<Report>::default();
    position::set_time(c.bytes("time", 6)?, &mut report, context);
    let latitude = f64::from(c.read("latitude_1e-6_deg", be_i32)?) / 1e6;
    let longitude = f64::from(c.read("longitude_1e-6_deg", be_i32)?) / 1e6;
    if report.time.is_none() || !crate::parts::geo::on_earth(latitude, longitude) {
        return Err(c.fault_here(crate::fault::FaultKind::Value, "no position"));
    }
    let somewhere = (latitude, longitude) != (0.0, 0.0);
    report.valid = Some(somewhere);
    if somewhere {
        (report.latitude, report.longitude) = (Some(latitude), Some(longitude));
    }
    position::motion(c, &mut report)?;
    if c.remaining() > 0 {
        report.attributes.set("rest", hex(c.take_rest("rest")));
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn body(bytes: &[u8]) -> (Content<'_>, bool) {
        let profile = Profile::default();
        read(&mut Cursor::new(bytes, 0, None), &Context::new(Edition::V2013, &profile)).unwrap()
    }

    #[test]
    fn accepts_an_obd_record_with_its_place() {
        let bytes = b"\xf0\x26\x03\x01\x18\x00\x00\x01\x02\x03\x01\x02\x00\0\0\0\x03\x02\x60\xe3\x00\x06\xf0\x3a\xd8";
        let (Content::Position(r), true) = body(bytes) else { panic!("no position") };
        assert_eq!((r.latitude, r.archived), (Some(39.904), Some(true)));
        assert!(r.alarms.contains(Alarm::PowerCut));
    }

    #[test]
    fn the_place_of_a_stored_record_has_its_own_time() {
        let bytes =
            b"\xf0\x26\x03\x01\x18\x00\x00\x01\x02\x03\x00\0\0\0\x03\x02\x60\xe3\x00\x06\xf0\x3a\xd8\x26\x03\x01\x19\x00\x00";
        let (Content::Position(r), true) = body(bytes) else { panic!("no position") };
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T11:00:00.000Z");
        assert_eq!(r.attributes.get("record_time"), Some(&"2026-03-01T10:00:00.000Z".into()));
        assert_eq!(r.attributes.get("rest"), None);
    }

    #[test]
    fn accepts_events_without_a_place_as_alarms() {
        let (Content::Alarm(r), true) = body(b"\xf0\x26\x03\x01\x18\x00\x00\x00\x02\x15\0\0\0\x34") else { panic!("no alarm") };
        assert!(r.alarms.contains(Alarm::HardBraking));
        let (Content::Status(_), true) = body(b"\xf0\x26\x03\x01\x18\x00\x00\x00\x02\x15\0\0\0\x01") else { panic!("no status") };
    }

    #[test]
    fn accepts_a_swipe_and_a_list_of_values() {
        assert!(matches!(body(b"\x40GTSL|1|2|3|00123|"), (Content::Driver(d), false) if d.driver_id.as_deref() == Some("00123")));
        assert!(matches!(body(b"\x41$OBD-RT,12.6,850,43"), (Content::Status(r), false) if r.power_v == Some(12.6)));
        assert!(matches!(body(b"\x41hello"), (Content::Data(_), false)));
    }

    #[test]
    fn what_does_not_fit_is_passed_on_whole() {
        for bytes in
            [&b"\xf0\x26"[..], b"\xf0\x26\x03\x01\x18\x00\x00\x01\x02\x99", b"\xff\x00", b"\x53\x00\x01", b"\x42\x01", b"\x00"]
        {
            let (Content::Bytes(data, passed), false) = body(bytes) else { panic!("{bytes:x?}") };
            assert_eq!((data.channel, passed), (Some(bytes[0].into()), &bytes[1..]));
        }
    }

    #[test]
    fn lengths_of_2011_are_not_data() {
        let profile = Profile::default();
        let context = Context::new(Edition::V2011, &profile);
        let (content, _) = read(&mut Cursor::new(b"\x42\0\0\0\x02\0\x02ab", 0, None), &context).unwrap();
        assert!(matches!(content, Content::Bytes(_, b"ab")));
    }
}
