//! The fleet: connections that sign on, send as they are told, and count what is acknowledged. All on one thread, which
//! leaves the other cores to the gateway.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;

use protocols::time::Timestamp;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout, timeout_at};

use crate::device::{Answer, Device, Protocol, Sent, take_answers};
use crate::latency::Histogram;

/// Devices that sign on at the same time: far below the queue of a listening socket, so that none has to try again.
pub(crate) const SIGNING_ON: usize = 64;
/// For connecting and signing on, which may wait for a Kafka that has just been started.
const SIGN_ON_LIMIT: Duration = Duration::from_secs(30);
/// Unacknowledged positions of one connection of an open loop. What is due beyond them is sent later, and its latency
/// counted from when it was due all the same; this only bounds what a stuck gateway costs here.
const MOST_WAITING: usize = 4096;
/// Unwritten bytes of one connection beyond which nothing is added: some 200 positions.
const MOST_UNWRITTEN: usize = 16 * 1024;
/// Read at once: some 400 answers.
const READ_BYTES: usize = 4096;
/// Of a device's clock: the past, so that a run of any length stays out of the future, which a gateway may take for a fault.
const CLOCK_BEHIND_MS: i64 = 30 * 24 * 3600 * 1000;

/// How a connection sends.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Pace {
    /// So many unacknowledged positions at any time.
    Closed(usize),
    /// One each `every`, the first after `phase`, whatever is acknowledged.
    Open { every: Duration, phase: Duration },
    /// Not at all.
    Idle,
}

/// When a run measures.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    pub(crate) start: Instant,
    /// After the warm-up.
    pub(crate) from: Instant,
    /// From here on nothing more is due.
    pub(crate) to: Instant,
}

/// What all connections count together.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    /// Frames of any kind.
    pub(crate) frames: Cell<u64>,
    /// Positions that were due, sent, acknowledged.
    pub(crate) due: Cell<u64>,
    pub(crate) sent: Cell<u64>,
    pub(crate) acknowledged: Cell<u64>,
    /// Of positions due while it is measured: from due to acknowledged.
    pub(crate) latency: RefCell<Histogram>,
    /// And, in an open loop, from due to being written: how late this program itself was.
    pub(crate) lateness: RefCell<Histogram>,
}

fn add(to: &Cell<u64>, n: u64) {
    to.set(to.get() + n);
}

/// A connection of a device.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    protocol: Protocol,
    device: Device,
    received: Vec<u8>,
    unwritten: Vec<u8>,
    /// In the order in which they were sent, which is the one in which the gateway acknowledges.
    waiting: VecDeque<(Sent, Instant)>,
    tally: Rc<Tally>,
}

/// Connect so many devices and sign them on, some at a time.
///
/// # Errors
/// The first that fails.
pub(crate) async fn sign_on(
    protocol: Protocol,
    n: u32,
    at_once: usize,
    to: SocketAddr,
    tally: &Rc<Tally>,
) -> Result<Vec<Line>, String> {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let first = Timestamp::from_seconds(i64::try_from(now.as_secs()).unwrap_or(0)).plus_millis(-CLOCK_BEHIND_MS);
    let turns = Rc::new(Semaphore::new(at_once));
    let mut tasks = JoinSet::new();
    for n in 0..n {
        let device = Device::new(protocol, n, first)?;
        let (turns, tally) = (Rc::clone(&turns), Rc::clone(tally));
        tasks.spawn_local(async move {
            // never closed; and a permit is held to the end of this task
            let _turn = turns.acquire().await;
            let signed_on = timeout(SIGN_ON_LIMIT, Line::sign_on(protocol, device, to, tally)).await;
            signed_on
                .unwrap_or_else(|_| Err(format!("no answer within {} s", SIGN_ON_LIMIT.as_secs())))
                .map_err(|e| format!("sign-on: {e}"))
        });
    }
    let mut lines = Vec::new();
    while let Some(line) = tasks.join_next().await {
        lines.push(line.map_err(|e| e.to_string())??);
    }
    Ok(lines)
}

impl Line {
    async fn sign_on(protocol: Protocol, mut device: Device, to: SocketAddr, tally: Rc<Tally>) -> Result<Self, String> {
        let stream = TcpStream::connect(to).await.map_err(|e| e.to_string())?;
        stream.set_nodelay(true).map_err(|e| e.to_string())?;
        let mut hello = Vec::new();
        let sent = device.hello(&mut hello);
        let (received, unwritten, waiting) = (Vec::new(), hello, VecDeque::new());
        let mut line = Self { stream, protocol, device, received, unwritten, waiting, tally };
        if let Some(code) = line.ask(sent).await? {
            let sent = line.device.authenticate(&code, &mut line.unwritten);
            line.ask(sent).await?;
        }
        Ok(line)
    }

