//! Emptying a journal into Kafka: a producer of its own, records in order, and the position up to which all are delivered.

use std::collections::VecDeque;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crc::{CRC_32_ISCSI, Crc};
use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use tracing::{debug, warn};

use super::headers::Line;
use crate::journal::{Found, Position, Reader};

/// Records sent and not reported: what a broker takes in some tens of milliseconds.
const WINDOW: usize = 10_000;

/// If nothing is delivered for so long, though something is on its way, it begins again with another producer: Kafka is away, or
/// the client is stuck.
const STALLED: Duration = Duration::from_secs(20);

/// Its table is made once, not for each record.
static CASTAGNOLI: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Records on their way that are as good as delivered: a broker takes them within a few milliseconds.
const NEAR: usize = 500;

/// What a look at the journal and at Kafka came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Progress {
    /// Something was sent or delivered.
    Some,
    /// Reports are awaited.
    Waiting,
    /// Everything that could be read is sent, and all but the last of it delivered: while records come in it is never all.
    Near,
    /// Everything that could be read is delivered.
    Empty,
}

/// See the module.
pub(crate) struct Drain {
    config: ClientConfig,
    prefix: String,
    producer: BaseProducer<Heard>,
    state: Arc<State>,
    reader: Reader,
    directory: std::path::PathBuf,
    /// Read and not taken by the producer.
    kept: Option<Kept>,
    sent: u64,
    delivered: u64,
    /// Where the record after the oldest undelivered one begins, record by record.
    ends: VecDeque<Position>,
    before: Option<Position>,
    /// When it last moved on, or had nothing on its way.
    moved: Instant,
}

struct Kept {
    topic: String,
    value: Vec<u8>,
    line: Line,
    end: Position,
}

/// What librdkafka's callbacks leave behind.
#[derive(Default)]
struct State {
    /// By number from the oldest undelivered: whether it is.
    done: Mutex<(u64, VecDeque<bool>)>,
    /// A delivery failed for good, or the producer is fatal: begin again at the oldest undelivered.
    failed: AtomicBool,
}

struct Heard(Arc<State>);

impl ClientContext for Heard {
    fn error(&self, error: KafkaError, reason: &str) {
        debug!("Kafka: {error}: {reason}");
        if error.rdkafka_error_code() == Some(RDKafkaErrorCode::Fatal) {
            self.0.failed.store(true, Ordering::Release);
        }
    }
}

impl ProducerContext for Heard {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if let Err((error, _)) = result {
            if !super::ship::refuses_record(error) {
                self.0.failed.store(true, Ordering::Release);
                return;
            }
            warn!("Kafka refuses a record of the journal for its own sake: {error}; it is passed");
        }
        let (base, done) = &mut *self.0.done.lock();
        let at = (number as u64).checked_sub(*base).and_then(|at| usize::try_from(at).ok());
        if let Some(done) = at.and_then(|at| done.get_mut(at)) {
            *done = true;
        }
    }
}

impl Drain {
    /// From the beginning of the journal in this directory.
    ///
    /// # Errors
    /// A directory that cannot be read, or a property that librdkafka does not take.
    pub(crate) fn open(config: ClientConfig, prefix: &str, directory: &Path) -> io::Result<Self> {
        let state = Arc::new(State::default());
        let producer = config.create_with_context(Heard(Arc::clone(&state))).map_err(io::Error::other)?;
        Ok(Self {
            config,
            prefix: prefix.to_owned(),
            producer,
            state,
            reader: Reader::open(directory)?,
            directory: directory.to_owned(),
            kept: None,
            sent: 0,
            delivered: 0,
            ends: VecDeque::new(),
            before: None,
            moved: Instant::now(),
        })
    }

    /// Everything before is delivered; nothing was delivered yet where it is `None`.
    pub(crate) fn delivered_before(&self) -> Option<Position> {
        self.before
    }

    /// Records delivered so far.
    pub(crate) fn delivered(&self) -> u64 {
        self.delivered
    }

