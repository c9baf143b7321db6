//! The layouts of reports.
//!
//! ```text
//! keyword,local time,phone,F,utc,A,lat,N,lon,E,knots,course,alt,acc,door,fuel1,fuel2,temp     a place
//! keyword,local time,phone,L,,,LAC,,CID,,,,alt,acc,door,…                                     a cell, or nothing
//! name,event,sensor,volts,HHmmss,ddMMyy,rssi,fix,lat,lon,km/h,course,alt,hdop,sats,acc,charge,error
//! ```

use crate::event::{Alarm, Alarms, Attributes, Cell, Report};
use crate::gps103::clock::{self, Clock, Zones};
use crate::gps103::dialect::Dialect;
use crate::gps103::fields::{Fields, number, percent};
use crate::gps103::keywords::{self, Keyword, Outcome, Says};
use crate::parts::geo::{from_ddmm, on_earth, round};
use crate::profile::TimeZone;
use crate::time::{Civil, Timestamp};

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Facts<'f> {
    /// In the contract's words.
    pub(super) report: Report,
    /// It has a place, if perhaps an invalid one.
    pub(super) located: bool,
    /// What the time comes from.
    pub(super) clock: Clock,
    /// The zone of the device, where its two clocks show it.
    pub(super) zone: Option<TimeZone>,
    /// What was held to the card reader.
    pub(super) card: Option<&'f str>,
    /// A photo follows.
    pub(super) photo: Option<PhotoInfo>,
    /// The command that it answers, and how.
    pub(super) answer: Option<(u16, Outcome)>,
    /// The alternative layout, in which the unit's name stands where others have a keyword.
    pub(super) named: bool,
}

/// The announcement of a photo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PhotoInfo {
    /// How many parts it has.
    pub(super) parts: u8,
    /// Taken because of an alarm, not because it was asked for.
    pub(super) for_alarm: bool,
}

impl Facts<'_> {
    /// Take the time from what was read of it.
    pub(super) fn set_time(&mut self, zones: Zones) {
        let reading = self.clock.read(zones);
        self.report.time = reading.time;
        self.zone = reading.zone;
    }
}

/// Fields of the alternative layout, behind the unit's name, that must be there.
const ALTERNATIVE: usize = 17;
/// Decimals of speeds in km/h: units send up to three of knots.
const SPEED_DECIMALS: i32 = 3;
/// Metres of the mileage's unit.
const KM: f64 = 1000.0;

/// Read what stands behind the keyword; `None` if that is none of the layouts.
pub(super) fn report<'f>(fields: &mut Fields<'f, '_>, says: &Keyword, zones: Zones, dialect: &Dialect) -> Option<Facts<'f>> {
    let (fix, validity) = (fields.peek(2), fields.peek(4));
    let placed = matches!(validity, Some("A" | "V")) || fix == Some("F");
    if !placed && fix != Some("L") {
        let six = |n| fields.peek(n).is_some_and(|f| f.len() == 6 && f.bytes().all(|b| b.is_ascii_digit()));
        return (six(3) && six(4) && fields.peek(ALTERNATIVE - 1).is_some()).then(|| alternative(fields));
    }
    let mut facts = Facts::default();
    date(fields, &mut facts);
    phone(fields, &mut facts, says);
    fields.next("fix");
    if placed {
        place(fields, &mut facts, dialect);
    } else {
        cell(fields, &mut facts);
    }
    tail(fields, &mut facts.report, says);
    facts.set_time(zones);
    Some(facts)
}

/// What may stand behind a keyword that needs no more.
pub(super) fn bare<'f>(fields: &mut Fields<'f, '_>, zones: Zones) -> Facts<'f> {
    let mut facts = Facts::default();
    if fields.peek(0).is_some_and(|text| clock::local(text).is_some()) {
        date(fields, &mut facts);
    }
    if let Some(rest) = fields.take_rest("rest") {
        facts.report.attributes.set("rest", rest.to_owned());
    }
    facts.set_time(zones);
    facts
}

