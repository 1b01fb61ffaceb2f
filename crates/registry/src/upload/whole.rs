//! A small blob that is sent whole to an upload to which nothing was sent before, as configs and signatures are: one transaction.

use bytes::Bytes;
use futures::{StreamExt, stream};
use roadstead_blobs::{Stored, UploadState};
use roadstead_model::Digest;

use super::{Body, BodyError, Request, rows::Whole};
use crate::{Core, Result};

impl Core {
    /// Makes a blob of a small body. Where that is not the whole story (its upload has a row, the body breaks off, has another
    /// digest or finds no room) nothing has happened, and the body is given back: the long way knows what to do with it.
    pub(super) async fn finish_at_once(
        &self,
        request: &Request,
        digest: &Digest,
        range: Option<(u64, u64)>,
        body: Body,
    ) -> Result<Option<Body>> {
        let (Some(new), Some(length)) = (&request.new, body.length) else { return Ok(Some(body)) };
        let bucket = self.bucket(new.bucket)?;
        let limit = self.options().blob_bytes;
        let fits = bucket.is_small(length) && (limit == 0 || length <= limit);
        let announced = range.map(|(first, last)| (first, last.checked_add(1)));
        if !fits || announced.is_some_and(|announced| announced != (0, Some(length))) {
            return Ok(Some(body));
        }
        let mut taken = Taken { chunks: Vec::new(), failed: None, body };
        let mut appender = bucket.append(UploadState::new(String::new(), None), Some(length)).await?;
        while let Some(chunk) = taken.next().await {
            if appender.offset() + chunk.len() as u64 > length || appender.write(chunk).await.is_err() {
                return Ok(Some(taken.give_back()));
            }
        }
        if taken.failed.is_some() || appender.offset() != length {
            return Ok(Some(taken.give_back()));
        }
        let Ok(finished) = appender.finish(digest).await else { return Ok(Some(taken.give_back())) };
        let Stored::Bytes(bytes) = finished.stored else { return Ok(Some(taken.give_back())) };
        let whole = Whole {
            id: request.row.clone(),
            new: new.clone(),
            digest: *digest,
            size: i64::try_from(length).unwrap_or(i64::MAX),
            bytes,
            grace: self.options().collect_grace,
        };
        let done = self.db().write(whole, |tx, whole| Box::pin(whole.run(tx))).await?;
        Ok(if done { None } else { Some(taken.give_back()) })
    }
}

/// A body of which some was taken.
struct Taken {
    chunks: Vec<Bytes>,
    failed: Option<BodyError>,
    body: Body,
}

impl Taken {
    async fn next(&mut self) -> Option<Bytes> {
        match self.body.stream.next().await? {
            Ok(chunk) => {
                self.chunks.push(chunk.clone());
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
        let taken = self.chunks.into_iter().map(Ok).chain(self.failed.map(Err));
        Body { stream: stream::iter(taken).chain(self.body.stream).boxed(), length: self.body.length }
    }
}
