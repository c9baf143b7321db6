//! The loop around a protocol, written once for all: from bytes to turns, and from commands to frames and outcomes.

use std::collections::VecDeque;
use std::time::Duration;

use crate::command::{Command, CommandId, Kind, Text};
use crate::desk::{Aside, Desk, DeviceState, Errand, MIN_OFFER, Plan, Unfit, Waiting, alone, order_of, refuse};
use crate::event::{Body, DriverAction, OrderAction};
use crate::fault::{Fault, FaultKind};
use crate::identity::DeviceId;
use crate::outcome::{Ending, EndingReason, Outcome, Stage};
use crate::parts::template;
use crate::profile::ChecksumPolicy;
use crate::session::{Delivery, Fate, MAX_REJECT_BYTES, News, Opening, Outgoing, Reject, Seen, Session, Ticket, Turn, WINDOW};
use crate::time::Now;
use crate::wire::{Answer, Checksum, Cut, Frame, Link, Step, Wire};

/// A protocol on a connection.
#[derive(Debug)]
pub struct Machine<W: Wire> {
    wire: W,
    link: Link,
    acks: VecDeque<Option<W::Ack>>,
    /// A run of bytes that belong to no frame, not yet reported because it may go on.
    skipping: Option<Box<Reject>>,
    /// Length of the input that the last cut found incomplete, and since when.
    waiting: Option<(usize, Duration)>,
}

impl<W: Wire> Machine<W> {
    /// A fresh session.
    pub fn open(opening: Opening) -> Box<dyn Session> {
        let Opening { session, settings, device } = opening;
        let link = Link::to(W::NAME, settings, session, device);
        Box::new(Self { wire: W::new(session), link, acks: VecDeque::new(), skipping: None, waiting: None })
    }

    /// Add bytes to the run of skipped ones; returns how many fit before the run is reported and another begins.
    fn skip(&mut self, bytes: &[u8], fault: Fault, turn: &mut Turn) -> usize {
        let run = self.skipping.get_or_insert_with(|| Box::new(Reject { fault, bytes: Vec::new(), length: 0 }));
        let used = bytes.len().min(MAX_REJECT_BYTES - run.bytes.len());
        run.bytes.extend_from_slice(&bytes[..used]);
        run.length += used;
        if run.bytes.len() == MAX_REJECT_BYTES {
            self.end_skip(turn);
        }
        used
    }

    /// The run of skipped bytes has ended: report it.
    fn end_skip(&mut self, turn: &mut Turn) {
        if let Some(run) = self.skipping.take() {
            turn.skipped = Some(*run);
        }
    }

    fn on_frame(&mut self, frame: &Frame<'_>, now: Now, turn: &mut Turn) {
        if turn.trace.is_some() {
            turn.seen = Some(Seen { form: frame.form, content: frame.content.to_vec(), length: frame.raw.len() });
        }
        if let Checksum::Wrong { expected, found, offset } = frame.checksum {
            if self.link.profile.checksum == ChecksumPolicy::Reject {
                let detail = format!("checksum is {found:#x}, should be {expected:#x}");
                let fault = Fault::new(FaultKind::Checksum, offset, detail);
                return self.reject(frame.raw, fault, None, turn);
            }
            turn.tolerated.push(FaultKind::Checksum);
        } else if frame.checksum == Checksum::Unreliable {
            turn.tolerated.push(FaultKind::Checksum);
        }
        let mut trace = turn.trace.take();
        if let Some(trace) = &mut trace {
            trace.content = frame.content.to_vec();
        }
        let message = self.wire.decode(frame, &self.link.profile, trace.as_mut());
        turn.trace = trace;
        let first = self.link.sequence;
        let mut step = Step { now, link: &mut self.link, turn };
        let answer = match message {
            Ok(message) => self.wire.on_message(message, &mut step),
            Err(fault) => {
                let ack = self.wire.on_unreadable(frame, &fault, &mut step);
                Answer::Rejected(fault, ack)
            }
        };
        match answer {
            Answer::Rejected(fault, ack) => {
                turn.events.clear();
                self.link.sequence = first;
                self.reject(frame.raw, fault, ack, turn);
            }
            _ if self.link.device.is_none() && !matches!(answer, Answer::Handled(..)) => {
                let fault = Fault::new(FaultKind::Unidentified, 0, "no device has signed on on this connection");
                self.reject(frame.raw, fault, None, turn);
            }
            Answer::Stored(ack) => {
                debug_assert!(!turn.events.is_empty(), "a stored message of {} emitted nothing", W::NAME);
                turn.fate = Some(Fate::Store);
                self.expect(ack, turn);
                if self.link.driver_refused() && turn.events.iter().any(|event| wants_to_work(&event.body)) {
                    self.tell_refused(now, turn);
                }
            }
            Answer::Handled(handled, ack) => {
                debug_assert!(turn.events.is_empty(), "a handled message of {} emitted events", W::NAME);
                turn.fate = Some(Fate::Handled(handled));
                if ack.is_some() {
                    self.expect(ack, turn);
                }
            }
        }
    }

