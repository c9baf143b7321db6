//! Simulated taxis: terminals of JT/T 905, and of JT/T 808 with order buttons, whose drivers take orders. They are written
//! against the protocols' documents and share no code with the gateway's codecs, so that they can find it wrong.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::sync::atomic::Ordering;
use std::time::Duration;

use protocols::time::Timestamp;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::Instant;

use super::fleet::{Chance, Tally};
use super::screen;
use crate::clock;

/// Until a driver answers an offer, milliseconds.
const THINKING_MS: std::ops::Range<u64> = 300..1500;
/// Between two steps of an order: a town where everything is around the corner.
const DRIVING_MS: std::ops::Range<u64> = 300..900;
/// Between two positions.
const REPORT_MS: u64 = 1000;
/// One driver of so many declines.
const DECLINES: u64 = 6;
/// After the last order: for answers that are on their way.
const PATIENCE: Duration = Duration::from_secs(5);
/// The middle of the town, degrees; taxis stand within a few kilometres.
pub(super) const TOWN: (f64, f64) = (39.904, 116.407);

/// What a taxi speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Terminal {
    Jt808,
    Jt905,
}

/// One taxi.
#[derive(Debug)]
pub(super) struct Taxi {
    terminal: Terminal,
    number: [u8; 6],
    place: (f64, f64),
    serial: u16,
    /// Our messages that make events, until the gateway says that they are stored.
    unacknowledged: BTreeMap<u16, Instant>,
    /// What the driver will do, and when.
    plans: Vec<(Instant, Plan)>,
    /// The order that the driver has, in 905's numbering; 0 on an 808 terminal, whose buttons name none.
    order: Option<u32>,
    free: bool,
    /// Whether screen and driver are told of on stdout.
    aloud: bool,
}

#[derive(Debug, Clone, Copy)]
enum Plan {
    Report,
    /// Message and body of up to six bytes.
    Say(u16, [u8; 6], usize),
    /// The next step of the order.
    Step(u8),
}

/// Taxis for a demo: so many of each kind.
pub(super) fn taxis(each: u8, chance: &mut Chance) -> Vec<Taxi> {
    let mut all = Vec::new();
    for n in 0..each {
        for (terminal, kind) in
            [(Terminal::Jt905, [0x10, 0x99, 0x00, 0x00, 0x07]), (Terminal::Jt808, [0x01, 0x38, 0x00, 0x00, 0x77])]
        {
            let [a, b, c, d, e] = kind;
            let offset = |chance: &mut Chance| chance.among(0..60) as f64 / 1000.0 - 0.03;
            all.push(Taxi {
                terminal,
                number: [a, b, c, d, e, bcd(n)],
                place: (TOWN.0 + offset(chance), TOWN.1 + offset(chance)),
                serial: 0,
                unacknowledged: BTreeMap::new(),
                plans: Vec::new(),
                order: None,
                free: true,
                aloud: false,
            });
        }
    }
    all
}

