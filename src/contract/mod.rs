//! `navgate contract`: the published contract, so that whoever has the binary has it too.

use std::io::{self, Write};

use clap::Args;
use clap::builder::PossibleValuesParser;

const ASYNCAPI: &str = include_str!("../../deploy/contract/asyncapi.yaml");

macro_rules! schemas {
    ($($name:literal),+ $(,)?) => {
        /// Names and texts of the schemas, in the order in which a reader meets them.
        const SCHEMAS: &[(&str, &str)] = &[$(($name, include_str!(concat!("../../deploy/contract/schemas/", $name, ".schema.json")))),+];
        const NAMES: &[&str] = &[$($name),+];
    };
}

schemas!("position", "status", "alarm", "data", "order", "driver", "reject", "frame", "command", "outcome", "progress", "session");

/// What to print.
#[derive(Debug, Default, Args)]
pub(crate) struct ContractArgs {
    /// Print the AsyncAPI document, with all schemas in it
    #[arg(long, conflicts_with = "schema")]
    asyncapi: bool,
    /// Print the JSON Schema of one type of record
    #[arg(long, value_name = "TYPE", value_parser = PossibleValuesParser::new(NAMES))]
    schema: Option<String>,
}

/// Print what is asked for; without arguments, what there is.
///
/// # Errors
/// Those of `out`.
pub(crate) fn print(args: &ContractArgs, out: &mut impl Write) -> io::Result<()> {
    match &args.schema {
        Some(wanted) => {
            for (_, text) in SCHEMAS.iter().filter(|(name, _)| name == wanted) {
                out.write_all(text.as_bytes())?;
            }
        }
        None if args.asyncapi => out.write_all(standing_alone()?.as_bytes())?,
        None => {
            writeln!(out, "types of records:")?;
            for name in NAMES {
                writeln!(out, "  {name}")?;
            }
            writeln!(out, "`navgate contract --schema TYPE` prints a type's JSON Schema,")?;
            writeln!(out, "`navgate contract --asyncapi` the whole: topics, keys, headers, order and ids.")?;
        }
    }
    out.flush()
}

/// The document with the schemas in the place of the references to their files. JSON is YAML, so each fits where its
/// reference stood, on one line.
fn standing_alone() -> io::Result<String> {
    let mut text = ASYNCAPI.to_owned();
    for (name, schema) in SCHEMAS {
        let schema: serde_json::Value = serde_json::from_str(schema)?;
        text = text.replace(&format!("{{$ref: ./schemas/{name}.schema.json}}"), &schema.to_string());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_closed_pipe_is_an_error_and_no_panic() {
        struct Closed;
        impl Write for Closed {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        for args in [
            ContractArgs::default(),
            ContractArgs { asyncapi: true, schema: None },
            ContractArgs { asyncapi: false, schema: Some("order".into()) },
        ] {
            assert_eq!(print(&args, &mut Closed).unwrap_err().kind(), io::ErrorKind::BrokenPipe);
        }
    }

    #[test]
    fn no_reference_to_a_file_is_left() {
        assert!(ASYNCAPI.contains("./schemas/"));
        assert!(!standing_alone().unwrap().contains("./schemas/"));
    }
}
