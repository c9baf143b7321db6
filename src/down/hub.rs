//! The one task in which the home, the holder and the table live: everything that happens comes in as an [`Input`], in order.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use protocols::command::CommandId;
use protocols::desk::{DeviceState, DriverNow};
use protocols::identity::{DeviceId, SessionId};
use protocols::time::Now;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{broadcast, watch};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::courier::Courier;
use super::former::{self, Former};
use super::holder::{Holder, Known, Taken};
use super::home::{AnswerBody, Arrived, Batch, Effect, Finished, Home};
use super::kafka::{Kafka, Wish};
use super::look::{Look, Looks};
use super::owner::{Errand, HomeId, InstanceId, Report, Undelivered};
use super::peer::{Message, Peers, Security};
use super::record;
use super::table::{Act, Record};
use crate::clock;
use crate::config::Config;
use crate::gateway::Gateway;
use crate::tls::Files;

/// How often time is looked at: deadlines are whole tens of milliseconds to nobody. And how long answers wait for others to be
/// written with: a transaction costs Kafka some ten requests, however much is in it, and what a driver does is an event of its
/// own, which does not wait.
const TICK: Duration = Duration::from_millis(20);
/// Answers written at once: more is no faster.
const BATCH: usize = 500;
/// How often offsets that moved without an outcome are committed.
const SWEEP: Duration = Duration::from_secs(5);
/// How often the records of devices that nobody holds are looked through: they change after minutes or weeks.
const TIDY: Duration = Duration::from_secs(60);
/// An instance that has been out of reach for so long does not come back with its connections: its devices are away.
const GONE: Duration = Duration::from_secs(600);
/// At the end, for the last answers to be written.
const LAST_WORDS: Duration = Duration::from_secs(3);
/// Answers that a slow listener may lag behind before it loses some.
const LISTENERS: usize = 1024;

/// Something that happened.
#[derive(Debug)]
pub(crate) enum Input {
    /// In the session table.
    Acts(Vec<Act>),
    /// A record of the sessions topic.
    Session(DeviceId, Option<Record>),
    /// The sessions topic was read to its end.
    SessionsLoaded,
    /// A session record of ours stands in the topic, in this revision.
    Published(DeviceId, SessionId, u64),
    /// The commands topic has so many partitions.
    Spread(u32),
    /// A partition of commands is ours.
    Assigned(i32, i64, i64),
    /// It is no more. The group waits for the answer.
    Revoked(Vec<i32>, std::sync::mpsc::SyncSender<()>),
    /// A record of the commands topic.
    Command(Arrived),
    /// A partition's outcomes were read.
    OutcomesRead(i32, HashSet<Finished>),
    /// A batch was written, or not.
    Settled(Batch, bool),
    /// From another instance.
    Peer(InstanceId, Message),
    /// Another instance can be reached.
    PeerUp(InstanceId),
    /// It cannot.
    PeerDown(InstanceId),
    /// It is gone: another life has its place.
    PeerLost(InstanceId),
    /// A home has a new connection to us.
    HomeConnected(HomeId, UnboundedSender<Message>),
    /// A command by HTTP; only where there is no Kafka.
    Post(Vec<u8>),
    /// What is known of a device?
    Look(Look),
    /// To be said to another instance.
    Say(InstanceId, Message),
    /// This instance is going to end: others are the homes from now on.
    Leave,
}

/// How the rest of the process reaches the hub.
#[derive(Debug, Clone)]
pub(crate) struct Handle {
    pub(super) inputs: UnboundedSender<Input>,
    answers: broadcast::Sender<Arc<str>>,
    known: watch::Receiver<bool>,
    /// Writes commands where they come from Kafka; without it they come by HTTP.
    pub(crate) courier: Option<Arc<Courier>>,
}

impl Handle {
    /// A command by HTTP.
    pub(crate) fn post(&self, value: Vec<u8>) {
        let _ = self.inputs.send(Input::Post(value));
    }

    /// Be no home any more, wherever there is another: the process is going to end.
    pub(crate) fn leave(&self) {
        let _ = self.inputs.send(Input::Leave);
    }

    /// Until the sessions of all instances are known.
    pub(crate) async fn sessions_known(&self) {
        let _ = self.known.clone().wait_for(|known| *known).await;
    }

    /// Every record of outcomes from now on.
    pub(crate) fn listen(&self) -> broadcast::Receiver<Arc<str>> {
        self.answers.subscribe()
    }
}

