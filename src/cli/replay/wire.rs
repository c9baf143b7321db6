//! The connection: what the device says goes out, and what comes back is compared.

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use indicatif::ProgressBar;
use protocols::script::{Action, Expect, Expected, Fit, Item, Options, Pattern, Said, run, substitute};

use super::show::Finding;
use super::{Play, ProxyVersion, ReplayArgs};

/// For a connection to be accepted.
const CONNECT: Duration = Duration::from_secs(10);
/// For an acknowledgement: a store that has lost a broker is back within this.
const REPLY: Duration = Duration::from_secs(10);
/// After something else came: whatever belongs to it comes at once.
const REST: Duration = Duration::from_millis(300);
/// For the gateway to close its side after ours.
const CLOSE: Duration = Duration::from_secs(15);
/// How often a wait looks whether it was interrupted.
const GLANCE: Duration = Duration::from_millis(100);
/// Bytes that may be received and not yet compared; no gateway sends so much to one device.
const MOST: usize = 4 * 1024 * 1024;

/// Addresses that nobody has (RFC 5737 and RFC 3849), for the header of a balancer.
const INVENTED: (Ipv4Addr, Ipv6Addr) = (Ipv4Addr::new(203, 0, 113, 7), Ipv6Addr::new(0x2001, 0xDB8, 0, 0, 0, 0, 0, 7));

struct Line<'a> {
    stream: TcpStream,
    received: Vec<u8>,
    ended: bool,
    stop: &'a AtomicBool,
    /// The code that the script's device would send, and the one that this gateway gave.
    codes: Vec<(Vec<u8>, Vec<u8>)>,
}

/// Play it; the address that the gateway takes for the device's.
pub(super) fn play(
    play: &Play,
    to: SocketAddr,
    args: &ReplayArgs,
    stop: &AtomicBool,
    bar: &ProgressBar,
    findings: &mut Vec<Finding>,
) -> io::Result<SocketAddr> {
    let stream = TcpStream::connect_timeout(&to, CONNECT)?;
    stream.set_nodelay(true)?;
    let own = stream.local_addr()?;
    let mut line = Line { stream, received: Vec::new(), ended: false, stop, codes: Vec::new() };
    let peer = match args.proxy {
        None => own,
        Some(version) => {
            let ip = if to.is_ipv4() { IpAddr::V4(INVENTED.0) } else { IpAddr::V6(INVENTED.1) };
            let peer = SocketAddr::new(ip, own.port());
            line.stream.write_all(&header(version, peer, to))?;
            peer
        }
    };
    // what our own code says to it shows where in a reply the code stands
    let said = run(play.protocol, &play.script, &Options::default()).said;
    for (index, item) in play.script.items.iter().enumerate() {
        match &item.action {
            Action::Receive(bytes) => line.send(play, bytes),
            Action::Advance(pause) => line.wait(play.pause(index, *pause, args.speed))?,
            Action::Command(_) => {}
        }
        let ours: Vec<_> = said.iter().filter(|(of, _)| *of == index).map(|(_, said)| said).collect();
        line.expect(play, item, &ours, findings)?;
        bar.inc(1);
        if stop.load(Ordering::Relaxed) {
            return Ok(peer);
        }
    }
    line.finish(findings)?;
    Ok(peer)
}

