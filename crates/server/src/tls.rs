//! Certificates of the listeners, read again when their files change.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls_pki_types::pem::PemObject as _;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// How often the files are looked at.
pub const RELOAD: Duration = Duration::from_secs(5);

/// A certificate with its key, and the files they come from.
pub struct Certificates {
    certificate: PathBuf,
    key: PathBuf,
    seen: Mutex<Contents>,
    /// What was wrong when the files were last looked at.
    told: Mutex<Option<String>>,
    current: ArcSwap<ServerConfig>,
}

#[derive(PartialEq, Eq)]
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Certificates {
    /// Reads both files.
    ///
    /// # Errors
    /// In words, when a file can't be read, is not PEM, or certificate and key do not belong together.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, String> {
        let contents = Contents::read(certificate, key)?;
        let current = contents.parse(certificate, key)?;
        Ok(Self {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            seen: Mutex::new(contents),
            told: Mutex::default(),
            current: ArcSwap::from_pointee(current),
        })
    }

    /// Reads the files again; new connections get what they hold now. False: nothing has changed.
    ///
    /// # Errors
    /// As [`Certificates::open`]; what was in use stays in use. The same broken contents are told of once.
    pub fn reload(&self) -> Result<bool, String> {
        let contents = Contents::read(&self.certificate, &self.key)?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if *seen == contents {
            return Ok(false);
        }
        let parsed = contents.parse(&self.certificate, &self.key);
        *seen = contents;
        self.current.store(Arc::new(parsed?));
        Ok(true)
    }

    /// Reloads, and writes to the log what came of it; the same trouble once.
    pub fn reload_and_tell(&self) {
        let reloaded = self.reload();
        if let Ok(true) = reloaded {
            tracing::info!("the TLS certificate has changed and is in use");
        }
        if let Some(trouble) = self.news(reloaded.err()) {
            tracing::error!("the TLS certificate stays the old one: {trouble}");
        }
    }

    /// The trouble, unless it is the one that there was before.
    fn news(&self, trouble: Option<String>) -> Option<String> {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let news = trouble.clone().filter(|trouble| told.as_ref() != Some(trouble));
        *told = trouble;
        news
    }

    /// The server's side of a handshake.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        TlsAcceptor::from(self.current.load_full()).accept(stream).await
    }
}

impl Contents {
    fn read(certificate: &Path, key: &Path) -> Result<Self, String> {
        let read = |name: &str, path: &Path| {
            fs::read(path).map_err(|error| format!("{name} = {} can't be read: {error}", path.display()))
        };
        Ok(Self { certificate: read("tls.certificate", certificate)?, key: read("tls.key", key)? })
    }

    fn parse(&self, certificate: &Path, key: &Path) -> Result<ServerConfig, String> {
        let chain: Vec<_> = CertificateDer::pem_slice_iter(&self.certificate)
            .collect::<Result<_, _>>()
            .map_err(|error| format!("tls.certificate = {} is not PEM: {error}", certificate.display()))?;
        if chain.is_empty() {
            return Err(format!("tls.certificate = {} holds no certificate", certificate.display()));
        }
        let private = PrivateKeyDer::from_pem_slice(&self.key).map_err(|_| self.no_key(key))?;
        let mut config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| error.to_string())?
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .map_err(|error| match error {
                rustls::Error::InconsistentKeys(_) => format!(
                    "tls.certificate and tls.key do not fit: {} is the private key of another certificate than {} (its own certificate comes first in the file)",
                    key.display(),
                    certificate.display()
                ),
                error => format!("tls.certificate and tls.key can't be used: {error}"),
            })?;
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(config)
    }

    fn no_key(&self, path: &Path) -> String {
        let text = String::from_utf8_lossy(&self.key);
        let what = if text.contains("ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED") {
            "is encrypted: store it without a passphrase (`openssl pkey -in OLD -out NEW`), readable for its owner alone"
        } else {
            "holds no private key in PEM"
        };
        format!("tls.key = {} {what}", path.display())
    }
}

#[cfg(test)]
mod tests;
