//! The last few things of each device, for as many devices as are worth remembering: for a person who asks.

use std::collections::{HashMap, VecDeque};

use protocols::identity::DeviceId;

/// See the module. Empty it holds no memory.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    by_device: HashMap<DeviceId, VecDeque<T>>,
    /// Devices in the order of their first thing.
    order: VecDeque<DeviceId>,
    each: usize,
    devices: usize,
}

impl<T: Clone> Recent<T> {
    /// So many things of each of so many devices.
    pub(crate) fn new(each: usize, devices: usize) -> Self {
        Self { by_device: HashMap::new(), order: VecDeque::new(), each, devices }
    }

    /// Something of a device; the oldest of it goes, or the device that came first.
    pub(crate) fn push(&mut self, device: &DeviceId, thing: T) {
        let last = self.by_device.entry(device.clone()).or_insert_with(|| {
            self.order.push_back(device.clone());
            VecDeque::new()
        });
        if last.len() >= self.each {
            last.pop_front();
        }
        last.push_back(thing);
        if self.order.len() > self.devices
            && let Some(oldest) = self.order.pop_front()
        {
            self.by_device.remove(&oldest);
        }
    }

    /// What is remembered of a device, newest last.
    pub(crate) fn of(&self, device: &DeviceId) -> Vec<T> {
        self.by_device.get(device).into_iter().flatten().cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forgets_the_oldest_thing_and_the_oldest_device() {
        let device = |n: u32| DeviceId::normalise(&(1000 + n).to_string()).unwrap();
        let mut recent = Recent::new(2, 3);
        for n in 0..4 {
            for thing in 0..3 {
                recent.push(&device(n), thing);
            }
        }
        assert_eq!(recent.of(&device(0)), [0; 0]);
        assert!((1..4).all(|n| recent.of(&device(n)) == [1, 2]));
        assert_eq!(recent.order.len(), recent.by_device.len());
    }
}
