//! One terminal on one connection: who it is, what its messages become, and what it is answered.

use std::borrow::Cow;
use std::time::Duration;

use super::acknowledgement::{Ack, Reply};
use super::commands::{self, Office};
use super::context::Context;
use super::downlink::fields::Packets;
use super::downlink::{Downlink, Head, Message as Platform, answers};
use super::frame::{self, SENTENCE, SHORTEST};
use super::header::{self, Edition, Header, Peer};
use super::hearing::Heard;
use super::message::{self, Batch, Content, Incoming, Media, Message, Registration, Told, id};
use super::parameters;
use super::reassembly::{Added, GivenUp, Reassembly, Whole};
use super::reply::{self, result};
use crate::command::Command;
use crate::cursor::{Cursor, Field, Trace};
use crate::desk::{Confirms, Errand, Plan, Unfit};
use crate::event::{Body, Data, DataKind, Report, Value};
use crate::fault::{Fault, FaultKind};
use crate::identity::{DeviceId, MessageType, SessionId};
use crate::profile::Profile;
use crate::session::{Close, Delivery, Handled, Outgoing};
use crate::time::{Now, undo_week_rollover};
use crate::wire::{Answer, Cut, Frame, Limits, Link, Probe, Source, Step, Wire};

/// Twice the largest frame of the standard with every byte escaped: units with longer bodies than the length field can say
/// were seen.
const MAX_FRAME: usize = 4096;
/// Half a frame waits for its other half this long only where it is no frame by its beginning; radio links pause for less.
const QUIET: Duration = Duration::from_secs(30);
/// Three of the longest usual heartbeat periods, which are 3 minutes.
const IDLE: Duration = Duration::from_secs(9 * 60);

/// State of a connection.
#[derive(Debug)]
pub(super) struct Jt808 {
    /// The binary form that the terminal has shown to speak.
    form: Option<u8>,
    /// Known from a registration; the header alone does not tell 2011 from 2013.
    pub(super) edition: Edition,
    /// Number of our next message.
    serial: u16,
    /// The last sender that was identified, so that the same bytes need no second look.
    peer: Option<Peer>,
    /// The last sender, whom messages of our own are for.
    to: Option<Peer>,
    authenticated: bool,
    /// The profile is known, or has changed, and its buttons were not looked at.
    buttons_due: bool,
    reassembly: Reassembly,
    pub(super) office: Office,
}

type Served = Answer<Ack>;

impl Wire for Jt808 {
    const NAME: &'static str = "jt808";
    const LIMITS: Limits = Limits { max_frame: MAX_FRAME, quiet: QUIET, idle: IDLE };
    type Message<'f> = Incoming<'f>;
    type Ack = Ack;

    fn new(session: SessionId) -> Self {
        let [.., high, low] = session.0.to_be_bytes();
        Self {
            form: None,
            edition: Edition::V2013,
            serial: u16::from_be_bytes([high, low]),
            peer: None,
            to: None,
            authenticated: false,
            buttons_due: false,
            reassembly: Reassembly::default(),
            office: Office::default(),
        }
    }

    fn probe(head: &[u8]) -> Probe {
        frame::probe(head)
    }

    fn cut<'b>(&self, input: &'b [u8], quiet: bool, scratch: &'b mut Vec<u8>) -> Cut<'b> {
        frame::cut(self.form, input, quiet, scratch)
    }

