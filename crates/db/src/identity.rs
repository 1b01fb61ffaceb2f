//! Whom a provider of sign-ins means, and which sign-ins are finished.

use crate::{Db, DbError, Row, Tx, params};

/// Whom a provider means by a person of ours.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The provider.
    pub issuer: String,
    /// What it calls the person, fixed for good.
    pub subject: String,
    /// Since when, microseconds since 1970.
    pub since: i64,
}

fn identity(row: &Row<'_>) -> Result<Identity, DbError> {
    Ok(Identity { issuer: row.get(0)?, subject: row.get(1)?, since: row.get(2)? })
}

/// Whom a provider means by the person of this name.
pub async fn of_person(db: &Db, name: &str) -> Result<Option<Identity>, DbError> {
    const SHOW: &str =
        "SELECT i.issuer, i.subject, i.since FROM identity i JOIN person p ON p.id = i.person WHERE p.name = $1";
    db.query_opt(SHOW, params![name], identity).await
}

/// The same of a person that is locked, by their row.
pub async fn find(tx: &mut Tx<'_>, person: i64) -> Result<Option<Identity>, DbError> {
    const FIND: &str = "SELECT issuer, subject, since FROM identity WHERE person = $1";
    tx.query_opt(FIND, params![person], identity).await
}

/// The name of the person that a provider means.
pub async fn person(tx: &mut Tx<'_>, issuer: &str, subject: &str) -> Result<Option<String>, DbError> {
    const PERSON: &str =
        "SELECT p.name FROM identity i JOIN person p ON p.id = i.person WHERE i.issuer = $1 AND i.subject = $2";
    tx.query_opt(PERSON, params![issuer, subject], |row| row.get(0)).await
}

/// Links a person that is locked, instead of what there was. `None`: this one is somebody else.
pub async fn link(tx: &mut Tx<'_>, person: i64, issuer: &str, subject: &str) -> Result<Option<Identity>, DbError> {
    unlink(tx, person).await?;
    const LINK: &str = "INSERT INTO identity (issuer, subject, person, since) VALUES ($1, $2, $3, {now})
        ON CONFLICT (issuer, subject) DO NOTHING RETURNING issuer, subject, since";
    tx.query_opt(LINK, params![issuer, subject, person], identity).await
}

/// Forgets whom a provider means by a person that is locked. False: nobody.
pub async fn unlink(tx: &mut Tx<'_>, person: i64) -> Result<bool, DbError> {
    Ok(tx.execute("DELETE FROM identity WHERE person = $1", params![person]).await? > 0)
}

/// Notes that a sign-in is finished, which could be tried for `lifetime` microseconds more. False: it was finished already.
pub async fn finish(tx: &mut Tx<'_>, hash: &[u8], lifetime: i64) -> Result<bool, DbError> {
    const OVER: &str = "DELETE FROM finished_sign_in WHERE hash IN
        (SELECT hash FROM finished_sign_in WHERE expires <= {now} ORDER BY expires LIMIT 100)";
    tx.execute(OVER, params![]).await?;
    const FINISH: &str =
        "INSERT INTO finished_sign_in (hash, expires) VALUES ($1, {now} + $2) ON CONFLICT (hash) DO NOTHING";
    Ok(tx.execute(FINISH, params![hash, lifetime]).await? == 1)
}

/// Whether a person that is locked is a system administrator, and whether by a group.
pub async fn administrator(tx: &mut Tx<'_>, person: i64) -> Result<(bool, bool), DbError> {
    const READ: &str = "SELECT administrator, administrator_by_group FROM person WHERE id = $1";
    tx.query_one(READ, params![person], |row| Ok((row.get(0)?, row.get(1)?))).await
}

/// Gives a person that is locked the right of a system administrator by a group, or takes it away.
pub async fn set_administrator(tx: &mut Tx<'_>, person: i64, yes: bool) -> Result<(), DbError> {
    const SET: &str =
        "UPDATE person SET administrator = $2, administrator_by_group = $2, epoch = epoch + 1 WHERE id = $1";
    tx.execute(SET, params![person, yes]).await.map(drop)
}