/// Start it.
///
/// # Errors
/// A property that librdkafka does not know or take, or files for TLS that cannot be used.
pub(crate) async fn start(
    config: &Config,
    me: InstanceId,
    gateway: Arc<Gateway>,
    reports: UnboundedReceiver<Report>,
    peer: Option<tokio::net::TcpListener>,
    former: Former,
    stop: CancellationToken,
) -> Result<(Handle, JoinHandle<()>), String> {
    // what brings and takes goes on until the last answers are written
    let inner = CancellationToken::new();
    let (inputs, inbox) = unbounded_channel();
    gateway.sessions.tell(inputs.clone());
    let (answers, _) = broadcast::channel(LISTENERS);
    let load = Arc::new(AtomicUsize::new(0));
    let secrets: Vec<Vec<u8>> = config.security.secrets.iter().map(|s| s.reveal().as_bytes().to_vec()).collect();
    let kafka = match &peer {
        Some(_) => Some(Kafka::start(&config.kafka, &gateway.id, inputs.clone(), Arc::clone(&load), inner.clone())?),
        None => None,
    };
    let peers = match peer {
        Some(listener) => {
            let security = Files::of(&config.peer).and_then(|files| Security::new(secrets, files)).map_err(|r| r.to_string())?;
            Some(Peers::start(listener, me.clone(), security, inputs.clone(), inner.clone()))
        }
        None => None,
    };
    let embedded = kafka.is_none();
    let courier = kafka.is_some().then(|| Arc::new(Courier::new(&config.kafka, &gateway.id)));
    // alone there is nothing to read
    let (sessions_known, known) = watch::channel(embedded);
    let mut hub = Hub {
        inner,
        home: Home::new(me.clone(), config.commands.max_deadline_s.get()),
        holder: Holder::default(),
        me,
        gateway,
        inputs: inputs.clone(),
        kafka,
        peers,
        homes: HashMap::new(),
        writing: false,
        revoked: 0,
        gathered: false,
        confirm: false,
        confirming: false,
        swept: Duration::ZERO,
        sweep: false,
        tidied: Duration::ZERO,
        load,
        answers: answers.clone(),
        looks: Looks::default(),
        next_offset: 0,
        forget_after: config.sessions.forget_after_s.get(),
        unstored: VecDeque::new(),
        changed: HashSet::new(),
        sessions_known,
    };
    if embedded {
        hub.home.on_spread(1);
        hub.resume(former);
    }
    let running = tokio::spawn(hub.run(inbox, reports, stop));
    Ok((Handle { inputs, answers, known, courier }, running))
}

pub(super) struct Hub {
    inner: CancellationToken,
    pub(super) me: InstanceId,
    pub(super) home: Home,
    holder: Holder,
    pub(super) gateway: Arc<Gateway>,
    pub(super) inputs: UnboundedSender<Input>,
    kafka: Option<Kafka>,
    peers: Option<Peers>,
    /// Connections that homes have to us.
    pub(super) homes: HashMap<HomeId, UnboundedSender<Message>>,
    writing: bool,
    /// How often partitions were taken from us, as far as we know.
    revoked: u64,
    /// Answers have waited for others for long enough.
    gathered: bool,
    confirm: bool,
    confirming: bool,
    swept: Duration,
    /// Offsets that moved without an outcome are to be committed.
    sweep: bool,
    tidied: Duration,
    load: Arc<AtomicUsize>,
    answers: broadcast::Sender<Arc<str>>,
    pub(super) looks: Looks,
    /// Without Kafka: where the next command would stand.
    next_offset: i64,
    forget_after: Duration,
    /// Without Kafka: commands and answers on their way to the journal.
    unstored: VecDeque<(&'static str, Vec<u8>)>,
    /// And devices whose records are.
    changed: HashSet<DeviceId>,
    sessions_known: watch::Sender<bool>,
}

impl Hub {
    /// Without Kafka: go on where the life before this one ended, as a new home does.
    fn resume(&mut self, mut former: Former) {
        let now = clock::now();
        let gateway = Arc::clone(&self.gateway);
        let mut acts = Vec::new();
        for (device, record) in std::mem::take(&mut former.sessions) {
            gateway.sessions.table().on_record(&device, Some(record), now, &mut acts);
        }
        gateway.sessions.table().loaded(now, &mut acts);
        self.acts(acts);
        let (open, finished) = former.commands();
        self.next_offset = open.last().map_or(0, |last| last.offset + 1);
        self.home.on_assigned(0, 0, self.next_offset, now);
        for command in open {
            self.home.on_record(command, &gateway.sessions.table(), now);
        }
        self.home.on_outcomes_read(0, finished, &gateway.sessions.table(), now);
    }

