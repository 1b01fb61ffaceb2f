//! Projects, buckets and registries.

use roadstead_model::{ProjectName, RegistryName};

use crate::{
    Db, DbError, Row, Tx,
    audit::{self, By},
    bucket, event, params,
    quota::{self, Quota},
    usage::Usage,
};

/// A registry as lists and `registry show` give it.
#[derive(Clone, Debug)]
pub struct Registry {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// The project it belongs to.
    pub project: String,
    /// The bucket that its blobs live in.
    pub bucket: String,
    /// `standard` or `image-cache`.
    pub kind: String,
    /// Words about it.
    pub description: String,
    /// Anyone may pull.
    pub public_pull: bool,
    /// It answers on public listeners.
    pub public_endpoint: bool,
    /// Microseconds since 1970.
    pub created: i64,
    /// Random id in its private host name.
    pub private_id: String,
    /// Goes up with each change of its settings.
    pub epoch: i64,
    /// In the trash until then (microseconds since 1970).
    pub trashed_until: Option<i64>,
    /// What it stores, what lies in the trash included.
    pub usage: Usage,
    /// Its bucket did not do what is needed when it was last tried.
    pub bucket_trouble: bool,
    /// It, or its project, has more than its quotas allow.
    pub over_quota: bool,
}

/// What a new registry is made with.
#[derive(Clone, Debug)]
pub struct NewRegistry {
    /// The project it belongs to; made when there is none.
    pub project: ProjectName,
    /// Its name, unique in the region.
    pub name: RegistryName,
    /// Row of its bucket.
    pub bucket: i64,
    /// It is to have the bucket for itself.
    pub alone: bool,
    /// Random id for private host names; fixed for good.
    pub private_id: String,
    /// Words about it.
    pub description: String,
    /// Anyone may pull.
    pub public_pull: bool,
    /// It answers on public listeners.
    pub public_endpoint: bool,
    /// Who makes it, for the audit log.
    pub by: By,
}

/// The row of a project, made when there is none.
async fn find_or_make_project(tx: &mut Tx<'_>, name: &ProjectName, by: &By) -> Result<i64, DbError> {
    if let Some(made) = crate::project::insert(tx, name, "", by).await? {
        return Ok(made);
    }
    tx.query_one("SELECT id FROM project WHERE name = $1", params![name.as_str()], |row| row.get(0)).await
}

/// What became of making a registry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Created {
    /// Its row.
    Made(i64),
    /// The name is taken (perhaps by one in the trash).
    Taken,
    /// The project has as many registries as it may have.
    NoRoom,
    /// It is to have the bucket for itself, and another registry is in it (perhaps in the trash). The transaction must be given up.
    BucketTaken,
}

/// Makes a registry.
pub async fn create(tx: &mut Tx<'_>, new: &NewRegistry) -> Result<Created, DbError> {
    // A name that is taken leaves no project behind.
    const TAKEN: &str = "SELECT 1 FROM registry WHERE name = $1";
    if tx.query_opt(TAKEN, params![new.name.as_str()], |_| Ok(())).await?.is_some() {
        return Ok(Created::Taken);
    }
    let project = find_or_make_project(tx, &new.project, &new.by).await?;
    if !quota::has_room_for_registry(tx, project).await? {
        return Ok(Created::NoRoom);
    }
    if new.alone && bucket::lock_and_ask_if_taken(tx, new.bucket).await? {
        // Perhaps by one of this name, which was made meanwhile.
        let taken = tx.query_opt(TAKEN, params![new.name.as_str()], |_| Ok(())).await?.is_some();
        return Ok(if taken { Created::Taken } else { Created::BucketTaken });
    }
    let id = tx
        .query_opt(
            "INSERT INTO registry (project, name, kind, bucket, private_id, description, public_endpoint, public_pull, limited, epoch, created)
             VALUES ($1, $2, 'standard', $3, $4, $5, $6, $7, (SELECT j.max_bytes IS NOT NULL FROM project j WHERE j.id = $1), 0, {now}) ON CONFLICT (name) DO NOTHING RETURNING id",
            params![
                project,
                new.name.as_str(),
                new.bucket,
                &new.private_id,
                &new.description,
                new.public_endpoint,
                new.public_pull
            ],
            |row| row.get::<i64>(0),
        )
        .await?;
    if let Some(id) = id {
        tx.execute("INSERT INTO usage (registry, repositories, artifacts, bytes) VALUES ($1, 0, 0, 0)", params![id])
            .await?;
        event::record(tx, "registry.create", id, None, new.name.as_str(), "{}").await?;
        // Names need no escapes.
        let after = format!(
            r#"{{"project":"{}","public_pull":{},"public_endpoint":{}}}"#,
            new.project, new.public_pull, new.public_endpoint
        );
        audit::record(tx, &new.by.about(project), "registry.create", new.name.as_str(), None, Some(&after)).await?;
    }
    Ok(id.map_or(Created::Taken, Created::Made))
}

