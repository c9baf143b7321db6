//! What hangs on the terminal: meter, lights, cameras. Upgrade results, inspections, and messages passed through.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::Context;
use super::message::{Content, Told, undated, word};
use super::trip;
use crate::cursor::{Cursor, hex};
use crate::event::{Attributes, Data, DataKind, Value};
use crate::fault::Fault;
use crate::parts::bcd;

/// Types of devices in a taxi, which are also the third byte of their ids.
pub(super) static DEVICES: &[(u8, &str)] = &[
    (OWN, "isu"),
    (1, "radio"),
    (METER, "meter"),
    (3, "security_module"),
    (4, "led_screen"),
    (5, "roof_light"),
    (6, "evaluator"),
    (7, "camera"),
    (8, "gnss"),
    (9, "lcd_screen"),
    (0x10, "operator_panel"),
    (0x11, "front_evaluator"),
];
const OWN: u8 = 0;
const METER: u8 = 2;

static UPGRADE_RESULTS: &[(u8, &str)] = &[
    (0, "same_version"),
    (1, "done"),
    (2, "failed"),
    (3, "vendor_mismatch"),
    (4, "hardware_mismatch"),
    (5, "download_failed"),
    (6, "cancelled_by_server"),
    (7, "given_up"),
];

/// 0x0105.
pub(super) fn upgrade_result(c: &mut Cursor<'_, '_>) -> Result<Attributes, Fault> {
    let mut values = Attributes::default();
    values.set("device", word(c.read("device_type", be_u8)?, DEVICES));
    values.set("vendor", c.read("vendor", be_u8)?);
    versions(c, &mut values)?;
    let result = word(c.read("result", be_u8)?, UPGRADE_RESULTS);
    c.note(|| format!("{result:?}"));
    values.set("result", result);
    super::message::rest(c, &mut values);
    Ok(values)
}

/// Hardware in one packed byte, software in two: main and minor.
fn versions(c: &mut Cursor<'_, '_>, values: &mut Attributes) -> Result<(), Fault> {
    values.set("hardware", hex(c.bytes("hardware", 1)?));
    let software = hex(c.bytes("software", 2)?);
    values.set("software", format!("{}.{}", software.get(..2).unwrap_or_default(), software.get(2..).unwrap_or_default()));
    Ok(())
}

/// Bytes of the terminal's own answer to an inspection.
const OWN_STATUS: usize = 20;

/// 0x0B11: for each device its type, a length and its status.
pub(super) fn inspection(c: &mut Cursor<'_, '_>) -> Result<Attributes, Fault> {
    let mut values = Attributes::default();
    while let [kind, length, rest @ ..] = c.rest() {
        let (kind, length) = (*kind, usize::from(*length));
        if rest.len() < length {
            break;
        }
        c.bytes("device", 2)?;
        c.note(|| format!("{:?}, length {length}", word(kind, DEVICES)));
        let mut status = c.sub("status", length)?;
        let value = if kind == OWN && length >= OWN_STATUS {
            Value::Map(own_status(&mut status)?)
        } else {
            hex(status.take_rest("status")).into()
        };
        match word(kind, DEVICES) {
            Value::Text(name) => values.set(name, value),
            _ => values.set(format!("device_{kind:02x}"), value),
        }
    }
    super::message::rest(c, &mut values);
    Ok(values)
}

fn own_status(c: &mut Cursor<'_, '_>) -> Result<Attributes, Fault> {
    let mut values = Attributes::default();
    values.set("serial", hex(c.bytes("serial", 5)?));
    versions(c, &mut values)?;
    values.set("status_bits", c.read("status_bits", be_u32)?);
    values.set("alarm_bits", c.read("alarm_bits", be_u32)?);
    for name in ["cached_sign_ons", "cached_sign_offs", "cached_trips", "cached_card_payments"] {
        values.set(name, c.read(name, be_u8)?);
    }
    super::message::rest(c, &mut values);
    Ok(values)
}

/// Commands of a meter.
mod meter {
    pub(super) const STARTED: u16 = 0x00E7;
    pub(super) const ENDED: u16 = 0x00E8;
    /// Stands around a message on the meter's own wire.
    pub(super) const MARK: &[u8] = &[0x55, 0xAA];
    /// Mark, length, device type, vendor and command before the data; check byte and mark behind.
    pub(super) const BEFORE: usize = 8;
    pub(super) const BEHIND: usize = 3;
}

/// 0x0B10. A meter's record of a trip is read as well; the trip itself comes as 0x0B05.
pub(super) fn passthrough<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let kind = c.read("device_type", be_u8)?;
    c.note(|| format!("{:?}", word(kind, DEVICES)));
    let vendor = c.read("vendor", be_u8)?;
    let command = c.read("command", be_u16)?;
    c.show(|| format!("0x{command:04x}"));
    let bytes = c.rest();
    let mut data = Data::bytes(DataKind::Passthrough, "application/octet-stream");
    data.channel = Some(kind.into());
    data.attributes.set("device", word(kind, DEVICES));
    data.attributes.set("vendor", vendor);
    data.attributes.set("command", format!("0x{command:04x}"));
    if kind == METER {
        meter_message(c, command, &mut data.attributes, context)?;
    }
    c.take_rest("data");
    Ok(undated(Content::Bytes(Box::new(data), bytes)))
}