impl Taxi {
    /// What it speaks.
    pub(super) fn protocol(&self) -> &'static str {
        match self.terminal {
            Terminal::Jt808 => "jt808",
            Terminal::Jt905 => "jt905",
        }
    }

    /// As events name it.
    pub(super) fn device_id(&self) -> String {
        protocols::cursor::hex(&self.number).trim_start_matches('0').to_owned()
    }

    /// Tell on stdout what its screen shows and its driver does.
    pub(super) fn aloud(self) -> Self {
        Self { aloud: true, ..self }
    }

    fn tell(&self, what: Option<String>) {
        if let Some(what) = what.filter(|_| self.aloud) {
            let time = clock::utc().to_string();
            // who looks away, as in `| head`, does not stop the taxis
            let _ = writeln!(io::stdout(), "{}  taxi {:>12}  {what}", time.get(11..23).unwrap_or_default(), self.device_id());
        }
    }

    /// Drive until then, and until nothing is left to be answered.
    ///
    /// # Errors
    /// What the gateway did not do.
    pub(super) async fn drive(mut self, to: SocketAddr, until: Instant, mut chance: Chance, tally: &Tally) -> Result<(), String> {
        let broken = |e: io::Error| format!("connection to {to}: {e}");
        let mut stream = TcpStream::connect(to).await.map_err(broken)?;
        let mut out = Vec::new();
        self.sign_on(&mut out, tally);
        self.plan(0, Plan::Report);
        let mut received = Vec::new();
        loop {
            stream.write_all(&out).await.map_err(broken)?;
            out.clear();
            let now = Instant::now();
            let next = self.plans.iter().map(|(at, _)| *at).min().unwrap_or(until);
            let over = now >= until && self.order.is_none() && self.unacknowledged.is_empty();
            if over || now >= until + PATIENCE {
                break;
            }
            let mut bytes = [0; 1024];
            let wait = next.max(now).min(now + Duration::from_millis(REPORT_MS));
            match tokio::time::timeout_at(wait, stream.read(&mut bytes)).await {
                Ok(Ok(0)) => return Err("the gateway closed the connection of a taxi".into()),
                Ok(read) => received.extend_from_slice(&bytes[..read.map_err(broken)?]),
                Err(_) => {}
            }
            while let Some(frame) = take_frame(&mut received) {
                self.hear(&frame?, &mut out, &mut chance, tally);
            }
            self.act(now < until, &mut out, &mut chance, tally);
        }
        if let Some(serial) = self.unacknowledged.keys().next() {
            return Err(format!("message {serial} of a taxi was not acknowledged within {} s", PATIENCE.as_secs()));
        }
        stream.shutdown().await.map_err(broken)
    }

    fn plan(&mut self, after_ms: u64, plan: Plan) {
        self.plans.push((Instant::now() + Duration::from_millis(after_ms), plan));
    }

    fn act(&mut self, in_service: bool, out: &mut Vec<u8>, chance: &mut Chance, tally: &Tally) {
        let now = Instant::now();
        let due: Vec<_> = self.plans.extract_if(.., |(at, _)| *at <= now).map(|(_, plan)| plan).collect();
        for plan in due {
            match plan {
                Plan::Report if in_service => {
                    let body = self.position();
                    self.say(0x0200, &body, true, out, tally);
                    self.plan(REPORT_MS, Plan::Report);
                }
                Plan::Report => {}
                Plan::Say(message, body, length) => self.say(message, &body[..length], true, out, tally),
                Plan::Step(step) => self.step(step, out, chance, tally),
            }
        }
    }

    /// Arrived, passenger in, done: by buttons, or by what the meter and the driver of a 905 terminal say.
    fn step(&mut self, step: u8, out: &mut Vec<u8>, chance: &mut Chance, tally: &Tally) {
        let Some(order) = self.order else { return };
        match self.terminal {
            Terminal::Jt808 => self.say(0x0301, &[step], true, out, tally),
            Terminal::Jt905 if step == 2 => {
                self.free = false;
                let body = self.position();
                self.say(0x0200, &body, true, out, tally);
            }
            Terminal::Jt905 if step == 3 => self.say(0x0B07, &order.to_be_bytes(), true, out, tally),
            Terminal::Jt905 => {}
        }
        if step == 3 {
            (self.order, self.free) = (None, true);
        } else {
            self.plan(chance.among(DRIVING_MS), Plan::Step(step + 1));
        }
    }

    /// A message of the gateway.
    fn hear(&mut self, content: &[u8], out: &mut Vec<u8>, chance: &mut Chance, tally: &Tally) {
        let [id0, id1, _, _, _, _, _, _, _, _, serial0, serial1, body @ ..] = content else { return };
        let (id, serial) = (u16::from_be_bytes([*id0, *id1]), [*serial0, *serial1]);
        if id == 0x8001 {
            if let [s0, s1, _, _, 0, ..] = body
                && self.unacknowledged.remove(&u16::from_be_bytes([*s0, *s1])).is_some()
            {
                tally.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            return;
        }
        self.say(0x0001, &[serial[0], serial[1], *id0, *id1, 0], false, out, tally);
        self.tell(screen::shows(id, body));
        let declines = chance.among(0..DECLINES) == 0;
        match (id, body) {
            (0x8302, _) if self.order.is_none() => {
                let answer = if declines { 2 } else { 1 };
                self.plan(chance.among(THINKING_MS), Plan::Say(0x0302, [serial[0], serial[1], answer, 0, 0, 0], 3));
            }
            // on a 905 terminal nobody can decline: the driver just lets it pass
            (0x8B00, [a, b, c, d, ..]) if self.order.is_none() && !declines => {
                self.plan(chance.among(THINKING_MS), Plan::Say(0x0B01, [*a, *b, *c, *d, 0, 0], 4));
            }
            (0x8B00, _) => self.tell(Some("driver lets it pass".to_owned())),
            (0x8B01, [a, b, c, d, _, ..]) => self.won(u32::from_be_bytes([*a, *b, *c, *d]), chance),
            (0x8300, [_, b'O', b'K', ..]) => self.won(0, chance),
            _ => {}
        }
    }

    fn won(&mut self, order: u32, chance: &mut Chance) {
        if self.order.is_none() {
            self.order = Some(order);
            self.plan(chance.among(DRIVING_MS), Plan::Step(1));
        }
    }

    fn sign_on(&mut self, out: &mut Vec<u8>, tally: &Tally) {
        if self.terminal == Terminal::Jt905 {
            let [.., n] = self.number;
            let mut body = self.position();
            body.extend_from_slice(b"DEMO-1\0\0\0\0\0\0\0\0\0\0");
            body.extend_from_slice(format!("11010119900101{:04}\0", u16::from(n)).as_bytes());
            body.extend_from_slice(format!("D{:05}", u16::from(n)).as_bytes());
            let [year, month, day, hour, minute, _] = bcd_now();
            body.extend_from_slice(&[0x20, year, month, day, hour, minute]);
            self.say(0x0B03, &body, true, out, tally);
        }
    }

    /// The 25 bytes of 905, or the 28 of 808.
    fn position(&self) -> Vec<u8> {
        let mut body = vec![0; 4];
        let scaled = |scale: f64| [(self.place.0 * scale) as u32, (self.place.1 * scale) as u32];
        match self.terminal {
            Terminal::Jt808 => {
                body.extend_from_slice(&[0, 0, 0, 3]); // ACC on, positioned
                scaled(1e6).iter().for_each(|n| body.extend_from_slice(&n.to_be_bytes()));
                body.extend_from_slice(&[0, 44, 1, 44, 0, 88]);
            }
            Terminal::Jt905 => {
                // bit 8 ACC on, bit 9 occupied, of the standard's reading; bit 0 clear: positioned
                body.extend_from_slice(&[0, 0, if self.free { 1 } else { 3 }, 0]);
                scaled(6e5).iter().for_each(|n| body.extend_from_slice(&n.to_be_bytes()));
                body.extend_from_slice(&[1, 44, 44]);
            }
        }
        body.extend_from_slice(&bcd_now());
        body
    }

    /// Write a frame; `event`: it makes one, and is to be acknowledged.
    fn say(&mut self, message: u16, body: &[u8], event: bool, out: &mut Vec<u8>, tally: &Tally) {
        self.tell(screen::does(message, body));
        self.serial = self.serial.wrapping_add(1);
        let mut content = message.to_be_bytes().to_vec();
        content.extend_from_slice(&(body.len() as u16).to_be_bytes());
        content.extend_from_slice(&self.number);
        content.extend_from_slice(&self.serial.to_be_bytes());
        content.extend_from_slice(body);
        content.push(content.iter().fold(0, |check, byte| check ^ byte));
        out.push(0x7E);
        for byte in content {
            match byte {
                0x7E => out.extend_from_slice(&[0x7D, 2]),
                0x7D => out.extend_from_slice(&[0x7D, 1]),
                other => out.push(other),
            }
        }
        out.push(0x7E);
        if event {
            tally.sent.fetch_add(1, Ordering::Relaxed);
            self.unacknowledged.insert(self.serial, Instant::now());
        }
    }
}