macro_rules! registry_sql {
    ($rest:literal) => {
        concat!(
            "SELECT g.id, g.name, p.name, b.name, g.kind, g.description, g.public_pull, g.public_endpoint, g.created, d.until, g.epoch,
             u.repositories + COALESCE((SELECT CAST(SUM(c.repositories) AS BIGINT) FROM usage_change c WHERE c.registry = g.id), 0),
             u.artifacts + COALESCE((SELECT CAST(SUM(c.artifacts) AS BIGINT) FROM usage_change c WHERE c.registry = g.id), 0),
             u.tags + COALESCE((SELECT CAST(SUM(c.tags) AS BIGINT) FROM usage_change c WHERE c.registry = g.id), 0),
             u.bytes + COALESCE((SELECT CAST(SUM(c.bytes) AS BIGINT) FROM usage_change c WHERE c.registry = g.id), 0),
             u.image_bytes + COALESCE((SELECT CAST(SUM(c.image_bytes) AS BIGINT) FROM usage_change c WHERE c.registry = g.id), 0),
             g.private_id, b.trouble IS NOT NULL, g.max_repositories, g.max_bytes,
             (CASE WHEN p.max_bytes IS NULL THEN FALSE ELSE p.max_bytes
             < COALESCE((SELECT CAST(SUM(o.bytes) AS BIGINT) FROM usage o JOIN registry r ON r.id = o.registry WHERE r.project = p.id), 0)
             + COALESCE((SELECT CAST(SUM(c.bytes) AS BIGINT) FROM usage_change c JOIN registry r ON r.id = c.registry WHERE r.project = p.id), 0) END)
             FROM registry g JOIN project p ON p.id = g.project JOIN bucket b ON b.id = g.bucket
             JOIN usage u ON u.registry = g.id LEFT JOIN deletion d ON d.id = g.deletion ",
            $rest
        )
    };
}

fn registry(row: &Row<'_>) -> Result<Registry, DbError> {
    let usage = Usage::from_row(row, 11)?;
    let own = Quota { limit: row.get(19)?, used: usage.bytes };
    let repositories = Quota { limit: Some(row.get(18)?), used: usage.repositories };
    Ok(Registry {
        id: row.get(0)?,
        name: row.get(1)?,
        project: row.get(2)?,
        bucket: row.get(3)?,
        kind: row.get(4)?,
        description: row.get(5)?,
        public_pull: row.get(6)?,
        public_endpoint: row.get(7)?,
        created: row.get(8)?,
        trashed_until: row.get(9)?,
        epoch: row.get(10)?,
        usage,
        private_id: row.get(16)?,
        bucket_trouble: row.get(17)?,
        over_quota: own.is_over() || repositories.is_over() || row.get(20)?,
    })
}

/// Registries by name, after `last`, at most `limit`, those in the trash included; of a person's row only those in which they have a role.
pub async fn list(db: &Db, person: Option<i64>, last: &str, limit: i64) -> Result<Vec<Registry>, DbError> {
    const ALL: &str = registry_sql!("WHERE g.name > $1 ORDER BY g.name LIMIT $2");
    const OF_PERSON: &str = registry_sql!(
        "WHERE g.name > $1 AND EXISTS (SELECT 1 FROM member m WHERE m.person = $3 AND m.project = g.project
         AND (m.registry IS NULL OR m.registry = g.id)) ORDER BY g.name LIMIT $2"
    );
    match person {
        None => db.list(ALL, params![last, limit], registry).await,
        Some(person) => db.list(OF_PERSON, params![last, limit, person], registry).await,
    }
}

/// One registry, also when it is in the trash.
pub async fn show(db: &Db, name: &RegistryName) -> Result<Option<Registry>, DbError> {
    db.query_opt(registry_sql!("WHERE g.name = $1"), params![name.as_str()], registry).await
}

/// The registry whose private host name has this random id, also when it is in the trash.
pub async fn by_private_id(db: &Db, id: &str) -> Result<Option<String>, DbError> {
    db.query_opt("SELECT name FROM registry WHERE private_id = $1", params![id], |row| row.get(0)).await
}

/// What can be changed of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Words about it.
    pub description: String,
    /// Anyone may pull.
    pub public_pull: bool,
    /// It answers on public listeners.
    pub public_endpoint: bool,
}

/// Row, epoch and settings of a living registry, locked until the transaction ends.
pub async fn lock_settings(tx: &mut Tx<'_>, name: &RegistryName) -> Result<Option<(i64, i64, Settings)>, DbError> {
    tx.query_opt(
        "SELECT id, epoch, description, public_pull, public_endpoint FROM registry WHERE name = $1 AND deletion IS NULL {for_no_key_update}",
        params![name.as_str()],
        |row| {
            let settings =
                Settings { description: row.get(2)?, public_pull: row.get(3)?, public_endpoint: row.get(4)? };
            Ok((row.get(0)?, row.get(1)?, settings))
        },
    )
    .await
}

/// Writes the settings of a registry that is locked.
pub async fn update(tx: &mut Tx<'_>, id: i64, settings: &Settings) -> Result<(), DbError> {
    tx.execute(
        "UPDATE registry SET description = $2, public_pull = $3, public_endpoint = $4, epoch = epoch + 1 WHERE id = $1",
        params![id, &settings.description, settings.public_pull, settings.public_endpoint],
    )
    .await
    .map(drop)
}

