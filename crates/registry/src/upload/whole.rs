//! A small blob that is sent whole to an upload to which nothing was sent before, as configs and signatures are: one transaction.

use bytes::{Bytes, BytesMut};
use futures::{StreamExt, stream};
use roadstead_blobs::{FinishError, Stored, UploadState};
use roadstead_db::upload::Purpose;
use roadstead_model::Digest;
use tokio_util::sync::CancellationToken;

use super::{Body, BodyError, Request, rows::Whole};
use crate::{Core, Error, Result, quotas::Room};

/// What became of a body.
pub(super) enum AtOnce {
    /// It is a blob.
    Done,
    /// Nothing has happened, and here it is: the long way knows what to do with it. With where it begins and ends, where that is known.
    Not(Body, Option<(u64, u64)>),
}

impl Core {
    /// Makes a blob of a small body, unless that is not the whole story: its upload has a row, the body breaks off, has another digest or does not fit.
    pub(super) async fn finish_at_once(
        &self,
        request: &Request,
        digest: &Digest,
        range: Option<(u64, u64)>,
        body: Body,
        room: &Room,
    ) -> Result<AtOnce> {
        let (Some(new), Some(length)) = (&request.new, body.length) else { return Ok(AtOnce::Not(body, range)) };
        let bucket = self.bucket(new.bucket)?;
        let limit = self.options().blob_bytes;
        let fits = bucket.is_small(length) && (limit == 0 || length <= limit) && room.check(length).is_ok();
        let announced = range.map(|(first, last)| (first, last.checked_add(1)));
        if !fits || announced.is_some_and(|announced| announced != (0, Some(length))) {
            return Ok(AtOnce::Not(body, range));
        }
        // As any writer: a newer request stops this one, and an older one is waited for on the long way.
        let stop = CancellationToken::new();
        let Some(_registered) = self.register_writer(request, Purpose::Write, &stop)? else {
            return Ok(AtOnce::Not(body, range));
        };
        let mut appender = bucket.append(UploadState::new(String::new(), None), Some(length)).await?;
        let mut taken = Taken { bytes: BytesMut::new(), failed: None, body };
        loop {
            let chunk = tokio::select! {
                chunk = taken.next() => chunk,
                () = stop.cancelled() => return Err(Error::UploadBusy),
            };
            let Some(chunk) = chunk else { break };
            if appender.offset() + chunk.len() as u64 > length {
                return Ok(AtOnce::Not(taken.give_back(), range));
            }
            appender.write(chunk).await?;
        }
        if taken.failed.is_some() || appender.offset() != length {
            return Ok(AtOnce::Not(taken.give_back(), range));
        }
        let bytes = match appender.finish(digest).await {
            Ok(finished) => match finished.stored {
                Stored::Bytes(bytes) => bytes,
                Stored::Object(_) => return Err(Error::Internal("a small upload became an object".to_owned())),
            },
            Err(FinishError::Mismatch { .. }) => return Ok(AtOnce::Not(taken.give_back(), range)),
            Err(FinishError::Blob(error)) => return Err(error.into()),
        };
        let whole = Whole {
            id: request.row.clone(),
            new: new.clone(),
            digest: *digest,
            size: i64::try_from(length).unwrap_or(i64::MAX),
            bytes,
            limited: request.limited,
            grace: self.options().collect_grace,
        };
        if self.db().write(whole, |tx, whole| Box::pin(whole.run(tx))).await? {
            return Ok(AtOnce::Done);
        }
        // There is a row. It has the right digest by itself, so it begins where the upload begins.
        Ok(AtOnce::Not(taken.give_back(), length.checked_sub(1).map(|last| (0, last))))
    }
}

/// A body of which some was taken.
struct Taken {
    bytes: BytesMut,
    failed: Option<BodyError>,
    body: Body,
}

impl Taken {
    async fn next(&mut self) -> Option<Bytes> {
        match self.body.stream.next().await? {
            Ok(chunk) => {
                self.bytes.extend_from_slice(&chunk);
                Some(chunk)
            }
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    /// The body as it was before.
    fn give_back(self) -> Body {
        let taken = [Ok(self.bytes.freeze())].into_iter().chain(self.failed.map(Err));
        Body { stream: stream::iter(taken).chain(self.body.stream).boxed(), length: self.body.length }
    }
}
