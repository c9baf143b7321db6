use super::super::holder::Known;
use super::super::owner::{Answered, Report, Undelivered};
use super::super::table::{Act, Arrival};
use super::*;
use protocols::identity::SessionId;
use protocols::outcome::{Ending, EndingReason};
use serde_json::{Value, json};

/// A home, a table and a clock.
struct Bench {
    home: Home,
    table: Table,
    at: Duration,
    next: i64,
    acts: Vec<Act>,
}

fn instance(name: &str) -> InstanceId {
    InstanceId { gateway: name.into(), boot: 1 }
}

fn device() -> DeviceId {
    DeviceId::normalise("13800000001").unwrap()
}

fn id(text: &str) -> CommandId {
    CommandId::new(text).unwrap()
}

impl Bench {
    fn new() -> Self {
        let mut home = Home::new(instance("a"), Duration::from_secs(3600));
        let mut bench = Self {
            table: Table::new(instance("a"), None),
            at: Duration::from_secs(100),
            next: 0,
            acts: Vec::new(),
            home: Home::new(instance("a"), Duration::ZERO),
        };
        home.on_assigned(0, 0, 0, bench.now());
        home.on_outcomes_read(0, HashSet::new(), &bench.table, bench.now());
        home.effects();
        bench.home = home;
        bench
    }

    fn now(&self) -> Now {
        Now { utc: Timestamp::from_millis(1_772_359_200_000 + self.at.as_millis() as i64), uptime: self.at }
    }

    fn record(&mut self, value: Vec<u8>) {
        let arrived = Arrived { partition: 0, offset: self.next, timestamp: self.now().utc, value };
        self.next += 1;
        let now = self.now();
        self.home.on_record(arrived, &self.table, now);
    }

    fn command(&mut self, name: &str, kind: &str, content: &Value) {
        let deadline = self.now().utc.plus_millis(30_000);
        let value = json!({"id": name, "device_id": "13800000001", "deadline": deadline, "kind": kind, kind: content});
        self.record(value.to_string().into_bytes());
    }

    fn offer(&mut self, name: &str, order: &str) {
        self.command(name, "order_offer", &json!({"order_id": order, "type": "immediate", "pickup": {"address": "x"}}));
    }

    fn connect(&mut self, session: u64) {
        let arrival = Arrival { session: SessionId(session), protocol: "jt808", peer: "1.2.3.4:5" };
        self.table.sign_on(&device(), &arrival, self.now(), &mut self.acts).unwrap();
        self.home.on_moved(&device(), &self.table, self.now());
    }

    fn disconnect(&mut self, session: u64) {
        self.table.closed(&device(), SessionId(session), self.now(), &mut self.acts);
        self.home.on_moved(&device(), &self.table, self.now());
    }

    /// What was handed over; all of it is taken.
    fn taken(&mut self) -> Vec<(String, u32)> {
        let mut all = Vec::new();
        for effect in self.home.effects() {
            if let Effect::Hand { to, errand } = effect {
                all.push((errand.command.id.as_str().to_owned(), errand.attempt));
                let now = self.now();
                self.home.on_handed(&errand.command.id, &to, Ok(()), &self.table, now);
            }
        }
        all
    }

    fn report(&mut self, command: &str, answered: Answered) {
        let report = Report { command_id: id(command), device_id: device(), home: instance("a"), answered };
        let now = self.now();
        self.home.on_report(&instance("a"), report, &self.table, now);
    }

    fn pass(&mut self, time: Duration) {
        let end = self.at + time;
        while self.at < end {
            self.at += Duration::from_millis(100);
            self.home.tick(&self.table, self.now());
        }
    }

