//! `navgate send` and `navgate why`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use clap::Args;
use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::{Map, Value, json};

use super::Exit;
use crate::clock;

/// How long an answer may take beyond the deadline: the outcome has to be written first.
const PATIENCE: Duration = Duration::from_secs(15);
/// One request to Kafka.
const REQUEST: Duration = Duration::from_secs(10);

/// Where the gateway's admin endpoint is.
#[derive(Debug, Args)]
struct Admin {
    /// The admin endpoint of an instance
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:9900")]
    admin: SocketAddr,
    /// Its token, if it wants one
    #[arg(long, env = "NAVGATE_ADMIN__TOKEN", hide_env_values = true)]
    token: Option<String>,
}

/// What to send.
#[derive(Debug, Args)]
pub(crate) struct SendArgs {
    /// The device
    device: String,
    /// The kind of command, such as `text` or `order_offer`
    kind: String,
    /// Its content, such as '{"text":"hello"}'
    #[arg(default_value = "{}")]
    content: String,
    /// The command's id; random if absent
    #[arg(long)]
    id: Option<String>,
    /// Seconds until its deadline
    #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    #[command(flatten)]
    admin: Admin,
    /// Write it to the commands topic of these brokers instead
    #[arg(long, value_name = "HOST:PORT,…")]
    brokers: Option<String>,
    /// How the topics' names begin
    #[arg(long, default_value = "navgate", requires = "brokers")]
    prefix: String,
}

/// Whom to ask about.
#[derive(Debug, Args)]
pub(crate) struct WhyArgs {
    /// The device
    device: String,
    #[command(flatten)]
    admin: Admin,
}

/// Send a command; progress and outcome go to stdout, a line each. Fails unless it ends `acknowledged`.
///
/// # Errors
/// What went wrong, or how else it ended.
pub(crate) fn send(args: &SendArgs) -> Result<(), Exit> {
    let device = DeviceId::normalise(&args.device).ok_or_else(|| Exit::failed("this cannot be the identity of a device"))?;
    let content: Value = serde_json::from_str(&args.content).map_err(|e| Exit::failed(format!("the content is no JSON: {e}")))?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => random()?,
    };
    let deadline = clock::utc().plus_millis(i64::from(args.seconds) * 1000);
    let mut command = Map::from_iter([
        ("id".to_owned(), Value::from(id.as_str())),
        ("device_id".to_owned(), json!(device)),
        ("deadline".to_owned(), json!(deadline)),
        ("kind".to_owned(), Value::from(args.kind.as_str())),
    ]);
    command.insert(args.kind.clone(), content);
    let value = Value::Object(command).to_string();
    let outcome = match &args.brokers {
        Some(brokers) => by_kafka(brokers, &args.prefix, &device, &id, &value, args.seconds),
        None => by_admin(&args.admin, &device, &value, args.seconds),
    }?;
    match outcome["outcome"]["result"].as_str() {
        Some("acknowledged") => Ok(()),
        Some(result) => Err(Exit::failed(format!("it ended {result}"))),
        None => Err(Exit::failed("no outcome came")),
    }
}

fn by_admin(admin: &Admin, device: &DeviceId, value: &str, seconds: u32) -> Result<Value, Exit> {
    let limit = Duration::from_secs(seconds.into()) + PATIENCE;
    let (status, mut lines) = request(admin, "POST", &format!("/devices/{device}/commands?wait=1"), value, limit)?;
    let mut last = Value::Null;
    let mut line = String::new();
    while lines.read_line(&mut line)? > 0 {
        if status != 200 {
            return Err(Exit::failed(line.trim()));
        }
        write!(std::io::stdout().lock(), "{line}")?;
        last = serde_json::from_str(&line).unwrap_or_default();
        line.clear();
    }
    Ok(last)
}

fn by_kafka(brokers: &str, prefix: &str, device: &DeviceId, id: &str, value: &str, seconds: u32) -> Result<Value, Exit> {
    let failed = |e: rdkafka::error::KafkaError| Exit::failed(format!("Kafka at {brokers}: {e}"));
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("group.id", format!("{prefix}-send")).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().map_err(failed)?;
    let outcomes = format!("{prefix}.outcomes");
    let metadata = consumer.fetch_metadata(Some(&outcomes), REQUEST).map_err(failed)?;
    let partitions = metadata.topics().first().map_or(0, |t| t.partitions().len());
    let mut ends = TopicPartitionList::new();
    for partition in 0..i32::try_from(partitions).unwrap_or(0) {
        let (_, end) = consumer.fetch_watermarks(&outcomes, partition, REQUEST).map_err(failed)?;
        ends.add_partition_offset(&outcomes, partition, Offset::Offset(end)).map_err(failed)?;
    }
    consumer.assign(&ends).map_err(failed)?;
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", brokers).set("acks", "all").set("partitioner", "murmur2_random");
    let producer: BaseProducer = config.create().map_err(failed)?;
    let commands = format!("{prefix}.commands");
    producer.send(BaseRecord::to(&commands).key(device.as_str()).payload(value)).map_err(|(e, _)| failed(e))?;
    producer.flush(REQUEST).map_err(failed)?;
    let end = Instant::now() + Duration::from_secs(seconds.into()) + PATIENCE;
    while Instant::now() < end {
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let Some(answer) = message.payload().and_then(|p| serde_json::from_slice::<Value>(p).ok()) else { continue };
        if [&answer["outcome"], &answer["progress"]].iter().any(|a| a["command_id"] == id) {
            writeln!(std::io::stdout().lock(), "{answer}")?;
        }
        if answer["outcome"]["command_id"] == id {
            return Ok(answer);
        }
    }
    Err(Exit::failed("no outcome came; is a gateway running with this prefix?"))
}

