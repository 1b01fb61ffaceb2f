//! The trash: acts of deleting, what follows them, and what has outlived its time.
//!
//! Deleting takes two steps (invariant 6): a row is marked and gone from view at once; when the time of its deletion is
//! over, it is taken apart in bounded steps, and what it held goes to the collector.

use roadstead_model::Digest;

use crate::{
    Db, DbError, Row, Tx, figures, params,
    usage::{self, Change},
};

/// Opens an act of deleting that can be taken back for `life` microseconds.
pub async fn begin(
    tx: &mut Tx<'_>,
    kind: &str,
    registry: i64,
    repository: Option<i64>,
    subject: &str,
    by: &str,
    life: i64,
) -> Result<i64, DbError> {
    tx.query_one(
        "INSERT INTO deletion (kind, registry, repository, subject, made_by, made_at, until)
         VALUES ($1, $2, $3, $4, $5, {now}, {now} + $6) RETURNING id",
        params![kind, registry, repository, subject, by, life],
        |row| row.get(0),
    )
    .await
}

/// Puts an artifact into the trash, and has its children and referrers looked at.
pub async fn put_artifact(tx: &mut Tx<'_>, artifact: i64, deletion: i64) -> Result<(), DbError> {
    tx.execute("UPDATE artifact SET deletion = $2 WHERE id = $1", params![artifact, deletion]).await?;
    tx.execute("INSERT INTO deletion_step (artifact, deletion) VALUES ($1, $2)", params![artifact, deletion])
        .await
        .map(drop)
}

/// An artifact in the trash whose children and referrers are to be looked at.
#[derive(Clone, Debug)]
pub struct Step {
    /// The artifact.
    pub artifact: i64,
    /// The deletion that its children and referrers may follow into.
    pub deletion: i64,
    /// Row of its repository.
    pub repository: i64,
    /// Its digest.
    pub digest: Digest,
}

/// Takes the next step; of one deletion, if given: then one that somebody else is at is waited for. The deletion is locked before the step:
/// a restore has it for itself, and then takes all its steps away.
pub async fn take_step(tx: &mut Tx<'_>, deletion: Option<i64>) -> Result<Option<Step>, DbError> {
    let taken = match deletion {
        Some(deletion) => {
            const ITS_NEXT: &str =
                "SELECT artifact FROM deletion_step WHERE deletion = $1 ORDER BY artifact LIMIT 1 {for_update}";
            if !hold(tx, deletion).await? {
                return Ok(None);
            }
            let next = tx.query_opt(ITS_NEXT, params![deletion], |row| row.get::<i64>(0)).await?;
            next.map(|artifact| (artifact, deletion))
        }
        None => {
            const NEXT: &str = "SELECT artifact, deletion FROM deletion_step ORDER BY artifact LIMIT 1";
            const FREE: &str = "SELECT artifact FROM deletion_step WHERE artifact = $1 AND deletion = $2 {skip_locked}";
            let row = |row: &Row<'_>| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?));
            let Some((artifact, deletion)) = tx.query_opt(NEXT, params![], row).await? else { return Ok(None) };
            if !hold(tx, deletion).await? {
                return Ok(None);
            }
            tx.query_opt(FREE, params![artifact, deletion], |_| Ok((artifact, deletion))).await?
        }
    };
    let Some((artifact, deletion)) = taken else { return Ok(None) };
    tx.execute("DELETE FROM deletion_step WHERE artifact = $1", params![artifact]).await?;
    tx.query_opt(
        "SELECT a.repository, m.digest FROM artifact a JOIN manifest m ON m.id = a.manifest WHERE a.id = $1",
        params![artifact],
        |row| {
            let stored = row.get::<Vec<u8>>(1)?;
            let digest = Digest::from_stored(&stored)
                .ok_or_else(|| DbError::Internal("a stored digest can't be read".to_owned()))?;
            Ok(Step { artifact, deletion, repository: row.get(0)?, digest })
        },
    )
    .await
}

/// Holds a deletion against being restored. False: it was, or is gone.
async fn hold(tx: &mut Tx<'_>, deletion: i64) -> Result<bool, DbError> {
    const HOLD: &str = "SELECT id FROM deletion WHERE id = $1 {for_key_share}";
    Ok(tx.query_opt(HOLD, params![deletion], |_| Ok(())).await?.is_some())
}

/// Whether something is still to follow into a deletion: a step that somebody else had may have left others.
pub async fn has_steps(tx: &mut Tx<'_>, deletion: i64) -> Result<bool, DbError> {
    const ANY: &str = "SELECT 1 FROM deletion_step WHERE deletion = $1 LIMIT 1";
    Ok(tx.query_opt(ANY, params![deletion], |_| Ok(())).await?.is_some())
}

