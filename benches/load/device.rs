//! Devices: how a GT06 and a JT/T 808 (2013) unit sign on, report and are answered. Invented identities; the places are
//! at sea.

use protocols::parts::bcd::{pack, pack_digits};
use protocols::parts::checksum::{crc_itu, luhn, xor};
use protocols::time::Timestamp;

/// JT/T 808 terminals send the time of China, in seconds east of UTC.
const CHINA_S: i32 = 8 * 3600;
/// Devices of one kind: the free digits behind the invented prefix of a telephone number.
pub(crate) const MOST: u32 = 10_000;
/// Longest answer that is waited for to be complete: one GT06 length byte, or a JT/T 808 body of 1023 bytes, all escaped.
const LONGEST_ANSWER: usize = 2 * (1023 + 16);

/// What a device speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Protocol {
    Gt06,
    Jt808,
}

impl Protocol {
    /// As the gateway's registry calls it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Gt06 => "gt06",
            Self::Jt808 => "jt808",
        }
    }
}

/// What the answer to a message names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) kind: u16,
    pub(crate) serial: u16,
}

/// An answer that accepts.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) to: Sent,
    /// To authenticate with.
    pub(crate) code: Option<Vec<u8>>,
}

/// One device on one connection.
#[derive(Debug)]
pub(crate) struct Device {
    protocol: Protocol,
    /// Packed, as its frames carry it.
    identity: Vec<u8>,
    serial: u16,
    positions: u32,
    /// Time of the first position; each further one is a second later.
    first: Timestamp,
    /// A frame before it is escaped.
    plain: Vec<u8>,
}

impl Device {
    /// Number `n` of its kind, below [`MOST`].
    ///
    /// # Errors
    /// A number that has no identity.
    pub(crate) fn new(protocol: Protocol, n: u32, first: Timestamp) -> Result<Self, String> {
        let identity = match protocol {
            Protocol::Gt06 => {
                let payload = format!("8612000{n:07}");
                luhn(&payload).and_then(|check| pack_digits::<8>(&format!("{payload}{check}"))).map(|packed| packed.to_vec())
            }
            Protocol::Jt808 => pack_digits::<6>(&format!("1380000{n:04}")).map(|packed| packed.to_vec()),
        };
        let identity = identity.filter(|_| n < MOST).ok_or_else(|| format!("there is no {} device {n}", protocol.name()))?;
        Ok(Self { protocol, identity, serial: 0, positions: 0, first, plain: Vec::new() })
    }

    /// The first message of a connection.
    pub(crate) fn hello(&mut self, out: &mut Vec<u8>) -> Sent {
        match self.protocol {
            Protocol::Gt06 => {
                let identity = self.identity.clone();
                self.gt06(0x01, out, |body| body.extend_from_slice(&identity))
            }
            Protocol::Jt808 => self.jt808(0x0100, out, |body| {
                // province, city
                body.extend_from_slice(&[0, 44, 0x01, 0x2C]);
                body.extend_from_slice(b"NAVGT");
                body.extend_from_slice(b"LOAD\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0");
                body.extend_from_slice(b"T000001");
                // a blue plate, in ASCII
                body.push(1);
                body.extend_from_slice(b"LOAD01");
            }),
        }
    }

    /// What follows on a registration.
    pub(crate) fn authenticate(&mut self, code: &[u8], out: &mut Vec<u8>) -> Sent {
        self.jt808(0x0102, out, |body| body.extend_from_slice(code))
    }

