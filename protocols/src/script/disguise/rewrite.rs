//! One rewriting of a script: frame by frame, reply by reply, event by event.

use std::ops::Range;
use std::sync::Arc;

use serde_json::Value;

use super::places::{self, Axis, Shift};
use super::words::Words;
use crate::cursor::{hex as to_hex, unhex};
use crate::identity::SessionId;
use crate::profile::Settings;
use crate::registry::Protocol;
use crate::script::parse::{Action, Expect, Pattern, Script, bytes};
use crate::script::run::{Framed, Transcript};
use crate::script::write::{pattern_text, text_of};
use crate::session::{Delivery, Opening, Outgoing, Seen, Turn};
use crate::time::{Now, Timestamp};

/// The field that holds a part of a split message.
const PACKET_FIELD: &str = "packet";

/// Every pair of coordinates in a value.
fn places_in(value: &Value, found: &mut Vec<(f64, f64)>) {
    match value {
        Value::Object(fields) => {
            let number = |name: &str| fields.get(name).and_then(Value::as_f64);
            found.extend(number("latitude").zip(number("longitude")));
            fields.values().for_each(|value| places_in(value, found));
        }
        Value::Array(items) => items.iter().for_each(|value| places_in(value, found)),
        _ => {}
    }
}

/// One rewriting.
pub(super) struct Work<'a> {
    pub(super) protocol: &'a Protocol,
    pub(super) words: &'a Words,
    pub(super) shift: Option<Shift>,
    /// Fields that look like a place and could not be moved.
    pub(super) unmoved: usize,
}

/// A stretch of what the device sent, before and after.
struct Piece {
    old: Range<usize>,
    new: Vec<u8>,
}

