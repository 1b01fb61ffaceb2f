//! A repository out of the trash into the one that lives by its name again, in bounded steps: artifacts with their tags, tags of what is
//! there already, history. What was moved is not there any more, so each step does what is left.

use roadstead_model::Digest;

use crate::{
    DbError, Tx, blob, params,
    restore::{Back, Choice, Locked, Tags, put_back_tags},
    tag_views::digest,
    usage::{self, Change},
};

/// From where to where; both repositories and the deletion are locked.
#[derive(Clone, Copy, Debug)]
pub struct Merge<'a> {
    /// Row of their registry.
    pub registry: i64,
    /// The one in the trash.
    pub from: i64,
    /// The deletion it lies there by.
    pub deletion: &'a Locked,
    /// How tags come to the other one.
    pub back: Back<'a>,
    /// How long blobs stay that nothing holds, microseconds.
    pub grace: i64,
}

/// What a step did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Merged {
    /// There is more.
    More(Tags),
    /// All is there, and what is left is purged at once.
    Done(Tags),
}

/// Tags of both that lead to different artifacts, by name, at most `limit`.
pub async fn in_the_way(tx: &mut Tx<'_>, merge: &Merge<'_>, limit: i64) -> Result<Vec<String>, DbError> {
    tx.query(
        "SELECT f.name FROM tag f JOIN tag t ON t.repository = $2 AND t.name = f.name
         JOIN artifact fa ON fa.id = f.artifact JOIN artifact ta ON ta.id = t.artifact
         WHERE f.repository = $1 AND fa.manifest <> ta.manifest ORDER BY f.name LIMIT $3",
        params![merge.from, merge.back.repository, limit],
        |row| row.get(0),
    )
    .await
}

/// Before the first step: what was deleted inside comes back to where its artifacts are. Those deletions are locked with this one.
pub async fn begin(tx: &mut Tx<'_>, merge: &Merge<'_>) -> Result<(), DbError> {
    const INSIDE: &str = "UPDATE deletion SET repository = $3 WHERE registry = $1 AND repository = $2 AND id <> $4";
    tx.execute(INSIDE, params![merge.registry, merge.from, merge.back.repository, merge.deletion.id]).await.map(drop)
}

/// In each step: the time of the deletion is not over while it is restored.
async fn extend(tx: &mut Tx<'_>, merge: &Merge<'_>) -> Result<(), DbError> {
    const HOUR: i64 = 3_600_000_000;
    tx.execute(
        "UPDATE deletion SET until = {now} + $2 WHERE id = $1 AND until < {now} + $2",
        params![merge.deletion.id, HOUR],
    )
    .await
    .map(drop)
}

/// Whether all of a deletion has come to the repository that lives, and the rest is on its way to be purged. One that is gone says nothing.
pub async fn is_done(tx: &mut Tx<'_>, deletion: i64) -> Result<bool, DbError> {
    const DONE: &str = "SELECT 1 FROM deletion WHERE id = $1 AND until = 0";
    Ok(tx.query_opt(DONE, params![deletion], |_| Ok(())).await?.is_some())
}

/// One bounded step.
pub async fn step(tx: &mut Tx<'_>, merge: &Merge<'_>, limit: i64) -> Result<Merged, DbError> {
    extend(tx, merge).await?;
    let artifacts = tx
        .query(
            "SELECT a.id, a.deletion IS NULL, a.size FROM artifact a WHERE a.repository = $1 AND NOT (a.deletion IS NULL AND EXISTS (
                 SELECT 1 FROM artifact l WHERE l.repository = $2 AND l.manifest = a.manifest AND l.deletion IS NULL))
             ORDER BY a.manifest LIMIT $3",
            params![merge.from, merge.back.repository, limit],
            |row| Ok((row.get::<i64>(0)?, row.get::<bool>(1)?, row.get::<i64>(2)?)),
        )
        .await?;
    if !artifacts.is_empty() {
        let (mut tags, mut moved) = (Vec::new(), Moved::default());
        for (artifact, living, size) in artifacts {
            moved.living += i64::from(living);
            let (bytes, its_tags) = move_artifact(tx, merge, artifact, size).await?;
            moved.bytes = moved.bytes.saturating_add(bytes);
            tags.extend(its_tags);
        }
        tags.sort();
        return Ok(Merged::More(put_back(tx, merge, &tags, Some(moved)).await?));
    }
    let tags = tx
        .query(
            "SELECT t.name, m.digest FROM tag t JOIN artifact a ON a.id = t.artifact JOIN manifest m ON m.id = a.manifest
             WHERE t.repository = $1 ORDER BY t.name LIMIT $2",
            params![merge.from, limit],
            |row| Ok((row.get::<String>(0)?, digest(row, 1)?)),
        )
        .await?;
    if !tags.is_empty() {
        for (name, _) in &tags {
            tx.execute("DELETE FROM tag WHERE repository = $1 AND name = $2", params![merge.from, name]).await?;
        }
        return Ok(Merged::More(put_back(tx, merge, &tags, None).await?));
    }
    let moved = tx
        .execute(
            "UPDATE tag_change SET repository = $2 WHERE id IN (SELECT id FROM tag_change WHERE repository = $1 LIMIT $3)",
            params![merge.from, merge.back.repository, limit],
        )
        .await?;
    if moved > 0 {
        return Ok(Merged::More(Tags::default()));
    }
    finish(tx, merge).await?;
    Ok(Merged::Done(Tags::default()))
}

