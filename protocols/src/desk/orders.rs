//! What of a device's business outlives its connection: the orders it knows, and who drives.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{Key, Screen};
use crate::command::{CommandId, OrderId};
use crate::event::{Driver, DriverAction, OrderAction};
use crate::time::{Now, Timestamp};

/// Orders remembered for a device. A driver has one or two at a time and a list of a screenful; the oldest that ended goes
/// first, then the oldest.
pub const MAX_ORDERS: usize = 24;

/// Of them, offers that nobody took in time: for an answer that comes late all the same. They would else pile up, as most
/// offers are another driver's.
const MAX_PAST: usize = 4;

/// How far an order is on a device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OrderStage {
    /// An offer was sent.
    Offered,
    /// The driver declined it.
    Declined,
    /// The driver wants it.
    Accepted,
    /// The backend gave it to this driver.
    Assigned,
    /// On the way to the passenger.
    Enroute,
    /// At the passenger.
    Arrived,
    /// The passenger is in the car.
    PickedUp,
    /// Over, however.
    Ended,
}

/// An order that a device knows.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OpenOrder {
    /// The backend's id.
    pub order_id: OrderId,
    /// The protocol's number of it, where that is another.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<u64>,
    /// The command that offered it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<CommandId>,
    /// How far it is.
    pub stage: OrderStage,
    /// The offer's deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deadline: Option<Timestamp>,
    /// How the driver was told who got it, to be said again when the driver asks again.
    #[serde(skip)]
    pub(super) decision: Option<Box<Said>>,
    /// The driver has taken it: only a driver who does so again asks what was decided.
    #[serde(skip)]
    pub(super) taken: bool,
    /// Until when an offer is the driver's to decide; a value of [`Now::uptime`].
    #[serde(skip)]
    pub(super) until: Option<Duration>,
    /// An offer of it may have been on the screen: written by this session, or known from an earlier one.
    #[serde(skip, default = "perhaps")]
    pub(super) shown: bool,
}

fn perhaps() -> bool {
    true
}

/// Frames that were written to a device, and what its answer to them refers to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Said {
    pub(super) frames: Vec<u8>,
    pub(super) keys: Vec<Key>,
}

/// Who drives a device, as far as known.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DriverNow {
    /// The identity of the card or login.
    pub driver_id: String,
    /// The driver's name, where the device or the backend said it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// What the backend said about this driver; absent: nothing, which lets everything through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized: Option<bool>,
    /// Since when the driver is signed on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
}

/// The part of a device's state that any instance can go on with.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DeviceState {
    /// Who drives.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverNow>,
    /// The orders that the device knows and that have not ended.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub open_orders: Vec<OpenOrder>,
    /// What is on its screen, and what that cannot show.
    #[serde(skip_serializing_if = "Screen::is_default")]
    pub screen: Screen,
}

/// How a message of a device names its order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OrderRef<'a> {
    /// By the number or the text that it was offered with.
    Named(&'a str),
    /// Not at all: it means the only order that is open.
    Only,
}

/// The orders of a device.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders(Vec<OpenOrder>);

impl Orders {
    pub(super) fn restore(orders: Vec<OpenOrder>, now: Now) -> Self {
        let known = orders.into_iter().take(MAX_ORDERS).map(|order| {
            let left = order.deadline.map(|deadline| deadline.as_millis().saturating_sub(now.utc.as_millis()));
            let left = left.and_then(|left| u64::try_from(left).ok()).map(Duration::from_millis);
            OpenOrder { until: left.map(|left| now.uptime + left), ..order }
        });
        Self(known.collect())
    }

    pub(super) fn get(&self, id: &OrderId) -> Option<&OpenOrder> {
        self.0.iter().find(|o| o.order_id == *id)
    }

