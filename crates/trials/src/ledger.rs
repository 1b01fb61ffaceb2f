//! What the server has acknowledged, and what it was asked for without an answer: the one side of every comparison.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Instant,
};

use crate::content::Content;

/// How a request ended, as far as its effect goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The server said that it is done.
    Acknowledged,
    /// No answer, or one that leaves it open (5xx): it may be done, now or in a moment.
    InDoubt,
    /// It has no effect: it never reached the server, or was refused.
    Without,
}

/// Something of the server's that requests change: whether a blob is there, what a tag names. What is known of it is the
/// outcome of the last acknowledged request, and besides it the outcomes of those that may have been done as well.
#[derive(Clone, Debug)]
pub struct Fact<S> {
    known: S,
    doubts: BTreeSet<S>,
    running: Vec<S>,
    /// Requests for different outcomes ran at once: nobody knows which was last.
    mixed: bool,
}

impl<S: Ord + Clone> Fact<S> {
    /// A fact that is known.
    pub fn known(state: S) -> Self {
        Self { known: state, doubts: BTreeSet::new(), running: Vec::new(), mixed: false }
    }

    /// A request for `outcome` is about to be sent.
    pub fn begin(&mut self, outcome: S) {
        self.mixed |= self.running.iter().any(|other| *other != outcome);
        self.running.push(outcome);
    }

    /// The request for `outcome` has ended.
    pub fn end(&mut self, outcome: S, end: End) {
        if let Some(place) = self.running.iter().position(|running| *running == outcome) {
            self.running.swap_remove(place);
        }
        match end {
            End::Acknowledged if self.mixed => {
                let before = std::mem::replace(&mut self.known, outcome.clone());
                self.doubts.extend([before, outcome]);
            }
            End::Acknowledged => self.known = outcome,
            End::InDoubt => drop(self.doubts.insert(outcome)),
            End::Without => {}
        }
        self.mixed &= !self.running.is_empty();
    }

    /// Something else that may have made it so.
    pub fn doubt(&mut self, outcome: S) {
        self.doubts.insert(outcome);
    }

    /// Whether it can be so.
    pub fn may_be(&self, state: &S) -> bool {
        self.known == *state || self.doubts.contains(state) || self.running.contains(state)
    }

    /// Whether it can only be so.
    pub fn must_be(&self, state: &S) -> bool {
        self.known == *state && self.doubts.iter().chain(&self.running).all(|other| other == state)
    }

    /// All that it can be.
    pub fn possible(&self) -> BTreeSet<S> {
        self.doubts.iter().chain(&self.running).chain([&self.known]).cloned().collect()
    }

    /// It was looked at while nothing ran. False: it can't be so.
    pub fn settle(&mut self, seen: S) -> bool {
        let possible = self.may_be(&seen);
        *self = Self::known(seen);
        possible
    }
}

/// A blob of a repository.
#[derive(Clone, Debug)]
pub struct Blob {
    /// Its bytes.
    pub content: Content,
    /// Whether it is there.
    pub there: Fact<bool>,
}

/// A manifest of a repository.
#[derive(Clone, Debug)]
pub struct Manifest {
    /// Its media type.
    pub media_type: String,
    /// Its bytes.
    pub bytes: Arc<Vec<u8>>,
    /// Blobs that it names.
    pub blobs: Vec<String>,
    /// Manifests that it names.
    pub children: Vec<String>,
    /// What it is about.
    pub subject: Option<String>,
    /// Whether it is there.
    pub there: Fact<bool>,
}

/// An upload that was begun and is not known to be over.
#[derive(Clone, Debug)]
pub struct Upload {
    /// All bytes that it is to have.
    pub content: Content,
    /// Their digest.
    pub digest: String,
    /// Bytes that the server has acknowledged (202).
    pub acknowledged: u64,
    /// Bytes that it may have, for they were sent.
    pub sent: u64,
    /// It may have been finished or cancelled.
    pub may_be_over: bool,
    /// A thread has it in hand.
    pub taken: bool,
    /// When a request for it broke off last.
    pub broken_at: Option<Instant>,
}

