//! Messages of terminals in the protocol's own words.

use nom::number::complete::{be_u8, be_u16, be_u32};

use super::context::Context;
use super::header::{Header, Packet};
use super::media::{self, Media};
use super::{device, parameters, position, shift, trip};
use crate::cursor::{Cursor, hex};
use crate::event::{Actor, Attributes, Data, DataKind, Driver, Order, OrderAction, Reason, Report, Value};
use crate::fault::Fault;

/// Message ids.
pub(super) mod id {
    pub(in super::super) const ANSWER: u16 = 0x0001;
    pub(in super::super) const HEARTBEAT: u16 = 0x0002;
    pub(in super::super) const PARAMETERS: u16 = 0x0104;
    pub(in super::super) const UPGRADE_RESULT: u16 = 0x0105;
    pub(in super::super) const POSITION: u16 = 0x0200;
    pub(in super::super) const POSITION_ANSWER: u16 = 0x0201;
    pub(in super::super) const TRACKING: u16 = 0x0202;
    pub(in super::super) const STORED_POSITIONS: u16 = 0x0203;
    pub(in super::super) const EVENT: u16 = 0x0301;
    pub(in super::super) const CHOICE: u16 = 0x0302;
    pub(in super::super) const CONTROL_ANSWER: u16 = 0x0500;
    pub(in super::super) const PICTURE: u16 = 0x0800;
    pub(in super::super) const PICTURES: u16 = 0x0802;
    pub(in super::super) const RECORDINGS: u16 = 0x0805;
    pub(in super::super) const RECORDING: u16 = 0x0806;
    /// Of Uninew, where the standard has [`GRAB`].
    pub(in super::super) const GRAB_UNINEW: u16 = 0x0B00;
    pub(in super::super) const GRAB: u16 = 0x0B01;
    pub(in super::super) const SIGN_ON: u16 = 0x0B03;
    pub(in super::super) const SIGN_OFF: u16 = 0x0B04;
    pub(in super::super) const TRIP: u16 = 0x0B05;
    pub(in super::super) const FINISHED: u16 = 0x0B07;
    pub(in super::super) const GIVEN_UP: u16 = 0x0B08;
    /// Of CTFO: the terminal's side of [`CANCELLED`].
    pub(in super::super) const CANCELLED_UP: u16 = 0x0B09;
    pub(in super::super) const PASSTHROUGH: u16 = 0x0B10;
    pub(in super::super) const INSPECTION: u16 = 0x0B11;

    /// What terminals send.
    pub(in super::super) const UP: [u16; 25] = [
        ANSWER,
        HEARTBEAT,
        PARAMETERS,
        UPGRADE_RESULT,
        POSITION,
        POSITION_ANSWER,
        TRACKING,
        STORED_POSITIONS,
        EVENT,
        CHOICE,
        CONTROL_ANSWER,
        PICTURE,
        PICTURES,
        RECORDINGS,
        RECORDING,
        GRAB_UNINEW,
        GRAB,
        SIGN_ON,
        SIGN_OFF,
        TRIP,
        FINISHED,
        GIVEN_UP,
        CANCELLED_UP,
        PASSTHROUGH,
        INSPECTION,
    ];

    pub(in super::super) const GENERAL: u16 = 0x8001;
    pub(in super::super) const QUERY_PARAMETERS: u16 = 0x8104;
    pub(in super::super) const QUERY_POSITION: u16 = 0x8201;
    pub(in super::super) const SET_EVENTS: u16 = 0x8301;
    pub(in super::super) const CONTROL_VEHICLE: u16 = 0x8500;
    pub(in super::super) const TAKE_PICTURE: u16 = 0x8801;
    pub(in super::super) const CANCELLED: u16 = 0x8B09;
    /// Of Uninew, where the standard has [`CANCELLED`].
    pub(in super::super) const CANCELLED_UNINEW: u16 = 0x8B08;
}

/// Answers to messages of ours: answering them would never end.
pub(super) const ANSWERS: [u16; 7] =
    [id::ANSWER, id::PARAMETERS, id::POSITION_ANSWER, id::CONTROL_ANSWER, id::PICTURES, id::RECORDINGS, id::INSPECTION];

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
}

