//! Pulls: how often, on which day, and when for the last time. Counted in memory and added up here some seconds later.

use crate::{
    Db, DbError, Tx, params,
    usage::{self, Change},
};

/// Manifests of one artifact that were pulled on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pulled {
    /// Row of the registry.
    pub registry: i64,
    /// Row of the repository.
    pub repository: i64,
    /// Row of the artifact.
    pub artifact: i64,
    /// Days since 1970, UTC.
    pub day: i64,
    /// How many.
    pub pulls: i64,
    /// The last one; microseconds since 1970.
    pub last: i64,
}

/// Adds up pulls, which are given in the order of repositories, artifacts and days: so two nodes that do it at once do not wait for each other.
/// What is gone meanwhile is left out.
pub async fn add(tx: &mut Tx<'_>, pulled: &[Pulled]) -> Result<(), DbError> {
    for of_one in pulled.chunk_by(|one, next| one.repository == next.repository) {
        let mut change = Change::of(of_one[0].registry, of_one[0].repository);
        for one in of_one {
            const HERE: &str = "SELECT 1 FROM artifact WHERE id = $1";
            if tx.query_opt(HERE, params![one.artifact], |_| Ok(())).await?.is_none() {
                continue;
            }
            tx.execute(
                "INSERT INTO pull_day (repository, day, artifact, pulls) VALUES ($1, $2, $3, $4)
                 ON CONFLICT (repository, day, artifact) DO UPDATE SET pulls = pull_day.pulls + excluded.pulls",
                params![one.repository, one.day, one.artifact, one.pulls],
            )
            .await?;
            tx.execute(
                "INSERT INTO artifact_pull (artifact, pulls, pulled_at) VALUES ($1, $2, $3)
                 ON CONFLICT (artifact) DO UPDATE SET pulls = artifact_pull.pulls + excluded.pulls,
                 pulled_at = CASE WHEN artifact_pull.pulled_at > excluded.pulled_at THEN artifact_pull.pulled_at ELSE excluded.pulled_at END",
                params![one.artifact, one.pulls, one.last],
            )
            .await?;
            change.pulls += one.pulls;
        }
        usage::add(tx, &change).await?;
    }
    Ok(())
}

/// How many manifests of a repository were pulled on each day (days since 1970, UTC) of the range, both ends included; days of which
/// nothing is kept are left out.
pub async fn by_day(db: &Db, repository: i64, from: i64, to: i64) -> Result<Vec<(i64, i64)>, DbError> {
    const SQL: &str = "SELECT day, CAST(SUM(pulls) AS BIGINT) FROM pull_day
        WHERE repository = $1 AND day >= $2 AND day <= $3 GROUP BY day ORDER BY day";
    db.list(SQL, params![repository, from, to], |row| Ok((row.get(0)?, row.get(1)?))).await
}

/// Drops up to `limit` days of pulls that are older than `age` microseconds; how many.
pub async fn drop_old(tx: &mut Tx<'_>, age: i64, limit: i64) -> Result<u64, DbError> {
    tx.execute(
        "DELETE FROM pull_day WHERE (repository, day, artifact) IN (
         SELECT repository, day, artifact FROM pull_day WHERE day < ({now} - $1) / 86400000000 ORDER BY day LIMIT $2)",
        params![age, limit],
    )
    .await
}
