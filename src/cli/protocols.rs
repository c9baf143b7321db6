//! `navgate protocols`: what is understood.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::process::ExitCode;

use clap::Args;
use protocols::PROTOCOLS;
use protocols::command::Kind;
use protocols::registry::Protocol;
use serde::Serialize;

/// Lists the protocols.
#[derive(Debug, Args)]
pub(crate) struct ProtocolsArgs {
    /// A JSON array instead of tables, with every message type, dialect and named parameter
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Serialize)]
struct Described {
    name: &'static str,
    title: &'static str,
    port: u16,
    messages: Vec<Message>,
    dialects: &'static [&'static str],
    /// Kinds of commands, and what the device says to each at best: `never`, `receipt` or `answer`. What is not here ends
    /// `unsupported`.
    commands: BTreeMap<&'static str, &'static str>,
    /// Names for `set_parameters` and `query_parameters`, with the protocol's own number.
    parameters: BTreeMap<&'static str, String>,
}

#[derive(Debug, Serialize)]
struct Message {
    id: &'static str,
    name: &'static str,
}

impl From<&Protocol> for Described {
    fn from(p: &Protocol) -> Self {
        let messages = p.messages.iter().map(|(id, name)| Message { id, name }).collect();
        let commands = Kind::NAMES.iter().filter_map(|kind| Some((*kind, p.confirms(kind)?.label()))).collect();
        let parameters = (p.parameters)().into_iter().map(|(id, name)| (name, format!("0x{id:04x}"))).collect();
        Self { name: p.name, title: p.title, port: p.port, messages, dialects: p.dialects, commands, parameters }
    }
}

/// Runs the command.
pub(crate) fn run(args: &ProtocolsArgs) -> ExitCode {
    let mut out = io::stdout().lock();
    let written = if args.json { json(&mut out, PROTOCOLS) } else { table(&mut out, PROTOCOLS) };
    match written {
        Err(e) if e.kind() != io::ErrorKind::BrokenPipe => {
            let _ = writeln!(io::stderr(), "navgate protocols: {e}");
            ExitCode::from(1)
        }
        _ => ExitCode::SUCCESS,
    }
}

fn json(out: &mut impl Write, protocols: &[&Protocol]) -> io::Result<()> {
    let described: Vec<_> = protocols.iter().map(|p| Described::from(*p)).collect();
    serde_json::to_writer(&mut *out, &described)?;
    writeln!(out)
}

fn table(out: &mut impl Write, protocols: &[&Protocol]) -> io::Result<()> {
    let name = protocols.iter().map(|p| p.name.len()).max().unwrap_or(0).max("NAME".len());
    writeln!(out, "{:name$}  {:>5}  {:>8}  TITLE", "NAME", "PORT", "MESSAGES")?;
    for p in protocols {
        writeln!(out, "{:name$}  {:>5}  {:>8}  {}", p.name, p.port, p.messages.len(), p.title)?;
    }
    let kind = Kind::NAMES.iter().map(|kind| kind.len()).max().unwrap_or(0);
    write!(out, "\n{:kind$}", "COMMAND")?;
    protocols.iter().try_for_each(|p| write!(out, "  {:>7}", p.name))?;
    writeln!(out)?;
    for name in Kind::NAMES {
        write!(out, "{name:kind$}")?;
        for p in protocols {
            write!(out, "  {:>7}", p.confirms(name).map_or("-", |confirms| confirms.label()))?;
        }
        writeln!(out)?;
    }
    writeln!(
        out,
        "\nanswer: the driver's choice or the device's own answer ends the command; receipt: that the device has it; never: nothing\n\
         comes back, and it ends `unanswered`, `no_receipt`, when it is written; -: it ends `unsupported`."
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_list_every_protocol() {
        let (mut text, mut objects) = (Vec::new(), Vec::new());
        table(&mut text, PROTOCOLS).unwrap();
        json(&mut objects, PROTOCOLS).unwrap();
        let text = String::from_utf8(text).unwrap();
        assert_eq!(text.lines().take_while(|line| !line.is_empty()).count(), 1 + PROTOCOLS.len());
        assert!(Kind::NAMES.iter().all(|kind| text.lines().any(|line| line.starts_with(kind))), "{text}");
        let objects: Vec<serde_json::Value> = serde_json::from_slice(&objects).unwrap();
        for (p, object) in PROTOCOLS.iter().zip(&objects) {
            assert!(text.lines().any(|line| line.starts_with(p.name)));
            assert_eq!((&object["name"], &object["port"]), (&p.name.into(), &p.port.into()));
            assert_eq!(object["messages"].as_array().unwrap().len(), p.messages.len());
        }
    }
}
