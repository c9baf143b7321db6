//! Which commands stand in each other's place, and which may be sent twice.

use protocols::command::{Assign, Kind};

/// What a command is about. A later one about the same takes the place of an earlier one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    /// An order: its offer, assignment and cancellation are about the same.
    Order(String),
    /// Anything else: the kind, and what of that kind.
    Other(&'static str, String),
}

/// What a command is about; `None` if each is about something of its own, as texts are.
pub(crate) fn target(kind: &Kind) -> Option<Target> {
    let order = |id: &protocols::command::OrderId| Some(Target::Order(id.as_str().to_owned()));
    let what = match kind {
        Kind::OrderOffer(offer) => return order(&offer.order_id),
        Kind::OrderAssign(Assign::Won(offer)) => return order(&offer.order_id),
        Kind::OrderAssign(Assign::Lost(id)) => return order(id),
        Kind::OrderCancel(cancel) => return order(&cancel.order_id),
        Kind::Text(_) | Kind::Question(_) | Kind::Raw(_) => return None,
        Kind::DriverAuthorization(about) => about.driver_id.clone(),
        Kind::AlarmConfirm(confirm) => format!("{:?}", confirm.alarms),
        Kind::TakePhoto(photo) => photo.channel.map_or_else(String::new, |channel| channel.to_string()),
        Kind::Call(call) => call.phone.0.clone(),
        Kind::Output(output) => output.name.clone(),
        Kind::SetParameters(set) => set.values.keys().map(String::as_str).collect::<Vec<_>>().join("\n"),
        Kind::QueryParameters(query) => query.names.as_deref().unwrap_or_default().join("\n"),
        Kind::OrderList(_) | Kind::Locate(_) | Kind::Reboot(_) | Kind::Track(_) => String::new(),
    };
    Some(Target::Other(kind.name(), what))
}

/// Whether a device that gets it twice is as if it had got it once. Others are not sent again when nobody can know whether
/// the device got them.
pub(crate) const fn repeat_safe(kind: &Kind) -> bool {
    matches!(
        kind,
        Kind::OrderAssign(_)
            | Kind::OrderCancel(_)
            | Kind::DriverAuthorization(_)
            | Kind::Locate(_)
            | Kind::QueryParameters(_)
            | Kind::SetParameters(_)
            | Kind::Output(_)
            | Kind::Track(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn kind(name: &str, content: serde_json::Value) -> Kind {
        serde_json::from_value(json!({ name: content })).unwrap()
    }

    #[test]
    fn an_order_is_one_target_and_texts_are_each_their_own() {
        let offer = kind("order_offer", json!({"order_id": "A", "type": "immediate", "pickup": {"address": "x"}}));
        let lost = kind("order_assign", json!({"order_id": "A", "won": false}));
        let cancel = kind("order_cancel", json!({"order_id": "A"}));
        assert_eq!(target(&offer), target(&lost));
        assert_eq!(target(&offer), target(&cancel));
        assert_ne!(target(&offer), target(&kind("order_cancel", json!({"order_id": "B"}))));
        assert_eq!(target(&kind("text", json!({"text": "a"}))), None);
        let output = |name| target(&kind("output", json!({"name": name, "state": true})));
        assert_eq!(output("fuel"), output("fuel"));
        assert_ne!(output("fuel"), output("doors"));
        assert!(!repeat_safe(&offer) && repeat_safe(&lost) && repeat_safe(&cancel));
    }
}
