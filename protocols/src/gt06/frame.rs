//! Where frames begin and end.
//!
//! ```text
//! 78 78 | length u8  | type | content | serial u16 | CRC u16 | 0D 0A     length + 5 bytes
//! 79 79 | length u16 | type | content | serial u16 | CRC u16 | 0D 0A     length + 6 bytes
//! 78 78 | x u8       | type | content | 0D 0A                            Topin: no serial, no CRC, x is no length
//! ```
//!
//! Clones miscount the length, payloads hold `0D 0A`, and Topin units share marks and port. So an end is believed where the
//! declared length leads to `0D 0A` (with a wrong CRC and a type that only Topin has, it is Topin's); else where the CRC proves it; else where a Topin message of that type must end. Of several
//! the one that ends first wins, which makes the result independent of how the bytes were split.

use crate::fault::{Fault, FaultKind};
use crate::gt06::topin::{self, Size};
use crate::gt06::variants::is_known;
use crate::parts::checksum::crc_itu;
use crate::wire::{Checksum, Cut, Frame, Probe};

/// `78 78` with a one-byte length.
pub(super) const BASIC: u8 = 0;
/// `79 79` with a two-byte length.
pub(super) const EXTENDED: u8 = 1;
/// `78 78` by the rules of Topin.
pub(super) const TOPIN: u8 = 2;
/// Added to the form of a frame whose CRC is right and whose length is not.
pub(super) const MISCOUNTED: u8 = 0x10;

/// Longest basic frame: a length byte of 255 and the 5 bytes it does not count.
const MAX_BASIC: usize = 260;
/// Longest extended frame that we believe in. Photo parts hold 1 KiB and OBD texts less; a length beyond is a broken one, and
/// believing it would hold back everything behind it.
pub(super) const MAX_EXTENDED: usize = 4096;
/// Marks, length, type, serial, CRC and end.
const MIN_FRAME: usize = 10;
/// How many `0D 0A` are tried as the end of a frame whose length is wrong, and how many marks as the start of the next one: each try
/// costs a CRC. Binary payloads hold an end by chance in 64 KiB, texts a few.
const MAX_TRIES: usize = 8;

/// The dash-cam report: half of the published ones carry a wrong CRC, from several models.
const UNRELIABLE_KIND: u8 = 0x95;

const END: [u8; 2] = [0x0D, 0x0A];

/// Look at the first bytes of a connection. The marks are the letters `xx` and `yy`: only with a type that has a layout are they
/// enough, else a whole frame has to follow.
pub(super) fn probe(head: &[u8]) -> Probe {
    match head {
        [0x78, 0x78, _, kind, ..] if is_known(BASIC, *kind) || !matches!(topin::size(head), Size::No) => Probe::Yes,
        [0x79, 0x79, _, _, kind, ..] if is_known(EXTENDED, *kind) => Probe::Yes,
        [] | [0x78 | 0x79] | [0x78, 0x78, ..] | [0x79, 0x79, ..] => Probe::More,
        _ => Probe::No,
    }
}

/// Find the first frame. `topin`: this connection has spoken Topin before.
pub(super) fn cut(input: &[u8], topin: bool, quiet: bool) -> Cut<'_> {
    match mark(input) {
        Some(0) => at_mark(input, topin, quiet),
        Some(n) => garbage(n),
        None => {
            let half_a_mark = matches!(input.last(), Some(0x78 | 0x79)) && !quiet;
            match input.len() - usize::from(half_a_mark) {
                0 => Cut::More,
                n => garbage(n),
            }
        }
    }
}

/// The type byte of a frame.
pub(super) fn kind(frame: &Frame<'_>) -> u8 {
    let at = if frame.form & !MISCOUNTED == EXTENDED { 4 } else { 3 };
    frame.content.get(at).copied().unwrap_or_default()
}

