//! The terminal's parameters: 0x0104 up and 0x8103 down. The names are those of commands, too.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::Context;
use crate::cursor::{Cursor, hex};
use crate::event::{Attributes, Value};
use crate::fault::Fault;
use crate::parts::text;

/// Form of a parameter's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    Byte,
    Word,
    Double,
    Text,
    /// So many bytes of packed decimal.
    Digits(u8),
}

use Form::{Byte, Digits, Double, Text, Word};

/// Id, form, and name with the unit; sorted by id.
static PARAMETERS: &[(u16, Form, &str)] = &[
    (0x0001, Double, "heartbeat_interval_s"),
    (0x0002, Double, "tcp_timeout_s"),
    (0x0003, Double, "tcp_resends"),
    (0x0004, Double, "sms_timeout_s"),
    (0x0005, Double, "sms_resends"),
    (0x0010, Text, "main_apn"),
    (0x0011, Text, "main_user"),
    (0x0012, Text, "main_password"),
    (0x0013, Text, "main_server"),
    (0x0014, Text, "backup_apn"),
    (0x0015, Text, "backup_user"),
    (0x0016, Text, "backup_password"),
    (0x0017, Text, "backup_server"),
    (0x0018, Double, "main_tcp_port"),
    (0x0019, Double, "backup_tcp_port"),
    (0x001A, Text, "card_server"),
    (0x001B, Double, "card_tcp_port"),
    (0x001C, Text, "card_backup_server"),
    (0x001D, Double, "card_backup_tcp_port"),
    (0x0020, Double, "report_strategy"),
    (0x0021, Double, "report_scheme"),
    (0x0022, Double, "no_login_interval_s"),
    (0x0023, Double, "ignition_off_interval_s"),
    (0x0024, Double, "ignition_on_interval_s"),
    (0x0025, Double, "empty_interval_s"),
    (0x0026, Double, "occupied_interval_s"),
    (0x0027, Double, "sleep_interval_s"),
    (0x0028, Double, "emergency_interval_s"),
    (0x0029, Double, "no_login_distance_m"),
    (0x002A, Double, "ignition_off_distance_m"),
    (0x002B, Double, "ignition_on_distance_m"),
    (0x002C, Double, "empty_distance_m"),
    (0x002D, Double, "occupied_distance_m"),
    (0x002E, Double, "sleep_distance_m"),
    (0x002F, Double, "emergency_distance_m"),
    (0x0030, Double, "corner_angle_deg"),
    (0x0040, Text, "platform_phone"),
    (0x0041, Text, "reset_phone"),
    (0x0042, Text, "factory_reset_phone"),
    (0x0043, Text, "platform_sms_phone"),
    (0x0044, Text, "alarm_sms_phone"),
    (0x0045, Double, "answer_policy"),
    (0x0046, Double, "longest_call_s"),
    (0x0047, Double, "monthly_call_s"),
    (0x0048, Double, "short_number_length"),
    (0x0049, Text, "listen_phone"),
    (0x004A, Text, "maintenance_password"),
    (0x004B, Byte, "speech_volume"),
    (0x0050, Double, "alarm_mask"),
    (0x0051, Double, "alarm_sms_mask"),
    (0x0052, Double, "alarm_photo_mask"),
    (0x0053, Double, "alarm_store_mask"),
    (0x0055, Double, "speed_limit_kmh"),
    (0x0056, Double, "speed_limit_duration_s"),
    (0x0057, Double, "continuous_driving_s"),
    (0x0058, Double, "minimum_rest_s"),
    (0x0059, Double, "longest_parking_s"),
    (0x005A, Double, "daily_driving_s"),
    (0x0070, Double, "photo_quality"),
    (0x0071, Double, "photo_brightness"),
    (0x0072, Double, "photo_contrast"),
    (0x0073, Double, "photo_saturation"),
    (0x0074, Double, "photo_chroma"),
    (0x0080, Double, "odometer_0.1_km"),
    (0x0081, Double, "province"),
    (0x0082, Double, "city"),
    (0x0090, Digits(2), "meter_trip_limit"),
    (0x0091, Digits(5), "meter_time_limit"),
    (0x0092, Text, "company_licence"),
    (0x0093, Text, "company_name"),
    (0x0094, Text, "plate"),
    (0x00A0, Byte, "recording_mode"),
    (0x00A1, Byte, "longest_recording_min"),
    (0x00A2, Byte, "lcd_heartbeat_s"),
    (0x00A3, Byte, "led_heartbeat_s"),
    (0x00AF, Word, "sleep_after_s"),
    (0x00B0, Byte, "video_mode"),
    (0x00B1, Text, "video_apn"),
    (0x00B2, Text, "video_user"),
    (0x00B3, Text, "video_password"),
    (0x00B4, Text, "video_server"),
    (0x00B5, Double, "video_port"),
];

