//! Artifacts as lists and views show them.

use roadstead_model::Digest;

use crate::{
    Db, DbError, Row,
    figures::{Looked, WINDOW},
    params,
    tag_views::{claimed, compressed_size, digest},
};

/// How many of its tags an artifact shows in a list.
pub const TAGS_SHOWN: usize = 20;

/// An artifact that lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Artifact {
    /// Its row.
    pub id: i64,
    /// Its digest.
    pub digest: Digest,
    /// The type it was pushed with.
    pub media_type: String,
    /// `image`, `index`, `chart`, `signature`, `artifact`.
    pub kind: String,
    /// Its artifact type, or that of its config.
    pub artifact_type: Option<String>,
    /// What it refers to.
    pub subject: Option<Digest>,
    /// Its first [`TAGS_SHOWN`] tags.
    pub tags: Vec<String>,
    /// It has more tags.
    pub more_tags: bool,
    /// Of an index: those of its children.
    pub platforms: Vec<String>,
    /// Compressed bytes, manifest included; of an index with its children.
    pub size: i64,
    /// Microseconds since 1970.
    pub pushed: i64,
    /// By whom.
    pub pushed_by: String,
    /// When it was pulled for the last time; microseconds since 1970.
    pub pulled: Option<i64>,
    /// How often it was pulled.
    pub pulls: i64,
}

/// No tag and no platform that is shown has a line feed in it, so lists of them come as one text.
macro_rules! columns {
    () => {
        concat!(
            "a.id, m.digest, a.media_type, a.kind, a.artifact_type, a.subject,
             (SELECT string_agg(t.name, '\n') FROM (SELECT name FROM tag WHERE artifact = a.id ORDER BY name LIMIT 21) AS t),
             (SELECT string_agg(e.platform, '\n') FROM (SELECT platform FROM artifact_edge
                 WHERE artifact = a.id AND role = 'child' AND platform IS NOT NULL ORDER BY position LIMIT 50) AS e), ",
            compressed_size!(),
            ", a.pushed_at, a.pushed_by, l.pulled_at, COALESCE(l.pulls, 0)"
        )
    };
}

const COLUMNS: usize = 13;

fn artifact(row: &Row<'_>) -> Result<Artifact, DbError> {
    let lines = |column: usize| -> Result<Vec<String>, DbError> {
        let text = row.get::<Option<String>>(column)?.unwrap_or_default();
        Ok(text.lines().map(str::to_owned).collect())
    };
    let mut tags = lines(6)?;
    tags.sort_unstable();
    let more_tags = tags.len() > TAGS_SHOWN;
    tags.truncate(TAGS_SHOWN);
    Ok(Artifact {
        id: row.get(0)?,
        digest: digest(row, 1)?,
        media_type: row.get(2)?,
        kind: row.get(3)?,
        artifact_type: row.get(4)?,
        subject: row.get::<Option<Vec<u8>>>(5)?.and_then(|stored| Digest::from_stored(&stored)),
        tags,
        more_tags,
        platforms: lines(7)?,
        size: row.get(8)?,
        pushed: row.get(9)?,
        pushed_by: row.get(10)?,
        pulled: row.get(11)?,
        pulls: row.get(12)?,
    })
}

/// All digests from one to another, as they are stored.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Between {
    /// The first one that is meant.
    pub first: Vec<u8>,
    /// The last one that is meant.
    pub last: Vec<u8>,
}

/// What of a repository's artifacts is asked for.
#[derive(Clone, Debug, Default)]
pub struct Asked {
    /// Those that are meant; `None`: all.
    pub digests: Option<Between>,
    /// The kind; empty: all.
    pub kind: String,
    /// With a tag, or without one.
    pub tagged: Option<bool>,
    /// The time of the push and the row before which the page begins.
    pub before: Option<(i64, i64)>,
    /// How many are wanted.
    pub limit: i64,
}

