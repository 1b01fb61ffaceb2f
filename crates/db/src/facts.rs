//! What a decision about rights needs to know, read in the same statement as what is asked for (invariant 10).
//!
//! Guards that a registry without a public endpoint is not noticed from outside: for who asks there it is not found, here and so
//! everywhere.

use std::sync::Arc;

use roadstead_model::{Limits, RegistryName, Role};

use crate::{Db, DbError, Row, params};

/// The state of registry, repository and access key at the moment of a request.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// The registry, if one of this name lives and there is one for who asks ([`View`]).
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
    /// Goes up with each change of its settings or members.
    pub epoch: i64,
    /// It or its project has a quota of bytes.
    pub limited: bool,
}

/// An access key and what whom it belongs to may do.
#[derive(Clone, Debug, Default)]
pub struct KeyFacts {
    /// Neither revoked nor expired, nor its owner barred or disabled.
    pub living: bool,
    /// It belongs to a system administrator.
    pub administrator: bool,
    /// The role of the person it belongs to on the registry that was asked for: the stronger of those there and on its project.
    pub role: Option<Role>,
    /// It belongs to a robot: all that it may do in that registry, which is nothing in another project's.
    pub limits: Option<Arc<Limits>>,
}

/// Which registries there are for who asks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum View<'a> {
    /// On a public listener: those whose public endpoint is on.
    #[default]
    Public,
    /// On a private one: all.
    Private,
    /// On a private one, under the host name of one registry: that with this random id.
    PrivateHost(&'a str),
}

impl View<'_> {
    /// As statements take it.
    fn word(&self) -> &str {
        match self {
            Self::Public => "",
            Self::Private => "*",
            Self::PrivateHost(id) => id,
        }
    }

    /// Whether registries without a public endpoint are among them.
    pub fn is_private(&self) -> bool {
        *self != Self::Public
    }
}

/// Who asks for something, and from where.
#[derive(Clone, Copy, Debug, Default)]
pub struct Asker<'a> {
    /// The row of the access key that the request came with.
    pub key: Option<i64>,
    /// What there is for it.
    pub view: View<'a>,
}

impl Asker<'_> {
    /// Whoever was let through already; in management that is by whichever listener.
    pub const LET_THROUGH: Asker<'static> = Asker { key: None, view: View::Private };

    pub(crate) fn word(&self) -> &str {
        self.view.word()
    }
}

/// From outside.
impl From<Option<i64>> for Asker<'_> {
    fn from(key: Option<i64>) -> Self {
        Self { key, view: View::Public }
    }
}

/// The tables that facts are read from, and these.
macro_rules! fact_tables {
    ($($more:literal),*) => {
        const { $crate::sqlite::Tables::of(&["registry", "repository", "access_key", "person", "robot", "member" $(, $more)*]) }
    };
}
pub(crate) use fact_tables;

/// The columns that [`Stored::from_row`] reads, and the joins that give them: `$1` registry name, `$2` repository name,
/// `$3` row of the access key or NULL, `$4` the [`View`]. The row `one` makes the statement answer even when nothing exists.
macro_rules! facts_sql {
    ($columns:literal, $joins:literal, $rest:literal) => {
        concat!(
            "SELECT g.id, g.bucket, g.public_pull, g.epoch, r.id, ",
            "k.id, (k.revoked IS NOT NULL OR COALESCE(p.barred OR p.disabled, rb.disabled, TRUE)), k.expires, ",
            "COALESCE(p.administrator, FALSE), {now}, mp.role, mr.role, k.limits, rb.project, g.project, g.limited",
            $columns,
            " FROM (SELECT 1 AS one) AS o",
            " LEFT JOIN registry g ON g.name = $1 AND g.deletion IS NULL",
            " AND CASE $4 WHEN '' THEN g.public_endpoint WHEN '*' THEN TRUE ELSE g.private_id = $4 END",
            " LEFT JOIN repository r ON r.registry = g.id AND r.name = $2 AND r.deletion IS NULL",
            " LEFT JOIN access_key k ON k.id = $3",
            " LEFT JOIN person p ON p.id = k.person",
            " LEFT JOIN robot rb ON rb.id = k.robot",
            " LEFT JOIN member mp ON mp.project = g.project AND mp.person = k.person AND mp.registry IS NULL",
            " LEFT JOIN member mr ON mr.registry = g.id AND mr.person = k.person",
            $joins,
            $rest
        )
    };
}
pub(crate) use facts_sql;

