//! Which connection belongs to which device. The newest connection of a device wins; the older is told to close.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::Waker;
use std::time::Duration;

use atomic_waker::AtomicWaker;
use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use parking_lot::{Mutex, MutexGuard};
use protocols::desk::DeviceState;
use protocols::identity::{DeviceId, SessionId};
use protocols::time::{Now, Timestamp};
use serde::Serialize;
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::oneshot;

use crate::clock;
use crate::down::Input;
use crate::down::owner::{Errand, InstanceId, Mailbox, Undelivered};
use crate::down::table::{Act, Arrival, Table, Welcome};
use crate::down::view;

/// A device that is taken over more often than [`CLONE_TAKEOVERS`] times in this time is two devices with one identity.
pub(crate) const CLONE_WINDOW: Duration = Duration::from_secs(60);
/// See [`CLONE_WINDOW`].
pub(crate) const CLONE_TAKEOVERS: u32 = 3;
/// How long a further sign-on of a clone waits: two boxes that throw each other out would else keep each other and us busy.
pub(crate) const CLONE_WAIT: Duration = Duration::from_secs(30);

/// Why somebody else wants a connection closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Order {
    /// The device has a newer connection.
    Replaced = 1,
    /// This instance is being drained.
    Drain = 2,
}

/// How the rest of the process reaches a connection.
#[derive(Debug, Default)]
pub(crate) struct Control {
    order: AtomicU8,
    waker: AtomicWaker,
    /// Errands for the device; the connection closes it at its end.
    pub(crate) mailbox: Mailbox,
}

impl Control {
    /// Ask the connection to close; the first reason stays.
    pub(crate) fn close(&self, order: Order) {
        let _ = self.order.compare_exchange(0, order as u8, Ordering::AcqRel, Ordering::Acquire);
        self.wake();
    }

    /// What was asked.
    pub(crate) fn order(&self) -> Option<Order> {
        match self.order.load(Ordering::Acquire) {
            1 => Some(Order::Replaced),
            2 => Some(Order::Drain),
            _ => None,
        }
    }

    /// Put an errand into the mailbox and wake the connection.
    ///
    /// # Errors
    /// As [`Mailbox::push`].
    pub(crate) fn deliver(&self, errand: Errand) -> Result<(), (Errand, Undelivered)> {
        self.mailbox.push(errand)?;
        self.wake();
        Ok(())
    }

    /// Have the connection look at what has changed for it.
    fn wake(&self) {
        self.waker.wake();
    }

    /// Ask the connection how its device is.
    fn ask(&self) -> oneshot::Receiver<view::Connection> {
        let (question, answer) = oneshot::channel();
        self.mailbox.ask(question);
        self.wake();
        answer
    }

    /// Be woken by [`Control::close`], [`Control::deliver`] and [`Control::ask`].
    pub(crate) fn register(&self, waker: &Waker) {
        self.waker.register(waker);
    }
}

/// A connected device, as `/sessions` shows it.
#[derive(Debug)]
pub(crate) struct Connected {
    /// The session.
    pub(crate) session: SessionId,
    /// Higher than that of any earlier session of the device.
    pub(crate) epoch: u64,
    /// Registry name.
    pub(crate) protocol: &'static str,
    /// The device's own address.
    pub(crate) peer: SocketAddr,
    /// When it was identified.
    pub(crate) since: Timestamp,
    /// Wall clock of the last bytes, milliseconds.
    pub(crate) last_received: AtomicU64,
    /// To reach the connection.
    pub(crate) control: Arc<Control>,
    /// The revision of its record that stands in the topic; 0: none yet.
    pub(crate) in_topic: AtomicU64,
}

/// One line of `/sessions`.
#[derive(Debug, Serialize)]
pub(crate) struct Shown {
    device_id: String,
    session: SessionId,
    epoch: u64,
    protocol: &'static str,
    peer: SocketAddr,
    since: Timestamp,
    last_received: Timestamp,
}

/// What became of a sign-on.
#[derive(Debug)]
pub(crate) enum SignOn {
    /// The device is this connection's; whether an older connection was closed for it.
    Here(Arc<Connected>, bool),
    /// The identity is being fought over: come again later.
    Clone,
}

/// All identified connections.
#[derive(Debug)]
pub(crate) struct Sessions {
    devices: DashMap<DeviceId, Arc<Connected>>,
    /// Every connection, identified or not, so that a drain reaches them.
    connections: DashMap<SessionId, Arc<Control>>,
    /// The devices of all instances. Never locked while an entry of `devices` is.
    table: Mutex<Table>,
    hub: OnceLock<UnboundedSender<Input>>,
}

