//! The Kafka store: an idempotent producer with `acks=all` whose delivery reports carry our tokens back.
//!
//! Records wait in librdkafka's queue for as long as it takes (`message.timeout.ms` 0): while Kafka is away the queue fills,
//! [`Sink::submit`] says [`Full`], connections stop reading, and nothing is dropped. What comes back undelivered all the same
//! (a topic that vanished, a fatal producer error) is held here in order and sent again before anything newer is taken.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use protocols::PROTOCOLS;
use protocols::event::Topic;
use protocols::session::MAX_REJECT_BYTES;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig};
use tracing::{debug, error, info, warn};

use super::{Full, Sink, Status, Waiters, topics};
use crate::clock;
use crate::config::Kafka as Settings;
use crate::ledger::Ledger;
use crate::receipts::{Receipts, Token};
use crate::record::{Id, Record};

/// How long one call of the reporting thread serves delivery reports before it looks after the rest.
const POLL: Duration = Duration::from_millis(100);
/// Pause before held records are tried again: a broker that refuses a topic answers at once, and asking more often helps nobody.
const RETRY: Duration = Duration::from_secs(1);
/// Share of the queue that must be free before waiting connections are told so: waking all of them for one place would be a stampede.
const WAKE_BELOW: (u64, u64) = (3, 4);
/// Samples of the number of records handed over, one a [`POLL`]; ten minutes of them tell the age of the oldest unreported record.
const SAMPLES: usize = 6000;

/// Finds the address of a connected device, for rejects that the store itself makes.
pub(crate) type PeerOf = Box<dyn Fn(&str) -> Option<SocketAddr> + Send + Sync>;

/// What the sink needs from the process.
pub(crate) struct Surroundings {
    /// Where reports go.
    pub(crate) receipts: Arc<Receipts>,
    /// Where they are counted.
    pub(crate) ledger: Arc<Ledger>,
    /// The gateway's name, for rejects.
    pub(crate) gateway: String,
    /// See [`PeerOf`].
    pub(crate) peer_of: PeerOf,
}

/// The store.
pub(crate) struct Kafka {
    shared: Arc<Shared>,
    reporter: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("status", &self.status()).finish()
    }
}

struct Shared {
    config: ClientConfig,
    producer: RwLock<Option<BaseProducer<Reports>>>,
    names: [String; Topic::ALL.len()],
    capacity: u64,
    submitted: AtomicU64,
    reported: AtomicU64,
    /// Topics are checked, and no record is held.
    open: AtomicBool,
    starved: AtomicBool,
    closing: AtomicBool,
    fatal: AtomicBool,
    topics_ready: AtomicBool,
    held: Mutex<VecDeque<Held>>,
    waiters: Waiters,
    trouble: Mutex<String>,
    oldest: Mutex<VecDeque<(Instant, u64)>>,
    around: Surroundings,
}

/// A record that came back and must go out again before anything newer.
struct Held {
    message: OwnedMessage,
    token: Token,
}

impl Kafka {
    /// Start the producer and, in the background, the check of the topics. Succeeds also while Kafka cannot be reached.
    ///
    /// # Errors
    /// Only a property that librdkafka does not know or take.
    pub(crate) fn start(settings: &Settings, around: Surroundings) -> Result<Self, KafkaError> {
        let config = client_config(settings);
        let shared = Arc::new(Shared {
            names: Topic::ALL.map(|t| format!("{}.{}", settings.prefix, t.name())),
            capacity: u64::from(settings.queue_messages),
            config,
            producer: RwLock::new(None),
            submitted: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            open: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            fatal: AtomicBool::new(false),
            topics_ready: AtomicBool::new(false),
            held: Mutex::default(),
            waiters: Waiters::default(),
            trouble: Mutex::default(),
            oldest: Mutex::default(),
            around,
        });
        *shared.producer.write() = Some(make_producer(&shared)?);
        let mine = Arc::clone(&shared);
        let reporter = thread::Builder::new()
            .name("kafka-reports".into())
            .spawn(move || serve(&mine))
            .map_err(|e| KafkaError::ClientCreation(format!("cannot start a thread: {e}")))?;
        tokio::spawn(check_topics(Arc::clone(&shared), settings.clone()));
        Ok(Self { shared, reporter: Mutex::new(Some(reporter)) })
    }
}

