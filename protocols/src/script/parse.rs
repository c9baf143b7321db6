//! From text to a [`Script`]. Every error says on which line, what is wrong and what to write instead.

use std::fmt;
use std::time::Duration;

use serde_json::Value;

use crate::command::{CommandId, Kind};
use crate::cursor::unhex;
use crate::fault::FaultKind;
use crate::identity::DeviceId;
use crate::profile::Profile;
use crate::session::Close;
use crate::time::Timestamp;

/// The clock of a conversation that does not set one: 2026-01-01T00:00:00Z in milliseconds since the Unix epoch.
pub const DEFAULT_START_MS: i64 = 1_767_225_600_000;

/// The longest pause inside one conversation. No device of this trade is silent for a day and still connected, and a bound
/// keeps a typing error from firing millions of deadlines.
pub const MAX_ADVANCE: Duration = Duration::from_secs(24 * 3600);

/// Until a command's deadline, unless its line says otherwise: what a taxi offer is given.
pub const DEFAULT_WITHIN: Duration = Duration::from_secs(60);

/// One conversation of one device over one connection.
#[derive(Debug, Clone)]
pub struct Script {
    /// Profiles of the configuration, tried in order.
    pub profiles: Vec<Profile>,
    /// The session already knows its device.
    pub device: Option<DeviceId>,
    /// The configuration demands authentication.
    pub auth_required: bool,
    /// Wall clock at the start.
    pub start: Timestamp,
    /// What happens, in order.
    pub items: Vec<Item>,
    /// The lines as written, for writing them back.
    pub(super) source: Vec<String>,
}

/// Something that happens, and what must come of it.
#[derive(Debug, Clone)]
pub struct Item {
    /// Line number, from 1.
    pub line: usize,
    /// What happens.
    pub action: Action,
    /// What must come of it before the next item, in order.
    pub expected: Vec<Expected>,
}

/// What happens.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// Bytes from the device.
    Receive(Vec<u8>),
    /// Time passes.
    Advance(Duration),
    /// A command comes from the backend.
    Command(Order),
}

/// A `$` line: a command as the backend would send it, for the device of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// The command's id.
    pub id: CommandId,
    /// Until its deadline.
    pub within: Duration,
    /// What to do.
    pub kind: Kind,
}

/// One expected line.
#[derive(Debug, Clone)]
pub struct Expected {
    /// Line number, from 1.
    pub line: usize,
    /// What is expected.
    pub what: Expect,
}

/// What is expected.
#[derive(Debug, Clone, PartialEq)]
pub enum Expect {
    /// `<` one frame to the device.
    Sent(Pattern),
    /// `=` an event: its content under its type.
    Event(Value),
    /// `!` a frame or a run of bytes goes to the rejects.
    Rejected(FaultKind),
    /// `~` a fault is accepted and counted.
    Tolerated(FaultKind),
    /// `?` a reject about earlier frames, which are accounted for already.
    Notice(FaultKind),
    /// `^` something about a command: its id, then a stage or a result, then what the outcome says besides.
    Told(String),
    /// `.` the session wants the connection closed.
    Closes(Close),
}

/// Bytes of which some may be anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern(pub Vec<Option<u8>>);

impl Pattern {
    /// These bytes exactly.
    pub fn exact(bytes: &[u8]) -> Self {
        Self(bytes.iter().copied().map(Some).collect())
    }

    /// Whether these bytes fit.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        self.0.len() == bytes.len() && self.0.iter().zip(bytes).all(|(want, have)| want.is_none_or(|want| want == *have))
    }
}

/// Why a script cannot be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScriptError {
    /// Line number, from 1.
    pub line: usize,
    /// What is wrong and what to do.
    pub what: String,
}

impl fmt::Display for ScriptError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

impl std::error::Error for ScriptError {}

impl Script {
    /// Read a conversation.
    ///
    /// # Errors
    /// The first line that is none of the grammar.
    pub fn parse(text: &str) -> Result<Self, ScriptError> {
        let mut script = Self {
            profiles: Vec::new(),
            device: None,
            auth_required: false,
            start: Timestamp::from_millis(DEFAULT_START_MS),
            items: Vec::new(),
            source: Vec::new(),
        };
        let mut now = None;
        for (index, raw) in text.lines().enumerate() {
            let line = index + 1;
            script.line(line, raw.trim_end(), &mut now).map_err(|what| ScriptError { line, what })?;
            script.source.push(raw.trim_end_matches('\r').to_owned());
        }
        Ok(script)
    }

