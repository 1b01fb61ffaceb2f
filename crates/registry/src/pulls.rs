//! Pulls are counted: a manifest that is got by tag or by digest is one pull of its artifact and of its repository.
//!
//! They are gathered in memory, so that a pull writes nothing, and added to the database every few seconds. A crash loses the last of them.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use foldhash::fast::RandomState;
use roadstead_db::{
    DbError,
    pulls::{self, Pulled},
};
use tokio::sync::Notify;

use crate::{Core, Gate, Image, ImageError, Result, pull::Manifest};

/// How often what was gathered is written.
pub const PULLS_EVERY: Duration = Duration::from_secs(2);

/// Pulls of different artifacts do not wait for each other.
const PARTS: usize = 16;
/// How many artifacts are kept in each part at most: further ones are not counted until those are written.
const MOST: usize = 4096;
/// How many are written in one transaction.
const BATCH: usize = 1000;
/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;
/// How many days are shown at most.
const MOST_DAYS: i64 = 366;
/// How many days are shown when nobody says how many.
const USUAL_DAYS: i64 = 30;

/// Of which days pulls are asked for: days since 1970, UTC, both ends included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Days {
    /// The first one; without it the last 30 up to `to`.
    pub from: Option<i64>,
    /// The last one; without it today.
    pub to: Option<i64>,
}

impl Days {
    /// The first and the last one.
    fn range(self, today: i64) -> std::result::Result<(i64, i64), ImageError> {
        let to = self.to.unwrap_or(today);
        let from = self.from.unwrap_or(to.saturating_sub(USUAL_DAYS - 1));
        if from > to {
            return Err(ImageError::Invalid("from", "is after `to`, which is today unless it is said".to_owned()));
        }
        if to.saturating_sub(from) >= MOST_DAYS {
            return Err(ImageError::Invalid("from", format!("is at most {MOST_DAYS} days up to `to`, that included")));
        }
        Ok((from, to))
    }
}

/// What is not written yet.
#[derive(Default)]
pub(crate) struct Pulls {
    parts: [Mutex<Gathered>; PARTS],
    /// A part is half full.
    filling: Notify,
}

/// By artifact and day.
type Gathered = HashMap<(i64, i64), Pulled, RandomState>;

impl Pulls {
    fn part(&self, artifact: i64) -> MutexGuard<'_, Gathered> {
        let part = usize::try_from(artifact.rem_euclid(PARTS as i64)).unwrap_or(0);
        self.parts[part].lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn add(&self, pulled: &Pulled) {
        let mut part = self.part(pulled.artifact);
        let count = part.len();
        match part.get_mut(&(pulled.artifact, pulled.day)) {
            Some(known) => {
                known.pulls += pulled.pulls;
                known.last = known.last.max(pulled.last);
            }
            None if count < MOST => {
                part.insert((pulled.artifact, pulled.day), *pulled);
                if count == MOST / 2 {
                    self.filling.notify_one();
                }
            }
            None => {}
        }
    }

    fn take(&self) -> Vec<Pulled> {
        let mut all = Vec::new();
        for part in &self.parts {
            all.extend(mem::take(&mut *part.lock().unwrap_or_else(PoisonError::into_inner)).into_values());
        }
        all.sort_unstable_by_key(|one| (one.repository, one.artifact, one.day));
        all
    }
}

impl Core {
    /// Counts that a manifest was pulled, at the time of the facts it was found with.
    pub fn count_pull(&self, gate: &Gate, manifest: &Manifest) {
        let (Some(registry), Some(repository)) = (&gate.facts.registry, gate.facts.repository) else { return };
        let now = gate.facts.now;
        self.pulls().add(&Pulled {
            registry: registry.id,
            repository,
            artifact: manifest.artifact(),
            day: now.div_euclid(DAY),
            pulls: 1,
            last: now,
        });
    }

    /// How many manifests of a repository were pulled on each day (days since 1970, UTC), the first day first. Days without pulls are
    /// there with 0; those that are not yet, and those of which nothing is kept any more, are not.
    ///
    /// # Errors
    /// `Invalid` for a range that has no day, or more than 366.
    pub async fn pulls_by_day(&self, image: &Image, days: Days) -> std::result::Result<Vec<(i64, i64)>, ImageError> {
        let now = self.db().now().await?;
        let today = now.div_euclid(DAY);
        let (from, to) = days.range(today)?;
        let kept = (now - self.options().history_life).div_euclid(DAY);
        let found: BTreeMap<_, _> = pulls::by_day(self.db(), image.repository, from, to).await?.into_iter().collect();
        Ok((from.max(kept)..=to.min(today)).map(|day| (day, found.get(&day).copied().unwrap_or(0))).collect())
    }

    /// Writes what was counted every so often. Ends only by being dropped.
    pub async fn keep_writing_pulls(&self, every: Duration) {
        loop {
            tokio::select! {
                () = tokio::time::sleep(every) => {}
                () = self.pulls().filling.notified() => {}
            }
            if let Err(error) = self.write_pulls().await {
                tracing::warn!(%error, detail = ?error, "counted pulls could not be written, it is tried again");
            }
        }
    }

    /// Writes what was counted.
    ///
    /// # Errors
    /// Of the database; what was not written is kept.
    pub async fn write_pulls(&self) -> Result<()> {
        let all = self.pulls().take();
        let mut rest = &all[..];
        while !rest.is_empty() {
            let (batch, later) = rest.split_at(BATCH.min(rest.len()));
            let written: std::result::Result<(), DbError> =
                self.db().write_unsynced(batch.to_vec(), |tx, batch| Box::pin(pulls::add(tx, batch))).await;
            if let Err(error) = written {
                rest.iter().for_each(|one| self.pulls().add(one));
                return Err(error.into());
            }
            rest = later;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pulled(artifact: i64, last: i64) -> Pulled {
        Pulled { registry: 1, repository: 1, artifact, day: last / DAY, pulls: 1, last }
    }

    #[test]
    fn pulls_are_added_up_by_artifact_and_day() {
        let pulls = Pulls::default();
        for (artifact, last) in [(1, 5), (1, 9), (1, 7), (2, 1), (1, DAY)] {
            pulls.add(&pulled(artifact, last));
        }
        let taken: Vec<_> = pulls.take().iter().map(|it| (it.artifact, it.day, it.pulls, it.last)).collect();
        assert_eq!(taken, [(1, 0, 3, 9), (1, 1, 1, DAY), (2, 0, 1, 1)]);
        assert!(pulls.take().is_empty());
    }

    #[test]
    fn days_are_a_range_of_a_year_at_most() {
        let range = |from, to| Days { from, to }.range(1000).ok();
        assert_eq!(range(None, None), Some((971, 1000)));
        assert_eq!(range(None, Some(900)), Some((871, 900)));
        assert_eq!(range(Some(990), None), Some((990, 1000)));
        assert_eq!(range(Some(1000), Some(1000)), Some((1000, 1000)));
        assert_eq!(range(Some(635), None), Some((635, 1000)));
        for (from, to) in [(Some(634), None), (Some(1001), None), (Some(i64::MIN), Some(i64::MAX))] {
            assert_eq!(range(from, to), None, "{from:?} {to:?}");
        }
    }

    #[test]
    fn what_is_gathered_is_bounded() {
        let pulls = Pulls::default();
        for artifact in 0..100_000 {
            pulls.add(&pulled(artifact * 16, 0));
        }
        pulls.add(&pulled(0, 0));
        let taken = pulls.take();
        assert_eq!((taken.len(), taken[0].pulls), (MOST, 2));
    }
}
