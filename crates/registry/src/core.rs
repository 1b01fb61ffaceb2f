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
use foldhash::fast::RandomState;
use roadstead_blobs::Bucket;
use roadstead_db::{
    Db, Engine,
    facts::{self, Asker, Facts},
    pull,
};
use roadstead_model::Place;
use tokio_util::sync::CancellationToken;

use crate::{Buckets, Error, Result, TicketKey, buckets::Known, pulls::Pulls};

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
    /// How long a line of the audit log stays.
    pub audit_life: i64,
    /// How long it is known what a tag led to before.
    pub history_life: i64,
    /// Refuse image manifests whose config or layers are not in the repository.
    pub require_blobs: bool,
    /// Signs the ids of uploads. All nodes of a region need the same.
    pub ticket_key: TicketKey,
    /// Bytes of manifests and small blobs that are kept in memory.
    pub body_cache: u64,
    /// How long after one look at a bucket the next one is due; 0 = never.
    pub bucket_check: i64,
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
            audit_life: 365 * DAY,
            history_life: 365 * DAY,
            require_blobs: false,
            ticket_key: TicketKey::default(),
            body_cache: 64 << 20,
            bucket_check: 3600 * SECOND,
        }
    }
}

/// The core. Cheap to clone; one for all requests of a process.
#[derive(Clone)]
pub struct Core(Arc<Inner>);

struct Inner {
    db: Db,
    buckets: Known,
    options: Options,
    /// They never change, and no row's number is given twice, so nothing ever has to be taken out but for room.
    bodies: moka::sync::Cache<BodyOf, Bytes, RandomState>,
    /// Uploads that this process is writing to; a newer request of the same upload stops the older one.
    writers: Mutex<HashMap<String, Writing>>,
    /// Numbers the requests that write, so that it is known which is newer.
    requests: AtomicU64,
    /// Pulls that are not in the database yet.
    pulls: Pulls,
}

/// The row whose bytes lie in the database.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum BodyOf {
    Manifest(i64),
    Blob(i64),
}

/// The request that writes to an upload.
pub(crate) struct Writing {
    pub(crate) request: u64,
    pub(crate) stop: CancellationToken,
}

/// How often it is looked whether all writers have ended.
const STOPPING_LOOK: Duration = Duration::from_millis(20);

impl Core {
    /// Opens the core over a database and its buckets; a single [`Bucket`] is the default one.
    ///
    /// # Errors
    /// A bucket is another one than the database names (architecture.md 5), one that the database uses is not among them, or
    /// one of all these can't be reached.
    pub async fn open(db: Db, buckets: impl Into<Buckets>, options: Options) -> Result<Self> {
        let buckets = Known::open(&db, buckets.into()).await?;
        let bodies = moka::sync::Cache::builder()
            .max_capacity(options.body_cache)
            .weigher(|_, body: &Bytes| u32::try_from(body.len() + 256).unwrap_or(u32::MAX))
            .build_with_hasher(RandomState::default());
        Ok(Self(Arc::new(Inner {
            db,
            buckets,
            options,
            bodies,
            writers: Mutex::default(),
            requests: AtomicU64::new(0),
            pulls: Pulls::default(),
        })))
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
        self.0.buckets.default()
    }

    /// Row of the bucket of this name, if there is one.
    pub fn bucket_row(&self, name: &str) -> Option<i64> {
        self.0.buckets.row(name)
    }

    /// Names of all buckets, in order.
    pub fn bucket_names(&self) -> impl Iterator<Item = &str> {
        self.0.buckets.names()
    }

    /// Whether the bucket of this name is for one registry alone.
    pub fn is_for_one(&self, name: &str) -> bool {
        self.bucket_row(name).is_some_and(|row| self.0.buckets.is_for_one(row))
    }

    /// The facts of a place for who asks.
    pub async fn gate<'a>(&self, place: &Place, asker: impl Into<Asker<'a>>) -> Result<Gate> {
        Ok(Gate { facts: pull::facts(&self.0.db, place, asker.into()).await? })
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
        self.0.buckets.of_row(row)
    }

    pub(crate) fn bodies(&self) -> &moka::sync::Cache<BodyOf, Bytes, RandomState> {
        &self.0.bodies
    }

    pub(crate) fn pulls(&self) -> &Pulls {
        &self.0.pulls
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

    /// Whether database and buckets are this process's alone: what a power cut takes back of who holds what, nobody else has seen.
    pub(crate) fn is_self_contained(&self) -> bool {
        self.is_alone() && self.0.buckets.are_own()
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
