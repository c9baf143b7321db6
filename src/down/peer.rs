//! Instances among themselves: a home hands errands over, asks, and hears reports, on a connection that it keeps open.
//!
//! Frames are a length, a seal and JSON. Both sides prove that they know a secret of the cluster before anything else; each frame
//! is sealed with a key of that connection and its number on it, so nothing can be put in, left out or said twice. A home's
//! frames carry its monotonic time: the least difference to ours that was ever seen tells how far the clocks are apart, so an
//! errand's deadline holds however long it was on its way.

use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use hmac::{Hmac, KeyInit, Mac};
use protocols::command::{Command, CommandId};
use protocols::identity::DeviceId;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::holder::Known;
use super::hub::Input;
use super::owner::{Errand, HomeId, InstanceId, Report, Undelivered};
use super::view::View;
use crate::clock;

/// To connect: instances stand in one data centre.
const CONNECT: Duration = Duration::from_millis(200);
/// For any answer; then the instance counts as out of reach.
pub(super) const ANSWER: Duration = Duration::from_secs(1);
/// Between two pings.
const PING: Duration = Duration::from_millis(300);
/// Between two tries to connect.
const RETRY: Duration = Duration::from_millis(250);
/// A link without a word of ours for so long is given up.
const IDLE: Duration = Duration::from_secs(600);
/// Largest frame: the largest command that is read, with what JSON adds to it.
const FRAME: usize = 1024 * 1024;
/// Messages that wait for an instance; beyond that the link counts as broken, and commands stay at their home.
const QUEUE: usize = 10_000;
/// Connections of other instances at once.
const CONNECTIONS: usize = 256;
/// Bytes of a seal.
const SEAL: usize = 16;

/// What instances say to each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Message {
    /// A home hands an errand over.
    Hand(Box<Handed>),
    /// It was taken, or not.
    Handed {
        /// Which.
        id: CommandId,
        /// Why not.
        refused: Option<Undelivered>,
    },
    /// What is known of these?
    Ask {
        /// Which.
        ids: Vec<CommandId>,
        /// Comes back with the answer.
        number: u64,
    },
    /// This.
    Known {
        /// Of each.
        known: Vec<(CommandId, Known)>,
        /// That of the question.
        number: u64,
    },
    /// A command is so far, or over.
    Report(Report),
    /// Its end was heard.
    Acknowledge(CommandId),
    /// What is known of this device? For a person who asks.
    Look {
        /// Which.
        device: DeviceId,
        /// Comes back with the answer.
        number: u64,
    },
    /// This.
    Seen {
        /// That of the question.
        number: u64,
        /// What is known.
        view: Box<View>,
    },
    /// Are you there?
    Ping,
    /// Yes.
    Pong,
}

/// An errand on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Handed {
    command: Command,
    home: HomeId,
    /// On the sender's monotonic clock; when it arrives, on ours.
    deadline: Duration,
    warnings: Vec<String>,
    attempt: u32,
}

impl From<Errand> for Box<Handed> {
    fn from(errand: Errand) -> Self {
        let Errand { command, home, deadline, warnings, attempt } = errand;
        Self::new(Handed { command: Arc::unwrap_or_clone(command), home, deadline, warnings, attempt })
    }
}

impl From<Box<Handed>> for Errand {
    fn from(handed: Box<Handed>) -> Self {
        let Handed { command, home, deadline, warnings, attempt } = *handed;
        Self { command: Arc::new(command), home, deadline, warnings, attempt }
    }
}

