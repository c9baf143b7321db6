//! Coordinates, found by their values in whatever form a device writes them, and moved by whole degrees.
//!
//! What a frame's events say is known, so the content is searched for it in every form of this trade; whole degrees are
//! exact in all of them. The number of digits stays, and so does the hemisphere, which stands elsewhere.

use std::ops::Range;

use crate::parts::bcd;

/// Units of binary coordinates to a degree: 10^-6 and 10^-7 degrees, 1/30000 and 1/10000 minute, 10^-5 degrees, milliseconds.
const BINARY: [f64; 6] = [1e6, 1.8e6, 1e7, 6e5, 1e5, 3.6e6];
/// Digits of a minute's fraction that are seen.
const MINUTE_DIGITS: std::ops::RangeInclusive<usize> = 3..=6;
/// Nearer to zero than this a coordinate says nothing, and its bytes stand anywhere.
const NEAREST: f64 = 0.001;
/// Digits of the longest number that is one coordinate: degrees, minutes and six of their fraction.
const MOST_DIGITS: usize = 12;

/// Which of the two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Axis {
    Latitude,
    Longitude,
}

/// By how many degrees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shift {
    pub(super) latitude: u32,
    pub(super) longitude: u32,
}

/// How a coordinate is written.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Coding {
    /// Four bytes, so many units a degree.
    Binary { units: f64, little: bool },
    /// Degrees in a byte, millionths in three.
    Millionths,
    /// Packed digits: degrees, minutes, so many digits of their fraction.
    Packed { fraction: usize },
    /// Text: degrees, minutes and their fraction, or degrees and their fraction.
    Text { minutes: bool },
}

/// Where one stands; in half bytes.
#[derive(Debug, Clone)]
struct Site {
    span: Range<usize>,
    coding: Coding,
}

/// What forms a conversation has shown, for fields of frames whose events say nothing.
#[derive(Debug, Default)]
pub(super) struct Seen(Vec<(Axis, Coding)>);

impl Axis {
    /// Digits that degrees have where minutes follow.
    fn width(self) -> usize {
        match self {
            Self::Latitude => 2,
            Self::Longitude => 3,
        }
    }

    fn limit(self) -> f64 {
        match self {
            Self::Latitude => 90.0,
            Self::Longitude => 180.0,
        }
    }

    /// Other whole degrees with as many digits.
    fn moved(self, degrees: u32, shift: &Shift) -> u32 {
        let within = |first: u32, count: u32, by: u32| first + (degrees - first + by) % count;
        match (self, degrees) {
            (Self::Latitude, 0..=9) => within(0, 10, shift.latitude),
            (Self::Latitude, 10..=79) => within(10, 70, shift.latitude),
            (Self::Longitude, 0..=9) => within(0, 10, shift.longitude),
            (Self::Longitude, 10..=99) => within(10, 90, shift.longitude),
            (Self::Longitude, 100..=179) => within(100, 80, shift.longitude),
            // the poles and the date line: nobody drives there
            _ => degrees,
        }
    }
}

/// Move what these events say in the content; the spans in it that were changed.
pub(super) fn shift(content: &mut [u8], places: &[(f64, f64)], shift: &Shift, seen: &mut Seen) -> Vec<Range<usize>> {
    let mut changed: Vec<Range<usize>> = Vec::new();
    let mut taken: Vec<Range<usize>> = Vec::new();
    let original = content.to_vec();
    for (latitude, longitude) in places {
        for (axis, value) in [(Axis::Latitude, latitude.abs()), (Axis::Longitude, longitude.abs())] {
            for site in find(&original, axis, value) {
                if taken.iter().any(|t| t.start < site.span.end && site.span.start < t.end) {
                    continue;
                }
                put(content, axis, &site, shift);
                if !seen.0.contains(&(axis, site.coding)) {
                    seen.0.push((axis, site.coding));
                }
                changed.push(site.span.start / 2..site.span.end.div_ceil(2));
                taken.push(site.span);
            }
        }
    }
    changed
}

