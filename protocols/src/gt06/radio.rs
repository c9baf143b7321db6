//! Cells and access points.

use nom::number::complete::{be_u8, be_u16};

use crate::event::{Cell, Mac, Wifi};
use crate::fault::Fault;
use crate::gt06::blocks::{Count, Entry, Tower};
use crate::gt06::read::Reader;

/// Some models with a cell length of 0 still send the block, zeroed: so many bytes.
const ZERO_FILL: usize = 45;
/// Of which these few may hold something.
const ZERO_FILL_START: usize = 9;

/// A network generation byte from here on announces a long cell.
const LONG_CELL_TYPE: u8 = 3;

impl Reader<'_, '_, '_> {
    /// The country code, and the network code whose width its top bit tells.
    fn operator(&mut self, wide: bool) -> Result<(u16, u16), Fault> {
        let mcc = self.c.read("mcc", be_u16)?;
        let wide = wide || mcc & 0x8000 != 0;
        let mnc = self.uint("mnc", if wide { 2 } else { 1 })?;
        Ok((mcc & 0x7FFF, u16::try_from(mnc).unwrap_or_default()))
    }

    fn area_and_cell(&mut self, tower: Tower) -> Result<(u32, u64), Fault> {
        let (lac, cid) = match tower {
            Tower::Short | Tower::ShortMnc => (2, 3),
            Tower::Wide | Tower::WideMnc => (2, 4),
            Tower::Long => (4, 8),
        };
        let lac = self.uint("lac", lac)?;
        Ok((u32::try_from(lac).unwrap_or_default(), self.uint("cell_id", cid)?))
    }

    /// Unused entries are all zero, and some units repeat one cell to fill the list.
    fn add_cell(&mut self, cell: Cell) {
        let cells = &mut self.facts.report.cells;
        let known = cells.iter().any(|c| (c.lac, c.cid) == (cell.lac, cell.cid));
        if (cell.lac, cell.cid) != (0, 0) && !known {
            cells.push(cell);
        }
    }

    pub(super) fn tower(&mut self, tower: Tower) -> Result<(), Fault> {
        let (mcc, mnc) = self.operator(matches!(tower, Tower::ShortMnc | Tower::WideMnc))?;
        let (lac, cid) = self.area_and_cell(tower)?;
        self.add_cell(Cell { mcc, mnc, lac, cid, rssi: None });
        Ok(())
    }

    pub(super) fn typed_tower(&mut self) -> Result<(), Fault> {
        let kind = self.c.read("cell_type", be_u8)?;
        self.tower(if kind < LONG_CELL_TYPE { Tower::Short } else { Tower::Long })
    }

    /// The length is not relied on: some models count the byte itself, others do not.
    pub(super) fn counted_tower(&mut self, tower: Tower) -> Result<(), Fault> {
        let length = self.c.read("cell_length", be_u8)?;
        if length != 0 {
            return self.tower(tower);
        }
        let filled = |rest: &[u8]| rest.get(ZERO_FILL_START..ZERO_FILL).is_some_and(|zeros| zeros.iter().all(|b| *b == 0));
        if filled(self.c.rest()) {
            self.c.bytes("fill", ZERO_FILL)?;
        }
        Ok(())
    }

    pub(super) fn towers(&mut self, tower: Tower, count: Count) -> Result<(), Fault> {
        let (mcc, mnc) = self.operator(matches!(tower, Tower::ShortMnc | Tower::WideMnc))?;
        let n = match count {
            Count::Fixed(n) => n,
            Count::Said => self.c.read("cell_count", be_u8)?,
        };
        for _ in 0..n {
            let (lac, cid) = self.area_and_cell(tower)?;
            let rssi = self.c.read("cell_rssi", be_u8)?;
            self.add_cell(Cell { mcc, mnc, lac, cid, rssi: Some(i32::from(rssi)) });
        }
        Ok(())
    }

    pub(super) fn counted_cells(&mut self) -> Result<(), Fault> {
        let n = self.c.read("cells_length", be_u8)? / 6;
        let (mcc, mnc) = self.facts.report.cells.first().map_or((0, 0), |c| (c.mcc, c.mnc));
        for _ in 0..n {
            let (lac, cid) = self.area_and_cell(Tower::Short)?;
            let rssi = self.c.read("cell_rssi", be_u8)?;
            self.add_cell(Cell { mcc, mnc, lac, cid, rssi: Some(i32::from(rssi)) });
        }
        Ok(())
    }

    /// A count, the operator, then area u16, cell u16 (u32 where the bytes reach for it), signal u8.
    pub(super) fn topin_cells(&mut self) -> Result<(), Fault> {
        let n = self.c.read("cell_count", be_u8)?;
        if n == 0 {
            return Ok(());
        }
        let mcc = self.c.read("mcc", be_u16)?;
        let mnc = u16::from(self.c.read("mnc", be_u8)?);
        let width = if self.c.remaining() >= usize::from(n) * 7 { 4 } else { 2 };
        for _ in 0..n {
            let lac = u32::from(self.c.read("lac", be_u16)?);
            let cid = self.uint("cell_id", width)?;
            let rssi = self.c.read("cell_rssi", be_u8)?;
            self.add_cell(Cell { mcc, mnc, lac, cid, rssi: Some(i32::from(rssi)) });
        }
        Ok(())
    }

    pub(super) fn wifi(&mut self, entry: Entry, n: u8) -> Result<(), Fault> {
        for _ in 0..n {
            let (mac, rssi) = match entry {
                Entry::Wifi => {
                    let mac = self.six("wifi_mac")?;
                    (mac, i32::from(self.c.read("wifi_rssi", be_u8)?))
                }
                Entry::SignalFirst => {
                    let rssi = i32::from(self.c.read("wifi_rssi", be_u16)?);
                    (self.six("wifi_mac")?, rssi)
                }
            };
            if mac != [0; 6] {
                self.facts.report.wifi.push(Wifi { mac: Mac(mac), rssi: Some(rssi) });
            }
        }
        Ok(())
    }
}
