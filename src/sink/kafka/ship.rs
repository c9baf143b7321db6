//! The shipping thread: staged records to librdkafka, delivery reports to the receipts, held records again, a new producer
//! after a fatal error.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocols::PROTOCOLS;
use protocols::event::Topic;
use protocols::session::MAX_REJECT_BYTES;
use rdkafka::client::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use tracing::{debug, info, warn};

use super::staging::Staging;
use super::{BUSY, Shared, TurnBack, headers};
use crate::clock;
use crate::receipts::Token;
use crate::record::Record;

/// Longest sleep of the thread with nothing to do; librdkafka's error events are heard at this pace then.
pub(super) const IDLE: Duration = Duration::from_millis(100);
/// Shortest pause between two passes: with `linger_ms = 0` the thread would else spin while reports are outstanding.
const SHORTEST_TICK: Duration = Duration::from_micros(200);
/// Pause before held records are tried again: a broker that refuses a topic answers at once, and asking more often helps nobody.
const RETRY: Duration = Duration::from_secs(1);

/// Longest wait for an answer of Kafka when there is trouble and nothing else to do: records that come meanwhile wait so long.
const PROBE: Duration = Duration::from_millis(200);
/// Longest wait for librdkafka to give back what was purged; it answers within milliseconds.
const PURGE: Duration = Duration::from_secs(5);

/// Start the thread.
///
/// # Errors
/// A property that librdkafka does not know or take.
pub(super) fn start(shared: &Arc<Shared>) -> Result<JoinHandle<()>, KafkaError> {
    let ship = Ship::new(Arc::clone(shared))?;
    let thread = thread::Builder::new().name("kafka-ship".into()).spawn(move || ship.run());
    thread.map_err(|e| KafkaError::ClientCreation(format!("cannot start a thread: {e}")))
}

struct Ship {
    shared: Arc<Shared>,
    producer: BaseProducer<Reports>,
    returned: Arc<Returned>,
    /// Taken from the staging, handed to librdkafka up to `next`.
    load: Staging,
    next: usize,
    retry_at: Instant,
}

/// What librdkafka's callbacks leave behind; they run on the shipping thread, within its calls.
#[derive(Default)]
struct Returned {
    /// Undelivered, in the order returned; sent again before anything newer.
    held: Mutex<VecDeque<Held>>,
    fatal: AtomicBool,
    /// Somebody was told that something is wrong; the next delivery says that it is over.
    troubled: AtomicBool,
    oldest: Mutex<Ages>,
}

struct Held {
    message: OwnedMessage,
    token: Token,
}

/// A record that was given back.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) topic: Topic,
    pub(crate) value: Vec<u8>,
    pub(crate) token: Token,
}

impl Taken {
    fn of(record: &Record<'_>) -> Self {
        Self { topic: record.topic, value: record.value.to_vec(), token: record.token }
    }

    fn held(shared: &Shared, held: Held) -> Option<Self> {
        let topic = Topic::ALL.into_iter().find(|t| shared.name(*t) == held.message.topic())?;
        let value = held.message.payload().unwrap_or_default().to_vec();
        Some(Self { topic, value, token: held.token })
    }
}

/// Reports come back out of order between partitions; within a session the order is that of `sequence`.
fn in_order(mut taken: Vec<Taken>) -> Vec<Taken> {
    #[derive(serde::Deserialize)]
    struct Place<'a> {
        session: &'a str,
        #[serde(default)]
        sequence: Option<u64>,
    }
    let place = |t: &Taken| {
        let place = serde_json::from_slice::<Place<'_>>(&t.value).ok()?;
        Some((place.session.to_owned(), place.sequence?))
    };
    taken.sort_by_cached_key(place);
    taken
}

/// How old the oldest unreported record is: reports come nearly in the order handed over.
#[derive(Default)]
struct Ages(VecDeque<(Instant, u64)>);

impl Ages {
    /// One entry a shipment; when so many are outstanding the front tells the age all the same.
    const MOST: usize = 100_000;

    fn shipped(&mut self, upto: u64) {
        if self.0.len() < Self::MOST && self.0.back().is_none_or(|(_, n)| *n < upto) {
            self.0.push_back((Instant::now(), upto));
        }
    }

