//! Instances, devices, links and time.

mod check;
mod instance;
mod scene;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use protocols::command::{Command, CommandId, Kind, read};
use protocols::desk::DeviceState;
use protocols::identity::{DeviceId, SessionId};
use protocols::outcome::{Ending, EndingReason, Outcome};
use protocols::time::{Now, Timestamp};
use serde_json::json;

use super::super::holder::{Holder, Known, Taken};
use super::super::home::{AnswerBody, Batch, Effect, Finished, Home};
use super::super::owner::{After, Answered, Errand, HomeId, InstanceId, RECORD, Report, Undelivered};
use super::super::table::{Act, Arrival, Record, State, Table};
use super::super::target::repeat_safe;
use super::Chance;
use super::broker::{Broker, SESSION_MS};
use super::session::Connection;

const INSTANCES: usize = 3;
const PARTITIONS: usize = 4;
const DEVICES: usize = 5;
/// Devices beside these that connect once and never again.
const GHOSTS: usize = 3;
/// After how long, in milliseconds, a device that is away is forgotten: longer than any command is open, and a new home takes.
const FORGET_MS: u64 = 45_000;
/// After how long out of reach an instance is gone for good; some come back after it.
const GONE: Duration = Duration::from_secs(10);
/// Between two looks at the records of devices that nobody holds, in milliseconds.
const TIDY_MS: u64 = 3000;
/// Trouble is made for so long, in milliseconds.
const TROUBLE_MS: u64 = 60_000;
/// Most that an instance is stopped for.
const STOP_MS: u64 = 14_000;
/// Most that a deadline is ahead.
const DEADLINE_MS: u64 = 40_000;
/// Then everything heals, and all deadlines pass.
const END_MS: u64 = TROUBLE_MS + 60_000;
/// Most that an instance's clock is off, in milliseconds.
const SKEW_MS: u64 = 1500;
const START_MS: i64 = 1_772_359_200_000;

#[derive(Debug, Clone)]
enum Message {
    /// An errand, and when the sender started: peers know how far their monotonic clocks are apart.
    Hand(InstanceId, Errand, u64),
    Handed(CommandId, Result<(), Undelivered>),
    Ask(InstanceId, Vec<CommandId>, u64),
    Known(Vec<(CommandId, Known)>, u64),
    Report(Report),
    Acknowledge(CommandId),
    Ping(InstanceId),
    Pong,
    /// A new connection between homes: what has not been acknowledged comes again.
    Resume,
    /// The one who was meant lives no more; who answers is its successor.
    Stranger(InstanceId),
}

#[derive(Debug, Clone)]
enum Event {
    Tick(usize, u64),
    Resume(usize),
    Coordinate,
    Message {
        to: usize,
        from: InstanceId,
        link: u64,
        message: Message,
    },
    Step(usize, u64, u64),
    Answer(usize, u64, u64, CommandId, Ending),
    /// A driver accepts an offer that an earlier connection has brought.
    Accept(usize, u64, u64, Shown),
    End(usize, u64, u64),
    Commit(usize, u64, Batch, BTreeMap<usize, u64>, bool),
    Committed(usize, u64, Batch, bool, bool),
    OutcomesRead(usize, u64, i32, u64, Timestamp),
    Device(usize),
    /// A device is switched off for good.
    Leave(usize),
    Produce,
    Trouble,
}

#[derive(Debug)]
struct Watched {
    heard: u64,
    up: bool,
}

struct Instance {
    id: InstanceId,
    alive: bool,
    paused_until: u64,
    /// What came while it was stopped, in order.
    deferred: Vec<Event>,
    kafka_cut_until: u64,
    skew_ms: i64,
    started: u64,
    home: Home,
    holder: Holder,
    table: Table,
    connections: BTreeMap<u64, Connection>,
    devices: HashMap<DeviceId, u64>,
    sessions_read: usize,
    /// Generation, and the next offset to fetch.
    partitions: BTreeMap<usize, (u64, usize)>,
    writing: bool,
    confirm: bool,
    heartbeat: u64,
    dirty: BTreeSet<DeviceId>,
    watched: BTreeMap<InstanceId, Watched>,
    tidied: u64,
}

#[derive(Debug, Clone, Default)]
struct Device {
    /// Instance, its life, and the session.
    at: Option<(usize, u64, u64)>,
    /// When it connected last.
    since: u64,
    /// Offers on its screen.
    shown: Vec<Shown>,
}

