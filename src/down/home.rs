//! The home of commands: keeps them from their arrival to their one outcome.
//!
//! Pure: no Kafka, no socket, no clock. Whoever holds a partition of the commands topic is the home of its commands. It knows
//! of each where it is (see [`Place`]), hands it to the instance that holds the device, and writes the outcome. What it wants
//! done stands in [`Home::effects`]; what it wants written in [`Home::batch`], together with the offsets that go with it: that
//! of a partition is the one of its oldest unfinished command, so a later home finds exactly those that have no outcome yet.
//!
//! A command is handed to one instance at a time. It is handed to another only when the first says that it was never written,
//! or, for the kinds that may be sent twice, when nobody can know.

mod arrive;
mod ending;
mod keeper;
mod reports;
mod show;
mod takeover;

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use protocols::command::{Command, CommandId, Kind};
use protocols::desk::DriverNow;
use protocols::identity::DeviceId;
use protocols::outcome::{Outcome, Place as RecordPlace, Progress, Stage};
use protocols::time::{Now, Timestamp};

use super::owner::{Errand, InstanceId};
use super::table::{Owner, Table};
use super::target::repeat_safe;

/// After its deadline, for the owner's word on how it ended: two of the peers' answer times.
pub(crate) const GRACE: Duration = Duration::from_secs(2);
/// An instance that cannot be reached for this long is lost: longer than a broken connection takes to be made again, shorter
/// than drivers are given to answer an offer.
pub(crate) const LOST_AFTER: Duration = Duration::from_secs(5);
/// A home that was not run for this long may have been deposed without noticing: it hands nothing over until a commit shows that
/// it is not. The group takes partitions away after 6 s.
pub(crate) const ASLEEP: Duration = Duration::from_secs(3);
/// Until an owner that refused is tried again.
const AGAIN: Duration = Duration::from_millis(50);
/// How long a new home waits for instances to say what they know, before it goes on without those that do not answer.
pub(crate) const ASKING: Duration = Duration::from_secs(1);
/// A home may go by a session table that is so much behind: while it is cut off from Kafka it keeps its partitions for 6 s; and
/// clocks differ.
const BEHIND_MS: i64 = 12_000;
/// Ids of finished commands remembered, to know them again: those of more than an hour at 100 a second.
const REMEMBERED: usize = 500_000;

/// What the home wants done.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Effect {
    /// Give it to this instance, which may be this one; the answer goes to [`Home::on_handed`].
    Hand {
        /// Who holds the device.
        to: InstanceId,
        /// What.
        errand: Errand,
    },
    /// Ask this instance what it knows; the answers go to [`Home::on_known`].
    Ask {
        /// Whom.
        of: InstanceId,
        /// About which.
        ids: Vec<CommandId>,
        /// Comes back with the answer.
        number: u64,
    },
    /// This instance may forget how this one ended.
    Acknowledge {
        /// Whom to tell.
        to: InstanceId,
        /// Which.
        id: CommandId,
    },
    /// Read this partition's outcomes written since then, then call [`Home::on_outcomes_read`].
    ReadOutcomes {
        /// Which.
        partition: i32,
        /// From when.
        since: Timestamp,
    },
    /// Keep this with the device, which is not connected.
    Keep {
        /// Which device.
        device: DeviceId,
        /// What.
        driver: DriverNow,
    },
    /// Show by a commit that the partitions are still held, then call [`Home::on_confirmed`].
    Confirm,
}

/// Where a command is.
#[derive(Debug, Clone, PartialEq)]
enum Place {
    /// A former home had it; it is not yet known how far it came.
    Recovering,
    /// Here. It was never written, or may be written again.
    Waiting,
    /// At one of these instances, or at none: they have not said.
    Doubt(Vec<InstanceId>),
    /// At this instance.
    At(InstanceId),
    /// Written on a connection that is gone, and not to be written again.
    Spent,
}

#[derive(Debug)]
struct Pending {
    command: Arc<Command>,
    partition: i32,
    offset: i64,
    /// When the record was written.
    arrived: Timestamp,
    /// When it was received.
    received: Duration,
    deadline: Duration,
    warnings: Vec<String>,
    place: Place,
    /// Writes that are over.
    attempts: u32,
    sent_at: Option<Timestamp>,
    /// Highest told.
    stage: Option<Stage>,
    /// The device was connected at some time since the arrival.
    seen: bool,
    /// A later command takes its place as soon as it comes back.
    superseded: bool,
    /// Answers to questions before this one do not know yet that it was handed over.
    handed_before: u64,
}

