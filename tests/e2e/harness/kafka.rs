//! A real Kafka, and what stands in its topics.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::{BorrowedMessage, Headers, Message};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::{PATIENCE, repository, unique, until};

/// How long one request to the broker may take.
const REQUEST: Duration = Duration::from_secs(10);

/// How long a reader waits for a record before a condition is looked at again.
const POLL: Duration = Duration::from_millis(100);

/// Records taken before a condition is looked at again.
const AT_ONCE: usize = 2000;

/// The broker that tests share, as a bootstrap list: the one that `tests/run` started, else one that this process starts
/// and that ends with it.
pub(crate) fn shared() -> &'static str {
    static SHARED: OnceLock<String> = OnceLock::new();
    SHARED.get_or_init(|| match std::env::var("E2E_KAFKA") {
        Ok(bootstrap) if !bootstrap.is_empty() => bootstrap,
        _ => {
            let broker = Broker::start();
            let bootstrap = broker.bootstrap.clone();
            std::mem::forget(broker); // its guard wipes it
            bootstrap
        }
    })
}

/// A broker of one's own, for tests that hurt it. It is wiped when dropped, and also when this process ends otherwise.
pub(crate) struct Broker {
    directory: PathBuf,
    pub(crate) bootstrap: String,
}

impl Broker {
    pub(crate) fn start() -> Self {
        let directory = std::env::temp_dir().join(unique("navgate-e2e-kafka"));
        std::fs::create_dir_all(&directory).unwrap();
        broker(&directory, &["guard", &std::process::id().to_string()]);
        let bootstrap = broker(&directory, &["start"]).trim().to_owned();
        Self { directory, bootstrap }
    }

    /// As a crash ends it.
    pub(crate) fn kill(&self) {
        broker(&self.directory, &["kill", "1"]);
    }

    /// It hangs, and its connections stay.
    pub(crate) fn pause(&self) {
        broker(&self.directory, &["pause", "1"]);
    }

    /// It goes on.
    pub(crate) fn resume(&self) {
        broker(&self.directory, &["resume", "1"]);
    }

    /// Start it again on its data, and wait until it serves.
    pub(crate) fn restart(&self) {
        broker(&self.directory, &["restart", "1"]);
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        broker(&self.directory, &["wipe"]);
    }
}

