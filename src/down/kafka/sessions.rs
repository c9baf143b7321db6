//! The sessions topic: read whole by every instance, written by whoever holds a device or looks after its record.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocols::identity::{DeviceId, SessionId};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, PurgeConfig, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use super::super::hub::Input;
use super::super::table::{Act, Record};
use super::{POLL, Pulse, REQUEST, RETRY, Shared, headers};

/// A topic that is made at the first start is there by then.
const BEING_MADE: Duration = Duration::from_secs(10);

pub(super) fn read(shared: &Shared) {
    let begun = Instant::now();
    let mut read = BTreeMap::new();
    while !shared.stop.is_cancelled() {
        if let Err(e) = follow(shared, &mut read) {
            debug!("the sessions topic cannot be read: {e}; retrying");
            // at the first start it is just being made, and devices wait
            shared.sleep(if begun.elapsed() < BEING_MADE { POLL } else { RETRY });
        }
    }
}

/// `read`: where each partition goes on.
fn follow(shared: &Shared, read: &mut BTreeMap<i32, i64>) -> KafkaResult<()> {
    let topic = shared.topic("sessions");
    let consumer: BaseConsumer = shared.reader().create()?;
    let partitions = shared.partitions(&consumer, &topic)?;
    // of a topic that is just being made: assigned now, it would be looked at again only after a second or two
    if partitions.iter().any(|(_, leader)| *leader < 0) {
        return Err(KafkaError::ClientCreation(format!("{topic} has partitions without a leader")));
    }
    let mut all = TopicPartitionList::new();
    for (partition, _) in &partitions {
        let from = read.get(partition).map_or(Offset::Beginning, |next| Offset::Offset(*next));
        all.add_partition_offset(&topic, *partition, from)?;
    }
    consumer.assign(&all)?;
    let mut unread: BTreeSet<i32> = partitions.into_iter().map(|(partition, _)| partition).collect();
    let mut records = 0_u64;
    let mut pulse = Pulse::new();
    while !shared.stop.is_cancelled() {
        pulse.look(&consumer, &topic)?;
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                records += 1;
                read.insert(message.partition(), message.offset() + 1);
                let device = message.key().and_then(|k| std::str::from_utf8(k).ok()).and_then(DeviceId::normalise);
                let Some(device) = device else { continue };
                let record = match message.payload() {
                    None => None,
                    Some(value) => match serde_json::from_slice(value) {
                        Ok(record) => Some(record),
                        Err(e) => {
                            warn!(%device, "a record of the sessions topic cannot be read: {e}");
                            continue;
                        }
                    },
                };
                shared.tell(Input::Session(device, record));
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => {
                unread.remove(&partition);
                if unread.is_empty() && !shared.loaded.swap(true, Ordering::AcqRel) {
                    info!(records, "the sessions of all instances are known");
                    shared.tell(Input::SessionsLoaded);
                }
            }
            Some(Err(e)) => debug!("sessions: {e}"),
            None => {}
        }
    }
    Ok(())
}

/// A record that Kafka has not taken by then comes back, and is published anew as it is by then, by another producer: this one may
/// have lost its brokers (see [`Pulse`]).
const GIVEN_UP: Duration = Duration::from_secs(10);
/// One that has not come back by then never will: the client is stuck.
const STUCK: Duration = Duration::from_secs(20);
/// Between two looks for such records.
const LOOK: Duration = Duration::from_secs(1);

/// Devices whose records are with the client, how many of each, and since when none of them has come back.
type Unreported = Mutex<HashMap<DeviceId, (u32, Instant)>>;

/// A record of a device is not with the client any more.
fn reported(unreported: &Unreported, device: &DeviceId) {
    if let Entry::Occupied(mut entry) = unreported.lock().entry(device.clone()) {
        let left = entry.get().0 - 1;
        if left == 0 {
            entry.remove();
        } else {
            entry.insert((left, Instant::now()));
        }
    }
}

/// Tells the hub which session's record stands in the topic.
struct Published {
    inputs: UnboundedSender<Input>,
    unreported: Unreported,
    /// Somebody was told that records are not written.
    troubled: Arc<AtomicBool>,
    /// Some were not: another producer is needed.
    failed: AtomicBool,
}

impl ClientContext for Published {}

