//! What decoding depends on besides the bytes, and the forms of numbers, times and money that all messages share.

use super::dialect::{self, Dialect, ShiftTime};
use crate::cursor::{Cursor, hex};
use crate::event::{Attributes, Money};
use crate::fault::Fault;
use crate::parts::{bcd, text};
use crate::profile::{Charset, Profile, TimeZone};
use crate::time::{Civil, Timestamp};

/// Settings of one decoding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'p> {
    pub(super) charset: Charset,
    pub(super) dialect: &'static Dialect,
    pub(super) zone: TimeZone,
    currency: Option<&'p str>,
}

impl<'p> Context<'p> {
    /// For a device with this profile. The standard says GBK and GMT+8.
    pub(super) fn new(profile: &'p Profile) -> Self {
        Self {
            charset: profile.charset.unwrap_or(Charset::Gbk),
            dialect: dialect::find(profile.dialect.as_deref()),
            zone: profile.time_zone.unwrap_or(TimeZone::CHINA),
            currency: profile.currency.as_deref(),
        }
    }

    /// `YYMMDDhhmmss` packed, in the device's own time; `None` where it is no time, zeros among others.
    pub(super) fn time(&self, bytes: &[u8]) -> Option<Timestamp> {
        self.at(bcd::civil(bytes.first_chunk()?)?)
    }

    /// A time of a shift, which makers write in two ways of six bytes.
    pub(super) fn shift_time(&self, bytes: &[u8]) -> Option<Timestamp> {
        let &[century, year, month, day, hour, minute] = bytes.first_chunk::<6>()?;
        let long = match self.dialect.shift_time {
            // no month is 13 or more, and nobody drives a taxi by the calendar of 2000 to 2012 any more
            ShiftTime::ByContent => century == 0x20 && year > 0x12,
            ShiftTime::Long => true,
            ShiftTime::Short => false,
        };
        if !long {
            return self.time(bytes);
        }
        let year = 100 * u16::from(bcd::byte(century)?) + u16::from(bcd::byte(year)?);
        let [month, day, hour, minute] = [bcd::byte(month)?, bcd::byte(day)?, bcd::byte(hour)?, bcd::byte(minute)?];
        self.at(Civil { year, month, day, hour, minute, second: 0 })
    }

    /// A civil time of the device.
    pub(super) fn at(&self, civil: Civil) -> Option<Timestamp> {
        Timestamp::from_civil(civil, self.zone.offset_s)
    }

    /// An amount in tenths of a yuan.
    pub(super) fn money(&self, tenths: u64) -> Money {
        Money { amount: decimal(tenths, 1), currency: self.currency.map(str::to_owned) }
    }
}

/// Decimal text of a number with so many places behind the point.
pub(super) fn decimal(n: u64, places: u32) -> String {
    let one = 10_u64.pow(places);
    format!("{}.{:0width$}", n / one, n % one, width = places as usize)
}

/// A packed number of `n` bytes. What are no digits stays in the attributes as it came.
pub(super) fn packed(c: &mut Cursor<'_, '_>, name: &'static str, n: usize, kept: &mut Attributes) -> Result<Option<u64>, Fault> {
    let bytes = c.bytes(name, n)?;
    let number = bcd::number(bytes);
    if number.is_none() {
        kept.set(format!("{name}_raw"), hex(bytes));
    }
    Ok(number)
}

/// A packed length in tenths of a kilometre, as metres.
pub(super) fn metres(c: &mut Cursor<'_, '_>, name: &'static str, n: usize, kept: &mut Attributes) -> Result<Option<f64>, Fault> {
    Ok(packed(c, name, n, kept)?.map(|tenths| tenths as f64 * 100.0))
}

/// A packed time of day or duration of two (`hhmm`) or three bytes (`hhmmss`), as seconds.
pub(super) fn duration(c: &mut Cursor<'_, '_>, name: &'static str, n: usize, kept: &mut Attributes) -> Result<Option<u32>, Fault> {
    let digits = packed(c, name, n, kept)?;
    let hhmmss = digits.and_then(|d| u32::try_from(d).ok()).map(|d| if n == 2 { d * 100 } else { d });
    Ok(hhmmss.map(|d| d / 10_000 * 3600 + d / 100 % 100 * 60 + d % 100))
}

