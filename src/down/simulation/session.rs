//! A connection with the simplest desk that keeps the rules: writes in order, answers once.

use std::collections::VecDeque;
use std::time::Duration;

use protocols::command::{CommandId, Kind};
use protocols::identity::{DeviceId, SessionId};
use protocols::outcome::{Ending, EndingReason, Outcome, Stage};
use protocols::time::Timestamp;

use super::super::owner::{After, Answered, Errand, MAILBOX, Report, Undelivered};
use super::super::target::target;

/// One connection on an instance.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) device: DeviceId,
    pub(super) session: SessionId,
    /// Whether the device is at its other end.
    pub(super) live: bool,
    /// The revision of its record that stands in the topic.
    pub(super) in_topic: u64,
    /// What the first of `waiting` waits for; set once it was looked at.
    after: Option<Option<After>>,
    waiting: VecDeque<Errand>,
    written: Vec<(Errand, Timestamp)>,
}

impl Connection {
    pub(super) fn new(device: DeviceId, session: SessionId) -> Self {
        Self { device, session, live: true, in_topic: 0, after: None, waiting: VecDeque::new(), written: Vec::new() }
    }

    /// The next errand, if it was not looked at yet.
    pub(super) fn unseen(&self) -> Option<&Errand> {
        self.waiting.front().filter(|_| self.after.is_none())
    }

    /// It was looked at, and has to wait for this.
    pub(super) fn seen(&mut self, after: Option<After>) {
        self.after = Some(after);
    }

    pub(super) fn deliver(&mut self, errand: Errand) -> Result<(), Undelivered> {
        if self.waiting.len() >= MAILBOX {
            return Err(Undelivered::Full);
        }
        self.waiting.push_back(errand);
        Ok(())
    }

    /// Write the next errand: what was written, and the reports.
    pub(super) fn step(&mut self, uptime: Duration, utc: Timestamp) -> (Option<Errand>, Vec<Report>) {
        let mut reports = Vec::new();
        if self.after.flatten().is_some_and(|after| !after.is_over(self.in_topic, uptime)) {
            return (None, reports);
        }
        self.after = None;
        let Some(errand) = self.waiting.pop_front() else { return (None, reports) };
        if uptime >= errand.deadline {
            reports.push(report(&errand, Answered::Outcome(outcome(&errand, Ending::Expired, None, None))));
            return (None, reports);
        }
        let about = target(&errand.command.kind);
        let same = |other: &Errand| about.is_some() && target(&other.command.kind) == about;
        // a later one that still waits takes its place already
        if let Some(later) = self.waiting.iter().position(same) {
            reports.push(report(&errand, Answered::Outcome(outcome(&errand, Ending::Superseded, None, None))));
            let offer = matches!(errand.command.kind, Kind::OrderOffer(_));
            let shown = self.written.iter().any(|(other, _)| same(other)) || errand.attempt > 1;
            if offer
                && !shown
                && matches!(self.waiting[later].command.kind, Kind::OrderCancel(_))
                && let Some(cancel) = self.waiting.remove(later).filter(|c| c.attempt == 1)
            {
                let end = outcome(&cancel, Ending::Acknowledged, Some(EndingReason::NotShown), None);
                reports.push(report(&cancel, Answered::Outcome(end)));
            }
            return (None, reports);
        }
        self.written.retain(|(other, sent_at)| {
            if same(other) {
                reports.push(report(other, Answered::Outcome(outcome(other, Ending::Superseded, None, Some(*sent_at)))));
            }
            !same(other)
        });
        reports.push(report(&errand, Answered::Stage { stage: Stage::Sent, at: utc }));
        self.written.push((errand.clone(), utc));
        (Some(errand), reports)
    }

    /// Whether the device has this from this connection, unanswered.
    pub(super) fn has_written(&self, id: &CommandId) -> bool {
        self.written.iter().any(|(errand, _)| errand.command.id == *id)
    }

    /// The device answers.
    pub(super) fn answer(&mut self, id: &CommandId, result: Ending) -> Option<Report> {
        let at = self.written.iter().position(|(errand, _)| errand.command.id == *id)?;
        let (errand, sent_at) = self.written.remove(at);
        Some(report(&errand, Answered::Outcome(outcome(&errand, result, None, Some(sent_at)))))
    }

    /// What has had no answer by its deadline.
    pub(super) fn overdue(&mut self, uptime: Duration) -> Vec<Report> {
        let mut reports = Vec::new();
        self.written.retain(|(errand, sent_at)| {
            let over = uptime >= errand.deadline;
            if over {
                reports.push(report(errand, Answered::Outcome(outcome(errand, Ending::Unanswered, None, Some(*sent_at)))));
            }
            !over
        });
        reports
    }

    /// The connection is gone.
    pub(super) fn end(self) -> Vec<Report> {
        let returned = self.waiting.iter().map(|errand| report(errand, Answered::Returned));
        let cut = self
            .written
            .iter()
            .map(|(errand, sent_at)| report(errand, Answered::Cut { sent_at: *sent_at, attempts: errand.attempt }));
        returned.chain(cut).collect()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }
}

fn report(errand: &Errand, answered: Answered) -> Report {
    Report {
        command_id: errand.command.id.clone(),
        device_id: errand.command.device_id.clone(),
        home: errand.home.clone(),
        answered,
    }
}

fn outcome(errand: &Errand, result: Ending, reason: Option<EndingReason>, sent_at: Option<Timestamp>) -> Outcome {
    let attempts = if sent_at.is_some() { errand.attempt } else { errand.attempt - 1 };
    Outcome {
        command_id: Some(errand.command.id.as_str().to_owned()),
        result,
        reason,
        answer: None,
        attempts,
        sent_at,
        answered_at: None,
        warnings: Vec::new(),
        record: None,
    }
}
