//! Reading building blocks into a report.

use std::ops::RangeInclusive;

use nom::number::complete::{be_i16, be_i32, be_u8, be_u16, be_u24, be_u32, be_u64};

use crate::cursor::{Cursor, hex};
use crate::event::{Alarm, Attributes, Report, Value};
use crate::fault::{Fault, FaultKind};
use crate::gt06::alarms::{IGNITION_OFF, IGNITION_ON};
use crate::gt06::blocks::{Entry, Meaning, Part};
use crate::gt06::dialect::Dialect;
use crate::gt06::modules;
use crate::parts::bcd;
use crate::parts::geo::on_earth;
use crate::parts::text;
use crate::profile::Charset;
use crate::time::{Civil, Timestamp};

/// Altitudes that a vehicle can have, metres: the lowest road is at -430 (Dead Sea), the highest summit at 8849. Beyond stands
/// another field of a layout that was not the right one.
const ALTITUDE_M: RangeInclusive<i64> = -500..=9000;

/// What was read.
#[derive(Debug, Default)]
pub(super) struct Facts {
    /// In the contract's words.
    pub(super) report: Report,
    /// It has a place, if perhaps an invalid one.
    pub(super) located: bool,
    /// The IMEI, if the message has one.
    pub(super) imei: Option<[u8; 8]>,
    /// The time as sent, for answers that repeat it.
    pub(super) stamp: [u8; 6],
}

impl Facts {
    fn attribute(&mut self, name: &'static str, value: impl Into<Value>) {
        self.report.attributes.set(name, value);
    }
}

/// Reads parts into facts.
#[derive(Debug)]
pub(super) struct Reader<'a, 'c, 't> {
    /// The bytes.
    pub(super) c: &'c mut Cursor<'a, 't>,
    /// What was read so far.
    pub(super) facts: Facts,
    /// Offset of the device's clock from UTC, seconds.
    pub(super) offset_s: i32,
    /// Readings of codes.
    pub(super) dialect: &'static Dialect,
    /// Topin's third byte.
    pub(super) x: u8,
}

impl<'a> Reader<'a, '_, '_> {
    /// Read all of `parts`, then those of `more` that are there, then keep what is left. What may follow is not certain enough to
    /// refuse a place for its sake: where it does not fit it is kept as it is.
    pub(super) fn read(&mut self, parts: &[Part], more: &[Part]) -> Result<(), Fault> {
        self.read_only(parts)?;
        for part in more {
            if self.c.remaining() < part.least().max(1) {
                break;
            }
            let before = self.c.rest();
            let lists = (self.facts.report.cells.len(), self.facts.report.wifi.len());
            if self.part(*part).is_err() {
                self.facts.report.cells.truncate(lists.0);
                self.facts.report.wifi.truncate(lists.1);
                self.c.take_rest("rest");
                self.keep(before);
                return Ok(());
            }
        }
        let rest = self.c.take_rest("rest");
        self.keep(rest);
        Ok(())
    }

    /// Bytes without a known meaning, unless they are fill.
    fn keep(&mut self, rest: &[u8]) {
        if rest.iter().any(|b| *b != 0) {
            self.facts.attribute("rest", hex(rest));
        }
    }

    /// Read these parts and leave the rest.
    pub(super) fn read_only(&mut self, parts: &[Part]) -> Result<(), Fault> {
        parts.iter().try_for_each(|part| self.part(*part))
    }

