//! The same conversation of somebody else: other identities, and on demand other places and no names.
//!
//! It works on recorded frames of any protocol and knows none: [`words`] finds identities in whatever form they are
//! written, [`places`] finds coordinates by what the events say, the session says where frames begin and end, and
//! [`crate::wire::Wire::seal`] puts checksum, escapes and marks back. What a recording did wrong it still does wrong. The
//! result is played against a session and must say the same in other words, or other words are tried.

mod places;
mod rewrite;
mod words;

pub use rewrite::substitute;

use std::collections::BTreeSet;
use std::fmt;

use serde_json::Value;

use super::laws::Sampler;
use super::parse::Script;
use super::run::{Options, Said, Transcript, run};
use super::write::{check, update};
use crate::cursor::{Field, hex};
use crate::fault::FaultKind;
use crate::identity::DeviceId;
use crate::registry::Protocol;

use places::Shift;
use rewrite::Work;
use words::{SHORTEST_IDENTITY, Words, is_imei, is_phone};

/// How often other words are tried. A second try is needed where digits by chance look like something else.
const ATTEMPTS: u64 = 16;

/// Fields that hold the identity of the device itself.
const IDENTITY_FIELDS: [&str; 5] = ["imei", "terminal_number", "device_id", "isu", "long_id"];

/// Words in the names of fields, here and in events, that tell a person, a vehicle or a SIM.
const PRIVATE: [&str; 17] = [
    "imei",
    "imsi",
    "iccid",
    "sim",
    "phone",
    "plate",
    "driver",
    "licence",
    "license",
    "name",
    "vin",
    "identity",
    "card",
    "password",
    "contact",
    "passenger",
    "address",
];

/// Shorter texts tell nobody, and stand anywhere by chance.
const SHORTEST_TEXT: usize = 4;

/// Stands for the device where a recording never says which it is.
const SOME_DEVICE: &str = "123456789012345";

/// What is to be changed, drawn from a seed.
#[derive(Debug, Clone, Copy)]
pub struct Disguise {
    seed: u64,
    everything: bool,
}

/// A conversation in disguise.
#[derive(Debug, Clone)]
pub struct Disguised {
    /// It.
    pub script: Script,
    /// Who stands for whom: the identity before and after.
    pub identities: Vec<(String, String)>,
    /// The authentication codes that the device sends, if it sends any: signed with [`super::SECRET`].
    pub codes: Vec<String>,
    /// Fields that look like a place and could not be moved.
    pub unmoved: usize,
}

/// Why a conversation cannot be disguised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undisguised(String);

impl fmt::Display for Undisguised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Undisguised {}

impl Disguise {
    /// Other identities, and nothing else.
    pub fn identities(seed: u64) -> Self {
        Self { seed, everything: false }
    }

    /// Nothing that tells who or where it was: other identities, places moved by whole degrees, placeholders for names,
    /// plates and numbers. The identifiers of cells stay.
    pub fn everything(seed: u64) -> Self {
        Self { seed, everything: true }
    }

    /// The conversation in disguise. Where only identities are changed, expected lines are changed along; else they are written
    /// anew.
    ///
    /// # Errors
    /// If it cannot be done so that the same messages are read.
    pub fn script(&self, protocol: &Protocol, script: &Script) -> Result<Disguised, Undisguised> {
        let before = run(protocol, script, &Options { trace: true, ..Options::default() });
        let known = understood(protocol, script, &before);
        let agreed = check(protocol, script).is_ok_and(|differences| differences.is_empty());
        if let Some(short) = script.device.iter().chain(&known.device).find(|device| device.as_str().len() < SHORTEST_IDENTITY) {
            return Err(Undisguised(format!("the identity `{short}` is so short that its digits stand anywhere by chance")));
        }
        let identities = identities(script, &known, self.everything);
        let mut why = String::new();
        for attempt in 0..ATTEMPTS {
            let mut sampler = Sampler::new(self.seed ^ attempt.wrapping_mul(0xD1B5_4A32_D192_ED03));
            let prefixes: Vec<_> = script.profiles.iter().filter_map(|profile| profile.id_prefix.as_deref()).collect();
            let mut words = Words::new(identities.iter().cloned(), &prefixes, &mut sampler);
            if let Some(left) = identities.iter().find(|identity| !words.identities.contains_key(*identity)) {
                why = format!("there is no other identity left for {left}");
                continue;
            }
            let shift = self.everything.then(|| {
                hide(&known, &mut words, &mut sampler);
                let step = |n: u64, most: u64| u32::try_from(1 + n % most).unwrap_or(1);
                Shift { latitude: step(sampler.number(), 9), longitude: 10 + step(sampler.number(), 9) }
            });
            let mut work = Work { protocol, words: &words, shift, unmoved: 0 };
            let text = work.rewrite(script, &known);
            let unmoved = work.unmoved;
            let finished = Script::parse(&text).map_err(|e| e.to_string()).and_then(|new| {
                self.accept(protocol, &before, &new, agreed, &words)?;
                match self.everything {
                    true => update(protocol, &new)
                        .map_err(|e| e.join("; "))
                        .and_then(|text| Script::parse(&text).map_err(|e| e.to_string())),
                    false => Ok(new),
                }
            });
            match finished {
                Ok(script) => {
                    if let Some(left) = self.left(&script, &words) {
                        why = left;
                        continue;
                    }
                    let identities = words.identities.into_iter().collect();
                    return Ok(Disguised { script, identities, codes: words.codes, unmoved });
                }
                Err(reason) => why = reason,
            }
        }
        Err(Undisguised(format!("the conversation cannot be disguised: {why}")))
    }

