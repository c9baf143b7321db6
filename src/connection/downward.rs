//! Commands: from the mailbox into the session, from the session onto the socket, and what becomes of them to their homes.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, pin::Pin};

use protocols::command::CommandId;
use protocols::identity::DeviceId;
use protocols::session::{News, Ticket, Told, Turn};
use protocols::time::Now;
use tokio::io::AsyncWrite;

use super::{Connection, SCRATCH, Stage};
use crate::capture::Direction;
use crate::clock;
use crate::down::owner::{After, Answered, HomeId, Letter, Report};

/// The commands of one connection; there only while there are some.
#[derive(Debug, Default)]
pub(super) struct Downward {
    /// Who wants to know about which command, and how often it was written over earlier connections.
    homes: Vec<(CommandId, HomeId, u32)>,
    /// Frames of which no byte was written yet, in order. At most as many as the desk has open commands.
    pending: VecDeque<Pending>,
}

#[derive(Debug)]
struct Pending {
    ticket: Ticket,
    deadline: Duration,
    frames: Vec<u8>,
    /// What it waits for.
    after: Option<After>,
}

impl Connection {
    /// Take what is in the mailbox.
    pub(super) fn take_errands(&mut self, now: Now) -> bool {
        if self.stage != Stage::Open || self.connected.is_none() {
            return false;
        }
        let mut some = false;
        while let Some(letter) = self.control.mailbox.pop() {
            some = true;
            let errand = match letter {
                Letter::Errand(errand) => errand,
                Letter::Question(question) => {
                    let _ = question.send(self.told());
                    continue;
                }
            };
            let command = Arc::unwrap_or_clone(errand.command);
            let down = self.downward.get_or_insert_default();
            if !down.homes.iter().any(|(id, ..)| *id == command.id) {
                down.homes.push((command.id.clone(), errand.home, errand.attempt.saturating_sub(1)));
            }
            SCRATCH.with_borrow_mut(|scratch| {
                self.session.command(command, errand.deadline, errand.warnings, now, &mut scratch.turn);
                self.news(&mut scratch.turn, now);
            });
        }
        some
    }

    /// Act on what a turn told about commands, and on what it says of the device's state.
    pub(super) fn news(&mut self, turn: &mut Turn, now: Now) {
        let mut revision = self.keep(turn);
        // writing one thing may tell more; the desk is bounded, and each round takes something off it
        while !turn.told.is_empty() {
            for Told { command_id, news } in std::mem::take(&mut turn.told) {
                match news {
                    News::Write { ticket, deadline, frames, introduces } => {
                        let after = revision.filter(|_| introduces).map(|revision| After::record(revision, now.uptime));
                        self.downward.get_or_insert_default().pending.push_back(Pending { ticket, deadline, frames, after });
                    }
                    News::Withdraw(ticket) => {
                        if let Some(down) = &mut self.downward {
                            down.pending.retain(|p| p.ticket != ticket);
                        }
                    }
                    News::Stage(stage, at) => self.report(&command_id, Answered::Stage { stage, at }),
                    News::Outcome(outcome) => self.report(&command_id, Answered::Outcome(*outcome)),
                    News::Returned => self.report(&command_id, Answered::Returned),
                    News::Cut { sent_at, attempts } => self.report(&command_id, Answered::Cut { sent_at, attempts }),
                }
            }
            self.write_pending(None, turn, now);
            revision = self.keep(turn).or(revision);
        }
        if self.downward.as_ref().is_some_and(|down| down.homes.is_empty() && down.pending.is_empty()) {
            self.downward = None;
        }
    }

    /// If the device's state has changed, have it published.
    fn keep(&self, turn: &mut Turn) -> Option<u64> {
        let connected = self.connected.as_ref().filter(|_| std::mem::take(&mut turn.state_changed))?;
        self.gateway.sessions.keep(connected, self.session.device_id(), self.session.state())
    }

    /// Whether the first frame may be begun.
    fn is_held_back(&self) -> bool {
        let first = self.downward.as_ref().and_then(|down| down.pending.front()).and_then(|first| first.after);
        let in_topic = self.connected.as_ref().map_or(0, |c| c.in_topic.load(Ordering::Acquire));
        first.is_some_and(|after| !after.is_over(in_topic, clock::uptime()))
    }

