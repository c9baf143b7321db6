//! What goes to the device: the two answers, and commands.
//!
//! ```text
//! LOAD                                  answers a sign-on
//! ON                                    answers a heartbeat
//! **,imei:861200000000012,C,30s;        a command by its letter, as the document of 2010 has it
//! **,imei:861200000000012,101,30s;      the same by its number, as that of 2014 has it
//! ```
//!
//! The `;` is left out by some servers, and devices do not mind.

use std::fmt;

use crate::cursor::{Cursor, Trace};
use crate::fault::{Fault, FaultKind};
use crate::gps103::dialect::Codes;
use crate::gps103::reply::{self, Imei};
use crate::time::{Civil, Timestamp};

/// Longest text on a screen, bytes.
pub(super) const MAX_TEXT: usize = 235;
/// Longest text on the board of light, bytes.
pub(super) const MAX_BOARD_TEXT: usize = 200;
/// How many characters an order number has.
pub(super) const ORDER_DIGITS: usize = 13;
/// Longest order number that is read.
const MAX_ORDER: usize = 20;
/// Longest name of a command that is read.
const MAX_CODE: usize = 8;

/// A message to the device.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Downlink {
    /// The sign-on is heard.
    Load,
    /// The heartbeat is heard.
    On,
    /// A command.
    Do {
        /// Whom it is for.
        imei: Imei,
        /// What.
        words: Words,
        /// Whether a `;` ends it.
        closed: bool,
    },
}

/// A command and what belongs to it.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Words {
    /// One that nothing belongs to.
    Plain(Plain, Codes),
    /// Report every so often.
    Track(Interval, Codes),
    /// Report after every so many metres.
    Distance(u16, Codes),
    /// Tell when the parked car is moved so many metres.
    Moved(u16),
    /// Tell when it is faster, km/h.
    Speed(u16, Codes),
    /// Hours east of UTC.
    Zone(i8, Codes),
    /// Tell when it crosses the border between these corners.
    Fence([Point; 2], Codes),
    /// Hand over what was stored on this day.
    Upload(Day, Codes),
    /// Report when the course changes by so many degrees.
    Corners(u16),
    /// A round area of this number, and its radius in metres.
    Area(Point, u8, u16),
    /// Connect there.
    Server(Text, u16),
    /// Show a text.
    Announce(Text),
    /// Offer an order.
    Offer(OrderNumber, Text),
    /// The order is this driver's.
    Won(OrderNumber, Text),
    /// Another driver was faster.
    Lost(OrderNumber),
    /// The order is no more.
    Cancelled(OrderNumber),
    /// A line of the board of light, and what it shows.
    Board(u8, Text),
    /// What has no words here, as it is.
    Other(Code, Option<Text>),
}

/// Commands that nothing belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Locate,
    StopTracking,
    Silence,
    MoveAlarm,
    NoMoveAlarm,
    CutFuel,
    RestoreFuel,
    Arm,
    Disarm,
    SmsMode,
    NoFence,
    NoUpload,
    LessTraffic,
    FullTraffic,
    VibrationAlarm,
    NoVibrationAlarm,
    Start,
    Photo,
}

/// Their letter, where the document of 2010 or servers of that time have one, and their number.
const PLAIN: &[(Plain, &str, &str)] = &[
    (Plain::Locate, "B", "100"),
    (Plain::StopTracking, "D", "102"),
    (Plain::Silence, "E", "104"),
    (Plain::MoveAlarm, "G", ""),
    (Plain::NoMoveAlarm, "", "106"),
    (Plain::CutFuel, "J", "109"),
    (Plain::RestoreFuel, "K", "110"),
    (Plain::Arm, "L", "111"),
    (Plain::Disarm, "M", "112"),
    (Plain::SmsMode, "N", "113"),
    (Plain::NoFence, "P", "115"),
    (Plain::NoUpload, "S", "117"),
    (Plain::LessTraffic, "", "118"),
    (Plain::FullTraffic, "", "119"),
    (Plain::VibrationAlarm, "", "123"),
    (Plain::NoVibrationAlarm, "", "124"),
    (Plain::Start, "", "125"),
    (Plain::Photo, "", "160"),
];