    fn decode<'f>(&self, frame: &Frame<'f>, profile: &Profile, mut trace: Option<&mut Trace>) -> Result<Incoming<'f>, Fault> {
        if frame.form == SENTENCE {
            return Ok(Incoming::Sentence(frame.content));
        }
        let Some((check, content)) = frame.content.split_last() else {
            return Err(Fault::new(FaultKind::Truncated, 0, "an empty frame"));
        };
        let mut c = Cursor::new(content, 0, trace.as_deref_mut());
        let header = header::read(&mut c, frame.form)?;
        let body = c.rest();
        let told = match header.packet {
            Some(_) => {
                c.take_rest("packet");
                Told { content: Content::Packet, dated: false, acknowledged: true }
            }
            None => message::read(&header, &mut c, &self.context(&header, profile))?,
        };
        if let Some(trace) = trace {
            let name = super::MESSAGES.iter().find(|(n, _)| *n == format!("0x{:04x}", header.message));
            trace.title = format!("0x{:04x} {}", header.message, name.map_or("unknown", |(_, name)| name));
            let span = content.len()..content.len() + 1;
            trace.fields.push(Field { span, name: "check".into(), value: format!("{check:02x}") });
        }
        Ok(Incoming::Message(Message { header, body, told }))
    }

    fn on_message(&mut self, incoming: Incoming<'_>, step: &mut Step<'_>) -> Served {
        match incoming {
            Incoming::Sentence(said) => sentence(said, step),
            Incoming::Message(message) => self.admit(message, step),
        }
    }

    fn on_unreadable(&mut self, frame: &Frame<'_>, _fault: &Fault, step: &mut Step<'_>) -> Option<Ack> {
        let content = frame.content.get(..frame.content.len().saturating_sub(1)).filter(|c| c.len() + 1 >= SHORTEST)?;
        let header = header::read(&mut Cursor::new(content, 0, None), frame.form).ok()?;
        if step.link().settings().auth.required && !self.authenticated {
            return Some(Ack::general(&header).result(result::FAILED));
        }
        if self.identify(&header, &Content::Answer, step).is_err() {
            return Some(Ack::general(&header).result(result::FAILED));
        }
        (!message::ANSWERS.contains(&header.message)).then(|| Ack::general(&header).result(result::FAULTY))
    }

    fn acknowledge(&mut self, ack: Ack, delivery: Delivery, link: &Link, now: Now, out: &mut Outgoing) {
        self.write_acknowledgement(ack, delivery, link, now, out);
    }

    fn deadline(&self) -> Option<Duration> {
        self.reassembly.deadline()
    }

    fn on_deadline(&mut self, ended: bool, step: &mut Step<'_>) {
        if ended {
            self.reassembly.end().into_iter().for_each(|g| report(g, step));
            return;
        }
        let (asks, given_up) = self.reassembly.expire(step.now().uptime);
        given_up.into_iter().for_each(|g| report(g, step));
        for ask in asks {
            let head = self.head(ask.peer);
            let request = match ask.media {
                Some(media) => Platform::Media(answers::Media::missing(head.edition, ask.first_serial, media, ask.missing)),
                None => {
                    let packets = Packets::new(ask.missing);
                    Platform::PacketsAgain(answers::PacketsAgain { serial: ask.first_serial, packets })
                }
            };
            step.send(|out| request.write(&head, out));
        }
    }

    type Downlink = Downlink;

    const COMMANDS: &'static [(&'static str, Confirms)] = commands::COMMANDS;
    const DRIVERS: bool = true;

    fn samples() -> Vec<Downlink> {
        Downlink::samples()
    }

    fn encode(&self, downlink: &Downlink, _link: &Link, out: &mut Vec<u8>) {
        downlink.write(out);
    }

    fn decode_downlink(&self, raw: &[u8], profile: &Profile, trace: Option<&mut Trace>) -> Result<Downlink, Fault> {
        Downlink::read(raw, self.edition, profile, trace)
    }

    fn seal(form: u8, content: &[u8], out: &mut Vec<u8>) {
        reply::seal(form, content, out);
    }

    fn parameters() -> Vec<(u32, &'static str)> {
        parameters::named()
    }

    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Downlink>, Unfit> {
        self.plan(command, errand)
    }

    fn one_offer(&self, link: &Link) -> bool {
        // the answer to a question says which, a button pressed after a text does not
        commands::is_text_only(link)
    }
}

