//! Cutting the byte stream: `7E … 7E`, the `E7 … E7` variant, and `( … )` sentences on the same socket.

use crate::parts::checksum::xor;
pub(super) use crate::parts::flagged::Marks;
use crate::parts::flagged::{self, Framing, find, garbage};
use crate::wire::{Checksum, Cut, Frame, Probe};

/// `7E … 7E` with the standard's escapes.
pub(super) const STANDARD: u8 = 0;
/// `E7 … E7`, the same header with a terminal number of 7 bytes.
pub(super) const VARIANT: u8 = 1;
/// `( … )`, printable text without a checksum.
pub(super) const SENTENCE: u8 = 2;

/// Header of 12 bytes and the check byte: nothing shorter is a message.
pub(super) const SHORTEST: usize = 13;
/// The longest sentence seen has 36 characters; the bound only keeps a lone `(` from holding back what follows.
const MAX_SENTENCE: usize = 256;

static VARIANT_MARKS: Marks =
    Marks { flag: 0xE7, escapes: &[(0xE6, 0x01, 0xE6), (0xE6, 0x02, 0xE7), (0x3E, 0x01, 0x3E), (0x3E, 0x02, 0x3D)] };

/// The marks of a binary form.
pub(super) fn marks(form: u8) -> &'static Marks {
    if form == VARIANT { &VARIANT_MARKS } else { &flagged::STANDARD }
}

fn framing(form: u8) -> Framing {
    Framing { marks: marks(form), form, shortest: SHORTEST, length_fits }
}

/// Find the first frame. `form` is the binary form that this connection has shown to speak, if it has: then the other
/// form's flag is an ordinary byte.
pub(super) fn cut<'b>(form: Option<u8>, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
    let Some(&first) = input.first() else {
        return Cut::More;
    };
    let opened = [STANDARD, VARIANT].into_iter().find(|f| form.is_none_or(|known| known == *f) && marks(*f).flag == first);
    match opened {
        Some(opened) => between_flags(opened, form.is_none(), input, quiet, scratch),
        None if first == b'(' => sentence(input, quiet),
        None => unopened(form, input, quiet, scratch),
    }
}

fn between_flags<'b>(form: u8, undecided: bool, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
    match framing(form).between_flags(input, quiet, scratch) {
        Cut::Frame(frame) if form == VARIANT && undecided && frame.checksum != Checksum::Good => Cut::Skip(1, garbage()),
        cut => cut,
    }
}

fn unopened<'b>(form: Option<u8>, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
    let framing = framing(form.unwrap_or(STANDARD));
    let is_mark = |b: u8| b == b'(' || b == framing.marks.flag || form.is_none() && b == VARIANT_MARKS.flag;
    framing.unopened(is_mark, input, quiet, scratch)
}

/// Whether the header's length says as many bytes as there are.
fn length_fits(content: &[u8]) -> bool {
    let Some([a, b, c, d]) = content.first_chunk::<4>() else {
        return false;
    };
    super::header::frame_length(u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])) == content.len()
}

fn sentence(input: &[u8], quiet: bool) -> Cut<'_> {
    let garbage = |n: usize| Cut::Skip(n, garbage());
    for (n, byte) in input.iter().enumerate().skip(1).take(MAX_SENTENCE) {
        match byte {
            b')' => {
                let raw = input.get(..=n).unwrap_or_default();
                return Cut::Frame(Frame { raw, content: raw, form: SENTENCE, checksum: Checksum::Good });
            }
            b'(' => return garbage(n),
            0x20..=0x7D => {}
            _ => return garbage(n),
        }
    }
    match input.len() {
        n if n > MAX_SENTENCE => garbage(MAX_SENTENCE),
        n if quiet => garbage(n),
        _ => Cut::More,
    }
}

/// High bytes of the message ids that terminals were seen to send.
const KNOWN_HIGH: &[u8] = &[
    0x00, 0x01, 0x02, 0x03, 0x05, 0x06, 0x07, 0x08, 0x09, 0x0A, 0x0B, 0x0F, 0x10, 0x11, 0x12, 0x13, 0x1F, 0x20, 0x21, 0x55, 0x60,
    0x88,
];

/// Whether the first bytes of a connection look like this protocol. JT/T 905 has the same frame and header; its terminal
/// numbers begin with 0x10, which no mainland phone number in JT/T 808 does.
pub(super) fn probe(head: &[u8]) -> Probe {
    match head {
        [] => Probe::More,
        [0x7E, rest @ ..] => probe_header(STANDARD, rest),
        [0xE7, rest @ ..] => probe_header(VARIANT, rest),
        [b'(', rest @ ..] => probe_sentence(rest),
        _ => Probe::No,
    }
}

fn probe_header(form: u8, rest: &[u8]) -> Probe {
    let Some([high, low, a, b, number]) = rest.first_chunk::<5>() else {
        return if rest.first().is_none_or(|b| KNOWN_HIGH.contains(b)) { Probe::More } else { Probe::No };
    };
    let attributes = u16::from_be_bytes([*a, *b]);
    let edition_2019 = attributes & super::header::VERSION_FLAG != 0;
    if !KNOWN_HIGH.contains(high) || form == STANDARD && !edition_2019 && *number == 0x10 {
        return Probe::No;
    }
    let mut scratch = Vec::new();
    match find(rest, marks(form).flag) {
        Some(end) => match marks(form).unescape(rest.get(..end).unwrap_or_default(), &mut scratch) {
            Ok(content) if content.len() >= SHORTEST && xor(content) == 0 => Probe::Yes,
            _ => Probe::No,
        },
        // a declared end that has passed without a flag: some other protocol that begins with this byte
        None if rest.len() > 2 * super::header::frame_length(u16::from_be_bytes([*high, *low]), attributes) => Probe::No,
        None if rest.len() + 1 >= crate::registry::PROBE_WINDOW => Probe::Yes,
        None => Probe::More,
    }
}