    /// Tell the home. A command that this connection was not given is one whose offer went out over an earlier connection:
    /// whoever is its home knows.
    fn report(&mut self, id: &CommandId, mut answered: Answered) {
        let Some(device_id) = self.session.device_id().cloned() else { return };
        let down = self.downward.get_or_insert_default();
        let at = down.homes.iter().position(|(known, ..)| known == id);
        let (home, before) = match at.and_then(|at| down.homes.get(at)) {
            Some((_, home, before)) => (home.clone(), *before),
            None => (HomeId::anyone(), 0),
        };
        match &mut answered {
            Answered::Outcome(outcome) => outcome.attempts += before,
            Answered::Cut { attempts, .. } => *attempts += before,
            Answered::Stage { .. } | Answered::Returned => {}
        }
        if let (Some(at), false) = (at, matches!(answered, Answered::Stage { .. })) {
            down.homes.swap_remove(at);
        }
        self.gateway.reports.put(Report { command_id: id.clone(), device_id, home, answered });
    }

    /// Begin to write what may be begun: only when everything before is out, for only then is the first byte's time known.
    /// `cx`: to be woken when the socket takes more.
    fn write_pending(&mut self, mut cx: Option<&mut Context<'_>>, turn: &mut Turn, now: Now) -> bool {
        let mut progress = false;
        while self.outbox.is_empty() && self.stage == Stage::Open && !self.is_held_back() {
            let Some(next) = self.downward.as_mut().and_then(|down| down.pending.pop_front()) else { break };
            // the deadline is checked here, at the write itself, and by the clock of this moment
            let moment = clock::uptime();
            // the turn at hand may hold more than what is told of commands
            let mut aside = Turn::default();
            if moment >= next.deadline {
                self.session.unwritten(next.ticket, Now { uptime: moment, ..now }, &mut aside);
            } else {
                let written = match &mut cx {
                    Some(cx) => match Pin::new(&mut self.stream).poll_write(cx, &next.frames) {
                        Poll::Ready(written) => written,
                        Poll::Pending => Err(io::ErrorKind::WouldBlock.into()),
                    },
                    None => self.stream.try_write(&next.frames),
                };
                // an error shows again at the next read or write, which handle it
                let sent = written.unwrap_or(0);
                if sent == 0 {
                    if let Some(down) = &mut self.downward {
                        down.pending.push_front(next);
                    }
                    return progress;
                }
                self.tapped(Direction::Down, &next.frames, now);
                self.outbox_since = moment;
                self.outbox.extend_from_slice(next.frames.get(sent..).unwrap_or_default());
                self.session.written(next.ticket, Now { uptime: moment, ..now }, &mut aside);
            }
            progress = true;
            turn.told.append(&mut aside.told);
            turn.state_changed |= aside.state_changed;
        }
        progress
    }

    /// The socket may take more now.
    pub(super) fn poll_downward(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if self.downward.as_ref().is_none_or(|down| down.pending.is_empty()) || !self.outbox.is_empty() {
            return false;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            scratch.turn.clear();
            let progress = self.write_pending(Some(cx), &mut scratch.turn, now);
            self.news(&mut scratch.turn, now);
            progress
        })
    }

    /// When the first frame that waits for the socket is overdue, or need not wait for its record any more.
    pub(super) fn downward_due(&self) -> Option<Duration> {
        let pending = &self.downward.as_ref()?.pending;
        let held_back = pending.front().and_then(|first| first.after).filter(|_| self.is_held_back());
        pending.iter().map(|p| p.deadline).chain(held_back.map(|after| after.until())).min()
    }

    /// The connection has ended: whatever nobody looked at goes back.
    pub(super) fn return_errands(&mut self, device: Option<&DeviceId>) {
        let left = self.control.mailbox.close();
        if let Some(device) = device {
            for errand in left {
                let report = Report {
                    command_id: errand.command.id.clone(),
                    device_id: device.clone(),
                    home: errand.home,
                    answered: Answered::Returned,
                };
                self.gateway.reports.put(report);
            }
        }
    }
}
