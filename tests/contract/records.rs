//! Values as the gateway builds them, held against the published schemas.

use protocols::event::{
    Actor, Alarm, Attributes, Body, Cell, Content, Data, DataKind, Driver, DriverAction, DriverState, Event, Mac, Method, Money,
    Order, OrderAction, Reason, Report, Shift, Wifi, serialize_event,
};
use protocols::identity::{EventId, SessionId};
use protocols::outcome::{Ending, EndingReason, Outcome, Place, Progress, Stage};
use protocols::time::Timestamp;
use serde::Serializer;
use serde::ser::SerializeMap;
use serde_json::{Value, json};

use crate::objections;

fn time() -> Timestamp {
    Timestamp::parse("2026-03-01T10:00:00Z").unwrap()
}

fn attributes() -> Attributes {
    let mut attributes = Attributes::default();
    attributes.set("fuel_l", 40.5);
    attributes.set("fuel_l", 40.1);
    attributes.set("door", "open");
    attributes
}

/// A report in which every field says something.
fn report() -> Report {
    Report {
        time: Some(time()),
        latitude: Some(22.543_1),
        longitude: Some(114.057_9),
        valid: Some(true),
        altitude_m: Some(12.0),
        speed_kmh: Some(38.5),
        course_deg: Some(270.0),
        satellites: Some(9),
        hdop: Some(0.9),
        odometer_m: Some(123_456_700.0),
        ignition: Some(true),
        occupied: Some(false),
        in_service: Some(true),
        archived: Some(false),
        battery_v: Some(3.9),
        battery_percent: Some(80.0),
        power_v: Some(12.6),
        rssi: Some(-71),
        cells: vec![Cell { mcc: 460, mnc: 0, lac: 9520, cid: 3671, rssi: Some(-80) }],
        wifi: vec![Wifi { mac: Mac([0x0A, 1, 2, 3, 4, 0xFF]), rssi: None }],
        alarms: [Alarm::Sos, Alarm::Overspeed].into_iter().collect(),
        attributes: attributes(),
    }
}

fn data(content: Content) -> Data {
    Data {
        kind: DataKind::Photo,
        content_type: "image/jpeg".into(),
        name: Some("p1".into()),
        channel: Some(1),
        size_bytes: 2,
        part: Some(1),
        parts: Some(1),
        time: Some(time()),
        content,
        attributes: attributes(),
    }
}

fn order() -> Order {
    Order {
        action: OrderAction::Declined,
        actor: Actor::Driver,
        order_id: Some("A-1001".into()),
        token: Some("17".into()),
        command_id: Some("c-1".into()),
        driver_id: Some("D7".into()),
        authorized: Some(false),
        reason: Some(Reason::BadCustomer),
        time: Some(time()),
        eta_s: Some(300),
        fare: Some(Money { amount: "23.50".into(), currency: Some("CNY".into()) }),
        distance_m: Some(8200.0),
        waiting_s: Some(60),
        started_at: Some(time()),
        ended_at: Some(time()),
        late: Some(true),
        position: Some(Box::new(report())),
        attributes: attributes(),
    }
}

fn driver() -> Driver {
    Driver {
        driver_id: Some("D7".into()),
        method: Some(Method::Card),
        state: Some(DriverState::Off),
        time: Some(time()),
        name: Some("Wang Wu".into()),
        licence: Some("L1".into()),
        company_licence: Some("C1".into()),
        plate: Some("T-1".into()),
        valid_until: Some("2027-01-01".into()),
        reading_result: Some("ok".into()),
        shift: Some(Shift {
            started_at: Some(time()),
            ended_at: Some(time()),
            distance_m: Some(180_000.0),
            paid_distance_m: Some(120_000.0),
            trips: Some(14),
            waiting_s: Some(600),
            amount: Some(Money { amount: "612.00".into(), currency: None }),
        }),
        position: Some(Box::new(report())),
        attributes: attributes(),
        ..Driver::new(DriverAction::SignOff)
    }
}

/// The value of an event's record.
fn record(body: Body) -> Value {
    let event = Event { id: EventId([0xAB; 16]), sequence: 7, body };
    let mut map = serde_json::value::Serializer.serialize_map(None).unwrap();
    serialize_event(&mut map, &event, "13800000001", "jt808").unwrap();
    map.serialize_entry("session", &SessionId(1)).unwrap();
    map.serialize_entry("epoch", &1_772_359_200_000_u64).unwrap();
    map.serialize_entry("received_at", &time()).unwrap();
    map.serialize_entry("gateway", "gw-1").unwrap();
    map.end().unwrap()
}

fn answer(kind: &str, content: Value) -> Value {
    json!({"id": "ab".repeat(16), "type": kind, "device_id": "13800000001", "received_at": time(), "gateway": "gw-1", kind: content})
}