/// Artifacts that a step has moved.
#[derive(Clone, Copy, Debug, Default)]
struct Moved {
    /// How many of them live.
    living: i64,
    /// Their bytes, blobs counted for each.
    bytes: i64,
}

/// Puts tags that were taken from the one repository into the other, and counts both with what else was moved: rows of figures are the last
/// that are locked, by their numbers.
async fn put_back(
    tx: &mut Tx<'_>,
    merge: &Merge<'_>,
    tags: &[(String, Digest)],
    moved: Option<Moved>,
) -> Result<Tags, DbError> {
    // Whoever was asked has answered before the first step; a tag that was pushed since stays.
    let choice = if merge.back.choice == Choice::Ask { Choice::Keep } else { merge.back.choice };
    let told = put_back_tags(tx, &Back { choice, ..merge.back }, tags).await?;
    let taken = i64::try_from(tags.len()).unwrap_or(i64::MAX);
    let Moved { living, bytes } = moved.unwrap_or_default();
    let (from, to) = (Change::of(merge.registry, merge.from), Change::of(merge.registry, merge.back.repository));
    let mut from = Change { tags: -taken, living: -living, image_bytes: -bytes, ..from };
    let mut to = Change { tags: told.made, living, image_bytes: bytes, changed: true, ..to };
    const ANY: &str = "SELECT 1 FROM artifact WHERE repository = $1 LIMIT 1";
    const NOT_LISTED: &str = "SELECT 1 FROM repository_figures WHERE repository = $1 AND listed_in IS NULL";
    if moved.is_some() {
        to.repositories = i64::from(tx.query_opt(NOT_LISTED, params![to.repository], |_| Ok(())).await?.is_some());
        from.repositories = -i64::from(tx.query_opt(ANY, params![from.repository], |_| Ok(())).await?.is_none());
    }
    let mut changes = [from, to];
    changes.sort_by_key(|change| change.repository);
    for change in &changes {
        usage::add(tx, change).await?;
    }
    Ok(told)
}

/// Moves an artifact with what it holds; its bytes, and its tags, which are taken away.
async fn move_artifact(
    tx: &mut Tx<'_>,
    merge: &Merge<'_>,
    artifact: i64,
    size: i64,
) -> Result<(i64, Vec<(String, Digest)>), DbError> {
    let (from, to) = (merge.from, merge.back.repository);
    let blobs = tx
        .query("SELECT blob FROM artifact_blob WHERE artifact = $1 ORDER BY blob", params![artifact], |row| {
            row.get::<i64>(0)
        })
        .await?;
    let mut bytes = size;
    for blob in blobs {
        blob::link(tx, merge.registry, to, blob::Found { id: blob, made: None }, merge.grace).await?;
        bytes = bytes.saturating_add(blob::size_of(tx, blob).await?);
    }
    for sql in [
        "UPDATE artifact_blob SET repository = $2 WHERE artifact = $1",
        "UPDATE artifact_edge SET repository = $2 WHERE artifact = $1",
        "UPDATE artifact SET repository = $2 WHERE id = $1",
    ] {
        let moved = tx.execute(sql, params![artifact, to]).await;
        if matches!(moved, Err(DbError::Unique(_))) {
            return Err(tx.again());
        }
        moved?;
    }
    let tags = tx
        .query(
            "SELECT t.name, m.digest FROM tag t JOIN artifact a ON a.id = t.artifact JOIN manifest m ON m.id = a.manifest
             WHERE t.artifact = $1 AND t.repository = $2",
            params![artifact, from],
            |row| Ok((row.get::<String>(0)?, digest(row, 1)?)),
        )
        .await?;
    tx.execute("DELETE FROM tag WHERE artifact = $1 AND repository = $2", params![artifact, from]).await?;
    Ok((bytes, tags))
}

/// Its pulls count for the other one; what is left of it is purged at once.
async fn finish(tx: &mut Tx<'_>, merge: &Merge<'_>) -> Result<(), DbError> {
    let (from, to) = (merge.from, merge.back.repository);
    // Those that were counted for artifacts that were here already are added to.
    tx.execute(
        "INSERT INTO pull_day (repository, day, artifact, pulls)
         SELECT CAST($2 AS BIGINT), day, artifact, pulls FROM pull_day WHERE repository = $1 ORDER BY artifact, day {for_update}
         ON CONFLICT (repository, day, artifact) DO UPDATE SET pulls = pull_day.pulls + excluded.pulls",
        params![from, to],
    )
    .await?;
    tx.execute("DELETE FROM pull_day WHERE repository = $1", params![from]).await?;
    let pulls = tx
        .query_opt(
            "SELECT f.pulls + COALESCE((SELECT CAST(SUM(c.pulls) AS BIGINT) FROM usage_change c WHERE c.repository = f.repository), 0)
             FROM repository_figures f WHERE f.repository = $1",
            params![from],
            |row| row.get::<i64>(0),
        )
        .await?;
    let pulls = pulls.unwrap_or(0);
    usage::add(tx, &Change { pulls, changed: true, ..Change::of(merge.registry, to) }).await?;
    // Not now, as when somebody ends it: see `is_done`.
    tx.execute("UPDATE deletion SET until = 0 WHERE id = $1", params![merge.deletion.id]).await.map(drop)
}
