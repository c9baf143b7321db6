//! How long the way down takes, and an order's way up: two instances behind HAProxy, a real Kafka, a fleet that reports.
//!
//! ```text
//! cargo bench --bench commands              100 devices that report as fast as they are acknowledged
//! cargo bench --bench commands -- 500       so many
//! ```
//!
//! - Command: from before it is given to the producer until its bytes are off the device's socket.
//! - Order: from the driver's answer on the socket until a consumer has read its record.
//!
//! One after the other, over all measured taxis. Fleet, backend, Kafka and HAProxy share the machine with the gateways, and
//! the figures have them in them. It prints and asserts nothing.

#[path = "../tests/e2e/harness/mod.rs"]
#[expect(dead_code, reason = "the end-to-end tests need all of it")]
mod harness;

use std::time::{Duration, Instant};

use serde_json::json;

use harness::backend::Backend;
use harness::device::Device;
use harness::gateway::Setup;
use harness::haproxy::Balancer;
use harness::kafka::{Reader, shared};
use harness::load::Fleet;
use harness::taxi::{KINDS, Taxi, Until};
use harness::{PATIENCE, unique, until};

/// Devices that report, unless told otherwise.
const DEVICES: u32 = 100;
/// Taxis of each protocol that are measured.
const TAXIS: u32 = 5;
/// Commands for each of them.
const ROUNDS: u32 = 40;
/// The first commands of each wait for the group to gather, and for connections between the instances.
const WARM_UP: u32 = 4;
/// How long a reader waits at most for what it looks for, before it looks again.
const LOOK: Duration = Duration::from_millis(1);

fn main() {
    let count = std::env::args().skip(1).find_map(|a| a.parse().ok()).unwrap_or(DEVICES);
    let prefix = unique("bench-commands");
    let gateways = ["gw-1", "gw-2"].map(|id| {
        let setup = Setup::kafka(id, shared(), &prefix);
        KINDS.iter().fold(setup, |setup, protocol| setup.listen_behind_proxy(protocol)).start()
    });
    let balancer = Balancer::start(&KINDS, &[&gateways[0], &gateways[1]]);
    let mut backend = Backend::new(&prefix);
    let mut orders = Reader::new(shared(), &prefix, &["orders"]);
    let mut taxis: Vec<_> = KINDS
        .into_iter()
        .flat_map(|protocol| (0..TAXIS).map(move |n| (protocol, n)))
        .map(|(protocol, n)| Taxi::new(protocol, n, balancer.address(protocol), Until::Accepted))
        .collect();
    taxis.iter_mut().for_each(Taxi::sign_on);
    let known = taxis[0].id.clone();
    until("both to be homes", || gateways.iter().all(|g| g.partitions_beside(&known) > 0).then_some(()));

    let fleet = Fleet::start((0..count).map(|n| Device::new("jt808", n)), |protocol| balancer.address(protocol));
    let (begun, before) = (Instant::now(), fleet.ledger.len());
    let mut commands = Vec::new();
    for round in 0..ROUNDS {
        for taxi in &mut taxis {
            let (shown, at) = (taxi.texts, Instant::now());
            backend.command(&format!("text-{round}-{}", taxi.id), &taxi.id, "text", &json!({"text": "hello"}), 60);
            backend.flush();
            let taken = wait(at, || {
                taxi.look();
                taxi.texts > shown
            });
            commands.extend(taken.filter(|_| round >= WARM_UP));
        }
    }
    let mut actions = Vec::new();
    for round in 0..ROUNDS / 4 {
        for (n, taxi) in (0..).zip(&mut taxis) {
            let order = 1000 + round * 100 + n;
            backend.offer(order, &taxi.id, 60);
            backend.flush();
            let shown = Instant::now();
            if wait(shown, || {
                taxi.look();
                taxi.orders.contains_key(&order)
            })
            .is_none()
            {
                continue;
            }
            // the driver answers as soon as the offer is shown
            let at = Instant::now();
            let is_it = |value: &serde_json::Value| value["order"]["order_id"] == *order.to_string();
            let taken = wait(at, || {
                orders.take(LOOK);
                orders.records.iter().rev().any(|record| is_it(&record.value))
            });
            actions.extend(taken);
            taxi.orders.clear();
            taxi.look();
        }
    }
    let rate = (fleet.ledger.len() - before) as f64 / begun.elapsed().as_secs_f64();
    fleet.stop();
    println!("{count} devices report {rate:.0} positions/s; {} taxis are measured", taxis.len());
    report("command produced to bytes on the device's socket", commands);
    report("order action on the socket to its record readable", actions);
}

/// How long it takes until this is true; nothing if it does not come true.
fn wait(since: Instant, mut done: impl FnMut() -> bool) -> Option<Duration> {
    while !done() {
        if since.elapsed() >= PATIENCE {
            return None;
        }
        std::thread::yield_now();
    }
    Some(since.elapsed())
}

fn report(what: &str, mut taken: Vec<Duration>) {
    taken.sort();
    let at = |percent: usize| taken.get((taken.len() * percent / 100).min(taken.len().saturating_sub(1)));
    println!("{what}: {} measured, p50 {:?}, p99 {:?}, most {:?}", taken.len(), at(50), at(99), taken.last());
}
