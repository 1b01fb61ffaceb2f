//! What is stored and counted: of each registry, of each repository, of a project; written in the transaction of each change.

use std::collections::BTreeMap;

use crate::{Db, DbError, Engine, Row, Tx, params};

/// What one transaction adds to (or takes from) the figures of a repository and of its registry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Change {
    /// Row of the registry.
    pub registry: i64,
    /// Row of the repository.
    pub repository: i64,
    /// Repositories of the registry that have an artifact: 1 when this one has its first, -1 when it has none any more.
    pub repositories: i64,
    /// Artifacts of the registry, those in the trash included.
    pub artifacts: i64,
    /// Bytes of the registry's blobs, each once.
    pub bytes: i64,
    /// Tags of both.
    pub tags: i64,
    /// Bytes of all artifacts of both, blobs counted for each artifact that holds them.
    pub image_bytes: i64,
    /// Artifacts of the repository that live.
    pub living: i64,
    /// Bytes of the repository's blobs, each once.
    pub own_bytes: i64,
    /// Manifests of the repository that were pulled.
    pub pulls: i64,
    /// What the repository shows was changed now.
    pub changed: bool,
}

impl Change {
    /// Nothing yet.
    pub fn of(registry: i64, repository: i64) -> Self {
        Self { registry, repository, ..Self::default() }
    }

    fn is_of_registry(&self) -> bool {
        [self.repositories, self.artifacts, self.bytes, self.tags, self.image_bytes].iter().any(|it| *it != 0)
    }

    fn is_of_repository(&self) -> bool {
        let figures = [self.tags, self.image_bytes, self.living, self.own_bytes, self.pulls];
        self.changed || figures.iter().any(|it| *it != 0)
    }
}

const ADD_TO_REGISTRY: &str =
    "UPDATE usage SET repositories = repositories + $2, artifacts = artifacts + $3, bytes = bytes + $4,
     tags = tags + $5, image_bytes = image_bytes + $6 WHERE registry = $1";

const ADD_TO_REPOSITORY: &str = "UPDATE repository_figures SET tags = tags + $2, image_bytes = image_bytes + $3, artifacts = artifacts + $4,
     changed = CASE WHEN CAST($6 AS BOOLEAN) THEN {now} WHEN CAST($5 AS BIGINT) > changed THEN CAST($5 AS BIGINT) ELSE changed END
     WHERE repository = $1";

// An index that a list is sorted by is written again whenever its column is set, be it to what it was: so each of these by itself.
const ADD_BYTES: &str = "UPDATE repository_figures SET bytes = bytes + $2 WHERE repository = $1";
const ADD_PULLS: &str = "UPDATE repository_figures SET pulls = pulls + $2 WHERE repository = $1";

/// What is added to the row of a repository.
struct OfRepository {
    tags: i64,
    image_bytes: i64,
    living: i64,
    own_bytes: i64,
    pulls: i64,
    /// When, if it was not in this transaction.
    changed_at: Option<i64>,
    changed_now: bool,
}

impl OfRepository {
    async fn add(&self, tx: &mut Tx<'_>, repository: i64) -> Result<(), DbError> {
        let Self { tags, image_bytes, living, own_bytes, pulls, changed_at, changed_now } = *self;
        if changed_now || changed_at.is_some() || [tags, image_bytes, living].iter().any(|it| *it != 0) {
            tx.execute(ADD_TO_REPOSITORY, params![repository, tags, image_bytes, living, changed_at, changed_now])
                .await?;
        }
        for (statement, more) in [(ADD_BYTES, own_bytes), (ADD_PULLS, pulls)] {
            if more != 0 {
                tx.execute(statement, params![repository, more]).await?;
            }
        }
        Ok(())
    }
}

/// Adds a change. Where many write at once they don't wait for one another's row: each appends one that is folded later. Only the row of a
/// repository that comes on the list of its registry, or off it, is written at once.
pub async fn add(tx: &mut Tx<'_>, change: &Change) -> Result<(), DbError> {
    let (of_registry, of_repository) = (change.is_of_registry(), change.is_of_repository());
    if change.repositories != 0 {
        let listed_in = (change.repositories > 0).then_some(change.registry);
        crate::figures::set_listed(tx, change.repository, listed_in).await?;
    }
    if !of_registry && !of_repository {
        return Ok(());
    }
    if tx.engine() == Engine::Postgres {
        return append(tx, change).await;
    }
    if of_registry {
        let Change { registry, repositories, artifacts, bytes, tags, image_bytes, .. } = *change;
        tx.execute(ADD_TO_REGISTRY, params![registry, repositories, artifacts, bytes, tags, image_bytes]).await?;
    }
    if of_repository {
        let Change { repository, tags, image_bytes, living, own_bytes, pulls, changed, .. } = *change;
        let more = OfRepository { tags, image_bytes, living, own_bytes, pulls, changed_at: None, changed_now: changed };
        more.add(tx, repository).await?;
    }
    Ok(())
}

