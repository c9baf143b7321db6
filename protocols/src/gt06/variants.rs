//! The layouts. The same type number means different things on different models, which are told apart by the frame's form and
//! the value of its length byte; so a layout is a row of a table, found by (form, type, length).

use std::ops::RangeInclusive;

use crate::event::Alarm;
use crate::gt06::blocks::{Count, Entry, Meaning, Part, Tower};
use crate::gt06::frame::{BASIC, EXTENDED, TOPIN};
use crate::gt06::topin;

/// One layout. A dialect may have another for the same message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Row {
    /// The frame's form.
    pub(super) form: u8,
    /// The message type.
    pub(super) kind: u8,
    /// Values of the length field for which it holds, as sent. Topin: of the third byte.
    pub(super) length: (u16, u16),
    /// For a person.
    pub(super) title: &'static str,
    /// How it is read.
    pub(super) does: Does,
    /// Whose time it says.
    pub(super) clock: Clock,
    /// The blocks that must be there.
    pub(super) parts: &'static [Part],
    /// The blocks that may follow.
    pub(super) more: &'static [Part],
    /// What acknowledges it.
    pub(super) reply: Reply,
}

/// How a message is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Does {
    /// Block by block into a report.
    Report,
    /// Identity, model, time zone.
    Login,
    /// Identity.
    TopinLogin,
    /// Nothing but a sign of life.
    Heartbeat,
    /// A request for the time.
    Time,
    /// Length u8, server flag, text, language: an answer to a command.
    ShortText,
    /// Server flag, coding, text: an answer to a command.
    LongText,
    /// OBD values as text, with a place behind them; whether the ignition stands before the text.
    Obd(bool),
    /// The sub-types of information.
    Info,
    /// The dash-cam report, whose start and length tell three shapes apart.
    DashCam,
    /// The announcement of a photo.
    PhotoInfo,
    /// A part of a photo, if its length fits, else blocks.
    PhotoPart,
    /// Bytes of a device on the serial port.
    PassThrough,
    /// Bytes that are settings.
    Parameters,
    /// Bytes of which nothing more is known.
    Unknown,
}

/// Whose time a message says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Clock {
    /// UTC, say the documents.
    Utc,
    /// UTC or local: the zone of the login counts.
    Local,
}

/// What acknowledges a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reply {
    /// Nothing.
    None,
    /// Type and serial in a `78 78` frame.
    Basic,
    /// Type and serial in a `79 79` frame.
    Extended,
    /// The time.
    Time,
    /// An address that says there is none.
    Address,
    /// Topin: accepted, then the time.
    TopinLogin,
    /// Topin: the time.
    TopinTime,
    /// Topin: third byte, type and the message's time.
    Stamp,
    /// Topin: the same with a third byte of 0.
    StampPlain,
    /// Topin: the message itself.
    Echo,
}

const ANY: RangeInclusive<u16> = 0..=0xFFFF;

const fn row(kind: u8, length: RangeInclusive<u16>, title: &'static str, parts: &'static [Part], more: &'static [Part]) -> Row {
    let length = (*length.start(), *length.end());
    Row { form: BASIC, kind, length, title, does: Does::Report, clock: Clock::Utc, parts, more, reply: Reply::Basic }
}

const fn one(length: u16) -> RangeInclusive<u16> {
    length..=length
}

impl Row {
    /// Whether it is the layout of a message of this form, type and length.
    pub(super) const fn is_for(&self, form: u8, kind: u8, length: u16) -> bool {
        self.form == form && self.kind == kind && self.length.0 <= length && length <= self.length.1
    }

    const fn local(self) -> Self {
        Self { clock: Clock::Local, ..self }
    }

    const fn answered(self, reply: Reply) -> Self {
        Self { reply, ..self }
    }

    const fn does(self, does: Does) -> Self {
        Self { does, ..self }
    }

    /// Extended frames are not answered unless a row says so: none of their documented types asks for it.
    const fn extended(self) -> Self {
        Self { form: EXTENDED, reply: Reply::None, ..self }
    }
}

