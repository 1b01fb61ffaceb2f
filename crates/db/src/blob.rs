//! Blobs, and which repository may see them.

use roadstead_model::Digest;

use crate::{
    Db, DbError, Tx, Value, params,
    usage::{self, Change},
};

/// Where the bytes of a new blob are.
#[derive(Clone, Copy, Debug)]
pub enum Stored<'a> {
    /// In its bucket, as the object of this key.
    Object(&'a str),
    /// Here: they are few, and come into its row.
    Bytes(&'a [u8]),
}

/// A blob that a repository is to see.
#[derive(Clone, Copy, Debug)]
pub struct Found {
    /// Its row.
    pub id: i64,
    /// Its size in bytes, where this transaction made it: then nobody else knows it yet.
    pub made: Option<i64>,
}

/// The blob of a bucket, made when there is none. An object that is not the blob's, because its bytes were there already, is put on the
/// removal list.
pub async fn find_or_make(
    tx: &mut Tx<'_>,
    bucket: i64,
    digest: &Digest,
    size: i64,
    stored: Stored<'_>,
) -> Result<Found, DbError> {
    let (key, body) = match stored {
        Stored::Object(key) => (key, None),
        Stored::Bytes(bytes) => ("", Some(bytes)),
    };
    let digest = digest.to_stored();
    let made = tx
        .query_opt(
            "INSERT INTO blob (bucket, digest, size, object_key, body, created) VALUES ($1, $2, $3, $4, $5, {now})
             ON CONFLICT (bucket, digest) DO NOTHING RETURNING id",
            params![bucket, &digest, size, key, body],
            |row| row.get(0),
        )
        .await?;
    if let Some(id) = made {
        return Ok(Found { id, made: Some(size) });
    }
    let found = tx
        .query_opt(
            "SELECT id, object_key FROM blob WHERE bucket = $1 AND digest = $2",
            params![bucket, &digest],
            |row| Ok((row.get::<i64>(0)?, row.get::<String>(1)?)),
        )
        .await?;
    // The collector may have taken the other one away in this moment.
    let Some((id, found_key)) = found else { return Err(tx.again()) };
    if !key.is_empty() && found_key != key {
        remove_object(tx, bucket, key, 0).await?;
    }
    Ok(Found { id, made: None })
}

/// Lets a repository see a blob, and puts its review off by `grace` microseconds.
///
/// The review is locked before the link, here and wherever both are: the collector comes by the review.
pub async fn link(tx: &mut Tx<'_>, registry: i64, repository: i64, found: Found, grace: i64) -> Result<(), DbError> {
    let blob = found.id;
    review_link(tx, repository, blob, grace).await?;
    const HIDDEN: &str = "SELECT hidden FROM repository_blob WHERE repository = $1 AND blob = $2 {for_key_share}";
    let hidden = match found.made {
        Some(_) => None,
        None => tx.query_opt(HIDDEN, params![repository, blob], |row| row.get::<bool>(0)).await?,
    };
    match hidden {
        Some(false) => {}
        Some(true) => {
            tx.execute(
                "UPDATE repository_blob SET hidden = $3 WHERE repository = $1 AND blob = $2",
                params![repository, blob, false],
            )
            .await?;
            hold_for_artifacts(tx, registry, repository, blob).await?;
        }
        None => {
            insert_link(tx, registry, repository, found).await?;
            hold_for_artifacts(tx, registry, repository, blob).await?;
        }
    }
    Ok(())
}

async fn insert_link(tx: &mut Tx<'_>, registry: i64, repository: i64, found: Found) -> Result<(), DbError> {
    let blob = found.id;
    let made = tx
        .execute(
            "INSERT INTO repository_blob (repository, blob, since, hidden) VALUES ($1, $2, {now}, $3)
             ON CONFLICT (repository, blob) DO NOTHING",
            params![repository, blob, false],
        )
        .await;
    if tx.again_if_gone(made)? == 0 {
        return Err(tx.again());
    }
    let count = tx
        .query_one(
            "INSERT INTO registry_blob (registry, blob, repositories) VALUES ($1, $2, 1)
             ON CONFLICT (registry, blob) DO UPDATE SET repositories = registry_blob.repositories + 1 RETURNING repositories",
            params![registry, blob],
            |row| row.get::<i64>(0),
        )
        .await;
    let first = tx.again_if_gone(count)? == 1;
    let size = match found.made {
        Some(size) => size,
        None => size_of(tx, blob).await?,
    };
    let change = Change { bytes: if first { size } else { 0 }, own_bytes: size, ..Change::of(registry, repository) };
    usage::add(tx, &change).await
}

/// Artifacts that named the blob before it was here (a sparse index, BuildKit's cache) hold it from now on.
/// How many began to.
pub(crate) async fn hold_for_artifacts(
    tx: &mut Tx<'_>,
    registry: i64,
    repository: i64,
    blob: i64,
) -> Result<u64, DbError> {
    let held = tx
        .execute(
            "INSERT INTO artifact_blob (artifact, repository, blob)
             SELECT DISTINCT e.artifact, e.repository, b.id FROM blob b JOIN artifact_edge e ON e.repository = $1 AND e.digest = b.digest
             WHERE b.id = $2 AND e.role <> 'subject' ON CONFLICT (artifact, blob) DO NOTHING",
            params![repository, blob],
        )
        .await;
    // An artifact may have been taken apart in this moment.
    let held = tx.again_if_gone(held)?;
    if held > 0 {
        let times = i64::try_from(held).unwrap_or(i64::MAX);
        let image_bytes = size_of(tx, blob).await?.saturating_mul(times);
        usage::add(tx, &Change { image_bytes, ..Change::of(registry, repository) }).await?;
    }
    Ok(held)
}

/// Bytes of a blob that a repository sees.
pub(crate) async fn size_of(tx: &mut Tx<'_>, blob: i64) -> Result<i64, DbError> {
    tx.query_one("SELECT size FROM blob WHERE id = $1", params![blob], |row| row.get(0)).await
}

/// Asks the collector to look at a link after `grace` microseconds, or later where it was put off until later.
pub async fn review_link(tx: &mut Tx<'_>, repository: i64, blob: i64, grace: i64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO link_review (repository, blob, due) VALUES ($1, $2, {now} + $3)
         ON CONFLICT (repository, blob)
         DO UPDATE SET due = CASE WHEN link_review.due > excluded.due THEN link_review.due ELSE excluded.due END",
        params![repository, blob, grace],
    )
    .await
    .map(drop)
}

