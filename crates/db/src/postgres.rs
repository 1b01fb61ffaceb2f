//! PostgreSQL: a pool for transactions and lists, and a few connections that all point reads share (their statements are pipelined, so a read takes no
//! connection away from anyone).

mod connect;
mod shared;
mod transaction;

use std::{future::Future, time::Duration};

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use futures::{
    TryStreamExt as _,
    future::{try_join, try_join_all},
};
use tokio::time::timeout;
use tokio_postgres::error::SqlState;

pub(crate) use self::connect::Connector;
use self::shared::Shared;
use crate::{
    dialect::Dialect,
    engine::TxState,
    error::DbError,
    migrate::{self, Schema},
    value::Value,
};

/// Statements of one transaction that are sent before the first is answered.
const PIPELINED: usize = 128;
/// A read is tried so often when connections turn out to be broken.
const READ_TRIES: u32 = 3;

/// How long things are waited for. A server that hangs, or a firewall that has dropped a connection without a word, says nothing: the
/// limits that the server itself holds end only what it still works on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a statement.
    pub(crate) answer: Duration,
}

impl Patience {
    /// The longest wait for a connection: free or new.
    const CONNECT: Duration = Duration::from_secs(10);

    pub(crate) fn new(answer: Duration) -> Self {
        Self { answer: answer.max(Duration::from_millis(300)) }
    }

    /// For a point read, and at most for a connection.
    pub(crate) fn short(self) -> Duration {
        self.answer / 3
    }

    /// For what a server that lives answers at once: whoever finds a lost connection gives its place in the pool back before those who
    /// wait for it lose patience.
    pub(crate) fn sign_of_life(self) -> Duration {
        self.answer / 6
    }

    /// For a free or a new connection.
    pub(crate) fn connect(self) -> Duration {
        self.short().min(Self::CONNECT)
    }

    /// For a lock.
    pub(crate) fn lock(self) -> Duration {
        self.answer / 2
    }

    /// For the word of the server that it has given a statement up itself.
    pub(crate) fn silence(self) -> Duration {
        self.answer + self.answer / 4
    }
}

/// Why a statement failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// What the server or the connection said.
    Error(tokio_postgres::Error),
    /// Nothing came for too long.
    Silence,
    /// Not even what is answered at once: the connection is lost, and nothing was done.
    Lost,
}

impl From<tokio_postgres::Error> for Failure {
    fn from(error: tokio_postgres::Error) -> Self {
        Self::Error(error)
    }
}

impl From<Failure> for DbError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Error(error) => error.into(),
            Failure::Silence | Failure::Lost => no_answer(),
        }
    }
}

impl TxState {
    /// What became of a statement on PostgreSQL.
    pub(crate) fn postgres_error(&mut self, failure: Failure) -> DbError {
        let error = match failure {
            Failure::Error(error) => error,
            Failure::Silence | Failure::Lost => {
                (self.broken, self.silent) = (true, true);
                return no_answer();
            }
        };
        // A server that has become a standby: a new connection finds the primary.
        let read_only = error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
        self.broken |= read_only || crate::error::is_connection_error(&error);
        if is_stale_statement(&error) {
            return DbError::Again;
        }
        error.into()
    }
}

pub(crate) fn no_answer() -> DbError {
    DbError::Unavailable("PostgreSQL does not answer".to_owned())
}

/// The engine with a server.
pub(crate) struct Postgres {
    pool: Pool,
    shared: Shared,
    connector: Connector,
    patience: Patience,
    dialect: Dialect,
}

