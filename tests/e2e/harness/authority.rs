//! A CA for the certificates of instances, made for one test.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose};

/// See the module.
pub(crate) struct Authority {
    /// Its own certificate.
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// The files of an instance.
pub(crate) struct Paths {
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
    pub(crate) ca: PathBuf,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    /// A certificate and its key for an instance at this host, changed like this.
    pub(crate) fn issue(&self, host: &str, change: impl FnOnce(&mut CertificateParams)) -> (String, String) {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new([host.to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth];
        change(&mut params);
        (params.signed_by(&key, &self.issuer).unwrap().pem(), key.serialize_pem())
    }

    /// The files of an instance at 127.0.0.1.
    pub(crate) fn files(&self, directory: &Path) -> Paths {
        let (certificate, key) = self.issue("127.0.0.1", |_| {});
        write(directory, [&certificate, &key, &self.pem])
    }
}

/// Write certificate, key and CA.
pub(crate) fn write(directory: &Path, content: [&str; 3]) -> Paths {
    std::fs::create_dir_all(directory).unwrap();
    let [certificate, key, ca] = ["peer.pem", "peer.key", "ca.pem"].map(|name| directory.join(name));
    for (path, text) in [&certificate, &key, &ca].into_iter().zip(content) {
        std::fs::write(path, text).unwrap();
    }
    Paths { certificate, key, ca }
}