/// Deletions whose time is over and which nothing is to follow into any more.
pub async fn over(db: &Db, limit: i64) -> Result<Vec<i64>, DbError> {
    db.list(
        "SELECT id FROM deletion WHERE until <= {now}
         AND NOT EXISTS (SELECT 1 FROM deletion_step s WHERE s.deletion = deletion.id) ORDER BY until LIMIT $1",
        params![limit],
        |row| row.get(0),
    )
    .await
}

/// What a bounded step of taking a deletion apart did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purge {
    /// There is more.
    More,
    /// The deletion is gone.
    Done,
}

/// One bounded step of taking a deletion apart whose time is over. The blobs that it lets go of stay for `grace`
/// microseconds.
pub async fn purge(tx: &mut Tx<'_>, deletion: i64, limit: i64, grace: i64) -> Result<Purge, DbError> {
    let due = tx
        .query_opt("SELECT id FROM deletion WHERE id = $1 AND until <= {now} {for_update}", params![deletion], |_| {
            Ok(())
        })
        .await?;
    if due.is_none() {
        return Ok(Purge::Done);
    }
    let batch = tx
        .query(
            "SELECT repository, id FROM (SELECT repository, id, manifest FROM artifact WHERE deletion = $1 LIMIT $2) AS batch
             ORDER BY repository, manifest",
            params![deletion, limit],
            |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
        )
        .await?;
    for artifacts in batch.chunk_by(|(one, _), (next, _)| one == next) {
        let (repository, _) = artifacts[0];
        let artifacts: Vec<i64> = artifacts.iter().map(|(_, id)| *id).collect();
        take_all_apart(tx, repository, &artifacts, grace).await?;
    }
    if !batch.is_empty() {
        return Ok(Purge::More);
    }
    let repository = tx
        .query_opt("SELECT id FROM repository WHERE deletion = $1 LIMIT 1", params![deletion], |row| row.get::<i64>(0))
        .await?;
    if let Some(repository) = repository {
        empty_repository(tx, repository, limit, grace).await?;
        return Ok(Purge::More);
    }
    let registry =
        tx.query_opt("SELECT id FROM registry WHERE deletion = $1", params![deletion], |row| row.get::<i64>(0)).await?;
    if let Some(registry) = registry {
        return purge_registry(tx, registry, deletion, limit, grace).await;
    }
    tx.execute("DELETE FROM deletion WHERE id = $1", params![deletion]).await?;
    Ok(Purge::Done)
}

async fn purge_registry(
    tx: &mut Tx<'_>,
    registry: i64,
    deletion: i64,
    limit: i64,
    grace: i64,
) -> Result<Purge, DbError> {
    let repository = tx
        .query_opt("SELECT id FROM repository WHERE registry = $1 LIMIT 1", params![registry], |row| row.get::<i64>(0))
        .await?;
    if let Some(repository) = repository {
        empty_repository(tx, repository, limit, grace).await?;
        return Ok(Purge::More);
    }
    // Earlier deletions in this registry have nothing left to bring back.
    tx.execute(
        "DELETE FROM deletion_step WHERE deletion IN (SELECT id FROM deletion WHERE registry = $1)",
        params![registry],
    )
    .await?;
    for table in [
        "DELETE FROM registry_blob WHERE registry = $1",
        "DELETE FROM usage_change WHERE registry = $1",
        "DELETE FROM usage WHERE registry = $1",
        "DELETE FROM member WHERE registry = $1",
        "DELETE FROM registry WHERE id = $1",
    ] {
        tx.execute(table, params![registry]).await?;
    }
    tx.execute("DELETE FROM deletion WHERE registry = $1 AND id <> $2", params![registry, deletion]).await?;
    tx.execute("DELETE FROM deletion WHERE id = $1", params![deletion]).await?;
    Ok(Purge::Done)
}

