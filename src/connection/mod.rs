//! One task owns one socket: it reads, lets the session decide, hands records to the store, acknowledges what is durable,
//! and keeps the deadlines. Nothing here waits for anything but its own socket, its own receipts and room in the store.
//!
//! An idle connection holds no buffer: bytes are read into a buffer of the thread, and only what is incomplete, unsent or
//! not yet taken by the store is kept.

mod capture;
mod detect;
mod downward;
mod intake;
mod told;

use std::cell::RefCell;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use protocols::identity::SessionId;
use protocols::session::{Delivery, Outgoing, Session, Turn};
use protocols::time::Now;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::Sleep;
use tracing::{debug, info};

use crate::capture::{Direction, Tap};
use crate::clock;
use crate::config::ProxyMode;
use crate::gateway::{Gateway, Port};
use crate::ledger::Dropped;
use crate::proxy::{self, Header, Parsed};
use crate::receipts::{Ended, Window};
use crate::sessions::{CLONE_WAIT, Connected, Control, Order};
use downward::Downward;
use intake::{Backlog, RejectLimit};
use told::LastPlace;

/// Bytes taken from a socket at once: a window of [`protocols::session::WINDOW`] usual frames. One such buffer a thread.
const READ_BYTES: usize = 16 * 1024;

/// Why a connection ended. One log line and one count each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The device closed it.
    Device,
    /// The network broke it.
    Error,
    /// A newer connection of the same device.
    Replaced,
    /// This instance is being drained.
    Drain,
    /// The device said good-bye.
    Goodbye,
    /// The session refuses to go on.
    Refused,
    /// The device may not connect.
    UnknownDevice,
    /// Its identity is fought over.
    Clone,
    /// Silent for too long.
    Idle,
    /// Did not say who it is in time.
    Unidentified,
    /// Did not read our bytes in time.
    Slow,
    /// Too much that cannot be decoded before any sign-on.
    Garbage,
    /// Its first bytes show none of the protocols that are served there.
    Unrecognised,
    /// No PROXY header, a bad one, or one that is not trusted.
    Proxy,
}

impl End {
    /// Every reason, in declaration order.
    pub(crate) const ALL: [Self; 14] = [
        Self::Device,
        Self::Error,
        Self::Replaced,
        Self::Drain,
        Self::Goodbye,
        Self::Refused,
        Self::UnknownDevice,
        Self::Clone,
        Self::Idle,
        Self::Unidentified,
        Self::Slow,
        Self::Garbage,
        Self::Unrecognised,
        Self::Proxy,
    ];

    /// The metric label.
    pub(crate) const fn label(self) -> &'static str {
        match self {
            Self::Device => "device",
            Self::Error => "error",
            Self::Replaced => "replaced",
            Self::Drain => "drain",
            Self::Goodbye => "goodbye",
            Self::Refused => "refused",
            Self::UnknownDevice => "unknown_device",
            Self::Clone => "clone",
            Self::Idle => "idle",
            Self::Unidentified => "unidentified",
            Self::Slow => "slow",
            Self::Garbage => "garbage",
            Self::Unrecognised => "unrecognised",
            Self::Proxy => "proxy",
        }
    }
}

/// Buffers of a thread, lent to whichever connection it runs.
struct Scratch {
    read: Box<[u8]>,
    turn: Turn,
    value: Vec<u8>,
    out: Outgoing,
}

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch {
        read: vec![0; READ_BYTES].into(),
        turn: Turn::default(),
        value: Vec::new(),
        out: Outgoing::default(),
    });
}

/// Where in its life a connection is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// The PROXY header comes first.
    Proxy,
    /// The first bytes show what is spoken.
    Detect,
    /// Frames and acknowledgements.
    Open,
    /// No more frames are taken; what is in flight is waited for until then.
    Settling(End, Duration),
    /// Our FIN is out; whatever comes is thrown away until theirs, or until then.
    Discarding(End, Duration),
}

