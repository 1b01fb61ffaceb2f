//! What can go wrong in the core, in the words of the distribution specification; http-oci gives each its status and code.

use roadstead_blobs::BlobError;
use roadstead_db::DbError;
use roadstead_model::Digest;

/// A request that the core could not carry out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The registry or repository does not exist (any more).
    #[error("no such repository")]
    NameUnknown,
    /// The blob is not in this repository, even if its bytes are stored elsewhere (protocol.md C4).
    #[error("this repository has no blob {0}")]
    BlobUnknown(Digest),
    /// A living artifact of the repository holds the blob (protocol.md J5).
    #[error("an artifact of this repository uses the blob: delete the artifact first")]
    BlobHeld,
    /// The repository has no manifest of this digest or tag.
    #[error("this repository has no manifest {0}")]
    ManifestUnknown(String),
    /// The manifest can't be accepted as it is; the text says why.
    #[error("{0}")]
    ManifestInvalid(String),
    /// The manifest names blobs that are not in this repository.
    #[error("the manifest names blobs that this repository does not have: push them first")]
    ManifestBlobUnknown(Vec<Digest>),
    /// No such upload in this repository, or it is over.
    #[error("no such upload in this repository: begin a new one")]
    UploadUnknown,
    /// The chunk does not begin where the upload ends (protocol.md D7, D13).
    #[error("the chunk does not follow what is stored: go on at byte {stored}")]
    UploadOffset {
        /// Bytes that are stored durably.
        stored: u64,
    },
    /// Another request is writing to this upload at the moment.
    #[error("another request is writing to this upload: try again in a moment")]
    UploadBusy,
    /// The body broke off or disagreed with its announced length; what arrived is stored.
    #[error("the body ended early: {stored} bytes of the upload are stored")]
    BodyBroken {
        /// Bytes that are stored durably.
        stored: u64,
    },
    /// The bytes do not hash to the digest that was given (protocol.md D11, F3).
    #[error("the bytes have the digest {actual}, not {expected}")]
    DigestMismatch {
        /// What was asked for.
        expected: Digest,
        /// What the bytes really are.
        actual: Digest,
    },
    /// More bytes than a blob may have (bytes).
    #[error("a blob may have {limit} bytes here")]
    TooLarge {
        /// The most that is allowed.
        limit: u64,
    },
    /// A quota of bytes is used up, or what is pushed does not fit into it; the text says which.
    #[error("{0}")]
    QuotaFull(String),
    /// The registry may have no more repositories; the text says how many.
    #[error("{0}")]
    TooManyRepositories(String),
    /// The tag exists and this repository's tags can't be moved.
    #[error("the tag {0} exists, and this repository does not let a tag be pushed over")]
    TagImmutable(String),
    /// A name that is taken, or in the trash.
    #[error("{0}")]
    Conflict(String),
    /// Database or bucket can't be reached: try again later.
    #[error("the registry can't do this at the moment")]
    Unavailable(String),
    /// No space is left in the bucket or the database; the words are for the log.
    #[error("the registry has no space left for this")]
    Full(String),
    /// The installation is not as it must be: words for the operator, at start only.
    #[error("{0}")]
    Refused(String),
    /// A fault of ours.
    #[error("internal error")]
    Internal(String),
}

impl From<DbError> for Error {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(why) => Self::Unavailable(why),
            DbError::Full(_) => Self::Full(error.to_string()),
            DbError::Refused(why) => Self::Refused(why),
            other => Self::Internal(other.to_string()),
        }
    }
}

impl From<BlobError> for Error {
    fn from(error: BlobError) -> Self {
        match error {
            BlobError::Unavailable(why) => Self::Unavailable(why),
            BlobError::Refused(why) => Self::Refused(why),
            BlobError::Full => Self::Full("the bucket has no room".to_owned()),
            BlobError::NoMemory => Self::Unavailable(error.to_string()),
            other => Self::Internal(other.to_string()),
        }
    }
}
