//! What buckets are used for.

use crate::{Db, DbError, Row, params};

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
}

macro_rules! bucket_sql {
    ($rest:literal) => {
        concat!(
            "SELECT b.id, b.name, b.kind, b.created, (SELECT COUNT(*) FROM registry g WHERE g.bucket = b.id),
             COALESCE((SELECT CAST(SUM(u.bytes) AS BIGINT) FROM usage u JOIN registry g ON g.id = u.registry WHERE g.bucket = b.id), 0)
             + COALESCE((SELECT CAST(SUM(c.bytes) AS BIGINT) FROM usage_change c JOIN registry g ON g.id = c.registry WHERE g.bucket = b.id), 0)
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
