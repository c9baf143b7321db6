//! Instances among themselves: TLS, strangers, and instances that are there and do not answer.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::json;

use crate::harness::authority::Authority;
use crate::harness::backend::Backend;
use crate::harness::device::{Device, Line};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::kafka::shared;
use crate::harness::{PATIENCE, unique, until};

fn setup(id: &str, prefix: &str) -> Setup {
    Setup::kafka(id, shared(), prefix).listen("jt808")
}

/// Devices that are connected to a gateway.
fn connect(gateway: &Gateway, numbers: std::ops::Range<u32>) -> Vec<(Device, Line)> {
    let connect = |n| {
        let mut device = Device::new("jt808", n);
        let mut line = Line::connect(gateway.address("jt808")).unwrap();
        line.sign_on(&mut device).unwrap();
        line.report(&mut device).unwrap();
        (device, line)
    };
    numbers.map(connect).collect()
}

/// A text for each of these devices, so long of worth.
fn text_each(backend: &mut Backend, devices: &[(Device, Line)], name: &str, seconds: i64) -> Vec<String> {
    let mut ids = Vec::new();
    for (device, _) in devices {
        let id = format!("{name}-{}", device.id);
        backend.command(&id, &device.id, "text", &json!({"text": "hello"}), seconds);
        ids.push(id);
    }
    ids
}

/// How often the message came, of which the id is this.
fn shown(line: &mut Line, id: u16) -> usize {
    let received = line.receive_within(Duration::from_millis(50));
    received.windows(3).filter(|w| w[0] == 0x7E && w[1..] == id.to_be_bytes()).count()
}

#[test]
fn instances_speak_tls_and_one_with_certificates_of_another_ca_is_refused() {
    let prefix = unique("peers-tls");
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let files = |ca: &Authority, id: &str| ca.files(&folder.path().join(id));
    let first = setup("gw-1", &prefix).peer_tls(&files(&ours, "gw-1")).start();
    let second = setup("gw-2", &prefix).peer_tls(&files(&ours, "gw-2")).start();
    let mut backend = Backend::new(shared(), &prefix);
    let known = connect(&second, 800..808);
    until("both to be homes", || (first.partitions_beside(&known[0].0.id).len() == 2).then_some(()));
    // half of these have their home on the first
    let (mut of_second, mut of_first) = (known, connect(&first, 810..818));
    let mut ids = text_each(&mut backend, &of_second, "tls", 30);
    ids.extend(text_each(&mut backend, &of_first, "tls", 30));
    backend.flush();
    for (_, line) in of_second.iter_mut().chain(&mut of_first) {
        until("the text", || (shown(line, 0x8300) > 0).then_some(()));
    }

    // it has the secret, and certificates that nobody here believes
    let third = setup("gw-3", &prefix).peer_tls(&files(&theirs, "gw-3")).start();
    let of_third = connect(&third, 820..836);
    until("all to be homes", || (!third.partitions_beside(&of_third[0].0.id).is_empty()).then_some(()));
    let refused = text_each(&mut backend, &of_third, "refused", 12);
    until("all commands to end", || {
        backend.look();
        refused.iter().all(|id| backend.outcome(id).is_some()).then_some(())
    });
    let (mut written, mut kept) = (0, 0);
    for id in &refused {
        let outcome = backend.outcome(id).unwrap();
        match (outcome["result"].as_str().unwrap(), outcome["reason"].as_str()) {
            // its home is the third itself: written, and these devices do not answer
            ("unanswered", None) => written += 1,
            // handed over, as far as the home knows, and nobody answered; or kept where it was
            ("unanswered", Some("instance_lost")) | ("expired", None) => kept += 1,
            _ => panic!("{id}: {outcome}"),
        }
    }
    assert!(written > 0 && kept > 0, "{written} written, {kept} kept");
    let told: Vec<_> = [&first, &second].iter().flat_map(|g| g.lines_with("a peer is out of reach")).collect();
    assert!(!told.is_empty() && told.len() <= 4, "{told:#?}");
    assert!(told.iter().all(|line| line.contains("peer.ca_file")), "{told:#?}");

    // somebody without TLS gets no word
    let mut plain = TcpStream::connect(first.peer()).unwrap();
    plain.set_read_timeout(Some(PATIENCE)).unwrap();
    let hello = br#"{"instance":{"gateway":"gw-9","boot":1},"nonce":"00"}"#;
    plain.write_all(&[&u32::try_from(hello.len()).unwrap().to_be_bytes()[..], hello].concat()).unwrap();
    let mut answer = Vec::new();
    let _ = plain.read_to_end(&mut answer);
    assert!(!answer.windows(5).any(|w| w == b"nonce"), "{answer:?}");
    until("the log to say so", || (first.lines_with("does not speak TLS").len() == 1).then_some(()));
    until("all commands to end", || {
        backend.look();
        backend.is_done().then_some(())
    });
    backend.assert_one_outcome_each();
    drop((of_second, of_first, of_third));
}