/// Takes up to `limit` artifacts and links of a repository apart, and the repository itself when nothing is left.
/// Uploads that are still under way keep it until they have expired.
async fn empty_repository(tx: &mut Tx<'_>, repository: i64, limit: i64, grace: i64) -> Result<(), DbError> {
    let artifacts = tx
        .query(
            "SELECT id FROM (SELECT id, manifest FROM artifact WHERE repository = $1 LIMIT $2) AS batch ORDER BY manifest",
            params![repository, limit],
            |row| row.get::<i64>(0),
        )
        .await?;
    if !artifacts.is_empty() {
        return take_all_apart(tx, repository, &artifacts, grace).await;
    }
    let blobs = tx
        .query(
            "SELECT blob FROM repository_blob WHERE repository = $1 ORDER BY blob LIMIT $2",
            params![repository, limit],
            |row| row.get::<i64>(0),
        )
        .await?;
    for blob in &blobs {
        crate::collect::unlink(tx, repository, *blob).await?;
    }
    if !blobs.is_empty() {
        return Ok(());
    }
    tx.execute("DELETE FROM tag_change WHERE repository = $1", params![repository]).await?;
    tx.execute("DELETE FROM pull_day WHERE repository = $1", params![repository]).await?;
    tx.execute("DELETE FROM repository WHERE id = $1", params![repository]).await?;
    figures::forget(tx, repository).await
}

/// Removes artifacts of one repository for good, in the order of their manifests, which stay locked: repositories that are purged at
/// the same time may have the same.
async fn take_all_apart(tx: &mut Tx<'_>, repository: i64, artifacts: &[i64], grace: i64) -> Result<(), DbError> {
    // One transaction after the other in a repository: which of two has the last one would be known to neither.
    tx.query_opt("SELECT id FROM repository WHERE id = $1 {for_no_key_update}", params![repository], |_| Ok(()))
        .await?;
    // Where none would be left, pushes that are under way are waited for before anything is locked that they wait for.
    let some_more = i64::try_from(artifacts.len() + 1).unwrap_or(i64::MAX);
    let present = tx
        .query("SELECT id FROM artifact WHERE repository = $1 LIMIT $2", params![repository, some_more], |row| {
            row.get::<i64>(0)
        })
        .await?;
    if present.iter().all(|id| artifacts.contains(id)) {
        tx.query_opt("SELECT id FROM repository WHERE id = $1 {for_update}", params![repository], |_| Ok(())).await?;
    }
    // One that a restore has moved to another repository meanwhile is found there the next time.
    const HERE: &str = "SELECT id FROM artifact WHERE id = $1 AND repository = $2 {for_update}";
    let mut here = Vec::new();
    for artifact in artifacts {
        here.extend(tx.query_opt(HERE, params![artifact, repository], |row| row.get::<i64>(0)).await?);
    }
    // All reviews and then all manifests: a push has a review before it waits for a manifest.
    crate::artifact::let_go_of_blobs(tx, repository, &here, grace).await?;
    for artifact in here {
        take_apart(tx, artifact).await?;
    }
    Ok(())
}

/// Removes an artifact for good that holds no blobs any more.
async fn take_apart(tx: &mut Tx<'_>, artifact: i64) -> Result<(), DbError> {
    let row = tx
        .query_opt(
            "SELECT a.repository, a.manifest, r.registry, a.size, a.deletion IS NULL FROM artifact a JOIN repository r ON r.id = a.repository
             WHERE a.id = $1",
            params![artifact],
            |row| {
                let change = Change::of(row.get(2)?, row.get(0)?);
                let (size, living) = (row.get::<i64>(3)?, row.get::<bool>(4)?);
                let gone = Change { artifacts: -1, living: -i64::from(living), image_bytes: -size, ..change };
                Ok((row.get::<i64>(1)?, gone))
            },
        )
        .await?;
    let Some((manifest, mut change)) = row else { return Ok(()) };
    let tags = tx.execute("DELETE FROM tag WHERE artifact = $1", params![artifact]).await?;
    change.tags = -i64::try_from(tags).unwrap_or(0);
    for table in [
        "DELETE FROM artifact_edge WHERE artifact = $1",
        "DELETE FROM deletion_step WHERE artifact = $1",
        "DELETE FROM artifact_pull WHERE artifact = $1",
        "DELETE FROM artifact WHERE id = $1",
    ] {
        tx.execute(table, params![artifact]).await?;
    }
    // Locked before the look: two last ones of two repositories would leave it to each other.
    tx.query_opt("SELECT id FROM manifest WHERE id = $1 {for_update}", params![manifest], |_| Ok(())).await?;
    let orphan = tx
        .execute(
            "DELETE FROM manifest WHERE id = $1 AND NOT EXISTS (SELECT 1 FROM artifact WHERE manifest = $1)",
            params![manifest],
        )
        .await;
    // Somebody may have pushed these bytes in this moment.
    tx.again_if_gone(orphan)?;
    const ANY: &str = "SELECT 1 FROM artifact WHERE repository = $1 LIMIT 1";
    let last = tx.query_opt(ANY, params![change.repository], |_| Ok(())).await?.is_none();
    change.repositories = -i64::from(last);
    usage::add(tx, &change).await
}
