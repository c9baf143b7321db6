//! What a connection does for captures.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use protocols::identity::{DeviceId, SessionId};
use protocols::script::{Heard, Moment};
use protocols::time::Timestamp;

use super::{Capture, Captures, MOST_TAPES};
use crate::gateway::Port;

/// Bytes of both directions that are kept of a connection until it says who it is: a sign-on and what came before it.
const LOOK_BACK: usize = 4096;
/// What a moment costs in memory besides its bytes.
const MOMENT: usize = 64;

/// Which way bytes went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Direction {
    /// From the device.
    Up,
    /// To it.
    Down,
}

/// The connection whose bytes these are.
#[derive(Debug, Clone)]
pub(crate) struct Whose<'a> {
    /// Its session.
    pub(crate) session: SessionId,
    /// The device's own address.
    pub(crate) peer: SocketAddr,
    /// What is spoken, and how.
    pub(crate) port: &'a Arc<Port>,
    /// The device, once known.
    pub(crate) device: Option<&'a DeviceId>,
}

/// The bytes of one connection for one capture.
#[derive(Debug)]
pub(super) struct Tape {
    pub(super) capture: Arc<Capture>,
    pub(super) session: SessionId,
    pub(super) peer: SocketAddr,
    pub(super) port: Arc<Port>,
    /// The device was known before the first of these bytes.
    pub(super) late: bool,
    pub(super) device: Mutex<Option<DeviceId>>,
    pub(super) moments: Mutex<Vec<Moment>>,
    /// Records sent to the topic.
    pub(super) sent: AtomicU64,
}

impl Tape {
    fn push(&self, moment: Moment) {
        let (Heard::FromDevice(bytes) | Heard::ToDevice(bytes)) = &moment.what else { return };
        if self.capture.take(bytes.len() + MOMENT) {
            self.moments.lock().push(moment);
        }
    }
}

/// There only while a capture is under way.
#[derive(Debug, Default)]
pub(crate) struct Tap {
    version: u64,
    /// Of a connection that has not said who it is.
    before: Vec<Moment>,
    room: usize,
    tapes: Vec<Arc<Tape>>,
}

impl Tap {
    /// One for a connection on which nothing was heard yet.
    pub(crate) fn new() -> Self {
        Self { room: LOOK_BACK, ..Self::default() }
    }

    /// Bytes came or went.
    pub(crate) fn record(&mut self, captures: &Captures, whose: &Whose<'_>, direction: Direction, bytes: &[u8], at: Timestamp) {
        self.refresh(captures, whose);
        let what = match direction {
            Direction::Up => Heard::FromDevice(bytes.to_vec()),
            Direction::Down => Heard::ToDevice(bytes.to_vec()),
        };
        let moment = Moment { at, what };
        for tape in &self.tapes {
            tape.push(moment.clone());
        }
        if whose.device.is_none() && self.room >= bytes.len() {
            self.room -= bytes.len();
            self.before.push(moment);
        }
    }

    /// The connection has said who it is: what it said before belongs to it.
    pub(crate) fn identified(&mut self, captures: &Captures, whose: &Whose<'_>) {
        let before = std::mem::take(&mut self.before);
        self.room = 0;
        for tape in &self.tapes {
            *tape.device.lock() = whose.device.cloned();
        }
        let known = self.tapes.len();
        self.join(captures, whose, before.is_empty());
        for tape in self.tapes.iter().skip(known) {
            before.iter().for_each(|moment| tape.push(moment.clone()));
        }
        self.version = captures.version();
    }

    /// Captures may have begun or ended.
    fn refresh(&mut self, captures: &Captures, whose: &Whose<'_>) {
        let version = captures.version();
        if self.version != version {
            self.version = version;
            self.tapes.retain(|tape| !tape.capture.is_over());
            self.join(captures, whose, whose.device.is_some());
        }
    }

    fn join(&mut self, captures: &Captures, whose: &Whose<'_>, late: bool) {
        for capture in captures.about(whose.peer.ip(), whose.device) {
            if self.tapes.iter().any(|tape| tape.capture.id == capture.id) {
                continue;
            }
            let tape = Arc::new(Tape {
                capture: Arc::clone(&capture),
                session: whose.session,
                peer: whose.peer,
                port: Arc::clone(whose.port),
                late: late && whose.device.is_some(),
                device: Mutex::new(whose.device.cloned()),
                moments: Mutex::default(),
                sent: AtomicU64::new(0),
            });
            let mut all = capture.tapes.lock();
            if all.len() < MOST_TAPES {
                all.push(Arc::clone(&tape));
                self.tapes.push(tape);
            } else {
                capture.left_out.fetch_add(1, Ordering::Relaxed);
            }
        }
    }
}