const TIME: Part = Part::Time;
const GPS: Part = Part::Gps;
const CELL: Part = Part::Tower(Tower::Short);
const COUNTED_CELL: Part = Part::CountedTower(Tower::Short);
const INFO: Part = Part::Info;
const LEVEL: Part = Part::Level;
const ALARM: Part = Part::Alarm;
const RSSI: Part = Part::Number("rssi", 1, Meaning::Rssi);
const LANGUAGE: Part = Part::Number("language", 1, Meaning::Ignored);
const LANGUAGE_WORD: Part = Part::Number("language", 2, Meaning::Ignored);
const ACC: Part = Part::Number("acc", 1, Meaning::Ignition);
const MODE: Part = Part::Number("upload_mode", 1, Meaning::Attribute);
const STORED: Part = Part::Number("re_upload", 1, Meaning::Archived);
const ODOMETER: Part = Part::Number("odometer_m", 4, Meaning::OdometerM(1));
const POWER: Part = Part::Number("power_v", 2, Meaning::PowerV(100.0));
const BATTERY: Part = Part::Number("battery_v", 2, Meaning::BatteryV(100.0));
const FENCE: Part = Part::Number("fence", 1, Meaning::Attribute);
const ADVANCE: Part = Part::Number("timing_advance", 1, Meaning::Ignored);
const PHONE: Part = Part::Ascii("phone", 21);
const RFID: Part = Part::Hex("rfid", 8);
const WIFI: Part = Part::Counted(Entry::Wifi);
const SEVEN: Part = Part::Towers(Tower::Short, Count::Fixed(7));
const SEVEN_LONG: Part = Part::Towers(Tower::Long, Count::Fixed(7));

const POSITION: &[Part] = &[TIME, GPS, CELL];
const UPLOAD: &[Part] = &[TIME, GPS, CELL, ACC, MODE, STORED];
const STATUS: &[Part] = &[TIME, GPS, COUNTED_CELL, INFO, LEVEL, RSSI, ALARM, LANGUAGE];
const FENCES: &[Part] = &[TIME, GPS, COUNTED_CELL, INFO, LEVEL, RSSI, Part::WideAlarm, FENCE];
const LONG_CELL: Part = Part::CountedTower(Tower::Long);

