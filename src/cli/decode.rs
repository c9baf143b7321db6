//! `navgate decode`: what bytes mean, for a person or for a program.

mod explain;
mod human;
mod json;
mod jsonl;
mod walk;

use std::io::{self, IsTerminal, Read, Write};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use clap::Args;
use protocols::PROTOCOLS;
use protocols::cursor::unhex;
use protocols::detect::{Detector, Recognised};
use protocols::identity::DeviceId;
use protocols::registry::{self, Protocol};
use protocols::script::unescape;
use protocols::time::Timestamp;
use protocols::wire::Probe;

use walk::{Heard, Piece, walk, walk_down};

/// Longer than any protocol waits for more bytes before it decides with what it has.
const QUIET: Duration = Duration::from_secs(60);

/// Most bytes that are read from the standard input: a day of one car's traffic has some MB.
const MAX_INPUT: u64 = 64 * 1024 * 1024;

/// Shows bytes of a device field by field, with the events they become and the replies they get.
///
/// BYTES is hex if it is whole hex bytes, else text in which \r, \n and \xNN stand for what cannot be typed.
#[derive(Debug, Args)]
pub(crate) struct DecodeArgs {
    /// Bytes as on the wire, one or more frames; `-` reads them from the standard input
    #[arg(value_name = "BYTES", required_unless_present = "jsonl", allow_hyphen_values = true)]
    bytes: Option<String>,
    /// The protocol (see `navgate protocols`); recognised from the first bytes if absent
    #[arg(long, value_name = "NAME")]
    protocol: Option<String>,
    /// The device that the connection belongs to, for frames that do not say it
    #[arg(long, value_name = "ID")]
    device: Option<String>,
    /// BYTES go to the device: commands and acknowledgements, also of other servers
    #[arg(long, conflicts_with = "device")]
    down: bool,
    /// One JSON object a frame instead of tables
    #[arg(long)]
    json: bool,
    /// For a damaged frame: what is wrong, and what it would be if repaired
    #[arg(long)]
    explain: bool,
    /// BYTES is hex, whatever it looks like
    #[arg(long)]
    hex: bool,
    /// BYTES is text, whatever it looks like
    #[arg(long, conflicts_with = "hex")]
    text: bool,
    /// Answer requests, one JSON object a line, from the standard input
    #[arg(long, conflicts_with_all = ["bytes", "protocol", "device", "down", "json", "explain", "hex", "text"])]
    jsonl: bool,
}

/// What went wrong, and whose fault it is.
#[derive(Debug)]
enum Failure {
    /// The command line asks for what there is not.
    Usage(String),
    /// The input or the output.
    Input(String),
}

/// Runs the command. Exit status 0: all bytes were decoded; 1: some were not; 2: wrong usage.
pub(crate) fn run(args: &DecodeArgs) -> ExitCode {
    let status = match decode(args) {
        Ok(true) => return ExitCode::SUCCESS,
        Ok(false) => return ExitCode::from(1),
        Err(Failure::Usage(what)) => (2, what),
        Err(Failure::Input(what)) => (1, what),
    };
    let (code, what) = status;
    let _ = writeln!(io::stderr(), "navgate decode: {what}");
    ExitCode::from(code)
}

/// Whether all bytes were decoded.
fn decode(args: &DecodeArgs) -> Result<bool, Failure> {
    let failed = |e: io::Error| Failure::Input(e.to_string());
    if args.jsonl {
        jsonl::answer_lines(io::stdin().lock(), io::BufWriter::new(io::stdout().lock()), now()).map_err(failed)?;
        return Ok(true);
    }
    let known = args.protocol.as_deref().map(named).transpose()?;
    let device = args
        .device
        .as_deref()
        .map(|id| DeviceId::normalise(id).ok_or_else(|| Failure::Usage(format!("`{id}` is no identity of a device"))));
    let device = device.transpose()?;
    let form = match (args.hex, args.text) {
        (true, _) => Form::Hex,
        (_, true) => Form::Text,
        _ => Form::Either,
    };
    let bytes = match args.bytes.as_deref() {
        Some("-") => from_stdin(form)?,
        given => form.read(given.unwrap_or_default()).map_err(Failure::Usage)?,
    };
    if bytes.is_empty() {
        return Err(Failure::Usage("there are no bytes".into()));
    }
    let heard = if args.down {
        let protocol = known.map_or_else(|| recognised_down(&bytes, args.explain, PROTOCOLS), Ok)?;
        walk_down(protocol, &bytes)
    } else {
        let protocol = known.map_or_else(|| recognised(&bytes, args.explain, PROTOCOLS), Ok)?;
        walk(protocol, device.as_ref(), &bytes, now())
    };
    let whole = !heard.pieces.iter().any(Piece::is_refused);
    let mut out = anstream::AutoStream::auto(io::stdout().lock());
    let written = if args.json {
        json::write(&mut out, &heard, args.explain, now())
    } else {
        human::write(&mut out, &heard, args.explain, now())
    };
    match written.and_then(|()| out.flush()) {
        Ok(()) => Ok(whole),
        // whoever reads has seen enough
        Err(e) if e.kind() == io::ErrorKind::BrokenPipe => Ok(whole),
        Err(e) => Err(failed(e)),
    }
}

fn now() -> Timestamp {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(i64::MAX))
}

