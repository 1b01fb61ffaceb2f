//! The audit log: who changed what, written in the transaction of the change (invariant 5), and refused sign-ins and access keys.

use crate::{Db, DbError, Row, Tx, params};

/// Who does something, and by which request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// A person's name, `PROJECT/ROBOT`, or `operator` for who runs commands on the machine. Over `/v2` the id of the access key.
    pub who: String,
    /// The address that the request came from; empty for commands.
    pub from: String,
    /// Id of the request.
    pub request: Option<String>,
    /// Row of the project that it is about, whose managers may read what is recorded.
    pub project: Option<i64>,
    /// Row of the access key, where it was not looked up whose that is: the log gets the owner's name.
    pub key: Option<i64>,
}

impl By {
    /// Somebody without a request, as commands are.
    pub fn name(who: &str) -> Self {
        Self { who: who.to_owned(), ..Self::default() }
    }

    /// The same, about this project.
    #[must_use]
    pub fn about(&self, project: i64) -> Self {
        Self { project: Some(project), ..self.clone() }
    }
}

/// Records who did what to what. `before` and `after` are JSON of what was changed, and never a secret.
pub async fn record(
    tx: &mut Tx<'_>,
    by: &By,
    what: &str,
    object: &str,
    before: Option<&str>,
    after: Option<&str>,
) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO audit (at, who, came_from, what, object, before, after, request_id, project)
         VALUES ({now}, $1, $2, $3, $4, $5, $6, $7, $8)",
        params![&by.who, &by.from, what, object, before, after, by.request.as_deref(), by.project],
    )
    .await
    .map(drop)
}

/// The name of whom the key `k` belongs to, with its person `p` or robot `b`, and the project `j` of that.
macro_rules! owner {
    () => {
        "COALESCE(p.name, j.name || '/' || b.name)"
    };
}

macro_rules! owner_tables {
    () => {
        "access_key k LEFT JOIN person p ON p.id = k.person LEFT JOIN robot b ON b.id = k.robot LEFT JOIN project j ON j.id = b.project"
    };
}

/// Records who did what to something in a registry: `object` is its name there, such as `REPOSITORY:TAG`. The line is about the
/// registry's project.
pub async fn record_in(
    tx: &mut Tx<'_>,
    by: &By,
    registry: i64,
    what: &str,
    object: &str,
    before: Option<&str>,
) -> Result<(), DbError> {
    const RECORD: &str = concat!(
        "INSERT INTO audit (at, who, came_from, what, object, request_id, before, project)
         SELECT {now}, COALESCE((SELECT ",
        owner!(),
        " FROM ",
        owner_tables!(),
        " WHERE k.id = $2), CAST($1 AS TEXT)), CAST($3 AS TEXT), CAST($4 AS TEXT), g.name || '/' || CAST($5 AS TEXT), CAST($6 AS TEXT), CAST($7 AS TEXT), g.project
         FROM registry g WHERE g.id = $8"
    );
    let who = if by.who.is_empty() { "anyone" } else { &by.who };
    let request = by.request.as_deref();
    tx.execute(RECORD, params![who, by.key, &by.from, what, object, request, before, registry]).await.map(drop)
}

/// Records a refused sign-in: one row for each name, address and hour, whose `after` counts them, so that nobody can fill the log from
/// outside.
pub async fn refused(tx: &mut Tx<'_>, by: &By) -> Result<(), DbError> {
    let counted = tx
        .execute(
            "UPDATE audit SET after = CAST(CAST(after AS BIGINT) + 1 AS TEXT) WHERE id = (
             SELECT id FROM audit WHERE what = 'session.refused' AND who = $1 AND came_from = $2 AND at > {now} - 3600000000
             ORDER BY at DESC LIMIT 1)",
            params![&by.who, &by.from],
        )
        .await?;
    if counted == 0 {
        record(tx, by, "session.refused", &by.who, None, Some("1")).await?;
    }
    Ok(())
}

/// From how many addresses refusals of a key are told apart in an hour.
const ADDRESSES: i64 = 100;

/// Where the others came from.
const ELSEWHERE: &str = "elsewhere";

/// Records that an access key was refused so many times: one row for each key, address and hour, and of each key a hundred an hour at
/// most. A key that there is not leaves nothing: it may be a secret in the wrong place.
pub async fn key_refused(tx: &mut Tx<'_>, key_id: &str, from: &str, times: i64) -> Result<(), DbError> {
    if count_refusals(tx, key_id, from, times).await? {
        return Ok(());
    }
    const ROWS: &str =
        "SELECT COUNT(*) FROM audit WHERE what = 'key.refused' AND object = $1 AND at > {now} - 3600000000";
    let rows = tx.query_one(ROWS, params![key_id], |row| row.get::<i64>(0)).await?;
    let from = if rows < ADDRESSES { from } else { ELSEWHERE };
    if from == ELSEWHERE && count_refusals(tx, key_id, from, times).await? {
        return Ok(());
    }
    const RECORD: &str = concat!(
        "INSERT INTO audit (at, who, came_from, what, object, after, project) SELECT {now}, ",
        owner!(),
        ", CAST($2 AS TEXT), 'key.refused', k.key_id, CAST($3 AS TEXT), b.project FROM ",
        owner_tables!(),
        " WHERE k.key_id = $1"
    );
    tx.execute(RECORD, params![key_id, from, times.to_string()]).await.map(drop)
}

async fn count_refusals(tx: &mut Tx<'_>, key_id: &str, from: &str, times: i64) -> Result<bool, DbError> {
    let counted = tx
        .execute(
            "UPDATE audit SET after = CAST(CAST(after AS BIGINT) + $3 AS TEXT) WHERE id = (
             SELECT id FROM audit WHERE what = 'key.refused' AND object = $1 AND at > {now} - 3600000000 AND came_from = $2
             ORDER BY at DESC LIMIT 1)",
            params![key_id, from, times],
        )
        .await?;
    Ok(counted == 1)
}

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Its row: later ones are higher.
    pub id: i64,
    /// Microseconds since 1970.
    pub at: i64,
    /// Who did it, from where, by which request, about which project.
    pub by: By,
    /// What was done, such as `key.create`.
    pub what: String,
    /// To what.
    pub object: String,
    /// What it was before, as JSON.
    pub before: Option<String>,
    /// What it is since, as JSON.
    pub after: Option<String>,
}