#[derive(Debug, Serialize, Deserialize)]
struct Hello {
    instance: InstanceId,
    nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    proof: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Proof {
    proof: String,
}

#[derive(Serialize, Deserialize)]
struct Timed<T> {
    /// The sender's monotonic clock.
    at: Duration,
    message: T,
}

/// The connections of this instance to others.
#[derive(Debug)]
pub(crate) struct Peers {
    me: InstanceId,
    secrets: Arc<[Vec<u8>]>,
    inputs: UnboundedSender<Input>,
    links: HashMap<InstanceId, (UnboundedSender<Message>, Arc<std::sync::atomic::AtomicUsize>)>,
    stop: CancellationToken,
}

impl Peers {
    /// Listen to others.
    pub(crate) fn start(
        listener: TcpListener,
        me: InstanceId,
        secrets: Vec<Vec<u8>>,
        inputs: UnboundedSender<Input>,
        stop: CancellationToken,
    ) -> Self {
        let secrets: Arc<[Vec<u8>]> = secrets.into();
        tokio::spawn(listen(listener, me.clone(), Arc::clone(&secrets), inputs.clone(), stop.clone()));
        Self { me, secrets, inputs, links: HashMap::new(), stop }
    }

    /// Say something to an instance, connecting to it if need be.
    pub(crate) fn send(&mut self, to: &InstanceId, address: &Arc<str>, message: Message) {
        use std::sync::atomic::Ordering::Relaxed;
        self.links.retain(|_, (link, _)| !link.is_closed());
        let (link, waiting) = self.links.entry(to.clone()).or_insert_with(|| {
            let (sender, receiver) = unbounded_channel();
            let waiting = Arc::new(std::sync::atomic::AtomicUsize::new(0));
            let link = Link {
                me: self.me.clone(),
                to: to.clone(),
                address: Arc::clone(address),
                secrets: Arc::clone(&self.secrets),
                inputs: self.inputs.clone(),
                waiting: Arc::clone(&waiting),
                up: None,
            };
            tokio::spawn(link.run(receiver, self.stop.clone()));
            (sender, waiting)
        });
        if waiting.fetch_add(1, Relaxed) >= QUEUE {
            waiting.fetch_sub(1, Relaxed);
            let _ = self.inputs.send(Input::PeerDown(to.clone()));
        } else {
            let _ = link.send(message);
        }
    }
}

/// The home's side of a connection.
struct Link {
    me: InstanceId,
    to: InstanceId,
    address: Arc<str>,
    secrets: Arc<[Vec<u8>]>,
    inputs: UnboundedSender<Input>,
    waiting: Arc<std::sync::atomic::AtomicUsize>,
    /// What was told last.
    up: Option<bool>,
}

impl Link {
    async fn run(mut self, mut receiver: UnboundedReceiver<Message>, stop: CancellationToken) {
        loop {
            let connected = tokio::select! {
                () = stop.cancelled() => return,
                connected = timeout(CONNECT + ANSWER, self.connect()) => connected,
            };
            match connected {
                Ok(Ok(Some((reader, writer)))) => {
                    self.tell(true);
                    let ended = tokio::select! {
                        () = stop.cancelled() => return,
                        ended = self.talk(reader, writer, &mut receiver) => ended,
                    };
                    if ended {
                        return;
                    }
                }
                Ok(Ok(None)) => {
                    let _ = self.inputs.send(Input::PeerLost(self.to.clone()));
                    return;
                }
                Ok(Err(e)) => debug!(instance = %self.to, address = &*self.address, "no connection to a peer: {e}"),
                Err(_) => debug!(instance = %self.to, address = &*self.address, "no answer from a peer"),
            }
            self.tell(false);
            // what waits is asked about anew on the next connection
            while receiver.try_recv().is_ok() {
                self.waiting.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
            }
            if receiver.is_closed() {
                return;
            }
            sleep(RETRY).await;
        }
    }

    fn tell(&mut self, up: bool) {
        if self.up != Some(up) {
            self.up = Some(up);
            info!(instance = %self.to, address = &*self.address, up, "peer");
            let input = if up { Input::PeerUp(self.to.clone()) } else { Input::PeerDown(self.to.clone()) };
            let _ = self.inputs.send(input);
        }
    }

