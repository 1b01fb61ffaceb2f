//! Artifacts: manifests as they live in one repository, what they name, and who refers to them.

use std::collections::{BTreeMap, BTreeSet};

use roadstead_model::{
    Digest,
    manifest::{Edge, Manifest, Role},
};

use crate::{
    Db, DbError, Tx, Value, params,
    usage::{self, Change},
};

/// An artifact to be stored.
pub struct NewArtifact<'a> {
    /// Row of its repository.
    pub repository: i64,
    /// Row of its repository's registry.
    pub registry: i64,
    /// Digest of the exact bytes.
    pub digest: &'a Digest,
    /// The exact bytes.
    pub body: &'a [u8],
    /// What was read from them.
    pub manifest: &'a Manifest,
    /// Its entry in the referrers answer, when it has a subject.
    pub referrer: Option<&'a str>,
    /// Rows of the blobs it holds.
    pub blobs: &'a [i64],
    /// Who pushes it.
    pub by: &'a str,
    /// How long a blob stays that it held as another media type and holds no more, microseconds.
    pub grace: i64,
}

/// The row of the living artifact of these bytes, stored when there is none, and what that adds to the figures. A push that repeats one
/// with another media type gives it the new type.
pub async fn store(tx: &mut Tx<'_>, new: &NewArtifact<'_>) -> Result<(i64, Change), DbError> {
    let mut change = Change { changed: true, ..Change::of(new.registry, new.repository) };
    let manifest = store_manifest(tx, new.digest, new.body).await?;
    let living = tx
        .query_opt(
            "SELECT id, media_type FROM artifact WHERE repository = $1 AND manifest = $2 AND deletion IS NULL {for_no_key_update}",
            params![new.repository, manifest],
            |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?)),
        )
        .await?;
    match living {
        Some((id, media_type)) if media_type == new.manifest.media_type => {
            tx.execute("UPDATE artifact SET pushed_at = {now}, pushed_by = $2 WHERE id = $1", params![id, new.by])
                .await?;
            Ok((id, change))
        }
        Some((id, _)) => {
            // Before its contents: two pushes with two new types then come one after the other.
            tx.execute(
                "UPDATE artifact SET media_type = $2, kind = $3, artifact_type = $4, subject = $5, referrer = $6, layer_size = $7,
                 pushed_at = {now}, pushed_by = $8 WHERE id = $1",
                params![
                    id,
                    &new.manifest.media_type,
                    new.manifest.kind.as_str(),
                    new.manifest.artifact_type.as_deref(),
                    new.manifest.subject.map(|digest| digest.to_stored()),
                    new.referrer,
                    new.manifest.layer_size(),
                    new.by
                ],
            )
            .await?;
            forget_contents(tx, new, id).await?;
            change.image_bytes = store_contents(tx, new, id).await?;
            Ok((id, change))
        }
        None => {
            let id = insert(tx, new, manifest, &mut change).await?;
            Ok((id, change))
        }
    }
}

/// Before the blobs of a push are looked at: the living artifact of these bytes, when it has another media type, lets go of its own.
/// So their reviews are locked before their links, as everywhere.
pub async fn prepare_new_type(
    tx: &mut Tx<'_>,
    repository: i64,
    digest: &Digest,
    media_type: &str,
    grace: i64,
) -> Result<(), DbError> {
    let other = tx
        .query_opt(
            "SELECT a.id FROM manifest m JOIN artifact a ON a.manifest = m.id AND a.repository = $1 AND a.deletion IS NULL
             WHERE m.digest = $2 AND a.media_type <> $3",
            params![repository, digest.to_stored(), media_type],
            |row| row.get::<i64>(0),
        )
        .await?;
    let Some(id) = other else { return Ok(()) };
    // Asked again under its lock: another push may have given it this type in the meantime, and its blobs are this one's too.
    let still = tx
        .query_opt(
            "SELECT id FROM artifact WHERE id = $1 AND media_type <> $2 AND deletion IS NULL {for_no_key_update}",
            params![id, media_type],
            |_| Ok(()),
        )
        .await?;
    match still {
        Some(()) => let_go_of_blobs(tx, repository, &[id], grace).await,
        None => Ok(()),
    }
}

