//! The certificate of the door: read from two files, and read again when they are replaced.
//!
//! A replacement that can't be used changes nothing: the old certificate goes on, and the log of the program says
//! why. Knows no request.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;

use crate::config::{DataFolderError, private_text, public_text};

/// The most bytes of a file: 256 KiB.
const FILE_BYTES_MAX: usize = 256 << 10;

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

/// A certificate and its key.
#[derive(Debug)]
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    config: Arc<ServerConfig>,
    stamp: Stamp,
}

/// What changes when the files are replaced.
type Stamp = [Option<(SystemTime, u64)>; 2];

impl Tls {
    /// Reads both files: PEM, the certificate first and then what signed it, and the key.
    ///
    /// # Errors
    /// [`TlsError`].
    pub fn load(certificate: PathBuf, key: PathBuf) -> Result<Self, TlsError> {
        let loaded = read(&certificate, &key)?;
        Ok(Self { certificate, key, loaded: Mutex::new(loaded) })
    }

    /// For the next connection.
    pub(super) fn acceptor(&self) -> TlsAcceptor {
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        TlsAcceptor::from(Arc::clone(&loaded.config))
    }

    /// Reads the files again if they were replaced.
    pub(super) async fn reload_if_changed(self: &Arc<Self>) {
        let tls = Arc::clone(self);
        let done = tokio::task::spawn_blocking(move || {
            let found = stamp(&tls.certificate, &tls.key);
            if tls.loaded.lock().unwrap_or_else(PoisonError::into_inner).stamp == found {
                return;
            }
            match read(&tls.certificate, &tls.key) {
                Ok(loaded) => {
                    *tls.loaded.lock().unwrap_or_else(PoisonError::into_inner) = loaded;
                    tracing::info!("a new certificate is used");
                }
                Err(error) => {
                    // Said once for each replacement.
                    tls.loaded.lock().unwrap_or_else(PoisonError::into_inner).stamp = found;
                    tracing::error!(%error, "the new certificate can't be used; the old one goes on");
                }
            }
        });
        if let Err(error) = done.await {
            tracing::error!(%error, "the certificate was not looked at");
        }
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Loaded, TlsError> {
    // Before the files, so that a replacement while they are read is seen.
    let stamp = stamp(certificate, key);
    let unusable = |path: &Path| {
        let path = path.to_owned();
        move |reason: String| TlsError::Unusable { path, reason }
    };
    let text = public_text(certificate, FILE_BYTES_MAX)?;
    let chain = CertificateDer::pem_slice_iter(text.as_bytes()).collect::<Result<Vec<_>, _>>();
    let chain = chain.map_err(|error| unusable(certificate)(error.to_string()))?;
    if chain.is_empty() {
        return Err(unusable(certificate)("it holds no certificate (PEM)".to_owned()));
    }
    let text = private_text(key, FILE_BYTES_MAX)?;
    let secret = PrivateKeyDer::from_pem_slice(text.as_bytes())
        .map_err(|error| unusable(key)(format!("it holds no private key (PEM): {error}")))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .and_then(|builder| builder.with_no_client_auth().with_single_cert(chain, secret))
        .map_err(|error| unusable(certificate)(error.to_string()))?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Loaded { config: Arc::new(config), stamp })
}

fn stamp(certificate: &Path, key: &Path) -> Stamp {
    [certificate, key].map(|path| {
        let metadata = std::fs::metadata(path).ok()?;
        Some((metadata.modified().ok()?, metadata.len()))
    })
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
        let tls = Arc::new(Tls::load(certificate.clone(), key.clone()).expect("usable"));
        let config = || Arc::as_ptr(&tls.loaded.lock().expect("not poisoned").config);
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
            Tls::load(certificate.to_owned(), key.to_owned()).expect_err("refused").to_string()
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
