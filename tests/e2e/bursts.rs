//! Many commands at once, while instances come and go, and while Kafka itself is killed.

use std::time::{Duration, Instant};

use crate::harness::cluster::{Cluster, text_id};
use crate::harness::kafka::Broker;
use crate::harness::taxi::{KINDS, Until};

/// Commands of a burst: for devices that are there, each so many; the rest for others that are not.
const BURST: usize = 10_000;
const EACH: usize = 25;
/// Cars of each protocol.
const CARS: u32 = 25;
/// Produced between two looks at who has to come or go.
const AT_ONCE: usize = 100;

#[test]
fn a_burst_while_instances_come_and_go_has_one_outcome_for_each_command() {
    let mut cluster = Cluster::start("orders-burst", 3);
    cluster.taxis_of_each(CARS, |_| Until::Finished);
    cluster.await_homes(0..3);
    let taxis: Vec<_> = cluster.taxis.iter().map(|taxi| taxi.id.clone()).collect();
    for n in 0..BURST {
        match taxis.get(n % (BURST / EACH)) {
            Some(taxi) => cluster.backend.text(&format!("c-{n}"), taxi, 60),
            None => cluster.backend.text(&format!("c-{n}"), &format!("1389{n:07}"), 30),
        }
        if n.is_multiple_of(AT_ONCE) {
            cluster.look();
        }
        // one leaves as it should and comes again, another crashes and comes again
        match n {
            _ if n == BURST / 8 => cluster.gateways[2].terminate(),
            _ if n == BURST / 2 => {
                cluster.gateways[1].kill();
                cluster.gateways[1].restart();
            }
            _ if n == BURST * 3 / 4 => {
                let status = cluster.gateways[2].wait();
                assert!(status.success(), "{status}");
                cluster.gateways[2].restart();
            }
            _ => {}
        }
    }
    cluster.run_until("all commands to end", |c| c.backend.is_done());
    println!("of a burst: {:?}", cluster.backend.results());
    cluster.await_homes(0..3);
    let results = cluster.backend.results();
    let of = |what: &str| results.get(what).copied().unwrap_or_default();
    // a text that was written when its connection ended may have been read or not, and is not written again
    let ended = [of("acknowledged"), of("unanswered"), of("unanswered instance_lost")];
    assert_eq!(ended.iter().sum::<usize>(), EACH * taxis.len(), "{results:?}");
    assert_eq!(of("offline"), BURST - EACH * taxis.len(), "{results:?}");
    let shown: usize = cluster.taxis.iter().map(|taxi| taxi.texts).sum();
    assert!((of("acknowledged")..=EACH * taxis.len()).contains(&shown), "{shown} texts on screens; {results:?}");
    cluster.assert_accounts();
}

/// Between two commands of a stream.
const PACE: Duration = Duration::from_millis(25);
/// A stream goes on for so long before and after its home leaves.
const FLOWS: Duration = Duration::from_secs(4);
/// From a command to its outcome while its home moves: members of a group hear of it by their next heartbeat, which is 1.5 s
/// away at most. Without a word of the one that leaves they would go on after 6 s.
const GAP: Duration = Duration::from_millis(4500);

#[test]
fn the_commands_of_a_home_that_is_told_to_end_go_on_at_once() {
    let mut cluster = Cluster::start("orders-term", 2);
    cluster.taxis("jt808", 6, |_| Until::Finished);
    cluster.await_homes(0..2);
    let home = cluster.homes(0..1).concat();
    let others: Vec<_> = cluster.taxis.iter().filter(|taxi| cluster.holder_of(taxi) == "gw-2").map(|t| t.id.clone()).collect();
    assert!(!others.is_empty());
    for (n, taxi) in others.iter().enumerate() {
        cluster.backend.places.insert(taxi.clone(), home[n % home.len()]);
    }
    let (begun, mut told, mut next) = (Instant::now(), false, 0);
    let mut open: Vec<(String, Instant)> = Vec::new();
    let mut longest = Duration::ZERO;
    while begun.elapsed() < 2 * FLOWS || !open.is_empty() {
        if begun.elapsed() < 2 * FLOWS && begun.elapsed() >= PACE * next {
            let id = format!("s-{next}");
            cluster.backend.text(&id, &others[next as usize % others.len()], 60);
            open.push((id, Instant::now()));
            next += 1;
        }
        if begun.elapsed() >= FLOWS && !std::mem::replace(&mut told, true) {
            cluster.gateways[0].terminate();
        }
        cluster.look();
        open.retain(|(id, at)| {
            longest = longest.max(at.elapsed());
            cluster.backend.outcome(id).is_none()
        });
        assert!(longest < GAP, "{open:?}\n{}", cluster.gateways[0].log());
    }
    println!("longest from command to outcome while its home left: {longest:?}");
    let status = cluster.gateways[0].wait();
    assert!(status.success(), "{status}");
    assert_eq!(cluster.backend.results()["acknowledged"], next as usize);
    cluster.assert_accounts();
}

