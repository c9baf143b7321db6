//! Kafka: three topics, one consumer group, transactions that a deposed member cannot commit.

use std::collections::BTreeMap;

use protocols::identity::DeviceId;
use protocols::time::Timestamp;

use super::super::home::{Answer, Arrived, Batch};
use super::super::table::Record;

/// After so long without a heartbeat a member is out, in milliseconds.
pub(super) const SESSION_MS: u64 = 6000;

/// Who has a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holding {
    Nobody,
    /// This member, in this generation of the partition.
    Owned(usize, u64),
    /// This member has been told to give it up.
    Revoking(usize, u64),
}

/// See the module.
#[derive(Debug)]
pub(super) struct Broker {
    pub(super) commands: Vec<Vec<Arrived>>,
    /// With the instance that wrote it.
    pub(super) outcomes: Vec<(usize, Answer)>,
    pub(super) committed: Vec<i64>,
    pub(super) sessions: Vec<(DeviceId, Option<Record>)>,
    /// Members of the group, and their last heartbeat.
    pub(super) members: BTreeMap<usize, u64>,
    pub(super) holding: Vec<Holding>,
    generation: u64,
}

impl Broker {
    pub(super) fn new(partitions: usize) -> Self {
        Self {
            commands: vec![Vec::new(); partitions],
            outcomes: Vec::new(),
            committed: vec![0; partitions],
            sessions: Vec::new(),
            members: BTreeMap::new(),
            holding: vec![Holding::Nobody; partitions],
            generation: 0,
        }
    }

    pub(super) fn produce(&mut self, partition: usize, value: Vec<u8>, timestamp: Timestamp) {
        let offset = self.commands[partition].len() as i64;
        self.commands[partition].push(Arrived { partition: partition as i32, offset, timestamp, value });
    }

    /// A member is alive: what it holds now. It joins if it is none.
    pub(super) fn heartbeat(&mut self, member: usize, now: u64) -> BTreeMap<usize, u64> {
        self.members.insert(member, now);
        self.held(member)
    }

    /// What a member holds.
    pub(super) fn held(&self, member: usize) -> BTreeMap<usize, u64> {
        let owned = |(partition, holding): (usize, &Holding)| match holding {
            Holding::Owned(who, generation) if *who == member => Some((partition, *generation)),
            _ => None,
        };
        self.holding.iter().enumerate().filter_map(owned).collect()
    }

    /// A member has given up what it was told to.
    pub(super) fn given_up(&mut self, member: usize) {
        for holding in &mut self.holding {
            if matches!(holding, Holding::Revoking(who, _) if *who == member) {
                *holding = Holding::Nobody;
            }
        }
    }

    pub(super) fn leave(&mut self, member: usize) {
        self.members.remove(&member);
        for holding in &mut self.holding {
            if matches!(holding, Holding::Owned(who, _) | Holding::Revoking(who, _) if *who == member) {
                *holding = Holding::Nobody;
            }
        }
    }

    /// The coordinator looks at its members.
    pub(super) fn coordinate(&mut self, now: u64) {
        let silent: Vec<_> = self.members.iter().filter(|(_, last)| now > **last + SESSION_MS).map(|(m, _)| *m).collect();
        for member in silent {
            self.leave(member);
        }
        let members: Vec<_> = self.members.keys().copied().collect();
        if members.is_empty() {
            return;
        }
        for (partition, holding) in self.holding.iter_mut().enumerate() {
            let target = members[partition % members.len()];
            match *holding {
                Holding::Nobody => {
                    self.generation += 1;
                    *holding = Holding::Owned(target, self.generation);
                }
                Holding::Owned(who, generation) if who != target => *holding = Holding::Revoking(who, generation),
                Holding::Owned(..) | Holding::Revoking(..) => {}
            }
        }
    }

    /// Commit a transaction of a member that holds these generations; all or nothing.
    pub(super) fn commit(&mut self, member: usize, batch: &Batch, generations: &BTreeMap<usize, u64>) -> bool {
        let holds = |partition: usize| {
            let held = self.holding[partition];
            generations.get(&partition).is_some_and(|g| held == Holding::Owned(member, *g) || held == Holding::Revoking(member, *g))
        };
        let touched = batch.offsets.keys().copied().chain(batch.answers.iter().map(|a| a.partition));
        if !touched.map(|p| p as usize).all(holds) {
            return false;
        }
        self.outcomes.extend(batch.answers.iter().map(|answer| (member, answer.clone())));
        for (partition, offset) in &batch.offsets {
            self.committed[*partition as usize] = *offset;
        }
        true
    }
}
