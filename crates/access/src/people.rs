//! People, projects, members and robots: made, changed, taken away, each with its line in the audit log.

use roadstead_db::{
    Db, DbError, Tx,
    audit::{self, By},
    member::{self, In, Member},
    person::{self, NewPerson, Person},
    project::{self, Project},
    registry,
    robot::{self, Robot},
};
use roadstead_model::{PersonName, ProjectName, RegistryName, Role};
use serde_json::{Value, json};

use crate::manage::ManageError;

/// The longest description of a project or robot, and the longest name that people call a person, in characters.
const MAX_WORDS: usize = 200;
/// What the audit log calls who runs commands on the machine, and anyone where the region is open.
const RESERVED: [&str; 2] = [crate::OPERATOR, "anyone"];
/// The longest address of mail, in bytes (RFC 5321, 4.5.3.1.3).
const MAX_EMAIL: usize = 254;

/// The people of a region, and what belongs to them. Rights are not looked at: that is [`manage`](crate::manage::manage).
#[derive(Clone)]
pub struct People {
    db: Db,
}

/// What is to change of a person; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct PersonChange {
    /// What people call them.
    pub full_name: Option<String>,
    /// Where mail reaches them.
    pub email: Option<String>,
    /// Runs the region.
    pub administrator: Option<bool>,
    /// None of their access keys works.
    pub barred: Option<bool>,
    /// They can't sign in at all.
    pub disabled: Option<bool>,
}

/// What is to change of a robot; `None` stays.
#[derive(Clone, Debug, Default)]
pub struct RobotChange {
    /// What it is for.
    pub description: Option<String>,
    /// None of its keys works.
    pub disabled: Option<bool>,
}

/// Where a role is given.
#[derive(Clone, Debug)]
pub enum RoleIn {
    /// In a project.
    Project(ProjectName),
    /// In one registry.
    Registry(RegistryName),
}

impl People {
    /// The people in this database.
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// People by name, after `after`.
    pub async fn list(&self, after: &str, limit: usize) -> Result<Vec<Person>, ManageError> {
        Ok(person::list(&self.db, after, rows(limit)).await?)
    }