impl Postgres {
    pub(crate) async fn open(
        connector: Connector,
        connections: usize,
        allow_fsync_off: bool,
        dialect: Dialect,
        schema: Schema,
    ) -> Result<Self, DbError> {
        let patience = connector.patience();
        let (mut client, task) = connector.connect_to_any().await?;
        connect::check_server(&client, allow_fsync_off).await?;
        migrate::postgres(&mut client, &dialect, schema).await?;
        drop(client);
        // Ends by itself once the client is gone.
        drop(task);

        let connections = connections.max(3);
        let shared = (connections / 3).clamp(1, 8);
        let manager = Manager::from_connect(
            connector.config().clone(),
            connector.clone(),
            // A connection that ended is noticed without asking it; what slips through is tried again.
            ManagerConfig { recycling_method: RecyclingMethod::Fast },
        );
        let pool = Pool::builder(manager)
            .max_size(connections - shared)
            .wait_timeout(Some(patience.connect()))
            .create_timeout(Some(patience.connect()))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| DbError::Internal(format!("the connection pool: {error}")))?;
        Ok(Self { pool, shared: Shared::new(connector.clone(), shared), connector, patience, dialect })
    }

    /// One statement over a shared connection.
    pub(crate) async fn read(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, DbError> {
        let text = self.dialect.statement(sql)?;
        self.shared.read(sql, &text, params).await
    }

    /// One statement over a connection of its own.
    pub(crate) async fn list(
        &self,
        sql: &'static str,
        params: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, DbError> {
        let text = self.dialect.statement(sql)?;
        let mut tries_left = READ_TRIES;
        loop {
            tries_left -= 1;
            let client = self.client().await?;
            match client.rows_of_the_living(&text, params).await {
                Ok(rows) => return Ok(rows),
                Err(failure @ (Failure::Silence | Failure::Lost)) => {
                    client.close();
                    self.drop_idle();
                    if tries_left == 0 || matches!(failure, Failure::Silence) {
                        return Err(no_answer());
                    }
                }
                Err(Failure::Error(error)) => {
                    let broken = crate::error::is_connection_error(&error);
                    if broken {
                        client.close();
                        self.drop_idle();
                    }
                    if tries_left == 0 || !(broken || is_stale_statement(&error)) {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    async fn client(&self) -> Result<PooledClient, DbError> {
        let client = self.pool.get().await.map_err(pool_error)?;
        Ok(PooledClient { client, patience: self.patience })
    }

    /// When one connection is lost, those that nobody uses probably are too, and would each have to be found out by a request.
    fn drop_idle(&self) {
        self.pool.retain(|_, _| false);
    }

    /// # Errors
    /// `Unavailable` when the server does not answer or does not take writes.
    pub(crate) async fn ping(&self) -> Result<(), DbError> {
        const SQL: &str = "SELECT pg_is_in_recovery()";
        let rows = self.shared.read(SQL, SQL, &[]).await?;
        match rows.first().map(|row| row.try_get(0)).transpose()? {
            Some(false) => Ok(()),
            _ => Err(DbError::Unavailable("the PostgreSQL server is a standby and takes no writes".to_owned())),
        }
    }
}

/// A connection of the pool, with statements prepared once per connection.
pub(crate) struct PooledClient {
    client: deadpool_postgres::Object,
    patience: Patience,
}

impl PooledClient {
    pub(crate) async fn rows(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<tokio_postgres::Row>, Failure> {
        self.in_time(self.rows_now(sql, params)).await
    }

    pub(crate) async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, Failure> {
        self.in_time(self.execute_now(sql, params)).await
    }

    /// A statement without parameters and rows: `COMMIT` and the like.
    pub(crate) async fn batch(&self, sql: &str) -> Result<(), Failure> {
        self.in_time(self.client.batch_execute(sql)).await
    }

    /// Begins a transaction.
    pub(crate) async fn begin(&self) -> Result<(), Failure> {
        self.at_once("BEGIN").await
    }

    /// As [`Self::rows`], where nothing was said on this connection before: an empty statement goes ahead of it, so that a lost
    /// connection is found out soon, however long the rows may take.
    async fn rows_of_the_living(&self, sql: &str, params: &[Value<'_>]) -> Result<Vec<tokio_postgres::Row>, Failure> {
        // In this order: the first is sent before the second, and not waited for.
        try_join(self.at_once(""), self.rows(sql, params)).await.map(|((), rows)| rows)
    }

    /// A statement that a server that lives answers at once.
    async fn at_once(&self, sql: &str) -> Result<(), Failure> {
        match timeout(self.patience.sign_of_life(), self.client.batch_execute(sql)).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Lost),
        }
    }

    pub(crate) fn cancel_token(&self) -> tokio_postgres::CancelToken {
        self.client.cancel_token()
    }

    async fn in_time<T>(
        &self,
        statement: impl Future<Output = Result<T, tokio_postgres::Error>>,
    ) -> Result<T, Failure> {
        match timeout(self.patience.silence(), statement).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Failure::Silence),
        }
    }

    async fn rows_now(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        let statement = self.client.prepare_cached(sql).await?;
        let rows = self.client.query_raw(&statement, params.iter().copied()).await;
        let rows = match rows {
            Ok(rows) => rows.try_collect().await,
            Err(error) => Err(error),
        };
        self.forget_stale(rows)
    }

    async fn execute_now(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, tokio_postgres::Error> {
        let statement = self.client.prepare_cached(sql).await?;
        let changed = self.client.execute_raw(&statement, params.iter().copied()).await;
        self.forget_stale(changed)
    }

    /// [`Self::rows`] for each list; a bounded number is under way at a time.
    pub(crate) async fn rows_each<'p, P: AsRef<[Value<'p>]>>(
        &self,
        sql: &str,
        lists: &[P],
    ) -> Result<Vec<Vec<tokio_postgres::Row>>, Failure> {
        self.in_time(self.client.prepare_cached(sql)).await?;
        let mut answers = Vec::with_capacity(lists.len());
        for some in lists.chunks(PIPELINED) {
            let some = try_join_all(some.iter().map(|list| self.rows_now(sql, list.as_ref())));
            answers.extend(self.in_time(some).await?);
        }
        Ok(answers)
    }

    /// [`Self::execute`] for each list; a bounded number is under way at a time.
    pub(crate) async fn execute_each<'p, P: AsRef<[Value<'p>]>>(&self, sql: &str, lists: &[P]) -> Result<u64, Failure> {
        // One statement is prepared once, not once for each that is sent before the first is answered.
        self.in_time(self.client.prepare_cached(sql)).await?;
        let mut changed = 0;
        for some in lists.chunks(PIPELINED) {
            let some = try_join_all(some.iter().map(|list| self.execute_now(sql, list.as_ref())));
            changed += self.in_time(some).await?.into_iter().sum::<u64>();
        }
        Ok(changed)
    }

    /// Undoes the statement alone when it fails on a key; after other errors the transaction is lost anyway.
    pub(crate) async fn execute_in_savepoint(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, Failure> {
        self.batch("SAVEPOINT attempt").await?;
        match self.execute(sql, params).await {
            Ok(changed) => {
                self.batch("RELEASE attempt").await?;
                Ok(changed)
            }
            Err(failure) => {
                if let Failure::Error(error) = &failure
                    && error.code().is_some_and(|state| state.code().starts_with("23"))
                {
                    self.batch("ROLLBACK TO attempt; RELEASE attempt").await?;
                }
                Err(failure)
            }
        }
    }

    fn forget_stale<T>(&self, result: Result<T, tokio_postgres::Error>) -> Result<T, tokio_postgres::Error> {
        if let Err(error) = &result
            && is_stale_statement(error)
        {
            self.client.statement_cache.clear();
        }
        result
    }

    /// Closes the connection instead of giving it back.
    pub(crate) fn close(self) {
        drop(deadpool_postgres::Object::take(self.client));
    }
}

fn pool_error(error: PoolError) -> DbError {
    match error {
        PoolError::Backend(error) => error.into(),
        PoolError::Timeout(TimeoutType::Wait) => {
            DbError::Unavailable("all connections to PostgreSQL are in use".to_owned())
        }
        PoolError::Timeout(_) => no_answer(),
        error => DbError::Unavailable(format!("the connection pool: {error}")),
    }
}

/// A prepared statement does not fit the tables any more (a newer node migrated) or is not there (a pooler between): it is to be prepared anew.
pub(crate) fn is_stale_statement(error: &tokio_postgres::Error) -> bool {
    let Some(answer) = error.as_db_error() else { return false };
    *answer.code() == SqlState::INVALID_SQL_STATEMENT_NAME
        || (*answer.code() == SqlState::FEATURE_NOT_SUPPORTED && answer.message().contains("cached plan"))
}
