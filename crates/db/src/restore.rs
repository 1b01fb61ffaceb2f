//! Out of the trash again: what lies there, and how it comes back before its time is over.
//!
//! Whoever restores has the deletion for themselves, as whoever purges: what is due is gone for one, and not yet there for the other. What
//! follows a deletion in the background holds it, and finds that it is gone.

use roadstead_model::Digest;

use crate::{
    Db, DbError, Row, Tx, artifact, figures, params,
    tag::{self, Because, Set},
    tag_views::digest,
    usage::{self, Change},
};

/// Something in the trash.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its row: later ones are higher.
    pub id: i64,
    /// `repository`, `artifact`, `tag`.
    pub kind: String,
    /// What was deleted, as people write it.
    pub subject: String,
    /// Who deleted it.
    pub by: String,
    /// When; microseconds since 1970.
    pub at: i64,
    /// Until when it can be restored.
    pub until: i64,
}

/// What lies in the trash of a registry and can be restored, the newest first, before the row `before`.
pub async fn list(db: &Db, registry: i64, before: Option<i64>, limit: i64) -> Result<Vec<Entry>, DbError> {
    db.list(
        "SELECT id, kind, subject, made_by, made_at, until FROM deletion
         WHERE registry = $1 AND id < $2 AND kind <> 'registry' AND until > {now} ORDER BY id DESC LIMIT $3",
        params![registry, before.unwrap_or(i64::MAX), limit],
        |row| {
            Ok(Entry {
                id: row.get(0)?,
                kind: row.get(1)?,
                subject: row.get(2)?,
                by: row.get(3)?,
                at: row.get(4)?,
                until: row.get(5)?,
            })
        },
    )
    .await
}

/// A deletion that is locked.
#[derive(Clone, Debug)]
pub struct Locked {
    /// Its row.
    pub id: i64,
    /// `registry`, `repository`, `artifact`, `tag`.
    pub kind: String,
    /// Row of the repository it was in, or that was deleted.
    pub repository: Option<i64>,
    /// What was deleted.
    pub subject: String,
}

/// A deletion of a registry whose time is not over, for this transaction alone.
pub async fn lock(tx: &mut Tx<'_>, registry: i64, deletion: i64) -> Result<Option<Locked>, DbError> {
    tx.query_opt(
        "SELECT id, kind, repository, subject FROM deletion WHERE id = $1 AND registry = $2 AND until > {now} {for_update}",
        params![deletion, registry],
        |row| Ok(Locked { id: row.get(0)?, kind: row.get(1)?, repository: row.get(2)?, subject: row.get(3)? }),
    )
    .await
}

/// As [`lock`], with those that lie in a repository that goes with it, in the order of their rows: before anything that a purge of them waits for.
pub async fn lock_with_inside(tx: &mut Tx<'_>, registry: i64, deletion: i64) -> Result<Option<Locked>, DbError> {
    const OF: &str = "SELECT repository FROM deletion WHERE id = $1 AND registry = $2 AND kind = 'repository'";
    let of = tx.query_opt(OF, params![deletion, registry], |row| row.get::<Option<i64>>(0)).await?;
    if let Some(repository) = of.flatten() {
        const ALL: &str = "SELECT id FROM deletion WHERE registry = $1 AND repository = $2 ORDER BY id {for_update}";
        tx.query(ALL, params![registry, repository], |_| Ok(())).await?;
    }
    lock(tx, registry, deletion).await
}

/// Ends the time of a deletion that is locked with what is inside ([`lock_with_inside`]), and of those that lie in a repository that goes with it.
pub async fn end(tx: &mut Tx<'_>, registry: i64, locked: &Locked) -> Result<(), DbError> {
    tx.execute("UPDATE deletion SET until = {now} WHERE id = $1", params![locked.id]).await?;
    if locked.kind == "repository" {
        const INSIDE: &str =
            "UPDATE deletion SET until = {now} WHERE registry = $1 AND repository = $2 AND id <> $3 AND until > {now}";
        tx.execute(INSIDE, params![registry, locked.repository, locked.id]).await?;
    }
    Ok(())
}

