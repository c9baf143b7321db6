//! Kafka goes away for longer than devices wait: events go to the local journal, are acknowledged from there, and come to
//! Kafka in order when it is back.

use std::collections::BTreeMap;

use crate::harness::device::{Device, KINDS};
use crate::harness::gateway::{Gateway, Setup, navgate};
use crate::harness::kafka::{Broker, Reader, Record};
use crate::harness::load::Fleet;
use crate::harness::unique;

/// Acknowledgements between two events of a test.
const SOME: usize = 100;

fn gateway(broker: &Broker, prefix: &str) -> Gateway {
    let setup = Setup::kafka("gw-1", &broker.bootstrap, prefix);
    KINDS.iter().fold(setup, |setup, protocol| setup.listen(protocol)).start()
}

fn fleet(gateway: &Gateway) -> Fleet {
    let devices = KINDS.into_iter().flat_map(|protocol| (0..3).map(move |n| Device::new(protocol, 600 + n)));
    Fleet::start(devices, |protocol| gateway.address(protocol))
}

/// The first occurrences of each session's events stand in their order.
fn assert_in_order(records: &[Record]) {
    let mut last: BTreeMap<(&str, &str), u64> = BTreeMap::new();
    let mut seen = std::collections::BTreeSet::new();
    for record in records.iter().filter(|r| seen.insert(r.text("id"))) {
        let (session, sequence) = (record.text("session"), record.value["sequence"].as_u64().unwrap());
        let before = last.insert((&record.topic, session), sequence);
        assert!(before.is_none_or(|before| before < sequence), "session {session}: {sequence} behind {before:?}");
    }
}

#[test]
fn devices_are_served_while_kafka_is_away_and_nothing_is_lost_or_out_of_order() {
    let broker = Broker::start();
    let prefix = unique("spool");
    let gateway = gateway(&broker, &prefix);
    let fleet = fleet(&gateway);
    fleet.ledger.wait_for_more(SOME);
    for _ in 0..2 {
        broker.kill();
        // far more than can be in flight: they come from the journal
        fleet.ledger.wait_for_more(3 * SOME);
        assert_eq!(gateway.mode(), "spooling");
        let (_, told, _) = navgate(&["why", "13800000601", "--admin", &gateway.admin().to_string()]);
        assert!(told.starts_with("no command comes through to any car, for gw-1 cannot ask Kafka"), "{told}");
        broker.restart();
        gateway.await_live();
        fleet.ledger.wait_for_more(SOME);
    }
    let ledger = fleet.stop();
    let mut reader = Reader::new(&broker.bootstrap, &prefix, &["telemetry"]);
    let records = reader.read_all();
    assert_eq!(ledger.missing(records.iter().map(|r| &r.value)), []);
    assert_in_order(records);
    for record in records {
        assert_eq!(record.headers["ce_id"], record.text("id"));
        assert_eq!(record.key.as_deref(), Some(record.text("device_id")));
    }
    assert_eq!(gateway.ledger()["unaccounted"], 0);
}

#[test]
fn a_gateway_killed_while_it_spools_sends_the_rest_at_its_next_start() {
    let broker = Broker::start();
    let prefix = unique("spool-kill");
    let mut gateway = gateway(&broker, &prefix);
    let fleet = fleet(&gateway);
    fleet.ledger.wait_for_more(SOME);
    broker.kill();
    fleet.ledger.wait_for_more(2 * SOME);
    gateway.kill();
    broker.restart();
    gateway.restart();
    gateway.await_live();
    fleet.ledger.wait_for_more(SOME);
    let ledger = fleet.stop();
    let mut reader = Reader::new(&broker.bootstrap, &prefix, &["telemetry"]);
    let records = reader.read_all();
    assert_eq!(ledger.missing(records.iter().map(|r| &r.value)), []);
    assert_in_order(records);
}

#[test]
fn an_orphan_journal_is_drained_by_hand() {
    let broker = Broker::start();
    let prefix = unique("spool-orphan");
    let mut gateway = gateway(&broker, &prefix);
    let fleet = fleet(&gateway);
    fleet.ledger.wait_for_more(SOME);
    broker.kill();
    fleet.ledger.wait_for_more(2 * SOME);
    let (directory, config) = (gateway.spool(), gateway.config());
    let arguments = ["drain-journal", directory.to_str().unwrap(), "--config", config.to_str().unwrap()];
    let (status, _, said) = navgate(&arguments);
    assert_eq!(status.code(), Some(1), "its gateway lives: {said}");
    gateway.kill();
    let ledger = fleet.stop();
    broker.restart();
    let (status, said, talk) = navgate(&arguments);
    assert_eq!(status.code(), Some(0), "{said}{talk}");
    assert!(said.contains("records delivered"), "{said}");
    let mut reader = Reader::new(&broker.bootstrap, &prefix, &["telemetry"]);
    let records = reader.read_all();
    assert_eq!(ledger.missing(records.iter().map(|r| &r.value)), []);
    assert_in_order(records);
    let (status, said, _) = navgate(&arguments);
    assert_eq!((status.code(), said.trim()), (Some(0), "0 records delivered"), "nothing is left");
}