/// A shift's time. What is no time and not zeros stays in the attributes as it came.
pub(super) fn shift_time(
    c: &mut Cursor<'_, '_>,
    name: &'static str,
    context: &Context<'_>,
    kept: &mut Attributes,
) -> Result<Option<Timestamp>, Fault> {
    let bytes = c.bytes(name, 6)?;
    let time = context.shift_time(bytes);
    c.note(|| time.map_or_else(|| "no time".to_owned(), |t| t.to_string()));
    if time.is_none() && bytes.iter().any(|b| *b != 0) {
        kept.set(format!("{name}_raw"), hex(bytes));
    }
    Ok(time)
}

/// Text of fixed width; nothing but fill is no text.
pub(super) fn said(c: &mut Cursor<'_, '_>, name: &str, n: usize, context: &Context<'_>) -> Result<Option<String>, Fault> {
    let said = text::decode(c.bytes(name, n)?, context.charset);
    c.show(|| format!("{said:?}"));
    Ok(Some(said).filter(|s| !s.is_empty()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(dialect: &str) -> Profile {
        Profile { dialect: Some(dialect.into()), ..Profile::default() }
    }

    #[test]
    fn times_are_of_china_unless_the_profile_says_otherwise() {
        let time = |zone| {
            let profile = Profile { time_zone: zone, ..Profile::default() };
            Context::new(&profile).time(b"\x26\x03\x01\x18\x00\x00").map(|t| t.to_string())
        };
        assert_eq!(time(None).as_deref(), Some("2026-03-01T10:00:00.000Z"));
        assert_eq!(time(Some(TimeZone::UTC)).as_deref(), Some("2026-03-01T18:00:00.000Z"));
    }

    #[test]
    fn accepts_both_forms_of_a_shift_time() {
        let time = |dialect, bytes: &[u8]| Context::new(&context(dialect)).shift_time(bytes).map(|t| t.to_string());
        let (long, short) = (b"\x20\x21\x10\x15\x21\x10", b"\x26\x03\x01\x08\x30\x15");
        assert_eq!(time("", long).as_deref(), Some("2021-10-15T13:10:00.000Z"));
        assert_eq!(time("", short).as_deref(), Some("2026-03-01T00:30:15.000Z"));
        assert_eq!(time("shift-time-long", short), None);
        assert_eq!(time("shift-time-short", b"\x20\x12\x10\x15\x21\x10").as_deref(), Some("2020-12-10T07:21:10.000Z"));
        assert_eq!(time("shift-time-long", b"\x20\x12\x10\x15\x21\x10").as_deref(), Some("2012-10-15T13:10:00.000Z"));
    }

    #[test]
    fn refuses_what_is_no_time() {
        let profile = Profile::default();
        for bytes in [&b"\0\0\0\0\0\0"[..], b"\x26\x13\x01\x18\x00\x00", b"\x2a\x01\x01\x18\x00\x00", b"\x26"] {
            assert_eq!(Context::new(&profile).time(bytes), None);
            assert_eq!(Context::new(&profile).shift_time(bytes), None);
        }
    }

    #[test]
    fn numbers_keep_their_places_and_what_they_were() {
        assert_eq!(decimal(2305, 1), "230.5");
        assert_eq!(decimal(205, 2), "2.05");
        let mut kept = Attributes::default();
        let mut c = Cursor::new(b"\x00\x01\x23\x01\x30\x00\xff", 0, None);
        assert_eq!(metres(&mut c, "a", 3, &mut kept), Ok(Some(12_300.0)));
        assert_eq!(duration(&mut c, "b", 2, &mut kept), Ok(Some(5400)));
        assert_eq!(packed(&mut c, "c", 2, &mut kept), Ok(None));
        assert_eq!(serde_json::to_value(&kept).unwrap(), serde_json::json!({"c_raw": "00ff"}));
    }
}
