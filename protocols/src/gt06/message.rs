//! From a frame to a message: what its row of the table says, and the few shapes that are no rows of blocks.

use nom::number::complete::{be_u8, be_u16, be_u32};

use crate::cursor::{Cursor, Trace, hex};
use crate::event::{Attributes, Data, DataKind};
use crate::fault::Fault;
use crate::gt06::alarms;
use crate::gt06::blocks::{Meaning, Part};
use crate::gt06::dialect::Dialect;
use crate::gt06::frame::{self, EXTENDED, MISCOUNTED, TOPIN};
use crate::gt06::read::{Facts, Reader};
use crate::gt06::text;
use crate::gt06::variants::{Clock, Does, Row};
use crate::profile::{Charset, Profile, TimeZone};
use crate::wire::Frame;

/// A message.
#[derive(Debug)]
pub(super) struct Message<'f> {
    pub(super) head: Head<'f>,
    pub(super) content: Content,
    /// What [`Content::Bytes`] is about, and a part of a photo.
    pub(super) bytes: &'f [u8],
}

/// What every frame says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'f> {
    pub(super) form: u8,
    /// Its length is wrong, its CRC right.
    pub(super) miscounted: bool,
    pub(super) kind: u8,
    /// Topin's third byte.
    pub(super) x: u8,
    /// Topin: none.
    pub(super) serial: Option<u16>,
    pub(super) row: &'static Row,
    /// Without type, serial and CRC.
    pub(super) body: &'f [u8],
    /// Where the body starts in the frame.
    pub(super) at: usize,
}

/// What a message says.
#[derive(Debug)]
pub(super) enum Content {
    /// Who it is.
    Login { imei: [u8; 8], model: Option<u16>, zone: Option<TimeZone> },
    /// What it reports.
    Report(Facts),
    /// A report, if it says anything, and data beside it.
    Both(Facts, Box<Data>),
    /// The bytes of the message, described.
    Bytes(Box<Data>),
    /// A photo is ready to be fetched.
    PhotoInfo(Box<PhotoInfo>),
    /// The bytes of the message are a part of this photo, from this offset.
    PhotoPart { id: u32, offset: u32 },
    /// A request for the time.
    Time,
    /// Nothing.
    Heartbeat,
}

/// The announcement of a photo.
#[derive(Debug)]
pub(super) struct PhotoInfo {
    pub(super) facts: Facts,
    pub(super) camera: u8,
    pub(super) source: u8,
    pub(super) format: u8,
    pub(super) size: u32,
    pub(super) id: u32,
}

/// Bytes of a frame behind its content: serial, CRC, end.
const TAIL: usize = 6;
/// Bytes of a place behind an OBD text.
const PLACE: usize = 12;

/// Read what stands before and behind the content. Frames are never shorter, see `frame`.
pub(super) fn head<'f>(frame: &Frame<'f>, dialect: &Dialect) -> Head<'f> {
    let form = frame.form & !MISCOUNTED;
    let kind = frame::kind(frame);
    let at = if form == EXTENDED { 5 } else { 4 };
    let x = frame.content.get(2).copied().unwrap_or_default();
    let tail = if form == TOPIN { 2 } else { TAIL };
    let total = frame.content.len();
    let end = total.saturating_sub(tail);
    let body = frame.content.get(at..end).unwrap_or_default();
    let serial = frame.content.get(end..end + 2).and_then(|s| s.first_chunk::<2>()).map(|s| u16::from_be_bytes(*s));
    // the true length, so that a miscounted frame is read as what it is
    let length = if form == TOPIN { usize::from(x) } else { total.saturating_sub(at + 1) };
    let row = dialect.row(form, kind, u16::try_from(length).unwrap_or(u16::MAX));
    let serial = serial.filter(|_| form != TOPIN);
    Head { form, miscounted: frame.form & MISCOUNTED != 0, kind, x, serial, row, body, at }
}

