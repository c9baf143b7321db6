//! The published schemas, and the parts of the contract that stand beside the value of a record.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use jsonschema::Validator;
use serde_json::Value;

use super::kafka::{Record, java_partition};
use super::repository;

fn schemas() -> &'static BTreeMap<String, (String, Validator)> {
    static SCHEMAS: OnceLock<BTreeMap<String, (String, Validator)>> = OnceLock::new();
    SCHEMAS.get_or_init(|| {
        let files = std::fs::read_dir(repository("deploy/contract/schemas")).unwrap();
        let read = |path: std::path::PathBuf| {
            let schema: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
            let validator = jsonschema::draft7::options().should_validate_formats(true).build(&schema).unwrap();
            let text = |key: &str| schema[key].as_str().unwrap().to_owned();
            (text("title"), (text("$id"), validator))
        };
        files.map(|file| read(file.unwrap().path())).collect()
    })
}

/// Whether a value keeps the schema of its type.
pub(crate) fn assert_valid(kind: &str, value: &Value) {
    let (_, validator) = schemas().get(kind).unwrap_or_else(|| panic!("there is no type `{kind}`: {value}"));
    let objections: Vec<_> = validator.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect();
    assert!(objections.is_empty(), "{kind}: {objections:?} in {value}");
}

/// Whether a record of an event, a reject or a captured frame keeps the contract: value, key, partition and headers.
pub(crate) fn assert_record(record: &Record) {
    // what has no recipe for its id
    let nameless = match record.topic.as_str() {
        "rejects" => Some("reject"),
        "frames" => Some("frame"),
        _ => None,
    };
    let kind = nameless.unwrap_or_else(|| record.text("type"));
    assert_valid(kind, &record.value);
    let device = record.value["device_id"].as_str();
    assert_eq!(record.key.as_deref(), device, "{record:?}");
    if let Some(device) = device {
        assert_eq!(record.partition, java_partition(device, record.partitions), "{record:?}");
    }
    let header = |name: &str| record.headers.get(name).map(String::as_str);
    assert_eq!(header("content-type"), Some("application/json"), "{record:?}");
    assert_eq!(header("ce_specversion"), Some("1.0"), "{record:?}");
    assert_eq!(header("ce_type"), Some(format!("navgate.{kind}.v1").as_str()), "{record:?}");
    assert_eq!(header("ce_subject"), device, "{record:?}");
    assert_eq!(header("ce_dataschema"), Some(schemas()[kind].0.as_str()), "{record:?}");
    if let Some(protocol) = record.value["protocol"].as_str() {
        assert_eq!(header("ce_source"), Some(format!("/navgate/{protocol}").as_str()), "{record:?}");
    }
    if nameless.is_some() {
        assert!(header("ce_id").is_some_and(|id| !id.is_empty()), "{record:?}");
        return;
    }
    assert_eq!(header("ce_id"), Some(record.text("id")), "{record:?}");
    assert_eq!(header("navgate-epoch"), Some(record.value["epoch"].to_string().as_str()), "{record:?}");
    let content = &record.value[kind];
    let said = content["time"].as_str().or_else(|| content["position"]["time"].as_str());
    assert_eq!(header("ce_time"), said.or_else(|| record.value["received_at"].as_str()), "{record:?}");
}