    pub(super) fn open(&self) -> impl Iterator<Item = &OpenOrder> {
        self.0.iter().filter(|o| o.stage < OrderStage::Ended)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The order of this id, new if it is not known.
    pub(super) fn entry(&mut self, id: &OrderId) -> &mut OpenOrder {
        if let Some(at) = self.0.iter().position(|o| o.order_id == *id) {
            return &mut self.0[at];
        }
        let past = |o: &OpenOrder| o.stage <= OrderStage::Declined && o.deadline.is_some() && o.until.is_none();
        if self.0.iter().filter(|o| past(o)).count() >= MAX_PAST
            && let Some(oldest) = self.0.iter().position(past)
        {
            self.0.remove(oldest);
        }
        if self.0.len() >= MAX_ORDERS {
            let oldest = self.0.iter().position(|o| o.stage == OrderStage::Ended).unwrap_or(0);
            self.0.remove(oldest);
        }
        self.0.push(OpenOrder {
            order_id: id.clone(),
            token: None,
            command_id: None,
            stage: OrderStage::Offered,
            deadline: None,
            decision: None,
            taken: false,
            until: None,
            shown: false,
        });
        let last = self.0.len() - 1;
        &mut self.0[last]
    }

    /// It is over, and this was said about it.
    pub(super) fn end(&mut self, id: &OrderId, said: Option<Box<Said>>) {
        let order = self.entry(id);
        order.taken |= order.stage == OrderStage::Accepted;
        order.stage = OrderStage::Ended;
        order.decision = said;
    }

    /// Something about it was written to the device.
    pub(super) fn shown(&mut self, id: &OrderId) {
        self.set_shown(id, true);
    }

    /// The device has not shown it after all.
    pub(super) fn unshown(&mut self, id: &OrderId) {
        self.set_shown(id, false);
    }

    fn set_shown(&mut self, id: &OrderId, shown: bool) {
        if let Some(order) = self.0.iter_mut().find(|o| o.order_id == *id) {
            order.shown = shown;
        }
    }

    /// Orders that were shown and are the driver's to decide.
    pub(super) fn undecided(&self, now: Now) -> impl Iterator<Item = &OrderId> {
        let waits = move |o: &&OpenOrder| o.shown && o.until.is_some_and(|until| now.uptime < until);
        self.0.iter().filter(|o| o.stage == OrderStage::Offered).filter(waits).map(|o| &o.order_id)
    }

    /// When the time of one of those is over.
    pub(super) fn until(&self) -> impl Iterator<Item = Duration> {
        self.0.iter().filter(|o| o.stage == OrderStage::Offered).filter_map(|o| o.until)
    }

    /// Time passes.
    pub(super) fn pass(&mut self, now: Now) {
        for order in &mut self.0 {
            order.until = order.until.filter(|until| now.uptime < *until);
        }
    }

    /// See [`super::Desk::called`].
    pub(super) fn called(&self, number: u64) -> Option<&OpenOrder> {
        self.0.iter().find(|o| o.token == Some(number))
    }

    /// See [`super::Errand::call`].
    pub(super) fn call(&mut self, id: &OrderId, number: u64) {
        self.0.iter_mut().filter(|o| o.token == Some(number)).for_each(|o| o.token = None);
        self.entry(id).token = Some(number);
    }

    /// Which order a message means that says this happened to it.
    pub(super) fn find(&mut self, names: OrderRef<'_>, action: OrderAction, now: Timestamp) -> Option<&mut OpenOrder> {
        match names {
            OrderRef::Named(name) => {
                let number = name.parse().ok();
                let by_token = |o: &OpenOrder| o.token.is_some() && o.token == number;
                let by_id =
                    |o: &OpenOrder| o.order_id.as_str() == name || number.is_some_and(|n| canonical(&o.order_id) == Some(n));
                // a token was given so as not to be any other order's number
                let at = self.0.iter().position(by_token).or_else(|| self.0.iter().position(by_id))?;
                self.0.get_mut(at)
            }
            OrderRef::Only => {
                let open = |o: &OpenOrder| !matches!(o.stage, OrderStage::Ended | OrderStage::Declined);
                // a decision is about an offer, a step about an order that was taken; an offer that was not answered in time
                // is meant only if there is nothing else to mean
                let stale = |o: &OpenOrder| o.stage == OrderStage::Offered && o.deadline.is_some_and(|deadline| deadline <= now);
                let alone = |wanted: &dyn Fn(&OpenOrder) -> bool| {
                    let mut places = self.0.iter().enumerate().filter(|(_, o)| open(o) && wanted(o)).map(|(at, _)| at);
                    (places.next(), places.next().is_some())
                };
                let decides = matches!(action, OrderAction::Accepted | OrderAction::Declined);
                let fits = |o: &OpenOrder| {
                    if decides { o.stage == OrderStage::Offered && !stale(o) } else { o.stage >= OrderStage::Accepted }
                };
                // nor can it be about an offer that the device has not shown
                let seen = |o: &OpenOrder| fits(o) && (o.shown || !decides);
                let tries: [&dyn Fn(&OpenOrder) -> bool; 4] = [&seen, &fits, &|o| !stale(o), &|_| true];
                let at = tries.into_iter().map(alone).find(|(at, _)| at.is_some())?;
                let (at, false) = at else { return None };
                self.0.get_mut(at?)
            }
        }
    }

    /// See [`super::Errand::number`]. Any instance finds the same number for the same id, as long as no other order of the
    /// device has it.
    pub(super) fn number(&mut self, id: &OrderId, max: u64) -> u64 {
        if let Some(n) = canonical(id).filter(|n| (1..=max).contains(n)) {
            return n;
        }
        if let Some(token) = self.get(id).and_then(|o| o.token).filter(|n| (1..=max).contains(n)) {
            return token;
        }
        let digest = Sha256::digest(id.as_str());
        let first = digest.iter().take(8).fold(0, |n: u64, b| n << 8 | u64::from(*b));
        let taken = |n: u64| self.0.iter().any(|o| o.token == Some(n) || canonical(&o.order_id) == Some(n));
        // fewer orders than MAX_ORDERS are known, so one of as many numbers and one is free, unless the protocol has fewer
        let free = (0..=MAX_ORDERS as u64).map(|i| first.wrapping_add(i) % max.max(1) + 1).find(|n| !taken(*n));
        let token = free.unwrap_or_else(|| first % max.max(1) + 1);
        self.entry(id).token = Some(token);
        token
    }
}

/// The number that an id is, if writing the number gives the id again.
fn canonical(id: &OrderId) -> Option<u64> {
    let text = id.as_str();
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    plain.then(|| text.parse().ok()).flatten()
}

impl OrderStage {
    /// Where an action takes an order, if anywhere.
    pub(super) const fn after(action: OrderAction) -> Option<Self> {
        match action {
            OrderAction::Accepted => Some(Self::Accepted),
            OrderAction::Declined => Some(Self::Declined),
            OrderAction::Enroute => Some(Self::Enroute),
            OrderAction::Arrived => Some(Self::Arrived),
            OrderAction::PickedUp => Some(Self::PickedUp),
            OrderAction::Completed | OrderAction::Cancelled | OrderAction::NoShow => Some(Self::Ended),
            OrderAction::Delivered
            | OrderAction::Read
            | OrderAction::Flagged
            | OrderAction::StreetHail
            | OrderAction::Trip
            | OrderAction::ListRequested
            | OrderAction::DetailsRequested
            | OrderAction::QueueJoined
            | OrderAction::QueueLeft => None,
        }
    }
}

impl DriverNow {
    /// Who drives after this event. Another driver's sign-on makes the authorization unknown; a lost connection changes nothing.
    pub(super) fn after(now: Option<Self>, event: &Driver, at: Timestamp) -> Option<Self> {
        match (event.action, &event.driver_id) {
            (DriverAction::SignOn, Some(id)) => match now {
                Some(same) if same.driver_id == *id => {
                    Some(Self { name: event.name.clone().or(same.name), since: same.since.or(event.time).or(Some(at)), ..same })
                }
                _ => Some(Self {
                    driver_id: id.clone(),
                    name: event.name.clone(),
                    authorized: None,
                    since: Some(event.time.unwrap_or(at)),
                }),
            },
            // a sign-off that was stored while out of coverage does not end the next driver's shift
            (DriverAction::SignOff, Some(id)) => now.filter(|driver| driver.driver_id != *id),
            (DriverAction::SignOff, None) => None,
            _ => now,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> OrderId {
        OrderId::new(text).unwrap()
    }

    fn now() -> Timestamp {
        Timestamp::from_seconds(1_772_359_200)
    }

    #[test]
    fn an_offer_that_nobody_answered_is_not_in_the_way_of_the_next() {
        let mut orders = Orders::default();
        orders.entry(&id("old")).deadline = Some(now().plus_millis(-1));
        assert_eq!(
            orders.find(OrderRef::Only, OrderAction::Accepted, now()).unwrap().order_id,
            id("old"),
            "a late answer means it"
        );
        orders.entry(&id("new")).deadline = Some(now().plus_millis(1));
        assert_eq!(orders.find(OrderRef::Only, OrderAction::Accepted, now()).unwrap().order_id, id("new"));
    }

    #[test]
    fn a_decision_means_the_offer_and_a_step_the_order_that_was_taken() {
        let mut orders = Orders::default();
        orders.entry(&id("taken")).stage = OrderStage::Assigned;
        orders.entry(&id("offered"));
        assert_eq!(orders.find(OrderRef::Only, OrderAction::Declined, now()).unwrap().order_id, id("offered"));
        assert_eq!(orders.find(OrderRef::Only, OrderAction::Arrived, now()).unwrap().order_id, id("taken"));
        orders.entry(&id("taken too")).stage = OrderStage::Accepted;
        assert!(orders.find(OrderRef::Only, OrderAction::Arrived, now()).is_none());
    }

    #[test]
    fn a_number_is_its_own_token_and_others_get_one() {
        let mut orders = Orders::default();
        assert_eq!(orders.number(&id("4711"), u64::from(u32::MAX)), 4711);
        assert!(orders.is_empty(), "nothing has to be remembered for it");
        for odd in ["04711", "A-1", "99999999999", "0", "+5"] {
            let n = orders.number(&id(odd), u64::from(u32::MAX));
            assert!((1..=u64::from(u32::MAX)).contains(&n), "{odd}");
            assert_eq!(orders.number(&id(odd), u64::from(u32::MAX)), n, "{odd}");
            assert_eq!(orders.find(OrderRef::Named(&n.to_string()), OrderAction::Accepted, now()).unwrap().order_id, id(odd));
        }
    }

    #[test]
    fn a_number_calls_the_order_that_had_it_last() {
        let mut orders = Orders::default();
        orders.call(&id("a"), 7);
        orders.call(&id("b"), 7);
        orders.call(&id("b"), 8);
        assert_eq!((orders.called(7), orders.called(8).map(|o| &o.order_id)), (None, Some(&id("b"))));
    }

    #[test]
    fn tokens_do_not_collide_with_each_other_or_with_ids() {
        let mut orders = Orders::default();
        let mut seen = std::collections::BTreeSet::new();
        for i in 0..MAX_ORDERS {
            assert!(seen.insert(orders.number(&id(&format!("x{i}")), 64)), "{i}");
        }
    }

    #[test]
    fn a_message_without_a_name_means_the_only_open_order() {
        let mut orders = Orders::default();
        assert!(orders.find(OrderRef::Only, OrderAction::Accepted, now()).is_none());
        orders.entry(&id("a")).stage = OrderStage::Ended;
        orders.entry(&id("b"));
        assert_eq!(orders.find(OrderRef::Only, OrderAction::Accepted, now()).unwrap().order_id, id("b"));
        orders.entry(&id("c"));
        assert!(orders.find(OrderRef::Only, OrderAction::Accepted, now()).is_none());
    }

    #[test]
    fn the_oldest_that_ended_is_forgotten_first() {
        let mut orders = Orders::default();
        for i in 0..MAX_ORDERS {
            orders.entry(&id(&format!("o{i}")));
        }
        orders.entry(&id("o3")).stage = OrderStage::Ended;
        orders.entry(&id("new"));
        assert!(orders.get(&id("o3")).is_none());
        assert!(orders.get(&id("o0")).is_some());
        orders.entry(&id("newer"));
        assert!(orders.get(&id("o0")).is_none());
    }
}
