//! The words of the domain: names, digests, references, media types, manifests, roles, patterns, reach. No I/O.

pub mod digest;
pub mod limits;
pub mod manifest;
pub mod name;
pub mod pattern;
pub mod reach;
pub mod role;
pub mod scope;
pub mod trust;

pub use digest::{Algorithm, Digest, DigestError};
pub use limits::{Limit, Limits};
pub use name::{BucketName, NameError, PersonName, Place, ProjectName, Reference, RegistryName, RepositoryName, Tag};
pub use pattern::Pattern;
pub use reach::Reach;
pub use role::Role;
pub use trust::{TrustError, TrustedClaims};
