//! The collector's queues. Rows hold on to rows by foreign keys, so the collector deletes what review says is due, and a
//! foreign-key error means "still held" (architecture.md 5).

use crate::{
    Db, DbError, Tx, params,
    usage::{self, Change},
};

/// A review that is due.
#[derive(Clone, Copy, Debug)]
pub struct LinkReview {
    /// Row of the repository.
    pub repository: i64,
    /// Row of the blob.
    pub blob: i64,
    /// When it became due: an equal one can be struck off, a later one is news.
    pub due: i64,
}

/// Links to look at now.
pub async fn due_links(db: &Db, limit: i64) -> Result<Vec<LinkReview>, DbError> {
    db.list(
        "SELECT repository, blob, due FROM link_review WHERE due <= {now} ORDER BY due LIMIT $1",
        params![limit],
        |row| Ok(LinkReview { repository: row.get(0)?, blob: row.get(1)?, due: row.get(2)? }),
    )
    .await
}

/// Deletes a link that nothing holds. [`DbError::ForeignKey`]: an artifact holds it (then [`strike_link`]).
pub async fn collect_link(tx: &mut Tx<'_>, review: &LinkReview) -> Result<(), DbError> {
    let mine = tx
        .query_opt(
            "SELECT due FROM link_review WHERE repository = $1 AND blob = $2 AND due = $3 {skip_locked}",
            params![review.repository, review.blob, review.due],
            |_| Ok(()),
        )
        .await?;
    if mine.is_none() {
        return Ok(());
    }
    // An artifact that was pushed in the same moment as the blob it names may not hold it yet.
    const REGISTRY: &str = "SELECT registry FROM repository WHERE id = $1";
    let registry = tx.query_opt(REGISTRY, params![review.repository], |row| row.get::<i64>(0)).await?;
    if let Some(registry) = registry
        && crate::blob::hold_for_artifacts(tx, registry, review.repository, review.blob).await? > 0
    {
        return strike_link(tx, review).await;
    }
    unlink(tx, review.repository, review.blob).await
}

/// Deletes a link and its review; the blob is looked at when this was its last one in the registry.
pub(crate) async fn unlink(tx: &mut Tx<'_>, repository: i64, blob: i64) -> Result<(), DbError> {
    // The review before the link, as everywhere.
    tx.execute("DELETE FROM link_review WHERE repository = $1 AND blob = $2", params![repository, blob]).await?;
    let gone = tx
        .execute("DELETE FROM repository_blob WHERE repository = $1 AND blob = $2", params![repository, blob])
        .await?;
    if gone == 0 {
        return Ok(());
    }
    let registry = tx
        .query_one("SELECT registry FROM repository WHERE id = $1", params![repository], |row| row.get::<i64>(0))
        .await?;
    tx.execute(
        "UPDATE registry_blob SET repositories = repositories - 1 WHERE registry = $1 AND blob = $2",
        params![registry, blob],
    )
    .await?;
    let last = tx
        .execute(
            "DELETE FROM registry_blob WHERE registry = $1 AND blob = $2 AND repositories <= 0",
            params![registry, blob],
        )
        .await?;
    let size = crate::blob::size_of(tx, blob).await?;
    let bytes = if last == 1 { -size } else { 0 };
    usage::add(tx, &Change { bytes, own_bytes: -size, ..Change::of(registry, repository) }).await?;
    if last == 1 {
        tx.execute(
            "INSERT INTO blob_review (blob, due) VALUES ($1, {now}) ON CONFLICT (blob) DO UPDATE SET due = {now}",
            params![blob],
        )
        .await?;
    }
    Ok(())
}

/// Strikes off the review of a link that is held; whatever lets go of it asks for a new one.
pub async fn strike_link(tx: &mut Tx<'_>, review: &LinkReview) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM link_review WHERE repository = $1 AND blob = $2 AND due = $3",
        params![review.repository, review.blob, review.due],
    )
    .await
    .map(drop)
}

/// Blobs to look at now: row and due.
pub async fn due_blobs(db: &Db, limit: i64) -> Result<Vec<(i64, i64)>, DbError> {
    db.list("SELECT blob, due FROM blob_review WHERE due <= {now} ORDER BY due LIMIT $1", params![limit], |row| {
        Ok((row.get(0)?, row.get(1)?))
    })
    .await
}

/// Deletes a blob that no repository sees, and has its object, if it has one, removed after `recovery` microseconds.
/// [`DbError::ForeignKey`]: a repository sees it (then [`strike_blob`]).
pub async fn collect_blob(tx: &mut Tx<'_>, blob: i64, due: i64, recovery: i64) -> Result<(), DbError> {
    let mine = tx
        .query_opt("SELECT due FROM blob_review WHERE blob = $1 AND due = $2 {skip_locked}", params![blob, due], |_| {
            Ok(())
        })
        .await?;
    if mine.is_none() {
        return Ok(());
    }
    let gone = tx
        .query_opt("DELETE FROM blob WHERE id = $1 RETURNING bucket, object_key", params![blob], |row| {
            Ok((row.get::<i64>(0)?, row.get::<String>(1)?))
        })
        .await?;
    tx.execute("DELETE FROM blob_review WHERE blob = $1", params![blob]).await?;
    match gone {
        // Its bytes were in its row.
        Some((_, key)) if key.is_empty() => Ok(()),
        Some((bucket, key)) => crate::blob::remove_object(tx, bucket, &key, recovery).await,
        None => Ok(()),
    }
}

/// Strikes off the review of a blob that a repository sees.
pub async fn strike_blob(tx: &mut Tx<'_>, blob: i64, due: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM blob_review WHERE blob = $1 AND due = $2", params![blob, due]).await.map(drop)
}
