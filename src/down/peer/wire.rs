//! What stands on the wire between two instances.
//!
//! Frames are a length, a seal and JSON. Each frame is sealed with a key of that connection and its number on it, so nothing can
//! be put in, left out or said twice. A home's frames carry its monotonic time: the least difference to ours that was ever seen
//! tells how far the clocks are apart, so an errand's deadline holds however long it was on its way.

use std::io;
use std::time::{Duration, SystemTime};

use hmac::{Hmac, KeyInit, Mac};
use parking_lot::RwLock;
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_rustls::rustls::{self, pki_types::ServerName};
use tracing::{info, warn};

use super::super::owner::InstanceId;
use super::Message;
use crate::clock;
use crate::tls::{self, Files, Remark, Tls};

/// Largest frame: the largest command that is read, with what JSON adds to it.
const FRAME: usize = 1024 * 1024;
/// Largest frame before anything is proved.
const SMALL: u32 = 4096;
/// Bytes of a seal.
const SEAL: usize = 16;
/// How often renewed certificates are looked for: they are renewed days before the old ones end.
const RENEW: Duration = Duration::from_secs(60);

/// By what instances know each other.
pub(crate) struct Security {
    /// The first proves, all are believed.
    secrets: Vec<Vec<u8>>,
    tls: Option<Renewed>,
}

struct Renewed {
    files: Files,
    now: RwLock<Tls>,
}

impl std::fmt::Debug for Security {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Security").field("tls", &self.tls.is_some()).finish_non_exhaustive()
    }
}

impl Security {
    /// With the secrets of the cluster, and with TLS if there are files for it.
    ///
    /// # Errors
    /// What is wrong with which of these.
    pub(crate) fn new(secrets: Vec<Vec<u8>>, files: Option<Files>) -> Result<Self, Remark> {
        let renewed = |files: Files| files.load().map(|(tls, _)| Renewed { files, now: RwLock::new(tls) });
        Ok(Self { secrets, tls: files.map(renewed).transpose()? })
    }

    /// Take renewed files in, for as long as this runs.
    pub(super) async fn renew(&self) {
        let Some(tls) = &self.tls else { return };
        let mut known = tls.files.changed();
        loop {
            sleep(RENEW).await;
            known = tls.renew(known);
        }
    }

    /// The first secret, which proves.
    pub(super) fn secret(&self) -> io::Result<&[u8]> {
        self.secrets.first().map(Vec::as_slice).ok_or_else(|| io::ErrorKind::PermissionDenied.into())
    }

    /// The secret with which this was proved.
    pub(super) fn who_proves(&self, what: &str, proof: &str) -> Option<&[u8]> {
        self.secrets.iter().map(Vec::as_slice).find(|secret| same(prove(secret, what).as_bytes(), proof.as_bytes()))
    }

    /// The connecting side.
    pub(super) async fn connected(&self, stream: TcpStream, address: &str) -> io::Result<(ReadHalf, WriteHalf)> {
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(plain(stream)) };
        let name = ServerName::try_from(tls::host(address).to_owned()).map_err(io::Error::other)?;
        let connector = tls.now.read().connector.clone();
        let stream = connector.connect(name, stream).await?;
        Ok(halves(stream))
    }

    /// The side that is connected to.
    pub(super) async fn accepted(&self, stream: TcpStream) -> io::Result<(ReadHalf, WriteHalf)> {
        stream.set_nodelay(true)?;
        let Some(tls) = &self.tls else { return Ok(plain(stream)) };
        let acceptor = tls.now.read().acceptor.clone();
        let stream = acceptor.accept(stream).await?;
        Ok(halves(stream))
    }

    /// What to tell a person about a connection that failed before anything was proved.
    pub(super) fn explain(&self, error: &io::Error) -> String {
        let cause = error.get_ref().and_then(|e| e.downcast_ref::<rustls::Error>());
        match (cause, &self.tls) {
            (Some(rustls::Error::InvalidMessage(_)), _) => NO_TLS.to_owned(),
            (Some(cause), _) => format!("{cause}; the certificates of all instances have to come from the CA of peer.ca_file"),
            (None, None) if error.kind() == io::ErrorKind::InvalidData => format!("{error}; {WANTS_TLS}"),
            (None, Some(_)) if matches!(error.kind(), io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset) => {
                format!("it ended the connection; {PERHAPS_NO_TLS}")
            }
            (None, _) => error.to_string(),
        }
    }
}

