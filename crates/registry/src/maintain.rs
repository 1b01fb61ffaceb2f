//! What runs in the background, on every node at once and all the time: the trash is emptied when its time is over, the
//! collector takes what nothing holds, uploads that were left alone end, objects without a row are removed.
//!
//! Each piece of work is one bounded transaction that any node may do; doing it twice is harmless.

use std::{collections::BTreeSet, time::Duration};

use futures::stream::{self, StreamExt as _, TryStreamExt as _};
use roadstead_db::{
    DbError, Tx, audit, blob,
    collect::{self, LinkReview},
    event, pulls, repository, tag,
    trash::{self, Purge},
    upload::{self, Idle, Purpose},
    usage,
};

use crate::{Core, Error, Result, upload::OVER_LIFE};

/// How much of each kind one round takes.
const BATCH: i64 = 100;

/// How much of that is worked on at the same time: one after the other, each waiting for the disk by itself, the background would fall
/// behind clients who push and delete at once, and its queues would grow. On SQLite what is written together waits once.
const AT_ONCE_EMBEDDED: usize = 16;
/// On PostgreSQL each takes a connection that requests want too.
const AT_ONCE_SCALED_OUT: usize = 4;

/// How many batches of changes of usage one round folds.
const FOLDS: usize = 20;

impl Core {
    /// Does the background work for good, resting for `rest` when there is nothing to do. Ends only by being dropped.
    pub async fn maintain(&self, rest: Duration) {
        loop {
            match self.maintain_once().await {
                Ok(0) => tokio::time::sleep(rest).await,
                Ok(done) => tracing::debug!(done, "background work"),
                Err(error) => {
                    tracing::warn!(%error, detail = ?error, "background work failed, it is tried again");
                    tokio::time::sleep(rest).await;
                }
            }
        }
    }

    /// One round of each kind of work; how many things were done. What one kind fails on does not keep the others from theirs.
    ///
    /// # Errors
    /// The first failure.
    pub async fn maintain_once(&self) -> Result<usize> {
        let rounds = [
            self.follow_deletions().await,
            self.empty_trash().await,
            self.collect_links().await,
            self.collect_blobs().await,
            self.end_uploads().await,
            self.remove_objects().await,
            self.tidy_events().await,
            self.tidy_history().await,
        ];
        rounds.into_iter().try_fold(0, |sum, done| Ok(sum + done?))
    }

    /// Does a piece of work for each of `all`, some at the same time. After the first failure no other one begins.
    async fn at_once<I, T, F: Future<Output = Result<T>>>(&self, all: Vec<I>, work: impl Fn(I) -> F) -> Result<Vec<T>> {
        let lanes = if self.is_alone() { AT_ONCE_EMBEDDED } else { AT_ONCE_SCALED_OUT };
        stream::iter(all.into_iter().map(work)).buffer_unordered(lanes).try_collect().await
    }

    async fn follow_deletions(&self) -> Result<usize> {
        let mut done = 0;
        while done < BATCH.unsigned_abs() as usize && self.follow(None, "system").await? {
            done += 1;
        }
        Ok(done)
    }

    async fn empty_trash(&self) -> Result<usize> {
        let over = trash::over(self.db(), BATCH).await?;
        let purged = self.at_once(over, |deletion| self.purge(deletion)).await?;
        Ok(purged.into_iter().sum())
    }

    async fn purge(&self, deletion: i64) -> Result<usize> {
        let mut done = 0;
        loop {
            let input = (deletion, self.options().collect_grace);
            let purged = self
                .db()
                .write(input, |tx, (deletion, grace)| Box::pin(trash::purge(tx, *deletion, BATCH, *grace)))
                .await;
            match purged {
                Ok(Purge::More) => done += 1,
                Ok(Purge::Done) => return Ok(done + 1),
                // Uploads under way hold a repository; they expire.
                Err(DbError::ForeignKey) => return Ok(done),
                Err(error) => return Err(error.into()),
            }
        }
    }

    async fn collect_links(&self) -> Result<usize> {
        let due = collect::due_links(self.db(), BATCH).await?;
        Ok(self.at_once(due, |review| self.collect_link(review)).await?.len())
    }

    async fn collect_link(&self, review: LinkReview) -> Result<()> {
        match self.db().write(review, |tx, review| Box::pin(collect::collect_link(tx, review))).await {
            Err(DbError::ForeignKey) => {
                Ok(self.db().write(review, |tx, review| Box::pin(collect::strike_link(tx, review))).await?)
            }
            // By itself: pushes that wait for the link hold the repository.
            collected => {
                collected?;
                self.reap(review.repository).await
            }
        }
    }

    /// Takes a repository away that nothing is left of. One that is forgotten here, by a crash, is on no list.
    async fn reap(&self, repository: i64) -> Result<()> {
        let input = (repository, self.options().collect_grace);
        let reaped = self.db().write(input, |tx, (row, grace)| Box::pin(repository::reap(tx, *row, *grace))).await;
        Ok(reaped.map(drop)?)
    }

