//! Where frames begin and end.
//!
//! ```text
//! * maker , id , word [, field]… #                 text, maker is two letters
//! $ id(5 or 8 BCD) time date place … tail          32 to 51 bytes and more, by model; nothing in it says how many
//! X mileage(5 BCD) time date place …               32 bytes
//! Y id(5 BCD) time date place …                    32 bytes, a stored report
//! P id(5 BCD) … 512 bytes of a picture             544 bytes
//! ```
//!
//! A `$` frame has neither length nor checksum, and its tail may hold any byte, marks included. So its end is believed where
//! the next frame begins, and a beginning is believed when its digits are digits and its date and time exist; where nothing
//! follows, after a silence, at one of the lengths that models are known to have. A length that has proved itself on this
//! connection is then taken as it is, because a model has one.

use crate::fault::{Fault, FaultKind};
use crate::parts::bcd;
use crate::wire::{Checksum, Cut, Frame, Probe};

/// Text up to `#`.
pub(super) const TEXT: u8 = 0;
/// Text that ends where the next frame begins.
pub(super) const OPEN_TEXT: u8 = 1;
/// `$`, its end shown by what follows or known before.
pub(super) const BINARY: u8 = 2;
/// `$`, its end shown by silence only.
pub(super) const BINARY_BY_SILENCE: u8 = 3;
/// `$`, longer than any length that is known; only its common beginning.
pub(super) const BINARY_BEGINNING: u8 = 4;
/// `X`.
pub(super) const MILEAGE: u8 = 5;
/// `Y`.
pub(super) const STORED: u8 = 6;
/// `P`.
pub(super) const PICTURE: u8 = 7;

/// Longest text that we believe in: a status reply over several lines has 200 bytes, 40 cells have 700.
pub(super) const MAX_TEXT: usize = 1024;
/// Bytes of a picture block: 32 before 512 of the picture.
pub(super) const PICTURE_BLOCK: usize = 544;
/// The common beginning of all `$` layouts, and the whole of `X` and `Y`.
pub(super) const SHORT: usize = 32;
/// Lengths that `$` frames were seen to have, the most frequent first.
const LENGTHS: [usize; 6] = [45, 32, 47, 46, 48, 51];
/// The length of the form with an id of eight bytes.
pub(super) const LONG_ID: usize = 42;
/// Longest `$` frame that we believe in: the longest seen has 51 bytes, and models add a few with each generation.
const MAX_BINARY: usize = 64;
/// How many bytes show whether a `$` frame begins: up to and including the longitude of the longer form.
const BEGINNING: usize = 25;

/// The length that this connection's `$` frames have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Known {
    /// Bytes of the id.
    pub(super) id: usize,
    /// Bytes of a frame.
    pub(super) length: usize,
}

/// Whether a frame begins at the start of some bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Begins {
    /// Certainly not.
    No,
    /// More bytes are needed.
    Perhaps,
    /// It does.
    Yes,
}

/// Look at the first bytes of a connection.
pub(super) fn probe(head: &[u8]) -> Probe {
    let skipped = head.iter().take_while(|b| is_fill(**b)).take(MAX_LEADING_FILL).count();
    match head.get(skipped..).unwrap_or_default() {
        [] => Probe::More,
        [b'*', rest @ ..] => probe_text(rest),
        binary @ [b'$', ..] => match begins_binary(binary) {
            Begins::No => Probe::No,
            Begins::Perhaps => Probe::More,
            Begins::Yes if is_jt600(binary) => Probe::No,
            Begins::Yes => Probe::Yes,
        },
        _ => Probe::No,
    }
}

/// Line ends and zeros before the first frame of a connection.
const MAX_LEADING_FILL: usize = 8;
/// An id of that many digits is proof; identities have ten to twenty.
const ID_DIGITS: usize = 5;
/// The longest id.
const MAX_ID_DIGITS: usize = 20;
/// Two letters and a comma that other families begin with.
const OTHERS: [&[u8; 2]; 3] = [b"ET", b"VK", b"ID"];
/// Words that prove a sentence whose id is empty.
const PROOF: [&[u8]; 5] = [b"V1,", b"V3,", b"V4,", b"NBR,", b"LINK,"];

