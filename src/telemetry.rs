//! Every metric: its name, its help and where it comes from. Nothing else in the crate names a metric.
//!
//! What the ledger counts is copied into the exporter from one consistent snapshot at each scrape; the rest is counted here
//! as it happens. Labels are static: never a device.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use metrics::{Counter, Gauge, Histogram, Unit, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use protocols::PROTOCOLS;
use protocols::fault::FaultKind;
use protocols::outcome::Ending;
use protocols::session::Handled;

use crate::connection::End;
use crate::gateway::Gateway;
use crate::ledger::{self, Counts, Dropped};

/// Buckets of `navgate_ack_seconds`: from a fast disk to a cluster that lost a broker.
const ACK_BUCKETS: [f64; 14] = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 15.0, 60.0];

/// Buckets of `navgate_command_seconds`: from a device that answers at once to the longest deadline.
const COMMAND_BUCKETS: [f64; 12] = [0.02, 0.05, 0.1, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 600.0, 3600.0];

/// What is counted as it happens.
pub(crate) struct Telemetry {
    exporter: Option<PrometheusHandle>,
    ack: Histogram,
    ends: [AtomicU64; End::ALL.len()],
    reconnects: AtomicU64,
    clones: AtomicU64,
    command: Histogram,
    commands_open: Gauge,
    commands_repeated: Counter,
    commands_again: Counter,
    /// Sockets accepted.
    pub(crate) accepted: AtomicU64,
}

impl std::fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Telemetry")
    }
}

impl Telemetry {
    /// Start the exporter of this process.
    ///
    /// # Errors
    /// If another exporter is installed already.
    pub(crate) fn install() -> Result<Self, BuildError> {
        let exporter = PrometheusBuilder::new()
            .set_buckets_for_metric(Matcher::Full("navgate_ack_seconds".into()), &ACK_BUCKETS)?
            .set_buckets_for_metric(Matcher::Full("navgate_command_seconds".into()), &COMMAND_BUCKETS)?
            .install_recorder()?;
        describe();
        Ok(Self {
            exporter: Some(exporter),
            ack: histogram!("navgate_ack_seconds"),
            command: histogram!("navgate_command_seconds"),
            commands_open: gauge!("navgate_commands_open"),
            commands_repeated: counter!("navgate_commands_repeated_total"),
            commands_again: counter!("navgate_commands_again_total"),
            ends: [const { AtomicU64::new(0) }; End::ALL.len()],
            reconnects: AtomicU64::new(0),
            clones: AtomicU64::new(0),
            accepted: AtomicU64::new(0),
        })
    }

    /// A frame was acknowledged so long after its bytes came; one frame of each connection is timed at a time.
    pub(crate) fn acknowledged(&self, after: Duration) {
        self.ack.record(after.as_secs_f64());
    }

    /// How it is with the commands of which this instance is the home.
    pub(crate) fn home(&self, open: usize, repeated: u64, again: u64) {
        self.commands_open.set(open as f64);
        self.commands_repeated.absolute(repeated);
        self.commands_again.absolute(again);
    }

    /// A command ended so long after it was received.
    pub(crate) fn command_ended(&self, kind: &'static str, result: Ending, after: Duration) {
        counter!("navgate_commands_total", "kind" => kind, "result" => result.label()).increment(1);
        self.command.record(after.as_secs_f64());
    }

