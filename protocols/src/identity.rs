//! Who a device is, and the ids of events.
//!
//! # Recipe of an event's `id` (never changes within v1)
//!
//! The first 16 bytes of SHA-256 over the following, as lower-case hex:
//!
//! 1. the ASCII lines `protocol`, `device_id`, event `type`, ordinal, message type, each followed by a line feed.
//!    The ordinal counts the events of this type that the same message gave before this one, from 0. The message type is
//!    the protocol's own: lower-case hex with all its digits (`0200`, `12`) where it is a number, else its keyword;
//! 2. where the body holds no device time: the line `session/serial`, where the serial is the device's own in decimal,
//!    or, where it sends none, `#` and the event's `sequence`;
//! 3. the body of the message as received, without transport serial, checksum, escaping, padding outside it and batch
//!    wrapping: an item of a JT/T 808 0x0704 batch has the id of the same 0x0200.
//!
//! It is never computed over decoded JSON, so it survives a release that decodes more.
//!
//! An `order` event of an order that a command offered is named by what it means instead, so that a driver's key pressed
//! twice is one event: over the ASCII lines `protocol`, `device_id`, `order`, `action`, `order_id` and the `command_id` of
//! the offer, each followed by a line feed, and nothing else.

use std::fmt;
use std::fmt::Write as _;
use std::sync::Arc;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::event::OrderAction;

/// The longest identity that any protocol of ours carries has 20 digits or 30 characters; twice that is a bound for all.
pub const MAX_DEVICE_ID: usize = 64;

/// The identity of a device in the contract's form; cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct DeviceId(Arc<str>);

impl DeviceId {
    /// Normalise what a device sent: decimal identities lose their leading zeros, hex ones become lower case, others stay
    /// as sent. `None` if nothing but zeros or white space is left, or if it is longer than [`MAX_DEVICE_ID`] or not printable ASCII.
    pub fn normalise(sent: &str) -> Option<Self> {
        Self::with_prefix("", sent)
    }

    /// The same behind a listener's `device_prefix`, which keeps apart fleets whose identities collide.
    pub fn with_prefix(prefix: &str, sent: &str) -> Option<Self> {
        let sent = sent.trim();
        if sent.is_empty() || sent.len() > MAX_DEVICE_ID || !sent.bytes().all(|b| b.is_ascii_graphic()) {
            return None;
        }
        if sent.bytes().all(|b| b == b'0') {
            return None;
        }
        let plain = if sent.bytes().all(|b| b.is_ascii_digit()) {
            sent.trim_start_matches('0').to_owned()
        } else if sent.bytes().all(|b| b.is_ascii_hexdigit()) {
            sent.to_ascii_lowercase()
        } else {
            sent.to_owned()
        };
        Some(Self(format!("{prefix}{plain}").into()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for DeviceId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for DeviceId {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::normalise(&text).ok_or_else(|| D::Error::custom("expected the identity of a device"))
    }
}

/// One device on one connection: unique over all instances and restarts with overwhelming probability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SessionId(pub u64);

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

impl Serialize for SessionId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut text = [0; 16];
        hex_into(&self.0.to_be_bytes(), &mut text);
        serializer.serialize_str(std::str::from_utf8(&text).unwrap_or_default())
    }
}

/// 128 bits that name a report.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct EventId(pub [u8; 16]);

impl EventId {
    /// The 32 hex digits, without an allocation.
    pub fn text(&self) -> IdText {
        let mut text = [0; 32];
        hex_into(&self.0, &mut text);
        IdText(text)
    }
}

/// The hex digits of an [`EventId`].
#[derive(Debug, Clone, Copy)]
pub struct IdText([u8; 32]);

impl IdText {
    /// The text, always ASCII.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text().as_str())
    }
}

impl Serialize for EventId {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text().as_str())
    }
}

fn hex_into(bytes: &[u8], text: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in text.chunks_exact_mut(2).zip(bytes) {
        if let [high, low] = pair {
            *high = DIGITS[usize::from(byte >> 4)];
            *low = DIGITS[usize::from(byte & 15)];
        }
    }
}

/// The protocol's own name of a message type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MessageType<'f> {
    /// A number of so many hex digits.
    Hex(u32, u8),
    /// A keyword.
    Word(&'f str),
}

/// What the id of an event is made of.
#[derive(Debug, Clone, Copy)]
pub struct Recipe<'f> {
    /// Registry name of the protocol.
    pub protocol: &'f str,
    /// The device.
    pub device_id: &'f str,
    /// `type` of the event.
    pub event_type: &'f str,
    /// How many events of this type the same message gave before.
    pub ordinal: u32,
    /// The protocol's own message type.
    pub message: MessageType<'f>,
    /// For bodies without a device time: the session and what counts its messages.
    pub undated: Option<(SessionId, Count)>,
    /// The body as received.
    pub body: &'f [u8],
}

/// What tells apart equal messages without a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// The device's own serial number.
    Serial(u32),
    /// Our sequence, where the device sends no serial.
    Sequence(u64),
}

