//! Uploads that are small: their bytes are held in memory and in the saved state, and become no object if they stay few. A file or an object
//! for each of them would cost more than its bytes: a place in a folder, syncs or a request of its own.

use bytes::{Bytes, BytesMut};
use roadstead_model::Digest;

use crate::{Appender, BlobError, Bucket, FinishError, Finished, MemoryShare, MemoryUse, Stored, UploadState};

/// The writer of one request, as long as the upload is small.
pub(crate) struct HeldAppender {
    bucket: Bucket,
    /// As it was saved last.
    state: UploadState,
    bytes: BytesMut,
    /// What the request says will follow.
    coming: Option<u64>,
    share: Option<MemoryShare>,
}

impl HeldAppender {
    /// Whether an upload may be small: nothing of it is in the bucket, and its sender has not said that too much will follow.
    pub(crate) fn may_take(bucket: &Bucket, state: &UploadState, coming: Option<u64>) -> bool {
        state.in_bucket() == 0 && bucket.is_small(state.offset.saturating_add(coming.unwrap_or(0)))
    }

    pub(crate) fn open(bucket: &Bucket, state: UploadState, coming: Option<u64>) -> Self {
        Self { bucket: bucket.clone(), bytes: BytesMut::from(&state.held[..]), state, coming, share: None }
    }

    pub(crate) fn offset(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// Whether it is small with so many more bytes.
    pub(crate) fn fits(&self, more: usize) -> bool {
        self.bytes.len().saturating_add(more) <= self.bucket.small_bytes
    }

    pub(crate) async fn write(&mut self, chunk: &[u8]) -> Result<(), BlobError> {
        if self.share.is_none() {
            let expected = self.coming.map_or(self.bucket.small_bytes as u64, |coming| self.offset() + coming);
            self.share = Some(self.bucket.budget.take(MemoryUse::Starting, expected).await?);
            self.bytes.reserve(usize::try_from(expected).unwrap_or(0).saturating_sub(self.bytes.len()));
        }
        self.bytes.extend_from_slice(chunk);
        Ok(())
    }

    /// An appender to the bucket that has taken what is held here. Until that is flushed what was saved still holds, and so does this.
    pub(crate) async fn outgrown(&mut self) -> Result<Appender, BlobError> {
        // Who holds one share must not wait for another; these few bytes are not counted for a moment.
        self.share = None;
        let state = UploadState { offset: 0, held: Bytes::new(), ..self.state.clone() };
        let coming = self.coming.map(|coming| coming + self.state.offset);
        let mut appender = Appender::to_bucket(&self.bucket, state, coming).await?;
        appender.write(Bytes::copy_from_slice(&self.bytes)).await?;
        Ok(appender)
    }

    pub(crate) fn flush(&self) -> Result<UploadState, BlobError> {
        self.must_have_room()?;
        let held = Bytes::copy_from_slice(&self.bytes);
        Ok(UploadState { offset: held.len() as u64, held, ..self.state.clone() })
    }

    pub(crate) fn finish(self, expected: &Digest) -> Result<Finished, FinishError> {
        let actual = Digest::of(expected.algorithm(), &self.bytes);
        if actual != *expected {
            return Err(FinishError::Mismatch { actual });
        }
        self.must_have_room()?;
        let size = self.offset();
        Ok(Finished { stored: Stored::Bytes(self.bytes.freeze()), size, superseded: Vec::new() })
    }

    fn must_have_room(&self) -> Result<(), BlobError> {
        if self.bucket.has_room(self.offset()) { Ok(()) } else { Err(BlobError::Full) }
    }
}
