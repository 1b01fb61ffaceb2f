//! What buckets are used for, and whether they do what is needed of them.

use crate::{Db, DbError, Row, Tx, params};

/// A bucket as lists give it.
#[derive(Clone, Debug)]
pub struct BucketUse {
    /// Its row.
    pub id: i64,
    /// Its name.
    pub name: String,
    /// `directory`, `s3`, `gcs` or `azure`.
    pub kind: String,
    /// When it was first used with this database, microseconds since 1970.
    pub created: i64,
    /// Registries in it, those in the trash included.
    pub registries: i64,
    /// Bytes that they store; what several of them have is counted for each.
    pub bytes: i64,
    /// Name of one of its registries.
    pub registry: Option<String>,
    /// When it was last tried, microseconds since 1970.
    pub checked: Option<i64>,
    /// What came of that.
    pub found: Found,
}

/// What was found when a bucket was tried.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// What it does not do, in words; `None` when it does all that is needed.
    pub trouble: Option<String>,
    /// What is no trouble but should be known.
    pub warning: Option<String>,
}

macro_rules! bucket_sql {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.name, b.kind, b.created, (SELECT COUNT(*) FROM registry g WHERE g.bucket = b.id),
             COALESCE((SELECT CAST(SUM(u.bytes) AS BIGINT) FROM usage u JOIN registry g ON g.id = u.registry WHERE g.bucket = b.id), 0)
             + COALESCE((SELECT CAST(SUM(c.bytes) AS BIGINT) FROM usage_change c JOIN registry g ON g.id = c.registry WHERE g.bucket = b.id), 0),
             (SELECT MIN(g.name) FROM registry g WHERE g.bucket = b.id), b.checked, b.trouble, b.warning
             FROM bucket b ",
            $rest
        )
    };
}

fn bucket(row: &Row<'_>) -> Result<BucketUse, DbError> {
    Ok(BucketUse {
        id: row.get(0)?,
        name: row.get(1)?,
        kind: row.get(2)?,
        created: row.get(3)?,
        registries: row.get(4)?,
        bytes: row.get(5)?,
        registry: row.get(6)?,
        checked: row.get(7)?,
        found: Found { trouble: row.get(8)?, warning: row.get(9)? },
    })
}

/// Buckets by name, after `last`, at most `limit`.
pub async fn list(db: &Db, last: &str, limit: i64) -> Result<Vec<BucketUse>, DbError> {
    db.list(bucket_sql!("WHERE b.name > $1 ORDER BY b.name LIMIT $2"), params![last, limit], bucket).await
}

/// One bucket.
pub async fn show(db: &Db, name: &str) -> Result<Option<BucketUse>, DbError> {
    db.query_opt(bucket_sql!("WHERE b.name = $1"), params![name], bucket).await
}

/// Whether a registry is in a bucket, those in the trash included. The bucket stays locked until the transaction ends: those who ask before
/// they make one in it come one after the other.
pub async fn lock_and_ask_if_taken(tx: &mut Tx<'_>, bucket: i64) -> Result<bool, DbError> {
    const LOCK: &str = "SELECT id FROM bucket WHERE id = $1 {for_no_key_update}";
    tx.query_one(LOCK, params![bucket], |_| Ok(())).await?;
    const ANY: &str = "SELECT 1 FROM registry WHERE bucket = $1 LIMIT 1";
    Ok(tx.query_opt(ANY, params![bucket], |_| Ok(())).await?.is_some())
}

/// How often buckets are tried, in microseconds.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// One that does what is needed.
    pub every: i64,
    /// One that was in trouble.
    pub in_trouble: i64,
}

/// `$1` and `$2` are a pace. One that was never tried is due.
macro_rules! due_sql {
    ($start:literal, $rest:literal) => {
        concat!(
            $start,
            " checking <= {now} AND (checked IS NULL
             OR checked <= {now} - (CASE WHEN trouble IS NULL THEN CAST($1 AS BIGINT) ELSE CAST($2 AS BIGINT) END))",
            $rest
        )
    };
}

/// The rows of the buckets that are to be tried now.
pub async fn due(db: &Db, pace: Pace) -> Result<Vec<i64>, DbError> {
    const DUE: &str = due_sql!("SELECT id FROM bucket WHERE", " ORDER BY id");
    db.list(DUE, params![pace.every, pace.in_trouble], |row| row.get(0)).await
}

/// Gives this node the trying of a bucket for `lease` microseconds, if it is still due. The key of the objects to do it with: `key`, or that of
/// an earlier try which may have left some.
pub async fn begin_check(
    tx: &mut Tx<'_>,
    bucket: i64,
    pace: Pace,
    lease: i64,
    key: &str,
) -> Result<Option<String>, DbError> {
    const BEGIN: &str = due_sql!(
        "UPDATE bucket SET checking = {now} + $3, check_key = COALESCE(check_key, $4) WHERE id = $5 AND",
        " RETURNING check_key"
    );
    tx.query_opt(BEGIN, params![pace.every, pace.in_trouble, lease, key, bucket], |row| row.get(0)).await
}

/// A try that was begun is over. `clean`: nothing of it is left.
pub async fn end_check(tx: &mut Tx<'_>, bucket: i64, clean: bool) -> Result<(), DbError> {
    const END: &str =
        "UPDATE bucket SET checking = 0, check_key = CASE WHEN $2 THEN NULL ELSE check_key END WHERE id = $1";
    tx.execute(END, params![bucket, clean]).await.map(drop)
}

/// Remembers what was found just now.
pub async fn set_found(tx: &mut Tx<'_>, bucket: i64, found: &Found) -> Result<(), DbError> {
    const SET: &str = "UPDATE bucket SET checked = {now}, trouble = $2, warning = $3 WHERE id = $1";
    tx.execute(SET, params![bucket, found.trouble.as_deref(), found.warning.as_deref()]).await.map(drop)
}
