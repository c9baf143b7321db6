//! What a report is about: its keyword.

use crate::event::Alarm;

/// A word, and what it says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Keyword {
    /// As sent.
    pub(super) word: &'static str,
    /// For a person.
    pub(super) title: &'static str,
    /// The alarm that it raises.
    pub(super) alarm: Option<Alarm>,
    /// What it says besides.
    pub(super) says: Says,
}

/// What a keyword says besides an alarm.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Says {
    /// Nothing: an ordinary report.
    Nothing,
    /// The word itself goes into the attributes: the contract has none for it.
    Event,
    /// The ignition.
    Ignition(bool),
    /// A card was held to the reader.
    Card,
    /// Trouble codes stand where the second fuel level is.
    TroubleCodes,
    /// Days and km until the service stand where the fuel levels are.
    Service,
    /// It answers the command of this number: the letters of 2010 have one each.
    Answer(u16),
    /// It says that the command of this number is not carried out.
    Refusal(u16),
    /// A value stands behind the word.
    Temperature,
    Fuel,
    /// A numbered area, and `in` or `out`.
    Area,
    /// A photo of so many parts follows, taken for an alarm or not.
    Photo {
        for_alarm: bool,
    },
}

const fn alarm(word: &'static str, title: &'static str, alarm: Alarm) -> Keyword {
    Keyword { word, title, alarm: Some(alarm), says: Says::Nothing }
}

const fn says(word: &'static str, title: &'static str, says: Says) -> Keyword {
    Keyword { word, title, alarm: None, says }
}

/// The usual one; told apart first.
pub(super) const TRACKER: Keyword = says("tracker", "position", Says::Nothing);
/// A word that is in no table.
pub(super) const OTHER: Keyword = says("", "report", Says::Event);

/// The words. The documents of 2010 and 2014 have them, but for the four of driving style and `collision`, which newer units
/// send, and the answers with a `t` behind a letter from J on and `lf`, which stand in logs of real units.
pub(super) static WORDS: &[Keyword] = &[
    says("", "position", Says::Nothing),
    says("001", "position", Says::Nothing),
    alarm("help me", "SOS", Alarm::Sos),
    alarm("low battery", "battery low", Alarm::LowBattery),
    alarm("stockade", "fence crossed", Alarm::Geofence),
    alarm("move", "moved while parked", Alarm::Movement),
    alarm("speed", "too fast", Alarm::Overspeed),
    alarm("ac alarm", "main supply cut", Alarm::PowerCut),
    alarm("door alarm", "door opened", Alarm::Door),
    alarm("sensor alarm", "vibration", Alarm::Vibration),
    alarm("accident alarm", "accident", Alarm::Accident),
    alarm("collision", "collision", Alarm::Accident),
    alarm("bonnet alarm", "bonnet opened", Alarm::Bonnet),
    alarm("footbrake alarm", "foot brake pressed", Alarm::FootBrake),
    alarm("brake", "hard braking", Alarm::HardBraking),
    alarm("brake alarm", "hard braking", Alarm::HardBraking),
    alarm("accelerate", "hard acceleration", Alarm::HardAcceleration),
    alarm("sharp turn", "hard cornering", Alarm::HardCornering),
    // the ignition was switched on while the alarm was armed; the contract has no word of its own for that
    Keyword { word: "acc alarm", title: "ignition on while armed", alarm: Some(Alarm::General), says: Says::Event },
    Keyword { word: "DTC", title: "trouble codes", alarm: Some(Alarm::Fault), says: Says::TroubleCodes },
    says("acc on", "ignition on", Says::Ignition(true)),
    says("acc off", "ignition off", Says::Ignition(false)),
    says("rfid", "card", Says::Card),
    says("service", "service due", Says::Service),
    // answers to the commands of one letter
    says("dt", "tracking stopped", Says::Answer(102)),
    says("et", "alarm silenced", Says::Answer(104)),
    says("gt", "movement alarm set", Says::Answer(105)),
    says("ht", "speed alarm set", Says::Answer(107)),
    says("it", "time zone set", Says::Answer(108)),
    says("jt", "fuel cut", Says::Answer(109)),
    says("kt", "fuel restored", Says::Answer(110)),
    says("lt", "armed", Says::Answer(111)),
    says("mt", "disarmed", Says::Answer(112)),
    says("nt", "SMS mode set", Says::Answer(113)),
    says("ot", "fence set", Says::Answer(114)),
    // with the ignition on nothing is armed
    says("lf", "not armed", Says::Refusal(111)),
];

/// Words that a value follows. Longer ones first.
pub(super) static BEGINNINGS: &[Keyword] = &[
    Keyword { word: "T:", title: "temperature", alarm: Some(Alarm::Temperature), says: Says::Temperature },
    // `oil 51.67` and, with the level in its own field, `oil1` and `oil2`
    Keyword { word: "oil", title: "fuel loss", alarm: Some(Alarm::FuelLeak), says: Says::Fuel },
    says("area", "area entered or left", Says::Area),
    says("wt", "photo", Says::Photo { for_alarm: false }),
    says("vt", "alarm photo", Says::Photo { for_alarm: true }),
];

