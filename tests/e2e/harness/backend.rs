//! A dispatch backend: offers orders, gives each to the first who takes it, and counts what becomes of every command.
//!
//! It knows the contract and nothing else: what it counts stands in the topics, and is read as any consumer would. Keys are
//! placed by librdkafka's own default, which is another than that of Java's clients.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::{Value, json};

use super::PATIENCE;
use super::kafka::{Reader, shared};
use super::schema::assert_valid;

/// Between two looks at a topic.
const LOOK: Duration = Duration::from_millis(5);

/// See the module.
pub(crate) struct Backend {
    producer: BaseProducer,
    prefix: String,
    answers: Reader,
    orders: Reader,
    /// Answers and events that were looked at.
    looked: (usize, usize),
    /// Commands that were produced.
    produced: BTreeSet<String>,
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
    pub(crate) fn new(prefix: &str) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", shared()).set("linger.ms", "1");
        Self {
            producer: config.create().unwrap(),
            prefix: prefix.to_owned(),
            answers: Reader::new(shared(), prefix, &["outcomes"]),
            orders: Reader::new(shared(), prefix, &["orders"]),
            looked: (0, 0),
            produced: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            stages: BTreeMap::new(),
            events: BTreeMap::new(),
            actions: BTreeMap::new(),
            winners: BTreeMap::new(),
            takers: BTreeSet::new(),
            held: BTreeSet::new(),
        }
    }

    /// Produce a command that is worth nothing after so many seconds.
    pub(crate) fn command(&mut self, id: &str, device: &str, kind: &str, content: &Value, seconds: i64) {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis();
        let deadline = protocols::time::Timestamp::from_millis(i64::try_from(now).unwrap() + seconds * 1000);
        let value = json!({"id": id, "device_id": device, "deadline": deadline, "kind": kind, kind: content}).to_string();
        let topic = format!("{}.commands", self.prefix);
        self.producer.send(BaseRecord::to(&topic).key(device).payload(&value)).map_err(|(e, _)| e).unwrap();
        assert!(self.produced.insert(id.to_owned()), "{id} twice");
        self.producer.poll(Duration::ZERO);
    }

    /// Wait until Kafka has all of them.
    pub(crate) fn flush(&self) {
        let end = Instant::now() + PATIENCE;
        while self.producer.in_flight_count() > 0 {
            assert!(Instant::now() < end, "Kafka does not take commands");
            self.producer.poll(Duration::from_millis(1));
        }
    }

    /// Offer an order: the command is named after both.
    pub(crate) fn offer(&mut self, order: u32, device: &str, seconds: i64) -> String {
        let id = format!("offer-{order}-{device}");
        self.command(&id, device, "order_offer", &content(order), seconds);
        id
    }

    /// Take what has come, and give orders to those who want them.
    pub(crate) fn look(&mut self) {
        self.producer.poll(Duration::ZERO);
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
            // whichever instance hears of it knows the order: it was told before the offer was written
            assert!(event["order"]["token"].is_null(), "{event}");
            let order = text("order_id");
            let device = record.text("device_id").to_owned();
            let action = text("action");
            if action == "accepted" {
                self.takers.insert((order.clone(), device.clone()));
            }
            self.actions.entry((order, device)).or_default().push(action);
        }
        self.looked.1 = self.orders.records.len();
        let ready: Vec<_> = self.takers.iter().filter(|(order, _)| !self.held.contains(order)).cloned().collect();
        for (order, device) in ready {
            self.takers.remove(&(order.clone(), device.clone()));
            self.assign(&order, &device);
        }
    }

    fn assign(&mut self, order: &str, device: &str) {
        let number = order.parse().unwrap();
        let won = !self.winners.contains_key(order);
        let mut assignment = if won { content(number) } else { json!({"order_id": order}) };
        assignment["won"] = won.into();
        if won {
            self.winners.insert(order.to_owned(), device.to_owned());
            assignment["passenger"] = json!({"name": "Li", "phone": "13800000099"});
        }
        self.command(&assignment_id(order, device), device, "order_assign", &assignment, 60);
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
        let open = self.produced.iter().filter(|id| !self.outcomes.contains_key(*id));
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

    /// How many commands ended how.
    pub(crate) fn results(&self) -> BTreeMap<String, usize> {
        let mut all = BTreeMap::new();
        for outcome in self.outcomes.values().flatten() {
            let text = |field: &str| outcome["outcome"][field].as_str().unwrap_or_default();
            *all.entry([text("result"), text("reason")].join(" ").trim_end().to_owned()).or_default() += 1;
        }
        all
    }

    /// Commands and outcomes are read once more from the beginning of their topics: each command has one.
    pub(crate) fn assert_one_outcome_each(&mut self) {
        self.flush();
        let read = |topic: &str, id: &dyn Fn(&Value) -> Option<String>| {
            let mut counts: BTreeMap<String, usize> = BTreeMap::new();
            for record in Reader::new(shared(), &self.prefix, &[topic]).read_all() {
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
    }
}

fn content(order: u32) -> Value {
    json!({
        "order_id": order.to_string(),
        "type": "immediate",
        "pickup": {"address": format!("Stand {order}."), "latitude": 39.904, "longitude": 116.407},
        "destination": {"address": "Airport"},
    })
}
