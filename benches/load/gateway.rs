//! The gateway that is measured: the program itself, as a process of its own, on loopback.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use crate::device::Protocol;
use crate::store::Store;

/// From its start to its readiness. With Kafka it makes topics first, which takes seconds on a broker that is busy.
const START_LIMIT: Duration = Duration::from_secs(60);
/// From SIGTERM to its end: closing connections takes at most 2 s, then what is queued may take `shutdown_limit_s` (20 s).
const STOP_LIMIT: Duration = Duration::from_secs(30);
/// One question to the admin endpoint; it is answered by a process that may be busy on all cores.
const ASK_LIMIT: Duration = Duration::from_secs(10);
/// Between two looks at whether something has happened.
const GLANCE: Duration = Duration::from_millis(20);
/// What is kept of the log, to be shown when something fails.
const LOG_LINES: usize = 50;
/// Of `/proc/PID/stat`: what Linux shows to programs is in 1/100 s on all machines (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// The accounting, as `GET /ledger` tells it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ledger {
    pub(crate) received: i64,
    pub(crate) stored: i64,
    pub(crate) handled: i64,
    pub(crate) rejected: i64,
    pub(crate) dropped: i64,
    pub(crate) in_flight: i64,
    pub(crate) unaccounted: i64,
}

/// What it has said on stderr.
#[derive(Debug, Default)]
struct Said {
    devices: Option<SocketAddr>,
    admin: Option<SocketAddr>,
    /// The last lines.
    log: Vec<String>,
}

impl Said {
    fn note(&mut self, line: &str) {
        let address = |what: &str| {
            line.split_once(" address=").filter(|(of, _)| of.starts_with(what)).and_then(|(_, a)| a.trim().parse().ok())
        };
        self.devices = self.devices.or_else(|| address("listening protocol="));
        self.admin = self.admin.or_else(|| address("listening admin"));
        if self.log.len() == LOG_LINES {
            self.log.remove(0);
        }
        self.log.push(line.to_owned());
    }
}

/// A running gateway. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Gateway {
    child: Child,
    said: Arc<Mutex<Said>>,
    pub(crate) devices: SocketAddr,
    admin: SocketAddr,
    /// Configuration and journal.
    _home: TempDir,
}

