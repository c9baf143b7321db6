//! What the gateway sees of any protocol: a [`Session`] that turns received bytes into a [`Turn`], and acknowledges when
//! told that what it asked to be stored is durable. Nothing else leaves a session.

use std::sync::Arc;
use std::time::Duration;

use crate::command::{Command, CommandId};
use crate::cursor::Trace;
use crate::desk::{Desk, DeviceState};
use crate::event::Event;
use crate::fault::{Fault, FaultKind};
use crate::identity::{DeviceId, SessionId};
use crate::outcome::{Outcome, Stage};
use crate::profile::Settings;
use crate::time::{Now, Timestamp};

/// Most frames of one connection that may wait for their storage at once. A device of this trade has one to a few; the
/// bound keeps the in-flight bookkeeping of a connection in one machine word.
pub const WINDOW: usize = 64;

/// What a session starts from.
#[derive(Debug, Clone)]
pub struct Opening {
    /// Unique over instances and restarts.
    pub session: SessionId,
    /// From the configuration.
    pub settings: Arc<Settings>,
    /// For tools: the session already knows its device. `None` on a real connection.
    pub device: Option<DeviceId>,
}

type Left = dyn Fn(&DeviceId) -> Option<DeviceState> + Send + Sync;

/// Asked when a device says who it is: what its earlier session, on whichever instance, left to go on with.
#[derive(Clone, Default)]
pub struct Recall(Option<Arc<Left>>);

impl Recall {
    /// Whoever knows it.
    pub fn of(left: impl Fn(&DeviceId) -> Option<DeviceState> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(left)))
    }

    pub(crate) fn ask(&self, device: &DeviceId) -> Option<DeviceState> {
        self.0.as_ref()?(device)
    }
}

impl std::fmt::Debug for Recall {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(if self.0.is_some() { "Recall" } else { "no Recall" })
    }
}

/// A protocol's state on one connection, seen from outside.
pub trait Session: Send {
    /// Look at everything received and not yet consumed, take at most one frame from its start, and say how many bytes
    /// are consumed. 0: nothing more can be done until more bytes come or [`Session::deadline`] passes; call it then with
    /// the same bytes. `turn` is emptied first.
    ///
    /// The same bytes give the same effects however they were split (laws test this for every fixture).
    fn receive(&mut self, input: &[u8], now: Now, turn: &mut Turn) -> usize;

    /// The connection ended with these bytes left over: account for them and for everything half done.
    fn finish(&mut self, input: &[u8], now: Now, turn: &mut Turn);

    /// The oldest frame that asked for it ([`Turn::receipt`]) has this fate; append the device's acknowledgement to `out`.
    /// Called once for each such frame, in the order received. [`Delivery::Stored`] and the like acknowledge it; `None` does
    /// not: its reject was over the limit of a connection and was not stored.
    fn release(&mut self, delivery: Option<Delivery>, now: Now, out: &mut Outgoing);

    /// When [`Session::receive`] wants to be called even if no bytes come.
    fn deadline(&self) -> Option<Duration>;

    /// Who this is, once known.
    fn device_id(&self) -> Option<&DeviceId>;

    /// A command for this device, and when its answer is worth nothing any more ([`Now::uptime`]). `warnings` go into its
    /// outcome. What comes of it is told in [`Turn::told`], now and later; `turn` is emptied first. A command that is here
    /// already is ignored.
    fn command(&mut self, command: Command, deadline: Duration, warnings: Vec<String>, now: Now, turn: &mut Turn);

    /// The first byte of what [`News::Write`] asked for is on its way.
    fn written(&mut self, ticket: Ticket, now: Now, turn: &mut Turn);

    /// Its deadline passed before a byte could be written, and none will be.
    fn unwritten(&mut self, ticket: Ticket, now: Now, turn: &mut Turn);

    /// What a session on another connection, on whichever instance, can go on with. `None`: nothing to say.
    fn state(&self) -> Option<DeviceState>;

    /// The commands that are with the device, and how long it takes to hear us; `None` while there are none.
    fn desk(&self) -> Option<&Desk>;
}

/// Tells a command's frames apart from others on the same connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u32);

/// Something about a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Which.
    pub command_id: CommandId,
    /// What.
    pub news: News,
}

/// What is told about commands.
#[derive(Debug, Clone, PartialEq)]
pub enum News {
    /// Write these frames if the first byte can go out before the deadline ([`Now::uptime`]), and say so.
    Write {
        /// For [`Session::written`].
        ticket: Ticket,
        /// At or after it nothing of this is begun.
        deadline: Duration,
        /// One or more whole frames.
        frames: Vec<u8>,
        /// They tell the device of an order that [`Session::state`] has only now: its answer may come over another connection,
        /// so that state is to be where the next session finds it before the first byte goes out.
        introduces: bool,
    },
    /// Do not write them, if nothing of them was written yet.
    Withdraw(Ticket),
    /// It got so far, at this time.
    Stage(Stage, Timestamp),
    /// It is over.
    Outcome(Box<Outcome>),
    /// The connection ends and nothing of it was written.
    Returned,
    /// The connection ends after it was written and before its answer.
    Cut {
        /// When it was first written.
        sent_at: Timestamp,
        /// How often.
        attempts: u32,
    },
}

/// Frames on their way to the device.
#[derive(Debug, Default)]
pub struct Outgoing {
    /// All of them, one behind the other.
    pub bytes: Vec<u8>,
    /// Where each ends, if somebody wants to tell them apart.
    pub ends: Option<Vec<usize>>,
}

impl Outgoing {
    /// One that remembers where each frame ends.
    pub fn marked() -> Self {
        Self { bytes: Vec::new(), ends: Some(Vec::new()) }
    }

