//! How long the way down takes, an order's way up, and a reconnect storm: two instances behind HAProxy, a real Kafka, a fleet
//! that reports.
//!
//! ```text
//! cargo bench --bench commands                      9000 devices, 1000 positions/s, 20 orders/s
//! cargo bench --bench commands -- 500 200 20 10     devices, positions/s, orders/s, seconds
//! cargo test --bench commands                       whether this tool itself is right, in seconds
//! ```
//!
//! - Command: from before it is given to the producer until the taxi has read it off its socket. Offers, and the word to the
//!   driver who took one that somebody else was faster.
//! - Order: from before the driver's answer is written to the socket until a consumer has read its record.
//! - Raw: a record of the same size from before it is given to a producer until the same consumer has read it; what Kafka and
//!   this machine take without any gateway.
//! - Storm: all devices are cut off at once and sign on again, so many at a time; until the last is acknowledged.
//!
//! Fleet, backend, Kafka and HAProxy share the machine with the gateways, and the figures have them in them. It fails if a
//! command does not arrive, an answer is not readable, or a position is not acknowledged. A fleet of 9000 needs 20 000 open
//! files (`ulimit -n`), for HAProxy has two of each device.

#[path = "../load/device.rs"]
#[expect(dead_code, reason = "the load bench needs all of it")]
mod device;
mod dispatch;
#[path = "../load/fleet.rs"]
#[expect(dead_code, reason = "the load bench needs all of it")]
mod fleet;
#[path = "../../tests/e2e/harness/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests need all of it")]
mod harness;
#[path = "../load/latency.rs"]
#[expect(dead_code, reason = "the load bench checks it")]
mod latency;
mod taxi;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use dispatch::Dispatch;
use fleet::{Pace, Tally, Times};
use harness::gateway::{Gateway, Setup};
use harness::haproxy::Balancer;
use harness::kafka::shared;
use harness::{unique, until};
use latency::Histogram;

/// What the fleet speaks.
const FLEET: device::Protocol = device::Protocol::Jt808;
/// Devices that sign on at the same time in a storm.
const STORM: usize = 256;
/// Before anything is measured: the group gathers, connections between the instances come up, caches get warm.
const WARM_UP: Duration = Duration::from_secs(5);
/// Between what is measured and the storm.
const SETTLE: Duration = Duration::from_secs(1);
/// For what is on its way when nothing more is sent.
const DRAIN: Duration = Duration::from_secs(20);
/// As many as a gateway makes unless told otherwise.
const PARTITIONS: u32 = 12;

/// One run.
#[derive(Debug, Clone, Copy)]
struct Run {
    devices: u32,
    positions_per_second: u32,
    orders_per_second: u32,
    measured: Duration,
}

fn main() -> ExitCode {
    let bench = std::env::args().any(|argument| argument == "--bench");
    let mut told = std::env::args().skip(1).filter_map(|a| a.parse::<u32>().ok());
    let mut next = |otherwise| told.next().unwrap_or(otherwise);
    // run as a test, this proves itself
    let run = if bench {
        Run {
            devices: next(9000),
            positions_per_second: next(1000),
            orders_per_second: next(20),
            measured: Duration::from_secs(next(30).into()),
        }
    } else {
        Run { devices: 20, positions_per_second: 20, orders_per_second: 5, measured: Duration::from_secs(2) }
    };
    match execute(run) {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("commands: {e}");
            ExitCode::FAILURE
        }
    }
}