/// The form and the name of a parameter.
pub(super) fn of_id(id: u16) -> Option<(Form, &'static str)> {
    let n = PARAMETERS.binary_search_by_key(&id, |(id, ..)| *id).ok()?;
    PARAMETERS.get(n).map(|(_, form, name)| (*form, *name))
}

/// The id of a parameter with this name.
pub(super) fn id_of(name: &str) -> Option<u16> {
    PARAMETERS.iter().find(|(.., known)| *known == name).map(|(id, ..)| *id)
}

/// Every known id.
pub(super) fn ids() -> impl Iterator<Item = u16> {
    PARAMETERS.iter().map(|(id, ..)| *id)
}

/// Every parameter that has a name.
pub(super) fn named() -> Vec<(u32, &'static str)> {
    PARAMETERS.iter().map(|(id, _, name)| (u32::from(*id), *name)).collect()
}

/// The whole body of 0x0104; there is no count.
pub(super) fn read(c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Attributes, Fault> {
    let mut values = Attributes::default();
    values.set("answers_serial", c.read("answers_serial", be_u16)?);
    while c.remaining() > 0 {
        let id = c.read("parameter_id", be_u16)?;
        c.show(|| format!("0x{id:04x}"));
        let length = c.read("length", be_u8)?;
        let mut c = c.sub("parameter", length.into())?;
        match of_id(id) {
            Some((form, name)) => values.set(name, value(form, name, &mut c, context)?),
            None => values.set(format!("0x{id:04x}"), hex(c.take_rest("value"))),
        }
    }
    Ok(values)
}

/// One value; one of another length than the table's is kept as it came.
fn value(form: Form, name: &str, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Value, Fault> {
    Ok(match (form, c.remaining()) {
        (Byte, 1) => c.read(name, be_u8)?.into(),
        (Word, 2) => c.read(name, be_u16)?.into(),
        (Double, 4) => c.read(name, be_u32)?.into(),
        (Text, _) => {
            let said = text::decode(c.take_rest(name), context.charset);
            c.show(|| format!("{said:?}"));
            said.into()
        }
        _ => hex(c.take_rest(name)).into(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use crate::profile::Profile;

    fn try_read(body: &[u8]) -> Result<serde_json::Value, Fault> {
        let values = read(&mut Cursor::new(body, 0, None), &Context::new(&Profile::default()))?;
        Ok(serde_json::to_value(values).unwrap())
    }

    #[test]
    fn the_table_is_sorted_and_its_names_are_unique() {
        assert!(PARAMETERS.is_sorted_by(|a, b| a.0 < b.0));
        let names: std::collections::BTreeSet<_> = PARAMETERS.iter().map(|(.., name)| name).collect();
        assert_eq!(names.len(), PARAMETERS.len());
    }

    #[test]
    fn accepts_every_form() {
        let body = b"\x00\x05\x00\x01\x04\x00\x00\x00\x3c\x00\x10\x04cmn\0\x00\x4b\x01\x09\x00\x90\x02\x12\x21\x00\xaf\x02\x00\x0a";
        let expected = serde_json::json!({"answers_serial": 5, "heartbeat_interval_s": 60, "main_apn": "cmn", "speech_volume": 9,
            "meter_trip_limit": "1221", "sleep_after_s": 10});
        assert_eq!(try_read(body).unwrap(), expected);
        assert_eq!(try_read(b"\x00\x05").unwrap(), serde_json::json!({"answers_serial": 5}));
    }

    #[test]
    fn keeps_unknown_ids_and_odd_lengths() {
        let body = b"\x00\x05\x02\x30\x02\xab\xcd\x00\x01\x01\x07";
        let expected = serde_json::json!({"answers_serial": 5, "0x0230": "abcd", "heartbeat_interval_s": "07"});
        assert_eq!(try_read(body).unwrap(), expected);
    }

    #[test]
    fn refuses_an_overrunning_length() {
        assert_eq!(try_read(b"\x00\x05\x00\x01\x09\x00").unwrap_err().kind, FaultKind::Truncated);
        assert_eq!(try_read(b"\x00\x05\x00\x01").unwrap_err().kind, FaultKind::Truncated);
    }
}