fn probe_text(rest: &[u8]) -> Probe {
    let letters = rest.iter().take(2).all(u8::is_ascii_alphabetic);
    let other = rest.first_chunk::<2>().is_some_and(|maker| OTHERS.contains(&maker));
    let comma = rest.get(2).is_none_or(|b| *b == b',');
    if !letters || other || !comma {
        return Probe::No;
    }
    let id = rest.get(3..).unwrap_or_default();
    let digits = id.iter().take_while(|b| b.is_ascii_digit()).count();
    match id.get(digits) {
        None if digits <= MAX_ID_DIGITS => Probe::More,
        Some(b',' | b'#') if (ID_DIGITS..=MAX_ID_DIGITS).contains(&digits) => Probe::Yes,
        Some(b',') if digits == 0 => {
            let word = id.get(1..).unwrap_or_default();
            if PROOF.iter().any(|proof| word.starts_with(proof)) {
                Probe::Yes
            } else if PROOF.iter().any(|proof| proof.starts_with(word)) {
                Probe::More
            } else {
                Probe::No
            }
        }
        _ => Probe::No,
    }
}

/// JT600 has the same mark and an id in digits: `$ id type length records`, or with one byte more before the type, where the
/// first record begins with date and time, and the length leads behind whole records. Of the public frames of both families
/// none of ours reads so.
fn is_jt600(head: &[u8]) -> bool {
    /// The shortest JT600 frame.
    const SHORTEST: usize = 37;
    let long = head.get(8) == Some(&0);
    let at = usize::from(long);
    let length = head.get(7 + at..9 + at).and_then(|l| l.first_chunk::<2>()).map_or(0, |l| usize::from(u16::from_be_bytes(*l)));
    let stamp = head.get(9 + at..15 + at).and_then(|s| s.first_chunk::<6>());
    let dated = stamp.is_some_and(|[day, month, year, hour, minute, second]| {
        date_exists(*day, *month, *year) && time_exists(*hour, *minute, *second)
    });
    dated && (SHORTEST..=MAX_TEXT).contains(&(length + 10))
}

/// Find the first frame. `known`: the length that this connection's `$` frames have.
pub(super) fn cut(input: &[u8], known: Option<Known>, quiet: bool) -> Cut<'_> {
    let fill = input.iter().take_while(|b| is_fill(**b)).count();
    if fill > 0 {
        return Cut::Fill(fill);
    }
    match begins(input) {
        Begins::Perhaps => Cut::More,
        Begins::No => {
            // fill ends the run, so that the run is the same however the bytes were split
            let may_begin = |at: &usize| {
                let rest = input.get(*at..).unwrap_or_default();
                rest.first().is_some_and(|b| is_fill(*b)) || begins(rest) != Begins::No
            };
            Cut::Skip((1..input.len()).find(may_begin).unwrap_or(input.len()), garbage())
        }
        Begins::Yes => match input.first() {
            Some(b'*') => text(input),
            Some(b'$') => binary(input, known, quiet),
            Some(b'P') => fixed(input, PICTURE_BLOCK, PICTURE),
            Some(b'X') => fixed(input, SHORT, MILEAGE),
            _ => fixed(input, SHORT, STORED),
        },
    }
}

fn begins(input: &[u8]) -> Begins {
    match input {
        [b'*', rest @ ..] => {
            let letters = rest.iter().take(2).all(u8::is_ascii_alphabetic);
            match rest.get(2) {
                _ if !letters => Begins::No,
                None => Begins::Perhaps,
                Some(b',') => Begins::Yes,
                Some(_) => Begins::No,
            }
        }
        [b'$', ..] => begins_binary(input),
        [b'X' | b'Y', ..] => begins_with_id(input, 5),
        [b'P', ..] => {
            let id = input.get(1..).unwrap_or_default();
            // the digits alone would be weak proof of 544 bytes, so the frame's own zeros behind them count too: camera 0 or 1
            let camera = input.get(CAMERA).is_none_or(|b| matches!(b, 0 | 0x80));
            match id.len() {
                _ if !id.iter().take(5).all(|b| bcd::byte(*b).is_some()) || !camera => Begins::No,
                n if n < CAMERA => Begins::Perhaps,
                _ => Begins::Yes,
            }
        }
        _ => Begins::No,
    }
}

/// Offset of the camera in a picture block: 0x00 or 0x80.
pub(super) const CAMERA: usize = 16;

fn begins_binary(input: &[u8]) -> Begins {
    match (begins_with_id(input, 5), begins_with_id(input, 8)) {
        (Begins::Yes, _) | (_, Begins::Yes) => Begins::Yes,
        (Begins::No, Begins::No) => Begins::No,
        _ => Begins::Perhaps,
    }
}

