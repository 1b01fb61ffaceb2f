//! Uploads: begun, appended to, finished, cancelled, by any node and after any interruption (architecture.md 4).

mod rows;
mod ticket;
mod whole;
mod writer;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use roadstead_db::{
    Tx, blob, repository,
    upload::{self, Over, Purpose},
};
use roadstead_model::{Algorithm, Digest, Place};

pub use self::ticket::TicketKey;
use self::{rows::NewUpload, whole::AtOnce};
use crate::{
    Core, Error, Gate, Result,
    quotas::{self, Room},
};

/// How long a claimed upload is held without a sign of life, microseconds. It is renewed each third of it, so it ends only for a node
/// that is gone; the next one waits that long, which must be less than proxies wait for an answer.
const LEASE: i64 = 30_000_000;

/// How long an upload that is over is remembered, so that a repeated PUT is answered the same (protocol.md D19b) and its id begins no
/// other one, microseconds.
pub(crate) const OVER_LIFE: i64 = 1_800_000_000;

/// Why a request's body broke off.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct BodyError(pub String);

/// The body of a push.
pub struct Body {
    /// The bytes.
    pub stream: BoxStream<'static, std::result::Result<Bytes, BodyError>>,
    /// What the client announced (Content-Length), if it did.
    pub length: Option<u64>,
}

impl Body {
    /// No bytes.
    pub fn empty() -> Self {
        Self { stream: stream::empty().boxed(), length: Some(0) }
    }
}

/// An upload between two requests.
#[derive(Clone, Debug)]
pub struct UploadStatus {
    /// The id in its Location.
    pub id: String,
    /// Bytes that are stored durably.
    pub stored: u64,
}

impl Core {
    /// Begins an upload. Its id says all that is known of it; row and repository are made when something is sent to it.
    pub fn begin_upload(&self, gate: &Gate, place: &Place, announced: Option<Algorithm>) -> Result<UploadStatus> {
        let registry = gate.registry()?;
        let now = gate.facts.now;
        let row = ticket::row_at(now, &self.bucket(registry.bucket)?.fresh_key());
        let owner = (registry.id, place.repository.as_str());
        Ok(UploadStatus { id: self.options().ticket_key.issue(&row, owner, announced, now), stored: 0 })
    }

    /// What is stored of an upload. One that is over is no more: [`Error::UploadUnknown`].
    pub async fn upload_status(&self, gate: &Gate, place: &Place, id: &str) -> Result<UploadStatus> {
        let request = self.arrived(gate, place, id)?;
        let found = upload::show(self.db(), &request.row, request.repository).await?;
        let stored = match found {
            Some(found) if found.over.is_none() => u64::try_from(found.size).unwrap_or(0),
            None if request.new.is_some() => 0,
            _ => return Err(Error::UploadUnknown),
        };
        Ok(UploadStatus { id: id.to_owned(), stored })
    }

    /// Appends a body. `range`: first and last byte of its Content-Range.
    ///
    /// What arrived is stored even when the client vanishes in the middle: the work goes on in a task of its own.
    pub async fn append(
        &self,
        gate: &Gate,
        place: &Place,
        id: &str,
        range: Option<(u64, u64)>,
        body: Body,
    ) -> Result<UploadStatus> {
        let (core, request) = (self.clone(), self.arrived(gate, place, id)?);
        let room = self.room_or_end(gate, &request).await?;
        let stored = spawned(async move {
            let mut writer = core.claim(&request, Purpose::Write, body.length).await?;
            let received = writer.receive(range, body, &room).await;
            writer.save_after(received).await
        });
        Ok(UploadStatus { id: id.to_owned(), stored: stored.await? })
    }

    /// Appends the last body (which may be empty), checks the digest and makes the blob visible. Doing it again with the
    /// same digest is fine (protocol.md D19b).
    pub async fn finish_upload(
        &self,
        gate: &Gate,
        place: &Place,
        id: &str,
        digest: &Digest,
        range: Option<(u64, u64)>,
        body: Body,
    ) -> Result<()> {
        let (core, request, digest) = (self.clone(), self.arrived(gate, place, id)?, *digest);
        let room = self.room_at_the_end(gate, &request, body.length).await?;
        spawned(async move { core.finish(&request, &digest, range, body, &room).await }).await
    }