/// Commands that are on their way while the broker is killed, and how many of them have ended by then.
const IN_FLIGHT: usize = 3000;
const ENDED: [usize; 2] = [300, 1500];

#[test]
fn a_broker_killed_amid_transactions_of_outcomes_costs_no_command_its_outcome() {
    let broker = Broker::start();
    let mut cluster = Cluster::start_at(&broker.bootstrap, "orders-broker", 2);
    cluster.taxis_of_each(5, |_| Until::Finished);
    cluster.await_homes(0..2);
    cluster.offer_each(80);
    let taxis: Vec<_> = cluster.taxis.iter().map(|taxi| taxi.id.clone()).collect();
    for n in 0..IN_FLIGHT {
        let taxi = &taxis[n % taxis.len()];
        match n % 3 {
            0 => cluster.backend.text(&format!("t-{n}"), taxi, 80),
            // for who is not there, each a little later
            _ => cluster.backend.text(&format!("t-{n}"), &format!("1389{n:07}"), 1 + (n * 20 / IN_FLIGHT) as i64),
        }
    }
    for ended in ENDED {
        cluster.run_until("some to end", |c| c.backend.results().values().sum::<usize>() >= ended);
        broker.kill();
        broker.restart();
    }
    cluster.run_until("all orders to be over and all commands to end", Cluster::all_is_over);
    println!("after the broker was killed: {:?}", cluster.backend.results());
    cluster.assert_whole_stories();
    cluster.await_homes(0..2);
    cluster.texts_for_absent("end", 40, 5);
    cluster.texts("end", 20);
    cluster.run_until("the last commands to end", |c| c.backend.is_done());
    for taxi in &cluster.taxis {
        assert_eq!(cluster.backend.result(&text_id("end", taxi)), "acknowledged", "{}", taxi.id);
    }
    cluster.assert_accounts();
}

/// Longer than a transaction may take, and than a member of the group may be silent. `E2E_HANG_S=24` is longer than a request waits
/// twice over; then the cluster also shuts the broker out when it goes on, and its clients are told of none.
fn hangs() -> Duration {
    let seconds = std::env::var("E2E_HANG_S").ok().and_then(|text| text.parse().ok());
    Duration::from_secs(seconds.unwrap_or(8))
}

/// As often as this: where exactly a client is by then is chance.
const TIMES: usize = 2;

#[test]
fn a_broker_that_hangs_costs_no_command_its_outcome_and_no_session_its_record() {
    let broker = Broker::start();
    let mut cluster = Cluster::start_at(&broker.bootstrap, "orders-hang", 3);
    for protocol in KINDS {
        (0..6).for_each(|n| cluster.taxi_on(protocol, n, n as usize, Until::Finished));
    }
    cluster.await_homes(0..3);
    for time in 0..TIMES {
        cluster.texts(&format!("before-{time}"), 120);
        let ended = cluster.backend.results().values().sum::<usize>();
        for n in 0..IN_FLIGHT {
            cluster.backend.text(&format!("h-{time}-{n}"), &format!("1389{n:07}"), 1 + (n * 10 / IN_FLIGHT) as i64);
        }
        cluster.run_until("some to end", |c| c.backend.results().values().sum::<usize>() >= ended + ENDED[0]);
        broker.pause();
        let paused = Instant::now();
        // a third goes where nobody can hear that it was elsewhere, a third stays away for as long as it hangs
        for taxi in 0..cluster.taxis.len() {
            match taxi % 3 {
                0 => cluster.place(taxi, taxi + time + 1, taxi.is_multiple_of(2)),
                1 => cluster.taxis[taxi].leave(),
                _ => {}
            }
        }
        cluster.run_until("it to have hung for long enough", |_| paused.elapsed() >= hangs());
        broker.resume();
        (0..cluster.taxis.len()).filter(|taxi| taxi % 3 == 1).for_each(|taxi| cluster.place(taxi, taxi + time + 1, false));
        // a text that goes to a connection that its car forgot is shown to nobody
        cluster.await_agreement();
        cluster.texts(&format!("after-{time}"), 60);
        cluster.run_until("all commands to end", |c| c.backend.is_done());
        for taxi in &cluster.taxis {
            assert_eq!(cluster.backend.result(&text_id(&format!("after-{time}"), taxi)), "acknowledged", "{}", taxi.id);
        }
    }
    println!("after the broker hung: {:?}", cluster.backend.results());
    cluster.assert_accounts();
}
