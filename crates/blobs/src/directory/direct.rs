//! Writes past the page cache (`O_DIRECT`): they copy nothing and fill no memory with what may never be asked for again. Where fresh
//! memory is dear, as on a virtual machine that gives what it does not use back to its host, they take a third of the time.

use std::{
    fs::File,
    io::{self, IoSlice},
    os::unix::fs::FileExt,
    sync::atomic::{AtomicBool, Ordering},
};

use rustix::{
    fs::{OFlags, fcntl_setfl},
    io::Errno,
};

/// Such writes begin and end on a page.
const PAGE: u64 = 4096;

/// The beginning of a file goes through the cache: what is small is likely to be pulled soon, and cheap to keep.
const CACHED_BYTES: u64 = 256 << 10;

/// Memory with less is not worth it.
const LEAST_BYTES: usize = 64 << 10;

/// What was learned of the file system below a bucket: whether it takes such writes.
#[derive(Default)]
pub(super) struct Direct {
    refused: AtomicBool,
}

impl Direct {
    /// Whether [`Self::write`] goes past the page cache for these bytes: whole pages, and enough of them, after the beginning of a file.
    pub(super) fn takes(&self, batch: &[impl AsRef<[u8]>], position: u64) -> bool {
        let whole = |length: usize| length >= LEAST_BYTES && length.is_multiple_of(PAGE as usize);
        let position_fits = position >= CACHED_BYTES && position.is_multiple_of(PAGE);
        !batch.is_empty()
            && position_fits
            && batch.iter().all(|bytes| whole(bytes.as_ref().len()))
            && !self.refused.load(Ordering::Relaxed)
    }

    /// Writes a batch at `position` of a file that nobody else writes to or reads from meanwhile.
    pub(super) fn write(&self, file: &File, batch: &[impl AsRef<[u8]>], position: u64) -> io::Result<()> {
        if self.takes(batch, position) && self.write_directly(file, batch, position)? {
            return Ok(());
        }
        let mut position = position;
        for bytes in batch.iter().map(AsRef::as_ref) {
            file.write_all_at(bytes, position)?;
            position += bytes.len() as u64;
        }
        Ok(())
    }

    /// False: the file system does not do that, or did not do all of it.
    fn write_directly(&self, file: &File, batch: &[impl AsRef<[u8]>], position: u64) -> io::Result<bool> {
        if self.is_refusal(fcntl_setfl(file, OFlags::DIRECT))?.is_none() {
            return Ok(false);
        }
        let pieces: Vec<_> = batch.iter().map(|bytes| IoSlice::new(bytes.as_ref())).collect();
        let written = rustix::io::retry_on_intr(|| rustix::io::pwritev(file, &pieces, position));
        fcntl_setfl(file, OFlags::empty())?;
        let whole = pieces.iter().map(|piece| piece.len()).sum();
        Ok(self.is_refusal(written)? == Some(whole))
    }

    fn is_refusal<T>(&self, done: Result<T, Errno>) -> io::Result<Option<T>> {
        match done {
            Ok(done) => Ok(Some(done)),
            Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => {
                self.refused.store(true, Ordering::Relaxed);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        MemoryBudget,
        buffer::{BUFFER_BYTES, Buffer, BufferPool},
    };

    #[test]
    fn what_is_written_past_the_cache_is_what_is_read() {
        let pool = BufferPool::new(&MemoryBudget::new(4));
        let batch = |sizes: &[usize]| -> Vec<Buffer> {
            let filled = sizes.iter().enumerate().map(|(number, size)| {
                let mut buffer = pool.buffer(*size);
                buffer.fill(&vec![number as u8 + 1; *size], *size);
                buffer
            });
            filled.collect()
        };
        let direct = Direct::default();
        let file = tempfile::tempfile().expect("a file");
        file.write_all_at(b"begin", 0).expect("written");
        // Also where the file system takes none of it, and what does not end or begin on a page.
        let mut expected = b"begin".to_vec();
        for (position, sizes) in [
            (4096, &[BUFFER_BYTES - 4096][..]),
            (BUFFER_BYTES, &[BUFFER_BYTES; 2]),
            (3 * BUFFER_BYTES, &[BUFFER_BYTES, 7]),
            (4 * BUFFER_BYTES + 8, &[BUFFER_BYTES]),
        ] {
            let batch = batch(sizes);
            direct.write(&file, &batch, position as u64).expect("written");
            expected.resize(position, 0);
            batch.iter().for_each(|buffer| expected.extend_from_slice(buffer.filled()));
        }
        let mut read = vec![0; expected.len()];
        file.read_exact_at(&mut read, 0).expect("as long as it was written");
        assert!(read == expected);
        assert_eq!(file.metadata().expect("a file").len(), expected.len() as u64);
    }
}