impl Plain {
    /// The command; in the other language where this one has no word for it.
    pub(super) fn in_codes(self, codes: Codes) -> Words {
        let row = PLAIN.iter().find(|(plain, ..)| *plain == self);
        let codes = match (codes, row) {
            (Codes::Letters, Some((_, "", _))) => Codes::Numbers,
            (Codes::Numbers, Some((_, _, ""))) => Codes::Letters,
            _ => codes,
        };
        Words::Plain(self, codes)
    }

    fn code(self, codes: Codes) -> &'static str {
        let row = PLAIN.iter().find(|(plain, ..)| *plain == self);
        row.map_or("", |(_, letter, number)| if codes == Codes::Letters { letter } else { number })
    }
}

/// Letter and number of the commands that something belongs to.
const TRACK: [&str; 2] = ["C", "101"];
const DISTANCE: [&str; 2] = ["F", "103"];
const SPEED: [&str; 2] = ["H", "107"];
const ZONE: [&str; 2] = ["I", "108"];
const FENCE: [&str; 2] = ["O", "114"];
const UPLOAD: [&str; 2] = ["Q", "116"];

const fn pick(code: [&'static str; 2], codes: Codes) -> &'static str {
    let [letter, number] = code;
    match codes {
        Codes::Letters => letter,
        Codes::Numbers => number,
    }
}

/// Text that cannot end a command early.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Text(Box<[u8]>);

impl Text {
    /// `None` if it is longer, or holds what ends a frame.
    pub(super) fn new(bytes: &[u8], max: usize) -> Option<Self> {
        let fits = bytes.len() <= max && !bytes.iter().any(|b| matches!(b, b';' | b'\r' | b'\n' | 0));
        fits.then(|| Self(bytes.into()))
    }
}

impl fmt::Debug for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&String::from_utf8_lossy(&self.0), f)
    }
}

/// The dispatch centre's number of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OrderNumber(Box<str>);

impl OrderNumber {
    /// `None` if it is none: no printable ASCII, or with what ends a field.
    pub(super) fn new(text: &str) -> Option<Self> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b',' | b';' | b'*'));
        ((1..=MAX_ORDER).contains(&text.len()) && plain).then(|| Self(text.into()))
    }

    /// As it goes out.
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

/// The name of a command that has no words here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Code(Box<str>);

impl Code {
    /// `None` if it is none: letters and digits only.
    pub(super) fn new(text: &str) -> Option<Self> {
        ((1..=MAX_CODE).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric())).then(|| Self(text.into()))
    }
}

/// How often.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Interval {
    count: u8,
    unit: u8,
}

impl Interval {
    /// Seconds in each unit.
    const UNITS: [(u8, u32); 3] = [(b's', 1), (b'm', 60), (b'h', 3600)];
    /// Two digits.
    const MAX: u32 = 99;

    /// The interval that is nearest below; `None` for none at all and for more than 99 hours.
    pub(super) fn of_seconds(seconds: u32) -> Option<Self> {
        let fits = |(unit, size): &(u8, u32)| {
            let count = seconds / size;
            u8::try_from(count).ok().filter(|_| (1..=Self::MAX).contains(&count)).map(|count| Self { count, unit: *unit })
        };
        // what can be said exactly is
        let exact = Self::UNITS.iter().filter(|(_, size)| seconds.is_multiple_of(*size)).find_map(fits);
        exact.or_else(|| Self::UNITS.iter().find_map(fits))
    }

    /// How long it is.
    pub(super) fn seconds(self) -> u32 {
        let size = Self::UNITS.iter().find(|(unit, _)| *unit == self.unit).map_or(1, |(_, size)| *size);
        u32::from(self.count) * size
    }

    fn read(text: &str) -> Option<Self> {
        let (unit, digits) = text.as_bytes().split_last()?;
        let count = std::str::from_utf8(digits).ok()?.parse().ok().filter(|n| (1..=Self::MAX).contains(&u32::from(*n)))?;
        Self::UNITS.iter().any(|(u, _)| u == unit).then_some(Self { count, unit: *unit })
    }
}

/// A place in millionths of degrees, north and east positive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    latitude: i32,
    longitude: i32,
}

