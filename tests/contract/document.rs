//! The AsyncAPI document: that it hangs together, that its examples keep the schemas, and that `navgate contract` prints it.

use std::collections::BTreeSet;
use std::process::{Command, Output};

use protocols::event::{Body, Topic};
use protocols::identity::{Count, MessageType, Recipe, SessionId};
use serde_json::{Map, Value};
use yaml_rust2::{Yaml, YamlLoader};

use crate::generate::schemas;
use crate::{contract, objections};

fn text() -> String {
    std::fs::read_to_string(contract().join("asyncapi.yaml")).unwrap()
}

fn parse(text: &str) -> Value {
    fn json(yaml: &Yaml) -> Value {
        match yaml {
            Yaml::String(s) => s.as_str().into(),
            Yaml::Integer(n) => (*n).into(),
            Yaml::Real(x) => x.parse::<f64>().unwrap().into(),
            Yaml::Boolean(b) => (*b).into(),
            Yaml::Array(items) => items.iter().map(json).collect(),
            Yaml::Hash(map) => map.iter().map(|(k, v)| (k.as_str().unwrap().to_owned(), json(v))).collect::<Map<_, _>>().into(),
            other => panic!("{other:?} is not in the JSON subset"),
        }
    }
    let documents = YamlLoader::load_from_str(text).unwrap();
    assert_eq!(documents.len(), 1);
    json(&documents[0])
}

/// Every `$ref` below a value.
fn references(value: &Value, found: &mut Vec<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.push(target.clone());
            }
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(items) => items.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

fn messages(document: &Value) -> &Map<String, Value> {
    document["components"]["messages"].as_object().unwrap()
}

#[test]
fn every_reference_leads_somewhere_and_every_schema_has_its_message() {
    let document = parse(&text());
    assert_eq!(document["asyncapi"], "3.0.0");
    let mut found = Vec::new();
    references(&document, &mut found);
    for target in &found {
        match target.strip_prefix('#') {
            Some(pointer) => assert!(document.pointer(pointer).is_some(), "{target}"),
            None => assert!(contract().join(target).is_file(), "{target}"),
        }
    }
    for (name, _) in schemas() {
        let message = &messages(&document)[name];
        assert_eq!(message["name"], format!("navgate.{name}.v1"));
        assert_eq!(message["payload"]["schema"]["$ref"], format!("./schemas/{name}.schema.json"));
        assert!(found.contains(&format!("#/components/messages/{name}")), "{name} is in no channel");
    }
    assert_eq!(messages(&document).len(), schemas().len());
}

#[test]
fn events_are_in_the_channel_that_the_gateway_writes_them_to() {
    let document = parse(&text());
    let channel_of = |message: &str| {
        let channels = document["channels"].as_object().unwrap();
        channels.iter().filter(|(_, c)| c["messages"].get(message).is_some()).map(|(name, _)| name.clone()).collect::<Vec<_>>()
    };
    for name in Body::TYPES {
        let topic = if matches!(name, "order" | "driver") { Topic::Orders } else { Topic::Telemetry };
        assert_eq!(channel_of(name), [topic.name()], "{name}");
    }
    assert_eq!(channel_of("reject"), [Topic::Rejects.name()]);
    assert_eq!(channel_of("frame"), [Topic::Frames.name()]);
    for (name, channel) in document["channels"].as_object().unwrap() {
        assert_eq!(channel["address"], format!("navgate.{name}"));
    }
}

#[test]
fn examples_keep_the_schemas() {
    let document = parse(&text());
    for (name, message) in messages(&document) {
        let examples = message["examples"].as_array().unwrap();
        assert!(!examples.is_empty(), "{name}");
        for example in examples {
            let payload = &example["payload"];
            assert_eq!(objections(name, payload), [""; 0], "{name}: {payload}");
            if name == "command" {
                let latest = protocols::time::Timestamp::parse("2027-01-01T00:00:00Z").unwrap();
                let received = protocols::command::read(payload.to_string().as_bytes(), latest).unwrap();
                assert_eq!(received.warnings, [""; 0]);
            }
        }
    }
}

/// The worked examples of the recipe are what the code computes.
#[test]
fn the_ids_in_the_text_are_those_of_the_recipe() {
    let text = text();
    let dated = Recipe {
        protocol: "jt808",
        device_id: "13800000001",
        event_type: "position",
        ordinal: 0,
        message: MessageType::Hex(0x0200, 4),
        undated: None,
        body: b"body",
    };
    let keyword = Recipe {
        protocol: "gps103",
        device_id: "861200000000013",
        event_type: "status",
        message: MessageType::Word("tracker"),
        undated: Some((SessionId(0xAB), Count::Sequence(3))),
        ..dated
    };
    for (command, recipe) in [
        (r"'jt808\n13800000001\nposition\n0\n0200\nbody'", dated),
        (r"'jt808\n13800000001\nposition\n1\n0200\nbody'", Recipe { ordinal: 1, ..dated }),
        (
            r"'jt808\n13800000001\nposition\n0\n0200\n00000000000000ab/7\nbody'",
            Recipe { undated: Some((SessionId(0xAB), Count::Serial(7))), ..dated },
        ),
        (r"'gps103\n861200000000013\nstatus\n0\ntracker\n00000000000000ab/#3\nbody'", keyword),
    ] {
        let line = text.lines().find(|l| l.contains(command)).unwrap_or_else(|| panic!("{command} is not in the text"));
        assert!(line.ends_with(&recipe.id().to_string()), "{line} should end in {}", recipe.id());
    }
}

fn navgate(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_navgate")).args(arguments).output().unwrap()
}

fn printed(arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } = navgate(arguments);
    assert!(status.success(), "{}", String::from_utf8_lossy(&stderr));
    String::from_utf8(stdout).unwrap()
}

#[test]
fn the_printed_document_stands_alone() {
    let document = parse(&printed(&["contract", "--asyncapi"]));
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(found.iter().all(|target| target.starts_with('#')), "{found:?}");
    for (name, schema) in schemas() {
        assert_eq!(messages(&document)[name]["payload"]["schema"], schema, "{name}");
    }
}

#[test]
fn the_command_prints_each_schema_and_lists_them() {
    let list = printed(&["contract"]);
    for (name, schema) in schemas() {
        assert_eq!(serde_json::from_str::<Value>(&printed(&["contract", "--schema", name])).unwrap(), schema);
        assert!(list.contains(name), "{name} is not in {list}");
    }
    let lines: BTreeSet<_> = list.lines().collect();
    assert!(lines.len() > schemas().len());
}

#[test]
fn refuses_a_type_that_is_not_there() {
    for wrong in [&["contract", "--schema", "parcel"][..], &["contract", "--asyncapi", "--schema", "order"], &["contract", "order"]]
    {
        let output = navgate(wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
        assert!(output.stdout.is_empty() && !output.stderr.is_empty());
    }
}