/// Whether a report begins whose id has so many bytes: id, time, date and place, digit by digit.
fn begins_with_id(input: &[u8], id: usize) -> Begins {
    let digits =
        |from: usize, to: usize| input.get(from..).unwrap_or_default().iter().take(to - from).all(|b| bcd::byte(*b).is_some());
    let byte = |at: usize| input.get(at).copied();
    let at = 1 + id;
    // seconds beyond 59 were seen on real units, and a unit without a fix sends a date of zeros: only what no clock writes is refused
    let below = |at: usize, end: u8| byte(at).is_none_or(|b| bcd::byte(b).is_some_and(|n| n < end));
    let sane = digits(1, at + 6)
        && below(at, 24)
        && below(at + 1, 60)
        && below(at + 3, 32)
        && below(at + 4, 13)
        && place_is_sane(input.get(at + 6..).unwrap_or_default());
    match input.len() {
        _ if !sane => Begins::No,
        n if n < BEGINNING => Begins::Perhaps,
        _ => Begins::Yes,
    }
}

/// Latitude, battery, longitude: degrees and minutes that exist, or a fill of one value where there is none.
fn place_is_sane(place: &[u8]) -> bool {
    let two = |at: usize, end: u8| place.get(at).is_none_or(|b| *b == 0xFF || bcd::byte(*b).is_some_and(|n| n < end));
    let hundreds = place.get(5).is_none_or(|b| *b == 0xFF || bcd::byte(*b).is_some_and(|n| n < 19));
    two(0, 91) && two(1, 60) && hundreds
}

fn date_exists(day: u8, month: u8, year: u8) -> bool {
    let within = |b: u8, range: std::ops::RangeInclusive<u8>| bcd::byte(b).is_some_and(|n| range.contains(&n));
    within(day, 1..=31) && within(month, 1..=12) && bcd::byte(year).is_some()
}

fn time_exists(hour: u8, minute: u8, second: u8) -> bool {
    let within = |b: u8, end: u8| bcd::byte(b).is_some_and(|n| n < end);
    within(hour, 24) && within(minute, 60) && within(second, 60)
}

/// Whether models are known to have frames of this length.
pub(super) fn is_known_length(id: usize, length: usize) -> bool {
    if id == 8 { length == LONG_ID } else { LENGTHS.contains(&length) }
}

/// Whether the id of a `$` frame has five bytes or eight.
pub(super) fn id_bytes(input: &[u8]) -> usize {
    if begins_with_id(input, 5) == Begins::No { 8 } else { 5 }
}

fn text(input: &[u8]) -> Cut<'_> {
    let window = input.get(..MAX_TEXT).unwrap_or(input);
    let end = window.iter().position(|b| *b == b'#');
    let inside = window.get(..end.unwrap_or(window.len())).unwrap_or_default();
    let next = inside.windows(4).skip(1).position(|w| w.first() == Some(&b'*') && begins(w) == Begins::Yes).map(|at| at + 1);
    match (next, end) {
        // the end was lost: what is there may still be whole
        (Some(next), _) => {
            let raw = input.get(..next).unwrap_or(input);
            let fill = raw.iter().rev().take_while(|b| is_fill(**b)).count();
            let content = raw.get(..next - fill).unwrap_or(raw);
            Cut::Frame(Frame { raw, content, form: OPEN_TEXT, checksum: Checksum::Good })
        }
        (None, Some(end)) => frame(input, end + 1, TEXT),
        (None, None) if window.len() == MAX_TEXT => {
            Cut::Skip(window.len(), Fault::new(FaultKind::Oversize, 0, "no # within 1024 bytes"))
        }
        (None, None) => Cut::More,
    }
}

fn binary(input: &[u8], known: Option<Known>, quiet: bool) -> Cut<'_> {
    let id = id_bytes(input);
    let known = known.filter(|known| known.id == id).map(|known| known.length);
    let lengths: &[usize] = if id == 8 { &[LONG_ID] } else { &LENGTHS };
    let have = input.len();
    // where the length is known a frame may still be a shorter one, and what is behind it is of no interest
    for at in SHORT..known.map_or(MAX_BINARY + 1, |length| length).min(have + 1) {
        let rest = input.get(at..).unwrap_or_default();
        match next_begins(rest) {
            Begins::Yes => return frame(input, without_line_end(input, at, lengths), BINARY),
            Begins::Perhaps if !quiet => return Cut::More,
            _ => {}
        }
    }
    if let Some(length) = known {
        return fixed(input, length, BINARY);
    }
    if have < MAX_BINARY + BEGINNING && !quiet {
        return Cut::More;
    }
    if lengths.contains(&have) {
        return frame(input, have, BINARY_BY_SILENCE);
    }
    // a silence inside a frame: what is missing may still come
    if have < SHORT || quiet && have <= MAX_BINARY && have < lengths.iter().copied().max().unwrap_or(SHORT) {
        return Cut::More;
    }
    // longer than any that is known, or followed by something else: the place is in the common beginning
    let marked = lengths.iter().copied().find(|length| matches!(input.get(*length), Some(b'$' | b'*')));
    match marked {
        Some(length) => frame(input, length, BINARY),
        None => frame(input, if id == 8 { SHORT + 3 } else { SHORT }, BINARY_BEGINNING),
    }
}

