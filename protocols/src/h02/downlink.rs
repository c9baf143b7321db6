//! What is said to a device: the sentences of the documents, written and read.
//!
//! ```text
//! * maker , id , word , hhmmss [, parameter]… #      a command; its answer is V4,word,…
//! * maker , id , V4 , word , yyyyMMddhhmmss #        a report was received
//! * maker , id , word #                              a heartbeat came back
//! CXZT                                               bare words, as in a short message
//! ```
//! Times are UTC. The dispatch screen's text is the one sentence without an end: its length stands before it.

use crate::cursor::{Cursor, Trace};
use crate::fault::{Fault, FaultKind};
use crate::h02::fields::{Fields, no_such, pairs, whole};
use crate::h02::identity::{Id, Maker};
use crate::h02::screen::ScreenText;
use crate::time::Timestamp;

/// A message to a device.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Downlink {
    pub(super) maker: Maker,
    pub(super) id: Id,
    pub(super) say: Say,
}

/// What it says.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Say {
    /// `V4`: a report of this type was received at this time.
    Received(Report, Timestamp),
    /// The heartbeat came back.
    Echo(Beat),
    /// A command, with the time of day that its answer repeats.
    Command([u8; 3], Order),
    /// Words as they are, without a frame around them.
    Bare(Words),
}

/// Reports that wait for their acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    V1,
    Nbr,
}

/// Heartbeats that wait for their echo.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beat {
    V0,
    Htbt,
}

impl Report {
    pub(super) const ALL: [(Self, &'static str); 2] = [(Self::V1, "V1"), (Self::Nbr, "NBR")];

    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == word).map(|(report, _)| report)
    }
}

