//! What does not fit together, though each key can be read.

use std::collections::BTreeSet;
use std::net::SocketAddr;

use super::reader::{Findings, suggest};
use super::sections::{AUTO, Listener};
use super::value::{OnFull, ProxyMode, Secret, SinkKind, UnknownDevices};
use super::{Config, files};
use crate::tls::Files;

/// Shorter ones can be guessed; `openssl rand -hex 16` gives 32 characters.
const MIN_SECRET_BYTES: usize = 16;

/// The longest prefix of topic names: Kafka allows 249 characters, the longest suffix of ours (`.telemetry`) has 10.
const MAX_PREFIX: usize = 200;

/// A prefix goes in front of every id in every record.
const MAX_DEVICE_PREFIX: usize = 16;

/// An id stands in every record too.
const MAX_GATEWAY_ID: usize = 64;

/// What librdkafka is told by the gateway itself, and why nobody else may.
const OURS: &[(&[&str], &str)] = &[
    (&["bootstrap.servers", "metadata.broker.list"], "set kafka.brokers instead"),
    (&["linger.ms", "queue.buffering.max.ms"], "set kafka.linger_ms instead"),
    (&["compression.type", "compression.codec"], "set kafka.compression instead"),
    (&["queue.buffering.max.messages"], "set kafka.queue_messages instead"),
    (&["queue.buffering.max.kbytes"], "set kafka.queue_kbytes instead"),
    (&["client.id"], "set gateway.id instead"),
    (&["group.id"], "set kafka.prefix instead"),
    (
        &["acks", "request.required.acks", "enable.idempotence", "enable.gapless.guarantee"],
        "leave it out: devices are acknowledged for what cannot get lost any more",
    ),
    (&["partitioner"], "leave it out: records of a device have to stay in one partition, which Java's clients find too"),
    (
        &["transactional.id", "isolation.level", "enable.auto.commit", "enable.auto.offset.store", "partition.assignment.strategy"],
        "leave it out: every command would no longer have exactly one outcome",
    ),
];

