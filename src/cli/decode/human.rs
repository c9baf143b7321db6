//! Tables for a person. Colours go only to a terminal: the stream strips them elsewhere.

use std::fmt;
use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use protocols::cursor::hex;
use protocols::event::{Event, serialize_body};
use protocols::fault::Fault;
use protocols::script::text_of;
use protocols::session::Reject;
use protocols::time::Timestamp;
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::explain::{Explanation, explain};
use super::json::fate;
use super::walk::{Heard, Piece};

const TITLE: Style = Style::new().bold();
const FAULT: Style = AnsiColor::Red.on_default();
const UNKNOWN: Style = AnsiColor::Yellow.on_default();
const EVENT: Style = AnsiColor::Green.on_default();
const REPLY: Style = AnsiColor::Cyan.on_default();

/// Bytes on one line of a table: the widest field of most protocols is a position's 28 bytes, two to three lines.
const ROW: usize = 12;

/// Rows of one field before the rest is told by its number: photos and firmware are not for reading. Bytes that nobody
/// knows are shown whole.
const ROWS: usize = 4;

/// Text of an event that is longer is told by its length: the base64 of a photo says nothing to a person.
const LONG: usize = 160;

/// Write all pieces.
pub(super) fn write(out: &mut impl Write, heard: &Heard, explained: bool, utc: Timestamp) -> io::Result<()> {
    let device = heard.device.as_ref().map_or("no device has signed on", |id| id.as_str());
    let assumed = if heard.assumed { " (assumed: no frame says which; give --device ID)" } else { "" };
    match heard.down {
        true => writeln!(out, "{} to a device", heard.protocol.name)?,
        false => writeln!(out, "{} from {device}{assumed}", heard.protocol.name)?,
    }
    for (index, piece) in heard.pieces.iter().enumerate() {
        writeln!(out)?;
        heading(out, piece)?;
        let text = !piece.content.is_empty() && piece.content.iter().all(|b| matches!(b, b' '..=b'~' | b'\r' | b'\n'));
        table(out, piece, text)?;
        below(out, piece)?;
        if let Some(why) = explained.then(|| explain(heard, index, utc)).flatten() {
            explanation(out, &why)?;
        }
    }
    Ok(())
}

fn heading(out: &mut impl Write, piece: &Piece) -> io::Result<()> {
    let title = match (piece.title.as_str(), piece.fate, &piece.reject) {
        ("", None, Some(_)) => "no frame",
        ("", Some(_), _) => "frame",
        ("", None, None) if piece.message.is_some() => "frame",
        ("", None, None) => "after a while",
        (title, ..) => title,
    };
    let fate = if piece.fate.is_some() { fate(piece) } else { "" };
    let place = match piece.length {
        0 => String::new(),
        n => format!("bytes {}..{}", piece.offset, piece.offset + n),
    };
    let line = [title, &place, fate].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>();
    writeln!(out, "{TITLE}{}{TITLE:#}", line.join("  "))
}

/// One row of the table: bytes from here to there, and what they are.
struct Row<'a> {
    start: usize,
    end: usize,
    known: Option<(&'a str, &'a str)>,
}

fn table(out: &mut impl Write, piece: &Piece, text: bool) -> io::Result<()> {
    let known = piece.fields.iter().map(|f| Row { start: f.span.start, end: f.span.end, known: Some((&f.name, &f.value)) });
    let unknown = piece.gaps().into_iter().map(|(start, end)| Row { start, end, known: None });
    let mut rows: Vec<_> = known.chain(unknown).collect();
    rows.sort_by_key(|row| row.start);
    let show = |bytes: &[u8]| if text { text_of(bytes) } else { spaced(bytes) };
    let lines = |row: &Row<'_>| -> Vec<String> {
        let bytes = piece.content.get(row.start..row.end).unwrap_or_default();
        let mut lines: Vec<_> = bytes.chunks(if text { 2 * ROW } else { ROW }).map(show).collect();
        if row.known.is_some() && lines.len() > ROWS {
            lines.truncate(ROWS);
            lines.push(format!("… {} bytes", bytes.len()));
        }
        lines
    };
    let width = |s: &str| s.chars().count();
    let wide = rows.iter().flat_map(&lines).map(|l| width(&l)).max().unwrap_or(0);
    let name = rows.iter().filter_map(|r| r.known).map(|(name, _)| width(name)).max().unwrap_or(0);
    let mut fault = piece.reject.as_ref().filter(|_| !piece.content.is_empty()).map(|reject| &reject.fault);
    for row in &rows {
        if let Some(fault) = fault.take_if(|fault| fault.offset < row.start) {
            here(out, fault)?;
        }
        let bytes = piece.content.get(row.start..row.end).unwrap_or_default();
        let lines = lines(row);
        let mut lines = lines.iter();
        let first = lines.next().map_or("", String::as_str);
        match row.known {
            Some((label, value)) => {
                // the bytes stand there already
                let value = value.strip_prefix(&hex(bytes)).unwrap_or(value).trim_start();
                let line = format!("  {:>4}  {first:wide$}  {label:name$}  {}", row.start, printable(value));
                writeln!(out, "{}", line.trim_end())?;
            }
            None => writeln!(out, "{UNKNOWN}  {:>4}  {first:wide$}  {:name$}  unknown{UNKNOWN:#}", row.start, "?")?,
        }
        for more in lines {
            writeln!(out, "        {more}")?;
        }
    }
    fault.map_or(Ok(()), |fault| here(out, fault))
}