    fn line(&mut self, line: usize, text: &str, now: &mut Option<Timestamp>) -> Result<(), String> {
        let mut chars = text.chars();
        let Some(sign) = chars.next() else { return Ok(()) };
        let rest = chars.as_str().trim();
        let what = match sign {
            '#' => return Ok(()),
            '%' => return self.directive(rest),
            '@' => return self.clock(line, rest, now),
            '>' => {
                let bytes = bytes(rest)?;
                self.items.push(Item { line, action: Action::Receive(bytes), expected: Vec::new() });
                return Ok(());
            }
            '$' => {
                let order = self.order(rest)?;
                self.items.push(Item { line, action: Action::Command(order), expected: Vec::new() });
                return Ok(());
            }
            '<' => Expect::Sent(pattern(rest)?),
            '^' => Expect::Told(told(rest)?),
            '=' => Expect::Event(event(rest)?),
            '!' => Expect::Rejected(fault(rest)?),
            '~' => Expect::Tolerated(fault(rest)?),
            '?' => Expect::Notice(fault(rest)?),
            '.' => Expect::Closes(close(rest)?),
            _ => return Err(format!("a line starts with one of # % @ > $ < = ^ ! ~ ? . and not with `{sign}`")),
        };
        let Some(item) = self.items.last_mut() else {
            return Err("nothing can be expected before the first `>`, `$` or `@ +…`; move this line below one".into());
        };
        item.expected.push(Expected { line, what });
        Ok(())
    }