fn client_config(settings: &Settings) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("client.id", "navgate")
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("compression.type", settings.compression.word())
        .set("linger.ms", settings.linger_ms.get().as_millis().to_string())
        .set("queue.buffering.max.messages", settings.queue_messages.to_string())
        .set("queue.buffering.max.kbytes", settings.queue_kbytes.to_string())
        // records wait for Kafka for as long as it takes; acknowledgements wait with them
        .set("message.timeout.ms", "0")
        // a hung broker is given up for another after seconds, not after a minute
        .set("request.timeout.ms", "5000")
        .set("socket.timeout.ms", "10000")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true")
        // a topic made a moment ago is not yet everywhere
        .set("topic.metadata.propagation.max.ms", "30000")
        .set_log_level(RDKafkaLogLevel::Warning);
    for (name, value) in &settings.properties.0 {
        config.set(name, value);
    }
    config
}

fn make_producer(shared: &Arc<Shared>) -> Result<BaseProducer<Reports>, KafkaError> {
    shared.config.create_with_context(Reports { shared: Arc::clone(shared), told_down: AtomicBool::new(false) })
}

impl Sink for Kafka {
    fn submit(&self, record: &Record<'_>) -> Result<(), Full> {
        let shared = &self.shared;
        if !shared.open.load(Ordering::Acquire) {
            return Err(shared.no_room());
        }
        let headers = headers(record);
        let key = record.key.map(str::as_bytes);
        shared.send(record.topic, key, record.value, headers, record.token)
    }

    fn waiters(&self) -> &Waiters {
        &self.shared.waiters
    }

    fn status(&self) -> Status {
        let trouble = self.shared.trouble.lock().clone();
        let submitted = self.shared.submitted.load(Ordering::Relaxed);
        Status {
            kind: "kafka",
            healthy: trouble.is_empty() && self.shared.open.load(Ordering::Relaxed),
            trouble,
            unreported: submitted.saturating_sub(self.shared.reported.load(Ordering::Relaxed)),
            oldest_unreported_seconds: self.shared.oldest_age().as_secs_f64(),
            ..Status::default()
        }
    }

    fn close(&self, limit: Duration) {
        let end = Instant::now() + limit;
        let left = |s: &Shared| s.submitted.load(Ordering::Acquire) > s.reported.load(Ordering::Acquire);
        while left(&self.shared) && Instant::now() < end {
            thread::sleep(Duration::from_millis(5));
        }
        let lost = self.shared.submitted.load(Ordering::Acquire).saturating_sub(self.shared.reported.load(Ordering::Acquire));
        if lost > 0 {
            warn!(records = lost, "Kafka did not take everything in time; these records were not acknowledged, their devices send them again");
        }
        self.shared.closing.store(true, Ordering::Release);
        if let Some(reporter) = self.reporter.lock().take() {
            let _ = reporter.join();
        }
    }
}

/// The CloudEvents attributes in binary mode.
fn headers(record: &Record<'_>) -> OwnedHeaders {
    let meta = &record.meta;
    let time = meta.time.rfc3339();
    let mut epoch = itoa::Buffer::new();
    let reject;
    let id = match &meta.id {
        Id::Event(text) => text.as_str(),
        Id::Reject(session, count) => {
            reject = format!("{session}-{count}");
            &reject
        }
    };
    let mut headers = OwnedHeaders::new_with_capacity(9)
        .insert(Header { key: "content-type", value: Some("application/json") })
        .insert(Header { key: "ce_specversion", value: Some("1.0") })
        .insert(Header { key: "ce_id", value: Some(id) })
        .insert(Header { key: "ce_type", value: Some(meta.kind.ce_type) })
        .insert(Header { key: "ce_source", value: Some(meta.source) });
    if let Some(subject) = meta.subject {
        headers = headers.insert(Header { key: "ce_subject", value: Some(subject) });
    }
    headers
        .insert(Header { key: "ce_time", value: Some(time.as_str()) })
        .insert(Header { key: "ce_dataschema", value: Some(meta.kind.schema) })
        .insert(Header { key: "navgate-epoch", value: Some(epoch.format(meta.epoch)) })
}

