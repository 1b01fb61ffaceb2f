//! Builds the clients of an object store from the options. Nothing is asked of the store yet.

use std::{str::FromStr, sync::Arc, time::Duration};

use object_store::{
    BackoffConfig, Certificate, ClientOptions, RetryConfig,
    aws::{AmazonS3, AmazonS3Builder},
    azure::{MicrosoftAzure, MicrosoftAzureBuilder},
    gcp::{GoogleCloudStorage, GoogleCloudStorageBuilder},
    signer::Signer,
};
use url::Url;

use super::{Objects, Store};
use crate::{
    AzureOptions, BlobError, BucketKind, BucketOptions, GcsOptions, MemoryBudget, S3Options, buffer::BufferPool,
};

/// How long to wait for a connection; the retries follow within the time of the whole request.
const CONNECT: Duration = Duration::from_secs(5);

pub(super) fn connect(options: &BucketOptions, budget: MemoryBudget) -> Result<Objects, BlobError> {
    if options.part_bytes == 0 {
        return Err(BlobError::Refused("a part of an upload needs a size above 0".to_owned()));
    }
    let (kind_name, clients) = match &options.kind {
        BucketKind::S3(s3) => {
            ("s3", clients(options, s3.signing_endpoint.as_ref(), |signing| self::s3(s3, signing, options))?)
        }
        BucketKind::Gcs(gcs) => {
            ("gcs", clients(options, gcs.signing_endpoint.as_ref(), |signing| self::gcs(gcs, signing, options))?)
        }
        BucketKind::Azure(azure) => (
            "azure",
            clients(options, azure.signing_endpoint.as_ref(), |signing| self::azure(azure, signing, options))?,
        ),
        BucketKind::Directory { .. } => return Err(BlobError::Internal("a directory is no object store".to_owned())),
    };
    Ok(Objects {
        kind_name,
        store: clients.store,
        own_signer: clients.own_signer,
        signer: clients.signer,
        private_signer: clients.private_signer,
        http: http(options)?,
        redirect: options.redirect,
        presign_lifetime: options.presign_lifetime,
        part_bytes: options.part_bytes,
        part_timeout: options.part_timeout,
        keys: options.keys.clone(),
        pool: BufferPool::new(&budget),
        budget,
    })
}

struct Clients {
    store: Arc<dyn Store>,
    own_signer: Arc<dyn Signer>,
    signer: Arc<dyn Signer>,
    private_signer: Option<Arc<dyn Signer>>,
}

/// One client for our own requests, and one more for signing where clients know the store by another address.
fn clients<S: Store + Signer>(
    options: &BucketOptions,
    signing_endpoint: Option<&String>,
    build: impl Fn(Option<&String>) -> Result<S, BlobError>,
) -> Result<Clients, BlobError> {
    let store = Arc::new(build(None)?);
    let signer = match signing_endpoint {
        Some(_) => Arc::new(build(signing_endpoint)?),
        None => Arc::clone(&store),
    };
    let private_signer = match &options.private_signing_endpoint {
        Some(private) => Some(Arc::new(build(Some(private))?) as Arc<dyn Signer>),
        None => None,
    };
    Ok(Clients { store: Arc::clone(&store) as _, own_signer: store, signer, private_signer })
}

fn s3(s3: &S3Options, signing: Option<&String>, options: &BucketOptions) -> Result<AmazonS3, BlobError> {
    let endpoint = signing.or(s3.endpoint.as_ref());
    let mut builder = AmazonS3Builder::new()
        .with_bucket_name(&s3.name)
        .with_virtual_hosted_style_request(s3.virtual_host_style)
        // One key at a time is all we delete, and the call for many is the one that other stores lack most often.
        .with_disable_bulk_delete(true)
        .with_retry(retry(options))
        .with_client_options(client_options(options, endpoint)?);
    if let Some(endpoint) = endpoint {
        let address = address(endpoint)?;
        // TLS keeps the body whole already; without it the signature covers it, at the price of hashing it once more.
        builder = builder.with_unsigned_payload(address.scheme() == "https");
        builder = builder.with_endpoint(if s3.virtual_host_style {
            with_bucket(address, &s3.name)?
        } else {
            plain(&address)
        });
    } else {
        builder = builder.with_unsigned_payload(true);
    }
    if let Some(region) = &s3.region {
        builder = builder.with_region(region);
    }
    if let Some(id) = &s3.access_key_id {
        builder = builder.with_access_key_id(id);
    }
    if let Some(secret) = &s3.secret_access_key {
        builder = builder.with_secret_access_key(secret);
    }
    if let Some(token) = &s3.session_token {
        builder = builder.with_token(token);
    }
    for (name, value) in &s3.settings {
        builder = builder.with_config(setting(name)?, value);
    }
    builder.build().map_err(refused)
}

