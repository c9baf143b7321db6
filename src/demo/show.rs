//! Events as lines that a person reads along.

use std::fmt::Write;

use serde_json::Value;

/// One event of the journal in one line.
pub(super) fn line(event: &Value) -> String {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let kind = text(&event["type"]);
    let content = &event[kind.as_str()];
    let received = text(&event["received_at"]);
    let clock = received.get(11..23).unwrap_or_default();
    let mut line = format!("{clock}  {:6} {:>16}  {kind:9}", text(&event["protocol"]), text(&event["device_id"]));
    match kind.as_str() {
        "driver" | "order" => {
            let _ = write!(line, "{} ", text(&content["action"]).to_uppercase());
            for field in ["driver_id", "name", "licence", "order_id", "reading_result"] {
                if let Some(value) = content[field].as_str() {
                    let _ = write!(line, " {field} {value}");
                }
            }
        }
        "data" => {
            let _ = write!(line, "{} of {} bytes", text(&content["kind"]), content["size_bytes"]);
            if let (Some(part), Some(parts)) = (content["part"].as_u64(), content["parts"].as_u64()) {
                let _ = write!(line, ", part {part} of {parts}");
            }
            if let Some(text) = content["text"].as_str() {
                let _ = write!(line, "  \"{text}\"");
            }
        }
        _ => report(&mut line, content),
    }
    line.trim_end().to_owned()
}

fn report(line: &mut String, content: &Value) {
    if let (Some(latitude), Some(longitude)) = (content["latitude"].as_f64(), content["longitude"].as_f64()) {
        let (north, east) = (if latitude < 0.0 { 'S' } else { 'N' }, if longitude < 0.0 { 'W' } else { 'E' });
        let _ = write!(line, "{:.5} {north} {:.5} {east}", latitude.abs(), longitude.abs());
    }
    if content["valid"] == Value::Bool(false) {
        line.push_str("  no fix");
    }
    for (field, unit) in [("speed_kmh", "km/h"), ("battery_percent", "% battery"), ("power_v", "V")] {
        if let Some(value) = content[field].as_f64() {
            let _ = write!(line, "  {value:.0} {unit}");
        }
    }
    match content["ignition"].as_bool() {
        Some(true) => line.push_str("  ignition on"),
        Some(false) => line.push_str("  ignition off"),
        None => {}
    }
    let alarms: Vec<&str> = content["alarms"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    if !alarms.is_empty() {
        let _ = write!(line, "  ALARM {}", alarms.join(", "));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_position_with_an_alarm() {
        let event = json!({
            "type": "position", "protocol": "jt808", "device_id": "13800001111", "received_at": "2026-01-02T03:04:05.678Z",
            "position": {"latitude": -22.5, "longitude": 114.25, "valid": true, "speed_kmh": 42.3, "ignition": true, "alarms": ["sos"]}
        });
        assert_eq!(
            line(&event),
            "03:04:05.678  jt808       13800001111  position 22.50000 S 114.25000 E  42 km/h  ignition on  ALARM sos"
        );
    }

    #[test]
    fn a_driver_signs_on() {
        let event = json!({
            "type": "driver", "protocol": "jt808", "device_id": "1", "received_at": "2026-01-02T03:04:05.678Z",
            "driver": {"action": "sign_on", "driver_id": "A1"}
        });
        assert_eq!(line(&event), "03:04:05.678  jt808                 1  driver   SIGN_ON  driver_id A1");
    }
}
