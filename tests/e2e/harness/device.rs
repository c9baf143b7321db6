//! Devices: the least of a GT06 and of a JT/T 808 unit that the tests need to count acknowledged positions.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use protocols::parts::checksum::{crc_itu, luhn, xor};
use protocols::time::{Civil, Timestamp};

use super::PATIENCE;

/// The protocols that there are devices of.
pub(crate) const KINDS: [&str; 2] = ["gt06", "jt808"];

/// 2026-03-01T00:00:00Z; positions carry this and so many seconds.
const FIRST_TIME_MS: i64 = 1_772_323_200_000;

/// JT/T 808 terminals send the time of China.
const CHINA_S: i32 = 8 * 3600;

/// One device over all its connections.
#[derive(Debug, Clone)]
pub(crate) struct Device {
    pub(crate) protocol: &'static str,
    /// As events name it.
    pub(crate) id: String,
    serial: u16,
    positions: i64,
}

impl Device {
    /// Number `n` of its kind; invented identities.
    pub(crate) fn new(protocol: &'static str, n: u32) -> Self {
        let id = match protocol {
            "gt06" => {
                let payload = format!("8612000{n:07}");
                let check = luhn(&payload).unwrap();
                format!("{payload}{check}")
            }
            _ => format!("1380000{n:04}"),
        };
        Self { protocol, id, serial: 0, positions: 0 }
    }

    fn next_serial(&mut self) -> u16 {
        self.serial = self.serial.wrapping_add(1);
        self.serial
    }

    /// What it says first on a connection, if it says who it is only there.
    fn sign_on(&mut self) -> Option<(u16, Vec<u8>)> {
        (self.protocol == "gt06").then(|| {
            let serial = self.next_serial();
            (serial, gt06(0x01, &bcd(&format!("0{}", self.id)), serial))
        })
    }

    /// The next position: its serial number, the time as the event will have it, and the frame.
    pub(crate) fn position(&mut self) -> (u16, String, Vec<u8>) {
        let serial = self.next_serial();
        let time = Timestamp::from_millis(FIRST_TIME_MS + 1000 * self.positions);
        self.positions += 1;
        let frame = match self.protocol {
            "gt06" => {
                let mut body = time.civil(0).six().to_vec();
                // 9 satellites in a block of 12 bytes; 22.54310 N, 114.05790 E; 36 km/h; fixed, north, course 90
                body.push(0xC9);
                body.extend_from_slice(&(22_543_100 * 9 / 5_u32).to_be_bytes());
                body.extend_from_slice(&(114_057_900 * 9 / 5_u32).to_be_bytes());
                body.extend_from_slice(&[36, 0x14, 90]);
                // cell: 460, 0, 9520, 3671
                body.extend_from_slice(&[0x01, 0xCC, 0x00, 0x25, 0x30, 0x00, 0x0E, 0x57]);
                gt06(0x12, &body, serial)
            }
            _ => {
                let mut body = vec![0, 0, 0, 0, 0, 0, 0, 3];
                body.extend_from_slice(&22_543_100_u32.to_be_bytes());
                body.extend_from_slice(&114_057_900_u32.to_be_bytes());
                body.extend_from_slice(&[0, 12, 0x01, 0x68, 0, 90]);
                body.extend(clock(time.civil(CHINA_S)));
                jt808(0x0200, &format!("0{}", self.id), serial, &body)
            }
        };
        (serial, time.to_string(), frame)
    }
}

fn clock(civil: Civil) -> [u8; 6] {
    civil.six().map(|n| ((n / 10) << 4) | (n % 10))
}

pub(super) fn bcd(digits: &str) -> Vec<u8> {
    let digits: Vec<u8> = digits.bytes().map(|b| b - b'0').collect();
    digits.chunks(2).map(|pair| (pair[0] << 4) | pair[1]).collect()
}

pub(super) fn gt06(kind: u8, body: &[u8], serial: u16) -> Vec<u8> {
    let length = u8::try_from(body.len() + 5).unwrap();
    let mut checked = vec![length, kind];
    checked.extend_from_slice(body);
    checked.extend_from_slice(&serial.to_be_bytes());
    let crc = crc_itu(&checked);
    [&[0x78, 0x78], &checked[..], &crc.to_be_bytes(), b"\r\n"].concat()
}

/// JT/T 905 has the same frame around its messages.
pub(crate) fn jt808(id: u16, phone: &str, serial: u16, body: &[u8]) -> Vec<u8> {
    let mut content = id.to_be_bytes().to_vec();
    content.extend_from_slice(&u16::try_from(body.len()).unwrap().to_be_bytes());
    content.extend(bcd(phone));
    content.extend_from_slice(&serial.to_be_bytes());
    content.extend_from_slice(body);
    content.push(xor(&content));
    let mut frame = vec![0x7E];
    for byte in content {
        match byte {
            0x7E => frame.extend_from_slice(&[0x7D, 0x02]),
            0x7D => frame.extend_from_slice(&[0x7D, 0x01]),
            _ => frame.push(byte),
        }
    }
    frame.push(0x7E);
    frame
}

