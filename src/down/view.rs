//! What is known of a device, for a person and for tools: the answer of `GET /devices/ID`.
//!
//! Each instance knows a part, a [`View`]: whoever holds the device has its connection and faults, its commands' home has those
//! that are open and how the last ones ended. [`Known`] is what they know together.

use std::borrow::Cow;

use protocols::PROTOCOLS;
use protocols::identity::DeviceId;
use protocols::outcome::{Outcome, Stage};
use protocols::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::standing::Standing;
use super::table::Record;
use crate::faults;

/// Outcomes shown for a device.
pub(crate) const OUTCOMES: usize = 8;
/// Open commands shown for a device: as many as wait for a device that is slow, and what is on its screen.
pub(crate) const COMMANDS: usize = 50;

/// The answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Answer {
    /// The device.
    pub(crate) device_id: DeviceId,
    /// The instance that answers.
    pub(crate) gateway: String,
    /// By its clock.
    pub(crate) at: Timestamp,
    /// What is known.
    pub(crate) known: Known,
}

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Known {
    /// What stands together.
    #[serde(flatten)]
    pub(crate) view: View,
    /// What a device of this protocol says to an offer at best (`answer`, `receipt`, `never`); absent where it can be shown none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) offers: Option<Cow<'static, str>>,
    /// Whether devices of this protocol say who drives them.
    #[serde(default)]
    pub(crate) drivers: bool,
    /// The instances that were asked, this one among them, and those that should have been.
    pub(crate) instances: Vec<Instance>,
    /// Who serves the commands topic; absent without Kafka, and where nobody else was asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commands_topic: Option<Standing>,
}

/// What one instance knows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct View {
    /// Its session record.
    pub(crate) session: Option<Record>,
    /// Whether the instance that answers holds the device.
    pub(crate) here: bool,
    /// Said by its connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) connection: Option<Connection>,
    /// Commands without an outcome, in the order of their arrival; at most [`COMMANDS`].
    pub(crate) open_commands: Vec<OpenCommand>,
    /// Its last outcomes, newest last.
    pub(crate) last_outcomes: Vec<Ended>,
    /// What could not be read of what it sent, newest last.
    pub(crate) last_faults: Vec<faults::Told>,
    /// Partitions of the commands topic that the instance which answers serves.
    pub(crate) partitions: Vec<i32>,
    /// How its store is.
    #[serde(default)]
    pub(crate) sink: Store,
}

/// What a connection says of its device.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Connection {
    /// When its last bytes came.
    pub(crate) last_received: Timestamp,
    /// How long it may be silent before it is disconnected.
    pub(crate) idle_s: u64,
    /// Where it was last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) position: Option<Place>,
    /// How long it takes to hear us, by its last receipts; absent before there were any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) lag_ms: Option<u64>,
}

/// A position.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Place {
    /// By the device's clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) time: Option<Timestamp>,
    /// When it came.
    pub(crate) received_at: Timestamp,
    /// WGS 84 degrees.
    pub(crate) latitude: f64,
    /// WGS 84 degrees.
    pub(crate) longitude: f64,
    /// Whether the device has a fix.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) valid: Option<bool>,
}

/// Where an open command is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Where {
    /// Its home has it from another one and asks how far it is.
    Recovering,
    /// At its home: the device is not connected, or whoever has it cannot be reached.
    Home,
    /// Handed to these instances, which have not said yet whether they took it.
    HandedOver,
    /// With the device, at this instance.
    Device,
    /// It was written, the connection is gone, and it is not written again: only the driver's answer is waited for.
    Written,
}

/// A command without an outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct OpenCommand {
    /// Its id.
    pub(crate) id: String,
    /// Its kind.
    pub(crate) kind: Cow<'static, str>,
    /// The order that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) order_id: Option<String>,
    /// How far it is; absent: nothing was told of it yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) stage: Option<Stage>,
    /// When it was first written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sent_at: Option<Timestamp>,
    /// When it ends at the latest.
    pub(crate) deadline: Timestamp,
    /// Where it is.
    pub(crate) place: Where,
    /// The instances of the place, if it names any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) instances: Vec<String>,
    /// Its home.
    pub(crate) home: String,
}

/// A command that has ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ended {
    /// When that was decided.
    pub(crate) at: Timestamp,
    /// Its kind, if it could be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) kind: Option<Cow<'static, str>>,
    /// How.
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

/// How an instance's store is; see `/ready`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Store {
    /// `live`, `spooling`, `draining`.
    pub(crate) mode: Cow<'static, str>,
    /// Whether records become durable.
    pub(crate) healthy: bool,
    /// What is wrong; empty if nothing.
    pub(crate) trouble: String,
}