impl Point {
    /// `None` if there is no such place.
    pub(super) fn new(latitude: f64, longitude: f64) -> Option<Self> {
        let millionths = |degrees: f64| (degrees * 1e6).round() as i32;
        let there = crate::parts::geo::on_earth(latitude, longitude);
        there.then(|| Self { latitude: millionths(latitude), longitude: millionths(longitude) })
    }

    fn read(latitude: &str, longitude: &str) -> Option<Self> {
        let number = crate::gps103::fields::number;
        Self::new(number(latitude)?, number(longitude)?)
    }
}

impl fmt::Display for Point {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.6},{:.6}", f64::from(self.latitude) / 1e6, f64::from(self.longitude) / 1e6)
    }
}

/// A day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Day {
    year: u16,
    month: u8,
    day: u8,
}

impl Day {
    /// `None` if there is no such day.
    pub(super) fn new(year: u16, month: u8, day: u8) -> Option<Self> {
        let civil = Civil { year, month, day, hour: 0, minute: 0, second: 0 };
        Timestamp::from_civil(civil, 0).filter(|_| year >= 2000).map(|_| Self { year, month, day })
    }

    fn read(text: &str) -> Option<Self> {
        let digits = text.len() == 8 && text.bytes().all(|b| b.is_ascii_digit());
        let part = |range| text.get(range).and_then(|t: &str| t.parse::<u16>().ok());
        let byte = |range| part(range).and_then(|n| u8::try_from(n).ok());
        if digits { Self::new(part(0..4)?, byte(4..6)?, byte(6..8)?) } else { None }
    }
}

impl Words {
    /// The command's name, and what belongs to it.
    fn written(&self) -> (&str, Option<Vec<u8>>) {
        let text = |text: String| Some(text.into_bytes());
        let order = |number: &OrderNumber, details: &Text| Some([number.as_str().as_bytes(), b",".as_slice(), &details.0].concat());
        match self {
            Self::Plain(plain, codes) => (plain.code(*codes), None),
            Self::Track(every, codes) => {
                let unit = char::from(every.unit);
                let count = every.count;
                (
                    pick(TRACK, *codes),
                    text(if *codes == Codes::Letters { format!("{count:02}{unit}") } else { format!("{count}{unit}") }),
                )
            }
            Self::Distance(m, codes) => {
                (pick(DISTANCE, *codes), text(if *codes == Codes::Letters { format!("{m:04}m") } else { format!("{m}m") }))
            }
            Self::Moved(m) => ("105", text(format!("{m}m"))),
            Self::Speed(kmh, codes) => (pick(SPEED, *codes), text(format!("{kmh:03}"))),
            Self::Zone(hours, codes) => (pick(ZONE, *codes), text(format!("{hours:+}"))),
            Self::Fence([from, to], codes) => (pick(FENCE, *codes), text(format!("{from};{to}"))),
            Self::Upload(Day { year, month, day }, codes) => (pick(UPLOAD, *codes), text(format!("{year}{month:02}{day:02}"))),
            Self::Corners(degrees) => ("120", text(degrees.to_string())),
            Self::Area(centre, number, radius) => ("121", text(format!("{centre} area{number:02},{radius}m"))),
            Self::Server(host, port) => ("122", Some([&host.0, b",".as_slice(), port.to_string().as_bytes()].concat())),
            Self::Announce(words) => ("170", Some(words.0.to_vec())),
            Self::Offer(number, details) => ("171", order(number, details)),
            Self::Won(number, details) => ("172", order(number, details)),
            Self::Lost(number) => ("173", text(number.as_str().to_owned())),
            Self::Cancelled(number) => ("174", text(number.as_str().to_owned())),
            Self::Board(line, words) => ("180", Some([format!("{line:02},").as_bytes(), &words.0].concat())),
            Self::Other(code, arguments) => (&code.0, arguments.as_ref().map(|a| a.0.to_vec())),
        }
    }

