//! Uploads: begun, appended to, finished, cancelled, by any node and after any interruption (architecture.md 4).

mod rows;
mod writer;

use bytes::Bytes;
use futures::stream::{self, BoxStream, StreamExt};
use roadstead_blobs::UploadState;
use roadstead_db::{
    DbError, Tx, blob, repository,
    upload::{self, Purpose},
};
use roadstead_model::{Algorithm, Digest, Place};

use crate::{Core, Error, Gate, Result};

/// How long a claimed upload is held without a sign of life, microseconds. It is renewed each third of it, so it ends only for a node
/// that is gone; the next one waits that long, which must be less than proxies wait for an answer.
const LEASE: i64 = 30_000_000;

/// How long a finished upload is remembered, so that a repeated PUT is answered the same (protocol.md D19b), microseconds.
pub(crate) const FINISHED_LIFE: i64 = 600_000_000;

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
    /// The id in its Location (32 hexadecimal digits).
    pub id: String,
    /// Bytes that are stored durably.
    pub stored: u64,
}

impl Core {
    /// Begins an upload; makes the repository when there is none.
    pub async fn begin_upload(&self, gate: &Gate, place: &Place, announced: Option<Algorithm>) -> Result<UploadStatus> {
        let (status, _) = self.begin(gate, place, announced).await?;
        Ok(status)
    }

    async fn begin(&self, gate: &Gate, place: &Place, announced: Option<Algorithm>) -> Result<(UploadStatus, i64)> {
        let registry = gate.registry()?;
        let bucket = self.bucket(registry.bucket)?;
        let id = bucket.fresh_key();
        let begin = Begin {
            id: id.clone(),
            registry: registry.id,
            bucket: registry.bucket,
            name: place.repository.to_string(),
            state: UploadState::new(bucket.fresh_key(), announced).to_text(),
        };
        let repository = self
            .db()
            .write(begin, |tx, begin| Box::pin(begin.run(tx)))
            .await
            .map_err(|error: DbError| error)?
            .ok_or(Error::NameUnknown)?;
        Ok((UploadStatus { id, stored: 0 }, repository))
    }

    /// What is stored of an upload. A finished one is over: [`Error::UploadUnknown`].
    pub async fn upload_status(&self, gate: &Gate, id: &str) -> Result<UploadStatus> {
        let repository = gate.repository().map_err(|_| Error::UploadUnknown)?;
        let found = upload::show(self.db(), id, repository).await?;
        match found {
            Some(found) if found.finished.is_none() => {
                Ok(UploadStatus { id: id.to_owned(), stored: u64::try_from(found.size).unwrap_or(0) })
            }
            _ => Err(Error::UploadUnknown),
        }
    }

    /// Appends a body. `range`: first and last byte of its Content-Range.
    ///
    /// What arrived is stored even when the client vanishes in the middle: the work goes on in a task of its own.
    pub async fn append(&self, gate: &Gate, id: &str, range: Option<(u64, u64)>, body: Body) -> Result<UploadStatus> {
        let repository = gate.repository().map_err(|_| Error::UploadUnknown)?;
        let (core, request) = (self.clone(), self.arrived(repository, id));
        spawned(async move {
            let mut writer = core.claim(&request, Purpose::Write, body.length).await?;
            let received = writer.receive(range, body).await;
            let stored = writer.save_after(received).await?;
            Ok(UploadStatus { id: request.upload, stored })
        })
        .await
    }

    /// Appends the last body (which may be empty), checks the digest and makes the blob visible. Doing it again with the
    /// same digest is fine (protocol.md D19b).
    pub async fn finish_upload(
        &self,
        gate: &Gate,
        id: &str,
        digest: &Digest,
        range: Option<(u64, u64)>,
        body: Body,
    ) -> Result<()> {
        let repository = gate.repository().map_err(|_| Error::UploadUnknown)?;
        let (core, request, digest) = (self.clone(), self.arrived(repository, id), *digest);
        spawned(async move { core.finish(&request, &digest, range, body).await }).await
    }

