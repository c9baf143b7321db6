//! Frames to the unit, typed: what `reply` writes can be read again here, also where another server wrote it.

use nom::number::complete::{be_u8, be_u16, be_u32};

use crate::cursor::{Cursor, Trace};
use crate::fault::{Fault, FaultKind};
use crate::gt06::frame::TOPIN;
use crate::gt06::reply;
use crate::parts::checksum::crc_itu;
use crate::time::{Civil, Timestamp};

/// Longest text of a command: the length byte counts it, its own length, flag, type, serial and CRC.
pub(super) const MAX_TEXT: usize = 200;

/// A frame to the unit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Downlink {
    /// Type and serial of what it acknowledges.
    Ack { extended: bool, kind: u8, serial: u16 },
    /// 0x8A: the time, UTC.
    Time { serial: u16, utc: Civil },
    /// The answer to who asks for an address.
    Address { form: AddressForm, serial: u16, server_flag: u32, text: Vec<u8> },
    /// 0x36: a part of a photo is wanted.
    Photo { serial: u16, id: u32, offset: u32, size: u16 },
    /// A text command. Its answer repeats the server flag.
    Command { kind: CommandKind, serial: u16, server_flag: u32, text: Vec<u8>, language: Option<u16> },
    /// Any other type.
    Other { extended: bool, kind: u8, serial: u16, content: Vec<u8> },
    /// A frame by the rules of Topin.
    Topin(Topin),
}

/// The type of a text command; units take all three.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CommandKind {
    Online,
    Second,
    Third,
}

impl CommandKind {
    const fn number(self) -> u8 {
        match self {
            Self::Online => 0x80,
            Self::Second => 0x81,
            Self::Third => 0x82,
        }
    }

    const fn of(number: u8) -> Option<Self> {
        match number {
            0x80 => Some(Self::Online),
            0x81 => Some(Self::Second),
            0x82 => Some(Self::Third),
            _ => None,
        }
    }
}

/// How an address is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AddressForm {
    /// Type 0x17 in `78 78`, UTF-16 inside.
    Chinese,
    /// Type 0x97 in `79 79`.
    English,
    /// Type 0x97 in `78 78` with a length of two bytes, as GT06 v1.8 prints it.
    Printed,
}

/// What Topin units are told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Topin {
    /// 0x01: whether the unit may stay; `x` is that of its login.
    Login { x: u8, welcome: bool },
    /// 0x30: the time, UTC.
    Time(Civil),
    /// The time of a position, back to who sent it.
    Stamp { x: u8, kind: u8, stamp: [u8; 6] },
    /// 0x13: a status, back to who sent it.
    Status { x: u8, body: Vec<u8> },
    /// 0x15: forget all settings.
    FactoryReset,
    /// 0x41: the number that the SOS key calls.
    SosNumber(Vec<u8>),
    /// 0x48: 1 start again, 2 switch off.
    Power(u8),
    /// 0x80: tell the position now.
    Locate,
    /// 0x92 and 0x93: tell when shaken, or do not.
    VibrationAlarm(bool),
    /// 0x98: seconds between positions.
    Interval(u16),
}

const LOGIN: u8 = 0x01;
const WELCOME: u8 = 0x01;
const REFUSED: u8 = 0x44;
const STATUS: u8 = 0x13;
const FACTORY_RESET: u8 = 0x15;
const TIME: u8 = 0x30;
const SOS_NUMBER: u8 = 0x41;
const POWER: u8 = 0x48;
const LOCATE: u8 = 0x80;
const VIBRATION_ON: u8 = 0x92;
const VIBRATION_OFF: u8 = 0x93;
const INTERVAL: u8 = 0x98;
/// Positions and lists that are answered with their time.
const STAMPED: [u8; 4] = [0x10, 0x11, 0x17, 0x69];

const ADDRESS_CHINESE: u8 = 0x17;
const ADDRESS_ENGLISH: u8 = 0x97;
const PHOTO: u8 = 0x36;
const CLOCK: u8 = 0x8A;

impl Downlink {
    /// A text command; `None` if it is too long, or not printable ASCII.
    pub(super) fn command(server_flag: u32, text: &str) -> Option<Self> {
        let fits = (1..=MAX_TEXT).contains(&text.len()) && text.bytes().all(|b| matches!(b, b' '..=b'~'));
        let command = || Self::Command {
            kind: CommandKind::Online,
            serial: server_flag as u16,
            server_flag,
            text: text.as_bytes().to_vec(),
            language: None,
        };
        fits.then(command)
    }

