//! Access keys, refresh tokens and signing keys: all SQL of these.
//!
//! A trust of a robot is a row of the same table, without a secret: see [`crate::trust`]. Lists and counts of keys leave those out.
//!
//! A key "lives" while it is neither revoked nor expired, by the database's clock, and its owner may use it. Secrets never come here: only their SHA-256.

use crate::{
    Db, DbError, Tx,
    audit::{self, By},
    params,
    row::Row,
};

/// An access key as a sign-in needs it.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its row.
    pub id: i64,
    /// What a client sends as user name.
    pub key_id: String,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Neither revoked nor expired, nor its owner barred or disabled.
    pub living: bool,
    /// It belongs to a system administrator.
    pub administrator: bool,
    /// It is a trust of a robot.
    pub is_trust: bool,
    /// Its use was noted within the last hour, so it need not be noted again.
    pub used_lately: bool,
}

/// Whether the key `k` lives, with its person `p` or robot `b`.
macro_rules! living {
    () => {
        "(k.revoked IS NULL AND (k.expires IS NULL OR k.expires > {now}) AND NOT COALESCE(p.barred OR p.disabled, b.disabled, TRUE))"
    };
}
pub(crate) use living;

/// The columns of [`StoredKey`]; `k` is the access key, `p` its person, `b` its robot, `t` what makes it a trust.
macro_rules! stored_key {
    ($columns:literal, $rest:literal) => {
        concat!(
            "SELECT k.id, k.key_id, k.secret_hash, ",
            $crate::keys::living!(),
            ", COALESCE(p.administrator, FALSE), (k.used IS NOT NULL AND k.used > {now} - 3600000000), t.access_key IS NOT NULL",
            $columns,
            " FROM access_key k LEFT JOIN person p ON p.id = k.person LEFT JOIN robot b ON b.id = k.robot ",
            "LEFT JOIN trust t ON t.access_key = k.id ",
            $rest
        )
    };
}
pub(crate) use stored_key;

impl StoredKey {
    /// How many columns it takes; what a statement adds starts here.
    pub(crate) const WIDTH: usize = 7;

    pub(crate) fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            key_id: row.get(1)?,
            secret_hash: row.get(2)?,
            living: row.get(3)?,
            administrator: row.get(4)?,
            used_lately: row.get(5)?,
            is_trust: row.get(6)?,
        })
    }
}

/// The access key with this key id, living or not.
pub async fn find(db: &Db, key_id: &str) -> Result<Option<StoredKey>, DbError> {
    db.query_opt(stored_key!("", "WHERE k.key_id = $1"), params![key_id], StoredKey::from_row).await
}

/// Notes that the key was used now, unless that was noted within the last hour.
pub async fn note_use(tx: &mut Tx<'_>, key: i64) -> Result<(), DbError> {
    tx.execute(
        "UPDATE access_key SET used = {now} WHERE id = $1 AND (used IS NULL OR used <= {now} - 3600000000)",
        params![key],
    )
    .await?;
    Ok(())
}

/// An access key as lists show it. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyEntry {
    /// What a client sends as user name.
    pub key_id: String,
    /// Whose it is: a person's name, or `PROJECT/ROBOT`.
    pub owner: String,
    /// Whether that is a system administrator.
    pub administrator: bool,
    /// What a robot's may do, as [`Limits`](roadstead_model::Limits) write it.
    pub limits: Option<String>,
    /// What its owner calls it.
    pub description: String,
    /// When it was made.
    pub created: i64,
    /// When it was last used, to the hour.
    pub used: Option<i64>,
    /// When it ends by itself.
    pub expires: Option<i64>,
    /// When it was revoked.
    pub revoked: Option<i64>,
    /// Neither revoked nor expired.
    pub living: bool,
}

/// Whose keys are asked for.
#[derive(Clone, Copy, Debug)]
pub enum Of<'a> {
    /// Everybody's.
    All,
    /// A person's, by name.
    Person(&'a str),
    /// A robot's, by its row.
    Robot(i64),
}

macro_rules! entries_sql {
    ($rest:literal) => {
        concat!(
            "SELECT k.key_id, COALESCE(p.name, j.name || '/' || b.name), COALESCE(p.administrator, FALSE), k.limits, k.description, ",
            "k.created, k.used, k.expires, k.revoked, ",
            living!(),
            " FROM access_key k LEFT JOIN person p ON p.id = k.person LEFT JOIN robot b ON b.id = k.robot ",
            "LEFT JOIN project j ON j.id = b.project LEFT JOIN trust t ON t.access_key = k.id ",
            "WHERE k.key_id > $1 AND t.access_key IS NULL ",
            $rest,
            " ORDER BY k.key_id LIMIT $2"
        )
    };
}

