//! The terminal's parameters: read from 0x0104, and written for 0x8103 by the same names.

use nom::number::complete::{be_u8, be_u16, be_u32};
use serde_json::Value as Json;

use super::context::Context;
use super::layout::{Num, flags};
use crate::cursor::{Cursor, hex, unhex};
use crate::event::{Attributes, Value};
use crate::fault::Fault;
use crate::parts::text;

/// Form of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Byte,
    Word,
    Double,
    Text,
    Bytes,
    /// A double word whose bits have no short names.
    Bits,
}

use Form::{Bits, Byte, Bytes, Double, Text, Word};

/// Id, form, and name with the unit.
static PARAMETERS: &[(u32, Form, &str)] = &[
    (0x0001, Double, "heartbeat_interval_s"),
    (0x0002, Double, "tcp_timeout_s"),
    (0x0003, Double, "tcp_resends"),
    (0x0004, Double, "udp_timeout_s"),
    (0x0005, Double, "udp_resends"),
    (0x0006, Double, "sms_timeout_s"),
    (0x0007, Double, "sms_resends"),
    (0x0010, Text, "main_apn"),
    (0x0011, Text, "main_user"),
    (0x0012, Text, "main_password"),
    (0x0013, Text, "main_server"),
    (0x0014, Text, "backup_apn"),
    (0x0015, Text, "backup_user"),
    (0x0016, Text, "backup_password"),
    (0x0017, Text, "backup_server"),
    (0x0018, Double, "tcp_port"),
    (0x0019, Double, "udp_port"),
    (0x001A, Text, "card_server"),
    (0x001B, Double, "card_tcp_port"),
    (0x001C, Double, "card_udp_port"),
    (0x001D, Text, "card_backup_server"),
    (0x0020, Double, "report_strategy"),
    (0x0021, Double, "report_scheme"),
    (0x0022, Double, "no_login_interval_s"),
    (0x0023, Text, "secondary_apn"),
    (0x0024, Text, "secondary_user"),
    (0x0025, Text, "secondary_password"),
    (0x0026, Text, "secondary_server"),
    (0x0027, Double, "sleep_interval_s"),
    (0x0028, Double, "emergency_interval_s"),
    (0x0029, Double, "report_interval_s"),
    (0x002C, Double, "report_distance_m"),
    (0x002D, Double, "no_login_distance_m"),
    (0x002E, Double, "sleep_distance_m"),
    (0x002F, Double, "emergency_distance_m"),
    (0x0030, Double, "corner_angle_deg"),
    (0x0031, Word, "movement_radius_m"),
    (0x0032, Bytes, "forbidden_period"),
    (0x0040, Text, "platform_phone"),
    (0x0041, Text, "reset_phone"),
    (0x0042, Text, "factory_reset_phone"),
    (0x0043, Text, "platform_sms_phone"),
    (0x0044, Text, "alarm_sms_phone"),
    (0x0045, Double, "answer_policy"),
    (0x0046, Double, "longest_call_s"),
    (0x0047, Double, "monthly_call_s"),
    (0x0048, Text, "listen_phone"),
    (0x0049, Text, "supervision_phone"),
    (0x0050, Bits, "alarm_mask"),
    (0x0051, Bits, "alarm_sms_mask"),
    (0x0052, Bits, "alarm_photo_mask"),
    (0x0053, Bits, "alarm_store_mask"),
    (0x0054, Bits, "key_alarm_mask"),
    (0x0055, Double, "speed_limit_kmh"),
    (0x0056, Double, "speed_limit_duration_s"),
    (0x0057, Double, "continuous_driving_s"),
    (0x0058, Double, "daily_driving_s"),
    (0x0059, Double, "minimum_rest_s"),
    (0x005A, Double, "longest_parking_s"),
    (0x005B, Word, "speed_warning_0.1_kmh"),
    (0x005C, Word, "fatigue_warning_s"),
    (0x005D, Word, "collision_setting"),
    (0x005E, Word, "rollover_angle_deg"),
    (0x0064, Bits, "timed_photo"),
    (0x0065, Bits, "distance_photo"),
    (0x0070, Double, "photo_quality"),
    (0x0071, Double, "photo_brightness"),
    (0x0072, Double, "photo_contrast"),
    (0x0073, Double, "photo_saturation"),
    (0x0074, Double, "photo_chroma"),
    (0x0075, Bytes, "av_parameters"),
    (0x0076, Bytes, "av_channels"),
    (0x0077, Bytes, "av_channel_parameters"),
    (0x0079, Bytes, "special_recording"),
    (0x007A, Bits, "video_alarm_mask"),
    (0x007B, Bytes, "image_analysis"),
    (0x007C, Bytes, "sleep_wake"),
    (0x0080, Double, "odometer_0.1_km"),
    (0x0081, Word, "province"),
    (0x0082, Word, "city"),
    (0x0083, Text, "plate"),
    (0x0084, Byte, "plate_colour"),
    (0x0090, Byte, "gnss_systems"),
    (0x0091, Byte, "gnss_baud"),
    (0x0092, Byte, "gnss_output_rate"),
    (0x0093, Double, "gnss_collection_s"),
    (0x0094, Byte, "gnss_upload_mode"),
    (0x0095, Double, "gnss_upload_setting"),
    (0x0100, Double, "can_1_collect_ms"),
    (0x0101, Word, "can_1_upload_s"),
    (0x0102, Double, "can_2_collect_ms"),
    (0x0103, Word, "can_2_upload_s"),
];

