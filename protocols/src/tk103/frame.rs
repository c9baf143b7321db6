//! Where frames begin and end, and who speaks in them.
//!
//! ```text
//! ( id 12 | command 4 | body )              compact
//! ( id , command , body )                   with commas
//! ```
//!
//! There is no length and no checksum. A device's text stands between two `$`, and a `)` between them ends nothing. A frame
//! that was cut short is known by the head of the next one inside it; a text whose second `$` was lost, by a head behind its
//! `)`. Both depend on nothing behind that head, so the result does not depend on how the bytes were split.

use crate::fault::{Fault, FaultKind};
use crate::wire::{Checksum, Cut, Frame, Probe};

/// Longest frame: the body has at most 1 KiB (KX402 protocol), the longest id 15 characters, the command 4; marks and commas.
pub(super) const MAX_FRAME: usize = 1024 + 15 + 4 + 4;

/// Lengths of ids in front of a command without a comma, the documented one first. Eleven are firmwares that lost the
/// leading zero, fifteen is a whole IMEI; the others are what users entered.
const COMPACT_IDS: [usize; 8] = [12, 11, 15, 14, 13, 10, 9, 8];
/// The documented length, and the only one in which letters are believed.
const ID: usize = 12;
/// Longest and shortest id of digits.
const DIGITS: std::ops::RangeInclusive<usize> = 8..=15;
/// Longest id before a comma: some users entered a name.
const MAX_ID: usize = 20;
/// Letters and number.
const COMMAND: usize = 4;
/// Fill that is skipped before the first frame of an unknown connection; real captures start with one line end.
const MAX_FILL: usize = 4;

/// How the fields of a frame are told apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Style {
    /// By their widths.
    Compact,
    /// By commas.
    Commas,
}

/// What stands in front of every body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head<'f> {
    pub(super) style: Style,
    /// Whose frame it is; with old firmwares the time instead.
    pub(super) id: &'f str,
    pub(super) command: &'f str,
    /// Without marks, and without the comma in front of it in the style that has one.
    pub(super) body: &'f [u8],
    /// Where the body starts in the frame.
    pub(super) at: usize,
}

/// Look at the first bytes of a connection.
pub(super) fn probe(head: &[u8]) -> Probe {
    let fill = head.iter().take_while(|b| is_fill(**b)).count();
    match head.get(fill..) {
        _ if fill > MAX_FILL => Probe::No,
        Some(mark @ [b'(', ..]) => begins(mark),
        Some([]) | None => Probe::More,
        Some(_) => Probe::No,
    }
}

/// Whether bytes that start with `(` are the head of a frame: an id, and a command of the families that devices use.
fn begins(bytes: &[u8]) -> Probe {
    let text = bytes.get(1..).unwrap_or_default();
    let digits = text.iter().take_while(|b| b.is_ascii_digit()).count();
    match text.get(digits) {
        None if digits > *DIGITS.end() => Probe::No,
        None => Probe::More,
        Some(b',') if DIGITS.contains(&digits) => family(text.get(digits + 1..).unwrap_or_default()),
        Some(c) if c.is_ascii_alphabetic() => {
            let direct = if DIGITS.contains(&digits) { family(text.get(digits..).unwrap_or_default()) } else { Probe::No };
            match direct {
                Probe::Yes if digits == *DIGITS.end() => not_topflytech(text.get(digits..).unwrap_or_default()),
                Probe::No if digits < ID => named(text),
                other => other,
            }
        }
        Some(_) => Probe::No,
    }
}

/// A name of twelve letters and digits in place of a number.
fn named(text: &[u8]) -> Probe {
    let name = text.iter().take(ID).take_while(|b| b.is_ascii_alphanumeric()).count();
    match text.get(ID..) {
        Some(command) if name == ID => family(command),
        _ if name == text.len() => Probe::More,
        _ => Probe::No,
    }
}

/// `B` and a letter, `DW` or `ZC`, then two hex digits.
fn family(command: &[u8]) -> Probe {
    let letters = match *command {
        [] | [b'B' | b'D' | b'Z'] => return Probe::More,
        [b'B', b'A'..=b'Z', ..] | [b'D', b'W', ..] | [b'Z', b'C', ..] => true,
        _ => false,
    };
    let number = command.get(2..COMMAND.min(command.len())).unwrap_or_default();
    match letters && number.iter().all(|b| is_number(*b)) {
        false => Probe::No,
        true if number.len() < 2 => Probe::More,
        true => Probe::Yes,
    }
}

/// Old TopFlyTech units sent fifteen digits and `BP00XG…` or `BP00XT…` to a port of their own.
fn not_topflytech(command: &[u8]) -> Probe {
    match command.strip_prefix(b"BP00") {
        Some([]) | Some([b'X']) => Probe::More,
        Some([b'X', b'G' | b'T', ..]) => Probe::No,
        _ => Probe::Yes,
    }
}

