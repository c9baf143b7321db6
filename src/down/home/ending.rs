//! Commands end, each once.

use std::time::Duration;

use protocols::command::CommandId;
use protocols::identity::DeviceId;
use protocols::outcome::{Ending, EndingReason, Outcome, Stage};
use protocols::time::Now;

use protocols::desk::DriverNow;

use super::super::owner::InstanceId;
use super::super::table::Table;
use super::arrive::unwritten;
use super::{Answer, AnswerBody, Effect, Home, Place, REMEMBERED, repeat_safe};

impl Home {
    /// Nothing came by the deadline.
    pub(super) fn expire(&mut self, id: &CommandId, now: Now) {
        let Some(pending) = self.commands.get(id) else { return };
        let written = pending.attempts > 0 || pending.stage.is_some_and(|s| s >= Stage::Sent);
        let (result, reason) = match &pending.place {
            _ if written => (Ending::Unanswered, None),
            // whoever has it would have said how it ended
            Place::Doubt(_) | Place::At(_) => (Ending::Unanswered, Some(EndingReason::InstanceLost)),
            _ if pending.seen => (Ending::Expired, None),
            _ => (Ending::Offline, None),
        };
        self.finish(id, result, reason, now);
    }

    /// This instance never wrote it.
    pub(super) fn cleared(&mut self, id: &CommandId, by: &InstanceId, table: &Table, now: Now) {
        let Some(pending) = self.commands.get_mut(id) else { return };
        match &mut pending.place {
            Place::Doubt(among) => {
                among.retain(|instance| instance != by);
                if !among.is_empty() {
                    return;
                }
            }
            Place::At(instance) if instance == by => {}
            _ => return,
        }
        if pending.attempts > 0 { self.written_and_gone(id, table, now) } else { self.back(id, table, now) }
    }

    /// It is here again, and may be written.
    pub(super) fn back(&mut self, id: &CommandId, table: &Table, now: Now) {
        let Some(pending) = self.commands.get_mut(id) else { return };
        pending.place = Place::Waiting;
        if pending.superseded {
            let (command, unwritten) = (std::sync::Arc::clone(&pending.command), pending.attempts == 0);
            self.finish(id, Ending::Superseded, None, now);
            if unwritten {
                self.cancel_unshown(&command, now);
            }
        } else if now.uptime >= pending.deadline {
            self.expire(id, now);
        } else {
            self.dispatch(id, table, now);
        }
    }

    /// It was written, and the connection is gone before a final answer.
    pub(super) fn written_and_gone(&mut self, id: &CommandId, table: &Table, now: Now) {
        let Some(pending) = self.commands.get_mut(id) else { return };
        pending.attempts = pending.attempts.max(1);
        if repeat_safe(&pending.command.kind) || pending.superseded {
            self.back(id, table, now);
        } else {
            pending.place = Place::Spent;
            if now.uptime >= pending.deadline {
                self.expire(id, now);
            } else {
                self.seek(id, table);
            }
        }
    }

    /// An instance that had it, or may have had it, is gone for good.
    pub(super) fn lost_with(&mut self, id: &CommandId, instance: &InstanceId, table: &Table, now: Now) {
        let Some(pending) = self.commands.get_mut(id) else { return };
        match &pending.place {
            Place::At(at) if at == instance => {}
            Place::Doubt(among) if among.contains(instance) => {}
            _ => return,
        }
        // perhaps it was never written; it counts as if it were
        pending.attempts += 1;
        pending.seen = true;
        if repeat_safe(&pending.command.kind) || pending.superseded {
            self.back(id, table, now);
        } else {
            self.finish(id, Ending::Unanswered, Some(EndingReason::InstanceLost), now);
        }
    }

    /// State of a device that is not connected is kept: that is all that was asked. Should the device come before the deadline,
    /// it is told.
    pub(super) fn kept(&mut self, id: &CommandId, driver: DriverNow, now: Now) {
        let Some(pending) = self.commands.get(id) else { return };
        let device = pending.command.device_id.clone();
        self.notices.insert(device.clone(), (std::sync::Arc::clone(&pending.command), pending.deadline));
        self.effects.push(Effect::Keep { device, driver });
        let outcome = Outcome { answered_at: Some(now.utc), ..unwritten(Ending::Acknowledged) };
        self.finish_with(id, outcome, now);
    }

    /// End it with what is known here.
    pub(super) fn finish(&mut self, id: &CommandId, result: Ending, reason: Option<EndingReason>, now: Now) {
        self.finish_with(id, Outcome { reason, ..unwritten(result) }, now);
    }

    /// End it with an outcome, to which is added what only the home knows.
    pub(super) fn finish_with(&mut self, id: &CommandId, mut outcome: Outcome, now: Now) {
        let Some(pending) = self.commands.remove(id) else { return };
        // other entries find no command when they come
        self.due.remove(&(pending.deadline, id.clone()));
        if let Some(of_device) = self.by_device.get_mut(&pending.command.device_id) {
            of_device.retain(|other| other != id);
            if of_device.is_empty() {
                self.by_device.remove(&pending.command.device_id);
            }
        }
        let sent = u32::from(pending.stage.is_some_and(|s| s >= Stage::Sent));
        outcome.command_id = Some(id.as_str().to_owned());
        outcome.attempts = outcome.attempts.max(pending.attempts).max(sent);
        outcome.sent_at = match (outcome.sent_at, pending.sent_at) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if outcome.attempts > 0 && matches!(outcome.result, Ending::Expired | Ending::Offline) {
            // not written this time, but before
            outcome.result = Ending::Unanswered;
        }
        for warning in pending.warnings {
            if !outcome.warnings.contains(&warning) {
                outcome.warnings.push(warning);
            }
        }
        let measured = (Some(pending.command.kind.name()), now.uptime.saturating_sub(pending.received));
        self.remember(id);
        self.answer(pending.partition, Some(pending.command.device_id.clone()), outcome, measured, now);
        self.finished(pending.partition, pending.offset);
    }

    pub(super) fn answer(
        &mut self,
        partition: i32,
        device: Option<DeviceId>,
        outcome: Outcome,
        measured: (Option<&'static str>, Duration),
        now: Now,
    ) {
        self.outbox.push_back(Answer { partition, device, at: now.utc, body: AnswerBody::Outcome(outcome), measured });
    }

    /// A record is done with.
    pub(super) fn finished(&mut self, partition: i32, offset: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.unfinished.remove(&offset);
        }
    }

    pub(super) fn remember(&mut self, id: &CommandId) {
        let (set, order) = &mut self.remembered;
        if set.insert(id.clone()) {
            order.push_back(id.clone());
        }
        while order.len() > REMEMBERED
            && let Some(oldest) = order.pop_front()
        {
            set.remove(&oldest);
        }
    }

    /// An outcome of ours will never be written, since its partition is another's now.
    pub(super) fn unremember(&mut self, answer: &Answer) {
        if let AnswerBody::Outcome(Outcome { command_id: Some(id), .. }) = &answer.body
            && let Some(id) = CommandId::new(id.as_str())
            && self.remembered.0.remove(&id)
        {
            self.remembered.1.retain(|other| *other != id);
        }
    }
}
