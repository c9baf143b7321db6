//! Additional items of a position report: id, length, value, until the end of the body. Those above 0x14 are not in the
//! standard; terminals that also speak JT/T 808 send its items here.

use nom::number::complete::{be_i16, be_u8, be_u16, be_u32};

use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Report, Value};
use crate::fault::Fault;

/// Reads a value of the right length.
type Reader = fn(&mut Cursor<'_, '_>, &mut Report) -> Result<(), Fault>;

/// Id, length and reading.
static ITEMS: &[(u8, usize, Reader)] = &[
    (0x01, 4, odometer),
    (0x02, 2, fuel),
    (0x03, 2, altitude),
    (0x11, 1, overspeed),
    (0x11, 5, overspeed),
    (0x12, 6, area_crossing),
    (0x13, 7, segment_time),
    (0x14, 4, forbidden_road),
    (0x25, 4, signals),
    (0x2A, 2, inputs),
    (0x2B, 4, analog),
    (0x30, 1, rssi),
    (0x31, 1, satellites),
];

/// Read every item to the end of the body. An item that fits no reading stays as hex under its number; so does what an
/// overrunning length leaves.
pub(super) fn read_all(c: &mut Cursor<'_, '_>, report: &mut Report) {
    while let [id, length, rest @ ..] = c.rest() {
        let (id, length) = (*id, usize::from(*length));
        if rest.len() < length || c.bytes("item", 2).is_err() {
            break;
        }
        c.show(|| format!("id 0x{id:02x}, length {length}"));
        let Ok(mut value) = c.sub("item", length) else {
            break;
        };
        let reader = ITEMS.iter().find(|(known, n, _)| (*known, *n) == (id, length)).map(|(.., reader)| reader);
        if reader.is_none_or(|read| read(&mut value, report).is_err()) {
            report.attributes.set(format!("item_{id:02x}"), hex(value.take_rest("value")));
        }
    }
    if c.remaining() > 0 {
        report.attributes.set("items_rest", hex(c.take_rest("items_rest")));
    }
}

fn odometer(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.odometer_m = Some(f64::from(c.read("odometer_0.1_km", be_u32)?) * 100.0);
    Ok(())
}

fn fuel(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.attributes.set("fuel_l", f64::from(c.read("fuel_0.1_l", be_u16)?) / 10.0);
    Ok(())
}

fn altitude(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.altitude_m = Some(f64::from(c.read("altitude_m", be_i16)?));
    Ok(())
}

/// The area's id is there if its kind is not 0.
fn overspeed(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    let mut area = Attributes::default();
    area.set("kind", c.read("area_kind", be_u8)?);
    if c.remaining() > 0 {
        area.set("id", c.read("area_id", be_u32)?);
    }
    report.attributes.set("overspeed_area", area);
    Ok(())
}

fn area_crossing(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    let mut area = Attributes::default();
    area.set("kind", c.read("area_kind", be_u8)?);
    area.set("id", c.read("area_id", be_u32)?);
    let direction = match c.read("direction", be_u8)? {
        0 => {
            report.alarms.insert(Alarm::GeofenceEnter);
            Value::from("in")
        }
        1 => {
            report.alarms.insert(Alarm::GeofenceExit);
            Value::from("out")
        }
        n => n.into(),
    };
    area.set("direction", direction);
    report.attributes.set("area_crossing", area);
    Ok(())
}

fn segment_time(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    let mut segment = Attributes::default();
    segment.set("id", c.read("segment_id", be_u32)?);
    segment.set("driving_s", c.read("driving_s", be_u16)?);
    let result = match c.read("result", be_u8)? {
        0 => Value::from("too_short"),
        1 => Value::from("too_long"),
        n => n.into(),
    };
    segment.set("result", result);
    report.attributes.set("segment_time", segment);
    Ok(())
}

fn forbidden_road(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.attributes.set("forbidden_road_id", c.read("road_id", be_u32)?);
    Ok(())
}

fn signals(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.attributes.set("signal_bits", c.read("signal_bits", be_u32)?);
    Ok(())
}

fn inputs(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.attributes.set("io_bits", c.read("io_bits", be_u16)?);
    Ok(())
}

fn analog(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    let (high, low) = (c.read("analog_1", be_u16)?, c.read("analog_0", be_u16)?);
    report.attributes.set("analog_0", low);
    report.attributes.set("analog_1", high);
    Ok(())
}

fn rssi(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.rssi = Some(c.read("rssi", be_u8)?.into());
    Ok(())
}

fn satellites(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    report.satellites = Some(c.read("satellites", be_u8)?.into());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(items: &[u8]) -> serde_json::Value {
        let mut report = Report::default();
        read_all(&mut Cursor::new(items, 0, None), &mut report);
        serde_json::to_value(report).unwrap()
    }

    #[test]
    fn accepts_every_item_of_the_table() {
        let items = b"\x01\x04\x00\x00\x00\x64\x02\x02\x00\x7d\x03\x02\xff\xf6\x11\x01\x00\x11\x05\x01\x00\x00\x00\x07\
            \x12\x06\x01\x00\x00\x00\x08\x01\x13\x07\x00\x00\x00\x09\x00\x3c\x01\x14\x04\x00\x00\x00\x0a\
            \x25\x04\x00\x00\x00\x10\x2a\x02\x00\x01\x2b\x04\x00\x02\x00\x01\x30\x01\x1f\x31\x01\x0c";
        let expected = serde_json::json!({
            "altitude_m": -10.0, "odometer_m": 10_000.0, "rssi": 31, "satellites": 12, "alarms": ["geofence_exit"],
            "attributes": {
                "fuel_l": 12.5, "overspeed_area": [{"kind": 0}, {"kind": 1, "id": 7}],
                "area_crossing": {"kind": 1, "id": 8, "direction": "out"},
                "segment_time": {"id": 9, "driving_s": 60, "result": "too_long"}, "forbidden_road_id": 10,
                "signal_bits": 16, "io_bits": 1, "analog_0": 1, "analog_1": 2
            }
        });
        assert_eq!(read(items), expected);
    }

    #[test]
    fn refuses_nothing_and_loses_nothing() {
        let expected = serde_json::json!({"attributes": {"item_01": "0064", "item_e1": "", "items_rest": "0204ab"}});
        assert_eq!(read(b"\x01\x02\x00\x64\xe1\x00\x02\x04\xab"), expected);
        assert_eq!(read(b"\x02"), serde_json::json!({"attributes": {"items_rest": "02"}}));
    }
}
