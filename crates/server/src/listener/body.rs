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

/// The body of an answer; keeps its connection busy and tells it whose turn it is.
pub struct Reply<B> {
    body: B,
    begun: Begun,
}

impl<B> Reply<B> {
    pub(super) fn new(body: B, begun: Begun) -> Self {
        Self { body, begun }
    }
}

impl<B: Body + Unpin> Body for Reply<B> {
    type Data = B::Data;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, B::Error>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(_))) => this.begun.gave(),
            Poll::Ready(_) | Poll::Pending => this.begun.waits(),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
