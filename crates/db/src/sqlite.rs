//! SQLite: reads on the calling thread, writes by one thread in groups (see [`writer`]).
//!
//! Traps: the bundled SQLite parses cached statements again at each bind unless QPSG is on; `$n` are names that SQLite numbers by first
//! appearance, so they are bound by name.

mod checkpoint;
mod recall;
mod writer;

use std::{
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, TryLockError,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::future::BoxFuture;
use rusqlite::{CachedStatement, Connection, ErrorCode, OpenFlags, config::DbConfig, functions::FunctionFlags};

pub(crate) use self::recall::Tables;
use self::{
    recall::{Changes, Recall},
    writer::Writer,
};
use crate::{
    dialect::Dialect,
    engine::{Engine, Tx, at_most_one},
    error::DbError,
    migrate::{self, Schema},
    row::Row,
    value::Value,
};

/// How long a statement waits for another process that has locked the file (a backup; none in normal work).
const BUSY: Duration = Duration::from_secs(10);
/// Prepared statements a connection keeps. The program has fewer.
const STATEMENTS: usize = 256;
/// Connections for point reads: more than the threads that read at once, so that each finds its own free.
const READERS: usize = 32;
/// Connections for lists: so many are read at once.
const LIST_READERS: usize = 4;

/// The embedded engine.
pub(crate) struct Sqlite {
    readers: Readers,
    lists: Readers,
    writer: Writer,
    recall: Option<Recall>,
    dialect: Arc<Dialect>,
    offset_micros: i64,
}

impl Sqlite {
    /// Blocks: opens or makes the file, migrates, starts the writer.
    pub(crate) fn open(path: PathBuf, offset_micros: i64, schema: Schema, alone: bool) -> Result<Self, DbError> {
        let dialect = Arc::new(Dialect::new(Engine::Sqlite, offset_micros));
        let file = File { path, offset_micros };
        let mut connection = file.open_for_writing()?;
        migrate::sqlite(&mut connection, &dialect, schema)?;
        let changes = Changes::of(&file.path);
        changes.watch(&mut connection)?;
        let writer = Writer::start(connection, file.open_for_writing()?, Arc::clone(&dialect), changes.clone())?;
        Ok(Self {
            readers: Readers::new(file.clone(), READERS),
            lists: Readers::new(file, LIST_READERS),
            writer,
            recall: alone.then(|| Recall::new(changes)),
            dialect,
            offset_micros,
        })
    }

    pub(crate) fn query<T>(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let text = self.dialect.statement(sql)?;
        self.readers.with(|connection| query(connection, &text, params, map))
    }

    /// As [`Self::query`] of one row at most, which may be remembered.
    pub(crate) fn recall<T: Send + Sync + 'static>(
        &self,
        tables: Tables,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Option<Arc<T>>, DbError> {
        let read = || Ok(at_most_one(self.query(sql, params, map)?)?.map(Arc::new));
        let Some(recall) = &self.recall else { return read() };
        let place = match recall.find(tables, sql, params) {
            Ok(answer) => return Ok(Some(answer)),
            Err(place) => place,
        };
        let answer = read()?;
        if let (Some(place), Some(answer)) = (&place, &answer) {
            recall.remember(place, sql, params, answer);
        }
        Ok(answer)
    }

    /// What `{now}` gives.
    pub(crate) fn clock(&self) -> i64 {
        now() + self.offset_micros
    }

    /// As [`Self::query`], from threads that may block.
    pub(crate) fn list<T>(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let text = self.dialect.statement(sql)?;
        self.lists.with(|connection| query(connection, &text, params, map))
    }

    pub(crate) async fn write<I, T, E, F>(&self, input: I, body: F, durable: bool) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        self.writer.write(input, body, durable).await
    }

    pub(crate) fn ping(&self) -> Result<(), DbError> {
        if !self.writer.is_running() {
            return Err(DbError::Unavailable("the thread that writes has ended".to_owned()));
        }
        self.query("SELECT 1", &[], |row| row.get::<i64>(0)).map(drop)
    }
}

/// A statement's rows, on whatever connection.
pub(crate) fn query<T>(
    connection: &Connection,
    sql: &str,
    params: &[Value<'_>],
    map: impl Fn(&Row<'_>) -> Result<T, DbError>,
) -> Result<Vec<T>, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let mut rows = statement.raw_query();
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        found.push(map(&Row::sqlite(row))?);
    }
    drop(rows);
    if !found.is_empty() && !statement.readonly() {
        recall::note(sql);
    }
    Ok(found)
}

