//! What a backend says of a driver: kept with the device, wherever that connects, until another driver signs on.

use serde_json::{Value, json};

use crate::harness::cluster::Cluster;
use crate::harness::taxi::{Taxi, Until, Word};

/// The protocols in which a driver signs on; in the first, no driver can sign off.
const WITH_DRIVERS: [&str; 3] = ["gps103", "jt808", "jt905"];
const FIRST: &str = "110101199001010010";
const SECOND: &str = "110101199001010029";

fn say_of_all(cluster: &mut Cluster, name: &str, driver: &str, authorized: bool) {
    let ids: Vec<_> = cluster.taxis.iter().map(|taxi| (taxi.id.clone(), driver_of(taxi, driver).to_owned())).collect();
    for (device, driver) in ids {
        let content = json!({"driver_id": driver, "authorized": authorized, "reason": "licence"});
        cluster.backend.command(&format!("{name}-{device}"), &device, "driver_authorization", &content, 20);
    }
    cluster.run_until("what was said to be kept", |c| c.backend.is_done());
    for taxi in &cluster.taxis {
        assert_eq!(cluster.backend.result(&format!("{name}-{}", taxi.id)), "acknowledged", "{name} on {}", taxi.id);
    }
    await_driver(cluster, "all to know it", |_, driver| driver["authorized"] == authorized);
}

/// All drivers do this, and are heard.
fn all_say(cluster: &mut Cluster, word: impl Fn(&Taxi) -> Option<Word<'static>>) {
    for taxi in &mut cluster.taxis {
        if let Some(word) = word(taxi) {
            taxi.say(word);
        }
    }
    cluster.run_until("the drivers to be heard", |c| c.taxis.iter().all(Taxi::is_heard));
}

/// What every instance knows of the driver of this car.
fn await_driver(cluster: &mut Cluster, what: &str, known: impl Fn(&Taxi, &Value) -> bool) {
    cluster.run_until(what, |c| {
        let on_all = |taxi: &Taxi| c.gateways.iter().all(|g| known(taxi, &g.known(&taxi.id)["session"]["driver"]));
        c.taxis.iter().all(on_all)
    });
}

/// Each driver is offered an order of this hundred and takes it: what its events say of the driver.
fn accepted(cluster: &mut Cluster, hundred: u32) -> Vec<Value> {
    let orders: Vec<_> = (hundred..).zip(cluster.taxis.iter().map(|taxi| taxi.id.clone())).collect();
    for (order, device) in &orders {
        cluster.backend.held.insert(order.to_string());
        cluster.backend.offer(*order, device, 30);
    }
    cluster.run_until("the orders to be taken", |c| orders.iter().all(|(order, _)| c.backend.event(*order, "accepted").is_some()));
    // nobody gets them: the next offer is the only one again
    for (order, device) in &orders {
        let content = json!({"order_id": order.to_string(), "won": false});
        cluster.backend.command(&format!("lost-{order}"), device, "order_assign", &content, 30);
    }
    cluster.run_until("the drivers to be told", |c| {
        c.backend.is_done() && orders.iter().zip(&c.taxis).all(|((order, _), taxi)| taxi.orders[order].lost > 0)
    });
    orders.iter().map(|(order, _)| cluster.backend.event(*order, "accepted").unwrap().clone()).collect()
}

fn driver_of<'t>(taxi: &Taxi, driver: &'t str) -> &'t str {
    // eight digits of a card are all that this protocol's reader tells
    if taxi.protocol == "gps103" { &driver[10..] } else { driver }
}

#[test]
fn a_driver_who_is_not_authorized_stays_so_on_every_instance_until_another_signs_on() {
    let mut cluster = Cluster::start("drivers", 3);
    for protocol in WITH_DRIVERS {
        (0..2).for_each(|n| cluster.taxi_on(protocol, n, n as usize, Until::Accepted));
    }
    let expect = |cluster: &mut Cluster, hundred: u32, driver: Option<&str>, authorized: &Value| {
        for (event, taxi) in accepted(cluster, hundred).iter().zip(&cluster.taxis) {
            let wanted = driver.map(|driver| driver_of(taxi, driver));
            assert_eq!(event["driver_id"].as_str(), wanted, "{event} of {}", taxi.protocol);
            assert_eq!(&event["authorized"], authorized, "{event} of {}", taxi.protocol);
        }
    };
    let move_all = |cluster: &mut Cluster, by: usize, forget: bool| {
        (0..cluster.taxis.len()).for_each(|n| cluster.place(n, n % 2 + by, forget));
    };

    // nothing was said yet: everything goes through, and events do not claim to know
    all_say(&mut cluster, |taxi| Some(Word::SignOn(driver_of(taxi, FIRST))));
    expect(&mut cluster, 1000, Some(FIRST), &Value::Null);
    assert!(cluster.taxis.iter().all(|taxi| taxi.refused == 0));

    say_of_all(&mut cluster, "no", FIRST, false);
    expect(&mut cluster, 1100, Some(FIRST), &json!(false));
    for taxi in &cluster.taxis {
        // the one protocol whose answer to an accept can be a no
        assert_eq!(taxi.refused, usize::from(taxi.protocol == "jt905"), "{} of {}", taxi.id, taxi.protocol);
    }

    // a lost socket signs nobody off, and nobody has to ask again on the next instance
    move_all(&mut cluster, 1, true);
    expect(&mut cluster, 1200, Some(FIRST), &json!(false));
    cluster.taxis.iter_mut().for_each(Taxi::leave);
    await_driver(&mut cluster, "the shifts to go on without a connection", |taxi, driver| {
        driver["driver_id"] == driver_of(taxi, FIRST) && driver["authorized"] == false
    });
    // what is said while it is away is kept for the next connection
    say_of_all(&mut cluster, "yes", FIRST, true);
    move_all(&mut cluster, 2, false);
    expect(&mut cluster, 1300, Some(FIRST), &json!(true));

    // another driver is another matter
    say_of_all(&mut cluster, "again", FIRST, false);
    all_say(&mut cluster, |taxi| Some(Word::SignOn(driver_of(taxi, SECOND))));
    await_driver(&mut cluster, "the other drivers to be known", |taxi, driver| {
        driver["driver_id"] == driver_of(taxi, SECOND) && driver["authorized"].is_null()
    });
    expect(&mut cluster, 1400, Some(SECOND), &Value::Null);

    // who signs off is gone, on the next instance too
    all_say(&mut cluster, |taxi| (taxi.protocol != "gps103").then_some(Word::SignOff));
    cluster.taxis.retain(|taxi| taxi.protocol != "gps103");
    await_driver(&mut cluster, "nobody to drive", |_, driver| driver.is_null());
    move_all(&mut cluster, 0, false);
    expect(&mut cluster, 1500, None, &Value::Null);
    // and everybody did so once, whatever became of the connections
    let mut signed_off = cluster.backend.signed_off();
    let mut all: Vec<_> = cluster.taxis.iter().map(|taxi| taxi.id.clone()).collect();
    signed_off.sort();
    all.sort();
    assert_eq!(signed_off, all);
    cluster.assert_accounts();
}