    /// Write all that is to be written: the outcomes, and the committed offset.
    fn written(&mut self) -> (Vec<Outcome>, Option<i64>) {
        let Some(batch) = self.home.batch(true, 1000) else { return (Vec::new(), None) };
        self.home.on_written(&batch);
        let outcomes = batch.answers.into_iter().filter_map(|a| match a.body {
            AnswerBody::Outcome(outcome) => Some(outcome),
            AnswerBody::Progress(_) => None,
        });
        (outcomes.collect(), batch.offsets.get(&0).copied())
    }

    fn results(&mut self) -> Vec<(String, Ending, Option<EndingReason>)> {
        self.written().0.into_iter().map(|o| (o.command_id.unwrap_or_default(), o.result, o.reason)).collect()
    }
}

fn sent(at: Timestamp) -> Answered {
    Answered::Stage { stage: Stage::Sent, at }
}

fn end(name: &str, result: Ending, reason: Option<EndingReason>) -> (String, Ending, Option<EndingReason>) {
    (name.to_owned(), result, reason)
}

#[test]
fn a_command_waits_for_its_device_and_ends_with_its_answer() {
    let mut bench = Bench::new();
    bench.command("c", "text", &json!({"text": "hello", "colour": 1}));
    assert_eq!(bench.taken(), []);
    bench.pass(Duration::from_secs(1));
    bench.connect(1);
    assert_eq!(bench.taken(), [("c".to_owned(), 1)]);
    let at = bench.now().utc;
    bench.report("c", sent(at));
    let outcome = Outcome { attempts: 1, sent_at: Some(at), ..arrive::unwritten(Ending::Acknowledged) };
    bench.report("c", Answered::Outcome(outcome.clone()));
    bench.report("c", Answered::Outcome(outcome));
    let (outcomes, offset) = bench.written();
    assert_eq!(outcomes.len(), 1);
    assert_eq!((outcomes[0].result, outcomes[0].command_id.as_deref()), (Ending::Acknowledged, Some("c")));
    assert_eq!(outcomes[0].warnings, ["unknown field `text.colour`"]);
    assert_eq!(offset, Some(1));
}

#[test]
fn what_cannot_be_read_ends_at_once_and_an_id_seen_before_is_ignored() {
    let mut bench = Bench::new();
    bench.record(b"{".to_vec());
    bench.command("c", "dance", &json!({}));
    bench.connect(1);
    bench.command("c", "locate", &json!({}));
    bench.command("d", "locate", &json!({}));
    bench.command("d", "locate", &json!({}));
    let (outcomes, offset) = bench.written();
    assert_eq!(outcomes.iter().map(|o| o.reason).collect::<Vec<_>>(), [Some(EndingReason::Json), Some(EndingReason::Field)]);
    assert_eq!(outcomes[0].record, Some(RecordPlace { partition: 0, offset: 0 }));
    assert_eq!(outcomes[1].command_id.as_deref(), Some("c"));
    assert_eq!(bench.taken(), [("d".to_owned(), 1)]);
    assert_eq!(bench.home.counts().repeated, 2);
    assert_eq!(offset, Some(3), "the oldest unfinished one");
}

#[test]
fn the_deadline_tells_offline_from_expired_and_unanswered() {
    let mut bench = Bench::new();
    bench.command("offline", "text", &json!({"text": "a"}));
    bench.pass(Duration::from_secs(31));
    assert_eq!(bench.results(), [end("offline", Ending::Offline, None)]);
    bench.connect(1);
    bench.command("returned", "text", &json!({"text": "a"}));
    bench.command("cut", "text", &json!({"text": "a"}));
    bench.command("silent", "text", &json!({"text": "a"}));
    bench.taken();
    bench.disconnect(1);
    let at = bench.now().utc;
    bench.report("returned", Answered::Returned);
    bench.report("cut", Answered::Cut { sent_at: at, attempts: 1 });
    bench.report("silent", sent(at));
    bench.connect(2);
    assert_eq!(bench.taken(), [("returned".to_owned(), 1)], "what was written is not written again");
    bench.disconnect(2);
    bench.report("returned", Answered::Returned);
    bench.pass(Duration::from_secs(33));
    let mut results = bench.results();
    results.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(
        results,
        [end("cut", Ending::Unanswered, None), end("returned", Ending::Expired, None), end("silent", Ending::Unanswered, None)]
    );
}

