//! From received bytes to records handed to the store, with every frame accounted for on the way.

use std::collections::VecDeque;
use std::task::Context;
use std::time::Duration;

use protocols::event::Event;
use protocols::fault::{Fault, FaultKind};
use protocols::identity::DeviceId;
use protocols::session::{Close, Delivery, Fate, Outgoing, Reject, Turn};
use protocols::time::Now;
use tracing::{debug, info, warn};

use super::told::LastPlace;
use super::{Connection, End, SCRATCH, Scratch, Stage};
use crate::gateway::Access;
use crate::ledger::{Dropped, Settled};
use crate::receipts::Token;
use crate::record::Origin;
use crate::sessions::{Claim, SignOn};
use crate::sink::Full;

/// Rejects of one connection and minute; what a broken device sends beyond that tells nothing new.
const REJECTS_PER_MINUTE: u32 = 60;
/// Rejects after which a connection that has not said who it is is closed: it speaks something else.
const REJECTS_UNIDENTIFIED: u64 = 16;

/// Records that the store had no room for, in order. At most those of one turn: nothing is read while there are some.
#[derive(Debug, Default)]
pub(super) struct Backlog {
    records: VecDeque<(Waiting, Token)>,
    /// When their bytes came.
    now: Option<Now>,
}

/// Nearly always an event on its way straight to the store; a box would cost each an allocation.
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "see above")]
enum Waiting {
    Event(Event),
    Reject(Reject, u64),
}

/// See [`REJECTS_PER_MINUTE`].
#[derive(Debug, Default)]
pub(super) struct RejectLimit {
    total: u64,
    since: Duration,
    count: u32,
}

impl RejectLimit {
    /// One more: whether it is within the limit.
    fn allows(&mut self, now: Now) -> bool {
        self.total += 1;
        if now.uptime >= self.since + Duration::from_secs(60) {
            (self.since, self.count) = (now.uptime, 0);
        }
        self.count += 1;
        self.count <= REJECTS_PER_MINUTE
    }
}

impl Connection {
    /// Let the session take frame by frame while there is room for what it may say.
    pub(super) fn process(&mut self, input: &[u8], now: Now, scratch: &mut Scratch) -> usize {
        let mut at = 0;
        self.paused = false;
        while self.stage == Stage::Open {
            if self.backlog.is_some() || self.window.is_full() {
                // the oldest may be done already, e.g. where nothing had to be stored
                if self.backlog.is_some() || !self.acknowledge(now, &mut scratch.out) {
                    self.paused = at < input.len();
                    break;
                }
            }
            let used = self.session.receive(&input[at..], now, &mut scratch.turn);
            at += used;
            self.apply(now, scratch);
            if used == 0 {
                break;
            }
        }
        if !self.window.is_empty() {
            self.acknowledge(now, &mut scratch.out);
        }
        self.paused |= self.stage != Stage::Open && at < input.len();
        at
    }

    /// A deadline of the session has passed: let it look at the same bytes again.
    pub(super) fn reconsider(&mut self, now: Now, scratch: &mut Scratch) {
        let mut rest = std::mem::take(&mut self.rest);
        let used = self.process(&rest, now, scratch);
        rest.drain(..used);
        if !rest.is_empty() {
            self.rest = rest;
        }
    }

    /// There may be room again: hand over what waits, then look at what was received meanwhile.
    pub(super) fn refill(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        let mut progress = false;
        if self.backlog.is_some() {
            progress = self.hand_over_backlog();
            if self.backlog.is_some() {
                self.gateway.sink.waiters().register(cx.waker());
                // room may have come before we were registered
                progress |= self.hand_over_backlog();
            }
        }
        if self.backlog.is_none() && self.paused && !self.window.is_full() && self.stage == Stage::Open {
            SCRATCH.with_borrow_mut(|scratch| self.reconsider(now, scratch));
            progress = true;
        }
        progress
    }