impl Beat {
    pub(super) const ALL: [(Self, &'static str); 2] = [(Self::V0, "V0"), (Self::Htbt, "HTBT")];

    pub(super) fn of(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|(_, known)| *known == word).map(|(beat, _)| beat)
    }
}

/// Text that can stand in a sentence: printable ASCII without its marks, commas allowed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Words(String);

/// Longest parameters, bytes: an address, a number and a password fit many times.
const MAX_WORDS: usize = 256;

impl Words {
    /// `None` if a mark or something unprintable is in it, or it is too long.
    pub(super) fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        let fits = text.len() <= MAX_WORDS && text.bytes().all(|b| matches!(b, b' '..=b'~') && !matches!(b, b'*' | b'#' | b'$'));
        fits.then_some(Self(text))
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// Commands.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Order {
    /// `R12`: a report was received.
    Received,
    /// `S20`: cut the fuel or give it back at once; or cut it when the engine stands, by these parameters.
    Fuel(Fuel),
    /// `D1`: report at this interval, so often (absent: until told otherwise).
    Interval {
        /// Seconds.
        interval_s: u32,
        /// How often.
        count: Option<u32>,
    },
    /// `S71`: report at this interval, seconds.
    ReportInterval(u32),
    /// `S17`: report at this interval, seconds; the older word.
    OldInterval(u32),
    /// `SCF`: arm or disarm the alarm.
    Arm(bool),
    /// `S6`: close or open the central lock.
    CentralLock(bool),
    /// `S14`: alarm above and below these speeds, in knots, when they last.
    SpeedLimits {
        /// Knots.
        max_kn: u16,
        /// Knots.
        min_kn: u16,
        /// Seconds.
        lasting_s: u16,
    },
    /// `S23`: connect to another server; the last parameter is documented nowhere.
    Server {
        /// IPv4 address.
        address: [u8; 4],
        /// TCP port.
        port: u16,
        /// As it is.
        last: Words,
    },
    /// `I1`: show a text on the dispatch screen.
    Show(ScreenText),
    /// A command of no or undocumented parameters.
    Plain(&'static str, Words),
}

/// What `S20` does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Fuel {
    /// Cut.
    Cut,
    /// Give back.
    Restore,
    /// Cut as soon as the engine's signal allows, by these parameters.
    Dynamic(Words),
}

/// Words whose parameters are none, or whatever the operator knows of his model; with what each does.
pub(super) static PLAIN: &[(&str, &str)] = &[
    ("A1", "confirm alarms"),
    ("R1", "restart"),
    ("R7", "end alarms"),
    ("R8", "listen in"),
    ("S1", "report the position"),
    ("S18", "fence alarm mode"),
    ("S19", "user alarms"),
    ("S2", "SMS centre"),
    ("S21", "fence"),
    ("S22", "delete a fence"),
    ("S24", "APN"),
    ("S25", "factory settings"),
    ("S26", "query parameters"),
    ("S28", "setting 28"),
    ("S29", "setting 29"),
    ("S30", "setting 30"),
    ("S31", "setting 31"),
    ("S32", "setting 32"),
    ("S33", "setting 33"),
    ("S34", "setting 34"),
    ("S35", "setting 35"),
    ("S36", "setting 36"),
    ("S37", "setting 37"),
    ("S38", "setting 38"),
    ("S39", "take a picture"),
    ("S4", "security"),
    ("S40", "setting 40"),
    ("S5", "call barring"),
    ("S9", "setting 9"),
];

/// What the other words do, for a person.
static TITLES: &[(&str, &str)] = &[
    ("D1", "report at an interval"),
    ("HTBT", "heartbeat came back"),
    ("R12", "report was received"),
    ("S14", "speed limits"),
    ("S17", "report interval, older word"),
    ("S20", "fuel"),
    ("S23", "server"),
    ("S6", "central lock"),
    ("S71", "report interval"),
    ("SCF", "arm or disarm"),
    ("V0", "heartbeat came back"),
    ("V4", "report was received"),
];

/// Bare words that are known: the status request, and what passes on a short message.
const BARE: [&str; 3] = ["CXZT", "555", "666"];

/// The word that shows a text.
pub(super) const SHOW: &str = "I1";

/// The kind of interval that `S71` sets.
const REPORTS: u32 = 22;

impl Downlink {
    /// One of each.
    pub(super) fn samples() -> Vec<Self> {
        let (maker, id) = (Maker::COMMON, Id::of(b"13800001234").unwrap_or(Id::NONE));
        let words = |text: &str| Words(text.to_owned());
        let at = Timestamp::from_millis(1_772_359_205_000);
        let command = |order| Say::Command([10, 0, 5], order);
        let received = Report::ALL.map(|(report, _)| Say::Received(report, at));
        let echoes = Beat::ALL.map(|(beat, _)| Say::Echo(beat));
        let orders = [
            Order::Received,
            Order::Fuel(Fuel::Cut),
            Order::Fuel(Fuel::Restore),
            Order::Fuel(Fuel::Dynamic(words("3,10,5"))),
            Order::Interval { interval_s: 30, count: None },
            Order::Interval { interval_s: 10, count: Some(6) },
            Order::ReportInterval(60),
            Order::OldInterval(20),
            Order::Arm(true),
            Order::Arm(false),
            Order::CentralLock(true),
            Order::CentralLock(false),
            Order::SpeedLimits { max_kn: 60, min_kn: 0, lasting_s: 10 },
            Order::Server { address: [192, 0, 2, 1], port: 5013, last: words("10") },
            Order::Show(ScreenText::new(b"\xC8\xA5 Main St 5?").0),
        ];
        let plain = PLAIN.iter().flat_map(|(word, _)| ["", "1,2"].map(|parameters| Order::Plain(word, words(parameters))));
        let says = received.into_iter().chain(echoes).chain(orders.into_iter().chain(plain).map(command));
        let framed = says.map(|say| Self { maker, id, say });
        let bare = BARE.map(|text| Self { maker, id: Id::NONE, say: Say::Bare(words(text)) });
        framed.chain(bare).collect()
    }

