//! Captures: the raw bytes of chosen devices, in both directions, for a while.
//!
//! ```text
//!   POST /capture ─▶ Captures ◀── connection asks, once a change: is one of these mine?
//!                       │              └─▶ Tape (its bytes with their times, bounded)
//!                       └─▶ at the end: a script a connection, or records of the topic `frames`
//! ```
//!
//! While none is under way a connection pays for one relaxed load. What is captured is in memory, bounded by what was asked
//! for, and written when the capture ends, by a thread that may wait for the disk.

mod keep;
mod tape;

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tracing::info;

use crate::clock;
use crate::config::Capture as Settings;
use crate::gateway::Gateway;

pub(crate) use keep::read as read_file;
use tape::Tape;
pub(crate) use tape::{Direction, Tap, Whose};

/// Captures under way at once: more than technicians that look at one instance.
const MOST_AT_ONCE: usize = 8;
/// Captures that have ended and are still told of.
const MOST_ENDED: usize = 32;
/// Connections of one capture: a prefix may fit a whole fleet.
const MOST_TAPES: usize = 256;
/// What is captured unless asked otherwise.
const USUAL_SECONDS: u64 = 60;
/// See [`USUAL_SECONDS`]: a day of a car that reports each 10 s.
const USUAL_BYTES: usize = 1024 * 1024;
/// How often what was captured goes to the topic.
const TICK: Duration = Duration::from_secs(1);

/// What somebody asks for.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(crate) struct Request {
    /// This device, also if it is not connected yet.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) device: Option<String>,
    /// Devices whose ids begin so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) id_prefix: Option<String>,
    /// Whoever connects from this address, identified or not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<IpAddr>,
    /// For so long.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seconds: Option<u64>,
    /// Until there are so many bytes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) bytes: Option<usize>,
    /// Where it goes.
    pub(crate) to: To,
    /// Under other identities, at other places, without names.
    pub(crate) anonymise: bool,
}

/// Where captured bytes go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum To {
    /// To files in the configured directory.
    #[default]
    File,
    /// To the topic `frames`.
    Topic,
}

/// Why a capture is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refused {
    /// It asks for something that makes no sense.
    Request(String),
    /// It cannot be done here or now.
    Cannot(String),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Request(what) | Self::Cannot(what) => f.write_str(what),
        }
    }
}

/// Whom a capture is about.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Whom {
    Device(DeviceId),
    Prefix(String),
    Address(IpAddr),
}

impl Whom {
    fn fits(&self, peer: IpAddr, device: Option<&DeviceId>) -> bool {
        match (self, device) {
            (Self::Address(address), _) => peer.to_canonical() == *address,
            (Self::Device(wanted), Some(device)) => wanted == device,
            (Self::Prefix(prefix), Some(device)) => device.as_str().starts_with(prefix.as_str()),
            (Self::Device(_) | Self::Prefix(_), None) => false,
        }
    }
}

/// A capture.
#[derive(Debug)]
pub(crate) struct Capture {
    id: u64,
    request: Request,
    whom: Whom,
    since: Timestamp,
    seconds: u64,
    limit: usize,
    bytes: AtomicUsize,
    /// Bytes that did not fit any more, or that the topic did not take.
    lost: AtomicUsize,
    /// No more bytes are taken.
    over: AtomicBool,
    end: Notify,
    tapes: Mutex<Vec<Arc<Tape>>>,
    left_out: AtomicUsize,
    result: Mutex<Outcome>,
}

/// What became of it.
#[derive(Debug, Clone, Default)]
struct Outcome {
    done: bool,
    files: Vec<PathBuf>,
    troubles: Vec<String>,
}

/// A capture, as `GET /capture` tells it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Told {
    /// Its number.
    pub(crate) id: u64,
    /// `running`, `writing` or `done`.
    pub(crate) state: String,
    /// What was asked for.
    pub(crate) request: Request,
    /// Since when.
    pub(crate) since: String,
    /// For how long at most.
    pub(crate) seconds: u64,
    /// Bytes captured.
    pub(crate) bytes: usize,
    /// At most so many.
    pub(crate) limit: usize,
    /// Bytes that could not be kept.
    pub(crate) lost: usize,
    /// Connections captured.
    pub(crate) connections: usize,
    /// Connections beyond the bound.
    pub(crate) left_out: usize,
    /// Files written, by name.
    pub(crate) files: Vec<String>,
    /// What went wrong.
    pub(crate) troubles: Vec<String>,
}

impl Capture {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Room for so many bytes; the capture ends where there is none.
    fn take(&self, bytes: usize) -> bool {
        if self.is_over() {
            return false;
        }
        if self.bytes.fetch_add(bytes, Ordering::Relaxed) + bytes > self.limit {
            self.bytes.fetch_sub(bytes, Ordering::Relaxed);
            self.lost.fetch_add(bytes, Ordering::Relaxed);
            self.finish();
            return false;
        }
        true
    }

    fn finish(&self) {
        self.over.store(true, Ordering::Relaxed);
        self.end.notify_one();
    }