/// A page of the artifacts of a repository, the newest push first. The keys are the time of the push and the row.
pub async fn list(db: &Db, repository: i64, asked: &Asked) -> Result<Vec<Looked<Artifact>>, DbError> {
    let all = asked.digests.is_none() && asked.kind.is_empty() && asked.tagged.is_none();
    let window = if all { asked.limit } else { WINDOW };
    let (pushed, id) = asked.before.unwrap_or((i64::MAX, i64::MAX));
    let Between { first, last } = asked.digests.clone().unwrap_or_default();
    db.list(
        concat!(
            "SELECT ",
            columns!(),
            ", a.nth = $9 AND NOT a.meant FROM (
             SELECT w.*, row_number() OVER (ORDER BY w.pushed_at DESC, w.id DESC) AS nth,
                 ($4 = '' OR w.kind = $4)
                 AND (CAST($5 AS BOOLEAN) IS NULL OR EXISTS (SELECT 1 FROM tag WHERE artifact = w.id) = CAST($5 AS BOOLEAN))
                 AND (NOT CAST($6 AS BOOLEAN)
                      OR EXISTS (SELECT 1 FROM manifest x WHERE x.id = w.manifest AND x.digest >= $7 AND x.digest <= $8)) AS meant
             FROM (SELECT * FROM artifact WHERE repository = $1 AND deletion IS NULL AND (pushed_at, id) < ($2, $3)
                   ORDER BY pushed_at DESC, id DESC LIMIT $9) AS w) AS a
             JOIN manifest m ON m.id = a.manifest LEFT JOIN artifact_pull l ON l.artifact = a.id
             WHERE a.meant OR a.nth = $9 ORDER BY a.nth LIMIT $10"
        ),
        params![
            repository,
            pushed,
            id,
            &asked.kind,
            asked.tagged,
            asked.digests.is_some(),
            first,
            last,
            window,
            asked.limit
        ],
        |row| {
            let found = artifact(row)?;
            let key = (found.pushed, found.id.to_string());
            Ok(Looked { key, found: (!row.get::<bool>(COLUMNS)?).then_some(found) })
        },
    )
    .await
}

/// One artifact.
pub async fn show(db: &Db, repository: i64, digest: &Digest) -> Result<Option<Artifact>, DbError> {
    const SHOW: &str = concat!(
        "SELECT ",
        columns!(),
        " FROM manifest m JOIN artifact a ON a.manifest = m.id AND a.repository = $1 AND a.deletion IS NULL
         LEFT JOIN artifact_pull l ON l.artifact = a.id WHERE m.digest = $2"
    );
    db.query_opt(SHOW, params![repository, digest.to_stored()], artifact).await
}

/// What an artifact names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// `config`, `layer` or `child`.
    pub role: String,
    /// Its digest.
    pub digest: Digest,
    /// Its media type, as the manifest says.
    pub media_type: String,
    /// Bytes, as the manifest says.
    pub size: i64,
    /// `os/architecture[/variant]`.
    pub platform: Option<String>,
    /// Of a child that lives here: its compressed bytes.
    pub whole: Option<i64>,
}

/// Config, layers and children of an artifact, in the order of its manifest, at most `limit`.
pub async fn named(db: &Db, artifact: i64, limit: i64) -> Result<Vec<Named>, DbError> {
    db.list(
        concat!(
            "SELECT e.role, e.digest, e.media_type, e.size, e.platform, (SELECT ",
            claimed!("c"),
            " FROM manifest x JOIN artifact c ON c.repository = e.repository AND c.manifest = x.id AND c.deletion IS NULL
                 WHERE x.digest = e.digest AND e.role = 'child')
             FROM artifact_edge e WHERE e.artifact = $1 AND e.role <> 'subject' ORDER BY e.position LIMIT $2"
        ),
        params![artifact, limit],
        |row| {
            Ok(Named {
                role: row.get(0)?,
                digest: digest(row, 1)?,
                media_type: row.get(2)?,
                size: row.get(3)?,
                platform: row.get(4)?,
                whole: row.get(5)?,
            })
        },
    )
    .await
}