fn at_mark(input: &[u8], topin: bool, quiet: bool) -> Cut<'_> {
    let extended = is_extended(input);
    if topin && !extended {
        match topin::size(input) {
            Size::Is(n) => return topin_frame(input, n),
            Size::More if !quiet => return Cut::More,
            Size::More | Size::No => {}
        }
    }
    let Some(total) = declared(input) else {
        return Cut::More;
    };
    let cap = if extended { MAX_EXTENDED } else { MAX_BASIC };
    let believed = (MIN_FRAME..=cap).contains(&total);
    match input.get(..total) {
        Some(raw) if believed && raw.ends_with(&END) => {
            let frame = judged(raw, 0);
            let wrong = matches!(frame.checksum, Checksum::Wrong { .. });
            let stranger = wrong && !extended && !is_known(BASIC, kind(&frame)) && topin::size(raw) == Size::Is(total);
            if stranger { topin_frame(raw, total) } else { Cut::Frame(frame) }
        }
        None if believed && !quiet => Cut::More,
        None if believed => match first_proven(input, cap, topin) {
            Some(cut) => cut,
            // it stopped where a frame may end: nothing more will come that makes its length true
            None if input.ends_with(&END) => Cut::Skip(input.len(), wrong_length()),
            None => Cut::More,
        },
        _ => match first_proven(input, cap, topin) {
            Some(cut) => cut,
            // only what lies within the cap decides, however much is there
            None if quiet || input.len() >= cap => broken(input.get(..cap).unwrap_or(input), topin),
            None => Cut::More,
        },
    }
}

/// The length does not lead to an end. Whichever ends first: this frame by its CRC, this frame as Topin, or a frame behind it
/// (which shows that this one is broken).
fn first_proven(input: &[u8], cap: usize, topin: bool) -> Option<Cut<'_>> {
    let window = input.get(..cap).unwrap_or(input);
    let own = own_end(window);
    let next = next_frame(window, topin);
    match (own, next) {
        (Some((end, form)), next) if next.is_none_or(|(other, _)| end <= other) => {
            Some(if form == TOPIN { topin_frame(input, end) } else { Cut::Frame(judged(input.get(..end)?, MISCOUNTED)) })
        }
        (_, Some((_, start))) => Some(Cut::Skip(start, wrong_length())),
        _ => None,
    }
}

/// Where the frame that starts here ends, whatever its length says, and by which rules.
fn own_end(window: &[u8]) -> Option<(usize, u8)> {
    let as_topin = if is_extended(window) { Size::No } else { topin::size(window) };
    let ends = window.windows(2).enumerate().filter(|(_, w)| *w == END).map(|(at, _)| at + 2);
    ends.take(MAX_TRIES).find_map(|end| {
        let by_crc = end >= MIN_FRAME && window.get(..end).is_some_and(crc_holds);
        let form = if by_crc { Some(BASIC) } else { (as_topin == Size::Is(end)).then_some(TOPIN) };
        form.map(|form| (end, form))
    })
}

/// End and start of the whole frame behind this one that ends first.
fn next_frame(window: &[u8], topin: bool) -> Option<(usize, usize)> {
    let candidates = later_marks(window).filter_map(|start| {
        let rest = window.get(start..)?;
        let size = match topin::size(rest) {
            Size::Is(n) if topin && !is_extended(rest) => n,
            _ => declared(rest)?,
        };
        let frame = rest.get(..size).filter(|frame| frame.ends_with(&END))?;
        Some((start, frame))
    });
    let proven = candidates
        .take(MAX_TRIES)
        .filter(|(_, frame)| crc_holds(frame) || topin && !is_extended(frame) && topin::size(frame) == Size::Is(frame.len()));
    proven.map(|(start, frame)| (start + frame.len(), start)).min()
}

/// How much of a broken beginning to throw away: up to where a frame may have begun that is not all there yet.
fn broken(input: &[u8], topin: bool) -> Cut<'_> {
    let unfinished = |start: &usize| {
        let rest = input.get(*start..).unwrap_or_default();
        let cap = if is_extended(rest) { MAX_EXTENDED } else { MAX_BASIC };
        let gt06 = declared(rest).is_none_or(|total| total > rest.len() && total <= cap);
        gt06 || topin && !is_extended(rest) && topin::size(rest) == Size::More
    };
    let half_a_mark = usize::from(matches!(input.last(), Some(0x78 | 0x79)));
    let n = later_marks(input).find(unfinished).unwrap_or(input.len() - half_a_mark);
    Cut::Skip(n.max(2).min(input.len()), wrong_length())
}