/// One connection.
pub(crate) struct Connection {
    gateway: Arc<Gateway>,
    port: Arc<Port>,
    stream: TcpStream,
    /// The device's own address, as far as known.
    peer: SocketAddr,
    id: SessionId,
    /// See [`detect`] for what stands here before the protocol is known.
    session: Box<dyn Session>,
    control: Arc<Control>,
    connected: Option<Arc<Connected>>,
    stage: Stage,
    /// Received and not consumed.
    rest: Vec<u8>,
    /// Whether `rest` may hold whole frames, for which there was no room.
    paused: bool,
    /// When the device closed its side.
    eof: Option<Duration>,
    finished: bool,
    window: Window,
    backlog: Option<Box<Backlog>>,
    downward: Option<Box<Downward>>,
    place: Option<LastPlace>,
    /// There only while somebody captures.
    tap: Option<Box<Tap>>,
    rejects: RejectLimit,
    /// What its bytes look like, if they were not recognised.
    guess: Option<&'static str>,
    /// Unsent bytes.
    outbox: Vec<u8>,
    outbox_since: Duration,
    /// A frame whose acknowledgement is timed: how many are before it, and when it came.
    timed: Option<(usize, Duration)>,
    accepted: Duration,
    received: Duration,
    /// Bytes of `rest` that do not show the protocol, and when the first of them came.
    looked: Option<(usize, Duration)>,
    discarded: bool,
    sleep: Pin<Box<Sleep>>,
}

/// Serves it to its end. An `async` block would hold the connection twice, which is half a KiB for each that is idle.
impl Future for Connection {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let end = ready!(self.serve(cx));
        self.wind_up(end);
        Poll::Ready(())
    }
}

impl Connection {
    /// Take over an accepted socket.
    pub(crate) fn new(gateway: Arc<Gateway>, port: Arc<Port>, stream: TcpStream, peer: SocketAddr, id: SessionId) -> Self {
        debug!(session = %id, %peer, protocol = port.label(), "connected");
        let session = detect::open(&port, id);
        let control = Arc::new(Control::default());
        gateway.sessions.opened(id, &control);
        let now = clock::uptime();
        let stage = if port.proxy == ProxyMode::Off { detect::first_stage(&port) } else { Stage::Proxy };
        let first = now + gateway.limits.proxy_header.min(gateway.limits.identify);
        Self {
            stream,
            peer,
            id,
            session,
            control,
            connected: None,
            stage,
            rest: Vec::new(),
            paused: false,
            eof: None,
            finished: false,
            window: Window::default(),
            backlog: None,
            downward: None,
            place: None,
            tap: None,
            rejects: RejectLimit::default(),
            guess: None,
            outbox: Vec::new(),
            outbox_since: now,
            timed: None,
            accepted: now,
            received: now,
            looked: None,
            discarded: false,
            sleep: Box::pin(tokio::time::sleep_until(clock::instant(first).into())),
            gateway,
            port,
        }
    }

    fn wind_up(&mut self, end: End) {
        self.finish(clock::now());
        self.abandon_input();
        self.drop_backlog();
        self.window.abandon(&self.gateway.receipts);
        let device = self.connected.as_ref().and_then(|_| self.session.device_id()).cloned();
        self.return_errands(device.as_ref());
        self.gateway.sessions.closed(self.id, device.as_ref());
        self.gateway.telemetry.connection_ended(end);
        match device {
            Some(device) => {
                info!(%device, session = %self.id, peer = %self.peer, protocol = self.port.label(), reason = end.label(), "signed off");
            }
            None => {
                debug!(session = %self.id, peer = %self.peer, protocol = self.port.label(), reason = end.label(), "closed")
            }
        }
    }

