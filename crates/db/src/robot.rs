//! Robots: the service accounts of a project. They hold access keys, and never sign in to the console.

use crate::{Db, DbError, Row, Tx, params};

/// A robot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Robot {
    /// Row.
    pub id: i64,
    /// Unique in its project, fixed for good.
    pub name: String,
    /// What it is for.
    pub description: String,
    /// None of its keys works.
    pub disabled: bool,
    /// Microseconds since 1970.
    pub created: i64,
    /// Goes up with each change.
    pub epoch: i64,
}

fn robot(row: &Row<'_>) -> Result<Robot, DbError> {
    Ok(Robot {
        id: row.get(0)?,
        name: row.get(1)?,
        description: row.get(2)?,
        disabled: row.get(3)?,
        created: row.get(4)?,
        epoch: row.get(5)?,
    })
}

/// Robots of a project by name, after `after`, at most `limit`.
pub async fn list(db: &Db, project: i64, after: &str, limit: i64) -> Result<Vec<Robot>, DbError> {
    const LIST: &str = "SELECT id, name, description, disabled, created, epoch FROM robot
        WHERE project = $1 AND name > $2 ORDER BY name LIMIT $3";
    db.list(LIST, params![project, after, limit], robot).await
}

/// One robot.
pub async fn show(db: &Db, project: i64, name: &str) -> Result<Option<Robot>, DbError> {
    const SHOW: &str =
        "SELECT id, name, description, disabled, created, epoch FROM robot WHERE project = $1 AND name = $2";
    db.query_opt(SHOW, params![project, name], robot).await
}

/// The robot of this name, held until the transaction ends, so that its keys are made one by one.
pub async fn lock(tx: &mut Tx<'_>, project: i64, name: &str) -> Result<Option<Robot>, DbError> {
    const LOCK: &str = "SELECT id, name, description, disabled, created, epoch FROM robot WHERE project = $1 AND name = $2 {for_update}";
    tx.query_opt(LOCK, params![project, name], robot).await
}

/// Makes a robot. `None`: the name is taken.
pub async fn insert(tx: &mut Tx<'_>, project: i64, name: &str, description: &str) -> Result<Option<i64>, DbError> {
    tx.query_opt(
        "INSERT INTO robot (project, name, description, disabled, created, epoch) VALUES ($1, $2, $3, $4, {now}, 1)
         ON CONFLICT (project, name) DO NOTHING RETURNING id",
        params![project, name, description, false],
        |row| row.get(0),
    )
    .await
}

/// Writes what a robot that is locked is since.
pub async fn update(tx: &mut Tx<'_>, robot: &Robot) -> Result<(), DbError> {
    tx.execute(
        "UPDATE robot SET description = $2, disabled = $3, epoch = epoch + 1 WHERE id = $1",
        params![robot.id, &robot.description, robot.disabled],
    )
    .await
    .map(drop)
}

/// Forgets a robot that is locked, with its keys and trusts.
pub async fn remove(tx: &mut Tx<'_>, robot: i64) -> Result<(), DbError> {
    // Whoever gets a token for one of the keys in this moment is waited for.
    tx.query("SELECT id FROM access_key WHERE robot = $1 ORDER BY id {for_update}", params![robot], |_| Ok(())).await?;
    tx.execute(
        "DELETE FROM refresh_token WHERE access_key IN (SELECT id FROM access_key WHERE robot = $1)",
        params![robot],
    )
    .await?;
    crate::trust::remove_all(tx, robot).await?;
    tx.execute("DELETE FROM access_key WHERE robot = $1", params![robot]).await?;
    tx.execute("DELETE FROM robot WHERE id = $1", params![robot]).await.map(drop)
}
