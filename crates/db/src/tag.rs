//! Tags, and the history of each.

use roadstead_model::Digest;

use crate::{Db, DbError, Tx, params};

/// What became of a tag that was to lead to an artifact.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Set {
    /// There was none.
    Made,
    /// It led somewhere else.
    Moved(Digest),
    /// It led there already.
    Same,
    /// It leads somewhere else, and can't be moved.
    Refused,
}

/// Who sets a tag, and why, as its history says.
#[derive(Clone, Copy, Debug)]
pub struct Because<'a> {
    /// `push`, `create` (by hand) or `restore`.
    pub why: &'static str,
    /// Who does it.
    pub by: &'a str,
}

/// Points a tag to an artifact. Mutability is enforced in the statement that moves it: `mutable` false lets only a new tag
/// (or one that points there already) through.
pub async fn set(
    tx: &mut Tx<'_>,
    repository: i64,
    name: &str,
    to: (i64, &Digest),
    because: Because<'_>,
    mutable: bool,
) -> Result<Set, DbError> {
    let Because { why, by } = because;
    let (artifact, digest) = to;
    // Locked, so that two pushes of one tag come one after the other and each writes into history what it replaced.
    let before = tx
        .query_opt(
            "SELECT artifact FROM tag WHERE repository = $1 AND name = $2 {for_no_key_update}",
            params![repository, name],
            |row| row.get::<i64>(0),
        )
        .await?;
    if before.is_none() {
        let made = tx
            .execute(
                "INSERT INTO tag (repository, name, artifact, since, set_by) VALUES ($1, $2, $3, {now}, $4)
                 ON CONFLICT (repository, name) DO NOTHING",
                params![repository, name, artifact, by],
            )
            .await?;
        // None: another push made it in this moment.
        if made == 0 {
            return Err(tx.again());
        }
        record_change(tx, repository, name, None, Some(digest), why, by, None).await?;
        return Ok(Set::Made);
    }
    let replaced = if before == Some(artifact) { None } else { digest_of(tx, repository, name).await? };
    let moved = tx
        .execute(
            "UPDATE tag SET artifact = $3, since = {now}, set_by = $4
             WHERE repository = $1 AND name = $2 AND (artifact = $3 OR CAST($5 AS BOOLEAN))",
            params![repository, name, artifact, by, mutable],
        )
        .await?;
    if moved == 0 {
        return Ok(Set::Refused);
    }
    let Some(replaced) = replaced else { return Ok(Set::Same) };
    record_change(tx, repository, name, Some(&replaced), Some(digest), why, by, None).await?;
    Ok(Set::Moved(replaced))
}

async fn digest_of(tx: &mut Tx<'_>, repository: i64, name: &str) -> Result<Option<Digest>, DbError> {
    let stored = tx
        .query_opt(
            "SELECT m.digest FROM tag t JOIN artifact a ON a.id = t.artifact JOIN manifest m ON m.id = a.manifest
             WHERE t.repository = $1 AND t.name = $2",
            params![repository, name],
            |row| row.get::<Vec<u8>>(0),
        )
        .await?;
    Ok(stored.and_then(|stored| Digest::from_stored(&stored)))
}

#[expect(clippy::too_many_arguments, reason = "the columns of one row")]
async fn record_change(
    tx: &mut Tx<'_>,
    repository: i64,
    name: &str,
    from: Option<&Digest>,
    to: Option<&Digest>,
    why: &str,
    by: &str,
    deletion: Option<i64>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO tag_change (repository, name, from_digest, to_digest, why, changed_at, changed_by, deletion)
         VALUES ($1, $2, $3, $4, $5, {now}, $6, $7)",
        params![
            repository,
            name,
            from.map(|digest| digest.to_stored()),
            to.map(|digest| digest.to_stored()),
            why,
            by,
            deletion
        ],
    )
    .await
    .map(drop)
}

/// Takes a tag away into the trash; where it led. `None`: there is none.
pub async fn delete(
    tx: &mut Tx<'_>,
    repository: i64,
    name: &str,
    by: &str,
    deletion: i64,
) -> Result<Option<Digest>, DbError> {
    let gone = tx
        .query_opt(
            "DELETE FROM tag WHERE repository = $1 AND name = $2 RETURNING artifact",
            params![repository, name],
            |row| row.get::<i64>(0),
        )
        .await?;
    let Some(artifact) = gone else { return Ok(None) };
    // Of the row that went: a look before may have seen what a push has replaced meanwhile.
    let before = tx
        .query_opt(
            "SELECT m.digest FROM artifact a JOIN manifest m ON m.id = a.manifest WHERE a.id = $1",
            params![artifact],
            |row| row.get::<Vec<u8>>(0),
        )
        .await?
        .and_then(|stored| Digest::from_stored(&stored));
    let before = before.ok_or_else(|| DbError::Internal("a stored digest can't be read".to_owned()))?;
    record_change(tx, repository, name, Some(&before), None, "delete", by, Some(deletion)).await?;
    Ok(Some(before))
}

/// Takes all tags of an artifact away; their names.
pub async fn delete_of_artifact(
    tx: &mut Tx<'_>,
    repository: i64,
    artifact: (i64, &Digest),
    by: &str,
    deletion: i64,
) -> Result<Vec<String>, DbError> {
    // Locked in the order of their names, as a push of several locks them; one that was moved meanwhile is left alone.
    let names = tx
        .query("SELECT name FROM tag WHERE artifact = $1 ORDER BY name {for_update}", params![artifact.0], |row| {
            row.get::<String>(0)
        })
        .await?;
    tx.execute("DELETE FROM tag WHERE artifact = $1", params![artifact.0]).await?;
    for name in &names {
        record_change(tx, repository, name, Some(artifact.1), None, "delete", by, Some(deletion)).await?;
    }
    Ok(names)
}

/// Drops history that is older than `age` microseconds, looking at the `limit` oldest changes. What a deletion that can still be
/// restored took away stays with it. Rows of the repositories; one for each change.
pub async fn drop_old(tx: &mut Tx<'_>, age: i64, limit: i64) -> Result<Vec<i64>, DbError> {
    tx.query(
        "DELETE FROM tag_change WHERE id IN (
             SELECT c.id FROM (SELECT id, changed_at, deletion FROM tag_change ORDER BY id LIMIT $2) c
             WHERE c.changed_at <= {now} - $1 AND NOT EXISTS (SELECT 1 FROM deletion d WHERE d.id = c.deletion))
         RETURNING repository",
        params![age, limit],
        |row| row.get(0),
    )
    .await
}

/// Tags after `last` in the order of their bytes, at most `limit`.
pub async fn list(db: &Db, repository: i64, last: &str, limit: i64) -> Result<Vec<String>, DbError> {
    db.list(
        "SELECT name FROM tag WHERE repository = $1 AND name > $2 ORDER BY name LIMIT $3",
        params![repository, last, limit],
        |row| row.get(0),
    )
    .await
}
