//! Uploads between requests: what is stored, who writes at the moment.
//!
//! A writer claims the row by epoch and lease; each stored part is a compare-and-set on (epoch, size), so a node that was
//! thought dead can't spoil the new writer's work (architecture.md 4).

use roadstead_model::Digest;

use crate::{Db, DbError, Tx, params};

/// Makes the row of an upload that somebody sends to for the first time, and claims it. `None`: there is a row.
pub async fn begin(
    tx: &mut Tx<'_>,
    id: &str,
    repository: i64,
    bucket: i64,
    state: &str,
    lease: i64,
) -> Result<Option<Claim>, DbError> {
    let epoch = tx
        .query_opt(
            "INSERT INTO upload (id, repository, bucket, size, state, epoch, lease, ending, begun, touched)
             VALUES ($1, $2, $3, 0, $4, 1, {now} + $5, $6, {now}, {now}) ON CONFLICT (id) DO NOTHING RETURNING epoch",
            params![id, repository, bucket, state, lease, false],
            |row| row.get(0),
        )
        .await?;
    Ok(epoch.map(|epoch| Claim { epoch, repository, size: 0, state: state.to_owned(), bucket }))
}

/// Makes the row of an upload that is over with the first that was sent to it: `blob` is what it became, if anything. False: there is
/// a row.
pub async fn begin_over(
    tx: &mut Tx<'_>,
    id: &str,
    repository: i64,
    bucket: i64,
    blob: Option<(&Digest, i64)>,
) -> Result<bool, DbError> {
    let (finished, size) =
        (blob.map_or_else(Vec::new, |(digest, _)| digest.to_stored()), blob.map_or(0, |(_, size)| size));
    let made = tx
        .execute(
            "INSERT INTO upload (id, repository, bucket, size, state, epoch, lease, ending, begun, touched, finished)
             VALUES ($1, $2, $3, $4, '', 1, 0, $5, {now}, {now}, $6) ON CONFLICT (id) DO NOTHING",
            params![id, repository, bucket, size, false, finished],
        )
        .await?;
    Ok(made == 1)
}

/// An upload as a status request sees it.
#[derive(Clone, Debug)]
pub struct Upload {
    /// Row of its repository.
    pub repository: i64,
    /// Bytes that are stored durably.
    pub size: i64,
    /// Microseconds for which a writer holds it still; 0 or less = nobody.
    pub leased: i64,
    /// It is over, or is just being taken away.
    pub over: Option<Over>,
}

/// What became of an upload that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A blob.
    Blob(Digest),
    /// Nothing.
    Nothing,
}

/// Looks at an upload. `repository`: only if it is of this one.
pub async fn show(db: &Db, id: &str, repository: Option<i64>) -> Result<Option<Upload>, DbError> {
    db.query_opt(
        "SELECT size, lease - {now}, finished, repository, ending FROM upload
         WHERE id = $1 AND (CAST($2 AS BIGINT) IS NULL OR repository = $2)",
        params![id, repository],
        |row| {
            let over = row.get::<Option<Vec<u8>>>(2)?;
            let over = over.map(|stored| Digest::from_stored(&stored).map_or(Over::Nothing, Over::Blob));
            let over = over.or(row.get::<bool>(4)?.then_some(Over::Nothing));
            Ok(Upload { repository: row.get(3)?, size: row.get(0)?, leased: row.get(1)?, over })
        },
    )
    .await
}

/// The right to write to an upload until the lease ends.
#[derive(Clone, Debug)]
pub struct Claim {
    /// Goes up with each claim, from 1.
    pub epoch: i64,
    /// Row of its repository.
    pub repository: i64,
    /// Bytes that are stored durably.
    pub size: i64,
    /// Text of the blobs crate.
    pub state: String,
    /// Row of its bucket.
    pub bucket: i64,
}

/// What an upload is claimed for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// To write to it or to finish it.
    Write,
    /// To take it and all that it stored away; also one that somebody began to take away.
    End,
    /// The same, if nobody has touched it for so many microseconds.
    Expire(i64),
}

/// Claims an upload that nobody is writing to. `None`: there is none, it is over, or somebody holds it. `alone`: this
/// process is the only one and knows that it does not write, so a lease is left over and counts for nothing. `repository`: only if it is
/// of this one.
pub async fn claim(
    tx: &mut Tx<'_>,
    id: &str,
    repository: Option<i64>,
    purpose: Purpose,
    lease: i64,
    alone: bool,
) -> Result<Option<Claim>, DbError> {
    let life = match purpose {
        Purpose::Expire(life) => Some(life),
        Purpose::Write | Purpose::End => None,
    };
    tx.query_opt(
        "UPDATE upload SET epoch = epoch + 1, lease = {now} + $3, touched = {now}
         WHERE id = $1 AND (CAST($2 AS BIGINT) IS NULL OR repository = $2) AND finished IS NULL AND (lease <= {now} OR CAST($4 AS BOOLEAN))
         AND (NOT ending OR CAST($5 AS BOOLEAN))
         AND (CAST($6 AS BIGINT) IS NULL OR ending OR touched < {now} - CAST($6 AS BIGINT))
         RETURNING epoch, size, state, bucket, repository",
        params![id, repository, lease, alone, purpose != Purpose::Write, life],
        |row| Ok(Claim { epoch: row.get(0)?, repository: row.get(4)?, size: row.get(1)?, state: row.get(2)?, bucket: row.get(3)? }),
    )
    .await
}

