//! Manifests and tags: images, indexes and referrers pushed, tags moved, all of them deleted.

use std::sync::Arc;

use rand::RngExt;
use roadstead_testkit::{
    Body, Request, content,
    content::{descriptor, types},
    digest,
    http::escape,
};
use serde_json::json;

use super::Pusher;
use crate::{
    content::Content,
    ledger::{End, Fact, Manifest, Repository, Shared, lock},
};

/// Tags of a repository.
const TAGS: usize = 12;

impl Pusher {
    pub(super) fn push_image(&mut self, repository: &Shared) -> End {
        match self.make_image(repository, None) {
            Ok(manifest) => self.push_manifest(repository, manifest),
            Err(end) => end,
        }
    }

    /// An image about one that is there.
    pub(super) fn push_referrer(&mut self, repository: &Shared) -> End {
        let Some((_, subject)) = self.choose_manifest(&lock(repository)) else { return End::Acknowledged };
        match self.make_image(repository, Some(&subject)) {
            Ok(manifest) => self.push_manifest(repository, manifest),
            Err(end) => end,
        }
    }

    /// An index of images that are there.
    pub(super) fn push_index(&mut self, repository: &Shared) -> End {
        let children: Vec<_> = {
            let repository = lock(repository);
            let children = (0..self.random.random_range(1..4)).filter_map(|_| self.choose_manifest(&repository));
            children.filter(|(_, child)| child.media_type == types::MANIFEST && child.subject.is_none()).collect()
        };
        if children.is_empty() {
            return End::Acknowledged;
        }
        let descriptors: Vec<_> =
            children.iter().map(|(_, child)| descriptor(&child.media_type, &child.bytes)).collect();
        let index = json!({"schemaVersion": 2, "mediaType": types::INDEX, "manifests": descriptors,
            "annotations": {"org.example.nonce": self.nonce()}});
        let index = content::Manifest::new(&index);
        let manifest = Manifest {
            media_type: index.media_type,
            bytes: Arc::new(index.bytes),
            blobs: Vec::new(),
            children: children.into_iter().map(|(digest, _)| digest).collect(),
            subject: None,
            there: Fact::known(false),
        };
        self.push_manifest(repository, manifest)
    }

    /// Pushes configuration and layers.
    fn make_image(&mut self, repository: &Shared, subject: Option<&Manifest>) -> Result<Manifest, End> {
        let config = json!({"architecture": "amd64", "os": "linux", "nonce": self.nonce(),
            "rootfs": {"type": "layers", "diff_ids": []}});
        let config = Content::Literal(Arc::new(config.to_string().into_bytes()));
        let mut contents = vec![config];
        for _ in 0..self.random.random_range(1..4) {
            contents.push(self.choose_content());
        }
        let mut blobs = Vec::new();
        for content in &contents {
            blobs.push(self.push_blob(repository, content)?);
        }
        let described = |place: usize, media_type: &str| json!({"mediaType": media_type, "digest": blobs[place], "size": contents[place].size()});
        let mut manifest = json!({
            "schemaVersion": 2, "mediaType": types::MANIFEST, "config": described(0, types::CONFIG),
            "layers": (1..blobs.len()).map(|place| described(place, types::LAYER)).collect::<Vec<_>>(),
        });
        if let Some(subject) = subject {
            manifest["subject"] = descriptor(&subject.media_type, &subject.bytes);
            manifest["artifactType"] = "application/vnd.example.signature".into();
        }
        let manifest = content::Manifest::new(&manifest);
        Ok(Manifest {
            media_type: manifest.media_type,
            bytes: Arc::new(manifest.bytes),
            blobs,
            children: Vec::new(),
            subject: subject.map(|subject| digest(&subject.bytes)),
            there: Fact::known(false),
        })
    }

    /// By tag, by digest, or by digest with tags.
    fn push_manifest(&mut self, repository: &Shared, manifest: Manifest) -> End {
        let tags = match (&manifest.subject, self.random.random_range(0..4)) {
            (Some(_), _) | (None, 0) => Vec::new(),
            (None, 1) => vec![self.choose_tag(), self.choose_tag()],
            (None, _) => vec![self.choose_tag()],
        };
        self.put_manifest(repository, manifest, tags)
    }

