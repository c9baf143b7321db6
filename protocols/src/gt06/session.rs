//! What messages do: identify, emit, and how each is acknowledged.

use std::time::Duration;

use crate::command::Command;
use crate::cursor::{Trace, hex};
use crate::desk::{Confirms, Errand, Key, Plan, Unfit};
use crate::event::{Body, Content as Carried, Data, Report, Value};
use crate::fault::{Fault, FaultKind};
use crate::gt06::commands;
use crate::gt06::dialect::Dialect;
use crate::gt06::downlink::{self, Downlink};
use crate::gt06::frame::{self, TOPIN};
use crate::gt06::message::{self, Content, Head, Message};
use crate::gt06::photo::{MAX_PHOTO, Part, Photo};
use crate::gt06::reply;
use crate::gt06::variants::Reply;
use crate::identity::{MessageType, SessionId};
use crate::profile::{Profile, TimeZone};
use crate::session::{Delivery, Handled, Outgoing};
use crate::time::{Now, undo_week_rollover};
use crate::wire::{Answer, Cut, Frame, Limits, Link, Probe, Source, Step, Wire};

/// A GT06 unit, or a Topin one, on a connection.
#[derive(Debug)]
pub(super) struct Gt06 {
    /// It has spoken Topin, so what could be either is Topin.
    pub(super) topin: bool,
    /// The flag of our last command.
    flag: u32,
    /// The zone of its login.
    zone: Option<TimeZone>,
    /// One at a time: a unit announces the next when it has handed over the last.
    photo: Option<Box<Photo>>,
}

/// What is needed to acknowledge a message.
#[derive(Debug)]
pub(super) enum Ack {
    /// Type and serial.
    Plain {
        extended: bool,
        kind: u8,
        serial: u16,
    },
    Time {
        kind: u8,
        serial: u16,
    },
    Address {
        serial: u16,
    },
    TopinLogin {
        x: u8,
    },
    TopinTime,
    Stamp {
        x: u8,
        kind: u8,
        stamp: [u8; 6],
    },
    Echo {
        x: u8,
        kind: u8,
        body: Box<[u8]>,
    },
}

impl Wire for Gt06 {
    const NAME: &'static str = "gt06";
    const LIMITS: Limits = Limits {
        max_frame: frame::MAX_EXTENDED,
        // a Topin login looks like the beginning of a GT06 login until nothing more comes, and the unit waits for its answer
        quiet: Duration::from_secs(1),
        // heartbeats come every 3 to 5 minutes
        idle: Duration::from_secs(15 * 60),
    };
    type Message<'f> = Message<'f>;
    type Ack = Ack;

    fn new(session: SessionId) -> Self {
        let [.., a, b, c] = session.0.to_be_bytes();
        // each session counts in a range of its own, so that a late answer is not taken for one of this session
        Self { topin: false, flag: u32::from_be_bytes([a, b, c, 0]), zone: None, photo: None }
    }

    fn probe(head: &[u8]) -> Probe {
        frame::probe(head)
    }

    fn cut<'b>(&self, input: &'b [u8], quiet: bool, _: &'b mut Vec<u8>) -> Cut<'b> {
        frame::cut(input, self.topin, quiet)
    }

