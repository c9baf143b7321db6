//! The commands that are with a device: what was written, what answers it, when it is written again, and when it is over.
//!
//! ```text
//!   Command ─▶ waiting ─▶ written ─▶ delivered ─▶ read ─▶ outcome
//!                 │           │           │          │
//!                 └───────────┴───────────┴──────────┴──▶ outcome (deadline, withdrawn), or back to whoever sent it
//!                                                          when the connection ends
//! ```
//!
//! Pure like everything here: [`crate::machine::Machine`] drives it. It exists only while there is something in it, so that an
//! idle connection pays a pointer for it. `plan` is the author's side, `orders` and `screen` what outlives the connection.

mod open;
mod orders;
mod plan;
mod screen;
mod target;

use std::collections::VecDeque;
use std::time::Duration;

pub use orders::{DeviceState, DriverNow, MAX_ORDERS, OpenOrder, OrderRef, OrderStage};
pub use plan::{Confirms, Errand, Key, Plan, Retry, Unfit, Verdict};
pub use screen::{Aside, Screen, digest};
pub use target::{Target, target};

use crate::command::{Assign, Command, CommandId, Kind, OrderId};
use crate::event::{Driver, Order, OrderAction};
use crate::outcome::{Ending, EndingReason, Outcome, Stage};
use crate::session::{News, Ticket, Told, Turn};
use crate::time::{Now, Timestamp};
use open::{Open, Repeat, end};
pub(crate) use open::{Waiting, refuse};
use orders::{Orders, Said};

/// Commands that were written to a device and that it has not receipted. Cheap units answer one message after the other and
/// lose what comes faster; eight are a screenful.
pub const MAX_UNHEARD: usize = 8;
/// Commands written to a device and not yet over: those, and what drivers have yet to choose from.
pub const MAX_OPEN: usize = MAX_ORDERS;
/// Commands that wait for one of those to end. More is a backend that does not look at outcomes: `window_full`.
pub const MAX_WAITING: usize = 32;
/// Messages beside commands whose receipt is still expected: those of a few minutes of a unit that does not receipt them.
const MAX_ASIDES: usize = 8;
/// Least time that an offer is shown for: a driver needs it to read and to press a key.
pub const MIN_OFFER: Duration = Duration::from_secs(4);
/// A device's lag beyond this is a stalled link rather than a slow one, and says nothing about the next message.
const MAX_LAG: Duration = Duration::from_secs(30);

/// Whether an order event is to be stored, or was stored before and its assignment was sent again.
#[must_use]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Emitted {
    /// It is among the turn's events.
    Stored,
    /// The driver asked again for what was decided: nothing to store.
    Repeat,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Desk {
    open: Vec<Open>,
    waiting: VecDeque<Waiting>,
    asides: VecDeque<(Key, Aside)>,
    orders: Orders,
    driver: Option<DriverNow>,
    screen: Screen,
    lag: Duration,
    last_ticket: u32,
}

impl Desk {
    /// From what another session left.
    pub(crate) fn restore(state: DeviceState, now: Now) -> Self {
        let DeviceState { driver, open_orders, screen } = state;
        Self { orders: Orders::restore(open_orders, now), driver, screen, ..Self::default() }
    }

    /// What another session can go on with.
    pub(crate) fn state(&self) -> DeviceState {
        let open_orders = self.orders.open().cloned().collect();
        DeviceState { driver: self.driver.clone(), open_orders, screen: self.screen.clone() }
    }

    /// Whether nothing would be lost with it.
    pub(crate) fn is_empty(&self) -> bool {
        let busy = !self.open.is_empty() || !self.waiting.is_empty() || !self.asides.is_empty() || !self.orders.is_empty();
        !busy && self.driver.is_none() && self.screen == Screen::default() && self.lag.is_zero()
    }

    /// An order that this device knows.
    pub fn order(&self, id: &OrderId) -> Option<&OpenOrder> {
        self.orders.get(id)
    }

    /// The orders that have not ended.
    pub fn open_orders(&self) -> impl Iterator<Item = &OpenOrder> {
        self.orders.open()
    }

