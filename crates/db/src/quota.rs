//! Quotas: how much a project and a registry may hold, and how much they do hold (product.md 4). What lies in the trash counts.
//!
//! Use is what `usage` says with the changes that were not folded into it yet, so no row is written that pushes would wait for.

use roadstead_model::{ProjectName, RegistryName};

use crate::{Db, DbError, Row, Tx, params};

/// A limit, and how much of it is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// The most; `None`: as much as there is.
    pub limit: Option<i64>,
    /// How much there is now.
    pub used: i64,
}

impl Quota {
    /// How much more there can be; `None`: any.
    pub fn room(self) -> Option<i64> {
        self.limit.map(|limit| (limit - self.used).max(0))
    }

    /// More is used than may be.
    pub fn is_over(self) -> bool {
        self.limit.is_some_and(|limit| self.used > limit)
    }
}

/// Those of a project or of a registry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quotas {
    /// Row of the project or registry.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// Registries of a project, repositories of a registry.
    pub count: Quota,
    /// Bytes, each blob once a registry.
    pub bytes: Quota,
}

/// The bytes of the registries that `$registries` finds; 0 where nobody asks.
macro_rules! bytes_of {
    ($registries:literal) => {
        concat!(
            "COALESCE((SELECT CAST(SUM(u.bytes) AS BIGINT) FROM usage u WHERE u.registry IN (",
            $registries,
            ")), 0) + COALESCE((SELECT CAST(SUM(c.bytes) AS BIGINT) FROM usage_change c WHERE c.registry IN (",
            $registries,
            ")), 0)"
        )
    };
}

macro_rules! of_registry {
    ($rest:literal) => {
        concat!(
            "SELECT g.id, g.name, g.max_repositories,
             COALESCE((SELECT u.repositories FROM usage u WHERE u.registry = g.id), 0)
             + COALESCE((SELECT CAST(SUM(c.repositories) AS BIGINT) FROM usage_change c WHERE c.registry = g.id), 0), g.max_bytes, ",
            bytes_of!("g.id"),
            " FROM registry g ",
            $rest
        )
    };
}

macro_rules! of_project {
    ($rest:literal) => {
        concat!(
            "SELECT j.id, j.name, j.max_registries, (SELECT COUNT(*) FROM registry r WHERE r.project = j.id), j.max_bytes, ",
            bytes_of!("SELECT r.id FROM registry r WHERE r.project = j.id"),
            " FROM project j ",
            $rest
        )
    };
}

fn quotas(row: &Row<'_>) -> Result<Quotas, DbError> {
    Ok(Quotas {
        id: row.get(0)?,
        name: row.get(1)?,
        count: Quota { limit: Some(row.get(2)?), used: row.get(3)? },
        bytes: Quota { limit: row.get(4)?, used: row.get(5)? },
    })
}

/// The quotas of a registry, also of one in the trash.
pub async fn of_registry(db: &Db, name: &RegistryName) -> Result<Option<Quotas>, DbError> {
    db.query_opt(of_registry!("WHERE g.name = $1"), params![name.as_str()], quotas).await
}

/// The quotas of a project.
pub async fn of_project(db: &Db, name: &ProjectName) -> Result<Option<Quotas>, DbError> {
    db.query_opt(of_project!("WHERE j.name = $1"), params![name.as_str()], quotas).await
}

/// The quotas of a registry and of its project, at this moment.
pub async fn of_both(db: &Db, registry: i64) -> Result<Vec<Quotas>, DbError> {
    let own = db.query_opt(of_registry!("WHERE g.id = $1"), params![registry], quotas).await?;
    const OF_PROJECT: &str =
        of_project!("JOIN registry g ON g.project = j.id WHERE g.id = $1 AND j.max_bytes IS NOT NULL");
    let project = db.query_opt(OF_PROJECT, params![registry], quotas).await?;
    Ok(own.into_iter().chain(project).collect())
}

/// The same within a transaction, its own changes included.
pub async fn of_both_now(tx: &mut Tx<'_>, registry: i64) -> Result<Vec<Quotas>, DbError> {
    let own = tx.query_opt(of_registry!("WHERE g.id = $1"), params![registry], quotas).await?;
    const OF_PROJECT: &str =
        of_project!("JOIN registry g ON g.project = j.id WHERE g.id = $1 AND j.max_bytes IS NOT NULL");
    let project = tx.query_opt(OF_PROJECT, params![registry], quotas).await?;
    Ok(own.into_iter().chain(project).collect())
}

