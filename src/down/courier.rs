//! A command from a person: written to the commands topic as any backend would, and followed to its outcome.
//!
//! It knows no more of the gateway than a backend does, so it works on whichever instance, and without any.

use std::fmt;
use std::sync::Arc;
use std::sync::mpsc::{SyncSender, sync_channel};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use protocols::identity::DeviceId;
use rdkafka::client::ClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, ProducerContext, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde::Deserialize;

use super::kafka;
use super::standing::Standing;
use crate::config::Kafka as Settings;

/// One request to Kafka.
const REQUEST: Duration = Duration::from_secs(10);
/// How often it is looked whether anybody still wants to know.
const GLANCE: Duration = Duration::from_millis(100);
/// How long an outcome may take beyond the command's deadline: should its home die at that moment, another one has its commands
/// within 15 s.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);
/// Commands that are written or followed at once: each has a client of its own, with a thread for each broker.
pub(crate) const AT_ONCE: usize = 16;

/// See the module.
pub(crate) struct Courier {
    config: ClientConfig,
    brokers: String,
    prefix: String,
    /// Made when it is first wanted.
    producer: Mutex<Option<Arc<ThreadedProducer<Delivered>>>>,
}

impl fmt::Debug for Courier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Courier").field("brokers", &self.brokers).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// Tells whoever waits where a record stands.
struct Delivered;

impl ClientContext for Delivered {}

impl ProducerContext for Delivered {
    type DeliveryOpaque = Box<SyncSender<KafkaResult<i32>>>;

    fn delivery(&self, result: &DeliveryResult<'_>, waits: Self::DeliveryOpaque) {
        let stands = match result {
            Ok(record) => Ok(record.partition()),
            Err((e, _)) => Err(e.clone()),
        };
        let _ = waits.try_send(stands);
    }
}

impl Courier {
    /// For the topics of these settings.
    pub(crate) fn new(settings: &Settings, client_id: &str) -> Self {
        let mut config = kafka::client_config(settings, client_id);
        config
            .set("group.id", format!("{}-courier", settings.prefix)) // the client wants one, though nothing is committed
            .set("enable.auto.commit", "false")
            .set("isolation.level", "read_committed")
            .set("fetch.wait.max.ms", "50");
        Self { config, brokers: settings.brokers.join(","), prefix: settings.prefix.clone(), producer: Mutex::default() }
    }

    /// Write a command; it is in the topic when this returns. Waits.
    ///
    /// # Errors
    /// What Kafka says against it.
    pub(crate) fn post(&self, device: &DeviceId, value: &[u8]) -> Result<(), Trouble> {
        self.write(device, value).map(drop).map_err(|e| self.trouble(&e))
    }

    /// The same, and be ready to hear what becomes of it. Waits.
    ///
    /// # Errors
    /// As [`Courier::post`].
    pub(crate) fn post_and_follow(&self, device: &DeviceId, value: &[u8]) -> Result<Following, Trouble> {
        let follow = || {
            let consumer: BaseConsumer = self.config.create()?;
            // before it is written: its outcome stands behind this, in the partition that has its number
            let ends = self.ends(&consumer)?;
            let partition = self.write(device, value)?;
            let outcomes = self.topic("outcomes");
            let Some(end) = ends.find_partition(&outcomes, partition) else {
                let trouble = format!("{outcomes} has no partition {partition}, as {} has", self.topic("commands"));
                return Err(KafkaError::ClientCreation(trouble));
            };
            let mut from = TopicPartitionList::new();
            from.add_partition_offset(&outcomes, partition, end.offset())?;
            consumer.assign(&from)?;
            Ok(Following { consumer })
        };
        follow().map_err(|e| self.trouble(&e))
    }

    /// Who serves commands. Waits.
    pub(crate) fn standing(&self) -> Standing {
        match self.config.create::<BaseConsumer>() {
            Ok(consumer) => Standing::ask(&consumer, &self.topic("commands"), &self.prefix),
            Err(e) => Standing { trouble: self.trouble(&e).0, ..Standing::default() },
        }
    }

    fn topic(&self, name: &str) -> String {
        format!("{}.{name}", self.prefix)
    }

    fn trouble(&self, e: &KafkaError) -> Trouble {
        Trouble(match e {
            KafkaError::ClientCreation(why) => format!("Kafka at {}: {why}", self.brokers),
            other => format!("Kafka at {}: {other}", self.brokers),
        })
    }

