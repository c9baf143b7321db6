//! Pictures and recordings, uploaded in pieces that the terminal cuts itself.
//!
//! Each piece is acknowledged before the next one comes, so each is stored by itself, as a part of one `name`. The bytes
//! begin with a position, which is part of the count of bytes.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::Context;
use super::message::{Content, Told, undated};
use super::position;
use crate::cursor::Cursor;
use crate::event::{Attributes, Content as Carried, Data, DataKind, Value};
use crate::fault::Fault;
use crate::parts::report::as_values;

/// Pieces of a picture or recording whose size was never seen are taken for the largest that the standard advises.
const ADVISED_PIECE: u32 = 512;

/// How many uploads of one terminal are remembered at once; two cameras and a recorder send at most.
const REMEMBERED: usize = 4;

static JPEG: &[u8] = &[0xFF, 0xD8];

/// A piece.
#[derive(Debug)]
pub(super) struct Media<'f> {
    /// 0x0800 or 0x0806: each counts its files itself.
    pub(super) message: u16,
    pub(super) id: u32,
    /// Of everything, as the terminal counts.
    pub(super) total: u32,
    /// Of this piece, as the terminal counts.
    pub(super) offset: u32,
    /// Length of this piece, as the terminal counts.
    length: u32,
    pub(super) data: Data,
    pub(super) bytes: &'f [u8],
}

/// 0x0800.
pub(super) fn picture<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    let reason = c.read("reason", be_u16)?;
    c.note(|| if reason == 0 { "searched or sent for" } else { "serial of the order to take it" });
    let id = c.read("picture_id", be_u32)?;
    let camera = c.read("camera", be_u8)?;
    let total = c.read("total_bytes", be_u32)?;
    let offset = c.read("offset_bytes", be_u32)?;
    let length = c.remaining();
    let mut data = Data::bytes(DataKind::Photo, "image/jpeg");
    data.name = Some(id.to_string());
    data.channel = Some(camera.into());
    if reason != 0 {
        data.attributes.set("answers_serial", reason);
    }
    if offset == 0 && length >= position::LENGTH && !c.rest().starts_with(JPEG) {
        let place = position::read(c, context)?;
        data.time = place.time;
        data.attributes.set("position", as_values(&place));
    }
    let bytes = c.take_rest("picture");
    let dated = data.time.is_some();
    let length = u32::try_from(length).unwrap_or(u32::MAX);
    let media = Media { message: super::message::id::PICTURE, id, total, offset, length, data, bytes };
    Ok(Told { content: Content::Media(Box::new(media)), dated })
}

/// 0x0806. Whether it is audio or video was said by the message that asked for it, and by the first bytes of most files.
pub(super) fn recording<'f>(c: &mut Cursor<'f, '_>) -> Result<Told<'f>, Fault> {
    let answers = c.read("answers_serial", be_u16)?;
    let id = c.read("file_id", be_u32)?;
    let total = c.read("total_bytes", be_u32)?;
    let offset = c.read("offset_bytes", be_u32)?;
    let length = u32::try_from(c.remaining()).unwrap_or(u32::MAX);
    let bytes = c.take_rest("recording");
    let (kind, content_type) = if offset == 0 { recognise(bytes) } else { PLAIN };
    let mut data = Data::bytes(kind, content_type);
    data.name = Some(id.to_string());
    data.attributes.set("answers_serial", answers);
    let media = Media { message: super::message::id::RECORDING, id, total, offset, length, data, bytes };
    Ok(undated(Content::Media(Box::new(media))))
}

type Type = (DataKind, &'static str);

/// The standard's own recordings are of sound.
const PLAIN: Type = (DataKind::Audio, "application/octet-stream");

fn recognise(bytes: &[u8]) -> Type {
    match bytes {
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'A', b'V', b'E', ..] => (DataKind::Audio, "audio/wav"),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'A', b'V', b'I', b' ', ..] => (DataKind::Video, "video/x-msvideo"),
        [b'#', b'!', b'A', b'M', b'R', ..] => (DataKind::Audio, "audio/amr"),
        [b'I', b'D', b'3', ..] | [0xFF, 0xFA | 0xFB | 0xF2 | 0xF3, ..] => (DataKind::Audio, "audio/mpeg"),
        [_, _, _, _, b'f', b't', b'y', b'p', ..] => (DataKind::Video, "video/mp4"),
        [0, 0, 0, 1, ..] => (DataKind::Video, "video/h264"),
        _ => PLAIN,
    }
}