const NO_TLS: &str = "it does not speak TLS; give certificate_file, key_file and ca_file of [peer] on all instances";
const PERHAPS_NO_TLS: &str = "if it has no TLS, give certificate_file, key_file and ca_file of [peer] there too";
const WANTS_TLS: &str = "if it speaks TLS, give certificate_file, key_file and ca_file of [peer] here too";

impl Renewed {
    /// If files are newer than those that are known, take them; which are known then.
    fn renew(&self, known: Option<SystemTime>) -> Option<SystemTime> {
        let changed = self.files.changed();
        if changed == known {
            return known;
        }
        match self.files.load() {
            Ok((tls, _)) => {
                *self.now.write() = tls;
                info!("the peer endpoint has new certificates");
            }
            // one of the files may be new and the others not yet: then they change once more
            Err(Remark { key, what, .. }) => warn!("{key}: {what}; the peer endpoint stays with the certificates that it has"),
        }
        changed
    }
}

/// Where bytes of another instance come from.
pub(super) type ReadHalf = Box<dyn AsyncRead + Send + Unpin>;
/// Where bytes for another instance go.
pub(super) type WriteHalf = Box<dyn AsyncWrite + Send + Unpin>;

fn plain(stream: TcpStream) -> (ReadHalf, WriteHalf) {
    let (read, write) = stream.into_split();
    (Box::new(read), Box::new(write))
}

fn halves(stream: impl AsyncRead + AsyncWrite + Send + 'static) -> (ReadHalf, WriteHalf) {
    let (read, write) = tokio::io::split(stream);
    (Box::new(read), Box::new(write))
}

/// The first word of both sides; that of the side that is connected to has a proof.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Hello {
    pub(super) instance: InstanceId,
    pub(super) nonce: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) proof: Option<String>,
}

/// The second word of the side that connects.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Proof {
    pub(super) proof: String,
}

#[derive(Serialize, Deserialize)]
struct Timed<T> {
    /// The sender's monotonic clock.
    at: Duration,
    message: T,
}

/// Hear messages until the connection ends, or none comes for so long.
pub(super) async fn hear(mut reader: Reader, silence: Duration, mut each: impl FnMut(Message)) -> io::Error {
    let mut ahead: Option<i128> = None;
    loop {
        let Timed { at, message } = match timeout(silence, reader.receive::<Timed<Message>>()).await {
            Ok(Ok(timed)) => timed,
            Ok(Err(e)) => return e,
            Err(_) => return io::Error::new(io::ErrorKind::TimedOut, format!("nothing was heard for {silence:?}")),
        };
        // how far our clock is ahead of theirs, and the time that this message took: the least is the nearest to the truth
        let difference = nanos(clock::uptime()) - nanos(at);
        let least = ahead.map_or(difference, |least| least.min(difference));
        ahead = Some(least);
        each(match message {
            Message::Hand(mut handed) => {
                let ours = nanos(handed.deadline) + least;
                handed.deadline = Duration::from_nanos(u64::try_from(ours.max(0)).unwrap_or(u64::MAX));
                Message::Hand(handed)
            }
            other => other,
        });
    }
}

fn nanos(time: Duration) -> i128 {
    i128::try_from(time.as_nanos()).unwrap_or(i128::MAX)
}

pub(super) fn nonce() -> io::Result<String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|e| io::Error::other(e.to_string()))?;
    Ok(protocols::cursor::hex(&bytes))
}

fn mac(key: &[u8], parts: &[&[u8]]) -> [u8; 32] {
    // a key of any length is a key
    let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(key) else { return [0; 32] };
    for part in parts {
        mac.update(part);
    }
    mac.finalize().into_bytes().into()
}

