//! The order business as a whole: a backend on one side, taxis of two protocols on the other, HAProxy, three instances and a
//! real Kafka between. Whatever is killed, paused or moved: every command has one outcome, and no driver's word is lost.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::backend::Backend;
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::haproxy::Balancer;
use crate::harness::kafka::shared;
use crate::harness::taxi::{KINDS, Taxi, Until};
use crate::harness::{unique, until};
use crate::proxy;

/// Partitions of the commands topic, as the harness configures them.
const PARTITIONS: usize = 4;

/// Number of the first order.
const FIRST: u32 = 1000;

struct Cluster {
    prefix: String,
    gateways: Vec<Gateway>,
    balancer: Balancer,
    taxis: Vec<Taxi>,
    backend: Backend,
}

fn gateway(n: usize, prefix: &str) -> Gateway {
    let setup = Setup::kafka(&format!("gw-{n}"), shared(), prefix);
    KINDS.iter().fold(setup, |setup, protocol| setup.listen_behind_proxy(protocol)).start()
}

impl Cluster {
    fn start(name: &str, instances: usize) -> Self {
        let prefix = unique(name);
        let gateways: Vec<_> = (1..=instances).map(|n| gateway(n, &prefix)).collect();
        let balancer = Balancer::start(&KINDS, &gateways.iter().collect::<Vec<_>>());
        let backend = Backend::new(&prefix);
        Self { prefix, gateways, balancer, taxis: Vec::new(), backend }
    }

    /// So many taxis of each protocol sign on, one after the other: the balancer spreads them evenly.
    fn taxis(&mut self, each: u32, until: impl Fn(u32) -> Until) {
        for protocol in KINDS {
            for n in 0..each {
                let mut taxi = Taxi::new(protocol, n, self.balancer.address(protocol), until(n));
                taxi.sign_on();
                self.taxis.push(taxi);
            }
        }
    }

    /// Offer each taxi an order of its own; an order is named after its taxi.
    fn offer_each(&mut self, seconds: i64) {
        for (order, taxi) in (FIRST..).zip(&self.taxis) {
            self.backend.offer(order, &taxi.id, seconds);
        }
    }

    /// Commands for devices that are not there, of all partitions, and a text for each taxi.
    fn texts(&mut self, name: &str, absent: usize, seconds: i64) {
        for n in 0..absent {
            let (id, device) = (format!("{name}-absent-{n}"), format!("1388888{n:04}"));
            self.backend.command(&id, &device, "text", &json!({"text": "hello"}), seconds);
        }
        for taxi in &self.taxis {
            self.backend.command(&format!("{name}-{}", taxi.id), &taxi.id, "text", &json!({"text": "hello"}), seconds);
        }
    }

    /// Everybody does what there is to do until this is true.
    fn run_until(&mut self, what: &str, mut enough: impl FnMut(&Self) -> bool) {
        until(what, || {
            self.taxis.iter_mut().for_each(Taxi::look);
            self.backend.look();
            enough(self).then_some(())
        });
    }

    fn orders(&self) -> impl Iterator<Item = (u32, &Taxi)> {
        (FIRST..).zip(&self.taxis)
    }

    fn all_have_done(&self) -> bool {
        self.orders().all(|(order, taxi)| taxi.has_done(order))
    }

    /// Every order has ended in the topic, and every command too.
    fn all_is_over(&self) -> bool {
        let ended = |(order, taxi): (u32, &Taxi)| self.backend.actions(order, &taxi.id).last() == Some(&"completed");
        self.all_have_done() && self.backend.is_done() && self.orders().all(ended)
    }

    fn holder_of(&self, taxi: &Taxi) -> String {
        until("a taxi to be known to the cluster", || self.gateways.last().unwrap().holder_of(&taxi.id))
    }

    /// Every driver's word is in the topic, once and in order.
    fn assert_whole_stories(&self) {
        for (order, taxi) in self.orders() {
            let story: &[&str] = match taxi.protocol {
                "jt905" => &["accepted", "trip", "completed"],
                _ => &["accepted", "arrived", "picked_up", "completed"],
            };
            assert_eq!(self.backend.actions(order, &taxi.id), story, "{order} on {}", taxi.id);
        }
    }
}

