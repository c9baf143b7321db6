//! From a frame to a message.

use crate::cursor::{Cursor, Trace};
use crate::event::{Data, DataKind, Report};
use crate::fault::{Fault, FaultKind};
use crate::h02::binary;
use crate::h02::commands;
use crate::h02::dialect::Dialect;
use crate::h02::fields::{Fields, pairs};
use crate::h02::frame;
use crate::h02::identity::{Id, Maker};
use crate::h02::position;
use crate::identity::MessageType;
use crate::parts::text;
use crate::profile::{Charset, Profile, TimeZone};
use crate::wire::Frame;

/// A message.
#[derive(Debug)]
pub(super) struct Message<'f> {
    pub(super) head: Head<'f>,
    pub(super) content: Content<'f>,
}

/// What every frame says about itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Head<'f> {
    pub(super) form: u8,
    /// The two letters; of binary frames those that most makers use.
    pub(super) maker: Maker,
    /// Who sends it; empty where the frame does not say.
    pub(super) id: Id,
    /// The keyword; of a binary frame its mark.
    pub(super) word: &'f str,
    /// What stands behind the keyword or the id.
    pub(super) body: &'f [u8],
    /// Where the body starts in the frame.
    pub(super) at: usize,
    /// Bytes of the frame.
    pub(super) length: usize,
}

impl<'f> Head<'f> {
    /// The name for ids of events.
    pub(super) fn message_type(&self) -> MessageType<'f> {
        MessageType::Word(self.word)
    }
}

/// What a message says.
#[derive(Debug)]
pub(super) enum Content<'f> {
    /// That the device is there.
    Nothing,
    /// What it reports.
    Report(Facts),
    /// That it carried out a command: which, what it says about it, and perhaps where it is.
    Answer { command: &'f str, words: &'f [u8], facts: Facts },
    /// A key of the dispatch screen.
    Key { key: Key, facts: Facts },
    /// A text, e.g. the answer to one.
    Text(String),
    /// Bytes, described.
    Bytes(Box<Data>, &'f [u8]),
    /// A block of a picture.
    Picture { camera: u8, number: u8, block: &'f [u8] },
}

/// A report, whether it has a place, and whether its time is one.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) report: Report,
    pub(super) located: bool,
    /// The device says the day only.
    pub(super) day_only: bool,
}

/// Keys of the dispatch screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    /// OK.
    Ok,
    /// CLR.
    Clear,
    /// Another one; no document names it.
    Other(u16),
}

impl Key {
    pub(super) const OK: u16 = 18;
    pub(super) const CLEAR: u16 = 11;

    const fn of(code: u16) -> Self {
        match code {
            Self::OK => Self::Ok,
            Self::CLEAR => Self::Clear,
            other => Self::Other(other),
        }
    }
}

const BINARY: &str = "application/octet-stream";

/// Read what stands before the content.
///
/// # Errors
/// `Value` if the id is none, `Truncated` if there is no keyword.
pub(super) fn head<'f>(frame: &Frame<'f>, mut trace: Option<&mut Trace>) -> Result<Head<'f>, Fault> {
    let content = frame.content;
    let length = content.len();
    let mut c = Cursor::new(content, 0, trace.as_deref_mut());
    if matches!(frame.form, frame::TEXT | frame::OPEN_TEXT) {
        let end = length - usize::from(frame.form == frame::TEXT);
        let sentence = content.get(..end).unwrap_or_default();
        let mut c = Cursor::new(sentence, 0, trace);
        let maker = c.bytes("maker", 3)?;
        c.show(|| String::from_utf8_lossy(maker.get(1..).unwrap_or_default()).into_owned());
        let maker = Maker::of(maker.get(1..).unwrap_or_default());
        c.bytes("comma", 1)?;
        let mut f = Fields { c: &mut c };
        let id = Id::of(f.need("id")?).ok_or_else(|| Fault::new(FaultKind::Value, 4, "the id is none"))?;
        let word = f.next("word").unwrap_or_default();
        let word = str::from_utf8(word).map_err(|_| Fault::new(FaultKind::Value, c.offset(), "the keyword is no text"))?;
        let (body, at) = (c.rest(), c.offset());
        return Ok(Head { form: frame.form, maker, id, word, body, at, length });
    }
    c.bytes("mark", 1)?;
    let (word, id_bytes) = match frame.form {
        frame::MILEAGE => ("X", 0),
        frame::STORED => ("Y", 5),
        frame::PICTURE => ("P", 5),
        _ => ("$", frame::id_bytes(content)),
    };
    let id = if id_bytes == 0 { Id::NONE } else { Id::packed(c.bytes("id", id_bytes)?) };
    let (body, at) = (c.rest(), c.offset());
    Ok(Head { form: frame.form, maker: Maker::COMMON, id, word, body, at, length })
}

/// Read a message.
///
/// # Errors
/// What cannot be read.
pub(super) fn decode<'f>(frame: &Frame<'f>, profile: &Profile, mut trace: Option<&mut Trace>) -> Result<Message<'f>, Fault> {
    let head = head(frame, trace.as_deref_mut())?;
    if let Some(trace) = &mut trace {
        trace.title = title(head.word).map_or_else(|| head.word.to_owned(), |title| format!("{} {title}", head.word));
    }
    let mut c = Cursor::new(head.body, head.at, trace.as_deref_mut());
    let context = Context { dialect: Dialect::of(profile), offset_s: profile.time_zone.unwrap_or(TimeZone::UTC).offset_s, profile };
    let content = match frame.form {
        frame::TEXT | frame::OPEN_TEXT => sentence(&head, &mut c, &context)?,
        frame::PICTURE => picture(&mut c)?,
        _ => binary(&head, &mut c, &context)?,
    };
    if frame.form == frame::TEXT {
        Cursor::new(frame.content.get(head.length - 1..).unwrap_or_default(), head.length - 1, trace).take_rest("end");
    }
    Ok(Message { head, content })
}

