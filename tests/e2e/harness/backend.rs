//! A dispatch backend: offers orders, gives each to the first who takes it, and counts what becomes of every command.
//!
//! It knows the contract and nothing else: what it counts stands in the topics, and is read as any consumer would.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use protocols::time::Timestamp;
use rdkafka::producer::{BaseProducer, BaseRecord, DeliveryResult, Producer, ProducerContext};
use rdkafka::{ClientConfig, ClientContext};
use serde_json::{Value, json};

use super::kafka::Reader;
use super::schema::assert_valid;
use super::taxi::worth_until;
use super::{PATIENCE, now_ms};

/// Between two looks at a topic.
const LOOK: Duration = Duration::from_millis(5);

/// How long a driver may be told who has an order.
const ASSIGNMENT_S: i64 = 60;

/// A deadline is converted once on each instance that has the command, from clocks that count milliseconds.
const CLOCKS_MS: i64 = 20;

/// Which partition a command goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keys {
    /// As librdkafka's own default has it: CRC32 of the device's id.
    Librdkafka,
    /// As Java's clients have it: murmur2.
    Java,
}

/// A command on its way to its topic.
#[derive(Debug, Clone)]
struct Sent {
    device: String,
    value: String,
    partition: Option<i32>,
}

/// Commands that are with a client. What does not come through is sent again by another one, as a careful backend does: a client
/// that has lost its brokers may be of no use for minutes, and not even say so.
#[derive(Default)]
struct Outstanding {
    commands: Mutex<BTreeMap<usize, Sent>>,
    numbers: AtomicUsize,
    failed: AtomicBool,
    /// When something came through, or was first there.
    moved: Mutex<Option<Instant>>,
}

impl Outstanding {
    /// Longer than a broker that is well takes, and than a client tries by itself.
    const STUCK: Duration = Duration::from_secs(12);

    fn add(&self, sent: &Sent) -> usize {
        let number = self.numbers.fetch_add(1, Ordering::Relaxed);
        self.commands.lock().unwrap().insert(number, sent.clone());
        self.moved.lock().unwrap().get_or_insert_with(Instant::now);
        number
    }

    fn is_stuck(&self) -> bool {
        self.failed.load(Ordering::Relaxed) || self.moved.lock().unwrap().is_some_and(|at| at.elapsed() > Self::STUCK)
    }
}

impl ClientContext for Outstanding {}

impl ProducerContext for Outstanding {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, number: usize) {
        if result.is_err() {
            return self.failed.store(true, Ordering::Relaxed);
        }
        let mut commands = self.commands.lock().unwrap();
        commands.remove(&number);
        *self.moved.lock().unwrap() = (!commands.is_empty()).then(Instant::now);
    }
}

type Commands = BaseProducer<Outstanding>;

impl Keys {
    fn producer(self, bootstrap: &str) -> Commands {
        let partitioner = match self {
            Self::Librdkafka => "consistent_random",
            Self::Java => "murmur2_random",
        };
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("partitioner", partitioner).set("linger.ms", "1");
        // as the gateway's own clients, see there
        config.set("topic.metadata.refresh.interval.ms", "5000").set("metadata.recovery.rebootstrap.trigger.ms", "5000");
        config.set("reconnect.backoff.max.ms", "1000").set("message.timeout.ms", "10000");
        config.create_with_context(Outstanding::default()).unwrap()
    }
}

/// See the module.
pub(crate) struct Backend {
    bootstrap: String,
    producers: [(Keys, Commands); 2],
    /// How commands find their partitions from now on.
    pub(crate) keys: Keys,
    /// Devices whose commands go to a partition of the test's choice.
    pub(crate) places: BTreeMap<String, i32>,
    prefix: String,
    answers: Reader,
    orders: Reader,
    /// Answers and events that were looked at.
    looked: (usize, usize),
    /// Commands that were produced, with their deadlines.
    produced: BTreeMap<String, i64>,
    /// The outcomes of each command.
    outcomes: BTreeMap<String, Vec<Value>>,
    /// Stages that were told of each command.
    stages: BTreeMap<String, BTreeSet<String>>,
    /// Events by their ids: a repeat is the same event.
    events: BTreeMap<String, Value>,
    /// Actions on an order by a device, in the order of their first events.
    actions: BTreeMap<(String, String), Vec<String>>,
    /// Who has an order.
    winners: BTreeMap<String, String>,
    /// Who wanted it, the winner included.
    takers: BTreeSet<(String, String)>,
    /// Orders that are not given to anybody yet.
    pub(crate) held: BTreeSet<String>,
}

