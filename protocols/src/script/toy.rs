//! An invented protocol for the tests of this folder, and the same with flaws that the laws must find.
//!
//! A frame is `02`, length of what follows up to the checksum, type, payload, XOR of type and payload, `03`.
//! An answer is `06`, the type, our serial (two bytes), whatever the type adds, `03`.

use std::time::Duration;

use crate::command::{Command, Kind};
use crate::cursor::{Cursor, Trace};
use crate::desk::{Confirms, Emitted, Errand, Key, OrderRef, Plan, Retry, Unfit, Verdict};
use crate::event::{Actor, Body, Order, OrderAction, Report};
use crate::fault::{Fault, FaultKind};
use crate::identity::{MessageType, SessionId};
use crate::parts::checksum::xor;
use crate::profile::{Charset, Profile};
use crate::registry::Protocol;
use crate::session::{Close, Delivery, Handled, Outgoing};
use crate::time::Now;
use crate::wire::{Answer, Checksum, Cut, Frame, Limits, Link, Probe, Source, Step, Wire};

pub(crate) const LOGIN: u8 = 1;
pub(crate) const POSITION: u8 = 2;
pub(crate) const HEARTBEAT: u8 = 3;
pub(crate) const PART: u8 = 4;
pub(crate) const BYE: u8 = 5;
/// Receipt for a message of ours: its serial.
pub(crate) const GOT: u8 = 6;
/// The driver takes the order of this number.
pub(crate) const TAKE: u8 = 7;
/// A message of ours.
pub(crate) const SAY: u8 = 0x10;

/// No flaw.
pub(crate) const SOUND: u8 = 0;
/// What garbage is called depends on how much of it is there.
pub(crate) const SPLITS: u8 = 1;
/// A deadline that stays in the past.
pub(crate) const STALLS: u8 = 2;
/// A place that is none.
pub(crate) const LIES: u8 = 3;

pub(crate) static TOY: Protocol = protocol::<SOUND>();
pub(crate) static SPLITTING: Protocol = protocol::<SPLITS>();
pub(crate) static STALLING: Protocol = protocol::<STALLS>();
pub(crate) static LYING: Protocol = protocol::<LIES>();

const fn protocol<const FLAW: u8>() -> Protocol {
    Protocol::of::<Toy<FLAW>>("an invented protocol", 1, &[("01", "login")], &[])
}

/// A frame, for tests.
pub(crate) fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
    let body = [&[kind], payload].concat();
    [&[2, u8::try_from(body.len()).unwrap()], body.as_slice(), &[xor(&body), 3]].concat()
}

/// A position report, for tests.
pub(crate) fn position(latitude_e5: i32, longitude_e5: i32) -> Vec<u8> {
    frame(POSITION, &[latitude_e5.to_be_bytes(), longitude_e5.to_be_bytes()].concat())
}

pub(crate) struct Toy<const FLAW: u8> {
    serial: u16,
    part: Option<Duration>,
}