    fn part(&mut self, part: Part) -> Result<(), Fault> {
        match part {
            Part::Time => self.time(),
            Part::BcdTime => {
                let six = self.six("time")?;
                self.facts.stamp = six;
                self.set_time(bcd::civil(&six), &six);
                Ok(())
            }
            Part::UnixTime => {
                let time = self.unix_time()?;
                self.facts.report.time = self.facts.report.time.or(time);
                Ok(())
            }
            Part::Gps => self.gps(),
            Part::ModuleFix => {
                self.facts.report.time = self.unix_time()?;
                self.number("satellites", 1, Meaning::Satellites)?;
                self.number("altitude_m", 2, Meaning::AltitudeM)?;
                self.fix()
            }
            Part::TopinFix => self.topin_fix(),
            Part::Imei => {
                let imei = self.c.bytes("imei", 8)?;
                self.facts.imei = imei.first_chunk::<8>().copied();
                Ok(())
            }
            Part::Tower(tower) => self.tower(tower),
            Part::CountedTower(tower) => self.counted_tower(tower),
            Part::TypedTower => self.typed_tower(),
            Part::Towers(tower, count) => self.towers(tower, count),
            Part::TopinCells => self.topin_cells(),
            Part::Counted(entry) => {
                let n = self.c.read("wifi_count", be_u8)?;
                self.wifi(entry, n)
            }
            Part::CountedBefore(entry) => self.wifi(entry, self.x),
            Part::Info => self.info(),
            Part::Level => {
                let level = self.c.read("battery_level", be_u8)?;
                self.level(level);
                Ok(())
            }
            Part::Alarm => {
                let code = self.c.read("alarm", be_u8)?;
                self.alarm(u16::from(code));
                Ok(())
            }
            Part::WideAlarm => {
                let code = self.c.read("alarm", be_u8)?;
                let language = self.c.read("language", be_u8)?;
                self.alarm(u16::from(language >> 4) << 8 | u16::from(code));
                Ok(())
            }
            Part::Beat => self.beat(),
            Part::VoltageBeat => self.voltage_beat(),
            Part::Number(name, width, meaning) => self.number(name, width, meaning),
            Part::Hex(name, n) => {
                let bytes = self.c.bytes(name, n)?;
                if bytes.iter().any(|b| *b != 0) {
                    self.facts.attribute(name, hex(bytes));
                }
                Ok(())
            }
            Part::Digits(name, n) => {
                let digits = hex(self.c.bytes(name, n)?);
                self.facts.attribute(name, digits.trim_end_matches('f').to_owned());
                Ok(())
            }
            Part::Iccid => {
                let digits = iccid(self.c.bytes("iccid", 10)?);
                self.facts.attribute("iccid", digits);
                Ok(())
            }
            Part::Ascii(name, n) => self.ascii(name, n),
            Part::CountedAscii(name) => {
                let n = self.c.read("length", be_u8)?;
                self.ascii(name, usize::from(n))
            }
            Part::CountedHex(name) => {
                let n = self.c.read("length", be_u8)?;
                let bytes = self.c.bytes(name, usize::from(n))?;
                if let [_, id @ ..] = bytes {
                    self.facts.attribute(name, hex(id));
                }
                Ok(())
            }
            Part::Ports => self.ports(),
            Part::Modules(width) => modules::read(self, width),
            Part::SignalToNoise => {
                let n = self.c.read("satellites", be_u8)?;
                let ratios = self.c.bytes("signal_to_noise_db", usize::from(n))?;
                self.facts.report.satellites = Some(u16::from(n));
                let list: Vec<Value> = ratios.iter().map(|r| Value::from(*r)).collect();
                self.facts.attribute("signal_to_noise_db", list);
                Ok(())
            }
            Part::Says(alarm) => {
                self.facts.report.alarms.insert(alarm);
                Ok(())
            }
            Part::Is(name, value) => {
                self.facts.attribute(name, value);
                Ok(())
            }
            Part::Archived => {
                self.facts.report.archived = Some(true);
                Ok(())
            }
            Part::CountedGps => match self.c.read("gps_length", be_u8)? {
                0 => Ok(()),
                _ => self.gps(),
            },
            Part::CountedCells => self.counted_cells(),
            Part::CountedWifi => {
                let n = self.c.read("wifi_length", be_u8)?;
                self.wifi(Entry::Wifi, n / 7)
            }
            Part::Codes(name, table) => {
                let code = self.c.read(name, be_u8)?;
                let alarm = table.iter().find(|(c, _)| *c == code).map(|(_, alarm)| *alarm);
                alarm.into_iter().for_each(|alarm| self.facts.report.alarms.insert(alarm));
                self.facts.attribute(name, code);
                Ok(())
            }
            Part::AlarmBits(name, table) => {
                let bits = self.c.read(name, be_u8)?;
                let set = table.iter().filter(|(bit, _)| bits >> bit & 1 == 1);
                set.for_each(|(_, alarm)| self.facts.report.alarms.insert(*alarm));
                Ok(())
            }
            Part::InputWord => self.input_word(),
        }
    }

