//! From what is known of a device to the one sentence that a dispatcher needs.
//!
//! [`REASONS`] is the order of precedence: first what concerns all cars, then whether the car is there at all, whether it can be
//! spoken to, whether it may have orders, and what became of those that it was offered.

use protocols::desk::OrderStage;
use protocols::fault::FaultKind;
use protocols::outcome::{Ending, EndingReason, Stage};
use protocols::time::Timestamp;

use crate::down::table::{Record, State};
use crate::down::view::{Answer, Ended, Instance, Known, OpenCommand, Where};
use crate::faults::CLONE;

/// A fault says something about the present for so long: some reports of the device later.
const FAULTS_MS: i64 = 15 * 60 * 1000;
/// So does a fight over an identity, which begins anew every half minute.
const CLONE_MS: i64 = 5 * 60 * 1000;
/// So does what became of an offer: a driver's mood, a jammed button, another screen.
const OFFERS_MS: i64 = 60 * 60 * 1000;
/// A device that takes so long to hear us has too little left of the 15 to 30 s that drivers are given.
const GREAT_LAG_MS: u64 = 10_000;
/// The kind of fault of a device that may not connect.
const TURNED_AWAY: &str = FaultKind::UnknownDevice.label();
/// The part of its idle limit after which a silent device is worth a word: its heartbeats are late.
const SILENT: u64 = 2;

/// Why a car gets no orders.
#[derive(Debug, PartialEq)]
pub(super) struct Reason {
    /// For programs.
    pub(super) word: &'static str,
    /// For people.
    pub(super) sentence: String,
}

/// What a reason looks at.
struct Car<'a> {
    answer: &'a Answer,
    known: &'a Known,
    now: Timestamp,
}

type Check = fn(&Car<'_>) -> Option<String>;

/// The first that holds is told.
const REASONS: [(&str, Check); 17] = [
    ("kafka_away", kafka_away),
    ("no_home", no_home),
    ("turned_away", turned_away),
    ("never_seen", never_seen),
    ("clone", clone),
    ("not_connected", not_connected),
    ("cannot_show", cannot_show),
    ("instance_unreachable", instance_unreachable),
    ("store_full", store_full),
    ("silent", silent),
    ("driver_refused", driver_refused),
    ("has_order", has_order),
    ("faults", faults),
    ("lag", lag),
    ("offer_open", offer_open),
    ("last_offers", last_offers),
    ("no_driver", no_driver),
];

/// The one thing to mend first, or that there is none.
pub(super) fn reason(answer: &Answer) -> Reason {
    let car = Car { answer, known: &answer.known, now: answer.at };
    let found = REASONS.iter().find_map(|(word, check)| check(&car).map(|sentence| (*word, sentence)));
    let (word, sentence) = found.unwrap_or_else(|| ("none", well(&car)));
    Reason { word, sentence: format!("{sentence}.") }
}

impl Car<'_> {
    fn name(&self) -> &str {
        self.answer.device_id.as_str()
    }

    /// The record of one that was connected once; else there is only what the backend said about it.
    fn session(&self) -> Option<&Record> {
        self.known.view.session.as_ref().filter(|session| session.epoch > 0)
    }

    fn connected(&self) -> Option<&Record> {
        self.session().filter(|session| session.state == State::Connected)
    }

    fn holder(&self) -> Option<&Instance> {
        let session = self.connected()?;
        self.known.instances.iter().find(|instance| instance.gateway == *session.gateway)
    }

    fn ago(&self, at: Timestamp) -> String {
        let seconds = (self.now.as_millis() - at.as_millis()).max(0) / 1000;
        match seconds {
            0..=119 => format!("{seconds} s"),
            120..=7_199 => format!("{} min", seconds / 60),
            7_200..=172_799 => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
            _ => format!("{} d {} h", seconds / 86_400, seconds % 86_400 / 3600),
        }
    }

    fn within(&self, at: Timestamp, ms: i64) -> bool {
        self.now.as_millis() - at.as_millis() <= ms
    }

    /// Offers without an outcome, oldest first.
    fn open_offers(&self) -> Vec<&OpenCommand> {
        self.known.view.open_commands.iter().filter(|command| command.kind == "order_offer").collect()
    }

    /// How its offers ended of late, newest first; what another command took the place of says nothing.
    fn ended_offers(&self) -> Vec<&Ended> {
        let offers = self.known.view.last_outcomes.iter().rev().filter(|ended| ended.kind.as_deref() == Some("order_offer"));
        offers.filter(|ended| ended.outcome.result != Ending::Superseded && self.within(ended.at, OFFERS_MS)).collect()
    }
}