pub(super) fn derive(secret: &[u8], what: &str) -> [u8; 32] {
    mac(secret, &[what.as_bytes()])
}

pub(super) fn prove(secret: &[u8], what: &str) -> String {
    protocols::cursor::hex(&derive(secret, what))
}

/// In time that depends on the lengths only.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |differ, (a, b)| differ | (a ^ b)) == 0
}

/// Before there are keys: a length and JSON, small.
pub(super) async fn put<T: Serialize>(write: &mut WriteHalf, value: &T) -> io::Result<()> {
    let json = serde_json::to_vec(value)?;
    let mut frame = u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
    frame.extend(json);
    write.write_all(&frame).await?;
    write.flush().await
}

pub(super) async fn get<T: for<'de> Deserialize<'de>>(read: &mut ReadHalf) -> io::Result<T> {
    let length = read.read_u32().await?;
    if length > SMALL {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "its first bytes are not those of an instance"));
    }
    let mut json = vec![0; length as usize];
    read.read_exact(&mut json).await?;
    Ok(serde_json::from_slice(&json)?)
}

/// Sealed frames come in.
pub(super) struct Reader {
    read: ReadHalf,
    key: [u8; 32],
    count: u64,
}

impl Reader {
    pub(super) const fn new(read: ReadHalf, key: [u8; 32]) -> Self {
        Self { read, key, count: 0 }
    }

    async fn receive<T: for<'de> Deserialize<'de>>(&mut self) -> io::Result<T> {
        let length = self.read.read_u32().await? as usize;
        if length > FRAME {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut seal = [0; SEAL];
        self.read.read_exact(&mut seal).await?;
        let mut json = vec![0; length];
        self.read.read_exact(&mut json).await?;
        let expected = mac(&self.key, &[&self.count.to_be_bytes(), &json]);
        self.count += 1;
        if !same(expected.get(..SEAL).unwrap_or_default(), &seal) {
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, "a frame's seal is wrong"));
        }
        Ok(serde_json::from_slice(&json)?)
    }
}

/// Sealed frames go out.
pub(super) struct Writer {
    write: WriteHalf,
    key: [u8; 32],
    count: u64,
}

impl Writer {
    pub(super) const fn new(write: WriteHalf, key: [u8; 32]) -> Self {
        Self { write, key, count: 0 }
    }

    pub(super) async fn send(&mut self, message: &Message) -> io::Result<()> {
        let json = serde_json::to_vec(&Timed { at: clock::uptime(), message })?;
        let seal = mac(&self.key, &[&self.count.to_be_bytes(), &json]);
        self.count += 1;
        let mut frame = u32::try_from(json.len()).map_err(io::Error::other)?.to_be_bytes().to_vec();
        frame.extend_from_slice(seal.get(..SEAL).unwrap_or_default());
        frame.extend(json);
        self.write.write_all(&frame).await?;
        self.write.flush().await
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::tls::tests::Authority;

    #[test]
    fn takes_renewed_files_and_stays_with_what_it_has_if_they_do_not_fit() {
        // the time of a change is told in steps of some milliseconds
        let later = || std::thread::sleep(Duration::from_millis(20));
        let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        let files = Files::from(ca.files(folder.path()));
        let (tls, _) = files.load().ok().unwrap();
        let renewed = Renewed { files, now: RwLock::new(tls) };
        let config = || Arc::clone(renewed.now.read().connector.config());
        let (first, known) = (config(), renewed.files.changed());
        assert_eq!(renewed.renew(known), known);
        assert!(Arc::ptr_eq(&first, &config()));
        later();
        std::fs::write(folder.path().join("peer.key"), "no key").unwrap();
        let known = renewed.renew(known);
        assert!(Arc::ptr_eq(&first, &config()), "it has none that fits");
        later();
        ca.files(folder.path());
        assert_ne!(renewed.renew(known), known);
        assert!(!Arc::ptr_eq(&first, &config()));
    }
}
