//! Sentences that tell cells instead of a place, and the tails of those that tell a place.

use crate::event::{Cell, Report};
use crate::fault::{Fault, FaultKind};
use crate::h02::fields::{Fields, number, whole};

/// Most cells of one sentence; a receiver hears seven at once.
const MAX_CELLS: usize = 32;

/// Whether this is a country: all assigned codes lie within.
pub(super) const fn is_mcc(mcc: u16) -> bool {
    matches!(mcc, 200..=750)
}

/// `mcc,mnc,timing advance,n,(lac,cid,rx)*n`.
///
/// # Errors
/// What is no number.
pub(super) fn nbr(f: &mut Fields<'_, '_, '_>, report: &mut Report) -> Result<(), Fault> {
    let (mcc, mnc) = (f.whole("mcc", 10)?, f.whole("mnc", 10)?);
    if let Some(advance) = f.number("timing_advance")? {
        report.attributes.set("timing_advance", advance as i64);
    }
    let count = cell_count(f)?;
    for _ in 0..count {
        let (lac, cid) = (f.whole("lac", 10)?, f.whole("cid", 10)?);
        let rssi = f.number("rx")?.map(|rx| rx as i32);
        push(Cell { mcc, mnc, lac, cid, rssi }, report);
    }
    Ok(())
}

/// `MCCMNC,n,(lac,cid,rx,timing advance or rx)*n`: the last of the four may be empty.
///
/// # Errors
/// What is no number.
pub(super) fn v3(f: &mut Fields<'_, '_, '_>, report: &mut Report) -> Result<(), Fault> {
    let at = f.c.offset();
    let network = f.need("mcc_mnc")?;
    let (mcc, mnc) = network.split_at_checked(3).unwrap_or((network, &[]));
    let (Some(mcc), Some(mnc)) = (whole(mcc, 10), whole(mnc, 10)) else {
        return Err(crate::h02::fields::no_such(at, "mcc_mnc", network));
    };
    let count = cell_count(f)?;
    for _ in 0..count {
        let (lac, cid) = (f.whole("lac", 10)?, f.whole("cid", 10)?);
        let rssi = f.number("rx")?.map(|rx| rx as i32);
        if let Some(second) = f.number("second_rx")? {
            report.attributes.set("cell_second_rx", second as i64);
        }
        push(Cell { mcc, mnc, lac, cid, rssi }, report);
    }
    Ok(())
}

/// `mcc,mnc,lac,cid,rx` and more cells behind `Y` without the first two.
///
/// # Errors
/// What is no number.
pub(super) fn vp1(f: &mut Fields<'_, '_, '_>, report: &mut Report) -> Result<(), Fault> {
    let (mcc, mnc) = (f.whole("mcc", 10)?, f.whole("mnc", 10)?);
    let cells = f.c.take_rest("cells");
    f.c.show(|| String::from_utf8_lossy(cells).into_owned());
    for cell in cells.split(|b| *b == b'Y').take(MAX_CELLS) {
        let mut parts = cell.split(|b| *b == b',').map(<[u8]>::trim_ascii);
        let mut part = || parts.next().unwrap_or_default();
        let (lac, cid, rx) = (part(), part(), part());
        if let (Some(lac), Some(cid)) = (whole(lac, 10), whole(cid, 10)) {
            push(Cell { mcc, mnc, lac, cid, rssi: number(rx).map(|rx| rx as i32) }, report);
        }
    }
    Ok(())
}

/// `mcc,mnc,(lac,cid,rx)*3` in hex up to the empty or dated field.
///
/// # Errors
/// What is no number.
pub(super) fn bs(f: &mut Fields<'_, '_, '_>, report: &mut Report) -> Result<(), Fault> {
    let (mcc, mnc) = (f.whole("mcc", 16)?, f.whole("mnc", 16)?);
    // a date has six digits, a location area four at most
    while f.peek().is_some_and(|next| !next.is_empty() && next.len() <= 4) && report.cells.len() < MAX_CELLS {
        let (lac, cid) = (f.whole("lac", 16)?, f.whole("cid", 16)?);
        let rssi = f.number("rx")?.map(|rx| rx as i32);
        push(Cell { mcc, mnc, lac, cid, rssi }, report);
    }
    Ok(())
}