    /// `None`: another life of the instance answers there.
    async fn connect(&self) -> io::Result<Option<(Reader, Writer)>> {
        let stream = timeout(CONNECT, TcpStream::connect(&*self.address)).await.map_err(|_| io::ErrorKind::TimedOut)??;
        stream.set_nodelay(true)?;
        let (mut read, mut write) = stream.into_split();
        let nonce = nonce()?;
        let hello = Hello { instance: self.me.clone(), nonce: nonce.clone(), proof: None };
        put(&mut write, &hello).await?;
        let answer: Hello = get(&mut read).await?;
        let secret = self.secrets.first().ok_or(io::ErrorKind::PermissionDenied)?;
        let said = |role: &str| format!("navgate peer {role}\n{nonce}\n{}\n{}\n{}", answer.nonce, self.me, answer.instance);
        let theirs = self.secrets.iter().find(|s| answer.proof.as_deref().is_some_and(|p| proves(s, &said("holder"), p)));
        let Some(theirs) = theirs else {
            warn!(
                address = &*self.address,
                "a peer does not know this cluster's secret; set security.secrets to the same on all instances"
            );
            return Err(io::ErrorKind::PermissionDenied.into());
        };
        if answer.instance != self.to {
            return Ok(None);
        }
        put(&mut write, &Proof { proof: prove(secret, &said("home")) }).await?;
        let reader = Reader { read, key: derive(theirs, &said("holder key")), count: 0 };
        let writer = Writer { write, key: derive(secret, &said("home key")), count: 0 };
        Ok(Some((reader, writer)))
    }

    /// Until it breaks (false), or there was nothing to say for long (true).
    async fn talk(&mut self, reader: Reader, mut writer: Writer, receiver: &mut UnboundedReceiver<Message>) -> bool {
        let (heard, mut hearing) = unbounded_channel();
        let (from, inputs) = (self.to.clone(), self.inputs.clone());
        let listening = tokio::spawn(hear(reader, move |message: Message| {
            let _ = heard.send(());
            if !matches!(message, Message::Pong) {
                let _ = inputs.send(Input::Peer(from.clone(), message));
            }
        }));
        let mut ping = tokio::time::interval(PING);
        let (mut last_heard, mut last_said) = (Instant::now(), Instant::now());
        let ended = loop {
            let message = tokio::select! {
                message = receiver.recv() => match message {
                    Some(message) => {
                        self.waiting.fetch_sub(1, std::sync::atomic::Ordering::Relaxed);
                        last_said = Instant::now();
                        message
                    }
                    None => break true,
                },
                word = hearing.recv() => match word {
                    Some(()) => { last_heard = Instant::now(); continue }
                    None => break false,
                },
                _ = ping.tick() => {
                    if last_heard.elapsed() >= ANSWER {
                        break false;
                    }
                    if last_said.elapsed() >= IDLE && receiver.is_empty() {
                        receiver.close();
                        break true;
                    }
                    Message::Ping
                }
            };
            match timeout(ANSWER, writer.send(&message)).await {
                Ok(Ok(())) => {}
                Ok(Err(_)) | Err(_) => break false,
            }
        };
        listening.abort();
        ended
    }
}

async fn listen(
    listener: TcpListener,
    me: InstanceId,
    secrets: Arc<[Vec<u8>]>,
    inputs: UnboundedSender<Input>,
    stop: CancellationToken,
) {
    let permits = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, peer)) = accepted else {
            sleep(RETRY).await; // no descriptors left
            continue;
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else { continue };
        let (me, secrets, inputs, stop) = (me.clone(), Arc::clone(&secrets), inputs.clone(), stop.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                served = serve(stream, peer, me, &secrets, inputs) => if let Err(e) = served {
                    debug!(%peer, "a peer's connection has ended: {e}");
                },
            }
            drop(permit);
        });
    }
}

