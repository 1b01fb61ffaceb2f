//! What one connection is doing: shared by its socket, its requests and its answers.

use std::sync::atomic::{
    AtomicBool, AtomicU64, AtomicUsize,
    Ordering::{AcqRel, Acquire, Relaxed},
};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures::task::AtomicWaker;
use hyper::rt::Executor;
use tokio::sync::Notify;
use tokio::time::{Instant, Interval, MissedTickBehavior};

/// So much of what a client sends before a request has begun is kept, to look at its headers as they were sent.
const HEAD_BYTES: usize = 16 << 10;

/// A connection writes so much in one turn, then others have theirs: a small answer does not wait behind large ones.
const TURN_BYTES: usize = 512 << 10;

/// The state of one connection.
pub(super) struct Flow {
    born: Instant,
    /// Bytes written in this turn.
    turn: AtomicUsize,
    /// Bytes written in all.
    written: AtomicU64,
    /// Of who waits for that to grow.
    writing: AtomicWaker,
    begun: AtomicU64,
    running: AtomicUsize,
    http2: AtomicBool,
    head_cut: AtomicBool,
    head: Mutex<Vec<u8>>,
    answers: Mutex<Answers>,
    /// Of all answers over HTTP/1, which has one at a time and the clock of its socket.
    alone: Arc<Pace>,
}

#[derive(Default)]
struct Answers {
    all: Vec<Weak<Pace>>,
    newest: Option<Arc<Pace>>,
}

/// How an answer gets on over HTTP/2, where one connection has many.
#[derive(Default)]
struct Pace {
    /// When the client last took a piece, or the first one was given: milliseconds of the connection's life.
    since: AtomicU64,
    /// Pieces that were given and are not written yet.
    held: AtomicUsize,
    taken: AtomicWaker,
    given_up: Notify,
}

/// A request that runs; the connection is busy until the last clone is dropped.
pub(super) struct Begun {
    flow: Arc<Flow>,
    pace: Arc<Pace>,
}

impl Flow {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            turn: AtomicUsize::new(0),
            written: AtomicU64::new(0),
            writing: AtomicWaker::new(),
            begun: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
            head_cut: AtomicBool::new(false),
            head: Mutex::default(),
            answers: Mutex::default(),
            alone: Arc::default(),
        })
    }

    /// A request's headers are complete.
    pub(super) fn begin(self: &Arc<Self>) -> Begun {
        self.begun.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        if !self.is_http2() {
            return Begun { flow: Arc::clone(self), pace: Arc::clone(&self.alone) };
        }
        let pace = Arc::new(Pace::default());
        let mut answers = self.answers();
        answers.all.retain(|answer| answer.strong_count() > 0);
        answers.all.push(Arc::downgrade(&pace));
        answers.newest = Some(Arc::clone(&pace));
        Begun { flow: Arc::clone(self), pace }
    }

    /// The connection is polled.
    pub(super) fn begin_turn(&self) {
        self.turn.store(0, Relaxed);
    }

    /// So many bytes were written.
    pub(super) fn wrote(&self, bytes: usize) {
        self.turn.fetch_add(bytes, Relaxed);
        self.written.fetch_add(bytes as u64, AcqRel);
        self.writing.wake();
    }

    /// Nothing more is written in this turn.
    pub(super) fn turn_is_over(&self) -> bool {
        self.turn.load(Relaxed) >= TURN_BYTES
    }

    /// How many requests have begun since the connection was opened.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Relaxed)
    }

    /// A request, its body or its answer is under way.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Relaxed) > 0
    }

    pub(super) fn is_http2(&self) -> bool {
        self.http2.load(Relaxed)
    }

    pub(super) fn set_http2(&self) {
        self.http2.store(true, Relaxed);
    }

    /// The headers of the request were larger than allowed and have been cut off.
    pub(super) fn head_is_cut(&self) -> bool {
        self.head_cut.load(Relaxed)
    }

    pub(super) fn cut_head(&self) {
        self.head_cut.store(true, Relaxed);
    }

    /// Bytes came while no request ran (HTTP/1).
    pub(super) fn heard(&self, bytes: &[u8]) {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let space = HEAD_BYTES.saturating_sub(head.len());
        head.extend_from_slice(&bytes[..bytes.len().min(space)]);
    }

    /// Whether the request that begins now was sent with a `Content-Length` beside its `Transfer-Encoding`, where hyper drops it.
    /// `None`: its headers are not known, since they came with an earlier request or are long.
    pub(super) fn had_length(&self, chunked: bool) -> Option<bool> {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        if !chunked {
            head.clear();
            return Some(false);
        }
        let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or(head.len());
        let mut has_length = false;
        let mut known = None;
        for line in head[start..].split_inclusive(|byte| *byte == b'\n').map(<[u8]>::trim_ascii_end) {
            if line.is_empty() {
                known = Some(has_length);
                break;
            }
            let name = line.split(|byte| *byte == b':').next().unwrap_or_default();
            has_length |= name.eq_ignore_ascii_case(b"content-length");
        }
        head.clear();
        known
    }

    /// Watches for answers that the client does not take, which on HTTP/2 the socket does not show.
    pub(super) fn watch(self: &Arc<Self>, idle: Duration) -> Watch {
        let step = (idle / 4).max(Duration::from_millis(50));
        let mut ticks = tokio::time::interval_at(Instant::now() + step, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { flow: Arc::clone(self), idle, ticks }
    }

    fn answers(&self) -> MutexGuard<'_, Answers> {
        self.answers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }
}