/// Take what the keyword says into the report.
pub(super) fn keyword(facts: &mut Facts<'_>, word: &str, meaning: &'static Keyword, extras: &str) {
    let report = &mut facts.report;
    if facts.named {
        report.attributes.set("unit_name", word.to_owned());
        return;
    }
    facts.answer = keywords::answer(word, meaning);
    report.alarms = meaning.alarm.into_iter().collect::<Alarms>();
    let attributes = &mut report.attributes;
    match meaning.says {
        Says::Nothing | Says::TroubleCodes | Says::Card => {}
        Says::Ignition(on) => report.ignition = Some(on),
        Says::Answer(_) => attributes.set("answer", meaning.word),
        Says::Refusal(_) => {
            attributes.set("answer", meaning.word);
            attributes.set("refused", true);
        }
        Says::Event if facts.answer.is_some() => {
            attributes.set("answer", word.to_owned());
            if word.starts_with('5') {
                attributes.set("refused", true);
            }
        }
        Says::Event if meaning.word.is_empty() => attributes.set("event", word.to_owned()),
        Says::Event | Says::Service => attributes.set("event", meaning.word),
        Says::Temperature => match number(extras) {
            Some(celsius) => temperature(attributes, celsius),
            None => attributes.set("event", word.to_owned()),
        },
        Says::Fuel => {
            // `oil 51.67` is a level, `oil1` and `oil2` are sensors
            match percent(extras) {
                Some(level) if word.contains(' ') => attributes.set("fuel_percent", level),
                _ => attributes.set("event", word.to_owned()),
            }
        }
        Says::Area => {
            let (area, way) = extras.split_once(' ').unwrap_or((extras, ""));
            attributes.set("area", area.to_owned());
            report.alarms.insert(match way.trim() {
                "in" => Alarm::GeofenceEnter,
                "out" => Alarm::GeofenceExit,
                _ => Alarm::Geofence,
            });
        }
        Says::Photo { for_alarm } => {
            attributes.set("event", word.to_owned());
            facts.photo = extras.parse().ok().map(|parts| PhotoInfo { parts, for_alarm });
        }
    }
    if matches!(meaning.says, Says::Nothing | Says::Event) {
        for extra in extras.split_whitespace() {
            let attributes = &mut facts.report.attributes;
            match (extra.strip_suffix('%').and_then(number), number(extra)) {
                (Some(fuel), _) => attributes.set("fuel_percent", fuel),
                (_, Some(celsius)) if extra.starts_with(['+', '-']) => temperature(attributes, celsius),
                // an unknown word of two words has said this already
                _ if meaning == &keywords::OTHER => {}
                _ => attributes.set("extra", extra.to_owned()),
            }
        }
    }
}

/// The keyword may repeat what stands in the field.
fn temperature(attributes: &mut Attributes, celsius: f64) {
    if attributes.get("temperature_c") != Some(&celsius.into()) {
        attributes.set("temperature_c", celsius);
    }
}

fn date(fields: &mut Fields<'_, '_>, facts: &mut Facts<'_>) {
    let text = fields.next("local_time").unwrap_or_default();
    facts.clock.local = clock::local(text);
    if facts.clock.local.is_none() && text.bytes().any(|b| b != b'0') {
        facts.report.attributes.set("time_raw", text.to_owned());
    }
}

/// The field has the number of the card in the device; a card's number; on newer units the charge of the battery.
fn phone<'f>(fields: &mut Fields<'f, '_>, facts: &mut Facts<'f>, says: &Keyword) {
    /// Shorter numbers are none of a telephone.
    const PHONE_DIGITS: usize = 5;
    let text = fields.next("phone").unwrap_or_default();
    if text.is_empty() {
        return;
    }
    if says.says == Says::Card {
        facts.card = Some(text);
        return;
    }
    let attributes = &mut facts.report.attributes;
    let digits = text.strip_prefix('+').unwrap_or(text);
    match text.strip_suffix('%').and_then(number).filter(|charge| (0.0..=100.0).contains(charge)) {
        Some(charge) => facts.report.battery_percent = Some(charge),
        None if digits.len() >= PHONE_DIGITS && digits.bytes().all(|b| b.is_ascii_digit()) => {
            attributes.set("phone", text.to_owned());
        }
        None => attributes.set("phone_field", text.to_owned()),
    }
}