    /// The opposite; `None` if that is no command of this name.
    fn read(code: &str, arguments: Option<&[u8]>) -> Option<Self> {
        let Some(bytes) = arguments else {
            if code.is_empty() {
                return None; // what the table writes for no word
            }
            let (plain, letter, _) = PLAIN.iter().find(|(_, letter, number)| [letter, number].contains(&&code))?;
            return Some(Self::Plain(*plain, if *letter == code { Codes::Letters } else { Codes::Numbers }));
        };
        // texts may be in any charset, everything else is ASCII
        let split = |bytes: &[u8]| {
            let comma = bytes.iter().position(|b| *b == b',').unwrap_or(bytes.len());
            let head = std::str::from_utf8(bytes.get(..comma)?).ok()?;
            Some((head.to_owned(), bytes.get(comma + 1..).unwrap_or_default().to_vec()))
        };
        let ordered = |bytes| {
            let (number, details) = split(bytes)?;
            Some((OrderNumber::new(&number)?, Text::new(&details, MAX_TEXT)?))
        };
        match code {
            "170" => return Text::new(bytes, MAX_TEXT).map(Self::Announce),
            "171" => return ordered(bytes).map(|(number, details)| Self::Offer(number, details)),
            "172" => return ordered(bytes).map(|(number, details)| Self::Won(number, details)),
            "180" => {
                let (line, words) = split(bytes)?;
                let line = line.parse().ok().filter(|n| (3..=99).contains(n))?;
                return Text::new(&words, MAX_BOARD_TEXT).map(|words| Self::Board(line, words));
            }
            _ => {}
        }
        let text = std::str::from_utf8(bytes).ok()?;
        let codes = if code.len() == 1 { Codes::Letters } else { Codes::Numbers };
        let is = |[letter, number]: [&str; 2]| [letter, number].contains(&code);
        let metres = |text: &str| text.strip_suffix('m').unwrap_or(text).parse().ok();
        Some(match code {
            _ if is(TRACK) => Self::Track(Interval::read(text)?, codes),
            _ if is(DISTANCE) => Self::Distance(metres(text)?, codes),
            _ if is(SPEED) => Self::Speed(text.parse().ok()?, codes),
            _ if is(ZONE) => Self::Zone(text.parse().ok().filter(|h| (-12..=14).contains(h))?, codes),
            _ if is(UPLOAD) => Self::Upload(Day::read(text)?, codes),
            _ if is(FENCE) => {
                let mut numbers = text.split([',', ';']);
                let mut corner = || Point::read(numbers.next()?, numbers.next()?);
                let corners = [corner()?, corner()?];
                if numbers.next().is_some() {
                    return None;
                }
                Self::Fence(corners, codes)
            }
            "105" => Self::Moved(metres(text)?),
            "120" => Self::Corners(text.parse().ok()?),
            "121" => {
                let (centre, area) = text.split_once(" area")?;
                let (latitude, longitude) = centre.split_once(',')?;
                let (number, radius) = area.split_once(',')?;
                Self::Area(Point::read(latitude, longitude)?, number.parse().ok()?, metres(radius)?)
            }
            "122" => {
                let (host, port) = text.rsplit_once(',')?;
                Self::Server(Text::new(host.as_bytes(), MAX_TEXT)?, port.parse().ok()?)
            }
            "173" => Self::Lost(OrderNumber::new(text)?),
            "174" => Self::Cancelled(OrderNumber::new(text)?),
            _ => return None,
        })
    }
}

/// Write a downlink.
pub(super) fn encode(downlink: &Downlink, out: &mut Vec<u8>) {
    match downlink {
        Downlink::Load => out.extend_from_slice(reply::LOAD),
        Downlink::On => out.extend_from_slice(reply::ON),
        Downlink::Do { imei, words, closed } => {
            let (code, arguments) = words.written();
            reply::command(out, imei, code.as_bytes(), arguments.as_deref());
            if *closed {
                out.push(b';');
            }
        }
    }
}