/// The layouts of GT06, sorted by form and type; of a type the first whose length fits.
static ROWS: &[Row] = &[
    row(0x01, ANY, "login", &[], &[]).does(Does::Login),
    row(0x10, ANY, "position", &[TIME, GPS], &[Part::Number("reserved", 2, Meaning::Ignored)]).local(),
    row(0x11, one(0x13), "cell", &[TIME, CELL], &[]).local(),
    row(0x11, ANY, "position", &[TIME, GPS, Part::Tower(Tower::WideMnc)], &[]).local(),
    row(0x12, one(0x21), "position, Benway", POSITION, &[Part::InputWord]).local(),
    row(0x12, one(0x22), "position", UPLOAD, &[]).local(),
    row(0x12, one(0x23), "position with mileage", POSITION, &[ODOMETER]).local(),
    row(0x12, one(0x24), "position, VXT01", &[TIME, GPS, CELL, INFO, POWER, RSSI], &[EXTENSION]).local(),
    row(0x12, one(0x26), "position", UPLOAD, &[ODOMETER]).local(),
    row(0x12, one(0x27), "position, QH302R", &[Part::Imei, TIME, GPS, CELL], &[]).local(),
    row(0x12, one(0x29), "position, WeTrust", POSITION, WETRUST).local(),
    row(0x12, one(0x2B), "position, S5", POSITION, S5).local(),
    row(0x12, 0x71..=0xFF, "position, GT06E with card", POSITION, CARD).local(),
    row(0x12, ANY, "position", POSITION, &[]).local(),
    row(0x13, one(0x13), "status, OBD6", OBD6, OBD6_MORE),
    row(0x13, one(0x15), "status, OBD6", OBD6, OBD6_WARM),
    row(0x13, ANY, "heartbeat", &[INFO], &[Part::Beat, LANGUAGE]),
    row(0x14, ANY, "satellites", &[Part::SignalToNoise], &[]),
    row(0x15, ANY, "command answer", &[], &[]).does(Does::ShortText),
    row(0x16, one(0x24), "alarm, VXT01", &[TIME, GPS, CELL, INFO, POWER, RSSI, ALARM], &[]).local(),
    row(0x16, one(0x26), "alarm, Seeworld", SEEWORLD_ALARM, &[]).local(),
    row(0x16, one(0x2D), "alarm, TRX16", STATUS, &[RFID]).local(),
    row(0x16, ANY, "alarm", STATUS, &[]).local(),
    row(0x17, 0x22..=0x24, "address request", &[CELL, PHONE], &[LANGUAGE_WORD]).answered(Reply::Address),
    row(0x17, ANY, "position with RFID", POSITION, &[RFID, RFID_VALID]).local(),
    row(0x18, one(0x3B), "cells", &[TIME, SEVEN, ADVANCE], &[LANGUAGE_WORD]).local(),
    row(0x18, ANY, "cells and WiFi", &[TIME, SEVEN, ADVANCE], &[WIFI, LANGUAGE_WORD]).local(),
    row(0x19, 0x17..=0xFF, "cells, Space10X", &[TIME], &[]).answered(Reply::None),
    row(0x19, ANY, "cell and status", &[CELL, INFO, LEVEL, RSSI, ALARM, LANGUAGE], &[]),
    row(0x1A, ANY, "address request", &[TIME, GPS, PHONE], &[LANGUAGE_WORD]).local().answered(Reply::Address),
    row(0x1E, 0x47..=0xFF, "position and cells", &[TIME, GPS, SEVEN, ADVANCE], &[LANGUAGE_WORD]).local(),
    row(0x1E, ANY, "position", POSITION, &[]).local(),
    row(0x21, ANY, "command answer", &[], &[]).does(Does::LongText),
    row(0x22, one(0x2F), "position, Seeworld", SEEWORLD, SEEWORLD_MORE),
    row(0x22, one(0x3C), "position, NT", NT, NT_MORE),
    row(0x22, ANY, "position", UPLOAD, &[ODOMETER]),
    row(0x23, ANY, "heartbeat", &[INFO, BATTERY, RSSI], &[LANGUAGE_WORD]),
    row(0x24, one(0x2E), "position, SR411", &[TIME, GPS, CELL, ACC, POWER, BATTERY], &[]).answered(Reply::None),
    row(0x24, one(0x31), "cells, WanWay S20", &[TIME, ADVANCE, Part::Towers(Tower::Short, Count::Said)], &[]).local(),
    row(0x24, ANY, "cells", &[TIME, SEVEN, ADVANCE], &[LANGUAGE_WORD]).local(),
    row(0x25, ANY, "position, XT40", XT, NT_MORE),
    row(0x26, ANY, "alarm", STATUS, &[ODOMETER]),
    row(0x27, ANY, "alarm with fence", FENCES, &[ODOMETER]),
    row(0x28, ANY, "cells", &[TIME, SEVEN, ADVANCE], &[LANGUAGE_WORD]).local(),
    row(0x2A, ANY, "address request", &[TIME, GPS, PHONE], &[LANGUAGE_WORD]).local().answered(Reply::Address),
    row(0x2C, ANY, "WiFi and cells", &[TIME, SEVEN, ADVANCE], &[WIFI]).local(),
    row(0x2D, ANY, "position", UPLOAD, &[ODOMETER]),
    row(0x2E, ANY, "cells", &[TIME, SEVEN, ADVANCE], &[LANGUAGE_WORD]).local(),
    row(0x31, ANY, "position, SL4x", SL4X, &[ACC, MODE, STORED, ALTITUDE]),
    row(0x32, ANY, "alarm, SL4x", SL4X_ALARM, &[ALTITUDE]),
    row(0x33, ANY, "WiFi and cells", &[TIME, Part::Towers(Tower::Short, Count::Fixed(6)), ADVANCE], &[WIFI]),
    row(0x34, one(0x37), "position, SL4x", SL4X, &[]),
    row(0x34, ANY, "position, X1", X1, &[Part::Ports]).answered(Reply::None),
    row(0x35, ANY, "photo announcement, X1", &[], &[]).does(Does::PhotoInfo).answered(Reply::None),
    row(0x36, one(0x35), "position, TRX16", STATUS, &[RFID, ODOMETER, POWER, BATTERY]),
    row(0x36, ANY, "status and modules", &[INFO, LEVEL, RSSI, ALARM, LANGUAGE], &[Part::Modules(1)]),
    row(0x37, ANY, "position and modules", UPLOAD, &[Part::Modules(1)]),
    row(0x38, ANY, "position and modules, 4G", TYPED, TYPED_MORE),
    row(0x39, ANY, "alarm and modules, 4G", TYPED_ALARM, &[Part::Modules(1)]),
    row(0x40, ANY, "battery management", &[], &[]).does(Does::Unknown),
    row(0x41, ANY, "multimedia", &[], &[]).does(Does::Unknown),
    row(0x61, ANY, "position with iButton", IBUTTON, &[]),
    row(0x65, ANY, "OBD trouble codes", &[], &[]).does(Does::Obd(false)),
    row(0x66, ANY, "OBD values", &[], &[]).does(Does::Obd(false)),
    row(0x80, ANY, "command", &[], &[]).does(Does::Unknown).answered(Reply::None),
    row(0x81, ANY, "command", &[], &[]).does(Does::Unknown).answered(Reply::None),
    row(0x82, ANY, "command", &[], &[]).does(Does::Unknown).answered(Reply::None),
    row(0x8A, ANY, "time request", &[], &[]).does(Does::Time).answered(Reply::Time),
    row(0x8C, ANY, "OBD values", &[], &[]).does(Does::Obd(true)),
    row(0x94, ANY, "external voltage", &[Part::Number("power_v", 2, Meaning::PowerV(100.0))], &[]).answered(Reply::None),
    row(0x95, ANY, "dash-cam event", &[], &[]).does(Does::DashCam),
    row(0xA0, ANY, "position, 4G", &[TIME, GPS, Part::Tower(Tower::Long), ACC, MODE, STORED], &[ODOMETER]),
    row(0xA1, ANY, "cells, 4G", &[TIME, SEVEN_LONG, ADVANCE], &[LANGUAGE_WORD]),
    row(0xA2, one(0x40), "position, LW4G", LW4G, &[]),
    row(0xA2, ANY, "WiFi and cells, 4G", &[TIME, SEVEN_LONG, ADVANCE], &[WIFI]),
    row(0xA3, one(0x0C), "status", &[INFO, LEVEL, RSSI, ALARM, LANGUAGE], &[]),
    row(0xA3, 0x00..=0x18, "status, Seeworld", SEEWORLD_STATUS, SEEWORLD_STEPS),
    row(0xA3, ANY, "alarm, 4G", &[TIME, GPS, LONG_CELL, INFO, LEVEL, RSSI, ALARM, LANGUAGE], &[FENCE, ODOMETER]),
    row(0xA4, ANY, "alarm with fence, 4G", &[TIME, GPS, LONG_CELL, INFO, LEVEL, RSSI, Part::WideAlarm, FENCE], &[ODOMETER]),
    row(0xA5, ANY, "cell alarm, 4G", &[Part::Tower(Tower::Long), INFO, LEVEL, RSSI, ALARM, LANGUAGE], &[]),
    row(0xA7, ANY, "address request, 4G", &[Part::Tower(Tower::Long), PHONE], &[LANGUAGE_WORD]).answered(Reply::Address),
    row(0xA9, ANY, "WiFi alarm", &[], &[]).does(Does::Unknown),
    row(0xB0, ANY, "attendance", &[], &[]).does(Does::Unknown),
    row(0xB2, ANY, "Bluetooth clock", &[], &[]).does(Does::Unknown),
    row(0xF1, ANY, "device status", &[Part::UnixTime], &[Part::Modules(1)]),
    row(0xF2, ANY, "peripherals", &[], &[]).does(Does::Unknown),
    row(0xF3, ANY, "WiFi", &[TIME], &[Part::Counted(Entry::SignalFirst)]).answered(Reply::None),
    row(0x21, ANY, "command answer", &[], &[]).extended().does(Does::LongText),
    row(0x32, ANY, "position, AZ735", AZ735, AZ735_MORE).extended().answered(Reply::Extended),
    row(0x33, ANY, "alarm, AZ735", AZ735, AZ735_MORE).extended().answered(Reply::Extended),
    row(0x36, ANY, "photo data, X1", &[INFO, LEVEL, RSSI, ALARM, LANGUAGE], &[Part::Modules(1)]).extended().does(Does::PhotoPart),
    row(0x38, ANY, "position and modules, 4G", TYPED, TYPED_MORE).extended(),
    row(0x39, ANY, "alarm and modules, 4G", TYPED_ALARM, &[Part::Modules(1)]).extended(),
    row(0x41, ANY, "multimedia", &[], &[]).extended().does(Does::Unknown).answered(Reply::Extended),
    row(0x65, ANY, "OBD trouble codes", &[], &[]).extended().does(Does::Obd(false)),
    row(0x66, ANY, "OBD values", &[], &[]).extended().does(Does::Obd(false)),
    row(0x70, ANY, "modules", &[Part::Modules(2)], &[]).extended().answered(Reply::Basic),
    row(0x8C, ANY, "OBD values", &[], &[]).extended().does(Does::Obd(true)),
    row(0x94, ANY, "information", &[], &[]).extended().does(Does::Info),
    row(0x95, ANY, "dash-cam event", &[], &[]).extended().does(Does::DashCam).answered(Reply::Basic),
    row(0x9B, ANY, "serial port", &[], &[]).extended().does(Does::PassThrough),
];

