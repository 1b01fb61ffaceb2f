//! Making a connection: address, TLS, settings of the session, and whether the server can be trusted with what is acknowledged.

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use rustls::{
    ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature},
};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime, pem::PemObject as _};
use tokio::task::JoinHandle;
use tokio_postgres::{
    Client, Config,
    config::{SslMode, TargetSessionAttrs},
};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::Patience;
use crate::error::DbError;

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    patience: Patience,
}

impl Connector {
    pub(crate) fn new(url: &str, ca_certificates: &[u8], patience: Patience) -> Result<Self, DbError> {
        let mut config = parse(url)?;
        config.application_name("roadstead");
        // Where several hosts are given (a pair with fail-over), only the one that takes writes will do.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(Duration::from_secs(5).min(patience.connect()));
        }
        // A server that vanished without a word is noticed within half a minute.
        config.keepalives_idle(Duration::from_secs(15));
        config.keepalives_interval(Duration::from_secs(5));
        config.keepalives_retries(3);
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(Duration::from_secs(30));
        }
        let tls = MakeRustlsConnect::new(tls(config.get_ssl_mode(), ca_certificates)?);
        Ok(Self { config, tls, patience })
    }

    pub(super) fn patience(&self) -> Patience {
        self.patience
    }

    /// No transaction waits or idles longer, whatever became of its node. A commit is told when it is on the disk, also where the
    /// operator has `synchronous_commit` off for others; the values above `on` wait for standbys as well, and stay.
    fn session(&self) -> String {
        let (lock, statement) = (self.patience.lock().as_millis(), self.patience.answer.as_millis());
        format!(
            "SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; \
             SET lock_timeout = {lock}; SET statement_timeout = {statement}; \
             SET idle_in_transaction_session_timeout = {}; SET default_transaction_isolation = 'read committed'; \
             SET timezone = 'UTC'; SET client_min_messages = 'warning'",
            2 * statement
        )
    }

    pub(super) fn config(&self) -> &Config {
        &self.config
    }

    pub(super) async fn connect(&self) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        self.connect_with(&self.config).await
    }

    async fn connect_with(&self, config: &Config) -> Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, connection) = config.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to PostgreSQL ended");
            }
        });
        client.batch_execute(&self.session()).await?;
        Ok((client, task))
    }

    /// Also to a server that takes no writes, so that it can be refused with words of ours.
    pub(super) async fn connect_to_any(&self) -> Result<(Client, JoinHandle<()>), DbError> {
        let mut config = self.config.clone();
        if config.get_hosts().len() < 2 {
            config.target_session_attrs(TargetSessionAttrs::Any);
        }
        match self.connect_with(&config).await {
            Ok(connected) => Ok(connected),
            Err(error) => Err(match DbError::from(error) {
                DbError::Unavailable(words) if words.contains("peer certificate") => DbError::Refused(format!(
                    "the certificate of the PostgreSQL server is not trusted ({words}): give its authority in \
                     outgoing.ca_certificates"
                )),
                error => error,
            }),
        }
    }

    /// Asks the server to give up what a connection is at.
    pub(super) async fn cancel(&self, token: tokio_postgres::CancelToken) {
        // The connection is closed in any case.
        let _ = token.cancel_query(self.tls.clone()).await;
    }
}

impl deadpool_postgres::Connect for Connector {
    fn connect(&self, config: &Config) -> BoxFuture<'_, Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        let config = config.clone();
        Box::pin(async move { self.connect_with(&config).await })
    }
}

/// Refuses, in words, a server that would lose what was acknowledged or can't hold it.
pub(super) async fn check_server(client: &Client, allow_fsync_off: bool) -> Result<(), DbError> {
    const FACTS: &str = "SELECT current_setting('fsync'), pg_is_in_recovery(), current_setting('default_transaction_read_only'), \
        current_setting('server_encoding'), current_setting('server_version_num')::int";
    let row = client.query_one(FACTS, &[]).await?;
    let (fsync, standby): (&str, bool) = (row.try_get(0)?, row.try_get(1)?);
    let (read_only, encoding): (&str, &str) = (row.try_get(2)?, row.try_get(3)?);
    let version: i32 = row.try_get(4)?;
    let refusal = if version < 12_00_00 {
        "this PostgreSQL server is older than version 12"
    } else if standby {
        "this PostgreSQL server is a standby and takes no writes: give the address of the primary"
    } else if read_only == "on" {
        "this PostgreSQL server, database or user is set to read-only (default_transaction_read_only)"
    } else if encoding != "UTF8" {
        "this PostgreSQL database does not store UTF-8: make one with ENCODING 'UTF8'"
    } else if fsync == "off" && !allow_fsync_off {
        "this PostgreSQL server runs with fsync off and would lose acknowledged pushes in a crash: switch fsync on, or set \
         database.allow_fsync_off if losing data is acceptable"
    } else {
        return Ok(());
    };
    Err(DbError::Refused(refusal.to_owned()))
}

fn parse(url: &str) -> Result<Config, DbError> {
    // These two check the certificate, which here `require` does already.
    let known = url.replace("sslmode=verify-full", "sslmode=require").replace("sslmode=verify-ca", "sslmode=require");
    known.parse().map_err(|error: tokio_postgres::Error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        DbError::Refused(format!("the address of the PostgreSQL database is not understood: {error}{cause}"))
    })
}

fn tls(mode: SslMode, ca_certificates: &[u8]) -> Result<ClientConfig, DbError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| DbError::Internal(format!("TLS: {error}")))?;
    if mode == SslMode::Prefer {
        // Plain text is accepted in this mode, so a certificate proves nothing, and servers at hand have self-made ones.
        let unchecked = Arc::new(Unchecked(provider));
        return Ok(builder.dangerous().with_custom_certificate_verifier(unchecked).with_no_client_auth());
    }
    let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    for certificate in CertificateDer::pem_slice_iter(ca_certificates) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|certificate| roots.add(certificate).map_err(|error| error.to_string()));
        added.map_err(|error| DbError::Refused(format!("the given CA certificates can't be read: {error}")))?;
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

/// Looks at no certificate: `sslmode=prefer` only.
#[derive(Debug)]
struct Unchecked(Arc<CryptoProvider>);

impl ServerCertVerifier for Unchecked {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
