//! The home's Kafka: the group that shares the commands, the transactions of outcomes, the sessions topic. Threads of their own,
//! for librdkafka's calls wait.
//!
//! A transaction carries outcomes and the offsets that follow from them, with the group's metadata: a member that was put out of
//! the group cannot commit. What makes that hold:
//! - the metadata is of a time at which the partitions were still ours: see [`Wish::revoked`];
//! - a new home reads committed offsets only when no transaction about them is open, and outcomes only when those that were
//!   appended by then have ended: see [`outcomes::since`];
//! - a commit that nobody answered is looked up, not guessed.

mod outcomes;
mod sessions;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex};
use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{BorrowedMessage, Header, Message as _, OwnedHeaders};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::home::{Arrived, Batch};
use super::hub::Input;
use super::table::Record;
use crate::config::Kafka as Settings;
use crate::sink::kafka::client;

/// One request to Kafka.
const REQUEST: Duration = Duration::from_secs(10);
/// Between two tries of what failed.
const RETRY: Duration = Duration::from_secs(1);
/// Longest wait of a thread with nothing to do: within it the end is noticed.
const POLL: Duration = Duration::from_millis(100);
/// Commands without an outcome, and answers unwritten, beyond which no more commands are fetched. A fleet of 10 000 cars has
/// some thousand; each costs about 1 KiB.
const MOST_OPEN: usize = 100_000;
/// Asking where a partition that is ours begins, before the group is looked after again. A transaction of a home that died may
/// keep the answer back for longer; it is asked again.
const BEGIN: Duration = Duration::from_secs(2);
/// At the end, for the group to take the partitions back; whoever does not wait for that leaves them all the same.
const GIVING_UP: Duration = Duration::from_secs(2);

/// Notices a consumer that has lost its brokers: one that was told of none, or of partitions without leaders, while the cluster
/// shut a broker out, was seen to stay like that for minutes (librdkafka 2.12). Only another one helps.
struct Pulse {
    looked: Instant,
    missed: u32,
}

impl Pulse {
    /// Between two looks.
    const EVERY: Duration = Duration::from_secs(5);
    /// For the answer, on the thread that polls.
    const ANSWER: Duration = Duration::from_secs(1);
    /// In a row. While Kafka is away another consumer is made as often as this, which costs little.
    const MISSED: u32 = 3;

    fn new() -> Self {
        Self { looked: Instant::now(), missed: 0 }
    }

    /// Look, if it is time to.
    ///
    /// # Errors
    /// The consumer is of no use any more.
    fn look(&mut self, consumer: &BaseConsumer<impl ConsumerContext>, topic: &str) -> KafkaResult<()> {
        if self.looked.elapsed() < Self::EVERY {
            return Ok(());
        }
        let answer = consumer.fetch_watermarks(topic, 0, Self::ANSWER);
        self.looked = Instant::now();
        self.missed = if answer.is_ok() { 0 } else { self.missed + 1 };
        if self.missed < Self::MISSED { Ok(()) } else { answer.map(drop) }
    }
}

/// A batch to be written.
#[derive(Debug)]
pub(super) struct Wish {
    pub(super) batch: Batch,
    pub(super) gateway: Arc<str>,
    /// How often partitions had been taken from us when it was put together. It is not written under what the group says after
    /// another time: then that may be of a partition whose new home has already read what we wrote.
    pub(super) revoked: u64,
}

/// See the module.
pub(super) struct Kafka {
    shared: Arc<Shared>,
    wishes: Option<SyncSender<Wish>>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    config: ClientConfig,
    prefix: String,
    transactional_id: String,
    inputs: UnboundedSender<Input>,
    /// The group's consumer, while there is one.
    group: Mutex<Option<Arc<BaseConsumer<Group>>>>,
    /// See [`Wish::revoked`].
    revoked: Arc<AtomicU64>,
    /// Session records that are to be published: each device's newest.
    dirty: Mutex<HashMap<DeviceId, Option<Record>>>,
    some_dirty: Condvar,
    loaded: AtomicBool,
    /// Partitions of the outcomes topic.
    outcomes: AtomicI32,
    load: Arc<AtomicUsize>,
    /// No more commands are taken: the group is left.
    leave: CancellationToken,
    stop: CancellationToken,
}

