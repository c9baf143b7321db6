//! The dispatcher itself: records of the gateway's topics and the clock in, commands out. It knows the contract and nothing
//! else: neither Kafka nor any device protocol.
//!
//! ```text
//!   new order ──▶ Offering ──first accept──▶ Assigned ──▶ Arrived ──▶ PickedUp ──▶ Completed
//!                   │   ▲                        │           │
//!      nobody took it   └─ next round, wider     └ cancelled, no_show, never heard: offered again, or over
//! ```
//!
//! Three habits keep orders from getting lost: an order ends only by an event or by its own deadline; an `accepted` event
//! counts, not the outcome of the offer (the outcome only says that waiting is over); and what was assigned is assigned
//! again until the car has acknowledged it.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use serde_json::{Value, json};

/// Cars that are offered an order in the first round; each further round asks as many more, farther away.
const ROUND: usize = 5;
/// Rounds before an order is given up.
const ROUNDS: u32 = 4;
/// How long drivers may think, milliseconds.
pub(crate) const OFFER_MS: i64 = 20_000;
/// How long an assignment, a cancel or a "taken" may take to reach the car, milliseconds.
const TELL_MS: i64 = 60_000;
/// An assigned car that is heard of no more loses the order after so many assignments in vain.
const ASSIGNMENTS: u32 = 3;
/// Event ids remembered: the gateway may publish an event again with the same id.
const REMEMBERED: usize = 100_000;

/// A passenger's wish.
#[derive(Debug, Clone)]
pub(crate) struct Wish {
    pub(crate) order_id: String,
    pub(crate) address: String,
    pub(crate) latitude: f64,
    pub(crate) longitude: f64,
    pub(crate) passenger: String,
    pub(crate) phone: String,
}

/// How an order stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Offering,
    Assigned,
    Arrived,
    PickedUp,
    Completed,
    Cancelled,
    NoShow,
    Unserved,
}

impl State {
    pub(crate) fn is_over(self) -> bool {
        self >= Self::Completed
    }
}

#[derive(Debug)]
struct Order {
    wish: Wish,
    state: State,
    round: u32,
    /// Who was offered it and has neither declined nor lost it: device, until when.
    offered: BTreeMap<String, i64>,
    /// Never asked again.
    refused: HashSet<String>,
    winner: Option<String>,
    /// Assignments sent to the winner, and whether one was acknowledged.
    assignments: u32,
    told: bool,
    flags: u32,
}

#[derive(Debug, Default)]
struct Car {
    place: Option<(f64, f64)>,
    connected: bool,
    epoch: u64,
    /// Nobody signed on: such a car gets nothing. A firm whose cars never sign on sets [`Dispatcher::anybody`].
    driver: Option<String>,
    occupied: bool,
    order: Option<String>,
}

/// What came of it all.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) offers: u64,
    pub(crate) accepted: u64,
    pub(crate) declined: u64,
    pub(crate) late: u64,
    pub(crate) told_lost: u64,
    pub(crate) street_hails: u64,
    pub(crate) trips: u64,
    pub(crate) flagged: u64,
    pub(crate) imitated: u64,
    pub(crate) repeats: u64,
}

/// What a command was for, until its outcome comes.
#[derive(Debug)]
enum Errand {
    Offer(String),
    Assign(String),
    Tell,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Dispatcher {
    cars: HashMap<String, Car>,
    orders: BTreeMap<String, Order>,
    errands: HashMap<String, (String, Errand)>,
    seen: HashSet<String>,
    seen_order: VecDeque<String>,
    commands: u64,
    /// Makes command ids of this run differ from those of earlier ones.
    run: String,
    /// Offer also to cars that nobody has signed on in.
    pub(crate) anybody: bool,
    pub(crate) tally: Tally,
}

impl Dispatcher {
    pub(crate) fn new(run: &str) -> Self {
        Self { run: run.to_owned(), ..Self::default() }
    }

    /// How an order stands.
    #[cfg(test)]
    fn state(&self, order_id: &str) -> Option<State> {
        self.orders.get(order_id).map(|o| o.state)
    }

