//! The topics of the contract: made where they are missing, and weaker settings than the contract's told.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, ConfigEntry, NewTopic, ResourceSpecifier, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::ClientConfig;
use rdkafka::error::RDKafkaErrorCode;
use tracing::{info, warn};

use crate::config::Kafka as Settings;

/// Pause between two checks while something is wrong.
pub(super) const RETRY: Duration = Duration::from_secs(2);
/// How long one request to Kafka may take: enough for a busy cluster, short enough to say soon that nobody answers.
const REQUEST: Duration = Duration::from_secs(10);
/// The contract's replication where there are brokers enough.
const REPLICAS: usize = 3;

struct Topic {
    name: &'static str,
    compacted: bool,
    retention: Duration,
}

impl Topic {
    fn full_name(&self, settings: &Settings) -> String {
        format!("{}.{}", settings.prefix, self.name)
    }
}

const DAY: Duration = Duration::from_secs(24 * 3600);

/// Everything the product needs, in and out. Outcomes live longer than the longest deadline (1 h) plus 7 days.
const TOPICS: [Topic; 6] = [
    Topic { name: "telemetry", compacted: false, retention: DAY.saturating_mul(7) },
    Topic { name: "orders", compacted: false, retention: DAY.saturating_mul(90) },
    Topic { name: "rejects", compacted: false, retention: DAY.saturating_mul(30) },
    Topic { name: "outcomes", compacted: false, retention: DAY.saturating_mul(8) },
    Topic { name: "commands", compacted: false, retention: DAY.saturating_mul(8) },
    Topic { name: "sessions", compacted: true, retention: Duration::ZERO },
];

/// Only where captures may go there: raw bytes, personal ones among them, are kept no longer than somebody looks at them.
const FRAMES: Topic = Topic { name: "frames", compacted: false, retention: DAY };

/// Look at the cluster; make what is missing, if that is allowed.
///
/// # Errors
/// One sentence: what is wrong, where, and what to do.
pub(super) async fn check(config: &ClientConfig, settings: &Settings, frames: bool) -> Result<(), String> {
    let brokers = settings.brokers.join(",");
    let admin: AdminClient<DefaultClientContext> =
        config.create().map_err(|e| format!("Kafka ({brokers}): {e}; check [kafka] in the configuration"))?;
    let admin = std::sync::Arc::new(admin);
    let asking = std::sync::Arc::clone(&admin);
    let metadata = tokio::task::spawn_blocking(move || asking.inner().fetch_metadata(None, REQUEST));
    let metadata = metadata
        .await
        .map_err(|e| e.to_string())?
        .map_err(|e| format!("Kafka cannot be reached at {brokers} ({e}); start it, or set kafka.brokers to where it listens"))?;
    let present: Vec<&str> = metadata.topics().iter().map(rdkafka::metadata::MetadataTopic::name).collect();
    let replicas = (settings.replication as usize).min(metadata.brokers().len()).max(1);
    let wanted = TOPICS.iter().chain(frames.then_some(&FRAMES));
    let missing: Vec<&Topic> = wanted.filter(|t| !present.contains(&t.full_name(settings).as_str())).collect();
    if !missing.is_empty() {
        let names = missing.iter().map(|t| t.full_name(settings)).collect::<Vec<_>>().join(", ");
        if !settings.create_topics {
            return Err(format!(
                "Kafka at {brokers} lacks the topics {names}; create them ({} partitions, replication factor {replicas}), or set kafka.create_topics = true",
                settings.partitions
            ));
        }
        create(&admin, settings, &missing, replicas).await.map_err(|e| {
            format!(
                "cannot create the topics {names} at {brokers}: {e}; create them by hand, or give the gateway's user the right to"
            )
        })?;
        info!("created the topics {names}");
    }
    weaknesses(&admin, settings, metadata.brokers().len(), &metadata).await;
    Ok(())
}

/// What it costs that these topics have not as many partitions, if it is so.
fn unequal(prefix: &str, commands: usize, outcomes: usize) -> Option<String> {
    let cost = match outcomes.cmp(&commands) {
        std::cmp::Ordering::Equal => return None,
        std::cmp::Ordering::Less => format!(
            "whoever takes commands over from another instance has to read all outcomes, not those of a partition, and if either \
             number is changed while commands are open, some of those get a second outcome; when none is open, give {prefix}.outcomes \
             {commands} partitions"
        ),
        std::cmp::Ordering::Greater => format!(
            "{} partitions of outcomes stay empty; should {prefix}.commands get as many, then the key of a device names another \
             partition, and the order of its commands from before and after is lost: leave both as they are",
            outcomes - commands
        ),
    };
    Some(format!("topic {prefix}.commands has {commands} partitions and {prefix}.outcomes {outcomes}: {cost}"))
}

