//! Instances die and hang while cars of every protocol stand at every step. Whoever is killed: every command has one outcome,
//! the one that the table in README.md tells, and no driver's word is lost.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::harness::cluster::{Cluster, PARTITIONS, text_id};
use crate::harness::taxi::{BOXES, KINDS, Taxi, Until};

/// Cars of a protocol at a step: two on each of three instances, of which one has its home there and one elsewhere.
const AT_EACH_STEP: u32 = 6;

/// What dies with an instance, for one car.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Dies {
    holder: bool,
    home: bool,
}

/// Commands of absent devices, of all partitions.
const ABSENT: usize = 80;

/// Cars of every protocol at every step lose these instances.
fn kill(name: &str, killed: std::ops::Range<usize>) {
    let mut cluster = Cluster::start(name, 3);
    cluster.taxis_of_each(AT_EACH_STEP * Until::ALL.len() as u32, |n| Until::ALL[(n / AT_EACH_STEP) as usize]);
    for protocol in BOXES {
        cluster.taxis(protocol, AT_EACH_STEP, |_| Until::Shown);
    }
    cluster.await_homes(0..3);
    cluster.await_agreement();
    let dies = place_homes(&mut cluster, killed.clone());
    cluster.hold_the_accepted();
    cluster.offer_each(60);
    cluster.ask_boxes(60);
    cluster.run_until("every driver to be where the driver stands", Cluster::all_have_done);
    cluster.run_until("what is over to be told", |c| {
        let told = |name: &str, order: u32, taxi: &Taxi| c.backend.outcome(&format!("{name}-{order}-{}", taxi.id)).is_some();
        c.orders().all(|(order, taxi)| {
            (taxi.until < Until::Accepted || told("offer", order, taxi))
                && (taxi.until < Until::Assigned || told("assign", order, taxi))
        })
    });
    // of one key the meaning depends on the one before, and what only the dead knew of that is lost
    cluster.await_agreement();
    // some on their way, and what waits for nobody
    cluster.texts_for_absent("late", ABSENT, 25);
    cluster.texts("late", 60);
    cluster.backend.flush();
    killed.clone().for_each(|n| cluster.gateways[n].kill());
    cluster.finish();
    cluster.run_until("all orders to be over and all commands to end", Cluster::all_is_over);
    println!("after kill -9: {:?}", cluster.backend.results());
    cluster.assert_whole_stories();
    for (taxi, dies) in cluster.taxis.iter().zip(dies) {
        assert_ends_as_told(&cluster, taxi, dies);
    }
    for n in 0..ABSENT {
        assert_eq!(cluster.backend.result(&format!("late-absent-{n}")), "offline");
    }
    for n in killed.clone() {
        cluster.gateways[n].restart();
    }
    cluster.await_homes(0..3);
    cluster.texts_for_absent("end", 40, 2);
    cluster.run_until("the last commands to end", |c| c.backend.is_done());
    cluster.assert_accounts();
}

/// The commands of cars go to partitions such that the home dies of half of them, whoever has their connection.
fn place_homes(cluster: &mut Cluster, killed: std::ops::Range<usize>) -> Vec<Dies> {
    let homes = cluster.homes(0..3);
    let dying: BTreeSet<_> = killed.clone().map(|n| cluster.gateways[n].id().to_owned()).collect();
    let of = |dies: bool| -> Vec<i32> {
        let chosen = homes.iter().enumerate().filter(|(n, _)| killed.contains(n) == dies);
        chosen.flat_map(|(_, partitions)| partitions.clone()).collect()
    };
    let partitions = [of(false), of(true)];
    let mut all = Vec::new();
    let mut seen = std::collections::BTreeMap::<_, usize>::new();
    for taxi in &cluster.taxis {
        let holder = dying.contains(&cluster.holder_of(taxi));
        let count = seen.entry((taxi.protocol, taxi.until, holder)).or_default();
        let (home, which) = (count.is_multiple_of(2), *count / 2);
        *count += 1;
        let of_kind = &partitions[usize::from(home)];
        cluster.backend.places.insert(taxi.id.clone(), of_kind[which % of_kind.len()]);
        all.push(Dies { holder, home });
    }
    let there: BTreeSet<_> = cluster.taxis.iter().zip(&all).map(|(taxi, dies)| (taxi.protocol, taxi.until, *dies)).collect();
    // of boxes there is one step
    let wanted = 4 * (KINDS.len() * Until::ALL.len() + BOXES.len());
    assert_eq!(there.len(), wanted, "not all stand where somebody dies: {there:?}");
    all
}