/// Access keys by key id: at most `limit` after the key id `after` (empty: from the start).
pub async fn list(db: &Db, of: Of<'_>, after: &str, limit: i64) -> Result<Vec<KeyEntry>, DbError> {
    let entry = |row: &Row<'_>| {
        Ok(KeyEntry {
            key_id: row.get(0)?,
            owner: row.get(1)?,
            administrator: row.get(2)?,
            limits: row.get(3)?,
            description: row.get(4)?,
            created: row.get(5)?,
            used: row.get(6)?,
            expires: row.get(7)?,
            revoked: row.get(8)?,
            living: row.get(9)?,
        })
    };
    match of {
        Of::All => db.list(entries_sql!(""), params![after, limit], entry).await,
        Of::Person(name) => db.list(entries_sql!("AND p.name = $3"), params![after, limit, name], entry).await,
        Of::Robot(robot) => db.list(entries_sql!("AND k.robot = $3"), params![after, limit, robot], entry).await,
    }
}

/// Whose a key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// A person's: the row.
    Person(i64),
    /// A robot's: the row, and what the key may do as [`Limits`](roadstead_model::Limits) write it.
    Robot(i64, String),
}

impl Owner {
    fn columns(&self) -> (Option<i64>, Option<i64>, Option<&str>) {
        match self {
            Self::Person(person) => (Some(*person), None, None),
            Self::Robot(robot, limits) => (None, Some(*robot), Some(limits)),
        }
    }
}