impl Shared {
    /// Hand a record to librdkafka, which copies it.
    fn send(&self, topic: Topic, key: Option<&[u8]>, value: &[u8], headers: OwnedHeaders, token: Token) -> Result<(), Full> {
        let mut record = BaseRecord::with_opaque_to(self.name(topic), token.0 as usize).payload(value).headers(headers);
        record.key = key;
        let producer = self.producer.read();
        let Some(producer) = producer.as_ref() else { return Err(self.no_room()) };
        // counted before, so that its report can never be counted first
        self.submitted.fetch_add(1, Ordering::AcqRel);
        let Err((error, record)) = producer.send(record) else { return Ok(()) };
        self.submitted.fetch_sub(1, Ordering::AcqRel);
        match error {
            KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull) => Err(self.no_room()),
            _ if refuses_record(&error) => {
                let (key, value, token) = (record.key, record.payload.unwrap_or_default(), Token(record.delivery_opaque as u64));
                self.refuse(producer, key, value, token, &error)
            }
            _ => {
                self.on_trouble(&error);
                Err(self.no_room())
            }
        }
    }

    /// Kafka will never take this record: a reject that says so goes in its place, with the same token marked.
    fn refuse(
        &self,
        producer: &BaseProducer<Reports>,
        key: Option<&[u8]>,
        value: &[u8],
        token: Token,
        why: &KafkaError,
    ) -> Result<(), Full> {
        let device = key.and_then(|k| std::str::from_utf8(k).ok());
        let reject = serde_json::json!({
            "device_id": device,
            "protocol": PROTOCOLS.get(token.protocol()).map(|p| p.name),
            "gateway": self.around.gateway,
            "peer": device.and_then(|d| (self.around.peer_of)(d)).map(|p| p.to_string()).unwrap_or_default(),
            "received_at": clock::utc(),
            "reason": "refused",
            "offset": 0,
            "detail": format!("Kafka refused the record: {why}"),
            "hex": protocols::cursor::hex(&value[..value.len().min(MAX_REJECT_BYTES)]),
            "length": value.len(),
        });
        warn!(device, bytes = value.len(), "Kafka refused a record for its own sake: {why}; it goes to the rejects");
        let text = reject.to_string();
        let mut record =
            BaseRecord::<[u8], [u8], usize>::with_opaque_to(self.name(Topic::Rejects), token.refused().0 as usize).payload(text.as_bytes());
        record.key = key;
        self.submitted.fetch_add(1, Ordering::AcqRel);
        producer.send(record).map_err(|_| {
            self.submitted.fetch_sub(1, Ordering::AcqRel);
            self.no_room()
        })
    }

    fn name(&self, topic: Topic) -> &str {
        &self.names[topic as usize]
    }

    fn no_room(&self) -> Full {
        self.starved.store(true, Ordering::Release);
        Full
    }

    /// Called for every delivery report, on the reporting thread.
    fn reported(&self, token: Token) {
        self.around.receipts.report(token, &self.around.ledger);
        let reported = self.reported.fetch_add(1, Ordering::AcqRel) + 1;
        if self.starved.load(Ordering::Acquire) {
            let waiting = self.submitted.load(Ordering::Acquire).saturating_sub(reported);
            if waiting * WAKE_BELOW.1 < self.capacity * WAKE_BELOW.0 && self.open.load(Ordering::Acquire) {
                self.starved.store(false, Ordering::Release);
                self.waiters.wake_all();
            }
        }
    }

    /// Say once what is wrong; the same again only at debug level.
    fn on_trouble(&self, error: &KafkaError) {
        let text = error.to_string();
        let mut told = self.trouble.lock();
        if *told != text {
            error!("Kafka: {text}; records are held, acknowledgements wait, devices stay connected; retrying");
            *told = text;
        } else {
            debug!("Kafka: {text}");
        }
        if matches!(error.rdkafka_error_code(), Some(RDKafkaErrorCode::Fatal)) {
            self.fatal.store(true, Ordering::Release);
        }
    }

    fn recovered(&self) {
        let mut told = self.trouble.lock();
        if !told.is_empty() {
            info!("Kafka takes records again");
            told.clear();
        }
    }

    /// Open for records if nothing stands before them.
    fn reopen(&self) {
        let open = self.topics_ready.load(Ordering::Acquire) && self.held.lock().is_empty() && !self.fatal.load(Ordering::Acquire);
        if open && !self.open.swap(true, Ordering::AcqRel) {
            self.starved.store(false, Ordering::Release);
            self.waiters.wake_all();
        }
    }

    fn oldest_age(&self) -> Duration {
        self.oldest.lock().front().map_or(Duration::ZERO, |(at, _)| at.elapsed())
    }

    /// Reports come nearly in the order handed over, so the time when the count of records passed the count of reports is
    /// that of the oldest unreported one, to within a [`POLL`].
    fn sample(&self) {
        let mut samples = self.oldest.lock();
        let (submitted, reported) = (self.submitted.load(Ordering::Acquire), self.reported.load(Ordering::Acquire));
        while samples.front().is_some_and(|(_, upto)| *upto <= reported) {
            samples.pop_front();
        }
        if submitted > samples.back().map_or(reported, |(_, upto)| *upto) && samples.len() < SAMPLES {
            samples.push_back((Instant::now(), submitted));
        }
    }
}

