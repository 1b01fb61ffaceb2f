//! How much one connection reads at once: the more of them are open, the less.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::config::Limits;

/// What the reads of a few connections take together, about, ...
const READS_BYTES: usize = 4 << 20;
/// ... up to this many, ...
const FEW: usize = 16;
/// ... and of more.
const CROWD_BYTES: usize = 2 << 20;
/// The buffer behind what a connection reads at once, however many there are; one more is on its way to whoever reads the body.
const LEAST_BYTES: usize = 16 << 10;

/// The connections that are open, and the addresses that are listened on: each holds a place for whoever comes next.
pub(super) struct Crowd {
    places: Arc<Semaphore>,
    most: usize,
}

impl Crowd {
    /// Those that hold one of `places`, of which there are as many as the limits say.
    pub(super) fn new(limits: &Limits, places: &Arc<Semaphore>) -> Self {
        let most = usize::try_from(limits.connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { places: Arc::clone(places), most }
    }

    /// Bytes that one of them may read at once now. The buffer behind them is a power of two, and twice as large once it was full: so one
    /// less than such a power, which is the one below the share.
    pub(super) fn share(&self) -> usize {
        let open = self.most.saturating_sub(self.places.available_permits());
        let together = if open <= FEW { READS_BYTES } else { CROWD_BYTES };
        let share = (together / open.max(1)).max(LEAST_BYTES);
        (1 << share.ilog2()) - 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, Sources};

    #[test]
    fn the_share_shrinks_and_grows_with_the_crowd() {
        let limits = Limits { connections: 5000, ..Config::load(&Sources::default()).expect("the defaults").limits };
        let places = Arc::new(Semaphore::new(5000));
        let crowd = Crowd::new(&limits, &places);
        let few = places.try_acquire_many(4).expect("free");
        assert_eq!(crowd.share(), (1 << 20) - 1);
        let more = places.try_acquire_many(12).expect("free");
        assert_eq!(crowd.share(), (256 << 10) - 1);
        let one = places.try_acquire().expect("free");
        assert_eq!(crowd.share(), (64 << 10) - 1);
        let many = places.try_acquire_many(4000).expect("free");
        assert_eq!(crowd.share(), LEAST_BYTES - 1);
        drop((many, more, one));
        assert_eq!(crowd.share(), (1 << 20) - 1);
        drop(few);
    }
}
