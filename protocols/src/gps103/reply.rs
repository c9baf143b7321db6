//! What goes back to the device: three words.

/// The answer to a sign-on; without it the device signs on for ever.
pub(super) const LOAD: &[u8] = b"LOAD";
/// The answer to a heartbeat; three that are missed make the device connect anew.
pub(super) const ON: &[u8] = b"ON";

/// An identity as the device sent it: its digits go back to it as they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
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

/// A command: everything that goes to the device but the answers. `words` is the command and what belongs to it.
pub(super) fn command(out: &mut Vec<u8>, imei: &Imei, words: &[&[u8]]) {
    out.extend_from_slice(b"**,imei:");
    out.extend_from_slice(imei.as_bytes());
    for word in words {
        out.push(b',');
        out.extend_from_slice(word);
    }
    out.push(b';');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_as_published() {
        let mut out = Vec::new();
        command(&mut out, &Imei::new("861200000000012").unwrap(), &[b"H", b"080"]);
        assert_eq!(out, b"**,imei:861200000000012,H,080;");
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
