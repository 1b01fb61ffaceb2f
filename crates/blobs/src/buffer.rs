//! Page-aligned buffers, used again and again: some processors copy to and from unaligned memory at a fifth of the speed,
//! and a fresh large allocation costs its page faults each time (architecture.md 3).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytemuck::{Pod, Zeroable};
use bytes::Bytes;

use crate::{MemoryBudget, MemoryShare};

/// Size of a pooled buffer in bytes.
pub(crate) const BUFFER_BYTES: usize = 256 << 10;

/// Size of a smaller one, for when many are in use at once.
const SMALL_BYTES: usize = BUFFER_BYTES / 4;

const PAGE_BYTES: usize = 4096;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C, align(4096))]
struct Page([u8; PAGE_BYTES]);

/// Buffers that wait to be used again. Cheap to clone.
///
/// As many are kept as uploads or downloads may use at once. Given back to the allocator, they leave holes between smaller
/// allocations that are a little too small for the next buffer, which must lie on a page: the process then needs half as
/// much again as the budget says.
#[derive(Clone)]
pub(crate) struct BufferPool(Arc<Pool>);

struct Pool {
    /// Of [`BUFFER_BYTES`], and of [`SMALL_BYTES`].
    idle: [Mutex<Vec<Box<[Page]>>>; 2],
    /// Bytes that are kept of each size at most.
    kept: usize,
}

/// A page-aligned buffer; its memory goes back to the pool when it is dropped.
pub(crate) struct Buffer {
    pages: Box<[Page]>,
    used: usize,
    pool: BufferPool,
    share: Option<MemoryShare>,
}

impl BufferPool {
    /// A pool for bodies within this budget.
    pub(crate) fn new(budget: &MemoryBudget) -> Self {
        let kept = usize::try_from(budget.total() / 2).unwrap_or(usize::MAX);
        Self(Arc::new(Pool { idle: Default::default(), kept }))
    }

    /// A buffer for `wanted` bytes, [`BUFFER_BYTES`] at most. A small one is exactly as many pages as it needs.
    pub(crate) fn buffer(&self, wanted: usize) -> Buffer {
        let size = usize::try_from(memory_of(wanted)).unwrap_or(BUFFER_BYTES);
        let idle = self.0.idle_of(size).and_then(|mut idle| idle.pop());
        let pages = idle.unwrap_or_else(|| vec![Page::zeroed(); size / PAGE_BYTES].into_boxed_slice());
        Buffer { pages, used: 0, pool: self.clone(), share: None }
    }

    /// Gives the large ones that wait back to the allocator: a crowd uses small ones, for which their memory is wanted.
    pub(crate) fn let_go_of_large(&self) {
        let large = self.0.idle_of(BUFFER_BYTES).map(|mut idle| std::mem::take(&mut *idle));
        drop(large);
    }
}

impl Pool {
    /// Those of this size, if such ones are kept.
    fn idle_of(&self, bytes: usize) -> Option<MutexGuard<'_, Vec<Box<[Page]>>>> {
        let idle = match bytes {
            BUFFER_BYTES => &self.idle[0],
            SMALL_BYTES => &self.idle[1],
            _ => return None,
        };
        Some(idle.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// How many bytes of memory [`BufferPool::buffer`] uses for `wanted` bytes.
pub(crate) fn memory_of(wanted: usize) -> u64 {
    let pages = wanted.clamp(1, BUFFER_BYTES).div_ceil(PAGE_BYTES);
    (if pages * PAGE_BYTES <= SMALL_BYTES { pages * PAGE_BYTES } else { BUFFER_BYTES }) as u64
}

impl Buffer {
    /// Keeps a share of the budget as long as the buffer lives.
    pub(crate) fn hold(&mut self, share: MemoryShare) {
        self.share = Some(share);
    }

    pub(crate) fn capacity(&self) -> usize {
        self.pages.len() * PAGE_BYTES
    }

    /// The bytes filled so far.
    pub(crate) fn filled(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.pages)[..self.used]
    }

    /// The whole memory, to read into; [`Buffer::set_filled`] tells afterwards how much came.
    pub(crate) fn memory(&mut self) -> &mut [u8] {
        bytemuck::cast_slice_mut(&mut self.pages)
    }

    pub(crate) fn set_filled(&mut self, used: usize) {
        self.used = used.min(self.capacity());
    }

    /// Copies as much of `bytes` as fits within `limit` bytes in all; returns how much that was.
    pub(crate) fn fill(&mut self, bytes: &[u8], limit: usize) -> usize {
        let room = limit.min(self.capacity()).saturating_sub(self.used).min(bytes.len());
        let used = self.used;
        self.memory()[used..used + room].copy_from_slice(&bytes[..room]);
        self.used += room;
        room
    }

    /// The filled bytes; the buffer returns to the pool when the last clone of them is dropped.
    pub(crate) fn into_bytes(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Buffer {
    fn as_ref(&self) -> &[u8] {
        self.filled()
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let size = self.capacity();
        let pages = std::mem::take(&mut self.pages);
        if let Some(mut idle) = self.pool.0.idle_of(size)
            && idle.len() < self.pool.0.kept / size
        {
            idle.push(pages);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_lie_on_a_page_and_are_used_again() {
        let pool = BufferPool::new(&MemoryBudget::new(1));
        let mut buffer = pool.buffer(BUFFER_BYTES);
        let address = buffer.memory().as_ptr() as usize;
        assert_eq!(address % PAGE_BYTES, 0);
        assert_eq!(buffer.fill(&[7; 10], 4), 4);
        let bytes = buffer.into_bytes();
        assert_eq!(&bytes[..], [7; 4]);
        drop(bytes);
        assert_eq!(pool.buffer(BUFFER_BYTES - 1).memory().as_ptr() as usize, address);
        assert_eq!(pool.buffer(5000).capacity(), 2 * PAGE_BYTES);
        assert_eq!(memory_of(5000), 2 * PAGE_BYTES as u64);
    }

    #[test]
    fn as_many_buffers_are_kept_as_may_be_in_use_at_once_until_a_crowd_comes() {
        let pool = BufferPool::new(&MemoryBudget::new(64));
        let buffers = |count| (0..count).map(|_| pool.buffer(BUFFER_BYTES)).collect::<Vec<_>>();
        drop(buffers(128 + 5));
        let kept = || [0, 1].map(|size: usize| pool.0.idle[size].lock().expect("a list").len());
        assert_eq!(kept(), [128, 0]);
        drop(pool.buffer(SMALL_BYTES));
        pool.let_go_of_large();
        assert_eq!(kept(), [0, 1]);
    }
}