/// One repository.
#[derive(Debug, Default)]
pub struct Repository {
    /// `REGISTRY/NAME`.
    pub name: String,
    /// By digest.
    pub blobs: BTreeMap<String, Blob>,
    /// By digest.
    pub manifests: BTreeMap<String, Manifest>,
    /// By name: the digest, or nothing.
    pub tags: BTreeMap<String, Fact<Option<String>>>,
    /// By path.
    pub uploads: BTreeMap<String, Upload>,
    /// Bytes that were pushed to it.
    pub bytes: u64,
    /// It is being taken away: no load any more.
    pub retiring: bool,
}

impl Repository {
    /// The fact whether a blob is there.
    pub fn blob(&mut self, digest: &str, content: &Content) -> &mut Fact<bool> {
        let new = || Blob { content: content.clone(), there: Fact::known(false) };
        &mut self.blobs.entry(digest.to_owned()).or_insert_with(new).there
    }

    /// What a tag names.
    pub fn tag(&mut self, name: &str) -> &mut Fact<Option<String>> {
        self.tags.entry(name.to_owned()).or_insert_with(|| Fact::known(None))
    }

    /// Whether any manifest that may be there names this blob.
    pub fn may_be_held(&self, blob: &str) -> bool {
        let mut manifests = self.manifests.values().filter(|manifest| manifest.there.may_be(&true));
        manifests.any(|manifest| manifest.blobs.iter().any(|named| named == blob))
    }

    /// Whether a manifest that is certainly there names this blob.
    pub fn must_be_held(&self, blob: &str) -> bool {
        let mut manifests = self.manifests.values().filter(|manifest| manifest.there.must_be(&true));
        manifests.any(|manifest| manifest.blobs.iter().any(|named| named == blob))
    }

    /// The deletion of a manifest begins: its tags go with it.
    pub fn begin_delete(&mut self, digest: &str) {
        if let Some(manifest) = self.manifests.get_mut(digest) {
            manifest.there.begin(false);
        }
        for fact in self.tags.values_mut().filter(|fact| fact.may_be(&Some(digest.to_owned()))) {
            // Whether it named this one is known afterwards.
            fact.doubt(None);
        }
    }

    /// It has ended: children and referrers that nothing else holds may have gone along, and their own with them.
    pub fn end_delete(&mut self, digest: &str, end: End) {
        if let Some(manifest) = self.manifests.get_mut(digest) {
            manifest.there.end(false, end);
        }
        if end == End::Without {
            return;
        }
        let gone = Some(digest.to_owned());
        for fact in self.tags.values_mut() {
            if end == End::Acknowledged && fact.possible().iter().all(|state| state.is_none() || *state == gone) {
                // A push that was in doubt names a manifest that is gone: the tag went with it, if it was ever there.
                *fact = Fact::known(None);
            }
        }
        let mut followers = vec![digest.to_owned()];
        while let Some(next) = followers.pop() {
            let children = self.manifests.get(&next).map(|manifest| manifest.children.clone()).unwrap_or_default();
            for (digest, manifest) in &mut self.manifests {
                let follows = children.contains(digest) || manifest.subject.as_ref() == Some(&next);
                if follows && manifest.there.may_be(&true) && !manifest.there.may_be(&false) {
                    manifest.there.doubt(false);
                    followers.push(digest.clone());
                }
            }
        }
    }
}

/// A repository that several threads may use.
pub type Shared = Arc<Mutex<Repository>>;

/// Locks what a thread that panicked may have held.
pub fn lock<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

/// All repositories, the findings and the figures. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Ledger(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    repositories: Mutex<BTreeMap<String, Shared>>,
    findings: Mutex<Vec<String>>,
    tally: Mutex<BTreeMap<String, u64>>,
}