impl Gateway {
    /// Start one that listens for devices of this protocol, and wait until it can store.
    ///
    /// # Errors
    /// Why it does not start, with what it said.
    pub(crate) async fn start(protocol: Protocol, store: &Store) -> Result<Self, String> {
        let home =
            tempfile::Builder::new().prefix("navgate-load-").tempdir().map_err(|e| format!("cannot make a directory: {e}"))?;
        let file = home.path().join("navgate.toml");
        let text = config(protocol, store, &home);
        std::fs::write(&file, text).map_err(|e| format!("{}: {e}", file.display()))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_navgate"));
        command.arg("serve").arg("--config").arg(&file).current_dir(home.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        // somebody's settings would override those of the file
        let settings = std::env::vars_os().map(|(name, _)| name).filter(|name| name.to_string_lossy().starts_with("NAVGATE_"));
        settings.for_each(|name| _ = command.env_remove(name));
        let child = command.spawn().map_err(|e| format!("cannot start {}: {e}", env!("CARGO_BIN_EXE_navgate")))?;
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut gateway = Self { child, said: Arc::default(), devices: nowhere, admin: nowhere, _home: home };
        if let Some(stderr) = gateway.child.stderr.take() {
            gateway.follow(stderr);
        }
        let end = Instant::now() + START_LIMIT;
        while !gateway.is_ready()? {
            if Instant::now() > end {
                return Err(gateway.failed(&format!("the gateway is not ready within {} s", START_LIMIT.as_secs())));
            }
            tokio::time::sleep(GLANCE).await;
        }
        Ok(gateway)
    }

    fn follow(&self, stderr: impl Read + Send + 'static) {
        let said = Arc::clone(&self.said);
        // ends with the process, which closes its side
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).split(b'\n').map_while(Result::ok) {
                said.lock().unwrap_or_else(PoisonError::into_inner).note(&String::from_utf8_lossy(&line));
            }
        });
    }

    fn is_ready(&mut self) -> Result<bool, String> {
        if let Some(status) = self.child.try_wait().map_err(|e| format!("the gateway: {e}"))? {
            return Err(self.failed(&format!("the gateway ended with {status}")));
        }
        let (devices, admin) = {
            let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
            (said.devices, said.admin)
        };
        let (Some(devices), Some(admin)) = (devices, admin) else { return Ok(false) };
        (self.devices, self.admin) = (devices, admin);
        Ok(self.ask("/ready")?.get("state").and_then(Value::as_str) == Some("running"))
    }

    /// A complaint, and what the gateway said last.
    fn failed(&self, what: &str) -> String {
        let said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        format!("{what}; it said:\n{}", said.log.join("\n"))
    }

    /// What an admin endpoint says.
    fn ask(&self, path: &str) -> Result<Value, String> {
        let answer = get(self.admin, path).map_err(|e| self.failed(&format!("GET {path}: {e}")))?;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap_or((&answer, ""));
        if head.split(' ').nth(1) != Some("200") {
            return Err(self.failed(&format!("GET {path}: {head}")));
        }
        serde_json::from_str(body).map_err(|e| self.failed(&format!("GET {path}: {e} in `{body}`")))
    }

    /// Its accounting now.
    ///
    /// # Errors
    /// A ledger that cannot be had, or that lacks a count.
    pub(crate) fn ledger(&self) -> Result<Ledger, String> {
        let told = self.ask("/ledger")?;
        let count =
            |name: &str| told.get(name).and_then(Value::as_i64).ok_or_else(|| format!("the ledger does not say `{name}`: {told}"));
        Ok(Ledger {
            received: count("received")?,
            stored: count("stored")?,
            handled: count("handled")?,
            rejected: count("rejected")?,
            dropped: count("dropped")?,
            in_flight: count("in_flight")?,
            unaccounted: count("unaccounted")?,
        })
    }

    /// CPU time of all its threads so far, in seconds.
    ///
    /// # Errors
    /// A process that has ended.
    pub(crate) fn cpu_seconds(&self) -> Result<f64, String> {
        let stat = self.proc("stat")?;
        // behind the name, which may hold anything: state is the third field, utime and stime the 14th and 15th
        let fields = stat.rsplit_once(')').map(|(_, fields)| fields.split_ascii_whitespace().skip(11).take(2));
        let ticks =
            fields.into_iter().flatten().map(str::parse::<u32>).sum::<Result<u32, _>>().map_err(|e| format!("{stat}: {e}"))?;
        Ok(f64::from(ticks) / TICKS_PER_SECOND)
    }

    /// Memory that is its own and resident, in KiB.
    ///
    /// # Errors
    /// A process that has ended.
    pub(crate) fn rss_kib(&self) -> Result<f64, String> {
        let status = self.proc("status")?;
        let rss = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = rss.and_then(|rss| rss.trim().strip_suffix(" kB")).and_then(|kib| kib.parse::<u32>().ok());
        kib.map(f64::from).ok_or_else(|| self.failed("the gateway has no memory: it has ended"))
    }

    fn proc(&self, file: &str) -> Result<String, String> {
        let path = format!("/proc/{}/{file}", self.child.id());
        std::fs::read_to_string(&path).map_err(|e| self.failed(&format!("{path}: {e}")))
    }

    /// End it as a supervisor does, and wait for its end.
    ///
    /// # Errors
    /// An end that is late or not clean.
    pub(crate) async fn stop(mut self) -> Result<(), String> {
        let told = Command::new("kill").arg("-TERM").arg(self.child.id().to_string()).status();
        if !told.is_ok_and(|status| status.success()) {
            return Err("cannot send SIGTERM to the gateway: is there a `kill`?".to_owned());
        }
        let end = Instant::now() + STOP_LIMIT;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) if status.success() => return Ok(()),
                Ok(Some(status)) => return Err(self.failed(&format!("the gateway ended with {status}"))),
                Ok(None) if Instant::now() < end => tokio::time::sleep(GLANCE).await,
                Ok(None) => return Err(self.failed(&format!("the gateway does not end within {} s", STOP_LIMIT.as_secs()))),
                Err(e) => return Err(format!("the gateway: {e}")),
            }
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // both fail only where it has ended and was waited for
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn config(protocol: Protocol, store: &Store, home: &TempDir) -> String {
    // TOML's basic strings are JSON's, for text without control characters
    let journal = Value::from(home.path().join("journal").to_string_lossy());
    format!(
        "[gateway]\nid = \"load\"\nshutdown_limit_s = 20\n\
         [[listener]]\naddress = \"127.0.0.1:0\"\nprotocol = \"{}\"\n\
         {}\
         [journal]\npath = {journal}\n{}\
         [security]\nsecrets = [\"signs the codes of the load\"]\n\
         [admin]\naddress = \"127.0.0.1:0\"\n[peer]\naddress = \"127.0.0.1:0\"\n[agent]\naddress = \"127.0.0.1:0\"\n\
         [drain]\nnotice_s = 0\nlimit_s = 1\nclose_s = 1\n\
         [log]\nlevel = \"warn\"\n",
        protocol.name(),
        store.sink(),
        store.journal(),
    )
}

/// One HTTP request, over a connection of its own: all that came back.
fn get(to: SocketAddr, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect_timeout(&to, ASK_LIMIT)?;
    stream.set_read_timeout(Some(ASK_LIMIT))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}