impl Recipe<'_> {
    /// The id.
    pub fn id(&self) -> EventId {
        let mut head = Line::default();
        let _ = write!(head, "{}\n{}\n{}\n{}\n", self.protocol, self.device_id, self.event_type, Decimal(self.ordinal));
        let _ = match self.message {
            MessageType::Hex(n, digits) => writeln!(head, "{n:0width$x}", width = usize::from(digits)),
            MessageType::Word(word) => writeln!(head, "{word}"),
        };
        let _ = match self.undated {
            None => Ok(()),
            Some((session, Count::Serial(n))) => writeln!(head, "{session}/{n}"),
            Some((session, Count::Sequence(n))) => writeln!(head, "{session}/#{n}"),
        };
        let digest = Sha256::new().chain_update(head.bytes()).chain_update(self.body).finalize();
        let mut id = [0; 16];
        id.copy_from_slice(&digest[..16]);
        EventId(id)
    }
}

/// What the id of an `order` event is made of where the order was offered by a command: the same whatever frame says it.
#[derive(Debug, Clone, Copy)]
pub struct OfferRecipe<'a> {
    /// Registry name of the protocol.
    pub protocol: &'a str,
    /// The device.
    pub device_id: &'a str,
    /// What happened.
    pub action: OrderAction,
    /// The backend's id.
    pub order_id: &'a str,
    /// The offer.
    pub command_id: &'a str,
}

impl OfferRecipe<'_> {
    /// The id.
    pub fn id(&self) -> EventId {
        let Self { protocol, device_id, action, order_id, command_id } = self;
        let text = format!("{protocol}\n{device_id}\norder\n{}\n{order_id}\n{command_id}\n", action.label());
        let mut id = [0; 16];
        id.copy_from_slice(&Sha256::digest(text)[..16]);
        EventId(id)
    }
}

struct Decimal(u32);

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => f.write_str("0"), // nearly always; spares the number formatting
            n => fmt::Display::fmt(&n, f),
        }
    }
}

/// Text on the stack: names are bounded, so the head of a recipe is too. What would not fit is cut, the same way every time.
struct Line {
    text: [u8; Self::ROOM],
    used: usize,
}

impl Line {
    const ROOM: usize = 256;

    fn bytes(&self) -> &[u8] {
        &self.text[..self.used]
    }
}

impl Default for Line {
    fn default() -> Self {
        Self { text: [0; Self::ROOM], used: 0 }
    }
}

impl fmt::Write for Line {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        let room = &mut self.text[self.used..];
        let n = s.len().min(room.len());
        room[..n].copy_from_slice(&s.as_bytes()[..n]);
        self.used += n;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_are_normalised() {
        let id = |s: &str| DeviceId::normalise(s).map(|d| d.to_string());
        assert_eq!(id("013800000001").as_deref(), Some("13800000001"));
        assert_eq!(id("00000000013800000001").as_deref(), Some("13800000001"));
        assert_eq!(id("0B3A73CE2FF2").as_deref(), Some("0b3a73ce2ff2"));
        assert_eq!(id("TAXI-7").as_deref(), Some("TAXI-7"));
        assert_eq!(id("000000"), None);
        assert_eq!(id(" "), None);
        assert_eq!(id("a b"), None);
        assert_eq!(id(&"1".repeat(MAX_DEVICE_ID + 1)), None);
        assert_eq!(DeviceId::with_prefix("n1-", "0042").unwrap().as_str(), "n1-42");
    }

    /// The published examples; they must never change.
    #[test]
    fn the_recipe_stands() {
        let dated = Recipe {
            protocol: "jt808",
            device_id: "13800000001",
            event_type: "position",
            ordinal: 0,
            message: MessageType::Hex(0x0200, 4),
            undated: None,
            body: b"body",
        };
        // printf 'jt808\n13800000001\nposition\n0\n0200\nbody' | sha256sum | cut -c1-32
        assert_eq!(dated.id().to_string(), "8725e27a6a62535b4f63d829de3ee894");
        let undated = Recipe { undated: Some((SessionId(0xAB), Count::Serial(7))), ..dated };
        // printf 'jt808\n13800000001\nposition\n0\n0200\n00000000000000ab/7\nbody' | sha256sum | cut -c1-32
        assert_eq!(undated.id().to_string(), "33a4cb77e50ea1a384a026d8ac9e5a3c");
        assert_ne!(Recipe { ordinal: 1, ..dated }.id(), dated.id());
        let offer = OfferRecipe {
            protocol: "jt905",
            device_id: "13800000001",
            action: OrderAction::Accepted,
            order_id: "4711",
            command_id: "c-1",
        };
        // printf 'jt905\n13800000001\norder\naccepted\n4711\nc-1\n' | sha256sum | cut -c1-32
        assert_eq!(offer.id().to_string(), "fa7d8493d01d440259fb03641ad3f910");
    }
}