impl Work<'_> {
    /// The whole text of the script, with every line in other words.
    pub(super) fn rewrite(&mut self, script: &Script, known: &Transcript) -> String {
        let stream = script.bytes();
        let pieces = self.pieces(&stream, &known.frames);
        let new: Vec<u8> = pieces.iter().flat_map(|piece| piece.new.iter().copied()).collect();
        let mut lines: Vec<String> = script.lines().map(|line| self.remark(line)).collect();
        let mut at = 0;
        let mut put = |line: usize, text: Option<String>| {
            if let (Some(slot), Some(text)) = (lines.get_mut(line.wrapping_sub(1)), text) {
                *slot = text;
            }
        };
        for item in &script.items {
            if let Action::Receive(bytes) = &item.action {
                let range = moved(&pieces, at)..moved(&pieces, at + bytes.len());
                at += bytes.len();
                let other = new.get(range).unwrap_or_default();
                put(item.line, (other != bytes).then(|| format!("> {}", text_of(other))));
            }
            for expected in &item.expected {
                let other = match &expected.what {
                    Expect::Sent(pattern) => self.pattern(pattern).map(|p| format!("< {}", pattern_text(&p))),
                    Expect::Event(value) => self.value(value).map(|value| format!("= {value}")),
                    _ => None,
                };
                put(expected.line, other);
            }
        }
        lines.iter().fold(String::new(), |text, line| text + line + "\n")
    }

    /// A line that is neither sent nor expected: a directive, a remark, or bytes kept in a remark.
    fn remark(&self, line: &str) -> String {
        if let Some(profile) = line.strip_prefix("% profile") {
            return format!("% profile{profile}");
        }
        let kept = ["# < ", "# > "].iter().find_map(|sign| line.strip_prefix(sign).map(|rest| (*sign, rest)));
        if let Some((sign, old)) = kept.and_then(|(sign, rest)| bytes(rest).ok().map(|bytes| (sign, bytes))) {
            return self.frames(&old).map_or_else(|| line.to_owned(), |new| format!("{sign}{}", text_of(&new)));
        }
        match line.chars().next() {
            Some('$') => {
                line.get(1..).and_then(|json| self.order(json)).map_or_else(|| line.to_owned(), |json| format!("$ {json}"))
            }
            Some('#' | '%' | '^') => self.words.text(line).unwrap_or_else(|| line.to_owned()),
            _ => line.to_owned(),
        }
    }

    /// What the device sent, frame by frame, and what stands between.
    fn pieces(&mut self, stream: &[u8], frames: &[Framed]) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut at = 0;
        let mut seen = places::Seen::default();
        let mut lone = Vec::new();
        for (frame, mut content) in frames.iter().zip(self.contents(frames)) {
            let old = frame.start..frame.start + frame.seen.length;
            let Some(raw) = stream.get(old.clone()).filter(|_| old.start >= at) else { continue };
            self.between(stream, at..old.start, &mut pieces);
            at = old.end;
            if let Some(shift) = &self.shift {
                let mut there = Vec::new();
                frame.events.iter().for_each(|event| places_in(&serde_json::from_str(event).unwrap_or_default(), &mut there));
                let changed = places::shift(&mut content, &there, shift, &mut seen);
                lone.push((pieces.len(), frame, content.clone(), changed));
            }
            let new = self.sealed(raw, &frame.seen, &content);
            pieces.push(Piece { old, new });
        }
        self.between(stream, at..stream.len(), &mut pieces);
        if let Some(shift) = self.shift {
            // forms are known only now
            for (index, frame, mut content, changed) in lone {
                let before = content.clone();
                for field in &frame.trace.fields {
                    let axis = match &field.name {
                        name if name.contains("latitude") => Axis::Latitude,
                        name if name.contains("longitude") => Axis::Longitude,
                        _ => continue,
                    };
                    if changed.iter().any(|c| c.start < field.span.end && field.span.start < c.end) {
                        continue;
                    }
                    let done = places::shift_field(&mut content, field.span.clone(), axis, &shift, &seen);
                    self.unmoved += usize::from(!done);
                }
                let piece = pieces.get_mut(index).filter(|_| content != before);
                if let Some((piece, raw)) = piece.and_then(|p| stream.get(p.old.clone()).map(|raw| (p, raw))) {
                    piece.new = self.sealed(raw, &frame.seen, &content);
                }
            }
        }
        pieces
    }

    /// The content of each frame in other words; a word may go on from one packet of a split message to the next.
    fn contents(&self, frames: &[Framed]) -> Vec<Vec<u8>> {
        let in_words = |bytes: &[u8]| self.words.bytes(bytes).unwrap_or_else(|| bytes.to_vec());
        let mut contents: Vec<_> = frames.iter().map(|frame| in_words(&frame.seen.content)).collect();
        let packets = frames.iter().enumerate().filter_map(|(index, frame)| {
            let field = frame.trace.fields.iter().find(|field| field.name == PACKET_FIELD)?;
            contents.get(index)?.get(field.span.clone()).map(|_| (index, field.span.clone()))
        });
        let packets: Vec<_> = packets.collect();
        let joined: Vec<u8> =
            packets.iter().filter_map(|(index, span)| contents.get(*index)?.get(span.clone())).flatten().copied().collect();
        let mut rest = in_words(&joined).into_iter();
        for (index, span) in packets {
            let slots = contents.get_mut(index).and_then(|content| content.get_mut(span)).into_iter().flatten();
            slots.zip(&mut rest).for_each(|(slot, byte)| *slot = byte);
        }
        contents
    }

    fn between(&self, stream: &[u8], old: Range<usize>, pieces: &mut Vec<Piece>) {
        if let Some(raw) = stream.get(old.clone()).filter(|raw| !raw.is_empty()) {
            let new = self.words.bytes(raw).unwrap_or_else(|| raw.to_vec());
            pieces.push(Piece { old, new });
        }
    }

    /// A frame with other content that is as right, or as wrong, as it was.
    fn sealed(&self, raw: &[u8], seen: &Seen, content: &[u8]) -> Vec<u8> {
        if *content == *seen.content {
            return raw.to_vec();
        }
        let seal = |content: &[u8]| {
            let mut out = Vec::new();
            (self.protocol.down.seal)(seen.form, content, &mut out);
            out
        };
        let (right, mut new) = (seal(&seen.content), seal(content));
        if right.len() > raw.len() && right.ends_with(raw) {
            // the mark before it was shared with the frame before, or lost
            return new.split_off(right.len() - raw.len());
        }
        if right.len() == raw.len() {
            // what was damaged, mostly the checksum, is damaged in the same bits; it stands nearer to the end
            for (slot, (right, raw)) in new.iter_mut().rev().zip(right.iter().zip(raw).rev()) {
                *slot ^= right ^ raw;
            }
        }
        new
    }

    /// Whole frames, of either direction, in other words; `None` if nothing of them changes.
    fn frames(&self, raw: &[u8]) -> Option<Vec<u8>> {
        let in_words = |bytes: &[u8]| self.words.bytes(bytes).unwrap_or_else(|| bytes.to_vec());
        let mut new = Vec::new();
        let mut at = 0;
        for (start, seen) in seen(self.protocol, raw) {
            let (Some(between), Some(frame)) = (raw.get(at..start), raw.get(start..start + seen.length)) else { continue };
            new.extend(in_words(between));
            new.extend(self.sealed(frame, &seen, &in_words(&seen.content)));
            at = start + seen.length;
        }
        new.extend(in_words(raw.get(at..).unwrap_or_default()));
        (new != raw).then_some(new)
    }

    /// A command in other words; what it holds raw is whole frames.
    fn order(&self, json: &str) -> Option<String> {
        let mut order: Value = serde_json::from_str(json).ok()?;
        let hex = order.get_mut("raw").and_then(|raw| raw.get_mut("hex"));
        let Some(slot) = hex else { return self.words.text(json) };
        let new = slot.as_str().and_then(unhex).and_then(|raw| self.frames(&raw))?;
        *slot = Value::String(to_hex(&new));
        Some(order.to_string())
    }

    fn pattern(&self, pattern: &Pattern) -> Option<Pattern> {
        match pattern.0.iter().copied().collect::<Option<Vec<u8>>>() {
            Some(bytes) => self.frames(&bytes).map(|new| Pattern::exact(&new)),
            // where some bytes may be anything the checksum is one of them
            None => self.words.pattern(pattern),
        }
    }

    /// An expected event in other words; bytes in it too.
    fn value(&self, value: &Value) -> Option<Value> {
        use base64::Engine;
        use base64::engine::general_purpose::STANDARD;
        match value {
            Value::String(text) => self.words.text(text).map(Value::String),
            Value::Array(items) => {
                let new: Vec<_> = items.iter().map(|item| self.value(item)).collect();
                new.iter()
                    .any(Option::is_some)
                    .then(|| new.into_iter().zip(items).map(|(n, o)| n.unwrap_or_else(|| o.clone())).collect())
            }
            Value::Object(fields) => {
                let mut other = fields.clone();
                let mut any = false;
                for (name, slot) in &mut other {
                    let decoded = slot.as_str().filter(|_| name == "base64").and_then(|text| STANDARD.decode(text).ok());
                    let new = match decoded {
                        Some(bytes) => self.words.bytes(&bytes).map(|new| Value::String(STANDARD.encode(new))),
                        None => self.value(slot),
                    };
                    if let Some(new) = new {
                        *slot = new;
                        any = true;
                    }
                }
                any.then_some(Value::Object(other))
            }
            Value::Number(number) => {
                let new = self.words.text(&number.to_string())?;
                serde_json::from_str(&new).ok()
            }
            Value::Null | Value::Bool(_) => None,
        }
    }
}