/// Read one.
pub(super) fn decode(raw: &[u8], mut trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
    const MARK: &[u8] = b"**,imei:";
    if let Some(trace) = &mut trace {
        trace.content = raw.to_vec();
        trace.title = if raw.starts_with(b"*") { "command".into() } else { String::from_utf8_lossy(raw).into_owned() };
    }
    let mut c = Cursor::new(raw, 0, trace);
    let answer = [(reply::LOAD, Downlink::Load), (reply::ON, Downlink::On)].into_iter().find(|(word, _)| *word == raw);
    if let Some((_, answer)) = answer {
        c.take_rest("answer");
        return Ok(answer);
    }
    if !raw.starts_with(MARK) {
        return Err(c.fault_here(FaultKind::Value, "neither an answer nor a command"));
    }
    c.bytes("mark", MARK.len())?;
    let shown = |c: &mut Cursor<'_, '_>, bytes: &[u8]| c.show(|| String::from_utf8_lossy(bytes).into_owned());
    let field = |rest: &[u8]| rest.iter().position(|b| matches!(b, b',' | b';')).unwrap_or(rest.len());
    let imei = c.bytes("imei", field(c.rest()))?;
    shown(&mut c, imei);
    let known = std::str::from_utf8(imei).ok().and_then(Imei::new);
    let imei = known.ok_or_else(|| Fault::new(FaultKind::Value, MARK.len(), "no identity"))?;
    if !c.rest().starts_with(b",") {
        return Err(c.fault_here(FaultKind::Truncated, "no command behind the identity"));
    }
    c.bytes("comma", 1)?;
    let at = c.offset();
    let code = c.bytes("command", field(c.rest()))?;
    shown(&mut c, code);
    let closed = raw.ends_with(b";");
    let arguments = match c.rest().first() {
        Some(b',') => {
            c.bytes("comma", 1)?;
            let n = c.remaining() - usize::from(closed);
            let arguments = c.bytes("arguments", n)?;
            shown(&mut c, arguments);
            Some(arguments)
        }
        _ => None,
    };
    c.take_rest("end");
    let code = std::str::from_utf8(code).unwrap_or_default();
    let words = Words::read(code, arguments).or_else(|| {
        let free = arguments.map(|a| Text::new(a, MAX_TEXT));
        Some(Words::Other(Code::new(code)?, if let Some(free) = free { Some(free?) } else { None }))
    });
    let words = words.ok_or_else(|| Fault::new(FaultKind::Value, at, format!("`{}` is no command", code.escape_debug())))?;
    Ok(Downlink::Do { imei, words, closed })
}