/// What README.md says of who died.
fn assert_ends_as_told(cluster: &Cluster, taxi: &Taxi, dies: Dies) {
    let ends = |id: &str| {
        let outcome = cluster.backend.outcome(id).unwrap_or(&Value::Null);
        let text = |field: &str| outcome[field].as_str().unwrap_or_default().to_owned();
        (text("result"), text("reason"), outcome["attempts"].as_u64().unwrap_or_default())
    };
    let told = |id: &str, may_be: &[(&str, &str, u64)]| {
        let (result, reason, attempts) = ends(id);
        // a protocol repeats what was not acknowledged in time, which on a busy machine may be often
        let fits = may_be.iter().any(|(r, why, least)| result == *r && reason == *why && attempts >= *least);
        assert!(fits, "{id} to a {} with {dies:?}: {result} {reason} {attempts}, not of {may_be:?}", taxi.protocol);
    };
    let (answered, again, lost) = (("acknowledged", "", 1), ("acknowledged", "", 2), ("unanswered", "instance_lost", 1));
    if taxi.has_screen() {
        let order = cluster.orders().find(|(_, other)| other.id == taxi.id).unwrap().0;
        // who is offered an order when the instance dies may take it on the next connection: that may be too late for the
        // outcome, and not for the assignment
        let (others, given) = if dies.holder { (lost, ("superseded", "", 1)) } else { (answered, answered) };
        told(&format!("offer-{order}-{}", taxi.id), &[answered, others, given]);
        told(&text_id("late", taxi), &[answered, others]);
        told(&format!("assign-{order}-{}", taxi.id), &[answered, if dies.holder { again } else { answered }]);
    } else {
        let (output, reboot) = if dies.holder { (again, lost) } else { (answered, answered) };
        told(&format!("output-{}", taxi.id), &[output]);
        told(&format!("reboot-{}", taxi.id), &[reboot]);
    }
}

#[test]
fn a_killed_instance_costs_no_command_its_outcome_and_no_driver_an_order() {
    kill("orders-kill", 0..1);
}

#[test]
fn two_instances_killed_at_once_cost_no_command_its_outcome_and_no_driver_an_order() {
    kill("orders-kill-two", 0..2);
}

/// Number of a car that stays where it is.
const STAYS: u32 = 100;

/// How long an instance hangs: well beyond all the times after which others go on without it.
const HANGS: Duration = Duration::from_secs(30);

#[test]
fn an_instance_that_hung_writes_no_second_outcome() {
    let mut cluster = Cluster::start("orders-pause", 3);
    cluster.taxis_of_each(6, |_| Until::Finished);
    for protocol in BOXES {
        cluster.taxis(protocol, 3, |_| Until::Shown);
    }
    // HAProxy sends the cars of an instance that hangs elsewhere; these stay, as they would without it
    for protocol in KINDS.into_iter().chain(BOXES) {
        cluster.taxi_on(protocol, STAYS, 0, Until::Receipted);
    }
    cluster.await_homes(0..3);
    let held: BTreeSet<_> = cluster.taxis.iter().filter(|t| cluster.holder_of(t) == "gw-1").map(|taxi| taxi.id.clone()).collect();
    assert!(held.len() < cluster.taxis.len() && !held.is_empty(), "on gw-1: {held:?}");
    cluster.offer_each(60);
    cluster.ask_boxes(60);
    // their deadlines pass while it hangs, and after Kafka has ended the transaction in which it may hang
    cluster.texts_for_absent("before", 60, 25);
    cluster.texts("before", 25);
    cluster.backend.flush();
    cluster.gateways[0].pause();
    let paused = Instant::now();
    cluster.texts_for_absent("during", 60, 25);
    cluster.texts("during", 25);
    cluster.run_until("the others to take over", |c| c.homes(1..3).concat().len() == PARTITIONS);
    cluster.run_until("it to have hung for long enough", |_| paused.elapsed() >= HANGS);
    cluster.gateways[0].resume();
    cluster.finish();
    cluster.run_until("all commands to end", |c| {
        let over = |(order, taxi): (u32, &Taxi)| held.contains(&taxi.id) || c.story(order, taxi).last() == taxi.story().last();
        c.backend.is_done() && c.orders().all(over)
    });
    println!("after SIGSTOP and SIGCONT: {:?}", cluster.backend.results());
    for (order, taxi) in cluster.orders().filter(|(_, taxi)| !held.contains(&taxi.id)) {
        let offer = format!("offer-{order}-{}", taxi.id);
        assert_eq!(cluster.backend.result(&offer), "acknowledged", "{offer}: {:?}", cluster.backend.outcome(&offer));
        assert_eq!(cluster.story(order, taxi), taxi.story(), "{order} on {} of {}", taxi.id, taxi.protocol);
        // only who was with the one that hung may have been out of reach for so long
        for name in ["before", "during"] {
            assert_eq!(cluster.backend.result(&text_id(name, taxi)), "acknowledged", "{name} on {}", taxi.id);
        }
    }
    cluster.await_homes(0..3);
    cluster.texts_for_absent("end", 40, 2);
    cluster.run_until("the last commands to end", |c| c.backend.is_done());
    cluster.assert_accounts();
}