/// Where a byte of the stream stands among the new ones.
fn moved(pieces: &[Piece], at: usize) -> usize {
    let mut before = 0;
    for piece in pieces {
        if at < piece.old.end {
            // a frame that came in two lines is split where it was, as far as there is such a place
            return before + at.saturating_sub(piece.old.start).min(piece.new.len());
        }
        before += piece.new.len();
    }
    before
}

/// The frames in these bytes, each with where it begins.
fn seen(protocol: &Protocol, raw: &[u8]) -> Vec<(usize, Seen)> {
    let opening = Opening { session: SessionId(0), settings: Arc::new(Settings::default()), device: None };
    let mut session = (protocol.open)(opening);
    let mut turn = Turn::observed(true);
    let now = Now { utc: Timestamp::from_millis(crate::script::DEFAULT_START_MS), uptime: std::time::Duration::ZERO };
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let used = session.receive(raw.get(at..).unwrap_or_default(), now, &mut turn);
        at += used;
        if let Some(seen) = turn.seen.take() {
            found.push((at.saturating_sub(seen.length), seen));
        }
        if turn.receipt {
            session.release(Some(Delivery::Stored), now, &mut Outgoing::default());
        }
        if used == 0 {
            return found;
        }
    }
}

/// Bytes of a whole frame with others in them, sealed anew: for what a device must repeat and only the gateway knows. As it is
/// if they do not stand in it.
pub fn substitute(protocol: &Protocol, raw: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut words = Words::default();
    words.put(old, new);
    Work { protocol, words: &words, shift: None, unmoved: 0 }.frames(raw).unwrap_or_else(|| raw.to_vec())
}
