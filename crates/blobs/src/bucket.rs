//! The public face of a bucket, over both kinds of storage.

use std::{ops::Range, sync::Arc};

use bytes::Bytes;
use roadstead_model::Reach;

use crate::{
    Appender, BlobError, BucketKind, BucketOptions, ByteBody, KeySource, MemoryBudget, UploadState, check,
    directory::Directory, objects::Objects,
};

/// A place where objects lie under keys. Cheap to clone.
#[derive(Clone)]
pub struct Bucket {
    pub(crate) storage: Storage,
    keys: KeySource,
    pub(crate) small_bytes: usize,
    pub(crate) budget: MemoryBudget,
}

/// A bucket that this process holds, where only one may.
#[derive(Debug)]
pub struct Hold {
    _lock: Option<std::fs::File>,
}

#[derive(Clone)]
pub(crate) enum Storage {
    Directory(Arc<Directory>),
    Objects(Arc<Objects>),
}

impl Bucket {
    /// Opens a bucket: makes the directory if needed, reads certificates and settings; an object store is not asked yet
    /// ([`Bucket::check`] does that). [`BlobError::Refused`] says in words what the operator has to change.
    pub async fn open(options: BucketOptions, budget: MemoryBudget) -> Result<Self, BlobError> {
        let keys = options.keys.clone();
        let small_bytes = options.small_bytes;
        let storage = match &options.kind {
            BucketKind::Directory { path, shared } => Storage::Directory(Arc::new(
                Directory::open(path.clone(), *shared, options.reserve_bytes, options.keys.clone(), budget.clone())
                    .await?,
            )),
            BucketKind::S3(_) | BucketKind::Gcs(_) | BucketKind::Azure(_) => {
                Storage::Objects(Arc::new(Objects::open(&options, budget.clone())?))
            }
        };
        Ok(Self { storage, keys, small_bytes, budget })
    }

    /// Tries all that a running service needs: writes, reads, ranges, a resumed upload, a presigned address fetched by a
    /// plain HTTP client, conditional put, delete, and that no setting of the bucket removes or keeps objects. What is no trouble but
    /// should be known, if anything; fails with words for an operator.
    pub async fn check(&self) -> Result<Option<String>, BlobError> {
        self.check_with(&self.fresh_key()).await
    }

    /// The same with objects whose keys follow from this fresh one, so that [`Bucket::sweep_check`] finds what a check has left whose
    /// process died; but for parts of an upload, for which the bucket should have a rule.
    pub async fn check_with(&self, key: &str) -> Result<Option<String>, BlobError> {
        check::check(self, key).await
    }

    /// Removes all that a check with this key may have left.
    pub async fn sweep_check(&self, key: &str) -> Result<(), BlobError> {
        check::sweep(self, key).await
    }