    /// Another tag for what is there, or this one for another.
    pub(super) fn move_tag(&mut self, repository: &Shared) -> End {
        let Some((_, manifest)) = self.choose_manifest(&lock(repository)) else { return End::Acknowledged };
        let tag = self.choose_tag();
        let end = self.put_manifest(repository, manifest, vec![tag]);
        self.count(end, "tags moved")
    }

    fn put_manifest(&mut self, repository: &Shared, manifest: Manifest, mut tags: Vec<String>) -> End {
        tags.sort();
        tags.dedup();
        let digest = digest(&manifest.bytes);
        let pushed = Some(digest.clone());
        let name = {
            let mut repository = lock(repository);
            repository.manifests.entry(digest.clone()).or_insert_with(|| manifest.clone()).there.begin(true);
            tags.iter().for_each(|tag| repository.tag(tag).begin(pushed.clone()));
            repository.name.clone()
        };
        let target = match tags.as_slice() {
            [tag] => format!("/v2/{name}/manifests/{tag}"),
            tags => {
                let tags: Vec<_> = tags.iter().map(|tag| format!("tag={}", escape(tag))).collect();
                let query = if tags.is_empty() { String::new() } else { format!("?{}", tags.join("&")) };
                format!("/v2/{name}/manifests/{digest}{query}")
            }
        };
        let request = Request::new("PUT", &target).header("Content-Type", &manifest.media_type);
        let answer = self.talk.ask(&mut self.random, request.body(Body::Length(manifest.bytes.to_vec())));
        if let (Ok(answer), Some(subject)) = (&answer, &manifest.subject)
            && answer.status == 201
            && answer.get("OCI-Subject") != Some(subject)
        {
            self.ledger.find(format!("the subject was not seen: {answer:?}"));
        }
        let end = self.judge(answer, 201, Some(&digest));
        let mut repository = lock(repository);
        if let Some(manifest) = repository.manifests.get_mut(&digest) {
            manifest.there.end(true, end);
        }
        tags.iter().for_each(|tag| repository.tag(tag).end(pushed.clone(), end));
        self.count(end, "manifests")
    }

    pub(super) fn delete_tag(&mut self, repository: &Shared) -> End {
        let (name, tag) = {
            let mut repository = lock(repository);
            let named: Vec<String> = { repository.tags.iter() }
                .filter(|(_, fact)| !fact.may_be(&None))
                .map(|(tag, _)| tag.clone())
                .collect();
            if named.is_empty() {
                return End::Acknowledged;
            }
            let tag = named[self.random.random_range(0..named.len())].clone();
            repository.tag(&tag).begin(None);
            (repository.name.clone(), tag)
        };
        let request = Request::new("DELETE", &format!("/v2/{name}/manifests/{tag}"));
        let answer = self.talk.ask(&mut self.random, request);
        let end = self.judge(answer, 202, None);
        lock(repository).tag(&tag).end(None, end);
        self.count(end, "deleted tags")
    }

    /// Deletes a manifest that no index names.
    pub(super) fn delete_manifest(&mut self, repository: &Shared) -> End {
        let (name, digest) = {
            let mut locked = lock(repository);
            let Some((digest, _)) = self.choose_manifest(&locked) else { return End::Acknowledged };
            let named = |other: &Manifest| other.there.may_be(&true) && other.children.contains(&digest);
            if locked.manifests.values().any(named) {
                return End::Acknowledged;
            }
            locked.begin_delete(&digest);
            (locked.name.clone(), digest)
        };
        let request = Request::new("DELETE", &format!("/v2/{name}/manifests/{digest}"));
        let answer = self.talk.ask(&mut self.random, request);
        let end = self.judge(answer, 202, None);
        lock(repository).end_delete(&digest, end);
        self.count(end, "deleted manifests")
    }

    /// One that is certainly there.
    fn choose_manifest(&mut self, repository: &Repository) -> Option<(String, Manifest)> {
        let there: Vec<_> = repository.manifests.iter().filter(|(_, manifest)| manifest.there.must_be(&true)).collect();
        if there.is_empty() {
            return None;
        }
        let (digest, manifest) = there[self.random.random_range(0..there.len())];
        Some((digest.clone(), manifest.clone()))
    }

    fn choose_tag(&mut self) -> String {
        format!("t{}", self.random.random_range(0..TAGS))
    }

    fn nonce(&mut self) -> String {
        format!("{:016x}", self.random.random::<u64>())
    }
}