fn kafka_away(car: &Car<'_>) -> Option<String> {
    let standing = car.known.commands_topic.as_ref().filter(|standing| !standing.trouble.is_empty())?;
    Some(format!("no command comes through to any car, for {} cannot ask Kafka: {}", car.answer.gateway, standing.trouble))
}

fn no_home(car: &Car<'_>) -> Option<String> {
    let standing = car.known.commands_topic.as_ref()?;
    let (unserved, all) = (standing.unserved(), standing.partitions);
    match unserved {
        0 => None,
        _ if unserved == all => Some("no command comes through to any car, for no instance serves the commands topic".to_owned()),
        _ => Some(format!(
            "commands may have to wait, for no instance serves {unserved} of the {all} partitions of the commands topic; that ends by \
             itself within 15 s after an instance has come or gone"
        )),
    }
}

fn turned_away(car: &Car<'_>) -> Option<String> {
    let last = car.known.view.last_faults.last().filter(|fault| fault.kind == TURNED_AWAY)?;
    car.connected().is_none().then(|| {
        let ago = car.ago(last.at);
        format!("{} is not let in, for it is not listed in security.devices; it tried last {ago} ago", car.name())
    })
}

fn never_seen(car: &Car<'_>) -> Option<String> {
    car.session().is_none().then(|| {
        format!(
            "{} has never been seen: it never connected, or under another identity (/sessions lists who is connected)",
            car.name()
        )
    })
}

fn clone(car: &Car<'_>) -> Option<String> {
    let last = car.known.view.last_faults.iter().rev().find(|fault| fault.kind == CLONE && car.within(fault.at, CLONE_MS))?;
    Some(format!(
        "two devices fight over the identity {} and throw each other out: {}, {} ago",
        car.name(),
        last.detail,
        car.ago(last.at)
    ))
}

fn not_connected(car: &Car<'_>) -> Option<String> {
    let session = car.session().filter(|session| session.state == State::Away)?;
    let waiting = match car.known.view.open_commands.len() {
        0 => String::new(),
        1 => "; 1 command waits for it".to_owned(),
        n => format!("; {n} commands wait for it"),
    };
    let (since, ago) = (session.since, car.ago(session.since));
    Some(format!("{} is not connected since {since} ({ago}), it was at {} then{waiting}", car.name(), session.gateway))
}

fn cannot_show(car: &Car<'_>) -> Option<String> {
    let session = car.connected().filter(|_| car.known.offers.is_none())?;
    Some(format!("{} speaks {}, which has no words for an offer (`navgate protocols`)", car.name(), session.protocol))
}

fn instance_unreachable(car: &Car<'_>) -> Option<String> {
    let session = car.connected().filter(|_| car.known.view.connection.is_none())?;
    let (name, gateway) = (car.name(), &session.gateway);
    // one that was not asked says nothing either
    car.holder()?;
    Some(format!("{name} is connected to {gateway}, which does not say how it is: commands wait until it does or the device moves"))
}

fn store_full(car: &Car<'_>) -> Option<String> {
    let holder = car.holder().filter(|holder| holder.answered && !holder.sink.healthy)?;
    let trouble = &holder.sink.trouble;
    let why = if trouble.is_empty() { String::new() } else { format!(" ({trouble})") };
    Some(format!(
        "{} is connected to {}, which cannot store anything at present{why} and so reads nothing from its devices",
        car.name(),
        holder.gateway
    ))
}

fn silent(car: &Car<'_>) -> Option<String> {
    let (session, connection) = (car.connected()?, car.known.view.connection.as_ref()?);
    let limit_ms = i64::try_from(connection.idle_s / SILENT * 1000).unwrap_or(i64::MAX);
    (!car.within(connection.last_received, limit_ms)).then(|| {
        let ago = car.ago(connection.last_received);
        format!("{} is connected to {}, and nothing was heard of it for {ago}: the line may be dead", car.name(), session.gateway)
    })
}

