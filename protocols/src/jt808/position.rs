//! The 28 bytes that say where a vehicle is: in 0x0200 and inside other messages.

use nom::number::complete::{be_i16, be_u16, be_u32};

use super::context::Context;
use super::header::Edition;
use super::items;
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Report, Value};
use crate::fault::Fault;
use crate::parts::geo;
pub(super) use crate::parts::report::as_values;

/// Bytes of the part that every report has.
pub(super) const LENGTH: usize = 28;
/// Some 2011 trackers put a fixed block behind it instead of items; it is known by its exact length.
const FIXED_TAIL: usize = 18;

/// What one bit of the alarm word means.
#[derive(Debug)]
pub(super) struct AlarmBit {
    bit: u8,
    alarm: Option<Alarm>,
    /// The protocol's own word, told in `alarm_details` where the contract's word says less.
    detail: &'static str,
    since: Edition,
    until: Edition,
}

impl AlarmBit {
    /// In every edition.
    pub(super) const fn new(bit: u8, alarm: Option<Alarm>, detail: &'static str) -> Self {
        Self { bit, alarm, detail, since: Edition::V2011, until: Edition::V2019 }
    }

    const fn since(self, since: Edition) -> Self {
        Self { since, ..self }
    }

    const fn until(self, until: Edition) -> Self {
        Self { until, ..self }
    }
}

/// The standard's table. Bits that an edition reserves carry what trackers of that edition put there: nothing else can
/// set them.
static ALARMS: &[AlarmBit] = &[
    AlarmBit::new(0, Some(Alarm::Sos), ""),
    AlarmBit::new(1, Some(Alarm::Overspeed), ""),
    AlarmBit::new(2, Some(Alarm::Fatigue), ""),
    AlarmBit::new(3, None, "danger_warning").until(Edition::V2013),
    AlarmBit::new(3, None, "dangerous_driving").since(Edition::V2019),
    AlarmBit::new(4, Some(Alarm::Fault), "gnss_module"),
    AlarmBit::new(5, Some(Alarm::GnssAntennaCut), ""),
    AlarmBit::new(6, Some(Alarm::GnssAntennaCut), "gnss_antenna_short"),
    AlarmBit::new(7, Some(Alarm::LowPower), ""),
    AlarmBit::new(8, Some(Alarm::PowerCut), ""),
    AlarmBit::new(9, Some(Alarm::Fault), "display"),
    AlarmBit::new(10, Some(Alarm::Fault), "tts_module"),
    AlarmBit::new(11, Some(Alarm::Fault), "camera"),
    AlarmBit::new(12, Some(Alarm::Fault), "card_reader"),
    AlarmBit::new(13, None, "overspeed_warning"),
    AlarmBit::new(14, None, "fatigue_warning"),
    AlarmBit::new(15, Some(Alarm::Vibration), "").until(Edition::V2013),
    AlarmBit::new(15, None, "forbidden_period_driving").since(Edition::V2019),
    AlarmBit::new(16, Some(Alarm::Tamper), "").until(Edition::V2013),
    AlarmBit::new(16, None, "tyre_pressure").since(Edition::V2019),
    AlarmBit::new(17, Some(Alarm::Tamper), "").until(Edition::V2013),
    AlarmBit::new(17, None, "right_turn_blind_spot").since(Edition::V2019),
    AlarmBit::new(18, None, "daily_driving_time"),
    AlarmBit::new(19, Some(Alarm::Parking), ""),
    AlarmBit::new(20, Some(Alarm::Geofence), ""),
    AlarmBit::new(21, Some(Alarm::Geofence), "route"),
    AlarmBit::new(22, None, "segment_time"),
    AlarmBit::new(23, None, "off_route"),
    AlarmBit::new(24, Some(Alarm::Fault), "speed_sensor"),
    AlarmBit::new(25, Some(Alarm::FuelLeak), "fuel_abnormal"),
    AlarmBit::new(26, Some(Alarm::General), "stolen"),
    AlarmBit::new(27, Some(Alarm::General), "illegal_ignition"),
    AlarmBit::new(28, Some(Alarm::Movement), ""),
    AlarmBit::new(29, Some(Alarm::Accident), ""),
    AlarmBit::new(30, Some(Alarm::Accident), "rollover"),
    AlarmBit::new(31, Some(Alarm::Door), ""),
];