    /// Write it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Ack { extended: false, kind, serial } => reply::basic(out, *kind, *serial, &[]),
            Self::Ack { extended: true, kind, serial } => reply::extended(out, *kind, *serial, &[]),
            Self::Time { serial, utc } => reply::basic(out, CLOCK, *serial, &utc.six()),
            Self::Address { form, serial, server_flag, text } => {
                let flag = server_flag.to_be_bytes();
                let length = text.len() + flag.len();
                match form {
                    AddressForm::Chinese => {
                        reply::basic(out, ADDRESS_CHINESE, *serial, &[&[length as u8], &flag[..], text].concat());
                    }
                    AddressForm::English => {
                        reply::extended(out, ADDRESS_ENGLISH, *serial, &[&(length as u16).to_be_bytes(), &flag, text]);
                    }
                    AddressForm::Printed => {
                        let from = out.len();
                        reply::extended(out, ADDRESS_ENGLISH, *serial, &[&(length as u16).to_be_bytes(), &flag, text]);
                        out.iter_mut().skip(from).take(2).for_each(|mark| *mark = 0x78);
                    }
                }
            }
            Self::Photo { serial, id, offset, size } => reply::photo_request(out, *serial, *id, *offset, *size),
            Self::Command { kind, serial, server_flag, text, language } => {
                let length = (text.len() + 4) as u8;
                let language = language.map(u16::to_be_bytes);
                let language = language.as_ref().map_or(&[][..], |word| word);
                let content = [&[length], &server_flag.to_be_bytes()[..], text, language].concat();
                reply::basic(out, kind.number(), *serial, &content);
            }
            Self::Other { extended: false, kind, serial, content } => reply::basic(out, *kind, *serial, content),
            Self::Other { extended: true, kind, serial, content } => reply::extended(out, *kind, *serial, &[content]),
            Self::Topin(topin) => topin.write(out),
        }
    }

    /// Read one frame. GT06 is believed where length and CRC prove it; else it must be Topin.
    pub(super) fn read(raw: &[u8], mut trace: Option<&mut Trace>) -> Result<Self, Fault> {
        if let Some(trace) = &mut trace {
            trace.content = raw.to_vec();
        }
        let (extended, printed, at) = match raw {
            [0x79, 0x79, ..] => (true, false, 5),
            // GT06 v1.8 prints a long address with the marks of a short frame; no length of a short one is 0
            [0x78, 0x78, 0, ..] if raw.get(4) == Some(&ADDRESS_ENGLISH) => (true, true, 5),
            [0x78, 0x78, ..] => (false, false, 4),
            _ => return Err(Fault::new(FaultKind::Garbage, 0, "no start mark 7878 or 7979")),
        };
        let declared = match (extended, raw) {
            (true, [_, _, high, low, ..]) => usize::from(u16::from_be_bytes([*high, *low])) + 6,
            (false, [_, _, length, ..]) => usize::from(*length) + 5,
            _ => return Err(Fault::new(FaultKind::Truncated, raw.len(), "no length")),
        };
        if !raw.ends_with(&[0x0D, 0x0A]) {
            return Err(Fault::new(FaultKind::Truncated, raw.len(), "no end"));
        }
        let whole = declared == raw.len() && raw.len() >= at + 6;
        let crc = raw.len().checked_sub(4).and_then(|end| Some((raw.get(end..end + 2)?, raw.get(2..end)?)));
        let proven = crc.is_some_and(|(said, of)| said == crc_itu(of).to_be_bytes());
        if whole && proven {
            return gt06(raw, at, extended, printed, trace);
        }
        match extended {
            true if whole => Err(Fault::new(FaultKind::Checksum, raw.len() - 4, "the CRC does not fit")),
            true => Err(Fault::new(FaultKind::Length, 2, "not the length of the frame")),
            false => Topin::read(raw, trace).map(Self::Topin),
        }
    }

    /// One of each.
    pub(super) fn samples() -> Vec<Self> {
        let utc = Timestamp::from_seconds(1_772_360_126).civil(0);
        let address = |form, text: &[u8]| Self::Address { form, serial: 7, server_flag: 1, text: text.to_vec() };
        let command = |kind, language| Self::Command { kind, serial: 0, server_flag: 0x1A958, text: b"DYD#".to_vec(), language };
        vec![
            Self::Ack { extended: false, kind: 0x01, serial: 1 },
            Self::Ack { extended: true, kind: 0x32, serial: 0x0D0A },
            Self::Time { serial: 6, utc },
            address(AddressForm::Chinese, b"ADDRESS&&\x4e\xac&&0##"),
            address(AddressForm::English, b"NA&&NA&&0##"),
            address(AddressForm::Printed, &b"NA&&".repeat(50)),
            Self::Photo { serial: 0, id: 0x20E3_ACD3, offset: 1024, size: 1024 },
            command(CommandKind::Online, None),
            command(CommandKind::Second, Some(1)),
            command(CommandKind::Third, Some(2)),
            Self::Other { extended: false, kind: 0x6A, serial: 3, content: vec![1, 0x0D, 0x0A] },
            Self::Other { extended: true, kind: 0x9B, serial: 4, content: vec![3; 300] },
            Self::Topin(Topin::Login { x: 0x0D, welcome: true }),
            Self::Topin(Topin::Login { x: 0x0D, welcome: false }),
            Self::Topin(Topin::Time(utc)),
            Self::Topin(Topin::Stamp { x: 0, kind: 0x69, stamp: [0x26, 3, 1, 0x0D, 0x0A, 0] }),
            Self::Topin(Topin::Status { x: 7, body: vec![65, 77, 8, 25, 50] }),
            Self::Topin(Topin::FactoryReset),
            Self::Topin(Topin::SosNumber(b"13800000001".to_vec())),
            Self::Topin(Topin::Power(1)),
            Self::Topin(Topin::Locate),
            Self::Topin(Topin::VibrationAlarm(true)),
            Self::Topin(Topin::VibrationAlarm(false)),
            Self::Topin(Topin::Interval(60)),
        ]
    }
}