    /// The kind in one word: `directory`, `s3`, `gcs` or `azure`.
    pub fn kind_name(&self) -> &'static str {
        match &self.storage {
            Storage::Directory(_) => "directory",
            Storage::Objects(objects) => objects.kind_name(),
        }
    }

    /// Whether several nodes may use it at once: an object store, or a directory that the operator declared shared.
    pub fn is_shared(&self) -> bool {
        match &self.storage {
            Storage::Directory(directory) => directory.is_shared(),
            Storage::Objects(_) => true,
        }
    }

    /// Claims the bucket for this process as long as the answer lives, where it can serve one node only: a directory that
    /// was not declared shared. [`BlobError::Refused`]: another process holds it.
    pub fn hold(&self) -> Result<Hold, BlobError> {
        match &self.storage {
            Storage::Directory(directory) if !directory.is_shared() => Ok(Hold { _lock: Some(directory.hold()?) }),
            _ => Ok(Hold { _lock: None }),
        }
    }

    /// A key that no object has.
    pub fn fresh_key(&self) -> String {
        self.keys.fresh()
    }

    /// The bytes `range` of an object. The range must lie within the object, whose size the database knows: a store that
    /// gives less fails the body, it never looks whole.
    pub async fn read(&self, key: &str, range: Range<u64>) -> Result<ByteBody, BlobError> {
        match &self.storage {
            Storage::Directory(directory) => directory.read(key, range).await,
            Storage::Objects(objects) => Box::pin(objects.read(key, range)).await,
        }
    }

    /// An address by which anyone can GET the object for as long as the options say (60 s), of a host that is reached from there;
    /// `None` on a directory or where redirects are off. Nobody looks whether the object is there.
    pub async fn presign(&self, key: &str, reach: Reach) -> Result<Option<String>, BlobError> {
        match &self.storage {
            Storage::Directory(_) => Ok(None),
            Storage::Objects(objects) => Box::pin(objects.presign(key, reach)).await,
        }
    }

    /// The size of an object in bytes, `None` if there is no such object.
    pub async fn size(&self, key: &str) -> Result<Option<u64>, BlobError> {
        match &self.storage {
            Storage::Directory(directory) => directory.size(key).await,
            Storage::Objects(objects) => objects.size(key).await,
        }
    }

    /// Deletes an object; one that is not there is deleted already.
    pub async fn delete(&self, key: &str) -> Result<(), BlobError> {
        match &self.storage {
            Storage::Directory(directory) => directory.delete(key).await,
            Storage::Objects(objects) => objects.delete(key).await,
        }
    }

    /// Stores a few bytes durably, all or nothing. With `only_new` it answers `false`, and changes nothing, if the object
    /// exists already; else `true`.
    pub async fn put_small(&self, key: &str, bytes: Bytes, only_new: bool) -> Result<bool, BlobError> {
        match &self.storage {
            Storage::Directory(directory) => directory.put_small(key, bytes, only_new).await,
            Storage::Objects(objects) => objects.put_small(key, bytes, only_new).await,
        }
    }

    /// Reads a small object whole (64 KiB at most, more is [`BlobError::Internal`]); `None` if there is no such object.
    pub async fn get_small(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        match &self.storage {
            Storage::Directory(directory) => directory.get_small(key).await,
            Storage::Objects(objects) => objects.get_small(key).await,
        }
    }

    /// Whether so many more bytes leave what must stay free of a directory's disk ([`BucketOptions::reserve_bytes`]).
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        match &self.storage {
            Storage::Directory(directory) => directory.has_room(bytes),
            Storage::Objects(_) => true,
        }
    }

    /// Whether an upload of so many bytes is small: it becomes no object.
    pub fn is_small(&self, bytes: u64) -> bool {
        self.small_bytes > 0 && bytes <= self.small_bytes as u64
    }

    /// Goes on with an upload at the offset of its newest saved state. `remaining` is how many bytes the request says
    /// will follow, if it says so. [`BlobError::Missing`]: what was stored cannot be continued, the client begins again.
    pub async fn append(&self, state: UploadState, remaining: Option<u64>) -> Result<Appender, BlobError> {
        Appender::open(self, state, remaining).await
    }

    /// Lets go of what was stored beyond `state` of an upload, whose row says so already and which is claimed: on a full disk
    /// the room is free again at once. Nothing happens where several nodes may use it ([`Self::is_shared`]).
    pub async fn cut_back(&self, state: &UploadState) -> Result<(), BlobError> {
        match &self.storage {
            Storage::Directory(directory) if !directory.is_shared() => {
                directory.cut_back(&state.key, state.in_bucket()).await
            }
            Storage::Directory(_) | Storage::Objects(_) => Ok(()),
        }
    }

    /// Removes all that an upload stored; harmless when it is repeated. Never call it for an upload that finished.
    pub async fn abort(&self, state: &UploadState) -> Result<(), BlobError> {
        match &self.storage {
            Storage::Directory(directory) => directory.delete(&state.key).await,
            Storage::Objects(objects) => objects.abort(state).await,
        }
    }
}