/// What stands behind the status word of a place. All of it is kept as sent; what can be told for certain is told besides.
pub(super) fn tail(f: &mut Fields<'_, '_, '_>, report: &mut Report) {
    let rest = f.c.rest();
    if rest.is_empty() {
        return;
    }
    let mut fields = [&[][..]; 7];
    let mut count = 0;
    for (slot, field) in fields.iter_mut().zip(f.ahead()) {
        *slot = field;
        count += 1;
    }
    f.c.take_rest("tail");
    f.c.show(|| String::from_utf8_lossy(rest).into_owned());
    let used = fields.get(..count).unwrap_or_default();
    sensors(used, report);
    if let Some(cell) = cell(used) {
        push(cell, report);
        // the level from 1 to 6 of units that write all of it in decimal
        if let [_, _, _, _, [level @ b'1'..=b'6']] = used {
            report.attributes.set("battery_level", level - b'0');
        }
    } else if let [mcc, _, _, _, [level @ b'1'..=b'6']] = used
        && whole(mcc, 10).is_some_and(is_mcc)
    {
        report.attributes.set("battery_level", level - b'0');
    }
    if let Some(card) = used.iter().find(|field| is_card(field)) {
        report.attributes.set("iccid", String::from_utf8_lossy(card).into_owned());
    }
    report.attributes.set("tail", String::from_utf8_lossy(rest).into_owned());
}

/// The number of a SIM card: 89, then 17 to 18 digits of it; some modules write `F` or `?` for a digit that is missing.
fn is_card(field: &[u8]) -> bool {
    matches!(field.len(), 18..=20) && field.starts_with(b"89") && field.iter().take(18).all(u8::is_ascii_hexdigit)
}

/// `odometer,temperature,fuel,altitude,lac,cid`; the fuel has a point and so shows that it is this.
fn sensors(fields: &[&[u8]], report: &mut Report) {
    let &[odometer, temperature, fuel, altitude, lac, cid] = fields else {
        return;
    };
    let numbers =
        number(odometer).zip(number(temperature)).zip(number(fuel).filter(|_| fuel.contains(&b'.'))).zip(number(altitude));
    let Some((((odometer, temperature), fuel), altitude)) = numbers else {
        return;
    };
    report.odometer_m = Some(odometer);
    report.altitude_m = Some(altitude);
    report.attributes.set("temperature_c", temperature);
    report.attributes.set("fuel_percent", fuel);
    if let (Some(lac), Some(cid)) = (whole::<u32>(lac, 16), whole::<u32>(cid, 16)) {
        report.attributes.set("lac", lac);
        report.attributes.set("cid", cid);
    }
}

/// `mcc,mnc,lac,cid`, in decimal or in hex; told only where one of the two readings is a country and the other is none.
fn cell(fields: &[&[u8]]) -> Option<Cell> {
    let (&[mcc, mnc, lac, cid], _) = fields.split_first_chunk::<4>()?;
    let read = |base| {
        let cell =
            Cell { mcc: whole(mcc, base)?, mnc: whole(mnc, base)?, lac: whole(lac, base)?, cid: whole(cid, base)?, rssi: None };
        Some(cell)
    };
    // the country alone decides the base, so that a decimal country before a cell in hex is no cell
    let is_country = |base| whole(mcc, base).is_some_and(is_mcc);
    match (is_country(10), is_country(16)) {
        (true, false) => read(10),
        (false, true) => read(16),
        _ => None,
    }
}

fn push(cell: Cell, report: &mut Report) {
    if (cell.lac, cell.cid) != (0, 0) {
        report.cells.push(cell);
    }
}