    /// Orders by state.
    pub(crate) fn count(&self, state: State) -> usize {
        self.orders.values().filter(|o| o.state == state).count()
    }

    /// Orders that are not over.
    pub(crate) fn open(&self) -> usize {
        self.orders.values().filter(|o| !o.state.is_over()).count()
    }

    /// Commands whose outcome has not come.
    pub(crate) fn waiting(&self) -> usize {
        self.errands.len()
    }

    /// Cars that could take an order now.
    pub(crate) fn free(&self) -> usize {
        self.cars.values().filter(|car| self.is_free(car)).count()
    }

    fn is_free(&self, car: &Car) -> bool {
        car.connected && !car.occupied && car.order.is_none() && car.place.is_some() && (self.anybody || car.driver.is_some())
    }

    /// A passenger wants a car.
    pub(crate) fn order(&mut self, wish: Wish, now_ms: i64) -> Vec<Value> {
        let id = wish.order_id.clone();
        self.orders.entry(id.clone()).or_insert(Order {
            wish,
            state: State::Offering,
            round: 0,
            offered: BTreeMap::new(),
            refused: HashSet::new(),
            winner: None,
            assignments: 0,
            told: false,
            flags: 0,
        });
        self.next_round(&id, now_ms)
    }

    /// The passenger does not want it any more.
    pub(crate) fn cancel(&mut self, order_id: &str, now_ms: i64) -> Vec<Value> {
        let Some(order) = self.orders.get_mut(order_id).filter(|o| o.state < State::PickedUp) else { return Vec::new() };
        order.state = State::Cancelled;
        let mut told: Vec<_> = std::mem::take(&mut order.offered).into_keys().collect();
        told.extend(order.winner.take());
        for device in &told {
            self.release(device, order_id);
        }
        let content = json!({ "order_id": order_id, "reason": "passenger" });
        told.iter().map(|device| self.command(device, "order_cancel", content.clone(), now_ms + TELL_MS, Errand::Tell)).collect()
    }

    /// Time passes: offers that nobody answered go farther.
    pub(crate) fn tick(&mut self, now_ms: i64) -> Vec<Value> {
        let due = |o: &Order| o.state == State::Offering && o.offered.values().all(|until| *until <= now_ms);
        let due: Vec<_> = self.orders.iter().filter(|(_, o)| due(o)).map(|(id, _)| id.clone()).collect();
        due.iter().flat_map(|id| self.next_round(id, now_ms)).collect()
    }

    /// A record of the gateway: `topic` without its prefix, the key, and the value.
    pub(crate) fn record(&mut self, topic: &str, device: &str, value: &Value, now_ms: i64) -> Vec<Value> {
        match topic {
            "telemetry" | "orders" => {
                if self.is_repeat(value) {
                    self.tally.repeats += 1;
                    return Vec::new();
                }
                match value["type"].as_str() {
                    Some("position") => self.position(device, &value["position"]),
                    Some("driver") => self.driver(device, &value["driver"]),
                    Some("order") => return self.action(device, &value["order"], now_ms),
                    _ => {}
                }
                Vec::new()
            }
            "sessions" => self.session(device, value, now_ms),
            "outcomes" => self.outcome(value, now_ms),
            _ => Vec::new(),
        }
    }

    fn is_repeat(&mut self, value: &Value) -> bool {
        let Some(id) = value["id"].as_str() else { return false };
        if !self.seen.insert(id.to_owned()) {
            return true;
        }
        self.seen_order.push_back(id.to_owned());
        if self.seen_order.len() > REMEMBERED {
            self.seen_order.pop_front().map(|oldest| self.seen.remove(&oldest));
        }
        false
    }

    fn car(&mut self, device: &str) -> &mut Car {
        self.cars.entry(device.to_owned()).or_default()
    }

