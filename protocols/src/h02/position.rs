//! The sentences that report: places, cells, heartbeats and answers.

use crate::event::Report;
use crate::fault::{Fault, FaultKind};
use crate::h02::fields::{Fields, coordinate, instant, no_such, pairs, whole};
use crate::h02::message::{Content, Context, Facts};
use crate::h02::network;
use crate::h02::status;
use crate::parts::geo;

/// Digits of a status word.
const STATUS_DIGITS: usize = 8;

/// `[hhmmss],[A|V|B],lat,[N|S],lon,[E|W],speed,course,[ddmmyy],STATUS,tail`.
///
/// # Errors
/// What is neither a number nor empty.
pub(super) fn place<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let time = clock(f, "time")?;
    let mut facts = Facts::default();
    located(f, &mut facts)?;
    let report = &mut facts.report;
    // some units put the battery before the date
    if let Some(battery) = f.peek().filter(|field| matches!(field.len(), 1..=3))
        && f.ahead().nth(1).and_then(pairs).is_some()
    {
        report.battery_percent = whole::<u8>(battery, 10).filter(|percent| *percent <= 100).map(f64::from);
        f.next("battery_percent");
    }
    if f.c.remaining() > 0 {
        let date = clock(f, "date")?;
        report.time = time.zip(date).and_then(|(time, date)| instant(time, date, context.offset_s));
        f.c.note(|| report.time.map_or_else(String::new, |t| t.to_string()));
    }
    behind(f, report, context)?;
    Ok(Content::Report(facts))
}

/// Whether a place stands behind the time.
pub(super) fn is_place(f: &Fields<'_, '_, '_>) -> bool {
    let mut fields = f.ahead().skip(1);
    fields.next().is_some_and(|validity| matches!(validity, b"A" | b"V" | b"B" | b""))
        && fields.next().is_some_and(|latitude| latitude.is_empty() || coordinate(latitude).is_some())
}

/// The status word and all behind it; the numbers of a telephone or server and of a card may stand before it.
fn behind(f: &mut Fields<'_, '_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    /// `,number,card` before the word.
    const BEFORE: usize = 3;
    let is_word = |field: &[u8]| field.len() == STATUS_DIGITS && field.iter().all(u8::is_ascii_hexdigit);
    let before = f.ahead().take(BEFORE + 1).position(is_word);
    for name in ["reserved", "phone_or_address", "iccid"].into_iter().take(before.unwrap_or(0)) {
        let field = f.need(name)?;
        if !field.is_empty() {
            report.attributes.set(name, String::from_utf8_lossy(field).into_owned());
        }
    }
    if before.is_some() {
        word(f, report, context)?;
    }
    network::tail(f, report);
    Ok(())
}

fn word(f: &mut Fields<'_, '_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    status::read(f.whole("status_bits", 16)?, context.dialect, report);
    Ok(())
}

/// Validity, place, speed and course.
fn located(f: &mut Fields<'_, '_, '_>, facts: &mut Facts) -> Result<(), Fault> {
    let report = &mut facts.report;
    let validity = f.need("validity")?;
    // a digit is the coding scheme of the place, which is sent with a fix only
    let valid = validity == b"A" || whole::<u32>(validity, 10).is_some();
    let latitude = degrees(f, "latitude_ddmm", [b"N", b"S"])?;
    let longitude = degrees(f, "longitude_dddmm", [b"E", b"W"])?;
    let place = latitude.zip(longitude).filter(|(lat, lon)| geo::on_earth(*lat, *lon) && (*lat, *lon) != (0.0, 0.0));
    report.valid = Some(valid && place.is_some());
    if let Some((latitude, longitude)) = place {
        (report.latitude, report.longitude) = (Some(latitude), Some(longitude));
        facts.located = true;
    } else if let Some((latitude, longitude)) = latitude.zip(longitude).filter(|place| *place != (0.0, 0.0)) {
        report.attributes.set("latitude_raw", latitude);
        report.attributes.set("longitude_raw", longitude);
    }
    report.speed_kmh = f.number("speed_kn")?.map(|knots| geo::round(knots * geo::KMH_PER_KNOT, 3));
    report.course_deg = f.number("course_deg")?.filter(|course| (0.0..=360.0).contains(course));
    Ok(())
}

