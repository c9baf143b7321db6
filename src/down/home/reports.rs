//! Owners tell: whether they have taken an errand, how far it is, how it ended.

use std::time::Duration;

use protocols::command::CommandId;
use protocols::outcome::{Progress, Stage};
use protocols::time::{Now, Timestamp};

use super::super::owner::{Answered, InstanceId, Report, Undelivered};
use super::super::table::{Owner, Table};
use super::{AGAIN, Answer, AnswerBody, Effect, Home, Place};

impl Home {
    /// The answer to what was written on a connection that is gone may come on the next one. Its instance is asked for it: then
    /// it knows whom to tell.
    pub(super) fn seek(&mut self, id: &CommandId, table: &Table) {
        if let Some(pending) = self.commands.get(id)
            && pending.place == Place::Spent
            && !self.unconfirmed
            && let Owner::At(of) = table.owner(&pending.command.device_id)
        {
            self.asked += 1;
            self.effects.push(Effect::Ask { of, ids: vec![id.clone()], number: self.asked });
        }
    }

    /// An instance has taken an errand, or says why not.
    pub(crate) fn on_handed(&mut self, id: &CommandId, by: &InstanceId, taken: Result<(), Undelivered>, table: &Table, now: Now) {
        self.wake(now);
        let Some(pending) = self.commands.get_mut(id) else { return };
        let in_doubt = matches!(&pending.place, Place::Doubt(among) if among.contains(by));
        match taken {
            Ok(()) if in_doubt => pending.place = Place::At(by.clone()),
            // either that home is the present one, or ours could not get through to ask after it: a commit tells
            Err(Undelivered::Claimed) if in_doubt => self.doubt_ourselves(),
            Err(_) if in_doubt => {
                if let Place::Doubt(among) = &mut pending.place {
                    among.retain(|instance| instance != by);
                    if !among.is_empty() {
                        return;
                    }
                }
                let again = now.uptime + AGAIN;
                if pending.superseded {
                    self.back(id, table, now);
                } else {
                    pending.place = Place::Waiting;
                    if again < pending.deadline {
                        self.due.insert((again, id.clone()));
                    }
                }
            }
            _ => {}
        }
    }

    /// An owner reports.
    pub(crate) fn on_report(&mut self, from: &InstanceId, report: Report, table: &Table, now: Now) {
        self.wake(now);
        let Report { command_id: id, answered, .. } = report;
        if let Answered::Stage { stage, at } = answered {
            self.on_stage(&id, stage, at);
            return;
        }
        self.effects.push(Effect::Acknowledge { to: from.clone(), id: id.clone() });
        self.on_ended(&id, from, answered, table, now);
    }

    pub(super) fn on_ended(&mut self, id: &CommandId, from: &InstanceId, answered: Answered, table: &Table, now: Now) {
        let Some(pending) = self.commands.get_mut(id) else { return };
        let theirs = match &pending.place {
            Place::At(instance) => instance == from,
            Place::Doubt(among) => among.contains(from),
            Place::Recovering => true,
            Place::Waiting | Place::Spent => false,
        };
        match answered {
            Answered::Stage { .. } => {}
            // the first end that is known counts, whoever tells it
            Answered::Outcome(outcome) => self.finish_with(id, outcome, now),
            Answered::Returned if theirs => self.cleared(id, from, table, now),
            Answered::Cut { sent_at, attempts } => {
                pending.attempts = pending.attempts.max(attempts);
                pending.sent_at = pending.sent_at.or(Some(sent_at));
                pending.seen = true;
                if theirs {
                    self.written_and_gone(id, table, now);
                }
            }
            Answered::Returned => {}
        }
    }

    pub(super) fn on_stage(&mut self, id: &CommandId, stage: Stage, at: Timestamp) {
        let Some(pending) = self.commands.get_mut(id) else { return };
        if stage >= Stage::Sent {
            pending.seen = true;
            pending.sent_at = pending.sent_at.or_else(|| (stage == Stage::Sent).then_some(at));
        }
        if pending.stage.is_none_or(|told| told < stage) {
            pending.stage = Some(stage);
            let progress = Progress { command_id: id.as_str().to_owned(), stage, at };
            self.outbox.push_back(Answer {
                partition: pending.partition,
                device: Some(pending.command.device_id.clone()),
                at,
                body: AnswerBody::Progress(progress),
                measured: (None, Duration::ZERO),
            });
        }
    }
}