    /// Write it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Say::Bare(words) = &self.say {
            return out.extend_from_slice(words.as_str().as_bytes());
        }
        out.push(b'*');
        out.extend_from_slice(self.maker.bytes());
        // a command to whoever is at the other end
        let nobody = self.id.is_none() && matches!(self.say, Say::Command(..));
        field(out, if nobody { b"0000" } else { self.id.as_str().as_bytes() });
        match &self.say {
            Say::Received(report, at) => {
                field(out, b"V4");
                field(out, Report::ALL.iter().find(|(r, _)| r == report).map_or("", |(_, word)| word).as_bytes());
                let c = at.civil(0);
                out.push(b',');
                digits(out, u32::from(c.year), 4);
                [c.month, c.day, c.hour, c.minute, c.second].iter().for_each(|n| digits(out, u32::from(*n), 2));
            }
            Say::Echo(beat) => field(out, Beat::ALL.iter().find(|(b, _)| b == beat).map_or("", |(_, word)| word).as_bytes()),
            Say::Command(time, order) => {
                field(out, order.word().as_bytes());
                out.push(b',');
                time.iter().for_each(|n| digits(out, u32::from(*n), 2));
                if order.write(out) {
                    return;
                }
            }
            Say::Bare(_) => {}
        }
        out.push(b'#');
    }

    /// Read one whole sentence.
    ///
    /// # Errors
    /// What is no sentence of ours.
    pub(super) fn read(raw: &[u8], mut trace: Option<&mut Trace>) -> Result<Self, Fault> {
        let mut c = Cursor::new(raw, 0, trace.as_deref_mut());
        if raw.first() != Some(&b'*') {
            let text = c.take_rest("words");
            let words =
                str::from_utf8(text).ok().map(str::trim_ascii).filter(|text| BARE.iter().any(|bare| text.starts_with(bare)));
            let words =
                words.and_then(Words::new).ok_or_else(|| Fault::new(FaultKind::Value, 0, "no sentence and no bare words"))?;
            name(trace, "bare words");
            return Ok(Self { maker: Maker::COMMON, id: Id::NONE, say: Say::Bare(words) });
        }
        let maker = c.bytes("maker", 3)?.get(1..).unwrap_or_default();
        let maker = Maker::of(maker);
        c.bytes("comma", 1)?;
        let mut f = Fields { c: &mut c };
        let id = Id::of(f.need("id")?).ok_or_else(|| Fault::new(FaultKind::Value, 4, "the id is none"))?;
        let at = f.c.offset();
        let rest = f.c.rest();
        if rest.starts_with(b"I1,") {
            f.next("word");
            let time = time(&mut f)?;
            let text = ScreenText::read(&mut f)?;
            name(trace, "I1 show a text");
            return Ok(Self { maker, id, say: Say::Command(time, Order::Show(text)) });
        }
        let sentence = rest
            .trim_ascii_end()
            .strip_suffix(b"#")
            .ok_or_else(|| Fault::new(FaultKind::Truncated, raw.len(), "no # at the end"))?;
        let mut c = Cursor::new(sentence, at, trace.as_deref_mut());
        let mut f = Fields { c: &mut c };
        let word = f.need("word")?;
        let word = str::from_utf8(word).map_err(|_| no_such(at, "word", word))?;
        let say = say(word, at, &mut f)?;
        f.c.take_rest("rest");
        name(trace, word);
        Ok(Self { maker, id, say })
    }
}

fn name(trace: Option<&mut Trace>, word: &str) {
    if let Some(trace) = trace {
        let what = PLAIN.iter().chain(TITLES).find(|(known, _)| *known == word).map_or("", |(_, what)| what);
        trace.title = format!("{word} {what}").trim_end().to_owned();
    }
}

