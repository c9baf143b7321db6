//! The events and rejects that came of a conversation: from a journal, or from Kafka.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use protocols::script::{Expect, Script};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::topic_partition_list::{Offset, TopicPartitionList};
use serde_json::{Value, json};

use super::show::Finding;
use crate::cli::Exit;
use crate::journal::{Found, Reader};

/// For records to be there after the gateway has acknowledged them: a consumer sees them a fetch later.
const COME: Duration = Duration::from_secs(15);
/// For records that nothing expects to show themselves.
const MORE: Duration = Duration::from_millis(200);
/// One request to Kafka.
const REQUEST: Duration = Duration::from_secs(10);
/// Between two of them that failed.
const RETRY: Duration = Duration::from_millis(200);
/// How often the store is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// What is read.
const TOPICS: [&str; 3] = ["telemetry", "orders", "rejects"];
const REJECTS: &str = "rejects";

/// Where records are read from; it stands behind everything that was there before.
pub(super) enum Store {
    Journal(Reader),
    Kafka { consumer: BaseConsumer, prefix: String },
}

/// Whose records are meant.
pub(super) struct Whose<'a> {
    /// Ids, perhaps behind a listener's prefix.
    pub(super) devices: &'a [String],
    /// The address that the gateway takes for the device's.
    pub(super) peer: SocketAddr,
}

/// A record of one conversation.
struct Told {
    reject: bool,
    value: Value,
}

impl Store {
    /// A directory that is there is a journal; anything else is brokers.
    pub(super) fn open(from: &str, prefix: &str, properties: &[String]) -> Result<Self, Exit> {
        if Path::new(from).is_dir() {
            let mut reader = Reader::open(from).map_err(|e| Exit::failed(e.to_string()))?;
            while reader.next().map_err(|e| Exit::failed(e.to_string()))?.is_some() {}
            return Ok(Self::Journal(reader));
        }
        if !from.contains(':') {
            return Err(Exit::usage(format!("--events {from}: neither a directory nor brokers as host:port")));
        }
        Self::kafka(from, prefix, properties)
    }

    fn kafka(brokers: &str, prefix: &str, properties: &[String]) -> Result<Self, Exit> {
        let failed = |e: KafkaError| Exit::failed(format!("Kafka at {brokers}: {e}"));
        let mut config = ClientConfig::new();
        // without a group: nothing is committed, so the name is only for the broker's log
        config.set("bootstrap.servers", brokers).set("group.id", "navgate-replay").set("enable.auto.commit", "false");
        for property in properties {
            let (name, value) =
                property.split_once('=').ok_or_else(|| Exit::usage(format!("--property {property}: write NAME=VALUE")))?;
            config.set(name, value);
        }
        let consumer: BaseConsumer = config.create().map_err(failed)?;
        let mut from = TopicPartitionList::new();
        for topic in TOPICS {
            let topic = format!("{prefix}.{topic}");
            let metadata = patiently(|| consumer.fetch_metadata(Some(&topic), REQUEST)).map_err(failed)?;
            for partition in metadata.topics().iter().flat_map(|t| t.partitions()) {
                let (_, end) = patiently(|| consumer.fetch_watermarks(&topic, partition.id(), REQUEST)).map_err(failed)?;
                from.add_partition_offset(&topic, partition.id(), Offset::Offset(end)).map_err(failed)?;
            }
        }
        if from.count() == 0 {
            return Err(Exit::failed(format!("Kafka at {brokers} has no topics {prefix}.telemetry and so on; see --prefix")));
        }
        consumer.assign(&from).map_err(failed)?;
        Ok(Self::Kafka { consumer, prefix: format!("{prefix}.") })
    }

