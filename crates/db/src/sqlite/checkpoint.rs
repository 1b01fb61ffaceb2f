//! Checkpoints carry pages from the write-ahead log into the database file. They run beside the commits, on a thread and connection of their own; the
//! writer steps in between two groups only when the log has grown all the same.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicI32, Ordering},
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
/// Pages from which on the writer itself empties the log: 64 MiB.
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
        let work = move || {
            while woken.recv().is_ok() {
                let _turn = turn.lock().unwrap_or_else(PoisonError::into_inner);
                if let Err(error) = checkpoint(&own, "PASSIVE") {
                    tracing::warn!(%error, "a checkpoint of the SQLite file failed");
                }
            }
        };
        let thread = thread::Builder::new()
            .name("sqlite-checkpoint".to_owned())
            .spawn(work)
            .map_err(|error| DbError::Unavailable(format!("no thread for checkpoints: {error}")))?;
        Ok(Self { pages, before: 0, next: WORTH_IT, next_own: TOO_LONG, wake, thread, one_at_a_time })
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
            self.next_own = match empty(writer) {
                Ok(true) => {
                    self.pages.store(0, Ordering::Relaxed);
                    TOO_LONG
                }
                Ok(false) => pages.saturating_add(PATIENCE),
                Err(error) => {
                    tracing::warn!(%error, pages, "the SQLite log is long and can't be emptied");
                    pages.saturating_add(PATIENCE)
                }
            };
        } else if pages >= self.next {
            self.next = pages.saturating_add(WORTH_IT);
            // Full means that it is awake already.
            let _ = self.wake.try_send(());
        }
    }

    /// At the end: leaves an empty log.
    pub(super) fn finish(self, writer: Connection) {
        drop(self.wake);
        let _ = self.thread.join();
        if let Err(error) = empty(&writer) {
            tracing::warn!(%error, "the last checkpoint of the SQLite file failed");
        }
    }
}

fn checkpoint(connection: &Connection, how: &str) -> Result<bool, DbError> {
    let blocked: i64 = connection.query_row(&format!("PRAGMA wal_checkpoint({how})"), [], |row| row.get(0))?;
    Ok(blocked == 0)
}

/// Gives false when a reader is in the way. Waits for it shortly: the writes are waiting.
fn empty(writer: &Connection) -> Result<bool, DbError> {
    writer.busy_timeout(Duration::from_secs(1))?;
    let emptied = checkpoint(writer, "TRUNCATE");
    writer.busy_timeout(super::BUSY)?;
    emptied
}