    fn serve(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        self.control.register(cx.waker());
        loop {
            let now = clock::now();
            let mut progress = self.collect(cx, now);
            progress |= self.refill(cx, now);
            progress |= self.take_errands(now);
            match self.poll_send(cx) {
                Poll::Ready(Err(e)) => return Poll::Ready(self.broken(&e)),
                Poll::Ready(Ok(sent)) => progress |= sent,
                Poll::Pending => {}
            }
            progress |= self.poll_downward(cx, now);
            self.obey();
            if let Poll::Ready(end) = self.poll_stage(cx, now) {
                return Poll::Ready(end);
            }
            match self.poll_receive(cx, now) {
                Poll::Ready(Err(e)) => return Poll::Ready(self.broken(&e)),
                Poll::Ready(Ok(())) => progress = true,
                Poll::Pending => {}
            }
            if self.stage == Stage::Detect && self.looked.is_some() && now.uptime >= self.undetected_until() {
                self.decide(now);
                progress = true;
            }
            if let Some(due) = self.overdue(now) {
                self.leave(due, now);
                progress = true;
            }
            if !progress && self.rearm(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    /// Acknowledge the longest stored prefix.
    fn collect(&mut self, cx: &mut Context<'_>, now: Now) -> bool {
        if self.window.is_empty() {
            return false;
        }
        self.window.register(&self.gateway.receipts, cx.waker());
        SCRATCH.with_borrow_mut(|scratch| self.acknowledge(now, &mut scratch.out))
    }

    fn acknowledge(&mut self, now: Now, out: &mut Outgoing) -> bool {
        out.clear();
        let mut released = 0;
        let mut written = 0;
        while let Some(ended) = self.window.pop(&self.gateway.receipts) {
            let delivery = match ended {
                Ended::Stored => Some(Delivery::Stored),
                Ended::Refused => Some(Delivery::Refused),
                Ended::Dropped => None,
            };
            let before = out.bytes.len();
            self.session.release(delivery, now, out);
            released += 1;
            written += i64::from(out.bytes.len() > before);
        }
        if released == 0 {
            return false;
        }
        self.time_acknowledgements(released, now);
        if written > 0 {
            self.gateway.ledger.count(self.port.index, |c| c.acknowledged += written);
        }
        self.send(&out.bytes, now);
        true
    }

    fn time_acknowledgements(&mut self, released: usize, now: Now) {
        if let Some((before, since)) = self.timed {
            self.timed = before.checked_sub(released).map(|before| (before, since));
            if self.timed.is_none() {
                self.gateway.telemetry.acknowledged(now.uptime.saturating_sub(since));
            }
        }
    }

    /// Write at once what the socket takes; keep the rest.
    fn send(&mut self, bytes: &[u8], now: Now) {
        if bytes.is_empty() {
            return;
        }
        self.tapped(Direction::Down, bytes, now);
        let mut sent = 0;
        if self.outbox.is_empty() {
            // an error shows again at the next read or write, which handle it
            sent = self.stream.try_write(bytes).unwrap_or(0);
            self.outbox_since = now.uptime;
        }
        self.outbox.extend_from_slice(&bytes[sent..]);
    }

    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut sent = 0;
        while sent < self.outbox.len() {
            match Pin::new(&mut self.stream).poll_write(cx, &self.outbox[sent..]) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                Poll::Ready(Ok(n)) => sent += n,
                Poll::Ready(Err(e)) => return Poll::Ready(Err(e)),
                Poll::Pending => break,
            }
        }
        if sent == 0 {
            return Poll::Ready(Ok(false));
        }
        self.outbox.drain(..sent);
        self.outbox_since = clock::uptime();
        if self.outbox.is_empty() {
            self.outbox = Vec::new();
        }
        Poll::Ready(Ok(true))
    }

    /// Read and let the session work, if there is room for what it may say.
    fn poll_receive(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<io::Result<()>> {
        let discarding = matches!(self.stage, Stage::Discarding(..));
        let reading = matches!(self.stage, Stage::Proxy | Stage::Detect | Stage::Open)
            && !self.paused
            && self.outbox.len() < self.gateway.limits.outbox_bytes;
        if self.eof.is_some() || !(reading || discarding) {
            return Poll::Pending;
        }
        SCRATCH.with_borrow_mut(|scratch| {
            let mut read = std::mem::take(&mut scratch.read);
            let mut buffer = ReadBuf::new(&mut read);
            let polled = Pin::new(&mut self.stream).poll_read(cx, &mut buffer);
            let bytes = buffer.filled().len();
            let result = match polled {
                Poll::Ready(Ok(())) if discarding => {
                    self.discarded |= bytes > 0;
                    self.eof = (bytes == 0).then_some(now.uptime);
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Ok(())) => {
                    self.on_bytes(&read[..bytes], now, scratch);
                    Poll::Ready(Ok(()))
                }
                Poll::Ready(Err(e)) => Poll::Ready(Err(e)),
                Poll::Pending => Poll::Pending,
            };
            scratch.read = read;
            result
        })
    }

    fn on_bytes(&mut self, bytes: &[u8], now: Now, scratch: &mut Scratch) {
        if bytes.is_empty() {
            self.eof = Some(now.uptime);
        } else {
            if !matches!(self.stage, Stage::Proxy | Stage::Detect) {
                self.tapped(Direction::Up, bytes, now);
            }
            self.received = now.uptime;
            if let Some(connected) = &self.connected {
                connected.last_received.store(u64::try_from(now.utc.as_millis()).unwrap_or(0), Ordering::Relaxed);
            }
        }
        if self.rest.is_empty() {
            let used = self.take(bytes, now, scratch);
            self.rest = bytes[used..].to_vec();
        } else {
            let mut rest = std::mem::take(&mut self.rest);
            rest.extend_from_slice(bytes);
            let used = self.take(&rest, now, scratch);
            rest.drain(..used);
            if !rest.is_empty() {
                self.rest = rest;
            }
        }
    }

    /// Consume what can be consumed; returns how much.
    fn take(&mut self, input: &[u8], now: Now, scratch: &mut Scratch) -> usize {
        let mut used = 0;
        if self.stage == Stage::Proxy {
            used = self.take_proxy_header(input, now);
            if self.stage == Stage::Open && used < input.len() {
                self.tapped(Direction::Up, &input[used..], now);
            }
        }
        if self.stage == Stage::Detect {
            used += self.detect(&input[used..], false, now, scratch);
        }
        if self.stage == Stage::Open {
            used += self.process(&input[used..], now, scratch);
        }
        used
    }

    fn take_proxy_header(&mut self, input: &[u8], now: Now) -> usize {
        let trusted = self.port.trusted.iter().any(|net| net.contains(self.peer.ip()));
        match proxy::parse(input) {
            Parsed::Header { used, header, .. } if trusted => {
                if let Header::Proxied { src, .. } = header {
                    self.peer = src;
                }
                self.stage = detect::first_stage(&self.port);
                used
            }
            Parsed::None if self.port.proxy == ProxyMode::Optional => {
                self.stage = detect::first_stage(&self.port);
                0
            }
            Parsed::More => 0,
            Parsed::Header { .. } => self.refuse_proxy("a PROXY header from an address that is not in `trusted`", now),
            Parsed::None => self.refuse_proxy("no PROXY header, and this listener requires one", now),
            Parsed::Bad(reason) => self.refuse_proxy(reason, now),
        }
    }

    fn refuse_proxy(&mut self, reason: &str, now: Now) -> usize {
        info!(peer = %self.peer, protocol = self.port.label(), "connection refused: {reason}");
        self.leave(End::Proxy, now);
        0
    }

    /// A takeover or a drain asked for an end.
    fn obey(&mut self) {
        if let (Stage::Proxy | Stage::Detect | Stage::Open, Some(order)) = (self.stage, self.control.order()) {
            let end = match order {
                Order::Replaced => End::Replaced,
                Order::Drain => End::Drain,
            };
            self.leave(end, clock::now());
        }
    }

    /// Take no more frames; settle what is in flight, then close.
    fn leave(&mut self, end: End, now: Now) {
        let limit = match end {
            End::Clone => CLONE_WAIT,
            _ => self.gateway.limits.close,
        };
        if matches!(self.stage, Stage::Proxy | Stage::Detect | Stage::Open) {
            let device = self.connected.as_ref().and_then(|_| self.session.device_id()).cloned();
            self.return_errands(device.as_ref());
        }
        self.stage = match self.stage {
            Stage::Proxy | Stage::Detect | Stage::Open => Stage::Settling(end, now.uptime + limit),
            Stage::Settling(first, _) | Stage::Discarding(first, _) => Stage::Discarding(first, now.uptime),
        };
    }

    /// Move on through the end of a connection.
    fn poll_stage(&mut self, cx: &mut Context<'_>, now: Now) -> Poll<End> {
        if self.stage == Stage::Detect && self.eof.is_some() {
            self.decide(now);
        }
        if self.stage == Stage::Open && self.eof.is_some() && !self.paused && self.backlog.is_none() {
            self.leave(End::Device, now);
        } else if self.eof.is_some() && self.stage == Stage::Proxy {
            return Poll::Ready(End::Device);
        }
        if let Stage::Settling(end, until) = self.stage {
            self.finish(now);
            let settled = self.window.is_empty() && self.backlog.is_none() && self.outbox.is_empty() && end != End::Clone;
            if settled || now.uptime >= until {
                self.abandon_input();
                let _ = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
                self.stage = Stage::Discarding(end, now.uptime + self.gateway.limits.close);
            }
        }
        match self.stage {
            Stage::Discarding(end, until) if self.eof.is_some() || now.uptime >= until => Poll::Ready(end),
            _ => Poll::Pending,
        }
    }

    fn broken(&self, error: &io::Error) -> End {
        debug!(session = %self.id, peer = %self.peer, "connection broken: {error}");
        match self.stage {
            Stage::Settling(end, _) | Stage::Discarding(end, _) => end,
            Stage::Proxy | Stage::Detect | Stage::Open if self.eof.is_some() => End::Device,
            Stage::Proxy | Stage::Detect | Stage::Open => End::Error,
        }
    }

    /// Whether we hold back reading: then the device's silence is our doing.
    fn holding(&self) -> bool {
        self.paused || self.backlog.is_some() || self.outbox.len() >= self.gateway.limits.outbox_bytes
    }

    /// Which deadline has passed.
    fn overdue(&mut self, now: Now) -> Option<End> {
        if self.holding() {
            self.received = now.uptime;
        }
        let passed = |since: Duration, limit: Duration| now.uptime >= since + limit;
        let limits = &self.gateway.limits;
        match self.stage {
            Stage::Proxy if passed(self.accepted, limits.proxy_header) => Some(End::Proxy),
            Stage::Detect | Stage::Open
                if self.connected.is_none() && !self.holding() && passed(self.accepted, limits.identify) =>
            {
                Some(End::Unidentified)
            }
            Stage::Open if self.eof.is_some_and(|at| passed(at, limits.close)) => Some(End::Device),
            Stage::Open if passed(self.received, self.port.idle) => Some(End::Idle),
            Stage::Open if !self.outbox.is_empty() && passed(self.outbox_since, limits.write) => Some(End::Slow),
            _ => None,
        }
    }

    /// The next moment at which something is due.
    fn next_due(&self) -> Duration {
        let limits = &self.gateway.limits;
        let due = match self.stage {
            Stage::Proxy => self.accepted + limits.proxy_header,
            Stage::Detect => return self.undetected_until(),
            Stage::Settling(_, until) | Stage::Discarding(_, until) => return until,
            Stage::Open if self.connected.is_none() && !self.holding() => self.accepted + limits.identify,
            Stage::Open => self.received + self.port.idle,
        };
        let slow = (!self.outbox.is_empty()).then(|| self.outbox_since + limits.write);
        let gone = self.eof.map(|at| at + limits.close);
        let session = if self.stage == Stage::Open && !self.holding() { self.session.deadline() } else { None };
        let downward = self.downward_due();
        [slow, gone, session, downward].into_iter().flatten().fold(due, Duration::min)
    }

    /// Set the timer for what is due next; ready if that is now. A timer that is set too early is left to fire: setting it
    /// anew for each frame would cost more.
    fn rearm(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let due: tokio::time::Instant = clock::instant(self.next_due()).into();
        if due < self.sleep.deadline() || self.sleep.is_elapsed() {
            self.sleep.as_mut().reset(due);
        }
        ready!(self.sleep.as_mut().poll(cx));
        let now = clock::now();
        if self.stage == Stage::Open && self.session.deadline().is_some_and(|at| at <= now.uptime) && !self.holding() {
            SCRATCH.with_borrow_mut(|scratch| self.reconsider(now, scratch));
        }
        Poll::Ready(())
    }

    /// What was received and will not be looked at counts as one dropped frame.
    fn abandon_input(&mut self) {
        let unread = std::mem::take(&mut self.rest);
        if (!unread.is_empty() && self.paused) || std::mem::take(&mut self.discarded) {
            self.gateway.ledger.count(self.port.index, |c| {
                c.received += 1;
                c.dropped[Dropped::Closing as usize] += 1;
            });
        }
        self.paused = false;
    }
}
