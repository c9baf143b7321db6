//! What time it is: a device says its local date and time, and the UTC time of day of its fix. Their difference is its zone.

use crate::profile::TimeZone;
use crate::time::{Civil, Timestamp};

const MINUTE_MS: i64 = 60_000;
const DAY_MIN: i64 = 24 * 60;
/// Half a day: a local time is taken for the one of two that is less far from UTC.
const HALF_DAY_MIN: i64 = DAY_MIN / 2;
/// All zones are multiples of a quarter of an hour; the two clocks of a device differ by some minutes.
const ZONE_STEP_MIN: i64 = 15;

/// What a message says about the time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Clock {
    /// By the device's own clock.
    pub(super) local: Option<Civil>,
    /// UTC, milliseconds since midnight.
    pub(super) utc_ms: Option<i64>,
}

/// The zones that are known beforehand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Zones {
    /// What the profile says.
    pub(super) set: Option<TimeZone>,
    /// What the connection has shown so far. It only helps where a message has no UTC time: a device's clock may be set anew.
    pub(super) shown: Option<TimeZone>,
}

/// What that comes to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reading {
    /// The instant.
    pub(super) time: Option<Timestamp>,
    /// The zone, where both clocks show it.
    pub(super) zone: Option<TimeZone>,
}

impl Clock {
    /// The instant. Where no zone is known a local time is taken for UTC, which is what these units are delivered with.
    pub(super) fn read(self, zones: Zones) -> Reading {
        let Some(local) = self.local else {
            return Reading::default();
        };
        let Some(utc_ms) = self.utc_ms else {
            let offset_s = zones.set.or(zones.shown).unwrap_or(TimeZone::UTC).offset_s;
            return Reading { time: Timestamp::from_civil(local, offset_s), zone: None };
        };
        let Some(local) = Timestamp::from_civil(Civil { second: 0, ..local }, 0) else {
            return Reading::default();
        };
        let local_min = local.as_millis() / MINUTE_MS;
        let day_min = local_min - local_min.rem_euclid(DAY_MIN);
        let utc_min = day_min + utc_ms / MINUTE_MS;
        // local minus UTC is the zone; without one it is that of the two possible which is less than half a day
        let expected = zones.set.map_or(0, |z| i64::from(z.offset_s) / 60);
        let ahead = local_min - utc_min - expected;
        let days = if ahead <= -HALF_DAY_MIN { -1 } else { i64::from(ahead > HALF_DAY_MIN) };
        let offset_min = local_min - utc_min - days * DAY_MIN;
        let rounded = (offset_min + ZONE_STEP_MIN / 2).div_euclid(ZONE_STEP_MIN) * ZONE_STEP_MIN;
        Reading {
            time: Some(Timestamp::from_millis((day_min + days * DAY_MIN) * MINUTE_MS + utc_ms)),
            zone: i32::try_from(rounded * 60).ok().map(|offset_s| TimeZone { offset_s }),
        }
    }

    /// The instant of a fix without a date, taken for the last such time of day before `now`, or soon after it.
    pub(super) fn dated(self, now: Timestamp) -> Option<Timestamp> {
        /// How far a device's clock may be ahead of ours.
        const AHEAD_MIN: i64 = 60;
        let utc_ms = self.utc_ms.filter(|_| self.local.is_none())?;
        let day_ms = DAY_MIN * MINUTE_MS;
        let latest = now.as_millis() + AHEAD_MIN * MINUTE_MS;
        let today = latest - latest.rem_euclid(day_ms) + utc_ms;
        Some(Timestamp::from_millis(if today > latest { today - day_ms } else { today }))
    }
}

/// `yyMMddHHmm`, `yyMMddHHmmss` or `yy/MM/dd HH:mm`; zeros and other numbers are no time.
pub(super) fn local(text: &str) -> Option<Civil> {
    let mut digits = [0; 12];
    let mut n = 0;
    for byte in text.bytes() {
        match byte {
            b'0'..=b'9' => {
                *digits.get_mut(n)? = byte - b'0';
                n += 1;
            }
            b'/' | b' ' | b':' => {}
            _ => return None,
        }
    }
    let mut pairs = digits.chunks_exact(2).map(|pair| pair.iter().fold(0, |n, digit| n * 10 + digit));
    let mut six = [0; 6];
    six.iter_mut().zip(&mut pairs).for_each(|(slot, pair)| *slot = pair);
    let [year, month, day, hour, minute, second] = six;
    let days = match month {
        2 if year % 4 == 0 => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        1..=12 => 31,
        _ => 0,
    };
    let exists = (1..=days).contains(&day) && hour < 24 && minute < 60 && second < 60;
    (matches!(n, 10 | 12) && exists).then(|| Civil::from_six(six))
}