fn later_marks(input: &[u8]) -> impl Iterator<Item = usize> {
    input.windows(2).enumerate().skip(2).filter(|(_, w)| is_mark(w)).map(|(at, _)| at)
}

fn crc_holds(raw: &[u8]) -> bool {
    raw.len() >= MIN_FRAME && crc(raw).is_some_and(|(found, expected)| found == expected)
}

fn judged(raw: &[u8], flags: u8) -> Frame<'_> {
    let form = flags | if is_extended(raw) { EXTENDED } else { BASIC };
    let mut frame = Frame { raw, content: raw, form, checksum: Checksum::Good };
    if let Some((found, expected)) = crc(raw).filter(|(found, expected)| found != expected) {
        frame.checksum = if kind(&frame) == UNRELIABLE_KIND {
            Checksum::Unreliable
        } else {
            Checksum::Wrong { expected: u32::from(expected), found: u32::from(found), offset: raw.len() - 4 }
        };
    }
    frame
}

fn topin_frame(input: &[u8], n: usize) -> Cut<'_> {
    let raw = input.get(..n).unwrap_or(input);
    Cut::Frame(Frame { raw, content: raw, form: TOPIN, checksum: Checksum::Good })
}

/// The CRC that a frame carries and the one that it should: over everything from the length to the serial.
fn crc(raw: &[u8]) -> Option<(u16, u16)> {
    let (body, [high, low, _, _]) = raw.split_last_chunk::<4>()?;
    Some((u16::from_be_bytes([*high, *low]), crc_itu(body.get(2..)?)))
}

fn declared(input: &[u8]) -> Option<usize> {
    match *input {
        [0x79, _, high, low, ..] => Some(usize::from(u16::from_be_bytes([high, low])) + 6),
        [0x78, _, length, _, ..] => Some(usize::from(length) + 5),
        _ => None,
    }
}

fn is_extended(input: &[u8]) -> bool {
    input.first() == Some(&0x79)
}

fn mark(input: &[u8]) -> Option<usize> {
    input.windows(2).position(is_mark)
}

fn is_mark(pair: &[u8]) -> bool {
    matches!(pair, [0x78, 0x78] | [0x79, 0x79])
}

fn garbage<'b>(n: usize) -> Cut<'b> {
    Cut::Skip(n, Fault::new(FaultKind::Garbage, 0, "no start mark 7878 or 7979"))
}

