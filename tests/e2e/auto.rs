//! One port for devices of every protocol.

use std::path::Path;
use std::time::{Duration, Instant};

use protocols::PROTOCOLS;
use protocols::detect::{Detector, Recognised};
use protocols::script::SECRET;
use serde_json::Value;

use crate::conversations::by_configuration;
use crate::harness::device::Line;
use crate::harness::fixtures::Fixture;
use crate::harness::gateway::{Gateway, Setup, journal_events, journal_records};
use crate::harness::proxy_header::{DEVICE, v1, v2};
use crate::harness::schema::assert_valid;
use crate::harness::until;

/// How one conversation is played.
#[derive(Debug, Clone, Copy)]
enum Way {
    Plain,
    BehindV2,
    BytewiseBehindV1,
    Glued,
    GluedBehindV2,
}

const WAYS: [Way; 5] = [Way::Plain, Way::BehindV2, Way::BytewiseBehindV1, Way::Glued, Way::GluedBehindV2];

/// Longer conversations (photos) are not played byte by byte: that shows nothing more, and takes seconds.
const BYTEWISE_AT_MOST: usize = 4096;

/// Whether its first piece shows what it is: a device that waits for an answer to it would wait for ever.
fn recognised(fixture: &Fixture) -> bool {
    let first = fixture.script.received().next().unwrap_or_default();
    [first, &fixture.script.bytes()].iter().all(|bytes| recognises(fixture, bytes))
}

/// Whether the gateway knows nothing of it afterwards: drivers and orders outlive a connection, and the next conversation here
/// may be the same device's.
fn forgotten(fixture: &Fixture) -> bool {
    fixture.events().iter().all(|event| event.get("driver").is_none() && event.get("order").is_none())
}

fn recognises(fixture: &Fixture, bytes: &[u8]) -> bool {
    matches!(Detector::all().recognise(bytes, true), Recognised::As(p) if p.name == fixture.protocol)
}

/// A gateway with one port for all without and one behind PROXY headers.
fn gateway(directory: &Path, fixtures: &[Fixture]) -> [Gateway; 2] {
    let script = &fixtures[0].script;
    let start = |name: &str, listen: fn(Setup) -> Setup| {
        let mut setup = listen(Setup::journal(name, &directory.join(name)));
        if script.auth_required {
            setup = setup.require_authentication(SECRET);
        }
        for profile in &script.profiles {
            setup = setup.profile(fixtures[0].protocol, &serde_json::to_value(profile).unwrap());
        }
        setup.start()
    };
    [start("open", |s| s.listen("auto")), start("behind", |s| s.listen_behind_proxy("auto"))]
}

fn contents(events: &[Value]) -> Vec<Value> {
    let content = |e: &Value| {
        let kind = e["type"].as_str().unwrap();
        serde_json::json!({ kind: e[kind] })
    };
    events.iter().map(content).collect()
}

#[test]
fn devices_of_every_protocol_share_a_port() {
    let directory = tempfile::tempdir().unwrap();
    let mut played = vec![0; PROTOCOLS.len()];
    for (n, fixtures) in by_configuration().into_values().enumerate() {
        let place = directory.path().join(n.to_string());
        std::fs::create_dir(&place).unwrap();
        let fixtures: Vec<_> = fixtures.into_iter().filter(|f| recognised(f) && forgotten(f)).collect();
        if fixtures.is_empty() {
            continue;
        }
        let [open, behind] = gateway(&place, &fixtures);
        let mut seen = [0, 0];
        for (fixture, way) in fixtures.iter().flat_map(|f| WAYS.map(|way| (f, way))) {
            match way {
                Way::Plain => fixture.play(open.address("auto")),
                Way::Glued => fixture.play_glued(open.address("auto"), &[]),
                Way::BehindV2 => fixture.play_behind(behind.address("auto"), &v2(), usize::MAX),
                Way::GluedBehindV2 => fixture.play_glued(behind.address("auto"), &v2()),
                Way::BytewiseBehindV1 if fixture.script.bytes().len() > BYTEWISE_AT_MOST => continue,
                Way::BytewiseBehindV1 => fixture.play_behind(behind.address("auto"), &v1(), 1),
            }
            let n = usize::from(matches!(way, Way::BehindV2 | Way::GluedBehindV2 | Way::BytewiseBehindV1));
            let wanted = fixture.events();
            let journal = place.join(["open", "behind"][n]);
            let events = until(&format!("{} events of {} {way:?}", wanted.len(), fixture.name), || {
                let events = journal_events(&journal).split_off(seen[n]);
                (events.len() >= wanted.len()).then_some(events)
            });
            seen[n] += events.len();
            assert_eq!(contents(&events), wanted, "{} {way:?}", fixture.name);
            assert!(events.iter().all(|e| e["protocol"] == fixture.protocol), "{} {way:?}: {events:?}", fixture.name);
            played[PROTOCOLS.iter().position(|p| p.name == fixture.protocol).unwrap()] += 1;
        }
        for gateway in [&open, &behind] {
            let ledger = gateway.ledger();
            assert_eq!((&ledger["unaccounted"], &ledger["in_flight"]), (&0.into(), &0.into()), "{ledger}");
            let metrics = gateway.get("/metrics");
            let undetected = metrics.lines().find(|l| l.starts_with("navgate_frames_received_total{protocol=\"auto\"}")).unwrap();
            let rejects = journal_records(&place.join(gateway.id()), "rejects");
            assert!(undetected.ends_with(" 0"), "all is counted under the names of protocols: {undetected}; {rejects:#?}");
        }
    }
    assert!(played.iter().all(|n| *n > 0), "{played:?}");
}

