//! Records between the connections and the shipping thread: one buffer of bytes and a list of where they lie in it, both
//! reused, so that a record costs a copy and no allocation.

use std::ops::Range;

use protocols::event::Topic;
use protocols::time::Timestamp;

use crate::receipts::Token;
use crate::record::{Id, Kind, Meta, Record};

/// Records in the order taken.
#[derive(Debug, Default)]
pub(super) struct Staging {
    bytes: Vec<u8>,
    records: Vec<Staged>,
    /// The shipping thread sleeps until there is any record.
    pub(super) idle: bool,
    /// There is a record that somebody waits for: what a driver does with an order. Those are few, and go at once.
    pub(super) urgent: bool,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Staged {
    pub(super) topic: Topic,
    pub(super) token: Token,
    keyed: bool,
    key: Range<usize>,
    value: Range<usize>,
    id: Id,
    kind: &'static Kind,
    source: &'static str,
    time: Timestamp,
    epoch: u64,
}

impl Staging {
    pub(super) fn push(&mut self, record: &Record<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(record.key.unwrap_or_default().as_bytes());
        let middle = self.bytes.len();
        self.bytes.extend_from_slice(record.value);
        self.records.push(Staged {
            topic: record.topic,
            token: record.token,
            keyed: record.key.is_some(),
            key: start..middle,
            value: middle..self.bytes.len(),
            id: record.meta.id,
            kind: record.meta.kind,
            source: record.meta.source,
            time: record.meta.time,
            epoch: record.meta.epoch,
        });
        self.urgent |= record.topic == Topic::Orders;
    }

    /// Whether the shipping thread should be woken for the record just pushed.
    pub(super) fn wants_waking(&mut self, busy: usize) -> bool {
        std::mem::take(&mut self.idle) || self.records.len() == busy || self.urgent
    }

    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.records.clear();
        self.urgent = false;
    }

    /// Record number `n`.
    pub(super) fn get(&self, n: usize) -> Option<Record<'_>> {
        let staged = self.records.get(n)?;
        let key = std::str::from_utf8(&self.bytes[staged.key.clone()]).unwrap_or_default();
        let key = staged.keyed.then_some(key);
        Some(Record {
            topic: staged.topic,
            key,
            value: &self.bytes[staged.value.clone()],
            meta: Meta {
                id: staged.id,
                kind: staged.kind,
                source: staged.source,
                subject: key,
                time: staged.time,
                epoch: staged.epoch,
            },
            token: staged.token,
        })
    }
}