fn wrong_length() -> Fault {
    Fault::new(FaultKind::Length, 2, "no end where the length says, and none that a CRC proves")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;

    const HEARTBEAT: &str = "78780a134401040001000508450d0a";
    const LOGIN: &str = "78780d01086120000000001200011d5a0d0a";

    fn told(hex: &str, topin: bool, quiet: bool) -> String {
        let bytes = unhex(hex).unwrap();
        match cut(&bytes, topin, quiet) {
            Cut::Frame(f) => format!("frame {} form {:#x} {:?}", f.raw.len(), f.form, f.checksum),
            Cut::Skip(n, fault) => format!("skip {n} {}", fault.kind.label()),
            Cut::Fill(n) => format!("fill {n}"),
            Cut::More => "more".to_owned(),
        }
    }

    #[test]
    fn accepts_both_forms() {
        assert_eq!(told(HEARTBEAT, false, false), "frame 15 form 0x0 Good");
        assert_eq!(told("79790008940004b6000316cd0d0a", false, false), "frame 14 form 0x1 Good");
    }

    #[test]
    fn payload_may_hold_an_end() {
        let frame = "7979000f9b03443735304136320d0a000f60b70d0a";
        assert_eq!(told(frame, false, false), "frame 21 form 0x1 Good");
        for n in 1..21 {
            assert_eq!(told(&frame[..n * 2], false, false), "more", "{n}");
        }
    }

    #[test]
    fn a_wrong_length_is_mended_by_the_crc() {
        // declares 8, needs 10; and one that declares too much, which only silence or the next frame shows
        assert_eq!(told("7878081346060200020003091f0d0a", false, false), "frame 15 form 0x10 Good");
        let mut long = unhex(HEARTBEAT).unwrap();
        long[2] = 0x20;
        let crc = crc_itu(&long[2..11]).to_be_bytes();
        long[11..13].copy_from_slice(&crc);
        let long = crate::cursor::hex(&long);
        assert_eq!(told(&long, false, false), "more");
        assert_eq!(told(&long, false, true), "frame 15 form 0x10 Good");
        assert_eq!(told(&format!("{long}{HEARTBEAT}{HEARTBEAT}"), false, false), "frame 15 form 0x10 Good");
    }

    #[test]
    fn tells_a_wrong_crc() {
        assert!(told("78780a134401040001000508460d0a", false, false).starts_with("frame 15 form 0x0 Wrong"));
        assert_eq!(told("78780c951a03010a0000910001e4b60d0a", false, false), "frame 17 form 0x0 Unreliable");
    }

    #[test]
    fn skips_to_what_is_proven() {
        assert_eq!(told(&format!("0d0a31{HEARTBEAT}"), false, false), "skip 3 garbage");
        assert_eq!(told("3131", false, false), "skip 2 garbage");
        assert_eq!(told("313178", false, false), "skip 2 garbage");
        assert_eq!(told("78", false, false), "more");
        assert_eq!(told("78", false, true), "skip 1 garbage");
        // a frame cut short by a lost segment, then a whole one
        assert_eq!(told(&format!("78780a1344{HEARTBEAT}"), false, false), "skip 5 length");
        assert_eq!(told(&format!("7979ffff94{HEARTBEAT}"), false, false), "skip 5 length");
        assert_eq!(told("7979ffff94", false, false), "more");
        assert_eq!(told("7979ffff94", false, true), "skip 5 length");
        assert_eq!(told("7979ffff9478780a13", false, true), "skip 5 length", "a frame may have begun");
    }

    #[test]
    fn a_slow_frame_is_waited_for_but_not_one_that_has_ended() {
        assert_eq!(told("78781f120b081d112e10cc027ac7eb0c46", false, true), "more");
        assert_eq!(told("78781f120b081d112e10cc0d0a", false, true), "skip 13 length");
    }

    #[test]
    fn tells_topin_from_gt06() {
        let login = "78780d010861200000000012420d0a";
        assert_eq!(told(login, false, false), "more", "it may become a GT06 login");
        assert_eq!(told(login, false, true), "frame 15 form 0x2 Good");
        assert_eq!(told(&format!("{login}787801080d0a"), false, false), "frame 15 form 0x2 Good");
        assert_eq!(told("787801080d0a", false, false), "frame 6 form 0x2 Good");
        assert_eq!(told("787812101a03010a000099026b287c0c3cbd481f14600d0a", false, false), "frame 24 form 0x2 Good");
        // the same bytes could be a heartbeat with a wrong CRC: it depends on who is talking
        assert_eq!(told("78780a13424008196400041f000d0a", true, false), "frame 15 form 0x2 Good");
        assert!(told("78780a13424008196400041f000d0a", false, false).contains("Wrong"));
        assert_eq!(told(LOGIN, true, false), "frame 18 form 0x0 Good");
    }

    #[test]
    fn probes() {
        assert_eq!(probe(&[0x78]), Probe::More);
        assert_eq!(probe(&[0x78, 0x78, 5]), Probe::More);
        assert_eq!(probe(&[0x79, 0x79, 0, 8]), Probe::More);
        assert_eq!(probe(&[0x79, 0x79, 0, 8, 0x94]), Probe::Yes);
        assert_eq!(probe(b"\x78\x78\x05\x01"), Probe::Yes);
        assert_eq!(probe(b"\x78\x78\x0d\x17"), Probe::Yes); // Topin
        assert_eq!(probe(b"xximei:"), Probe::More);
        assert_eq!(probe(&[0x78, 0x79]), Probe::No);
        assert_eq!(probe(b"*HQ"), Probe::No);
    }
}