    fn directive(&mut self, text: &str) -> Result<(), String> {
        if !self.items.is_empty() {
            return Err("`%` lines describe the session before it starts; move this line above the first `>`".into());
        }
        let (word, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        match (word, rest.trim()) {
            ("profile", json) => {
                let profile = serde_json::from_str(json).map_err(|e| format!("not a profile in JSON: {e}"))?;
                self.profiles.push(profile);
            }
            ("device", id) => {
                let id = DeviceId::normalise(id).ok_or_else(|| format!("`{id}` is no identity of a device"))?;
                self.device = Some(id);
            }
            ("auth", "required") => self.auth_required = true,
            _ => return Err(format!("`% {text}` is none of `% profile {{…}}`, `% device ID`, `% auth required`")),
        }
        Ok(())
    }

    fn clock(&mut self, line: usize, text: &str, now: &mut Option<Timestamp>) -> Result<(), String> {
        let present = now.unwrap_or(self.start);
        let advance = if let Some(span) = text.strip_prefix('+') {
            duration(span)?
        } else {
            let at = Timestamp::parse(text)
                .ok_or_else(|| format!("`{text}` is neither a time like 2026-03-01T10:00:00Z nor a pause like +30s"))?;
            if self.items.is_empty() {
                self.start = at;
                *now = Some(at);
                return Ok(());
            }
            let ms = u64::try_from(at.as_millis() - present.as_millis())
                .map_err(|_| format!("the clock stands at {present} and cannot go back to {at}"))?;
            Duration::from_millis(ms)
        };
        if advance > MAX_ADVANCE {
            return Err(format!("a pause is at most {} s; a longer one is another connection", MAX_ADVANCE.as_secs()));
        }
        *now = Some(present.plus_millis(i64::try_from(advance.as_millis()).unwrap_or(i64::MAX)));
        self.items.push(Item { line, action: Action::Advance(advance), expected: Vec::new() });
        Ok(())
    }

    /// A command in JSON: its content under its kind, and if wanted `id` (else c1, c2 …) and `within` (else 60s).
    fn order(&self, json: &str) -> Result<Order, String> {
        let Ok(Value::Object(mut fields)) = serde_json::from_str(json) else {
            return Err(format!("`{json}` is not a command like {{\"text\":{{\"text\":\"Hello\"}}}}"));
        };
        let count = self.items.iter().filter(|item| matches!(item.action, Action::Command(_))).count();
        let id = match fields.remove("id") {
            None => format!("c{}", count + 1),
            Some(Value::String(id)) => id,
            Some(other) => return Err(format!("id: {other} is not a text")),
        };
        let id = CommandId::new(id).filter(|id| !id.as_str().contains(' ')).ok_or("id: expected printable ASCII without spaces")?;
        let within = match fields.remove("within") {
            None => DEFAULT_WITHIN,
            Some(Value::String(span)) => duration(&span)?,
            Some(other) => return Err(format!("within: {other} is not a span like \"60s\"")),
        };
        if within > MAX_ADVANCE {
            return Err("within: a deadline is at most a day ahead".into());
        }
        let kind = serde_path_to_error::deserialize(&Value::Object(fields)).map_err(|e| e.to_string())?;
        Ok(Order { id, within, kind })
    }

    /// The lines as written.
    pub fn lines(&self) -> impl Iterator<Item = &str> {
        self.source.iter().map(String::as_str)
    }

    /// Everything the device sends.
    pub fn received(&self) -> impl Iterator<Item = &[u8]> {
        self.items.iter().filter_map(|item| match &item.action {
            Action::Receive(bytes) => Some(bytes.as_slice()),
            Action::Advance(_) | Action::Command(_) => None,
        })
    }

    /// Everything the device sends, in one piece.
    pub fn bytes(&self) -> Vec<u8> {
        self.received().flatten().copied().collect()
    }

    /// The same session with other things happening in it; nothing is expected of them.
    pub fn with(&self, actions: impl IntoIterator<Item = Action>) -> Self {
        let items = actions.into_iter().map(|action| Item { line: 0, action, expected: Vec::new() }).collect();
        Self { items, source: Vec::new(), profiles: self.profiles.clone(), device: self.device.clone(), ..*self }
    }
}

/// `ID WORD`, or `ID WORD {…}` with the JSON as we write it.
fn told(text: &str) -> Result<String, String> {
    let mut words = text.splitn(3, ' ');
    let (Some(id), Some(word)) = (words.next().filter(|id| !id.is_empty()), words.next()) else {
        return Err(format!("`^ {text}` is not of the form `^ c1 sent` or `^ c1 acknowledged {{\"answer\":\"1\"}}`"));
    };
    let Some(more) = words.next() else { return Ok(format!("{id} {word}")) };
    let more: Value = serde_json::from_str(more).map_err(|e| format!("`{more}` is no JSON: {e}"))?;
    Ok(format!("{id} {word} {more}"))
}

pub(super) fn bytes(text: &str) -> Result<Vec<u8>, String> {
    match quoted(text)? {
        Some(bytes) => Ok(bytes),
        None => {
            unhex(text).ok_or_else(|| format!("`{text}` is not whole hex bytes; write two digits a byte, or text in \"quotes\""))
        }
    }
}

fn pattern(text: &str) -> Result<Pattern, String> {
    if let Some(bytes) = quoted(text)? {
        return Ok(Pattern::exact(&bytes));
    }
    let wrong = || format!("`{text}` is not whole bytes; write two hex digits a byte, `..` for any byte, or text in \"quotes\"");
    let mut digits = text.chars().filter(|c| !c.is_whitespace());
    let mut bytes = Vec::with_capacity(text.len() / 2);
    while let Some(high) = digits.next() {
        let low = digits.next().ok_or_else(wrong)?;
        bytes.push(match (high, low) {
            ('.', '.') => None,
            _ => {
                let digit = |c: char| c.to_digit(16).and_then(|d| u8::try_from(d).ok()).ok_or_else(wrong);
                Some(digit(high)? << 4 | digit(low)?)
            }
        });
    }
    if bytes.is_empty() { Err("a `<` line holds one frame; delete it if nothing is sent".into()) } else { Ok(Pattern(bytes)) }
}

/// `Some` if the text is in quotes.
fn quoted(text: &str) -> Result<Option<Vec<u8>>, String> {
    let Some(inside) = text.strip_prefix('"') else { return Ok(None) };
    // the closing quote is one that no backslash hides, so the text is read from the front
    let mut escaped = false;
    let end = inside.char_indices().find(|(_, c)| {
        let closes = *c == '"' && !escaped;
        escaped = *c == '\\' && !escaped;
        closes
    });
    match end {
        Some((end, _)) if end + 1 == inside.len() => unescape(inside.get(..end).unwrap_or_default()).map(Some),
        Some(_) => Err("there is something behind the closing quote; write \\\" for a quote inside".into()),
        None => Err("the closing quote is missing".into()),
    }
}

/// Bytes of text in which `\r`, `\n`, `\\`, `\"` and `\xNN` stand for what cannot be typed.
///
/// # Errors
/// What stands behind a backslash and is none of these.
pub fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if c != '\\' {
            bytes.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let byte = match chars.next() {
            Some('r') => b'\r',
            Some('n') => b'\n',
            Some('\\') => b'\\',
            Some('"') => b'"',
            Some('x') => {
                let mut digit = || chars.next().and_then(|c| c.to_digit(16)).and_then(|d| u8::try_from(d).ok());
                match (digit(), digit()) {
                    (Some(high), Some(low)) => high << 4 | low,
                    _ => return Err("`\\x` needs two hex digits, as in \\x1b".into()),
                }
            }
            Some(other) => return Err(format!("`\\{other}` is none of \\r \\n \\\\ \\\" \\xNN")),
            None => return Err("a backslash at the end stands for nothing; write \\\\".into()),
        };
        bytes.push(byte);
    }
    Ok(bytes)
}

fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`+{text}` is no pause; write a number and one of ms, s, m, h");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at_checked(digits).ok_or_else(wrong)?;
    let number: u64 = number.parse().map_err(|_| wrong())?;
    let ms = match unit.trim() {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    Ok(Duration::from_millis(number.saturating_mul(ms)))
}

