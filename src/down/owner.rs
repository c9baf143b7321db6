//! The border between the cluster's side of a command and the connection that holds its device.
//!
//! A home puts an [`Errand`] into the connection's [`Mailbox`]; the connection answers with [`Report`]s, as many as there are
//! steps, and exactly one final one: an outcome, [`Answered::Returned`] or [`Answered::Cut`].

use std::collections::VecDeque;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocols::command::{Command, CommandId};
use protocols::identity::DeviceId;
use protocols::outcome::{Outcome, Stage};
use protocols::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

use super::view;

/// Errands that wait for one connection: a screen lists 20 orders at most, and a connection's task takes them out as fast as
/// it runs, so this many only gather where it does not.
pub(crate) const MAILBOX: usize = 64;

/// One life of an instance.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct InstanceId {
    /// Its configured name.
    pub(crate) gateway: Arc<str>,
    /// Tells its lives apart: later ones have higher numbers.
    pub(crate) boot: u64,
}

impl InstanceId {
    /// Whoever is the command's home: the report's sender does not know, for the command went out over an earlier connection.
    pub(crate) fn anyone() -> Self {
        Self { gateway: "".into(), boot: 0 }
    }

    /// Whether this is nobody in particular.
    pub(crate) fn is_anyone(&self) -> bool {
        self.gateway.is_empty()
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.gateway, self.boot)
    }
}

/// How long the first byte of an offer waits for the record that tells of it: Kafka takes some milliseconds. When it takes this
/// long, a driver who waits is worse off than one whose answer over another instance would have to be told by its number.
pub(crate) const RECORD: Duration = Duration::from_millis(500);

/// An offer is written when the device's record in the sessions topic tells of it, so that any instance understands the answer,
/// also if this one dies with the next instruction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct After {
    revision: u64,
    until: Duration,
}

impl After {
    /// After this revision of the record.
    pub(crate) fn record(revision: u64, now: Duration) -> Self {
        Self { revision, until: now + RECORD }
    }

    /// Whether it may be written, now that this revision is in the topic.
    pub(crate) fn is_over(&self, in_topic: u64, now: Duration) -> bool {
        in_topic >= self.revision || now >= self.until
    }

    /// When it may be written in any case.
    pub(crate) const fn until(&self) -> Duration {
        self.until
    }
}

/// Who wants the reports about a command.
pub(crate) type HomeId = InstanceId;

/// A command on its way to a device.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Errand {
    /// What to do.
    pub(crate) command: Arc<Command>,
    /// Who wants reports.
    pub(crate) home: HomeId,
    /// On this process's monotonic clock, converted once at receipt: nothing is first written at or after it.
    pub(crate) deadline: Duration,
    /// For the outcome: what was odd about the record.
    pub(crate) warnings: Vec<String>,
    /// 1; higher if an earlier connection or instance was lost after it had, or may have, written it.
    pub(crate) attempt: u32,
}

/// What became of an errand.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Answered {
    /// A step on the way.
    Stage {
        /// How far it is.
        stage: Stage,
        /// Since when.
        at: Timestamp,
    },
    /// The end.
    Outcome(Outcome),
    /// The connection is gone and never wrote it: the home may give it to the next session.
    Returned,
    /// The connection is gone after it wrote it and before a final answer.
    Cut {
        /// When it was first written.
        sent_at: Timestamp,
        /// How often in all, earlier connections included.
        attempts: u32,
    },
}

/// From a connection to the home of the command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Report {
    /// The command.
    pub(crate) command_id: CommandId,
    /// Its device.
    pub(crate) device_id: DeviceId,
    /// From the errand.
    pub(crate) home: HomeId,
    /// What happened.
    pub(crate) answered: Answered,
}

/// Why an errand was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Undelivered {
    /// The device has no connection here.
    NotHere,
    /// Its connection has too many errands waiting.
    Full,
    /// Another home has asked for it since. Whoever still is the home asks again.
    Claimed,
}

/// What lies in a mailbox.
#[derive(Debug)]
pub(crate) enum Letter {
    /// A command.
    Errand(Errand),
    /// How is the device? Nobody is told if the connection ends before it looks.
    Question(oneshot::Sender<view::Connection>),
}

/// Errands for one connection, and questions. Empty it holds no memory but its own few bytes, for most connections never get any.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    /// Whether there may be something, so that looking costs no lock.
    filled: AtomicBool,
    inside: Mutex<Inside>,
}

#[expect(clippy::box_collection, reason = "an empty mailbox is to cost a pointer")]
#[derive(Debug, Default)]
enum Inside {
    #[default]
    Empty,
    Filled(Box<VecDeque<Letter>>),
    Closed,
}

impl Mailbox {
    /// Put an errand in; whoever does wakes the connection's task afterwards.
    ///
    /// # Errors
    /// The errand, if the connection takes none any more or has too many.
    pub(crate) fn push(&self, errand: Errand) -> Result<(), (Errand, Undelivered)> {
        match self.put(Letter::Errand(errand)) {
            Err((Letter::Errand(errand), why)) => Err((errand, why)),
            _ => Ok(()),
        }
    }

