//! `navgate serve`: from a configuration to a running gateway, and back to nothing without a loss.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use protocols::PROTOCOLS;
use protocols::detect::Detector;
use protocols::registry::Protocol;
use protocols::session::Recall;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::admin::{self, Admin};
use crate::agent;
use crate::capture::Captures;
use crate::config::{Config, Listener, OnFull, SinkKind, UnknownDevices};
use crate::down;
use crate::faults::Faults;
use crate::gateway::{Access, Choice, Gateway, Limits, Port, Speaks};
use crate::journal;
use crate::ledger::Ledger;
use crate::listener;
use crate::logging::LogFilter;
use crate::receipts::Receipts;
use crate::sessions::{Order, Sessions};
use crate::sink::Sink;
use crate::sink::journal::JournalSink;
use crate::sink::kafka::{Kafka, Surroundings};
use crate::sink::spool::Spool;
use crate::telemetry::Telemetry;
use crate::{clock, down::owner::InstanceId, down::table::Table};

/// Connections let go in a second while draining: slower than a fleet reconnects, faster than anybody wants to wait.
const DRAIN_PER_SECOND: usize = 500;
/// Histogram samples are folded this often.
const UPKEEP: Duration = Duration::from_secs(5);
/// For the last outcomes and session records to reach Kafka, and for leaving the group.
const LAST_WORDS: Duration = Duration::from_secs(10);
/// How long devices wait at the start until it is known what they have open: one that signs on before would be taken for new,
/// and its record, with nothing open, would replace the one that told of its orders. Some ten thousand sessions are read in
/// less; without Kafka they are served all the same.
const SESSIONS: Duration = Duration::from_secs(3);
/// How often the end of a drain looks whether the last connection is gone.
const LAST_LOOK: Duration = Duration::from_millis(20);

/// Why the gateway did not start: one sentence with what to do.
#[derive(Debug)]
pub(crate) struct StartError(String);

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StartError {}

