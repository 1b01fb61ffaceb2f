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
    /// When that was so, by the database's clock, microseconds.
    pub now: i64,
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

/// The tables that facts are read from, and these.
macro_rules! fact_tables {
    ($($more:literal),*) => {
        const { $crate::sqlite::Tables::of(&["registry", "repository", "access_key", "person" $(, $more)*]) }
    };
}
pub(crate) use fact_tables;

/// The columns that [`Stored::from_row`] reads, and the joins that give them: `$1` registry name, `$2` repository name,
/// `$3` row of the access key or NULL. The row `one` makes the statement answer even when nothing exists.
macro_rules! facts_sql {
    ($columns:literal, $joins:literal, $rest:literal) => {
        concat!(
            "SELECT g.id, g.bucket, g.public_pull, g.public_endpoint, g.epoch, r.id, ",
            "k.id, k.revoked IS NOT NULL, k.expires, p.administrator, {now}",
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
pub(crate) const WIDTH: usize = 11;

/// Facts as they are stored: what they mean depends on the time.
pub(crate) struct Stored {
    registry: Option<RegistryFacts>,
    repository: Option<i64>,
    key: Option<StoredKey>,
    /// When they were read.
    pub(crate) read: i64,
}

struct StoredKey {
    revoked: bool,
    expires: Option<i64>,
    administrator: bool,
}

impl Stored {
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
            Some(_) => Some(StoredKey { revoked: row.get(7)?, expires: row.get(8)?, administrator: row.get(9)? }),
            None => None,
        };
        Ok(Self { registry, repository: row.get(5)?, key, read: row.get(10)? })
    }

    /// At this time of the database's clock.
    pub(crate) fn at(&self, now: i64) -> Facts {
        let key = self.key.as_ref().map(|key| KeyFacts {
            living: !key.revoked && key.expires.is_none_or(|expires| expires > now),
            administrator: key.administrator,
        });
        Facts { registry: self.registry.clone(), repository: self.repository, key, now }
    }
}

/// The facts of an access key alone, for operations that are about no place.
pub async fn of_key(db: &Db, key: i64) -> Result<Option<KeyFacts>, DbError> {
    let (found, clock) =
        db.recall(fact_tables!(), facts_sql!("", "", ""), params!["", "", key], Stored::from_row).await?;
    Ok(found.and_then(|found| found.at(clock.unwrap_or(found.read)).key))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_remembered_expires_all_the_same() {
        let key = |revoked| Some(StoredKey { revoked, expires: Some(7), administrator: false });
        let living = |revoked, now| {
            let stored = Stored { registry: None, repository: None, key: key(revoked), read: 0 };
            stored.at(now).key.is_some_and(|key| key.living)
        };
        assert!(living(false, 6) && !living(false, 7) && !living(true, 6));
    }
}