/// Say how it is with a device.
///
/// # Errors
/// What went wrong.
pub(crate) fn why(args: &WhyArgs) -> Result<(), Exit> {
    let device = DeviceId::normalise(&args.device).ok_or_else(|| Exit::failed("this cannot be the identity of a device"))?;
    let (status, mut body) = request(&args.admin, "GET", &format!("/devices/{device}"), "", REQUEST)?;
    let mut text = String::new();
    body.read_to_string(&mut text)?;
    match status {
        200 => {
            let shown: Value = serde_json::from_str(&text).map_err(|e| Exit::failed(e.to_string()))?;
            writeln!(std::io::stdout().lock(), "{}", sentence(&device, &shown["known"], clock::utc()))?;
            Ok(())
        }
        404 => {
            let text =
                format!("{device} has never been seen: it has not connected, or with another identity (`/sessions` lists who has)");
            writeln!(std::io::stdout().lock(), "{text}")?;
            Ok(())
        }
        _ => Err(Exit::failed(text.trim())),
    }
}

fn sentence(device: &DeviceId, known: &Value, now: Timestamp) -> String {
    let session = &known["session"];
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let since = session["since"].as_str().and_then(Timestamp::parse).map_or(0, |at| (now.as_millis() - at.as_millis()) / 1000);
    let mut said = match session["state"].as_str() {
        Some("connected") => {
            format!(
                "{device} is connected to {} ({}) for {since} s from {}",
                text(&session["gateway"]),
                text(&session["protocol"]),
                text(&session["peer"])
            )
        }
        Some(_) => format!("{device} is away for {since} s; it was connected to {} last", text(&session["gateway"])),
        None => format!("{device} has never been seen"),
    };
    if session["driver"]["authorized"] == false {
        said += &format!("; its driver {} is not authorized", text(&session["driver"]["driver_id"]));
    }
    let none = Vec::new();
    let open = known["open_commands"].as_array().unwrap_or(&none);
    for command in open {
        said += &format!(
            "; {} {} is {}, until {}",
            text(&command["kind"]),
            text(&command["id"]),
            text(&command["place"]),
            text(&command["deadline"])
        );
    }
    if let Some(last) = known["last_outcomes"].as_array().and_then(|all| all.last()) {
        let reason = last["reason"].as_str().map_or_else(String::new, |r| format!(" ({r})"));
        said += &format!("; its last command ended {}{reason}", text(&last["result"]));
    } else if open.is_empty() {
        said += "; no command for it is known on this instance";
    }
    said
}

fn random() -> Result<String, Exit> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Exit::failed(format!("the system gives no random bytes: {e}")))?;
    Ok(protocols::cursor::hex(&bytes))
}

/// One HTTP/1.0 request: the status, and the body as it comes.
fn request(admin: &Admin, method: &str, path: &str, body: &str, limit: Duration) -> Result<(u16, BufReader<TcpStream>), Exit> {
    let failed = |e: std::io::Error| Exit::failed(format!("the gateway at {} does not answer: {e}; give --admin", admin.admin));
    let mut stream = TcpStream::connect(admin.admin).map_err(failed)?;
    stream.set_read_timeout(Some(limit)).map_err(failed)?;
    let token = admin.token.as_ref().map_or_else(String::new, |t| format!("Authorization: Bearer {t}\r\n"));
    let head = format!(
        "{method} {path} HTTP/1.0\r\nHost: {}\r\n{token}Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        admin.admin,
        body.len()
    );
    stream.write_all(head.as_bytes()).map_err(failed)?;
    stream.write_all(body.as_bytes()).map_err(failed)?;
    let mut answer = BufReader::new(stream);
    let mut line = String::new();
    answer.read_line(&mut line).map_err(failed)?;
    let status = line.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or_else(|| Exit::failed("this is no HTTP"))?;
    loop {
        line.clear();
        if answer.read_line(&mut line).map_err(failed)? == 0 || line.trim().is_empty() {
            return Ok((status, answer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn says_in_a_sentence_how_it_is() {
        let device = DeviceId::normalise("13800000001").unwrap();
        let now = Timestamp::parse("2026-03-01T10:01:00Z").unwrap();
        let known = json!({
            "session": {"state": "away", "since": "2026-03-01T10:00:00.000Z", "gateway": "gw-1", "driver": {"driver_id": "D7", "authorized": false}},
            "open_commands": [{"id": "c-1", "kind": "order_offer", "place": "waiting", "deadline": "2026-03-01T10:02:00.000Z"}],
            "last_outcomes": [{"result": "expired", "reason": "lag"}]
        });
        assert_eq!(
            sentence(&device, &known, now),
            "13800000001 is away for 60 s; it was connected to gw-1 last; its driver D7 is not authorized; order_offer c-1 is waiting, \
             until 2026-03-01T10:02:00.000Z; its last command ended expired (lag)"
        );
    }
}