    /// `POST ?digest=`: begin, append and finish in one request. A failed one leaves no upload behind.
    pub async fn upload_whole(&self, gate: &Gate, place: &Place, digest: &Digest, body: Body) -> Result<()> {
        let begun = self.begin_upload(gate, place, Some(digest.algorithm()))?;
        let (core, request, digest) = (self.clone(), self.arrived(gate, place, &begun.id)?, *digest);
        let room = self.room(gate).await?;
        spawned(async move {
            let finished = core.finish(&request, &digest, None, body, &room).await;
            if finished.is_err() {
                // Best effort: what stays behind expires.
                let _ = core.abandon(None, &request.row, Purpose::End).await;
            }
            finished
        })
        .await
    }

    /// A last request that brings nothing is not refused beforehand: it may be repeated, and the last word comes in its transaction.
    async fn room_at_the_end(&self, gate: &Gate, request: &Request, length: Option<u64>) -> Result<Room> {
        if length == Some(0) { Ok(Room::default()) } else { self.room_or_end(gate, request).await }
    }

    /// Where there is room for nothing more, the upload is over: what it had stored would never be a blob.
    async fn room_or_end(&self, gate: &Gate, request: &Request) -> Result<Room> {
        let room = self.room(gate).await;
        if matches!(room, Err(Error::QuotaFull(_))) {
            // Best effort: what stays behind expires.
            let _ = self.abandon(request.repository, &request.row, Purpose::End).await;
        }
        room
    }

    /// A request about an upload. [`Error::UploadUnknown`]: it can't be there.
    fn arrived(&self, gate: &Gate, place: &Place, id: &str) -> Result<Request> {
        let registry = gate.registry().map_err(|_| Error::UploadUnknown)?;
        let owner = (registry.id, place.repository.as_str());
        let ticket = self.options().ticket_key.read(id, owner, gate.facts.now);
        let repository = gate.facts.repository;
        if ticket.is_none() && repository.is_none() {
            return Err(Error::UploadUnknown);
        }
        let new = ticket.map(|ticket| NewUpload {
            registry: registry.id,
            bucket: registry.bucket,
            name: place.repository.to_string(),
            announced: ticket.announced,
        });
        let (row, number) = (ticket::row_of(id).to_owned(), self.next_request());
        Ok(Request { row, repository, new, limited: registry.limited, number })
    }

    async fn finish(
        &self,
        request: &Request,
        digest: &Digest,
        range: Option<(u64, u64)>,
        body: Body,
        room: &Room,
    ) -> Result<()> {
        let (body, range) = match self.finish_at_once(request, digest, range, body, room).await? {
            AtOnce::Done => return Ok(()),
            AtOnce::Not(body, range) => (body, range),
        };
        let mut writer = match self.claim(request, Purpose::Write, body.length).await {
            Ok(writer) => writer,
            Err(Error::UploadUnknown) => {
                return self.finished_before(request, digest).await;
            }
            Err(other) => return Err(other),
        };
        writer.announce(digest.algorithm());
        let received = writer.receive(range, body, room).await;
        if received.is_err() {
            return writer.save_after(received).await.map(drop);
        }
        writer.finish(digest).await
    }

    /// A PUT that repeats one that was answered with 201: the same answer, if it names the same digest and the blob was not deleted
    /// since.
    async fn finished_before(&self, request: &Request, digest: &Digest) -> Result<()> {
        let upload = upload::show(self.db(), &request.row, request.repository).await?.ok_or(Error::UploadUnknown)?;
        match upload.over {
            Some(Over::Blob(finished)) if finished == *digest => {
                let input = (upload.repository, *digest, self.options().collect_grace);
                let kept = self.db().write(input, |tx, (repository, digest, grace)| {
                    Box::pin(rows::keep_finished(tx, *repository, digest, *grace))
                });
                if kept.await? { Ok(()) } else { Err(Error::UploadUnknown) }
            }
            Some(Over::Blob(finished)) => Err(Error::DigestMismatch { expected: *digest, actual: finished }),
            Some(Over::Nothing) | None => Err(Error::UploadUnknown),
        }
    }

