//! The holder's side of a connection: homes come in here, and so may anybody who reaches the port.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::sync::{Semaphore, oneshot};
use tokio::task::AbortHandle;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::super::hub::Input;
use super::super::owner::{HomeId, InstanceId};
use super::wire::{Hello, Proof, Reader, Security, Writer, derive, get, hear, nonce, prove, put};
use super::{ANSWER, Message, QUEUE};

/// Connections at once that have proved nothing yet. An instance has proved itself within some milliseconds, so the oldest of so
/// many is not one: it gives way, and a flood keeps no instance out.
const UNPROVEN: usize = 256;
/// Connections of other instances at once.
const CONNECTIONS: usize = 256;
/// A home says something every [`super::PING`]; one that says nothing for so long is gone, or cut off, and will come again.
const SILENCE: Duration = Duration::from_secs(5);
/// Nothing is accepted for so long when there are no descriptors left.
const PAUSE: Duration = Duration::from_millis(250);
/// How often the same is said of the same address: who is refused tries again, some times a second.
const COMPLAIN: Duration = Duration::from_secs(60);
/// Complaints that are remembered for that.
const COMPLAINED: usize = 1024;

/// What every connection needs.
pub(super) struct Door {
    pub(super) me: InstanceId,
    pub(super) security: Arc<Security>,
    pub(super) inputs: UnboundedSender<Input>,
    pub(super) stop: CancellationToken,
}

pub(super) async fn listen(listener: TcpListener, door: Door) {
    let door = Arc::new(door);
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    let complaints = Arc::new(Mutex::new(Complaints::default()));
    let mut unproven: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let accepted = tokio::select! {
            () = door.stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        if unproven.len() >= UNPROVEN {
            unproven.retain(|handshake| !handshake.is_finished());
        }
        if unproven.len() >= UNPROVEN
            && let Some(oldest) = unproven.pop_front()
        {
            oldest.abort();
        }
        let (door, permits, complaints) = (Arc::clone(&door), Arc::clone(&permits), Arc::clone(&complaints));
        let handshake = tokio::spawn(async move {
            let proven = timeout(ANSWER, door.prove(stream)).await;
            let trouble = match proven {
                Ok(Ok(proven)) => match permits.try_acquire_owned() {
                    Ok(permit) => {
                        tokio::spawn(async move {
                            tokio::select! {
                                () = door.stop.cancelled() => {}
                                ended = door.serve(proven) => debug!(%peer, "a peer's connection has ended: {ended}"),
                            }
                            drop(permit);
                        });
                        return;
                    }
                    Err(_) => format!("{CONNECTIONS} other instances are connected"),
                },
                // a health check; or an instance that looked for one whose place we have taken
                Ok(Err(e)) if matches!(e.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                    return debug!(%peer, "a connection to the peer endpoint was given up: {e}");
                }
                Ok(Err(e)) => door.security.explain(&e),
                Err(_) => "it has not proved in time that it is an instance".to_owned(),
            };
            if complaints.lock().is_news(peer, &trouble) {
                warn!(%peer, "somebody is refused at the peer endpoint: {trouble}");
            }
        });
        unproven.push_back(handshake.abort_handle());
    }
}

/// What was said of whom, and when.
#[derive(Debug, Default)]
struct Complaints(HashMap<(IpAddr, String), Instant>);

impl Complaints {
    fn is_news(&mut self, peer: SocketAddr, trouble: &str) -> bool {
        let (key, now) = ((peer.ip(), trouble.to_owned()), Instant::now());
        if self.0.len() >= COMPLAINED {
            self.0.retain(|_, at| at.elapsed() < COMPLAIN);
        }
        let known = self.0.get(&key).is_some_and(|at| now.duration_since(*at) < COMPLAIN);
        if known || self.0.len() >= COMPLAINED {
            return false;
        }
        self.0.insert(key, now);
        true
    }
}

/// A home that has proved itself.
struct Proven {
    home: HomeId,
    reader: Reader,
    writer: Writer,
}

impl Door {
    async fn prove(&self, stream: TcpStream) -> io::Result<Proven> {
        let (mut read, mut write) = self.security.accepted(stream).await?;
        let secret = self.security.secret()?;
        let hello: Hello = get(&mut read).await?;
        let nonce = nonce()?;
        let said = |role: &str| format!("navgate peer {role}\n{}\n{nonce}\n{}\n{}", hello.nonce, hello.instance, self.me);
        let proof = Some(prove(secret, &said("holder")));
        put(&mut write, &Hello { instance: self.me.clone(), nonce: nonce.clone(), proof }).await?;
        let answer: Proof = get(&mut read).await?;
        let Some(theirs) = self.security.who_proves(&said("home"), &answer.proof) else {
            let what = "it does not know this cluster's secret (security.secrets)";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        };
        let reader = Reader::new(read, derive(theirs, &said("home key")));
        let writer = Writer::new(write, derive(secret, &said("holder key")));
        Ok(Proven { home: hello.instance, reader, writer })
    }

    /// Until it breaks: why.
    async fn serve(&self, Proven { home, reader, mut writer }: Proven) -> io::Error {
        let (sender, mut receiver) = unbounded_channel();
        let _ = self.inputs.send(Input::HomeConnected(home.clone(), sender.clone()));
        let (ended, mut end) = oneshot::channel();
        let inputs = self.inputs.clone();
        let listening = tokio::spawn(async move {
            let hearing = hear(reader, SILENCE, |message| {
                if matches!(message, Message::Ping) {
                    let _ = sender.send(Message::Pong);
                } else {
                    let _ = inputs.send(Input::Peer(home.clone(), message));
                }
            });
            let _ = ended.send(hearing.await);
        });
        let result = loop {
            let message = tokio::select! {
                message = receiver.recv() => message,
                heard = &mut end => break heard.unwrap_or_else(|_| io::ErrorKind::ConnectionAborted.into()),
            };
            let Some(message) = message else { break io::ErrorKind::ConnectionAborted.into() };
            if receiver.len() > QUEUE {
                break io::Error::new(io::ErrorKind::TimedOut, "it does not listen");
            }
            match timeout(ANSWER, writer.send(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => break e,
                Err(_) => break io::Error::new(io::ErrorKind::TimedOut, "it does not read"),
            }
        };
        listening.abort();
        result
    }
}
