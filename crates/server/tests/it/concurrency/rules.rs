//! The registry as one that does one thing after the other: the product's rules for tags, deletion, what holds a blob, and
//! referrers (product.md 5 and 7, protocol.md E, F, H, J, K), over an alphabet of a few manifests, blobs and tags.

use std::collections::BTreeMap;

use roadstead_testkit::content::Manifest;

use super::order::Rules;

/// How many tags there are.
pub(super) const TAGS: usize = 2;
/// How many repositories there are.
pub(super) const PLACES: usize = 2;

/// A set of manifests, tags or blobs: bit n is the n-th.
pub(super) type Set = u8;

/// A manifest of the alphabet and what it names.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) manifest: Manifest,
    /// Config and layers.
    pub(super) parts: Set,
    /// Children that are blobs.
    pub(super) child_blobs: Set,
    /// Children that are manifests.
    pub(super) children: Set,
    pub(super) subject: Option<usize>,
}

/// What is done. `place`, `tag`, `manifest`, `blob` are numbers in the alphabet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Do {
    PutTag { place: usize, tag: usize, manifest: usize },
    PutDigest { place: usize, manifest: usize },
    DeleteTag { place: usize, tag: usize },
    DeleteDigest { place: usize, manifest: usize },
    GetTag { place: usize, tag: usize, head: bool },
    GetDigest { place: usize, manifest: usize, head: bool },
    ListTags { place: usize },
    PushBlob { place: usize, blob: usize, whole: bool },
    GetBlob { place: usize, blob: usize, head: bool },
    DeleteBlob { place: usize, blob: usize },
    Mount { place: usize, from: usize, blob: usize },
    Referrers { place: usize, manifest: usize },
}

/// What came of it: the status, and which manifest, tags or referrers were shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) status: u16,
    pub(super) shown: Set,
}

impl Answer {
    pub(super) fn new(status: u16) -> Self {
        Self { status, shown: 0 }
    }
}

/// The rules, as some settings make them.
#[derive(Clone, Debug)]
pub(super) struct Registry {
    pub(super) manifests: Vec<Known>,
    /// `manifests.require_blobs`.
    pub(super) requires_blobs: bool,
    /// What is deleted stays in the trash: a repository that lost everything is still known.
    pub(super) has_trash: bool,
    /// A tag that exists can't be pushed over.
    pub(super) immutable: bool,
}

/// All repositories.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct State([Repository; PLACES]);

#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
struct Repository {
    /// Something was ever pushed to it.
    known: bool,
    living: Set,
    /// The operation that pushed it the last time, of each manifest that lives.
    pushed: BTreeMap<usize, usize>,
    tags: [Option<usize>; TAGS],
    blobs: Set,
    /// Deleted manifests whose children and referrers are still to follow, each with the operation that deleted it.
    following: Vec<(usize, usize)>,
}

fn has(set: Set, number: usize) -> bool {
    set >> number & 1 == 1
}

impl Rules for Registry {
    type State = State;
    type Operation = Do;
    type Answer = Answer;

    fn carry_out(&self, state: &State, number: usize, operation: &Do, answer: Option<&Answer>) -> Vec<State> {
        let mut next = state.clone();
        let right = self.answer(&mut next, number, *operation);
        if answer.is_some_and(|answer| !right.contains(answer)) { Vec::new() } else { vec![next] }
    }

    fn go_on(&self, state: &State, overlap: &dyn Fn(usize, usize) -> bool) -> Vec<State> {
        let mut next = Vec::new();
        for (place, repository) in state.0.iter().enumerate() {
            for step in 0..repository.following.len() {
                next.extend(self.follow(repository, step, overlap).into_iter().map(|repository| {
                    let mut state = state.clone();
                    state.0[place] = repository;
                    state
                }));
            }
        }
        next
    }

    fn is_at_work(&self, state: &State, number: usize) -> bool {
        state.0.iter().any(|repository| repository.following.iter().any(|(operation, _)| *operation == number))
    }
}

