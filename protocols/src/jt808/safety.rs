//! Active safety: items 0x64 to 0x67 and 0x70 of T/JSATL 12 ("Su", alarm label of 16 bytes) and T/GDRTA 002 ("Yue", 40 bytes).
//! The label names the alarm's attachments on another server; it is forwarded as it came.

use super::context::Context;
use super::layout::{self, Field, Kind, Num, Words, field, u8, u16, u32};
use crate::cursor::Cursor;
use crate::event::{Alarm, Attributes, Report, Value};
use crate::fault::Fault;

/// Bytes of the alarm label in Su and Yue.
const LABELS: [usize; 2] = [16, 40];

static STATES: Words = &[(0, "none"), (1, "begin"), (2, "end")];
static VEHICLE: &[&str] =
    &["ignition", "left_turn", "right_turn", "wiper", "brake", "card_inserted", "bit_6", "bit_7", "bit_8", "bit_9", "positioned"];

static ADAS_KINDS: Words = &[
    (1, "forward_collision"),
    (2, "lane_departure"),
    (3, "headway"),
    (4, "pedestrian_collision"),
    (5, "frequent_lane_change"),
    (6, "road_sign_limit"),
    (7, "obstacle"),
    (0x10, "road_sign_recognised"),
    (0x11, "snapshot"),
    (0x12, "solid_line_change"),
    (0x13, "aisle_pedestrian"),
];
static DSM_KINDS: Words = &[
    (1, "fatigue"),
    (2, "phone"),
    (3, "smoking"),
    (4, "distraction"),
    (5, "driver_abnormal"),
    (6, "lens_covered"),
    (8, "over_time"),
    (0x0A, "seat_belt"),
    (0x0B, "sunglasses"),
    (0x0C, "hands_off"),
    (0x0D, "playing_with_phone"),
    (0x10, "snapshot"),
    (0x11, "driver_change"),
];
static BSD_KINDS: Words = &[(1, "rear"), (2, "left_rear"), (3, "right_rear")];
static HARSH_KINDS: Words = &[(1, "acceleration"), (2, "braking"), (3, "cornering"), (0x16, "collision")];
static TYRE_KINDS: &[&str] =
    &["periodic", "high_pressure", "low_pressure", "high_temperature", "sensor", "imbalance", "slow_leak", "low_battery"];

const STATE: Field = field("state", Kind::Word(STATES));
const VEHICLE_STATE: Field = field("vehicle_state", Kind::Flags(Num::U16, VEHICLE));
const LATITUDE: Field = field("latitude", Kind::Degrees);
const LONGITUDE: Field = field("longitude", Kind::Degrees);
const TIME: Field = field("time", Kind::Time);

static ADAS: &[Field] = &[
    u32("alarm_id"),
    STATE,
    field("kind", Kind::Word(ADAS_KINDS)),
    u8("level"),
    u8("ahead_speed_kmh"),
    u8("ahead_distance_100_ms"),
    field("departure", Kind::Word(&[(1, "left"), (2, "right")])),
    field("sign", Kind::Word(&[(1, "speed"), (2, "height"), (3, "weight"), (4, "no_entry"), (5, "no_stopping")])),
    u8("sign_value"),
    u8("speed_kmh"),
    u16("altitude_m"),
    LATITUDE,
    LONGITUDE,
    TIME,
    VEHICLE_STATE,
];
static DSM: &[Field] = &[
    u32("alarm_id"),
    STATE,
    field("kind", Kind::Word(DSM_KINDS)),
    u8("level"),
    u8("fatigue_degree"),
    field("reserve", Kind::Hex(4)),
    u8("speed_kmh"),
    u16("altitude_m"),
    LATITUDE,
    LONGITUDE,
    TIME,
    VEHICLE_STATE,
];
static TPMS: &[Field] = &[u32("alarm_id"), STATE, u8("speed_kmh"), u16("altitude_m"), LATITUDE, LONGITUDE, TIME, VEHICLE_STATE];
static BSD: &[Field] = &[
    u32("alarm_id"),
    STATE,
    field("kind", Kind::Word(BSD_KINDS)),
    u8("speed_kmh"),
    u16("altitude_m"),
    LATITUDE,
    LONGITUDE,
    TIME,
    VEHICLE_STATE,
];
static HARSH: &[Field] = &[
    u32("alarm_id"),
    STATE,
    field("kind", Kind::Word(HARSH_KINDS)),
    u16("duration"),
    u16("threshold_1"),
    u16("threshold_2"),
    u8("speed_kmh"),
    u16("altitude_m"),
    LATITUDE,
    LONGITUDE,
    TIME,
    VEHICLE_STATE,
];
static SU_LABEL: &[Field] = &[
    field("terminal_id", Kind::Text(7)),
    field("time", Kind::Time),
    u8("sequence"),
    u8("attachments"),
    field("reserve", Kind::Hex(1)),
];
static YUE_LABEL: &[Field] = &[
    field("terminal_id", Kind::Text(30)),
    field("time", Kind::Time),
    u8("sequence"),
    u8("attachments"),
    field("reserve", Kind::Hex(2)),
];
static TYRE: &[Field] = &[
    field("kind", Kind::Flags(Num::U16, TYRE_KINDS)),
    u16("pressure_kpa"),
    field("temperature_c", Kind::Number(Num::I16)),
    u16("battery_percent"),
];

