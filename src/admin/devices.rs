//! One device: what is known of it, and commands for it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::Json;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use protocols::command::{CommandId, MAX_COMMAND};
use protocols::identity::DeviceId;
use protocols::time::Timestamp;
use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio_util::io::ReaderStream;

use super::Admin;
use crate::clock;
use crate::down::courier::{AT_ONCE, About, Courier, Heard, LATE, PATIENCE, Trouble, about};
use crate::down::view::Answer;

/// Deadline of a command that names none: what a person waits for.
const DEADLINE: Duration = Duration::from_secs(30);
/// Records about one command that a reader may leave unread: more than there are stages.
const LINES: usize = 16;
/// Bytes of them on their way to the reader.
const BYTES: usize = 64 * 1024;

/// Room for commands that are written or followed at once.
#[derive(Debug)]
pub(crate) struct Following(Arc<Semaphore>);

impl Default for Following {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(AT_ONCE)))
    }
}

/// What stands between a request and its answer.
struct Refused(StatusCode, String);

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        let Self(status, text) = self;
        (status, text + "\n").into_response()
    }
}

fn refused<T>(status: StatusCode, text: impl Into<String>) -> Result<T, Refused> {
    Err(Refused(status, text.into()))
}

fn device_id(text: &str) -> Result<DeviceId, Refused> {
    match DeviceId::normalise(text) {
        Some(device) => Ok(device),
        None => refused(StatusCode::BAD_REQUEST, "this cannot be the identity of a device"),
    }
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Where {
    everywhere: Option<u8>,
}

/// 200 with all that is known; 404, in the same shape, if that is nothing.
pub(super) async fn look(State(admin): State<Admin>, Path(id): Path<String>, Query(wanted): Query<Where>) -> Response {
    let device_id = match device_id(&id) {
        Ok(device) => device,
        Err(refused) => return refused.into_response(),
    };
    let everywhere = wanted.everywhere.unwrap_or(0) != 0;
    let Some(known) = admin.down.known(device_id.clone(), everywhere).await else {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    };
    let status = if known.is_empty() { StatusCode::NOT_FOUND } else { StatusCode::OK };
    let answer = Answer { device_id, gateway: admin.gateway.id.clone(), at: clock::utc(), known };
    (status, Json(answer)).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Wait {
    wait: Option<u8>,
}

/// A command that has what it needs to be written and known again.
struct Ready {
    device: DeviceId,
    id: String,
    deadline: Option<Timestamp>,
    value: Vec<u8>,
}

pub(super) async fn command(
    State(admin): State<Admin>,
    Path(id): Path<String>,
    Query(Wait { wait }): Query<Wait>,
    body: Bytes,
) -> Response {
    let done = async {
        let ready = ready(&id, &body)?;
        let Ok(place) = Arc::clone(&admin.following.0).try_acquire_owned() else {
            let text = format!("{AT_ONCE} commands are followed here already: wait for one of them, or ask another instance");
            return refused(StatusCode::TOO_MANY_REQUESTS, text);
        };
        let wait = wait.unwrap_or(0) != 0;
        match admin.down.courier.clone() {
            None => Ok(embedded(&admin, ready, wait, place)),
            Some(courier) => by_kafka(&admin, courier, ready, wait, place).await,
        }
    };
    done.await.unwrap_or_else(Refused::into_response)
}

/// Fill in what is not said. Whatever else is wrong with it, its outcome will say.
fn ready(id: &str, body: &[u8]) -> Result<Ready, Refused> {
    let device = device_id(id)?;
    let mut command: Map<String, Value> = match serde_json::from_slice(body) {
        Ok(command) => command,
        Err(e) => return refused(StatusCode::BAD_REQUEST, format!("the body is no command as a JSON object: {e}")),
    };
    if !command.contains_key("id") {
        let mut random = [0; 16];
        if let Err(e) = getrandom::fill(&mut random) {
            return refused(StatusCode::SERVICE_UNAVAILABLE, format!("the system gives no random bytes: {e}"));
        }
        command.insert("id".into(), protocols::cursor::hex(&random).into());
    }
    // without one nobody could say which outcome is its
    let Some(id) = command.get("id").and_then(Value::as_str).and_then(CommandId::new) else {
        return refused(StatusCode::BAD_REQUEST, "id: expected 1 to 128 printable ASCII characters; or leave it out");
    };
    command.insert("device_id".into(), device.as_str().into());
    let millis = i64::try_from(DEADLINE.as_millis()).unwrap_or(i64::MAX);
    let deadline = command.entry("deadline").or_insert_with(|| clock::utc().plus_millis(millis).to_string().into());
    let deadline = deadline.as_str().and_then(Timestamp::parse);
    let value = match serde_json::to_vec(&command) {
        Ok(value) if value.len() <= MAX_COMMAND => value,
        _ => return refused(StatusCode::PAYLOAD_TOO_LARGE, format!("a command has at most {MAX_COMMAND} bytes")),
    };
    Ok(Ready { device, id: id.as_str().to_owned(), deadline, value })
}

/// How long its outcome is waited for. One whose deadline cannot be read, or is too far ahead, ends at once.
fn until(deadline: Option<Timestamp>, latest: Duration) -> Instant {
    let left = deadline.map_or(0, |deadline| deadline.as_millis() - clock::utc().as_millis());
    Instant::now() + Duration::from_millis(u64::try_from(left).unwrap_or(0)).min(latest) + PATIENCE
}

/// Without Kafka this instance is the home.
fn embedded(admin: &Admin, ready: Ready, wait: bool, place: OwnedSemaphorePermit) -> Response {
    let Ready { id, deadline, value, .. } = ready;
    let mut answers = admin.down.listen();
    admin.down.post(value);
    if !wait {
        return accepted(&id);
    }
    let until = until(deadline, admin.max_deadline);
    let (tell, lines) = mpsc::channel(LINES);
    tokio::spawn(async move {
        let _place = place;
        let follow = async {
            while let Ok(line) = answers.recv().await {
                let what = about(&line, &id);
                if (what.is_some() && tell.try_send(line.to_string()).is_err()) || what == Some(About::End) {
                    return;
                }
            }
        };
        tokio::select! {
            () = follow => {}
            () = tokio::time::sleep_until(until.into()) => drop(tell.try_send(late())),
            () = tell.closed() => {}
        }
    });
    stream(lines)
}

/// librdkafka's calls wait, so a thread makes them. It is bounded by the command's deadline, and by its reader.
async fn by_kafka(
    admin: &Admin,
    courier: Arc<Courier>,
    ready: Ready,
    wait: bool,
    place: OwnedSemaphorePermit,
) -> Result<Response, Refused> {
    let Ready { device, id, deadline, value } = ready;
    let until = until(deadline, admin.max_deadline);
    let (posted, written) = oneshot::channel::<Result<(), Trouble>>();
    let (tell, lines) = mpsc::channel(LINES);
    let named = id.clone();
    let follow = move || {
        let _place = place;
        if !wait {
            drop(posted.send(courier.post(&device, &value)));
            return;
        }
        let following = match courier.post_and_follow(&device, &value) {
            Ok(following) => following,
            Err(trouble) => return drop(posted.send(Err(trouble))),
        };
        let _ = posted.send(Ok(()));
        let heard = following.hear(&named, until, || !tell.is_closed(), |line| drop(tell.try_send(line.to_owned())));
        if heard == Heard::Late {
            let _ = tell.try_send(late());
        }
    };
    if let Err(e) = std::thread::Builder::new().name("command".into()).spawn(follow) {
        return refused(StatusCode::SERVICE_UNAVAILABLE, format!("cannot start a thread: {e}"));
    }
    match written.await {
        Ok(Ok(())) if wait => Ok(stream(lines)),
        Ok(Ok(())) => Ok(accepted(&id)),
        Ok(Err(trouble)) => refused(StatusCode::SERVICE_UNAVAILABLE, format!("the command may not be in its topic: {trouble}")),
        Err(_) => refused(StatusCode::SERVICE_UNAVAILABLE, "nobody can say whether the command is in its topic"),
    }
}

fn accepted(id: &str) -> Response {
    (StatusCode::ACCEPTED, Json(json!({ "id": id }))).into_response()
}

fn late() -> String {
    json!({ "type": "error", "detail": LATE }).to_string()
}

/// Lines as they come. Whoever gives them sees that nobody reads them any more.
fn stream(lines: mpsc::Receiver<String>) -> Response {
    let (reader, writer) = tokio::io::duplex(BYTES);
    tokio::spawn(pass_on(lines, writer));
    let body = Body::from_stream(ReaderStream::new(reader));
    ([(header::CONTENT_TYPE, "application/jsonl")], body).into_response()
}

async fn pass_on(mut lines: mpsc::Receiver<String>, mut to: DuplexStream) {
    let mut nothing = [0];
    loop {
        let line = tokio::select! {
            line = lines.recv() => line,
            // the reader has nothing to say: this is its end
            _ = to.read(&mut nothing) => return,
        };
        match line {
            Some(line) if to.write_all(format!("{line}\n").as_bytes()).await.is_ok() => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(id: &str, body: &str) -> Result<Ready, (u16, String)> {
        ready(id, body.as_bytes()).map_err(|Refused(status, text)| (status.as_u16(), text))
    }

    #[test]
    fn fills_in_what_a_command_lacks() {
        let filled = said("013800000001", r#"{"kind":"locate","locate":{},"device_id":"7"}"#).ok().unwrap();
        let value: Value = serde_json::from_slice(&filled.value).unwrap();
        assert_eq!((&value["device_id"], &value["id"]), (&json!("13800000001"), &json!(filled.id)));
        assert_eq!(value["deadline"], json!(filled.deadline.unwrap()));
        assert_eq!(filled.id.len(), 32);
        let own = said("1", r#"{"id":"c-1","deadline":"soon"}"#).ok().unwrap();
        assert_eq!((own.id.as_str(), own.deadline), ("c-1", None));
    }

    #[test]
    fn refuses_what_no_outcome_could_answer() {
        let refused = |id, body: &str| said(id, body).err().unwrap();
        assert_eq!(refused("000", "{}"), (400, "this cannot be the identity of a device".into()));
        assert_eq!(refused("1", "[]").0, 400);
        assert_eq!(refused("1", r#"{"id":7}"#), (400, "id: expected 1 to 128 printable ASCII characters; or leave it out".into()));
        assert_eq!(refused("1", &json!({ "text": "x".repeat(MAX_COMMAND) }).to_string()).0, 413);
    }

    #[test]
    fn waits_no_longer_than_a_command_can_be_open() {
        let hour = Duration::from_secs(3600);
        let left = |deadline: Option<Timestamp>| until(deadline, hour).saturating_duration_since(Instant::now());
        assert!(left(None) <= PATIENCE);
        assert!(left(Some(Timestamp::from_seconds(1))) <= PATIENCE);
        assert!(left(Some(clock::utc().plus_millis(i64::MAX / 4))) <= hour + PATIENCE);
        let soon = left(Some(clock::utc().plus_millis(10_000)));
        assert!(soon > PATIENCE + Duration::from_secs(9) && soon <= PATIENCE + Duration::from_secs(10), "{soon:?}");
    }

    #[tokio::test]
    async fn a_reader_that_goes_away_is_seen() {
        let (tell, lines) = mpsc::channel(LINES);
        let (reader, writer) = tokio::io::duplex(BYTES);
        tokio::spawn(pass_on(lines, writer));
        tell.send("{}".to_owned()).await.unwrap();
        assert!(!tell.is_closed());
        drop(reader);
        tokio::time::timeout(Duration::from_secs(10), tell.closed()).await.unwrap();
    }
}
