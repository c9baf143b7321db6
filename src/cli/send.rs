//! `navgate send`: a command from a person, by a gateway's admin address or straight into Kafka.

use std::io::{BufRead, Read, Write};
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::PossibleValuesParser;
use protocols::command::{self, Kind};
use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use serde_json::{Map, Value, json};

use super::Exit;
use super::http::{AdminArgs, Client, in_path, objection};
use crate::clock;
use crate::config;
use crate::down::courier::{Courier, Heard, LATE, PATIENCE};

/// For what the gateway itself needs beyond a deadline and [`PATIENCE`]: writing the command to Kafka, and saying that it waited
/// in vain.
const GATEWAY: Duration = Duration::from_secs(30);

/// What is read from the standard input: more than any command has.
const MOST: u64 = 2 * command::MAX_COMMAND as u64;

/// What to send, to whom, by which way.
#[derive(Debug, Args)]
#[command(after_long_help = examples())]
pub(crate) struct SendArgs {
    /// The device, as events name it
    device: String,
    /// The kind of command; --help has an example of each
    #[arg(value_parser = PossibleValuesParser::new(Kind::NAMES), hide_possible_values = true)]
    kind: String,
    /// What belongs to that kind, as JSON; `-` reads it from the standard input
    #[arg(default_value = "{}")]
    content: String,
    /// The command's id; without it a random one
    #[arg(long)]
    id: Option<String>,
    /// Until its deadline: after it the answer is worth nothing any more
    #[arg(long, value_name = "N", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=86_400))]
    seconds: u32,
    #[command(flatten)]
    admin: AdminArgs,
    /// Straight into the commands topic of these brokers, past the admin address
    #[arg(long, value_name = "HOST:PORT,…", conflicts_with_all = ["admin", "token_file"])]
    brokers: Option<String>,
    /// First part of the names of Kafka's topics (kafka.prefix)
    #[arg(long, value_name = "PREFIX", default_value = "navgate", requires = "brokers")]
    prefix: String,
    /// For librdkafka, as in [kafka.properties]: TLS, SASL
    #[arg(long = "property", value_name = "NAME=VALUE", requires = "brokers", value_parser = property)]
    properties: Vec<(String, String)>,
}

fn property(text: &str) -> Result<(String, String), String> {
    text.split_once('=').map(|(name, value)| (name.to_owned(), value.to_owned())).ok_or_else(|| "write NAME=VALUE".to_owned())
}

