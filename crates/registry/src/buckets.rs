//! The buckets of a region: which belong to the database, and who is who.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    time::Duration,
};

use bytes::Bytes;
use roadstead_blobs::Bucket;
use roadstead_db::{
    Db, bucket,
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
pub struct Buckets {
    named: Vec<(String, Bucket)>,
    for_one: BTreeSet<String>,
}

impl From<Bucket> for Buckets {
    fn from(default: Bucket) -> Self {
        Self { named: vec![(DEFAULT_BUCKET.to_owned(), default)], for_one: BTreeSet::new() }
    }
}

impl Buckets {
    /// Adds a bucket. Its name must be new.
    #[must_use]
    pub fn and(mut self, name: &str, bucket: Bucket) -> Self {
        self.named.push((name.to_owned(), bucket));
        self
    }

    /// The bucket of this name is for one registry alone.
    #[must_use]
    pub fn for_one(mut self, name: &str) -> Self {
        self.for_one.insert(name.to_owned());
        self
    }

    /// All of them with their names, the default one first.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Bucket)> {
        self.named.iter().map(|(name, bucket)| (name.as_str(), bucket))
    }
}

/// The buckets of an open core, by row.
pub(crate) struct Known {
    buckets: HashMap<i64, Bucket>,
    rows: BTreeMap<String, i64>,
    for_one: HashSet<i64>,
    default: i64,
}

impl Known {
    /// Compares each bucket with what the database knows of it.
    pub(crate) async fn open(db: &Db, buckets: Buckets) -> Result<Self> {
        let (mut known, mut rows) = (HashMap::new(), BTreeMap::new());
        for (name, bucket) in buckets.named {
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
        for name in &buckets.for_one {
            warn_if_shared(db, name).await?;
        }
        let for_one = buckets.for_one.iter().filter_map(|name| rows.get(name).copied()).collect();
        Ok(Self { buckets: known, rows, for_one, default })
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

    pub(crate) fn is_for_one(&self, row: i64) -> bool {
        self.for_one.contains(&row)
    }

    pub(crate) fn default(&self) -> i64 {
        self.default
    }

    /// Nobody else sees any of them.
    pub(crate) fn are_own(&self) -> bool {
        self.buckets.values().all(|bucket| !bucket.is_shared())
    }
}

/// A bucket can be declared to be for one registry when several are in it: they stay, and no other one comes.
async fn warn_if_shared(db: &Db, name: &str) -> Result<()> {
    if let Some(words) = bucket::show(db, name).await?.and_then(|it| too_many(it.registries)) {
        tracing::warn!(bucket = name, "{words}");
    }
    Ok(())
}

/// What to say of a bucket for one registry that has so many, those in the trash included.
pub fn too_many(registries: i64) -> Option<String> {
    (registries > 1).then(|| {
        format!(
            "this bucket is meant for one registry alone, and {registries} are in it, those in the trash included: they stay, and no further one can be made in it"
        )
    })
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
