//! Additional items of a location report: id, length, value, until the end of the body.
//!
//! What an item means is a table. Ids above 0x32 belong to no standard, so several makers use the same one: entries of one
//! id are told apart by the length or the first bytes of the value, and where that is not enough by the dialect.

use super::context::Context;
use super::layout::{Num, Scale, flags};
use super::{nested, network, vendor};
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Report, Value};
use crate::fault::Fault;
use crate::parts::text;

/// Which values an entry is for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Fits {
    /// This length.
    Length(usize),
    /// A length in this range.
    Between(usize, usize),
    /// So many bytes, then any number of groups of so many.
    Groups(usize, usize),
    /// Whatever this says.
    When(fn(&[u8]) -> bool),
    Any,
}

impl Fits {
    fn takes(self, value: &[u8]) -> bool {
        match self {
            Self::Length(n) => value.len() == n,
            Self::Between(from, to) => (from..=to).contains(&value.len()),
            Self::Groups(head, group) => value.len() >= head && (value.len() - head).is_multiple_of(group),
            Self::When(fits) => fits(value),
            Self::Any => true,
        }
    }
}

/// A field of the report that an item fills.
#[derive(Debug, Clone, Copy)]
pub(super) enum Slot {
    Odometer,
    Satellites,
    Rssi,
    BatteryPercent,
    BatteryV,
    PowerV,
    Hdop,
    Ignition,
}

impl Slot {
    pub(super) fn set(self, report: &mut Report, x: f64) {
        match self {
            Self::Odometer => report.odometer_m = Some(x),
            Self::Satellites => report.satellites = Some(x as u16),
            Self::Rssi => report.rssi = Some(x as i32),
            Self::BatteryPercent => report.battery_percent = Some(x),
            Self::BatteryV => report.battery_v = Some(x),
            Self::PowerV => report.power_v = Some(x),
            Self::Hdop => report.hdop = Some(x),
            Self::Ignition => report.ignition = Some(x != 0.0),
        }
    }
}

/// Reads a value that is more than one number.
pub(super) type Reader = fn(&mut Cursor<'_, '_>, &mut Report, &Context<'_>) -> Result<(), Fault>;

/// How a value is read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Reading {
    /// Into a field of the report.
    Fill(Slot, Num, Scale),
    /// Into an attribute of the entry's name.
    Number(Num, Scale),
    /// The names of the bits that are set.
    Flags(Num, &'static [&'static str]),
    Text,
    Hex,
    /// An alarm for each bit that is set.
    Alarms(Num, &'static [(u8, Alarm)]),
    By(Reader),
}

/// One reading of one id.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub(super) id: u8,
    pub(super) fits: Fits,
    pub(super) name: &'static str,
    pub(super) reading: Reading,
}

/// An entry.
pub(super) const fn entry(id: u8, fits: Fits, name: &'static str, reading: Reading) -> Entry {
    Entry { id, fits, name, reading }
}

use Fits::{Any, Between, Groups, Length, When};
use Num::{S16, U8, U16, U24, U32};
use Reading::{By, Fill, Flags, Hex, Number, Text};
use Slot::{BatteryPercent, BatteryV, Odometer, PowerV, Rssi, Satellites};

const ONE: Scale = Scale::ONE;
const TENTH: Scale = Scale::over(10.0);
const HUNDREDTH: Scale = Scale::over(100.0);
const MILLI: Scale = Scale::over(1000.0);

static SIGNALS: &[&str] = &[
    "low_beam",
    "high_beam",
    "right_turn",
    "left_turn",
    "brake",
    "reverse",
    "fog_lamp",
    "outline_lamp",
    "horn",
    "air_conditioner",
    "neutral",
    "retarder",
    "abs",
    "heater",
    "clutch",
];
static VIDEO_ALARMS: &[&str] =
    &["signal_loss", "covered", "storage_fault", "other_fault", "overcrowded", "abnormal_driving", "recording_threshold"];

