//! What one connection is doing: shared by its socket, its requests and its answers.

use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior};

/// Less than this in the whole idle time counts as nothing: pings alone are no progress.
const PROGRESS_BYTES: u64 = 1024;

/// The state of one connection.
pub(super) struct Flow {
    born: Instant,
    begun: AtomicU64,
    running: AtomicUsize,
    http2: AtomicBool,
    head_cut: AtomicBool,
    written: AtomicU64,
    answers: Mutex<Vec<Weak<Pace>>>,
}

/// How an answer gets on: when it last gave bytes that were not asked for further since, in milliseconds of the
/// connection's life; 0 while it is not waiting for the client.
#[derive(Default)]
struct Pace(AtomicU64);

/// A request that runs; the connection is busy until the last clone is dropped.
pub(super) struct Begun {
    flow: Arc<Flow>,
    pace: Arc<Pace>,
}

impl Flow {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Self {
            born: Instant::now(),
            begun: AtomicU64::new(0),
            running: AtomicUsize::new(0),
            http2: AtomicBool::new(false),
            head_cut: AtomicBool::new(false),
            written: AtomicU64::new(0),
            answers: Mutex::default(),
        })
    }

    /// A request's headers are complete.
    pub(super) fn begin(self: &Arc<Self>) -> Begun {
        self.begun.fetch_add(1, Relaxed);
        self.running.fetch_add(1, Relaxed);
        let pace = Arc::new(Pace::default());
        if self.is_http2() {
            let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
            answers.retain(|answer| answer.strong_count() > 0);
            answers.push(Arc::downgrade(&pace));
        }
        Begun { flow: Arc::clone(self), pace }
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

    pub(super) fn wrote(&self, bytes: u64) {
        self.written.fetch_add(bytes, Relaxed);
    }

    /// Watches for answers that the client does not take, which on HTTP/2 the socket alone does not show.
    pub(super) fn watch(self: &Arc<Self>, idle: Duration) -> Watch {
        let step = (idle / 4).max(Duration::from_millis(50));
        let mut ticks = tokio::time::interval_at(Instant::now() + step, step);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Watch { flow: Arc::clone(self), idle, ticks, progress: (Instant::now(), 0) }
    }

    fn age(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn has_stalled_answer(&self, idle: Duration) -> bool {
        let oldest = self.age().saturating_sub(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let stalled = |pace: Arc<Pace>| matches!(pace.0.load(Relaxed), since if since != 0 && since < oldest);
        answers.iter().filter_map(Weak::upgrade).any(stalled)
    }
}

impl Begun {
    /// The answer gave bytes: from now on it is the client's turn.
    pub(super) fn gave(&self) {
        self.pace.0.store(self.flow.age(), Relaxed);
    }

    /// The answer has nothing to give at the moment, or is at its end.
    pub(super) fn waits(&self) {
        self.pace.0.store(0, Relaxed);
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

/// See [`Flow::watch`].
pub(super) struct Watch {
    flow: Arc<Flow>,
    idle: Duration,
    ticks: Interval,
    progress: (Instant, u64),
}

impl Watch {
    /// Ends when the client has let an answer wait for the whole idle time while the connection moved no bytes.
    pub(super) async fn stalled(&mut self) {
        loop {
            self.ticks.tick().await;
            let written = self.flow.written.load(Relaxed);
            if written.saturating_sub(self.progress.1) >= PROGRESS_BYTES {
                self.progress = (Instant::now(), written);
            } else if self.progress.0.elapsed() >= self.idle && self.flow.has_stalled_answer(self.idle) {
                return;
            }
        }
    }
}
