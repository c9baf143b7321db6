//! Messages of the platform: one type each, written and read by the same declaration.
//!
//! `fields` says how fields are written and read, the other files hold the messages by concern. A message longer than a
//! packet leaves as several, each a [`Downlink`] of its own.

pub(super) mod answers;
mod areas;
pub(super) mod control;
pub(super) mod fields;
pub(super) mod media;
pub(super) mod screen;

use fields::{Counter, Field, Sink};

use super::context::Context;
use super::frame::{self, SENTENCE};
use super::header::{self, Edition, Packet, Peer};
use super::reply;
use crate::cursor::{Cursor, Field as Shown, Trace};
use crate::desk::Key;
use crate::fault::{Fault, FaultKind};
use crate::profile::Profile;
use crate::wire::{Checksum, Cut};

/// Declares the messages by id.
macro_rules! messages {
    ($($id:literal $name:ident($body:ty) = $title:literal,)+) => {
        /// What the platform says.
        #[derive(Debug, Clone, PartialEq)]
        pub(super) enum Message {
            $(#[doc = $title] $name($body),)+
            /// A packet of a split message, or a message that has no type here.
            Other(u16, Vec<u8>),
        }

        impl Message {
            /// The message id.
            pub(super) const fn id(&self) -> u16 {
                match self {
                    $(Self::$name(_) => $id,)+
                    Self::Other(id, _) => *id,
                }
            }

            fn put(&self, out: &mut impl Sink, edition: Edition) {
                match self {
                    $(Self::$name(body) => body.put(out, edition),)+
                    Self::Other(_, bytes) => out.bytes(bytes),
                }
            }

            fn take(id: u16, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
                match id {
                    $($id => <$body>::take(c, $title, context).map(Self::$name),)+
                    _ => Ok(Self::Other(id, c.take_rest("body").to_vec())),
                }
            }

            fn samples(edition: Edition) -> Vec<Self> {
                vec![$(Self::$name(<$body>::sample(edition)),)+]
            }
        }

        /// Ids and titles, sorted.
        static TITLES: &[(u16, &str)] = &[$(($id, $title)),+];
    };
}

messages! {
    0x0310 TrackerSettings(control::TrackerSettings) = "tracker settings",
    0x4401 Lock(answers::Lock) = "lock answer",
    0x8001 General(answers::General) = "general answer",
    0x8003 PacketsAgain(answers::PacketsAgain) = "request for packets",
    0x8004 ServerTime(answers::ServerTime) = "server time",
    0x8100 Registered(answers::Registered) = "registration answer",
    0x8103 SetParameters(control::SetParameters) = "set parameters",
    0x8104 QueryAllParameters(control::Ask) = "query all parameters",
    0x8105 TerminalControl(control::TerminalControl) = "terminal control",
    0x8106 QueryParameters(control::QueryParameters) = "query parameters",
    0x8107 QueryAttributes(control::Ask) = "query attributes",
    0x8108 Firmware(control::Firmware) = "firmware",
    0x8109 Clock(answers::Clock) = "clock",
    0x8201 Locate(control::Ask) = "query location",
    0x8202 Track(control::Track) = "temporary tracking",
    0x8203 ConfirmAlarms(control::ConfirmAlarms) = "alarm confirmation",
    0x8204 LinkCheck(control::Ask) = "link check",
    0x8300 Show(screen::Show) = "text",
    0x8301 Buttons(screen::Buttons) = "set events",
    0x8302 Question(screen::Question) = "question",
    0x8303 Menu(screen::Menu) = "information menu",
    0x8304 Information(screen::Information) = "information",
    0x8400 CallBack(control::CallBack) = "call back",
    0x8401 PhoneBook(control::PhoneBook) = "phone book",
    0x8500 VehicleControl(control::VehicleControl) = "vehicle control",
    0x8600 SetCircles(areas::Circles) = "set circles",
    0x8601 DeleteCircles(areas::Delete) = "delete circles",
    0x8602 SetRectangles(areas::Rectangles) = "set rectangles",
    0x8603 DeleteRectangles(areas::Delete) = "delete rectangles",
    0x8604 SetPolygon(areas::Polygon) = "set polygon",
    0x8605 DeletePolygons(areas::Delete) = "delete polygons",
    0x8606 SetRoute(areas::Route) = "set route",
    0x8607 DeleteRoutes(areas::Delete) = "delete routes",
    0x8608 QueryAreas(areas::QueryAreas) = "query areas",
    0x8700 ReadRecorder(control::Recorder) = "recorder data request",
    0x8701 SetRecorder(control::Recorder) = "recorder parameters",
    0x8702 QueryDriver(control::Ask) = "query driver",
    0x8800 Media(answers::Media) = "multimedia answer",
    0x8801 Shoot(media::Shoot) = "take pictures",
    0x8802 SearchMedia(media::SearchMedia) = "search media",
    0x8803 UploadMedia(media::UploadMedia) = "upload media",
    0x8804 RecordAudio(media::RecordAudio) = "record audio",
    0x8805 UploadOne(media::UploadOne) = "upload one medium",
    0x8900 PassThrough(control::PassThrough) = "passthrough",
    0x8A00 PublicKey(control::PublicKey) = "public key",
    0x9003 QueryVideo(control::Ask) = "query audio and video attributes",
    0x9101 Live(media::Live) = "live video",
    0x9102 LiveControl(media::LiveControl) = "live video control",
    0x9105 LiveState(media::LiveState) = "live video state",
    0x9201 PlayBack(media::PlayBack) = "play back",
    0x9202 PlayBackControl(media::PlayBackControl) = "play back control",
    0x9205 SearchVideo(media::SearchVideo) = "search video",
    0x9206 UploadVideo(media::UploadVideo) = "upload video",
    0x9207 UploadControl(media::UploadControl) = "upload control",
    0x9208 UploadAttachments(media::UploadAttachments) = "upload alarm attachments",
    0x9212 AttachmentDone(media::AttachmentDone) = "attachment answer",
    0x9301 Turn(media::Turn) = "turn camera",
    0x9302 Focus(media::Lens) = "focus",
    0x9303 Iris(media::Lens) = "iris",
    0x9304 Wiper(media::Lens) = "wiper",
    0x9305 Infrared(media::Lens) = "infrared light",
    0x9306 Zoom(media::Lens) = "zoom",
    0xA006 FuelCut(control::FuelCut) = "fuel cut",
}

/// To whom a message goes, and under which number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Head {
    pub(super) peer: Peer,
    pub(super) edition: Edition,
    pub(super) serial: u16,
    pub(super) packet: Option<Packet>,
}

