//! The owner's side: which errands this instance has taken for which home, so that none is taken twice and a new home can ask.
//!
//! Pure. An errand is known from the moment it is taken until [`REMEMBERED`] after its deadline: by then nothing may be written
//! any more, so a home that was away for that long can do no harm.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use protocols::command::CommandId;
use protocols::identity::DeviceId;
use protocols::outcome::Stage;
use protocols::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::owner::{Answered, Errand, HomeId, Report};

/// How long after its deadline an errand is remembered: longer than a new home needs to come and ask.
pub(crate) const REMEMBERED: Duration = Duration::from_secs(60);
/// How long a question stands: longer than any command is open.
const CLAIMED: Duration = Duration::from_secs(2 * 3600);
/// Errands remembered at once. At 100 commands a second with deadlines of 10 minutes there are 70 000.
pub(crate) const HELD: usize = 200_000;

/// Homes that hear of one errand at once: that of its record, one before that, and those of copies of it in other partitions.
const HOMES: usize = 4;

/// What an instance knows about a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Known {
    /// It was never taken here.
    Never,
    /// It is here.
    Here {
        /// How far it is.
        stage: Option<(Stage, Timestamp)>,
        /// Which attempt this is.
        attempt: u32,
    },
    /// It has ended here.
    Ended {
        /// How.
        answered: Answered,
        /// Which attempt this was.
        attempt: u32,
    },
}

#[derive(Debug)]
struct Held {
    device: DeviceId,
    /// Who hears of it, newest last, and whether it has acknowledged the end.
    homes: Vec<(HomeId, bool)>,
    attempt: u32,
    until: Duration,
    stage: Option<(Stage, Timestamp)>,
    ended: Option<Answered>,
}

impl Held {
    /// From now on this home hears of it too, and may have missed what was told before.
    fn tell(&mut self, home: &HomeId) {
        self.homes.retain(|(known, _)| known != home);
        if self.homes.len() >= HOMES {
            self.homes.remove(0);
        }
        self.homes.push((home.clone(), false));
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Holder {
    held: HashMap<CommandId, Held>,
    ends: BTreeSet<(Duration, CommandId)>,
    /// Homes that asked about commands which were never here: an errand of an earlier home, still on its way, comes too late.
    claims: HashMap<CommandId, (HomeId, Duration)>,
    swept: Duration,
}

/// Whether an errand is to be delivered.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Taken {
    /// Yes.
    New,
    /// No: it was taken before, and this is what became of it.
    Before(Known),
    /// No: another home has asked for it since.
    Stale,
    /// No: there are too many.
    Full,
}

impl Holder {
    /// A home hands an errand over.
    pub(crate) fn take(&mut self, errand: &Errand) -> Taken {
        let claimed = self.claims.get(&errand.command.id);
        if claimed.is_some_and(|(home, _)| *home != errand.home) {
            return Taken::Stale;
        }
        if let Some(held) = self.held.get_mut(&errand.command.id) {
            held.tell(&errand.home);
            // given back, or cut off and worth another try: then it may come again
            let again = match &held.ended {
                Some(Answered::Returned) => true,
                Some(Answered::Cut { .. }) => errand.attempt > held.attempt,
                _ => false,
            };
            return if again { Taken::New } else { Taken::Before(known(held)) };
        }
        if self.held.len() >= HELD { Taken::Full } else { Taken::New }
    }

    /// An errand that was to be delivered is delivered. One that could not be is as if it had never come.
    pub(crate) fn delivered(&mut self, errand: &Errand) {
        let id = errand.command.id.clone();
        let until = errand.deadline + REMEMBERED;
        self.ends.insert((until, id.clone()));
        let device = errand.command.device_id.clone();
        let mut held = Held { device, homes: Vec::new(), attempt: errand.attempt, until, stage: None, ended: None };
        let before = self.held.remove(&id);
        if let Some(before) = before {
            held.homes = before.homes;
            if before.until != until {
                self.ends.remove(&(before.until, id.clone()));
            }
        }
        held.tell(&errand.home);
        self.held.insert(id, held);
    }

    /// A connection reports; the report comes back addressed to each home that wants it now. An end that is addressed to whoever
    /// is the home is kept for it: that home may not have a connection to us yet, or may not be known yet.
    pub(crate) fn on_report(&mut self, report: Report, now: Duration) -> Vec<Report> {
        if report.home.is_anyone() && matches!(report.answered, Answered::Outcome(_)) {
            self.keep_for_anyone(&report, now);
        }
        let Some(held) = self.held.get_mut(&report.command_id) else { return vec![report] };
        match &report.answered {
            Answered::Stage { stage, at } => held.stage = Some((*stage, *at)),
            ended => held.ended = Some(ended.clone()),
        }
        held.homes.iter().map(|(home, _)| Report { home: home.clone(), ..report.clone() }).collect()
    }

