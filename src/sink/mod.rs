//! Where records go: one trait, two stores. A store takes a record or says that it has no room; later it reports the
//! record's token as durable. It never drops, and never blocks the caller.

use std::fmt;
use std::task::Waker;
use std::time::Duration;

use parking_lot::Mutex;
use serde::Serialize;

use crate::journal::Stats;
use crate::record::Record;

pub(crate) mod journal;
pub(crate) mod kafka;
pub(crate) mod spool;

/// A store of records.
pub(crate) trait Sink: Send + Sync + fmt::Debug {
    /// Hand over a record.
    ///
    /// # Errors
    /// [`Full`]: keep it, stop reading, register with [`Sink::waiters`], try again.
    fn submit(&self, record: &Record<'_>) -> Result<(), Full>;

    /// Keep a record of ours that comes from no frame. A store that has Kafka behind it keeps none: whoever made the record writes
    /// it there.
    ///
    /// # Errors
    /// [`Full`]: try again later.
    fn note(&self, topic: &str, value: &[u8]) -> Result<(), Full> {
        let _ = (topic, value);
        Ok(())
    }

    /// Who waits for room.
    fn waiters(&self) -> &Waiters;

    /// For readiness, metrics and the log.
    fn status(&self) -> Status;

    /// Make durable what was handed over, as far as that goes within the limit, and end. Called once, on a thread that may block.
    fn close(&self, limit: Duration);
}

/// There is no room now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Full;

/// How a store is.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Status {
    /// `kafka` or `journal`.
    pub(crate) kind: &'static str,
    /// `live`; with Kafka also `spooling` (records go to the journal) or `draining` (and Kafka empties it).
    pub(crate) mode: &'static str,
    /// Whether records become durable at present.
    pub(crate) healthy: bool,
    /// What is wrong, for a person; empty if nothing.
    pub(crate) trouble: String,
    /// Records handed over and not yet reported.
    pub(crate) unreported: u64,
    /// Age of the oldest of them, seconds.
    pub(crate) oldest_unreported_seconds: f64,
    /// Bytes in the journal.
    pub(crate) journal_bytes: u64,
    /// Age of the journal's oldest segment, seconds.
    pub(crate) journal_oldest_seconds: f64,
    /// Bytes handed to the journal and not yet durable.
    pub(crate) journal_uncommitted_bytes: usize,
    /// Segments that `on_full = "delete_oldest"` has deleted.
    pub(crate) journal_deleted_segments: u64,
    /// Segments of the journal.
    pub(crate) journal_segments: usize,
    /// Records that `on_full = "delete_oldest"` has deleted.
    pub(crate) journal_deleted_records: u64,
}

impl Status {
    /// How the journal is.
    fn journal(&mut self, stats: &Stats) {
        self.journal_bytes = stats.bytes;
        self.journal_oldest_seconds = stats.oldest.map_or(0.0, |at| at.elapsed().unwrap_or_default().as_secs_f64());
        self.journal_uncommitted_bytes = stats.uncommitted_bytes;
        self.journal_segments = stats.segments;
        self.journal_deleted_segments = stats.deleted_segments;
        self.journal_deleted_records = stats.deleted_records;
    }
}

/// Tasks that wait for room in a store.
#[derive(Debug, Default)]
pub(crate) struct Waiters(Mutex<Vec<Waker>>);

impl Waiters {
    /// Be woken when there may be room. Try once more after this, since room may have come in between.
    pub(crate) fn register(&self, waker: &Waker) {
        let mut waiting = self.0.lock();
        if !waiting.last().is_some_and(|w| w.will_wake(waker)) {
            waiting.push(waker.clone());
        }
    }

    /// There may be room.
    pub(crate) fn wake_all(&self) {
        let waiting = std::mem::take(&mut *self.0.lock());
        waiting.into_iter().for_each(Waker::wake);
    }
}