/// Whether another frame begins here; a picture block or a bare mark is too weak a proof to end a frame.
fn next_begins(rest: &[u8]) -> Begins {
    match rest.first() {
        None => Begins::Perhaps,
        Some(b'P') => Begins::No,
        Some(b'$' | b'X' | b'Y') if rest.len() >= BEGINNING && !dated(rest) => Begins::No,
        Some(_) => begins(rest),
    }
}

/// Whether the date of a report is one; the fill of a frame is not.
fn dated(report: &[u8]) -> bool {
    let at = 1 + id_bytes(report) + 3;
    report.get(at..at + 3).and_then(|d| d.first_chunk::<3>()).is_some_and(|[day, month, year]| date_exists(*day, *month, *year))
}

/// Where a frame ends that is followed by a line end: before it, if that is a length that is known. A whole line end is
/// believed even where the longer frame would be one too.
fn without_line_end(input: &[u8], end: usize, lengths: &[usize]) -> usize {
    let before = input.get(..end).unwrap_or_default();
    if before.ends_with(b"\r\n") && lengths.contains(&(end - 2)) {
        return end - 2;
    }
    // the last byte of a frame may look like a part of a line end
    let fill = before.iter().rev().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    if lengths.contains(&end) { end } else { (1..=fill).map(|n| end - n).find(|end| lengths.contains(end)).unwrap_or(end) }
}

fn fixed(input: &[u8], length: usize, form: u8) -> Cut<'_> {
    if input.len() < length { Cut::More } else { frame(input, length, form) }
}

fn frame(input: &[u8], length: usize, form: u8) -> Cut<'_> {
    let raw = input.get(..length).unwrap_or(input);
    Cut::Frame(Frame { raw, content: raw, form, checksum: Checksum::Good })
}

/// Between frames these mean nothing.
fn is_fill(b: u8) -> bool {
    matches!(b, b'\r' | b'\n' | b' ' | 0)
}

