//! Members: who has which role in a project, or in one registry of it.

use roadstead_model::Role;

use crate::{Db, DbError, Row, Tx, params};

/// Where a role is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum In {
    /// In a project, and so in all of its registries: its row.
    Project(i64),
    /// In one registry: the rows of its project and of itself.
    Registry(i64, i64),
}

impl In {
    /// The row of the project.
    pub fn project(self) -> i64 {
        self.rows().0
    }

    fn rows(self) -> (i64, Option<i64>) {
        match self {
            Self::Project(project) => (project, None),
            Self::Registry(project, registry) => (project, Some(registry)),
        }
    }
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Name of the person.
    pub person: String,
    /// What people call them.
    pub full_name: String,
    /// Their role there.
    pub role: Role,
    /// Microseconds since 1970.
    pub since: i64,
}

fn member(row: &Row<'_>) -> Result<Member, DbError> {
    Ok(Member { person: row.get(0)?, full_name: row.get(1)?, role: role(row, 2)?, since: row.get(3)? })
}

fn role(row: &Row<'_>, column: usize) -> Result<Role, DbError> {
    let name = row.get::<String>(column)?;
    name.parse().map_err(|_| DbError::Internal(format!("{name:?} is stored as a role")))
}

/// Members by the name of the person, after `after`, at most `limit`.
pub async fn list(db: &Db, place: In, after: &str, limit: i64) -> Result<Vec<Member>, DbError> {
    match place {
        In::Project(project) => {
            const OF_PROJECT: &str =
                "SELECT p.name, p.full_name, m.role, m.since FROM member m JOIN person p ON p.id = m.person
                WHERE m.project = $1 AND m.registry IS NULL AND p.name > $2 ORDER BY p.name LIMIT $3";
            db.list(OF_PROJECT, params![project, after, limit], member).await
        }
        In::Registry(_, registry) => {
            const OF_REGISTRY: &str =
                "SELECT p.name, p.full_name, m.role, m.since FROM member m JOIN person p ON p.id = m.person
                WHERE m.registry = $1 AND p.name > $2 ORDER BY p.name LIMIT $3";
            db.list(OF_REGISTRY, params![registry, after, limit], member).await
        }
    }
}

/// The role that is given to a person in just this place.
pub async fn find(tx: &mut Tx<'_>, place: In, person: i64) -> Result<Option<Role>, DbError> {
    let (project, registry) = place.rows();
    tx.query_opt(
        "SELECT role FROM member WHERE project = $1 AND person = $3
         AND (registry = $2 OR (registry IS NULL AND CAST($2 AS BIGINT) IS NULL)) {for_update}",
        params![project, registry, person],
        |row| role(row, 0),
    )
    .await
}

/// Gives a role, instead of the one that there was.
pub async fn set(tx: &mut Tx<'_>, place: In, person: i64, role: Role) -> Result<(), DbError> {
    let (project, registry) = place.rows();
    match place {
        In::Project(_) => {
            const IN_PROJECT: &str = "INSERT INTO member (project, person, role, since) VALUES ($1, $2, $3, {now})
                ON CONFLICT (project, person) WHERE registry IS NULL DO UPDATE SET role = excluded.role, since = excluded.since";
            tx.execute(IN_PROJECT, params![project, person, role.name()]).await?;
        }
        In::Registry(..) => {
            const IN_REGISTRY: &str = "INSERT INTO member (project, registry, person, role, since) VALUES ($1, $2, $3, $4, {now})
                ON CONFLICT (registry, person) WHERE registry IS NOT NULL DO UPDATE SET role = excluded.role, since = excluded.since";
            tx.execute(IN_REGISTRY, params![project, registry, person, role.name()]).await?;
        }
    }
    Ok(())
}

/// Takes a role away. False: there was none.
pub async fn remove(tx: &mut Tx<'_>, place: In, person: i64) -> Result<bool, DbError> {
    let (project, registry) = place.rows();
    let removed = tx
        .execute(
            "DELETE FROM member WHERE project = $1 AND person = $3
             AND (registry = $2 OR (registry IS NULL AND CAST($2 AS BIGINT) IS NULL))",
            params![project, registry, person],
        )
        .await?;
    Ok(removed == 1)
}
