//! The one writer of an upload: holds the claim, stores the body, saves what became durable.

use std::time::Duration;

use futures::{StreamExt, future::BoxFuture};
use roadstead_blobs::{Appender, BlobError, FinishError, Stored, UploadState};
use roadstead_db::{
    DbError, Tx,
    upload::{self, Claim, Purpose},
};
use roadstead_model::{Algorithm, Digest};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use super::{
    Body, LEASE, Request,
    rows::{Begin, End, Finish, Save},
};
use crate::{Core, Error, Result, core::Writing, quotas::Room};

/// How often a claim that is held elsewhere is asked for again.
const RETRY: Duration = Duration::from_millis(100);

impl Core {
    /// Claims an upload for writing. A request of the same upload that this process still serves is stopped first (its
    /// client has gone on to this request); one on another node is waited for until its lease ends.
    pub(super) async fn claim(&self, request: &Request, purpose: Purpose, length: Option<u64>) -> Result<Writer> {
        let (id, repository) = (&request.row, request.repository);
        let stop = CancellationToken::new();
        let mut leased = i64::MAX;
        let (claim, registered) = loop {
            let Some(registered) = self.register_writer(request, purpose, &stop)? else {
                tokio::time::sleep(RETRY).await;
                continue;
            };
            if let Some(claim) = self.take_claim(request, purpose, length).await? {
                break (claim, registered);
            }
            drop(registered);
            // It is not idle any more, and waiting would be until it is.
            if matches!(purpose, Purpose::Expire(_)) {
                return Err(Error::UploadBusy);
            }
            let upload = upload::show(self.db(), id, repository).await?.ok_or(Error::UploadUnknown)?;
            if upload.over.is_some() {
                return Err(Error::UploadUnknown);
            }
            // A lease that grows is a living writer on another node.
            if upload.leased > leased {
                return Err(Error::UploadBusy);
            }
            leased = upload.leased;
            tokio::time::sleep(RETRY).await;
        };
        let mut state = UploadState::from_text(&claim.state)?;
        let left = state.claimed(claim.epoch);
        let bucket = self.bucket(claim.bucket)?.clone();
        let renewal = tokio::spawn(renew(self.clone(), id.clone(), claim.epoch, stop.clone()));
        Ok(Writer {
            core: self.clone(),
            id: id.clone(),
            _registered: registered,
            _renewal: AbortOnDropHandle::new(renewal),
            repository: claim.repository,
            bucket_row: claim.bucket,
            bucket,
            epoch: claim.epoch,
            size: claim.size,
            length,
            begun: state.clone(),
            state,
            left,
            appender: None,
            stop,
            broken: false,
            full: false,
            limited: request.limited,
        })
    }

    /// The claim of a row that there is, or of one that is made now.
    async fn take_claim(&self, request: &Request, purpose: Purpose, length: Option<u64>) -> Result<Option<Claim>> {
        let mut new = request.new.as_ref().filter(|_| purpose == Purpose::Write);
        if new.is_some() && upload::show(self.db(), &request.row, None).await?.is_some() {
            new = None;
        }
        let Some(new) = new else {
            let input = (request.row.clone(), request.repository, purpose, self.is_alone());
            return Ok(match self.is_self_contained() {
                true => self.db().write_unsynced(input, claim).await?,
                false => self.db().write(input, claim).await?,
            });
        };
        let bucket = self.bucket(new.bucket)?;
        let begin = Begin {
            id: request.row.clone(),
            new: new.clone(),
            state: UploadState::new(bucket.fresh_key(), new.announced).to_text(),
            lease: LEASE,
        };
        // A file must not outlive the row that names it; what is small is in no file.
        if self.is_self_contained() && length.is_some_and(|length| bucket.is_small(length)) {
            self.db().write_unsynced(begin, |tx, begin| Box::pin(begin.run(tx))).await
        } else {
            self.db().write(begin, |tx, begin| Box::pin(begin.run(tx))).await
        }
    }

