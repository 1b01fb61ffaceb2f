//! The one thread that writes. It takes what is waiting, runs each job in a savepoint of one transaction, commits once (one flush to disk
//! for all), and only then answers: acknowledged means durable. A job that fails or panics takes nothing but itself back.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Waker},
    thread::{self, JoinHandle},
};

use futures::future::BoxFuture;
use rusqlite::Connection;
use tokio::sync::oneshot;

use super::{checkpoint::Checkpoints, recall::Changes};
use crate::{
    dialect::Dialect,
    engine::{self, TRIES, Tx},
    error::DbError,
};

/// Jobs committed together at most: bounds how long the first of them waits for the last.
const GROUP: usize = 64;

/// The way to the thread. Dropping it finishes what is queued and ends the thread.
pub(super) struct Writer {
    /// `None` only while dropping.
    jobs: Option<mpsc::Sender<Box<dyn Job>>>,
    thread: Option<JoinHandle<()>>,
    running: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn start(
        mut connection: Connection,
        for_checkpoints: Connection,
        dialect: Arc<Dialect>,
        changes: Changes,
    ) -> Result<Self, DbError> {
        let checkpoints = Checkpoints::start(&mut connection, for_checkpoints)?;
        let (jobs, queue) = mpsc::channel();
        let running = Arc::new(AtomicBool::new(true));
        let ends = Running(Arc::clone(&running));
        let work = move || {
            let _ends = ends;
            Thread { connection, checkpoints, dialect, changes, synced: true }.run(&queue);
        };
        let thread = thread::Builder::new()
            .name("sqlite-writer".to_owned())
            .spawn(work)
            .map_err(|error| DbError::Unavailable(format!("no thread for the writer: {error}")))?;
        Ok(Self { jobs: Some(jobs), thread: Some(thread), running })
    }

    pub(super) fn is_running(&self) -> bool {
        self.running.load(Ordering::Relaxed)
    }

    /// `durable`: not before the disk has it. What need not be so is committed without waiting, unless something else of its group must.
    pub(super) async fn write<I, T, E, F>(&self, input: I, body: F, durable: bool) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        let (answer, answered) = oneshot::channel();
        let job = Box::new(Transaction { input, body, durable, answer, result: None });
        let gone = || E::from(DbError::Unavailable("the thread that writes has ended".to_owned()));
        let Some(jobs) = &self.jobs else { return Err(gone()) };
        jobs.send(job).map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.jobs.take());
        // The last handle may have been inside a job: the thread can't wait for itself.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the SQLite writer panicked");
        }
    }
}

struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

struct Thread {
    connection: Connection,
    checkpoints: Checkpoints,
    dialect: Arc<Dialect>,
    changes: Changes,
    /// Commits wait for the disk, as the connection was opened.
    synced: bool,
}

impl Thread {
    fn run(mut self, queue: &mpsc::Receiver<Box<dyn Job>>) {
        let mut group = Vec::with_capacity(GROUP);
        let mut crowded = false;
        while let Ok(first) = queue.recv() {
            group.push(first);
            take_waiting(queue, &mut group, crowded);
            crowded = group.len() > 1;
            let outcome = self.commit(&mut group);
            // What is small may have room where all together have not: a delete must not fail for a push beside it.
            let apart = group.len() > 1 && matches!(outcome, Err(DbError::Full(_)));
            for mut job in group.drain(..) {
                let own = if apart { self.commit(std::slice::from_mut(&mut job)) } else { outcome.clone() };
                // The answer may be dropped here, and a destructor is a stranger's code.
                let _ = catch_unwind(AssertUnwindSafe(|| job.answer(&own)));
            }
            self.checkpoints.after_commit(&self.connection);
        }
        self.checkpoints.finish(self.connection);
    }

