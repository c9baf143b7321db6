//! Without Kafka: what was acknowledged is in the journal, also after a crash in the middle of a line.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::harness::device::{Device, KINDS, Line};
use crate::harness::gateway::{Gateway, Setup, journal_events};
use crate::harness::load::Fleet;
use crate::harness::schema::assert_valid;

fn gateway(directory: &Path) -> Gateway {
    let setup = Setup::journal("gw-1", directory);
    KINDS.iter().fold(setup, |setup, protocol| setup.listen(protocol)).start()
}

fn newest_segment(directory: &Path) -> PathBuf {
    let files = std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().path());
    let segments = files.filter(|f| f.file_stem().is_some_and(|s| s.to_string_lossy().bytes().all(|b| b.is_ascii_digit())));
    segments.max().expect("a segment")
}

#[test]
fn events_are_read_back() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let gateway = gateway(&path);
    let mut sent = Vec::new();
    for protocol in KINDS {
        let mut device = Device::new(protocol, 300);
        let mut line = Line::connect(gateway.address(protocol)).unwrap();
        line.sign_on(&mut device).unwrap();
        for _ in 0..10 {
            sent.push((device.id.clone(), line.report(&mut device).unwrap()));
        }
    }
    let events = journal_events(&path); // also while the gateway runs
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let stored: Vec<_> = events.iter().map(|e| (text(&e["device_id"]), text(&e["position"]["time"]))).collect();
    assert_eq!(stored, sent);
    for event in &events {
        assert_valid("position", event);
    }
}

#[test]
fn a_killed_gateway_loses_nothing_that_was_acknowledged() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let mut gateway = gateway(&path);
    let devices = KINDS.into_iter().flat_map(|protocol| (0..3).map(move |n| Device::new(protocol, 310 + n)));
    let fleet = Fleet::start(devices, |protocol| gateway.address(protocol));
    for _ in 0..3 {
        fleet.ledger.wait_for_more(100);
        gateway.kill();
        // what a crash leaves that the disk was faster with than we were
        let mut segment = OpenOptions::new().append(true).open(newest_segment(&path)).unwrap();
        segment.write_all(b"00000000 telemetry {\"id\":\"torn").unwrap();
        gateway.restart();
    }
    fleet.ledger.wait_for_more(100);
    let ledger = fleet.stop();
    assert_eq!(ledger.missing(&journal_events(&path)), [], "acknowledged and not in the journal");
}

#[test]
fn a_second_gateway_on_the_same_journal_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("journal");
    let _first = gateway(&path);
    let (status, said) = Setup::journal("gw-2", &path).listen("gt06").fail_to_start();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&*path.to_string_lossy()), "it names the directory: {said}");
}
