//! The sessions topic: read whole by every instance, written by whoever holds a device or looks after its record.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use protocols::identity::{DeviceId, SessionId};
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{Header, Message as _, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use tokio::sync::mpsc::UnboundedSender;
use tracing::{debug, info, warn};

use super::super::hub::Input;
use super::super::table::{Act, Record};
use super::{POLL, REQUEST, RETRY, Shared, headers};

/// A topic that is made at the first start is there by then.
const BEING_MADE: Duration = Duration::from_secs(10);

pub(super) fn read(shared: &Shared) {
    let begun = Instant::now();
    while !shared.stop.is_cancelled() {
        if let Err(e) = follow(shared) {
            debug!("the sessions topic cannot be read: {e}; retrying");
            // at the first start it is just being made, and devices wait
            shared.sleep(if begun.elapsed() < BEING_MADE { POLL } else { RETRY });
        }
    }
}

fn follow(shared: &Shared) -> KafkaResult<()> {
    let topic = shared.topic("sessions");
    let consumer: BaseConsumer = shared.reader().create()?;
    let partitions = shared.partitions(&consumer, &topic)?;
    // of a topic that is just being made: assigned now, it would be looked at again only after a second or two
    if partitions.iter().any(|(_, leader)| *leader < 0) {
        return Err(KafkaError::ClientCreation(format!("{topic} has partitions without a leader")));
    }
    let mut all = TopicPartitionList::new();
    for (partition, _) in &partitions {
        all.add_partition_offset(&topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&all)?;
    let mut unread: BTreeSet<i32> = partitions.into_iter().map(|(partition, _)| partition).collect();
    let mut records = 0_u64;
    while !shared.stop.is_cancelled() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                records += 1;
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

/// Tells the hub which session's record stands in the topic.
struct Published {
    inputs: UnboundedSender<Input>,
}

impl ClientContext for Published {}

impl ProducerContext for Published {
    /// The session and the revision of its record; of a record that ends, none.
    type DeliveryOpaque = Box<(DeviceId, Option<(SessionId, u64)>)>;

    fn delivery(&self, result: &DeliveryResult<'_>, opaque: Self::DeliveryOpaque) {
        let (device, session) = *opaque;
        match (result, session) {
            (Ok(_), Some((session, revision))) => drop(self.inputs.send(Input::Published(device, session, revision))),
            (Ok(_), None) => {}
            // it is published anew as it is by then
            (Err((e, _)), _) => {
                debug!(%device, "a session record was not written: {e}");
                drop(self.inputs.send(Input::Acts(vec![Act::Publish(device)])));
            }
        }
    }
}

pub(super) fn write(shared: &Shared) {
    let mut config = shared.config.clone();
    config
        .set("acks", "all")
        .set("enable.idempotence", "true")
        .set("partitioner", "murmur2_random")
        .set("linger.ms", "0") // an offer waits for them
        .set("message.timeout.ms", "30000");
    while !shared.stop.is_cancelled() {
        match config.create_with_context(Published { inputs: shared.inputs.clone() }) {
            Ok(producer) => publish(shared, &producer),
            Err(e) => {
                warn!("sessions: {e}; retrying");
                shared.sleep(RETRY);
            }
        }
    }
}

/// Until the end, or until this producer is of no use any more: what it had comes back as not written, and is published anew.
fn publish(shared: &Shared, producer: &ThreadedProducer<Published>) {
    let topic = shared.topic("sessions");
    loop {
        if let Some((_, e)) = producer.client().fatal_error() {
            return warn!("sessions: {e}; going on with another producer");
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
            if let Err((e, _)) = producer.send(out) {
                debug!(%device, "a session record has to wait: {e}");
                shared.dirty.lock().entry(device).or_insert(record);
                shared.sleep(POLL);
            }
        }
    }
    let _ = producer.flush(REQUEST);
}

fn headers_of(device: &DeviceId, record: &Record) -> OwnedHeaders {
    let id = format!("{:016x}-{}-{}", record.session.0, record.epoch, record.since.as_millis());
    headers("session", &id, Some(device.as_str()), record.since)
        .insert(Header { key: "navgate-epoch", value: Some(&record.epoch.to_string()) })
}
