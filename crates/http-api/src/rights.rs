//! The row of the permission matrix that an operation belongs to (product.md 3).

use std::fmt;

use roadstead_access::Right;

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