    /// Ends an upload without a blob.
    pub async fn cancel_upload(&self, gate: &Gate, place: &Place, id: &str) -> Result<()> {
        let request = self.arrived(gate, place, id)?;
        if let Some(new) = &request.new {
            let input = (request.row.clone(), new.clone());
            if self.db().write(input, |tx, (id, new)| Box::pin(new.end(tx, id))).await? {
                return Ok(());
            }
        }
        self.abandon(request.repository, &request.row, Purpose::End).await
    }

    /// Takes an upload, by the key of its row, and all that it stored away. `repository`: only if it is of this one.
    pub(crate) async fn abandon(&self, repository: Option<i64>, row: &str, purpose: Purpose) -> Result<()> {
        let (row, number) = (row.to_owned(), self.next_request());
        let request = Request { row, repository, new: None, limited: false, number };
        let core = self.clone();
        spawned(async move { core.claim(&request, purpose, Some(0)).await?.discard().await }).await
    }

    /// Lets the target see a blob that exists in the same bucket. False: it can't be (begin an upload instead).
    pub async fn mount(&self, gate: &Gate, place: &Place, digest: &Digest, from: MountFrom<'_>) -> Result<bool> {
        let registry = gate.registry()?;
        let source = match from {
            MountFrom::Registry => None,
            MountFrom::Place(source) => match (&source.facts.registry, source.facts.repository) {
                (Some(there), Some(repository)) if there.bucket == registry.bucket => Some(repository),
                _ => return Ok(false),
            },
        };
        let mount = Mount {
            registry: registry.id,
            bucket: registry.bucket,
            name: place.repository.to_string(),
            digest: *digest,
            source,
            limited: registry.limited,
            grace: self.options().collect_grace,
        };
        self.db().write(mount, |tx, mount| Box::pin(mount.run(tx))).await
    }
}

/// A request that writes to an upload. It is numbered when it arrives: the tasks of two begin in any order.
struct Request {
    /// Key of the upload's row.
    row: String,
    /// Row of the repository that it must be of. `None`: its ticket says that it is of the right one.
    repository: Option<i64>,
    /// What its row is made of, if its id is good and there is no row.
    new: Option<NewUpload>,
    /// A quota of bytes is to be looked at in the end.
    limited: bool,
    number: u64,
}

/// Where a mount takes the blob from.
pub enum MountFrom<'a> {
    /// `from=`: this place, whose facts were asked and allow a pull.
    Place(&'a Gate),
    /// Anywhere in the target's registry (the caller may pull all of it).
    Registry,
}

/// Runs work that must come to its own end even when the request that asked for it is dropped.
async fn spawned<T: Send + 'static>(work: impl Future<Output = Result<T>> + Send + 'static) -> Result<T> {
    match tokio::spawn(work).await {
        Ok(result) => result,
        Err(error) => Err(Error::Internal(format!("a task ended early: {error}"))),
    }
}

struct Mount {
    registry: i64,
    bucket: i64,
    name: String,
    digest: Digest,
    /// Row of the source repository; `None` = any of the registry.
    source: Option<i64>,
    limited: bool,
    grace: i64,
}

impl Mount {
    async fn run(&self, tx: &mut Tx<'_>) -> Result<bool> {
        let found = match self.source {
            Some(source) => blob::find_linked(tx, source, self.bucket, &self.digest).await?,
            None => blob::find_in_registry(tx, self.registry, self.bucket, &self.digest).await?,
        };
        let Some(found) = found else { return Ok(false) };
        let Some(repository) = repository::find_or_make(tx, self.registry, &self.name).await? else { return Ok(false) };
        blob::link(tx, self.registry, repository, blob::Found { id: found, made: None }, self.grace).await?;
        if self.limited {
            quotas::keep_within(tx, self.registry).await?;
        }
        Ok(true)
    }
}