fn here(out: &mut impl Write, fault: &Fault) -> io::Result<()> {
    writeln!(out, "{FAULT}  {:>4}  ^ {}: {}{FAULT:#}", fault.offset, fault.kind.label(), fault.detail)
}

fn below(out: &mut impl Write, piece: &Piece) -> io::Result<()> {
    for fault in &piece.notices {
        writeln!(out, "  {FAULT}earlier{FAULT:#}  {fault}")?;
    }
    for kind in &piece.tolerated {
        writeln!(out, "  {FAULT}tolerated{FAULT:#}  {}", kind.label())?;
    }
    // a fault inside a table stands in it
    if let Some(Reject { fault, bytes, length }) = piece.reject.as_ref().filter(|_| piece.content.is_empty()) {
        writeln!(out, "  {FAULT}fault{FAULT:#}  {fault}")?;
        let all = if *length > bytes.len() { format!("  … {length} bytes") } else { String::new() };
        writeln!(out, "  bytes  {}{all}", text_of(bytes))?;
    }
    if let Some(message) = &piece.message {
        writeln!(out, "  {REPLY}message{REPLY:#}  {}", printable(message))?;
    }
    for event in &piece.events {
        writeln!(out, "  {EVENT}{}{EVENT:#}  {}", event.body.type_name(), sentence(event))?;
    }
    for reply in &piece.replies {
        writeln!(out, "  {REPLY}reply{REPLY:#}  {}", text_of(reply))?;
    }
    if let Some(reason) = piece.close {
        writeln!(out, "  {REPLY}close{REPLY:#}  {reason}")?;
    }
    Ok(())
}

fn explanation(out: &mut impl Write, explanation: &Explanation) -> io::Result<()> {
    writeln!(out, "  why    {}", explanation.what)?;
    let Some(repair) = &explanation.repair else {
        return writeln!(out, "  repair none found");
    };
    writeln!(out, "  repair {}", repair.what)?;
    let Some(piece) = &repair.piece else { return Ok(()) };
    writeln!(out, "  then   {}", text_of(&repair.bytes))?;
    let mut inner = Vec::new();
    heading(&mut inner, piece)?;
    table(&mut inner, piece, false)?;
    below(&mut inner, piece)?;
    for line in String::from_utf8_lossy(&inner).lines() {
        writeln!(out, "  | {line}")?;
    }
    Ok(())
}

/// A value as read from a device, without what would move the cursor of a terminal.
fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { char::REPLACEMENT_CHARACTER } else { c }).collect()
}

/// `78 78 0d`.
fn spaced(bytes: &[u8]) -> String {
    bytes.iter().map(|b| hex(&[*b])).collect::<Vec<_>>().join(" ")
}

/// The fields of an event in the words of the contract, on one line.
fn sentence(event: &Event) -> String {
    let mut json = Vec::new();
    let written = (|| {
        let mut serializer = serde_json::Serializer::new(&mut json);
        let mut map = (&mut serializer).serialize_map(Some(1))?;
        serialize_body(&mut map, &event.body)?;
        map.end()
    })();
    let read = || serde_json::Deserializer::from_slice(&json).deserialize_map(Outer);
    written.and_then(|()| read()).unwrap_or_else(|e| format!("cannot be shown: {e}"))
}

/// The content under its type.
struct Outer;

impl<'de> Visitor<'de> for Outer {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<String, A::Error> {
        let content = map.next_entry::<String, Content>()?;
        Ok(content.map(|(_, Content(text))| text).unwrap_or_default())
    }
}

/// `name=value` in the order of the contract.
struct Content(String);

impl<'de> serde::Deserialize<'de> for Content {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = Content;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the content of an event")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Content, A::Error> {
                let mut parts = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Value>()? {
                    let value = match value {
                        Value::String(text) if text.len() > LONG => format!("({} characters)", text.chars().count()),
                        Value::String(text) if !text.contains(char::is_whitespace) => printable(&text),
                        other => other.to_string(),
                    };
                    parts.push(format!("{name}={value}"));
                }
                Ok(Content(parts.join(" ")))
            }
        }

        deserializer.deserialize_map(Fields)
    }
}
