//! People: who they are, and what they sign in with. Passwords come here as what argon2 made of them.

use crate::{
    Db, DbError, Row, Tx,
    audit::{self, By},
    params,
};

/// A person as lists show them. Never with the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Person {
    /// Row.
    pub id: i64,
    /// Unique in the region, fixed for good.
    pub name: String,
    /// What people call them.
    pub full_name: String,
    /// Where mail reaches them.
    pub email: String,
    /// Runs the region.
    pub administrator: bool,
    /// None of their access keys works.
    pub barred: bool,
    /// They can't sign in at all.
    pub disabled: bool,
    /// There is a password.
    pub has_password: bool,
    /// Microseconds since 1970.
    pub created: i64,
    /// Goes up with each change.
    pub epoch: i64,
}

impl Person {
    /// A system administrator who can sign in, with a key or a password.
    pub fn is_in_charge(&self) -> bool {
        self.administrator && !self.disabled && (!self.barred || self.has_password)
    }
}

macro_rules! person_sql {
    ($rest:literal) => {
        concat!(
            "SELECT p.id, p.name, p.full_name, p.email, p.administrator, p.barred, p.disabled, p.password IS NOT NULL, p.created, p.epoch ",
            "FROM person p ",
            $rest
        )
    };
}

fn person(row: &Row<'_>) -> Result<Person, DbError> {
    Ok(Person {
        id: row.get(0)?,
        name: row.get(1)?,
        full_name: row.get(2)?,
        email: row.get(3)?,
        administrator: row.get(4)?,
        barred: row.get(5)?,
        disabled: row.get(6)?,
        has_password: row.get(7)?,
        created: row.get(8)?,
        epoch: row.get(9)?,
    })
}

/// People by name, after `after`, at most `limit`.
pub async fn list(db: &Db, after: &str, limit: i64) -> Result<Vec<Person>, DbError> {
    db.list(person_sql!("WHERE p.name > $1 ORDER BY p.name LIMIT $2"), params![after, limit], person).await
}

/// One person.
pub async fn show(db: &Db, name: &str) -> Result<Option<Person>, DbError> {
    db.query_opt(person_sql!("WHERE p.name = $1"), params![name], person).await
}

/// The person of this name, held until the transaction ends, so that their keys are made one by one.
pub async fn lock(tx: &mut Tx<'_>, name: &str) -> Result<Option<Person>, DbError> {
    tx.query_opt(person_sql!("WHERE p.name = $1 {for_update}"), params![name], person).await
}

/// Whom to make.
#[derive(Clone, Debug)]
pub struct NewPerson {
    /// Unique in the region.
    pub name: String,
    /// What people call them.
    pub full_name: String,
    /// Where mail reaches them.
    pub email: String,
    /// Runs the region.
    pub administrator: bool,
    /// What argon2 made of the password.
    pub password: Option<String>,
}

/// Makes a person. `None`: the name is taken.
pub async fn insert(tx: &mut Tx<'_>, new: &NewPerson, by: &By, audited: &str) -> Result<Option<i64>, DbError> {
    let id = tx
        .query_opt(
            "INSERT INTO person (name, full_name, email, administrator, password, created, epoch)
             VALUES ($1, $2, $3, $4, $5, {now}, 1) ON CONFLICT (name) DO NOTHING RETURNING id",
            params![&new.name, &new.full_name, &new.email, new.administrator, new.password.as_deref()],
            |row| row.get(0),
        )
        .await?;
    if id.is_some() {
        audit::record(tx, by, "person.create", &new.name, None, Some(audited)).await?;
    }
    Ok(id)
}

/// Makes the first person, a system administrator. `None`: there is a person already, or another node was faster.
pub async fn insert_first_administrator(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, DbError> {
    tx.query_opt(
        "INSERT INTO person (name, administrator, created, epoch) SELECT $1, TRUE, {now}, 1
         WHERE NOT EXISTS (SELECT 1 FROM person) ON CONFLICT DO NOTHING RETURNING id",
        params![name],
        |row| row.get(0),
    )
    .await
}

/// Writes what a person is since; of a person that is locked. The right of a system administrator that is given or taken by hand is no
/// matter of groups any more.
pub async fn update(tx: &mut Tx<'_>, person: &Person) -> Result<(), DbError> {
    tx.execute(
        "UPDATE person SET full_name = $2, email = $3, administrator = $4, barred = $5, disabled = $6,
         administrator_by_group = (administrator_by_group AND administrator = $4), epoch = epoch + 1 WHERE id = $1",
        params![person.id, &person.full_name, &person.email, person.administrator, person.barred, person.disabled],
    )
    .await
    .map(drop)
}

/// Sets or takes away a password, and ends all sessions.
pub async fn set_password(tx: &mut Tx<'_>, person: i64, password: Option<&str>) -> Result<(), DbError> {
    tx.execute("UPDATE person SET password = $2, epoch = epoch + 1 WHERE id = $1", params![person, password]).await?;
    crate::session::end_all(tx, person).await
}

/// What somebody signs in with.
pub struct SignIn {
    /// Row.
    pub id: i64,
    /// What argon2 made of the password.
    pub password: Option<String>,
    /// They can't sign in.
    pub disabled: bool,
}

/// What a person signs in with.
pub async fn sign_in(db: &Db, name: &str) -> Result<Option<SignIn>, DbError> {
    db.query_opt("SELECT id, password, disabled FROM person WHERE name = $1", params![name], |row| {
        Ok(SignIn { id: row.get(0)?, password: row.get(1)?, disabled: row.get(2)? })
    })
    .await
}

/// Whether there is another system administrator who can sign in.
pub async fn has_other_administrator(tx: &mut Tx<'_>, than: i64) -> Result<bool, DbError> {
    // All are locked, in one order, so that two who take the right from each other don't both succeed.
    let others = tx
        .query(
            "SELECT id FROM person WHERE administrator AND NOT disabled AND (NOT barred OR password IS NOT NULL) ORDER BY id {for_update}",
            params![],
            |row| row.get::<i64>(0),
        )
        .await?;
    Ok(others.iter().any(|id| *id != than))
}

/// What a person that is locked signs in with.
pub async fn password(tx: &mut Tx<'_>, person: i64) -> Result<Option<String>, DbError> {
    tx.query_one("SELECT password FROM person WHERE id = $1", params![person], |row| row.get(0)).await
}

/// Ends all that a person is signed in with but their keys: sessions, and the tokens by which clients get others.
pub async fn sign_out(tx: &mut Tx<'_>, person: i64) -> Result<(), DbError> {
    // Whoever gets a token for one of the keys in this moment is waited for.
    tx.query("SELECT id FROM access_key WHERE person = $1 ORDER BY id {for_update}", params![person], |_| Ok(()))
        .await?;
    tx.execute(
        "DELETE FROM refresh_token WHERE access_key IN (SELECT id FROM access_key WHERE person = $1)",
        params![person],
    )
    .await?;
    crate::session::end_all(tx, person).await
}

/// Forgets a person that is locked: keys, roles and sessions go too.
pub async fn remove(tx: &mut Tx<'_>, person: i64) -> Result<(), DbError> {
    sign_out(tx, person).await?;
    tx.execute("DELETE FROM access_key WHERE person = $1", params![person]).await?;
    crate::identity::unlink(tx, person).await?;
    tx.execute("DELETE FROM member WHERE person = $1", params![person]).await?;
    tx.execute("DELETE FROM person WHERE id = $1", params![person]).await.map(drop)
}
