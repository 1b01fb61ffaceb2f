//! [`Db`], the database, and [`Tx`], a transaction in it: one SQL text and one behaviour on both engines.
//!
//! SQL text: `$n` placeholders; BIGINT, TEXT, BOOLEAN; the dialect tokens `{now}`, `{id}`, `{bytes}`, `{name}`, `{for_share}`,
//! `{for_update}`, `{for_no_key_update}`, `{for_key_share}`, `{skip_locked}`. Cast sums to BIGINT: on PostgreSQL they are NUMERIC, which can't be read.
//!
//! The rule of transactions: after a statement has failed the transaction is lost on both engines, whatever the body does
//! with the error; [`Tx::try_execute`] is for the statement that may fail on a key and be gone on from. No network call, timer or lock is
//! waited for inside a transaction: on SQLite, where one thread writes, such a wait is refused.

use std::{any::Any, path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{
    dialect::Dialect,
    error::DbError,
    migrate::Schema,
    postgres::{Connector, Patience, PooledClient, Postgres},
    row::Row,
    sqlite::Sqlite,
    value::{OwnedValue, Value},
};

/// How often a transaction is run, all in all, when others get in its way.
pub(crate) const TRIES: u32 = 8;

/// Which engine the database runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    /// A file, one process.
    Sqlite,
    /// A server, any number of nodes.
    Postgres,
}

/// Where the database is.
#[derive(Clone)]
pub enum DatabaseUrl {
    /// The path of the file; made when it is not there (its directory is not).
    Sqlite(PathBuf),
    /// `postgres://user:password@host:port/name?sslmode=...`. `sslmode` is `disable`, `prefer` (default: encrypted when the server can, the
    /// certificate is not looked at), `require`, `verify-ca` or `verify-full` (these three check certificate and name).
    Postgres(String),
}

/// What it takes to open a database.
#[derive(Clone)]
pub struct Options {
    /// Where it is.
    pub url: DatabaseUrl,
    /// PostgreSQL: how many connections this process may hold (at least 3 are used). About a third of them, at most 8, are shared by reads.
    pub pool: usize,
    /// PostgreSQL: take a server that does not flush to disk. It may lose what was acknowledged.
    pub allow_fsync_off: bool,
    /// Added to the database's clock, for tests of anything that takes time.
    pub clock_offset_micros: i64,
    /// PostgreSQL: more authorities (PEM) beside the public ones; may be empty.
    pub ca_certificates: Vec<u8>,
    /// PostgreSQL: a statement is given up after this time, and a connection on which none of its answers came is closed. Waiting for a
    /// lock ends after half of it, a point read and waiting for a connection (10 s at most) after a third. Default: [`Options::ANSWER`].
    pub answer_within: Duration,
}

impl Options {
    /// How long a statement may take unless something else is said: 30 s.
    pub const ANSWER: Duration = Duration::from_secs(30);
}

/// The database. Clones share connections; dropping the last one finishes the writes that were begun.
#[derive(Clone)]
pub struct Db(Arc<Inner>);

enum Inner {
    Sqlite(Sqlite),
    Postgres(Box<Postgres>),
}

impl Db {
    /// Connects, and brings the schema up to what this program knows. Safe when several nodes start at once.
    ///
    /// # Errors
    /// `Refused` with words for the operator (database of a newer program, `fsync` off, read-only, address not understood),
    /// `Unavailable` when it does not answer.
    pub async fn open(options: Options) -> Result<Self, DbError> {
        Self::connect(options, Schema::bring_up()).await
    }

    /// Connects, and leaves the schema as it is: for a check before the program is used. Tables may be missing.
    ///
    /// # Errors
    /// As [`Self::open`].
    pub async fn look(options: Options) -> Result<Self, DbError> {
        Self::connect(options, Schema::look()).await
    }

    async fn connect(options: Options, schema: Schema) -> Result<Self, DbError> {
        let Options { url, pool, allow_fsync_off, clock_offset_micros, ca_certificates, answer_within } = options;
        let inner = match url {
            DatabaseUrl::Sqlite(path) => {
                let open = move || Sqlite::open(path, clock_offset_micros, schema);
                let opened = tokio::task::spawn_blocking(open).await;
                Inner::Sqlite(opened.map_err(|_| DbError::Internal("opening the database panicked".to_owned()))??)
            }
            DatabaseUrl::Postgres(url) => {
                let dialect = Dialect::new(Engine::Postgres, clock_offset_micros);
                let connector = Connector::new(&url, &ca_certificates, Patience::new(answer_within))?;
                let opened = Postgres::open(connector, pool, allow_fsync_off, dialect, schema).await?;
                Inner::Postgres(Box::new(opened))
            }
        };
        Ok(Self(Arc::new(inner)))
    }