/// The protocols that there are.
pub(super) struct Known {
    /// Name and dialects.
    pub(super) protocols: Vec<(&'static str, &'static [&'static str])>,
}

impl Known {
    /// Those of the registry.
    pub(super) fn registered() -> Self {
        Self { protocols: protocols::PROTOCOLS.iter().map(|p| (p.name, p.dialects)).collect() }
    }

    fn names(&self) -> impl Iterator<Item = &'static str> {
        self.protocols.iter().map(|(name, _)| *name)
    }
}

/// Add to the findings.
pub(super) fn check(config: &Config, known: &Known, findings: &mut Findings) {
    for (n, listener) in config.listeners.iter().enumerate() {
        check_listener(&format!("listener[{n}]"), listener, known, findings);
    }
    if config.listeners.is_empty() {
        findings.wrong("listener", "no device could connect", "add a [[listener]] with address and protocol");
    }
    check_addresses(config, findings);
    check_gateway(config, findings);
    check_sink(config, findings);
    check_security(config, findings);
    check_endpoints(config, findings);
    check_memory(config, findings);
    check_profiles(config, known, findings);
}

fn check_listener(path: &str, listener: &Listener, known: &Known, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    if !findings.is_set(&key("address")) {
        findings.wrong(&key("address"), "it is missing", "write address = \"0.0.0.0:5023\", for example");
    }
    let name = listener.protocol.as_str();
    if !findings.is_set(&key("protocol")) {
        findings.wrong(&key("protocol"), "it is missing", suggest("", known.names().chain([AUTO])));
    } else if !listener.detects() && !known.names().any(|known| known == name) {
        let fix = suggest(name, known.names().chain([AUTO]));
        findings.wrong(&key("protocol"), format!("there is no protocol `{name}`"), fix);
    }
    check_detection(path, listener, known, findings);
    match (listener.proxy, listener.trusted.is_empty()) {
        (ProxyMode::Off, false) => {
            findings.wrong(&key("trusted"), "nobody sends a PROXY header here", "set proxy = \"required\", or leave `trusted` out");
        }
        (ProxyMode::Optional | ProxyMode::Required, true) => {
            findings.wrong(&key("trusted"), "nobody may send a PROXY header here", "list the balancers' addresses");
        }
        _ => {}
    }
    if listener.trusted.iter().any(|net| net.is_everyone()) {
        findings.doubtful(&key("trusted"), "any client can forge its address", "list the balancers' addresses only");
    }
    let prefix = listener.device_prefix.as_str();
    if prefix.len() > MAX_DEVICE_PREFIX || !prefix.bytes().all(|b| b.is_ascii_graphic()) {
        let fix = format!("write at most {MAX_DEVICE_PREFIX} printable ASCII characters without blanks");
        findings.wrong(&key("device_prefix"), format!("`{prefix}` cannot stand in a device id"), fix);
    }
}

/// What only a listener that recognises protocols has.
fn check_detection(path: &str, listener: &Listener, known: &Known, findings: &mut Findings) {
    let key = |name: &str| format!("{path}.{name}");
    for (list, names) in [("protocols", &listener.protocols), ("prefer", &listener.prefer)] {
        for (n, name) in names.iter().enumerate() {
            if !known.names().any(|known| known == name) {
                findings.wrong(&key(list), format!("there is no protocol `{name}`"), suggest(name, known.names()));
            } else if names.iter().take(n).any(|before| before == name) {
                findings.wrong(&key(list), format!("`{name}` stands there twice"), "leave it out once");
            }
        }
    }
    let among = |name: &String| listener.protocols.is_empty() || listener.protocols.contains(name);
    if let Some(name) = listener.prefer.iter().find(|name| !among(name)) {
        findings.wrong(&key("prefer"), format!("`{name}` is not among `protocols`"), "add it there, or leave it out here");
    }
    let unused = [
        ("protocols", !listener.protocols.is_empty()),
        ("prefer", !listener.prefer.is_empty()),
        ("detect_s", listener.detect_s != Listener::default().detect_s),
    ];
    for (name, _) in unused.into_iter().filter(|(_, set)| *set && !listener.detects()) {
        let fix = format!("set protocol = \"{AUTO}\", or leave `{name}` out");
        findings.wrong(&key(name), "nothing is recognised here: the protocol is given", fix);
    }
}

/// Every address once; port 0 is a new one each time.
fn check_addresses(config: &Config, findings: &mut Findings) {
    let listeners = config.listeners.iter().enumerate().map(|(n, l)| (format!("listener[{n}].address"), l.address));
    let others = [("admin", config.admin.address), ("peer", config.peer.address), ("agent", config.agent.address)];
    let all: Vec<_> = listeners.chain(others.map(|(name, address)| (format!("{name}.address"), address))).collect();
    for (n, (key, address)) in all.iter().enumerate() {
        let before = all.iter().take(n).find(|(_, other)| clash(*address, *other));
        if let Some((other, _)) = before {
            findings.wrong(key, format!("`{address}` is taken by {other}"), "choose another port");
        }
    }
}

fn clash(a: SocketAddr, b: SocketAddr) -> bool {
    let wild = a.is_ipv4() == b.is_ipv4() && (a.ip().is_unspecified() || b.ip().is_unspecified());
    a.port() != 0 && a.port() == b.port() && (a.ip() == b.ip() || wild)
}

fn check_gateway(config: &Config, findings: &mut Findings) {
    let id = config.gateway.id.as_str();
    if id.is_empty() || id.len() > MAX_GATEWAY_ID || !id.bytes().all(|b| b.is_ascii_graphic()) {
        let fix = format!("write 1 to {MAX_GATEWAY_ID} printable ASCII characters without blanks, another one on each instance");
        findings.wrong("gateway.id", format!("`{id}` cannot name an instance"), fix);
    }
}

fn check_sink(config: &Config, findings: &mut Findings) {
    let (journal, kafka) = (&config.journal, &config.kafka);
    if journal.max_bytes / 2 < journal.segment_bytes {
        let fix = "let it be at least twice journal.segment_bytes";
        findings.wrong("journal.max_bytes", "only whole segments can be deleted, and one is being written", fix);
    }
    for name in kafka.properties.0.keys() {
        if let Some((_, fix)) = OURS.iter().find(|(names, _)| names.contains(&name.as_str())) {
            findings.wrong(&format!("kafka.properties.{name}"), "the gateway sets this itself", *fix);
        }
    }
    if config.sink.kind != SinkKind::Kafka {
        return;
    }
    if journal.on_full == OnFull::DeleteOldest {
        let fix = "set \"stop\": then devices keep what they could not send";
        findings.wrong("journal.on_full", "a spool that deletes loses what was acknowledged", fix);
    }
    if kafka.brokers.is_empty() {
        findings.wrong("kafka.brokers", "there is none", "list some, as \"host:port\"");
    }
    for broker in &kafka.brokers {
        if !is_host_port(broker) {
            findings.wrong("kafka.brokers", format!("`{broker}` is no broker"), "write \"host:port\"");
        }
    }
    let legal = |b: u8| b.is_ascii_alphanumeric() || b"._-".contains(&b);
    if kafka.prefix.is_empty() || kafka.prefix.len() > MAX_PREFIX || !kafka.prefix.bytes().all(legal) {
        let fix = format!("write 1 to {MAX_PREFIX} letters, digits, `.`, `_` and `-`");
        findings.wrong("kafka.prefix", format!("`{}` cannot begin a topic's name", kafka.prefix), fix);
    }
}

/// `host:port`, where an IPv6 address stands in brackets.
fn is_host_port(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let plain = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    let host_fits = match plain {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => !host.is_empty() && host.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b)),
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn check_security(config: &Config, findings: &mut Findings) {
    let security = &config.security;
    match security.unknown_devices {
        UnknownDevices::Allowlist | UnknownDevices::Reject if security.devices.is_empty() && security.devices_file.is_none() => {
            findings.wrong(
                "security.unknown_devices",
                "no device is listed, so none would be served",
                "list some in `devices` or `devices_file`",
            );
        }
        UnknownDevices::Accept if !security.devices.is_empty() => {
            findings.doubtful("security.devices", "all other devices are served too", "set unknown_devices = \"allowlist\"");
        }
        _ => {}
    }
    check_secrets(
        &security.secrets,
        if security.secrets_file.is_some() { "security.secrets_file" } else { "security.secrets" },
        findings,
    );
    if security.secrets.is_empty() && security.secrets_file.is_none() {
        let what = "a random one will be made at each start: codes of JT/T 808 terminals end with the process, and other instances \
                    can neither verify them nor be peers";
        findings.doubtful("security.secrets", what, "give all instances the same, from `openssl rand -hex 32`");
    }
}

fn check_secrets<'s>(secrets: impl IntoIterator<Item = &'s Secret>, key: &str, findings: &mut Findings) {
    let mut seen = BTreeSet::new();
    for secret in secrets {
        if secret.reveal().len() < MIN_SECRET_BYTES {
            let fix = format!("use at least {MIN_SECRET_BYTES} characters, as from `openssl rand -hex 32`");
            findings.wrong(key, "a secret is so short that it can be guessed", fix);
        }
        if !seen.insert(secret.reveal()) {
            findings.doubtful(key, "the same secret stands there twice", "");
        }
    }
}