/// The bits of the standard's alarm word that say this alarm in this edition; a fence has the same bits whichever way it is
/// crossed.
pub(super) fn alarm_bits(alarm: Alarm, edition: Edition) -> u32 {
    let alarm = match alarm {
        Alarm::GeofenceEnter | Alarm::GeofenceExit => Alarm::Geofence,
        other => other,
    };
    let says = |a: &&AlarmBit| a.alarm == Some(alarm) && (a.since..=a.until).contains(&edition);
    ALARMS.iter().filter(says).fold(0, |bits, a| bits | 1 << a.bit)
}

/// Status bits.
mod status {
    pub(super) const IGNITION: u32 = 1;
    pub(super) const FIX: u32 = 1 << 1;
    pub(super) const SOUTH: u32 = 1 << 2;
    pub(super) const WEST: u32 = 1 << 3;
    pub(super) const OUT_OF_SERVICE: u32 = 1 << 4;
    /// Everything that a field of the report says.
    pub(super) const IN_FIELDS: u32 = IGNITION | FIX | SOUTH | WEST | OUT_OF_SERVICE;
    /// Load 0 to 3; 2 is reserved.
    pub(super) const LOAD: u32 = 3 << 8;
    pub(super) const DOORS: u32 = 0x1F << 13;
    pub(super) const SYSTEMS: u32 = 0xF << 18;
    /// Single bits with a name.
    pub(super) const NAMED: &[(u32, &str)] = &[
        (1 << 5, "coordinates_encrypted"),
        (1 << 6, "forward_collision_warning"),
        (1 << 7, "lane_departure_warning"),
        (1 << 10, "fuel_cut"),
        (1 << 11, "circuit_cut"),
        (1 << 12, "doors_locked"),
        (1 << 22, "moving"),
        (1 << 26, "charging"),
    ];
}

static LOADS: [&str; 4] = ["empty", "half", "reserved", "full"];
static DOORS: [&str; 5] = ["front", "middle", "rear", "driver", "custom"];
static SYSTEMS: [&str; 16] = [
    "",
    "gps",
    "bds",
    "gps+bds",
    "glonass",
    "gps+glonass",
    "bds+glonass",
    "gps+bds+glonass",
    "galileo",
    "gps+galileo",
    "bds+galileo",
    "gps+bds+galileo",
    "glonass+galileo",
    "gps+glonass+galileo",
    "bds+glonass+galileo",
    "gps+bds+glonass+galileo",
];

