//! Where frames begin and end.
//!
//! ```text
//! ##,imei:861200000000012,A;             sign-on
//! 861200000000012;                       heartbeat: nothing but 10 to 17 digits
//! imei:861200000000012,tracker,…;        everything else
//! 861200000000012imei:861200000000012,…; the same behind a heartbeat that has lost its end
//! ```
//!
//! A frame ends at `;`, `*`, a line end or a zero byte. Old firmware sends none: then the start of the next frame ends it, or
//! silence where what there is has the shape of a whole one. There is no checksum but in the parts of photos.

use crate::cursor::unhex;
use crate::fault::{Fault, FaultKind};
use crate::parts::checksum::sum8;
use crate::wire::{Checksum, Cut, Frame, Probe};

/// The form of a frame that nothing ended; of others the form is the byte that did.
pub(super) const OPEN: u8 = 0xFF;

/// Longest frame: a photo part of about 1100 characters, with room for a maker who puts more into it.
pub(super) const MAX_FRAME: usize = 4096;

/// How many digits an identity has: an IMEI has 15, and shorter and longer numbers were seen in its place.
const ID_DIGITS: std::ops::RangeInclusive<usize> = 10..=17;
/// Of digits that run on, this many are one identity.
const IMEI: usize = 15;

/// What every message but a heartbeat says first.
const MARK: &[u8] = b"imei:";
/// What stands before it in a sign-on.
const SIGN_ON: &[u8] = b"##,";
/// The keyword of a photo's part.
const PHOTO_PART: &str = "vr";
/// Bytes of a photo's part around the payload: number and size before it, the checksum behind it.
const PART_HEAD: usize = 4;
const PART_TAIL: usize = 2;

/// Fill before the first frame that is looked over; lines that end twice were seen, more is not this protocol.
const PROBE_FILL: usize = 8;

/// Look at the first bytes of a connection.
pub(super) fn probe(head: &[u8]) -> Probe {
    let fill = head.iter().take(PROBE_FILL).take_while(|b| matches!(b, b'\r' | b'\n' | b' ' | 0)).count();
    let head = head.get(fill..).unwrap_or_default();
    if let Some(rest) = after(head, SIGN_ON) {
        return rest.map_or(Probe::More, probe_mark);
    }
    let digits = digits(head);
    match head.get(digits) {
        None if digits <= *ID_DIGITS.end() => Probe::More,
        // without the `;` it could be the identity line of anybody
        Some(b';') if digits == IMEI => Probe::Yes,
        Some(_) if digits == 0 || ID_DIGITS.contains(&digits) => probe_mark(head.get(digits..).unwrap_or_default()),
        _ => Probe::No,
    }
}

fn probe_mark(head: &[u8]) -> Probe {
    match after(head, MARK) {
        None => Probe::No,
        Some(None) => Probe::More,
        Some(Some(rest)) => {
            let digits = digits(rest);
            match rest.get(digits) {
                None if digits <= *ID_DIGITS.end() => Probe::More,
                // others write `imei:` too, but no comma behind the number
                Some(b',') if ID_DIGITS.contains(&digits) => Probe::Yes,
                _ => Probe::No,
            }
        }
    }
}

/// What stands behind `mark`; `Some(None)` if `head` is only a beginning of it.
fn after<'b>(head: &'b [u8], mark: &[u8]) -> Option<Option<&'b [u8]>> {
    match head.strip_prefix(mark) {
        Some(rest) => Some(Some(rest)),
        None => mark.starts_with(head).then_some(None),
    }
}

/// Find the first frame.
pub(super) fn cut(input: &[u8], quiet: bool) -> Cut<'_> {
    let fill = input.iter().take_while(|b| ends(**b) || **b == b' ').count();
    if fill > 0 {
        return Cut::Fill(fill);
    }
    let seen = look(input);
    let line = input.get(..seen.end.unwrap_or(input.len())).unwrap_or(input);
    match seen.first {
        Some(mark) => {
            let start = start_of(input, mark);
            if start == 0 {
                at_start(input, &seen, line, quiet)
            } else {
                let before = input.get(..start).unwrap_or_default();
                heartbeat(before).map_or_else(|| garbage(start), |n| frame(input, n, None))
            }
        }
        None => match (heartbeat(line), seen.end) {
            (Some(n), Some(end)) => frame(input, n, (n == end).then_some(end)),
            (Some(n), None) if quiet => frame(input, n, None),
            (None, Some(end)) => garbage(end + 1),
            (None, None) if quiet && !may_begin(line) => garbage(line.len()),
            (_, None) => Cut::More,
        },
    }
}

