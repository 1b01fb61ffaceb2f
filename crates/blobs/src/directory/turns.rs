//! Whose turn it is to write to an upload. A request that was given up may still have a write under way, or come back to
//! life later; none of that may land in what its successor writes.
//!
//! Within a process the successor takes the file away from its predecessor. Between processes, on a shared directory, a
//! lock on the file keeps them apart, and the lease of the upload says who waits for whom.

use std::{
    collections::HashMap,
    fs::File,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use rustix::{fs::FlockOperation, io::Errno};

use crate::BlobError;

/// How long a new writer waits for the last write of an older one.
const TAKEOVER: Duration = Duration::from_secs(10);

/// The writers of one directory, by object key.
#[derive(Clone, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<String, Arc<Mutex<Held>>>>>);

/// One writer's turn; it ends with the next writer's or when this is dropped.
pub(super) struct Turn {
    turns: Turns,
    key: String,
    held: Arc<Mutex<Held>>,
}

enum Held {
    NotYet,
    File(Arc<File>),
    TakenOver,
}

impl Turns {
    /// Begins a turn and ends the one of whoever wrote before.
    pub(super) fn begin(&self, key: &str) -> Turn {
        let held = Arc::new(Mutex::new(Held::NotYet));
        let before = lock(&self.0).insert(key.to_owned(), Arc::clone(&held));
        if let Some(before) = before {
            // The file is unlocked when a write that is under way has ended.
            *lock(&before) = Held::TakenOver;
        }
        Turn { turns: self.clone(), key: key.to_owned(), held }
    }
}

impl Turn {
    /// The file of this turn, opened by `open` and locked if this is the first use. To be asked for again before each
    /// piece of work, and not kept longer.
    pub(super) fn file(&self, open: impl FnOnce() -> Result<File, BlobError>) -> Result<Arc<File>, BlobError> {
        match &*lock(&self.held) {
            Held::File(file) => return Ok(Arc::clone(file)),
            Held::TakenOver => return Err(taken_over()),
            Held::NotYet => {}
        }
        let file = Arc::new(open()?);
        keep_apart(&file)?;
        match &mut *lock(&self.held) {
            Held::TakenOver => Err(taken_over()),
            held => {
                *held = Held::File(Arc::clone(&file));
                Ok(file)
            }
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = lock(&self.turns.0);
        if turns.get(&self.key).is_some_and(|held| Arc::ptr_eq(held, &self.held)) {
            turns.remove(&self.key);
        }
    }
}

fn taken_over() -> BlobError {
    BlobError::Unavailable("another request goes on with this upload".to_owned())
}

/// Locks the file; the lock is gone with the last handle of it.
fn keep_apart(file: &File) -> Result<(), BlobError> {
    let begun = Instant::now();
    loop {
        match rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) | Err(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS) => return Ok(()),
            Err(Errno::AGAIN | Errno::INTR) if begun.elapsed() < TAKEOVER => {
                std::thread::sleep(Duration::from_millis(2));
            }
            Err(Errno::AGAIN) => return Err(BlobError::Unavailable("another node writes to this upload".to_owned())),
            Err(error) => return Err(error.into()),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