/// The quotas of a registry within a transaction.
pub async fn of_registry_now(tx: &mut Tx<'_>, registry: i64) -> Result<Option<Quotas>, DbError> {
    tx.query_opt(of_registry!("WHERE g.id = $1"), params![registry], quotas).await
}

/// Whether there is room for one registry more in a project, which stays locked until the transaction ends: those who make registries
/// in it come one after the other.
pub async fn has_room_for_registry(tx: &mut Tx<'_>, project: i64) -> Result<bool, DbError> {
    const LOCK: &str = "SELECT max_registries FROM project WHERE id = $1 {for_no_key_update}";
    let most = tx.query_one(LOCK, params![project], |row| row.get::<i64>(0)).await?;
    const COUNT: &str = "SELECT COUNT(*) FROM registry WHERE project = $1";
    let used = tx.query_one(COUNT, params![project], |row| row.get::<i64>(0)).await?;
    Ok(used < most)
}

/// Sets the quotas of a project; those that it had. `None`: there is no such project.
pub async fn set_of_project(
    tx: &mut Tx<'_>,
    name: &ProjectName,
    registries: i64,
    bytes: Option<i64>,
) -> Result<Option<(i64, i64, Option<i64>)>, DbError> {
    const LOCK: &str = "SELECT id, max_registries, max_bytes FROM project WHERE name = $1 {for_no_key_update}";
    let had =
        tx.query_opt(LOCK, params![name.as_str()], |row| Ok((row.get::<i64>(0)?, row.get(1)?, row.get(2)?))).await?;
    let Some((id, ..)) = had else { return Ok(None) };
    const SET: &str = "UPDATE project SET max_registries = $2, max_bytes = $3, epoch = epoch + 1 WHERE id = $1";
    tx.execute(SET, params![id, registries, bytes]).await?;
    const MARK: &str = "UPDATE registry SET limited = (max_bytes IS NOT NULL OR $2) WHERE project = $1";
    tx.execute(MARK, params![id, bytes.is_some()]).await?;
    Ok(had)
}

/// Sets the quotas of a living registry; those that it had. `None`: there is none.
pub async fn set_of_registry(
    tx: &mut Tx<'_>,
    name: &RegistryName,
    repositories: i64,
    bytes: Option<i64>,
) -> Result<Option<(i64, i64, Option<i64>)>, DbError> {
    // Whoever sets those of the project at the same time marks this registry too.
    const PROJECT: &str = "SELECT j.id, j.max_bytes IS NOT NULL FROM project j
        WHERE j.id = (SELECT g.project FROM registry g WHERE g.name = $1) {for_no_key_update}";
    let project =
        tx.query_opt(PROJECT, params![name.as_str()], |row| Ok((row.get::<i64>(0)?, row.get::<bool>(1)?))).await?;
    let Some((project, limited)) = project else { return Ok(None) };
    const LOCK: &str =
        "SELECT id, max_repositories, max_bytes FROM registry WHERE name = $1 AND deletion IS NULL {for_no_key_update}";
    let had = tx
        .query_opt(LOCK, params![name.as_str()], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get(2)?)))
        .await?;
    let Some((id, had_repositories, had_bytes)) = had else { return Ok(None) };
    const SET: &str =
        "UPDATE registry SET max_repositories = $2, max_bytes = $3, limited = $4, epoch = epoch + 1 WHERE id = $1";
    tx.execute(SET, params![id, repositories, bytes, limited || bytes.is_some()]).await?;
    Ok(Some((project, had_repositories, had_bytes)))
}

/// Whether a repository has, or had, an artifact: only such a one counts.
pub async fn counts(tx: &mut Tx<'_>, repository: i64) -> Result<bool, DbError> {
    const ANY: &str = "SELECT 1 FROM artifact WHERE repository = $1 LIMIT 1";
    Ok(tx.query_opt(ANY, params![repository], |_| Ok(())).await?.is_some())
}