    /// The next position.
    pub(crate) fn position(&mut self, out: &mut Vec<u8>) -> Sent {
        let n = self.positions;
        self.positions += 1;
        let time = self.first.plus_millis(1000 * i64::from(n));
        // a metre or so further each time, over a tenth of a degree
        let (latitude, longitude) = (22_400_000 + n % 10_000 * 10, 114_500_000 + n % 10_000 * 10);
        let course = (n % 360) as u16;
        match self.protocol {
            Protocol::Gt06 => {
                // half of the models in use send the one, half the other
                let long = n % 2 == 1;
                self.gt06(if long { 0x22 } else { 0x12 }, out, |body| {
                    body.extend_from_slice(&time.civil(0).six());
                    // a block of 12 bytes, 9 satellites; 1/30000 minutes
                    body.push(0xC9);
                    body.extend_from_slice(&(latitude / 5 * 9).to_be_bytes());
                    body.extend_from_slice(&(longitude / 5 * 9).to_be_bytes());
                    body.push(36);
                    // a fix, in the north and east
                    body.extend_from_slice(&(0x1400 | course).to_be_bytes());
                    // cell: 460, 0, 9520, 3671
                    body.extend_from_slice(&[0x01, 0xCC, 0x00, 0x25, 0x30, 0x00, 0x0E, 0x57]);
                    if long {
                        // ignition on, sent at an interval, not from memory
                        body.extend_from_slice(&[1, 0, 0]);
                    }
                })
            }
            Protocol::Jt808 => self.jt808(0x0200, out, |body| {
                // no alarm; ignition on, fixed
                body.extend_from_slice(&[0, 0, 0, 0, 0, 0, 0, 3]);
                body.extend_from_slice(&latitude.to_be_bytes());
                body.extend_from_slice(&longitude.to_be_bytes());
                // 12 m, 36.0 km/h
                body.extend_from_slice(&[0, 12, 0x01, 0x68]);
                body.extend_from_slice(&course.to_be_bytes());
                body.extend_from_slice(&time.civil(CHINA_S).six().map(pack));
                // odometer in 1/10 km, signal strength, satellites
                body.extend_from_slice(&[0x01, 4]);
                body.extend_from_slice(&(100_000 + n / 100).to_be_bytes());
                body.extend_from_slice(&[0x30, 1, 24, 0x31, 1, 9]);
            }),
        }
    }