/// Whether it is the record, not Kafka.
fn refuses_record(error: &KafkaError) -> bool {
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

/// The reporting thread: delivery reports, held records, a new producer after a fatal error.
fn serve(shared: &Arc<Shared>) {
    let mut next_retry = Instant::now();
    while !shared.closing.load(Ordering::Acquire) {
        if let Some(producer) = shared.producer.read().as_ref() {
            producer.poll(POLL);
        }
        shared.sample();
        if Instant::now() >= next_retry {
            next_retry = Instant::now() + RETRY;
            if shared.fatal.load(Ordering::Acquire) {
                replace_producer(shared);
            }
            resend(shared);
            shared.reopen();
            // what send() refused for a reason that no report will end is tried again at this pace
            if shared.starved.swap(false, Ordering::AcqRel) {
                shared.waiters.wake_all();
            }
        }
    }
    *shared.producer.write() = None;
}

/// After a fatal error only another producer helps: take back everything, in order, and start one.
fn replace_producer(shared: &Arc<Shared>) {
    shared.open.store(false, Ordering::Release);
    if let Some(producer) = shared.producer.read().as_ref() {
        producer.purge(PurgeConfig::default().queue().inflight());
        producer.poll(POLL);
    }
    match make_producer(shared) {
        Ok(producer) => {
            *shared.producer.write() = Some(producer);
            shared.fatal.store(false, Ordering::Release);
            info!(records = shared.held.lock().len(), "started a new Kafka producer; what the old one had is sent again");
        }
        Err(e) => shared.on_trouble(&e),
    }
}

/// Send again what came back, oldest first, until one is not taken.
fn resend(shared: &Shared) {
    loop {
        let Some(held) = shared.held.lock().pop_front() else { return };
        let message = &held.message;
        let topic = Topic::ALL.into_iter().find(|t| shared.name(*t) == message.topic()).unwrap_or(Topic::Rejects);
        let headers = message.headers().cloned().unwrap_or_else(OwnedHeaders::new);
        if shared.send(topic, message.key(), message.payload().unwrap_or_default(), headers, held.token).is_err() {
            shared.held.lock().push_front(held);
            return;
        }
    }
}

/// Check the topics until they are as the contract wants them, then open.
async fn check_topics(shared: Arc<Shared>, settings: Settings) {
    let mut told = String::new();
    loop {
        match topics::check(&shared.config, &settings).await {
            Ok(()) => break,
            Err(problem) => {
                if problem != told {
                    error!("{problem}; devices stay connected, acknowledgements are held; retrying every {} s", topics::RETRY.as_secs());
                    shared.trouble.lock().clone_from(&problem);
                    told = problem;
                }
                tokio::time::sleep(topics::RETRY).await;
            }
        }
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
    }
    info!(brokers = settings.brokers.join(","), "Kafka is ready");
    shared.trouble.lock().clear();
    shared.topics_ready.store(true, Ordering::Release);
    shared.reopen();
}

/// librdkafka's callbacks.
struct Reports {
    shared: Arc<Shared>,
    told_down: AtomicBool,
}

impl ClientContext for Reports {
    fn error(&self, error: KafkaError, reason: &str) {
        // each event arrives twice on producers, and a lost broker that comes back at once is no trouble
        debug!("Kafka: {error}: {reason}");
        match error.rdkafka_error_code() {
            Some(RDKafkaErrorCode::Fatal) => self.shared.on_trouble(&error),
            Some(RDKafkaErrorCode::AllBrokersDown) if !self.told_down.swap(true, Ordering::AcqRel) => {
                error!("Kafka: no broker can be reached ({reason}); records wait, acknowledgements wait, devices stay connected; retrying");
                "no broker can be reached".clone_into(&mut self.shared.trouble.lock());
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
                self.shared.reported(token);
                if self.told_down.load(Ordering::Relaxed) {
                    self.told_down.store(false, Ordering::Relaxed);
                    self.shared.recovered();
                }
            }
            Err((error, message)) if refuses_record(error) => {
                self.shared.reported.fetch_add(1, Ordering::AcqRel);
                // only this very thread ever locks for writing, and never here
                let producer = self.shared.producer.read_recursive();
                let refused = producer
                    .as_ref()
                    .map(|p| self.shared.refuse(p, message.key(), message.payload().unwrap_or_default(), token, error));
                if refused != Some(Ok(())) {
                    self.hold(message.detach(), token);
                }
            }
            Err((error, message)) => {
                self.shared.reported.fetch_add(1, Ordering::AcqRel);
                if !self.shared.closing.load(Ordering::Acquire) {
                    self.shared.on_trouble(error);
                    self.told_down.store(true, Ordering::Relaxed);
                    self.hold(message.detach(), token);
                }
            }
        }
    }
}

impl Reports {
    /// Nothing newer is taken until this is on its way again. Bounded by librdkafka's queue, from which it comes.
    fn hold(&self, message: OwnedMessage, token: Token) {
        self.shared.open.store(false, Ordering::Release);
        self.shared.held.lock().push_back(Held { message, token });
    }
}
