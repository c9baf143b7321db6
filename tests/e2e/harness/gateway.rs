//! A real `navgate serve`.

use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use super::authority::Paths;
use super::{signal, until};

/// A port for devices.
#[derive(Debug, Clone)]
struct Listener {
    protocol: String,
    proxy: bool,
    address: SocketAddr,
    /// Further keys.
    more: String,
}

/// The configuration of a gateway, in the making.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    id: String,
    listeners: Vec<Listener>,
    sink: String,
    /// Of topics that it makes.
    pub(crate) partitions: u32,
    admin: SocketAddr,
    admin_token: String,
    agent: SocketAddr,
    secrets: Vec<String>,
    auth_required: bool,
    /// Sections at the end.
    profiles: String,
    capture: String,
    /// Further keys of `[peer]`.
    peer: String,
}

fn any_port() -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], 0))
}

impl Setup {
    fn new(id: &str, sink: String) -> Self {
        // the same on all instances of a test
        let secrets = vec!["the secret of the end-to-end tests".to_owned()];
        let (admin, agent) = (any_port(), any_port());
        Self {
            id: id.to_owned(),
            listeners: Vec::new(),
            sink,
            partitions: 4,
            admin,
            admin_token: String::new(),
            agent,
            secrets,
            auth_required: false,
            profiles: String::new(),
            capture: String::new(),
            peer: String::new(),
        }
    }

    /// Events go to Kafka. The spool is a directory of its own, which lives as long as the gateway value.
    pub(crate) fn kafka(id: &str, brokers: &str, prefix: &str) -> Self {
        let brokers: Vec<_> = brokers.split(',').map(toml_text).collect();
        let sink = format!(
            "kind = \"kafka\"\n[kafka]\nbrokers = [{}]\nprefix = {}\nreplication = 1\n",
            brokers.join(", "),
            toml_text(prefix)
        );
        Self::new(id, sink)
    }

    /// Events go to this directory.
    pub(crate) fn journal(id: &str, directory: &Path) -> Self {
        Self::new(id, format!("kind = \"journal\"\n[journal]\npath = {}\n", toml_text(&directory.to_string_lossy())))
    }

    /// A port for devices of this protocol.
    pub(crate) fn listen(mut self, protocol: &str) -> Self {
        self.listeners.push(Listener { protocol: protocol.to_owned(), proxy: false, address: any_port(), more: String::new() });
        self
    }

    /// The same behind a balancer.
    pub(crate) fn listen_behind_proxy(mut self, protocol: &str) -> Self {
        self.listeners.push(Listener { protocol: protocol.to_owned(), proxy: true, address: any_port(), more: String::new() });
        self
    }

    /// The last port has these keys too.
    pub(crate) fn with(mut self, toml: &str) -> Self {
        self.listeners.last_mut().unwrap().more = format!("{toml}\n");
        self
    }

    /// A device has so long to say who it is.
    pub(crate) fn identify_within_s(mut self, seconds: u32) -> Self {
        write!(self.profiles, "[limits]\nidentify_s = {seconds}\n").unwrap();
        self
    }

    /// The last port is this one.
    pub(crate) fn at(mut self, address: SocketAddr) -> Self {
        self.listeners.last_mut().unwrap().address = address;
        self
    }

    /// Only authenticated terminals are served; codes are signed with this secret.
    pub(crate) fn require_authentication(mut self, secret: &[u8]) -> Self {
        self.auth_required = true;
        self.secrets = vec![String::from_utf8(secret.to_vec()).unwrap()];
        self
    }

    /// Whoever asks the admin address has to show this.
    pub(crate) fn admin_token(mut self, token: &str) -> Self {
        self.admin_token = format!("token = {}\n", toml_text(token));
        self
    }

    /// A `[[profile]]` of this protocol.
    pub(crate) fn profile(mut self, protocol: &str, keys: &Value) -> Self {
        write!(self.profiles, "[[profile]]\nprotocol = {}\n", toml_text(protocol)).unwrap();
        for (key, value) in keys.as_object().unwrap() {
            if key != "protocol" && !value.is_null() {
                writeln!(self.profiles, "{key} = {}", toml_value(value)).unwrap();
            }
        }
        self
    }

