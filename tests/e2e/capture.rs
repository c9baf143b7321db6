//! Captures on a served gateway: begun before the device comes, fetched as a script, replayed, anonymised, to the topic.

use std::path::Path;
use std::process::{Child, Command, Stdio};

use protocols::registry;
use protocols::script::{Options, Script, check, run};
use serde_json::Value;

use crate::harness::device::{Device, KINDS, Line};
use crate::harness::gateway::{Gateway, Setup, http, http_with, navgate};
use crate::harness::kafka::{Reader, shared};
use crate::harness::schema::assert_record;
use crate::harness::{unique, until};

/// A `navgate capture` that runs.
struct Capture<'g> {
    gateway: &'g Gateway,
    child: Child,
    id: u64,
}

fn states(gateway: &Gateway) -> Vec<Value> {
    let told: Value = serde_json::from_str(&gateway.get("/capture")).unwrap();
    told["captures"].as_array().unwrap().clone()
}

impl<'g> Capture<'g> {
    /// Begin, and wait until the gateway says that it runs.
    fn begin(gateway: &'g Gateway, arguments: &[&str]) -> Self {
        let before = states(gateway).len();
        let mut command = Command::new(env!("CARGO_BIN_EXE_navgate"));
        command.args(["capture", "--admin", &gateway.admin().to_string()]).args(arguments);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let id = until("the capture to run", || {
            let states = states(gateway);
            states.get(before).filter(|told| told["state"] == "running").and_then(|told| told["id"].as_u64())
        });
        Self { gateway, child, id }
    }

    /// End it: its exit status, the standard output, and the error output.
    fn end(self) -> (Option<i32>, String, String) {
        let (status, body) = http(self.gateway.admin(), "DELETE", &format!("/capture/{}", self.id)).unwrap();
        assert_eq!(status, 200, "{body}");
        self.wait()
    }

