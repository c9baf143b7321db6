//! The position block, in both styles.
//!
//! ```text
//! YYMMDD A DDMM.MMMM N DDDMM.MMMM E sss.s hhmmss ccc.cc iiiiiiii L mmmmmmmm …          compact
//! DDMMYY,A,DDMM.MMMMN,DDDMM.MMMME,speed,hhmmss,course[,altitude,satellites…]            commas
//! ```
//!
//! The widths are the documented ones, which not every firmware keeps: coordinates are read up to their letters, and what
//! stands between the time and the `L` of the mileage is eight characters of state behind however much course there is.

use crate::cursor::{Cursor, ParserError};
use crate::event::{Alarm, Report};
use crate::fault::{Fault, FaultKind};
use crate::parts::geo::{KMH_PER_KNOT, on_earth, round};
use crate::parts::text;
use crate::profile::Charset;
use crate::time::{Civil, Timestamp};
use crate::tk103::fields::{coordinate, decimal, pairs, whole};
use crate::tk103::frame::{Style, ascii};

/// Decimals of a degree that four decimals of a minute can tell apart, and one more.
const DEGREE_DECIMALS: i32 = 7;
/// Width of a speed in the compact style.
const SPEED: usize = 5;
/// Width of the state.
const STATE: usize = 8;
/// Most hex digits of the mileage; fewer than six are none.
const MILEAGE: std::ops::RangeInclusive<usize> = 6..=8;
/// How far into a body a position block may begin: behind an id, or behind `,ALARM,` and two numbers.
const SEARCH: usize = 40;

/// What reading needs to know of the profile.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context {
    /// The device's clock, seconds east of UTC.
    pub(super) offset_s: i32,
    /// km/h in one unit of speed.
    pub(super) kmh: f64,
    pub(super) charset: Charset,
}

/// What a message says.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Facts {
    pub(super) report: Report,
    /// It has a place, if perhaps an invalid one.
    pub(super) located: bool,
    /// Date and time as sent, `YYMMDDhhmmss`.
    pub(super) stamp: Option<[u8; 12]>,
}

impl Facts {
    /// Date and time as numbers of two digits, the year first.
    pub(super) fn time(&mut self, date: [u8; 3], time: [u8; 3], context: &Context) {
        let [year, month, day] = date;
        let [hour, minute, second] = time;
        let six = [year, month, day, hour, minute, second];
        self.report.time = Timestamp::from_civil(Civil::from_six(six), context.offset_s);
        let mut stamp = [b'0'; 12];
        for (digits, n) in stamp.chunks_exact_mut(2).zip(six) {
            if let [tens, ones] = digits {
                (*tens, *ones) = (b'0' + n / 10, b'0' + n % 10);
            }
        }
        self.stamp = Some(stamp);
        if self.report.time.is_none() {
            self.report.attributes.set("device_time", ascii(&stamp).to_owned());
        }
    }

    /// Latitude and longitude. Zeros, and what is nowhere on earth, are no place.
    fn place(&mut self, valid: bool, latitude: Option<f64>, longitude: Option<f64>) {
        self.located = true;
        let some = latitude.zip(longitude).filter(|(y, x)| (*y, *x) != (0.0, 0.0) && on_earth(*y, *x));
        self.report.valid = Some(valid && some.is_some());
        self.report.latitude = some.map(|(y, _)| round(y, DEGREE_DECIMALS));
        self.report.longitude = some.map(|(_, x)| round(x, DEGREE_DECIMALS));
    }
}

/// Where a position block begins in a body: six digits in front of the validity.
pub(super) fn find(body: &[u8]) -> Option<usize> {
    let starts = body.iter().enumerate().take(SEARCH).filter(|(_, b)| matches!(b, b'A' | b'V'));
    starts.map(|(at, _)| at).find_map(|at| {
        let date_end = if body.get(at.checked_sub(1)?) == Some(&b',') { at - 1 } else { at };
        let start = date_end.checked_sub(6)?;
        let date = body.get(start..date_end)?.iter().all(u8::is_ascii_digit);
        let behind = body.get(at + 1..)?.iter().find(|b| **b != b' ')?;
        (date && (behind.is_ascii_digit() || *behind == b',')).then_some(start)
    })
}