/// What of the audit log is asked for; empty texts ask for all.
#[derive(Clone, Debug, Default)]
pub struct Filter {
    /// About this project.
    pub project: Option<i64>,
    /// Done by.
    pub who: String,
    /// Done to.
    pub object: String,
    /// What was done, or the first words of it: `key` means `key.create` too.
    pub what: String,
    /// Not before, microseconds since 1970.
    pub since: Option<i64>,
    /// Before.
    pub until: Option<i64>,
    /// Rows before this one; `None`: from the newest.
    pub before: Option<i64>,
}

/// What was found.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The newest first.
    pub rows: Vec<Audited>,
    /// There may be more before this row: so far was looked for these.
    pub rest: Option<i64>,
}

/// How many rows are looked at for one page where no index finds just those that are asked for: so a page costs the same however
/// many rows there are.
const WINDOW: i64 = 10_000;

/// Ids are given before `at` is known to all: further than this the two never lie apart, in microseconds.
const SLACK: i64 = 3_600_000_000;

/// The rows `w` that are looked at. Each text begins with what its index is for; all take the same parameters.
macro_rules! window_sql {
    ($first:literal) => {
        concat!("(SELECT id FROM audit WHERE ", $first, " AND id > $4 AND id < $5 ORDER BY id DESC LIMIT $6) AS w")
    };
}

macro_rules! list_sql {
    ($first:literal) => {
        concat!(
            "SELECT a.id, a.at, a.who, a.came_from, a.request_id, a.what, a.object, a.before, a.after, a.project FROM ",
            window_sql!($first),
            " JOIN audit a ON a.id = w.id WHERE ($1 = '' OR a.who = $1) AND ($2 = '' OR a.object = $2)
             AND ($7 = '' OR a.what = $7 OR a.what LIKE $7 || '.%')
             AND (CAST($8 AS BIGINT) IS NULL OR a.at >= $8) AND (CAST($9 AS BIGINT) IS NULL OR a.at < $9)
             ORDER BY a.id DESC LIMIT $10"
        )
    };
}

