//! What all clients of Kafka have in common.

use rdkafka::config::{ClientConfig, RDKafkaLogLevel};

use crate::config::Kafka as Settings;

/// Where Kafka is, and how long it is waited for.
pub(crate) fn common(settings: &Settings, client_id: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", settings.brokers.join(","))
        .set("client.id", client_id)
        .set("socket.timeout.ms", "10000")
        .set("reconnect.backoff.max.ms", "2000")
        .set("socket.keepalive.enable", "true")
        // a cluster whose only broker is shut out for a moment tells of none: the client forgets it, and would ask again only
        // after five minutes, and begin anew with those that it was given only after another five (librdkafka 2.12)
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("metadata.recovery.rebootstrap.trigger.ms", "5000")
        .set_log_level(RDKafkaLogLevel::Warning);
    config
}

/// What the configuration says of Kafka's clients; over whatever was set before.
pub(crate) fn given(config: &mut ClientConfig, settings: &Settings) {
    for (name, value) in &settings.properties.0 {
        config.set(name, value);
    }
}
