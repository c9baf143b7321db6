//! What a gateway without Kafka knows of its earlier lives. Sessions and commands stand in its journal, beside their outcomes,
//! and the next life goes on from there as a new home does from the topics.

use std::collections::{HashMap, HashSet, VecDeque};

use protocols::command::CommandId;
use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::home::{Arrived, Finished};
use super::record;
use super::table::{Record, State};

/// Ended commands whose ids are known again if they come a second time: some hours of a small firm's.
const REMEMBERED: usize = 10_000;

/// A line of a device's session.
#[derive(Serialize)]
struct SessionLine<'a> {
    device_id: &'a DeviceId,
    #[serde(flatten)]
    session: Option<&'a Record>,
}

#[derive(Deserialize)]
struct Whose {
    device_id: DeviceId,
    /// Absent where the device is forgotten.
    state: Option<State>,
}

/// A line of a command.
#[derive(Serialize, Deserialize)]
struct CommandLine<C> {
    received_at: Timestamp,
    command: C,
}

/// The line for a device's record as it is now; without one it is forgotten.
pub(super) fn session_line(device_id: &DeviceId, session: Option<&Record>) -> Vec<u8> {
    serde_json::to_vec(&SessionLine { device_id, session }).unwrap_or_default()
}

/// The line for a command; nothing for what is no JSON, which ends at once.
pub(super) fn command_line(received_at: Timestamp, value: &[u8]) -> Option<Vec<u8>> {
    let command: serde_json::Value = serde_json::from_slice(value).ok()?;
    serde_json::to_vec(&CommandLine { received_at, command }).ok()
}

#[derive(Deserialize)]
struct Named {
    id: CommandId,
}

/// See the module. Lines that cannot be read are passed over: they are another release's, and nobody waits for what is in them.
#[derive(Debug, Default)]
pub(crate) struct Former {
    pub(super) sessions: HashMap<DeviceId, Record>,
    /// Commands without an outcome so far, and in which order they came.
    open: HashMap<CommandId, (u64, Timestamp, Vec<u8>)>,
    came: u64,
    ended: HashSet<CommandId>,
    in_order: VecDeque<CommandId>,
}

impl Former {
    /// A line of the journal.
    pub(crate) fn note(&mut self, topic: &str, value: &[u8]) {
        match topic {
            "sessions" => {
                let Ok(Whose { device_id, state }) = serde_json::from_slice(value) else { return };
                if state.is_none() {
                    self.sessions.remove(&device_id);
                } else if let Ok(record) = serde_json::from_slice(value) {
                    self.sessions.insert(device_id, record);
                }
            }
            "commands" => {
                let Ok(CommandLine::<serde_json::Value> { received_at, command }) = serde_json::from_slice(value) else { return };
                let Ok(Named { id }) = Named::deserialize(&command) else { return };
                // a repeat
                if !self.ended.contains(&id) && !self.open.contains_key(&id) {
                    self.came += 1;
                    self.open.insert(id, (self.came, received_at, command.to_string().into_bytes()));
                }
            }
            "outcomes" => {
                for finished in record::finished(value) {
                    if let Finished::Id(id) = finished {
                        self.end(id);
                    }
                }
            }
            _ => {}
        }
    }

    fn end(&mut self, id: CommandId) {
        self.open.remove(&id);
        if self.ended.insert(id.clone()) {
            self.in_order.push_back(id);
        }
        if self.in_order.len() > REMEMBERED
            && let Some(oldest) = self.in_order.pop_front()
        {
            self.ended.remove(&oldest);
        }
    }

    /// The commands without an outcome as records of a partition, and the ended ones.
    pub(super) fn commands(&mut self) -> (Vec<Arrived>, HashSet<Finished>) {
        let mut open: Vec<_> = std::mem::take(&mut self.open).into_values().collect();
        open.sort_by_key(|(came, ..)| *came);
        let record = |(offset, (_, timestamp, value))| Arrived { partition: 0, offset, timestamp, value };
        let finished = std::mem::take(&mut self.ended).into_iter().map(Finished::Id).collect();
        ((0..).zip(open).map(record).collect(), finished)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn what_has_no_outcome_is_open_in_the_order_it_came() {
        let mut former = Former::default();
        let mut note = |topic: &str, value: serde_json::Value| former.note(topic, value.to_string().as_bytes());
        for id in ["a", "b", "c", "b"] {
            note("commands", json!({"received_at": "2026-03-01T00:00:00.000Z", "command": {"id": id, "kind": "locate"}}));
        }
        note("outcomes", json!({"type": "progress", "progress": {"command_id": "c", "stage": "sent"}}));
        note("outcomes", json!({"type": "outcome", "outcome": {"command_id": "a", "result": "offline"}}));
        note("commands", json!({"received_at": "2026-03-01T00:00:09.000Z", "command": {"id": "a", "kind": "locate"}}));
        note("commands", json!({"of": "another release"}));
        let (open, finished) = former.commands();
        let ids: Vec<_> = open.iter().map(|a| serde_json::from_slice::<Named>(&a.value).unwrap().id.as_str().to_owned()).collect();
        assert_eq!(ids, ["b", "c"]);
        assert_eq!(open.iter().map(|a| a.offset).collect::<Vec<_>>(), [0, 1]);
        assert_eq!(finished, HashSet::from([Finished::Id(CommandId::new("a").unwrap())]));
    }

    #[test]
    fn the_last_line_of_a_session_counts() {
        let mut former = Former::default();
        let line = |device: &str| {
            json!({
                "device_id": device, "state": "away", "since": "2026-03-01T00:00:00.000Z", "gateway": "gw-1", "boot": "7",
                "epoch": 5, "session": "00000000000000aa", "protocol": "jt808", "peer": "127.0.0.1:1",
            })
        };
        for line in [line("1"), line("2")] {
            former.note("sessions", line.to_string().as_bytes());
        }
        former.note("sessions", &session_line(&DeviceId::normalise("2").unwrap(), None));
        let known: Vec<_> = former.sessions.iter().map(|(device, record)| (device.as_str(), record.epoch)).collect();
        assert_eq!(known, [("1", 5)]);
        let (device, record) = former.sessions.iter().next().unwrap();
        let written: serde_json::Value = serde_json::from_slice(&session_line(device, Some(record))).unwrap();
        assert_eq!(written, line("1"));
    }
}
