//! Instances among themselves: a home hands errands over, asks, and hears reports, on a connection that it keeps open.
//!
//! ```text
//!   home: Peers ─▶ link, one task for each instance ──TCP, or TLS──▶ listen, one task for each connection: holder
//! ```
//!
//! Both sides prove that they know a secret of the cluster before anything else, see `wire`; with TLS they have shown
//! certificates of the cluster's CA before that. Whoever does not answer, does not read or does not prove anything costs one
//! task for a bounded time and keeps nobody else waiting: a home puts its words into a queue and goes on.

mod link;
mod listen;
mod wire;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocols::command::{Command, CommandId};
use protocols::identity::DeviceId;
use serde::{Deserialize, Serialize};
use tokio::net::TcpListener;
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio_util::sync::CancellationToken;

use super::holder::Known;
use super::hub::Input;
use super::owner::{Errand, HomeId, InstanceId, Report, Undelivered};
use super::view::View;
use link::Link;
use listen::Door;
pub(crate) use wire::Security;

/// To connect: instances stand in one data centre.
const CONNECT: Duration = Duration::from_millis(200);
/// For any answer; then the instance counts as out of reach.
pub(super) const ANSWER: Duration = Duration::from_secs(1);
/// Between two pings.
const PING: Duration = Duration::from_millis(300);
/// Messages that wait for an instance; beyond that the link counts as broken, and commands stay at their home.
const QUEUE: usize = 10_000;

/// What instances say to each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// A home hands an errand over.
    Hand(Box<Handed>),
    /// It was taken, or not.
    Handed {
        /// Which.
        id: CommandId,
        /// Why not.
        refused: Option<Undelivered>,
    },
    /// What is known of these?
    Ask {
        /// Which.
        ids: Vec<CommandId>,
        /// Comes back with the answer.
        number: u64,
    },
    /// This.
    Known {
        /// Of each.
        known: Vec<(CommandId, Known)>,
        /// That of the question.
        number: u64,
    },
    /// A command is so far, or over.
    Report(Report),
    /// Its end was heard.
    Acknowledge(CommandId),
    /// What is known of this device? For a person who asks.
    Look {
        /// Which.
        device: DeviceId,
        /// Comes back with the answer.
        number: u64,
    },
    /// This.
    Seen {
        /// That of the question.
        number: u64,
        /// What is known.
        view: Box<View>,
    },
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// An errand on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Handed {
    command: Command,
    home: HomeId,
    /// On the sender's monotonic clock; when it arrives, on ours.
    deadline: Duration,
    warnings: Vec<String>,
    attempt: u32,
}

impl From<Errand> for Box<Handed> {
    fn from(errand: Errand) -> Self {
        let Errand { command, home, deadline, warnings, attempt } = errand;
        Self::new(Handed { command: Arc::unwrap_or_clone(command), home, deadline, warnings, attempt })
    }
}

impl From<Box<Handed>> for Errand {
    fn from(handed: Box<Handed>) -> Self {
        let Handed { command, home, deadline, warnings, attempt } = *handed;
        Self { command: Arc::new(command), home, deadline, warnings, attempt }
    }
}

/// The connections of this instance to others.
#[derive(Debug)]
pub(crate) struct Peers {
    me: InstanceId,
    security: Arc<Security>,
    inputs: UnboundedSender<Input>,
    links: HashMap<InstanceId, (UnboundedSender<Message>, Arc<AtomicUsize>)>,
    stop: CancellationToken,
}

impl Peers {
    /// Listen to others.
    pub(crate) fn start(
        listener: TcpListener,
        me: InstanceId,
        security: Security,
        inputs: UnboundedSender<Input>,
        stop: CancellationToken,
    ) -> Self {
        let security = Arc::new(security);
        let door = Door { me: me.clone(), security: Arc::clone(&security), inputs: inputs.clone(), stop: stop.clone() };
        tokio::spawn(listen::listen(listener, door));
        let renewing = Arc::clone(&security);
        let stopped = stop.clone();
        tokio::spawn(async move {
            tokio::select! {
                () = stopped.cancelled() => {}
                () = renewing.renew() => {}
            }
        });
        Self { me, security, inputs, links: HashMap::new(), stop }
    }

    /// Say something to an instance, connecting to it if need be.
    pub(crate) fn send(&mut self, to: &InstanceId, address: &Arc<str>, message: Message) {
        self.links.retain(|_, (link, _)| !link.is_closed());
        let (link, waiting) = self.links.entry(to.clone()).or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            let waiting = Arc::new(AtomicUsize::new(0));
            let link = Link::new(
                self.me.clone(),
                to.clone(),
                Arc::clone(address),
                Arc::clone(&self.security),
                self.inputs.clone(),
                Arc::clone(&waiting),
            );
            tokio::spawn(link.run(receiver, self.stop.clone()));
            (sender, waiting)
        });
        if waiting.fetch_add(1, Ordering::Relaxed) >= QUEUE {
            waiting.fetch_sub(1, Ordering::Relaxed);
            let _ = self.inputs.send(Input::PeerDown(to.clone()));
        } else {
            let _ = link.send(message);
        }
    }
}

#[cfg(test)]
mod tests;
