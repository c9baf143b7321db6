//! Commands as this family has them: texts in online commands, whose answers repeat a flag of ours, and what Topin knows.
//!
//! There is no screen and there are no orders. The texts are those of the units' SMS commands; makers agree on most.

use serde_json::Value;

use crate::command::{Command, Kind, Output, QueryParameters, SetParameters, Track};
use crate::desk::{Confirms, Errand, Key, Plan, Unfit, Verdict};
use crate::gt06::dialect::Dialect;
use crate::gt06::downlink::{Downlink, Topin};
use crate::gt06::session::Gt06;
use crate::outcome::EndingReason;

/// What can be said. Topin units confirm none of it.
pub(super) const COMMANDS: &[(&str, Confirms)] = &[
    ("locate", Confirms::Answer),
    ("reboot", Confirms::Answer),
    ("track", Confirms::Answer),
    ("output", Confirms::Answer),
    ("set_parameters", Confirms::Answer),
    ("query_parameters", Confirms::Answer),
    ("raw", Confirms::Answer),
];

/// The texts of one maker.
#[derive(Debug, Clone, Copy)]
pub(super) struct Words {
    /// Cut the fuel supply.
    pub(super) cut: &'static str,
    /// Restore it.
    pub(super) restore: &'static str,
    /// Tell the position.
    pub(super) locate: &'static str,
}

/// Concox and Jimi since GT06N.
pub(super) const COMMON_WORDS: Words = Words { cut: "RELAY,1#", restore: "RELAY,0#", locate: "WHERE#" };
/// GT06 v1.8.
pub(super) const FIRST_WORDS: Words = Words { cut: "DYD#", restore: "HFYD#", locate: "DWXX#" };

const REBOOT: &str = "RESET#";
const ALL_PARAMETERS: &str = "PARAM#";
/// Longest keyword of a command.
const MAX_KEYWORD: usize = 16;
/// Topin: start again.
const RESTART: u8 = 1;

/// Answers are known by the flag alone, whichever type the command had.
pub(super) const ANSWER: u16 = 0x80;

/// Words in an answer that mean it was not done, in lower case. Units answer `DYD=Unvalued Fix` without a fix and
/// `DYD=Speed Limit, Speed 40km/h` at speed.
const REFUSALS: &[(&str, EndingReason)] = &[
    ("not support", EndingReason::DeviceUnsupported),
    ("unsupport", EndingReason::DeviceUnsupported),
    ("command error", EndingReason::DeviceUnsupported),
    ("unknown command", EndingReason::DeviceUnsupported),
    ("unvalued fix", EndingReason::DeviceFailed),
    ("speed limit", EndingReason::DeviceFailed),
    ("fail", EndingReason::DeviceFailed),
    ("error", EndingReason::DeviceFailed),
    ("invalid", EndingReason::DeviceFailed),
];

/// What an answer's text says about its command.
pub(super) fn verdict(text: &str) -> Verdict {
    let said = text.to_lowercase();
    match REFUSALS.iter().find(|(word, _)| said.contains(word)) {
        Some((_, reason)) => Verdict::Refused(Some(*reason)),
        None => Verdict::Done(Some(text.into()).filter(|_| !text.is_empty())),
    }
}

type Planned = Result<Plan<Downlink>, Unfit>;

fn field(what: impl Into<String>) -> Unfit {
    Unfit::Field(what.into())
}

impl Gt06 {
    /// Put a command into words.
    pub(super) fn plan(&mut self, command: &Command, errand: &Errand<'_>) -> Planned {
        if let Kind::Raw(raw) = &command.kind {
            return as_it_is(&raw.bytes);
        }
        if self.topin {
            return topin(&command.kind);
        }
        let words = Dialect::of(errand.profile()).words;
        match &command.kind {
            Kind::Locate(_) => self.say(words.locate),
            Kind::Reboot(_) => self.say(REBOOT),
            Kind::Track(Track { interval_s, duration_s }) => {
                // with the ignition on, and off
                let plan = self.say(&format!("TIMER,{interval_s},{interval_s}#"))?;
                let warning = duration_s.map(|_| "track.duration_s: the unit knows no end; until changed".to_owned());
                Ok(Plan { warnings: warning.into_iter().collect(), ..plan })
            }
            Kind::Output(Output { name, state }) => match name.as_str() {
                "fuel" | "circuit" => self.say(if *state { words.cut } else { words.restore }),
                _ => Err(Unfit::Unsupported),
            },
            Kind::SetParameters(set) => self.set(set),
            Kind::QueryParameters(query) => self.query(query),
            _ => Err(Unfit::Unsupported),
        }
    }