    async fn collect_blobs(&self) -> Result<usize> {
        let due = collect::due_blobs(self.db(), BATCH).await?;
        Ok(self.at_once(due, |(row, due)| self.collect_blob(row, due)).await?.len())
    }

    async fn collect_blob(&self, row: i64, due: i64) -> Result<()> {
        let input = (row, due, self.options().recovery_window);
        let collected = self
            .db()
            .write(input, |tx, (row, due, recovery)| Box::pin(collect::collect_blob(tx, *row, *due, *recovery)))
            .await;
        match collected {
            Err(DbError::ForeignKey) => {
                Ok(self.db().write((row, due), |tx, (row, due)| Box::pin(collect::strike_blob(tx, *row, *due))).await?)
            }
            other => Ok(other?),
        }
    }

    async fn end_uploads(&self) -> Result<usize> {
        let grace = self.options().collect_grace;
        // One that became nothing may be all that its repository has, which can be reaped only after the grace.
        let over = upload::over(self.db(), OVER_LIFE, grace.max(OVER_LIFE), BATCH).await?;
        let unfinished = upload::idle(self.db(), self.options().upload_life, BATCH).await?;
        let forgotten = over.len();
        if forgotten > 0 {
            let input = (over, grace);
            let forget = self.db().write(input, |tx, (uploads, grace)| Box::pin(forget_and_reap(tx, uploads, *grace)));
            forget.await.map_err(|error: DbError| error)?;
        }
        let ended = self.at_once(unfinished, |upload| self.end_upload(upload)).await?;
        // One whose state can't be read must not keep the others.
        ended.into_iter().try_fold(forgotten, |done, ended| ended.map(|()| done + 1))
    }

    /// The outer error is of database or bucket, the inner one of this upload.
    async fn end_upload(&self, upload: Idle) -> Result<Result<()>> {
        let life = Purpose::Expire(self.options().upload_life);
        match self.abandon(Some(upload.repository), &upload.id, life).await {
            Ok(()) | Err(Error::UploadUnknown | Error::UploadBusy) => {}
            Err(error @ (Error::Unavailable(_) | Error::Full(_))) => return Err(error),
            Err(error) => return Ok(Err(error)),
        }
        self.reap(upload.repository).await.map(Ok)
    }

    async fn remove_objects(&self) -> Result<usize> {
        let due = blob::removals(self.db(), BATCH).await?;
        Ok(self.at_once(due, |(row, bucket, key)| self.remove_object(row, bucket, key)).await?.len())
    }

    async fn remove_object(&self, row: i64, bucket: i64, key: String) -> Result<()> {
        self.bucket(bucket)?.delete(&key).await?;
        Ok(self.db().write(row, |tx, row| Box::pin(blob::removed(tx, *row))).await?)
    }

    async fn tidy_events(&self) -> Result<usize> {
        // More of them than of all else: every push and every deletion changes usage. What is less than a batch may wait for company, so
        // that there is rest between two rounds while pushes come one by one.
        let (mut folded, batch) = (0, BATCH.unsigned_abs() as usize);
        for _ in 0..FOLDS {
            let now = self.db().write((), |tx, ()| Box::pin(usage::fold(tx, BATCH))).await?;
            if now < batch {
                break;
            }
            folded += now;
        }
        let lives = (self.options().event_life, self.options().audit_life);
        let dropped = self.db().write(lives, |tx, (events, audit)| {
            Box::pin(async move {
                Ok::<_, DbError>(event::drop_old(tx, *events, BATCH).await? + audit::drop_old(tx, *audit, BATCH).await?)
            })
        });
        Ok(folded + usize::try_from(dropped.await?).unwrap_or(0))
    }

    async fn tidy_history(&self) -> Result<usize> {
        let input = (self.options().history_life, self.options().collect_grace);
        let dropped = self.db().write(input, |tx, (life, grace)| Box::pin(drop_history(tx, *life, *grace))).await;
        Ok(dropped.map_err(|error: DbError| error)?)
    }
}

/// Forgets uploads that are over, and repositories of which they were all that was left.
async fn forget_and_reap(tx: &mut Tx<'_>, uploads: &[Idle], grace: i64) -> std::result::Result<(), DbError> {
    let mut repositories = BTreeSet::new();
    for upload in uploads {
        upload::forget_over(tx, &upload.id).await?;
        repositories.insert(upload.repository);
    }
    for row in repositories {
        repository::reap(tx, row, grace).await?;
    }
    Ok(())
}

/// Repositories of which nothing but history was left go with it.
async fn drop_history(tx: &mut Tx<'_>, life: i64, grace: i64) -> std::result::Result<usize, DbError> {
    let days = pulls::drop_old(tx, life, BATCH).await?;
    let repositories = tag::drop_old(tx, life, BATCH).await?;
    let dropped = repositories.len() + usize::try_from(days).unwrap_or(0);
    for row in repositories.into_iter().collect::<BTreeSet<_>>() {
        repository::reap(tx, row, grace).await?;
    }
    Ok(dropped)
}
