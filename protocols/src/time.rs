//! Instants on the wire and in the contract: UTC milliseconds, RFC 3339 text, device-local civil times.
//!
//! Nothing here reads a clock; whoever calls a session passes [`Now`].

use std::fmt;
use std::str;
use std::time::Duration;

use jiff::civil::DateTime;
use jiff::tz::Offset;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Two readings of "now": the wall clock for records, a monotonic one for deadlines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Now {
    /// Wall clock, UTC.
    pub utc: Timestamp,
    /// Monotonic time since an arbitrary fixed point; deadlines are values of this clock.
    pub uptime: Duration,
}

/// Milliseconds since 1970-01-01T00:00:00Z. Serialises as RFC 3339 with milliseconds, in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(i64);

/// `2026-01-02T03:04:05.678Z` has always 24 bytes.
const RFC3339_LEN: usize = 24;
/// 9999-12-31T00:00:00Z and its mirror: what RFC 3339 can say with four year digits.
const MAX_MS: i64 = 253_402_214_400_000;

impl Timestamp {
    /// The instant so many milliseconds after the Unix epoch, clamped to the years 1970..=9999
    /// (no device of this trade has fixes from before GNSS existed).
    pub fn from_millis(ms: i64) -> Self {
        Self(ms.clamp(0, MAX_MS))
    }

    /// The instant so many seconds after the Unix epoch, as some devices send it.
    pub fn from_seconds(seconds: i64) -> Self {
        Self::from_millis(seconds.saturating_mul(1000))
    }

    /// Milliseconds since the Unix epoch.
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// A device-local civil time (`year` in full) at a fixed offset from UTC in seconds; `None` if there is no such time.
    pub fn from_civil(civil: Civil, offset_s: i32) -> Option<Self> {
        let Civil { year, month, day, hour, minute, second } = civil;
        let narrow = |n: u8| i8::try_from(n).ok();
        let local = DateTime::new(
            i16::try_from(year).ok()?,
            narrow(month)?,
            narrow(day)?,
            narrow(hour)?,
            narrow(minute)?,
            narrow(second)?,
            0,
        )
        .ok()?;
        let utc = Offset::from_seconds(offset_s).ok()?.to_timestamp(local).ok()?;
        Some(Self::from_millis(utc.as_millisecond()))
    }

    /// The civil time at a fixed offset from UTC in seconds, for protocols whose replies carry a clock.
    pub fn civil(self, offset_s: i32) -> Civil {
        let at = |ms: i64| jiff::Timestamp::from_millisecond(ms).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
        let offset = Offset::from_seconds(offset_s).unwrap_or(Offset::UTC);
        let t = offset.to_datetime(at(self.0));
        let byte = |n: i8| u8::try_from(n).unwrap_or(0);
        Civil {
            year: u16::try_from(t.year()).unwrap_or(1970),
            month: byte(t.month()),
            day: byte(t.day()),
            hour: byte(t.hour()),
            minute: byte(t.minute()),
            second: byte(t.second()),
        }
    }

    /// RFC 3339 text in a buffer of its own: no allocation on the record path.
    pub fn rfc3339(self) -> Rfc3339 {
        let c = self.civil(0);
        let mut text = *b"0000-00-00T00:00:00.000Z";
        let mut put = |at: usize, width: usize, mut n: u32| {
            for slot in text.iter_mut().skip(at).take(width).rev() {
                *slot = b'0' + (n % 10) as u8;
                n /= 10;
            }
        };
        put(0, 4, u32::from(c.year));
        put(5, 2, u32::from(c.month));
        put(8, 2, u32::from(c.day));
        put(11, 2, u32::from(c.hour));
        put(14, 2, u32::from(c.minute));
        put(17, 2, u32::from(c.second));
        put(20, 3, (self.0 % 1000) as u32);
        Rfc3339(text)
    }

    /// Parse RFC 3339 text, as commands and fixtures carry it.
    pub fn parse(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Self::from_millis(t.as_millisecond()))
    }

    /// This instant moved by a signed number of milliseconds.
    pub fn plus_millis(self, ms: i64) -> Self {
        Self::from_millis(self.0.saturating_add(ms))
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rfc3339().as_str())
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.rfc3339().as_str())
    }
}

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = <std::borrow::Cow<'de, str>>::deserialize(deserializer)?;
        Self::parse(&text).ok_or_else(|| D::Error::custom("expected a time of RFC 3339 like \"2026-03-01T10:00:00Z\""))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Timestamp {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Timestamp".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "string",
            "format": "date-time",
            "pattern": "^\\d{4}-\\d{2}-\\d{2}T\\d{2}:\\d{2}:\\d{2}\\.\\d{3}Z$"
        })
    }
}

/// RFC 3339 text of one instant.
#[derive(Debug, Clone, Copy)]
pub struct Rfc3339([u8; RFC3339_LEN]);