    fn reported(&mut self, upto: u64) -> Option<Instant> {
        while self.0.front().is_some_and(|(_, n)| *n <= upto) {
            self.0.pop_front();
        }
        self.0.front().map(|(at, _)| *at)
    }
}

impl Ship {
    fn new(shared: Arc<Shared>) -> Result<Self, KafkaError> {
        let returned = Arc::new(Returned::default());
        let producer = Self::producer(&shared, &returned)?;
        Ok(Self { shared, producer, returned, load: Staging::default(), next: 0, retry_at: Instant::now() })
    }

    fn producer(shared: &Arc<Shared>, returned: &Arc<Returned>) -> Result<BaseProducer<Reports>, KafkaError> {
        shared.config.create_with_context(Reports { shared: Arc::clone(shared), returned: Arc::clone(returned) })
    }

    fn run(mut self) {
        while !self.shared.closing.load(Ordering::Acquire) {
            self.rest();
            self.hear();
            if self.turned_back() {
                continue;
            }
            let can_open = !self.shared.open.load(Ordering::Acquire) && !self.blocked();
            if can_open || Instant::now() >= self.retry_at {
                self.retry_at = Instant::now() + RETRY;
                self.mend();
            }
            self.ship();
        }
    }

    /// Sleep until the next tick; longer if there is nothing to do at all, not at all if much is staged or something is urgent.
    fn rest(&self) {
        let mut staging = self.shared.staging.lock();
        let shipped = self.next >= self.load.len();
        // what librdkafka did not take waits for its reports, however much is staged behind it
        if (staging.len() >= BUSY || staging.urgent) && shipped && !self.blocked() {
            return;
        }
        if staging.len() == 0 && shipped && self.shared.unreported() == 0 {
            staging.idle = true;
            self.shared.work.wait_for(&mut staging, IDLE);
            staging.idle = false;
            if !staging.urgent {
                // let others join the first
                self.shared.work.wait_for(&mut staging, self.shared.tick);
            }
        } else {
            self.shared.work.wait_for(&mut staging, self.shared.tick.max(SHORTEST_TICK));
        }
    }

    /// Hear all reports that have come.
    fn hear(&self) {
        loop {
            let before = self.shared.reported.load(Ordering::Acquire);
            self.producer.poll(Duration::ZERO);
            if self.shared.reported.load(Ordering::Acquire) == before {
                break;
            }
        }
        let reported = self.shared.reported.load(Ordering::Acquire);
        let oldest = self.returned.oldest.lock().reported(reported);
        *self.shared.oldest.lock() = oldest;
        self.shared.offer_room();
    }

    /// A spool wants everything back, or has it: then nothing is shipped.
    fn turned_back(&mut self) -> bool {
        let shared = Arc::clone(&self.shared);
        let mut turn_back = shared.turn_back.lock();
        match *turn_back {
            TurnBack::No => return false,
            TurnBack::Done(_) => return true,
            TurnBack::Wanted => {}
        }
        shared.set_open(false);
        self.replace_producer();
        let mut taken: Vec<_> = self.returned.held.lock().drain(..).filter_map(|held| Taken::held(&shared, held)).collect();
        let staged = std::mem::take(&mut *shared.staging.lock());
        let unshipped = (self.next..self.load.len()).filter_map(|n| self.load.get(n));
        taken.extend(unshipped.chain((0..staged.len()).filter_map(|n| staged.get(n))).map(|record| Taken::of(&record)));
        self.load.clear();
        self.next = 0;
        *turn_back = TurnBack::Done(in_order(taken));
        shared.reported.store(shared.submitted.load(Ordering::Acquire), Ordering::Release);
        *self.returned.oldest.lock() = Ages::default();
        *shared.oldest.lock() = None;
        shared.turned.notify_all();
        true
    }

    /// Whether nothing newer may be shipped at present.
    fn blocked(&self) -> bool {
        !self.usable() || !self.returned.held.lock().is_empty()
    }

    /// Whether the topics are there and the producer is alive.
    fn usable(&self) -> bool {
        self.shared.topics_ready.load(Ordering::Acquire) && !self.returned.fatal.load(Ordering::Acquire)
    }

