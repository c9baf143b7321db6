//! From the bytes of a record to a command, or to what is wrong with it.

use serde::Deserialize;
use serde_json::{Map, Value};

use super::{Command, CommandId, Kind};
use crate::identity::DeviceId;
use crate::time::Timestamp;

/// Largest record that is read, in bytes: a whole frame of the largest protocol (64 KiB) as hex, and as much again.
pub const MAX_COMMAND: usize = 256 * 1024;
/// Most unknown fields that are named for one command; a backend that sends more sees enough of them.
const MAX_WARNINGS: usize = 16;
/// Most characters of an unknown field's name that are shown; a name is a word.
const MAX_NAME: usize = 64;

/// Deserialise, with the path of what is wrong in the error. What stood there is left out: it may be a telephone number.
pub(super) fn at_path<'v, T: Deserialize<'v>>(value: &'v Value) -> Result<T, String> {
    serde_path_to_error::deserialize(value).map_err(|e| {
        let path = e.path().to_string();
        let said = e.into_inner().to_string();
        let said = match said.split_once(", expected ") {
            Some((found, expected)) if found.starts_with("invalid ") => format!("expected {expected}"),
            _ => said,
        };
        if path == "." { said } else { format!("{path}: {said}") }
    })
}

/// Which part of a record could not be read; the outcome's `reason`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum InvalidReason {
    /// It is no JSON object.
    Json,
    /// A field is missing or cannot be what it is.
    Field,
    /// The deadline is missing, no time, or too far ahead.
    Deadline,
}

impl InvalidReason {
    /// The word of the contract.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::Field => "field",
            Self::Deadline => "deadline",
        }
    }
}

/// A record that is no command, and as much of it as could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// Whose outcome this is, if it says.
    pub command_id: Option<CommandId>,
    /// For which device, if it says.
    pub device_id: Option<DeviceId>,
    /// What could not be read.
    pub reason: InvalidReason,
    /// In words, with the path of the field; without the value that stood there.
    pub detail: String,
}

/// A command, and what was odd about it.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The command.
    pub command: Command,
    /// The unknown fields, for the outcome's `warnings`.
    pub warnings: Vec<String>,
}

/// Read the value of a record. `latest` is the latest deadline that is accepted; one in the past is not refused here, for
/// such a command is not invalid but expired.
///
/// # Errors
/// What cannot be read.
pub fn read(record: &[u8], latest: Timestamp) -> Result<Received, Invalid> {
    let nothing = |detail: String| Invalid { command_id: None, device_id: None, reason: InvalidReason::Json, detail };
    if record.len() > MAX_COMMAND {
        return Err(nothing(format!("{} bytes, at most {MAX_COMMAND} are read", record.len())));
    }
    let fields = match serde_json::from_slice(record) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) => return Err(nothing("expected a JSON object".into())),
        Err(e) => return Err(nothing(e.to_string())),
    };
    let command = command(&fields)?;
    if command.deadline > latest {
        let detail = format!("deadline: {} is later than the latest that is accepted now, {latest}", command.deadline);
        let Command { id, device_id, .. } = command;
        return Err(Invalid { command_id: Some(id), device_id: Some(device_id), reason: InvalidReason::Deadline, detail });
    }
    let mut warnings = Vec::new();
    if let Ok(known) = serde_json::to_value(&command) {
        name_unknown(&mut String::new(), &Value::Object(fields), &known, &mut warnings);
    }
    Ok(Received { command, warnings })
}