    /// One statement that only reads, for the hot path: on SQLite on this thread (microseconds, not for long lists), on PostgreSQL over a
    /// connection that others use at the same time, one round trip.
    ///
    /// # Errors
    /// `Unavailable` (also for a statement that writes); what `map` returns; `Internal` for a wrong statement.
    pub async fn query<'p, T, P: AsRef<[Value<'p>]>>(
        &self,
        sql: &'static str,
        params: P,
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        match &*self.0 {
            Inner::Sqlite(sqlite) => sqlite.query(sql, params.as_ref(), map),
            Inner::Postgres(postgres) => map_rows(&postgres.read(sql, params.as_ref()).await?, map),
        }
    }

    /// [`Self::query`] of at most one row.
    ///
    /// # Errors
    /// As [`Self::query`]; `Internal` when there are more rows than one.
    pub async fn query_opt<'p, T, P: AsRef<[Value<'p>]>>(
        &self,
        sql: &'static str,
        params: P,
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        at_most_one(self.query(sql, params, map).await?)
    }

    /// [`Self::query`] for lists and anything else that may take more than a fraction of a millisecond: off the async threads on
    /// SQLite (a few at a time), over a connection of its own on PostgreSQL.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn list<'p, T: Send + 'static, P: AsRef<[Value<'p>]>>(
        &self,
        sql: &'static str,
        params: P,
        map: impl Fn(&Row<'_>) -> Result<T, DbError> + Send + 'static,
    ) -> Result<Vec<T>, DbError> {
        match &*self.0 {
            Inner::Sqlite(_) => {
                let params: Vec<OwnedValue> = params.as_ref().iter().map(OwnedValue::from).collect();
                let db = self.clone();
                let work = move || {
                    let Inner::Sqlite(sqlite) = &*db.0 else { unreachable!("the engine does not change") };
                    let params: Vec<Value<'_>> = params.iter().map(Value::from).collect();
                    sqlite.list(sql, &params, map)
                };
                match tokio::task::spawn_blocking(work).await {
                    Ok(result) => result,
                    Err(_) => Err(DbError::Internal("reading a list panicked".to_owned())),
                }
            }
            Inner::Postgres(postgres) => map_rows(&postgres.list(sql, params.as_ref()).await?, map),
        }
    }

    /// A transaction. When this returns `Ok` all of it is durable; on any error, or when the returned future is dropped before it is
    /// done, either all of it has happened or nothing. `body` may run more than once: on deadlock, serialization failure,
    /// [`DbError::Again`] ([`Tx::again`]) or a connection that broke before the commit.
    ///
    /// On SQLite the body runs on the one writer thread, where each of its futures is ready at once, and is committed together with
    /// what else is waiting.
    ///
    /// # Errors
    /// What the body returns; `Unavailable` (also when the commit's outcome is unknown); `Internal` when the body panicked, waited for something
    /// other than its statements, or returned `Ok` although a statement had failed.
    pub async fn write<I, T, E, F>(&self, input: I, body: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        match &*self.0 {
            Inner::Sqlite(sqlite) => sqlite.write(input, body, true).await,
            Inner::Postgres(postgres) => postgres.write(&input, &body).await,
        }
    }

    /// As [`Self::write`], but not durable before the next [`Self::write`] is: a power cut may take it back, though the end of the process
    /// never does. For what nobody is told of. On PostgreSQL the same as that.
    ///
    /// # Errors
    /// As [`Self::write`].
    pub async fn write_unsynced<I, T, E, F>(&self, input: I, body: F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        match &*self.0 {
            Inner::Sqlite(sqlite) => sqlite.write(input, body, false).await,
            Inner::Postgres(postgres) => postgres.write(&input, &body).await,
        }
    }

    /// Whether the tables were made: false in a database that was only looked at ([`Self::look`]) and never used.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn has_tables(&self) -> Result<bool, DbError> {
        let sql = match self.engine() {
            Engine::Sqlite => "SELECT EXISTS (SELECT 1 FROM sqlite_master WHERE name = 'schema_state')",
            Engine::Postgres => "SELECT to_regclass('schema_state') IS NOT NULL",
        };
        Ok(self.query_opt(sql, [], |row| row.get(0)).await?.unwrap_or(false))
    }

    /// The database answers and can be written to, as far as that can be told without writing.
    ///
    /// # Errors
    /// `Unavailable`.
    pub async fn ping(&self) -> Result<(), DbError> {
        match &*self.0 {
            Inner::Sqlite(sqlite) => sqlite.ping(),
            Inner::Postgres(postgres) => postgres.ping().await,
        }
    }

    /// The database's clock with the injected offset, in microseconds since 1970: what `{now}` gives.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn now(&self) -> Result<i64, DbError> {
        match self.query_opt("SELECT {now}", [], |row| row.get(0)).await? {
            Some(now) => Ok(now),
            None => Err(DbError::Internal("the clock gave no row".to_owned())),
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match *self.0 {
            Inner::Sqlite(_) => Engine::Sqlite,
            Inner::Postgres(_) => Engine::Postgres,
        }
    }

    /// Other nodes may use the same database at the same time.
    #[must_use]
    pub fn is_shared(&self) -> bool {
        self.engine() == Engine::Postgres
    }
}