    /// A connection ended.
    pub(crate) fn connection_ended(&self, end: End) {
        self.ends[end as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A device that was connected connects again: `reconnect` or `clone`.
    pub(crate) fn takeover(&self, reason: &'static str) {
        let count = if reason == "clone" { &self.clones } else { &self.reconnects };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Fold histogram samples; to be called every few seconds, or they pile up between scrapes.
    pub(crate) fn upkeep(&self) {
        if let Some(exporter) = &self.exporter {
            exporter.run_upkeep();
        }
    }

    /// The text for a scrape.
    pub(crate) fn render(&self, gateway: &Gateway) -> String {
        let counts = gateway.ledger.snapshot();
        for (label, counts) in ledger::labels().zip(&counts) {
            publish(label, counts);
        }
        for protocol in PROTOCOLS {
            gauge!("navgate_sessions", "protocol" => protocol.name).set(gateway.sessions.by_protocol(protocol.name) as f64);
        }
        gauge!("navgate_connections").set(gateway.sessions.open() as f64);
        counter!("navgate_connections_accepted_total").absolute(self.accepted.load(Ordering::Relaxed));
        for end in End::ALL {
            let ended = self.ends[end as usize].load(Ordering::Relaxed);
            counter!("navgate_connections_ended_total", "reason" => end.label()).absolute(ended);
        }
        counter!("navgate_takeovers_total", "reason" => "reconnect").absolute(self.reconnects.load(Ordering::Relaxed));
        counter!("navgate_takeovers_total", "reason" => "clone").absolute(self.clones.load(Ordering::Relaxed));
        let status = gateway.sink.status();
        gauge!("navgate_sink_healthy").set(f64::from(u8::from(status.healthy)));
        for mode in ["live", "spooling", "draining"] {
            gauge!("navgate_sink_mode", "mode" => mode).set(f64::from(u8::from(status.mode == mode)));
        }
        gauge!("navgate_sink_unreported").set(status.unreported as f64);
        gauge!("navgate_journal_bytes").set(status.journal_bytes as f64);
        gauge!("navgate_journal_segments").set(status.journal_segments as f64);
        counter!("navgate_journal_deleted_records_total").absolute(status.journal_deleted_records);
        gauge!("navgate_journal_oldest_seconds").set(status.journal_oldest_seconds);
        let kafka = if status.kind == "kafka" { status.oldest_unreported_seconds } else { 0.0 };
        gauge!("navgate_kafka_oldest_unreported_seconds").set(kafka);
        gauge!("navgate_captures").set(gateway.captures.running() as f64);
        let draining = gateway.draining.load(Ordering::Relaxed);
        gauge!("navgate_draining").set(f64::from(u8::from(draining)));
        self.exporter.as_ref().map(PrometheusHandle::render).unwrap_or_default()
    }
}

fn publish(protocol: &'static str, counts: &Counts) {
    let total = |n: i64| u64::try_from(n).unwrap_or(0);
    counter!("navgate_frames_received_total", "protocol" => protocol).absolute(total(counts.received));
    counter!("navgate_frames_stored_total", "protocol" => protocol).absolute(total(counts.stored));
    for (reason, n) in Handled::ALL.iter().zip(counts.handled) {
        counter!("navgate_frames_handled_total", "protocol" => protocol, "reason" => reason.label()).absolute(total(n));
    }
    for (kind, (rejected, faults)) in FaultKind::ALL.iter().zip(counts.rejected.iter().zip(counts.faults)) {
        counter!("navgate_frames_rejected_total", "protocol" => protocol, "reason" => kind.label()).absolute(total(*rejected));
        counter!("navgate_faults_total", "protocol" => protocol, "kind" => kind.label()).absolute(total(faults));
    }
    for (reason, n) in Dropped::ALL.iter().zip(counts.dropped) {
        counter!("navgate_frames_dropped_total", "protocol" => protocol, "reason" => reason.label()).absolute(total(n));
    }
    gauge!("navgate_frames_in_flight", "protocol" => protocol).set(counts.in_flight as f64);
    gauge!("navgate_frames_unaccounted", "protocol" => protocol).set(counts.unaccounted() as f64);
    counter!("navgate_acknowledgements_total", "protocol" => protocol).absolute(total(counts.acknowledged));
    counter!("navgate_events_total", "protocol" => protocol).absolute(total(counts.events));
}

fn describe() {
    describe_counter!("navgate_frames_received_total", "Frames received; a run of skipped bytes counts as one");
    describe_counter!("navgate_frames_stored_total", "Frames whose events are durable");
    describe_counter!("navgate_frames_handled_total", "Frames with nothing to store");
    describe_counter!("navgate_frames_rejected_total", "Frames whose reject is durable");
    describe_counter!("navgate_frames_dropped_total", "Frames neither stored nor acknowledged");
    describe_gauge!("navgate_frames_in_flight", "Frames handed to the store and not yet durable");
    describe_gauge!("navgate_frames_unaccounted", "Frames received and in no other count; anything but 0 is a defect");
    describe_counter!("navgate_acknowledgements_total", "Acknowledgements written to devices");
    describe_counter!("navgate_events_total", "Events handed to the store");
    describe_counter!("navgate_faults_total", "Faults in received bytes, tolerated ones included");
    describe_gauge!("navgate_sessions", "Devices connected");
    describe_gauge!("navgate_connections", "Connections, identified or not");
    describe_counter!("navgate_connections_accepted_total", "Connections accepted");
    describe_counter!("navgate_connections_ended_total", "Connections ended");
    describe_counter!("navgate_takeovers_total", "Sign-ons of a device that was connected already");
    describe_histogram!("navgate_ack_seconds", Unit::Seconds, "From the bytes of a frame to its acknowledgement, sampled");
    describe_counter!("navgate_commands_total", "Commands that have ended, by kind and result");
    describe_gauge!("navgate_commands_open", "Commands without an outcome of which this instance is the home");
    describe_counter!("navgate_commands_repeated_total", "Records of commands with an id that was seen before; ignored");
    describe_counter!("navgate_commands_again_total", "Commands handed over again after they were, or may have been, written");
    describe_histogram!("navgate_command_seconds", Unit::Seconds, "From the receipt of a command to its outcome");
    describe_gauge!("navgate_sink_healthy", "1 while records become durable");
    describe_gauge!("navgate_sink_unreported", "Records handed to the store and not yet durable");
    describe_gauge!("navgate_journal_bytes", Unit::Bytes, "Size of the journal");
    describe_gauge!("navgate_journal_segments", "Files of the journal");
    describe_counter!("navgate_journal_deleted_records_total", "Records that on_full = delete_oldest has deleted");
    describe_gauge!("navgate_journal_oldest_seconds", Unit::Seconds, "Age of the journal's oldest file");
    describe_gauge!(
        "navgate_kafka_oldest_unreported_seconds",
        Unit::Seconds,
        "Age of the oldest record that Kafka has not confirmed"
    );
    describe_gauge!("navgate_captures", "Captures of raw bytes under way");
    describe_gauge!("navgate_draining", "1 while this instance is on its way out");
}