    /// The connection takes no more bytes: account for what is half received.
    pub(super) fn finish(&mut self, now: Now) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        self.give_up_detection(now);
        // whole frames for which there was no room are not half received; they count as dropped
        let rest = if self.paused { Vec::new() } else { std::mem::take(&mut self.rest) };
        SCRATCH.with_borrow_mut(|scratch| {
            self.session.finish(&rest, now, &mut scratch.turn);
            self.apply(now, scratch);
        });
    }

    /// Records that will never be handed over: their frames count as dropped while closing.
    pub(super) fn drop_backlog(&mut self) {
        for (_, token) in self.backlog.take().into_iter().flat_map(|b| b.records) {
            self.gateway.receipts.cancel(token, &self.gateway.ledger);
        }
    }

    /// Do what a turn asks for.
    pub(super) fn apply(&mut self, now: Now, scratch: &mut Scratch) {
        let Scratch { turn, value, out, .. } = scratch;
        if turn.identified && self.connected.is_none() {
            self.identify(now, turn, out);
        }
        if let Some(skipped) = turn.skipped.take() {
            self.skipped(skipped, now, value);
        }
        for notice in turn.notices.drain(..) {
            self.count_fault(&notice.fault);
            if self.rejects.allows(now) {
                self.hand_over_reject(notice, Token::NONE, now, value);
            }
        }
        if let Some(fate) = turn.fate {
            self.frame(fate, now, turn, value);
        }
        if !turn.send.bytes.is_empty() {
            self.send(&turn.send.bytes, now);
        }
        if !turn.told.is_empty() || turn.state_changed {
            self.news(turn, now);
        }
        if let Some(close) = turn.close {
            let end = match close {
                Close::Goodbye => End::Goodbye,
                Close::Refused => End::Refused,
            };
            self.leave(end, now);
        } else if self.connected.is_none() && self.rejects.total >= REJECTS_UNIDENTIFIED && self.stage == Stage::Open {
            info!(peer = %self.peer, protocol = self.port.label(), "closed: {REJECTS_UNIDENTIFIED} undecodable frames and no sign-on");
            self.leave(End::Garbage, now);
        }
    }

    /// A run of bytes that belong to no frame: a frame of its own for the accounting.
    fn skipped(&mut self, reject: Reject, now: Now, value: &mut Vec<u8>) {
        self.count_fault(&reject.fault);
        let settled = Settled::Rejected(reject.fault.kind);
        let allowed = self.rejects.allows(now);
        self.gateway.ledger.count(self.port.index, |c| {
            c.received += 1;
            if allowed {
                c.in_flight += 1;
            } else {
                c.dropped[Dropped::RejectLimit as usize] += 1;
            }
        });
        if allowed {
            let token = Token::unacknowledged(self.port.index, settled);
            self.hand_over_reject(reject, token, now, value);
        }
    }

    fn frame(&mut self, fate: Fate, now: Now, turn: &mut Turn, value: &mut Vec<u8>) {
        let mut reject = turn.reject.take();
        if let Some(reject) = &reject {
            self.count_fault(&reject.fault);
        }
        let limited = reject.is_some() && !self.rejects.allows(now);
        let records = turn.events.len() + usize::from(reject.is_some());
        self.gateway.ledger.count(self.port.index, |c| {
            c.received += 1;
            match fate {
                Fate::Handled(handled) => c.handled[handled.index()] += 1,
                Fate::Reject(_) if limited => c.dropped[Dropped::RejectLimit as usize] += 1,
                Fate::Store | Fate::Reject(_) => c.in_flight += 1,
            }
            c.events += turn.events.len() as i64;
            for kind in turn.tolerated.drain(..) {
                c.faults[kind.index()] += 1;
            }
        });
        if limited {
            reject = None;
        }
        if turn.receipt && self.timed.is_none() {
            self.timed = Some((self.window.len(), now.uptime));
        }
        let settled = match fate {
            Fate::Reject(kind) => Settled::Rejected(kind),
            Fate::Store | Fate::Handled(_) => Settled::Stored,
        };
        let token = if limited || records == 0 {
            if turn.receipt {
                self.window.push_ended(limited);
            }
            return;
        } else {
            let records = u32::try_from(records).unwrap_or(u32::MAX);
            self.window.push(&self.gateway.receipts, self.port.index, records, settled)
        };
        let Some(token) = token else {
            // a million connections have frames in flight: this one has to come back later
            warn!(session = %self.id, "no receipt slot left; closing the connection");
            self.gateway.ledger.settle(self.port.index, Settled::Dropped);
            self.leave(End::Error, now);
            return;
        };
        for event in turn.events.drain(..) {
            self.place = LastPlace::of(&event.body, now).or(self.place);
            self.hand_over(Waiting::Event(event), token, now, value);
        }
        if let Some(reject) = reject {
            self.hand_over_reject(reject, token, now, value);
        }
    }

    /// To the store, and to what is remembered for a person who asks about the device.
    fn hand_over_reject(&mut self, reject: Reject, token: Token, now: Now, value: &mut Vec<u8>) {
        if let Some(device) = self.session.device_id() {
            self.gateway.faults.note(device, &reject.fault, now.utc);
        }
        self.hand_over(Waiting::Reject(reject, self.rejects.total), token, now, value);
    }

    fn count_fault(&self, fault: &Fault) {
        debug!(session = %self.id, peer = %self.peer, protocol = self.port.label(), "{fault}");
        self.gateway.ledger.count(self.port.index, |c| c.faults[fault.kind.index()] += 1);
    }

    /// To the store, or behind what already waits for room.
    fn hand_over(&mut self, record: Waiting, token: Token, now: Now, value: &mut Vec<u8>) {
        if self.backlog.is_none() && self.submit(&record, token, now, value).is_ok() {
            return;
        }
        let backlog = self.backlog.get_or_insert_default();
        backlog.records.push_back((record, token));
        backlog.now.get_or_insert(now);
    }

    fn submit(&self, record: &Waiting, token: Token, now: Now, value: &mut Vec<u8>) -> Result<(), Full> {
        let origin = Origin {
            gateway: &self.gateway.id,
            protocol: self.port.index,
            guess: self.guess,
            session: self.id,
            epoch: self.connected.as_ref().map_or(0, |c| c.epoch),
            peer: self.peer,
            received_at: now.utc,
            device: self.session.device_id(),
        };
        let record = match record {
            Waiting::Event(event) => origin.event(event, token, value),
            Waiting::Reject(reject, count) => origin.reject(reject, *count, token, value),
        };
        self.gateway.sink.submit(&record)
    }

    fn hand_over_backlog(&mut self) -> bool {
        let Some(mut backlog) = self.backlog.take() else { return false };
        let now = backlog.now.unwrap_or_else(crate::clock::now);
        let before = backlog.records.len();
        let mut value = Vec::new();
        while let Some((record, token)) = backlog.records.pop_front() {
            if self.submit(&record, token, now, &mut value).is_err() {
                backlog.records.push_front((record, token));
                break;
            }
        }
        let progress = backlog.records.len() < before;
        if !backlog.records.is_empty() {
            self.backlog = Some(backlog);
        }
        progress
    }

    /// The device is known from here on: may it connect, and does somebody else hold it?
    fn identify(&mut self, now: Now, turn: &mut Turn, out: &mut Outgoing) {
        let Some(device) = self.session.device_id().cloned() else { return };
        if !self.gateway.access.allows(&device) {
            return self.turn_away(&device, now, turn, out);
        }
        let claim = Claim {
            device: &device,
            session: self.id,
            protocol: self.port.label(),
            peer: self.peer,
            utc: now.utc,
            uptime: now.uptime,
            control: &self.control,
        };
        match self.gateway.sessions.sign_on(&claim) {
            SignOn::Here(connected, replaced) => {
                if replaced {
                    self.gateway.telemetry.takeover("reconnect");
                }
                info!(%device, session = %self.id, peer = %self.peer, protocol = self.port.label(), epoch = connected.epoch, "signed on");
                self.connected = Some(connected);
                self.tap_identified();
            }
            SignOn::Clone => {
                self.gateway.telemetry.takeover("clone");
                self.gateway.faults.note_clone(&device, self.peer, now.utc);
                warn!(%device, peer = %self.peer, "more than {} takeovers in a minute: two devices with one identity? This one has to wait", crate::sessions::CLONE_TAKEOVERS);
                turn.clear();
                self.gateway.ledger.count(self.port.index, |c| {
                    c.received += 1;
                    c.dropped[Dropped::Closing as usize] += 1;
                });
                self.leave(End::Clone, now);
            }
        }
    }

    /// A device that may not connect.
    fn turn_away(&mut self, device: &DeviceId, now: Now, turn: &mut Turn, out: &mut Outgoing) {
        info!(%device, peer = %self.peer, protocol = self.port.label(), "not among the devices that may connect");
        let receipt = turn.receipt;
        // the sign-on is the frame that is rejected
        turn.clear();
        let fault = Fault::new(FaultKind::UnknownDevice, 0, "the device is not listed in security.devices");
        turn.skipped = Some(Reject { fault, bytes: Vec::new(), length: 0 });
        if receipt && self.window.is_empty() && matches!(self.gateway.access, Access::Reject(_)) {
            out.clear();
            self.session.release(Some(Delivery::UnknownDevice), now, out);
            self.send(&out.bytes, now);
        }
        self.leave(End::UnknownDevice, now);
    }
}
