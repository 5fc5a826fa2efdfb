//! The door's TLS: its certificate, and whose certificates it asks for, read from files, and read again when they are
//! replaced.
//!
//! A replacement that can't be used changes nothing: what was read before goes on, and the log of the program says
//! why. Knows no request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use rustls::{RootCertStore, ServerConfig};
use sha2::{Digest as _, Sha256};
use tokio_rustls::TlsAcceptor;

use crate::authn::ClientCertificate;
use crate::config::{DataFolderError, private_text, public_text};
use crate::ids::hex;

/// The most bytes of a file: 256 KiB; of one with revoked certificates: 16 MiB.
const FILE_BYTES_MAX: usize = 256 << 10;
const CRL_BYTES_MAX: usize = 16 << 20;
/// How long a client certificate that was checked is taken to be valid still, unless the files change.
const CHECK_INTERVAL: Duration = Duration::from_secs(60);
/// The most names of a client certificate that are looked at.
const NAMES_MAX: usize = 64;

/// Why a certificate can't be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file can't be read, or others can read the key.
    #[error(transparent)]
    File(#[from] DataFolderError),
    /// A file is not what it should be.
    #[error("{path}: {reason}")]
    Unusable {
        /// Which.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// What TLS is made of: files in PEM.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate first, and then what signed it.
    pub certificate: PathBuf,
    /// Its key.
    pub key: PathBuf,
    /// Whose certificates are asked for. Default: nobody's.
    pub clients: Option<ClientFiles>,
}

/// Whose certificates are asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClientFiles {
    /// The certificates of those who sign them.
    pub ca: PathBuf,
    /// Lists of those that were revoked, one for each who signs. Default: none is looked at.
    pub revoked: Option<PathBuf>,
    /// Whether nobody is let in without one. Default: no.
    pub required: bool,
}

impl TlsFiles {
    /// Without client certificates.
    pub fn new(certificate: PathBuf, key: PathBuf) -> Self {
        Self { certificate, key, clients: None }
    }

    fn paths(&self) -> impl Iterator<Item = &Path> {
        let of_clients = self.clients.iter();
        let of_clients = of_clients.flat_map(|clients| std::iter::once(&clients.ca).chain(&clients.revoked));
        [&self.certificate, &self.key].into_iter().chain(of_clients).map(PathBuf::as_path)
    }

    /// What changes when one of the files is replaced.
    fn stamp(&self) -> Vec<Option<(SystemTime, u64)>> {
        let of = |path: &Path| {
            let metadata = std::fs::metadata(path).ok()?;
            Some((metadata.modified().ok()?, metadata.len()))
        };
        self.paths().map(of).collect()
    }
}

/// A certificate and its key, and whose certificates it asks for.
#[derive(Debug)]
pub struct Tls(Mutex<Loaded>);

#[derive(Debug)]
struct Loaded {
    files: TlsFiles,
    config: Arc<ServerConfig>,
    clients: Option<Arc<dyn ClientCertVerifier>>,
    /// How often it was replaced.
    generation: u64,
    stamp: Vec<Option<(SystemTime, u64)>>,
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        Ok(Self(Mutex::new(read(files)?)))
    }

    /// Is what the other is from now on.
    pub fn become_like(&self, other: Self) {
        self.put(other.0.into_inner().unwrap_or_else(PoisonError::into_inner));
    }

    /// What it is made of.
    pub fn files(&self) -> TlsFiles {
        self.loaded().files.clone()
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.loaded().config))
    }

    /// Reads the files again if they were replaced.
    pub(super) async fn reload_if_changed(self: &Arc<Self>) {
        let tls = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let files = tls.files();
            let found = files.stamp();
            if tls.loaded().stamp == found {
                return;
            }
            match read(files) {
                Ok(loaded) => {
                    tls.put(loaded);
                    tracing::info!("a new certificate is used");
                }
                Err(error) => {
                    // Said once for each replacement.
                    tls.loaded().stamp = found;
                    tracing::error!(%error, "the new certificate can't be used; the old one goes on");
                }
            }
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "the certificate was not looked at");
        }
    }

    fn put(&self, read: Loaded) {
        let mut loaded = self.loaded();
        let generation = loaded.generation + 1;
        *loaded = Loaded { generation, ..read };
    }

    fn loaded(&self) -> std::sync::MutexGuard<'_, Loaded> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The certificate that a client has shown on one connection.
#[derive(Debug)]
pub(super) struct Shown {
    pub(super) certificate: Arc<ClientCertificate>,
    chain: Vec<CertificateDer<'static>>,
    tls: Arc<Tls>,
    /// When it was last found valid, and by which files.
    checked: Mutex<(Instant, u64)>,
}

impl Shown {
    /// From what TLS has checked. `None` if the client has shown none.
    pub(super) fn new(tls: &Arc<Tls>, chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let chain: Vec<_> = chain?.iter().map(|certificate| certificate.clone().into_owned()).collect();
        let first = chain.first()?;
        let certificate = Arc::new(names(first)?);
        // By which files the handshake was checked is not known: it is checked by those of now.
        let never = (Instant::now(), u64::MAX);
        Some(Self { certificate, chain, tls: Arc::clone(tls), checked: Mutex::new(never) })
    }

    /// Whether it is valid still: what signs was replaced, revoked or has expired on a connection that stays open.
    pub(super) fn is_valid(&self) -> bool {
        let (verifier, generation) = {
            let loaded = self.tls.loaded();
            (loaded.clients.clone(), loaded.generation)
        };
        let mut checked = self.checked.lock().unwrap_or_else(PoisonError::into_inner);
        if checked.1 == generation && checked.0.elapsed() < CHECK_INTERVAL {
            return true;
        }
        let (Some(verifier), Some((first, between))) = (verifier, self.chain.split_first()) else {
            return false;
        };
        let is_valid = verifier.verify_client_cert(first, between, UnixTime::now()).is_ok();
        if is_valid {
            *checked = (Instant::now(), generation);
        }
        is_valid
    }
}

