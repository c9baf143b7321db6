//! Commands: what the dispatch backend wants of a device, in our words, downward.
//!
//! [`read`] turns the value of a record into a [`Command`], or says in one sentence what is wrong with it. Unknown fields
//! are no error, so that a newer backend works; they are named, so that a typing error is seen.

mod content;
mod reading;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Map;
#[cfg(feature = "schema")]
use serde_json::Value;

pub use content::*;
pub use reading::{Invalid, InvalidReason, MAX_COMMAND, Received, read};

use crate::identity::DeviceId;
use crate::time::Timestamp;

/// One command to one device.
#[derive(Debug, Clone, PartialEq)]
pub struct Command {
    /// The backend's, unique; seen again it is ignored.
    pub id: CommandId,
    /// Normalised as in events.
    pub device_id: DeviceId,
    /// When the answer is worth nothing any more.
    pub deadline: Timestamp,
    /// What to do.
    pub kind: Kind,
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $name:ident($content:ty) = $label:literal),+ $(,)?) => {
        /// What a command asks for.
        #[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
        pub enum Kind {
            $($(#[$doc])* #[serde(rename = $label)] $name($content)),+
        }

        impl Kind {
            /// Names of all kinds, in declaration order.
            pub const NAMES: &'static [&'static str] = &[$($label),+];

            /// The `kind` of the contract, which is also the name of the field that holds the content.
            pub const fn name(&self) -> &'static str {
                match self { $(Self::$name(_) => $label),+ }
            }
        }

        #[cfg(feature = "schema")]
        fn contents(generator: &mut schemars::SchemaGenerator) -> Vec<(&'static str, schemars::Schema)> {
            vec![$(($label, generator.subschema_for::<$content>())),+]
        }
    };
}

kinds! {
    /// An order to accept or decline.
    OrderOffer(Box<Offer>) = "order_offer",
    /// Who got the order.
    OrderAssign(Assign) = "order_assign",
    /// The order is no more.
    OrderCancel(OrderCancel) = "order_cancel",
    /// The orders that the screen should show.
    OrderList(OrderList) = "order_list",
    /// Something to read.
    Text(Text) = "text",
    /// Something to answer.
    Question(Question) = "question",
    /// Whether this driver may work.
    DriverAuthorization(DriverAuthorization) = "driver_authorization",
    /// Alarms were seen by a person.
    AlarmConfirm(AlarmConfirm) = "alarm_confirm",
    /// Report the position now.
    Locate(Nothing) = "locate",
    /// Start again.
    Reboot(Nothing) = "reboot",
    /// Take a photo.
    TakePhoto(TakePhoto) = "take_photo",
    /// Report positions at another interval.
    Track(Track) = "track",
    /// Call a telephone.
    Call(Call) = "call",
    /// Switch something.
    Output(Output) = "output",
    /// Change settings of the device.
    SetParameters(SetParameters) = "set_parameters",
    /// Ask for settings of the device.
    QueryParameters(QueryParameters) = "query_parameters",
    /// Send these bytes.
    Raw(Raw) = "raw",
}