    /// An identity that stands in the text all the same, in a line that no session reads. Short ones may stand there by chance.
    fn left(&self, script: &Script, words: &Words) -> Option<String> {
        const CERTAIN: usize = 10;
        let certain = |old: &&String| old.len() >= CERTAIN && words.identities.get(*old) != Some(*old);
        let found = words.identities.keys().filter(certain).find(|old| script.lines().any(|line| line.contains(old.as_str())));
        found.filter(|_| self.everything).map(|old| format!("{old} stands in it outside of what can be read"))
    }

    /// Whether the same is read in the new one.
    fn accept(&self, protocol: &Protocol, before: &Transcript, new: &Script, agreed: bool, words: &Words) -> Result<(), String> {
        let after = run(protocol, new, &Options::default());
        let shape = |transcript: &Transcript| transcript.said.iter().map(|(item, said)| (*item, kind(said))).collect::<Vec<_>>();
        if shape(before) != shape(&after) {
            return Err("in other words it is read otherwise".into());
        }
        let said = after.flat().filter_map(|said| if let Said::Event(json) = said { Some(json.as_str()) } else { None });
        if let Some(identity) = said.chain(after.device.iter().map(DeviceId::as_str)).find_map(|text| words.betrayed(text)) {
            return Err(format!("{identity} stands in it in a form that is not known"));
        }
        if agreed && !self.everything {
            let differences = check(protocol, new).map_err(|e| e.join("; "))?;
            if let Some(difference) = differences.first() {
                return Err(format!("what is expected cannot be put into other words: {difference}"));
            }
        }
        Ok(())
    }
}

/// What a line says, without its content.
fn kind(said: &Said) -> String {
    match said {
        Said::Sent(_) => "<".into(),
        Said::Acknowledged(_) => "<<".into(),
        Said::Event(json) => json.split(':').next().unwrap_or_default().to_owned(),
        Said::Rejected(kind) => format!("! {}", kind.label()),
        Said::Tolerated(kind) => format!("~ {}", kind.label()),
        Said::Notice(kind) => format!("? {}", kind.label()),
        Said::Told(text) => text.splitn(3, ' ').take(2).fold(String::from("^"), |told, word| told + " " + word),
        Said::Closes(close) => format!(". {}", close.label()),
    }
}

/// The frames with all that can be read in them: a device that never signs on is given a name, so that its reports are.
fn understood(protocol: &Protocol, script: &Script, before: &Transcript) -> Transcript {
    let anonymous = before.flat().any(|said| *said == Said::Rejected(FaultKind::Unidentified));
    if before.device.is_some() || !anonymous {
        return before.clone();
    }
    let mut named = script.clone();
    named.device = DeviceId::normalise(SOME_DEVICE);
    let read = run(protocol, &named, &Options { trace: true, ..Options::default() });
    let same = read.frames.len() == before.frames.len();
    if same { Transcript { device: None, ..read } } else { before.clone() }
}

