//! Uploads that are left open, and gone on with later: after the restart, on whichever node.

use rand::RngExt;
use roadstead_testkit::{Request, digest, http::with_parameter};

use super::{
    Pusher,
    blobs::{octets, ranged, without_effect},
};
use crate::{
    content::Content,
    ledger::{End, Shared, Upload, lock},
    talk::stored,
};

/// How often an upload is asked for its offset anew when the server says that it has another one: a request that broke off may
/// still be at work.
const TRIES: usize = 40;

impl Pusher {
    /// Begins an upload, sends a part of it, and goes.
    pub(super) fn leave_open(&mut self, repository: &Shared) -> End {
        let content = Content::Seeded { seed: self.random.random(), size: self.random.random_range(100..6_000_000) };
        let bytes = content.bytes();
        let path = match self.begin(repository, &content, &digest(&bytes)) {
            Ok(path) => path,
            Err(end) => return end,
        };
        lock(repository).bytes += bytes.len() as u64;
        let part = &bytes[..self.random.random_range(2..bytes.len())];
        let request = ranged("PATCH", &path, 0, part);
        if let Err(end) = self.append(repository, &path, request, part.len()) {
            return end;
        }
        self.change_upload(repository, &path, |upload| upload.taken = false);
        self.count(End::Acknowledged, "uploads left open")
    }

    /// Goes on with an upload that was left open or broke off, or cancels it.
    pub(super) fn take_up(&mut self, repository: &Shared) -> End {
        let wait = self.options.resume_after;
        let chosen = {
            let mut repository = lock(repository);
            let ready =
                |upload: &Upload| !upload.taken && upload.broken_at.is_none_or(|broken_at| broken_at.elapsed() >= wait);
            let open: Vec<_> = repository.uploads.iter_mut().filter(|(_, upload)| ready(upload)).collect();
            if open.is_empty() {
                return End::Acknowledged;
            }
            let place = self.random.random_range(0..open.len());
            let Some((path, upload)) = open.into_iter().nth(place) else { return End::Acknowledged };
            upload.taken = true;
            (path.clone(), upload.clone())
        };
        let (path, upload) = chosen;
        if self.random.random_bool(0.15) {
            return self.cancel(repository, &path);
        }
        lock(repository).blob(&upload.digest, &upload.content).begin(true);
        let end = self.go_on(repository, &path, &upload);
        lock(repository).blob(&upload.digest, &upload.content).end(true, end);
        self.count(end, "uploads gone on with")
    }

    /// What became of the blob.
    fn go_on(&mut self, repository: &Shared, path: &str, upload: &Upload) -> End {
        let bytes = upload.content.bytes();
        let mut least = upload.acknowledged;
        for _ in 0..TRIES {
            let start = match self.offset(repository, path, upload, least) {
                Ok(Some(start)) => start,
                // It may have been finished: then the PUT is answered as the first one was (protocol.md D19b); or cancelled.
                Ok(None) => return self.finish_again(repository, path, upload),
                Err(end) => {
                    self.break_off(repository, path);
                    return if upload.may_be_over { end } else { End::Without };
                }
            };
            least = least.max(start as u64);
            let rest = &bytes[start..];
            let put = with_parameter(path, "digest", &upload.digest);
            let answer = match rest {
                [] => self.put(repository, path, octets("PUT", &put)),
                rest if self.random.random_bool(0.5) => self.put(repository, path, ranged("PUT", &put, start, rest)),
                rest => {
                    self.change_upload(repository, path, |upload| upload.sent = bytes.len() as u64);
                    let answer = self.talk.ask(&mut self.random, ranged("PATCH", path, start, rest));
                    // The next round finishes it.
                    answer.map_err(|unanswered| without_effect(unanswered.end()))
                }
            };
            match answer {
                // A request that broke off was still at work.
                Ok(answer) if answer.status == 416 => self.ledger.count("offsets that had moved", 1),
                Ok(answer) if answer.status == 404 && upload.may_be_over => {
                    return self.finish_again(repository, path, upload);
                }
                Ok(answer) if answer.status == 202 && start < bytes.len() => {
                    least = bytes.len() as u64;
                    self.change_upload(repository, path, |upload| upload.acknowledged = least);
                }
                Ok(answer) => return self.judge(Ok(answer), 201, Some(&upload.digest)),
                Err(end) => {
                    self.break_off(repository, path);
                    return if upload.may_be_over { End::InDoubt } else { end };
                }
            }
        }
        self.ledger.find(format!("the offset of {path} changes without end"));
        End::Without
    }

    /// Where an upload is to be gone on with; `None`: it is over, as it may be.
    fn offset(&mut self, repository: &Shared, path: &str, upload: &Upload, least: u64) -> Result<Option<usize>, End> {
        let answer = match self.talk.ask(&mut self.random, Request::new("GET", path)) {
            Ok(answer) if answer.status == 404 && upload.may_be_over => return Ok(None),
            answer => self.expected(answer, 204)?,
        };
        let sent = lock(repository).uploads.get(path).map_or(upload.sent, |upload| upload.sent);
        match stored(&answer, least == 1) {
            Some(offset) if (least..=sent).contains(&offset) => Ok(Some(usize::try_from(offset).unwrap_or(usize::MAX))),
            _ => {
                self.ledger.find(format!("{least} bytes of the upload were acknowledged, {sent} sent: {answer:?}"));
                Err(End::Without)
            }
        }
    }

    fn finish_again(&mut self, repository: &Shared, path: &str, upload: &Upload) -> End {
        let put = with_parameter(path, "digest", &upload.digest);
        let answer = self.talk.ask(&mut self.random, octets("PUT", &put));
        let end = match answer {
            // Cancelled.
            Ok(answer) if answer.status == 404 => {
                lock(repository).uploads.remove(path);
                return End::InDoubt;
            }
            answer => self.judge(answer, 201, None),
        };
        if end == End::Acknowledged {
            lock(repository).uploads.remove(path);
        } else {
            self.break_off(repository, path);
        }
        end
    }

    fn cancel(&mut self, repository: &Shared, path: &str) -> End {
        let before = lock(repository).uploads.get(path).is_some_and(|upload| upload.may_be_over);
        self.change_upload(repository, path, |upload| upload.may_be_over = true);
        match self.talk.ask(&mut self.random, Request::new("DELETE", path)) {
            Ok(answer) if answer.status == 204 || (before && answer.status == 404) => {
                lock(repository).uploads.remove(path);
                self.count(End::Acknowledged, "uploads cancelled")
            }
            answer => {
                let end = self.judge(answer, 204, None);
                self.break_off(repository, path);
                end
            }
        }
    }
}
