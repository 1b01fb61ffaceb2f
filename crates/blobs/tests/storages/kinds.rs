//! The buckets that tests run on.

use bytes::Bytes;
use http_body::Body as _;
use roadstead_blobs::{BlobError, Bucket, BucketKind, BucketOptions, ByteBody, Finished, MemoryBudget, S3Options};
use roadstead_testkit::engines;

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
    kinds_within(MemoryBudget::new(64), MemoryBudget::new(64)).await
}

/// The same with budgets that a test chooses, one for the directory and one for S3.
pub(crate) async fn kinds_within(directory: MemoryBudget, s3: MemoryBudget) -> Vec<Kind> {
    let mut kinds = vec![directory_within(directory).await];
    kinds.extend(s3_within(PART_BYTES, s3).await);
    kinds
}

pub(crate) async fn directory() -> Kind {
    directory_within(MemoryBudget::new(64)).await
}

pub(crate) async fn directory_within(budget: MemoryBudget) -> Kind {
    directory_with(0, budget).await
}

/// Bytes of up to `small_bytes` become no object.
pub(crate) async fn directory_with(small_bytes: usize, budget: MemoryBudget) -> Kind {
    let folder = tempfile::tempdir().expect("a temporary directory");
    let kind = BucketKind::Directory { path: folder.path().join("bucket"), shared: false };
    let options = BucketOptions { small_bytes, ..BucketOptions::new(kind) };
    let bucket = Bucket::open(options, budget.clone()).await.expect("a fresh directory");
    Kind { bucket, budget, folder: Some(folder) }
}

/// A bucket of its own on S3; says once that it was left out if there is none.
pub(crate) async fn s3(part_bytes: u64) -> Option<Kind> {
    s3_within(part_bytes, MemoryBudget::new(64)).await
}

async fn s3_within(part_bytes: u64, budget: MemoryBudget) -> Option<Kind> {
    s3_with(part_bytes, 0, budget).await
}

/// Bytes of up to `small_bytes` become no object.
pub(crate) async fn s3_with(part_bytes: u64, small_bytes: usize, budget: MemoryBudget) -> Option<Kind> {
    let options = BucketOptions { part_bytes, small_bytes, ..s3_options().await? };
    let bucket = Bucket::open(options, budget.clone()).await.expect("right settings");
    Some(Kind { bucket, budget, folder: None })
}

pub(crate) async fn s3_options() -> Option<BucketOptions> {
    let made = || engines::s3().map(|s3| (s3, s3.bucket()));
    let (s3, name) = tokio::task::spawn_blocking(made).await.expect("S3 starts")?;
    let kind = BucketKind::S3(S3Options {
        name,
        endpoint: Some(s3.endpoint.clone()),
        region: Some(s3.region.clone()),
        access_key_id: Some(s3.access_key_id.clone()),
        secret_access_key: Some(s3.secret_access_key.clone()),
        ..S3Options::default()
    });
    Some(BucketOptions { small_bytes: 0, ..BucketOptions::new(kind) })
}

/// The key of an upload that became an object.
pub(crate) fn key_of(finished: &Finished) -> &str {
    finished.key().expect("an object")
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
