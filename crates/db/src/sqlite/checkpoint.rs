//! Checkpoints carry pages from the write-ahead log into the database file. They run beside the commits, on a thread and connection of their own. What was
//! committed meanwhile the writer carries over itself, between two groups: then nothing is left in the log, and the next commit begins it anew.
//!
//! The file of the log keeps its size: to write over what it has is one write and one flush of the disk, while a file that grows takes blocks, and its
//! size must be synced too.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicI32, Ordering},
        mpsc,
    },
    thread::{self, JoinHandle},
    time::Duration,
};

use rusqlite::Connection;

use crate::error::DbError;

/// After so many more pages in the log (4 KiB each) the next checkpoint is made: the more at once, the more often a page that changes with
/// each commit is carried over once for many.
const WORTH_IT: i32 = 4 * 1024;
/// As many pages the writer carries over itself.
const LITTLE: i32 = WORTH_IT / 2;
/// Pages from which on the writer waits for readers, so that the log begins anew: 64 MiB.
const TOO_LONG: i32 = 16 * 1024;
/// When it could not (a reader holds on to old pages), it tries again after so many more.
const PATIENCE: i32 = 4 * 1024;

pub(super) struct Checkpoints {
    /// Pages in the log after the last commit.
    pages: Arc<AtomicI32>,
    /// The same after the commit before.
    before: i32,
    next: i32,
    next_own: i32,
    wake: mpsc::SyncSender<()>,
    /// The thread has carried over what there was when it began.
    carried: Arc<AtomicBool>,
    thread: JoinHandle<()>,
    /// Held by who makes a checkpoint: SQLite does not wait for another one's, it fails.
    one_at_a_time: Arc<Mutex<()>>,
}

impl Checkpoints {
    pub(super) fn start(writer: &mut Connection, own: Connection) -> Result<Self, DbError> {
        let pages = Arc::new(AtomicI32::new(0));
        let counted = Arc::clone(&pages);
        writer.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, pages| {
            counted.store(pages, Ordering::Relaxed);
            Ok(())
        }))?;
        // One wake-up may wait while a checkpoint runs; more would say nothing new.
        let (wake, woken) = mpsc::sync_channel(1);
        let one_at_a_time = Arc::new(Mutex::new(()));
        let turn = Arc::clone(&one_at_a_time);
        let carried = Arc::new(AtomicBool::new(false));
        let done = Arc::clone(&carried);
        let work = move || {
            while woken.recv().is_ok() {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                carry_over(&own);
                done.store(true, Ordering::Relaxed);
            }
        };
        let thread = thread::Builder::new()
            .name("sqlite-checkpoint".to_owned())
            .spawn(work)
            .map_err(|error| DbError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { pages, before: 0, next: WORTH_IT, next_own: TOO_LONG, wake, carried, thread, one_at_a_time })
    }

    /// Between two groups.
    pub(super) fn after_commit(&mut self, writer: &Connection) {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < self.before {
            // All of it had been carried over, and it began anew.
            (self.next, self.next_own) = (WORTH_IT, TOO_LONG);
        }
        self.before = pages;
        if pages >= self.next_own {
            let _turn = self.one_at_a_time.lock().unwrap_or_else(PoisonError::into_inner);
            self.next_own = match begin_anew(writer) {
                Ok(true) => TOO_LONG,
                Ok(false) => pages.saturating_add(PATIENCE),
                Err(error) => {
                    tracing::warn!(%error, pages, "the SQLite log is long and can't begin anew");
                    pages.saturating_add(PATIENCE)
                }
            };
        } else if pages >= self.next || self.must_be_carried_by_others(writer, pages) {
            self.next = pages.saturating_add(WORTH_IT);
            // Full means that it is awake already.
            let _ = self.wake.try_send(());
        }
    }

    /// Carries over what the thread has left, and tells whether that is too much for one who keeps others waiting.
    fn must_be_carried_by_others(&self, writer: &Connection, pages: i32) -> bool {
        if !self.carried.load(Ordering::Relaxed) {
            return false;
        }
        // It may be at the next one already.
        let Ok(_turn) = self.one_at_a_time.try_lock() else { return false };
        self.carried.store(false, Ordering::Relaxed);
        let woken_at = self.next.saturating_sub(WORTH_IT);
        let too_much = pages.saturating_sub(woken_at) > LITTLE;
        if !too_much {
            carry_over(writer);
        }
        too_much
    }

    /// At the end: leaves an empty log.
    pub(super) fn finish(self, writer: Connection) {
        drop(self.wake);
        let _ = self.thread.join();
        if let Err(error) = checkpoint(&writer, "TRUNCATE") {
            tracing::warn!(%error, "the last checkpoint of the SQLite file failed");
        }
    }
}

fn checkpoint(connection: &Connection, how: &str) -> Result<bool, DbError> {
    let blocked: i64 = connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0))?;
    Ok(blocked == 0)
}

/// As much as can be without waiting for anybody.
fn carry_over(connection: &Connection) {
    if let Err(error) = checkpoint(connection, "PASSIVE") {
        tracing::warn!(%error, "a checkpoint of the SQLite file failed");
    }
}

/// Gives false when a reader is in the way. Waits for it shortly: the writes are waiting.
fn begin_anew(writer: &Connection) -> Result<bool, DbError> {
    writer.busy_timeout(Duration::from_secs(1))?;
    let begun = checkpoint(writer, "RESTART");
    writer.busy_timeout(super::BUSY)?;
    begun
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is committed while the thread works is carried over, too; and a log that were cut would take blocks anew with each commit.
    #[test]
    fn the_log_begins_anew_while_writes_go_on_and_keeps_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let open = || {
            let connection = Connection::open(folder.path().join("it.db")).unwrap();
            let _: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).unwrap();
            connection.execute_batch("PRAGMA synchronous = OFF; PRAGMA wal_autocheckpoint = 0").unwrap();
            connection
        };
        let mut writer = open();
        let mut checkpoints = Checkpoints::start(&mut writer, open()).unwrap();
        writer.execute_batch("CREATE TABLE it (number INTEGER PRIMARY KEY, bytes BLOB)").unwrap();
        let commit = |checkpoints: &mut Checkpoints| {
            writer.execute("INSERT INTO it (bytes) VALUES (zeroblob(1 << 20))", []).unwrap();
            let pages = checkpoints.pages.load(Ordering::Relaxed);
            checkpoints.after_commit(&writer);
            pages
        };
        while commit(&mut checkpoints) < WORTH_IT {}
        let length = || folder.path().join("it.db-wal").metadata().unwrap().len();
        let mut longest = length();
        // 1 MiB each, for which the log has room once more: the thread keeps up with them, or in the end the writer waits.
        loop {
            let pages = commit(&mut checkpoints);
            if pages < WORTH_IT {
                break;
            }
            assert!(pages < TOO_LONG + WORTH_IT, "the log never begins anew");
            longest = length();
            thread::yield_now();
        }
        assert_eq!(length(), longest);
        checkpoints.finish(writer);
    }
}
