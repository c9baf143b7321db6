//! What HAProxy's agent check asks: one line a connection, `up ready` or `drain`, nothing else (design, section 8).
//!
//! `drain` leaves existing sessions alone and brings no new ones. Anything like `down` or `maint` would end every session at
//! once where HAProxy is told to shut sessions of a server that is down. Before devices are accepted nothing is answered, which
//! HAProxy takes for no news.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::gateway::Gateway;

/// HAProxy waits no longer than its `timeout check`; who takes more than this is not HAProxy.
const ANSWER: Duration = Duration::from_secs(2);

/// Answer until cancelled.
pub(crate) async fn serve(listener: TcpListener, gateway: Arc<Gateway>, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((mut stream, _)) = accepted else {
            tokio::time::sleep(ANSWER).await; // no descriptors left; agent checks can wait
            continue;
        };
        let words: &[u8] = if gateway.draining.load(Ordering::Relaxed) { b"drain\n" } else { b"up ready\n" };
        let _ = tokio::time::timeout(ANSWER, async {
            stream.write_all(words).await?;
            stream.shutdown().await
        })
        .await;
    }
}