impl Jt808 {
    fn context(&self, header: &Header, profile: &Profile) -> Context<'static> {
        Context::new(header.peer.edition(self.edition), profile)
    }

    pub(super) fn next_serial(&mut self) -> u16 {
        let serial = self.serial;
        self.serial = serial.wrapping_add(1);
        serial
    }

    /// The head of our next message.
    pub(super) fn head(&mut self, peer: Peer) -> Head {
        Head { peer, edition: peer.edition(self.edition), serial: self.next_serial(), packet: None }
    }

    /// Whom messages of our own are for, if anybody has spoken in a form that has room for them.
    pub(super) fn terminal(&self) -> Option<(Peer, Edition)> {
        self.to.map(|peer| (peer, peer.edition(self.edition)))
    }

    /// Whether the sender may be served, and as whom.
    fn admit(&mut self, message: Message<'_>, step: &mut Step<'_>) -> Served {
        let Message { header, body, told } = message;
        self.form = Some(header.peer.form);
        self.to = Some(header.peer);
        if step.link().settings().auth.required && !self.authenticated {
            match &told.content {
                Content::Register(_) => {}
                Content::Authenticate(code) => {
                    let id = DeviceId::with_prefix(&step.link().settings().device_prefix, &header.peer.identity());
                    self.authenticated = id.is_some_and(|id| step.link().settings().auth.verify(id.as_str(), code));
                    if !self.authenticated {
                        return Answer::Handled(Handled::Handshake, Some(Ack::general(&header).result(result::FAILED)));
                    }
                }
                _ => {
                    let fault = Fault::new(FaultKind::Unauthenticated, 0, "nothing is served before a good authentication");
                    return Answer::Rejected(fault, Some(Ack::general(&header).result(result::FAILED)));
                }
            }
        }
        if let Err(fault) = self.identify(&header, &told.content, step) {
            return Answer::Rejected(fault, Some(Ack::general(&header).result(result::FAILED)));
        }
        if !header.length_fits {
            step.tolerate(FaultKind::Length);
        }
        // not while the terminal waits for the answer to its sign-on
        if self.buttons_due && !matches!(told.content, Content::Register(_) | Content::Authenticate(_) | Content::Unregister) {
            self.buttons_due = false;
            self.install_buttons(step);
        }
        match header.packet {
            Some(packet) => {
                let (added, given_up) = self.reassembly.add(&header, packet, body, step.now().uptime);
                given_up.into_iter().for_each(|g| report(g, step));
                self.packet(&header, packet, body, added, step)
            }
            None => self.serve(&header, body, told, step),
        }
    }

    fn identify(&mut self, header: &Header, content: &Content<'_>, step: &mut Step<'_>) -> Result<(), Fault> {
        let model = match content {
            Content::Register(registration) => Some(registration.model.as_str()).filter(|m| !m.is_empty()),
            _ => None,
        };
        let known = self.peer.is_some_and(|p| p == header.peer) && step.link().device_id().is_some();
        if known && model.is_none() {
            return Ok(());
        }
        if header.peer.is_nameless() {
            // a tracker without a number may name itself inside
            return match (step.link().device_id(), content) {
                (None, Content::Position(report)) => match report.attributes.get("imei") {
                    Some(Value::Text(imei)) if imei.bytes().any(|b| b != b'0') => step.identify(imei, None),
                    _ => Ok(()),
                },
                _ => Ok(()),
            };
        }
        step.identify(&header.peer.identity(), model)?;
        self.peer = Some(header.peer);
        self.buttons_due = true;
        Ok(())
    }

    /// A packet of a split message.
    fn packet(&mut self, header: &Header, packet: header::Packet, body: &[u8], added: Added, step: &mut Step<'_>) -> Served {
        let each = step.profile().ack_each_packet;
        let own = || Ack::general(header);
        match added {
            Added::Refused(why) => Answer::Rejected(Fault::new(FaultKind::Reassembly, 0, why), Some(own().result(result::FAILED))),
            Added::Repeat => Answer::Handled(Handled::Repeat, each.then(own)),
            Added::Done(None) => Answer::Handled(Handled::Repeat, Some(own())),
            Added::Done(Some(id)) => {
                let reply = Reply::Media { id, with_general: each };
                Answer::Handled(Handled::Repeat, Some(own().with(reply)))
            }
            Added::Waiting if !each => Answer::Handled(Handled::Fragment, None),
            Added::Waiting => {
                store_packet(header, packet, body, step);
                Answer::Stored(Some(own()))
            }
            Added::Whole(whole) => {
                if each {
                    store_packet(header, packet, body, step);
                }
                let answer = self.whole(header, whole, step);
                match answer {
                    Answer::Stored(ack) if each => Answer::Stored(Some(alone(ack, own()))),
                    Answer::Handled(_, ack) if each => Answer::Stored(Some(alone(ack, own()))),
                    answer => answer,
                }
            }
        }
    }

    /// A split message is complete: it is served like any other.
    fn whole(&mut self, last: &Header, whole: Whole, step: &mut Step<'_>) -> Served {
        let Whole { body, serials } = whole;
        let header = Header { packet: None, serial: serials.first().copied().unwrap_or(last.serial), ..*last };
        let context = self.context(&header, step.profile());
        let answer = match message::read(&header, &mut Cursor::new(&body, 0, None), &context) {
            Ok(told) => self.serve(&header, &body, told, step),
            Err(fault) => Answer::Rejected(fault, Some(Ack::general(&header).result(result::FAULTY))),
        };
        let each = |ack: Option<Ack>| ack.map(|ack| ack.of_packets(serials));
        match answer {
            Answer::Stored(ack) => Answer::Stored(each(ack)),
            Answer::Handled(how, ack) => Answer::Handled(how, each(ack)),
            Answer::Rejected(fault, ack) => {
                self.reassembly.forget_last();
                Answer::Rejected(fault, each(ack))
            }
        }
    }

    fn serve(&mut self, header: &Header, body: &[u8], told: Told<'_>, step: &mut Step<'_>) -> Served {
        let Told { content, dated, acknowledged } = told;
        let kind = MessageType::Hex(header.message.into(), 4);
        let mut source = match dated {
            true => Source::dated(kind, body),
            false => Source::undated(kind, body, Some(header.serial.into())),
        };
        let ack = || Ack::general(header);
        match self.heard(header, &content, &mut source, step) {
            Some(Heard::Stored) => return Answer::Stored(acknowledged.then(ack)),
            Some(Heard::Repeat) => return Answer::Handled(Handled::Repeat, acknowledged.then(ack)),
            None => {}
        }
        let event = match content {
            Content::Position(mut report) => {
                correct_time(&mut report, step.now());
                Body::Position(*report)
            }
            Content::Status(mut report) => {
                correct_time(&mut report, step.now());
                Body::Status(*report)
            }
            Content::Alarm(mut report) => {
                correct_time(&mut report, step.now());
                Body::Alarm(*report)
            }
            Content::Heartbeat(Some(report)) => Body::Status(*report),
            Content::Driver(driver) => Body::Driver(driver),
            Content::Data(data) => Body::Data(data),
            Content::Bytes(data, bytes) => {
                step.emit_bytes(&mut source, &data, bytes);
                return Answer::Stored(acknowledged.then(ack));
            }
            Content::Media(media) => return self.media(header, *media, &mut source, step),
            Content::Batch(batch) => return store_batch(header, *batch, step),
            Content::Register(registration) => return self.register(header, body, *registration, &mut source, step),
            Content::Heartbeat(None) => return Answer::Handled(Handled::Heartbeat, Some(ack())),
            Content::Authenticate(_) => return Answer::Handled(Handled::Handshake, Some(ack())),
            Content::TimeRequest => return Answer::Handled(Handled::Handshake, Some(ack().with(Reply::Time))),
            Content::ClockRequest => return Answer::Handled(Handled::Handshake, Some(ack().with(Reply::Clock))),
            Content::Receipt { serial, message, result } => {
                if !self.receipted_by((serial, message, result), step) {
                    step.emit_unmatched(&mut source, message::receipt(serial, message, result), body.len());
                    return Answer::Stored(None);
                }
                return Answer::Handled(Handled::Answer, None);
            }
            Content::Answer | Content::Packet => return Answer::Handled(Handled::Answer, acknowledged.then(ack)),
            Content::Unregister => {
                step.close(Close::Goodbye);
                return Answer::Handled(Handled::Handshake, Some(ack()));
            }
        };
        step.emit(&mut source, event);
        let reply = if header::is_lock_report(header.message) { Reply::Lock } else { Reply::General };
        Answer::Stored(acknowledged.then(|| ack().with(reply)))
    }

    fn register(
        &mut self,
        header: &Header,
        body: &[u8],
        registration: Registration,
        source: &mut Source<'_>,
        step: &mut Step<'_>,
    ) -> Served {
        self.edition = registration.edition;
        let mut data = Data::values(DataKind::Parameters, registration.values, body.len());
        data.attributes.set("message", "registration");
        step.emit(source, Body::Data(Box::new(data)));
        Answer::Stored(Some(Ack::general(header).with(Reply::Registered)))
    }

    fn media(&mut self, header: &Header, media: Media<'_>, source: &mut Source<'_>, step: &mut Step<'_>) -> Served {
        let Media { id, mut data, bytes, is_last } = media;
        if data.part.is_some() {
            data.size_bytes = bytes.len();
            data.content = crate::event::Content::Base64(bytes.to_vec());
            step.emit(source, Body::Data(Box::new(data)));
        } else {
            step.emit_bytes(source, &data, bytes);
        }
        let reply = match is_last {
            true => Reply::Media { id, with_general: false },
            false => Reply::General,
        };
        Answer::Stored(Some(Ack::general(header).with(reply)))
    }
}