impl Registry {
    /// Does it; the answers that are right.
    fn answer(&self, state: &mut State, number: usize, operation: Do) -> Vec<Answer> {
        let (Do::PutTag { place, .. }
        | Do::PutDigest { place, .. }
        | Do::DeleteTag { place, .. }
        | Do::DeleteDigest { place, .. }
        | Do::GetTag { place, .. }
        | Do::GetDigest { place, .. }
        | Do::ListTags { place }
        | Do::PushBlob { place, .. }
        | Do::GetBlob { place, .. }
        | Do::DeleteBlob { place, .. }
        | Do::Mount { place, .. }
        | Do::Referrers { place, .. }) = operation;
        let source = match operation {
            Do::Mount { from, .. } => state.0[from].blobs,
            _ => 0,
        };
        let here = &mut state.0[place];
        let status = match operation {
            Do::PutTag { tag, manifest, .. } => self.put(here, number, manifest, Some(tag)),
            Do::PutDigest { manifest, .. } => self.put(here, number, manifest, None),
            Do::DeleteTag { tag, .. } => here.tags[tag].take().map_or(404, |_| 202),
            Do::DeleteDigest { manifest, .. } if has(here.living, manifest) => {
                here.tags.iter_mut().filter(|tag| **tag == Some(manifest)).for_each(|tag| *tag = None);
                here.bury(number, manifest);
                202
            }
            Do::GetTag { tag, .. } => return vec![here.tags[tag].map_or(Answer::new(404), shown)],
            Do::GetDigest { manifest, .. } if has(here.living, manifest) => return vec![shown(manifest)],
            Do::ListTags { .. } => return self.list(here),
            Do::PushBlob { blob, .. } => {
                here.blobs |= 1 << blob;
                201
            }
            Do::GetBlob { blob, .. } if has(here.blobs, blob) => 200,
            Do::DeleteBlob { blob, .. } if has(here.blobs, blob) => {
                if self.holds(here, blob) {
                    405
                } else {
                    here.blobs &= !(1 << blob);
                    202
                }
            }
            Do::Mount { blob, .. } => {
                here.blobs |= source & 1 << blob;
                if has(source, blob) { 201 } else { 202 }
            }
            Do::Referrers { manifest, .. } => {
                let shown = (0..self.manifests.len()).filter(|it| self.manifests[*it].subject == Some(manifest));
                let shown = shown.fold(0, |set, it| set | 1 << it) & here.living;
                return vec![Answer { status: 200, shown }];
            }
            Do::DeleteDigest { .. } | Do::GetDigest { .. } | Do::GetBlob { .. } | Do::DeleteBlob { .. } => 404,
        };
        vec![Answer::new(status)]
    }

    fn put(&self, here: &mut Repository, number: usize, manifest: usize, tag: Option<usize>) -> u16 {
        if self.requires_blobs && self.manifests[manifest].parts & !here.blobs != 0 {
            return 400;
        }
        if let Some(tag) = tag {
            if self.immutable && here.tags[tag].is_some_and(|there| there != manifest) {
                return 403;
            }
            here.tags[tag] = Some(manifest);
        }
        here.living |= 1 << manifest;
        here.pushed.insert(manifest, number);
        here.known = true;
        201
    }

    fn list(&self, here: &Repository) -> Vec<Answer> {
        let shown = (0..TAGS).filter(|tag| here.tags[*tag].is_some()).fold(0, |set, tag| set | 1 << tag);
        let listed = Answer { status: 200, shown };
        match here {
            Repository { known: false, .. } => vec![Answer::new(404)],
            // Once the trash is empty, nothing is left that would tell it from one that nothing was pushed to.
            Repository { living: 0, .. } if !self.has_trash => vec![listed, Answer::new(404)],
            _ => vec![listed],
        }
    }

    /// Whether something that lives names the blob as its own or as its child.
    fn holds(&self, here: &Repository, blob: usize) -> bool {
        let living = self.manifests.iter().enumerate().filter(|(number, _)| has(here.living, *number));
        living.map(|(_, it)| it.parts | it.child_blobs).any(|blobs| has(blobs, blob))
    }

