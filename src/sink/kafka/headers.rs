//! The CloudEvents attributes in binary mode: of a record on its way, and of a line that waited in a journal.

use std::borrow::Cow;

use rdkafka::message::{Header, OwnedHeaders};
use serde::Deserialize;

use crate::record::{Id, Record};

/// The attributes.
struct Attributes<'a> {
    id: &'a str,
    ce_type: &'a str,
    source: &'a str,
    subject: Option<&'a str>,
    time: &'a str,
    schema: &'a str,
    epoch: u64,
}

impl Attributes<'_> {
    fn headers(&self) -> OwnedHeaders {
        let mut epoch = itoa::Buffer::new();
        let mut headers = OwnedHeaders::new_with_capacity(9)
            .insert(Header { key: "content-type", value: Some("application/json") })
            .insert(Header { key: "ce_specversion", value: Some("1.0") })
            .insert(Header { key: "ce_id", value: Some(self.id) })
            .insert(Header { key: "ce_type", value: Some(self.ce_type) })
            .insert(Header { key: "ce_source", value: Some(self.source) });
        if let Some(subject) = self.subject {
            headers = headers.insert(Header { key: "ce_subject", value: Some(subject) });
        }
        headers
            .insert(Header { key: "ce_time", value: Some(self.time) })
            .insert(Header { key: "ce_dataschema", value: Some(self.schema) })
            .insert(Header { key: "navgate-epoch", value: Some(epoch.format(self.epoch)) })
    }
}

/// Of a record.
pub(super) fn of_record(record: &Record<'_>) -> OwnedHeaders {
    let meta = &record.meta;
    let counted;
    let id = match &meta.id {
        Id::Event(text) => text.as_str(),
        Id::Reject(session, count) | Id::Frame(session, count) => {
            counted = format!("{session}-{count}");
            &counted
        }
    };
    Attributes {
        id,
        ce_type: meta.kind.ce_type,
        source: meta.source,
        subject: meta.subject,
        time: meta.time.rfc3339().as_str(),
        schema: meta.kind.schema,
        epoch: meta.epoch,
    }
    .headers()
}

/// What the attributes are made of, where they stand in a value.
#[derive(Debug, Deserialize)]
struct Value<'a> {
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    device_id: Option<Cow<'a, str>>,
    #[serde(borrow)]
    protocol: Option<Cow<'a, str>>,
    #[serde(borrow)]
    session: Option<Cow<'a, str>>,
    #[serde(borrow)]
    received_at: Option<Cow<'a, str>>,
    /// Of captured bytes, which have no type either: which way they went, and when.
    #[serde(borrow)]
    direction: Option<Cow<'a, str>>,
    #[serde(borrow)]
    at: Option<Cow<'a, str>>,
    #[serde(default)]
    epoch: u64,
    #[serde(borrow)]
    position: Option<Dated<'a>>,
    #[serde(borrow)]
    status: Option<Dated<'a>>,
    #[serde(borrow)]
    alarm: Option<Dated<'a>>,
    #[serde(borrow)]
    data: Option<Dated<'a>>,
    #[serde(borrow)]
    order: Option<Dated<'a>>,
    #[serde(borrow)]
    driver: Option<Dated<'a>>,
}

#[derive(Debug, Deserialize)]
struct Dated<'a> {
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
    #[serde(borrow)]
    position: Option<Place<'a>>,
}

#[derive(Debug, Deserialize)]
struct Place<'a> {
    #[serde(borrow)]
    time: Option<Cow<'a, str>>,
}

/// A line of a journal as Kafka gets it: key and headers as the record had them.
pub(super) struct Line {
    pub(super) key: Option<String>,
    pub(super) headers: OwnedHeaders,
}

