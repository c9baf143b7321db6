//! The simulated navigators: recorded conversations, played over real sockets.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use protocols::identity::SessionId;
use protocols::registry::{self, Protocol};
use protocols::script::laws::Sampler;
use protocols::script::{Action, Expect, Fit, Pattern, Script};
use protocols::session::{Opening, Turn};
use protocols::time::{Now, Timestamp};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

/// How long a navigator waits for the gateway's answer: their own limits are 5 s and more.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two messages of one car: slow enough to read along.
const PAUSE_MS: std::ops::Range<u64> = 200..900;

macro_rules! conversations {
    ($($protocol:literal: $($name:literal)+;)+) => {
        &[$($(($protocol, $name, include_str!(concat!("../../fixtures/", $protocol, "/", $name, ".script")))),+),+]
    };
}

/// What the fleet plays; conversations of the same device are played one after another by the same car.
static CONVERSATIONS: &[(&str, &str, &str)] = conversations! {
    "gt06": "sign-on-and-position" "alarms" "heartbeats" "positions-of-many-models" "information" "obd" "time-and-address" "topin-glued";
    "jt808": "sign-on-2013" "positions-with-alarms" "driver-card" "heartbeats" "batch" "photo-split" "sign-on-2011" "driver-card-2011"
        "sign-on-2019";
};

/// One car: a device and what it says.
#[derive(Debug)]
pub(super) struct Car {
    protocol: &'static Protocol,
    scripts: Vec<(&'static str, Script)>,
}

/// What the fleet knows from outside.
#[derive(Debug, Default)]
pub(super) struct Tally {
    /// Events in what was sent.
    pub(super) sent: AtomicU64,
    /// Events in what was acknowledged as it should be.
    pub(super) acknowledged: AtomicU64,
    /// Conversations played to their end.
    pub(super) conversations: AtomicU64,
}

/// The cars.
///
/// # Errors
/// A conversation that cannot be read; a test makes sure that there is none.
pub(super) fn fleet() -> Result<Vec<Car>, String> {
    let mut cars: BTreeMap<(&str, String), Car> = BTreeMap::new();
    for (protocol, name, text) in CONVERSATIONS {
        let script = Script::parse(text).map_err(|e| format!("fixtures/{protocol}/{name}.script: {e}"))?;
        let protocol = registry::find(protocol).ok_or_else(|| format!("there is no protocol {protocol}"))?;
        let car = cars.entry((protocol.name, device(protocol, &script))).or_insert_with(|| Car { protocol, scripts: Vec::new() });
        car.scripts.push((name, script));
    }
    Ok(cars.into_values().collect())
}

/// Whose conversation it is.
fn device(protocol: &'static Protocol, script: &Script) -> String {
    let opening = Opening { session: SessionId(0), settings: Arc::default(), device: script.device.clone() };
    let mut session = (protocol.open)(opening);
    let mut turn = Turn::default();
    let now = Now { utc: Timestamp::from_millis(0), uptime: Duration::ZERO };
    for bytes in script.received() {
        session.receive(bytes, now, &mut turn);
        if let Some(device) = session.device_id() {
            return device.to_string();
        }
    }
    String::new()
}

impl Car {
    /// What it speaks.
    pub(super) fn protocol(&self) -> &'static str {
        self.protocol.name
    }

