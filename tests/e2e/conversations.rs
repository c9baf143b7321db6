//! Every recorded conversation, over a socket, comes out of Kafka as its events and rejects, and is answered byte by byte.

use std::collections::BTreeMap;

use protocols::script::SECRET;

use crate::harness::fixtures::{Fixture, playable};
use crate::harness::gateway::Setup;
use crate::harness::kafka::{Reader, Record, shared};
use crate::harness::schema::assert_record;
use crate::harness::unique;

/// The conversations by the configuration that they need.
fn by_configuration() -> BTreeMap<String, Vec<Fixture>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for fixture in playable() {
        let profiles = serde_json::to_string(&fixture.script.profiles).unwrap();
        let protocol = if fixture.script.profiles.is_empty() { "" } else { fixture.protocol };
        groups.entry(format!("{protocol}{}{profiles}", fixture.script.auth_required)).or_default().push(fixture);
    }
    groups
}

/// The session whose records these are, apart from those seen before.
fn fresh<'r>(records: &'r [Record], seen: &[String]) -> Vec<&'r Record> {
    records.iter().filter(|r| !seen.iter().any(|s| s == r.text("session"))).collect()
}

#[test]
fn every_conversation_comes_out_of_kafka() {
    let mut played = 0;
    for fixtures in by_configuration().into_values() {
        let prefix = unique("conversations");
        let mut setup = Setup::kafka("gw-1", shared(), &prefix);
        let mut protocols: Vec<_> = fixtures.iter().map(|f| f.protocol).collect();
        protocols.dedup();
        for protocol in protocols {
            setup = setup.listen(protocol);
        }
        let script = &fixtures[0].script;
        if script.auth_required {
            setup = setup.require_authentication(SECRET);
        }
        for profile in &script.profiles {
            setup = setup.profile(fixtures[0].protocol, &serde_json::to_value(profile).unwrap());
        }
        let gateway = setup.start();
        let mut reader = Reader::new(shared(), &prefix, &["telemetry", "orders", "rejects"]);
        let mut seen = Vec::new();
        for fixture in &fixtures {
            fixture.play(gateway.address(fixture.protocol));
            check(fixture, &mut reader, &mut seen);
            played += 1;
        }
        let ledger = gateway.ledger();
        assert_eq!((&ledger["unaccounted"], &ledger["in_flight"]), (&0.into(), &0.into()), "{ledger}");
    }
    assert!(played > 0, "no conversation was played");
}

fn check(fixture: &Fixture, reader: &mut Reader, seen: &mut Vec<String>) {
    let (events, rejects) = (fixture.events(), fixture.rejects());
    let wanted = events.len() + rejects.len();
    reader.read_until(&format!("{wanted} records of {}", fixture.name), |records| fresh(records, seen).len() >= wanted);
    let fresh = fresh(&reader.records, seen);
    fresh.iter().for_each(|record| assert_record(record));
    let (mut refused, mut told): (Vec<_>, Vec<_>) = fresh.into_iter().partition(|r| r.topic == "rejects");
    told.sort_by_key(|r| r.value["sequence"].as_u64());
    let contents: Vec<_> = told.iter().map(|r| serde_json::json!({ r.text("type"): r.value[r.text("type")] })).collect();
    assert_eq!(contents, events, "{}", fixture.name);
    let counted: Vec<_> = told.iter().map(|r| r.value["sequence"].as_u64()).collect();
    assert_eq!(counted, (0..events.len() as u64).map(Some).collect::<Vec<_>>(), "{}: sequence", fixture.name);
    // the id of a reject ends in its number in the session
    refused.sort_by_key(|r| r.headers["ce_id"].rsplit('-').next().and_then(|n| n.parse::<u64>().ok()));
    assert_eq!(refused.iter().map(|r| r.text("reason")).collect::<Vec<_>>(), rejects, "{}", fixture.name);
    let mut sessions: Vec<_> = told.iter().chain(&refused).map(|r| r.text("session").to_owned()).collect();
    sessions.dedup();
    assert!(sessions.len() <= 1, "{}: one connection is one session, not {sessions:?}", fixture.name);
    seen.extend(sessions);
}

/// A frame sent again, on another connection and through another gateway, has the id it had.
#[test]
fn a_repeat_through_another_gateway_has_the_same_id() {
    use crate::harness::device::{Device, KINDS, Line};
    let prefix = unique("repeats");
    for protocol in KINDS {
        let (first, second) = (Device::new(protocol, 7), Device::new(protocol, 7));
        for (gateway, mut device) in [("gw-1", first), ("gw-2", second)] {
            let gateway = Setup::kafka(gateway, shared(), &prefix).listen(protocol).start();
            let mut line = Line::connect(gateway.address(protocol)).unwrap();
            line.sign_on(&mut device).unwrap();
            line.report(&mut device).unwrap();
        }
        let mut reader = Reader::new(shared(), &prefix, &["telemetry"]);
        let device = Device::new(protocol, 7).id;
        let records: Vec<_> = reader.read_all().iter().filter(|r| r.text("device_id") == device).collect();
        assert_eq!(records.len(), 2, "{records:?}");
        assert_eq!(records[0].text("id"), records[1].text("id"), "{protocol}");
        assert_ne!(records[0].text("gateway"), records[1].text("gateway"));
        assert!(records[0].value["epoch"].as_u64() < records[1].value["epoch"].as_u64(), "{protocol}: {records:?}");
    }
}