/// The holder's side of a connection.
async fn serve(
    stream: TcpStream,
    peer: SocketAddr,
    me: InstanceId,
    secrets: &[Vec<u8>],
    inputs: UnboundedSender<Input>,
) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut read, mut write) = stream.into_split();
    let secret = secrets.first().ok_or(io::ErrorKind::PermissionDenied)?;
    let hello: Hello = timeout(ANSWER, get(&mut read)).await??;
    let nonce = nonce()?;
    let said = |role: &str| format!("navgate peer {role}\n{}\n{nonce}\n{}\n{me}", hello.nonce, hello.instance);
    put(&mut write, &Hello { instance: me.clone(), nonce: nonce.clone(), proof: Some(prove(secret, &said("holder"))) }).await?;
    let answer: Proof = timeout(ANSWER, get(&mut read)).await??;
    let Some(theirs) = secrets.iter().find(|s| proves(s, &said("home"), &answer.proof)) else {
        warn!(%peer, "somebody who does not know this cluster's secret wants to be a peer");
        return Err(io::ErrorKind::PermissionDenied.into());
    };
    let reader = Reader { read, key: derive(theirs, &said("home key")), count: 0 };
    let mut writer = Writer { write, key: derive(secret, &said("holder key")), count: 0 };
    let (sender, mut receiver) = unbounded_channel();
    let _ = inputs.send(Input::HomeConnected(hello.instance.clone(), sender.clone()));
    let home = hello.instance;
    let (ended, mut end) = tokio::sync::oneshot::channel::<()>();
    let listening = tokio::spawn(async move {
        hear(reader, |message| {
            if matches!(message, Message::Ping) {
                let _ = sender.send(Message::Pong);
            } else {
                let _ = inputs.send(Input::Peer(home.clone(), message));
            }
        })
        .await;
        drop(ended);
    });
    let result = loop {
        let message = tokio::select! {
            message = receiver.recv() => message,
            _ = &mut end => break Ok(()),
        };
        let Some(message) = message else { break Ok(()) };
        if receiver.len() > QUEUE {
            break Err(io::Error::from(io::ErrorKind::TimedOut)); // it does not listen
        }
        match timeout(ANSWER, writer.send(&message)).await {
            Ok(Ok(())) => {}
            Ok(Err(e)) => break Err(e),
            Err(_) => break Err(io::ErrorKind::TimedOut.into()),
        }
    };
    listening.abort();
    result
}

