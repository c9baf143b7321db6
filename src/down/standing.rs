//! Who serves the commands topic, as Kafka itself says: for a person who asks why commands do not come through.

use std::collections::BTreeMap;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use serde::{Deserialize, Serialize};

/// For each of two questions: a person waits for the answer, and a cluster that takes longer is what is wrong.
const ANSWER: Duration = Duration::from_secs(2);

/// See the module.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Standing {
    /// Why Kafka cannot be asked; empty if it can.
    pub(crate) trouble: String,
    /// Partitions of the topic.
    pub(crate) partitions: usize,
    /// Which of them each gateway serves; absent where Kafka does not tell, as without the right to describe the group.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) homes: Option<BTreeMap<String, Vec<i32>>>,
}

impl Standing {
    /// Partitions that nobody serves: their commands wait.
    pub(crate) fn unserved(&self) -> usize {
        let served = self.homes.as_ref().map(|homes| homes.values().map(Vec::len).sum());
        self.partitions.saturating_sub(served.unwrap_or(self.partitions))
    }

    /// Ask Kafka. Waits.
    pub(super) fn ask(consumer: &BaseConsumer, topic: &str, group: &str) -> Self {
        let trouble = |trouble: String| Self { trouble, ..Self::default() };
        let partitions = match consumer.fetch_metadata(Some(topic), ANSWER) {
            Ok(metadata) => metadata.topics().iter().find(|t| t.name() == topic).map_or(0, |t| t.partitions().len()),
            Err(e) => return trouble(format!("Kafka does not answer: {e}")),
        };
        if partitions == 0 {
            return trouble(format!("there is no topic {topic}"));
        }
        let homes = consumer.fetch_group_list(Some(group), ANSWER).ok().map(|groups| {
            let mut homes: BTreeMap<String, Vec<i32>> = BTreeMap::new();
            for member in groups.groups().iter().filter(|g| g.name() == group).flat_map(|g| g.members()) {
                let served = member.assignment().and_then(|bytes| assigned(bytes, topic)).unwrap_or_default();
                homes.entry(member.client_id().to_owned()).or_default().extend(served);
            }
            homes.values_mut().for_each(|served| served.sort_unstable());
            homes
        });
        Self { trouble: String::new(), partitions, homes }
    }
}

/// The partitions of a topic in the assignment of a member of a consumer group: a version, then of each topic its name and its
/// partitions. `None`: this is no assignment.
fn assigned(bytes: &[u8], topic: &str) -> Option<Vec<i32>> {
    let mut rest = bytes.get(2..)?;
    let mut served = Vec::new();
    for _ in 0..number(&mut rest)? {
        let length = i16::from_be_bytes(take(&mut rest)?);
        let (name, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        for _ in 0..number(&mut rest)? {
            let partition = number(&mut rest)?;
            if name == topic.as_bytes() {
                served.push(partition);
            }
        }
    }
    Some(served)
}

fn number(rest: &mut &[u8]) -> Option<i32> {
    take(rest).map(i32::from_be_bytes)
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (taken, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(*taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_an_assignment_and_nothing_else() {
        let mut bytes = vec![0, 3, 0, 0, 0, 2];
        for (topic, partitions) in [("t.commands", vec![0, 7]), ("other", vec![1])] {
            bytes.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
            bytes.extend(topic.as_bytes());
            bytes.extend(i32::try_from(partitions.len()).unwrap().to_be_bytes());
            partitions.iter().for_each(|p: &i32| bytes.extend(p.to_be_bytes()));
        }
        assert_eq!(assigned(&[&bytes[..], &[0, 0, 0, 0]].concat(), "t.commands"), Some(vec![0, 7]));
        assert_eq!(assigned(&bytes, "none"), Some(vec![]));
        for end in 0..bytes.len() {
            assert_eq!(assigned(&bytes[..end], "t.commands"), None, "{end}");
        }
        let wild = [[0, 0].as_slice(), &i32::MAX.to_be_bytes(), &(-1_i16).to_be_bytes()].concat();
        assert_eq!(assigned(&wild, "t"), None);
    }

    #[test]
    fn counts_what_nobody_serves() {
        let homes = BTreeMap::from([("gw-1".to_owned(), vec![0, 1]), ("gw-2".to_owned(), vec![2])]);
        let standing = Standing { partitions: 4, homes: Some(homes), trouble: String::new() };
        assert_eq!(standing.unserved(), 1);
        assert_eq!(Standing { homes: None, ..standing }.unserved(), 0, "nothing is known");
    }
}
