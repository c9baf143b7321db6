//! `navgate import`: a capture file of a network, a script for each connection of a device.
//!
//! ```text
//!   file ─▶ packets: segments ─▶ flows (tcp: bytes in order) ─▶ protocols::script::Recording ─▶ DIR/*.script
//! ```

mod flows;
mod packets;
mod tcp;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use clap::Args;
use protocols::registry;
use protocols::script::{Action, Disguise, Expect, Script};

use super::Exit;
use flows::{Finished, Flows, Ports};
use packets::Passed;

/// Reads a pcap or pcapng file, puts every TCP connection together, and writes those of devices as scripts: what the device
/// sent, what this gateway would have answered and made of it, and, as remarks, what the server there did answer.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// The capture, as tcpdump and Wireshark write it
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// The directory for the scripts, made if missing; nothing in it is overwritten
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// What is spoken on a port; else by the protocol's usual port, else by the first bytes
    #[arg(long = "listen", value_name = "PORT=PROTOCOL", value_parser = port)]
    ports: Vec<(u16, &'static registry::Protocol)>,
    /// Under other identities, at other places, without names
    #[arg(long)]
    anonymise: bool,
}

fn port(text: &str) -> Result<(u16, &'static registry::Protocol), String> {
    let (port, name) = text.split_once('=').ok_or("write PORT=PROTOCOL, as in 5023=gt06")?;
    let port = port.parse().map_err(|_| format!("`{port}` is no port"))?;
    let protocol = registry::find(name).ok_or_else(|| format!("`{name}` is no protocol; `navgate protocols` lists them"))?;
    Ok((port, protocol))
}

/// Import all of it. Fails if nothing came of it, or something went wrong.
pub(crate) fn run(args: &ImportArgs) -> Result<(), Exit> {
    let file = File::open(&args.file).map_err(|e| Exit::usage(format!("{}: {e}", args.file.display())))?;
    fs::create_dir_all(&args.out).map_err(|e| Exit::failed(format!("{}: {e}", args.out.display())))?;
    let mut flows = Flows::new(Ports::from_iter(args.ports.iter().copied()));
    let (mut written, mut troubles) = (0, 0);
    let mut done = |finished: Finished| match write(&finished, args) {
        Ok(line) => {
            written += 1;
            // a reader that has gone, as in `| head`, does not stop the import
            let _ = writeln!(io::stdout().lock(), "{line}");
        }
        Err(trouble) => {
            troubles += 1;
            eprintln!("navgate: {} to {}: {trouble}", finished.device, finished.server);
        }
    };
    let read = packets::read(file, |segment| flows.on(segment, &mut done));
    flows.end(&mut done);
    let skipped = flows.skipped;
    let passed = match &read {
        Ok(passed) => *passed,
        Err(_) => Passed::default(),
    };
    for (count, what) in [
        (skipped.unknown, "connections speak nothing that is known (--listen PORT=PROTOCOL says what is spoken)"),
        (skipped.silent, "connections in which the client says nothing"),
        (passed.other, "packets are not TCP"),
        (passed.unreadable, "packets are damaged, cut off or fragments"),
        (passed.links, "packets come from a kind of link that is not known"),
    ] {
        if count > 0 {
            eprintln!("passed: {count} {what}");
        }
    }
    if let Err(e) = read {
        return Err(Exit::failed(format!("{}: {e}; what came before it is imported", args.file.display())));
    }
    match (written, troubles) {
        (0, 0) => Err(Exit::failed("there is no connection of a device in it")),
        (_, 0) => Ok(()),
        _ => Err(Exit { status: 1, message: String::new() }),
    }
}

/// One connection; what to say about it.
fn write(finished: &Finished, args: &ImportArgs) -> Result<String, String> {
    let mut script = finished.recording.script(finished.protocol)?;
    if args.anonymise {
        let seed = getrandom::u64().map_err(|e| e.to_string())?;
        let new = Disguise::everything(seed).script(finished.protocol, &script).map_err(|e| e.to_string())?;
        if new.unmoved > 0 {
            return Err(format!("{} places are written in a way that is not known; not written", new.unmoved));
        }
        script = without_addresses(&new.script)?;
    }
    let second = finished.begun.to_string().replace([':', '.', '-'], "");
    let whose = if args.anonymise { "device".to_owned() } else { finished.device.to_string().replace([':', '[', ']', '.'], "-") };
    let stem = format!("{}-{second}-{}", finished.protocol.name, whose.trim_matches('-'));
    let path = create(&args.out, &stem, &script).map_err(|e| format!("{}: {e}", args.out.display()))?;
    let frames = script.items.iter().filter(|item| matches!(item.action, Action::Receive(_))).count();
    let count = |kind: fn(&Expect) -> bool| script.items.iter().flat_map(|i| &i.expected).filter(|e| kind(&e.what)).count();
    let events = count(|e| matches!(e, Expect::Event(_)));
    let rejects = count(|e| matches!(e, Expect::Rejected(_) | Expect::Notice(_)));
    Ok(format!("{} {}: {frames} frames, {events} events, {rejects} rejects", path.display(), finished.protocol.name))
}

/// The remarks at the top name addresses.
fn without_addresses(script: &Script) -> Result<Script, String> {
    let named = |line: &&str| line.starts_with("# imported:") || line.starts_with("# behind a balancer");
    let text = script.lines().filter(|line| !named(line)).fold(String::from("# imported\n"), |text, line| text + line + "\n");
    Script::parse(&text).map_err(|e| e.to_string())
}

/// A new file; a number in its name where there is one of that name.
fn create(directory: &Path, stem: &str, script: &Script) -> io::Result<PathBuf> {
    /// A name is taken by a connection of the same second and address, so there are a few at most.
    const MOST_NAMES: usize = 10_000;
    for n in 1..MOST_NAMES {
        let number = if n == 1 { String::new() } else { format!("-{n}") };
        let path = directory.join(format!("{stem}{number}.script"));
        match OpenOptions::new().write(true).create_new(true).open(&path) {
            Ok(mut file) => {
                for line in script.lines() {
                    writeln!(file, "{line}")?;
                }
                return Ok(path);
            }
            Err(e) if e.kind() == io::ErrorKind::AlreadyExists => {}
            Err(e) => return Err(e),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_are_named() {
        assert_eq!(port("5023=gt06").map(|(port, p)| (port, p.name)), Ok((5023, "gt06")));
        for wrong in ["5023", "x=gt06", "5023=none", "70000=gt06"] {
            assert!(port(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn nothing_is_overwritten() {
        let directory = tempfile::tempdir().unwrap();
        let script = Script::parse("# a\n").unwrap();
        let name = || create(directory.path(), "x", &script).unwrap().file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!([name(), name()], ["x.script", "x-2.script"]);
    }
}
