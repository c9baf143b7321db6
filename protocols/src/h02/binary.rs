//! The binary reports: one beginning, and tails that differ by length.
//!
//! ```text
//! mark | id 5 or 8 | hhmmss | ddmmyy | DDMMmmmm | battery | DDDMMmmmm + flags | speed 3, course 3 | status 4 | user 1 | tail
//! ```
//! All digits are packed two a byte; offsets behind an id of eight bytes are three larger.

use nom::number::complete::{be_u8, be_u16, be_u32};

use crate::cursor::{Cursor, hex};
use crate::event::{Cell, Report};
use crate::fault::{Fault, FaultKind};
use crate::h02::dialect::Dialect;
use crate::h02::fields::instant;
use crate::h02::status;
use crate::parts::{bcd, geo};

/// Nibble of flags behind the longitude.
mod flags {
    pub(super) const EAST: u8 = 1 << 3;
    pub(super) const NORTH: u8 = 1 << 2;
    pub(super) const VALID: u8 = 1 << 1;
}

/// The lengths whose tail is known, counted with an id of five bytes.
mod length {
    /// Base, and two bytes of which nothing is known.
    pub(super) const LONG: usize = 45;
    /// Temperature, fuel and altitude.
    pub(super) const SENSORS: usize = 46;
    /// Two bytes more before the record number: a voltage, or the cell's other half.
    pub(super) const TWO_MORE: usize = 47;
    /// Six bytes more before the record number.
    pub(super) const SIX_MORE: usize = 51;
}

/// Kilometres that no vehicle drives; what says more is something else.
const MAX_ODOMETER_KM: u32 = 10_000_000;

/// Time, date, place, motion and status. `offset_s`: of the device's clock from UTC.
///
/// # Errors
/// Where bytes are missing.
pub(super) fn beginning(c: &mut Cursor<'_, '_>, dialect: &Dialect, offset_s: i32) -> Result<(Report, bool), Fault> {
    let mut report = Report::default();
    let time = three(c.bytes("time", 3)?);
    let date = three(c.bytes("date", 3)?);
    report.time = time.zip(date).and_then(|(time, date)| instant(time, date, offset_s));
    c.note(|| report.time.map_or_else(|| "no such time".to_owned(), |t| t.to_string()));
    let latitude = c.bytes("latitude_ddmm", 4)?;
    let battery = c.read("battery_code", be_u8)?;
    let longitude = c.bytes("longitude_dddmm_and_flags", 5)?;
    let flags = longitude.last().map_or(0, |b| b & 15);
    let valid = flags & flags::VALID != 0;
    let place = bcd::number(latitude).zip(nine_digits(longitude)).and_then(|(latitude, longitude)| {
        let signed = |n: u64, positive: bool| Some(degrees(n)? * if positive { 1.0 } else { -1.0 });
        let place = (signed(latitude, flags & flags::NORTH != 0)?, signed(longitude, flags & flags::EAST != 0)?);
        (geo::on_earth(place.0, place.1) && (latitude, longitude) != (0, 0)).then_some(place)
    });
    report.valid = Some(valid && place.is_some());
    if let Some((latitude, longitude)) = place {
        (report.latitude, report.longitude) = (Some(latitude), Some(longitude));
        c.note(|| format!("{latitude} {longitude}"));
    }
    level(battery, &mut report);
    let motion = c.bytes("speed_kn_and_course_deg", 3)?;
    if let Some(six) = bcd::number(motion) {
        report.speed_kmh = Some(geo::round((six / 1000) as f64 * geo::KMH_PER_KNOT, 3));
        report.course_deg = Some((six % 1000) as f64).filter(|course| *course <= 360.0);
    }
    let word = c.read("status_bits", be_u32)?;
    c.note(|| format!("{word:08x}"));
    status::read(word, dialect, &mut report);
    let user = c.read("user_alarm_bits", be_u8)?;
    status::read_user(user, dialect, &mut report);
    Ok((report, place.is_some()))
}