    pub(super) fn six(&mut self, name: &str) -> Result<[u8; 6], Fault> {
        let bytes = self.c.bytes(name, 6)?;
        Ok(bytes.first_chunk().copied().unwrap_or_default())
    }

    fn unix_time(&mut self) -> Result<Option<Timestamp>, Fault> {
        let seconds = self.c.read("time", be_u32)?;
        let time = (seconds != 0).then(|| Timestamp::from_seconds(i64::from(seconds)));
        self.c.note(|| time.map_or_else(String::new, |t| t.to_string()));
        Ok(time)
    }

    fn time(&mut self) -> Result<(), Fault> {
        let six = self.six("time")?;
        self.facts.stamp = six;
        self.set_time(Some(Civil::from_six(six)), &six);
        Ok(())
    }

    /// A date of zeros is none; one that cannot be is shown, but costs neither place nor alarm.
    fn set_time(&mut self, civil: Option<Civil>, sent: &[u8; 6]) {
        if *sent == [0; 6] {
            return;
        }
        let time = civil.and_then(|civil| Timestamp::from_civil(civil, self.offset_s));
        if let Some(time) = time {
            self.facts.report.time = Some(time);
            self.c.note(|| time);
        } else {
            self.facts.attribute("time_raw", hex(sent));
        }
    }

    fn gps(&mut self) -> Result<(), Fault> {
        let satellites = self.c.read("satellites", be_u8)?;
        self.facts.report.satellites = Some(u16::from(satellites & 15));
        self.c.note(|| format!("{} of a block of {} bytes", satellites & 15, satellites >> 4));
        self.fix()
    }

    /// Place, speed, course and status.
    fn fix(&mut self) -> Result<(), Fault> {
        let (latitude, longitude) = self.coordinates()?;
        let speed = self.c.read("speed_kmh", be_u8)?;
        let course = self.c.read("course_and_status", be_u16)?;
        self.place(latitude, longitude, course);
        self.facts.report.speed_kmh = Some(f64::from(speed));
        Ok(())
    }

    /// Latitude and longitude as sent: 1/30000 minutes.
    pub(super) fn coordinates(&mut self) -> Result<(u32, u32), Fault> {
        let latitude = self.c.read("latitude", be_u32)?;
        self.c.note(|| degrees(latitude));
        let longitude = self.c.read("longitude", be_u32)?;
        self.c.note(|| degrees(longitude));
        Ok((latitude, longitude))
    }

    /// A place with its status word: 15 ignition if 14 is set, 13 differential, 12 fix, 11 west, 10 north, 9-0 course.
    pub(super) fn place(&mut self, latitude: u32, longitude: u32, word: u16) {
        self.c.note(|| format!("course {}, status {:06b}", word & 0x3FF, word >> 10));
        let facts = &mut self.facts;
        facts.located = true;
        let north = word & 1 << 10 != 0;
        let west = word & 1 << 11 != 0;
        let (latitude_deg, longitude_deg) = (degrees(latitude), degrees(longitude));
        let some = (latitude, longitude) != (0, 0) && on_earth(latitude_deg, longitude_deg);
        facts.report.valid = Some(some && word & 1 << 12 != 0);
        if some {
            facts.report.latitude = Some(if north { latitude_deg } else { -latitude_deg });
            facts.report.longitude = Some(if west { -longitude_deg } else { longitude_deg });
        } else if (latitude, longitude) != (0, 0) {
            facts.attribute("latitude_raw", latitude);
            facts.attribute("longitude_raw", longitude);
        }
        let course = word & 0x3FF;
        facts.report.course_deg = (course <= 360).then(|| f64::from(course));
        if word & 1 << 13 != 0 {
            facts.attribute("differential", true);
        }
        if word & 1 << 14 != 0 {
            facts.report.ignition = Some(word & 1 << 15 != 0);
        }
    }

