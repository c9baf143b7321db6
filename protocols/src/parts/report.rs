//! Reports inside other messages.

use crate::event::{Alarms, Attributes, Report, Value};

/// A place inside another message, as named values in the words of the contract.
pub fn as_values(report: &Report) -> Attributes {
    let mut values = Attributes::default();
    if let Some(time) = report.time {
        values.set("time", time.to_string());
    }
    let floats = [
        ("latitude", report.latitude),
        ("longitude", report.longitude),
        ("altitude_m", report.altitude_m),
        ("speed_kmh", report.speed_kmh),
        ("course_deg", report.course_deg),
    ];
    for (name, value) in floats {
        value.into_iter().for_each(|x| values.set(name, x));
    }
    let flags =
        [("valid", report.valid), ("ignition", report.ignition), ("in_service", report.in_service), ("occupied", report.occupied)];
    for (name, value) in flags {
        value.into_iter().for_each(|yes| values.set(name, yes));
    }
    if !Alarms::is_empty(&report.alarms) {
        values.set("alarms", Value::List(report.alarms.iter().map(|a| Value::from(a.label())).collect()));
    }
    for (name, value) in report.attributes.iter() {
        values.set(name.to_owned(), value.clone());
    }
    values
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Alarm;

    #[test]
    fn values_have_the_words_of_the_contract() {
        let mut report = Report { latitude: Some(39.9), valid: Some(true), occupied: Some(false), ..Report::default() };
        report.alarms.insert(Alarm::Sos);
        report.attributes.set("booked", true);
        let expected = serde_json::json!({"latitude": 39.9, "valid": true, "occupied": false, "alarms": ["sos"], "booked": true});
        assert_eq!(serde_json::to_value(as_values(&report)).unwrap(), expected);
    }
}