/// 0x0802 and 0x0805: ids of what is stored, in pieces by offset.
pub(super) fn stored(c: &mut Cursor<'_, '_>) -> Result<Attributes, Fault> {
    let mut values = Attributes::default();
    values.set("answers_serial", c.read("answers_serial", be_u16)?);
    values.set("total_bytes", c.read("total_bytes", be_u32)?);
    values.set("offset_bytes", c.read("offset_bytes", be_u32)?);
    let mut ids = Vec::with_capacity(c.remaining() / 4);
    while c.remaining() >= 4 {
        ids.push(Value::from(c.read("file_id", be_u32)?));
    }
    values.set("file_ids", Value::List(ids));
    super::message::rest(c, &mut values);
    Ok(values)
}

/// What the first piece said about the others.
#[derive(Debug, Clone)]
struct Upload {
    message: u16,
    id: u32,
    /// Length of a piece that is not the last.
    piece: Option<u32>,
    /// Bytes before the content.
    before: u32,
    kind: Type,
}

/// The uploads of a connection.
#[derive(Debug, Default)]
pub(super) struct Uploads {
    known: [Option<Upload>; REMEMBERED],
    next: usize,
}

impl Uploads {
    /// Say which part a piece is; `None` if it is the whole. The piece then knows the size of the whole content.
    pub(super) fn place(&mut self, media: &mut Media<'_>) -> Option<(u32, u32)> {
        let before = media.length - media.bytes.len() as u32; // what was read of a piece was not more than the piece
        let first = media.offset == 0;
        if first && media.length >= media.total {
            media.data.size_bytes = media.bytes.len();
            return None;
        }
        let upload = self.known(media, before);
        if first {
            (upload.before, upload.kind) = (before, (media.data.kind, static_type(&media.data)));
        } else {
            let (kind, content_type) = upload.kind;
            (media.data.kind, media.data.content_type) = (kind, content_type.into());
        }
        if u64::from(media.offset) + u64::from(media.length) < u64::from(media.total) && media.length > 0 {
            upload.piece = Some(media.length);
        }
        let piece = upload.piece.unwrap_or(ADVISED_PIECE);
        media.data.size_bytes = media.total.saturating_sub(upload.before) as usize;
        media.data.attributes.set("offset_bytes", media.offset.saturating_sub(upload.before));
        let part = media.offset / piece + 1;
        Some((part, media.total.div_ceil(piece).max(part)))
    }

    fn known(&mut self, media: &Media<'_>, before: u32) -> &mut Upload {
        let same = |u: &Option<Upload>| u.as_ref().is_some_and(|u| (u.message, u.id) == (media.message, media.id));
        let at = self.known.iter().position(same).unwrap_or_else(|| {
            let next = self.next;
            self.next = (next + 1) % REMEMBERED;
            if let Some(slot) = self.known.get_mut(next) {
                *slot = None;
            }
            next
        });
        let picture = media.message == super::message::id::PICTURE;
        let fresh = || Upload {
            message: media.message,
            id: media.id,
            piece: None,
            // of a picture whose beginning was not seen, the standard's word is taken
            before: if picture && media.offset > 0 { position::LENGTH as u32 } else { before },
            kind: (media.data.kind, static_type(&media.data)),
        };
        // the index is of this array; the first slot stands for an index that cannot be
        let at = if at < REMEMBERED { at } else { 0 };
        self.known[at].get_or_insert_with(fresh)
    }
}

fn static_type(data: &Data) -> &'static str {
    match &data.content_type {
        std::borrow::Cow::Borrowed(text) => text,
        std::borrow::Cow::Owned(_) => PLAIN.1,
    }
}

