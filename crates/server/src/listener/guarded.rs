//! The socket of a connection with clocks and bounds.
//!
//! Reading: a request's headers must come within their time and size, and a connection that does nothing is closed.
//! Writing: a client that takes nothing, or too little, for the idle time is closed. While a request runs, reading has no clock here:
//! its body has one of its own.

use std::future::Future as _;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf, Take};
use tokio::time::{Instant, Sleep};

use super::Meter;
use super::crowd::Crowd;
use super::flow::Flow;
use super::quota::{Quota, Waiting};
use crate::config::Limits;

const HTTP2_PREFACE: &[u8; 4] = b"PRI ";
/// Fewer bytes are no part of an answer, but a ping.
const PING_BYTES: usize = 64;
/// How long a client whose headers were too large may go on sending them.
const LINGER: Duration = Duration::from_secs(2);

/// A stream of bytes, guarded.
pub(super) struct Guarded<S> {
    /// What is read at once is limited.
    stream: Take<S>,
    flow: Arc<Flow>,
    meter: Arc<dyn Meter>,
    crowd: Crowd,
    head_limit: u64,
    head_time: Duration,
    keep_alive: Duration,
    start: ([u8; 4], usize),
    phase: Phase,
    seen: u64,
    read_clock: Clock,
    taking: Waiting,
    lingering: Option<Instant>,
    progress: Instant,
}

/// What the client is expected to send, and since when it is waited for: most often it is there already, and nobody looks at the clock.
#[derive(Clone, Copy)]
enum Phase {
    /// Nothing, or the first byte of a request.
    Idle { since: Option<Instant> },
    /// The rest of a request's headers, of which so many bytes are here.
    Head { since: Option<Instant>, bytes: u64 },
    /// A request runs.
    Busy,
}

/// A deadline that costs nothing until something waits, and little when it is put off.
#[derive(Default)]
struct Clock(Option<Pin<Box<Sleep>>>);

impl Clock {
    fn poll(&mut self, deadline: Instant, context: &mut Context<'_>) -> Poll<()> {
        let sleep = self.0.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(deadline)));
        if sleep.deadline() > deadline {
            sleep.as_mut().reset(deadline);
        }
        loop {
            ready!(sleep.as_mut().poll(context));
            if sleep.deadline() == deadline {
                return Poll::Ready(());
            }
            // It was put off since.
            sleep.as_mut().reset(deadline);
        }
    }
}

impl<S: AsyncRead> Guarded<S> {
    pub(super) fn new(stream: S, flow: Arc<Flow>, limits: &Limits, meter: Arc<dyn Meter>, crowd: Crowd) -> Self {
        Self {
            stream: stream.take(0),
            flow,
            meter,
            crowd,
            head_limit: limits.header_bytes,
            head_time: Duration::from_secs(limits.header_seconds),
            keep_alive: Duration::from_secs(limits.keep_alive_seconds),
            start: ([0; 4], 0),
            phase: Phase::Idle { since: None },
            seen: 0,
            read_clock: Clock::default(),
            taking: Waiting::new(Quota::of(limits)),
            lingering: None,
            progress: Instant::now(),
        }
    }

    fn observe(&mut self) {
        let (busy, begun) = (self.flow.is_busy(), self.flow.begun());
        self.phase = match self.phase {
            _ if busy => Phase::Busy,
            Phase::Busy => Phase::Idle { since: None },
            _ if begun != self.seen => Phase::Idle { since: None },
            Phase::Head { since, .. } if self.flow.is_http2() => Phase::Idle { since },
            same => same,
        };
        self.seen = begun;
    }

    fn received(&mut self, bytes: &[u8]) {
        self.meter.received(bytes.len() as u64);
        let (start, known) = &mut self.start;
        if *known < start.len() {
            let more = bytes.len().min(start.len() - *known);
            start[*known..*known + more].copy_from_slice(&bytes[..more]);
            *known += more;
            if start == HTTP2_PREFACE {
                self.flow.set_http2();
            }
        }
        if !matches!(self.phase, Phase::Busy) && !self.flow.is_http2() {
            self.flow.heard(bytes);
        }
        let more = bytes.len() as u64;
        self.phase = match self.phase {
            Phase::Idle { .. } if more > 0 && !self.flow.is_http2() => Phase::Head { since: None, bytes: more },
            Phase::Head { since, bytes } => Phase::Head { since, bytes: bytes + more },
            same => same,
        };
    }

