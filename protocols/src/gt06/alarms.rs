//! Alarm codes. The common table is the union of the GT06 v1.8 and VL03 documents and of what fielded units were seen to mean;
//! where models contradict each other, a dialect says so.

use crate::event::Alarm;

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

/// The alarm of a code, where no dialect says otherwise.
pub(super) fn common(code: u16) -> Option<Alarm> {
    look_up(CODES, code)
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
    fn tables_are_sorted() {
        assert!(CODES.is_sorted_by_key(|(code, _)| *code) && DASH_CAM.is_sorted_by_key(|(code, _)| *code));
    }

    #[test]
    fn codes_without_a_word_in_the_contract_are_no_alarm() {
        assert_eq!(common(0x19), Some(Alarm::LowBattery));
        assert_eq!((common(0x00), common(0x0D), common(IGNITION_ON)), (None, None, None));
        assert_eq!((dash_cam(0x93), dash_cam(0x02)), (Some(Alarm::Accident), None));
    }
}