/// A frame whose length and CRC are right.
fn gt06(raw: &[u8], at: usize, extended: bool, printed: bool, mut trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
    let end = raw.len() - 6;
    let [high, low] = *raw.get(end..end + 2).and_then(|s| s.first_chunk()).unwrap_or(&[0; 2]);
    let serial = u16::from_be_bytes([high, low]);
    let mut head = Cursor::new(raw, 0, trace.as_deref_mut());
    head.bytes("start", 2)?;
    head.bytes("length", at - 3)?;
    let kind = head.read("type", be_u8)?;
    let mut c = Cursor::new(raw.get(at..end).unwrap_or_default(), at, trace.as_deref_mut());
    let (title, downlink) = content(&mut c, extended, printed, kind, serial)?;
    if c.remaining() > 0 {
        return Err(c.fault_here(FaultKind::Length, "bytes behind the message"));
    }
    let mut tail = Cursor::new(raw.get(end..).unwrap_or_default(), end, trace.as_deref_mut());
    tail.read("serial", be_u16)?;
    tail.read("crc", be_u16)?;
    tail.take_rest("end");
    if let Some(trace) = trace {
        trace.title = format!("0x{kind:02x} {title}");
    }
    Ok(downlink)
}

fn content(
    c: &mut Cursor<'_, '_>,
    extended: bool,
    printed: bool,
    kind: u8,
    serial: u16,
) -> Result<(&'static str, Downlink), Fault> {
    let command = CommandKind::of(kind).filter(|_| !extended);
    Ok(match (extended, kind, c.remaining()) {
        (_, _, 0) => ("acknowledgement", Downlink::Ack { extended, kind, serial }),
        (false, CLOCK, 6) => {
            let six = *c.bytes("utc", 6)?.first_chunk().unwrap_or(&[0; 6]);
            ("time", Downlink::Time { serial, utc: Civil::from_six(six) })
        }
        (false, PHOTO, 10) => {
            let (id, offset) = (c.read("photo", be_u32)?, c.read("offset", be_u32)?);
            ("photo request", Downlink::Photo { serial, id, offset, size: c.read("size", be_u16)? })
        }
        (false, ADDRESS_CHINESE, _) => {
            let length = c.read("text_length", be_u8)?;
            address(c, AddressForm::Chinese, length.into(), serial)?
        }
        (true, ADDRESS_ENGLISH, _) => {
            let length = c.read("text_length", be_u16)?;
            address(c, if printed { AddressForm::Printed } else { AddressForm::English }, length.into(), serial)?
        }
        _ => match command {
            Some(kind) => {
                let length = usize::from(c.read("text_length", be_u8)?);
                let server_flag = c.read("server_flag", be_u32)?;
                let text = text(c, length)?;
                let language = if c.remaining() > 0 { Some(c.read("language", be_u16)?) } else { None };
                ("command", Downlink::Command { kind, serial, server_flag, text, language })
            }
            None => ("unknown", Downlink::Other { extended, kind, serial, content: c.take_rest("content").to_vec() }),
        },
    })
}

