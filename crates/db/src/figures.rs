//! Repositories as lists and views show them: words, settings and figures. Each order of a list is an index, so a page costs the same
//! however many there are; with a search it looks at [`WINDOW`] rows at most.

use crate::{Db, DbError, Row, Tx, params};

/// How many rows a page with a filter looks at: then it ends, though it may not be full.
pub const WINDOW: i64 = 10_000;

/// What a list is sorted by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// The name.
    Name,
    /// When it was last changed.
    Changed,
    /// How often its manifests were pulled.
    Pulls,
    /// Bytes of its blobs.
    Size,
}

/// A repository in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    /// Its name in the registry.
    pub name: String,
    /// A few words about it.
    pub description: String,
    /// Whether a tag that exists can be pushed over.
    pub mutable_tags: bool,
    /// Microseconds since 1970.
    pub created: i64,
    /// When something was pushed, tagged, deleted or restored; microseconds since 1970.
    pub changed: i64,
    /// How many manifests were pulled.
    pub pulls: i64,
    /// How many tags there are.
    pub tags: i64,
    /// How many artifacts live.
    pub artifacts: i64,
    /// Bytes of its blobs, each once, what lies in the trash included.
    pub bytes: i64,
    /// Bytes of all its artifacts, with the blobs that several of them have counted for each.
    pub image_bytes: i64,
    /// Goes up with each change of words and settings.
    pub epoch: i64,
}

/// A row that a page of a list looked at.
#[derive(Clone, Debug)]
pub struct Looked<T> {
    /// What the list is sorted by, as it is stored, and the name or row that decides among equals.
    pub key: (i64, String),
    /// What was found; `None`: the last of the rows that were looked at, which is not meant.
    pub found: Option<T>,
}

/// What [`repository`] reads: `f` figures, `r` repository, `c` what is not folded yet.
macro_rules! columns {
    () => {
        "r.name, r.description, r.mutable_tags, r.created,
         CASE WHEN c.changed > f.changed THEN c.changed ELSE f.changed END, f.pulls + COALESCE(c.pulls, 0), f.tags + COALESCE(c.tags, 0),
         f.artifacts + COALESCE(c.living, 0), f.bytes + COALESCE(c.own_bytes, 0), f.image_bytes + COALESCE(c.image_bytes, 0), r.epoch"
    };
}

/// The sums of changes that are not folded yet, for some of them.
macro_rules! pending {
    ($of:literal) => {
        concat!(
            "LEFT JOIN (SELECT repository, MAX(changed) AS changed, CAST(SUM(pulls) AS BIGINT) AS pulls, CAST(SUM(tags) AS BIGINT) AS tags,
             CAST(SUM(living) AS BIGINT) AS living, CAST(SUM(own_bytes) AS BIGINT) AS own_bytes,
             CAST(SUM(image_bytes) AS BIGINT) AS image_bytes FROM usage_change WHERE ",
            $of,
            " GROUP BY repository) AS c ON c.repository = f.repository "
        )
    };
}

const COLUMNS: usize = 11;

fn repository(row: &Row<'_>) -> Result<Repository, DbError> {
    Ok(Repository {
        name: row.get(0)?,
        description: row.get(1)?,
        mutable_tags: row.get(2)?,
        created: row.get(3)?,
        changed: row.get(4)?,
        pulls: row.get(5)?,
        tags: row.get(6)?,
        artifacts: row.get(7)?,
        bytes: row.get(8)?,
        image_bytes: row.get(9)?,
        epoch: row.get(10)?,
    })
}

/// One text for each order and direction: `$1` registry, `$2` and `$3` the key behind which it begins, `$4` what the name contains, `$5` how many
/// rows are looked at, `$6` how many are wanted.
macro_rules! list_sql {
    ($key:literal, $behind:literal, $order:literal) => {
        concat!(
            "SELECT ",
            columns!(),
            ", f.sort_key, f.nth = $5 AND NOT f.meant FROM (
             SELECT w.*, lower(w.name) LIKE $4 ESCAPE '\\' AS meant, row_number() OVER (ORDER BY ",
            $order,
            ") AS nth FROM (SELECT *, ",
            $key,
            " AS sort_key FROM repository_figures WHERE listed_in = $1 AND ",
            $behind,
            " ORDER BY ",
            $order,
            " LIMIT $5) AS w) AS f JOIN repository r ON r.id = f.repository ",
            pending!("registry = $1"),
            "WHERE f.meant OR f.nth = $5 ORDER BY f.nth LIMIT $6"
        )
    };
}

/// What of a registry's repositories is asked for.
#[derive(Clone, Debug)]
pub struct Asked<'a> {
    /// Part of the name.
    pub search: &'a str,
    /// The order.
    pub order: Order,
    /// From the last one to the first.
    pub descending: bool,
    /// The key behind which the page begins.
    pub after: Option<(i64, String)>,
    /// How many are wanted.
    pub limit: i64,
}

