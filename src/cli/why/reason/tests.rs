//! Each sentence, and which of two goes first.

use serde_json::{Value, json};

use super::*;

/// A car with which all is well, at 10:00.
fn car() -> Value {
    json!({
        "device_id": "13800000001", "gateway": "gw-1", "at": "2026-03-01T10:00:00.000Z",
        "known": {
            "session": {
                "state": "connected", "since": "2026-03-01T08:00:00.000Z", "gateway": "gw-2", "boot": "7", "address": "10.0.0.2:9901",
                "epoch": 5, "session": "00000000000000ff", "protocol": "jt905", "peer": "10.1.1.1:5000",
                "driver": {"driver_id": "D7", "since": "2026-03-01T08:00:05.000Z"}
            },
            "here": false,
            "connection": {"last_received": "2026-03-01T09:59:57.000Z", "idle_s": 180, "lag_ms": 400},
            "open_commands": [], "last_outcomes": [], "last_faults": [], "partitions": [0, 1],
            "sink": {"mode": "live", "healthy": true, "trouble": ""},
            "offers": "answer", "drivers": true,
            "instances": [
                {"gateway": "gw-1", "answered": true, "partitions": [0, 1], "sink": {"mode": "live", "healthy": true, "trouble": ""}},
                {"gateway": "gw-2", "answered": true, "partitions": [2], "sink": {"mode": "live", "healthy": true, "trouble": ""}}
            ],
            "commands_topic": {"trouble": "", "partitions": 3, "homes": {"gw-1": [0, 1], "gw-2": [2]}}
        }
    })
}

/// The same with this in the place of what the path names.
fn with(mut car: Value, changes: &[(&str, Value)]) -> Value {
    for (path, value) in changes {
        *car.pointer_mut(&format!("/known/{path}")).unwrap_or_else(|| panic!("{path}")) = value.clone();
    }
    car
}

fn told(car: &Value) -> Reason {
    reason(&serde_json::from_value(car.clone()).unwrap())
}

#[track_caller]
fn assert_told(changes: &[(&str, Value)], word: &str, sentence: &str) {
    let reason = told(&with(car(), changes));
    assert_eq!((reason.word, reason.sentence.as_str()), (word, sentence));
}

fn offer(place: &str, stage: &str) -> Value {
    json!({
        "id": "c-1", "kind": "order_offer", "order_id": "4711", "stage": stage, "sent_at": "2026-03-01T09:59:48.000Z",
        "deadline": "2026-03-01T10:00:15.000Z", "place": place, "instances": ["gw-2"], "home": "gw-1"
    })
}

fn ended(at: &str, result: &str, reason: Value) -> Value {
    let mut ended = json!({
        "at": format!("2026-03-01T{at}.000Z"), "kind": "order_offer", "command_id": "c-0", "result": result, "attempts": 1
    });
    if !reason.is_null() {
        ended["reason"] = reason;
    }
    ended
}

fn fault(at: &str, kind: &str, detail: &str) -> Value {
    json!({"at": format!("2026-03-01T{at}.000Z"), "kind": kind, "detail": detail})
}

#[test]
fn all_is_well() {
    assert_told(
        &[],
        "none",
        "nothing keeps orders from 13800000001: it is connected to gw-2 (jt905) for 2 h 0 min, heard 3 s ago, with driver D7; no offer \
         for it is known of the last hour.",
    );
    assert_told(
        &[("last_outcomes", json!([ended("09:30:00", "rejected", json!("busy")), ended("09:50:00", "acknowledged", Value::Null)]))],
        "none",
        "nothing keeps orders from 13800000001: it is connected to gw-2 (jt905) for 2 h 0 min, heard 3 s ago, with driver D7; its driver \
         took the last offer 10 min ago.",
    );
    // as one instance that is alone answers
    let mut alone = with(car(), &[("session/gateway", json!("gw-1")), ("here", json!(true))]);
    alone["known"].as_object_mut().unwrap().remove("commands_topic");
    alone["known"]["instances"].as_array_mut().unwrap().pop();
    assert_eq!(told(&alone).word, "none");
}

#[test]
fn what_concerns_all_cars() {
    assert_told(
        &[("commands_topic/trouble", json!("Kafka does not answer: timed out"))],
        "kafka_away",
        "no command comes through to any car, for gw-1 cannot ask Kafka: Kafka does not answer: timed out.",
    );
    assert_told(
        &[("commands_topic/homes", json!({"gw-1": [0, 1], "gw-2": []}))],
        "no_home",
        "commands may have to wait, for no instance serves 1 of the 3 partitions of the commands topic; that ends by itself within 15 s \
         after an instance has come or gone.",
    );
    assert_told(
        &[("commands_topic/homes", json!({}))],
        "no_home",
        "no command comes through to any car, for no instance serves the commands topic.",
    );
    assert_told(
        &[("instances/1/sink", json!({"mode": "live", "healthy": false, "trouble": "no space left"}))],
        "store_full",
        "13800000001 is connected to gw-2, which cannot store anything at present (no space left) and so reads nothing from its devices.",
    );
}