    /// One deleted manifest: the children that it alone held go along, and those that refer to it. What is pushed while the deletion
    /// is under way counts or does not, whichever of the two is seen first: it stays, or its referrers follow what it was before.
    fn follow(&self, here: &Repository, step: usize, overlap: &dyn Fn(usize, usize) -> bool) -> Vec<Repository> {
        let mut here = here.clone();
        let (operation, deleted) = here.following.remove(step);
        let pushed_meanwhile =
            |here: &Repository, it: usize| here.pushed.get(&it).is_some_and(|push| overlap(*push, operation));
        let mut all = vec![here];
        for (manifest, known) in self.manifests.iter().enumerate() {
            let is_named = has(self.manifests[deleted].children, manifest) || known.subject == Some(deleted);
            let follow = |here: Repository| {
                let subject = known.subject.filter(|subject| has(here.living, *subject));
                let is_new = |it| pushed_meanwhile(&here, it);
                let may_stay = is_new(manifest) || subject.is_some();
                let may_go = is_named && subject.is_none_or(is_new) && self.is_alone(&here, manifest);
                let mut gone = here.clone();
                gone.bury(operation, manifest);
                match (may_go, may_stay) {
                    (false, _) => vec![here],
                    (true, true) => vec![gone, here],
                    (true, false) => vec![gone],
                }
            };
            all = all.into_iter().flat_map(follow).collect();
        }
        all
    }

    /// Whether it lives, and neither a tag nor an index that lives holds it.
    fn is_alone(&self, here: &Repository, manifest: usize) -> bool {
        let indexes = self.manifests.iter().enumerate().filter(|(number, _)| has(here.living, *number));
        let in_index = indexes.map(|(_, it)| it.children).any(|children| has(children, manifest));
        has(here.living, manifest) && !in_index && !here.tags.contains(&Some(manifest))
    }
}

impl Repository {
    fn bury(&mut self, operation: usize, manifest: usize) {
        self.living &= !(1 << manifest);
        self.pushed.remove(&manifest);
        self.following.push((operation, manifest));
        self.following.sort_unstable();
    }
}

fn shown(manifest: usize) -> Answer {
    Answer { status: 200, shown: 1 << manifest }
}

#[cfg(test)]
mod tests {
    use roadstead_testkit::content;

    use super::*;
    use crate::concurrency::order::{Call, explain};

    /// An image over both blobs, its signature, an index of the image.
    fn registry() -> Registry {
        let manifest = content::image(0).manifest;
        let of =
            |parts, children, subject| Known { manifest: manifest.clone(), parts, child_blobs: 0, children, subject };
        let manifests = vec![of(3, 0, None), of(1, 0, Some(0)), of(0, 1, None)];
        Registry { manifests, requires_blobs: false, has_trash: true, immutable: false }
    }

    /// One after the other.
    fn is_right(registry: &Registry, calls: &[(Do, u16, Set)]) -> bool {
        let calls: Vec<_> = (1..)
            .zip(calls)
            .map(|(at, (operation, status, shown))| Call {
                operation: *operation,
                called: 2 * at,
                answered: Some((2 * at + 1, Answer { status: *status, shown: *shown })),
            })
            .collect();
        explain(registry, &State::default(), &calls).is_some()
    }

    const IMAGE: Do = Do::PutTag { place: 0, tag: 0, manifest: 0 };
    const SIGNATURE: Do = Do::PutDigest { place: 0, manifest: 1 };
    const INDEX: Do = Do::PutTag { place: 0, tag: 1, manifest: 2 };
    const TAG: Do = Do::GetTag { place: 0, tag: 0, head: true };
    const LIST: Do = Do::ListTags { place: 0 };
    const BLOB: Do = Do::PushBlob { place: 0, blob: 1, whole: true };

    fn delete(manifest: usize) -> Do {
        Do::DeleteDigest { place: 0, manifest }
    }

    fn get(manifest: usize) -> Do {
        Do::GetDigest { place: 0, manifest, head: false }
    }

    #[test]
    fn a_deleted_manifest_takes_its_tags_and_what_nothing_else_holds_along() {
        let is_right = |calls: &[_]| is_right(&registry(), calls);
        let pushed = [(IMAGE, 201, 0), (SIGNATURE, 201, 0), (INDEX, 201, 0)];
        let after = |more: &[_]| [&pushed, more].concat();
        assert!(is_right(&after(&[(delete(0), 202, 0), (TAG, 404, 0), (get(1), 404, 0), (LIST, 200, 2)])));
        assert!(!is_right(&after(&[(delete(0), 202, 0), (TAG, 200, 1)])), "a tag of nothing");
        assert!(!is_right(&after(&[(delete(0), 202, 0), (get(1), 200, 2)])), "a signature of nothing");
        assert!(!is_right(&after(&[(delete(0), 202, 0), (get(0), 200, 1)])), "deleted and still there");
        // The tag holds the image.
        assert!(is_right(&after(&[(delete(2), 202, 0), (get(0), 200, 1), (get(1), 200, 2)])));
        let untag = (Do::DeleteTag { place: 0, tag: 0 }, 202, 0);
        assert!(is_right(&after(&[untag, (delete(2), 202, 0), (get(0), 404, 0), (get(1), 404, 0)])));
        assert!(!is_right(&after(&[untag, (delete(2), 202, 0), (get(0), 200, 1)])), "nothing holds the child");
        assert!(!is_right(&after(&[untag, (get(0), 404, 0)])), "an untagged image is no garbage");
    }

