//! People, whom a provider means by them, projects, members and robots: made, changed, taken away, each with its line in the audit log.

pub(crate) mod hold;
mod identities;
mod members;
mod projects;
mod robots;

use roadstead_db::{
    Db, Tx,
    audit::{self, By},
    person::{self, NewPerson, Person},
    project::{self, Project},
};
use roadstead_model::{PersonName, ProjectName};
use serde_json::{Value, json};

pub use self::{members::RoleIn, robots::RobotChange};
use crate::manage::ManageError;

/// The longest description of a project or robot, and the longest name that people call a person, in characters.
const MAX_WORDS: usize = 200;
/// What the audit log calls who runs commands on the machine, and anyone where the region is open.
pub(crate) const RESERVED: [&str; 2] = [crate::OPERATOR, "anyone"];
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

async fn hold_project(tx: &mut Tx<'_>, name: &ProjectName) -> Result<Project, ManageError> {
    project::hold(tx, name).await?.ok_or(ManageError::Missing("project"))
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

pub(crate) fn check_words(what: &str, words: &str) -> Result<(), ManageError> {
    if words.chars().count() > MAX_WORDS || words.chars().any(char::is_control) {
        return Err(ManageError::Invalid(format!("{what} has at most {MAX_WORDS} characters, all on one line")));
    }
    Ok(())
}