fn address(c: &mut Cursor<'_, '_>, form: AddressForm, length: usize, serial: u16) -> Result<(&'static str, Downlink), Fault> {
    let server_flag = c.read("server_flag", be_u32)?;
    Ok(("address", Downlink::Address { form, serial, server_flag, text: text(c, length)? }))
}

/// Text whose length also counts the server flag.
fn text(c: &mut Cursor<'_, '_>, length: usize) -> Result<Vec<u8>, Fault> {
    let length = length.checked_sub(4).ok_or_else(|| c.fault_here(FaultKind::Length, "shorter than the server flag"))?;
    let text = c.bytes("text", length)?;
    c.show(|| format!("{:?}", String::from_utf8_lossy(text)));
    Ok(text.to_vec())
}

impl Topin {
    fn write(&self, out: &mut Vec<u8>) {
        // one-byte messages carry 1 in the place of the length, others the length of type and content
        let counted = |content: &[u8]| u8::try_from(content.len() + 1).unwrap_or(u8::MAX);
        match self {
            Self::Login { x, welcome } => reply::topin_login(out, *x, *welcome),
            Self::Time(utc) => reply::topin_time(out, *utc),
            Self::Stamp { x, kind, stamp } => reply::topin(out, *x, *kind, stamp),
            Self::Status { x, body } => reply::topin(out, *x, STATUS, body),
            Self::FactoryReset => reply::topin(out, 1, FACTORY_RESET, &[]),
            Self::SosNumber(number) => reply::topin(out, counted(number), SOS_NUMBER, number),
            Self::Power(how) => reply::topin(out, counted(&[*how]), POWER, &[*how]),
            Self::Locate => reply::topin(out, 1, LOCATE, &[]),
            Self::VibrationAlarm(on) => reply::topin(out, 1, if *on { VIBRATION_ON } else { VIBRATION_OFF }, &[]),
            Self::Interval(seconds) => reply::topin(out, counted(&[0; 2]), INTERVAL, &seconds.to_be_bytes()),
        }
    }

    fn read(raw: &[u8], mut trace: Option<&mut Trace>) -> Result<Self, Fault> {
        let end = raw.len().saturating_sub(2);
        let mut c = Cursor::new(raw.get(..end).unwrap_or_default(), 0, trace.as_deref_mut());
        c.bytes("start", 2)?;
        let x = c.read("x", be_u8)?;
        let kind = c.read("type", be_u8)?;
        let (title, message) = Self::content(&mut c, x, kind)?;
        if c.remaining() > 0 {
            return Err(c.fault_here(FaultKind::Length, "bytes behind the message"));
        }
        Cursor::new(raw.get(end..).unwrap_or_default(), end, trace.as_deref_mut()).take_rest("end");
        if let Some(trace) = trace {
            trace.title = format!("0x{kind:02x} {title} (Topin)");
        }
        Ok(message)
    }

    fn content(c: &mut Cursor<'_, '_>, x: u8, kind: u8) -> Result<(&'static str, Self), Fault> {
        Ok(match kind {
            LOGIN => match c.read("result", be_u8)? {
                WELCOME => ("login answer", Self::Login { x, welcome: true }),
                REFUSED => ("login answer", Self::Login { x, welcome: false }),
                _ => return Err(c.fault_here(FaultKind::Value, "no such result")),
            },
            TIME => {
                let year = c.read("year", be_u16)?;
                let [month, day, hour, minute, second] = *c.bytes("month_to_second", 5)?.first_chunk().unwrap_or(&[0; 5]);
                ("time", Self::Time(Civil { year, month, day, hour, minute, second }))
            }
            STATUS => ("status back", Self::Status { x, body: c.take_rest("status").to_vec() }),
            FACTORY_RESET => ("factory reset", Self::FactoryReset),
            SOS_NUMBER => ("SOS number", Self::SosNumber(c.take_rest("number").to_vec())),
            POWER => ("restart or switch off", Self::Power(c.read("how", be_u8)?)),
            LOCATE => ("locate", Self::Locate),
            VIBRATION_ON => ("vibration alarm", Self::VibrationAlarm(true)),
            VIBRATION_OFF => ("vibration alarm", Self::VibrationAlarm(false)),
            INTERVAL => ("interval", Self::Interval(c.read("interval_s", be_u16)?)),
            kind if STAMPED.contains(&kind) => {
                let stamp = *c.bytes("stamp", 6)?.first_chunk().unwrap_or(&[0; 6]);
                ("time back", Self::Stamp { x, kind, stamp })
            }
            _ => return Err(c.fault_here(FaultKind::Checksum, "neither a GT06 frame by its CRC nor one of Topin's")),
        })
    }
}

