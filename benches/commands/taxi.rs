//! Taxis whose screens and drivers are as fast as this machine: what is shown is answered at once, and the time of both is told.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc::Sender;
use std::time::Instant;

use crate::harness::device::{jt808, unescaped};

/// What there are taxis of.
pub(crate) const PROTOCOLS: [&str; 2] = ["jt808", "jt905"];

/// What happened to an order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// Its offer was read off the socket.
    Shown,
    /// The driver's answer is about to be written.
    Accepted,
    /// That somebody else has it was read off the socket.
    Lost,
}

/// And when.
pub(crate) type Happened = (What, u32, Instant);

/// A connected taxi.
#[derive(Debug)]
pub(crate) struct Taxi {
    pub(crate) id: String,
    protocol: &'static str,
    stream: TcpStream,
    serial: u16,
}

impl Taxi {
    /// Number `n` of its kind, an invented identity, says hello.
    ///
    /// # Errors
    /// If it cannot connect.
    pub(crate) fn connect(protocol: &'static str, n: u32, to: SocketAddr) -> std::io::Result<Self> {
        let id = if protocol == "jt905" { format!("1099001{n:05}") } else { format!("1380001{n:04}") };
        let stream = TcpStream::connect(to)?;
        stream.set_nodelay(true)?;
        let mut taxi = Self { id, protocol, stream, serial: 0 };
        taxi.say(0x0002, &[])?;
        Ok(taxi)
    }

    /// Until the connection ends.
    pub(crate) fn run(mut self, tell: &Sender<Happened>) {
        let (mut received, mut buffer) = (Vec::new(), [0; 4096]);
        // the answer to a question names its serial number
        let mut questions = HashMap::new();
        while let Ok(n @ 1..) = self.stream.read(&mut buffer) {
            let at = Instant::now();
            received.extend_from_slice(&buffer[..n]);
            while let Some(end) = received.iter().skip(1).position(|b| *b == 0x7E) {
                let content = unescaped(&received[1..=end]);
                received.drain(..=end + 1);
                if self.hear(&content, at, &mut questions, tell).is_err() {
                    return;
                }
            }
        }
    }

    fn hear(
        &mut self,
        content: &[u8],
        at: Instant,
        questions: &mut HashMap<u32, u16>,
        tell: &Sender<Happened>,
    ) -> std::io::Result<()> {
        let number = |at: usize| u16::from_be_bytes([content[at], content[at + 1]]);
        let (id, serial, body) = (number(0), number(10), &content[12..content.len() - 1]);
        if matches!(id, 0x8001) {
            return Ok(());
        }
        if let Some(order) = order_of(id, body) {
            let shown = matches!(id, 0x8B00 | 0x8302) && questions.insert(order, serial).is_none();
            let what = if shown { What::Shown } else { What::Lost };
            let _ = tell.send((what, order, at));
            self.receipt(serial, id)?;
            if shown {
                let _ = tell.send((What::Accepted, order, Instant::now()));
                return match self.protocol {
                    "jt905" => self.say(0x0B01, &order.to_be_bytes()),
                    _ => self.say(0x0302, &[&serial.to_be_bytes()[..], &[1]].concat()),
                };
            }
            return Ok(());
        }
        self.receipt(serial, id)
    }

    fn receipt(&mut self, serial: u16, id: u16) -> std::io::Result<()> {
        self.say(0x0001, &[&serial.to_be_bytes()[..], &id.to_be_bytes(), &[0]].concat())
    }

    fn say(&mut self, id: u16, body: &[u8]) -> std::io::Result<()> {
        self.serial = self.serial.wrapping_add(1);
        let frame = jt808(id, &format!("{:0>12}", self.id), self.serial, body);
        self.stream.write_all(&frame)
    }
}

/// Whose number stands in a message that is about an order.
fn order_of(id: u16, body: &[u8]) -> Option<u32> {
    if matches!(id, 0x8B00 | 0x8B01) {
        return body.first_chunk().map(|number| u32::from_be_bytes(*number));
    }
    // a passenger stands at `Stand ORDER.`; the loser is told the number and why
    let text = String::from_utf8_lossy(body);
    let number = match text.split_once("Stand ") {
        Some((_, rest)) => rest.split('.').next(),
        None => text.split_once(": taken").and_then(|(front, _)| front.get(1..)),
    };
    number?.parse().ok()
}