fn gcs(gcs: &GcsOptions, signing: Option<&String>, options: &BucketOptions) -> Result<GoogleCloudStorage, BlobError> {
    let endpoint = signing.or(gcs.endpoint.as_ref());
    let mut builder = GoogleCloudStorageBuilder::new()
        .with_bucket_name(&gcs.name)
        .with_retry(retry(options))
        .with_client_options(client_options(options, endpoint)?);
    if let Some(endpoint) = endpoint {
        builder = builder.with_base_url(&plain(&address(endpoint)?));
    }
    if let Some(key) = &gcs.service_account_key {
        builder = builder.with_service_account_key(key);
    }
    for (name, value) in &gcs.settings {
        builder = builder.with_config(setting(name)?, value);
    }
    builder.build().map_err(refused)
}

fn azure(azure: &AzureOptions, signing: Option<&String>, options: &BucketOptions) -> Result<MicrosoftAzure, BlobError> {
    let endpoint = signing.or(azure.endpoint.as_ref());
    let mut builder = MicrosoftAzureBuilder::new()
        .with_container_name(&azure.container)
        .with_account(&azure.account)
        .with_retry(retry(options))
        .with_client_options(client_options(options, endpoint)?);
    if let Some(endpoint) = endpoint {
        builder = builder.with_endpoint(plain(&address(endpoint)?));
    }
    if let Some(key) = &azure.access_key {
        builder = builder.with_access_key(key);
    }
    for (name, value) in &azure.settings {
        builder = builder.with_config(setting(name)?, value);
    }
    builder.build().map_err(refused)
}

/// Few attempts, close together: the sender of the bytes waits meanwhile, and will ask again itself.
fn retry(options: &BucketOptions) -> RetryConfig {
    let backoff =
        BackoffConfig { init_backoff: Duration::from_millis(100), max_backoff: Duration::from_secs(5), base: 2.0 };
    RetryConfig { backoff, max_retries: 5, retry_timeout: options.part_timeout }
}

fn client_options(options: &BucketOptions, endpoint: Option<&String>) -> Result<ClientOptions, BlobError> {
    let http =
        endpoint.map(|endpoint| address(endpoint)).transpose()?.is_some_and(|address| address.scheme() == "http");
    let mut client = ClientOptions::new()
        .with_allow_http(http)
        // A download takes as long as its reader wants; that no byte comes at all is what ends it. A request that stores
        // something is bounded as a whole where it is made.
        .with_timeout_disabled()
        .with_read_timeout(options.part_timeout)
        .with_connect_timeout(CONNECT.min(options.part_timeout));
    if let Some(proxy) = &options.proxy {
        client = client.with_proxy_url(proxy);
    }
    if !options.ca_certificates.is_empty() {
        let certificates = Certificate::from_pem_bundle(&options.ca_certificates);
        for certificate in certificates.map_err(|error| BlobError::Refused(format!("the CA certificates: {error}")))? {
            client = client.with_root_certificate(certificate);
        }
    }
    Ok(client)
}

/// A client such as a puller has: no credentials, only the address it is given.
fn http(options: &BucketOptions) -> Result<reqwest::Client, BlobError> {
    let refused = |error: reqwest::Error| BlobError::Refused(format!("the HTTP client: {error}"));
    let mut client = reqwest::Client::builder().connect_timeout(CONNECT).timeout(options.part_timeout);
    if let Some(proxy) = &options.proxy {
        client = client.proxy(reqwest::Proxy::all(proxy).map_err(refused)?);
    }
    if !options.ca_certificates.is_empty() {
        let certificates = reqwest::Certificate::from_pem_bundle(&options.ca_certificates).map_err(refused)?;
        client = certificates.into_iter().fold(client, reqwest::ClientBuilder::add_root_certificate);
    }
    client.build().map_err(refused)
}

fn address(endpoint: &str) -> Result<Url, BlobError> {
    Url::parse(endpoint)
        .ok()
        .filter(|address| matches!(address.scheme(), "http" | "https") && address.host().is_some())
        .ok_or_else(|| BlobError::Refused(format!("{endpoint:?} is no address like https://storage.example.com:9000")))
}

