//! The one budget of memory for bodies: when it is used up, senders and readers wait (invariant 8), but not for ever.
//!
//! Downloads and uploads have a half each, so neither starves the other. A quarter of the uploads' half is for those that
//! have sent little so far: an upload holds a little of that, and takes the memory of a whole part once it has really sent
//! something. Whoever waits for a part holds at most its little beginning, and whoever has a part waits for nothing, so
//! they cannot wait for one another in a circle.

use std::{sync::Arc, time::Duration};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::BlobError;

/// How long a share is waited for unless [`MemoryBudget::with_patience`] says otherwise.
const PATIENCE: Duration = Duration::from_secs(20);

/// Memory that all uploads and downloads of a process share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    reading: Portion,
    starting: Portion,
    writing: Portion,
    patience: Duration,
}

/// What a share of the budget is for; each use has a portion of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryUse {
    /// Bytes on their way to a reader: half of the budget.
    Reading,
    /// The first bytes of an upload: an eighth.
    Starting,
    /// Bytes of an upload that has sent more than a few: three eighths.
    Writing,
}

#[derive(Clone, Debug)]
struct Portion {
    free_kib: Arc<Semaphore>,
    total_kib: u32,
}

/// A share of the budget; given back when dropped.
#[derive(Debug)]
pub struct MemoryShare {
    permit: OwnedSemaphorePermit,
    _within: Option<Arc<MemoryShare>>,
}

/// A share that is handed out in a few pieces at a time, each of which may be used again when it is dropped.
#[derive(Clone, Debug)]
pub(crate) struct SharePieces {
    share: Arc<MemoryShare>,
    free: Arc<Semaphore>,
}

impl MemoryBudget {
    /// A budget of so many MiB, at least 1. A share is waited for 20 s.
    pub fn new(mebibytes: u32) -> Self {
        let eighth = mebibytes.clamp(1, u32::MAX >> 10) << 7;
        let portion = |total_kib: u32| Portion { free_kib: Arc::new(Semaphore::new(total_kib as usize)), total_kib };
        Self {
            reading: portion(4 * eighth),
            starting: portion(eighth),
            writing: portion(3 * eighth),
            patience: PATIENCE,
        }
    }

    /// The same budget, whose shares are waited for so long.
    pub fn with_patience(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Waits for a share of so many bytes, rounded up to KiB. More than there is for this use counts as all of that: a
    /// single body larger than it then goes alone rather than never. [`BlobError::NoMemory`]: the memory was used up for
    /// as long as one waits for it.
    pub async fn take(&self, purpose: MemoryUse, bytes: u64) -> Result<MemoryShare, BlobError> {
        let portion = self.portion(purpose);
        let permit = Arc::clone(&portion.free_kib).acquire_many_owned(portion.kib(bytes));
        match tokio::time::timeout(self.patience, permit).await {
            Ok(permit) => {
                Ok(MemoryShare { permit: permit.expect("the budget's semaphores are never closed"), _within: None })
            }
            Err(_) => Err(BlobError::NoMemory),
        }
    }

    /// A share if it is free right now.
    pub fn try_take(&self, purpose: MemoryUse, bytes: u64) -> Option<MemoryShare> {
        let portion = self.portion(purpose);
        let permit = Arc::clone(&portion.free_kib).try_acquire_many_owned(portion.kib(bytes)).ok()?;
        Some(MemoryShare { permit, _within: None })
    }

    /// Whether less than a quarter of what there is for this use is free.
    pub fn is_scarce(&self, purpose: MemoryUse) -> bool {
        let portion = self.portion(purpose);
        portion.free_kib.available_permits() < portion.total_kib as usize / 4
    }

    /// What is free now for all uses together, in bytes.
    pub fn free(&self) -> u64 {
        let portions = [&self.reading, &self.starting, &self.writing];
        portions.iter().map(|portion| (portion.free_kib.available_permits() as u64) << 10).sum()
    }

    /// The size of the whole budget in bytes.
    pub fn total(&self) -> u64 {
        let portions = [&self.reading, &self.starting, &self.writing];
        portions.iter().map(|portion| u64::from(portion.total_kib) << 10).sum()
    }

    fn portion(&self, purpose: MemoryUse) -> &Portion {
        match purpose {
            MemoryUse::Reading => &self.reading,
            MemoryUse::Starting => &self.starting,
            MemoryUse::Writing => &self.writing,
        }
    }
}

impl Portion {
    fn kib(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.total_kib)
    }
}

