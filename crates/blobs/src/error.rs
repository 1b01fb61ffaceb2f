//! What can go wrong with bytes, in the few kinds that a caller treats differently.

use std::io;

use roadstead_model::Digest;
use rustix::io::Errno;

/// Why an operation on a bucket failed. The words are for logs and operators; clients see the kind only.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BlobError {
    /// No such object. From [`crate::Bucket::append`] and [`crate::Appender`]: what the upload had stored is gone or
    /// cannot be continued, the client has to begin the upload again.
    #[error("the object is not there")]
    Missing,
    /// The storage does not answer, or not now: asking again later may help (503).
    #[error("storage is not available: {0}")]
    Unavailable(String),
    /// The memory for bodies was used up for as long as one waits for it (503). An [`crate::Appender`] still has all that it
    /// took before: it can be flushed.
    #[error("the memory for bodies is used up")]
    NoMemory,
    /// No space is left.
    #[error("storage is full")]
    Full,
    /// A setting or the request itself is wrong: asking again will not help; the words say what would be right.
    #[error("{0}")]
    Refused(String),
    /// A broken assumption; a bug or damaged storage.
    #[error("storage failed: {0}")]
    Internal(String),
}

/// Why an upload could not be finished.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FinishError {
    /// The bytes have another digest than the client says. Nothing was published.
    #[error("the content has the digest {actual}")]
    Mismatch {
        /// What was received, hashed with the algorithm of the expected digest.
        actual: Digest,
    },
    /// The storage failed; the last saved state still holds.
    #[error(transparent)]
    Blob(#[from] BlobError),
}

impl From<io::Error> for BlobError {
    fn from(error: io::Error) -> Self {
        let errno = Errno::from_io_error(&error);
        match errno {
            Some(Errno::NOENT | Errno::NOTDIR) => Self::Missing,
            Some(Errno::NOSPC | Errno::DQUOT | Errno::FBIG) => Self::Full,
            // Too many open files, no memory, a read-only or failing disk, a network file system that is away: nothing
            // that this request did wrong, and it may pass.
            Some(
                Errno::MFILE
                | Errno::NFILE
                | Errno::NOMEM
                | Errno::AGAIN
                | Errno::INTR
                | Errno::BUSY
                | Errno::IO
                | Errno::ROFS
                | Errno::STALE
                | Errno::TIMEDOUT
                | Errno::NODEV
                | Errno::NXIO
                | Errno::ACCESS
                | Errno::PERM,
            ) => Self::Unavailable(error.to_string()),
            _ => Self::Internal(error.to_string()),
        }
    }
}

impl From<Errno> for BlobError {
    fn from(errno: Errno) -> Self {
        io::Error::from(errno).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_too_many_open_files_are_told_apart() {
        assert_eq!(BlobError::from(Errno::NOSPC), BlobError::Full);
        assert_eq!(BlobError::from(Errno::DQUOT), BlobError::Full);
        assert_eq!(BlobError::from(Errno::NOENT), BlobError::Missing);
        assert!(matches!(BlobError::from(Errno::MFILE), BlobError::Unavailable(_)));
        assert!(matches!(BlobError::from(Errno::BADF), BlobError::Internal(_)));
    }
}