/// Read a position block and everything behind it.
pub(super) fn read(c: &mut Cursor<'_, '_>, style: Style, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    let date = six(c, "date")?;
    comma(c);
    let valid = validity(c)?;
    let (latitude, longitude) = (degrees(c, "latitude", b'N', b'S')?, degrees(c, "longitude", b'E', b'W')?);
    let speed = speed(c)?;
    let time = six(c, "time")?;
    comma(c);
    let [a, b, month_or_day] = date;
    let date = match style {
        Style::Compact => [a, b, month_or_day],
        Style::Commas => [month_or_day, b, a],
    };
    facts.time(date, time, context);
    facts.place(valid, latitude, longitude);
    facts.report.speed_kmh = speed.map(|s| round(s * context.kmh, 3));
    rest(c, style, context, facts)
}

/// Read the block of old TopFlyTech units, which stands at the right end: date and time in front of the validity, then the
/// place, speed in knots, course. What stands before it is kept as it is.
pub(super) fn read_topflytech(c: &mut Cursor<'_, '_>, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    let body = c.rest();
    let digits = |at: usize| body.get(at.checked_sub(12)?..at).filter(|d| d.iter().all(u8::is_ascii_digit));
    let validity_at = (0..body.len()).rev().find(|at| matches!(body.get(*at), Some(b'A' | b'V')) && digits(*at).is_some());
    let Some(start) = validity_at.and_then(|at| at.checked_sub(12)) else {
        return Err(c.fault_here(FaultKind::Value, "no position at the end"));
    };
    let blocks = text_of(c, "blocks", start, context.charset)?;
    facts.report.attributes.set("blocks", blocks);
    let (date, time) = (six(c, "date")?, six(c, "time")?);
    let valid = validity(c)?;
    let (latitude, longitude) = (degrees(c, "latitude", b'N', b'S')?, degrees(c, "longitude", b'E', b'W')?);
    let speed = speed_of(c, SPEED)?;
    facts.time(date, time, context);
    facts.place(valid, latitude, longitude);
    facts.report.speed_kmh = Some(round(speed * KMH_PER_KNOT, 3));
    let length = c.remaining();
    course(c, length, facts)
}

fn validity(c: &mut Cursor<'_, '_>) -> Result<bool, Fault> {
    let valid = c.bytes("validity", 1)? == b"A";
    c.show(|| if valid { "A  valid" } else { "V  no fix" });
    comma(c);
    Ok(valid)
}

/// Step over one comma, if there is one.
pub(super) fn comma(c: &mut Cursor<'_, '_>) {
    if c.rest().first() == Some(&b',') {
        marks(c, "separator", 1);
    }
}

/// Step over so many bytes that say nothing but where something begins or ends; fewer if there are fewer.
pub(super) fn marks(c: &mut Cursor<'_, '_>, name: &str, length: usize) {
    if length == 0 {
        return;
    }
    if let Ok(bytes) = c.bytes(name, length.min(c.remaining())) {
        c.show(|| ascii(bytes).escape_debug());
    }
}

/// Six digits as three numbers.
pub(super) fn six(c: &mut Cursor<'_, '_>, name: &str) -> Result<[u8; 3], Fault> {
    let fault = c.fault_here(FaultKind::Value, "a date or time is not six digits");
    let bytes = c.bytes(name, 6)?;
    c.show(|| ascii(bytes));
    bytes.first_chunk().and_then(pairs).ok_or(fault)
}

/// How many bytes stand in front of the next comma, or at all.
fn to_comma(c: &Cursor<'_, '_>) -> usize {
    c.rest().iter().take_while(|b| **b != b',').count()
}

/// The bytes up to the next comma, which is stepped over.
pub(super) fn field<'f>(c: &mut Cursor<'f, '_>, name: &str) -> &'f [u8] {
    let length = to_comma(c);
    let bytes = c.bytes(name, length).unwrap_or_default();
    c.show(|| ascii(bytes));
    comma(c);
    bytes
}

/// A whole number up to the next comma.
pub(super) fn number(c: &mut Cursor<'_, '_>, name: &str, base: u32) -> Result<u64, Fault> {
    let fault = c.fault_here(FaultKind::Value, "not a whole number");
    whole(field(c, name).trim_ascii(), base).ok_or(fault)
}

