//! Readings that only some makers' units want, chosen by a profile's `dialect`.
//!
//! The common reading is the published one, also where a few frames of real units speak for another: whoever compares us with
//! the documents, or with another server, finds what is written there, and a fleet whose units mean the other says so once.

use crate::event::Alarm;
use crate::gt06::alarms;
use crate::gt06::commands::{COMMON_WORDS, FIRST_WORDS, Words};
use crate::gt06::variants::{self, Row};
use crate::profile::{self, Profile};

/// What a model family means by codes and layouts that others use differently.
#[derive(Debug)]
pub(super) struct Dialect {
    /// As a profile names it.
    pub(super) name: &'static str,
    /// Layouts that replace the common ones; looked at first.
    pub(super) rows: &'static [Row],
    codes: &'static [(u16, Alarm)],
    /// Meaning of 111 in the alarm bits of the terminal information.
    info_111: Alarm,
    /// Texts of online commands.
    pub(super) words: Words,
}

const COMMON: Dialect = Dialect { name: "", rows: &[], codes: &[], info_111: Alarm::Removed, words: COMMON_WORDS };

static COMMON_READINGS: Dialect = COMMON;

/// All of them, by name. Names are configuration, so they stay.
pub(super) static DIALECTS: &[Dialect] = &[
    // the first GT06, whose commands are the initials of Chinese words
    Dialect { name: "gt06_v1", words: FIRST_WORDS, ..COMMON },
    // units whose 0x30 is a jammed receiver
    Dialect { name: "jimi", codes: &[(0x30, Alarm::Jamming)], ..COMMON },
    // LW4G
    Dialect { name: "lw", codes: &[(0x18, Alarm::Accident), (0x19, Alarm::HardAcceleration)], ..COMMON },
    // Seeworld and WanWay: also the short 0xA3, which is published as a plain status and reads sanely as the long one does
    Dialect {
        name: "seeworld",
        rows: variants::SEEWORLD_DIALECT,
        codes: &[(0x28, Alarm::HardCornering), (0x29, Alarm::Accident)],
        ..COMMON
    },
    // SL4x: the cell of 0x31 and 0x34 is published with eight bytes, of which the last four look like other things
    Dialect { name: "sl4x", rows: variants::SL4X_DIALECT, ..COMMON },
    // Jimi VL series
    Dialect { name: "vl", codes: &[(0x09, Alarm::Tow), (0x28, Alarm::PowerOff)], ..COMMON },
    // heartbeats with a voltage where the documents have the two levels
    Dialect { name: "voltage_u16", rows: variants::VOLTAGE_DIALECT, ..COMMON },
    Dialect { name: "vxt01", info_111: Alarm::Overspeed, ..COMMON },
    // X1 whose first voltage is the supply; the published order is the internal battery first
    Dialect { name: "x1_supply_first", rows: variants::X1_DIALECT, ..COMMON },
];

/// The names, for the registry.
pub(super) const NAMES: &[&str] = &["gt06_v1", "jimi", "lw", "seeworld", "sl4x", "vl", "voltage_u16", "vxt01", "x1_supply_first"];

impl Dialect {
    /// The dialect of a profile, else the common readings.
    pub(super) fn of(profile: &Profile) -> &'static Self {
        profile::row(profile.dialect.as_deref(), DIALECTS, |row| row.name, &COMMON_READINGS)
    }

    /// The layout for a message.
    pub(super) fn row(&self, form: u8, kind: u8, length: u16) -> &'static Row {
        let own = self.rows.iter().find(|row| row.is_for(form, kind, length));
        own.unwrap_or_else(|| variants::find(form, kind, length))
    }

    /// The alarm of a code.
    pub(super) fn alarm(&self, code: u16) -> Option<Alarm> {
        let own = self.codes.iter().find(|(c, _)| *c == code).map(|(_, alarm)| *alarm);
        own.or_else(|| alarms::common(code))
    }

    /// The alarm in bits 5-3 of the terminal information.
    pub(super) fn info_alarm(&self, info: u8) -> Option<Alarm> {
        match info >> 3 & 7 {
            1 => Some(Alarm::Vibration),
            2 => Some(Alarm::PowerCut),
            3 => Some(Alarm::LowBattery),
            4 => Some(Alarm::Sos),
            6 => Some(Alarm::Geofence),
            7 => Some(self.info_111),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gt06::frame::BASIC;

    fn named(name: &str) -> &'static Dialect {
        Dialect::of(&Profile { dialect: Some(name.into()), ..Profile::default() })
    }

    #[test]
    fn the_registry_names_every_dialect() {
        assert!(DIALECTS.iter().map(|d| d.name).eq(NAMES.iter().copied()));
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn a_dialect_changes_only_its_codes() {
        assert_eq!(named("lw").alarm(0x19), Some(Alarm::HardAcceleration));
        assert_eq!(named("lw").alarm(0x01), Some(Alarm::Sos));
        assert_eq!(named("vxt01").info_alarm(0b0011_1000), Some(Alarm::Overspeed));
        assert_eq!(named("no such").alarm(0x30), Some(Alarm::HardBraking));
        assert_eq!(COMMON.alarm(0x19), Some(Alarm::LowBattery));
        assert_eq!(COMMON.info_alarm(0b0010_0000), Some(Alarm::Sos));
        assert_eq!(COMMON.info_alarm(0b0010_1000), None);
    }

    #[test]
    fn a_dialect_changes_only_its_layouts() {
        let common = |kind, length| std::ptr::eq(named("seeworld").row(BASIC, kind, length), variants::find(BASIC, kind, length));
        assert!(!common(0xA3, 0x0C));
        assert!(common(0xA3, 0x18) && common(0xA3, 0x2C) && common(0x13, 0x0A));
        assert!(std::ptr::eq(named("no such").row(BASIC, 0xA3, 0x0C), variants::find(BASIC, 0xA3, 0x0C)));
    }

    #[test]
    fn a_dialect_changes_how_bytes_are_read_and_not_what_is_answered() {
        for (dialect, row) in DIALECTS.iter().flat_map(|d| d.rows.iter().map(move |row| (d, row))) {
            let lengths = row.length.0..=row.length.1;
            assert!(
                lengths.clone().any(|n| std::ptr::eq(dialect.row(row.form, row.kind, n), row)),
                "{} {}",
                dialect.name,
                row.title
            );
            for common in lengths.map(|n| variants::find(row.form, row.kind, n)) {
                let does = |row: &Row| (row.reply, row.clock, row.does);
                assert_eq!(does(row), does(common), "{} {}", dialect.name, row.title);
            }
        }
    }
}
