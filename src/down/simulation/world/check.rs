//! What must hold at the end of a history.

use super::*;

/// Until a sign-on is in the topic, in milliseconds.
const SETTLED_MS: u64 = 1000;
/// A device that is connected for so long, while nothing is wrong, is told whatever waits for it: a connection looks into its
/// mailbox within 4 s here, and writes one thing after the other.
const WITHIN_REACH_MS: u64 = 8000;

/// Result, reason, attempts.
type End = (Ending, Option<EndingReason>, u32);

impl World {
    pub(in super::super) fn written(&self) -> usize {
        self.writes.iter().map(|w| &w.command.id).collect::<BTreeSet<_>>().len()
    }

    pub(in super::super) fn commanded(&self) -> usize {
        self.commands.len()
    }

    /// Whether nothing has stood between the homes and a device for long enough.
    pub(super) fn could_be_told(&self, device: &DeviceId) -> bool {
        let well = self.healed.is_some_and(|healed| self.now >= healed + STOP_MS + WITHIN_REACH_MS);
        let connected = |d: usize| {
            let Device { at, since, .. } = &self.devices[d];
            device_id(d) == *device && self.now >= since + WITHIN_REACH_MS && at.is_some_and(|(n, life, _)| self.lives(n, life))
        };
        well && (0..DEVICES).any(connected)
    }

    /// Everything that did not hold.
    pub(in super::super) fn complaints(&mut self) -> Vec<String> {
        let mut complaints = std::mem::take(&mut self.complaints);
        let mut outcomes: BTreeMap<&str, Vec<End>> = BTreeMap::new();
        let mut nameless: BTreeMap<(i32, i64), u32> = BTreeMap::new();
        for (_, answer) in &self.broker.outcomes {
            let AnswerBody::Outcome(outcome) = &answer.body else { continue };
            match (&outcome.command_id, outcome.record) {
                (Some(id), _) => outcomes.entry(id).or_default().push((outcome.result, outcome.reason, outcome.attempts)),
                (None, Some(r)) => *nameless.entry((r.partition, r.offset)).or_default() += 1,
                (None, None) => complaints.push(format!("an outcome of nothing: {outcome:?}")),
            }
        }
        for id in self.commands.keys() {
            let ends = outcomes.get(id.as_str()).map_or(&[][..], Vec::as_slice);
            let most = self.copies.get(id.as_str()).map_or(1, BTreeSet::len);
            if ends.is_empty() || ends.len() > most {
                complaints.push(format!("{} outcomes of {}: {ends:?}", ends.len(), id.as_str()));
            }
        }
        for place in &self.nameless {
            if nameless.get(place) != Some(&1) {
                complaints.push(format!("{:?} outcomes of the record {place:?}", nameless.get(place)));
            }
        }
        for (d, device) in self.devices.iter().enumerate() {
            let last = self.broker.sessions.iter().rev().find(|(id, _)| *id == device_id(d)).map(|(_, record)| record);
            let connected = device.at.filter(|(n, life, session)| {
                self.lives(*n, *life) && self.instances[*n].connections.get(session).is_some_and(|c| c.live)
            });
            let told = last.and_then(Option::as_ref).filter(|r| r.state == State::Connected).map(|r| r.session.0);
            // one that has just come is still to be told of
            let connected = connected.filter(|_| self.now >= device.since + SETTLED_MS);
            if let Some((_, _, session)) = connected.filter(|(_, _, session)| told != Some(*session)) {
                complaints.push(format!("device {d} is connected in session {session}, and the topic says {last:?}"));
            }
            // one that was found to be gone only lately may be there for some time
            let due = |r: &Record| self.utc().as_millis() - r.since.as_millis() > (FORGET_MS + SKEW_MS + 2 * TIDY_MS) as i64;
            let kept = last.and_then(Option::as_ref).filter(|r| r.state == State::Connected || due(r));
            if d >= DEVICES && kept.is_some() {
                complaints.push(format!("device {d} was not forgotten: {last:?}"));
            }
        }
        let mut written: BTreeMap<&CommandId, Vec<&Write>> = BTreeMap::new();
        for write in &self.writes {
            written.entry(&write.command.id).or_default().push(write);
        }
        for (id, writes) in written {
            let command = &writes[0].command;
            let deadline = (command.deadline.as_millis() - START_MS) as u64;
            if let Some(late) = writes.iter().find(|w| w.at >= deadline + SKEW_MS + 50) {
                complaints.push(format!("{} was written at {} by {}, its deadline was {deadline}", id.as_str(), late.at, late.by));
            }
            // a copy in another partition is a command of its own
            let copies = self.copies.contains_key(id.as_str());
            if writes.len() > 1 && !repeat_safe(&command.kind) && !copies {
                let all: Vec<_> = writes.iter().map(|w| (w.at, w.by.to_string())).collect();
                complaints.push(format!("{} ({}) was written {} times: {all:?}", id.as_str(), command.kind.name(), writes.len()));
            }
            for (result, reason, attempts) in outcomes.get(id.as_str()).into_iter().flatten() {
                let unwritten = matches!(result, Ending::Offline | Ending::Expired) || *reason == Some(EndingReason::NotShown);
                // a kind that may be sent twice may end by what came of one attempt while another is under way
                let once = !repeat_safe(&command.kind);
                if !copies && (unwritten || (once && *result == Ending::Superseded && *attempts == 0)) {
                    complaints.push(format!("{} was written and ended {result:?} {reason:?}", id.as_str()));
                }
            }
        }
        complaints
    }
}
