//! Commands, from the topic to a device and back, with real instances and a real Kafka; and without one.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Value, json};

use crate::harness::device::{Device, Line};
use crate::harness::gateway::{Gateway, Setup, http_with, journal_events, journal_records, navgate};
use crate::harness::kafka::{Reader, Record, shared};
use crate::harness::taxi::{Taxi, Until};
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

/// A repeat has no outcome, and yet is not read again after a restart.
#[test]
fn what_needs_no_outcome_is_committed_too() {
    let prefix = unique("down-repeat");
    let _gateway = gateway("gw-1", &prefix);
    let mut backend = Backend::new(&prefix);
    for _ in 0..3 {
        backend.command("again", "13899999998", "locate", &json!({}), 2);
    }
    assert_eq!(backend.outcome("again")["result"], "offline");
    backend.command("again", "13899999998", "locate", &json!({}), 2);
    let mut config = ClientConfig::new();
    let group: BaseConsumer = config.set("bootstrap.servers", shared()).set("group.id", &prefix).create().unwrap();
    let mut asked = TopicPartitionList::new();
    (0..4).for_each(|partition| _ = asked.add_partition(&format!("{prefix}.commands"), partition));
    until("the offset behind the last command to be committed", || {
        let committed = group.committed_offsets(asked.clone(), PATIENCE).ok()?;
        committed.elements().iter().any(|e| e.offset() == Offset::Offset(4)).then_some(())
    });
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

/// What is open and what is known of devices outlives a crash without Kafka, too.
#[test]
fn without_kafka_a_killed_gateway_goes_on_where_it_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut gateway = Setup::journal("gw-1", directory.path()).listen("jt808").start();
    let taxi = |gateway: &Gateway, n| Taxi::new("jt808", n, gateway.address("jt808"), Until::Receipted);
    let (mut here, mut absent) = (taxi(&gateway, 970), taxi(&gateway, 971));
    here.sign_on();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as i64;
    let deadline = protocols::time::Timestamp::from_millis(now + 120_000);
    let post = |gateway: &Gateway, device: &str, id: &str, kind: &str, content: Value| {
        let body = json!({"id": id, "deadline": deadline, "kind": kind, kind: content}).to_string();
        let (status, said) = http_with(gateway.admin(), "POST", &format!("/devices/{device}/commands"), &body).unwrap();
        assert_eq!(status, 202, "{id}: {said}");
    };
    let refused = json!({"driver_id": "D1", "authorized": false, "reason": "licence"});
    let order = json!({"order_id": "7", "won": true, "type": "immediate", "pickup": {"address": "Stand 7."}});
    post(&gateway, &here.id, "shown", "text", json!({"text": "hello"}));
    post(&gateway, &here.id, "assigned", "order_assign", order);
    post(&gateway, &absent.id, "waiting", "text", json!({"text": "hello"}));
    post(&gateway, &absent.id, "driver", "driver_authorization", refused.clone());
    // nobody looks at the screen: what is written is not answered
    let told = |id: &str, kind: &str| {
        let all = journal_records(directory.path(), "outcomes");
        all.into_iter().map(|mut v| v[kind].take()).find(|v| v["command_id"] == *id)
    };
    until("the commands to be on their way", || told("shown", "progress").and_then(|_| told("assigned", "progress")));
    until("the driver to be known", || told("driver", "outcome"));
    gateway.kill();
    gateway.restart();
    // an id that was seen before the crash is known
    post(&gateway, &absent.id, "driver", "driver_authorization", refused);
    let outcome = |id: &str, taxi: &mut Taxi| {
        until("an outcome", || {
            taxi.look();
            told(id, "outcome")
        })
    };
    assert_eq!(outcome("waiting", &mut absent)["result"], "acknowledged");
    assert_eq!(absent.texts, 1);
    let driver = &gateway.known(&absent.id)["session"]["driver"];
    assert_eq!((&driver["driver_id"], &driver["authorized"]), (&json!("D1"), &json!(false)));
    let assigned = outcome("assigned", &mut here);
    assert_eq!((&assigned["result"], &assigned["attempts"]), (&json!("acknowledged"), &json!(2)));
    let shown = outcome("shown", &mut here);
    assert_eq!((&shown["result"], &shown["reason"]), (&json!("unanswered"), &json!("instance_lost")));
    let all = journal_records(directory.path(), "outcomes");
    assert_eq!(all.iter().filter(|v| v["type"] == "outcome").count(), 4, "{all:?}");
}
