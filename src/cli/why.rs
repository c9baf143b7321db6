//! `navgate why`: what keeps orders from a car.

mod reason;

use std::io::Write;

use clap::Args;
use protocols::identity::DeviceId;
use serde_json::{Map, Value};

use super::Exit;
use super::http::{AdminArgs, in_path, objection};
use crate::down::view::Answer;
use reason::reason;

/// Which car.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The device, as events name it
    device: String,
    /// As a JSON object: the sentence, a word for the reason, and everything that it follows from
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    admin: AdminArgs,
}

/// Runs the command.
///
/// # Errors
/// What went wrong.
pub(crate) fn run(args: &WhyArgs) -> Result<(), Exit> {
    let device = DeviceId::normalise(&args.device)
        .ok_or_else(|| Exit::usage(format!("DEVICE: `{}` cannot be the identity of a device", args.device)))?;
    let client = args.admin.client()?;
    let path = format!("/devices/{}?everywhere=1", in_path(device.as_str()));
    let (status, mut body) = client.ask("GET", &path, "", super::http::ANSWER)?;
    let text = client.whole(&mut body)?;
    // what nobody knows has the same shape
    if !matches!(status, 200 | 404) {
        return Err(objection(status, &text));
    }
    let unreadable =
        |e: serde_json::Error| Exit::failed(format!("the gateway's answer cannot be read, is it of this version? {e}"));
    let mut fields: Map<String, Value> = serde_json::from_str(&text).map_err(unreadable)?;
    let answer: Answer = serde_json::from_str(&text).map_err(unreadable)?;
    let reason = reason(&answer);
    let mut out = std::io::stdout().lock();
    if args.json {
        fields.insert("reason".to_owned(), reason.word.into());
        fields.insert("sentence".to_owned(), reason.sentence.into());
        writeln!(out, "{}", Value::Object(fields))?;
    } else {
        writeln!(out, "{}", reason.sentence)?;
    }
    for instance in answer.known.instances.iter().filter(|instance| !instance.answered) {
        eprintln!("navgate: {} did not answer; what it knows is missing", instance.gateway);
    }
    Ok(())
}