/// What a type gets that no row describes.
static UNKNOWN: [Row; 3] = [
    row(0, ANY, "unknown", &[], &[]).does(Does::Unknown),
    row(0, ANY, "unknown", &[], &[]).extended().does(Does::Unknown),
    Row { form: TOPIN, ..row(0, ANY, "unknown", &[], &[]).does(Does::Unknown).answered(Reply::None) },
];

const EXTENSION: Part = Part::Number("alarm_extension", 1, Meaning::Attribute);
const ALTITUDE: Part = Part::Number("altitude_m", 2, Meaning::AltitudeM);
const RFID_VALID: Part = Part::Number("rfid_valid", 1, Meaning::Attribute);
const CARD_ALARM: Part = Part::Number("alarm", 1, Meaning::GeneralAlarm);
const CARD_STATUS: Part = Part::Number("card_status", 1, Meaning::Attribute);

const WETRUST: &[Part] =
    &[ODOMETER, Part::CountedAscii("card"), CARD_ALARM, CARD_STATUS, Part::Number("driving_time", 2, Meaning::Attribute)];
const CARD: &[Part] = &[ODOMETER, Part::CountedAscii("card"), CARD_ALARM, CARD_STATUS];
const S5: &[Part] = &[
    INFO,
    POWER,
    RSSI,
    ALARM,
    Part::Number("oil", 2, Meaning::Attribute),
    Part::Number("temperature_c", 1, Meaning::MinusBit(7, 1.0)),
    Part::Number("odometer_10m", 4, Meaning::OdometerM(10)),
];

