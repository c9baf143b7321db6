//! What all connections of the process share.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::time::Duration;

use protocols::detect::Detector;
use protocols::identity::DeviceId;
use protocols::profile::Settings;
use protocols::registry::Protocol;

use crate::capture::Captures;
use crate::config::{Devices, Network, ProxyMode};
use crate::down::owner::Reports;
use crate::faults::Faults;
use crate::ledger::{Ledger, UNDETECTED};
use crate::receipts::Receipts;
use crate::sessions::Sessions;
use crate::sink::Sink;
use crate::telemetry::Telemetry;

/// Shared by all connections.
#[derive(Debug)]
pub(crate) struct Gateway {
    /// Unique in the cluster; in every record.
    pub(crate) id: String,
    /// Where records go.
    pub(crate) sink: Arc<dyn Sink>,
    /// What ties acknowledgements to storage.
    pub(crate) receipts: Arc<Receipts>,
    /// The accounting.
    pub(crate) ledger: Arc<Ledger>,
    /// Who is connected.
    pub(crate) sessions: Arc<Sessions>,
    /// What becomes of commands.
    pub(crate) reports: Reports,
    /// Whose raw bytes somebody wants to see.
    pub(crate) captures: Captures,
    /// Bounds of connections.
    pub(crate) limits: Limits,
    /// What could not be read lately, by device.
    pub(crate) faults: Faults,
    /// Who may connect.
    pub(crate) access: Access,
    /// Metrics that are counted as things happen.
    pub(crate) telemetry: Telemetry,
    /// Whether connections are accepted yet, or were.
    pub(crate) serving: AtomicBool,
    /// Whether this instance is on its way out.
    pub(crate) draining: AtomicBool,
    /// Connections that hold a permit; see [`Limits::connections`].
    pub(crate) accepted: AtomicUsize,
}

/// Bounds of connections, from the configuration.
#[derive(Debug, Clone)]
pub(crate) struct Limits {
    /// Until a connection must have said which device it is.
    pub(crate) identify: Duration,
    /// Until a PROXY header must be there.
    pub(crate) proxy_header: Duration,
    /// How long a device may leave our bytes unread.
    pub(crate) write: Duration,
    /// Unsent bytes beyond which a connection is not read any more.
    pub(crate) outbox_bytes: usize,
    /// How long a closing connection waits: for storage, then for the device's FIN.
    pub(crate) close: Duration,
    /// Connections of the process; more wait in the kernel's queue.
    pub(crate) connections: usize,
}

/// Which devices may connect.
#[derive(Debug, Clone)]
pub(crate) enum Access {
    /// All.
    Accept,
    /// Those listed; others are told so in their protocol's words, where it has any.
    Reject(Devices),
    /// Those listed; others are closed without a word.
    Allowlist(Devices),
}

impl Access {
    /// Whether a device may connect.
    pub(crate) fn allows(&self, device: &DeviceId) -> bool {
        match self {
            Self::Accept => true,
            Self::Reject(known) | Self::Allowlist(known) => known.contains(device),
        }
    }
}

/// What the connections of one listener share; of one that recognises protocols, those that speak the same one.
#[derive(Debug)]
pub(crate) struct Port {
    /// What is spoken there.
    pub(crate) speaks: Speaks,
    /// Where its frames are counted.
    pub(crate) index: usize,
    /// Whether a PROXY header comes first.
    pub(crate) proxy: ProxyMode,
    /// Who may send one.
    pub(crate) trusted: Vec<Network>,
    /// For the sessions.
    pub(crate) settings: Arc<Settings>,
    /// How long a device may be silent.
    pub(crate) idle: Duration,
}

/// What is spoken on a port.
#[derive(Debug)]
pub(crate) enum Speaks {
    /// One protocol.
    One(&'static Protocol),
    /// Whichever the first bytes show.
    Any(Choice),
}

/// The protocols of a port that recognises them.
#[derive(Debug)]
pub(crate) struct Choice {
    /// Which they are, and which is preferred.
    pub(crate) detector: Detector,
    /// A connection that speaks one of them goes on as one of this port, at no further cost.
    pub(crate) ports: Vec<Arc<Port>>,
    /// From a connection's first byte until it must have shown what it speaks.
    pub(crate) limit: Duration,
}

impl Port {
    /// The label of what is spoken there, as in metrics and logs.
    pub(crate) fn label(&self) -> &'static str {
        match &self.speaks {
            Speaks::One(protocol) => protocol.name,
            Speaks::Any(_) => UNDETECTED,
        }
    }
}