    fn decode<'f>(&self, frame: &Frame<'f>, profile: &Profile, trace: Option<&mut Trace>) -> Result<Message<'f>, Fault> {
        message::decode(frame, self.zone, profile, trace)
    }

    fn on_message(&mut self, message: Message<'_>, step: &mut Step<'_>) -> Answer<Ack> {
        let Message { head, content, bytes } = message;
        self.topin |= head.form == TOPIN;
        if head.miscounted {
            step.tolerate(FaultKind::Length);
        }
        match content {
            Content::Login { imei, model, zone } => self.login(&head, &imei, model, zone, step),
            Content::Time => Answer::Handled(Handled::Handshake, ack(&head, [0; 6])),
            Content::Heartbeat => Answer::Handled(Handled::Heartbeat, ack(&head, [0; 6])),
            Content::Report(mut facts) => {
                let ack = ack(&head, facts.stamp);
                if let Some(imei) = facts.imei {
                    identify_late(&imei, step);
                    facts.report.attributes.set("imei", digits(&imei));
                }
                let mut source = source(&head, facts.report.time.is_some());
                if report(facts.report, facts.located, &mut source, step) {
                    Answer::Stored(ack)
                } else {
                    Answer::Handled(Handled::Heartbeat, ack)
                }
            }
            Content::Both(facts, data) => {
                let mut source = source(&head, facts.report.time.is_some() || data.time.is_some());
                // data says its own time; a report has to say more
                if facts.report != (Report { time: facts.report.time, ..Report::default() }) {
                    report(facts.report, facts.located, &mut source, step);
                }
                answered(&data, step);
                step.emit(&mut source, Body::Data(data));
                Answer::Stored(ack(&head, facts.stamp))
            }
            Content::Bytes(data) => {
                step.emit_bytes(&mut source(&head, false), &data, bytes);
                Answer::Stored(ack(&head, [0; 6]))
            }
            Content::PhotoInfo(info) => self.announced(*info, step),
            Content::PhotoPart { id, offset } => self.photo_part(id, offset, bytes, step),
        }
    }

    fn on_unreadable(&mut self, frame: &Frame<'_>, _: &Fault, step: &mut Step<'_>) -> Option<Ack> {
        let head = message::head(frame, Dialect::of(step.profile()));
        match head.row.reply {
            Reply::Basic | Reply::Extended => ack(&head, [0; 6]),
            _ => None,
        }
    }

    fn acknowledge(&mut self, ack: Ack, delivery: Delivery, _: &Link, now: Now, out: &mut Outgoing) {
        let known = delivery != Delivery::UnknownDevice;
        match ack {
            Ack::TopinLogin { x } => {
                out.frame(|out| reply::topin_login(out, x, known));
                if known {
                    out.frame(|out| reply::topin_time(out, now.utc.civil(0)));
                }
            }
            // GT06 has no word for a refusal
            _ if !known => {}
            Ack::Plain { extended: false, kind, serial } => out.frame(|out| reply::basic(out, kind, serial, &[])),
            Ack::Plain { extended: true, kind, serial } => out.frame(|out| reply::extended(out, kind, serial, &[])),
            Ack::Time { kind, serial } => out.frame(|out| reply::time(out, kind, serial, now.utc)),
            Ack::Address { serial } => out.frame(|out| reply::no_address(out, serial)),
            Ack::TopinTime => out.frame(|out| reply::topin_time(out, now.utc.civil(0))),
            Ack::Stamp { x, kind, stamp } => out.frame(|out| reply::topin(out, x, kind, &stamp)),
            Ack::Echo { x, kind, body } => out.frame(|out| reply::topin(out, x, kind, &body)),
        }
    }

    fn deadline(&self) -> Option<Duration> {
        self.photo.as_ref().map(|photo| photo.deadline())
    }

    fn on_deadline(&mut self, ended: bool, step: &mut Step<'_>) {
        let late = self.photo.as_mut().is_some_and(|photo| ended || !photo.overdue(step));
        if late && let Some(photo) = self.photo.take() {
            photo.give_up(step);
        }
    }

    type Downlink = Downlink;

    const COMMANDS: &'static [(&'static str, Confirms)] = commands::COMMANDS;

    fn samples() -> Vec<Downlink> {
        Downlink::samples()
    }

    fn encode(&self, downlink: &Downlink, _link: &Link, out: &mut Vec<u8>) {
        downlink.write(out);
    }

    fn decode_downlink(&self, raw: &[u8], _profile: &Profile, trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
        Downlink::read(raw, trace)
    }

    fn seal(form: u8, content: &[u8], out: &mut Vec<u8>) {
        downlink::seal(form, content, out);
    }

    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Downlink>, Unfit> {
        self.plan(command, errand)
    }
}

impl Gt06 {
    /// The flag of our next command; 0 is what units say that repeat none.
    pub(super) fn next_flag(&mut self) -> u32 {
        self.flag = self.flag.wrapping_add(1).max(1);
        self.flag
    }

    fn login(
        &mut self,
        head: &Head<'_>,
        imei: &[u8; 8],
        model: Option<u16>,
        zone: Option<TimeZone>,
        step: &mut Step<'_>,
    ) -> Answer<Ack> {
        let model = model.map(|m| format!("{m:04x}"));
        match step.identify(&digits(imei), model.as_deref()) {
            Ok(()) => {
                self.zone = zone.or(self.zone);
                Answer::Handled(Handled::Handshake, ack(head, [0; 6]))
            }
            Err(fault) => Answer::Rejected(fault, None),
        }
    }

    fn announced(&mut self, info: message::PhotoInfo, step: &mut Step<'_>) -> Answer<Ack> {
        if step.link().device_id().is_none() {
            return Answer::Rejected(Fault::new(FaultKind::Unidentified, 0, "a photo before the login"), None);
        }
        if !(1..=MAX_PHOTO).contains(&info.size) {
            let detail = format!("a photo of {} bytes; at most {MAX_PHOTO} are fetched", info.size);
            return Answer::Rejected(Fault::new(FaultKind::Value, 0, detail), None);
        }
        if self.photo.as_ref().is_some_and(|photo| photo.is(&info)) {
            return Answer::Handled(Handled::Repeat, None);
        }
        if let Some(older) = self.photo.take() {
            older.give_up(step);
        }
        self.photo = Some(Box::new(Photo::begin(info, step)));
        Answer::Handled(Handled::Fragment, None)
    }