    /// One person.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn show(&self, name: &PersonName) -> Result<Person, ManageError> {
        person::show(&self.db, name.as_str()).await?.ok_or(ManageError::Missing("person"))
    }

    /// Makes a person.
    ///
    /// # Errors
    /// `Taken`, `Invalid`.
    pub async fn create(&self, name: &PersonName, change: PersonChange, by: &By) -> Result<Person, ManageError> {
        check_person(&change)?;
        if RESERVED.contains(&name.as_str()) {
            return Err(ManageError::Invalid(format!(
                "nobody is called {name}: the audit log means something else by it"
            )));
        }
        let new = NewPerson {
            name: name.to_string(),
            full_name: change.full_name.unwrap_or_default(),
            email: change.email.unwrap_or_default(),
            administrator: change.administrator.unwrap_or_default(),
            password: None,
        };
        let input = (new, by.clone());
        self.db
            .write(input, |tx, (new, by)| {
                Box::pin(async move {
                    let after =
                        json!({"full_name": new.full_name, "email": new.email, "administrator": new.administrator});
                    let made = person::insert(tx, new, by, &after.to_string()).await?;
                    made.map(drop).ok_or(ManageError::Taken("person"))
                })
            })
            .await?;
        self.show(name).await
    }

    /// Changes a person, if their epoch is still `expected` where one is given.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`; `InTheWay` for the last system administrator.
    pub async fn change(
        &self,
        name: &PersonName,
        expected: Option<i64>,
        change: PersonChange,
        by: &By,
    ) -> Result<Person, ManageError> {
        check_person(&change)?;
        let input = (name.clone(), expected, change, by.clone());
        self.db
            .write(input, |tx, (name, expected, change, by)| {
                Box::pin(async move {
                    let mut person = lock_person(tx, name, *expected).await?;
                    let before = words_of_person(&person);
                    let was_in_charge = person.is_in_charge();
                    let PersonChange { full_name, email, administrator, barred, disabled } = change.clone();
                    person.full_name = full_name.unwrap_or(person.full_name);
                    person.email = email.unwrap_or(person.email);
                    person.administrator = administrator.unwrap_or(person.administrator);
                    person.barred = barred.unwrap_or(person.barred);
                    person.disabled = disabled.unwrap_or(person.disabled);
                    if was_in_charge && !person.is_in_charge() {
                        keep_an_administrator(tx, &person).await?;
                    }
                    person::update(tx, &person).await?;
                    if person.disabled {
                        person::sign_out(tx, person.id).await?;
                    }
                    person.epoch += 1;
                    let after = words_of_person(&person);
                    record(tx, by, "person.change", name.as_str(), Some(&before), Some(&after)).await?;
                    Ok(person)
                })
            })
            .await
    }

    /// Forgets a person, with their keys, roles and sessions.
    ///
    /// # Errors
    /// `Missing`, `Stale`; `InTheWay` for the last system administrator.
    pub async fn remove(&self, name: &PersonName, expected: Option<i64>, by: &By) -> Result<(), ManageError> {
        let input = (name.clone(), expected, by.clone());
        self.db
            .write(input, |tx, (name, expected, by)| {
                Box::pin(async move {
                    let person = lock_person(tx, name, *expected).await?;
                    if person.is_in_charge() {
                        keep_an_administrator(tx, &person).await?;
                    }
                    person::remove(tx, person.id).await?;
                    record(tx, by, "person.remove", name.as_str(), Some(&words_of_person(&person)), None).await
                })
            })
            .await
    }

    /// Projects by name, after `after`; of a person's row only those in which they have a role.
    pub async fn projects(&self, person: Option<i64>, after: &str, limit: usize) -> Result<Vec<Project>, ManageError> {
        Ok(project::list(&self.db, person, after, rows(limit)).await?)
    }

    /// One project.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn project(&self, name: &ProjectName) -> Result<Project, ManageError> {
        project::show(&self.db, name).await?.ok_or(ManageError::Missing("project"))
    }

    /// Makes a project.
    ///
    /// # Errors
    /// `Taken`, `Invalid`.
    pub async fn create_project(&self, name: &ProjectName, description: &str, by: &By) -> Result<Project, ManageError> {
        check_words("the description of a project", description)?;
        let input = (name.clone(), description.to_owned(), by.clone());
        self.db
            .write(input, |tx, (name, description, by)| {
                Box::pin(async move {
                    let made = project::insert(tx, name, description, by).await?;
                    made.map(drop).ok_or(ManageError::Taken("project"))
                })
            })
            .await?;
        self.project(name).await
    }

    /// Changes the description of a project.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`.
    pub async fn change_project(
        &self,
        name: &ProjectName,
        expected: Option<i64>,
        description: &str,
        by: &By,
    ) -> Result<Project, ManageError> {
        check_words("the description of a project", description)?;
        let input = (name.clone(), expected, description.to_owned(), by.clone());
        self.db
            .write(input, |tx, (name, expected, description, by)| {
                Box::pin(async move {
                    let project = project::lock(tx, name).await?.ok_or(ManageError::Missing("project"))?;
                    fresh(*expected, project.epoch)?;
                    project::update(tx, project.id, description).await?;
                    let (before, after) =
                        (json!({"description": project.description}), json!({"description": description}));
                    record(tx, by, "project.change", name.as_str(), Some(&before), Some(&after)).await?;
                    Ok(Project { description: description.clone(), epoch: project.epoch + 1, ..project })
                })
            })
            .await
    }

    /// Forgets a project without registries, with its members and robots.
    ///
    /// # Errors
    /// `Missing`; `InTheWay` while it has a registry, also one in the trash.
    pub async fn remove_project(&self, name: &ProjectName, by: &By) -> Result<(), ManageError> {
        let input = (name.clone(), by.clone());
        self.db
            .write(input, |tx, (name, by)| {
                Box::pin(async move {
                    let project = hold_project(tx, name).await?;
                    match project::remove(tx, project.id).await {
                        Err(DbError::ForeignKey) => {
                            let words = "the project still has registries (perhaps in the trash): delete them first";
                            return Err(ManageError::InTheWay(words.to_owned()));
                        }
                        removed => removed?,
                    }
                    record(tx, by, "project.remove", name.as_str(), None, None).await
                })
            })
            .await
    }

    /// Members by name, after `after`.
    pub async fn members(&self, place: In, after: &str, limit: usize) -> Result<Vec<Member>, ManageError> {
        Ok(member::list(&self.db, place, after, rows(limit)).await?)
    }

    /// Gives a person a role, instead of the one they had there. Gives back whether they had none.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn set_role(&self, place: RoleIn, person: &PersonName, role: Role, by: &By) -> Result<bool, ManageError> {
        let input = (place, person.clone(), role, by.clone());
        self.db
            .write(input, |tx, (place, name, role, by)| {
                Box::pin(async move {
                    let (rows, object) = hold_place(tx, place, name).await?;
                    let person = lock_person(tx, name, None).await?.id;
                    let had = member::find(tx, rows, person).await?;
                    member::set(tx, rows, person, *role).await?;
                    let words = |role: Role| json!({"role": role.name()});
                    record(tx, by, "member.set", &object, had.map(words).as_ref(), Some(&words(*role))).await?;
                    Ok(had.is_none())
                })
            })
            .await
    }

    /// Takes a person's role away.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn remove_role(&self, place: RoleIn, person: &PersonName, by: &By) -> Result<(), ManageError> {
        let input = (place, person.clone(), by.clone());
        self.db
            .write(input, |tx, (place, name, by)| {
                Box::pin(async move {
                    let (rows, object) = hold_place(tx, place, name).await?;
                    let missing = || ManageError::Missing("member");
                    let person = person::lock(tx, name.as_str()).await?.ok_or_else(missing)?.id;
                    let had = member::find(tx, rows, person).await?.ok_or_else(missing)?;
                    member::remove(tx, rows, person).await?;
                    record(tx, by, "member.remove", &object, Some(&json!({"role": had.name()})), None).await
                })
            })
            .await
    }

    /// Robots of a project by name, after `after`.
    pub async fn robots(&self, project: i64, after: &str, limit: usize) -> Result<Vec<Robot>, ManageError> {
        Ok(robot::list(&self.db, project, after, rows(limit)).await?)
    }

    /// One robot of a project.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn robot(&self, project: i64, name: &PersonName) -> Result<Robot, ManageError> {
        robot::show(&self.db, project, name.as_str()).await?.ok_or(ManageError::Missing("robot"))
    }

    /// Makes a robot. It can do nothing before it has a key.
    ///
    /// # Errors
    /// `Missing`, `Taken`, `Invalid`.
    pub async fn create_robot(
        &self,
        project: &ProjectName,
        name: &PersonName,
        description: &str,
        by: &By,
    ) -> Result<Robot, ManageError> {
        check_words("the description of a robot", description)?;
        let input = (project.clone(), name.clone(), description.to_owned(), by.clone());
        let project = self
            .db
            .write(input, |tx, (project, name, description, by)| {
                Box::pin(async move {
                    let held = hold_project(tx, project).await?;
                    let made = robot::insert(tx, held.id, name.as_str(), description).await?;
                    made.ok_or(ManageError::Taken("robot"))?;
                    let after = json!({"description": description});
                    record(tx, by, "robot.create", &format!("{project}/{name}"), None, Some(&after)).await?;
                    Ok::<_, ManageError>(held.id)
                })
            })
            .await?;
        self.robot(project, name).await
    }

    /// Changes a robot.
    ///
    /// # Errors
    /// `Missing`, `Stale`, `Invalid`.
    pub async fn change_robot(
        &self,
        project: &ProjectName,
        name: &PersonName,
        expected: Option<i64>,
        change: RobotChange,
        by: &By,
    ) -> Result<Robot, ManageError> {
        check_words("the description of a robot", change.description.as_deref().unwrap_or_default())?;
        let input = (project.clone(), name.clone(), expected, change, by.clone());
        self.db
            .write(input, |tx, (project, name, expected, change, by)| {
                Box::pin(async move {
                    let mut robot = lock_robot(tx, project, name).await?;
                    fresh(*expected, robot.epoch)?;
                    let words = |robot: &Robot| json!({"description": robot.description, "disabled": robot.disabled});
                    let before = words(&robot);
                    robot.description = change.description.clone().unwrap_or(robot.description);
                    robot.disabled = change.disabled.unwrap_or(robot.disabled);
                    robot::update(tx, &robot).await?;
                    robot.epoch += 1;
                    let object = format!("{project}/{name}");
                    record(tx, by, "robot.change", &object, Some(&before), Some(&words(&robot))).await?;
                    Ok(robot)
                })
            })
            .await
    }

    /// Forgets a robot, with its keys.
    ///
    /// # Errors
    /// `Missing`.
    pub async fn remove_robot(&self, project: &ProjectName, name: &PersonName, by: &By) -> Result<(), ManageError> {
        let input = (project.clone(), name.clone(), by.clone());
        self.db
            .write(input, |tx, (project, name, by)| {
                Box::pin(async move {
                    let robot = lock_robot(tx, project, name).await?;
                    robot::remove(tx, robot.id).await?;
                    record(tx, by, "robot.remove", &format!("{project}/{name}"), None, None).await
                })
            })
            .await
    }
}

