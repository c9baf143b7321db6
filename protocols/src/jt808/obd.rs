//! Engine data inside items and passed-through messages, and the typed events of Jimi cameras.

use nom::number::complete::{be_u8, be_u16};

use super::context::Context;
use super::items::Slot;
use super::layout::{Num, Scale};
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Report, Value};
use crate::fault::Fault;
use crate::parts::text;

type Read = Result<(), Fault>;

/// One value of an engine data set.
#[derive(Debug)]
pub(super) struct Parameter {
    id: u16,
    name: &'static str,
    form: Form,
}

#[derive(Debug, Clone, Copy)]
enum Form {
    Scaled(Num, Scale),
    Into(Slot, Num, Scale),
    Text,
}

const fn scaled(id: u16, name: &'static str, num: Num, scale: Scale) -> Parameter {
    Parameter { id, name, form: Form::Scaled(num, scale) }
}

const fn into(id: u16, name: &'static str, slot: Slot, num: Num, scale: Scale) -> Parameter {
    Parameter { id, name, form: Form::Into(slot, num, scale) }
}

const fn text(id: u16, name: &'static str) -> Parameter {
    Parameter { id, name, form: Form::Text }
}

use Num::{U8, U16, U32};

const ONE: Scale = Scale::ONE;
const TENTH: Scale = Scale::over(10.0);
const HUNDREDTH: Scale = Scale::over(100.0);
const MILLI: Scale = Scale::over(1000.0);
const KELVIN_LIKE: Scale = Scale::ONE.plus(-40.0);
const OF_255: Scale = Scale { times: 100.0, over: 255.0, plus: 0.0 };

/// Item 0xF3: id of two bytes, length of one.
static ITEM_SET: &[Parameter] = &[
    scaled(0x0002, "obd_speed_kmh", U16, TENTH),
    scaled(0x0003, "rpm", U16, ONE),
    into(0x0004, "power_mv", Slot::PowerV, U16, MILLI),
    scaled(0x0005, "obd_odometer_m", U32, Scale::times(100.0)),
    scaled(0x0007, "fuel_consumption", U16, TENTH),
    scaled(0x0008, "engine_load_percent", U16, TENTH),
    scaled(0x0009, "coolant_c", U16, KELVIN_LIKE),
    scaled(0x000B, "intake_pressure_kpa", U16, ONE),
    scaled(0x000C, "intake_c", U16, KELVIN_LIKE),
    scaled(0x000D, "intake_flow", U16, ONE),
    scaled(0x000E, "throttle_percent", U16, OF_255),
    text(0x0050, "vin"),
    scaled(0x0100, "trip_km", U16, TENTH),
    scaled(0x0102, "trip_fuel_l", U16, TENTH),
    scaled(0x0112, "hard_accelerations", U16, ONE),
    scaled(0x0113, "hard_brakings", U16, ONE),
    scaled(0x0114, "hard_cornerings", U16, ONE),
];

/// Item 0x80: a content byte, then id and length of one byte each.
static BLOCK: &[Parameter] = &[
    into(0x01, "odometer_0.1_km", Slot::Odometer, U32, Scale::times(100.0)),
    scaled(0x02, "fuel_l", U16, TENTH),
    scaled(0x03, "recorder_speed_kmh", U16, TENTH),
    into(0x61, "power_0.01_v", Slot::PowerV, U16, HUNDREDTH),
    into(0x69, "battery_0.01_v", Slot::BatteryV, U16, HUNDREDTH),
    scaled(0x80, "obd_speed_kmh", U8, ONE),
    scaled(0x81, "rpm", U16, ONE),
    into(0x82, "power_0.1_v", Slot::PowerV, U16, TENTH),
    scaled(0x83, "engine_load_percent", U8, ONE),
    scaled(0x84, "coolant_c", U8, KELVIN_LIKE),
    scaled(0x85, "fuel_consumption", U16, ONE),
    scaled(0x86, "intake_c", U8, KELVIN_LIKE),
    scaled(0x87, "intake_flow", U16, ONE),
    scaled(0x88, "intake_pressure_kpa", U8, ONE),
    scaled(0x89, "throttle_percent", U8, ONE),
    text(0x8B, "vin"),
    scaled(0x8C, "obd_odometer_m", U32, Scale::times(100.0)),
    scaled(0x8D, "trip_km", U16, ONE),
    scaled(0x8E, "fuel_percent", U8, ONE),
    text(0xA0, "trouble_codes"),
    text(0xCC, "iccid"),
];

