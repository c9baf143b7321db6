//! The records of devices that no instance holds: those that are away, and those of instances that are gone for good.
//!
//! Whoever wrote a record may never come back, under this name or at all. So each device's record is looked after by the home of
//! one partition of the commands topic, chosen by the device's id alone: there is always one, and all agree which.

use std::collections::BTreeMap;
use std::time::Duration;

use protocols::identity::DeviceId;
use protocols::time::Now;

use super::super::owner::InstanceId;
use super::super::table::Table;
use super::{Effect, Home, Reach};

/// Spreads devices over partitions.
const SPREAD: crc::Crc<u32> = crc::Crc::<u32>::new(&crc::CRC_32_ISO_HDLC);

impl Home {
    /// The commands topic has so many partitions.
    pub(crate) const fn on_spread(&mut self, partitions: u32) {
        self.spread = partitions;
    }

    /// Whether this instance looks after the record of a device that nobody holds.
    pub(crate) fn keeps(&self, device: &DeviceId) -> bool {
        let partition = SPREAD.checksum(device.as_str().as_bytes()).checked_rem(self.spread);
        partition.and_then(|p| i32::try_from(p).ok()).is_some_and(|p| self.partitions.contains_key(&p))
    }

    /// The devices that this instance looks after and that an instance is said to hold which has been out of reach for so long.
    /// The others are asked whether they are there.
    pub(crate) fn orphans(&mut self, out_of_reach: Duration, table: &Table, now: Now) -> Vec<(DeviceId, InstanceId)> {
        let mut held: BTreeMap<InstanceId, Vec<DeviceId>> = BTreeMap::new();
        for (device, instance) in table.held_elsewhere().filter(|(device, _)| self.keeps(device)) {
            held.entry(instance).or_default().push(device.clone());
        }
        let mut orphans = Vec::new();
        for (instance, devices) in held {
            let since = match self.instances.get(&instance) {
                Some(Reach::DownSince(at) | Reach::Lost(at)) => Some(*at),
                Some(Reach::Up) | None => None,
            };
            if since.is_some_and(|at| now.uptime >= at + out_of_reach) {
                // should it show by a record that it lives, it is asked anew
                self.instances.remove(&instance);
                orphans.extend(devices.into_iter().map(|device| (device, instance.clone())));
            } else {
                self.asked += 1;
                self.effects.push(Effect::Ask { of: instance, ids: Vec::new(), number: self.asked });
            }
        }
        orphans
    }
}
