//! One run: a gateway, a fleet, figures, and whether everything is accounted for.

use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::device::Protocol;
use crate::fleet::{self, Pace, Tally, Times};
use crate::gateway::{Gateway, Ledger};
use crate::latency::Histogram;
use crate::store::Store;

/// After the last position is due, for all to be sent and acknowledged. A window of 64 frames a connection is settled within
/// a second; the rest is for an overload to be worked off, and for a machine that is busy with other things.
const DRAIN: Duration = Duration::from_secs(30);
/// Complaints that are told; a thousand connections complain alike.
const COMPLAINTS: usize = 3;

/// How a fleet loads the gateway.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Load {
    /// So many unacknowledged positions on each connection: as fast as they are acknowledged.
    Closed(usize),
    /// So many positions a second over all connections, whatever is acknowledged.
    Open(u32),
    /// Signed on, silent.
    Idle,
}

/// What to run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Run {
    pub(crate) protocol: Protocol,
    pub(crate) load: Load,
    pub(crate) connections: u32,
    pub(crate) warmup: Duration,
    pub(crate) measured: Duration,
}

impl fmt::Display for Run {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:<8}  ", self.protocol.name())?;
        let load = match self.load {
            Load::Closed(window) => format!("closed {} x {window}", self.connections),
            Load::Open(rate) => format!("open {rate}/s over {}", self.connections),
            Load::Idle => format!("idle {}", self.connections),
        };
        write!(f, "{load:<22}")
    }
}

/// What came of it.
#[derive(Debug)]
pub(crate) struct Figures {
    pub(crate) run: Run,
    pub(crate) acknowledged_per_second: f64,
    pub(crate) latency: Histogram,
    pub(crate) lateness: Histogram,
    /// Of the gateway's CPU, for 100 000 acknowledged positions; `None` without any.
    pub(crate) cpu_seconds: Option<f64>,
    /// More memory than before the first connection, for each connection.
    pub(crate) rss_kib: f64,
    pub(crate) ledger: Ledger,
    pub(crate) sent: u64,
    pub(crate) acknowledged: u64,
    /// Empty if everything that was due is acknowledged and accounted for.
    pub(crate) complaints: Vec<String>,
}

/// Counts at one moment.
struct Mark {
    at: Instant,
    acknowledged: u64,
    cpu_seconds: f64,
}

impl Mark {
    fn take(gateway: &Gateway, tally: &Tally) -> Result<Self, String> {
        Ok(Self { at: Instant::now(), acknowledged: tally.acknowledged.get(), cpu_seconds: gateway.cpu_seconds()? })
    }
}

impl Run {
    /// Run it.
    ///
    /// # Errors
    /// What kept it from being run at all. What went wrong in it is among the complaints.
    pub(crate) async fn execute(self, store: &Store) -> Result<Figures, String> {
        let gateway = Gateway::start(self.protocol, store).await?;
        let tally = Rc::new(Tally::default());
        let rss_before = gateway.rss_kib()?;
        let lines = fleet::sign_on(self.protocol, self.connections, fleet::SIGNING_ON, gateway.devices, &tally).await?;

        let start = Instant::now();
        let times = Times { start, from: start + self.warmup, to: start + self.warmup + self.measured };
        let mut drives = JoinSet::new();
        for (n, line) in (0..).zip(lines) {
            drives.spawn_local(line.drive(self.pace(n), times));
        }
        sleep_until(times.from).await;
        let from = Mark::take(&gateway, &tally)?;
        sleep_until(times.to).await;
        let to = Mark::take(&gateway, &tally)?;
        let rss = gateway.rss_kib()?;

        // connections stay open until the ledger is read: their ends are no part of it
        let (mut open, mut complaints) = (Vec::new(), Vec::new());
        while let Ok(Some(driven)) = timeout_at(times.to + DRAIN, drives.join_next()).await {
            let (line, complaint) = driven.map_err(|e| e.to_string())?;
            open.push(line);
            complaints.extend(complaint);
        }
        let counted = |e| {
            let [sent, acknowledged] = [&tally.sent, &tally.acknowledged].map(|n| n.get());
            format!("{acknowledged} of {sent} positions acknowledged, and no ledger: {e}")
        };
        let ledger = gateway.ledger().map_err(counted)?;
        drop((open, drives));
        gateway.stop().await?;

        let others = complaints.len().saturating_sub(COMPLAINTS);
        complaints.truncate(COMPLAINTS);
        complaints.extend((others > 0).then(|| format!("and {others} more connections failed")));
        complaints.extend(objections(&tally, &ledger));
        let acknowledged = to.acknowledged - from.acknowledged;
        let cpu_seconds = to.cpu_seconds - from.cpu_seconds;
        Ok(Figures {
            run: self,
            acknowledged_per_second: acknowledged as f64 / (to.at - from.at).as_secs_f64(),
            latency: tally.latency.take(),
            lateness: tally.lateness.take(),
            cpu_seconds: (acknowledged > 0).then(|| cpu_seconds / acknowledged as f64 * 100_000.0),
            rss_kib: (rss - rss_before) / f64::from(self.connections),
            ledger,
            sent: tally.sent.get(),
            acknowledged: tally.acknowledged.get(),
            complaints,
        })
    }