/// What stands behind the beginning. `length`: of the frame, as if its id had five bytes.
///
/// # Errors
/// Where bytes are missing.
pub(super) fn tail(c: &mut Cursor<'_, '_>, length: usize, report: &mut Report) -> Result<(), Fault> {
    let whole = c.rest();
    // fill is no content
    if whole.iter().all(|b| *b == 0xFF) || whole.iter().all(|b| *b == 0) {
        c.take_rest("fill");
        return Ok(());
    }
    match length {
        length::LONG | length::TWO_MORE | length::SIX_MORE => {
            c.bytes("reserved", 1)?;
            let gsm = c.read("gsm", be_u8)?;
            if (1..=31).contains(&gsm) {
                report.rssi = Some(i32::from(gsm));
            }
            c.bytes("gps_and_battery_levels", 1)?;
            odometer(c.read("mileage_km", be_u32)?, report);
            let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
            let (lac, cid) = (c.read("lac", be_u16)?, c.read("cid", be_u16)?);
            // where two bytes follow, they may belong to the cell
            let known = length != length::TWO_MORE && super::network::is_mcc(mcc) && (lac, cid) != (0, 0);
            if known {
                report.cells.push(Cell { mcc, mnc: mnc.into(), lac: lac.into(), cid: cid.into(), rssi: None });
            }
            c.take_rest("unknown_and_record_number");
        }
        length::SENSORS => {
            c.bytes("unknown", 2)?;
            report.odometer_m = bcd::number(c.bytes("odometer_m", 5)?).map(|m| m as f64);
            let attributes = &mut report.attributes;
            attributes.set("temperature_c", c.read("temperature_c", nom::number::complete::be_i8)?);
            let [percent, _] = c.read("fuel_percent", be_u16)?.to_be_bytes();
            attributes.set("fuel_percent", percent);
            report.altitude_m = Some(f64::from(c.read("altitude_m", nom::number::complete::be_i16)?));
            let (lac, cid) = (c.read("lac", be_u16)?, c.read("cid", be_u16)?);
            attributes.set("lac", lac);
            attributes.set("cid", cid);
        }
        _ => {
            c.take_rest("tail");
        }
    }
    report.attributes.set("tail", hex(whole));
    Ok(())
}

/// The mileage that stands in place of an id: hundredths of knots, summed up every second, which makes metres.
///
/// # Errors
/// `Value` if it is no number.
pub(super) fn mileage(c: &mut Cursor<'_, '_>) -> Result<f64, Fault> {
    /// Metres per second of a knot, as the maker's own program has it.
    const METRES_PER_KNOT_SECOND: f64 = 0.51444;
    let bytes = c.bytes("mileage_kn_s_per_100", 5)?;
    let sum = bcd::number(bytes).ok_or_else(|| Fault::new(FaultKind::Value, 1, "the mileage is no number"))?;
    let metres = geo::round(sum as f64 * METRES_PER_KNOT_SECOND / 100.0, 1);
    c.note(|| format!("{metres} m"));
    Ok(metres)
}

fn odometer(km: u32, report: &mut Report) {
    if km < MAX_ODOMETER_KM {
        report.odometer_m = Some(f64::from(km) * 1000.0);
    } else {
        report.attributes.set("mileage_raw", km);
    }
}

/// The battery: codes of the first units, percent, or a level of six.
fn level(code: u8, report: &mut Report) {
    let percent = match code {
        1..=3 => (code - 1) * 10,
        4..=6 => (code - 1) * 20,
        7..=100 => code,
        0xF1..=0xF6 => {
            report.attributes.set("battery_level", code - 0xF0);
            return;
        }
        _ => return,
    };
    report.battery_percent = Some(f64::from(percent));
}

fn three(bytes: &[u8]) -> Option<[u8; 3]> {
    let [a, b, c] = *bytes.first_chunk::<3>()?;
    Some([bcd::byte(a)?, bcd::byte(b)?, bcd::byte(c)?])
}

/// The nine digits before the flags.
fn nine_digits(bytes: &[u8]) -> Option<u64> {
    let (last, first) = bytes.split_last()?;
    let digit = last >> 4;
    (digit <= 9).then_some(bcd::number(first)? * 10 + u64::from(digit))
}