    fn topin_fix(&mut self) -> Result<(), Fault> {
        let latitude = self.topin_degrees("latitude")?;
        let longitude = self.topin_degrees("longitude")?;
        self.c.bytes("second_position", 8)?;
        let speed = self.c.read("speed_kmh", be_u8)?;
        let course = self.c.read("course_2deg", be_u8)?;
        let satellites = self.c.read("satellites", be_u8)?;
        let report = &mut self.facts.report;
        self.facts.located = true;
        let some = (latitude, longitude) != (0.0, 0.0) && on_earth(latitude, longitude);
        report.valid = Some(some);
        (report.latitude, report.longitude) = (some.then_some(latitude), some.then_some(longitude));
        report.speed_kmh = Some(f64::from(speed));
        report.course_deg = Some(f64::from(course) * 2.0);
        report.satellites = Some(u16::from(satellites));
        Ok(())
    }

    /// Whole degrees, then 24 bits: a sign nibble and millionths.
    fn topin_degrees(&mut self, name: &str) -> Result<f64, Fault> {
        let whole = self.c.read(name, be_u8)?;
        let fraction = self.c.read("millionths", be_u24)?;
        let micro = f64::from(u32::from(whole) * 1_000_000 + (fraction & 0xF_FFFF));
        let sign = if fraction >> 20 == 0 { 1.0 } else { -1.0 };
        Ok(sign * micro / 1e6)
    }

    /// Bits: 7 fuel and circuit cut, 6 GNSS on, 5-3 alarm, 2 charging, 1 ignition, 0 armed.
    fn info(&mut self) -> Result<(), Fault> {
        let info = self.c.read("terminal_information", be_u8)?;
        self.c.note(|| format!("{info:08b}"));
        let alarm = self.dialect.info_alarm(info);
        let report = &mut self.facts.report;
        report.ignition = Some(info & 2 != 0);
        if let Some(alarm) = alarm {
            report.alarms.insert(alarm);
        }
        for (name, bit) in [("fuel_cut", 7), ("gnss_on", 6), ("charging", 2), ("armed", 0)] {
            report.attributes.set(name, info >> bit & 1 == 1);
        }
        Ok(())
    }

    /// Levels 0 to 6 are sixths of a full battery, cut to whole percents; 7 to 100 are percents; beyond is something else.
    fn level(&mut self, level: u8) {
        match level {
            0..=6 => self.facts.report.battery_percent = Some(f64::from(u16::from(level) * 100 / 6)),
            7..=100 => self.facts.report.battery_percent = Some(f64::from(level)),
            _ => self.facts.attribute("battery_level_raw", level),
        }
    }

    fn alarm(&mut self, code: u16) {
        match code {
            0 => return,
            IGNITION_ON | IGNITION_OFF => self.facts.report.ignition = Some(code == IGNITION_ON),
            _ => {
                if let Some(alarm) = self.dialect.alarm(code) {
                    self.facts.report.alarms.insert(alarm);
                }
            }
        }
        self.facts.attribute("alarm_code", code);
        self.c.note(|| self.dialect.alarm(code).map_or("", Alarm::label));
    }

    /// Battery level, GSM level, alarm, language. The documents reserve the last two in heartbeats, and units say other things
    /// there: an alarm (codes 1 to 6 of the first document), whole volts of the supply, or F0 and twelve bits of tenths of a
    /// volt.
    fn beat(&mut self) -> Result<(), Fault> {
        self.part(Part::Level)?;
        self.number("rssi", 1, Meaning::Rssi)?;
        match self.c.rest() {
            [0xF0..=0xFF, _, ..] => {
                let tenths = self.c.read("power_v", be_u16)? & 0xFFF;
                self.facts.report.power_v = Some(f64::from(tenths) / 10.0);
            }
            [9..=36, ..] => self.number("power_v", 1, Meaning::PowerV(1.0))?,
            _ => self.part(Part::Alarm)?,
        }
        Ok(())
    }

    /// A GSM level above 100 is none: hundredths of a volt stand in its place and the one before, and the signal behind them.
    fn voltage_beat(&mut self) -> Result<(), Fault> {
        if !matches!(self.c.rest(), [_, 101..=0xFF, ..]) {
            return self.beat();
        }
        self.number("power_v", 2, Meaning::PowerV(100.0))?;
        self.number("rssi", 1, Meaning::Rssi)?;
        self.c.read("reserved", be_u8)?;
        Ok(())
    }