    async fn run(mut self, mut inbox: UnboundedReceiver<Input>, mut reports: UnboundedReceiver<Report>, stop: CancellationToken) {
        let mut tick = tokio::time::interval(TICK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut end = None;
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled(), if end.is_none() => end = Some(clock::uptime() + LAST_WORDS),
                Some(report) = reports.recv() => self.on_report(report),
                Some(input) = inbox.recv() => self.take(input),
                _ = tick.tick() => self.tick(),
            }
            // what has come meanwhile belongs together
            while let Ok(report) = reports.try_recv() {
                self.on_report(report);
            }
            self.act();
            self.write();
            let done = !self.writing && self.home.unwritten() == 0;
            if end.is_some_and(|end| done || clock::uptime() >= end) {
                break;
            }
        }
        drop(inbox);
        self.inner.cancel();
        if let Some(kafka) = self.kafka.take() {
            let _ = tokio::task::spawn_blocking(move || kafka.stop()).await;
        }
    }

    fn tick(&mut self) {
        self.gathered = true;
        let now = clock::now();
        {
            let table = self.gateway.sessions.table();
            self.home.tick(&table, now);
        }
        self.holder.forget(now.uptime);
        let counts = self.home.counts();
        self.gateway.telemetry.home(self.home.open(), counts.repeated, counts.again);
        self.load.store(self.home.open() + self.home.unwritten(), Ordering::Relaxed);
        if now.uptime >= self.swept + SWEEP {
            self.swept = now.uptime;
            self.sweep = true;
        }
        if now.uptime >= self.tidied + TIDY {
            self.tidied = now.uptime;
            self.tidy(now);
        }
    }

    /// Look after the records of devices that nobody holds.
    fn tidy(&mut self, now: Now) {
        let before = now.utc.plus_millis(-i64::try_from(self.forget_after.as_millis()).unwrap_or(i64::MAX));
        let mut acts = Vec::new();
        {
            let table = &mut self.gateway.sessions.table();
            for (device, instance) in self.home.orphans(GONE, table, now) {
                table.orphaned(&device, &instance, now, &mut acts);
            }
            for device in table.forget(before, |device| self.home.keeps(device)) {
                match &self.kafka {
                    Some(kafka) => kafka.publish(device, None),
                    None => drop(self.changed.insert(device)),
                }
            }
        }
        self.acts(acts);
    }

    fn take(&mut self, input: Input) {
        let now = clock::now();
        let gateway = Arc::clone(&self.gateway);
        let sessions = &gateway.sessions;
        match input {
            Input::Acts(acts) => self.acts(acts),
            Input::Session(device, record) => {
                let mut acts = Vec::new();
                sessions.table().on_record(&device, record, now, &mut acts);
                self.acts(acts);
            }
            Input::SessionsLoaded => {
                let mut acts = Vec::new();
                sessions.table().loaded(now, &mut acts);
                self.acts(acts);
                self.sessions_known.send_replace(true);
            }
            Input::Published(device, session, revision) => {
                let mut acts = Vec::new();
                sessions.table().published(&device, session, &mut acts);
                sessions.published(&device, session, revision);
                self.acts(acts);
            }
            Input::Spread(partitions) => self.home.on_spread(partitions),
            Input::Assigned(partition, start, boundary) => self.home.on_assigned(partition, start, boundary, now),
            Input::Revoked(partitions, done) => {
                partitions.into_iter().for_each(|p| self.home.on_revoked(p));
                self.revoked += 1;
                let _ = done.try_send(());
            }
            Input::Command(arrived) => self.home.on_record(arrived, &sessions.table(), now),
            Input::OutcomesRead(partition, finished) => {
                self.home.on_outcomes_read(partition, finished, &sessions.table(), now);
            }
            Input::Settled(batch, written) => self.settled(batch, written),
            Input::Peer(from, message) => self.on_message(&from, message),
            Input::PeerUp(instance) => self.home.on_up(&instance, &sessions.table(), now),
            Input::PeerDown(instance) => self.home.on_down(&instance, now),
            Input::PeerLost(instance) => self.home.on_lost(&instance, &sessions.table(), now),
            Input::HomeConnected(home, connection) => {
                for report in self.holder.unacknowledged(&home) {
                    let _ = connection.send(Message::Report(report));
                }
                self.homes.insert(home, connection);
                self.homes.retain(|_, connection| !connection.is_closed());
            }
            Input::Post(value) => {
                self.unstored.extend(former::command_line(now.utc, &value).map(|line| ("commands", line)));
                let arrived = Arrived { partition: 0, offset: self.next_offset, timestamp: now.utc, value };
                self.next_offset += 1;
                self.home.on_record(arrived, &sessions.table(), now);
            }
            Input::Look(look) => self.look(look),
            Input::Say(to, message) => self.say(&to, message),
            Input::Leave => self.kafka.iter().for_each(Kafka::leave),
        }
    }