/// Every type with everything said, and with as little as can be.
fn accepted() -> Vec<(&'static str, Value)> {
    let outcome = Outcome {
        command_id: Some("c-1".into()),
        result: Ending::Rejected,
        reason: Some(EndingReason::Busy),
        answer: Some(json!({"heartbeat_s": 60})),
        attempts: 1,
        sent_at: Some(time()),
        answered_at: Some(time()),
        warnings: vec!["unknown field `prio`".into()],
        record: None,
    };
    let nameless = Outcome { command_id: None, record: Some(Place { partition: 0, offset: 5 }), ..outcome.clone() };
    let progress = Progress { command_id: "c-1".into(), stage: Stage::Delivered, at: time() };
    let reject = json!({
        "gateway": "gw-1", "peer": "203.0.113.7:4242", "received_at": time(), "reason": "checksum", "offset": 12,
        "detail": "checksum is 0x1, should be 0x2", "hex": "7e01", "length": 2
    });
    let frame = json!({
        "protocol": "gt06", "session": "00000000000000ab", "gateway": "gw-1", "peer": "203.0.113.7:4242", "at": time(),
        "direction": "up", "capture": 1, "hex": "7878", "length": 2
    });
    let session = json!({
        "state": "connected", "since": time(), "gateway": "gw-1", "boot": "5", "address": "10.0.0.1:9901", "epoch": 1, "session": "00000000000000ab",
        "protocol": "jt808", "peer": "203.0.113.7:4242", "open_orders": [{"order_id": "A-1001", "stage": "read", "deadline": time()}],
        "driver": {"driver_id": "D7", "authorized": true, "since": time()},
        "screen": {"buttons": "00112233aabbccdd", "unknown": ["0x8302"]}
    });
    let mut anonymous = answer("outcome", serde_json::to_value(nameless).unwrap());
    anonymous.as_object_mut().unwrap().remove("device_id");
    vec![
        ("position", record(Body::Position(report()))),
        ("position", record(Body::Position(Report::default()))),
        ("status", record(Body::Status(report()))),
        ("alarm", record(Body::Alarm(report()))),
        ("data", record(Body::Data(Box::new(data(Content::Base64(vec![0xFF, 0xD8])))))),
        ("data", record(Body::Data(Box::new(data(Content::Text("x".into())))))),
        ("data", record(Body::Data(Box::new(data(Content::Values(attributes())))))),
        ("order", record(Body::Order(Box::new(order())))),
        ("driver", record(Body::Driver(Box::new(driver())))),
        ("driver", record(Body::Driver(Box::new(Driver::new(DriverAction::CardIn))))),
        ("outcome", answer("outcome", serde_json::to_value(outcome).unwrap())),
        ("outcome", anonymous),
        ("progress", answer("progress", serde_json::to_value(progress).unwrap())),
        ("reject", reject),
        ("frame", frame),
        ("session", session),
    ]
}

#[test]
fn accepts_every_record() {
    for (name, value) in accepted() {
        assert_eq!(objections(name, &value), [""; 0], "{name}: {value}");
    }
}

#[test]
fn accepts_what_a_later_release_may_add() {
    for (name, mut value) in accepted() {
        value["later"] = json!(true);
        if let Some(content) = value.get_mut(name).and_then(Value::as_object_mut) {
            content.insert("later".into(), json!({"x": 1}));
            for word in ["action", "result", "stage", "kind", "reason"] {
                content.entry(word).and_modify(|w| *w = json!("later"));
            }
        }
        assert_eq!(objections(name, &value), [""; 0], "{name}: {value}");
    }
}

#[test]
fn refuses_a_record_that_lacks_a_required_field() {
    for (name, value) in accepted() {
        for field in crate::committed(name)["required"].as_array().unwrap() {
            let mut poorer = value.clone();
            poorer.as_object_mut().unwrap().remove(field.as_str().unwrap());
            assert!(!objections(name, &poorer).is_empty(), "{name} without {field}");
        }
    }
}

#[test]
fn refuses_another_type_under_the_same_name() {
    for (name, value) in accepted() {
        for field in value.as_object().unwrap().keys() {
            let mut wrong = value.clone();
            wrong[field] = json!([[]]);
            assert!(!objections(name, &wrong).is_empty(), "{name} with {field} = [[]]");
        }
    }
}

#[test]
fn commands_are_closed() {
    let command = |kind: &str, content: Value| json!({"id": "c-1", "device_id": "13800000001", "deadline": "2026-03-01T10:00:30Z", "kind": kind, kind: content});
    let offer = json!({"order_id": "A-1001", "type": "immediate", "pickup": {"address": "Renmin Road 1"}});
    let mut won = offer.clone();
    won["won"] = json!(true);
    for good in [
        command("order_offer", offer.clone()),
        command("order_assign", won),
        command("order_assign", json!({"order_id": "A-1001", "won": false})),
        command("locate", json!({})),
        command("alarm_confirm", json!({"alarms": ["sos"]})),
        command("set_parameters", json!({"values": {"0x0001": 60}})),
        command("raw", json!({"hex": "7E01"})),
    ] {
        assert_eq!(objections("command", &good), [""; 0], "{good}");
        assert!(serde_json::from_value::<protocols::command::Command>(good).is_ok());
    }
    for bad in [
        command("dance", json!({})),
        command("order_offer", json!({"order_id": "A-1001"})),
        command("order_offer", json!({"order_id": "", "type": "immediate", "pickup": {"address": "x"}})),
        command("order_offer", json!({"order_id": "1", "type": "soon", "pickup": {"address": "x"}})),
        command("order_offer", json!({"order_id": "1", "type": "immediate", "pickup": {"address": "x", "latitude": 91}})),
        command("order_assign", json!({"order_id": "1", "won": true})),
        command("raw", json!({"hex": "7E0"})),
        command("track", json!({"interval_s": -1})),
        json!({"id": "c-1", "device_id": "1", "deadline": "2026-03-01T10:00:30Z", "kind": "locate"}),
        json!({"id": "c-1", "device_id": "1", "deadline": "soon", "kind": "locate", "locate": {}}),
    ] {
        assert!(!objections("command", &bad).is_empty(), "{bad}");
        assert!(serde_json::from_value::<protocols::command::Command>(bad).is_err());
    }
}