/// 0x0900 kind 0xF0: id of two bytes, length of one.
pub(super) static PASSED: &[Parameter] = &[
    into(0x0102, "odometer_0.1_km", Slot::Odometer, U32, Scale::times(100.0)),
    scaled(0x0103, "fuel_l", U32, HUNDREDTH),
    scaled(0x0105, "fuel_used_l", U32, HUNDREDTH),
    scaled(0x0111, "fuel_c", U8, KELVIN_LIKE),
    scaled(0x012E, "oil_level_percent", U16, TENTH),
    scaled(0x014A, "fuel_consumption", U16, HUNDREDTH),
    into(0x0528, "odometer_0.1_km", Slot::Odometer, U32, Scale::times(100.0)),
    scaled(0x052A, "fuel_l", U16, HUNDREDTH),
    scaled(0x052B, "fuel_percent", U8, ONE),
    scaled(0x052C, "fuel_used_l", U32, HUNDREDTH),
    scaled(0x052D, "coolant_c", U8, KELVIN_LIKE),
    scaled(0x052E, "intake_c", U8, KELVIN_LIKE),
    into(0x0530, "power_mv", Slot::PowerV, U16, MILLI),
    scaled(0x0535, "obd_speed_kmh", U16, TENTH),
    scaled(0x0536, "rpm", U16, ONE),
    scaled(0x0537, "fuel_consumption", U16, HUNDREDTH),
    scaled(0x0538, "fuel_consumption_instant", U16, HUNDREDTH),
    scaled(0x0539, "fuel_consumption_average", U16, HUNDREDTH),
    scaled(0x053D, "intake_pressure_kpa", U16, TENTH),
    scaled(0x0544, "liquid_level_percent", U8, ONE),
    into(0x0546, "odometer_0.1_km", Slot::Odometer, U32, Scale::times(100.0)),
    scaled(0x0547, "throttle_percent", U8, ONE),
    scaled(0x0548, "pedal_percent", U8, ONE),
    text(0xFEEC, "vin"),
];

fn parameter(table: &[Parameter], id: u16, c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let found = table.iter().find(|p| p.id == id);
    match found.map(|p| (p.name, p.form)) {
        Some((name, Form::Scaled(num, scale))) => report.attributes.set(name, scale.value(num.read(c, name)?)),
        Some((name, Form::Into(slot, num, scale))) => slot.set(report, scale.apply(num.read(c, name)?)),
        Some((name, Form::Text)) => {
            let said = text::decode(c.take_rest(name), context.charset);
            if !said.is_empty() {
                report.attributes.set(name, said);
            }
        }
        None => report.attributes.set(format!("obd_{id:04x}"), hex(c.take_rest("value"))),
    }
    Ok(())
}

/// As many parameters as `limit` and the bytes allow, with ids of two bytes and lengths of one.
pub(super) fn set(table: &[Parameter], limit: usize, c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let mut left = limit;
    while left > 0 && c.remaining() > 0 {
        left -= 1;
        let (id, length) = (c.read("parameter_id", be_u16)?, c.read("length", be_u8)?);
        parameter(table, id, &mut c.sub("parameter", length.into())?, report, context)?;
    }
    Ok(())
}

