//! Bytes: a local directory or an object store, resumable uploads, fast file bodies.
//!
//! A [`Bucket`] holds immutable objects under keys that the database remembers; nothing here lists a bucket and nothing
//! here decides what exists (invariants 1 and 2). An [`Appender`] adds bytes to an upload whose whole memory is an
//! [`UploadState`]: the caller keeps it in the database, so any node goes on where another one stopped (invariant 7).
//! Memory is bounded by the one [`MemoryBudget`] that all buckets of a process share (invariant 8).
//!
//! | module | what |
//! | --- | --- |
//! | `bucket`, `appender` | the public face, over both kinds of bucket |
//! | `held` | uploads that are small: their bytes never come to a bucket |
//! | `directory` | files: positioned writes, durability, inline reads from the page cache |
//! | `objects` | S3, Google Cloud Storage, Azure: parts, tails, presigned addresses |
//! | `state` | what is remembered of an upload |
//! | `hashing` | its hashes and their midstates, and the threads that make them |
//! | `buffer`, `budget` | page-aligned pooled buffers, the global memory budget |
//! | `check`, `words` | tries everything a running service needs and says in words what fails |

mod appender;
mod body;
mod bucket;
mod budget;
mod buffer;
mod check;
mod directory;
mod error;
mod hashing;
mod held;
mod key;
mod objects;
mod options;
mod state;
mod words;

pub use appender::{Appender, Finished, Stored};
pub use body::ByteBody;
pub use bucket::{Bucket, Hold};
pub use budget::{MemoryBudget, MemoryShare, MemoryUse};
pub use directory::sync_way_to;
pub use error::{BlobError, FinishError};
pub use key::KeySource;
pub use options::{AzureOptions, BucketKind, BucketOptions, GcsOptions, S3Options};
pub use state::UploadState;
pub use words::one_line;
