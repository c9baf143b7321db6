//! The session table: which instance holds which device, from the records of the sessions topic and our own sign-ons.
//!
//! Pure: no clock, no Kafka. Every instance reads the whole topic, so each knows where every device is. Of two records the
//! one with the higher (`epoch`, gateway) is the newer session. Whoever reads a higher one for a device that it holds closes
//! its connection; whoever reads a lower one over its own publishes its own again.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use protocols::desk::DeviceState;
use protocols::identity::{DeviceId, SessionId};
use protocols::time::{Now, Timestamp};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::owner::InstanceId;
use crate::sessions::{CLONE_TAKEOVERS, CLONE_WINDOW};

/// Devices whose takeovers are counted at once; beyond it the counts of those that were quiet for a window are forgotten.
const COUNTED: usize = 10_000;

/// For how long it is known who held a device: the longest that a command can be open.
const HISTORY_MS: i64 = 2 * 3600 * 1000;

/// Whether a device is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    /// It is.
    Connected,
    /// It was.
    Away,
}

/// The value of the sessions topic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// Whether it is connected.
    pub(crate) state: State,
    /// Since when it is so.
    pub(crate) since: Timestamp,
    /// The instance that holds the device, or held it last.
    pub(crate) gateway: Arc<str>,
    /// Which of its lives.
    #[serde(serialize_with = "write_boot", deserialize_with = "read_boot")]
    pub(crate) boot: u64,
    /// Where other instances reach it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) address: Option<Arc<str>>,
    /// Orders the sessions of a device.
    pub(crate) epoch: u64,
    /// The session.
    #[serde(deserialize_with = "read_session")]
    pub(crate) session: SessionId,
    /// Registry name.
    pub(crate) protocol: Arc<str>,
    /// The device's own address.
    pub(crate) peer: Box<str>,
    /// What its next session must know.
    #[serde(flatten)]
    pub(crate) kept: DeviceState,
    /// Of a session here: which version this is, from 1. Tells which one stands in the topic.
    #[serde(skip)]
    pub(crate) revision: u64,
}

fn write_boot<S: Serializer>(boot: &u64, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(boot)
}

fn read_boot<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
}

fn read_session<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SessionId, D::Error> {
    let text = String::deserialize(deserializer)?;
    u64::from_str_radix(&text, 16).map(SessionId).map_err(serde::de::Error::custom)
}

impl Record {
    /// Which life of which instance it names.
    pub(crate) fn instance(&self) -> InstanceId {
        InstanceId { gateway: Arc::clone(&self.gateway), boot: self.boot }
    }

    /// The higher is the newer session; two sessions of one millisecond are told apart by their instances.
    fn rank(&self) -> (u64, &str, u64) {
        (self.epoch, &self.gateway, self.session.0)
    }
}

/// What has to be done after something became known.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Act {
    /// Publish the record that the table has now for this device.
    Publish(DeviceId),
    /// Close this session: the device has a newer one elsewhere.
    Close(DeviceId, SessionId),
    /// The device has come, gone or moved.
    Moved(DeviceId),
}

/// Where a device is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Not connected, as far as is known.
    Nobody,
    /// Connected to this instance, here or elsewhere.
    At(InstanceId),
}

/// A device that signs on here.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Arrival<'a> {
    /// On which session.
    pub(crate) session: SessionId,
    /// In which protocol.
    pub(crate) protocol: &'a str,
    /// From where.
    pub(crate) peer: &'a str,
}

/// What a new session starts from.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Welcome {
    /// Higher than that of any earlier session of the device.
    pub(crate) epoch: u64,
    /// What the earlier one left.
    pub(crate) inherited: DeviceState,
}

#[derive(Debug, Clone)]
struct Entry {
    record: Record,
    /// The connection is ours.
    own: bool,
    /// All others can know of it. Before that it gets no commands: should we die, nobody would think of asking us for them.
    public: bool,
    /// The instances that held the device before, and until when: each once, and only those of the last [`HISTORY_MS`].
    before: Vec<(InstanceId, Timestamp)>,
}

