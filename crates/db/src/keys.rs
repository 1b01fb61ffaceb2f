//! Access keys, people, refresh tokens and signing keys: all SQL of these.
//!
//! A key "lives" while it is neither revoked nor expired, by the database's clock. Secrets never come here: only their SHA-256.

use crate::{Db, DbError, Tx, event, params, row::Row};

/// An access key as a sign-in needs it.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// Its row.
    pub id: i64,
    /// What a client sends as user name.
    pub key_id: String,
    /// SHA-256 of the secret.
    pub secret_hash: Vec<u8>,
    /// Neither revoked nor expired.
    pub living: bool,
    /// It belongs to a system administrator.
    pub administrator: bool,
    /// Its use was noted within the last hour, so it need not be noted again.
    pub used_lately: bool,
}

/// The columns of [`StoredKey`]; `k` is the access key, `p` its person.
macro_rules! stored_key {
    ($rest:literal) => {
        concat!(
            "SELECT k.id, k.key_id, k.secret_hash, (k.revoked IS NULL AND (k.expires IS NULL OR k.expires > {now})), ",
            "p.administrator, (k.used IS NOT NULL AND k.used > {now} - 3600000000)",
            $rest
        )
    };
}

impl StoredKey {
    fn from_row(row: &Row<'_>) -> Result<Self, DbError> {
        Ok(Self {
            id: row.get(0)?,
            key_id: row.get(1)?,
            secret_hash: row.get(2)?,
            living: row.get(3)?,
            administrator: row.get(4)?,
            used_lately: row.get(5)?,
        })
    }
}

/// The access key with this key id, living or not.
pub async fn find(db: &Db, key_id: &str) -> Result<Option<StoredKey>, DbError> {
    db.query_opt(
        stored_key!(" FROM access_key k JOIN person p ON p.id = k.person WHERE k.key_id = $1"),
        params![key_id],
        StoredKey::from_row,
    )
    .await
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
    /// Whose it is.
    pub person: String,
    /// Whether that is a system administrator.
    pub administrator: bool,
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

/// The access keys of one person, or of all, by key id: at most `limit` after the key id `after` (empty: from the start).
pub async fn list(db: &Db, person: Option<&str>, after: &str, limit: i64) -> Result<Vec<KeyEntry>, DbError> {
    db.list(
        "SELECT k.key_id, p.name, p.administrator, k.description, k.created, k.used, k.expires, k.revoked, \
         (k.revoked IS NULL AND (k.expires IS NULL OR k.expires > {now})) \
         FROM access_key k JOIN person p ON p.id = k.person \
         WHERE k.key_id > $1 AND ($2 = '' OR p.name = $2) ORDER BY k.key_id LIMIT $3",
        params![after, person.unwrap_or(""), limit],
        |row| {
            Ok(KeyEntry {
                key_id: row.get(0)?,
                person: row.get(1)?,
                administrator: row.get(2)?,
                description: row.get(3)?,
                created: row.get(4)?,
                used: row.get(5)?,
                expires: row.get(6)?,
                revoked: row.get(7)?,
                living: row.get(8)?,
            })
        },
    )
    .await
}

/// Makes a person. `None` when the name is taken.
pub async fn insert_person(tx: &mut Tx<'_>, name: &str, administrator: bool) -> Result<Option<i64>, DbError> {
    tx.query_opt(
        "INSERT INTO person (name, administrator, created, epoch) VALUES ($1, $2, {now}, 1) \
         ON CONFLICT (name) DO NOTHING RETURNING id",
        params![name, administrator],
        |row| row.get(0),
    )
    .await
}

/// Makes the first person, a system administrator. `None` when there is a person already, or another node was faster.
pub async fn insert_first_administrator(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, DbError> {
    tx.query_opt(
        "INSERT INTO person (name, administrator, created, epoch) SELECT $1, TRUE, {now}, 1 \
         WHERE NOT EXISTS (SELECT 1 FROM person) ON CONFLICT DO NOTHING RETURNING id",
        params![name],
        |row| row.get(0),
    )
    .await
}

/// The row of the person of this name, held until the transaction ends, so that keys of one person are made one by one.
pub async fn lock_person(tx: &mut Tx<'_>, name: &str) -> Result<Option<i64>, DbError> {
    tx.query_opt("SELECT id FROM person WHERE name = $1 {for_update}", params![name], |row| row.get(0)).await
}

/// How many living access keys the person has.
pub async fn count_living(tx: &mut Tx<'_>, person: i64) -> Result<i64, DbError> {
    let count = tx
        .query_opt(
            "SELECT COUNT(*) FROM access_key WHERE person = $1 AND revoked IS NULL AND (expires IS NULL OR expires > {now})",
            params![person],
            |row| row.get(0),
        )
        .await?;
    Ok(count.unwrap_or(0))
}

/// A new access key; `lifetime` in microseconds from now, `None` for one that does not end by itself.
#[derive(Clone, Debug)]
pub struct NewKeyRow<'a> {
    /// What a client sends as user name.
    pub key_id: &'a str,
    /// SHA-256 of the secret.
    pub secret_hash: &'a [u8],
    /// The row of its person.
    pub person: i64,
    /// What its owner calls it.
    pub description: &'a str,
    /// Microseconds until it ends by itself.
    pub lifetime: Option<i64>,
    /// Who makes it, for the audit log.
    pub by: &'a str,
}

/// Inserts an access key, and its row in the audit log. [`DbError::Unique`] when the key id is taken.
pub async fn insert(tx: &mut Tx<'_>, key: NewKeyRow<'_>) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO access_key (key_id, secret_hash, person, description, created, used, expires, revoked) \
         VALUES ($1, $2, $3, $4, {now}, NULL, {now} + $5, NULL)",
        params![key.key_id, key.secret_hash, key.person, key.description, key.lifetime],
    )
    .await?;
    event::audit(tx, key.by, "", "key.create", key.key_id).await
}