/// Move a field of which nothing but its bytes is known, if this conversation has shown how it is written. Whether it was
/// moved, or says nothing.
pub(super) fn shift_field(content: &mut [u8], span: Range<usize>, axis: Axis, shift: &Shift, seen: &Seen) -> bool {
    let Some(bytes) = content.get(span.clone()) else { return true };
    if bytes.iter().all(|b| matches!(b, 0 | b'0' | b'.' | b',' | b' ' | 0xFF)) {
        return true;
    }
    for (of, coding) in &seen.0 {
        let site = Site { span: 2 * span.start..2 * span.end, coding: *coding };
        if *of == axis && read(content, axis, &site).is_some_and(|value| value < axis.limit()) {
            put(content, axis, &site, shift);
            return true;
        }
    }
    false
}

fn find(content: &[u8], axis: Axis, value: f64) -> Vec<Site> {
    if !(NEAREST..=axis.limit()).contains(&value) {
        return Vec::new();
    }
    let mut sites = Vec::new();
    let halves = 2 * content.len();
    let fits = |site: &Site| {
        let unit = match site.coding {
            Coding::Binary { units, .. } => 1.0 / units,
            Coding::Millionths => 1e-6,
            // cut off, not rounded
            Coding::Packed { fraction } => 10_f64.powi(-(fraction as i32)) / 36.0,
            Coding::Text { .. } => 0.0,
        };
        // decoders round to seven decimals
        read(content, axis, site).is_some_and(|read| (read - value).abs() <= unit * 0.6 + 1e-7)
    };
    for start in (0..halves).step_by(2) {
        let binary = BINARY.into_iter().flat_map(|units| [false, true].map(|little| Coding::Binary { units, little }));
        let codings = binary.chain([Coding::Millionths]);
        sites.extend(codings.map(|coding| Site { span: start..start + 8, coding }).find(|site| fits(site)));
    }
    for start in 0..halves {
        let mut packed = MINUTE_DIGITS
            .map(|fraction| Site { span: start..start + axis.width() + 2 + fraction, coding: Coding::Packed { fraction } });
        // the first digits decide; those behind are more of the fraction, or what follows
        sites.extend(packed.find(|site| fits(site)));
    }
    for span in numbers(content) {
        let text = [true, false].map(|minutes| Site { span: 2 * span.start..2 * span.end, coding: Coding::Text { minutes } });
        sites.extend(text.into_iter().find(|site| text_fits(content, axis, site, value)));
    }
    sites
}

/// Digits with or without a point.
fn numbers(content: &[u8]) -> Vec<Range<usize>> {
    let part = |b: &u8| b.is_ascii_digit() || *b == b'.';
    let mut found = Vec::new();
    let mut at = 0;
    while at < content.len() {
        let rest = content.get(at..).unwrap_or_default();
        let length = rest.iter().take_while(|b| part(b)).count();
        if (3..=MOST_DIGITS + 1).contains(&length) {
            found.push(at..at + length);
        }
        at += length.max(1);
    }
    found
}

/// Text says as many decimals as it says; the value must be these, rounded.
fn text_fits(content: &[u8], axis: Axis, site: &Site, value: f64) -> bool {
    let Some(bytes) = content.get(site.span.start / 2..site.span.end / 2) else { return false };
    let decimals = bytes.iter().rev().take_while(|b| **b != b'.').count();
    let decimals = if bytes.contains(&b'.') { decimals as i32 } else { 0 };
    let unit = match site.coding {
        Coding::Text { minutes: true } => 10_f64.powi(-decimals) / 60.0,
        _ => 10_f64.powi(-decimals),
    };
    decimals >= 3 && read(content, axis, site).is_some_and(|read| (read - value).abs() <= unit * 0.6 + 1e-7)
}

