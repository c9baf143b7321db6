//! Partitions come and go; instances are asked, can be reached, cannot be reached, are lost.
//!
//! A new home first reads which commands have an outcome already, then asks every instance what it has of the others. One that
//! does not answer in time keeps nobody waiting but the commands that it may have.

use std::collections::{BTreeSet, HashSet};

use protocols::command::CommandId;
use protocols::outcome::Ending;
use protocols::time::{Now, Timestamp};

use super::super::holder::Known;
use super::super::owner::{Answered, InstanceId};
use super::super::table::Table;
use super::{ASKING, AnswerBody, BEHIND_MS, Effect, Finished, Home, Partition, Phase, Place, Reach};

impl Home {
    /// A partition is ours: records come from `start` on; those below `boundary` were there before.
    pub(crate) fn on_assigned(&mut self, number: i32, start: i64, boundary: i64, now: Now) {
        self.wake(now);
        let nothing_open = start >= boundary;
        if nothing_open {
            // only to know ids again that come a second time
            self.effects.push(Effect::ReadOutcomes { partition: number, since: now.utc });
        }
        let (raw, finished) = (Vec::new(), HashSet::new());
        let phase = Phase::Reading { boundary, raw, asked_for_outcomes: nothing_open, outcomes_read: false, finished };
        self.held += 1;
        let partition = Partition { phase, next: start, unfinished: BTreeSet::new(), committed: start, holding: self.held };
        self.partitions.insert(number, partition);
    }

    /// A partition is another's: its commands, too. What is unwritten of them is forgotten.
    pub(crate) fn on_revoked(&mut self, number: i32) {
        self.partitions.remove(&number);
        let gone: Vec<CommandId> = self.commands.iter().filter(|(_, p)| p.partition == number).map(|(id, _)| id.clone()).collect();
        for id in gone {
            let Some(pending) = self.commands.remove(&id) else { continue };
            self.due.remove(&(pending.deadline, id.clone()));
            if let Some(of_device) = self.by_device.get_mut(&pending.command.device_id) {
                of_device.retain(|other| *other != id);
                if of_device.is_empty() {
                    self.by_device.remove(&pending.command.device_id);
                }
            }
        }
        let (lost, kept) = std::mem::take(&mut self.outbox).into_iter().partition(|answer| answer.partition == number);
        self.outbox = kept;
        for answer in &Vec::from(lost) {
            if let AnswerBody::Outcome(_) = answer.body {
                self.unremember(answer);
            }
        }
        if self.partitions.is_empty() {
            self.unconfirmed = false;
        }
    }

