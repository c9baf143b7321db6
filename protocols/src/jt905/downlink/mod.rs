//! Messages of the platform: one type each, written and read by the same declaration.

pub(super) mod business;
pub(super) mod control;
pub(super) mod fields;
pub(super) mod screen;

use business::{Cancel, Offer, Verdict};
use control::{
    Control, HotArea, Inspect, Nothing, Parameter, Passthrough, SearchPictures, SearchRecordings, TakePicture, Track, UploadStored,
    VehicleControl,
};
use fields::{Bytes, Field, Many, Sampled};
use screen::{Call, Events, PhoneBook, Question, Show};

use super::context::Context;
use super::dialect::{self, Dialect};
use super::frame::{self, FORM};
use super::header::{self, Isu};
use super::reply;
use crate::cursor::{Cursor, Field as Shown, Trace};
use crate::fault::{Fault, FaultKind};
use crate::profile::Profile;
use crate::wire::{Checksum, Cut, Frame};

/// Declares the messages by id.
macro_rules! messages {
    ($($id:literal $name:ident($body:ty) = $title:literal, $sample:expr;)+) => {
        /// What the platform says.
        #[derive(Debug, Clone, PartialEq)]
        pub(super) enum Message {
            $(#[doc = $title] $name($body),)+
            /// A message that has no type here.
            Other(u16, Bytes),
        }

        impl Message {
            /// The message id.
            pub(super) const fn id(&self) -> u16 {
                match self {
                    $(Self::$name(_) => $id,)+
                    Self::Other(id, _) => *id,
                }
            }

            fn put(&self, out: &mut Vec<u8>, dialect: &Dialect) {
                match self {
                    $(Self::$name(body) => body.put(out, dialect),)+
                    Self::Other(_, bytes) => bytes.put(out, dialect),
                }
            }

            fn take(id: u16, c: &mut Cursor<'_, '_>, context: &Context<'_>) -> Result<Self, Fault> {
                match id {
                    $($id => <$body>::take($title, c, context).map(Self::$name),)+
                    _ => Bytes::take("body", c, context).map(|bytes| Self::Other(id, bytes)),
                }
            }

            fn samples() -> Vec<Self> {
                vec![$(Self::$name($sample)),+]
            }
        }

        /// Ids and titles, sorted.
        static TITLES: &[(u16, &str)] = &[$(($id, $title)),+];
    };
}

messages! {
    0x8001 General(control::General) = "general answer", control::General::sample();
    0x8103 SetParameters(Many<Parameter>) = "set parameters", Many(vec![Parameter::sample(), Parameter::sample()]);
    0x8104 QueryParameters(Many<u16>) = "query parameters", Many(vec![0x0001, 0x0010]);
    0x8105 Control(Control) = "terminal control", Control::Upgrade(control::Upgrade::sample());
    0x8201 QueryPosition(Nothing) = "query position", Nothing {};
    0x8202 Track(Track) = "tracking control", Track::sample();
    0x8300 Show(Show) = "text", Show::sample();
    0x8301 SetEvents(Events) = "set events", Events::sample();
    0x8302 Ask(Question) = "question", Question::sample();
    0x8400 Call(Call) = "call back", Call::sample();
    0x8401 PhoneBook(PhoneBook) = "phone book", PhoneBook::sample();
    0x8500 ControlVehicle(VehicleControl) = "vehicle control", VehicleControl::sample();
    0x8801 TakePicture(TakePicture) = "take picture", TakePicture::sample();
    0x8802 SearchPictures(SearchPictures) = "search pictures", SearchPictures::sample();
    0x8803 UploadStored(UploadStored) = "upload stored file", UploadStored::sample();
    0x8805 SearchRecordings(SearchRecordings) = "search recordings", SearchRecordings::sample();
    0x8B00 Offer(Offer) = "order offer", Offer::sample();
    0x8B01 Verdict(Verdict) = "order result", Verdict::Won(business::Won::sample());
    0x8B08 CancelUninew(Cancel) = "order cancelled (Uninew)", Cancel::sample();
    0x8B09 Cancel(Cancel) = "order cancelled", Cancel::sample();
    0x8B0A ConfirmAlarm(Nothing) = "alarm confirmed", Nothing {};
    0x8B0B EndAlarm(Nothing) = "alarm ended", Nothing {};
    0x8B10 Passthrough(Passthrough) = "passthrough", Passthrough::sample();
    0x8B11 Inspect(Inspect) = "inspect devices", Inspect::sample();
    0x8C01 HotArea(HotArea) = "hot area (CTFO)", HotArea::sample();
}

/// One frame to the terminal.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Downlink {
    /// To whom it goes.
    pub(super) isu: Isu,
    /// Our number of it.
    pub(super) serial: u16,
    pub(super) message: Message,
}

