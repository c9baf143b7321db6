//! Commands arrive: read, known again, put in the place of earlier ones.

use std::sync::Arc;
use std::time::Duration;

use protocols::command::{Command, CommandId, InvalidReason, Kind, Received, read};
use protocols::outcome::{Ending, EndingReason, Outcome};
use protocols::time::{Now, Timestamp};

use super::super::table::Table;
use super::super::target::{Target, target};
use super::{Arrived, Finished, Home, Pending, Phase, Place, RecordPlace};

impl Home {
    /// A record of a partition of ours.
    pub(crate) fn on_record(&mut self, record: Arrived, table: &Table, now: Now) {
        self.wake(now);
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return };
        if record.offset < partition.next {
            return;
        }
        partition.next = record.offset + 1;
        partition.unfinished.insert(record.offset);
        let number = record.partition;
        match &mut partition.phase {
            Phase::Reading { raw, outcomes_read: false, .. } => {
                raw.push(record);
                self.begin_reading(number);
            }
            Phase::Reading { .. } => {
                self.read_again(record, table, now);
                self.begin_asking(number, table, now);
            }
            Phase::Asking { .. } | Phase::Open => self.accept(&record, Place::Waiting, table, now),
        }
    }

    /// Read a record and take it in, at this place.
    pub(super) fn accept(&mut self, record: &Arrived, place: Place, table: &Table, now: Now) {
        let latest = now.utc.plus_millis(i64::try_from(self.max_deadline.as_millis()).unwrap_or(i64::MAX));
        let (number, offset) = (record.partition, record.offset);
        let Received { command, warnings } = match read(&record.value, latest) {
            Ok(received) => received,
            Err(invalid) => {
                if let Some(id) = &invalid.command_id
                    && self.is_repeated(id)
                    && place == Place::Waiting
                {
                    self.counts.repeated += 1;
                    self.finished(number, offset);
                    return;
                }
                let outcome = Outcome {
                    command_id: invalid.command_id.as_ref().map(|id| id.as_str().to_owned()),
                    reason: Some(match invalid.reason {
                        InvalidReason::Json => EndingReason::Json,
                        InvalidReason::Field => EndingReason::Field,
                        InvalidReason::Deadline => EndingReason::Deadline,
                    }),
                    warnings: vec![invalid.detail],
                    record: invalid.command_id.is_none().then_some(RecordPlace { partition: number, offset }),
                    ..unwritten(Ending::Invalid)
                };
                if let Some(id) = &invalid.command_id {
                    self.remember(id);
                }
                self.answer(number, invalid.device_id, outcome, (None, Duration::ZERO), now);
                self.finished(number, offset);
                return;
            }
        };
        // what a former home had and did not end is ours, also if that home was this one
        let taken_over = place == Place::Recovering && !self.commands.contains_key(&command.id);
        if self.is_repeated(&command.id) && !taken_over {
            self.counts.repeated += 1;
            self.finished(number, offset);
            return;
        }
        let left = command.deadline.as_millis() - now.utc.as_millis();
        let deadline = now.uptime + Duration::from_millis(u64::try_from(left).unwrap_or(0));
        let id = command.id.clone();
        let device = command.device_id.clone();
        let pending = Pending {
            command: Arc::new(command),
            partition: number,
            offset,
            arrived: record.timestamp,
            received: now.uptime,
            deadline,
            warnings,
            place,
            attempts: 0,
            sent_at: None,
            stage: None,
            seen: matches!(table.owner(&device), super::Owner::At(_)),
            superseded: false,
            handed_before: 0,
        };
        let command = Arc::clone(&pending.command);
        self.commands.insert(id.clone(), pending);
        self.due.insert((deadline, id.clone()));
        let earlier = self.by_device.get(&device).cloned().unwrap_or_default();
        self.by_device.entry(device).or_default().push(id.clone());
        if self.replace(&command, &earlier, now) {
            self.dispatch(&id, table, now);
        }
    }

    /// Earlier commands about the same give way; whether the new one is still to be sent.
    fn replace(&mut self, command: &Command, earlier: &[CommandId], now: Now) -> bool {
        let Some(about) = target(&command.kind) else { return true };
        let mut same = Vec::new();
        for id in earlier {
            if self.commands.get(id).is_some_and(|p| target(&p.command.kind).as_ref() == Some(&about)) {
                same.push(id.clone());
            }
        }
        if same.is_empty() {
            return true;
        }
        for id in &same {
            match self.commands.get_mut(id) {
                Some(pending) if matches!(pending.place, Place::Waiting | Place::Spent) => {}
                Some(pending) => pending.superseded = true,
                None => {}
            }
        }
        let fresh = self.commands.get(&command.id).is_some_and(|p| p.place == Place::Waiting);
        let unseen = fresh && self.nothing_shown(&about, &same);
        for id in &same {
            if self.commands.get(id).is_some_and(|p| matches!(p.place, Place::Waiting | Place::Spent)) {
                self.finish(id, Ending::Superseded, None, now);
            }
        }
        if unseen && matches!(command.kind, Kind::OrderCancel(_)) {
            self.finish(&command.id, Ending::Acknowledged, Some(EndingReason::NotShown), now);
            return false;
        }
        true
    }

    /// Whether none of these was ever written, and one of them is an offer: then there is nothing to cancel.
    fn nothing_shown(&self, about: &Target, ids: &[CommandId]) -> bool {
        let pending = || ids.iter().filter_map(|id| self.commands.get(id));
        matches!(about, Target::Order(_))
            && pending().all(|p| p.place == Place::Waiting && p.attempts == 0)
            && pending().any(|p| matches!(p.command.kind, Kind::OrderOffer(_)))
    }

    /// An offer came back unwritten after a cancellation of it had arrived: if that still waits, there is nothing to cancel.
    pub(super) fn cancel_unshown(&mut self, gone: &Command, now: Now) {
        let Kind::OrderOffer(_) = &gone.kind else { return };
        let Some(about) = target(&gone.kind) else { return };
        let ids = self.by_device.get(&gone.device_id).cloned().unwrap_or_default();
        let mut same =
            ids.iter().filter_map(|id| self.commands.get(id)).filter(|p| target(&p.command.kind).as_ref() == Some(&about));
        if let (Some(only), None) = (same.next(), same.next())
            && matches!(only.command.kind, Kind::OrderCancel(_))
            && only.place == Place::Waiting
            && only.attempts == 0
        {
            let id = only.command.id.clone();
            self.finish(&id, Ending::Acknowledged, Some(EndingReason::NotShown), now);
        }
    }

    /// A record of which a former home may have written the outcome.
    pub(super) fn read_again(&mut self, record: Arrived, table: &Table, now: Now) {
        let Some(partition) = self.partitions.get_mut(&record.partition) else { return };
        let (before, known) = match &partition.phase {
            Phase::Reading { boundary, finished, .. } => {
                let latest = Timestamp::from_millis(i64::MAX);
                let key = match read(&record.value, latest) {
                    Ok(received) => Finished::Id(received.command.id),
                    Err(invalid) => invalid.command_id.map_or(Finished::Record(record.partition, record.offset), Finished::Id),
                };
                (record.offset < *boundary, finished.contains(&key))
            }
            Phase::Asking { .. } | Phase::Open => (false, false),
        };
        match (known, before) {
            (true, _) => self.finished(record.partition, record.offset),
            (false, true) => self.accept(&record, Place::Recovering, table, now),
            (false, false) => self.accept(&record, Place::Waiting, table, now),
        }
    }

    fn is_repeated(&self, id: &CommandId) -> bool {
        self.commands.contains_key(id) || self.remembered.0.contains(id)
    }
}

/// An outcome of a command that was not written.
pub(super) const fn unwritten(result: Ending) -> Outcome {
    Outcome {
        command_id: None,
        result,
        reason: None,
        answer: None,
        attempts: 0,
        sent_at: None,
        answered_at: None,
        warnings: Vec::new(),
        record: None,
    }
}