/// One frame to the terminal.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Downlink {
    /// A message, or a packet of one.
    Message(Head, Box<Message>),
    /// `( … )`.
    Sentence(Box<[u8]>),
}

/// Bytes of a packet of a split message: below the 1023 that the length can say, as some terminals want room for more.
const PACKET: usize = 1000;
/// The most that the length can say.
const LONGEST: usize = 1023;

impl Downlink {
    /// A message as the frames that it takes. `serial` gives the number of each, one more than that of the frame before.
    pub(super) fn frames(peer: Peer, edition: Edition, message: Message, mut serial: impl FnMut() -> u16) -> Vec<Self> {
        let mut length = Counter::default();
        message.put(&mut length, edition);
        let mut head = |packet| Head { peer, edition, serial: serial(), packet };
        if length.0 <= LONGEST {
            return vec![Self::Message(head(None), Box::new(message))];
        }
        let mut body = Vec::with_capacity(length.0);
        message.put(&mut body, edition);
        let total = body.len().div_ceil(PACKET).min(usize::from(u16::MAX)) as u16;
        let packets = body.chunks(PACKET).zip(1..=total);
        let frame = |(bytes, number): (&[u8], u16)| {
            Self::Message(head(Some(Packet { total, number })), Box::new(Message::Other(message.id(), bytes.to_vec())))
        };
        packets.map(frame).collect()
    }

    /// Its serial number.
    pub(super) const fn serial(&self) -> Option<u16> {
        match self {
            Self::Message(head, _) => Some(head.serial),
            Self::Sentence(_) => None,
        }
    }

    /// What its receipt will repeat.
    pub(super) fn key(&self) -> Option<Key> {
        match self {
            Self::Message(head, message) => Some(Key { kind: message.id(), number: head.serial.into() }),
            Self::Sentence(_) => None,
        }
    }

