//! A transaction on PostgreSQL: READ COMMITTED, run again whole when others got in its way. A connection never goes back to the pool inside a
//! transaction, however the transaction ended.

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use tokio::{runtime::Handle, time::timeout};
use tokio_postgres::error::SqlState;

use super::{Connector, Failure, PooledClient, Postgres, no_answer};
use crate::{
    engine::{Connection, TRIES, Tx, too_many_tries},
    error::{DbError, is_connection_error},
};

/// A connection that does not roll back within this time is closed instead.
const ROLLBACK: Duration = Duration::from_secs(5);
/// How often a transaction begins anew on another connection because one broke before the commit.
const RECONNECTS: u32 = 3;

impl Postgres {
    pub(crate) async fn write<I, T, E, F>(&self, input: &I, body: &F) -> Result<T, E>
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<T, E>> + Send + Sync + 'static,
    {
        let mut conflicts = 0;
        let mut reconnects = 0;
        loop {
            match self.attempt(input, body).await {
                Attempt::Done(result) => return result,
                Attempt::Broken(error) => {
                    self.drop_idle();
                    reconnects += 1;
                    if reconnects == RECONNECTS {
                        return Err(error);
                    }
                }
                Attempt::Conflict => {
                    conflicts += 1;
                    if conflicts == TRIES {
                        return Err(too_many_tries().into());
                    }
                    // Random, so that two that met do not meet again: up to 4 ms, 8, 16 ... 256.
                    let most = 2_000_u64 << conflicts;
                    tokio::time::sleep(Duration::from_micros(rand::random_range(0..=most))).await;
                }
            }
        }
    }

    async fn attempt<I, T, E, F>(&self, input: &I, body: &F) -> Attempt<T, E>
    where
        E: From<DbError> + Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<T, E>>,
    {
        let client = match self.client().await {
            Ok(client) => client,
            Err(error) => return Attempt::Done(Err(error.into())),
        };
        let lease = Lease { client: Some(client), connector: self.connector.clone(), given_up: false };
        if let Err(failure) = lease.client().begin().await {
            lease.close();
            let broken = match &failure {
                Failure::Error(error) => is_connection_error(error),
                Failure::Silence | Failure::Lost => true,
            };
            let error = E::from(failure.into());
            return if broken { Attempt::Broken(error) } else { Attempt::Done(Err(error)) };
        }

        let mut tx = Tx::new(Connection::Postgres(lease.client()), &self.dialect);
        let result = AssertUnwindSafe(async { body(&mut tx, input).await }).catch_unwind().await;
        let state = tx.state;
        let result = result.unwrap_or_else(|_| Err(DbError::Internal("a transaction panicked".to_owned()).into()));
        let verdict = state.judge(result);
        if state.silent {
            // Whoever asked has waited long enough; the next one gets a new connection.
            lease.close();
            self.drop_idle();
            return Attempt::Done(verdict.unwrap_or_else(|| Err(no_answer().into())));
        }
        if state.broken {
            lease.close();
            return match verdict {
                Some(Err(error)) => Attempt::Broken(error),
                _ => Attempt::Broken(DbError::Unavailable("the connection to PostgreSQL broke".to_owned()).into()),
            };
        }
        match verdict {
            Some(Ok(value)) => match lease.commit().await {
                Ok(()) => Attempt::Done(Ok(value)),
                Err(DbError::Again) => Attempt::Conflict,
                Err(error) => Attempt::Done(Err(error.into())),
            },
            Some(Err(error)) => {
                lease.roll_back().await;
                Attempt::Done(Err(error))
            }
            None => {
                lease.roll_back().await;
                Attempt::Conflict
            }
        }
    }
}

enum Attempt<T, E> {
    Done(Result<T, E>),
    /// To be run again after a pause.
    Conflict,
    /// The connection broke before the commit was sent.
    Broken(E),
}

/// A connection inside a transaction.
struct Lease {
    /// `None` once the transaction has ended.
    client: Option<PooledClient>,
    connector: Connector,
    /// Rolling back was tried.
    given_up: bool,
}

impl Lease {
    fn client(&self) -> &PooledClient {
        self.client.as_ref().expect("it is taken only by the methods that consume the lease")
    }

    /// `Again` only when it is certain that nothing was committed.
    async fn commit(mut self) -> Result<(), DbError> {
        // From here on a dropped future closes the connection: a rollback could not be told from a commit.
        self.given_up = true;
        let Err(failure) = self.client().batch("COMMIT").await else {
            // Given back to the pool.
            drop(self.client.take());
            return Ok(());
        };
        self.close();
        let certain = matches!(&failure, Failure::Error(error) if error.code().is_some_and(|state| {
            *state == SqlState::T_R_SERIALIZATION_FAILURE || *state == SqlState::T_R_DEADLOCK_DETECTED
        }));
        Err(match failure.into() {
            DbError::Again if certain => DbError::Again,
            error @ (DbError::ForeignKey | DbError::Unique(_)) => error,
            error => DbError::Unavailable(format!("it is not known whether a transaction was committed: {error}")),
        })
    }

    /// Gives the connection back when the server has confirmed; else closes it.
    async fn roll_back(mut self) {
        self.given_up = true;
        let client = self.client();
        let token = client.cancel_token();
        if let Ok(Ok(())) = timeout(ROLLBACK, client.batch("ROLLBACK")).await {
            drop(self.client.take());
            return;
        }
        // A statement that hangs holds its locks until it is told to stop.
        let _ = timeout(ROLLBACK, self.connector.cancel(token)).await;
        self.close();
    }

    fn close(mut self) {
        if let Some(client) = self.client.take() {
            client.close();
        }
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(client) = self.client.take() else { return };
        match Handle::try_current() {
            // The future of the transaction was dropped.
            Ok(runtime) if !self.given_up => {
                let lease = Self { client: Some(client), connector: self.connector.clone(), given_up: true };
                runtime.spawn(lease.roll_back());
            }
            _ => client.close(),
        }
    }
}
