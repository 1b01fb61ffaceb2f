//! Ending without cutting a request: what has begun is finished, nothing new is taken, and there is a last moment.

use std::future::Future;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The end of a node, shared by everything that must know of it.
#[derive(Clone, Default)]
pub struct Drain {
    begun: CancellationToken,
    over: CancellationToken,
    tasks: TaskTracker,
}

impl Drain {
    /// Nothing ends yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Waits until the drain begins.
    pub async fn begun(&self) {
        self.begun.cancelled().await;
    }

    /// The drain has begun.
    pub fn is_draining(&self) -> bool {
        self.begun.is_cancelled()
    }

    /// Runs a task that the end waits for, and that is dropped when waiting is over.
    pub fn watch(&self, task: impl Future<Output = ()> + Send + 'static) {
        let over = self.over.clone();
        self.tasks.spawn(async move {
            tokio::select! {
                () = task => {}
                () = over.cancelled() => {}
            }
        });
    }

    /// Begins the drain without waiting for it.
    pub fn begin(&self) {
        self.begun.cancel();
        self.tasks.close();
    }

    /// Waits until all tasks have ended, at most so long; then the rest is dropped. True: nothing had to be.
    pub async fn finish(&self, limit: Duration) -> bool {
        self.begin();
        let whole = tokio::time::timeout(limit, self.tasks.wait()).await.is_ok();
        self.over.cancel();
        self.tasks.wait().await;
        whole
    }
}
