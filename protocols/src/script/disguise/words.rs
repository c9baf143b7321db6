//! What stands for what, in every form in which devices write it down.
//!
//! Everything is sought in half bytes: packed decimal may begin in the middle of a byte, and a byte of an expected reply
//! that may be anything is one that nothing fits. A replacement is as long as what it replaces, so offsets stay.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use encoding_rs::GBK;

use crate::parts::checksum::luhn;
use crate::profile::Auth;
use crate::script::laws::Sampler;
use crate::script::{Pattern, SECRET};

/// Shorter ones stand in a frame by chance.
pub(super) const SHORTEST_IDENTITY: usize = 6;
/// A number of fewer bytes stands in a frame by chance; smaller numbers are sought with zeros in front.
const SHORTEST_NUMBER: usize = 4;
/// Digits of an IMEI before its check digit; some units send only these.
const IMEI_PAYLOAD: usize = 14;
/// What stands for a character that is to be hidden.
const PLACEHOLDER: u8 = b'X';

/// A half byte, or one that may be anything.
type Half = Option<u8>;

/// One form of one word.
#[derive(Debug)]
struct Form {
    old: Vec<u8>,
    new: Vec<u8>,
    /// Begins with a whole byte.
    whole: bool,
}

/// Words and what stands for them.
#[derive(Debug, Default)]
pub(super) struct Words {
    forms: Vec<Form>,
    /// What stands for each identity.
    pub(super) identities: BTreeMap<String, String>,
    /// Authentication codes of the fixtures' secret, for the new identities.
    pub(super) codes: Vec<String>,
}

impl Words {
    /// Others for these identities, with the same of these prefixes. Longer ones come first; one that is a part of another becomes the same part of its other.
    pub(super) fn new(identities: impl IntoIterator<Item = String>, prefixes: &[&str], sampler: &mut Sampler) -> Self {
        let mut olds: Vec<_> = identities.into_iter().filter(|id| id.len() >= SHORTEST_IDENTITY).collect();
        olds.sort_by(|a, b| b.len().cmp(&a.len()).then_with(|| a.cmp(b)));
        olds.dedup();
        let mut words = Self::default();
        for old in &olds {
            let part = words.identities.iter().find_map(|(whole, new)| {
                let at = whole.find(old.as_str())?;
                new.get(at..at + old.len()).map(str::to_owned)
            });
            let taken = |new: &String| olds.contains(new) || words.identities.values().any(|other| other == new);
            let kept = prefixes.iter().filter(|prefix| old.starts_with(**prefix)).map(|prefix| prefix.len()).max().unwrap_or(0);
            let fresh = || (0..MOST_TRIES).map(|_| another(old, kept, sampler)).find(|new| !taken(new));
            if let Some(new) = part.or_else(fresh) {
                words.identities.insert(old.clone(), new);
            }
        }
        for (old, new) in words.identities.clone() {
            words.identity(&old, &new);
        }
        words.longest_first();
        words
    }

    fn longest_first(&mut self) {
        self.forms.sort_by_key(|form| Reverse(form.old.len()));
    }

    fn identity(&mut self, old: &str, new: &str) {
        let code = |id: &str| Auth { required: false, secrets: vec![SECRET.to_vec()] }.code(id);
        self.codes.push(code(new));
        self.put(code(old).as_bytes(), code(new).as_bytes());
        self.spelt(old, new);
        let digits = old.bytes().all(|b| b.is_ascii_digit());
        if digits {
            self.number(old, new);
        }
        if let (true, Some(old), Some(new)) = (is_imei(old), old.get(..IMEI_PAYLOAD), new.get(..IMEI_PAYLOAD)) {
            self.spelt(old, new);
            self.number(old, new);
        }
    }

