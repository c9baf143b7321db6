//! A small taxi dispatch over Kafka only: `cargo run --example dispatch -- --brokers 127.0.0.1:9092 --orders 3`.
//!
//! It reads what the gateway publishes, offers invented orders to the cars that are there, and writes what it does to
//! stdout. `dispatcher.rs` holds the thinking; this file is the plumbing, and a template for one's own.

mod dispatcher;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dispatcher::{Dispatcher, State, Wish, rfc3339};
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use serde_json::Value;

/// The command line.
struct Args {
    brokers: String,
    prefix: String,
    orders: u32,
    seconds: u64,
    cancel_every: u32,
    anybody: bool,
}

const USAGE: &str =
    "usage: dispatch [--brokers HOST:PORT] [--prefix navgate] [--orders N] [--seconds N] [--cancel-every N] [--anybody]

  --orders N    passengers who want a car, one a second as long as a car is free (default 1)
  --seconds N   stop after so long at the latest (default 120)
  --cancel-every N  the passenger of every Nth order changes their mind after 5 s
  --anybody     offer also to cars that no driver has signed on in

Exit status 0: every order was served, 1: some were not, 2: wrong usage.";

fn args() -> Result<Args, String> {
    let mut args = Args {
        brokers: "127.0.0.1:9092".into(),
        prefix: "navgate".into(),
        orders: 1,
        seconds: 120,
        cancel_every: 0,
        anybody: false,
    };
    let mut given = std::env::args().skip(1);
    while let Some(name) = given.next() {
        let mut value = || given.next().ok_or_else(|| format!("{name} needs a value"));
        let number = |text: String| text.parse::<u32>().map_err(|_| format!("{text} is no number"));
        match name.as_str() {
            "--brokers" => args.brokers = value()?,
            "--prefix" => args.prefix = value()?,
            "--orders" => args.orders = number(value()?)?,
            "--seconds" => args.seconds = number(value()?)?.into(),
            "--cancel-every" => args.cancel_every = number(value()?)?,
            "--anybody" => args.anybody = true,
            other => return Err(format!("{other} is not known")),
        }
    }
    Ok(args)
}

fn main() {
    let args = args().unwrap_or_else(|e| {
        eprintln!("{e}\n\n{USAGE}");
        std::process::exit(2)
    });
    match run(&args) {
        Ok(true) => {}
        Ok(false) => std::process::exit(1),
        Err(e) => {
            eprintln!("{e}");
            std::process::exit(1)
        }
    }
}

fn run(args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let start = now_ms();
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", &args.brokers)
        // else a client that was told of no broker, while one was shut out, asks again only after five minutes (librdkafka 2.12)
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("metadata.recovery.rebootstrap.trigger.ms", "5000")
        // a dispatch that must not miss anything commits its offsets with its own state; this one starts afresh
        .set("group.id", format!("dispatch-{start}"))
        .set("auto.offset.reset", "latest")
        .set("isolation.level", "read_committed")
        .set("fetch.wait.max.ms", "5")
        .create()?;
    let topic = |name: &str| format!("{}.{name}", args.prefix);
    let topics = ["telemetry", "orders", "sessions", "outcomes"].map(topic);
    consumer.subscribe(&topics.each_ref().map(String::as_str))?;
    let producer: BaseProducer = ClientConfig::new()
        .set("bootstrap.servers", &args.brokers)
        // else a client that was told of no broker, while one was shut out, asks again only after five minutes (librdkafka 2.12)
        .set("topic.metadata.refresh.interval.ms", "5000")
        .set("metadata.recovery.rebootstrap.trigger.ms", "5000")
        .set("enable.idempotence", "true")
        .set("linger.ms", "0")
        .create()?;
    let commands = topic("commands");

    let mut dispatcher = Dispatcher::new(&format!("d{start}"));
    dispatcher.anybody = args.anybody;
    let mut ordered = 0;
    let mut next_order = start;
    let mut regrets = Vec::new();
    let until = start + i64::try_from(args.seconds * 1000)?;
    eprintln!("waiting for cars …");
    while now_ms() < until && (ordered < args.orders || dispatcher.open() > 0 || dispatcher.waiting() > 0) {
        let mut out = Vec::new();
        if let Some(record) = consumer.poll(Duration::from_millis(50)) {
            let record = record?;
            let device = String::from_utf8_lossy(record.key().unwrap_or_default()).into_owned();
            let topic = record.topic().rsplit('.').next().unwrap_or_default();
            if let Ok(value) = serde_json::from_slice::<Value>(record.payload().unwrap_or_default()) {
                show(topic, &device, &value);
                out.extend(dispatcher.record(topic, &device, &value, now_ms()));
            }
        }
        let now = now_ms();
        out.extend(dispatcher.tick(now));
        if ordered < args.orders && now >= next_order && dispatcher.free() > 0 {
            ordered += 1;
            next_order = now + 1000;
            let wish = invented(start, ordered);
            if args.cancel_every > 0 && ordered % args.cancel_every == 0 {
                regrets.push((now + 5000, wish.order_id.clone()));
            }
            out.extend(dispatcher.order(wish, now));
        }
        for (_, order_id) in regrets.extract_if(.., |(at, _)| *at <= now) {
            out.extend(dispatcher.cancel(&order_id, now));
        }
        for command in out {
            println!("{}  command  {}  {}", rfc3339(now), command["device_id"], command);
            let (key, value) = (command["device_id"].as_str().unwrap_or_default(), command.to_string());
            producer.send(BaseRecord::to(&commands).key(key).payload(&value)).map_err(|(e, _)| e)?;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(Duration::from_secs(10))?;
    let count = |state| dispatcher.count(state);
    let (served, cancelled) = (count(State::Completed) + count(State::NoShow), count(State::Cancelled));
    let (unserved, open) = (count(State::Unserved), dispatcher.open());
    println!("{ordered} orders: {served} served, {cancelled} cancelled, {unserved} unserved, {open} open; {:?}", dispatcher.tally);
    Ok(ordered == args.orders && unserved + open == 0)
}

fn show(topic: &str, device: &str, value: &Value) {
    let kind = value["type"].as_str().unwrap_or_default();
    if matches!(topic, "orders" | "outcomes") {
        println!("{}  {topic:8}  {device}  {}", rfc3339(now_ms()), value[kind]);
    }
}

fn invented(run: i64, n: u32) -> Wish {
    Wish {
        order_id: format!("{}", run / 1000 % 1_000_000 * 1000 + i64::from(n)),
        address: format!("人民路 {n}"),
        latitude: 39.90,
        longitude: 116.40,
        passenger: "李".into(),
        phone: "13800000099".into(),
    }
}

fn now_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_millis() as i64)
}
