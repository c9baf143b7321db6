//! Messages of terminals in the protocol's own words.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::Context;
use super::header::{Edition, Header};
use super::layout::{Kind, field};
use super::layouts;
use super::{driver, header, layout, lock, parameters, passthrough, position};
use crate::cursor::Cursor;
use crate::event::{Attributes, Content as Carried, Data, DataKind, Driver, Report, Value};
use crate::fault::{Fault, FaultKind};
use crate::parts::text;

/// Ids that the session treats by name; everything else goes through the tables.
pub(super) mod id {
    pub(in super::super) const ANSWER: u16 = 0x0001;
    pub(in super::super) const HEARTBEAT: u16 = 0x0002;
    pub(in super::super) const UNREGISTER: u16 = 0x0003;
    pub(in super::super) const TIME: u16 = 0x0004;
    pub(in super::super) const PACKETS_AGAIN: u16 = 0x0005;
    pub(in super::super) const REGISTER: u16 = 0x0100;
    pub(in super::super) const AUTHENTICATE: u16 = 0x0102;
    pub(in super::super) const PARAMETERS: u16 = 0x0104;
    /// Of trackers: asks for the time, answered by 0x8109.
    pub(in super::super) const CLOCK: u16 = 0x0109;
    pub(in super::super) const LOCATION: u16 = 0x0200;
    pub(in super::super) const LOCATION_ANSWER: u16 = 0x0201;
    /// Of trackers: a batch with short lengths, or battery and time.
    pub(in super::super) const SHORT_BATCH: u16 = 0x0210;
    pub(in super::super) const EVENT: u16 = 0x0301;
    pub(in super::super) const QUESTION_ANSWER: u16 = 0x0302;
    pub(in super::super) const MENU_CHOICE: u16 = 0x0303;
    pub(in super::super) const CONTROL_ANSWER: u16 = 0x0500;
    /// Of CC888: a heartbeat.
    pub(in super::super) const TRACKER_HEARTBEAT: u16 = 0x0506;
    pub(in super::super) const AREAS: u16 = 0x0608;
    pub(in super::super) const WAYBILL: u16 = 0x0701;
    pub(in super::super) const DRIVER: u16 = 0x0702;
    pub(in super::super) const BATCH: u16 = 0x0704;
    pub(in super::super) const MEDIA: u16 = 0x0801;
    pub(in super::super) const STORED_MEDIA: u16 = 0x0802;
    pub(in super::super) const PHOTO_ANSWER: u16 = 0x0805;
    pub(in super::super) const PASSTHROUGH: u16 = 0x0900;
    pub(in super::super) const COMPRESSED: u16 = 0x0901;
    /// Of trackers: a command's answer as UTF-16.
    pub(in super::super) const COMMAND_TEXT: u16 = 0x1300;
    pub(in super::super) const LOCK: u16 = 0x5501;
    pub(in super::super) const LOCK_WITHOUT_FIX: u16 = 0x5502;
    /// Of trackers: text.
    pub(in super::super) const DEVICE_TEXT: u16 = 0x6006;
}

/// Answers to messages of ours: answering them would never end.
pub(super) const ANSWERS: [u16; 8] = [
    id::ANSWER,
    id::PARAMETERS,
    id::LOCATION_ANSWER,
    id::CONTROL_ANSWER,
    id::AREAS,
    id::STORED_MEDIA,
    id::PHOTO_ANSWER,
    id::COMMAND_TEXT,
];

/// What was cut from the stream.
#[derive(Debug)]
pub(super) enum Incoming<'f> {
    /// `( … )`.
    Sentence(&'f [u8]),
    /// Everything else.
    Message(Message<'f>),
}

/// A message.
#[derive(Debug)]
pub(super) struct Message<'f> {
    pub(super) header: Header,
    /// As received, without header and check byte.
    pub(super) body: &'f [u8],
    pub(super) told: Told<'f>,
}

/// A body and what goes with it.
#[derive(Debug)]
pub(super) struct Told<'f> {
    pub(super) content: Content<'f>,
    /// Whether the body holds a time of the device, so that a repeat over another connection is known as one.
    pub(super) dated: bool,
    /// Whether the terminal waits for 0x8001.
    pub(super) acknowledged: bool,
}