fn execute(run: Run) -> Result<(), String> {
    let prefix = unique("bench-commands");
    let gateways = ["gw-1", "gw-2"].map(|id| {
        let mut setup = Setup::kafka(id, shared(), &prefix);
        setup.partitions = PARTITIONS;
        taxi::PROTOCOLS.iter().fold(setup, |setup, protocol| setup.listen_behind_proxy(protocol)).start()
    });
    let balancer = Balancer::for_devices(run.devices + 100, &taxi::PROTOCOLS, &[&gateways[0], &gateways[1]]);
    let mut dispatch = Dispatch::start(&prefix, |protocol| balancer.address(protocol));
    let known = dispatch.taxis[0].clone();
    until("both to be homes", || gateways.iter().all(|g| !g.partitions_beside(&known).is_empty()).then_some(()));

    let to = balancer.address(FLEET.name());
    let stormed = std::thread::scope(|scope| {
        let (signed_on, is_signed_on) = std::sync::mpsc::channel();
        let fleet = scope.spawn(move || report_and_storm(run, to, &signed_on));
        // if the fleet fails, it says why itself
        let _ = is_signed_on.recv();
        let measured = dispatch.run(run.orders_per_second, WARM_UP, run.measured);
        let stormed = fleet.join().map_err(|_| "the fleet fell over".to_owned())?;
        measured.and(stormed)
    })?;
    let latencies = dispatch.finish(DRAIN)?;
    println!(
        "{} devices, {} positions/s and {} orders/s for {} s; two gateways, HAProxy, one broker",
        run.devices,
        run.positions_per_second,
        run.orders_per_second,
        run.measured.as_secs()
    );
    for (what, histogram) in &latencies {
        print(what, histogram);
    }
    print("position due to acknowledged", &stormed.positions);
    println!("reconnect storm: {} devices registered in {:.2} s, {:.0}/s", run.devices, stormed.seconds, stormed.per_second);
    for gateway in &gateways {
        println!("{}: {}", gateway.id(), kept(gateway));
    }
    Ok(())
}

fn print(what: &str, histogram: &Histogram) {
    let at = |per_mille| histogram.per_mille_ms(per_mille);
    let (p50, p90, p99, most) = (at(500), at(900), at(990), histogram.max_ms());
    println!("{what:50} {:6} measured   p50 {p50:6.1}   p90 {p90:6.1}   p99 {p99:6.1}   most {most:6.1} ms", histogram.count());
}

/// What a gateway says of what it has counted.
fn kept(gateway: &Gateway) -> String {
    let ledger = gateway.ledger();
    format!("{} frames received, {} stored, {} unaccounted", ledger["received"], ledger["stored"], ledger["unaccounted"])
}

struct Stormed {
    positions: Histogram,
    seconds: f64,
    per_second: f64,
}

fn report_and_storm(run: Run, to: SocketAddr, signed_on: &std::sync::mpsc::Sender<()>) -> Result<Stormed, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| format!("no runtime: {e}"))?;
    LocalSet::new().block_on(&runtime, async {
        let tally = Rc::new(Tally::default());
        let lines = fleet::sign_on(FLEET, run.devices, fleet::SIGNING_ON, to, &tally).await?;
        let _ = signed_on.send(());
        let start = Instant::now();
        let from = start + WARM_UP;
        let times = Times { start, from, to: from + run.measured };
        let turn = Duration::from_secs(1) / run.positions_per_second;
        let mut drives = JoinSet::new();
        for (n, line) in (0..).zip(lines) {
            drives.spawn_local(line.drive(Pace::Open { every: turn * run.devices, phase: turn * n }, times));
        }
        let mut open = Vec::new();
        while let Some(driven) = drives.join_next().await {
            let (line, complaint) = driven.map_err(|e| e.to_string())?;
            if let Some(complaint) = complaint {
                return Err(format!("a device: {complaint}"));
            }
            open.push(line);
        }
        // what was offered last is over by now
        tokio::time::sleep(SETTLE).await;
        drop(open);
        let cut = Instant::now();
        let again = fleet::sign_on(FLEET, run.devices, STORM, to, &tally).await?;
        let seconds = cut.elapsed().as_secs_f64();
        drop(again);
        Ok(Stormed { positions: tally.latency.take(), seconds, per_second: f64::from(run.devices) / seconds })
    })
}
