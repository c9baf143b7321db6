//! `navgate capture`: raw bytes of a device, from a running gateway, as a script.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clap::{ArgGroup, Args};

use super::http::{AdminArgs, Client};
use super::{Exit, stop_on_signals};
use crate::capture::{Request, To, Told};

/// How often the gateway is asked whether it is done.
const GLANCE: Duration = Duration::from_millis(200);

/// Captures a device's raw bytes in both directions, on a running gateway, also before the device connects. Ctrl-C ends it.
///
/// Each connection becomes a script, which `navgate replay` plays.
#[derive(Debug, Args)]
#[command(group(ArgGroup::new("whom").required(true).args(["device", "id_prefix", "address"])))]
pub(crate) struct CaptureArgs {
    #[command(flatten)]
    admin: AdminArgs,
    /// This device
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// Devices whose ids begin so
    #[arg(long, value_name = "PREFIX")]
    id_prefix: Option<String>,
    /// Whoever connects from this address
    #[arg(long, value_name = "IP")]
    address: Option<IpAddr>,
    /// For so long
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Until there are so many bytes
    #[arg(long, value_name = "N")]
    bytes: Option<usize>,
    /// Under other identities, at other places, without names
    #[arg(long, conflicts_with = "topic")]
    anonymise: bool,
    /// Where the script goes, instead of to the standard output; of further connections to FILE with -2, -3 … in its name
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// To the topic navgate.frames instead
    #[arg(long, conflicts_with = "out")]
    topic: bool,
}

/// Capture, wait for the end, fetch what there is.
pub(crate) fn run(args: &CaptureArgs) -> Result<(), Exit> {
    let stop = stop_on_signals()?;
    let client = args.admin.client()?;
    let request = Request {
        device: args.device.clone(),
        id_prefix: args.id_prefix.clone(),
        address: args.address,
        seconds: args.seconds,
        bytes: args.bytes,
        to: if args.topic { To::Topic } else { To::File },
        anonymise: args.anonymise,
    };
    let body = serde_json::to_string(&request).map_err(|e| Exit::failed(e.to_string()))?;
    let begun = told(&client, "POST", "/capture", &body)?;
    eprintln!("capture {} runs for {} s or {} bytes; Ctrl-C ends it", begun.id, begun.seconds, begun.limit);
    let done = wait(&client, begun.id, &stop)?;
    if done.lost > 0 {
        eprintln!("{} bytes did not fit any more", done.lost);
    }
    if done.left_out > 0 {
        eprintln!("{} more connections were left out", done.left_out);
    }
    for trouble in &done.troubles {
        eprintln!("navgate: {trouble}");
    }
    let fetch = |name: &String| client.text("GET", &format!("/capture/{}/{name}", done.id), "");
    for (n, name) in done.files.iter().enumerate() {
        let text = fetch(name)?;
        match &args.out {
            Some(out) => {
                let path = numbered(out, n);
                let written =
                    OpenOptions::new().write(true).create_new(true).open(&path).and_then(|mut f| f.write_all(text.as_bytes()));
                written.map_err(|e| Exit::failed(format!("{}: {e}", path.display())))?;
                eprintln!("{}", path.display());
            }
            None => io::stdout().lock().write_all(text.as_bytes())?,
        }
    }
    if args.out.is_none() && done.files.len() > 1 {
        eprintln!("{} connections, one behind the other: --out writes each to a file of its own", done.files.len());
    }
    match (done.connections, done.troubles.is_empty()) {
        (0, _) => Err(Exit::failed("nothing was captured: nobody who was meant sent or got a byte")),
        (_, true) => Ok(()),
        (_, false) => Err(Exit { status: 1, message: String::new() }),
    }
}

fn wait(client: &Client, id: u64, stop: &AtomicBool) -> Result<Told, Exit> {
    let one = format!("/capture/{id}");
    let mut ended = false;
    loop {
        if stop.load(Ordering::Relaxed) && !ended {
            told(client, "DELETE", &one, "")?;
            ended = true;
        }
        let now = told(client, "GET", &one, "")?;
        if now.state == "done" {
            return Ok(now);
        }
        std::thread::sleep(GLANCE);
    }
}

fn told(client: &Client, method: &str, path: &str, body: &str) -> Result<Told, Exit> {
    let answer = client.text(method, path, body)?;
    serde_json::from_str(&answer).map_err(|e| Exit::failed(format!("the gateway's answer cannot be read: {e}")))
}

/// `drive.script`, `drive-2.script`, …
fn numbered(out: &Path, n: usize) -> PathBuf {
    if n == 0 {
        return out.to_owned();
    }
    let stem = out.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let ending = out.extension().map(|e| format!(".{}", e.to_string_lossy())).unwrap_or_default();
    out.with_file_name(format!("{stem}-{}{ending}", n + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn further_connections_have_numbers() {
        let name = |n| numbered(Path::new("a/drive.script"), n).display().to_string();
        assert_eq!([name(0), name(1), name(2)], ["a/drive.script", "a/drive-2.script", "a/drive-3.script"]);
        assert_eq!(numbered(Path::new("drive"), 1), Path::new("drive-2"));
    }

    #[test]
    fn exactly_one_says_whom() {
        use clap::Parser;
        #[derive(Debug, Parser)]
        struct Line {
            #[command(flatten)]
            args: CaptureArgs,
        }
        let line = |words: &[&str]| Line::try_parse_from([&["capture"], words].concat()).map(|line| line.args);
        assert_eq!(line(&["--device", "1"]).unwrap().device.as_deref(), Some("1"));
        assert!(line(&[]).is_err() && line(&["--device", "1", "--address", "10.0.0.1"]).is_err());
        assert!(line(&["--device", "1", "--topic", "--anonymise"]).is_err());
    }
}
