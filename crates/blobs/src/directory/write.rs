//! Uploads into files: gathered on the async side, hashed and written on blocking threads while the next bytes are gathered; one data
//! sync and one folder sync make them durable.

use std::{
    fs::{File, OpenOptions},
    os::unix::fs::FileExt as _,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use bytes::Bytes;
use roadstead_model::{Algorithm, Digest};
use tokio::task::JoinHandle;

use super::{
    Directory, blocking,
    room::{FIRST_BYTES, Place, Room},
    turns::Turn,
};
use crate::{
    BlobError, FinishError, Finished, MemoryShare, MemoryUse, Stored, UploadState,
    buffer::{BUFFER_BYTES, Buffer, memory_of},
    hashing::{Hashes, hash},
};

/// After so many bytes they are made durable while the next ones come, so that a process that is killed loses no more than
/// twice that of an upload.
const CHECKPOINT_BYTES: u64 = 32 << 20;

/// Writes on file pages from a position that is not on one are slower; the first buffer of a resumed upload ends there.
const PAGE: u64 = 4096;

/// The writer of one request.
pub(crate) struct FileAppender {
    directory: Arc<Directory>,
    state: UploadState,
    /// The largest buffer that it needs: smaller when the sender said that less will come.
    largest: usize,
    /// How much of the next buffer to fill, so that the one after it begins on a page.
    limit: usize,
    offset: u64,
    batch: Vec<Buffer>,
    room: Room,
    place: Option<Place>,
    /// Where this request began.
    begin: u64,
    share: Option<(MemoryShare, MemoryUse)>,
    work: Work,
    /// How far the file is durable, or is being made so.
    synced: u64,
    syncing: Option<Syncing>,
    to_save: Option<UploadState>,
}

/// What is being made durable, and what is to be remembered when it is.
struct Syncing {
    state: UploadState,
    done: JoinHandle<Result<(), BlobError>>,
}

/// Where the file is: here, on a blocking thread, or given up.
enum Work {
    Idle(Box<FileWriter>),
    Running(JoinHandle<Result<Box<FileWriter>, BlobError>>),
    Failed(BlobError),
}

impl FileAppender {
    pub(crate) async fn open(
        directory: &Arc<Directory>,
        state: UploadState,
        remaining: Option<u64>,
    ) -> Result<Self, BlobError> {
        let mut writer = Box::new(FileWriter {
            path: directory.path(&state.key)?,
            directory: Arc::clone(directory),
            turn: directory.turns.begin(&state.key),
            written: state.offset,
            // Nothing is acknowledged of an upload at offset 0, so its file may be new, and its entry not yet durable.
            entry_durable: Arc::new(AtomicBool::new(state.offset > 0)),
            hashes: Hashes::new(state.announced),
            mismatch: None,
        });
        if state.offset > 0 {
            let known = state.hashes.clone();
            writer = blocking(move || writer.resume(known).map(|()| writer)).await?;
        }
        let expected = usize::try_from(remaining.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
        let largest = expected.clamp(1, BUFFER_BYTES);
        Ok(Self {
            directory: Arc::clone(directory),
            offset: state.offset,
            begin: state.offset,
            synced: state.offset,
            state,
            largest,
            limit: largest,
            batch: Vec::new(),
            room: Room::Least,
            place: (largest > FIRST_BYTES).then(|| directory.uploads.join()),
            share: None,
            work: Work::Idle(writer),
            syncing: None,
            to_save: None,
        })
    }

    pub(crate) fn offset(&self) -> u64 {
        self.offset
    }

    pub(crate) async fn write(&mut self, mut chunk: &[u8]) -> Result<(), BlobError> {
        while !chunk.is_empty() {
            if self.batch.last().is_none_or(|buffer| buffer.filled().len() >= self.limit) {
                if self.batch.len() >= self.room.batch() {
                    self.hand_over(Then::Nothing).await?;
                }
                let size = self.take_share().await?;
                if !self.room.gathers_meanwhile() {
                    self.idle().await?;
                }
                let beyond_page = usize::try_from(self.offset % PAGE).unwrap_or(0);
                let more_follow = size < self.largest || size == BUFFER_BYTES;
                self.limit = if more_follow { size - beyond_page } else { size };
                self.batch.push(self.directory.pool.buffer(size));
            }
            let taken = self.batch.last_mut().map_or(0, |buffer| buffer.fill(chunk, self.limit));
            chunk = &chunk[taken..];
            self.offset += taken as u64;
        }
        Ok(())
    }

    /// Takes the memory for the next buffer, where that is not taken already; how large it may be.
    async fn take_share(&mut self) -> Result<usize, BlobError> {
        let room = self.place.as_ref().map_or(Room::Least, |place| place.room(self.offset - self.begin));
        let bytes = room.bytes(self.unit(room));
        match &mut self.share {
            None => {
                let size = self.largest.min(FIRST_BYTES);
                let share = self.directory.budget.take(MemoryUse::Starting, memory_of(size)).await?;
                self.share = Some((share, MemoryUse::Starting));
                return Ok(size);
            }
            Some((share, purpose @ MemoryUse::Starting)) => {
                // For as long as the request lasts.
                *share = self.directory.budget.take(MemoryUse::Writing, bytes).await?;
                *purpose = MemoryUse::Writing;
                self.room = room;
            }
            Some(_) if room == self.room || !self.batch.is_empty() => {}
            Some((share, _)) if share.bytes() < bytes => {
                // Who has a share waits for none, and leaves some for those that have none.
                let budget = &self.directory.budget;
                if !budget.is_scarce(MemoryUse::Writing)
                    && let Some(more) = budget.try_take(MemoryUse::Writing, bytes - share.bytes())
                {
                    share.join(more);
                    self.room = room;
                }
            }
            Some(_) => {
                // What is being written has its buffers still.
                self.idle().await?;
                self.share.iter_mut().for_each(|(share, _)| share.shrink_to(bytes));
                if self.room == Room::Ample {
                    self.directory.pool.let_go_of_large();
                }
                self.room = room;
            }
        }
        Ok(self.unit(self.room))
    }

    fn unit(&self, room: Room) -> usize {
        self.largest.min(room.unit())
    }

    pub(crate) fn checkpoint(&mut self) -> Option<UploadState> {
        self.to_save.take()
    }

    pub(crate) async fn flush(&mut self) -> Result<UploadState, BlobError> {
        self.hand_over(Then::Sync { expected: None }).await?;
        let writer = self.idle().await?;
        let (offset, hashes) = (writer.written, writer.hashes.clone());
        self.state.offset = offset;
        self.state.hashes = Some(hashes);
        self.synced = offset;
        // Older than what is returned.
        self.to_save = None;
        Ok(self.state.clone())
    }

    pub(crate) async fn finish(mut self, expected: &Digest) -> Result<Finished, FinishError> {
        self.hand_over(Then::Sync { expected: Some(*expected) }).await?;
        self.idle().await?;
        let Work::Idle(mut writer) = self.work else {
            return Err(BlobError::Internal("the writer is gone".to_owned()).into());
        };
        if let Some(actual) = writer.mismatch {
            return Err(FinishError::Mismatch { actual });
        }
        let (key, size) = (self.state.key, writer.written);
        if writer.hashes.digest(expected.algorithm()).is_none() {
            let algorithm = expected.algorithm();
            let actual = blocking(move || writer.read_back(algorithm)).await?;
            // The file goes with the upload: only who holds that knows that nobody has made a blob of it meanwhile.
            if actual != *expected {
                return Err(FinishError::Mismatch { actual });
            }
        }
        Ok(Finished { stored: Stored::Object(key), size, superseded: Vec::new() })
    }

    /// Gives what was gathered to a blocking thread, as soon as that has done the work before.
    async fn hand_over(&mut self, then: Then) -> Result<(), BlobError> {
        self.idle().await?;
        self.make_durable(&then).await?;
        let batch: Vec<_> = self.batch.drain(..).map(Buffer::into_bytes).collect();
        let work = std::mem::replace(&mut self.work, Work::Failed(BlobError::Internal("interrupted".to_owned())));
        let Work::Idle(mut writer) = work else {
            return Err(BlobError::Internal("the writer is busy".to_owned()));
        };
        let direct = self.directory.direct.takes(&batch, writer.written);
        self.work = Work::Running(match then {
            // Nothing is copied, so that the processor is free for the hash while the disk takes the bytes.
            Then::Nothing if direct => tokio::spawn(writer.append_hashing_meanwhile(batch)),
            Then::Nothing => tokio::task::spawn_blocking(move || writer.append(&batch).map(|()| writer)),
            Then::Sync { expected } => tokio::task::spawn_blocking(move || {
                writer.append(&batch)?;
                writer.sync(expected).map(|()| writer)
            }),
        });
        Ok(())
    }

    /// Begins to make durable what was written, when it is enough, and takes up what was made so.
    async fn make_durable(&mut self, then: &Then) -> Result<(), BlobError> {
        let Work::Idle(writer) = &self.work else { return Ok(()) };
        let due = writer.written - self.synced >= CHECKPOINT_BYTES && matches!(then, Then::Nothing);
        if let Some(syncing) = &mut self.syncing {
            // A sync that failed is not told to the next one: so one is never begun before the answer of the last.
            if !due && matches!(then, Then::Nothing) && !syncing.done.is_finished() {
                return Ok(());
            }
            let done = (&mut syncing.done).await;
            let state = self.syncing.take().map(|syncing| syncing.state);
            if let Err(error) = done.unwrap_or_else(|error| Err(BlobError::Internal(error.to_string()))) {
                self.work = Work::Failed(error.clone());
                return Err(error);
            }
            self.to_save = state;
        }
        if due {
            self.synced = writer.written;
            let state =
                UploadState { offset: writer.written, hashes: Some(writer.hashes.clone()), ..self.state.clone() };
            let sync = writer.sync_so_far()?;
            self.syncing = Some(Syncing { state, done: tokio::task::spawn_blocking(sync) });
        }
        Ok(())
    }

    /// Waits until the blocking thread is done. If this is given up half-way, the next call goes on waiting.
    async fn idle(&mut self) -> Result<&FileWriter, BlobError> {
        if let Work::Running(running) = &mut self.work {
            self.work = match running.await {
                Ok(Ok(writer)) => Work::Idle(writer),
                Ok(Err(error)) => Work::Failed(error),
                Err(error) => Work::Failed(BlobError::Internal(error.to_string())),
            };
        }
        match &self.work {
            Work::Idle(writer) => Ok(writer),
            Work::Failed(error) => Err(error.clone()),
            Work::Running(_) => Err(BlobError::Internal("the writer is busy".to_owned())),
        }
    }
}

enum Then {
    Nothing,
    /// Make it durable, unless the bytes were hashed to something else than expected.
    Sync {
        expected: Option<Digest>,
    },
}

/// The file of one upload, as blocking threads use it.
struct FileWriter {
    directory: Arc<Directory>,
    path: PathBuf,
    turn: Turn,
    written: u64,
    entry_durable: Arc<AtomicBool>,
    hashes: Hashes,
    mismatch: Option<Digest>,
}

impl FileWriter {
    /// Opens the file of an upload that has acknowledged bytes, cuts off what lies beyond them, and hashes them again if
    /// their midstate is unknown.
    fn resume(&mut self, known: Option<Hashes>) -> Result<(), BlobError> {
        let file = self.turn.file(|| Ok(OpenOptions::new().read(true).write(true).open(&self.path)?))?;
        let found = file.metadata()?.len();
        if found < self.written {
            tracing::error!(path = %self.path.display(), found, acknowledged = self.written, "an upload has lost bytes");
            return Err(BlobError::Missing);
        }
        if found > self.written {
            file.set_len(self.written)?;
        }
        match known {
            Some(hashes) => self.hashes = hashes,
            None => hash_file(&file, self.written, &mut self.directory.pool.buffer(BUFFER_BYTES), &mut self.hashes)?,
        }
        Ok(())
    }

    fn append(&mut self, batch: &[Bytes]) -> Result<(), BlobError> {
        // Hashing first leaves the bytes in the processor's cache for the copy that writing is.
        batch.iter().for_each(|bytes| self.hashes.update(bytes));
        self.write(batch)
    }

    async fn append_hashing_meanwhile(mut self: Box<Self>, batch: Vec<Bytes>) -> Result<Box<Self>, BlobError> {
        let hashes = std::mem::take(&mut self.hashes);
        let writing = blocking({
            let batch = batch.clone();
            move || self.write(&batch).map(|()| self)
        });
        // The disk first: where both have one processor, it would wait for the hash.
        let (writer, hashes) = tokio::join!(biased; writing, hash(hashes, batch));
        let mut writer = writer?;
        writer.hashes = hashes?;
        Ok(writer)
    }

    fn write(&mut self, batch: &[Bytes]) -> Result<(), BlobError> {
        let file = self.file()?;
        let bytes = batch.iter().map(|bytes| bytes.len() as u64).sum();
        if !self.directory.leaves_room(rustix::fs::fstatvfs(&file), bytes) {
            return Err(BlobError::Full);
        }
        self.directory.direct.write(&file, batch, self.written)?;
        self.written += bytes;
        Ok(())
    }

    fn sync(&mut self, expected: Option<Digest>) -> Result<(), BlobError> {
        let actual = expected.and_then(|expected| self.hashes.digest(expected.algorithm()));
        self.mismatch = actual.filter(|actual| Some(*actual) != expected);
        if self.mismatch.is_some() {
            return Ok(());
        }
        self.sync_so_far()?()
    }

    /// The work of making durable what was written until now; writing may go on meanwhile.
    fn sync_so_far(&self) -> Result<impl FnOnce() -> Result<(), BlobError> + Send + 'static, BlobError> {
        let (file, directory, path) = (self.file()?, Arc::clone(&self.directory), self.path.clone());
        let entry_durable = Arc::clone(&self.entry_durable);
        Ok(move || {
            file.sync_data()?;
            if !entry_durable.load(Ordering::Relaxed) {
                directory.folders.make_durable(&directory.folders.of(&path))?;
                entry_durable.store(true, Ordering::Relaxed);
            }
            Ok(())
        })
    }

    /// Hashes the whole file once more with another algorithm.
    fn read_back(&mut self, algorithm: Algorithm) -> Result<Digest, BlobError> {
        let mut hashes = Hashes::only(algorithm);
        let mut buffer = self.directory.pool.buffer(BUFFER_BYTES);
        let length = self.written;
        hash_file(&*self.file()?, length, &mut buffer, &mut hashes)?;
        hashes.digest(algorithm).ok_or_else(|| BlobError::Internal("hashed with another algorithm".to_owned()))
    }

    /// The file, made now if this is the first work on it.
    fn file(&self) -> Result<Arc<File>, BlobError> {
        let mut made = false;
        let file = self.turn.file(|| {
            made = true;
            let options = OpenOptions::new().read(true).write(true).create(true).truncate(false).clone();
            self.directory.folders.create(&self.path, &options)
        })?;
        // Cutting costs as much as making it, so it is cut only where something is left of an earlier try.
        if made && file.metadata()?.len() > 0 {
            file.set_len(0)?;
        }
        Ok(file)
    }
}

/// Hashes the first `length` bytes of a file.
fn hash_file(file: &File, length: u64, buffer: &mut Buffer, hashes: &mut Hashes) -> Result<(), BlobError> {
    let mut position = 0;
    while position < length {
        let wanted = usize::try_from(length - position).unwrap_or(usize::MAX).min(buffer.capacity());
        let memory = &mut buffer.memory()[..wanted];
        file.read_exact_at(memory, position)?;
        hashes.update(memory);
        position += wanted as u64;
    }
    Ok(())
}