    /// Once a second: what came back goes out again, a dead producer is replaced, connections that wait look again.
    fn mend(&mut self) {
        if self.returned.fatal.load(Ordering::Acquire) {
            self.replace_producer();
        }
        if self.shared.unreported() == 0 && self.returned.troubled.load(Ordering::Relaxed) {
            self.probe();
        }
        self.resend();
        let open = !self.blocked();
        self.shared.set_open(open);
        if open {
            self.shared.offer_room();
        }
    }

    /// Without a record on its way nothing else would tell that Kafka is back.
    fn probe(&self) {
        let topic = self.shared.name(Topic::Telemetry);
        if self.producer.client().fetch_metadata(Some(topic), PROBE).is_ok() {
            self.returned.troubled.store(false, Ordering::Relaxed);
            self.shared.recovered();
        }
    }

    /// After a fatal error only another producer helps: take back everything, in order, and start one.
    fn replace_producer(&mut self) {
        self.producer.purge(PurgeConfig::default().queue().inflight());
        let end = Instant::now() + PURGE;
        // what is in flight comes back from the broker's thread, a moment later
        while self.outstanding() > 0 && Instant::now() < end {
            self.producer.poll(SHORTEST_TICK);
        }
        match Self::producer(&self.shared, &self.returned) {
            Ok(producer) => {
                self.producer = producer;
                self.returned.fatal.store(false, Ordering::Release);
                let records = self.returned.held.lock().len();
                info!(records, "started a new Kafka producer; what the old one had is sent again");
            }
            Err(e) => self.shared.on_trouble(&e.to_string()),
        }
    }

    /// Records that librdkafka has.
    fn outstanding(&self) -> u64 {
        let staging = self.shared.staging.lock();
        let elsewhere = staging.len() + self.load.len() - self.next + self.returned.held.lock().len();
        self.shared.unreported().saturating_sub(elsewhere as u64)
    }

    /// Send again what came back, oldest first, until one is not taken.
    fn resend(&self) {
        if !self.usable() {
            return;
        }
        loop {
            let Some(held) = self.returned.held.lock().pop_front() else { return };
            let message = &held.message;
            let headers = message.headers().cloned().unwrap_or_else(OwnedHeaders::new);
            let mut record = BaseRecord::with_opaque_to(message.topic(), held.token.0 as usize)
                .payload(message.payload().unwrap_or_default())
                .headers(headers);
            record.key = message.key();
            if let Err((error, _)) = self.producer.send(record) {
                self.on_send_error(&error);
                self.returned.held.lock().push_front(held);
                return;
            }
        }
    }

    /// Hand over what is staged, as far as librdkafka takes it.
    fn ship(&mut self) {
        if self.blocked() {
            return;
        }
        if self.next >= self.load.len() {
            self.load.clear();
            self.next = 0;
            std::mem::swap(&mut *self.shared.staging.lock(), &mut self.load);
            if self.load.len() > 0 {
                self.returned.oldest.lock().shipped(self.shared.submitted.load(Ordering::Acquire));
            }
        }
        while let Some(record) = self.load.get(self.next) {
            if !self.send(&record) {
                break;
            }
            self.next += 1;
        }
    }

    /// Whether it was taken, or refused for good with a reject in its place.
    fn send(&self, record: &Record<'_>) -> bool {
        let mut out = BaseRecord::with_opaque_to(self.shared.name(record.topic), record.token.0 as usize)
            .payload(record.value)
            .headers(headers::of_record(record));
        out.key = record.key.map(str::as_bytes);
        match self.producer.send(out) {
            Ok(()) => true,
            Err((error, _)) if refuses_record(&error) => {
                self.refuse(record.key.map(str::as_bytes), record.value, record.token, &error)
            }
            Err((error, _)) => {
                self.on_send_error(&error);
                false
            }
        }
    }

