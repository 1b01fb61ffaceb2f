//! How often one caller may ask.
//!
//! By access key, else by address. Each has a bucket that fills steadily. There are [`CALLERS`] buckets at most, so that memory stays
//! bounded whoever asks; one that was left alone for a while is full, and is forgotten.

use std::{
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use foldhash::quality::RandomState;
use governor::{
    Quota, RateLimiter,
    clock::Clock as _,
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use http::{HeaderValue, header};
use moka::sync::Cache;

use crate::problem::{Code, Problem};

/// So many requests a second in the long run: more than people click and scripts need, and a small part of what a node answers.
const PER_SECOND: NonZeroU32 = NonZeroU32::new(50).expect("not zero");
/// So many at once: a script that walks a few thousand entries in pages, or a console that opens with many small requests.
const BURST: NonZeroU32 = NonZeroU32::new(200).expect("not zero");
/// So many callers are remembered: some hundred bytes each.
const CALLERS: u64 = 10_000;
/// After so long without a request a bucket is forgotten. It was full again after `BURST / PER_SECOND` = 4 seconds.
const IDLE: Duration = Duration::from_secs(60);

/// Who has a bucket.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Who {
    /// An access key.
    Key(Arc<str>),
    /// A client without one.
    Client(IpAddr),
}

impl Who {
    /// A client by its address. Whoever has one of IPv6 has all of its /64.
    pub(crate) fn client(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self::Client(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            address => Self::Client(address),
        }
    }
}

/// Time since some beginning, which never goes back.
#[derive(Clone)]
pub(crate) struct Ticks(Arc<dyn Fn() -> Duration + Send + Sync>);

impl Ticks {
    pub(crate) fn of_machine() -> Self {
        let begun = Instant::now();
        Self::new(move || begun.elapsed())
    }

    pub(crate) fn new(now: impl Fn() -> Duration + Send + Sync + 'static) -> Self {
        Self(Arc::new(now))
    }
}

impl governor::clock::Clock for Ticks {
    type Instant = Duration;

    fn now(&self) -> Duration {
        (self.0)()
    }
}

type Bucket = RateLimiter<NotKeyed, InMemoryState, Ticks, NoOpMiddleware<Duration>>;

/// The buckets of all callers.
pub(crate) struct Limits {
    ticks: Ticks,
    buckets: Cache<Who, Arc<Bucket>, RandomState>,
}

impl Limits {
    pub(crate) fn new(ticks: Ticks) -> Self {
        let buckets =
            Cache::builder().max_capacity(CALLERS).time_to_idle(IDLE).build_with_hasher(RandomState::default());
        Self { ticks, buckets }
    }

    /// Takes one request out of the bucket of its caller.
    ///
    /// # Errors
    /// 429 that says when there is another one.
    pub(crate) fn take(&self, who: Who) -> Result<(), Problem> {
        let bucket = self.buckets.get_with(who, || {
            let quota = Quota::per_second(PER_SECOND).allow_burst(BURST);
            Arc::new(RateLimiter::direct_with_clock(quota, self.ticks.clone()))
        });
        bucket.check().map_err(|until| {
            let wait = until.wait_time_from(self.ticks.now());
            let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
            let seconds = seconds.max(1);
            let words = format!("more than {PER_SECOND} requests a second came from this caller: go on in {seconds} s");
            Problem::new(Code::TooManyRequests, words).header(header::RETRY_AFTER, HeaderValue::from(seconds))
        })
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;

    fn limits() -> (Limits, Arc<AtomicU64>) {
        let millis = Arc::new(AtomicU64::new(0));
        let now = Arc::clone(&millis);
        (Limits::new(Ticks::new(move || Duration::from_millis(now.load(Ordering::Relaxed)))), millis)
    }

    fn client(text: &str) -> Who {
        Who::client(text.parse().expect("an address"))
    }

    #[test]
    fn a_burst_and_then_so_many_a_second() {
        let (limits, millis) = limits();
        let who = || Who::Key("RSK".into());
        assert_eq!((0..300).filter(|_| limits.take(who()).is_ok()).count(), 200);
        let problem = limits.take(who()).expect_err("used up");
        assert_eq!(problem.code(), Code::TooManyRequests);
        assert!(problem.detail().ends_with("go on in 1 s"), "{}", problem.detail());
        millis.store(1000, Ordering::Relaxed);
        assert_eq!((0..300).filter(|_| limits.take(who()).is_ok()).count(), 50);
        millis.store(61_000, Ordering::Relaxed);
        assert_eq!((0..300).filter(|_| limits.take(who()).is_ok()).count(), 200, "never more than the burst");
    }

    #[test]
    fn nobody_uses_up_what_others_have() {
        let (limits, _) = limits();
        while limits.take(client("192.0.2.1")).is_ok() {}
        limits.take(client("192.0.2.2")).expect("another address");
        limits.take(Who::Key("RSK".into())).expect("a key");
        limits.take(client("::ffff:192.0.2.1")).expect_err("the same address");
        while limits.take(client("2001:db8::1")).is_ok() {}
        limits.take(client("2001:db8::2")).expect_err("the same network");
        limits.take(client("2001:db8:0:1::1")).expect("another network");
    }

    #[test]
    fn memory_is_bounded() {
        let (limits, _) = limits();
        for key in 0..3 * CALLERS {
            limits.take(Who::Key(key.to_string().into())).expect("the first one");
        }
        limits.buckets.run_pending_tasks();
        assert!(limits.buckets.entry_count() <= CALLERS, "{}", limits.buckets.entry_count());
    }
}