const OBD6: &[Part] = &[
    INFO,
    Part::Number("signals", 2, Meaning::SignalWord),
    ALARM,
    LANGUAGE,
    Part::Number("battery_percent", 1, Meaning::BatteryPercent),
    Part::Number("working_mode", 1, Meaning::Attribute),
];
const OBD6_MORE: &[Part] = &[
    POWER,
    Part::Number("reserved", 1, Meaning::Ignored),
    Part::Number("working_time", 2, Meaning::Attribute),
    Part::Number("temperature_c", 2, Meaning::Signed(10.0)),
];
const OBD6_WARM: &[Part] = &[
    Part::Number("word_1", 2, Meaning::Attribute),
    Part::Number("reserved", 1, Meaning::Ignored),
    Part::Number("word_2", 2, Meaning::Attribute),
    Part::Number("word_3", 2, Meaning::Attribute),
    Part::Number("temperature_c", 2, Meaning::PlusBit(15, 10.0)),
];

const SEEWORLD_CELL: Part = Part::CountedTower(Tower::Wide);
/// As long as an ordinary alarm with a two-byte network code.
const SEEWORLD_ALARM: &[Part] = &[TIME, GPS, Part::CountedTower(Tower::Nine), INFO, LEVEL, RSSI, ALARM, LANGUAGE];
const SEEWORLD: &[Part] = &[TIME, GPS, Part::Tower(Tower::Wide), ACC, MODE, STORED];
const SEEWORLD_MORE: &[Part] = &[
    ODOMETER,
    Part::Number("travel_time_s", 4, Meaning::Attribute),
    Part::Number("temperature_c", 2, Meaning::MinusBit(15, 100.0)),
    Part::Number("humidity_percent", 2, Meaning::Scaled(100.0)),
];
/// Layouts of the dialect `seeworld`.
pub(super) static SEEWORLD_DIALECT: &[Row] = &[row(0xA3, one(0x0C), "status, Seeworld", SEEWORLD_STATUS, &[])];
/// The common reading of the short one is the published: a plain status (terminal information, levels, alarm, language) and two
/// bytes more. For this one speak the values: of two published frames the short is from a car (level 6 of 6, 100, 12 V), the
/// long from a tag with a step counter whose percentage at the end (79) agrees with its level (5 of 6).
const SEEWORLD_STATUS: &[Part] = &[
    INFO,
    Part::Number("status_word", 2, Meaning::Attribute),
    LEVEL,
    RSSI,
    Part::Number("power_v", 1, Meaning::PowerV(1.0)),
    LANGUAGE,
];
const SEEWORLD_STEPS: &[Part] = &[
    Part::Number("reserved", 2, Meaning::Ignored),
    Part::Number("steps", 4, Meaning::Attribute),
    Part::Number("battery_percent", 1, Meaning::BatteryPercent),
];

