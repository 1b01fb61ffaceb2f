//! File bodies: what the page cache holds is read inline, on the async thread and without waiting; only what has to come
//! from a disk goes to a blocking thread.

use std::{
    fs::File,
    future::Future,
    io::{ErrorKind, IoSliceMut},
    os::unix::fs::FileExt,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use crate::{
    BlobError, MemoryBudget, MemoryShare, MemoryUse,
    buffer::{BUFFER_BYTES, Buffer, BufferPool, memory_of},
};

/// How much is read at once while memory is scarce: whoever reads slowly then holds no more than this.
const SCARCE_BYTES: usize = 16 << 10;

/// What was learned of the file system below a bucket: whether it knows reads that do not wait.
#[derive(Default)]
pub(crate) struct ReadAhead {
    unknown_to_kernel: AtomicBool,
}

/// Reads a file from some position on, one buffer at a time.
pub(crate) struct FileReader {
    file: Arc<File>,
    position: u64,
    pool: BufferPool,
    budget: MemoryBudget,
    ahead: Arc<ReadAhead>,
    waiting: Option<BoxFuture<'static, Result<MemoryShare, BlobError>>>,
    pending: Option<JoinHandle<std::io::Result<Buffer>>>,
}

impl FileReader {
    pub(super) fn new(
        file: Arc<File>,
        position: u64,
        pool: BufferPool,
        budget: MemoryBudget,
        ahead: Arc<ReadAhead>,
    ) -> Self {
        Self { file, position, pool, budget, ahead, waiting: None, pending: None }
    }

    /// The next bytes, at most `remaining`; an empty file end is an error.
    pub(crate) fn poll_read(&mut self, context: &mut Context<'_>, remaining: u64) -> Poll<Result<Bytes, BlobError>> {
        let wanted = usize::try_from(remaining).unwrap_or(usize::MAX).min(BUFFER_BYTES);
        if self.pending.is_none() {
            let (wanted, share) = ready!(self.poll_share(context, wanted))?;
            let mut buffer = self.pool.buffer(wanted);
            buffer.hold(share);
            if !self.ahead.unknown_to_kernel.load(Ordering::Relaxed) {
                let mut target = [IoSliceMut::new(&mut buffer.memory()[..wanted])];
                match rustix::io::preadv2(&self.file, &mut target, self.position, ReadWriteFlags::NOWAIT) {
                    Ok(read) => {
                        buffer.set_filled(read);
                        return Poll::Ready(self.came(buffer));
                    }
                    Err(Errno::AGAIN | Errno::INTR) => {}
                    Err(Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL) => {
                        self.ahead.unknown_to_kernel.store(true, Ordering::Relaxed);
                    }
                    Err(error) => return Poll::Ready(Err(error.into())),
                }
            }
            let (file, position) = (Arc::clone(&self.file), self.position);
            self.pending = Some(tokio::task::spawn_blocking(move || read_waiting(&file, position, wanted, buffer)));
        }
        let Some(pending) = &mut self.pending else {
            return Poll::Ready(Err(BlobError::Internal("no read was begun".to_owned())));
        };
        let joined = ready!(Pin::new(pending).poll(context));
        self.pending = None;
        Poll::Ready(match joined {
            Ok(Ok(buffer)) => self.came(buffer),
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(BlobError::Internal(error.to_string())),
        })
    }

    /// A share for what is wanted, or for less of it; it is waited for only when someone asks for the next bytes.
    fn poll_share(
        &mut self,
        context: &mut Context<'_>,
        wanted: usize,
    ) -> Poll<Result<(usize, MemoryShare), BlobError>> {
        let less = wanted.min(SCARCE_BYTES);
        if self.waiting.is_none() {
            if !self.budget.is_scarce(MemoryUse::Reading)
                && let Some(share) = self.budget.try_take(MemoryUse::Reading, memory_of(wanted))
            {
                return Poll::Ready(Ok((wanted, share)));
            }
            if let Some(share) = self.budget.try_take(MemoryUse::Reading, memory_of(less)) {
                return Poll::Ready(Ok((less, share)));
            }
            let budget = self.budget.clone();
            self.waiting = Some(async move { budget.take(MemoryUse::Reading, memory_of(less)).await }.boxed());
        }
        let Some(waiting) = &mut self.waiting else { return Poll::Pending };
        let share = ready!(waiting.poll_unpin(context));
        self.waiting = None;
        Poll::Ready(share.map(|share| (less, share)))
    }

    fn came(&mut self, buffer: Buffer) -> Result<Bytes, BlobError> {
        let read = buffer.filled().len();
        if read == 0 {
            return Err(BlobError::Internal(format!("the file ends at {}, before its object does", self.position)));
        }
        self.position += read as u64;
        Ok(buffer.into_bytes())
    }
}

/// Reads until the buffer holds `wanted` bytes or the file ends.
fn read_waiting(file: &File, position: u64, wanted: usize, mut buffer: Buffer) -> std::io::Result<Buffer> {
    let mut filled = 0;
    while filled < wanted {
        match file.read_at(&mut buffer.memory()[filled..wanted], position + filled as u64) {
            Ok(0) => break,
            Ok(read) => filled += read,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    buffer.set_filled(filled);
    Ok(buffer)
}