#[test]
fn it_is_not_there() {
    let never =
        "13800000001 has never been seen: it never connected, or under another identity (/sessions lists who is connected).";
    assert_told(&[("session", Value::Null)], "never_seen", never);
    // the backend has spoken about its driver, that is all
    assert_told(&[("session/epoch", json!(0)), ("session/state", json!("away"))], "never_seen", never);
    let turned_away = [fault("09:55:00", "unknown_device", "the device is not listed in security.devices")];
    assert_told(
        &[("session", Value::Null), ("last_faults", json!(turned_away))],
        "turned_away",
        "13800000001 is not let in, for it is not listed in security.devices; it tried last 5 min ago.",
    );
    let away = [("session/state", json!("away")), ("session/since", json!("2026-02-26T06:00:00.000Z"))];
    assert_told(
        &away,
        "not_connected",
        "13800000001 is not connected since 2026-02-26T06:00:00.000Z (3 d 4 h), it was at gw-2 then.",
    );
    let mut waiting = away.to_vec();
    waiting.push(("open_commands", json!([offer("home", "waiting"), offer("home", "waiting")])));
    assert_told(
        &waiting,
        "not_connected",
        "13800000001 is not connected since 2026-02-26T06:00:00.000Z (3 d 4 h), it was at gw-2 then; 2 commands wait for it.",
    );
    assert_told(
        &[("last_faults", json!([fault("09:59:30", "clone", "10.1.1.9:700 also says that it is this device")]))],
        "clone",
        "two devices fight over the identity 13800000001 and throw each other out: 10.1.1.9:700 also says that it is this device, 30 s \
         ago.",
    );
}

#[test]
fn it_cannot_be_spoken_to() {
    assert_told(
        &[("offers", Value::Null), ("session/protocol", json!("tk103"))],
        "cannot_show",
        "13800000001 speaks tk103, which has no words for an offer (`navgate protocols`).",
    );
    assert_told(
        &[("connection", Value::Null)],
        "instance_unreachable",
        "13800000001 is connected to gw-2, which does not say how it is: commands wait until it does or the device moves.",
    );
    assert_told(
        &[("connection/last_received", json!("2026-03-01T09:58:20.000Z"))],
        "silent",
        "13800000001 is connected to gw-2, and nothing was heard of it for 100 s: the line may be dead.",
    );
    assert_told(
        &[("connection/lag_ms", json!(12_300))],
        "lag",
        "13800000001 is connected to gw-2, and takes 12 s to hear us: too long for offers with short deadlines.",
    );
    assert_told(
        &[("last_outcomes", json!([ended("09:58:00", "expired", json!("lag"))]))],
        "lag",
        "13800000001 is connected to gw-2, and the last offer, 2 min ago, was not sent, for it left the driver less than 4 s: give \
         offers a later deadline.",
    );
    let unreadable = [fault("09:20:00", "value", "old"), fault("09:50:00", "checksum", "checksum is 0x1, should be 0x2")];
    assert_told(
        &[("last_faults", json!(unreadable))],
        "faults",
        "13800000001 is connected to gw-2 and sent something that cannot be used, the last 10 min ago: checksum, checksum is 0x1, should \
         be 0x2 (navgate.rejects has the bytes).",
    );
    assert_eq!(told(&with(car(), &[("last_faults", json!([fault("09:20:00", "value", "old")]))])).word, "none");
    let mut declined = ended("09:58:00", "rejected", Value::Null);
    declined["answered_at"] = json!("2026-03-01T09:58:00.000Z");
    let understood = [("last_faults", json!([fault("09:50:00", "checksum", "x")])), ("last_outcomes", json!([declined]))];
    assert_eq!(told(&with(car(), &understood)).word, "last_offers");
}

