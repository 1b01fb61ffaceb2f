//! The reads of a pull: rights and target in one statement, one round trip (architecture.md 3).

use std::sync::Arc;

use bytes::Bytes;
use roadstead_model::{Digest, Place, Reference};

use crate::{
    Db, DbError, Row,
    facts::{Asker, Facts, Stored, WIDTH, fact_tables, facts_sql},
    params,
};

/// A manifest that a reference led to.
#[derive(Clone, Debug)]
pub struct FoundManifest {
    /// Row of the artifact that it is here.
    pub artifact: i64,
    /// Its row; its body never changes.
    pub manifest: i64,
    /// Its digest, in the algorithm it was pushed with.
    pub digest: Digest,
    /// The digest as text in double quotes, as entity tags have it: made once for all who are told of it.
    pub quoted_digest: Bytes,
    /// The type it was pushed with here, exactly.
    pub media_type: Bytes,
    /// Bytes of its body.
    pub size: u64,
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
    /// Key of its object; `None`: its bytes are in its row ([`blob_body`]).
    pub key: Option<Arc<str>>,
    /// Microseconds until the collector looks at it, if it is going to.
    pub review_in: Option<i64>,
}

/// The facts of a place.
pub async fn facts(db: &Db, place: &Place, asker: Asker<'_>) -> Result<Facts, DbError> {
    let (found, clock) = db
        .recall(
            fact_tables!(),
            facts_sql!("", "", ""),
            params![place.registry.as_str(), place.repository.as_str(), asker.key, asker.word()],
            Stored::from_row,
        )
        .await?;
    Ok(found.map_or_else(Facts::default, |found| found.at(clock.unwrap_or(found.read))))
}

/// Facts and manifest of a reference.
pub async fn manifest(
    db: &Db,
    place: &Place,
    reference: &Reference,
    asker: Asker<'_>,
) -> Result<(Facts, Option<Arc<FoundManifest>>), DbError> {
    let (registry, repository) = (place.registry.as_str(), place.repository.as_str());
    let tables = fact_tables!("tag", "artifact", "manifest");
    let (found, clock) = match reference {
        Reference::Tag(tag) => {
            db.recall(
                tables,
                facts_sql!(
                    ", a.id, m.id, m.digest, a.media_type, length(m.body)",
                    " LEFT JOIN tag t ON t.repository = r.id AND t.name = $5
                      LEFT JOIN artifact a ON a.id = t.artifact AND a.deletion IS NULL
                      LEFT JOIN manifest m ON m.id = a.manifest",
                    ""
                ),
                params![registry, repository, asker.key, asker.word(), tag.as_str()],
                found_manifest,
            )
            .await?
        }
        Reference::Digest(digest) => {
            db.recall(
                tables,
                facts_sql!(
                    ", a.id, m.id, m.digest, a.media_type, length(m.body)",
                    " LEFT JOIN manifest m ON m.digest = $5
                      LEFT JOIN artifact a ON a.repository = r.id AND a.manifest = m.id AND a.deletion IS NULL",
                    ""
                ),
                params![registry, repository, asker.key, asker.word(), digest.to_stored()],
                found_manifest,
            )
            .await?
        }
    };
    let Some(found) = found else { return Ok(<(Facts, Option<Arc<FoundManifest>>)>::default()) };
    let (facts, manifest) = &*found;
    Ok((facts.at(clock.unwrap_or(facts.read)), manifest.clone()))
}

fn found_manifest(row: &Row<'_>) -> Result<(Stored, Option<Arc<FoundManifest>>), DbError> {
    let facts = Stored::from_row(row)?;
    let Some(artifact) = row.get::<Option<i64>>(WIDTH)? else { return Ok((facts, None)) };
    let digest = Digest::from_stored(row.bytes(WIDTH + 2)?)
        .ok_or_else(|| DbError::Internal("a stored digest can't be read".to_owned()))?;
    let found = FoundManifest {
        artifact,
        manifest: row.get(WIDTH + 1)?,
        digest,
        quoted_digest: format!("\"{digest}\"").into(),
        media_type: row.get::<String>(WIDTH + 3)?.into(),
        size: u64::try_from(row.get::<i64>(WIDTH + 4)?).unwrap_or(0),
    };
    Ok((facts, Some(Arc::new(found))))
}

/// The bytes of a manifest.
pub async fn manifest_body(db: &Db, manifest: i64) -> Result<Option<Vec<u8>>, DbError> {
    db.query_opt("SELECT body FROM manifest WHERE id = $1", params![manifest], |row| row.get(0)).await
}

/// The bytes of a blob that lie in its row; `None`: it is gone.
pub async fn blob_body(db: &Db, blob: i64) -> Result<Option<Vec<u8>>, DbError> {
    db.query_opt("SELECT body FROM blob WHERE id = $1 AND body IS NOT NULL", params![blob], |row| row.get(0)).await
}

/// Facts and blob of a digest.
pub async fn blob(
    db: &Db,
    place: &Place,
    digest: &Digest,
    asker: Asker<'_>,
) -> Result<(Facts, Option<FoundBlob>), DbError> {
    let (found, clock) = db
        .recall(
            fact_tables!("blob", "repository_blob", "link_review"),
            facts_sql!(
                ", l.blob, b.size, b.bucket, b.object_key, v.due",
                " LEFT JOIN blob b ON b.bucket = g.bucket AND b.digest = $5
                  LEFT JOIN repository_blob l ON l.repository = r.id AND l.blob = b.id AND l.hidden = $6
                  LEFT JOIN link_review v ON v.repository = l.repository AND v.blob = l.blob",
                ""
            ),
            params![
                place.registry.as_str(),
                place.repository.as_str(),
                asker.key,
                asker.word(),
                digest.to_stored(),
                false
            ],
            |row| {
                let facts = Stored::from_row(row)?;
                let Some(id) = row.get::<Option<i64>>(WIDTH)? else { return Ok((facts, None, None)) };
                let (size, bucket, key) = (row.get(WIDTH + 1)?, row.get(WIDTH + 2)?, row.get::<String>(WIDTH + 3)?);
                let key = Some(key).filter(|key| !key.is_empty()).map(Arc::from);
                let found = FoundBlob { id, size, bucket, key, review_in: None };
                Ok((facts, Some(found), row.get::<Option<i64>>(WIDTH + 4)?))
            },
        )
        .await?;
    let Some(found) = found else { return Ok(<(Facts, Option<FoundBlob>)>::default()) };
    let (facts, blob, due) = &*found;
    let now = clock.unwrap_or(facts.read);
    let blob = blob.clone().map(|blob| FoundBlob { review_in: due.map(|due| due - now), ..blob });
    Ok((facts.at(now), blob))
}