/// What a reading depends on besides the bytes.
#[derive(Debug)]
pub(super) struct Context<'p> {
    pub(super) dialect: &'static Dialect,
    /// Of the device's clock from UTC.
    pub(super) offset_s: i32,
    pub(super) profile: &'p Profile,
}

fn title(word: &str) -> Option<&'static str> {
    super::MESSAGES.iter().find(|(known, _)| *known == word).map(|(_, title)| *title)
}

fn binary<'f>(head: &Head<'f>, c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let mileage = if head.form == frame::MILEAGE { Some(binary::mileage(c)?) } else { None };
    let (mut report, located) = binary::beginning(c, context.dialect, context.offset_s)?;
    let as_if_five = (head.length + 5).saturating_sub(head.at.max(6) - 1);
    binary::tail(c, as_if_five, &mut report)?;
    report.odometer_m = mileage.or(report.odometer_m);
    if head.form == frame::STORED {
        report.archived = Some(true);
    }
    Ok(Content::Report(Facts { report, located, day_only: false }))
}

fn picture<'f>(c: &mut Cursor<'f, '_>) -> Result<Content<'f>, Fault> {
    /// Between the id and the camera, and between that and the number of the block.
    const GAPS: (usize, usize) = (10, 14);
    c.bytes("unknown", GAPS.0)?;
    let camera = c.read("camera", nom::number::complete::be_u8)? / 0x80;
    c.bytes("unknown", GAPS.1)?;
    let number = c.read("block", nom::number::complete::be_u8)?;
    Ok(Content::Picture { camera, number, block: c.take_rest("picture") })
}

fn sentence<'f>(head: &Head<'f>, c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Content<'f>, Fault> {
    let charset = context.profile.charset.unwrap_or(Charset::Gbk);
    let mut f = Fields { c };
    match head.word {
        "" => Ok(Content::Nothing),
        // an empty keep-alive, or a place
        "V0" if head.body.is_empty() => Ok(Content::Nothing),
        "HTBT" => position::heartbeat(&mut f),
        "XT" => position::beat(&mut f),
        "LINK" => position::link(&mut f, context),
        "NBR" => position::neighbours(&mut f, context),
        "BASE" => position::base(&mut f, context),
        "BS" => position::bs(&mut f, context),
        "V3" if !position::is_place(&f) => position::v3(&mut f, context),
        "VP1" => position::vp1(&mut f, context),
        "V4" => position::answer(&mut f, context),
        commands::QUERY => {
            let words = f.c.take_rest("parameters");
            f.c.show(|| String::from_utf8_lossy(words).into_owned());
            Ok(Content::Answer { command: head.word, words, facts: Facts::default() })
        }
        "SMS" => {
            let bytes = f.c.take_rest("text");
            let words = text::decode(bytes, charset);
            f.c.show(|| format!("{words:?}"));
            Ok(Content::Text(words))
        }
        "I1" => screen(head, &mut f),
        "I5" => {
            let time = f.next("time").unwrap_or_default();
            let mut data = Data::bytes(DataKind::Passthrough, BINARY);
            data.attributes.set("time_of_day", String::from_utf8_lossy(time).into_owned());
            Ok(Content::Bytes(Box::new(data), f.c.take_rest("bytes")))
        }
        word if is_report(word) => position::place(&mut f, context),
        _ => Ok(unknown(head, f.c)),
    }
}

/// `V` and a number.
fn is_report(word: &str) -> bool {
    word.strip_prefix('V').is_some_and(|n| (1..=2).contains(&n.len()) && n.bytes().all(|b| b.is_ascii_digit()))
}

/// `time,…,2,key`. The fields between are documented nowhere, and documents count one more or less of them.
fn screen<'f>(head: &Head<'f>, f: &mut Fields<'f, '_, '_>) -> Result<Content<'f>, Fault> {
    /// What the field before the key says.
    const PRESSED: &[u8] = b"2";
    let mut last = [&[][..]; 2];
    for field in f.ahead() {
        last = [last[1], field];
    }
    let [before, key] = last;
    let Some(code) = crate::h02::fields::whole(key, 10).filter(|_| before == PRESSED) else {
        return Ok(unknown(head, f.c));
    };
    let mut facts = Facts::default();
    if let Some(time) = f.next("time").and_then(pairs) {
        position::time_of_day(time, &mut facts.report);
    }
    let rest = f.c.take_rest("unknown_and_key");
    f.c.show(|| String::from_utf8_lossy(rest).into_owned());
    Ok(Content::Key { key: Key::of(code), facts })
}

fn unknown<'f>(head: &Head<'f>, c: &mut Cursor<'f, '_>) -> Content<'f> {
    let mut data = Data::bytes(DataKind::Unknown, BINARY);
    data.attributes.set("message_type", head.word.to_owned());
    Content::Bytes(Box::new(data), c.take_rest("bytes"))
}
