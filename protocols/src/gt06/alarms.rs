//! Alarm codes. The common table is the union of the GT06 v1.8 and VL03 documents and of what fielded units were seen to mean;
//! where models contradict each other, a dialect says so.

use crate::event::Alarm;
use crate::profile::Profile;

/// What a model family means by codes that others use differently.
#[derive(Debug)]
pub(super) struct Dialect {
    /// As a profile names it.
    pub(super) name: &'static str,
    codes: &'static [(u16, Alarm)],
    /// Meaning of 111 in the alarm bits of the terminal information.
    info_111: Alarm,
}

/// The readings that hold where no profile names a dialect.
static COMMON: Dialect = Dialect { name: "", codes: &[], info_111: Alarm::Removed };

/// The dialects. `vl`: Jimi VL series; `lw`: LW4G; `seeworld`: Seeworld and WanWay; `vxt01`: VXT01; `jimi`: units whose 0x30
/// is a jammed receiver.
pub(super) static DIALECTS: &[Dialect] = &[
    Dialect { name: "jimi", codes: &[(0x30, Alarm::Jamming)], ..COMMON_BUT },
    Dialect { name: "lw", codes: &[(0x18, Alarm::Accident), (0x19, Alarm::HardAcceleration)], ..COMMON_BUT },
    Dialect { name: "seeworld", codes: &[(0x28, Alarm::HardCornering), (0x29, Alarm::Accident)], ..COMMON_BUT },
    Dialect { name: "vl", codes: &[(0x09, Alarm::Tow), (0x28, Alarm::PowerOff)], ..COMMON_BUT },
    Dialect { name: "vxt01", codes: &[], info_111: Alarm::Overspeed },
];

const COMMON_BUT: Dialect = Dialect { name: "", codes: &[], info_111: Alarm::Removed };

/// The names of [`DIALECTS`], for the registry.
pub(super) const DIALECT_NAMES: &[&str] = &["jimi", "lw", "seeworld", "vl", "vxt01"];

/// Sorted by code. What is not here (00 normal, 0A and 0B GNSS blind area, 0D first fix, 10 SIM changed, 12 flight mode, 16 sound,
/// 17 rogue base station, 20 deep sleep) has no word in the contract and stays visible as `alarm_code`.
const CODES: &[(u16, Alarm)] = &[
    (0x01, Alarm::Sos),
    (0x02, Alarm::PowerCut),
    (0x03, Alarm::Vibration),
    (0x04, Alarm::GeofenceEnter),
    (0x05, Alarm::GeofenceExit),
    (0x06, Alarm::Overspeed),
    (0x09, Alarm::Vibration),
    (0x0C, Alarm::PowerOn),
    (0x0E, Alarm::LowPower),
    (0x0F, Alarm::LowPower),
    (0x11, Alarm::PowerOff),
    (0x13, Alarm::Tamper),
    (0x14, Alarm::Door),
    (0x15, Alarm::LowBattery),
    (0x18, Alarm::Removed),
    (0x19, Alarm::LowBattery),
    (0x1A, Alarm::HardBraking),
    (0x1B, Alarm::HardCornering),
    (0x23, Alarm::FallDown),
    (0x25, Alarm::Tamper),
    (0x26, Alarm::HardAcceleration),
    (0x27, Alarm::HardBraking),
    (0x28, Alarm::HardBraking),
    (0x29, Alarm::HardAcceleration),
    (0x2A, Alarm::HardCornering),
    (0x2B, Alarm::HardCornering),
    (0x2C, Alarm::Accident),
    (0x2E, Alarm::HardCornering),
    (0x30, Alarm::HardBraking),
    (0x32, Alarm::Tamper),
    (0x33, Alarm::Lock),
    (0x34, Alarm::Unlock),
    (0x53, Alarm::FuelLeak),
    (0x5B, Alarm::Temperature),
    (0x5C, Alarm::Temperature),
    (0xC9, Alarm::Idle),
    (0xF0, Alarm::HardAcceleration),
    (0xF1, Alarm::HardBraking),
    (0xF2, Alarm::Accident),
    (0x107, Alarm::Jamming),
    (0x10B, Alarm::Jamming),
];

/// Event codes of the dash-cam report 0x95, sorted.
const DASH_CAM: &[(u16, Alarm)] = &[
    (0x01, Alarm::Sos),
    (0x80, Alarm::Vibration),
    (0x87, Alarm::Overspeed),
    (0x90, Alarm::HardAcceleration),
    (0x91, Alarm::HardBraking),
    (0x92, Alarm::HardCornering),
    (0x93, Alarm::Accident),
];

/// The codes that report the ignition instead of an alarm: FE on, FF off.
pub(super) const IGNITION_ON: u16 = 0xFE;
/// See [`IGNITION_ON`].
pub(super) const IGNITION_OFF: u16 = 0xFF;

impl Dialect {
    /// The dialect of a profile, else the common readings.
    pub(super) fn of(profile: &Profile) -> &'static Self {
        let named = profile.dialect.as_deref().and_then(|name| DIALECTS.iter().find(|d| d.name == name));
        named.unwrap_or(&COMMON)
    }

    /// The alarm of a code.
    pub(super) fn alarm(&self, code: u16) -> Option<Alarm> {
        let own = self.codes.iter().find(|(c, _)| *c == code).map(|(_, alarm)| *alarm);
        own.or_else(|| look_up(CODES, code))
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

/// The alarm of a dash-cam event.
pub(super) fn dash_cam(code: u8) -> Option<Alarm> {
    look_up(DASH_CAM, u16::from(code))
}

fn look_up(table: &[(u16, Alarm)], code: u16) -> Option<Alarm> {
    table.binary_search_by_key(&code, |(c, _)| *c).ok().and_then(|at| table.get(at)).map(|(_, alarm)| *alarm)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_dialects_are_listed() {
        assert!(CODES.is_sorted_by_key(|(code, _)| *code) && DASH_CAM.is_sorted_by_key(|(code, _)| *code));
        assert!(DIALECTS.iter().map(|d| d.name).eq(DIALECT_NAMES.iter().copied()));
    }

    #[test]
    fn a_dialect_changes_only_its_codes() {
        let named = |name: &str| Dialect::of(&Profile { dialect: Some(name.into()), ..Profile::default() });
        assert_eq!(COMMON.alarm(0x19), Some(Alarm::LowBattery));
        assert_eq!(named("lw").alarm(0x19), Some(Alarm::HardAcceleration));
        assert_eq!(named("lw").alarm(0x01), Some(Alarm::Sos));
        assert_eq!(named("vxt01").info_alarm(0b0011_1000), Some(Alarm::Overspeed));
        assert_eq!(named("no such").alarm(0x30), Some(Alarm::HardBraking));
        assert_eq!(COMMON.alarm(0x00), None);
        assert_eq!(COMMON.info_alarm(0b0010_0000), Some(Alarm::Sos));
        assert_eq!(COMMON.info_alarm(0b0010_1000), None);
    }
}