impl Line {
    /// `checksum` tells apart rejects of one session; in the journal they have no number.
    ///
    /// # Errors
    /// The value is not one of ours.
    pub(super) fn of(value: &[u8], checksum: u32) -> Result<Self, serde_json::Error> {
        let value: Value<'_> = serde_json::from_slice(value)?;
        let nameless = if value.direction.is_some() { "frame" } else { "reject" };
        let kind = value.kind.as_deref().unwrap_or(nameless);
        let dated = [&value.position, &value.status, &value.alarm, &value.data, &value.order, &value.driver];
        let dated = dated.into_iter().flatten().next();
        let own = dated.and_then(|d| d.time.as_deref().or_else(|| d.position.as_ref().and_then(|p| p.time.as_deref())));
        let reject;
        let id = match &value.id {
            Some(id) => id.as_ref(),
            None => {
                reject = format!("{}-{checksum:08x}", value.session.as_deref().unwrap_or("0"));
                &reject
            }
        };
        let attributes = Attributes {
            id,
            ce_type: &format!("navgate.{kind}.v1"),
            source: &value.protocol.as_deref().map_or_else(|| "/navgate".to_owned(), |p| format!("/navgate/{p}")),
            subject: value.device_id.as_deref(),
            time: own.or(value.received_at.as_deref()).or(value.at.as_deref()).unwrap_or("1970-01-01T00:00:00.000Z"),
            schema: &format!("urn:navgate:schema:{kind}:v1"),
            epoch: value.epoch,
        };
        Ok(Self { key: value.device_id.as_deref().map(str::to_owned), headers: attributes.headers() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::receipts::Token;
    use crate::record::Origin;
    use protocols::event::{Body, Event, Report};
    use protocols::fault::{Fault, FaultKind};
    use protocols::identity::{DeviceId, EventId, SessionId};
    use protocols::session::Reject;
    use protocols::time::Timestamp;
    use rdkafka::message::Headers;

    fn pairs(headers: &OwnedHeaders) -> Vec<(String, String)> {
        let text = |h: Header<'_, &[u8]>| String::from_utf8_lossy(h.value.unwrap_or_default()).into_owned();
        headers.iter().map(|h| (h.key.to_owned(), text(h))).collect()
    }

    #[test]
    fn a_line_has_the_attributes_that_the_record_had() {
        let device = DeviceId::normalise("13800000001").unwrap();
        let origin = Origin {
            gateway: "gw-1",
            protocol: 0,
            session: SessionId(5),
            epoch: 77,
            peer: ([127, 0, 0, 1], 9).into(),
            received_at: Timestamp::from_seconds(1_772_359_200),
            device: Some(&device),
        };
        for time in [None, Some(Timestamp::from_seconds(1_772_000_000))] {
            let body = Body::Position(Report { time, latitude: Some(1.0), longitude: Some(2.0), ..Report::default() });
            let event = Event { id: EventId([7; 16]), sequence: 3, body };
            let mut value = Vec::new();
            let record = origin.event(&event, Token::NONE, &mut value);
            let line = Line::of(record.value, 0).unwrap();
            assert_eq!(pairs(&line.headers), pairs(&of_record(&record)));
            assert_eq!(line.key.as_deref(), record.key);
        }
        let reject = Reject { fault: Fault::new(FaultKind::Garbage, 0, "x"), bytes: vec![1], length: 1 };
        let mut value = Vec::new();
        let record = origin.reject(&reject, 4, Token::NONE, &mut value);
        let (line, of_record) = (pairs(&Line::of(record.value, 0xAB).unwrap().headers), pairs(&of_record(&record)));
        assert_eq!(line[2].1, "0000000000000005-000000ab");
        let captured = crate::record::Frame { capture: 1, direction: "up", bytes: &[1] };
        let mut frame = Vec::new();
        let frame = origin.frame(&captured, 4, Token::NONE, &mut frame);
        let (waited, sent) = (pairs(&Line::of(frame.value, 0xAB).unwrap().headers), pairs(&super::of_record(&frame)));
        assert_eq!([&waited[..2], &waited[3..8]].concat(), [&sent[..2], &sent[3..8]].concat());
        // a reject's value does not say the epoch
        assert_eq!([&line[..2], &line[3..8]].concat(), [&of_record[..2], &of_record[3..8]].concat());
    }

    #[test]
    fn refuses_what_is_no_record() {
        assert!(Line::of(b"[]", 0).is_err());
        assert!(Line::of(b"{", 0).is_err());
    }
}
