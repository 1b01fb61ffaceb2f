//! Adding bytes to an upload, over both kinds of storage.

use bytes::Bytes;
use roadstead_model::Digest;

use crate::{
    BlobError, Bucket, FinishError, UploadState, bucket::Storage, directory::FileAppender, held::HeldAppender,
    objects::ObjectAppender,
};

/// One request's writer of an upload. After any error but [`BlobError::NoMemory`] it is of no more use; the last saved
/// [`UploadState`] still holds, and the upload goes on from there. Dropping it loses what was not flushed and nothing else.
pub struct Appender(Kind);

enum Kind {
    Held(Box<HeldAppender>),
    File(Box<FileAppender>),
    Object(Box<ObjectAppender>),
}

/// Where the bytes of a finished upload are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Stored {
    /// Durable in the bucket, as the object of this key; not always the one that was fixed when the upload began.
    Object(String),
    /// Nowhere yet: they are few, and the caller keeps them.
    Bytes(Bytes),
}

/// An upload that is whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// Its bytes.
    pub stored: Stored,
    /// Its size in bytes.
    pub size: u64,
    /// Objects that nothing needs any more once the database knows `stored`: delete them then, not before.
    pub superseded: Vec<String>,
}

impl Finished {
    /// The key of the object, if it is one.
    pub fn key(&self) -> Option<&str> {
        match &self.stored {
            Stored::Object(key) => Some(key),
            Stored::Bytes(_) => None,
        }
    }
}

impl Appender {
    pub(crate) async fn open(bucket: &Bucket, state: UploadState, remaining: Option<u64>) -> Result<Self, BlobError> {
        if HeldAppender::may_take(bucket, &state, remaining) {
            return Ok(Self(Kind::Held(Box::new(HeldAppender::open(bucket, state, remaining)))));
        }
        if state.held.is_empty() {
            return Self::to_bucket(bucket, state, remaining).await;
        }
        HeldAppender::open(bucket, state, remaining).outgrown().await
    }

    /// For an upload of which nothing is held.
    pub(crate) async fn to_bucket(
        bucket: &Bucket,
        state: UploadState,
        remaining: Option<u64>,
    ) -> Result<Self, BlobError> {
        Ok(Self(match &bucket.storage {
            Storage::Directory(directory) => {
                Kind::File(Box::new(FileAppender::open(directory, state, remaining).await?))
            }
            Storage::Objects(objects) => Kind::Object(Box::new(ObjectAppender::open(objects, state, remaining).await?)),
        }))
    }

    /// Takes the next bytes. They are copied, so the chunk's memory is free when this returns; it waits while storage is
    /// slower than the sender or the memory budget is used up.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        if let Kind::Held(held) = &mut self.0
            && !held.fits(chunk.len())
        {
            self.0 = Box::pin(held.outgrown()).await?.0;
        }
        match &mut self.0 {
            Kind::Held(held) => held.write(&chunk).await,
            Kind::File(appender) => appender.write(&chunk).await,
            Kind::Object(appender) => appender.write(&chunk).await,
        }
    }

    /// A state that should be saved before the next write, because a part was stored or enough of a file was made durable; `None` most of the time.
    pub fn checkpoint(&mut self) -> Option<UploadState> {
        match &mut self.0 {
            Kind::Held(_) => None,
            Kind::File(appender) => appender.checkpoint(),
            Kind::Object(appender) => appender.checkpoint(),
        }
    }

    /// How many bytes the upload has with all that was written here, durable or not.
    pub fn offset(&self) -> u64 {
        match &self.0 {
            Kind::Held(held) => held.offset(),
            Kind::File(appender) => appender.offset(),
            Kind::Object(appender) => appender.offset(),
        }
    }

    /// Makes everything written so far durable and gives the state to save, which holds the bytes of a small upload itself. Then delete what it says is superseded.
    pub async fn flush(&mut self) -> Result<UploadState, BlobError> {
        match &mut self.0 {
            Kind::Held(held) => held.flush(),
            Kind::File(appender) => appender.flush().await,
            Kind::Object(appender) => appender.flush().await,
        }
    }

    /// Makes the upload one durable object, or hands its bytes over if it is small, if its digest is `expected`. Repeating it from the last saved state with the
    /// same bytes is harmless. An algorithm that was not announced costs reading the object once more; if that then does
    /// not match, the object is deleted and the upload cannot be continued.
    pub async fn finish(self, expected: &Digest) -> Result<Finished, FinishError> {
        match self.0 {
            Kind::Held(held) => held.finish(expected),
            Kind::File(appender) => appender.finish(expected).await,
            Kind::Object(appender) => appender.finish(expected).await,
        }
    }
}