impl Ledger {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// The repository of this name, entered if it is new.
    pub fn repository(&self, name: &str) -> Shared {
        let new = || Arc::new(Mutex::new(Repository { name: name.to_owned(), ..Repository::default() }));
        Arc::clone(lock(&self.0.repositories).entry(name.to_owned()).or_insert_with(new))
    }

    /// All repositories.
    pub fn repositories(&self) -> Vec<Shared> {
        lock(&self.0.repositories).values().cloned().collect()
    }

    /// Strikes off a repository: nothing is expected of it any more.
    pub fn forget(&self, name: &str) {
        lock(&self.0.repositories).remove(name);
    }

    /// Something that must never be.
    pub fn find(&self, finding: impl Into<String>) {
        let finding = finding.into();
        eprintln!("FINDING: {finding}");
        lock(&self.0.findings).push(finding);
    }

    /// All findings.
    pub fn findings(&self) -> Vec<String> {
        lock(&self.0.findings).clone()
    }

    /// Counts something.
    pub fn count(&self, what: &str, by: u64) {
        *lock(&self.0.tally).entry(what.to_owned()).or_default() += by;
    }

    /// Sets a figure.
    pub fn set(&self, what: &str, to: u64) {
        lock(&self.0.tally).insert(what.to_owned(), to);
    }

    /// How often something was counted.
    pub fn counted(&self, what: &str) -> u64 {
        lock(&self.0.tally).get(what).copied().unwrap_or_default()
    }

    /// All figures.
    pub fn tally(&self) -> BTreeMap<String, u64> {
        lock(&self.0.tally).clone()
    }
}

/// Under this name each acknowledged change is counted.
pub const ACKNOWLEDGED: &str = "acknowledged";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_acknowledged_must_be_and_what_was_in_doubt_may_be() {
        let mut fact = Fact::known(None);
        fact.begin(Some("a"));
        fact.end(Some("a"), End::Acknowledged);
        assert!(fact.must_be(&Some("a")));
        fact.begin(Some("b"));
        fact.end(Some("b"), End::InDoubt);
        assert!(fact.may_be(&Some("a")) && fact.may_be(&Some("b")) && !fact.may_be(&None));
        assert!(fact.settle(Some("b")) && fact.must_be(&Some("b")));
        assert!(!fact.settle(None));
    }

    #[test]
    fn of_two_requests_at_once_either_may_be_last() {
        let mut fact = Fact::known(None);
        fact.begin(Some("a"));
        fact.begin(Some("b"));
        fact.end(Some("a"), End::Acknowledged);
        fact.end(Some("b"), End::Acknowledged);
        assert!(fact.may_be(&Some("a")) && fact.may_be(&Some("b")));
        fact.settle(Some("a"));
        fact.begin(Some("c"));
        fact.end(Some("c"), End::Acknowledged);
        assert!(fact.must_be(&Some("c")));
    }

    #[test]
    fn a_deleted_manifest_takes_its_tags_and_perhaps_its_referrers_along() {
        let mut repository = Repository::default();
        for (digest, subject) in [("image", None), ("signature", Some("image".to_owned()))] {
            let there = Fact::known(true);
            let manifest = Manifest {
                media_type: String::new(),
                bytes: Arc::default(),
                blobs: Vec::new(),
                children: Vec::new(),
                subject,
                there,
            };
            repository.manifests.insert(digest.to_owned(), manifest);
        }
        *repository.tag("v1") = Fact::known(Some("image".to_owned()));
        *repository.tag("v2") = Fact::known(Some("signature".to_owned()));
        repository.begin_delete("image");
        repository.end_delete("image", End::Acknowledged);
        assert!(repository.tag("v1").must_be(&None));
        assert!(repository.tag("v2").must_be(&Some("signature".to_owned())));
        assert!(repository.manifests["image"].there.must_be(&false));
        assert!(repository.manifests["signature"].there.may_be(&false));
    }
}
