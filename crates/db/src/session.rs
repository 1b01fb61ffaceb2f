//! Sessions: who is signed in to the console. Their secrets come here as SHA-256.

use crate::{Db, DbError, Tx, params};

/// So many sessions a person has at most: with one more the oldest ends.
const MOST: i64 = 20;

/// A session that has not ended.
#[derive(Clone, Debug)]
pub struct Session {
    /// Row.
    pub id: i64,
    /// Row of its person.
    pub person: i64,
    /// Their name.
    pub name: String,
    /// Microseconds since it was last used.
    pub idle: i64,
}

/// Begins a session that ends after `lifetime` microseconds, and takes away some that have ended.
pub async fn begin(tx: &mut Tx<'_>, hash: &[u8], person: i64, from: &str, lifetime: i64) -> Result<(), DbError> {
    const OVER: &str =
        "DELETE FROM session WHERE id IN (SELECT id FROM session WHERE expires <= {now} ORDER BY expires LIMIT 100)";
    tx.execute(OVER, params![]).await?;
    const TOO_MANY: &str = "DELETE FROM session WHERE person = $1 AND id NOT IN (
        SELECT id FROM session WHERE person = $1 ORDER BY id DESC LIMIT $2)";
    tx.execute(TOO_MANY, params![person, MOST - 1]).await?;
    tx.execute(
        "INSERT INTO session (hash, person, came_from, created, used, expires) VALUES ($1, $2, $3, {now}, {now}, {now} + $4)",
        params![hash, person, from, lifetime],
    )
    .await
    .map(drop)
}

/// The session of this hash, if it has not ended, was used within `idle` microseconds, and its person may sign in.
pub async fn find(db: &Db, hash: &[u8], idle: i64) -> Result<Option<Session>, DbError> {
    db.query_opt(
        "SELECT s.id, s.person, p.name, {now} - s.used FROM session s JOIN person p ON p.id = s.person
         WHERE s.hash = $1 AND s.expires > {now} AND s.used > {now} - $2 AND NOT p.disabled",
        params![hash, idle],
        |row| Ok(Session { id: row.get(0)?, person: row.get(1)?, name: row.get(2)?, idle: row.get(3)? }),
    )
    .await
}

/// It is used now.
pub async fn touch(tx: &mut Tx<'_>, session: i64) -> Result<(), DbError> {
    tx.execute("UPDATE session SET used = {now} WHERE id = $1", params![session]).await.map(drop)
}

/// Ends a session.
pub async fn end(tx: &mut Tx<'_>, session: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM session WHERE id = $1", params![session]).await.map(drop)
}

/// Ends all sessions of a person.
pub async fn end_all(tx: &mut Tx<'_>, person: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM session WHERE person = $1", params![person]).await.map(drop)
}