/// What a certificate says whose it is.
fn names(certificate: &CertificateDer<'_>) -> Option<ClientCertificate> {
    let parsed = webpki::EndEntityCert::try_from(certificate).ok()?;
    let digest = hex(&Sha256::digest(certificate)).parse().ok()?;
    let dns_names = parsed.valid_dns_names().take(NAMES_MAX).map(str::to_owned).collect();
    let uris = parsed.valid_uri_names().take(NAMES_MAX).map(str::to_owned).collect();
    Some(ClientCertificate { digest, dns_names, uris })
}

fn read(files: TlsFiles) -> Result<Loaded, TlsError> {
    // Before the files, so that a replacement while they are read is seen.
    let stamp = files.stamp();
    let (certificate, key) = (&files.certificate, &files.key);
    let chain = certificates(certificate)?;
    let text = private_text(key, FILE_BYTES_MAX)?;
    let secret = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| unusable(key)(format!("it holds no private key (PEM): {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| unusable(certificate)(error.to_string()))?;
    let clients = match &files.clients {
        Some(clients) => Some(verifier(clients, provider)?),
        None => None,
    };
    let builder = match &clients {
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
        None => builder.with_no_client_auth(),
    };
    let mut config =
        builder.with_single_cert(chain, secret).map_err(|error| unusable(certificate)(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if clients.is_some() {
        // A session that is resumed would bring a certificate that was checked by files that may have been replaced.
        config.session_storage = Arc::new(rustls::server::NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok(Loaded { files, config: Arc::new(config), clients, generation: 0, stamp })
}

fn verifier(
    clients: &ClientFiles,
    provider: Arc<rustls::crypto::CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&clients.ca)? {
        roots.add(certificate).map_err(|error| unusable(&clients.ca)(error.to_string()))?;
    }
    let mut builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    if let Some(path) = &clients.revoked {
        let text = public_text(path, CRL_BYTES_MAX)?;
        let lists = CertificateRevocationListDer::pem_slice_iter(text.as_bytes());
        let lists = lists.collect::<Result<Vec<_>, _>>();
        let lists = lists.map_err(|error| unusable(path)(error.to_string()))?;
        if lists.is_empty() {
            return Err(unusable(path)(
                "it holds no list of revoked certificates (X509 CRL, PEM)".to_owned(),
            ));
        }
        // Of each certificate's own signer there must be a list. One whose time is over is used all the same: it still
        // says what was revoked, and a late one should not lock out everybody.
        builder = builder.with_crls(lists).only_check_end_entity_revocation();
    }
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    builder.build().map_err(|error| unusable(&clients.ca)(error.to_string()))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let text = public_text(path, FILE_BYTES_MAX)?;
    let found = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let found = found.map_err(|error| unusable(path)(error.to_string()))?;
    if found.is_empty() {
        return Err(unusable(path)("it holds no certificate (PEM)".to_owned()));
    }
    Ok(found)
}

fn unusable(path: &Path) -> impl Fn(String) -> TlsError {
    let path = path.to_owned();
    move |reason| TlsError::Unusable { path: path.clone(), reason }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test writes the files that the host reads")]
pub(super) mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// A new certificate for `localhost` and its key, as files.
    pub(in crate::api) fn write(folder: &Path) -> (PathBuf, PathBuf) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let (certificate, key) = (folder.join("cert.pem"), folder.join("key.pem"));
        std::fs::write(&certificate, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        for file in [&certificate, &key] {
            std::fs::set_permissions(file, PermissionsExt::from_mode(0o600)).expect("changed");
        }
        (certificate, key)
    }

    #[tokio::test]
    async fn a_replaced_certificate_is_used_and_a_broken_one_is_not() {
        let temporary = tempfile::tempdir().expect("a folder");
        let (certificate, key) = write(temporary.path());
        let tls = Arc::new(Tls::load(TlsFiles::new(certificate.clone(), key.clone())).expect("usable"));
        let config = || Arc::as_ptr(&tls.loaded().config);
        let first = config();
        tls.reload_if_changed().await;
        assert_eq!(config(), first);
        std::fs::write(&certificate, "nothing").expect("written");
        tls.reload_if_changed().await;
        assert_eq!(config(), first, "the old one goes on");
        write(temporary.path());
        tls.reload_if_changed().await;
        assert_ne!(config(), first);
    }

    #[test]
    fn files_that_are_no_pair_or_that_others_can_read_are_refused_by_name() {
        let temporary = tempfile::tempdir().expect("a folder");
        let (certificate, key) = write(temporary.path());
        let refused = |certificate: &Path, key: &Path| {
            Tls::load(TlsFiles::new(certificate.to_owned(), key.to_owned())).expect_err("refused").to_string()
        };
        assert!(refused(&key, &key).contains("holds no certificate"));
        assert!(refused(&certificate, &certificate).contains("no private key"));
        assert!(refused(&temporary.path().join("none"), &key).contains("none"));
        let other = tempfile::tempdir().expect("a folder");
        let (_, other_key) = write(other.path());
        assert!(refused(&certificate, &other_key).contains("cert.pem"));
        std::fs::set_permissions(&key, PermissionsExt::from_mode(0o644)).expect("changed");
        assert!(refused(&certificate, &key).contains("read by others"));
    }
}
