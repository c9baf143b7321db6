//! The dispatch office of the demo: the reference dispatcher, fed from the journal, whose commands go to the gateway in the
//! process, as records of the contract.

use std::collections::BTreeMap;
use std::fmt;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::dispatcher::{Dispatcher, State, Wish};
use super::taxi::TOWN;
use crate::clock;
use crate::down::hub::Handle;

/// Between two passengers.
const PASSENGERS: Duration = Duration::from_millis(900);
/// Every so many passengers one changes their mind.
const REGRETS: u32 = 5;
/// After this long.
const REGRET_MS: i64 = 1500;

/// See the module.
pub(super) struct Office {
    dispatcher: Dispatcher,
    gateway: Handle,
    began: Instant,
    last_order: Duration,
    next: Duration,
    books: Books,
    regrets: Vec<(i64, String)>,
    outcomes: BTreeMap<String, u32>,
}

/// What became of orders and commands.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Books {
    pub(super) orders: u32,
    pub(super) completed: usize,
    pub(super) cancelled: usize,
    pub(super) unserved: usize,
    /// Orders that are not over.
    pub(super) open: usize,
    pub(super) commands: usize,
    /// Commands without an outcome.
    pub(super) unanswered: usize,
    /// Commands with more than one.
    pub(super) answered_twice: usize,
}

impl Books {
    /// What is wrong, if anything is.
    pub(super) fn balance(&self) -> Option<String> {
        let counted = self.completed + self.cancelled + self.unserved;
        if self.open > 0 || counted != self.orders as usize {
            Some(format!("of {} orders only {counted} are over", self.orders))
        } else if self.unanswered + self.answered_twice > 0 {
            let Self { commands, unanswered, answered_twice, .. } = self;
            Some(format!("of {commands} commands {unanswered} have no outcome and {answered_twice} more than one"))
        } else {
            None
        }
    }
}

impl fmt::Display for Books {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { orders, completed, cancelled, unserved, open, commands, unanswered, answered_twice } = self;
        write!(
            f,
            "orders: {orders} completed={completed} cancelled={cancelled} unserved={unserved} open={open}; \
             commands: {commands} without_outcome={unanswered} with_two={answered_twice}"
        )
    }
}

impl Office {
    pub(super) fn new(gateway: Handle, last_order: Duration) -> Self {
        let mut dispatcher = Dispatcher::new("demo");
        // an 808 terminal of the demo has no card reader
        dispatcher.anybody = true;
        Self {
            dispatcher,
            gateway,
            began: Instant::now(),
            last_order,
            next: PASSENGERS,
            books: Books::default(),
            regrets: Vec::new(),
            outcomes: BTreeMap::new(),
        }
    }

    /// A record of the journal; what to print.
    pub(super) fn read(&mut self, topic: &str, value: &Value) -> Vec<String> {
        let mut lines = Vec::new();
        let outcome = &value["outcome"];
        if let (Some(id), Some(result)) = (outcome["command_id"].as_str(), outcome["result"].as_str()) {
            *self.outcomes.entry(id.to_owned()).or_default() += 1;
            let reason = outcome["reason"].as_str().map(|r| format!(" ({r})")).unwrap_or_default();
            lines.push(format!("{}  dispatch <- {id}: {result}{reason}", now_text()));
        }
        // the recorded navigators report from elsewhere and take no orders
        let device = value["device_id"].as_str().unwrap_or_default();
        let taxi = device.starts_with("1099000007") || device.starts_with("138000077");
        if taxi || topic == "outcomes" {
            let commands = self.dispatcher.record(topic, device, value, now_ms());
            lines.extend(self.send(commands));
        }
        lines
    }

    /// Time passes; `over`: nothing more is begun.
    pub(super) fn work(&mut self, over: bool) -> Vec<String> {
        let now = now_ms();
        let mut lines = Vec::new();
        if over {
            return lines;
        }
        let passed = self.began.elapsed();
        if passed >= self.next && passed < self.last_order && self.dispatcher.free() > 0 {
            self.next = passed + PASSENGERS;
            self.books.orders += 1;
            let n = self.books.orders;
            let order_id = (1000 + n).to_string();
            if n.is_multiple_of(REGRETS) {
                self.regrets.push((now + REGRET_MS, order_id.clone()));
            }
            lines.push(format!(
                "{}  dispatch    PASSENGER {n} wants a car: order {order_id} ({} answers awaited)",
                now_text(),
                self.dispatcher.waiting()
            ));
            let wish = Wish {
                order_id,
                address: format!("人民路 {n}"),
                latitude: TOWN.0,
                longitude: TOWN.1,
                passenger: "李".into(),
                phone: "13800000099".into(),
            };
            let commands = self.dispatcher.order(wish, now);
            lines.extend(self.send(commands));
        }
        let regrets: Vec<_> = self.regrets.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, order_id) in regrets {
            let commands = self.dispatcher.cancel(&order_id, now);
            lines.extend(self.send(commands));
        }
        let commands = self.dispatcher.tick(now);
        lines.extend(self.send(commands));
        lines
    }

    fn send(&mut self, commands: Vec<Value>) -> Vec<String> {
        let mut lines = Vec::new();
        for command in commands {
            let kind = command["kind"].as_str().unwrap_or_default();
            let content = &command[kind];
            let won = content["won"].as_bool().map(|won| if won { " WON" } else { " lost" }).unwrap_or_default();
            let (id, device) = (command["id"].as_str().unwrap_or_default(), command["device_id"].as_str().unwrap_or_default());
            lines.push(format!(
                "{}  dispatch -> {id}: {kind}{won} {} to {device}",
                now_text(),
                content["order_id"].as_str().unwrap_or_default()
            ));
            self.books.commands += 1;
            self.outcomes.entry(id.to_owned()).or_default();
            self.gateway.post(command.to_string().into_bytes());
        }
        lines
    }

    /// The end.
    pub(super) fn close(self) -> Books {
        let count = |state| self.dispatcher.count(state);
        Books {
            completed: count(State::Completed) + count(State::NoShow),
            cancelled: count(State::Cancelled),
            unserved: count(State::Unserved),
            open: self.dispatcher.open(),
            unanswered: self.outcomes.values().filter(|n| **n == 0).count(),
            answered_twice: self.outcomes.values().filter(|n| **n > 1).count(),
            ..self.books
        }
    }
}

fn now_ms() -> i64 {
    clock::utc().as_millis()
}

fn now_text() -> String {
    clock::utc().to_string().get(11..23).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_books_can_be_wrong() {
        let right = || Books { orders: 3, completed: 1, cancelled: 1, unserved: 1, commands: 9, ..Books::default() };
        assert_eq!(right().balance(), None);
        assert!(Books { completed: 0, ..right() }.balance().unwrap().contains("only 2 are over"));
        assert!(Books { unanswered: 1, ..right() }.balance().unwrap().contains("no outcome"));
        assert!(Books { answered_twice: 1, ..right() }.balance().is_some());
    }
}