    /// As text of one and of two bytes a character, and packed two characters a byte.
    fn spelt(&mut self, old: &str, new: &str) {
        self.put(old.as_bytes(), new.as_bytes());
        self.put(old.to_ascii_uppercase().as_bytes(), new.to_ascii_uppercase().as_bytes());
        let wide = |text: &str| text.bytes().flat_map(|b| [0, b]).collect::<Vec<_>>();
        self.put(&wide(old), &wide(new));
        let packed =
            |text: &str| text.chars().map(|c| c.to_digit(16).and_then(|d| u8::try_from(d).ok())).collect::<Option<Vec<_>>>();
        if let (Some(old), Some(new)) = (packed(old), packed(new)) {
            // the digits of a SIM's number come also swapped in pairs, as it stores them itself
            let swapped = |digits: &[u8]| digits.chunks_exact(2).flat_map(|pair| pair.iter().rev().copied()).collect();
            self.forms.push(Form { old: swapped(&old), new: swapped(&new), whole: true });
            self.forms.push(Form { old, new, whole: false });
        }
    }

    /// As a binary number, high or low byte first.
    fn number(&mut self, old: &str, new: &str) {
        let bytes = |digits: &str| {
            let number = digits.parse::<u64>().unwrap_or_default().to_be_bytes();
            let zeros = number.iter().take_while(|b| **b == 0).count().min(number.len() - SHORTEST_NUMBER);
            number.into_iter().skip(zeros).collect::<Vec<_>>()
        };
        let (mut old, mut new) = (bytes(old), bytes(new));
        if old.len() == new.len() {
            self.put(&old, &new);
            old.reverse();
            new.reverse();
            self.put(&old, &new);
        }
    }

    /// These whole bytes become those.
    pub(super) fn put(&mut self, old: &[u8], new: &[u8]) {
        if old.len() == new.len() && !old.is_empty() && old != new {
            self.forms.push(Form { old: halves(old), new: halves(new), whole: true });
        }
    }

    /// Hide a text, in the charsets that devices write it in, and a hardware address also as its bytes.
    pub(super) fn hide(&mut self, text: &str) {
        let mut all = vec![text.as_bytes().to_vec()];
        let (gbk, _, lost) = GBK.encode(text);
        if !lost && !text.is_ascii() {
            all.push(gbk.into_owned());
        }
        for bytes in all {
            let hidden: Vec<_> = bytes.iter().map(|b| if b.is_ascii_digit() { b'0' } else { PLACEHOLDER }).collect();
            self.put(&bytes, &hidden);
        }
        self.longest_first();
    }

    /// Another access point's address, of the same maker.
    pub(super) fn address(&mut self, mac: &str, sampler: &mut Sampler) {
        let plain: String = mac.chars().filter(char::is_ascii_hexdigit).collect::<String>().to_ascii_lowercase();
        let Some((maker, _)) = plain.split_at_checked(6).filter(|_| plain.len() == 12) else { return };
        let other = format!("{maker}{:06x}", sampler.number() % (1 << 24));
        let pairs = |hex: &str, between: &str| {
            let pairs: Vec<_> = hex.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair).into_owned()).collect();
            pairs.join(between)
        };
        self.spelt(&plain, &other);
        for between in [":", "-"] {
            let (old, new) = (pairs(&plain, between), pairs(&other, between));
            self.put(old.as_bytes(), new.as_bytes());
            self.put(old.to_ascii_uppercase().as_bytes(), new.to_ascii_uppercase().as_bytes());
        }
        self.longest_first();
    }

    /// These bytes with every word replaced; `None` if there is none in them.
    pub(super) fn bytes(&self, bytes: &[u8]) -> Option<Vec<u8>> {
        let mut halves: Vec<Half> = halves(bytes).into_iter().map(Some).collect();
        self.replace(&mut halves).then(|| halves.chunks(2).map(|pair| joined(pair).unwrap_or_default()).collect())
    }

    /// The same for an expected reply.
    pub(super) fn pattern(&self, pattern: &Pattern) -> Option<Pattern> {
        let split = |byte: &Option<u8>| [byte.map(|b| b >> 4), byte.map(|b| b & 15)];
        let mut halves: Vec<Half> = pattern.0.iter().flat_map(split).collect();
        self.replace(&mut halves).then(|| Pattern(halves.chunks(2).map(joined).collect()))
    }

    /// The same for a text of ours.
    pub(super) fn text(&self, text: &str) -> Option<String> {
        self.bytes(text.as_bytes()).and_then(|bytes| String::from_utf8(bytes).ok())
    }

    /// The identity that was replaced and is still there.
    pub(super) fn betrayed(&self, text: &str) -> Option<&str> {
        self.identities.iter().find(|(old, new)| old != new && text.contains(old.as_str())).map(|(old, _)| old.as_str())
    }

    fn replace(&self, halves: &mut [Half]) -> bool {
        let mut done = vec![false; halves.len()];
        let mut any = false;
        for form in &self.forms {
            let step = if form.whole { 2 } else { 1 };
            let mut at = 0;
            while let Some(window) = halves.get_mut(at..at + form.old.len()) {
                let free = || done.get(at..at + form.old.len()).is_some_and(|d| !d.contains(&true));
                if window.iter().zip(&form.old).all(|(have, want)| *have == Some(*want)) && free() {
                    window.iter_mut().zip(&form.new).for_each(|(slot, new)| *slot = Some(*new));
                    done.iter_mut().skip(at).take(form.old.len()).for_each(|d| *d = true);
                    any = true;
                    at += form.old.len().next_multiple_of(step);
                } else {
                    at += step;
                }
            }
        }
        any
    }
}

