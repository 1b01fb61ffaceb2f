//! A directory as bucket: each object is a file that lies under its final path from its first byte on, so that finishing
//! an upload renames and copies nothing. The database decides what exists, so a file that is only half there hurts nobody.

mod direct;
mod durable;
mod opened;
mod read;
mod room;
mod turns;
mod write;

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{ErrorKind, Read, Write},
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, StatVfs};

pub use self::durable::sync_way_to;
use self::{direct::Direct, durable::Folders, opened::Opened, read::ReadAhead, room::Uploads, turns::Turns};
pub(crate) use self::{read::FileReader, write::FileAppender};
use crate::{BlobError, ByteBody, KeySource, MemoryBudget, buffer::BufferPool, key};

/// What [`crate::Bucket::get_small`] reads at most, in bytes.
pub(crate) const SMALL_BYTES: u64 = 64 << 10;

pub(crate) struct Directory {
    root: PathBuf,
    shared: bool,
    reserve_bytes: u64,
    keys: KeySource,
    folders: Folders,
    turns: Turns,
    uploads: Uploads,
    opened: Opened,
    pool: BufferPool,
    budget: MemoryBudget,
    ahead: Arc<ReadAhead>,
    direct: Direct,
}

impl Directory {
    pub(crate) async fn open(
        root: PathBuf,
        shared: bool,
        reserve_bytes: u64,
        keys: KeySource,
        budget: MemoryBudget,
    ) -> Result<Self, BlobError> {
        let folders = blocking({
            let root = root.clone();
            move || Folders::open(root)
        });
        let folders = folders.await.map_err(|error| {
            BlobError::Refused(format!("the directory {} cannot be used as bucket: {error}", root.display()))
        })?;
        Ok(Self {
            root,
            shared,
            reserve_bytes,
            keys,
            folders,
            turns: Turns::default(),
            uploads: Uploads::default(),
            opened: Opened::default(),
            pool: BufferPool::new(&budget),
            budget,
            ahead: Arc::default(),
            direct: Direct::default(),
        })
    }

    pub(crate) fn is_shared(&self) -> bool {
        self.shared
    }

    /// Holds the directory for this process; the lock ends with the process, however that ends.
    pub(crate) fn hold(&self) -> Result<File, BlobError> {
        let path = self.root.join("in-use");
        let file = File::options().create(true).truncate(false).write(true).open(path)?;
        match file.try_lock() {
            Ok(()) => {
                self.remove_drafts()?;
                Ok(file)
            }
            Err(TryLockError::WouldBlock) => Err(BlobError::Refused(format!(
                "the directory {} is used by another node, or is a bucket of this one under another name: a directory as bucket is for one node, unless all nodes see it and say so with bucket.shared",
                self.root.display()
            ))),
            Err(TryLockError::Error(error)) => Err(error.into()),
        }
    }

    /// Removes what a [`Self::put_small`] has left that was cut off in the middle. Nobody else writes here.
    fn remove_drafts(&self) -> Result<(), BlobError> {
        for entry in fs::read_dir(&self.root)? {
            let entry = entry?;
            if entry.file_name().to_str().and_then(|name| name.strip_prefix('.')).is_some_and(key::is_own) {
                self.folders.remove(&entry.path())?;
            }
        }
        Ok(())
    }

    pub(crate) async fn read(&self, key: &str, range: Range<u64>) -> Result<ByteBody, BlobError> {
        let length = range.end.saturating_sub(range.start);
        let file = match self.opened.find(key) {
            Some(file) => file,
            None => {
                let path = self.path(key)?;
                let file = match open_cached(&path) {
                    Some(file) => file,
                    None => blocking(move || Ok(File::open(path)?)).await?,
                };
                self.opened.keep(key, file, length)
            }
        };
        // A file that is too short is found before the first byte where possible: an error answer beats a broken body.
        let stat = rustix::fs::fstat(&*file)?;
        if stat.st_nlink == 0 {
            self.opened.forget(key);
        }
        let found = u64::try_from(stat.st_size).unwrap_or(0);
        if found < range.end {
            return Err(BlobError::Internal(format!("object {key} has {found} bytes, not {}", range.end)));
        }
        let reader =
            FileReader::new(file, range.start, self.pool.clone(), self.budget.clone(), Arc::clone(&self.ahead));
        Ok(ByteBody::file(reader, length))
    }

    pub(crate) async fn size(&self, key: &str) -> Result<Option<u64>, BlobError> {
        let path = self.path(key)?;
        blocking(move || match fs::metadata(path) {
            Ok(found) if found.is_file() => Ok(Some(found.len())),
            Ok(_) => Ok(None),
            Err(error) => missing_is(None, error),
        })
        .await
    }