/// Every identity that a frame or the session names.
fn identities(script: &Script, known: &Transcript, everything: bool) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    found.extend(script.device.iter().chain(&known.device).map(|device| device.as_str().to_owned()));
    for frame in &known.frames {
        for field in &frame.trace.fields {
            let own = IDENTITY_FIELDS.contains(&field.name.as_str());
            if own || everything && is_private(&field.name) {
                found.extend(digits_of(field, &frame.seen.content));
            }
        }
        if everything {
            for event in &frame.events {
                visit(&serde_json::from_str(event).unwrap_or_default(), &mut |key, value| {
                    found.extend(numbers(value).filter(|n| is_phone(n) || is_imei(n) || is_private(key)).map(str::to_owned));
                });
            }
        }
    }
    found.retain(|identity| identity.len() >= SHORTEST_IDENTITY);
    found
}

fn is_private(name: &str) -> bool {
    name.split(|c: char| !c.is_ascii_alphanumeric()).any(|word| PRIVATE.contains(&word))
}

/// The decimal digits of a field, if it is some: as text, or packed, without fill in front and behind.
fn digits_of(field: &Field, content: &[u8]) -> Option<String> {
    let bytes = content.get(field.span.clone())?;
    let text = match bytes.iter().all(|b| matches!(b, 0 | b' '..=b'~')) {
        true => String::from_utf8_lossy(bytes).into_owned(),
        false => hex(bytes).trim_end_matches('f').to_owned(),
    };
    let digits = numbers(&text).last()?.trim_start_matches('0');
    let plain = digits.bytes().all(|b| b.is_ascii_digit()) && field.value.contains(digits);
    (plain && digits.len() >= SHORTEST_IDENTITY).then(|| digits.to_owned())
}

/// Runs of digits that are not part of a word.
fn numbers(text: &str) -> impl Iterator<Item = &str> {
    text.split(|c: char| !c.is_ascii_alphanumeric()).filter(|run| !run.is_empty() && run.bytes().all(|b| b.is_ascii_digit()))
}

/// Everything else that tells something: texts of private fields, addresses of access points.
fn hide(known: &Transcript, words: &mut Words, sampler: &mut Sampler) {
    let (mut texts, mut addresses) = (BTreeSet::new(), BTreeSet::new());
    for frame in &known.frames {
        for event in &frame.events {
            visit(&serde_json::from_str(event).unwrap_or_default(), &mut |key, value| {
                if key == "mac" {
                    addresses.insert(value.to_owned());
                } else if is_private(key) {
                    texts.insert(value.to_owned());
                }
            });
        }
        let own = |field: &Field| IDENTITY_FIELDS.contains(&field.name.as_str());
        let private = frame.trace.fields.iter().filter(|field| is_private(&field.name) && !own(field));
        texts.extend(private.filter_map(|field| {
            let bytes = frame.seen.content.get(field.span.clone())?;
            let text = std::str::from_utf8(bytes).ok()?.trim_matches(|c: char| c == '\0' || c.is_whitespace());
            text.chars().all(|c| !c.is_control()).then(|| text.to_owned())
        }));
    }
    let known: Vec<_> = words.identities.keys().cloned().collect();
    // numbers that tell somebody are long, and have others already
    let number = |text: &str| !text.chars().any(char::is_alphabetic);
    // an identity in it has another already; what stands around it is the protocol's own
    let named = |text: &str| known.iter().any(|identity| text.contains(identity.as_str()));
    for text in texts.iter().filter(|text| text.len() >= SHORTEST_TEXT && !number(text) && !named(text)) {
        words.hide(text);
    }
    addresses.iter().for_each(|address| words.address(address, sampler));
}

/// Every text in a value with the name it stands under.
fn visit(value: &Value, on: &mut impl FnMut(&str, &str)) {
    fn under(key: &str, value: &Value, on: &mut dyn FnMut(&str, &str)) {
        match value {
            Value::String(text) => on(key, text),
            Value::Number(number) => on(key, &number.to_string()),
            Value::Array(items) => items.iter().for_each(|item| under(key, item, on)),
            // what bytes are called is not a person's name
            Value::Object(fields) => {
                let kind = fields.contains_key("content_type");
                for (name, value) in fields {
                    under(if kind && name == "name" { "" } else { name }, value, on);
                }
            }
            Value::Null | Value::Bool(_) => {}
        }
    }
    under("", value, on);
}

#[cfg(test)]
mod tests;
