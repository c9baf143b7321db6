//! `navgate demo`: the real gateway on loopback with the journal as its store, a small fleet over real sockets, a dispatcher
//! that gives orders to its taxis, and the count at the end, taken from outside: what the fleet sent, what it was told is
//! stored, what the journal holds, and what became of each order and each command.

// the reference dispatch, as it also runs over Kafka
#[path = "../../examples/dispatch/dispatcher.rs"]
mod dispatcher;
mod fleet;
mod orders;
mod screen;
mod show;
mod taxi;

use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use clap::Args;
use protocols::PROTOCOLS;
use protocols::script::SECRET;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::cli::Exit;
use crate::config::{Config, Journal, Listener, Secret};
use crate::journal::{Found, Reader};
use crate::{logging, serve};
use fleet::{Chance, Tally};
use orders::{Books, Office};

/// Pause of the reader that shows the journal while it grows.
const LOOK: Duration = Duration::from_millis(50);

/// Taxis of each kind of terminal.
const TAXIS: u8 = 4;
/// Before the end no more orders come in: one takes some seconds from offer to finish.
const LAST_ORDER: Duration = Duration::from_secs(5);

/// What to show.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How long the fleet drives
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: u64,
    /// The same seed gives the same drive
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Only the taxis, against a gateway that runs elsewhere and takes their protocols on one port (`protocol = "auto"`); tells
    /// what their screens show and their drivers do
    #[arg(long, value_name = "ADDR")]
    against: Option<std::net::SocketAddr>,
}

/// Show it.
///
/// # Errors
/// If anything did not go as it must: the ledger says what.
pub(crate) fn run(args: &DemoArgs) -> Result<(), Exit> {
    if let Some(address) = args.against {
        return serve::runtime()?.block_on(taxis_alone(args, address));
    }
    let directory = Scratch::new()?;
    let runtime = serve::runtime()?;
    let verdict = runtime.block_on(drive(args, &directory.0))?;
    println!("{verdict}");
    if verdict.holds() { Ok(()) } else { Err(Exit::failed(verdict.complaint())) }
}

/// The taxis of the demo at somebody else's gateway: what they said is acknowledged, or it is told.
async fn taxis_alone(args: &DemoArgs, address: std::net::SocketAddr) -> Result<(), Exit> {
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let mut drives = JoinSet::new();
    let taxis = taxi::taxis(TAXIS, &mut Chance::new(args.seed, usize::MAX));
    let named: Vec<_> = taxis.iter().map(|taxi| format!("{} ({})", taxi.device_id(), taxi.protocol())).collect();
    let _ = writeln!(io::stdout(), "taxis at {address} for {} s: {}", args.seconds, named.join(", "));
    for (n, taxi) in taxis.into_iter().map(taxi::Taxi::aloud).enumerate() {
        let (tally, chance) = (Arc::clone(&tally), Chance::new(args.seed, 1000 + n));
        drives.spawn(async move { taxi.drive(address, until, chance, &tally).await });
    }
    let mut complaints = Vec::new();
    while let Some(drive) = drives.join_next().await {
        complaints.extend(drive.map_err(|e| e.to_string()).and_then(|drive| drive).err());
    }
    let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    println!("taxis: sent={} acknowledged={}", count(&tally.sent), count(&tally.acknowledged));
    if complaints.is_empty() { Ok(()) } else { Err(Exit::failed(complaints.join("; "))) }
}

async fn drive(args: &DemoArgs, directory: &Path) -> Result<Verdict, Exit> {
    let config = config(directory);
    let log = logging::start(&config.log).map_err(Exit::failed)?;
    let running = serve::start(config, log).await.map_err(|e| Exit::failed(e.to_string()))?;
    let gateway = Arc::clone(&running.gateway);
    let cars = fleet::fleet().map_err(Exit::failed)?;
    let taxis = taxi::taxis(TAXIS, &mut Chance::new(args.seed, usize::MAX));
    println!(
        "{} navigators and {} taxis drive for {} s; their events, as the journal has them, and the dispatch:\n",
        cars.len(),
        taxis.len(),
        args.seconds
    );

    let done = Arc::new(AtomicBool::new(false));
    let last_order = Duration::from_secs(args.seconds).saturating_sub(LAST_ORDER);
    let shown = thread::spawn({
        let (directory, done) = (directory.to_owned(), Arc::clone(&done));
        let office = Office::new(running.down.clone(), last_order);
        move || follow(&directory, office, &done)
    });
    let tally = Arc::new(Tally::default());
    let until = Instant::now() + Duration::from_secs(args.seconds);
    let mut drives = JoinSet::new();
    for (n, taxi) in taxis.into_iter().enumerate() {
        let address = running.listening.iter().find(|(protocol, _)| *protocol == taxi.protocol()).map(|(_, address)| *address);
        let address = address.ok_or_else(|| Exit::failed(format!("no listener for {}", taxi.protocol())))?;
        let (tally, chance) = (Arc::clone(&tally), Chance::new(args.seed, 1000 + n));
        drives.spawn(async move { taxi.drive(address, until, chance, &tally).await });
    }
    for (n, car) in cars.into_iter().enumerate() {
        let address = running.listening.iter().find(|(protocol, _)| *protocol == car.protocol()).map(|(_, address)| *address);
        let address = address.ok_or_else(|| Exit::failed(format!("no listener for {}", car.protocol())))?;
        let (tally, chance) = (Arc::clone(&tally), Chance::new(args.seed, n));
        drives.spawn(async move { car.drive(address, until, chance, &tally).await });
    }
    let mut complaints = Vec::new();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    loop {
        tokio::select! {
            drive = drives.join_next() => match drive {
                None => break,
                Some(Ok(Ok(()))) => {}
                Some(Ok(Err(complaint))) => complaints.push(complaint),
                Some(Err(e)) => complaints.push(e.to_string()),
            },
            _ = term.recv() => return Err(Exit::failed("ended by SIGTERM")),
            _ = int.recv() => return Err(Exit::failed("ended by SIGINT")),
        }
    }
    running.stop(Duration::ZERO, Duration::from_secs(1)).await;
    done.store(true, Ordering::Release);
    let (stored, books) = shown.join().map_err(|_| Exit::failed("the reader of the journal failed"))??;
    let total = gateway.ledger.total();
    let unaccounted = total.unaccounted() + total.in_flight;
    let count = |n: &std::sync::atomic::AtomicU64| n.load(Ordering::Relaxed);
    Ok(Verdict {
        sent: count(&tally.sent),
        acknowledged: count(&tally.acknowledged),
        stored,
        unaccounted,
        books,
        conversations: count(&tally.conversations),
        frames: total.received,
        complaints,
    })
}