fn say(word: &str, at: usize, f: &mut Fields<'_, '_, '_>) -> Result<Say, Fault> {
    if let Some(beat) = Beat::of(word) {
        return Ok(Say::Echo(beat));
    }
    if word == "V4" {
        let at = f.c.offset();
        let of = f.need("report")?;
        let report = str::from_utf8(of).ok().and_then(Report::of).ok_or_else(|| no_such(at, "report", of))?;
        let at = f.c.offset();
        let stamp = f.need("time")?;
        return received_at(stamp).map(|time| Say::Received(report, time)).ok_or_else(|| no_such(at, "time", stamp));
    }
    let time = time(f)?;
    order(word, at, f).map(|order| Say::Command(time, order))
}

/// `yyyyMMddhhmmss`.
fn received_at(stamp: &[u8]) -> Option<Timestamp> {
    let (century, rest) = stamp.split_at_checked(2)?;
    let (date, time) = rest.split_at_checked(6)?;
    let [year, month, day] = pairs(date)?;
    let civil = crate::time::Civil::from_six([year, month, day, 0, 0, 0]);
    let [hour, minute, second] = pairs(time)?;
    (century == b"20").then_some(())?;
    Timestamp::from_civil(crate::time::Civil { hour, minute, second, ..civil }, 0)
}

fn time(f: &mut Fields<'_, '_, '_>) -> Result<[u8; 3], Fault> {
    let at = f.c.offset();
    let field = f.need("time")?;
    pairs(field).ok_or_else(|| no_such(at, "time", field))
}

fn order(word: &str, at: usize, f: &mut Fields<'_, '_, '_>) -> Result<Order, Fault> {
    let order = match word {
        "R12" => Order::Received,
        "S20" => match f.ahead().collect::<Vec<_>>().as_slice() {
            [b"1", b"1", ..] => Order::Fuel(Fuel::Cut),
            [b"1", b"0", ..] => Order::Fuel(Fuel::Restore),
            _ => {
                let at = f.c.offset();
                let kind = f.need("kind")?;
                if kind != b"0" {
                    return Err(no_such(at, "kind", kind));
                }
                Order::Fuel(Fuel::Dynamic(words(f)?))
            }
        },
        "D1" => Order::Interval {
            interval_s: f.whole("interval_s", 10)?,
            count: if f.c.remaining() > 0 { Some(f.whole("count", 10)?) } else { None },
        },
        "S71" => {
            let at = f.c.offset();
            let kind: u32 = f.whole("kind", 10)?;
            if kind != REPORTS {
                return Err(Fault::new(FaultKind::Value, at, format!("S71 of kind {kind}")));
            }
            Order::ReportInterval(f.whole("interval_s", 10)?)
        }
        "S17" => Order::OldInterval(f.whole("interval_s", 10)?),
        "SCF" => {
            let at = f.c.offset();
            match (f.need("armed")?, f.need("armed")?) {
                (b"0", b"0") => Order::Arm(true),
                (b"1", b"1") => Order::Arm(false),
                (other, _) => return Err(no_such(at, "state", other)),
            }
        }
        "S6" => Order::CentralLock(flag(f)?),
        "S14" => {
            let (max_kn, min_kn) = (f.whole("max_kn", 10)?, f.whole("min_kn", 10)?);
            f.need("on")?;
            Order::SpeedLimits { max_kn, min_kn, lasting_s: f.whole("lasting_s", 10)? }
        }
        "S23" => {
            let mut address = [0; 4];
            for slot in &mut address {
                *slot = f.whole("address", 10)?;
            }
            Order::Server { address, port: f.whole("port", 10)?, last: words(f)? }
        }
        _ => {
            let plain = PLAIN.iter().find(|(known, _)| *known == word).map(|(known, _)| *known);
            let Some(plain) = plain else {
                return Err(Fault::new(FaultKind::Value, at, format!("`{}` is no command", word.escape_debug())));
            };
            Order::Plain(plain, words(f)?)
        }
    };
    Ok(order)
}