fn place(fields: &mut Fields<'_, '_>, facts: &mut Facts<'_>, dialect: &Dialect) {
    let utc = fields.next("utc_time").unwrap_or_default();
    facts.clock.utc_ms = clock::time_of_day(utc);
    if facts.clock.utc_ms.is_none() && !utc.is_empty() {
        facts.report.attributes.set("utc_field", utc.to_owned());
    }
    let valid = fields.next("validity") == Some("A");
    let (latitude, south) = coordinate(fields, "latitude_ddmm", ["N", "S"]);
    let (longitude, west) = coordinate(fields, "longitude_dddmm", ["E", "W"]);
    let degrees = |text: &str, negative: bool| number(text).map(|ddmm| from_ddmm(if negative { -ddmm } else { ddmm }));
    let report = &mut facts.report;
    facts.located = true;
    match (degrees(latitude, south), degrees(longitude, west)) {
        // zeros are what a receiver says that never had a fix
        (Some(latitude), Some(longitude)) if latitude == 0.0 && longitude == 0.0 => report.valid = Some(false),
        (Some(latitude), Some(longitude)) if on_earth(latitude, longitude) => {
            report.latitude = Some(latitude);
            report.longitude = Some(longitude);
            report.valid = Some(valid);
        }
        (read, _) => {
            report.valid = Some(false);
            if read.is_some() || !latitude.is_empty() {
                report.attributes.set("latitude_raw", latitude.to_owned());
                report.attributes.set("longitude_raw", longitude.to_owned());
            }
        }
    }
    report.speed_kmh = fields.number("speed").map(|speed| round(speed * dialect.speed_unit_kmh, SPEED_DECIMALS));
    fields.note(|| report.speed_kmh.map_or_else(String::new, |kmh| format!("{kmh} km/h")));
    report.course_deg = fields.number("course_deg").filter(|course| (0.0..=360.0).contains(course));
}

/// A coordinate, and whether its letter is the second of the two. The letter stands behind it, or before it, or is left out.
fn coordinate<'f>(fields: &mut Fields<'f, '_>, name: &str, letters: [&str; 2]) -> (&'f str, bool) {
    let letter = |fields: &mut Fields<'f, '_>| {
        let found = fields.peek(0).filter(|text| letters.contains(text))?;
        fields.next("hemisphere");
        Some(found)
    };
    let before = letter(fields);
    let text = fields.next(name).unwrap_or_default();
    let found = before.or_else(|| letter(fields));
    if found.is_none() && fields.peek(0) == Some("") {
        fields.next("hemisphere");
    }
    (text, found == Some(letters[1]))
}

fn cell(fields: &mut Fields<'_, '_>, facts: &mut Facts<'_>) {
    facts.report.valid = Some(false);
    let utc = fields.next("utc_time").unwrap_or_default();
    facts.clock.utc_ms = clock::time_of_day(utc);
    fields.next("validity");
    let hex = |text: Option<&str>| text.and_then(|t| u32::from_str_radix(t, 16).ok());
    let lac = hex(fields.next("lac"));
    fields.next("between");
    let cid = hex(fields.next("cid"));
    if let (Some(lac), Some(cid)) = (lac, cid)
        && (lac, cid) != (0, 0)
    {
        // the network is not said: 0 stands for that
        facts.report.cells.push(Cell { mcc: 0, mnc: 0, lac, cid: u64::from(cid), rssi: None });
    }
    for name in ["behind_cid", "speed", "course_deg"] {
        fields.next(name);
    }
}

