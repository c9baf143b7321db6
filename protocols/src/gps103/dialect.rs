//! Readings that only some makers' units want, chosen by a profile's `dialect`.
//!
//! The common readings are those of the documents of 2010 and 2014.

use crate::event::DriverAction;
use crate::parts::geo::KMH_PER_KNOT;
use crate::profile::{self, Profile};

/// What a model family means by the same words.
#[derive(Debug)]
pub(super) struct Dialect {
    /// As a profile names it.
    pub(super) name: &'static str,
    /// What a number in the field of the speed is, km/h. The documents give no unit but explain the sentences of NMEA, which
    /// has knots, and that is what most units send.
    pub(super) speed_unit_kmh: f64,
    /// The key that ends an order is pressed twice, first when the passenger gets in; some firmware has it once.
    pub(super) picks_up: bool,
    /// What a card at the reader means; there is no word for on and off duty.
    pub(super) card: DriverAction,
    /// Which of its two languages the device takes commands in.
    pub(super) codes: Codes,
}

/// The names of commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Codes {
    /// `J`, answered by `jt`: the documents of 2010, and what nearly every unit still takes.
    Letters,
    /// `109`, answered by `109` or, where the device refuses, `509`: the documents of 2014.
    Numbers,
}

const COMMON: Dialect =
    Dialect { name: "", speed_unit_kmh: KMH_PER_KNOT, picks_up: true, card: DriverAction::SignOn, codes: Codes::Letters };

static COMMON_READINGS: Dialect = COMMON;

/// All of them, by name. Names are configuration, so they stay.
static DIALECTS: &[Dialect] = &[
    // a card is only told, not taken for a sign-on
    Dialect { name: "card_only", card: DriverAction::CardIn, ..COMMON },
    // 177 is sent once, at the end
    Dialect { name: "completed_only", picks_up: false, ..COMMON },
    // speed in km/h
    Dialect { name: "kmh", speed_unit_kmh: 1.0, ..COMMON },
    // firmware that takes the numbers of 2014 only
    Dialect { name: "numbers", codes: Codes::Numbers, ..COMMON },
    Dialect { name: "numbers_completed_only", codes: Codes::Numbers, picks_up: false, ..COMMON },
];

/// The names, for the registry.
pub(super) const NAMES: &[&str] = &["card_only", "completed_only", "kmh", "numbers", "numbers_completed_only"];

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
    fn a_dialect_changes_what_it_names() {
        let named = |name: &str| Dialect::of(&Profile { dialect: Some(name.into()), ..Profile::default() });
        assert!((named("kmh").speed_unit_kmh - 1.0).abs() < f64::EPSILON);
        assert!(!named("completed_only").picks_up && named("kmh").picks_up);
        assert_eq!((named("numbers").codes, named("no such").codes), (Codes::Numbers, Codes::Letters));
        assert_eq!(named("card_only").card, DriverAction::CardIn);
    }
}
