//! One certificate for all servers that speak TLS, and a client that trusts nothing else.

use std::{fs, path::PathBuf, sync::Arc};

use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// A certificate for 127.0.0.1, with its key, as files.
pub(crate) struct Certificate {
    folder: PathBuf,
    client: Arc<ClientConfig>,
}

impl Certificate {
    /// Makes one.
    pub(crate) fn new(folder: PathBuf) -> Self {
        let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate can be made");
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a certificate");
        let client = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
        let this = Self { folder, client: Arc::new(client) };
        fs::write(this.chain(), made.cert.pem()).expect("a file can be written");
        fs::write(this.key(), made.signing_key.serialize_pem()).expect("a file can be written");
        this
    }

    /// The certificate.
    pub(crate) fn chain(&self) -> PathBuf {
        self.folder.join("tls.pem")
    }

    /// Its key.
    pub(crate) fn key(&self) -> PathBuf {
        self.folder.join("tls.key")
    }

    /// What connects a client.
    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.client))
    }
}
