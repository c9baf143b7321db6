//! Parameters, control of the terminal and of the vehicle, questions about places, and what is passed on.

use nom::number::complete::{be_u8, be_u16};

use super::fields::{Batch, Blob, Empty, Field, List, Passed, Sink, Text, Time, fields};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::jt808::context::Context;
use crate::jt808::header::Edition;

/// 0x8104, 0x8107, 0x8201, 0x8204, 0x8702, 0x9003: the id says all.
pub(in crate::jt808) type Ask = Empty;

fields! {
    /// A parameter of 0x8103.
    Parameter {
        id: u32,
        value: Blob<1>,
    }

    /// 0x8103.
    SetParameters {
        parameters: Batch<Parameter>,
    }

    /// 0x8106.
    QueryParameters {
        ids: List<u32, 1>,
    }

    /// 0x8105.
    TerminalControl {
        /// 1 upgrade, 2 connect elsewhere, 3 power off, 4 reset, 5 factory reset, 6 data link off, 7 radio off; others are of
        /// makers.
        command: u8,
        /// Fields joined with `;`.
        parameters: Text<0>,
    }

    /// 0x8108.
    Firmware {
        /// 0 terminal, 12 card reader, 52 satellite module.
        kind: u8,
        maker: [u8; 5],
        version: Text<1>,
        data: Blob<4>,
    }

    /// 0x8202.
    Track {
        /// 0 stops it, and nothing follows.
        interval_s: u16,
        validity_s: Option<u32>,
    }

    /// 0x8203.
    ConfirmAlarms {
        /// Of the message with the alarm; 0: all alarms of these types.
        serial: u16,
        /// As in 0x0200; the standard knows bits 0, 3, 20, 21, 22, 27 and 28 here.
        alarm_bits: u32,
    }

    /// 0x8400.
    CallBack {
        /// 0 an ordinary call, 1 to listen in.
        listen: u8,
        number: Text<0>,
    }

    /// A contact of 0x8401.
    Contact {
        /// 1 may call in, 2 may be called, 3 both.
        direction: u8,
        number: Text<1>,
        name: Text<1>,
    }

    /// 0x8401.
    PhoneBook {
        /// 0 delete all (and nothing follows), 1 replace, 2 append, 3 modify.
        kind: u8,
        contacts: Option<Batch<Contact>>,
    }

    /// 0x8700 and 0x8701: a command of the driving recorder (GB/T 19056) and its data.
    Recorder {
        command: u8,
        data: Blob<0>,
    }

    /// 0x8900.
    PassThrough {
        /// 0 satellite module, 0x0B card reader, 0x41 and 0x42 serial ports, from 0xF0 of makers.
        kind: u8,
        data: Passed,
    }

    /// 0x8A00.
    PublicKey {
        exponent: u32,
        modulus: [u8; 128],
    }

    /// 0xA006, of trackers.
    FuelCut {
        cut: u8,
        time: Time,
    }

    /// A setting of 0x0310.
    TrackerSetting {
        /// 0x06 report interval, 0x23 restart, 0x24 arm.
        id: u8,
        value: Blob<1>,
    }

    /// 0x0310, of trackers.
    TrackerSettings {
        settings: List<TrackerSetting, 1>,
    }
}

/// 0x8500.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt808) enum VehicleControl {
    /// Until 2013: bit 0 locks the doors.
    Flags(u8),
    /// Since 2019: types and what to do with them.
    List(Vec<Control>),
}

/// An item of the 2019 edition's 0x8500.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::jt808) enum Control {
    /// Type 1. Here 0 locks and 1 opens, the reverse of before.
    Doors(u8),
    /// Any other: how long its parameter is, only its maker knows, so it is the last that can be read.
    Other(u16, Vec<u8>),
}

const DOORS: u16 = 1;

impl VehicleControl {
    /// Lock the doors, or open them.
    pub(in crate::jt808) fn doors(edition: Edition, lock: bool) -> Self {
        match edition {
            Edition::V2019 => Self::List(vec![Control::Doors(u8::from(!lock))]),
            _ => Self::Flags(u8::from(lock)),
        }
    }
}

impl Field for VehicleControl {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        match self {
            Self::Flags(flags) => flags.put(out, edition),
            Self::List(items) => {
                (items.len() as u16).put(out, edition);
                for item in items {
                    match item {
                        Control::Doors(how) => {
                            DOORS.put(out, edition);
                            how.put(out, edition);
                        }
                        Control::Other(kind, parameter) => {
                            kind.put(out, edition);
                            out.bytes(parameter);
                        }
                    }
                }
            }
        }
    }

    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        // one byte is the older form, whatever the header says
        if context.edition != Edition::V2019 || c.remaining() == 1 {
            return Ok(Self::Flags(c.read("flags", be_u8)?));
        }
        let mut items = Vec::new();
        for _ in 0..c.read("count", be_u16)? {
            items.push(match c.read("type", be_u16)? {
                DOORS => Control::Doors(c.read("doors", be_u8)?),
                kind => Control::Other(kind, c.take_rest("parameter").to_vec()),
            });
        }
        Ok(Self::List(items))
    }

    fn sample(edition: Edition) -> Self {
        match edition {
            Edition::V2019 => Self::List(vec![Control::Doors(0), Control::Other(0xF001, vec![1, 2])]),
            _ => Self::doors(edition, true),
        }
    }
}