    #[test]
    fn what_is_pushed_while_a_deletion_is_under_way_counts_or_does_not() {
        let call = |operation, called, answered, status, shown| Call {
            operation,
            called,
            answered: Some((answered, Answer { status, shown })),
        };
        let image = Do::PutDigest { place: 0, manifest: 0 };
        let is_right = |history: &[_]| explain(&registry(), &State::default(), history).is_some();
        // The index is seen after its child was pushed again, so it was deleted later.
        let child_stays = |pushed_again| {
            is_right(&[
                call(image, 1, 2, 201, 0),
                call(INDEX, 3, 4, 201, 0),
                call(image, pushed_again, pushed_again + 1, 201, 0),
                call(delete(2), 10, 20, 202, 0),
                call(get(2), 15, 16, 200, 4),
                call(get(0), 21, 22, 200, 1),
            ])
        };
        assert!(child_stays(12) && !child_stays(7));
        // The signature is seen after its image was pushed again, so it went when that was there.
        let signature_goes = |deleted| {
            is_right(&[
                call(image, 1, 2, 201, 0),
                call(SIGNATURE, 3, 4, 201, 0),
                call(delete(0), 10, deleted, 202, 0),
                call(image, 12, 13, 201, 0),
                call(get(1), 14, 15, 200, 2),
                call(get(0), 21, 22, 200, 1),
                call(get(1), 23, 24, 404, 0),
            ])
        };
        assert!(signature_goes(20) && !signature_goes(11));
    }

    #[test]
    fn a_blob_is_there_or_not_and_held_or_not() {
        let is_right = |calls: &[_]| is_right(&registry(), calls);
        let drop = Do::DeleteBlob { place: 0, blob: 1 };
        let see = Do::GetBlob { place: 0, blob: 1, head: true };
        assert!(is_right(&[(BLOB, 201, 0), (drop, 202, 0), (see, 404, 0), (drop, 404, 0)]));
        assert!(is_right(&[(BLOB, 201, 0), (IMAGE, 201, 0), (drop, 405, 0), (delete(0), 202, 0), (drop, 202, 0)]));
        assert!(!is_right(&[(BLOB, 201, 0), (IMAGE, 201, 0), (drop, 202, 0)]), "an image without its layer");
        let mount = Do::Mount { place: 1, from: 0, blob: 1 };
        let there = Do::GetBlob { place: 1, blob: 1, head: true };
        assert!(is_right(&[(mount, 202, 0), (there, 404, 0), (BLOB, 201, 0), (mount, 201, 0), (there, 200, 0)]));
        assert!(!is_right(&[(BLOB, 201, 0), (there, 200, 0)]), "visible where it was never pushed");
    }

    #[test]
    fn settings_count() {
        let strict = Registry { requires_blobs: true, ..registry() };
        assert!(is_right(&strict, &[(IMAGE, 400, 0), (LIST, 404, 0)]) && !is_right(&strict, &[(IMAGE, 201, 0)]));
        let immutable = Registry { immutable: true, ..registry() };
        let over = Do::PutTag { place: 0, tag: 0, manifest: 2 };
        assert!(is_right(&immutable, &[(IMAGE, 201, 0), (over, 403, 0), (IMAGE, 201, 0), (TAG, 200, 1)]));
        assert!(!is_right(&immutable, &[(IMAGE, 201, 0), (over, 201, 0)]));
        let hasty = Registry { has_trash: false, ..registry() };
        for list in [(LIST, 200, 0), (LIST, 404, 0)] {
            assert!(is_right(&hasty, &[(IMAGE, 201, 0), (delete(0), 202, 0), list]));
        }
        assert!(!is_right(&registry(), &[(IMAGE, 201, 0), (delete(0), 202, 0), (LIST, 404, 0)]));
    }
}