/// Hear messages until the connection ends.
async fn hear(mut reader: Reader, mut each: impl FnMut(Message)) {
    let mut ahead: Option<i128> = None;
    loop {
        let Timed { at, message } = match reader.receive::<Timed<Message>>().await {
            Ok(timed) => timed,
            Err(e) => {
                debug!("a peer's connection has ended: {e}");
                return;
            }
        };
        // how far our clock is ahead of theirs, and the time that this message took: the least is the nearest to the truth
        let difference = nanos(clock::uptime()) - nanos(at);
        let least = ahead.map_or(difference, |least| least.min(difference));
        ahead = Some(least);
        each(match message {
            Message::Hand(mut handed) => {
                let ours = nanos(handed.deadline) + least;
                handed.deadline = Duration::from_nanos(u64::try_from(ours.max(0)).unwrap_or(u64::MAX));
                Message::Hand(handed)
            }
            other => other,
        });
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

fn nonce() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(protocols::cursor::hex(&bytes))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // a key of any length is a key
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

fn derive(secret: &[u8], what: &str) -> [u8; 32] {
    mac(secret, &[what.as_bytes()])
}

fn prove(secret: &[u8], what: &str) -> String {
    protocols::cursor::hex(&derive(secret, what))
}

fn proves(secret: &[u8], what: &str, proof: &str) -> bool {
    same(prove(secret, what).as_bytes(), proof.as_bytes())
}

/// In time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Before there are keys: a length and JSON, small.
async fn put<T: Serialize>(write: &mut OwnedWriteHalf, value: &T) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let mut frame = u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    frame.extend(json);
    write.write_all(&frame).await
}

async fn get<T: for<'de> Deserialize<'de>>(read: &mut OwnedReadHalf) -> io::Result<T> {
    const SMALL: u32 = 4096;
    let length = read.read_u32().await?;
    if length > SMALL {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut json = vec![0; length as usize];
    read.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

struct Reader {
    read: OwnedReadHalf,
    key: [u8; 32],
    count: u64,
}

impl Reader {
    async fn receive<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<T> {
        let length = self.read.read_u32().await? as usize;
        if length > FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut seal = [0; SEAL];
        self.read.read_exact(&mut seal).await?;
        let mut json = vec![0; length];
        self.read.read_exact(&mut json).await?;
        let expected = mac(&self.key, &[&self.count.to_be_bytes(), &json]);
        self.count += 1;
        if !same(expected.get(..SEAL).unwrap_or_default(), &seal) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a frame's seal is wrong"));
        }
        Ok(serde_json::from_slice(&json)?)
    }
}

struct Writer {
    write: OwnedWriteHalf,
    key: [u8; 32],
    count: u64,
}

impl Writer {
    async fn send(&mut self, message: &Message) -> io::Result<()> {
        let json = serde_json::to_vec(&Timed { at: clock::uptime(), message })?;
        let seal = mac(&self.key, &[&self.count.to_be_bytes(), &json]);
        self.count += 1;
        let mut frame = u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
        frame.extend_from_slice(seal.get(..SEAL).unwrap_or_default());
        frame.extend(json);
        self.write.write_all(&frame).await
    }
}

#[cfg(test)]
mod tests {
    use super::super::owner::tests::errand;
    use super::*;

    fn instance(name: &str) -> InstanceId {
        InstanceId { gateway: name.into(), boot: 1 }
    }

    async fn pair(a: &[&str], b: &[&str]) -> (Peers, Arc<str>, UnboundedReceiver<Input>, UnboundedReceiver<Input>) {
        let bytes = |secrets: &[&str]| secrets.iter().map(|s| s.as_bytes().to_vec()).collect::<Vec<_>>();
        let ((of_a, inbox_a), (of_b, inbox_b)) = (unbounded_channel(), unbounded_channel());
        let bind = || TcpListener::bind("127.0.0.1:0");
        let (listener_a, listener_b) = (bind().await.unwrap(), bind().await.unwrap());
        let address: Arc<str> = listener_b.local_addr().unwrap().to_string().into();
        let peers = Peers::start(listener_a, instance("a"), bytes(a), of_a, CancellationToken::new());
        Peers::start(listener_b, instance("b"), bytes(b), of_b, CancellationToken::new());
        (peers, address, inbox_a, inbox_b)
    }

    #[tokio::test]
    async fn an_errand_arrives_and_its_report_comes_back() {
        let (mut a, address, mut inbox_a, mut inbox_b) = pair(&["new secret", "old secret"], &["old secret", "new secret"]).await;
        let sent = errand("c", "1", "text");
        a.send(&instance("b"), &address, Message::Hand(sent.clone().into()));
        let Some(Input::HomeConnected(home, connection)) = inbox_b.recv().await else { panic!() };
        assert_eq!(home, instance("a"));
        let Some(Input::Peer(from, Message::Hand(handed))) = inbox_b.recv().await else { panic!() };
        let got: Errand = handed.into();
        assert_eq!((&from, &got.command), (&home, &sent.command));
        // one process has one clock
        assert!(got.deadline.abs_diff(sent.deadline) < Duration::from_millis(500), "{:?}", got.deadline);
        connection.send(Message::Handed { id: got.command.id.clone(), refused: Some(Undelivered::Full) }).unwrap();
        assert!(matches!(inbox_a.recv().await, Some(Input::PeerUp(_))));
        let Some(Input::Peer(_, Message::Handed { id, refused })) = inbox_a.recv().await else { panic!() };
        assert_eq!((id, refused), (sent.command.id.clone(), Some(Undelivered::Full)));
    }

    #[tokio::test]
    async fn refuses_a_peer_with_another_secret_and_tells_another_life() {
        let (mut a, address, mut inbox_a, mut inbox_b) = pair(&["a secret of ours"], &["a secret of theirs"]).await;
        a.send(&instance("b"), &address, Message::Ping);
        assert!(matches!(inbox_a.recv().await, Some(Input::PeerDown(_))));
        assert!(inbox_b.try_recv().is_err());

        let (mut a, address, mut inbox_a, _inbox_b) = pair(&["a secret of ours"], &["a secret of ours"]).await;
        let gone = InstanceId { gateway: "b".into(), boot: 0 };
        a.send(&gone, &address, Message::Ping);
        assert!(matches!(inbox_a.recv().await, Some(Input::PeerLost(instance)) if instance == gone));
    }
}