#[derive(Debug, Clone, Copy)]
struct Takeovers {
    first: Duration,
    last: Duration,
    count: u32,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Table {
    me: InstanceId,
    /// Where other instances reach us.
    address: Option<Arc<str>>,
    /// Boxed: a map has up to twice as many places as entries, and there are as many entries as cars.
    devices: HashMap<DeviceId, Box<Entry>>,
    takeovers: HashMap<DeviceId, Takeovers>,
    /// Addresses of instances, newest known.
    addresses: HashMap<InstanceId, Arc<str>>,
    /// Names of protocols, as records share them.
    protocols: Vec<Arc<str>>,
    /// There are no others.
    alone: bool,
}

impl Table {
    /// An empty one; without an address for an instance that is alone.
    pub(crate) fn new(me: InstanceId, address: Option<Arc<str>>) -> Self {
        let alone = address.is_none();
        Self {
            me,
            address,
            devices: HashMap::new(),
            takeovers: HashMap::new(),
            addresses: HashMap::new(),
            protocols: Vec::new(),
            alone,
        }
    }

    /// A device says who it is on a connection of ours; `None`: its identity is fought over, it has to wait.
    pub(crate) fn sign_on(&mut self, device: &DeviceId, arrival: &Arrival<'_>, now: Now, acts: &mut Vec<Act>) -> Option<Welcome> {
        let known = self.devices.get(device);
        let taken_over = known.is_some_and(|k| k.record.state == State::Connected);
        if taken_over && !self.count_takeover(device, now.uptime) {
            return None;
        }
        let known = self.devices.get(device);
        let wall = u64::try_from(now.utc.as_millis()).unwrap_or(0);
        let epoch = known.map_or(wall, |k| wall.max(k.record.epoch + 1));
        let inherited = known.map_or_else(DeviceState::default, |k| k.record.kept.clone());
        let record = Record {
            state: State::Connected,
            since: now.utc,
            gateway: Arc::clone(&self.me.gateway),
            boot: self.me.boot,
            address: self.address.clone(),
            epoch,
            session: arrival.session,
            protocol: arrival.protocol.into(),
            peer: arrival.peer.into(),
            kept: inherited.clone(),
            revision: 1,
        };
        self.put(device, record, true);
        acts.push(Act::Publish(device.clone()));
        if self.alone {
            acts.push(Act::Moved(device.clone()));
        }
        Some(Welcome { epoch, inherited })
    }

    /// A record that was to be published is in the topic.
    pub(crate) fn published(&mut self, device: &DeviceId, session: SessionId, acts: &mut Vec<Act>) {
        if let Some(entry) = self.own(device, session)
            && !std::mem::replace(&mut entry.public, true)
        {
            acts.push(Act::Moved(device.clone()));
        }
    }

    /// A connection of ours has ended.
    pub(crate) fn closed(&mut self, device: &DeviceId, session: SessionId, now: Now, acts: &mut Vec<Act>) {
        let Some(entry) = self.own(device, session) else { return };
        entry.own = false;
        entry.record.state = State::Away;
        entry.record.since = now.utc;
        acts.extend([Act::Publish(device.clone()), Act::Moved(device.clone())]);
    }

    /// What the next session must know has changed, perhaps. The revision of the record that says so; `None` where there is
    /// nothing to wait for, since it is not published or not ours.
    pub(crate) fn keep(&mut self, device: &DeviceId, session: SessionId, kept: DeviceState, acts: &mut Vec<Act>) -> Option<u64> {
        let alone = self.alone;
        let entry = self.own(device, session)?;
        if entry.record.kept != kept {
            entry.record.kept = kept;
            entry.record.revision += 1;
            acts.push(Act::Publish(device.clone()));
        }
        (!alone).then_some(entry.record.revision)
    }

    /// Change what the next session of a device that is not connected anywhere must know; false if it is connected, or `change`
    /// refuses.
    pub(crate) fn keep_away(
        &mut self,
        device: &DeviceId,
        now: Now,
        change: impl FnOnce(&mut DeviceState) -> bool,
        acts: &mut Vec<Act>,
    ) -> bool {
        let entry = self.devices.entry(device.clone()).or_insert_with(|| {
            Box::new(Entry {
                // never seen: any session that comes is newer
                record: Record {
                    state: State::Away,
                    since: now.utc,
                    gateway: Arc::clone(&self.me.gateway),
                    boot: self.me.boot,
                    address: None,
                    epoch: 0,
                    session: SessionId(0),
                    protocol: "".into(),
                    peer: "".into(),
                    kept: DeviceState::default(),
                    revision: 0,
                },
                own: false,
                public: true,
                before: Vec::new(),
            })
        });
        let kept = entry.record.state == State::Away && change(&mut entry.record.kept);
        if kept {
            acts.push(Act::Publish(device.clone()));
        }
        kept
    }

