//! The bytes of an object as an HTTP body of known length.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt, stream::BoxStream};
use http_body::{Body, Frame, SizeHint};

use crate::{BlobError, directory::FileReader};

/// A body of exactly known length. Bytes that storage does not deliver make it fail; it never just ends early.
pub struct ByteBody {
    source: Source,
    remaining: u64,
}

enum Source {
    Memory,
    Held(Bytes),
    File(FileReader),
    Stream(BoxStream<'static, Result<Bytes, BlobError>>),
}

impl ByteBody {
    /// No bytes.
    pub fn empty() -> Self {
        Self { source: Source::Memory, remaining: 0 }
    }

    /// Bytes that are in memory already.
    pub fn full(bytes: Bytes) -> Self {
        Self { remaining: bytes.len() as u64, source: Source::Held(bytes) }
    }

    pub(crate) fn file(reader: FileReader, length: u64) -> Self {
        Self { source: Source::File(reader), remaining: length }
    }

    pub(crate) fn stream(stream: BoxStream<'static, Result<Bytes, BlobError>>, length: u64) -> Self {
        Self { source: Source::Stream(stream), remaining: length }
    }

    /// How many bytes are still to come.
    pub fn remaining(&self) -> u64 {
        self.remaining
    }

    fn poll_bytes(&mut self, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, BlobError>>> {
        match &mut self.source {
            Source::Memory => Poll::Ready(None),
            Source::Held(bytes) => Poll::Ready(Some(Ok(std::mem::take(bytes)))),
            Source::File(reader) => reader.poll_read(context, self.remaining).map(Some),
            Source::Stream(stream) => stream.poll_next_unpin(context),
        }
    }
}

impl Body for ByteBody {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        loop {
            if self.remaining == 0 {
                self.source = Source::Memory;
                return Poll::Ready(None);
            }
            let next = std::task::ready!(self.poll_bytes(context));
            let failed = match next {
                Some(Ok(bytes)) if bytes.is_empty() => continue,
                Some(Ok(bytes)) if bytes.len() as u64 <= self.remaining => {
                    self.remaining -= bytes.len() as u64;
                    return Poll::Ready(Some(Ok(Frame::data(bytes))));
                }
                Some(Ok(_)) => BlobError::Internal("storage gave more bytes than it promised".to_owned()),
                Some(Err(error)) => error,
                None => BlobError::Internal(format!("the object ends {} bytes too early", self.remaining)),
            };
            // After an error the length stays promised, so nobody takes what came for the whole.
            self.source = Source::Memory;
            return Poll::Ready(Some(Err(failed)));
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.remaining)
    }
}