macro_rules! end_sql {
    ($first:literal) => {
        concat!(
            "SELECT COUNT(*), MIN(w.id) FROM ",
            window_sql!($first),
            " WHERE CAST($1 AS TEXT) IS NOT NULL AND CAST($2 AS TEXT) IS NOT NULL"
        )
    };
}

/// Rows of the audit log, newest first, at most `limit`.
pub async fn list(db: &Db, filter: &Filter, limit: i64) -> Result<Found, DbError> {
    let (after, before) = bounds(db, filter).await?;
    let (sql, end) = match (filter.project, filter.who.is_empty(), filter.object.is_empty()) {
        (Some(_), ..) => (list_sql!("project = $3"), end_sql!("project = $3")),
        (None, true, true) => (list_sql!("CAST($3 AS BIGINT) IS NULL"), end_sql!("CAST($3 AS BIGINT) IS NULL")),
        (None, true, false) => (
            list_sql!("object = $2 AND CAST($3 AS BIGINT) IS NULL"),
            end_sql!("object = $2 AND CAST($3 AS BIGINT) IS NULL"),
        ),
        (None, false, _) => {
            (list_sql!("who = $1 AND CAST($3 AS BIGINT) IS NULL"), end_sql!("who = $1 AND CAST($3 AS BIGINT) IS NULL"))
        }
    };
    // What the index finds is all that is asked for.
    let indexed = [filter.project.is_some(), !filter.who.is_empty(), !filter.object.is_empty()];
    let is_exact = filter.what.is_empty()
        && filter.since.or(filter.until).is_none()
        && indexed.into_iter().filter(|it| *it).count() <= 1;
    let window = if is_exact { limit } else { WINDOW.max(limit) };
    let (who, object) = (filter.who.as_str(), filter.object.as_str());
    let rows = db
        .list(
            sql,
            params![
                who,
                object,
                filter.project,
                after,
                before,
                window,
                &filter.what,
                filter.since,
                filter.until,
                limit
            ],
            audited,
        )
        .await?;
    let found = i64::try_from(rows.len()).unwrap_or(i64::MAX);
    let rest = if found < limit && !is_exact {
        let looked = db.query_opt(end, params![who, object, filter.project, after, before, window], |row| {
            Ok((row.get::<i64>(0)?, row.get::<Option<i64>>(1)?))
        });
        looked.await?.and_then(|(looked, last)| last.filter(|_| looked == window))
    } else {
        None
    };
    Ok(Found { rows, rest })
}

/// Between which ids, both left out, the rows lie that are asked for.
async fn bounds(db: &Db, filter: &Filter) -> Result<(i64, i64), DbError> {
    const LAST_BEFORE: &str = "SELECT id FROM audit WHERE at <= $1 ORDER BY at DESC LIMIT 1";
    const FIRST_AFTER: &str = "SELECT id FROM audit WHERE at >= $1 ORDER BY at LIMIT 1";
    let id = |row: &Row<'_>| row.get::<i64>(0);
    let after = match filter.since {
        Some(since) => db.query_opt(LAST_BEFORE, params![since.saturating_sub(SLACK)], id).await?,
        None => None,
    };
    let until = match filter.until {
        Some(until) => db.query_opt(FIRST_AFTER, params![until.saturating_add(SLACK)], id).await?,
        None => None,
    };
    let before = filter.before.unwrap_or(i64::MAX).min(until.unwrap_or(i64::MAX));
    Ok((after.unwrap_or(0), before))
}

fn audited(row: &Row<'_>) -> Result<Audited, DbError> {
    let by = By { who: row.get(2)?, from: row.get(3)?, request: row.get(4)?, project: row.get(9)?, key: None };
    Ok(Audited {
        id: row.get(0)?,
        at: row.get(1)?,
        by,
        what: row.get(5)?,
        object: row.get(6)?,
        before: row.get(7)?,
        after: row.get(8)?,
    })
}

/// Drops up to `limit` rows older than `age` microseconds; how many.
pub async fn drop_old(tx: &mut Tx<'_>, age: i64, limit: i64) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM audit WHERE id IN (SELECT id FROM audit WHERE at < {now} - $1 ORDER BY at LIMIT $2)",
        params![age, limit],
    )
    .await
}