fn rejects(directory: &Path, n: usize) -> Vec<Value> {
    until("the rejects", || Some(journal_records(directory, "rejects")).filter(|records| records.len() >= n))
}

#[test]
fn refuses_what_no_protocol_says_and_tells_what_it_looks_like() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let gateway = Setup::journal("gw-1", &path).listen_behind_proxy("auto").with("detect_s = 1").start();
    // bytes, guess, and what the detail names; those that may still become something are decided by the deadline
    let cases: [(&[u8], Option<&str>, &str); 4] = [
        (b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", Some("http"), "http"),
        (&[0x55; 200], None, "gt06 no at byte 0"),
        (b"\x7e\x02\x00", Some("jt808"), "jt808 needs more bytes"),
        (b"\x78\x78", Some("gt06"), "gt06 needs more bytes"),
    ];
    for (n, (bytes, guess, detail)) in cases.into_iter().enumerate() {
        let mut line = Line::connect(gateway.address("auto")).unwrap();
        line.send(&v2()).unwrap();
        line.send(bytes).unwrap();
        assert!(line.receive_to_end().is_empty(), "nothing is answered");
        line.finish();
        let records = rejects(&path, n + 1);
        let reject = &records[n];
        assert_valid("reject", reject);
        assert_eq!((&reject["reason"], &reject["peer"]), (&"unrecognised".into(), &DEVICE.into()), "{reject}");
        assert_eq!(reject["guess"].as_str(), guess, "{reject}");
        assert!(reject["protocol"].is_null() && reject["length"] == bytes.len(), "{reject}");
        assert!(reject["detail"].as_str().unwrap().contains(detail), "{reject}");
    }
    let ledger = gateway.ledger();
    assert_eq!((&ledger["received"], &ledger["rejected"]), (&4.into(), &4.into()), "{ledger}");
    assert_eq!((&ledger["unaccounted"], &ledger["in_flight"]), (&0.into(), &0.into()), "{ledger}");
    let metrics = gateway.get("/metrics");
    for line in [
        "navgate_frames_rejected_total{protocol=\"auto\",reason=\"unrecognised\"} 4",
        "navgate_connections_ended_total{reason=\"unrecognised\"} 4",
    ] {
        assert!(metrics.lines().any(|l| l == line), "{line} is not in\n{metrics}");
    }
}

/// A device that says nothing, or a byte now and then, has the same time as one on a port of its own, and less once it spoke.
#[test]
fn a_slow_speaker_does_not_hold_the_port() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let gateway = Setup::journal("gw-1", &path).identify_within_s(5).listen("auto").with("detect_s = 1").start();
    let start = Instant::now();
    let mut silent = Line::connect(gateway.address("auto")).unwrap();
    let mut slow = Line::connect(gateway.address("auto")).unwrap();
    // the beginning of a position of a JT/T 808 terminal, a byte each 100 ms: 6 s for all of it
    let frame = b"\x7e\x02\x00\x00\x1c\x01\x38\x00\x00\x11\x11";
    let mut sent = 0;
    for byte in frame.iter().chain([0; 49].iter()) {
        if slow.send(&[*byte]).is_err() || !gateway.lines_with("not recognised").is_empty() {
            break;
        }
        sent += 1;
        std::thread::sleep(Duration::from_millis(100));
    }
    assert!((8..40).contains(&sent), "closed after {sent} bytes");
    slow.receive_to_end();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    silent.receive_to_end();
    assert!((4..20).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    let reject = &rejects(&path, 1)[0];
    assert_eq!((&reject["guess"], &reject["reason"]), (&"jt808".into(), &"unrecognised".into()), "{reject}");
    let ledger = until("the accounts", || Some(gateway.ledger()).filter(|ledger| ledger["in_flight"] == 0));
    assert_eq!((&ledger["rejected"], &ledger["unaccounted"]), (&1.into(), &0.into()), "{ledger}");
}

/// What was half received when the device closed counts as one reject, and a frame that was whole is served.
#[test]
fn a_device_that_closes_early_is_decided_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let gateway = Setup::journal("gw-1", &path).listen("auto").with("prefer = [\"jt808\"]").start();
    let mut line = Line::connect(gateway.address("auto")).unwrap();
    line.send(b"\x7e\x02\x00").unwrap();
    line.finish();
    assert!(line.receive_to_end().is_empty());
    let reject = &rejects(&path, 1)[0];
    assert_eq!((&reject["guess"], &reject["length"]), (&"jt808".into(), &3.into()), "{reject}");
    Line::connect(gateway.address("auto")).unwrap().finish();
    let ledger = gateway.ledger();
    assert_eq!((&ledger["received"], &ledger["unaccounted"]), (&1.into(), &0.into()), "{ledger}");
}
