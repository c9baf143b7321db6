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
//! idle connection pays a pointer for it. `plan` is the author's side, `orders` what outlives the connection.

mod orders;
mod plan;

use std::collections::VecDeque;
use std::time::Duration;

pub use orders::{DeviceState, DriverNow, MAX_ORDERS, OpenOrder, OrderRef, OrderStage};
pub use plan::{Confirms, Errand, Key, Plan, Retry, Unfit, Verdict};

use crate::command::{Assign, Command, CommandId, Kind, OrderId};
use crate::event::{Driver, Order, OrderAction};
use crate::outcome::{Ending, EndingReason, Outcome, Stage};
use crate::session::{News, Ticket, Told, Turn};
use crate::time::{Now, Timestamp};
use orders::Orders;

/// Commands written to a device and not yet over. Cheap units answer one message after the other and lose what comes faster;
/// eight are a screenful.
pub const MAX_OPEN: usize = 8;
/// Commands that wait for one of those to end. More is a backend that does not look at outcomes: `window_full`.
pub const MAX_WAITING: usize = 32;
/// Least time that an offer is shown for: a driver needs it to read and to press a key.
pub const MIN_OFFER: Duration = Duration::from_secs(4);
/// A device's lag beyond this is a stalled link rather than a slow one, and says nothing about the next message.
const MAX_LAG: Duration = Duration::from_secs(30);

/// A command that was put into the protocol's words.
#[derive(Debug)]
struct Open {
    id: CommandId,
    kind: &'static str,
    order: Option<OrderId>,
    target: Option<String>,
    deadline: Duration,
    ticket: Ticket,
    keys: Vec<Key>,
    ends: Confirms,
    retry: Option<Repeat>,
    frames: Vec<u8>,
    stage: Stage,
    sent_at: Option<Timestamp>,
    written: Duration,
    attempts: u32,
    exclusive: bool,
    warnings: Vec<String>,
}

#[derive(Debug)]
struct Repeat {
    plan: Retry,
    /// Repeats so far.
    done: u8,
    wait: Duration,
    at: Duration,
}

/// A command that waits for its turn.
#[derive(Debug)]
pub(crate) struct Waiting {
    pub(crate) command: Command,
    pub(crate) deadline: Duration,
    pub(crate) warnings: Vec<String>,
}

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
    orders: Orders,
    driver: Option<DriverNow>,
    lag: Duration,
    last_ticket: u32,
}

impl Desk {
    /// From what another session left.
    pub(crate) fn restore(state: DeviceState) -> Self {
        Self { orders: Orders::restore(state.open_orders), driver: state.driver, ..Self::default() }
    }

    /// What another session can go on with.
    pub(crate) fn state(&self) -> DeviceState {
        DeviceState { driver: self.driver.clone(), open_orders: self.orders.open().cloned().collect() }
    }