/// What bodies say.
#[derive(Debug)]
pub(super) enum Content<'f> {
    /// A packet of a split message.
    Packet,
    /// A request for packets of ours.
    Answer,
    /// 0x0001: what it answers, and how that went.
    Receipt {
        serial: u16,
        message: u16,
        result: u8,
    },
    /// With what some trackers put into it.
    Heartbeat(Option<Box<Report>>),
    Unregister,
    TimeRequest,
    ClockRequest,
    Register(Box<Registration>),
    /// The code.
    Authenticate(String),
    Position(Box<Report>),
    Batch(Box<Batch<'f>>),
    Status(Box<Report>),
    Alarm(Box<Report>),
    Driver(Box<Driver>),
    Data(Box<Data>),
    /// A description, and the bytes it is about.
    Bytes(Box<Data>, &'f [u8]),
    Media(Box<Media<'f>>),
}

/// 0x0100.
#[derive(Debug)]
pub(super) struct Registration {
    pub(super) values: Attributes,
    pub(super) model: String,
    pub(super) edition: Edition,
}

/// 0x0704, 0x0210.
#[derive(Debug, Default)]
pub(super) struct Batch<'f> {
    /// Each with the bytes that it is, the body of a 0x0200.
    pub(super) items: Vec<(Box<Report>, &'f [u8])>,
    /// What could not be read.
    pub(super) unread: Vec<&'f [u8]>,
    /// Stored by the terminal while out of coverage.
    pub(super) archived: bool,
    /// Whether the declared count is that of the items.
    pub(super) count_fits: bool,
}

/// 0x0801.
#[derive(Debug)]
pub(super) struct Media<'f> {
    pub(super) id: u32,
    pub(super) data: Data,
    pub(super) bytes: &'f [u8],
    /// The edition of 2011 numbers its parts itself; all but the last are acknowledged like any message.
    pub(super) is_last: bool,
}

/// Read a body.
pub(super) fn read<'f>(header: &Header, c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let told = content(header, c, context)?;
    let asked = !header::is_lock_report(header.message) || header.wants_answer;
    Ok(Told { acknowledged: asked && !ANSWERS.contains(&header.message), ..told })
}

fn content<'f>(header: &Header, c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    if header.encrypted {
        // no key was ever agreed on; somebody else may have it
        let mut data = unknown(header.message);
        data.attributes.set("encryption", "rsa");
        return Ok(undated(Content::Bytes(Box::new(data), c.take_rest("encrypted"))));
    }
    Ok(match header.message {
        id::LOCATION => position_at(position::read_with_items(c, context)?),
        id::BATCH | id::SHORT_BATCH if header.message == id::BATCH || c.remaining() != 7 => {
            undated(Content::Batch(Box::new(batch(header.message, c, context)?)))
        }
        id::SHORT_BATCH => {
            let mut report = Report { battery_percent: Some(c.read("battery_percent", be_u8)?.into()), ..Report::default() };
            position::set_time(c.bytes("time", 6)?, &mut report, context);
            Told { dated: report.time.is_some(), ..undated(Content::Status(Box::new(report))) }
        }
        id::LOCATION_ANSWER | id::CONTROL_ANSWER => answered_position(c, context)?,
        id::LOCK | id::LOCK_WITHOUT_FIX => position_at(lock::read(header.message, c, context)?),
        id::ANSWER => {
            let serial = c.read("answers_serial", be_u16)?;
            let message = c.read("answers_message", be_u16)?;
            c.show(|| format!("0x{message:04x}"));
            let result = c.read("result", be_u8)?;
            c.note(|| RESULTS.get(usize::from(result)).copied().unwrap_or("unknown"));
            undated(Content::Receipt { serial, message, result })
        }
        id::HEARTBEAT | id::TRACKER_HEARTBEAT => undated(Content::Heartbeat(heartbeat(c)?)),
        id::UNREGISTER => undated(Content::Unregister),
        id::TIME => undated(Content::TimeRequest),
        id::CLOCK => undated(Content::ClockRequest),
        id::PACKETS_AGAIN => {
            c.take_rest("packets");
            undated(Content::Answer)
        }
        id::REGISTER => undated(Content::Register(Box::new(registration(header, c, context)?))),
        id::AUTHENTICATE => undated(Content::Authenticate(code(header, c, context)?)),
        id::PARAMETERS => {
            let size = c.remaining();
            let mut data = Data::values(DataKind::Parameters, parameters::read(c, context)?, size);
            data.attributes.set("message", "parameters");
            undated(Content::Data(Box::new(data)))
        }
        id::DRIVER => {
            let (driver, dated) = driver::identity(c, context)?;
            Told { dated, ..undated(Content::Driver(driver)) }
        }
        id::MEDIA => media(c, context)?,
        id::PASSTHROUGH => {
            let (content, dated) = passthrough::read(c, context)?;
            Told { dated, ..undated(content) }
        }
        id::COMPRESSED => {
            c.read("compressed_bytes", be_u32)?;
            let mut data = Data::bytes(DataKind::Unknown, "application/gzip");
            data.attributes.set("message", "compressed");
            undated(Content::Bytes(Box::new(data), c.take_rest("gzip")))
        }
        id::WAYBILL => waybill(c, context)?,
        id::COMMAND_TEXT => {
            let answers = c.read("answers_serial", be_u16)?;
            let mut data = Data::text(DataKind::Text, text::decode_utf16be(c.take_rest("text")));
            data.attributes.set("message", "command_text");
            data.attributes.set("answers_serial", answers);
            undated(Content::Data(Box::new(data)))
        }
        id::DEVICE_TEXT => {
            let encoding = c.read("encoding", be_u8)?;
            let mut data = Data::text(DataKind::Text, text::decode(c.take_rest("text"), context.charset));
            data.attributes.set("message", "device_text");
            data.attributes.set("encoding", encoding);
            undated(Content::Data(Box::new(data)))
        }
        message => by_table(message, c, context)?,
    })
}

