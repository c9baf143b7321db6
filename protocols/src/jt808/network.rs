//! Items that list cell towers and WiFi access points.

use nom::number::complete::{be_i8, be_u8, be_u16, be_u24, be_u32};

use super::context::Context;
use crate::cursor::Cursor;
use crate::event::{Cell, Mac, Report, Wifi};
use crate::fault::Fault;

type Read = Result<(), Fault>;
type Bytes<'a, 't> = Cursor<'a, 't>;

/// A list of cells into the report; towers that do not answer are sent as zeros.
fn push(report: &mut Report, mcc: u16, mnc: u16, lac: u32, cid: u64, rssi: u8) {
    if lac != 0 || cid != 0 {
        report.cells.push(Cell { mcc, mnc, lac, cid, rssi: Some(rssi.into()) });
    }
}

/// 0xE1 in groups of eight behind MCC and MNC: area of three bytes, identity of four, level.
pub(super) fn cells_wide(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u16)?);
    while c.remaining() >= 8 {
        let (lac, cid, rssi) = (c.read("lac", be_u24)?, c.read("cid", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc, lac, cid.into(), rssi);
    }
    Ok(())
}

/// 0xE1 of GPS51: the area has two bytes.
pub(super) fn cells_narrow(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u16)?);
    while c.remaining() >= 7 {
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc, lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// Lowest mobile country code in use.
const FIRST_MCC: u16 = 201;

fn country(value: &[u8]) -> bool {
    value.first_chunk::<2>().is_some_and(|mcc| u16::from_be_bytes(*mcc) >= FIRST_MCC)
}

/// Whether 0xEB is a list of cells: a country, a network of one byte, groups of five.
pub(super) fn is_cell_list(value: &[u8]) -> bool {
    country(value) && value.len() >= 8 && (value.len() - 3).is_multiple_of(5)
}

/// 0xEB as a list of cells.
pub(super) fn cell_list(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
    while c.remaining() >= 5 {
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u16)?, c.read("level", be_u8)?);
        push(report, mcc, mnc.into(), lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// 0xF0: each with country and network, identity before area.
pub(super) fn cells_mobile(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    while c.remaining() >= 13 {
        let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u16)?);
        let (cid, lac, rssi) = (c.read("cid", be_u32)?, c.read("lac", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc, lac, cid.into(), rssi);
    }
    Ok(())
}

fn is_counted(value: &[u8], group: usize) -> bool {
    matches!(value, [n, rest @ ..] if *n > 0 && rest.len() == group * usize::from(*n))
}

/// Whether 0x5D is a count and so many cells of ten bytes.
pub(super) fn is_counted_cells(value: &[u8]) -> bool {
    is_counted(value, 10)
}

/// 0x5D.
pub(super) fn counted_cells(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("count", be_u8)?;
    while c.remaining() >= 10 {
        let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u32)?, c.read("level", be_u8)?);
        push(report, mcc, mnc.into(), lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// Whether 0x53 is a count and so many cells of eight bytes.
pub(super) fn is_counted_cells_2g(value: &[u8]) -> bool {
    is_counted(value, 8)
}

/// 0x53.
pub(super) fn counted_cells_2g(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    c.read("count", be_u8)?;
    while c.remaining() >= 8 {
        let (mcc, mnc) = (c.read("mcc", be_u16)?, c.read("mnc", be_u8)?);
        let (lac, cid, rssi) = (c.read("lac", be_u16)?, c.read("cid", be_u16)?, c.read("level", be_u8)?);
        push(report, mcc, mnc.into(), lac.into(), cid.into(), rssi);
    }
    Ok(())
}

/// 0xEC, 0xF4: access points of seven bytes.
pub(super) fn wifi(c: &mut Bytes<'_, '_>, report: &mut Report, _: &Context<'_>) -> Read {
    while c.remaining() >= 7 {
        let mac = c.bytes("mac", 6)?;
        let rssi = c.read("level", be_i8)?;
        if let Some(mac) = mac.first_chunk::<6>() {
            report.wifi.push(Wifi { mac: Mac(*mac), rssi: Some(rssi.into()) });
        }
    }
    Ok(())
}

/// Whether 0x54 is a count and so many access points.
pub(super) fn is_counted_wifi(value: &[u8]) -> bool {
    is_counted(value, 7)
}

/// 0x54.
pub(super) fn counted_wifi(c: &mut Bytes<'_, '_>, report: &mut Report, context: &Context<'_>) -> Read {
    c.read("count", be_u8)?;
    wifi(c, report, context)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::jt808::header::Edition;
    use crate::profile::Profile;

    fn read(reader: fn(&mut Bytes<'_, '_>, &mut Report, &Context<'_>) -> Read, value: &[u8]) -> Report {
        let (profile, mut report) = (Profile::default(), Report::default());
        reader(&mut Cursor::new(value, 0, None), &mut report, &Context::new(Edition::V2013, &profile)).unwrap();
        report
    }

    #[test]
    fn one_tower_in_six_forms() {
        let tower = |lac, rssi| Cell { mcc: 460, mnc: 0, lac, cid: 0x1A2B, rssi: Some(rssi) };
        assert_eq!(read(cells_wide, b"\x01\xcc\0\0\0\x13\xb2\0\0\x1a\x2b\x19").cells, [tower(0x13B2, 25)]);
        assert_eq!(read(cells_narrow, b"\x01\xcc\0\0\x13\xb2\0\0\x1a\x2b\x19").cells, [tower(0x13B2, 25)]);
        assert_eq!(read(cell_list, b"\x01\xcc\0\x13\xb2\x1a\x2b\x19").cells, [tower(0x13B2, 25)]);
        assert_eq!(read(cells_mobile, b"\x01\xcc\0\0\0\0\x1a\x2b\0\0\x13\xb2\x19").cells, [tower(0x13B2, 25)]);
        assert_eq!(read(counted_cells, b"\x01\x01\xcc\0\x13\xb2\0\0\x1a\x2b\x19").cells, [tower(0x13B2, 25)]);
        assert_eq!(read(counted_cells_2g, b"\x01\x01\xcc\0\x13\xb2\x1a\x2b\x19").cells, [tower(0x13B2, 25)]);
    }

    #[test]
    fn refuses_towers_that_are_only_zeros() {
        assert!(read(cell_list, b"\x01\xcc\0\0\0\0\0\x19").cells.is_empty());
    }

    #[test]
    fn a_list_needs_a_country_and_a_count_that_fits() {
        assert!(is_cell_list(b"\x01\xcc\0\x13\xb2\x1a\x2b\x19") && !is_cell_list(b"\0\x03\0\xe1\x51\0\0\0"));
        assert!(is_counted_wifi(b"\x01\x02\x11\x22\x33\x44\x55\xc4") && !is_counted_wifi(b"\x02\x02\x11\x22\x33\x44\x55\xc4"));
        assert_eq!(read(counted_wifi, b"\x01\x02\x11\x22\x33\x44\x55\xc4").wifi[0].rssi, Some(-60));
    }
}