    /// Who drives, as far as known.
    pub fn driver(&self) -> Option<&DriverNow> {
        self.driver.as_ref()
    }

    /// How long this device takes to hear us, measured by its last receipts.
    pub fn lag(&self) -> Duration {
        self.lag
    }

    /// Commands that are with the device or wait for it.
    pub fn open_commands(&self) -> impl Iterator<Item = &CommandId> {
        self.open.iter().map(|o| &o.id).chain(self.waiting.iter().map(|w| &w.command.id))
    }

    /// The order that the protocol calls by this number, also one that has ended.
    pub fn called(&self, number: u64) -> Option<&OpenOrder> {
        self.orders.called(number)
    }

    pub(crate) fn call(&mut self, id: &OrderId, number: u64) {
        self.orders.call(id, number);
    }

    pub(crate) fn number(&mut self, id: &OrderId, max: u64) -> u64 {
        self.orders.number(id, max)
    }

    /// Whether this command is here already: handed over twice, it is one.
    pub(crate) fn knows(&self, id: &CommandId) -> bool {
        self.open_commands().any(|known| known == id)
    }

    /// Whether there is room to write a command now. `alone` is the order of an offer whose answer does not say which offer it
    /// means: then no other may be on the screen, also none that was written over an earlier connection.
    pub(crate) fn has_room(&self, alone: Option<&OrderId>, now: Now) -> bool {
        let unheard = self.open.iter().filter(|o| o.is_awaited() && o.patience().is_none_or(|until| now.uptime < until)).count();
        let is_text = |order: &OrderId| !self.open.iter().any(|o| !o.exclusive && o.order() == Some(order));
        let is_free = |order: &OrderId| {
            !self.open.iter().any(|o| o.exclusive && o.order() != Some(order))
                && !self.orders.undecided(now).any(|other| other != order && is_text(other))
        };
        unheard < MAX_UNHEARD && self.open.len() < MAX_OPEN && alone.is_none_or(is_free)
    }

