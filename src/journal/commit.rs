//! The commit thread: batch after batch to the disk, and word of it to those who wait.

use std::fs::File;
use std::io;
use std::mem;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use super::queue::{Batch, Queue, Work};
use super::store::{Store, Trouble};
use super::{Position, Reports, Stats};

/// Wait before the first new try: one hiccup of a disk is over by then.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Longest wait between tries: a disk that has room again is used within this time, and one that has none is not kept busy.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// What the commit thread owns.
pub(super) struct Committer {
    queue: Arc<Queue>,
    store: Store,
    reports: Box<dyn Reports>,
    interval: Duration,
    batch: Batch,
    /// Whether trouble was told and not yet taken back.
    troubled: bool,
    /// Held for its lock.
    _lock: File,
}

/// Says that the commit thread is gone, also if it panics: an append must not wait for it then.
struct Ending(Arc<Queue>);

impl Drop for Ending {
    fn drop(&mut self) {
        self.0.end();
    }
}

impl Committer {
    pub(super) fn new(queue: Arc<Queue>, store: Store, reports: Box<dyn Reports>, interval: Duration, lock: File) -> Self {
        let batch = Batch::new(queue.capacity());
        Self { queue, store, reports, interval, batch, troubled: false, _lock: lock }
    }

    pub(super) fn spawn(self) -> io::Result<()> {
        let ending = Ending(Arc::clone(&self.queue));
        let run = move || {
            let _ending = ending; // dropped after `self`: whoever hears of the end may open the directory again
            self.run();
        };
        thread::Builder::new().name("journal".to_owned()).spawn(run).map(drop)
    }

    fn run(mut self) {
        loop {
            match self.queue.next_work(self.interval, &mut self.batch) {
                Work::Store => {
                    if !self.commit() {
                        return;
                    }
                }
                Work::Release(before) => {
                    if self.release(before) && mem::take(&mut self.troubled) {
                        self.reports.recovered();
                    }
                    self.queue.publish(self.figures());
                }
                Work::End => return,
            }
        }
    }

    /// Store the batch, however long it takes. False: it was given up.
    fn commit(&mut self) -> bool {
        let mut pause = RETRY_FIRST;
        while let Err(trouble) = self.store.store(&self.batch.bytes, self.batch.tokens.len()) {
            self.tell(&trouble);
            self.queue.publish(self.figures());
            let Some(released) = self.queue.pause(pause) else {
                return false;
            };
            if let Some(before) = released {
                self.release(before);
            }
            self.store.look_again();
            pause = (pause * 2).min(RETRY_MAX);
        }
        let recovered = mem::take(&mut self.troubled);
        let room = self.queue.settle(self.figures());
        self.reports.durable(&self.batch.tokens);
        if recovered {
            self.reports.recovered();
        }
        if room {
            self.reports.room();
        }
        true
    }

    /// A segment that cannot be removed is told, and tried again with the next release.
    fn release(&mut self, before: Position) -> bool {
        let released = self.store.release(before);
        if let Err(trouble) = &released {
            self.tell(trouble);
        }
        released.is_ok()
    }

    fn tell(&mut self, trouble: &Trouble) {
        if !mem::replace(&mut self.troubled, true) {
            self.reports.trouble(&trouble.to_string());
        }
    }

    fn figures(&self) -> Stats {
        Stats { troubled: self.troubled, ..self.store.figures() }
    }
}
