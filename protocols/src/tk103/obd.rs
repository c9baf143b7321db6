//! Values of the engine in `BQ86`: mode 01 of SAE J1979, number and value one behind the other, in hex.
//!
//! The reading was found by comparing frames with the standard; a number that is not in the table ends it, because nothing
//! says how long its value is.

use crate::event::{Attributes, Value};

/// How a raw value becomes one with a unit: `raw * factor + offset`.
struct Pid {
    number: u8,
    bytes: usize,
    name: &'static str,
    factor: f64,
    offset: f64,
}

const fn pid(number: u8, bytes: usize, name: &'static str, factor: f64, offset: f64) -> Pid {
    Pid { number, bytes, name, factor, offset }
}

const PERCENT: f64 = 100.0 / 255.0;

/// SAE J1979, appendix B. Long and short term trim have a byte for each bank.
static PIDS: &[Pid] = &[
    pid(0x04, 1, "engine_load_percent", PERCENT, 0.0),
    pid(0x05, 1, "coolant_c", 1.0, -40.0),
    pid(0x0A, 1, "fuel_pressure_kpa", 3.0, 0.0),
    pid(0x0B, 1, "manifold_kpa", 1.0, 0.0),
    pid(0x0C, 2, "engine_rpm", 0.25, 0.0),
    pid(0x0D, 1, "obd_speed_kmh", 1.0, 0.0),
    pid(0x0E, 1, "timing_advance_deg", 0.5, -64.0),
    pid(0x0F, 1, "intake_air_c", 1.0, -40.0),
    pid(0x10, 2, "air_flow_g_s", 0.01, 0.0),
    pid(0x11, 1, "throttle_percent", PERCENT, 0.0),
    pid(0x1F, 2, "run_time_s", 1.0, 0.0),
    pid(0x21, 2, "distance_with_fault_km", 1.0, 0.0),
    pid(0x2F, 1, "fuel_level_percent", PERCENT, 0.0),
    pid(0x31, 2, "distance_since_clear_km", 1.0, 0.0),
    pid(0x33, 1, "barometer_kpa", 1.0, 0.0),
    pid(0x42, 2, "module_v", 0.001, 0.0),
    pid(0x43, 2, "absolute_load_percent", PERCENT, 0.0),
    pid(0x46, 1, "ambient_c", 1.0, -40.0),
    pid(0x5C, 1, "oil_c", 1.0, -40.0),
    pid(0x5E, 2, "fuel_rate_l_h", 0.05, 0.0),
];

/// Status since the codes were cleared: bit 7 of the first byte is the lamp, the others count codes.
const STATUS: u8 = 0x01;
const STATUS_BYTES: usize = 4;
/// Fuel trims, short and long: two bytes, of which the second is zero where there is one bank.
const TRIMS: [(u8, &str); 2] = [(0x06, "short_trim_percent"), (0x07, "long_trim_percent")];

/// Read values until there are none, or one that is not known. What is left stays as hex.
pub(super) fn values(bytes: &[u8]) -> Attributes {
    let mut values = Attributes::default();
    let mut rest = bytes;
    while let Some(more) = one(rest, &mut values) {
        rest = more;
    }
    if !rest.is_empty() {
        values.set("rest", crate::cursor::hex(rest));
    }
    values
}

fn one<'b>(bytes: &'b [u8], values: &mut Attributes) -> Option<&'b [u8]> {
    let (number, rest) = bytes.split_first()?;
    if *number == STATUS {
        let (status, rest) = rest.split_at_checked(STATUS_BYTES)?;
        let first = *status.first()?;
        values.set("fault_lamp", first & 0x80 != 0);
        values.set("fault_codes", first & 0x7F);
        return Some(rest);
    }
    if let Some((_, name)) = TRIMS.iter().find(|(n, _)| n == number) {
        let (banks, rest) = rest.split_at_checked(2)?;
        values.set(*name, hundredth(f64::from(*banks.first()?) * 100.0 / 128.0 - 100.0));
        return Some(rest);
    }
    let pid = PIDS.iter().find(|p| p.number == *number)?;
    let (raw, rest) = rest.split_at_checked(pid.bytes)?;
    let raw = raw.iter().fold(0_u32, |n, b| n << 8 | u32::from(*b));
    let value = f64::from(raw) * pid.factor + pid.offset;
    let known = if pid.factor < 0.1 { crate::parts::geo::round(value, 3) } else { hundredth(value) };
    values.set(pid.name, Value::Float(known));
    Some(rest)
}

fn hundredth(x: f64) -> f64 {
    crate::parts::geo::round(x, 2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::unhex;

    #[test]
    fn values_of_a_running_engine() {
        let values = values(&unhex("055a0c0fa00d320f3c100500112d0e8a078800010007e10042378c").unwrap());
        let said: Vec<_> = values.iter().map(|(name, value)| format!("{name} {value:?}")).collect();
        assert_eq!(
            said,
            [
                "coolant_c Float(50.0)",
                "engine_rpm Float(1000.0)",
                "obd_speed_kmh Float(50.0)",
                "intake_air_c Float(20.0)",
                "air_flow_g_s Float(12.8)",
                "throttle_percent Float(17.65)",
                "timing_advance_deg Float(5.0)",
                "long_trim_percent Float(6.25)",
                "fault_lamp Bool(false)",
                "fault_codes Int(0)",
                "module_v Float(14.22)",
            ]
        );
    }

    #[test]
    fn what_is_not_known_ends_it() {
        let values = values(&[0x0D, 50, 0xEE, 1, 2]);
        assert_eq!(values.get("obd_speed_kmh"), Some(&Value::Float(50.0)));
        assert_eq!(values.get("rest"), Some(&Value::Text("ee0102".into())));
        assert_eq!(super::values(&[0x0C, 1]).get("rest"), Some(&Value::Text("0c01".into())));
    }
}
