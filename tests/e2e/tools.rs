//! What a person has at hand: `navgate send`, `navgate why`, and the admin endpoints behind them, with a real Kafka.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::{Value, json};

use crate::harness::device::{Device, Line};
use crate::harness::gateway::{Gateway, Setup, http_with, navgate};
use crate::harness::kafka::shared;
use crate::harness::taxi::{Taxi, Until};
use crate::harness::{PATIENCE, unique, until};

/// A device that never connects.
const NOBODY: &str = "13899999900";

/// Two instances that share the commands; the device that they are asked about is at the second.
fn instances(prefix: &str, protocol: &str) -> (Gateway, Gateway) {
    let start = |id| Setup::kafka(id, shared(), prefix).listen(protocol).start();
    let (first, second) = (start("gw-1"), start("gw-2"));
    await_why(&first, NOBODY, "never_seen");
    (first, second)
}

/// Let a taxi drive on while something else happens.
fn driving<T>(taxi: &mut Taxi, during: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                taxi.look();
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let result = std::panic::catch_unwind(std::panic::AssertUnwindSafe(during));
        done.store(true, Ordering::Relaxed);
        result.unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// Status, records and what was said to the person.
fn send(arguments: &[&str]) -> (Option<i32>, Vec<Value>, String) {
    let (status, out, said) = navgate(&[&["send"], arguments].concat());
    (status.code(), out.lines().map(|line| serde_json::from_str(line).unwrap()).collect(), said)
}

/// The sentence's word, and all that it follows from.
fn why(gateway: &Gateway, device: &str) -> (String, Value) {
    let (status, out, said) = navgate(&["why", device, "--json", "--admin", &gateway.admin().to_string()]);
    assert!(status.success(), "{said}");
    let told: Value = serde_json::from_str(&out).unwrap();
    (told["reason"].as_str().unwrap().to_owned(), told)
}

/// Wait until the reason is this one: what one instance knows, another knows a moment later.
fn await_why(gateway: &Gateway, device: &str, word: &str) -> Value {
    let mut last = String::new();
    let end = std::time::Instant::now() + PATIENCE;
    loop {
        let (told, all) = why(gateway, device);
        if told == word {
            return all;
        }
        assert!(std::time::Instant::now() < end, "waited for {word}, it is {last}");
        last = all.to_string();
    }
}

fn outcome(records: &[Value]) -> &Value {
    &records.last().expect("nothing was told")["outcome"]
}

#[test]
fn a_command_is_sent_and_followed_from_any_instance_and_from_kafka() {
    let prefix = unique("tools-send");
    let (first, second) = instances(&prefix, "jt808");
    let mut taxi = Taxi::new("jt808", 900, second.address("jt808"), Until::Assigned);
    taxi.sign_on();
    let id = taxi.id.clone();
    let admin = first.admin().to_string();
    let by_admin = ["--admin", admin.as_str()];
    let by_kafka = ["--brokers", shared(), "--prefix", &prefix];
    driving(&mut taxi, || {
        for (way, name) in [(&by_admin[..], "admin"), (&by_kafka[..], "kafka")] {
            let send = |arguments: &[&str]| send(&[arguments, way].concat());
            let (status, records, said) = send(&[&id, "text", r#"{"text":"Road closed"}"#, "--id", &format!("text-{name}")]);
            assert_eq!((status, said.as_str()), (Some(0), ""), "{records:?}");
            assert_eq!(records[0]["progress"]["stage"], "sent", "{records:?}");
            assert_eq!(outcome(&records)["result"], "acknowledged");
            assert!(records.iter().all(|r| r.to_string().contains(&format!("text-{name}"))), "only its own: {records:?}");

            let (status, records, said) = send(&["13899999901", "locate", "--seconds", "1"]);
            assert_eq!((status, &outcome(&records)["result"]), (Some(1), &json!("offline")), "{said}");
            assert_eq!(records[0]["progress"]["stage"], "waiting");
            assert!(said.contains("it ended offline: the device was not connected"), "{said}");

            // the latest deadline is the gateway's to judge
            let (status, records, said) = send(&[&id, "locate", "--seconds", "7200"]);
            assert_eq!((status, &outcome(&records)["reason"]), (Some(1), &json!("deadline")), "{said}");

            let (status, records, said) = send(&[&id, "text", r#"{"tekst":"Road closed"}"#]);
            assert_eq!((status, records.len()), (Some(2), 0));
            assert!(said.contains("text: missing field `text`") && said.contains("for example"), "{said}");
        }
    });
    assert_eq!(taxi.texts, 2);
    let (status, records, said) = send(&[&id, "locate", "--brokers", shared(), "--prefix", "no-such"]);
    assert_eq!((status, records.len()), (Some(1), 0));
    assert!(said.contains("there is no topic no-such.outcomes"), "{said}");
    let (status, _, said) = send(&[&id, "locate", "--admin", "127.0.0.1:1"]);
    assert!(status == Some(1) && said.contains("--admin"), "{said}");
}

fn post(to: SocketAddr, path: &str, body: &Value) -> (u16, String) {
    http_with(to, "POST", path, &body.to_string()).unwrap()
}

#[test]
fn commands_by_http_are_completed_bounded_and_end_with_their_reader() {
    let prefix = unique("tools-http");
    let (first, second) = instances(&prefix, "jt808");
    let admin = first.admin();
    // whoever holds a device is known to the other
    let mut device = Device::new("jt808", 902);
    let mut line = Line::connect(second.address("jt808")).unwrap();
    line.sign_on(&mut device).unwrap();
    line.report(&mut device).unwrap();
    await_why(&first, &device.id, "no_driver");
    // what is wrong with a command is for its outcome to say
    for (body, reason) in [
        (json!({"kind": "dance", "dance": {}}), "field"),
        (json!({"kind": "text", "text": {}}), "field"),
        (json!({"kind": "locate", "locate": {}, "deadline": "soon"}), "deadline"),
    ] {
        let (status, told) = post(admin, "/devices/13899999902/commands?wait=1", &body);
        // between the lines stand the lengths of HTTP's chunks
        let line = told.lines().rfind(|line| line.starts_with('{')).unwrap_or_else(|| panic!("{status}: {told}"));
        let last: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (status, &last["outcome"]["result"], &last["outcome"]["reason"]),
            (200, &json!("invalid"), &json!(reason)),
            "{told}"
        );
    }
    let (status, told) = post(admin, "/devices/000/commands", &json!({}));
    assert_eq!((status, told.as_str()), (400, "this cannot be the identity of a device\n"));
    // nobody waits: it is in the topic
    let (status, told) = post(admin, "/devices/13899999902/commands", &json!({"kind": "locate", "locate": {}}));
    let accepted: Value = serde_json::from_str(&told).unwrap();
    assert_eq!((status, accepted["id"].as_str().map(str::len)), (202, Some(32)));
    until("the command at its home", || {
        let known: Value =
            serde_json::from_str(&http_with(admin, "GET", "/devices/13899999902?everywhere=1", "").unwrap().1).unwrap();
        let open = known["known"]["open_commands"].as_array().unwrap();
        open.iter().any(|c| c["id"] == accepted["id"] && c["place"] == "home" && c["stage"] == "waiting").then_some(())
    });

    // each text is wanted for its own sake: none takes the place of another
    let wait = json!({"kind": "text", "text": {"text": "Road closed"}}).to_string();
    let follow = || {
        let mut stream = TcpStream::connect(admin).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        let path = "/devices/13899999903/commands?wait=1";
        write!(stream, "POST {path} HTTP/1.0\r\nContent-Length: {}\r\n\r\n{wait}", wait.len()).unwrap();
        let mut reader = BufReader::new(stream);
        let mut status = String::new();
        reader.read_line(&mut status).unwrap();
        (status.split(' ').nth(1).unwrap().to_owned(), reader)
    };
    let followed: Vec<_> = (0..16).map(|_| follow()).collect();
    assert!(followed.iter().all(|(status, _)| status == "200"));
    let (status, mut reader) = follow();
    let mut told = String::new();
    reader.read_to_string(&mut told).unwrap();
    assert!(status == "429" && told.contains("16 commands are followed here already"), "{told}");
    drop(followed);
    until("room for another", || (follow().0 == "200").then_some(()));
}

#[test]
fn why_a_car_gets_no_orders_is_told_by_whichever_instance() {
    let prefix = unique("tools-why");
    let (first, second) = instances(&prefix, "jt808");
    let mut device = Device::new("jt808", 904);
    let mut line = Line::connect(second.address("jt808")).unwrap();
    line.sign_on(&mut device).unwrap();
    line.report(&mut device).unwrap();
    let told = await_why(&first, &device.id, "no_driver");
    let sentence = told["sentence"].as_str().unwrap();
    assert!(sentence.starts_with(&format!("{} is connected to gw-2", device.id)), "{sentence}");
    let known = &told["known"];
    assert_eq!((&told["gateway"], &known["here"], &known["session"]["protocol"]), (&json!("gw-1"), &json!(false), &json!("jt808")));
    let place = &known["connection"]["position"];
    assert!(place["latitude"] == 22.5431 && place["valid"] == true && place["received_at"].is_string(), "{place}");
    let answered = known["instances"].as_array().unwrap().iter().filter(|i| i["answered"] == true).count();
    assert_eq!(answered, 2, "{known}");
    let homes = &known["commands_topic"]["homes"];
    let served: usize = ["gw-1", "gw-2"].iter().map(|id| homes[id].as_array().map_or(0, Vec::len)).sum();
    assert_eq!((served, &known["commands_topic"]["partitions"]), (4, &json!(4)), "{homes}");

    // a frame with a wrong checksum
    line.send(&protocols::cursor::unhex("7e0002000001380000090400010000007e").unwrap()).unwrap();
    let told = await_why(&first, &device.id, "faults");
    assert_eq!(told["known"]["last_faults"][0]["kind"], "checksum", "{told}");
    drop(line);
    await_why(&first, &device.id, "not_connected");

    // a screen that shows an offer and a driver who does not care
    let mut taxi = Taxi::new("jt808", 904, second.address("jt808"), Until::Receipted);
    taxi.sign_on();
    let id = taxi.id.clone();
    let offer = json!({
        "kind": "order_offer",
        "order_offer": {"order_id": "4711", "type": "immediate", "pickup": {"address": "Stand 4711."}},
        "deadline": protocols::time::Timestamp::from_millis(now_ms() + 15_000),
    });
    driving(&mut taxi, || {
        let (status, told) = post(first.admin(), &format!("/devices/{id}/commands"), &offer);
        assert_eq!(status, 202, "{told}");
        let told = await_why(&first, &id, "offer_open");
        let offer = &told["known"]["open_commands"][0];
        assert_eq!(
            (&offer["place"], &offer["order_id"], &offer["instances"]),
            (&json!("device"), &json!("4711"), &json!(["gw-2"]))
        );
        // nobody answers it
        let told = await_why(&first, &id, "last_offers");
        let sentence = told["sentence"].as_str().unwrap();
        assert!(sentence.contains("was sent the last offer, and nobody answered in time"), "{sentence}");
    });
    let refuse = json!({"kind": "driver_authorization", "driver_authorization": {"driver_id": "D7", "authorized": false}});
    driving(&mut taxi, || {
        assert_eq!(post(first.admin(), &format!("/devices/{id}/commands"), &refuse).0, 202);
        await_why(&first, &id, "driver_refused");
    });
}

fn now_ms() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    i64::try_from(now.as_millis()).unwrap()
}

#[test]
fn devices_and_commands_want_the_token() {
    let directory = tempfile::tempdir().unwrap();
    let token = directory.path().join("token");
    std::fs::write(&token, "a token of sixteen and more\n").unwrap();
    let setup = Setup::journal("gw-1", &directory.path().join("journal")).listen("jt808");
    let gateway = setup.admin_token("a token of sixteen and more").start();
    let admin = gateway.admin();
    for (method, path) in [("GET", "/devices/1"), ("POST", "/devices/1/commands")] {
        assert_eq!(http_with(admin, method, path, "{}").unwrap().0, 401, "{path}");
    }
    let (admin, token) = (admin.to_string(), token.to_string_lossy());
    let (status, _, said) = navgate(&["why", "13899999906", "--admin", &admin]);
    assert!(status.code() == Some(1) && said.contains("--token-file"), "{said}");
    let (status, sentence, _) = navgate(&["why", "13899999906", "--admin", &admin, "--token-file", &token]);
    assert!(status.success() && sentence.contains("has never been seen"), "{sentence}");
    let (status, records, _) = send(&["13899999906", "locate", "--seconds", "1", "--admin", &admin, "--token-file", &token]);
    assert_eq!((status, &outcome(&records)["result"]), (Some(1), &json!("offline")));
}