    fn wait(self) -> (Option<i32>, String, String) {
        let output = self.child.wait_with_output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// A whole life on one connection.
fn drive(gateway: &Gateway, device: &mut Device) {
    let mut line = Line::connect(gateway.address(device.protocol)).unwrap();
    line.sign_on(device).unwrap();
    for _ in 0..3 {
        line.report(device).unwrap();
    }
    line.finish();
    assert!(line.receive_to_end().is_empty());
}

fn count(script: &str, sign: &str) -> usize {
    script.lines().filter(|line| line.starts_with(sign)).count()
}

fn served(journal: &Path, captures: &Path) -> Gateway {
    let setup = KINDS.iter().fold(Setup::journal("gw-1", journal), |setup, protocol| setup.listen(protocol));
    setup.captures(captures).start()
}

#[test]
fn a_captured_conversation_can_be_replayed() {
    let (journal, captures, out) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = served(journal.path(), captures.path());
    for (n, protocol) in (60..).zip(KINDS) {
        let mut device = Device::new(protocol, n);
        let file = out.path().join(format!("{protocol}.script"));
        let capture = Capture::begin(&gateway, &["--device", &device.id, "--out", file.to_str().unwrap()]);
        drive(&gateway, &mut Device::new(protocol, n + 100)); // somebody else
        drive(&gateway, &mut device);
        let (status, said, talk) = capture.end();
        assert_eq!(status, Some(0), "{said}{talk}");
        let script = std::fs::read_to_string(&file).unwrap();
        // the sign-on came before it was known who it is
        let sent = if protocol == "gt06" { 4 } else { 3 };
        assert_eq!((count(&script, "> "), count(&script, "= "), count(&script, "< ")), (sent, 3, sent), "{script}");
        assert_eq!(count(&script, "# < "), 0, "what was answered is what is expected: {script}");
        let to = gateway.address(protocol).to_string();
        let events = ["--events", journal.path().to_str().unwrap(), "--protocol", protocol];
        let (status, said, talk) = navgate(&[&["replay", file.to_str().unwrap(), "--to", &to][..], &events].concat());
        assert!(status.success(), "{said}{talk}");
        assert!(!said.contains(&device.id), "{said}");
    }
    // the directory is the gateway's own, and its files are nobody else's
    use std::os::unix::fs::PermissionsExt;
    for file in std::fs::read_dir(captures.path()).unwrap() {
        assert_eq!(file.unwrap().metadata().unwrap().permissions().mode() & 0o777, 0o600);
    }
    assert_eq!(gateway.ledger()["unaccounted"], 0);
}

#[test]
fn an_anonymised_capture_says_the_same_of_somebody_elsewhere() {
    let (journal, captures) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = served(journal.path(), captures.path());
    for (n, protocol) in (70..).zip(KINDS) {
        let mut device = Device::new(protocol, n);
        let capture = Capture::begin(&gateway, &["--id-prefix", &device.id[..6], "--anonymise"]);
        drive(&gateway, &mut device);
        let (status, script, talk) = capture.end();
        assert_eq!(status, Some(0), "{script}{talk}");
        assert!(!script.contains(&device.id) && !script.contains("127.0.0.1"), "{script}");
        let protocol = registry::find(protocol).unwrap();
        let script = Script::parse(&script).unwrap();
        assert_eq!(check(protocol, &script), Ok(Vec::new()));
        let heard = run(protocol, &script, &Options::default());
        assert_eq!(heard.events("position").count(), 3);
        for event in heard.events("position") {
            // moved by whole degrees: 22.5431, 114.0579
            assert!(!event.contains("22.5431") && event.contains(".5431,"), "{event}");
            assert!(!event.contains("114.0579") && event.contains(".0579,"), "{event}");
        }
    }
}

#[test]
fn a_capture_may_begin_late_or_be_of_an_address() {
    let (journal, captures) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = served(journal.path(), captures.path());
    let mut device = Device::new("gt06", 80);
    let mut line = Line::connect(gateway.address("gt06")).unwrap();
    line.sign_on(&mut device).unwrap();
    let capture = Capture::begin(&gateway, &["--device", &device.id]);
    line.report(&mut device).unwrap();
    let (status, script, talk) = capture.end();
    assert_eq!(status, Some(0), "{script}{talk}");
    assert!(script.contains(&format!("% device {}\n", device.id)), "{script}");
    assert_eq!((count(&script, "> "), count(&script, "= ")), (1, 1), "{script}");
    // whoever never says who it is
    let capture = Capture::begin(&gateway, &["--address", "127.0.0.1", "--seconds", "600"]);
    let mut stranger = Line::connect(gateway.address("jt808")).unwrap();
    stranger.send(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    stranger.finish();
    stranger.receive_to_end();
    let (status, script, talk) = capture.end();
    assert_eq!(status, Some(0), "{script}{talk}");
    assert!(script.contains("> \"GET / HTTP/1.1\\r\\n\\r\\n\"") && script.contains("\n! "), "{script}");
    // nothing runs any more, so nothing is kept
    assert!(gateway.get("/metrics").contains("navgate_captures 0"));
}

#[test]
fn a_capture_ends_with_its_time_and_its_bytes() {
    let (journal, captures) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let gateway = served(journal.path(), captures.path());
    let mut device = Device::new("jt808", 90);
    let (status, said, talk) = Capture::begin(&gateway, &["--device", &device.id, "--seconds", "1"]).wait();
    assert_eq!(status, Some(1), "nothing came: {said}{talk}");
    let capture = Capture::begin(&gateway, &["--device", &device.id, "--bytes", "300"]);
    drive(&gateway, &mut device);
    let (status, script, talk) = capture.wait();
    assert_eq!(status, Some(0), "{script}{talk}");
    assert!(count(&script, "> ") < 3 && talk.contains("did not fit"), "{script}{talk}");
}

#[test]
fn frames_go_to_their_topic_in_both_directions() {
    let (prefix, captures) = (unique("frames"), tempfile::tempdir().unwrap());
    let gateway = Setup::kafka("gw-1", shared(), &prefix).listen("gt06").captures(captures.path()).start();
    let mut device = Device::new("gt06", 95);
    let capture = Capture::begin(&gateway, &["--device", &device.id, "--topic"]);
    drive(&gateway, &mut device);
    let (status, said, talk) = capture.end();
    assert_eq!((status, said.as_str()), (Some(0), ""), "{talk}");
    let mut reader = Reader::new(shared(), &prefix, &["frames"]);
    reader.read_until("a record of each direction of each frame", |records| records.len() >= 8);
    reader.records.iter().for_each(assert_record);
    let directions: Vec<_> = reader.records.iter().map(|record| record.text("direction").to_owned()).collect();
    assert_eq!(directions, ["up", "down"].repeat(4));
    assert!(reader.records[0].text("hex").starts_with("78780d01"), "the sign-on, from before it was known who it is");
    assert_eq!(std::fs::read_dir(captures.path()).unwrap().count(), 0);
}

#[test]
fn refuses_what_is_not_allowed() {
    let journal = tempfile::tempdir().unwrap();
    let gateway = Setup::journal("gw-1", journal.path()).listen("gt06").start();
    let ask = |method: &str, path: &str, body: &str| http_with(gateway.admin(), method, path, body).unwrap();
    for (body, status, says) in [
        (r#"{"device":"1"}"#, 409, "capture.path"),
        (r#"{"device":"1","to":"topic"}"#, 409, "capture.topic"),
        (r#"{}"#, 400, "device, id_prefix and address"),
        (r#"{"device":"1","path":"/tmp/x"}"#, 400, "path"),
        (r#"{"device":"1","seconds":0}"#, 400, "seconds"),
        ("x", 400, ""),
    ] {
        let (told, text) = ask("POST", "/capture", body);
        assert!(told == status && text.contains(says), "{body}: {told} {text}");
    }
    assert_eq!(ask("GET", "/capture/1", "").0, 404);
    assert_eq!(ask("DELETE", "/capture/1", "").0, 404);
    assert_eq!(ask("GET", "/capture/1/..%2f..%2fetc%2fpasswd", "").0, 404);
    let admin = gateway.admin().to_string();
    let (status, _, talk) = navgate(&["capture", "--admin", &admin, "--device", "1"]);
    assert!(status.code() == Some(1) && talk.contains("capture.path"), "{talk}");
    assert_eq!(navgate(&["capture", "--admin", &admin]).0.code(), Some(2));
}