#[test]
fn a_repeat_safe_command_is_sent_again_after_its_connection_was_cut() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.command("c", "order_cancel", &json!({"order_id": "A"}));
    assert_eq!(bench.taken(), [("c".to_owned(), 1)]);
    let at = bench.now().utc;
    bench.report("c", Answered::Cut { sent_at: at, attempts: 1 });
    assert_eq!(bench.taken(), [("c".to_owned(), 2)]);
    bench.report("c", Answered::Outcome(Outcome { attempts: 2, ..arrive::unwritten(Ending::Acknowledged) }));
    let (outcomes, _) = bench.written();
    assert_eq!((outcomes[0].attempts, outcomes[0].sent_at), (2, Some(at)));
}

#[test]
fn a_lost_instance_ends_offers_and_repeats_what_may_be_repeated() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.offer("offer", "A");
    bench.command("safe", "locate", &json!({}));
    bench.taken();
    bench.home.on_down(&instance("a"), bench.now());
    bench.pass(LOST_AFTER - Duration::from_millis(200));
    assert_eq!(bench.results(), []);
    bench.pass(Duration::from_millis(300));
    assert_eq!(bench.results(), [end("offer", Ending::Unanswered, Some(EndingReason::InstanceLost))]);
    bench.home.on_up(&instance("a"), &bench.table, bench.now());
    assert_eq!(bench.taken(), [("safe".to_owned(), 2)]);
}

#[test]
fn an_order_gives_way_to_what_comes_later() {
    let mut bench = Bench::new();
    bench.offer("o1", "A");
    bench.offer("o2", "A");
    bench.offer("other", "B");
    assert_eq!(bench.results(), [end("o1", Ending::Superseded, None)]);
    bench.command("cancel", "order_cancel", &json!({"order_id": "A"}));
    assert_eq!(
        bench.results(),
        [end("o2", Ending::Superseded, None), end("cancel", Ending::Acknowledged, Some(EndingReason::NotShown))]
    );
    bench.connect(1);
    assert_eq!(bench.taken(), [("other".to_owned(), 1)]);
    // one that is at the device is the session's to withdraw
    bench.command("cancel-b", "order_cancel", &json!({"order_id": "B"}));
    assert_eq!(bench.taken(), [("cancel-b".to_owned(), 1)]);
    assert_eq!(bench.results(), []);
    bench.report("other", Answered::Returned);
    assert_eq!(bench.results(), [end("other", Ending::Superseded, None)], "it does not go out again");
    assert_eq!(bench.taken(), []);
}

#[test]
fn an_offer_that_comes_back_unshown_needs_no_cancellation() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.offer("o", "A");
    bench.taken();
    bench.disconnect(1);
    bench.command("cancel", "order_cancel", &json!({"order_id": "A"}));
    bench.report("o", Answered::Returned);
    assert_eq!(
        bench.results(),
        [end("o", Ending::Superseded, None), end("cancel", Ending::Acknowledged, Some(EndingReason::NotShown))]
    );
}

#[test]
fn an_authorization_is_kept_for_an_absent_device_and_told_when_it_comes() {
    let mut bench = Bench::new();
    bench.command("auth", "driver_authorization", &json!({"driver_id": "D7", "authorized": false}));
    assert!(matches!(&bench.home.effects()[..], [Effect::Keep { driver, .. }] if driver.authorized == Some(false)));
    assert_eq!(bench.results(), [end("auth", Ending::Acknowledged, None)]);
    bench.connect(1);
    assert_eq!(bench.taken(), [("auth".to_owned(), 1)]);
    bench.report("auth", Answered::Outcome(arrive::unwritten(Ending::Acknowledged)));
    assert_eq!(bench.results(), [], "it has had its outcome");
}