/// How many access keys of an owner are neither revoked nor expired.
pub async fn count_living(tx: &mut Tx<'_>, owner: &Owner) -> Result<i64, DbError> {
    let (person, robot, _) = owner.columns();
    let count = tx
        .query_opt(
            "SELECT COUNT(*) FROM access_key WHERE (person = $1 OR robot = $2) AND revoked IS NULL AND (expires IS NULL OR expires > {now})
             AND id NOT IN (SELECT access_key FROM trust)",
            params![person, robot],
            |row| row.get(0),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// How many keys of an owner that work no more are still shown.
const DEAD_SHOWN: usize = 50;

/// Forgets the oldest keys of an owner that work no more, so that nobody fills the table: the audit log knows them still.
pub async fn forget_dead(tx: &mut Tx<'_>, owner: &Owner) -> Result<(), DbError> {
    let (person, robot, _) = owner.columns();
    let dead = tx
        .query(
            "SELECT id FROM access_key WHERE (person = $1 OR robot = $2) AND (revoked IS NOT NULL OR expires <= {now})
             AND id NOT IN (SELECT access_key FROM trust) ORDER BY id DESC",
            params![person, robot],
            |row| row.get::<i64>(0),
        )
        .await?;
    for id in dead.into_iter().skip(DEAD_SHOWN) {
        tx.execute("DELETE FROM refresh_token WHERE access_key = $1", params![id]).await?;
        tx.execute("DELETE FROM access_key WHERE id = $1", params![id]).await?;
    }
    Ok(())
}

/// Microseconds until a key ends by itself; `None`: it does not.
pub async fn remaining(db: &Db, key: i64) -> Result<Option<i64>, DbError> {
    let found =
        db.query_opt("SELECT expires - {now} FROM access_key WHERE id = $1", params![key], |row| row.get(0)).await?;
    Ok(found.flatten())
}

/// A new access key; `lifetime` in microseconds from now, `None` for one that does not end by itself.
#[derive(Clone, Debug)]
pub struct NewKeyRow<'a> {
    /// What a client sends as user name.
    pub key_id: &'a str,
    /// SHA-256 of the secret.
    pub secret_hash: &'a [u8],
    /// Whose it is.
    pub owner: &'a Owner,
    /// What its owner calls it.
    pub description: &'a str,
    /// Microseconds until it ends by itself.
    pub lifetime: Option<i64>,
    /// Who makes it, for the audit log.
    pub by: &'a By,
    /// What the audit log says of it, as JSON.
    pub audited: &'a str,
}

/// Inserts an access key, and its row in the audit log. [`DbError::Unique`] when the key id is taken.
pub async fn insert(tx: &mut Tx<'_>, key: NewKeyRow<'_>) -> Result<(), DbError> {
    let (person, robot, limits) = key.owner.columns();
    tx.execute(
        "INSERT INTO access_key (key_id, secret_hash, person, robot, limits, description, created, expires) \
         VALUES ($1, $2, $3, $4, $5, $6, {now}, {now} + $7)",
        params![key.key_id, key.secret_hash, person, robot, limits, key.description, key.lifetime],
    )
    .await?;
    audit::record(tx, key.by, "key.create", key.key_id, None, Some(key.audited)).await
}

/// Revokes an access key and ends its refresh tokens; one that is revoked already stays so since then. False when there is
/// no such key, or not with this owner. `by` is who does it, for the audit log.
pub async fn revoke(tx: &mut Tx<'_>, key_id: &str, owner: Option<&Owner>, by: &By) -> Result<bool, DbError> {
    let key = tx
        .query_opt(
            "SELECT id, person, robot, (SELECT b.project FROM robot b WHERE b.id = robot) FROM access_key WHERE key_id = $1 {for_update}",
            params![key_id],
            |row| {
                let (person, robot) = (row.get::<Option<i64>>(1)?, row.get::<Option<i64>>(2)?);
                Ok((row.get::<i64>(0)?, person, robot, row.get::<Option<i64>>(3)?))
            },
        )
        .await?;
    let owned = |person, robot| {
        owner.is_none_or(|owner| {
            let (of_person, of_robot, _) = owner.columns();
            (of_person, of_robot) == (person, robot)
        })
    };
    let Some((key, _, _, project)) = key.filter(|(_, person, robot, _)| owned(*person, *robot)) else {
        return Ok(false);
    };
    let revoked = "UPDATE access_key SET revoked = {now} WHERE id = $1 AND revoked IS NULL";
    if tx.execute(revoked, params![key]).await? == 1 {
        tx.execute("DELETE FROM refresh_token WHERE access_key = $1", params![key]).await?;
        let by = project.map_or_else(|| by.clone(), |project| by.about(project));
        audit::record(tx, &by, "key.revoke", key_id, None, None).await?;
    }
    Ok(true)
}

/// A refresh token that has not ended, and the access key that it stands for.
#[derive(Clone, Debug)]
pub struct StoredRefresh {
    /// The access key, living or not.
    pub key: StoredKey,
    /// The row of the refresh token.
    pub id: i64,
    /// Microseconds until it ends.
    pub remaining: i64,
}

/// The refresh token with this SHA-256, if it was made for this service and has not ended.
pub async fn find_refresh(db: &Db, hash: &[u8], service: &str) -> Result<Option<StoredRefresh>, DbError> {
    db.query_opt(
        stored_key!(
            ", r.id, r.expires - {now}",
            "JOIN refresh_token r ON r.access_key = k.id WHERE r.hash = $1 AND r.service = $2 AND r.expires > {now}"
        ),
        params![hash, service],
        |row| {
            Ok(StoredRefresh {
                key: StoredKey::from_row(row)?,
                id: row.get(StoredKey::WIDTH)?,
                remaining: row.get(StoredKey::WIDTH + 1)?,
            })
        },
    )
    .await
}

/// How many refresh tokens a key has, for whatever services, counted up to `limit`.
pub async fn count_refresh(tx: &mut Tx<'_>, key: i64, limit: i64) -> Result<i64, DbError> {
    let count = tx
        .query_opt(
            "SELECT COUNT(*) FROM (SELECT 1 AS one FROM refresh_token WHERE access_key = $1 LIMIT $2) AS t",
            params![key, limit],
            |row| row.get(0),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// Inserts a refresh token that ends after `lifetime` microseconds, and takes away some that have ended.
pub async fn insert_refresh(
    tx: &mut Tx<'_>,
    hash: &[u8],
    key: i64,
    service: &str,
    lifetime: i64,
) -> Result<(), DbError> {
    tx.execute(
        "DELETE FROM refresh_token WHERE id IN \
         (SELECT id FROM refresh_token WHERE expires <= {now} ORDER BY expires LIMIT 100)",
        params![],
    )
    .await?;
    tx.execute(
        "INSERT INTO refresh_token (hash, access_key, service, created, expires) VALUES ($1, $2, $3, {now}, {now} + $4)",
        params![hash, key, service, lifetime],
    )
    .await?;
    Ok(())
}

/// Lets a refresh token end `lifetime` microseconds from now.
pub async fn extend_refresh(tx: &mut Tx<'_>, refresh: i64, lifetime: i64) -> Result<(), DbError> {
    tx.execute("UPDATE refresh_token SET expires = {now} + $2 WHERE id = $1", params![refresh, lifetime]).await?;
    Ok(())
}

/// A signing key as it lies in the database.
#[derive(Clone, Debug)]
pub struct StoredSigningKey {
    /// Its name in token headers.
    pub kid: String,
    /// The key, sealed.
    pub sealed: Vec<u8>,
}

/// All signing keys, also those that have ended and were not yet taken away.
pub async fn signing_keys(db: &Db) -> Result<Vec<StoredSigningKey>, DbError> {
    db.query("SELECT kid, sealed FROM signing_key ORDER BY kid", params![], |row| {
        Ok(StoredSigningKey { kid: row.get(0)?, sealed: row.get(1)? })
    })
    .await
}

/// Inserts a signing key unless one of this name is there (another node was faster), and takes away those that have ended.
/// `expires` in microseconds since 1970.
pub async fn insert_signing_key(tx: &mut Tx<'_>, kid: &str, sealed: &[u8], expires: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM signing_key WHERE expires <= {now}", params![]).await?;
    tx.execute(
        "INSERT INTO signing_key (kid, sealed, created, expires) VALUES ($1, $2, {now}, $3) ON CONFLICT (kid) DO NOTHING",
        params![kid, sealed, expires],
    )
    .await?;
    Ok(())
}