/// Find the first frame.
pub(super) fn cut(input: &[u8], quiet: bool) -> Cut<'_> {
    match input.first() {
        Some(b'(') => at_mark(input, quiet),
        Some(b) if is_fill(*b) => Cut::Fill(input.iter().take_while(|b| is_fill(**b)).count()),
        _ => {
            let n = input.iter().take_while(|b| **b != b'(' && !is_fill(**b)).count();
            Cut::Skip(n, Fault::new(FaultKind::Garbage, 0, "no start mark `(`"))
        }
    }
}

fn at_mark(input: &[u8], quiet: bool) -> Cut<'_> {
    let mut in_text = false;
    let mut inner = None;
    for (i, byte) in input.iter().enumerate().skip(1) {
        match byte {
            b'$' => in_text = !in_text,
            b'(' if !in_text => inner = Some(i),
            b')' if !in_text => return ended(input, i, inner),
            b')' => match behind(input.get(i + 1..).unwrap_or_default()) {
                Probe::Yes => return ended(input, i, inner),
                Probe::More if quiet => return ended(input, i, inner),
                Probe::More if input.len() < MAX_FRAME => return Cut::More,
                Probe::More | Probe::No => {}
            },
            _ => {}
        }
    }
    if input.len() < MAX_FRAME {
        return Cut::More;
    }
    let next = input.iter().skip(1).position(|b| *b == b'(').map_or(input.len(), |n| n + 1);
    Cut::Skip(next, Fault::new(FaultKind::Oversize, 0, "no end of a frame within the longest one"))
}

/// Whether the head of a frame stands behind a `)`.
fn behind(rest: &[u8]) -> Probe {
    let fill = rest.iter().take_while(|b| is_fill(**b)).count();
    match rest.get(fill..) {
        Some(mark @ [b'(', ..]) => begins(mark),
        Some([]) | None => Probe::More,
        Some(_) => Probe::No,
    }
}

/// A frame from the start to `end`, unless another one begins inside it.
fn ended(input: &[u8], end: usize, inner: Option<usize>) -> Cut<'_> {
    let raw = input.get(..=end).unwrap_or(input);
    if let Some(start) = inner
        && begins(raw.get(start..).unwrap_or_default()) == Probe::Yes
    {
        return Cut::Skip(start, Fault::new(FaultKind::Truncated, 0, "another frame begins before this one has ended"));
    }
    Cut::Frame(Frame { raw, content: raw, form: 0, checksum: Checksum::Good })
}

const fn is_fill(b: u8) -> bool {
    matches!(b, b'\r' | b'\n' | b' ' | 0)
}

const fn is_number(b: u8) -> bool {
    matches!(b, b'0'..=b'9' | b'A'..=b'F')
}

pub(super) fn is_command(text: &[u8]) -> bool {
    matches!(text, [b'A'..=b'Z', b'A'..=b'Z', tens, ones] if is_number(*tens) && is_number(*ones))
}

/// Take a frame apart.
///
/// # Errors
/// If there is no id with a command behind it.
pub(super) fn head(content: &[u8]) -> Result<Head<'_>, Fault> {
    let inner = content.strip_prefix(b"(").and_then(|c| c.strip_suffix(b")")).unwrap_or_default();
    let found = compact(inner).or_else(|| with_commas(inner));
    found.ok_or_else(|| Fault::new(FaultKind::Value, 1, "no id with a command behind it"))
}

fn compact(inner: &[u8]) -> Option<Head<'_>> {
    let fits = |length: &usize| {
        let (id, rest) = inner.split_at_checked(*length)?;
        let plausible = if *length == ID { u8::is_ascii_alphanumeric } else { u8::is_ascii_digit };
        let (command, body) = rest.split_at_checked(COMMAND)?;
        (id.iter().all(plausible) && is_command(command)).then_some((id, command, body))
    };
    let (id, command, body) = COMPACT_IDS.iter().find_map(fits)?;
    Some(Head { style: Style::Compact, id: ascii(id), command: ascii(command), body, at: 1 + id.len() + COMMAND })
}

fn with_commas(inner: &[u8]) -> Option<Head<'_>> {
    let comma = inner.iter().take(MAX_ID + 1).position(|b| *b == b',')?;
    let (id, rest) = inner.split_at_checked(comma)?;
    let (command, rest) = rest.get(1..)?.split_at_checked(COMMAND)?;
    let (body, separator) = match rest {
        [] => (rest, 0),
        [b',', body @ ..] => (body, 1),
        _ => return None,
    };
    let whole = !id.is_empty() && id.iter().all(u8::is_ascii_alphanumeric) && is_command(command);
    let at = 1 + id.len() + 1 + COMMAND + separator;
    whole.then(|| Head { style: Style::Commas, id: ascii(id), command: ascii(command), body, at })
}