fn driver_refused(car: &Car<'_>) -> Option<String> {
    let session = car.connected()?;
    let driver = session.kept.driver.as_ref().filter(|driver| driver.authorized == Some(false))?;
    let (name, gateway, driver) = (car.name(), &session.gateway, &driver.driver_id);
    Some(format!("{name} is connected to {gateway}, and the backend does not authorize its driver {driver} (driver_authorization)"))
}

fn has_order(car: &Car<'_>) -> Option<String> {
    let session = car.connected()?;
    let mine = |stage: OrderStage| (OrderStage::Accepted..OrderStage::Ended).contains(&stage);
    let order = session.kept.open_orders.iter().filter(|order| mine(order.stage)).max_by_key(|order| order.stage)?;
    let (name, id) = (car.name(), order.order_id.as_str());
    Some(match order.stage {
        OrderStage::Accepted => {
            format!("{name} wants order {id}, and the backend has not said yet whether it is theirs (order_assign)")
        }
        OrderStage::Enroute => format!("{name} has order {id} already, and is on the way to the passenger"),
        OrderStage::Arrived => format!("{name} has order {id} already, and is at the passenger"),
        OrderStage::PickedUp => format!("{name} has order {id} already, and the passenger is in the car"),
        _ => format!("{name} has order {id} already"),
    })
}

fn faults(car: &Car<'_>) -> Option<String> {
    let about_bytes = |kind: &str| kind != CLONE && kind != TURNED_AWAY;
    let faults = car.known.view.last_faults.iter();
    let recent: Vec<_> = faults.filter(|fault| about_bytes(&fault.kind) && car.within(fault.at, FAULTS_MS)).collect();
    let (session, last) = (car.connected()?, recent.last()?);
    // whoever answers offers is understood
    if car.ended_offers().first().is_some_and(|offer| offer.outcome.answered_at.is_some()) {
        return None;
    }
    let count = if recent.len() == 1 { "something".to_owned() } else { format!("{} things", recent.len()) };
    Some(format!(
        "{} is connected to {} and sent {count} that cannot be used, the last {} ago: {}, {} (navgate.rejects has the bytes)",
        car.name(),
        session.gateway,
        car.ago(last.at),
        last.kind,
        last.detail
    ))
}

fn lag(car: &Car<'_>) -> Option<String> {
    let session = car.connected()?;
    let connected = || format!("{} is connected to {}", car.name(), session.gateway);
    let lag_ms = car.known.view.connection.as_ref().and_then(|connection| connection.lag_ms);
    if let Some(lag_ms) = lag_ms.filter(|lag_ms| *lag_ms >= GREAT_LAG_MS) {
        return Some(format!(
            "{}, and takes {} s to hear us: too long for offers with short deadlines",
            connected(),
            lag_ms / 1000
        ));
    }
    let offers = car.ended_offers();
    let last = offers.first().filter(|ended| ended.outcome.reason == Some(EndingReason::Lag))?;
    Some(format!(
        "{}, and the last offer, {} ago, was not sent, for it left the driver less than 4 s: give offers a later deadline",
        connected(),
        car.ago(last.at)
    ))
}

/// The order that an offer is about, for a sentence.
fn of_order(command: &OpenCommand) -> String {
    command.order_id.as_ref().map_or_else(|| format!("offer {}", command.id), |order| format!("the offer of order {order}"))
}

