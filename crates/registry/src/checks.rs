//! Buckets are tried when they are new and from time to time, one node at a time, and what was found is remembered for all.

use std::time::Duration;

use roadstead_blobs::{BlobError, Bucket};
use roadstead_db::{
    DbError,
    bucket::{self, Found, Pace},
};

use crate::{Core, Error, Result};

/// How often a node looks whether a bucket is to be tried.
const LOOK: Duration = Duration::from_secs(60);

/// How long one node may take to try a bucket, microseconds: each step of it ends by itself, and there are some twenty.
const LEASE: i64 = 15 * 60 * 1_000_000;

/// A bucket in trouble is tried again so soon, microseconds: when it was mended, everybody sees it.
const IN_TROUBLE: i64 = 5 * 60 * 1_000_000;

/// Whoever asks for it does not wait.
const AT_ONCE: Pace = Pace { every: 0, in_trouble: 0 };

impl Core {
    /// Tries buckets for good, as often as the settings say. Ends by being dropped, or at once where they are never to be tried.
    pub async fn keep_buckets_checked(&self) {
        while self.options().bucket_check > 0 {
            if let Err(error) = self.check_due_buckets().await {
                tracing::warn!(%error, detail = ?error, "buckets could not be tried");
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    /// Tries those buckets of this node that were never tried, or not for so long as the settings say; how many.
    ///
    /// # Errors
    /// The database failed, or there is no memory for it now. What is wrong with a bucket is no error.
    pub async fn check_due_buckets(&self) -> Result<usize> {
        let every = self.options().bucket_check;
        let (pace, mut tried) = (Pace { every, in_trouble: every.min(IN_TROUBLE) }, 0);
        for row in bucket::due(self.db(), pace).await? {
            // One that is not configured here any more: nothing lies in it.
            let Ok(bucket) = self.bucket(row) else { continue };
            tried += usize::from(self.check_if_due(row, bucket, pace).await?.is_some());
        }
        Ok(tried)
    }

    /// Tries all that a running service needs of the bucket of this name, which no upload notices, and remembers what was found. `None`: there
    /// is no such bucket.
    ///
    /// # Errors
    /// The database failed, or there is no memory for it now.
    pub async fn try_bucket(&self, name: &str) -> Result<Option<Found>> {
        let Some(row) = self.bucket_row(name) else { return Ok(None) };
        let bucket = self.bucket(row)?;
        if let Some(found) = self.check_if_due(row, bucket, AT_ONCE).await? {
            return Ok(Some(found));
        }
        // Another one is at it just now, or died in it.
        let found = self.told(row, bucket.check().await)?;
        let set =
            self.db().write((row, found.clone()), |tx, (row, found)| Box::pin(bucket::set_found(tx, *row, found)));
        set.await.map_err(|error: DbError| Error::from(error))?;
        Ok(Some(found))
    }

    /// `None`: it is not due, or another one is at it.
    async fn check_if_due(&self, row: i64, bucket: &Bucket, pace: Pace) -> Result<Option<Found>> {
        let fresh = bucket.fresh_key();
        let begin = self.db().write((row, pace, fresh.clone()), |tx, (row, pace, key)| {
            Box::pin(bucket::begin_check(tx, *row, *pace, LEASE, key))
        });
        let Some(key) = begin.await? else { return Ok(None) };
        // An earlier one, which died, may have left something.
        let swept = if key == fresh { Ok(()) } else { bucket.sweep_check(&key).await };
        let found = match swept {
            Ok(()) => bucket.check_with(&key).await,
            Err(error) => Err(error),
        };
        let clean = found.is_ok() || bucket.sweep_check(&key).await.is_ok();
        let found = self.told(row, found);
        let end = self.db().write((row, found.as_ref().ok().cloned(), clean), |tx, (row, found, clean)| {
            Box::pin(async move {
                if let Some(found) = found {
                    bucket::set_found(tx, *row, found).await?;
                }
                bucket::end_check(tx, *row, *clean).await
            })
        });
        end.await.map_err(|error: DbError| Error::from(error))?;
        found.map(Some)
    }

    /// What was found, in words, which the log is told too. A node without memory to spare has found nothing.
    fn told(&self, row: i64, found: std::result::Result<Option<String>, BlobError>) -> Result<Found> {
        let name = self.bucket_names().find(|name| self.bucket_row(name) == Some(row)).unwrap_or_default();
        match found {
            Ok(warning) => {
                if let Some(warning) = &warning {
                    tracing::warn!(bucket = name, "{warning}");
                }
                Ok(Found { trouble: None, warning })
            }
            Err(BlobError::NoMemory) => Err(BlobError::NoMemory.into()),
            Err(error) => {
                tracing::warn!(bucket = name, "{error}");
                Ok(Found { trouble: Some(error.to_string()), warning: None })
            }
        }
    }
}