#[test]
fn refuses_to_start_with_files_that_do_not_fit() {
    let folder = tempfile::tempdir().unwrap();
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let mut files = ours.files(&folder.path().join("ours"));
    files.key = theirs.files(&folder.path().join("theirs")).key;
    let (status, told) = setup("gw-1", &unique("peers-misfit")).peer_tls(&files).fail_to_start();
    assert_eq!(status.code(), Some(64), "{told}");
    assert!(told.contains("peer.key_file: it is not the key of peer.certificate_file"), "{told}");
}

/// Devices that an instance is said to hold which accepts connections and never says a word.
#[test]
fn an_instance_that_does_not_answer_keeps_no_other_command_waiting() {
    let prefix = unique("peers-silent");
    let (first, second) = (setup("gw-1", &prefix).start(), setup("gw-2", &prefix).start());
    let mut backend = Backend::new(shared(), &prefix);
    let mut there = connect(&second, 840..848);
    until("both to be homes", || (first.partitions_beside(&there[0].0.id).len() == 2).then_some(()));

    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let held: Vec<_> = (0..20).map(|n| format!("138777700{n:02}")).collect();
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", shared()).set("partitioner", "murmur2_random");
    let producer: BaseProducer = config.create().unwrap();
    for device in &held {
        let record = json!({
            "state": "connected", "since": "2026-03-01T10:00:00.000Z", "gateway": "gw-silent", "boot": "1",
            "address": address.to_string(), "epoch": 1, "session": "0000000000000001", "protocol": "jt808", "peer": "203.0.113.9:1",
        });
        let topic = format!("{prefix}.sessions");
        producer.send(BaseRecord::to(&topic).key(device).payload(&record.to_string())).map_err(|(e, _)| e).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    until("it to be known", || [&first, &second].iter().all(|g| g.holder_of(&held[19]).is_some()).then_some(()));

    let mut slowest = Duration::ZERO;
    for round in 0..8 {
        for device in &held {
            let (once, again) = (format!("once-{round}-{device}"), format!("again-{round}-{device}"));
            backend.command(&once, device, "text", &json!({"text": "hello"}), 10);
            backend.command(&again, device, "set_parameters", &json!({"values": {"0x0001": round + 10}}), 10);
        }
        let begun = Instant::now();
        text_each(&mut backend, &there, &format!("there-{round}"), 30);
        backend.flush();
        for (_, line) in &mut there {
            until("the text", || (shown(line, 0x8300) > 0).then_some(()));
        }
        // the first commands wait for connections between the instances
        if round > 0 {
            slowest = slowest.max(begun.elapsed());
        }
    }
    println!("texts past a silent instance: {slowest:?} at most for {}", there.len());
    // a second is what an instance has to answer; nobody waits for that here
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    until("all commands to end", || {
        backend.look();
        backend.is_done().then_some(())
    });
    for (n, device) in (0..8).flat_map(|n| held.iter().map(move |d| (n, d))) {
        let once = backend.outcome(&format!("once-{n}-{device}")).unwrap();
        let fits = matches!(
            (once["result"].as_str().unwrap(), once["reason"].as_str()),
            ("unanswered", Some("instance_lost")) | ("expired", None)
        );
        assert!(fits, "{once}");
        let again = backend.result(&format!("again-{n}-{device}"));
        assert!(matches!(again, "unanswered" | "expired" | "superseded"), "{again}");
    }
    backend.assert_one_outcome_each();
}
