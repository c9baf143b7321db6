//! Items whose value is more than one number: the standard's few, then those of trackers and locks.

use nom::number::complete::{be_i8, be_u8, be_u16, be_u32};

use super::context::Context;
use super::layout::Num;
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Report, Value};
use crate::fault::Fault;
use crate::parts::geo::round;
use crate::parts::text;

type Read = Result<(), Fault>;
type Bytes<'a, 't> = Cursor<'a, 't>;

/// 0x02. Fuel in 0.1 L; some makers set the top bit and mean percent.
pub(super) fn fuel(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let n = c.read("fuel", be_u16)?;
    match n & 0x8000 {
        0 => report.attributes.set("fuel_l", f64::from(n) / 10.0),
        _ => report.attributes.set("fuel_percent", n & 0x7FFF),
    }
    Ok(())
}

/// 0x05. One byte a tyre from the front, left to right; 0xFF: no tyre.
pub(super) fn tyre_pressures(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let tyres = c.take_rest("tyre_pressures");
    let fitted = tyres.iter().rposition(|p| *p != 0xFF).map_or(0, |n| n + 1);
    let list = tyres.iter().take(fitted).map(|p| Value::from(*p)).collect();
    report.attributes.set("tyre_pressures", Value::List(list));
    Ok(())
}

static AREA_KINDS: [&str; 5] = ["none", "circle", "rectangle", "polygon", "route"];

fn area_kind(c: &mut Bytes<'_, '_>) -> Result<Value, Fault> {
    let kind = c.read("area_kind", be_u8)?;
    Ok(AREA_KINDS.get(usize::from(kind)).map_or_else(|| kind.into(), |k| (*k).into()))
}

/// 0x11.
pub(super) fn overspeed_area(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut area = Attributes::default();
    area.set("kind", area_kind(c)?);
    area.set("id", c.read("area_id", be_u32)?);
    report.attributes.set("overspeed_area", area);
    Ok(())
}

/// 0x12. The direction makes the fence alarm of the alarm word a certain one.
pub(super) fn area_crossing(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut area = Attributes::default();
    area.set("kind", area_kind(c)?);
    area.set("id", c.read("area_id", be_u32)?);
    let direction = c.read("direction", be_u8)?;
    match direction {
        0 => report.alarms.insert(Alarm::GeofenceEnter),
        1 => report.alarms.insert(Alarm::GeofenceExit),
        _ => {}
    }
    area.set(
        "direction",
        match direction {
            0 => Value::from("in"),
            1 => Value::from("out"),
            n => Value::from(n),
        },
    );
    report.attributes.set("area_crossing", area);
    Ok(())
}

/// 0x13. One table of the 2011 edition gives the result two bytes.
pub(super) fn segment_time(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut segment = Attributes::default();
    segment.set("id", c.read("segment_id", be_u32)?);
    segment.set("driving_s", c.read("driving_s", be_u16)?);
    let result = if c.remaining() == 2 { c.read("result", be_u16)? } else { c.read("result", be_u8)?.into() };
    segment.set(
        "result",
        match result {
            0 => Value::from("too_short"),
            1 => Value::from("too_long"),
            n => Value::from(n),
        },
    );
    report.attributes.set("segment_time", segment);
    Ok(())
}

/// 0x18. Two bytes in the item table, three in the detail table of JT/T 1078.
pub(super) fn abnormal_driving(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let bits = c.read("abnormal_driving", be_u16)?;
    let set = super::layout::flags(bits.into(), &["fatigue", "phone", "smoking"]);
    report.attributes.set("abnormal_driving", Value::List(set));
    if bits & 1 != 0 {
        report.alarms.insert(Alarm::Fatigue);
    }
    if c.remaining() > 0 {
        report.attributes.set("fatigue_degree", c.read("fatigue_degree", be_u8)?);
    }
    Ok(())
}

