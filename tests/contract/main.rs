//! The published contract in `deploy/contract/`: that it says what the types say, and that its examples keep it.
//!
//! `UPDATE_CONTRACT=1 cargo test --test contract` writes the schemas again; then read the difference.

mod document;
mod generate;
mod records;
mod shapes;

use std::path::PathBuf;

/// The folder of the contract.
fn contract() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("deploy/contract")
}

/// The committed schema of a type.
fn committed(name: &str) -> serde_json::Value {
    let path = contract().join("schemas").join(format!("{name}.schema.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// What a schema says against a value, a line for each objection.
fn objections(name: &str, value: &serde_json::Value) -> Vec<String> {
    let schema = jsonschema::draft7::options().should_validate_formats(true).build(&committed(name)).unwrap();
    schema.iter_errors(value).map(|e| format!("{}: {e}", e.instance_path())).collect()
}