/// One instance that was asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Instance {
    /// Its name.
    pub(crate) gateway: String,
    /// Whether it answered.
    pub(crate) answered: bool,
    /// What of the commands topic it serves.
    pub(crate) partitions: Vec<i32>,
    /// How its store is.
    pub(crate) sink: Store,
}

impl Known {
    /// What these know together; the first is the instance that answers, and those without a view did not say.
    pub(crate) fn together(views: Vec<(String, Option<View>)>, commands_topic: Option<Standing>) -> Self {
        let asked = views.iter().map(|(gateway, view)| Instance {
            gateway: gateway.clone(),
            answered: view.is_some(),
            partitions: view.as_ref().map(|v| v.partitions.clone()).unwrap_or_default(),
            sink: view.as_ref().map(|v| v.sink.clone()).unwrap_or_default(),
        });
        let mut instances: Vec<_> = asked.collect();
        // one that never held a device is known to nobody but Kafka, so it could not be asked
        for (gateway, partitions) in commands_topic.iter().flat_map(|topic| topic.homes.iter().flatten()) {
            if !instances.iter().any(|instance| instance.gateway == *gateway) {
                let (gateway, partitions) = (gateway.clone(), partitions.clone());
                instances.push(Instance { gateway, answered: false, partitions, sink: Store::default() });
            }
        }
        let mut said = views.into_iter().filter_map(|(_, view)| view);
        let mut view = said.next().unwrap_or_default();
        let newness = |view: &View| view.session.as_ref().map(|s| (s.epoch, s.gateway.clone(), s.session.0, s.since));
        for other in said {
            if newness(&other) > newness(&view) {
                view.session = other.session;
            }
            view.connection = view.connection.or(other.connection);
            let known: Vec<_> = view.open_commands.iter().map(|c| c.id.clone()).collect();
            view.open_commands.extend(other.open_commands.into_iter().filter(|c| !known.contains(&c.id)));
            view.last_outcomes.extend(other.last_outcomes);
            view.last_faults.extend(other.last_faults);
        }
        view.open_commands.truncate(COMMANDS);
        newest(&mut view.last_outcomes, OUTCOMES, |ended| ended.at);
        newest(&mut view.last_faults, faults::EACH, |fault| fault.at);
        let protocol = view.session.as_ref().and_then(|s| PROTOCOLS.iter().find(|p| p.name == &*s.protocol));
        let offers = protocol.and_then(|p| p.confirms("order_offer")).map(|confirms| confirms.label().into());
        let drivers = protocol.is_some_and(|p| p.drivers);
        Self { view, offers, drivers, instances, commands_topic }
    }

    /// Whether there is anything to tell.
    pub(crate) fn is_empty(&self) -> bool {
        let View { session, open_commands, last_outcomes, last_faults, .. } = &self.view;
        session.is_none() && open_commands.is_empty() && last_outcomes.is_empty() && last_faults.is_empty()
    }
}

/// Keep the newest, newest last.
fn newest<T>(things: &mut Vec<T>, count: usize, at: impl Fn(&T) -> Timestamp) {
    things.sort_by_key(at);
    things.drain(..things.len().saturating_sub(count));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    fn ended(seconds: i64) -> Ended {
        let outcome = Outcome::of(Some(format!("c-{seconds}")), protocols::outcome::Ending::Offline);
        Ended { at: Timestamp::from_seconds(seconds), kind: None, outcome }
    }

    #[test]
    fn what_several_know_is_put_together() {
        let own = View { last_outcomes: (0..6).map(|n| ended(2 * n)).collect(), partitions: vec![0], ..View::default() };
        let theirs = View { last_outcomes: (0..6).map(|n| ended(2 * n + 1)).collect(), partitions: vec![1], ..View::default() };
        let homes = BTreeMap::from([("gw-2".to_owned(), vec![1]), ("gw-4".to_owned(), vec![2])]);
        let standing = Standing { partitions: 3, homes: Some(homes), trouble: String::new() };
        let views = vec![("gw-1".to_owned(), Some(own)), ("gw-2".to_owned(), Some(theirs)), ("gw-3".to_owned(), None)];
        let known = Known::together(views, Some(standing));
        let times: Vec<_> = known.view.last_outcomes.iter().map(|ended| ended.at.as_millis() / 1000).collect();
        assert_eq!(times, [4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(known.view.partitions, [0], "its own");
        let told: Vec<_> = known.instances.iter().map(|i| (i.gateway.as_str(), i.answered, i.partitions.as_slice())).collect();
        let expected = [("gw-1", true, &[0][..]), ("gw-2", true, &[1]), ("gw-3", false, &[]), ("gw-4", false, &[2])];
        assert_eq!(told, expected);
        let text = serde_json::to_string(&known).unwrap();
        assert_eq!(serde_json::from_str::<Known>(&text).unwrap(), known);
    }
}