/// So many bytes as text, whatever they are.
pub(super) fn text_of(c: &mut Cursor<'_, '_>, name: &str, length: usize, charset: Charset) -> Result<String, Fault> {
    let words = text::decode(c.bytes(name, length)?, charset);
    c.show(|| format!("{words:?}"));
    Ok(words)
}

/// A coordinate up to its letter. Units without a fix may leave it empty between its commas.
fn degrees(c: &mut Cursor<'_, '_>, name: &str, positive: u8, negative: u8) -> Result<Option<f64>, Fault> {
    if c.rest().first() == Some(&b',') {
        comma(c);
        return Ok(None);
    }
    let parse = |input| -> nom::IResult<_, _, ParserError<'_>> { coordinate(positive, negative)(input) };
    let place = c.read(name, parse)?;
    comma(c);
    Ok(Some(place))
}

/// A speed: up to a comma that is near, else five characters, else one decimal.
fn speed(c: &mut Cursor<'_, '_>) -> Result<Option<f64>, Fault> {
    let text = c.rest();
    let near = text.iter().take(SPEED + 4).position(|b| *b == b',');
    if near == Some(0) {
        comma(c);
        return Ok(None);
    }
    let timed = |width: &usize| text.get(*width..*width + 6).is_some_and(|t| t.iter().all(u8::is_ascii_digit));
    let to_point = text.iter().take(SPEED).position(|b| *b == b'.').map_or(SPEED, |point| point + 2);
    let width = near.or_else(|| [SPEED, to_point].into_iter().find(timed)).unwrap_or(SPEED);
    let speed = speed_of(c, width)?;
    comma(c);
    Ok(Some(speed))
}

fn speed_of(c: &mut Cursor<'_, '_>, width: usize) -> Result<f64, Fault> {
    let fault = c.fault_here(FaultKind::Value, "a speed is no number");
    let bytes = c.bytes("speed", width)?;
    c.show(|| ascii(bytes));
    decimal(bytes).ok_or(fault)
}

/// Everything behind the time.
fn rest(c: &mut Cursor<'_, '_>, style: Style, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    let text = c.rest();
    let mileage =
        |at: usize| text.get(at + 1..).map_or(0, |t| t.iter().take(*MILEAGE.end()).take_while(|b| b.is_ascii_hexdigit()).count());
    let letters = text.iter().enumerate().filter(|(_, b)| **b == b'L').map(|(at, _)| (at, mileage(at)));
    match letters.into_iter().find(|(_, digits)| MILEAGE.contains(digits)) {
        Some((at, digits)) => {
            let front = text.get(..at).unwrap_or_default();
            let commas = front.iter().rev().take_while(|b| **b == b',').count();
            numbers(&mut c.sub("front", at - commas)?, style, context, facts)?;
            marks(c, "mark", commas + 1);
            let bytes = c.bytes("odometer_m", digits)?;
            let metres = whole(bytes, 16).unwrap_or_default();
            c.show(|| format!("{}  {metres}", ascii(bytes)));
            facts.report.odometer_m = Some(metres as f64);
            tail(c, context, facts)
        }
        None => numbers(c, style, context, facts),
    }
}

/// Course and state; in the style with commas also altitude and satellites. Numbers without a known meaning are kept.
fn numbers(c: &mut Cursor<'_, '_>, style: Style, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    let first = to_comma(c);
    if first >= STATE && c.rest().get(first - STATE..first).is_some_and(is_state) {
        course(c, first - STATE, facts)?;
        state(c, facts)?;
    } else {
        // a comma may stand inside the six characters of a course that is padded with them
        course(c, first, facts)?;
    }
    comma(c);
    let mut altitude = facts.report.altitude_m;
    while c.remaining() > 0 {
        let length = to_comma(c);
        let bytes = c.rest().get(..length).unwrap_or_default();
        if length == STATE && is_state(bytes) {
            state(c, facts)?;
            comma(c);
            continue;
        }
        match (decimal(bytes), whole(bytes, 10)) {
            (Some(metres), None) if altitude.is_none() && style == Style::Commas => {
                field(c, "altitude_m");
                altitude = Some(metres);
            }
            (_, Some(n)) if facts.report.satellites.is_none() && n < 100 && style == Style::Commas => {
                field(c, "satellites");
                facts.report.satellites = u16::try_from(n).ok();
            }
            _ if length == 0 => comma(c),
            _ => facts.report.attributes.set("extra", text::decode(field(c, "extra"), context.charset)),
        }
    }
    facts.report.altitude_m = altitude;
    Ok(())
}

