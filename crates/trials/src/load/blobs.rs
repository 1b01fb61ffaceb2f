//! Blobs: pushed in each way, mounted, looked at, deleted.

use rand::RngExt;
use roadstead_testkit::{
    Body, Request, Response, digest,
    http::{escape, with_parameter},
};

use super::Pusher;
use crate::{
    content::Content,
    ledger::{End, Shared, Upload, lock},
    talk::Unanswered,
};

/// How the bytes of a blob reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// `POST`, then `PUT` with all bytes.
    Monolithic,
    /// One `POST ?digest=`.
    Single,
    /// `PATCH` with `Content-Range`, then `PUT` with or without the last piece.
    Pieces,
    /// One `PATCH` without a length, then `PUT`.
    Streamed,
}

impl Pusher {
    pub(super) fn push_some_blob(&mut self, repository: &Shared) -> End {
        let content = self.choose_content();
        self.push_blob(repository, &content).err().unwrap_or(End::Acknowledged)
    }

    /// Pushes bytes in any way; their digest.
    pub(super) fn push_blob(&mut self, repository: &Shared, content: &Content) -> Result<String, End> {
        let way = match self.random.random_range(0..4) {
            0 => Way::Single,
            1 if content.size() > 1 => Way::Pieces,
            2 if content.size() > 1 => Way::Streamed,
            _ => Way::Monolithic,
        };
        let bytes = content.bytes();
        let digest = digest(&bytes);
        let name = {
            let mut repository = lock(repository);
            repository.blob(&digest, content).begin(true);
            repository.bytes += bytes.len() as u64;
            repository.name.clone()
        };
        let end = match way {
            Way::Single => {
                let post = with_parameter(&format!("/v2/{name}/blobs/uploads/"), "digest", &digest);
                let request = octets("POST", &post).body(Body::Length(bytes));
                let answer = self.talk.ask(&mut self.random, request);
                self.judge(answer, 201, Some(&digest))
            }
            _ => self.push_in_session(repository, content, bytes, &digest, way),
        };
        lock(repository).blob(&digest, content).end(true, end);
        if end == End::Acknowledged {
            self.ledger.count("blobs", 1);
            self.ledger.count("bytes", content.size() as u64);
        }
        (end == End::Acknowledged).then_some(digest).ok_or(end)
    }

    fn push_in_session(
        &mut self,
        repository: &Shared,
        content: &Content,
        bytes: Vec<u8>,
        digest: &str,
        way: Way,
    ) -> End {
        let path = match self.begin(repository, content, digest) {
            Ok(path) => path,
            Err(end) => return without_effect(end),
        };
        let size = bytes.len();
        let rest = match way {
            Way::Monolithic | Way::Single => bytes,
            Way::Streamed => {
                let request = octets("PATCH", &path).body(Body::streamed(&bytes));
                if let Err(end) = self.append(repository, &path, request, size) {
                    return without_effect(end);
                }
                Vec::new()
            }
            Way::Pieces => {
                let pieces = self.random.random_range(1..5);
                let piece = size.div_ceil(pieces).max(2);
                let last_in_put = self.random.random_bool(0.5);
                let mut start = 0;
                while start < size && !(last_in_put && start + piece >= size) {
                    let part = &bytes[start..(start + piece).min(size)];
                    let request = ranged("PATCH", &path, start, part);
                    if let Err(end) = self.append(repository, &path, request, start + part.len()) {
                        return without_effect(end);
                    }
                    start += part.len();
                }
                bytes[start..].to_vec()
            }
        };
        self.finish(repository, &path, digest, rest)
    }

    /// Begins an upload and enters it; its path.
    pub(super) fn begin(&mut self, repository: &Shared, content: &Content, digest: &str) -> Result<String, End> {
        let name = lock(repository).name.clone();
        let answer = self.talk.ask(&mut self.random, Request::new("POST", &format!("/v2/{name}/blobs/uploads/")));
        let answer = self.expected(answer, 202)?;
        Ok(self.enter(repository, &answer, content, digest))
    }

