//! Connections that many reads use at once. Each statement is its own transaction, so they do not see each other; a read whose future is
//! dropped leaves its answer to be thrown away.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use futures::TryStreamExt as _;
use tokio::{task::JoinHandle, time::timeout};
use tokio_postgres::{Client, Row, Statement};

use super::{Connector, READ_TRIES, is_stale_statement, no_answer};
use crate::{
    error::{DbError, is_connection_error},
    value::Value,
};

pub(super) struct Shared {
    connector: Connector,
    slots: Box<[Slot]>,
    next: AtomicUsize,
}

#[derive(Default)]
struct Slot {
    client: RwLock<Option<Arc<SharedClient>>>,
    /// One task connects; the others wait for it.
    connecting: tokio::sync::Mutex<()>,
}

struct SharedClient {
    client: Client,
    task: JoinHandle<()>,
    /// By address and length of the static text.
    statements: RwLock<HashMap<(usize, usize), Statement>>,
}

impl Drop for SharedClient {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    pub(super) fn new(connector: Connector, connections: usize) -> Self {
        Self { connector, slots: (0..connections).map(|_| Slot::default()).collect(), next: AtomicUsize::new(0) }
    }

    /// `sql` is the text as written, `translated` for the server.
    pub(super) async fn read(
        &self,
        sql: &'static str,
        translated: &str,
        params: &[Value<'_>],
    ) -> Result<Vec<Row>, DbError> {
        let slot = &self.slots[self.next.fetch_add(1, Ordering::Relaxed) % self.slots.len()];
        let mut tries_left = READ_TRIES;
        loop {
            tries_left -= 1;
            let client = slot.client(&self.connector).await?;
            // One that takes longer has lost its server.
            let Ok(result) = timeout(self.connector.patience().short(), client.rows(sql, translated, params)).await
            else {
                // A new connection tells whether the server or only the way to it was lost; the others were made at the same time.
                self.forget_all();
                if tries_left == 0 {
                    return Err(no_answer());
                }
                continue;
            };
            let error = match result {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            let broken = is_connection_error(&error) || client.client.is_closed();
            let stale = is_stale_statement(&error);
            if broken {
                slot.forget(&client);
            } else if stale {
                client.statements.write().unwrap_or_else(PoisonError::into_inner).clear();
            }
            // It only reads, so it can be sent again.
            if tries_left == 0 || !(broken || stale) {
                return Err(match error.into() {
                    // A conflict with the replay on a standby; one statement has nothing to run again with.
                    DbError::Again => DbError::Unavailable("PostgreSQL gave a read up".to_owned()),
                    error => error,
                });
            }
        }
    }

    fn forget_all(&self) {
        for slot in &self.slots {
            *slot.client.write().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }
}

impl Slot {
    fn current(&self) -> Option<Arc<SharedClient>> {
        let client = self.client.read().unwrap_or_else(PoisonError::into_inner);
        client.as_ref().filter(|client| !client.client.is_closed()).map(Arc::clone)
    }

    async fn client(&self, connector: &Connector) -> Result<Arc<SharedClient>, DbError> {
        if let Some(client) = self.current() {
            return Ok(client);
        }
        let wait = connector.patience().connect();
        let _connecting = timeout(wait, self.connecting.lock()).await.map_err(|_| no_answer())?;
        if let Some(client) = self.current() {
            return Ok(client);
        }
        let (client, task) = timeout(wait, connector.connect()).await.map_err(|_| no_answer())??;
        let client = SharedClient { client, task, statements: RwLock::default() };
        // What writes here is a mistake, and is to show as it does on SQLite.
        client.client.batch_execute("SET default_transaction_read_only = on").await?;
        let client = Arc::new(client);
        *self.client.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::clone(&client));
        Ok(client)
    }

    /// The next read connects anew; reads that are under way on the old connection end as they may.
    fn forget(&self, client: &Arc<SharedClient>) {
        let mut current = self.client.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_some_and(|current| Arc::ptr_eq(current, client)) {
            *current = None;
        }
    }
}

impl SharedClient {
    async fn rows(
        &self,
        sql: &'static str,
        translated: &str,
        params: &[Value<'_>],
    ) -> Result<Vec<Row>, tokio_postgres::Error> {
        let statement = self.statement(sql, translated).await?;
        self.client.query_raw(&statement, params.iter().copied()).await?.try_collect().await
    }

    async fn statement(&self, sql: &'static str, translated: &str) -> Result<Statement, tokio_postgres::Error> {
        let key = (sql.as_ptr() as usize, sql.len());
        let known = self.statements.read().unwrap_or_else(PoisonError::into_inner).get(&key).cloned();
        if let Some(statement) = known {
            return Ok(statement);
        }
        let statement = self.client.prepare(translated).await?;
        self.statements.write().unwrap_or_else(PoisonError::into_inner).insert(key, statement.clone());
        Ok(statement)
    }
}
