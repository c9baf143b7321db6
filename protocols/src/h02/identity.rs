//! Who sends and who is spoken to, as it stands on the wire.

use crate::parts::bcd;

/// Longest identity: a 15-digit IMEI and the 20 digits of a SIM card are the longest that units send.
pub(super) const MAX_ID: usize = 20;

/// The two letters behind the star. A device listens to its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Maker([u8; 2]);

impl Maker {
    /// What most makers use, and what binary frames do not say.
    pub(super) const COMMON: Self = Self(*b"HQ");

    /// The two letters, else the common ones.
    pub(super) fn of(letters: &[u8]) -> Self {
        letters.first_chunk::<2>().filter(|two| two.iter().all(u8::is_ascii_alphabetic)).map_or(Self::COMMON, |two| Self(*two))
    }

    /// The letters.
    pub(super) const fn bytes(&self) -> &[u8] {
        &self.0
    }
}

/// An identity as the device writes it, without an allocation.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Id {
    text: [u8; MAX_ID],
    length: u8,
}

impl Id {
    /// None was said.
    pub(super) const NONE: Self = Self { text: [0; MAX_ID], length: 0 };

    /// `None` if it is too long or not letters and digits. Nothing but zeros says nobody.
    pub(super) fn of(text: &[u8]) -> Option<Self> {
        let fits = text.len() <= MAX_ID && text.iter().all(u8::is_ascii_alphanumeric);
        if !fits {
            return None;
        }
        if text.iter().all(|b| *b == b'0') {
            return Some(Self::NONE);
        }
        let mut id = Self { text: [0; MAX_ID], length: text.len() as u8 };
        id.text.iter_mut().zip(text).for_each(|(slot, b)| *slot = *b);
        Some(id)
    }

    /// Packed digits; of sixteen, which eight bytes hold, the first fifteen are an IMEI.
    pub(super) fn packed(bytes: &[u8]) -> Self {
        /// Digits of an IMEI.
        const IMEI: usize = 15;
        let mut text = [0; MAX_ID];
        let digits = bytes.iter().flat_map(|b| [b >> 4, b & 15]).take(IMEI);
        let mut length = 0;
        for (slot, digit) in text.iter_mut().zip(digits) {
            *slot = b'0' + digit;
            length += 1;
        }
        let known = bytes.iter().all(|b| bcd::byte(*b).is_some()) && bytes.iter().any(|b| *b != 0);
        if known { Self { text, length } } else { Self::NONE }
    }

    /// The text.
    pub(super) fn as_str(&self) -> &str {
        str::from_utf8(self.text.get(..usize::from(self.length)).unwrap_or_default()).unwrap_or_default()
    }

    /// Whether none was said.
    pub(super) const fn is_none(&self) -> bool {
        self.length == 0
    }
}

impl std::fmt::Debug for Id {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identities_as_sent() {
        assert_eq!(Id::of(b"013800001234").unwrap().as_str(), "013800001234");
        assert_eq!(Id::packed(&[0x12, 0x34, 0x56, 0x78, 0x90]).as_str(), "1234567890");
        assert_eq!(Id::packed(&[0x86, 0x12, 0, 0, 0, 0, 0, 0x12]).as_str(), "861200000000001");
    }

    #[test]
    fn refuses_what_is_nobody() {
        assert_eq!(Id::of(b""), Some(Id::NONE));
        assert_eq!(Id::of(b"0000"), Some(Id::NONE));
        assert_eq!(Id::of(b"12 34"), None);
        assert_eq!(Id::of(&[b'1'; MAX_ID + 1]), None);
        assert_eq!(Id::packed(&[0; 5]), Id::NONE);
        assert_eq!(Id::packed(&[0xFF; 5]), Id::NONE);
    }

    #[test]
    fn letters_of_makers() {
        assert_eq!(Maker::of(b"TH").bytes(), b"TH");
        assert_eq!(Maker::of(b"1H").bytes(), b"HQ");
        assert_eq!(Maker::of(b"").bytes(), b"HQ");
    }
}
