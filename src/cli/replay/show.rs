//! What came otherwise than expected, for a person.

use std::io::{self, Write};

use anstyle::{AnsiColor, Style};
use protocols::script::{Expect, Pattern};
use serde_json::Value;

use super::Play;

/// Something that came otherwise.
#[derive(Debug)]
pub(super) enum Finding {
    /// Instead of this reply, expected in this line, these bytes, or none.
    Reply { line: usize, expected: Pattern, got: Vec<u8> },
    /// Bytes that nothing expects, after this line; 0: after the last.
    Unexpected { line: usize, bytes: Vec<u8> },
    /// Instead of this event, expected in this line, this one, or none.
    Event { line: usize, expected: Value, got: Option<Value> },
    /// An event that nothing expects.
    MoreEvents(Value),
    /// Instead of a reject for this reason, expected in this line, one for that, or none.
    Reject { line: usize, expected: &'static str, got: Option<String> },
    /// A reject that nothing expects, and its detail.
    MoreRejects(String, String),
    /// It could not go on.
    Broken(String),
}

const WRONG: Style = AnsiColor::Red.on_default();
const RIGHT: Style = AnsiColor::Green.on_default();

/// One script.
pub(super) fn write(out: &mut impl Write, play: &Play, findings: &[Finding], stored: bool) -> io::Result<()> {
    let (verdict, style) = if findings.is_empty() { ("ok", RIGHT) } else { ("FAILED", WRONG) };
    let replies = play.expected(|e| matches!(e, Expect::Sent(_)));
    let sent = play.script.received().count();
    write!(out, "{style}{verdict}{style:#} {} ({}", play.path.display(), play.protocol.name)?;
    play.devices.iter().try_for_each(|device| write!(out, " {device}"))?;
    write!(out, "): {sent} sent, {replies} replies")?;
    if stored {
        let events = play.expected(|e| matches!(e, Expect::Event(_)));
        let rejects = play.expected(|e| matches!(e, Expect::Rejected(_) | Expect::Notice(_)));
        write!(out, ", {events} events, {rejects} rejects")?;
    }
    writeln!(out)?;
    findings.iter().try_for_each(|finding| one(out, finding))
}

fn one(out: &mut impl Write, finding: &Finding) -> io::Result<()> {
    match finding {
        Finding::Reply { line, expected, got } => {
            writeln!(out, "  line {line}: another reply")?;
            writeln!(out, "    expected {}", pattern(expected))?;
            if got.is_empty() {
                return writeln!(out, "    got      {WRONG}nothing{WRONG:#}");
            }
            write!(out, "    got      ")?;
            for (at, byte) in got.iter().enumerate() {
                let style = if differs(expected, at, *byte) { WRONG } else { Style::new() };
                write!(out, "{style}{byte:02x}{style:#}")?;
            }
            let marks: String = got.iter().enumerate().map(|(at, b)| if differs(expected, at, *b) { "^^" } else { "  " }).collect();
            writeln!(out, "\n             {}", marks.trim_end())
        }
        Finding::Unexpected { line: 0, bytes } => {
            writeln!(out, "  at the end came {WRONG}{}{WRONG:#}", protocols::cursor::hex(bytes))
        }
        Finding::Unexpected { line, bytes } => {
            writeln!(out, "  line {line}: besides came {WRONG}{}{WRONG:#}", protocols::cursor::hex(bytes))
        }
        Finding::Event { line, expected, got: None } => {
            writeln!(out, "  line {line}: an event did not come\n    expected {expected}")
        }
        Finding::Event { line, expected, got: Some(got) } => {
            writeln!(out, "  line {line}: another event")?;
            let mut differences = Vec::new();
            compare("", Some(expected), Some(got), &mut differences);
            for (path, expected, got) in differences {
                writeln!(out, "    {path}: expected {expected}, got {WRONG}{got}{WRONG:#}")?;
            }
            Ok(())
        }
        Finding::MoreEvents(got) => writeln!(out, "  an event came besides: {WRONG}{got}{WRONG:#}"),
        Finding::Reject { line, expected, got } => {
            let got = got.as_deref().unwrap_or("none");
            writeln!(out, "  line {line}: a reject for `{expected}` was expected, got {WRONG}{got}{WRONG:#}")
        }
        Finding::MoreRejects(reason, detail) => writeln!(out, "  a reject came besides: {WRONG}{reason}{WRONG:#} ({detail})"),
        Finding::Broken(what) => writeln!(out, "  {WRONG}{what}{WRONG:#}"),
    }
}

fn differs(Pattern(expected): &Pattern, at: usize, byte: u8) -> bool {
    expected.get(at).is_none_or(|wanted| wanted.is_some_and(|wanted| wanted != byte))
}

fn pattern(Pattern(bytes): &Pattern) -> String {
    bytes.iter().map(|byte| byte.map_or_else(|| "..".to_owned(), |byte| format!("{byte:02x}"))).collect()
}

/// Where two values differ: path, expected, got.
fn compare(path: &str, expected: Option<&Value>, got: Option<&Value>, found: &mut Vec<(String, String, String)>) {
    match (expected, got) {
        (Some(Value::Object(a)), Some(Value::Object(b))) => {
            let missing = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(missing) {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(&path, a.get(key), b.get(key), found);
            }
        }
        (a, b) if a == b => {}
        (a, b) => {
            let text = |value: Option<&Value>| value.map_or_else(|| "nothing".to_owned(), Value::to_string);
            found.push((path.to_owned(), text(a), text(b)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn shown(finding: &Finding) -> String {
        let mut out = Vec::new();
        one(&mut anstream::StripStream::new(&mut out), finding).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn bytes_that_differ_are_marked() {
        let expected = Pattern(vec![Some(0x7E), None, Some(1), Some(2)]);
        let told = shown(&Finding::Reply { line: 7, expected: expected.clone(), got: vec![0x7E, 9, 1, 3, 4] });
        assert_eq!(told, "  line 7: another reply\n    expected 7e..0102\n    got      7e09010304\n                   ^^^^\n");
        assert!(shown(&Finding::Reply { line: 7, expected, got: Vec::new() }).contains("nothing"));
    }

    #[test]
    fn fields_that_differ_are_named() {
        let expected = json!({"position": {"speed_kmh": 43.0, "cells": [1], "valid": true}});
        let got = json!({"position": {"speed_kmh": 42.0, "cells": [1], "ignition": true}});
        let told = shown(&Finding::Event { line: 3, expected, got: Some(got) });
        let lines: Vec<_> = told.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "line 3: another event",
                "position.speed_kmh: expected 43.0, got 42.0",
                "position.valid: expected true, got nothing",
                "position.ignition: expected nothing, got true",
            ]
        );
    }
}
