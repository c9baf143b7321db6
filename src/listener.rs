//! Accepts connections: one loop a listener, one task a socket.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};
use std::time::Duration;

use protocols::identity::SessionId;
use socket2::{Domain, Protocol as Transport, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use crate::connection::Connection;
use crate::gateway::{Gateway, Port};

/// Connections that the kernel holds for us while we are busy: a fleet that comes back at once.
const BACKLOG: i32 = 4096;
/// Pause after a failed accept (no descriptors left, mostly): trying at once would only burn the processor.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);
/// How often a listener at its limit looks whether a connection has ended.
const LIMIT_PAUSE: Duration = Duration::from_millis(20);
/// A dead peer is found by our own idle deadline; keep-alive finds it behind a NAT that forgot the mapping, and keeps the mapping.
const KEEPALIVE: Duration = Duration::from_secs(120);

/// Bind an address.
///
/// # Errors
/// What the system says, e.g. that the port is in use.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Transport::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Accept until cancelled.
pub(crate) async fn serve(listener: TcpListener, gateway: Arc<Gateway>, port: Arc<Port>, stop: CancellationToken) {
    loop {
        while gateway.accepted.load(Ordering::Acquire) >= gateway.limits.connections {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LIMIT_PAUSE) => {}
            }
        }
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => start(stream, peer, &gateway, &port),
            Err(e) => {
                warn!(protocol = port.label(), "cannot accept a connection: {e}; raise the limit of open files if it persists");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

fn start(stream: TcpStream, peer: SocketAddr, gateway: &Arc<Gateway>, port: &Arc<Port>) {
    // an option that cannot be set costs comfort, not the connection
    let _ = stream.set_nodelay(true);
    let _ = SockRef::from(&stream).set_tcp_keepalive(&TcpKeepalive::new().with_time(KEEPALIVE));
    let Ok(id) = getrandom::u64().map(SessionId) else {
        warn!("the system gives no random numbers; connection refused");
        return;
    };
    gateway.telemetry.accepted.fetch_add(1, Ordering::Relaxed);
    let permit = Permit::take(gateway);
    let connection = Connection::new(Arc::clone(gateway), Arc::clone(port), stream, peer, id);
    tokio::spawn(Served { connection, _permit: permit });
}

/// A connection with its place among those that are allowed.
struct Served {
    connection: Connection,
    _permit: Permit,
}

impl Future for Served {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        Pin::new(&mut self.connection).poll(cx)
    }
}

/// Counts one connection until it is dropped, also when its task panics.
struct Permit(Arc<Gateway>);

impl Permit {
    fn take(gateway: &Arc<Gateway>) -> Self {
        gateway.accepted.fetch_add(1, Ordering::AcqRel);
        Self(Arc::clone(gateway))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.accepted.fetch_sub(1, Ordering::AcqRel);
    }
}
