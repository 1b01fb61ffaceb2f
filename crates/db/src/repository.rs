//! Repositories: found, made, held against deletion, listed.

use futures::future::try_join_all;

use crate::{Db, DbError, Tx, facts::View, params};

/// The living repository of this name, made when there is none; held against deletion until the transaction ends.
/// `None`: the registry is gone. The registry is held too.
pub async fn find_or_make(tx: &mut Tx<'_>, registry: i64, name: &str) -> Result<Option<i64>, DbError> {
    if crate::registry::hold(tx, registry).await?.is_none() {
        return Ok(None);
    }
    if let Some(id) = find(tx, registry, name).await? {
        return Ok(Some(id));
    }
    let made = tx
        .query_opt(
            "INSERT INTO repository (registry, name, mutable_tags, created) VALUES ($1, $2, $3, {now})
             ON CONFLICT (registry, name) WHERE deletion IS NULL DO NOTHING RETURNING id",
            params![registry, name, true],
            |row| row.get::<i64>(0),
        )
        .await?;
    if let Some(made) = made {
        crate::figures::insert(tx, made, name).await?;
    }
    // Another transaction may have made it, and a third may have taken it away again: then everything is tried anew.
    match find(tx, registry, name).await? {
        Some(id) => Ok(Some(id)),
        None => Err(tx.again()),
    }
}

async fn find(tx: &mut Tx<'_>, registry: i64, name: &str) -> Result<Option<i64>, DbError> {
    tx.query_opt(
        "SELECT id FROM repository WHERE registry = $1 AND name = $2 AND deletion IS NULL {for_key_share}",
        params![registry, name],
        |row| row.get(0),
    )
    .await
}

/// A repository that is held against deletion.
#[derive(Clone, Debug)]
pub struct Held {
    /// Row of its registry.
    pub registry: i64,
    /// Row of its registry's bucket.
    pub bucket: i64,
    /// Its name in the registry.
    pub name: String,
    /// Whether a tag that exists can be pushed over.
    pub mutable_tags: bool,
}

/// Holds a living repository in a living registry against deletion until the transaction ends. `None`: one of them is gone.
pub async fn hold(tx: &mut Tx<'_>, id: i64) -> Result<Option<Held>, DbError> {
    let registry =
        tx.query_opt("SELECT registry FROM repository WHERE id = $1", params![id], |row| row.get::<i64>(0)).await?;
    let Some(registry) = registry else { return Ok(None) };
    let Some(bucket) = crate::registry::hold(tx, registry).await? else { return Ok(None) };
    tx.query_opt(
        "SELECT name, mutable_tags FROM repository WHERE id = $1 AND deletion IS NULL {for_key_share}",
        params![id],
        |row| Ok(Held { registry, bucket, name: row.get(0)?, mutable_tags: row.get(1)? }),
    )
    .await
}

/// Whether the repository was ever pushed to: such a one is listed, also when all its tags are gone (protocol.md H7).
pub async fn is_listed(db: &Db, id: i64) -> Result<bool, DbError> {
    db.query_opt("SELECT 1 FROM artifact WHERE repository = $1 LIMIT 1", params![id], |_| Ok(()))
        .await
        .map(|row| row.is_some())
}

/// `registry/repository` of all living repositories with a living artifact, after `last`, at most `limit`. The slash is part of the
/// order: by bytes `a-b/x` comes before `a/x`.
///
/// One registry after the other, because no index goes over both names: one statement for all would sort every repository.
pub async fn list_region(
    db: &Db,
    view: View<'_>,
    last: (&str, &str),
    limit: i64,
) -> Result<Vec<(String, String)>, DbError> {
    let wanted = usize::try_from(limit).unwrap_or(0);
    let named = |registry: &str, names: Vec<String>| names.into_iter().map(|it| (registry.to_owned(), it)).collect();
    let mut found: Vec<(String, String)> = named(last.0, list(db, view, last.0, last.1, limit).await?);
    if found.len() >= wanted {
        return Ok(found);
    }
    let registries = db
        .list(
            "SELECT g.name FROM registry g WHERE g.deletion IS NULL AND (g.public_endpoint OR $3) AND g.name || '/' > $1
             AND EXISTS (SELECT 1 FROM repository r JOIN artifact a ON a.repository = r.id AND a.deletion IS NULL
                         WHERE r.registry = g.id AND r.deletion IS NULL)
             ORDER BY g.name || '/' LIMIT $2",
            params![format!("{}/", last.0), limit, view.is_private()],
            |row| row.get::<String>(0),
        )
        .await?;
    // The next one may fill the page, or each of them have one: twice as many are asked each time.
    let (mut rest, mut at_once) = (&registries[..], 1);
    while found.len() < wanted && !rest.is_empty() {
        let (now, later) = rest.split_at(at_once.min(rest.len()));
        let lists = try_join_all(now.iter().map(|registry| list(db, view, registry, "", limit))).await?;
        found.extend(now.iter().zip(lists).flat_map(|(registry, names)| named(registry, names)));
        (rest, at_once) = (later, (at_once * 2).min(16));
    }
    found.truncate(wanted);
    Ok(found)
}