#[test]
fn a_home_that_slept_hands_nothing_over_until_it_is_confirmed() {
    let mut bench = Bench::new();
    bench.at += ASLEEP;
    bench.connect(1);
    assert_eq!(bench.home.effects(), [Effect::Confirm]);
    bench.command("c", "locate", &json!({}));
    assert_eq!(bench.taken(), []);
    bench.home.on_confirmed(&bench.table, bench.now());
    assert_eq!(bench.taken(), [("c".to_owned(), 1)]);
}

#[test]
fn a_new_home_reads_the_outcomes_and_asks_before_it_hands_over() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.home.on_revoked(0);
    bench.home.on_assigned(0, 0, 3, bench.now());
    bench.command("done", "locate", &json!({}));
    bench.command("here", "locate", &json!({"x": 1}));
    assert!(matches!(bench.home.effects()[..], [Effect::ReadOutcomes { partition: 0, .. }]));
    let known = HashSet::from([Finished::Id(id("done"))]);
    bench.home.on_outcomes_read(0, known, &bench.table, bench.now());
    assert_eq!(bench.home.effects(), [], "a third record is still to come");
    bench.command("free", "take_photo", &json!({}));
    let ids = [id("here"), id("free")];
    let effects = bench.home.effects();
    let [Effect::Ask { of, ids: asked, number }] = &effects[..] else { panic!("{effects:?}") };
    assert_eq!((of, asked.iter().collect::<HashSet<_>>()), (&instance("a"), ids.iter().collect()));
    let known = vec![(id("here"), Known::Here { stage: None, attempt: 1 }), (id("free"), Known::Never)];
    bench.home.on_known(&instance("a"), *number, known, &bench.table, bench.now());
    assert_eq!(bench.taken(), [("free".to_owned(), 1)]);
    bench.command("done", "locate", &json!({}));
    assert_eq!(bench.home.counts().repeated, 1);
    assert_eq!(bench.written().1, Some(1), "the finished one is behind us");
}

#[test]
fn what_a_silent_instance_may_have_waits_for_it_and_nothing_else_does() {
    let mut bench = Bench::new();
    let mut other = Table::new(instance("b"), Some("b:1".into()));
    let mut acts = Vec::new();
    let arrival = Arrival { session: SessionId(7), protocol: "jt808", peer: "1.2.3.4:5" };
    other.sign_on(&device(), &arrival, bench.now(), &mut acts).unwrap();
    bench.table.on_record(&device(), other.record(&device()).cloned(), bench.now(), &mut acts);
    bench.home.on_revoked(0);
    bench.home.on_assigned(0, 0, 1, bench.now());
    bench.offer("offer", "A");
    bench.home.on_outcomes_read(0, HashSet::new(), &bench.table, bench.now());
    let number = bench.home.effects().iter().find_map(|e| if let Effect::Ask { number, .. } = e { Some(*number) } else { None });
    bench.home.on_known(&instance("a"), number.unwrap(), vec![(id("offer"), Known::Never)], &bench.table, bench.now());
    bench.pass(ASKING);
    assert_eq!(bench.taken(), [], "b may have it");
    // it moves here; b stays silent
    bench.connect(8);
    assert_eq!(bench.taken(), []);
    bench.command("later", "locate", &json!({}));
    assert_eq!(bench.taken(), [("later".to_owned(), 1)]);
    bench.pass(LOST_AFTER);
    assert_eq!(bench.results(), [end("offer", Ending::Unanswered, Some(EndingReason::InstanceLost))]);
}