/// How many columns the facts take; what a statement adds starts here.
pub(crate) const WIDTH: usize = 16;

/// Facts as they are stored: what they mean depends on the time.
pub(crate) struct Stored {
    registry: Option<RegistryFacts>,
    repository: Option<i64>,
    key: Option<StoredKey>,
    /// When they were read.
    pub(crate) read: i64,
}

struct StoredKey {
    /// Revoked, or its owner may not use it.
    ended: bool,
    expires: Option<i64>,
    administrator: bool,
    role: Option<Role>,
    limits: Option<Arc<Limits>>,
}

impl Stored {
    pub(crate) fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        let registry = match row.get::<Option<i64>>(0)? {
            Some(id) => Some(RegistryFacts {
                id,
                bucket: row.get(1)?,
                public_pull: row.get(2)?,
                epoch: row.get(3)?,
                limited: row.get(15)?,
            }),
            None => None,
        };
        let key = match row.get::<Option<i64>>(5)? {
            Some(_) => Some(StoredKey {
                ended: row.get(6)?,
                expires: row.get(7)?,
                administrator: row.get(8)?,
                role: role(row, 10)?.max(role(row, 11)?),
                limits: limits(row)?,
            }),
            None => None,
        };
        Ok(Self { registry, repository: row.get(4)?, key, read: row.get(9)? })
    }

    /// At this time of the database's clock.
    pub(crate) fn at(&self, now: i64) -> Facts {
        let key = self.key.as_ref().map(|key| KeyFacts {
            living: !key.ended && key.expires.is_none_or(|expires| expires > now),
            administrator: key.administrator,
            role: key.role,
            limits: key.limits.clone(),
        });
        Facts { registry: self.registry.clone(), repository: self.repository, key, now }
    }
}

fn role(row: &Row<'_>, column: usize) -> Result<Option<Role>, DbError> {
    let Some(name) = row.get::<Option<String>>(column)? else { return Ok(None) };
    name.parse().map(Some).map_err(|_| DbError::Internal(format!("{name:?} is stored as a role")))
}

/// Those of a robot's key, where the registry is of the robot's project.
fn limits(row: &Row<'_>) -> Result<Option<Arc<Limits>>, DbError> {
    let Some(project) = row.get::<Option<i64>>(13)? else { return Ok(None) };
    let here = row.get::<Option<i64>>(14)? == Some(project);
    let Some(text) = row.get::<Option<String>>(12)?.filter(|_| here) else { return Ok(Some(Arc::default())) };
    let limits = text.parse().map_err(|error| DbError::Internal(format!("the limits of a key: {error}")))?;
    Ok(Some(Arc::new(limits)))
}

/// The facts of a registry and a key.
pub async fn of_registry(db: &Db, registry: &RegistryName, asker: Asker<'_>) -> Result<Facts, DbError> {
    let (found, clock) = db
        .recall(
            fact_tables!(),
            facts_sql!("", "", ""),
            params![registry.as_str(), "", asker.key, asker.word()],
            Stored::from_row,
        )
        .await?;
    Ok(found.map_or_else(Facts::default, |found| found.at(clock.unwrap_or(found.read))))
}

/// The facts of an access key alone, for operations that are about no place.
pub async fn of_key(db: &Db, key: i64) -> Result<Option<KeyFacts>, DbError> {
    let (found, clock) =
        db.recall(fact_tables!(), facts_sql!("", "", ""), params!["", "", key, ""], Stored::from_row).await?;
    Ok(found.and_then(|found| found.at(clock.unwrap_or(found.read)).key))
}