/// The frame with its CRC computed anew; Topin has none.
pub(super) fn seal(form: u8, content: &[u8], out: &mut Vec<u8>) {
    let from = out.len();
    out.extend_from_slice(content);
    let frame = out.get_mut(from..).unwrap_or_default();
    let Some(end) = frame.len().checked_sub(4).filter(|end| form != TOPIN && *end >= 2) else { return };
    let crc = crc_itu(frame.get(2..end).unwrap_or_default()).to_be_bytes();
    frame.iter_mut().skip(end).zip(crc).for_each(|(byte, new)| *byte = new);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{hex, unhex};
    use crate::gt06::frame::BASIC;

    fn written(downlink: &Downlink) -> String {
        let mut out = Vec::new();
        downlink.write(&mut out);
        hex(&out)
    }

    fn read(hex: &str) -> Result<Downlink, FaultKind> {
        Downlink::read(&unhex(hex).unwrap(), None).map_err(|fault| fault.kind)
    }

    #[test]
    fn every_sample_is_read_as_what_was_written_and_told_field_by_field() {
        for sample in Downlink::samples() {
            let raw = unhex(&written(&sample)).unwrap();
            let mut trace = Trace::default();
            assert_eq!(Downlink::read(&raw, Some(&mut trace)), Ok(sample));
            let end = trace.fields.iter().fold(0, |end, f| if f.span.start == end { f.span.end } else { panic!("{trace:?}") });
            assert_eq!(end, raw.len(), "{}", trace.title);
        }
    }

    #[test]
    fn accepts_published_frames() {
        // without a language, as other servers write it
        let relay = "787812800c0000000052656c61792c312300009dee0d0a";
        let Ok(Downlink::Command { server_flag: 0, serial: 0, ref text, language: None, .. }) = read(relay) else { panic!() };
        assert_eq!(text, b"Relay,1#");
        let dyd = "787815800f0001a9584459442c3030303030302300a0dcf10d0a";
        assert!(matches!(read(dyd), Ok(Downlink::Command { server_flag: 0x1A958, serial: 0xA0, language: None, .. })));
        for frame in
            [relay, dyd, "787805010001d9dc0d0a", "78780b8a0f0c1d0000150006f0860d0a", "78780d01010d0a", "7878073007ea0b170231050d0a"]
        {
            assert_eq!(written(&read(frame).unwrap()), frame);
        }
    }

    #[test]
    fn refuses_what_is_not_one_whole_frame() {
        let ack = "787805010001d9dc0d0a";
        assert_eq!(read(&ack[..16]), Err(FaultKind::Truncated));
        assert_eq!(read(&format!("{ack}{ack}")), Err(FaultKind::Value), "as Topin's, it would be a login answer without a result");
        assert_eq!(read("7979000532 00bcedd20d0a"), Err(FaultKind::Checksum));
        assert_eq!(read("797900063200bcedd10d0a"), Err(FaultKind::Length));
        assert_eq!(read("787806ab0d0a"), Err(FaultKind::Checksum));
        assert_eq!(read("7e7e"), Err(FaultKind::Garbage));
        assert_eq!(read(""), Err(FaultKind::Garbage));
    }

    #[test]
    fn commands_are_printable_and_fit() {
        assert!(Downlink::command(1, "WHERE#").is_some());
        assert!(Downlink::command(1, "").is_none() && Downlink::command(1, "a\r\nb").is_none());
        assert!(Downlink::command(1, &"x".repeat(MAX_TEXT)).is_some() && Downlink::command(1, &"x".repeat(MAX_TEXT + 1)).is_none());
        const { assert!(1 + 4 + MAX_TEXT + 2 + 5 <= u8::MAX as usize, "length, flag, text, language and what the length counts besides") }
    }

    #[test]
    fn sealing_mends_the_crc_of_gt06_only() {
        let sealed = |form, frame: &str| {
            let mut out = vec![1];
            seal(form, &unhex(frame).unwrap(), &mut out);
            hex(&out[1..])
        };
        assert_eq!(sealed(BASIC, "78780501000100000d0a"), "787805010001d9dc0d0a");
        assert_eq!(sealed(TOPIN, "787801080d0a"), "787801080d0a");
        assert_eq!(sealed(BASIC, "0d0a"), "0d0a");
    }
}
