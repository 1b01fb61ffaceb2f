//! An object store as bucket: S3, Google Cloud Storage or Azure, over one client library.

mod connect;
mod failure;
pub(crate) mod rules;
mod write;

use std::{future::Future, ops::Range, sync::Arc, time::Duration};

use bytes::{Buf, Bytes, BytesMut};
use futures::{Stream, StreamExt, TryStreamExt};
use http::Method;
use object_store::{
    GetOptions, GetRange, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload,
    multipart::MultipartStore,
    path::Path,
    signer::{SignedUrlOptions, Signer},
};
use roadstead_model::Reach;

use self::failure::{is_unheard, reading, storing};
pub(crate) use self::write::ObjectAppender;
use crate::{
    BlobError, BucketOptions, ByteBody, KeySource, MemoryBudget, MemoryUse, UploadState, budget::SharePieces,
    buffer::BufferPool, directory::SMALL_BYTES, key,
};

/// What the HTTP client holds of a download beyond what was asked of it, at most: its read buffer grows to 408 KiB.
const AHEAD_BYTES: u64 = 448 << 10;

/// A download from a store is handed out in pieces of so many bytes,
const PIECE_BYTES: usize = 64 << 10;

/// and not more of them at a time: one is sent while the next is fetched.
const PIECES: usize = 2;

/// How often a whole object is sent at most when the connection broke before its answer.
const PUT_TRIES: u32 = 3;

/// What a store must be able to do.
pub(crate) trait Store: ObjectStore + MultipartStore {}
impl<T: ObjectStore + MultipartStore> Store for T {}

pub(crate) struct Objects {
    kind_name: &'static str,
    store: Arc<dyn Store>,
    /// Signs our own requests, for what the client library has no call for.
    own_signer: Arc<dyn Signer>,
    /// Signs for clients, who may know the store by another address than we do.
    signer: Arc<dyn Signer>,
    /// Signs for clients inside the network, where an address was configured that they reach.
    private_signer: Option<Arc<dyn Signer>>,
    /// For the addresses that [`crate::Bucket::check`] tries.
    http: reqwest::Client,
    redirect: bool,
    presign_lifetime: Duration,
    part_bytes: u64,
    part_timeout: Duration,
    keys: KeySource,
    pool: BufferPool,
    budget: MemoryBudget,
}

impl Objects {
    pub(crate) fn open(options: &BucketOptions, budget: MemoryBudget) -> Result<Self, BlobError> {
        connect::connect(options, budget)
    }