/// A coordinate and its hemisphere. Nothing where it is empty, or has no hemisphere.
fn degrees(f: &mut Fields<'_, '_, '_>, name: &str, signs: [&[u8]; 2]) -> Result<Option<f64>, Fault> {
    let at = f.c.offset();
    let field = f.need(name)?;
    let size = coordinate(field);
    if size.is_none() && !field.is_empty() {
        return Err(no_such(at, name, field));
    }
    f.c.note(|| size.map_or_else(String::new, |size| size.to_string()));
    let sign = f.need("hemisphere")?;
    let [positive, negative] = signs;
    Ok(size.and_then(|size| if sign == positive { Some(size) } else { (sign == negative).then_some(-size) }))
}

/// Six digits; nothing where the field is empty.
fn clock(f: &mut Fields<'_, '_, '_>, name: &str) -> Result<Option<[u8; 3]>, Fault> {
    let at = f.c.offset();
    let field = f.need(name)?;
    if field.is_empty() {
        return Ok(None);
    }
    pairs(field).map(Some).ok_or_else(|| no_such(at, name, field))
}

/// A time of day without a date is no instant.
pub(super) fn time_of_day([hour, minute, second]: [u8; 3], report: &mut Report) {
    report.attributes.set("time_of_day", format!("{hour:02}:{minute:02}:{second:02}"));
}

/// `[battery]`.
pub(super) fn heartbeat<'f>(f: &mut Fields<'f, '_, '_>) -> Result<Content<'f>, Fault> {
    let Some(percent) = f.next("battery_percent").and_then(|field| whole::<u8>(field, 10)).filter(|percent| *percent <= 100) else {
        return Ok(Content::Nothing);
    };
    let report = Report { battery_percent: Some(f64::from(percent)), ..Report::default() };
    Ok(Content::Report(Facts { report, ..Facts::default() }))
}

/// `V,0,0` or `1,100`: a heartbeat whose numbers no document explains.
pub(super) fn beat<'f>(f: &mut Fields<'f, '_, '_>) -> Result<Content<'f>, Fault> {
    let bytes = f.c.take_rest("fields");
    if bytes.is_empty() {
        return Ok(Content::Nothing);
    }
    let words = String::from_utf8_lossy(bytes).into_owned();
    f.c.show(|| words.clone());
    let mut report = Report::default();
    report.attributes.set("fields", words);
    Ok(Content::Report(Facts { report, ..Facts::default() }))
}

/// `hhmmss,gsm,satellites,battery,steps,turnovers,ddmmyy,STATUS`.
///
/// # Errors
/// What is no number.
pub(super) fn link<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let time = clock(f, "time")?;
    let mut report = Report {
        rssi: f.number("gsm")?.map(|level| level as i32),
        satellites: f.number("satellites")?.map(|n| n as u16),
        battery_percent: f.number("battery_percent")?.filter(|percent| (0.0..=100.0).contains(percent)),
        ..Report::default()
    };
    for name in ["steps", "turnovers"] {
        if let Some(n) = f.number(name)? {
            report.attributes.set(name, n as i64);
        }
    }
    dated(f, time, &mut report, context)?;
    Ok(Content::Report(Facts { report, ..Facts::default() }))
}

/// `hhmmss`, cells, `ddmmyy,STATUS[,battery]`.
///
/// # Errors
/// What is no number.
pub(super) fn neighbours<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let time = clock(f, "time")?;
    let mut report = Report::default();
    network::nbr(f, &mut report)?;
    dated(f, time, &mut report, context)?;
    if let Some(level) = f.next("battery_level").and_then(|field| whole::<u8>(field, 10)) {
        report.attributes.set("battery_level", level);
    }
    Ok(Content::Report(Facts { report, ..Facts::default() }))
}

/// `hhmmss`, cells, `battery,reboots,X,ddmmyy,STATUS`.
///
/// # Errors
/// What is no number.
pub(super) fn v3<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let time = clock(f, "time")?;
    let mut report = Report::default();
    network::v3(f, &mut report)?;
    // a measure of the battery whose unit no document tells: 658 to 740 on units at work
    let battery: u16 = f.whole("battery_raw", 16)?;
    report.attributes.set("battery_raw", battery);
    for name in ["reboots", "x"] {
        let field = f.need(name)?;
        if let Some(n) = whole::<u32>(field, 10) {
            report.attributes.set(name, n);
        }
    }
    dated(f, time, &mut report, context)?;
    Ok(Content::Report(Facts { report, ..Facts::default() }))
}