/// 0x2B, 0xA7. Two analogue inputs, the first in the low half.
pub(super) fn analog(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let (high, low) = (c.read("analog_1", be_u16)?, c.read("analog_0", be_u16)?);
    report.attributes.set("analog_0", low);
    report.attributes.set("analog_1", high);
    Ok(())
}

/// 0x0B. A lock's command, then a card (5 or 6 bytes in all) or a password of six characters, then the result.
pub(super) fn lock(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let length = c.remaining();
    let mut lock = Attributes::default();
    lock.set("command", c.read("command", be_u8)?);
    match length {
        5 | 6 => lock.set("card", c.read("card", be_u32)?),
        7 | 8 => lock.set("password", text::decode(c.bytes("password", 6)?, context.charset)),
        _ => {}
    }
    if length.is_multiple_of(2) {
        lock.set("result", c.read("result", be_u8)?);
    }
    report.attributes.set("lock", lock);
    Ok(())
}

/// 0x33 as text. `*M00,45,…` carries the battery in 0.01 V behind the second comma's first two digits.
pub(super) fn lock_text(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let said = text::decode(c.take_rest("lock_text"), context.charset);
    let volts = said.strip_prefix("*M00,").and_then(|_| said.get(10..13)).and_then(|digits| digits.parse::<u16>().ok());
    report.battery_v = volts.map(|v| f64::from(v) / 100.0).or(report.battery_v);
    report.attributes.set("lock_text", said);
    Ok(())
}

/// 0x51. Sign and magnitude in 0.1 °C; 0xFFFF: no sensor.
pub(super) fn temperatures(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut list = Vec::new();
    while c.remaining() >= 2 {
        let n = Num::S16.read(c, "temperature_0.1_c")?;
        list.push(if n == -0x7FFF { Value::from("none") } else { Value::from(n as f64 / 10.0) });
    }
    report.attributes.set("temperatures_c", Value::List(list));
    Ok(())
}

/// 0x56. Level in tenths of full, then a reserved byte.
pub(super) fn battery_tenths(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.battery_percent = Some(f64::from(c.read("battery_tenths", be_u8)?) * 10.0);
    c.bytes("reserve", 1).map(|_| ())
}

/// 0x57. Behaviour bits, switch states, more alarm bits (16: door).
pub(super) fn behaviour(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let bits = c.read("behaviour_bits", be_u16)?;
    let switches = c.read("switch_bits", be_u16)?;
    let alarms = c.read("extended_alarm_bits", be_u32)?;
    let known = [(8, Alarm::HardAcceleration), (9, Alarm::HardBraking), (10, Alarm::HardCornering)];
    known.iter().filter(|(bit, _)| bits >> bit & 1 == 1).for_each(|(_, alarm)| report.alarms.insert(*alarm));
    if alarms >> 16 & 1 == 1 {
        report.alarms.insert(Alarm::Door);
    }
    for (name, bits) in [("behaviour_bits", bits.into()), ("switch_bits", switches.into()), ("extended_alarm_bits", alarms)] {
        if bits != 0 {
            report.attributes.set(name, bits);
        }
    }
    Ok(())
}

/// 0x60. Events 0x61 to 0x66 name a lock and a card behind it.
pub(super) fn lock_event(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let mut event = Attributes::default();
    event.set("event", c.read("event", be_u16)?);
    if c.remaining() > 8 {
        event.set("lock", hex(c.bytes("lock_id", c.remaining() - 8)?));
    }
    if c.remaining() > 0 {
        event.set("card", text::decode(c.take_rest("card"), context.charset));
    }
    report.attributes.set("lock_event", event);
    Ok(())
}

/// 0x63. Locks of eleven bytes.
pub(super) fn sub_locks(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut list = Vec::new();
    while c.remaining() >= 11 {
        let mut lock = Attributes::default();
        lock.set("id", hex(c.bytes("lock_id", 6)?));
        lock.set("battery_v", f64::from(c.read("battery_mv", be_u16)?) / 1000.0);
        lock.set("sealed", c.read("seal", be_u8)? == b'1');
        lock.set("state", c.read("state", be_u8)?);
        lock.set("rssi", c.read("rssi", be_u8)?);
        list.push(Value::from(lock));
    }
    report.attributes.set("locks", Value::List(list));
    Ok(())
}