fn is_state(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_hexdigit)
}

fn course(c: &mut Cursor<'_, '_>, length: usize, facts: &mut Facts) -> Result<(), Fault> {
    if length == 0 {
        return Ok(());
    }
    let fault = c.fault_here(FaultKind::Value, "a course is no number");
    let bytes = c.bytes("course_deg", length)?;
    c.show(|| ascii(bytes));
    let blank = bytes.iter().all(|b| *b == b' ');
    let degrees = decimal(bytes);
    if degrees.is_none() && !blank {
        return Err(fault);
    }
    facts.report.course_deg = degrees.filter(|d| (0.0..=360.0).contains(d));
    Ok(())
}

/// Eight characters: 0 supply cut, 1 ignition, 2-4 nibbles of inputs and outputs, 5-7 fuel. What an input that is not wired
/// would say is not told: old models have nothing but zeros there.
pub(super) fn state(c: &mut Cursor<'_, '_>, facts: &mut Facts) -> Result<(), Fault> {
    let bytes = c.bytes("io_state", STATE)?;
    c.show(|| ascii(bytes));
    let report = &mut facts.report;
    let nibble = |at: usize| bytes.get(at).and_then(|b| char::from(*b).to_digit(16)).unwrap_or_default();
    match bytes.first() {
        Some(b'0') => report.attributes.set("power_connected", true),
        Some(b'1') => report.attributes.set("power_connected", false),
        _ => {
            report.attributes.set("io_state", ascii(bytes).to_owned());
            return Ok(());
        }
    }
    report.ignition = match bytes.get(1) {
        Some(b'0') => Some(false),
        Some(b'1') => Some(true),
        _ => report.ignition,
    };
    if nibble(2) & 2 != 0 {
        report.alarms.insert(Alarm::Sos);
    }
    const INPUTS: [(usize, u32, &str); 10] = [
        (2, 1, "input2"),
        (2, 4, "output2"),
        (2, 8, "fuel_cut"),
        (3, 1, "high_sensor3"),
        (3, 2, "high_sensor2"),
        (3, 4, "high_sensor1"),
        (3, 8, "door_open"),
        (4, 2, "low_sensor3"),
        (4, 4, "low_sensor2"),
        (4, 8, "low_sensor1"),
    ];
    for (at, bit, name) in INPUTS {
        if nibble(at) & bit != 0 {
            report.attributes.set(name, true);
        }
    }
    let fuel = nibble(5) << 8 | nibble(6) << 4 | nibble(7);
    if fuel != 0 {
        report.attributes.set("fuel_raw", fuel);
    }
    Ok(())
}