fn garbage() -> Fault {
    Fault::new(FaultKind::Garbage, 0, "no frame begins here")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;

    const LONG: &str = "24123456789010000501032622325700061140304006000000fffffbffff0015060000002c01cc00262b0f170a";
    const SHORT_FRAME: &str = "2412345678901000050103262232570006114030400e000000fffffbffff0024";
    const TEXT_FRAME: &[u8] = b"*HQ,13800001234,HTBT#";

    fn bytes(hex: &str) -> Vec<u8> {
        unhex(hex).unwrap()
    }

    fn told(input: &[u8], known: Option<Known>, quiet: bool) -> String {
        match cut(input, known, quiet) {
            Cut::Frame(f) => format!("frame {} of {} form {}", f.content.len(), f.raw.len(), f.form),
            Cut::Skip(n, fault) => format!("skip {n} {}", fault.kind.label()),
            Cut::Fill(n) => format!("fill {n}"),
            Cut::More => "more".to_owned(),
        }
    }

    #[test]
    fn text_ends_at_its_mark_or_where_the_next_begins() {
        assert_eq!(told(b"*HQ,1,HTBT#\r\n", None, false), "frame 11 of 11 form 0");
        assert_eq!(told(b"\r\n*HQ", None, false), "fill 2");
        assert_eq!(told(b"*HQ,1,HTBT", None, true), "more");
        assert_eq!(told(b"*HQ,1,HTBT\r\n*HQ,1,HTBT#", None, false), "frame 10 of 12 form 1");
        assert_eq!(told(&[b"*HQ,1,".as_slice(), &[b'x'; 1100]].concat(), None, false), "skip 1024 oversize");
    }

    #[test]
    fn garbage_is_skipped_up_to_what_may_begin() {
        assert_eq!(told(b"AT+\r\n", None, false), "skip 3 garbage");
        assert_eq!(told(b"*1,$HQ*HQ,1,V1#", None, false), "skip 6 garbage");
        assert_eq!(told(b"$$$*", None, false), "skip 3 garbage");
        assert_eq!(told(b"*", None, true), "more");
    }

    #[test]
    fn a_binary_frame_ends_where_the_next_begins() {
        let (long, short) = (bytes(LONG), bytes(SHORT_FRAME));
        for (first, length) in [(&long, 45), (&short, 32)] {
            for next in [&long, &short, &TEXT_FRAME.to_vec()] {
                let both = [first.as_slice(), next].concat();
                assert_eq!(told(&both, None, false), format!("frame {length} of {length} form 2"));
                assert_eq!(told(&both[..length + 3], None, false), "more");
            }
        }
        let with_line_end = [&long[..], b"\r\n", TEXT_FRAME].concat();
        assert_eq!(told(&with_line_end, None, false), "frame 45 of 45 form 2");
        let unseen = [&long[..], &[0; 4], TEXT_FRAME].concat();
        assert_eq!(told(&unseen, None, false), "frame 49 of 49 form 2");
    }

    #[test]
    fn marks_inside_a_frame_are_no_beginning() {
        // a tail with `$` and digits that are no date, and with `*`
        let mut tricky = bytes(LONG);
        tricky.splice(32..40, [b'$', 0, 0, 0, 0, 0, b'*', 0x41]);
        let both = [&tricky[..], &bytes(LONG)].concat();
        assert_eq!(told(&both, None, false), "frame 45 of 45 form 2");
    }

    #[test]
    fn silence_ends_a_frame_of_a_known_length_only() {
        let long = bytes(LONG);
        assert_eq!(told(&long, None, false), "more");
        assert_eq!(told(&long, None, true), "frame 45 of 45 form 3");
        assert_eq!(told(&long[..40], None, true), "more");
        assert_eq!(told(&long[..20], None, true), "more");
        let known = Some(Known { id: 5, length: 45 });
        assert_eq!(told(&long, known, false), "frame 45 of 45 form 2");
        assert_eq!(told(&[&long[..], &[0; 60]].concat(), None, false), "frame 32 of 32 form 4");
    }

    #[test]
    fn an_id_of_eight_bytes_has_its_own_length() {
        let frame = bytes("2486120000000000121047590103262627335900074412294e024138feffffffff01120064ba73005ecc");
        assert_eq!(frame.len(), LONG_ID);
        assert_eq!(id_bytes(&frame), 8);
        assert_eq!(told(&frame, Some(Known { id: 5, length: 32 }), true), "frame 42 of 42 form 3");
    }

    #[test]
    fn other_marks_have_their_own_lengths() {
        let mut frame = bytes(SHORT_FRAME);
        frame[0] = b'X';
        assert_eq!(told(&frame, None, false), "frame 32 of 32 form 5");
        frame[0] = b'Y';
        assert_eq!(told(&frame[..31], None, false), "more");
        assert_eq!(told(&frame, None, false), "frame 32 of 32 form 6");
        let mut picture = vec![0; PICTURE_BLOCK];
        picture[..6].copy_from_slice(b"P\x12\x34\x56\x78\x90");
        assert_eq!(told(&picture, None, false), "frame 544 of 544 form 7");
        picture[CAMERA] = 7;
        assert_eq!(told(&picture[..30], None, false), "skip 6 garbage");
    }

    #[test]
    fn probes() {
        let yes = [b"*HQ,13800001234,V1,1".as_slice(), b"\r\n*TH,12345#", b"*HQ,,V1,", &bytes(LONG), &bytes(SHORT_FRAME)];
        for head in yes {
            assert_eq!(probe(head), Probe::Yes, "{:?}", String::from_utf8_lossy(head));
            assert!((0..4).all(|n| probe(&head[..n]) == Probe::More));
        }
        let no = [b"*ET,135790246811221,DW".as_slice(), b"*GS16,", b"*HQ2008", b"*HQ,12x", b"*HQ,,A", b"$GPRMC", b"X1", b"(1"];
        for head in no {
            assert_eq!(probe(head), Probe::No, "{:?}", String::from_utf8_lossy(head));
        }
        let jt600 = bytes("24123456789011001b0103261000002232970011404b7fb0598095080012327951435161f0");
        assert_eq!(probe(&jt600), Probe::No);
    }
}