const NT: &[Part] = &[SOURCE, Part::Imei, DEVICE_TIME, TIME, GPS, COUNTED_CELL, INFO, POWER, TENTHS, RSSI, ALARM, LANGUAGE];
const XT: &[Part] = &[
    SOURCE,
    Part::Imei,
    DEVICE_TIME,
    TIME,
    GPS,
    SEEWORLD_CELL,
    Part::Number("network_type", 1, Meaning::Attribute),
    INFO,
    POWER,
    TENTHS,
    RSSI,
    ALARM,
    LANGUAGE,
];
const NT_MORE: &[Part] = &[
    Part::Number("odometer_m", 3, Meaning::OdometerM(1)),
    Part::Number("engine_min", 3, Meaning::Attribute),
    Part::CountedHex("driver_id"),
];
const SOURCE: Part = Part::Number("source", 1, Meaning::Attribute);
const DEVICE_TIME: Part = Part::Hex("device_time_raw", 6);
const TENTHS: Part = Part::Number("battery_v", 1, Meaning::BatteryV(10.0));

/// The published reading: behind the area a cell of eight bytes.
const SL4X: &[Part] = &[TIME, GPS, Part::Tower(Tower::LongMnc)];
/// Layouts of the dialect `sl4x`. A cell of four bytes fits the same thirteen bytes with a mileage after the flags, and gives
/// numbers of 28 bits, as 4G has, that are neighbours of those in 0x32, whose frames say the length of their cell.
pub(super) static SL4X_DIALECT: &[Row] = &[
    row(0x31, ANY, "position, SL4x", SL4X_SHORT, &[ACC, MODE, STORED, ODOMETER, ALTITUDE]),
    row(0x34, one(0x37), "position, SL4x", SL4X_SHORT, &[]),
];
const SL4X_SHORT: &[Part] = &[TIME, GPS, Part::Tower(Tower::WideMnc)];
/// Here the frame itself says how long its cell is: the length byte before it is 10, which leaves four bytes, and behind it
/// stands an ordinary status. With eight the status would lie in the serial, the checksum and the end mark of the frame.
const SL4X_ALARM: &[Part] = &[TIME, GPS, Part::CountedTower(Tower::WideMnc), INFO, LEVEL, RSSI, ALARM, LANGUAGE];

/// The published order of the two voltages.
const X1: &[Part] = &x1(BATTERY, POWER);
/// Layouts of the dialect `x1_supply_first`. Of the two voltages the first is 12 to 14 V in every published frame and the second
/// 4 V, which looks like the supply and a cell, in this order.
pub(super) static X1_DIALECT: &[Row] = &[
    row(0x34, 0x00..=0x36, "position, X1", X1_SUPPLY_FIRST, &[Part::Ports]).answered(Reply::None),
    row(0x34, 0x38..=0xFF, "position, X1", X1_SUPPLY_FIRST, &[Part::Ports]).answered(Reply::None),
];
const X1_SUPPLY_FIRST: &[Part] = &x1(POWER, BATTERY);

const fn x1(first: Part, second: Part) -> [Part; 9] {
    [
        Part::Number("alarm_word", 4, Meaning::Attribute),
        TIME,
        GPS,
        Part::Number("terminal_word", 2, Meaning::Attribute),
        ODOMETER,
        Part::Tower(Tower::Wide),
        Part::Number("driver_id", 4, Meaning::Attribute),
        first,
        second,
    ]
}

/// Layouts of the dialect `voltage_u16`. The documents have a battery level and a GSM level in every heartbeat, so this is the
/// common reading even where the GSM level, 0 to 4, is 234; read as one number the two are 12.58, which a car's battery has.
pub(super) static VOLTAGE_DIALECT: &[Row] = &[row(0x13, one(0x0A), "heartbeat", &[INFO], &[Part::VoltageBeat, LANGUAGE])];