/// What an answer says about its command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is done.
    Done,
    /// It will be done when the car stands or drives slowly, or at its hour.
    Later,
    /// It is not.
    Refused,
}

/// What is added to the number of a command that is refused.
const REFUSAL: u16 = 400;
/// Answers of this kind that are no refusals: the command they belong to, and what they say.
const LATER: &[(u16, u16, Outcome)] = &[
    // the fuel is cut below 20 km/h only
    (509, 109, Outcome::Later),
    // the engine starts at its hour
    (526, 125, Outcome::Later),
];

/// Which command a keyword answers: `109`, or `509` where it is refused, or a letter's own word.
pub(super) fn answer(word: &str, meaning: &Keyword) -> Option<(u16, Outcome)> {
    match meaning.says {
        Says::Answer(number) => return Some((number, Outcome::Done)),
        Says::Refusal(number) => return Some((number, Outcome::Refused)),
        _ => {}
    }
    let number = word.parse().ok().filter(|_| word.len() == 3)?;
    match (number, LATER.iter().find(|(said, ..)| *said == number)) {
        (_, Some((_, number, outcome))) => Some((*number, *outcome)),
        (100..=199, _) => Some((number, Outcome::Done)),
        (500..=599, _) => Some((number - REFUSAL, Outcome::Refused)),
        _ => None,
    }
}

/// The meaning of a keyword, and what stands behind its word: a value, or the fuel level and temperature of `001 0.1% +28.0`.
pub(super) fn find(text: &str) -> (&'static Keyword, &str) {
    if text == TRACKER.word {
        return (&TRACKER, "");
    }
    if let Some(whole) = WORDS.iter().find(|k| k.word == text) {
        return (whole, "");
    }
    let begins = |k: &&'static Keyword| {
        let rest = text.strip_prefix(k.word)?;
        let fits = match k.says {
            Says::Area => rest.starts_with(|c: char| c.is_ascii_digit()),
            Says::Photo { .. } => rest.parse::<u8>().is_ok(),
            _ => true,
        };
        fits.then(|| rest.trim_start())
    };
    if let Some((k, rest)) = BEGINNINGS.iter().find_map(|k| Some((k, begins(&k)?))) {
        return (k, rest);
    }
    match text.split_once(' ') {
        Some((word, extras)) if word == TRACKER.word => (&TRACKER, extras),
        Some((word, extras)) => (WORDS.iter().find(|k| k.word == word && !word.is_empty()).unwrap_or(&OTHER), extras),
        None => (&OTHER, ""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn words_are_unique() {
        let words: BTreeSet<_> = WORDS.iter().chain(BEGINNINGS).map(|k| k.word).collect();
        assert_eq!(words.len(), WORDS.len() + BEGINNINGS.len());
    }

    #[test]
    fn finds_words_and_what_is_behind_them() {
        let found = |text| {
            let (k, rest) = find(text);
            (k.word, rest)
        };
        assert_eq!(found("tracker"), ("tracker", ""));
        assert_eq!(found("help me"), ("help me", ""));
        assert_eq!(found(""), ("", ""));
        assert_eq!(found("T:+28.0"), ("T:", "+28.0"));
        assert_eq!(found("oil 51.67"), ("oil", "51.67"));
        assert_eq!(found("oil1"), ("oil", "1"));
        assert_eq!(found("area01 in"), ("area", "01 in"));
        assert_eq!(found("vt15"), ("vt", "15"));
        assert_eq!(found("001 0.1% +28.0"), ("001", "0.1% +28.0"));
        assert_eq!(found("tracker 0.1%"), ("tracker", "0.1%"));
    }

    #[test]
    fn other_words_are_kept_as_they_are() {
        for text in ["vtx", "wt999", "areas", "109", "nonsense", "help you"] {
            assert_eq!(find(text).0, &OTHER, "{text}");
        }
    }

    #[test]
    fn answers_name_their_command() {
        let said = |word| answer(word, find(word).0);
        assert_eq!(said("jt"), Some((109, Outcome::Done)));
        assert_eq!(said("lf"), Some((111, Outcome::Refused)));
        assert_eq!(said("109"), Some((109, Outcome::Done)));
        assert_eq!(said("509"), Some((109, Outcome::Later)));
        assert_eq!(said("511"), Some((111, Outcome::Refused)));
        assert_eq!(said("526"), Some((125, Outcome::Later)));
        for word in ["001", "1090", "help me", "tracker", "+12", "601"] {
            assert_eq!(said(word), None, "{word}");
        }
    }
}