/// A page of the repositories of a registry that were pushed to. The order is that of figures which may be some seconds old; what is shown
/// is exact.
pub async fn list(db: &Db, registry: i64, asked: &Asked<'_>) -> Result<Vec<Looked<Repository>>, DbError> {
    let sql = match (asked.order, asked.descending) {
        (Order::Name, false) => list_sql!("CAST($2 AS BIGINT)", "name > $3", "name"),
        (Order::Name, true) => list_sql!("CAST($2 AS BIGINT)", "name < $3", "name DESC"),
        (Order::Changed, false) => list_sql!("changed", "(changed, name) > ($2, $3)", "changed, name"),
        (Order::Changed, true) => list_sql!("changed", "(changed, name) < ($2, $3)", "changed DESC, name DESC"),
        (Order::Pulls, false) => list_sql!("pulls", "(pulls, name) > ($2, $3)", "pulls, name"),
        (Order::Pulls, true) => list_sql!("pulls", "(pulls, name) < ($2, $3)", "pulls DESC, name DESC"),
        (Order::Size, false) => list_sql!("bytes", "(bytes, name) > ($2, $3)", "bytes, name"),
        (Order::Size, true) => list_sql!("bytes", "(bytes, name) < ($2, $3)", "bytes DESC, name DESC"),
    };
    let (key, name) = begin(asked.after.clone(), asked.descending);
    let window = if asked.search.is_empty() { asked.limit } else { WINDOW };
    db.list(sql, params![registry, key, name, containing(asked.search), window, asked.limit], |row| {
        let found = repository(row)?;
        let key = (row.get::<i64>(COLUMNS)?, found.name.clone());
        Ok(Looked { key, found: (!row.get::<bool>(COLUMNS + 1)?).then_some(found) })
    })
    .await
}

/// The key behind which a list begins: before everything, where none is given.
pub(crate) fn begin(after: Option<(i64, String)>, descending: bool) -> (i64, String) {
    after.unwrap_or_else(|| if descending { (i64::MAX, char::MAX.to_string()) } else { (i64::MIN, String::new()) })
}

/// The pattern of texts in which this one occurs, whatever the case of its letters.
pub(crate) fn containing(text: &str) -> String {
    let mut pattern = String::from("%");
    for letter in text.to_ascii_lowercase().chars() {
        if matches!(letter, '%' | '_' | '\\') {
            pattern.push('\\');
        }
        pattern.push(letter);
    }
    pattern.push('%');
    pattern
}

/// One repository that was pushed to, with its full description.
pub async fn show(db: &Db, repository: i64) -> Result<Option<(Repository, String)>, DbError> {
    const SHOW: &str = concat!(
        "SELECT ",
        columns!(),
        ", r.full_description FROM repository_figures f JOIN repository r ON r.id = f.repository ",
        pending!("repository = $1"),
        "WHERE f.repository = $1 AND f.listed_in IS NOT NULL"
    );
    db.query_opt(SHOW, params![repository], |row| Ok((self::repository(row)?, row.get(COLUMNS)?))).await
}

/// Begins to count for a new repository.
pub(crate) async fn insert(tx: &mut Tx<'_>, repository: i64, name: &str) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO repository_figures (repository, name, changed, pulls, artifacts, tags, bytes, image_bytes)
         VALUES ($1, $2, {now}, 0, 0, 0, 0, 0)",
        params![repository, name],
    )
    .await
    .map(drop)
}

/// Puts it on the list of its registry, or takes it off. One that a program of before step 4 made has no figures yet: they begin here.
pub(crate) async fn set_listed(tx: &mut Tx<'_>, repository: i64, registry: Option<i64>) -> Result<(), DbError> {
    const SET: &str = "INSERT INTO repository_figures (repository, listed_in, name, changed, pulls, artifacts, tags, bytes, image_bytes)
         SELECT id, CAST($2 AS BIGINT), name, created, 0, 0, 0, 0, 0 FROM repository WHERE id = $1
         ON CONFLICT (repository) DO UPDATE SET listed_in = excluded.listed_in";
    tx.execute(SET, params![repository, registry]).await.map(drop)
}

/// The repository is gone.
pub(crate) async fn forget(tx: &mut Tx<'_>, repository: i64) -> Result<(), DbError> {
    tx.execute("DELETE FROM repository_figures WHERE repository = $1", params![repository]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_searched_for_is_no_pattern() {
        assert_eq!(containing("App_1%"), r"%app\_1\%%");
    }
}