/// Take whole frames from the front of what came, and give the serial numbers that they acknowledge.
fn acknowledged(protocol: &str, received: &mut Vec<u8>) -> Vec<u16> {
    let mut serials = Vec::new();
    match protocol {
        "gt06" => {
            while let Some(length) = received.get(2).map(|n| usize::from(*n) + 5) {
                let Some(frame) = received.get(..length) else { break };
                if matches!(frame[3], 0x01 | 0x12) {
                    serials.push(u16::from_be_bytes([frame[length - 6], frame[length - 5]]));
                }
                received.drain(..length);
            }
        }
        _ => {
            while let Some(end) = received.iter().skip(1).position(|b| *b == 0x7E) {
                let content = unescaped(&received[1..=end]);
                // 0x8001, result 0
                if let [0x80, 0x01, _, _, _, _, _, _, _, _, _, _, high, low, _, _, 0, _] = content[..] {
                    serials.push(u16::from_be_bytes([high, low]));
                }
                received.drain(..=end + 1);
            }
        }
    }
    serials
}

pub(crate) fn unescaped(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    let mut bytes = bytes.iter();
    while let Some(byte) = bytes.next() {
        plain.push(match byte {
            0x7D => 0x7C + bytes.next().unwrap(),
            other => *other,
        });
    }
    plain
}

/// A connection of a device, or of whoever pretends to be one.
#[derive(Debug)]
pub(crate) struct Line {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Line {
    pub(crate) fn connect(to: SocketAddr) -> std::io::Result<Self> {
        let stream = TcpStream::connect_timeout(&to, Duration::from_secs(10))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, received: Vec::new() })
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// The device has nothing more to say.
    pub(crate) fn finish(&mut self) {
        let _ = self.stream.shutdown(std::net::Shutdown::Write); // the gateway may have closed already
    }

    /// Wait for bytes no longer than this. `TimedOut` when none came; `UnexpectedEof` at the end.
    fn more(&mut self, wait: Duration) -> std::io::Result<()> {
        self.stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer) {
            Ok(0) => Err(ErrorKind::UnexpectedEof.into()),
            Ok(n) => {
                self.received.extend_from_slice(&buffer[..n]);
                Ok(())
            }
            Err(e) if e.kind() == ErrorKind::WouldBlock => Err(ErrorKind::TimedOut.into()),
            Err(e) => Err(e),
        }
    }

    /// So many bytes, and no others.
    pub(crate) fn receive(&mut self, n: usize) -> std::io::Result<Vec<u8>> {
        let end = Instant::now() + PATIENCE;
        while self.received.len() < n {
            self.more(end.saturating_duration_since(Instant::now()))?;
        }
        Ok(self.received.drain(..n).collect())
    }

    /// Everything until the other side closes.
    pub(crate) fn receive_to_end(&mut self) -> Vec<u8> {
        let end = Instant::now() + PATIENCE;
        while self.more(end.saturating_duration_since(Instant::now())).is_ok() {}
        assert!(Instant::now() < end, "the gateway does not close the connection");
        std::mem::take(&mut self.received)
    }

    /// What comes within this time, which is nothing if all is well.
    pub(crate) fn receive_within(&mut self, wait: Duration) -> Vec<u8> {
        let end = Instant::now() + wait;
        while self.more(end.saturating_duration_since(Instant::now())).is_ok() {}
        std::mem::take(&mut self.received)
    }

    /// Sign on, if the device does that, and wait for the answer.
    pub(crate) fn sign_on(&mut self, device: &mut Device) -> std::io::Result<()> {
        match device.sign_on() {
            Some((serial, frame)) => {
                self.send(&frame)?;
                self.await_acknowledgement(device, serial)
            }
            None => Ok(()),
        }
    }

    /// Wait until this serial number is acknowledged.
    pub(crate) fn await_acknowledgement(&mut self, device: &Device, serial: u16) -> std::io::Result<()> {
        let end = Instant::now() + PATIENCE;
        loop {
            if acknowledged(device.protocol, &mut self.received).contains(&serial) {
                return Ok(());
            }
            self.more(end.saturating_duration_since(Instant::now()))?;
        }
    }

    /// Send the next position and wait until it is acknowledged: its time, as the event will have it.
    pub(crate) fn report(&mut self, device: &mut Device) -> std::io::Result<String> {
        let (serial, time, frame) = device.position();
        self.send(&frame)?;
        self.await_acknowledgement(device, serial)?;
        Ok(time)
    }
}
