//! One command on its way, and how it ends.

use std::time::Duration;

use super::{Confirms, Key, Retry, Target};
use crate::command::{Command, CommandId, OrderId};
use crate::outcome::{Ending, EndingReason, Outcome, Stage};
use crate::session::{News, Ticket, Turn};
use crate::time::{Now, Timestamp};

/// For so long a command counts as one that the device has yet to receipt. In a minute JT/T 808 and 905 have repeated it twice;
/// a unit that has said nothing until then mostly never will, and its silence about some texts must not keep the next offer
/// from it.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// A command that was put into the protocol's words.
#[derive(Debug)]
pub(super) struct Open {
    pub(super) id: CommandId,
    pub(super) kind: &'static str,
    pub(super) target: Option<Target>,
    pub(super) deadline: Duration,
    /// At or after it nothing of it is begun: the deadline, or when too little is left to read an offer.
    pub(super) cutoff: Duration,
    pub(super) ticket: Ticket,
    pub(super) keys: Vec<Key>,
    pub(super) ends: Confirms,
    pub(super) retry: Option<Repeat>,
    pub(super) frames: Vec<u8>,
    pub(super) stage: Stage,
    pub(super) sent_at: Option<Timestamp>,
    /// When it was written first in these words.
    pub(super) written: Option<Duration>,
    /// Frames of it are to be written and were not yet.
    pub(super) pending: bool,
    /// It has not been receipted for longer than [`PATIENCE`].
    pub(super) unheard: bool,
    pub(super) attempts: u32,
    pub(super) exclusive: bool,
    pub(super) warnings: Vec<String>,
    /// To be said in other words, should the device not know these.
    pub(super) again: Option<Box<Command>>,
}

#[derive(Debug)]
pub(super) struct Repeat {
    pub(super) plan: Retry,
    /// Repeats so far.
    pub(super) done: u8,
    pub(super) wait: Duration,
    pub(super) at: Duration,
}

/// A command that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) command: Command,
    pub(crate) deadline: Duration,
    pub(crate) warnings: Vec<String>,
    /// When it was written first and how often, in words that the device does not know.
    pub(crate) before: Option<(Timestamp, u32)>,
}

impl Open {
    /// The order that it is about.
    pub(super) fn order(&self) -> Option<&OrderId> {
        match &self.target {
            Some(Target::Order(id)) => Some(id),
            _ => None,
        }
    }

    /// Whether the device has yet to say that it has it.
    pub(super) fn is_awaited(&self) -> bool {
        self.stage < Stage::Delivered && !self.unheard
    }

    /// Until when that is waited for, once it is written.
    pub(super) fn patience(&self) -> Option<Duration> {
        self.written.map(|written| written + PATIENCE)
    }
}

pub(super) fn end(
    open: Open,
    ending: Ending,
    reason: Option<EndingReason>,
    answer: Option<serde_json::Value>,
    now: Now,
    turn: &mut Turn,
) {
    let answered = matches!(ending, Ending::Acknowledged | Ending::Rejected);
    let mut outcome = Outcome {
        reason,
        answer,
        attempts: open.attempts,
        sent_at: open.sent_at,
        answered_at: answered.then_some(now.utc),
        warnings: open.warnings,
        ..Outcome::of(Some(open.id.as_str().to_owned()), ending)
    };
    if open.kind == AUTHORIZATION {
        kept(&mut outcome);
    }
    if open.pending {
        turn.tell(&open.id, News::Withdraw(open.ticket));
    }
    turn.tell(&open.id, News::Outcome(Box::new(outcome)));
}

/// A command ends before a byte of it was written, or while it was to be said in other words.
pub(crate) fn refuse(waiting: Waiting, ending: Ending, reason: Option<EndingReason>, turn: &mut Turn) {
    let Waiting { command, warnings, before, .. } = waiting;
    let (ending, reason) = match (before, ending) {
        // it was written, and the device did not know it
        (Some(_), Ending::Expired) => (Ending::Rejected, Some(EndingReason::DeviceUnsupported)),
        _ => (ending, reason),
    };
    let mut outcome = Outcome {
        reason,
        warnings,
        sent_at: before.map(|(sent_at, _)| sent_at),
        attempts: before.map_or(0, |(_, attempts)| attempts),
        ..Outcome::of(Some(command.id.as_str().to_owned()), ending)
    };
    if command.kind.name() == AUTHORIZATION {
        kept(&mut outcome);
    }
    turn.tell(&command.id, News::Outcome(Box::new(outcome)));
}

/// State rather than a message: kept, and so carried out, whatever comes of telling the driver.
const AUTHORIZATION: &str = "driver_authorization";

fn kept(outcome: &mut Outcome) {
    let why = match (outcome.result, outcome.reason) {
        (Ending::Acknowledged | Ending::Superseded, _) => return,
        (Ending::Unsupported, _) | (_, Some(EndingReason::NoReceipt)) => None,
        (Ending::Unanswered, _) => Some("kept; the device has not said that it has shown it"),
        (Ending::Expired, _) => Some("kept; not shown in time"),
        (Ending::Invalid, _) => Some("kept; it cannot be shown"),
        _ => Some("kept; the device did not show it"),
    };
    outcome.warnings.extend(why.map(str::to_owned));
    (outcome.result, outcome.reason) = (Ending::Acknowledged, None);
}