    /// Write it.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Message(head, message) => message.write(head, out),
            Self::Sentence(said) => out.extend_from_slice(said),
        }
    }

    /// Read one frame. `edition`: of a terminal whose header leaves it open.
    pub(super) fn read(raw: &[u8], edition: Edition, profile: &Profile, mut trace: Option<&mut Trace>) -> Result<Self, Fault> {
        let mut scratch = Vec::new();
        let none = || Fault::new(FaultKind::Garbage, 0, "not exactly one frame between its marks");
        let frame = match frame::cut(None, raw, true, &mut scratch) {
            Cut::Frame(frame) if frame.raw.len() == raw.len() && raw.first() == raw.last() => frame,
            Cut::Frame(frame) if frame.raw.len() == raw.len() && frame.form == SENTENCE => {
                return Ok(Self::Sentence(raw.into()));
            }
            Cut::Skip(_, fault) => return Err(fault),
            _ => return Err(none()),
        };
        if let Checksum::Wrong { expected, found, offset } = frame.checksum {
            return Err(Fault::new(FaultKind::Checksum, offset, format!("checksum is {found:#x}, should be {expected:#x}")));
        }
        let (check, content) = frame.content.split_last().ok_or_else(none)?;
        if let Some(trace) = &mut trace {
            trace.content = frame.content.to_vec();
        }
        let mut c = Cursor::new(content, 0, trace.as_deref_mut());
        let header = header::read(&mut c, frame.form)?;
        if !header.length_fits || header.encrypted {
            let why = if header.encrypted { "encrypted" } else { "the length is not that of the body" };
            return Err(Fault::new(FaultKind::Length, 2, why));
        }
        let edition = header.peer.edition(edition);
        let message = match header.packet {
            Some(_) => Message::Other(header.message, c.take_rest("packet").to_vec()),
            None => Message::take(header.message, &mut c, &Context::new(edition, profile))?,
        };
        if c.remaining() > 0 {
            return Err(c.fault_here(FaultKind::Length, "bytes behind the message"));
        }
        if let Some(trace) = trace {
            let name = TITLES.iter().find(|(id, _)| *id == header.message).map_or("unknown", |(_, title)| title);
            trace.title = format!("0x{:04x} {name}", header.message);
            let span = content.len()..content.len() + 1;
            trace.fields.push(Shown { span, name: "check".into(), value: format!("{check:02x}") });
        }
        let head = Head { peer: header.peer, edition, serial: header.serial, packet: header.packet };
        Ok(Self::Message(head, Box::new(message)))
    }

    /// One of each, for terminals of 2013 and of 2019: between 2011 and 2013 only a registration tells.
    pub(super) fn samples() -> Vec<Self> {
        let old = Peer::new(frame::STANDARD, None, b"\x01\x38\x00\x00\x11\x11");
        let new = Peer::new(frame::STANDARD, Some(1), b"\0\0\0\0\x01\x38\x00\x00\x11\x11");
        let other = Peer::new(frame::VARIANT, None, b"\0\x01\x38\x00\x00\x11\x11");
        let mut samples = vec![Self::Sentence(b"(13800001111,1,001,BASE,2,20260301103000)"[..].into())];
        for (peer, edition) in [(old, Edition::V2013), (new, Edition::V2019)] {
            for message in Message::samples(edition) {
                samples.extend(Self::frames(peer, edition, message, || 0x7D));
            }
            let long = screen::Show {
                flags: screen::flag::DISPLAY,
                kind: fields::Since2019::new(edition, || 1),
                text: fields::Text::sample(edition),
            };
            let head = |number| Head { peer, edition, serial: number, packet: Some(Packet { total: 2, number }) };
            let mut body = Vec::new();
            long.put(&mut body, edition);
            samples.extend([1, 2].map(|n| Self::Message(head(n), Box::new(Message::Other(0x8300, body.clone())))));
        }
        let head = Head { peer: other, edition: Edition::V2013, serial: 0xE7, packet: None };
        samples.push(Self::Message(head, Box::new(Message::General(Field::sample(Edition::V2013)))));
        samples.push(Self::Message(head, Box::new(Message::Other(0xF001, vec![0xE6, 0x3E, 0x3D]))));
        samples
    }
}

impl Message {
    /// Write it as a frame.
    pub(super) fn write(&self, head: &Head, out: &mut Vec<u8>) {
        let mut length = Counter::default();
        self.put(&mut length, head.edition);
        reply::frame(out, head, self.id(), length.0, |w| self.put(w, head.edition));
    }
}