    /// A number of 1, 2, 3, 4, 6 or 8 bytes.
    pub(super) fn uint(&mut self, name: &str, width: u8) -> Result<u64, Fault> {
        match width {
            1 => self.c.read(name, be_u8).map(u64::from),
            2 => self.c.read(name, be_u16).map(u64::from),
            3 => self.c.read(name, be_u24).map(u64::from),
            4 => self.c.read(name, be_u32).map(u64::from),
            6 => self.c.bytes(name, 6).map(|bytes| bytes.iter().fold(0, |n, b| n << 8 | u64::from(*b))),
            8 => self.c.read(name, be_u64),
            _ => Err(self.c.fault_here(FaultKind::Value, "a number of unheard width")),
        }
    }

    /// A number and what it means.
    pub(super) fn number(&mut self, name: &'static str, width: u8, meaning: Meaning) -> Result<(), Fault> {
        let signed = match (meaning, width) {
            (Meaning::Signed(_) | Meaning::AltitudeM, 2) => Some(i64::from(self.c.read(name, be_i16)?)),
            (Meaning::Signed(_) | Meaning::AltitudeM, 4) => Some(i64::from(self.c.read(name, be_i32)?)),
            _ => None,
        };
        let n = match signed {
            Some(n) => n,
            None => i64::try_from(self.uint(name, width)?).unwrap_or(i64::MAX),
        };
        // every width but the eight bytes of identifiers is exact in a float
        #[expect(clippy::cast_precision_loss, reason = "measured values have at most 32 bits")]
        let x = n as f64;
        let report = &mut self.facts.report;
        let mut attribute = |value: Value| report.attributes.set(name, value);
        match meaning {
            Meaning::Attribute => attribute(Value::Int(n)),
            Meaning::Scaled(by) | Meaning::Signed(by) => attribute(Value::Float(x / by)),
            Meaning::MinusBit(bit, by) => attribute(Value::Float(magnitude(n, bit, n >> bit & 1 == 1) / by)),
            Meaning::PlusBit(bit, by) => attribute(Value::Float(magnitude(n, bit, n >> bit & 1 == 0) / by)),
            Meaning::PowerV(by) => report.power_v = Some(x / by),
            Meaning::BatteryV(by) => report.battery_v = Some(x / by),
            Meaning::BatteryPercent => report.battery_percent = Some(x),
            Meaning::Rssi => report.rssi = i32::try_from(n).ok(),
            Meaning::OdometerM(by) => report.odometer_m = Some(x * f64::from(by)),
            Meaning::Satellites => report.satellites = u16::try_from(n).ok(),
            Meaning::AltitudeM => report.altitude_m = ALTITUDE_M.contains(&n).then_some(x),
            Meaning::Hdop(by) => report.hdop = Some(x / by),
            Meaning::Ignition => report.ignition = Some(n != 0),
            Meaning::Archived => report.archived = Some(n != 0),
            Meaning::GeneralAlarm => {
                if n != 0 {
                    report.alarms.insert(Alarm::General);
                    attribute(Value::Int(n));
                }
            }
            Meaning::SignalWord => {
                report.rssi = i32::try_from(n & 31).ok();
                report.satellites = u16::try_from((n >> 5 & 31) + (n >> 10 & 31)).ok();
            }
            Meaning::Ignored => {}
        }
        Ok(())
    }

    fn ascii(&mut self, name: &'static str, n: usize) -> Result<(), Fault> {
        let words = text::decode(self.c.bytes(name, n)?, Charset::Utf8);
        self.c.show(|| format!("{words:?}"));
        if !words.is_empty() {
            self.facts.attribute(name, words);
        }
        Ok(())
    }

    fn ports(&mut self) -> Result<(), Fault> {
        let word = self.c.read("port_information", be_u32)?;
        self.number("inputs", 1, Meaning::Attribute)?;
        self.number("outputs", 1, Meaning::Attribute)?;
        for _ in 0..word >> 20 & 15 {
            self.number("analogue_v", 2, Meaning::Scaled(100.0))?;
        }
        Ok(())
    }

