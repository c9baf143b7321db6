//! Readings and habits that only some makers' units have, chosen by a profile's `dialect`.

use crate::h02::status::{self, Bit};
use crate::profile::{self, Profile};

/// What a model family does unlike the others.
#[derive(Debug)]
pub(super) struct Dialect {
    /// As a profile names it.
    pub(super) name: &'static str,
    /// Status bits that mean something else than commonly.
    pub(super) bits: &'static [Bit],
    /// Status bits that are zero on healthy units: they tell nothing.
    pub(super) ignored: u32,
    /// Whether the byte behind the binary status word holds alarms that we know.
    pub(super) user_alarms: bool,
    /// Whether every report wants an `R12`, also those that others send without expecting an answer.
    pub(super) answers_all: bool,
    /// Bytes of its `$` frames; else they are told from what follows.
    pub(super) binary_length: Option<usize>,
    /// Whether it may have a dispatch screen.
    pub(super) screen: bool,
    /// Whether it takes the bare words of short messages, and tells its parameters only to them.
    pub(super) bare_words: bool,
}

const COMMON: Dialect = Dialect {
    name: "",
    bits: &[],
    ignored: 0,
    user_alarms: false,
    answers_all: false,
    binary_length: None,
    screen: true,
    bare_words: false,
};

static COMMON_READINGS: Dialect = COMMON;

/// All of them, by name. Names are configuration, so they stay.
static DIALECTS: &[Dialect] = &[
    Dialect { name: "binary32", binary_length: Some(32), ..COMMON },
    Dialect { name: "binary45", binary_length: Some(45), ..COMMON },
    Dialect { name: "binary46", binary_length: Some(46), ..COMMON },
    Dialect { name: "binary47", binary_length: Some(47), ..COMMON },
    Dialect { name: "binary48", binary_length: Some(48), ..COMMON },
    Dialect { name: "binary51", binary_length: Some(51), ..COMMON },
    // units whose word at rest is EFFFBFFF: bits 14 and 28 are always zero
    Dialect { name: "efffbfff", ignored: 1 << 14 | 1 << 28, ..COMMON },
    Dialect { name: "lkgps", bits: status::LKGPS, screen: false, ..COMMON },
    // trackers: what only a screen could show is refused at once, not left unanswered
    Dialect { name: "no_screen", screen: false, ..COMMON },
    Dialect { name: "r12", answers_all: true, ..COMMON },
    Dialect { name: "sinotrack", screen: false, bare_words: true, ..COMMON },
    Dialect { name: "tianhe", bits: status::TIANHE, user_alarms: true, ..COMMON },
];

/// The names, for the registry.
pub(super) const NAMES: &[&str] = &[
    "binary32",
    "binary45",
    "binary46",
    "binary47",
    "binary48",
    "binary51",
    "efffbfff",
    "lkgps",
    "no_screen",
    "r12",
    "sinotrack",
    "tianhe",
];

impl Dialect {
    /// The dialect of a profile, else the common readings.
    pub(super) fn of(profile: &Profile) -> &'static Self {
        profile::row(profile.dialect.as_deref(), DIALECTS, |row| row.name, &COMMON_READINGS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_names_every_dialect() {
        assert!(DIALECTS.iter().map(|d| d.name).eq(NAMES.iter().copied()));
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn refuses_to_guess_a_dialect() {
        let named = |name: &str| Dialect::of(&Profile { dialect: Some(name.into()), ..Profile::default() }).name;
        assert_eq!(named("r12"), "r12");
        assert_eq!(named("no such"), "");
        assert_eq!(Dialect::of(&Profile::default()).name, "");
    }
}
