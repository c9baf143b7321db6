//! TLS among the instances of a cluster: each side shows a certificate that the cluster's CA has issued.
//!
//! rustls with ring: no C library beside librdkafka, one dependency more than rustls itself. TLS 1.3 only, for both sides are
//! ours. Every mistake that can be seen in the files is seen when they are loaded, and told for the key that names the file.

use std::fmt;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio_rustls::rustls::client::danger::ServerCertVerifier as _;
use tokio_rustls::rustls::client::{Resumption, VerifierBuilderError, WebPkiServerVerifier};
use tokio_rustls::rustls::crypto::{CryptoProvider, ring};
use tokio_rustls::rustls::pki_types::pem::{self, PemObject};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use tokio_rustls::rustls::server::WebPkiClientVerifier;
use tokio_rustls::rustls::server::danger::ClientCertVerifier;
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{CertificateError, ClientConfig, Error, RootCertStore, ServerConfig, version::TLS13};
use tokio_rustls::{TlsAcceptor, TlsConnector};

use crate::config::Peer;

/// Of a file with certificates or a key: a chain has some KiB.
const MAX_PEM_BYTES: u64 = 1024 * 1024;
/// A certificate that ends so soon is told: time to renew it by hand.
const SOON: Duration = Duration::from_secs(14 * 24 * 3600);

/// The three files.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Files {
    certificate: PathBuf,
    key: PathBuf,
    ca: PathBuf,
    /// The host by which other instances reach this one: the certificate has to be for it.
    host: Option<String>,
}

/// What is wrong, or doubtful, with which key of `[peer]`.
#[derive(Debug, PartialEq)]
pub(crate) struct Remark {
    pub(crate) key: &'static str,
    pub(crate) what: String,
    pub(crate) fix: &'static str,
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, what, fix } = self;
        write!(f, "{key}: {what}; {fix}")
    }
}

/// For both directions.
#[derive(Clone)]
pub(crate) struct Tls {
    pub(crate) acceptor: TlsAcceptor,
    pub(crate) connector: TlsConnector,
}

const CERTIFICATE: &str = "peer.certificate_file";
const KEY: &str = "peer.key_file";
const CA: &str = "peer.ca_file";

impl Files {
    /// Those that are configured, if any.
    ///
    /// # Errors
    /// Some are, and one is not.
    pub(crate) fn of(peer: &Peer) -> Result<Option<Self>, Remark> {
        let missing = |key| Remark {
            key,
            what: "it is missing, and another of the three files for TLS is given".to_owned(),
            fix: "give certificate_file, key_file and ca_file, or none of them",
        };
        let host = match &peer.advertise {
            Some(advertise) => Some(host(advertise).to_owned()),
            None if peer.address.ip().is_unspecified() => None,
            None => Some(peer.address.ip().to_string()),
        };
        match (&peer.certificate_file, &peer.key_file, &peer.ca_file) {
            (None, None, None) => Ok(None),
            (Some(certificate), Some(key), Some(ca)) => {
                Ok(Some(Self { certificate: certificate.clone(), key: key.clone(), ca: ca.clone(), host }))
            }
            (None, ..) => Err(missing(CERTIFICATE)),
            (_, None, _) => Err(missing(KEY)),
            (.., None) => Err(missing(CA)),
        }
    }

    /// When one of them was changed last; renewed files are newer.
    pub(crate) fn changed(&self) -> Option<SystemTime> {
        let changed = |path: &PathBuf| std::fs::metadata(path).and_then(|m| m.modified()).ok();
        [&self.certificate, &self.key, &self.ca].into_iter().filter_map(changed).max()
    }

