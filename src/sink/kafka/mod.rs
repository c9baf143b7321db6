//! The Kafka store: an idempotent producer with `acks=all` whose delivery reports carry our tokens back.
//!
//! ```text
//!   submit ─▶ staging ═every few ms═▶ shipping thread: librdkafka ─▶ broker
//!   (any thread, never waits)                  └─▶ delivery reports ─▶ receipts
//! ```
//!
//! One thread ships what has gathered and hears the reports, a few hundred times a second whatever the load: handing each
//! record to librdkafka from the connections would wake its threads for each, which costs several times the work itself.
//!
//! Records wait for as long as it takes (`message.timeout.ms` 0): while Kafka is away [`Sink::submit`] says [`Full`],
//! connections stop reading, and nothing is dropped. What comes back undelivered all the same (a topic that vanished, a fatal
//! producer error) is held in order and sent again before anything newer.

pub(crate) mod client;
mod drain;
mod headers;
mod ship;
mod staging;
mod topics;

use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use protocols::event::Topic;
use rdkafka::config::ClientConfig;
use rdkafka::error::KafkaError;
use tracing::{error, info, warn};

use super::{Full, Sink, Status, Waiters};
use crate::config::Kafka as Settings;
use crate::ledger::Ledger;
use crate::receipts::Receipts;
use crate::record::Record;
pub(crate) use drain::{Drain, Progress};
use ship::Taken;
use staging::Staging;

/// Staged records at which shipping does not wait for the next tick: then there is work enough for one pass.
const BUSY: usize = 512;
/// Share of the capacity that must be free before waiting connections are told so: waking all of them for one place would be
/// a stampede.
const WAKE_BELOW: (u64, u64) = (3, 4);
/// Places in librdkafka's own queue beyond our capacity: rejects that stand for refused records.
const SPARE: u32 = 1000;

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
    /// Whether captures may go to their topic.
    pub(crate) frames: bool,
}

/// The store.
pub(crate) struct Kafka {
    shared: Arc<Shared>,
    shipper: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("status", &self.status()).finish()
    }
}

/// What connections, the shipping thread and librdkafka's callbacks share.
struct Shared {
    config: ClientConfig,
    prefix: String,
    names: [String; Topic::ALL.len()],
    capacity: u64,
    tick: Duration,
    staging: Mutex<Staging>,
    /// The shipping thread sleeps on it while there is nothing to do, or too little.
    work: Condvar,
    /// Records taken, and records reported.
    submitted: AtomicU64,
    reported: AtomicU64,
    /// Topics are checked, and no record is held.
    open: AtomicBool,
    starved: AtomicBool,
    closing: AtomicBool,
    topics_ready: AtomicBool,
    /// Since when no record is taken.
    shut: Mutex<Option<Instant>>,
    /// Who wants everything back.
    turn_back: Mutex<TurnBack>,
    turned: Condvar,
    waiters: Waiters,
    trouble: Mutex<String>,
    oldest: Mutex<Option<Instant>>,
    around: Surroundings,
}

/// For a spool: the way to Kafka is closed, and what was on it given back.
#[derive(Debug, Default)]
enum TurnBack {
    /// Records are on their way.
    #[default]
    No,
    /// The shipping thread is to take everything back.
    Wanted,
    /// It has; it ships nothing until told to.
    Done(Vec<Taken>),
}