/// The content of the first whole frame, without marks, escapes and check byte.
fn take_frame(received: &mut Vec<u8>) -> Option<Result<Vec<u8>, String>> {
    let start = received.iter().position(|b| *b == 0x7E)?;
    let end = start + 1 + received.get(start + 1..)?.iter().position(|b| *b == 0x7E)?;
    let raw: Vec<_> = received.drain(..=end).skip(start + 1).collect();
    let mut content = Vec::with_capacity(raw.len());
    let mut bytes = raw[..raw.len() - 1].iter();
    while let Some(byte) = bytes.next() {
        content.push(match (byte, *byte == 0x7D) {
            (_, true) => {
                if bytes.next() == Some(&1) {
                    0x7D
                } else {
                    0x7E
                }
            }
            (byte, false) => *byte,
        });
    }
    Some(match content.iter().fold(0, |check, byte| check ^ byte) {
        0 => {
            content.pop();
            Ok(content)
        }
        _ => Err(format!("a frame to a taxi has a wrong check byte: {}", protocols::cursor::hex(&raw))),
    })
}

fn bcd(n: u8) -> u8 {
    ((n / 10) << 4) | (n % 10)
}

/// The clock of a Chinese terminal: UTC+8, six BCD bytes.
fn bcd_now() -> [u8; 6] {
    let now: Timestamp = clock::utc();
    now.civil(8 * 3600).six().map(bcd)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in_and_a_wrong_one_is_told() {
        let mut taxi = taxis(1, &mut Chance::new(1, 0)).remove(0);
        let mut out = vec![0x55];
        taxi.say(0x0B01, &[0x7E, 0x7D, 1, 2], true, &mut out, &Tally::default());
        let content = take_frame(&mut out).unwrap().unwrap();
        assert_eq!(content[..2], [0x0B, 1]);
        assert_eq!(content[12..], [0x7E, 0x7D, 1, 2]);
        assert!(out.is_empty() && take_frame(&mut out).is_none());
        taxi.say(0x0002, &[], false, &mut out, &Tally::default());
        out[3] ^= 1;
        assert!(take_frame(&mut out).unwrap().unwrap_err().contains("check byte"));
    }
}
