//! Kafka with the journal behind it: when Kafka does not deliver in time, everything goes to the local log and is
//! acknowledged from there, and the log is emptied into Kafka when it delivers again. `mode` decides, this file carries out.

mod mode;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tracing::{error, info, warn};

use super::kafka::{Drain, Kafka, Progress};
use super::{Full, Sink, Status, Waiters};
use crate::journal::{self, Journal, OpenError, Options, Recovery, Refused};
use crate::ledger::Ledger;
use crate::receipts::{Receipts, Token};
use crate::record::Record;
use mode::{Mode, Modes, Route};

/// How often the oldest report's age is looked at; a fraction of the shortest `spool_after_ms`.
const LOOK: Duration = Duration::from_millis(50);
/// How often a journal that could not be opened is tried again, and a disk that refused what was taken back.
const RETRY: Duration = Duration::from_secs(1);
/// Longest time without a way for new records at the end of a drain; connections hold what they have meanwhile.
const CLOSING: Duration = Duration::from_millis(500);
/// Between two looks in that time.
const SHORT: Duration = Duration::from_millis(1);
/// Deliveries of a drain this close together count as Kafka delivering.
const DELIVERING: Duration = Duration::from_secs(2);

/// The store.
pub(crate) struct Spool {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Spool {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Spool").field("status", &self.status()).finish()
    }
}

struct Shared {
    kafka: Kafka,
    options: Options,
    spool_after: Duration,
    /// Only while [`Mode::Live`]: then no lock is taken on the way to Kafka.
    live: AtomicBool,
    inside: Mutex<Inside>,
    closing: AtomicBool,
    trouble: Mutex<String>,
    receipts: Arc<Receipts>,
    ledger: Arc<Ledger>,
}

#[derive(Default)]
struct Inside {
    modes: Modes,
    journal: Option<Arc<Journal>>,
}

impl Spool {
    /// Start over a producer. What an earlier process left in the journal is sent before anything new.
    ///
    /// # Errors
    /// Options that contradict each other. A directory that another process uses, or that cannot be written, is no error: it
    /// is told, and Kafka is waited for as if there were no spool.
    pub(crate) fn start(
        kafka: Kafka,
        options: Options,
        spool_after: Duration,
        receipts: Arc<Receipts>,
        ledger: Arc<Ledger>,
    ) -> Result<Self, OpenError> {
        let shared = Arc::new(Shared {
            kafka,
            options,
            spool_after,
            live: AtomicBool::new(true),
            inside: Mutex::default(),
            closing: AtomicBool::new(false),
            trouble: Mutex::default(),
            receipts,
            ledger,
        });
        match shared.open() {
            Ok((journal, recovery)) => {
                let backlog = recovery.records > 0;
                if backlog {
                    info!(
                        records = recovery.records,
                        bytes = recovery.bytes,
                        "an earlier process left records in the journal; they are sent to Kafka before anything new"
                    );
                    shared.kafka.pause();
                }
                shared.live.store(!backlog, Ordering::Release);
                *shared.inside.lock() = Inside { modes: Modes::new(backlog), journal: Some(Arc::new(journal)) };
            }
            Err(OpenError::Options(why)) => return Err(OpenError::Options(why)),
            Err(e) => warn!("there is no spool: {e}; while Kafka is away acknowledgements wait. Tried again when it is needed"),
        }
        let worker = Worker { shared: Arc::clone(&shared), drain: None, last_delivery: None, retry_at: Instant::now() };
        let thread = std::thread::Builder::new()
            .name("spool".into())
            .spawn(move || worker.run())
            .map_err(|error| OpenError::Io { action: "start the spool's thread of", path: shared.options.path.clone(), error })?;
        Ok(Self { shared, thread: Mutex::new(Some(thread)) })
    }
}

impl Shared {
    fn open(self: &Arc<Self>) -> Result<(Journal, Recovery), OpenError> {
        let (journal, recovery) = Journal::open(self.options.clone(), Box::new(Hears(Arc::clone(self))))?;
        for bad in &recovery.bad {
            warn!("the journal has a bad line, which is not sent: {bad:?}");
        }
        Ok((journal, recovery))
    }

    fn path(&self) -> &PathBuf {
        &self.options.path
    }

