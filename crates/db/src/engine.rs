//! [`Db`], the database, and [`Tx`], a transaction in it: one SQL text and one behaviour on both engines.
//!
//! SQL text: `$n` placeholders; BIGINT, TEXT, BOOLEAN; the dialect tokens `{now}`, `{id}`, `{bytes}`, `{name}`, `{for_share}`,
//! `{for_update}`, `{for_no_key_update}`, `{for_key_share}`, `{skip_locked}`. Cast sums to BIGINT: on PostgreSQL they are NUMERIC, which can't be read.
//!
//! The rule of transactions: after a statement has failed the transaction is lost on both engines, whatever the body does
//! with the error; [`Tx::try_execute`] is for the statement that may fail on a key and be gone on from. No network call, timer or lock is
//! waited for inside a transaction: on SQLite, where one thread writes, such a wait is refused.

mod tx;

use std::{path::PathBuf, sync::Arc, time::Duration};

use futures::future::BoxFuture;

use crate::{
    dialect::Dialect,
    error::DbError,
    migrate::Schema,
    postgres::{Connector, Patience, Postgres},
    row::Row,
    sqlite::{Sqlite, Tables},
    value::{OwnedValue, Value},
};

pub use self::tx::Tx;
pub(crate) use self::tx::{Connection, TxState};

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
    /// SQLite: no other process writes to the file, so what pulls read may be remembered until this one writes to it.
    pub alone: bool,
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
        let Options { url, pool, allow_fsync_off, clock_offset_micros, ca_certificates, answer_within, alone } =
            options;
        let inner = match url {
            DatabaseUrl::Sqlite(path) => {
                let open = move || Sqlite::open(path, clock_offset_micros, schema, alone);
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
            // Boxed, as it is far larger than what the other engine needs on the stack.
            Inner::Postgres(postgres) => map_rows(&Box::pin(postgres.read(sql, params.as_ref())).await?, map),
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

    /// [`Self::query_opt`] of an answer that changes only with one of `tables`: on SQLite it may be one that was given before. What the
    /// time makes of it is not for `map` to say, but for who asks: with the second value, the database's clock, or, where that is `None`, the
    /// time that came in the row.
    ///
    /// # Errors
    /// As [`Self::query_opt`].
    pub(crate) async fn recall<'p, T: Send + Sync + 'static, P: AsRef<[Value<'p>]>>(
        &self,
        tables: Tables,
        sql: &'static str,
        params: P,
        map: impl Fn(&Row<'_>) -> Result<T, DbError>,
    ) -> Result<(Option<Arc<T>>, Option<i64>), DbError> {
        match &*self.0 {
            Inner::Sqlite(sqlite) => Ok((sqlite.recall(tables, sql, params.as_ref(), map)?, Some(sqlite.clock()))),
            // Boxed as in `query`.
            Inner::Postgres(_) => Ok((Box::pin(self.query_opt(sql, params, map)).await?.map(Arc::new), None)),
        }
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

/// What a transaction ends with that was run again too often.
pub(crate) fn too_many_tries() -> DbError {
    DbError::Unavailable(format!("a transaction was in conflict with others {TRIES} times"))
}

fn map_rows<T>(rows: &[tokio_postgres::Row], map: impl Fn(&Row<'_>) -> Result<T, DbError>) -> Result<Vec<T>, DbError> {
    rows.iter().map(|row| map(&Row::postgres(row))).collect()
}

pub(crate) fn at_most_one<T>(mut rows: Vec<T>) -> Result<Option<T>, DbError> {
    let first = rows.pop();
    if rows.is_empty() { Ok(first) } else { Err(DbError::Internal("one row was expected, there are more".to_owned())) }
}

#[cfg(test)]
mod tests;
