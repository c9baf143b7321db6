//! Events: what a device said, in our words, upward. These types serialise to the JSON of the contract.
//!
//! Field names carry their unit. A field is absent when the device does not say; nothing is invented.

mod alarm;
mod attributes;
mod business;

use std::borrow::Cow;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};

pub use alarm::{Alarm, Alarms};
pub use attributes::{Attributes, Value};
pub use business::{Actor, Driver, DriverAction, DriverState, Method, Money, Order, OrderAction, Reason, Shift};

use crate::identity::EventId;
use crate::time::Timestamp;

/// One event with its place in the session.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The same for every repeat of the same report (see [`crate::identity`]).
    pub id: EventId,
    /// Counts the events of a session over all topics, from 0.
    pub sequence: u64,
    /// What happened.
    pub body: Body,
}

/// The types of events.
#[derive(Debug, Clone, PartialEq)]
pub enum Body {
    /// A report with a place.
    Position(Report),
    /// A report without a place that says something.
    Status(Report),
    /// A frame that has an alarm and no place.
    Alarm(Report),
    /// Photos, passed-through bytes, text, parameters and what we do not know.
    Data(Box<Data>),
    /// What a driver or device did about an order.
    Order(Box<Order>),
    /// What a driver did.
    Driver(Box<Driver>),
}

/// Where the events of a type go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Topic {
    /// `position`, `status`, `alarm`, `data`.
    Telemetry,
    /// `order` and `driver`: what a taxi business must not lose.
    Orders,
    /// What could not be decoded.
    Rejects,
    /// Raw bytes of both directions, while somebody captures.
    Frames,
}

impl Topic {
    /// Every topic that devices' bytes end in.
    pub const ALL: [Self; 4] = [Self::Telemetry, Self::Orders, Self::Rejects, Self::Frames];

    /// The topic's name behind the configured prefix.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Telemetry => "telemetry",
            Self::Orders => "orders",
            Self::Rejects => "rejects",
            Self::Frames => "frames",
        }
    }

    /// The topic with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|t| t.name() == name)
    }
}

impl Body {
    /// Names of all types, in declaration order.
    pub const TYPES: [&'static str; 6] = ["position", "status", "alarm", "data", "order", "driver"];

    /// Index in [`Body::TYPES`].
    pub const fn type_index(&self) -> usize {
        match self {
            Self::Position(_) => 0,
            Self::Status(_) => 1,
            Self::Alarm(_) => 2,
            Self::Data(_) => 3,
            Self::Order(_) => 4,
            Self::Driver(_) => 5,
        }
    }

    /// The `type` of the contract, which is also the name of the field that holds the content.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Position(_) => "position",
            Self::Status(_) => "status",
            Self::Alarm(_) => "alarm",
            Self::Data(_) => "data",
            Self::Order(_) => "order",
            Self::Driver(_) => "driver",
        }
    }

    /// The topic of this type.
    pub const fn topic(&self) -> Topic {
        match self {
            Self::Position(_) | Self::Status(_) | Self::Alarm(_) | Self::Data(_) => Topic::Telemetry,
            Self::Order(_) | Self::Driver(_) => Topic::Orders,
        }
    }

    /// The device's own time, if it said one.
    pub fn time(&self) -> Option<Timestamp> {
        match self {
            Self::Position(r) | Self::Status(r) | Self::Alarm(r) => r.time,
            Self::Data(d) => d.time,
            Self::Order(o) => o.time.or_else(|| o.position.as_ref().and_then(|p| p.time)),
            Self::Driver(d) => d.time.or_else(|| d.position.as_ref().and_then(|p| p.time)),
        }
    }
}

/// What a device reports about itself; a `position` has the place, a `status` and an `alarm` have not.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Report {
    /// The device's fix time in UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// WGS 84 degrees, north positive, -90..=90.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latitude: Option<f64>,
    /// WGS 84 degrees, east positive, -180..=180.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub longitude: Option<f64>,
    /// Whether the device has a GNSS fix. Without one the place is its last known fix, if it repeats that.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub valid: Option<bool>,
    /// Metres above mean sea level.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub altitude_m: Option<f64>,
    /// Speed over ground, km/h.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed_kmh: Option<f64>,
    /// Course over ground, degrees clockwise from north, 0..=360.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub course_deg: Option<f64>,
    /// Satellites used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub satellites: Option<u16>,
    /// Horizontal dilution of precision.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hdop: Option<f64>,
    /// Odometer, metres.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub odometer_m: Option<f64>,
    /// Ignition (ACC) on.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ignition: Option<bool>,
    /// The taxi carries a passenger.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub occupied: Option<bool>,
    /// The vehicle is in service.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_service: Option<bool>,
    /// Stored by the device while out of coverage and sent later.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub archived: Option<bool>,
    /// Internal battery, volts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery_v: Option<f64>,
    /// Internal battery, percent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub battery_percent: Option<f64>,
    /// External supply, volts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub power_v: Option<f64>,
    /// Radio signal as the device says it: a level or dBm.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rssi: Option<i32>,
    /// Cell towers heard, the serving one first.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub cells: Vec<Cell>,
    /// WiFi access points heard.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub wifi: Vec<Wifi>,
    /// Levels as the device repeats them, not edges.
    #[serde(skip_serializing_if = "Alarms::is_empty")]
    pub alarms: Alarms,
    /// Whatever else the protocol says, in its own terms with units.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// One cell tower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Cell {
    /// Mobile country code.
    pub mcc: u16,
    /// Mobile network code.
    pub mnc: u16,
    /// Location or tracking area code.
    pub lac: u32,
    /// Cell identity.
    pub cid: u64,
    /// Signal as the device says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rssi: Option<i32>,
}

