//! What is killed while devices report: a gateway, a broker, both. The count of what was acknowledged is kept outside.

use crate::harness::device::{Device, KINDS};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::kafka::{Broker, Reader, shared};
use crate::harness::load::{Fleet, Ledger};
use crate::harness::unique;

/// Devices of each kind.
const EACH: u32 = 3;
/// Acknowledgements between two events of a test.
const SOME: usize = 100;

fn gateway(brokers: &str, prefix: &str) -> Gateway {
    let setup = Setup::kafka("gw-1", brokers, prefix);
    KINDS.iter().fold(setup, |setup, protocol| setup.listen(protocol)).start()
}

fn fleet(gateway: &Gateway) -> Fleet {
    let devices = KINDS.into_iter().flat_map(|protocol| (0..EACH).map(move |n| Device::new(protocol, 200 + n)));
    Fleet::start(devices, |protocol| gateway.address(protocol))
}

/// `gateway`: whose spool has to be empty first.
fn assert_nothing_lost(gateway: &Gateway, ledger: &Ledger, brokers: &str, prefix: &str) {
    gateway.await_live();
    let mut reader = Reader::new(brokers, prefix, &["telemetry"]);
    let missing = ledger.missing(reader.read_all().iter().map(|r| &r.value));
    assert_eq!(missing, [], "of {} acknowledged these are not in Kafka", ledger.len());
}

#[test]
fn a_killed_gateway_loses_nothing_that_was_acknowledged() {
    let prefix = unique("kill-gateway");
    let mut gateway = gateway(shared(), &prefix);
    let fleet = fleet(&gateway);
    for _ in 0..3 {
        fleet.ledger.wait_for_more(SOME);
        gateway.kill();
        gateway.restart();
    }
    fleet.ledger.wait_for_more(SOME);
    let ledger = fleet.stop();
    assert_nothing_lost(&gateway, &ledger, shared(), &prefix);
}

#[test]
fn a_killed_broker_loses_nothing_that_was_acknowledged() {
    let broker = Broker::start();
    let prefix = unique("kill-broker");
    let gateway = gateway(&broker.bootstrap, &prefix);
    let fleet = fleet(&gateway);
    fleet.ledger.wait_for_more(SOME);
    broker.kill();
    broker.restart();
    fleet.ledger.wait_for_more(SOME);
    let ledger = fleet.stop();
    assert_nothing_lost(&gateway, &ledger, &broker.bootstrap, &prefix);
    assert_eq!(gateway.ledger()["unaccounted"], 0);
}

#[test]
fn a_gateway_killed_while_its_broker_is_away_loses_nothing_that_was_acknowledged() {
    let broker = Broker::start();
    let prefix = unique("kill-both");
    let mut gateway = gateway(&broker.bootstrap, &prefix);
    let fleet = fleet(&gateway);
    fleet.ledger.wait_for_more(SOME);
    broker.kill();
    gateway.kill();
    gateway.restart();
    broker.restart();
    fleet.ledger.wait_for_more(SOME);
    let ledger = fleet.stop();
    assert_nothing_lost(&gateway, &ledger, &broker.bootstrap, &prefix);
}