#[test]
fn an_answer_to_a_question_before_the_errand_proves_nothing() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.home.on_up(&instance("a"), &bench.table, bench.now());
    bench.offer("offer", "A");
    assert!(matches!(bench.home.effects()[..], [Effect::Hand { .. }]));
    bench.home.on_known(&instance("a"), 0, vec![(id("offer"), Known::Never)], &bench.table, bench.now());
    assert_eq!(bench.home.effects(), [], "it may still arrive there");
    bench.home.on_down(&instance("a"), bench.now());
    bench.home.on_up(&instance("a"), &bench.table, bench.now());
    let effects = bench.home.effects();
    let [Effect::Ask { number, .. }] = &effects[..] else { panic!("{effects:?}") };
    bench.home.on_known(&instance("a"), *number, vec![(id("offer"), Known::Never)], &bench.table, bench.now());
    assert_eq!(bench.taken(), [("offer".to_owned(), 1)]);
}

#[test]
fn a_batch_that_was_not_written_is_next_again_unless_its_partition_is_gone() {
    let mut bench = Bench::new();
    bench.home.on_assigned(1, 0, 0, bench.now());
    bench.home.on_outcomes_read(1, HashSet::new(), &bench.table, bench.now());
    bench.record(b"{".to_vec());
    let now = bench.now();
    bench.home.on_record(Arrived { partition: 1, offset: 0, timestamp: now.utc, value: b"[".to_vec() }, &bench.table, now);
    let batch = bench.home.batch(false, 100).unwrap();
    assert_eq!((batch.answers.len(), &batch.offsets), (2, &BTreeMap::from([(0, 1), (1, 1)])));
    assert!(bench.home.batch(false, 100).is_none());
    bench.home.on_revoked(1);
    bench.home.on_not_written(batch);
    let batch = bench.home.batch(false, 100).unwrap();
    assert_eq!((batch.answers.len(), batch.offsets), (1, BTreeMap::from([(0, 1)])));
}

#[test]
fn a_home_that_hung_asks_nobody_before_a_commit_has_shown_that_it_is_one() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.offer("c", "1");
    bench.taken();
    bench.home.on_down(&instance("a"), bench.now());
    bench.at += ASLEEP;
    bench.home.on_up(&instance("a"), &bench.table, bench.now());
    assert_eq!(bench.home.effects(), [Effect::Confirm]);
    bench.home.on_confirmed(&bench.table, bench.now());
    let effects = bench.home.effects();
    assert!(matches!(&effects[..], [Effect::Ask { ids, .. }] if *ids == [id("c")]), "{effects:?}");
}

#[test]
fn the_answer_to_what_was_written_is_looked_for_where_the_device_turns_up() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.offer("c", "1");
    bench.taken();
    bench.disconnect(1);
    let at = bench.now().utc;
    bench.report("c", Answered::Cut { sent_at: at, attempts: 1 });
    assert_eq!(bench.home.effects().len(), 1, "the end is acknowledged, and there is nobody to ask");
    bench.connect(2);
    let effects = bench.home.effects();
    let [Effect::Ask { of, number, .. }] = &effects[..] else { panic!("{effects:?}") };
    let outcome = Outcome { attempts: 1, sent_at: Some(at), ..arrive::unwritten(Ending::Acknowledged) };
    let known = Known::Ended { answered: Answered::Outcome(outcome), attempt: 1 };
    bench.home.on_known(of, *number, vec![(id("c"), known)], &bench.table, bench.now());
    assert_eq!(bench.results(), [end("c", Ending::Acknowledged, None)]);
}

