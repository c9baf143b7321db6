//! Where the gateway puts events: a journal in its own directory, or a Kafka.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions};
use rdkafka::client::DefaultClientContext;
use serde_json::Value;
use tempfile::TempDir;

/// The journal of one run may use so much of the disk; older segments go. An hour at full speed would fill any disk.
const JOURNAL_BYTES: u64 = 1 << 30;
/// One request to a broker.
const REQUEST: Duration = Duration::from_secs(15);

/// Where events go.
#[derive(Debug)]
pub(crate) enum Store {
    /// Into the directory of the run.
    Journal,
    /// To these brokers, into topics of this run.
    Kafka(Kafka),
}

/// A Kafka, given or started here.
#[derive(Debug)]
pub(crate) struct Kafka {
    brokers: String,
    prefix: String,
    /// `None`: somebody else's.
    broker: Option<Broker>,
}

impl Store {
    /// For the table's head.
    pub(crate) fn name(&self) -> String {
        match self {
            Self::Journal => format!("journal below {}", std::env::temp_dir().display()),
            Self::Kafka(Kafka { brokers, broker: None, .. }) => format!("Kafka at {brokers}"),
            Self::Kafka(Kafka { brokers, .. }) => format!("one Kafka broker of this repository at {brokers}"),
        }
    }

    /// These brokers, or one that is started here and wiped afterwards.
    ///
    /// # Errors
    /// Why there is no Kafka.
    pub(crate) fn kafka(brokers: Option<&str>) -> Result<Self, String> {
        let broker = if brokers.is_none() { Some(Broker::start()?) } else { None };
        let started = broker.as_ref().map(|b| b.bootstrap.as_str());
        let brokers = brokers.or(started).unwrap_or_default().to_owned();
        Ok(Self::Kafka(Kafka { brokers, prefix: format!("navgate-load-{}", std::process::id()), broker }))
    }

    /// Its tables in the gateway's configuration.
    pub(crate) fn sink(&self) -> String {
        match self {
            Self::Journal => "[sink]\nkind = \"journal\"\n".to_owned(),
            Self::Kafka(Kafka { brokers, prefix, .. }) => {
                let list: Vec<_> = brokers.split(',').map(Value::from).collect();
                format!(
                    "[sink]\nkind = \"kafka\"\n[kafka]\nbrokers = {}\nprefix = {}\n",
                    Value::from(list),
                    Value::from(prefix.as_str())
                )
            }
        }
    }

    /// What `[journal]` says besides its place.
    pub(crate) fn journal(&self) -> String {
        match self {
            Self::Journal => format!("max_bytes = {JOURNAL_BYTES}\non_full = \"delete_oldest\"\n"),
            Self::Kafka(_) => String::new(),
        }
    }

    /// Leave nothing behind: the topics of this run, or the broker.
    ///
    /// # Errors
    /// Topics that stay.
    pub(crate) async fn clean_up(self) -> Result<(), String> {
        match self {
            Self::Kafka(Kafka { brokers, prefix, broker: None }) => {
                delete_topics(&brokers, &prefix).await.map_err(|e| format!("the topics {prefix}.* stay on {brokers}: {e}"))
            }
            _ => Ok(()),
        }
    }
}

async fn delete_topics(brokers: &str, prefix: &str) -> Result<(), String> {
    let told = |e: rdkafka::error::KafkaError| e.to_string();
    let client: AdminClient<DefaultClientContext> = ClientConfig::new().set("bootstrap.servers", brokers).create().map_err(told)?;
    let metadata = client.inner().fetch_metadata(None, REQUEST).map_err(told)?;
    let ours = |name: &&str| name.strip_prefix(prefix).is_some_and(|rest| rest.starts_with('.'));
    let topics: Vec<_> = metadata.topics().iter().map(|t| t.name()).filter(ours).collect();
    if topics.is_empty() {
        return Ok(());
    }
    let results = client.delete_topics(&topics, &AdminOptions::new().operation_timeout(Some(REQUEST))).await.map_err(told)?;
    results.into_iter().try_for_each(|result| result.map(drop).map_err(|(topic, code)| format!("{topic}: {code}")))
}

/// A broker that this process has started; wiped when dropped, and by its guard if this process ends otherwise.
#[derive(Debug)]
struct Broker {
    script: PathBuf,
    directory: TempDir,
    bootstrap: String,
}

impl Broker {
    fn start() -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kafka/broker");
        if !script.exists() {
            return Err(format!("{} is missing: name a Kafka with --brokers HOST:PORT", script.display()));
        }
        let directory = tempfile::Builder::new().prefix("navgate-load-kafka-").tempdir();
        let directory = directory.map_err(|e| format!("cannot make a directory: {e}"))?;
        let mut broker = Self { script, directory, bootstrap: String::new() };
        broker.run(&["guard", &std::process::id().to_string()])?;
        broker.bootstrap = broker.run(&["start"])?.trim().to_owned();
        Ok(broker)
    }

    fn run(&self, arguments: &[&str]) -> Result<String, String> {
        let failed = |why: &str| format!("tests/kafka/broker {}: {why}", arguments.join(" "));
        let output = Command::new(&self.script).args(arguments).env("KAFKA_DIR", self.directory.path()).output();
        let output = output.map_err(|e| failed(&e.to_string()))?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            return Err(failed(&format!("{}; or name a Kafka with --brokers HOST:PORT", why.trim())));
        }
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if let Err(e) = self.run(&["wipe"]) {
            eprintln!("{e}");
        }
    }
}