/// One WiFi access point.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Wifi {
    /// `aa:bb:cc:dd:ee:ff`.
    pub mac: Mac,
    /// Signal as the device says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rssi: Option<i32>,
}

/// A hardware address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mac(pub [u8; 6]);

impl Serialize for Mac {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [a, b, c, d, e, f] = self.0;
        serializer.collect_str(&format_args!("{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}"))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Mac {
    fn inline_schema() -> bool {
        true
    }
    fn schema_name() -> Cow<'static, str> {
        "Mac".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "pattern": "^([0-9a-f]{2}:){5}[0-9a-f]{2}$" })
    }
}

/// What kind of bytes a `data` event carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[expect(missing_docs, reason = "the names are the contract's words")]
pub enum DataKind {
    Photo,
    Audio,
    Video,
    Obd,
    Passthrough,
    Text,
    Parameters,
    Unknown,
}

/// Bytes, text or named values; large ones are cut into parts of 256 KiB with one `name`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Data {
    /// What it is.
    pub kind: DataKind,
    /// The media type of the content.
    pub content_type: Cow<'static, str>,
    /// Joins the parts of one item; the device's own name for it where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Camera, serial port or other channel.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub channel: Option<u16>,
    /// Size of the whole item in bytes.
    pub size_bytes: usize,
    /// Number of this part, from 1; absent if there is one only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub part: Option<u32>,
    /// How many parts there are.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<u32>,
    /// When the device made it, UTC.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub time: Option<Timestamp>,
    /// The content.
    #[serde(flatten)]
    pub content: Content,
    /// Whatever else the protocol says about it.
    #[serde(skip_serializing_if = "Attributes::is_empty")]
    pub attributes: Attributes,
}

/// The content of a `data` event.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Content {
    /// Bytes, base64 with padding (RFC 4648 section 4).
    Base64(
        #[serde(serialize_with = "base64")]
        #[cfg_attr(feature = "schema", schemars(with = "String"))]
        Vec<u8>,
    ),
    /// Text.
    Text(String),
    /// Named values.
    Values(Attributes),
}

fn base64<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&base64::display::Base64Display::new(bytes, &base64::engine::general_purpose::STANDARD))
}

/// Serialises the fields that belong to the event itself; the gateway adds session, epoch, `received_at` and its own name.
///
/// # Errors
/// Only those of the serializer.
pub fn serialize_event<M: SerializeMap>(map: &mut M, event: &Event, device_id: &str, protocol: &str) -> Result<(), M::Error> {
    map.serialize_entry("id", &event.id)?;
    map.serialize_entry("type", event.body.type_name())?;
    map.serialize_entry("device_id", device_id)?;
    map.serialize_entry("protocol", protocol)?;
    map.serialize_entry("sequence", &event.sequence)?;
    serialize_body(map, &event.body)
}

/// Serialises the content under the type's name.
///
/// # Errors
/// Only those of the serializer.
pub fn serialize_body<M: SerializeMap>(map: &mut M, body: &Body) -> Result<(), M::Error> {
    let name = body.type_name();
    match body {
        Body::Position(r) | Body::Status(r) | Body::Alarm(r) => map.serialize_entry(name, r),
        Body::Data(d) => map.serialize_entry(name, d),
        Body::Order(o) => map.serialize_entry(name, o),
        Body::Driver(d) => map.serialize_entry(name, d),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn reports_say_only_what_is_known() {
        let report = Report {
            latitude: Some(22.5),
            valid: Some(true),
            alarms: [Alarm::Overspeed, Alarm::Sos].into_iter().collect(),
            ..Report::default()
        };
        assert_eq!(
            serde_json::to_value(&report).unwrap(),
            json!({"latitude": 22.5, "valid": true, "alarms": ["sos", "overspeed"]})
        );
        assert_eq!(serde_json::to_value(Report::default()).unwrap(), json!({}));
    }

    #[test]
    fn data_names_its_content() {
        let data = Data {
            kind: DataKind::Photo,
            content_type: "image/jpeg".into(),
            name: None,
            channel: Some(1),
            size_bytes: 2,
            part: None,
            parts: None,
            time: None,
            content: Content::Base64(vec![0xFF, 0xD8]),
            attributes: Attributes::default(),
        };
        let expected = json!({"kind": "photo", "content_type": "image/jpeg", "channel": 1, "size_bytes": 2, "base64": "/9g="});
        assert_eq!(serde_json::to_value(&data).unwrap(), expected);
    }

    #[test]
    fn repeated_attributes_become_a_list() {
        let mut a = Attributes::default();
        a.set("x", 1u8);
        a.set("x", 2u8);
        a.set("x", 3u8);
        assert_eq!(serde_json::to_value(&a).unwrap(), json!({"x": [1, 2, 3]}));
    }

    #[test]
    fn every_alarm_fits_the_set_once() {
        assert!(Alarm::ALL.len() <= 64);
        for alarm in Alarm::ALL {
            let set: Alarms = [*alarm].into_iter().collect();
            assert_eq!(set.iter().collect::<Vec<_>>(), [*alarm]);
        }
    }
}