/// A whole 0x0200 body: the fixed part, then items or the fixed block of old trackers.
///
/// A report is large and passes many hands, so it is boxed where it is made.
pub(super) fn read_with_items(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Box<Report>, Fault> {
    let mut report = read(c, context)?;
    if c.remaining() == FIXED_TAIL {
        fixed_tail(c, &mut report)?;
    } else {
        items::read_all(c, &mut report, context);
    }
    Ok(report)
}

/// The fixed part.
pub(super) fn read(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Box<Report>, Fault> {
    let mut report = Box::<Report>::default();
    let alarms = c.read("alarm_bits", be_u32)?;
    if alarms != 0 {
        alarm_word(alarms, &mut report, context);
        let set = report.alarms;
        c.note(|| set.iter().map(Alarm::label).collect::<Vec<_>>().join(", "));
    }
    place(c, &mut report, context)?;
    motion(c, &mut report)?;
    let time = c.bytes("time", 6)?;
    set_time(time, &mut report, context);
    c.note(|| report.time.map_or_else(|| "no time".to_owned(), |t| t.to_string()));
    Ok(report)
}

/// Altitude, speed and course, as they stand behind every place.
pub(super) fn motion(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.altitude_m = Some(f64::from(c.read("altitude_m", be_i16)?));
    let speed = f64::from(c.read("speed_0.1_kmh", be_u16)?) / 10.0;
    c.note(|| format!("{speed} km/h"));
    report.speed_kmh = Some(speed);
    let course = c.read("course_deg", be_u16)?;
    if course <= 360 {
        report.course_deg = Some(f64::from(course));
    }
    Ok(())
}

/// BCD of 6 bytes; one that is no time and not zeros is kept as it came.
pub(super) fn set_time(bytes: &[u8], report: &mut Report, context: &Context<'_>) {
    report.time = context.time(bytes);
    if report.time.is_none() && bytes.iter().any(|b| *b != 0) {
        report.attributes.set("time_raw", hex(bytes));
    }
}

/// The alarm word: the contract's words, the details that they leave out, and the raw bits.
fn alarm_word(bits: u32, report: &mut Report, context: &Context<'_>) {
    let table = context.dialect.alarms.unwrap_or(ALARMS);
    let mut details = Vec::new();
    for entry in table {
        let applies = entry.since <= context.edition && context.edition <= entry.until;
        if bits >> entry.bit & 1 == 1 && applies {
            entry.alarm.into_iter().for_each(|a| report.alarms.insert(a));
            if !entry.detail.is_empty() {
                details.push(Value::from(entry.detail));
            }
        }
    }
    report.attributes.set("alarm_bits", bits);
    if !details.is_empty() {
        report.attributes.set("alarm_details", Value::List(details));
    }
}

/// Status word, latitude and longitude.
pub(super) fn place(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    let bits = c.read("status_bits", be_u32)?;
    c.note(|| format!("{bits:#034b}"));
    let has = |bit: u32| bits & bit != 0;
    let latitude = c.read("latitude_1e-6_deg", be_u32)?;
    let longitude = c.read("longitude_1e-6_deg", be_u32)?;
    report.ignition = Some(has(status::IGNITION));
    report.in_service = Some(!has(status::OUT_OF_SERVICE));
    let load = (bits & status::LOAD) >> 8;
    if load & 1 != 0 || context.dialect.load_is_hire {
        report.occupied = Some(load & 1 != 0);
    }
    // an unsigned number with a sign bit in the status word; the hemisphere of zero is no matter
    let signed = |n: u32, negative: bool| f64::from(n) / if negative { -1e6 } else { 1e6 };
    let degrees = (signed(latitude, has(status::SOUTH)), signed(longitude, has(status::WEST)));
    let somewhere = (latitude, longitude) != (0, 0);
    let on_earth = geo::on_earth(degrees.0, degrees.1);
    report.valid = Some(has(status::FIX) && somewhere && on_earth);
    if somewhere && on_earth {
        (report.latitude, report.longitude) = (Some(degrees.0), Some(degrees.1));
    } else if somewhere {
        report.attributes.set("latitude_raw", latitude);
        report.attributes.set("longitude_raw", longitude);
    }
    if bits & !status::IN_FIELDS != 0 {
        other_status(bits, load, &mut report.attributes);
    }
    Ok(())
}

fn other_status(bits: u32, load: u32, attributes: &mut Attributes) {
    let mut known = status::IN_FIELDS | status::LOAD | status::DOORS | status::SYSTEMS;
    for (bit, name) in status::NAMED {
        known |= bit;
        if bits & bit != 0 {
            attributes.set(*name, true);
        }
    }
    if let Some(load) = LOADS.get(load as usize).filter(|_| load != 0) {
        attributes.set("load", *load);
    }
    let open = DOORS.iter().enumerate().filter(|(n, _)| bits >> (13 + n) & 1 == 1);
    let open: Vec<Value> = open.map(|(_, name)| Value::from(*name)).collect();
    if !open.is_empty() {
        attributes.set("doors_open", Value::List(open));
    }
    if let Some(systems) = SYSTEMS.get((bits as usize & status::SYSTEMS as usize) >> 18).filter(|s| !s.is_empty()) {
        attributes.set("gnss_systems", *systems);
    }
    if bits & !known != 0 {
        attributes.set("status_bits", bits);
    }
}

fn fixed_tail(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    let remaining = c.bytes("remaining_battery_and_mileage", 4)?;
    if remaining.iter().any(|b| *b != 0) {
        report.attributes.set("remaining_battery_and_mileage", hex(remaining));
    }
    report.odometer_m = Some(f64::from(c.read("odometer_km", be_u32)?) * 1000.0);
    report.battery_v = Some(f64::from(c.read("battery_0.1_v", be_u16)?) / 10.0);
    report.attributes.set("area_id", c.read("area_id", be_u32)?);
    let [rssi, reserved @ ..] = c.bytes("rssi_and_reserve", 4)? else {
        return Ok(());
    };
    report.rssi = Some(i32::from(*rssi));
    if reserved.iter().any(|b| *b != 0) {
        report.attributes.set("reserve", hex(reserved));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use crate::profile::Profile;

    fn body(alarm: u32, status: u32, latitude: u32, longitude: u32, time: &[u8; 6]) -> Vec<u8> {
        let mut body = Vec::new();
        for n in [alarm, status, latitude, longitude] {
            body.extend(n.to_be_bytes());
        }
        body.extend(b"\xff\xf6\x02\x0b\x00\x57");
        body.extend(time);
        body
    }

    fn report(bytes: &[u8], edition: Edition, dialect: Option<&str>) -> Report {
        let profile = Profile { dialect: dialect.map(Into::into), ..Profile::default() };
        *read_with_items(&mut Cursor::new(bytes, 0, None), &Context::new(edition, &profile)).unwrap()
    }

    const TIME: &[u8; 6] = b"\x26\x03\x01\x18\x00\x00";

    #[test]
    fn accepts_a_fix_in_any_hemisphere() {
        let r = report(&body(0, 0b1111, 33_904_000, 70_407_000, TIME), Edition::V2013, None);
        assert_eq!((r.latitude, r.longitude, r.valid), (Some(-33.904), Some(-70.407), Some(true)));
        assert_eq!((r.altitude_m, r.speed_kmh, r.course_deg), (Some(-10.0), Some(52.3), Some(87.0)));
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T10:00:00.000Z");
        assert!(r.attributes.is_empty() && r.alarms.is_empty());
    }

    #[test]
    fn refuses_to_call_nowhere_a_fix() {
        let r = report(&body(0, 3, 0, 0, TIME), Edition::V2013, None);
        assert_eq!((r.latitude, r.valid), (None, Some(false)));
        let r = report(&body(0, 3, 116_000_000, 39_000_000, TIME), Edition::V2013, None);
        assert_eq!((r.latitude, r.valid), (None, Some(false)));
        assert_eq!(r.attributes.get("latitude_raw"), Some(&Value::Int(116_000_000)));
    }

    #[test]
    fn no_time_is_no_time() {
        let r = report(&body(0, 3, 39_000_000, 116_000_000, &[0; 6]), Edition::V2013, None);
        assert!(r.time.is_none() && r.attributes.is_empty());
        let r = report(&body(0, 3, 39_000_000, 116_000_000, b"\x26\x13\x01\x18\x00\x00"), Edition::V2013, None);
        assert_eq!(r.attributes.get("time_raw"), Some(&Value::from("261301180000")));
    }

    #[test]
    fn bits_mean_what_the_edition_says() {
        let tracker = report(&body(1 << 15 | 1 << 17, 3, 1, 1, TIME), Edition::V2013, None);
        assert!(tracker.alarms.contains(Alarm::Vibration) && tracker.alarms.contains(Alarm::Tamper));
        let standard = report(&body(1 << 15 | 1 << 17, 3, 1, 1, TIME), Edition::V2019, None);
        assert!(standard.alarms.is_empty() && standard.attributes.get("alarm_details").is_some());
        let lock = report(&body(1 << 1, 3, 1, 1, TIME), Edition::V2013, Some("padlock"));
        assert!(lock.alarms.contains(Alarm::Tamper) && !lock.alarms.contains(Alarm::Overspeed));
    }

    #[test]
    fn every_alarm_bit_says_something_in_every_edition() {
        for edition in [Edition::V2011, Edition::V2013, Edition::V2019] {
            for bit in 0..32 {
                let r = report(&body(1 << bit, 3, 1, 1, TIME), edition, None);
                assert!(!r.alarms.is_empty() || r.attributes.get("alarm_details").is_some(), "{edition:?} {bit}");
            }
        }
    }

    #[test]
    fn only_a_taxi_says_that_it_is_free() {
        let hired = |status, dialect| report(&body(0, status, 1, 1, TIME), Edition::V2013, dialect).occupied;
        assert_eq!([hired(3, None), hired(0x103, None), hired(0x303, None)], [None, Some(true), Some(true)]);
        assert_eq!(hired(3, Some("taxi")), Some(false));
    }

    #[test]
    fn unknown_status_bits_are_kept() {
        let r = report(&body(0, 1 << 31 | 1 << 13 | 1 << 19, 1, 1, TIME), Edition::V2013, None);
        let expected = serde_json::json!({"doors_open": ["front"], "gnss_systems": "bds", "status_bits": 0x8008_2000u32});
        assert_eq!(serde_json::to_value(&r.attributes).unwrap(), expected);
    }

    #[test]
    fn refuses_every_prefix() {
        let whole = body(0, 3, 1, 1, TIME);
        let profile = Profile::default();
        for n in 0..whole.len() {
            let fault = read(&mut Cursor::new(&whole[..n], 0, None), &Context::new(Edition::V2013, &profile)).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Truncated);
        }
    }
}