/// 0x77. Tyres of eight bytes.
pub(super) fn tyres(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut list = Vec::new();
    while c.remaining() >= 8 {
        let mut tyre = Attributes::default();
        tyre.set("index", c.read("tyre", be_u8)?);
        tyre.set("sensor", hex(c.bytes("sensor", 3)?));
        tyre.set("pressure_raw", c.read("pressure", be_u16)?);
        tyre.set("temperature_c", i64::from(c.read("temperature", be_u8)?) - 50);
        tyre.set("status", c.read("status", be_u8)?);
        list.push(Value::from(tyre));
    }
    report.attributes.set("tyres", Value::List(list));
    Ok(())
}

/// 0xD0. Bit 3: vibration.
pub(super) fn user_status(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let bits = c.read("user_status_bits", be_u32)?;
    if bits >> 3 & 1 == 1 {
        report.alarms.insert(Alarm::Vibration);
    }
    report.attributes.set("user_status_bits", bits);
    Ok(())
}

/// 0xD4, 0xE1, 0xE9 of one byte. Percent; 0xFF: on the charger.
pub(super) fn battery_or_charging(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    match c.read("battery_percent", be_u8)? {
        0xFF => report.attributes.set("charging", true),
        n => report.battery_percent = Some(n.into()),
    }
    Ok(())
}

/// Whether a value is a count and so many locks of thirteen bytes.
pub(super) fn is_lock_list(value: &[u8]) -> bool {
    matches!(value, [n, rest @ ..] if *n > 0 && rest.len() == 13 * usize::from(*n))
}

/// 0xD5.
pub(super) fn lock_list(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("count", be_u8)?;
    let mut list = Vec::new();
    while c.remaining() > 0 {
        let mut lock = Attributes::default();
        lock.set("id", hex(c.bytes("lock_id", 5)?));
        lock.set("card", hex(c.bytes("card", 5)?));
        lock.set("battery_percent", c.read("battery_percent", be_u8)?);
        let status = c.read("status_bits", be_u16)?;
        lock.set("locked", status >> 5 & 1 == 0);
        lock.set("status_bits", status);
        list.push(Value::from(lock));
    }
    report.attributes.set("locks", Value::List(list));
    Ok(())
}

/// 0xDA. How often the string was cut, and the state bits.
pub(super) fn string_lock(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.attributes.set("string_cuts", c.read("string_cuts", be_u16)?);
    let bits = c.read("string_lock_bits", be_u8)?;
    for (bit, name) in [(0, "string_inserted"), (2, "moving"), (3, "cover_open")] {
        report.attributes.set(name, bits >> bit & 1 == 1);
    }
    report.attributes.set("string_lock_bits", bits);
    Ok(())
}

/// 0xE3. A reserved byte, percent, 0.01 V; two more bytes from some units.
pub(super) fn battery_block(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("reserve", be_u8)?;
    report.battery_percent = Some(c.read("battery_percent", be_u8)?.into());
    report.battery_v = Some(f64::from(c.read("battery_0.01_v", be_u16)?) / 100.0);
    let rest = c.take_rest("rest");
    if rest.iter().any(|b| *b != 0) {
        report.attributes.set("battery_rest", hex(rest));
    }
    Ok(())
}

/// 0xE4. Zero says that it is charging.
pub(super) fn charge(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.attributes.set("charging", c.read("charge_state", be_u8)? == 0);
    report.battery_percent = Some(c.read("battery_percent", be_u8)?.into());
    Ok(())
}

/// 0xE5.
pub(super) fn moving(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.attributes.set("moving", c.read("moving", be_u8)? == 1);
    Ok(())
}