/// What all clients of commands, outcomes and sessions have in common.
pub(super) fn client_config(settings: &Settings, client_id: &str) -> ClientConfig {
    let mut config = client::common(settings, client_id);
    client::given(&mut config, settings);
    config
}

impl Kafka {
    /// Start the threads.
    ///
    /// # Errors
    /// A property that librdkafka does not know or take.
    pub(super) fn start(
        settings: &Settings,
        gateway: &str,
        inputs: UnboundedSender<Input>,
        load: Arc<AtomicUsize>,
        stop: CancellationToken,
    ) -> Result<Self, String> {
        let shared = Arc::new(Shared {
            config: client_config(settings, gateway),
            prefix: settings.prefix.clone(),
            transactional_id: format!("{}-{gateway}", settings.prefix),
            inputs,
            group: Mutex::default(),
            revoked: Arc::default(),
            dirty: Mutex::default(),
            some_dirty: Condvar::new(),
            loaded: AtomicBool::new(false),
            outcomes: AtomicI32::new(0),
            load,
            leave: stop.child_token(),
            stop,
        });
        // what librdkafka does not take shows at once
        let _: BaseConsumer = shared.reader().create().map_err(|e| format!("Kafka: {e}; check [kafka.properties]"))?;
        let (wishes, wished) = sync_channel(1);
        let mut threads = Vec::new();
        let mut spawn = |name: &str, run: Box<dyn FnOnce(&Shared) + Send>| {
            let shared = Arc::clone(&shared);
            let thread = thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
            thread.map(|t| threads.push(t)).map_err(|e| format!("cannot start a thread: {e}"))
        };
        spawn("sessions-read", Box::new(sessions::read))?;
        spawn("sessions-write", Box::new(sessions::write))?;
        spawn("commands", Box::new(read_commands))?;
        spawn("outcomes", Box::new(move |shared| outcomes::write(shared, &wished)))?;
        Ok(Self { shared, wishes: Some(wishes), threads })
    }

    /// Write a batch; [`Input::Settled`] tells how it went. One at a time.
    pub(super) fn write(&self, wish: Wish) {
        if let Some(wishes) = &self.wishes
            && let Err(e) = wishes.try_send(wish)
        {
            let (std::sync::mpsc::TrySendError::Full(wish) | std::sync::mpsc::TrySendError::Disconnected(wish)) = e;
            self.shared.tell(Input::Settled(wish.batch, false));
        }
    }

    /// Publish a device's session record; `None` ends it. A newer one takes the place of one that is not sent yet.
    pub(super) fn publish(&self, device: DeviceId, record: Option<Record>) {
        self.shared.dirty.lock().insert(device, record);
        self.shared.some_dirty.notify_one();
    }

    /// Read a partition's outcomes written since then; [`Input::OutcomesRead`] tells them.
    pub(super) fn read_outcomes(&self, partition: i32, since: Timestamp) {
        let shared = Arc::clone(&self.shared);
        let reading = thread::Builder::new().name("outcomes-read".into()).spawn(move || {
            while !shared.stop.is_cancelled() {
                match outcomes::since(&shared, partition, since) {
                    Ok(finished) => return shared.tell(Input::OutcomesRead(partition, finished)),
                    Err(e) => {
                        warn!(
                            partition,
                            "cannot read the outcomes of a partition that is ours now: {e}; its commands wait; retrying"
                        );
                        thread::sleep(RETRY);
                    }
                }
            }
        });
        if let Err(e) = reading {
            warn!("cannot start a thread: {e}");
        }
    }

    /// Leave the group: other homes take the commands over. What is told of sessions goes on.
    pub(super) fn leave(&self) {
        self.shared.leave.cancel();
    }