    /// A record of the topic; `None` is one without a value.
    pub(crate) fn on_record(&mut self, device: &DeviceId, record: Option<Record>, now: Now, acts: &mut Vec<Act>) {
        let Some(record) = record else {
            match self.devices.get(device) {
                Some(entry) if entry.own => acts.push(Act::Publish(device.clone())),
                _ => drop(self.devices.remove(device)),
            }
            return;
        };
        let Some(entry) = self.devices.get_mut(device) else {
            self.put(device, record, false);
            acts.push(Act::Moved(device.clone()));
            return;
        };
        if record.rank() < entry.record.rank() && entry.record.instance() != record.instance() {
            // read late: it had the device until the newer session came
            let (instance, until) = (record.instance(), record.since.max(entry.record.since));
            entry.before.retain(|(other, _)| *other != instance);
            entry.before.push((instance, until));
        }
        let (old, new) = (entry.record.rank(), record.rank());
        if entry.own {
            if new > old {
                let ours = entry.record.session;
                self.count_takeover(device, now.uptime);
                self.put(device, record, false);
                acts.extend([Act::Close(device.clone(), ours), Act::Moved(device.clone())]);
            } else if new < old || record.state == State::Away {
                // of an earlier session, or of an instance that took us for gone
                acts.push(Act::Publish(device.clone()));
            }
        } else if new == old && record.state == State::Connected && record.instance() == self.me {
            // what we said before the connection ended; it may have come after what we said then
            acts.push(Act::Publish(device.clone()));
        } else if new >= old {
            if new > old && entry.record.state == State::Connected && record.state == State::Connected {
                self.count_takeover(device, now.uptime);
            }
            self.put(device, record, false);
            acts.push(Act::Moved(device.clone()));
        }
    }

    /// The topic has been read to its end for the first time: what an earlier life of ours had connected is not connected.
    pub(crate) fn loaded(&mut self, now: Now, acts: &mut Vec<Act>) {
        for (device, entry) in &mut self.devices {
            let record = &mut entry.record;
            if record.state == State::Connected && record.gateway == self.me.gateway && record.boot != self.me.boot {
                record.state = State::Away;
                record.since = now.utc;
                acts.extend([Act::Publish(device.clone()), Act::Moved(device.clone())]);
            }
        }
    }

    /// Devices that went away so long ago that nothing more will be asked about them; `mine` chooses whose records we end.
    pub(crate) fn forget(&mut self, before: Timestamp, mine: impl Fn(&DeviceId) -> bool) -> Vec<DeviceId> {
        let old = |e: &Entry| e.record.state == State::Away && e.record.since < before;
        let gone: Vec<_> = self.devices.iter().filter(|(d, e)| old(e) && mine(d)).map(|(d, _)| d.clone()).collect();
        for device in &gone {
            self.devices.remove(device);
        }
        gone
    }

    /// Where a device is.
    pub(crate) fn owner(&self, device: &DeviceId) -> Owner {
        match self.devices.get(device) {
            Some(entry) if entry.record.state == State::Connected && entry.public => Owner::At(entry.record.instance()),
            _ => Owner::Nobody,
        }
    }

    /// What a device's next session goes on with.
    pub(crate) fn recall(&self, device: &DeviceId) -> Option<DeviceState> {
        self.devices.get(device).map(|e| e.record.kept.clone()).filter(|kept| *kept != DeviceState::default())
    }

    /// The record of a device.
    pub(crate) fn record(&self, device: &DeviceId) -> Option<&Record> {
        self.devices.get(device).map(|entry| &entry.record)
    }

    /// Devices that other instances say they hold.
    pub(crate) fn held_elsewhere(&self) -> impl Iterator<Item = (&DeviceId, InstanceId)> {
        let held = self.devices.iter().filter(|(_, e)| !e.own && e.record.state == State::Connected);
        held.map(|(device, e)| (device, e.record.instance()))
    }