    /// What has come since the last look.
    fn read(&mut self, told: &mut Vec<Told>) -> Result<(), String> {
        let mut take = |topic: &str, bytes: &[u8]| {
            if let (true, Ok(value)) = (TOPICS.contains(&topic), serde_json::from_slice(bytes)) {
                told.push(Told { reject: topic == REJECTS, value });
            }
        };
        match self {
            Self::Journal(reader) => {
                while let Some(found) = reader.next().map_err(|e| e.to_string())? {
                    if let Found::Entry(entry) = found {
                        take(entry.topic, entry.value);
                    }
                }
                std::thread::sleep(GLANCE);
            }
            Self::Kafka { consumer, prefix } => {
                while let Some(message) = consumer.poll(GLANCE) {
                    let message = message.map_err(|e| format!("Kafka: {e}"))?;
                    let topic = message.topic().strip_prefix(prefix.as_str()).unwrap_or_default();
                    take(topic, message.payload().unwrap_or_default());
                }
            }
        }
        Ok(())
    }

    /// Wait for what is expected, and compare.
    pub(super) fn compare(
        &mut self,
        script: &Script,
        events: &[(usize, Value)],
        whose: &Whose<'_>,
        stop: &AtomicBool,
    ) -> Result<Vec<Finding>, String> {
        let expected = || script.items.iter().flat_map(|item| &item.expected);
        let rejects: Vec<_> = expected()
            .filter_map(|e| match &e.what {
                Expect::Rejected(kind) | Expect::Notice(kind) => Some((e.line, kind.label())),
                _ => None,
            })
            .collect();
        let mut all = Vec::new();
        let end = Instant::now() + COME;
        let mut quiet = None;
        loop {
            let before = all.len();
            self.read(&mut all)?;
            let ours = of(&all, whose);
            let there = ours.len() >= events.len() + rejects.len();
            quiet = if there && all.len() == before { quiet.or_else(|| Some(Instant::now())) } else { None };
            if quiet.is_some_and(|since| since.elapsed() >= MORE) || Instant::now() >= end || stop.load(Ordering::Relaxed) {
                break;
            }
        }
        let (refused, mut said): (Vec<_>, Vec<_>) = of(&all, whose).into_iter().partition(|told| told.reject);
        said.sort_by_key(|told| told.value.get("sequence").and_then(Value::as_u64));
        let mut findings = Vec::new();
        let contents = said.iter().map(|told| content(&told.value)).collect::<Vec<_>>();
        for pair in aligned(events, &contents, |(_, expected), got| expected == got) {
            findings.push(match pair {
                (Some((line, expected)), got) => Finding::Event { line: *line, expected: expected.clone(), got: got.cloned() },
                (None, Some(got)) => Finding::MoreEvents(got.clone()),
                (None, None) => continue,
            });
        }
        let reason = |told: &Told, key: &str| told.value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let reasons: Vec<_> = refused.iter().map(|told| (reason(told, "reason"), reason(told, "detail"))).collect();
        for pair in aligned(&rejects, &reasons, |(_, expected), (got, _)| *expected == got) {
            findings.push(match pair {
                (Some((line, expected)), got) => {
                    Finding::Reject { line: *line, expected, got: got.map(|(reason, _)| reason.clone()) }
                }
                (None, Some((reason, detail))) => Finding::MoreRejects(reason.clone(), detail.clone()),
                (None, None) => continue,
            });
        }
        Ok(findings)
    }
}

/// A topic that was made a moment ago has no leaders yet.
fn patiently<T>(mut ask: impl FnMut() -> Result<T, KafkaError>) -> Result<T, KafkaError> {
    let end = Instant::now() + REQUEST;
    loop {
        match ask() {
            Err(_) if Instant::now() < end => std::thread::sleep(RETRY),
            answer => return answer,
        }
    }
}

/// The content of an event under its type, as a script has it.
fn content(record: &Value) -> Value {
    let kind = record.get("type").and_then(Value::as_str).unwrap_or_default();
    json!({ kind: record.get(kind).cloned().unwrap_or_default() })
}

