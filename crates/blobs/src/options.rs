//! All that a configuration says about a bucket. Nothing here reads a file or the environment.

use std::{path::PathBuf, time::Duration};

use crate::KeySource;

/// Size of a part of a multipart upload unless configured, in bytes: 16 MiB (architecture.md 4).
pub(crate) const PART_BYTES: u64 = 16 << 20;

/// What uploads leave free of a disk unless configured, in bytes.
const RESERVE_BYTES: u64 = 64 << 20;

/// Up to how many bytes a blob is small unless configured: nearly all configs of images are.
const SMALL_BYTES: usize = 16 << 10;

/// A bucket and how to use it. [`BucketOptions::new`] gives the defaults.
#[derive(Clone)]
pub struct BucketOptions {
    /// Where the bytes are.
    pub kind: BucketKind,
    /// Whether [`crate::Bucket::presign`] gives addresses to clients from outside. Default: yes.
    pub redirect: bool,
    /// The address that clients inside the network reach the object store by. Without it they get no addresses.
    pub private_signing_endpoint: Option<String>,
    /// How long a presigned address lives. Default: 60 s.
    pub presign_lifetime: Duration,
    /// Size of one part of a multipart upload, in bytes; larger parts are used when a declared length needs more than
    /// 10,000. Default 16 MiB; Amazon and Google refuse parts below 5 MiB ([`crate::Bucket::check`] finds that out).
    pub part_bytes: u64,
    /// A single request that stores bytes ends or fails within this time, its retries included. Default: 40 s.
    pub part_timeout: Duration,
    /// Directory: uploads leave so many bytes of the disk free, but never more than a sixteenth of it. What else has to be written there
    /// (a database) goes on when uploads have no room any more. Default: 64 MiB.
    pub reserve_bytes: u64,
    /// Blobs of up to so many bytes are no objects: their bytes are given to the caller, who keeps them ([`crate::Stored::Bytes`]).
    /// 0: all are objects. Default: 16 KiB.
    pub small_bytes: usize,
    /// Proxy for requests to the object store, such as `http://proxy:3128`.
    pub proxy: Option<String>,
    /// More certificate authorities to trust, PEM, may be empty.
    pub ca_certificates: Vec<u8>,
    /// Where fresh object keys come from.
    pub keys: KeySource,
}

impl BucketOptions {
    /// `kind` with the defaults.
    pub fn new(kind: BucketKind) -> Self {
        Self {
            kind,
            redirect: true,
            private_signing_endpoint: None,
            presign_lifetime: Duration::from_secs(60),
            part_bytes: PART_BYTES,
            part_timeout: Duration::from_secs(40),
            reserve_bytes: RESERVE_BYTES,
            small_bytes: SMALL_BYTES,
            proxy: None,
            ca_certificates: Vec::new(),
            keys: KeySource::default(),
        }
    }
}

/// The kinds of storage.
#[derive(Clone)]
pub enum BucketKind {
    /// A directory of this machine, or of a network file system.
    Directory {
        /// The directory; made if it does not exist.
        path: PathBuf,
        /// The operator says that several nodes see the same directory.
        shared: bool,
    },
    /// Amazon S3 or anything that speaks it.
    S3(S3Options),
    /// Google Cloud Storage.
    Gcs(GcsOptions),
    /// Azure Blob Storage.
    Azure(AzureOptions),
}

/// A bucket on S3.
#[derive(Clone, Default)]
pub struct S3Options {
    /// Name of the bucket.
    pub name: String,
    /// Address of the service without the bucket, such as `https://minio.internal:9000`; none for Amazon.
    pub endpoint: Option<String>,
    /// The address that clients reach the same service by, when it is another one: a presigned address covers its host.
    pub signing_endpoint: Option<String>,
    /// Region; `us-east-1` if none.
    pub region: Option<String>,
    /// Key id; none means the machine's own identity.
    pub access_key_id: Option<String>,
    /// Secret that belongs to the key id.
    pub secret_access_key: Option<String>,
    /// Token that belongs to temporary keys.
    pub session_token: Option<String>,
    /// `bucket.host/key` instead of `host/bucket/key`.
    pub virtual_host_style: bool,
    /// Further settings by their `object_store` names, such as `aws_role_arn`.
    pub settings: Vec<(String, String)>,
}

/// A bucket on Google Cloud Storage.
#[derive(Clone, Default)]
pub struct GcsOptions {
    /// Name of the bucket.
    pub name: String,
    /// Address of the service; none for Google's own.
    pub endpoint: Option<String>,
    /// The address that clients reach the service by, when it is another one.
    pub signing_endpoint: Option<String>,
    /// The service account's key as JSON text; none means the machine's own identity.
    pub service_account_key: Option<String>,
    /// Further settings by their `object_store` names.
    pub settings: Vec<(String, String)>,
}

/// A container on Azure Blob Storage.
#[derive(Clone, Default)]
pub struct AzureOptions {
    /// Name of the container.
    pub container: String,
    /// Name of the storage account.
    pub account: String,
    /// Access key of the account; none means the machine's own identity.
    pub access_key: Option<String>,
    /// Address of the service; none for Azure's own.
    pub endpoint: Option<String>,
    /// The address that clients reach the service by, when it is another one.
    pub signing_endpoint: Option<String>,
    /// Further settings by their `object_store` names.
    pub settings: Vec<(String, String)>,
}
