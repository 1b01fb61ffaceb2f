//! The body of an answer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, stream::BoxStream};
use http_body::{Frame, SizeHint};
use roadstead_blobs::{BlobError, ByteBody};

/// The body of an answer; its size is always known, so HTTP/1.1 needs no chunks and every answer has a Content-Length.
#[derive(Default)]
pub enum Body {
    /// No bytes.
    #[default]
    Empty,
    /// These bytes.
    Bytes(Bytes),
    /// A blob, or a part of one, straight from storage.
    Blob(ByteBody),
    /// Several parts of a blob with words between them, and how many bytes are left.
    Parts(BoxStream<'static, Result<Bytes, BlobError>>, u64),
}

impl Body {
    /// How many bytes are still to come.
    pub fn size(&self) -> u64 {
        match self {
            Self::Empty => 0,
            Self::Bytes(bytes) => bytes.len() as u64,
            Self::Blob(blob) => http_body::Body::size_hint(blob).lower(),
            Self::Parts(_, left) => *left,
        }
    }
}

impl From<Bytes> for Body {
    fn from(bytes: Bytes) -> Self {
        if bytes.is_empty() { Self::Empty } else { Self::Bytes(bytes) }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        let this = &mut *self;
        match this {
            Self::Empty => Poll::Ready(None),
            Self::Bytes(bytes) => {
                let bytes = std::mem::take(bytes);
                *this = Self::Empty;
                Poll::Ready((!bytes.is_empty()).then(|| Ok(Frame::data(bytes))))
            }
            Self::Blob(blob) => Pin::new(blob).poll_frame(context),
            Self::Parts(stream, left) => match Pin::new(stream).poll_next(context) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(Some(Ok(bytes))) => {
                    *left = left.saturating_sub(bytes.len() as u64);
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
                Poll::Ready(other) => {
                    *this = Self::Empty;
                    Poll::Ready(other.map(|it| it.map(Frame::data)))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Empty => true,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Blob(blob) => http_body::Body::is_end_stream(blob),
            Self::Parts(_, left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.size())
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.size())
    }
}
