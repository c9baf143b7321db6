//! Commands, from the topic to a device and back, with real instances and a real Kafka; and without one.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use crate::harness::device::{Device, Line};
use crate::harness::gateway::{Gateway, Setup, journal_events, navgate};
use crate::harness::kafka::{Reader, Record, shared};
use crate::harness::{PATIENCE, unique, until};

struct Backend {
    producer: BaseProducer,
    prefix: String,
    outcomes: Reader,
}

impl Backend {
    fn new(prefix: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", shared()).set("partitioner", "murmur2_random").set("linger.ms", "0");
        Self {
            producer: config.create().unwrap(),
            prefix: prefix.to_owned(),
            outcomes: Reader::new(shared(), prefix, &["outcomes"]),
        }
    }

    fn command(&self, id: &str, device: &str, kind: &str, content: &Value, seconds: i64) {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
        let deadline = protocols::time::Timestamp::from_millis(now + seconds * 1000);
        let value = json!({"id": id, "device_id": device, "deadline": deadline, "kind": kind, kind: content}).to_string();
        let topic = format!("{}.commands", self.prefix);
        self.producer.send(BaseRecord::to(&topic).key(device).payload(&value)).map_err(|(e, _)| e).unwrap();
        // `flush` sleeps in steps of 100 ms
        let end = Instant::now() + PATIENCE;
        while self.producer.in_flight_count() > 0 {
            assert!(Instant::now() < end, "Kafka does not take a command");
            self.producer.poll(Duration::from_micros(200));
        }
    }

    /// The outcome of a command, once it is there.
    fn outcome(&mut self, id: &str) -> Value {
        self.outcomes.read_until("an outcome", |records| find(records, id).is_some());
        find(&self.outcomes.records, id).unwrap()["outcome"].clone()
    }

    fn assert_one_outcome_each(&mut self, ids: &[String]) {
        let records = self.outcomes.read_all();
        for id in ids {
            let count = records.iter().filter(|r| r.value["outcome"]["command_id"] == **id).count();
            assert_eq!(count, 1, "outcomes of {id}");
        }
    }
}

fn find<'r>(records: &'r [Record], id: &str) -> Option<&'r Value> {
    records.iter().map(|r| &r.value).find(|v| v["outcome"]["command_id"] == id)
}

fn gateway(id: &str, prefix: &str) -> Gateway {
    Setup::kafka(id, shared(), prefix).listen("jt808").start()
}

fn connect(gateway: &Gateway, device: &mut Device) -> Line {
    let mut line = Line::connect(gateway.address("jt808")).unwrap();
    line.sign_on(device).unwrap();
    line.report(device).unwrap();
    line
}

#[test]
fn a_command_reaches_its_device_on_whichever_instance() {
    let prefix = unique("down");
    let (first, second) = (gateway("gw-1", &prefix), gateway("gw-2", &prefix));
    let mut backend = Backend::new(&prefix);
    let mut devices: Vec<_> = (0..4).map(|n| Device::new("jt808", 700 + n)).collect();
    let mut lines = Vec::new();
    for (n, device) in devices.iter_mut().enumerate() {
        lines.push(connect(if n % 2 == 0 { &first } else { &second }, device));
    }
    for (n, device) in devices.iter().enumerate() {
        backend.command(&format!("text-{n}"), &device.id, "text", &json!({"text": "hello"}), 20);
    }
    // each arrives where its device is, and ends unanswered since these devices do not answer texts
    for line in &mut lines {
        let frame = until("the text on the wire", || {
            let received = line.receive_within(Duration::from_millis(200));
            received.windows(2).any(|w| w == [0x83, 0x00]).then_some(received)
        });
        assert!(!frame.is_empty());
    }
    backend.command("nobody", "13899999999", "locate", &json!({}), 2);
    assert_eq!(backend.outcome("nobody")["result"], "offline");
    backend.command("bad", &devices[0].id, "dance", &json!({}), 2);
    assert_eq!(backend.outcome("bad")["result"], "invalid");
    let ids: Vec<String> = (0..4).map(|n| format!("text-{n}")).collect();
    for id in &ids {
        let outcome = backend.outcome(id);
        assert!(outcome["attempts"].as_u64() >= Some(1) && outcome["sent_at"].is_string(), "{id}: {outcome}");
    }
    backend.assert_one_outcome_each(&ids);
}