/// 0xE6 in groups of eleven. A sensor's temperature and humidity are a signed whole part and 255ths.
pub(super) fn sensors(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    fn parts(c: &mut Bytes<'_, '_>, name: &str) -> Result<f64, Fault> {
        let (whole, part) = (c.read(name, be_i8)?, c.read("255ths", be_u8)?);
        let size = f64::from(whole.unsigned_abs()) + f64::from(part) / 255.0;
        Ok(round(if whole < 0 { -size } else { size }, 2))
    }
    let mut list = Vec::new();
    while c.remaining() >= 11 {
        let mut sensor = Attributes::default();
        sensor.set("index", c.read("sensor", be_u8)?);
        sensor.set("mac", hex(c.bytes("mac", 6)?));
        sensor.set("temperature_c", parts(c, "temperature_c")?);
        sensor.set("humidity_percent", parts(c, "humidity_percent")?);
        list.push(Value::from(sensor));
    }
    report.attributes.set("sensors", Value::List(list));
    Ok(())
}

/// 0xE7. The first word: bit 0 vibration, 1 to 3 emergency buttons.
pub(super) fn extended_alarms(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let bits = c.read("extended_alarm_bits", be_u16)?;
    if bits & 1 != 0 {
        report.alarms.insert(Alarm::Vibration);
    }
    if bits & 0b1110 != 0 {
        report.alarms.insert(Alarm::Sos);
    }
    let rest = c.take_rest("extended_bits");
    if bits != 0 || rest.iter().any(|b| *b != 0) {
        report.attributes.set("extended_alarm_bits", bits);
        report.attributes.set("extended_bits", hex(rest));
    }
    Ok(())
}

/// 0xEE. Signal, supply mV, battery mV, satellites.
pub(super) fn radio_and_power(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.rssi = Some(c.read("rssi", be_u8)?.into());
    report.power_v = Some(f64::from(c.read("supply_mv", be_u16)?) / 1000.0);
    report.battery_v = Some(f64::from(c.read("battery_mv", be_u16)?) / 1000.0);
    report.satellites = Some(c.read("satellites", be_u8)?.into());
    Ok(())
}

/// 0xF6 of eight bytes: 16 packed digits, the first a zero.
pub(super) fn imei(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let digits = hex(c.take_rest("imei"));
    report.attributes.set("imei", digits.get(1..).unwrap_or_default().to_owned());
    Ok(())
}

/// Bytes that each bit of an event block's mask adds: light, temperature, humidity, acceleration, thresholds, pressure.
const EVENT_PARTS: [usize; 6] = [2, 2, 2, 6, 10, 2];

/// Whether a value is an event, a mask, and exactly what the mask announces.
pub(super) fn is_event_block(value: &[u8]) -> bool {
    let announced =
        |mask: u8| -> usize { EVENT_PARTS.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, b)| b).sum() };
    matches!(value, [_, mask, rest @ ..] if rest.len() == announced(*mask))
}

/// 0xF6 of AOVX units.
pub(super) fn event_block(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut event = Attributes::default();
    event.set("event", c.read("event", be_u8)?);
    let mask = c.read("mask", be_u8)?;
    let has = |bit: u8| mask >> bit & 1 == 1;
    if has(0) {
        event.set("illuminance", c.read("illuminance", be_u16)?);
    }
    for (bit, name) in [(1, "temperature_c"), (2, "humidity_percent")] {
        if has(bit) {
            event.set(name, Num::I16.read(c, name)? as f64 / 10.0);
        }
    }
    if has(3) {
        let axes = (0..3).map(|_| Num::I16.read(c, "acceleration").map(Value::from)).collect::<Result<_, _>>()?;
        event.set("acceleration", Value::List(axes));
    }
    if has(4) {
        event.set("thresholds", hex(c.bytes("thresholds", 10)?));
    }
    if has(5) {
        event.set("air_pressure_hpa", c.read("air_pressure", be_u16)?);
    }
    report.attributes.set("event", event);
    Ok(())
}

