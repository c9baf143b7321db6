//! Where makers read the standard in different ways, chosen by a profile's `dialect`. No source has the standard's own
//! text; the common readings are those that most independent implementations share.

use super::message::id;
use crate::event::OrderAction;
use crate::profile::Button;

/// One dialect.
#[derive(Debug)]
pub(super) struct Dialect {
    /// The name that profiles use.
    pub(super) name: &'static str,
    /// Status bit 0 says that there is a fix, as in JT/T 808; commonly it says that there is none.
    pub(super) fix_is_set: bool,
    /// Units of a degree in positions.
    pub(super) per_degree: f64,
    /// Units of a degree in what is told about an order.
    pub(super) order_per_degree: f64,
    /// How the times of a shift are written.
    pub(super) shift_time: ShiftTime,
    /// Bytes of the plate in a meter's record.
    pub(super) meter_plate: usize,
    /// Words of the sign-off mode.
    pub(super) sign_off_modes: &'static [(u8, &'static str)],
    /// Texts sent to the terminal end with a zero byte.
    pub(super) terminated: bool,
    /// A telephone number has exactly so many bytes, whatever texts do.
    pub(super) phone_width: Option<usize>,
    /// The id with which the centre cancels an order.
    pub(super) cancel: u16,
    /// An offer is written again while no receipt comes. Other terminals would show it again each time.
    pub(super) repeats_offers: bool,
    /// How a loser is told.
    pub(super) lost: Lost,
    /// How a winner is told.
    pub(super) won: Won,
    /// Events that are put on the terminal's menu, and what they say about the open order.
    pub(super) events: &'static [MenuEvent],
}

/// How the times of a shift are written in six bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ShiftTime {
    /// As [`ShiftTime::Long`] where it cannot be anything else.
    ByContent,
    /// `YYYYMMDDhhmm`.
    Long,
    /// `YYMMDDhhmmss`.
    Short,
}

/// How a loser is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lost {
    /// 0x8B01 with nothing but the business id.
    ShortAnswer,
    /// Like a cancelled order: these terminals take any 0x8B01 for a win.
    Cancel,
}

/// How a winner is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Won {
    Full,
    /// Business id, type, telephone number, description: CTFO before October 2018.
    Short,
}

/// An entry of the terminal's menu that says something about the open order.
#[derive(Debug)]
pub(super) struct MenuEvent {
    pub(super) id: u8,
    /// What the driver reads.
    pub(super) text: &'static str,
    pub(super) action: OrderAction,
}

impl MenuEvent {
    /// The same as a key of a profile.
    pub(super) fn button(&self) -> Button {
        Button { id: self.id.into(), action: self.action, reason: None, text: self.text.to_owned() }
    }
}

/// 0.0001 minute.
const MINUTES: f64 = 600_000.0;

/// Arrived, passenger on board, passenger did not come: what the standard has no message for.
static ORDER_EVENTS: &[MenuEvent] = &[
    MenuEvent { id: 1, text: "已到达", action: OrderAction::Arrived },
    MenuEvent { id: 2, text: "乘客已上车", action: OrderAction::PickedUp },
    MenuEvent { id: 3, text: "乘客未到", action: OrderAction::NoShow },
];

const COMMON: Dialect = Dialect {
    name: "",
    fix_is_set: false,
    per_degree: MINUTES,
    order_per_degree: MINUTES,
    shift_time: ShiftTime::ByContent,
    meter_plate: 6,
    sign_off_modes: &[(0, "normal"), (1, "forced")],
    terminated: true,
    phone_width: None,
    cancel: id::CANCELLED,
    repeats_offers: true,
    lost: Lost::ShortAnswer,
    won: Won::Full,
    events: &[],
};

/// CTFO's platform and the terminals made for it.
const CTFO: Dialect = Dialect { sign_off_modes: &[(0, "normal"), (1, "by_hand"), (2, "automatic"), (3, "meter_locked")], ..COMMON };

/// Uninew HMI112 of 2017 and 2018.
const UNINEW: Dialect = Dialect {
    fix_is_set: true,
    terminated: false,
    phone_width: Some(11),
    cancel: id::CANCELLED_UNINEW,
    repeats_offers: false,
    lost: Lost::Cancel,
    ..COMMON
};

static COMMON_READINGS: Dialect = COMMON;

/// All of them, by name. Names are configuration, so they stay.
static DIALECTS: &[Dialect] = &[
    Dialect { name: "ctfo", ..CTFO },
    Dialect { name: "ctfo-2017", won: Won::Short, ..CTFO },
    // status bit 0 as in JT/T 808, everything else as the standard
    Dialect { name: "fix-bit-808", fix_is_set: true, ..COMMON },
    // units that were made for JT/T 808 and kept its coordinates
    Dialect { name: "micro-degrees", per_degree: 1e6, order_per_degree: 1e6, ..COMMON },
    Dialect { name: "order-events", events: ORDER_EVENTS, ..COMMON },
    // local editions with a meter record for new energy plates
    Dialect { name: "plate-9", meter_plate: 9, ..COMMON },
    Dialect { name: "shift-time-long", shift_time: ShiftTime::Long, ..COMMON },
    Dialect { name: "shift-time-short", shift_time: ShiftTime::Short, ..COMMON },
    Dialect { name: "uninew", ..UNINEW },
    // its order screen divides by 10 000 and takes what comes out as it is
    Dialect { name: "uninew-degrees", order_per_degree: 10_000.0, ..UNINEW },
    Dialect { name: "uninew-order-events", events: ORDER_EVENTS, ..UNINEW },
];

/// The names, for the registry.
pub(super) const NAMES: &[&str] = &[
    "ctfo",
    "ctfo-2017",
    "fix-bit-808",
    "micro-degrees",
    "order-events",
    "plate-9",
    "shift-time-long",
    "shift-time-short",
    "uninew",
    "uninew-degrees",
    "uninew-order-events",
];

/// The dialect of this name, else the common readings.
pub(super) fn find(name: Option<&str>) -> &'static Dialect {
    crate::profile::row(name, DIALECTS, |row| row.name, &COMMON_READINGS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_registry_names_every_dialect() {
        let names: Vec<_> = DIALECTS.iter().map(|d| d.name).collect();
        assert_eq!(names, NAMES);
        assert!(names.is_sorted());
        assert!(find(Some("uninew")).fix_is_set);
        assert_eq!(find(Some("nobody")).name, "");
    }

    #[test]
    fn texts_of_events_fit_the_standard() {
        for dialect in DIALECTS {
            for event in dialect.events {
                // GBK: two bytes a character, at most 20
                assert!(event.text.chars().count() * 2 <= 20, "{}", event.text);
            }
        }
    }
}
