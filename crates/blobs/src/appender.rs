//! Adding bytes to an upload, over both kinds of storage.

use std::sync::Arc;

use bytes::Bytes;
use roadstead_model::Digest;

use crate::{
    BlobError, FinishError, UploadState,
    directory::{Directory, FileAppender},
    objects::{ObjectAppender, Objects},
};

/// One request's writer of an upload. After any error but [`BlobError::NoMemory`] it is of no more use; the last saved
/// [`UploadState`] still holds, and the upload goes on from there. Dropping it loses what was not flushed and nothing else.
pub struct Appender(Kind);

enum Kind {
    File(Box<FileAppender>),
    Object(Box<ObjectAppender>),
}

/// An upload whose bytes are durable as one object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finished {
    /// The key of the object; not always the one that was fixed when the upload began.
    pub key: String,
    /// Its size in bytes.
    pub size: u64,
    /// Objects that nothing needs any more once the database knows `key`: delete them then, not before.
    pub superseded: Vec<String>,
}

impl Appender {
    pub(crate) async fn directory(
        directory: &Arc<Directory>,
        state: UploadState,
        remaining: Option<u64>,
    ) -> Result<Self, BlobError> {
        Ok(Self(Kind::File(Box::new(FileAppender::open(directory, state, remaining).await?))))
    }

    pub(crate) async fn objects(
        objects: &Arc<Objects>,
        state: UploadState,
        remaining: Option<u64>,
    ) -> Result<Self, BlobError> {
        Ok(Self(Kind::Object(Box::new(ObjectAppender::open(objects, state, remaining).await?))))
    }

    /// Takes the next bytes. They are copied, so the chunk's memory is free when this returns; it waits while storage is
    /// slower than the sender or the memory budget is used up.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), BlobError> {
        match &mut self.0 {
            Kind::File(appender) => appender.write(&chunk).await,
            Kind::Object(appender) => appender.write(&chunk).await,
        }
    }

    /// A state that should be saved before the next write, because a part was stored or enough of a file was made durable; `None` most of the time.
    pub fn checkpoint(&mut self) -> Option<UploadState> {
        match &mut self.0 {
            Kind::File(appender) => appender.checkpoint(),
            Kind::Object(appender) => appender.checkpoint(),
        }
    }

    /// How many bytes the upload has with all that was written here, durable or not.
    pub fn offset(&self) -> u64 {
        match &self.0 {
            Kind::File(appender) => appender.offset(),
            Kind::Object(appender) => appender.offset(),
        }
    }

    /// Makes everything written so far durable and gives the state to save. Then delete what it says is superseded.
    pub async fn flush(&mut self) -> Result<UploadState, BlobError> {
        match &mut self.0 {
            Kind::File(appender) => appender.flush().await,
            Kind::Object(appender) => appender.flush().await,
        }
    }

    /// Makes the upload one durable object if its digest is `expected`. Repeating it from the last saved state with the
    /// same bytes is harmless. An algorithm that was not announced costs reading the object once more; if that then does
    /// not match, the object is deleted and the upload cannot be continued.
    pub async fn finish(self, expected: &Digest) -> Result<Finished, FinishError> {
        match self.0 {
            Kind::File(appender) => appender.finish(expected).await,
            Kind::Object(appender) => appender.finish(expected).await,
        }
    }
}