/// A transaction, as the body of [`Db::write`] sees it.
pub struct Tx<'c> {
    connection: Connection<'c>,
    dialect: &'c Dialect,
    pub(crate) state: TxState,
}

pub(crate) enum Connection<'c> {
    Sqlite(&'c mut rusqlite::Connection),
    Postgres(&'c PooledClient),
}

/// What became of a transaction's statements, whatever the body made of their errors.
#[derive(Clone, Copy, Default)]
pub(crate) struct TxState {
    /// A statement failed, or was begun and never waited for to its end.
    pub(crate) failed: bool,
    /// The transaction is to be run again.
    pub(crate) again: bool,
    /// The connection broke.
    pub(crate) broken: bool,
    /// It broke by saying nothing for too long.
    pub(crate) silent: bool,
}

impl<'c> Tx<'c> {
    pub(crate) fn new(connection: Connection<'c>, dialect: &'c Dialect) -> Self {
        Self { connection, dialect, state: TxState::default() }
    }

    /// A statement that gives rows.
    ///
    /// # Errors
    /// Any but `Refused`; the transaction is lost with it.
    pub async fn query<'p, T, P: AsRef<[Value<'p>]>>(
        &mut self,
        sql: &'static str,
        params: P,
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<T>, DbError> {
        let text = self.begin_statement(sql)?;
        let result = match &mut self.connection {
            Connection::Sqlite(connection) => crate::sqlite::query(connection, &text, params.as_ref(), map),
            Connection::Postgres(client) => match client.rows(&text, params.as_ref()).await {
                Ok(rows) => map_rows(&rows, map),
                Err(error) => Err(self.state.postgres_error(error)),
            },
        };
        self.end_statement(result)
    }

    /// [`Self::query`] of at most one row.
    ///
    /// # Errors
    /// As [`Self::query`]; `Internal` when there are more rows than one.
    pub async fn query_opt<'p, T, P: AsRef<[Value<'p>]>>(
        &mut self,
        sql: &'static str,
        params: P,
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Option<T>, DbError> {
        let rows = self.query(sql, params, map).await?;
        self.end_statement(at_most_one(rows))
    }

    /// [`Self::query`] of exactly one row.
    ///
    /// # Errors
    /// As [`Self::query`]; `Internal` when there are none or more rows than one.
    pub async fn query_one<'p, T, P: AsRef<[Value<'p>]>>(
        &mut self,
        sql: &'static str,
        params: P,
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<T, DbError> {
        let row = self.query_opt(sql, params, map).await?;
        row.ok_or_else(|| DbError::Internal("one row was expected, there is none".to_owned()))
    }

    /// A statement whose rows do not matter; gives how many rows it changed.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn execute<'p, P: AsRef<[Value<'p>]>>(&mut self, sql: &'static str, params: P) -> Result<u64, DbError> {
        let text = self.begin_statement(sql)?;
        let result = match &mut self.connection {
            Connection::Sqlite(connection) => crate::sqlite::execute(connection, &text, params.as_ref()),
            Connection::Postgres(client) => {
                let result = client.execute(&text, params.as_ref()).await;
                result.map_err(|error| self.state.postgres_error(error))
            }
        };
        self.end_statement(result)
    }

    /// One [`Self::query`] for each of several parameter lists, in their order; on PostgreSQL they are sent without waiting for one another.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn query_each<'p, T, P: AsRef<[Value<'p>]>>(
        &mut self,
        sql: &'static str,
        lists: &[P],
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<Vec<Vec<T>>, DbError> {
        let text = self.begin_statement(sql)?;
        let result = match &mut self.connection {
            Connection::Sqlite(connection) => {
                lists.iter().map(|list| crate::sqlite::query(connection, &text, list.as_ref(), &map)).collect()
            }
            Connection::Postgres(client) => match client.rows_each(&text, lists).await {
                Ok(answers) => answers.iter().map(|rows| map_rows(rows, &map)).collect(),
                Err(error) => Err(self.state.postgres_error(error)),
            },
        };
        self.end_statement(result)
    }

    /// One [`Self::execute`] for each of several parameter lists; how many rows they changed together.
    ///
    /// # Errors
    /// As [`Self::query`].
    pub async fn execute_each<'p, P: AsRef<[Value<'p>]>>(
        &mut self,
        sql: &'static str,
        lists: &[P],
    ) -> Result<u64, DbError> {
        let text = self.begin_statement(sql)?;
        let result = match &mut self.connection {
            Connection::Sqlite(connection) => {
                lists.iter().map(|list| crate::sqlite::execute(connection, &text, list.as_ref())).sum()
            }
            Connection::Postgres(client) => {
                let result = client.execute_each(&text, lists).await;
                result.map_err(|error| self.state.postgres_error(error))
            }
        };
        self.end_statement(result)
    }

    /// [`Self::execute`] after whose `ForeignKey` or `Unique` the transaction goes on as if the statement had not been.
    ///
    /// # Errors
    /// As [`Self::query`]; the transaction is not lost by `ForeignKey` and `Unique`.
    pub async fn try_execute<'p, P: AsRef<[Value<'p>]>>(
        &mut self,
        sql: &'static str,
        params: P,
    ) -> Result<u64, DbError> {
        let text = self.begin_statement(sql)?;
        let result = match &mut self.connection {
            // SQLite undoes the failed statement alone.
            Connection::Sqlite(connection) => crate::sqlite::execute(connection, &text, params.as_ref()),
            Connection::Postgres(client) => {
                let result = client.execute_in_savepoint(&text, params.as_ref()).await;
                result.map_err(|error| self.state.postgres_error(error))
            }
        };
        match result {
            Err(error @ (DbError::ForeignKey | DbError::Unique(_))) => {
                self.state.failed = false;
                Err(error)
            }
            result => self.end_statement(result),
        }
    }

    /// Has the whole transaction run again, whatever error the body returns next: `return Err(tx.again().into())`.
    pub fn again(&mut self) -> DbError {
        self.state.again = true;
        DbError::Again
    }

    /// For a statement that refers to a row which was there a moment ago: when that is gone, the whole transaction looks again.
    pub(crate) fn again_if_gone<T>(&mut self, result: Result<T, DbError>) -> Result<T, DbError> {
        match result {
            Err(DbError::ForeignKey) => Err(self.again()),
            other => other,
        }
    }

    /// The engine.
    #[must_use]
    pub fn engine(&self) -> Engine {
        match self.connection {
            Connection::Sqlite(_) => Engine::Sqlite,
            Connection::Postgres(_) => Engine::Postgres,
        }
    }

    /// Counts as failed until [`Self::end_statement`], so that a statement whose future was dropped half-way is noticed.
    fn begin_statement(&mut self, sql: &'static str) -> Result<crate::dialect::Sql, DbError> {
        if self.state.failed {
            let words = "a statement was given after another one of the same transaction had failed";
            return Err(if self.state.again { DbError::Again } else { DbError::Internal(words.to_owned()) });
        }
        self.state.failed = true;
        self.dialect.statement(sql)
    }

    fn end_statement<T>(&mut self, result: Result<T, DbError>) -> Result<T, DbError> {
        self.state.failed = result.is_err();
        self.state.again |= matches!(result, Err(DbError::Again));
        result
    }
}