    fn keep_for_anyone(&mut self, report: &Report, now: Duration) {
        let id = &report.command_id;
        if self.held.len() >= HELD || self.held.contains_key(id) {
            return;
        }
        // whoever asked about it before wants to hear
        let home = self.claims.get(id).map_or_else(HomeId::anyone, |(home, _)| home.clone());
        let (device, until) = (report.device_id.clone(), now + CLAIMED);
        let held = Held { device, homes: vec![(home, false)], attempt: 1, until, stage: None, ended: None };
        self.ends.insert((until, id.clone()));
        self.held.insert(id.clone(), held);
    }

    /// A home asks about a command, and wants its reports from now on.
    pub(crate) fn ask(&mut self, home: &HomeId, id: &CommandId, now: Duration) -> Known {
        self.claims.insert(id.clone(), (home.clone(), now + CLAIMED));
        self.held.get_mut(id).map_or(Known::Never, |held| {
            held.homes.retain(|(home, _)| !home.is_anyone());
            held.tell(home);
            known(held)
        })
    }

    /// The home has heard how it ended.
    pub(crate) fn acknowledged(&mut self, home: &HomeId, id: &CommandId) {
        if let Some(held) = self.held.get_mut(id)
            && let Some((_, acknowledged)) = held.homes.iter_mut().find(|(known, _)| known == home)
        {
            *acknowledged = held.ended.is_some();
        }
    }

    /// The ends that a home has not acknowledged; for a connection to it that is new.
    pub(crate) fn unacknowledged(&self, home: &HomeId) -> Vec<Report> {
        let theirs = |(known, done): &(HomeId, bool)| (known == home || known.is_anyone()) && !done;
        let wanted = |held: &Held| held.homes.iter().any(theirs);
        let open = self.held.iter().filter(|(_, held)| wanted(held));
        let report = |(id, held): (&CommandId, &Held)| {
            let answered = held.ended.clone()?;
            Some(Report { command_id: id.clone(), device_id: held.device.clone(), home: home.clone(), answered })
        };
        open.filter_map(report).collect()
    }

    /// Forget what is long over.
    pub(crate) fn forget(&mut self, now: Duration) {
        while let Some((until, _)) = self.ends.first()
            && *until <= now
            && let Some((_, id)) = self.ends.pop_first()
        {
            self.held.remove(&id);
        }
        if now >= self.swept + REMEMBERED {
            self.swept = now;
            self.claims.retain(|_, (_, until)| *until > now);
        }
    }
}

fn known(held: &Held) -> Known {
    let attempt = held.attempt;
    match &held.ended {
        Some(answered) => Known::Ended { answered: answered.clone(), attempt },
        None => Known::Here { stage: held.stage, attempt },
    }
}

#[cfg(test)]
mod tests {
    use protocols::outcome::{Ending, Outcome};

    use super::super::owner::tests::errand;
    use super::*;

    fn report(errand: &Errand, answered: Answered) -> Report {
        Report {
            command_id: errand.command.id.clone(),
            device_id: errand.command.device_id.clone(),
            home: errand.home.clone(),
            answered,
        }
    }

    const fn here(attempt: u32) -> Known {
        Known::Here { stage: None, attempt }
    }

    #[test]
    fn takes_each_errand_once_and_again_only_when_it_was_given_back() {
        let (mut holder, mut errand) = (Holder::default(), errand("c", "1", "text"));
        assert_eq!(holder.take(&errand), Taken::New);
        holder.delivered(&errand);
        assert_eq!(holder.take(&errand), Taken::Before(here(1)));
        holder.on_report(report(&errand, Answered::Returned), Duration::ZERO);
        assert_eq!(holder.take(&errand), Taken::New);
        holder.delivered(&errand);
        let cut = Answered::Cut { sent_at: Timestamp::from_seconds(1), attempts: 1 };
        holder.on_report(report(&errand, cut.clone()), Duration::ZERO);
        assert_eq!(holder.take(&errand), Taken::Before(Known::Ended { answered: cut, attempt: 1 }));
        errand.attempt = 2;
        assert_eq!(holder.take(&errand), Taken::New);
        holder.delivered(&errand);
        assert_eq!(holder.take(&errand), Taken::Before(here(2)));
    }

