//! What a decision about rights needs to know, read in the same statement as what is asked for (invariant 10).

use crate::{Db, DbError, Row, params};

/// The state of registry, repository and access key at the moment of a request.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The registry, if one of this name lives.
    pub registry: Option<RegistryFacts>,
    /// The row of the repository, if one of this name lives in it.
    pub repository: Option<i64>,
    /// The access key that the request came with, if it came with one.
    pub key: Option<KeyFacts>,
}

/// A living registry.
#[derive(Clone, Debug)]
pub struct RegistryFacts {
    /// Its row.
    pub id: i64,
    /// The row of its bucket.
    pub bucket: i64,
    /// Anyone may pull.
    pub public_pull: bool,
    /// It answers on public listeners.
    pub public_endpoint: bool,
    /// Goes up with each change of its settings or members.
    pub epoch: i64,
}

/// An access key and whom it belongs to.
#[derive(Clone, Debug)]
pub struct KeyFacts {
    /// Neither revoked nor expired.
    pub living: bool,
    /// It belongs to a system administrator.
    pub administrator: bool,
}

/// The columns that [`Facts::from_row`] reads, and the joins that give them: `$1` registry name, `$2` repository name,
/// `$3` row of the access key or NULL. The row `one` makes the statement answer even when nothing exists.
macro_rules! facts_sql {
    ($columns:literal, $joins:literal, $rest:literal) => {
        concat!(
            "SELECT g.id, g.bucket, g.public_pull, g.public_endpoint, g.epoch, r.id, k.id, ",
            "(k.revoked IS NULL AND (k.expires IS NULL OR k.expires > {now})), p.administrator",
            $columns,
            " FROM (SELECT 1 AS one) AS o",
            " LEFT JOIN registry g ON g.name = $1 AND g.deletion IS NULL",
            " LEFT JOIN repository r ON r.registry = g.id AND r.name = $2 AND r.deletion IS NULL",
            " LEFT JOIN access_key k ON k.id = $3",
            " LEFT JOIN person p ON p.id = k.person",
            $joins,
            $rest
        )
    };
}
pub(crate) use facts_sql;

/// How many columns the facts take; what a statement adds starts here.
pub(crate) const WIDTH: usize = 9;

/// The facts of an access key alone, for operations that are about no place.
pub async fn of_key(db: &Db, key: i64) -> Result<Option<KeyFacts>, DbError> {
    db.query_opt(
        "SELECT (k.revoked IS NULL AND (k.expires IS NULL OR k.expires > {now})), p.administrator
         FROM access_key k JOIN person p ON p.id = k.person WHERE k.id = $1",
        params![key],
        |row| Ok(KeyFacts { living: row.get(0)?, administrator: row.get(1)? }),
    )
    .await
}

impl Facts {
    pub(crate) fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let registry = match row.get::<Option<i64>>(0)? {
            Some(id) => Some(RegistryFacts {
                id,
                bucket: row.get(1)?,
                public_pull: row.get(2)?,
                public_endpoint: row.get(3)?,
                epoch: row.get(4)?,
            }),
            None => None,
        };
        let key = match row.get::<Option<i64>>(6)? {
            Some(_) => Some(KeyFacts { living: row.get(7)?, administrator: row.get(8)? }),
            None => None,
        };
        Ok(Self { registry, repository: row.get(5)?, key })
    }
}