pub(super) fn command(fields: &Map<String, Value>) -> Result<Command, Invalid> {
    fn field<'v, T: Deserialize<'v>>(fields: &'v Map<String, Value>, name: &str) -> Result<T, String> {
        let value = fields.get(name).ok_or_else(|| format!("missing field `{name}`"))?;
        at_path(value).map_err(|e| format!("{name}: {e}"))
    }
    let id = field::<CommandId>(fields, "id");
    let device = field::<DeviceId>(fields, "device_id");
    let (command_id, known) = (id.as_ref().ok().cloned(), device.as_ref().ok().cloned());
    let invalid = |reason, detail| Invalid { command_id: command_id.clone(), device_id: known.clone(), reason, detail };
    let in_field = |detail| invalid(InvalidReason::Field, detail);
    let (id, device_id) = (id.map_err(in_field)?, device.map_err(in_field)?);
    let deadline = field(fields, "deadline").map_err(|detail| invalid(InvalidReason::Deadline, detail))?;
    let kind = kind(fields).map_err(in_field)?;
    Ok(Command { id, device_id, deadline, kind })
}

fn kind(fields: &Map<String, Value>) -> Result<Kind, String> {
    let name = fields.get("kind").ok_or("missing field `kind`")?.as_str().ok_or("kind: expected a string")?;
    if !Kind::NAMES.contains(&name) {
        return Err(format!("kind: there is no `{}`, only {}", name.escape_debug(), Kind::NAMES.join(", ")));
    }
    let content = fields.get(name).ok_or_else(|| format!("missing field `{name}`"))?;
    at_path(&Value::Object(Map::from_iter([(name.to_owned(), content.clone())])))
}

