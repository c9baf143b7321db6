//! 0x5501 and 0x5502: electronic locks that put the binary record of their JT600 relatives into this protocol's frame.

use nom::number::complete::{be_i16, be_u8, be_u16, be_u32};

use super::context::Context;
use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Cell, Report, Value};
use crate::fault::Fault;
use crate::parts::{bcd, geo};
use crate::time::{Civil, Timestamp};

/// 0x5502: sent from where there is no fix.
pub(super) const WITHOUT_FIX: u16 = 0x5502;

/// Bits of the half byte behind the longitude.
mod flag {
    pub(super) const FIX: u8 = 1;
    pub(super) const NORTH: u8 = 2;
    pub(super) const EAST: u8 = 4;
}

/// Alarm bits by product: 1 and 2 trackers, 3 locks.
static TRACKER_ALARMS: &[(u8, Alarm)] = &[(0, Alarm::LowPower)];
static LOCK_ALARMS: &[(u8, Alarm)] = &[
    (0, Alarm::Overspeed),
    (1, Alarm::LowPower),
    (2, Alarm::Vibration),
    (3, Alarm::LowBattery),
    (5, Alarm::GeofenceEnter),
    (6, Alarm::GeofenceExit),
];

/// The whole body.
pub(super) fn read(message: u16, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Report, Fault> {
    let mut report = Report::default();
    record(c, &mut report)?;
    report.valid = Some(report.valid == Some(true) && message != WITHOUT_FIX);
    report.rssi = Some(c.read("rssi", be_u8)?.into());
    report.satellites = Some(c.read("satellites", be_u8)?.into());
    report.odometer_m = Some(f64::from(c.read("odometer_km", be_u32)?) * 1000.0);
    match c.read("battery_percent", be_u8)? {
        0xAA | 0xAB => report.attributes.set("charging", true),
        n if n <= 100 => report.battery_percent = Some(n.into()),
        n => report.attributes.set("battery_raw", n),
    }
    let (cid, lac) = (c.read("cid", be_u32)?, c.read("lac", be_u16)?);
    let product = c.read("product", be_u8)?;
    let status = c.read("status_bits", be_u16)?;
    let alarms = c.read("alarm_bits", be_u16)?;
    let table = match product {
        1 | 2 => TRACKER_ALARMS,
        3 => LOCK_ALARMS,
        _ => &[],
    };
    table.iter().filter(|(bit, _)| alarms >> bit & 1 == 1).for_each(|(_, alarm)| report.alarms.insert(*alarm));
    report.attributes.set("product", product);
    if product == 3 {
        report.attributes.set("locked", status >> 5 & 1 == 1);
    }
    report.attributes.set("status_bits", status);
    if alarms != 0 {
        report.attributes.set("alarm_bits", alarms);
    }
    let (mcc, mnc) = items(c, &mut report, context)?;
    if cid != 0 && lac != 0 {
        report.cells.push(Cell { mcc, mnc, lac: lac.into(), cid: cid.into(), rssi: None });
    }
    Ok(report)
}

/// The 17 bytes that JT600 frames carry, too.
fn record(c: &mut Cursor<'_, '_>, report: &mut Report) -> Result<(), Fault> {
    let when = c.bytes("time_ddmmyyhhmmss", 6)?;
    report.time = utc(when);
    c.note(|| report.time.map_or_else(|| "no time".to_owned(), |t| t.to_string()));
    if report.time.is_none() && when.iter().any(|b| *b != 0) {
        report.attributes.set("time_raw", hex(when));
    }
    let latitude = degrees(bcd::number(c.bytes("latitude_ddmm.mmmm", 4)?));
    let longitude = c.bytes("longitude_dddmm.mmmm_and_flags", 5)?;
    let flags = longitude.last().map_or(0, |b| b & 15);
    // nine digits and a half byte that is none
    let digits = longitude.iter().fold(0u64, |n, b| n << 8 | u64::from(*b)) >> 4;
    let longitude = degrees((0..9).rev().try_fold(0u64, |n, d| {
        let digit = digits >> (4 * d) & 15;
        (digit < 10).then_some(n * 10 + digit)
    }));
    let signed = |x: f64, positive: bool| if positive { x } else { -x };
    let place = latitude.zip(longitude).map(|(a, b)| (signed(a, flags & flag::NORTH != 0), signed(b, flags & flag::EAST != 0)));
    let place = place.filter(|(a, b)| geo::on_earth(*a, *b) && (*a, *b) != (0.0, 0.0));
    (report.latitude, report.longitude) = (place.map(|p| p.0), place.map(|p| p.1));
    report.valid = Some(flags & flag::FIX != 0 && place.is_some());
    // a speed that is no packed decimal stands for none
    let speed = bcd::byte(c.read("speed_kn_bcd", be_u8)?);
    report.speed_kmh = speed.map(|kn| geo::round(f64::from(kn) * geo::KMH_PER_KNOT, 3));
    report.course_deg = Some(f64::from(c.read("course_2_deg", be_u8)?) * 2.0).filter(|course| *course <= 360.0);
    Ok(())
}

/// `DDMMYYhhmmss` in UTC.
fn utc(bytes: &[u8]) -> Option<Timestamp> {
    let [day, month, year, hour, minute, second] = bytes.first_chunk::<6>()?;
    let six = [*year, *month, *day, *hour, *minute, *second];
    let mut numbers = [0; 6];
    for (to, from) in numbers.iter_mut().zip(six) {
        *to = bcd::byte(from)?;
    }
    Timestamp::from_civil(Civil::from_six(numbers), 0)
}

/// Degrees and minutes with four decimals in one whole number.
fn degrees(number: Option<u64>) -> Option<f64> {
    number.map(|n| geo::from_ddmm(n as f64 / 10_000.0))
}

/// The items behind the fixed part; country and network of the cell are among them.
fn items(c: &mut Cursor<'_, '_>, report: &mut Report, context: &Context<'_>) -> Result<(u16, u16), Fault> {
    let mut network = (0, 0);
    while let [_, length, ..] = c.rest() {
        if c.remaining() < 2 + usize::from(*length) {
            break;
        }
        let (id, length) = (c.read("item_id", be_u8)?, c.read("item_length", be_u8)?);
        let mut c = c.sub("item", length.into())?;
        match (id, length) {
            (0x02, 2) => report.altitude_m = Some(f64::from(c.read("altitude_m", be_i16)?)),
            (0x0A, 3) => network = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?.into()),
            (0x0B, 1..=8) => super::vendor::lock(&mut c, report, context)?,
            (0x0C, 6) => {
                let tilt = (0..3).map(|_| c.read("tilt", be_i16).map(Value::from)).collect::<Result<_, _>>()?;
                report.attributes.set("tilt", Value::List(tilt));
            }
            (0x10, 1) => report.attributes.set("wake_source", c.read("wake_source", be_u8)?),
            (0xFC, 1) => report.attributes.set("geofence_number", c.read("geofence_number", be_u8)?),
            _ => unknown(id, &mut c, &mut report.attributes),
        }
    }
    if c.remaining() > 0 {
        report.attributes.set("items_rest", hex(c.take_rest("items_rest")));
    }
    Ok(network)
}

fn unknown(id: u8, c: &mut Cursor<'_, '_>, attributes: &mut Attributes) {
    attributes.set(format!("item_{id:02x}"), hex(c.take_rest("value")));
}
