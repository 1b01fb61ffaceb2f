//! How slow a client may be: within the idle time it has to move a number of bytes, of which one alone is no sign of life.

use std::future::Future as _;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::time::{Instant, Sleep};

use crate::config::Limits;

/// What a client has to send or to take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Quota {
    idle: Duration,
    bytes: u64,
}

impl Quota {
    pub(super) fn of(limits: &Limits) -> Self {
        let bytes = limits.idle_seconds.saturating_mul(limits.bytes_per_second).max(1);
        Self { idle: Duration::from_secs(limits.idle_seconds), bytes }
    }

    pub(super) fn idle(self) -> Duration {
        self.idle
    }
}

/// The time that a client was waited for since it last had moved its quota. Time in which nobody waits for it does not count: storage
/// may be slower than the client. It costs nothing until something waits.
pub(super) struct Waiting {
    quota: Quota,
    /// Before `since`.
    waited: Duration,
    moved: u64,
    since: Option<Instant>,
    sleep: Option<Pin<Box<Sleep>>>,
}

impl Waiting {
    pub(super) fn new(quota: Quota) -> Self {
        Self { quota, waited: Duration::ZERO, moved: 0, since: None, sleep: None }
    }

    /// The client is waited for; ready when that was too long.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let left = self.quota.idle.saturating_sub(self.waited);
        let sleep = self.sleep.get_or_insert_with(|| Box::pin(tokio::time::sleep(left)));
        if self.since.is_none() {
            let now = Instant::now();
            self.since = Some(now);
            sleep.as_mut().reset(now + left);
        }
        sleep.as_mut().poll(context)
    }

    /// The client has moved so many bytes, and is not waited for at the moment.
    pub(super) fn moved(&mut self, bytes: u64) {
        if let Some(since) = self.since.take() {
            self.waited += since.elapsed();
        }
        self.moved = self.moved.saturating_add(bytes);
        if self.moved >= self.quota.bytes {
            self.moved = 0;
            self.waited = Duration::ZERO;
        }
    }

    /// For words about it.
    pub(super) fn quota(&self) -> Quota {
        self.quota
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::*;

    fn waiting(bytes: u64) -> Waiting {
        Waiting::new(Quota { idle: Duration::from_secs(60), bytes })
    }

    /// Bytes that are moved, one a second, until it was too long; 1000 at most.
    async fn dribble(waiting: &mut Waiting, bytes: u64) -> u64 {
        for second in 0..1000 {
            tokio::select! {
                () = poll_fn(|context| waiting.poll(context)) => return second * bytes,
                () = tokio::time::sleep(Duration::from_secs(1)) => waiting.moved(bytes),
            }
        }
        1000 * bytes
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_a_second_is_not_enough_and_the_quota_is() {
        assert!((59..=60).contains(&dribble(&mut waiting(60 * 128), 1).await));
        assert_eq!(dribble(&mut waiting(60 * 128), 140).await, 140_000);
        assert_eq!(dribble(&mut waiting(1), 1).await, 1000);
    }

    #[tokio::test(start_paused = true)]
    async fn time_in_which_nobody_waits_does_not_count() {
        let mut waiting = waiting(1000);
        for _ in 0..100 {
            assert!(futures::poll!(poll_fn(|context| waiting.poll(context))).is_pending());
            waiting.moved(1);
            tokio::time::sleep(Duration::from_secs(50)).await;
        }
    }
}