    /// Of connection number `n`.
    fn pace(self, n: u32) -> Pace {
        match self.load {
            Load::Closed(window) => Pace::Closed(window),
            Load::Open(rate) => {
                // the connections take turns, evenly
                let turn = Duration::from_secs(1) / rate;
                Pace::Open { every: turn * self.connections, phase: turn * n }
            }
            Load::Idle => Pace::Idle,
        }
    }
}

/// What must hold after a run, and does not.
fn objections(tally: &Tally, ledger: &Ledger) -> Vec<String> {
    let [due, sent, acknowledged] = [&tally.due, &tally.sent, &tally.acknowledged].map(|n| n.get());
    let frames = i64::try_from(tally.frames.get()).unwrap_or(i64::MAX);
    let within = DRAIN.as_secs();
    let Ledger { received, stored, rejected, dropped, in_flight, unaccounted, .. } = *ledger;
    let acknowledged_frames = i64::try_from(acknowledged).unwrap_or(i64::MAX);
    [
        (sent < due, format!("{} positions that were due were not sent within {within} s", due - sent.min(due))),
        (acknowledged < sent, format!("{} positions were not acknowledged within {within} s", sent - acknowledged.min(sent))),
        (received != frames, format!("{frames} frames were sent, the ledger says {received} received")),
        (stored < acknowledged_frames, format!("{acknowledged} positions are acknowledged, the ledger says {stored} stored")),
        (rejected != 0 || dropped != 0, format!("{rejected} frames rejected and {dropped} dropped, all of which were right")),
        (in_flight != 0, format!("{in_flight} frames are still in flight")),
        (unaccounted != 0, format!("{unaccounted} frames are unaccounted for")),
    ]
    .into_iter()
    .filter_map(|(wrong, what)| wrong.then_some(what))
    .collect()
}

/// A ledger with everything in order has no objections, and each fault has one.
///
/// # Errors
/// What is overlooked, or objected to without a reason.
pub(crate) fn check() -> Result<(), String> {
    let tally = Tally::default();
    [&tally.due, &tally.sent, &tally.acknowledged].into_iter().for_each(|n| n.set(10));
    tally.frames.set(12);
    let right = Ledger { received: 12, stored: 10, handled: 2, ..Ledger::default() };
    if !objections(&tally, &right).is_empty() {
        return Err(format!("{right:?} is right"));
    }
    let wrong = [
        Ledger { received: 11, ..right.clone() },
        Ledger { stored: 9, ..right.clone() },
        Ledger { rejected: 1, ..right.clone() },
        Ledger { dropped: 1, ..right.clone() },
        Ledger { in_flight: 1, ..right.clone() },
        Ledger { unaccounted: 1, ..right.clone() },
    ];
    if let Some(overlooked) = wrong.iter().find(|ledger| objections(&tally, ledger).len() != 1) {
        return Err(format!("{overlooked:?} is wrong in one way"));
    }
    tally.acknowledged.set(9);
    tally.due.set(11);
    if objections(&tally, &right).len() != 2 {
        return Err("what is not sent, or not acknowledged, is overlooked".to_owned());
    }
    Ok(())
}
