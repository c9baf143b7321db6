//! `navgate replay` against served gateways: every recorded conversation, of fresh devices, with its events.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use crate::harness::fixtures::{Fixture, recorded};
use crate::harness::gateway::{Gateway, Setup, navgate};
use crate::harness::kafka::shared;
use crate::harness::{repository, unique};

/// A conversation that waits longer is left to the tests without sockets.
const LONGEST_PAUSES: Duration = Duration::from_secs(20);

/// Another than that of the fixtures: devices that authenticate must answer with what this gateway gives them.
const SECRET: &[u8] = b"a secret that no fixture knows";

/// The conversations by protocol and by the configuration that they need.
fn by_configuration() -> BTreeMap<(&'static str, bool, String), Vec<Fixture>> {
    let mut groups = BTreeMap::<_, Vec<_>>::new();
    for fixture in recorded() {
        if fixture.begins_with_the_device() && fixture.pauses() <= LONGEST_PAUSES {
            let profiles = serde_json::to_string(&fixture.script.profiles).unwrap();
            groups.entry((fixture.protocol, fixture.script.auth_required, profiles)).or_default().push(fixture);
        }
    }
    groups
}

fn served(fixtures: &[Fixture], mut setup: Setup) -> Gateway {
    let Fixture { protocol, script, .. } = &fixtures[0];
    setup = setup.listen(protocol);
    if script.auth_required {
        setup = setup.require_authentication(SECRET);
    }
    for profile in &script.profiles {
        setup = setup.profile(protocol, &serde_json::to_value(profile).unwrap());
    }
    setup.start()
}

/// Its exit status and what it said.
fn replay(gateway: &Gateway, protocol: &str, scripts: &[&Path], more: &[&str]) -> (Option<i32>, String, String) {
    let to = gateway.address(protocol).to_string();
    let scripts: Vec<_> = scripts.iter().map(|path| path.to_str().unwrap()).collect();
    let (status, said, talk) = navgate(&[&["replay", "--to", &to][..], more, &scripts].concat());
    (status.code(), said, talk)
}

#[test]
fn every_conversation_goes_as_recorded_with_fresh_devices() {
    let mut played = 0;
    for ((protocol, ..), fixtures) in by_configuration() {
        let directory = tempfile::tempdir().unwrap();
        let gateway = served(&fixtures, Setup::journal("gw-1", directory.path()));
        let scripts: Vec<_> = fixtures.iter().map(|f| f.path.as_path()).collect();
        let (status, said, talk) = replay(&gateway, protocol, &scripts, &["--events", directory.path().to_str().unwrap()]);
        assert_eq!(status, Some(0), "{said}{talk}");
        assert_eq!(said.lines().filter(|line| line.starts_with("ok ")).count(), fixtures.len(), "{said}");
        for identity in ["13800001111", "861200000000012"] {
            let stored = gateway.get("/sessions");
            assert!(!stored.contains(identity) && !said.contains(identity), "{said}");
        }
        assert_eq!(gateway.ledger()["unaccounted"], 0);
        played += fixtures.len();
    }
    assert!(played > 50, "only {played} conversations were played");
}

fn fixture(name: &str) -> std::path::PathBuf {
    repository("fixtures").join(name)
}

#[test]
fn events_are_found_in_kafka_behind_a_balancer_too() {
    let prefix = unique("replay");
    let gateway = Setup::kafka("gw-1", shared(), &prefix).listen_behind_proxy("jt808").start();
    let scripts = [fixture("jt808/sign-on-2013.script"), fixture("jt808/garbage-between-frames.script")];
    let scripts: Vec<_> = scripts.iter().map(|p| p.as_path()).collect();
    // topics are there once something was stored
    for version in ["v1", "v2"] {
        let (status, said, talk) = replay(&gateway, "jt808", &scripts, &["--proxy", version]);
        assert_eq!(status, Some(0), "{said}{talk}");
        let events = ["--proxy", version, "--events", shared(), "--prefix", &prefix];
        let (status, said, talk) = replay(&gateway, "jt808", &scripts, &events);
        assert_eq!(status, Some(0), "{said}{talk}");
    }
}

#[test]
fn tells_what_came_otherwise() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Setup::journal("gw-1", directory.path()).listen("gt06").start();
    let text = std::fs::read_to_string(fixture("gt06/sign-on-and-position.script")).unwrap();
    let wrong = text.replace("\"speed_kmh\":43.0", "\"speed_kmh\":44.0").replacen("< 787805120002", "< 787805120005", 1);
    let wrong = wrong.replace("\"speed_kmh\":38.0,", "\"speed_kmh\":38.0,\"hdop\":1.0,") + "! checksum\n";
    let scripts = tempfile::tempdir().unwrap();
    let path = scripts.path().join("wrong.script");
    std::fs::write(&path, wrong).unwrap();
    let events = ["--as-is", "--protocol", "gt06", "--events", directory.path().to_str().unwrap()];
    let (status, said, talk) = replay(&gateway, "gt06", &[&path], &events);
    assert_eq!(status, Some(1), "{said}{talk}");
    for words in [
        "FAILED ",
        "line 8: another reply",
        "expected 78780512000581b60d0a",
        "got      78780512000281b60d0a",
        "position.speed_kmh: expected 44.0, got 43.0",
        "position.hdop: expected 1.0, got nothing",
        "a reject for `checksum` was expected, got none",
    ] {
        assert!(said.contains(words), "no `{words}` in:\n{said}");
    }
    assert!(said.contains("            ^^\n"), "{said}");
    let refused = replay(&gateway, "gt06", &[&path], &[]);
    assert_eq!(refused.0, Some(2), "{refused:?}");
}