/// `HHmmss` or `HHmmss.sss`, as milliseconds since midnight. Some units put another number there.
pub(super) fn time_of_day(text: &str) -> Option<i64> {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, ""));
    let all_digits = |t: &str| t.bytes().all(|b| b.is_ascii_digit());
    if whole.len() != 6 || !all_digits(whole) || !all_digits(fraction) {
        return None;
    }
    let hhmmss: i64 = whole.parse().ok()?;
    let (hours, minutes, seconds) = (hhmmss / 10_000, hhmmss / 100 % 100, hhmmss % 100);
    let ms = fraction.bytes().chain([b'0'; 3]).take(3).fold(0, |n, b| n * 10 + i64::from(b - b'0'));
    let exists = hours < 24 && minutes < 60 && seconds < 60;
    exists.then_some(((hours * 60 + minutes) * 60 + seconds) * 1000 + ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(date: &str, utc: &str, set: Option<&str>) -> (String, Option<i32>) {
        let clock = Clock { local: local(date), utc_ms: time_of_day(utc) };
        let zones = Zones { set: set.and_then(TimeZone::parse), shown: Some(TimeZone { offset_s: 3600 }) };
        let Reading { time, zone } = clock.read(zones);
        (time.map_or_else(String::new, |t| t.to_string()), zone.map(|z| z.offset_s / 60))
    }

    #[test]
    fn the_zone_is_the_difference_of_the_clocks() {
        for (date, utc, time, zone) in [
            ("151027025958", "235957.000", "2015-10-26T23:59:57.000Z", 180),
            ("0809231929", "055403.000", "2008-09-24T05:54:03.000Z", -10 * 60 - 30),
            ("1611291645", "204457.000", "2016-11-29T20:44:57.000Z", -240),
            ("201223064947", "064947", "2020-12-23T06:49:47.000Z", 0),
            ("1301072224", "142411.077", "2013-01-07T14:24:11.077Z", 480),
            ("16/02/15 12:00", "000000", "2016-02-15T00:00:00.000Z", 720),
            ("1602150000", "120000", "2016-02-14T12:00:00.000Z", 720),
        ] {
            assert_eq!(read(date, utc, None), (time.to_owned(), Some(zone)), "{date} {utc}");
        }
    }

    #[test]
    fn a_known_zone_decides_the_day() {
        assert_eq!(read("1602151230", "233000", Some("+13:00")).0, "2016-02-14T23:30:00.000Z");
        assert_eq!(read("1602151230", "233000", None).0, "2016-02-15T23:30:00.000Z");
    }

    #[test]
    fn without_utc_the_local_time_is_moved_by_the_zone() {
        assert_eq!(read("2603011830", "31.0", Some("+08:00")), ("2026-03-01T10:30:00.000Z".to_owned(), None));
        assert_eq!(read("260301183045", "", None).0, "2026-03-01T17:30:45.000Z");
        let nobody_knows = Clock { local: local("2603011830"), utc_ms: None }.read(Zones::default());
        assert_eq!(nobody_knows.time.map(|t| t.to_string()).as_deref(), Some("2026-03-01T18:30:00.000Z"));
    }

    #[test]
    fn a_fix_without_a_date_was_made_lately() {
        let now = Timestamp::parse("2026-03-01T10:00:00Z").unwrap();
        let dated = |utc| Clock { local: None, utc_ms: time_of_day(utc) }.dated(now).map(|t| t.to_string());
        assert_eq!(dated("095900").as_deref(), Some("2026-03-01T09:59:00.000Z"));
        assert_eq!(dated("105900").as_deref(), Some("2026-03-01T10:59:00.000Z"));
        assert_eq!(dated("110100").as_deref(), Some("2026-02-28T11:01:00.000Z"));
        assert_eq!(Clock { local: local("2603011830"), utc_ms: Some(0) }.dated(now), None);
    }

    #[test]
    fn refuses_what_is_no_time() {
        for text in [
            "",
            "000000000",
            "0000000119",
            "2613011200",
            "2603012460",
            "2602291200",
            "2604311200",
            "26030112",
            "2603011200x",
            "2603011200301",
        ] {
            assert_eq!(local(text), None, "{text}");
        }
        for text in ["", "31.0", "240000", "126000", "120060", "12000x", "120000.x"] {
            assert_eq!(time_of_day(text), None, "{text}");
        }
    }
}
