//! The building blocks that messages are made of. `read` reads them.

use crate::event::Alarm;

/// One block of a layout.
#[derive(Debug, Clone, Copy)]
pub(super) enum Part {
    /// Six binary numbers: year since 2000, month, day, hour, minute, second.
    Time,
    /// The same in packed decimal.
    BcdTime,
    /// Seconds since 1970.
    UnixTime,
    /// Satellites, place, speed, course and status: 12 bytes.
    Gps,
    /// A module's place: time u32, satellites, altitude i16, place, speed, course and status.
    ModuleFix,
    /// Topin's place in whole degrees and millionths: 19 bytes.
    TopinFix,
    /// The IMEI, 8 bytes.
    Imei,
    /// One cell.
    Tower(Tower),
    /// One cell behind a length byte; 0: none, and some models fill the place with zeros.
    CountedTower(Tower),
    /// One cell behind a byte that tells the network generation.
    TypedTower,
    /// Several cells of one operator.
    Towers(Tower, Count),
    /// The cells behind Topin's WiFi list.
    TopinCells,
    /// Access points behind their count.
    Counted(Entry),
    /// As many access points as Topin's third byte says.
    CountedBefore(Entry),
    /// The terminal information byte.
    Info,
    /// Battery level, 0 to 6, or percent.
    Level,
    /// An alarm code.
    Alarm,
    /// An alarm code and a language whose high nibble is the code's bits 11-8.
    WideAlarm,
    /// What follows the terminal information in a heartbeat.
    Beat,
    /// The same of units that send hundredths of a volt in place of the levels.
    VoltageBeat,
    /// A number of so many bytes.
    Number(&'static str, u8, Meaning),
    /// So many bytes, shown as hex unless all zero.
    Hex(&'static str, usize),
    /// Decimal digits in the hex digits of so many bytes.
    Digits(&'static str, usize),
    /// The SIM's number, 10 bytes, which some units send with swapped digits.
    Iccid,
    /// Text in so many bytes.
    Ascii(&'static str, usize),
    /// Text behind its length.
    CountedAscii(&'static str),
    /// Bytes behind their length, the first of which is a type, shown as hex.
    CountedHex(&'static str),
    /// X1's ports: a word whose bits 23-20 count the analogue inputs, digital inputs, outputs, and then those.
    Ports,
    /// Modules until the end: type u16, then a length of so many bytes, then the value.
    Modules(u8),
    /// Signal-to-noise ratios behind their count.
    SignalToNoise,
    /// Nothing to read: the message itself is this alarm.
    Says(Alarm),
    /// Nothing to read: the message itself says this.
    Is(&'static str, bool),
    /// Nothing to read: the message was stored while out of coverage.
    Archived,
    /// A place behind its length; 0: none.
    CountedGps,
    /// Further cells of the operator of the first, behind their length in bytes.
    CountedCells,
    /// Access points behind their length in bytes.
    CountedWifi,
    /// A byte some of whose values are alarms.
    Codes(&'static str, &'static [(u8, Alarm)]),
    /// A byte whose bits are alarms.
    AlarmBits(&'static str, &'static [(u8, Alarm)]),
    /// Benway's input word.
    InputWord,
}

/// How a cell is laid out behind its country code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Tower {
    /// Area u16, cell u24.
    Short,
    /// Area u16, cell u32.
    Wide,
    /// Seven bytes in all behind the country code: a network code of one byte leaves four for the cell, one of two three.
    Nine,
    /// Network u16 always, area u16, cell u24.
    ShortMnc,
    /// Network u16 always, area u16, cell u32.
    WideMnc,
    /// Network u16 always, area u16, cell u64.
    LongMnc,
    /// Area u32, cell u64.
    Long,
}

/// How many entries a list has.
#[derive(Debug, Clone, Copy)]
pub(super) enum Count {
    /// So many, unused ones zero.
    Fixed(u8),
    /// As many as the byte before them says.
    Said,
}

/// How an access point is laid out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Entry {
    /// Address, signal u8.
    Wifi,
    /// Signal u16, address.
    SignalFirst,
}

/// Where a number goes, and by what it is divided to have the contract's unit.
#[derive(Debug, Clone, Copy)]
pub(super) enum Meaning {
    /// An attribute of this name.
    Attribute,
    /// An attribute, divided.
    Scaled(f64),
    /// An attribute in two's complement, divided.
    Signed(f64),
    /// An attribute; this bit means minus, the bits below are the magnitude, divided.
    MinusBit(u8, f64),
    /// The same, but the bit means plus.
    PlusBit(u8, f64),
    /// External supply.
    PowerV(f64),
    /// Internal battery.
    BatteryV(f64),
    /// Internal battery.
    BatteryPercent,
    /// Radio signal.
    Rssi,
    /// Distance, multiplied by so many metres.
    OdometerM(u32),
    /// Satellites used.
    Satellites,
    /// Two's complement.
    AltitudeM,
    /// Dilution of precision.
    Hdop(f64),
    /// Not zero: on.
    Ignition,
    /// Not zero: stored while out of coverage.
    Archived,
    /// Not zero: an alarm of no known kind.
    GeneralAlarm,
    /// Two halves of five bits, below them the signal: satellites of two systems.
    SignalWord,
    /// Shown to a person only: reserved, language, timing advance.
    Ignored,
}

impl Part {
    /// Fewest bytes that it takes.
    pub(super) const fn least(self) -> usize {
        match self {
            Self::Says(_) | Self::Is(..) | Self::Archived | Self::CountedBefore(_) => 0,
            Self::Info | Self::Level | Self::Alarm | Self::SignalToNoise | Self::AlarmBits(..) => 1,
            Self::CountedGps | Self::CountedCells | Self::CountedWifi | Self::Codes(..) => 1,
            Self::CountedTower(_) | Self::Counted(_) | Self::CountedAscii(_) | Self::CountedHex(_) => 1,
            Self::WideAlarm | Self::InputWord => 2,
            Self::UnixTime | Self::Beat | Self::VoltageBeat => 4,
            Self::Time | Self::BcdTime | Self::Ports => 6,
            Self::Imei => 8,
            Self::Iccid => 10,
            Self::Gps => 12,
            Self::ModuleFix => 18,
            Self::TopinFix => 19,
            Self::Tower(tower) => tower.bytes(),
            Self::TypedTower => 1 + Tower::Short.bytes(),
            Self::Towers(..) | Self::TopinCells => 3,
            Self::Number(_, width, _) => width as usize,
            Self::Hex(_, n) | Self::Digits(_, n) | Self::Ascii(_, n) => n,
            Self::Modules(width) => 2 + width as usize,
        }
    }
}

impl Tower {
    /// Whether the network code has two bytes whatever the country code says.
    pub(super) const fn wide_network(self) -> bool {
        matches!(self, Self::ShortMnc | Self::WideMnc | Self::LongMnc)
    }

    /// With a one-byte network code.
    const fn bytes(self) -> usize {
        match self {
            Self::Short => 8,
            Self::Wide | Self::Nine | Self::ShortMnc => 9,
            Self::WideMnc => 10,
            Self::LongMnc => 14,
            Self::Long => 15,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gt06::read::tests::facts;

    #[test]
    fn the_least_bytes_are_enough_and_one_less_is_not() {
        let towers = [Tower::Short, Tower::Wide, Tower::Nine, Tower::ShortMnc, Tower::WideMnc, Tower::LongMnc, Tower::Long];
        let fixed = [
            Part::Time,
            Part::BcdTime,
            Part::UnixTime,
            Part::Gps,
            Part::TopinFix,
            Part::ModuleFix,
            Part::Imei,
            Part::TypedTower,
            Part::Towers(Tower::Short, Count::Fixed(0)),
            Part::Counted(Entry::Wifi),
            Part::Info,
            Part::Level,
            Part::Alarm,
            Part::WideAlarm,
            Part::Number("n", 6, Meaning::Attribute),
            Part::Iccid,
            Part::CountedAscii("a"),
            Part::CountedHex("b"),
            Part::Ports,
            Part::SignalToNoise,
            Part::CountedGps,
            Part::CountedCells,
            Part::CountedWifi,
            Part::InputWord,
        ];
        for part in towers.map(Part::Tower).into_iter().chain(fixed) {
            let zeros = |n| facts(&[part], &[], &"00".repeat(n));
            assert!(zeros(part.least()).is_ok(), "{part:?}");
            assert!(zeros(part.least() - 1).is_err(), "{part:?}");
        }
    }

    #[test]
    fn what_a_message_says_by_being_sent_needs_no_bytes() {
        for part in [Part::Says(Alarm::Sos), Part::Is("sleeping", true), Part::Archived, Part::CountedBefore(Entry::Wifi)] {
            assert_eq!(part.least(), 0);
            assert!(facts(&[part], &[], "").is_ok(), "{part:?}");
        }
    }
}
