//! From bytes with times to a script: what a capture or an import becomes.
//!
//! Each `>` line is what the session takes at once, mostly a frame. The expected lines are those of this code; what really
//! went back is kept as a remark `# < …`, or left out where it is what is expected.

use std::collections::VecDeque;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use super::fit::Fit;
use super::parse::{Expect, MAX_ADVANCE, Pattern, Script, bytes};
use super::write::{text_of, update};
use crate::identity::{DeviceId, SessionId};
use crate::profile::{Profile, Settings};
use crate::registry::Protocol;
use crate::session::{Delivery, Opening, Outgoing, Session, Turn, WINDOW};
use crate::time::{Now, Timestamp};

/// Pauses that are written down. A shorter one tells nothing: what a device sends in pieces comes within it.
const SHORTEST_PAUSE: Duration = Duration::from_secs(1);

/// Expected frames that a remark is compared with: those of the last window of a connection, some of which may never come.
const MOST_OPEN: usize = 2 * WINDOW;

/// Something in the life of a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// When.
    pub at: Timestamp,
    /// What.
    pub what: Heard,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Heard {
    /// Bytes came from the device.
    FromDevice(Vec<u8>),
    /// Bytes went to it.
    ToDevice(Vec<u8>),
    /// Something to be remarked, e.g. that bytes are missing.
    Remark(String),
}

/// One connection as it was recorded.
#[derive(Debug, Clone, Default)]
pub struct Recording {
    /// For a person, at the top.
    pub remarks: Vec<String>,
    /// What the configuration says about the device.
    pub profile: Option<Profile>,
    /// The device, where the recording began after it had said who it is.
    pub device: Option<DeviceId>,
    /// What happened, in order.
    pub moments: Vec<Moment>,
    /// Whether the gateway that answered is this one: then what is as expected need not be told twice.
    pub ours: bool,
}

impl Recording {
    /// The script, with its expected lines.
    ///
    /// # Errors
    /// The promises that the session broke, in words.
    pub fn script(&self, protocol: &Protocol) -> Result<Script, String> {
        let parse = |text: &str| Script::parse(text).map_err(|e| e.to_string());
        let script = parse(&self.text(protocol))?;
        let full = update(protocol, &script).map_err(|e| e.join("; "))?;
        let script = parse(&full)?;
        if self.ours { parse(&without_what_is_expected(&script)) } else { Ok(script) }
    }

    fn text(&self, protocol: &Protocol) -> String {
        let mut text = String::new();
        for remark in &self.remarks {
            let _ = writeln!(text, "# {}", one_line(remark));
        }
        if let Some(profile) = self.profile.as_ref().and_then(|profile| serde_json::to_string(profile).ok()) {
            let _ = writeln!(text, "% profile {profile}");
        }
        if let Some(device) = &self.device {
            let _ = writeln!(text, "% device {device}");
        }
        let Some(first) = self.moments.first() else { return text };
        let _ = writeln!(text, "@ {}", first.at);
        let mut line = Line::open(protocol, self, first.at, text);
        for moment in &self.moments {
            line.pause(moment.at);
            match &moment.what {
                Heard::FromDevice(bytes) => line.receive(bytes),
                Heard::ToDevice(bytes) => line.write("# < ", &text_of(bytes)),
                Heard::Remark(remark) => {
                    line.flush();
                    line.write("# ", one_line(remark));
                }
            }
        }
        line.flush();
        line.text
    }
}

fn one_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Finds where frames end, by listening.
struct Line {
    session: Box<dyn Session>,
    turn: Turn,
    now: Now,
    pending: Vec<u8>,
    text: String,
}

impl Line {
    fn open(protocol: &Protocol, recording: &Recording, utc: Timestamp, text: String) -> Self {
        let profiles = recording.profile.iter().map(|profile| Arc::new(profile.clone())).collect();
        let settings = Arc::new(Settings { profiles, ..Settings::default() });
        let session = (protocol.open)(Opening { session: SessionId(0), settings, device: recording.device.clone() });
        Self { session, turn: Turn::default(), now: Now { utc, uptime: Duration::ZERO }, pending: Vec::new(), text }
    }

    fn write(&mut self, sign: &str, what: &str) {
        let _ = writeln!(self.text, "{sign}{what}");
    }

    /// Time has passed since the last line that says so.
    fn pause(&mut self, until: Timestamp) {
        let ms = u64::try_from(until.as_millis() - self.now.utc.as_millis()).unwrap_or(0);
        let mut pause = Duration::from_millis(ms);
        if pause < SHORTEST_PAUSE {
            return;
        }
        self.flush();
        while !pause.is_zero() {
            let step = pause.min(MAX_ADVANCE);
            pause -= step;
            self.write("@ ", &format!("+{}ms", step.as_millis()));
            self.now.uptime += step;
        }
        self.now.utc = until;
    }

