//! The words of commands, and the checks that a type alone does not make.

use std::fmt;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::reading::at_path;
use crate::cursor::{hex, unhex};
use crate::event::{Alarm, Alarms, Money};
use crate::time::Timestamp;

/// Longest id of a command, in bytes; more than three times a UUID's text.
pub const MAX_COMMAND_ID: usize = 128;
/// Longest id of an order, in bytes (the contract's own bound).
pub const MAX_ORDER_ID: usize = 64;

/// Defines a text that is checked when it is read.
macro_rules! checked_text {
    ($(#[$doc:meta])* $name:ident, $max:expr) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize)]
        pub struct $name(String);

        impl $name {
            /// `None` if it is empty, too long or not printable ASCII.
            pub fn new(text: impl Into<String>) -> Option<Self> {
                let text = text.into();
                let printable = text.bytes().all(|b| matches!(b, b' '..=b'~'));
                (printable && (1..=$max).contains(&text.len())).then_some(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                Self::new(text).ok_or_else(|| D::Error::custom(format_args!("expected 1 to {} printable ASCII characters", $max)))
            }
        }

        #[cfg(feature = "schema")]
        impl schemars::JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }
            fn schema_name() -> std::borrow::Cow<'static, str> {
                stringify!($name).into()
            }
            fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
                schemars::json_schema!({ "type": "string", "pattern": "^[ -~]+$", "minLength": 1, "maxLength": $max })
            }
        }
    };
}

checked_text!(
    /// The backend's id of a command.
    CommandId,
    MAX_COMMAND_ID
);
checked_text!(
    /// The backend's id of an order.
    OrderId,
    MAX_ORDER_ID
);

/// A name or telephone number: passed through to the device, never shown in a log, so it has no readable [`Debug`] form.
#[derive(Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(transparent)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema), schemars(inline))]
pub struct Private(pub String);

impl fmt::Debug for Private {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(private)")
    }
}

/// How an order is given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum OfferType {
    /// Now.
    Immediate,
    /// At the pickup's time.
    Reserved,
    /// To this driver alone.
    Assigned,
}

/// An order as it is offered. Neither `passenger` nor coordinates are shown before the order is won.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Offer {
    /// The order.
    pub order_id: OrderId,
    /// Shown as it is; else the text is made from the profile's template.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How it is given out.
    #[serde(rename = "type")]
    pub offer_type: OfferType,
    /// Where the passenger waits.
    pub pickup: Stop,
    /// Where the passenger wants to go.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub destination: Option<Stop>,
    /// Who it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub passenger: Option<Passenger>,
    /// Expected fare.
    #[serde(default, deserialize_with = "money", skip_serializing_if = "Option::is_none")]
    pub fare: Option<Money>,
    /// Extra that the passenger pays for being fetched.
    #[serde(default, deserialize_with = "money", skip_serializing_if = "Option::is_none")]
    pub fee: Option<Money>,
    /// Length of the trip, metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub distance_m: Option<f64>,
    /// Anything else the driver should read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub remark: Option<String>,
}

/// A place to stop at. Coordinates are used only if both are there.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Stop {
    /// For a person.
    pub address: String,
    /// WGS 84 degrees, north positive, -90..=90.
    #[serde(default, deserialize_with = "degrees::<90, _>", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -90, max = 90)))]
    pub latitude: Option<f64>,
    /// WGS 84 degrees, east positive, -180..=180.
    #[serde(default, deserialize_with = "degrees::<180, _>", skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(range(min = -180, max = 180)))]
    pub longitude: Option<f64>,
    /// When to be there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
}

/// The passenger; for the winner only.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Passenger {
    /// Name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Private>,
    /// Telephone number.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub phone: Option<Private>,
}

/// Whether the device's driver got the order: `won` says which of the two it is.
#[derive(Debug, Clone, PartialEq)]
pub enum Assign {
    /// It did; everything needed to drive.
    Won(Box<Offer>),
    /// Another one did.
    Lost(OrderId),
}

/// The fields of [`Assign::Lost`]; of [`Assign::Won`] it reads enough to know that.
#[derive(Deserialize)]
struct Verdict {
    order_id: OrderId,
    won: bool,
}

impl<'de> Deserialize<'de> for Assign {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = Value::deserialize(deserializer)?;
        let Verdict { order_id, won } = at_path(&value).map_err(D::Error::custom)?;
        if !won {
            return Ok(Self::Lost(order_id));
        }
        at_path(&value).map(Self::Won).map_err(D::Error::custom)
    }
}

impl Serialize for Assign {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Won<'a> {
            won: bool,
            #[serde(flatten)]
            order: &'a Offer,
        }
        #[derive(Serialize)]
        struct Lost<'a> {
            won: bool,
            order_id: &'a OrderId,
        }
        match self {
            Self::Won(order) => Won { won: true, order }.serialize(serializer),
            Self::Lost(order_id) => Lost { won: false, order_id }.serialize(serializer),
        }
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Assign {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Assign".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let won = generator.subschema_for::<Offer>();
        let order_id = generator.subschema_for::<OrderId>();
        schemars::json_schema!({
            "type": "object",
            "description": "Whether the device's driver got the order; the winner needs all fields of the offer.",
            "properties": { "order_id": order_id, "won": { "type": "boolean" } },
            "required": ["order_id", "won"],
            "if": { "properties": { "won": { "const": true } } },
            "then": won,
        })
    }
}

