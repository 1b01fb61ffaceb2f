//! The buckets of a region: which belong to the database, and who is who.

use std::{
    collections::{BTreeMap, HashMap},
    time::Duration,
};

use bytes::Bytes;
use roadstead_blobs::Bucket;
use roadstead_db::{
    Db,
    registry::{self, BucketRow},
};

use crate::{Error, Result};

/// Name of the bucket that a registry gets when it names none.
pub const DEFAULT_BUCKET: &str = "default";

/// Where a bucket's identity marker lies: an object that every bucket of ours holds.
pub const MARKER_KEY: &str = "roadstead-bucket";

/// How long one node may take to write the marker, microseconds.
const MARKING_LEASE: i64 = 30_000_000;

/// How often a node that waits for another one's marking looks again.
const MARKING_RETRY: Duration = Duration::from_millis(200);

/// Buckets by name, the default one always among them.
#[derive(Clone)]
pub struct Buckets(Vec<(String, Bucket)>);

impl From<Bucket> for Buckets {
    fn from(default: Bucket) -> Self {
        Self(vec![(DEFAULT_BUCKET.to_owned(), default)])
    }
}

impl Buckets {
    /// Adds a bucket. Its name must be new.
    #[must_use]
    pub fn and(mut self, name: &str, bucket: Bucket) -> Self {
        self.0.push((name.to_owned(), bucket));
        self
    }

    /// All of them with their names, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bucket)> {
        self.0.iter().map(|(name, bucket)| (name.as_str(), bucket))
    }
}

/// The buckets of an open core, by row.
pub(crate) struct Known {
    buckets: HashMap<i64, Bucket>,
    rows: BTreeMap<String, i64>,
    default: i64,
}

impl Known {
    /// Compares each bucket with what the database knows of it.
    pub(crate) async fn open(db: &Db, buckets: Buckets) -> Result<Self> {
        let (mut known, mut rows) = (HashMap::new(), BTreeMap::new());
        for (name, bucket) in buckets.0 {
            let row = identify(db, &name, &bucket).await.map_err(|error| of_bucket(&name, error))?;
            known.insert(row, bucket);
            rows.insert(name, row);
        }
        for (name, row) in registry::buckets(db).await? {
            if !known.contains_key(&row) && registry::is_bucket_used(db, row).await? {
                return Err(Error::Refused(format!(
                    "the database still uses the bucket `{name}`, which is not configured: add it as [buckets.{name}]"
                )));
            }
        }
        let default = rows.get(DEFAULT_BUCKET).copied();
        let default = default.ok_or_else(|| Error::Internal("there is no default bucket".to_owned()))?;
        Ok(Self { buckets: known, rows, default })
    }

    pub(crate) fn of_row(&self, row: i64) -> Result<&Bucket> {
        self.buckets.get(&row).ok_or_else(|| Error::Internal(format!("bucket {row} is not configured")))
    }

    pub(crate) fn row(&self, name: &str) -> Option<i64> {
        self.rows.get(name).copied()
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.rows.keys().map(String::as_str)
    }

    pub(crate) fn default(&self) -> i64 {
        self.default
    }

    /// Nobody else sees any of them.
    pub(crate) fn are_own(&self) -> bool {
        self.buckets.values().all(|bucket| !bucket.is_shared())
    }
}

/// Whether a database and a bucket belong together, or are both new. Only reads; the database may have no tables yet, or not be
/// there at all (`None`).
///
/// # Errors
/// The database names another one as the bucket of this name, or one of the two can't be reached.
pub async fn check_bucket(db: Option<&Db>, name: &str, bucket: &Bucket) -> Result<()> {
    let row = match db {
        Some(db) if db.has_tables().await? => registry::find_bucket(db, name).await?,
        _ => None,
    };
    match row {
        Some(row) if row.marked => compare_marker(bucket, &row).await,
        _ if bucket.get_small(MARKER_KEY).await?.is_some() => Err(belongs_elsewhere()),
        _ => Ok(()),
    }
}

/// Finds or makes the bucket's row and compares its marker with the object in the bucket. The object is written once, by one
/// node: a second node with a bucket of its own finds none there and is refused.
async fn identify(db: &Db, name: &str, bucket: &Bucket) -> Result<i64> {
    let fresh = (name.to_owned(), bucket.kind_name(), bucket.fresh_key());
    loop {
        let row = db
            .write(fresh.clone(), |tx, (name, kind, marker)| {
                Box::pin(registry::find_or_make_bucket(tx, name, kind, marker))
            })
            .await?;
        if row.marked {
            compare_marker(bucket, &row).await?;
            return Ok(row.id);
        }
        if db.write(row.id, |tx, id| Box::pin(registry::begin_marking(tx, *id, MARKING_LEASE))).await? {
            let marked = mark(bucket, &row).await;
            let done = marked.is_ok();
            db.write((row.id, done), |tx, (id, done)| Box::pin(registry::end_marking(tx, *id, *done))).await?;
            return marked.map(|()| row.id);
        }
        tokio::time::sleep(MARKING_RETRY).await;
    }
}

/// Writes the marker. An object that lies there already stays: it may be that of another database.
async fn mark(bucket: &Bucket, row: &BucketRow) -> Result<()> {
    if !bucket.put_small(MARKER_KEY, Bytes::from(row.marker.clone()), true).await?
        && bucket.get_small(MARKER_KEY).await?.is_some_and(|stored| stored != row.marker.as_bytes())
    {
        return Err(belongs_elsewhere());
    }
    compare_marker(bucket, row).await
}

async fn compare_marker(bucket: &Bucket, row: &BucketRow) -> Result<()> {
    match bucket.get_small(MARKER_KEY).await? {
        Some(stored) if stored == row.marker.as_bytes() => Ok(()),
        Some(_) => Err(Error::Refused(
            "the bucket belongs to another Roadstead database, or has another name in this one: name the bucket that this database was used with, or an empty one"
                .to_owned(),
        )),
        None => Err(Error::Refused(format!(
            "the bucket is not the one that this database was used with: its marker object {MARKER_KEY} is missing"
        ))),
    }
}

fn belongs_elsewhere() -> Error {
    Error::Refused(
        "the bucket belongs to another Roadstead database, or has another name in this one: a new bucket must be empty"
            .to_owned(),
    )
}

/// Says which bucket is meant where there may be several.
fn of_bucket(name: &str, error: Error) -> Error {
    match error {
        error if name == DEFAULT_BUCKET => error,
        Error::Refused(words) => Error::Refused(format!("the bucket `{name}`: {words}")),
        Error::Unavailable(words) => Error::Unavailable(format!("the bucket `{name}`: {words}")),
        other => other,
    }
}