    /// `POST ?digest=`: begin, append and finish in one request. A failed one leaves no upload behind.
    pub async fn upload_whole(&self, gate: &Gate, place: &Place, digest: &Digest, body: Body) -> Result<()> {
        let (status, repository) = self.begin(gate, place, Some(digest.algorithm())).await?;
        let (core, request, digest) = (self.clone(), self.arrived(repository, &status.id), *digest);
        spawned(async move {
            let finished = core.finish(&request, &digest, None, body).await;
            if finished.is_err() {
                // Best effort: what stays behind expires.
                let _ = core.abandon(repository, &status.id, Purpose::End).await;
            }
            finished
        })
        .await
    }

    fn arrived(&self, repository: i64, upload: &str) -> Request {
        Request { upload: upload.to_owned(), repository, number: self.next_request() }
    }

    async fn finish(&self, request: &Request, digest: &Digest, range: Option<(u64, u64)>, body: Body) -> Result<()> {
        let mut writer = match self.claim(request, Purpose::Write, body.length).await {
            Ok(writer) => writer,
            Err(Error::UploadUnknown) => {
                return self.finished_before(request, digest).await;
            }
            Err(other) => return Err(other),
        };
        writer.announce(digest.algorithm());
        let received = writer.receive(range, body).await;
        if received.is_err() {
            return writer.save_after(received).await.map(drop);
        }
        writer.finish(digest).await
    }

    /// A PUT that repeats one that was answered with 201: the same answer, if it names the same digest and the blob was not deleted
    /// since.
    async fn finished_before(&self, request: &Request, digest: &Digest) -> Result<()> {
        let upload = upload::show(self.db(), &request.upload, request.repository).await?;
        match upload.and_then(|upload| upload.finished) {
            Some(finished) if finished == *digest => {
                let input = (request.repository, *digest, self.options().collect_grace);
                let kept = self.db().write(input, |tx, (repository, digest, grace)| {
                    Box::pin(rows::keep_finished(tx, *repository, digest, *grace))
                });
                if kept.await? { Ok(()) } else { Err(Error::UploadUnknown) }
            }
            Some(finished) => Err(Error::DigestMismatch { expected: *digest, actual: finished }),
            None => Err(Error::UploadUnknown),
        }
    }

    /// Ends an upload without a blob.
    pub async fn cancel_upload(&self, gate: &Gate, id: &str) -> Result<()> {
        let repository = gate.repository().map_err(|_| Error::UploadUnknown)?;
        self.abandon(repository, id, Purpose::End).await
    }

    /// Takes an upload and all that it stored away.
    pub(crate) async fn abandon(&self, repository: i64, id: &str, purpose: Purpose) -> Result<()> {
        let (core, request) = (self.clone(), self.arrived(repository, id));
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
            grace: self.options().collect_grace,
        };
        Ok(self.db().write(mount, |tx, mount| Box::pin(mount.run(tx))).await.map_err(|error: DbError| error)?)
    }
}

/// A request that writes to an upload. It is numbered when it arrives: the tasks of two begin in any order.
struct Request {
    upload: String,
    repository: i64,
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

struct Begin {
    id: String,
    registry: i64,
    bucket: i64,
    name: String,
    state: String,
}

impl Begin {
    async fn run(&self, tx: &mut Tx<'_>) -> std::result::Result<Option<i64>, DbError> {
        let Some(repository) = repository::find_or_make(tx, self.registry, &self.name).await? else { return Ok(None) };
        upload::begin(tx, &self.id, repository, self.bucket, &self.state).await?;
        Ok(Some(repository))
    }
}

struct Mount {
    registry: i64,
    bucket: i64,
    name: String,
    digest: Digest,
    /// Row of the source repository; `None` = any of the registry.
    source: Option<i64>,
    grace: i64,
}

impl Mount {
    async fn run(&self, tx: &mut Tx<'_>) -> std::result::Result<bool, DbError> {
        let found = match self.source {
            Some(source) => blob::find_linked(tx, source, self.bucket, &self.digest).await?,
            None => blob::find_in_registry(tx, self.registry, self.bucket, &self.digest).await?,
        };
        let Some(found) = found else { return Ok(false) };
        let Some(repository) = repository::find_or_make(tx, self.registry, &self.name).await? else { return Ok(false) };
        blob::link(tx, self.registry, repository, found, self.grace).await?;
        Ok(true)
    }
}