/// An offer on a screen.
#[derive(Debug, Clone)]
struct Shown {
    command: Arc<Command>,
    /// The session that wrote it.
    by: u64,
    /// Where in the sessions topic a record tells of it.
    recorded: Option<usize>,
}

struct Write {
    command: Arc<Command>,
    at: u64,
    by: InstanceId,
}

/// See the module.
pub(super) struct World {
    chance: Chance,
    tell: bool,
    now: u64,
    count: u64,
    events: BinaryHeap<Reverse<(u64, u64, usize)>>,
    bodies: Vec<Option<Event>>,
    broker: Broker,
    instances: Vec<Instance>,
    devices: Vec<Device>,
    /// Until when a link is cut, and how often it was made anew.
    links: BTreeMap<(usize, usize), (u64, u64)>,
    next_session: u64,
    next_boot: u64,
    produced: Vec<(usize, Vec<u8>)>,
    commands: BTreeMap<CommandId, Arc<Command>>,
    /// Commands of which records stand in several partitions: in how many.
    copies: BTreeMap<String, BTreeSet<usize>>,
    nameless: Vec<(i32, i64)>,
    writes: Vec<Write>,
    /// When everything healed.
    healed: Option<u64>,
    complaints: Vec<String>,
}

impl World {
    pub(super) fn new(seed: u64, tell: bool) -> Self {
        let mut world = Self {
            chance: Chance::new(seed),
            tell,
            now: 0,
            count: 0,
            events: BinaryHeap::new(),
            bodies: Vec::new(),
            broker: Broker::new(PARTITIONS),
            instances: Vec::new(),
            devices: vec![Device::default(); DEVICES + GHOSTS],
            links: BTreeMap::new(),
            next_session: 1,
            next_boot: 1,
            produced: Vec::new(),
            commands: BTreeMap::new(),
            copies: BTreeMap::new(),
            nameless: Vec::new(),
            writes: Vec::new(),
            healed: None,
            complaints: Vec::new(),
        };
        for n in 0..INSTANCES {
            let instance = world.instance(n);
            world.instances.push(instance);
            let after = world.chance.ms(0, 2000);
            world.after(after, Event::Tick(n, 0));
        }
        for n in 0..DEVICES {
            let after = world.chance.ms(0, 3000);
            world.after(after, Event::Device(n));
        }
        for n in DEVICES..DEVICES + GHOSTS {
            let (first, last) = (world.chance.ms(3000, 15_000), world.chance.ms(16_000, 50_000));
            world.after(first, Event::Device(n));
            world.after(last, Event::Leave(n));
        }
        world.after(100, Event::Coordinate);
        world.after(3000, Event::Produce);
        world.after(5000, Event::Trouble);
        world
    }

    fn instance(&mut self, n: usize) -> Instance {
        let id = InstanceId { gateway: format!("gw-{n}").into(), boot: self.next_boot };
        self.next_boot += 1;
        let table = Table::new(id.clone(), Some(format!("gw-{n}:9901").into()));
        Instance {
            home: Home::new(id.clone(), Duration::from_secs(3600)),
            holder: Holder::default(),
            table,
            id,
            alive: true,
            paused_until: 0,
            deferred: Vec::new(),
            kafka_cut_until: 0,
            skew_ms: self.chance.ms(0, 2 * SKEW_MS) as i64 - SKEW_MS as i64,
            started: self.now,
            connections: BTreeMap::new(),
            devices: HashMap::new(),
            sessions_read: 0,
            partitions: BTreeMap::new(),
            writing: false,
            confirm: false,
            heartbeat: self.now,
            dirty: BTreeSet::new(),
            watched: BTreeMap::new(),
            tidied: self.now,
        }
    }

    fn say(&self, text: impl FnOnce() -> String) {
        if self.tell {
            println!("{:>7} {}", self.now, text());
        }
    }

    fn after(&mut self, ms: u64, event: Event) {
        let at = self.now + ms;
        self.bodies.push(Some(event));
        self.events.push(Reverse((at, self.count, self.bodies.len() - 1)));
        self.count += 1;
    }

    fn utc(&self) -> Timestamp {
        Timestamp::from_millis(START_MS + self.now as i64)
    }