/// The common readings, sorted by id; of one id the first that fits holds. 0x01 to 0x31 are the standard's.
static COMMON: &[Entry] = &[
    entry(0x01, Length(4), "odometer_0.1_km", Fill(Odometer, U32, Scale::times(100.0))),
    entry(0x02, Length(2), "fuel", By(vendor::fuel)),
    entry(0x03, Length(2), "recorder_speed_kmh", Number(U16, TENTH)),
    entry(0x04, Length(2), "confirmation_event", Number(U16, ONE)),
    entry(0x05, Length(30), "tyre_pressures", By(vendor::tyre_pressures)),
    entry(0x06, Length(1), "battery_percent", Fill(BatteryPercent, U8, ONE)),
    entry(0x06, Length(2), "carriage_temperature_c", Number(S16, ONE)),
    entry(0x0B, Between(1, 8), "lock", By(vendor::lock)),
    entry(0x11, Length(1), "overspeed_kind", Number(U8, ONE)),
    entry(0x11, Length(5), "overspeed_area", By(vendor::overspeed_area)),
    entry(0x12, Length(6), "area_crossing", By(vendor::area_crossing)),
    entry(0x13, Between(7, 8), "segment_time", By(vendor::segment_time)),
    entry(0x14, Length(4), "video_alarms", Flags(U32, VIDEO_ALARMS)),
    entry(0x15, Length(4), "video_loss_channels", Flags(U32, &[])),
    entry(0x16, Length(4), "video_covered_channels", Flags(U32, &[])),
    entry(0x17, Length(2), "video_storage_faults", Flags(U16, &[])),
    entry(0x18, Between(2, 3), "abnormal_driving", By(vendor::abnormal_driving)),
    entry(0x25, Length(4), "signals", Flags(U32, SIGNALS)),
    entry(0x2A, Length(2), "io", Flags(U16, &["deep_sleep", "sleep"])),
    entry(0x2B, Length(4), "analog", By(vendor::analog)),
    entry(0x30, Length(1), "rssi", Fill(Rssi, U8, ONE)),
    entry(0x31, Length(1), "satellites", Fill(Satellites, U8, ONE)),
    entry(0x33, Length(1), "mode", Number(U8, ONE)),
    entry(0x33, When(is_text), "lock_text", By(vendor::lock_text)),
    entry(0x51, Groups(2, 2), "temperatures_c", By(vendor::temperatures)),
    entry(0x56, Length(2), "battery_level", By(vendor::battery_tenths)),
    entry(0x57, Length(8), "behaviour", By(vendor::behaviour)),
    entry(0x5D, When(network::is_counted_cells), "cells", By(network::counted_cells)),
    entry(0x60, Between(2, 64), "lock_event", By(vendor::lock_event)),
    entry(0x61, Length(2), "power_v", Fill(PowerV, U16, HUNDREDTH)),
    entry(0x63, Groups(11, 11), "locks", By(vendor::sub_locks)),
    entry(0x64, Length(47), "adas", By(super::safety::adas)),
    entry(0x64, Length(71), "adas", By(super::safety::adas)),
    entry(0x65, Length(47), "dsm", By(super::safety::dsm)),
    entry(0x65, Length(71), "dsm", By(super::safety::dsm)),
    entry(0x66, Groups(11, 11), "cell_records", Hex),
    entry(0x66, When(super::safety::is_tpms), "tpms", By(super::safety::tpms)),
    entry(0x67, Length(41), "bsd", By(super::safety::bsd)),
    entry(0x67, Length(65), "bsd", By(super::safety::bsd)),
    entry(0x67, When(is_text), "lock_password", Text),
    entry(0x68, Length(2), "battery_percent", Fill(BatteryPercent, U16, HUNDREDTH)),
    entry(0x69, Length(2), "battery_v", Fill(BatteryV, U16, HUNDREDTH)),
    entry(0x6C, When(is_text), "imsi", Text),
    entry(0x70, Between(47, 80), "harsh_driving", By(super::safety::harsh)),
    entry(0x71, When(is_text), "iccid", Text),
    entry(0x77, Groups(8, 8), "tyres", By(vendor::tyres)),
    entry(0x80, When(|v| v.len() > 3), "obd", By(super::obd::block)),
    entry(0x82, Length(2), "power_v", Fill(PowerV, U16, TENTH)),
    entry(0x91, Between(24, 32), "obd", By(super::obd::fixed)),
    entry(0x94, When(is_text), "vin", Text),
    entry(0xA7, Length(4), "analog", By(vendor::analog)),
    entry(0xAC, Length(4), "odometer_m", Fill(Odometer, U32, ONE)),
    entry(0xBC, When(is_text), "driver_name", Text),
    entry(0xBD, When(is_text), "driver_id", Text),
    entry(0xCE, Length(2), "power_v", Fill(PowerV, U16, HUNDREDTH)),
    entry(0xD0, Length(4), "user_status", By(vendor::user_status)),
    entry(0xD3, Length(2), "power_v", Fill(PowerV, U16, TENTH)),
    entry(0xD4, Length(1), "battery", By(vendor::battery_or_charging)),
    entry(0xD4, Length(4), "driver_id", Number(U32, ONE)),
    entry(0xD5, Length(2), "battery_v", Fill(BatteryV, U16, HUNDREDTH)),
    entry(0xD5, When(vendor::is_lock_list), "locks", By(vendor::lock_list)),
    entry(0xDA, Length(4), "string_lock", By(vendor::string_lock)),
    entry(0xDA, Length(3), "string_lock", By(vendor::string_lock)),
    entry(0xE1, Length(1), "battery", By(vendor::battery_or_charging)),
    entry(0xE1, Length(2), "power_v", Fill(PowerV, U16, TENTH)),
    entry(0xE1, Length(4), "driver_id", Number(U32, ONE)),
    entry(0xE1, Groups(12, 8), "cells", By(network::cells_wide)),
    entry(0xE2, Length(4), "fuel_l", Number(U32, TENTH)),
    entry(0xE2, When(is_text), "firmware", Text),
    entry(0xE3, When(|v| v.len() >= 4 && is_text(v)), "text_e3", Text),
    entry(0xE3, Between(4, 6), "battery", By(vendor::battery_block)),
    entry(0xE4, Length(2), "charge", By(vendor::charge)),
    entry(0xE5, Length(1), "moving", By(vendor::moving)),
    entry(0xE6, When(|v| v.starts_with(b"$OBD-RT")), "obd", By(super::obd::text_item)),
    entry(0xE6, Groups(11, 11), "sensors", By(vendor::sensors)),
    entry(0xE7, Length(8), "extended_alarms", By(vendor::extended_alarms)),
    entry(0xE8, Length(3), "lock_status", Number(U24, ONE)),
    entry(0xE9, Length(1), "battery", By(vendor::battery_or_charging)),
    entry(0xE9, Length(4), "driver_id", Number(U32, ONE)),
    entry(0xEA, When(|v| v.len() > 2), "external", By(nested::external)),
    entry(0xEB, When(network::is_cell_list), "cells", By(network::cell_list)),
    entry(0xEB, When(is_text), "time_zone", Text),
    entry(0xEB, When(|v| v.len() >= 4), "extensions", By(nested::extensions)),
    entry(0xEC, Groups(7, 7), "wifi", By(network::wifi)),
    entry(0xED, When(is_text), "card", Text),
    entry(0xEE, Length(6), "radio_and_power", By(vendor::radio_and_power)),
    entry(0xF0, Groups(13, 13), "cells", By(network::cells_mobile)),
    entry(0xF1, Length(4), "power_v", Fill(PowerV, U32, MILLI)),
    entry(0xF1, When(is_text), "iccid", Text),
    entry(0xF2, When(|v| v.len() > 4 && is_text(v)), "firmware", Text),
    entry(0xF2, Length(4), "algorithm_faults", Flags(U32, &[])),
    entry(0xF3, When(super::obd::is_item_set), "obd", By(super::obd::item_set)),
    entry(0xF4, Groups(7, 7), "wifi", By(network::wifi)),
    entry(0xF5, Length(2), "illuminance", Number(U16, ONE)),
    entry(0xF6, Length(2), "air_pressure_hpa", Number(U16, ONE)),
    entry(0xF6, Length(8), "imei", By(vendor::imei)),
    entry(0xF6, When(vendor::is_event_block), "event", By(vendor::event_block)),
    entry(0xF7, Length(2), "humidity_percent", Number(U16, TENTH)),
    entry(0xF7, Between(4, 6), "battery", By(vendor::battery_wide)),
    entry(0xF8, Length(2), "temperature_2_c", Number(U16, TENTH.plus(-50.0))),
    entry(0xF8, Length(19), "module", By(vendor::module)),
    entry(0xF9, When(vendor::is_mask_block), "gnss", By(vendor::mask_block)),
    entry(0xFB, When(is_text), "container", Text),
    entry(0xFC, Length(1), "geofence_number", Number(U8, ONE)),
    entry(0xFE, Length(1), "battery_percent", Fill(BatteryPercent, U8, ONE)),
    entry(0xFE, Length(2), "power_v", Fill(PowerV, U16, TENTH)),
    entry(0xFE, Length(4), "odometer_m", Fill(Odometer, U32, ONE)),
    entry(0xFE, When(|v| v.first() == Some(&0x7C)), "alarm_block", By(nested::alarm_block)),
];