    fn receive(&mut self, bytes: &[u8]) {
        self.pending.extend_from_slice(bytes);
        loop {
            let used = self.session.receive(&self.pending, self.now, &mut self.turn).min(self.pending.len());
            if self.turn.receipt {
                self.session.release(Some(Delivery::Stored), self.now, &mut Outgoing::default());
            }
            if used == 0 {
                return;
            }
            let piece: Vec<u8> = self.pending.drain(..used).collect();
            self.write("> ", &text_of(&piece));
        }
    }

    /// What is incomplete came all the same.
    fn flush(&mut self) {
        if !self.pending.is_empty() {
            let piece = std::mem::take(&mut self.pending);
            // the session keeps no bytes, so it hears these again with the next: only where its lines end depends on it
            self.write("> ", &text_of(&piece));
        }
    }
}

/// Remarks of frames that are expected anyway are left out, one for one, in order.
fn without_what_is_expected(script: &Script) -> String {
    let mut open: VecDeque<&Pattern> = VecDeque::new();
    let expected = script.items.iter().flat_map(|item| &item.expected);
    let mut patterns =
        expected.filter_map(|e| if let Expect::Sent(pattern) = &e.what { Some((e.line, pattern)) } else { None }).peekable();
    let mut text = String::new();
    for (index, line) in script.lines().enumerate() {
        while let Some((_, pattern)) = patterns.next_if(|(of, _)| *of <= index + 1) {
            open.push_back(pattern);
            if open.len() > MOST_OPEN {
                open.pop_front();
            }
        }
        let Some(sent) = line.strip_prefix("# < ").and_then(|sent| bytes(sent).ok()) else {
            text.push_str(line);
            text.push('\n');
            continue;
        };
        let mut rest = sent.as_slice();
        while let Some((at, used)) = open.iter().enumerate().find_map(|(at, pattern)| match pattern.begins(rest) {
            Fit::Whole(used) if used > 0 => Some((at, used)),
            _ => None,
        }) {
            open.remove(at);
            rest = rest.get(used..).unwrap_or_default();
        }
        if !rest.is_empty() {
            let _ = writeln!(text, "# < {}", text_of(rest));
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::toy::{self, TOY};
    use super::super::{check, text_of};
    use super::*;

    fn at(ms: i64, what: Heard) -> Moment {
        Moment { at: Timestamp::from_millis(1_772_359_200_000 + ms), what }
    }

    fn recording(ours: bool) -> Recording {
        let login = toy::frame(toy::LOGIN, b"13800000001");
        let (head, tail) = login.split_at(4);
        let glued = [toy::position(3_990_000, 11_640_000), toy::position(1, 2)].concat();
        let answers = [[6, 2, 0x12, 0x34, 3], [6, 2, 0x12, 0x35, 3]].concat();
        let moments = vec![
            at(0, Heard::FromDevice(head.to_vec())),
            at(20, Heard::FromDevice(tail.to_vec())),
            at(40, Heard::ToDevice(b"other".to_vec())),
            at(2540, Heard::FromDevice(glued)),
            at(2560, Heard::ToDevice(answers)),
            at(2570, Heard::Remark("14 bytes are missing".into())),
        ];
        Recording { remarks: vec!["a unit".into()], moments, ours, ..Recording::default() }
    }

    fn lines(recording: &Recording) -> Vec<String> {
        let script = recording.script(&TOY).unwrap();
        assert_eq!(check(&TOY, &script), Ok(Vec::new()));
        script.lines().map(str::to_owned).collect()
    }

    #[test]
    fn frames_are_put_together_and_taken_apart() {
        let told = lines(&recording(false));
        let first = |sign: &str| told.iter().position(|line| line.starts_with(sign)).unwrap();
        assert_eq!(told[0], "# a unit");
        assert_eq!(told[1], "@ 2026-03-01T10:00:00.000Z");
        assert_eq!(told[2], format!("> {}", text_of(&toy::frame(toy::LOGIN, b"13800000001"))));
        assert_eq!(told[first("@ +")], "@ +2540ms");
        assert_eq!(told.iter().filter(|line| line.starts_with("> ")).count(), 3);
        assert_eq!(told.iter().filter(|line| line.starts_with("= ")).count(), 2);
        assert_eq!(told.iter().filter(|line| line.starts_with("# < ")).count(), 2, "what another server said stays");
        assert_eq!(told.last().unwrap(), "# 14 bytes are missing");
    }

    #[test]
    fn what_we_said_as_expected_is_told_once() {
        let kept: Vec<_> = lines(&recording(true)).into_iter().filter(|line| line.starts_with("# < ")).collect();
        assert_eq!(kept, ["# < \"other\""]);
    }

    #[test]
    fn a_recording_that_begins_late_knows_its_device() {
        let moments = vec![at(0, Heard::FromDevice(toy::position(3_990_000, 11_640_000)))];
        let late = Recording { device: DeviceId::normalise("7"), moments, ..Recording::default() };
        let told = lines(&late);
        assert_eq!(told[0], "% device 7");
        assert!(told.iter().any(|line| line.starts_with("= ")), "{told:?}");
    }

    #[test]
    fn nothing_recorded_is_an_empty_script() {
        assert_eq!(lines(&Recording::default()), Vec::<String>::new());
    }
}
