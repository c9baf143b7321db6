//! Two gateways behind a real HAProxy: both are used, and neither a crash nor a planned end of one loses anything.

use std::collections::BTreeSet;

use crate::harness::device::{Device, KINDS};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::haproxy::Balancer;
use crate::harness::kafka::{Reader, shared};
use crate::harness::load::Fleet;
use crate::harness::{unique, until};

/// Devices of each kind; enough for both gateways to have some.
const EACH: u32 = 4;
/// Acknowledgements between two events of a test: every device has reported several times.
const SOME: usize = 100;

fn pair(prefix: &str) -> [Gateway; 2] {
    ["gw-1", "gw-2"].map(|id| {
        let setup = Setup::kafka(id, shared(), prefix);
        KINDS.iter().fold(setup, |setup, protocol| setup.listen_behind_proxy(protocol)).start()
    })
}

fn fleet(balancer: &Balancer) -> Fleet {
    let devices = KINDS.into_iter().flat_map(|protocol| (0..EACH).map(move |n| Device::new(protocol, 100 + n)));
    Fleet::start(devices, |protocol| balancer.address(protocol))
}

fn connections(gateway: &Gateway) -> u64 {
    let ready: serde_json::Value = serde_json::from_str(&gateway.get("/ready")).unwrap();
    ready["connections"].as_u64().unwrap()
}

#[test]
fn a_crash_behind_haproxy_loses_nothing_that_was_acknowledged() {
    let prefix = unique("balanced-crash");
    let [mut first, second] = pair(&prefix);
    let balancer = Balancer::start(&KINDS, &[&first, &second]);
    let fleet = fleet(&balancer);
    fleet.ledger.wait_for_more(SOME);
    // each takes devices once it knows the sessions of all
    until("devices on both gateways", || (connections(&first) > 0 && connections(&second) > 0).then_some(()));
    first.kill();
    fleet.ledger.wait_for_more(SOME);
    first.restart();
    fleet.ledger.wait_for_more(SOME);
    second_carries(&second);
    let ledger = fleet.stop();
    let mut reader = Reader::new(shared(), &prefix, &["telemetry"]);
    let records = reader.read_all();
    assert_eq!(ledger.missing(records.iter().map(|r| &r.value)), [], "acknowledged and not in Kafka");
    let gateways: BTreeSet<_> = records.iter().map(|r| r.text("gateway")).collect();
    assert_eq!(gateways, BTreeSet::from(["gw-1", "gw-2"]));
}

fn second_carries(gateway: &Gateway) {
    assert_eq!(gateway.ledger()["unaccounted"], 0);
}

#[test]
fn a_drain_behind_haproxy_moves_every_device_and_loses_nothing() {
    let prefix = unique("balanced-drain");
    let [mut first, second] = pair(&prefix);
    let balancer = Balancer::start(&KINDS, &[&first, &second]);
    let fleet = fleet(&balancer);
    fleet.ledger.wait_for_more(SOME);
    first.terminate();
    assert_eq!(first.wait().code(), Some(0), "{}", first.log());
    until("all devices on the other gateway", || (connections(&second) >= u64::from(EACH) * KINDS.len() as u64).then_some(()));
    fleet.ledger.wait_for_more(SOME);
    let ledger = fleet.stop();
    let mut reader = Reader::new(shared(), &prefix, &["telemetry"]);
    assert_eq!(ledger.missing(reader.read_all().iter().map(|r| &r.value)), [], "acknowledged and not in Kafka");
}
