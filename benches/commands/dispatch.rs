//! A dispatch backend that offers orders at a steady pace, tells each driver who takes one that it is lost, and notes when what
//! happened.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use protocols::time::Timestamp;
use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::{Value, json};

use crate::harness::kafka::{Reader, shared};
use crate::latency::Histogram;
use crate::taxi::{Happened, PROTOCOLS, Taxi, What};

/// Taxis of each protocol.
const TAXIS: u32 = 20;
/// How long a command is worth something: longer than any run is late.
const DEADLINE: Duration = Duration::from_secs(60);
/// How long the reader waits for a record before it looks whether to end.
const LOOK: Duration = Duration::from_millis(100);
/// One request to Kafka.
const REQUEST: Duration = Duration::from_secs(10);

/// When what happened to one order.
#[derive(Debug, Default)]
struct Times {
    /// Whether it counts.
    measured: bool,
    offered: Option<Instant>,
    shown: Option<Instant>,
    accepted: Option<Instant>,
    readable: Option<Instant>,
    told: Option<Instant>,
    lost: Option<Instant>,
    raw: Option<Instant>,
    raw_readable: Option<Instant>,
}

/// What the consumer reads.
enum Read {
    Accepted(u32, Instant),
    Raw(u32, Instant),
}

/// See the module.
pub(crate) struct Dispatch {
    pub(crate) taxis: Vec<String>,
    prefix: String,
    producer: ThreadedProducer<DefaultProducerContext>,
    happened: Receiver<Happened>,
    read: Receiver<Read>,
    reading: Option<JoinHandle<()>>,
    stop: Arc<AtomicBool>,
    orders: HashMap<u32, Times>,
}

impl Dispatch {
    /// Connect the taxis.
    pub(crate) fn start(prefix: &str, address: impl Fn(&str) -> SocketAddr) -> Self {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", shared()).set("linger.ms", "0").set("acks", "all").set("enable.idempotence", "true");
        let producer = config.create().unwrap();
        let (tell, happened) = channel();
        let mut taxis = Vec::new();
        for (protocol, n) in PROTOCOLS.into_iter().flat_map(|protocol| (0..TAXIS).map(move |n| (protocol, n))) {
            let taxi = Taxi::connect(protocol, n, address(protocol)).unwrap();
            taxis.push(taxi.id.clone());
            let tell = tell.clone();
            // ends with its connection
            std::thread::spawn(move || taxi.run(&tell));
        }
        let (send, read) = channel();
        let stop = Arc::new(AtomicBool::new(false));
        let (orders, stopped) = (Reader::new(shared(), prefix, &["orders"]), Arc::clone(&stop));
        let reading = Some(std::thread::spawn(move || follow(orders, &stopped, &send)));
        Self { taxis, prefix: prefix.to_owned(), producer, happened, read, reading, stop, orders: HashMap::new() }
    }

    /// Offer so many a second; those that are offered after the warm-up count.
    ///
    /// # Errors
    /// If Kafka does not take a command.
    pub(crate) fn run(&mut self, per_second: u32, warm_up: Duration, measured: Duration) -> Result<(), String> {
        let turn = Duration::from_secs(1) / per_second;
        let start = Instant::now();
        for (n, order) in (0..).zip(1000..) {
            let due = start + turn * n;
            if due >= start + warm_up + measured {
                return Ok(());
            }
            self.wait_until(due)?;
            let device = self.taxis[n as usize % self.taxis.len()].clone();
            let offer = json!({
                "order_id": order.to_string(),
                "type": "immediate",
                "pickup": {"address": format!("Stand {order}."), "latitude": 39.904, "longitude": 116.407},
                "destination": {"address": "Airport"},
            });
            let times = self.orders.entry(order).or_default();
            times.measured = due >= start + warm_up;
            times.offered = Some(Instant::now());
            let value = self.command(&format!("offer-{order}"), &device, "order_offer", &offer)?;
            // halfway between two offers
            self.wait_until(due + turn / 2)?;
            self.orders.entry(order).or_default().raw = Some(Instant::now());
            let raw = json!({"raw": order, "as_long_as": value}).to_string();
            self.produce("orders", &device, &raw)?;
        }
        Ok(())
    }