fn offer_open(car: &Car<'_>) -> Option<String> {
    let (session, offers) = (car.connected()?, car.open_offers());
    let shown = offers.iter().find(|offer| offer.stage.is_some_and(|stage| stage >= Stage::Sent));
    let offer = shown.or_else(|| offers.first())?;
    let (name, what, until, home) = (car.name(), of_order(offer), offer.deadline, &offer.home);
    let behind = match offers.len() - 1 {
        0 => String::new(),
        1 => ", and 1 more offer waits behind it".to_owned(),
        n => format!(", and {n} more offers wait behind it"),
    };
    let since = car.ago(offer.sent_at.unwrap_or(car.now));
    let sentence = match (offer.place, offer.stage) {
        (Where::Written, _) => format!("{name} got {what} over a connection that is gone, and its driver may still answer"),
        (_, Some(Stage::Read)) => format!("the driver of {name} has read {what} and not answered yet"),
        (_, Some(Stage::Delivered)) => format!("{name} shows {what} for {since}, and its driver has not answered yet"),
        (_, Some(Stage::Sent)) => format!("{what} was written to {name} {since} ago, which has not said that it shows it"),
        (Where::Device, _) => {
            format!("{what} waits at {}, for {name} has to answer other things first: its screen is full", session.gateway)
        }
        (Where::HandedOver, _) => {
            format!("{what} was handed to {}, which has not said yet that it took it for {name}", offer.instances.join(" or "))
        }
        (Where::Home, _) => format!("{what} waits at {home}, which cannot hand it to {} for {name}", session.gateway),
        (Where::Recovering, _) => format!("{what} for {name} has a new home, {home}, which asks how far it is"),
    };
    Some(format!("{sentence} (until {until}){behind}"))
}

fn last_offers(car: &Car<'_>) -> Option<String> {
    let session = car.connected()?;
    let ended = car.ended_offers();
    let last = ended.first()?;
    let alike =
        ended.iter().take_while(|e| (e.outcome.result, e.outcome.reason) == (last.outcome.result, last.outcome.reason)).count();
    let offers = if alike == 1 { "the last offer".to_owned() } else { format!("the last {alike} offers") };
    let (name, ago) = (car.name(), car.ago(last.at));
    let what = match (last.outcome.result, last.outcome.reason) {
        (Ending::Acknowledged | Ending::Superseded, _) => return None,
        (Ending::Rejected, None) => format!("the driver of {name} declined {offers}"),
        (Ending::Rejected, Some(EndingReason::Busy)) => format!("{name} refused {offers}, for its driver is busy"),
        (Ending::Rejected, Some(EndingReason::WindowFull)) => {
            format!("{name} was not sent {offers}, for its screen is full: it has too much to answer already")
        }
        (Ending::Rejected, Some(_)) => format!("the device {name} refused {offers}: it failed, or does not know such a message"),
        (Ending::Unanswered, Some(EndingReason::NoReceipt)) => {
            format!("{name} was sent {offers}, and {} has no way to answer them", session.protocol)
        }
        (Ending::Unanswered, Some(EndingReason::InstanceLost)) => {
            format!("the instance that {name} was connected to was lost with {offers}")
        }
        (Ending::Unanswered, _) => format!("{name} was sent {offers}, and nobody answered in time"),
        (Ending::Expired, _) => format!("{offers} could not be written to {name} in time, though it was connected"),
        (Ending::Offline, _) => format!("{name} is back, and was not connected for {offers}"),
        (Ending::Unsupported, _) => format!("{name} cannot show {offers}: this device has no words for it"),
        (Ending::Invalid, _) => format!("{offers} for {name} made no sense: {}", last.outcome.warnings.join(", ")),
    };
    Some(format!("{what}; {ago} ago"))
}

fn no_driver(car: &Car<'_>) -> Option<String> {
    let session = car.connected().filter(|session| car.known.drivers && session.kept.driver.is_none())?;
    if !car.ended_offers().is_empty() {
        return None; // whoever offered does without
    }
    let since = car.ago(session.since);
    Some(format!("{} is connected to {} for {since}, but no driver is signed on", car.name(), session.gateway))
}

fn well(car: &Car<'_>) -> String {
    let Some(session) = car.connected() else { return format!("nothing keeps orders from {}", car.name()) };
    let heard =
        car.known.view.connection.as_ref().map_or_else(String::new, |c| format!(", heard {} ago", car.ago(c.last_received)));
    let driver = session.kept.driver.as_ref().map_or_else(String::new, |d| format!(", with driver {}", d.driver_id));
    let offers = match car.ended_offers().first() {
        Some(last) => format!("its driver took the last offer {} ago", car.ago(last.at)),
        None => "no offer for it is known of the last hour".to_owned(),
    };
    format!(
        "nothing keeps orders from {}: it is connected to {} ({}) for {}{heard}{driver}; {offers}",
        car.name(),
        session.gateway,
        session.protocol,
        car.ago(session.since)
    )
}

#[cfg(test)]
mod tests;
