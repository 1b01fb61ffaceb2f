//! Pulls: manifests and blobs, each found with one read that answers the rights facts too.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use roadstead_blobs::{BlobError, ByteBody};
use roadstead_db::{
    DbError, blob,
    facts::Asker,
    pull::{self, FoundManifest},
};
use roadstead_model::{Digest, Place, Reach, Reference};

use crate::{Core, Error, Gate, Result, core::BodyOf};

/// A manifest that a reference led to. Its bytes come by [`Core::manifest_body`].
#[derive(Clone, Debug)]
pub struct Manifest(Arc<FoundManifest>);

impl Manifest {
    /// Its digest in double quotes, in the algorithm it was pushed with.
    pub fn quoted_digest(&self) -> &Bytes {
        &self.0.quoted_digest
    }

    /// Exactly as it was pushed.
    pub fn media_type(&self) -> &Bytes {
        &self.0.media_type
    }

    /// Bytes of its body.
    pub fn size(&self) -> u64 {
        self.0.size
    }

    pub(crate) fn artifact(&self) -> i64 {
        self.0.artifact
    }
}

/// A blob that is visible in the repository that was asked.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its digest.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    row: i64,
    bucket: i64,
    /// Key of its object; `None`: its bytes are in the database.
    key: Option<Arc<str>>,
    /// Microseconds until the collector looks at it.
    review_in: Option<i64>,
}

/// The bytes of a blob.
pub enum Download {
    /// At this presigned address.
    Address(String),
    /// From this node.
    Bytes(ByteBody),
}

impl Core {
    /// The one read of a manifest pull: facts and manifest together. Decide on the facts before using the manifest.
    pub async fn find_manifest<'a>(
        &self,
        place: &Place,
        reference: &Reference,
        asker: impl Into<Asker<'a>>,
    ) -> Result<(Gate, Option<Manifest>)> {
        let (facts, found) = pull::manifest(self.db(), place, reference, asker.into()).await?;
        Ok((Gate { facts }, found.map(Manifest)))
    }

    /// The exact bytes of a manifest that was found. [`Error::ManifestUnknown`]: it was purged in this moment.
    pub async fn manifest_body(&self, manifest: &Manifest) -> Result<Bytes> {
        let body = self.body(BodyOf::Manifest(manifest.0.manifest)).await?;
        body.ok_or_else(|| Error::ManifestUnknown(manifest.0.digest.to_string()))
    }

    /// Bytes that lie in the database, or in memory since they were asked for the last time.
    async fn body(&self, of: BodyOf) -> Result<Option<Bytes>> {
        if let Some(body) = self.bodies().get(&of) {
            return Ok(Some(body));
        }
        let body = match of {
            BodyOf::Manifest(row) => pull::manifest_body(self.db(), row).await?,
            BodyOf::Blob(row) => pull::blob_body(self.db(), row).await?,
        };
        let body = body.map(Bytes::from);
        if let Some(body) = &body {
            self.bodies().insert(of, body.clone());
        }
        Ok(body)
    }

    /// The one read of a blob pull.
    pub async fn find_blob<'a>(
        &self,
        place: &Place,
        digest: &Digest,
        asker: impl Into<Asker<'a>>,
    ) -> Result<(Gate, Option<Blob>)> {
        let (facts, found) = pull::blob(self.db(), place, digest, asker.into()).await?;
        let blob = found.map(|found| Blob {
            digest: *digest,
            size: u64::try_from(found.size).unwrap_or(0),
            row: found.id,
            bucket: found.bucket,
            key: found.key,
            review_in: found.review_in,
        });
        Ok((Gate { facts }, blob))
    }

    /// After a HEAD said yes: the blob stays long enough to be used in a manifest. False: it is gone after all.
    pub async fn keep_blob(&self, gate: &Gate, blob: &Blob) -> Result<bool> {
        let grace = self.options().collect_grace;
        if blob.review_in.is_none_or(|review_in| review_in >= grace / 2) {
            return Ok(true);
        }
        let input = (gate.repository()?, blob.row, grace);
        let kept = self
            .db()
            .write(input, |tx, (repository, blob, grace)| Box::pin(blob::keep(tx, *repository, *blob, *grace)));
        Ok(Box::pin(kept).await.map_err(|error: DbError| error)?)
    }

    /// The bytes `range` of a blob; [`Error::BlobUnknown`] when it was deleted and removed since it was found. `redirect`: a presigned address is welcome
    /// that can be reached from there (of the whole object; the client sends its Range there).
    pub async fn download(&self, blob: &Blob, range: Range<u64>, redirect: Option<Reach>) -> Result<Download> {
        let Some(key) = &blob.key else {
            let body = self.body(BodyOf::Blob(blob.row)).await?.ok_or(Error::BlobUnknown(blob.digest))?;
            return Ok(Download::Bytes(ByteBody::full(part_of(&body, range)?)));
        };
        let bucket = self.bucket(blob.bucket)?;
        if let Some(reach) = redirect
            && let Some(address) = bucket.presign(key, reach).await?
        {
            return Ok(Download::Address(address));
        }
        match bucket.read(key, range).await {
            // It was found and then deleted; without a recovery window its object goes at once.
            Err(BlobError::Missing) if !blob::is_there(self.db(), blob.row).await? => {
                Err(Error::BlobUnknown(blob.digest))
            }
            read => Ok(Download::Bytes(read?)),
        }
    }
}

fn part_of(body: &Bytes, range: Range<u64>) -> Result<Bytes> {
    let bounds = usize::try_from(range.start).ok().zip(usize::try_from(range.end).ok());
    match bounds {
        Some((start, end)) if start <= end && end <= body.len() => Ok(body.slice(start..end)),
        _ => Err(Error::Internal(format!("a blob of the database has {} bytes, not {}", body.len(), range.end))),
    }
}
