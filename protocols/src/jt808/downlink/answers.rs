//! What acknowledges messages of the terminal, and asks for their packets again.

use nom::number::complete::{be_u8, be_u16};

use super::fields::{Field, Only2011, Packets, Sink, Text, Time, fields};
use crate::cursor::Cursor;
use crate::fault::Fault;
use crate::jt808::context::Context;
use crate::jt808::header::Edition;
use crate::parts::bcd;
use crate::time::{Civil, Timestamp};

fields! {
    /// 0x8001.
    General {
        serial: u16,
        message: u16,
        /// 0 done, 1 failed, 2 faulty, 3 unknown, 4 alarm handled.
        result: u8,
    }

    /// 0x8003.
    PacketsAgain {
        /// Of the first packet.
        serial: u16,
        packets: Packets,
    }

    /// 0x4401: answers 0x5501 and 0x5502.
    Lock {
        message: u16,
        result: u8,
    }
}

/// 0x8004. The one time of the standard that is UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jt808) struct ServerTime(Time);

impl ServerTime {
    pub(in crate::jt808) fn new(utc: Timestamp) -> Self {
        Self(Time::of(utc, 0))
    }
}

impl Field for ServerTime {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.0.put(out, edition);
    }
    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let utc = <[u8; 6]>::take(c, "utc", context)?;
        let at = bcd::civil(&utc).and_then(|civil| Timestamp::from_civil(civil, 0));
        c.note(|| at.map_or_else(|| "no instant".to_owned(), |t| t.to_string()));
        at.map(Self::new).ok_or_else(|| c.fault_here(crate::fault::FaultKind::Value, "no time"))
    }
    fn sample(_: Edition) -> Self {
        Self::new(Timestamp::from_seconds(1_772_360_126))
    }
}

/// 0x8109, of trackers: UTC in binary, the year in full, then a result.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::jt808) struct Clock {
    pub(in crate::jt808) utc: Civil,
    pub(in crate::jt808) result: u8,
}

impl Field for Clock {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        let Civil { year, month, day, hour, minute, second } = self.utc;
        year.put(out, edition);
        out.bytes(&[month, day, hour, minute, second, self.result]);
    }
    fn take(c: &mut Cursor<'_, '_>, _: &'static str, _: &Context<'_>) -> Result<Self, Fault> {
        let utc = Civil {
            year: c.read("year", be_u16)?,
            month: c.read("month", be_u8)?,
            day: c.read("day", be_u8)?,
            hour: c.read("hour", be_u8)?,
            minute: c.read("minute", be_u8)?,
            second: c.read("second", be_u8)?,
        };
        Ok(Self { utc, result: c.read("result", be_u8)? })
    }
    fn sample(_: Edition) -> Self {
        Self { utc: Civil { year: 2026, month: 3, day: 1, hour: 10, minute: 30, second: 0 }, result: 0 }
    }
}

/// 0x8100. The code goes out with result 0 only.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt808) struct Registered {
    serial: u16,
    result: u8,
    code: Option<Text<0>>,
}

impl Registered {
    /// Result 0, with a code of at most what a message holds.
    pub(in crate::jt808) fn welcome(serial: u16, code: String) -> Self {
        Self { serial, result: 0, code: Text::new(code.into_bytes()) }
    }

    /// 1 vehicle registered already, 2 no such vehicle, 3 terminal registered already, 4 no such terminal.
    pub(in crate::jt808) const fn refused(serial: u16, result: u8) -> Self {
        Self { serial, result, code: None }
    }
}

impl Field for Registered {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.serial.put(out, edition);
        self.result.put(out, edition);
        self.code.put(out, edition);
    }
    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        Ok(Self { serial: c.read("serial", be_u16)?, result: c.read("result", be_u8)?, code: Field::take(c, "code", context)? })
    }
    fn sample(_: Edition) -> Self {
        Self::welcome(7, "code".to_owned())
    }
}

/// 0x8800. With nothing missing it is the acknowledgement, exactly four bytes; the edition of 2011 puts the serial number of
/// the answered message first.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::jt808) struct Media {
    serial: Only2011<u16>,
    media: u32,
    missing: Vec<u16>,
}

impl Media {
    /// All of it is here.
    pub(in crate::jt808) fn complete(edition: Edition, serial: u16, media: u32) -> Self {
        Self::missing(edition, serial, media, Vec::new())
    }

    /// These packets are missing; at most [`super::fields::MAX_ASKED`] of them are asked for.
    pub(in crate::jt808) fn missing(edition: Edition, serial: u16, media: u32, mut missing: Vec<u16>) -> Self {
        missing.truncate(super::fields::MAX_ASKED);
        Self { serial: Only2011::new(edition, || serial), media, missing }
    }
}

impl Field for Media {
    fn put(&self, out: &mut impl Sink, edition: Edition) {
        self.serial.put(out, edition);
        self.media.put(out, edition);
        if !self.missing.is_empty() {
            (self.missing.len() as u8).put(out, edition);
            self.missing.iter().for_each(|n| n.put(out, edition));
        }
    }
    fn take(c: &mut Cursor<'_, '_>, _: &'static str, context: &Context<'_>) -> Result<Self, Fault> {
        let (serial, media) = (Field::take(c, "serial", context)?, Field::take(c, "media_id", context)?);
        let mut missing = Vec::new();
        if c.remaining() > 0 {
            for _ in 0..c.read("count", be_u8)? {
                missing.push(c.read("packet", be_u16)?);
            }
        }
        Ok(Self { serial, media, missing })
    }
    fn sample(edition: Edition) -> Self {
        Self::missing(edition, 7, 77, vec![2, 3])
    }
}