/// What bodies say.
#[derive(Debug)]
pub(super) enum Content<'f> {
    /// 0x0001.
    Answer(Answered),
    Heartbeat,
    Position(Box<Report>),
    Batch(Box<Batch<'f>>),
    /// An action on the order with this business id, if it has one.
    Order(Box<Order>, Option<u32>),
    Driver(Box<Driver>),
    /// 0x0301.
    Event(u8),
    Data(Box<Data>),
    /// A description, and the bytes it is about.
    Bytes(Box<Data>, &'f [u8]),
    Media(Box<Media<'f>>),
    /// A message id that no source knows.
    Unknown(&'f [u8]),
}

/// A terminal's general answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Answered {
    pub(super) serial: u16,
    pub(super) message: u16,
    pub(super) result: u8,
}

/// 0x0203.
#[derive(Debug, Default)]
pub(super) struct Batch<'f> {
    /// Each with the bytes that it is, the body of a 0x0200.
    pub(super) items: Vec<(Box<Report>, &'f [u8])>,
    /// Bytes behind the last whole position.
    pub(super) rest: &'f [u8],
}

/// Read a body.
pub(super) fn read<'f>(header: &Header, c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Told<'f>, Fault> {
    if let Some(packet) = header.packet {
        return Ok(packet_of(header.message, packet, c));
    }
    Ok(match header.message {
        id::POSITION => position_at(position::read_with_items(c, context)?),
        id::TRACKING => {
            let mut report = position::read_with_items(c, context)?;
            report.attributes.set("tracking", true);
            position_at(report)
        }
        id::POSITION_ANSWER | id::CONTROL_ANSWER => {
            let answers = c.read("answers_serial", be_u16)?;
            let mut report = position::read_with_items(c, context)?;
            report.attributes.set("answers_serial", answers);
            position_at(report)
        }
        id::STORED_POSITIONS => Told { dated: true, ..undated(Content::Batch(Box::new(batch(c, context)?))) },
        id::ANSWER => {
            let serial = c.read("answers_serial", be_u16)?;
            let message = c.read("answers_message", be_u16)?;
            c.show(|| format!("0x{message:04x}"));
            let result = c.read("result", be_u8)?;
            c.note(|| ["done", "failed", "faulty", "unsupported"].get(usize::from(result)).copied().unwrap_or("unknown"));
            undated(Content::Answer(Answered { serial, message, result }))
        }
        id::HEARTBEAT => {
            c.take_rest("rest");
            undated(Content::Heartbeat)
        }
        id::PARAMETERS => {
            let size = c.remaining();
            told("parameters", parameters::read(c, context)?, size)
        }
        id::UPGRADE_RESULT => {
            let size = c.remaining();
            told("upgrade_result", device::upgrade_result(c)?, size)
        }
        id::EVENT => {
            let event = c.read("event_id", be_u8)?;
            c.take_rest("rest");
            undated(Content::Event(event))
        }
        id::CHOICE => {
            let size = c.remaining();
            let mut values = Attributes::default();
            values.set("question_id", c.read("question_id", be_u32)?);
            values.set("answer_id", c.read("answer_id", be_u8)?);
            rest(c, &mut values);
            told("question_answer", values, size)
        }
        id::PICTURE => media::picture(c, context)?,
        id::RECORDING => media::recording(c)?,
        id::PICTURES | id::RECORDINGS => {
            let size = c.remaining();
            let name = if header.message == id::PICTURES { "stored_pictures" } else { "stored_recordings" };
            told(name, media::stored(c)?, size)
        }
        id::GRAB | id::GRAB_UNINEW => business(OrderAction::Accepted, c)?,
        id::FINISHED => business(OrderAction::Completed, c)?,
        id::CANCELLED_UP => business(OrderAction::Cancelled, c)?,
        id::GIVEN_UP => given_up(c)?,
        id::SIGN_ON => shift::sign_on(c, context)?,
        id::SIGN_OFF => shift::sign_off(c, context)?,
        id::TRIP => trip::read(c, context)?,
        id::PASSTHROUGH => device::passthrough(c, context)?,
        id::INSPECTION => {
            let size = c.remaining();
            told("inspection", device::inspection(c)?, size)
        }
        _ => undated(Content::Unknown(c.take_rest("body"))),
    })
}

/// Content without a time of its own.
pub(super) fn undated(content: Content<'_>) -> Told<'_> {
    Told { content, dated: false }
}

fn position_at<'f>(report: Box<Report>) -> Told<'f> {
    Told { dated: report.time.is_some(), content: Content::Position(report) }
}

/// Named values that were so many bytes, under the message's name.
fn told<'f>(message: &'static str, values: Attributes, size: usize) -> Told<'f> {
    let mut data = Data::values(DataKind::Parameters, values, size);
    data.attributes.set("message", message);
    undated(Content::Data(Box::new(data)))
}

/// What a table does not know, kept under `rest`.
pub(super) fn rest(c: &mut Cursor<'_, '_>, values: &mut Attributes) {
    if c.remaining() > 0 {
        values.set("rest", hex(c.take_rest("rest")));
    }
}

/// A description of bytes of a message.
pub(super) fn unknown(message: u16) -> Data {
    let mut data = Data::bytes(DataKind::Unknown, "application/octet-stream");
    data.attributes.set("message", format!("0x{message:04x}"));
    data
}

/// Only one platform splits messages, and its terminals wait for each packet's acknowledgement: each is kept by itself.
fn packet_of<'f>(message: u16, packet: Packet, c: &mut Cursor<'f, '_>) -> Told<'f> {
    let mut data = unknown(message);
    data.attributes.set("packet", packet.number);
    data.attributes.set("packets", packet.total);
    undated(Content::Bytes(Box::new(data), c.take_rest("packet")))
}

fn batch<'f>(c: &mut Cursor<'f, '_>, context: &Context<'_>) -> Result<Batch<'f>, Fault> {
    let mut batch = Batch::default();
    loop {
        let item = c.rest().get(..position::LENGTH).unwrap_or_default();
        // the first one must be there
        if !batch.items.is_empty() && item.is_empty() {
            break;
        }
        batch.items.push((position::read(c, context)?, item));
    }
    batch.rest = c.take_rest("rest");
    Ok(batch)
}

