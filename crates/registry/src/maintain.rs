//! What runs in the background, on every node at once and all the time: the trash is emptied when its time is over, the
//! collector takes what nothing holds, uploads that were left alone end, objects without a row are removed.
//!
//! Each piece of work is one bounded transaction that any node may do; doing it twice is harmless.

use std::time::Duration;

use roadstead_db::{
    DbError, Tx, blob,
    collect::{self, LinkReview},
    event, repository, tag,
    trash::{self, Purge},
    upload,
};

use crate::{Core, Error, Result, upload::FINISHED_LIFE};

/// How much of each kind one round takes.
const BATCH: i64 = 100;

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

    async fn follow_deletions(&self) -> Result<usize> {
        let mut done = 0;
        while done < BATCH.unsigned_abs() as usize && self.follow(None, "system").await? {
            done += 1;
        }
        Ok(done)
    }

    async fn empty_trash(&self) -> Result<usize> {
        let mut done = 0;
        for deletion in trash::over(self.db(), BATCH).await? {
            loop {
                let input = (deletion, self.options().collect_grace);
                let purged = self
                    .db()
                    .write(input, |tx, (deletion, grace)| Box::pin(trash::purge(tx, *deletion, BATCH, *grace)))
                    .await;
                match purged {
                    Ok(Purge::More) => done += 1,
                    Ok(Purge::Done) => {
                        done += 1;
                        break;
                    }
                    // Uploads under way hold a repository; they expire.
                    Err(DbError::ForeignKey) => break,
                    Err(error) => return Err(error.into()),
                }
            }
        }
        Ok(done)
    }

    async fn collect_links(&self) -> Result<usize> {
        let due = collect::due_links(self.db(), BATCH).await?;
        for review in &due {
            self.collect_link(*review).await?;
        }
        Ok(due.len())
    }

    async fn collect_link(&self, review: LinkReview) -> Result<()> {
        let grace = self.options().collect_grace;
        let collected = self
            .db()
            .write((review, grace), |tx, (review, grace)| Box::pin(collect_and_reap(tx, review, *grace)))
            .await;
        match collected {
            Err(DbError::ForeignKey) => {
                Ok(self.db().write(review, |tx, review| Box::pin(collect::strike_link(tx, review))).await?)
            }
            other => Ok(other?),
        }
    }

    async fn collect_blobs(&self) -> Result<usize> {
        let due = collect::due_blobs(self.db(), BATCH).await?;
        for (row, due) in &due {
            let input = (*row, *due, self.options().recovery_window);
            let collected = self
                .db()
                .write(input, |tx, (row, due, recovery)| Box::pin(collect::collect_blob(tx, *row, *due, *recovery)))
                .await;
            match collected {
                Err(DbError::ForeignKey) => {
                    let input = (*row, *due);
                    self.db().write(input, |tx, (row, due)| Box::pin(collect::strike_blob(tx, *row, *due))).await?;
                }
                other => other?,
            }
        }
        Ok(due.len())
    }

    async fn end_uploads(&self) -> Result<usize> {
        let idle = upload::idle(self.db(), self.options().upload_life, FINISHED_LIFE, BATCH).await?;
        let mut done = 0;
        let mut failed = None;
        for upload in idle {
            if upload.finished {
                self.db().write(upload.id, |tx, id| Box::pin(upload::forget_finished(tx, id))).await?;
            } else {
                match self.abandon(upload.repository, &upload.id).await {
                    Ok(()) | Err(Error::UploadUnknown | Error::UploadBusy) => {}
                    Err(error @ (Error::Unavailable(_) | Error::Full(_))) => return Err(error),
                    // One whose state can't be read must not keep the others.
                    Err(error) => {
                        failed.get_or_insert(error);
                        continue;
                    }
                }
            }
            let input = (upload.repository, self.options().collect_grace);
            self.db().write(input, |tx, (row, grace)| Box::pin(repository::reap(tx, *row, *grace))).await?;
            done += 1;
        }
        failed.map_or(Ok(done), Err)
    }

    async fn remove_objects(&self) -> Result<usize> {
        let due = blob::removals(self.db(), BATCH).await?;
        for (row, bucket, key) in &due {
            self.bucket(*bucket)?.delete(key).await?;
            self.db().write(*row, |tx, row| Box::pin(blob::removed(tx, *row))).await?;
        }
        Ok(due.len())
    }

    async fn tidy_events(&self) -> Result<usize> {
        let folded = self.db().write((), |tx, ()| Box::pin(event::fold_usage(tx, BATCH))).await?;
        let life = self.options().event_life;
        let dropped = self.db().write(life, |tx, life| Box::pin(event::drop_old(tx, *life, BATCH))).await?;
        Ok(folded + usize::try_from(dropped).unwrap_or(0))
    }

    async fn tidy_history(&self) -> Result<usize> {
        let input = (self.options().history_life, self.options().collect_grace);
        let dropped = self.db().write(input, |tx, (life, grace)| Box::pin(drop_history(tx, *life, *grace))).await;
        Ok(dropped.map_err(|error: DbError| error)?)
    }
}

/// Repositories of which nothing but history was left go with it.
async fn drop_history(tx: &mut Tx<'_>, life: i64, grace: i64) -> std::result::Result<usize, DbError> {
    let mut repositories = tag::drop_old(tx, life, BATCH).await?;
    let dropped = repositories.len();
    repositories.sort_unstable();
    repositories.dedup();
    for row in repositories {
        repository::reap(tx, row, grace).await?;
    }
    Ok(dropped)
}

async fn collect_and_reap(tx: &mut Tx<'_>, review: &LinkReview, grace: i64) -> std::result::Result<(), DbError> {
    collect::collect_link(tx, review).await?;
    repository::reap(tx, review.repository, grace).await.map(drop)
}
