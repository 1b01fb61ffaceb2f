//! Tags as lists show them, and the history of each.

use roadstead_model::Digest;

use crate::{
    Db, DbError, Row,
    figures::{Looked, WINDOW, begin, containing},
    params,
};

/// A tag in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tagged {
    /// Its name.
    pub name: String,
    /// Digest of the artifact it leads to.
    pub digest: Digest,
    /// Media type of that artifact.
    pub media_type: String,
    /// Its kind.
    pub kind: String,
    /// Its compressed bytes; of an index those of its children too.
    pub size: i64,
    /// When it was pushed, made or moved; microseconds since 1970.
    pub changed: i64,
    /// By whom.
    pub changed_by: String,
}

pub(crate) fn digest(row: &Row<'_>, column: usize) -> Result<Digest, DbError> {
    Digest::from_stored(row.bytes(column)?).ok_or_else(|| DbError::Internal("a stored digest can't be read".to_owned()))
}

/// Bytes of an artifact with its layers, as its manifest says. That may be anything: what is more than 10^15 counts as so much, so that sums
/// are none that can't be counted.
macro_rules! claimed {
    ($artifact:literal) => {
        concat!(
            "(",
            $artifact,
            ".size + CASE WHEN ",
            $artifact,
            ".layer_size > 1000000000000000 THEN 1000000000000000 ELSE ",
            $artifact,
            ".layer_size END)"
        )
    };
}
pub(crate) use claimed;

/// Compressed bytes of the artifact `a`; of an index with its first 1,000 children that live.
macro_rules! compressed_size {
    () => {
        concat!(
            "(CASE WHEN a.kind = 'index' THEN a.size + COALESCE((SELECT CAST(SUM(one.size) AS BIGINT) FROM (
             SELECT ",
            $crate::tag_views::claimed!("c"),
            " AS size FROM artifact_edge e JOIN manifest x ON x.digest = e.digest
             JOIN artifact c ON c.repository = a.repository AND c.manifest = x.id AND c.deletion IS NULL
             WHERE e.artifact = a.id AND e.role = 'child' LIMIT 1000) AS one), 0) ELSE ",
            $crate::tag_views::claimed!("a"),
            " END)"
        )
    };
}
pub(crate) use compressed_size;

fn tagged(row: &Row<'_>) -> Result<Tagged, DbError> {
    Ok(Tagged {
        name: row.get(0)?,
        digest: digest(row, 1)?,
        media_type: row.get(2)?,
        kind: row.get(3)?,
        size: row.get(4)?,
        changed: row.get(5)?,
        changed_by: row.get(6)?,
    })
}

macro_rules! tag_sql {
    ($more:literal, $($from:tt)+) => {
        concat!(
            "SELECT t.name, m.digest, a.media_type, a.kind, ",
            compressed_size!(),
            ", t.since, t.set_by",
            $more,
            " FROM ",
            $($from)+
        )
    };
}

/// As in `figures.rs`: `$1` repository, `$2` and `$3` the key, `$4` what the name contains, `$5` rows to look at, `$6` rows that are wanted.
macro_rules! list_sql {
    ($behind:literal, $order:literal) => {
        tag_sql!(
            ", t.nth = $5 AND NOT t.meant",
            concat!(
                "(SELECT w.*, lower(w.name) LIKE $4 ESCAPE '\\' AS meant, row_number() OVER (ORDER BY ",
                $order,
                ") AS nth FROM (SELECT name, artifact, since, set_by FROM tag WHERE repository = $1 AND ",
                $behind,
                " ORDER BY ",
                $order,
                " LIMIT $5) AS w) AS t JOIN artifact a ON a.id = t.artifact JOIN manifest m ON m.id = a.manifest
                 WHERE t.meant OR t.nth = $5 ORDER BY t.nth LIMIT $6"
            )
        )
    };
}

/// What of a repository's tags is asked for.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Part of the name.
    pub search: &'a str,
    /// By when they were changed, instead of by name.
    pub by_change: bool,
    /// From the last one to the first.
    pub descending: bool,
    /// The key behind which the page begins.
    pub after: Option<(i64, String)>,
    /// How many are wanted.
    pub limit: i64,
}

/// A page of the tags of a repository.
pub async fn list(db: &Db, repository: i64, asked: &Asked<'_>) -> Result<Vec<Looked<Tagged>>, DbError> {
    let sql = match (asked.by_change, asked.descending) {
        (false, false) => list_sql!("name > $3 AND CAST($2 AS BIGINT) IS NOT NULL", "name"),
        (false, true) => list_sql!("name < $3 AND CAST($2 AS BIGINT) IS NOT NULL", "name DESC"),
        (true, false) => list_sql!("(since, name) > ($2, $3)", "since, name"),
        (true, true) => list_sql!("(since, name) < ($2, $3)", "since DESC, name DESC"),
    };
    let (key, name) = begin(asked.after.clone(), asked.descending);
    let window = if asked.search.is_empty() { asked.limit } else { WINDOW };
    db.list(sql, params![repository, key, name, containing(asked.search), window, asked.limit], |row| {
        let found = tagged(row)?;
        let key = (found.changed, found.name.clone());
        Ok(Looked { key, found: (!row.get::<bool>(7)?).then_some(found) })
    })
    .await
}

/// One tag.
pub async fn show(db: &Db, repository: i64, name: &str) -> Result<Option<Tagged>, DbError> {
    const SHOW: &str = tag_sql!(
        "",
        "tag t JOIN artifact a ON a.id = t.artifact JOIN manifest m ON m.id = a.manifest WHERE t.repository = $1 AND t.name = $2"
    );
    db.query_opt(SHOW, params![repository, name], tagged).await
}

/// A change of a tag.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagChange {
    /// Its row: later ones are higher.
    pub id: i64,
    /// Where it led; `None`: there was no such tag.
    pub from: Option<Digest>,
    /// Where it leads since; `None`: it was deleted.
    pub to: Option<Digest>,
    /// `push`, `create` (by hand), `delete`, `restore`.
    pub why: String,
    /// Microseconds since 1970.
    pub at: i64,
    /// Who did it.
    pub by: String,
}

/// What became of a tag, the newest first, of the rows before `before`.
pub async fn history(
    db: &Db,
    repository: i64,
    name: &str,
    before: Option<i64>,
    limit: i64,
) -> Result<Vec<TagChange>, DbError> {
    let optional = |row: &Row<'_>, column: usize| match row.get::<Option<Vec<u8>>>(column)? {
        Some(_) => digest(row, column).map(Some),
        None => Ok(None),
    };
    db.list(
        "SELECT id, from_digest, to_digest, why, changed_at, changed_by FROM tag_change
         WHERE repository = $1 AND name = $2 AND id < $3 ORDER BY id DESC LIMIT $4",
        params![repository, name, before.unwrap_or(i64::MAX), limit],
        move |row| {
            Ok(TagChange {
                id: row.get(0)?,
                from: optional(row, 1)?,
                to: optional(row, 2)?,
                why: row.get(3)?,
                at: row.get(4)?,
                by: row.get(5)?,
            })
        },
    )
    .await
}