async fn append(tx: &mut Tx<'_>, change: &Change) -> Result<(), DbError> {
    tx.execute(
        "INSERT INTO usage_change (registry, repository, repositories, artifacts, bytes, tags, image_bytes, living, own_bytes, pulls, changed)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, CASE WHEN CAST($11 AS BOOLEAN) THEN {now} END)",
        params![
            change.registry,
            change.repository,
            change.repositories,
            change.artifacts,
            change.bytes,
            change.tags,
            change.image_bytes,
            change.living,
            change.own_bytes,
            change.pulls,
            change.changed
        ],
    )
    .await
    .map(drop)
}

/// Folds up to `limit` changes into the figures; how many it took. Rows of figures are locked in the order of their numbers, those of registries
/// first.
pub async fn fold(tx: &mut Tx<'_>, limit: i64) -> Result<usize, DbError> {
    let rows = tx
        .query(
            "SELECT id, registry, repository, repositories, artifacts, bytes, tags, image_bytes, living, own_bytes, pulls, changed
             FROM usage_change ORDER BY id LIMIT $1 {skip_locked}",
            params![limit],
            |row| {
                let figures = (3..=10).map(|column| row.get::<i64>(column)).collect::<Result<Vec<_>, _>>()?;
                Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<Option<i64>>(2)?, figures, row.get::<Option<i64>>(11)?))
            },
        )
        .await?;
    let mut registries = BTreeMap::<i64, [i64; 5]>::new();
    let mut repositories = BTreeMap::<i64, ([i64; 5], Option<i64>)>::new();
    for (id, registry, repository, figures, changed) in &rows {
        let sums = registries.entry(*registry).or_default();
        sums.iter_mut().zip(&figures[..5]).for_each(|(sum, more)| *sum += more);
        if let Some(repository) = repository {
            let (sums, last) = repositories.entry(*repository).or_default();
            sums.iter_mut().zip(&figures[3..]).for_each(|(sum, more)| *sum += more);
            *last = (*last).max(*changed);
        }
        tx.execute("DELETE FROM usage_change WHERE id = $1", params![*id]).await?;
    }
    for (registry, [repositories, artifacts, bytes, tags, images]) in registries {
        tx.execute(ADD_TO_REGISTRY, params![registry, repositories, artifacts, bytes, tags, images]).await?;
    }
    for (repository, ([tags, image_bytes, living, own_bytes, pulls], changed_at)) in repositories {
        let more = OfRepository { tags, image_bytes, living, own_bytes, pulls, changed_at, changed_now: false };
        more.add(tx, repository).await?;
    }
    Ok(rows.len())
}

/// What is stored, what lies in the trash included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Repositories that have an artifact.
    pub repositories: i64,
    /// Artifacts.
    pub artifacts: i64,
    /// Tags.
    pub tags: i64,
    /// Bytes of the blobs, each counted once in its registry.
    pub bytes: i64,
    /// Bytes of all artifacts, with what several of them have counted for each.
    pub image_bytes: i64,
}

impl Usage {
    /// From the five columns that begin there.
    pub(crate) fn from_row(row: &Row<'_>, first: usize) -> Result<Self, DbError> {
        Ok(Self {
            repositories: row.get(first)?,
            artifacts: row.get(first + 1)?,
            tags: row.get(first + 2)?,
            bytes: row.get(first + 3)?,
            image_bytes: row.get(first + 4)?,
        })
    }
}

/// How many registries a project has, those in the trash included, and what they store.
pub async fn of_project(db: &Db, project: i64) -> Result<(i64, Usage), DbError> {
    let found = db
        .list(
            "SELECT COUNT(*), CAST(COALESCE(SUM(one.repositories), 0) AS BIGINT), CAST(COALESCE(SUM(one.artifacts), 0) AS BIGINT),
             CAST(COALESCE(SUM(one.tags), 0) AS BIGINT), CAST(COALESCE(SUM(one.bytes), 0) AS BIGINT),
             CAST(COALESCE(SUM(one.image_bytes), 0) AS BIGINT)
             FROM (SELECT u.repositories + COALESCE(c.repositories, 0) AS repositories, u.artifacts + COALESCE(c.artifacts, 0) AS artifacts,
                          u.tags + COALESCE(c.tags, 0) AS tags, u.bytes + COALESCE(c.bytes, 0) AS bytes,
                          u.image_bytes + COALESCE(c.image_bytes, 0) AS image_bytes
                   FROM registry g JOIN usage u ON u.registry = g.id
                   LEFT JOIN (SELECT registry, SUM(repositories) AS repositories, SUM(artifacts) AS artifacts, SUM(tags) AS tags,
                                     SUM(bytes) AS bytes, SUM(image_bytes) AS image_bytes FROM usage_change GROUP BY registry) AS c
                   ON c.registry = g.id WHERE g.project = $1) AS one",
            params![project],
            |row| Ok((row.get::<i64>(0)?, Usage::from_row(row, 1)?)),
        )
        .await?;
    Ok(found.into_iter().next().unwrap_or_default())
}