/// What a failing test was waiting for.
impl Drop for Cluster {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            return;
        }
        eprintln!("--- commands without an outcome: {:?}", self.backend.open());
        eprintln!("--- not acknowledged: {:#?}", self.backend.others(["acknowledged", "offline"]));
        for (order, taxi) in self.orders().filter(|(order, taxi)| !taxi.has_done(*order)) {
            let actions = self.backend.actions(order, &taxi.id);
            eprintln!("{order} on {} until {:?}, in the topic {actions:?}: {:?}", taxi.id, taxi.until, taxi.orders);
        }
    }
}

#[test]
fn an_order_is_offered_taken_given_and_driven_to_its_end() {
    let mut cluster = Cluster::start("orders", 3);
    cluster.taxis(3, |_| Until::Finished);
    let holders: BTreeSet<_> = cluster.taxis.iter().map(|taxi| cluster.holder_of(taxi)).collect();
    assert_eq!(holders.len(), 3, "the taxis are on {holders:?}");
    cluster.offer_each(60);
    cluster.run_until("all orders to be over", Cluster::all_is_over);
    cluster.assert_whole_stories();
    for (order, taxi) in cluster.orders() {
        let (offer, assign) = (format!("offer-{order}-{}", taxi.id), format!("assign-{order}-{}", taxi.id));
        for id in [&offer, &assign] {
            let outcome = cluster.backend.outcome(id).unwrap();
            assert_eq!((&outcome["result"], &outcome["attempts"]), (&json!("acknowledged"), &json!(1)), "{id}: {outcome}");
            assert!(cluster.backend.has_told(id, "sent"), "{id}");
        }
        assert!(cluster.backend.has_told(&offer, "delivered"), "{offer}");
        let seen = &taxi.orders[&order];
        assert_eq!((seen.offered, seen.won, seen.lost), (1, 1, 0), "{order} on {}", taxi.id);
        for action in ["accepted", "completed"] {
            assert_eq!(cluster.backend.event(order, action).unwrap()["command_id"], offer, "{action}");
        }
        if let Some(trip) = cluster.backend.event(order, "trip") {
            assert_eq!(trip["fare"]["amount"], "23.5", "{trip}");
        }
    }
    cluster.backend.assert_one_outcome_each();
}

#[test]
fn one_of_many_drivers_who_race_for_an_order_gets_it() {
    let mut cluster = Cluster::start("orders-race", 3);
    cluster.taxis(15, |_| Until::Finished);
    for taxi in &cluster.taxis {
        cluster.backend.offer(FIRST, &taxi.id, 60);
    }
    cluster.run_until("all to be told, and one to be done", |c| {
        let told = c.taxis.iter().filter_map(|t| t.orders.get(&FIRST)).filter(|seen| seen.won + seen.lost > 0).count();
        told == c.taxis.len() && c.backend.event(FIRST, "completed").is_some() && c.backend.is_done()
    });
    let winner = cluster.backend.winner(FIRST).unwrap();
    for taxi in &cluster.taxis {
        let seen = &taxi.orders[&FIRST];
        let told = if taxi.id == winner { (1, 1, 0) } else { (1, 0, 1) };
        assert_eq!((seen.offered, seen.won, seen.lost), told, "{}", taxi.id);
        for name in ["offer", "assign"] {
            assert_eq!(cluster.backend.result(&format!("{name}-{FIRST}-{}", taxi.id)), "acknowledged", "{name} {}", taxi.id);
        }
        let actions = cluster.backend.actions(FIRST, &taxi.id);
        assert_eq!(actions.first(), Some(&"accepted"));
        assert_eq!(actions.contains(&"completed"), taxi.id == winner, "{actions:?}");
    }
    cluster.backend.assert_one_outcome_each();
}