/// `hhmmss`, four numbers of which nothing is known, `ddmmyy,STATUS`.
///
/// # Errors
/// What is no number.
pub(super) fn base<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    /// Numbers between time and date.
    const NUMBERS: usize = 4;
    let time = clock(f, "time")?;
    let mut report = Report::default();
    for _ in 0..NUMBERS {
        let field = f.need("base")?;
        report.attributes.set("base", String::from_utf8_lossy(field).into_owned());
    }
    dated(f, time, &mut report, context)?;
    Ok(Content::Report(Facts { report, ..Facts::default() }))
}

/// `[hhmmss]`, cells in hex, `[ddmmyy],STATUS[,more]`.
///
/// # Errors
/// What is no number.
pub(super) fn bs<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let time = clock(f, "time")?;
    let mut report = Report::default();
    network::bs(f, &mut report)?;
    dated(f, time, &mut report, context)?;
    network::tail(f, &mut report);
    Ok(Content::Report(Facts { report, ..Facts::default() }))
}

/// The date and the status word behind what has no place.
fn dated(f: &mut Fields<'_, '_, '_>, time: Option<[u8; 3]>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    let date = clock(f, "date")?;
    report.time = time.zip(date).and_then(|(time, date)| instant(time, date, context.offset_s));
    f.c.note(|| report.time.map_or_else(String::new, |t| t.to_string()));
    word(f, report, context)
}

/// `A,lat,N,lon,E,speed,course,ddmmyy`, or `V` and cells.
///
/// # Errors
/// What is no number.
pub(super) fn vp1<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let mut facts = Facts::default();
    // a hemisphere is the third field of a place, and a number that of a cell
    let cells = f.peek() == Some(b"V") && f.ahead().nth(2).is_some_and(|field| whole::<u32>(field, 10).is_some());
    if cells {
        f.next("validity");
        facts.report.valid = Some(false);
        network::vp1(f, &mut facts.report)?;
        return Ok(Content::Report(facts));
    }
    located(f, &mut facts)?;
    if f.c.remaining() > 0 {
        // the day alone; its first second stands for it
        let date = clock(f, "date")?;
        facts.report.time = date.and_then(|date| instant([0; 3], date, context.offset_s));
        facts.day_only = facts.report.time.is_some();
        if facts.day_only {
            facts.report.attributes.set("time_precision", "day");
        }
    }
    network::tail(f, &mut facts.report);
    Ok(Content::Report(facts))
}

/// `command[,words],command time`, then a place or nothing.
///
/// # Errors
/// What is no place where one begins.
pub(super) fn answer<'f>(f: &mut Fields<'f, '_, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let at = f.c.offset();
    let command = f.need("command")?;
    let command = str::from_utf8(command).map_err(|_| Fault::new(FaultKind::Value, at, "the command is no text"))?;
    let rest = f.c.rest();
    let Some(place) = place_within(rest) else {
        let words = f.c.take_rest("words");
        f.c.show(|| String::from_utf8_lossy(words).into_owned());
        return Ok(Content::Answer { command, words, facts: Facts::default() });
    };
    let words = f.c.bytes("words_and_command_time", place)?;
    f.c.show(|| String::from_utf8_lossy(words).into_owned());
    match self::place(f, context)? {
        Content::Report(facts) => Ok(Content::Answer { command, words: words.strip_suffix(b",").unwrap_or(words), facts }),
        other => Ok(other),
    }
}