    /// Registers this request as the upload's writer here. `None`: an older one is still there; it was told to stop. An error:
    /// a newer one is there, or any where the upload was thought to be idle.
    pub(super) fn register_writer(
        &self,
        request: &Request,
        purpose: Purpose,
        stop: &CancellationToken,
    ) -> Result<Option<Registered>> {
        let mut writers = self.writers();
        if let Some(other) = writers.get(&request.row) {
            if other.request > request.number || matches!(purpose, Purpose::Expire(_)) {
                return Err(Error::UploadBusy);
            }
            other.stop.cancel();
            return Ok(None);
        }
        writers.insert(request.row.clone(), Writing { request: request.number, stop: stop.clone() });
        Ok(Some(Registered { core: self.clone(), id: request.row.clone() }))
    }
}

fn claim<'t>(
    tx: &'t mut Tx<'_>,
    (id, repository, purpose, alone): &'t (String, Option<i64>, Purpose, bool),
) -> BoxFuture<'t, std::result::Result<Option<Claim>, DbError>> {
    Box::pin(upload::claim(tx, id, *repository, *purpose, LEASE, *alone))
}

/// Holds the claim for as long as the writer lives, however long storage takes. When the claim is lost, or may be since it could not
/// be renewed for as long as it lasts, the writer stops.
async fn renew(core: Core, id: String, epoch: i64, stop: CancellationToken) {
    let lease = Duration::from_micros(LEASE.unsigned_abs());
    let mut renewed_at = tokio::time::Instant::now();
    loop {
        tokio::time::sleep(lease / 3).await;
        let asked_at = tokio::time::Instant::now();
        let renewed = core
            .db()
            .write((id.clone(), epoch), |tx, (id, epoch)| Box::pin(upload::renew(tx, id, *epoch, LEASE)))
            .await
            .map_err(|error: DbError| error);
        match renewed {
            Ok(true) => renewed_at = asked_at,
            Ok(false) => return stop.cancel(),
            Err(error) if renewed_at.elapsed() >= lease => {
                tracing::warn!(%error, "an upload's claim was not renewed in time: its writer stops");
                return stop.cancel();
            }
            // The next try may come in time; saving asks for the claim in any case.
            Err(error) => tracing::warn!(%error, "an upload's claim could not be renewed"),
        }
    }
}

/// This process writes to an upload, until this is dropped.
pub(super) struct Registered {
    core: Core,
    id: String,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.core.writers().remove(&self.id);
    }
}

/// A claimed upload.
pub(super) struct Writer {
    core: Core,
    id: String,
    _registered: Registered,
    _renewal: AbortOnDropHandle<()>,
    repository: i64,
    bucket_row: i64,
    bucket: roadstead_blobs::Bucket,
    epoch: i64,
    /// Bytes that the row says are stored: the compare-and-set of the next save.
    size: i64,
    length: Option<u64>,
    /// The state that the request began with: the most that its client may know of.
    begun: UploadState,
    /// The state that the row holds.
    state: UploadState,
    /// Objects that writers before this one may have left or may still leave behind: their processes died, or sleep.
    left: Vec<String>,
    appender: Option<Appender>,
    stop: CancellationToken,
    /// Storage or claim is lost: nothing more may be saved.
    broken: bool,
    /// The bucket has no room.
    full: bool,
    /// A quota of bytes is to be looked at in the end.
    limited: bool,
}

impl Writer {
    /// Tells the algorithm of the digest, if nothing is stored yet.
    pub(super) fn announce(&mut self, algorithm: Algorithm) {
        self.state.announce(algorithm);
    }

    /// Stores a body as it comes. On an error what arrived can still be saved.
    pub(super) async fn receive(&mut self, range: Option<(u64, u64)>, body: Body, room: &Room) -> Result<()> {
        let start = self.state.offset();
        if let Some((first, last)) = range {
            let announced = last.checked_sub(first).map(|length| length + 1);
            if first != start || announced.is_none() || body.length.is_some_and(|length| Some(length) != announced) {
                return Err(Error::UploadOffset { stored: start });
            }
        }
        let end = range.map(|(_, last)| last + 1).or(body.length.map(|length| start + length));
        self.check_size(end.unwrap_or(start), room)?;
        let mut stream = body.stream;
        loop {
            let chunk = tokio::select! {
                chunk = stream.next() => chunk,
                () = self.stop.cancelled() => return Err(Error::UploadBusy),
            };
            let offset = self.offset();
            match chunk {
                None if end.is_some_and(|end| end != offset) => return Err(Error::BodyBroken { stored: offset }),
                None => return Ok(()),
                Some(Err(_)) => return Err(Error::BodyBroken { stored: offset }),
                Some(Ok(chunk)) => {
                    let after = offset + chunk.len() as u64;
                    if end.is_some_and(|end| after > end) {
                        self.broken = range.is_some();
                        return Err(Error::UploadOffset { stored: start });
                    }
                    self.check_size(after, room)?;
                    self.write(chunk).await?;
                }
            }
        }
    }