/// The opposite of [`cut`]: the frame form with this content.
pub(super) fn seal(form: u8, content: &[u8], out: &mut Vec<u8>) {
    out.extend_from_slice(content);
    if form != OPEN {
        out.push(form);
    }
}

fn at_start<'b>(input: &'b [u8], seen: &Seen, line: &[u8], quiet: bool) -> Cut<'b> {
    match (seen.second, seen.end) {
        (Some(next), _) => frame(input, start_of(input, next), None),
        (None, Some(end)) => frame(input, end, Some(end)),
        (None, None) if quiet && whole(line) => frame(input, line.len(), None),
        (None, None) => Cut::More,
    }
}

/// The places that decide, as far as the first end.
#[derive(Debug, Default)]
struct Seen {
    /// Where the first byte that ends a frame stands.
    end: Option<usize>,
    /// Where `imei:` stands first, before that.
    first: Option<usize>,
    /// And where it stands again.
    second: Option<usize>,
}

/// What a byte is for finding frames.
const ORDINARY: u8 = 0;
const COLON: u8 = 1;
const END: u8 = 2;

/// Of each byte: one look-up instead of six comparisons, for every byte that is received.
static CLASSES: [u8; 256] = {
    let mut classes = [ORDINARY; 256];
    classes[b':' as usize] = COLON;
    classes[b';' as usize] = END;
    classes[b'*' as usize] = END;
    classes[b'\r' as usize] = END;
    classes[b'\n' as usize] = END;
    classes[0] = END;
    classes
};

fn look(input: &[u8]) -> Seen {
    let mut seen = Seen::default();
    let mut from = 0;
    let special = |byte: &u8| class(*byte) != ORDINARY;
    while let Some(at) = input.get(from..).and_then(|rest| rest.iter().position(special)).map(|n| from + n) {
        if input.get(at).is_some_and(|byte| ends(*byte)) {
            seen.end = Some(at);
            break;
        }
        if seen.second.is_none() && input.get(..=at).is_some_and(|so_far| so_far.ends_with(MARK)) {
            let slot = if seen.first.is_none() { &mut seen.first } else { &mut seen.second };
            *slot = Some(at + 1 - MARK.len());
        }
        from = at + 1;
    }
    seen
}

fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

fn ends(byte: u8) -> bool {
    class(byte) == END
}

/// Where the frame starts whose `imei:` stands there.
fn start_of(input: &[u8], mark: usize) -> usize {
    let before = input.get(..mark).unwrap_or_default();
    if before.ends_with(SIGN_ON) {
        return mark - SIGN_ON.len();
    }
    let run = before.iter().rev().take_while(|b| b.is_ascii_digit()).count();
    match run {
        n if ID_DIGITS.contains(&n) => mark - n,
        n if n > *ID_DIGITS.end() => mark - IMEI,
        _ => mark,
    }
}

/// The length of the heartbeat that a line is, or the first of several without an end between them.
fn heartbeat(line: &[u8]) -> Option<usize> {
    let n = digits(line);
    match n == line.len() {
        true if ID_DIGITS.contains(&n) => Some(n),
        true if n > IMEI && n.is_multiple_of(IMEI) => Some(IMEI),
        _ => None,
    }
}