    fn position(&mut self, device: &str, position: &Value) {
        let car = self.car(device);
        // a car that reports is connected, whatever the session record says when it comes
        car.connected = true;
        if let (Some(latitude), Some(longitude), Some(true)) =
            (position["latitude"].as_f64(), position["longitude"].as_f64(), position["valid"].as_bool())
        {
            car.place = Some((latitude, longitude));
        }
        if let Some(occupied) = position["occupied"].as_bool() {
            car.occupied = occupied;
        }
    }

    fn driver(&mut self, device: &str, driver: &Value) {
        let id = driver["driver_id"].as_str().unwrap_or("unnamed").to_owned();
        let car = self.car(device);
        match driver["action"].as_str() {
            Some("sign_on" | "break_end") => car.driver = Some(id),
            Some("sign_off" | "break_start") => car.driver = None,
            Some("status") => match driver["state"].as_str() {
                Some("free") => (car.driver, car.occupied) = (car.driver.take().or(Some(id)), false),
                Some("occupied" | "busy") => car.occupied = true,
                Some("break" | "off") => car.driver = None,
                _ => {}
            },
            _ => {}
        }
    }

    /// A new epoch is a new connection: what the screen should show is told again.
    fn session(&mut self, device: &str, value: &Value, now_ms: i64) -> Vec<Value> {
        let (connected, epoch) = (value["state"] == "connected", value["epoch"].as_u64().unwrap_or(0));
        let car = self.car(device);
        if epoch < car.epoch {
            return Vec::new();
        }
        let again = connected && epoch > car.epoch && car.epoch > 0;
        (car.connected, car.epoch) = (connected, epoch);
        if let Some(driver) = value["driver"]["driver_id"].as_str() {
            car.driver = Some(driver.to_owned());
        }
        let order = car.order.clone().filter(|_| again);
        order.map(|id| self.assign(&id, now_ms)).unwrap_or_default()
    }

    fn action(&mut self, device: &str, order: &Value, now_ms: i64) -> Vec<Value> {
        let action = order["action"].as_str().unwrap_or_default();
        if order["actor"] == "imitated" {
            // marked so that it never counts as a real driver's doing; a simulated fleet still wants its orders
            self.tally.imitated += 1;
        }
        self.tally.late += u64::from(order["late"] == true);
        match action {
            "street_hail" => {
                self.tally.street_hails += 1;
                self.car(device).occupied = true;
            }
            "trip" => {
                self.tally.trips += 1;
                self.car(device).occupied = false;
            }
            _ => {}
        }
        let Some(id) = order["order_id"].as_str().map(str::to_owned) else { return Vec::new() };
        let Some(known) = self.orders.get_mut(&id) else { return Vec::new() };
        let winner = known.winner.as_deref() == Some(device);
        match action {
            "accepted" => return self.accepted(device, &id, order["authorized"] != false, now_ms),
            "declined" => {
                self.tally.declined += 1;
                known.offered.remove(device);
                known.refused.insert(device.to_owned());
                if known.state == State::Offering && known.offered.is_empty() {
                    return self.next_round(&id, now_ms);
                }
            }
            "arrived" if winner => known.state = known.state.max(State::Arrived),
            "picked_up" if winner => {
                known.state = known.state.max(State::PickedUp);
                self.car(device).occupied = true;
            }
            "completed" if winner => self.over(&id, State::Completed),
            "no_show" if winner => self.over(&id, State::NoShow),
            "cancelled" if winner => {
                // by the driver: the passenger still waits
                known.refused.insert(device.to_owned());
                known.winner = None;
                known.state = State::Offering;
                self.release(device, &id);
                return self.next_round(&id, now_ms);
            }
            "flagged" => {
                known.flags += 1;
                self.tally.flagged += 1;
            }
            _ => {}
        }
        Vec::new()
    }

