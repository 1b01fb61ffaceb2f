//! The audit log: who changed what, written in the transaction of the change (invariant 5), and refused sign-ins.

use crate::{Db, DbError, Row, Tx, params};

/// Who does something, and by which request.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct By {
    /// A person's name, `PROJECT/ROBOT`, or `operator` for who runs commands on the machine.
    pub who: String,
    /// The address that the request came from; empty for commands.
    pub from: String,
    /// Id of the request.
    pub request: Option<String>,
}

impl By {
    /// Somebody without a request, as commands are.
    pub fn name(who: &str) -> Self {
        Self { who: who.to_owned(), ..Self::default() }
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
        "INSERT INTO audit (at, who, came_from, what, object, before, after, request_id) VALUES ({now}, $1, $2, $3, $4, $5, $6, $7)",
        params![&by.who, &by.from, what, object, before, after, by.request.as_deref()],
    )
    .await
    .map(drop)
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

/// A row of the audit log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audited {
    /// Its row: later ones are higher.
    pub id: i64,
    /// Microseconds since 1970.
    pub at: i64,
    /// Who did it, from where, and by which request.
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

/// Each text begins with what its index is for.
macro_rules! list_sql {
    ($first:literal) => {
        concat!(
            "SELECT id, at, who, came_from, request_id, what, object, before, after FROM audit WHERE ",
            $first,
            " AND ($3 = '' OR what = $3 OR what LIKE $3 || '.%')
             AND (CAST($4 AS BIGINT) IS NULL OR at >= $4) AND (CAST($5 AS BIGINT) IS NULL OR at < $5)
             AND (CAST($6 AS BIGINT) IS NULL OR id < $6) ORDER BY id DESC LIMIT $7"
        )
    };
}

/// Rows of the audit log, newest first, at most `limit`.
pub async fn list(db: &Db, filter: &Filter, limit: i64) -> Result<Vec<Audited>, DbError> {
    let sql = match (filter.who.is_empty(), filter.object.is_empty()) {
        (true, true) => list_sql!("$1 = '' AND $2 = ''"),
        (true, false) => list_sql!("object = $2 AND $1 = ''"),
        (false, _) => list_sql!("who = $1 AND ($2 = '' OR object = $2)"),
    };
    db.list(
        sql,
        params![&filter.who, &filter.object, &filter.what, filter.since, filter.until, filter.before, limit],
        audited,
    )
    .await
}

fn audited(row: &Row<'_>) -> Result<Audited, DbError> {
    Ok(Audited {
        id: row.get(0)?,
        at: row.get(1)?,
        by: By { who: row.get(2)?, from: row.get(3)?, request: row.get(4)? },
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