async fn create(
    admin: &AdminClient<DefaultClientContext>,
    settings: &Settings,
    missing: &[&Topic],
    replicas: usize,
) -> Result<(), String> {
    let isr = if replicas >= REPLICAS { "2" } else { "1" };
    let names: Vec<String> = missing.iter().map(|t| t.full_name(settings)).collect();
    let retentions: Vec<String> = missing.iter().map(|t| t.retention.as_millis().to_string()).collect();
    let partitions = i32::try_from(settings.partitions).unwrap_or(i32::MAX);
    let topics: Vec<NewTopic<'_>> = missing
        .iter()
        .zip(names.iter().zip(&retentions))
        .map(|(topic, (name, retention))| {
            let new = NewTopic::new(name, partitions, TopicReplication::Fixed(i32::try_from(replicas).unwrap_or(1)))
                .set("min.insync.replicas", isr)
                .set("unclean.leader.election.enable", "false");
            if topic.compacted {
                new.set("cleanup.policy", "compact").set("segment.ms", "3600000")
            } else {
                new.set("cleanup.policy", "delete").set("retention.ms", retention)
            }
        })
        .collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST));
    let results = admin.create_topics(&topics, &options).await.map_err(|e| e.to_string())?;
    for result in results {
        match result {
            // another instance was first
            Ok(_) | Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
            Err((name, code)) => return Err(format!("{name}: {code}")),
        }
    }
    Ok(())
}

/// Settings that lose what the contract promises to keep are told, not refused: a one-node installation is a choice.
async fn weaknesses(
    admin: &AdminClient<DefaultClientContext>,
    settings: &Settings,
    brokers: usize,
    metadata: &rdkafka::metadata::Metadata,
) {
    if brokers < REPLICAS {
        warn!(
            "Kafka has {brokers} broker(s): a record is lost with the disk it is on; {REPLICAS} brokers keep it through the loss of one"
        );
    }
    let names: Vec<String> = TOPICS.iter().map(|t| t.full_name(settings)).collect();
    for topic in metadata.topics().iter().filter(|t| names.iter().any(|n| n == t.name())) {
        let fewest = topic.partitions().iter().map(|p| p.replicas().len()).min().unwrap_or(0);
        if fewest < REPLICAS && brokers >= REPLICAS {
            warn!(
                "topic {} has replication factor {fewest}: the loss of a broker can lose acknowledged records; raise it",
                topic.name()
            );
        }
    }
    let partitions = |name: &str| {
        let name = format!("{}.{name}", settings.prefix);
        metadata.topics().iter().find(|t| t.name() == name).map(|t| t.partitions().len())
    };
    if let (Some(commands), Some(outcomes)) = (partitions("commands"), partitions("outcomes"))
        && let Some(told) = unequal(&settings.prefix, commands, outcomes)
    {
        warn!("{told}");
    }
    let resources: Vec<ResourceSpecifier<'_>> = names.iter().map(|n| ResourceSpecifier::Topic(n)).collect();
    let options = AdminOptions::new().request_timeout(Some(REQUEST));
    let Ok(described) = admin.describe_configs(&resources, &options).await else {
        return; // not allowed to look: nothing to say
    };
    for (name, resource) in names.iter().zip(described) {
        let Ok(resource) = resource else { continue };
        let value = |key: &str| resource.entries.iter().find(|e: &&ConfigEntry| e.name == key).and_then(|e| e.value.as_deref());
        if brokers >= REPLICAS && value("min.insync.replicas") == Some("1") {
            warn!("topic {name} has min.insync.replicas 1: a record may be acknowledged while on one broker only; set it to 2");
        }
        if value("unclean.leader.election.enable") == Some("true") {
            warn!("topic {name} allows unclean leader election, which loses acknowledged records; switch it off");
        }
        if name.ends_with(".sessions") && value("cleanup.policy").is_some_and(|p| !p.contains("compact")) {
            warn!("topic {name} is not compacted: the sessions of devices will be forgotten; set cleanup.policy=compact");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_outcomes_as_commands_or_it_is_told() {
        assert_eq!(unequal("navgate", 12, 12), None);
        let fewer = unequal("navgate", 12, 6).unwrap();
        assert!(fewer.contains("second outcome") && fewer.contains("give navgate.outcomes 12 partitions"), "{fewer}");
        assert!(unequal("navgate", 12, 16).unwrap().contains("4 partitions of outcomes stay empty"));
    }
}