impl Media<'_> {
    /// The piece as a part.
    pub(super) fn into_part(self, (part, parts): (u32, u32)) -> Data {
        Data { part: Some(part), parts: Some(parts), content: Carried::Base64(self.bytes.to_vec()), ..self.data }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::Profile;

    const HEAD: &[u8] = b"\x00\x07\x00\x00\x00\x4d\x01";
    const PLACE: &[u8] = b"\0\0\0\0\0\0\x01\0\x01\x6d\x55\0\x04\x29\xbc\xe8\0\0\0\x26\x03\x01\x18\x00\x00";

    fn packet(total: u32, offset: u32, bytes: &[u8]) -> Vec<u8> {
        [HEAD, &total.to_be_bytes(), &offset.to_be_bytes(), bytes].concat()
    }

    fn media(body: &[u8]) -> Box<Media<'_>> {
        match picture(&mut Cursor::new(body, 0, None), &Context::new(&Profile::default())).unwrap().content {
            Content::Media(media) => media,
            other => panic!("{other:?}"),
        }
    }

    fn part(uploads: &mut Uploads, body: &[u8]) -> (Option<(u32, u32)>, usize, Option<i64>) {
        let mut media = media(body);
        let place = uploads.place(&mut media);
        let offset = match media.data.attributes.get("offset_bytes") {
            Some(Value::Int(n)) => Some(*n),
            _ => None,
        };
        (place, media.data.size_bytes, offset)
    }

    #[test]
    fn accepts_a_whole_picture() {
        let body = packet(27, 0, &[PLACE, JPEG].concat());
        let mut media = media(&body);
        assert_eq!((media.bytes, Uploads::default().place(&mut media)), (JPEG, None));
        assert_eq!((media.data.name.as_deref(), media.data.channel, media.data.size_bytes), (Some("77"), Some(1), 2));
        assert_eq!(media.data.time.unwrap().to_string(), "2026-03-01T10:00:00.000Z");
    }

    #[test]
    fn accepts_pieces_and_counts_them() {
        let mut uploads = Uploads::default();
        let first = [PLACE, JPEG, &[1; 73]].concat();
        assert_eq!(part(&mut uploads, &packet(250, 0, &first)), (Some((1, 3)), 225, Some(0)));
        assert_eq!(part(&mut uploads, &packet(250, 100, &[2; 100])), (Some((2, 3)), 225, Some(75)));
        assert_eq!(part(&mut uploads, &packet(250, 200, &[3; 50])), (Some((3, 3)), 225, Some(175)));
    }

    #[test]
    fn a_piece_without_its_beginning_still_has_a_place() {
        assert_eq!(part(&mut Uploads::default(), &packet(1050, 1024, &[3; 26])), (Some((3, 3)), 1025, Some(999)));
    }

    #[test]
    fn memory_of_uploads_is_bounded() {
        let mut uploads = Uploads::default();
        for id in 0..20_u32 {
            let mut body = packet(100, 50, &[1; 10]);
            body[2..6].copy_from_slice(&id.to_be_bytes());
            assert_eq!(part(&mut uploads, &body).0, Some((6, 10)));
        }
        assert_eq!(uploads.known.iter().flatten().count(), REMEMBERED);
    }

    #[test]
    fn recordings_are_told_by_their_first_bytes() {
        let body = |offset: u32, bytes: &[u8]| {
            [&b"\x00\x07\x00\x00\x00\x4e"[..], &100_u32.to_be_bytes(), &offset.to_be_bytes(), bytes].concat()
        };
        let mut uploads = Uploads::default();
        for (offset, bytes) in [(0, &b"\0\0\0\x18ftypmp42"[..]), (12, b"more")] {
            let body = body(offset, bytes);
            let Content::Media(mut media) = recording(&mut Cursor::new(&body, 0, None)).unwrap().content else {
                panic!("a recording is media");
            };
            uploads.place(&mut media);
            assert_eq!((media.data.kind, media.data.content_type.as_ref()), (DataKind::Video, "video/mp4"), "{offset}");
        }
        assert_eq!(recognise(b"#!AMR\n").1, "audio/amr");
        assert_eq!(recognise(b"RIFF1234WAVE").1, "audio/wav");
        assert_eq!(recognise(b""), PLAIN);
    }

    #[test]
    fn refuses_a_piece_without_its_numbers() {
        let body = packet(250, 0, b"");
        for n in 0..body.len() {
            assert!(picture(&mut Cursor::new(&body[..n], 0, None), &Context::new(&Profile::default())).is_err());
        }
    }

    #[test]
    fn lists_keep_what_is_no_id() {
        let values = stored(&mut Cursor::new(b"\0\x05\0\0\0\x08\0\0\0\0\0\0\0\x01\0\0\0\x02\xab", 0, None)).unwrap();
        let expected =
            serde_json::json!({"answers_serial": 5, "total_bytes": 8, "offset_bytes": 0, "file_ids": [1, 2], "rest": "ab"});
        assert_eq!(serde_json::to_value(values).unwrap(), expected);
    }
}