/// The contract's alarm for a kind, by its word.
static ALARMS: &[(&str, Alarm)] = &[
    ("frequent_lane_change", Alarm::LaneChange),
    ("solid_line_change", Alarm::LaneChange),
    ("fatigue", Alarm::Fatigue),
    ("lens_covered", Alarm::Tamper),
    ("acceleration", Alarm::HardAcceleration),
    ("braking", Alarm::HardBraking),
    ("cornering", Alarm::HardCornering),
    ("collision", Alarm::Accident),
];

/// The fields of a label of this length.
pub(super) fn label(length: usize) -> &'static [Field] {
    if length >= LABELS[1] { YUE_LABEL } else { SU_LABEL }
}

/// Fields, then the label, which is what is left unless `tail` bytes follow.
fn alarm(fields: &[Field], tail: usize, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Attributes, Fault> {
    let size = |f: &Field| match f.kind {
        Kind::Number(Num::U32) | Kind::Degrees => 4,
        Kind::Number(Num::U16) | Kind::Flags(Num::U16, _) => 2,
        Kind::Time => 6,
        Kind::Hex(n) => n,
        _ => 1,
    };
    let fixed: usize = fields.iter().map(size).sum();
    let length = c.remaining().saturating_sub(fixed + tail);
    let mut values = {
        let mut head = c.sub("alarm", fixed)?;
        layout::read(fields, fields.len(), &mut head, context)?.values
    };
    let named = {
        let mut inner = c.sub("label", length)?;
        layout::read(label(length), 5, &mut inner, context)?.values
    };
    values.set("label", named);
    Ok(values)
}

fn put(name: &'static str, values: Attributes, report: &mut Report) {
    // an alarm that has ended is no level any more
    let ended = values.get("state") == Some(&Value::from("end"));
    if let Some(Value::Text(kind)) = values.get("kind").filter(|_| !ended) {
        let known = ALARMS.iter().find(|(word, _)| word == kind);
        known.into_iter().for_each(|(_, a)| report.alarms.insert(*a));
    }
    report.attributes.set(name, values);
}

/// 0x64.
pub(super) fn adas(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    put("adas", alarm(ADAS, 0, c, context)?, report);
    Ok(())
}

/// 0x65.
pub(super) fn dsm(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    put("dsm", alarm(DSM, 0, c, context)?, report);
    Ok(())
}

/// 0x67.
pub(super) fn bsd(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    put("bsd", alarm(BSD, 0, c, context)?, report);
    Ok(())
}

/// 0x70.
pub(super) fn harsh(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    put("harsh_driving", alarm(HARSH, 0, c, context)?, report);
    Ok(())
}

/// Bytes of 0x66 in front of the label.
const TPMS_FIXED: usize = 24;

/// The label's length and the size of an entry, if the value is fixed part, label, count and equal entries. The tables
/// disagree about the tyre's position (one byte or two), so the entry's size is what the count makes of the rest.
fn tpms_form(value: &[u8]) -> Option<(usize, usize)> {
    LABELS.into_iter().rev().find_map(|label| {
        let (count, entries) = value.get(TPMS_FIXED + label..)?.split_first()?;
        let count = usize::from(*count).max(1);
        let size = entries.len() / count;
        (entries.len().is_multiple_of(count) && matches!(size, 9 | 10)).then_some((label, size))
    })
}

/// Whether 0x66 is tyre pressure monitoring; elsewhere it holds cells.
pub(super) fn is_tpms(value: &[u8]) -> bool {
    tpms_form(value).is_some()
}

/// 0x66.
pub(super) fn tpms(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    let Some((label, size)) = tpms_form(c.rest()) else {
        return Err(c.fault_here(crate::fault::FaultKind::Length, "no tyre monitoring item"));
    };
    let tail = c.remaining() - TPMS_FIXED - label;
    let mut values = alarm(TPMS, tail, c, context)?;
    Num::U8.read(c, "count")?;
    let mut tyres = Vec::new();
    while c.remaining() >= size {
        let mut tyre = Attributes::default();
        tyre.set("position", if size == 9 { Num::U8.read(c, "position")? } else { Num::U16.read(c, "position")? });
        for (name, value) in layout::read(TYRE, TYRE.len(), &mut c.sub("tyre", 8)?, context)?.values.iter() {
            tyre.set(name.to_owned(), value.clone());
        }
        tyres.push(Value::from(tyre));
    }
    values.set("tyres", Value::List(tyres));
    put("tpms", values, report);
    Ok(())
}