/// Where `hhmmss,A,lat` begins: at a time or nothing, before a validity and a latitude or nothing, with as many fields
/// behind it as a place has. The latitude tells a place from parameters, so an empty one is believed only behind a validity.
fn place_within(rest: &[u8]) -> Option<usize> {
    /// Validity, place, hemispheres, speed, course.
    const FIELDS: usize = 7;
    let mut at = 0;
    loop {
        let here = rest.get(at..)?;
        let mut fields = here.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        let time = fields.next()?;
        let (validity, latitude) = (fields.next()?, fields.next()?);
        let begins = (time.is_empty() || pairs(time).is_some())
            && match validity {
                b"A" | b"V" | b"B" => latitude.is_empty() || coordinate(latitude).is_some(),
                _ => coordinate(latitude).is_some() && matches!(fields.next(), Some(b"N" | b"S")),
            };
        if begins && here.iter().filter(|b| **b == b',').count() >= FIELDS {
            return Some(at);
        }
        at += here.iter().position(|b| *b == b',')? + 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;
    use crate::h02::dialect::Dialect;
    use crate::profile::Profile;

    fn read(text: &str, reading: fn(&mut Fields<'_, '_, '_>, &Context<'_>) -> Result<(), Fault>) -> Result<(), Fault> {
        let mut c = Cursor::new(text.as_bytes(), 0, None);
        let profile = Profile::default();
        let context = Context { dialect: Dialect::of(&profile), offset_s: 0, profile: &profile };
        reading(&mut Fields { c: &mut c }, &context)
    }

    fn facts(text: &str) -> Facts {
        let mut c = Cursor::new(text.as_bytes(), 0, None);
        let profile = Profile::default();
        let context = Context { dialect: Dialect::of(&profile), offset_s: 0, profile: &profile };
        match place(&mut Fields { c: &mut c }, &context).unwrap() {
            Content::Report(facts) => facts,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_place() {
        let facts = facts("164549,A,0956.3869,N,08406.7068,W, 10.00,090,010326,FFFFFBFF,712,01,0,0,6");
        let r = &facts.report;
        assert!(facts.located);
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T16:45:49.000Z");
        assert_eq!((r.latitude, r.longitude, r.valid), (Some(9.939_781_7), Some(-84.11178), Some(true)));
        assert_eq!((r.speed_kmh, r.course_deg, r.ignition), (Some(18.52), Some(90.0), Some(false)));
    }

    #[test]
    fn a_place_without_a_fix_or_without_a_time() {
        let r = facts(",V,4605.75732,N,01430.73863,E,0.00,0,,FFFFFFEF,125,194,  64,d3").report;
        assert_eq!((r.valid, r.time, r.latitude.is_some()), (Some(false), None, true));
        let r = facts("050418,,2827.61232,N,07703.84822,E,0.00,0,031015,FFFEFBFF").report;
        assert_eq!((r.valid, r.time.is_some()), (Some(false), true));
        let none = facts(",V,,N,,E,0.00,0,,FFFFF7FF,f0,a,11a0,c0c6");
        assert!(!none.located);
        assert!(!facts("000000,V,0.0000,0,0.0000,0,0.00,0.00,000000,ffffffff").located);
        assert_eq!(facts("160169,A,0956.3869,N,08406.7068,W,,,010326,FFFFFBFF").report.time, None);
        assert_eq!(facts("164549,1,0956.3869,N,08406.7068,W,,,010326,FFFFFBFF").report.valid, Some(true));
    }

    #[test]
    fn numbers_before_the_status_word() {
        let r = facts("214452,A,5201.0178,N,01830.5029,E,000.00,000,010326,,192.0.2.1,8900000000000000000F,BFFFFBFF").report;
        assert_eq!(r.ignition, Some(false));
        assert_eq!(r.attributes.get("phone_or_address"), Some(&"192.0.2.1".to_owned().into()));
        assert_eq!(r.attributes.get("iccid"), Some(&"8900000000000000000F".to_owned().into()));
        let r = facts("214452,A,5201.0178,N,01830.5029,E,000.00,000,87,010326,FFFFFBFF").report;
        assert_eq!((r.battery_percent, r.time.is_some()), (Some(87.0), true));
    }

    #[test]
    fn refuses_what_is_no_place() {
        let refused = |text: &str| read(text, |f, c| place(f, c).map(|_| ())).unwrap_err().kind;
        assert_eq!(refused("1645,A,0956.3869,N,08406.7068,W,0,0,010326"), FaultKind::Value);
        assert_eq!(refused("164549,A,0996.3869,N,08406.7068,W,0,0,010326"), FaultKind::Value);
        assert_eq!(refused("164549,A,0956.3869,N"), FaultKind::Truncated);
        assert_eq!(read("x", |f, c| link(f, c).map(|_| ())).unwrap_err().kind, FaultKind::Value);
    }

    #[test]
    fn the_place_in_an_answer() {
        assert_eq!(place_within(b"DONE,130305,050316,A,2212.8745,N,11346.6574,E,14.28,028,010326"), Some(12));
        assert_eq!(place_within(b"130305,050316,,2212.8745,N,11346.6574,E,14.28,028"), Some(7));
        assert_eq!(place_within(b"OK,pass_word,130305,050316,V,,,,,,,010326,FFFFFBFD"), Some(20));
        assert_eq!(place_within(b"034313,1,1"), None);
        assert_eq!(place_within(b"N,N,N,S,,,,,,,,,"), None);
    }
}
