//! The core itself: what all operations share, and how it is opened.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use roadstead_blobs::Bucket;
use roadstead_db::{
    Db, Engine,
    facts::{self, Facts},
    pull,
    registry::{self, BucketRow},
};
use roadstead_model::Place;
use tokio_util::sync::CancellationToken;

use crate::{Error, Result};

/// Settings of the core; times in microseconds.
#[derive(Clone, Debug)]
pub struct Options {
    /// Most bytes of a blob; 0 = no limit.
    pub blob_bytes: u64,
    /// How long an upload without a request lives.
    pub upload_life: i64,
    /// How long a blob without an artifact stays.
    pub collect_grace: i64,
    /// Time between the end of a blob's row and the removal of its object.
    pub recovery_window: i64,
    /// How long deleted things stay in the trash.
    pub trash_life: i64,
    /// How long an event stays.
    pub event_life: i64,
    /// Refuse image manifests whose config or layers are not in the repository.
    pub require_blobs: bool,
    /// Bytes of manifests that are kept in memory.
    pub manifest_cache: u64,
}

const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3600 * SECOND;

impl Default for Options {
    fn default() -> Self {
        Self {
            blob_bytes: 0,
            upload_life: DAY,
            collect_grace: DAY,
            recovery_window: 7 * DAY,
            trash_life: 7 * DAY,
            event_life: 30 * DAY,
            require_blobs: false,
            manifest_cache: 64 << 20,
        }
    }
}

/// The core. Cheap to clone; one for all requests of a process.
#[derive(Clone)]
pub struct Core(Arc<Inner>);

struct Inner {
    db: Db,
    buckets: HashMap<i64, Bucket>,
    default_bucket: i64,
    options: Options,
    /// Manifest bytes by row: they never change, so nothing ever has to be taken out but for room.
    manifests: moka::sync::Cache<i64, Bytes>,
    /// Uploads that this process is writing to; a newer request of the same upload stops the older one.
    writers: Mutex<HashMap<String, Writing>>,
    /// Numbers the requests that write, so that it is known which is newer.
    requests: AtomicU64,
}

/// The request that writes to an upload.
pub(crate) struct Writing {
    pub(crate) request: u64,
    pub(crate) stop: CancellationToken,
}

/// Name under which the bucket that the configuration describes is known.
pub const DEFAULT_BUCKET: &str = "default";

/// Where the bucket's identity marker lies.
const MARKER_KEY: &str = "roadstead-bucket";

/// How long one node may take to write the marker, microseconds.
const MARKING_LEASE: i64 = 30_000_000;

/// How often it is looked whether all writers have ended.
const STOPPING_LOOK: Duration = Duration::from_millis(20);

/// How often a node that waits for another one's marking looks again.
const MARKING_RETRY: Duration = Duration::from_millis(200);

impl Core {
    /// Opens the core over a database and the default bucket.
    ///
    /// # Errors
    /// The bucket is another one than the database names (architecture.md 5), or one of the two can't be reached.
    pub async fn open(db: Db, bucket: Bucket, options: Options) -> Result<Self> {
        let default_bucket = identify(&db, &bucket).await?;
        let manifests = moka::sync::Cache::builder()
            .max_capacity(options.manifest_cache)
            .weigher(|_, body: &Bytes| u32::try_from(body.len() + 256).unwrap_or(u32::MAX))
            .build();
        let buckets = HashMap::from([(default_bucket, bucket)]);
        Ok(Self(Arc::new(Inner {
            db,
            buckets,
            default_bucket,
            options,
            manifests,
            writers: Mutex::default(),
            requests: AtomicU64::new(0),
        })))
    }

    /// Whether a database and a bucket belong together, or are both new. Only reads; the database may have no tables yet.
    ///
    /// # Errors
    /// As [`Core::open`].
    pub async fn check_bucket(db: &Db, bucket: &Bucket) -> Result<()> {
        let row = if db.has_tables().await? { registry::find_bucket(db, DEFAULT_BUCKET).await? } else { None };
        match row {
            Some(row) if row.marked => compare_marker(bucket, &row).await,
            _ if bucket.get_small(MARKER_KEY).await?.is_some() => Err(Error::Refused(
                "the bucket belongs to another Roadstead database: an empty database needs an empty bucket".to_owned(),
            )),
            _ => Ok(()),
        }
    }