#[test]
fn it_may_have_none() {
    let refused = json!({"driver_id": "D7", "authorized": false});
    assert_told(
        &[("session/driver", refused)],
        "driver_refused",
        "13800000001 is connected to gw-2, and the backend does not authorize its driver D7 (driver_authorization).",
    );
    assert_told(
        &[("session/driver", Value::Null)],
        "no_driver",
        "13800000001 is connected to gw-2 for 2 h 0 min, but no driver is signed on.",
    );
    // a tracker has no drivers, and whoever offers to a car without one knows why
    assert_eq!(told(&with(car(), &[("session/driver", Value::Null), ("drivers", json!(false))])).word, "none");
    let took = json!([ended("09:50:00", "acknowledged", Value::Null)]);
    assert_eq!(told(&with(car(), &[("session/driver", Value::Null), ("last_outcomes", took)])).word, "none");

    for (stage, sentence) in [
        ("accepted", "13800000001 wants order 4711, and the backend has not said yet whether it is theirs (order_assign)."),
        ("assigned", "13800000001 has order 4711 already."),
        ("enroute", "13800000001 has order 4711 already, and is on the way to the passenger."),
        ("arrived", "13800000001 has order 4711 already, and is at the passenger."),
        ("picked_up", "13800000001 has order 4711 already, and the passenger is in the car."),
    ] {
        let mut car = car();
        car["known"]["session"]["open_orders"] =
            json!([{"order_id": "9", "stage": "declined"}, {"order_id": "4711", "stage": stage}]);
        let reason = told(&car);
        assert_eq!((reason.word, reason.sentence.as_str()), ("has_order", sentence));
    }
}

#[test]
fn an_offer_is_open() {
    for (place, stage, sentence) in [
        ("device", "read", "the driver of 13800000001 has read the offer of order 4711 and not answered yet"),
        ("device", "delivered", "13800000001 shows the offer of order 4711 for 12 s, and its driver has not answered yet"),
        ("device", "sent", "the offer of order 4711 was written to 13800000001 12 s ago, which has not said that it shows it"),
        (
            "device",
            "waiting",
            "the offer of order 4711 waits at gw-2, for 13800000001 has to answer other things first: its screen is full",
        ),
        (
            "handed_over",
            "waiting",
            "the offer of order 4711 was handed to gw-2, which has not said yet that it took it for 13800000001",
        ),
        ("home", "waiting", "the offer of order 4711 waits at gw-1, which cannot hand it to gw-2 for 13800000001"),
        ("recovering", "waiting", "the offer of order 4711 for 13800000001 has a new home, gw-1, which asks how far it is"),
        (
            "written",
            "waiting",
            "13800000001 got the offer of order 4711 over a connection that is gone, and its driver may still answer",
        ),
    ] {
        let sentence = format!("{sentence} (until 2026-03-01T10:00:15.000Z).");
        assert_told(&[("open_commands", json!([offer(place, stage)]))], "offer_open", &sentence);
    }
    let mut second = offer("device", "waiting");
    second["order_id"] = json!("4712");
    assert_told(
        &[("open_commands", json!([second, offer("device", "delivered")]))],
        "offer_open",
        "13800000001 shows the offer of order 4711 for 12 s, and its driver has not answered yet (until 2026-03-01T10:00:15.000Z), and 1 \
         more offer waits behind it.",
    );
    let mut text = offer("device", "sent");
    text["kind"] = json!("text");
    assert_eq!(told(&with(car(), &[("open_commands", json!([text]))])).word, "none", "no offer");
}

#[test]
fn offers_came_to_nothing() {
    for (result, reason, sentence) in [
        ("rejected", Value::Null, "the driver of 13800000001 declined the last 2 offers"),
        ("rejected", json!("busy"), "13800000001 refused the last 2 offers, for its driver is busy"),
        (
            "rejected",
            json!("window_full"),
            "13800000001 was not sent the last 2 offers, for its screen is full: it has too much to answer already",
        ),
        (
            "rejected",
            json!("device_failed"),
            "the device 13800000001 refused the last 2 offers: it failed, or does not know such a message",
        ),
        ("unanswered", Value::Null, "13800000001 was sent the last 2 offers, and nobody answered in time"),
        ("unanswered", json!("no_receipt"), "13800000001 was sent the last 2 offers, and jt905 has no way to answer them"),
        ("unanswered", json!("instance_lost"), "the instance that 13800000001 was connected to was lost with the last 2 offers"),
        ("expired", Value::Null, "the last 2 offers could not be written to 13800000001 in time, though it was connected"),
        ("offline", Value::Null, "13800000001 is back, and was not connected for the last 2 offers"),
        ("unsupported", Value::Null, "13800000001 cannot show the last 2 offers: this device has no words for it"),
    ] {
        let outcomes = json!([
            ended("09:40:00", "acknowledged", Value::Null),
            ended("09:45:00", result, reason.clone()),
            ended("09:50:00", "superseded", Value::Null),
            ended("09:55:00", result, reason),
        ]);
        assert_told(&[("last_outcomes", outcomes)], "last_offers", &format!("{sentence}; 5 min ago."));
    }
    let mut invalid = ended("09:55:00", "invalid", json!("field"));
    invalid["warnings"] = json!(["order_offer.order_id: expected 1 to 64 printable ASCII characters"]);
    assert_told(
        &[("last_outcomes", json!([invalid]))],
        "last_offers",
        "the last offer for 13800000001 made no sense: order_offer.order_id: expected 1 to 64 printable ASCII characters; 5 min ago.",
    );
    assert_eq!(
        told(&with(car(), &[("last_outcomes", json!([ended("08:59:00", "rejected", Value::Null)]))])).word,
        "none",
        "long ago"
    );
    let mut text = ended("09:55:00", "unanswered", Value::Null);
    text["kind"] = json!("text");
    assert_eq!(told(&with(car(), &[("last_outcomes", json!([text]))])).word, "none", "no offer");
}