/// A running gateway.
#[derive(Debug)]
pub(crate) struct Running {
    /// What connections share.
    pub(crate) gateway: Arc<Gateway>,
    /// Where devices connect to: what is spoken there and address, as bound.
    pub(crate) listening: Vec<(&'static str, SocketAddr)>,
    config: Config,
    listeners: CancellationToken,
    services: CancellationToken,
    drain: CancellationToken,
    /// For commands, where they do not come from Kafka.
    pub(crate) down: down::hub::Handle,
    hub: CancellationToken,
    hub_running: tokio::task::JoinHandle<()>,
}

/// The threads that connections run on: one core is left to the store (librdkafka's threads, or the journal's and the disk's).
/// More threads than that would mostly wake each other.
///
/// # Errors
/// If the system gives no threads.
pub(crate) fn runtime() -> io::Result<tokio::runtime::Runtime> {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    tokio::runtime::Builder::new_multi_thread().worker_threads(cores.saturating_sub(1).max(1)).enable_all().build()
}

/// Bind everything and start.
///
/// # Errors
/// An address that cannot be bound, a journal that cannot be opened, a Kafka property that librdkafka refuses.
pub(crate) async fn start(config: Config, log: LogFilter) -> Result<Running, StartError> {
    let receipts = Arc::new(Receipts::default());
    let ledger = Arc::new(Ledger::default());
    // later lives have higher numbers
    let me = InstanceId { gateway: config.gateway.id.as_str().into(), boot: clock::utc().as_millis().unsigned_abs() };
    let kafka = config.sink.kind == SinkKind::Kafka;
    // all addresses first: a port in use is found before anything is touched
    let mut bound = Vec::new();
    for listener in &config.listeners {
        bound.push((listener, bind("listener", listener.address)?));
    }
    let admin = bind("admin", config.admin.address)?;
    let agent = bind("agent", config.agent.address)?;
    let peer = if kafka { Some(bind("peer", config.peer.address)?) } else { None };
    let address = match (&config.peer.advertise, &peer) {
        (Some(advertise), Some(_)) => Some(advertise.as_str().into()),
        (None, Some(peer)) => Some(local(peer)?.to_string().into()),
        (_, None) => None,
    };
    let sessions = Arc::new(Sessions::new(Table::new(me.clone(), address)));
    let recalled = Arc::clone(&sessions);
    let recall = Recall::of(move |device| recalled.recall(device));
    let port = |(listener, socket)| Ok((port(&config, listener, &recall)?, socket));
    let bound = bound.into_iter().map(port).collect::<Result<Vec<_>, StartError>>()?;
    let mut former = down::Former::default();
    let sink = open_sink(&config, &receipts, &ledger, &sessions, &mut former)?;
    let telemetry = Telemetry::install().map_err(|e| StartError(format!("cannot start the metrics: {e}")))?;
    let (reports, reported) = down::owner::Reports::channel();
    let gateway = Arc::new(Gateway {
        id: config.gateway.id.clone(),
        sink,
        receipts,
        ledger,
        sessions,
        reports,
        captures: Captures::new(config.capture.clone()),
        faults: Faults::default(),
        limits: Limits {
            identify: config.limits.identify_s.get(),
            proxy_header: config.limits.proxy_header_s.get(),
            write: config.limits.write_s.get(),
            outbox_bytes: config.limits.outbox_bytes as usize,
            close: config.drain.close_s.get(),
            connections: config.limits.max_connections as usize,
        },
        access: match config.security.unknown_devices {
            UnknownDevices::Accept => Access::Accept,
            UnknownDevices::Reject => Access::Reject(config.security.devices.clone()),
            UnknownDevices::Allowlist => Access::Allowlist(config.security.devices.clone()),
        },
        telemetry,
        serving: AtomicBool::new(false),
        draining: AtomicBool::new(false),
        accepted: AtomicUsize::new(0),
    });
    let (listeners, services, drain) = (CancellationToken::new(), CancellationToken::new(), CancellationToken::new());
    if let Some(peer) = &peer {
        eprintln!("listening peer address={}", local(peer)?);
    }
    let hub = CancellationToken::new();
    let (down, hub_running) =
        down::start(&config, me, Arc::clone(&gateway), reported, peer, former, hub.clone()).await.map_err(StartError)?;
    let open = CancellationToken::new();
    tokio::spawn(open_when_known(down.clone(), Arc::clone(&gateway), listeners.clone(), open.clone()));
    let mut listening = Vec::new();
    for (port, socket) in bound {
        let address = local(&socket)?;
        eprintln!("listening protocol={} address={address}", port.label());
        listening.push((port.label(), address));
        let serving = listener::serve(socket, Arc::clone(&gateway), Arc::new(port), listeners.clone());
        let open = open.clone();
        tokio::spawn(async move {
            open.cancelled().await;
            serving.await;
        });
    }
    eprintln!("listening admin address={}", local(&admin)?);
    let endpoints = Admin {
        gateway: Arc::clone(&gateway),
        log,
        token: config.admin.token.as_ref().map(|t| t.reveal().into()),
        drain: drain.clone(),
        down: down.clone(),
        max_deadline: config.commands.max_deadline_s.get(),
        following: Arc::default(),
    };
    tokio::spawn(admin::serve(admin, endpoints, services.clone()));
    eprintln!("listening agent address={}", local(&agent)?);
    let answering = agent::serve(agent, Arc::clone(&gateway), services.clone());
    tokio::spawn(async move {
        // `up` would not be true before
        open.cancelled().await;
        answering.await;
    });
    tokio::spawn(upkeep(Arc::clone(&gateway), services.clone()));
    Ok(Running { gateway, listening, config, listeners, services, drain, down, hub, hub_running })
}

fn bind(key: &str, address: SocketAddr) -> Result<TcpListener, StartError> {
    listener::bind(address).map_err(|e| {
        let todo = match e.kind() {
            io::ErrorKind::AddrInUse => "another program listens there: stop it, or choose another port",
            io::ErrorKind::AddrNotAvailable => "this machine has no such address: use one of its own, or 0.0.0.0",
            io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege (CAP_NET_BIND_SERVICE): choose a higher one",
            _ => "check the address",
        };
        StartError(format!("cannot listen on {address} ({key}.address): {e}; {todo}"))
    })
}

fn local(socket: &TcpListener) -> Result<SocketAddr, StartError> {
    socket.local_addr().map_err(|e| StartError(format!("cannot tell the address of a listener: {e}")))
}

fn port(config: &Config, listener: &Listener, recall: &Recall) -> Result<Port, StartError> {
    let settings = Arc::new(protocols::profile::Settings { recall: recall.clone(), ..config.settings(listener) });
    let port = |speaks, index, idle: Duration| Port {
        speaks,
        index,
        proxy: listener.proxy,
        trusted: listener.trusted.clone(),
        settings: Arc::clone(&settings),
        idle: listener.idle_s.map_or(idle, |s| s.get()),
    };
    let of = |(index, protocol): (usize, &'static Protocol)| port(Speaks::One(protocol), index, protocol.limits.idle);
    if !listener.detects() {
        return registered(&listener.protocol).map(of);
    }
    let named = |names: &[String]| names.iter().map(|name| registered(name)).collect::<Result<Vec<_>, _>>();
    let mut candidates = named(&listener.protocols)?;
    if candidates.is_empty() {
        candidates = PROTOCOLS.iter().copied().enumerate().collect();
    }
    let preferred = named(&listener.prefer)?.into_iter().map(|(_, protocol)| protocol).collect();
    let detector = Detector::new(candidates.iter().map(|(_, protocol)| *protocol).collect(), preferred);
    let ports = candidates.into_iter().map(|candidate| Arc::new(of(candidate))).collect();
    let limit = listener.detect_s.get();
    // the longest that any of them may be silent: until it is known, the deadlines for a sign-on hold anyway
    let idle = PROTOCOLS.iter().map(|p| p.limits.idle).max().unwrap_or_default();
    Ok(port(Speaks::Any(Choice { detector, ports, limit }), PROTOCOLS.len(), idle))
}

/// The protocol of this name, with its index in the registry.
fn registered(name: &str) -> Result<(usize, &'static Protocol), StartError> {
    let found = PROTOCOLS.iter().copied().enumerate().find(|(_, p)| p.name == name);
    found.ok_or_else(|| StartError(format!("there is no protocol `{name}`; see `navgate protocols`")))
}

fn open_sink(
    config: &Config,
    receipts: &Arc<Receipts>,
    ledger: &Arc<Ledger>,
    sessions: &Arc<Sessions>,
    former: &mut down::Former,
) -> Result<Arc<dyn Sink>, StartError> {
    match config.sink.kind {
        SinkKind::Journal => {
            let options = journal_options(config);
            let tell = &mut |topic: &str, value: &[u8]| former.note(topic, value);
            let sink = JournalSink::open(options, Arc::clone(receipts), Arc::clone(ledger), tell);
            Ok(Arc::new(sink.map_err(|e| StartError(e.to_string()))?))
        }
        SinkKind::Kafka => {
            let known = Arc::clone(sessions);
            let around = Surroundings {
                receipts: Arc::clone(receipts),
                ledger: Arc::clone(ledger),
                gateway: config.gateway.id.clone(),
                peer_of: Box::new(move |device| known.peer_of(device)),
                frames: config.capture.topic,
            };
            let kafka = Kafka::start(&config.kafka, around)
                .map_err(|e| StartError(format!("Kafka: {e}; check [kafka.properties] in the configuration")))?;
            let spool_after = config.sink.spool_after_ms.get();
            let spool = Spool::start(kafka, journal_options(config), spool_after, Arc::clone(receipts), Arc::clone(ledger));
            Ok(Arc::new(spool.map_err(|e| StartError(e.to_string()))?))
        }
    }
}

/// How the journal is kept, as sink or as spool.
pub(crate) fn journal_options(config: &Config) -> journal::Options {
    journal::Options {
        segment_bytes: config.journal.segment_bytes,
        max_bytes: config.journal.max_bytes,
        on_full: match config.journal.on_full {
            OnFull::Stop => journal::OnFull::Block,
            OnFull::DeleteOldest => journal::OnFull::DeleteOldest,
        },
        commit_interval: config.journal.commit_interval_ms.get(),
        ..journal::Options::new(&config.journal.path)
    }
}

/// Cancels `open` when devices may come, or need not come any more.
async fn open_when_known(down: down::hub::Handle, gateway: Arc<Gateway>, stop: CancellationToken, open: CancellationToken) {
    tokio::select! {
        known = tokio::time::timeout(SESSIONS, down.sessions_known()) => if known.is_err() {
            warn!("Kafka has not told in {SESSIONS:?} which orders and drivers devices have; they are served without");
        },
        () = stop.cancelled() => {}
    }
    gateway.serving.store(true, Ordering::Relaxed);
    open.cancel();
}

async fn upkeep(gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(UPKEEP) => gateway.telemetry.upkeep(),
        }
    }
}