    fn ends(&self, consumer: &BaseConsumer) -> KafkaResult<TopicPartitionList> {
        let topic = self.topic("outcomes");
        let metadata = consumer.fetch_metadata(Some(&topic), REQUEST)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic).map_or(&[][..], |t| t.partitions());
        if found.is_empty() {
            let trouble = format!("there is no topic {topic}; does a gateway run with this prefix?");
            return Err(KafkaError::ClientCreation(trouble));
        }
        let mut ends = TopicPartitionList::new();
        for partition in found {
            ends.add_partition_offset(&topic, partition.id(), Offset::End)?;
        }
        // one request for all of them; the leader of a partition may be another by now, as after its creation
        let end = Instant::now() + REQUEST;
        loop {
            match consumer.offsets_for_times(ends.clone(), REQUEST) {
                Err(_) if Instant::now() < end => std::thread::sleep(GLANCE),
                found => return found,
            }
        }
    }

    fn write(&self, device: &DeviceId, value: &[u8]) -> KafkaResult<i32> {
        let producer = self.producer()?;
        let (waits, stands) = sync_channel(1);
        let topic = self.topic("commands");
        let record = BaseRecord::with_opaque_to(&topic, Box::new(waits)).key(device.as_str()).payload(value);
        producer.send(record).map_err(|(e, _)| e)?;
        // the producer gives up by itself before
        stands.recv_timeout(2 * REQUEST).unwrap_or_else(|_| Err(KafkaError::ClientCreation("no delivery report".into())))
    }

    fn producer(&self) -> KafkaResult<Arc<ThreadedProducer<Delivered>>> {
        let mut made = self.producer.lock();
        if let Some(producer) = &*made {
            return Ok(Arc::clone(producer));
        }
        let mut config = self.config.clone();
        config
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("partitioner", "murmur2_random")
            .set("linger.ms", "0")
            .set("message.timeout.ms", REQUEST.as_millis().to_string());
        let producer = Arc::new(config.create_with_context(Delivered)?);
        *made = Some(Arc::clone(&producer));
        Ok(producer)
    }
}

/// Why a command could not be written or followed.
#[derive(Debug)]
pub(crate) struct Trouble(String);

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What becomes of a command.
pub(crate) struct Following {
    consumer: BaseConsumer,
}

impl Following {
    /// Give each of its records to `tell` until its outcome was told, `until` has passed or nobody wants to know any more. Waits.
    pub(crate) fn hear(&self, id: &str, until: Instant, wanted: impl Fn() -> bool, mut tell: impl FnMut(&str)) -> Heard {
        while wanted() {
            if Instant::now() >= until {
                return Heard::Late;
            }
            // errors are news about connections; the client goes on by itself
            let Some(Ok(message)) = self.consumer.poll(GLANCE) else { continue };
            let record = message.payload().and_then(|value| std::str::from_utf8(value).ok()).unwrap_or_default();
            match about(record, id) {
                Some(About::Step) => tell(record),
                Some(About::End) => {
                    tell(record);
                    return Heard::Outcome;
                }
                None => {}
            }
        }
        Heard::Unwanted
    }
}

/// How following ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Heard {
    /// With the outcome.
    Outcome,
    /// There was none in time.
    Late,
    /// Nobody wanted to know any more.
    Unwanted,
}

/// What to say when there was no outcome in time.
pub(crate) const LATE: &str = "no outcome came in time: no instance serves its partition of the commands topic, Kafka is away, or \
                               this id was used before (then it is ignored); `navgate why DEVICE` tells more";

/// What a record of the outcomes topic says about a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum About {
    /// It is a step further.
    Step,
    /// It is over.
    End,
}

/// Whether a record of the outcomes topic is about the command of this id.
pub(crate) fn about(record: &str, id: &str) -> Option<About> {
    #[derive(Deserialize)]
    struct Named {
        #[serde(default)]
        command_id: Option<String>,
    }
    #[derive(Deserialize)]
    struct Record {
        progress: Option<Named>,
        outcome: Option<Named>,
    }
    let Record { progress, outcome } = serde_json::from_str(record).ok()?;
    let names = |named: Option<Named>| named.is_some_and(|n| n.command_id.as_deref() == Some(id));
    match (names(outcome), names(progress)) {
        (true, _) => Some(About::End),
        (false, true) => Some(About::Step),
        (false, false) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn knows_what_is_about_a_command() {
        let step = r#"{"type":"progress","progress":{"command_id":"c-1","stage":"sent"}}"#;
        let end = r#"{"type":"outcome","outcome":{"command_id":"c-1","result":"expired","warnings":["about c-2"]}}"#;
        assert_eq!((about(step, "c-1"), about(end, "c-1")), (Some(About::Step), Some(About::End)));
        assert_eq!((about(end, "c-2"), about(end, "c"), about("c-1", "c-1")), (None, None, None));
        let odd = serde_json::json!({"outcome": {"command_id": "\"a\\b\""}}).to_string();
        assert_eq!(about(&odd, "\"a\\b\""), Some(About::End));
        assert_eq!(about(r#"{"outcome":{"result":"invalid","record":{"partition":1,"offset":2}}}"#, "1"), None);
    }
}
