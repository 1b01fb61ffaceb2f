//! What happened: the outbox of events, and the changes of usage; each written in the transaction of its change.

use crate::{Db, DbError, Engine, Tx, params};

/// Records an event for webhooks, replication and scans to come.
pub async fn record(
    tx: &mut Tx<'_>,
    kind: &str,
    registry: i64,
    repository: Option<&str>,
    subject: &str,
    body: &str,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO event (kind, registry, repository, subject, body, at) VALUES ($1, $2, $3, $4, $5, {now})",
        params![kind, registry, repository, subject, body],
    )
    .await
    .map(drop)
}

const ADD_USAGE: &str = "UPDATE usage SET repositories = repositories + $2, artifacts = artifacts + $3, bytes = bytes + $4 WHERE registry = $1";

/// Adds to (or takes from) what a registry uses. Where many write at once they don't wait for one another's row: each appends one
/// that is folded later.
pub async fn change_usage(
    tx: &mut Tx<'_>,
    registry: i64,
    repositories: i64,
    artifacts: i64,
    bytes: i64,
) -> Result<(), DbError> {
    const APPEND: &str = "INSERT INTO usage_change (registry, repositories, artifacts, bytes) VALUES ($1, $2, $3, $4)";
    let statement = match tx.engine() {
        Engine::Sqlite => ADD_USAGE,
        Engine::Postgres => APPEND,
    };
    tx.execute(statement, params![registry, repositories, artifacts, bytes]).await.map(drop)
}

/// Folds up to `limit` usage changes into `usage`; how many it took.
pub async fn fold_usage(tx: &mut Tx<'_>, limit: i64) -> Result<usize, DbError> {
    let rows = tx
        .query(
            "SELECT id, registry, repositories, artifacts, bytes FROM usage_change ORDER BY id LIMIT $1 {skip_locked}",
            params![limit],
            |row| {
                Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?, row.get::<i64>(3)?, row.get::<i64>(4)?))
            },
        )
        .await?;
    let mut sums = std::collections::BTreeMap::<i64, (i64, i64, i64)>::new();
    for (id, registry, repositories, artifacts, bytes) in &rows {
        let sum = sums.entry(*registry).or_default();
        *sum = (sum.0 + repositories, sum.1 + artifacts, sum.2 + bytes);
        tx.execute("DELETE FROM usage_change WHERE id = $1", params![*id]).await?;
    }
    for (registry, (repositories, artifacts, bytes)) in sums {
        tx.execute(ADD_USAGE, params![registry, repositories, artifacts, bytes]).await?;
    }
    Ok(rows.len())
}

/// Drops up to `limit` events older than `age` microseconds; how many.
pub async fn drop_old(tx: &mut Tx<'_>, age: i64, limit: i64) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM event WHERE id IN (SELECT id FROM event WHERE at < {now} - $1 ORDER BY at LIMIT $2)",
        params![age, limit],
    )
    .await
}

/// Kinds and subjects of a registry's events, oldest first (at most `limit`).
pub async fn list(db: &Db, registry: i64, limit: i64) -> Result<Vec<(String, String)>, DbError> {
    db.list(
        "SELECT kind, subject FROM event WHERE registry = $1 ORDER BY id LIMIT $2",
        params![registry, limit],
        |row| Ok((row.get(0)?, row.get(1)?)),
    )
    .await
}