/// The acknowledgement of a whole message where its packets have been acknowledged one by one.
fn alone(whole: Option<Ack>, last: Ack) -> Ack {
    match whole.map(|ack| ack.reply) {
        Some(Reply::Media { id, .. }) => last.with(Reply::Media { id, with_general: true }),
        _ => last,
    }
}

fn store_packet(header: &Header, packet: header::Packet, body: &[u8], step: &mut Step<'_>) {
    let mut data = message::unknown(header.message);
    data.attributes.set("packet", packet.number);
    data.attributes.set("packets", packet.total);
    let kind = MessageType::Hex(header.message.into(), 4);
    step.emit_bytes(&mut Source::undated(kind, body, Some(header.serial.into())), &data, body);
}

/// Each item has the id of the 0x0200 that it is.
fn store_batch(header: &Header, batch: Batch<'_>, step: &mut Step<'_>) -> Served {
    let kind = MessageType::Hex(id::LOCATION.into(), 4);
    if !batch.count_fits {
        step.tolerate(FaultKind::Length);
    }
    for (mut report, body) in batch.items {
        let mut source = match report.time {
            Some(_) => Source::dated(kind, body),
            None => Source::undated(kind, body, Some(header.serial.into())),
        };
        correct_time(&mut report, step.now());
        if batch.archived {
            report.archived = Some(true);
        }
        step.emit(&mut source, Body::Position(*report));
    }
    for bytes in batch.unread {
        let kind = MessageType::Hex(header.message.into(), 4);
        let mut source = Source::undated(kind, bytes, Some(header.serial.into()));
        step.emit_bytes(&mut source, &message::unknown(header.message), bytes);
    }
    Answer::Stored(Some(Ack::general(header)))
}