    fn on_send_error(&self, error: &KafkaError) {
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::QueueFull) => {} // by size; reports will make room
            code => {
                self.shared.on_trouble(&error.to_string());
                self.returned.troubled.store(true, Ordering::Relaxed);
                self.returned.fatal.fetch_or(code == Some(RDKafkaErrorCode::Fatal), Ordering::AcqRel);
            }
        }
    }

    /// Kafka will never take this record: a reject that says so goes in its place, with the same token marked.
    fn refuse(&self, key: Option<&[u8]>, value: &[u8], token: Token, why: &KafkaError) -> bool {
        let text = refusal(&self.shared, key, value, token, why);
        let opaque = token.refused().0 as usize;
        let mut record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(self.shared.name(Topic::Rejects), opaque).payload(text.as_bytes());
        record.key = key;
        self.producer.send(record).map_err(|(error, _)| self.on_send_error(&error)).is_ok()
    }
}

/// The value of a reject for a record that Kafka refused.
fn refusal(shared: &Shared, key: Option<&[u8]>, value: &[u8], token: Token, why: &KafkaError) -> String {
    let device = key.and_then(|k| std::str::from_utf8(k).ok());
    warn!(device, bytes = value.len(), "Kafka refused a record for its own sake: {why}; it goes to the rejects");
    serde_json::json!({
        "device_id": device,
        "protocol": PROTOCOLS.get(token.protocol()).map(|p| p.name),
        "gateway": shared.around.gateway,
        "peer": device.and_then(|d| (shared.around.peer_of)(d)).map(|p| p.to_string()).unwrap_or_default(),
        "received_at": clock::utc(),
        "reason": "refused",
        "offset": 0,
        "detail": format!("Kafka refused the record: {why}"),
        "hex": protocols::cursor::hex(&value[..value.len().min(MAX_REJECT_BYTES)]),
        "length": value.len(),
    })
    .to_string()
}

/// Whether it is the record, not Kafka.
pub(super) fn refuses_record(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(
            RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessage
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::InvalidRecord
                | RDKafkaErrorCode::InvalidTimestamp
        )
    )
}

/// librdkafka's callbacks.
struct Reports {
    shared: Arc<Shared>,
    returned: Arc<Returned>,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        // each event arrives twice on producers, and a lost broker that comes back at once is no trouble
        debug!("Kafka: {error}: {reason}");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => {
                self.returned.fatal.store(true, Ordering::Release);
                self.returned.troubled.store(true, Ordering::Relaxed);
                self.shared.on_trouble(&error.to_string());
            }
            Some(RDKafkaErrorCode::AllBrokersDown) if !self.returned.troubled.swap(true, Ordering::AcqRel) => {
                let brokers = self.shared.config.get("bootstrap.servers").unwrap_or_default();
                self.shared.on_trouble(&format!("no broker can be reached at {brokers} ({reason})"));
            }
            _ => {}
        }
    }
}

impl ProducerContext for Reports {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: usize) {
        let token = Token(opaque as u64);
        match result {
            Ok(_) => {
                self.shared.around.receipts.report(token, &self.shared.around.ledger);
                self.shared.reported.fetch_add(1, Ordering::AcqRel);
                if self.returned.troubled.load(Ordering::Relaxed) {
                    self.returned.troubled.store(false, Ordering::Relaxed);
                    self.shared.recovered();
                }
            }
            Err(_) if self.shared.closing.load(Ordering::Acquire) => {}
            Err((error, message)) if refuses_record(error) => {
                // as a held record, so that it keeps its place
                let text = refusal(&self.shared, message.key(), message.payload().unwrap_or_default(), token, error);
                let message = OwnedMessage::new(
                    Some(text.into_bytes()),
                    message.key().map(<[u8]>::to_vec),
                    self.shared.name(Topic::Rejects).to_owned(),
                    message.timestamp(),
                    message.partition(),
                    message.offset(),
                    None,
                );
                self.hold(message, token.refused());
            }
            Err((error, message)) => {
                let purged =
                    matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight));
                if !purged {
                    self.shared.on_trouble(&error.to_string());
                    self.returned.troubled.store(true, Ordering::Relaxed);
                }
                self.hold(message.detach(), token);
            }
        }
    }
}

impl Reports {
    /// Nothing newer is taken until this is on its way again. Bounded by our capacity, since it counts as unreported.
    fn hold(&self, message: OwnedMessage, token: Token) {
        self.shared.set_open(false);
        self.returned.held.lock().push_back(Held { message, token });
    }
}
