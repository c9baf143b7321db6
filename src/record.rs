//! Events and rejects as records of the contract: the JSON value, and what the CloudEvents headers need.

use std::net::SocketAddr;
use std::sync::OnceLock;

use protocols::PROTOCOLS;
use protocols::event::{Body, Event, Topic};
use protocols::identity::{DeviceId, IdText, SessionId};
use protocols::session::Reject;
use protocols::time::Timestamp;
use serde::Serialize;

use crate::receipts::Token;

/// Longest detail of a reject in characters; details are sentences of ours, this is for those that quote a device.
const MAX_DETAIL: usize = 512;

/// A record on its way to the store; borrowed, the store copies what it keeps.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Record<'a> {
    /// Where it goes.
    pub(crate) topic: Topic,
    /// Partitions are chosen by it: the device id, or nothing before a device is known.
    pub(crate) key: Option<&'a str>,
    /// JSON.
    pub(crate) value: &'a [u8],
    /// For the headers.
    pub(crate) meta: Meta<'a>,
    /// Comes back when it is durable.
    pub(crate) token: Token,
}

/// What the CloudEvents headers say.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Meta<'a> {
    /// `ce_id`.
    pub(crate) id: Id,
    /// The type.
    pub(crate) kind: &'static Kind,
    /// `ce_source`.
    pub(crate) source: &'static str,
    /// `ce_subject`.
    pub(crate) subject: Option<&'a str>,
    /// `ce_time`.
    pub(crate) time: Timestamp,
    /// `navgate-epoch`.
    pub(crate) epoch: u64,
}

/// What the contract calls a type of record.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Kind {
    /// `ce_type`.
    pub(crate) ce_type: &'static str,
    /// `ce_dataschema`.
    pub(crate) schema: &'static str,
}

/// By [`Body::type_index`]; then the reject and the captured frame.
static KINDS: [Kind; Body::TYPES.len() + 2] = [
    Kind { ce_type: "navgate.position.v1", schema: "urn:navgate:schema:position:v1" },
    Kind { ce_type: "navgate.status.v1", schema: "urn:navgate:schema:status:v1" },
    Kind { ce_type: "navgate.alarm.v1", schema: "urn:navgate:schema:alarm:v1" },
    Kind { ce_type: "navgate.data.v1", schema: "urn:navgate:schema:data:v1" },
    Kind { ce_type: "navgate.order.v1", schema: "urn:navgate:schema:order:v1" },
    Kind { ce_type: "navgate.driver.v1", schema: "urn:navgate:schema:driver:v1" },
    Kind { ce_type: "navgate.reject.v1", schema: "urn:navgate:schema:reject:v1" },
    Kind { ce_type: "navgate.frame.v1", schema: "urn:navgate:schema:frame:v1" },
];

/// `ce_source` of each protocol: never the instance, so that a repeat through another instance is the same event.
fn source(protocol: usize) -> &'static str {
    static SOURCES: OnceLock<Vec<String>> = OnceLock::new();
    let all = SOURCES.get_or_init(|| PROTOCOLS.iter().map(|p| format!("/navgate/{}", p.name)).collect());
    all.get(protocol).map_or("/navgate", String::as_str)
}

/// The id of a record.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Id {
    /// Of an event.
    Event(IdText),
    /// Of a reject: the session and its count of rejects.
    Reject(SessionId, u64),
    /// Of captured bytes: the session and the count of its records of this capture.
    Frame(SessionId, u64),
}

/// Captured bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Frame<'a> {
    /// Number of the capture.
    pub(crate) capture: u64,
    /// `up` from the device, `down` to it.
    pub(crate) direction: &'static str,
    /// As on the wire: whatever was read or written at once.
    pub(crate) bytes: &'a [u8],
}

/// The session that records come from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Origin<'a> {
    /// The gateway's name.
    pub(crate) gateway: &'a str,
    /// Index in the registry; beyond its end while the protocol is not known.
    pub(crate) protocol: usize,
    /// What bytes look like that were not recognised.
    pub(crate) guess: Option<&'static str>,
    /// The session.
    pub(crate) session: SessionId,
    /// Its epoch; 0 before the device is known.
    pub(crate) epoch: u64,
    /// The device's own address.
    pub(crate) peer: SocketAddr,
    /// When the bytes came.
    pub(crate) received_at: Timestamp,
    /// Once known.
    pub(crate) device: Option<&'a DeviceId>,
}