    /// The instance that says it holds this device is gone for good: nobody holds it.
    pub(crate) fn orphaned(&mut self, device: &DeviceId, of: &InstanceId, now: Now, acts: &mut Vec<Act>) {
        let Some(entry) = self.devices.get_mut(device) else { return };
        if !entry.own && entry.record.state == State::Connected && entry.record.instance() == *of {
            entry.record.state = State::Away;
            entry.record.since = now.utc;
            acts.extend([Act::Publish(device.clone()), Act::Moved(device.clone())]);
        }
    }

    /// Where an instance is reached.
    pub(crate) fn address(&self, instance: &InstanceId) -> Option<&Arc<str>> {
        self.addresses.get(instance)
    }

    /// Every instance that a device is connected to, or was last.
    pub(crate) fn instances(&self) -> Vec<InstanceId> {
        let mut all: Vec<_> = self.addresses.keys().cloned().chain([self.me.clone()]).collect();
        all.sort();
        all.dedup();
        all
    }

    /// The instances that may have had a connection of the device since then.
    pub(crate) fn exposure(&self, device: &DeviceId, since: Timestamp) -> Vec<InstanceId> {
        let Some(entry) = self.devices.get(device) else { return Vec::new() };
        let record = &entry.record;
        let mut all = Vec::new();
        if record.epoch > 0 && (record.state == State::Connected || record.since >= since) {
            all.push(record.instance());
        }
        for (instance, until) in &entry.before {
            if *until >= since && !all.contains(instance) {
                all.push(instance.clone());
            }
        }
        all
    }

    /// One text for all devices of a protocol.
    fn name(&mut self, protocol: &str) -> Arc<str> {
        if let Some(known) = self.protocols.iter().find(|known| ***known == *protocol) {
            return Arc::clone(known);
        }
        let name: Arc<str> = protocol.into();
        self.protocols.push(Arc::clone(&name));
        name
    }

    fn own(&mut self, device: &DeviceId, session: SessionId) -> Option<&mut Entry> {
        self.devices.get_mut(device).map(|entry| &mut **entry).filter(|entry| entry.own && entry.record.session == session)
    }

    fn put(&mut self, device: &DeviceId, mut record: Record, own: bool) {
        record.protocol = self.name(&record.protocol);
        let instance = record.instance();
        if let Some(address) = &record.address {
            match self.addresses.get(&instance) {
                // one text for all devices of an instance
                Some(known) if known == address => record.address = Some(Arc::clone(known)),
                _ => {
                    // a newer life ends the older ones
                    self.addresses.retain(|i, _| i.gateway != instance.gateway || i.boot >= instance.boot);
                    self.addresses.insert(instance.clone(), Arc::clone(address));
                }
            }
        }
        match self.devices.get_mut(device) {
            Some(entry) => {
                let (old, until) = (entry.record.instance(), record.since);
                // epoch 0: what a home keeps of a device that was never seen
                if old != instance && entry.record.epoch > 0 {
                    entry.before.retain(|(other, at)| *other != old && *at >= until.plus_millis(-HISTORY_MS));
                    entry.before.push((old, until));
                }
                (entry.record, entry.own, entry.public) = (record, own, !own || self.alone);
            }
            None => {
                let entry = Entry { record, own, public: !own || self.alone, before: Vec::new() };
                self.devices.insert(device.clone(), Box::new(entry));
            }
        }
    }

    /// One more takeover: whether it is within what one device does.
    fn count_takeover(&mut self, device: &DeviceId, now: Duration) -> bool {
        if self.takeovers.len() >= COUNTED {
            self.takeovers.retain(|_, t| now < t.last + CLONE_WINDOW);
        }
        let counted = self.takeovers.entry(device.clone()).or_insert(Takeovers { first: now, last: now, count: 0 });
        if now >= counted.first + CLONE_WINDOW {
            *counted = Takeovers { first: now, last: now, count: 0 };
        }
        counted.last = now;
        counted.count += 1;
        counted.count <= CLONE_TAKEOVERS
    }
}

#[cfg(test)]
mod tests;
