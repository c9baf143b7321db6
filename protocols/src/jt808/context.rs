//! What decoding depends on besides the bytes: edition, profile and dialect.

use super::dialect::{self, Dialect};
use super::header::Edition;
use crate::parts::bcd;
use crate::profile::{Charset, Profile, TimeZone};
use crate::time::Timestamp;

/// Settings of one decoding.
#[derive(Debug, Clone, Copy)]
pub(super) struct Context<'p> {
    pub(super) edition: Edition,
    pub(super) charset: Charset,
    pub(super) dialect: &'p Dialect,
    zone: TimeZone,
}

impl Context<'_> {
    /// For a device of this edition with this profile. The standard says GBK and GMT+8.
    pub(super) fn new(edition: Edition, profile: &Profile) -> Self {
        Self {
            edition,
            charset: profile.charset.unwrap_or(Charset::Gbk),
            dialect: dialect::find(profile.dialect.as_deref()),
            zone: profile.time_zone.unwrap_or(TimeZone::CHINA),
        }
    }

    /// BCD of 6 bytes in the device's own time; `None` where it is no time, zeros among others.
    pub(super) fn time(&self, bytes: &[u8]) -> Option<Timestamp> {
        let civil = bcd::civil(bytes.first_chunk()?)?;
        Timestamp::from_civil(civil, self.zone.offset_s)
    }
}

/// For tests of item readers: what one makes of a value, in the common profile.
#[cfg(test)]
pub(super) fn read(
    reader: fn(&mut crate::cursor::Cursor<'_, '_>, &mut crate::event::Report, &Context<'_>) -> Result<(), crate::fault::Fault>,
    value: &[u8],
) -> Result<crate::event::Report, crate::fault::Fault> {
    let (profile, mut report) = (Profile::default(), crate::event::Report::default());
    reader(&mut crate::cursor::Cursor::new(value, 0, None), &mut report, &Context::new(Edition::V2013, &profile))?;
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_of_china_unless_the_profile_says_otherwise() {
        let time = |zone| {
            let profile = Profile { time_zone: zone, ..Profile::default() };
            Context::new(Edition::V2013, &profile).time(b"\x26\x03\x01\x18\x00\x00").map(|t| t.to_string())
        };
        assert_eq!(time(None).as_deref(), Some("2026-03-01T10:00:00.000Z"));
        assert_eq!(time(Some(TimeZone::UTC)).as_deref(), Some("2026-03-01T18:00:00.000Z"));
    }

    #[test]
    fn refuses_zeros_and_what_is_no_time() {
        let profile = Profile::default();
        let context = Context::new(Edition::V2013, &profile);
        for bytes in [&b"\0\0\0\0\0\0"[..], b"\x26\x13\x01\x18\x00\x00", b"\x2a\x01\x01\x18\x00\x00", b"\x26"] {
            assert_eq!(context.time(bytes), None);
        }
    }
}