    /// Bits: 15 ignition, 14 second input, 12 says that 9-0 is a temperature (9 minus), else the analogue input (13: raw).
    fn input_word(&mut self) -> Result<(), Fault> {
        let word = self.c.read("input_word", be_u16)?;
        self.facts.report.ignition = Some(word & 1 << 15 != 0);
        self.facts.attribute("input_2", word & 1 << 14 != 0);
        if word & 1 << 12 != 0 {
            let degrees = f64::from(word & 0x1FF);
            self.facts.attribute("temperature_c", if word & 1 << 9 == 0 { degrees } else { -degrees });
        } else if word & 1 << 13 != 0 {
            self.facts.attribute("analogue_raw", word & 0x3FF);
        } else {
            self.facts.attribute("analogue_v", f64::from(word & 0x3FF) / 10.0);
        }
        Ok(())
    }

    /// What was read of attributes so far, for parts that read whole lists of them.
    pub(super) fn attributes(&mut self) -> &mut Attributes {
        &mut self.facts.report.attributes
    }
}

/// Degrees from 1/30000 minutes, rounded to seven decimals: 1.1 cm.
fn degrees(raw: u32) -> f64 {
    (f64::from(raw) * 50.0 / 9.0).round() / 1e7
}

/// All ICCIDs start with 89; if only the swapped digits do, they were sent swapped. Fill of `f` behind them is none.
fn iccid(bytes: &[u8]) -> String {
    let straight = hex(bytes);
    let swapped = hex(&bytes.iter().map(|b| b.rotate_left(4)).collect::<Vec<_>>());
    let digits = if !straight.starts_with("89") && swapped.starts_with("89") { swapped } else { straight };
    digits.trim_end_matches('f').to_owned()
}