/// A record for the outcomes topic.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Answer {
    /// The commands' partition, and the outcomes'.
    pub(crate) partition: i32,
    /// The device, if the command named one.
    pub(crate) device: Option<DeviceId>,
    /// When it was decided.
    pub(crate) at: Timestamp,
    /// What it says.
    pub(crate) body: AnswerBody,
    /// Of an outcome: the command's kind, if it could be read, and the time since it was received.
    pub(crate) measured: (Option<&'static str>, Duration),
}

/// See [`Answer`].
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum AnswerBody {
    /// The end.
    Outcome(Outcome),
    /// A step.
    Progress(Progress),
}

/// What is written in one transaction.
#[derive(Debug, Clone, PartialEq, Default)]
pub(crate) struct Batch {
    /// In order.
    pub(crate) answers: Vec<Answer>,
    /// To be committed with them.
    pub(crate) offsets: BTreeMap<i32, i64>,
    /// Which holding of a partition it is of: one that was given up and got again is another.
    holdings: BTreeMap<i32, u64>,
}

/// Names the record of an outcome in the topic of outcomes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) enum Finished {
    /// By the command's id.
    Id(CommandId),
    /// By the place of a record without one.
    Record(i32, i64),
}

#[derive(Debug)]
struct Partition {
    phase: Phase,
    /// The next offset to come.
    next: i64,
    unfinished: BTreeSet<i64>,
    /// Last committed.
    committed: i64,
    /// See [`Batch`].
    holding: u64,
}

#[derive(Debug)]
enum Phase {
    /// Records below `boundary` may have been in the hands of a former home.
    Reading {
        boundary: i64,
        /// What came and waits for the outcomes to be read.
        raw: Vec<Arrived>,
        asked_for_outcomes: bool,
        outcomes_read: bool,
        finished: HashSet<Finished>,
    },
    /// Instances are asked about the commands of a former home.
    Asking { number: u64, left: BTreeSet<InstanceId>, answered: BTreeSet<InstanceId>, until: Duration },
    /// Nothing stands in the way.
    Open,
}

/// A record of the commands topic.
#[derive(Debug, Clone)]
pub(crate) struct Arrived {
    /// Where it stands.
    pub(crate) partition: i32,
    /// See `partition`.
    pub(crate) offset: i64,
    /// The record's own timestamp.
    pub(crate) timestamp: Timestamp,
    /// Its value.
    pub(crate) value: Vec<u8>,
}

/// Whether an instance can be reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reach {
    Up,
    DownSince(Duration),
    /// Counts as gone, and has been out of reach since then.
    Lost(Duration),
}

/// What is counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Records with an id that was seen before.
    pub(crate) repeated: u64,
    /// Commands handed over more than once.
    pub(crate) again: u64,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Home {
    me: InstanceId,
    max_deadline: Duration,
    partitions: BTreeMap<i32, Partition>,
    /// How many of them there are in all; 0: not known yet.
    spread: u32,
    commands: HashMap<CommandId, Pending>,
    /// In the order of arrival.
    by_device: HashMap<DeviceId, Vec<CommandId>>,
    /// When something is due for a command.
    due: BTreeSet<(Duration, CommandId)>,
    instances: HashMap<InstanceId, Reach>,
    /// Ids that have ended, newest last.
    remembered: (HashSet<CommandId>, VecDeque<CommandId>),
    /// State of absent devices that they are told should they come before the deadline.
    notices: HashMap<DeviceId, (Arc<Command>, Duration)>,
    outbox: VecDeque<Answer>,
    effects: Vec<Effect>,
    awake: Option<Duration>,
    unconfirmed: bool,
    /// Questions asked so far.
    asked: u64,
    /// Partitions got so far.
    held: u64,
    counts: Counts,
}

impl Home {
    /// A home of nothing yet.
    pub(crate) fn new(me: InstanceId, max_deadline: Duration) -> Self {
        Self {
            me,
            max_deadline,
            partitions: BTreeMap::new(),
            spread: 0,
            commands: HashMap::new(),
            by_device: HashMap::new(),
            due: BTreeSet::new(),
            instances: HashMap::new(),
            remembered: (HashSet::new(), VecDeque::new()),
            notices: HashMap::new(),
            outbox: VecDeque::new(),
            effects: Vec::new(),
            awake: None,
            unconfirmed: false,
            asked: 0,
            held: 0,
            counts: Counts::default(),
        }
    }