impl ProducerContext for Published {
    /// The session and the revision of its record; of a record that ends, none.
    type DeliveryOpaque = Box<(DeviceId, Option<(SessionId, u64)>)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let (device, session) = *opaque;
        reported(&self.unreported, &device);
        match result {
            Ok(_) => {
                if self.troubled.swap(false, Ordering::Relaxed) {
                    info!("session records are written again");
                }
                if let Some((session, revision)) = session {
                    let _ = self.inputs.send(Input::Published(device, session, revision));
                }
            }
            Err((e, _)) => {
                if !self.troubled.swap(true, Ordering::Relaxed) {
                    warn!(%device, "a session record was not written: {e}; it and others are tried again");
                }
                self.failed.store(true, Ordering::Release);
                let _ = self.inputs.send(Input::Acts(vec![Act::Publish(device)]));
            }
        }
    }
}

type Writer = ThreadedProducer<Published>;

pub(super) fn write(shared: &Shared) {
    let mut config = shared.config.clone();
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0") // an offer waits for them
        .set("message.timeout.ms", GIVEN_UP.as_millis().to_string());
    let troubled = Arc::default();
    while !shared.stop.is_cancelled() {
        let context = Published {
            inputs: shared.inputs.clone(),
            unreported: Unreported::default(),
            troubled: Arc::clone(&troubled),
            failed: AtomicBool::new(false),
        };
        match config.create_with_context(context) {
            Ok(producer) => publish(shared, producer),
            Err(e) => {
                warn!("sessions: {e}; retrying");
                shared.sleep(RETRY);
            }
        }
    }
}

/// Until the end, or until this producer is of no use any more: what it had is published anew.
fn publish(shared: &Shared, producer: Writer) {
    let context = Arc::clone(producer.context());
    let unreported = &context.unreported;
    let topic = shared.topic("sessions");
    let mut looked = Instant::now();
    loop {
        if let Some((_, e)) = producer.client().fatal_error() {
            return warn!("sessions: {e}; going on with another producer");
        }
        if looked.elapsed() >= LOOK {
            looked = Instant::now();
            let mut waiting = unreported.lock();
            let stuck = waiting.values().any(|(_, since)| since.elapsed() >= STUCK);
            if stuck || context.failed.load(Ordering::Acquire) {
                drop(waiting);
                if stuck && !context.troubled.swap(true, Ordering::Relaxed) {
                    warn!("session records do not come back from Kafka's client; going on with another");
                }
                return replace(shared, producer);
            }
            if waiting.is_empty() {
                waiting.shrink_to_fit(); // of a fleet that came back at once
            }
        }
        let batch = {
            let mut dirty = shared.dirty.lock();
            if dirty.is_empty() {
                if shared.stop.is_cancelled() {
                    break;
                }
                shared.some_dirty.wait_for(&mut dirty, POLL);
            }
            std::mem::take(&mut *dirty)
        };
        for (device, record) in batch {
            let value = record.as_ref().map(|r| serde_json::to_vec(r).unwrap_or_default());
            let headers = record.as_ref().map(|r| headers_of(&device, r));
            let session = record.as_ref().map(|r| (r.session, r.revision));
            let key = device.as_str().to_owned();
            let mut out = BaseRecord::with_opaque_to(&topic, Box::new((device.clone(), session))).key(key.as_bytes());
            out.payload = value.as_deref();
            out.headers = headers;
            unreported.lock().entry(device.clone()).or_insert_with(|| (0, Instant::now())).0 += 1;
            if let Err((e, _)) = producer.send(out) {
                debug!(%device, "a session record has to wait: {e}");
                reported(unreported, &device);
                shared.dirty.lock().entry(device).or_insert(record);
                shared.sleep(POLL);
            }
        }
    }
    let _ = producer.flush(REQUEST);
}

/// Leave a client that fails to itself, and have everything that it had published anew.
fn replace(shared: &Shared, producer: Writer) {
    let devices: Vec<DeviceId> = producer.context().unreported.lock().keys().cloned().collect();
    debug!(records = devices.len(), "sessions: going on with another producer");
    producer.purge(PurgeConfig::default().queue().inflight());
    shared.tell(Input::Acts(devices.into_iter().map(Act::Publish).collect()));
    // its end may not come
    let _ = thread::Builder::new().name("sessions-stuck".into()).spawn(move || drop(producer));
}

fn headers_of(device: &DeviceId, record: &Record) -> OwnedHeaders {
    let id = format!("{:016x}-{}-{}", record.session.0, record.epoch, record.since.as_millis());
    headers("session", &id, Some(device.as_str()), record.since)
        .insert(Header { key: "navgate-epoch", value: Some(&record.epoch.to_string()) })
}