    /// Instances speak TLS with these files.
    pub(crate) fn peer_tls(mut self, Paths { certificate, key, ca }: &Paths) -> Self {
        for (name, path) in [("certificate_file", certificate), ("key_file", key), ("ca_file", ca)] {
            writeln!(self.peer, "{name} = {}", toml_text(&path.to_string_lossy())).unwrap();
        }
        self
    }

    /// Captures go to this directory, or to their topic.
    pub(crate) fn captures(mut self, directory: &Path) -> Self {
        self.capture = format!("[capture]\npath = {}\ntopic = true\n", toml_text(&directory.to_string_lossy()));
        self
    }

    fn toml(&self, spool: &Path) -> String {
        let mut text = format!("[gateway]\nid = {}\nshutdown_limit_s = 20\n", toml_text(&self.id));
        for Listener { protocol, proxy, address, more } in &self.listeners {
            write!(text, "[[listener]]\naddress = \"{address}\"\nprotocol = {}\n", toml_text(protocol)).unwrap();
            text.push_str(more);
            if *proxy {
                text.push_str("proxy = \"required\"\ntrusted = [\"127.0.0.0/8\"]\n");
            }
        }
        write!(text, "[sink]\n{}", self.sink).unwrap();
        if self.sink.contains("[kafka]") {
            writeln!(text, "partitions = {}", self.partitions).unwrap();
        }
        if !self.sink.contains("[journal]") {
            write!(text, "[journal]\npath = {}\n", toml_text(&spool.to_string_lossy())).unwrap();
        }
        let secrets: Vec<_> = self.secrets.iter().map(|s| toml_text(s)).collect();
        let auth = if self.auth_required { "required" } else { "optional" };
        write!(text, "[security]\nsecrets = [{}]\njt808_auth = \"{auth}\"\n", secrets.join(", ")).unwrap();
        write!(text, "[admin]\naddress = \"{}\"\n{}[agent]\naddress = \"{}\"\n", self.admin, self.admin_token, self.agent).unwrap();
        // what a drain waits for is short, so that the tests that drain are
        write!(text, "[peer]\naddress = \"127.0.0.1:0\"\n{}", self.peer).unwrap();
        text.push_str("[drain]\nnotice_s = 1\nlimit_s = 5\nclose_s = 1\n");
        text.push_str(&self.capture);
        text.push_str(&self.profiles);
        text
    }

    /// Start it, and wait until it listens.
    pub(crate) fn start(self) -> Gateway {
        let home = tempfile::tempdir().unwrap();
        let mut gateway = Gateway { setup: self, home, child: None, log: Log::default() };
        gateway.run();
        until("the gateway to listen", || {
            gateway.assert_alive();
            gateway.note_addresses()
        });
        gateway.await_ready();
        gateway
    }

    /// Start it where it cannot: its exit status and all it said.
    pub(crate) fn fail_to_start(self) -> (ExitStatus, String) {
        let home = tempfile::tempdir().unwrap();
        let mut gateway = Gateway { setup: self, home, child: None, log: Log::default() };
        gateway.run();
        let status = gateway.wait();
        (status, gateway.log())
    }
}

/// TOML's basic strings are JSON's, for text without control characters.
fn toml_text(text: &str) -> String {
    Value::from(text).to_string()
}

fn toml_value(value: &Value) -> String {
    match value {
        Value::Object(map) => {
            let pairs: Vec<_> = map.iter().map(|(k, v)| format!("{} = {}", toml_text(k), toml_value(v))).collect();
            format!("{{ {} }}", pairs.join(", "))
        }
        Value::Array(items) => format!("[{}]", items.iter().map(toml_value).collect::<Vec<_>>().join(", ")),
        other => other.to_string(),
    }
}

/// What a process has written to stderr so far.
#[derive(Debug, Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Log {
    fn follow(&self, from: impl Read + Send + 'static) -> std::thread::JoinHandle<()> {
        let Self(text) = self.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
                let mut text = text.lock().unwrap();
                text.push_str(&String::from_utf8_lossy(&line));
                text.push('\n');
            }
        })
    }
}

/// A gateway that runs, or ran. It is killed when dropped; a failing test shows what it said.
pub(crate) struct Gateway {
    setup: Setup,
    home: TempDir,
    child: Option<(Child, std::thread::JoinHandle<()>)>,
    log: Log,
}

