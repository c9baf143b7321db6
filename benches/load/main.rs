//! The whole gateway under a fleet: a `navgate serve` of its own, real sockets on loopback, figures and the ledger.
//!
//! ```text
//! cargo bench --bench load                                    a table: closed and open loops and idle fleets, each protocol
//! cargo bench --bench load -- --connections 200 --window 16   one closed loop for each protocol
//! cargo bench --bench load -- --protocol gt06 --rate 5000     one open loop
//! cargo bench --bench load -- --help
//! cargo test --bench load                                     whether this tool itself is right, in seconds
//! ```
//!
//! - Closed: each connection has so many unacknowledged positions at any time; latency is from writing to acknowledgement.
//! - Open: positions are due at a fixed rate whatever is acknowledged; latency is from when they were due, so that a gateway
//!   that stalls cannot hide it by stalling those who measure. "late" is how late this program itself wrote them.
//! - Idle: devices sign on and say nothing more; what one costs in memory.
//!
//! It fails if anything that was due is not acknowledged in the end, or if the gateway's ledger does not agree. The fleet
//! is one thread; it shares the machine with the gateway, which the figures have in them. Linux only (`/proc`).

mod device;
mod fleet;
mod gateway;
mod latency;
mod report;
mod run;
mod store;

use std::process::{Command, ExitCode};
use std::time::Duration;

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, ValueEnum};
use tokio::signal::unix::{SignalKind, signal};
use tokio::task::LocalSet;

use device::Protocol;
use report::Report;
use run::{Load, Run};
use store::Store;

/// Open files of a process besides its connections: listeners, files of the journal, connections to Kafka, the runtime's.
const OTHER_FILES: u64 = 200;

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Sink {
    Journal,
    Kafka,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Protocols {
    Gt06,
    Jt808,
    /// One after the other
    Both,
}

/// Load a gateway like a fleet, on loopback: rate, latency, CPU time, memory, and whether everything is accounted for.
///
/// Without --connections, --window, --rate and --idle: a table of usual loads. The journal lies in the directory for
/// temporary files (TMPDIR); its disk decides.
#[derive(Debug, Parser)]
#[command(name = "load", bin_name = "cargo bench --bench load --")]
struct Options {
    /// Where the gateway puts events
    #[arg(long, value_enum, default_value = "journal")]
    sink: Sink,
    /// A Kafka, HOST:PORT[,…], for topics of this run that are deleted afterwards [default: one started by tests/kafka/broker]
    #[arg(long, value_name = "HOST:PORT")]
    brokers: Option<String>,
    /// What the fleet speaks
    #[arg(long, value_enum, default_value = "both")]
    protocol: Protocols,
    /// Devices [default: 100; with --rate and --idle 1000]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=i64::from(device::MOST)))]
    connections: Option<u32>,
    /// Closed loop: unacknowledged positions of each connection [default: 32]
    #[arg(long, value_name = "W", value_parser = clap::value_parser!(u16).range(1..=1024), conflicts_with_all = ["rate", "idle"])]
    window: Option<u16>,
    /// Open loop: positions a second, over all connections
    #[arg(long, value_name = "R", value_parser = clap::value_parser!(u32).range(1..=1_000_000), conflicts_with = "idle")]
    rate: Option<u32>,
    /// Signed on and silent
    #[arg(long)]
    idle: bool,
    /// How long each run is measured [default: 10; for the table 3]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=3600))]
    seconds: Option<u64>,
    /// How long it runs before that [default: 2; for the table 1]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(0..=600))]
    warmup: Option<u64>,
    /// What cargo adds
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    fn protocols(&self) -> &'static [Protocol] {
        match self.protocol {
            Protocols::Gt06 => &[Protocol::Gt06],
            Protocols::Jt808 => &[Protocol::Jt808],
            Protocols::Both => &[Protocol::Gt06, Protocol::Jt808],
        }
    }

    fn runs(&self) -> Vec<Run> {
        let table = self.connections.is_none() && self.window.is_none() && self.rate.is_none() && !self.idle;
        let (loads, seconds, warmup) = if table {
            (vec![(Load::Closed(32), 100), (Load::Closed(8), 1000), (Load::Open(2000), 1000), (Load::Idle, 1000)], 3, 1)
        } else {
            let (load, usual) = match self.rate {
                Some(rate) => (Load::Open(rate), 1000),
                None if self.idle => (Load::Idle, 1000),
                None => (Load::Closed(usize::from(self.window.unwrap_or(32))), 100),
            };
            (vec![(load, self.connections.unwrap_or(usual))], 10, 2)
        };
        let (measured, warmup) = (self.seconds.unwrap_or(seconds), self.warmup.unwrap_or(warmup));
        let (measured, warmup) = (Duration::from_secs(measured), Duration::from_secs(warmup));
        let run = |protocol: Protocol, (load, connections)| Run { protocol, load, connections, warmup, measured };
        self.protocols().iter().flat_map(|protocol| loads.iter().map(|load| run(*protocol, *load))).collect()
    }
}