/// Ends the time of all that lies in the trash of a registry, and of the registry itself when it lies there; how many.
pub async fn end_all(tx: &mut Tx<'_>, registry: i64) -> Result<u64, DbError> {
    const ALL: &str = "SELECT id FROM deletion WHERE registry = $1 AND until > {now} ORDER BY id {for_update}";
    tx.query(ALL, params![registry], |_| Ok(())).await?;
    tx.execute("UPDATE deletion SET until = {now} WHERE registry = $1 AND until > {now}", params![registry]).await
}

/// Brings a registry back that lies in the trash. False: it does not, or its time is over.
pub async fn registry(tx: &mut Tx<'_>, registry: i64) -> Result<bool, DbError> {
    const FIND: &str = "SELECT deletion FROM registry WHERE id = $1 AND deletion IS NOT NULL";
    let Some(deletion) = tx.query_opt(FIND, params![registry], |row| row.get::<i64>(0)).await? else {
        return Ok(false);
    };
    if lock(tx, registry, deletion).await?.is_none() {
        return Ok(false);
    }
    const BACK: &str = "UPDATE registry SET deletion = NULL, epoch = epoch + 1 WHERE id = $1 AND deletion = $2";
    let back = tx.execute(BACK, params![registry, deletion]).await?;
    if back == 1 {
        tx.execute("DELETE FROM deletion WHERE id = $1", params![deletion]).await?;
    }
    Ok(back == 1)
}

/// Which stays where a tag is in the way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// Nobody has said: it is told, and nothing is restored.
    Ask,
    /// The one that is there.
    Keep,
    /// The one from the trash.
    Replace,
}

/// What became of tags that came back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tags {
    /// How many there are more.
    pub made: i64,
    /// Those that lead somewhere else and were not to be kept or replaced.
    pub in_the_way: Vec<String>,
    /// Those that lead somewhere else and can't be moved.
    pub immutable: Vec<String>,
    /// Those whose artifact is not there.
    pub without: Vec<String>,
}

/// Where tags come back to, and how.
#[derive(Clone, Copy, Debug)]
pub struct Back<'a> {
    /// Row of the repository, which is held.
    pub repository: i64,
    /// Which stays.
    pub choice: Choice,
    /// Whether this tag may be moved here.
    pub mutable: fn(&str, bool) -> bool,
    /// Whether the repository's tags may be moved.
    pub mutable_tags: bool,
    /// Who restores.
    pub by: &'a str,
}

/// The tags that a deletion took away, and where they led, by name.
pub async fn tags_of(tx: &mut Tx<'_>, deletion: i64) -> Result<Vec<(String, Digest)>, DbError> {
    tx.query(
        "SELECT name, from_digest FROM tag_change WHERE deletion = $1 AND from_digest IS NOT NULL ORDER BY name",
        params![deletion],
        named_digest,
    )
    .await
}

fn named_digest(row: &Row<'_>) -> Result<(String, Digest), DbError> {
    Ok((row.get(0)?, digest(row, 1)?))
}

/// Puts tags back, which are given in the order of their names.
pub async fn put_back_tags(tx: &mut Tx<'_>, back: &Back<'_>, tags: &[(String, Digest)]) -> Result<Tags, DbError> {
    let digests: Vec<Vec<u8>> = tags.iter().map(|(_, digest)| digest.to_stored()).collect();
    let artifacts = artifact::find_all_living(tx, back.repository, &digests).await?;
    let mut told = Tags::default();
    for ((name, digest), artifact) in tags.iter().zip(artifacts) {
        let Some(artifact) = artifact else {
            told.without.push(name.clone());
            continue;
        };
        let because = Because { why: "restore", by: back.by };
        let to = (artifact, digest);
        match (tag::set(tx, back.repository, name, to, because, false).await?, back.choice) {
            (Set::Made, _) => told.made += 1,
            (Set::Same | Set::Moved(_), _) | (Set::Refused, Choice::Keep) => {}
            (Set::Refused, Choice::Ask) => told.in_the_way.push(name.clone()),
            (Set::Refused, Choice::Replace) => {
                let mutable = (back.mutable)(name, back.mutable_tags);
                if tag::set(tx, back.repository, name, to, because, mutable).await? == Set::Refused {
                    told.immutable.push(name.clone());
                }
            }
        }
    }
    Ok(told)
}