impl Kafka {
    /// Start the producer and, in the background, the check of the topics. Succeeds also while Kafka cannot be reached.
    ///
    /// # Errors
    /// Only a property that librdkafka does not know or take.
    pub(crate) fn start(settings: &Settings, around: Surroundings) -> Result<Self, KafkaError> {
        let linger = settings.linger_ms.get();
        let shared = Arc::new(Shared {
            config: client_config(settings),
            prefix: settings.prefix.clone(),
            names: Topic::ALL.map(|t| format!("{}.{}", settings.prefix, t.name())),
            capacity: u64::from(settings.queue_messages),
            tick: linger / 2,
            staging: Mutex::default(),
            work: Condvar::new(),
            submitted: AtomicU64::new(0),
            reported: AtomicU64::new(0),
            open: AtomicBool::new(false),
            starved: AtomicBool::new(false),
            closing: AtomicBool::new(false),
            topics_ready: AtomicBool::new(false),
            shut: Mutex::new(Some(Instant::now())),
            turn_back: Mutex::default(),
            turned: Condvar::new(),
            waiters: Waiters::default(),
            trouble: Mutex::default(),
            oldest: Mutex::default(),
            around,
        });
        let shipper = ship::start(&shared)?;
        tokio::spawn(check_topics(Arc::clone(&shared), settings.clone()));
        Ok(Self { shared, shipper: Mutex::new(Some(shipper)) })
    }

    /// How long a record, or whoever has one, has waited for Kafka: since the oldest report is due, or since no record is taken.
    pub(crate) fn waited(&self) -> Duration {
        let oldest = self.shared.oldest.lock().map(|at| at.elapsed());
        let shut = self.shared.shut.lock().map(|at| at.elapsed());
        oldest.max(shut).unwrap_or_default()
    }

    /// Whether the topics are as the contract wants them.
    pub(crate) fn topics_ready(&self) -> bool {
        self.shared.topics_ready.load(Ordering::Acquire)
    }

    /// Take no records until [`Kafka::resume`].
    pub(crate) fn pause(&self) {
        drop(self.take_back());
    }

    /// Close the way to Kafka and give back everything that is on it and not reported, in order; some of it may have reached
    /// Kafka all the same. Waits for the shipping thread.
    pub(crate) fn take_back(&self) -> Vec<Taken> {
        let mut turn_back = self.shared.turn_back.lock();
        self.shared.open.store(false, Ordering::Release);
        if matches!(*turn_back, TurnBack::No) {
            *turn_back = TurnBack::Wanted;
        }
        loop {
            self.shared.work.notify_one();
            match &mut *turn_back {
                TurnBack::Done(taken) => return std::mem::take(taken),
                _ if self.shared.closing.load(Ordering::Acquire) => return Vec::new(),
                _ => drop(self.shared.turned.wait_for(&mut turn_back, ship::IDLE)),
            }
        }
    }

    /// Open the way again.
    pub(crate) fn resume(&self) {
        *self.shared.turn_back.lock() = TurnBack::No;
        self.shared.work.notify_one();
    }

    /// Empty the journal in this directory into Kafka.
    ///
    /// # Errors
    /// The directory cannot be read.
    pub(crate) fn drain(&self, directory: &Path) -> io::Result<Drain> {
        Drain::open(self.shared.config.clone(), &self.shared.prefix, directory)
    }
}

/// Wait until the topics are there, then empty the journal in this directory into Kafka: for `navgate drain-journal`.
///
/// # Errors
/// The directory cannot be read, or a property that librdkafka does not take.
pub(crate) fn drain_only(settings: &Settings, directory: &Path) -> io::Result<Drain> {
    Drain::open(client_config(settings), &settings.prefix, directory)
}

/// Whether the topics, that of captures among them if so wanted, are as the contract wants them; made where that is allowed.
///
/// # Errors
/// What is wrong, in words.
pub(crate) async fn topics(settings: &Settings, frames: bool) -> Result<(), String> {
    topics::check(&client_config(settings), settings, frames).await
}

fn client_config(settings: &Settings) -> ClientConfig {
    let mut config = client::common(settings, "navgate");
    // a quarter of the wait is librdkafka's, so that all partitions of a shipment leave together
    let linger_ms = settings.linger_ms.get().as_secs_f64() * 1000.0 / 4.0;
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("compression.type", settings.compression.word())
        .set("linger.ms", linger_ms.to_string())
        .set("queue.buffering.max.messages", settings.queue_messages.saturating_add(SPARE).to_string())
        .set("queue.buffering.max.kbytes", settings.queue_kbytes.to_string())
        // records wait for Kafka for as long as it takes; acknowledgements wait with them
        .set("message.timeout.ms", "0")
        // a hung broker is given up for another after seconds, not after a minute
        .set("request.timeout.ms", "5000");
    client::given(&mut config, settings);
    config
}