    /// Under the lock, so that nothing overtakes: to the journal as the mode says.
    fn route(&self, record: &Record<'_>) -> Result<(), Full> {
        let inside = self.inside.lock();
        match (inside.modes.route(), &inside.journal) {
            (Route::Kafka, _) => {
                drop(inside);
                self.kafka.submit(record)
            }
            (Route::Journal, Some(journal)) => match journal.append(record.topic.name(), record.value, record.token.0) {
                Ok(()) => Ok(()),
                Err(Refused::Full | Refused::Closed) => Err(Full),
                Err(Refused::Unfit) => {
                    // cannot happen: values are JSON without line feeds, and parts of data are smaller than a line may be
                    error!(bytes = record.value.len(), "a record does not fit the journal; it is counted as refused");
                    self.receipts.report(record.token.refused(), &self.ledger);
                    Ok(())
                }
            },
            (Route::Journal | Route::Wait, _) => Err(Full),
        }
    }

    fn trouble(&self, text: &str) {
        let mut told = self.trouble.lock();
        if *told != text {
            error!("{text}");
            text.clone_into(&mut told);
        }
    }
}

impl Sink for Spool {
    fn submit(&self, record: &Record<'_>) -> Result<(), Full> {
        if self.shared.live.load(Ordering::Acquire) {
            // if that has just changed, the producer says that it is full
            return self.shared.kafka.submit(record);
        }
        self.shared.route(record)
    }

    fn waiters(&self) -> &Waiters {
        self.shared.kafka.waiters()
    }

    fn status(&self) -> Status {
        let mut status = self.shared.kafka.status();
        let inside = self.shared.inside.lock();
        status.mode = inside.modes.mode().label();
        if let Some(journal) = &inside.journal {
            status.journal(&journal.stats());
        }
        drop(inside);
        if status.mode != Mode::Live.label() {
            // the journal takes them; what is wrong with Kafka stays told
            let trouble = self.shared.trouble.lock();
            status.healthy = trouble.is_empty();
            if !trouble.is_empty() {
                status.trouble.clone_from(&trouble);
            }
        }
        status
    }

    fn close(&self, limit: Duration) {
        let end = Instant::now() + limit;
        if self.shared.live.load(Ordering::Acquire) {
            self.shared.kafka.close(limit);
        }
        self.shared.closing.store(true, Ordering::Release);
        if let Some(thread) = self.thread.lock().take() {
            let _ = thread.join();
        }
        self.shared.kafka.close(Duration::ZERO);
        let journal = self.shared.inside.lock().journal.take();
        if let Some(journal) = journal {
            let left = journal.stats().bytes > 0;
            if let Err(unflushed) = journal.close(end.saturating_duration_since(Instant::now())) {
                warn!(bytes = unflushed.bytes, "the journal could not be written to its end; those records were not acknowledged");
            }
            if left && !self.shared.live.load(Ordering::Acquire) {
                warn!(
                    path = %self.shared.path().display(),
                    "Kafka has not taken everything: the next start with this directory sends it, or `navgate drain-journal`"
                );
            }
        }
    }
}

/// The thread that looks after the mode.
struct Worker {
    shared: Arc<Shared>,
    drain: Option<Drain>,
    last_delivery: Option<Instant>,
    retry_at: Instant,
}

impl Worker {
    fn run(mut self) {
        while !self.shared.closing.load(Ordering::Acquire) {
            let mode = self.shared.inside.lock().modes.mode();
            match mode {
                Mode::Live => {
                    std::thread::sleep(LOOK);
                    self.look();
                }
                Mode::TakingBack => self.take_back(),
                Mode::Spooling | Mode::Draining | Mode::Closing => self.drain(),
            }
        }
    }

    /// Is a report overdue?
    fn look(&mut self) {
        let waited = self.shared.kafka.waited();
        if waited < self.shared.spool_after || Instant::now() < self.retry_at {
            return;
        }
        let mut inside = self.shared.inside.lock();
        if inside.journal.is_none() {
            drop(inside);
            match self.shared.open() {
                Ok((journal, _)) => self.shared.inside.lock().journal = Some(Arc::new(journal)),
                Err(e) => {
                    self.retry_at = Instant::now() + RETRY;
                    self.shared.trouble(&format!("there is no spool: {e}; acknowledgements wait for Kafka"));
                    return;
                }
            }
            inside = self.shared.inside.lock();
        }
        if inside.modes.overdue(waited, self.shared.spool_after) {
            self.shared.live.store(false, Ordering::Release);
            drop(inside);
            warn!(waited_ms = waited.as_millis(), path = %self.shared.path().display(), "Kafka does not deliver: spooling to the journal");
        }
    }