/// Runs a statement to its end; gives the rows it changed (0 for one that only reads).
pub(crate) fn execute(connection: &Connection, sql: &str, params: &[Value<'_>]) -> Result<u64, DbError> {
    let mut statement = connection.prepare_cached(sql)?;
    bind(&mut statement, params)?;
    let reads_only = statement.readonly();
    let mut rows = statement.raw_query();
    while rows.next()?.is_some() {}
    let changed = if reads_only { 0 } else { connection.changes() };
    if changed > 0 {
        recall::note(sql);
    }
    Ok(changed)
}

/// `$7` is the seventh parameter, wherever it appears first.
fn bind(statement: &mut CachedStatement<'_>, params: &[Value<'_>]) -> Result<(), DbError> {
    let mut highest = 0;
    for index in 1..=statement.parameter_count() {
        let name = statement.parameter_name(index);
        let number = name.and_then(|name| name.strip_prefix('$')).and_then(|number| number.parse::<usize>().ok());
        let value = number.and_then(|number| params.get(number.checked_sub(1)?));
        let (Some(number), Some(value)) = (number, value) else {
            return Err(DbError::Internal(format!(
                "parameter {index} of a statement is not given or not written as $n"
            )));
        };
        highest = highest.max(number);
        statement.raw_bind_parameter(index, value)?;
    }
    // PostgreSQL refuses what is given for nothing; the mistake is to show on both.
    if highest != params.len() {
        return Err(DbError::Internal(format!("a statement takes {highest} parameters, {} are given", params.len())));
    }
    Ok(())
}

/// The file, and how connections to it are set up.
#[derive(Clone)]
struct File {
    path: PathBuf,
    offset_micros: i64,
}

impl File {
    fn open_for_writing(&self) -> Result<Connection, DbError> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE)?;
        let mode = switch_to_log(&connection)?;
        if !mode.eq_ignore_ascii_case("wal") {
            return Err(DbError::Refused(format!(
                "SQLite can't keep a write-ahead log for {}: it has to be on a local file system",
                self.path.display()
            )));
        }
        connection.pragma_update(None, "synchronous", "FULL")?;
        // What a savepoint would bring back is noted in memory: otherwise each transaction of more than 16 pages makes a file for it.
        connection.pragma_update(None, "temp_store", "MEMORY")?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        // A checkpoint inside a commit would make that commit wait: see `checkpoint`.
        connection.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
        Ok(connection)
    }

    fn open_for_reading(&self) -> Result<Connection, DbError> {
        let connection = self.open(OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        connection.pragma_update(None, "query_only", true)?;
        Ok(connection)
    }

    fn open(&self, flags: OpenFlags) -> Result<Connection, DbError> {
        let connection = Connection::open_with_flags(path_of(&self.path)?, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
        connection.busy_timeout(BUSY)?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
        // "text" in double quotes is a name, as on PostgreSQL.
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DML, false)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DQS_DDL, false)?;
        connection.pragma_update(None, "foreign_keys", true)?;
        let offset = self.offset_micros;
        connection
            .create_scalar_function("roadstead_now", 0, FunctionFlags::SQLITE_UTF8, move |_| Ok(now() + offset))?;
        Ok(connection)
    }
}

/// Two that make the file at the same time both hold on to it for reading, and SQLite refuses one at once instead of waiting.
fn switch_to_log(connection: &Connection) -> rusqlite::Result<String> {
    let begun = Instant::now();
    loop {
        let switched = connection.pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get(0));
        match switched {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && begun.elapsed() < BUSY => {
                std::thread::sleep(Duration::from_millis(5));
            }
            switched => return switched,
        }
    }
}

/// SQLite takes an empty path for a private temporary database, and so it would be lost.
fn path_of(path: &Path) -> Result<&Path, DbError> {
    if path.as_os_str().is_empty() {
        return Err(DbError::Refused("the path of the SQLite file is empty".to_owned()));
    }
    Ok(path)
}

fn now() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_micros()).unwrap_or(i64::MAX)
}

/// Connections that read only. A thread goes to the one of its own number first: with no more threads than connections none ever waits.
struct Readers {
    file: File,
    slots: Box<[Mutex<Option<Connection>>]>,
}

thread_local! {
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed)
    };
}

impl Readers {
    fn new(file: File, count: usize) -> Self {
        Self { file, slots: (0..count).map(|_| Mutex::new(None)).collect() }
    }

    fn with<T>(&self, read: impl FnOnce(&Connection) -> Result<T, DbError>) -> Result<T, DbError> {
        let mut slot = self.free_slot();
        let connection = match slot.take() {
            Some(connection) => connection,
            None => self.file.open_for_reading()?,
        };
        let result = read(&connection);
        // After trouble with the file the next read starts from a new connection.
        if !matches!(result, Err(DbError::Unavailable(_))) {
            *slot = Some(connection);
        }
        result
    }

    fn free_slot(&self) -> MutexGuard<'_, Option<Connection>> {
        let own = THREAD.with(|thread| *thread) % self.slots.len();
        for slot in self.slots[own..].iter().chain(&self.slots[..own]) {
            match slot.try_lock() {
                Ok(guard) => return guard,
                // A closure that maps rows panicked; its connection was dropped with it.
                Err(TryLockError::Poisoned(guard)) => return guard.into_inner(),
                Err(TryLockError::WouldBlock) => {}
            }
        }
        self.slots[own].lock().unwrap_or_else(PoisonError::into_inner)
    }
}