    fn accepted(&mut self, device: &str, id: &str, authorized: bool, now_ms: i64) -> Vec<Value> {
        self.tally.accepted += 1;
        let Some(order) = self.orders.get_mut(id) else { return Vec::new() };
        if order.winner.as_deref() == Some(device) {
            return Vec::new(); // the gateway tells it again by itself
        }
        if order.state != State::Offering || !authorized {
            order.offered.remove(device);
            return vec![self.lost(device, id, now_ms)];
        }
        order.state = State::Assigned;
        order.winner = Some(device.to_owned());
        order.assignments = 0;
        let losers: Vec<_> = std::mem::take(&mut order.offered).into_keys().filter(|other| other != device).collect();
        self.car(device).order = Some(id.to_owned());
        let mut commands = self.assign(id, now_ms);
        commands.extend(losers.iter().map(|device| self.lost(device, id, now_ms)));
        commands
    }

    fn lost(&mut self, device: &str, id: &str, now_ms: i64) -> Value {
        self.tally.told_lost += 1;
        self.command(device, "order_assign", json!({ "order_id": id, "won": false }), now_ms + TELL_MS, Errand::Tell)
    }

    /// Tell the winner, and tell it again.
    fn assign(&mut self, id: &str, now_ms: i64) -> Vec<Value> {
        let Some(order) = self.orders.get_mut(id).filter(|o| o.state == State::Assigned) else { return Vec::new() };
        let Some(device) = order.winner.clone() else { return Vec::new() };
        order.assignments += 1;
        let Wish { address, latitude, longitude, passenger, phone, .. } = order.wish.clone();
        let content = json!({
            "order_id": id, "won": true, "type": "immediate",
            "pickup": { "address": address, "latitude": latitude, "longitude": longitude },
            "passenger": { "name": passenger, "phone": phone },
        });
        vec![self.command(&device, "order_assign", content, now_ms + TELL_MS, Errand::Assign(id.to_owned()))]
    }

    /// Offer to the nearest who have not been asked; give up after the last round.
    fn next_round(&mut self, id: &str, now_ms: i64) -> Vec<Value> {
        if let Some(order) = self.orders.get_mut(id) {
            order.offered.retain(|_, until| *until > now_ms);
        }
        let Some(order) = self.orders.get(id).filter(|o| o.state == State::Offering) else { return Vec::new() };
        let near = |car: &Car| {
            let (latitude, longitude) = car.place?;
            // flat is good enough for a town
            let east = (longitude - order.wish.longitude) * order.wish.latitude.to_radians().cos();
            Some((latitude - order.wish.latitude).powi(2) + east.powi(2))
        };
        let asked = |device: &str| order.refused.contains(device) || order.offered.contains_key(device);
        let free = self.cars.iter().filter(|(device, car)| self.is_free(car) && !asked(device));
        let mut nearest: Vec<_> = free.filter_map(|(device, car)| Some((near(car)?, device.clone()))).collect();
        nearest.sort_by(|a, b| a.0.total_cmp(&b.0).then_with(|| a.1.cmp(&b.1)));
        nearest.truncate(ROUND * (order.round as usize + 1));
        let wish = order.wish.clone();
        let Some(order) = self.orders.get_mut(id) else { return Vec::new() };
        order.round += 1;
        if order.round > ROUNDS {
            order.state = State::Unserved;
            return Vec::new();
        }
        // who let the last round pass may be asked again in the next, who declined may not
        order.offered = nearest.iter().map(|(_, device)| (device.clone(), now_ms + OFFER_MS)).collect();
        self.tally.offers += nearest.len() as u64;
        let content = json!({
            "order_id": id, "type": "immediate",
            "pickup": { "address": wish.address, "latitude": wish.latitude, "longitude": wish.longitude },
        });
        let offer = |(_, device): &(f64, String)| {
            self.command(device, "order_offer", content.clone(), now_ms + OFFER_MS, Errand::Offer(id.to_owned()))
        };
        nearest.iter().map(offer).collect()
    }