fn digits(bytes: &[u8]) -> usize {
    bytes.iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Whether more bytes can make a frame of what has no mark yet.
fn may_begin(line: &[u8]) -> bool {
    let rest = line.get(digits(line)..).unwrap_or_default();
    let sign_on = line.strip_prefix(SIGN_ON).unwrap_or(line);
    SIGN_ON.starts_with(line) || MARK.starts_with(sign_on) || MARK.starts_with(rest)
}

/// Whether a line that nothing ended has the shape of a whole message.
fn whole(line: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(line) else {
        return false;
    };
    let mut fields = text.split(',');
    if text.starts_with("##") {
        return fields.nth(2).is_some_and(|letter| !letter.is_empty());
    }
    let after_id = || text.split(',').skip(1);
    let count = after_id().count();
    match after_id().next() {
        Some("L") => true,
        // keyword, time, and values up to the voltage
        Some("OBD") => count >= 13,
        // keyword, time, state, number of tyres, three values of each of four
        Some("TPMS") => count >= 16,
        Some(PHOTO_PART) => photo_part(text).is_some_and(|part| part.len() == part_size(&part)),
        _ => match after_id().take(5).position(|field| matches!(field, "F" | "L")) {
            // the place up to its second letter, and the speed
            Some(fix) if after_id().nth(fix) == Some("F") => count >= fix + 8,
            Some(fix) => count >= fix + 2,
            None => false,
        },
    }
}

/// The bytes of a photo's part.
pub(super) fn photo_part(text: &str) -> Option<Vec<u8>> {
    let (_, keyed) = text.split_once(',')?;
    let (keyword, part) = keyed.split_once(',')?;
    if keyword == PHOTO_PART { unhex(part) } else { None }
}

fn part_size(part: &[u8]) -> usize {
    let payload = part.get(2..4).and_then(|size| size.first_chunk()).map_or(0, |size| usize::from(u16::from_le_bytes(*size)));
    PART_HEAD + payload + PART_TAIL
}

/// `input[..n]`, and the byte that ended it where one did.
fn frame(input: &[u8], n: usize, end: Option<usize>) -> Cut<'_> {
    let content = input.get(..n).unwrap_or(input);
    let form = end.and_then(|end| input.get(end)).copied().unwrap_or(OPEN);
    let raw = input.get(..n + usize::from(form != OPEN)).unwrap_or(input);
    Cut::Frame(Frame { raw, content, form, checksum: checksum(content) })
}

/// The sum of a photo's part over all before it. Its high byte is zero, and a part that cannot be read has none.
fn checksum(content: &[u8]) -> Checksum {
    /// `imei:`, the number and the comma.
    const KEYWORD: usize = MARK.len() + IMEI + 1;
    if content.get(KEYWORD..KEYWORD + 3) != Some(b"vr,") {
        return Checksum::Good;
    }
    let part = std::str::from_utf8(content).ok().and_then(photo_part).unwrap_or_default();
    match part.split_last_chunk::<PART_TAIL>() {
        Some((summed, [low, 0])) if sum8(summed) != *low => {
            let offset = content.len() - 2 * PART_TAIL;
            Checksum::Wrong { expected: u32::from(sum8(summed)), found: u32::from(*low), offset }
        }
        _ => Checksum::Good,
    }
}