/// Old receivers repeat their weeks every 1024.
fn correct_time(report: &mut Report, now: Now) {
    let Some(time) = report.time else {
        return;
    };
    let (corrected, moved) = undo_week_rollover(time, now.utc);
    if moved {
        report.attributes.set("time_corrected", true);
        report.attributes.set("time_sent", time.to_string());
        report.time = Some(corrected);
    }
}

fn report(given_up: GivenUp, step: &mut Step<'_>) {
    step.report(Fault::new(FaultKind::Reassembly, 0, given_up.detail), &given_up.bytes);
}

/// `(number,1,001,BASE,2,TIME)` asks for the time; all others tell something.
fn sentence(said: &[u8], step: &mut Step<'_>) -> Served {
    let text = String::from_utf8_lossy(said);
    let number = text.trim_start_matches('(').split(',').next().unwrap_or_default();
    if step.link().settings().auth.required {
        // there is no code in this form
        let fault = Fault::new(FaultKind::Unauthenticated, 0, "nothing is served before a good authentication");
        return Answer::Rejected(fault, None);
    }
    let named = if step.link().device_id().is_some() { Ok(()) } else { step.identify(number, None) };
    if let Err(fault) = named {
        return Answer::Rejected(fault, None);
    }
    if text.contains("BASE,2") {
        let header = Header::of_sentence();
        return Answer::Handled(Handled::Handshake, Some(Ack::general(&header).with(Reply::Sentence(said.into()))));
    }
    let mut source = Source::undated(MessageType::Word("sentence"), said, None);
    step.emit(&mut source, Body::Data(Box::new(Data::text(DataKind::Text, Cow::into_owned(text)))));
    Answer::Stored(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cursor::{hex, unhex};
    use crate::profile::{Auth, Settings};
    use crate::session::{Fate, Opening, Session, Turn};
    use crate::time::Timestamp;
    use std::sync::Arc;

    const POSITION: &str = "7e0200001c013800001111000100000000000000030260e30006f03ad8002c020b0057260301180000fe7e";
    const HEARTBEAT: &str = "7e000200000138000011110002397e";
    const REGISTRATION: &str = "7e0100002e0138000011110000000b00694e415647544e472d37000000000000000000000000000000005430303030303101bea941b2e2303830387f7e";

    struct Line {
        session: Box<dyn Session>,
        turn: Turn,
    }

    impl Line {
        fn new(session: u64, settings: Settings) -> Self {
            let opening = Opening { session: SessionId(session), settings: Arc::new(settings), device: None };
            Self { session: (crate::jt808::PROTOCOL.open)(opening), turn: Turn::default() }
        }

        fn receive(&mut self, frame: &str) -> Option<Fate> {
            let bytes = unhex(frame).unwrap();
            assert_eq!(self.session.receive(&bytes, now(), &mut self.turn), bytes.len());
            self.turn.fate
        }

        fn release(&mut self, delivery: Delivery) -> String {
            let mut out = Outgoing::default();
            self.session.release(Some(delivery), now(), &mut out);
            hex(&out.bytes)
        }
    }

    fn now() -> Now {
        Now { utc: Timestamp::parse("2026-03-01T10:00:05Z").unwrap(), uptime: Duration::ZERO }
    }

    #[test]
    fn nothing_is_acknowledged_before_its_turn() {
        let mut line = Line::new(0, Settings::default());
        assert_eq!(line.receive(POSITION), Some(Fate::Store));
        assert_eq!(line.receive(HEARTBEAT), Some(Fate::Handled(Handled::Heartbeat)));
        assert!(line.turn.send.bytes.is_empty());
        assert!(line.release(Delivery::Stored).contains("0001020000"));
        assert!(line.release(Delivery::Stored).contains("0002000200"));
    }

    #[test]
    fn a_refused_record_is_answered_as_failed() {
        let mut line = Line::new(0, Settings::default());
        line.receive(POSITION);
        assert!(line.release(Delivery::Refused).contains("0001020001"));
    }

    #[test]
    fn an_unknown_device_is_told_so_at_registration() {
        for (delivery, result) in [(Delivery::UnknownDevice, "04"), (Delivery::Refused, "02")] {
            let mut line = Line::new(0, Settings::default());
            line.receive(REGISTRATION);
            let answer = line.release(delivery);
            assert!(answer.starts_with("7e81000003") && answer[26..].starts_with(&format!("0000{result}")), "{answer}");
        }
    }

    #[test]
    fn our_serial_numbers_start_from_the_session() {
        let mut line = Line::new(0xABCD_1234, Settings::default());
        line.receive(POSITION);
        line.receive(HEARTBEAT);
        assert_eq!(line.release(Delivery::Stored)[22..26], *"1234");
        assert_eq!(line.release(Delivery::Stored)[22..26], *"1235");
    }

    #[test]
    fn a_stranger_without_a_code_does_not_become_the_device() {
        let auth = Auth { required: true, secrets: vec![b"s".to_vec()] };
        let mut line = Line::new(0, Settings { auth, ..Settings::default() });
        assert_eq!(line.receive(POSITION), Some(Fate::Reject(FaultKind::Unauthenticated)));
        assert!(line.session.device_id().is_none());
        assert!(line.release(Delivery::Stored).contains("0001020001"));
    }

    #[test]
    fn a_late_fix_is_no_rollover() {
        let at = |time: &str| Report { time: Timestamp::parse(time), ..Report::default() };
        let mut late = at("2014-07-23T09:20:15Z");
        correct_time(&mut late, now());
        assert_eq!(late, at("2014-07-23T09:20:15Z"));
        let mut old = at("2006-07-16T10:00:05Z");
        correct_time(&mut old, now());
        assert_eq!(old.time, Timestamp::parse("2026-03-01T10:00:05Z"));
        assert_eq!(old.attributes.get("time_corrected"), Some(&Value::Bool(true)));
    }
}