impl Running {
    /// Serve until SIGTERM, SIGINT or a drain over HTTP, then drain.
    ///
    /// # Errors
    /// If signals cannot be heard; or, as `TimedOut`, if a second signal cut the drain short.
    pub(crate) async fn until_told(self) -> io::Result<()> {
        let mut signals = Signals { term: signal(SignalKind::terminate())?, int: signal(SignalKind::interrupt())? };
        tokio::select! {
            name = signals.next() => info!("{name}: draining; a second signal ends at once"),
            () = self.drain.cancelled() => info!("told over HTTP to drain"),
        }
        let config = self.config.drain.clone();
        tokio::select! {
            () = self.stop(config.notice_s.get(), config.limit_s.get()) => Ok(()),
            name = signals.next() => Err(io::Error::new(io::ErrorKind::TimedOut, format!("{name} while draining: ended at once"))),
        }
    }

    /// Tell the balancer, stop listening, let the connections go one by one, make everything durable, end.
    pub(crate) async fn stop(self, notice: Duration, limit: Duration) {
        let gateway = &self.gateway;
        gateway.draining.store(true, Ordering::Relaxed);
        // a drain may take minutes, and be cut short: the commands are better off elsewhere from its beginning
        self.down.leave();
        tokio::time::sleep(notice).await;
        self.listeners.cancel();
        let controls = gateway.sessions.controls();
        let connections = controls.len();
        let pause = pace(connections, limit);
        for control in controls {
            control.close(Order::Drain);
            if !pause.is_zero() {
                tokio::time::sleep(pause).await;
            }
        }
        // settling and waiting for the device's FIN each have this bound
        let end = tokio::time::Instant::now() + 2 * gateway.limits.close + LAST_LOOK;
        while gateway.sessions.open() > 0 && tokio::time::Instant::now() < end {
            // whoever was accepted at the last moment is told too
            gateway.sessions.controls().iter().for_each(|c| c.close(Order::Drain));
            tokio::time::sleep(LAST_LOOK).await;
        }
        // last outcomes and session records are written, and the group is left
        self.hub.cancel();
        if tokio::time::timeout(LAST_WORDS, self.hub_running).await.is_err() {
            warn!("Kafka did not take the last outcomes in time; their commands go to another instance");
        }
        let sink = Arc::clone(&gateway.sink);
        let flush = self.config.gateway.shutdown_limit_s.get();
        if tokio::task::spawn_blocking(move || sink.close(flush)).await.is_err() {
            warn!("closing the store failed");
        }
        self.services.cancel();
        let total = gateway.ledger.total();
        info!(
            connections,
            received = total.received,
            stored = total.stored,
            acknowledged = total.acknowledged,
            in_flight = total.in_flight,
            unaccounted = total.unaccounted(),
            "drained"
        );
    }
}

/// Pause between two closes: as slow as the limit allows, but no slower than [`DRAIN_PER_SECOND`].
fn pace(connections: usize, limit: Duration) -> Duration {
    let slowest = Duration::from_secs(1) / DRAIN_PER_SECOND as u32;
    match u32::try_from(connections) {
        Ok(0) => Duration::ZERO,
        Ok(n) => (limit / n).min(slowest),
        Err(_) => Duration::ZERO,
    }
}

struct Signals {
    term: Signal,
    int: Signal,
}

impl Signals {
    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.term.recv() => "SIGTERM",
            _ = self.int.recv() => "SIGINT",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_drain_keeps_within_its_limit() {
        let limit = Duration::from_secs(120);
        for n in [1, 100, 10_000, 60_000, 1_000_000] {
            assert!(pace(n, limit) * u32::try_from(n).unwrap() <= limit + Duration::from_millis(1), "{n}");
        }
        assert_eq!(pace(100, limit), Duration::from_millis(2));
        assert_eq!(pace(0, limit), Duration::ZERO);
    }
}