    /// The client takes nothing at the moment: for too long, and the connection ends.
    fn stuck<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        ready!(self.taking.poll(context));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client takes nothing any more")))
    }

    /// Ready while this turn lasts; the next one comes at once when nobody else waits.
    fn poll_turn(&self, context: &mut Context<'_>) -> Poll<()> {
        if self.flow.turn_is_over() {
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn wrote(&mut self, result: io::Result<usize>) -> Poll<io::Result<usize>> {
        self.taking.moved(*result.as_ref().unwrap_or(&0) as u64);
        if let Ok(bytes) = result {
            self.meter.sent(bytes as u64);
            self.flow.wrote(bytes);
            if bytes >= PING_BYTES {
                self.progress = Instant::now();
            }
        }
        Poll::Ready(result)
    }
}

impl<S: AsyncRead + Unpin> Guarded<S> {
    /// After headers that were too large: the rest is thrown away, so that the client gets to read its answer.
    fn poll_discard(&mut self, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut space = [0; 4096];
        loop {
            let mut rest = ReadBuf::new(&mut space);
            self.stream.set_limit(u64::MAX);
            ready!(Pin::new(&mut self.stream).poll_read(context, &mut rest))?;
            if rest.filled().is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Guarded<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.observe();
        if this.flow.head_is_cut() {
            return this.poll_discard(context);
        }
        // hyper has parsed what it got before it asks for more: the headers are not complete, and large enough.
        if matches!(this.phase, Phase::Head { bytes, .. } if bytes > this.head_limit) && buf.remaining() >= 4 {
            // Their end is made up, so that a request comes out, which is then answered with 431.
            this.flow.cut_head();
            buf.put_slice(b"\r\n\r\n");
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        this.stream.set_limit(this.crowd.share() as u64);
        match Pin::new(&mut this.stream).poll_read(context, buf) {
            Poll::Ready(Ok(())) => {
                this.received(&buf.filled()[before..]);
                Poll::Ready(Ok(()))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => {
                let deadline = match &mut this.phase {
                    Phase::Busy => return Poll::Pending,
                    // The end of an answer may still be on its way although its request is over.
                    Phase::Idle { since } => {
                        (*since.get_or_insert_with(Instant::now)).max(this.progress) + this.keep_alive
                    }
                    Phase::Head { since, .. } => *since.get_or_insert_with(Instant::now) + this.head_time,
                };
                ready!(this.read_clock.poll(deadline, context));
                Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client sends no request")))
            }
        }
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Guarded<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_turn(context));
        match Pin::new(this.stream.get_mut()).poll_write(context, bytes) {
            Poll::Ready(result) => this.wrote(result),
            Poll::Pending => this.stuck(context),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_turn(context));
        // One piece is nothing to gather, and the system takes less time over it.
        let written = match pieces {
            [piece] => Pin::new(this.stream.get_mut()).poll_write(context, piece),
            pieces => Pin::new(this.stream.get_mut()).poll_write_vectored(context, pieces),
        };
        match written {
            Poll::Ready(result) => this.wrote(result),
            Poll::Pending => this.stuck(context),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.get_ref().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(this.stream.get_mut()).poll_flush(context) {
            Poll::Pending => this.stuck(context),
            done => {
                this.taking.moved(0);
                done
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        match Pin::new(this.stream.get_mut()).poll_shutdown(context) {
            Poll::Pending => this.stuck(context),
            Poll::Ready(Ok(())) if this.flow.head_is_cut() => {
                // A close with unread bytes is a reset, which can destroy the answer on its way.
                let deadline = *this.lingering.get_or_insert_with(|| Instant::now() + LINGER);
                match this.poll_discard(context) {
                    Poll::Pending => this.read_clock.poll(deadline, context).map(Ok),
                    Poll::Ready(_) => Poll::Ready(Ok(())),
                }
            }
            done => done,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_deadline_is_put_off_and_brought_forward() {
        let begun = Instant::now();
        let at = |seconds| begun + Duration::from_secs(seconds);
        let mut clock = Clock::default();
        assert!(futures::poll!(poll_fn(|context| clock.poll(at(10), context))).is_pending());
        poll_fn(|context| clock.poll(at(30), context)).await;
        assert_eq!(begun.elapsed().as_secs(), 30);
        assert!(futures::poll!(poll_fn(|context| clock.poll(at(100), context))).is_pending());
        poll_fn(|context| clock.poll(at(40), context)).await;
        assert_eq!(begun.elapsed().as_secs(), 40);
    }
}