/// Whether 0xF3 is a set of parameters to its last byte.
pub(super) fn is_item_set(value: &[u8]) -> bool {
    let mut rest = value;
    while let [_, _, length, tail @ ..] = rest {
        match tail.get(usize::from(*length)..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    rest.is_empty() && !value.is_empty()
}

/// 0xF3.
pub(super) fn item_set(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    set(ITEM_SET, usize::MAX, c, report, context)
}

/// 0x80.
pub(super) fn block(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    report.attributes.set("obd_content", c.read("content", be_u8)?);
    while c.remaining() > 0 {
        let (id, length) = (c.read("parameter_id", be_u8)?, c.read("length", be_u8)?);
        let mut c = c.sub("parameter", length.into())?;
        if (id, length) == (0x56, 2) {
            report.attributes.set("battery_level", c.read("battery_level", be_u8)?);
            report.battery_percent = Some(c.read("battery_percent", be_u8)?.into());
        } else {
            parameter(BLOCK, id.into(), &mut c, report, context)?;
        }
    }
    Ok(())
}

/// 0x91. The supply voltage of the OBD plug first; the fields without a name are not documented.
pub(super) fn fixed(c: &mut Cursor<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let mut obd = Attributes::default();
    report.power_v = Some(f64::from(c.read("supply_0.1_v", be_u16)?) / 10.0);
    let fields: [(&'static str, Num, Scale); 12] = [
        ("rpm", U16, ONE),
        ("obd_speed_kmh", U8, ONE),
        ("throttle_percent", U8, OF_255),
        ("engine_load_percent", U8, OF_255),
        ("coolant_c", U8, KELVIN_LIKE),
        ("field_8", U16, ONE),
        ("fuel_consumption", U16, HUNDREDTH),
        ("field_12", U16, ONE),
        ("field_14", U32, ONE),
        ("field_18", U16, ONE),
        ("fuel_used_l", U16, HUNDREDTH),
        ("field_22", U16, ONE),
    ];
    for (name, num, scale) in fields {
        obd.set(name, scale.value(num.read(c, name)?));
    }
    report.attributes.set("obd", obd);
    Ok(())
}

/// Fields of a `$OBD-RT,…` list, in order.
static TEXT_FIELDS: [&str; 12] = [
    "power_v",
    "rpm",
    "obd_speed_kmh",
    "throttle_percent",
    "engine_load_percent",
    "coolant_c",
    "fuel_consumption_instant",
    "fuel_consumption_average",
    "trip_km",
    "obd_odometer_km",
    "trip_fuel_l",
    "fuel_used_l",
];

/// The list after its first word; fields that are empty say nothing, and what is no number stays as text.
pub(super) fn from_text(said: &str, report: &mut Report) {
    for (n, field) in said.split(',').skip(1).map(str::trim).enumerate().filter(|(_, f)| !f.is_empty()) {
        match (TEXT_FIELDS.get(n), field.parse::<f64>()) {
            (Some(&"power_v"), Ok(x)) => report.power_v = Some(x),
            (Some(name), Ok(x)) => report.attributes.set(*name, x),
            (Some(name), Err(_)) => report.attributes.set(*name, field.to_owned()),
            (None, _) => report.attributes.set(format!("obd_field_{n}"), field.to_owned()),
        }
    }
}

/// 0xE6 as text.
pub(super) fn text_item(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let said = text::decode(c.take_rest("obd_text"), context.charset);
    c.show(|| format!("{said:?}"));
    from_text(&said, report);
    Ok(())
}

/// Events of item 0xE8 that are alarms.
static JIMI_ALARMS: &[(u16, Alarm)] = &[
    (0x0001, Alarm::Fault),
    (0x0400, Alarm::HardAcceleration),
    (0x0401, Alarm::HardBraking),
    (0x0402, Alarm::HardCornering),
    (0x0403, Alarm::Overspeed),
    (0x0405, Alarm::Accident),
    (0x0406, Alarm::Vibration),
    (0x0407, Alarm::Tow),
    (0x0408, Alarm::GeofenceEnter),
    (0x0409, Alarm::GeofenceExit),
    (0x040C, Alarm::Door),
    (0x0412, Alarm::HardAcceleration),
    (0x0413, Alarm::HardBraking),
    (0x0414, Alarm::HardCornering),
    (0x0415, Alarm::LaneChange),
    (0x0416, Alarm::Accident),
    (0x0417, Alarm::Accident),
    (0x0C01, Alarm::Sos),
    (0x0C02, Alarm::LowPower),
    (0x0C05, Alarm::General),
    (0x0C0E, Alarm::PowerCut),
    (0x0C0F, Alarm::LowBattery),
    (0x0C10, Alarm::PowerOff),
    (0x0C12, Alarm::Tamper),
];

/// Parameters of item 0xE8 type 0x2005.
static JIMI_STATUS: &[Parameter] = &[
    into(0x0001, "battery_0.01_v", Slot::BatteryV, U16, HUNDREDTH),
    scaled(0x0002, "data_usage", U32, ONE),
    into(0x0003, "battery_percent", Slot::BatteryPercent, U8, ONE),
    scaled(0x0004, "charge_state", U8, ONE),
    into(0x0007, "hdop_0.1", Slot::Hdop, U16, TENTH),
    into(0x2001, "power_0.1_v", Slot::PowerV, U16, TENTH),
];

/// 0xE8 of Jimi cameras: a type, then what belongs to it.
pub(super) fn jimi(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    let kind = c.read("type", be_u16)?;
    report.attributes.set("jimi_type", format!("{kind:04x}"));
    let alarm = JIMI_ALARMS.iter().find(|(k, _)| *k == kind);
    alarm.into_iter().for_each(|(_, a)| report.alarms.insert(*a));
    match kind {
        0x0C03 => Slot::Ignition.set(report, 1.0),
        0x0C04 => Slot::Ignition.set(report, 0.0),
        0x2002 if c.remaining() >= 3 => {
            c.read("length", be_u8)?;
            report.attributes.set("upload_mode", c.read("upload_mode", be_u8)?);
            report.archived = Some(c.read("buffered", be_u8)? == 1);
        }
        0x2003 if c.remaining() >= 8 => {
            c.read("length", be_u8)?;
            report.attributes.set("charging", c.read("charging", be_u8)? == 1);
            let sixths = c.read("battery_sixths", be_u8)?;
            if (1..=6).contains(&sixths) {
                report.battery_percent = Some(f64::from(u16::from(sixths) * 100 / 6));
            }
            report.battery_v = Some(f64::from(c.read("battery_0.01_v", be_u16)?) / 100.0);
            report.rssi = Some(c.read("rssi", be_u8)?.into());
            report.power_v = Some(f64::from(c.read("supply_0.01_v", be_u16)?) / 100.0);
        }
        0x2005 => {
            c.read("length", be_u8)?;
            set(JIMI_STATUS, usize::MAX, c, report, context)?;
        }
        _ => {}
    }
    if c.remaining() > 0 {
        report.attributes.set("jimi_rest", Value::from(hex(c.take_rest("rest"))));
    }
    Ok(())
}