    /// On `Err` nothing of the group has happened.
    fn commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), DbError> {
        let outcome = self.synced_if(group.iter().any(|job| job.is_durable())).and_then(|()| self.try_commit(group));
        if outcome.is_err() && !self.connection.is_autocommit() {
            // When even this fails the next BEGIN does too, and says so to its jobs.
            let _ = self.statement("ROLLBACK");
        }
        outcome.map_err(|error| match error {
            error @ (DbError::Unavailable(_) | DbError::Full(_)) => error,
            error => DbError::Unavailable(format!("the commit failed: {error}")),
        })
    }

    fn try_commit(&mut self, group: &mut [Box<dyn Job>]) -> Result<(), DbError> {
        self.statement("BEGIN IMMEDIATE")?;
        match group {
            // Without a savepoint: what it takes back is the whole transaction, and SQLite need not note what it was before.
            [alone] if alone.is_wanted() => self.run_job(&mut **alone, &["ROLLBACK", "BEGIN IMMEDIATE"])?,
            group => {
                for job in group.iter_mut().filter(|job| job.is_wanted()) {
                    self.statement("SAVEPOINT job")?;
                    self.run_job(&mut **job, &["ROLLBACK TO job"])?;
                    self.statement("RELEASE job")?;
                }
            }
        }
        self.changes.during(|| self.statement("COMMIT"))
    }

    /// Runs a job, again where it asks for that. `undo` takes back what it did, and nothing else.
    fn run_job(&mut self, job: &mut dyn Job, undo: &[&str]) -> Result<(), DbError> {
        for tries_left in (0..TRIES).rev() {
            let verdict = job.run(&mut self.connection, &self.dialect, tries_left);
            if self.connection.is_autocommit() {
                // SQLite itself rolls the whole transaction back on a full disk and other trouble with the file; the statement that met
                // it has told its own job, and a full disk is the trouble that the others may get around.
                return Err(DbError::Full("SQLite rolled the transaction back".to_owned()));
            }
            if verdict != Verdict::Keep {
                undo.iter().try_for_each(|statement| self.statement(statement))?;
            }
            if verdict != Verdict::Again {
                break;
            }
        }
        Ok(())
    }

    /// Whether the next commit waits for the disk.
    fn synced_if(&mut self, synced: bool) -> Result<(), DbError> {
        if self.synced != synced {
            self.connection.pragma_update(None, "synchronous", if synced { "FULL" } else { "NORMAL" })?;
            self.synced = synced;
        }
        Ok(())
    }

    fn statement(&self, sql: &str) -> Result<(), DbError> {
        super::execute(&self.connection, sql, &[]).map(drop)
    }
}

/// Takes what waits into a group. In a crowd others are just being answered and about to ask again: where they have this thread's processor,
/// they get it first, for as long as that brings more, since a commit costs about as much for one as for all.
fn take_waiting(queue: &mpsc::Receiver<Box<dyn Job>>, group: &mut Vec<Box<dyn Job>>, crowded: bool) {
    group.extend(queue.try_iter().take(GROUP - group.len()));
    let mut before = 0;
    while crowded && group.len() > before && group.len() < GROUP {
        before = group.len();
        thread::yield_now();
        group.extend(queue.try_iter().take(GROUP - before));
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Verdict {
    Keep,
    Undo,
    Again,
}

trait Job: Send {
    /// Someone still waits for the answer.
    fn is_wanted(&self) -> bool;
    /// The disk must have it before the answer.
    fn is_durable(&self) -> bool;
    fn run(&mut self, connection: &mut Connection, dialect: &Dialect, tries_left: u32) -> Verdict;
    fn answer(self: Box<Self>, group: &Result<(), DbError>);
}

struct Transaction<I, T, E, F> {
    input: I,
    body: F,
    durable: bool,
    answer: oneshot::Sender<Result<T, E>>,
    result: Option<Result<T, E>>,
}

impl<I, T, E, F> Job for Transaction<I, T, E, F>
where
    I: Send + Sync + 'static,
    T: Send + 'static,
    E: From<DbError> + Send + 'static,
    F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
{
    fn is_wanted(&self) -> bool {
        !self.answer.is_closed()
    }

    fn is_durable(&self) -> bool {
        self.durable
    }

    fn run(&mut self, connection: &mut Connection, dialect: &Dialect, tries_left: u32) -> Verdict {
        let mut tx = Tx::new(engine::Connection::Sqlite(connection), dialect);
        let poll = AssertUnwindSafe(|| {
            (self.body)(&mut tx, &self.input).as_mut().poll(&mut Context::from_waker(Waker::noop()))
        });
        let result = match catch_unwind(poll) {
            Ok(Poll::Ready(result)) => tx.state.judge(result),
            Ok(Poll::Pending) => {
                let words = "a transaction waited for something other than its statements: no network call, timer or lock inside a transaction";
                Some(Err(DbError::Internal(words.to_owned()).into()))
            }
            Err(_) => Some(Err(DbError::Internal("a transaction panicked".to_owned()).into())),
        };
        let verdict = match &result {
            Some(Ok(_)) => Verdict::Keep,
            None if tries_left > 0 => Verdict::Again,
            Some(Err(_)) | None => Verdict::Undo,
        };
        self.result = Some(result.unwrap_or_else(|| Err(engine::too_many_tries().into())));
        verdict
    }

    fn answer(self: Box<Self>, group: &Result<(), DbError>) {
        let Self { answer, result, .. } = *self;
        let result = match (result, group) {
            // What the body itself refused stays its own reason.
            (Some(Err(error)), _) => Err(error),
            (_, Err(error)) => Err(error.clone().into()),
            (Some(result), Ok(())) => result,
            // Nobody waits for it.
            (None, Ok(())) => return,
        };
        let _ = answer.send(result);
    }
}
