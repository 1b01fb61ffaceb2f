//! What the writer of an upload changes in the database, one transaction each.

use roadstead_db::{DbError, Tx, blob, repository, upload};
use roadstead_model::Digest;

use crate::{Error, Result};

/// After so long what a writer that was left behind may have stored is removed, microseconds: a halted process may wake up
/// meanwhile and store it only then.
const LEFT_LIFE: i64 = 3_600_000_000;

/// Takes the row of an upload away whose objects are gone.
pub(super) async fn remove_upload(
    tx: &mut Tx<'_>,
    id: &str,
    epoch: i64,
    bucket: i64,
    left: &[String],
) -> std::result::Result<bool, DbError> {
    if !upload::remove(tx, id, epoch).await? {
        return Ok(false);
    }
    remove_objects(tx, bucket, left, LEFT_LIFE).await?;
    Ok(true)
}

/// What became durable of an upload.
pub(super) struct Save {
    pub(super) id: String,
    pub(super) claim: (i64, i64),
    pub(super) size: i64,
    pub(super) text: String,
    pub(super) lease: i64,
    pub(super) bucket: i64,
    pub(super) superseded: Vec<String>,
    pub(super) left: Vec<String>,
}

impl Save {
    pub(super) async fn run(&self, tx: &mut Tx<'_>) -> std::result::Result<bool, DbError> {
        if !upload::save(tx, &self.id, self.claim, self.size, &self.text, self.lease).await? {
            return Ok(false);
        }
        remove_objects(tx, self.bucket, &self.superseded, 0).await?;
        remove_objects(tx, self.bucket, &self.left, LEFT_LIFE).await?;
        Ok(true)
    }
}

/// The end of an upload: its bytes are a blob of its repository.
pub(super) struct Finish {
    pub(super) id: String,
    pub(super) epoch: i64,
    pub(super) repository: i64,
    pub(super) bucket: i64,
    pub(super) digest: Digest,
    pub(super) size: i64,
    pub(super) key: String,
    pub(super) superseded: Vec<String>,
    pub(super) left: Vec<String>,
    pub(super) grace: i64,
}

impl Finish {
    pub(super) async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let held = repository::hold(tx, self.repository).await?.ok_or(Error::NameUnknown)?;
        if !upload::finish(tx, &self.id, self.epoch, &self.digest, self.size).await? {
            return Err(Error::UploadBusy);
        }
        let (blob, ours) = blob::find_or_make(tx, self.bucket, &self.digest, self.size, &self.key).await?;
        if !ours {
            blob::remove_object(tx, self.bucket, &self.key, 0).await?;
        }
        remove_objects(tx, self.bucket, &self.superseded, 0).await?;
        remove_objects(tx, self.bucket, &self.left, LEFT_LIFE).await?;
        blob::link(tx, held.registry, self.repository, blob, self.grace).await?;
        Ok(())
    }
}

/// Keeps the blob of an upload that was finished before, whose client is told so once more. False: it was deleted since.
pub(super) async fn keep_finished(tx: &mut Tx<'_>, repository: i64, digest: &Digest, grace: i64) -> Result<bool> {
    let held = repository::hold(tx, repository).await?.ok_or(Error::NameUnknown)?;
    match blob::find_linked(tx, repository, held.bucket, digest).await? {
        Some(found) => Ok(blob::keep(tx, repository, found, grace).await?),
        None => Ok(false),
    }
}

async fn remove_objects(tx: &mut Tx<'_>, bucket: i64, keys: &[String], delay: i64) -> std::result::Result<(), DbError> {
    for key in keys {
        blob::remove_object(tx, bucket, key, delay).await?;
    }
    Ok(())
}
