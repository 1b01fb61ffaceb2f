//! What the writer of an upload changes in the database, one transaction each.

use bytes::Bytes;
use roadstead_blobs::Stored;
use roadstead_db::{
    DbError, Tx, blob, repository,
    upload::{self, Claim},
};
use roadstead_model::{Algorithm, Digest};

use super::OVER_LIFE;
use crate::{Error, Result, quotas};

/// After so long what a writer that was left behind may have stored is removed, microseconds: a halted process may wake up
/// meanwhile and store it only then.
const LEFT_LIFE: i64 = 3_600_000_000;

/// What somebody sends to for the first time: its row is yet to be made.
#[derive(Clone, Debug)]
pub(super) struct NewUpload {
    pub(super) registry: i64,
    pub(super) bucket: i64,
    /// Of the repository in the registry.
    pub(super) name: String,
    pub(super) announced: Option<Algorithm>,
}

impl NewUpload {
    async fn repository(&self, tx: &mut Tx<'_>) -> Result<i64> {
        repository::find_or_make(tx, self.registry, &self.name).await?.ok_or(Error::NameUnknown)
    }

    /// Over before anything was sent. False: something was, in this moment.
    pub(super) async fn end(&self, tx: &mut Tx<'_>, id: &str) -> Result<bool> {
        let repository = self.repository(tx).await?;
        Ok(upload::begin_over(tx, id, repository, self.bucket, None).await?)
    }
}

/// The row of an upload that something is sent to for the first time, claimed.
pub(super) struct Begin {
    pub(super) id: String,
    pub(super) new: NewUpload,
    pub(super) state: String,
    pub(super) lease: i64,
}

impl Begin {
    /// `None`: there is a row.
    pub(super) async fn run(&self, tx: &mut Tx<'_>) -> Result<Option<Claim>> {
        let repository = self.new.repository(tx).await?;
        Ok(upload::begin(tx, &self.id, repository, self.new.bucket, &self.state, self.lease).await?)
    }
}

/// The end of an upload whose objects are gone.
pub(super) struct End {
    pub(super) id: String,
    pub(super) epoch: i64,
    pub(super) bucket: i64,
    pub(super) left: Vec<String>,
}

impl End {
    pub(super) async fn run(&self, tx: &mut Tx<'_>) -> std::result::Result<bool, DbError> {
        // Of one that was begun long ago the id is good for nothing any more.
        let held =
            upload::remove(tx, &self.id, self.epoch, OVER_LIFE).await? || upload::end(tx, &self.id, self.epoch).await?;
        if held {
            remove_objects(tx, self.bucket, &self.left, LEFT_LIFE).await?;
        }
        Ok(held)
    }
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
    pub(super) stored: Stored,
    pub(super) superseded: Vec<String>,
    pub(super) left: Vec<String>,
    pub(super) limited: bool,
    pub(super) grace: i64,
}

impl Finish {
    pub(super) async fn run(&self, tx: &mut Tx<'_>) -> Result<()> {
        let held = repository::hold(tx, self.repository).await?.ok_or(Error::NameUnknown)?;
        if !upload::finish(tx, &self.id, self.epoch, &self.digest, self.size).await? {
            return Err(Error::UploadBusy);
        }
        let stored = match &self.stored {
            Stored::Object(key) => blob::Stored::Object(key),
            Stored::Bytes(bytes) => blob::Stored::Bytes(bytes),
        };
        let blob = blob::find_or_make(tx, self.bucket, &self.digest, self.size, stored).await?;
        remove_objects(tx, self.bucket, &self.superseded, 0).await?;
        remove_objects(tx, self.bucket, &self.left, LEFT_LIFE).await?;
        blob::link(tx, held.registry, self.repository, blob, self.grace).await?;
        if self.limited {
            quotas::keep_within(tx, held.registry).await?;
        }
        Ok(())
    }
}

/// A small upload that was sent whole to an id that nothing was sent to before: all of it in one transaction.
pub(super) struct Whole {
    pub(super) id: String,
    pub(super) new: NewUpload,
    pub(super) digest: Digest,
    pub(super) size: i64,
    pub(super) bytes: Bytes,
    pub(super) limited: bool,
    pub(super) grace: i64,
}

impl Whole {
    /// False: something was sent to it before.
    pub(super) async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let NewUpload { registry, bucket, .. } = self.new;
        let repository = self.new.repository(tx).await?;
        if !upload::begin_over(tx, &self.id, repository, bucket, Some((&self.digest, self.size))).await? {
            return Ok(false);
        }
        let stored = blob::Stored::Bytes(&self.bytes);
        let blob = blob::find_or_make(tx, bucket, &self.digest, self.size, stored).await?;
        blob::link(tx, registry, repository, blob, self.grace).await?;
        if self.limited {
            quotas::keep_within(tx, registry).await?;
        }
        Ok(true)
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
