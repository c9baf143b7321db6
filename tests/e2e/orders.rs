//! The order business from the offer to the end of the trip, and what may come between: rivals, moves to other instances,
//! backends with other clients.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use crate::harness::backend::Keys;
use crate::harness::cluster::{Cluster, text_id};
use crate::harness::gateway::Gateway;
use crate::harness::taxi::{KINDS, Taxi, Until};
use crate::harness::until;

#[test]
fn an_order_is_offered_taken_given_and_driven_to_its_end() {
    let mut cluster = Cluster::start("orders", 3);
    cluster.taxis_of_each(3, |_| Until::Finished);
    let holders = cluster.holders();
    assert_eq!(holders.len(), 3, "the taxis are on {holders:?}");
    // the steps of a command whose home changes may go untold
    cluster.await_homes(0..3);
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
        for action in taxi.story() {
            assert_eq!(cluster.backend.event(order, action).unwrap()["command_id"], offer, "{action}");
        }
        if let Some(trip) = cluster.backend.event(order, "trip") {
            assert_eq!(trip["fare"]["amount"], "23.5", "{trip}");
        }
    }
    cluster.assert_accounts();
}

/// Drivers in the race.
const RIVALS: [(&str, u32); 4] = [("gps103", 12), ("h02", 12), ("jt808", 12), ("jt905", 14)];

#[test]
fn one_of_fifty_drivers_who_race_for_an_order_gets_it_and_the_others_are_told() {
    const ORDER: u32 = 1000;
    let mut cluster = Cluster::start("orders-race", 3);
    RIVALS.into_iter().for_each(|(protocol, count)| cluster.taxis(protocol, count, |_| Until::Finished));
    assert_eq!((cluster.taxis.len(), cluster.holders().len()), (50, 3), "drivers and their instances");
    for taxi in &cluster.taxis {
        cluster.backend.offer(ORDER, &taxi.id, 60);
    }
    cluster.run_until("all to be told, and one to be done", |c| {
        let told = c.taxis.iter().filter_map(|t| t.orders.get(&ORDER)).filter(|seen| seen.won + seen.lost > 0).count();
        let winner = c.taxis.iter().find(|taxi| c.backend.winner(ORDER) == Some(&taxi.id));
        let done = winner.is_some_and(|taxi| taxi.has_done(ORDER) && c.story(ORDER, taxi).last() == taxi.story().last());
        told == c.taxis.len() && done && c.backend.is_done()
    });
    let winner = cluster.backend.winner(ORDER).unwrap();
    for taxi in &cluster.taxis {
        let seen = &taxi.orders[&ORDER];
        let told = if taxi.id == winner { (1, 1, 0) } else { (1, 0, 1) };
        assert_eq!((seen.offered, seen.won, seen.lost), told, "{}", taxi.id);
        for name in ["offer", "assign"] {
            assert_eq!(cluster.backend.result(&format!("{name}-{ORDER}-{}", taxi.id)), "acknowledged", "{name} {}", taxi.id);
        }
        let story = if taxi.id == winner { taxi.story() } else { vec!["accepted"] };
        assert_eq!(cluster.story(ORDER, taxi), story, "{} of {}", taxi.id, taxi.protocol);
    }
    cluster.assert_accounts();
}

/// Every car is on another instance for each step. Half of the connections end before, the rest look alive to the instance
/// that had them.
fn move_all(cluster: &mut Cluster, step: usize) {
    // who comes before its record is one whose orders nobody knows: only the number on the screen says which it means
    cluster.await_agreement();
    let forgets = |taxi: usize| (taxi + step).is_multiple_of(2);
    let gone: Vec<_> = (0..cluster.taxis.len()).filter(|taxi| !forgets(*taxi)).collect();
    gone.iter().for_each(|taxi| cluster.taxis[*taxi].leave());
    // a car that comes before its end is known would be one that took itself over, and that too often is a clone
    cluster.run_until("all to know who is gone", |c| {
        let known = |taxi: &usize, on: &Gateway| on.known(&c.taxis[*taxi].id)["session"]["state"] == "away";
        gone.iter().all(|taxi| c.gateways.iter().all(|gateway| known(taxi, gateway)))
    });
    (0..cluster.taxis.len()).for_each(|taxi| cluster.place(taxi, taxi + step, forgets(taxi)));
}

#[test]
fn a_taxi_that_moves_to_another_instance_at_every_step_loses_nothing() {
    let mut cluster = Cluster::start("orders-move", 3);
    for protocol in KINDS {
        (0..6).for_each(|n| cluster.taxi_on(protocol, n, n as usize, Until::Shown));
    }
    cluster.offer_each(60);
    let offers: Vec<_> = cluster.orders().map(|(order, taxi)| format!("offer-{order}-{}", taxi.id)).collect();
    for (step, until) in Until::ALL.into_iter().enumerate() {
        cluster.taxis.iter_mut().for_each(|taxi| taxi.until = until);
        cluster.hold_the_accepted();
        cluster.run_until(&format!("all to be {until:?}"), |c| c.all_have_done());
        if until == Until::Accepted {
            cluster.run_until("the offers to end", |c| c.backend.is_done());
            for offer in &offers {
                assert_eq!(cluster.backend.result(offer), "acknowledged", "{offer}: {:?}", cluster.backend.outcome(offer));
            }
        }
        move_all(&mut cluster, step + 1);
    }
    cluster.run_until("all orders to be over", Cluster::all_is_over);
    cluster.assert_whole_stories();
    for (order, taxi) in cluster.orders() {
        let seen = &taxi.orders[&order];
        assert_eq!((seen.offered, seen.lost), (1, 0), "{order} on {} of {}", taxi.id, taxi.protocol);
        assert_eq!(cluster.backend.result(&format!("assign-{order}-{}", taxi.id)), "acknowledged");
    }
    cluster.assert_accounts();
}