impl Default for Sessions {
    /// Of an instance that is alone.
    fn default() -> Self {
        Self::new(Table::new(InstanceId { gateway: "alone".into(), boot: 0 }, None))
    }
}

/// A connection that wants to be known.
#[derive(Debug)]
pub(crate) struct Claim<'a> {
    /// Who it is.
    pub(crate) device: &'a DeviceId,
    /// On which session.
    pub(crate) session: SessionId,
    /// In which protocol.
    pub(crate) protocol: &'static str,
    /// From where.
    pub(crate) peer: SocketAddr,
    /// Wall clock.
    pub(crate) utc: Timestamp,
    /// Monotonic clock.
    pub(crate) uptime: Duration,
    /// To reach it.
    pub(crate) control: &'a Arc<Control>,
}

impl Sessions {
    /// With the table of this instance.
    pub(crate) fn new(table: Table) -> Self {
        Self { devices: DashMap::new(), connections: DashMap::new(), table: Mutex::new(table), hub: OnceLock::new() }
    }

    /// From now on this hub does what has to be done.
    pub(crate) fn tell(&self, hub: UnboundedSender<Input>) {
        let _ = self.hub.set(hub);
    }

    /// A connection was accepted.
    pub(crate) fn opened(&self, session: SessionId, control: &Arc<Control>) {
        self.connections.insert(session, Arc::clone(control));
    }

    /// A connection has ended.
    pub(crate) fn closed(&self, session: SessionId, device: Option<&DeviceId>) {
        self.connections.remove(&session);
        if let Some(device) = device {
            self.devices.remove_if(device, |_, c| c.session == session);
            let mut acts = Vec::new();
            self.table.lock().closed(device, session, clock::now(), &mut acts);
            self.act(acts);
        }
    }

    /// A connection says which device it is.
    pub(crate) fn sign_on(&self, claim: &Claim<'_>) -> SignOn {
        let wall = u64::try_from(claim.utc.as_millis()).unwrap_or(0);
        let peer = claim.peer.to_string();
        let arrival = Arrival { session: claim.session, protocol: claim.protocol, peer: &peer };
        let now = Now { utc: claim.utc, uptime: claim.uptime };
        let mut acts = Vec::new();
        let welcome = self.table.lock().sign_on(claim.device, &arrival, now, &mut acts);
        self.act(acts);
        let Some(Welcome { epoch, .. }) = welcome else { return SignOn::Clone };
        let here = Arc::new(Connected {
            session: claim.session,
            epoch,
            protocol: claim.protocol,
            peer: claim.peer,
            since: claim.utc,
            last_received: AtomicU64::new(wall),
            control: Arc::clone(claim.control),
            in_topic: AtomicU64::new(0),
        });
        match self.devices.entry(claim.device.clone()) {
            Entry::Vacant(entry) => {
                entry.insert(Arc::clone(&here));
                SignOn::Here(here, false)
            }
            Entry::Occupied(mut entry) => {
                let other = entry.get();
                if other.epoch > epoch {
                    // one that came later was quicker
                    here.control.close(Order::Replaced);
                } else {
                    other.control.close(Order::Replaced);
                    entry.insert(Arc::clone(&here));
                }
                SignOn::Here(here, true)
            }
        }
    }

    /// What the session of a device says the next one must know. Of a session that is not the newest it counts no more.
    /// As [`Table::keep`].
    pub(crate) fn keep(&self, connected: &Connected, device: Option<&DeviceId>, state: Option<DeviceState>) -> Option<u64> {
        let mut acts = Vec::new();
        let revision = self.table.lock().keep(device?, connected.session, state.unwrap_or_default(), &mut acts);
        self.act(acts);
        revision
    }

    /// This revision of a session's record stands in the topic.
    pub(crate) fn published(&self, device: &DeviceId, session: SessionId, revision: u64) {
        if let Some(here) = self.devices.get(device).filter(|here| here.session == session) {
            here.in_topic.fetch_max(revision, Ordering::AcqRel);
            here.control.wake();
        }
    }

    /// What the last session of a device left.
    pub(crate) fn recall(&self, device: &DeviceId) -> Option<DeviceState> {
        self.table.lock().recall(device)
    }