    /// Leave the group, end.
    pub(super) fn stop(mut self) {
        self.wishes = None;
        self.shared.some_dirty.notify_one();
        for thread in self.threads {
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn tell(&self, input: Input) {
        let _ = self.inputs.send(input);
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    /// A consumer of whole partitions, of no group.
    fn reader(&self) -> ClientConfig {
        let mut config = self.config.clone();
        config
            .set("group.id", format!("{}-reader", self.prefix)) // the client wants one, though nothing is committed
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "50")
            // what is fetched ahead costs about 1 KiB a record, and a whole fleet may sign on at once
            .set("queued.min.messages", "1000")
            .set("queued.max.messages.kbytes", "1024")
            .set("fetch.queue.backoff.ms", "10");
        config
    }

    fn sleep(&self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end && !self.stop.is_cancelled() {
            thread::sleep(POLL.min(time));
        }
    }

    /// The partitions of a topic, each with its leader.
    fn partitions(&self, consumer: &BaseConsumer<impl ConsumerContext>, topic: &str) -> KafkaResult<Vec<(i32, i32)>> {
        let metadata = consumer.fetch_metadata(Some(topic), REQUEST)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        let found: Vec<_> = found.into_iter().flat_map(|t| t.partitions()).map(|p| (p.id(), p.leader())).collect();
        if found.is_empty() {
            return Err(KafkaError::ClientCreation(format!("there is no topic {topic}")));
        }
        Ok(found)
    }
}

/// The CloudEvents attributes in binary mode.
fn headers(kind: &str, id: &str, subject: Option<&str>, time: Timestamp) -> OwnedHeaders {
    let time = time.rfc3339();
    let mut headers = OwnedHeaders::new_with_capacity(9)
        .insert(Header { key: "content-type", value: Some("application/json") })
        .insert(Header { key: "ce_specversion", value: Some("1.0") })
        .insert(Header { key: "ce_id", value: Some(id) })
        .insert(Header { key: "ce_type", value: Some(&format!("navgate.{kind}.v1")) })
        .insert(Header { key: "ce_source", value: Some("/navgate") });
    if let Some(subject) = subject {
        headers = headers.insert(Header { key: "ce_subject", value: Some(subject) });
    }
    headers
        .insert(Header { key: "ce_time", value: Some(time.as_str()) })
        .insert(Header { key: "ce_dataschema", value: Some(&format!("urn:navgate:schema:{kind}:v1")) })
}

// --- commands

/// Hears which partitions come and go.
#[derive(Debug)]
struct Group {
    inputs: UnboundedSender<Input>,
    revoked: Arc<AtomicU64>,
    /// Partitions that are ours and have not begun: what came of them waits until it is known where they begin.
    gained: Mutex<BTreeMap<i32, Vec<Arrived>>>,
}

impl Group {
    fn give_up(&self, partitions: &TopicPartitionList) {
        let lost: Vec<i32> =
            partitions.elements().iter().map(rdkafka::topic_partition_list::TopicPartitionListElem::partition).collect();
        self.gained.lock().retain(|p, _| !lost.contains(p));
        self.revoked.fetch_add(1, Ordering::AcqRel);
        // the next home may begin once this returns: ours must have ended
        let (done, ended) = sync_channel(1);
        if self.inputs.send(Input::Revoked(lost, done)).is_ok() {
            let _ = ended.recv_timeout(Duration::from_secs(1));
        }
    }
}

impl ClientContext for Group {}

impl ConsumerContext for Group {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            self.give_up(partitions);
        }
    }

    fn post_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            self.gained.lock().extend(partitions.elements().iter().map(|element| (element.partition(), Vec::new())));
        }
    }
}

fn read_commands(shared: &Shared) {
    while !shared.leave.is_cancelled() {
        if !shared.loaded.load(Ordering::Acquire) {
            thread::sleep(POLL / 5);
            continue;
        }
        if let Err(e) = serve_commands(shared) {
            warn!("commands cannot be read: {e}; retrying");
            shared.sleep(RETRY);
        }
        *shared.group.lock() = None;
    }
}