    /// Enters the upload that an answer speaks of; its path.
    pub(super) fn enter(&self, repository: &Shared, answer: &Response, content: &Content, digest: &str) -> String {
        let path = answer.location_path();
        let upload = Upload {
            content: content.clone(),
            digest: digest.to_owned(),
            acknowledged: 0,
            sent: 0,
            may_be_over: false,
            taken: true,
            broken_at: None,
        };
        lock(repository).uploads.insert(path.clone(), upload);
        path
    }

    /// Appends to an upload, which has `after` bytes then.
    pub(super) fn append(
        &mut self,
        repository: &Shared,
        path: &str,
        request: Request,
        after: usize,
    ) -> Result<(), End> {
        let after = after as u64;
        self.change_upload(repository, path, |upload| upload.sent = upload.sent.max(after));
        let answer = self.talk.ask(&mut self.random, request);
        match self.expected(answer, 202) {
            Ok(answer) => {
                self.change_upload(repository, path, |upload| upload.acknowledged = after);
                let range = answer.get("Range").unwrap_or_default();
                if after > 0 && range != format!("0-{}", after - 1) {
                    self.ledger.find(format!("{after} bytes were sent, and not so many are acknowledged: {answer:?}"));
                }
                Ok(())
            }
            Err(end) => {
                self.break_off(repository, path);
                Err(end)
            }
        }
    }

    /// Finishes an upload with its last bytes.
    pub(super) fn finish(&mut self, repository: &Shared, path: &str, digest: &str, rest: Vec<u8>) -> End {
        let request = octets("PUT", &with_parameter(path, "digest", digest)).body(Body::Length(rest));
        match self.put(repository, path, request) {
            Ok(answer) => self.judge(Ok(answer), 201, Some(digest)),
            Err(end) => end,
        }
    }

    /// Sends the last request of an upload; any answer that says what became of it.
    pub(super) fn put(&mut self, repository: &Shared, path: &str, request: Request) -> Result<Response, End> {
        let mut before = false;
        self.change_upload(repository, path, |upload| {
            upload.sent = upload.content.size() as u64;
            before = std::mem::replace(&mut upload.may_be_over, true);
        });
        let answer = self.talk.ask(&mut self.random, request).map_err(|unanswered| unanswered.end());
        match &answer {
            Ok(answer) if answer.status == 201 => drop(lock(repository).uploads.remove(path)),
            Err(End::InDoubt) => self.break_off(repository, path),
            _ => {
                self.change_upload(repository, path, |upload| upload.may_be_over = before);
                self.break_off(repository, path);
            }
        }
        answer
    }

    pub(super) fn change_upload(&self, repository: &Shared, path: &str, change: impl FnOnce(&mut Upload)) {
        if let Some(upload) = lock(repository).uploads.get_mut(path) {
            change(upload);
        }
    }

    pub(super) fn break_off(&self, repository: &Shared, path: &str) {
        self.change_upload(repository, path, |upload| {
            upload.taken = false;
            upload.broken_at = Some(std::time::Instant::now());
        });
    }

    /// Mounts a blob of another repository.
    pub(super) fn mount(&mut self, repository: &Shared) -> End {
        let all = self.ledger.repositories();
        let source = &all[self.random.random_range(0..all.len())];
        let chosen = {
            let source = lock(source);
            let blobs: Vec<_> = source.blobs.iter().filter(|(_, blob)| blob.there.may_be(&true)).collect();
            if blobs.is_empty() || source.retiring {
                return End::Acknowledged;
            }
            let (digest, blob) = blobs[self.random.random_range(0..blobs.len())];
            (source.name.clone(), digest.clone(), blob.content.clone())
        };
        let (from, digest, content) = chosen;
        let is_there = || lock(source).blobs.get(&digest).is_some_and(|blob| blob.there.must_be(&true));
        let before = is_there();
        let name = {
            let mut repository = lock(repository);
            repository.blob(&digest, &content).begin(true);
            repository.name.clone()
        };
        let post = format!("/v2/{name}/blobs/uploads/?mount={}&from={}", escape(&digest), escape(&from));
        let answer = self.talk.ask(&mut self.random, Request::new("POST", &post));
        let end = match answer {
            Ok(answer) if answer.status == 202 => {
                if before && is_there() {
                    self.ledger.find(format!("{digest} is in {from} and was not mounted: {answer:?}"));
                }
                self.ledger.count("mounts that became uploads", 1);
                let path = self.enter(repository, &answer, &content, &digest);
                self.finish(repository, &path, &digest, content.bytes())
            }
            answer => self.judge(answer, 201, Some(&digest)),
        };
        lock(repository).blob(&digest, &content).end(true, end);
        self.count(end, "mounts")
    }