fn tail(fields: &mut Fields<'_, '_>, report: &mut Report, says: &Keyword) {
    report.altitude_m = fields.number("altitude_m");
    let switch = |text: Option<&str>| match text {
        Some("1") => Some(true),
        Some("0") => Some(false),
        _ => None,
    };
    report.ignition = switch(fields.next("acc"));
    if let Some(open) = switch(fields.next("door")) {
        report.attributes.set("door_open", open);
    }
    let first = fields.next("fuel_1").unwrap_or_default();
    match percent(first) {
        Some(days) if says.says == Says::Service => report.attributes.set("service_days", days),
        Some(level) => report.attributes.set("fuel_1_percent", level),
        None if !first.is_empty() => report.attributes.set("field_16", first.to_owned()),
        None => {}
    }
    let second = fields.next("fuel_2").unwrap_or_default();
    match percent(second) {
        _ if second.is_empty() => {}
        _ if says.says == Says::TroubleCodes => {
            second.split_whitespace().for_each(|code| report.attributes.set("trouble_code", code.to_owned()));
        }
        Some(km) if says.says == Says::Service => report.attributes.set("service_km", km),
        // a whole number without a percent sign is the mileage of units with one tank
        Some(km) if second.bytes().all(|b| b.is_ascii_digit()) => report.odometer_m = Some(km * KM),
        Some(level) => report.attributes.set("fuel_2_percent", level),
        None => report.attributes.set("field_17", second.to_owned()),
    }
    let temperature = fields.next("temperature_c").unwrap_or_default();
    match number(temperature) {
        Some(celsius) => report.attributes.set("temperature_c", celsius),
        None if !temperature.is_empty() => report.attributes.set("field_18", temperature.to_owned()),
        None => {}
    }
    if let Some(rest) = fields.take_rest("rest") {
        report.attributes.set("rest", rest.to_owned());
    }
}

fn alternative<'f>(fields: &mut Fields<'f, '_>) -> Facts<'f> {
    let mut facts = Facts { located: true, named: true, ..Facts::default() };
    let report = &mut facts.report;
    // dashes stand for nothing
    let said = |text: Option<&'f str>| text.filter(|t| t.bytes().any(|b| b != b'-'));
    for name in ["event", "sensor_id"] {
        if let Some(text) = said(fields.next(name)) {
            report.attributes.set(name, text.to_owned());
        }
    }
    if let Some(volts) = fields.number("sensor_v") {
        report.attributes.set("sensor_v", volts);
    }
    let (time, date) = (fields.next("utc_time").unwrap_or_default(), fields.next("date_ddmmyy").unwrap_or_default());
    report.time = alternative_time(time, date);
    if report.time.is_none() {
        report.attributes.set("time_raw", format!("{date} {time}"));
    }
    report.rssi = fields.number("rssi").map(|rssi| rssi as i32);
    let fix = fields.number("fix").is_some_and(|fix| fix > 0.0);
    let (latitude, longitude) = (fields.number("latitude_deg"), fields.number("longitude_deg"));
    report.valid = Some(false);
    if let (Some(latitude), Some(longitude)) = (latitude, longitude)
        && on_earth(latitude, longitude)
        && (latitude != 0.0 || longitude != 0.0)
    {
        report.latitude = Some(latitude);
        report.longitude = Some(longitude);
        report.valid = Some(fix);
    }
    report.speed_kmh = fields.number("speed_kmh");
    report.course_deg = fields.number("course_deg").filter(|course| (0.0..=360.0).contains(course));
    report.altitude_m = fields.number("altitude_m");
    report.hdop = fields.number("hdop");
    report.satellites = fields.next("satellites").and_then(|n| n.parse().ok());
    report.ignition = fields.number("ignition").map(|on| on > 0.0);
    if let Some(charging) = fields.number("charging") {
        report.attributes.set("charging", charging > 0.0);
    }
    if let Some(error) = said(fields.take_rest("error")) {
        report.attributes.set("error", error.to_owned());
    }
    facts
}