impl Serialize for Command {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Written<'a> {
            id: &'a CommandId,
            device_id: &'a DeviceId,
            deadline: Timestamp,
            kind: &'static str,
            #[serde(flatten)]
            content: &'a Kind,
        }
        let Self { id, device_id, deadline, kind } = self;
        Written { id, device_id, deadline: *deadline, kind: kind.name(), content: kind }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Command {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let fields = Map::deserialize(deserializer)?;
        reading::command(&fields).map_err(|e| D::Error::custom(e.detail))
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Command {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Command".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let contents = contents(generator);
        let one_of: Vec<_> = contents
            .iter()
            .map(|(kind, _)| serde_json::json!({ "properties": { "kind": { "const": kind } }, "required": [kind] }))
            .collect();
        let mut schema = schemars::json_schema!({
            "type": "object",
            "description": "One command to one device; the field named by `kind` holds its content.",
            "properties": {
                "id": generator.subschema_for::<CommandId>(),
                "device_id": { "type": "string", "description": "Normalised as in events." },
                "deadline": { "type": "string", "format": "date-time", "description": "When the answer is worth nothing any more." },
                "kind": { "type": "string", "enum": Kind::NAMES },
            },
            "required": ["id", "device_id", "deadline", "kind"],
            "oneOf": one_of,
        });
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.extend(contents.into_iter().map(|(kind, content)| (kind.to_owned(), content.to_value())));
        }
        schema
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    /// One of each kind, with every field that it can have; a field that is forgotten in a type shows as a warning.
    pub(super) fn whole() -> Vec<(&'static str, Value)> {
        let offer = json!({
            "order_id": "A-1001", "text": "Renmin Road 1 to the airport", "type": "reserved",
            "pickup": {"address": "Renmin Road 1", "latitude": 22.5, "longitude": 114.0, "time": "2026-03-01T10:30:00.000Z"},
            "destination": {"address": "Airport"}, "passenger": {"name": "Li Si", "phone": "13800000002"},
            "fare": {"amount": "85.00", "currency": "CNY"}, "fee": {"amount": "5"}, "distance_m": 31500.0, "remark": "one suitcase"
        });
        let mut won = offer.clone();
        won["won"] = json!(true);
        vec![
            ("order_offer", offer.clone()),
            ("order_assign", won),
            ("order_assign", json!({"order_id": "A-1001", "won": false})),
            ("order_cancel", json!({"order_id": "A-1001", "reason": "passenger"})),
            ("order_list", json!({"orders": [offer]})),
            ("text", json!({"text": "Road closed", "urgent": true, "display": true, "speak": false})),
            ("question", json!({"text": "Break?", "answers": [{"id": "y", "text": "Yes"}, {"id": "n", "text": "No"}]})),
            ("driver_authorization", json!({"driver_id": "D7", "authorized": false, "name": "Wang Wu", "reason": "papers"})),
            ("alarm_confirm", json!({"alarms": ["sos", "overspeed"], "end": true})),
            ("locate", json!({})),
            ("reboot", json!({})),
            ("take_photo", json!({"channel": 1})),
            ("track", json!({"interval_s": 10, "duration_s": 600})),
            ("call", json!({"phone": "13800000003", "listen_only": false})),
            ("output", json!({"name": "fuel", "state": true})),
            ("set_parameters", json!({"values": {"heartbeat_s": 60, "0x0013": "example.com"}})),
            ("query_parameters", json!({"names": ["heartbeat_s"]})),
            ("raw", json!({"hex": "7e0001"})),
        ]
    }

    pub(super) fn record(kind: &str, content: &Value) -> Value {
        json!({"id": "c-1", "device_id": "13800000001", "deadline": "2026-03-01T10:00:30.000Z", "kind": kind, kind: content})
    }

    #[test]
    fn every_kind_round_trips() {
        let mut kinds: Vec<_> = whole().iter().map(|(kind, _)| *kind).collect();
        for (kind, content) in whole() {
            let said = record(kind, &content);
            let command: Command = serde_json::from_value(said.clone()).unwrap_or_else(|e| panic!("{kind}: {e}"));
            assert_eq!(command.kind.name(), kind);
            assert_eq!(serde_json::to_value(&command).unwrap(), said);
        }
        kinds.dedup();
        assert_eq!(kinds, Kind::NAMES);
    }

    #[test]
    fn passengers_and_numbers_stay_out_of_debug_output() {
        for (kind, content) in whole() {
            let command: Command = serde_json::from_value(record(kind, &content)).unwrap();
            let shown = format!("{command:?}");
            for private in ["Li Si", "Wang Wu", "13800000002", "13800000003"] {
                assert!(!shown.contains(private), "{shown}");
            }
        }
    }
}