fn named(name: &str) -> Result<&'static Protocol, Failure> {
    registry::find(name).ok_or_else(|| Failure::Usage(format!("there is no protocol `{name}`; see `navgate protocols`")))
}

/// The protocol that the first bytes show. Where they do not, because they are damaged or few, the only one that can make
/// something of them.
fn recognised(bytes: &[u8], explained: bool, among: &'static [&'static Protocol]) -> Result<&'static Protocol, Failure> {
    if let Recognised::As(protocol) = Detector::all().recognise(bytes, true) {
        return Ok(protocol);
    }
    let only = |fits: &dyn Fn(&'static Protocol) -> bool| {
        let mut fitting = among.iter().copied().filter(|p| fits(p));
        fitting.next().filter(|_| fitting.next().is_none())
    };
    let possible = |p: &Protocol| (p.probe)(bytes.get(..registry::PROBE_WINDOW).unwrap_or(bytes)) != Probe::No;
    let readable = |p| walk(p, None, bytes, now()).pieces.iter().any(|piece| piece.fate.is_some() && !piece.is_refused());
    let repairable = |p| explained && is_repairable(&walk(p, None, bytes, now()));
    if let Some(protocol) = only(&readable).or_else(|| only(&possible)).or_else(|| only(&repairable)) {
        return Ok(taken_for(protocol));
    }
    let names: Vec<_> = among.iter().filter(|p| possible(p)).map(|p| p.name).collect();
    let told = match Detector::new(among.to_vec(), Vec::new()).recognise(bytes, true) {
        Recognised::No(why) if names.is_empty() => why.to_string(),
        _ if names.is_empty() => "it looks like none that is known".to_owned(),
        _ => format!("it may be {}", names.join(", ")),
    };
    Err(unrecognised(&told))
}

/// The only protocol whose gateways could have said this to a device, whole or at least its first frame; for an explanation also
/// the only one for which it can be repaired.
fn recognised_down(bytes: &[u8], explained: bool, among: &'static [&'static Protocol]) -> Result<&'static Protocol, Failure> {
    let read = |p: &&'static Protocol| walk_down(p, bytes).pieces;
    let whole = |p: &&'static Protocol| !read(p).iter().any(Piece::is_refused);
    let begun = |p: &&'static Protocol| read(p).first().is_some_and(|piece| !piece.is_refused());
    let fitting = |fits: &dyn Fn(&&'static Protocol) -> bool| among.iter().copied().filter(fits).collect::<Vec<_>>();
    let mut found = fitting(&whole);
    if found.is_empty() {
        found = fitting(&begun);
    }
    if found.is_empty() && explained {
        found = fitting(&|p| is_repairable(&walk_down(p, bytes)));
    }
    match found[..] {
        [protocol] => Ok(taken_for(protocol)),
        [] => Err(unrecognised("no protocol has such a frame to a device")),
        _ => Err(unrecognised(&format!("it may be {}", found.iter().map(|p| p.name).collect::<Vec<_>>().join(", ")))),
    }
}

/// Whether a frame comes of it if a byte or two are changed.
fn is_repairable(heard: &Heard) -> bool {
    let repair = |index| explain::explain(heard, index, now()).and_then(|why| why.repair);
    (0..heard.pieces.len()).filter_map(repair).any(|repair| repair.piece.is_some())
}

fn taken_for(protocol: &'static Protocol) -> &'static Protocol {
    let _ = writeln!(io::stderr(), "navgate decode: taken for {}; --protocol NAME says otherwise", protocol.name);
    protocol
}

fn unrecognised(told: &str) -> Failure {
    let hint = "say which with --protocol NAME (`navgate protocols` lists them), and how BYTES is written with --hex or --text";
    Failure::Input(format!("the protocol cannot be told from these bytes: {told}; {hint}"))
}

/// How bytes are written down.
#[derive(Debug, Clone, Copy)]
enum Form {
    Hex,
    Text,
    Either,
}

impl Form {
    fn read(self, text: &str) -> Result<Vec<u8>, String> {
        match (self, unhex(text)) {
            (Self::Hex | Self::Either, Some(bytes)) => Ok(bytes),
            (Self::Hex, None) => Err("BYTES is not whole hex bytes: two digits a byte, white space is free".into()),
            (Self::Text | Self::Either, _) => unescape(text),
        }
    }
}

fn from_stdin(form: Form) -> Result<Vec<u8>, Failure> {
    if io::stdin().is_terminal() {
        let _ = writeln!(io::stderr(), "navgate decode: reading from the terminal; end with Ctrl-D");
    }
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(MAX_INPUT + 1).read_to_end(&mut bytes);
    read.map_err(|e| Failure::Input(format!("the standard input cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_INPUT {
        return Err(Failure::Input(format!("the standard input has more than {MAX_INPUT} bytes")));
    }
    match String::from_utf8(bytes) {
        // the line feed that a shell adds is not the device's; one that is can be written \n
        Ok(text) => form.read(text.strip_suffix('\n').unwrap_or(&text)).map_err(Failure::Usage),
        Err(raw) if matches!(form, Form::Either) => Ok(raw.into_bytes()),
        Err(_) => Err(Failure::Input("the standard input is not text".into())),
    }
}

#[cfg(test)]
mod tests;