    fn reject(&mut self, raw: &[u8], fault: Fault, ack: Option<W::Ack>, turn: &mut Turn) {
        turn.fate = Some(Fate::Reject(fault.kind));
        let bytes = raw[..raw.len().min(MAX_REJECT_BYTES)].to_vec();
        turn.reject = Some(Reject { fault, bytes, length: raw.len() });
        self.expect(ack, turn);
    }

    fn expect(&mut self, ack: Option<W::Ack>, turn: &mut Turn) {
        debug_assert!(self.acks.len() < WINDOW, "the caller must not receive while the window is full");
        turn.receipt = true;
        self.acks.push_back(ack);
    }

    fn run_deadline(&mut self, ended: bool, now: Now, turn: &mut Turn) {
        if ended || self.wire.deadline().is_some_and(|at| at <= now.uptime) {
            let mut step = Step { now, link: &mut self.link, turn };
            self.wire.on_deadline(ended, &mut step);
        }
        let Some(desk) = &mut self.link.desk else { return };
        if ended {
            desk.end(turn);
        } else if desk.deadline().is_some_and(|at| at <= now.uptime) {
            desk.on_deadline(now, turn);
        }
    }

    /// What came of a turn may have made room for a command that waits, or emptied the desk.
    fn tidy(&mut self, now: Now, turn: &mut Turn) {
        while let Some(next) = self.next_waiting(now) {
            self.begin(next, now, turn);
        }
        if self.link.desk.as_ref().is_some_and(|desk| desk.is_empty()) {
            self.link.desk = None;
        }
    }

    fn next_waiting(&mut self, now: Now) -> Option<Waiting> {
        let one_offer = self.wire.one_offer(&self.link);
        self.link.desk.as_mut()?.next(one_offer, now)
    }

    /// Put a command into words and have it written.
    fn begin(&mut self, waiting: Waiting, now: Now, turn: &mut Turn) {
        let lag = self.link.desk().map_or(Duration::ZERO, Desk::lag);
        let left = waiting.deadline.saturating_sub(now.uptime);
        let remaining = left.saturating_sub(lag);
        let offer = matches!(waiting.command.kind, Kind::OrderOffer(_));
        let ending = if left.is_zero() {
            Some((Ending::Expired, None))
        } else if offer && remaining < MIN_OFFER {
            Some((Ending::Expired, Some(EndingReason::Lag)))
        } else {
            None
        };
        if let Some((ending, reason)) = ending {
            return refuse(waiting, ending, reason, turn);
        }
        let mut errand = Errand { now, link: &mut self.link, remaining };
        let words = match &waiting.command.kind {
            Kind::DriverAuthorization(said) => {
                let name = errand.driver().and_then(|driver| driver.name.as_deref());
                let shown = template::authorization_text(said, name, errand.profile()).map(in_view);
                let command = shown.map(|kind| Command { kind, ..waiting.command.clone() });
                command.ok_or(Unfit::Unsupported).and_then(|command| self.wire.on_command(&command, &mut errand))
            }
            _ => self.wire.on_command(&waiting.command, &mut errand),
        };
        let plan = match (&waiting.command.kind, words) {
            (Kind::Raw(raw), Err(Unfit::Unsupported)) => {
                // a whole frame needs no words
                let frames = raw.bytes.clone();
                return self.link.desk_mut().opened::<W::Downlink>(waiting, Plan::raw(), frames, false, turn);
            }
            (_, Ok(plan)) => plan,
            (_, Err(Unfit::Unsupported)) => return refuse(waiting, Ending::Unsupported, None, turn),
            (_, Err(Unfit::Refused(reason))) => return refuse(waiting, Ending::Rejected, Some(reason), turn),
            (_, Err(Unfit::Field(what))) => {
                let mut waiting = waiting;
                waiting.warnings.push(what);
                return refuse(waiting, Ending::Invalid, Some(EndingReason::Field), turn);
            }
        };
        let encode = |downlinks: &[W::Downlink]| {
            let mut frames = Vec::new();
            downlinks.iter().for_each(|downlink| self.wire.encode(downlink, &self.link, &mut frames));
            frames
        };
        let (ahead, frames) = (encode(&plan.ahead), encode(&plan.downlinks));
        if !ahead.is_empty() {
            self.link.desk_mut().ahead(&waiting.command.id, ahead, turn);
        }
        turn.state_changed |= order_of(&waiting.command.kind).is_some();
        let alone = offer && self.wire.one_offer(&self.link);
        self.link.desk_mut().opened(waiting, plan, frames, alone, turn);
    }