    /// The one final answer to a command.
    fn outcome(&mut self, value: &Value, now_ms: i64) -> Vec<Value> {
        let outcome = &value["outcome"];
        let Some((device, errand)) = outcome["command_id"].as_str().and_then(|id| self.errands.remove(id)) else {
            return Vec::new();
        };
        let result = outcome["result"].as_str().unwrap_or_default();
        match errand {
            Errand::Offer(id) => {
                let Some(order) = self.orders.get_mut(&id) else { return Vec::new() };
                // accepted: the event counts. Anything else: this car does not answer, so nobody waits for it
                if result != "acknowledged" && order.winner.as_deref() != Some(&device) {
                    order.offered.remove(&device);
                    if order.state == State::Offering && order.offered.is_empty() {
                        return self.next_round(&id, now_ms);
                    }
                }
            }
            Errand::Assign(id) => {
                let Some(order) = self.orders.get_mut(&id) else { return Vec::new() };
                if order.state != State::Assigned || order.winner.as_deref() != Some(&device) {
                    return Vec::new();
                }
                // a device without receipts cannot say more than that it was written
                let reached = result == "acknowledged" || (result == "unanswered" && outcome["reason"] == "no_receipt");
                if reached || order.told {
                    order.told = true;
                } else if order.assignments < ASSIGNMENTS {
                    return self.assign(&id, now_ms);
                } else {
                    order.winner = None;
                    order.state = State::Offering;
                    order.refused.insert(device.clone());
                    self.release(&device, &id);
                    return self.next_round(&id, now_ms);
                }
            }
            Errand::Tell => {}
        }
        Vec::new()
    }

    fn over(&mut self, id: &str, state: State) {
        let Some(order) = self.orders.get_mut(id).filter(|o| !o.state.is_over()) else { return };
        order.state = state;
        if let Some(device) = order.winner.clone() {
            self.release(&device, id);
        }
    }

    /// The car may take another order.
    fn release(&mut self, device: &str, id: &str) {
        if let Some(car) = self.cars.get_mut(device).filter(|car| car.order.as_deref() == Some(id)) {
            (car.order, car.occupied) = (None, false);
        }
    }