fn config(directory: &Path) -> Config {
    let mut config = Config::default();
    config.gateway.id = "demo".to_owned();
    let listener = |protocol: &str| Listener { protocol: protocol.to_owned(), ..Listener::default() };
    config.listeners = PROTOCOLS.iter().map(|p| listener(p.name)).collect();
    config.journal = Journal { path: directory.to_owned(), ..Journal::default() };
    // the recorded terminals answer with codes that this secret signs
    config.security.secrets = vec![Secret::new(String::from_utf8_lossy(SECRET).into_owned())];
    config.admin.address.set_port(0);
    config.agent.address.set_port(0);
    config.log.level = crate::config::LogLevel::Warn;
    config
}

/// Print events as the journal gets them, and give the dispatch what it needs to know; returns how many events there were in
/// the end, and what became of the orders.
fn follow(directory: &Path, mut office: Office, done: &AtomicBool) -> io::Result<(u64, Books)> {
    let mut reader = Reader::open(directory)?;
    let mut stored = 0;
    loop {
        // asked before reading, so that nothing written before the end is missed
        let last = done.load(Ordering::Acquire);
        while let Some(found) = reader.next()? {
            let Found::Entry(entry) = found else { continue };
            let event = matches!(entry.topic, "telemetry" | "orders");
            stored += u64::from(event);
            let Ok(value) = serde_json::from_slice::<Value>(entry.value) else { continue };
            // who looks away, as in `| head`, still gets a verdict
            if event {
                let _ = writeln!(io::stdout(), "{}", show::line(&value));
            }
            for line in office.read(entry.topic, &value) {
                let _ = writeln!(io::stdout(), "{line}");
            }
        }
        for line in office.work(last) {
            let _ = writeln!(io::stdout(), "{line}");
        }
        if last {
            return Ok((stored, office.close()));
        }
        thread::sleep(LOOK);
    }
}

/// The count.
#[derive(Debug)]
struct Verdict {
    sent: u64,
    acknowledged: u64,
    stored: u64,
    unaccounted: i64,
    books: Books,
    conversations: u64,
    frames: i64,
    complaints: Vec<String>,
}

impl Verdict {
    fn holds(&self) -> bool {
        self.sent > 0
            && self.acknowledged == self.sent
            && self.stored == self.sent
            && self.unaccounted == 0
            && self.books.balance().is_none()
            && self.complaints.is_empty()
    }

    fn complaint(&self) -> String {
        let mut all = self.complaints.clone();
        if self.acknowledged != self.sent {
            all.push(format!("{} events were sent and {} acknowledged", self.sent, self.acknowledged));
        }
        if self.stored != self.sent {
            all.push(format!("{} events were sent and the journal holds {}", self.sent, self.stored));
        }
        if self.unaccounted != 0 {
            all.push(format!("{} frames are unaccounted for", self.unaccounted));
        }
        all.extend(self.books.balance());
        if self.sent == 0 {
            all.push("nothing was sent: give it more seconds".to_owned());
        }
        all.join("; ")
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { sent, acknowledged, stored, unaccounted, books, conversations, frames, .. } = self;
        writeln!(f, "\n{conversations} conversations, {frames} frames")?;
        writeln!(f, "{books}")?;
        write!(f, "ledger: sent={sent} acknowledged={acknowledged} stored={stored} unaccounted={unaccounted}")
    }
}

/// A directory that goes when the demo ends.
struct Scratch(std::path::PathBuf);

impl Scratch {
    fn new() -> Result<Self, Exit> {
        let path = std::env::temp_dir().join(format!("navgate-demo-{}", std::process::id()));
        std::fs::create_dir(&path).map_err(|e| Exit::failed(format!("cannot make the directory {}: {e}", path.display())))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict() -> Verdict {
        Verdict {
            sent: 5,
            acknowledged: 5,
            stored: 5,
            unaccounted: 0,
            books: Books::default(),
            conversations: 2,
            frames: 9,
            complaints: Vec::new(),
        }
    }

    #[test]
    fn a_verdict_can_fail() {
        assert!(verdict().holds());
        for (bad, word) in [
            (Verdict { acknowledged: 4, ..verdict() }, "acknowledged"),
            (Verdict { stored: 4, ..verdict() }, "journal"),
            (Verdict { unaccounted: 1, ..verdict() }, "unaccounted"),
            (Verdict { books: Books { orders: 1, ..Books::default() }, ..verdict() }, "order"),
            (Verdict { complaints: vec!["no answer".into()], ..verdict() }, "no answer"),
            (Verdict { sent: 0, acknowledged: 0, stored: 0, ..verdict() }, "nothing"),
        ] {
            assert!(!bad.holds() && bad.complaint().contains(word), "{bad:?}");
        }
    }
}
