//! What an instance does: the glue around home, holder and table, in small.

use super::*;

impl World {
    pub(super) fn tick(&mut self, n: usize) {
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
        if self.now >= self.instances[n].tidied + TIDY_MS {
            self.instances[n].tidied = self.now;
            self.tidy(n);
        }
        self.effects(n);
        self.write(n);
    }

    /// The records of devices that nobody holds.
    fn tidy(&mut self, n: usize) {
        let now = self.clock(n);
        let instance = &mut self.instances[n];
        let mut acts = Vec::new();
        for (device, of) in instance.home.orphans(GONE, &instance.table, now) {
            instance.table.orphaned(&device, &of, now, &mut acts);
        }
        let before = now.utc.plus_millis(-(FORGET_MS as i64));
        for device in instance.table.forget(before, |device| instance.home.keeps(device)) {
            instance.dirty.insert(device);
        }
        self.acts(n, acts);
    }

    pub(super) fn group(&mut self, n: usize) {
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
                self.instances[n].home.on_spread(PARTITIONS as u32);
                self.instances[n].home.on_assigned(partition as i32, start, boundary, now);
            }
        }
    }

    pub(super) fn fetch(&mut self, n: usize) {
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
                if let Some(connection) = self.instances[n].connections.get_mut(&record.session.0) {
                    connection.in_topic = record.revision;
                }
            }
            self.broker.sessions.push((device, record));
        }
        self.acts(n, acts);
        for (partition, (_, next)) in self.instances[n].partitions.clone() {
            let arrived: Vec<_> = self.broker.commands[partition][next..].to_vec();
            for arrived in arrived {
                let instance = &mut self.instances[n];
                instance.home.on_record(arrived, &instance.table, now);
                if let Some(p) = instance.partitions.get_mut(&partition) {
                    p.1 += 1;
                }
            }
        }
    }

    pub(super) fn acts(&mut self, n: usize, acts: Vec<Act>) {
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

    pub(super) fn effects(&mut self, n: usize) {
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
                        let change = |kept: &mut DeviceState| {
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

    pub(super) fn take(&mut self, n: usize, errand: Errand, _me: &InstanceId) -> Result<(), Undelivered> {
        let id = errand.command.id.clone();
        match self.instances[n].holder.take(&errand) {
            Taken::New => {}
            Taken::Full => return Err(Undelivered::Full),
            Taken::Stale => return Err(Undelivered::Claimed),
            Taken::Before(Known::Ended { answered, .. }) => {
                let report = Report { command_id: id, device_id: errand.command.device_id.clone(), home: errand.home, answered };
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

    pub(super) fn known(&mut self, n: usize, home: &InstanceId, ids: Vec<CommandId>) -> Vec<(CommandId, Known)> {
        let now = self.clock(n).uptime;
        ids.into_iter().map(|id| (id.clone(), self.instances[n].holder.ask(home, &id, now))).collect()
    }

    /// A connection of ours reports.
    pub(super) fn report(&mut self, n: usize, report: Report) {
        self.say(|| format!("gw-{n}: {} {:?}", report.command_id.as_str(), report.answered));
        let now = self.clock(n).uptime;
        for report in self.instances[n].holder.on_report(report, now) {
            self.route(n, report);
        }
    }

    pub(super) fn route(&mut self, n: usize, report: Report) {
        let me = self.instances[n].id.clone();
        if report.home == me || report.home.is_anyone() {
            let now = self.clock(n);
            let instance = &mut self.instances[n];
            instance.home.on_report(&me, report.clone(), &instance.table, now);
            self.effects(n);
        }
        if report.home.is_anyone() {
            let others: Vec<_> =
                self.instances.iter().filter(|i| i.alive && i.watched.contains_key(&me)).map(|i| i.id.clone()).collect();
            for to in others {
                self.send_to(n, &to, Message::Report(report.clone()));
            }
        } else if report.home != me {
            let to = report.home.clone();
            self.send_to(n, &to, Message::Report(report));
        }
    }

    pub(super) fn receive(&mut self, n: usize, from: &InstanceId, message: Message) {
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
                self.say(|| {
                    format!(
                        "{from} tells gw-{n} {}",
                        known.iter().map(|(id, k)| format!("{} {k:?}", id.as_str())).collect::<Vec<_>>().join(", ")
                    )
                });
                let instance = &mut self.instances[n];
                instance.home.on_known(from, number, known, &instance.table, now);
            }
            Message::Report(report) => {
                let instance = &mut self.instances[n];
                if report.home == me || report.home.is_anyone() {
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

    pub(super) fn watch(&mut self, n: usize) {
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

    pub(super) fn link(&mut self, a: usize, b: usize) -> (u64, u64) {
        *self.links.entry((a.min(b), a.max(b))).or_default()
    }

    pub(super) fn send_to(&mut self, n: usize, to: &InstanceId, message: Message) {
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

    pub(super) fn write(&mut self, n: usize) {
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

    pub(super) fn commit(&mut self, n: usize, life: u64, batch: Batch, generations: BTreeMap<usize, u64>, confirm: bool) {
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
                if done && o.result == Ending::Expired && answer.device.as_ref().is_some_and(|device| self.could_be_told(device)) {
                    self.complaints.push(format!("{:?} expired though its device was within reach", o.command_id));
                }
            }
        }
        self.after(after, Event::Committed(n, life, batch, done, confirm));
    }

    pub(super) fn committed(&mut self, n: usize, batch: Batch, done: bool, confirm: bool) {
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

    pub(super) fn outcomes_read(&mut self, n: usize, partition: i32, since: Timestamp) {
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
}