    /// Tell a driver whom the backend has refused that this is so, beside all commands and if the device has words for it.
    fn tell_refused(&mut self, now: Now, turn: &mut Turn) {
        let driver = self.link.desk().and_then(Desk::driver);
        let text = driver.and_then(|driver| template::refused_text(driver, self.link.profile()));
        let (Some(text), Some(device_id), Some(id)) = (text, self.link.device.clone(), CommandId::new("refused")) else { return };
        let command = Command { id, device_id, deadline: now.utc, kind: in_view(text) };
        let mut errand = Errand { now, link: &mut self.link, remaining: MIN_OFFER };
        let Ok(plan) = self.wire.on_command(&command, &mut errand) else { return };
        for downlink in &plan.downlinks {
            turn.send.frame(|out| self.wire.encode(downlink, &self.link, out));
        }
        if let Some(key) = plan.keys.first() {
            self.link.desk_mut().aside(*key, Aside::Told);
        }
    }

    /// A driver's authorization is state: kept, whether or not the device has words for it. True if there is more to do.
    fn authorize(&mut self, waiting: &mut Waiting, turn: &mut Turn) -> bool {
        let Kind::DriverAuthorization(said) = &waiting.command.kind else { return true };
        let name = said.name.as_ref().map(|name| name.0.as_str());
        match self.link.desk_mut().authorize(&said.driver_id, said.authorized, name) {
            Ok(()) => turn.state_changed = true,
            Err(other) => {
                waiting.warnings.push(format!("not kept: {other}"));
                let outcome = Outcome {
                    warnings: std::mem::take(&mut waiting.warnings),
                    ..Outcome::of(Some(waiting.command.id.as_str().to_owned()), Ending::Acknowledged)
                };
                turn.tell(&waiting.command.id, News::Outcome(Box::new(outcome)));
                return false;
            }
        }
        true
    }

    fn quiet(&self, input: &[u8], now: Now) -> bool {
        matches!(self.waiting, Some((length, since)) if length == input.len() && now.uptime >= since + W::LIMITS.quiet)
    }

    /// Take at most one frame from the start.
    fn consume(&mut self, input: &[u8], now: Now, turn: &mut Turn) -> usize {
        let quiet = self.quiet(input, now);
        let mut consumed = 0;
        // a run of skipped bytes is followed to its end, so that it is one reject however the bytes were split
        loop {
            let rest = &input[consumed..];
            let rest = &rest[..rest.len().min(W::LIMITS.max_frame)];
            let mut scratch = std::mem::take(&mut turn.scratch);
            scratch.clear();
            let cut = if rest.is_empty() { Cut::More } else { self.wire.cut(rest, quiet, &mut scratch) };
            let used = match cut {
                Cut::Frame(frame) => {
                    let used = frame.raw.len();
                    self.waiting = None;
                    self.end_skip(turn);
                    self.on_frame(&frame, now, turn);
                    consumed += used;
                    turn.scratch = scratch;
                    return consumed;
                }
                Cut::Skip(used, fault) => self.skip(&rest[..used], fault, turn),
                Cut::Fill(used) => used,
                Cut::More if rest.len() == W::LIMITS.max_frame => {
                    let detail = format!("no end of a frame within {} bytes", W::LIMITS.max_frame);
                    self.skip(rest, Fault::new(FaultKind::Oversize, 0, detail), turn)
                }
                Cut::More => {
                    turn.scratch = scratch;
                    if rest.is_empty() && self.skipping.is_none() {
                        self.waiting = None;
                    } else if quiet {
                        self.end_skip(turn);
                        self.waiting = None;
                    } else if self.waiting.is_none_or(|(length, _)| length != input.len() || consumed > 0) {
                        self.waiting = Some((rest.len(), now.uptime));
                    }
                    return consumed;
                }
            };
            debug_assert!(used > 0 && used <= rest.len(), "{} must make progress", W::NAME);
            turn.scratch = scratch;
            consumed += used.clamp(1, rest.len());
            if turn.skipped.is_some() {
                return consumed; // a full excerpt: the next turn goes on
            }
        }
    }
}

