//! The ledger against the server, asked as a client asks it. Nothing else may push meanwhile.

use std::{
    collections::BTreeSet,
    sync::Mutex,
    time::{Duration, Instant},
};

use rand::RngExt;
use roadstead_testkit::{Request, Response, digest as digest_of};

use crate::{
    content::{Random, random},
    ledger::{Blob, Ledger, Manifest, Repository, Shared, lock},
    talk::{Talk, Unanswered, stored},
};

/// A server that gives no answer for so long while nothing is done to it is a finding.
const PATIENCE: Duration = Duration::from_secs(90);

/// Compares everything, with a few threads; what was in doubt is known afterwards. Findings go into the ledger.
pub fn everything(talk: &Talk, seed: u64) {
    let waiting = Mutex::new(talk.ledger().repositories());
    std::thread::scope(|scope| {
        for number in 0..4 {
            let waiting = &waiting;
            scope.spawn(move || {
                let mut verifier = Verifier { talk, ledger: talk.ledger(), random: random(seed.wrapping_add(number)) };
                loop {
                    let next = lock(waiting).pop();
                    let Some(repository) = next else { break };
                    verifier.repository(&mut lock(&repository));
                }
            });
        }
    });
    talk.ledger().count("verifications", 1);
}

/// Takes away what got enough: its manifests, and what was emptied the last time altogether. To be called between two
/// verifications, while there is no load. It keeps the disk from filling, and gives the collector work.
pub fn retire(talk: &Talk, seed: u64) {
    let mut verifier = Verifier { talk, ledger: talk.ledger(), random: random(seed) };
    for repository in talk.ledger().repositories() {
        if lock(&repository).retiring {
            verifier.retire(&repository);
        }
    }
}

struct Verifier<'a> {
    talk: &'a Talk,
    ledger: &'a Ledger,
    random: Random,
}