/// Read a message. `zone`: what the login said.
pub(super) fn decode<'f>(
    frame: &Frame<'f>,
    zone: Option<TimeZone>,
    profile: &Profile,
    mut trace: Option<&mut Trace>,
) -> Result<Message<'f>, Fault> {
    let dialect = Dialect::of(profile);
    let head = head(frame, dialect);
    if let Some(trace) = &mut trace {
        trace.title = format!("0x{:02x} {}", head.kind, head.row.title);
        frame_fields(&mut Cursor::new(frame.content, 0, Some(trace)), &head);
    }
    let mut c = Cursor::new(head.body, head.at, trace.as_deref_mut());
    let said = zone.filter(|_| head.row.clock == Clock::Local);
    let offset_s = profile.time_zone.or(said).unwrap_or(TimeZone::UTC).offset_s;
    let mut reader = Reader { c: &mut c, facts: Facts::default(), offset_s, dialect, x: head.x };
    let (content, bytes) = content(&head, &mut reader)?;
    if let (Some(trace), Some(_)) = (trace, head.serial) {
        let end = frame.content.len() - TAIL;
        let mut c = Cursor::new(frame.content.get(end..).unwrap_or_default(), end, Some(trace));
        let _ = c.read("serial", be_u16);
        let _ = c.read("crc", be_u16);
        c.show(|| {
            format!("{:04x}", frame.content.get(end + 2..end + 4).map_or(0, |b| b.iter().fold(0u16, |n, b| n << 8 | u16::from(*b))))
        });
        c.take_rest("end");
    }
    Ok(Message { head, content, bytes })
}

/// Name the bytes before the content for a person.
fn frame_fields(c: &mut Cursor<'_, '_>, head: &Head<'_>) {
    let _ = c.bytes("start", 2);
    let _ = match head.form {
        EXTENDED => c.read("length", be_u16).map(u32::from),
        TOPIN => c.read("x", be_u8).map(u32::from),
        _ => c.read("length", be_u8).map(u32::from),
    };
    if head.miscounted {
        c.note(|| "wrong");
    }
    let _ = c.read("type", be_u8);
    c.show(|| format!("{:02x}  {}", head.kind, head.row.title));
}

fn content<'f>(head: &Head<'f>, r: &mut Reader<'f, '_, '_>) -> Result<(Content, &'f [u8]), Fault> {
    let plain = |content| Ok((content, &[][..]));
    match head.row.does {
        Does::Report => {
            r.read(head.row.parts, head.row.more)?;
            plain(Content::Report(std::mem::take(&mut r.facts)))
        }
        Does::Login => plain(login(r)?),
        Does::TopinLogin => {
            let imei = imei(r)?;
            r.c.take_rest("version");
            plain(Content::Login { imei, model: None, zone: None })
        }
        Does::Heartbeat => plain(Content::Heartbeat),
        Does::Time => plain(Content::Time),
        Does::ShortText => {
            let length = usize::from(r.c.read("length", be_u8)?);
            if length < 4 {
                return plain(said(r, 0, String::new()));
            }
            let flag = r.c.read("server_flag", be_u32)?;
            let bytes = r.c.bytes("text", length - 4)?;
            let words = crate::parts::text::decode(bytes, Charset::Utf8);
            r.c.show(|| format!("{words:?}"));
            r.c.take_rest("language_and_fill");
            plain(said(r, flag, words))
        }
        Does::LongText => {
            let flag = r.c.read("server_flag", be_u32)?;
            let coding = r.c.read("coding", be_u8)?;
            let bytes = r.c.take_rest("text");
            let words = match coding {
                2 => crate::parts::text::decode_utf16be(bytes),
                _ => crate::parts::text::decode(bytes, Charset::Utf8),
            };
            r.c.show(|| format!("{words:?}"));
            plain(said(r, flag, words))
        }
        Does::Obd(ignition) => plain(obd(r, ignition)?),
        Does::Info => info(r),
        Does::DashCam => plain(dash_cam(r)?),
        Does::PhotoInfo => plain(photo_info(r)?),
        Does::PhotoPart => photo_part(head, r),
        Does::PassThrough => {
            let channel = r.c.read("device_type", be_u8)?;
            let data = Data { channel: Some(u16::from(channel)), ..Data::bytes(DataKind::Passthrough, BINARY) };
            Ok((Content::Bytes(Box::new(data)), r.c.take_rest("bytes")))
        }
        Does::Parameters => Ok((Content::Bytes(Box::new(Data::bytes(DataKind::Parameters, BINARY))), r.c.take_rest("bytes"))),
        Does::Unknown => {
            let mut data = Data::bytes(DataKind::Unknown, BINARY);
            data.attributes.set("message_type", head.kind);
            Ok((Content::Bytes(Box::new(data)), r.c.take_rest("bytes")))
        }
    }
}

const BINARY: &str = "application/octet-stream";

fn imei(r: &mut Reader<'_, '_, '_>) -> Result<[u8; 8], Fault> {
    let bytes = r.c.bytes("imei", 8)?;
    r.c.show(|| hex(bytes).split_off(1));
    Ok(bytes.first_chunk().copied().unwrap_or_default())
}

