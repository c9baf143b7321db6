//! Items that hold items: 0xEA, 0xEB and 0xFE.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::Context;
use super::layout::{Num, Scale};
use crate::cursor::{Cursor, hex, unhex};
use crate::event::{Alarm, Attributes, Cell, Mac, Report, Value, Wifi};
use crate::fault::{Fault, FaultKind};
use crate::parts::text;

type Read = Result<(), Fault>;
type Bytes<'a, 't> = Cursor<'a, 't>;

/// 0xEA. A kind, then nested items.
pub(super) fn external(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    report.attributes.set("external_kind", c.read("kind", be_u8)?);
    while c.remaining() >= 2 {
        let (id, length) = (c.read("external_id", be_u8)?, c.read("length", be_u8)?);
        let mut c = c.sub("external", length.into())?;
        match (id, length) {
            (0x11, 15) => {
                let mut limits = Attributes::default();
                limits.set("alarm_bits", c.read("alarm_bits", be_u16)?);
                limits.set("kind", c.read("kind", be_u8)?);
                for name in ["upper", "current", "lower"] {
                    limits.set(name, c.read(name, be_u32)?);
                }
                report.attributes.set("external_limits", limits);
            }
            (0x13, 2) => report.attributes.set("external_illuminance", c.read("illuminance", be_u16)?),
            (0x14, 2) => report.attributes.set("external_air_pressure", c.read("air_pressure", be_u16)?),
            (0x15, 2) => report.attributes.set("external_humidity_percent", f64::from(c.read("humidity", be_u16)?) / 10.0),
            (0x16, 2) => report
                .attributes
                .set("external_temperature_c", Scale::over(10.0).plus(-50.0).value(Num::U16.read(&mut c, "temperature")?)),
            _ => report.attributes.set(format!("external_{id:02x}"), hex(c.take_rest("value"))),
        }
    }
    Ok(())
}

/// Alarms of 0xFE's block, bit by bit.
const BLOCK_ALARMS: [Alarm; 5] =
    [Alarm::HardAcceleration, Alarm::HardBraking, Alarm::HardCornering, Alarm::Accident, Alarm::Tamper];

/// 0xFE that begins with 0x7C: nested items, 0x01 the alarm bits.
pub(super) fn alarm_block(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("mark", be_u8)?;
    while c.remaining() >= 2 {
        let (id, length) = (c.read("block_id", be_u8)?, c.read("length", be_u8)?);
        let mut c = c.sub("block", length.into())?;
        if (id, length) == (0x01, 4) {
            let bits = c.read("alarm_bits", be_u32)?;
            let set = BLOCK_ALARMS.iter().enumerate().filter(|(bit, _)| bits >> bit & 1 == 1);
            set.for_each(|(_, alarm)| report.alarms.insert(*alarm));
            report.attributes.set("block_alarm_bits", bits);
        } else {
            report.attributes.set(format!("block_{id:02x}"), hex(c.take_rest("value")));
        }
    }
    Ok(())
}

/// 0xEB as nested items: a length that includes the two bytes of the type, the type, the value.
pub(super) fn extensions(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    while c.remaining() >= 4 {
        let length = usize::from(c.read("length", be_u16)?);
        let kind = c.read("type", be_u16)?;
        let Some(length) = length.checked_sub(2) else {
            return Err(c.fault_here(FaultKind::Length, "a nested item shorter than its type"));
        };
        extension(kind, &mut c.sub("extension", length)?, report, context)?;
    }
    Ok(())
}

