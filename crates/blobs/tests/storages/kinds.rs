//! The buckets that tests run on.

use std::{env, sync::OnceLock};

use bytes::Bytes;
use http_body::Body as _;
use object_store::{aws::AmazonS3Builder, signer::Signer};
use roadstead_blobs::{BlobError, Bucket, BucketKind, BucketOptions, ByteBody, MemoryBudget, S3Options};

/// The smallest parts that S3 takes.
pub(crate) const PART_BYTES: u64 = 5 << 20;

/// A bucket, and what has to live as long as it.
pub(crate) struct Kind {
    pub(crate) bucket: Bucket,
    pub(crate) budget: MemoryBudget,
    pub(crate) folder: Option<tempfile::TempDir>,
}

/// Every kind of bucket that can be had here, fresh ones.
pub(crate) async fn kinds() -> Vec<Kind> {
    let mut kinds = vec![directory().await];
    kinds.extend(s3(PART_BYTES).await);
    kinds
}

pub(crate) async fn directory() -> Kind {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let budget = MemoryBudget::new(64);
    let kind = BucketKind::Directory { path: folder.path().join("bucket"), shared: false };
    let bucket = Bucket::open(BucketOptions::new(kind), budget.clone()).await.expect("a fresh directory");
    Kind { bucket, budget, folder: Some(folder) }
}

/// A bucket on the S3 server that the environment names; says once that it was left out if there is none.
pub(crate) async fn s3(part_bytes: u64) -> Option<Kind> {
    let mut options = s3_options().await?;
    options.part_bytes = part_bytes;
    let budget = MemoryBudget::new(64);
    let bucket = Bucket::open(options, budget.clone()).await.expect("right settings");
    Some(Kind { bucket, budget, folder: None })
}

pub(crate) async fn s3_options() -> Option<BucketOptions> {
    static SAID: OnceLock<()> = OnceLock::new();
    let setting = |name: &str| env::var(format!("ROADSTEAD_TEST_S3_{name}")).ok();
    let (Some(endpoint), Some(id), Some(secret)) =
        (setting("ENDPOINT"), setting("ACCESS_KEY_ID"), setting("SECRET_ACCESS_KEY"))
    else {
        SAID.get_or_init(|| println!("left out: S3, because ROADSTEAD_TEST_S3_ENDPOINT and its keys are not set"));
        return None;
    };
    let name = format!("blobs-{}", std::process::id());
    make_bucket(&name, &endpoint, &id, &secret).await;
    Some(BucketOptions::new(BucketKind::S3(S3Options {
        name,
        endpoint: Some(endpoint),
        access_key_id: Some(id),
        secret_access_key: Some(secret),
        ..S3Options::default()
    })))
}

/// Makes the bucket by a presigned PUT of no key at all; that it exists already is as good.
async fn make_bucket(name: &str, endpoint: &str, id: &str, secret: &str) {
    let signer = AmazonS3Builder::new()
        .with_endpoint(endpoint)
        .with_bucket_name(name)
        .with_allow_http(true)
        .with_access_key_id(id)
        .with_secret_access_key(secret)
        .build()
        .expect("right settings");
    let path = object_store::path::Path::default();
    let address =
        signer.signed_url(http::Method::PUT, &path, std::time::Duration::from_secs(60)).await.expect("signed");
    let answer = reqwest::Client::new().put(address).send().await.expect("the S3 server answers");
    let status = answer.status();
    let said = answer.text().await.expect("an answer");
    assert!(status.is_success() || status == http::StatusCode::CONFLICT, "{status}: {said}");
}

pub(crate) async fn collect(mut body: ByteBody) -> Result<Vec<u8>, BlobError> {
    let mut read = Vec::new();
    while let Some(frame) = std::future::poll_fn(|context| std::pin::Pin::new(&mut body).poll_frame(context)).await {
        read.extend_from_slice(&frame?.into_data().expect("a body has data frames only"));
    }
    Ok(read)
}

pub(crate) async fn read_all(bucket: &Bucket, key: &str) -> Result<Vec<u8>, BlobError> {
    let size = bucket.size(key).await?.ok_or(BlobError::Missing)?;
    collect(bucket.read(key, 0..size).await?).await
}

/// Bytes that differ from place to place.
pub(crate) fn content(length: usize) -> Bytes {
    let mut bytes: Vec<u8> =
        (0..length.min(65_521)).map(|position| (position ^ (position >> 8)).to_le_bytes()[0]).collect();
    while bytes.len() < length {
        // The pattern's length is a prime, so that no two parts are alike.
        let more = bytes.len().min(length - bytes.len());
        bytes.extend_from_within(..more);
    }
    Bytes::from(bytes)
}