impl Gateway {
    /// Its configuration.
    pub(crate) fn config(&self) -> PathBuf {
        self.home.path().join("navgate.toml")
    }

    /// Where events wait for Kafka.
    pub(crate) fn spool(&self) -> PathBuf {
        self.home.path().join("spool")
    }

    fn run(&mut self) {
        let file = self.config();
        std::fs::write(&file, self.setup.toml(&self.spool())).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_navgate"));
        command.arg("serve").arg("--config").arg(file).current_dir(self.home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        self.log = Log::default();
        let reader = self.log.follow(child.stderr.take().unwrap());
        self.child = Some((child, reader));
    }

    /// Take over the addresses that it tells, once it has told all: a restart then uses the same ones.
    fn note_addresses(&mut self) -> Option<()> {
        let log = self.log();
        let mut devices = Vec::new();
        let (mut admin, mut agent) = (None, None);
        for line in log.lines().filter_map(|line| line.strip_prefix("listening ")) {
            let (what, address) = line.split_once(" address=").unwrap_or_else(|| panic!("no address in `{line}`"));
            let address: SocketAddr = address.trim().parse().unwrap_or_else(|e| panic!("{line}: {e}"));
            match what {
                "admin" => admin = Some(address),
                "agent" => agent = Some(address),
                _ => devices.extend(what.strip_prefix("protocol=").map(|_| address)),
            }
        }
        if devices.len() < self.setup.listeners.len() {
            return None;
        }
        (self.setup.admin, self.setup.agent) = (admin?, agent?);
        self.setup.listeners.iter_mut().zip(devices).for_each(|(l, address)| l.address = address);
        Some(())
    }

    /// Where devices of this protocol connect.
    pub(crate) fn address(&self, protocol: &str) -> SocketAddr {
        self.setup.listeners.iter().find(|l| l.protocol == protocol).unwrap().address
    }

    /// Where the operator asks.
    pub(crate) fn admin(&self) -> SocketAddr {
        self.setup.admin
    }

    /// Where HAProxy asks.
    pub(crate) fn agent(&self) -> SocketAddr {
        self.setup.agent
    }

    /// Where other instances connect.
    pub(crate) fn peer(&self) -> SocketAddr {
        let line = self.lines_with("listening peer address=").remove(0);
        line.split_once('=').unwrap().1.trim().parse().unwrap()
    }

    /// Its name.
    pub(crate) fn id(&self) -> &str {
        &self.setup.id
    }

    /// All it said on stderr since it was started last.
    pub(crate) fn log(&self) -> String {
        self.log.0.lock().unwrap().clone()
    }

    /// The lines of the log that hold this.
    pub(crate) fn lines_with(&self, word: &str) -> Vec<String> {
        self.log().lines().filter(|l| l.contains(word)).map(str::to_owned).collect()
    }

    fn assert_alive(&mut self) {
        let exited = self.child.as_mut().and_then(|(child, _)| child.try_wait().unwrap());
        if let Some(status) = exited {
            panic!("the gateway ended with {status}:\n{}", self.log());
        }
    }

    /// SIGKILL: what a crash leaves behind.
    pub(crate) fn kill(&mut self) {
        if let Some((mut child, reader)) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
            reader.join().unwrap();
        }
    }

    /// SIGTERM, as a supervisor sends it.
    pub(crate) fn terminate(&self) {
        signal("TERM", self.child.as_ref().unwrap().0.id());
    }

    /// SIGSTOP: it hangs, and does not know that it does.
    pub(crate) fn pause(&self) {
        signal("STOP", self.child.as_ref().unwrap().0.id());
    }

    /// It goes on.
    pub(crate) fn resume(&self) {
        signal("CONT", self.child.as_ref().unwrap().0.id());
    }

    /// What it knows of a device; null if it knows nothing, or does not answer.
    pub(crate) fn known(&self, device: &str) -> Value {
        match http(self.setup.admin, "GET", &format!("/devices/{device}")) {
            Ok((200, body)) => serde_json::from_str::<Value>(&body).unwrap()["known"].take(),
            _ => Value::Null,
        }
    }

