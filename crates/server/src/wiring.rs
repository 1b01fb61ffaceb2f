//! From the configuration to open parts: database, bucket, rights, core.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Duration;

use roadstead_access::{Access, AccessOptions, SignOnOptions};
use roadstead_blobs::{AzureOptions, Bucket, BucketKind, BucketOptions, GcsOptions, MemoryBudget, S3Options};
use roadstead_db::{DatabaseUrl, Db, Options};
use roadstead_http_oci::{Naming, PrivateNaming, Settings};
use roadstead_oidc::{Issuer, IssuerOptions, Issuers, Provider, ProviderOptions};
use roadstead_outgoing::{Options as OutgoingOptions, Outgoing};
use roadstead_registry::{Buckets, Core, TicketKey};

use crate::config::{self, BucketType, Config, DatabaseAddress, Secret};

const SECOND: i64 = 1_000_000;
const DAY: i64 = 86_400 * SECOND;

/// Opens the database and brings its tables up to date.
///
/// # Errors
/// In words.
pub async fn open_database(config: &Config) -> Result<Db, String> {
    Db::open(database_options(config)?).await.map_err(|error| format!("the database can't be opened: {error}"))
}

/// Opens the database and leaves its tables as they are.
///
/// # Errors
/// In words.
pub async fn look_at_database(config: &Config) -> Result<Db, String> {
    Db::look(database_options(config)?).await.map_err(|error| format!("the database can't be opened: {error}"))
}

fn database_options(config: &Config) -> Result<Options, String> {
    Ok(Options {
        url: database_url(config),
        pool: usize::try_from(config.database.pool).unwrap_or(usize::MAX),
        allow_fsync_off: config.database.allow_fsync_off,
        clock_offset_micros: 0,
        ca_certificates: ca_certificates(config)?,
        answer_within: Duration::from_secs(config.database.answer_seconds),
        alone: is_in_data_directory(config),
    })
}

/// Whether the SQLite file lies in the data directory, which is locked for one process.
fn is_in_data_directory(config: &Config) -> bool {
    let DatabaseUrl::Sqlite(path) = database_url(config) else { return false };
    let folder = path.parent().and_then(|folder| folder.canonicalize().ok());
    folder.is_some_and(|folder| config.general.data_dir.canonicalize().is_ok_and(|own| own == folder))
}

/// Where the database is.
pub fn database_url(config: &Config) -> DatabaseUrl {
    match config.database.url.as_ref().map(Secret::expose) {
        None => DatabaseUrl::Sqlite(config.general.data_dir.join("roadstead.db")),
        Some(DatabaseAddress::Sqlite(path)) => DatabaseUrl::Sqlite(path.clone()),
        Some(DatabaseAddress::Postgres(url)) => DatabaseUrl::Postgres(url.clone()),
    }
}

/// The memory that bodies share.
pub fn memory_budget(config: &Config) -> MemoryBudget {
    MemoryBudget::new(u32::try_from(config.limits.memory_mib).unwrap_or(u32::MAX))
        .with_patience(Duration::from_secs(config.limits.memory_seconds))
}

/// Opens all buckets; an object storage is not asked yet.
///
/// # Errors
/// In words.
pub async fn open_buckets(config: &Config, budget: &MemoryBudget) -> Result<Buckets, String> {
    let mut buckets = Buckets::from(open_bucket(config, &config.bucket, budget.clone()).await?);
    for (name, further) in &config.buckets {
        let opened = open_bucket(config, further, budget.clone()).await;
        buckets = buckets.and(name.as_str(), opened.map_err(|words| format!("buckets.{name}: {words}"))?);
        if further.exclusive {
            buckets = buckets.for_one(name.as_str());
        }
    }
    Ok(buckets)
}

/// Opens one bucket; an object storage is not asked yet.
///
/// # Errors
/// In words.
pub async fn open_bucket(config: &Config, bucket: &config::Bucket, budget: MemoryBudget) -> Result<Bucket, String> {
    let options = BucketOptions {
        redirect: bucket.redirect,
        private_signing_endpoint: bucket.private_signing_endpoint.clone(),
        presign_lifetime: Duration::from_secs(bucket.presign_seconds),
        part_bytes: bucket.part_mib << 20,
        part_timeout: Duration::from_secs(bucket.answer_seconds),
        small_bytes: usize::try_from(bucket.small_bytes).unwrap_or(0),
        reserve_bytes: bucket.reserve_mib << 20,
        proxy: config.outgoing.proxy.clone(),
        ca_certificates: ca_certificates(config)?,
        ..BucketOptions::new(bucket_kind(config, bucket)?)
    };
    Bucket::open(options, budget).await.map_err(|error| format!("the bucket can't be opened: {error}"))
}