fn cell_count(f: &mut Fields<'_, '_, '_>) -> Result<usize, Fault> {
    let at = f.c.offset();
    let count = f.whole("cells", 10)?;
    if count > MAX_CELLS {
        return Err(Fault::new(FaultKind::Value, at, format!("{count} cells; at most {MAX_CELLS} are heard")));
    }
    Ok(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::Cursor;
    use crate::event::Value;

    type Reading = fn(&mut Fields<'_, '_, '_>, &mut Report) -> Result<(), Fault>;

    fn read(text: &str, reading: Reading) -> Result<(Report, String), Fault> {
        let mut c = Cursor::new(text.as_bytes(), 0, None);
        let mut report = Report::default();
        reading(&mut Fields { c: &mut c }, &mut report)?;
        let rest = String::from_utf8_lossy(c.rest()).into_owned();
        Ok((report, rest))
    }

    fn behind(text: &str) -> Report {
        read(text, |f, r| {
            tail(f, r);
            Ok(())
        })
        .unwrap()
        .0
    }

    const fn cell_of(mcc: u16, mnc: u16, lac: u32, cid: u64, rssi: Option<i32>) -> Cell {
        Cell { mcc, mnc, lac, cid, rssi }
    }

    #[test]
    fn neighbours() {
        let (report, rest) = read("460,0,1,2,9338,3692,150,9338,3691,-67,010326,FFFFFBFF", nbr).unwrap();
        assert_eq!(report.cells, [cell_of(460, 0, 9338, 3692, Some(150)), cell_of(460, 0, 9338, 3691, Some(-67))]);
        assert_eq!(rest, "010326,FFFFFBFF");
        let (report, rest) = read("74001,02,010278,045142,128,-92,010278,026311,125,,02DE,0", v3).unwrap();
        assert_eq!(report.cells, [cell_of(740, 1, 10278, 45142, Some(128)), cell_of(740, 1, 10278, 26311, Some(125))]);
        assert_eq!(rest, "02DE,0");
        let (report, _) = read("460,00,9338,3692,30Y9338,3691,20Y0,0,0", vp1).unwrap();
        assert_eq!(report.cells, [cell_of(460, 0, 9338, 3692, Some(30)), cell_of(460, 0, 9338, 3691, Some(20))]);
        let (report, rest) = read("1cc,0,1b63,1969,26,1b63,10b2,31,0,0,25,,ffffffff,60", bs).unwrap();
        assert_eq!(report.cells, [cell_of(460, 0, 0x1B63, 0x1969, Some(26)), cell_of(460, 0, 0x1B63, 0x10B2, Some(31))]);
        assert_eq!(rest, ",ffffffff,60");
    }

    #[test]
    fn refuses_cells_that_are_not() {
        assert_eq!(read("460,0,1,99,1,1,1", nbr).unwrap_err().kind, FaultKind::Value);
        assert_eq!(read("460,0,1,2,1,1,1", nbr).unwrap_err().kind, FaultKind::Truncated);
        assert_eq!(read("46,01,1", v3).unwrap_err().kind, FaultKind::Value);
        assert_eq!(read("x,0", bs).unwrap_err().kind, FaultKind::Value);
    }

    #[test]
    fn tails_are_kept_and_told_where_they_are_certain() {
        assert_eq!(behind("712,01,4660,17,6").cells, [cell_of(712, 1, 4660, 17, None)]);
        assert_eq!(behind("25c,a, 154,b04c").cells, [cell_of(604, 10, 0x154, 0xB04C, None)]);
        assert_eq!(behind("0002d4,00000b,005385,0052aa,25").cells, [cell_of(724, 11, 0x5385, 0x52AA, None)]);
        // a country in decimal before a cell in hex
        let mixed = behind("460,11,d18e105,7752,6");
        assert!(mixed.cells.is_empty());
        assert_eq!(mixed.attributes.get("battery_level"), Some(&Value::Int(6)));
        // France in decimal, Thailand in hex
        assert!(behind("208,01,1,2").cells.is_empty());
        assert_eq!(behind("712,01,0,0,6").attributes.get("tail"), Some(&Value::Text("712,01,0,0,6".into())));
        assert_eq!(behind(",,8944538530000543700F,").attributes.get("iccid"), Some(&Value::Text("8944538530000543700F".into())));
    }

    #[test]
    fn a_tail_of_sensors() {
        let report = behind("69129336,0,100.0,18,5141,5A20");
        assert_eq!((report.odometer_m, report.altitude_m), (Some(69_129_336.0), Some(18.0)));
        assert_eq!(report.attributes.get("fuel_percent"), Some(&Value::Float(100.0)));
        assert_eq!(report.attributes.get("cid"), Some(&Value::Int(0x5A20)));
        assert_eq!(behind("1,2,3,4,5,6").odometer_m, None);
    }
}