    fn clock(&self, n: usize) -> Now {
        let instance = &self.instances[n];
        Now {
            utc: Timestamp::from_millis(START_MS + self.now as i64 + instance.skew_ms),
            uptime: Duration::from_millis(self.now - instance.started),
        }
    }

    fn lives(&self, n: usize, life: u64) -> bool {
        self.instances[n].alive && self.instances[n].id.boot == life
    }

    pub(super) fn run(&mut self) {
        // the first lives have the boots 1, 2, 3
        for n in 0..INSTANCES {
            let life = self.instances[n].id.boot;
            self.after(n as u64, Event::Tick(n, life));
        }
        while let Some(Reverse((at, _, body))) = self.events.pop() {
            if at > END_MS {
                break;
            }
            self.now = at;
            let Some(event) = self.bodies[body].take() else { continue };
            if let Some(n) = whose(&event)
                && (self.instances[n].paused_until > self.now || !self.instances[n].deferred.is_empty())
            {
                if self.instances[n].deferred.is_empty() {
                    let wait = self.instances[n].paused_until - self.now;
                    self.after(wait, Event::Resume(n));
                }
                self.instances[n].deferred.push(event);
                continue;
            }
            self.handle(event);
        }
    }

    fn handle(&mut self, event: Event) {
        match event {
            Event::Tick(n, life) => {
                if self.lives(n, life) {
                    self.tick(n);
                    self.after(100, Event::Tick(n, life));
                }
            }
            Event::Resume(n) => {
                let left = self.instances[n].paused_until.saturating_sub(self.now);
                if left > 0 {
                    self.after(left, Event::Resume(n));
                } else {
                    for event in std::mem::take(&mut self.instances[n].deferred) {
                        self.handle(event);
                    }
                }
            }
            Event::Coordinate => {
                self.broker.coordinate(self.now);
                self.after(100, Event::Coordinate);
            }
            Event::Message { to, from, link, message } => {
                if self.instances[to].alive && self.link(to, number(&from)).1 == link {
                    self.receive(to, &from, message);
                }
            }
            Event::Step(n, life, session) => {
                if self.lives(n, life) {
                    self.step(n, session);
                }
            }
            Event::Answer(n, life, session, id, result) => {
                if self.lives(n, life)
                    && let Some(report) = self.instances[n].connections.get_mut(&session).and_then(|c| c.answer(&id, result))
                {
                    self.report(n, report);
                }
            }
            Event::Accept(n, life, session, shown) => {
                if self.lives(n, life) {
                    self.accept(n, session, &shown);
                }
            }
            Event::End(n, life, session) => {
                if self.lives(n, life) {
                    self.close(n, session);
                }
            }
            Event::Commit(n, life, batch, generations, confirm) => self.commit(n, life, batch, generations, confirm),
            Event::Committed(n, life, batch, done, confirm) => {
                if self.lives(n, life) {
                    self.committed(n, batch, done, confirm);
                }
            }
            Event::OutcomesRead(n, life, partition, generation, since) => {
                if self.lives(n, life) && self.instances[n].partitions.get(&(partition as usize)).is_some_and(|p| p.0 == generation)
                {
                    self.outcomes_read(n, partition, since);
                }
            }
            Event::Device(d) => self.device(d),
            Event::Leave(d) => self.leave(d),
            Event::Produce => self.produce(),
            Event::Trouble => self.trouble(),
        }
    }
}

/// Whose event it is, that waits while its instance is stopped.
const fn whose(event: &Event) -> Option<usize> {
    match event {
        Event::Tick(n, _)
        | Event::Message { to: n, .. }
        | Event::Step(n, ..)
        | Event::Answer(n, ..)
        | Event::Accept(n, ..)
        | Event::End(n, ..)
        | Event::Committed(n, ..)
        | Event::OutcomesRead(n, ..) => Some(*n),
        Event::Resume(_)
        | Event::Commit(..)
        | Event::Coordinate
        | Event::Device(_)
        | Event::Leave(_)
        | Event::Produce
        | Event::Trouble => None,
    }
}

fn number(instance: &InstanceId) -> usize {
    instance.gateway.rsplit('-').next().unwrap().parse().unwrap()
}

fn device_id(d: usize) -> DeviceId {
    DeviceId::normalise(&format!("1380000000{}", d + 1)).unwrap()
}
