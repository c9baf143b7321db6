//! Schemas from the types.
//!
//! JSON Schema draft 7, because every tool that reads AsyncAPI 3.0 must know it, and without references, so that each file
//! stands alone. What we send is described openly: a word that a later release adds is no violation. What we read is closed.

use protocols::command::Command;
use protocols::event::{Data, Driver, Order, Report};
use protocols::outcome::{Outcome, Progress};
use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value, json};

use crate::{committed, contract, shapes};

/// Every record value: the name of the schema, and the schema.
pub(crate) fn schemas() -> Vec<(&'static str, Value)> {
    let sent = || SchemaSettings::draft07().for_serialize().with(|s| s.inline_subschemas = true).into_generator();
    // a type that only has a shape says which fields may be absent as one that is read does
    let read = || SchemaSettings::draft07().for_deserialize().with(|s| s.inline_subschemas = true).into_generator();
    vec![
        ("position", event("position", "A report with a place, its alarms inside.", content::<Report>(sent()))),
        ("status", event("status", "A report without a place that says something.", content::<Report>(sent()))),
        ("alarm", event("alarm", "A frame that has an alarm and no place.", content::<Report>(sent()))),
        ("data", event("data", "Photos, passed-through bytes, text, parameters and unknown messages.", content::<Data>(sent()))),
        ("order", event("order", "What a driver or device did about an order.", content::<Order>(sent()))),
        ("driver", event("driver", "What a driver did.", content::<Driver>(sent()))),
        ("reject", titled("reject", content::<shapes::Reject>(read()))),
        ("frame", titled("frame", content::<shapes::Frame>(read()))),
        ("command", titled("command", tidy(root::<Command>(read()), false))),
        ("outcome", answer("outcome", "The one final answer to a command.", content::<Outcome>(sent()))),
        ("progress", answer("progress", "A step of a command before its outcome.", content::<Progress>(sent()))),
        ("session", titled("session", content::<shapes::Session>(read()))),
    ]
}

fn root<T: JsonSchema>(generator: SchemaGenerator) -> Value {
    generator.into_root_schema_for::<T>().to_value()
}

fn content<T: JsonSchema>(generator: SchemaGenerator) -> Value {
    tidy(root::<T>(generator), true)
}

/// Remove what is Rust's and not the contract's: names of types, number formats that JSON Schema does not have, and `null`,
/// for a field that has nothing to say is absent. `open` also turns closed lists of words into examples.
fn tidy(schema: Value, open: bool) -> Value {
    let Value::Object(mut schema) = schema else {
        return match schema {
            Value::Array(items) => Value::Array(items.into_iter().map(|s| tidy(s, open)).collect()),
            other => other,
        };
    };
    schema.remove("$schema");
    schema.remove("title");
    if schema.get("format").is_some_and(|f| f != "date-time") {
        schema.remove("format");
    }
    if let Some(Value::Array(types)) = schema.get_mut("type") {
        types.retain(|t| t != "null");
        if let [one] = &types[..] {
            schema["type"] = one.clone();
        }
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.retain(|w| !w.is_null());
    }
    if let Some(Value::Array(mut either)) = schema.remove("anyOf") {
        either.retain(|s| s != &json!({"type": "null"}));
        match (either.pop(), either.is_empty()) {
            (Some(Value::Object(only)), true) => only.into_iter().for_each(|(k, v)| {
                schema.entry(k).or_insert(v);
            }),
            (last, _) => {
                either.extend(last);
                schema.insert("anyOf".into(), either.into());
            }
        }
    }
    if open && let Some(words) = words(&schema) {
        schema.remove("oneOf");
        schema.remove("enum");
        schema.insert("type".into(), "string".into());
        schema.insert("examples".into(), words.into());
    }
    let keep = |name: &str| matches!(name, "examples" | "enum" | "const" | "required");
    Value::Object(schema.into_iter().map(|(k, v)| if keep(&k) { (k, v) } else { (k, nested(v, open)) }).collect())
}

/// Below a keyword: names of properties are no keywords, so their schemas are tidied one by one.
fn nested(value: Value, open: bool) -> Value {
    match value {
        Value::Object(map) if map.values().all(|v| v.is_object() || v.is_boolean()) && !map.contains_key("type") => {
            Value::Object(map.into_iter().map(|(k, v)| (k, tidy(v, open))).collect())
        }
        other => tidy(other, open),
    }
}