/// The absolute value that stands there.
fn read(content: &[u8], axis: Axis, site: &Site) -> Option<f64> {
    let bytes = || content.get(site.span.start / 2..site.span.end / 2);
    match site.coding {
        Coding::Binary { units, little } => {
            let raw = <[u8; 4]>::try_from(bytes()?).ok()?;
            let raw = if little { i32::from_le_bytes(raw) } else { i32::from_be_bytes(raw) };
            Some(f64::from(raw).abs() / units)
        }
        Coding::Millionths => {
            let [degrees, a, b, c] = *bytes()? else { return None };
            let millionths = u32::from_be_bytes([0, a, b, c]);
            (millionths < 1_000_000).then(|| f64::from(degrees) + f64::from(millionths) / 1e6)
        }
        Coding::Packed { fraction } => {
            let digits = packed(content, &site.span)?;
            (digits.len() == axis.width() + 2 + fraction).then_some(())?;
            minutes(&digits, axis.width(), fraction)
        }
        Coding::Text { minutes: true } => {
            let text = std::str::from_utf8(bytes()?).ok()?;
            let (whole, fraction) = text.split_once('.')?;
            // some write no zeros in front
            let degrees: u32 = whole.get(..whole.len().checked_sub(2)?)?.parse().ok()?;
            let minutes: f64 = format!("{}.{fraction}", whole.get(whole.len() - 2..)?).parse().ok()?;
            (minutes < 60.0).then(|| f64::from(degrees) + minutes / 60.0)
        }
        Coding::Text { minutes: false } => std::str::from_utf8(bytes()?).ok()?.parse().ok(),
    }
}

fn packed(content: &[u8], span: &Range<usize>) -> Option<Vec<u8>> {
    span.clone().map(|at| half(content, at).filter(|digit| *digit < 10)).collect()
}

fn half(content: &[u8], at: usize) -> Option<u8> {
    content.get(at / 2).map(|b| if at.is_multiple_of(2) { b >> 4 } else { b & 15 })
}

fn minutes(digits: &[u8], width: usize, fraction: usize) -> Option<f64> {
    let number = digits.iter().fold(0_u64, |n, digit| n * 10 + u64::from(*digit));
    let scale = 10_u64.pow(u32::try_from(fraction).ok()?);
    let (degrees, rest) = (number / (100 * scale), number % (100 * scale));
    let minutes = rest as f64 / scale as f64;
    (digits.len() == width + 2 + fraction && minutes < 60.0).then(|| degrees as f64 + minutes / 60.0)
}

