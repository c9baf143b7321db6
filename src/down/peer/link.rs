//! The home's side of a connection: one task for each instance, which connects, says what waits, hears, and connects again.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::super::hub::Input;
use super::super::owner::InstanceId;
use super::wire::{Hello, Proof, Reader, Security, Writer, derive, get, hear, nonce, prove, put};
use super::{ANSWER, CONNECT, Message, PING};

/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(250);
/// The same with an instance that has been out of reach for [`LONG`]: it may be gone for good.
const RETRY_LONG: Duration = Duration::from_secs(2);
/// A restart of an instance is over by then.
const LONG: Duration = Duration::from_secs(60);
/// A link without a word of ours for so long is given up.
const IDLE: Duration = Duration::from_secs(600);

/// See the module.
pub(super) struct Link {
    me: InstanceId,
    to: InstanceId,
    address: Arc<str>,
    security: Arc<Security>,
    inputs: UnboundedSender<Input>,
    /// Messages in the queue.
    waiting: Arc<AtomicUsize>,
    /// What was told last.
    up: Option<bool>,
    /// Why it could not be reached when that was told last.
    trouble: String,
}

impl Link {
    pub(super) const fn new(
        me: InstanceId,
        to: InstanceId,
        address: Arc<str>,
        security: Arc<Security>,
        inputs: UnboundedSender<Input>,
        waiting: Arc<AtomicUsize>,
    ) -> Self {
        Self { me, to, address, security, inputs, waiting, up: None, trouble: String::new() }
    }

    pub(super) async fn run(mut self, mut receiver: UnboundedReceiver<Message>, stop: CancellationToken) {
        let mut lost_since = Instant::now();
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = timeout(CONNECT + ANSWER, self.connect()) => connected,
            };
            let trouble = match connected {
                Ok(Ok(Some((reader, writer)))) => {
                    self.reached();
                    let ended = tokio::select! {
                        () = stop.cancelled() => return,
                        ended = self.talk(reader, writer, &mut receiver) => ended,
                    };
                    lost_since = Instant::now();
                    match ended {
                        Ok(()) => return,
                        Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => "it has ended the connection".to_owned(),
                        Err(e) => e.to_string(),
                    }
                }
                Ok(Ok(None)) => {
                    let _ = self.inputs.send(Input::PeerLost(self.to.clone()));
                    return;
                }
                Ok(Err(e)) => self.security.explain(&e),
                Err(_) => "no answer".to_owned(),
            };
            self.out_of_reach(trouble);
            // what waits is asked about anew on the next connection
            while receiver.try_recv().is_ok() {
                self.waiting.fetch_sub(1, Ordering::Relaxed);
            }
            if receiver.is_closed() {
                return;
            }
            sleep(if lost_since.elapsed() < LONG { RETRY } else { RETRY_LONG }).await;
        }
    }

    fn reached(&mut self) {
        if self.up != Some(true) {
            self.up = Some(true);
            self.trouble.clear();
            info!(instance = %self.to, address = &*self.address, "connected to a peer");
            let _ = self.inputs.send(Input::PeerUp(self.to.clone()));
        }
    }

    /// Told once, and again if the reason is another.
    fn out_of_reach(&mut self, trouble: String) {
        if self.trouble != trouble {
            warn!(instance = %self.to, address = &*self.address, "a peer is out of reach, commands for its devices wait: {trouble}");
            self.trouble = trouble;
        }
        if self.up != Some(false) {
            self.up = Some(false);
            let _ = self.inputs.send(Input::PeerDown(self.to.clone()));
        }
    }

    /// `None`: another life of the instance answers there.
    async fn connect(&self) -> io::Result<Option<(Reader, Writer)>> {
        let no_answer = |_| io::Error::new(io::ErrorKind::TimedOut, "nobody answers there");
        let stream = timeout(CONNECT, TcpStream::connect(&*self.address)).await.map_err(no_answer)??;
        let (mut read, mut write) = self.security.connected(stream, &self.address).await?;
        let nonce = nonce()?;
        let hello = Hello { instance: self.me.clone(), nonce: nonce.clone(), proof: None };
        put(&mut write, &hello).await?;
        let answer: Hello = get(&mut read).await?;
        let secret = self.security.secret()?;
        let said = |role: &str| format!("navgate peer {role}\n{nonce}\n{}\n{}\n{}", answer.nonce, self.me, answer.instance);
        let theirs = answer.proof.as_deref().and_then(|proof| self.security.who_proves(&said("holder"), proof));
        let Some(theirs) = theirs else {
            let what = "it does not know this cluster's secret; set security.secrets to the same on all instances";
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, what));
        };
        if answer.instance != self.to {
            return Ok(None);
        }
        put(&mut write, &Proof { proof: prove(secret, &said("home")) }).await?;
        let reader = Reader::new(read, derive(theirs, &said("holder key")));
        let writer = Writer::new(write, derive(secret, &said("home key")));
        Ok(Some((reader, writer)))
    }

    /// Until it breaks (an error), or there was nothing to say for long.
    async fn talk(&mut self, reader: Reader, mut writer: Writer, receiver: &mut UnboundedReceiver<Message>) -> io::Result<()> {
        let (ended, mut end) = oneshot::channel();
        let (from, inputs) = (self.to.clone(), self.inputs.clone());
        let listening = tokio::spawn(async move {
            let hearing = hear(reader, ANSWER, |message: Message| {
                if !matches!(message, Message::Pong) {
                    let _ = inputs.send(Input::Peer(from.clone(), message));
                }
            });
            let _ = ended.send(hearing.await);
        });
        let mut ping = tokio::time::interval(PING);
        let mut last_said = Instant::now();
        let result = loop {
            let message = tokio::select! {
                message = receiver.recv() => {
                    let Some(message) = message else { break Ok(()) };
                    self.waiting.fetch_sub(1, Ordering::Relaxed);
                    last_said = Instant::now();
                    message
                }
                heard = &mut end => break Err(heard.unwrap_or_else(|_| io::ErrorKind::ConnectionAborted.into())),
                _ = ping.tick() => {
                    if last_said.elapsed() >= IDLE && receiver.is_empty() {
                        receiver.close();
                        break Ok(());
                    }
                    Message::Ping
                }
            };
            match timeout(ANSWER, writer.send(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => break Err(e),
                Err(_) => break Err(io::Error::new(io::ErrorKind::TimedOut, "it does not read what is sent to it")),
            }
        };
        listening.abort();
        if let Err(e) = &result {
            debug!(instance = %self.to, "the connection to a peer has ended: {e}");
        }
        result
    }
}
