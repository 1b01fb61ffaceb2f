//! Trusts of robots: which jobs of a CI service may sign in as a robot with a token of their own.
//!
//! A trust is an access key whose secret nobody has, with a row in `trust`: tokens name its row as they name that of a key, so the facts
//! of a request tell of it without another look (invariant 10).

use crate::{
    Db, DbError, Row, Tx,
    audit::{self, By},
    keys::{StoredKey, living, stored_key},
    params,
};

/// A trust as a sign-in needs it.
#[derive(Clone, Debug)]
pub struct StoredTrust {
    /// Its row among the access keys.
    pub key: StoredKey,
    /// Whom a token must be for.
    pub audience: String,
    /// What it must say, as [`TrustedClaims`](roadstead_model::TrustedClaims) write it.
    pub claims: String,
}

/// The living trusts of a robot in an issuer, the oldest first.
pub async fn find(db: &Db, project: &str, robot: &str, issuer: &str) -> Result<Vec<StoredTrust>, DbError> {
    let trusts = db
        .query(
            stored_key!(
                ", t.audience, t.claims",
                "JOIN project j ON j.id = b.project WHERE j.name = $1 AND b.name = $2 AND t.issuer = $3 ORDER BY k.id"
            ),
            params![project, robot, issuer],
            |row| {
                Ok(StoredTrust {
                    key: StoredKey::from_row(row)?,
                    audience: row.get(StoredKey::WIDTH)?,
                    claims: row.get(StoredKey::WIDTH + 1)?,
                })
            },
        )
        .await?;
    Ok(trusts.into_iter().filter(|trust| trust.key.living).collect())
}

/// A trust as lists show it. Times are microseconds since 1970.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TrustEntry {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// Who makes the tokens.
    pub issuer: String,
    /// Whom they must be for.
    pub audience: String,
    /// What they must say, as [`TrustedClaims`](roadstead_model::TrustedClaims) write it.
    pub claims: String,
    /// What it allows, as [`Limits`](roadstead_model::Limits) write it.
    pub limits: String,
    /// When it was made.
    pub created: i64,
    /// When a job last signed in by it, to the hour.
    pub used: Option<i64>,
    /// When it ends by itself.
    pub expires: Option<i64>,
    /// It has neither ended nor been revoked, and its robot may be used.
    pub living: bool,
}

/// Trusts of a robot by id: at most `limit` after the id `after`.
pub async fn list(db: &Db, robot: i64, after: &str, limit: i64) -> Result<Vec<TrustEntry>, DbError> {
    const LIST: &str = concat!(
        "SELECT k.key_id, k.description, t.issuer, t.audience, t.claims, k.limits, k.created, k.used, k.expires, ",
        living!(),
        " FROM access_key k JOIN trust t ON t.access_key = k.id LEFT JOIN person p ON p.id = k.person LEFT JOIN robot b ON b.id = k.robot
         WHERE k.robot = $1 AND k.key_id > $2 ORDER BY k.key_id LIMIT $3"
    );
    db.list(LIST, params![robot, after, limit], entry).await
}

fn entry(row: &Row<'_>) -> Result<TrustEntry, DbError> {
    Ok(TrustEntry {
        id: row.get(0)?,
        description: row.get(1)?,
        issuer: row.get(2)?,
        audience: row.get(3)?,
        claims: row.get(4)?,
        limits: row.get::<Option<String>>(5)?.unwrap_or_default(),
        created: row.get(6)?,
        used: row.get(7)?,
        expires: row.get(8)?,
        living: row.get(9)?,
    })
}

/// How many trusts a robot that is locked has, living or not.
pub async fn count(tx: &mut Tx<'_>, robot: i64) -> Result<i64, DbError> {
    const COUNT: &str = "SELECT COUNT(*) FROM trust t JOIN access_key k ON k.id = t.access_key WHERE k.robot = $1";
    tx.query_one(COUNT, params![robot], |row| row.get(0)).await
}

/// A new trust.
#[derive(Clone, Debug)]
pub struct NewTrust {
    /// Its id.
    pub id: String,
    /// What it is for.
    pub description: String,
    /// Who makes the tokens.
    pub issuer: String,
    /// Whom they must be for.
    pub audience: String,
    /// What they must say, as [`TrustedClaims`](roadstead_model::TrustedClaims) write it.
    pub claims: String,
    /// What it allows, as [`Limits`](roadstead_model::Limits) write it.
    pub limits: String,
    /// Microseconds until it ends by itself.
    pub lifetime: Option<i64>,
}

/// Makes a trust of a robot that is locked, and its row in the audit log, which says `audited` of it.
pub async fn insert(
    tx: &mut Tx<'_>,
    robot: i64,
    new: &NewTrust,
    by: &By,
    audited: &str,
) -> Result<TrustEntry, DbError> {
    // No secret has an empty hash.
    let nobodys: [u8; 0] = [];
    let (id, created, expires) = tx
        .query_one(
            "INSERT INTO access_key (key_id, secret_hash, robot, limits, description, created, expires)
             VALUES ($1, $2, $3, $4, $5, {now}, {now} + $6) RETURNING id, created, expires",
            params![&new.id, nobodys, robot, &new.limits, &new.description, new.lifetime],
            |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<Option<i64>>(2)?)),
        )
        .await?;
    tx.execute(
        "INSERT INTO trust (access_key, issuer, audience, claims) VALUES ($1, $2, $3, $4)",
        params![id, &new.issuer, &new.audience, &new.claims],
    )
    .await?;
    audit::record(tx, by, "trust.create", &new.id, None, Some(audited)).await?;
    let NewTrust { id, description, issuer, audience, claims, limits, .. } = new.clone();
    Ok(TrustEntry { id, description, issuer, audience, claims, limits, created, used: None, expires, living: true })
}

/// Forgets a trust of a robot: what jobs got by it ends with their next request. False: there is none.
pub async fn remove(tx: &mut Tx<'_>, robot: i64, id: &str, by: &By) -> Result<bool, DbError> {
    // Whoever gets a token for it in this moment is waited for.
    let found = tx
        .query_opt(
            "SELECT id FROM access_key WHERE robot = $1 AND key_id = $2 AND id IN (SELECT access_key FROM trust) {for_update}",
            params![robot, id],
            |row| row.get::<i64>(0),
        )
        .await?;
    let Some(row) = found else { return Ok(false) };
    tx.execute("DELETE FROM refresh_token WHERE access_key = $1", params![row]).await?;
    tx.execute("DELETE FROM trust WHERE access_key = $1", params![row]).await?;
    tx.execute("DELETE FROM access_key WHERE id = $1", params![row]).await?;
    audit::record(tx, by, "trust.delete", id, None, None).await?;
    Ok(true)
}

/// Takes from all keys of a robot, which are locked, what makes them trusts.
pub(crate) async fn remove_all(tx: &mut Tx<'_>, robot: i64) -> Result<(), DbError> {
    const REMOVE: &str = "DELETE FROM trust WHERE access_key IN (SELECT id FROM access_key WHERE robot = $1)";
    tx.execute(REMOVE, params![robot]).await.map(drop)
}