impl Line<'_> {
    /// The gateway may have closed by now, as the conversation may want; what comes back tells.
    fn send(&mut self, play: &Play, bytes: &[u8]) {
        let mut bytes = bytes.to_vec();
        for (old, new) in &self.codes {
            bytes = substitute(play.protocol, &bytes, old, new);
        }
        self.ended |= self.stream.write_all(&bytes).is_err();
    }

    fn wait(&mut self, pause: Duration) -> io::Result<()> {
        let end = Instant::now() + pause;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() || self.stop.load(Ordering::Relaxed) {
                return Ok(());
            }
            if self.ended {
                std::thread::sleep(left.min(GLANCE));
            } else {
                self.more(left.min(GLANCE))?;
            }
        }
    }

    /// Wait for bytes no longer than this; whether some came.
    fn more(&mut self, wait: Duration) -> io::Result<bool> {
        if self.ended {
            return Ok(false);
        }
        if self.received.len() > MOST {
            return Err(io::Error::other(format!("more than {MOST} bytes came that nothing expects")));
        }
        self.stream.set_read_timeout(Some(wait.max(Duration::from_millis(1))))?;
        let mut buffer = [0; 16 * 1024];
        match self.stream.read(&mut buffer) {
            Ok(0) => {
                self.ended = true;
                Ok(false)
            }
            Ok(n) => {
                self.received.extend_from_slice(buffer.get(..n).unwrap_or_default());
                Ok(true)
            }
            Err(e) if matches!(e.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted) => Ok(false),
            Err(e) if matches!(e.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe) => {
                self.ended = true;
                Ok(false)
            }
            Err(e) => Err(e),
        }
    }

    /// Compare what comes with what is expected of an item.
    fn expect(&mut self, play: &Play, item: &Item, ours: &[&Said], findings: &mut Vec<Finding>) -> io::Result<()> {
        let mut wanted = item.expected.iter().filter_map(|e| if let Expect::Sent(p) = &e.what { Some((e, p)) } else { None });
        while let Some((expected, pattern)) = wanted.next() {
            let end = Instant::now() + REPLY;
            let used = loop {
                match pattern.begins(&self.received) {
                    Fit::Whole(used) => break Some(used),
                    Fit::No => break None,
                    Fit::More => {}
                }
                let left = end.saturating_duration_since(Instant::now());
                if left.is_zero() || self.ended || self.stop.load(Ordering::Relaxed) {
                    break None;
                }
                self.more(left.min(GLANCE))?;
            };
            let Some(used) = used else {
                while self.more(REST)? {}
                let rest: Vec<_> = std::iter::once((expected, pattern)).chain(wanted).collect();
                self.differ(item, &rest, findings);
                return Ok(());
            };
            let reply: Vec<u8> = self.received.drain(..used).collect();
            self.learn(play, pattern, &reply, ours);
        }
        Ok(())
    }

    /// The code that the gateway gives is made with its own secret; the device repeats it later.
    fn learn(&mut self, play: &Play, pattern: &Pattern, reply: &[u8], ours: &[&Said]) {
        let frames = ours.iter().filter_map(|said| match said {
            Said::Sent(frame) | Said::Acknowledged(frame) => Some(frame).filter(|frame| pattern.fits(frame)),
            _ => None,
        });
        let reply = pattern.opposite(reply);
        for frame in frames {
            for code in &play.codes {
                let code = code.as_bytes();
                let Some(at) = frame.windows(code.len()).position(|window| window == code) else { continue };
                if let Some(given) = reply.get(at..at + code.len()).filter(|given| *given != code) {
                    self.codes.push((code.to_vec(), given.to_vec()));
                }
            }
        }
    }

    /// Tell what came instead of these: first what was found further on, then what stands against what.
    fn differ(&mut self, item: &Item, wanted: &[(&Expected, &Pattern)], findings: &mut Vec<Finding>) {
        let mut rest = std::mem::take(&mut self.received);
        for (n, (expected, pattern)) in wanted.iter().enumerate() {
            let found = (0..rest.len()).find_map(|at| match pattern.begins(rest.get(at..).unwrap_or_default()) {
                Fit::Whole(used) => Some((at, used)),
                Fit::More | Fit::No => None,
            });
            let got = match found {
                Some((0, used)) => {
                    rest.drain(..used);
                    continue;
                }
                Some((at, used)) => {
                    let before = rest.drain(..at).collect();
                    rest.drain(..used);
                    findings.push(Finding::Unexpected { line: item.line, bytes: before });
                    continue;
                }
                None if n + 1 == wanted.len() => std::mem::take(&mut rest),
                // of the same length if there is so much; the next one may begin behind it
                None => rest.drain(..pattern.0.len().min(rest.len())).collect(),
            };
            findings.push(Finding::Reply { line: expected.line, expected: (*pattern).clone(), got });
        }
        if !rest.is_empty() {
            findings.push(Finding::Unexpected { line: item.line, bytes: rest });
        }
    }

    /// The device has nothing more to say.
    fn finish(mut self, findings: &mut Vec<Finding>) -> io::Result<()> {
        let _ = self.stream.shutdown(Shutdown::Write); // the gateway may have closed already
        let end = Instant::now() + CLOSE;
        while !self.ended && Instant::now() < end && !self.stop.load(Ordering::Relaxed) {
            self.more(GLANCE)?;
        }
        if !self.received.is_empty() {
            findings.push(Finding::Unexpected { line: 0, bytes: std::mem::take(&mut self.received) });
        }
        if !self.ended && !self.stop.load(Ordering::Relaxed) {
            findings.push(Finding::Broken(format!("the gateway does not close the connection within {} s", CLOSE.as_secs())));
        }
        Ok(())
    }
}

/// What a balancer sends first.
fn header(version: ProxyVersion, from: SocketAddr, to: SocketAddr) -> Vec<u8> {
    match version {
        ProxyVersion::V1 => {
            let family = if from.is_ipv4() { "TCP4" } else { "TCP6" };
            format!("PROXY {family} {} {} {} {}\r\n", from.ip(), to.ip(), from.port(), to.port()).into_bytes()
        }
        ProxyVersion::V2 => {
            let mut header = b"\r\n\r\n\0\r\nQUIT\n\x21".to_vec();
            let octets = |ip: IpAddr| match ip {
                IpAddr::V4(ip) => ip.octets().to_vec(),
                IpAddr::V6(ip) => ip.octets().to_vec(),
            };
            let ports = [from.port().to_be_bytes(), to.port().to_be_bytes()].concat();
            let addresses = [octets(from.ip()), octets(to.ip()), ports].concat();
            header.push(if from.is_ipv4() { 0x11 } else { 0x21 });
            header.extend_from_slice(&[0, addresses.len() as u8]); // 12 or 36
            header.extend_from_slice(&addresses);
            header
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proxy::{Header, Parsed, parse};

    #[test]
    fn the_gateway_understands_both_headers() {
        let v4: (SocketAddr, SocketAddr) = ("203.0.113.7:4242".parse().unwrap(), "127.0.0.1:5023".parse().unwrap());
        let v6 = ("[2001:db8::7]:4242".parse().unwrap(), "[::1]:5023".parse().unwrap());
        for (src, dst) in [v4, v6] {
            for version in [ProxyVersion::V1, ProxyVersion::V2] {
                let bytes = header(version, src, dst);
                let wanted = Parsed::Header { used: bytes.len(), header: Header::Proxied { src, dst }, unique_id: None };
                assert_eq!(parse(&bytes), wanted);
            }
        }
    }
}
