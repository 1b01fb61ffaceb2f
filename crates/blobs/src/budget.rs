//! The one budget of memory for bodies: when it is used up, senders and readers wait (invariant 8).

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Memory that all uploads and downloads of a process share. Cheap to clone.
#[derive(Clone, Debug)]
pub struct MemoryBudget {
    free_kib: Arc<Semaphore>,
    total_kib: u32,
}

/// A share of the budget; given back when dropped.
#[derive(Debug)]
pub struct MemoryShare {
    _permit: OwnedSemaphorePermit,
}

impl MemoryBudget {
    /// A budget of so many MiB, at least 1.
    pub fn new(mebibytes: u32) -> Self {
        let total_kib = mebibytes.clamp(1, u32::MAX >> 10) << 10;
        Self { free_kib: Arc::new(Semaphore::new(total_kib as usize)), total_kib }
    }

    /// Waits for a share of so many bytes, rounded up to KiB. More than the whole budget counts as the whole budget: a
    /// single body larger than it then goes alone rather than never.
    pub async fn take(&self, bytes: u64) -> MemoryShare {
        let permit = Arc::clone(&self.free_kib).acquire_many_owned(self.kib(bytes)).await;
        MemoryShare { _permit: permit.expect("the budget's semaphore is never closed") }
    }

    /// A share if it is free right now.
    pub fn try_take(&self, bytes: u64) -> Option<MemoryShare> {
        let permit = Arc::clone(&self.free_kib).try_acquire_many_owned(self.kib(bytes)).ok()?;
        Some(MemoryShare { _permit: permit })
    }

    /// What is free now, in bytes.
    pub fn free(&self) -> u64 {
        (self.free_kib.available_permits() as u64) << 10
    }

    /// The size of the whole budget in bytes.
    pub fn total(&self) -> u64 {
        u64::from(self.total_kib) << 10
    }

    fn kib(&self, bytes: u64) -> u32 {
        u32::try_from(bytes.div_ceil(1024)).unwrap_or(u32::MAX).min(self.total_kib)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_used_up_budget_makes_the_next_one_wait_and_a_drop_gives_back() {
        let budget = MemoryBudget::new(1);
        let whole = budget.take(5 << 20).await;
        assert_eq!(budget.free(), 0);
        assert!(budget.try_take(1).is_none());
        let mut waiting = Box::pin(budget.take(1));
        assert!(futures::poll!(&mut waiting).is_pending());
        drop(whole);
        let _share = waiting.await;
        assert_eq!(budget.free(), (1 << 20) - 1024);
    }
}