/// AOVX: blocks under ids that are single values elsewhere.
pub(super) static AOVX: &[Entry] = &[
    entry(0xF3, When(|v| v.len() > 7), "tags", By(vendor::tags)),
    entry(0xF6, When(|v| v.len() >= 2), "event", By(vendor::event_block)),
    entry(0xF8, Length(19), "module", By(vendor::module)),
];

/// The GPS51 family.
pub(super) static GPS51: &[Entry] = &[
    entry(0x52, Any, "drum_rotation", Hex),
    entry(0x53, When(network::is_counted_cells_2g), "cells", By(network::counted_cells_2g)),
    entry(0x54, When(network::is_counted_wifi), "wifi", By(network::counted_wifi)),
    entry(0x55, Length(8), "load_kg", Number(Num::U64, TENTH)),
    entry(0x58, Length(2), "humidity_percent", Number(U16, TENTH)),
    entry(0xE1, Groups(11, 7), "cells", By(network::cells_narrow)),
    entry(0xF3, Length(1), "armed", Number(U8, ONE)),
    entry(0xF4, Length(4), "extended_alarms", Flags(U32, &[])),
    entry(0xFA, Length(4), "alarms", Reading::Alarms(U32, &[(0, Alarm::Vibration), (1, Alarm::Removed)])),
    entry(0xFB, Length(4), "supply", By(vendor::supply)),
];