    fn photo_part(&mut self, id: u32, offset: u32, bytes: &[u8], step: &mut Step<'_>) -> Answer<Ack> {
        let Some(mut photo) = self.photo.take() else {
            return stray(id);
        };
        match photo.part(id, offset, bytes, step) {
            Part::Last => {
                let (data, whole) = photo.finish();
                // the photo itself is the body: fetched again over another connection it is the same
                let mut source = Source::dated(MessageType::Hex(PHOTO_DATA, 2), &whole);
                step.emit_bytes(&mut source, &data, &whole);
                Answer::Stored(None)
            }
            other => {
                self.photo = Some(photo);
                match other {
                    Part::Known => Answer::Handled(Handled::Repeat, None),
                    Part::Stray => stray(id),
                    Part::Taken | Part::Last => Answer::Handled(Handled::Fragment, None),
                }
            }
        }
    }
}

/// A text with a flag of ours answers the command of that flag; it is told as the text that it is, too.
fn answered(data: &Data, step: &mut Step<'_>) {
    if let (Some(Value::Int(flag)), Carried::Text(text)) = (data.attributes.get("server_flag"), &data.content)
        && let Ok(number @ 1..) = u64::try_from(*flag)
    {
        step.answer(Key { kind: commands::ANSWER, number }, commands::verdict(text));
    }
}

/// The type of a photo's parts.
const PHOTO_DATA: u32 = 0x36;

fn stray(id: u32) -> Answer<Ack> {
    Answer::Rejected(Fault::new(FaultKind::Reassembly, 0, format!("a part of photo {id:08x} that was not asked for")), None)
}

/// Fifteen digits behind a nibble of zero.
fn digits(imei: &[u8; 8]) -> String {
    hex(imei).split_off(1)
}

/// Units that put their IMEI into a message may leave out the login. It does not contradict an identity that is known.
fn identify_late(imei: &[u8; 8], step: &mut Step<'_>) {
    if step.link().device_id().is_none() {
        // nothing but zeros identifies nobody, and the machine says so
        let _ = step.identify(&digits(imei), None);
    }
}

/// Emit a report. False if it says nothing.
fn report(mut report: Report, located: bool, source: &mut Source<'_>, step: &mut Step<'_>) -> bool {
    if report == Report::default() {
        return false;
    }
    if let Some(time) = report.time {
        let (corrected, moved) = undo_week_rollover(time, step.now().utc);
        if moved {
            report.time = Some(corrected);
            report.attributes.set("time_corrected", true);
        }
    }
    let body = if located {
        Body::Position(report)
    } else if report.alarms.is_empty() {
        Body::Status(report)
    } else {
        Body::Alarm(report)
    };
    step.emit(source, body);
    true
}

fn source<'f>(head: &Head<'f>, dated: bool) -> Source<'f> {
    let message = MessageType::Hex(u32::from(head.kind), 2);
    if dated { Source::dated(message, head.body) } else { Source::undated(message, head.body, head.serial.map(u32::from)) }
}