fn assignment_id(order: &str, device: &str) -> String {
    format!("assign-{order}-{device}")
}

impl Backend {
    /// Waits until the gateway has made its topics.
    pub(crate) fn new(bootstrap: &str, prefix: &str) -> Self {
        Self {
            bootstrap: bootstrap.to_owned(),
            producers: [Keys::Librdkafka, Keys::Java].map(|keys| (keys, keys.producer(bootstrap))),
            keys: Keys::Librdkafka,
            places: BTreeMap::new(),
            prefix: prefix.to_owned(),
            answers: Reader::new(bootstrap, prefix, &["outcomes"]),
            orders: Reader::new(bootstrap, prefix, &["orders"]),
            looked: (0, 0),
            produced: BTreeMap::new(),
            outcomes: BTreeMap::new(),
            stages: BTreeMap::new(),
            events: BTreeMap::new(),
            actions: BTreeMap::new(),
            winners: BTreeMap::new(),
            takers: BTreeSet::new(),
            held: BTreeSet::new(),
        }
    }

    fn producer(&self) -> &Commands {
        &self.producers.iter().find(|(keys, _)| *keys == self.keys).unwrap().1
    }

    fn send(producer: &Commands, topic: &str, sent: &Sent) {
        let number = producer.context().add(sent);
        let mut record = BaseRecord::with_opaque_to(topic, number).key(&sent.device).payload(&sent.value);
        record.partition = sent.partition;
        producer.send(record).map_err(|(e, _)| e).unwrap();
    }

    /// Hear what became of commands, and send again what did not come through.
    fn hear(&mut self) {
        let topic = format!("{}.commands", self.prefix);
        for (keys, producer) in &mut self.producers {
            producer.poll(Duration::ZERO);
            if producer.context().is_stuck() {
                let old = std::mem::replace(producer, keys.producer(&self.bootstrap));
                old.context().commands.lock().unwrap().values().for_each(|sent| Self::send(producer, &topic, sent));
                std::thread::spawn(move || drop(old)); // its end may not come
            }
        }
    }

    /// Produce a command that is worth nothing after so many seconds.
    pub(crate) fn command(&mut self, id: &str, device: &str, kind: &str, content: &Value, seconds: i64) {
        self.command_until(id, device, kind, content, now_ms() + seconds * 1000);
    }

    fn command_until(&mut self, id: &str, device: &str, kind: &str, content: &Value, deadline_ms: i64) {
        let deadline = Timestamp::from_millis(deadline_ms);
        let value = json!({"id": id, "device_id": device, "deadline": deadline, "kind": kind, kind: content}).to_string();
        let sent = Sent { device: device.to_owned(), value, partition: self.places.get(device).copied() };
        Self::send(self.producer(), &format!("{}.commands", self.prefix), &sent);
        assert!(self.produced.insert(id.to_owned(), deadline_ms).is_none(), "{id} twice");
        self.producer().poll(Duration::ZERO);
    }

    /// A text of its own, which says until when it is worth something.
    pub(crate) fn text(&mut self, id: &str, device: &str, seconds: i64) {
        let deadline_ms = now_ms() + seconds * 1000;
        self.command_until(id, device, "text", &json!({"text": format!("{id} {}", worth_until(deadline_ms))}), deadline_ms);
    }

