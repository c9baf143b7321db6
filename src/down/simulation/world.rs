//! Instances, devices, links and time.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use protocols::command::{Command, CommandId, read};
use protocols::identity::{DeviceId, SessionId};
use protocols::outcome::{Ending, EndingReason};
use protocols::time::{Now, Timestamp};
use serde_json::json;

use super::super::holder::{Holder, Known, Taken};
use super::super::home::{AnswerBody, Batch, Effect, Finished, Home};
use super::super::owner::{Errand, InstanceId, Report, Undelivered};
use super::super::table::{Act, Arrival, Table};
use super::super::target::repeat_safe;
use super::Chance;
use super::broker::{Broker, SESSION_MS};
use super::session::Connection;

const INSTANCES: usize = 3;
const PARTITIONS: usize = 4;
const DEVICES: usize = 5;
/// Trouble is made for so long, in milliseconds.
const TROUBLE_MS: u64 = 60_000;
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
    Coordinate,
    Message { to: usize, from: InstanceId, link: u64, message: Message },
    Step(usize, u64, u64),
    Answer(usize, u64, u64, CommandId, Ending),
    End(usize, u64, u64),
    Commit(usize, u64, Batch, BTreeMap<usize, u64>, bool),
    Committed(usize, u64, Batch, bool, bool),
    OutcomesRead(usize, u64, i32, u64, Timestamp),
    Device(usize),
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
}