fn meter_message(c: &mut Cursor<'_, '_>, command: u16, values: &mut Attributes, context: &Context<'_>) -> Result<(), Fault> {
    let inside = c.remaining().checked_sub(meter::BEFORE + meter::BEHIND);
    let mut command = command;
    let length = match inside {
        Some(inside) if c.rest().starts_with(meter::MARK) && c.rest().ends_with(meter::MARK) => {
            c.bytes("meter_mark_and_length", 4)?;
            c.bytes("meter_device_and_vendor", 2)?;
            command = c.read("meter_command", be_u16)?;
            c.show(|| format!("0x{command:04x}"));
            inside
        }
        _ => c.remaining(),
    };
    let mut c = c.sub("meter_data", length)?;
    match command {
        meter::ENDED if trip::has_record(c.rest(), context) => {
            let record = trip::record(&mut c, context)?;
            let mut trip = Attributes::default();
            for (name, time) in [("started_at", record.started_at), ("ended_at", record.ended_at)] {
                time.into_iter().for_each(|t| trip.set(name, t.to_string()));
            }
            record.certificate.into_iter().for_each(|id| trip.set("certificate", id));
            record.distance_m.into_iter().for_each(|m| trip.set("distance_m", m));
            record.waiting_s.into_iter().for_each(|s| trip.set("waiting_s", s));
            record.fare.into_iter().for_each(|fare| trip.set("fare_yuan", fare.amount));
            for (name, value) in record.values.iter() {
                trip.set(name.to_owned(), value.clone());
            }
            values.set("meter_trip_ended", trip);
        }
        meter::STARTED if c.remaining() >= 7 => {
            let bytes = c.bytes("meter_started_at", 7)?;
            // a year of four digits before the usual form
            let time = bytes
                .split_first()
                .filter(|(century, _)| bcd::byte(**century) == Some(20))
                .and_then(|(_, rest)| context.time(rest));
            values.set("meter_trip_started", time.map_or_else(|| hex(bytes), |t| t.to_string()));
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;
    use crate::profile::Profile;

    fn passed(body: &[u8]) -> (serde_json::Value, Vec<u8>) {
        match passthrough(&mut Cursor::new(body, 0, None), &Context::new(&Profile::default())).unwrap().content {
            Content::Bytes(data, bytes) => (serde_json::to_value(data.attributes).unwrap(), bytes.to_vec()),
            other => panic!("{other:?}"),
        }
    }

    fn record() -> Vec<u8> {
        let mut record = b"BT0001110000001\0\0\0\0\0\0\x00110101199001010000\0".to_vec();
        record.extend(unhex("2603012350 0015 000123 0056 000010 0130 000235 00000c01 00").unwrap());
        record
    }

    #[test]
    fn accepts_an_upgrade_result() {
        let values = upgrade_result(&mut Cursor::new(b"\x02\x07\x12\x10\x01\x05", 0, None)).unwrap();
        let expected =
            serde_json::json!({"device": "meter", "vendor": 7, "hardware": "12", "software": "10.01", "result": "download_failed"});
        assert_eq!(serde_json::to_value(values).unwrap(), expected);
        assert!(upgrade_result(&mut Cursor::new(b"\x02\x07\x12\x10\x01", 0, None)).is_err());
    }

    #[test]
    fn accepts_an_inspection_of_several_devices() {
        let body = unhex("00 14 9900000001 12 1001 00000300 00000001 01 02 03 04 02 03 aabbcc 7f 00 05").unwrap();
        let values = inspection(&mut Cursor::new(&body, 0, None)).unwrap();
        let expected = serde_json::json!({
            "isu": {"serial": "9900000001", "hardware": "12", "software": "10.01", "status_bits": 768, "alarm_bits": 1,
                "cached_sign_ons": 1, "cached_sign_offs": 2, "cached_trips": 3, "cached_card_payments": 4},
            "meter": "aabbcc", "device_7f": "", "rest": "05"
        });
        assert_eq!(serde_json::to_value(values).unwrap(), expected);
    }

    #[test]
    fn lengths_that_overrun_stay_as_they_came() {
        let values = inspection(&mut Cursor::new(b"\x00\x14\x01", 0, None)).unwrap();
        assert_eq!(serde_json::to_value(values).unwrap(), serde_json::json!({"rest": "001401"}));
    }

    #[test]
    fn passes_anything_through_as_it_came() {
        let (attributes, bytes) = passed(b"\x07\x01\x00\x30\xab\xcd");
        assert_eq!(attributes, serde_json::json!({"device": "camera", "vendor": 1, "command": "0x0030"}));
        assert_eq!(bytes, [0xAB, 0xCD]);
        assert_eq!(passed(b"\x33\x01\x00\x30").0["device"], 0x33);
    }

    #[test]
    fn reads_what_a_meter_says_about_a_trip() {
        let plain = [&b"\x02\x00\x00\xe8"[..], &record()].concat();
        let framed = [&b"\x02\x00\x00\xe8\x55\xaa\x00\x46\x02\x00\x00\xe8"[..], &record(), b"\x00\x55\xaa"].concat();
        for body in [&plain, &framed] {
            let (attributes, bytes) = passed(body);
            assert_eq!(bytes, body[4..]);
            let trip = &attributes["meter_trip_ended"];
            assert_eq!((trip["fare_yuan"].as_str(), trip["distance_m"].as_f64()), (Some("23.5"), Some(12_300.0)));
            assert_eq!(trip["ended_at"], "2026-03-01T16:15:00.000Z");
        }
        let (attributes, _) = passed(b"\x02\x00\x00\xe7\x20\x26\x03\x01\x18\x00\x00");
        assert_eq!(attributes["meter_trip_started"], "2026-03-01T10:00:00.000Z");
        assert!(passed(b"\x02\x00\x00\xe8\x01").0.get("meter_trip_ended").is_none());
    }
}
