//! Cells and access points: what units say that have no satellites in view.

use crate::cursor::Cursor;
use crate::event::{Cell, Mac, Value, Wifi};
use crate::fault::{Fault, FaultKind};
use crate::tk103::fields::{decimal, whole};
use crate::tk103::position::{Context, Facts, comma, field, marks, number, six, state, text_of};

/// `mcc,mnc,lac,cid,n,(mac*rssi*channel,)*n,DDMMYY,hhmmss`; all numbers decimal.
pub(super) fn cells_and_wifi(c: &mut Cursor<'_, '_>, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    let (mcc, mnc) = network(c)?;
    let (lac, cid) = (number(c, "lac", 10)?, number(c, "cid", 10)?);
    facts.report.cells.push(cell(c, mcc, mnc, (lac, cid, None))?);
    let count = number(c, "access_points", 10)?;
    let mut channels = Vec::new();
    for _ in 0..count {
        let fault = c.fault_here(FaultKind::Value, "an access point is not mac*rssi*channel");
        let (wifi, channel) = access_point(field(c, "access_point")).ok_or(fault)?;
        facts.report.wifi.push(wifi);
        channels.push(Value::from(channel));
    }
    if !channels.is_empty() {
        facts.report.attributes.set("wifi_channels", channels);
    }
    let [day, month, year] = six(c, "date")?;
    comma(c);
    let time = six(c, "time")?;
    facts.time([year, month, day], time, context);
    Ok(())
}

fn access_point(text: &[u8]) -> Option<(Wifi, u64)> {
    let mut parts = text.split(|b| *b == b'*');
    let (mac, rssi, channel) = (parts.next()?, parts.next()?, parts.next()?);
    let mut bytes = [0; 6];
    let mut pairs = mac.split(|b| *b == b':');
    for byte in &mut bytes {
        *byte = u8::try_from(whole(pairs.next()?, 16)?).ok()?;
    }
    if pairs.next().is_some() || parts.next().is_some() {
        return None;
    }
    let rssi = decimal(rssi).filter(|r| r.fract() == 0.0 && r.abs() < 1000.0)?;
    Some((Wifi { mac: Mac(bytes), rssi: Some(rssi as i32) }, whole(channel, 10)?))
}

/// `,mcc,mnc,lac,cid[,rssi](,lac,cid,rssi)*` with area and cell in hex, or the list in braces.
pub(super) fn cells(c: &mut Cursor<'_, '_>, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    comma(c);
    if c.rest().first() == Some(&b'{') {
        return list(c, context, facts);
    }
    let (mcc, mnc) = network(c)?;
    while c.remaining() > 0 {
        let (lac, cid) = (number(c, "lac", 16)?, number(c, "cid", 16)?);
        let rssi = if c.remaining() > 0 { Some(number(c, "rssi", 10)?) } else { None };
        facts.report.cells.push(cell(c, mcc, mnc, (lac, cid, rssi))?);
    }
    Ok(())
}

/// `{mcc,mnc,lac,cid}`, decimal, each on a line of its own, then the state of inputs and outputs.
pub(super) fn list(c: &mut Cursor<'_, '_>, context: &Context, facts: &mut Facts) -> Result<(), Fault> {
    while let Some(b'{') = c.rest().first() {
        let end = c.rest().iter().position(|b| *b == b'}');
        let Some(end) = end else {
            return Err(c.fault_here(FaultKind::Value, "a brace that is not closed"));
        };
        marks(c, "brace", 1);
        {
            let mut inner = c.sub("cell", end - 1)?;
            let c = &mut inner;
            let (mcc, mnc) = network(c)?;
            let (lac, cid) = (number(c, "lac", 10)?, number(c, "cid", 10)?);
            facts.report.cells.push(cell(c, mcc, mnc, (lac, cid, None))?);
        }
        marks(c, "brace", 1);
        let fill = c.rest().iter().take_while(|b| matches!(b, b'\r' | b'\n' | b' ')).count();
        marks(c, "fill", fill);
    }
    comma(c);
    let length = c.remaining();
    if length == 8 && c.rest().iter().all(u8::is_ascii_hexdigit) {
        state(c, facts)?;
    } else if length > 0 {
        let extra = text_of(c, "extra", length, context.charset)?;
        facts.report.attributes.set("extra", extra);
    }
    Ok(())
}