/// Name what was said and is not known: fields that are not there when the command is written again.
fn name_unknown(path: &mut String, said: &Value, known: &Value, warnings: &mut Vec<String>) {
    match (said, known) {
        (Value::Object(said), Value::Object(known)) => {
            for (name, value) in said {
                let end = path.len();
                let dot = if path.is_empty() { "" } else { "." };
                path.push_str(dot);
                path.extend(name.chars().take(MAX_NAME));
                match known.get(name) {
                    Some(known) => name_unknown(path, value, known, warnings),
                    None if value.is_null() || warnings.len() >= MAX_WARNINGS => {}
                    None => warnings.push(format!("unknown field `{}`", path.escape_debug())),
                }
                path.truncate(end);
            }
        }
        (Value::Array(said), Value::Array(known)) => {
            for (said, known) in said.iter().zip(known) {
                name_unknown(path, said, known, warnings);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{record, whole};
    use super::*;
    use serde_json::json;

    fn latest() -> Timestamp {
        Timestamp::parse("2026-03-01T11:00:00Z").unwrap()
    }

    fn refused(record: &Value) -> Invalid {
        read(record.to_string().as_bytes(), latest()).expect_err("it should be refused")
    }

    #[test]
    fn accepts_every_kind_without_a_warning() {
        for (kind, content) in whole() {
            let received = read(record(kind, &content).to_string().as_bytes(), latest()).unwrap();
            assert_eq!(received.warnings, [""; 0], "{kind}");
        }
    }

    #[test]
    fn accepts_and_normalises_what_is_written_in_another_way() {
        let mut said = record("locate", &json!({}));
        said["device_id"] = json!("013800000001");
        said["deadline"] = json!("2026-03-01T18:00:30+08:00");
        let command = read(said.to_string().as_bytes(), latest()).unwrap().command;
        assert_eq!(command.device_id.as_str(), "13800000001");
        assert_eq!(command.deadline.to_string(), "2026-03-01T10:00:30.000Z");
    }

    #[test]
    fn names_unknown_fields() {
        let mut said = record(
            "order_list",
            &json!({"orders": [{"order_id": "1", "type": "immediate", "pickup": {"adress": 1, "address": "a"}}]}),
        );
        said["prio"] = json!(1);
        said["text"] = Value::Null;
        let warnings = read(said.to_string().as_bytes(), latest()).unwrap().warnings;
        assert_eq!(warnings, ["unknown field `order_list.orders.pickup.adress`", "unknown field `prio`"]);

        let mut many = record("locate", &json!({}));
        for n in 0..100 {
            many[format!("x{n}").as_str()] = json!(n);
        }
        assert_eq!(read(many.to_string().as_bytes(), latest()).unwrap().warnings.len(), MAX_WARNINGS);
    }

    #[test]
    fn refuses_with_the_path_and_without_the_value() {
        let offer = |change: fn(&mut Value)| {
            let (_, mut content) = whole().swap_remove(0);
            change(&mut content);
            refused(&record("order_offer", &content)).detail
        };
        assert_eq!(offer(|o| o["order_id"] = json!("")), "order_offer.order_id: expected 1 to 64 printable ASCII characters");
        assert_eq!(
            offer(|o| o["order_id"] = json!("x".repeat(65))),
            "order_offer.order_id: expected 1 to 64 printable ASCII characters"
        );
        assert_eq!(offer(|o| o["pickup"]["latitude"] = json!(91)), "order_offer.pickup.latitude: expected degrees from -90 to 90");
        assert_eq!(offer(|o| o["passenger"]["phone"] = json!(13800000002_u64)), "order_offer.passenger.phone: expected a string");
        assert_eq!(offer(|o| o["fare"]["amount"] = json!("1,5")), "order_offer.fare: expected an amount like \"23.50\"");
        assert_eq!(
            offer(|o| o["fare"]["currency"] = json!("RMBY")),
            "order_offer.fare: expected a currency of ISO 4217 like \"CNY\""
        );
        let incomplete = refused(&record("order_assign", &json!({"order_id": "1", "won": true})));
        assert_eq!(incomplete.detail, "order_assign: missing field `type`");
        assert_eq!(refused(&record("raw", &json!({"hex": "7e0"}))).detail, "raw.hex: expected hex, two digits a byte");
        assert_eq!(
            refused(&record("alarm_confirm", &json!({"alarms": ["panic"]}))).detail,
            "alarm_confirm.alarms: there is no alarm `panic`"
        );
        assert!(
            refused(&record("dance", &json!({}))).detail.starts_with("kind: there is no `dance`, only order_offer, order_assign")
        );
    }

    #[test]
    fn refuses_but_keeps_what_could_be_read() {
        let good = record("locate", &json!({}));
        let without = |name: &str| {
            let mut said = good.clone();
            said.as_object_mut().unwrap().remove(name);
            refused(&said)
        };
        let id = without("id");
        assert_eq!((id.command_id, id.reason), (None, InvalidReason::Field));
        assert_eq!(id.device_id.unwrap().as_str(), "13800000001");
        let device = without("device_id");
        assert_eq!(device.command_id.unwrap().as_str(), "c-1");
        assert_eq!(device.detail, "missing field `device_id`");
        assert_eq!(without("deadline").reason, InvalidReason::Deadline);
        assert_eq!(without("kind").detail, "missing field `kind`");
        assert_eq!(without("locate").detail, "missing field `locate`");

        let mut late = good.clone();
        late["deadline"] = json!("2026-03-01T11:00:00.001Z");
        assert_eq!(refused(&late).reason, InvalidReason::Deadline);
        late["deadline"] = json!("soon");
        assert_eq!(refused(&late).detail, "deadline: expected a time of RFC 3339 like \"2026-03-01T10:00:00Z\"");
        late["deadline"] = json!("1970-01-01T00:00:00Z");
        assert!(read(late.to_string().as_bytes(), latest()).is_ok(), "the past is not invalid, it is expired");
    }

    #[test]
    fn refuses_what_is_no_object() {
        for bytes in [&b""[..], b"{", b"[]", b"\"x\"", b"\xff", b"{}{}"] {
            let invalid = read(bytes, latest()).unwrap_err();
            assert_eq!((invalid.reason, invalid.command_id), (InvalidReason::Json, None));
        }
        let large = vec![b' '; MAX_COMMAND + 1];
        assert_eq!(read(&large, latest()).unwrap_err().reason, InvalidReason::Json);
    }
}