fn business<'f>(action: OrderAction, c: &mut Cursor<'f, '_>) -> Result<Told<'f>, Fault> {
    let business = c.read("business_id", be_u32)?;
    let mut order = Box::new(Order::of(action, Actor::Driver));
    rest(c, &mut order.attributes);
    Ok(undated(Content::Order(order, Some(business))))
}

/// 0x0B08. Reasons above 2 are those that some platforms send down beforehand.
fn given_up<'f>(c: &mut Cursor<'f, '_>) -> Result<Told<'f>, Fault> {
    let business = c.read("business_id", be_u32)?;
    let mut order = Box::new(Order::of(OrderAction::Cancelled, Actor::Driver));
    if c.remaining() > 0 {
        let reason = c.read("reason", be_u8)?;
        c.note(|| ["accident", "road blocked", "other"].get(usize::from(reason)).copied().unwrap_or("the platform's own"));
        order.reason = Some(match reason {
            0 => Reason::Accident,
            1 => Reason::RoadBlocked,
            _ => Reason::Other,
        });
        if reason > 2 {
            order.attributes.set("reason_code", reason);
        }
    }
    rest(c, &mut order.attributes);
    Ok(undated(Content::Order(order, Some(business))))
}

/// A word for a number, else the number.
pub(super) fn word(n: u8, words: &[(u8, &'static str)]) -> Value {
    words.iter().find(|(known, _)| *known == n).map_or_else(|| n.into(), |(_, word)| Value::from(*word))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;
    use crate::jt905::header::Isu;
    use crate::profile::Profile;

    fn try_read(message: u16, body: &[u8]) -> Result<Told<'_>, Fault> {
        let header = Header { message, isu: Isu([0x10; 6]), serial: 1, packet: None, length_fits: true };
        read(&header, &mut Cursor::new(body, 0, None), &Context::new(&Profile::default()))
    }

    fn order_of(message: u16, body: &[u8]) -> (serde_json::Value, Option<u32>) {
        match try_read(message, body).unwrap().content {
            Content::Order(order, business) => (serde_json::to_value(order).unwrap(), business),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn order_messages_are_actions_of_the_driver() {
        for (message, action) in
            [(id::GRAB, "accepted"), (id::GRAB_UNINEW, "accepted"), (id::FINISHED, "completed"), (id::CANCELLED_UP, "cancelled")]
        {
            let expected = serde_json::json!({"action": action, "actor": "driver"});
            assert_eq!(order_of(message, b"\x00\x00\x03\xe9"), (expected, Some(1001)));
        }
    }

    #[test]
    fn a_driver_gives_up_for_a_reason() {
        let reasons = [(0, "accident"), (1, "road_blocked"), (2, "other"), (9, "other")];
        for (n, reason) in reasons {
            let (order, business) = order_of(id::GIVEN_UP, &[0, 0, 3, 0xE9, n]);
            assert_eq!((order["reason"].as_str(), business), (Some(reason), Some(1001)));
            assert_eq!(order["attributes"]["reason_code"].as_u64(), (n > 2).then_some(n.into()));
        }
        assert_eq!(order_of(id::GIVEN_UP, b"\0\0\0\x01").0["reason"], serde_json::Value::Null);
    }

    #[test]
    fn refuses_what_is_too_short_for_its_id() {
        for message in id::UP.iter().filter(|m| **m != id::HEARTBEAT && **m != id::INSPECTION) {
            assert_eq!(try_read(*message, b"").unwrap_err().kind, FaultKind::Truncated, "{message:04x}");
        }
    }

    #[test]
    fn no_message_panics_on_anything() {
        let mut sampler = crate::script::laws::Sampler::new(905);
        for message in id::UP {
            for length in 0..160 {
                let body: Vec<u8> = (0..length).map(|_| sampler.number() as u8).collect();
                let _ = try_read(message, &body);
            }
        }
    }

    #[test]
    fn unknown_ids_keep_their_bytes() {
        assert!(matches!(try_read(0x0100, b"ab").unwrap().content, Content::Unknown(b"ab")));
    }
}