/// Puts off the review of a link that a client was just told of, when it is due within half of `grace`. False: the link is gone.
pub async fn keep(tx: &mut Tx<'_>, repository: i64, blob: i64, grace: i64) -> Result<bool, DbError> {
    tx.execute(
        "UPDATE link_review SET due = {now} + CAST($3 AS BIGINT) WHERE repository = $1 AND blob = $2 AND due < {now} + CAST($3 AS BIGINT) / 2",
        params![repository, blob, grace],
    )
    .await?;
    let here = tx
        .query_opt(
            "SELECT 1 FROM repository_blob WHERE repository = $1 AND blob = $2 AND hidden = $3 {for_key_share}",
            params![repository, blob, false],
            |_| Ok(()),
        )
        .await?;
    Ok(here.is_some())
}

/// The blob of this digest, if this repository sees it in this moment. It is not locked: a link that is made of it next is refused by its
/// foreign key when it is gone, and reviews are locked before links.
pub async fn find_linked(
    tx: &mut Tx<'_>,
    repository: i64,
    bucket: i64,
    digest: &Digest,
) -> Result<Option<i64>, DbError> {
    const FIND: &str =
        "SELECT b.id FROM blob b JOIN repository_blob l ON l.blob = b.id AND l.repository = $1 AND l.hidden = $4
         WHERE b.bucket = $2 AND b.digest = $3";
    tx.query_opt(FIND, params![repository, bucket, digest.to_stored(), false], |row| row.get(0)).await
}

/// The blobs of these digests that this repository sees; they stay until the transaction ends.
pub async fn find_all_linked(
    tx: &mut Tx<'_>,
    repository: i64,
    bucket: i64,
    digests: &[Vec<u8>],
) -> Result<Vec<Option<i64>>, DbError> {
    // The link alone is locked, and holds the blob.
    const FIND: &str = "SELECT blob FROM repository_blob WHERE repository = $1 AND hidden = $4
         AND blob = (SELECT id FROM blob WHERE bucket = $2 AND digest = $3) {for_key_share}";
    let lists: Vec<_> = digests
        .iter()
        .map(|digest| [Value::Int(repository), Value::Int(bucket), Value::Bytes(digest), Value::Bool(false)])
        .collect();
    let found = tx.query_each(FIND, &lists, |row| row.get(0)).await?;
    Ok(found.into_iter().map(|rows| rows.first().copied()).collect())
}