    pub(crate) fn kind_name(&self) -> &'static str {
        self.kind_name
    }

    pub(crate) async fn read(&self, key: &str, range: Range<u64>) -> Result<ByteBody, BlobError> {
        let path = path(key)?;
        if range.is_empty() {
            // No store can be asked for no bytes.
            return Ok(ByteBody::empty());
        }
        let length = range.end - range.start;
        let memory = length.min(AHEAD_BYTES) + length.min(PIECES as u64 * PIECE_BYTES as u64);
        let share = self.budget.take(MemoryUse::Reading, memory).await?;
        let options = GetOptions { range: Some(GetRange::Bounded(range.clone())), ..GetOptions::default() };
        let found = self.within(self.store.get_opts(&path, options), reading).await?;
        if found.range != range {
            let (start, end) = (found.range.start, found.range.end);
            let words = format!("object {key} gave bytes {start}-{end} of {}-{}", range.start, range.end);
            return Err(BlobError::Internal(words));
        }
        let pieces = SharePieces::new(share, PIECES);
        Ok(ByteBody::stream(in_pieces(found.into_stream(), pieces, self.pool.clone()).boxed(), length))
    }

    pub(crate) async fn presign(&self, key: &str, reach: Reach) -> Result<Option<String>, BlobError> {
        let signer = match reach {
            Reach::Public => Some(&self.signer).filter(|_| self.redirect),
            Reach::Private => self.private_signer.as_ref(),
        };
        let Some(signer) = signer else { return Ok(None) };
        let path = path(key)?;
        let signed = signer.signed_url(Method::GET, &path, self.presign_lifetime);
        Ok(Some(self.within(signed, reading).await?.into()))
    }

    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>, BlobError> {
        let path = path(key)?;
        match self.within(self.store.head(&path), reading).await {
            Ok(found) => Ok(Some(found.size)),
            Err(BlobError::Missing) => Ok(None),
            Err(error) => Err(error),
        }
    }

    pub(crate) async fn delete(&self, key: &str) -> Result<(), BlobError> {
        let path = path(key)?;
        match self.within(self.store.delete(&path), reading).await {
            Err(BlobError::Missing) => Ok(()),
            other => other,
        }
    }

    pub(crate) async fn put_small(&self, key: &str, bytes: Bytes, only_new: bool) -> Result<bool, BlobError> {
        let mode = if only_new { PutMode::Create } else { PutMode::Overwrite };
        self.put(key, PutPayload::from_bytes(bytes), mode).await
    }

    /// Stores a whole object. False: with [`PutMode::Create`], there is one already.
    pub(crate) async fn put(&self, key: &str, payload: PutPayload, mode: PutMode) -> Result<bool, BlobError> {
        let path = path(key)?;
        let options = PutOptions { mode, ..PutOptions::default() };
        let stored = async {
            let mut tries_left = PUT_TRIES;
            loop {
                tries_left -= 1;
                match self.store.put_opts(&path, payload.clone(), options.clone()).await {
                    // The client library repeats no conditional request whose answer was lost. It may have been carried out: then it
                    // is answered that there is one already, which under a fresh key is ours.
                    Err(error) if tries_left > 0 && is_unheard(&error) => {}
                    stored => return stored,
                }
            }
        };
        match tokio::time::timeout(self.part_timeout, stored).await {
            Ok(Ok(_)) => Ok(true),
            Ok(Err(object_store::Error::AlreadyExists { .. })) => Ok(false),
            Ok(Err(error)) => Err(storing(error)),
            Err(_) => Err(self.too_late()),
        }
    }

    pub(crate) async fn get_small(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        let path = path(key)?;
        let found = match self.within(self.store.get(&path), reading).await {
            Ok(found) if found.meta.size <= SMALL_BYTES => found,
            Ok(_) => return Err(BlobError::Internal("the object is larger than such an object should be".to_owned())),
            Err(BlobError::Missing) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut bytes = BytesMut::new();
        let mut stream = found.into_stream();
        while let Some(more) = self.within(stream.try_next(), reading).await? {
            bytes.extend_from_slice(&more);
        }
        Ok(Some(bytes.freeze()))
    }

    pub(crate) async fn abort(&self, state: &UploadState) -> Result<(), BlobError> {
        let target = path(&state.key)?;
        if let Some(multipart) = &state.multipart {
            match self.within(self.store.abort_multipart(&target, &multipart.id), reading).await {
                Ok(()) | Err(BlobError::Missing) => {}
                Err(error) => return Err(error),
            }
        }
        // The last one may be there from a finish that no transaction followed.
        let tail = state.tail.iter().map(|tail| &tail.key);
        for key in state.superseded.iter().chain(tail).chain([&state.key]) {
            self.delete(key).await?;
        }
        Ok(())
    }

    pub(crate) fn part_bytes(&self) -> u64 {
        self.part_bytes
    }

    pub(crate) fn http(&self) -> &reqwest::Client {
        &self.http
    }

    /// A signed address of our own endpoint that lists the parts of an upload; `None` where there is no such thing.
    pub(crate) async fn list_parts_address(&self, state: &UploadState) -> Result<Option<String>, BlobError> {
        let (Some(multipart), "s3") = (&state.multipart, self.kind_name) else { return Ok(None) };
        self.own_address(&path(&state.key)?, ("uploadId", &multipart.id)).await.map(Some)
    }

    /// A signed address of our own endpoint that reads a setting of the bucket, such as `lifecycle`; `None` where there is no such thing.
    pub(crate) async fn settings_address(&self, setting: &str) -> Result<Option<String>, BlobError> {
        if self.kind_name != "s3" {
            return Ok(None);
        }
        self.own_address(&Path::default(), (setting, "")).await.map(Some)
    }

    async fn own_address(&self, target: &Path, parameter: (&str, &str)) -> Result<String, BlobError> {
        let query = SignedUrlOptions::new().with_query([parameter]);
        let signed = self.own_signer.signed_url_opts(Method::GET, target, self.presign_lifetime, &query);
        Ok(self.within(signed, reading).await?.into())
    }

    /// One request, retries included, ends within the time that is promised to the holder of the lease.
    async fn within<T>(
        &self,
        request: impl Future<Output = Result<T, object_store::Error>>,
        words: fn(object_store::Error) -> BlobError,
    ) -> Result<T, BlobError> {
        match tokio::time::timeout(self.part_timeout, request).await {
            Ok(answer) => answer.map_err(words),
            Err(_) => Err(self.too_late()),
        }
    }

    fn too_late(&self) -> BlobError {
        BlobError::Unavailable(format!("the object store gave no answer within {:?}", self.part_timeout))
    }
}

/// Hands out what comes, copied into memory of known size; the next is asked for only when a piece was dropped.
fn in_pieces(
    stream: impl Stream<Item = object_store::Result<Bytes>> + Send + Unpin + 'static,
    pieces: SharePieces,
    pool: BufferPool,
) -> impl Stream<Item = Result<Bytes, BlobError>> + Send {
    futures::stream::try_unfold((stream, Bytes::new()), move |(mut stream, mut left)| {
        let (pieces, pool) = (pieces.clone(), pool.clone());
        async move {
            let piece = pieces.take().await;
            while left.is_empty() {
                match stream.try_next().await.map_err(reading)? {
                    Some(more) => left = more,
                    None => return Ok(None),
                }
            }
            let mut buffer = pool.buffer(left.len().min(PIECE_BYTES));
            buffer.hold(piece);
            left.advance(buffer.fill(&left, PIECE_BYTES));
            Ok(Some((buffer.into_bytes(), (stream, left))))
        }
    })
}

fn path(key: &str) -> Result<Path, BlobError> {
    Path::parse(key::path_of(key)?).map_err(|error| BlobError::Refused(format!("{key:?} is no object key: {error}")))
}