/// Results of 0x0001.
static RESULTS: [&str; 5] = ["done", "failed", "faulty", "unsupported", "alarm_handled"];

/// A receipt as named values, for one that nobody waited for.
pub(super) fn receipt(serial: u16, message: u16, result: u8) -> Attributes {
    let mut values = Attributes::default();
    values.set("message", "general_answer");
    values.set("answers_serial", serial);
    values.set("answers_message", format!("0x{message:04x}"));
    values.set("result", RESULTS.get(usize::from(result)).map_or_else(|| Value::from(result), |word| Value::from(*word)));
    values
}

fn undated(content: Content<'_>) -> Told<'_> {
    Told { content, dated: false, acknowledged: true }
}

fn position_at<'f>(report: Box<Report>) -> Told<'f> {
    Told { dated: report.time.is_some(), ..undated(Content::Position(report)) }
}

/// A description of bytes that no table knows.
pub(super) fn unknown(message: u16) -> Data {
    let mut data = Data::bytes(DataKind::Unknown, "application/octet-stream");
    data.attributes.set("message", format!("0x{message:04x}"));
    data
}

fn by_table<'f>(message: u16, c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let Some(layout) = layouts::find(message, context.edition) else {
        return Ok(undated(Content::Bytes(Box::new(unknown(message)), c.take_rest("body"))));
    };
    let size = c.remaining();
    let read = layout::read(layout.fields, layout.required, c, context)?;
    let mut data = Data::values(layout.kind, read.values, size);
    data.attributes.set("message", layout.name);
    Ok(Told { dated: read.dated, ..undated(Content::Data(Box::new(data))) })
}

/// 0x0201, 0x0500: the serial number of the request, then a 0x0200. The serial number is missing in a table of 2011.
fn answered_position<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let without_serial = context.edition == Edition::V2011 && c.remaining() == position::LENGTH;
    let answers = if without_serial { None } else { Some(c.read("answers_serial", be_u16)?) };
    let mut report = position::read_with_items(c, context)?;
    if let Some(serial) = answers {
        report.attributes.set("answers_serial", serial);
    }
    Ok(position_at(report))
}

/// Empty, or with battery, signal and status.
fn heartbeat(c: &mut Cursor<'_, '_>) -> Result<Option<Box<Report>>, Fault> {
    if c.remaining() < 3 {
        c.take_rest("rest");
        return Ok(None);
    }
    let mut report = Report { battery_percent: Some(c.read("battery_percent", be_u8)?.into()), ..Report::default() };
    report.rssi = Some(c.read("rssi", be_u8)?.into());
    report.attributes.set("status", c.read("status", be_u8)?);
    if c.remaining() > 0 {
        report.attributes.set("rest", crate::cursor::hex(c.take_rest("rest")));
    }
    Ok(Some(Box::new(report)))
}