/// Names of one registry's living repositories with a living artifact, after `last`, at most `limit`.
pub async fn list(db: &Db, view: View<'_>, registry: &str, last: &str, limit: i64) -> Result<Vec<String>, DbError> {
    db.list(
        "SELECT r.name FROM registry g JOIN repository r ON r.registry = g.id AND r.deletion IS NULL
         WHERE g.deletion IS NULL AND (g.public_endpoint OR $4) AND g.name = $1 AND r.name > $2
         AND EXISTS (SELECT 1 FROM artifact a WHERE a.repository = r.id AND a.deletion IS NULL)
         ORDER BY r.name LIMIT $3",
        params![registry, last, limit, view.is_private()],
        |row| row.get(0),
    )
    .await
}

/// Takes away a repository that holds nothing, has no history and no words or settings of its own, unless it was made within `grace`
/// microseconds.
pub async fn reap(tx: &mut Tx<'_>, id: i64, grace: i64) -> Result<bool, DbError> {
    let reaped = tx
        .execute(
            "DELETE FROM repository WHERE id = $1 AND created < {now} - $2
             AND mutable_tags AND description = '' AND full_description = ''
             AND NOT EXISTS (SELECT 1 FROM artifact x WHERE x.repository = $1)
             AND NOT EXISTS (SELECT 1 FROM upload x WHERE x.repository = $1)
             AND NOT EXISTS (SELECT 1 FROM repository_blob x WHERE x.repository = $1)
             AND NOT EXISTS (SELECT 1 FROM tag_change x WHERE x.repository = $1)",
            params![id, grace],
        )
        .await;
    // Something may have begun to use it between the look and the delete.
    let reaped = tx.again_if_gone(reaped)? == 1;
    if reaped {
        crate::figures::forget(tx, id).await?;
    }
    Ok(reaped)
}

/// What people say of a repository, and how it is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// A few words.
    pub description: String,
    /// As many as it takes, in Markdown.
    pub full_description: String,
    /// Whether a tag that exists can be pushed over.
    pub mutable_tags: bool,
}

/// A living repository in a living registry, for this transaction alone, so that pushes are over: its epoch and settings.
pub async fn lock_settings(tx: &mut Tx<'_>, id: i64) -> Result<Option<(i64, Settings)>, DbError> {
    let Some(_) = lock(tx, id).await? else { return Ok(None) };
    tx.query_opt(
        "SELECT epoch, description, full_description, mutable_tags FROM repository WHERE id = $1",
        params![id],
        |row| {
            let settings =
                Settings { description: row.get(1)?, full_description: row.get(2)?, mutable_tags: row.get(3)? };
            Ok((row.get(0)?, settings))
        },
    )
    .await
}

/// Writes the settings of a repository that is locked.
pub async fn update(tx: &mut Tx<'_>, id: i64, settings: &Settings) -> Result<(), DbError> {
    tx.execute(
        "UPDATE repository SET description = $2, full_description = $3, mutable_tags = $4, epoch = epoch + 1 WHERE id = $1",
        params![id, &settings.description, &settings.full_description, settings.mutable_tags],
    )
    .await
    .map(drop)
}

/// As [`hold`], for this transaction alone: row of the registry, name, epoch.
pub async fn lock(tx: &mut Tx<'_>, id: i64) -> Result<Option<(i64, String, i64)>, DbError> {
    let registry =
        tx.query_opt("SELECT registry FROM repository WHERE id = $1", params![id], |row| row.get::<i64>(0)).await?;
    let Some(registry) = registry else { return Ok(None) };
    if crate::registry::hold(tx, registry).await?.is_none() {
        return Ok(None);
    }
    const LOCK: &str = "SELECT name, epoch FROM repository WHERE id = $1 AND deletion IS NULL {for_update}";
    tx.query_opt(LOCK, params![id], |row| Ok((registry, row.get(0)?, row.get(1)?))).await
}

/// Puts a repository that is locked into the trash, with all that is in it.
pub async fn put(tx: &mut Tx<'_>, id: i64, deletion: i64) -> Result<(), DbError> {
    tx.execute("UPDATE repository SET deletion = $2 WHERE id = $1", params![id, deletion]).await?;
    crate::figures::set_listed(tx, id, None).await
}