    /// Everything that the producer has, in order, to the journal; then the way there is open.
    fn take_back(&self) {
        let taken = self.shared.kafka.take_back();
        let records = taken.len();
        let Some(journal) = self.shared.inside.lock().journal.clone() else { return };
        for record in taken {
            loop {
                match journal.append(record.topic.name(), &record.value, record.token.0) {
                    Ok(()) => break,
                    // the disk is slow or full; nothing is acknowledged meanwhile, and nothing is lost
                    Err(Refused::Full) if !self.shared.closing.load(Ordering::Acquire) => std::thread::sleep(LOOK),
                    Err(Refused::Full | Refused::Closed) => return,
                    Err(Refused::Unfit) => {
                        self.shared.receipts.report(record.token.refused(), &self.shared.ledger);
                        break;
                    }
                }
            }
        }
        self.shared.inside.lock().modes.taken();
        info!(records, "what Kafka had not reported is in the journal");
        self.shared.kafka.waiters().wake_all();
    }

    fn drain(&mut self) {
        match self.try_drain() {
            Ok(()) => {}
            Err(e) => {
                self.shared.trouble(&format!("the journal cannot be sent to Kafka: {e}; trying again"));
                self.drain = None;
                std::thread::sleep(RETRY);
            }
        }
    }

    fn try_drain(&mut self) -> std::io::Result<()> {
        if !self.shared.kafka.topics_ready() {
            std::thread::sleep(LOOK);
            return Ok(());
        }
        let drain = match &mut self.drain {
            Some(drain) => drain,
            None => self.drain.insert(self.shared.kafka.drain(self.shared.path())?),
        };
        let before = drain.delivered();
        let progress = drain.step(LOOK)?;
        if drain.delivered() > before {
            self.last_delivery = Some(Instant::now());
        }
        let delivering = self.last_delivery.is_some_and(|at| at.elapsed() < DELIVERING);
        let mut inside = self.shared.inside.lock();
        inside.modes.delivering(delivering);
        let Some(journal) = inside.journal.clone() else { return Ok(()) };
        if let Some(position) = drain.delivered_before().filter(|_| drain.delivered() > before) {
            journal.release(position);
        }
        // only where Kafka delivers: else what is on its way would keep everybody waiting for nothing
        if progress == Progress::Empty || (progress == Progress::Near && delivering) {
            inside.modes.close();
            drop(inside);
            return self.close(&journal);
        }
        Ok(())
    }

    /// Nothing is routed: send what was appended up to now, then the direct way is open.
    fn close(&mut self, journal: &Journal) -> std::io::Result<()> {
        let Some(drain) = &mut self.drain else { return Ok(()) };
        let end = Instant::now() + CLOSING;
        loop {
            let committed = journal.stats().uncommitted_bytes == 0;
            let progress = drain.step(SHORT)?;
            if committed && progress == Progress::Empty {
                break;
            }
            if Instant::now() >= end || self.shared.closing.load(Ordering::Acquire) {
                self.shared.inside.lock().modes.reopen();
                self.shared.kafka.waiters().wake_all();
                return Ok(());
            }
            if progress == Progress::Empty {
                std::thread::sleep(SHORT); // the disk is behind
            }
        }
        if let Some(position) = drain.delivered_before() {
            journal.release(position);
        }
        let records = drain.delivered();
        self.shared.kafka.resume();
        self.shared.inside.lock().modes.emptied();
        self.shared.live.store(true, Ordering::Release);
        self.drain = None;
        self.last_delivery = None;
        self.shared.trouble.lock().clear();
        info!(records, "the journal is empty again: records go straight to Kafka");
        self.shared.kafka.waiters().wake_all();
        Ok(())
    }
}

struct Hears(Arc<Shared>);

impl journal::Reports for Hears {
    fn durable(&mut self, tokens: &[u64]) {
        for token in tokens {
            self.0.receipts.report(Token(*token), &self.0.ledger);
        }
    }

    fn room(&mut self) {
        self.0.kafka.waiters().wake_all();
    }

    fn trouble(&mut self, what: &str) {
        self.0.trouble(&format!("{what}; acknowledgements are held, devices stay connected; retrying"));
    }

    fn recovered(&mut self) {
        info!("the journal takes records again");
        self.0.trouble.lock().clear();
    }
}
