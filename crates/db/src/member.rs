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

/// The roles of a person in one place, by where they come from. The stronger one counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Given {
    /// Given by hand.
    pub by_hand: Option<Role>,
    /// Given by the groups that the person was in at the last sign-in.
    pub by_groups: Option<Role>,
}

impl Given {
    /// What counts.
    pub fn role(self) -> Option<Role> {
        self.by_hand.max(self.by_groups)
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
    /// Where it comes from.
    pub given: Given,
    /// Microseconds since 1970.
    pub since: i64,
}

fn member(row: &Row<'_>) -> Result<Member, DbError> {
    let role = role(row, 2)?.ok_or_else(|| DbError::Internal("a member without a role is stored".to_owned()))?;
    Ok(Member { person: row.get(0)?, full_name: row.get(1)?, role, since: row.get(3)?, given: given(row, 2, 4)? })
}

fn role(row: &Row<'_>, column: usize) -> Result<Option<Role>, DbError> {
    let Some(name) = row.get::<Option<String>>(column)? else { return Ok(None) };
    name.parse().map(Some).map_err(|_| DbError::Internal(format!("{name:?} is stored as a role")))
}

/// Of the columns `role`, and `by_hand` and `by_groups` one after the other: where there is none of groups, the role is by hand.
fn given(row: &Row<'_>, own: usize, both: usize) -> Result<Given, DbError> {
    let by_groups = role(row, both + 1)?;
    let by_hand = role(row, if by_groups.is_some() { both } else { own })?;
    Ok(Given { by_hand, by_groups })
}

/// Members by the name of the person, after `after`, at most `limit`.
pub async fn list(db: &Db, place: In, after: &str, limit: i64) -> Result<Vec<Member>, DbError> {
    match place {
        In::Project(project) => {
            const OF_PROJECT: &str =
                "SELECT p.name, p.full_name, m.role, m.since, m.by_hand, m.by_groups FROM member m JOIN person p ON p.id = m.person
                WHERE m.project = $1 AND m.registry IS NULL AND p.name > $2 ORDER BY p.name LIMIT $3";
            db.list(OF_PROJECT, params![project, after, limit], member).await
        }
        In::Registry(_, registry) => {
            const OF_REGISTRY: &str =
                "SELECT p.name, p.full_name, m.role, m.since, m.by_hand, m.by_groups FROM member m JOIN person p ON p.id = m.person
                WHERE m.registry = $1 AND p.name > $2 ORDER BY p.name LIMIT $3";
            db.list(OF_REGISTRY, params![registry, after, limit], member).await
        }
    }
}

/// The roles that a person, who is locked, has in just this place.
pub async fn find(tx: &mut Tx<'_>, place: In, person: i64) -> Result<Given, DbError> {
    let (project, registry) = place.rows();
    let found = tx
        .query_opt(
            "SELECT role, by_hand, by_groups FROM member WHERE project = $1 AND person = $3
             AND (registry = $2 OR (registry IS NULL AND CAST($2 AS BIGINT) IS NULL)) {for_update}",
            params![project, registry, person],
            |row| given(row, 0, 1),
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// Where groups have given a person, who is locked, a role, and all that they have there.
pub async fn by_groups(tx: &mut Tx<'_>, person: i64) -> Result<Vec<(In, Given)>, DbError> {
    tx.query(
        "SELECT role, by_hand, by_groups, project, registry FROM member WHERE person = $1 AND by_groups IS NOT NULL ORDER BY id {for_update}",
        params![person],
        |row| {
            let project = row.get(3)?;
            let place = row.get::<Option<i64>>(4)?.map_or(In::Project(project), |registry| In::Registry(project, registry));
            Ok((place, given(row, 0, 1)?))
        },
    )
    .await
}

/// What people call a place: `project NAME` or `registry NAME`.
pub async fn place_name(tx: &mut Tx<'_>, place: In) -> Result<String, DbError> {
    let (project, registry) = place.rows();
    tx.query_one(
        "SELECT j.name, g.name FROM project j LEFT JOIN registry g ON g.id = $2 WHERE j.id = $1",
        params![project, registry],
        |row| {
            let registry = row.get::<Option<String>>(1)?.map(|name| format!("registry {name}"));
            Ok(registry.unwrap_or(format!("project {}", row.get::<String>(0)?)))
        },
    )
    .await
}

/// Writes the roles of a person, who is locked, in a place, instead of those that there were.
pub async fn write(tx: &mut Tx<'_>, place: In, person: i64, given: Given) -> Result<(), DbError> {
    let (project, registry) = place.rows();
    let [role, by_hand, by_groups] =
        [given.role(), given.by_hand, given.by_groups].map(|role| role.map(|role: Role| role.name()));
    match place {
        _ if role.is_none() => {
            const NONE: &str = "DELETE FROM member WHERE project = $1 AND person = $3
                AND (registry = $2 OR (registry IS NULL AND CAST($2 AS BIGINT) IS NULL))";
            tx.execute(NONE, params![project, registry, person]).await?;
        }
        In::Project(_) => {
            const IN_PROJECT: &str = "INSERT INTO member (project, person, role, by_hand, by_groups, since) VALUES ($1, $2, $3, $4, $5, {now})
                ON CONFLICT (project, person) WHERE registry IS NULL DO UPDATE SET role = excluded.role, by_hand = excluded.by_hand,
                by_groups = excluded.by_groups, since = excluded.since";
            tx.execute(IN_PROJECT, params![project, person, role, by_hand, by_groups]).await?;
        }
        In::Registry(..) => {
            const IN_REGISTRY: &str = "INSERT INTO member (project, registry, person, role, by_hand, by_groups, since)
                VALUES ($1, $2, $3, $4, $5, $6, {now})
                ON CONFLICT (registry, person) WHERE registry IS NOT NULL DO UPDATE SET role = excluded.role, by_hand = excluded.by_hand,
                by_groups = excluded.by_groups, since = excluded.since";
            tx.execute(IN_REGISTRY, params![project, registry, person, role, by_hand, by_groups]).await?;
        }
    }
    Ok(())
}

/// Gives a person, who is locked, a role by hand, instead of the one that there was.
pub async fn set(tx: &mut Tx<'_>, place: In, person: i64, role: Role) -> Result<(), DbError> {
    let given = find(tx, place, person).await?;
    write(tx, place, person, Given { by_hand: Some(role), ..given }).await
}

/// Takes a role that was given by hand away. False: there was none.
pub async fn remove(tx: &mut Tx<'_>, place: In, person: i64) -> Result<bool, DbError> {
    let given = find(tx, place, person).await?;
    write(tx, place, person, Given { by_hand: None, ..given }).await?;
    Ok(given.by_hand.is_some())
}