impl Sink for Kafka {
    fn submit(&self, record: &Record<'_>) -> Result<(), Full> {
        let shared = &self.shared;
        if !shared.open.load(Ordering::Acquire) || shared.unreported() >= shared.capacity {
            shared.starved.store(true, Ordering::Release);
            return Err(Full);
        }
        let mut staging = shared.staging.lock();
        staging.push(record);
        shared.submitted.fetch_add(1, Ordering::AcqRel);
        let wake = staging.wants_waking(BUSY);
        drop(staging);
        if wake {
            shared.work.notify_one();
        }
        Ok(())
    }

    fn waiters(&self) -> &Waiters {
        &self.shared.waiters
    }

    fn status(&self) -> Status {
        let trouble = self.shared.trouble.lock().clone();
        Status {
            kind: "kafka",
            mode: "live",
            healthy: trouble.is_empty() && self.shared.open.load(Ordering::Relaxed),
            trouble,
            unreported: self.shared.unreported(),
            oldest_unreported_seconds: self.shared.oldest.lock().map_or(0.0, |at| at.elapsed().as_secs_f64()),
            ..Status::default()
        }
    }

    fn close(&self, limit: Duration) {
        let end = Instant::now() + limit;
        while self.shared.unreported() > 0 && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(5));
        }
        let lost = self.shared.unreported();
        if lost > 0 {
            warn!(
                records = lost,
                "Kafka did not take everything in time; these records were not acknowledged, their devices send them again"
            );
        }
        self.shared.closing.store(true, Ordering::Release);
        self.shared.work.notify_one();
        if let Some(shipper) = self.shipper.lock().take() {
            let _ = shipper.join();
        }
    }
}

impl Shared {
    fn name(&self, topic: Topic) -> &str {
        &self.names[topic as usize]
    }

    fn unreported(&self) -> u64 {
        self.submitted.load(Ordering::Acquire).saturating_sub(self.reported.load(Ordering::Acquire))
    }

    /// Say once what is wrong; the same again only at debug level.
    fn on_trouble(&self, text: &str) {
        let mut told = self.trouble.lock();
        if *told == text {
            tracing::debug!("Kafka: {text}");
        } else {
            error!("Kafka: {text}; records are held, acknowledgements wait, devices stay connected; retrying");
            text.clone_into(&mut told);
        }
    }

    fn recovered(&self) {
        let mut told = self.trouble.lock();
        if !told.is_empty() {
            info!("Kafka takes records again");
            told.clear();
        }
    }

    /// Take records, or take none.
    fn set_open(&self, open: bool) {
        self.open.store(open, Ordering::Release);
        let mut shut = self.shut.lock();
        *shut = if open { None } else { shut.or_else(|| Some(Instant::now())) };
    }

    /// Tell connections that wait for room, if there is enough of it.
    fn offer_room(&self) {
        let room = self.unreported() * WAKE_BELOW.1 < self.capacity * WAKE_BELOW.0;
        if room && self.open.load(Ordering::Acquire) && self.starved.swap(false, Ordering::AcqRel) {
            self.waiters.wake_all();
        }
    }
}

/// Check the topics until they are as the contract wants them, then open.
async fn check_topics(shared: Arc<Shared>, settings: Settings) {
    let mut told = String::new();
    while let Err(problem) = topics::check(&shared.config, &settings, shared.around.frames).await {
        if problem != told {
            error!("{problem}; devices stay connected, acknowledgements are held; retrying every {} s", topics::RETRY.as_secs());
            shared.trouble.lock().clone_from(&problem);
            told = problem;
        }
        tokio::time::sleep(topics::RETRY).await;
        if shared.closing.load(Ordering::Acquire) {
            return;
        }
    }
    info!(brokers = settings.brokers.join(","), "Kafka is ready");
    shared.trouble.lock().clear();
    shared.topics_ready.store(true, Ordering::Release);
    shared.work.notify_one();
}