/// One of each kind.
pub(super) fn samples() -> Vec<Downlink> {
    let text = |text: &str| Text::new(text.as_bytes(), MAX_TEXT);
    let number = || OrderNumber::new("1301220909091");
    let corner = |latitude, longitude| Point::new(latitude, longitude);
    let both = [Codes::Letters, Codes::Numbers];
    let plain = PLAIN.iter().flat_map(|(plain, ..)| both.map(|codes| plain.in_codes(codes)));
    let valued = both.into_iter().flat_map(|codes| {
        [
            Interval::of_seconds(30).map(|every| Words::Track(every, codes)),
            Interval::of_seconds(7200).map(|every| Words::Track(every, codes)),
            Some(Words::Distance(200, codes)),
            Some(Words::Speed(80, codes)),
            Some(Words::Zone(-5, codes)),
            Some(Words::Zone(8, codes)),
            corner(22.6, 114.0).zip(corner(-22.5, -114.123456)).map(|(a, b)| Words::Fence([a, b], codes)),
            Day::new(2026, 3, 1).map(|day| Words::Upload(day, codes)),
        ]
    });
    let others = [
        Some(Words::Moved(200)),
        Some(Words::Corners(30)),
        corner(22.54286, 114.057893).map(|centre| Words::Area(centre, 1, 800)),
        text("example.com").map(|host| Words::Server(host, 5001)),
        text("Road closed, take the bridge").map(Words::Announce),
        number().zip(text("Main St 1 -> Airport")).map(|(n, t)| Words::Offer(n, t)),
        number().zip(text("Li 13800000002")).map(|(n, t)| Words::Won(n, t)),
        number().map(Words::Lost),
        number().map(Words::Cancelled),
        text("FREE").map(|t| Words::Board(3, t)),
        Code::new("126").zip(text("60s")).map(|(code, t)| Words::Other(code, Some(t))),
        Code::new("161").map(|code| Words::Other(code, None)),
    ];
    let imei = Imei::new("861200000000012");
    let all = plain.map(Some).chain(valued).chain(others).flatten();
    let closed = all.filter_map(|words| imei.map(|imei| Downlink::Do { imei, words, closed: true }));
    let open = imei.map(|imei| Downlink::Do { imei, words: Plain::CutFuel.in_codes(Codes::Letters), closed: false });
    [Downlink::Load, Downlink::On].into_iter().chain(closed).chain(open).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Words {
        match decode(format!("**,imei:861200000000012,{text}").as_bytes(), None) {
            Ok(Downlink::Do { words, .. }) => words,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn commands_as_published() {
        let written: Vec<_> = samples()
            .iter()
            .map(|downlink| {
                let mut out = Vec::new();
                encode(downlink, &mut out);
                String::from_utf8(out).unwrap().replace("**,imei:861200000000012,", "")
            })
            .collect();
        for published in [
            "LOAD",
            "ON",
            "B;",
            "100;",
            "C,30s;",
            "101,30s;",
            "C,02h;",
            "101,2h;",
            "D;",
            "E;",
            "G;",
            "H,080;",
            "107,080;",
            "I,+8;",
            "J;",
            "109;",
            "J",
            "K;",
            "L;",
            "M;",
            "N;",
            "F,0200m;",
            "103,200m;",
            "114,22.600000,114.000000;-22.500000,-114.123456;",
            "116,20260301;",
            "120,30;",
            "121,22.542860,114.057893 area01,800m;",
            "122,example.com,5001;",
            "160;",
            "171,1301220909091,Main St 1 -> Airport;",
            "173,1301220909091;",
            "180,03,FREE;",
            "161;",
        ] {
            assert!(written.iter().any(|w| w == published), "{published}: {written:?}");
        }
    }

    #[test]
    fn reads_what_other_servers_write() {
        assert_eq!(read("H,80"), Words::Speed(80, Codes::Letters));
        assert_eq!(read("H,080"), Words::Speed(80, Codes::Letters));
        assert_eq!(read("101,5m"), Words::Track(Interval { count: 5, unit: b'm' }, Codes::Numbers));
        assert_eq!(read("C,05m;"), Words::Track(Interval { count: 5, unit: b'm' }, Codes::Letters));
        assert_eq!(read("171,1301220909091"), Words::Offer(OrderNumber::new("1301220909091").unwrap(), Text::new(b"", 1).unwrap()));
        // what does not fit its name is still told
        assert_eq!(read("C,often"), Words::Other(Code::new("C").unwrap(), Text::new(b"often", 9)));
        assert_eq!(read("150,1,2;"), Words::Other(Code::new("150").unwrap(), Text::new(b"1,2", 9)));
    }

    #[test]
    fn refuses_what_is_no_command() {
        for text in ["", "**,imei:", "**,imei:861200000000012", "**,imei:861200000000012,", "**,imei:x,B;", "LOA", "hello"] {
            assert!(decode(text.as_bytes(), None).is_err(), "{text}");
        }
        for text in ["**,imei:861200000000012,B B;", "**,imei:861200000000012,170,a;b;"] {
            assert_eq!(decode(text.as_bytes(), None).unwrap_err().kind, FaultKind::Value, "{text}");
        }
    }

    #[test]
    fn intervals_are_said_exactly_where_they_can_be() {
        let said = |seconds| Interval::of_seconds(seconds).map(|i| (i.count, char::from(i.unit), i.seconds()));
        assert_eq!(said(30), Some((30, 's', 30)));
        assert_eq!(said(90), Some((90, 's', 90)));
        assert_eq!(said(120), Some((2, 'm', 120)));
        assert_eq!(said(150), Some((2, 'm', 120)), "the nearest below");
        assert_eq!(said(7200), Some((2, 'h', 7200)));
        assert_eq!((said(0), said(360_000)), (None, None));
    }

    #[test]
    fn texts_cannot_end_a_command() {
        for bytes in [&b"a;b"[..], b"a\nb", b"a\0", b"toolong"] {
            assert_eq!(Text::new(bytes, 5), None);
        }
        for bad in ["", "a,b", "a b", "a;b", "123456789012345678901"] {
            assert_eq!(OrderNumber::new(bad), None, "{bad}");
        }
    }
}
