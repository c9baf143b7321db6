//! What is expected of a conversation at another time: a device may leave the date to its server.

use serde_json::Value;

use super::parse::{Expect, Script};
use super::run::{Options, Said, Transcript, World, run};
use crate::registry::Protocol;
use crate::time::Timestamp;

/// The expected events with their lines, as they are if the conversation begins at this time. Only what this code says as it
/// is expected can be moved; the others are as written.
pub fn events_at(protocol: &Protocol, script: &Script, begin: Timestamp) -> Vec<(usize, Value)> {
    let world = World { clock_offset_ms: begin.as_millis() - script.start.as_millis(), ..World::default() };
    let then = run(protocol, script, &Options::default());
    let now = run(protocol, script, &Options { world, ..Options::default() });
    let said = |transcript: &Transcript, index: usize| -> Vec<Value> {
        let events = transcript.said.iter().filter(|(item, _)| *item == index);
        let json = events.filter_map(|(_, said)| if let Said::Event(json) = said { Some(json) } else { None });
        json.filter_map(|json| serde_json::from_str(json).ok()).collect()
    };
    let mut moved = Vec::new();
    for (index, item) in script.items.iter().enumerate() {
        let expected =
            item.expected.iter().filter_map(|e| if let Expect::Event(value) = &e.what { Some((e.line, value)) } else { None });
        let (then, now) = (said(&then, index), said(&now, index));
        for (n, (line, value)) in expected.enumerate() {
            let other = now.get(n).filter(|_| then.len() == now.len() && then.get(n) == Some(value));
            moved.push((line, other.unwrap_or(value).clone()));
        }
    }
    moved
}

#[cfg(test)]
mod tests {
    use super::super::toy::{self, TOY};
    use super::super::{text_of, update};
    use super::*;

    #[test]
    fn what_does_not_depend_on_the_time_is_as_written() {
        let text = format!("> {}\n> {}\n", text_of(&toy::frame(toy::LOGIN, b"7")), text_of(&toy::position(3_990_000, 11_640_000)));
        let text = update(&TOY, &Script::parse(&text).unwrap()).unwrap().replace("39.9", "38.9");
        let script = Script::parse(&text).unwrap();
        let events = events_at(&TOY, &script, Timestamp::from_seconds(1_800_000_000));
        assert_eq!(events, [(4, serde_json::json!({"position": {"latitude": 38.9, "longitude": 116.4}}))]);
    }
}