/// One of each kind, as a shell takes it, with a remark. Line breaks keep each line whole in a terminal.
const EXAMPLES: [(&str, &str, &str); Kind::NAMES.len() + 1] = [
    (
        "order_offer",
        r#"{"order_id":"4711","type":"immediate",
    "pickup":{"address":"Renmin Road 1"},"destination":{"address":"Airport"}}"#,
        "ends with the driver's answer",
    ),
    (
        "order_assign",
        r#"{"order_id":"4711","won":true,"type":"immediate",
    "pickup":{"address":"Renmin Road 1"},"passenger":{"name":"Li","phone":"13800000099"}}"#,
        "the driver has it",
    ),
    ("order_assign", r#"{"order_id":"4711","won":false}"#, "another one has it"),
    ("order_cancel", r#"{"order_id":"4711","reason":"passenger left"}"#, ""),
    (
        "order_list",
        r#"{"orders":[{"order_id":"4712","type":"reserved",
    "pickup":{"address":"Renmin Road 1","time":"2026-03-01T10:30:00Z"}}]}"#,
        "all that the screen is to show",
    ),
    ("text", r#"{"text":"Road closed","urgent":true}"#, ""),
    (
        "question",
        r#"{"text":"Break?",
    "answers":[{"id":"y","text":"Yes"},{"id":"n","text":"No"}]}"#,
        "",
    ),
    (
        "driver_authorization",
        r#"{"driver_id":"D7","authorized":false,
    "reason":"papers"}"#,
        "kept until said otherwise",
    ),
    ("alarm_confirm", r#"{"alarms":["sos"]}"#, ""),
    ("locate", "{}", ""),
    ("reboot", "{}", ""),
    ("take_photo", r#"{"channel":1}"#, "the photo itself is a `data` event"),
    ("track", r#"{"interval_s":10,"duration_s":600}"#, ""),
    ("call", r#"{"phone":"13800000099","listen_only":true}"#, ""),
    ("output", r#"{"name":"fuel","state":true}"#, "true: cut, locked, on"),
    ("set_parameters", r#"{"values":{"heartbeat_s":60}}"#, "`navgate protocols --json` lists the names"),
    ("query_parameters", r#"{"names":["heartbeat_s"]}"#, "without names: all"),
    ("raw", r#"{"hex":"7e8104000001380000000100010d7e"}"#, "a whole frame, as on the wire"),
];

fn examples() -> String {
    let mut text = String::from("Examples, one of each kind:\n");
    for (kind, content, remark) in EXAMPLES {
        if !remark.is_empty() {
            text += &format!("  # {remark}\n");
        }
        let content = if content == "{}" { String::new() } else { format!(" '{content}'") };
        text += &format!("  navgate send 13800000001 {kind}{content}\n");
    }
    text + "\nWhich protocol can say what: `navgate protocols`.\nWhat the fields mean: `navgate contract --schema command`."
}

/// A command that makes sense.
#[derive(Debug)]
struct Ready {
    device: DeviceId,
    id: String,
    value: String,
}

/// Runs the command.
///
/// # Errors
/// What makes no sense, what went wrong, or how else it ended.
pub(crate) fn run(args: &SendArgs) -> Result<(), Exit> {
    let content = match args.content.as_str() {
        "-" => std::io::read_to_string(std::io::stdin().lock().take(MOST))?,
        given => given.to_owned(),
    };
    let ready = ready(args, &content, clock::utc())?;
    let outcome = match &args.brokers {
        Some(brokers) => by_kafka(args, brokers, &ready),
        None => by_admin(&args.admin.client()?, &ready, args.seconds),
    }?;
    verdict(&outcome)
}

fn ready(args: &SendArgs, content: &str, now: Timestamp) -> Result<Ready, Exit> {
    let device = DeviceId::normalise(&args.device)
        .ok_or_else(|| Exit::usage(format!("DEVICE: `{}` cannot be the identity of a device", args.device)))?;
    let example = || {
        let example = EXAMPLES.iter().find(|(kind, ..)| *kind == args.kind).map_or("{}", |(_, content, _)| content);
        format!("for example: navgate send {device} {} '{}'", args.kind, example.replace("\n    ", ""))
    };
    let content: Value =
        serde_json::from_str(content).map_err(|e| Exit::usage(format!("CONTENT: this is no JSON: {e}; {}", example())))?;
    let id = match &args.id {
        Some(id) => id.clone(),
        None => random()?,
    };
    let mut command = Map::from_iter([
        ("id".to_owned(), Value::from(id.as_str())),
        ("device_id".to_owned(), json!(device)),
        ("deadline".to_owned(), json!(now.plus_millis(i64::from(args.seconds) * 1000))),
        ("kind".to_owned(), Value::from(args.kind.as_str())),
    ]);
    command.insert(args.kind.clone(), content);
    let value = Value::Object(command).to_string();
    // the latest deadline that is accepted is the gateway's to say
    let read = command::read(value.as_bytes(), Timestamp::from_millis(i64::MAX));
    let odd = match read {
        Ok(received) if received.warnings.is_empty() => return Ok(Ready { device, id, value }),
        Ok(received) => received.warnings.join(", "),
        Err(invalid) => invalid.detail,
    };
    Err(Exit::usage(format!("{odd}; {}", example())))
}

fn by_admin(client: &Client, ready: &Ready, seconds: u32) -> Result<Value, Exit> {
    let wait = Duration::from_secs(seconds.into()) + PATIENCE + GATEWAY;
    let path = format!("/devices/{}/commands?wait=1", in_path(ready.device.as_str()));
    let (status, mut lines) = client.ask("POST", &path, &ready.value, wait)?;
    if status != 200 {
        return Err(objection(status, &client.whole(&mut lines)?));
    }
    let mut line = String::new();
    while lines.read_line(&mut line).map_err(|e| client.broken(&e))? > 0 {
        let record: Value = serde_json::from_str(&line).map_err(|e| Exit::failed(format!("the gateway's answer: {e}")))?;
        if let Some(trouble) = record["detail"].as_str().filter(|_| record["type"] == "error") {
            return Err(Exit::failed(trouble));
        }
        write!(std::io::stdout().lock(), "{line}")?;
        if record["outcome"].is_object() {
            return Ok(record);
        }
        line.clear();
    }
    Err(Exit::failed("the gateway ended before the outcome came; the command goes on, its outcome is in Kafka or in the journal"))
}

fn by_kafka(args: &SendArgs, brokers: &str, ready: &Ready) -> Result<Value, Exit> {
    let settings = config::Kafka {
        brokers: brokers.split(',').map(|broker| broker.trim().to_owned()).collect(),
        prefix: args.prefix.clone(),
        properties: config::Properties(args.properties.iter().cloned().collect()),
        ..config::Kafka::default()
    };
    let courier = Courier::new(&settings, "navgate-send");
    let until = Instant::now() + Duration::from_secs(args.seconds.into()) + PATIENCE;
    let following =
        courier.post_and_follow(&ready.device, ready.value.as_bytes()).map_err(|trouble| Exit::failed(trouble.to_string()))?;
    let mut printed = Ok(());
    let mut last = Value::Null;
    let heard = following.hear(
        &ready.id,
        until,
        || true,
        |record| {
            printed = std::mem::replace(&mut printed, Ok(())).and_then(|()| writeln!(std::io::stdout().lock(), "{record}"));
            last = serde_json::from_str(record).unwrap_or_default();
        },
    );
    printed?;
    if heard == Heard::Outcome { Ok(last) } else { Err(Exit::failed(LATE)) }
}

/// How it ended, as an exit status and in words.
fn verdict(record: &Value) -> Result<(), Exit> {
    let outcome = &record["outcome"];
    let text = |field: &str| outcome[field].as_str().unwrap_or_default();
    let warnings: Vec<_> = outcome["warnings"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let (result, reason) = (text("result"), text("reason"));
    let means = match (result, reason) {
        ("acknowledged", _) => return Ok(()),
        ("rejected", "") => "the driver or the device said no",
        ("rejected", "window_full") => "the device has too many commands to answer already",
        ("rejected", "busy") => "the driver is busy",
        ("rejected", _) => "the device refused it",
        ("unanswered", "no_receipt") => "it was written to the device, which has no receipt for it",
        ("unanswered", "instance_lost") => "its instance died with it, and nobody can know whether the device got it",
        ("unanswered", _) => "it was written to the device, and nothing came back in time",
        ("expired", "lag") => "less time was left than the device takes to hear it",
        ("expired", _) => "the device was connected, and it could not be written in time",
        ("offline", _) => "the device was not connected in all that time",
        ("unsupported", _) => "the device's protocol cannot say it; `navgate protocols` lists what each can",
        ("superseded", _) => "a later command took its place",
        _ => "the gateway does not take it",
    };
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    let warnings = if warnings.is_empty() { String::new() } else { format!(": {}", warnings.join(", ")) };
    Err(Exit::failed(format!("it ended {result}{reason}: {means}{warnings}")))
}

fn random() -> Result<String, Exit> {
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|e| Exit::failed(format!("the system gives no random bytes: {e}")))?;
    Ok(protocols::cursor::hex(&bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        args: SendArgs,
    }

    fn said(words: &[&str]) -> Result<Ready, (u8, String)> {
        let args = Line::try_parse_from([&["send"], words].concat()).map_err(|e| (2, e.to_string()))?.args;
        ready(&args, &args.content, Timestamp::from_seconds(1_772_359_200)).map_err(|exit| (exit.status, exit.message))
    }

    #[test]
    fn there_is_an_example_of_each_kind_and_each_is_right() {
        let mut kinds = EXAMPLES.map(|(kind, ..)| kind).to_vec();
        kinds.dedup();
        assert_eq!(kinds, Kind::NAMES);
        for (kind, content, _) in EXAMPLES {
            said(&["13800000001", kind, content]).unwrap_or_else(|e| panic!("{kind}: {e:?}"));
        }
        said(&["13800000001", "locate"]).unwrap();
        let long: Vec<_> = examples().lines().filter(|line| line.len() > 98).map(str::to_owned).collect();
        assert_eq!(long, [""; 0], "clap would break these");
    }

    #[test]
    fn says_what_is_wrong_before_anything_is_sent() {
        let refused = |words: &[&str]| said(words).unwrap_err();
        assert_eq!(refused(&["000", "locate"]), (2, "DEVICE: `000` cannot be the identity of a device".into()));
        let (status, text) = refused(&["1", "dance"]);
        assert!(status == 2 && text.contains("dance") && text.contains("order_offer"), "{text}");
        for (kind, content, start) in [
            ("text", "Road closed", "CONTENT: this is no JSON: "),
            ("text", r#"{"tekst":"x"}"#, "text: missing field `text`; for example: navgate send 1 text '{\"text\":"),
            ("text", r#"{"text":"x","speek":true}"#, "unknown field `text.speek`; for example: "),
            ("order_offer", r#"{"order_id":"1","type":"now","pickup":{"address":"a"}}"#, "order_offer.type: "),
            ("track", r#"{"interval_s":"10"}"#, "track.interval_s: expected u32"),
        ] {
            let (status, text) = refused(&["1", kind, content]);
            assert!(status == 2 && text.starts_with(start), "{text}");
        }
        let (status, text) = refused(&["1", "locate", "--id", ""]);
        assert!(status == 2 && text.starts_with("id: expected 1 to 128 printable ASCII characters"), "{text}");
        assert_eq!(refused(&["1", "locate", "--seconds", "0"]).0, 2);
        assert_eq!(refused(&["1", "locate", "--prefix", "x"]).0, 2, "only with --brokers");
    }

    #[test]
    fn tells_how_it_ended() {
        let ended = |outcome: Value| verdict(&json!({ "outcome": outcome })).map_err(|exit| (exit.status, exit.message));
        assert_eq!(ended(json!({"result": "acknowledged"})), Ok(()));
        let (status, text) =
            ended(json!({"result": "invalid", "reason": "deadline", "warnings": ["deadline: too late"]})).unwrap_err();
        assert_eq!((status, text.as_str()), (1, "it ended invalid (deadline): the gateway does not take it: deadline: too late"));
        let (_, text) = ended(json!({"result": "offline"})).unwrap_err();
        assert_eq!(text, "it ended offline: the device was not connected in all that time");
    }
}