    #[test]
    fn reports_go_to_the_home_that_asked_last_too() {
        let (mut holder, errand) = (Holder::default(), errand("c", "1", "text"));
        holder.delivered(&errand);
        let new = HomeId { gateway: "gw-2".into(), boot: 9 };
        assert_eq!(holder.ask(&new, &errand.command.id, Duration::ZERO), here(1));
        let ends = holder.on_report(report(&errand, Answered::Returned), Duration::ZERO);
        // the home before may live, and have another record of the same command
        assert_eq!(ends.iter().map(|end| &end.home).collect::<Vec<_>>(), [&errand.home, &new]);
        assert_eq!(holder.unacknowledged(&new), ends[1..]);
        holder.acknowledged(&errand.home, &errand.command.id);
        assert_eq!(holder.unacknowledged(&new).len(), 1, "another home cannot acknowledge it");
        holder.acknowledged(&new, &errand.command.id);
        assert_eq!(holder.unacknowledged(&new), []);
        assert_eq!(
            holder.ask(&new, &errand.command.id, Duration::ZERO),
            Known::Ended { answered: Answered::Returned, attempt: 1 },
            "it is remembered all the same"
        );
    }

    #[test]
    fn keeps_an_end_for_a_home_that_is_not_known_yet() {
        let (mut holder, errand) = (Holder::default(), errand("c", "1", "text"));
        let accepted = Answered::Outcome(Outcome {
            command_id: None,
            result: Ending::Acknowledged,
            reason: None,
            answer: None,
            attempts: 1,
            sent_at: None,
            answered_at: None,
            warnings: Vec::new(),
            record: None,
        });
        let late = Report { home: HomeId::anyone(), ..report(&errand, accepted.clone()) };
        let told = holder.on_report(late, Duration::ZERO);
        assert!(told.len() == 1 && told[0].home.is_anyone());
        assert_eq!(holder.unacknowledged(&errand.home), [Report { home: errand.home.clone(), ..told[0].clone() }]);
        let known = Known::Ended { answered: accepted, attempt: 1 };
        assert_eq!(holder.ask(&errand.home, &errand.command.id, Duration::ZERO), known);
        holder.acknowledged(&errand.home, &errand.command.id);
        assert_eq!(holder.unacknowledged(&errand.home), []);
        holder.forget(CLAIMED);
        assert!(holder.held.is_empty() && holder.ends.is_empty());
    }

    #[test]
    fn one_errand_from_two_homes_is_delivered_once_and_both_hear_how_it_ends() {
        let (mut holder, errand) = (Holder::default(), errand("c", "1", "text"));
        holder.delivered(&errand);
        let other = Errand { home: HomeId { gateway: "gw-2".into(), boot: 9 }, ..errand.clone() };
        assert_eq!(holder.take(&other), Taken::Before(here(1)));
        let ends = holder.on_report(report(&errand, Answered::Returned), Duration::ZERO);
        assert_eq!(ends.iter().map(|end| &end.home).collect::<Vec<_>>(), [&errand.home, &other.home]);
        // whichever brings it again, both go on hearing of it
        assert_eq!(holder.take(&other), Taken::New);
        holder.delivered(&other);
        assert_eq!(holder.on_report(report(&errand, Answered::Returned), Duration::ZERO).len(), 2);
        for n in 0..2 * HOMES as u64 {
            holder.ask(&HomeId { gateway: "gw-3".into(), boot: n }, &errand.command.id, Duration::ZERO);
        }
        assert_eq!(holder.on_report(report(&errand, Answered::Returned), Duration::ZERO).len(), HOMES);
    }

    #[test]
    fn refuses_an_errand_of_a_home_before_the_one_that_asked() {
        let (mut holder, errand) = (Holder::default(), errand("c", "1", "text"));
        let new = HomeId { gateway: "gw-2".into(), boot: 9 };
        assert_eq!(holder.ask(&new, &errand.command.id, Duration::ZERO), Known::Never);
        assert_eq!(holder.take(&errand), Taken::Stale);
        assert_eq!(holder.take(&Errand { home: new, ..errand }), Taken::New);
    }

    #[test]
    fn forgets_after_the_deadline_and_what_could_not_be_delivered() {
        let (mut holder, first, second) = (Holder::default(), errand("a", "1", "text"), errand("b", "1", "text"));
        assert_eq!((holder.take(&first), holder.take(&second)), (Taken::New, Taken::New));
        holder.delivered(&first);
        assert_eq!(holder.ask(&first.home, &second.command.id, Duration::ZERO), Known::Never);
        holder.forget(first.deadline + REMEMBERED - Duration::from_millis(1));
        assert_eq!(holder.held.len(), 1);
        holder.forget(first.deadline + REMEMBERED);
        assert_eq!(holder.held.len(), 0);
        assert!(holder.ends.is_empty());
    }
}