#[test]
fn a_taxi_that_moves_between_offer_acceptance_and_assignment_loses_nothing() {
    let mut cluster = Cluster::start("orders-move", 3);
    // HAProxy would choose by itself, so here its words are ours
    let place = |cluster: &Cluster, n: usize, protocol: &str| cluster.gateways[n % 3].address(protocol);
    for protocol in KINDS {
        for n in 0..6 {
            let mut taxi = Taxi::new(protocol, n, place(&cluster, n as usize, protocol), Until::Receipted);
            taxi.move_to(place(&cluster, n as usize, protocol), proxy::v2(), false);
            cluster.taxis.push(taxi);
        }
    }
    let move_all = |cluster: &mut Cluster, by: usize| {
        for n in 0..cluster.taxis.len() {
            let to = place(cluster, n + by, cluster.taxis[n].protocol);
            // every other connection ends, the rest look alive to the old instance
            cluster.taxis[n].move_to(to, proxy::v2(), n % 2 == 0);
        }
    };
    cluster.offer_each(60);
    let orders: Vec<_> = cluster.orders().map(|(order, taxi)| (order, format!("offer-{order}-{}", taxi.id))).collect();
    cluster.backend.held = orders.iter().map(|(order, _)| order.to_string()).collect();
    cluster.run_until("the offers to be shown", |c| {
        c.all_have_done() && orders.iter().all(|(_, offer)| c.backend.has_told(offer, "delivered"))
    });
    move_all(&mut cluster, 1);
    cluster.taxis.iter_mut().for_each(|taxi| taxi.until = Until::Accepted);
    cluster.run_until("the offers to be taken", |c| c.all_have_done() && c.backend.is_done());
    for (_, offer) in &orders {
        assert_eq!(cluster.backend.result(offer), "acknowledged", "{offer}: {:?}", cluster.backend.outcome(offer));
    }
    move_all(&mut cluster, 2);
    cluster.backend.held.clear();
    cluster.taxis.iter_mut().for_each(|taxi| taxi.until = Until::Finished);
    cluster.run_until("all orders to be over", Cluster::all_is_over);
    cluster.assert_whole_stories();
    for (order, taxi) in cluster.orders() {
        let seen = &taxi.orders[&order];
        assert_eq!((seen.offered, seen.lost), (1, 0), "{order} on {}", taxi.id);
        assert_eq!(cluster.backend.result(&format!("assign-{order}-{}", taxi.id)), "acknowledged");
    }
    cluster.backend.assert_one_outcome_each();
}

#[test]
fn an_answer_counts_also_over_an_instance_that_the_home_never_spoke_to() {
    let mut cluster = Cluster::start("orders-strangers", 3);
    for (n, protocol) in KINDS.into_iter().enumerate() {
        let to = cluster.gateways[n].address(protocol);
        let mut taxi = Taxi::new(protocol, 0, to, Until::Receipted);
        taxi.move_to(to, proxy::v2(), false);
        cluster.taxis.push(taxi);
    }
    let known = cluster.taxis[0].id.clone();
    cluster.run_until("all to be homes", |c| c.gateways.iter().all(|g| g.partitions_beside(&known) > 0));
    cluster.offer_each(20);
    cluster.run_until("the offers to be shown", |c| c.all_have_done());
    for n in 0..cluster.taxis.len() {
        let id = cluster.taxis[n].id.clone();
        let is_home = |gateway: &&Gateway| gateway.known(&id)["open_commands"].as_array().is_some_and(|open| !open.is_empty());
        let home = until("the home to tell", || cluster.gateways.iter().find(is_home).map(|g| g.id().to_owned()));
        let stranger = cluster.gateways.iter().enumerate().find(|(at, g)| *at != n && g.id() != home).unwrap().1;
        let to = stranger.address(cluster.taxis[n].protocol);
        cluster.taxis[n].move_to(to, proxy::v2(), false);
        cluster.taxis[n].until = Until::Finished;
    }
    cluster.run_until("all orders to be over", Cluster::all_is_over);
    cluster.assert_whole_stories();
    for (order, taxi) in cluster.orders() {
        let offer = format!("offer-{order}-{}", taxi.id);
        assert_eq!(cluster.backend.result(&offer), "acknowledged", "{:?}", cluster.backend.outcome(&offer));
    }
    cluster.backend.assert_one_outcome_each();
}