    /// Hear reports, waiting for them at most so long, and send what there is room for.
    ///
    /// # Errors
    /// The journal cannot be read.
    pub(crate) fn step(&mut self, wait: Duration) -> io::Result<Progress> {
        self.producer.poll(if self.ends.is_empty() { Duration::ZERO } else { wait });
        let some = self.settle();
        let mut at_end = false;
        if some || self.ends.is_empty() {
            self.moved = Instant::now();
        }
        if self.state.failed.swap(false, Ordering::AcqRel) || self.moved.elapsed() >= STALLED {
            self.begin_again()?;
        }
        while self.ends.len() < WINDOW {
            if self.kept.is_none() && !self.read()? {
                at_end = true;
                break;
            }
            let Some(kept) = self.kept.take() else { break };
            if let Some(kept) = self.send(kept) {
                self.kept = Some(kept);
                break;
            }
        }
        Ok(match self.ends.len() {
            0 if at_end => Progress::Empty,
            1..=NEAR if at_end => Progress::Near,
            _ if some => Progress::Some,
            _ => Progress::Waiting,
        })
    }

    /// Move on over what is delivered.
    fn settle(&mut self) -> bool {
        let (base, done) = &mut *self.state.done.lock();
        let mut some = false;
        while done.front() == Some(&true) {
            done.pop_front();
            *base += 1;
            self.delivered += 1;
            self.before = self.ends.pop_front().or(self.before);
            some = true;
        }
        some
    }

    /// Read the next record; false if there is none.
    fn read(&mut self) -> io::Result<bool> {
        loop {
            let found = match self.reader.next()? {
                None => return Ok(false),
                Some(Found::Entry(entry)) => {
                    let checksum = CASTAGNOLI.checksum(entry.value);
                    Line::of(entry.value, checksum)
                        .map(|line| (entry.topic.to_owned(), entry.value.to_vec(), line))
                        .map_err(|e| (entry.at, e.to_string()))
                }
                Some(Found::Bad { at, flaw }) => Err((at, flaw.to_string())),
            };
            match found {
                Ok((topic, value, line)) => {
                    self.kept = Some(Kept { topic, value, line, end: self.reader.position() });
                    return Ok(true);
                }
                Err((at, why)) => {
                    warn!(segment = at.segment, offset = at.offset, "a line of the journal cannot be sent and is passed: {why}");
                }
            }
        }
    }

    /// Whether librdkafka took it; else it comes back.
    fn send(&mut self, kept: Kept) -> Option<Kept> {
        let topic = format!("{}.{}", self.prefix, kept.topic);
        let mut record = BaseRecord::with_opaque_to(&topic, self.sent as usize)
            .payload(kept.value.as_slice())
            .headers(kept.line.headers.clone());
        record.key = kept.line.key.as_deref().map(str::as_bytes);
        // a report may come within the call
        self.state.done.lock().1.push_back(false);
        match self.producer.send(record) {
            Ok(()) => {}
            Err((error, _)) if super::ship::refuses_record(&error) => {
                warn!("Kafka refuses a record of the journal for its own sake: {error}; it is passed");
                if let Some(last) = self.state.done.lock().1.back_mut() {
                    *last = true;
                }
            }
            Err((error, _)) => {
                self.state.done.lock().1.pop_back();
                if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
                    debug!("Kafka: {error}");
                    self.state.failed.store(true, Ordering::Release);
                }
                return Some(kept);
            }
        }
        self.sent += 1;
        self.ends.push_back(kept.end);
        None
    }

    /// A new producer, and the journal again from the oldest undelivered record.
    fn begin_again(&mut self) -> io::Result<()> {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        self.producer.poll(Duration::ZERO);
        self.state = Arc::new(State::default());
        self.producer = self.config.create_with_context(Heard(Arc::clone(&self.state))).map_err(io::Error::other)?;
        self.reader = match self.before {
            Some(position) => Reader::open_at(&self.directory, position)?,
            None => Reader::open(&self.directory)?,
        };
        self.kept = None;
        self.ends.clear();
        self.sent = 0;
        self.moved = Instant::now();
        Ok(())
    }
}