/// Puts a registry into the trash for `life` microseconds. False: there is none, or it lies there already.
pub async fn delete(tx: &mut Tx<'_>, name: &RegistryName, by: &By, life: i64) -> Result<bool, DbError> {
    let id = tx
        .query_opt(
            "SELECT id, project FROM registry WHERE name = $1 AND deletion IS NULL {for_update}",
            params![name.as_str()],
            |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?)),
        )
        .await?;
    let Some((id, project)) = id else { return Ok(false) };
    let deletion = crate::trash::begin(tx, "registry", id, None, name.as_str(), &by.who, life).await?;
    tx.execute("UPDATE registry SET deletion = $2, epoch = epoch + 1 WHERE id = $1", params![id, deletion]).await?;
    event::record(tx, "registry.delete", id, None, name.as_str(), "{}").await?;
    audit::record(tx, &by.about(project), "registry.delete", name.as_str(), None, None).await?;
    Ok(true)
}

/// The rows of a living registry and of its project; it is held against deletion until the transaction ends.
pub async fn hold_by_name(tx: &mut Tx<'_>, name: &RegistryName) -> Result<Option<(i64, i64)>, DbError> {
    const FIND: &str = "SELECT id, project FROM registry WHERE name = $1 AND deletion IS NULL {for_key_share}";
    tx.query_opt(FIND, params![name.as_str()], |row| Ok((row.get(0)?, row.get(1)?))).await
}

/// Locks a living registry against deletion until the transaction ends; its bucket's row.
pub async fn hold(tx: &mut Tx<'_>, id: i64) -> Result<Option<i64>, DbError> {
    tx.query_opt("SELECT bucket FROM registry WHERE id = $1 AND deletion IS NULL {for_key_share}", params![id], |row| {
        row.get(0)
    })
    .await
}

/// A bucket as the database knows it.
#[derive(Clone, Debug)]
pub struct BucketRow {
    /// Its row.
    pub id: i64,
    /// Text of the marker object that lies in the bucket.
    pub marker: String,
    /// The marker was written once: from then on it must be there.
    pub marked: bool,
}

/// The bucket of this name; made with `marker` when there is none.
pub async fn find_or_make_bucket(tx: &mut Tx<'_>, name: &str, kind: &str, marker: &str) -> Result<BucketRow, DbError> {
    tx.execute(
        "INSERT INTO bucket (name, kind, marker, marking, marked, created) VALUES ($1, $2, $3, 0, $4, {now})
         ON CONFLICT (name) DO NOTHING",
        params![name, kind, marker, false],
    )
    .await?;
    tx.query_one("SELECT id, marker, marked FROM bucket WHERE name = $1", params![name], bucket_row).await
}

/// The bucket of this name.
pub async fn find_bucket(db: &Db, name: &str) -> Result<Option<BucketRow>, DbError> {
    db.query_opt("SELECT id, marker, marked FROM bucket WHERE name = $1", params![name], bucket_row).await
}

fn bucket_row(row: &Row<'_>) -> Result<BucketRow, DbError> {
    Ok(BucketRow { id: row.get(0)?, marker: row.get(1)?, marked: row.get(2)? })
}

/// Gives this node the marking of a bucket for `lease` microseconds. False: it was marked, or another node is at it.
pub async fn begin_marking(tx: &mut Tx<'_>, bucket: i64, lease: i64) -> Result<bool, DbError> {
    let begun = tx
        .execute(
            "UPDATE bucket SET marking = {now} + $2 WHERE id = $1 AND marked = $3 AND marking <= {now}",
            params![bucket, lease, false],
        )
        .await?;
    Ok(begun == 1)
}

/// The marker object was written, or (`written` is false) could not be: the next node may try. One that comes late takes nothing back.
pub async fn end_marking(tx: &mut Tx<'_>, bucket: i64, written: bool) -> Result<(), DbError> {
    tx.execute("UPDATE bucket SET marked = (marked OR $2), marking = 0 WHERE id = $1", params![bucket, written])
        .await
        .map(drop)
}

/// All buckets that were ever used with this database: name and row.
pub async fn buckets(db: &Db) -> Result<Vec<(String, i64)>, DbError> {
    db.list("SELECT name, id FROM bucket ORDER BY id", params![], |row| Ok((row.get(0)?, row.get(1)?))).await
}

/// Whether something lies in a bucket, is on its way there or is to be removed from there.
pub async fn is_bucket_used(db: &Db, bucket: i64) -> Result<bool, DbError> {
    let used = db.query_opt(
        "SELECT EXISTS (SELECT 1 FROM registry WHERE bucket = $1) OR EXISTS (SELECT 1 FROM blob WHERE bucket = $1)
         OR EXISTS (SELECT 1 FROM upload WHERE bucket = $1) OR EXISTS (SELECT 1 FROM object_removal WHERE bucket = $1)",
        params![bucket],
        |row| row.get(0),
    );
    Ok(used.await?.unwrap_or(false))
}
