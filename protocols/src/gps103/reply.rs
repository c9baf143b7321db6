//! What goes back to the device: two words, and a command.

use std::fmt;

/// The answer to a sign-on; without it the device signs on for ever.
pub(super) const LOAD: &[u8] = b"LOAD";
/// The answer to a heartbeat; three that are missed make the device connect anew.
pub(super) const ON: &[u8] = b"ON";

/// An identity as the device sent it: its digits go back to it as they are.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Imei {
    digits: [u8; Self::MAX],
    length: usize,
}

impl Imei {
    const MAX: usize = 17;
    /// How many digits an IMEI has.
    const USUAL: usize = 15;

    /// `None` if these are not 1 to 17 digits.
    pub(super) fn new(text: &str) -> Option<Self> {
        let mut digits = [b'0'; Self::MAX];
        digits.get_mut(..text.len())?.copy_from_slice(text.as_bytes());
        let fits = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        fits.then_some(Self { digits, length: text.len() })
    }

    /// The same from an identity that has lost its leading zeros.
    pub(super) fn restored(id: &str) -> Option<Self> {
        let short = Self::new(id)?;
        if short.length >= Self::USUAL {
            return Some(short);
        }
        let mut digits = [b'0'; Self::MAX];
        digits.get_mut(Self::USUAL - short.length..Self::USUAL)?.copy_from_slice(short.as_bytes());
        Some(Self { digits, length: Self::USUAL })
    }

    /// The digits.
    pub(super) fn as_bytes(&self) -> &[u8] {
        self.digits.get(..self.length).unwrap_or_default()
    }
}

impl fmt::Debug for Imei {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::str::from_utf8(self.as_bytes()).unwrap_or_default())
    }
}

/// A command without the `;` that ends it.
pub(super) fn command(out: &mut Vec<u8>, imei: &Imei, code: &[u8], arguments: Option<&[u8]>) {
    out.extend_from_slice(b"**,imei:");
    out.extend_from_slice(imei.as_bytes());
    out.push(b',');
    out.extend_from_slice(code);
    if let Some(arguments) = arguments {
        out.push(b',');
        out.extend_from_slice(arguments);
    }
}

/// The SOS is heard: the device may stop calling.
pub(super) fn heard(out: &mut Vec<u8>, imei: &Imei) {
    command(out, imei, b"E", None);
    out.push(b';');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_published() {
        let mut out = Vec::new();
        let imei = Imei::new("861200000000012").unwrap();
        command(&mut out, &imei, b"H", Some(b"080"));
        assert_eq!(out, b"**,imei:861200000000012,H,080");
        out.clear();
        heard(&mut out, &imei);
        assert_eq!(out, b"**,imei:861200000000012,E;");
    }

    #[test]
    fn identities_keep_their_digits() {
        let digits = |imei: Option<Imei>| imei.map(|i| String::from_utf8_lossy(i.as_bytes()).into_owned());
        assert_eq!(digits(Imei::new("012345678901234")).as_deref(), Some("012345678901234"));
        assert_eq!(digits(Imei::restored("12345678901234")).as_deref(), Some("012345678901234"));
        assert_eq!(digits(Imei::restored("1234567890123456")).as_deref(), Some("1234567890123456"));
    }

    #[test]
    fn refuses_what_are_no_digits() {
        for text in ["", "86120000000001x", "123456789012345678", "é"] {
            assert_eq!(Imei::new(text), None, "{text}");
        }
    }
}