fn alternative_time(time: &str, date: &str) -> Option<Timestamp> {
    let pair = |text: &str, at: usize| text.get(at..at + 2).and_then(|t| t.parse::<u8>().ok());
    let six = [pair(date, 4)?, pair(date, 2)?, pair(date, 0)?, pair(time, 0)?, pair(time, 2)?, pair(time, 4)?];
    Timestamp::from_civil(Civil::from_six(six), 0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;
    use serde_json::{Value, json};

    fn read(body: &str) -> Option<(bool, Value)> {
        let mut fields = Fields::new(body, 0, None);
        let word = fields.next("keyword").unwrap();
        let (says, extras) = keywords::find(word);
        let mut facts = report(&mut fields, says, Zones::default(), Dialect::of(&Profile::default()))?;
        keyword(&mut facts, word, says, extras);
        Some((facts.located, serde_json::to_value(&facts.report).unwrap()))
    }

    #[test]
    fn a_place_with_everything() {
        let body = "tracker,160629022948,,F,182949.000,A,4043.8839,N,11328.8029,W,65.26,271.82,,1,0,31.37%,51442,";
        let expected = json!({
            "time": "2016-06-28T18:29:49.000Z", "latitude": 40.7313983, "longitude": -113.4800483, "valid": true, "speed_kmh": 120.862,
            "course_deg": 271.82, "odometer_m": 51_442_000.0, "ignition": true,
            "attributes": {"door_open": false, "fuel_1_percent": 31.37}
        });
        assert_eq!(read(body), Some((true, expected)));
        let body =
            "001 0.1% +28.0,0809231929,13800000001,F,055403.000,V,2233.1870,N,11354.3067,E,0.00,30.1,65.43,1,0,10.5%,0.0%,28";
        let (_, report) = read(body).unwrap();
        assert_eq!((&report["valid"], &report["altitude_m"]), (&json!(false), &json!(65.43)));
        let attributes = json!({
            "phone": "13800000001", "door_open": false, "fuel_1_percent": 10.5, "fuel_2_percent": 0.0,
            "temperature_c": 28.0, "fuel_percent": 0.1
        });
        assert_eq!(report["attributes"], attributes);
    }

    #[test]
    fn letters_stand_behind_the_number_or_before_it_or_nowhere() {
        let place = |coordinates: &str| {
            let (_, report) = read(&format!("tracker,150420050648,53.0,F,0.0,A,{coordinates},0.5,,1.0,")).unwrap();
            (report["latitude"].as_f64(), report["longitude"].as_f64(), report["speed_kmh"].as_f64())
        };
        let there = |north: f64, east: f64| (Some(53.1106925 * north), Some(7.0129747 * east), Some(0.926));
        assert_eq!(place("5306.64155,S,00700.77848,W"), there(-1.0, -1.0));
        assert_eq!(place("N,5306.64155,E,00700.77848"), there(1.0, 1.0));
        assert_eq!(place("S,5306.64155,W,00700.77848"), there(-1.0, -1.0));
        assert_eq!(place("5306.64155,,00700.77848,"), there(1.0, 1.0));
        assert_eq!(place("5306.64155,00700.77848"), there(1.0, 1.0));
    }

    #[test]
    fn no_place_is_invented() {
        let place = |coordinates: &str| read(&format!("move,2603011800,,F,100000.000,A,{coordinates},0.5,")).unwrap();
        for coordinates in ["0000.0000,N,00000.0000,E", "9906.0,N,00700.0,E", ",,,", "x,N,y,E", "0000.0000,,00000.0000,"] {
            let (located, report) = place(coordinates);
            assert!(located);
            assert_eq!((&report["valid"], report.get("latitude")), (&json!(false), None), "{coordinates}");
            assert_eq!(report["alarms"], json!(["movement"]));
        }
        assert_eq!(place("9906.0,N,00700.0,E").1["attributes"], json!({"latitude_raw": "9906.0", "longitude_raw": "00700.0"}));
    }

    #[test]
    fn a_cell_or_nothing() {
        let expected = json!({
            "valid": false, "cells": [{"mcc": 0, "mnc": 0, "lac": 4411, "cid": 21903}], "ignition": false, "alarms": ["sos"],
            "attributes": {"door_open": false}
        });
        assert_eq!(read("help me,,,L,,,113b,,558f,,,,,0,0,,,"), Some((false, expected)));
        let expected = json!({"time": "2022-08-01T19:20:00.000Z", "valid": false, "alarms": ["vibration"]});
        assert_eq!(read("sensor alarm,2208011920,,L,"), Some((false, expected)));
        // no fix now, but the last one
        let last = read("tracker,260301180000,,L,100000.000,V,2233.1870,N,11354.3067,E,0.00,").unwrap();
        assert_eq!((last.0, &last.1["latitude"], &last.1["valid"]), (true, &json!(22.5531167), &json!(false)));
    }

    #[test]
    fn keywords_say_what_they_say() {
        let said = |word: &str| {
            let (_, report) = read(&format!("{word},,,L,")).unwrap();
            (report.get("alarms").cloned().unwrap_or_default(), report.get("attributes").cloned().unwrap_or_default())
        };
        assert_eq!(said("T:+28.0"), (json!(["temperature"]), json!({"temperature_c": 28.0})));
        assert_eq!(said("T:+"), (json!(["temperature"]), json!({"event": "T:+"})));
        assert_eq!(said("oil 51.67"), (json!(["fuel_leak"]), json!({"fuel_percent": 51.67})));
        assert_eq!(said("oil2"), (json!(["fuel_leak"]), json!({"event": "oil2"})));
        assert_eq!(said("area01 in"), (json!(["geofence_enter"]), json!({"area": "01"})));
        assert_eq!(said("area12 out"), (json!(["geofence_exit"]), json!({"area": "12"})));
        assert_eq!(said("acc alarm"), (json!(["general"]), json!({"event": "acc alarm"})));
        assert_eq!(said("kt"), (Value::Null, json!({"answer": "kt"})));
        assert_eq!(said("109"), (Value::Null, json!({"answer": "109"})));
        assert_eq!(said("509"), (Value::Null, json!({"answer": "509", "refused": true})));
        assert_eq!(said("brand new"), (Value::Null, json!({"event": "brand new"})));
        assert_eq!(read("acc off,,,L,,,,,,,,,,1").unwrap().1["ignition"], json!(false));
        let codes = "DTC,0809231929,,F,055403.000,A,2233.1870,N,11354.3067,E,0.00,30.1,,1,0,10.5%,P0021 P0137,";
        assert_eq!(read(codes).unwrap().1["attributes"]["trouble_code"], json!(["P0021", "P0137"]));
        let mut fields = Fields::new("260301180000,7700123,L,", 0, None);
        let card = report(&mut fields, keywords::find("rfid").0, Zones::default(), Dialect::of(&Profile::default()));
        assert_eq!(card.and_then(|facts| facts.card), Some("7700123"));
    }

    #[test]
    fn the_alternative_layout() {
        let body = "Unit 1,---,------,----,102630,170917,20,1,12.146888,-86.290935,8,90,75,0.9,11,1,0,---";
        let expected = json!({
            "time": "2017-09-17T10:26:30.000Z", "latitude": 12.146888, "longitude": -86.290935, "valid": true, "altitude_m": 75.0,
            "speed_kmh": 8.0, "course_deg": 90.0, "satellites": 11, "hdop": 0.9, "ignition": true, "rssi": 20,
            "attributes": {"charging": false, "unit_name": "Unit 1"}
        });
        assert_eq!(read(body), Some((true, expected)));
    }

    #[test]
    fn refuses_other_layouts() {
        for body in ["tracker", "tracker,1,2,3", "x,260301180000,,G,1", "a,b,c,d,102630,170917,20,1"] {
            assert_eq!(read(body), None, "{body}");
        }
    }
}
