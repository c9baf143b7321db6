//! Items whose value is more than one number: the standard's few, then those of trackers and locks.

use nom::number::complete::{be_i8, be_u8, be_u16, be_u24, be_u32};

use super::context::Context;
use super::layout::{Num, Scale};
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Cell, Mac, Report, Value, Wifi};
use crate::fault::{Fault, FaultKind};
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
    if length % 2 == 0 {
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

/// 0xEA. A kind, then nested items.
pub(super) fn external(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.attributes.set("external_kind", c.read("kind", be_u8)?);
    while c.remaining() >= 2 {
        let (id, length) = (c.read("external_id", be_u8)?, c.read("length", be_u8)?);
        let mut c = c.sub("external", length.into())?;
        match (id, length) {
            (0x11, 15) => {
                let mut limits = Attributes::default();
                limits.set("alarm_bits", c.read("alarm_bits", be_u16)?);
                limits.set("kind", c.read("kind", be_u8)?);
                for name in ["upper", "current", "lower"] {
                    limits.set(name, c.read(name, be_u32)?);
                }
                report.attributes.set("external_limits", limits);
            }
            (0x13, 2) => report.attributes.set("external_illuminance", c.read("illuminance", be_u16)?),
            (0x14, 2) => report.attributes.set("external_air_pressure", c.read("air_pressure", be_u16)?),
            (0x15, 2) => report.attributes.set("external_humidity_percent", f64::from(c.read("humidity", be_u16)?) / 10.0),
            (0x16, 2) => report
                .attributes
                .set("external_temperature_c", Scale::over(10.0).plus(-50.0).value(Num::U16.read(&mut c, "temperature")?)),
            _ => report.attributes.set(format!("external_{id:02x}"), hex(c.take_rest("value"))),
        }
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

/// Alarms of 0xFE's block, bit by bit.
const BLOCK_ALARMS: [Alarm; 5] =
    [Alarm::HardAcceleration, Alarm::HardBraking, Alarm::HardCornering, Alarm::Accident, Alarm::Tamper];

/// 0xFE that begins with 0x7C: nested items, 0x01 the alarm bits.
pub(super) fn alarm_block(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("mark", be_u8)?;
    while c.remaining() >= 2 {
        let (id, length) = (c.read("block_id", be_u8)?, c.read("length", be_u8)?);
        let mut c = c.sub("block", length.into())?;
        if (id, length) == (0x01, 4) {
            let bits = c.read("alarm_bits", be_u32)?;
            let set = BLOCK_ALARMS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            set.for_each(|(_, alarm)| report.alarms.insert(*alarm));
            report.attributes.set("block_alarm_bits", bits);
        } else {
            report.attributes.set(format!("block_{id:02x}"), hex(c.take_rest("value")));
        }
    }
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

/// A list of cells into the report; towers that do not answer are sent as zeros.
fn push(report: &mut Report, mcc: u16, mnc: u16, lac: u32, cid: u64, rssi: u8) {
    if lac != 0 || cid != 0 {
        report.cells.push(Cell { mcc, mnc, lac, cid, rssi: Some(rssi.into()) });
    }
}

/// 0xE1 in groups of eight behind MCC and MNC: area of three bytes, identity of four, level.
pub(super) fn cells_wide(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u16)?);
    while c.remaining() >= 8 {
        let (lac, cid, rssi) = (c.read("lac", be_u24)?, c.read("cid", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc, lac, cid.into(), rssi);
    }
    Ok(())
}

/// 0xE1 of GPS51: the area has two bytes.
pub(super) fn cells_narrow(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u16)?);
    while c.remaining() >= 7 {
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc, lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// Lowest mobile country code in use.
const FIRST_MCC: u16 = 201;

fn country(value: &[u8]) -> bool {
    value.first_chunk::<2>().is_some_and(|mcc| u16::from_be_bytes(*mcc) >= FIRST_MCC)
}

/// Whether 0xEB is a list of cells: a country, a network of one byte, groups of five.
pub(super) fn is_cell_list(value: &[u8]) -> bool {
    country(value) && value.len() >= 8 && (value.len() - 3).is_multiple_of(5)
}

/// 0xEB as a list of cells.
pub(super) fn cell_list(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
    while c.remaining() >= 5 {
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u16)?, c.read("level", be_u8)?);
        push(report, mcc, mnc.into(), lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// 0xF0: each with country and network, identity before area.
pub(super) fn cells_mobile(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    while c.remaining() >= 13 {
        let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u16)?);
        let (cid, lac, rssi) = (c.read("cid", be_u32)?, c.read("lac", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc, lac, cid.into(), rssi);
    }
    Ok(())
}

fn is_counted(value: &[u8], group: usize) -> bool {
    matches!(value, [n, rest @ ..] if *n > 0 && rest.len() == group * usize::from(*n))
}

/// Whether 0x5D is a count and so many cells of ten bytes.
pub(super) fn is_counted_cells(value: &[u8]) -> bool {
    is_counted(value, 10)
}

/// 0x5D.
pub(super) fn counted_cells(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("count", be_u8)?;
    while c.remaining() >= 10 {
        let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc.into(), lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// Whether 0x53 is a count and so many cells of eight bytes.
pub(super) fn is_counted_cells_2g(value: &[u8]) -> bool {
    is_counted(value, 8)
}

/// 0x53.
pub(super) fn counted_cells_2g(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("count", be_u8)?;
    while c.remaining() >= 8 {
        let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u16)?, c.read("level", be_u8)?);
        push(report, mcc, mnc.into(), lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// 0xEC, 0xF4: access points of seven bytes.
pub(super) fn wifi(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    while c.remaining() >= 7 {
        let mac = c.bytes("mac", 6)?;
        let rssi = c.read("level", be_i8)?;
        if let Some(mac) = mac.first_chunk::<6>() {
            report.wifi.push(Wifi { mac: Mac(*mac), rssi: Some(rssi.into()) });
        }
    }
    Ok(())
}

/// Whether 0x54 is a count and so many access points.
pub(super) fn is_counted_wifi(value: &[u8]) -> bool {
    is_counted(value, 7)
}

/// 0x54.
pub(super) fn counted_wifi(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    c.read("count", be_u8)?;
    wifi(c, report, context)
}

/// 0xEB as nested items: a length that includes the two bytes of the type, the type, the value.
pub(super) fn extensions(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    while c.remaining() >= 4 {
        let length = usize::from(c.read("length", be_u16)?);
        let kind = c.read("type", be_u16)?;
        let Some(length) = length.checked_sub(2) else {
            return Err(c.fault_here(FaultKind::Length, "a nested item shorter than its type"));
        };
        extension(kind, &mut c.sub("extension", length)?, report, context)?;
    }
    Ok(())
}

fn extension(kind: u16, c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    match (kind, c.remaining()) {
        (0x0001, 3) => {
            report.attributes.set("fuel_1", f64::from(c.read("fuel_0.1", be_u16)?) / 10.0);
            c.bytes("reserve", 1)?;
        }
        (0x0023, _) => {
            let said = text::decode(c.take_rest("fuel_2"), context.charset);
            let value = said.parse::<f64>().map_or_else(|_| Value::from(said), Value::from);
            report.attributes.set("fuel_2", value);
        }
        (0x002D, 4) => report.power_v = Some(f64::from(c.read("supply_mv", be_u32)?) / 1000.0),
        (0x002D, 2) => report.battery_v = Some(f64::from(c.read("battery_mv", be_u16)?) / 1000.0),
        // alarm bits are active low; bit 0 is the loss of the main supply
        (0x0089, 4) => {
            let low = !c.read("alarm_bits_low", be_u32)?;
            if low & 1 != 0 {
                report.alarms.insert(Alarm::PowerCut);
            }
            if low >> 12 & 1 == 1 {
                report.alarms.insert(Alarm::Removed);
            }
            if low != 0 {
                report.attributes.set("extended_alarm_bits", low);
            }
        }
        (0x00C5, 4) => {
            let low = !c.read("status_bits_low", be_u32)?;
            if low >> 6 & 1 == 1 {
                report.alarms.insert(Alarm::Vibration);
            }
            match !low >> 23 & 3 {
                0 => report.attributes.set("moving", true),
                1 => report.attributes.set("moving", false),
                _ => {}
            }
            if low != 0 {
                report.attributes.set("extended_status_bits", low);
            }
        }
        (0x00C6, 1) => {
            let level = c.read("battery_alarm", be_u8)?;
            if matches!(level, 3 | 4) {
                report.alarms.insert(Alarm::LowBattery);
            }
            report.attributes.set("battery_alarm", level);
        }
        (0x00A8 | 0x00E1, 1) => report.battery_percent = Some(c.read("battery_percent", be_u8)?.into()),
        (0x00B2, 10) => report.attributes.set("iccid", hex(c.bytes("iccid", 10)?).trim_end_matches('f').to_owned()),
        (0x00B9, _) => {
            c.read("count", be_u8)?;
            wifi_text(&text::decode(c.take_rest("wifi"), context.charset), report);
        }
        (0x00CE, 2) => report.power_v = Some(f64::from(c.read("supply_0.01_v", be_u16)?) / 100.0),
        (0x00D5, _) => report.attributes.set("imei", text::decode(c.take_rest("imei"), context.charset)),
        (0x00D8, 9) => {
            let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
            let (lac, cid) = (c.read("lac", be_u16)?, c.read("cid", be_u32)?);
            report.cells.push(Cell { mcc, mnc: mnc.into(), lac: lac.into(), cid: cid.into(), rssi: None });
        }
        _ => report.attributes.set(format!("extension_{kind:04x}"), hex(c.take_rest("value"))),
    }
    Ok(())
}

/// `aa:bb:cc:dd:ee:ff,-70,…`; what is no access point stays as text.
fn wifi_text(said: &str, report: &mut Report) {
    let fields: Vec<&str> = said.split(',').collect();
    for pair in fields.chunks(2) {
        let parsed = match pair {
            [mac, level] => mac_of(mac).zip(level.trim().parse::<i32>().ok()),
            _ => None,
        };
        match parsed {
            Some((mac, rssi)) => report.wifi.push(Wifi { mac, rssi: Some(rssi) }),
            None => report.attributes.set("wifi_text", pair.join(",")),
        }
    }
}

fn mac_of(text: &str) -> Option<Mac> {
    let bytes = crate::cursor::unhex(&text.replace([':', '-'], ""))?;
    bytes.try_into().ok().map(Mac)
}