fn magnitude(n: i64, bit: u8, minus: bool) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "at most 15 bits")]
    let size = (n & ((1 << bit) - 1)) as f64;
    if minus { -size } else { size }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::cursor::unhex;
    use crate::profile::Profile;

    /// What these parts read from these bytes.
    pub(in crate::gt06) fn facts(parts: &[Part], more: &[Part], hex: &str) -> Result<Facts, Fault> {
        let bytes = unhex(hex).unwrap();
        let mut c = Cursor::new(&bytes, 0, None);
        let dialect = Dialect::of(&Profile::default());
        let mut reader = Reader { c: &mut c, facts: Facts::default(), offset_s: 0, dialect, x: 0 };
        reader.read(parts, more)?;
        Ok(reader.facts)
    }

    fn report(parts: &[Part], hex: &str) -> Report {
        facts(parts, &[], hex).unwrap().report
    }

    #[test]
    fn a_place_as_published() {
        let r = report(&[Part::Time, Part::Gps], "0b081d112e10cf027ac7eb0c46584900148f");
        assert_eq!(r.time.unwrap().to_string(), "2011-08-29T17:46:16.000Z");
        assert_eq!((r.latitude, r.longitude), (Some(23.1116683), Some(114.409285)));
        assert_eq!((r.valid, r.satellites, r.course_deg, r.ignition), (Some(true), Some(15), Some(143.0), None));
    }

    #[test]
    fn refuses_to_call_a_place_valid_that_is_none() {
        let r = report(&[Part::Gps], "c000000000000000000014b4");
        assert_eq!((r.valid, r.latitude), (Some(false), None));
        let r = report(&[Part::Gps], "c0ffffffffffffffff0017ff");
        assert_eq!((r.valid, r.latitude, r.course_deg), (Some(false), None, None));
        assert!(r.attributes.get("latitude_raw").is_some());
    }

    #[test]
    fn dates_that_cannot_be_are_shown_and_zeros_are_not() {
        let r = report(&[Part::Time], "1a0d01000000");
        assert_eq!((r.time, r.attributes.get("time_raw")), (None, Some(&"1a0d01000000".into())));
        assert_eq!(report(&[Part::Time], "000000000000"), Report::default());
        assert!(report(&[Part::BcdTime], "26f301000000").attributes.get("time_raw").is_some());
    }

    #[test]
    fn levels_and_percents() {
        for (level, percent) in [(0, 0.0), (1, 16.0), (4, 66.0), (6, 100.0), (7, 7.0), (100, 100.0)] {
            assert_eq!(report(&[Part::Level], &format!("{level:02x}")).battery_percent, Some(percent));
        }
        assert_eq!(report(&[Part::Level], "f1").attributes.get("battery_level_raw"), Some(&0xF1u8.into()));
    }

    #[test]
    fn what_may_follow_is_read_as_far_as_it_goes() {
        let more = [Part::Level, Part::Number("odometer_m", 4, Meaning::OdometerM(1))];
        let f = facts(&[Part::Info], &more, "4406").unwrap();
        assert_eq!((f.report.battery_percent, f.report.odometer_m), (Some(100.0), None));
        let f = facts(&[Part::Info], &more, "44060102").unwrap();
        assert_eq!(f.report.attributes.get("rest"), Some(&"0102".into()));
        assert_eq!(facts(&[Part::Time], &more, "0102").unwrap_err().kind, FaultKind::Truncated);
        let f = facts(&[Part::Level], &[Part::CountedAscii("card")], "06094142").unwrap();
        assert_eq!(f.report.attributes.get("rest"), Some(&"094142".into()));
    }

    #[test]
    fn numbers_with_sign_bits() {
        let value = |meaning, hex| report(&[Part::Number("n", 2, meaning)], hex).attributes.get("n").cloned();
        assert_eq!(value(Meaning::MinusBit(15, 100.0), "8096"), Some((-1.5).into()));
        assert_eq!(value(Meaning::PlusBit(15, 10.0), "802b"), Some(4.3.into()));
        assert_eq!(value(Meaning::PlusBit(15, 10.0), "002b"), Some((-4.3).into()));
        assert_eq!(value(Meaning::Signed(10.0), "fff6"), Some((-1.0).into()));
    }

    #[test]
    fn an_altitude_where_no_vehicle_can_be_is_none() {
        let altitude = |hex: &str| report(&[Part::Number("altitude_m", 2, Meaning::AltitudeM)], hex).altitude_m;
        assert_eq!((altitude("fe0c"), altitude("2328"), altitude("0000")), (Some(-500.0), Some(9000.0), Some(0.0)));
        assert_eq!((altitude("fe0b"), altitude("2329"), altitude("8000")), (None, None, None));
    }

    #[test]
    fn a_heartbeat_with_a_voltage_is_one_only_where_it_is_asked_for() {
        let (levels, voltage) = (report(&[Part::Beat], "04ea0400"), report(&[Part::VoltageBeat], "04ea0400"));
        assert_eq!((levels.battery_percent, levels.rssi, levels.power_v), (Some(66.0), Some(234), None));
        assert!(levels.alarms.contains(Alarm::GeofenceEnter));
        assert_eq!((voltage.battery_percent, voltage.rssi, voltage.power_v), (None, Some(4), Some(12.58)));
        assert!(voltage.alarms.is_empty());
        assert_eq!(report(&[Part::VoltageBeat], "04040000"), report(&[Part::Beat], "04040000"));
    }

    #[test]
    fn the_number_of_a_sim_may_be_swapped() {
        let iccid = |hex| report(&[Part::Iccid], hex).attributes.get("iccid").cloned();
        assert_eq!(iccid("8986001234567890123f"), Some("8986001234567890123".into()));
        assert_eq!(iccid("986800214365870921f3"), Some("8986001234567890123".into()));
        assert_eq!(iccid("1234567890123456789f"), Some("1234567890123456789".into()));
    }

    #[test]
    fn no_part_reads_beyond_the_end() {
        let parts = [
            Part::Gps,
            Part::TopinFix,
            Part::Beat,
            Part::VoltageBeat,
            Part::CountedAscii("a"),
            Part::CountedHex("b"),
            Part::SignalToNoise,
        ];
        for part in parts {
            assert_eq!(facts(&[part], &[], "09").unwrap_err().kind, FaultKind::Truncated, "{part:?}");
        }
    }
}