fn serve_commands(shared: &Shared) -> KafkaResult<()> {
    let topic = shared.topic("commands");
    let mut config = shared.config.clone();
    config
        .set("group.id", &shared.prefix)
        .set("partition.assignment.strategy", "cooperative-sticky")
        .set("session.timeout.ms", "6000")
        .set("heartbeat.interval.ms", "1500")
        .set("enable.auto.commit", "false")
        .set("enable.auto.offset.store", "false")
        .set("auto.offset.reset", "earliest")
        .set("isolation.level", "read_committed")
        .set("queued.max.messages.kbytes", "16384");
    let context = Group { inputs: shared.inputs.clone(), revoked: Arc::clone(&shared.revoked), gained: Mutex::default() };
    let consumer: Arc<BaseConsumer<Group>> = Arc::new(config.create_with_context(context)?);
    consumer.subscribe(&[&topic])?;
    *shared.group.lock() = Some(Arc::clone(&consumer));
    let served = follow(shared, &consumer, &topic);
    // until the partitions are given up, what has ended can still be written
    consumer.unsubscribe();
    let end = Instant::now() + GIVING_UP;
    while consumer.assignment()?.count() > 0 && Instant::now() < end {
        consumer.poll(POLL);
    }
    // whatever this client still has, its successor is another member
    let left = consumer.assignment()?;
    if left.count() > 0 {
        consumer.context().give_up(&left);
    }
    served
}

/// Until the group is to be left, or this client is of no use any more.
fn follow(shared: &Shared, consumer: &BaseConsumer<Group>, topic: &str) -> KafkaResult<()> {
    let mut paused = false;
    let mut pulse = Pulse::new();
    while !shared.leave.is_cancelled() {
        pulse.look(consumer, topic)?;
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                let arrived = arrived(&message);
                match consumer.context().gained.lock().get_mut(&arrived.partition) {
                    Some(waiting) => waiting.push(arrived),
                    None => shared.tell(Input::Command(arrived)),
                }
            }
            Some(Err(e)) => {
                debug!("commands: {e}");
                if consumer.client().fatal_error().is_some() {
                    return Err(e);
                }
            }
            None => {}
        }
        begin_all(shared, consumer, topic);
        let full = shared.load.load(Ordering::Relaxed) >= MOST_OPEN;
        if full != paused {
            let assigned = consumer.assignment()?;
            if full {
                consumer.pause(&assigned)?
            } else {
                consumer.resume(&assigned)?
            }
            paused = full;
        }
    }
    Ok(())
}

fn arrived(message: &BorrowedMessage<'_>) -> Arrived {
    Arrived {
        partition: message.partition(),
        offset: message.offset(),
        timestamp: Timestamp::from_millis(message.timestamp().to_millis().unwrap_or(0)),
        value: message.payload().unwrap_or_default().to_vec(),
    }
}

/// Tell where the partitions begin that are ours now, and what has come of them; what cannot be told yet waits.
fn begin_all(shared: &Shared, consumer: &BaseConsumer<Group>, topic: &str) {
    let gained: Vec<i32> = consumer.context().gained.lock().keys().copied().collect();
    if gained.is_empty() {
        return;
    }
    match shared.partitions(consumer, topic) {
        Ok(all) => shared.tell(Input::Spread(u32::try_from(all.len()).unwrap_or(u32::MAX))),
        Err(e) => return debug!("the partitions of {topic} cannot be told: {e}; asking again"),
    }
    for partition in gained {
        match begin(consumer, topic, partition) {
            Ok((start, end)) => {
                let waiting = consumer.context().gained.lock().remove(&partition).unwrap_or_default();
                shared.tell(Input::Assigned(partition, start, end));
                waiting.into_iter().for_each(|arrived| shared.tell(Input::Command(arrived)));
            }
            // of the others each may be told
            Err(e) => debug!(partition, "it cannot be told yet where a partition begins: {e}; asking again"),
        }
    }
}

/// Where a partition that is ours begins, and where the records end that a former home may have had.
fn begin(consumer: &BaseConsumer<Group>, topic: &str, partition: i32) -> KafkaResult<(i64, i64)> {
    let mut asked = TopicPartitionList::new();
    asked.add_partition(topic, partition);
    let (low, high) = consumer.fetch_watermarks(topic, partition, BEGIN)?;
    let committed = consumer.committed_offsets(asked, BEGIN)?;
    let start = match committed.elements().first().map(|e| e.offset()) {
        Some(Offset::Offset(offset)) => offset.max(low),
        _ => low,
    };
    Ok((start, high))
}
