//! What the last key of an order means: it is pressed when the passenger gets in, and again at the end.

use std::collections::VecDeque;

use crate::event::OrderAction;

/// How many orders are remembered. A car has one, rarely a second that waits; the oldest is forgotten first.
const MAX_ORDERS: usize = 8;

/// Orders whose passenger is in the car.
#[derive(Debug, Default)]
pub(super) struct Trips(VecDeque<Trip>);

#[derive(Debug)]
struct Trip {
    order: Box<str>,
    /// What was said when the passenger got in, so that the same said again is known.
    said: Box<str>,
}

impl Trips {
    /// The key was pressed for this order, by a message that says this; `in_car`: an earlier connection had its passenger get in.
    /// An order without a number is one.
    pub(super) fn key(&mut self, order: &str, said: &str, in_car: bool) -> OrderAction {
        match self.0.iter().find(|trip| *trip.order == *order) {
            Some(trip) if *trip.said == *said => OrderAction::PickedUp,
            Some(_) => OrderAction::Completed,
            None if in_car => OrderAction::Completed,
            None => {
                if self.0.len() >= MAX_ORDERS {
                    self.0.pop_front();
                }
                self.0.push_back(Trip { order: order.into(), said: said.into() });
                OrderAction::PickedUp
            }
        }
    }

    /// The order begins anew, or is no more.
    pub(super) fn forget(&mut self, order: &str) {
        self.0.retain(|trip| *trip.order != *order);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_press_is_the_passenger_and_the_next_the_end() {
        let mut trips = Trips::default();
        assert_eq!(trips.key("1301220909091", "at ten", false), OrderAction::PickedUp);
        assert_eq!(trips.key("1301220909091", "at ten", false), OrderAction::PickedUp, "the same message again");
        assert_eq!(trips.key("1301220909091", "at eleven", false), OrderAction::Completed);
        assert_eq!(trips.key("1301220909091", "at eleven", false), OrderAction::Completed);
        assert_eq!(trips.key("1301220909092", "at eleven", false), OrderAction::PickedUp);
        assert_eq!(trips.key("1301220909099", "at eleven", true), OrderAction::Completed, "got in over another connection");
        trips.forget("1301220909091");
        assert_eq!(trips.key("1301220909091", "at twelve", false), OrderAction::PickedUp);
    }

    #[test]
    fn only_so_many_orders_are_remembered() {
        let mut trips = Trips::default();
        for n in 0..=MAX_ORDERS {
            trips.key(&n.to_string(), "now", false);
        }
        assert_eq!(trips.0.len(), MAX_ORDERS);
        assert_eq!(trips.key("0", "later", false), OrderAction::PickedUp);
        assert_eq!(trips.key(&MAX_ORDERS.to_string(), "later", false), OrderAction::Completed);
    }
}
