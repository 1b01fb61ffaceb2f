//! Whether a node may be given requests: `/readyz`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use roadstead_access::Clock;
use roadstead_db::Db;
use roadstead_registry::{Buckets, MARKER_KEY};
use tokio::time::{Instant, timeout};

use crate::drain::Drain;

/// An own clock that is farther off the database's than this makes a node unready (invariant 9), in microseconds.
pub const CLOCK_LIMIT: i64 = 5_000_000;
/// The bucket must have answered one of so many probes.
const PROBES: u32 = 4;
/// What does not answer within this time does not answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// The state of a node.
#[derive(Clone)]
pub struct Health(Arc<Inner>);

struct Inner {
    db: Db,
    buckets: Buckets,
    clock: Clock,
    drain: Drain,
    probe: Duration,
    reached: Mutex<Instant>,
    told: Mutex<Vec<&'static str>>,
}

impl Health {
    /// A node whose buckets were reached just now, and are asked again each `probe`.
    pub fn new(db: Db, buckets: Buckets, clock: Clock, drain: Drain, probe: Duration) -> Self {
        let reached = Mutex::new(Instant::now());
        Self(Arc::new(Inner { db, buckets, clock, drain, probe, reached, told: Mutex::default() }))
    }

    /// Asks the buckets from time to time, so that `/readyz` itself costs them nothing. Ends only by being dropped.
    ///
    /// One that answers is enough: a node that reaches none is cut off, while a bucket that nobody reaches is no better off
    /// when all nodes are taken out.
    pub async fn probe_buckets(&self) {
        loop {
            for (name, bucket) in self.0.buckets.iter() {
                match timeout(PATIENCE, bucket.get_small(MARKER_KEY)).await {
                    Ok(Ok(_)) => *self.0.reached.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now(),
                    Ok(Err(error)) => tracing::warn!(bucket = name, %error, "the bucket can't be reached"),
                    Err(_) => tracing::warn!(bucket = name, "the bucket does not answer"),
                }
            }
            tokio::time::sleep(self.0.probe).await;
        }
    }

    /// What is in the way of requests, in words that anyone may read; empty when nothing is.
    pub async fn trouble(&self) -> Vec<&'static str> {
        let mut trouble = Vec::new();
        if self.0.drain.is_draining() {
            trouble.push("this node is draining");
        }
        match timeout(PATIENCE, clock_offset(&self.0.db, &self.0.clock)).await {
            Ok(Ok(offset)) if offset.abs() > CLOCK_LIMIT => {
                trouble.push("this node's clock is more than 5 seconds off the database's");
            }
            Ok(Ok(_)) => {}
            Ok(Err(_)) | Err(_) => trouble.push("the database can't be reached"),
        }
        if self.0.reached.lock().unwrap_or_else(PoisonError::into_inner).elapsed() > self.0.probe * PROBES {
            trouble.push("the bucket can't be reached");
        }
        self.tell_once(&trouble);
        trouble
    }

    fn tell_once(&self, trouble: &[&'static str]) {
        let mut told = self.0.told.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != trouble {
            match trouble {
                [] => tracing::info!("ready again"),
                some => tracing::warn!("not ready: {}", some.join("; ")),
            }
            *told = trouble.to_vec();
        }
    }
}

/// By how many microseconds our clock is ahead of the database's; also finds out whether the database answers.
pub(crate) async fn clock_offset(db: &Db, clock: &Clock) -> Result<i64, roadstead_db::DbError> {
    db.ping().await?;
    let before = clock.micros();
    let there = db.now().await?;
    let after = clock.micros();
    // The answer may have been made at any time between: only what lies outside is an offset.
    Ok(if there < before { before - there } else { (after - there).min(0) })
}