impl TxState {
    /// What the writer has to do with the body's result: the result, or `None` for once more.
    pub(crate) fn judge<T, E: From<DbError> + 'static>(self, result: Result<T, E>) -> Option<Result<T, E>> {
        if self.again {
            return None;
        }
        match result {
            Ok(_) if self.failed => Some(Err(DbError::Internal(
                "a transaction was to be committed after a statement of it had failed".to_owned(),
            )
            .into())),
            Err(error) if matches!((&error as &dyn Any).downcast_ref(), Some(DbError::Again)) => None,
            result => Some(result),
        }
    }
}

/// What a transaction ends with that was run again too often.
pub(crate) fn too_many_tries() -> DbError {
    DbError::Unavailable(format!("a transaction was in conflict with others {TRIES} times"))
}

fn map_rows<T>(rows: &[tokio_postgres::Row], map: impl Fn(&Row<'_>) -> Result<T, DbError>) -> Result<Vec<T>, DbError> {
    rows.iter().map(|row| map(&Row::postgres(row))).collect()
}

fn at_most_one<T>(mut rows: Vec<T>) -> Result<Option<T>, DbError> {
    let first = rows.pop();
    if rows.is_empty() { Ok(first) } else { Err(DbError::Internal("one row was expected, there are more".to_owned())) }
}

#[cfg(test)]
mod tests;
