//! Records on their way to the disk: two buffers, one filling while the other is committed, under a lock that is held for one
//! copy.

use std::mem;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::line::{self, MAX_LINE};
use super::{Position, Refused, Stats, Unflushed};

/// How long a close that is over its limit waits for a commit thread that is not stuck in the system to let the directory go.
const GRACE: Duration = Duration::from_millis(250);

/// Lines that are committed together.
#[derive(Debug, Default)]
pub(super) struct Batch {
    /// Whole lines.
    pub(super) bytes: Vec<u8>,
    /// Their tokens, in the same order.
    pub(super) tokens: Vec<u64>,
    /// When the first was appended.
    since: Option<Instant>,
}

impl Batch {
    /// The buffer is reserved whole: it never grows under the lock.
    pub(super) fn new(capacity: usize) -> Self {
        Self { bytes: Vec::with_capacity(capacity), tokens: Vec::new(), since: None }
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.tokens.clear();
        self.since = None;
    }
}

/// What the commit thread is to do next.
#[derive(Debug)]
pub(super) enum Work {
    /// Commit the batch that was handed over.
    Store,
    /// Remove what lies before.
    Release(Position),
    /// Nothing any more.
    End,
}

/// What an append must do to be heard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waiting {
    /// Nothing: the commit thread will look by itself.
    No,
    /// Wake it.
    ForWork,
    /// Wake it when half the queue is full: longer gathering would only delay.
    ForMore,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Open,
    Closing,
    Abandoned,
    Ended,
}

#[derive(Debug)]
struct State {
    filling: Batch,
    /// Bytes that the commit thread holds, and since when the oldest of them has waited.
    committing: usize,
    committing_since: Option<Instant>,
    refused: bool,
    waiting: Waiting,
    phase: Phase,
    released: Option<Position>,
    /// There is a reason to try again at once.
    nudged: bool,
    figures: Stats,
}

/// The meeting point of appending threads and the commit thread.
#[derive(Debug)]
pub(super) struct Queue {
    capacity: usize,
    state: Mutex<State>,
    /// For the commit thread.
    wake: Condvar,
    /// For those who close.
    ended: Condvar,
}

impl Queue {
    pub(super) fn new(capacity: usize, figures: Stats) -> Self {
        let state = State {
            filling: Batch::new(capacity),
            committing: 0,
            committing_since: None,
            refused: false,
            waiting: Waiting::No,
            phase: Phase::Open,
            released: None,
            nudged: false,
            figures,
        };
        Self { capacity, state: Mutex::new(state), wake: Condvar::new(), ended: Condvar::new() }
    }

    pub(super) fn capacity(&self) -> usize {
        self.capacity
    }

