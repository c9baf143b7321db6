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
            Tower::Wide | Tower::Nine | Tower::WideMnc => (2, 4),
            Tower::LongMnc => (2, 8),
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
        let from = self.c.remaining();
        let (mcc, mnc) = self.operator(tower.wide_network())?;
        let two_bytes = from - self.c.remaining() == 4;
        let (lac, cid) = self.area_and_cell(if tower == Tower::Nine && two_bytes { Tower::Short } else { tower })?;
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
        let (mcc, mnc) = self.operator(tower.wide_network())?;
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use crate::gt06::blocks::Part;
    use crate::gt06::read::tests::facts;

    fn cells(part: Part, hex: &str) -> Vec<(u16, u16, u32, u64)> {
        let cells = facts(&[part], &[], hex).unwrap().report.cells;
        cells.iter().map(|c| (c.mcc, c.mnc, c.lac, c.cid)).collect()
    }

    #[test]
    fn the_country_code_tells_the_width_of_the_network_code() {
        assert_eq!(cells(Part::Tower(Tower::Short), "01cc00287d001f71"), [(460, 0, 10365, 8049)]);
        assert_eq!(cells(Part::Tower(Tower::Short), "813601 04cb8a00bef3"), [(310, 260, 52106, 48883)]);
        assert_eq!(cells(Part::Tower(Tower::Nine), "813601 04cb8a00bef3"), [(310, 260, 52106, 48883)]);
        assert_eq!(cells(Part::Tower(Tower::Nine), "01cc0025030328e7a0"), [(460, 0, 9475, 53_012_384)]);
        assert_eq!(cells(Part::Tower(Tower::LongMnc), "01cc000a287d000000000618c102"), [(460, 10, 10365, 102_285_570)]);
        let long = "81cc0001000025fc000000000618c102";
        assert_eq!(cells(Part::Tower(Tower::Long), long), [(460, 1, 9724, 102_285_570)]);
    }

    #[test]
    fn a_length_of_zero_may_be_followed_by_zeros() {
        assert_eq!(cells(Part::CountedTower(Tower::Short), "00"), []);
        let rest = |hex: &str| facts(&[Part::CountedTower(Tower::Short)], &[Part::Level], hex).unwrap().report.battery_percent;
        assert_eq!(rest("0006"), Some(100.0));
        assert_eq!(rest(&format!("00{}06", "00".repeat(ZERO_FILL))), Some(100.0));
    }

    #[test]
    fn fill_and_repeats_are_no_cells() {
        let seven = format!("01cc00{}{}{}", "287d001f713e".repeat(2), "0000000000ff", "000000000000".repeat(4));
        assert_eq!(cells(Part::Towers(Tower::Short, Count::Fixed(7)), &seven).len(), 1);
    }

    #[test]
    fn refuses_lists_that_reach_beyond_the_end() {
        let short = facts(&[Part::Towers(Tower::Short, Count::Said)], &[], "01cc0002287d001f713e");
        assert_eq!(short.unwrap_err().kind, FaultKind::Truncated);
        assert_eq!(facts(&[Part::Counted(Entry::Wifi)], &[], "02aabbccddee0138").unwrap_err().kind, FaultKind::Truncated);
    }

    #[test]
    fn a_list_that_may_follow_and_does_not_fit_is_kept_as_bytes() {
        let f = facts(&[Part::Level], &[Part::Counted(Entry::Wifi)], "0602aabbccddee0138").unwrap();
        assert_eq!(f.report.wifi, []);
        assert_eq!(f.report.attributes.get("rest"), Some(&"02aabbccddee0138".into()));
    }

    #[test]
    fn access_points_in_both_orders() {
        let wifi = |entry, hex| facts(&[Part::Counted(entry)], &[], hex).unwrap().report.wifi;
        let expected = [Wifi { mac: Mac([0xAA, 0xBB, 0xCC, 0xDD, 0xEE, 1]), rssi: Some(0x38) }];
        assert_eq!(wifi(Entry::Wifi, "01aabbccddee0138"), expected);
        assert_eq!(wifi(Entry::SignalFirst, "010038aabbccddee01"), expected);
    }
}