    fn check_size(&self, size: u64, room: &Room) -> Result<()> {
        room.check(size)?;
        let limit = self.core.options().blob_bytes;
        if limit != 0 && size > limit { Err(Error::TooLarge { limit }) } else { Ok(()) }
    }

    fn offset(&self) -> u64 {
        self.appender.as_ref().map_or(self.state.offset(), Appender::offset)
    }

    async fn write(&mut self, chunk: bytes::Bytes) -> Result<()> {
        let mut appender = self.open_appender().await?;
        let written = appender.write(chunk).await;
        let checkpoint = appender.checkpoint();
        self.appender = Some(appender);
        if let Some(state) = checkpoint {
            self.save_state(state, LEASE).await?;
        }
        written.map_err(|error| self.storage_failed(error))
    }

    async fn open_appender(&mut self) -> Result<Appender> {
        match self.appender.take() {
            Some(appender) => Ok(appender),
            None => {
                let opened = self.bucket.append(self.state.clone(), self.length).await;
                opened.map_err(|error| self.storage_failed(error))
            }
        }
    }

    /// What an upload had stored may be gone from the bucket: then the client has to begin again.
    fn storage_failed(&mut self, error: BlobError) -> Error {
        // Where only the memory for more is used up, what came so far is kept.
        self.broken |= error != BlobError::NoMemory;
        self.full |= error == BlobError::Full;
        match error {
            BlobError::Missing => Error::UploadUnknown,
            other => other.into(),
        }
    }

    fn must_hold(&mut self, held: bool) -> Result<()> {
        if !held {
            self.broken = true;
            return Err(Error::UploadBusy);
        }
        Ok(())
    }

    /// Makes everything that was written durable, saves it and gives the claim back. Bytes that are stored now; or what became of
    /// the body, with what is really stored (protocol.md D19). What does not fit into a quota is not kept: the upload is over.
    pub(super) async fn save_after(self, received: Result<()>) -> Result<u64> {
        if let Err(error @ Error::QuotaFull(_)) = received {
            self.discard().await?;
            return Err(error);
        }
        let stored = self.save().await?;
        match received {
            Ok(()) => Ok(stored),
            Err(Error::BodyBroken { .. }) => Err(Error::BodyBroken { stored }),
            Err(other) => Err(other),
        }
    }

    async fn save(mut self) -> Result<u64> {
        if self.full {
            self.cut_back().await;
        }
        if self.broken {
            self.release().await;
            return Ok(self.state.offset());
        }
        match self.appender.take() {
            None => {
                self.release().await;
            }
            Some(mut appender) => match appender.flush().await {
                Ok(state) => self.save_state(state, 0).await?,
                Err(error) => {
                    let error = self.storage_failed(error);
                    if self.full {
                        self.cut_back().await;
                    }
                    self.release().await;
                    return Err(error);
                }
            },
        }
        Ok(self.state.offset())
    }

    /// On a full disk: lets go of all that this request brought. Its client was told of none of it, most clients begin anew, and what lay
    /// there until the upload expires would keep others from having the room.
    async fn cut_back(&mut self) {
        self.appender = None;
        // A file that several nodes may write to can be another's by the time that it is cut; an object store has nothing to cut, and
        // the tail that this request began with may be on its way out.
        if self.bucket.is_shared() || !self.core.is_alone() {
            return;
        }
        let kept = self.begun.clone();
        // The row says so first: it may never speak of bytes that are not there.
        match self.save_state(kept, LEASE).await {
            Ok(()) => {}
            Err(Error::UploadBusy) => return,
            Err(error) => tracing::warn!(%error, detail = ?error, "an upload without room stays as it was last saved"),
        }
        if let Err(error) = self.bucket.cut_back(&self.state).await {
            tracing::warn!(%error, "what an upload stored last could not be removed");
        }
    }