/// What stands behind the mileage: a temperature, and blocks of letters that nobody has described.
fn tail(c: &mut Cursor<'_, '_>, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    let text = c.rest();
    let letter = usize::from(text.first() == Some(&b'T'));
    if let Some(b'+' | b'-') = text.get(letter) {
        let number = text.get(letter + 1..).unwrap_or_default();
        let length = number.iter().take_while(|b| b.is_ascii_digit() || **b == b'.').count();
        if let Some(celsius) = text.get(letter..letter + 1 + length).and_then(decimal) {
            c.bytes("temperature_c", letter + 1 + length)?;
            c.show(|| celsius);
            facts.report.attributes.set("temperature_c", celsius);
        }
    }
    comma(c);
    let length = c.remaining();
    if length > 0 {
        let tail = text_of(c, "tail", length, context.charset)?;
        facts.report.attributes.set("tail", tail);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Value;

    const CONTEXT: Context = Context { offset_s: 0, kmh: 1.0, charset: Charset::Gbk };

    fn block(style: Style, text: &str) -> Result<Facts, Fault> {
        let mut facts = Facts::default();
        let at = find(text.as_bytes()).unwrap();
        read(&mut Cursor::new(&text.as_bytes()[at..], 0, None), style, &CONTEXT, &mut facts).map(|()| facts)
    }

    fn compact(text: &str) -> Report {
        block(Style::Compact, text).unwrap().report
    }

    fn commas(text: &str) -> Report {
        block(Style::Commas, text).unwrap().report
    }

    #[test]
    fn the_documented_block() {
        let r = compact("080524A2232.9806N11404.9355E000.1101241323.8700000000L000450AC");
        assert_eq!(r.time.unwrap().to_string(), "2008-05-24T10:12:41.000Z");
        assert_eq!((r.latitude, r.longitude, r.valid), (Some(22.549_676_7), Some(114.082_258_3), Some(true)));
        assert_eq!((r.speed_kmh, r.course_deg, r.odometer_m), (Some(0.1), Some(323.87), Some(282_796.0)));
        assert_eq!((r.ignition, r.attributes.get("power_connected")), (Some(false), Some(&Value::Bool(true))));
    }

    #[test]
    fn widths_that_firmwares_do_not_keep() {
        let seen = |text: &str| {
            let r = compact(&format!("260301A2232.9806N11404.9355E{text}"));
            (r.speed_kmh, r.time.unwrap().civil(0).six()[3..].to_vec(), r.course_deg, r.odometer_m)
        };
        let at = |h, m, s| vec![h, m, s];
        assert_eq!(seen(" 45.0173725 86.2101000000L00000000"), (Some(45.0), at(17, 37, 25), Some(86.21), Some(0.0)));
        assert_eq!(seen("000.018241457.51000000000L00000000"), (Some(0.0), at(18, 24, 14), Some(57.51), Some(0.0)));
        assert_eq!(seen("000.00014039900000000L00000001"), (Some(0.0), at(0, 14, 3), Some(99.0), Some(1.0)));
        assert_eq!(seen("000.019232800000000000000L00008128"), (Some(0.0), at(19, 23, 28), Some(0.0), Some(33064.0)));
        assert_eq!(seen("000.3203149000.00,00000000L00000000"), (Some(0.3), at(20, 31, 49), Some(0.0), Some(0.0)));
        assert_eq!(seen("0000014000307.62001000281L0000014E"), (Some(0.0), at(14, 0, 3), Some(7.62), Some(334.0)));
        assert_eq!(seen("0.6121241010.0000,00000000"), (Some(0.612), at(12, 41, 1), Some(0.0), None));
        assert_eq!(seen("001.709445592.159,7"), (Some(1.7), at(9, 44, 55), Some(92.159), None));
        assert_eq!(seen("45.7101241 87.3100000000L0000000A"), (Some(45.7), at(10, 12, 41), Some(87.31), Some(10.0)));
    }

    #[test]
    fn fields_with_commas() {
        let r = commas("150426,A,2232.98060N,45.78950E,0.050,103142,12.500,59.200,7,0");
        assert_eq!(r.time.unwrap().to_string(), "2026-04-15T10:31:42.000Z");
        assert_eq!((r.latitude, r.longitude), (Some(22.549_676_7), Some(0.763_158_3)));
        assert_eq!((r.speed_kmh, r.course_deg, r.altitude_m, r.satellites), (Some(0.05), Some(12.5), Some(59.2), Some(7)));
        assert_eq!(r.attributes.get("extra"), Some(&Value::Text("0".into())));
        let r = commas("010326,A,2234.0297N,11405.9101E,000.0,040137,178.48,01000000,L00000010");
        assert_eq!((r.course_deg, r.ignition, r.odometer_m), (Some(178.48), Some(true), Some(16.0)));
        let r = commas("010326,V,,,,040137,");
        assert_eq!((r.valid, r.latitude, r.speed_kmh, r.course_deg), (Some(false), None, None, None));
    }

    #[test]
    fn inputs_and_outputs() {
        let r = compact("260301A2232.9806N11404.9355E000.0101241000.0011FF2166L00000000");
        assert_eq!(r.ignition, Some(true));
        assert_eq!(r.alarms.iter().collect::<Vec<_>>(), [Alarm::Sos]);
        let names: Vec<_> = r.attributes.iter().map(|(name, _)| name).collect();
        let all = ["power_connected", "input2", "output2", "fuel_cut", "high_sensor3", "high_sensor2", "high_sensor1"];
        assert_eq!(names, [&all[..], &["door_open", "low_sensor3", "fuel_raw"]].concat());
        assert_eq!(r.attributes.get("fuel_raw"), Some(&Value::Int(0x166)));
        let r = compact("260301A2232.9806N11404.9355E000.0101241000.00F0000000L00000000");
        assert_eq!((r.ignition, r.attributes.get("io_state")), (None, Some(&Value::Text("F0000000".into()))));
    }

    #[test]
    fn what_stands_behind_the_mileage() {
        let behind = |text: &str| {
            let r = compact(&format!("260301A2232.9806N11404.9355E000.0101241000.0000000000L00000412{text}"));
            (r.odometer_m, r.attributes.get("temperature_c").cloned(), r.attributes.get("tail").cloned())
        };
        let tail = |text: &'static str| Some(Value::Text(text.into()));
        assert_eq!(behind("T+018.3"), (Some(1042.0), Some(Value::Float(18.3)), None));
        assert_eq!(behind("-002.5"), (Some(1042.0), Some(Value::Float(-2.5)), None));
        assert_eq!(behind("T108"), (Some(1042.0), None, tail("T108")));
        assert_eq!(behind("P12BS13F"), (Some(1042.0), None, tail("P12BS13F")));
        assert_eq!(behind(",260301,141530"), (Some(1042.0), None, tail("260301,141530")));
    }

    #[test]
    fn refuses_to_call_a_place_valid_that_is_none() {
        for nowhere in ["A0000.0000N00000.0000E", "A9932.9806N11404.9355E", "A2260.0000N11404.9355E"] {
            let r = compact(&format!("260301{nowhere}000.0101241000.0000000000L00000000"));
            assert_eq!((r.valid, r.latitude, r.longitude), (Some(false), None, None), "{nowhere}");
        }
    }

    #[test]
    fn dates_that_are_none_are_kept_as_sent() {
        let facts = block(Style::Compact, "000007V0000.0000N00000.0000E000.00014039900000000L00000000").unwrap();
        assert_eq!(facts.report.time, None);
        assert_eq!(facts.report.attributes.get("device_time"), Some(&Value::Text("000007001403".into())));
        let facts = block(Style::Commas, "010326,A,2234.0297N,11405.9101E,000.0,246161,178.48").unwrap();
        assert_eq!(facts.report.attributes.get("device_time"), Some(&Value::Text("260301246161".into())));
    }

    #[test]
    fn refuses_what_cannot_be_read() {
        for bad in [
            "2232.9806N11404.9355",
            "2232.9806X11404.9355E000.0101241",
            "2232.9806N11404.9355Exxx.x101241",
            "2232.9806N11404.9355E000.01012",
        ] {
            assert!(block(Style::Compact, &format!("260301A{bad}")).is_err(), "{bad}");
        }
        assert!(block(Style::Commas, "010326,A,2234.0297N,11405.9101E,000.0,040137,north").is_err());
    }

    #[test]
    fn blocks_are_found_behind_other_things() {
        assert_eq!(find(b"000013800000001260301A2232"), Some(15));
        assert_eq!(find(b",ALARM,1,121,260301A2238"), Some(13));
        assert_eq!(find(b"010326,V,2234"), Some(0));
        assert_eq!(find(b"LTESTTAXI00000001"), None);
        assert_eq!(find(b"A"), None);
        assert_eq!(find(b""), None);
    }

    #[test]
    fn topflytech_reads_from_the_right() {
        let text = "XG00b600000000L00074b54S00000000R0C0F0014000100f0260301152205A2232.9806N11404.9355E010.0251.25";
        let mut facts = Facts::default();
        read_topflytech(&mut Cursor::new(text.as_bytes(), 0, None), &CONTEXT, &mut facts).unwrap();
        let r = facts.report;
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T15:22:05.000Z");
        assert_eq!((r.latitude, r.speed_kmh, r.course_deg), (Some(22.549_676_7), Some(18.52), Some(251.25)));
        assert_eq!(r.attributes.get("blocks"), Some(&Value::Text("XG00b600000000L00074b54S00000000R0C0F0014000100f0".into())));
    }
}
