//! Behind a balancer the device's own address counts, in every record and list.

use serde_json::Value;

use crate::harness::device::{Device, KINDS, Line};
use crate::harness::gateway::{Gateway, Setup};
use crate::harness::kafka::{Reader, shared};
use crate::harness::proxy_header::{DEVICE, v1, v2};
use crate::harness::schema::assert_record;
use crate::harness::{unique, until};

fn peer_of(gateway: &Gateway, device: &str) -> Option<String> {
    let sessions: Value = serde_json::from_str(&gateway.get("/sessions")).unwrap();
    let list = sessions.as_array().or_else(|| sessions["sessions"].as_array())?;
    let session = list.iter().find(|s| s["device_id"] == device || s["device"] == device)?;
    session["peer"].as_str().map(str::to_owned)
}

#[test]
fn sessions_and_rejects_tell_the_address_of_the_device() {
    let prefix = unique("proxy");
    let mut setup = Setup::kafka("gw-1", shared(), &prefix);
    for protocol in KINDS {
        setup = setup.listen_behind_proxy(protocol);
    }
    let gateway = setup.start();
    let mut connections = 0;
    for protocol in KINDS {
        for (n, header) in [v1(), v2()].into_iter().enumerate() {
            let mut device = Device::new(protocol, 40 + u32::try_from(n).unwrap());
            let mut line = Line::connect(gateway.address(protocol)).unwrap();
            // a header that comes in two pieces is still one header
            let (head, tail) = header.split_at(9);
            line.send(head).unwrap();
            line.send(tail).unwrap();
            line.sign_on(&mut device).unwrap();
            line.report(&mut device).unwrap();
            let peer = until("the session", || peer_of(&gateway, &device.id));
            assert_eq!(peer, DEVICE, "{protocol}, header {}", n + 1);
            // a frame with a wrong checksum: a position whose last but one byte of content is another
            let (_, _, mut frame) = device.position();
            let last = frame.len() - 6;
            frame[last] ^= 1;
            line.send(&frame).unwrap();
            connections += 1;
        }
    }
    let mut reader = Reader::new(shared(), &prefix, &["rejects"]);
    reader.read_until("a reject of each connection", |records| records.len() >= connections);
    for record in &reader.records {
        assert_record(record);
        assert_eq!((record.text("peer"), record.text("reason")), (DEVICE, "checksum"), "{record:?}");
    }
}

#[test]
fn refuses_a_connection_without_a_header_where_one_is_required() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Setup::journal("gw-1", directory.path()).listen_behind_proxy("gt06").start();
    let mut line = Line::connect(gateway.address("gt06")).unwrap();
    let (_, _, frame) = Device::new("gt06", 50).position();
    line.send(&frame).unwrap();
    assert!(line.receive_to_end().is_empty(), "nothing is answered");
    assert_eq!(gateway.ledger()["stored"], 0);
}

/// A header that a device sends where none is expected is bytes like others: it must not choose its own address.
#[test]
fn refuses_to_believe_a_device() {
    let directory = tempfile::tempdir().unwrap();
    let gateway = Setup::journal("gw-1", directory.path()).listen("jt808").start();
    let mut device = Device::new("jt808", 51);
    let mut line = Line::connect(gateway.address("jt808")).unwrap();
    line.send(&v1()).unwrap();
    line.report(&mut device).unwrap();
    let peer = until("the session", || peer_of(&gateway, &device.id));
    assert!(peer.starts_with("127.0.0.1:"), "{peer}");
}
