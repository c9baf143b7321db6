//! The operator's HTTP endpoints.
//!
//! | endpoint | says |
//! |---|---|
//! | `GET /live` | 200 while the process runs |
//! | `GET /ready` | 200 while sessions are served, also while draining or without Kafka; 503 before, in the first seconds after the start, while it reads what devices have open; the state is in the body |
//! | `GET /metrics` | Prometheus text |
//! | `GET /sessions?device=PREFIX&limit=N` | connected devices |
//! | `GET /devices/ID?everywhere=1` | its session on whichever instance, and what this one, or all of them, know of it |
//! | `POST /devices/ID/commands?wait=1` | a command; with `wait` its progress and outcome, a line each |
//! | `GET /ledger` | the accounting, one consistent snapshot |
//! | `GET /log`, `PUT /log` | the log filter, e.g. `info,navgate=debug` |
//! | `POST /capture`, `GET /capture`, `GET /capture/ID`, `DELETE /capture/ID`, `GET /capture/ID/FILE` | raw bytes of a device: begin, list, look, end, the script |
//! | `POST /drain` | begin to drain, as SIGTERM does |
//!
//! Away from loopback every endpoint but `/live` and `/ready` wants `Authorization: Bearer TOKEN`.

mod devices;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::Json;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::json;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::capture::{self, Captures, Refused, Told};
use crate::down::hub::Handle;
use crate::gateway::Gateway;
use crate::logging::LogFilter;
pub(crate) use devices::Following;

/// Sessions shown unless asked otherwise, and at most: a page that a person or `jq` can take.
const SESSIONS_SHOWN: usize = 1000;
/// See [`SESSIONS_SHOWN`].
const SESSIONS_AT_MOST: usize = 100_000;

/// What the endpoints need.
#[derive(Debug, Clone)]
pub(crate) struct Admin {
    /// The process.
    pub(crate) gateway: Arc<Gateway>,
    /// The log's filter.
    pub(crate) log: LogFilter,
    /// Wanted of callers; `None` on loopback without one.
    pub(crate) token: Option<Arc<str>>,
    /// Cancelled to begin a drain.
    pub(crate) drain: CancellationToken,
    /// The way to devices.
    pub(crate) down: Handle,
    /// The latest deadline that is accepted, from now.
    pub(crate) max_deadline: Duration,
    /// Commands that are written or followed now.
    pub(crate) following: Arc<Following>,
}

/// Serve until cancelled.
pub(crate) async fn serve(listener: TcpListener, admin: Admin, stop: CancellationToken) {
    let closed = Router::new()
        .route("/metrics", get(metrics))
        .route("/sessions", get(sessions))
        .route("/devices/{id}", get(devices::look))
        .route("/devices/{id}/commands", post(devices::command))
        .route("/ledger", get(ledger))
        .route("/log", get(log).put(set_log))
        .route("/capture", get(captures).post(begin_capture))
        .route("/capture/{id}", get(one_capture).delete(end_capture))
        .route("/capture/{id}/{file}", get(captured_file))
        .route("/drain", post(drain))
        .layer(middleware::from_fn_with_state(admin.clone(), authorize));
    let router =
        Router::new().route("/live", get(|| async { "live\n" })).route("/ready", get(ready)).merge(closed).with_state(admin);
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await;
    if let Err(e) = served {
        tracing::error!("the admin endpoint has ended: {e}");
    }
}

async fn authorize(State(admin): State<Admin>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok()).and_then(|v| v.strip_prefix("Bearer "));
    match (&admin.token, given) {
        (None, _) => next.run(request).await,
        (Some(token), Some(given)) if same(token, given) => next.run(request).await,
        _ => (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, "Bearer")], "send `Authorization: Bearer TOKEN`\n")
            .into_response(),
    }
}