    /// Note what happens meanwhile, and tell those who took an order.
    fn wait_until(&mut self, due: Instant) -> Result<(), String> {
        loop {
            while let Ok((what, order, at)) = self.happened.try_recv() {
                let times = self.orders.entry(order).or_default();
                let first = match what {
                    What::Shown => &mut times.shown,
                    What::Accepted => &mut times.accepted,
                    What::Lost => &mut times.lost,
                };
                first.get_or_insert(at);
            }
            match self.read.recv_timeout(due.saturating_duration_since(Instant::now())) {
                Ok(Read::Raw(order, at)) => {
                    self.orders.entry(order).or_default().raw_readable.get_or_insert(at);
                }
                Ok(Read::Accepted(order, at)) => {
                    let times = self.orders.entry(order).or_default();
                    // a repeat is the same event
                    if times.readable.replace(at).is_none() {
                        times.told = Some(Instant::now());
                        let device = self.taxis[(order as usize - 1000) % self.taxis.len()].clone();
                        let lost = json!({"order_id": order.to_string(), "won": false});
                        self.command(&format!("assign-{order}"), &device, "order_assign", &lost)?;
                    }
                }
                Err(_) if Instant::now() >= due => return Ok(()),
                Err(_) => {}
            }
        }
    }

    fn command(&self, id: &str, device: &str, kind: &str, content: &Value) -> Result<String, String> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default() + DEADLINE;
        let deadline = Timestamp::from_millis(i64::try_from(now.as_millis()).unwrap_or(0));
        let value = json!({"id": id, "device_id": device, "deadline": deadline, "kind": kind, kind: content}).to_string();
        self.produce("commands", device, &value)?;
        Ok(value)
    }

    fn produce(&self, topic: &str, key: &str, value: &str) -> Result<(), String> {
        let topic = format!("{}.{topic}", self.prefix);
        self.producer.send(BaseRecord::to(&topic).key(key).payload(value)).map_err(|(e, _)| format!("{topic}: {e}"))
    }

    /// What was measured.
    ///
    /// # Errors
    /// What did not happen within this time.
    pub(crate) fn finish(mut self, within: Duration) -> Result<[(&'static str, Histogram); 4], String> {
        self.producer.flush(REQUEST).map_err(|e| e.to_string())?;
        let end = Instant::now() + within;
        let is_over = |t: &Times| t.shown.is_some() && t.lost.is_some() && t.raw_readable.is_some();
        while !self.orders.values().all(is_over) && Instant::now() < end {
            self.wait_until(Instant::now() + LOOK)?;
        }
        self.stop.store(true, Ordering::Relaxed);
        if let Some(reading) = self.reading.take() {
            reading.join().map_err(|_| "the reader fell over".to_owned())?;
        }
        let open: Vec<_> = self.orders.iter().filter(|(_, times)| !is_over(times)).take(5).collect();
        if !open.is_empty() {
            return Err(format!("of these orders something did not arrive: {open:?}"));
        }
        let between = |from: fn(&Times) -> Option<Instant>, to: fn(&Times) -> Option<Instant>| {
            let mut histogram = Histogram::default();
            let counted = self.orders.values().filter(|times| times.measured);
            counted.filter_map(|t| Some(to(t)?.saturating_duration_since(from(t)?))).for_each(|took| histogram.record(took));
            histogram
        };
        Ok([
            ("raw: record produced to readable", between(|t| t.raw, |t| t.raw_readable)),
            ("offer produced to bytes off the device's socket", between(|t| t.offered, |t| t.shown)),
            ("answer on the device's socket to record readable", between(|t| t.accepted, |t| t.readable)),
            ("verdict produced to bytes off the device's socket", between(|t| t.told, |t| t.lost)),
        ])
    }
}

fn follow(mut orders: Reader, stop: &AtomicBool, read: &Sender<Read>) {
    while !stop.load(Ordering::Relaxed) {
        orders.take(LOOK);
        let at = Instant::now();
        for record in orders.records.drain(..) {
            let number = |value: &Value| value.as_str().and_then(|id| id.parse().ok());
            let found = match (&record.value["raw"], &record.value["order"]) {
                (Value::Number(order), _) => order.as_u64().and_then(|n| u32::try_from(n).ok()).map(|n| Read::Raw(n, at)),
                (_, order) if order["action"] == "accepted" => number(&order["order_id"]).map(|n| Read::Accepted(n, at)),
                _ => None,
            };
            if let Some(found) = found
                && read.send(found).is_err()
            {
                return;
            }
        }
    }
}