/// 0xF7. Battery mV, then perhaps a state (2 and 3: charging) and percent.
pub(super) fn battery_wide(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.battery_v = Some(f64::from(c.read("battery_mv", be_u32)?) / 1000.0);
    if c.remaining() > 0 {
        let state = c.read("charge_state", be_u8)?;
        report.attributes.set("charging", matches!(state, 2 | 3));
    }
    if c.remaining() > 0 {
        report.battery_percent = Some(c.read("battery_percent", be_u8)?.into());
    }
    Ok(())
}

/// 0xF8 of 19 bytes: working mode, IMEI, ICCID.
pub(super) fn module(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.attributes.set("working_mode", c.read("working_mode", be_u8)?);
    report.attributes.set("module_imei", hex(c.bytes("imei", 8)?).trim_start_matches('0').to_owned());
    report.attributes.set("iccid", hex(c.bytes("iccid", 10)?).trim_end_matches('f').to_owned());
    Ok(())
}

/// Bytes that each bit of 0xF9's mask adds.
const MASK_PARTS: [usize; 7] = [4, 4, 2, 6, 0, 8, 6];

/// Whether a value is a mask and exactly what it announces.
pub(super) fn is_mask_block(value: &[u8]) -> bool {
    let Some((mask, rest)) = value.split_first_chunk::<2>() else {
        return false;
    };
    let mask = u16::from_be_bytes(*mask);
    let announced: usize = MASK_PARTS.iter().enumerate().filter(|(n, _)| mask >> n & 1 == 1).map(|(_, b)| b).sum();
    mask != 0 && rest.len() == announced
}

/// 0xF9.
pub(super) fn mask_block(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let mask = c.read("mask", be_u16)?;
    let has = |bit: u8| mask >> bit & 1 == 1;
    for (bit, name) in [(0, "fix_age"), (1, "ignition_on_time")] {
        if has(bit) {
            report.attributes.set(name, c.read(name, be_u32)?);
        }
    }
    if has(2) {
        report.hdop = Some(f64::from(c.read("hdop_0.1", be_u16)?) / 10.0);
    }
    if has(3) {
        let bytes = c.bytes("gnss_time", 6)?;
        report.attributes.set("gnss_time", context.time(bytes).map_or_else(|| hex(bytes), |t| t.to_string()));
    }
    if has(5) {
        report.attributes.set("sampling_interval_s", c.read("sampling_interval_s", be_u32)?);
        report.attributes.set("report_interval_s", c.read("report_interval_s", be_u32)?);
    }
    if has(6) {
        report.attributes.set("external_temperature_c", Num::I16.read(c, "temperature_0.1_c")? as f64 / 10.0);
        report.attributes.set("temperature_limits", hex(c.bytes("temperature_limits", 4)?));
    }
    Ok(())
}

/// 0xFB of GPS51: percent, supply in 0.01 V, charging.
pub(super) fn supply(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.battery_percent = Some(c.read("battery_percent", be_u8)?.into());
    report.power_v = Some(f64::from(c.read("supply_0.01_v", be_u16)?) / 100.0);
    report.attributes.set("charging", c.read("charging", be_u8)? == 1);
    Ok(())
}

