//! Texts about orders, made from a profile's templates.

use crate::command::{Assign, DriverAuthorization, Kind, Offer, OfferType};
use crate::desk::DriverNow;
use crate::event::Money;
use crate::profile::{Profile, TimeZone};

/// What an order's text is for; it decides what may be shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Reader {
    /// Anybody who may accept: no passenger.
    Offered,
    /// The winner.
    Winner,
}

/// The text that a device without words for orders shows for this command; `None` for other kinds. `zone` is the
/// driver's, for times.
pub fn order_text(kind: &Kind, profile: &Profile, zone: TimeZone) -> Option<String> {
    let templates = &profile.templates;
    Some(match kind {
        Kind::OrderOffer(offer) => offer_text(offer, profile, zone),
        Kind::OrderAssign(Assign::Won(offer)) => fill(&templates.won, |field| of_offer(offer, field, Reader::Winner, zone)),
        Kind::OrderAssign(Assign::Lost(id)) => fill(&templates.lost, |field| (field == "order_id").then(|| id.as_str().to_owned())),
        Kind::OrderCancel(cancel) => fill(&templates.cancelled, |field| match field {
            "order_id" => Some(cancel.order_id.as_str().to_owned()),
            "reason" => cancel.reason.clone(),
            _ => None,
        }),
        _ => return None,
    })
}

/// The text of an offer: the backend's own, or the template's.
pub fn offer_text(offer: &Offer, profile: &Profile, zone: TimeZone) -> String {
    match &offer.text {
        Some(text) => text.clone(),
        None => fill(&profile.templates.offer, |field| of_offer(offer, field, Reader::Offered, zone)),
    }
}

/// What a driver of this name is told about an authorization; `None` if the profile says nothing.
pub fn authorization_text(said: &DriverAuthorization, name: Option<&str>, profile: &Profile) -> Option<String> {
    let template = if said.authorized { &profile.templates.authorized } else { &profile.templates.refused };
    driver_text(template, &said.driver_id, name, said.reason.as_deref())
}

/// What a driver who was refused is told again.
pub fn refused_text(driver: &DriverNow, profile: &Profile) -> Option<String> {
    driver_text(&profile.templates.refused, &driver.driver_id, driver.name.as_deref(), None)
}

fn driver_text(template: &str, driver_id: &str, name: Option<&str>, reason: Option<&str>) -> Option<String> {
    let text = fill(template, |field| match field {
        "driver_id" => Some(driver_id.to_owned()),
        "name" => name.map(str::to_owned),
        "reason" => reason.map(str::to_owned),
        _ => None,
    });
    Some(text).filter(|text| !text.is_empty())
}

fn of_offer(offer: &Offer, field: &str, reader: Reader, zone: TimeZone) -> Option<String> {
    let passenger = offer.passenger.as_ref().filter(|_| reader == Reader::Winner);
    match field {
        "order_id" => Some(offer.order_id.as_str().to_owned()),
        "pickup" => Some(offer.pickup.address.clone()),
        "destination" => offer.destination.as_ref().map(|stop| stop.address.clone()),
        "time" => offer.pickup.time.map(|time| {
            let at = time.civil(zone.offset_s);
            format!("{:02}:{:02}", at.hour, at.minute)
        }),
        "type" => Some(
            match offer.offer_type {
                OfferType::Immediate => "now",
                OfferType::Reserved => "reserved",
                OfferType::Assigned => "assigned",
            }
            .to_owned(),
        ),
        "fare" => offer.fare.as_ref().map(money),
        "fee" => offer.fee.as_ref().map(money),
        "distance_km" => offer.distance_m.map(|m| format!("{:.1}", m / 1000.0)),
        "remark" => offer.remark.clone(),
        "name" => passenger?.name.as_ref().map(|name| name.0.clone()),
        "phone" => passenger?.phone.as_ref().map(|phone| phone.0.clone()),
        _ => None,
    }
}

fn money(money: &Money) -> String {
    match &money.currency {
        Some(currency) => format!("{} {currency}", money.amount),
        None => money.amount.clone(),
    }
}

/// Put values into a template; what is in brackets goes with its field.
fn fill(template: &str, value: impl Fn(&str) -> Option<String>) -> String {
    let mut out = String::new();
    let mut rest = template;
    while let Some(at) = rest.find(['[', '{']) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let close = if from.starts_with('[') { ']' } else { '}' };
        let Some(end) = from.find(close) else {
            out.push_str(from); // an unclosed bracket is text
            return out;
        };
        let inside = &from[1..end];
        rest = &from[end + 1..];
        if close == '}' {
            out.push_str(&value(inside).unwrap_or_default());
        } else if let Some(part) = optional(inside, &value) {
            out.push_str(&part);
        }
    }
    out.push_str(rest);
    out
}

/// The part in brackets, if all of its fields have values.
fn optional(part: &str, value: &impl Fn(&str) -> Option<String>) -> Option<String> {
    let mut out = String::new();
    let mut rest = part;
    while let Some((before, from)) = rest.split_once('{') {
        let (field, after) = from.split_once('}')?;
        out.push_str(before);
        out.push_str(&value(field).filter(|v| !v.is_empty())?);
        rest = after;
    }
    out.push_str(rest);
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn offer(more: serde_json::Value) -> Kind {
        let mut fields = json!({
            "order_id": "7", "type": "immediate", "pickup": {"address": "Main St 1"},
            "passenger": {"name": "Li", "phone": "13800000099"}
        });
        fields.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        serde_json::from_value(json!({ "order_offer": fields })).unwrap()
    }

    #[test]
    fn an_offer_says_what_it_has_and_never_who_waits() {
        let text = |more| order_text(&offer(more), &Profile::default(), TimeZone::CHINA).unwrap();
        assert_eq!(text(json!({})), "Main St 1");
        assert_eq!(
            text(
                json!({"destination": {"address": "Airport"}, "distance_m": 12340.0, "fare": {"amount": "50", "currency": "CNY"}})
            ),
            "Main St 1 -> Airport 12.3 km 50 CNY"
        );
        assert_eq!(text(json!({"pickup": {"address": "A", "time": "2026-03-01T10:05:00Z"}})), "A 18:05");
        assert_eq!(text(json!({"text": "as it is"})), "as it is");
        let profile: Profile = serde_json::from_value(json!({"templates": {"offer": "{pickup} {phone}[ {name}]|{"}})).unwrap();
        assert_eq!(order_text(&offer(json!({})), &profile, TimeZone::UTC).unwrap(), "Main St 1 |{");
    }

    #[test]
    fn the_winner_is_told_who_waits_and_the_others_that_it_is_gone() {
        let Kind::OrderOffer(order) = offer(json!({})) else { unreachable!() };
        let profile = Profile::default();
        let won = Kind::OrderAssign(Assign::Won(order.clone()));
        assert_eq!(order_text(&won, &profile, TimeZone::UTC).unwrap(), "OK Main St 1 Li 13800000099");
        let lost = Kind::OrderAssign(Assign::Lost(order.order_id.clone()));
        assert_eq!(order_text(&lost, &profile, TimeZone::UTC).unwrap(), "7: taken by another driver");
        let cancel = serde_json::from_value(json!({"order_cancel": {"order_id": "7", "reason": "no car"}})).unwrap();
        assert_eq!(order_text(&cancel, &profile, TimeZone::UTC).unwrap(), "7: cancelled (no car)");
        assert_eq!(order_text(&Kind::Locate(crate::command::Nothing {}), &profile, TimeZone::UTC), None);
    }
}