    /// Compare-and-set of the row; `lease` 0 gives the claim back.
    async fn save_state(&mut self, mut state: UploadState, lease: i64) -> Result<()> {
        state.accounted(self.epoch, lease == 0);
        let size = i64::try_from(state.offset()).map_err(|_| Error::TooLarge { limit: i64::MAX.unsigned_abs() })?;
        let save = Save {
            id: self.id.clone(),
            claim: (self.epoch, self.size),
            size,
            text: state.to_text(),
            lease,
            bucket: self.bucket_row,
            superseded: state.superseded().to_vec(),
            left: std::mem::take(&mut self.left),
        };
        let saved = self.core.db().write(save, |tx, save| Box::pin(save.run(tx))).await.map_err(|error: DbError| error);
        match saved {
            Ok(saved) => {
                self.must_hold(saved)?;
                self.size = size;
                self.state = state;
                Ok(())
            }
            Err(error) => {
                self.broken = true;
                self.full |= matches!(error, DbError::Full(_));
                Err(error.into())
            }
        }
    }

    /// Gives the claim back; if that fails, it ends with its lease.
    async fn release(&self) {
        let input = (self.id.clone(), self.epoch);
        let released = self.core.db().write(input, |tx, (id, epoch)| Box::pin(upload::release(tx, id, *epoch))).await;
        if let Err(error) = released.map_err(|error: DbError| error) {
            tracing::warn!(%error, "an upload's claim could not be given back");
        }
    }

    /// Checks the digest and makes the blob visible; the row is finished and the blob linked in one transaction, after
    /// the object is durable.
    pub(super) async fn finish(mut self, digest: &Digest) -> Result<()> {
        let appender = self.open_appender().await?;
        let finished = match appender.finish(digest).await {
            Ok(finished) => finished,
            Err(FinishError::Mismatch { actual }) => {
                self.discard().await?;
                return Err(Error::DigestMismatch { expected: *digest, actual });
            }
            Err(FinishError::Blob(error)) => {
                let error = self.storage_failed(error);
                if self.full {
                    self.cut_back().await;
                }
                self.release().await;
                return Err(error);
            }
        };
        // An object that another writer may still store under the first key: of no use when it is not the blob's.
        let left_behind = self.state.left_behind().filter(|key| finished.stored != Stored::Object((*key).to_owned()));
        self.left.extend(left_behind.map(str::to_owned));
        let finish = Finish {
            id: self.id.clone(),
            epoch: self.epoch,
            repository: self.repository,
            bucket: self.bucket_row,
            digest: *digest,
            size: i64::try_from(finished.size).map_err(|_| Error::TooLarge { limit: i64::MAX.unsigned_abs() })?,
            stored: finished.stored,
            superseded: finished.superseded,
            left: self.left.clone(),
            limited: self.limited,
            grace: self.core.options().collect_grace,
        };
        match self.core.db().write(finish, |tx, finish| Box::pin(finish.run(tx))).await {
            Ok(()) => Ok(()),
            // It is of no use to anybody, and takes room.
            Err(error @ Error::QuotaFull(_)) => {
                self.discard().await?;
                Err(error)
            }
            Err(error) => {
                if matches!(error, Error::Full(_)) {
                    self.cut_back().await;
                }
                self.release().await;
                Err(error)
            }
        }
    }

    /// Takes the upload and all that it stored away. The row says so first: whoever lost the claim unknowingly would remove the
    /// object of a blob that another writer made of the upload meanwhile.
    pub(super) async fn discard(mut self) -> Result<()> {
        self.appender = None;
        let input = (self.id.clone(), self.epoch);
        let begun = self
            .core
            .db()
            .write(input, |tx, (id, epoch)| Box::pin(upload::begin_end(tx, id, *epoch)))
            .await
            .map_err(|error: DbError| error)?;
        self.must_hold(begun)?;
        if let Err(error) = self.bucket.abort(&self.state).await {
            self.release().await;
            return Err(error.into());
        }
        self.left.extend(self.state.left_behind().map(str::to_owned));
        let end = End {
            id: self.id.clone(),
            epoch: self.epoch,
            bucket: self.bucket_row,
            left: std::mem::take(&mut self.left),
        };
        let ended = self.core.db().write(end, |tx, end| Box::pin(end.run(tx))).await;
        self.must_hold(ended.map_err(|error: DbError| error)?)
    }
}
