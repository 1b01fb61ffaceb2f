//! The reads of a pull: rights and target in one statement, one round trip (architecture.md 3).

use roadstead_model::{Digest, Place, Reference};

use crate::{
    Db, DbError, Row,
    facts::{Facts, WIDTH, facts_sql},
    params,
};

/// A manifest that a reference led to.
#[derive(Clone, Debug)]
pub struct FoundManifest {
    /// Its row; its body never changes.
    pub manifest: i64,
    /// Its digest.
    pub digest: Digest,
    /// The type it was pushed with here.
    pub media_type: String,
}

/// A blob that is visible in the repository that was asked.
#[derive(Clone, Debug)]
pub struct FoundBlob {
    /// Its row.
    pub id: i64,
    /// Bytes.
    pub size: i64,
    /// Row of its bucket.
    pub bucket: i64,
    /// Key of its object.
    pub key: String,
    /// Microseconds until the collector looks at it, if it is going to.
    pub review_in: Option<i64>,
}

/// The facts of a place.
pub async fn facts(db: &Db, place: &Place, key: Option<i64>) -> Result<Facts, DbError> {
    let found = db
        .query_opt(
            facts_sql!("", "", ""),
            params![place.registry.as_str(), place.repository.as_str(), key],
            Facts::from_row,
        )
        .await?;
    Ok(found.unwrap_or_default())
}

/// Facts and manifest of a reference.
pub async fn manifest(
    db: &Db,
    place: &Place,
    reference: &Reference,
    key: Option<i64>,
) -> Result<(Facts, Option<FoundManifest>), DbError> {
    let (registry, repository) = (place.registry.as_str(), place.repository.as_str());
    let found = match reference {
        Reference::Tag(tag) => {
            db.query_opt(
                facts_sql!(
                    ", a.id, m.id, m.digest, a.media_type",
                    " LEFT JOIN tag t ON t.repository = r.id AND t.name = $4
                      LEFT JOIN artifact a ON a.id = t.artifact AND a.deletion IS NULL
                      LEFT JOIN manifest m ON m.id = a.manifest",
                    ""
                ),
                params![registry, repository, key, tag.as_str()],
                found_manifest,
            )
            .await?
        }
        Reference::Digest(digest) => {
            db.query_opt(
                facts_sql!(
                    ", a.id, m.id, m.digest, a.media_type",
                    " LEFT JOIN manifest m ON m.digest = $4
                      LEFT JOIN artifact a ON a.repository = r.id AND a.manifest = m.id AND a.deletion IS NULL",
                    ""
                ),
                params![registry, repository, key, digest.to_stored()],
                found_manifest,
            )
            .await?
        }
    };
    Ok(found.unwrap_or_default())
}

fn found_manifest(row: &Row<'_>) -> Result<(Facts, Option<FoundManifest>), DbError> {
    let facts = Facts::from_row(row)?;
    if row.get::<Option<i64>>(WIDTH)?.is_none() {
        return Ok((facts, None));
    }
    let stored = row.get::<Vec<u8>>(WIDTH + 2)?;
    let digest =
        Digest::from_stored(&stored).ok_or_else(|| DbError::Internal("a stored digest can't be read".to_owned()))?;
    let found = FoundManifest { manifest: row.get(WIDTH + 1)?, digest, media_type: row.get(WIDTH + 3)? };
    Ok((facts, Some(found)))
}

/// The bytes of a manifest.
pub async fn manifest_body(db: &Db, manifest: i64) -> Result<Option<Vec<u8>>, DbError> {
    db.query_opt("SELECT body FROM manifest WHERE id = $1", params![manifest], |row| row.get(0)).await
}

/// Facts and blob of a digest.
pub async fn blob(
    db: &Db,
    place: &Place,
    digest: &Digest,
    key: Option<i64>,
) -> Result<(Facts, Option<FoundBlob>), DbError> {
    let found = db
        .query_opt(
            facts_sql!(
                ", l.blob, b.size, b.bucket, b.object_key, v.due - {now}",
                " LEFT JOIN blob b ON b.bucket = g.bucket AND b.digest = $4
                  LEFT JOIN repository_blob l ON l.repository = r.id AND l.blob = b.id AND l.hidden = $5
                  LEFT JOIN link_review v ON v.repository = l.repository AND v.blob = l.blob",
                ""
            ),
            params![place.registry.as_str(), place.repository.as_str(), key, digest.to_stored(), false],
            |row| {
                let facts = Facts::from_row(row)?;
                let found = match row.get::<Option<i64>>(WIDTH)? {
                    Some(id) => Some(FoundBlob {
                        id,
                        size: row.get(WIDTH + 1)?,
                        bucket: row.get(WIDTH + 2)?,
                        key: row.get(WIDTH + 3)?,
                        review_in: row.get(WIDTH + 4)?,
                    }),
                    None => None,
                };
                Ok((facts, found))
            },
        )
        .await?;
    Ok(found.unwrap_or_default())
}
