//! Connections, devices, the backend, and trouble.

use super::*;

impl World {
    pub(super) fn step(&mut self, n: usize, session: u64) {
        let now = self.clock(n);
        let life = self.instances[n].id.boot;
        self.note_order(n, session);
        let Some(connection) = self.instances[n].connections.get_mut(&session) else { return };
        let (written, reports) = connection.step(now.uptime, now.utc);
        let (live, idle) = (connection.live, connection.is_idle());
        if let Some(errand) = written {
            let id = errand.command.id.clone();
            if let Kind::OrderOffer(_) = errand.command.kind {
                self.offer_written(n, session, live, &errand.command);
            }
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

    /// What the next errand tells the device of is kept with the device first.
    fn note_order(&mut self, n: usize, session: u64) {
        let now = self.clock(n);
        let instance = &mut self.instances[n];
        let Some(connection) = instance.connections.get_mut(&session) else { return };
        let Some(errand) = connection.unseen() else { return };
        let Kind::OrderOffer(offer) = &errand.command.kind else { return connection.seen(None) };
        let device = &connection.device;
        let mut kept = instance.table.record(device).map_or_else(DeviceState::default, |r| r.kept.clone());
        kept.open_orders.retain(|o| o.order_id != offer.order_id);
        let order = json!({"order_id": offer.order_id, "command_id": errand.command.id, "stage": "offered"});
        kept.open_orders.push(serde_json::from_value(order).unwrap());
        let mut acts = Vec::new();
        let revision = instance.table.keep(device, connection.session, kept, &mut acts);
        connection.seen(revision.map(|revision| After::record(revision, now.uptime)));
        self.acts(n, acts);
    }

    /// Unless Kafka was out of reach, a record tells of an offer before its first byte goes out.
    fn offer_written(&mut self, n: usize, session: u64, live: bool, command: &Arc<Command>) {
        let tells = |record: &Option<Record>| {
            record.as_ref().is_some_and(|r| r.kept.open_orders.iter().any(|o| o.command_id.as_ref() == Some(&command.id)))
        };
        let of_device = |(device, record): &(DeviceId, Option<Record>)| *device == command.device_id && tells(record);
        let recorded = self.broker.sessions.iter().position(of_device);
        let instance = &self.instances[n];
        let trouble = instance.kafka_cut_until.max(instance.paused_until) + RECORD.as_millis() as u64 + 200;
        // nor has it to be told of one whose device is somewhere else by now
        let ours = instance.table.record(&command.device_id).is_some_and(|r| r.session.0 == session);
        if recorded.is_none() && ours && trouble < self.now {
            self.complaints.push(format!("{} was shown at {} before any record told of it", command.id.as_str(), self.now));
        }
        let device = (0..DEVICES).find(|d| device_id(*d) == command.device_id);
        if let Some(device) = device.filter(|_| live) {
            self.devices[device].shown.push(Shown { command: Arc::clone(command), by: session, recorded });
        }
    }

    /// The driver presses the key for an offer that an earlier connection has brought.
    pub(super) fn accept(&mut self, n: usize, session: u64, shown: &Shown) {
        let now = self.clock(n);
        let Some(connection) = self.instances[n].connections.get(&session).filter(|c| c.live) else { return };
        let (id, device) = (&shown.command.id, &shown.command.device_id);
        let kept = self.instances[n].table.record(device).filter(|r| r.session.0 == session).map(|r| &r.kept);
        let known = kept.is_some_and(|k| k.open_orders.iter().any(|o| o.command_id.as_ref() == Some(id)));
        if connection.has_written(id) || !known || now.utc >= shown.command.deadline {
            return;
        }
        let outcome = Outcome { attempts: 1, answered_at: Some(now.utc), ..Outcome::of(None, Ending::Acknowledged) };
        let home = HomeId::anyone();
        let report = Report { command_id: id.clone(), device_id: device.clone(), home, answered: Answered::Outcome(outcome) };
        self.report(n, report);
    }

    /// Whether a device's new session knows the offers on its screen; some of them are answered now.
    fn recall(&mut self, d: usize, n: usize, session: u64, before: Option<u64>) {
        let life = self.instances[n].id.boot;
        let known = self.instances[n].sessions_read;
        for shown in std::mem::take(&mut self.devices[d].shown) {
            let Kind::OrderOffer(offer) = &shown.command.kind else { continue };
            // the same order may have been offered again since
            let order = |r: &Record| r.kept.open_orders.iter().any(|o| o.order_id == offer.order_id);
            let missing = !self.instances[n].table.record(&device_id(d)).is_some_and(order);
            if missing && before == Some(shown.by) && shown.recorded.is_some_and(|at| at < known) {
                self.complaints
                    .push(format!("session {session} does not know {}, which is on the screen", shown.command.id.as_str()));
            }
            let after = self.chance.ms(5, 4000);
            if self.chance.one_in(2) {
                self.after(after, Event::Accept(n, life, session, shown));
            }
        }
    }

    pub(super) fn close(&mut self, n: usize, session: u64) {
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

    pub(super) fn device(&mut self, d: usize) {
        if d < DEVICES {
            let again = self.chance.ms(500, 12_000);
            self.after(again, Event::Device(d));
        }
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
        let before = self.instances[n].table.record(&device).map(|r| r.session.0);
        if self.instances[n].table.sign_on(&device, &arrival, now, &mut acts).is_none() {
            return;
        }
        self.say(|| format!("device {d} connects to gw-{n}, session {}", session.0));
        let life = self.instances[n].id.boot;
        if let Some(old) = self.instances[n].devices.insert(device.clone(), session.0) {
            self.after(3, Event::End(n, life, old));
        }
        self.instances[n].connections.insert(session.0, Connection::new(device, session));
        (self.devices[d].at, self.devices[d].since) = (Some((n, life, session.0)), self.now);
        self.recall(d, n, session.0, before);
        self.acts(n, acts);
        self.effects(n);
    }

    /// Its instance may notice, or may have been lost with it.
    pub(super) fn leave(&mut self, d: usize) {
        if let Some((n, life, session)) = self.devices[d].at.take() {
            self.after(5, Event::End(n, life, session));
        }
    }

    pub(super) fn produce(&mut self) {
        if self.now >= TROUBLE_MS {
            return;
        }
        let again = self.chance.ms(10, 1200);
        self.after(again, Event::Produce);
        if self.chance.one_in(15) && !self.produced.is_empty() {
            let at = self.chance.below(self.produced.len() as u64) as usize;
            let (mut partition, value) = self.produced[at].clone();
            let utc = self.utc();
            if self.chance.one_in(4) {
                // a backend that places keys in another way than before
                let id = serde_json::from_slice::<serde_json::Value>(&value).unwrap()["id"].as_str().unwrap().to_owned();
                let among = self.copies.entry(id).or_insert_with(|| BTreeSet::from([partition]));
                partition = (partition + 1) % PARTITIONS;
                among.insert(partition);
            }
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
        let deadline = utc.plus_millis(self.chance.ms(300, DEADLINE_MS) as i64);
        let value = json!({"id": name, "device_id": device_id(d), "deadline": deadline, "kind": kind, kind: content}).to_string();
        let command = Arc::new(read(value.as_bytes(), Timestamp::from_millis(i64::MAX)).unwrap().command);
        self.say(|| format!("{name}: {kind} {content} for device {d} in partition {partition}, until {deadline}"));
        self.commands.insert(command.id.clone(), command);
        self.produced.push((partition, value.clone().into_bytes()));
        self.broker.produce(partition, value.into_bytes(), utc);
    }

    pub(super) fn trouble(&mut self) {
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
                let ms = self.chance.ms(200, STOP_MS);
                self.say(|| format!("gw-{n} is stopped for {ms} ms"));
                // one that is stopped already goes on when the longer of the two is over
                let until = &mut self.instances[n].paused_until;
                *until = (*until).max(self.now + ms);
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

    pub(super) fn kill(&mut self, n: usize) {
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

    pub(super) fn start(&mut self, n: usize) {
        self.instances[n] = self.instance(n);
        let life = self.instances[n].id.boot;
        self.say(|| format!("gw-{n} starts, life {life}"));
        self.after(10, Event::Tick(n, life));
    }

    pub(super) fn heal(&mut self) {
        self.say(|| "all heals".to_owned());
        self.healed = Some(self.now);
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
}