async fn store_manifest(tx: &mut Tx<'_>, digest: &Digest, body: &[u8]) -> Result<i64, DbError> {
    let stored = digest.to_stored();
    let find = "SELECT id FROM manifest WHERE digest = $1 {for_key_share}";
    if let Some(id) = tx.query_opt(find, params![&stored], |row| row.get(0)).await? {
        return Ok(id);
    }
    tx.execute(
        "INSERT INTO manifest (digest, body) VALUES ($1, $2) ON CONFLICT (digest) DO NOTHING",
        params![&stored, body],
    )
    .await?;
    match tx.query_opt(find, params![&stored], |row| row.get(0)).await? {
        Some(id) => Ok(id),
        None => Err(tx.again()),
    }
}

async fn insert(tx: &mut Tx<'_>, new: &NewArtifact<'_>, manifest: i64, change: &mut Change) -> Result<i64, DbError> {
    let first = is_first(tx, new.repository).await?;
    let size = i64::try_from(new.body.len()).unwrap_or(i64::MAX);
    let id = tx
        .query_opt(
            "INSERT INTO artifact (repository, manifest, media_type, kind, artifact_type, subject, referrer, size, layer_size,
             pushed_at, pushed_by) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, {now}, $10)
             ON CONFLICT (repository, manifest) WHERE deletion IS NULL DO NOTHING RETURNING id",
            params![
                new.repository,
                manifest,
                &new.manifest.media_type,
                new.manifest.kind.as_str(),
                new.manifest.artifact_type.as_deref(),
                new.manifest.subject.map(|digest| digest.to_stored()),
                new.referrer,
                size,
                new.manifest.layer_size(),
                new.by
            ],
            |row| row.get::<i64>(0),
        )
        .await?;
    // None: somebody pushed the same in this moment.
    let Some(id) = id else { return Err(tx.again()) };
    change.repositories = i64::from(first);
    (change.artifacts, change.living) = (1, 1);
    change.image_bytes = store_contents(tx, new, id).await?.saturating_add(size);
    Ok(id)
}

/// Whether the repository has no artifact yet, living or in the trash. Two first pushes are put in order by its row's lock.
async fn is_first(tx: &mut Tx<'_>, repository: i64) -> Result<bool, DbError> {
    const ANY: &str = "SELECT 1 FROM artifact WHERE repository = $1 LIMIT 1";
    if tx.query_opt(ANY, params![repository], |_| Ok(())).await?.is_some() {
        return Ok(false);
    }
    tx.query_opt("SELECT id FROM repository WHERE id = $1 {for_no_key_update}", params![repository], |_| Ok(()))
        .await?;
    Ok(tx.query_opt(ANY, params![repository], |_| Ok(())).await?.is_none())
}

/// Bytes of the blobs that it holds since.
async fn store_contents(tx: &mut Tx<'_>, new: &NewArtifact<'_>, id: i64) -> Result<i64, DbError> {
    let edges: Vec<(i64, &Edge, Vec<u8>)> =
        (0i64..).zip(&new.manifest.edges).map(|(position, edge)| (position, edge, edge.digest.to_stored())).collect();
    let edges: Vec<_> = edges
        .iter()
        .map(|(position, edge, digest)| {
            [
                Value::Int(id),
                Value::Int(*position),
                Value::Int(new.repository),
                Value::Text(edge.role.as_str()),
                Value::Bytes(digest),
                Value::Text(&edge.media_type),
                Value::Int(edge.size),
                edge.platform.as_deref().map_or(Value::Null, Value::Text),
                Value::Bool(edge.elsewhere),
            ]
        })
        .collect();
    tx.execute_each(
        "INSERT INTO artifact_edge (artifact, position, repository, role, digest, media_type, size, platform, elsewhere)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &edges,
    )
    .await?;
    let blobs: Vec<_> =
        new.blobs.iter().map(|blob| [Value::Int(id), Value::Int(new.repository), Value::Int(*blob)]).collect();
    let held = tx
        .query_each(
            "INSERT INTO artifact_blob (artifact, repository, blob) VALUES ($1, $2, $3) ON CONFLICT (artifact, blob) DO NOTHING
             RETURNING (SELECT b.size FROM blob b WHERE b.id = artifact_blob.blob)",
            &blobs,
            |row| row.get::<i64>(0),
        )
        .await;
    // The collector may have taken a link after we had looked.
    Ok(tx.again_if_gone(held)?.into_iter().flatten().sum())
}