fn bucket_kind(config: &Config, bucket: &config::Bucket) -> Result<BucketKind, String> {
    let name = || bucket.name.clone().unwrap_or_default();
    let exposed = |secret: &Option<Secret<String>>| secret.as_ref().map(|secret| secret.expose().clone());
    let (endpoint, signing_endpoint) = (bucket.endpoint.clone(), bucket.signing_endpoint.clone());
    Ok(match bucket.kind {
        BucketType::Directory => BucketKind::Directory { path: config.directory_of(bucket), shared: bucket.shared },
        BucketType::S3 => BucketKind::S3(S3Options {
            name: name(),
            endpoint,
            signing_endpoint,
            region: bucket.region.clone(),
            access_key_id: bucket.access_key_id.clone(),
            secret_access_key: exposed(&bucket.secret_access_key),
            session_token: exposed(&bucket.session_token),
            virtual_host_style: bucket.virtual_host_style,
            settings: Vec::new(),
        }),
        BucketType::Gcs => BucketKind::Gcs(GcsOptions {
            name: name(),
            endpoint,
            signing_endpoint,
            service_account_key: match &bucket.google_credentials_file {
                Some(path) => Some(read_text(path, "bucket.google_credentials_file")?),
                None => None,
            },
            settings: Vec::new(),
        }),
        BucketType::Azure => BucketKind::Azure(AzureOptions {
            container: name(),
            account: bucket.azure_account.clone().unwrap_or_default(),
            access_key: exposed(&bucket.azure_access_key),
            endpoint,
            signing_endpoint,
            settings: Vec::new(),
        }),
    })
}

/// Opens rights over a database.
///
/// # Errors
/// In words.
pub async fn open_access(config: &Config, db: Db, secret_key: &Secret<[u8; 32]>) -> Result<Access, String> {
    if config.access.open {
        tracing::warn!("access.open is on: everyone who reaches this service may do everything");
    }
    let outgoing = outgoing(config)?;
    let options = AccessOptions {
        issuers: issuers(config, &outgoing)?,
        job_lifetime: Duration::from_secs(config.ci.login_seconds),
        sign_on: sign_on(config, &outgoing)?,
        token_lifetime: Duration::from_secs(config.token.lifetime_seconds),
        refresh_lifetime: Duration::from_secs(config.token.refresh_days * 86_400),
        open: config.access.open,
        ..AccessOptions::new(*secret_key.expose())
    };
    Access::open(db, options).await.map_err(|error| error.to_string())
}

/// What asks issuers.
///
/// # Errors
/// In words.
pub fn outgoing(config: &Config) -> Result<Outgoing, String> {
    Outgoing::new(&OutgoingOptions { ca_certificates: ca_certificates(config)? })
}

/// Whose tokens jobs of a CI may show; those that can't be reached with their keys.
///
/// # Errors
/// In words.
pub fn issuers(config: &Config, outgoing: &Outgoing) -> Result<Issuers, String> {
    let ci = &config.ci;
    let given: BTreeMap<String, serde_json::Value> = match &ci.keys_file {
        Some(path) => serde_json::from_str(&read_text(path, "ci.keys_file")?).map_err(|error| {
            format!(
                "ci.keys_file = {} must be JSON such as {{\"ISSUER\": {{\"keys\": [...]}}}}: {error}",
                path.display()
            )
        })?,
        None => BTreeMap::new(),
    };
    let both = |issuer: &&String| given.contains_key(*issuer);
    if let Some(both) = ci.issuers.iter().chain(&ci.internal_issuers).find(both) {
        return Err(format!("the issuer {both} is in ci.keys_file and in another setting of [ci]: keep one of them"));
    }
    let reached = [(&ci.issuers, false), (&ci.internal_issuers, true)].into_iter().flat_map(|(issuers, internal)| {
        issuers.iter().map(move |address| IssuerOptions { address: address.clone(), internal, keys: None })
    });
    let offline = given.iter().map(|(address, keys)| IssuerOptions {
        address: address.clone(),
        internal: false,
        keys: Some(keys.to_string()),
    });
    reached.chain(offline).map(|options| Issuer::new(options, outgoing.clone())).collect()
}

