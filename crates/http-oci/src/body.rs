//! The body of an answer.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{Stream, StreamExt as _, TryStreamExt as _, stream::BoxStream};
use http_body::{Frame, SizeHint};
use roadstead_blobs::{BlobError, ByteBody};

/// The body of an answer; its size is known, so HTTP/1.1 needs no chunks and answers have a Content-Length. Exports of the management
/// API are the exception.
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
    /// Of a size that nobody knows beforehand.
    Stream(BoxStream<'static, Result<Bytes, BlobError>>),
}

impl Body {
    /// What comes piece by piece, until it ends or breaks off.
    pub fn stream(pieces: impl Stream<Item = Result<Bytes, String>> + Send + 'static) -> Self {
        Self::Stream(pieces.map_err(BlobError::Internal).boxed())
    }

    /// How many bytes are still to come, where that is known.
    pub fn size(&self) -> u64 {
        match self {
            Self::Empty | Self::Stream(_) => 0,
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
            Self::Stream(stream) => Pin::new(stream).poll_next(context).map(|it| it.map(|it| it.map(Frame::data))),
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
            Self::Stream(_) => false,
            Self::Bytes(bytes) => bytes.is_empty(),
            Self::Blob(blob) => http_body::Body::is_end_stream(blob),
            Self::Parts(_, left) => *left == 0,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Stream(_) => SizeHint::default(),
            _ => SizeHint::with_exact(self.size()),
        }
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.size())
    }
}
