//! The row of the permission matrix that an operation belongs to (product.md 3).

use std::fmt;

/// What an operation asks of its caller. It stands beside the operation where that is registered, and in the document as `x-right`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Row {
    /// Nothing: credentials are not even looked at.
    Open,
    /// Somebody: an access key, a token that was made for one, or a region that is open.
    SignedIn,
    /// Somebody with this right. The endpoint decides it, with facts that it reads along with what it is about.
    Right(Right),
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Open => f.write_str("Open"),
            Self::SignedIn => f.write_str("SignedIn"),
            Self::Right(right) => write!(f, "{right:?}"),
        }
    }
}

/// A row of the table. The same names as those of the matrix in `roadstead_access`, which takes the place of this type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Right {
    /// See projects, registries, settings, members, policies.
    See,
    /// Make, change, delete registries.
    ChangeRegistries,
    /// See images, artifacts and tags.
    SeeImages,
    /// Read manifests and blobs.
    Pull,
    /// Push; make or move a tag.
    Push,
    /// Change, delete and restore images, artifacts and tags.
    ChangeImages,
    /// Clean-up and protection policies.
    Policies,
    /// Webhooks, replications, image caches.
    Deliveries,
    /// Scans, allow lists, keys of trust.
    Scans,
    /// Collect garbage by hand.
    Collect,
    /// Members and robots of the project.
    Members,
    /// One's own keys and profile.
    Own,
    /// The audit log.
    Audit,
    /// Projects, people, buckets, settings of the system.
    System,
}