    /// Wait until Kafka has all of them.
    pub(crate) fn flush(&mut self) {
        let end = Instant::now() + PATIENCE;
        while self.producers.iter().any(|(_, producer)| !producer.context().commands.lock().unwrap().is_empty()) {
            assert!(Instant::now() < end, "Kafka does not take commands");
            self.hear();
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Offer an order: the command is named after both.
    pub(crate) fn offer(&mut self, order: u32, device: &str, seconds: i64) -> String {
        let id = format!("offer-{order}-{device}");
        let deadline_ms = now_ms() + seconds * 1000;
        self.command_until(&id, device, "order_offer", &content(order, deadline_ms), deadline_ms);
        id
    }

    /// Take what has come, and give orders to those who want them.
    pub(crate) fn look(&mut self) {
        self.hear();
        self.answers.take(LOOK);
        self.orders.take(LOOK);
        for record in &self.answers.records[self.looked.0..] {
            let kind = record.text("type");
            assert_valid(kind, &record.value);
            let id = record.value[kind]["command_id"].as_str().unwrap_or_default().to_owned();
            match kind {
                "outcome" => self.outcomes.entry(id).or_default().push(record.value.clone()),
                _ => _ = self.stages.entry(id).or_default().insert(record.value["progress"]["stage"].as_str().unwrap().to_owned()),
            }
        }
        self.looked.0 = self.answers.records.len();
        for record in &self.orders.records[self.looked.1..] {
            let event = &record.value;
            if record.text("type") != "order" || self.events.insert(record.text("id").to_owned(), event.clone()).is_some() {
                continue;
            }
            let text = |field: &str| event["order"][field].as_str().unwrap_or_default().to_owned();
            // an instance that hung before it had told which orders a device knows: then the number is all there is to go by
            let token = || text("token").trim_start_matches('0').to_owned();
            let order = Some(text("order_id")).filter(|id| !id.is_empty()).unwrap_or_else(token);
            let device = record.text("device_id").to_owned();
            let action = text("action");
            // who took what nobody knows is told nothing
            if action == "accepted" && !order.is_empty() {
                self.takers.insert((order.clone(), device.clone()));
            }
            self.actions.entry((order, device)).or_default().push(action);
        }
        self.looked.1 = self.orders.records.len();
        let ready: Vec<_> = self.takers.iter().filter(|(order, _)| !self.held.contains(order)).cloned().collect();
        for (order, device) in ready {
            self.takers.remove(&(order.clone(), device.clone()));
            // the same accept comes under another id where an instance knew only the order's number
            if !self.produced.contains_key(&assignment_id(&order, &device)) {
                self.assign(&order, &device);
            }
        }
    }

    fn assign(&mut self, order: &str, device: &str) {
        let number = order.parse().unwrap();
        let won = !self.winners.contains_key(order);
        let deadline_ms = now_ms() + ASSIGNMENT_S * 1000;
        let mut assignment = if won { content(number, deadline_ms) } else { json!({"order_id": order}) };
        assignment["won"] = won.into();
        if won {
            self.winners.insert(order.to_owned(), device.to_owned());
            assignment["passenger"] = json!({"name": "Li", "phone": "13800000099"});
        }
        self.command_until(&assignment_id(order, device), device, "order_assign", &assignment, deadline_ms);
    }

    /// Who has this order.
    pub(crate) fn winner(&self, order: u32) -> Option<&str> {
        self.winners.get(&order.to_string()).map(String::as_str)
    }

    /// Every command that was produced has ended, and every order that is not held is given.
    pub(crate) fn is_done(&self) -> bool {
        self.outcomes.len() >= self.produced.len() && self.takers.iter().all(|(order, _)| self.held.contains(order))
    }

    /// What has not ended, and how far it is.
    pub(crate) fn open(&self) -> Vec<(&str, Option<&BTreeSet<String>>)> {
        let open = self.produced.keys().filter(|id| !self.outcomes.contains_key(*id));
        open.map(|id| (id.as_str(), self.stages.get(id))).collect()
    }

    /// The first outcome of a command.
    pub(crate) fn outcome(&self, id: &str) -> Option<&Value> {
        self.outcomes.get(id).map(|all| &all[0]["outcome"])
    }

    /// The records of outcomes that say neither of these.
    pub(crate) fn others(&self, results: [&str; 2]) -> Vec<&Value> {
        let other = |value: &&Value| value["outcome"]["result"].as_str().is_some_and(|result| !results.contains(&result));
        self.outcomes.values().flatten().filter(other).collect()
    }

    /// What the outcome of a command says.
    pub(crate) fn result(&self, id: &str) -> &str {
        self.outcome(id).and_then(|o| o["result"].as_str()).unwrap_or("none")
    }

    /// Whether this stage was told of a command.
    pub(crate) fn has_told(&self, id: &str, stage: &str) -> bool {
        self.stages.get(id).is_some_and(|told| told.contains(stage))
    }

    /// What a device did with an order: each action once, in the order of the first events.
    pub(crate) fn actions(&self, order: u32, device: &str) -> Vec<&str> {
        self.actions.get(&(order.to_string(), device.to_owned())).into_iter().flatten().map(String::as_str).collect()
    }

    /// Events of an order, by the device's action.
    pub(crate) fn event(&self, order: u32, action: &str) -> Option<&Value> {
        let order = order.to_string();
        self.events.values().map(|e| &e["order"]).find(|e| e["order_id"] == *order && e["action"] == action)
    }

    /// The devices whose drivers signed off, each as often as its driver did.
    pub(crate) fn signed_off(&self) -> Vec<String> {
        let off = |event: &&Value| event["driver"]["action"] == "sign_off";
        let mut by_id: BTreeMap<&str, String> = BTreeMap::new();
        for event in self.orders.records.iter().map(|record| &record.value).filter(off) {
            by_id.insert(event["id"].as_str().unwrap(), event["device_id"].as_str().unwrap().to_owned());
        }
        by_id.into_values().collect()
    }

    /// How many commands ended how.
    pub(crate) fn results(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for outcome in self.outcomes.values().flatten() {
            let text = |field: &str| outcome["outcome"][field].as_str().unwrap_or_default();
            *all.entry([text("result"), text("reason")].join(" ").trim_end().to_owned()).or_default() += 1;
        }
        all
    }

    /// Each command's device, and the partition that the command stands in.
    pub(crate) fn placed(&mut self) -> Vec<(String, i32)> {
        self.flush();
        let mut commands = Reader::new(&self.bootstrap, &self.prefix, &["commands"]);
        commands.read_all().iter().map(|record| (record.text("device_id").to_owned(), record.partition)).collect()
    }

    /// Commands and outcomes are read once more from the beginning of their topics: each command has one.
    pub(crate) fn assert_one_outcome_each(&mut self) {
        self.flush();
        let read = |topic: &str, id: &dyn Fn(&Value) -> Option<String>| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for record in Reader::new(&self.bootstrap, &self.prefix, &[topic]).read_all() {
                id(&record.value).into_iter().for_each(|id| *counts.entry(id).or_default() += 1);
            }
            counts
        };
        let text = |value: &Value| value.as_str().map(str::to_owned);
        let commands = read("commands", &|value| text(&value["id"]));
        let outcomes = read("outcomes", &|value| text(&value["outcome"]["command_id"]));
        assert_eq!(commands.len(), self.produced.len(), "commands in the topic");
        let wrong: Vec<_> =
            commands.keys().map(|id| (id, outcomes.get(id).copied().unwrap_or(0))).filter(|(_, n)| *n != 1).collect();
        assert!(wrong.is_empty(), "{} of {} commands have no or several outcomes: {wrong:?}", wrong.len(), commands.len());
        let unknown: Vec<_> = outcomes.keys().filter(|id| !commands.contains_key(*id)).collect();
        assert!(unknown.is_empty(), "outcomes of what was never asked: {unknown:?}");
        self.look();
        let sent_ms = |id: &String| Timestamp::parse(self.outcome(id)?["sent_at"].as_str()?).map(Timestamp::as_millis);
        let late: Vec<_> = self.produced.iter().filter(|(id, deadline)| sent_ms(id) > Some(**deadline + CLOCKS_MS)).collect();
        assert!(late.is_empty(), "first written after the deadline: {late:?}");
    }
}

fn content(order: u32, deadline_ms: i64) -> Value {
    json!({
        "order_id": order.to_string(),
        "type": "immediate",
        "pickup": {"address": format!("Stand {order}."), "latitude": 39.904, "longitude": 116.407},
        "destination": {"address": format!("Airport {}", worth_until(deadline_ms))},
    })
}