    fn next_serial(&mut self) -> u16 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    fn gt06(&mut self, kind: u8, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> Sent {
        let serial = self.next_serial();
        let checked = &mut self.plain;
        checked.clear();
        checked.extend_from_slice(&[0, kind]);
        body(checked);
        checked.extend_from_slice(&serial.to_be_bytes());
        // what follows the length byte: this, and the checksum; no body above is longer than 30 bytes
        let length = checked.len() as u8 + 1;
        if let Some(first) = checked.first_mut() {
            *first = length;
        }
        out.extend_from_slice(&[0x78, 0x78]);
        out.extend_from_slice(checked);
        out.extend_from_slice(&crc_itu(checked).to_be_bytes());
        out.extend_from_slice(b"\r\n");
        Sent { kind: u16::from(kind), serial }
    }

    fn jt808(&mut self, kind: u16, out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) -> Sent {
        let serial = self.next_serial();
        let plain = &mut self.plain;
        plain.clear();
        plain.extend_from_slice(&kind.to_be_bytes());
        plain.extend_from_slice(&[0, 0]);
        plain.extend_from_slice(&self.identity);
        plain.extend_from_slice(&serial.to_be_bytes());
        let head = plain.len();
        body(plain);
        // the low ten bits of the properties; no body above is longer than 100 bytes
        let length = (plain.len() - head) as u8;
        if let Some(properties) = plain.get_mut(3) {
            *properties = length;
        }
        plain.push(xor(plain));
        out.push(0x7E);
        for &byte in plain.iter() {
            match byte {
                0x7E => out.extend_from_slice(&[0x7D, 0x02]),
                0x7D => out.extend_from_slice(&[0x7D, 0x01]),
                _ => out.push(byte),
            }
        }
        out.push(0x7E);
        Sent { kind, serial }
    }
}

/// Take whole answers from the front of what came.
///
/// # Errors
/// What is no answer, or one that refuses.
pub(crate) fn take_answers(
    protocol: Protocol,
    received: &mut Vec<u8>,
    mut each: impl FnMut(Answer) -> Result<(), String>,
) -> Result<(), String> {
    let mut at = 0;
    while let Some(rest) = received.get(at..).filter(|rest| !rest.is_empty()) {
        let found = match protocol {
            Protocol::Gt06 => gt06_answer(rest)?,
            Protocol::Jt808 => jt808_answer(rest)?,
        };
        let Some((used, answer)) = found else {
            if rest.len() > LONGEST_ANSWER {
                return Err(format!("an answer without an end: {}", protocols::cursor::hex(rest)));
            }
            break;
        };
        at += used;
        each(answer)?;
    }
    received.drain(..at);
    Ok(())
}

type Found = Option<(usize, Answer)>;

fn gt06_answer(bytes: &[u8]) -> Result<Found, String> {
    let wrong = |what: &str| Err(format!("{what}: {}", protocols::cursor::hex(bytes)));
    let &[first, second, length, ..] = bytes else { return Ok(None) };
    if (first, second) != (0x78, 0x78) {
        return wrong("no answer of GT06");
    }
    let used = usize::from(length) + 5;
    let Some(frame) = bytes.get(2..used) else { return Ok(None) };
    let Some((checked, &[high, low, 0x0D, 0x0A])) = frame.split_last_chunk::<4>() else {
        return wrong("an answer that ends wrongly");
    };
    if crc_itu(checked) != u16::from_be_bytes([high, low]) {
        return wrong("an answer with a wrong checksum");
    }
    let &[_, kind, .., high, low] = checked else { return wrong("an answer that is too short") };
    let to = Sent { kind: u16::from(kind), serial: u16::from_be_bytes([high, low]) };
    Ok(Some((used, Answer { to, code: None })))
}

fn jt808_answer(bytes: &[u8]) -> Result<Found, String> {
    let wrong = |what: &str| Err(format!("{what}: {}", protocols::cursor::hex(bytes)));
    let Some((0x7E, rest)) = bytes.split_first() else { return wrong("no answer of JT/T 808") };
    let Some(length) = rest.iter().position(|b| *b == 0x7E) else { return Ok(None) };
    let mut plain = Vec::with_capacity(length);
    let mut escaped = rest.iter().take(length);
    while let Some(&byte) = escaped.next() {
        plain.push(match (byte, byte == 0x7D) {
            (_, true) => match escaped.next() {
                Some(1) => 0x7D,
                Some(2) => 0x7E,
                _ => return wrong("an answer with a wrong escape"),
            },
            (byte, false) => byte,
        });
    }
    if xor(&plain) != 0 {
        return wrong("an answer with a wrong checksum");
    }
    let Some((head, [body @ .., _])) = plain.split_first_chunk::<12>() else { return wrong("an answer that is too short") };
    let (to, code) = match (head, body) {
        ([0x80, 0x01, ..], &[high, low, kind_high, kind_low, 0]) => {
            let kind = u16::from_be_bytes([kind_high, kind_low]);
            (Sent { kind, serial: u16::from_be_bytes([high, low]) }, None)
        }
        ([0x81, 0x00, ..], &[high, low, 0, ref code @ ..]) => {
            (Sent { kind: 0x0100, serial: u16::from_be_bytes([high, low]) }, Some(code.to_vec()))
        }
        _ => return wrong("an answer that refuses, or another one"),
    };
    Ok(Some((length + 2, Answer { to, code })))
}

/// Answers as the documents show them are read, whole or not; damaged and refusing ones are told.
///
/// # Errors
/// What is read wrongly.
pub(crate) fn check() -> Result<(), String> {
    const LOGIN: &[u8] = &[0x78, 0x78, 0x05, 0x01, 0x00, 0x01, 0xD9, 0xDC, 0x0D, 0x0A];
    const STORED: &[u8] = &[0x80, 0x01, 0x00, 0x05, 1, 0x38, 0, 0, 0x11, 0x11, 0, 9, 0, 2, 0x02, 0x00, 0];
    let framed = |content: &[u8]| [&[0x7E], content, &[xor(content), 0x7E]].concat();
    let refusing = [STORED.split_last().map_or(STORED, |(_, rest)| rest), &[1]].concat();
    let mut damaged = LOGIN.to_vec();
    damaged.iter_mut().skip(5).take(1).for_each(|b| *b ^= 1);

    let login = Answer { to: Sent { kind: 0x01, serial: 1 }, code: None };
    let stored = Answer { to: Sent { kind: 0x0200, serial: 2 }, code: None };
    for (protocol, bytes, wanted) in [(Protocol::Gt06, LOGIN.to_vec(), login), (Protocol::Jt808, framed(STORED), stored)] {
        let mut received = Vec::new();
        let mut answers = Vec::new();
        for byte in bytes {
            if !answers.is_empty() {
                return Err(format!("{}: an answer before it is whole", protocol.name()));
            }
            received.push(byte);
            take_answers(protocol, &mut received, |answer| {
                answers.push(answer);
                Ok(())
            })?;
        }
        if answers != [wanted] || !received.is_empty() {
            return Err(format!("{}: read as {answers:?}, with {received:?} left", protocol.name()));
        }
    }
    for (protocol, bytes) in [(Protocol::Gt06, damaged), (Protocol::Jt808, framed(&refusing)), (Protocol::Jt808, LOGIN.to_vec())] {
        if take_answers(protocol, &mut bytes.clone(), |_| Ok(())).is_ok() {
            return Err(format!("{}: {} counts as an acknowledgement", protocol.name(), protocols::cursor::hex(&bytes)));
        }
    }
    Ok(())
}