impl Downlink {
    /// One of each kind, and the other forms of those that have several.
    pub(super) fn samples() -> Vec<Self> {
        let isu = Isu([0x10, 0x99, 0, 0, 0, 1]);
        let forms = [
            Message::Verdict(Verdict::Lost(Cancel::sample())),
            Message::Control(Control::Other(3, Bytes(Vec::new()))),
            Message::Other(0x9101, Bytes(vec![1, 2, 3])),
        ];
        let all = Message::samples().into_iter().chain(forms);
        all.zip(0x7E7C..).map(|(message, serial)| Self { isu, serial, message }).collect()
    }

    /// Write it as a terminal with this profile reads it.
    pub(super) fn write(&self, profile: &Profile, out: &mut Vec<u8>) {
        let mut body = Vec::with_capacity(64);
        self.message.put(&mut body, dialect::find(profile.dialect.as_deref()));
        reply::frame(out, self.isu, self.message.id(), self.serial, &body);
    }

    /// Read exactly one frame.
    pub(super) fn read(raw: &[u8], profile: &Profile, mut trace: Option<&mut Trace>) -> Result<Self, Fault> {
        let mut scratch = Vec::new();
        let frame = whole(raw, &mut scratch)?;
        if let Checksum::Wrong { expected, found, offset } = frame.checksum {
            return Err(Fault::new(FaultKind::Checksum, offset, format!("checksum is {found:#x}, should be {expected:#x}")));
        }
        let Some((check, content)) = frame.content.split_last() else { return Err(not_one()) };
        if let Some(trace) = &mut trace {
            trace.content = frame.content.to_vec();
        }
        let mut c = Cursor::new(content, 0, trace.as_deref_mut());
        let header = header::read(&mut c)?;
        if !header.length_fits {
            return Err(Fault::new(FaultKind::Length, 2, format!("{} bytes follow the header", c.remaining())));
        }
        let message = Message::take(header.message, &mut c, &Context::new(profile))?;
        if c.remaining() > 0 {
            return Err(c.fault_here(FaultKind::Length, format!("{} bytes too many", c.remaining())));
        }
        if let Some(trace) = trace {
            let title = TITLES.iter().find(|(id, _)| *id == header.message).map_or("unknown", |(_, title)| title);
            trace.title = format!("0x{:04x} {title}", header.message);
            let span = content.len()..content.len() + 1;
            trace.fields.push(Shown { span, name: "check".into(), value: format!("{check:02x}") });
        }
        Ok(Self { isu: header.isu, serial: header.serial, message })
    }
}

fn not_one() -> Fault {
    Fault::new(FaultKind::Garbage, 0, "not exactly one frame between its marks")
}