/// An order that is no more.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderCancel {
    /// The order.
    pub order_id: OrderId,
    /// For the driver to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The orders of this device's screen, all of them.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct OrderList {
    /// In the order to be shown.
    pub orders: Vec<Offer>,
}

/// Something to read.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Text {
    /// The text.
    pub text: String,
    /// Whether it cannot wait.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub urgent: Option<bool>,
    /// Whether to show it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display: Option<bool>,
    /// Whether to read it aloud.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speak: Option<bool>,
}

/// Something to answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Question {
    /// The question.
    pub text: String,
    /// What can be chosen.
    pub answers: Vec<Choice>,
}

/// One possible answer.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Choice {
    /// What the outcome's `answer` will be.
    pub id: String,
    /// What the driver reads.
    pub text: String,
}

/// Whether a driver may work: a state that is kept with the device, not an errand.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct DriverAuthorization {
    /// The driver.
    pub driver_id: String,
    /// Whether.
    pub authorized: bool,
    /// For a greeting.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<Private>,
    /// For the driver to read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// Alarms were seen by a person.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct AlarmConfirm {
    /// Which; absent: all.
    #[serde(default, deserialize_with = "alarms", skip_serializing_if = "Option::is_none")]
    pub alarms: Option<Alarms>,
    /// Whether the device should also stop raising them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub end: Option<bool>,
}

/// A command that needs no words: `{}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Nothing {}

/// Take a photo.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct TakePhoto {
    /// Camera, as the protocol numbers them; absent: its first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
}

/// Report positions at another interval.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Track {
    /// Seconds between reports.
    pub interval_s: u32,
    /// For so many seconds; absent: until changed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duration_s: Option<u32>,
}

/// Call a telephone.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Call {
    /// The number.
    pub phone: Private,
    /// Whether the driver should not notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub listen_only: Option<bool>,
}

/// Switch something.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Output {
    /// `fuel`, `circuit`, `doors`, `lock`, or the protocol's number of it.
    pub name: String,
    /// On, cut, locked.
    pub state: bool,
}

/// Change settings of the device.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct SetParameters {
    /// By name as `navgate protocols --json` lists them, or by the protocol's id as `0x0001`.
    #[cfg_attr(feature = "schema", schemars(with = "std::collections::BTreeMap<String, Value>"))]
    pub values: Map<String, Value>,
}

/// Ask for settings of the device.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct QueryParameters {
    /// Which; absent: all.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
}

/// A whole frame as on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Raw {
    /// Hex, two digits a byte.
    #[serde(rename = "hex", deserialize_with = "bytes", serialize_with = "write_hex")]
    #[cfg_attr(feature = "schema", schemars(with = "String", regex(pattern = "^([0-9A-Fa-f]{2})+$")))]
    pub bytes: Vec<u8>,
}

fn degrees<'de, const MAX: u8, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let degrees = Option::<f64>::deserialize(deserializer)?;
    match degrees {
        Some(d) if d.abs() > f64::from(MAX) => Err(D::Error::custom(format_args!("expected degrees from -{MAX} to {MAX}"))),
        _ => Ok(degrees),
    }
}

fn money<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Money>, D::Error> {
    #[derive(Deserialize)]
    struct Said {
        amount: String,
        currency: Option<String>,
    }
    let Some(Said { amount, currency }) = Option::deserialize(deserializer)? else {
        return Ok(None);
    };
    let (whole, fraction) = amount.split_once('.').unwrap_or((&amount, "0"));
    if ![whole, fraction].iter().all(|digits| !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())) {
        return Err(D::Error::custom("expected an amount like \"23.50\""));
    }
    if currency.as_ref().is_some_and(|c| c.len() != 3 || !c.bytes().all(|b| b.is_ascii_uppercase())) {
        return Err(D::Error::custom("expected a currency of ISO 4217 like \"CNY\""));
    }
    Ok(Some(Money { amount, currency }))
}

fn alarms<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Alarms>, D::Error> {
    let Some(labels) = Option::<Vec<String>>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let known = |label: &String| Alarm::ALL.iter().copied().find(|a| a.label() == label);
    let alarms = labels.iter().map(|label| known(label).ok_or(label)).collect::<Result<_, _>>();
    alarms.map(Some).map_err(|label| D::Error::custom(format_args!("there is no alarm `{}`", label.escape_debug())))
}

fn bytes<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
    let bytes = unhex(&String::deserialize(deserializer)?).filter(|b| !b.is_empty());
    bytes.ok_or_else(|| D::Error::custom("expected hex, two digits a byte"))
}

fn write_hex<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&hex(bytes))
}
