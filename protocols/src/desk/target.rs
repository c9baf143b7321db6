//! Which commands stand in each other's place.

use super::order_of;
use crate::command::{Kind, OrderId};

/// What a command is about. A later one about the same takes the place of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// An order: its offer, assignment and cancellation are about the same.
    Order(OrderId),
    /// Anything else: the kind, and what of that kind.
    Other(&'static str, String),
}

/// What a command is about; `None` if each is about something of its own, as texts are.
pub fn target(kind: &Kind) -> Option<Target> {
    if let Some(order) = order_of(kind) {
        return Some(Target::Order(order.clone()));
    }
    let what = match kind {
        Kind::Text(_) | Kind::Question(_) | Kind::Raw(_) => return None,
        Kind::DriverAuthorization(about) => about.driver_id.clone(),
        Kind::AlarmConfirm(confirm) => format!("{:?}", confirm.alarms),
        Kind::TakePhoto(photo) => photo.channel.map_or_else(String::new, |channel| channel.to_string()),
        Kind::Call(call) => call.phone.0.clone(),
        Kind::Output(output) => output.name.clone(),
        Kind::SetParameters(set) => set.values.keys().map(String::as_str).collect::<Vec<_>>().join("\n"),
        Kind::QueryParameters(query) => query.names.as_deref().unwrap_or_default().join("\n"),
        Kind::OrderList(_) | Kind::Locate(_) | Kind::Reboot(_) | Kind::Track(_) => String::new(),
        Kind::OrderOffer(_) | Kind::OrderAssign(_) | Kind::OrderCancel(_) => return None,
    };
    Some(Target::Other(kind.name(), what))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_order_is_one_target_and_texts_are_each_their_own() {
        let about = |name: &str, content: serde_json::Value| target(&serde_json::from_value(json!({ name: content })).unwrap());
        let offer = about("order_offer", json!({"order_id": "A", "type": "immediate", "pickup": {"address": "x"}}));
        assert_eq!(offer, about("order_assign", json!({"order_id": "A", "won": false})));
        assert_eq!(offer, about("order_cancel", json!({"order_id": "A"})));
        assert_ne!(offer, about("order_cancel", json!({"order_id": "B"})));
        assert_eq!(about("text", json!({"text": "a"})), None);
        let output = |name| about("output", json!({"name": name, "state": true}));
        assert_eq!(output("fuel"), output("fuel"));
        assert_ne!(output("fuel"), output("doors"));
        let driver = |id| about("driver_authorization", json!({"driver_id": id, "authorized": true}));
        assert_ne!(driver("D1"), driver("D2"));
    }
}
