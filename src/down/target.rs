//! Which commands may be sent twice; and, from the desk, which stand in each other's place.

use protocols::command::Kind;
pub(crate) use protocols::desk::{Target, target};

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

    #[test]
    fn an_offer_is_not_shown_twice_and_what_became_of_it_may_be_told_twice() {
        let kind = |name: &str, content: serde_json::Value| serde_json::from_value(json!({ name: content })).unwrap();
        let offer = kind("order_offer", json!({"order_id": "A", "type": "immediate", "pickup": {"address": "x"}}));
        let lost = kind("order_assign", json!({"order_id": "A", "won": false}));
        let cancel = kind("order_cancel", json!({"order_id": "A"}));
        assert!(!repeat_safe(&offer) && repeat_safe(&lost) && repeat_safe(&cancel));
    }
}