    fn acts(&mut self, acts: Vec<Act>) {
        let gateway = Arc::clone(&self.gateway);
        for act in acts {
            match act {
                Act::Publish(device) => {
                    if let Some(kafka) = &self.kafka {
                        let record = gateway.sessions.table().record(&device).cloned();
                        kafka.publish(device, record);
                    } else {
                        self.changed.insert(device);
                    }
                }
                Act::Close(_, session) => gateway.sessions.replaced(session),
                Act::Moved(device) => self.home.on_moved(&device, &gateway.sessions.table(), clock::now()),
            }
        }
    }

    /// Do what the home wants done, until it wants nothing more.
    fn act(&mut self) {
        loop {
            let effects = self.home.effects();
            if effects.is_empty() {
                return;
            }
            for effect in effects {
                self.perform(effect);
            }
        }
    }

    fn perform(&mut self, effect: Effect) {
        let now = clock::now();
        let gateway = Arc::clone(&self.gateway);
        match effect {
            Effect::Hand { to, errand } if to == self.me => {
                let id = errand.command.id.clone();
                let taken = self.deliver(errand);
                self.home.on_handed(&id, &to, taken, &gateway.sessions.table(), now);
            }
            Effect::Ask { of, ids, number } if of == self.me => {
                let me = self.me.clone();
                let known = self.known(&me, ids);
                self.home.on_known(&of, number, known, &gateway.sessions.table(), now);
            }
            Effect::Acknowledge { to, id } if to == self.me => self.holder.acknowledged(&to, &id),
            Effect::Hand { to, errand } => self.send(&to, Message::Hand(errand.into())),
            Effect::Ask { of, ids, number } => self.send(&of, Message::Ask { ids, number }),
            Effect::Acknowledge { to, id } => self.send(&to, Message::Acknowledge(id)),
            Effect::ReadOutcomes { partition, since } => {
                if let Some(kafka) = &self.kafka {
                    kafka.read_outcomes(partition, Home::outcomes_since(since));
                }
            }
            Effect::Keep { device, driver } => self.keep(&device, driver),
            Effect::Confirm => self.confirm = true,
        }
    }

    pub(super) fn send(&mut self, to: &InstanceId, message: Message) {
        let address = self.gateway.sessions.table().address(to).cloned();
        match (&mut self.peers, address) {
            (Some(peers), Some(address)) => peers.send(to, &address, message),
            // alone, it can only be an earlier life
            (None, _) => drop(self.inputs.send(Input::PeerLost(to.clone()))),
            _ => drop(self.inputs.send(Input::PeerDown(to.clone()))),
        }
    }

    fn keep(&mut self, device: &DeviceId, driver: DriverNow) {
        let mut acts = Vec::new();
        let change = |kept: &mut DeviceState| {
            kept.driver = Some(driver);
            true
        };
        self.gateway.sessions.table().keep_away(device, clock::now(), change, &mut acts);
        self.acts(acts);
    }

    /// As the owner: take an errand, and put it into the connection's mailbox.
    fn deliver(&mut self, errand: Errand) -> Result<(), Undelivered> {
        match self.holder.take(&errand) {
            Taken::New => {}
            Taken::Full => return Err(Undelivered::Full),
            Taken::Stale => return Err(Undelivered::Claimed),
            Taken::Before(Known::Ended { answered, .. }) => {
                let report = Report {
                    command_id: errand.command.id.clone(),
                    device_id: errand.command.device_id.clone(),
                    home: errand.home,
                    answered,
                };
                self.route(report);
                return Ok(());
            }
            Taken::Before(Known::Never | Known::Here { .. }) => return Ok(()),
        }
        let device = errand.command.device_id.clone();
        self.gateway.sessions.deliver(&device, errand.clone()).map_err(|(_, why)| why)?;
        self.holder.delivered(&errand);
        Ok(())
    }

    fn known(&mut self, home: &HomeId, ids: Vec<CommandId>) -> Vec<(CommandId, Known)> {
        let now = clock::uptime();
        ids.into_iter().map(|id| (id.clone(), self.holder.ask(home, &id, now))).collect()
    }