    /// Removes the file, durably: the caller forgets the key next, and a file that comes back with a power cut would then lie there
    /// for good.
    pub(crate) async fn delete(self: &Arc<Self>, key: &str) -> Result<(), BlobError> {
        let (directory, path) = (Arc::clone(self), self.path(key)?);
        let removed = blocking(move || directory.folders.remove(&path)).await;
        self.opened.forget(key);
        removed
    }

    /// Cuts the file of an upload to `length` bytes; one of none is removed.
    pub(crate) async fn cut_back(self: &Arc<Self>, key: &str, length: u64) -> Result<(), BlobError> {
        if length == 0 {
            return self.delete(key).await;
        }
        let path = self.path(key)?;
        blocking(move || {
            let file = OpenOptions::new().write(true).open(path)?;
            if file.metadata()?.len() > length {
                file.set_len(length)?;
            }
            Ok(())
        })
        .await
    }

    /// Whether so many more bytes leave what must stay free of the disk. One that several nodes share has no database on it.
    pub(crate) fn has_room(&self, bytes: u64) -> bool {
        self.shared || self.leaves_room(rustix::fs::statvfs(&self.root), bytes)
    }

    /// The same of a disk that was asked. One that can't say (some network ones) says no room when it has none.
    fn leaves_room(&self, disk: rustix::io::Result<StatVfs>, bytes: u64) -> bool {
        let Ok(disk) = disk else { return true };
        let reserve = self.reserve_bytes.min(disk.f_blocks.saturating_mul(disk.f_frsize) / 16);
        disk.f_bavail.saturating_mul(disk.f_frsize) >= reserve.saturating_add(bytes)
    }

    pub(crate) async fn put_small(
        self: &Arc<Self>,
        key: &str,
        bytes: Bytes,
        only_new: bool,
    ) -> Result<bool, BlobError> {
        let path = self.path(key)?;
        let directory = Arc::clone(self);
        blocking(move || {
            let folder = directory.folders.of(&path);
            let draft = folder.join(format!(".{}", directory.keys.fresh()));
            let mut file = directory.folders.create(&draft, OpenOptions::new().write(true).create_new(true))?;
            let stored = (|| {
                file.write_all(&bytes)?;
                file.sync_data()?;
                if !only_new {
                    fs::rename(&draft, &path)?;
                    return Ok(true);
                }
                match fs::hard_link(&draft, &path) {
                    Ok(()) => Ok(true),
                    Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(false),
                    Err(error) => Err(BlobError::from(error)),
                }
            })();
            // After a rename there is no draft any more.
            fs::remove_file(&draft).or_else(|error| missing_is((), error))?;
            directory.folders.make_durable(&folder)?;
            stored
        })
        .await
    }

    pub(crate) async fn get_small(&self, key: &str) -> Result<Option<Bytes>, BlobError> {
        let path = self.path(key)?;
        blocking(move || {
            let file = match File::open(path) {
                Ok(file) => file,
                Err(error) => return missing_is(None, error),
            };
            let mut bytes = Vec::new();
            file.take(SMALL_BYTES + 1).read_to_end(&mut bytes)?;
            if bytes.len() as u64 > SMALL_BYTES {
                return Err(BlobError::Internal("the object is larger than such an object should be".to_owned()));
            }
            Ok(Some(Bytes::from(bytes)))
        })
        .await
    }

    /// The folders that have to be made before `key` can be stored.
    pub(crate) async fn missing_folders(self: &Arc<Self>, key: &str) -> Result<Vec<PathBuf>, BlobError> {
        let (directory, path) = (Arc::clone(self), self.path(key)?);
        blocking(move || Ok(directory.folders.missing_for(&path))).await
    }

    /// Removes those of `folders`, which the caller had made, that are empty again.
    pub(crate) async fn remove_empty(self: &Arc<Self>, folders: Vec<PathBuf>) -> Result<(), BlobError> {
        let directory = Arc::clone(self);
        blocking(move || directory.folders.remove_empty(&folders)).await
    }

    fn path(&self, key: &str) -> Result<PathBuf, BlobError> {
        Ok(self.root.join(key::path_of(key)?))
    }
}

/// Runs file work off the async threads.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BlobError> + Send + 'static,
) -> Result<T, BlobError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| BlobError::Internal(error.to_string()))?
}

/// Opens a file if the kernel can do so without waiting for a disk, which it nearly always can for what is pulled often.
/// `None` says nothing: old kernels and system call filters know no such open, and it may have been another failure.
fn open_cached(path: &Path) -> Option<File> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    rustix::fs::openat2(CWD, path, flags, Mode::empty(), ResolveFlags::CACHED).ok().map(File::from)
}

fn missing_is<T>(answer: T, error: std::io::Error) -> Result<T, BlobError> {
    match BlobError::from(error) {
        BlobError::Missing => Ok(answer),
        other => Err(other),
    }
}