    /// Whether nothing would be lost with it.
    pub(crate) fn is_empty(&self) -> bool {
        self.open.is_empty() && self.waiting.is_empty() && self.orders.is_empty() && self.driver.is_none()
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

    /// Whether there is room to write a command now. `alone` is an offer whose answer does not say which offer it means.
    pub(crate) fn has_room(&self, alone: bool) -> bool {
        self.open.len() < MAX_OPEN && !(alone && self.open.iter().any(|o| o.exclusive))
    }

    /// Whether the queue takes one more.
    pub(crate) fn may_wait(&self) -> bool {
        self.waiting.len() < MAX_WAITING
    }

    pub(crate) fn wait(&mut self, waiting: Waiting) {
        self.waiting.push_back(waiting);
    }

    /// The first command that waits and can be written now.
    pub(crate) fn next(&mut self, alone: impl Fn(&Kind) -> bool) -> Option<Waiting> {
        let at = self.waiting.iter().position(|w| self.has_room(alone(&w.command.kind)))?;
        self.waiting.remove(at)
    }

    /// A command was put into words.
    pub(crate) fn opened<D>(&mut self, w: Waiting, plan: Plan<D>, frames: Vec<u8>, alone: bool, turn: &mut Turn) {
        let Waiting { command, deadline, mut warnings } = w;
        self.last_ticket = self.last_ticket.wrapping_add(1);
        let ticket = Ticket(self.last_ticket);
        warnings.extend(plan.warnings);
        let introduces = self.introduces(&command);
        self.note(&command, &frames);
        let retry = plan.retry.map(|plan| Repeat { plan, done: 0, wait: plan.first, at: Duration::MAX });
        turn.tell(&command.id, News::Write { ticket, deadline, frames: frames.clone(), introduces });
        let frames = if retry.is_some() { frames } else { Vec::new() };
        self.open.push(Open {
            kind: command.kind.name(),
            order: order_of(&command.kind).cloned(),
            target: target(&command.kind),
            id: command.id,
            deadline,
            ticket,
            keys: plan.keys,
            ends: plan.ends,
            retry,
            frames,
            stage: Stage::Waiting,
            sent_at: None,
            written: Duration::ZERO,
            attempts: 0,
            exclusive: alone,
            warnings,
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
    fn note(&mut self, command: &Command, frames: &[u8]) {
        match &command.kind {
            Kind::OrderOffer(offer) => {
                let order = self.orders.entry(&offer.order_id);
                order.command_id = Some(command.id.clone());
                order.deadline = Some(command.deadline);
                order.stage = OrderStage::Offered;
            }
            Kind::OrderAssign(Assign::Won(offer)) => {
                let order = self.orders.entry(&offer.order_id);
                order.stage = order.stage.max(OrderStage::Assigned);
                order.assignment = frames.to_vec();
            }
            Kind::OrderAssign(Assign::Lost(id)) => self.orders.entry(id).stage = OrderStage::Ended,
            Kind::OrderCancel(cancel) => self.orders.entry(&cancel.order_id).stage = OrderStage::Ended,
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
        let (order, target) = (order_of(&command.kind), target(&command.kind));
        let replaces = |kind: &'static str, their_order: Option<&OrderId>, their_target: Option<&String>| {
            let same_order = order.is_some() && order == their_order && supersedes_order(&command.kind);
            same_order || (kind == command.kind.name() && target.is_some() && target.as_ref() == their_target)
        };
        let mut unshown = false;
        let (gone, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|o| {
            // an assignment or a cancel that is on its way is not undone by a repeat of the offer
            replaces(o.kind, o.order.as_ref(), o.target.as_ref())
        });
        self.open = stay;
        for open in gone {
            if open.sent_at.is_none() {
                unshown |= open.kind == "order_offer";
                turn.tell(&open.id, News::Withdraw(open.ticket));
            }
            end(open, Ending::Superseded, None, None, now, turn);
        }
        let (gone, stay): (VecDeque<_>, VecDeque<_>) = std::mem::take(&mut self.waiting)
            .into_iter()
            .partition(|w| replaces(w.command.kind.name(), order_of(&w.command.kind), self::target(&w.command.kind).as_ref()));
        self.waiting = stay;
        for waiting in gone {
            unshown |= matches!(waiting.command.kind, Kind::OrderOffer(_));
            refuse(waiting, Ending::Superseded, None, turn);
        }
        let done = unshown && matches!(command.kind, Kind::OrderCancel(_));
        if let Some(id) = order.filter(|_| done) {
            self.orders.entry(id).stage = OrderStage::Ended;
        }
        done
    }

    /// The first byte of a command was written.
    pub(crate) fn written(&mut self, ticket: Ticket, now: Now, turn: &mut Turn) {
        let Some(at) = self.open.iter().position(|o| o.ticket == ticket) else { return };
        let open = &mut self.open[at];
        open.attempts += 1;
        open.written = now.uptime;
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
        if let Some(at) = self.open.iter().position(|o| o.ticket == ticket && o.sent_at.is_none()) {
            let open = self.open.remove(at);
            end(open, Ending::Expired, None, None, now, turn);
        }
    }

    /// The device answers. False if nothing that is open has this key.
    pub(crate) fn answer(&mut self, key: Key, verdict: Verdict, now: Now, turn: &mut Turn) -> bool {
        // the newest first: an order's number stays the same when it is offered again
        let Some(at) = self.open.iter().rposition(|o| o.sent_at.is_some() && o.keys.contains(&key)) else { return false };
        let open = &mut self.open[at];
        if open.stage == Stage::Sent && open.attempts == 1 {
            let lag = now.uptime.saturating_sub(open.written).min(MAX_LAG) / 2;
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
                let open = self.open.remove(at);
                if let Some(order) = open.order.as_ref().filter(|_| open.kind == "order_offer") {
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

    /// A driver's or device's action on an order: which order it is, and what it says about the offer. `None`: not known.
    pub(crate) fn acted(&mut self, order: &mut Order, names: OrderRef<'_>, now: Now, turn: &mut Turn) -> Option<Emitted> {
        if let Some(driver) = &self.driver {
            order.driver_id = order.driver_id.take().or_else(|| Some(driver.driver_id.clone()));
            let same = order.driver_id.as_deref() == Some(&driver.driver_id);
            order.authorized = order.authorized.or_else(|| driver.authorized.filter(|_| same));
        }
        let known = self.orders.find(names, order.action, now.utc)?;
        order.order_id = Some(known.order_id.as_str().to_owned());
        order.command_id = known.command_id.as_ref().map(|id| id.as_str().to_owned());
        let decision = matches!(order.action, OrderAction::Accepted | OrderAction::Declined);
        let decided = known.stage >= OrderStage::Assigned;
        if decision && !decided && known.deadline.is_some_and(|deadline| now.utc >= deadline) {
            order.late = Some(true);
        }
        if order.action == OrderAction::Accepted && decided && !known.assignment.is_empty() {
            let assignment = known.assignment.clone();
            turn.send.frame(|out| out.extend_from_slice(&assignment));
            return Some(Emitted::Repeat);
        }
        let first_decision = known.stage == OrderStage::Offered;
        if let Some(stage) = OrderStage::after(order.action) {
            // a repeat of an earlier step does not take an order back
            known.stage = if decision && known.stage <= OrderStage::Accepted { stage } else { known.stage.max(stage) };
        }
        if decision
            && first_decision
            && let Some(offer) = known.command_id.clone()
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
        open.chain(self.waiting.iter().map(|w| w.deadline)).min()
    }

    /// Repeat what is due, and end what is over.
    pub(crate) fn on_deadline(&mut self, now: Now, turn: &mut Turn) {
        let overdue = |deadline: Duration| deadline <= now.uptime;
        let (gone, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.open).into_iter().partition(|o| overdue(o.deadline));
        self.open = stay;
        for open in gone {
            let ending = if open.sent_at.is_some() { Ending::Unanswered } else { Ending::Expired };
            if open.sent_at.is_none() {
                turn.tell(&open.id, News::Withdraw(open.ticket));
            }
            end(open, ending, None, None, now, turn);
        }
        let (gone, stay): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.waiting).into_iter().partition(|w| overdue(w.deadline));
        self.waiting = stay;
        for waiting in gone {
            refuse(waiting, Ending::Expired, None, turn);
        }
        for open in &mut self.open {
            let Some(retry) = open.retry.as_mut().filter(|retry| overdue(retry.at)) else { continue };
            retry.done += 1;
            retry.at = Duration::MAX;
            if retry.plan.grows {
                retry.wait *= u32::from(retry.done) + 1;
            }
            let (ticket, deadline, frames) = (open.ticket, open.deadline, open.frames.clone());
            let news = News::Write { ticket, deadline, frames, introduces: false };
            turn.tell(&open.id, news);
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

impl Turn {
    /// Something about a command.
    pub(crate) fn tell(&mut self, id: &CommandId, news: News) {
        self.told.push(Told { command_id: id.clone(), news });
    }
}

fn end(open: Open, ending: Ending, reason: Option<EndingReason>, answer: Option<serde_json::Value>, now: Now, turn: &mut Turn) {
    let answered = matches!(ending, Ending::Acknowledged | Ending::Rejected);
    let outcome = Outcome {
        reason,
        answer,
        attempts: open.attempts,
        sent_at: open.sent_at,
        answered_at: answered.then_some(now.utc),
        warnings: open.warnings,
        ..Outcome::of(Some(open.id.as_str().to_owned()), ending)
    };
    turn.tell(&open.id, News::Outcome(Box::new(outcome)));
}

/// A command ends before a byte of it was written.
pub(crate) fn refuse(waiting: Waiting, ending: Ending, reason: Option<EndingReason>, turn: &mut Turn) {
    let Waiting { command, warnings, .. } = waiting;
    let outcome = Outcome { reason, warnings, ..Outcome::of(Some(command.id.as_str().to_owned()), ending) };
    turn.tell(&command.id, News::Outcome(Box::new(outcome)));
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

fn supersedes_order(kind: &Kind) -> bool {
    matches!(kind, Kind::OrderOffer(_) | Kind::OrderAssign(_) | Kind::OrderCancel(_))
}

/// What a command is aimed at, where a later one of the same kind at the same target makes it pointless. Texts, questions,
/// photos, calls and raw frames are each wanted for their own sake.
pub fn target(kind: &Kind) -> Option<String> {
    match kind {
        Kind::OrderList(_)
        | Kind::DriverAuthorization(_)
        | Kind::AlarmConfirm(_)
        | Kind::Locate(_)
        | Kind::Reboot(_)
        | Kind::Track(_) => Some(String::new()),
        Kind::Output(output) => Some(output.name.clone()),
        Kind::OrderOffer(_)
        | Kind::OrderAssign(_)
        | Kind::OrderCancel(_)
        | Kind::Text(_)
        | Kind::Question(_)
        | Kind::TakePhoto(_)
        | Kind::Call(_)
        | Kind::SetParameters(_)
        | Kind::QueryParameters(_)
        | Kind::Raw(_) => None,
    }
}

#[cfg(test)]
mod tests;