/// The bound is for machines that are busy with other things; what is measured is printed.
#[test]
fn a_command_is_on_the_wire_soon_after_it_was_produced() {
    let prefix = unique("down-latency");
    let (first, second) = (gateway("gw-1", &prefix), gateway("gw-2", &prefix));
    let mut backend = Backend::new(&prefix);
    let (mut taken, mut offered) = (Vec::new(), Vec::new());
    let order = json!({"order_id": "1000", "type": "immediate", "pickup": {"address": "Stand 1"}});
    for (n, gateway) in [&first, &second].into_iter().enumerate() {
        let mut device = Device::new("jt808", 780 + n as u32);
        let mut line = connect(gateway, &mut device);
        for round in 0..12 {
            let begun = Instant::now();
            backend.command(&format!("l-{n}-{round}"), &device.id, "locate", &json!({}), 10);
            while !line.receive_within(Duration::from_millis(1)).windows(2).any(|w| w == [0x82, 0x01]) {
                assert!(begun.elapsed() < PATIENCE, "no query on the wire");
            }
            // the first ones wait for the group to gather
            if round >= 4 {
                taken.push(begun.elapsed());
            }
            // an offer waits for the device's record besides
            let begun = Instant::now();
            backend.command(&format!("o-{n}-{round}"), &device.id, "order_offer", &order, 10);
            while !line.receive_within(Duration::from_millis(1)).windows(2).any(|w| w == [0x83, 0x02]) {
                assert!(begun.elapsed() < PATIENCE, "no offer on the wire");
            }
            if round >= 4 {
                offered.push(begun.elapsed());
            }
            if round > 0 {
                assert_eq!(backend.outcome(&format!("l-{n}-{}", round - 1))["result"], "superseded");
            }
        }
    }
    for (what, mut taken) in [("query", taken), ("offer", offered)] {
        taken.sort();
        println!("{what} produced to wire: median {:?}, most {:?}", taken[taken.len() / 2], taken.last().unwrap());
        assert!(taken[taken.len() / 2] < Duration::from_millis(400), "{what}");
    }
}

#[test]
fn every_command_has_one_outcome_though_its_home_is_killed() {
    let prefix = unique("down-kill");
    let (mut first, second) = (gateway("gw-1", &prefix), gateway("gw-2", &prefix));
    let mut backend = Backend::new(&prefix);
    let mut device = Device::new("jt808", 720);
    let _line = connect(&second, &mut device);
    let mut ids = Vec::new();
    for n in 0..40 {
        // for absent devices of all partitions, and for one that is there
        let (id, absent) = (format!("c-{n}"), format!("1388888{n:04}"));
        let to = if n % 4 == 0 { &device.id } else { &absent };
        backend.command(&id, to, "locate", &json!({}), 25);
        ids.push(id);
    }
    first.kill();
    for id in &ids {
        let outcome = backend.outcome(id);
        assert!(outcome["result"].is_string(), "{outcome}");
    }
    first.restart();
    backend.assert_one_outcome_each(&ids);
}

#[test]
fn a_device_has_one_session_in_the_cluster() {
    let prefix = unique("down-move");
    let (first, second) = (gateway("gw-1", &prefix), gateway("gw-2", &prefix));
    let mut device = Device::new("jt808", 740);
    let mut old = connect(&first, &mut device);
    let _new = connect(&second, &mut device);
    let begun = Instant::now();
    old.receive_to_end();
    assert!(begun.elapsed() < Duration::from_secs(10));
    let shown: Value = until("the first instance to know", || {
        let shown: Value = serde_json::from_str(&first.get(&format!("/devices/{}", device.id))).unwrap();
        (shown["known"]["session"]["gateway"] == "gw-2").then_some(shown)
    });
    assert_eq!(shown["known"]["session"]["state"], "connected");
}

#[test]
fn without_kafka_commands_come_by_http_and_outcomes_go_to_the_journal() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Setup::journal("gw-1", directory.path()).listen("jt808").start();
    let mut device = Device::new("jt808", 760);
    let _line = connect(&gateway, &mut device);
    let admin = gateway.admin().to_string();
    let send = |device: &str, seconds: &str| {
        let arguments = ["send", device, "text", r#"{"text":"hello"}"#, "--admin", &admin, "--seconds", seconds];
        let output = Command::new(env!("CARGO_BIN_EXE_navgate")).args(arguments).stdin(Stdio::null()).output().unwrap();
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    let (status, told) = send("13877777777", "1");
    assert_eq!(status, Some(1));
    let last: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
    assert_eq!(last["outcome"]["result"], "offline", "{told}");
    let (_, told) = send(&device.id, "2");
    assert!(told.contains("\"sent\"") && told.contains("unanswered"), "{told}");
    let (status, sentence, _) = navgate(&["why", &device.id, "--admin", &admin]);
    assert!(status.success() && sentence.contains("connected to gw-1"), "{sentence}");
    let _ = journal_events(directory.path());
    let (_, all, _) = navgate(&["events", "--all", &directory.path().to_string_lossy()]);
    assert_eq!(all.lines().filter(|l| l.contains("\"type\":\"outcome\"")).count(), 2, "{all}");
}