    fn command(&mut self, device: &str, kind: &str, content: Value, deadline_ms: i64, errand: Errand) -> Value {
        self.commands += 1;
        let id = format!("{}-{}", self.run, self.commands);
        self.errands.insert(id.clone(), (device.to_owned(), errand));
        json!({ "id": id, "device_id": device, "deadline": rfc3339(deadline_ms), "kind": kind, kind: content })
    }
}

/// Milliseconds since 1970 as `2026-03-01T10:00:00.000Z`.
pub(crate) fn rfc3339(ms: i64) -> String {
    let (days, in_day) = (ms.div_euclid(86_400_000), ms.rem_euclid(86_400_000));
    // days to civil date by eras of 400 years, counted from March (Howard Hinnant's derivation)
    let z = days + 719_468;
    let (era, day_of_era) = (z.div_euclid(146_097), z.rem_euclid(146_097));
    let year_of_era = (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    let (s, ms) = (in_day / 1000, in_day % 1000);
    format!("{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{ms:03}Z", s / 3600, s / 60 % 60, s % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    const T: i64 = 1_772_359_200_000;

    fn wish(id: &str) -> Wish {
        let text = str::to_owned;
        Wish {
            order_id: text(id),
            address: text("Main St 1"),
            latitude: 39.9,
            longitude: 116.4,
            passenger: text("Li"),
            phone: text("13800000099"),
        }
    }

    /// Cars 1..=n, signed on, the first nearest.
    fn town(n: u32) -> Dispatcher {
        let mut d = Dispatcher::new("t");
        for i in 1..=n {
            let device = i.to_string();
            let at = json!({ "type": "position", "id": format!("p{i}"),
                "position": { "valid": true, "latitude": 39.9 + f64::from(i) / 1000.0, "longitude": 116.4 } });
            d.record("telemetry", &device, &at, T);
            let on = json!({ "type": "driver", "id": format!("d{i}"), "driver": { "action": "sign_on", "driver_id": device } });
            d.record("orders", &device, &on, T);
        }
        d
    }

    fn act(d: &mut Dispatcher, device: &str, action: &str, id: &str) -> Vec<Value> {
        let unique = format!("{device}{action}{id}");
        d.record("orders", device, &json!({ "type": "order", "id": unique, "order": { "action": action, "order_id": id } }), T)
    }

    #[test]
    fn the_first_accept_wins_and_the_others_are_told() {
        let mut d = town(8);
        let offers = d.order(wish("o1"), T);
        let devices: Vec<_> = offers.iter().map(|c| c["device_id"].as_str().unwrap()).collect();
        assert_eq!(devices, ["1", "2", "3", "4", "5"]);
        assert!(offers[0]["order_offer"].get("passenger").is_none());
        let told = act(&mut d, "3", "accepted", "o1");
        assert_eq!(told[0]["order_assign"]["won"], true);
        assert_eq!(told[0]["order_assign"]["passenger"]["phone"], "13800000099");
        assert_eq!(told.iter().filter(|c| c["order_assign"]["won"] == false).count(), 4);
        let late = act(&mut d, "4", "accepted", "o1");
        assert_eq!(late[0]["order_assign"], json!({ "order_id": "o1", "won": false }));
        for action in ["arrived", "picked_up", "completed"] {
            assert!(act(&mut d, "3", action, "o1").is_empty());
        }
        assert_eq!(d.state("o1"), Some(State::Completed));
        assert_eq!(d.free(), 8);
    }

    #[test]
    fn declines_and_silence_widen_the_circle_and_then_the_order_is_unserved() {
        let mut d = town(2);
        assert_eq!(d.order(wish("o1"), T).len(), 2);
        assert!(act(&mut d, "1", "declined", "o1").is_empty());
        assert_eq!(d.tick(T + OFFER_MS).len(), 1, "who let it pass is asked again");
        assert!(act(&mut d, "2", "declined", "o1").is_empty());
        for n in 0..4 {
            d.tick(T + OFFER_MS * (n + 2));
        }
        assert_eq!(d.state("o1"), Some(State::Unserved));
    }

    #[test]
    fn an_assignment_that_does_not_arrive_is_sent_again_and_then_taken_back() {
        let mut d = town(2);
        d.order(wish("o1"), T);
        let mut told = act(&mut d, "1", "accepted", "o1");
        for n in 1..=ASSIGNMENTS {
            let id = told.iter().find(|c| c["order_assign"]["won"] == true).unwrap()["id"].clone();
            assert_eq!(d.state("o1"), Some(State::Assigned), "{n}");
            told = d.record("outcomes", "1", &json!({ "outcome": { "command_id": id, "result": "offline" } }), T);
        }
        assert_eq!(d.state("o1"), Some(State::Offering));
        assert_eq!(told.len(), 1);
        assert_eq!(told[0]["device_id"], "2");
    }

    #[test]
    fn a_repeat_counts_once_and_a_reconnect_is_told_its_order_again() {
        let mut d = town(1);
        d.record("sessions", "1", &json!({ "state": "connected", "epoch": 1 }), T);
        d.order(wish("o1"), T);
        assert_eq!(act(&mut d, "1", "accepted", "o1").len(), 1);
        assert!(act(&mut d, "1", "accepted", "o1").is_empty());
        assert_eq!((d.tally.accepted, d.tally.repeats), (1, 1));
        let again = d.record("sessions", "1", &json!({ "state": "connected", "epoch": 2 }), T);
        assert_eq!(again[0]["order_assign"]["won"], true);
    }

    #[test]
    fn a_cancel_reaches_everybody_who_was_asked() {
        let mut d = town(3);
        d.order(wish("o1"), T);
        assert_eq!(d.cancel("o1", T).len(), 3);
        assert_eq!(d.state("o1"), Some(State::Cancelled));
        assert!(d.cancel("o1", T).is_empty());
    }

    #[test]
    fn times_are_written_as_the_contract_has_them() {
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00.000Z");
        assert_eq!(rfc3339(T), "2026-03-01T10:00:00.000Z");
        assert_eq!(rfc3339(1_709_164_799_999), "2024-02-28T23:59:59.999Z");
    }
}
