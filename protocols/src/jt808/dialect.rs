//! Readings that only some makers' units want, chosen by a profile's `dialect`. Everything else is the common reading.

use super::items::{self, Entry};
use super::position::AlarmBit;
use crate::event::Alarm;

/// One dialect.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The name that profiles use.
    pub(super) name: &'static str,
    /// Items that mean something else than commonly; looked at first.
    pub(super) items: &'static [Entry],
    /// Alarm bits that replace the standard's, if they do.
    pub(super) alarms: Option<&'static [AlarmBit]>,
    /// Whether the load bits of the status word are the hired flag of a taxi.
    pub(super) load_is_hire: bool,
    /// How the fuel supply is cut and restored; the standard has no words for it.
    pub(super) fuel: Fuel,
}

/// The encodings of one intent that makers have found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fuel {
    /// 0x8105 with one of these, cut and restored.
    Control(u8, u8),
    /// 0x8105 whose whole body is one of these texts.
    ControlText(&'static str, &'static str),
    /// 0xA006.
    Message,
    /// 0x8900, kind 0xF0, one of these texts.
    PassedText(&'static str, &'static str),
}

const COMMON: Dialect = Dialect { name: "", items: &[], alarms: None, load_is_hire: false, fuel: Fuel::Control(0xF0, 0xF1) };

static COMMON_READINGS: Dialect = COMMON;

/// All of them, by name. Names are configuration, so they stay.
static DIALECTS: &[Dialect] = &[
    // AOVX AL300, GL100, VL300: items F3, F6, F8 are blocks of their own, alarm bit 16 is movement
    Dialect {
        name: "aovx",
        items: items::AOVX,
        alarms: Some(&[AlarmBit::new(16, Some(Alarm::Movement), "movement")]),
        fuel: Fuel::ControlText("#0;1", "#0;0"),
        ..COMMON
    },
    // G10LS, W15L
    Dialect { name: "g10ls", fuel: Fuel::Control(0x64, 0x65), ..COMMON },
    // the GPS51 platform's family of trackers
    Dialect { name: "gps51", items: items::GPS51, ..COMMON },
    // Jimi JC cameras in 808 mode: item E8 carries typed events
    Dialect { name: "jimi", items: items::JIMI, fuel: Fuel::PassedText("RELAY,1#", "RELAY,0#"), ..COMMON },
    // units with a message of their own for the fuel supply
    Dialect { name: "oil_message", fuel: Fuel::Message, ..COMMON },
    // padlocks such as G-360P, G-508P
    Dialect {
        name: "padlock",
        alarms: Some(&[
            AlarmBit::new(0, Some(Alarm::Removed), "removed"),
            AlarmBit::new(1, Some(Alarm::Tamper), "tamper"),
            AlarmBit::new(4, Some(Alarm::Removed), "removed"),
        ]),
        ..COMMON
    },
    // taxis that show hired and free in the load bits
    Dialect { name: "taxi", load_is_hire: true, ..COMMON },
];

/// The names, for the registry.
pub(super) const NAMES: &[&str] = &["aovx", "g10ls", "gps51", "jimi", "oil_message", "padlock", "taxi"];

/// The dialect of this name, else the common readings.
pub(super) fn find(name: Option<&str>) -> &'static Dialect {
    crate::profile::row(name, DIALECTS, |row| row.name, &COMMON_READINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_names_every_dialect() {
        let names: Vec<_> = DIALECTS.iter().map(|d| d.name).collect();
        assert_eq!(names, NAMES);
        assert_eq!(find(Some("jimi")).name, "jimi");
        assert_eq!(find(Some("nobody")).name, "");
    }
}