/// Jimi JC cameras.
pub(super) static JIMI: &[Entry] = &[entry(0xE8, When(|v| v.len() >= 2), "jimi", By(super::obd::jimi))];

/// Where each id begins in [`COMMON`].
static INDEX: [u8; 256] = {
    let mut index = [u8::MAX; 256];
    let mut n = COMMON.len();
    while n > 0 {
        n -= 1;
        assert!(n < u8::MAX as usize);
        index[COMMON[n].id as usize] = n as u8;
    }
    index
};

/// Printable ASCII with fill of zeros or spaces around it, and not only fill.
fn is_text(value: &[u8]) -> bool {
    let fill = |b: &u8| *b == 0 || *b == b' ';
    let start = value.iter().position(|b| !fill(b));
    let end = value.iter().rposition(|b| !fill(b));
    let inner = start.zip(end).and_then(|(start, end)| value.get(start..=end));
    inner.is_some_and(|text| text.iter().all(|b| (0x20..0x7F).contains(b) || matches!(b, b'\r' | b'\n')))
}

/// Read every item to the end of the body. An item that fits no reading stays as hex under its number; so does what an
/// overrunning length leaves.
pub(super) fn read_all(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) {
    while let [id, length, rest @ ..] = c.rest() {
        let (id, length) = (*id, usize::from(*length));
        let Some(value) = rest.get(..length) else {
            break;
        };
        if c.bytes("item", 2).is_err() {
            break;
        }
        c.show(|| format!("id 0x{id:02x}, length {length}"));
        let Ok(mut inner) = c.sub("item", length) else {
            break;
        };
        let found = lookup(id, value, context);
        let understood = found.is_some_and(|entry| apply(entry, &mut inner, report, context).is_ok());
        if !understood {
            unknown(id, &mut inner, value, report);
        } else if inner.remaining() > 0 {
            report.attributes.set(format!("item_{id:02x}_rest"), hex(inner.take_rest("rest")));
        }
    }
    if c.remaining() > 0 {
        report.attributes.set("items_rest", hex(c.take_rest("items_rest")));
    }
}