/// Saves newly durable state by compare-and-set; `lease` 0 gives the claim back. False: another writer has taken over.
pub async fn save(
    tx: &mut Tx<'_>,
    id: &str,
    claim: (i64, i64),
    size: i64,
    state: &str,
    lease: i64,
) -> Result<bool, DbError> {
    let (epoch, stored) = claim;
    let saved = tx
        .execute(
            "UPDATE upload SET size = $4, state = $5, touched = {now}, lease = CASE WHEN CAST($6 AS BIGINT) = 0 THEN 0 ELSE {now} + $6 END
             WHERE id = $1 AND epoch = $2 AND size = $3 AND finished IS NULL",
            params![id, epoch, stored, size, state, lease],
        )
        .await?;
    Ok(saved == 1)
}

/// Holds a claim for another `lease` microseconds. False: it was given back, or another writer has taken over.
pub async fn renew(tx: &mut Tx<'_>, id: &str, epoch: i64, lease: i64) -> Result<bool, DbError> {
    let renewed = tx
        .execute(
            "UPDATE upload SET lease = {now} + $3, touched = {now} WHERE id = $1 AND epoch = $2 AND lease <> 0 AND finished IS NULL",
            params![id, epoch, lease],
        )
        .await?;
    Ok(renewed == 1)
}

/// Gives a claim back without a change.
pub async fn release(tx: &mut Tx<'_>, id: &str, epoch: i64) -> Result<(), DbError> {
    tx.execute("UPDATE upload SET lease = 0, touched = {now} WHERE id = $1 AND epoch = $2", params![id, epoch])
        .await
        .map(drop)
}

/// Marks an upload as finished; it stays a while so that a repeated PUT is answered the same. False: the claim is lost.
pub async fn finish(tx: &mut Tx<'_>, id: &str, epoch: i64, digest: &Digest, size: i64) -> Result<bool, DbError> {
    let finished = tx
        .execute(
            "UPDATE upload SET finished = $3, size = $4, state = '', lease = 0, touched = {now}
             WHERE id = $1 AND epoch = $2 AND finished IS NULL",
            params![id, epoch, digest.to_stored(), size],
        )
        .await?;
    Ok(finished == 1)
}

/// From here on nobody can write to the upload or finish it, so that what it stored can be taken away without a fear
/// that another writer made a blob of it meanwhile. False: the claim is lost.
pub async fn begin_end(tx: &mut Tx<'_>, id: &str, epoch: i64) -> Result<bool, DbError> {
    let begun = tx
        .execute(
            "UPDATE upload SET ending = $3 WHERE id = $1 AND epoch = $2 AND finished IS NULL",
            params![id, epoch, true],
        )
        .await?;
    Ok(begun == 1)
}

/// Marks an upload as over without a blob; it stays a while, so that its id does not come back to life. False: the claim is lost.
pub async fn end(tx: &mut Tx<'_>, id: &str, epoch: i64) -> Result<bool, DbError> {
    let ended = tx
        .execute(
            "UPDATE upload SET finished = $3, size = 0, state = '', lease = 0, ending = $4, touched = {now}
             WHERE id = $1 AND epoch = $2 AND finished IS NULL",
            params![id, epoch, Vec::<u8>::new(), false],
        )
        .await?;
    Ok(ended == 1)
}

/// Forgets an upload whose claim is held, if it was begun more than `life` microseconds ago.
pub async fn remove(tx: &mut Tx<'_>, id: &str, epoch: i64, life: i64) -> Result<bool, DbError> {
    let removed = tx
        .execute(
            "DELETE FROM upload WHERE id = $1 AND epoch = $2 AND finished IS NULL AND begun < {now} - $3",
            params![id, epoch, life],
        )
        .await?;
    Ok(removed == 1)
}

/// An upload that was left alone for too long.
#[derive(Clone, Debug)]
pub struct Idle {
    /// Its id.
    pub id: String,
    /// Row of its repository.
    pub repository: i64,
}

/// Uploads that nobody touched for `life` microseconds, or that are to be taken away, at most `limit`.
pub async fn idle(db: &Db, life: i64, limit: i64) -> Result<Vec<Idle>, DbError> {
    db.list(
        "SELECT id, repository FROM upload WHERE finished IS NULL AND (ending OR touched < {now} - $1) AND lease <= {now}
         ORDER BY touched LIMIT $2",
        params![life, limit],
        |row| Ok(Idle { id: row.get(0)?, repository: row.get(1)? }),
    )
    .await
}

/// Uploads that have been over for `life` microseconds, those that became nothing for `nothing_life`; at most `limit`.
pub async fn over(db: &Db, life: i64, nothing_life: i64, limit: i64) -> Result<Vec<Idle>, DbError> {
    db.list(
        "SELECT id, repository FROM upload WHERE finished IS NOT NULL AND touched < {now} - $1
         AND (length(finished) > 0 OR touched < {now} - $2) ORDER BY touched LIMIT $3",
        params![life, nothing_life, limit],
        |row| Ok(Idle { id: row.get(0)?, repository: row.get(1)? }),
    )
    .await
}

/// Forgets an upload that is over.
pub async fn forget_over(tx: &mut Tx<'_>, id: &str) -> Result<(), DbError> {
    tx.execute("DELETE FROM upload WHERE id = $1 AND finished IS NOT NULL", params![id]).await.map(drop)
}
