//! What happened: the outbox of events, each written in the transaction of its change.

use crate::{Db, DbError, Tx, params};

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