fn words(f: &mut Fields<'_, '_, '_>) -> Result<Words, Fault> {
    let at = f.c.offset();
    let bytes = f.c.take_rest("parameters");
    f.c.show(|| String::from_utf8_lossy(bytes).into_owned());
    str::from_utf8(bytes).ok().and_then(Words::new).ok_or_else(|| no_such(at, "parameter", bytes))
}

fn flag(f: &mut Fields<'_, '_, '_>) -> Result<bool, Fault> {
    let at = f.c.offset();
    match f.need("state")? {
        b"0" => Ok(false),
        b"1" => Ok(true),
        other => Err(no_such(at, "state", other)),
    }
}

impl Order {
    /// The keyword.
    pub(super) const fn word(&self) -> &str {
        match self {
            Self::Received => "R12",
            Self::Fuel(_) => "S20",
            Self::Interval { .. } => "D1",
            Self::ReportInterval(_) => "S71",
            Self::OldInterval(_) => "S17",
            Self::Arm(_) => "SCF",
            Self::CentralLock(_) => "S6",
            Self::SpeedLimits { .. } => "S14",
            Self::Server { .. } => "S23",
            Self::Show(_) => SHOW,
            Self::Plain(word, _) => word,
        }
    }

    /// Write the parameters. True if nothing may follow, not even the end mark.
    fn write(&self, out: &mut Vec<u8>) -> bool {
        match self {
            Self::Received => {}
            Self::Fuel(Fuel::Cut) => out.extend_from_slice(b",1,1"),
            Self::Fuel(Fuel::Restore) => out.extend_from_slice(b",1,0"),
            Self::Fuel(Fuel::Dynamic(words)) => {
                field(out, b"0");
                parameters(out, words);
            }
            Self::Interval { interval_s, count } => {
                numeral(out, *interval_s);
                count.iter().for_each(|count| numeral(out, *count));
            }
            Self::ReportInterval(interval_s) => {
                numeral(out, REPORTS);
                numeral(out, *interval_s);
            }
            Self::OldInterval(interval_s) => numeral(out, *interval_s),
            Self::Arm(armed) => out.extend_from_slice(if *armed { b",0,0" } else { b",1,1" }),
            Self::CentralLock(locked) => numeral(out, u32::from(*locked)),
            Self::SpeedLimits { max_kn, min_kn, lasting_s } => {
                for n in [*max_kn, *min_kn, 1, *lasting_s] {
                    numeral(out, u32::from(n));
                }
            }
            Self::Server { address, port, last } => {
                address.iter().for_each(|part| numeral(out, u32::from(*part)));
                numeral(out, u32::from(*port));
                parameters(out, last);
            }
            Self::Plain(_, words) => parameters(out, words),
            Self::Show(text) => {
                text.write(out);
                return true;
            }
        }
        false
    }
}

fn parameters(out: &mut Vec<u8>, words: &Words) {
    if !words.as_str().is_empty() {
        field(out, words.as_str().as_bytes());
    }
}

/// A comma, then text.
pub(super) fn field(out: &mut Vec<u8>, text: &[u8]) {
    out.push(b',');
    out.extend_from_slice(text);
}

/// A comma, then a number.
pub(super) fn numeral(out: &mut Vec<u8>, n: u32) {
    out.push(b',');
    let width = n.checked_ilog10().map_or(1, |log| log + 1);
    digits(out, n, width);
}

/// So many digits.
fn digits(out: &mut Vec<u8>, n: u32, width: u32) {
    for place in (0..width).rev() {
        out.push(b'0' + (n / 10_u32.pow(place) % 10) as u8);
    }
}

