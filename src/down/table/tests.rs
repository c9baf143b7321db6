use super::*;
use protocols::desk::DriverNow;

fn now(s: u64) -> Now {
    Now { utc: Timestamp::from_seconds(1_700_000_000 + s as i64), uptime: Duration::from_secs(s) }
}

fn instance(gateway: &str) -> InstanceId {
    InstanceId { gateway: gateway.into(), boot: 1 }
}

fn table(gateway: &str) -> Table {
    Table::new(instance(gateway), Some(format!("{gateway}:9901").into()))
}

fn arrival(session: u64) -> Arrival<'static> {
    Arrival { session: SessionId(session), protocol: "jt808", peer: "203.0.113.7:1" }
}

fn device() -> DeviceId {
    DeviceId::normalise("13800000001").unwrap()
}

/// Hand what one publishes to the other.
fn carry(from: &Table, to: &mut Table, at: u64) -> Vec<Act> {
    let mut acts = Vec::new();
    to.on_record(&device(), from.record(&device()).cloned(), now(at), &mut acts);
    acts
}

#[test]
fn the_newest_session_wins_on_whichever_instance() {
    let (mut a, mut b, mut acts) = (table("a"), table("b"), Vec::new());
    a.sign_on(&device(), &arrival(1), now(10), &mut acts).unwrap();
    assert_eq!(acts, [Act::Publish(device())]);
    assert_eq!(a.owner(&device()), Owner::Nobody, "should it die now, nobody would know that it had the device");
    a.published(&device(), SessionId(1), &mut acts);
    assert_eq!(acts[1..], [Act::Moved(device())]);
    assert_eq!(a.owner(&device()), Owner::At(instance("a")));
    carry(&a, &mut b, 10);
    assert_eq!(b.owner(&device()), Owner::At(instance("a")));
    // b's clock is behind, its session is the newer one all the same
    let welcome = b.sign_on(&device(), &arrival(2), now(3), &mut acts).unwrap();
    assert!(welcome.epoch > a.record(&device()).unwrap().epoch);
    assert_eq!(carry(&b, &mut a, 10), [Act::Close(device(), SessionId(1)), Act::Moved(device())]);
    acts.clear();
    a.closed(&device(), SessionId(1), now(11), &mut acts);
    assert_eq!(acts, [], "the end of the older one is no news");
    assert_eq!(a.owner(&device()), Owner::At(instance("b")));
    assert_eq!(a.exposure(&device(), now(0).utc), [instance("b"), instance("a")]);
}

#[test]
fn a_lower_record_over_ones_own_is_answered_and_changes_nothing() {
    let (mut a, mut b, mut acts) = (table("a"), table("b"), Vec::new());
    a.sign_on(&device(), &arrival(1), now(10), &mut acts);
    carry(&a, &mut b, 10);
    b.sign_on(&device(), &arrival(2), now(11), &mut acts);
    b.published(&device(), SessionId(2), &mut acts);
    acts.clear();
    a.closed(&device(), SessionId(1), now(12), &mut acts);
    assert_eq!(carry(&a, &mut b, 12), [Act::Publish(device())]);
    assert_eq!(b.owner(&device()), Owner::At(instance("b")));
    let third = &mut table("c");
    carry(&b, third, 12);
    assert_eq!(carry(&a, third, 12), [], "nor does a bystander take it for newer");
    assert_eq!(third.owner(&device()), Owner::At(instance("b")));
    // nor the end of its record
    let mut acts = Vec::new();
    b.on_record(&device(), None, now(13), &mut acts);
    assert_eq!(acts, [Act::Publish(device())]);
}

#[test]
fn an_end_is_not_undone_by_ones_own_word_from_before() {
    let (mut a, mut b, mut acts) = (table("a"), table("b"), Vec::new());
    a.sign_on(&device(), &arrival(1), now(10), &mut acts).unwrap();
    let before = a.record(&device()).cloned();
    a.closed(&device(), SessionId(1), now(11), &mut acts);
    let away = a.record(&device()).cloned();
    acts.clear();
    a.on_record(&device(), before.clone(), now(12), &mut acts);
    let again = Act::Publish(device());
    assert_eq!((a.record(&device()).cloned(), &acts[..]), (away.clone(), &[again][..]), "read back late");
    // others have nothing but the order of the topic
    b.on_record(&device(), away.clone(), now(12), &mut acts);
    b.on_record(&device(), before, now(12), &mut acts);
    assert_eq!(b.record(&device()).unwrap().state, State::Connected);
    b.on_record(&device(), away, now(12), &mut acts);
    assert_eq!(b.record(&device()).unwrap().state, State::Away);
}

