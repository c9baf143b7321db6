//! The little HTTP that the admin endpoint needs of a client: one request a connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::capture::Told;
use crate::cli::Exit;

/// For the gateway to answer.
const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer: a script of the largest capture.
const LARGEST: u64 = 1 << 30;

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) to: SocketAddr,
    pub(super) token: Option<String>,
}

impl Client {
    /// The body of the answer.
    ///
    /// # Errors
    /// What the gateway says against it, as its exit status wants it: a request that makes no sense is wrong usage.
    pub(super) fn text(&self, method: &str, path: &str, body: &str) -> Result<String, Exit> {
        let (status, answer) =
            self.ask(method, path, body).map_err(|e| Exit::failed(format!("the gateway's admin address {}: {e}", self.to)))?;
        match status {
            200..=299 => Ok(answer),
            400 => Err(Exit::usage(answer.trim())),
            401 => Err(Exit::failed("the gateway wants its admin token: set NAVGATE_ADMIN__TOKEN or --token-file")),
            _ => Err(Exit::failed(format!("the gateway says {status}: {}", answer.trim()))),
        }
    }

    /// A capture.
    ///
    /// # Errors
    /// As [`Client::text`].
    pub(super) fn told(&self, method: &str, path: &str, body: &str) -> Result<Told, Exit> {
        let answer = self.text(method, path, body)?;
        serde_json::from_str(&answer).map_err(|e| Exit::failed(format!("the gateway's answer cannot be read: {e}")))
    }

    fn ask(&self, method: &str, path: &str, body: &str) -> io::Result<(u16, String)> {
        let mut stream = TcpStream::connect_timeout(&self.to, ANSWER)?;
        stream.set_read_timeout(Some(ANSWER))?;
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let (to, length) = (self.to, body.len());
        let head =
            format!("{method} {path} HTTP/1.1\r\nHost: {to}\r\nConnection: close\r\n{token}Content-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = String::new();
        stream.take(LARGEST).read_to_string(&mut answer)?;
        parse(&answer).ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP"))
    }
}

/// Status and body. The endpoint sends its answers whole, so nothing is in chunks.
fn parse(answer: &str) -> Option<(u16, String)> {
    let (head, body) = answer.split_once("\r\n\r\n")?;
    let status = head.strip_prefix("HTTP/1.")?.split(' ').nth(1)?.parse().ok()?;
    Some((status, body.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        assert_eq!(parse("HTTP/1.1 201 Created\r\na: b\r\n\r\n{}\r\n\r\nx"), Some((201, "{}\r\n\r\nx".to_owned())));
        assert_eq!(parse("SSH-2.0\r\n\r\n"), None);
        assert_eq!(parse("HTTP/1.1 201 Created\r\n"), None);
    }
}
