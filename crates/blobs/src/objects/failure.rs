//! What an object store answers, in the few kinds of errors that callers treat differently.

use object_store::{
    Error,
    client::{HttpError, HttpErrorKind},
};

use crate::BlobError;

/// For requests about an object that should be there.
pub(super) fn reading(error: Error) -> BlobError {
    match error {
        Error::NotFound { source, .. } if says(&*source, "NoSuchBucket") => no_bucket(),
        Error::NotFound { .. } => BlobError::Missing,
        Error::PermissionDenied { source, .. } | Error::Unauthenticated { source, .. } => {
            // At run time this passes when the operator has put the keys right: nothing the client did wrong.
            BlobError::Unavailable(format!(
                "the object store refuses our credentials or lacks a permission for them: {source}"
            ))
        }
        Error::InvalidPath { .. } => BlobError::Internal(error.to_string()),
        Error::NotImplemented { .. } | Error::NotSupported { .. } | Error::UnknownConfigurationKey { .. } => {
            BlobError::Refused(format!("the object store cannot do what is needed: {error}"))
        }
        Error::Generic { source, .. } => match refused_status(&source.to_string()) {
            true => BlobError::Internal(format!("the object store refuses a request: {source}")),
            false => BlobError::Unavailable(source.to_string()),
        },
        other => BlobError::Unavailable(other.to_string()),
    }
}

/// For requests that store something new: nothing found can only mean that the bucket is not there.
pub(super) fn storing(error: Error) -> BlobError {
    match reading(error) {
        BlobError::Missing => no_bucket(),
        other => other,
    }
}

/// Whether the connection broke after the request was sent: it may have been carried out.
pub(super) fn is_unheard(error: &Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if let Some(http) = error.downcast_ref::<HttpError>() {
            return http.kind() == HttpErrorKind::Interrupted;
        }
        source = error.source();
    }
    false
}

fn no_bucket() -> BlobError {
    BlobError::Unavailable("the bucket does not exist at this object store".to_owned())
}

fn says(error: &(dyn std::error::Error + 'static), word: &str) -> bool {
    error.to_string().contains(word)
}

/// Whether a request was answered by a 4xx that asking again will not change. The client library keeps the status of such
/// an answer in its words only.
fn refused_status(words: &str) -> bool {
    let status =
        words.split("status code: ").nth(1).and_then(|rest| rest.get(..3)).and_then(|digits| digits.parse().ok());
    status.is_some_and(|status: u16| (400..500).contains(&status) && !matches!(status, 408 | 425 | 429))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generic(words: &str) -> Error {
        Error::Generic { store: "S3", source: words.into() }
    }

    #[test]
    fn only_what_may_pass_is_called_unavailable() {
        for words in [
            "Error performing PUT http://h/k in 1s - Server returned non-2xx status code: 503 Service Unavailable: SlowDown",
            "Error performing PUT http://h/k in 1s - Server returned non-2xx status code: 429 Too Many Requests: ",
            "Error performing PUT http://h/k in 1s - HTTP error: error sending request",
        ] {
            assert!(matches!(reading(generic(words)), BlobError::Unavailable(_)), "{words}");
        }
        let words = "Error performing PUT http://h/k in 1s - Server returned non-2xx status code: 400 Bad Request: EntityTooSmall";
        assert!(matches!(reading(generic(words)), BlobError::Internal(_)));
        let gone = || Error::NotFound { path: "k".into(), source: "404: NoSuchKey".into() };
        assert_eq!(reading(gone()), BlobError::Missing);
        assert!(matches!(storing(gone()), BlobError::Unavailable(_)));
        let no_bucket = Error::NotFound { path: "k".into(), source: "404: <Code>NoSuchBucket</Code>".into() };
        assert!(matches!(reading(no_bucket), BlobError::Unavailable(_)));
    }
}