fn login(r: &mut Reader<'_, '_, '_>) -> Result<Content, Fault> {
    let imei = imei(r)?;
    let model = if r.c.remaining() >= 2 { Some(r.c.read("model", be_u16)?) } else { None };
    let zone = if r.c.remaining() >= 2 {
        let word = r.c.read("time_zone_and_language", be_u16)?;
        let zone = time_zone(word);
        r.c.note(|| zone.map_or_else(String::new, |z| format!("{} s", z.offset_s)));
        zone
    } else {
        None
    };
    r.c.take_rest("rest");
    Ok(Content::Login { imei, model, zone })
}

/// Bits 15-4: hours and minutes as a decimal hhmm; bit 3: west; bits 1-0: language.
fn time_zone(word: u16) -> Option<TimeZone> {
    let (hours, minutes) = (i32::from(word >> 4) / 100, i32::from(word >> 4) % 100);
    let seconds = (hours * 60 + minutes) * 60;
    let offset_s = if word & 8 == 0 { seconds } else { -seconds };
    (hours <= 14 && minutes < 60).then_some(TimeZone { offset_s })
}

/// A text, and the place that it tells, if it does.
fn said(r: &mut Reader<'_, '_, '_>, server_flag: u32, words: String) -> Content {
    if let Some(place) = text::place(&words, r.offset_s) {
        r.facts.report = place;
        r.facts.located = true;
    }
    let mut data = Data::text(DataKind::Text, words);
    data.attributes.set("server_flag", server_flag);
    Content::Both(std::mem::take(&mut r.facts), Box::new(data))
}

fn obd(r: &mut Reader<'_, '_, '_>, ignition: bool) -> Result<Content, Fault> {
    r.read_only(&[Part::Time])?;
    let meaning = if ignition { Meaning::Ignition } else { Meaning::Attribute };
    if matches!(r.c.rest(), [0..0x20, ..]) {
        r.number("state", 1, meaning)?;
    }
    let rest = r.c.rest();
    let place = rest.last_chunk::<PLACE>().is_some_and(|tail| tail.iter().any(|b| !b.is_ascii_graphic()));
    let bytes = r.c.bytes("values", rest.len() - if place { PLACE } else { 0 })?;
    let words = String::from_utf8_lossy(bytes);
    r.c.show(|| format!("{words:?}"));
    if place {
        r.read_only(&[Part::Gps])?;
    }
    let mut values = Attributes::default();
    for word in words.split(',').filter(|word| !word.is_empty()) {
        if let Some((id, value)) = word.split_once('=') {
            values.set(id.to_owned(), value.to_owned());
            text::obd_value(&mut r.facts.report, id, value);
        } else {
            values.set("code", word.to_owned());
        }
    }
    let facts = std::mem::take(&mut r.facts);
    let data = Data { time: facts.report.time, ..Data::values(DataKind::Obd, values, bytes.len()) };
    Ok(Content::Both(facts, Box::new(data)))
}

fn info<'f>(r: &mut Reader<'f, '_, '_>) -> Result<(Content, &'f [u8]), Fault> {
    let kind = r.c.read("sub_type", be_u8)?;
    let plain = |content| Ok((content, &[][..]));
    match kind {
        0x04 => {
            let bytes = r.c.take_rest("parameters");
            let words = crate::parts::text::decode(bytes, Charset::Utf8);
            r.c.show(|| format!("{words:?}"));
            let mut values = Attributes::default();
            for (name, value) in words.split(';').filter_map(|pair| pair.split_once('=')) {
                values.set(name.to_owned(), value.to_owned());
            }
            let data = Data::values(DataKind::Parameters, values, bytes.len());
            plain(Content::Both(Facts::default(), Box::new(data)))
        }
        0x0D => {
            if r.c.rest().first() != Some(&b'!') {
                r.read_only(&[Part::Time])?;
            }
            let words = crate::parts::text::decode(r.c.take_rest("fuel_sensor"), Charset::Utf8);
            r.c.show(|| format!("{words:?}"));
            text::fuel_sensor(&mut r.facts.report.attributes, words);
            plain(Content::Report(std::mem::take(&mut r.facts)))
        }
        0x1B => {
            if r.c.rest().first().is_some_and(u8::is_ascii_alphabetic) {
                let words = crate::parts::text::decode(r.c.take_rest("rfid"), Charset::Utf8);
                r.facts.report.attributes.set("rfid", words);
            } else {
                r.c.bytes("header_and_type", 2)?;
                let id = hex(r.c.bytes("rfid", 4)?);
                r.facts.report.attributes.set("rfid", id);
                r.c.take_rest("checksum_and_end");
            }
            plain(Content::Report(std::mem::take(&mut r.facts)))
        }
        _ => {
            if let Some(parts) = crate::gt06::modules::info_parts(kind, r.c.remaining()) {
                r.read(parts, &[])?;
                return plain(Content::Report(std::mem::take(&mut r.facts)));
            }
            let mut data = Data::bytes(DataKind::Unknown, BINARY);
            data.attributes.set("message_type", 0x94u8);
            data.attributes.set("sub_type", kind);
            Ok((Content::Bytes(Box::new(data)), r.c.take_rest("bytes")))
        }
    }
}