fn main() -> ExitCode {
    // cargo says so to benches; run as a test, this proves itself
    let done = if std::env::args().any(|argument| argument == "--bench") { measure() } else { check() };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(e) => {
            eprintln!("load: {e}");
            ExitCode::FAILURE
        }
    }
}

fn measure() -> Result<bool, String> {
    let options = Options::parse();
    if options.brokers.is_some() && matches!(options.sink, Sink::Journal) {
        Options::command().error(ErrorKind::ArgumentConflict, "--brokers is for --sink kafka").exit();
    }
    let runs = options.runs();
    allow_files(runs.iter().map(|run| run.connections).max().unwrap_or_default())?;
    let store = match options.sink {
        Sink::Journal => Store::Journal,
        Sink::Kafka => Store::kafka(options.brokers.as_deref())?,
    };
    execute(&runs, store)
}

/// Short runs of each kind, and what each part says of itself.
fn check() -> Result<bool, String> {
    latency::check()?;
    device::check()?;
    run::check()?;
    let (warmup, measured) = (Duration::from_millis(100), Duration::from_millis(400));
    let loads = [(Load::Closed(100), 4), (Load::Closed(1), 8), (Load::Open(200), 8), (Load::Idle, 8)];
    let run = |protocol, (load, connections)| Run { protocol, load, connections, warmup, measured };
    let runs: Vec<_> =
        [Protocol::Gt06, Protocol::Jt808].iter().flat_map(|protocol| loads.map(|load| run(*protocol, load))).collect();
    execute(&runs, Store::Journal)
}

/// Run them one after the other, and print. Whether all is well.
fn execute(runs: &[Run], store: Store) -> Result<bool, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("no runtime: {e}"))?;
    runtime.block_on(async {
        let told = |e: std::io::Error| format!("cannot hear signals: {e}");
        let (mut int, mut term) = (signal(SignalKind::interrupt()).map_err(told)?, signal(SignalKind::terminate()).map_err(told)?);
        let mut report = Report::new(&store.name());
        let fleet = LocalSet::new();
        let ran = tokio::select! {
            ran = fleet.run_until(run_all(runs, &store, &mut report)) => ran,
            _ = int.recv() => Err("ended by SIGINT".to_owned()),
            _ = term.recv() => Err("ended by SIGTERM".to_owned()),
        };
        let printed = report.print();
        let cleaned = store.clean_up().await;
        ran.and(printed).and(cleaned)?;
        Ok(report.is_well())
    })
}

async fn run_all(runs: &[Run], store: &Store, report: &mut Report) -> Result<(), String> {
    for (n, run) in runs.iter().enumerate() {
        eprintln!("{} of {}: {run}", n + 1, runs.len());
        report.add(run.execute(store).await.map_err(|e| format!("{run}: {e}"))?);
    }
    Ok(())
}

/// Make sure that this process, and the gateway after it, may have so many connections.
fn allow_files(connections: u32) -> Result<(), String> {
    let needed = u64::from(connections) + OTHER_FILES;
    let allowed = || {
        let limits = std::fs::read_to_string("/proc/self/limits").ok()?;
        let line = limits.lines().find_map(|line| line.strip_prefix("Max open files"))?;
        line.split_ascii_whitespace().next()?.parse::<u64>().ok()
    };
    if allowed().is_some_and(|n| n < needed) {
        let (pid, limit) = (format!("--pid={}", std::process::id()), format!("--nofile={needed}:"));
        // whether it worked is looked at below
        let _ = Command::new("prlimit").args([pid, limit]).status();
    }
    match allowed() {
        Some(n) if n < needed => {
            Err(format!("{connections} connections need {needed} open files, and {n} are allowed: see `ulimit -n`"))
        }
        _ => Ok(()),
    }
}