/// Where people sign in beside their passwords.
///
/// # Errors
/// In words.
pub fn sign_on(config: &Config, outgoing: &Outgoing) -> Result<Option<SignOnOptions>, String> {
    let oidc = &config.oidc;
    let (Some(address), Some(client_id)) = (oidc.issuer.clone(), oidc.client_id.clone()) else { return Ok(None) };
    let issuer = IssuerOptions { address, internal: oidc.internal, keys: None };
    let client = ProviderOptions {
        client_id,
        client_secret: oidc.client_secret.as_ref().map(|secret| secret.expose().clone()),
        scopes: oidc.scopes.clone(),
    };
    Ok(Some(SignOnOptions {
        provider: Provider::new(Issuer::new(issuer, outgoing.clone())?, client),
        name_claim: oidc.name_claim.clone(),
        groups_claim: oidc.groups_claim.clone(),
        makes_people: oidc.make_people,
        roles: oidc.roles.clone(),
        administrators: oidc.administrators.clone(),
    }))
}

/// Opens the core; `ticket_key` is of use only where it serves uploads. The buckets must be those that the database names.
///
/// # Errors
/// In words.
pub async fn open_core(config: &Config, db: Db, buckets: Buckets, ticket_key: TicketKey) -> Result<Core, String> {
    let micros = |count: u64, unit: i64| i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(unit);
    let options = roadstead_registry::Options {
        blob_bytes: config.limits.blob_bytes,
        upload_life: micros(config.limits.upload_hours, 3600 * SECOND),
        collect_grace: micros(config.gc.grace_seconds, SECOND),
        recovery_window: micros(config.gc.recovery_days, DAY),
        trash_life: trash_life(config),
        event_life: micros(config.history.event_days, DAY),
        audit_life: micros(config.history.audit_days, DAY),
        history_life: micros(config.history.tag_days, DAY),
        require_blobs: config.manifests.require_blobs,
        bucket_check: micros(config.bucket.check_minutes, 60 * SECOND),
        ticket_key,
        ..roadstead_registry::Options::default()
    };
    Core::open(db, buckets, options).await.map_err(|error| core_words(&error))
}

/// What the core says to an operator: what was unavailable or refused says why in its details, its short form is for
/// clients.
pub fn core_words(error: &roadstead_registry::Error) -> String {
    match error {
        roadstead_registry::Error::Unavailable(why) | roadstead_registry::Error::Full(why) => {
            format!("the bucket or the database can't be used: {why}")
        }
        roadstead_registry::Error::Internal(why) => format!("internal error: {why}"),
        other => other.to_string(),
    }
}

/// How long what was deleted can be restored, in microseconds.
pub fn trash_life(config: &Config) -> i64 {
    i64::try_from(config.trash.days).unwrap_or(i64::MAX).saturating_mul(DAY)
}

/// What the API is told of the configuration.
pub fn api_settings(config: &Config) -> Settings {
    let (general, private) = (&config.general, &config.private);
    let private_naming =
        || PrivateNaming { external: private.external_url.as_deref().and_then(Naming::parse_external) };
    Settings {
        naming: Naming {
            external: general.external_url.as_deref().and_then(Naming::parse_external),
            domain: general.domain.clone(),
            region: general.region.clone(),
            trusted_proxies: general.trusted_proxies.clone(),
            private: (!private.listen.is_empty()).then(private_naming),
        },
        manifest_bytes: usize::try_from(config.limits.manifest_bytes).unwrap_or(usize::MAX),
        redirect: true,
        private_redirect: private.redirect,
    }
}

fn ca_certificates(config: &Config) -> Result<Vec<u8>, String> {
    match &config.outgoing.ca_certificates {
        Some(path) => read_text(path, "outgoing.ca_certificates").map(String::into_bytes),
        None => Ok(Vec::new()),
    }
}

fn read_text(path: &Path, name: &str) -> Result<String, String> {
    fs::read_to_string(path).map_err(|error| format!("{name} = {} can't be read: {error}", path.display()))
}