impl Rfc3339 {
    /// The text, always ASCII.
    pub fn as_str(&self) -> &str {
        str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// A wall-clock reading without a zone, as devices send it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Civil {
    /// Full year, e.g. 2026.
    pub year: u16,
    /// 1..=12.
    pub month: u8,
    /// 1..=31.
    pub day: u8,
    /// 0..=23.
    pub hour: u8,
    /// 0..=59.
    pub minute: u8,
    /// 0..=59.
    pub second: u8,
}

impl Civil {
    /// From the six numbers that most devices send: year since 2000, month, day, hour, minute, second.
    pub const fn from_six([year, month, day, hour, minute, second]: [u8; 6]) -> Self {
        Self { year: 2000 + year as u16, month, day, hour, minute, second }
    }

    /// The six numbers again; the year modulo 100.
    pub const fn six(self) -> [u8; 6] {
        [(self.year % 100) as u8, self.month, self.day, self.hour, self.minute, self.second]
    }
}

/// Weeks after which the week number of old GNSS receivers starts again.
const ROLLOVER_MS: i64 = 1024 * 7 * 24 * 3600 * 1000;

/// How far ahead of ours a device's clock may be. A fix cannot come before it is made, so one that the correction would put
/// further ahead was not rolled over: it is as old as it says. A day also covers local time that is taken for UTC.
const ROLLOVER_AHEAD_MS: i64 = 24 * 3600 * 1000;

/// How old a corrected fix may be: units keep what they could not send for weeks at most. A correction that ends further back
/// explains nothing, so the fix is as old as it says: a clock that was never set, a recording.
const ROLLOVER_BEHIND_MS: i64 = 90 * 24 * 3600 * 1000;

/// Undo the 1024-week roll-over of old receivers: a fix that so many weeks, once or more, bring to within a day ahead of us and
/// 90 days behind is moved there. Real units were seen to send 2003-07-01 on 2023-02-14. Returns the time and whether it was
/// moved.
pub fn undo_week_rollover(fix: Timestamp, now: Timestamp) -> (Timestamp, bool) {
    let behind = now.0 - fix.0;
    if behind <= ROLLOVER_MS / 2 {
        return (fix, false);
    }
    let weeks = (behind + ROLLOVER_MS / 2) / ROLLOVER_MS;
    let moved = fix.plus_millis(weeks * ROLLOVER_MS);
    let recent = moved <= now.plus_millis(ROLLOVER_AHEAD_MS) && moved >= now.plus_millis(-ROLLOVER_BEHIND_MS);
    if recent { (moved, true) } else { (fix, false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn civil_times_at_an_offset() {
        let civil = Civil::from_six([26, 3, 1, 2, 3, 4]);
        let t = Timestamp::from_civil(civil, 8 * 3600).unwrap();
        assert_eq!(t.to_string(), "2026-02-28T18:03:04.000Z");
        assert_eq!(t.civil(8 * 3600), civil);
        assert_eq!(Timestamp::parse("2026-02-28T18:03:04Z"), Some(t));
        assert_eq!(t.plus_millis(7).to_string(), "2026-02-28T18:03:04.007Z");
    }

    #[test]
    fn refuses_impossible_dates() {
        for six in [[26, 0, 1, 0, 0, 0], [26, 2, 30, 0, 0, 0], [26, 1, 1, 24, 0, 0], [26, 1, 1, 0, 60, 0], [26, 255, 1, 0, 0, 0]] {
            assert_eq!(Timestamp::from_civil(Civil::from_six(six), 0), None, "{six:?}");
        }
    }

    #[test]
    fn week_rollover_of_a_real_unit() {
        let fix = Timestamp::parse("2003-07-01T00:00:00Z").unwrap();
        let now = Timestamp::parse("2023-02-14T12:00:00Z").unwrap();
        let (moved, was) = undo_week_rollover(fix, now);
        assert!(was);
        assert_eq!(moved.to_string(), "2023-02-14T00:00:00.000Z");
        assert_eq!(undo_week_rollover(moved, now), (moved, false));
    }

    #[test]
    fn refuses_to_move_a_fix_into_the_future_or_to_another_old_date() {
        let at = |text| Timestamp::parse(text).unwrap();
        let now = at("2026-03-01T10:00:00Z");
        let rolled = |ahead_ms| now.plus_millis(ahead_ms - ROLLOVER_MS);
        assert_eq!(undo_week_rollover(rolled(ROLLOVER_AHEAD_MS), now), (now.plus_millis(ROLLOVER_AHEAD_MS), true));
        let further = rolled(ROLLOVER_AHEAD_MS + 1);
        assert_eq!(undo_week_rollover(further, now), (further, false));
        // sent very late, or by a clock that was never set
        let old = at("2012-01-01T00:00:00Z");
        assert_eq!(undo_week_rollover(old, now), (old, false));
        let older = rolled(-ROLLOVER_BEHIND_MS - 1);
        assert_eq!(undo_week_rollover(older, now), (older, false));
        assert!(undo_week_rollover(rolled(-ROLLOVER_BEHIND_MS), now).1);
    }
}