fn garbage<'b>(n: usize) -> Cut<'b> {
    Cut::Skip(n, Fault::new(FaultKind::Garbage, 0, "neither a number nor `imei:`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "861200000000012";

    fn told(text: &str, quiet: bool) -> String {
        match cut(text.as_bytes(), quiet) {
            Cut::Frame(f) => {
                let form = if f.form == OPEN { "open".to_owned() } else { char::from(f.form).escape_default().to_string() };
                format!("frame {} of {} {form}", f.content.len(), f.raw.len())
            }
            Cut::Skip(n, fault) => format!("skip {n} {}", fault.kind.label()),
            Cut::Fill(n) => format!("fill {n}"),
            Cut::More => "more".to_owned(),
        }
    }

    #[test]
    fn accepts_every_end() {
        for (end, shown) in [(";", ";"), ("*", "*"), ("\r\n", "\\r"), ("\n", "\\n"), ("\0", "\\u{0}")] {
            assert_eq!(told(&format!("##,imei:{ID},A{end}"), false), format!("frame 25 of 26 {shown}"));
            assert_eq!(told(&format!("{ID}{end}imei:"), false), format!("frame 15 of 16 {shown}"));
        }
        assert_eq!(told(";\r\n\0 x", false), "fill 5");
    }

    #[test]
    fn the_next_frame_ends_one_without_an_end() {
        let position = format!("imei:{ID},tracker,1308282156,0,F,215630.000,A,5602.11015,N,9246.30767,E,1.4,,175.9,");
        let n = position.len();
        for next in [format!("imei:{ID},help me,"), format!("##,imei:{ID},A;"), format!("{ID}imei:{ID},move,;")] {
            assert_eq!(told(&format!("{position}{next}"), false), format!("frame {n} of {n} open"));
        }
        assert_eq!(told(&format!("{ID}{ID};"), false), "frame 15 of 15 open");
        assert_eq!(told(&format!("{ID}##,imei:{ID},A;"), false), "frame 15 of 15 open");
        assert_eq!(told(&format!("{ID}{ID}imei:{ID},move,;"), false), "frame 15 of 15 open");
        assert_eq!(told(&format!("{ID}imei:{ID},move,,,L,;"), false), "frame 45 of 46 ;");
    }

    #[test]
    fn silence_ends_only_what_has_a_whole_shape() {
        let whole = [
            ID.to_owned(),
            format!("##,imei:{ID},A"),
            format!("imei:{ID},L"),
            format!("imei:{ID},help me,000000000,1,L,"),
            format!("imei:{ID},tracker,1308282156,0,F,215630.000,A,5602.11015,N,9246.30767,E,1.4,,175.9,"),
            format!("imei:{ID},175,1301220909091,0809231929,,F,055403.000,A,2233.1870,N,11354.3067,E,0.00,,"),
            format!("imei:{ID},OBD,170613203014,,,,0,0,0.00%,0,0.00%,0,0.00,,,,"),
            format!("imei:{ID},vr,00000200ffd8d201"),
        ];
        for text in &whole {
            assert_eq!(told(text, false), "more", "{text}");
            let n = text.len();
            assert_eq!(told(text, true), format!("frame {n} of {n} open"), "{text}");
        }
        for text in [
            "86120000",
            "#",
            "##,im",
            "ime",
            "imei:8612",
            &format!("{ID}im"),
            &format!("##,imei:{ID},"),
            &format!("imei:{ID},tracker,1308282156,0,F,215630.000,A,5602.11015,N,9246.30"),
            &format!("imei:{ID},OBD,170613203014,,,,0"),
            &format!("imei:{ID},vr,00000200ffd8"),
        ] {
            assert_eq!(told(text, true), "more", "{text}");
        }
    }

    #[test]
    fn skips_what_is_no_frame() {
        assert_eq!(told("GET / HTTP/1.1\r\n", false), "skip 15 garbage");
        assert_eq!(told("GET / ", false), "more");
        assert_eq!(told("GET / ", true), "skip 6 garbage");
        assert_eq!(told("123456;", false), "skip 7 garbage");
        assert_eq!(told(&format!("000,E,0.00imei:{ID},L;"), false), "skip 10 garbage");
        assert_eq!(told(&format!("x{ID}imei:{ID},L;"), false), "skip 1 garbage");
    }

    #[test]
    fn tells_a_wrong_sum_of_a_photo_part() {
        let sum = |text: &str| match cut(text.as_bytes(), false) {
            Cut::Frame(f) => f.checksum,
            other => panic!("{other:?}"),
        };
        assert_eq!(sum(&format!("imei:{ID},vr,00000200ffd8d900;")), Checksum::Good);
        let wrong = Checksum::Wrong { expected: 0xD9, found: 0xD2, offset: 36 };
        assert_eq!(sum(&format!("imei:{ID},vr,00000200ffd8d200;")), wrong);
        assert_eq!(sum(&format!("imei:{ID},tracker,vr;")), Checksum::Good);
    }

    #[test]
    fn sealed_frames_are_cut_again() {
        for form in *b";*\r\n\0" {
            let mut out = Vec::new();
            seal(form, ID.as_bytes(), &mut out);
            assert!(matches!(cut(&out, false), Cut::Frame(f) if f.form == form && f.content == ID.as_bytes()));
        }
    }

    #[test]
    fn probes() {
        let prefixes = |text: &str| (0..=text.len()).map(|n| probe(&text.as_bytes()[..n])).collect::<Vec<_>>();
        for text in [format!("##,imei:{ID},"), format!("\r\nimei:{ID},"), format!("{ID}imei:{ID},"), format!("{ID};")] {
            let told = prefixes(&text);
            let (last, before) = told.split_last().unwrap();
            assert_eq!(*last, Probe::Yes, "{text}");
            assert!(before.iter().all(|p| *p == Probe::More), "{text}: {before:?}");
        }
        for text in ["#imei:", "##imei", "imei=1", "1,", "*HQ", "xx", "123456789;", "123456789012345678", "123456789012345\r"] {
            assert_eq!(probe(text.as_bytes()), Probe::No, "{text}");
        }
        assert_eq!(probe(format!("imei:{ID}rmc:").as_bytes()), Probe::No);
    }
}
