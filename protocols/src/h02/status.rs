//! The status word: 32 bits in negative logic, so a bit of zero is what is told about.

use crate::event::{Alarm, Report};
use crate::h02::dialect::Dialect;

/// What a bit of zero tells.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bit {
    /// Its number; 0 is the least significant of the last byte.
    pub(super) number: u8,
    /// The alarm, if it is one.
    pub(super) alarm: Option<Alarm>,
    /// The attribute, where no alarm of the contract says all of it.
    pub(super) name: &'static str,
}

const fn alarm(number: u8, alarm: Alarm) -> Bit {
    Bit { number, alarm: Some(alarm), name: "" }
}

const fn detail(number: u8, alarm: Alarm, name: &'static str) -> Bit {
    Bit { number, alarm: Some(alarm), name }
}

const fn flag(number: u8, name: &'static str) -> Bit {
    Bit { number, alarm: None, name }
}

/// Ignition, the one bit in positive logic.
const ACC: u8 = 10;

/// What most makers mean. Bits that two documents read as different things have a name that says so and raise no alarm; bits
/// 29 to 31 (buttons or level sensors) and 12 stay in the raw word.
static COMMON: &[Bit] = &[
    alarm(0, Alarm::Vibration),
    alarm(1, Alarm::Sos),
    alarm(2, Alarm::Overspeed),
    detail(3, Alarm::General, "illegal_ignition"),
    alarm(4, Alarm::GeofenceEnter),
    alarm(5, Alarm::GnssAntennaCut),
    detail(6, Alarm::GnssAntennaCut, "gnss_antenna_short"),
    alarm(7, Alarm::GeofenceExit),
    flag(8, "door_open"),
    flag(9, "armed"),
    flag(11, "crash_or_engine"),
    flag(13, "pump_or_engine"),
    flag(14, "custom_alarm"),
    detail(15, Alarm::Overspeed, "second_overspeed"),
    detail(16, Alarm::Fault, "gnss_receiver_fault"),
    alarm(17, Alarm::Vibration),
    alarm(18, Alarm::Sos),
    detail(19, Alarm::PowerCut, "on_backup_battery"),
    detail(20, Alarm::PowerCut, "battery_removed"),
    alarm(21, Alarm::GnssAntennaCut),
    detail(22, Alarm::GnssAntennaCut, "gnss_antenna_short"),
    flag(23, "level_sensor"),
    flag(24, "temperature_or_displacement"),
    alarm(25, Alarm::Movement),
    flag(26, "blind_record"),
    flag(27, "fuel_cut"),
    detail(28, Alarm::PowerCut, "battery_removed"),
];

/// Tianhe's own terminals, by their documents.
pub(super) static TIANHE: &[Bit] =
    &[detail(0, Alarm::Door, "illegal_door"), alarm(11, Alarm::Accident), alarm(24, Alarm::Temperature)];

/// Units by LKGPS and others whose bit 17 is the battery, 18 the tilt sensor and 24 a displacement.
pub(super) static LKGPS: &[Bit] = &[alarm(17, Alarm::LowBattery), detail(18, Alarm::Tow, "tilt"), alarm(24, Alarm::Movement)];

/// Bits of the user's alarm byte, in negative logic too.
static USER: &[(u8, &str)] = &[(0, "user_door"), (1, "user_engine"), (2, "user_acc"), (3, "user_on_backup_battery")];

/// Read a status word.
pub(super) fn read(word: u32, dialect: &Dialect, report: &mut Report) {
    report.ignition = Some(word >> ACC & 1 == 1);
    report.attributes.set("status_bits", word);
    let active = !(word | dialect.ignored);
    if active & !(1 << ACC) == 0 {
        return;
    }
    for common in COMMON.iter().filter(|bit| active >> bit.number & 1 == 1) {
        let bit = dialect.bits.iter().find(|own| own.number == common.number).unwrap_or(common);
        bit.alarm.into_iter().for_each(|alarm| report.alarms.insert(alarm));
        if !bit.name.is_empty() && report.attributes.get(bit.name).is_none() {
            report.attributes.set(bit.name, true);
        }
    }
}

/// Read the user's alarm byte behind a binary status word; 0xFF is none.
pub(super) fn read_user(byte: u8, dialect: &Dialect, report: &mut Report) {
    if byte == 0xFF {
        return;
    }
    if dialect.user_alarms {
        for (_, name) in USER.iter().filter(|(bit, _)| !byte >> bit & 1 == 1) {
            report.attributes.set(*name, true);
        }
    } else {
        report.attributes.set("user_alarm_bits", byte);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::Value;
    use crate::profile::Profile;

    fn told(word: u32, dialect: &str) -> (Option<bool>, Vec<&'static str>, Vec<String>) {
        let dialect = Dialect::of(&Profile { dialect: Some(dialect.into()), ..Profile::default() });
        let mut report = Report::default();
        read(word, dialect, &mut report);
        let names = report.attributes.iter().skip(1).map(|(name, _)| name.to_owned()).collect();
        (report.ignition, report.alarms.iter().map(Alarm::label).collect(), names)
    }

    #[test]
    fn nothing_is_active_in_all_ones() {
        assert_eq!(told(0xFFFF_FFFF, ""), (Some(true), vec![], vec![]));
        assert_eq!(told(0xFFFF_FBFF, ""), (Some(false), vec![], vec![]));
    }

    #[test]
    fn bits_of_zero_are_alarms_and_states() {
        assert_eq!(told(0xFFFF_FBFD, "").1, ["sos"]);
        assert_eq!(told(0xF7FF_FBFF, "").2, ["fuel_cut"]);
        let (_, alarms, names) = told(0xEFE7_F9FF, "");
        assert_eq!(alarms, ["power_cut"]);
        assert_eq!(names, ["armed", "on_backup_battery", "battery_removed"]);
    }

    #[test]
    fn makers_differ() {
        assert_eq!(told(0xFFFF_FFFE, "").1, ["vibration"]);
        assert_eq!(told(0xFFFF_FFFE, "tianhe").1, ["door"]);
        assert_eq!(told(0xFFFD_FFFF, "lkgps").1, ["low_battery"]);
        assert_eq!(told(0xEFFF_BFFF, "efffbfff"), (Some(true), vec![], vec![]));
        assert_eq!(told(0xEFFF_BFFD, "efffbfff").1, ["sos"]);
    }

    #[test]
    fn every_row_of_a_dialect_replaces_a_common_one_and_bits_are_named_once() {
        assert!(COMMON.is_sorted_by(|a, b| a.number < b.number));
        assert!(COMMON.iter().all(|bit| bit.number < 32 && bit.number != ACC));
        for own in [TIANHE, LKGPS] {
            assert!(own.iter().all(|bit| COMMON.iter().any(|common| common.number == bit.number)));
        }
    }

    #[test]
    fn the_user_byte_is_read_where_it_is_known() {
        let read = |byte, dialect: &str| {
            let mut report = Report::default();
            read_user(byte, Dialect::of(&Profile { dialect: Some(dialect.into()), ..Profile::default() }), &mut report);
            report.attributes
        };
        assert!(read(0xFF, "tianhe").is_empty());
        assert_eq!(read(0xFE, "").get("user_alarm_bits"), Some(&Value::Int(0xFE)));
        assert_eq!(read(0xF7, "tianhe").get("user_on_backup_battery"), Some(&Value::Bool(true)));
    }
}