impl Begun {
    /// Bytes that its connection has written so far.
    pub(super) fn written(&self) -> u64 {
        self.flow.written.load(Acquire)
    }

    /// Waits until more than so many are written.
    pub(super) fn poll_written(&self, bytes: u64, context: &mut Context<'_>) -> Poll<()> {
        self.flow.writing.register(context.waker());
        if self.written() > bytes { Poll::Ready(()) } else { Poll::Pending }
    }

    /// A piece of the answer as it is given to the protocol; it is known when the client has taken it. HTTP/1 has the
    /// clock of its socket.
    pub(super) fn give(&self, bytes: Bytes) -> Bytes {
        if bytes.is_empty() || !self.flow.is_http2() {
            return bytes;
        }
        if self.pace.held.fetch_add(1, AcqRel) == 0 {
            self.pace.since.store(self.flow.age(), Relaxed);
        }
        Bytes::from_owner(Piece { bytes, begun: self.clone() })
    }

    /// Waits until all pieces are written. Until then the answer is not over, so that it can still be reset.
    pub(super) fn poll_taken(&self, context: &mut Context<'_>) -> Poll<()> {
        self.pace.taken.register(context.waker());
        if self.all_taken() { Poll::Ready(()) } else { Poll::Pending }
    }

    /// The answer is one of many on its connection.
    pub(super) fn is_http2(&self) -> bool {
        self.flow.is_http2()
    }

    /// All pieces are written.
    pub(super) fn all_taken(&self) -> bool {
        self.pace.held.load(Acquire) == 0
    }
}

impl Clone for Begun {
    fn clone(&self) -> Self {
        self.flow.running.fetch_add(1, Relaxed);
        Self { flow: Arc::clone(&self.flow), pace: Arc::clone(&self.pace) }
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.flow.running.fetch_sub(1, Relaxed);
    }
}

/// Bytes that say when they are dropped: HTTP/2 keeps them until they are written.
struct Piece {
    bytes: Bytes,
    begun: Begun,
}

impl AsRef<[u8]> for Piece {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        let Begun { flow, pace } = &self.begun;
        pace.since.store(flow.age(), Relaxed);
        if pace.held.fetch_sub(1, AcqRel) == 1 {
            pace.taken.wake();
        }
    }
}

/// Runs the streams of an HTTP/2 connection. One whose answer is given up is dropped, which resets it and frees what
/// it holds.
#[derive(Clone)]
pub(super) struct Streams(pub(super) Arc<Flow>);

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for Streams {
    fn execute(&self, stream: F) {
        // hyper calls the service of a stream, where its request begins, and hands the stream over right after.
        let pace = self.0.answers().newest.take();
        tokio::spawn(async move {
            let Some(pace) = pace else { return stream.await };
            tokio::select! {
                () = stream => {}
                () = pace.given_up.notified() => {}
            }
        });
    }
}

/// See [`Flow::watch`].
pub(super) struct Watch {
    flow: Arc<Flow>,
    idle: Duration,
    ticks: Interval,
}

impl Watch {
    /// Gives answers up from which the client has taken nothing for the whole idle time, whatever else the connection
    /// does. Ends when one of them holds on although it was given up.
    pub(super) async fn stalled(&mut self) {
        let idle = u64::try_from(self.idle.as_millis()).unwrap_or(u64::MAX);
        loop {
            self.ticks.tick().await;
            let now = self.flow.age();
            for pace in self.flow.answers().all.iter().filter_map(Weak::upgrade) {
                let still = now.saturating_sub(pace.since.load(Relaxed));
                if pace.held.load(Acquire) == 0 || still <= idle {
                    continue;
                }
                pace.given_up.notify_one();
                if still > idle.saturating_mul(2) {
                    return;
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_beside_chunks_is_seen_in_the_headers_as_they_were_sent() {
        let flow = Flow::new();
        let ask = |pieces: &[&str]| {
            pieces.iter().for_each(|piece| flow.heard(piece.as_bytes()));
            flow.had_length(true)
        };
        let chunked = "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
        assert_eq!(ask(&[chunked, "content-LENGTH: 3\r\n\r\n"]), Some(true));
        assert_eq!(ask(&["\r\n", chunked, "\r\ncontent-length: 3\r\n\r\n"]), Some(false), "that is the body");
        assert_eq!(ask(&[]), None, "it came with the one before");
        assert_eq!(ask(&[chunked, &"x".repeat(HEAD_BYTES), "\r\n\r\n"]), None);
    }
}