/// In time that depends on the lengths only.
fn same(a: &str, b: &str) -> bool {
    a.len() == b.len() && a.bytes().zip(b.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

async fn ready(State(admin): State<Admin>) -> Response {
    let sink = admin.gateway.sink.status();
    let draining = admin.gateway.draining.load(Ordering::Relaxed);
    let serving = admin.gateway.serving.load(Ordering::Relaxed);
    let body = json!({
        "state": if draining { "draining" } else if !serving { "starting" } else if !sink.healthy { "holding" } else if sink.mode == "live" { "running" } else { "spooling" },
        "gateway": admin.gateway.id,
        "connections": admin.gateway.sessions.open(),
        "sink": sink,
    });
    (if serving { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }, Json(body)).into_response()
}

async fn metrics(State(admin): State<Admin>) -> Response {
    let text = admin.gateway.telemetry.render(&admin.gateway);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    device: Option<String>,
    limit: Option<usize>,
}

async fn sessions(State(admin): State<Admin>, Query(which): Query<Which>) -> Response {
    let limit = which.limit.unwrap_or(SESSIONS_SHOWN).min(SESSIONS_AT_MOST);
    Json(admin.gateway.sessions.shown(which.device.as_deref(), limit)).into_response()
}

async fn ledger(State(admin): State<Admin>) -> Response {
    let c = admin.gateway.ledger.total();
    let sum = |of: &[i64]| of.iter().sum::<i64>();
    let body = json!({
        "received": c.received,
        "stored": c.stored,
        "handled": sum(&c.handled),
        "rejected": sum(&c.rejected),
        "dropped": sum(&c.dropped),
        "in_flight": c.in_flight,
        "unaccounted": c.unaccounted(),
        "acknowledged": c.acknowledged,
        "events": c.events,
    });
    Json(body).into_response()
}

async fn log(State(admin): State<Admin>) -> String {
    admin.log.current() + "\n"
}

async fn set_log(State(admin): State<Admin>, filter: String) -> Response {
    match admin.log.set(filter.trim()) {
        Ok(()) => {
            tracing::info!(filter = filter.trim(), "log filter changed");
            StatusCode::NO_CONTENT.into_response()
        }
        Err(e) => (StatusCode::BAD_REQUEST, e + "\n").into_response(),
    }
}

async fn drain(State(admin): State<Admin>) -> StatusCode {
    admin.drain.cancel();
    StatusCode::ACCEPTED
}

async fn captures(State(admin): State<Admin>) -> Response {
    Json(json!({ "captures": admin.gateway.captures.told() })).into_response()
}

async fn begin_capture(State(admin): State<Admin>, body: Bytes) -> Response {
    let told = |status: StatusCode, what: &dyn std::fmt::Display| (status, format!("{what}\n")).into_response();
    let request = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(e) => return told(StatusCode::BAD_REQUEST, &e),
    };
    match Captures::begin(&admin.gateway, request) {
        Ok(begun) => (StatusCode::CREATED, Json(begun)).into_response(),
        Err(refused @ Refused::Request(_)) => told(StatusCode::BAD_REQUEST, &refused),
        Err(refused @ Refused::Cannot(_)) => told(StatusCode::CONFLICT, &refused),
    }
}

async fn one_capture(State(admin): State<Admin>, Path(id): Path<u64>) -> Response {
    told_capture(admin.gateway.captures.one(id))
}

async fn end_capture(State(admin): State<Admin>, Path(id): Path<u64>) -> Response {
    told_capture(admin.gateway.captures.end(id))
}

fn told_capture(told: Option<Told>) -> Response {
    told.map_or_else(no_capture, |told| Json(told).into_response())
}

fn no_capture() -> Response {
    (StatusCode::NOT_FOUND, "there is no such capture, or it is long over\n").into_response()
}

/// The name is looked up among those that the capture wrote; it is never a path.
async fn captured_file(State(admin): State<Admin>, Path((id, name)): Path<(u64, String)>) -> Response {
    let Some(path) = admin.gateway.captures.file(id, &name) else { return no_capture() };
    match tokio::task::spawn_blocking(move || capture::read_file(&path)).await {
        Ok(Ok(text)) => ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response(),
        Ok(Err(e)) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_compared_whole() {
        assert!(same("secret", "secret"));
        assert!(!same("secret", "secreT"));
        assert!(!same("secret", "secret2"));
        assert!(!same("secret", ""));
    }
}