/// How often another identity is drawn before one stays as it is: of the smallest range, ten thousand phones, the first is
/// nearly always free.
const MOST_TRIES: usize = 64;

fn halves(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).collect()
}

fn joined(pair: &[Half]) -> Option<u8> {
    match pair {
        [Some(high), Some(low)] => Some(high << 4 | low),
        _ => None,
    }
}

/// Whether it is an IMEI by its length and check digit.
pub(super) fn is_imei(identity: &str) -> bool {
    identity.len() == IMEI_PAYLOAD + 1 && identity.get(..IMEI_PAYLOAD).and_then(luhn).is_some_and(|check| identity.ends_with(check))
}

/// Whether it is a mobile phone of China.
pub(super) fn is_phone(identity: &str) -> bool {
    identity.len() == 11 && matches!(identity.as_bytes(), [b'1', b'3'..=b'9', ..]) && identity.bytes().all(|b| b.is_ascii_digit())
}

/// Another of the same form: from the ranges of invented ones where there are such, else other digits for digits and other
/// letters for letters behind the first two, which tell makers and protocols apart.
fn another(old: &str, kept: usize, sampler: &mut Sampler) -> String {
    let number = sampler.number();
    let invented = if is_imei(old) { "8612000" } else { "1380000" };
    let fits = old.get(..kept).is_none_or(|prefix| invented.starts_with(prefix));
    if is_imei(old) && fits {
        let payload = format!("8612000{:07}", number % 10_000_000);
        let check = luhn(&payload).unwrap_or('0');
        return format!("{payload}{check}");
    }
    if is_phone(old) && fits {
        return format!("1380000{:04}", number % 10_000);
    }
    let hex = old.bytes().all(|b| b.is_ascii_hexdigit());
    let other = |c: char| {
        let n = sampler.number();
        let letter = |first: u8, count: u64| char::from(first + (n % count) as u8);
        match c {
            '0'..='9' => letter(b'0', 10),
            'a'..='z' => letter(b'a', if hex { 6 } else { 26 }),
            'A'..='Z' => letter(b'A', if hex { 6 } else { 26 }),
            other => other,
        }
    };
    let (kept, rest) = old.split_at_checked(kept.max(2)).unwrap_or(("", old));
    let new = format!("{kept}{}", rest.chars().map(other).collect::<String>());
    match new
        .get(..IMEI_PAYLOAD)
        .filter(|_| is_imei(old))
        .and_then(|payload| luhn(payload).map(|check| format!("{payload}{check}")))
    {
        Some(imei) => imei,
        None => new,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{hex, unhex};

    fn words(pairs: &[(&str, &str)]) -> Words {
        let mut words = Words::default();
        pairs.iter().for_each(|(old, new)| words.identity(old, new));
        words.longest_first();
        words
    }

    #[test]
    fn an_identity_is_found_in_every_form() {
        let words = words(&[("861200000000012", "861200076543213")]);
        let told = |bytes: &[u8]| words.bytes(bytes).map(|new| hex(&new));
        assert_eq!(
            told(&unhex("0861200000000012").unwrap()).as_deref(),
            Some("0861200076543213"),
            "packed in the middle of a byte"
        );
        assert_eq!(told(&unhex("861200000000012f").unwrap()).as_deref(), Some("861200076543213f"));
        assert_eq!(words.text("imei:861200000000012,").as_deref(), Some("imei:861200076543213,"));
        let number = |n: u64| n.to_be_bytes();
        assert_eq!(words.bytes(&number(861_200_000_000_012)), Some(number(861_200_076_543_213).to_vec()));
        assert_eq!(words.bytes(&861_200_000_000_012_u64.to_le_bytes()), Some(861_200_076_543_213_u64.to_le_bytes().to_vec()));
        // without the check digit, as a number of six bytes
        assert_eq!(told(b"\x4e\x53\x60\x02\x10\x01").as_deref(), Some(&hex(&number(86_120_007_654_321)[2..])[..]));
        assert_eq!(words.bytes(&[0; 40]), None);
    }

    #[test]
    fn bytes_that_may_be_anything_fit_no_word() {
        let words = words(&[("13800001111", "13800002222")]);
        let pattern = |text: &str| {
            let bytes = text.as_bytes().chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).ok());
            Pattern(bytes.collect())
        };
        assert_eq!(words.pattern(&pattern("7e013800001111..7e")), Some(pattern("7e013800002222..7e")));
        assert_eq!(words.pattern(&pattern("7e0138..001111..7e")), None);
    }

    #[test]
    fn another_has_the_same_form() {
        let mut sampler = Sampler::new(7);
        for old in ["861200000000012", "13912345678", "10123456789012", "0b3a73ce2ff2", "TAXI-7x"] {
            let new = another(old, 0, &mut sampler);
            assert_eq!(new.len(), old.len());
            assert_ne!(new, old);
            assert_eq!((is_imei(&new), is_phone(&new)), (is_imei(old), is_phone(old)), "{new}");
        }
        assert!(another("861200000000012", 0, &mut sampler).starts_with("8612000"));
        let kept = another("352093081429150", 8, &mut sampler);
        assert!(kept.starts_with("35209308") && is_imei(&kept), "{kept}");
        assert!(another("0b3a73ce2ff2", 0, &mut sampler).bytes().all(|b| b.is_ascii_hexdigit()));
    }

    #[test]
    fn a_part_of_an_identity_becomes_the_part_of_its_other() {
        let ids = ["861200000000012", "200000000012", "13800001111"].map(str::to_owned);
        let words = Words::new(ids, &[], &mut Sampler::new(1));
        assert_eq!(words.identities["861200000000012"][3..], words.identities["200000000012"]);
        assert_eq!((words.betrayed("x13800001111"), words.betrayed("x")), (Some("13800001111"), None));
    }

    #[test]
    fn refuses_identities_that_stand_anywhere_by_chance() {
        assert!(Words::new(["7".to_owned(), "12345".to_owned()], &[], &mut Sampler::new(1)).identities.is_empty());
    }

    #[test]
    fn texts_and_addresses_are_hidden() {
        let mut words = Words::default();
        words.hide("京A12345");
        assert_eq!(words.bytes(b"\xbe\xa9A12345"), Some(b"XXX00000".to_vec()));
        words.address("02:11:22:33:44:55", &mut Sampler::new(3));
        let new = words.bytes(&[0x02, 0x11, 0x22, 0x33, 0x44, 0x55]).unwrap();
        assert!(new.starts_with(&[0x02, 0x11, 0x22]) && new[3..] != [0x33, 0x44, 0x55]);
        let text = words.text("02:11:22:33:44:55").unwrap();
        assert_eq!(unhex(&text.replace(':', "")), Some(new));
    }
}