    /// The instance that has this device connected, as far as this one knows.
    pub(crate) fn holder_of(&self, device: &str) -> Option<String> {
        let session = &self.known(device)["session"];
        (session["state"] == "connected").then(|| session["gateway"].as_str().unwrap().to_owned())
    }

    /// The partitions of the commands topic that it is the home of; told beside a device that it knows.
    pub(crate) fn partitions_beside(&self, device: &str) -> Vec<i32> {
        let partitions = self.known(device)["partitions"].as_array().cloned().unwrap_or_default();
        partitions.iter().map(|n| i32::try_from(n.as_i64().unwrap()).unwrap()).collect()
    }

    /// Wait for its end.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let status = until("the gateway to end", || self.child.as_mut().unwrap().0.try_wait().unwrap());
        let (_, reader) = self.child.take().unwrap();
        reader.join().unwrap();
        status
    }

    /// Start it again at the same addresses, on the same directories.
    pub(crate) fn restart(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        self.run();
        until("the gateway to listen again", || {
            self.assert_alive();
            self.note_addresses()
        });
        self.await_ready();
    }

    /// Wait until it says that it serves devices.
    fn await_ready(&self) {
        until("the gateway to be ready", || {
            let status = http(self.setup.admin, "GET", "/ready").map(|(status, _)| status);
            matches!(status, Ok(200)).then_some(())
        });
    }

    /// The body that the admin address gives for a path; the status has to be 200.
    pub(crate) fn get(&self, path: &str) -> String {
        let (status, body) = http(self.setup.admin, "GET", path).unwrap();
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    /// Where its records go: `live`, `spooling` or `draining`.
    pub(crate) fn mode(&self) -> String {
        let ready: Value = serde_json::from_str(&self.get("/ready")).unwrap();
        ready["sink"]["mode"].as_str().unwrap().to_owned()
    }

    /// Wait until nothing is in its spool.
    pub(crate) fn await_live(&self) {
        until("the direct way to Kafka", || (self.mode() == "live").then_some(()));
    }

    /// The accounting.
    pub(crate) fn ledger(&self) -> Value {
        serde_json::from_str(&self.get("/ledger")).unwrap()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
        if std::thread::panicking() {
            eprintln!("--- what gateway {} said last:\n{}---", self.setup.id, self.log());
        }
    }
}

/// One HTTP request, over a connection of its own.
pub(crate) fn http(to: SocketAddr, method: &str, path: &str) -> std::io::Result<(u16, String)> {
    http_with(to, method, path, "")
}

/// The same with a body.
pub(crate) fn http_with(to: SocketAddr, method: &str, path: &str, body: &str) -> std::io::Result<(u16, String)> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(
        stream,
        "{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").ok_or(std::io::ErrorKind::UnexpectedEof)?;
    let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).ok_or(std::io::ErrorKind::InvalidData)?;
    Ok((status, body.to_owned()))
}

/// Run `navgate` with these arguments to its end: status, stdout, stderr.
pub(crate) fn navgate(arguments: &[&str]) -> (ExitStatus, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_navgate")).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status, text(output.stdout), text(output.stderr))
}

/// The events in a journal, as `navgate events` prints them.
pub(crate) fn journal_events(directory: &Path) -> Vec<Value> {
    let (status, events, complaints) = navgate(&["events", &directory.to_string_lossy()]);
    assert!(status.success(), "{complaints}");
    events.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{line}: {e}"))).collect()
}

/// The records of a topic in a journal, as they lie there.
pub(crate) fn journal_records(directory: &Path, topic: &str) -> Vec<Value> {
    let files = std::fs::read_dir(directory).unwrap().map(|f| f.unwrap().path());
    let mut segments: Vec<_> =
        files.filter(|f| f.file_stem().is_some_and(|s| s.to_string_lossy().bytes().all(|b| b.is_ascii_digit()))).collect();
    segments.sort();
    let mut found = Vec::new();
    for segment in segments {
        let text = std::fs::read_to_string(segment).unwrap();
        let values = text.lines().filter_map(|line| line.splitn(3, ' ').nth(2).filter(|_| line.split(' ').nth(1) == Some(topic)));
        found.extend(values.map(|value| serde_json::from_str::<Value>(value).unwrap()));
    }
    found
}