fn rows(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

async fn record(
    tx: &mut Tx<'_>,
    by: &By,
    what: &str,
    object: &str,
    before: Option<&Value>,
    after: Option<&Value>,
) -> Result<(), ManageError> {
    let [before, after] = [before, after].map(|value| value.map(Value::to_string));
    Ok(audit::record(tx, by, what, object, before.as_deref(), after.as_deref()).await?)
}

fn fresh(expected: Option<i64>, epoch: i64) -> Result<(), ManageError> {
    if expected.is_none_or(|expected| expected == epoch) { Ok(()) } else { Err(ManageError::Stale) }
}

async fn lock_person(tx: &mut Tx<'_>, name: &PersonName, expected: Option<i64>) -> Result<Person, ManageError> {
    let person = person::lock(tx, name.as_str()).await?.ok_or(ManageError::Missing("person"))?;
    fresh(expected, person.epoch)?;
    Ok(person)
}

async fn lock_robot(tx: &mut Tx<'_>, project: &ProjectName, name: &PersonName) -> Result<Robot, ManageError> {
    let project = hold_project(tx, project).await?;
    robot::lock(tx, project.id, name.as_str()).await?.ok_or(ManageError::Missing("robot"))
}

async fn hold_project(tx: &mut Tx<'_>, name: &ProjectName) -> Result<Project, ManageError> {
    project::hold(tx, name).await?.ok_or(ManageError::Missing("project"))
}

/// The rows of a place, and what the audit log calls a person's role in it.
async fn hold_place(tx: &mut Tx<'_>, place: &RoleIn, person: &PersonName) -> Result<(In, String), ManageError> {
    match place {
        RoleIn::Project(name) => {
            let project = hold_project(tx, name).await?;
            Ok((In::Project(project.id), format!("project {name}: {person}")))
        }
        RoleIn::Registry(name) => {
            let found = registry::hold_by_name(tx, name).await?;
            let (registry, project) = found.ok_or(ManageError::Missing("registry"))?;
            Ok((In::Registry(project, registry), format!("registry {name}: {person}")))
        }
    }
}

/// A region without a system administrator can't be helped by anybody.
pub(crate) async fn keep_an_administrator(tx: &mut Tx<'_>, person: &Person) -> Result<(), ManageError> {
    if person::has_other_administrator(tx, person.id).await? {
        return Ok(());
    }
    let words = format!("{} is the last system administrator: make somebody else one first", person.name);
    Err(ManageError::InTheWay(words))
}

fn words_of_person(person: &Person) -> Value {
    json!({
        "full_name": person.full_name,
        "email": person.email,
        "administrator": person.administrator,
        "barred": person.barred,
        "disabled": person.disabled,
    })
}

fn check_person(change: &PersonChange) -> Result<(), ManageError> {
    check_words("the full name of a person", change.full_name.as_deref().unwrap_or_default())?;
    let Some(email) = change.email.as_deref().filter(|email| !email.is_empty()) else { return Ok(()) };
    let parts = email.split_once('@').is_some_and(|(name, host)| !name.is_empty() && !host.is_empty());
    if !parts || email.len() > MAX_EMAIL || email.chars().any(|c| c.is_whitespace() || c.is_control()) {
        let words =
            format!("{email:?} is no address of mail: it looks like name@example.com, {MAX_EMAIL} bytes at most");
        return Err(ManageError::Invalid(words));
    }
    Ok(())
}

fn check_words(what: &str, words: &str) -> Result<(), ManageError> {
    if words.chars().count() > MAX_WORDS || words.chars().any(char::is_control) {
        return Err(ManageError::Invalid(format!("{what} has at most {MAX_WORDS} characters, all on one line")));
    }
    Ok(())
}