    /// What was acknowledged is there at once.
    pub(super) fn look(&mut self, repository: &Shared) -> End {
        let chosen = {
            let repository = lock(repository);
            // The one that all push to has nothing deleted from it either.
            let blobs: Vec<_> = repository.blobs.iter().filter(|(_, blob)| blob.there.must_be(&true)).collect();
            if blobs.is_empty() {
                return End::Acknowledged;
            }
            let (digest, blob) = blobs[self.random.random_range(0..blobs.len())];
            (repository.name.clone(), digest.clone(), blob.content.clone())
        };
        let (name, digest, content) = chosen;
        let request = Request::new("GET", &format!("/v2/{name}/blobs/{digest}"));
        match self.talk.fetch(&mut self.random, request) {
            Ok(answer) if answer.status == 200 && answer.body == content.bytes() => {
                self.count(End::Acknowledged, "looks")
            }
            Ok(answer) => {
                self.ledger.find(format!("a blob is not as it was acknowledged: {answer:?}"));
                End::Without
            }
            Err(unanswered) => unanswered.end(),
        }
    }

    /// Deletes a blob that nothing holds.
    pub(super) fn delete_blob(&mut self, repository: &Shared) -> End {
        let (name, digest) = {
            let mut repository = lock(repository);
            let free: Vec<String> = { repository.blobs.iter() }
                .filter(|(digest, blob)| blob.there.must_be(&true) && !repository.may_be_held(digest))
                .map(|(digest, _)| digest.clone())
                .collect();
            if free.is_empty() {
                return End::Acknowledged;
            }
            let digest = free[self.random.random_range(0..free.len())].clone();
            if let Some(blob) = repository.blobs.get_mut(&digest) {
                blob.there.begin(false);
            }
            (repository.name.clone(), digest)
        };
        let request = Request::new("DELETE", &format!("/v2/{name}/blobs/{digest}"));
        let answer = self.talk.ask(&mut self.random, request);
        let end = self.judge(answer, 202, None);
        if let Some(blob) = lock(repository).blobs.get_mut(&digest) {
            blob.there.end(false, end);
        }
        self.count(end, "deleted blobs")
    }

    pub(super) fn count(&self, end: End, what: &str) -> End {
        if end == End::Acknowledged {
            self.ledger.count(what, 1);
        }
        end
    }

    /// What an answer means that should be `status`, for `digest`.
    pub(super) fn judge(&self, answer: Result<Response, Unanswered>, status: u16, digest: Option<&str>) -> End {
        match self.expected(answer, status) {
            Ok(answer) => {
                if digest.is_some_and(|digest| answer.get("Docker-Content-Digest") != Some(digest)) {
                    self.ledger.find(format!("another digest than was pushed: {answer:?}"));
                }
                End::Acknowledged
            }
            Err(end) => end,
        }
    }

    /// The answer, if it is the one; a finding if it is another one.
    pub(super) fn expected(&self, answer: Result<Response, Unanswered>, status: u16) -> Result<Response, End> {
        match answer {
            Ok(answer) if answer.status == status => Ok(answer),
            Ok(answer) => {
                self.ledger.find(format!("expected {status}: {answer:?}"));
                Err(End::Without)
            }
            Err(unanswered) => Err(unanswered.end()),
        }
    }
}

/// A request of an upload that does not make the blob: nothing of it is visible, whatever became of it. The thread has to see
/// that something went wrong all the same.
pub(super) fn without_effect(_: End) -> End {
    End::Without
}

/// A request with bytes.
pub(super) fn octets(method: &str, target: &str) -> Request {
    Request::new(method, target).header("Content-Type", "application/octet-stream")
}

/// A request with the bytes from `start` on.
pub(super) fn ranged(method: &str, target: &str, start: usize, bytes: &[u8]) -> Request {
    let range = format!("{start}-{}", start + bytes.len() - 1);
    octets(method, target).header("Content-Range", &range).body(Body::Length(bytes.to_vec()))
}
