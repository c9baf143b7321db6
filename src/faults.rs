//! The last faults of devices that had any, for a person who asks why nothing works. All of them stand in the rejects topic.

use std::borrow::Cow;

use parking_lot::Mutex;
use protocols::fault::Fault;
use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use serde::{Deserialize, Serialize};

use crate::recent::Recent;

/// Faults remembered of a device: enough to see whether they are all of one kind.
pub(crate) const EACH: usize = 8;
/// Devices whose faults are remembered. A fleet in which more have any has another trouble than one car; with the longest
/// details they take 20 MB.
const DEVICES: usize = 10_000;
/// Characters of a detail; nearly all are shorter.
const DETAIL: usize = 160;

/// One of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Told {
    /// When.
    pub(crate) at: Timestamp,
    /// As metrics and rejects call it, or `clone`.
    pub(crate) kind: Cow<'static, str>,
    /// In words.
    pub(crate) detail: String,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Faults(Mutex<Recent<Told>>);

impl Default for Faults {
    fn default() -> Self {
        Self(Mutex::new(Recent::new(EACH, DEVICES)))
    }
}

impl Faults {
    /// Something of a device could not be used.
    pub(crate) fn note(&self, device: &DeviceId, fault: &Fault, at: Timestamp) {
        let detail = fault.detail.chars().take(DETAIL).collect();
        self.0.lock().push(device, Told { at, kind: fault.kind.label().into(), detail });
    }

    /// Two devices fight over this identity, and one has to wait.
    pub(crate) fn note_clone(&self, device: &DeviceId, peer: std::net::SocketAddr, at: Timestamp) {
        let detail = format!("{peer} also says that it is this device");
        self.0.lock().push(device, Told { at, kind: CLONE.into(), detail });
    }

    /// The last of a device, newest last.
    pub(crate) fn of(&self, device: &DeviceId) -> Vec<Told> {
        self.0.lock().of(device)
    }
}

/// The kind of what [`Faults::note_clone`] notes.
pub(crate) const CLONE: &str = "clone";
