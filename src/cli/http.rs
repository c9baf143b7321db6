//! The little HTTP that the admin endpoint needs of a client: one request a connection.

use std::fmt::Write as _;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;

use super::Exit;

/// For the gateway to answer.
pub(super) const ANSWER: Duration = Duration::from_secs(30);
/// The largest answer: a script of the largest capture.
const LARGEST: u64 = 1 << 30;
/// The environment variable that holds the token: that of the gateway's own key.
const TOKEN: &str = "NAVGATE_ADMIN__TOKEN";

/// Which gateway.
#[derive(Debug, Args)]
pub(super) struct AdminArgs {
    /// The gateway's admin address
    #[arg(long, value_name = "HOST:PORT", default_value = "127.0.0.1:9900")]
    admin: String,
    /// A file with the admin token; else NAVGATE_ADMIN__TOKEN says it
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
}

impl AdminArgs {
    /// Whom to ask.
    ///
    /// # Errors
    /// An address that there is not, or a file that cannot be read.
    pub(super) fn client(&self) -> Result<Client, Exit> {
        Ok(Client { to: resolve(&self.admin)?, token: token(self.token_file.as_deref())? })
    }
}

fn resolve(text: &str) -> Result<SocketAddr, Exit> {
    let found: Vec<_> = text.to_socket_addrs().map_err(|e| Exit::usage(format!("--admin {text}: {e}; write host:port")))?.collect();
    // `localhost` is both; gateways listen on the first kind
    found
        .iter()
        .find(|address| address.is_ipv4())
        .or_else(|| found.first())
        .copied()
        .ok_or_else(|| Exit::usage(format!("--admin {text}: there is no such host")))
}

fn token(file: Option<&Path>) -> Result<Option<String>, Exit> {
    match file {
        None => Ok(std::env::var(TOKEN).ok()),
        Some(path) => {
            let text = std::fs::read_to_string(path).map_err(|e| Exit::usage(format!("--token-file {}: {e}", path.display())))?;
            Ok(Some(text.trim().to_owned()))
        }
    }
}

/// Whom to ask.
#[derive(Debug)]
pub(super) struct Client {
    to: SocketAddr,
    token: Option<String>,
}

/// A status, and the body as it comes.
pub(super) type Response = (u16, Box<dyn BufRead>);

impl Client {
    /// The body of the answer.
    ///
    /// # Errors
    /// What the gateway says against it, as its exit status wants it: a request that makes no sense is wrong usage.
    pub(super) fn text(&self, method: &str, path: &str, body: &str) -> Result<String, Exit> {
        let (status, mut answer) = self.ask(method, path, body, ANSWER)?;
        let text = self.whole(&mut answer)?;
        if (200..300).contains(&status) { Ok(text) } else { Err(objection(status, &text)) }
    }

    /// The rest of an answer.
    ///
    /// # Errors
    /// The connection breaks.
    pub(super) fn whole(&self, answer: &mut dyn BufRead) -> Result<String, Exit> {
        let mut text = String::new();
        answer.read_to_string(&mut text).map_err(|e| self.broken(&e))?;
        Ok(text)
    }

    /// An answer as it comes; nothing of it takes longer than `wait`.
    ///
    /// # Errors
    /// The gateway cannot be reached, or something else answers there.
    pub(super) fn ask(&self, method: &str, path: &str, body: &str, wait: Duration) -> Result<Response, Exit> {
        self.request(method, path, body, wait).map_err(|e| self.broken(&e))
    }

    /// A connection that did not do what it should.
    pub(super) fn broken(&self, e: &io::Error) -> Exit {
        Exit::failed(format!("the gateway's admin address {}: {e}; --admin says another", self.to))
    }

    fn request(&self, method: &str, path: &str, body: &str, wait: Duration) -> io::Result<Response> {
        let mut stream = TcpStream::connect_timeout(&self.to, ANSWER)?;
        stream.set_read_timeout(Some(wait))?;
        let token = self.token.as_ref().map(|token| format!("Authorization: Bearer {token}\r\n")).unwrap_or_default();
        let (to, length) = (self.to, body.len());
        // to 1.0 nothing is answered in chunks
        let head = format!("{method} {path} HTTP/1.0\r\nHost: {to}\r\n{token}Content-Length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes())?;
        stream.write_all(body.as_bytes())?;
        let mut answer = BufReader::new(stream.take(LARGEST));
        let status = head_of(&mut answer)?.ok_or_else(|| io::Error::new(io::ErrorKind::InvalidData, "this is no HTTP"))?;
        Ok((status, Box::new(answer)))
    }
}

/// What a status other than success means for whoever called us.
pub(super) fn objection(status: u16, text: &str) -> Exit {
    match status {
        400 => Exit::usage(text.trim()),
        401 => Exit::failed(format!("the gateway wants its admin token: set {TOKEN} or --token-file")),
        _ => Exit::failed(format!("the gateway says {status}: {}", text.trim())),
    }
}

/// A text as a part of a path.
pub(super) fn in_path(text: &str) -> String {
    text.bytes().fold(String::new(), |mut path, byte| {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => path.push(char::from(byte)),
            // writing to a string cannot fail
            _ => _ = write!(path, "%{byte:02X}"),
        }
        path
    })
}

/// The status; what follows is the body.
fn head_of(answer: &mut impl BufRead) -> io::Result<Option<u16>> {
    let mut line = String::new();
    answer.read_line(&mut line)?;
    let status = line.strip_prefix("HTTP/1.").and_then(|rest| rest.split(' ').nth(1)).and_then(|s| s.parse().ok());
    while status.is_some() {
        line.clear();
        if answer.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        if line.trim().is_empty() {
            break;
        }
    }
    Ok(status)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_taken_apart() {
        let read = |text: &str| {
            let mut answer = io::Cursor::new(text.as_bytes().to_vec());
            let status = head_of(&mut answer).unwrap();
            let mut body = String::new();
            answer.read_to_string(&mut body).unwrap();
            (status, body)
        };
        assert_eq!(read("HTTP/1.1 201 Created\r\na: b\r\n\r\n{}\r\n\r\nx"), (Some(201), "{}\r\n\r\nx".to_owned()));
        assert_eq!(read("SSH-2.0\r\n\r\n").0, None);
        assert_eq!(read("HTTP/1.1 201 Created\r\n").0, None);
    }

    #[test]
    fn an_identity_is_one_part_of_a_path() {
        assert_eq!(in_path("A-1.b_2~"), "A-1.b_2~");
        assert_eq!(in_path("a/b?c#d%"), "a%2Fb%3Fc%23d%25");
    }
}