    /// Drive until then: play the conversations in turn.
    ///
    /// # Errors
    /// What the gateway answered wrongly, or not at all.
    pub(super) async fn drive(&self, to: SocketAddr, until: Instant, mut chance: Chance, tally: &Tally) -> Result<(), String> {
        loop {
            for (name, script) in &self.scripts {
                if Instant::now() >= until {
                    return Ok(());
                }
                self.play(script, to, until, &mut chance, tally)
                    .await
                    .map_err(|e| format!("{}/{name}: {e}", self.protocol.name))?;
                tally.conversations.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    async fn play(
        &self,
        script: &Script,
        to: SocketAddr,
        until: Instant,
        chance: &mut Chance,
        tally: &Tally,
    ) -> Result<(), String> {
        let broken = |e: io::Error| format!("connection to {to}: {e}");
        let mut stream = TcpStream::connect(to).await.map_err(broken)?;
        let mut received = Vec::new();
        for item in &script.items {
            let Action::Receive(bytes) = &item.action else { continue };
            if Instant::now() >= until {
                break; // the engine is switched off in the middle of a conversation
            }
            tokio::time::sleep(Duration::from_millis(chance.among(PAUSE_MS))).await;
            let events = item.expected.iter().filter(|e| matches!(e.what, Expect::Event(_))).count() as u64;
            stream.write_all(bytes).await.map_err(broken)?;
            tally.sent.fetch_add(events, Ordering::Relaxed);
            for expected in &item.expected {
                let Expect::Sent(pattern) = &expected.what else { continue };
                match tokio::time::timeout(PATIENCE, answer(&mut stream, pattern, &mut received)).await {
                    Err(_) => return Err(format!("line {}: no answer within {} s", expected.line, PATIENCE.as_secs())),
                    Ok(Err(e)) => return Err(format!("line {}: {e}", expected.line)),
                    Ok(Ok(())) => {}
                }
            }
            tally.acknowledged.fetch_add(events, Ordering::Relaxed);
        }
        stream.shutdown().await.map_err(broken)?;
        // what was sent without asking for an answer is stored by the time the gateway closes too
        let mut rest = Vec::new();
        let _ = tokio::time::timeout(PATIENCE, stream.read_to_end(&mut rest)).await;
        Ok(())
    }
}

/// Read an answer and take it from what was received: how long it is depends on what must be escaped in it.
async fn answer(stream: &mut TcpStream, pattern: &Pattern, received: &mut Vec<u8>) -> io::Result<()> {
    loop {
        match pattern.begins(received) {
            Fit::Whole(used) => {
                received.drain(..used);
                return Ok(());
            }
            Fit::No => return Err(io::Error::other(format!("answered {}", protocols::cursor::hex(received)))),
            Fit::More if stream.read_buf(received).await? == 0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            Fit::More => {}
        }
    }
}

/// What chance decides for a car; the same for the same seed.
#[derive(Debug)]
pub(super) struct Chance(Sampler);

impl Chance {
    /// The sequence of a car.
    pub(super) fn new(seed: u64, car: usize) -> Self {
        // the first number of a seed is far from that of the next seed, so cars of neighbouring seeds do not drive alike
        Self(Sampler::new(Sampler::new(seed).number() ^ car as u64))
    }

    pub(super) fn among(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.0.number() % (range.end - range.start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_conversation_is_one_that_the_demo_can_play() {
        let cars = fleet().unwrap();
        assert!(cars.len() >= 8, "{} cars", cars.len());
        for (name, script) in cars.iter().flat_map(|c| &c.scripts) {
            assert!(script.profiles.is_empty() && script.device.is_none() && !script.auth_required, "{name} needs a configuration");
            assert!(script.items.iter().all(|i| matches!(i.action, Action::Receive(_))), "{name} needs time to pass");
        }
    }

    #[tokio::test]
    async fn an_answer_may_be_longer_by_what_is_escaped_in_it() {
        let pattern = Pattern([0x7E, 0x80, 0x01].into_iter().map(Some).chain([None, Some(0x7E)]).collect());
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let to = listener.local_addr().unwrap();
        let (mut car, (mut gateway, _)) = (TcpStream::connect(to).await.unwrap(), listener.accept().await.unwrap());
        let mut received = Vec::new();
        for checksum in [&[0x55][..], &[0x7D, 0x01], &[0x7D, 0x02], &[0x56]] {
            gateway.write_all(&[&[0x7E, 0x80, 0x01], checksum, &[0x7E]].concat()).await.unwrap();
        }
        for _ in 0..4 {
            answer(&mut car, &pattern, &mut received).await.unwrap();
        }
        assert!(received.is_empty(), "{received:x?}");
        gateway.write_all(&[0x7E, 0x81]).await.unwrap();
        assert_eq!(answer(&mut car, &pattern, &mut received).await.unwrap_err().to_string(), "answered 7e81");
        received.clear();
        drop(gateway);
        assert_eq!(answer(&mut car, &pattern, &mut received).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