/// The words of a closed list, if the schema is one.
fn words(schema: &Map<String, Value>) -> Option<Vec<Value>> {
    let strings = |list: &[Value]| list.iter().all(Value::is_string).then(|| list.to_vec());
    if let Some(list) = schema.get("enum") {
        return strings(list.as_array()?);
    }
    let mut words = Vec::new();
    for alternative in schema.get("oneOf")?.as_array()? {
        match (alternative.get("const"), alternative.get("enum")) {
            (Some(word), _) if word.is_string() => words.push(word.clone()),
            (_, Some(Value::Array(list))) => words.extend(strings(list)?),
            _ => return None,
        }
    }
    Some(words)
}

fn titled(name: &str, schema: Value) -> Value {
    let mut head = json!({
        "$schema": "http://json-schema.org/draft-07/schema#",
        "$id": format!("urn:navgate:schema:{name}:v1"),
        "title": name,
    });
    let (Value::Object(head), Value::Object(schema)) = (&mut head, schema) else { unreachable!("both are objects") };
    head.extend(schema);
    Value::Object(std::mem::take(head))
}

fn common() -> Value {
    json!({
        "id": { "type": "string", "pattern": "^[0-9a-f]{32}$", "description": "The same for every repeat of the same report." },
        "device_id": { "type": "string", "minLength": 1, "description": "The identity that the device's protocol carries, normalised." },
        "protocol": { "type": "string", "description": "Name of the protocol, as `navgate protocols` lists it." },
        "session": { "type": "string", "pattern": "^[0-9a-f]{16}$", "description": "One device on one connection." },
        "epoch": { "type": "integer", "minimum": 0, "maximum": 9_007_199_254_740_991_u64, "description": "Orders the sessions of a device." },
        "sequence": { "type": "integer", "minimum": 0, "description": "Counts the events of a session over all topics, from 0." },
        "received_at": {
            "type": "string", "format": "date-time", "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$",
            "description": "When the gateway had the whole frame, UTC."
        },
        "gateway": { "type": "string", "description": "Which instance." },
    })
}

fn enveloped(name: &str, description: &str, content: Value, required: &[&str]) -> Value {
    let mut properties = common();
    properties["type"] = json!({ "const": name });
    properties[name] = content;
    let required: Vec<_> = ["id", "type", "received_at", "gateway", name].into_iter().chain(required.iter().copied()).collect();
    titled(name, json!({ "description": description, "type": "object", "properties": properties, "required": required }))
}

fn event(name: &str, description: &str, content: Value) -> Value {
    enveloped(name, description, content, &["device_id", "protocol", "session", "epoch", "sequence"])
}

/// About a command: whoever writes it need not hold the device's session, and a command that cannot be read may name no device.
fn answer(name: &str, description: &str, content: Value) -> Value {
    let mut schema = enveloped(name, description, content, &[]);
    schema["properties"]["received_at"]["description"] = json!("When it was decided, UTC.");
    schema["properties"]["id"]["description"] = json!("The same for every repeat of the same answer.");
    schema
}

#[test]
fn the_committed_schemas_say_what_the_types_say() {
    let folder = contract().join("schemas");
    if std::env::var_os("UPDATE_CONTRACT").is_some() {
        for (name, schema) in schemas() {
            let text = serde_json::to_string_pretty(&schema).unwrap() + "\n";
            std::fs::write(folder.join(format!("{name}.schema.json")), text).unwrap();
        }
    }
    for (name, schema) in schemas() {
        assert!(committed(name) == schema, "{name}.schema.json is not what the types say; UPDATE_CONTRACT=1 writes it again");
        jsonschema::draft7::meta::validate(&schema).unwrap_or_else(|e| panic!("{name}: {e}"));
    }
    let files = std::fs::read_dir(folder).unwrap().count();
    assert_eq!(files, schemas().len(), "a file in schemas/ belongs to no type");
}

#[test]
fn nothing_of_rust_is_left_in_a_schema() {
    for (name, schema) in schemas() {
        let text = schema.to_string();
        for word in ["$ref", "definitions", "$defs", "\"null\"", "uint", "Option", "`crate", "[`"] {
            assert!(!text.contains(word), "{name}: {word} in {text}");
        }
    }
}

#[test]
fn what_is_sent_is_open_and_what_is_read_is_closed() {
    for (name, schema) in schemas() {
        let text = schema.to_string();
        assert_eq!(text.contains("\"enum\""), name == "command", "{name}");
        assert!(!text.contains("additionalProperties\":false"), "{name} must let a later release add fields");
    }
}
