//! The words of the domain: names, digests, references, media types, manifests. No I/O.

pub mod digest;
pub mod manifest;
pub mod name;
pub mod scope;

pub use digest::{Algorithm, Digest, DigestError, Hasher};
pub use name::{BucketName, NameError, Place, ProjectName, Reference, RegistryName, RepositoryName, Tag};
