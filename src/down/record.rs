//! Outcomes and progress as records of the contract.

use protocols::command::CommandId;
use protocols::outcome::{Outcome, Place, Progress};
use protocols::time::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::home::{Answer, AnswerBody, Finished};

/// A record: its id, its type, its JSON.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) id: String,
    pub(super) kind: &'static str,
    pub(super) value: Vec<u8>,
}

#[derive(Serialize)]
struct Value<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<&'a str>,
    received_at: Timestamp,
    gateway: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<&'a Outcome>,
    #[serde(skip_serializing_if = "Option::is_none")]
    progress: Option<&'a Progress>,
}

/// What a record of the outcomes topic says is over; nothing if it is no outcome.
pub(super) fn finished(value: &[u8]) -> impl Iterator<Item = Finished> + use<> {
    #[derive(Deserialize)]
    struct Ended {
        outcome: Option<EndedAs>,
    }
    #[derive(Deserialize)]
    struct EndedAs {
        command_id: Option<String>,
        record: Option<Place>,
    }
    let ended = serde_json::from_slice::<Ended>(value).ok().and_then(|e| e.outcome);
    ended.into_iter().flat_map(|ended| {
        let place = ended.record.map(|r| Finished::Record(r.partition, r.offset));
        place.into_iter().chain(ended.command_id.and_then(CommandId::new).map(Finished::Id))
    })
}

/// Write an answer as its record.
pub(super) fn write(answer: &Answer, gateway: &str) -> Written {
    let (kind, recipe, outcome, progress) = match &answer.body {
        AnswerBody::Outcome(outcome) => {
            let place = || outcome.record.map(|r| format!("{}/{}", r.partition, r.offset)).unwrap_or_default();
            let about = outcome.command_id.clone().unwrap_or_else(place);
            ("outcome", format!("outcome\n{about}\n"), Some(outcome), None)
        }
        AnswerBody::Progress(progress) => {
            let stage = serde_json::to_value(progress.stage).ok();
            let stage = stage.as_ref().and_then(serde_json::Value::as_str).unwrap_or_default();
            ("progress", format!("progress\n{}\n{stage}\n", progress.command_id), None, Some(progress))
        }
    };
    let digest = Sha256::digest(recipe.as_bytes());
    let id = protocols::cursor::hex(digest.get(..16).unwrap_or_default());
    let device_id = answer.device.as_ref().map(protocols::identity::DeviceId::as_str);
    let value = Value { id: &id, kind, device_id, received_at: answer.at, gateway, outcome, progress };
    // our types have no maps with keys that are not text: this cannot fail
    let value = serde_json::to_vec(&value).unwrap_or_default();
    Written { id, kind, value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocols::outcome::{Place, Stage};
    use std::time::Duration;

    fn answer(body: AnswerBody) -> Answer {
        Answer { partition: 0, device: None, at: Timestamp::from_seconds(1), body, measured: (None, Duration::ZERO) }
    }

    /// The published examples.
    #[test]
    fn ids_are_those_of_the_contract() {
        let at = Timestamp::from_seconds(1);
        let progress = Progress { command_id: "c-1".into(), stage: Stage::Delivered, at };
        assert_eq!(write(&answer(AnswerBody::Progress(progress)), "g").id, "b7d6b41244acc013579fcfbf388d28f6");
        let mut outcome: Outcome = serde_json::from_str(r#"{"command_id":"c-1","result":"expired","attempts":0}"#).unwrap();
        assert_eq!(write(&answer(AnswerBody::Outcome(outcome.clone())), "g").id, "fe70cefacc98bbfca225cb71798bb851");
        outcome.command_id = None;
        outcome.record = Some(Place { partition: 5, offset: 77 });
        assert_eq!(write(&answer(AnswerBody::Outcome(outcome)), "g").id, "41a7a29d183d5266045ec5af2cbfa99b");
    }
}