    /// A connection of ours reports.
    fn on_report(&mut self, report: Report) {
        for report in self.holder.on_report(report, clock::uptime()) {
            self.route(report);
        }
    }

    fn route(&mut self, report: Report) {
        if report.home == self.me || report.home.is_anyone() {
            let (me, gateway) = (self.me.clone(), Arc::clone(&self.gateway));
            self.home.on_report(&me, report.clone(), &gateway.sessions.table(), clock::now());
        }
        if report.home.is_anyone() {
            for home in self.homes.values() {
                let _ = home.send(Message::Report(report.clone()));
            }
        } else if let Some(home) = self.homes.get(&report.home) {
            let _ = home.send(Message::Report(report));
        }
    }

    fn on_message(&mut self, from: &InstanceId, message: Message) {
        let now = clock::now();
        let gateway = Arc::clone(&self.gateway);
        match message {
            Message::Hand(errand) => {
                let errand: Errand = errand.into();
                let id = errand.command.id.clone();
                let refused = self.deliver(errand).err();
                self.reply(from, Message::Handed { id, refused });
            }
            Message::Ask { ids, number } => {
                let known = self.known(from, ids);
                self.reply(from, Message::Known { known, number });
            }
            Message::Acknowledge(id) => self.holder.acknowledged(from, &id),
            Message::Handed { id, refused } => {
                let taken = refused.map_or(Ok(()), Err);
                self.home.on_handed(&id, from, taken, &gateway.sessions.table(), now);
            }
            Message::Known { known, number } => self.home.on_known(from, number, known, &gateway.sessions.table(), now),
            Message::Report(report) => self.home.on_report(from, report, &gateway.sessions.table(), now),
            Message::Look { device, number } => self.look_for(from.clone(), &device, number),
            Message::Seen { number, view } => self.looks.seen(number, from, *view),
            Message::Ping | Message::Pong => {}
        }
    }

    fn reply(&self, to: &HomeId, message: Message) {
        if let Some(home) = self.homes.get(to) {
            let _ = home.send(message);
        }
    }

    /// Have written what is to be written, one batch after the other.
    fn write(&mut self) {
        self.store_rest();
        if self.writing || !self.unstored.is_empty() {
            return;
        }
        if !(self.gathered || self.confirm || self.kafka.is_none() || self.home.unwritten() >= BATCH) {
            return;
        }
        self.gathered = false;
        let sweep = std::mem::take(&mut self.sweep);
        let batch = self.home.batch(sweep || self.confirm, BATCH);
        let Some(batch) = batch.or_else(|| self.confirm.then(|| self.home.proof())) else { return };
        self.writing = true;
        // one that was on its way before proves nothing
        self.confirming = std::mem::take(&mut self.confirm);
        match &self.kafka {
            Some(kafka) => kafka.write(Wish { batch, gateway: self.me.gateway.clone(), revoked: self.revoked }),
            None => {
                for answer in &batch.answers {
                    self.unstored.push_back(("outcomes", record::write(answer, &self.me.gateway).value));
                }
                self.store_rest();
                self.settled(batch, true);
            }
        }
    }

    /// Without Kafka the journal has all of it.
    fn store_rest(&mut self) {
        while let Some((topic, value)) = self.unstored.front() {
            if self.gateway.sink.note(topic, value).is_err() {
                return; // the tick tries again
            }
            self.unstored.pop_front();
        }
        if self.changed.is_empty() {
            return;
        }
        let (table, sink) = (self.gateway.sessions.table(), &self.gateway.sink);
        self.changed.retain(|device| sink.note("sessions", &former::session_line(device, table.record(device))).is_err());
    }

    fn settled(&mut self, batch: Batch, written: bool) {
        self.writing = false;
        let confirming = std::mem::take(&mut self.confirming);
        if !written {
            self.confirm |= confirming;
            self.home.on_not_written(batch);
            return;
        }
        self.home.on_written(&batch);
        for answer in &batch.answers {
            let written = record::write(answer, &self.me.gateway);
            if let Ok(text) = String::from_utf8(written.value) {
                let _ = self.answers.send(text.into());
            }
            if let AnswerBody::Outcome(outcome) = &answer.body {
                let kind = answer.measured.0.unwrap_or("unknown");
                self.gateway.telemetry.command_ended(kind, outcome.result, answer.measured.1);
                debug!(command = outcome.command_id, result = ?outcome.result, "outcome");
                self.looks.ended(answer, outcome);
            }
        }
        if confirming {
            let gateway = Arc::clone(&self.gateway);
            self.home.on_confirmed(&gateway.sessions.table(), clock::now());
        }
    }
}