impl Verifier<'_> {
    fn repository(&mut self, repository: &mut Repository) {
        let name = repository.name.clone();
        for (digest, blob) in &mut repository.blobs {
            self.blob(&name, digest, blob);
        }
        for (digest, manifest) in &mut repository.manifests {
            self.manifest(&name, digest, manifest);
        }
        self.held(repository);
        self.tags(repository);
        self.referrers(repository);
        self.uploads(repository);
    }

    /// There bit for bit, or wholly absent; as the ledger says.
    fn blob(&mut self, name: &str, digest: &str, blob: &mut Blob) {
        let target = format!("/v2/{name}/blobs/{digest}");
        let Some(head) = self.ask(Request::new("HEAD", &target)) else { return };
        let here = match head.status {
            200 | 307 => true,
            404 => false,
            _ => return self.ledger.find(format!("neither there nor absent: {head:?}")),
        };
        if !blob.there.may_be(&here) {
            let words = if here { "was deleted and is there" } else { "was acknowledged and is gone" };
            self.ledger.find(format!("the blob {target} {words}: {:?}; {head:?}", blob.there));
        }
        blob.there.settle(here);
        let Some(got) = self.ask(Request::new("GET", &target)) else { return };
        if !here {
            if got.status != 404 {
                self.ledger.find(format!("HEAD says 404, GET does not: {got:?}"));
            }
            return;
        }
        let bytes = blob.content.bytes();
        if got.status != 200 || got.body != bytes {
            let (size, seen) = (bytes.len(), digest_of(&got.body));
            self.ledger.find(format!("not the {size} bytes that were pushed but some of {seen}: {got:?}"));
        }
        if head.get("Content-Length") != Some(&bytes.len().to_string()) && head.status == 200 {
            self.ledger.find(format!("another size than {}: {head:?}", bytes.len()));
        }
        self.ledger.count("blobs compared", 1);
        self.ledger.count("bytes compared", bytes.len() as u64);
        if bytes.len() > 1 && self.random.random_bool(0.2) {
            let first = self.random.random_range(0..bytes.len());
            let last = self.random.random_range(first..bytes.len());
            let request = Request::new("GET", &target).header("Range", &format!("bytes={first}-{last}"));
            let Some(part) = self.ask(request) else { return };
            if part.status != 206 || part.body != bytes[first..=last] {
                self.ledger.find(format!("not the bytes {first} to {last}: {part:?}"));
            }
        }
    }

    fn manifest(&mut self, name: &str, digest: &str, manifest: &mut Manifest) {
        let target = format!("/v2/{name}/manifests/{digest}");
        let Some(got) = self.ask(Request::new("GET", &target)) else { return };
        let here = match got.status {
            200 => true,
            404 => false,
            _ => return self.ledger.find(format!("neither there nor absent: {got:?}")),
        };
        if !manifest.there.may_be(&here) {
            let words = if here { "was deleted and is there" } else { "was acknowledged and is gone" };
            self.ledger.find(format!("the manifest {target} {words}: {:?}; {got:?}", manifest.there));
        }
        manifest.there.settle(here);
        if !here {
            return;
        }
        if got.body != *manifest.bytes || got.get("Content-Type") != Some(&manifest.media_type) {
            self.ledger.find(format!("not the manifest that was pushed: {got:?}"));
        }
        self.ledger.count("manifests compared", 1);
    }

    /// What a visible manifest names is there. The blobs and manifests were looked at just now.
    fn held(&self, repository: &Repository) {
        for (digest, manifest) in repository.manifests.iter().filter(|(_, manifest)| manifest.there.may_be(&true)) {
            let no_blob = |named: &&String| repository.blobs.get(*named).is_none_or(|blob| !blob.there.may_be(&true));
            let no_child =
                |named: &&String| repository.manifests.get(*named).is_none_or(|child| !child.there.may_be(&true));
            let missing = { manifest.blobs.iter().filter(no_blob) }.chain(manifest.children.iter().filter(no_child));
            for missing in missing {
                self.ledger.find(format!("{}@{digest} is visible and lacks {missing}", repository.name));
            }
        }
    }

    fn tags(&mut self, repository: &mut Repository) {
        let name = repository.name.clone();
        let Some(listed) = self.list_tags(&name) else { return };
        if !listed.is_sorted() || listed.iter().collect::<BTreeSet<_>>().len() != listed.len() {
            self.ledger.find(format!("tags of {name} out of order, or twice: {listed:?}"));
        }
        for tag in listed.iter().filter(|tag| !repository.tags.contains_key(*tag)) {
            self.ledger.find(format!("nobody has pushed {name}:{tag}"));
        }
        for (tag, fact) in &mut repository.tags {
            let target = format!("/v2/{name}/manifests/{tag}");
            let Some(got) = self.ask(Request::new("GET", &target)) else { return };
            let seen = match got.status {
                200 => Some(digest_of(&got.body)),
                404 => None,
                _ => return self.ledger.find(format!("neither there nor absent: {got:?}")),
            };
            if seen.is_some() != listed.contains(tag) {
                self.ledger.find(format!("listed or not, and found or not, differ: {listed:?}; {got:?}"));
            }
            if !fact.may_be(&seen) {
                self.ledger.find(format!("{name}:{tag} can be {:?} and is {seen:?}", fact.possible()));
            }
            if let Some(digest) = &seen
                && !repository.manifests.get(digest).is_some_and(|manifest| manifest.there.may_be(&true))
            {
                self.ledger.find(format!("{name}:{tag} names {digest}, which is gone by digest"));
            }
            fact.settle(seen);
            self.ledger.count("tags compared", 1);
        }
    }

    fn list_tags(&mut self, name: &str) -> Option<Vec<String>> {
        let mut listed = Vec::new();
        let mut next = Some(format!("/v2/{name}/tags/list?n=5"));
        while let Some(target) = next {
            let answer = self.ask(Request::new("GET", &target))?;
            match answer.status {
                200 => {}
                // A repository that nothing was ever pushed to, or that nothing is left of.
                404 => return Some(listed),
                _ => {
                    self.ledger.find(format!("no list of tags: {answer:?}"));
                    return None;
                }
            }
            let tags = answer.json()["tags"].as_array().cloned().unwrap_or_default();
            listed.extend(tags.iter().filter_map(|tag| tag.as_str().map(str::to_owned)));
            next = answer.next_page();
        }
        Some(listed)
    }

    fn referrers(&mut self, repository: &Repository) {
        let subjects: BTreeSet<_> =
            repository.manifests.values().filter_map(|manifest| manifest.subject.clone()).collect();
        for subject in subjects {
            let target = format!("/v2/{}/referrers/{subject}", repository.name);
            let Some(answer) = self.ask(Request::new("GET", &target)) else { return };
            let json = answer.json();
            let listed = json["manifests"].as_array().cloned().unwrap_or_default();
            let listed: BTreeSet<_> = listed.iter().filter_map(|entry| entry["digest"].as_str()).collect();
            // All manifests were looked at just now.
            let there =
                |manifest: &Manifest| manifest.subject.as_ref() == Some(&subject) && manifest.there.may_be(&true);
            let expected: BTreeSet<_> = { repository.manifests.iter() }
                .filter(|(_, manifest)| there(manifest))
                .map(|(d, _)| d.as_str())
                .collect();
            if answer.status != 200 || listed != expected {
                self.ledger.find(format!("the referrers are {expected:?}: {answer:?}"));
            }
        }
    }

    /// An upload that was left open has what was acknowledged of it, and not more than was sent.
    fn uploads(&mut self, repository: &mut Repository) {
        let mut over = Vec::new();
        for (path, upload) in &mut repository.uploads {
            let Some(answer) = self.ask(Request::new("GET", path)) else { return };
            match answer.status {
                404 if upload.may_be_over => over.push(path.clone()),
                204 => {
                    let offset = stored(&answer, upload.acknowledged == 1).unwrap_or(u64::MAX);
                    if !(upload.acknowledged..=upload.sent).contains(&offset) {
                        let (acknowledged, sent) = (upload.acknowledged, upload.sent);
                        let words = format!("{acknowledged} bytes were acknowledged and {sent} sent");
                        self.ledger.find(format!("of {path} {words}: {answer:?}"));
                    }
                    upload.may_be_over = false;
                    self.ledger.count("open uploads compared", 1);
                }
                _ => self.ledger.find(format!("an open upload is gone ({upload:?}): {answer:?}")),
            }
        }
        for path in over {
            repository.uploads.remove(&path);
        }
    }

    /// Nothing is done to the server now, so it answers; but it may have to come to itself.
    fn ask(&mut self, request: Request) -> Option<Response> {
        let begun = Instant::now();
        loop {
            match self.talk.fetch(&mut self.random, request.clone()) {
                Ok(answer) => return Some(answer),
                Err(Unanswered::NotAsked(_) | Unanswered::InDoubt(_)) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(why) => {
                    self.ledger.find(format!("no answer to {} {}: {why:?}", request.method, request.target));
                    return None;
                }
            }
        }
    }

    fn retire(&mut self, repository: &Shared) {
        let mut repository = lock(repository);
        let name = repository.name.clone();
        let uploads: Vec<_> = repository.uploads.keys().cloned().collect();
        for path in uploads {
            match self.talk.ask(&mut self.random, Request::new("DELETE", &path)) {
                Ok(answer) if answer.status == 204 => drop(repository.uploads.remove(&path)),
                // A node that was killed holds it still.
                Err(_) => {}
                Ok(answer) => self.ledger.find(format!("expected 204: {answer:?}")),
            }
        }
        let there: Vec<_> = { repository.manifests.iter() }
            .filter(|(_, manifest)| manifest.there.may_be(&true))
            .map(|(digest, _)| digest.clone())
            .collect();
        if !there.is_empty() {
            for digest in there {
                // One that was held by another has gone along with it.
                let gone_along =
                    repository.manifests.get(&digest).is_some_and(|manifest| manifest.there.may_be(&false));
                repository.begin_delete(&digest);
                let Some(answer) = self.ask(Request::new("DELETE", &format!("/v2/{name}/manifests/{digest}"))) else {
                    return;
                };
                if !(answer.status == 202 || (gone_along && answer.status == 404)) {
                    self.ledger.find(format!("expected 202: {answer:?}"));
                }
                repository.end_delete(&digest, crate::ledger::End::Acknowledged);
            }
            // What it held is let go of in the background; the next time its blobs are deleted.
            return;
        }
        let blobs: Vec<_> = { repository.blobs.iter() }
            .filter(|(_, blob)| blob.there.may_be(&true))
            .map(|(digest, _)| digest.clone())
            .collect();
        for digest in &blobs {
            let Some(answer) = self.ask(Request::new("DELETE", &format!("/v2/{name}/blobs/{digest}"))) else { return };
            if answer.status != 202 {
                self.ledger.find(format!("expected 202: {answer:?}"));
            }
            if let Some(blob) = repository.blobs.get_mut(digest) {
                blob.there.settle(false);
            }
        }
        // What was deleted is looked at once more before it is forgotten.
        if blobs.is_empty() && repository.uploads.is_empty() {
            self.ledger.forget(&name);
            self.ledger.count("repositories deleted", 1);
        }
    }
}