/// Brings the artifacts of a deletion that is locked back to their repository, which is held, but those that were pushed again; how many.
pub async fn artifacts(tx: &mut Tx<'_>, deletion: i64, repository: i64) -> Result<i64, DbError> {
    tx.execute("DELETE FROM deletion_step WHERE deletion = $1", params![deletion]).await?;
    let back = tx
        .execute(
            "UPDATE artifact SET deletion = NULL WHERE deletion = $1 AND repository = $2 AND NOT EXISTS (
             SELECT 1 FROM artifact l WHERE l.repository = $2 AND l.manifest = artifact.manifest AND l.deletion IS NULL)",
            params![deletion, repository],
        )
        .await;
    let back = match back {
        // Pushed again in this moment.
        Err(DbError::Unique(_)) => return Err(tx.again()),
        back => back?,
    };
    Ok(i64::try_from(back).unwrap_or(i64::MAX))
}

/// Before [`artifacts`]: the blobs that they hold are seen again, if somebody has hidden them meanwhile.
pub async fn show_blobs(tx: &mut Tx<'_>, deletion: i64, repository: i64) -> Result<(), DbError> {
    let hidden = tx
        .query(
            "SELECT DISTINCT h.blob FROM artifact a JOIN artifact_blob h ON h.artifact = a.id
             JOIN repository_blob l ON l.repository = h.repository AND l.blob = h.blob AND l.hidden
             WHERE a.deletion = $1 AND a.repository = $2 ORDER BY h.blob",
            params![deletion, repository],
            |row| row.get::<i64>(0),
        )
        .await?;
    for blob in hidden {
        const SHOW: &str = "UPDATE repository_blob SET hidden = $3 WHERE repository = $1 AND blob = $2";
        tx.execute(SHOW, params![repository, blob, false]).await?;
    }
    Ok(())
}

/// The end of a deletion that is locked and whose things are back. What is left of it, because it lives again already, is purged at once.
pub async fn close(tx: &mut Tx<'_>, deletion: i64) -> Result<(), DbError> {
    const ANY: &str = "SELECT 1 FROM artifact WHERE deletion = $1 LIMIT 1";
    let sql = match tx.query_opt(ANY, params![deletion], |_| Ok(())).await? {
        Some(()) => "UPDATE deletion SET until = {now} WHERE id = $1",
        None => "DELETE FROM deletion WHERE id = $1",
    };
    tx.execute(sql, params![deletion]).await.map(drop)
}

/// Name of a repository in the trash, and the row of the one of its name that lives, which is locked.
pub async fn find_repository(
    tx: &mut Tx<'_>,
    registry: i64,
    repository: i64,
) -> Result<Option<(String, Option<i64>)>, DbError> {
    const FIND: &str = "SELECT name FROM repository WHERE id = $1 {for_update}";
    let Some(name) = tx.query_opt(FIND, params![repository], |row| row.get::<String>(0)).await? else {
        return Ok(None);
    };
    const LIVING: &str =
        "SELECT id FROM repository WHERE registry = $1 AND name = $2 AND deletion IS NULL {for_update}";
    let living = tx.query_opt(LIVING, params![registry, &name], |row| row.get(0)).await?;
    Ok(Some((name, living)))
}

/// Brings a repository back that was found by [`find_repository`], whose name nobody has.
pub async fn repository(tx: &mut Tx<'_>, registry: i64, repository: i64, deletion: i64) -> Result<(), DbError> {
    let back = tx.execute("UPDATE repository SET deletion = NULL WHERE id = $1", params![repository]).await;
    if matches!(back, Err(DbError::Unique(_))) {
        return Err(tx.again());
    }
    back?;
    const ANY: &str = "SELECT 1 FROM artifact WHERE repository = $1 LIMIT 1";
    if tx.query_opt(ANY, params![repository], |_| Ok(())).await?.is_some() {
        figures::set_listed(tx, repository, Some(registry)).await?;
    }
    usage::add(tx, &Change { changed: true, ..Change::of(registry, repository) }).await?;
    tx.execute("DELETE FROM deletion WHERE id = $1", params![deletion]).await.map(drop)
}