    /// Whether the queue takes one more.
    pub(crate) fn may_wait(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    pub(crate) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// The first command that waits and can be written now; `one_offer`: only one offer can be open.
    pub(crate) fn next(&mut self, one_offer: bool, now: Now) -> Option<Waiting> {
        let at = self.waiting.iter().position(|w| self.has_room(alone(&w.command.kind, one_offer), now))?;
        self.waiting.remove(at)
    }

    /// What is known of the screen.
    pub(crate) fn screen(&self) -> &Screen {
        &self.screen
    }

    /// The device said that it does not know this message.
    pub(crate) fn not_understood(&mut self, message: u16, turn: &mut Turn) {
        turn.state_changed |= self.screen.not_understood(message);
    }

    /// A message was sent beside all commands: what its receipt is about.
    pub(crate) fn aside(&mut self, key: Key, what: Aside) {
        if self.asides.len() >= MAX_ASIDES {
            self.asides.pop_front();
        }
        self.asides.push_back((key, what));
    }

    /// Whether these buttons are on the device, or on their way over this connection.
    pub(crate) fn has_buttons(&self, wanted: Option<&str>) -> bool {
        let sent = self.asides.iter().rev().find_map(|(_, aside)| match aside {
            Aside::Buttons(digest) => Some(digest.as_deref()),
            Aside::Told => None,
        });
        sent.unwrap_or(self.screen.buttons.as_deref()) == wanted
    }

    /// Have frames written that are no command, ahead of this one.
    pub(crate) fn ahead(&mut self, id: &CommandId, frames: Vec<u8>, turn: &mut Turn) {
        let ticket = self.ticket();
        turn.tell(id, News::Write { ticket, deadline: Duration::MAX, frames, introduces: false });
    }

    fn ticket(&mut self) -> Ticket {
        self.last_ticket = self.last_ticket.wrapping_add(1);
        Ticket(self.last_ticket)
    }

    /// A command was put into words.
    pub(crate) fn opened<D>(&mut self, w: Waiting, plan: Plan<D>, frames: Vec<u8>, alone: bool, turn: &mut Turn) {
        let Waiting { command, deadline, mut warnings, before } = w;
        let ticket = self.ticket();
        warnings.extend(plan.warnings);
        let introduces = self.introduces(&command);
        let cutoff = match &command.kind {
            // exactly the least time is enough
            Kind::OrderOffer(_) => deadline.saturating_sub(self.lag + MIN_OFFER) + Duration::from_millis(1),
            _ => deadline,
        };
        self.note(&command, deadline, &plan.keys, &frames);
        let retry = plan.retry.map(|plan| Repeat { plan, done: 0, wait: plan.first, at: Duration::MAX });
        turn.tell(&command.id, News::Write { ticket, deadline: cutoff, frames: frames.clone(), introduces });
        let frames = if retry.is_some() { frames } else { Vec::new() };
        self.open.push(Open {
            kind: command.kind.name(),
            target: target(&command.kind),
            id: command.id.clone(),
            deadline,
            cutoff,
            ticket,
            keys: plan.keys,
            ends: plan.ends,
            retry,
            frames,
            stage: if before.is_some() { Stage::Sent } else { Stage::Waiting },
            sent_at: before.map(|(sent_at, _)| sent_at),
            written: None,
            pending: true,
            unheard: false,
            attempts: before.map_or(0, |(_, attempts)| attempts),
            exclusive: alone,
            warnings,
            again: plan.other_words.then(|| Box::new(command)),
        });
    }

    /// Whether the device learns of an order from this command, or of another offer of it.
    fn introduces(&self, command: &Command) -> bool {
        match &command.kind {
            Kind::OrderOffer(_) => true,
            Kind::OrderAssign(Assign::Won(offer)) => {
                // one that has only got its number so far is new
                self.orders.get(&offer.order_id).is_none_or(|o| o.command_id.is_none() && o.stage == OrderStage::Offered)
            }
            _ => false,
        }
    }

    /// What a command means for the orders.
    fn note(&mut self, command: &Command, deadline: Duration, keys: &[Key], frames: &[u8]) {
        let said = || Some(Box::new(Said { frames: frames.to_vec(), keys: keys.to_vec() }));
        match &command.kind {
            Kind::OrderOffer(offer) => {
                let order = self.orders.entry(&offer.order_id);
                order.command_id = Some(command.id.clone());
                order.deadline = Some(command.deadline);
                order.until = Some(deadline);
                order.stage = OrderStage::Offered;
            }
            Kind::OrderAssign(Assign::Won(offer)) => {
                let order = self.orders.entry(&offer.order_id);
                order.taken |= order.stage == OrderStage::Accepted;
                order.stage = order.stage.max(OrderStage::Assigned);
                order.decision = said();
            }
            Kind::OrderAssign(Assign::Lost(id)) => self.orders.end(id, said()),
            Kind::OrderCancel(cancel) => self.orders.end(&cancel.order_id, said()),
            _ => {}
        }
    }

    /// Whether the backend may speak about this driver; kept if so.
    pub(crate) fn authorize(&mut self, driver_id: &str, authorized: bool, name: Option<&str>) -> Result<(), String> {
        match &mut self.driver {
            Some(driver) if driver.driver_id != driver_id => Err(format!("driver {} is signed on", driver.driver_id)),
            Some(driver) => {
                driver.authorized = Some(authorized);
                driver.name = name.map(str::to_owned).or_else(|| driver.name.take());
                Ok(())
            }
            None => {
                let (driver_id, name) = (driver_id.to_owned(), name.map(str::to_owned));
                self.driver = Some(DriverNow { driver_id, name, authorized: Some(authorized), since: None });
                Ok(())
            }
        }
    }

    /// The device says that a driver did something.
    pub(crate) fn drove(&mut self, event: &Driver, at: Timestamp) {
        self.driver = DriverNow::after(self.driver.take(), event, at);
    }

    /// A command arrives: what it makes pointless ends. True if it itself is done with that: a cancel of an offer that was
    /// not shown yet.
    pub(crate) fn withdraw(&mut self, command: &Command, now: Now, turn: &mut Turn) -> bool {
        let Some(about) = target(&command.kind) else { return false };
        let (gone, stay): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.open).into_iter().partition(|o| o.target.as_ref() == Some(&about));
        self.open = stay;
        let mut unshown = false;
        for open in gone {
            unshown |= open.written.is_none() && open.kind == "order_offer";
            end(open, Ending::Superseded, None, None, now, turn);
        }
        let (gone, stay): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| target(&w.command.kind).as_ref() == Some(&about));
        self.waiting = stay;
        for waiting in gone {
            unshown |= matches!(waiting.command.kind, Kind::OrderOffer(_));
            refuse(waiting, Ending::Superseded, None, turn);
        }
        // an earlier offer of the order may have been on the screen
        let Kind::OrderCancel(cancel) = &command.kind else { return false };
        let done = unshown && self.orders.get(&cancel.order_id).is_none_or(|order| !order.shown);
        if done {
            self.orders.end(&cancel.order_id, None);
        }
        done
    }

    /// The first byte of a command was written.
    pub(crate) fn written(&mut self, ticket: Ticket, now: Now, turn: &mut Turn) {
        let Some(at) = self.open.iter().position(|o| o.ticket == ticket) else { return };
        let open = &mut self.open[at];
        open.attempts += 1;
        open.pending = false;
        if open.written.is_none() {
            open.written = Some(now.uptime);
            if let Some(order) = open.order() {
                self.orders.shown(order);
            }
        }
        if open.sent_at.is_none() {
            open.sent_at = Some(now.utc);
            open.stage = Stage::Sent;
            turn.tell(&open.id, News::Stage(Stage::Sent, now.utc));
        }
        if let Some(retry) = &mut open.retry {
            retry.at = now.uptime + retry.wait;
        }
        if open.ends == Confirms::Never {
            let open = self.open.remove(at);
            end(open, Ending::Unanswered, Some(EndingReason::NoReceipt), None, now, turn);
        }
    }

    /// A command could not be written before its deadline.
    pub(crate) fn unwritten(&mut self, ticket: Ticket, now: Now, turn: &mut Turn) {
        let Some(at) = self.open.iter().position(|o| o.ticket == ticket) else { return };
        self.open[at].pending = false;
        // a repeat that came too late changes nothing
        if self.open[at].written.is_none() {
            let open = self.open.remove(at);
            let reason = (now.uptime < open.deadline).then_some(EndingReason::Lag);
            end(open, Ending::Expired, reason, None, now, turn);
        }
    }

    /// The device answers. False if nothing that is open has this key.
    pub(crate) fn answer(&mut self, key: Key, verdict: Verdict, now: Now, turn: &mut Turn) -> bool {
        // the newest first: an order's number stays the same when it is offered again
        let Some(at) = self.open.iter().rposition(|o| o.written.is_some() && o.keys.contains(&key)) else {
            return self.answer_aside(key, &verdict, turn);
        };
        let open = &mut self.open[at];
        if open.stage == Stage::Sent && open.attempts == 1 {
            let lag = now.uptime.saturating_sub(open.written.unwrap_or(now.uptime)).min(MAX_LAG) / 2;
            self.lag = if self.lag.is_zero() { lag } else { (self.lag * 3 + lag) / 4 };
        }
        let reached = match verdict {
            Verdict::Delivered if open.ends != Confirms::Receipt => Stage::Delivered,
            Verdict::Read => Stage::Read,
            Verdict::Delivered => {
                let open = self.open.remove(at);
                end(open, Ending::Acknowledged, None, None, now, turn);
                return true;
            }
            Verdict::Done(answer) => {
                let open = self.open.remove(at);
                end(open, Ending::Acknowledged, None, answer, now, turn);
                return true;
            }
            Verdict::Refused(reason) => {
                let mut open = self.open.remove(at);
                let unknown = reason == Some(EndingReason::DeviceUnsupported);
                if let (Some(command), Some(sent_at)) = (open.again.take().filter(|_| unknown), open.sent_at) {
                    if let Some(order) = open.order() {
                        self.orders.unshown(order);
                    }
                    let Open { deadline, warnings, attempts, .. } = open;
                    self.waiting.push_front(Waiting { command: *command, deadline, warnings, before: Some((sent_at, attempts)) });
                    return true;
                }
                if let Some(order) = open.order().filter(|_| open.kind == "order_offer") {
                    // the device did not show it: a driver's next key does not mean it
                    self.orders.entry(order).stage = OrderStage::Declined;
                }
                end(open, Ending::Rejected, reason, None, now, turn);
                return true;
            }
        };
        open.retry = None;
        if open.stage < reached {
            open.stage = reached;
            turn.tell(&open.id, News::Stage(reached, now.utc));
        }
        true
    }

    /// The receipt of a message beside all commands, if it is one.
    fn answer_aside(&mut self, key: Key, verdict: &Verdict, turn: &mut Turn) -> bool {
        let Some(at) = self.asides.iter().position(|(known, _)| *known == key) else { return false };
        if let Some((_, Aside::Buttons(digest))) = self.asides.remove(at)
            && matches!(verdict, Verdict::Delivered | Verdict::Done(_))
        {
            self.screen.buttons = digest;
            turn.state_changed = true;
        }
        true
    }

    /// Who it was, where the device does not say, and what the backend has said about that driver.
    pub(crate) fn sign(&self, order: &mut Order) {
        let Some(driver) = &self.driver else { return };
        order.driver_id = order.driver_id.take().or_else(|| Some(driver.driver_id.clone()));
        let same = order.driver_id.as_deref() == Some(&driver.driver_id);
        order.authorized = order.authorized.or_else(|| driver.authorized.filter(|_| same));
    }

    /// A driver's or device's action on an order: which order it is, and what it says about the offer. `None`: not known.
    pub(crate) fn acted(&mut self, order: &mut Order, names: OrderRef<'_>, now: Now, turn: &mut Turn) -> Option<Emitted> {
        let known = self.orders.find(names, order.action, now.utc)?;
        order.order_id = Some(known.order_id.as_str().to_owned());
        order.command_id = known.command_id.as_ref().map(|id| id.as_str().to_owned());
        let decision = matches!(order.action, OrderAction::Accepted | OrderAction::Declined);
        let decided = known.stage >= OrderStage::Assigned;
        if decision && !decided && known.deadline.is_some_and(|deadline| now.utc >= deadline) {
            order.late = Some(true);
        }
        let again = known.taken;
        known.taken |= order.action == OrderAction::Accepted;
        let mut told = None;
        if order.action == OrderAction::Accepted
            && decided
            && let Some(said) = known.decision.clone()
        {
            turn.send.frame(|out| out.extend_from_slice(&said.frames));
            let open = |key: &Key| self.open.iter().any(|o| o.keys.contains(key));
            told = said.keys.into_iter().find(|key| !open(key));
            // what a driver does for the first time is told the backend, whatever was decided
            if again {
                told.into_iter().for_each(|key| self.aside(key, Aside::Told));
                return Some(Emitted::Repeat);
            }
        }
        let first_decision = known.stage == OrderStage::Offered;
        if let Some(stage) = OrderStage::after(order.action) {
            // a repeat of an earlier step does not take an order back
            known.stage = if decision && known.stage <= OrderStage::Accepted { stage } else { known.stage.max(stage) };
            if stage == OrderStage::Ended {
                // the driver knows: what was decided before is not told again
                known.decision = None;
            }
        }
        let offer = known.command_id.clone();
        told.into_iter().for_each(|key| self.aside(key, Aside::Told));
        if decision
            && first_decision
            && let Some(offer) = offer
        {
            self.decided(&offer, order, now, turn);
        }
        Some(Emitted::Stored)
    }

    /// The driver answered an offer, perhaps one that was written over an earlier connection.
    fn decided(&mut self, offer: &CommandId, order: &Order, now: Now, turn: &mut Turn) {
        let ending = if order.action == OrderAction::Accepted { Ending::Acknowledged } else { Ending::Rejected };
        let reason = match order.reason {
            Some(crate::event::Reason::Busy) => Some(EndingReason::Busy),
            _ => None,
        };
        match self.open.iter().position(|o| o.id == *offer) {
            Some(at) => {
                let open = self.open.remove(at);
                end(open, ending, reason, None, now, turn);
            }
            None if order.late != Some(true) => {
                let outcome = Outcome {
                    answered_at: Some(now.utc),
                    attempts: 1,
                    reason,
                    ..Outcome::of(Some(offer.as_str().to_owned()), ending)
                };
                turn.tell(offer, News::Outcome(Box::new(outcome)));
            }
            None => {}
        }
    }

    /// When [`Desk::on_deadline`] wants to be called; a value of [`Now::uptime`].
    pub(crate) fn deadline(&self) -> Option<Duration> {
        let open = self.open.iter().map(|o| o.retry.as_ref().map_or(o.deadline, |retry| retry.at.min(o.deadline)));
        // for those that wait, what they wait for
        let patience = self.open.iter().filter(|o| o.is_awaited()).filter_map(Open::patience);
        let room = patience.chain(self.orders.until()).filter(|_| !self.waiting.is_empty());
        open.chain(self.waiting.iter().map(|w| w.deadline)).chain(room).min()
    }

    /// Repeat what is due, and end what is over.
    pub(crate) fn on_deadline(&mut self, now: Now, turn: &mut Turn) {
        let overdue = |deadline: Duration| deadline <= now.uptime;
        let (gone, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|o| overdue(o.deadline));
        self.open = stay;
        for open in gone {
            let ending = if open.sent_at.is_some() { Ending::Unanswered } else { Ending::Expired };
            end(open, ending, None, None, now, turn);
        }
        let (gone, stay): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| overdue(w.deadline));
        self.waiting = stay;
        for waiting in gone {
            refuse(waiting, Ending::Expired, None, turn);
        }
        self.orders.pass(now);
        for open in &mut self.open {
            open.unheard |= open.patience().is_some_and(overdue);
            let Some(retry) = open.retry.as_mut().filter(|retry| overdue(retry.at)) else { continue };
            retry.done += 1;
            retry.at = Duration::MAX;
            if overdue(open.cutoff) {
                open.retry = None;
                continue;
            }
            if retry.plan.grows {
                retry.wait *= u32::from(retry.done) + 1;
            }
            let (ticket, deadline, frames) = (open.ticket, open.cutoff, open.frames.clone());
            let news = News::Write { ticket, deadline, frames, introduces: false };
            turn.tell(&open.id, news);
            open.pending = true;
            if retry.done >= retry.plan.times {
                open.retry = None;
            }
        }
    }

    /// The connection has ended: what was not written may go to the device's next one, what was written may not.
    pub(crate) fn end(&mut self, turn: &mut Turn) {
        for open in self.open.drain(..) {
            let news = match open.sent_at {
                Some(sent_at) => News::Cut { sent_at, attempts: open.attempts },
                None => News::Returned,
            };
            turn.tell(&open.id, news);
        }
        for waiting in self.waiting.drain(..) {
            turn.tell(&waiting.command.id, News::Returned);
        }
    }
}

/// The order of an offer that has to be the only one.
pub(crate) fn alone(kind: &Kind, one_offer: bool) -> Option<&OrderId> {
    match kind {
        Kind::OrderOffer(offer) if one_offer => Some(&offer.order_id),
        _ => None,
    }
}

impl Turn {
    /// Something about a command.
    pub(crate) fn tell(&mut self, id: &CommandId, news: News) {
        self.told.push(Told { command_id: id.clone(), news });
    }
}

/// The order that a command is about.
pub fn order_of(kind: &Kind) -> Option<&OrderId> {
    match kind {
        Kind::OrderOffer(offer) => Some(&offer.order_id),
        Kind::OrderAssign(Assign::Won(offer)) => Some(&offer.order_id),
        Kind::OrderAssign(Assign::Lost(id)) => Some(id),
        Kind::OrderCancel(cancel) => Some(&cancel.order_id),
        _ => None,
    }
}

#[cfg(test)]
mod reconnecting;
#[cfg(test)]
mod tests;