    /// An online command.
    fn say(&mut self, text: &str) -> Planned {
        let flag = self.next_flag();
        let downlink = Downlink::command(flag, text).ok_or_else(|| field("expected printable ASCII, at most 200 characters"))?;
        Ok(Plan::answer(downlink, vec![Key { kind: ANSWER, number: flag.into() }]))
    }

    /// A parameter is set by a command of its name: `TIMER,10,60#`.
    fn set(&mut self, set: &SetParameters) -> Planned {
        let mut values = set.values.iter();
        let (Some((name, value)), None) = (values.next(), values.next()) else {
            return Err(field("set_parameters.values: expected one, each is a command of its own with its own answer"));
        };
        let value = match value {
            Value::String(text) => text.clone(),
            Value::Number(number) => number.to_string(),
            _ => return Err(field(format!("values.{name}: expected a text or a number"))),
        };
        if value.contains('#') {
            return Err(field(format!("values.{name}: `#` ends a command")));
        }
        let keyword = keyword(name)?;
        self.say(&format!("{keyword},{value}#"))
    }

    fn query(&mut self, query: &QueryParameters) -> Planned {
        match query.names.as_deref().unwrap_or_default() {
            [] => self.say(ALL_PARAMETERS),
            [name] => {
                let keyword = keyword(name)?;
                self.say(&format!("{keyword}#"))
            }
            _ => Err(field("query_parameters.names: expected one, each is a command of its own with its own answer")),
        }
    }
}

/// A keyword of a command.
fn keyword(name: &str) -> Result<&str, Unfit> {
    let fits = (1..=MAX_KEYWORD).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_alphanumeric());
    fits.then_some(name).ok_or_else(|| field(format!("`{name}`: expected a keyword of the unit's commands, like TIMER")))
}

/// A frame from the backend; if it is an online command, its answer is waited for. The machine sends any other as it is.
fn as_it_is(bytes: &[u8]) -> Planned {
    match Downlink::read(bytes, None) {
        Ok(Downlink::Command { server_flag, kind, serial, text, language }) if server_flag != 0 => {
            let key = Key { kind: ANSWER, number: server_flag.into() };
            Ok(Plan::answer(Downlink::Command { server_flag, kind, serial, text, language }, vec![key]))
        }
        _ => Err(Unfit::Unsupported),
    }
}

fn topin(kind: &Kind) -> Planned {
    let message = match kind {
        Kind::Locate(_) => Topin::Locate,
        Kind::Reboot(_) => Topin::Power(RESTART),
        Kind::Track(track) => {
            let seconds = u16::try_from(track.interval_s).map_err(|_| field("track.interval_s: at most 65535"))?;
            Topin::Interval(seconds)
        }
        _ => return Err(Unfit::Unsupported),
    };
    Ok(Plan::blind(Downlink::Topin(message)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_judged_by_their_words() {
        for done in ["DYD=Success!", "RELAY:OK!", "Already in the state of fuel supply cut off", ""] {
            assert!(matches!(verdict(done), Verdict::Done(_)), "{done}");
        }
        let refused = |text| match verdict(text) {
            Verdict::Refused(reason) => reason,
            other => panic!("{text}: {other:?}"),
        };
        assert_eq!(refused("DYD=Unvalued Fix"), Some(EndingReason::DeviceFailed));
        assert_eq!(refused("DYD=Speed Limit, Speed 40km/h"), Some(EndingReason::DeviceFailed));
        assert_eq!(refused("Command Error!"), Some(EndingReason::DeviceUnsupported));
    }

    #[test]
    fn refuses_keywords_that_would_be_two_commands() {
        assert!(keyword("TIMER").is_ok());
        for bad in ["", "A,1#RESET", "a b", "ABCDEFGHIJKLMNOPQ"] {
            assert!(keyword(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_raw_frame_is_waited_for_only_if_its_answer_can_be_known() {
        let mut frame = Vec::new();
        Downlink::command(7, "WHERE#").unwrap().write(&mut frame);
        assert_eq!(as_it_is(&frame).unwrap().keys, [Key { kind: ANSWER, number: 7 }]);
        frame.clear();
        Downlink::command(0, "WHERE#").unwrap().write(&mut frame);
        assert_eq!(as_it_is(&frame), Err(Unfit::Unsupported));
        assert_eq!(as_it_is(b"7"), Err(Unfit::Unsupported));
    }
}