fn ack(head: &Head<'_>, stamp: [u8; 6]) -> Option<Ack> {
    let (x, kind, serial) = (head.x, head.kind, head.serial.unwrap_or_default());
    match head.row.reply {
        Reply::None => None,
        Reply::Basic => Some(Ack::Plain { extended: false, kind, serial }),
        Reply::Extended => Some(Ack::Plain { extended: true, kind, serial }),
        Reply::Time => Some(Ack::Time { kind, serial }),
        Reply::Address => Some(Ack::Address { serial }),
        Reply::TopinLogin => Some(Ack::TopinLogin { x }),
        Reply::TopinTime => Some(Ack::TopinTime),
        Reply::Stamp => Some(Ack::Stamp { x, kind, stamp }),
        Reply::StampPlain => Some(Ack::Stamp { x: 0, kind, stamp }),
        Reply::Echo => Some(Ack::Echo { x, kind, body: head.body.into() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::cursor::unhex;
    use crate::event::Event;
    use crate::machine::Machine;
    use crate::session::{Fate, Opening, Session, Turn};
    use crate::time::Timestamp;

    const LOGIN: &str = "78780d01086120000000001200011d5a0d0a";
    const POSITION: &str = "78781f121a03010a0000c9026b287c0c3cbd481e14b401cc00287d001f7100028d7f0d0a";

    fn at(uptime_s: u64) -> Now {
        let utc = Timestamp::parse("2026-03-01T10:00:05Z").unwrap();
        Now { utc, uptime: Duration::from_secs(uptime_s) }
    }

    fn open() -> Box<dyn Session> {
        Machine::<Gt06>::open(Opening { session: SessionId(7), settings: Arc::default(), device: None })
    }

    /// Hear one frame; tell the fate, the events and what goes back when all is stored with this result.
    fn hear(session: &mut dyn Session, frame: &str, delivery: Delivery) -> (Option<Fate>, Vec<Event>, String) {
        let bytes = unhex(frame).unwrap();
        let mut turn = Turn::default();
        assert_eq!(session.receive(&bytes, at(0), &mut turn), bytes.len());
        let mut out = Outgoing::default();
        if turn.receipt {
            session.release(Some(delivery), at(0), &mut out);
        }
        (turn.fate, turn.events, hex(&out.bytes))
    }

    fn with_crc(frame: &str) -> String {
        let mut bytes = unhex(frame).unwrap();
        let end = bytes.len() - 4;
        let crc = crate::parts::checksum::crc_itu(&bytes[2..end]).to_be_bytes();
        bytes[end..end + 2].copy_from_slice(&crc);
        hex(&bytes)
    }

    #[test]
    fn a_login_identifies_and_its_serial_comes_back() {
        let mut session = open();
        let (fate, events, reply) = hear(&mut *session, LOGIN, Delivery::Stored);
        assert_eq!((fate, events.len()), (Some(Fate::Handled(Handled::Handshake)), 0));
        assert_eq!(reply, "787805010001d9dc0d0a");
        assert_eq!(session.device_id().unwrap().as_str(), "861200000000012");
    }

    #[test]
    fn nothing_is_said_to_an_unknown_device_or_about_an_unidentified_one() {
        assert_eq!(hear(&mut *open(), LOGIN, Delivery::UnknownDevice).2, "");
        let (fate, events, reply) = hear(&mut *open(), &with_crc(POSITION), Delivery::Stored);
        assert_eq!((fate, events.len(), reply.as_str()), (Some(Fate::Reject(FaultKind::Unidentified)), 0, ""));
    }

    #[test]
    fn a_repeat_has_the_id_of_the_first_whatever_its_serial() {
        let mut session = open();
        hear(&mut *session, LOGIN, Delivery::Stored);
        let frame = with_crc(POSITION);
        let (_, first, _) = hear(&mut *session, &frame, Delivery::Stored);
        let (_, again, _) = hear(&mut *session, &with_crc(&frame.replace("0002", "0009")), Delivery::Refused);
        assert_eq!(first.len(), 1);
        assert_eq!(first[0].id, again[0].id);
    }

    #[test]
    fn undated_reports_differ_by_serial() {
        let mut session = open();
        hear(&mut *session, LOGIN, Delivery::Stored);
        let ids: Vec<_> = ["0002", "0003"]
            .map(|serial| with_crc(&format!("78780a134404040001{serial}00000d0a")))
            .iter()
            .map(|frame| hear(&mut *session, frame, Delivery::Stored).1[0].id)
            .collect();
        assert_ne!(ids[0], ids[1]);
    }

    #[test]
    fn the_zone_of_the_login_is_for_local_types_only() {
        let mut session = open();
        hear(&mut *session, &with_crc("78781101086120000000001270003200000100000d0a"), Delivery::Stored);
        let (_, local, _) = hear(&mut *session, &with_crc(POSITION), Delivery::Stored);
        assert_eq!(local[0].body.time().unwrap().to_string(), "2026-03-01T02:00:00.000Z");
        let utc = POSITION.replacen("1f12", "2222", 1).replace("1f710002", "1f710000000002");
        let (_, utc, _) = hear(&mut *session, &with_crc(&utc), Delivery::Stored);
        assert_eq!(utc[0].body.time().unwrap().to_string(), "2026-03-01T10:00:00.000Z");
    }

    #[test]
    fn a_date_is_moved_by_1024_weeks_only_into_the_past() {
        let mut session = open();
        hear(&mut *session, LOGIN, Delivery::Stored);
        let mut dated = |date: &str| {
            let frame = with_crc(&POSITION.replacen("1a0301", date, 1));
            hear(&mut *session, &frame, Delivery::Stored).1[0].body.time().unwrap().to_string()
        };
        assert_eq!(dated("060710"), "2026-03-01T10:00:00.000Z");
        assert_eq!(dated("0c0101"), "2012-01-01T10:00:00.000Z");
    }
}