/// The records of a conversation: those of its devices, and those of the session that came from its address.
fn of<'t>(all: &'t [Told], whose: &Whose<'_>) -> Vec<&'t Told> {
    let peer = whose.peer.to_string();
    let text = |told: &'t Told, key: &str| told.value.get(key).and_then(Value::as_str);
    let named = |told: &'t Told| {
        let id = text(told, "device_id").unwrap_or_default();
        whose.devices.iter().any(|device| id.ends_with(device.as_str()))
    };
    let sessions: Vec<_> = all
        .iter()
        .filter(|told| named(told) || text(told, "peer") == Some(&peer))
        .filter_map(|told| text(told, "session"))
        .collect();
    all.iter().filter(|told| text(told, "session").is_some_and(|session| sessions.contains(&session))).collect()
}

/// What was expected and did not come, against what came instead: in order, with those that agree left out.
fn aligned<'v, A, B>(expected: &'v [A], got: &'v [B], same: impl Fn(&A, &B) -> bool) -> Vec<(Option<&'v A>, Option<&'v B>)> {
    let mut pairs = Vec::new();
    let (mut i, mut j) = (0, 0);
    while let (Some(want), Some(have)) = (expected.get(i), got.get(j)) {
        if same(want, have) {
            (i, j) = (i + 1, j + 1);
            continue;
        }
        // whichever is found sooner further on: then the other was left out, or came besides
        let later = |found: Option<usize>| found.unwrap_or(usize::MAX);
        let in_got = later(got.iter().skip(j).position(|have| same(want, have)));
        let in_expected = later(expected.iter().skip(i).position(|want| same(want, have)));
        match in_got.cmp(&in_expected) {
            std::cmp::Ordering::Less => {
                pairs.push((None, Some(have)));
                j += 1;
            }
            std::cmp::Ordering::Greater => {
                pairs.push((Some(want), None));
                i += 1;
            }
            std::cmp::Ordering::Equal => {
                pairs.push((Some(want), Some(have)));
                (i, j) = (i + 1, j + 1);
            }
        }
    }
    pairs.extend(expected.iter().skip(i).map(|want| (Some(want), None)));
    pairs.extend(got.iter().skip(j).map(|have| (None, Some(have))));
    pairs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_against_what() {
        let pairs = |a: &[u8], b: &[u8]| {
            aligned(a, b, |a, b| a == b).into_iter().map(|(a, b)| (a.copied(), b.copied())).collect::<Vec<_>>()
        };
        assert_eq!(pairs(&[1, 2, 3], &[1, 2, 3]), []);
        assert_eq!(pairs(&[1, 2, 3], &[1, 3]), [(Some(2), None)]);
        assert_eq!(pairs(&[1, 3], &[1, 2, 3]), [(None, Some(2))]);
        assert_eq!(pairs(&[1, 2, 3], &[1, 9, 3]), [(Some(2), Some(9))]);
        assert_eq!(pairs(&[1], &[]), [(Some(1), None)]);
    }

    #[test]
    fn records_belong_by_device_or_by_address() {
        let told = |value| Told { reject: false, value };
        let all = [
            told(json!({"session": "a", "device_id": "n1-138", "peer": "127.0.0.1:1"})),
            told(json!({"session": "b", "peer": "127.0.0.1:7"})),
            told(json!({"session": "b", "device_id": "x"})),
            told(json!({"session": "c", "device_id": "139"})),
        ];
        let devices = ["138".to_owned()];
        let whose = Whose { devices: &devices, peer: "127.0.0.1:7".parse().unwrap() };
        let sessions: Vec<_> = of(&all, &whose).iter().map(|told| told.value["session"].clone()).collect();
        assert_eq!(sessions, ["a", "b", "b"]);
    }

    #[test]
    fn refuses_what_is_no_store() {
        assert_eq!(Store::open("no-such-place", "navgate", &[]).map(|_| ()).unwrap_err().status, 2);
        let empty = tempfile::tempdir().unwrap();
        assert!(matches!(
            Store::open(&empty.path().to_string_lossy(), "navgate", &[]),
            Ok(Store::Journal(_)) | Err(Exit { status: 1, .. })
        ));
    }
}