#[test]
fn a_killed_instance_costs_no_command_its_outcome_and_no_driver_an_order() {
    let mut cluster = Cluster::start("orders-kill", 3);
    // three of each protocol go as far as each step, one on each instance
    cluster.taxis(18, |n| Until::ALL[n as usize / 3]);
    cluster.backend.held =
        cluster.orders().filter(|(_, taxi)| taxi.until == Until::Accepted).map(|(order, _)| order.to_string()).collect();
    cluster.offer_each(45);
    cluster.run_until("every driver to be where the driver stands", Cluster::all_have_done);
    let there: BTreeSet<_> =
        cluster.taxis.iter().filter(|taxi| cluster.holder_of(taxi) == "gw-1").map(|taxi| (taxi.protocol, taxi.until)).collect();
    assert_eq!(there.len(), KINDS.len() * Until::ALL.len(), "only {there:?} on gw-1");
    let known = cluster.taxis[0].id.clone();
    cluster.run_until("all to be homes", |c| c.gateways.iter().all(|g| g.partitions_beside(&known) > 0));
    // some on their way, and what waits for nobody
    cluster.texts("late", 80, 30);
    cluster.backend.flush();
    cluster.gateways[0].kill();
    cluster.backend.held.clear();
    cluster.taxis.iter_mut().for_each(|taxi| taxi.until = Until::Finished);
    cluster.run_until("all orders to be over and all commands to end", Cluster::all_is_over);
    println!("after kill -9: {:?}", cluster.backend.results());
    cluster.assert_whole_stories();
    cluster.gateways[0].restart();
    cluster.run_until("the killed one to be a home again", |c| c.gateways[0].partitions_beside(&known) > 0);
    cluster.texts("end", 40, 1);
    cluster.run_until("the last commands to end", |c| c.backend.is_done());
    cluster.backend.assert_one_outcome_each();
}

/// The offers' bytes are on the sockets, and the instance is gone with them.
#[test]
fn an_offer_is_known_everywhere_though_its_instance_dies_as_it_is_shown() {
    let mut cluster = Cluster::start("orders-first-byte", 2);
    for protocol in KINDS {
        for n in 0..4 {
            let to = cluster.gateways[0].address(protocol);
            let mut taxi = Taxi::new(protocol, n, to, Until::Shown);
            taxi.move_to(to, proxy::v2(), false);
            cluster.taxis.push(taxi);
        }
    }
    let known = cluster.taxis[0].id.clone();
    cluster.run_until("both to be homes", |c| c.gateways.iter().all(|g| g.partitions_beside(&known) > 0));
    for round in 0..2_u32 {
        let holder = round as usize;
        let orders: Vec<_> = (0..).zip(&cluster.taxis).map(|(n, taxi)| (FIRST + 100 * round + n, taxi.id.clone())).collect();
        for (order, id) in &orders {
            cluster.backend.offer(*order, id, 60);
        }
        cluster.backend.flush();
        // nothing but the screens is looked at: the next instruction kills
        let begun = std::time::Instant::now();
        while cluster.taxis.iter().zip(&orders).any(|(taxi, (order, _))| !taxi.orders.contains_key(order)) {
            cluster.taxis.iter_mut().for_each(Taxi::look);
            assert!(begun.elapsed() < crate::harness::PATIENCE, "the offers are not shown");
        }
        cluster.gateways[holder].kill();
        for taxi in &mut cluster.taxis {
            taxi.until = Until::Finished;
            let to = cluster.gateways[1 - holder].address(taxi.protocol);
            taxi.move_to(to, proxy::v2(), false);
        }
        // the backend of the tests refuses an answer that names no order
        cluster.run_until("all orders to be over", |c| {
            orders.iter().all(|(order, id)| c.backend.actions(*order, id).last() == Some(&"completed"))
        });
        for (order, id) in &orders {
            let event = cluster.backend.event(*order, "accepted").unwrap();
            assert_eq!(event["command_id"], format!("offer-{order}-{id}"), "{event}");
        }
        cluster.taxis.iter_mut().for_each(|taxi| taxi.until = Until::Shown);
        cluster.gateways[holder].restart();
        cluster.run_until("it to be a home again", |c| c.gateways[holder].partitions_beside(&known) > 0);
    }
    cluster.run_until("all commands to end", |c| c.backend.is_done());
    cluster.backend.assert_one_outcome_each();
}

