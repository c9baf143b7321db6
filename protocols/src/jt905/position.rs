//! The 25 bytes that say where a taxi is and what it does: in 0x0200 and inside most other messages.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::Context;
use super::items;
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Report, Value};
use crate::fault::Fault;
use crate::parts::geo;

/// Bytes of the part that every report has.
pub(super) const LENGTH: usize = 25;

/// What each bit of the alarm word means: the contract's word, and the protocol's own where that says more.
static ALARMS: [(Option<Alarm>, &str); 29] = [
    (Some(Alarm::Sos), ""),
    (None, "pre_warning"),
    (Some(Alarm::Fault), "gnss_module"),
    (Some(Alarm::GnssAntennaCut), ""),
    (Some(Alarm::GnssAntennaCut), "gnss_antenna_short"),
    (Some(Alarm::LowPower), ""),
    (Some(Alarm::PowerCut), ""),
    (Some(Alarm::Fault), "display"),
    (Some(Alarm::Fault), "tts_module"),
    (Some(Alarm::Fault), "camera"),
    (Some(Alarm::Fault), "meter"),
    (Some(Alarm::Fault), "evaluator"),
    (Some(Alarm::Fault), "led_screen"),
    (Some(Alarm::Fault), "lcd_screen"),
    (Some(Alarm::Fault), "security_module"),
    (Some(Alarm::Fault), "roof_light"),
    (Some(Alarm::Overspeed), ""),
    (Some(Alarm::Fatigue), ""),
    (None, "daily_driving_time"),
    (Some(Alarm::Parking), ""),
    (Some(Alarm::Geofence), ""),
    (None, "segment_time"),
    (Some(Alarm::Geofence), "forbidden_road"),
    (Some(Alarm::Fault), "speed_sensor"),
    (Some(Alarm::General), "illegal_ignition"),
    (Some(Alarm::Movement), ""),
    (Some(Alarm::Fault), "storage"),
    (Some(Alarm::Fault), "audio_recorder"),
    (Some(Alarm::Fault), "meter_clock"),
];

/// Status bits.
mod status {
    pub(super) const FIX: u32 = 1;
    pub(super) const SOUTH: u32 = 1 << 1;
    pub(super) const WEST: u32 = 1 << 2;
    pub(super) const OUT_OF_SERVICE: u32 = 1 << 3;
    pub(super) const IGNITION: u32 = 1 << 8;
    pub(super) const OCCUPIED: u32 = 1 << 9;
    /// Everything that a field of the report says.
    pub(super) const IN_FIELDS: u32 = FIX | SOUTH | WEST | OUT_OF_SERVICE | IGNITION | OCCUPIED;
    /// Bits with a name; the first three are about the business.
    pub(super) const NAMED: &[(u32, &str)] = &[
        (1 << 4, "booked"),
        (1 << 5, "became_occupied"),
        (1 << 6, "became_empty"),
        (1 << 10, "fuel_cut"),
        (1 << 11, "circuit_cut"),
        (1 << 12, "doors_locked"),
        (1 << 13, "vehicle_locked"),
        (1 << 14, "limit_reached"),
    ];
}

/// The course is counted in steps of two degrees, of which there are 180.
const COURSE_STEPS: u8 = 180;

