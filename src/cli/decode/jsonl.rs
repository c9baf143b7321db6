//! `navgate decode --jsonl`: many sessions, one JSON object a line, for other programs.

use std::io::{self, BufRead, Write};
use std::sync::Arc;
use std::time::Duration;

use protocols::cursor::{hex, unhex};
use protocols::detect::{Detector, Recognised};
use protocols::event::{Event, serialize_event};
use protocols::fault::Fault;
use protocols::identity::{DeviceId, SessionId};
use protocols::profile::Settings;
use protocols::registry::{self, Protocol};
use protocols::session::{Delivery, Opening, Outgoing, Session, Turn};
use protocols::time::{Now, Timestamp};
use serde::ser::SerializeMap;
use serde::{Deserialize, Serialize, Serializer};

use super::QUIET;

/// One line of input: a fresh session.
#[derive(Debug, Deserialize)]
struct Request {
    #[serde(default)]
    id: serde_json::Value,
    #[serde(default)]
    protocol: Option<String>,
    #[serde(default)]
    device_id: Option<String>,
    #[serde(default)]
    frames: Vec<String>,
}

/// One line of output.
#[derive(Debug, Default, Serialize)]
struct Answer {
    id: serde_json::Value,
    protocol: Option<&'static str>,
    device_id: Option<DeviceId>,
    events: Vec<Told>,
    replies: Vec<String>,
    faults: Vec<Fault>,
    residue: usize,
}

/// An event as the contract has it, without what only a gateway knows.
#[derive(Debug)]
struct Told {
    event: Event,
    device: Option<DeviceId>,
    protocol: &'static str,
}

impl Serialize for Told {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        let device = self.device.as_ref().map_or("", DeviceId::as_str);
        serialize_event(&mut map, &self.event, device, self.protocol)?;
        map.end()
    }
}

/// Read requests, one JSON object a line, and answer each with a line.
///
/// # Errors
/// A line that is not such an object, named by its number; and those of the streams.
pub(super) fn answer_lines(input: impl BufRead, mut output: impl Write, now: Timestamp) -> io::Result<()> {
    for (number, line) in input.lines().enumerate() {
        let line = line?;
        if line.trim().is_empty() {
            continue;
        }
        let invalid = |e: String| io::Error::new(io::ErrorKind::InvalidData, format!("line {}: {e}", number + 1));
        let request: Request = serde_json::from_str(&line).map_err(|e| invalid(e.to_string()))?;
        let answer = answer(request, now).map_err(invalid)?;
        serde_json::to_writer(&mut output, &answer)?;
        output.write_all(b"\n")?;
    }
    output.flush()
}

fn answer(request: Request, utc: Timestamp) -> Result<Answer, String> {
    let mut bytes = Vec::new();
    for frame in &request.frames {
        bytes.extend(unhex(frame).ok_or_else(|| format!("`{frame}` is not hex"))?);
    }
    let protocol = match &request.protocol {
        Some(name) => Some(registry::find(name).ok_or_else(|| format!("there is no protocol `{name}`; see `navgate protocols`"))?),
        None => match Detector::all().recognise(&bytes, true) {
            Recognised::As(protocol) => Some(protocol),
            Recognised::Undecided | Recognised::No(_) => None,
        },
    };
    let mut answer = Answer { id: request.id, residue: bytes.len(), ..Answer::default() };
    if let Some(protocol) = protocol {
        let device = request.device_id.as_deref().and_then(DeviceId::normalise);
        decode(protocol, device, &bytes, utc, &mut answer);
    }
    Ok(answer)
}

fn decode(protocol: &'static Protocol, device: Option<DeviceId>, bytes: &[u8], utc: Timestamp, answer: &mut Answer) {
    let opening = Opening { session: SessionId(0), settings: Arc::new(Settings::default()), device };
    let mut session = (protocol.open)(opening);
    let mut turn = Turn::observed(false);
    let mut at = 0;
    let mut now = Now { utc, uptime: Duration::ZERO };
    answer.protocol = Some(protocol.name);
    loop {
        let used = session.receive(&bytes[at..], now, &mut turn);
        at += used;
        take(&mut *session, protocol, now, &mut turn, answer);
        if used == 0 {
            // nobody will send more: let it decide with what it has, once
            if now.uptime >= QUIET {
                break;
            }
            now.uptime += QUIET;
        }
    }
    answer.residue = bytes.len() - at;
    answer.device_id = session.device_id().cloned();
}

fn take(session: &mut dyn Session, protocol: &'static Protocol, now: Now, turn: &mut Turn, answer: &mut Answer) {
    for reject in turn.skipped.take().into_iter().chain(turn.reject.take()).chain(turn.notices.drain(..)) {
        answer.faults.push(reject.fault);
    }
    for kind in &turn.tolerated {
        answer.faults.push(Fault::new(*kind, 0, "tolerated"));
    }
    let device = session.device_id().cloned();
    answer.events.extend(turn.events.drain(..).map(|event| Told { event, device: device.clone(), protocol: protocol.name }));
    answer.replies.extend(turn.send.frames().map(hex));
    if turn.receipt {
        let mut out = Outgoing::marked();
        session.release(Some(Delivery::Stored), now, &mut out);
        answer.replies.extend(out.frames().map(hex));
    }
}
