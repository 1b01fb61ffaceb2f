//! PostgreSQL: a pool for transactions and lists, and a few connections that all point reads share (their statements are pipelined, so a read takes no
//! connection away from anyone).

mod connect;
mod shared;
mod transaction;

use std::time::Duration;

use deadpool_postgres::{Manager, ManagerConfig, Pool, PoolError, RecyclingMethod, Runtime, TimeoutType};
use futures::{TryStreamExt as _, future::try_join_all};
use tokio_postgres::error::SqlState;

use self::{connect::Connector, shared::Shared};
use crate::{
    dialect::Dialect,
    error::DbError,
    migrate::{self, Schema},
    value::Value,
};

/// How long a request waits for a free connection, and for a new one to be made.
const WAIT: Duration = Duration::from_secs(10);
/// Statements of one transaction that are sent before the first is answered.
const PIPELINED: usize = 128;
/// A read is tried so often when connections turn out to be broken.
const READ_TRIES: u32 = 3;

/// The engine with a server.
pub(crate) struct Postgres {
    pool: Pool,
    shared: Shared,
    connector: Connector,
    dialect: Dialect,
}

impl Postgres {
    pub(crate) async fn open(
        url: &str,
        connections: usize,
        allow_fsync_off: bool,
        ca_certificates: &[u8],
        dialect: Dialect,
        schema: Schema,
    ) -> Result<Self, DbError> {
        let connector = Connector::new(url, ca_certificates)?;
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
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| DbError::Internal(format!("the connection pool: {error}")))?;
        Ok(Self { pool, shared: Shared::new(connector.clone(), shared), connector, dialect })
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
            match client.rows(&text, params).await {
                Ok(rows) => return Ok(rows),
                Err(error) => {
                    let broken = crate::error::is_connection_error(&error);
                    if broken {
                        client.close();
                    }
                    if tries_left == 0 || !(broken || is_stale_statement(&error)) {
                        return Err(error.into());
                    }
                }
            }
        }
    }

    async fn client(&self) -> Result<PooledClient, DbError> {
        self.pool.get().await.map(PooledClient).map_err(pool_error)
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
pub(crate) struct PooledClient(deadpool_postgres::Object);

impl PooledClient {
    pub(crate) async fn rows(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<Vec<tokio_postgres::Row>, tokio_postgres::Error> {
        let statement = self.0.prepare_cached(sql).await?;
        let rows = self.0.query_raw(&statement, params.iter().copied()).await;
        let rows = match rows {
            Ok(rows) => rows.try_collect().await,
            Err(error) => Err(error),
        };
        self.forget_stale(rows)
    }

    pub(crate) async fn execute(&self, sql: &str, params: &[Value<'_>]) -> Result<u64, tokio_postgres::Error> {
        let statement = self.0.prepare_cached(sql).await?;
        let changed = self.0.execute_raw(&statement, params.iter().copied()).await;
        self.forget_stale(changed)
    }

    /// [`Self::rows`] for each list; a bounded number is under way at a time.
    pub(crate) async fn rows_each<'p, P: AsRef<[Value<'p>]>>(
        &self,
        sql: &str,
        lists: &[P],
    ) -> Result<Vec<Vec<tokio_postgres::Row>>, tokio_postgres::Error> {
        self.0.prepare_cached(sql).await?;
        let mut answers = Vec::with_capacity(lists.len());
        for some in lists.chunks(PIPELINED) {
            answers.extend(try_join_all(some.iter().map(|list| self.rows(sql, list.as_ref()))).await?);
        }
        Ok(answers)
    }

    /// [`Self::execute`] for each list; a bounded number is under way at a time.
    pub(crate) async fn execute_each<'p, P: AsRef<[Value<'p>]>>(
        &self,
        sql: &str,
        lists: &[P],
    ) -> Result<u64, tokio_postgres::Error> {
        // One statement is prepared once, not once for each that is sent before the first is answered.
        self.0.prepare_cached(sql).await?;
        let mut changed = 0;
        for some in lists.chunks(PIPELINED) {
            changed +=
                try_join_all(some.iter().map(|list| self.execute(sql, list.as_ref()))).await?.into_iter().sum::<u64>();
        }
        Ok(changed)
    }

    /// Undoes the statement alone when it fails on a key; after other errors the transaction is lost anyway.
    pub(crate) async fn execute_in_savepoint(
        &self,
        sql: &str,
        params: &[Value<'_>],
    ) -> Result<u64, tokio_postgres::Error> {
        self.0.batch_execute("SAVEPOINT attempt").await?;
        match self.execute(sql, params).await {
            Ok(changed) => {
                self.0.batch_execute("RELEASE attempt").await?;
                Ok(changed)
            }
            Err(error) => {
                let key = error.code().is_some_and(|state| state.code().starts_with("23"));
                if key {
                    self.0.batch_execute("ROLLBACK TO attempt; RELEASE attempt").await?;
                }
                Err(error)
            }
        }
    }

    fn forget_stale<T>(&self, result: Result<T, tokio_postgres::Error>) -> Result<T, tokio_postgres::Error> {
        if let Err(error) = &result
            && is_stale_statement(error)
        {
            self.0.statement_cache.clear();
        }
        result
    }

    /// Closes the connection instead of giving it back.
    pub(crate) fn close(self) {
        drop(deadpool_postgres::Object::take(self.0));
    }
}

fn pool_error(error: PoolError) -> DbError {
    match error {
        PoolError::Backend(error) => error.into(),
        PoolError::Timeout(TimeoutType::Wait) => {
            DbError::Unavailable("all connections to PostgreSQL are in use".to_owned())
        }
        PoolError::Timeout(_) => DbError::Unavailable("PostgreSQL does not answer".to_owned()),
        error => DbError::Unavailable(format!("the connection pool: {error}")),
    }
}

/// A prepared statement does not fit the tables any more (a newer node migrated) or is not there (a pooler between): it is to be prepared anew.
pub(crate) fn is_stale_statement(error: &tokio_postgres::Error) -> bool {
    let Some(answer) = error.as_db_error() else { return false };
    *answer.code() == SqlState::INVALID_SQL_STATEMENT_NAME
        || (*answer.code() == SqlState::FEATURE_NOT_SUPPORTED && answer.message().contains("cached plan"))
}