    /// Nothing here panics with the lock held, so a poisoned one holds a good state.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn append(&self, topic: &str, value: &[u8], token: u64) -> Result<(), Refused> {
        let length = line::length(topic, value);
        if length > MAX_LINE.min(self.capacity) || !line::fits(topic, value) {
            return Err(Refused::Unfit);
        }
        let crc = line::checksum(topic, value);
        let mut state = self.lock();
        if state.phase != Phase::Open {
            return Err(Refused::Closed);
        }
        if state.filling.bytes.len() + state.committing + length > self.capacity {
            state.refused = true;
            return Err(Refused::Full);
        }
        if state.filling.since.is_none() {
            state.filling.since = Some(Instant::now());
        }
        line::put(&mut state.filling.bytes, crc, topic, value);
        state.filling.tokens.push(token);
        let wake = match state.waiting {
            Waiting::No => false,
            Waiting::ForWork => true,
            Waiting::ForMore => state.filling.bytes.len() >= self.capacity / 2,
        };
        if wake {
            state.waiting = Waiting::No;
            drop(state);
            self.wake.notify_one();
        }
        Ok(())
    }

    /// For the commit thread: wait for something to do. For [`Work::Store`] the records are in `batch`, whose old content goes.
    pub(super) fn next_work(&self, interval: Duration, batch: &mut Batch) -> Work {
        let mut state = self.lock();
        loop {
            if state.phase == Phase::Abandoned {
                return Work::End;
            }
            if let Some(before) = state.released.take() {
                return Work::Release(before);
            }
            if !state.filling.bytes.is_empty() {
                break;
            }
            if state.phase != Phase::Open {
                return Work::End;
            }
            state.waiting = Waiting::ForWork;
            state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if let Some(until) = state.filling.since.and_then(|since| since.checked_add(interval)) {
            while state.phase == Phase::Open && state.filling.bytes.len() < self.capacity / 2 {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                state.waiting = Waiting::ForMore;
                state = self.wake.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        state.waiting = Waiting::No;
        state.nudged = false;
        batch.clear();
        mem::swap(&mut state.filling, batch);
        state.committing = batch.bytes.len();
        state.committing_since = batch.since;
        Work::Store
    }

    /// For the commit thread: the batch is durable. Says whether somebody waits for room.
    pub(super) fn settle(&self, figures: Stats) -> bool {
        let mut state = self.lock();
        state.committing = 0;
        state.committing_since = None;
        state.figures = figures;
        mem::take(&mut state.refused)
    }

    /// For the commit thread: new figures.
    pub(super) fn publish(&self, figures: Stats) {
        self.lock().figures = figures;
    }

    /// For the commit thread: wait before another try, shorter if something has happened that may help. `None`: give up;
    /// else what was released meanwhile.
    pub(super) fn pause(&self, pause: Duration) -> Option<Option<Position>> {
        let state = self.lock();
        let idle = |state: &mut State| !state.nudged && state.phase != Phase::Abandoned;
        let (mut state, _) = self.wake.wait_timeout_while(state, pause, idle).unwrap_or_else(PoisonError::into_inner);
        state.nudged = false;
        (state.phase != Phase::Abandoned).then(|| state.released.take())
    }

    pub(super) fn release(&self, before: Position) {
        let mut state = self.lock();
        state.released = state.released.max(Some(before));
        state.nudged = true;
        drop(state);
        self.wake.notify_one();
    }

    pub(super) fn stats(&self) -> Stats {
        let state = self.lock();
        let since = state.committing_since.or(state.filling.since);
        Stats {
            uncommitted_bytes: state.committing + state.filling.bytes.len(),
            oldest_uncommitted_age: since.map_or(Duration::ZERO, |since| since.elapsed()),
            ..state.figures
        }
    }

    pub(super) fn close(&self, limit: Duration) -> Result<(), Unflushed> {
        let mut state = self.lock();
        if state.phase == Phase::Open {
            state.phase = Phase::Closing;
        }
        state.nudged = true;
        self.wake.notify_one();
        let going = |state: &mut State| state.phase != Phase::Ended;
        state = self.ended.wait_timeout_while(state, limit, going).unwrap_or_else(PoisonError::into_inner).0;
        if state.phase != Phase::Ended {
            state.phase = Phase::Abandoned;
            self.wake.notify_one();
            state = self.ended.wait_timeout_while(state, GRACE, going).unwrap_or_else(PoisonError::into_inner).0;
        }
        match state.committing + state.filling.bytes.len() {
            0 => Ok(()),
            bytes => Err(Unflushed { bytes }),
        }
    }

    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        if state.phase != Phase::Ended {
            state.phase = Phase::Abandoned;
        }
        drop(state);
        self.wake.notify_one();
    }

    /// For the commit thread: it has let everything go.
    pub(super) fn end(&self) {
        self.lock().phase = Phase::Ended;
        self.ended.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_its_bytes_until_they_are_durable() {
        let queue = Queue::new(64, Stats::default());
        let mut batch = Batch::new(queue.capacity());
        queue.append("orders", b"{}", 1).unwrap();
        let one = line::length("orders", b"{}");
        assert!(matches!(queue.next_work(Duration::ZERO, &mut batch), Work::Store));
        assert_eq!((batch.bytes.len(), batch.tokens.as_slice()), (one, [1].as_slice()));
        queue.append("orders", b"{}", 2).unwrap();
        assert_eq!(queue.stats().uncommitted_bytes, 2 * one);
        queue.append("orders", b"{}", 3).unwrap();
        assert_eq!(queue.append("orders", b"{}", 4), Err(Refused::Full), "three lines of {one} bytes are in");
        assert!(queue.settle(Stats::default()), "somebody was refused");
        assert!(!queue.settle(Stats::default()), "and is told once");
        queue.append("orders", b"{}", 4).unwrap();
        assert!(matches!(queue.next_work(Duration::ZERO, &mut batch), Work::Store));
        assert_eq!(batch.tokens, [2, 3, 4]);
    }

    #[test]
    fn refuses_for_good_what_never_fits() {
        let queue = Queue::new(2 * MAX_LINE, Stats::default());
        let fits = vec![b'1'; MAX_LINE - line::length("orders", b"")];
        queue.append("orders", &fits, 1).unwrap();
        assert_eq!(queue.append("orders", &[fits.as_slice(), b"1"].concat(), 2), Err(Refused::Unfit));
        assert_eq!(Queue::new(19, Stats::default()).append("orders", b"123", 3), Err(Refused::Unfit));
        for (topic, value) in [("", "{}"), ("a b", "{}"), ("orders", ""), ("orders", "{\n}")] {
            assert_eq!(queue.append(topic, value.as_bytes(), 4), Err(Refused::Unfit), "{topic:?} {value:?}");
        }
    }

    #[test]
    fn the_furthest_release_counts() {
        let queue = Queue::new(64, Stats::default());
        let far = Position { segment: 2, offset: 5 };
        queue.release(far);
        queue.release(Position { segment: 1, offset: 900 });
        assert!(matches!(queue.next_work(Duration::ZERO, &mut Batch::default()), Work::Release(p) if p == far));
    }

    #[test]
    fn a_closed_queue_takes_nothing_and_ends_empty() {
        let queue = Queue::new(64, Stats::default());
        queue.append("orders", b"{}", 1).unwrap();
        assert_eq!(queue.close(Duration::ZERO), Err(Unflushed { bytes: 19 }));
        assert_eq!(queue.append("orders", b"{}", 2), Err(Refused::Closed));
        assert!(matches!(queue.next_work(Duration::ZERO, &mut Batch::default()), Work::End));
    }
}
