//! Readings and answers that only some makers' units want, chosen by a profile's `dialect`.

use crate::event::Alarm;
use crate::parts::geo::KMH_PER_KNOT;
use crate::profile::{self, Profile};

/// What a family of units means, or expects, differently.
#[derive(Debug, PartialEq)]
pub(super) struct Dialect {
    /// As a profile names it.
    pub(super) name: &'static str,
    /// Alarm digits of `BO01` that mean something else than [`ALARMS`] says.
    codes: &'static [(u8, Alarm)],
    /// km/h in one unit of speed.
    pub(super) kmh: f64,
    /// Whether an alarm is repeated until it is answered.
    pub(super) answers_alarms: bool,
    /// Whether the answer to a handshake repeats what followed its `HSO`.
    pub(super) echoes_timer: bool,
    /// Whether the twelve digits in front are always the time and never an id. Else it is found out: see `session`.
    pub(super) time_in_front: bool,
    /// Whether it takes its commands as short messages between `[begin]` and `[end]`.
    pub(super) sms2: bool,
}

/// The digits of `BO01`, as published.
const ALARMS: [Alarm; 8] = [
    Alarm::PowerOff,
    Alarm::Accident,
    Alarm::Sos,
    Alarm::Vibration,
    Alarm::LowSpeed,
    Alarm::Overspeed,
    Alarm::GeofenceExit,
    Alarm::Movement,
];

/// The codes of `BQ81`.
const VEHICLE_ALARMS: [Alarm; 6] =
    [Alarm::LowBattery, Alarm::Overspeed, Alarm::Idle, Alarm::HardAcceleration, Alarm::HardBraking, Alarm::Temperature];

const COMMON: Dialect =
    Dialect { name: "", codes: &[], kmh: 1.0, answers_alarms: true, echoes_timer: false, time_in_front: false, sms2: false };

static COMMON_READINGS: Dialect = COMMON;

/// All of them, by name. Names are configuration, so they stay.
static DIALECTS: &[Dialect] = &[
    // servers were seen to repeat the timer of a handshake in their answer, and units to be content with it
    Dialect { name: "echoes_timer", echoes_timer: true, ..COMMON },
    // no description says the unit of speed; units of this family measure km/h, their cousins knots
    Dialect { name: "knots", kmh: KMH_PER_KNOT, ..COMMON },
    // most firmwares want their alarms answered; these do not
    Dialect { name: "silent_alarms", answers_alarms: false, ..COMMON },
    // older makers' units
    Dialect { name: "sms2", sms2: true, ..COMMON },
    // units without a switch of their own: "power off" can only be the vehicle's supply
    Dialect { name: "supply_alarm", codes: &[(b'0', Alarm::PowerCut)], ..COMMON },
    // firmware before version 1.8 of the protocol
    Dialect { name: "time_in_front", time_in_front: true, ..COMMON },
];

/// The names, for the registry.
pub(super) const NAMES: &[&str] = &["echoes_timer", "knots", "silent_alarms", "sms2", "supply_alarm", "time_in_front"];

impl Dialect {
    /// The dialect of a profile, else the common readings.
    pub(super) fn of(profile: &Profile) -> &'static Self {
        profile::row(profile.dialect.as_deref(), DIALECTS, |row| row.name, &COMMON_READINGS)
    }

    /// The alarm of a digit of `BO01`.
    pub(super) fn alarm(&self, code: u8) -> Option<Alarm> {
        let own = self.codes.iter().find(|(c, _)| *c == code).map(|(_, alarm)| *alarm);
        own.or_else(|| ALARMS.get(usize::from(code.checked_sub(b'0')?)).copied())
    }
}

/// The alarm of a code of `BQ81`.
pub(super) fn vehicle_alarm(code: u64) -> Option<Alarm> {
    VEHICLE_ALARMS.get(usize::try_from(code).ok()?).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(name: &str) -> &'static Dialect {
        Dialect::of(&Profile { dialect: Some(name.into()), ..Profile::default() })
    }

    #[test]
    fn the_registry_names_every_dialect() {
        assert!(DIALECTS.iter().map(|d| d.name).eq(NAMES.iter().copied()));
        assert!(NAMES.is_sorted());
    }

    #[test]
    fn every_dialect_differs_from_the_common_readings() {
        for dialect in DIALECTS {
            assert_ne!(Dialect { name: "", ..*dialect }, COMMON, "{}", dialect.name);
        }
        assert_eq!(named("no such"), &COMMON);
    }

    #[test]
    fn a_dialect_changes_only_its_codes() {
        assert_eq!(named("supply_alarm").alarm(b'0'), Some(Alarm::PowerCut));
        assert_eq!(named("supply_alarm").alarm(b'2'), Some(Alarm::Sos));
        assert_eq!(COMMON.alarm(b'0'), Some(Alarm::PowerOff));
        assert_eq!(COMMON.alarm(b'8'), None);
        assert_eq!(COMMON.alarm(b' '), None);
    }

    #[test]
    fn codes_of_the_vehicle() {
        assert_eq!(vehicle_alarm(1), Some(Alarm::Overspeed));
        assert_eq!(vehicle_alarm(6), None);
    }
}
