//! What is known of a device's screen. It outlives the connection: buttons are installed once, and what the device does not
//! know is not tried again over each connection.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::cursor::hex;

/// Messages of one device that it does not know; the protocols have three that a screen may lack.
const MAX_UNKNOWN: usize = 8;

/// Bytes of a [`digest`]: enough to tell a few sets of buttons apart.
const DIGEST_BYTES: usize = 8;

/// What is on a device's screen, and what it cannot show.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Screen {
    /// Which buttons the device has taken: changes when others were installed. Absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub buttons: Option<String>,
    /// Messages of the protocol that the device said it does not know, as `0x8302`. Absent: none.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[cfg_attr(feature = "schema", schemars(with = "Vec<String>"))]
    pub unknown: Vec<Word>,
}

/// The number of a message, written in hex.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Word(pub u16);

impl Serialize for Word {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&format_args!("0x{:04x}", self.0))
    }
}

impl<'de> Deserialize<'de> for Word {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let number = text.strip_prefix("0x").and_then(|digits| u16::from_str_radix(digits, 16).ok());
        number.map(Self).ok_or_else(|| serde::de::Error::custom(format!("`{text}` is no message like 0x8302")))
    }
}

impl Screen {
    pub(crate) fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Whether the device has not said that it does not know this message.
    pub(crate) fn understands(&self, message: u16) -> bool {
        !self.unknown.contains(&Word(message))
    }

    /// It has said so now; whether that is new.
    pub(super) fn not_understood(&mut self, message: u16) -> bool {
        let new = self.understands(message) && self.unknown.len() < MAX_UNKNOWN;
        if new {
            self.unknown.push(Word(message));
        }
        new
    }
}

/// What tells one set of buttons from another: their numbers and words, as they are written. `None` for no buttons.
pub fn digest<'a>(buttons: impl IntoIterator<Item = (u8, &'a [u8])>) -> Option<String> {
    let mut some = false;
    let mut sha = Sha256::new();
    for (id, text) in buttons {
        some = true;
        sha.update([id]);
        sha.update(u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes());
        sha.update(text);
    }
    some.then(|| hex(sha.finalize().get(..DIGEST_BYTES).unwrap_or_default()))
}

/// What a message of ours beside all commands is about: what its receipt says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Aside {
    /// These buttons were sent (a [`digest`]), or all were taken away.
    Buttons(Option<String>),
    /// The driver was told something.
    Told,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_kept_round_trips_and_refuses_what_is_no_message() {
        let mut screen = Screen { buttons: Some("ab".into()), ..Screen::default() };
        assert!(screen.not_understood(0x8302) && !screen.not_understood(0x8302));
        assert!(!screen.understands(0x8302) && screen.understands(0x8301));
        let text = serde_json::to_string(&screen).unwrap();
        assert_eq!(text, r#"{"buttons":"ab","unknown":["0x8302"]}"#);
        assert_eq!(serde_json::from_str::<Screen>(&text).unwrap(), screen);
        for bad in ["8302", "0x", "0x12345", "0xzz"] {
            assert!(serde_json::from_value::<Screen>(serde_json::json!({"unknown": [bad]})).is_err(), "{bad}");
        }
        let taken = (0..100).filter(|n| screen.not_understood(*n)).count();
        assert_eq!(taken, MAX_UNKNOWN - 1, "one was there");
    }

    #[test]
    fn sets_of_buttons_differ_by_number_and_word() {
        let of = |buttons: &[(u8, &str)]| digest(buttons.iter().map(|(id, text)| (*id, text.as_bytes())));
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[(1, "a"), (2, "b")]), of(&[(1, "a"), (2, "b")]));
        for other in [&[(1, "a")][..], &[(2, "a"), (1, "b")], &[(1, "b"), (2, "a")], &[(1, "a\u{2}b")]] {
            assert_ne!(of(&[(1, "a"), (2, "b")]), of(other), "{other:?}");
        }
    }
}