    /// The devices of all instances.
    pub(crate) fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock()
    }

    /// Have done what has to be done after something became known.
    pub(crate) fn act(&self, acts: Vec<Act>) {
        if let Some(hub) = self.hub.get()
            && !acts.is_empty()
        {
            let _ = hub.send(Input::Acts(acts));
        }
    }

    /// A session has a newer one elsewhere.
    pub(crate) fn replaced(&self, session: SessionId) {
        if let Some(control) = self.connections.get(&session) {
            control.close(Order::Replaced);
        }
    }

    /// Give an errand to the connection of its device.
    ///
    /// # Errors
    /// The errand, if the device has no connection here, or one that is too busy.
    pub(crate) fn deliver(&self, device: &DeviceId, errand: Errand) -> Result<(), (Errand, Undelivered)> {
        match self.devices.get(device).map(|c| Arc::clone(&c.control)) {
            Some(control) => control.deliver(errand),
            None => Err((errand, Undelivered::NotHere)),
        }
    }

    /// Ask the connection of a device how it is, if it has one here.
    pub(crate) fn ask(&self, device: &DeviceId) -> Option<oneshot::Receiver<view::Connection>> {
        self.devices.get(device).map(|c| c.control.ask())
    }

    /// Where a device is connected from.
    pub(crate) fn peer_of(&self, device: &str) -> Option<SocketAddr> {
        let id = DeviceId::normalise(device)?;
        self.devices.get(&id).map(|c| c.peer)
    }

    /// Connections, identified or not.
    pub(crate) fn open(&self) -> usize {
        self.connections.len()
    }

    /// The controls of all connections.
    pub(crate) fn controls(&self) -> Vec<Arc<Control>> {
        self.connections.iter().map(|c| Arc::clone(c.value())).collect()
    }

    /// Identified sessions by protocol name.
    pub(crate) fn by_protocol(&self, protocol: &str) -> usize {
        self.devices.iter().filter(|c| c.protocol == protocol).count()
    }

    /// At most so many sessions for `/sessions`, those of one device id prefix if given.
    pub(crate) fn shown(&self, prefix: Option<&str>, limit: usize) -> Vec<Shown> {
        let fits = |id: &DeviceId| prefix.is_none_or(|p| id.as_str().starts_with(p));
        let found = self.devices.iter().filter(|c| fits(c.key())).take(limit);
        let mut shown: Vec<_> = found
            .map(|c| Shown {
                device_id: c.key().to_string(),
                session: c.session,
                epoch: c.epoch,
                protocol: c.protocol,
                peer: c.peer,
                since: c.since,
                last_received: Timestamp::from_millis(i64::try_from(c.last_received.load(Ordering::Relaxed)).unwrap_or(0)),
            })
            .collect();
        shown.sort_by(|a, b| a.device_id.cmp(&b.device_id));
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn claim<'a>(device: &'a DeviceId, session: u64, at_s: u64, control: &'a Arc<Control>) -> Claim<'a> {
        Claim {
            device,
            session: SessionId(session),
            protocol: "jt808",
            peer: ([127, 0, 0, 1], 1).into(),
            utc: Timestamp::from_seconds(1_700_000_000 + at_s as i64),
            uptime: Duration::from_secs(at_s),
            control,
        }
    }

    #[test]
    fn the_newest_connection_wins_and_its_epoch_is_higher() {
        let (sessions, device) = (Sessions::default(), DeviceId::normalise("13800000001").unwrap());
        let controls: Vec<_> = (0..2).map(|_| Arc::new(Control::default())).collect();
        let SignOn::Here(first, false) = sessions.sign_on(&claim(&device, 1, 5, &controls[0])) else { panic!() };
        // the clock has gone back
        let SignOn::Here(second, true) = sessions.sign_on(&claim(&device, 2, 3, &controls[1])) else { panic!() };
        assert!(second.epoch > first.epoch);
        assert_eq!(controls[0].order(), Some(Order::Replaced));
        assert_eq!(controls[1].order(), None);
        // the end of the older does not take the newer away
        sessions.closed(SessionId(1), Some(&device));
        assert_eq!(sessions.by_protocol("jt808"), 1);
        sessions.closed(SessionId(2), Some(&device));
        assert_eq!(sessions.by_protocol("jt808"), 0);
    }

    #[test]
    fn a_clone_has_to_wait() {
        let (sessions, device) = (Sessions::default(), DeviceId::normalise("13800000001").unwrap());
        let control = Arc::new(Control::default());
        let here = |n, at| matches!(sessions.sign_on(&claim(&device, n, at, &control)), SignOn::Here(..));
        assert!((0..=3).all(|n| here(n, n)), "a first sign-on and three takeovers");
        assert!(!here(4, 4));
        assert!(!here(5, 59));
        assert!(here(6, 61), "a minute after the first takeover");
    }
}