const TYPED: &[Part] = &[TIME, GPS, MODE, STORED, Part::TypedTower];
const TYPED_MORE: &[Part] = &[Part::Number("unexplained", 2, Meaning::Ignored), Part::Modules(1)];
const TYPED_ALARM: &[Part] = &[TIME, GPS, Part::TypedTower, INFO, LEVEL, RSSI, Part::WideAlarm];

const IBUTTON: &[Part] = &[Part::Imei, TIME, GPS, Part::Tower(Tower::Wide), Part::Number("driver_id", 6, Meaning::Attribute)];

const AZ735: &[Part] = &[TIME, Part::CountedGps, COUNTED_CELL, RSSI, Part::CountedCells, Part::CountedWifi];
const AZ735_MORE: &[Part] = &[Part::Codes("status", LOCK)];
/// A0 locked, A1 unlocked, A2 and A3 battery, A4 alarm, A5 door.
const LOCK: &[(u8, Alarm)] = &[
    (0xA0, Alarm::Lock),
    (0xA1, Alarm::Unlock),
    (0xA2, Alarm::LowBattery),
    (0xA3, Alarm::LowBattery),
    (0xA4, Alarm::General),
    (0xA5, Alarm::Door),
];

const LW4G: &[Part] = &[
    TIME,
    GPS,
    Part::Tower(Tower::Long),
    Part::Number("network_type", 1, Meaning::Attribute),
    INFO,
    LEVEL,
    RSSI,
    ALARM,
    LANGUAGE,
    POWER,
    ODOMETER,
    Part::Number("engine_s", 4, Meaning::Attribute),
    Part::Hex("driver_id", 8),
    Part::Number("inputs", 2, Meaning::Attribute),
];

/// The layout for a message, where no dialect has its own.
pub(super) fn find(form: u8, kind: u8, length: u16) -> &'static Row {
    let rows = if form == TOPIN { topin::ROWS } else { ROWS };
    let from = rows.partition_point(|row| (row.form, row.kind) < (form, kind));
    let same = rows.iter().skip(from).take_while(|row| (row.form, row.kind) == (form, kind));
    let unknown = || match form {
        EXTENDED => &UNKNOWN[1],
        TOPIN => &UNKNOWN[2],
        _ => &UNKNOWN[0],
    };
    same.into_iter().find(|row| row.is_for(form, kind, length)).unwrap_or_else(unknown)
}

/// Whether a type has a layout in this form.
pub(super) fn is_known(form: u8, kind: u8) -> bool {
    ROWS.binary_search_by_key(&(form, kind), |row| (row.form, row.kind)).is_ok()
}

/// Every type of every form.
#[cfg(test)]
pub(super) fn kinds() -> impl Iterator<Item = u8> {
    ROWS.iter().chain(topin::ROWS).map(|row| row.kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_sorted_and_every_one_can_be_found() {
        for rows in [ROWS, topin::ROWS] {
            assert!(rows.is_sorted_by_key(|row| (row.form, row.kind)));
            for row in rows {
                let found = (row.length.0..=row.length.1).any(|length| std::ptr::eq(find(row.form, row.kind, length), row));
                assert!(found, "{:02x} {} is hidden by rows above it", row.kind, row.title);
            }
        }
    }

    #[test]
    fn the_length_tells_models_apart() {
        assert_eq!(find(BASIC, 0x12, 0x1F).title, "position");
        assert_eq!(find(BASIC, 0x12, 0x21).title, "position, Benway");
        assert_eq!(find(BASIC, 0x12, 0x75).title, "position, GT06E with card");
        assert_eq!(find(EXTENDED, 0x32, 0x4A).title, "position, AZ735");
        assert_eq!(find(BASIC, 0x32, 0x27).title, "alarm, SL4x");
        assert_eq!(find(TOPIN, 0x08, 1).title, "heartbeat");
        assert_eq!(find(TOPIN, 0x08, 0x20).title, "position in degrees");
    }

    #[test]
    fn unknown_types_are_answered_as_their_form_is() {
        assert_eq!(find(BASIC, 0x1F, 0x0D).reply, Reply::Basic);
        assert_eq!(find(EXTENDED, 0xFD, 0x5B).reply, Reply::None);
        assert_eq!(find(TOPIN, 0x77, 0x01).does, Does::Unknown);
    }
}