async fn forget_contents(tx: &mut Tx<'_>, new: &NewArtifact<'_>, id: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM artifact_edge WHERE artifact = $1", params![id]).await?;
    let_go_of_blobs(tx, new.repository, &[id], new.grace).await
}

/// Artifacts of one repository hold their blobs no more; the collector looks at these after `grace` microseconds, because somebody may
/// just have been told that they are here.
pub(crate) async fn let_go_of_blobs(
    tx: &mut Tx<'_>,
    repository: i64,
    artifacts: &[i64],
    grace: i64,
) -> Result<(), DbError> {
    let artifacts: Vec<_> = artifacts.iter().map(|id| [Value::Int(*id)]).collect();
    const HELD: &str = "SELECT blob FROM artifact_blob WHERE artifact = $1";
    let held = tx.query_each(HELD, &artifacts, |row| row.get::<i64>(0)).await?;
    let blobs: BTreeSet<i64> = held.into_iter().flatten().collect();
    // In the order of the blobs, and before their links: so do all.
    for blob in &blobs {
        crate::blob::review_link(tx, repository, *blob, grace).await?;
    }
    const LET_GO: &str = "DELETE FROM artifact_blob WHERE artifact = $1
         RETURNING blob, (SELECT b.size FROM blob b WHERE b.id = artifact_blob.blob)";
    let let_go = tx.query_each(LET_GO, &artifacts, |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?))).await?;
    let let_go: Vec<(i64, i64)> = let_go.into_iter().flatten().collect();
    // The collector may have given them one more after the look.
    let others: BTreeSet<i64> = let_go.iter().map(|(blob, _)| *blob).filter(|blob| !blobs.contains(blob)).collect();
    for blob in others {
        crate::blob::review_link(tx, repository, blob, grace).await?;
    }
    let bytes: i64 = let_go.iter().map(|(_, size)| size).sum();
    if bytes == 0 {
        return Ok(());
    }
    const REGISTRY: &str = "SELECT registry FROM repository WHERE id = $1";
    let registry = tx.query_one(REGISTRY, params![repository], |row| row.get::<i64>(0)).await?;
    usage::add(tx, &Change { image_bytes: -bytes, ..Change::of(registry, repository) }).await
}

/// As [`find_living`], for many digests. They are locked in the order of the digests, whatever order they are given in.
pub async fn find_all_living(
    tx: &mut Tx<'_>,
    repository: i64,
    digests: &[Vec<u8>],
) -> Result<Vec<Option<i64>>, DbError> {
    let sorted: BTreeSet<&Vec<u8>> = digests.iter().collect();
    let lists: Vec<_> = sorted.iter().map(|digest| [Value::Int(repository), Value::Bytes(digest)]).collect();
    let found = tx.query_each(FIND_LIVING, &lists, |row| row.get(0)).await?;
    let found: BTreeMap<_, _> = sorted.into_iter().zip(found.into_iter().map(|rows| rows.first().copied())).collect();
    Ok(digests.iter().map(|digest| found.get(digest).copied().flatten()).collect())
}

/// Its manifest is not locked along: a purge takes those in an order of its own, and the artifact holds it.
const FIND_LIVING: &str = "SELECT id FROM artifact WHERE repository = $1 AND deletion IS NULL
    AND manifest = (SELECT id FROM manifest WHERE digest = $2) {for_key_share}";

/// The living artifact of this digest, kept from being deleted until the transaction ends.
pub async fn find_living(tx: &mut Tx<'_>, repository: i64, digest: &Digest) -> Result<Option<i64>, DbError> {
    tx.query_opt(FIND_LIVING, params![repository, digest.to_stored()], |row| row.get(0)).await
}

/// The living artifact of this digest, for this transaction alone. Locked once: two that held a weaker lock first would wait for
/// each other.
pub async fn find_living_alone(tx: &mut Tx<'_>, repository: i64, digest: &Digest) -> Result<Option<i64>, DbError> {
    let found = tx
        .query_opt(
            "SELECT a.id FROM manifest m JOIN artifact a ON a.manifest = m.id AND a.repository = $1 AND a.deletion IS NULL
             WHERE m.digest = $2",
            params![repository, digest.to_stored()],
            |row| row.get::<i64>(0),
        )
        .await?;
    let Some(id) = found else { return Ok(None) };
    tx.query_opt("SELECT id FROM artifact WHERE id = $1 AND deletion IS NULL {for_update}", params![id], |row| {
        row.get(0)
    })
    .await
}