/// Who asks for something in the management of a region.
#[derive(Clone, Copy, Debug)]
pub enum Who {
    /// Somebody with this access key.
    Key(i64),
    /// A person with a session.
    Person(i64),
    /// Anyone, where the region is open: as a system administrator.
    Anyone,
}

/// What a decision about management needs to know: a project and a registry that were named, and who asks.
#[derive(Clone, Debug, Default)]
pub struct ManagementFacts {
    /// Who asks, with the role of that person in the project or registry that was named. Of a session it says what a key would.
    pub key: Option<KeyFacts>,
    /// Row of the person; `None`: a robot, or anyone.
    pub person: Option<i64>,
    /// The name of the person, or `PROJECT/ROBOT`.
    pub owner: String,
    /// Row of the project, if there is one of this name; of a registry its own.
    pub project: Option<i64>,
    /// Row of the registry, if one of this name lives, or lies in the trash where that was asked for too.
    pub registry: Option<i64>,
}

/// The facts of who asks on a project (`registry` empty), on a registry (`project` empty; with `trash` also one in the trash), or alone.
pub async fn of_management(
    db: &Db,
    who: Who,
    project: &str,
    registry: &str,
    trash: bool,
) -> Result<ManagementFacts, DbError> {
    let (key, person) = match who {
        Who::Key(key) => (Some(key), None),
        Who::Person(person) => (None, Some(person)),
        Who::Anyone => (None, None),
    };
    let found = db
        .query_opt(
            "SELECT k.id, (k.revoked IS NOT NULL OR (k.expires IS NOT NULL AND k.expires <= {now}) OR COALESCE(p.barred, FALSE)),
             COALESCE(p.disabled, b.disabled, TRUE), COALESCE(p.administrator, FALSE), mp.role, mr.role, p.id,
             COALESCE(p.name, bj.name || '/' || b.name, ''), j.id, g.id
             FROM (SELECT 1 AS one) AS o
             LEFT JOIN registry g ON g.name = $3 AND (g.deletion IS NULL OR CAST($5 AS BOOLEAN))
             LEFT JOIN project j ON j.name = $2 OR j.id = g.project
             LEFT JOIN access_key k ON k.id = $1
             LEFT JOIN person p ON p.id = COALESCE(k.person, $4)
             LEFT JOIN robot b ON b.id = k.robot
             LEFT JOIN project bj ON bj.id = b.project
             LEFT JOIN member mp ON mp.project = j.id AND mp.person = p.id AND mp.registry IS NULL
             LEFT JOIN member mr ON mr.registry = g.id AND mr.person = p.id",
            params![key, project, registry, person, trash],
            |row| {
                let has_key = row.get::<Option<i64>>(0)?.is_some();
                let ended = has_key && row.get::<bool>(1)?;
                let person = row.get::<Option<i64>>(6)?;
                let key = KeyFacts {
                    living: !ended && !row.get::<bool>(2)?,
                    administrator: row.get(3)?,
                    role: role(row, 4)?.max(role(row, 5)?),
                    limits: person.is_none().then(Arc::default),
                };
                let key = match who {
                    Who::Key(_) => Some(key).filter(|_| has_key),
                    Who::Person(_) => Some(key).filter(|_| person.is_some()),
                    Who::Anyone => Some(KeyFacts { living: true, administrator: true, ..KeyFacts::default() }),
                };
                Ok(ManagementFacts {
                    key,
                    person,
                    owner: row.get(7)?,
                    project: row.get(8)?,
                    registry: row.get(9)?,
                })
            },
        )
        .await?;
    Ok(found.unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_remembered_expires_all_the_same() {
        let key = |ended| Some(StoredKey { ended, expires: Some(7), administrator: false, role: None, limits: None });
        let living = |ended, now| {
            let stored = Stored { registry: None, repository: None, key: key(ended), read: 0 };
            stored.at(now).key.is_some_and(|key| key.living)
        };
        assert!(living(false, 6) && !living(false, 7) && !living(true, 6));
    }
}
