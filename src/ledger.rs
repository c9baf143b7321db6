//! The accounting: every received frame has exactly one fate, and a snapshot over the whole process is consistent.
//!
//! Counts live in a few shards, each behind a lock that is nearly never contended. A change that moves a frame from one
//! fate to another happens under one lock, and a snapshot holds all locks at once: so what is received always equals what is
//! stored, handled, rejected, dropped and in flight. `unaccounted` is computed, not assumed; a path that forgets a frame
//! shows there.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::Mutex;
use protocols::PROTOCOLS;
use protocols::fault::FaultKind;
use protocols::session::Handled;

/// Shards: more than the threads that count in practice, so that each has its own.
const SHARDS: usize = 16;

/// The label of bytes whose protocol is not known: of a connection to a port that recognises protocols, until it has.
pub(crate) const UNDETECTED: &str = "auto";

/// Labels of the counts in a snapshot: the protocols by their index in the registry, then [`UNDETECTED`].
pub(crate) fn labels() -> impl Iterator<Item = &'static str> {
    PROTOCOLS.iter().map(|p| p.name).chain([UNDETECTED])
}

/// Why received frames were dropped, that is neither stored nor acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dropped {
    /// Received while the connection was being closed.
    Closing,
    /// A reject beyond the limit of its connection.
    RejectLimit,
}

impl Dropped {
    /// Every reason, in declaration order.
    pub(crate) const ALL: [Self; 2] = [Self::Closing, Self::RejectLimit];

    /// The metric label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Closing => "closing",
            Self::RejectLimit => "reject_limit",
        }
    }
}

/// The counts of one protocol.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Frames, and runs of skipped bytes.
    pub(crate) received: i64,
    /// All of their events are durable.
    pub(crate) stored: i64,
    /// Nothing to store, by [`Handled::index`].
    pub(crate) handled: [i64; Handled::ALL.len()],
    /// Their reject is durable, by [`FaultKind::index`].
    pub(crate) rejected: [i64; FaultKind::ALL.len()],
    /// By declaration order of [`Dropped`].
    pub(crate) dropped: [i64; Dropped::ALL.len()],
    /// Handed to the store and not yet reported.
    pub(crate) in_flight: i64,
    /// Faults of any kind, tolerated ones included.
    pub(crate) faults: [i64; FaultKind::ALL.len()],
    /// Acknowledgements written to devices.
    pub(crate) acknowledged: i64,
    /// Events handed to the store.
    pub(crate) events: i64,
}

impl Counts {
    /// Received and in no other count: a defect of ours if not 0.
    pub(crate) fn unaccounted(&self) -> i64 {
        let sum = |of: &[i64]| of.iter().sum::<i64>();
        self.received - self.stored - sum(&self.handled) - sum(&self.rejected) - sum(&self.dropped) - self.in_flight
    }

    /// Add another's counts to these.
    pub(crate) fn add(&mut self, other: &Self) {
        fn all(to: &mut [i64], from: &[i64]) {
            to.iter_mut().zip(from).for_each(|(a, b)| *a += b);
        }
        self.received += other.received;
        self.stored += other.stored;
        all(&mut self.handled, &other.handled);
        all(&mut self.rejected, &other.rejected);
        all(&mut self.dropped, &other.dropped);
        self.in_flight += other.in_flight;
        all(&mut self.faults, &other.faults);
        self.acknowledged += other.acknowledged;
        self.events += other.events;
    }
}

/// What becomes durable when a frame's last record is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Settled {
    /// Its events.
    Stored,
    /// Its reject.
    Rejected(FaultKind),
    /// Nothing: the connection ended before all of its records were handed over.
    Dropped,
}

const DROPPED: u8 = 63;

impl Settled {
    /// In six bits, for tokens.
    pub(crate) const fn code(self) -> u8 {
        match self {
            Self::Stored => 0,
            Self::Rejected(kind) => 1 + kind.index() as u8,
            Self::Dropped => DROPPED,
        }
    }

    /// From six bits.
    pub(crate) fn from_code(code: u8) -> Self {
        match code.checked_sub(1).and_then(|i| FaultKind::ALL.get(usize::from(i))) {
            Some(kind) => Self::Rejected(*kind),
            None if code == DROPPED => Self::Dropped,
            None => Self::Stored,
        }
    }
}

/// The counts of the process.
#[derive(Debug)]
pub(crate) struct Ledger {
    shards: Vec<Mutex<Vec<Counts>>>,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { shards: (0..SHARDS).map(|_| Mutex::new(vec![Counts::default(); labels().count()])).collect() }
    }
}

impl Ledger {
    /// Change the counts of a protocol, by its index in [`labels`].
    pub(crate) fn count(&self, protocol: usize, change: impl FnOnce(&mut Counts)) {
        if let Some(counts) = self.shards[shard()].lock().get_mut(protocol) {
            change(counts);
        }
    }

    /// The last record of a frame is durable.
    pub(crate) fn settle(&self, protocol: usize, settled: Settled) {
        self.count(protocol, |c| {
            c.in_flight -= 1;
            match settled {
                Settled::Stored => c.stored += 1,
                Settled::Rejected(kind) => c.rejected[kind.index()] += 1,
                Settled::Dropped => c.dropped[Dropped::Closing as usize] += 1,
            }
        });
    }

    /// All counts in the order of [`labels`], at one moment.
    pub(crate) fn snapshot(&self) -> Vec<Counts> {
        let locked: Vec<_> = self.shards.iter().map(Mutex::lock).collect();
        let mut sums = vec![Counts::default(); labels().count()];
        for shard in &locked {
            sums.iter_mut().zip(shard.iter()).for_each(|(sum, counts)| sum.add(counts));
        }
        sums
    }

    /// All counts together, at one moment.
    pub(crate) fn total(&self) -> Counts {
        let mut total = Counts::default();
        self.snapshot().iter().for_each(|c| total.add(c));
        total
    }
}

/// The shard of this thread.
fn shard() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static MINE: Cell<Option<usize>> = const { Cell::new(None) });
    MINE.with(|mine| match mine.get() {
        Some(shard) => shard,
        None => {
            let shard = NEXT.fetch_add(1, Ordering::Relaxed) % SHARDS;
            mine.set(Some(shard));
            shard
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;
    use std::thread;

    #[test]
    fn codes_round_trip() {
        for settled in FaultKind::ALL.into_iter().map(Settled::Rejected).chain([Settled::Stored, Settled::Dropped]) {
            assert_eq!(Settled::from_code(settled.code()), settled);
            assert!(settled.code() < 64);
        }
    }

    #[test]
    fn a_snapshot_is_consistent_while_others_count() {
        let ledger = Ledger::default();
        let stop = AtomicBool::new(false);
        thread::scope(|s| {
            for _ in 0..3 {
                s.spawn(|| {
                    while !stop.load(Ordering::Relaxed) {
                        ledger.count(0, |c| {
                            c.received += 1;
                            c.in_flight += 1;
                        });
                        ledger.settle(0, Settled::Stored);
                    }
                });
            }
            for _ in 0..1000 {
                assert_eq!(ledger.total().unaccounted(), 0);
            }
            stop.store(true, Ordering::Relaxed);
        });
        let total = ledger.total();
        assert_eq!((total.in_flight, total.stored), (0, total.received));
    }

    #[test]
    fn a_forgotten_frame_shows() {
        let ledger = Ledger::default();
        ledger.count(0, |c| c.received += 1);
        assert_eq!(ledger.total().unaccounted(), 1);
    }
}
