//! A connection to a port that recognises protocols, until it is recognised; from then on it is one like the others.
//!
//! Nothing is consumed before: the session of the protocol that was found hears everything from the first byte, garbage
//! included, so its accounting is that of a port of its own. What is never recognised is one reject of the label
//! [`crate::ledger::UNDETECTED`], with the best guess and with what each protocol said.

use std::sync::Arc;
use std::time::Duration;

use protocols::command::Command;
use protocols::desk::{Desk, DeviceState};
use protocols::detect::{Recognised, Unrecognised};
use protocols::fault::{Fault, FaultKind};
use protocols::identity::{DeviceId, SessionId};
use protocols::registry::Protocol;
use protocols::session::{Delivery, MAX_REJECT_BYTES, Opening, Outgoing, Reject, Session, Ticket, Turn};
use protocols::time::Now;
use tracing::{debug, info};

use super::{Connection, End, SCRATCH, Scratch, Stage};
use crate::capture::Direction;
use crate::gateway::{Choice, Port, Speaks};

/// The session of a new connection.
pub(super) fn open(port: &Port, id: SessionId) -> Box<dyn Session> {
    match &port.speaks {
        Speaks::One(protocol) => (protocol.open)(Opening { session: id, settings: Arc::clone(&port.settings), device: None }),
        Speaks::Any(_) => Box::new(Nobody),
    }
}

/// Where a connection stands when its first byte may come, behind the PROXY header.
pub(super) fn first_stage(port: &Port) -> Stage {
    match port.speaks {
        Speaks::One(_) => Stage::Open,
        Speaks::Any(_) => Stage::Detect,
    }
}

/// Stands for the session of a connection whose protocol is not known: it hears nothing and says nothing. (Of no size, so it
/// costs no allocation.)
struct Nobody;

impl Session for Nobody {
    fn receive(&mut self, _input: &[u8], _now: Now, turn: &mut Turn) -> usize {
        turn.clear();
        0
    }

    fn finish(&mut self, _input: &[u8], _now: Now, turn: &mut Turn) {
        turn.clear();
    }

    fn release(&mut self, _delivery: Option<Delivery>, _now: Now, _out: &mut Outgoing) {}

    fn deadline(&self) -> Option<Duration> {
        None
    }

    fn device_id(&self) -> Option<&DeviceId> {
        None
    }

    // commands find a connection by its device, and this has none

    fn command(&mut self, _: Command, _: Duration, _: Vec<String>, _: Now, turn: &mut Turn) {
        turn.clear();
    }

    fn written(&mut self, _: Ticket, _: Now, turn: &mut Turn) {
        turn.clear();
    }

    fn unwritten(&mut self, _: Ticket, _: Now, turn: &mut Turn) {
        turn.clear();
    }

    fn state(&self) -> Option<DeviceState> {
        None
    }

    fn desk(&self) -> Option<&Desk> {
        None
    }
}

impl Connection {
    /// Look at everything received so far; `last`: nothing more is waited for. Returns how much is consumed.
    pub(super) fn detect(&mut self, input: &[u8], last: bool, now: Now, scratch: &mut Scratch) -> usize {
        let Speaks::Any(choice) = &self.port.speaks else { return 0 };
        if input.is_empty() {
            return 0;
        }
        let (known, _) = *self.looked.get_or_insert((0, now.uptime));
        match choice.detector.recognise_from(input, known, last) {
            Recognised::As(protocol) => {
                self.become_one_of(protocol);
                self.tapped(Direction::Up, input, now);
                0
            }
            Recognised::Undecided => {
                self.looked = self.looked.map(|(_, since)| (input.len(), since));
                0
            }
            Recognised::No(why) => {
                self.unrecognised(input, &why, now, scratch);
                self.leave(End::Unrecognised, now);
                input.len()
            }
        }
    }

    /// The deadline has passed, or nothing more can come: decide with what there is.
    pub(super) fn decide(&mut self, now: Now) {
        let mut rest = std::mem::take(&mut self.rest);
        SCRATCH.with_borrow_mut(|scratch| {
            let mut used = self.detect(&rest, true, now, scratch);
            if self.stage == Stage::Open {
                used += self.process(&rest[used..], now, scratch);
            }
            rest.drain(..used);
        });
        if !rest.is_empty() {
            self.rest = rest;
        }
        if self.stage == Stage::Detect {
            // it has said nothing at all
            self.leave(End::Device, now);
        }
    }

    /// The connection ends for another reason: what was received of it counts as one reject.
    pub(super) fn give_up_detection(&mut self, now: Now) {
        let Speaks::Any(Choice { detector, .. }) = &self.port.speaks else { return };
        let rest = std::mem::take(&mut self.rest);
        if rest.is_empty() {
            return;
        }
        let why = match detector.recognise(&rest, true) {
            // it would have been one, but it is not heard any more
            Recognised::As(protocol) => Unrecognised { guess: Some(protocol.name), rulings: Vec::new() },
            Recognised::No(why) => *why,
            Recognised::Undecided => Unrecognised { guess: None, rulings: Vec::new() },
        };
        SCRATCH.with_borrow_mut(|scratch| self.unrecognised(&rest, &why, now, scratch));
    }

    fn become_one_of(&mut self, protocol: &'static Protocol) {
        let Speaks::Any(choice) = &self.port.speaks else { return };
        let speaks_it = |port: &&Arc<Port>| matches!(port.speaks, Speaks::One(p) if p.name == protocol.name);
        let Some(port) = choice.ports.iter().find(speaks_it).cloned() else { return };
        debug!(session = %self.id, peer = %self.peer, protocol = protocol.name, "recognised");
        self.session = open(&port, self.id);
        self.port = port;
        self.stage = Stage::Open;
    }

    fn unrecognised(&mut self, bytes: &[u8], why: &Unrecognised, now: Now, scratch: &mut Scratch) {
        info!(session = %self.id, peer = %self.peer, guess = why.guess, bytes = bytes.len(), "not recognised: {why}");
        self.guess = why.guess;
        let excerpt = bytes[..bytes.len().min(MAX_REJECT_BYTES)].to_vec();
        let fault = Fault::new(FaultKind::Unrecognised, 0, why.to_string());
        scratch.turn.clear();
        scratch.turn.skipped = Some(Reject { fault, bytes: excerpt, length: bytes.len() });
        self.apply(now, scratch);
    }

    /// When a connection that is not recognised runs out of time.
    pub(super) fn undetected_until(&self) -> Duration {
        let identify = self.accepted + self.gateway.limits.identify;
        match (&self.port.speaks, self.looked) {
            (Speaks::Any(choice), Some((_, first))) => identify.min(first + choice.limit),
            _ => identify,
        }
    }
}
