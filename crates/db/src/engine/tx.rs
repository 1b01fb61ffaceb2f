//! A transaction's statements, on whatever connection.

use std::any::Any;

use super::{Engine, at_most_one, map_rows};
use crate::{dialect::Dialect, error::DbError, postgres::PooledClient, row::Row, value::Value};

/// A transaction, as the body of [`Db::write`](crate::Db::write) sees it.
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
