//! What texts of this protocol tell: places in command answers, OBD values, the fuel sensor.

use crate::event::{Attributes, Report};
use crate::parts::geo::on_earth;
use crate::time::{Civil, Timestamp};

/// The place in a command answer such as `…Lat:N23.1,Lon:E114.4,Course:0.00,Speed:0.35,DateTime:2017-05-26  10:27:47`.
pub(super) fn place(text: &str, offset_s: i32) -> Option<Report> {
    let latitude = hemisphere(after(text, "Lat:")?, 'N', 'S')?;
    let longitude = hemisphere(after(text, "Lon:")?, 'E', 'W')?;
    let number = |name| after(text, name).and_then(|t| number(t).parse::<f64>().ok());
    Some(Report {
        latitude: Some(latitude),
        longitude: Some(longitude),
        valid: Some(on_earth(latitude, longitude)),
        course_deg: number("Course:"),
        speed_kmh: number("Speed:"),
        time: after(text, "DateTime:").and_then(|t| date_time(t, offset_s)),
        ..Report::default()
    })
    .filter(|_| on_earth(latitude, longitude))
}

fn after<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.split_once(name).map(|(_, rest)| rest)
}

fn number(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    text.get(..end).unwrap_or_default()
}

fn hemisphere(text: &str, plus: char, minus: char) -> Option<f64> {
    let letter = text.chars().next()?;
    let degrees = number(text.get(letter.len_utf8()..)?).parse::<f64>().ok()?;
    match letter {
        c if c == plus => Some(degrees),
        c if c == minus => Some(-degrees),
        _ => None,
    }
}

/// `2017-05-26  10:27:47`; the year may have two digits.
fn date_time(text: &str, offset_s: i32) -> Option<Timestamp> {
    let mut numbers = text.split(|c: char| !c.is_ascii_digit()).filter(|n| !n.is_empty()).map(str::parse::<u16>);
    let mut next = || numbers.next()?.ok();
    let year = next()?;
    let mut byte = || next().and_then(|n| u8::try_from(n).ok());
    let civil = Civil {
        year: if year < 100 { 2000 + year } else { year },
        month: byte()?,
        day: byte()?,
        hour: byte()?,
        minute: byte()?,
        second: byte()?,
    };
    Timestamp::from_civil(civil, offset_s)
}

/// OBD values by the first two hex digits of their id: name, and what divides the number. The odometer (hundredths of a
/// kilometre) and the vehicle's number are apart.
const OBD_VALUES: &[(u8, &str, f64)] = &[
    (0x2B, "fuel", 100.0),
    (0x2D, "coolant_temperature_c", 100.0),
    (0x35, "obd_speed_kmh", 100.0),
    (0x36, "engine_rpm", 100.0),
    (0x47, "fuel_used", 100.0),
    (0x49, "engine_hours", 100.0),
];
const OBD_ODOMETER: u8 = 0x28;
/// A hundredth of a kilometre.
const OBD_ODOMETER_M: f64 = 10.0;
const OBD_VIN: u8 = 0x4A;
/// Ids of three digits are of the list above; those of four are raw answers to a PID.
const OBD_ID_DIGITS: usize = 3;

/// Take what one OBD value says into a report.
pub(super) fn obd_value(report: &mut Report, id: &str, value: &str) {
    let known = id.get(..2).filter(|_| id.len() == OBD_ID_DIGITS).and_then(|digits| u8::from_str_radix(digits, 16).ok());
    let Some(known) = known.filter(|_| !value.is_empty()) else {
        return;
    };
    if known == OBD_VIN {
        report.attributes.set("vin", value.to_owned());
        return;
    }
    let Ok(number) = u32::from_str_radix(value, 16).map(f64::from) else {
        return;
    };
    if known == OBD_ODOMETER {
        report.odometer_m = Some(number * OBD_ODOMETER_M);
    } else if let Some((_, name, by)) = OBD_VALUES.iter().find(|(k, ..)| *k == known) {
        report.attributes.set(*name, number / by);
    }
}

/// `!AIOIL,02,008.290,029.600,519J,0400,008.430,0,00,AB`: the fourth field is the temperature, the seventh the level.
pub(super) fn fuel_sensor(attributes: &mut Attributes, text: String) {
    let field = |n| text.split(',').nth(n).and_then(|f| f.parse::<f64>().ok());
    if let Some(temperature) = field(3) {
        attributes.set("temperature_c", temperature);
    }
    if let Some(level) = field(6) {
        attributes.set("fuel_level", level);
    }
    attributes.set("fuel_sensor", text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_in_answers() {
        let text = "DWXX=Lat:N23.111682,Lon:E114.409217,Course:126.50,Speed:0.3518,DateTime:11-11-15  11:53:43";
        let report = place(text, 8 * 3600).unwrap();
        assert_eq!((report.latitude, report.longitude), (Some(23.111682), Some(114.409217)));
        assert_eq!((report.course_deg, report.speed_kmh), (Some(126.5), Some(0.3518)));
        assert_eq!(report.time.unwrap().to_string(), "2011-11-15T03:53:43.000Z");
        let south = place("Current position!Lat:S1.5,Lon:W2.5", 0).unwrap();
        assert_eq!((south.latitude, south.longitude, south.time), (Some(-1.5), Some(-2.5), None));
    }

    #[test]
    fn refuses_what_is_no_place() {
        for text in ["", "DYD=Success!", "Lat:N99.5,Lon:E1.0", "Lat:X1,Lon:E1", "Lat:é,Lon:E1", "Lat:N,Lon:E"] {
            assert_eq!(place(text, 0), None, "{text}");
        }
    }

    #[test]
    fn obd_values_have_units() {
        let mut report = Report::default();
        for (id, value) in
            [("283", "000274d8"), ("353", "00002134"), ("4A3", "VIN5014255"), ("223", "1"), ("2110", "ff"), ("4", "x")]
        {
            obd_value(&mut report, id, value);
        }
        assert_eq!(report.odometer_m, Some(1_609_840.0));
        assert_eq!(report.attributes.get("obd_speed_kmh"), Some(&85.0.into()));
        assert_eq!(report.attributes.get("vin"), Some(&"VIN5014255".into()));
        assert_eq!(report.attributes.iter().count(), 2);
    }

    #[test]
    fn fuel_sensors() {
        let mut a = Attributes::default();
        fuel_sensor(&mut a, "!AIOIL,02,008.290,029.600,519J,0400,008.430,0,00,AB".into());
        assert_eq!((a.get("temperature_c"), a.get("fuel_level")), (Some(&29.6.into()), Some(&8.43.into())));
    }
}
