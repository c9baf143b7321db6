//! What became of commands, upward: one [`Outcome`] each, and [`Progress`] before it.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::time::Timestamp;

/// The one final answer to a command.
#[derive(Debug, Clone, PartialEq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Outcome {
    /// The command's id; absent only for a record whose id cannot be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command_id: Option<String>,
    /// How it ended.
    pub result: Ending,
    /// Why, where the result leaves that open. A `rejected` without one was declined by the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<EndingReason>,
    /// The chosen answer's id, parameter values by name, or the device's text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answer: Option<Value>,
    /// How often it was written to a device.
    pub attempts: u32,
    /// When it was first written to a device.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sent_at: Option<Timestamp>,
    /// When the answer came.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub answered_at: Option<Timestamp>,
    /// For the backend's developers: unknown fields of the command, or what makes it invalid.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
    /// Where the command stands, if it has no readable id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub record: Option<Place>,
}

impl Outcome {
    /// One that says no more than this.
    pub fn of(command_id: Option<String>, result: Ending) -> Self {
        Self {
            command_id,
            result,
            reason: None,
            answer: None,
            attempts: 0,
            sent_at: None,
            answered_at: None,
            warnings: Vec::new(),
            record: None,
        }
    }
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Ending {
    /// The device carried it out; of an offer or a question: the driver accepted or chose.
    Acknowledged,
    /// The driver declined or the device refused.
    Rejected,
    /// It was written, and no final answer came by the deadline.
    Unanswered,
    /// The device was connected, and it was not written by the deadline.
    Expired,
    /// The device was not connected from arrival to deadline.
    Offline,
    /// The protocol cannot say it.
    Unsupported,
    /// The command cannot be read.
    Invalid,
    /// A later command took its place.
    Superseded,
}

impl Ending {
    /// The word of the contract.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Acknowledged => "acknowledged",
            Self::Rejected => "rejected",
            Self::Unanswered => "unanswered",
            Self::Expired => "expired",
            Self::Offline => "offline",
            Self::Unsupported => "unsupported",
            Self::Invalid => "invalid",
            Self::Superseded => "superseded",
        }
    }
}

/// Why a command ended as it did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum EndingReason {
    /// An `order_cancel` found its offer still unsent.
    NotShown,
    /// The device says that it failed.
    DeviceFailed,
    /// The device says that it does not know the command.
    DeviceUnsupported,
    /// The device or its driver is busy.
    Busy,
    /// The device has too much to answer already.
    WindowFull,
    /// The protocol has no receipt for it.
    NoReceipt,
    /// The instance died with it, and nobody can know whether the device got it.
    InstanceLost,
    /// Less time was left than the device's lag.
    Lag,
    /// The record is no JSON object.
    Json,
    /// A field is missing or cannot be what it is.
    Field,
    /// The deadline is missing, no time, or too far ahead.
    Deadline,
}

/// A record of the commands topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Place {
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// A step of a command before its outcome.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Progress {
    /// The command.
    pub command_id: String,
    /// How far it is.
    pub stage: Stage,
    /// Since when.
    pub at: Timestamp,
}

/// How far a command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub enum Stage {
    /// The device is not connected, or has other things to answer first.
    Waiting,
    /// Written to the device.
    Sent,
    /// The device has it.
    Delivered,
    /// The driver has opened it.
    Read,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn round_trips() {
        let text = json!({
            "command_id": "c-1", "result": "acknowledged", "answer": "a", "attempts": 2,
            "sent_at": "2026-03-01T10:00:00.000Z", "answered_at": "2026-03-01T10:00:04.500Z", "warnings": ["unknown field `x`"]
        });
        let outcome: Outcome = serde_json::from_value(text.clone()).unwrap();
        assert_eq!(outcome.result, Ending::Acknowledged);
        assert_eq!(serde_json::to_value(outcome).unwrap(), text);

        let nameless = json!({"result": "invalid", "reason": "json", "attempts": 0, "record": {"partition": 3, "offset": 77}});
        let outcome: Outcome = serde_json::from_value(nameless.clone()).unwrap();
        assert_eq!(outcome.record, Some(Place { partition: 3, offset: 77 }));
        assert_eq!(serde_json::to_value(outcome).unwrap(), nameless);

        let step = json!({"command_id": "c-1", "stage": "delivered", "at": "2026-03-01T10:00:00.000Z"});
        let progress: Progress = serde_json::from_value(step.clone()).unwrap();
        assert!(progress.stage > Stage::Sent);
        assert_eq!(serde_json::to_value(progress).unwrap(), step);
    }

    #[test]
    fn refuses_words_outside_the_contract() {
        assert!(serde_json::from_value::<Outcome>(json!({"result": "fine", "attempts": 0})).is_err());
        assert!(serde_json::from_value::<Outcome>(json!({"result": "rejected", "attempts": -1})).is_err());
        assert!(serde_json::from_value::<Progress>(json!({"command_id": "c", "stage": "sent", "at": "today"})).is_err());
    }
}