impl<'a> Origin<'a> {
    fn protocol_name(&self) -> Option<&'static str> {
        PROTOCOLS.get(self.protocol).map(|p| p.name)
    }

    /// The record of an event, its value written to `value` (emptied first).
    pub(crate) fn event<'v>(&self, event: &Event, token: Token, value: &'v mut Vec<u8>) -> Record<'v>
    where
        'a: 'v,
    {
        let key = self.device.map(DeviceId::as_str);
        let id = event.id.text();
        value.clear();
        value.extend_from_slice(b"{\"id\":\"");
        value.extend_from_slice(id.as_str().as_bytes());
        value.extend_from_slice(b"\",\"type\":\"");
        value.extend_from_slice(event.body.type_name().as_bytes());
        value.extend_from_slice(b"\",\"device_id\":");
        json(value, &key.unwrap_or_default());
        value.extend_from_slice(b",\"protocol\":\"");
        value.extend_from_slice(self.protocol_name().unwrap_or_default().as_bytes());
        value.extend_from_slice(b"\",\"session\":");
        json(value, &self.session);
        value.extend_from_slice(b",\"epoch\":");
        json(value, &self.epoch);
        value.extend_from_slice(b",\"sequence\":");
        json(value, &event.sequence);
        value.extend_from_slice(b",\"received_at\":\"");
        value.extend_from_slice(self.received_at.rfc3339().as_str().as_bytes());
        value.extend_from_slice(b"\",\"gateway\":");
        json(value, self.gateway);
        value.extend_from_slice(b",\"");
        value.extend_from_slice(event.body.type_name().as_bytes());
        value.extend_from_slice(b"\":");
        match &event.body {
            Body::Position(r) | Body::Status(r) | Body::Alarm(r) => json(value, r),
            Body::Data(d) => json(value, d),
            Body::Order(o) => json(value, o),
            Body::Driver(d) => json(value, d),
        }
        value.push(b'}');
        Record {
            topic: event.body.topic(),
            key,
            value,
            meta: Meta {
                id: Id::Event(id),
                kind: &KINDS[event.body.type_index()],
                source: source(self.protocol),
                subject: key,
                time: event.body.time().unwrap_or(self.received_at),
                epoch: self.epoch,
            },
            token,
        }
    }

    /// The record of a reject, number `count` of its session.
    pub(crate) fn reject<'v>(&self, reject: &Reject, count: u64, token: Token, value: &'v mut Vec<u8>) -> Record<'v>
    where
        'a: 'v,
    {
        let key = self.device.map(DeviceId::as_str);
        let detail: &str = &reject.fault.detail;
        let detail = detail.char_indices().nth(MAX_DETAIL).map_or(detail, |(end, _)| &detail[..end]);
        let body = RejectValue {
            device_id: key,
            protocol: self.protocol_name(),
            guess: self.guess,
            session: self.session,
            gateway: self.gateway,
            peer: self.peer,
            received_at: self.received_at,
            reason: reject.fault.kind.label(),
            offset: reject.fault.offset,
            detail,
            hex: Hex(&reject.bytes),
            length: reject.length,
        };
        value.clear();
        json(value, &body);
        Record {
            topic: Topic::Rejects,
            key,
            value,
            meta: Meta {
                id: Id::Reject(self.session, count),
                kind: &KINDS[Body::TYPES.len()],
                source: source(self.protocol),
                subject: key,
                time: self.received_at,
                epoch: self.epoch,
            },
            token,
        }
    }
}

impl<'a> Origin<'a> {
    /// The record of captured bytes, number `count` of their connection.
    pub(crate) fn frame<'v>(&self, frame: &Frame<'_>, count: u64, token: Token, value: &'v mut Vec<u8>) -> Record<'v>
    where
        'a: 'v,
    {
        let key = self.device.map(DeviceId::as_str);
        let body = FrameValue {
            device_id: key,
            // nothing is captured before the protocol is known
            protocol: self.protocol_name(),
            session: self.session,
            gateway: self.gateway,
            peer: self.peer,
            at: self.received_at,
            direction: frame.direction,
            capture: frame.capture,
            hex: Hex(frame.bytes),
            length: frame.bytes.len(),
        };
        value.clear();
        json(value, &body);
        Record {
            topic: Topic::Frames,
            key,
            value,
            meta: Meta {
                id: Id::Frame(self.session, count),
                kind: &KINDS[Body::TYPES.len() + 1],
                source: source(self.protocol),
                subject: key,
                time: self.received_at,
                epoch: self.epoch,
            },
            token,
        }
    }
}

#[derive(Serialize)]
struct FrameValue<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'a str>,
    session: SessionId,
    gateway: &'a str,
    peer: SocketAddr,
    at: Timestamp,
    direction: &'static str,
    capture: u64,
    hex: Hex<'a>,
    length: usize,
}

#[derive(Serialize)]
struct RejectValue<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    protocol: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    guess: Option<&'static str>,
    session: SessionId,
    gateway: &'a str,
    peer: SocketAddr,
    received_at: Timestamp,
    reason: &'static str,
    offset: usize,
    detail: &'a str,
    hex: Hex<'a>,
    length: usize,
}

struct Hex<'a>(&'a [u8]);

impl Serialize for Hex<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&protocols::cursor::hex(self.0))
    }
}

/// Our types have no maps with keys that are not text, and a vector takes every write: this cannot fail.
fn json<T: Serialize + ?Sized>(value: &mut Vec<u8>, of: &T) {
    let result = serde_json::to_writer(&mut *value, of);
    debug_assert!(result.is_ok(), "{result:?}");
}