/// A whole 0x0200 body: the fixed part, then items.
///
/// A report is large and passes many hands, so it is boxed where it is made.
pub(super) fn read_with_items(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Box<Report>, Fault> {
    let mut report = read(c, context)?;
    items::read_all(c, &mut report);
    Ok(report)
}

/// The fixed part.
pub(super) fn read(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Box<Report>, Fault> {
    let mut report = Box::<Report>::default();
    let alarms = c.read("alarm_bits", be_u32)?;
    if alarms != 0 {
        alarm_word(alarms, &mut report);
        let set = report.alarms;
        c.note(|| set.iter().map(Alarm::label).collect::<Vec<_>>().join(", "));
    }
    place(c, &mut report, context)?;
    let speed = f64::from(c.read("speed_0.1_kmh", be_u16)?) / 10.0;
    c.note(|| format!("{speed} km/h"));
    report.speed_kmh = Some(speed);
    let course = c.read("course_2_deg", be_u8)?;
    if course <= COURSE_STEPS {
        report.course_deg = Some(f64::from(course) * 2.0);
    } else {
        report.attributes.set("course_raw", course);
    }
    let time = c.bytes("time", 6)?;
    report.time = context.time(time);
    if report.time.is_none() && time.iter().any(|b| *b != 0) {
        report.attributes.set("time_raw", hex(time));
    }
    c.note(|| report.time.map_or_else(|| "no time".to_owned(), |t| t.to_string()));
    Ok(report)
}

/// The alarm word: the contract's words, the details that they leave out, and the raw bits.
fn alarm_word(bits: u32, report: &mut Report) {
    let mut details = Vec::new();
    for (bit, (alarm, detail)) in ALARMS.iter().enumerate() {
        if bits >> bit & 1 == 1 {
            alarm.iter().for_each(|a| report.alarms.insert(*a));
            if !detail.is_empty() {
                details.push(Value::from(*detail));
            }
        }
    }
    report.attributes.set("alarm_bits", bits);
    if !details.is_empty() {
        report.attributes.set("alarm_details", Value::List(details));
    }
}

/// Status word, latitude and longitude.
fn place(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    let bits = c.read("status_bits", be_u32)?;
    c.note(|| format!("{bits:#034b}"));
    let has = |bit: u32| bits & bit != 0;
    let latitude = c.read("latitude_raw", be_u32)?;
    let longitude = c.read("longitude_raw", be_u32)?;
    report.ignition = Some(has(status::IGNITION));
    report.occupied = Some(has(status::OCCUPIED));
    report.in_service = Some(!has(status::OUT_OF_SERVICE));
    // an unsigned number with a sign bit in the status word; a ten-millionth of a degree is a centimetre
    let degrees = |n: u32, negative: bool| {
        let degrees = geo::round(f64::from(n) / context.dialect.per_degree, 7);
        if negative { -degrees } else { degrees }
    };
    let place = (degrees(latitude, has(status::SOUTH)), degrees(longitude, has(status::WEST)));
    c.note(|| format!("{} {}", place.0, place.1));
    let somewhere = (latitude, longitude) != (0, 0);
    let on_earth = geo::on_earth(place.0, place.1);
    // wherever the bit is read in the wrong way, a terminal that never had a fix is found out by its zeros
    report.valid = Some(has(status::FIX) == context.dialect.fix_is_set && somewhere && on_earth);
    if somewhere && on_earth {
        (report.latitude, report.longitude) = (Some(place.0), Some(place.1));
    } else if somewhere {
        report.attributes.set("latitude_raw", latitude);
        report.attributes.set("longitude_raw", longitude);
    }
    if bits & !status::IN_FIELDS != 0 {
        other_status(bits, &mut report.attributes);
    }
    Ok(())
}

fn other_status(bits: u32, attributes: &mut Attributes) {
    let mut known = status::IN_FIELDS;
    for (bit, name) in status::NAMED {
        known |= bit;
        if bits & bit != 0 {
            attributes.set(*name, true);
        }
    }
    if bits & !known != 0 {
        attributes.set("status_bits", bits);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use crate::profile::Profile;

    fn body(alarm: u32, status: u32, latitude: u32, longitude: u32, course: u8, time: &[u8; 6]) -> Vec<u8> {
        let mut body = Vec::new();
        for n in [alarm, status, latitude, longitude] {
            body.extend(n.to_be_bytes());
        }
        body.extend(b"\x02\x0b");
        body.push(course);
        body.extend(time);
        body
    }

    fn report(bytes: &[u8], dialect: &str) -> Report {
        let profile = Profile { dialect: Some(dialect.into()), ..Profile::default() };
        *read_with_items(&mut Cursor::new(bytes, 0, None), &Context::new(&profile)).unwrap()
    }

    const TIME: &[u8; 6] = b"\x26\x03\x01\x18\x00\x00";
    const SANTIAGO: (u32, u32) = (20_342_400, 42_244_200);

    #[test]
    fn accepts_a_fix_in_any_hemisphere() {
        let r = report(&body(0, 0b0110, SANTIAGO.0, SANTIAGO.1, 43, TIME), "");
        assert_eq!((r.latitude, r.longitude, r.valid), (Some(-33.904), Some(-70.407), Some(true)));
        assert_eq!((r.speed_kmh, r.course_deg, r.in_service), (Some(52.3), Some(86.0), Some(true)));
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T10:00:00.000Z");
        assert!(r.attributes.is_empty() && r.alarms.is_empty());
    }

    #[test]
    fn the_fix_bit_is_read_as_the_dialect_has_it() {
        for (status, dialect, valid) in [(0, "", true), (1, "", false), (1, "uninew", true), (0, "fix-bit-808", false)] {
            let r = report(&body(0, status, SANTIAGO.0, SANTIAGO.1, 0, TIME), dialect);
            assert_eq!((r.valid, r.latitude), (Some(valid), Some(33.904)), "{status} {dialect}");
        }
    }

    #[test]
    fn refuses_to_call_nowhere_a_fix() {
        let r = report(&body(0, 0, 0, 0, 0, TIME), "");
        assert_eq!((r.latitude, r.valid), (None, Some(false)));
        let r = report(&body(0, 0, 12_222_222, 132_444_444, 0, TIME), "");
        assert_eq!((r.latitude, r.valid), (None, Some(false)));
        assert_eq!(r.attributes.get("longitude_raw"), Some(&Value::Int(132_444_444)));
        assert_eq!(report(&body(0, 0, 39_904_000, 116_407_000, 0, TIME), "micro-degrees").latitude, Some(39.904));
    }

    #[test]
    fn no_time_and_no_course_are_none() {
        let r = report(&body(0, 0, 1, 1, 200, b"\x26\x13\x01\x18\x00\x00"), "");
        assert_eq!((r.time, r.course_deg), (None, None));
        assert_eq!(
            serde_json::to_value(&r.attributes).unwrap(),
            serde_json::json!({"course_raw": 200, "time_raw": "261301180000"})
        );
        assert!(report(&body(0, 0, 1, 1, 180, &[0; 6]), "").attributes.is_empty());
    }

    #[test]
    fn the_business_is_in_the_status_word() {
        let r = report(&body(0, 1 << 3 | 1 << 4 | 1 << 5 | 1 << 8 | 1 << 9 | 1 << 20, 1, 1, 0, TIME), "");
        assert_eq!((r.ignition, r.occupied, r.in_service), (Some(true), Some(true), Some(false)));
        let expected = serde_json::json!({"booked": true, "became_occupied": true, "status_bits": 0x100338});
        assert_eq!(serde_json::to_value(&r.attributes).unwrap(), expected);
    }

    #[test]
    fn every_alarm_bit_says_something() {
        for bit in 0..32 {
            let r = report(&body(1 << bit, 0, 1, 1, 0, TIME), "");
            assert_eq!(r.attributes.get("alarm_bits"), Some(&Value::Int(1 << bit)));
            let said = !r.alarms.is_empty() || r.attributes.get("alarm_details").is_some();
            assert_eq!(said, bit < 29, "{bit}");
        }
    }

    #[test]
    fn refuses_a_body_that_is_cut_off() {
        let (whole, profile) = (body(0, 0, 1, 1, 0, TIME), Profile::default());
        for n in 0..LENGTH {
            let fault = read(&mut Cursor::new(&whole[..n], 0, None), &Context::new(&profile)).unwrap_err();
            assert_eq!(fault.kind, FaultKind::Truncated, "{n}");
        }
    }
}
