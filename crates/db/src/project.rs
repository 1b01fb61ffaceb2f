//! Projects: the tenants of a region.

use roadstead_model::ProjectName;

use crate::{
    Db, DbError, Row, Tx,
    audit::{self, By},
    params,
};

/// A project.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Project {
    /// Row.
    pub id: i64,
    /// Unique in the region, fixed for good.
    pub name: String,
    /// Words about it.
    pub description: String,
    /// Microseconds since 1970.
    pub created: i64,
    /// Goes up with each change.
    pub epoch: i64,
}

fn project(row: &Row<'_>) -> Result<Project, DbError> {
    Ok(Project {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        created: row.get(3)?,
        epoch: row.get(4)?,
    })
}

/// Projects by name, after `after`, at most `limit`; of a person's row only those in which they have a role.
pub async fn list(db: &Db, person: Option<i64>, after: &str, limit: i64) -> Result<Vec<Project>, DbError> {
    db.list(
        "SELECT j.id, j.name, j.description, j.created, j.epoch FROM project j
         WHERE j.name > $1 AND (CAST($2 AS BIGINT) IS NULL OR EXISTS (SELECT 1 FROM member m WHERE m.project = j.id AND m.person = $2))
         ORDER BY j.name LIMIT $3",
        params![after, person, limit],
        project,
    )
    .await
}

/// One project.
pub async fn show(db: &Db, name: &ProjectName) -> Result<Option<Project>, DbError> {
    const SHOW: &str = "SELECT id, name, description, created, epoch FROM project WHERE name = $1";
    db.query_opt(SHOW, params![name.as_str()], project).await
}

/// The project, held until the transaction ends against being deleted.
pub async fn hold(tx: &mut Tx<'_>, name: &ProjectName) -> Result<Option<Project>, DbError> {
    const HOLD: &str = "SELECT id, name, description, created, epoch FROM project WHERE name = $1 {for_key_share}";
    tx.query_opt(HOLD, params![name.as_str()], project).await
}

/// The project, locked until the transaction ends.
pub async fn lock(tx: &mut Tx<'_>, name: &ProjectName) -> Result<Option<Project>, DbError> {
    const LOCK: &str = "SELECT id, name, description, created, epoch FROM project WHERE name = $1 {for_no_key_update}";
    tx.query_opt(LOCK, params![name.as_str()], project).await
}

/// Makes a project. `None`: the name is taken.
pub async fn insert(tx: &mut Tx<'_>, name: &ProjectName, description: &str, by: &By) -> Result<Option<i64>, DbError> {
    let id = tx
        .query_opt(
            "INSERT INTO project (name, description, created) VALUES ($1, $2, {now}) ON CONFLICT (name) DO NOTHING RETURNING id",
            params![name.as_str(), description],
            |row| row.get::<i64>(0),
        )
        .await?;
    if let Some(id) = id {
        audit::record(tx, &by.about(id), "project.create", name.as_str(), None, None).await?;
    }
    Ok(id)
}

/// Changes the description of one that is locked.
pub async fn update(tx: &mut Tx<'_>, project: i64, description: &str) -> Result<(), DbError> {
    const UPDATE: &str = "UPDATE project SET description = $2, epoch = epoch + 1 WHERE id = $1";
    tx.execute(UPDATE, params![project, description]).await.map(drop)
}

/// Forgets a project that has no registry, with its members and robots. [`DbError::ForeignKey`]: it has one, perhaps in the trash.
pub async fn remove(tx: &mut Tx<'_>, project: i64) -> Result<(), DbError> {
    const ROBOTS: &str = "SELECT id FROM robot WHERE project = $1 ORDER BY id {for_update}";
    let robots = tx.query(ROBOTS, params![project], |row| row.get::<i64>(0)).await?;
    for robot in robots {
        crate::robot::remove(tx, robot).await?;
    }
    tx.execute("DELETE FROM member WHERE project = $1 AND registry IS NULL", params![project]).await?;
    tx.execute("DELETE FROM project WHERE id = $1", params![project]).await.map(drop)
}