    /// Read them, and see whether another instance would believe what they show.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub(crate) fn load(&self) -> Result<(Tls, Option<Remark>), Remark> {
        let provider = Arc::new(ring::default_provider());
        let chain = certificates(&self.certificate, CERTIFICATE)?;
        let key = key(&self.key)?;
        belongs(&chain, key.clone_key(), &provider)?;
        let roots = Arc::new(roots(&self.ca)?);
        let no_ca = |e: VerifierBuilderError| Remark { key: CA, what: format!("it cannot be used: {e}"), fix: ISSUE };
        let as_client = WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(&provider));
        let as_client = as_client.build().map_err(no_ca)?;
        let as_server = WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(&provider)).build().map_err(no_ca)?;
        let remark = self.believable(&chain, &*as_client, &as_server)?;

        let unusable = |e: Error| Remark { key: CERTIFICATE, what: format!("it cannot be used: {e}"), fix: ISSUE };
        let mut server = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(&[&TLS13])
            .and_then(|b| b.with_client_cert_verifier(as_client).with_single_cert(chain.clone(), key.clone_key()))
            .map_err(unusable)?;
        let mut client = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])
            .and_then(|b| b.with_webpki_verifier(as_server).with_client_auth_cert(chain, key))
            .map_err(unusable)?;
        // connections live long, and each is to be looked at with the CA of its day
        server.send_tls13_tickets = 0;
        client.resumption = Resumption::disabled();
        let (acceptor, connector) = (Arc::new(server).into(), Arc::new(client).into());
        Ok((Tls { acceptor, connector }, remark))
    }

    /// As both sides of a connection will look at it; a remark if that ends soon.
    fn believable(
        &self,
        chain: &[CertificateDer<'static>],
        as_client: &dyn ClientCertVerifier,
        as_server: &WebPkiServerVerifier,
    ) -> Result<Option<Remark>, Remark> {
        let Some((first, others)) = chain.split_first() else { return Ok(None) };
        let refused = |what: String, fix| Remark { key: CERTIFICATE, what, fix };
        let now = UnixTime::now();
        as_client.verify_client_cert(first, others, now).map_err(|e| refused(reason(&e), ISSUE))?;
        let soon = UnixTime::since_unix_epoch(Duration::from_secs(now.as_secs()) + SOON);
        let ends_soon = as_client.verify_client_cert(first, others, soon).is_err();
        if let Some(host) = &self.host {
            let fix = "let it name the host of peer.advertise (else peer.address) as a subject alternative name";
            let name =
                ServerName::try_from(host.as_str()).map_err(|_| refused(format!("no certificate can name `{host}`"), fix))?;
            as_server.verify_server_cert(first, others, &name, &[], now).map_err(|e| match e {
                Error::InvalidCertificate(CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. }) => {
                    refused(format!("it does not name `{host}`, where other instances connect to"), fix)
                }
                other => refused(reason(&other), ISSUE),
            })?;
        }
        let remark = ends_soon.then(|| Remark {
            key: CERTIFICATE,
            what: format!("it ends within {} days; instances will then refuse each other", SOON.as_secs() / (24 * 3600)),
            fix: "renew it; a running instance takes the new files by itself",
        });
        Ok(remark)
    }
}

/// The fix of most mistakes.
const ISSUE: &str = "have it issued by the CA of peer.ca_file, for servers and clients (extended key usage)";

/// The host of `host:port`.
pub(crate) fn host(address: &str) -> &str {
    let host = address.rsplit_once(':').map_or(address, |(host, _)| host);
    host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host)
}

fn reason(error: &Error) -> String {
    match error {
        Error::InvalidCertificate(CertificateError::UnknownIssuer) => "no certificate of peer.ca_file has issued it".to_owned(),
        Error::InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "it has expired".to_owned()
        }
        Error::InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "it is not valid yet; is the clock right?".to_owned()
        }
        other => format!("other instances would refuse it: {other}"),
    }
}

fn read(path: &Path, key: &'static str) -> Result<Vec<u8>, Remark> {
    let told =
        |what: String| Remark { key, what: format!("`{}` {what}", path.display()), fix: "give a PEM file that this user can read" };
    let file = File::open(path).map_err(|e| told(format!("cannot be read: {e}")))?;
    let mut bytes = Vec::new();
    file.take(MAX_PEM_BYTES + 1).read_to_end(&mut bytes).map_err(|e| told(format!("cannot be read: {e}")))?;
    if bytes.len() as u64 > MAX_PEM_BYTES {
        return Err(told(format!("is longer than {MAX_PEM_BYTES} bytes")));
    }
    Ok(bytes)
}

fn certificates(path: &Path, key: &'static str) -> Result<Vec<CertificateDer<'static>>, Remark> {
    let told = |what: &str| Remark { key, what: format!("`{}` {what}", path.display()), fix: "write certificates as PEM" };
    let bytes = read(path, key)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&bytes).collect();
    match found {
        Ok(found) if found.is_empty() => Err(told("holds no certificate")),
        Ok(found) => Ok(found),
        Err(e) => Err(told(&format!("cannot be understood: {e}"))),
    }
}

/// What went wrong is told without anything of the key.
fn key(path: &Path) -> Result<PrivateKeyDer<'static>, Remark> {
    let bytes = read(path, KEY)?;
    PrivateKeyDer::from_pem_slice(&bytes).map_err(|e| {
        let what = match e {
            pem::Error::NoItemsFound => "holds no private key that is not encrypted",
            _ => "cannot be understood",
        };
        Remark { key: KEY, what: format!("`{}` {what}", path.display()), fix: "write it as PEM: PKCS#8, SEC1 or PKCS#1" }
    })
}

