//! The codes of problems: one table of status, title and meaning, which the page of problems shows.

use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

/// What kind of problem it is. The words stay the same in all versions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// Body, path or parameters are not right.
    Invalid,
    /// Credentials are missing or wrong.
    Unauthenticated,
    /// The caller may not do that.
    Denied,
    /// It is not there, or not for this caller.
    NotFound,
    /// The path does not know the method.
    MethodNotAllowed,
    /// The body did not come in time.
    TooSlow,
    /// What is there does not allow it.
    Conflict,
    /// It was changed since the caller read it.
    Stale,
    /// The body is too large.
    TooLarge,
    /// The body is not of a type that is understood.
    UnsupportedMediaType,
    /// The caller asks too often.
    TooManyRequests,
    /// A fault of the service.
    Internal,
    /// It can't be done now.
    Unavailable,
}

impl Code {
    /// All of them.
    pub const ALL: [Self; 13] = [
        Self::Invalid,
        Self::Unauthenticated,
        Self::Denied,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TooSlow,
        Self::Conflict,
        Self::Stale,
        Self::TooLarge,
        Self::UnsupportedMediaType,
        Self::TooManyRequests,
        Self::Internal,
        Self::Unavailable,
    ];

    fn row(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::Invalid => (
                S::BAD_REQUEST,
                "invalid",
                "Invalid request",
                "Body, path or parameters are not right. `errors` names the fields.",
            ),
            Self::Unauthenticated => (
                S::UNAUTHORIZED,
                "unauthenticated",
                "Not signed in",
                "Credentials are missing, wrong, or no longer valid: send an access key with HTTP Basic, or a token of this host.",
            ),
            Self::Denied => {
                (S::FORBIDDEN, "denied", "Not allowed", "The caller may not do that, whatever credentials it brings.")
            }
            Self::NotFound => (
                S::NOT_FOUND,
                "not_found",
                "Not found",
                "It is not there, or the caller has no right to know whether it is.",
            ),
            Self::MethodNotAllowed => (
                S::METHOD_NOT_ALLOWED,
                "method_not_allowed",
                "Method not allowed",
                "The path does not know the method. The header `Allow` lists those it knows.",
            ),
            Self::TooSlow => (S::REQUEST_TIMEOUT, "too_slow", "Too slow", "The body did not arrive in time."),
            Self::Conflict => {
                (S::CONFLICT, "conflict", "Conflict", "What is there does not allow it, such as a name that is taken.")
            }
            Self::Stale => (
                S::PRECONDITION_FAILED,
                "stale",
                "Changed meanwhile",
                "It is not as `If-Match` or `If-None-Match` wants it: read it again and decide anew.",
            ),
            Self::TooLarge => (S::PAYLOAD_TOO_LARGE, "too_large", "Too large", "The body has too many bytes."),
            Self::UnsupportedMediaType => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media_type",
                "Unsupported media type",
                "The body must be JSON, and `Content-Type` must say so.",
            ),
            Self::TooManyRequests => (
                S::TOO_MANY_REQUESTS,
                "too_many_requests",
                "Too many requests",
                "The caller asks too often. `Retry-After` says in how many seconds to go on.",
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "Fault of the service",
                "The service's log says more under the request's id.",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "unavailable",
                "Not available",
                "Database or bucket can't be reached now. `Retry-After` says when to try again.",
            ),
        }
    }

    /// The status of answers with it.
    pub fn status(self) -> StatusCode {
        self.row().0
    }

    /// The word that programs see.
    pub fn word(self) -> &'static str {
        self.row().1
    }

    /// A few words.
    pub fn title(self) -> &'static str {
        self.row().2
    }

    /// A sentence.
    pub fn meaning(self) -> &'static str {
        self.row().3
    }

    /// The code of an error that only has a status; other errors of the client are `invalid`.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        let known = Self::ALL.into_iter().find(|code| code.status() == status);
        known.unwrap_or(if status.is_server_error() { Self::Internal } else { Self::Invalid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_one_word_everywhere() {
        for code in Code::ALL {
            assert_eq!(serde_json::to_value(code).expect("JSON"), code.word());
            assert_eq!(Code::of_status(code.status()), code);
        }
    }
}