/// What was found to be ASCII.
pub(super) fn ascii(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str, quiet: bool) -> String {
        match cut(text.as_bytes(), quiet) {
            Cut::Frame(f) => format!("frame {}", f.raw.len()),
            Cut::Skip(n, fault) => format!("skip {n} {}", fault.kind.label()),
            Cut::Fill(n) => format!("fill {n}"),
            Cut::More => "more".to_owned(),
        }
    }

    #[test]
    fn frames_between_fill_and_garbage() {
        assert_eq!(told("(013800000001BP00HSO)(0138", false), "frame 21");
        assert_eq!(told("\r\n (", false), "fill 3");
        assert_eq!(told("1234)\r\n(", false), "skip 5 garbage");
        assert_eq!(told("(013800000001BP00HSO", true), "more");
    }

    #[test]
    fn a_bracket_in_a_text_ends_nothing() {
        let text = "(861200000000012,ZC03,010326,100000,$1 minute(s) (a)\r\n2$)";
        assert_eq!(told(text, false), format!("frame {}", text.len()));
    }

    #[test]
    fn a_text_without_its_end() {
        let lost = "(861200000000012,ZC03,010326,100000,$text)";
        assert_eq!(told(lost, false), "more");
        assert_eq!(told(lost, true), "frame 42");
        assert_eq!(told(&format!("{lost}\r\n(013800000001BP"), false), "more");
        assert_eq!(told(&format!("{lost}\r\n(013800000001BP00HSO)"), false), "frame 42");
        assert_eq!(told(&format!("{lost}\r\n(see below)$)"), false), "frame 57");
    }

    #[test]
    fn a_frame_cut_short_is_given_up_for_the_next() {
        assert_eq!(told("(013800000001BR00260301A2(013800000001BP00HSO)", false), "skip 25 truncated");
        assert_eq!(told("(013800000001BZ00(x)", false), "frame 20");
    }

    #[test]
    fn an_endless_frame_is_given_up() {
        let long = format!("({}(x", "y".repeat(MAX_FRAME - 3));
        assert_eq!(long.len(), MAX_FRAME);
        assert_eq!(told(&long, false), format!("skip {} oversize", MAX_FRAME - 2));
        assert_eq!(told(&long[..MAX_FRAME - 1], false), "more");
    }

    fn heads(text: &str) -> Option<(Style, &str, &str, &str, usize)> {
        head(text.as_bytes()).ok().map(|h| (h.style, h.id, h.command, ascii(h.body), h.at))
    }

    #[test]
    fn heads_of_both_styles() {
        use Style::{Commas, Compact};
        assert_eq!(heads("(013800000001BP05x)"), Some((Compact, "013800000001", "BP05", "x", 17)));
        assert_eq!(heads("(13800000001BP05x)"), Some((Compact, "13800000001", "BP05", "x", 16)));
        assert_eq!(heads("(861200000000012BP02,G)"), Some((Compact, "861200000000012", "BP02", ",G", 20)));
        assert_eq!(heads("(TAXITAXITAX7BR00x)"), Some((Compact, "TAXITAXITAX7", "BR00", "x", 17)));
        assert_eq!(heads("(013800000001BZ00,460,0)"), Some((Compact, "013800000001", "BZ00", ",460,0", 17)));
        assert_eq!(heads("(861200000000012,DW3B,x)"), Some((Commas, "861200000000012", "DW3B", "x", 22)));
        assert_eq!(heads("(861200000000012,ZC07)"), Some((Commas, "861200000000012", "ZC07", "", 21)));
    }

    #[test]
    fn refuses_heads_of_others() {
        for other in ["()", "(1380000)", "(1380000003,U04)", "(138000000414,1,001,BASE,2,TIME)", "(TLA,861200000000012,190118)"] {
            assert_eq!(heads(other), None, "{other}");
        }
        assert_eq!(heads("(861200000000012,BP05x)"), None);
    }

    #[test]
    fn recognises_its_own() {
        for (text, yes_at) in [
            ("(013800000001BP05000", 17),
            ("(13800000001BR00", 16),
            ("\r\n(861200000000012,DW3B,", 23),
            ("(TAXITAXITAX7BR00", 17),
            ("(013800000001BP00HSO)", 17),
        ] {
            for n in 0..text.len() {
                let expected = if n < yes_at { Probe::More } else { Probe::Yes };
                assert_eq!(probe(&text.as_bytes()[..n]), expected, "{:?}", &text[..n]);
            }
        }
    }

    #[test]
    fn refuses_what_others_speak() {
        for other in [
            "(1380000003,U04)",
            "(1380000327,@JT)",
            "(1380000609,23,29,WLNET",
            "(138000000185,1,001,ELOCK,3,529439)",
            "(TLA,861200000000012,190118",
            "(861200000000020,0EF87,00,0",
            "(861200000000038U1110A1701201500102238",
            "(000000007322865733022629240170415100039A1234",
            "(861200000000046BP00XG00b6",
            "(\x19 0\x18\x07",
            "*HQ,1380000415,V1",
            "\r\n\r\n\r\n(013800000001BP05",
            "(012",
        ] {
            assert_eq!(probe(other.as_bytes()), if other == "(012" { Probe::More } else { Probe::No }, "{other:?}");
        }
    }
}