/// The frame that all of these bytes are.
fn whole<'b>(raw: &'b [u8], scratch: &'b mut Vec<u8>) -> Result<Frame<'b>, Fault> {
    if raw.len() < 2 || raw.first() != raw.last() {
        return Err(not_one());
    }
    match frame::cut(raw, true, scratch) {
        Cut::Frame(frame) if frame.raw.len() == raw.len() && frame.form == FORM => Ok(frame),
        Cut::Skip(_, fault) => Err(fault),
        _ => Err(not_one()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{hex, unhex};

    #[test]
    fn titles_are_sorted() {
        assert!(TITLES.is_sorted_by(|a, b| a.0 < b.0));
        assert_eq!(crate::jt905::message::id::GENERAL, TITLES[0].0);
    }

    #[test]
    fn every_sample_round_trips_in_every_dialect() {
        let dialects = dialect::NAMES.iter().map(|name| Some((*name).to_owned())).chain([None]);
        for dialect in dialects {
            let profile = Profile { dialect, ..Profile::default() };
            for sample in Downlink::samples() {
                let mut frame = Vec::new();
                sample.write(&profile, &mut frame);
                let mut trace = Trace::default();
                let again = Downlink::read(&frame, &profile, Some(&mut trace));
                // what is read in the old form of a win is one
                let old = profile.dialect.as_deref() == Some("ctfo-2017") && matches!(sample.message, Message::Verdict(_));
                assert!(old || again.as_ref() == Ok(&sample), "{:?} {sample:?} {again:?}", profile.dialect);
                assert!(old || !trace.title.ends_with("unknown") || sample.message.id() == 0x9101);
            }
        }
    }

    #[test]
    fn refuses_more_and_less_than_one_frame() {
        let mut frame = Vec::new();
        Downlink::samples()[0].write(&Profile::default(), &mut frame);
        let read = |bytes: &[u8]| Downlink::read(bytes, &Profile::default(), None).map_err(|f| f.kind);
        assert!(read(&frame).is_ok());
        for n in 0..frame.len() {
            assert!(read(&frame[..n]).is_err(), "{n}");
        }
        assert_eq!(read(&frame.repeat(2)), Err(FaultKind::Garbage));
        let mut damaged = frame.clone();
        damaged[14] ^= 1;
        assert_eq!(read(&damaged), Err(FaultKind::Checksum));
        let mut out = Vec::new();
        reply::frame(&mut out, Isu([0x10; 6]), 0x8201, 1, b"x");
        assert_eq!(read(&out), Err(FaultKind::Length));
    }

    /// The bytes of each kind, field by field as the standard's tables have them.
    #[test]
    fn bodies_are_what_the_standard_says() {
        let body = |message: Message| {
            let mut out = Vec::new();
            message.put(&mut out, dialect::find(None));
            hex(&out)
        };
        let expected: [(u16, &str); 25] = [
            (0x8001, "0007 0200 00"),
            (0x8103, "0001 04 0000003c 0001 04 0000003c"),
            (0x8104, "0001 0010"),
            (0x8105, "01 02 07 12 1001 636d6e657400 00 00 3139322e302e322e3100 1711"),
            (0x8201, ""),
            (0x8202, "00 000a 00000258"),
            (0x8300, "04 b2e2cad400"),
            (0x8301, "01 01 cac700"),
            (0x8302, "08 00000005 4f4b3f00 01 cac700 02 6e6f00"),
            (0x8400, "00 313338303030303132333400"),
            (0x8401, "01 03 313338303030303132333400 4465736b00"),
            (0x8500, "00 01"),
            (0x8801, "01 0001 0000 00 01 05 80 40 40 80"),
            (0x8802, "00 03 260301080000 260301180000"),
            (0x8803, "00 0000004d 00000000"),
            (0x8805, "01 260301080000 000000000000"),
            (0x8B00, "000003e9 00 260301183000 4d61696e20537400"),
            (
                0x8B01,
                "000003e9 00 000000000000 0429bce8 016d5500 00000000 00000000 0050 313338303030303132333400 4d61696e205374203100",
            ),
            (0x8B08, "000003e9"),
            (0x8B09, "000003e9"),
            (0x8B0A, ""),
            (0x8B0B, ""),
            (0x8B10, "02 0000 0000"),
            (0x8B11, "00 02"),
            (0x8C01, "00000005 260301180000 28 0c 416972706f727400"),
        ];
        let samples = Message::samples();
        assert_eq!(samples.len(), expected.len());
        for (message, (id, bytes)) in samples.into_iter().zip(expected) {
            assert_eq!((message.id(), body(message)), (id, bytes.replace(' ', "")));
        }
        assert_eq!(body(Message::Verdict(Verdict::Lost(Cancel::sample()))), "000003e9");
        assert_eq!(
            body(Message::Verdict(Verdict::WonShort(business::WonShort::sample()))),
            "000003e90031333830303030313233340".to_owned() + "04d61696e205374203100"
        );
        assert_eq!(body(Message::Control(Control::Other(Control::RESTART, Bytes(Vec::new())))), "03");
    }

    #[test]
    fn a_frame_is_what_the_standard_says() {
        let message = Message::Verdict(Verdict::Lost(Cancel { business_id: 1001 }));
        let mut frame = Vec::new();
        Downlink { isu: Isu([0x10, 0x99, 0, 0, 0, 1]), serial: 5, message }.write(&Profile::default(), &mut frame);
        assert_eq!(hex(&frame[..frame.len() - 2]), "7e8b01000410990000000100050000".to_owned() + "03e9");
        let split = unhex("7e8001200100990000000100050002000161").unwrap();
        assert!(Downlink::read(&split, &Profile::default(), None).is_err());
    }
}
