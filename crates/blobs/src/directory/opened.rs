//! Files that stay open because parts of them are asked for one after the other: to open and close one costs as much as to read 16 KiB.
//!
//! An object never changes, so an open file is as good as its path. One that is removed is let go of, so that its space is free: whoever
//! removes it says so afterwards, and a reader that kept it meanwhile sees by its count of links that it is gone.

use std::{
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use hashlink::LruCache;

/// How many stay open.
const FILES: usize = 64;

/// Who asks for more than this at once keeps its file to itself: the kernel reads ahead by what each open file was asked for.
const PART_BYTES: u64 = 1 << 20;

/// Open files by the key of their object.
pub(super) struct Opened(Mutex<LruCache<Box<str>, Arc<File>>>);

impl Default for Opened {
    fn default() -> Self {
        Self(Mutex::new(LruCache::new(FILES)))
    }
}

impl Opened {
    /// The open file of an object.
    pub(super) fn find(&self, key: &str) -> Option<Arc<File>> {
        self.lock().get(key).cloned()
    }

    /// Keeps a file of which `length` bytes are read, if that is a part of it. Whoever calls this looks afterwards whether it is still there.
    pub(super) fn keep(&self, key: &str, file: File, length: u64) -> Arc<File> {
        let file = Arc::new(file);
        if length <= PART_BYTES {
            self.lock().insert(key.into(), Arc::clone(&file));
        }
        file
    }

    /// Lets go of the file of an object that was removed.
    pub(super) fn forget(&self, key: &str) {
        self.lock().remove(key);
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<Box<str>, Arc<File>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
