//! How a gateway begins and ends: configuration, ports, a Kafka that is not there yet, and signals.

use std::net::TcpListener;

use crate::harness::device::{Device, KINDS, Line};
use crate::harness::gateway::{Setup, http, navgate};
use crate::harness::kafka::{Broker, Reader};
use crate::harness::{unique, until};

#[test]
fn refuses_a_bad_configuration_with_status_64() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("navgate.toml");
    for (toml, word) in [
        ("[[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"gt07\"\n", "gt06"),
        ("[gatway]\nid = \"x\"\n", "gateway"),
        ("[[listener]]\naddress = \"nowhere\"\nprotocol = \"gt06\"\n", "address"),
        ("[sink\n", "navgate.toml"),
    ] {
        std::fs::write(&file, toml).unwrap();
        for command in [&["serve", "--config"][..], &["check-config"]] {
            let arguments: Vec<_> = command.iter().copied().chain(file.to_str()).collect();
            let (status, _, said) = navgate(&arguments);
            assert_eq!(status.code(), Some(64), "{arguments:?} with {toml}: {said}");
            assert!(said.contains(word), "{arguments:?} should say something of `{word}`: {said}");
        }
    }
    let (status, _, said) = navgate(&["serve", "--config", "/does/not/exist.toml"]);
    assert_eq!(status.code(), Some(64), "{said}");
    assert!(said.contains("/does/not/exist.toml"), "{said}");
}

#[test]
fn refuses_a_port_in_use_with_a_clear_error() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (status, said) = Setup::journal("gw-1", &directory.path().join("journal")).listen("gt06").at(address).fail_to_start();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains(&address.to_string()) && said.contains("another"), "{said}");
    assert!(!directory.path().join("journal").exists(), "nothing was touched");
}

#[test]
fn serves_before_kafka_does_and_hands_over_when_it_is_there() {
    let broker = Broker::start();
    broker.kill();
    let prefix = unique("late-kafka");
    let setup = Setup::kafka("gw-1", &broker.bootstrap, &prefix);
    let gateway = KINDS.iter().fold(setup, |setup, protocol| setup.listen(protocol)).start();
    let mut waiting = Vec::new();
    for protocol in KINDS {
        let mut device = Device::new(protocol, 400);
        let mut line = Line::connect(gateway.address(protocol)).unwrap();
        line.sign_on(&mut device).unwrap();
        let (serial, time, frame) = device.position();
        line.send(&frame).unwrap();
        // from the spool
        line.await_acknowledgement(&device, serial).unwrap();
        waiting.push((device, line, time));
    }
    let errors = until("an error in the log", || Some(gateway.lines_with("ERROR")).filter(|lines| !lines.is_empty()));
    assert!(errors[0].contains(&broker.bootstrap), "it names the brokers: {errors:?}");
    assert_eq!(http(gateway.admin(), "GET", "/ready").unwrap().0, 200, "its sessions are served");
    broker.restart();
    let mut reader = Reader::new(&broker.bootstrap, &prefix, &["telemetry"]);
    for (device, line, time) in &mut waiting {
        reader.read_until("the position", |records| {
            records.iter().any(|r| r.text("device_id") == device.id && r.value["position"]["time"] == **time)
        });
        line.report(device).unwrap();
    }
    let errors = gateway.lines_with("ERROR");
    assert_eq!(errors.len(), 1, "one error for one trouble: {errors:?}");
}

#[test]
fn sigterm_drains_and_ends_with_status_0() {
    let directory = tempfile::tempdir().unwrap();
    let setup = Setup::journal("gw-1", &directory.path().join("journal"));
    let mut gateway = KINDS.iter().fold(setup, |setup, protocol| setup.listen(protocol)).start();
    let mut lines = Vec::new();
    for protocol in KINDS {
        let mut device = Device::new(protocol, 410);
        let mut line = Line::connect(gateway.address(protocol)).unwrap();
        line.sign_on(&mut device).unwrap();
        line.report(&mut device).unwrap();
        lines.push((device, line));
    }
    gateway.terminate();
    until("the agent to say so", || {
        let mut agent = Line::connect(gateway.agent()).ok()?;
        (agent.receive_to_end() == b"drain\n").then_some(())
    });
    // it goes on serving until it lets each device go, with a FIN and not a reset
    for (device, line) in &mut lines {
        line.report(device).unwrap();
    }
    for (_, line) in &mut lines {
        assert!(line.receive_to_end().is_empty());
        line.finish();
    }
    assert_eq!(gateway.wait().code(), Some(0), "{}", gateway.log());
}

#[test]
fn a_second_signal_ends_at_once_with_status_1() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = Setup::journal("gw-1", &directory.path().join("journal")).listen("jt808").start();
    let mut device = Device::new("jt808", 420);
    let mut line = Line::connect(gateway.address("jt808")).unwrap();
    line.report(&mut device).unwrap();
    gateway.terminate();
    until("the drain to begin", || (!gateway.lines_with("drain").is_empty()).then_some(()));
    gateway.terminate();
    assert_eq!(gateway.wait().code(), Some(1), "{}", gateway.log());
}

#[test]
fn the_demo_drives_orders_to_their_end_and_counts_nothing_missing() {
    let (status, told, said) = navgate(&["demo", "--seconds", "10"]);
    assert!(status.success(), "{status}:\n{told}\n{said}");
}