#[derive(Debug, Clone, Copy)]
struct Device {
    /// Instance, its life, and the session.
    at: Option<(usize, u64, u64)>,
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
    nameless: Vec<(i32, i64)>,
    writes: Vec<Write>,
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
            devices: vec![Device { at: None }; DEVICES],
            links: BTreeMap::new(),
            next_session: 1,
            next_boot: 1,
            produced: Vec::new(),
            commands: BTreeMap::new(),
            nameless: Vec::new(),
            writes: Vec::new(),
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
                && self.instances[n].paused_until > self.now
            {
                let wait = self.instances[n].paused_until - self.now;
                self.after(wait, event);
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
                if self.lives(n, life) && self.instances[n].partitions.get(&(partition as usize)).is_some_and(|p| p.0 == generation) {
                    self.outcomes_read(n, partition, since);
                }
            }
            Event::Device(d) => self.device(d),
            Event::Produce => self.produce(),
            Event::Trouble => self.trouble(),
        }
    }

    // --- instances

    fn tick(&mut self, n: usize) {
        let now = self.clock(n);
        if self.instances[n].kafka_cut_until <= self.now {
            self.group(n);
            self.fetch(n);
        } else if self.now > self.instances[n].heartbeat + SESSION_MS {
            // librdkafka gives up by itself
            for partition in std::mem::take(&mut self.instances[n].partitions).into_keys() {
                self.instances[n].home.on_revoked(partition as i32);
            }
        }
        let instance = &mut self.instances[n];
        instance.home.tick(&instance.table, now);
        instance.holder.forget(now.uptime);
        let overdue: Vec<Report> = instance.connections.values_mut().flat_map(|c| c.overdue(now.uptime)).collect();
        for report in overdue {
            self.report(n, report);
        }
        self.watch(n);
        self.effects(n);
        self.write(n);
    }

    fn group(&mut self, n: usize) {
        let held = self.broker.heartbeat(n, self.now);
        self.instances[n].heartbeat = self.now;
        let now = self.clock(n);
        let gone: Vec<usize> =
            self.instances[n].partitions.iter().filter(|(p, (g, _))| held.get(p) != Some(g)).map(|(p, _)| *p).collect();
        for partition in gone {
            self.say(|| format!("gw-{n} gives up partition {partition}"));
            self.instances[n].partitions.remove(&partition);
            self.instances[n].home.on_revoked(partition as i32);
        }
        self.broker.given_up(n);
        for (partition, generation) in held {
            if !self.instances[n].partitions.contains_key(&partition) {
                let start = self.broker.committed[partition];
                let boundary = self.broker.commands[partition].len() as i64;
                self.say(|| format!("gw-{n} gets partition {partition} from {start}, {boundary} are there"));
                self.instances[n].partitions.insert(partition, (generation, start as usize));
                self.instances[n].home.on_assigned(partition as i32, start, boundary, now);
            }
        }
    }

    fn fetch(&mut self, n: usize) {
        let now = self.clock(n);
        let first = self.instances[n].sessions_read == 0;
        let records = self.broker.sessions[self.instances[n].sessions_read..].to_vec();
        self.instances[n].sessions_read = self.broker.sessions.len();
        let mut acts = Vec::new();
        for (device, record) in records {
            self.instances[n].table.on_record(&device, record, now, &mut acts);
        }
        if first {
            self.instances[n].table.loaded(now, &mut acts);
        }
        self.acts(n, acts);
        let dirty = std::mem::take(&mut self.instances[n].dirty);
        let mut acts = Vec::new();
        for device in dirty {
            let record = self.instances[n].table.record(&device).cloned();
            if let Some(record) = &record {
                self.instances[n].table.published(&device, record.session, &mut acts);
            }
            self.broker.sessions.push((device, record));
        }
        self.acts(n, acts);
        for (partition, (_, next)) in self.instances[n].partitions.clone() {
            for arrived in self.broker.commands[partition][next..].to_vec() {
                let instance = &mut self.instances[n];
                instance.home.on_record(arrived, &instance.table, now);
                if let Some(p) = instance.partitions.get_mut(&partition) {
                    p.1 += 1;
                }
            }
        }
    }

    fn acts(&mut self, n: usize, acts: Vec<Act>) {
        let now = self.clock(n);
        for act in acts {
            match act {
                Act::Publish(device) => drop(self.instances[n].dirty.insert(device)),
                Act::Close(_, session) => {
                    let (after, life) = (self.chance.ms(1, 300), self.instances[n].id.boot);
                    self.after(after, Event::End(n, life, session.0));
                }
                Act::Moved(device) => {
                    let instance = &mut self.instances[n];
                    instance.home.on_moved(&device, &instance.table, now);
                }
            }
        }
    }

    fn effects(&mut self, n: usize) {
        let now = self.clock(n);
        loop {
            let effects = self.instances[n].home.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                match effect {
                    Effect::Hand { to, errand } if to == self.instances[n].id => {
                        let id = errand.command.id.clone();
                        let taken = self.take(n, errand, &to);
                        let instance = &mut self.instances[n];
                        instance.home.on_handed(&id, &to, taken, &instance.table, now);
                    }
                    Effect::Hand { to, errand } => {
                        let started = self.instances[n].started;
                        self.send_to(n, &to, Message::Hand(to.clone(), errand, started));
                    }
                    Effect::Ask { of, ids, number } if of == self.instances[n].id => {
                        let known = self.known(n, &of, ids);
                        self.say(|| format!("gw-{n} knows {known:?}"));
                        let instance = &mut self.instances[n];
                        instance.home.on_known(&of, number, known, &instance.table, now);
                    }
                    Effect::Ask { of, ids, number } => self.send_to(n, &of, Message::Ask(of.clone(), ids, number)),
                    Effect::Acknowledge { to, id } if to == self.instances[n].id => {
                        self.instances[n].holder.acknowledged(&to, &id);
                    }
                    Effect::Acknowledge { to, id } => self.send_to(n, &to, Message::Acknowledge(id)),
                    Effect::ReadOutcomes { partition, since } => {
                        let (life, generation) = (self.instances[n].id.boot, self.instances[n].partitions[&(partition as usize)].0);
                        let after = self.chance.ms(5, 400);
                        self.after(after, Event::OutcomesRead(n, life, partition, generation, since));
                    }
                    Effect::Keep { device, driver } => {
                        let mut acts = Vec::new();
                        let change = |kept: &mut protocols::desk::DeviceState| {
                            kept.driver = Some(driver);
                            true
                        };
                        self.instances[n].table.keep_away(&device, now, change, &mut acts);
                        self.acts(n, acts);
                    }
                    Effect::Confirm => self.instances[n].confirm = true,
                }
            }
        }
    }

    fn take(&mut self, n: usize, errand: Errand, _me: &InstanceId) -> Result<(), Undelivered> {
        let id = errand.command.id.clone();
        match self.instances[n].holder.take(&errand) {
            Taken::New => {}
            Taken::Full => return Err(Undelivered::Full),
            Taken::Stale => return Err(Undelivered::NotHere),
            Taken::Before(Known::Ended { answered, .. }) => {
                let report = Report {
                    command_id: id,
                    device_id: errand.command.device_id.clone(),
                    home: errand.home,
                    answered,
                };
                self.route(n, report);
                return Ok(());
            }
            Taken::Before(_) => return Ok(()),
        }
        let instance = &mut self.instances[n];
        let session = instance.devices.get(&errand.command.device_id).copied();
        let connection = session.and_then(|s| instance.connections.get_mut(&s));
        let taken = connection.map_or(Err(Undelivered::NotHere), |c| c.deliver(errand.clone()));
        match (taken, session) {
            (Ok(()), Some(session)) => {
                self.instances[n].holder.delivered(&errand);
                self.say(|| format!("gw-{n} takes {} of {}", id.as_str(), errand.home));
                let slow = self.chance.one_in(4);
                let (after, life) = (self.chance.ms(0, if slow { 4000 } else { 20 }), self.instances[n].id.boot);
                self.after(after, Event::Step(n, life, session));
                Ok(())
            }
            (taken, _) => taken,
        }
    }

    fn known(&mut self, n: usize, home: &InstanceId, ids: Vec<CommandId>) -> Vec<(CommandId, Known)> {
        let now = self.clock(n).uptime;
        ids.into_iter().map(|id| (id.clone(), self.instances[n].holder.ask(home, &id, now))).collect()
    }

    /// A connection of ours reports.
    fn report(&mut self, n: usize, report: Report) {
        self.say(|| format!("gw-{n}: {} {:?}", report.command_id.as_str(), report.answered));
        let report = self.instances[n].holder.on_report(report);
        self.route(n, report);
    }

    fn route(&mut self, n: usize, report: Report) {
        let me = self.instances[n].id.clone();
        if report.home == me {
            let now = self.clock(n);
            let instance = &mut self.instances[n];
            instance.home.on_report(&me, report, &instance.table, now);
            self.effects(n);
        } else {
            let to = report.home.clone();
            self.send_to(n, &to, Message::Report(report));
        }
    }

    fn receive(&mut self, n: usize, from: &InstanceId, message: Message) {
        let now = self.clock(n);
        let me = self.instances[n].id.clone();
        match message {
            Message::Hand(meant, _, _) | Message::Ask(meant, _, _) | Message::Ping(meant) if meant != me => {
                self.send_to(n, from, Message::Stranger(meant));
            }
            Message::Hand(_, mut errand, started) => {
                let deadline = Duration::from_millis(started) + errand.deadline;
                errand.deadline = deadline.saturating_sub(Duration::from_millis(self.instances[n].started));
                let id = errand.command.id.clone();
                let taken = self.take(n, errand, from);
                self.send_to(n, from, Message::Handed(id, taken));
            }
            Message::Handed(id, taken) => {
                let instance = &mut self.instances[n];
                instance.home.on_handed(&id, from, taken, &instance.table, now);
            }
            Message::Ask(_, ids, number) => {
                let known = self.known(n, from, ids);
                self.send_to(n, from, Message::Known(known, number));
            }
            Message::Known(known, number) => {
                self.say(|| format!("{from} tells gw-{n} {}", known.iter().map(|(id, k)| format!("{} {k:?}", id.as_str())).collect::<Vec<_>>().join(", ")));
                let instance = &mut self.instances[n];
                instance.home.on_known(from, number, known, &instance.table, now);
            }
            Message::Report(report) => {
                let instance = &mut self.instances[n];
                if report.home == me {
                    instance.home.on_report(from, report, &instance.table, now);
                }
            }
            Message::Acknowledge(id) => self.instances[n].holder.acknowledged(from, &id),
            Message::Ping(_) => self.send_to(n, from, Message::Pong),
            Message::Pong => {
                let Some(watched) = self.instances[n].watched.get_mut(from) else { return };
                watched.heard = self.now;
                if !std::mem::replace(&mut watched.up, true) {
                    self.say(|| format!("gw-{n} reaches {from} again"));
                    self.send_to(n, from, Message::Resume);
                    let instance = &mut self.instances[n];
                    instance.home.on_up(from, &instance.table, now);
                }
            }
            Message::Resume => {
                for report in self.instances[n].holder.unacknowledged(from) {
                    self.send_to(n, from, Message::Report(report));
                }
            }
            Message::Stranger(meant) => {
                let instance = &mut self.instances[n];
                if instance.watched.remove(&meant).is_some() {
                    instance.home.on_lost(&meant, &instance.table, now);
                }
            }
        }
        self.effects(n);
    }

    fn watch(&mut self, n: usize) {
        let (moment, now) = (self.now, self.clock(n));
        let all: Vec<_> = self.instances[n].watched.keys().cloned().collect();
        for instance in all {
            self.send_to(n, &instance, Message::Ping(instance.clone()));
            let Some(watched) = self.instances[n].watched.get_mut(&instance) else { continue };
            if watched.up && moment > watched.heard + 1000 {
                watched.up = false;
                self.instances[n].home.on_down(&instance, now);
                self.say(|| format!("gw-{n} cannot reach {instance}"));
            }
        }
    }

    fn link(&mut self, a: usize, b: usize) -> (u64, u64) {
        *self.links.entry((a.min(b), a.max(b))).or_default()
    }

    fn send_to(&mut self, n: usize, to: &InstanceId, message: Message) {
        let target = number(to);
        let moment = self.now;
        self.instances[n].watched.entry(to.clone()).or_insert(Watched { heard: moment, up: true });
        let (cut_until, link) = self.link(n, target);
        if cut_until > self.now {
            return;
        }
        let from = self.instances[n].id.clone();
        // in order within a link: delays of a link do not vary within a history
        let delay = 1 + (n * 7 + target * 3) as u64 % 5;
        self.after(delay, Event::Message { to: target, from, link, message });
    }

    fn write(&mut self, n: usize) {
        let instance = &mut self.instances[n];
        if instance.writing || instance.kafka_cut_until > self.now {
            return;
        }
        let confirm = std::mem::take(&mut instance.confirm);
        let Some(batch) = instance.home.batch(self.chance.one_in(10), 50).or_else(|| confirm.then(Batch::default)) else { return };
        let generations: BTreeMap<usize, u64> = instance.partitions.iter().map(|(p, (g, _))| (*p, *g)).collect();
        instance.writing = true;
        let (after, life) = (self.chance.ms(2, 60), instance.id.boot);
        self.after(after, Event::Commit(n, life, batch, generations, confirm));
    }

    fn commit(&mut self, n: usize, life: u64, batch: Batch, generations: BTreeMap<usize, u64>, confirm: bool) {
        let (after, cut) = (self.chance.ms(1, 20), self.instances[n].kafka_cut_until);
        if cut > self.now && self.lives(n, life) {
            // it is tried until Kafka answers
            self.after(cut - self.now, Event::Commit(n, life, batch, generations, confirm));
            return;
        }
        let held = self.broker.held(n);
        let confirmed = !confirm || generations.iter().all(|(partition, generation)| held.get(partition) == Some(generation));
        let done = confirmed && self.broker.commit(n, &batch, &generations);
        for answer in &batch.answers {
            if let AnswerBody::Outcome(o) = &answer.body {
                let verb = if done { "commits" } else { "cannot commit" };
                self.say(|| format!("gw-{n} {verb} {:?}: {:?} {:?}, attempts {}", o.command_id, o.result, o.reason, o.attempts));
            }
        }
        self.after(after, Event::Committed(n, life, batch, done, confirm));
    }

    fn committed(&mut self, n: usize, batch: Batch, done: bool, confirm: bool) {
        let now = self.clock(n);
        let instance = &mut self.instances[n];
        instance.writing = false;
        if done {
            instance.home.on_written(&batch);
        } else {
            instance.home.on_not_written(batch);
        }
        if confirm {
            if done {
                instance.home.on_confirmed(&instance.table, now);
            } else {
                instance.confirm = true;
            }
        }
        self.effects(n);
    }

    fn outcomes_read(&mut self, n: usize, partition: i32, since: Timestamp) {
        let from = Home::outcomes_since(since);
        let mut known = HashSet::new();
        for (_, answer) in &self.broker.outcomes {
            if let AnswerBody::Outcome(outcome) = &answer.body
                && answer.partition == partition
                && answer.at >= from
            {
                known.extend(outcome.record.map(|r| Finished::Record(r.partition, r.offset)));
                known.extend(outcome.command_id.as_deref().and_then(CommandId::new).map(Finished::Id));
            }
        }
        let now = self.clock(n);
        let instance = &mut self.instances[n];
        instance.home.on_outcomes_read(partition, known, &instance.table, now);
        self.effects(n);
    }

    // --- connections

    fn step(&mut self, n: usize, session: u64) {
        let now = self.clock(n);
        let life = self.instances[n].id.boot;
        let Some(connection) = self.instances[n].connections.get_mut(&session) else { return };
        let (written, reports) = connection.step(now.uptime, now.utc);
        let (live, idle) = (connection.live, connection.is_idle());
        if let Some(errand) = written {
            let id = errand.command.id.clone();
            self.say(|| format!("gw-{n} writes {} (attempt {}) on session {session}, live {live}", id.as_str(), errand.attempt));
            self.writes.push(Write { command: errand.command, at: self.now, by: self.instances[n].id.clone() });
            if live && !self.chance.one_in(4) {
                let after = self.chance.ms(20, 6000);
                let result = if self.chance.one_in(3) { Ending::Rejected } else { Ending::Acknowledged };
                self.after(after, Event::Answer(n, life, session, id, result));
            }
        }
        if !idle {
            self.after(5, Event::Step(n, life, session));
        }
        for report in reports {
            self.report(n, report);
        }
    }

    fn close(&mut self, n: usize, session: u64) {
        let now = self.clock(n);
        let Some(connection) = self.instances[n].connections.remove(&session) else { return };
        let device = connection.device.clone();
        self.say(|| format!("gw-{n} closes session {session} of {device}"));
        if self.instances[n].devices.get(&device) == Some(&session) {
            self.instances[n].devices.remove(&device);
        }
        let mut acts = Vec::new();
        self.instances[n].table.closed(&device, connection.session, now, &mut acts);
        self.acts(n, acts);
        for report in connection.end() {
            self.report(n, report);
        }
        self.effects(n);
    }

    fn device(&mut self, d: usize) {
        let again = self.chance.ms(500, 12_000);
        self.after(again, Event::Device(d));
        // what a device leaves behind is noticed at once or after the idle time
        if let Some((n, life, session)) = self.devices[d].at.take() {
            if self.lives(n, life)
                && let Some(connection) = self.instances[n].connections.get_mut(&session)
            {
                if self.now < TROUBLE_MS || self.chance.one_in(2) {
                    connection.live = false;
                    let after = if self.chance.one_in(2) { 5 } else { 9000 };
                    self.after(after, Event::End(n, life, session));
                } else {
                    self.devices[d].at = Some((n, life, session));
                    return;
                }
            }
            if self.chance.one_in(3) {
                return;
            }
        }
        let n = self.chance.below(INSTANCES as u64) as usize;
        if !self.instances[n].alive || self.instances[n].paused_until > self.now {
            return;
        }
        let (now, device, session) = (self.clock(n), device_id(d), SessionId(self.next_session));
        self.next_session += 1;
        let mut acts = Vec::new();
        let arrival = Arrival { session, protocol: "jt808", peer: "203.0.113.1:1" };
        if self.instances[n].table.sign_on(&device, &arrival, now, &mut acts).is_none() {
            return;
        }
        self.say(|| format!("device {d} connects to gw-{n}, session {}", session.0));
        let life = self.instances[n].id.boot;
        if let Some(old) = self.instances[n].devices.insert(device.clone(), session.0) {
            self.after(3, Event::End(n, life, old));
        }
        self.instances[n].connections.insert(session.0, Connection::new(device, session));
        self.devices[d].at = Some((n, life, session.0));
        self.acts(n, acts);
        self.effects(n);
    }

    // --- the backend

    fn produce(&mut self) {
        if self.now >= TROUBLE_MS {
            return;
        }
        let again = self.chance.ms(10, 1200);
        self.after(again, Event::Produce);
        if self.chance.one_in(15) && !self.produced.is_empty() {
            let at = self.chance.below(self.produced.len() as u64) as usize;
            let (partition, value) = self.produced[at].clone();
            let utc = self.utc();
            self.broker.produce(partition, value, utc);
            return;
        }
        let d = self.chance.below(DEVICES as u64) as usize;
        let partition = if self.chance.one_in(5) { self.chance.below(PARTITIONS as u64) as usize } else { d % PARTITIONS };
        let utc = self.utc();
        if self.chance.one_in(25) {
            self.nameless.push((partition as i32, self.broker.commands[partition].len() as i64));
            self.broker.produce(partition, b"{\"id\":".to_vec(), utc);
            return;
        }
        let order = format!("A{}", self.chance.below(3));
        let stop = json!({"address": "x"});
        let (kind, content) = match self.chance.below(8) {
            0 | 1 => ("order_offer", json!({"order_id": order, "type": "immediate", "pickup": stop})),
            2 => ("order_assign", json!({"order_id": order, "won": false})),
            3 => ("order_cancel", json!({"order_id": order})),
            4 => ("text", json!({"text": "hello"})),
            5 => ("take_photo", json!({"channel": self.chance.below(2)})),
            6 => ("driver_authorization", json!({"driver_id": "D7", "authorized": true})),
            _ => ("output", json!({"name": "fuel", "state": true})),
        };
        let name = format!("c{}", self.commands.len());
        let deadline = utc.plus_millis(self.chance.ms(300, 20_000) as i64);
        let value = json!({"id": name, "device_id": device_id(d), "deadline": deadline, "kind": kind, kind: content}).to_string();
        let command = Arc::new(read(value.as_bytes(), Timestamp::from_millis(i64::MAX)).unwrap().command);
        self.say(|| format!("{name}: {kind} {content} for device {d} in partition {partition}, until {deadline}"));
        self.commands.insert(command.id.clone(), command);
        self.produced.push((partition, value.clone().into_bytes()));
        self.broker.produce(partition, value.into_bytes(), utc);
    }

    // --- trouble

    fn trouble(&mut self) {
        if self.now >= TROUBLE_MS {
            self.heal();
            return;
        }
        let again = self.chance.ms(300, 6000);
        self.after(again, Event::Trouble);
        let n = self.chance.below(INSTANCES as u64) as usize;
        let life = self.instances[n].id.boot;
        match self.chance.below(7) {
            0 if self.instances[n].alive => self.kill(n),
            0 | 1 if !self.instances[n].alive => self.start(n),
            1 if self.instances[n].alive => {
                // SIGTERM: the connections first, then the group
                self.say(|| format!("gw-{n} leaves"));
                for session in self.instances[n].connections.keys().copied().collect::<Vec<_>>() {
                    self.after(50, Event::End(n, life, session));
                }
                self.broker.leave(n);
            }
            2 | 3 if self.instances[n].alive => {
                let ms = self.chance.ms(200, 14_000);
                self.say(|| format!("gw-{n} is stopped for {ms} ms"));
                self.instances[n].paused_until = self.now + ms;
            }
            4 => {
                let (other, ms) = ((n + 1) % INSTANCES, self.chance.ms(100, 12_000));
                self.say(|| format!("gw-{n} and gw-{other} are cut apart for {ms} ms"));
                let until = self.now + ms;
                self.links.entry((n.min(other), n.max(other))).or_default().0 = until;
            }
            5 => {
                let other = (n + 1) % INSTANCES;
                self.say(|| format!("the link of gw-{n} and gw-{other} breaks"));
                self.links.entry((n.min(other), n.max(other))).or_default().1 += 1;
                for (a, b) in [(n, other), (other, n)] {
                    let moment = self.now;
                    for (instance, watched) in &mut self.instances[a].watched {
                        if number(instance) == b {
                            (watched.up, watched.heard) = (false, moment);
                        }
                    }
                }
                let pairs = [(n, other), (other, n)];
                for (a, b) in pairs {
                    let now = self.clock(a);
                    let instance = &mut self.instances[a];
                    let theirs: Vec<_> = instance.watched.keys().filter(|i| number(i) == b).cloned().collect();
                    for id in theirs {
                        instance.home.on_down(&id, now);
                    }
                }
            }
            _ => {
                let ms = self.chance.ms(200, 12_000);
                self.say(|| format!("gw-{n} is cut from Kafka for {ms} ms"));
                self.instances[n].kafka_cut_until = self.now + ms;
            }
        }
    }

    fn kill(&mut self, n: usize) {
        self.say(|| format!("gw-{n} is killed"));
        let instance = &mut self.instances[n];
        instance.alive = false;
        instance.paused_until = 0;
        instance.connections.clear();
        for device in &mut self.devices {
            if device.at.is_some_and(|(at, _, _)| at == n) {
                device.at = None;
            }
        }
    }

    fn start(&mut self, n: usize) {
        self.instances[n] = self.instance(n);
        let life = self.instances[n].id.boot;
        self.say(|| format!("gw-{n} starts, life {life}"));
        self.after(10, Event::Tick(n, life));
    }

    fn heal(&mut self) {
        self.say(|| "all heals".to_owned());
        for link in self.links.values_mut() {
            link.0 = 0;
        }
        for n in 0..INSTANCES {
            if !self.instances[n].alive {
                self.start(n);
            }
            self.instances[n].kafka_cut_until = 0;
        }
    }

    // --- what must hold

    pub(super) fn written(&self) -> usize {
        self.writes.iter().map(|w| &w.command.id).collect::<BTreeSet<_>>().len()
    }

    pub(super) fn commanded(&self) -> usize {
        self.commands.len()
    }

    /// Everything that did not hold.
    pub(super) fn complaints(&mut self) -> Vec<String> {
        let mut complaints = std::mem::take(&mut self.complaints);
        let mut outcomes: BTreeMap<&str, Vec<(Ending, Option<EndingReason>, u32)>> = BTreeMap::new();
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
            if ends.len() != 1 {
                complaints.push(format!("{} outcomes of {}: {ends:?}", ends.len(), id.as_str()));
            }
        }
        for place in &self.nameless {
            if nameless.get(place) != Some(&1) {
                complaints.push(format!("{:?} outcomes of the record {place:?}", nameless.get(place)));
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
            if writes.len() > 1 && !repeat_safe(&command.kind) {
                let all: Vec<_> = writes.iter().map(|w| (w.at, w.by.to_string())).collect();
                complaints.push(format!("{} ({}) was written {} times: {all:?}", id.as_str(), command.kind.name(), writes.len()));
            }
            for (result, reason, attempts) in outcomes.get(id.as_str()).into_iter().flatten() {
                let unwritten = matches!(result, Ending::Offline | Ending::Expired) || *reason == Some(EndingReason::NotShown);
                if unwritten || (*result == Ending::Superseded && *attempts == 0) {
                    complaints.push(format!("{} was written and ended {result:?} {reason:?}", id.as_str()));
                }
            }
        }
        complaints
    }
}

/// Whose event it is, that waits while its instance is stopped.
const fn whose(event: &Event) -> Option<usize> {
    match event {
        Event::Tick(n, _)
        | Event::Message { to: n, .. }
        | Event::Step(n, ..)
        | Event::Answer(n, ..)
        | Event::End(n, ..)
        | Event::Committed(n, ..)
        | Event::OutcomesRead(n, ..) => Some(*n),
        Event::Commit(..) | Event::Coordinate | Event::Device(_) | Event::Produce | Event::Trouble => None,
    }
}

fn number(instance: &InstanceId) -> usize {
    instance.gateway.rsplit('-').next().unwrap().parse().unwrap()
}

fn device_id(d: usize) -> DeviceId {
    DeviceId::normalise(&format!("1380000000{}", d + 1)).unwrap()
}