#[test]
fn every_record_is_looked_after_by_the_home_of_one_partition() {
    let device = |n: u64| DeviceId::normalise(&format!("1380000{n:04}")).unwrap();
    let mut homes: Vec<_> = ["a", "b"].iter().map(|name| Home::new(instance(name), Duration::from_secs(60))).collect();
    let now = Now { utc: Timestamp::from_seconds(1_772_359_200), uptime: Duration::from_secs(1) };
    assert!(!homes[0].keeps(&device(1)), "it is the home of nothing");
    for partition in 0..5 {
        homes[partition % 2].on_assigned(partition as i32, 0, 0, now);
    }
    homes.iter_mut().for_each(|home| home.on_spread(5));
    let kept = |homes: &[Home]| (0..1000).filter(|n| homes[0].keeps(&device(*n))).count();
    assert!((0..1000).all(|n| homes.iter().filter(|home| home.keeps(&device(n))).count() == 1));
    assert!((450..750).contains(&kept(&homes)), "{} of 1000 on 3 of 5 partitions", kept(&homes));
    homes[0].on_revoked(2);
    homes[1].on_assigned(2, 0, 0, now);
    assert!((0..1000).all(|n| homes.iter().filter(|home| home.keeps(&device(n))).count() == 1));
}

#[test]
fn devices_of_an_instance_that_is_gone_for_good_are_away() {
    const GONE: Duration = Duration::from_secs(600);
    let mut bench = Bench::new();
    bench.table = Table::new(instance("a"), Some("a:1".into()));
    bench.home.on_spread(1);
    let mut other = Table::new(instance("b"), Some("b:1".into()));
    let arrival = Arrival { session: SessionId(7), protocol: "jt808", peer: "1.2.3.4:5" };
    other.sign_on(&device(), &arrival, bench.now(), &mut bench.acts).unwrap();
    let told = other.record(&device()).cloned();
    bench.table.on_record(&device(), told.clone(), bench.now(), &mut bench.acts);
    let look = |bench: &mut Bench| {
        let now = bench.now();
        let orphans = bench.home.orphans(GONE, &bench.table, now);
        (orphans, bench.home.effects().len())
    };
    assert_eq!(look(&mut bench), (Vec::new(), 1), "it is asked whether it is there");
    bench.home.on_down(&instance("b"), bench.now());
    bench.pass(GONE - Duration::from_secs(1));
    assert_eq!(look(&mut bench), (Vec::new(), 1));
    bench.pass(Duration::from_secs(2));
    let (orphans, _) = look(&mut bench);
    assert_eq!(orphans, [(device(), instance("b"))]);
    bench.acts.clear();
    bench.table.orphaned(&device(), &instance("b"), bench.now(), &mut bench.acts);
    assert_eq!(bench.acts, [Act::Publish(device()), Act::Moved(device())]);
    assert_eq!(bench.table.owner(&device()), Owner::Nobody);
    assert_eq!(look(&mut bench), (Vec::new(), 0));
    // it lives after all, and says so
    let away = bench.table.record(&device()).cloned();
    bench.acts.clear();
    other.on_record(&device(), away, bench.now(), &mut bench.acts);
    assert_eq!(bench.acts, [Act::Publish(device())]);
    bench.table.on_record(&device(), told, bench.now(), &mut bench.acts);
    assert_eq!(bench.table.owner(&device()), Owner::At(instance("b")));
    assert_eq!(look(&mut bench), (Vec::new(), 1), "and is asked again");
}

#[test]
fn a_home_whose_errand_another_has_asked_for_asks_again_once_it_is_known_to_be_one() {
    let mut bench = Bench::new();
    bench.connect(1);
    bench.offer("c", "1");
    assert!(matches!(bench.home.effects()[..], [Effect::Hand { .. }]));
    bench.home.on_handed(&id("c"), &instance("a"), Err(Undelivered::Claimed), &bench.table, bench.now());
    assert_eq!(bench.home.effects(), [Effect::Confirm]);
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.taken(), [], "until then it may be another's");
    bench.home.on_confirmed(&bench.table, bench.now());
    let effects = bench.home.effects();
    let [Effect::Ask { of, number, .. }] = &effects[..] else { panic!("{effects:?}") };
    bench.home.on_known(of, *number, vec![(id("c"), Known::Never)], &bench.table, bench.now());
    assert_eq!(bench.taken(), [("c".to_owned(), 1)]);
}