/// `(digits,digit,three digits,KEYWORD,…)`.
fn probe_sentence(rest: &[u8]) -> Probe {
    let mut fields = rest.split(|b| *b == b',');
    let digits = |f: &[u8], n: std::ops::RangeInclusive<usize>| n.contains(&f.len()) && f.iter().all(u8::is_ascii_digit);
    let (Some(number), Some(kind), Some(code), Some(word)) = (fields.next(), fields.next(), fields.next(), fields.next()) else {
        return if rest.len() <= 20 && rest.iter().all(|b| b.is_ascii_digit() || *b == b',') { Probe::More } else { Probe::No };
    };
    let fits = digits(number, 10..=12) && digits(kind, 1..=1) && digits(code, 3..=3);
    match fits {
        true if word == b"BASE" || word == b"ELOCK" => Probe::Yes,
        true if b"BASE".starts_with(word) || b"ELOCK".starts_with(word) => Probe::More,
        _ => Probe::No,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heartbeat of 13800001111.
    const HEARTBEAT: &[u8] = b"\x7e\x00\x02\x00\x00\x01\x38\x00\x00\x11\x11\x00\x02\x39\x7e";

    fn shape(input: &[u8], quiet: bool) -> String {
        let mut scratch = Vec::new();
        match cut(None, input, quiet, &mut scratch) {
            Cut::Frame(f) => format!("frame {} of {} form {} {:?}", f.content.len(), f.raw.len(), f.form, f.checksum),
            Cut::Skip(n, fault) => format!("skip {n} {}", fault.kind.label()),
            Cut::Fill(n) => format!("fill {n}"),
            Cut::More => "more".to_owned(),
        }
    }

    #[test]
    fn accepts_frames_with_own_shared_and_doubled_flags() {
        assert_eq!(shape(HEARTBEAT, false), "frame 13 of 15 form 0 Good");
        assert_eq!(shape(&HEARTBEAT[1..], false), "frame 13 of 14 form 0 Good");
        assert_eq!(shape(&[&[0x7E], HEARTBEAT].concat(), false), "fill 1");
        assert_eq!(shape(&HEARTBEAT[..9], false), "more");
    }

    #[test]
    fn refuses_noise_and_keeps_what_follows() {
        assert_eq!(shape(b"\x55\x44", false), "more");
        assert_eq!(shape(b"\x55\x44", true), "skip 2 garbage");
        assert_eq!(shape(&[b"\x55\x44", HEARTBEAT].concat(), false), "skip 2 garbage");
        assert_eq!(shape(b"\x7e\x01\x01\x7e", false), "skip 4 truncated");
        assert_eq!(shape(b"\x7e\x00\x7d\x05\x7e", false), "skip 5 escape");
        assert_eq!(shape(b"\x7e", true), "fill 1");
    }

    #[test]
    fn a_slice_without_an_opening_flag_must_be_certain() {
        let mut damaged = HEARTBEAT[1..].to_vec();
        damaged[12] ^= 1;
        assert_eq!(shape(&damaged, false), "skip 13 garbage");
        let mut long = HEARTBEAT[1..14].to_vec();
        long.splice(12..12, *b"\x00");
        long.push(0x7E);
        assert_eq!(shape(&long, false), "skip 14 garbage"); // right checksum, wrong length
    }

    #[test]
    fn the_variant_has_its_own_escapes() {
        let unescaped = marks(VARIANT).unescape(b"\xe6\x01\xe6\x02\x3e\x01\x3e\x02", &mut Vec::new()).map(<[u8]>::to_vec);
        assert_eq!(unescaped.unwrap(), b"\xe6\xe7\x3e\x3d");
    }

    #[test]
    fn a_wrong_checksum_is_told_not_hidden() {
        let mut damaged = HEARTBEAT.to_vec();
        damaged[13] = 0x3A;
        let verdict = "frame 13 of 15 form 0 Wrong { expected: 57, found: 58, offset: 12 }";
        assert_eq!(shape(&damaged, false), verdict);
    }

    #[test]
    fn sentences_are_printable_and_bounded() {
        assert_eq!(shape(b"(1,2)\x7e", false), "frame 5 of 5 form 2 Good");
        assert_eq!(shape(b"(1,2", false), "more");
        assert_eq!(shape(b"(1,2", true), "skip 4 garbage");
        assert_eq!(shape(b"(1\x00", false), "skip 2 garbage");
        assert_eq!(shape(&[b'('; 2], false), "skip 1 garbage");
        assert_eq!(shape(&[&b"("[..], &[b'1'; MAX_SENTENCE]].concat(), false), format!("skip {MAX_SENTENCE} garbage"));
    }

    #[test]
    fn probes_tell_it_from_its_sister() {
        assert_eq!(probe(HEARTBEAT), Probe::Yes);
        assert_eq!(probe(&HEARTBEAT[..8]), Probe::More);
        assert_eq!(probe(b"\x7e\x02\x00\x00\x19\x10\x70"), Probe::No); // JT/T 905: numbers begin with 0x10
        assert_eq!(probe(b"\x7e\x85"), Probe::No);
        assert_eq!(probe(b"(13800001111,1,001,BASE,2,TIME)"), Probe::Yes);
        assert_eq!(probe(b"(1380000111"), Probe::More);
        assert_eq!(probe(b"(027028258309BQ8"), Probe::No);
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::No);
    }
}