    /// Append one whole frame.
    pub fn frame(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.bytes);
        if let Some(ends) = &mut self.ends {
            ends.push(self.bytes.len());
        }
    }

    /// Empty it, keeping its memory.
    pub fn clear(&mut self) {
        self.bytes.clear();
        if let Some(ends) = &mut self.ends {
            ends.clear();
        }
    }

    /// The frames, each apart if they were marked, else as one.
    pub fn frames(&self) -> impl Iterator<Item = &[u8]> {
        let all = (!self.bytes.is_empty() && self.ends.is_none()).then_some(&self.bytes[..]);
        let ends = self.ends.as_deref().unwrap_or_default();
        let marked = ends.iter().scan(0, |start, end| Some(&self.bytes[std::mem::replace(start, *end)..*end]));
        all.into_iter().chain(marked)
    }
}

/// What became of what a frame asked to be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// All of it is durable.
    Stored,
    /// The store refused a record of it for its own sake; the reject that says so is durable.
    Refused,
    /// The device is not among those that may connect: say so, if the protocol has a word for it.
    UnknownDevice,
}

/// Why frames need no storage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Handled {
    /// It answers something we sent.
    Answer,
    /// It says nothing but that the device is alive.
    Heartbeat,
    /// Sign-on of the device itself, time requests and the like.
    Handshake,
    /// A part of a split message; the last part counts as the message.
    Fragment,
    /// The same again, already stored.
    Repeat,
}

impl Handled {
    /// Every reason, in declaration order.
    pub const ALL: [Self; 5] = [Self::Answer, Self::Heartbeat, Self::Handshake, Self::Fragment, Self::Repeat];

    /// The metric label.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Answer => "answer",
            Self::Heartbeat => "heartbeat",
            Self::Handshake => "handshake",
            Self::Fragment => "fragment",
            Self::Repeat => "repeat",
        }
    }

    /// The position in [`Handled::ALL`].
    pub const fn index(self) -> usize {
        self as usize
    }
}

/// How a frame is accounted for (design: every received frame has exactly one of these fates).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// Its events are to be stored.
    Store,
    /// Nothing to store.
    Handled(Handled),
    /// Its reject is to be stored.
    Reject(FaultKind),
}

/// Bytes that could not be used, for the rejects topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reject {
    /// Why.
    pub fault: Fault,
    /// The bytes as received, at most [`MAX_REJECT_BYTES`].
    pub bytes: Vec<u8>,
    /// How many there were.
    pub length: usize,
}

/// Longest raw excerpt in a reject: the largest frame of the small protocols fits whole, and 8 KiB of hex stay far below
/// what a broker takes.
pub const MAX_REJECT_BYTES: usize = 4096;

/// The session wants the connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Close {
    /// The device said good-bye.
    Goodbye,
    /// It can go no further, e.g. after a failed authentication where one is required.
    Refused,
}

impl Close {
    /// The word in logs and fixtures.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Goodbye => "goodbye",
            Self::Refused => "refused",
        }
    }
}

/// A frame as it was cut, for tools that rewrite it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The protocol's own number of its form.
    pub form: u8,
    /// Unescaped, as [`crate::wire::Wire::seal`] takes it.
    pub content: Vec<u8>,
    /// Bytes on the wire.
    pub length: usize,
}

/// The outcome of one [`Session::receive`]; reused, so that a frame costs no allocation here.
#[derive(Debug, Default)]
pub struct Turn {
    /// How the frame, or the run of skipped bytes that ended, is accounted for; `None` if there was neither.
    pub fate: Option<Fate>,
    /// To be stored, in order.
    pub events: Vec<Event>,
    /// To be stored on the rejects topic.
    pub reject: Option<Reject>,
    /// A run of skipped bytes that ended before this frame; a frame of its own for the accounting.
    pub skipped: Option<Reject>,
    /// Rejects about earlier frames that are accounted for already.
    pub notices: Vec<Reject>,
    /// Whether [`Session::release`] is to be called when the events, or the reject, are durable.
    pub receipt: bool,
    /// The device is known from here on.
    pub identified: bool,
    /// Faults that were counted and tolerated.
    pub tolerated: Vec<FaultKind>,
    /// To be sent now, ahead of acknowledgements that wait: requests of our own, never acknowledgements.
    pub send: Outgoing,
    /// About commands, in order.
    pub told: Vec<Told>,
    /// [`Session::state`] says something new.
    pub state_changed: bool,
    /// The connection is to be closed when everything before is done.
    pub close: Option<Close>,
    /// Where somebody wants to look: fields are recorded here. Kept by [`Turn::clear`].
    pub trace: Option<Trace>,
    /// The frame itself, where somebody wants to look.
    pub seen: Option<Seen>,
    pub(crate) scratch: Vec<u8>,
}

impl Turn {
    /// For tools: one that tells frames apart and, if asked, records fields.
    pub fn observed(trace: bool) -> Self {
        Self { send: Outgoing::marked(), trace: trace.then(Trace::default), ..Self::default() }
    }

    /// Empty it, keeping its memory.
    pub fn clear(&mut self) {
        self.fate = None;
        self.events.clear();
        self.reject = None;
        self.skipped = None;
        self.notices.clear();
        self.receipt = false;
        self.identified = false;
        self.tolerated.clear();
        self.send.clear();
        self.told.clear();
        self.state_changed = false;
        self.close = None;
        self.seen = None;
        if let Some(trace) = &mut self.trace {
            *trace = Trace::default();
        }
    }

    /// How many records the storage gets from the frame itself.
    pub fn records(&self) -> usize {
        self.events.len() + usize::from(self.reject.is_some())
    }
}