/// Widths of maker, model and terminal id by edition. The header says 2019; between 2011 and 2013 the length decides: a
/// body of 2011 would need a plate of twelve bytes to be as long as the shortest of 2013.
fn registration(header: &Header, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Registration, Fault> {
    let (edition, [maker, model, terminal]) = match (header.peer.version, c.remaining()) {
        (Some(_), 76..) => (Edition::V2019, [11, 30, 30]),
        (_, 37..) => (Edition::V2013, [5, 20, 7]),
        _ => (Edition::V2011, [5, 8, 7]),
    };
    let fields = [
        layout::u16("province"),
        layout::u16("city"),
        field("maker", Kind::Text(maker)),
        field("model", Kind::Text(model)),
        field("terminal_id", Kind::Text(terminal)),
        layout::u8("plate_colour"),
        field("plate", Kind::TextRest),
    ];
    let values = layout::read(&fields, fields.len() - 1, c, context)?.values;
    let model = match values.get("model") {
        Some(Value::Text(model)) => model.clone().into_owned(),
        _ => String::new(),
    };
    Ok(Registration { values, model, edition })
}

/// The whole body; since 2019 behind a length and before IMEI and software version.
fn code(header: &Header, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<String, Fault> {
    let counted = header.peer.version.is_some() && c.rest().first().is_some_and(|n| usize::from(*n) < c.remaining());
    let length = if counted { c.read("code_length", be_u8)?.into() } else { c.remaining() };
    let code = text::decode(c.bytes("code", length)?, context.charset);
    if c.remaining() >= 15 {
        c.bytes("imei", 15)?;
    }
    c.take_rest("software_version");
    Ok(code)
}

fn batch<'f>(message: u16, c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Batch<'f>, Fault> {
    let mut batch = Batch { count_fits: true, ..Batch::default() };
    let mut count = None;
    if message == id::BATCH {
        count = Some(c.read("count", be_u16)?);
        let kind = c.read("kind", be_u8)?;
        c.note(|| if kind == 0 { "ordinary" } else { "stored while out of coverage" });
        batch.archived = kind != 0;
    }
    let wide = message == id::BATCH;
    while c.remaining() > usize::from(wide) {
        let length = if wide { c.read("item_length", be_u16)?.into() } else { usize::from(c.read("item_length", be_u8)?) };
        let body = c.rest();
        let Some(body) = body.get(..length) else {
            batch.unread.push(c.take_rest("unread"));
            break;
        };
        let mut inner = c.sub("item", length)?;
        match position::read_with_items(&mut inner, context) {
            Ok(report) => batch.items.push((report, body)),
            Err(_) => batch.unread.push(body),
        }
    }
    if c.remaining() > 0 {
        batch.unread.push(c.take_rest("unread"));
    }
    if batch.items.is_empty() {
        return Err(c.fault_here(FaultKind::Truncated, "a batch without a position that can be read"));
    }
    batch.count_fits = count.is_none_or(|n| usize::from(n) == batch.items.len()) && batch.unread.is_empty();
    Ok(batch)
}

/// Media types by the format byte.
static TYPES: [&str; 5] = ["image/jpeg", "image/tiff", "audio/mpeg", "audio/wav", "video/x-ms-wmv"];

fn media<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let media = c.read("media_id", be_u32)?;
    let (kind, format) = (c.read("kind", be_u8)?, c.read("format", be_u8)?);
    let (event, channel) = (c.read("event", be_u8)?, c.read("channel", be_u8)?);
    let kind = match kind {
        0 => DataKind::Photo,
        1 => DataKind::Audio,
        2 => DataKind::Video,
        _ => DataKind::Unknown,
    };
    let mut data = Data::bytes(kind, TYPES.get(usize::from(format)).copied().unwrap_or("application/octet-stream"));
    data.name = Some(media.to_string());
    data.channel = Some(channel.into());
    let word = layouts::MEDIA_EVENTS.iter().find(|(n, _)| *n == event);
    data.attributes.set("event", word.map_or_else(|| Value::from(event), |(_, word)| Value::from(*word)));
    let mut is_last = true;
    let mut dated = false;
    if context.edition == Edition::V2011 {
        let (total, number) = (c.read("packets", be_u32)?, c.read("packet_number", be_u32)?);
        is_last = number >= total;
        if total > 1 {
            (data.part, data.parts) = (Some(number), Some(total));
        }
    } else {
        let report = position::read(c, context)?;
        dated = report.time.is_some();
        data.time = report.time;
        data.attributes.set("position", position::as_values(&report));
    }
    let bytes = c.take_rest("data");
    Ok(Told { dated, ..undated(Content::Media(Box::new(Media { id: media, data, bytes, is_last }))) })
}

/// Text behind a length, or bytes if it is none: trackers answer commands with it, the standard leaves the form open.
fn waybill<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    c.read("length", be_u32)?;
    let bytes = c.take_rest("data");
    let said = text::decode(bytes, context.charset);
    let is_text = !said.is_empty() && !said.contains(|ch: char| ch == '\u{FFFD}' || ch.is_control() && !ch.is_whitespace());
    let data =
        if is_text { Data::text(DataKind::Text, said) } else { Data::bytes(DataKind::Passthrough, "application/octet-stream") };
    let mut data = Box::new(data);
    data.attributes.set("message", "waybill");
    Ok(undated(match data.content {
        Carried::Text(_) => Content::Data(data),
        _ => Content::Bytes(data, bytes),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    fn header(message: u16, version: Option<u8>) -> Header {
        let attributes: u16 = if version.is_some() { 0x4000 } else { 0 };
        let mut bytes = [message.to_be_bytes(), attributes.to_be_bytes()].concat();
        bytes.extend(version);
        bytes.extend(std::iter::repeat_n(0x11, if version.is_some() { 10 } else { 6 }));
        bytes.extend([0, 1]);
        header::read(&mut Cursor::new(&bytes, 0, None), 0).unwrap()
    }

    fn told(header: Header, edition: Edition, body: &[u8]) -> Result<Told<'_>, Fault> {
        let profile = Profile::default();
        read(&header, &mut Cursor::new(body, 0, None), &Context::new(edition, &profile))
    }

    #[test]
    fn a_registration_shows_its_edition() {
        let registration = |version, length: usize| {
            let body = vec![b'A'; length];
            match told(header(id::REGISTER, version), Edition::V2013, &body).unwrap().content {
                Content::Register(r) => (r.edition, r.model.len()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(registration(None, 33), (Edition::V2011, 8));
        assert_eq!(registration(None, 45), (Edition::V2013, 20));
        assert_eq!(registration(Some(1), 84), (Edition::V2019, 30));
        assert!(told(header(id::REGISTER, None), Edition::V2013, &[0; 20]).is_err());
    }

    #[test]
    fn the_code_stands_behind_its_length_since_2019() {
        let code = |version, body: &[u8]| match told(header(id::AUTHENTICATE, version), Edition::V2013, body).unwrap().content {
            Content::Authenticate(code) => code,
            other => panic!("{other:?}"),
        };
        assert_eq!(code(None, b"secret\0"), "secret");
        assert_eq!(code(Some(1), b"\x06secret861200000000012V1.2\0\0"), "secret");
        assert_eq!(code(Some(1), b"secret"), "secret"); // 2013's form under a header of 2019
    }

    #[test]
    fn answers_are_never_answered() {
        for message in ANSWERS {
            let body = b"\0\x01\x03\0\0\0\0\0";
            let acknowledged = told(header(message, None), Edition::V2013, body).is_ok_and(|t| t.acknowledged);
            assert!(!acknowledged, "{message:04x}");
        }
    }

    #[test]
    fn a_batch_keeps_what_it_cannot_read() {
        let position = [0; position::LENGTH];
        let body = [b"\0\x02\x01\0\x1c", &position[..], b"\0\x01x\0\x09cut"].concat();
        let Content::Batch(batch) = told(header(id::BATCH, None), Edition::V2013, &body).unwrap().content else { panic!() };
        assert_eq!((batch.items.len(), batch.unread.as_slice()), (1, &[&b"x"[..], b"cut"][..]));
        assert!(batch.archived && !batch.count_fits);
        assert!(told(header(id::BATCH, None), Edition::V2013, b"\0\x01\0\0\x01x").is_err());
    }

    #[test]
    fn a_waybill_is_text_or_bytes() {
        let waybill = |body| told(header(id::WAYBILL, None), Edition::V2013, body).unwrap().content;
        assert!(matches!(waybill(b"\0\0\0\x02ok"), Content::Data(_)));
        assert!(matches!(waybill(b"\0\0\0\x02\x01\x02"), Content::Bytes(_, b"\x01\x02")));
    }

    #[test]
    fn no_body_panics() {
        let known = crate::jt808::MESSAGES.iter().filter_map(|(n, _)| u16::from_str_radix(n.trim_start_matches("0x"), 16).ok());
        for message in known.chain([0x0F12, 0xFFFF]) {
            for body in [&b""[..], b"\x01", b"\x00\x01\x02\x03\x04\x05\x06", &[0xFF; 64]] {
                for edition in [Edition::V2011, Edition::V2013, Edition::V2019] {
                    let _ = told(header(message, None), edition, body);
                }
            }
        }
    }
}