#[cfg(test)]
mod tests {
    use super::super::reply;
    use super::*;
    use crate::cursor::{hex, unhex};

    fn written(downlink: &Downlink) -> Vec<u8> {
        let mut out = Vec::new();
        downlink.write(&mut out);
        out
    }

    fn read(raw: &[u8], edition: Edition) -> Result<Downlink, Fault> {
        Downlink::read(raw, edition, &Profile::default(), None)
    }

    #[test]
    fn every_sample_is_read_as_what_was_written() {
        let samples = Downlink::samples();
        assert!(samples.len() > 2 * TITLES.len());
        for sample in samples {
            let raw = written(&sample);
            assert_eq!(read(&raw, Edition::V2013).as_ref(), Ok(&sample), "{}", hex(&raw));
        }
    }

    #[test]
    fn so_are_those_of_2011() {
        let peer = Peer::new(frame::STANDARD, None, b"\x01\x38\x00\x00\x11\x11");
        for message in Message::samples(Edition::V2011) {
            for sample in Downlink::frames(peer, Edition::V2011, message, || 1) {
                assert_eq!(read(&written(&sample), Edition::V2011).as_ref(), Ok(&sample));
            }
        }
    }

    #[test]
    fn messages_are_sorted_and_told_by_their_fields() {
        assert!(TITLES.is_sorted_by(|a, b| a.0 < b.0));
        for sample in Downlink::samples() {
            let raw = written(&sample);
            let mut trace = Trace::default();
            Downlink::read(&raw, Edition::V2013, &Profile::default(), Some(&mut trace)).unwrap();
            let Downlink::Message(..) = sample else { continue };
            let end = trace.fields.iter().fold(0, |end, f| if f.span.start == end { f.span.end } else { panic!("{trace:?}") });
            assert_eq!(end, trace.content.len(), "{}", trace.title);
        }
    }

    #[test]
    fn refuses_what_is_not_exactly_one_frame_with_a_whole_message() {
        let sealed = |content: &str| {
            let mut out = Vec::new();
            reply::seal(frame::STANDARD, &unhex(&format!("{content}00")).unwrap(), &mut out);
            hex(&out)
        };
        let kind = |hex: &str| read(&unhex(hex).unwrap(), Edition::V2013).map_err(|f| f.kind);
        let locate = sealed("820100000138000011110001");
        assert!(kind(&locate).is_ok());
        assert_eq!(kind(&format!("{locate}{locate}")), Err(FaultKind::Garbage));
        assert_eq!(kind(&locate[2..]), Err(FaultKind::Garbage));
        assert_eq!(kind(&locate[..26]), Err(FaultKind::Garbage));
        assert_eq!(kind(&locate.replace("bb7e", "bc7e")), Err(FaultKind::Checksum));
        assert_eq!(kind(&sealed("820100010138000011110001")), Err(FaultKind::Length), "a longer body is declared");
        assert_eq!(kind(&sealed("82010001013800001111000100")), Err(FaultKind::Length), "it has no body");
        assert_eq!(kind(&sealed("82020001013800001111000100")), Err(FaultKind::Truncated));
    }

    #[test]
    fn long_messages_leave_in_consecutive_packets() {
        let peer = Peer::new(frame::STANDARD, Some(1), b"\0\0\0\0\x01\x38\x00\x00\x11\x11");
        let text = screen::Show {
            flags: 4,
            kind: fields::Since2019::new(Edition::V2019, || 1),
            text: fields::Text::new(vec![b'x'; screen::MAX_TEXT]).unwrap(),
        };
        let mut serial = 0xFFFE;
        let frames = Downlink::frames(peer, Edition::V2019, Message::Show(text), || {
            serial += 1;
            serial as u16
        });
        assert_eq!(frames.len(), 2);
        let raw: Vec<_> = frames.iter().map(written).collect();
        assert!(hex(&raw[0]).starts_with("7e830063e8") && hex(&raw[0]).contains("ffff000200010401"), "{}", hex(&raw[0]));
        assert!(hex(&raw[1]).starts_with("7e8300601a") && hex(&raw[1]).contains("0000000200027878"), "{}", hex(&raw[1]));
    }
}