/// 0xF3 of AOVX: Bluetooth tags, each with what the mask announces.
pub(super) fn tags(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let mask = c.read("mask", be_u8)?;
    let has = |bit: u8| mask >> bit & 1 == 1;
    let mut list = Vec::new();
    while c.remaining() > 0 {
        let mut tag = Attributes::default();
        tag.set("mac", hex(c.bytes("mac", 6)?));
        tag.set("rssi", c.read("rssi", be_i8)?);
        if has(0) {
            tag.set("name", text::decode(c.bytes("name", 10)?, context.charset));
        }
        if has(1) {
            tag.set("firmware", c.read("firmware", be_u16)?);
        }
        if has(2) {
            tag.set("battery_v", f64::from(c.read("battery_mv", be_u16)?) / 1000.0);
        }
        for (bit, name) in [(3, "temperature_c"), (4, "humidity_percent")] {
            if has(bit) {
                tag.set(name, Num::I16.read(c, name)? as f64 / 10.0);
            }
        }
        if has(5) {
            tag.set("acceleration", hex(c.bytes("acceleration", 6)?));
        }
        for (bit, name) in [(6, "reserve_6"), (7, "reserve_7")] {
            if has(bit) {
                tag.set(name, c.read(name, be_u16)?);
            }
        }
        list.push(Value::from(tag));
    }
    report.attributes.set("tags", Value::List(list));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::context::read;

    fn said(reader: fn(&mut Bytes<'_, '_>, &mut Report, &Context<'_>) -> Read, value: &[u8]) -> serde_json::Value {
        serde_json::to_value(read(reader, value).unwrap()).unwrap()
    }

    #[test]
    fn accepts_the_standard_compounds() {
        assert_eq!(said(fuel, b"\x80\x32")["attributes"]["fuel_percent"], 50);
        assert_eq!(
            said(tyre_pressures, b"\x19\x1a\xff\x1b\xff\xff")["attributes"]["tyre_pressures"],
            serde_json::json!([25, 26, 255, 27])
        );
        assert_eq!(said(area_crossing, b"\x01\0\0\0\x07\x00")["alarms"], serde_json::json!(["geofence_enter"]));
        assert_eq!(said(segment_time, b"\0\0\0\x07\0\x3c\0\x01")["attributes"]["segment_time"]["result"], "too_long");
        assert_eq!(said(abnormal_driving, b"\0\x03\x28")["attributes"]["fatigue_degree"], 40);
    }

    #[test]
    fn accepts_what_trackers_say_about_power() {
        assert_eq!(read(battery_or_charging, b"\x55").unwrap().battery_percent, Some(85.0));
        assert_eq!(said(battery_or_charging, b"\xff"), serde_json::json!({"attributes": {"charging": true}}));
        assert_eq!(read(radio_and_power, b"\x16\x30\xd4\x0f\xa0\x09").unwrap().power_v, Some(12.5));
        assert_eq!(read(battery_wide, b"\0\0\x0e\x87\x02\x46").unwrap().battery_v, Some(3.719));
        assert_eq!(read(lock_text, b"*M00,45,11386030").unwrap().battery_v, Some(3.86));
        assert_eq!(read(lock_text, b"*M00").unwrap().battery_v, None);
    }

    #[test]
    fn masks_announce_what_follows() {
        assert!(is_mask_block(b"\x00\x04\x00\x08") && !is_mask_block(b"\x00\x04\x00"));
        assert_eq!(read(mask_block, b"\x00\x04\x00\x08").unwrap().hdop, Some(0.8));
        assert!(is_event_block(b"\x02\x03\x02\xbc\x00\xd7") && !is_event_block(b"\x02\x03\x02\xbc"));
        assert_eq!(said(event_block, b"\x02\x03\x02\xbc\x00\xd7")["attributes"]["event"]["temperature_c"], 21.5);
    }

    #[test]
    fn sensors_have_signed_wholes_and_255ths() {
        let sensor = &said(sensors, b"\x03\xbc\x57\x29\x00\xce\x2e\xef\x18\x32\x00")["attributes"]["sensors"][0];
        assert_eq!((&sensor["temperature_c"], &sensor["humidity_percent"]), (&(-17.09).into(), &50.0.into()));
    }

    #[test]
    fn refuses_values_that_are_cut_off() {
        let readers: [fn(&mut Bytes<'_, '_>, &mut Report, &Context<'_>) -> Read; 6] =
            [overspeed_area, area_crossing, analog, behaviour, module, string_lock];
        for reader in readers {
            assert!(read(reader, b"\x01\x02").is_err());
        }
    }
}
