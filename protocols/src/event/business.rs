//! What concerns a taxi business: orders, drivers, shifts and money.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

use super::{Attributes, Report};
use crate::time::Timestamp;

/// An exact amount of money.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Money {
    /// Decimal text, e.g. `23.50`.
    pub amount: String,
    /// ISO 4217; absent if the profile does not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
}

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the contract's words")]
pub enum OrderAction {
    Delivered,
    Read,
    Accepted,
    Declined,
    Enroute,
    Arrived,
    PickedUp,
    Completed,
    Cancelled,
    NoShow,
    Flagged,
    StreetHail,
    Trip,
    ListRequested,
    DetailsRequested,
    QueueJoined,
    QueueLeft,
}

impl OrderAction {
    /// The word of the contract.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Read => "read",
            Self::Accepted => "accepted",
            Self::Declined => "declined",
            Self::Enroute => "enroute",
            Self::Arrived => "arrived",
            Self::PickedUp => "picked_up",
            Self::Completed => "completed",
            Self::Cancelled => "cancelled",
            Self::NoShow => "no_show",
            Self::Flagged => "flagged",
            Self::StreetHail => "street_hail",
            Self::Trip => "trip",
            Self::ListRequested => "list_requested",
            Self::DetailsRequested => "details_requested",
            Self::QueueJoined => "queue_joined",
            Self::QueueLeft => "queue_left",
        }
    }
}

/// Who did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Actor {
    /// The driver.
    Driver,
    /// Read from a status change of the device.
    Device,
    /// The backend itself.
    Dispatcher,
    /// A simulated device, or one listed as such in the configuration.
    Imitated,
}

/// Why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the contract's words")]
pub enum Reason {
    Driver,
    Timeout,
    Busy,
    Full,
    NoConnection,
    Nak,
    NoCustomer,
    BadCustomer,
    FakeOrder,
    VehicleFault,
    Accident,
    RoadBlocked,
    Other,
}

/// An action on an order.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Order {
    /// What happened.
    pub action: OrderAction,
    /// Who did it.
    pub actor: Actor,
    /// The backend's id, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// The device's own handle of the order, only where no order is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token: Option<String>,
    /// The command that offered the order, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<String>,
    /// The driver, where known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_id: Option<String>,
    /// `false` only for a driver the backend has refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub authorized: Option<bool>,
    /// Why.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// When it happened by the device's clock, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// Until arrival, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eta_s: Option<u32>,
    /// The fare.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fare: Option<Money>,
    /// Distance of the trip, metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
    /// Waiting during the trip, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_s: Option<u32>,
    /// Start of the trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End of the trip.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// After the offer's deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub late: Option<bool>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Box<Report>>,
    /// Whatever else the protocol says.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

impl Order {
    /// One that says no more than this.
    pub fn of(action: OrderAction, actor: Actor) -> Self {
        Self {
            action,
            actor,
            order_id: None,
            token: None,
            command_id: None,
            driver_id: None,
            authorized: None,
            reason: None,
            time: None,
            eta_s: None,
            fare: None,
            distance_m: None,
            waiting_s: None,
            started_at: None,
            ended_at: None,
            late: None,
            position: None,
            attributes: Attributes::default(),
        }
    }
}

/// What a driver did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the contract's words")]
pub enum DriverAction {
    SignOn,
    SignOff,
    CardIn,
    CardOut,
    BreakStart,
    BreakEnd,
    Status,
}

/// How a driver signed on or off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the contract's words")]
pub enum Method {
    Card,
    Login,
    Button,
    Ibutton,
}

/// What a driver is at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the contract's words")]
pub enum DriverState {
    Free,
    Occupied,
    Busy,
    Break,
    Off,
}

/// The record of a shift.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Shift {
    /// Start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// End.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// Driven, metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
    /// Driven with passengers, metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub paid_distance_m: Option<f64>,
    /// Trips.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trips: Option<u32>,
    /// Waiting, seconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting_s: Option<u32>,
    /// Takings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub amount: Option<Money>,
}

/// A driver's action.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Driver {
    /// What the driver did.
    pub action: DriverAction,
    /// The identity on the card or of the login.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_id: Option<String>,
    /// How.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub method: Option<Method>,
    /// For `status`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<DriverState>,
    /// When it happened by the device's clock, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The driver's name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Professional licence or certificate number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub licence: Option<String>,
    /// The company's licence number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub company_licence: Option<String>,
    /// The vehicle's plate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub plate: Option<String>,
    /// `YYYY-MM-DD`, last day on which the licence is valid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid_until: Option<String>,
    /// How reading the card went: `ok`, or what failed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reading_result: Option<Cow<'static, str>>,
    /// The shift that ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub shift: Option<Shift>,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub position: Option<Box<Report>>,
    /// Whatever else the protocol says.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

impl Driver {
    /// An action with nothing else known.
    pub fn new(action: DriverAction) -> Self {
        Self {
            action,
            driver_id: None,
            method: None,
            state: None,
            time: None,
            name: None,
            licence: None,
            company_licence: None,
            plate: None,
            valid_until: None,
            reading_result: None,
            shift: None,
            position: None,
            attributes: Attributes::default(),
        }
    }
}