#[test]
fn an_answer_counts_also_over_an_instance_that_the_home_never_spoke_to() {
    let mut cluster = Cluster::start("orders-strangers", 3);
    KINDS.into_iter().enumerate().for_each(|(n, protocol)| cluster.taxi_on(protocol, 0, n, Until::Receipted));
    cluster.await_homes(0..3);
    cluster.offer_each(20);
    cluster.run_until("the offers to be shown", |c| c.all_have_done());
    cluster.await_agreement();
    for n in 0..cluster.taxis.len() {
        let id = cluster.taxis[n].id.clone();
        let is_home = |gateway: &&Gateway| gateway.known(&id)["open_commands"].as_array().is_some_and(|open| !open.is_empty());
        let home = until("the home to tell", || cluster.gateways.iter().find(is_home).map(|g| g.id().to_owned()));
        let stranger = (0..3).find(|at| *at != n % 3 && cluster.gateways[*at].id() != home).unwrap();
        cluster.place(n, stranger, false);
        cluster.taxis[n].until = Until::Finished;
    }
    cluster.run_until("all orders to be over", Cluster::all_is_over);
    cluster.assert_whole_stories();
    for (order, taxi) in cluster.orders() {
        let offer = format!("offer-{order}-{}", taxi.id);
        assert_eq!(cluster.backend.result(&offer), "acknowledged", "{:?}", cluster.backend.outcome(&offer));
    }
    cluster.assert_accounts();
}

/// The offers' bytes are on the sockets, and the instance is gone with them.
#[test]
fn an_offer_is_known_everywhere_though_its_instance_dies_as_it_is_shown() {
    const PROTOCOLS: [&str; 2] = ["jt808", "jt905"];
    let mut cluster = Cluster::start("orders-first-byte", 2);
    for protocol in PROTOCOLS {
        (0..4).for_each(|n| cluster.taxi_on(protocol, n, 0, Until::Shown));
    }
    cluster.await_homes(0..2);
    for round in 0..2_u32 {
        let holder = round as usize;
        let orders: Vec<_> = (0..).zip(&cluster.taxis).map(|(n, taxi)| (3000 + 100 * round + n, taxi.id.clone())).collect();
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
        cluster.finish();
        (0..cluster.taxis.len()).for_each(|taxi| cluster.place(taxi, 1 - holder, false));
        cluster.run_until("all orders to be over", |c| {
            orders.iter().all(|(order, id)| c.backend.actions(*order, id).last() == Some(&"completed"))
        });
        for (order, id) in &orders {
            let event = cluster.backend.event(*order, "accepted").unwrap();
            assert_eq!(event["command_id"], format!("offer-{order}-{id}"), "{event}");
        }
        cluster.taxis.iter_mut().for_each(|taxi| taxi.until = Until::Shown);
        cluster.gateways[holder].restart();
        cluster.await_homes(0..2);
    }
    cluster.run_until("all commands to end", |c| c.backend.is_done());
    cluster.assert_accounts();
}

#[test]
fn backends_whose_clients_place_keys_differently_serve_the_same_devices_at_the_same_time() {
    let mut cluster = Cluster::start("orders-keys", 3);
    // of each protocol every other driver waits until the order is called off
    cluster.taxis_of_each(4, |n| if n % 2 == 0 { Until::Finished } else { Until::Receipted });
    cluster.await_homes(0..3);
    let place = |cluster: &mut Cluster, keys: Keys| cluster.backend.keys = keys;
    place(&mut cluster, Keys::Librdkafka);
    cluster.offer_each(60);
    cluster.texts("crc32", 60);
    // assignments, cancellations and the other texts come from the other one
    place(&mut cluster, Keys::Java);
    cluster.texts("murmur2", 60);
    cluster.run_until("the offers to be shown", |c| c.orders().all(|(order, taxi)| taxi.orders.contains_key(&order)));
    let waiting: Vec<_> =
        cluster.orders().filter(|(_, t)| t.until == Until::Receipted).map(|(order, t)| (order, t.id.clone())).collect();
    for (order, device) in &waiting {
        let content = json!({"order_id": order.to_string()});
        cluster.backend.command(&format!("cancel-{order}-{device}"), device, "order_cancel", &content, 60);
    }
    cluster.run_until("all commands to end", |c| {
        let mut driven = c.orders().filter(|(_, taxi)| taxi.until == Until::Finished);
        c.backend.is_done() && driven.all(|(order, taxi)| c.story(order, taxi) == taxi.story())
    });
    for (order, taxi) in cluster.orders() {
        let result = |name: &str| cluster.backend.result(&format!("{name}-{order}-{}", taxi.id));
        let ends = match taxi.until {
            Until::Finished => [result("offer"), result("assign")] == ["acknowledged"; 2],
            _ => [result("offer"), result("cancel")] == ["superseded", "acknowledged"],
        };
        assert!(ends, "{order} on {} of {}: {:?}", taxi.id, taxi.protocol, cluster.backend.results());
        for name in ["crc32", "murmur2"] {
            assert_eq!(cluster.backend.result(&text_id(name, taxi)), "acknowledged", "{name} on {}", taxi.id);
        }
    }
    let mut places: BTreeMap<String, BTreeSet<i32>> = BTreeMap::new();
    for (device, partition) in cluster.backend.placed() {
        places.entry(device).or_default().insert(partition);
    }
    let apart = cluster.taxis.iter().filter(|taxi: &&Taxi| places[&taxi.id].len() > 1).count();
    assert!(apart > 0, "both place all keys alike: {places:?}");
    cluster.assert_accounts();
}