/// Revokes an access key and ends its refresh tokens; one that is revoked already stays so since then. False when there is
/// no such key. `by` is who does it, for the audit log.
pub async fn revoke(tx: &mut Tx<'_>, key_id: &str, by: &str) -> Result<bool, DbError> {
    let key: Option<i64> = tx
        .query_opt("SELECT id FROM access_key WHERE key_id = $1 {for_update}", params![key_id], |row| row.get(0))
        .await?;
    let Some(key) = key else { return Ok(false) };
    tx.execute("UPDATE access_key SET revoked = {now} WHERE id = $1 AND revoked IS NULL", params![key]).await?;
    tx.execute("DELETE FROM refresh_token WHERE access_key = $1", params![key]).await?;
    event::audit(tx, by, "", "key.revoke", key_id).await?;
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
            ", t.id, t.expires - {now} FROM refresh_token t JOIN access_key k ON k.id = t.access_key \
             JOIN person p ON p.id = k.person WHERE t.hash = $1 AND t.service = $2 AND t.expires > {now}"
        ),
        params![hash, service],
        |row| Ok(StoredRefresh { key: StoredKey::from_row(row)?, id: row.get(6)?, remaining: row.get(7)? }),
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

/// Which of these registries live and let anyone pull.
pub async fn public_pull(db: &Db, registries: &[&str]) -> Result<Vec<String>, DbError> {
    let mut public = Vec::new();
    // The statement is fixed text, so names are asked for eight at a time; the last group is filled up by repeating.
    for group in registries.chunks(8) {
        let name = |index: usize| group.get(index).copied().unwrap_or(group[0]);
        let found = db
            .query(
                "SELECT name FROM registry WHERE deletion IS NULL AND public_pull AND name IN ($1, $2, $3, $4, $5, $6, $7, $8)",
                params![name(0), name(1), name(2), name(3), name(4), name(5), name(6), name(7)],
                |row| row.get(0),
            )
            .await?;
        public.extend::<Vec<String>>(found);
    }
    Ok(public)
}