    /// Put a question in. One for which there is no room is not answered.
    pub(crate) fn ask(&self, question: oneshot::Sender<view::Connection>) {
        let _ = self.put(Letter::Question(question));
    }

    fn put(&self, letter: Letter) -> Result<(), (Letter, Undelivered)> {
        let mut inside = self.inside.lock();
        match &mut *inside {
            Inside::Closed => return Err((letter, Undelivered::NotHere)),
            Inside::Filled(queue) if queue.len() >= MAILBOX => return Err((letter, Undelivered::Full)),
            Inside::Filled(queue) => queue.push_back(letter),
            Inside::Empty => *inside = Inside::Filled(Box::new(VecDeque::from([letter]))),
        }
        self.filled.store(true, Ordering::Release);
        Ok(())
    }

    /// Take the oldest out.
    pub(crate) fn pop(&self) -> Option<Letter> {
        if !self.filled.load(Ordering::Acquire) {
            return None;
        }
        let mut inside = self.inside.lock();
        let Inside::Filled(queue) = &mut *inside else { return None };
        let letter = queue.pop_front();
        if queue.is_empty() {
            *inside = Inside::Empty;
            self.filled.store(false, Ordering::Release);
        }
        letter
    }

    /// Take no more; the errands that are left come back, to be reported as [`Answered::Returned`].
    pub(crate) fn close(&self) -> Vec<Errand> {
        let inside = std::mem::replace(&mut *self.inside.lock(), Inside::Closed);
        self.filled.store(false, Ordering::Release);
        match inside {
            Inside::Filled(queue) => queue.into_iter().filter_map(Letter::errand).collect(),
            Inside::Empty | Inside::Closed => Vec::new(),
        }
    }
}

impl Letter {
    fn errand(self) -> Option<Errand> {
        match self {
            Self::Errand(errand) => Some(errand),
            Self::Question(_) => None,
        }
    }
}

/// Where connections put their reports. Putting never waits; what gathers is bounded by the errands in flight, of which each
/// has a handful of reports.
#[derive(Debug, Clone)]
pub(crate) struct Reports(UnboundedSender<Report>);

impl Reports {
    /// Where to put reports, and where they come out.
    pub(crate) fn channel() -> (Self, UnboundedReceiver<Report>) {
        let (sender, receiver) = unbounded_channel();
        (Self(sender), receiver)
    }

    /// Report. At the end of the process nobody listens any more; then the next home asks, and hears that we are gone.
    pub(crate) fn put(&self, report: Report) {
        let _ = self.0.send(report);
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// An errand with this id for this device.
    pub(in crate::down) fn errand(id: &str, device: &str, kind: &str) -> Errand {
        let text = format!(
            r#"{{"id":"{id}","device_id":"{device}","deadline":"2026-03-01T10:00:30Z","kind":"{kind}","{kind}":{{"text":"hello"}}}}"#
        );
        Errand {
            command: Arc::new(serde_json::from_str(&text).unwrap()),
            home: InstanceId { gateway: "gw-1".into(), boot: 1 },
            deadline: Duration::from_secs(30),
            warnings: Vec::new(),
            attempt: 1,
        }
    }

    fn pop(mailbox: &Mailbox) -> Option<String> {
        mailbox.pop().and_then(Letter::errand).map(|errand| errand.command.id.as_str().to_owned())
    }

    #[test]
    fn a_mailbox_keeps_the_order_and_its_bound() {
        let mailbox = Mailbox::default();
        assert!(mailbox.pop().is_none());
        for n in 0..MAILBOX {
            mailbox.push(errand(&n.to_string(), "1", "text")).unwrap();
        }
        assert_eq!(mailbox.push(errand("x", "1", "text")).unwrap_err().1, Undelivered::Full);
        for n in 0..MAILBOX {
            assert_eq!(pop(&mailbox), Some(n.to_string()));
        }
        assert!(mailbox.pop().is_none());
        mailbox.push(errand("y", "1", "text")).unwrap();
        assert_eq!(pop(&mailbox).as_deref(), Some("y"));
    }

    #[test]
    fn a_closed_mailbox_gives_back_what_is_left_and_refuses_more() {
        let mailbox = Mailbox::default();
        let (question, mut answer) = oneshot::channel();
        mailbox.push(errand("a", "1", "text")).unwrap();
        mailbox.ask(question);
        mailbox.push(errand("b", "1", "text")).unwrap();
        assert_eq!(mailbox.close().len(), 2);
        assert!(answer.try_recv().is_err());
        assert!(mailbox.pop().is_none());
        assert_eq!(mailbox.push(errand("c", "1", "text")).unwrap_err().1, Undelivered::NotHere);
        assert!(mailbox.close().is_empty());
    }

    #[test]
    fn an_idle_mailbox_is_small() {
        assert!(size_of::<Mailbox>() <= 32, "{}", size_of::<Mailbox>());
    }
}