/// Everything is wrong; what goes first is mended, one after the other.
#[test]
fn what_has_to_be_mended_first_is_told_first() {
    let good = car();
    let mut car = with(
        car(),
        &[
            ("commands_topic", json!({"trouble": "away", "partitions": 3, "homes": {}})),
            ("session", Value::Null),
            ("connection", Value::Null),
            ("offers", Value::Null),
            ("instances/1/sink/healthy", json!(false)),
            ("last_faults", json!([fault("09:58:00", "checksum", "x"), fault("09:59:00", "unknown_device", "x")])),
            ("open_commands", json!([offer("device", "sent")])),
            ("last_outcomes", json!([ended("09:40:00", "rejected", Value::Null)])),
        ],
    );
    let at = |path: &str| good.pointer(&format!("/known/{path}")).unwrap().clone();
    let clone = fault("09:59:30", CLONE, "x");
    let away = with(good.clone(), &[("session/state", json!("away"))])["known"]["session"].clone();
    let mut bad = at("session");
    bad["driver"] = json!({"driver_id": "D7", "authorized": false});
    bad["open_orders"] = json!([{"order_id": "9", "stage": "assigned"}]);
    let silent = json!({"last_received": "2026-03-01T09:00:00Z", "idle_s": 180, "lag_ms": 20_000});
    let mut alone = bad.clone();
    alone.as_object_mut().unwrap().remove("driver");
    let mut free = alone.clone();
    free.as_object_mut().unwrap().remove("open_orders");
    // what is told, and what mends it
    let steps: [(&str, &[(&str, Value)]); 18] = [
        ("kafka_away", &[("commands_topic/trouble", json!(""))]),
        ("no_home", &[("commands_topic", at("commands_topic"))]),
        ("turned_away", &[("last_faults", json!([fault("09:58:00", "checksum", "x"), clone]))]),
        ("never_seen", &[("session", away)]),
        ("clone", &[("last_faults", json!([fault("09:58:00", "checksum", "x")]))]),
        ("not_connected", &[("session", bad)]),
        ("cannot_show", &[("offers", at("offers"))]),
        ("instance_unreachable", &[("connection", silent)]),
        ("store_full", &[("instances/1/sink/healthy", json!(true))]),
        ("silent", &[("connection/last_received", at("connection/last_received"))]),
        ("driver_refused", &[("session", alone)]),
        ("has_order", &[("session", free)]),
        ("faults", &[("last_faults", json!([]))]),
        ("lag", &[("connection", at("connection"))]),
        ("offer_open", &[("open_commands", json!([]))]),
        ("last_offers", &[("last_outcomes", json!([]))]),
        ("no_driver", &[("session", at("session"))]),
        ("none", &[]),
    ];
    let words: Vec<_> = REASONS.iter().map(|(word, _)| *word).collect();
    assert_eq!(steps.each_ref().map(|(word, _)| *word)[..REASONS.len()], words);
    for (word, mended) in steps {
        assert_eq!(told(&car).word, word);
        car = with(car, mended);
    }
}

#[test]
fn the_readme_lists_every_reason() {
    let readme = include_str!("../../../../README.md");
    let listed: Vec<_> =
        readme.lines().filter_map(|line| line.strip_prefix("| `")?.split_once("` | ")).map(|(word, _)| word).collect();
    let from = listed.iter().position(|word| *word == REASONS[0].0).expect("there is no table of reasons");
    let words: Vec<_> = REASONS.iter().map(|(word, _)| *word).chain(["none"]).collect();
    assert_eq!(listed[from..from + words.len()], words);
}