fn event(text: &str) -> Result<Value, String> {
    let value: Value = serde_json::from_str(text).map_err(|e| format!("not an event in JSON: {e}"))?;
    match &value {
        Value::Object(fields) if fields.len() == 1 => Ok(value),
        _ => Err("an event is its content under its type, as in {\"position\":{…}}".into()),
    }
}

fn fault(label: &str) -> Result<FaultKind, String> {
    FaultKind::from_label(label).ok_or_else(|| {
        let labels: Vec<_> = FaultKind::ALL.into_iter().map(FaultKind::label).collect();
        format!("`{label}` is no fault; there are {}", labels.join(", "))
    })
}

fn close(label: &str) -> Result<Close, String> {
    let known = [Close::Goodbye, Close::Refused];
    known.into_iter().find(|c| c.label() == label).ok_or_else(|| {
        let labels = known.map(Close::label);
        format!("`{label}` is no reason to close; there are {}", labels.join(", "))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"# a unit with a clone's checksum
% profile {"checksum":"accept_and_count"}
% device 000123
% auth required
@ 2026-03-01T10:00:00Z

> 02 01 ff
# it answers
< 02..03
= {"position":{"latitude":1.5}}
! checksum
~ value
? reassembly
. goodbye
@ +1500ms
@ 2026-03-01T10:00:03Z
> "a\r\n\x00\"\\"
< "LOAD"
"#;

    #[test]
    fn accepts_every_line_of_the_grammar() {
        let script = Script::parse(WHOLE).unwrap();
        assert_eq!(script.profiles.len(), 1);
        assert_eq!(script.device.as_ref().unwrap().as_str(), "123");
        assert!(script.auth_required);
        assert_eq!(script.start.to_string(), "2026-03-01T10:00:00.000Z");
        let actions: Vec<_> = script.items.iter().map(|i| i.action.clone()).collect();
        assert_eq!(actions[0], Action::Receive(vec![2, 1, 0xFF]));
        assert_eq!(actions[1], Action::Advance(Duration::from_millis(1500)));
        assert_eq!(actions[2], Action::Advance(Duration::from_millis(1500)));
        assert_eq!(actions[3], Action::Receive(b"a\r\n\0\"\\".to_vec()));
        assert_eq!(script.items[0].line, 7);
        assert_eq!(script.items[0].expected.len(), 6);
        assert_eq!(script.items[0].expected[0].what, Expect::Sent(Pattern(vec![Some(2), None, Some(3)])));
        assert_eq!(script.items[3].expected[0].what, Expect::Sent(Pattern::exact(b"LOAD")));
        assert_eq!(script.bytes(), b"\x02\x01\xFFa\r\n\0\"\\");
    }

    #[test]
    fn refuses_what_is_no_line_and_says_where_and_what_to_do() {
        for (text, line, part) in [
            ("\n> 0", 2, "whole hex bytes"),
            ("> 0102\n< 0.", 2, "`..` for any byte"),
            ("> 01\n<", 2, "delete it"),
            ("> \"abc", 1, "closing quote"),
            ("> \"abc\" x", 1, "behind the closing quote"),
            (r#"> "\q""#, 1, r"\q"),
            (r#"> "\x1""#, 1, "two hex digits"),
            ("< 01", 1, "before the first"),
            ("> 01\n% device 1", 2, "above the first"),
            ("% profile {\"colour\":1}", 1, "colour"),
            ("% speed 9", 1, "% device ID"),
            ("@ yesterday", 1, "+30s"),
            ("@ +30", 1, "ms, s, m, h"),
            ("@ +s", 1, "ms, s, m, h"),
            ("@ +25h", 1, "another connection"),
            ("@ +99999999999999999h", 1, "another connection"),
            ("> 01\n@ 2025-01-01T00:00:00Z", 2, "go back"),
            ("> 01\n! wrong", 2, "garbage, escape"),
            ("> 01\n. bye", 2, "goodbye, refused"),
            ("> 01\n= {}", 2, "under its type"),
            ("> 01\n= {", 2, "JSON"),
            ("hello", 1, "starts with one of"),
        ] {
            let error = Script::parse(text).unwrap_err();
            assert_eq!(error.line, line, "{text}: {error}");
            assert!(error.to_string().contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_backslash_before_the_closing_quote_is_seen() {
        assert_eq!(quoted(r#""\\""#).unwrap().unwrap(), b"\\");
        assert!(quoted(r#""\""#).is_err());
        assert_eq!(quoted("00"), Ok(None));
    }

    #[test]
    fn patterns_fit_bytes_of_their_length() {
        let pattern = pattern("01..03").unwrap();
        assert!(pattern.fits(&[1, 99, 3]));
        assert!(!pattern.fits(&[1, 99]));
        assert!(!pattern.fits(&[2, 99, 3]));
    }
}