    fn told(&self) -> Told {
        let outcome = self.result.lock().clone();
        let state = if outcome.done {
            "done"
        } else if self.is_over() {
            "writing"
        } else {
            "running"
        };
        let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into_owned());
        Told {
            id: self.id,
            state: state.to_owned(),
            request: self.request.clone(),
            since: self.since.to_string(),
            seconds: self.seconds,
            bytes: self.bytes.load(Ordering::Relaxed),
            limit: self.limit,
            lost: self.lost.load(Ordering::Relaxed),
            connections: self.tapes.lock().len(),
            left_out: self.left_out.load(Ordering::Relaxed),
            files: outcome.files.iter().filter_map(name).collect(),
            troubles: outcome.troubles,
        }
    }
}

/// All captures of this process.
#[derive(Debug)]
pub(crate) struct Captures {
    settings: Settings,
    /// Changes whenever a capture begins or ends; 0 while none is under way.
    version: AtomicU64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last: u64,
    changes: u64,
    running: Vec<Arc<Capture>>,
    ended: Vec<Arc<Capture>>,
}

impl Captures {
    /// None yet.
    pub(crate) fn new(settings: Settings) -> Self {
        Self { settings, version: AtomicU64::new(0), state: Mutex::default() }
    }

    /// What the data path asks: 0 while no capture is under way.
    pub(crate) fn version(&self) -> u64 {
        self.version.load(Ordering::Relaxed)
    }

    /// How many are under way.
    pub(crate) fn running(&self) -> usize {
        self.state.lock().running.len()
    }

    /// Those under way that are about this connection.
    fn about(&self, peer: IpAddr, device: Option<&DeviceId>) -> Vec<Arc<Capture>> {
        let state = self.state.lock();
        let fits = |capture: &&Arc<Capture>| !capture.is_over() && capture.whom.fits(peer, device);
        state.running.iter().filter(fits).map(Arc::clone).collect()
    }

    /// Begin one.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn begin(gateway: &Arc<Gateway>, request: Request) -> Result<Told, Refused> {
        let this = &gateway.captures;
        let whom = whom(&request)?;
        let seconds = within("seconds", request.seconds.unwrap_or(USUAL_SECONDS), this.settings.max_seconds.get().as_secs())?;
        let limit = within("bytes", request.bytes.unwrap_or(USUAL_BYTES) as u64, this.settings.max_bytes)?;
        this.permit(&request)?;
        let mut state = this.state.lock();
        if state.running.len() >= MOST_AT_ONCE {
            return Err(Refused::Cannot(format!("{MOST_AT_ONCE} captures are under way already: end one")));
        }
        state.last += 1;
        let capture = Arc::new(Capture {
            id: state.last,
            request,
            whom,
            since: clock::utc(),
            seconds,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            bytes: AtomicUsize::new(0),
            lost: AtomicUsize::new(0),
            over: AtomicBool::new(false),
            end: Notify::new(),
            tapes: Mutex::default(),
            left_out: AtomicUsize::new(0),
            result: Mutex::default(),
        });
        state.running.push(Arc::clone(&capture));
        this.changed(&mut state);
        drop(state);
        info!(capture = capture.id, whom = ?capture.whom, seconds, bytes = capture.limit, "capture begun");
        tokio::spawn(attend(Arc::clone(gateway), Arc::clone(&capture)));
        Ok(capture.told())
    }

    fn permit(&self, request: &Request) -> Result<(), Refused> {
        let cannot = |what: &str| Err(Refused::Cannot(what.to_owned()));
        match (request.to, &self.settings.path) {
            (To::Topic, _) if !self.settings.topic => cannot("the topic is switched off: set capture.topic = true"),
            (To::Topic, _) if request.anonymise => {
                Err(Refused::Request("only whole conversations can be anonymised: capture to files".to_owned()))
            }
            (To::File, None) => cannot("there is no directory for captures: set capture.path"),
            (To::File, Some(path)) => keep::room(path).map_err(Refused::Cannot),
            (To::Topic, _) => Ok(()),
        }
    }

    fn changed(&self, state: &mut State) {
        state.changes += 1;
        let version = if state.running.is_empty() { 0 } else { state.changes };
        self.version.store(version, Ordering::Relaxed);
    }

    /// It has ended: nobody asks for it any more.
    fn retire(&self, capture: &Arc<Capture>) {
        let mut state = self.state.lock();
        state.running.retain(|running| running.id != capture.id);
        state.ended.push(Arc::clone(capture));
        if state.ended.len() > MOST_ENDED {
            state.ended.remove(0);
        }
        self.changed(&mut state);
    }

    /// All of them.
    pub(crate) fn told(&self) -> Vec<Told> {
        let state = self.state.lock();
        state.ended.iter().chain(&state.running).map(|capture| capture.told()).collect()
    }

    fn find(&self, id: u64) -> Option<Arc<Capture>> {
        let state = self.state.lock();
        state.ended.iter().chain(&state.running).find(|capture| capture.id == id).map(Arc::clone)
    }

    /// One of them.
    pub(crate) fn one(&self, id: u64) -> Option<Told> {
        self.find(id).map(|capture| capture.told())
    }

    /// End it before its time.
    pub(crate) fn end(&self, id: u64) -> Option<Told> {
        let capture = self.find(id)?;
        capture.finish();
        Some(capture.told())
    }

    /// One of the files that a capture has written, by its name there.
    pub(crate) fn file(&self, id: u64, name: &str) -> Option<PathBuf> {
        let files = self.find(id)?.result.lock().files.clone();
        files.into_iter().find(|path| path.file_name().is_some_and(|own| own.to_str() == Some(name)))
    }
}