    /// The first record of a former home tells from when on its outcomes matter.
    pub(super) fn begin_reading(&mut self, number: i32) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        if let Phase::Reading { raw, asked_for_outcomes, .. } = &mut partition.phase
            && !*asked_for_outcomes
            && let Some(first) = raw.first()
        {
            *asked_for_outcomes = true;
            self.effects.push(Effect::ReadOutcomes { partition: number, since: first.timestamp });
        }
    }

    /// These have an outcome already.
    pub(crate) fn on_outcomes_read(&mut self, number: i32, known: HashSet<Finished>, table: &Table, now: Now) {
        self.wake(now);
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        let Phase::Reading { raw, outcomes_read, finished, .. } = &mut partition.phase else { return };
        let raw = std::mem::take(raw);
        finished.clone_from(&known);
        *outcomes_read = true;
        for record in raw {
            self.read_again(record, table, now);
        }
        for finished in &known {
            if let Finished::Id(id) = finished {
                self.remember(id);
            }
        }
        self.begin_asking(number, table, now);
    }

    /// All records of the former home are here: ask about those without an outcome.
    pub(super) fn begin_asking(&mut self, number: i32, table: &Table, now: Now) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        match &partition.phase {
            Phase::Reading { boundary, outcomes_read: true, .. } if partition.next >= *boundary => {}
            _ => return,
        }
        let of_ours = self.commands.values().filter(|p| p.partition == number && p.place == Place::Recovering);
        let ids: Vec<CommandId> = of_ours.map(|p| p.command.id.clone()).collect();
        let left: BTreeSet<_> = if ids.is_empty() { BTreeSet::new() } else { table.instances().into_iter().collect() };
        self.asked += 1;
        let asking = self.asked;
        for of in &left {
            self.effects.push(Effect::Ask { of: of.clone(), ids: ids.clone(), number: asking });
        }
        partition.phase = Phase::Asking { number: asking, left, answered: BTreeSet::new(), until: now.uptime + ASKING };
        self.close_asking(number, table, now);
    }

    /// An instance says what it knows of the commands that it was asked about.
    pub(crate) fn on_known(&mut self, of: &InstanceId, asked: u64, known: Vec<(CommandId, Known)>, table: &Table, now: Now) {
        self.wake(now);
        for (id, known) in known {
            let late = self.commands.get(&id).is_some_and(|p| asked < p.handed_before);
            let over = matches!(&known, Known::Ended { answered: Answered::Outcome(_), .. });
            match known {
                // said before our errand arrived there
                Known::Never | Known::Ended { .. } if late && !over => {}
                Known::Never => match self.commands.get(&id).map(|p| &p.place) {
                    Some(Place::Doubt(_)) => self.cleared(&id, of, table, now),
                    // it had it and forgot it: as if it were another instance now
                    Some(Place::At(at)) if at == of => self.lost_with(&id, of, table, now),
                    _ => {}
                },
                Known::Here { stage, attempt } => {
                    if let Some(pending) = self.commands.get_mut(&id)
                        && matches!(pending.place, Place::Recovering | Place::Doubt(_))
                    {
                        pending.place = Place::At(of.clone());
                        pending.attempts = pending.attempts.max(attempt.saturating_sub(1));
                        pending.seen = true;
                    }
                    if let Some((stage, at)) = stage {
                        self.on_stage(&id, stage, at);
                    }
                }
                Known::Ended { answered, attempt } => {
                    if let Some(pending) = self.commands.get_mut(&id) {
                        pending.attempts = pending.attempts.max(attempt.saturating_sub(1));
                    }
                    self.effects.push(Effect::Acknowledge { to: of.clone(), id: id.clone() });
                    self.on_remembered_end(&id, of, answered, table, now);
                }
            }
        }
        for number in self.partitions.keys().copied().collect::<Vec<_>>() {
            if let Some(Partition { phase: Phase::Asking { number, left, answered, .. }, .. }) = self.partitions.get_mut(&number)
                && *number == asked
                && left.remove(of)
            {
                answered.insert(of.clone());
            }
            self.close_asking(number, table, now);
        }
    }

    /// While others are still to be asked, an end of one of several attempts does not decide.
    fn on_remembered_end(&mut self, id: &CommandId, of: &InstanceId, answered: Answered, table: &Table, now: Now) {
        let recovering = self.commands.get(id).is_some_and(|p| p.place == Place::Recovering);
        match answered {
            Answered::Returned if recovering => {}
            // nor that it came too late there: it may have gone out elsewhere
            Answered::Outcome(outcome) if recovering && outcome.result == Ending::Expired && outcome.attempts == 0 => {}
            Answered::Cut { sent_at, attempts } if recovering => {
                if let Some(pending) = self.commands.get_mut(id) {
                    pending.attempts = pending.attempts.max(attempts);
                    pending.sent_at = pending.sent_at.or(Some(sent_at));
                    pending.seen = true;
                }
            }
            answered => self.on_ended(id, of, answered, table, now),
        }
    }

    /// Everybody has answered, or has had time to: go on.
    pub(super) fn close_asking(&mut self, number: i32, table: &Table, now: Now) {
        let Some(partition) = self.partitions.get_mut(&number) else { return };
        let answered = match &partition.phase {
            Phase::Asking { left, answered, until, .. } if left.is_empty() || now.uptime >= *until => answered.clone(),
            _ => return,
        };
        partition.phase = Phase::Open;
        let of_ours = self.commands.values().filter(|p| p.partition == number && p.place == Place::Recovering);
        let mut ids: Vec<_> = of_ours.map(|p| (p.offset, p.command.id.clone())).collect();
        ids.sort();
        for (_, id) in ids {
            let Some(pending) = self.commands.get_mut(&id) else { continue };
            let since = pending.arrived.plus_millis(-BEHIND_MS);
            let among: Vec<_> =
                table.exposure(&pending.command.device_id, since).into_iter().filter(|i| !answered.contains(i)).collect();
            if !among.is_empty() {
                for instance in &among {
                    let reach = self.instances.entry(instance.clone()).or_insert(Reach::DownSince(now.uptime));
                    if let Reach::Lost(_) = reach {
                        *reach = Reach::DownSince(now.uptime);
                    }
                }
                pending.place = Place::Doubt(among);
            } else if pending.attempts > 0 {
                self.written_and_gone(&id, table, now);
            } else {
                self.back(&id, table, now);
            }
        }
        self.dispatch_all(|p| p.partition == number, table, now);
    }

    /// An instance can be reached (again): ask it about everything that it has or may have.
    pub(crate) fn on_up(&mut self, instance: &InstanceId, table: &Table, now: Now) {
        self.wake(now);
        self.instances.insert(instance.clone(), Reach::Up);
        if self.unconfirmed {
            return; // whoever asks wants the reports from then on, and they may be another home's by now
        }
        self.ask_again(instance, table, now);
    }

    /// Ask an instance about everything that it has or may have, and hand it what waits for it.
    fn ask_again(&mut self, instance: &InstanceId, table: &Table, now: Now) {
        let here = |p: &super::Pending| table.owner(&p.command.device_id) == super::Owner::At(instance.clone());
        let theirs = |p: &super::Pending| match &p.place {
            Place::At(at) => at == instance,
            Place::Doubt(among) => among.contains(instance),
            Place::Spent => here(p),
            Place::Recovering | Place::Waiting => false,
        };
        let mut ids: Vec<_> = self.commands.values().filter(|p| theirs(p)).map(|p| p.command.id.clone()).collect();
        ids.sort();
        if !ids.is_empty() {
            self.asked += 1;
            self.effects.push(Effect::Ask { of: instance.clone(), ids, number: self.asked });
        }
        self.dispatch_all(here, table, now);
    }

    /// A commit has shown that the partitions are still ours: do what had to wait for that.
    pub(crate) fn on_confirmed(&mut self, table: &Table, now: Now) {
        self.wake(now);
        self.unconfirmed = false;
        let reached = self.instances.iter().filter(|(_, reach)| **reach == Reach::Up).map(|(i, _)| i);
        let mut up: Vec<_> = reached.chain([&self.me]).cloned().collect();
        up.sort();
        up.dedup();
        for instance in up {
            self.ask_again(&instance, table, now);
        }
        let mut spent: Vec<_> = self.commands.values().filter(|p| p.place == Place::Spent).map(|p| p.command.id.clone()).collect();
        spent.sort();
        for id in spent {
            self.seek(&id, table);
        }
        self.dispatch_all(|_| true, table, now);
    }

    /// An instance cannot be reached.
    pub(crate) fn on_down(&mut self, instance: &InstanceId, now: Now) {
        self.wake(now);
        let reach = self.instances.entry(instance.clone()).or_insert(Reach::Up);
        if *reach == Reach::Up {
            *reach = Reach::DownSince(now.uptime);
        }
    }

    /// An instance is gone for good: nobody can know what it wrote.
    pub(crate) fn on_lost(&mut self, instance: &InstanceId, table: &Table, now: Now) {
        self.wake(now);
        let since = match self.instances.get(instance) {
            Some(Reach::DownSince(at) | Reach::Lost(at)) => *at,
            Some(Reach::Up) | None => now.uptime,
        };
        self.instances.insert(instance.clone(), Reach::Lost(since));
        let mut ids: Vec<_> = self.commands.values().map(|p| (p.partition, p.offset, p.command.id.clone())).collect();
        ids.sort();
        for (_, _, id) in ids {
            self.lost_with(&id, instance, table, now);
        }
    }

    /// From when on outcomes may be of these commands; clocks of brokers and instances differ.
    pub(crate) fn outcomes_since(since: Timestamp) -> Timestamp {
        const LOOK_BACK_MS: i64 = 10 * 60 * 1000;
        since.plus_millis(-LOOK_BACK_MS)
    }
}