fn check_endpoints(config: &Config, findings: &mut Findings) {
    let (admin, peer) = (&config.admin, &config.peer);
    if !admin.address.ip().is_loopback() && admin.token.is_none() && admin.token_file.is_none() {
        let fix = "set admin.token or admin.token_file, or bind it to 127.0.0.1";
        findings.wrong("admin.address", "anybody who reaches it could drain this instance", fix);
    }
    check_secrets(&admin.token, if admin.token_file.is_some() { "admin.token_file" } else { "admin.token" }, findings);
    match &peer.advertise {
        Some(advertise) if !is_host_port(advertise) => {
            findings.wrong("peer.advertise", format!("`{advertise}` is no place to connect to"), "write \"host:port\"");
        }
        None if config.sink.kind == SinkKind::Kafka && peer.address.ip().is_unspecified() => {
            let fix = "set peer.advertise = \"host:port\"";
            findings.wrong("peer.address", format!("other instances cannot connect to `{}`", peer.address), fix);
        }
        None if config.sink.kind == SinkKind::Kafka && peer.address.ip().is_loopback() => {
            let fix = "with several instances bind it to an address of the network";
            findings.doubtful("peer.address", "only instances on this machine can hand commands over", fix);
        }
        _ => {}
    }
    if let Some(path) = peer.key_file.as_deref().filter(|path| files::open_to_all(path)) {
        findings.doubtful("peer.key_file", files::OPEN_TO_ALL, files::close(path));
    }
    match Files::of(peer).and_then(|files| files.map_or(Ok(None), |files| files.load().map(|(_, remark)| remark))) {
        Ok(Some(remark)) => findings.doubtful(remark.key, remark.what, remark.fix),
        Ok(None) => {}
        Err(remark) => findings.wrong(remark.key, remark.what, remark.fix),
    }
}

/// Who had a device is known from its record.
fn check_memory(config: &Config, findings: &mut Findings) {
    if config.sessions.forget_after_s <= config.commands.max_deadline_s {
        let what = "where a device was would be forgotten while commands for it are still open";
        findings.wrong("sessions.forget_after_s", what, "let it be longer than commands.max_deadline_s");
    }
}

fn check_profiles(config: &Config, known: &Known, findings: &mut Findings) {
    for (n, profile) in config.profiles.iter().enumerate() {
        let path = format!("profile[{n}]");
        let found = profile.protocol.as_deref().map(|name| (name, known.protocols.iter().find(|(known, _)| *known == name)));
        if let Some((name, None)) = found {
            findings.wrong(&path, format!("there is no protocol `{name}`"), suggest(name, known.names()));
            continue;
        }
        let of_one = found.and_then(|(_, protocol)| protocol);
        let dialects =
            || known.protocols.iter().filter(|p| of_one.is_none_or(|one| one.0 == p.0)).flat_map(|(_, d)| d.iter().copied());
        if let Some(name) = profile.dialect.as_deref().filter(|name| !dialects().any(|d| d == *name)) {
            let whose = of_one.map_or_else(String::new, |(protocol, _)| format!(" of {protocol}"));
            findings.wrong(&path, format!("there is no dialect `{name}`{whose}"), suggest(name, dialects()));
        }
        if let Some(code) = profile.currency.as_deref().filter(|c| c.len() != 3 || !c.bytes().all(|b| b.is_ascii_uppercase())) {
            findings.wrong(&path, format!("`{code}` is no currency"), "write its ISO 4217 code, such as \"CNY\"");
        }
    }
}