/// Digests that an artifact names in one role.
pub async fn named(tx: &mut Tx<'_>, artifact: i64, role: Role) -> Result<Vec<Digest>, DbError> {
    let stored = tx
        .query(
            "SELECT digest FROM artifact_edge WHERE artifact = $1 AND role = $2 ORDER BY position",
            params![artifact, role.as_str()],
            |row| row.get::<Vec<u8>>(0),
        )
        .await?;
    Ok(stored.iter().filter_map(|stored| Digest::from_stored(stored)).collect())
}

/// Whether an artifact, which is locked, stays when a deletion takes along what nothing else holds: a tag or a living index of the
/// repository holds it, its subject lives there, or it was pushed after the deletion was begun. Asked in one statement: a push that
/// brings its subject back may in the same moment take its tag away.
pub async fn stays(
    tx: &mut Tx<'_>,
    repository: i64,
    artifact: i64,
    digest: &Digest,
    deletion: i64,
) -> Result<bool, DbError> {
    let kept = tx
        .query_opt(
            "SELECT 1 WHERE EXISTS (SELECT 1 FROM tag WHERE artifact = $2)
             OR EXISTS (SELECT 1 FROM artifact_edge e JOIN artifact a ON a.id = e.artifact AND a.deletion IS NULL
                        WHERE e.repository = $1 AND e.digest = $3 AND e.role = 'child')
             OR EXISTS (SELECT 1 FROM artifact a JOIN manifest m ON m.digest = a.subject
                        JOIN artifact s ON s.manifest = m.id AND s.repository = $1 AND s.deletion IS NULL WHERE a.id = $2)
             OR EXISTS (SELECT 1 FROM artifact a JOIN deletion d ON d.id = $4 WHERE a.id = $2 AND a.pushed_at > d.made_at)",
            params![repository, artifact, digest.to_stored(), deletion],
            |_| Ok(()),
        )
        .await?;
    Ok(kept.is_some())
}

/// Digests of the living artifacts that refer to `subject`.
pub async fn referring(tx: &mut Tx<'_>, repository: i64, subject: &Digest) -> Result<Vec<Digest>, DbError> {
    let stored = tx
        .query(
            "SELECT m.digest FROM artifact a JOIN manifest m ON m.id = a.manifest
             WHERE a.repository = $1 AND a.subject = $2 AND a.deletion IS NULL ORDER BY a.id",
            params![repository, subject.to_stored()],
            |row| row.get::<Vec<u8>>(0),
        )
        .await?;
    Ok(stored.iter().filter_map(|stored| Digest::from_stored(stored)).collect())
}

/// An entry of a referrers answer: its row and its descriptor as JSON.
#[derive(Clone, Debug)]
pub struct Referrer {
    /// Its row; pages go on after it.
    pub id: i64,
    /// Its artifact type.
    pub artifact_type: Option<String>,
    /// The descriptor.
    pub descriptor: String,
}

/// Living referrers of a digest after the row `last`, at most `limit`, of one artifact type if asked.
pub async fn referrers(
    db: &Db,
    repository: i64,
    subject: &Digest,
    artifact_type: Option<&str>,
    last: i64,
    limit: i64,
) -> Result<Vec<Referrer>, DbError> {
    db.list(
        "SELECT id, artifact_type, referrer FROM artifact
         WHERE repository = $1 AND subject = $2 AND deletion IS NULL AND referrer IS NOT NULL AND id > $4
         AND ($3 = '' OR artifact_type = $3) ORDER BY id LIMIT $5",
        params![repository, subject.to_stored(), artifact_type.unwrap_or_default(), last, limit],
        |row| Ok(Referrer { id: row.get(0)?, artifact_type: row.get(1)?, descriptor: row.get(2)? }),
    )
    .await
}

/// The bytes and type of a living artifact.
pub async fn read(db: &Db, repository: i64, digest: &Digest) -> Result<Option<(String, Vec<u8>)>, DbError> {
    db.query_opt(
        "SELECT a.media_type, m.body FROM manifest m JOIN artifact a ON a.manifest = m.id AND a.repository = $1 AND a.deletion IS NULL
         WHERE m.digest = $2",
        params![repository, digest.to_stored()],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .await
}