/// As [`find_linked`], but locked: nobody else can begin to use the link until the transaction ends, and the collector looks at it then: its
/// review is due at once.
pub async fn find_linked_alone(
    tx: &mut Tx<'_>,
    repository: i64,
    bucket: i64,
    digest: &Digest,
) -> Result<Option<i64>, DbError> {
    // Locked once: two that held a weaker lock first would wait for each other.
    let Some(blob) = find_linked(tx, repository, bucket, digest).await? else { return Ok(None) };
    tx.execute(
        "INSERT INTO link_review (repository, blob, due) VALUES ($1, $2, {now})
         ON CONFLICT (repository, blob) DO UPDATE SET due = excluded.due",
        params![repository, blob],
    )
    .await?;
    tx.query_opt(
        "SELECT blob FROM repository_blob WHERE repository = $1 AND blob = $2 AND hidden = $3 {for_update}",
        params![repository, blob, false],
        |row| row.get(0),
    )
    .await
}

/// The blob of this digest, if any living repository of this registry sees it (protocol.md E3).
pub async fn find_in_registry(
    tx: &mut Tx<'_>,
    registry: i64,
    bucket: i64,
    digest: &Digest,
) -> Result<Option<i64>, DbError> {
    tx.query_opt(
        "SELECT b.id FROM blob b JOIN registry_blob g ON g.blob = b.id AND g.registry = $1
         WHERE b.bucket = $2 AND b.digest = $3 AND EXISTS (
             SELECT 1 FROM repository_blob l JOIN repository r ON r.id = l.repository AND r.deletion IS NULL
             WHERE l.blob = b.id AND r.registry = $1 AND l.hidden = $4)",
        params![registry, bucket, digest.to_stored(), false],
        |row| row.get(0),
    )
    .await
}

/// Whether a living artifact of the repository holds the blob: as its own, or as a child of an index.
pub async fn is_held(tx: &mut Tx<'_>, repository: i64, digest: &Digest) -> Result<bool, DbError> {
    let held = tx
        .query_opt(
            "SELECT 1 FROM artifact_edge e JOIN artifact a ON a.id = e.artifact AND a.deletion IS NULL
             WHERE e.repository = $1 AND e.digest = $2 AND e.role <> 'subject' LIMIT 1",
            params![repository, digest.to_stored()],
            |_| Ok(()),
        )
        .await?;
    Ok(held.is_some())
}

/// Hides a blob from a repository, after [`find_linked_alone`].
pub async fn hide(tx: &mut Tx<'_>, repository: i64, blob: i64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE repository_blob SET hidden = $3 WHERE repository = $1 AND blob = $2",
        params![repository, blob, true],
    )
    .await
    .map(drop)
}

/// Whether there is this blob still, in whatever repositories.
pub async fn is_there(db: &Db, blob: i64) -> Result<bool, DbError> {
    db.query_opt("SELECT 1 FROM blob WHERE id = $1", params![blob], |_| Ok(())).await.map(|row| row.is_some())
}

/// Has an object removed after `delay` microseconds.
pub async fn remove_object(tx: &mut Tx<'_>, bucket: i64, key: &str, delay: i64) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO object_removal (bucket, object_key, due) VALUES ($1, $2, {now} + $3)",
        params![bucket, key, delay],
    )
    .await
    .map(drop)
}

/// Objects whose time has come: row, bucket, key.
pub async fn removals(db: &Db, limit: i64) -> Result<Vec<(i64, i64, String)>, DbError> {
    db.list(
        "SELECT id, bucket, object_key FROM object_removal WHERE due <= {now} ORDER BY due LIMIT $1",
        params![limit],
        |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
    )
    .await
}

/// The object is gone.
pub async fn removed(tx: &mut Tx<'_>, removal: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM object_removal WHERE id = $1", params![removal]).await.map(drop)
}
