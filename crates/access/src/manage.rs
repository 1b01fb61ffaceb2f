//! Who may manage what: the decision of every operation of the management API, and what goes wrong in them.
//!
//! As [`decide`](crate::decide) for `/v2`: asked with facts that were read for this very request, and denied looks like missing to those
//! who may not even see.

use roadstead_db::{
    Db, DbError,
    facts::{self, ManagementFacts, Who},
};

use roadstead_model::{ProjectName, RegistryName};

use crate::{
    caller::{Caller, Presented},
    matrix::{Right, Standing},
};

/// What an operation is about.
#[derive(Clone, Copy, Debug)]
pub enum Subject<'a> {
    /// The region itself: people, projects, settings.
    Region,
    /// A project, by name.
    Project(&'a str),
    /// A registry, by name.
    Registry(&'a str),
    /// A registry, by name, also one in the trash.
    AnyRegistry(&'a str),
}

/// Why an operation of the management API is not carried out.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ManageError {
    /// 401: sign in first.
    #[error("sign in with the id and secret of an access key")]
    Unauthenticated,
    /// 403: known, and not allowed.
    #[error("you do not have the right to do this")]
    Denied,
    /// 404: there is no such thing, or it is kept from this caller.
    #[error("there is no such {0}")]
    Missing(&'static str),
    /// 404: the registry lies in the trash, and the caller may know that.
    #[error("the registry lies in the trash: restore it first")]
    InTrash,
    /// 409: the name is taken.
    #[error("there is a {0} of this name already")]
    Taken(&'static str),
    /// 409: something is in the way; the text says what.
    #[error("{0}")]
    InTheWay(String),
    /// 412: it was changed by somebody else since it was read.
    #[error("it has been changed since you read it: read it again, and decide anew")]
    Stale,
    /// 422: what was given is not right; the text says what would be.
    #[error("{0}")]
    Invalid(String),
    /// 503: the database failed. The text is for the log.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A caller who may do what was asked.
#[derive(Clone, Debug)]
pub struct Manager {
    /// The name of the person, or `PROJECT/ROBOT`.
    pub name: String,
    /// The row of the person.
    pub person: Option<i64>,
    /// A system administrator.
    pub administrator: bool,
    /// The row of the project that was named, or of the registry's.
    pub project: Option<i64>,
    /// The row of the registry that was named.
    pub registry: Option<i64>,
}

/// Whether this caller may do this now: **the** decision of management.
///
/// # Errors
/// `Unauthenticated`, `Denied`, `Missing`, `InTrash`, `Database`.
pub async fn manage(db: &Db, caller: &Caller, right: Right, subject: Subject<'_>) -> Result<Manager, ManageError> {
    // What can't be a name is not sent to the database, which would refuse some of it.
    let (project, registry) = match subject {
        Subject::Region => ("", ""),
        Subject::Project(name) => (name.parse::<ProjectName>().map_or("", |_| name), ""),
        Subject::Registry(name) | Subject::AnyRegistry(name) => ("", name.parse::<RegistryName>().map_or("", |_| name)),
    };
    let trash = matches!(subject, Subject::AnyRegistry(_));
    let who = match (caller.presented(), caller.key(), caller.person()) {
        (Presented::Basic, Some(key), _) => Who::Key(key),
        (Presented::Session, _, Some(person)) => Who::Person(person),
        (Presented::Open, ..) => Who::Anyone,
        // It was made for pulls and pushes of what it names, and is handed to machines that shall do nothing else.
        (Presented::Token, Some(_), _) => return Err(ManageError::Denied),
        _ => return Err(ManageError::Unauthenticated),
    };
    let facts = facts::of_management(db, who, project, registry, trash).await?;
    match judge(right, subject, &facts) {
        Ok(()) => {}
        Err(ManageError::Missing(_))
            if matches!(subject, Subject::Registry(_)) && sees_in_trash(db, who, registry).await? =>
        {
            return Err(ManageError::InTrash);
        }
        Err(error) => return Err(error),
    }
    let administrator = facts.key.is_some_and(|key| key.administrator);
    Ok(Manager {
        name: facts.owner,
        person: facts.person,
        administrator,
        project: facts.project,
        registry: facts.registry,
    })
}

/// Whether the caller sees a registry of this name in the trash.
async fn sees_in_trash(db: &Db, who: Who, registry: &str) -> Result<bool, DbError> {
    let facts = facts::of_management(db, who, "", registry, true).await?;
    Ok(judge(Right::See, Subject::AnyRegistry(registry), &facts).is_ok())
}

fn judge(right: Right, subject: Subject<'_>, facts: &ManagementFacts) -> Result<(), ManageError> {
    let key = facts.key.as_ref().filter(|key| key.living).ok_or(ManageError::Unauthenticated)?;
    let has = |right: Right| {
        let role = key.role.is_some_and(|role| Standing::Role(role).has(right));
        // Robots push and pull; they manage nothing.
        key.limits.is_none() && (role || (key.administrator && Standing::Administrator.has(right)))
    };
    let (there, what) = match subject {
        // One's own is everybody's for themselves, and needs no role.
        Subject::Region if right == Right::Own && key.limits.is_none() => return Ok(()),
        Subject::Region => (true, ""),
        Subject::Project(_) => (facts.project.is_some(), "project"),
        Subject::Registry(_) | Subject::AnyRegistry(_) => (facts.registry.is_some(), "registry"),
    };
    match (there, has(right)) {
        (true, true) => Ok(()),
        (true, false) if matches!(subject, Subject::Region) || has(Right::See) => Err(ManageError::Denied),
        _ => Err(ManageError::Missing(what)),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use roadstead_db::facts::KeyFacts;
    use roadstead_model::Role;

    use super::*;

    fn facts(who: &str, there: bool) -> ManagementFacts {
        let key = match who {
            "administrator" => KeyFacts { administrator: true, ..KeyFacts::default() },
            "robot" => KeyFacts { limits: Some(Arc::default()), ..KeyFacts::default() },
            role => KeyFacts { role: role.parse::<Role>().ok().filter(|_| there), ..KeyFacts::default() },
        };
        let row = there.then_some(1);
        let key = Some(KeyFacts { living: who != "dead", ..key });
        ManagementFacts { key, person: Some(1), owner: who.to_owned(), project: row, registry: row }
    }

    /// Each row for each caller: `y` is yes, `4` is missing, `3` is denied, `1` is not signed in.
    #[test]
    fn cell_by_cell() {
        let whos = ["manager", "uploader", "viewer", "nobody", "robot", "administrator", "dead"];
        let line = |right: Right, subject: Subject<'_>, there: bool| {
            let cell = |who: &&str| match judge(right, subject, &facts(who, there)) {
                Ok(()) => 'y',
                Err(ManageError::Denied) => '3',
                Err(ManageError::Missing(_)) => '4',
                Err(_) => '1',
            };
            whos.iter().map(cell).collect::<String>()
        };
        for subject in [Subject::Project("p"), Subject::Registry("r")] {
            for (right, expected) in [
                (Right::See, "yyy44y1"),
                (Right::ChangeRegistries, "y3344y1"),
                (Right::SeeImages, "yyy44y1"),
                (Right::Push, "yy344y1"),
                (Right::ChangeImages, "y3344y1"),
                (Right::Policies, "y3344y1"),
                (Right::Deliveries, "y3344y1"),
                (Right::Scans, "y3344y1"),
                (Right::Collect, "y3344y1"),
                (Right::Members, "y3344y1"),
                (Right::Audit, "y3344y1"),
                (Right::System, "33344y1"),
            ] {
                assert_eq!(line(right, subject, true), expected, "{right:?} {subject:?}");
                assert_eq!(line(right, subject, false), "4444441", "{right:?} {subject:?}, which is not there");
            }
        }
        assert_eq!(line(Right::System, Subject::Region, true), "33333y1");
        assert_eq!(line(Right::Own, Subject::Region, true), "yyyy3y1");
    }
}