fn whom(request: &Request) -> Result<Whom, Refused> {
    let wrong = |what: &str| Refused::Request(what.to_owned());
    match (&request.device, &request.id_prefix, &request.address) {
        (Some(id), None, None) => {
            DeviceId::normalise(id).map(Whom::Device).ok_or_else(|| wrong("device: this is no identity of a device"))
        }
        (None, Some(prefix), None) if !prefix.is_empty() => Ok(Whom::Prefix(prefix.clone())),
        (None, None, Some(address)) => Ok(Whom::Address(address.to_canonical())),
        _ => Err(wrong("say whom: one of device, id_prefix and address")),
    }
}

fn within(name: &str, wanted: u64, most: u64) -> Result<u64, Refused> {
    if (1..=most).contains(&wanted) {
        return Ok(wanted);
    }
    Err(Refused::Request(format!("{name}: write a number from 1 to {most}, which capture.max_{name} allows")))
}

/// Until its end, then write what there is.
async fn attend(gateway: Arc<Gateway>, capture: Arc<Capture>) {
    let end = tokio::time::Instant::now() + Duration::from_secs(capture.seconds);
    let to_topic = capture.request.to == To::Topic;
    loop {
        tokio::select! {
            () = capture.end.notified() => break,
            () = tokio::time::sleep_until(end) => break,
            () = tokio::time::sleep(TICK), if to_topic => keep::publish(&gateway, &capture),
        }
    }
    capture.finish();
    gateway.captures.retire(&capture);
    let written = Arc::clone(&capture);
    let settings = gateway.captures.settings.clone();
    let outcome = match (to_topic, settings.path) {
        (false, Some(path)) => tokio::task::spawn_blocking(move || keep::write(&path, &written)).await.unwrap_or_default(),
        _ => {
            keep::publish(&gateway, &capture);
            Outcome::default()
        }
    };
    info!(capture = capture.id, files = outcome.files.len(), troubles = ?outcome.troubles, "capture ended");
    *capture.result.lock() = Outcome { done: true, ..outcome };
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(json: &str) -> Result<Whom, Refused> {
        whom(&serde_json::from_str(json).unwrap())
    }

    #[test]
    fn exactly_one_says_whom() {
        assert_eq!(request(r#"{"device":"013800001111"}"#), Ok(Whom::Device(DeviceId::normalise("13800001111").unwrap())));
        assert_eq!(request(r#"{"id_prefix":"138"}"#), Ok(Whom::Prefix("138".into())));
        assert_eq!(request(r#"{"address":"::ffff:10.0.0.1"}"#), Ok(Whom::Address("10.0.0.1".parse().unwrap())));
        for wrong in [r#"{}"#, r#"{"device":"0"}"#, r#"{"id_prefix":""}"#, r#"{"device":"1","id_prefix":"1"}"#] {
            assert!(matches!(request(wrong), Err(Refused::Request(_))), "{wrong}");
        }
        assert!(serde_json::from_str::<Request>(r#"{"device":"1","path":"/etc"}"#).is_err(), "no path comes from outside");
    }

    #[test]
    fn whom_it_fits() {
        let (peer, device) = ("10.0.0.1".parse().unwrap(), DeviceId::normalise("13800001111"));
        let fits = |whom: Whom| (whom.fits(peer, None), whom.fits(peer, device.as_ref()));
        assert_eq!(fits(Whom::Address(peer)), (true, true));
        assert_eq!(fits(Whom::Prefix("138".into())), (false, true));
        assert_eq!(fits(Whom::Device(DeviceId::normalise("1").unwrap())), (false, false));
    }

    #[test]
    fn refuses_more_than_is_allowed() {
        assert_eq!(within("seconds", 60, 3600), Ok(60));
        assert!(within("seconds", 0, 3600).is_err() && within("seconds", 3601, 3600).is_err());
        let nowhere = Captures::new(Settings::default());
        let to = |to| nowhere.permit(&Request { to, ..Request::default() });
        assert!(matches!(to(To::File), Err(Refused::Cannot(_))));
        assert!(matches!(to(To::Topic), Err(Refused::Cannot(_))));
        let topic = Captures::new(Settings { topic: true, ..Settings::default() });
        let anonymous = Request { to: To::Topic, anonymise: true, ..Request::default() };
        assert!(matches!(topic.permit(&anonymous), Err(Refused::Request(_))));
        assert_eq!(topic.permit(&Request { to: To::Topic, ..Request::default() }), Ok(()));
    }
}