/// A text that a driver must not miss.
fn in_view(text: String) -> Kind {
    Kind::Text(Text { text, urgent: Some(true), display: Some(true), speak: Some(true) })
}

/// Whether a driver who may not work is to be told so now.
fn wants_to_work(body: &Body) -> bool {
    match body {
        Body::Driver(driver) => driver.action == DriverAction::SignOn,
        Body::Order(order) => order.action == OrderAction::Accepted && order.authorized == Some(false),
        _ => false,
    }
}

impl<W: Wire> Session for Machine<W> {
    fn receive(&mut self, input: &[u8], now: Now, turn: &mut Turn) -> usize {
        turn.clear();
        self.run_deadline(false, now, turn);
        let consumed = self.consume(input, now, turn);
        if self.link.desk.is_some() {
            self.tidy(now, turn);
        }
        consumed
    }

    fn finish(&mut self, input: &[u8], now: Now, turn: &mut Turn) {
        turn.clear();
        self.run_deadline(true, now, turn);
        if !input.is_empty() {
            let detail = format!("the connection ended {} bytes into a frame", input.len());
            let used = self.skip(input, Fault::new(FaultKind::Truncated, input.len(), detail), turn);
            // the excerpt is bounded, the count is not
            if let Some(run) = self.skipping.as_deref_mut().or(turn.skipped.as_mut()) {
                run.length += input.len() - used;
            }
        }
        self.end_skip(turn);
        self.waiting = None;
    }

    fn release(&mut self, delivery: Option<Delivery>, now: Now, out: &mut Outgoing) {
        debug_assert!(!self.acks.is_empty(), "one release for each receipt");
        let ack = self.acks.pop_front().flatten();
        if let (Some(ack), Some(delivery)) = (ack, delivery) {
            self.wire.acknowledge(ack, delivery, &self.link, now, out);
        }
    }

    fn deadline(&self) -> Option<Duration> {
        let quiet = self.waiting.map(|(_, since)| since + W::LIMITS.quiet);
        let desk = self.link.desk().and_then(Desk::deadline);
        [self.wire.deadline(), quiet, desk].into_iter().flatten().min()
    }

    fn device_id(&self) -> Option<&DeviceId> {
        self.link.device.as_ref()
    }

    fn command(&mut self, command: Command, deadline: Duration, warnings: Vec<String>, now: Now, turn: &mut Turn) {
        turn.clear();
        let desk = self.link.desk_mut();
        if desk.knows(&command.id) {
            return;
        }
        let done = desk.withdraw(&command, now, turn);
        let mut waiting = Waiting { command, deadline, warnings, before: None };
        if done {
            turn.state_changed = true;
            refuse(waiting, Ending::Acknowledged, Some(EndingReason::NotShown), turn);
        } else if self.authorize(&mut waiting, turn) {
            let one_offer = self.wire.one_offer(&self.link);
            let desk = self.link.desk_mut();
            if desk.has_room(alone(&waiting.command.kind, one_offer), now) {
                self.begin(waiting, now, turn);
            } else if desk.may_wait() {
                turn.tell(&waiting.command.id, News::Stage(Stage::Waiting, now.utc));
                desk.wait(waiting);
            } else {
                refuse(waiting, Ending::Rejected, Some(EndingReason::WindowFull), turn);
            }
        }
        self.tidy(now, turn);
    }

    fn written(&mut self, ticket: Ticket, now: Now, turn: &mut Turn) {
        turn.clear();
        if let Some(desk) = &mut self.link.desk {
            desk.written(ticket, now, turn);
        }
        self.tidy(now, turn);
    }

    fn unwritten(&mut self, ticket: Ticket, now: Now, turn: &mut Turn) {
        turn.clear();
        if let Some(desk) = &mut self.link.desk {
            desk.unwritten(ticket, now, turn);
        }
        self.tidy(now, turn);
    }

    fn state(&self) -> Option<DeviceState> {
        self.link.desk().map(Desk::state).filter(|state| *state != DeviceState::default())
    }

    fn desk(&self) -> Option<&Desk> {
        self.link.desk()
    }
}