    /// Stops what is still being received, and waits until what arrived is saved, at most `limit`: for the end of the process.
    pub async fn stop_writers(&self, limit: Duration) {
        for writing in self.writers().values() {
            writing.stop.cancel();
        }
        let stopped = tokio::time::timeout(limit, async {
            while !self.writers().is_empty() {
                tokio::time::sleep(STOPPING_LOOK).await;
            }
        });
        if stopped.await.is_err() {
            tracing::warn!("uploads that were being received could not be saved in time");
        }
    }

    /// The database.
    pub fn db(&self) -> &Db {
        &self.0.db
    }

    /// The settings.
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Row of the bucket that a registry gets when it names none.
    pub fn default_bucket(&self) -> i64 {
        self.0.default_bucket
    }

    /// The facts of a place for the access key `key`.
    pub async fn gate(&self, place: &Place, key: Option<i64>) -> Result<Gate> {
        Ok(Gate { facts: pull::facts(&self.0.db, place, key).await? })
    }

    /// The facts of the access key `key` alone, for operations that are about no place.
    pub async fn facts_of(&self, key: Option<i64>) -> Result<Facts> {
        let key = match key {
            Some(key) => facts::of_key(&self.0.db, key).await?,
            None => None,
        };
        Ok(Facts { key, ..Facts::default() })
    }

    pub(crate) fn bucket(&self, row: i64) -> Result<&Bucket> {
        self.0.buckets.get(&row).ok_or_else(|| Error::Internal(format!("bucket {row} is not configured")))
    }

    pub(crate) fn manifests(&self) -> &moka::sync::Cache<i64, Bytes> {
        &self.0.manifests
    }

    pub(crate) fn writers(&self) -> MutexGuard<'_, HashMap<String, Writing>> {
        self.0.writers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A number above those of all requests before.
    pub(crate) fn next_request(&self) -> u64 {
        self.0.requests.fetch_add(1, Ordering::Relaxed)
    }

    /// Whether no other process can be writing: an embedded database is locked by one server.
    pub(crate) fn is_alone(&self) -> bool {
        self.0.db.engine() == Engine::Sqlite
    }
}

/// The rights facts of a place: what every operation asks first.
#[derive(Clone, Debug)]
pub struct Gate {
    /// What the decision about rights needs.
    pub facts: Facts,
}

impl Gate {
    pub(crate) fn registry(&self) -> Result<&roadstead_db::facts::RegistryFacts> {
        self.facts.registry.as_ref().ok_or(Error::NameUnknown)
    }

    pub(crate) fn repository(&self) -> Result<i64> {
        self.facts.repository.ok_or(Error::NameUnknown)
    }
}

/// Finds or makes the bucket's row and compares its marker with the object in the bucket. The object is written once, by one
/// node: a second node with a bucket of its own finds none there and is refused.
async fn identify(db: &Db, bucket: &Bucket) -> Result<i64> {
    let fresh = (bucket.kind_name(), bucket.fresh_key());
    let row = loop {
        let row = db
            .write(fresh.clone(), |tx, (kind, marker)| {
                Box::pin(registry::find_or_make_bucket(tx, DEFAULT_BUCKET, kind, marker))
            })
            .await?;
        if row.marked {
            break row;
        }
        let begun = db.write(row.id, |tx, id| Box::pin(registry::begin_marking(tx, *id, MARKING_LEASE))).await?;
        if begun {
            bucket.put_small(MARKER_KEY, Bytes::from(row.marker.clone()), true).await?;
            db.write(row.id, |tx, id| Box::pin(registry::end_marking(tx, *id))).await?;
            break row;
        }
        tokio::time::sleep(MARKING_RETRY).await;
    };
    compare_marker(bucket, &row).await?;
    Ok(row.id)
}

async fn compare_marker(bucket: &Bucket, row: &BucketRow) -> Result<()> {
    match bucket.get_small(MARKER_KEY).await? {
        Some(stored) if stored == row.marker.as_bytes() => Ok(()),
        Some(_) => Err(Error::Refused(
            "the bucket belongs to another Roadstead database: name the bucket that this database was used with, or an empty one with an empty database"
                .to_owned(),
        )),
        None => Err(Error::Refused(format!(
            "the bucket is not the one that this database was used with: its marker object {MARKER_KEY} is missing"
        ))),
    }
}