/// Write it with other degrees.
fn put(content: &mut [u8], axis: Axis, site: &Site, shift: &Shift) {
    let Some(value) = read(content, axis, site) else { return };
    let degrees = value as u32;
    let moved = axis.moved(degrees, shift);
    let bytes = site.span.start / 2..site.span.end / 2;
    match site.coding {
        Coding::Binary { units, little } => {
            let Some(slot) = content.get_mut(bytes) else { return };
            let Ok(old) = <[u8; 4]>::try_from(&*slot) else { return };
            let raw = i64::from(if little { i32::from_le_bytes(old) } else { i32::from_be_bytes(old) });
            let by = (f64::from(moved) - f64::from(degrees)) * units;
            let raw = i32::try_from(raw + by as i64 * raw.signum()).unwrap_or_default();
            slot.copy_from_slice(&if little { raw.to_le_bytes() } else { raw.to_be_bytes() });
        }
        Coding::Millionths => {
            if let Some(slot) = content.get_mut(bytes.start) {
                *slot = u8::try_from(moved).unwrap_or(*slot);
            }
        }
        Coding::Packed { .. } => {
            let digits = format!("{moved:0width$}", width = axis.width());
            for (at, digit) in site.span.clone().zip(digits.bytes()) {
                if let Some(slot) = content.get_mut(at / 2) {
                    let digit = bcd::byte(digit - b'0').unwrap_or_default();
                    *slot = if at.is_multiple_of(2) { *slot & 0x0F | digit << 4 } else { *slot & 0xF0 | digit };
                }
            }
        }
        Coding::Text { minutes } => {
            let Some(slot) = content.get_mut(bytes) else { return };
            let point = slot.iter().position(|b| *b == b'.').unwrap_or(slot.len());
            let width = if minutes { point.saturating_sub(2) } else { point };
            let digits = format!("{moved:0width$}");
            slot.iter_mut().zip(digits.bytes()).take(width).for_each(|(slot, digit)| *slot = digit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{hex, unhex};

    const BY: Shift = Shift { latitude: 3, longitude: 11 };

    fn moved(content: &[u8], place: (f64, f64)) -> Vec<u8> {
        let mut content = content.to_vec();
        shift(&mut content, &[place], &BY, &mut Seen::default());
        content
    }

    #[test]
    fn every_form_is_found_and_moved() {
        // millionths of a degree, 1/1800000 degree, little-endian, negative
        assert_eq!(
            hex(&moved(&unhex("000260e30006f03ad800").unwrap(), (39.904, 116.407))),
            "0002 8ea9c0 0798 13 98 00".replace(' ', "")
        );
        let gt06 = [(22.5431_f64 * 1.8e6) as u32, (114.0579_f64 * 1.8e6) as u32].map(u32::to_be_bytes).concat();
        let wanted = [(25.5431_f64 * 1.8e6) as u32, (125.0579_f64 * 1.8e6) as u32].map(u32::to_be_bytes).concat();
        assert_eq!(moved(&gt06, (22.5431, 114.0579)), wanted);
        let little = |latitude: i32, longitude: i32| [latitude.to_le_bytes(), longitude.to_le_bytes()].concat();
        assert_eq!(moved(&little(-22_543_100, 114_057_900), (-22.5431, 114.0579)), little(-25_543_100, 125_057_900));
        // packed digits, also from the middle of a byte
        assert_eq!(hex(&moved(&unhex("2234847613917049").unwrap(), (22.580_793_3, 139.284_15))), "2534847615017049");
        assert_eq!(hex(&moved(&unhex("0223484760").unwrap(), (22.580_793_3, 0.0))), "0253484760");
        assert_eq!(hex(&moved(&unhex("1608c8d1710ded1d").unwrap(), (22.575_697, 113.912_669))), "1908c8d17c0ded1d");
        let text = |text: &str, place| String::from_utf8(moved(text.as_bytes(), place)).unwrap();
        assert_eq!(text("A,2234.8476,N,11355.0490,E", (22.580_793_3, 113.917_483_3)), "A,2534.8476,N,12455.0490,E");
        assert_eq!(text("Lat:N23.111682,Lon:E114.409217", (23.111_682, 114.409_217)), "Lat:N26.111682,Lon:E125.409217");
    }

    #[test]
    fn what_is_no_place_stays() {
        for content in ["A,0000.0000,N,00000.0000,E", "speed 22.5", "13800001111"] {
            assert_eq!(moved(content.as_bytes(), (0.0, 0.0)), content.as_bytes());
            assert_eq!(moved(content.as_bytes(), (22.580_793_3, 113.917_483_3)), content.as_bytes());
        }
    }

    #[test]
    fn digits_stay_as_many() {
        for (axis, all) in [(Axis::Latitude, 0..=90_u32), (Axis::Longitude, 0..=180)] {
            for degrees in all {
                let moved = axis.moved(degrees, &BY);
                assert_eq!(moved.to_string().len(), degrees.to_string().len(), "{degrees}");
                assert!(f64::from(moved) <= axis.limit());
            }
        }
    }

    #[test]
    fn a_field_alone_is_moved_once_its_form_is_known() {
        let mut seen = Seen::default();
        let mut content = unhex("0260e30006f03ad8").unwrap();
        assert!(!shift_field(&mut content, 0..4, Axis::Latitude, &BY, &seen));
        shift(&mut content.clone(), &[(39.904, 116.407)], &BY, &mut seen);
        assert!(shift_field(&mut content, 0..4, Axis::Latitude, &BY, &seen));
        assert_eq!(hex(&content), "028ea9c006f03ad8");
        assert!(shift_field(&mut [0; 4], 0..4, Axis::Latitude, &BY, &Seen::default()), "zeros say nothing");
    }
}
