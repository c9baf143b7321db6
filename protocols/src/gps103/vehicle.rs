//! What the vehicle's own electronics say: values of the diagnosis plug, and tyres.

use crate::event::{Alarm, Attributes, Value};
use crate::gps103::clock::{self, Zones};
use crate::gps103::fields::{Fields, number, percent};
use crate::gps103::read::Facts;

/// Metres of the odometer's unit.
const KM: f64 = 1000.0;

/// Values in their order behind speed, with the attribute that says the unit; the odometer before them and the voltage behind are
/// the contract's. Nobody says what the unit of the driving time is.
const OBD_BEFORE: &[&str] = &["fuel_instant_l_per_100_km", "fuel_average_l_per_100_km", "drive_time", "obd_speed_kmh"];
const OBD_BEHIND: &[&str] = &["engine_load_percent", "coolant_temperature_c", "throttle_percent", "engine_rpm"];

/// `time,km,l/100,l/100,drive time,km/h,load %,°C,throttle %,rpm,V,codes…`; what the vehicle does not say is empty.
pub(super) fn obd<'f>(fields: &mut Fields<'f, '_>, zones: Zones) -> Facts<'f> {
    let mut facts = timed(fields, zones);
    let report = &mut facts.report;
    report.odometer_m = fields.number("odometer_km").map(|km| km * KM);
    for name in OBD_BEFORE.iter().chain(OBD_BEHIND) {
        let value = fields.next(name).unwrap_or_default();
        match percent(value) {
            Some(value) => report.attributes.set(*name, value),
            // a sign alone is a value that the vehicle does not know
            None if value.is_empty() || value == "+" || value == "-" => {}
            None => report.attributes.set(*name, value.to_owned()),
        }
    }
    // the plug's supply is the car's battery, and a unit in the plug has no other
    report.power_v = fields.number("supply_v");
    report.battery_v = report.power_v;
    while let Some(code) = fields.next("trouble_code") {
        if !code.is_empty() {
            report.attributes.set("trouble_code", code.to_owned());
        }
    }
    facts
}

/// Bits of a tyre's flags, the highest first; the two before them are reserved.
const TYRE_FLAGS: [(&str, Alarm); 6] = [
    ("hot", Alarm::General),
    ("pressure_high", Alarm::General),
    ("pressure_low", Alarm::General),
    ("sensor_fault", Alarm::Fault),
    ("sensor_battery_low", Alarm::Fault),
    ("leak", Alarm::General),
];
/// Most tyres that are read: a lorry with its trailer has 22, and a broken count must not fill an event.
const MAX_TYRES: usize = 24;

/// `time,state,number of tyres`, then pressure, temperature and eight flags as digits of each tyre, front left first.
pub(super) fn tyres<'f>(fields: &mut Fields<'f, '_>, zones: Zones) -> Facts<'f> {
    let mut facts = timed(fields, zones);
    let report = &mut facts.report;
    if let Some(state) = fields.number("state") {
        report.attributes.set("tpms_state", state as i64);
    }
    let count = fields.next("tyres").and_then(|n| n.parse().ok()).unwrap_or(0).min(MAX_TYRES);
    let mut tyres = Vec::with_capacity(count);
    for _ in 0..count {
        if fields.peek(0).is_none_or(str::is_empty) {
            break;
        }
        let mut tyre = Attributes::default();
        for name in ["pressure_kpa", "temperature_c"] {
            if let Some(value) = fields.number(name) {
                tyre.set(name, value);
            }
        }
        let flags = fields.next("flags").unwrap_or_default();
        for (flag, (name, alarm)) in flags.bytes().rev().take(TYRE_FLAGS.len()).zip(TYRE_FLAGS.iter().rev()) {
            if flag == b'1' {
                tyre.set(*name, true);
                report.alarms.insert(*alarm);
            }
        }
        tyres.push(Value::Map(tyre));
    }
    if !tyres.is_empty() {
        report.attributes.set("tyres", tyres);
    }
    if let Some(rest) = fields.take_rest("rest") {
        report.attributes.set("rest", rest.to_owned());
    }
    facts
}

fn timed<'f>(fields: &mut Fields<'f, '_>, zones: Zones) -> Facts<'f> {
    let mut facts = Facts::default();
    let text = fields.next("local_time").unwrap_or_default();
    facts.clock.local = clock::local(text);
    if facts.clock.local.is_none() && number(text) != Some(0.0) && !text.is_empty() {
        facts.report.attributes.set("time_raw", text.to_owned());
    }
    facts.set_time(zones);
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::TimeZone;
    use serde_json::{Value, json};

    fn said<'f>(read: impl Fn(&mut Fields<'f, '_>, Zones) -> Facts<'f>, body: &'f str) -> Value {
        serde_json::to_value(read(&mut Fields::new(body, 0, None), Zones { set: Some(TimeZone::CHINA), shown: None }).report)
            .unwrap()
    }

    #[test]
    fn values_of_the_vehicle() {
        let body = "160629022949,51442,0.00,15.88,5632,122,40.39%,95,0.00%,2101,13.80,P0134,P0571,,";
        let expected = json!({
            "time": "2016-06-28T18:29:49.000Z", "odometer_m": 51_442_000.0, "power_v": 13.8, "battery_v": 13.8,
            "attributes": {
                "fuel_instant_l_per_100_km": 0.0, "fuel_average_l_per_100_km": 15.88, "drive_time": 5632.0, "obd_speed_kmh": 122.0,
                "engine_load_percent": 40.39, "coolant_temperature_c": 95.0, "throttle_percent": 0.0, "engine_rpm": 2101.0,
                "trouble_code": ["P0134", "P0571"]
            }
        });
        assert_eq!(said(obd, body), expected);
    }

    #[test]
    fn what_the_vehicle_does_not_say_is_absent() {
        let expected = json!({
            "time": "2014-11-18T03:50:36.000Z",
            "attributes": {"drive_time": 0.0, "engine_load_percent": 0.0, "throttle_percent": 0.0, "engine_rpm": 0.0}
        });
        assert_eq!(said(obd, "141118115036,,,,0.0,,0.0%,+,0.0%,00000,,,,,"), expected);
        assert_eq!(said(obd, "0000000000,,,,,,x%"), json!({"attributes": {"engine_load_percent": "x%"}}));
    }

    #[test]
    fn tyres_and_their_flags() {
        let body = "260301180000,1,4,230,25,00000000,180,26,00001000,231,80,00100001,229,25,00000100";
        let expected = json!({
            "time": "2026-03-01T10:00:00.000Z", "alarms": ["fault", "general"],
            "attributes": {"tpms_state": 1, "tyres": [
                {"pressure_kpa": 230.0, "temperature_c": 25.0},
                {"pressure_kpa": 180.0, "temperature_c": 26.0, "pressure_low": true},
                {"pressure_kpa": 231.0, "temperature_c": 80.0, "hot": true, "leak": true},
                {"pressure_kpa": 229.0, "temperature_c": 25.0, "sensor_fault": true}
            ]}
        });
        assert_eq!(said(tyres, body), expected);
        let many = format!("0,0,999999{}", ",230,25,00000000".repeat(MAX_TYRES + 1));
        assert_eq!(said(tyres, &many)["attributes"]["tyres"].as_array().map(Vec::len), Some(MAX_TYRES));
        assert_eq!(said(tyres, "0,0,999999"), json!({"attributes": {"tpms_state": 0}}));
    }
}