/// Every parameter that has a name.
pub(super) fn named() -> Vec<(u32, &'static str)> {
    PARAMETERS.iter().map(|(id, _, name)| (*id, *name)).collect()
}

/// The whole body of 0x0104. The edition of 2011 repeats the count; units of any edition were seen to do either, so what
/// makes the items end at the last byte is right.
pub(super) fn read(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Attributes, Fault> {
    let mut values = Attributes::default();
    values.set("answers_serial", c.read("answers_serial", be_u16)?);
    c.read("count", be_u8)?;
    // ids begin with a zero byte, a count does not
    let repeated = matches!(c.rest(), [1..=255, items @ ..] if ends_evenly(items));
    if repeated {
        c.read("count_in_packet", be_u8)?;
    }
    while c.remaining() > 0 {
        let id = c.read("parameter_id", be_u32)?;
        let length = c.read("length", be_u8)?;
        let mut c = c.sub("parameter", length.into())?;
        one(id, &mut c, &mut values, context)?;
    }
    Ok(values)
}

fn ends_evenly(items: &[u8]) -> bool {
    let mut rest = items;
    while let [_, _, _, _, length, tail @ ..] = rest {
        match tail.get(usize::from(*length)..) {
            Some(next) => rest = next,
            None => return false,
        }
    }
    rest.is_empty()
}

fn one(id: u32, c: &mut Cursor<'_, '_>, values: &mut Attributes, context: &Context<'_>) -> Result<(), Fault> {
    let Some((_, form, name)) = PARAMETERS.iter().find(|(known, ..)| *known == id) else {
        values.set(format!("0x{id:04x}"), hex(c.take_rest("value")));
        return Ok(());
    };
    let number = match (form, c.remaining()) {
        (Byte, 1) => Some(Num::U8),
        (Word, 2) => Some(Num::U16),
        (Double | Bits, 4) => Some(Num::U32),
        _ => None,
    };
    let value = match (form, number) {
        (Bits, Some(num)) => Value::List(flags(num.read(c, name)? as u64, &[])),
        (_, Some(num)) => Value::Int(num.read(c, name)?),
        (Text, None) => {
            let said = text::decode(c.take_rest(name), context.charset);
            c.show(|| format!("{said:?}"));
            said.into()
        }
        // a value of another length than the table's is kept as it came
        _ => hex(c.take_rest(name)).into(),
    };
    values.set(*name, value);
    Ok(())
}

/// The id that a command means by a name, or by the id itself as `0x0001`.
pub(super) fn id(name: &str) -> Option<u32> {
    let known = PARAMETERS.iter().find(|(.., known)| *known == name).map(|(id, ..)| *id);
    known.or_else(|| u32::from_str_radix(name.strip_prefix("0x")?, 16).ok())
}

/// Id and bytes of a parameter that a command sets. `text` puts text into the terminal's charset.
pub(super) fn encode(
    name: &str,
    value: &Json,
    text: impl FnOnce(&str) -> Result<Vec<u8>, String>,
) -> Result<(u32, Vec<u8>), String> {
    let id = id(name).ok_or_else(|| format!("values.{name}: there is no such parameter"))?;
    let form = PARAMETERS.iter().find(|(known, ..)| *known == id).map_or(Bytes, |(_, form, _)| *form);
    let bytes = match form {
        Byte => number(value, 1),
        Word => number(value, 2),
        Double => number(value, 4),
        Bits => bits(value).or_else(|| number(value, 4)),
        Text => value.as_str().map(text).transpose()?,
        Bytes => value.as_str().and_then(unhex),
    };
    let expected = match form {
        Byte => "a whole number below 256",
        Word => "a whole number below 65536",
        Double => "a whole number below 4294967296",
        Bits => "a whole number, or a list of `bit_0` to `bit_31`",
        Text => "a text",
        Bytes => "hex, two digits a byte",
    };
    let bytes = bytes.filter(|bytes| bytes.len() <= usize::from(u8::MAX));
    bytes.map(|bytes| (id, bytes)).ok_or_else(|| format!("values.{name}: expected {expected}, at most 255 bytes"))
}

fn number(value: &Json, bytes: usize) -> Option<Vec<u8>> {
    let n = value.as_u64().filter(|n| *n < 1 << (8 * bytes))?;
    n.to_be_bytes().get(8 - bytes..).map(<[u8]>::to_vec)
}

/// Bits as [`read`] tells them.
fn bits(value: &Json) -> Option<Vec<u8>> {
    let bit = |name: &Json| name.as_str()?.strip_prefix("bit_")?.parse::<u32>().ok().filter(|n| *n < 32);
    let set = value.as_array()?.iter().map(bit).try_fold(0u32, |set, n| Some(set | 1 << n?))?;
    Some(set.to_be_bytes().to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::header::Edition;
    use crate::profile::Profile;

    fn read_body(body: &[u8], edition: Edition) -> serde_json::Value {
        let profile = Profile::default();
        let values = read(&mut Cursor::new(body, 0, None), &Context::new(edition, &profile)).unwrap();
        serde_json::to_value(values).unwrap()
    }

    #[test]
    fn accepts_both_places_of_the_items() {
        let once = b"\x00\x05\x02\x00\x00\x00\x01\x04\x00\x00\x00\x3c\x00\x00\x00\x10\x03cmn";
        let twice = b"\x00\x05\x02\x02\x00\x00\x00\x01\x04\x00\x00\x00\x3c\x00\x00\x00\x10\x03cmn";
        let expected = serde_json::json!({"answers_serial": 5, "heartbeat_interval_s": 60, "main_apn": "cmn"});
        for edition in [Edition::V2011, Edition::V2013, Edition::V2019] {
            assert_eq!(read_body(once, edition), expected);
            assert_eq!(read_body(twice, edition), expected);
        }
    }

    #[test]
    fn keeps_unknown_ids_and_odd_lengths() {
        let body = b"\x00\x05\x02\x00\x00\xf3\x64\x02\xab\xcd\x00\x00\x00\x31\x01\x07";
        let expected = serde_json::json!({"answers_serial": 5, "0xf364": "abcd", "movement_radius_m": "07"});
        assert_eq!(read_body(body, Edition::V2013), expected);
    }

    fn encoded(name: &str, value: Json) -> Result<(u32, Vec<u8>), String> {
        encode(name, &value, |text| Ok(text.as_bytes().to_vec()))
    }

    #[test]
    fn what_is_set_is_read_back_by_the_same_name() {
        for (id, form, name) in PARAMETERS {
            let value = match form {
                Byte => serde_json::json!(200),
                Word => serde_json::json!(60000),
                Double => serde_json::json!(4_000_000_000u32),
                Bits => serde_json::json!(["bit_0", "bit_31"]),
                Text => serde_json::json!("taxi.local"),
                Bytes => serde_json::json!("16320a1e"),
            };
            let (by_name, bytes) = encoded(name, value.clone()).unwrap();
            assert_eq!(encoded(&format!("0x{id:04x}"), value.clone()), Ok((by_name, bytes.clone())));
            let body = [&b"\0\x05\x01"[..], &id.to_be_bytes(), &[bytes.len() as u8], &bytes].concat();
            assert_eq!(read_body(&body, Edition::V2013)[name], value, "{name}");
        }
        assert_eq!(encoded("0xf364", serde_json::json!("abcd")), Ok((0xF364, vec![0xAB, 0xCD])));
        assert_eq!(encoded("alarm_mask", serde_json::json!(3)).unwrap().1, [0, 0, 0, 3]);
    }

    #[test]
    fn refuses_values_that_a_parameter_cannot_have() {
        for (name, value) in [
            ("plate_colour", serde_json::json!(256)),
            ("movement_radius_m", serde_json::json!(-1)),
            ("heartbeat_interval_s", serde_json::json!("60")),
            ("heartbeat_interval_s", serde_json::json!(60.5)),
            ("main_server", serde_json::json!(1)),
            ("main_server", serde_json::json!("x".repeat(256))),
            ("alarm_mask", serde_json::json!(["bit_32"])),
            ("0xf364", serde_json::json!(7)),
            ("no_such_thing", serde_json::json!(7)),
            ("0xzz", serde_json::json!("00")),
        ] {
            assert!(encoded(name, value).unwrap_err().starts_with(&format!("values.{name}: ")));
        }
    }

    #[test]
    fn refuses_an_overrunning_length() {
        let profile = Profile::default();
        let body = b"\x00\x05\x01\x00\x00\x00\x01\x09\x00";
        let fault = read(&mut Cursor::new(body, 0, None), &Context::new(Edition::V2013, &profile)).unwrap_err();
        assert_eq!(fault.kind, crate::fault::FaultKind::Truncated);
    }
}
