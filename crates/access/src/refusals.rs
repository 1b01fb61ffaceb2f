//! Access keys that were refused, for the audit log: counted in memory and written every few seconds, so that who tries many costs
//! the requests of others nothing.

use std::{
    collections::HashMap,
    net::IpAddr,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use roadstead_db::{DbError, audit};

use crate::{authenticate::Access, sessions::network_of};

/// Keys and addresses that are counted between two times of writing; what else is refused meanwhile is not told of.
const COUNTED: usize = 10_000;
/// How many are written in one transaction.
const AT_ONCE: usize = 100;

type Counts = HashMap<(String, String), i64>;

/// What was refused since it was last written, by key and address.
#[derive(Default)]
pub(crate) struct Refusals {
    known: Mutex<Counts>,
    /// Of keys that there are not, which nothing is told of: who tries them can't tell by the time that it takes.
    unknown: Mutex<Counts>,
}

impl Refusals {
    pub(crate) fn count(&self, is_known: bool, key_id: &str, from: IpAddr) {
        let counts = if is_known { &self.known } else { &self.unknown };
        let pair = (key_id.to_owned(), network_of(&from.to_string()));
        let mut counts = counts.lock().unwrap_or_else(PoisonError::into_inner);
        if counts.len() < COUNTED || counts.contains_key(&pair) {
            *counts.entry(pair).or_default() += 1;
        }
    }

    /// In one order, as other nodes write them.
    fn take(&self) -> Vec<((String, String), i64)> {
        self.unknown.lock().unwrap_or_else(PoisonError::into_inner).clear();
        let mut taken: Vec<_> = self.known.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        taken.sort();
        taken
    }

    fn give_back(&self, pairs: &[((String, String), i64)]) {
        let mut counts = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        for (pair, times) in pairs {
            if counts.len() < COUNTED || counts.contains_key(pair) {
                *counts.entry(pair.clone()).or_default() += times;
            }
        }
    }
}

impl Access {
    /// Writes down for good which keys were refused, resting for `rest` between two times. Ends only by being dropped.
    pub async fn keep_refusals(&self, rest: Duration) {
        loop {
            tokio::time::sleep(rest).await;
            if let Err(error) = self.write_refusals().await {
                tracing::warn!(%error, "refused access keys could not be written into the audit log, it is tried again");
            }
        }
    }

    /// Writes down which keys were refused since the last time.
    ///
    /// # Errors
    /// Of the database only: what was not written is kept for the next time.
    pub async fn write_refusals(&self) -> Result<(), DbError> {
        let taken = self.0.refusals.take();
        let mut chunks = taken.chunks(AT_ONCE);
        while let Some(chunk) = chunks.next() {
            let written = self.0.db.write(chunk.to_vec(), |tx, chunk| {
                Box::pin(async move {
                    for ((key_id, from), times) in chunk.iter() {
                        audit::key_refused(tx, key_id, from, *times).await?;
                    }
                    Ok::<_, DbError>(())
                })
            });
            if let Err(error) = written.await {
                for chunk in std::iter::once(chunk).chain(chunks) {
                    self.0.refusals.give_back(chunk);
                }
                return Err(error);
            }
        }
        Ok(())
    }
}