/// Three shapes: with speed, supply and satellites behind a mark of FFFF; with a place; with neither.
fn dash_cam(r: &mut Reader<'_, '_, '_>) -> Result<Content, Fault> {
    /// Time and event, and perhaps the event's data.
    const SHORT: usize = 9;
    let marked = r.c.rest().starts_with(&[0xFF, 0xFF]);
    if marked {
        r.c.bytes("mark", 3)?;
    }
    r.read_only(&[Part::Time])?;
    if marked {
        let satellites = r.c.read("satellites", be_u8)?;
        r.facts.report.satellites = Some(u16::from(satellites & 15));
    }
    if marked || r.c.remaining() > SHORT - 6 {
        let (latitude, longitude) = r.coordinates()?;
        let word = r.c.read("course_and_status", be_u16)?;
        r.place(latitude, longitude, word);
    }
    if marked {
        let speed = r.c.read("speed_kmh", be_u16)?;
        r.facts.report.speed_kmh = Some(f64::from(speed));
        r.number("power_v", 2, Meaning::PowerV(10.0))?;
    }
    let event = r.c.read("event", be_u8)?;
    let alarm = alarms::dash_cam(event);
    r.c.note(|| alarm.map_or("", crate::event::Alarm::label));
    let report = &mut r.facts.report;
    alarm.into_iter().for_each(|alarm| report.alarms.insert(alarm));
    report.attributes.set("event", event);
    if r.c.remaining() >= 2 {
        r.number("event_data", 2, Meaning::Attribute)?;
    }
    let files = crate::parts::text::decode(r.c.take_rest("files"), Charset::Utf8);
    r.c.show(|| format!("{files:?}"));
    for file in files.split(',').filter(|f| !f.is_empty()) {
        r.facts.report.attributes.set("event_file", file.to_owned());
    }
    Ok(Content::Report(std::mem::take(&mut r.facts)))
}

fn photo_info(r: &mut Reader<'_, '_, '_>) -> Result<Content, Fault> {
    r.read_only(&[Part::Time])?;
    r.c.read("fix_status", be_u8)?;
    let (latitude, longitude) = r.coordinates()?;
    let attributes = &mut r.facts.report.attributes;
    attributes.set("latitude_raw", latitude);
    attributes.set("longitude_raw", longitude);
    let camera = r.c.read("camera", be_u8)?;
    let source = r.c.read("source", be_u8)?;
    let format = r.c.read("format", be_u8)?;
    let size = r.c.read("size_bytes", be_u32)?;
    let id = r.c.read("photo_id", be_u32)?;
    let facts = std::mem::take(&mut r.facts);
    Ok(Content::PhotoInfo(Box::new(PhotoInfo { facts, camera, source, format, size, id })))
}

/// Photo id, offset, size, bytes. Jimi units use the type for a status, which does not add up to that.
fn photo_part<'f>(head: &Head<'f>, r: &mut Reader<'f, '_, '_>) -> Result<(Content, &'f [u8]), Fault> {
    /// Before the bytes.
    const HEAD: usize = 10;
    let said = head.body.get(HEAD - 2..HEAD).map_or(0, |s| s.iter().fold(0, |n, b| n << 8 | usize::from(*b)));
    if head.body.len() != HEAD + said {
        r.read(head.row.parts, head.row.more)?;
        return Ok((Content::Report(std::mem::take(&mut r.facts)), &[]));
    }
    let id = r.c.read("photo_id", be_u32)?;
    let offset = r.c.read("offset", be_u32)?;
    r.c.read("size_bytes", be_u16)?;
    Ok((Content::PhotoPart { id, offset }, r.c.take_rest("photo")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_zone_words() {
        let offset = |word| time_zone(word).map(|z| z.offset_s);
        assert_eq!(offset(0x3200), Some(8 * 3600));
        assert_eq!(offset(0x3201), Some(8 * 3600));
        assert_eq!(offset(0x4DD8), Some(-(12 * 3600 + 45 * 60)));
        assert_eq!(offset(0x0000), Some(0));
        assert_eq!(offset(0xFFFF), None);
    }
}