fn extension(kind: u16, c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    match (kind, c.remaining()) {
        (0x0001, 3) => {
            report.attributes.set("fuel_1", f64::from(c.read("fuel_0.1", be_u16)?) / 10.0);
            c.bytes("reserve", 1)?;
        }
        (0x0023, _) => {
            let said = text::decode(c.take_rest("fuel_2"), context.charset);
            let value = said.parse::<f64>().map_or_else(|_| Value::from(said), Value::from);
            report.attributes.set("fuel_2", value);
        }
        (0x002D, 4) => report.power_v = Some(f64::from(c.read("supply_mv", be_u32)?) / 1000.0),
        (0x002D, 2) => report.battery_v = Some(f64::from(c.read("battery_mv", be_u16)?) / 1000.0),
        // alarm bits are active low; bit 0 is the loss of the main supply
        (0x0089, 4) => {
            let low = !c.read("alarm_bits_low", be_u32)?;
            if low & 1 != 0 {
                report.alarms.insert(Alarm::PowerCut);
            }
            if low >> 12 & 1 == 1 {
                report.alarms.insert(Alarm::Removed);
            }
            if low != 0 {
                report.attributes.set("extended_alarm_bits", low);
            }
        }
        (0x00C5, 4) => {
            let low = !c.read("status_bits_low", be_u32)?;
            if low >> 6 & 1 == 1 {
                report.alarms.insert(Alarm::Vibration);
            }
            match !low >> 23 & 3 {
                0 => report.attributes.set("moving", true),
                1 => report.attributes.set("moving", false),
                _ => {}
            }
            if low != 0 {
                report.attributes.set("extended_status_bits", low);
            }
        }
        (0x00C6, 1) => {
            let level = c.read("battery_alarm", be_u8)?;
            if matches!(level, 3 | 4) {
                report.alarms.insert(Alarm::LowBattery);
            }
            report.attributes.set("battery_alarm", level);
        }
        (0x00A8 | 0x00E1, 1) => report.battery_percent = Some(c.read("battery_percent", be_u8)?.into()),
        (0x00B2, 10) => report.attributes.set("iccid", hex(c.bytes("iccid", 10)?).trim_end_matches('f').to_owned()),
        (0x00B9, _) => {
            c.read("count", be_u8)?;
            wifi_text(&text::decode(c.take_rest("wifi"), context.charset), report);
        }
        (0x00CE, 2) => report.power_v = Some(f64::from(c.read("supply_0.01_v", be_u16)?) / 100.0),
        (0x00D5, _) => report.attributes.set("imei", text::decode(c.take_rest("imei"), context.charset)),
        (0x00D8, 9) => {
            let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
            let (lac, cid) = (c.read("lac", be_u16)?, c.read("cid", be_u32)?);
            report.cells.push(Cell { mcc, mnc: mnc.into(), lac: lac.into(), cid: cid.into(), rssi: None });
        }
        _ => report.attributes.set(format!("extension_{kind:04x}"), hex(c.take_rest("value"))),
    }
    Ok(())
}

/// `aa:bb:cc:dd:ee:ff,-70,…`; what is no access point stays as text.
fn wifi_text(said: &str, report: &mut Report) {
    let fields: Vec<&str> = said.split(',').collect();
    for pair in fields.chunks(2) {
        let parsed = match pair {
            [mac, level] => mac_of(mac).zip(level.trim().parse::<i32>().ok()),
            _ => None,
        };
        match parsed {
            Some((mac, rssi)) => report.wifi.push(Wifi { mac, rssi: Some(rssi) }),
            None => report.attributes.set("wifi_text", pair.join(",")),
        }
    }
}

fn mac_of(text: &str) -> Option<Mac> {
    let bytes = unhex(&text.replace([':', '-'], ""))?;
    bytes.try_into().ok().map(Mac)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::context::read;

    #[test]
    fn accepts_extensions_by_length_and_type() {
        let value = b"\x00\x03\x00\xe1\x51\x00\x0b\x00\xd8\x01\xcc\x00\xdf\x34\x00\x00\x30\x6b\x00\x06\x00\x89\xff\xff\xff\xfe\
            \x00\x06\x00\x2d\x00\x00\x2d\xb4\x00\x04\x99\x99\xab\xcd";
        let r = read(extensions, value).unwrap();
        assert_eq!((r.battery_percent, r.power_v, r.cells.len()), (Some(81.0), Some(11.7), 1));
        assert!(r.alarms.contains(Alarm::PowerCut));
        assert_eq!(r.attributes.get("extension_9999"), Some(&Value::from("abcd")));
    }

    #[test]
    fn access_points_may_be_text() {
        let r = read(extensions, b"\x00\x18\x00\xb9\x0102:11:22:33:44:55,-60").unwrap();
        assert_eq!((r.wifi.len(), r.wifi[0].rssi), (1, Some(-60)));
        let r = read(extensions, b"\x00\x07\x00\xb9\x01none").unwrap();
        assert_eq!((r.wifi.len(), r.attributes.get("wifi_text")), (0, Some(&Value::from("none"))));
    }

    #[test]
    fn accepts_blocks_with_alarms_and_sensors() {
        assert!(read(alarm_block, b"\x7c\x01\x04\0\0\0\x02").unwrap().alarms.contains(Alarm::HardBraking));
        let r = read(external, b"\x01\x16\x02\x02\xbc\x77\x01\x05").unwrap();
        assert_eq!(r.attributes.get("external_temperature_c"), Some(&Value::from(20.0)));
        assert_eq!(r.attributes.get("external_77"), Some(&Value::from("05")));
    }

    #[test]
    fn refuses_lengths_that_cannot_be() {
        assert!(read(extensions, b"\x00\x01\x00\xe1\x51").is_err());
        assert!(read(extensions, b"\x00\x09\x00\xe1\x51").is_err());
        assert!(read(alarm_block, b"\x7c\x01\x09\0").is_err());
    }
}
