//! Bodies of requests and answers, with their clocks.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use tokio::time::{Instant, Sleep};

use super::flow::Begun;

/// The body of a request. So many seconds without a byte, while somebody waits for one, break it off.
pub struct RequestBody {
    incoming: Incoming,
    idle: Duration,
    sleep: Option<Pin<Box<Sleep>>>,
    waiting: bool,
    _begun: Begun,
}

/// The body of a request did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The client went away or broke the protocol.
    #[error("the body of the request broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// Nothing came for too long (`limits.idle_seconds`).
    #[error("the client sent nothing for {0} seconds")]
    Idle(u64),
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, idle: Duration, begun: Begun) -> Self {
        Self { incoming, idle, sleep: None, waiting: false, _begun: begun }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        if let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(context) {
            this.waiting = false;
            return Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::Broken)));
        }
        let sleep = this.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(this.idle)));
        if !this.waiting {
            this.waiting = true;
            sleep.as_mut().reset(Instant::now() + this.idle);
        }
        ready!(sleep.as_mut().poll(context));
        Poll::Ready(Some(Err(RequestBodyError::Idle(this.idle.as_secs()))))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

/// The largest piece of an answer that is given to HTTP/2 at once: each one that is taken is a sign of life.
const PIECE_BYTES: usize = 16 << 10;

/// The body of an answer; keeps its connection busy and tells it whose turn it is.
pub struct Reply<B> {
    body: B,
    /// What was got from the body and not given yet.
    rest: Bytes,
    begun: Begun,
}

impl<B> Reply<B> {
    pub(super) fn new(body: B, begun: Begun) -> Self {
        Self { body, rest: Bytes::new(), begun }
    }

    fn next_piece(&mut self) -> Bytes {
        let bytes = if self.begun.is_http2() { PIECE_BYTES } else { usize::MAX };
        let piece = self.rest.split_to(self.rest.len().min(bytes));
        self.begun.give(piece)
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Reply<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        if !this.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(this.next_piece()))));
        }
        match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            None => this.begun.poll_taken(context).map(|()| None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.rest = data;
                    Frame::data(this.next_piece())
                }
                Err(trailers) => trailers,
            }))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.begun.all_taken() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Asked for before the first piece is given.
        self.body.size_hint()
    }
}