    /// Send what is unwritten, which is one message, and wait for its answer: the code in it, if there is one.
    async fn ask(&mut self, sent: Sent) -> Result<Option<Vec<u8>>, String> {
        add(&self.tally.frames, 1);
        while !self.unwritten.is_empty() {
            self.stream.writable().await.map_err(|e| e.to_string())?;
            self.write()?;
        }
        let mut found = None;
        while found.is_none() {
            self.stream.readable().await.map_err(|e| e.to_string())?;
            self.read()?;
            take_answers(self.protocol, &mut self.received, |answer| {
                found = Some(answer);
                Ok(())
            })?;
        }
        match found {
            Some(Answer { to, code }) if to == sent => Ok(code),
            other => Err(format!("the answer to {sent:?} is {other:?}")),
        }
    }

    /// Send at this pace and read the answers, until all is acknowledged after the end of the run. Gives the connection back
    /// open, so that its end is no part of what is counted; and a complaint, if there is one.
    pub(crate) async fn drive(mut self, pace: Pace, times: Times) -> (Self, Option<String>) {
        let complaint = self.try_drive(pace, times).await.err();
        (self, complaint)
    }

    async fn try_drive(&mut self, pace: Pace, times: Times) -> Result<(), String> {
        let Pace::Idle = pace else { return self.send_positions(pace, times).await };
        // whatever comes, the end of the connection included, is not idleness; only the kernel's word may be stale
        while let Ok(readable) = timeout_at(times.to, self.stream.readable()).await {
            readable.map_err(|e| e.to_string())?;
            self.read()?;
            if !self.received.is_empty() {
                return Err(format!("an idle device was sent {}", protocols::cursor::hex(&self.received)));
            }
        }
        Ok(())
    }

    async fn send_positions(&mut self, pace: Pace, times: Times) -> Result<(), String> {
        let mut next = match pace {
            Pace::Open { every, phase } => {
                let span = times.to.saturating_duration_since(times.start + phase).as_nanos();
                add(&self.tally.due, u64::try_from(span.div_ceil(every.as_nanos().max(1))).unwrap_or(u64::MAX));
                Some(times.start + phase)
            }
            _ => None,
        };
        loop {
            let now = Instant::now();
            match (pace, &mut next) {
                (Pace::Closed(window), _) => {
                    while now < times.to && self.waiting.len() < window && self.unwritten.len() < MOST_UNWRITTEN {
                        add(&self.tally.due, 1);
                        self.position(now);
                    }
                }
                (Pace::Open { every, .. }, Some(next)) => {
                    while *next <= now
                        && *next < times.to
                        && self.waiting.len() < MOST_WAITING
                        && self.unwritten.len() < MOST_UNWRITTEN
                    {
                        self.position(*next);
                        if times.from <= *next {
                            self.tally.lateness.borrow_mut().record(now - *next);
                        }
                        *next += every;
                    }
                }
                _ => {}
            }
            self.write()?;
            let all_sent = next.map_or(now >= times.to, |next| next >= times.to);
            if all_sent && self.waiting.is_empty() && self.unwritten.is_empty() {
                return Ok(());
            }
            // at the bounds above an answer, or room in the socket, makes the way free
            let timer = next.filter(|next| *next > now && *next < times.to);
            tokio::select! {
                readable = self.stream.readable() => {
                    readable.map_err(|e| e.to_string())?;
                    self.read()?;
                    self.count_answers(times)?;
                }
                writable = self.stream.writable(), if !self.unwritten.is_empty() => writable.map_err(|e| e.to_string())?,
                () = tokio::time::sleep_until(timer.unwrap_or(times.to)), if timer.is_some() => {}
            }
        }
    }

    /// One more position, due then.
    fn position(&mut self, due: Instant) {
        let sent = self.device.position(&mut self.unwritten);
        self.waiting.push_back((sent, due));
        add(&self.tally.frames, 1);
        add(&self.tally.sent, 1);
    }

    fn count_answers(&mut self, times: Times) -> Result<(), String> {
        let now = Instant::now();
        let (waiting, tally) = (&mut self.waiting, &self.tally);
        let mut latency = tally.latency.borrow_mut();
        take_answers(self.protocol, &mut self.received, |answer| match waiting.pop_front() {
            Some((sent, due)) if sent == answer.to => {
                add(&tally.acknowledged, 1);
                if times.from <= due {
                    latency.record(now.saturating_duration_since(due));
                }
                Ok(())
            }
            oldest => Err(format!("{answer:?} came while the oldest without an answer was {oldest:?}")),
        })
    }

    fn write(&mut self) -> Result<(), String> {
        while !self.unwritten.is_empty() {
            match self.stream.try_write(&self.unwritten) {
                Ok(n) => _ = self.unwritten.drain(..n),
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(format!("write: {e}")),
            }
        }
        Ok(())
    }

    fn read(&mut self) -> Result<(), String> {
        let mut buffer = [0; READ_BYTES];
        match self.stream.try_read(&mut buffer) {
            Ok(0) => Err("the gateway closed the connection".to_owned()),
            Ok(n) => {
                self.received.extend(buffer.iter().take(n));
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Ok(()),
            Err(e) => Err(format!("read: {e}")),
        }
    }
}