fn network(c: &mut Cursor<'_, '_>) -> Result<(u16, u16), Fault> {
    let fault = c.fault_here(FaultKind::Value, "a network code is too large");
    let (mcc, mnc) = (number(c, "mcc", 10)?, number(c, "mnc", 10)?);
    u16::try_from(mcc).ok().zip(u16::try_from(mnc).ok()).ok_or(fault)
}

fn cell(c: &Cursor<'_, '_>, mcc: u16, mnc: u16, (lac, cid, rssi): (u64, u64, Option<u64>)) -> Result<Cell, Fault> {
    let fault = || c.fault_here(FaultKind::Value, "an area code or a signal is too large");
    let lac = u32::try_from(lac).map_err(|_| fault())?;
    let rssi = rssi.map(i32::try_from).transpose().map_err(|_| fault())?;
    Ok(Cell { mcc, mnc, lac, cid, rssi })
}

/// Whether a body in the style with commas begins as cells do: with a country code.
pub(super) fn begins(body: &[u8]) -> bool {
    let digits = body.iter().take_while(|b| b.is_ascii_digit()).count();
    (1..=3).contains(&digits) && body.get(digits) == Some(&b',')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Charset;

    const CONTEXT: Context = Context { offset_s: 0, kmh: 1.0, charset: Charset::Gbk };

    type Read = fn(&mut Cursor<'_, '_>, &Context, &mut Facts) -> Result<(), Fault>;

    fn with(read: Read, text: &str) -> Result<Facts, Fault> {
        let mut facts = Facts::default();
        read(&mut Cursor::new(text.as_bytes(), 0, None), &CONTEXT, &mut facts).map(|()| facts)
    }

    fn wide(text: &str) -> Result<Facts, Fault> {
        with(cells_and_wifi, text)
    }

    #[test]
    fn a_cell_with_access_points() {
        let facts = wide("460,1,28101,3101,2,02:00:00:00:00:01*-59*11,02:00:00:00:00:02*-68*1,010326,163722").unwrap();
        let r = facts.report;
        assert_eq!(r.cells, [Cell { mcc: 460, mnc: 1, lac: 28101, cid: 3101, rssi: None }]);
        assert_eq!(r.wifi[1], Wifi { mac: Mac([2, 0, 0, 0, 0, 2]), rssi: Some(-68) });
        assert_eq!(r.time.unwrap().to_string(), "2026-03-01T16:37:22.000Z");
        assert_eq!(r.attributes.get("wifi_channels"), Some(&Value::List(vec![Value::Int(11), Value::Int(1)])));
    }

    #[test]
    fn refuses_what_is_no_access_point() {
        for bad in [
            "02:00:00:00:00*-59*11",
            "02:00:00:00:00:01:07*-59*11",
            "02:00:00:00:00:01*-59",
            "02:00:00:00:00:0g*-59*1",
            "02:00:00:00:00:001*-5.5*1",
        ] {
            assert!(wide(&format!("460,1,28101,3101,1,{bad},010326,163722")).is_err(), "{bad}");
        }
        assert!(wide("460,1,28101,3101,99999999999,010326,163722").is_err());
    }

    #[test]
    fn cells_in_hex_and_in_braces() {
        let r = with(cells, ",460,001,2a10,5b01,43,2a10,5b02,36").unwrap().report;
        let ours = |lac, cid, rssi| Cell { mcc: 460, mnc: 1, lac, cid, rssi };
        assert_eq!(r.cells, [ours(0x2A10, 0x5B01, Some(43)), ours(0x2A10, 0x5B02, Some(36))]);
        let r = with(cells, ",460,001,2a10,5b01").unwrap().report;
        assert_eq!(r.cells, [ours(0x2A10, 0x5B01, None)]);
        let r = with(list, "{460,1,28101,3101}\n{460,1,28101,3102}\n,01000000").unwrap().report;
        assert_eq!(r.cells, [ours(28101, 3101, None), ours(28101, 3102, None)]);
        assert_eq!(r.ignition, Some(true));
    }

    #[test]
    fn refuses_cells_that_cannot_be() {
        for bad in [",460,001,2a10", ",460,001,2a10,x", ",99999,010,2a10,5b01", ",460,001,fffffffff,1"] {
            assert!(with(cells, bad).is_err(), "{bad}");
        }
        assert!(with(list, "{460,1,28101").is_err());
        assert!(with(list, "{}").is_err());
    }
}
