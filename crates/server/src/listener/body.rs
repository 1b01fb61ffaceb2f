//! Bodies of requests and answers, with their clocks.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use super::flow::Begun;
use super::quota::{Quota, Waiting};

/// The body of a request. Too many seconds with too few bytes, while somebody waits for them, break it off.
pub struct RequestBody {
    incoming: Incoming,
    waiting: Waiting,
    _begun: Begun,
}

/// The body of a request did not come whole.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// The client went away or broke the protocol.
    #[error("the body of the request broke off: {0}")]
    Broken(#[from] hyper::Error),
    /// Nothing, or too little of it, came for too long (`limits.idle_seconds`, `limits.bytes_per_second`).
    #[error("the client sent nothing for {0} seconds, or too little for as long")]
    Idle(u64),
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, quota: Quota, begun: Begun) -> Self {
        Self { incoming, waiting: Waiting::new(quota), _begun: begun }
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
            let bytes = frame.as_ref().and_then(|frame| frame.as_ref().ok()?.data_ref()).map_or(0, Bytes::len);
            this.waiting.moved(bytes as u64);
            return Poll::Ready(frame.map(|frame| frame.map_err(RequestBodyError::Broken)));
        }
        ready!(this.waiting.poll(context));
        Poll::Ready(Some(Err(RequestBodyError::Idle(this.waiting.quota().idle().as_secs()))))
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

/// HTTP/1 sends what it has when a body pauses: after so much, which the processor's cache still has, and until less of it is left. hyper by itself
/// would gather as much as the largest piece that it reads ([`super::BUFFER_BYTES`]), also for a client that takes nothing.
const GATHERED_BYTES: u64 = 256 << 10;

/// The body of an answer; keeps its connection busy and tells it whose turn it is.
pub struct Reply<B> {
    body: B,
    /// What was got from the body and not given yet.
    rest: Bytes,
    /// Bytes that were got so far.
    given: u64,
    /// What the connection had written when it began.
    written_before: u64,
    begun: Begun,
}

impl<B> Reply<B> {
    pub(super) fn new(body: B, begun: Begun) -> Self {
        Self { body, rest: Bytes::new(), given: 0, written_before: begun.written(), begun }
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
        let waiting = this.given.saturating_sub(this.begun.written() - this.written_before);
        if waiting >= GATHERED_BYTES && !this.begun.is_http2() {
            let enough = this.written_before + this.given - GATHERED_BYTES;
            ready!(this.begun.poll_written(enough, context));
        }
        match ready!(Pin::new(&mut this.body).poll_frame(context)) {
            None => this.begun.poll_taken(context).map(|()| None),
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            Some(Ok(frame)) => Poll::Ready(Some(Ok(match frame.into_data() {
                Ok(data) => {
                    this.given += data.len() as u64;
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

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::task::{ArcWake, waker};

    use super::super::flow::Flow;
    use super::*;

    /// Always has more.
    struct Endless;

    impl Body for Endless {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[0; 100_000])))))
        }
    }

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl ArcWake for Woken {
        fn wake_by_ref(woken: &Arc<Self>) {
            woken.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_client_that_takes_nothing_has_little_waiting_for_it() {
        let flow = Flow::new();
        let mut reply = Reply::new(Endless, flow.begin());
        let woken = Arc::new(Woken::default());
        let waker = waker(Arc::clone(&woken));
        let mut context = Context::from_waker(&waker);
        let mut pieces =
            || std::iter::from_fn(|| Pin::new(&mut reply).poll_frame(&mut context).is_ready().then_some(())).count();
        assert_eq!(pieces(), 3);
        assert_eq!((pieces(), woken.0.load(Ordering::Relaxed)), (0, 0), "it only waits");
        flow.wrote(150_000);
        assert_eq!((woken.0.load(Ordering::Relaxed), pieces()), (1, 2));
        flow.wrote(100);
        assert_eq!(pieces(), 0, "too little of it was taken");
    }
}