#[test]
fn a_clone_has_to_wait_also_over_instances() {
    let (mut a, mut b, mut acts) = (table("a"), table("b"), Vec::new());
    for n in 0..2 {
        assert!(a.sign_on(&device(), &arrival(2 * n + 1), now(n), &mut acts).is_some());
        carry(&a, &mut b, n);
        assert!(b.sign_on(&device(), &arrival(2 * n + 2), now(n), &mut acts).is_some());
        carry(&b, &mut a, n);
    }
    assert!(a.sign_on(&device(), &arrival(9), now(5), &mut acts).is_none(), "three takeovers were enough");
    assert!(b.sign_on(&device(), &arrival(9), now(5), &mut acts).is_none());
    assert!(a.sign_on(&device(), &arrival(9), now(70), &mut acts).is_some());
}

#[test]
fn what_is_kept_survives_and_is_not_lost_on_the_way() {
    let (mut a, mut b, mut acts) = (table("a"), table("b"), Vec::new());
    let driver = |authorized| {
        Some(DriverNow { driver_id: "D7".into(), name: None, authorized, since: Some(Timestamp::from_seconds(1_700_000_000)) })
    };
    a.sign_on(&device(), &arrival(1), now(1), &mut acts);
    a.keep(&device(), SessionId(1), DeviceState { driver: driver(None), ..DeviceState::default() }, &mut acts);
    let change = |kept: &mut DeviceState| {
        kept.driver = driver(Some(false));
        true
    };
    assert!(!a.keep_away(&device(), now(2), change, &mut acts), "it is connected");
    a.closed(&device(), SessionId(1), now(2), &mut acts);
    carry(&a, &mut b, 2);
    assert!(b.keep_away(&device(), now(3), change, &mut acts));
    carry(&b, &mut a, 3);
    let welcome = a.sign_on(&device(), &arrival(2), now(4), &mut acts).unwrap();
    assert_eq!(welcome.inherited.driver, driver(Some(false)));
    // as JSON and back
    let text = serde_json::to_string(a.record(&device()).unwrap()).unwrap();
    let read = Record { revision: 1, ..serde_json::from_str(&text).unwrap() };
    assert_eq!(read, *a.record(&device()).unwrap());
    // each change is told by its number
    let mut kept = DeviceState { driver: driver(None), open_orders: Vec::new(), ..DeviceState::default() };
    assert_eq!(a.keep(&device(), SessionId(2), kept.clone(), &mut acts), Some(2));
    assert_eq!(a.keep(&device(), SessionId(2), kept.clone(), &mut acts), Some(2), "it is the same");
    kept.driver = None;
    assert_eq!(a.keep(&device(), SessionId(2), kept.clone(), &mut acts), Some(3));
    assert_eq!(a.record(&device()).unwrap().revision, 3);
    assert_eq!(a.keep(&device(), SessionId(1), kept, &mut acts), None, "that session has ended");
}

#[test]
fn a_device_that_nobody_ever_held_exposes_nobody() {
    let (mut a, mut b, mut acts) = (table("a"), table("b"), Vec::new());
    assert!(a.keep_away(&device(), now(5), |_| true, &mut acts));
    b.on_record(&device(), a.record(&device()).cloned(), now(6), &mut acts);
    assert_eq!(b.exposure(&device(), now(0).utc), []);
    b.sign_on(&device(), &arrival(1), now(7), &mut acts);
    assert_eq!(b.exposure(&device(), now(0).utc), [instance("b")]);
}

#[test]
fn records_of_an_earlier_life_are_ended_and_old_ones_forgotten() {
    let (mut a, mut acts) = (table("a"), Vec::new());
    a.sign_on(&device(), &arrival(1), now(1), &mut acts);
    let mut next = Table::new(InstanceId { gateway: "a".into(), boot: 2 }, None);
    carry(&a, &mut next, 2);
    acts.clear();
    next.loaded(now(3), &mut acts);
    assert_eq!(acts, [Act::Publish(device()), Act::Moved(device())]);
    assert_eq!(next.owner(&device()), Owner::Nobody);
    assert!(next.forget(now(3).utc, |_| true).is_empty());
    assert!(next.forget(now(4).utc, |_| false).is_empty());
    assert_eq!(next.forget(now(4).utc, |_| true), [device()]);
    assert_eq!(next.devices.len(), 0);
}
