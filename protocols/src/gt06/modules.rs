//! Messages made of typed values: modules (type u16, length, value) and the sub-types of the information message 0x94.

use nom::number::complete::{be_u8, be_u16};

use crate::cursor::hex;
use crate::fault::Fault;
use crate::gt06::blocks::{Meaning, Part, Tower};
use crate::gt06::read::Reader;

/// What a module holds. The types mean the same in 0x36 to 0x39 and 0xF1, where the length has one byte, and in 0x70, where it
/// has two. Sorted by type.
static MODULES: &[(u16, &[Part])] = &[
    (0x0001, &[Part::Imei]),
    (0x0002, &[Part::Digits("imsi", 8)]),
    (0x0003, &[Part::Iccid]),
    (0x0009, &[Part::Number("satellites", 1, Meaning::Satellites)]),
    (0x000A, &[Part::Number("satellites_visible", 1, Meaning::Attribute)]),
    (0x0011, &[Part::Tower(Tower::ShortMnc), Part::Number("cell_rssi", 1, Meaning::Ignored)]),
    (0x0018, &[Part::Number("battery_v", 2, Meaning::BatteryV(100.0))]),
    (0x0027, &[Part::Number("power_v", 2, Meaning::PowerV(100.0))]),
    (0x0028, &[Part::Number("hdop", 1, Meaning::Hdop(10.0))]),
    (0x0029, &[Part::Number("index", 4, Meaning::Attribute)]),
    (0x002A, &[Part::Number("inputs", 1, Meaning::Attribute)]),
    (0x002B, &[Part::Number("boot_reason", 1, Meaning::Attribute)]),
    (0x002C, &[Part::UnixTime]),
    (0x002E, &[Part::Number("odometer_m", 4, Meaning::OdometerM(1))]),
    (0x0032, &[Part::Number("start_status", 1, Meaning::Attribute)]),
    (0x0033, &[Part::ModuleFix]),
    (0x0034, &[Part::Number("event", 1, Meaning::Attribute), Part::Number("event_time_s", 4, Meaning::Attribute)]),
    (0x0035, &[Part::Number("protocol_flag", 1, Meaning::Attribute)]),
    (0x003B, &[Part::Number("accuracy_m", 2, Meaning::Scaled(100.0))]),
    (0x006A, &[Part::Number("battery_percent", 1, Meaning::BatteryPercent)]),
    (0x007F, TAG),
];

/// A Bluetooth tag with sensors.
const TAG: &[Part] = &[
    Part::Hex("tag_id", 6),
    Part::Number("tag_battery_v", 2, Meaning::Scaled(1000.0)),
    Part::Number("tag_battery_percent", 1, Meaning::Attribute),
    Part::Number("tag_temperature_c", 2, Meaning::Signed(10.0)),
    Part::Number("tag_humidity", 2, Meaning::Attribute),
    Part::Number("tag_status", 1, Meaning::Attribute),
];

/// What a sub-type of the information message holds, by its number and content length.
#[derive(Debug)]
pub(super) struct Info {
    kind: u8,
    length: (usize, usize),
    parts: &'static [Part],
}

const fn info(kind: u8, length: (usize, usize), parts: &'static [Part]) -> Info {
    Info { kind, length, parts }
}

const ANY: (usize, usize) = (0, usize::MAX);
/// Bit 0 door, 1 level that triggers, 2 input.
const DOOR: Part = Part::Number("door_bits", 1, Meaning::Attribute);

static INFO: &[Info] = &[
    info(0x00, ANY, &[Part::Number("power_v", 2, Meaning::PowerV(100.0))]),
    info(0x05, (7, usize::MAX), &[Part::Time, DOOR]),
    info(0x05, ANY, &[DOOR]),
    info(0x0A, ANY, &[Part::Imei, Part::Digits("imsi", 8), Part::Iccid]),
    info(0x0B, (1, 1), &[Part::Number("network_generation", 1, Meaning::Attribute)]),
    info(0x0B, ANY, &[Part::Number("power_v", 2, Meaning::PowerV(100.0))]),
    info(
        0x1E,
        ANY,
        &[Part::Number("temperature_c", 4, Meaning::Signed(10.0)), Part::Number("humidity_percent", 4, Meaning::Signed(10.0))],
    ),
];

/// The parts of a sub-type, if it is made of such.
pub(super) fn info_parts(kind: u8, length: usize) -> Option<&'static [Part]> {
    INFO.iter().find(|i| i.kind == kind && (i.length.0..=i.length.1).contains(&length)).map(|i| i.parts)
}

/// Read modules until the end. One that is unknown or does not fit its type is kept as it is.
pub(super) fn read(reader: &mut Reader<'_, '_, '_>, width: u8) -> Result<(), Fault> {
    while reader.c.remaining() >= 2 + usize::from(width) {
        let kind = reader.c.read("module", be_u16)?;
        let length = if width == 1 {
            usize::from(reader.c.read("module_length", be_u8)?)
        } else {
            usize::from(reader.c.read("module_length", be_u16)?)
        };
        let value = reader.c.rest().get(..length).unwrap_or_default();
        let known = MODULES.binary_search_by_key(&kind, |(k, _)| *k).ok().and_then(|at| MODULES.get(at)).map(|(_, parts)| *parts);
        let (offset_s, dialect, x) = (reader.offset_s, reader.dialect, reader.x);
        let mut inside = reader.c.sub("module_value", length)?;
        let facts = std::mem::take(&mut reader.facts);
        let mut inner = Reader { c: &mut inside, facts, offset_s, dialect, x };
        let result = match known {
            Some(parts) => inner.read(parts, &[]),
            None => {
                inner.c.take_rest("value");
                Ok(())
            }
        };
        reader.facts = inner.facts;
        if (known.is_none() || result.is_err()) && value.iter().any(|b| *b != 0) {
            reader.attributes().set(format!("module_{kind:04x}"), hex(value));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gt06::read::{Facts, tests};

    fn facts(hex: &str, width: u8) -> Facts {
        tests::facts(&[Part::Modules(width)], &[], hex).unwrap()
    }

    #[test]
    fn tables_are_sorted() {
        assert!(MODULES.is_sorted_by_key(|(kind, _)| *kind));
    }

    #[test]
    fn reads_both_widths_and_keeps_the_unknown() {
        let f = facts("001802017d 00990101".replace(' ', "").as_str(), 1);
        assert_eq!(f.report.battery_v, Some(3.81));
        assert_eq!(f.report.attributes.get("module_0099"), Some(&"01".into()));
        assert_eq!(facts("00180002017d", 2).report.battery_v, Some(3.81));
    }

    #[test]
    fn a_module_that_is_too_short_is_kept() {
        let f = facts("00180101 002e0400000010".replace(' ', "").as_str(), 1);
        assert_eq!(f.report.attributes.get("module_0018"), Some(&"01".into()));
        assert_eq!(f.report.odometer_m, Some(16.0));
    }

    #[test]
    fn information_depends_on_its_length() {
        assert_eq!(info_parts(0x05, 1).map(<[Part]>::len), Some(1));
        assert_eq!(info_parts(0x05, 7).map(<[Part]>::len), Some(2));
        assert!(info_parts(0x99, 1).is_none());
    }
}