impl MemoryShare {
    pub(crate) fn bytes(&self) -> u64 {
        (self.permit.num_permits() as u64) << 10
    }

    /// Adds another share of the same use.
    pub(crate) fn join(&mut self, other: Self) {
        self.permit.merge(other.permit);
    }

    /// Gives back all but so many bytes.
    pub(crate) fn shrink_to(&mut self, bytes: u64) {
        let kept = usize::try_from(bytes.div_ceil(1024)).unwrap_or(usize::MAX);
        let excess = self.permit.num_permits().saturating_sub(kept);
        drop(self.permit.split(excess));
    }
}

impl SharePieces {
    pub(crate) fn new(share: MemoryShare, pieces: usize) -> Self {
        Self { share: Arc::new(share), free: Arc::new(Semaphore::new(pieces)) }
    }

    /// Waits until one of the pieces is free. The whole share is held as long as any of them lives.
    pub(crate) async fn take(&self) -> MemoryShare {
        let permit = Arc::clone(&self.free).acquire_owned().await;
        MemoryShare {
            permit: permit.expect("the semaphore of the pieces is never closed"),
            _within: Some(Arc::clone(&self.share)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_used_up_budget_makes_the_next_one_wait_and_a_drop_gives_back() {
        let budget = MemoryBudget::new(1);
        let whole = budget.take(MemoryUse::Reading, 5 << 20).await.expect("free");
        assert_eq!(budget.free(), budget.total() / 2);
        assert!(budget.is_scarce(MemoryUse::Reading) && budget.try_take(MemoryUse::Reading, 1).is_none());
        let mut waiting = Box::pin(budget.take(MemoryUse::Reading, 1));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(whole);
        let _share = waiting.await.expect("given back");
        assert_eq!(budget.free(), (1 << 20) - 1024);
    }

    #[tokio::test]
    async fn one_use_takes_nothing_from_another_and_no_one_waits_for_ever() {
        let budget = MemoryBudget::new(1).with_patience(Duration::ZERO);
        let uses = [MemoryUse::Reading, MemoryUse::Starting, MemoryUse::Writing];
        let mut shares = Vec::new();
        for purpose in uses {
            shares.push(budget.take(purpose, u64::MAX).await.expect("untouched by the others"));
        }
        assert_eq!((budget.free(), budget.total()), (0, 1 << 20));
        for purpose in uses {
            assert!(matches!(budget.take(purpose, 1).await, Err(BlobError::NoMemory)));
        }
    }

    #[tokio::test]
    async fn a_share_that_shrinks_gives_the_rest_back() {
        let budget = MemoryBudget::new(1);
        let mut share = budget.take(MemoryUse::Reading, 10 << 10).await.expect("free");
        share.shrink_to(3 << 10);
        assert_eq!((budget.total() - budget.free(), share.bytes()), (3 << 10, 3 << 10));
        share.shrink_to(5 << 10);
        assert_eq!((budget.total() - budget.free(), share.bytes()), (3 << 10, 3 << 10));
        drop(share);
        assert_eq!(budget.free(), budget.total());
    }

    #[tokio::test]
    async fn the_pieces_of_a_share_hold_it() {
        let budget = MemoryBudget::new(1);
        let pieces = SharePieces::new(budget.take(MemoryUse::Reading, 1024).await.expect("free"), 1);
        let piece = pieces.take().await;
        let mut next = Box::pin(pieces.take());
        assert!(futures::poll!(&mut next).is_pending());
        drop(piece);
        let piece = next.await;
        drop(pieces);
        assert_eq!(budget.free(), budget.total() - 1024);
        drop(piece);
        assert_eq!(budget.free(), budget.total());
    }
}
