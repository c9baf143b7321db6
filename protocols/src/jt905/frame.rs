//! Cutting the byte stream: `7E … 7E`, escaped and summed up as in JT/T 808.

use super::header::{self, MARK};
use super::message::id;
use crate::parts::bcd;
use crate::parts::checksum::xor;
use crate::parts::flagged::{self, Framing};
use crate::registry::PROBE_WINDOW;
use crate::wire::{Cut, Probe};

/// The only form.
pub(super) const FORM: u8 = 0;
/// Header and check byte: nothing shorter is a message.
pub(super) const SHORTEST: usize = header::LENGTH + 1;

static FRAMING: Framing = Framing { marks: &flagged::STANDARD, form: FORM, shortest: SHORTEST, length_fits: header::length_fits };

/// Find the first frame.
pub(super) fn cut<'b>(input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
    let flag = FRAMING.marks.flag;
    if input.first() == Some(&flag) {
        FRAMING.between_flags(input, quiet, scratch)
    } else {
        FRAMING.unopened(|b| b == flag, input, quiet, scratch)
    }
}

/// Whether the first bytes of a connection look like this protocol: a message id of ours, an ISU id with its mark, and a
/// whole frame where the window holds one.
pub(super) fn probe(head: &[u8]) -> Probe {
    let flag = FRAMING.marks.flag;
    let Some(start) = head.iter().position(|b| *b != flag) else {
        return Probe::More;
    };
    if start == 0 {
        return Probe::No;
    }
    let mut plain = [0; PROBE_WINDOW];
    let Some((length, ended)) = unescape(head.get(start..).unwrap_or_default(), &mut plain) else {
        return Probe::No;
    };
    let content = plain.get(..length).unwrap_or_default();
    if !may_begin(content) {
        return Probe::No;
    }
    let whole = content.len() >= SHORTEST && header::length_fits(content) && xor(content) == 0;
    let declared = content.get(2..4).map(|l| l.iter().fold(0, |n, b| n << 8 | usize::from(*b)));
    match ended {
        true if whole => Probe::Yes,
        true => Probe::No,
        // its end has passed without a flag
        false if declared.is_some_and(|n| n + SHORTEST < content.len()) => Probe::No,
        false if head.len() >= PROBE_WINDOW && content.len() >= header::LENGTH => Probe::Yes,
        false => Probe::More,
    }
}

/// The bytes up to the next flag, how many they are, and whether there is one; `None` for an escape that is none.
fn unescape(escaped: &[u8], plain: &mut [u8; PROBE_WINDOW]) -> Option<(usize, bool)> {
    let mut bytes = escaped.iter().copied();
    let mut slots = plain.iter_mut().enumerate();
    let mut length = 0;
    while let Some(byte) = bytes.next() {
        let meant = match byte {
            0x7E => return Some((length, true)),
            0x7D => match bytes.next() {
                Some(1) => 0x7D,
                Some(2) => 0x7E,
                Some(_) => return None,
                None => break,
            },
            byte => byte,
        };
        let (n, slot) = slots.next()?;
        *slot = meant;
        length = n + 1;
    }
    Some((length, false))
}

/// Whether a header may begin so.
fn may_begin(content: &[u8]) -> bool {
    let known = match content {
        [] => true,
        [high] => id::UP.iter().any(|id| id.to_be_bytes()[0] == *high),
        [high, low, ..] => id::UP.contains(&u16::from_be_bytes([*high, *low])),
    };
    // a length whose high byte is above the largest frame's
    let short = content.get(2).is_none_or(|high| usize::from(*high) < super::session::MAX_FRAME >> 8);
    let marked = content.get(4).is_none_or(|mark| *mark == MARK);
    let digits = content.get(4..content.len().min(10)).is_none_or(|isu| isu.iter().all(|b| bcd::byte(*b).is_some()));
    known && short && marked && digits
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A heartbeat of 109900000001.
    const HEARTBEAT: &[u8] = b"\x7e\x00\x02\x00\x00\x10\x99\x00\x00\x00\x01\x00\x02\x88\x7e";

    fn shape(input: &[u8], quiet: bool) -> String {
        match cut(input, quiet, &mut Vec::new()) {
            Cut::Frame(f) => format!("frame {} of {} {:?}", f.content.len(), f.raw.len(), f.checksum),
            Cut::Skip(n, fault) => format!("skip {n} {}", fault.kind.label()),
            Cut::Fill(n) => format!("fill {n}"),
            Cut::More => "more".to_owned(),
        }
    }

    #[test]
    fn accepts_frames_with_own_shared_and_doubled_flags() {
        assert_eq!(shape(HEARTBEAT, false), "frame 13 of 15 Good");
        assert_eq!(shape(&HEARTBEAT[1..], false), "frame 13 of 14 Good");
        assert_eq!(shape(&[&[0x7E], HEARTBEAT].concat(), false), "fill 1");
        assert_eq!(shape(&HEARTBEAT[..9], false), "more");
    }

    #[test]
    fn refuses_noise_and_keeps_what_follows() {
        assert_eq!(shape(&[b"\x55\x44", HEARTBEAT].concat(), false), "skip 2 garbage");
        assert_eq!(shape(b"\x55\x44", true), "skip 2 garbage");
        assert_eq!(shape(b"\x7e\x01\x01\x7e", false), "skip 4 truncated");
        assert_eq!(shape(b"\x7e\x00\x7d\x05\x7e", false), "skip 5 escape");
        let mut damaged = HEARTBEAT.to_vec();
        damaged[13] = 0x89;
        assert_eq!(shape(&damaged, false), "frame 13 of 15 Wrong { expected: 136, found: 137, offset: 12 }");
        damaged[0] = 0x55;
        assert_eq!(shape(&damaged, false), "skip 14 garbage");
    }

    #[test]
    fn probes_say_yes_with_proof_only() {
        assert_eq!(probe(HEARTBEAT), Probe::Yes);
        assert_eq!(probe(&[&[0x7E], HEARTBEAT].concat()), Probe::Yes);
        for n in 0..HEARTBEAT.len() {
            assert_eq!(probe(&HEARTBEAT[..n]), Probe::More, "{n}");
        }
        let mut long = b"\x7e\x0b\x03\x00\x48\x10\x99\x00\x00\x00\x01\x00\x02".to_vec();
        long.resize(63, 0);
        assert_eq!(probe(&long), Probe::More);
        long.resize(64, 0);
        assert_eq!(probe(&long), Probe::Yes);
    }

    #[test]
    fn refuses_what_is_another_protocol() {
        assert_eq!(probe(b"\x7e\x00\x02\x00\x00\x01"), Probe::No); // JT/T 808: a telephone number
        assert_eq!(probe(b"\x7e\x01\x00"), Probe::No); // there is no registration here
        assert_eq!(probe(b"\x7e\x00\x02\x40"), Probe::No); // the edition of 2019
        assert_eq!(probe(b"\x7e\x00\x02\x00\x00\x10\x9a"), Probe::No); // no digits
        assert_eq!(probe(b"\x7e\x00\x7d\x03"), Probe::No);
        assert_eq!(probe(b"\x7e\x00\x02\x00\x00\x10\x99\x00\x00\x00\x01\x00\x02\x88\x00"), Probe::No);
        let mut damaged = HEARTBEAT.to_vec();
        damaged[12] ^= 1;
        assert_eq!(probe(&damaged), Probe::No);
        assert_eq!(probe(b"GET / HTTP/1.1"), Probe::No);
    }
}