/// Degrees from `DDDMMmmmm`.
fn degrees(digits: u64) -> Option<f64> {
    let (degrees, minutes) = (digits / 1_000_000, digits % 1_000_000);
    (minutes < 600_000).then(|| geo::round(degrees as f64 + minutes as f64 / 600_000.0, 7))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;
    use crate::event::{Alarm, Value};
    use crate::profile::Profile;

    /// The report of a frame in hex whose id has five bytes.
    fn read(frame: &str) -> (Report, bool) {
        let bytes = unhex(frame).unwrap();
        let mut c = Cursor::new(&bytes[6..], 6, None);
        let (mut report, located) = beginning(&mut c, Dialect::of(&Profile::default()), 0).unwrap();
        tail(&mut c, bytes.len(), &mut report).unwrap();
        (report, located)
    }

    /// A frame with this tail.
    fn with_tail(tail: &str) -> (Report, bool) {
        read(&format!("24123456789010000001032639542400061162442006012270fffffbfdff{tail}"))
    }

    #[test]
    fn the_long_form() {
        let (r, located) = with_tail("0015060000002c01cc00262b0f171f");
        assert!(located);
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T10:00:00.000Z");
        assert_eq!((r.latitude, r.longitude), (Some(39.904), Some(-116.407)));
        assert_eq!((r.valid, r.speed_kmh, r.course_deg), (Some(true), Some(22.224), Some(270.0)));
        assert!(r.alarms.contains(Alarm::Sos));
        assert_eq!((r.rssi, r.odometer_m, r.battery_percent), (Some(21), Some(44_000.0), Some(100.0)));
        assert_eq!(r.ignition, Some(false));
    }

    #[test]
    fn the_form_with_sensors() {
        let (r, _) = read("2412345678900127170103260520046500100286297e003085ffffdfffff03440069129344006400001151415a20");
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T01:27:17.000Z");
        assert_eq!((r.odometer_m, r.altitude_m), (Some(69_129_344.0), Some(17.0)));
        assert_eq!(r.attributes.get("fuel_percent"), Some(&Value::Int(100)));
        assert_eq!((r.speed_kmh, r.course_deg, r.battery_percent), (Some(5.556), Some(85.0), None));
    }

    #[test]
    fn cells_are_told_where_they_are_whole() {
        let (r, _) = with_tail("0015060000002c01cc00262b0f170a");
        assert_eq!(r.cells, [Cell { mcc: 460, mnc: 0, lac: 0x262B, cid: 0x0F17, rssi: None }]);
        let (r, _) = with_tail("0013350000007601cc01ff3f00000004ec");
        assert!(r.cells.is_empty());
        assert_eq!(r.attributes.get("tail"), Some(&Value::Text("0013350000007601cc01ff3f00000004ec".into())));
    }

    #[test]
    fn fill_is_no_reading() {
        let (r, located) = read("241234567890100000010326ffffffff00ffffffffffffffffffffffffffffff");
        assert!(!located);
        assert_eq!((r.valid, r.speed_kmh, r.course_deg), (Some(false), None, None));
        assert_eq!(r.ignition, Some(true));
        assert_eq!(r.attributes.get("tail"), None);
        let (r, located) = read("241234567890010000010326000000000000000000 0e000000fffffbffff00".replace(' ', "").as_str());
        assert!(!located, "nobody is there");
        assert_eq!(r.latitude, None);
    }

    #[test]
    fn mileage_that_no_car_drives_stays_raw() {
        let (r, _) = with_tail("0002527765660600000000000000000049");
        assert_eq!((r.odometer_m, r.rssi), (None, Some(2)));
        assert!(r.attributes.get("mileage_raw").is_some());
    }

    #[test]
    fn battery_codes() {
        let told = |code| {
            let mut report = Report::default();
            level(code, &mut report);
            (report.battery_percent, report.attributes.get("battery_level").cloned())
        };
        assert_eq!(told(0), (None, None));
        assert_eq!(told(3), (Some(20.0), None));
        assert_eq!(told(6), (Some(100.0), None));
        assert_eq!(told(57), (Some(57.0), None));
        assert_eq!(told(0xF4), (None, Some(Value::Int(4))));
        assert_eq!(told(0xFE), (None, None));
    }

    #[test]
    fn mileage_of_x() {
        let mut c = Cursor::new(&[0x00, 0x00, 0x12, 0x34, 0x56], 1, None);
        assert_eq!(mileage(&mut c), Ok(635.1));
        let mut c = Cursor::new(&[0xFF; 5], 1, None);
        assert_eq!(mileage(&mut c).unwrap_err().kind, FaultKind::Value);
    }
}
