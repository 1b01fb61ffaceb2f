//! The entries of one directory: as programs see them, as they are on the disk, and what has changed in between.

use std::{
    collections::BTreeMap,
    ffi::{OsStr, OsString},
};

use rand::{RngExt, rngs::StdRng};

/// One change of a directory. A disk makes it whole or not at all.
#[derive(Clone)]
pub(super) enum Change {
    /// A name leads to this number, whatever it led to before.
    Put(OsString, u64),
    Remove(OsString),
    /// The second name leads to this number, and the first nowhere.
    Rename(OsString, OsString, u64),
}

/// A directory.
#[derive(Clone, Default)]
pub(super) struct Folder {
    live: BTreeMap<OsString, u64>,
    durable: BTreeMap<OsString, u64>,
    /// What lies between the two, in the order in which it was done.
    waiting: Vec<Change>,
}

impl Folder {
    pub(super) fn find(&self, name: &OsStr) -> Option<u64> {
        self.live.get(name).copied()
    }

    pub(super) fn entries(&self) -> Vec<(OsString, u64)> {
        self.live.iter().map(|(name, number)| (name.clone(), *number)).collect()
    }

    pub(super) fn change(&mut self, change: Change) {
        apply(&mut self.live, &change);
        self.waiting.push(change);
    }

    pub(super) fn sync(&mut self) {
        for change in std::mem::take(&mut self.waiting) {
            apply(&mut self.durable, &change);
        }
    }

    /// The directory after a power cut, how many changes waited, and how many of them happened.
    pub(super) fn survive(&self, random: &mut StdRng) -> (Self, u64, u64) {
        let in_order = random.random();
        let first = random.random_range(0..=self.waiting.len());
        let mut left = self.durable.clone();
        let mut happened = 0;
        for (position, change) in self.waiting.iter().enumerate() {
            if if in_order { position < first } else { random.random() } {
                apply(&mut left, change);
                happened += 1;
            }
        }
        (Self { live: left.clone(), durable: left, waiting: Vec::new() }, self.waiting.len() as u64, happened)
    }

    /// All that a name leads to, did lead to on the disk, or may lead to after a cut.
    pub(super) fn could_lead_to(&self) -> Vec<u64> {
        let waiting = self.waiting.iter().filter_map(|change| match change {
            Change::Put(_, number) | Change::Rename(_, _, number) => Some(*number),
            Change::Remove(_) => None,
        });
        self.live.values().chain(self.durable.values()).copied().chain(waiting).collect()
    }
}

fn apply(entries: &mut BTreeMap<OsString, u64>, change: &Change) {
    match change {
        Change::Put(name, number) => {
            entries.insert(name.clone(), *number);
        }
        Change::Remove(name) => {
            entries.remove(name);
        }
        Change::Rename(from, to, number) => {
            entries.remove(from);
            entries.insert(to.clone(), *number);
        }
    }
}