impl<const FLAW: u8> Wire for Toy<FLAW> {
    const NAME: &'static str = "toy";
    const LIMITS: Limits = Limits { max_frame: 64, quiet: Duration::from_secs(1), idle: Duration::from_secs(60) };
    type Message<'f> = (u8, &'f [u8]);
    type Ack = u8;

    fn new(session: SessionId) -> Self {
        Self { serial: session.0 as u16, part: None }
    }

    fn probe(head: &[u8]) -> Probe {
        match head.first() {
            None => Probe::More,
            Some(2) => Probe::Yes,
            Some(_) => Probe::No,
        }
    }

    fn cut<'b>(&self, input: &'b [u8], _quiet: bool, _scratch: &'b mut Vec<u8>) -> Cut<'b> {
        let garbage = |n: usize| {
            let kind = if FLAW == SPLITS && n > 3 { FaultKind::Oversize } else { FaultKind::Garbage };
            Cut::Skip(n, Fault::new(kind, 0, "no frame starts here"))
        };
        let start = input.iter().position(|b| *b == 2).unwrap_or(input.len());
        if start > 0 {
            return garbage(start);
        }
        let Some(length) = input.get(1).map(|n| usize::from(*n)) else { return Cut::More };
        if !(1..=60).contains(&length) {
            return garbage(1);
        }
        let Some(raw) = input.get(..length + 4) else { return Cut::More };
        let [.., found, 3] = *raw else { return garbage(1) };
        let content = &raw[2..length + 2];
        let expected = xor(content);
        let checksum = match expected == found {
            true => Checksum::Good,
            false => Checksum::Wrong { expected: expected.into(), found: found.into(), offset: length },
        };
        Cut::Frame(Frame { raw, content, form: 0, checksum })
    }

    fn decode<'f>(&self, frame: &Frame<'f>, _profile: &Profile, trace: Option<&mut Trace>) -> Result<Self::Message<'f>, Fault> {
        let mut c = Cursor::new(frame.content, 0, trace);
        let kind = c.bytes("type", 1)?[0];
        if !(LOGIN..=TAKE).contains(&kind) {
            return Err(Fault::new(FaultKind::Value, 0, "no such type"));
        }
        let payload = c.take_rest("payload");
        if kind == POSITION && payload.len() != 8 {
            return Err(Fault::new(FaultKind::Length, 1, "a position has 8 bytes"));
        }
        Ok((kind, payload))
    }

    fn on_message(&mut self, (kind, payload): Self::Message<'_>, step: &mut Step<'_>) -> Answer<u8> {
        match kind {
            LOGIN => match step.identify(&String::from_utf8_lossy(payload), None) {
                Ok(()) => Answer::Handled(Handled::Handshake, Some(kind)),
                Err(fault) => Answer::Rejected(fault, None),
            },
            POSITION => {
                let degrees = |at: usize| f64::from(i32::from_be_bytes(payload[at..at + 4].try_into().unwrap())) / 1e5;
                let latitude = if FLAW == LIES { 91.0 } else { degrees(0) % 90.0 };
                let report = Report { latitude: Some(latitude), longitude: Some(degrees(4) % 180.0), ..Report::default() };
                step.emit(&mut Source::dated(MessageType::Hex(2, 2), payload), Body::Position(report));
                Answer::Stored(Some(kind))
            }
            PART => {
                self.part = Some(step.now().uptime + Duration::from_secs(10));
                Answer::Handled(Handled::Fragment, None)
            }
            GOT => {
                let number = payload.iter().fold(0, |n: u64, b| n << 8 | u64::from(*b));
                step.answer(Key { kind: u16::from(SAY), number }, Verdict::Delivered);
                Answer::Handled(Handled::Answer, None)
            }
            TAKE => {
                let mut source = Source::undated(MessageType::Hex(7, 2), payload, None);
                let name = payload.first().map_or(0, |n| *n).to_string();
                match step.emit_order(&mut source, Order::of(OrderAction::Accepted, Actor::Driver), OrderRef::Named(&name)) {
                    Emitted::Stored => Answer::Stored(Some(kind)),
                    Emitted::Repeat => Answer::Handled(Handled::Repeat, Some(kind)),
                }
            }
            BYE => {
                step.close(Close::Goodbye);
                Answer::Handled(Handled::Handshake, Some(kind))
            }
            _ => Answer::Handled(Handled::Heartbeat, Some(kind)),
        }
    }

    fn on_unreadable(&mut self, _frame: &Frame<'_>, _fault: &Fault, _step: &mut Step<'_>) -> Option<u8> {
        Some(0xFF)
    }

    fn acknowledge(&mut self, kind: u8, _delivery: Delivery, link: &Link, now: Now, out: &mut Outgoing) {
        let device = link.device_id().map_or("", |id| id.as_str());
        let code = link.settings().auth.code(device);
        self.serial = self.serial.wrapping_add(1);
        out.frame(|bytes| {
            bytes.extend_from_slice(&[6, kind]);
            bytes.extend_from_slice(&self.serial.to_be_bytes());
            if kind == LOGIN {
                bytes.extend_from_slice(code.as_bytes());
            }
            if kind == HEARTBEAT {
                bytes.extend_from_slice(&now.utc.civil(0).six());
            }
            bytes.push(3);
        });
    }

    fn deadline(&self) -> Option<Duration> {
        self.part
    }

    fn on_deadline(&mut self, ended: bool, step: &mut Step<'_>) {
        if self.part.is_none() || (FLAW == STALLS && !ended) {
            return;
        }
        self.part = None;
        step.report(Fault::new(FaultKind::Reassembly, 0, "the other parts did not come"), &[0]);
        if !ended {
            step.send(|bytes| bytes.extend_from_slice(b"again\r\n"));
        }
    }

    type Downlink = (u16, String);

    const COMMANDS: &'static [(&'static str, Confirms)] =
        &[("order_offer", Confirms::Answer), ("text", Confirms::Receipt), ("locate", Confirms::Never)];

    fn samples() -> Vec<Self::Downlink> {
        vec![(1, "hello".to_owned()), (0xFFFF, String::new())]
    }

    fn encode(&self, (serial, text): &Self::Downlink, _link: &Link, out: &mut Vec<u8>) {
        let [high, low] = serial.to_be_bytes();
        Self::seal(0, &[&[SAY, high, low], text.as_bytes()].concat(), out);
    }

    fn decode_downlink(&self, raw: &[u8], _profile: &Profile, trace: Option<&mut Trace>) -> Result<Self::Downlink, Fault> {
        let mut scratch = Vec::new();
        let Cut::Frame(frame) = self.cut(raw, true, &mut scratch) else {
            return Err(Fault::new(FaultKind::Truncated, raw.len(), "no whole frame"));
        };
        let mut c = Cursor::new(frame.content, 0, trace);
        let [SAY, high, low] = *c.bytes("type and serial", 3)? else { return Err(c.fault_here(FaultKind::Value, "no such type")) };
        Ok((u16::from_be_bytes([high, low]), String::from_utf8_lossy(c.take_rest("text")).into_owned()))
    }

    fn seal(_form: u8, content: &[u8], out: &mut Vec<u8>) {
        out.extend_from_slice(&[2, content.len() as u8]);
        out.extend_from_slice(content);
        out.extend_from_slice(&[xor(content), 3]);
    }

    fn on_command(&mut self, command: &Command, errand: &mut Errand<'_>) -> Result<Plan<Self::Downlink>, Unfit> {
        self.serial = self.serial.wrapping_add(1);
        let serial = self.serial;
        let key = Key { kind: u16::from(SAY), number: serial.into() };
        match &command.kind {
            Kind::Text(text) => {
                let text = String::from_utf8_lossy(&errand.text(&text.text, Charset::Ascii)?).into_owned();
                let retry = Retry { first: Duration::from_secs(5), times: 2, grows: true };
                Ok(Plan::receipt((serial, text), key).retried(retry))
            }
            Kind::OrderOffer(offer) => {
                let number = errand.number(&offer.order_id, 255);
                Ok(Plan::answer((serial, number.to_string()), vec![key]))
            }
            Kind::Locate(_) => Ok(Plan::blind((serial, "?".to_owned()))),
            _ => Err(Unfit::Unsupported),
        }
    }
}
