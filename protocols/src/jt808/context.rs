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

    /// BCD[6] in the device's own time; `None` where it is no time, zeros among others.
    pub(super) fn time(&self, bytes: &[u8]) -> Option<Timestamp> {
        let civil = bcd::civil(bytes.first_chunk()?)?;
        Timestamp::from_civil(civil, self.zone.offset_s)
    }
}