fn lookup(id: u8, value: &[u8], context: &Context<'_>) -> Option<&'static Entry> {
    let special = context.dialect.items.iter().find(|e| e.id == id && e.fits.takes(value));
    special.or_else(|| {
        let from = usize::from(*INDEX.get(usize::from(id))?);
        COMMON.get(from..)?.iter().take_while(|e| e.id == id).find(|e| e.fits.takes(value))
    })
}

fn apply(entry: &Entry, c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(), Fault> {
    match entry.reading {
        Fill(slot, num, scale) => slot.set(report, scale.apply(num.read(c, entry.name)?)),
        Number(num, scale) => {
            let value = scale.value(num.read(c, entry.name)?);
            c.note(|| format!("{value:?}"));
            report.attributes.set(entry.name, value);
        }
        Flags(num, names) => {
            let set = flags(num.read(c, entry.name)? as u64, names);
            c.note(|| format!("{set:?}"));
            report.attributes.set(entry.name, Value::List(set));
        }
        Text => {
            let said = text::decode(c.take_rest(entry.name), context.charset);
            c.show(|| format!("{said:?}"));
            report.attributes.set(entry.name, said);
        }
        Hex => report.attributes.set(entry.name, hex(c.take_rest(entry.name))),
        Reading::Alarms(num, alarms) => {
            let bits = num.read(c, entry.name)?;
            let set = alarms.iter().filter(|(bit, _)| bits >> bit & 1 == 1);
            set.for_each(|(_, alarm)| report.alarms.insert(*alarm));
            report.attributes.set(entry.name, bits);
        }
        By(reader) => reader(c, report, context)?,
    }
    Ok(())
}

fn unknown(id: u8, c: &mut Cursor<'_, '_>, value: &[u8], report: &mut Report) {
    c.take_rest("value");
    report.attributes.set(format!("item_{id:02x}"), hex(value));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::header::Edition;
    use crate::profile::Profile;

    fn read(items: &[u8], dialect: Option<&str>) -> Report {
        let profile = Profile { dialect: dialect.map(Into::into), ..Profile::default() };
        let mut report = Report::default();
        read_all(&mut Cursor::new(items, 0, None), &mut report, &Context::new(Edition::V2013, &profile));
        report
    }

    fn attributes(report: &Report) -> serde_json::Value {
        serde_json::to_value(&report.attributes).unwrap()
    }

    #[test]
    fn the_table_is_sorted() {
        assert!(COMMON.is_sorted_by(|a, b| a.id <= b.id));
    }

    #[test]
    fn accepts_the_standard_items() {
        let items = b"\x01\x04\x00\x00\x00\x0a\x02\x02\x00\x37\x03\x02\x01\xf4\x25\x04\x00\x00\x00\x11\x2a\x02\x00\x02\
            \x2b\x04\x00\x07\x00\x05\x30\x01\x1f\x31\x01\x0c";
        let report = read(items, None);
        assert_eq!((report.odometer_m, report.rssi, report.satellites), (Some(1000.0), Some(31), Some(12)));
        assert_eq!(
            attributes(&report),
            serde_json::json!({"fuel_l": 5.5, "recorder_speed_kmh": 50.0, "signals": ["low_beam", "brake"], "io": ["sleep"],
                "analog_0": 5, "analog_1": 7})
        );
    }

    #[test]
    fn length_decides_between_readings_of_one_id() {
        assert_eq!(read(b"\x06\x01\x5a", None).battery_percent, Some(90.0));
        assert_eq!(attributes(&read(b"\x06\x02\x80\x05", None)), serde_json::json!({"carriage_temperature_c": -5}));
        assert_eq!(read(b"\xfe\x02\x00\x1e", None).power_v, Some(3.0));
        assert_eq!(read(b"\xfe\x04\x00\x00\x00\x90", None).odometer_m, Some(144.0));
    }

    #[test]
    fn unknown_items_and_broken_tails_are_kept() {
        let report = read(b"\x99\x02\xab\xcd\x01\x03\x00\x00\x01\x30\x05\x01", None);
        assert_eq!(attributes(&report), serde_json::json!({"item_99": "abcd", "item_01": "000001", "items_rest": "300501"}));
        assert_eq!(attributes(&read(b"\x30", None)), serde_json::json!({"items_rest": "30"}));
    }

    #[test]
    fn a_dialect_reads_its_own_items_first() {
        assert_eq!(read(b"\xe8\x02\x04\x01", None).alarms, Default::default());
        assert!(read(b"\xe8\x02\x04\x01", Some("jimi")).alarms.contains(Alarm::HardBraking));
        assert!(read(b"\xfa\x04\x00\x00\x00\x02", Some("gps51")).alarms.contains(Alarm::Removed));
    }

    #[test]
    fn no_value_panics() {
        for id in 0..=255 {
            for length in 0..90 {
                for fill in [0x00, 0x7C, 0xFF, b'A'] {
                    let mut item = vec![id, length];
                    item.extend(std::iter::repeat_n(fill, usize::from(length)));
                    for dialect in [None, Some("aovx"), Some("gps51"), Some("jimi")] {
                        read(&item, dialect);
                    }
                }
            }
        }
    }
}