/// Whether this is the key of the first certificate.
fn belongs(chain: &[CertificateDer<'static>], key: PrivateKeyDer<'static>, provider: &CryptoProvider) -> Result<(), Remark> {
    CertifiedKey::from_der(chain.to_vec(), key, provider).map(drop).map_err(|e| match e {
        Error::InconsistentKeys(_) => Remark {
            key: KEY,
            what: "it is not the key of peer.certificate_file".to_owned(),
            fix: "give the key for which the certificate was issued",
        },
        Error::InvalidCertificate(_) => {
            Remark { key: CERTIFICATE, what: format!("its first certificate cannot be read: {e}"), fix: ISSUE }
        }
        _ => Remark {
            key: KEY,
            what: "it is of a kind that is not supported".to_owned(),
            fix: "use ECDSA P-256, P-384, Ed25519 or RSA",
        },
    })
}

fn roots(path: &Path) -> Result<RootCertStore, Remark> {
    let mut roots = RootCertStore::empty();
    for (n, certificate) in certificates(path, CA)?.into_iter().enumerate() {
        let told = |e| Remark {
            key: CA,
            what: format!("certificate {} of `{}` cannot be a CA's: {e}", n + 1, path.display()),
            fix: "give the certificate of the CA that issues those of the instances",
        };
        roots.add(certificate).map_err(told)?;
    }
    Ok(roots)
}

#[cfg(test)]
#[path = "../tests/e2e/harness/authority.rs"]
mod authority;

#[cfg(test)]
pub(crate) mod tests {
    use rcgen::{ExtendedKeyUsagePurpose, date_time_ymd};

    pub(crate) use super::authority::Authority;
    use super::authority::{Paths, write};
    use super::*;

    impl From<Paths> for Files {
        fn from(Paths { certificate, key, ca }: Paths) -> Self {
            Self { certificate, key, ca, host: Some("127.0.0.1".to_owned()) }
        }
    }

    #[test]
    fn accepts_what_the_ca_has_issued_and_tells_when_it_ends() {
        let (folder, ca) = (tempfile::tempdir().unwrap(), Authority::new("ours"));
        assert!(matches!(Files::from(ca.files(folder.path())).load(), Ok((_, None))));
        let soon = SystemTime::now() + SOON / 2;
        let (certificate, key) = ca.issue("127.0.0.1", |params| params.not_after = soon.into());
        let files = Files::from(write(folder.path(), [&certificate, &key, &ca.pem]));
        let Ok((_, Some(remark))) = files.load() else { panic!() };
        assert!(remark.what.contains("ends within 14 days"), "{remark}");
    }

    #[test]
    fn refuses_each_mistake_with_the_key_that_has_it() {
        let folder = tempfile::tempdir().unwrap();
        let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
        let (certificate, key) = ours.issue("127.0.0.1", |_| {});
        let (_, other_key) = ours.issue("127.0.0.1", |_| {});
        let (elsewhere, elsewhere_key) = ours.issue("gw-7.internal", |_| {});
        let (old, old_key) = ours.issue("127.0.0.1", |params| params.not_after = date_time_ymd(2020, 1, 1));
        let (server, server_key) =
            ours.issue("127.0.0.1", |params| params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth]);
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        let cases: [([&str; 3], &str, &str); 9] = [
            (["", &key, &ours.pem], CERTIFICATE, "holds no certificate"),
            ([broken, &key, &ours.pem], CERTIFICATE, "first certificate"),
            ([&certificate, "", &ours.pem], KEY, "holds no private key"),
            ([&certificate, &other_key, &ours.pem], KEY, "not the key of peer.certificate_file"),
            ([&certificate, &key, ""], CA, "holds no certificate"),
            ([&certificate, &key, &theirs.pem], CERTIFICATE, "no certificate of peer.ca_file has issued it"),
            ([&elsewhere, &elsewhere_key, &ours.pem], CERTIFICATE, "does not name `127.0.0.1`"),
            ([&old, &old_key, &ours.pem], CERTIFICATE, "it has expired"),
            ([&server, &server_key, &ours.pem], CERTIFICATE, "other instances would refuse it"),
        ];
        for (content, key, what) in cases {
            let remark = Files::from(write(folder.path(), content)).load().err().unwrap();
            assert_eq!(remark.key, key, "{remark}");
            assert!(remark.to_string().contains(what), "{remark}, not {what}");
            assert!(content[1].lines().nth(1).is_none_or(|line| !remark.to_string().contains(line)), "a key is told");
        }
        let files = Files::from(write(folder.path(), [&certificate, &key, &ours.pem]));
        std::fs::remove_file(&files.key).unwrap();
        let remark = files.load().err().unwrap();
        assert!(remark.key == KEY && remark.what.contains("peer.key` cannot be read"), "{remark}");
    }

    #[test]
    fn all_three_files_or_none() {
        let mut peer = Peer::default();
        assert_eq!(Files::of(&peer), Ok(None));
        peer.certificate_file = Some("a".into());
        assert_eq!(Files::of(&peer).unwrap_err().key, KEY);
        peer.ca_file = Some("b".into());
        assert_eq!(Files::of(&peer).unwrap_err().key, KEY);
        (peer.key_file, peer.advertise) = (Some("c".into()), Some("[2001:db8::7]:9901".into()));
        assert_eq!(Files::of(&peer).unwrap().unwrap().host.as_deref(), Some("2001:db8::7"));
    }
}
