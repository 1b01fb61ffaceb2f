//! From the errors of the layers below to problems.

use http::{HeaderValue, header};
use roadstead_access::{KeyError, ManageError, Refusal, SignInError, SignOnError};
use roadstead_db::DbError;
use roadstead_registry as core;

use super::{Code, Problem};

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Unauthenticated => {
                Self::unauthenticated("sign in with an access key: HTTP Basic, key id and secret")
            }
            Refusal::InvalidToken => {
                Self::unauthenticated("the token has expired or is not valid for this host: get a new one")
            }
            Refusal::InsufficientScope => Self::denied("the token does not allow this: use an access key"),
            Refusal::Denied => Self::denied("this access key may not do that"),
            Refusal::Unavailable(why) => Self::unavailable(why),
        }
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match error {
            DbError::Unavailable(why) => Self::unavailable(why),
            DbError::Full(why) => full(why),
            // An endpoint that can meet these says what they mean before they get here.
            error => Self::internal(error.to_string()),
        }
    }
}

impl From<KeyError> for Problem {
    fn from(error: KeyError) -> Self {
        match error {
            KeyError::NoSuchPerson(_) | KeyError::NoSuchRobot(_) | KeyError::NoSuchKey(_) => {
                Self::not_found(error.to_string())
            }
            KeyError::TooMany(_) => Self::conflict(error.to_string()),
            KeyError::Invalid(words) => Self::invalid(words),
            KeyError::Database(error) => error.into(),
        }
    }
}

impl From<ManageError> for Problem {
    fn from(error: ManageError) -> Self {
        let words = error.to_string();
        match error {
            ManageError::Unauthenticated => Refusal::Unauthenticated.into(),
            ManageError::Denied => Self::denied(words),
            ManageError::Missing(_) | ManageError::InTrash => Self::not_found(words),
            ManageError::Taken(_) | ManageError::InTheWay(_) => Self::conflict(words),
            ManageError::Stale => Self::new(Code::Stale, words),
            ManageError::Invalid(words) => Self::invalid(words),
            ManageError::Database(error) => error.into(),
        }
    }
}

impl From<SignInError> for Problem {
    fn from(error: SignInError) -> Self {
        let words = error.to_string();
        match error {
            // Without a challenge: browsers would ask for name and password themselves.
            SignInError::Wrong => Self::new(Code::Unauthenticated, words),
            SignInError::TooMany(pause) => {
                Self::new(Code::TooManyRequests, words).header(header::RETRY_AFTER, pause.as_secs().into())
            }
            SignInError::Failed(error) => error.into(),
        }
    }
}

impl From<SignOnError> for Problem {
    fn from(error: SignOnError) -> Self {
        let words = error.to_string();
        match error {
            SignOnError::Again(_) => Self::invalid(words),
            SignOnError::Place => Self::field("to", words),
            SignOnError::Refused { .. } => Self::denied(words),
            SignOnError::TooMany(error) => error.into(),
            SignOnError::Unavailable(why) => Self::unavailable(why),
            SignOnError::Failed(error) => error.into(),
        }
    }
}

impl From<core::RegistryError> for Problem {
    fn from(error: core::RegistryError) -> Self {
        use core::RegistryError as E;
        let words = error.to_string();
        match error {
            E::Missing(_) | E::NoProject => Self::not_found(words),
            E::NoBucket(_) => Self::field("bucket", words),
            E::Taken(_) | E::InTrash(_) | E::NoRoom | E::BucketTaken(_) => Self::conflict(words),
            E::Stale => Self::new(Code::Stale, words),
            E::Invalid(words) => Self::invalid(words),
            E::Database(error) => error.into(),
        }
    }
}

impl From<core::ImageError> for Problem {
    fn from(error: core::ImageError) -> Self {
        use core::ImageError as E;
        let words = error.to_string();
        match error {
            E::Missing(_) => Self::not_found(words),
            E::Exists(_) | E::Stale => Self::new(Code::Stale, words),
            E::InTheWay(_) => Self::conflict(words),
            E::Invalid(field, words) => Self::field(field, words),
            E::Core(error) => error.into(),
        }
    }
}

impl From<core::Error> for Problem {
    fn from(error: core::Error) -> Self {
        use core::Error as E;
        let words = error.to_string();
        match error {
            E::NameUnknown | E::BlobUnknown(_) | E::ManifestUnknown(_) | E::UploadUnknown => Self::not_found(words),
            E::BlobHeld
            | E::UploadBusy
            | E::TagImmutable(_)
            | E::Conflict(_)
            | E::QuotaFull(_)
            | E::TooManyRepositories(_) => Self::conflict(words),
            E::TooLarge { .. } => Self::new(Code::TooLarge, words),
            E::ManifestInvalid(_)
            | E::ManifestBlobUnknown(_)
            | E::UploadOffset { .. }
            | E::BodyBroken { .. }
            | E::DigestMismatch { .. } => Self::invalid(words),
            E::Unavailable(why) => Self::unavailable(why),
            E::Full(why) => full(why),
            E::Refused(why) | E::Internal(why) => Self::internal(why),
        }
    }
}

/// To try again soon is of no use.
fn full(why: String) -> Problem {
    let words = "there is no space left for this: try again when the operator has made room";
    Problem::new(Code::Unavailable, words).header(header::RETRY_AFTER, HeaderValue::from_static("30")).inside(why)
}