#[test]
fn an_instance_that_hung_writes_no_second_outcome() {
    let mut cluster = Cluster::start("orders-pause", 3);
    cluster.taxis(6, |_| Until::Finished);
    let known = cluster.taxis[0].id.clone();
    let homes = |c: &Cluster, from: usize| c.gateways[from..].iter().map(|g| g.partitions_beside(&known)).collect::<Vec<_>>();
    cluster.run_until("all to be homes", |c| homes(c, 0).iter().all(|n| *n > 0) && homes(c, 0).iter().sum::<usize>() == PARTITIONS);
    let elsewhere: Vec<_> = cluster.orders().filter(|(_, t)| cluster.holder_of(t) != "gw-1").map(|(order, _)| order).collect();
    assert!(elsewhere.len() < cluster.taxis.len(), "gw-1 has no taxi");
    cluster.offer_each(40);
    cluster.texts("before", 60, 15);
    cluster.backend.flush();
    cluster.gateways[0].pause();
    cluster.texts("during", 60, 15);
    cluster.run_until("the others to take over", |c| homes(c, 1).iter().sum::<usize>() == PARTITIONS);
    cluster.gateways[0].resume();
    cluster.run_until("all commands to end", |c| c.backend.is_done());
    println!("after SIGSTOP and SIGCONT: {:?}", cluster.backend.results());
    for order in elsewhere {
        let taxi = &cluster.taxis[(order - FIRST) as usize];
        assert_eq!(cluster.backend.result(&format!("offer-{order}-{}", taxi.id)), "acknowledged", "{order} on {}", taxi.id);
    }
    cluster.run_until("it to be a home again", |c| homes(c, 0)[0] > 0 && homes(c, 0).iter().sum::<usize>() == PARTITIONS);
    cluster.texts("end", 40, 1);
    cluster.run_until("the last commands to end", |c| c.backend.is_done());
    cluster.backend.assert_one_outcome_each();
}

/// Of the burst: for devices that are there, each so many; the rest for others that are not.
const BURST: usize = 10_000;
const EACH: usize = 25;

#[test]
fn a_burst_while_an_instance_joins_has_one_outcome_for_each_command() {
    let mut cluster = Cluster::start("orders-burst", 2);
    cluster.taxis(50, |_| Until::Finished);
    let taxis: Vec<_> = cluster.taxis.iter().map(|taxi| taxi.id.clone()).collect();
    let mut joined = false;
    for n in 0..BURST {
        let (device, seconds) = match taxis.get(n % (BURST / EACH)) {
            Some(taxi) => (taxi.clone(), 80),
            None => (format!("1389{n:07}"), 20),
        };
        cluster.backend.command(&format!("c-{n}"), &device, "text", &json!({"text": "hello"}), seconds);
        if n > BURST / 2 && !joined {
            joined = true;
            let third = gateway(3, &cluster.prefix);
            cluster.gateways.push(third);
        }
    }
    cluster.run_until("all commands to end", |c| c.backend.is_done());
    println!("of a burst: {:?}", cluster.backend.results());
    assert!(cluster.gateways[2].partitions_beside(&taxis[0]) > 0, "the third is the home of nothing");
    let shown: usize = cluster.taxis.iter().map(|taxi| taxi.texts).sum();
    assert_eq!(shown, EACH * taxis.len(), "texts on screens");
    assert_eq!(cluster.backend.results()["acknowledged"], shown);
    cluster.backend.assert_one_outcome_each();
}