/// A number of a sentence, for those who read further ones.
pub(super) fn number(f: &mut Fields<'_, '_, '_>, name: &str) -> Result<u32, Fault> {
    let at = f.c.offset();
    let field = f.need(name)?;
    whole(field, 10).ok_or_else(|| no_such(at, name, field))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(say: Say) -> String {
        let mut out = Vec::new();
        Downlink { maker: Maker::COMMON, id: Id::of(b"123456789012345").unwrap(), say }.write(&mut out);
        String::from_utf8(out).unwrap()
    }

    fn read(text: &str) -> Result<Downlink, Fault> {
        Downlink::read(text.as_bytes(), None)
    }

    #[test]
    fn sentences_as_published() {
        let command = |order| written(Say::Command([1, 2, 3], order));
        assert_eq!(command(Order::Fuel(Fuel::Cut)), "*HQ,123456789012345,S20,010203,1,1#");
        assert_eq!(command(Order::Arm(false)), "*HQ,123456789012345,SCF,010203,1,1#");
        assert_eq!(command(Order::ReportInterval(10)), "*HQ,123456789012345,S71,010203,22,10#");
        assert_eq!(
            command(Order::SpeedLimits { max_kn: 60, min_kn: 0, lasting_s: 10 }),
            "*HQ,123456789012345,S14,010203,60,0,1,10#"
        );
        assert_eq!(written(Say::Echo(Beat::Htbt)), "*HQ,123456789012345,HTBT#");
        let at = Timestamp::parse("2026-11-23T02:49:04Z").unwrap();
        assert_eq!(written(Say::Received(Report::V1, at)), "*HQ,123456789012345,V4,V1,20261123024904#");
        assert_eq!(command(Order::Received), "*HQ,123456789012345,R12,010203#");
    }

    #[test]
    fn what_is_written_is_read_again() {
        for sample in Downlink::samples() {
            let mut out = Vec::new();
            sample.write(&mut out);
            let mut trace = Trace::default();
            let again = Downlink::read(&out, Some(&mut trace)).unwrap_or_else(|e| panic!("{sample:?}: {e}"));
            assert_eq!(again, sample);
            assert!(!trace.title.is_empty() && !trace.fields.is_empty(), "{sample:?}");
        }
    }

    #[test]
    fn refuses_what_is_no_sentence() {
        let kinds = [
            ("", FaultKind::Value),
            ("hello", FaultKind::Value),
            ("*HQ,1,S20,010203,1,1", FaultKind::Truncated),
            ("*HQ,1,S20,010203,2#", FaultKind::Value),
            ("*HQ,1,S99,010203#", FaultKind::Value),
            ("*HQ,1,R1,0102#", FaultKind::Value),
            ("*HQ,1,R1#", FaultKind::Truncated),
            ("*HQ,1,S71,010203,23,5#", FaultKind::Value),
            ("*HQ,1,SCF,010203,0,1#", FaultKind::Value),
            ("*HQ,1,S6,010203,2#", FaultKind::Value),
            ("*HQ,1,V4,V9,20261123024904#", FaultKind::Value),
            ("*HQ,1,V4,V1,20261323024904#", FaultKind::Value),
            ("*HQ,1,S23,010203,1,2,3,400,80,1#", FaultKind::Value),
            ("*HQ,1,I1,010203,0,0,4,ab", FaultKind::Truncated),
            ("*HQ,1,I1,010203,0,0,9,ab", FaultKind::Length),
        ];
        for (text, kind) in kinds {
            assert_eq!(read(text).unwrap_err().kind, kind, "{text}");
        }
    }

    #[test]
    fn words_that_would_break_a_sentence_cannot_be() {
        assert!(Words::new("a,b 1").is_some());
        for bad in ["a#", "*", "$", "\n", "京"] {
            assert_eq!(Words::new(bad), None);
        }
        assert_eq!(Words::new("x".repeat(MAX_WORDS + 1)), None);
    }

    #[test]
    fn the_list_of_plain_words_is_sorted() {
        assert!(PLAIN.is_sorted_by(|a, b| a.0 < b.0));
    }
}