fn broker(directory: &Path, arguments: &[&str]) -> String {
    let mut command = Command::new(repository("tests/kafka/broker"));
    let output = command.args(arguments).env("KAFKA_DIR", directory).output().unwrap();
    assert!(output.status.success(), "broker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// One record.
#[derive(Debug, Clone)]
pub(crate) struct Record {
    /// Behind the prefix.
    pub(crate) topic: String,
    pub(crate) partition: i32,
    pub(crate) partitions: i32,
    pub(crate) key: Option<String>,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) value: Value,
}

impl Record {
    fn read(message: &BorrowedMessage<'_>, partitions: i32) -> Self {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let headers = message.headers().into_iter().flat_map(|headers| headers.iter());
        let topic = message.topic().rsplit('.').next().unwrap_or_default();
        Self {
            topic: topic.to_owned(),
            partition: message.partition(),
            partitions,
            key: message.key().map(text),
            headers: headers.map(|h| (h.key.to_owned(), h.value.map(text).unwrap_or_default())).collect(),
            value: message.payload().map_or(Value::Null, |bytes| serde_json::from_slice(bytes).unwrap()),
        }
    }

    /// A field of the value as text; empty if it is not there.
    pub(crate) fn text(&self, field: &str) -> &str {
        self.value[field].as_str().unwrap_or_default()
    }
}

/// Reads topics from their beginning.
pub(crate) struct Reader {
    consumer: BaseConsumer,
    partitions: i32,
    assigned: usize,
    /// All that was read so far.
    pub(crate) records: Vec<Record>,
}

impl Reader {
    /// Of these topics behind a prefix; waits until the gateway has made them.
    pub(crate) fn new(bootstrap: &str, prefix: &str, topics: &[&str]) -> Self {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", bootstrap)
            .set("group.id", "e2e") // the client wants one, though nothing is committed
            .set("enable.auto.commit", "false")
            .set("enable.partition.eof", "true")
            .set("isolation.level", "read_committed")
            .set("reconnect.backoff.max.ms", "1000")
            .set("topic.metadata.refresh.interval.ms", "5000") // topics are new
            .set("metadata.recovery.rebootstrap.trigger.ms", "5000");
        let consumer: BaseConsumer = config.create().unwrap();
        let mut assignment = TopicPartitionList::new();
        let mut partitions = 0;
        for topic in topics {
            let name = format!("{prefix}.{topic}");
            let found = until("the topics", || {
                let metadata = consumer.fetch_metadata(Some(&name), REQUEST).ok()?;
                let topic = metadata.topics().iter().find(|t| t.name() == name && t.error().is_none())?;
                i32::try_from(topic.partitions().len()).ok().filter(|n| *n > 0)
            });
            partitions = found;
            (0..found).for_each(|p| assignment.add_partition_offset(&name, p, Offset::Beginning).unwrap());
        }
        let assigned = assignment.count();
        consumer.assign(&assignment).unwrap();
        Self { consumer, partitions, assigned, records: Vec::new() }
    }

    /// Read until this is true of all that was read.
    pub(crate) fn read_until(&mut self, what: &str, mut enough: impl FnMut(&[Record]) -> bool) {
        until(what, || {
            if enough(&self.records) {
                return Some(());
            }
            self.take(POLL);
            None
        });
    }

    /// Read to the end of every partition as it is now.
    pub(crate) fn read_all(&mut self) -> &[Record] {
        let end = std::time::Instant::now() + PATIENCE;
        let position = self.consumer.position().unwrap();
        // an end that was reached before is not told again unless the position moves, so every end is asked for anew
        let mut anew = TopicPartitionList::new();
        for element in position.elements() {
            let offset = match element.offset() {
                Offset::Offset(next) => Offset::Offset(next),
                _ => Offset::Beginning,
            };
            anew.add_partition_offset(element.topic(), element.partition(), offset).unwrap();
        }
        self.consumer.assign(&anew).unwrap();
        let mut ends = std::collections::BTreeSet::new();
        while ends.len() < self.assigned {
            assert!(std::time::Instant::now() < end, "cannot read to the end of the topics");
            match self.consumer.poll(Duration::from_millis(100)) {
                Some(Ok(message)) => {
                    let record = Record::read(&message, self.partitions);
                    drop(message);
                    self.records.push(record);
                }
                Some(Err(KafkaError::PartitionEOF(partition))) if self.single_topic() => {
                    ends.insert(partition);
                }
                Some(Err(_)) | None => {}
            }
        }
        &self.records
    }

    /// The error that tells the end of a partition does not tell of which topic.
    fn single_topic(&self) -> bool {
        assert_eq!(self.assigned, usize::try_from(self.partitions).unwrap(), "read one topic at a time to its end");
        true
    }

    /// Take what is there, and wait no longer than this for the first of it.
    pub(crate) fn take(&mut self, mut wait: Duration) {
        // errors are news about the connection; the client goes on by itself
        for _ in 0..AT_ONCE {
            let Some(Ok(message)) = self.consumer.poll(wait) else { return };
            let record = Record::read(&message, self.partitions);
            drop(message);
            self.records.push(record);
            wait = Duration::ZERO;
        }
    }
}

/// Where Kafka's Java clients put a key: the default that backends rely on.
pub(crate) fn java_partition(key: &str, partitions: i32) -> i32 {
    const M: u32 = 0x5bd1_e995;
    let bytes = key.as_bytes();
    let mut hash = 0x9747_b28c ^ u32::try_from(bytes.len()).unwrap();
    let words = bytes.chunks_exact(4);
    let rest = words.remainder();
    for word in words {
        let mut k = u32::from_le_bytes(word.try_into().unwrap()).wrapping_mul(M);
        k ^= k >> 24;
        hash = hash.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0, |k, byte| (k << 8) | u32::from(*byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash = (hash ^ (hash >> 13)).wrapping_mul(M);
    hash ^= hash >> 15;
    i32::try_from(hash & 0x7FFF_FFFF).unwrap() % partitions
}

#[test]
fn keys_go_where_java_clients_put_them() {
    // hashes that Kafka's own test of the partitioner lists
    let hash = |key| java_partition(key, i32::MAX);
    assert_eq!(hash("21"), -973_932_308_i32 & i32::MAX);
    assert_eq!(hash("foobar"), -790_332_482_i32 & i32::MAX);
    assert_eq!(hash("a-little-bit-long-string"), -985_981_536_i32 & i32::MAX);
}