fn plain(address: &Url) -> String {
    address.as_str().trim_end_matches('/').to_owned()
}

/// `https://host` as `https://bucket.host`: what virtual-host style wants to be told.
fn with_bucket(mut address: Url, bucket: &str) -> Result<String, BlobError> {
    let host = format!("{bucket}.{}", address.host_str().unwrap_or_default());
    let set = address.domain().is_some() && address.set_host(Some(&host)).is_ok();
    if set {
        return Ok(plain(&address));
    }
    Err(BlobError::Refused(format!(
        "virtual-host style needs a host name, not {address}: use path style for an IP address"
    )))
}

fn setting<K: FromStr>(name: &str) -> Result<K, BlobError> {
    name.parse().map_err(|_| BlobError::Refused(format!("the object store has no setting {name:?}")))
}

fn refused(error: object_store::Error) -> BlobError {
    BlobError::Refused(format!("the settings of the object store: {error}"))
}

#[cfg(test)]
mod tests {
    use roadstead_model::Reach;

    use super::*;

    fn options(s3: S3Options) -> BucketOptions {
        BucketOptions::new(BucketKind::S3(s3))
    }

    fn keys(name: &str, endpoint: &str) -> S3Options {
        S3Options {
            name: name.into(),
            endpoint: Some(endpoint.into()),
            access_key_id: Some("id".into()),
            secret_access_key: Some("secret".into()),
            ..S3Options::default()
        }
    }

    #[tokio::test]
    async fn a_presigned_address_has_the_host_that_clients_know() {
        let key = "0123456789abcdef0123456789abcdef";
        let mut s3 = keys("layers", "http://10.0.0.1:9000");
        s3.signing_endpoint = Some("https://cdn.example.com".into());
        let bucket = connect(&options(s3.clone()), MemoryBudget::new(1)).expect("right settings");
        let address = bucket.presign(key, Reach::Public).await.expect("signed").expect("redirects are on");
        assert!(address.starts_with("https://cdn.example.com/layers/objects/01/0123"), "{address}");
        assert!(address.contains("X-Amz-Expires=60&"), "{address}");

        s3.virtual_host_style = true;
        s3.endpoint = Some("http://storage.internal:9000".into());
        let bucket = connect(&options(s3), MemoryBudget::new(1)).expect("right settings");
        let address = bucket.presign(key, Reach::Public).await.expect("signed").expect("redirects are on");
        assert!(address.starts_with("https://layers.cdn.example.com/objects/01/0123"), "{address}");
    }

    #[tokio::test]
    async fn with_redirects_off_there_is_no_address() {
        let mut options = options(keys("layers", "http://10.0.0.1:9000"));
        options.redirect = false;
        let bucket = connect(&options, MemoryBudget::new(1)).expect("right settings");
        assert_eq!(bucket.presign("a", Reach::Public).await, Ok(None));
    }

    /// An address that nobody said is reached inside is not given there; and the switch of the others is not that of these.
    #[tokio::test]
    async fn inside_addresses_are_those_that_were_configured_for_it() {
        let mut options = options(keys("layers", "http://10.0.0.1:9000"));
        let bucket = connect(&options, MemoryBudget::new(1)).expect("right settings");
        assert_eq!(bucket.presign("a", Reach::Private).await, Ok(None));
        options.private_signing_endpoint = Some("http://store.inside:9000".into());
        options.redirect = false;
        let bucket = connect(&options, MemoryBudget::new(1)).expect("right settings");
        let address = bucket.presign("0123456789abcdef0123456789abcdef", Reach::Private).await;
        let address = address.expect("signed").expect("an address");
        assert!(address.starts_with("http://store.inside:9000/layers/objects/01/0123"), "{address}");
        assert_eq!(bucket.presign("a", Reach::Public).await, Ok(None));
    }

    #[test]
    fn wrong_settings_are_refused_with_words() {
        let words = |s3: S3Options| match connect(&options(s3), MemoryBudget::new(1)) {
            Err(BlobError::Refused(words)) => words,
            Err(other) => panic!("{other:?}"),
            Ok(_) => panic!("accepted"),
        };
        assert!(words(keys("layers", "storage:9000")).contains("is no address"));
        assert!(words(S3Options { virtual_host_style: true, ..keys("b", "http://10.0.0.1") }).contains("path style"));
        let unknown = S3Options { settings: vec![("aws_colour".into(), "red".into())], ..keys("b", "http://h") };
        assert!(words(unknown).contains("aws_colour"));
    }
}