    /// What is to be done, in order.
    pub(crate) fn effects(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.effects)
    }

    /// What is to be written next, if anything; `all`: also offsets that moved without an outcome. The one before has to be
    /// settled, by [`Home::on_written`] or [`Home::on_not_written`].
    pub(crate) fn batch(&mut self, all: bool, most: usize) -> Option<Batch> {
        let moved = |p: &Partition| p.offset() > p.committed;
        if self.outbox.is_empty() && !(all && self.partitions.values().any(moved)) {
            return None;
        }
        // outcomes of one batch and the offsets that follow from them go together, so the offsets of what is left have to wait
        let answers: Vec<_> = self.outbox.drain(..self.outbox.len().min(most)).collect();
        let complete = self.outbox.is_empty();
        let touched: BTreeSet<i32> = answers.iter().map(|a| a.partition).collect();
        let offsets = self.partitions.iter().filter(|(n, p)| touched.contains(n) || (all && complete && moved(p)));
        let offsets = offsets.map(|(n, p)| (*n, if complete { p.offset() } else { p.committed })).collect();
        let holdings = self.partitions.iter().map(|(n, p)| (*n, p.holding)).collect();
        Some(Batch { answers, offsets, holdings })
    }

    /// A batch of nothing but what was committed before: that it can be written proves that the partitions are still ours.
    pub(crate) fn proof(&self) -> Batch {
        Batch {
            answers: Vec::new(),
            offsets: self.partitions.iter().map(|(n, p)| (*n, p.committed)).collect(),
            holdings: self.partitions.iter().map(|(n, p)| (*n, p.holding)).collect(),
        }
    }

    /// A batch is written, and its offsets are committed.
    pub(crate) fn on_written(&mut self, batch: &Batch) {
        for (number, offset) in &batch.offsets {
            if let Some(partition) = self.partitions.get_mut(number)
                && batch.holdings.get(number) == Some(&partition.holding)
            {
                partition.committed = partition.committed.max(*offset);
            }
        }
    }

    /// A batch was not written: what is still ours of it is next again.
    pub(crate) fn on_not_written(&mut self, batch: Batch) {
        for answer in batch.answers.into_iter().rev() {
            let holding = self.partitions.get(&answer.partition).map(|p| p.holding);
            match (holding, batch.holdings.get(&answer.partition)) {
                (Some(now), Some(then)) if now == *then => self.outbox.push_front(answer),
                // it is as if it had never been decided
                (None, _) => self.unremember(&answer),
                (Some(_), _) => {}
            }
        }
    }

    /// Commands without an outcome.
    pub(crate) fn open(&self) -> usize {
        self.commands.len()
    }

    /// Answers that wait to be written.
    pub(crate) fn unwritten(&self) -> usize {
        self.outbox.len()
    }

    /// The partitions of which this is the home.
    pub(crate) fn partitions(&self) -> impl Iterator<Item = i32> {
        self.partitions.keys().copied()
    }

    /// What was counted so far.
    pub(crate) const fn counts(&self) -> Counts {
        self.counts
    }

    /// Time passes.
    pub(crate) fn tick(&mut self, table: &Table, now: Now) {
        self.wake(now);
        let lost =
            self.instances.iter().filter(|(_, reach)| matches!(reach, Reach::DownSince(at) if now.uptime >= *at + LOST_AFTER));
        for instance in lost.map(|(instance, _)| instance.clone()).collect::<Vec<_>>() {
            self.on_lost(&instance, table, now);
        }
        for number in self.partitions.keys().copied().collect::<Vec<_>>() {
            self.close_asking(number, table, now);
        }
        while let Some((at, _)) = self.due.first()
            && *at <= now.uptime
            && let Some((_, id)) = self.due.pop_first()
        {
            self.on_due(&id, table, now);
        }
        self.notices.retain(|_, (_, deadline)| *deadline > now.uptime);
    }

    /// The device has come, gone or moved.
    pub(crate) fn on_moved(&mut self, device: &DeviceId, table: &Table, now: Now) {
        self.wake(now);
        if let Owner::At(to) = table.owner(device)
            && let Some((command, deadline)) = self.notices.remove(device)
            && deadline > now.uptime
        {
            let errand = Errand { command, home: self.me.clone(), deadline, warnings: Vec::new(), attempt: 1 };
            self.effects.push(Effect::Hand { to, errand });
        }
        for id in self.by_device.get(device).cloned().unwrap_or_default() {
            self.dispatch(&id, table, now);
            self.seek(&id, table);
        }
    }

    /// Hand a waiting command to whoever has its device.
    fn dispatch(&mut self, id: &CommandId, table: &Table, now: Now) {
        let owner = match self.commands.get(id) {
            Some(pending) => table.owner(&pending.command.device_id),
            None => return,
        };
        let Some(pending) = self.commands.get_mut(id) else { return };
        pending.seen |= owner != Owner::Nobody;
        let open = self.partitions.get(&pending.partition).is_some_and(|p| matches!(p.phase, Phase::Open));
        if pending.place != Place::Waiting || !open || self.unconfirmed || now.uptime >= pending.deadline {
            return;
        }
        match owner {
            Owner::At(to) => {
                if matches!(self.instances.get(&to), Some(Reach::DownSince(_) | Reach::Lost(_))) {
                    return; // at no risk while it stays here; it goes when the instance can be reached, or the device moves
                }
                pending.place = Place::Doubt(vec![to.clone()]);
                pending.handed_before = self.asked + 1;
                let errand = Errand {
                    command: Arc::clone(&pending.command),
                    home: self.me.clone(),
                    deadline: pending.deadline,
                    warnings: pending.warnings.clone(),
                    attempt: pending.attempts + 1,
                };
                self.counts.again += u64::from(pending.attempts > 0);
                self.effects.push(Effect::Hand { to, errand });
            }
            Owner::Nobody => match &pending.command.kind {
                Kind::DriverAuthorization(about) => {
                    let known = table.record(&pending.command.device_id).and_then(|r| r.kept.driver.as_ref());
                    // another driver's shift is not touched
                    if known.is_none_or(|d| d.driver_id == about.driver_id) {
                        let driver = DriverNow {
                            driver_id: about.driver_id.clone(),
                            name: about.name.as_ref().map(|n| n.0.clone()).or_else(|| known.and_then(|d| d.name.clone())),
                            authorized: Some(about.authorized),
                            since: known.and_then(|d| d.since),
                        };
                        self.kept(id, driver, now);
                    } else {
                        self.on_stage(id, Stage::Waiting, now.utc);
                    }
                }
                _ => self.on_stage(id, Stage::Waiting, now.utc),
            },
        }
    }

    fn on_due(&mut self, id: &CommandId, table: &Table, now: Now) {
        let Some(pending) = self.commands.get(id) else { return };
        if now.uptime < pending.deadline {
            self.dispatch(id, table, now);
            return;
        }
        match pending.place {
            Place::Waiting | Place::Spent => self.expire(id, now),
            // the instances are asked first
            Place::Recovering => drop(self.due.insert((now.uptime + ASKING, id.clone()))),
            Place::At(_) | Place::Doubt(_) if now.uptime < pending.deadline + GRACE => {
                self.due.insert((pending.deadline + GRACE, id.clone()));
            }
            Place::At(_) | Place::Doubt(_) => self.expire(id, now),
        }
    }

    /// Something is called after a pause: was it so long that the group may have gone on without us?
    fn wake(&mut self, now: Now) {
        let slept = self.awake.is_some_and(|last| now.uptime >= last + ASLEEP);
        self.awake = Some(now.uptime);
        if slept && !self.partitions.is_empty() {
            self.doubt_ourselves();
        }
    }

    /// Hand nothing over, and ask nobody, until a commit has shown that the partitions are still ours.
    fn doubt_ourselves(&mut self) {
        if !std::mem::replace(&mut self.unconfirmed, true) {
            self.effects.push(Effect::Confirm);
        }
    }

    fn dispatch_all(&mut self, which: impl Fn(&Pending) -> bool, table: &Table, now: Now) {
        let waiting = self.commands.values().filter(|p| p.place == Place::Waiting && which(p));
        let mut ids: Vec<_> = waiting.map(|p| (p.partition, p.offset, p.command.id.clone())).collect();
        ids.sort();
        for (_, _, id) in ids {
            self.dispatch(&id, table, now);
        }
    }
}

impl Partition {
    /// What a commit says now: the oldest record that is not finished.
    fn offset(&self) -> i64 {
        self.unfinished.first().copied().unwrap_or(self.next)
    }
}

#[cfg(test)]
mod tests;
