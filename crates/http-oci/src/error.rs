//! One mapping from everything that can go wrong to status, code and message (protocol.md L1-L4).
//!
//! What a client may know is in the message: what was wrong and what would be right. What it may not know (a fault of ours, or of
//! database and bucket) is logged here, once, and answered without its words.

use std::sync::Arc;

use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use roadstead_access::Refusal;
use roadstead_model::{DigestError, NameError};
use roadstead_registry as core;
use serde_json::{Value, json};

use crate::{answer, body::Body, incoming::CollectError, origin::Origin, route::RouteError};

/// The id of the request in the server's log, which errors of the server name.
#[derive(Clone, Debug)]
pub struct RequestId(pub Arc<str>);

/// An answer that is an error.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: &'static str,
    message: String,
    detail: Option<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Words for the log alone.
    inside: Option<String>,
}

impl ApiError {
    /// An error with one of the codes of protocol.md L2.
    pub(crate) fn new(status: StatusCode, code: &'static str, message: impl Into<String>) -> Self {
        let message = message.into();
        Self(Box::new(Inner { status, code, message, detail: None, headers: Vec::new(), inside: None }))
    }

    /// Adds a `detail` for programs.
    pub(crate) fn detail(mut self, detail: Value) -> Self {
        self.0.detail = Some(detail);
        self
    }

    /// Adds a header; a value that can't be one is left out.
    pub(crate) fn header(mut self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        if let Ok(value) = value.try_into() {
            self.0.headers.push((name, value));
        }
        self
    }

    fn inside(mut self, words: String) -> Self {
        self.0.inside = Some(words);
        self
    }

    /// The status of the answer.
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// 400 with DIGEST_INVALID.
    pub(crate) fn digest(message: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "DIGEST_INVALID", message)
    }

    /// 404 with NAME_UNKNOWN.
    pub(crate) fn name_unknown(message: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "NAME_UNKNOWN", message)
    }

    /// A refusal, with the challenge that protocol.md 2.1 wants: exactly one header, realm first, all values quoted, `scope` only where
    /// there is one. [`Refusal`] itself says `error=` only when a token was presented.
    pub(crate) fn refused(refusal: &Refusal, origin: &Origin, scope: Option<&str>) -> Self {
        let (error, message) = match refusal {
            Refusal::Unauthenticated => (None, "authentication is required: log in with an access key"),
            Refusal::InvalidToken => {
                (Some("invalid_token"), "the token has expired or is not valid here: get a new one")
            }
            Refusal::InsufficientScope => (
                Some("insufficient_scope"),
                "the token does not allow this: get one with the scope that the challenge names",
            ),
            Refusal::Denied => {
                return Self::new(
                    StatusCode::FORBIDDEN,
                    "DENIED",
                    "this access key may not do that, or there is no such repository",
                );
            }
            Refusal::Unavailable(why) => return Self::unavailable(why.clone()),
        };
        let mut challenge = format!("Bearer realm=\"{}\",service=\"{}\"", origin.address("/token"), origin.host);
        if let Some(scope) = scope {
            challenge.push_str(&format!(",scope=\"{scope}\""));
        }
        if let Some(error) = error {
            challenge.push_str(&format!(",error=\"{error}\""));
        }
        Self::new(StatusCode::UNAUTHORIZED, "UNAUTHORIZED", message).header(header::WWW_AUTHENTICATE, challenge)
    }

    /// 503 with Retry-After; ggcr and others try again by the code.
    pub(crate) fn unavailable(why: String) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "the registry can't do this at the moment: try again in a few seconds",
        )
        .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
        .inside(why)
    }

    /// 503 as well, but whoever reads it learns what has to be done; to try again soon is of no use.
    pub(crate) fn full(why: String) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "UNAVAILABLE",
            "the registry has no space left for this: what is there can be pulled and deleted; try again when its operator has made room",
        )
        .header(header::RETRY_AFTER, HeaderValue::from_static("30"))
        .inside(why)
    }

    /// 500 without a word of what happened.
    pub(crate) fn internal(why: String) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "UNKNOWN", "a fault of the registry; its log says more")
            .inside(why)
    }

    /// The answer; logs what the client must not see.
    pub(crate) fn into_response(self, request: Option<&RequestId>) -> Response<Body> {
        let Inner { status, code, message, mut detail, headers, inside } = *self.0;
        if let Some(why) = inside {
            if status == StatusCode::SERVICE_UNAVAILABLE {
                tracing::warn!(%why, "answered 503");
            } else {
                tracing::error!(%why, "answered {}", status.as_u16());
            }
            if let Some(id) = request.filter(|_| detail.is_none()) {
                detail = Some(json!({ "request": *id.0 }));
            }
        }
        let mut error = json!({ "code": code, "message": message });
        if let (Some(detail), Some(error)) = (detail, error.as_object_mut()) {
            error.insert("detail".to_owned(), detail);
        }
        let body = json!({ "errors": [error] }).to_string();
        let mut response = Response::new(Body::Bytes(body.into()));
        *response.status_mut() = status;
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        for (name, value) in headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// An answer in the form of all errors (protocol.md L1) to a request that is refused before it gets to this service.
pub fn refusal(status: StatusCode, code: &'static str, message: &str) -> Response<Body> {
    let mut response = ApiError::new(status, code, message).into_response(None);
    answer::complete(&mut response, false);
    response
}

impl CollectError {
    /// The answer to a body that could not be read into memory; `what` it was, and how many bytes it may have.
    pub(crate) fn into_answer(self, what: &str, limit: usize) -> ApiError {
        match self {
            Self::TooLarge => ApiError::new(
                StatusCode::PAYLOAD_TOO_LARGE,
                "SIZE_INVALID",
                format!("a {what} may have {limit} bytes here"),
            ),
            Self::TooSlow => {
                ApiError::new(StatusCode::REQUEST_TIMEOUT, "SIZE_INVALID", format!("the {what} did not come in time"))
            }
            Self::NoRoom => ApiError::unavailable(format!("no memory for another {what}")),
            Self::Broken(error) => ApiError::new(
                StatusCode::BAD_REQUEST,
                "SIZE_INVALID",
                format!("the {what} did not arrive whole: {error}"),
            ),
        }
    }
}

impl From<RouteError> for ApiError {
    fn from(error: RouteError) -> Self {
        match error {
            RouteError::Path => Self::new(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is nothing at this path"),
            RouteError::Method(allowed) => {
                let message = format!("this path knows {allowed}");
                Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).header(header::ALLOW, allowed)
            }
            RouteError::Name(error) => error.into(),
            RouteError::Digest(error) => error.into(),
            RouteError::Upload => core::Error::UploadUnknown.into(),
        }
    }
}

impl From<NameError> for ApiError {
    fn from(error: NameError) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "NAME_INVALID", error.to_string())
    }
}

impl From<DigestError> for ApiError {
    fn from(error: DigestError) -> Self {
        Self::digest(error.to_string())
    }
}

impl From<core::Error> for ApiError {
    fn from(error: core::Error) -> Self {
        use core::Error as E;
        let message = error.to_string();
        match error {
            E::NameUnknown => Self::name_unknown(message),
            E::BlobUnknown(digest) => Self::new(StatusCode::NOT_FOUND, "BLOB_UNKNOWN", message)
                .detail(json!({ "digest": digest.to_string() })),
            E::BlobHeld => {
                Self::new(StatusCode::METHOD_NOT_ALLOWED, "UNSUPPORTED", message).header(header::ALLOW, "GET, HEAD")
            }
            E::ManifestUnknown(reference) => {
                Self::new(StatusCode::NOT_FOUND, "MANIFEST_UNKNOWN", message).detail(json!({ "reference": reference }))
            }
            E::ManifestInvalid(_) => Self::new(StatusCode::BAD_REQUEST, "MANIFEST_INVALID", message),
            E::ManifestBlobUnknown(digests) => {
                let missing: Vec<_> = digests.iter().map(|digest| json!({ "digest": digest.to_string() })).collect();
                Self::new(StatusCode::BAD_REQUEST, "MANIFEST_BLOB_UNKNOWN", message).detail(missing.into())
            }
            E::UploadUnknown => Self::new(StatusCode::NOT_FOUND, "BLOB_UPLOAD_UNKNOWN", message),
            E::UploadOffset { .. } => Self::new(StatusCode::RANGE_NOT_SATISFIABLE, "BLOB_UPLOAD_INVALID", message),
            // containerd and containers/image try a 429 again after Retry-After; a 4xx of another kind would be the end of the push.
            E::UploadBusy => {
                Self::new(StatusCode::TOO_MANY_REQUESTS, "TOOMANYREQUESTS", message).header(header::RETRY_AFTER, "1")
            }
            E::BodyBroken { .. } => Self::new(StatusCode::BAD_REQUEST, "SIZE_INVALID", message),
            E::DigestMismatch { .. } => Self::digest(message),
            E::TooLarge { .. } => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "SIZE_INVALID", message),
            E::QuotaFull(_) => Self::new(StatusCode::PAYLOAD_TOO_LARGE, "DENIED", message),
            E::TooManyRepositories(_) => Self::new(StatusCode::FORBIDDEN, "DENIED", message),
            E::TagImmutable(_) => Self::new(StatusCode::FORBIDDEN, "DENIED", message),
            E::Conflict(_) => Self::new(StatusCode::CONFLICT, "DENIED", message),
            E::Unavailable(why) => Self::unavailable(why),
            E::Full(why) => Self::full(why),
            E::Refused(why) | E::Internal(why) => Self::internal(why),
        }
    }
}

#[cfg(test)]
mod tests {
    use roadstead_model::{Digest, Reach};

    use super::*;

    fn origin() -> Origin {
        Origin { scheme: "https", host: "r.test".into(), reach: Reach::Public }
    }

    fn text(response: Response<Body>) -> String {
        match response.into_body() {
            Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).expect("JSON"),
            other => panic!("{other:?}"),
        }
    }

    /// protocol.md 2.1.
    #[test]
    fn challenges() {
        let challenge = |refusal: Refusal, scope: Option<&str>| {
            let response = ApiError::refused(&refusal, &origin(), scope).into_response(None);
            assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
            let mut all = response.headers().get_all(header::WWW_AUTHENTICATE).iter();
            let one = all.next().expect("a challenge").to_str().expect("ASCII").to_owned();
            assert!(all.next().is_none());
            one
        };
        assert_eq!(
            challenge(Refusal::Unauthenticated, None),
            r#"Bearer realm="https://r.test/token",service="r.test""#
        );
        assert_eq!(
            challenge(Refusal::InsufficientScope, Some("repository:a/b:pull,push")),
            r#"Bearer realm="https://r.test/token",service="r.test",scope="repository:a/b:pull,push",error="insufficient_scope""#
        );
        assert!(challenge(Refusal::InvalidToken, None).ends_with(r#",error="invalid_token""#));
        let denied = ApiError::refused(&Refusal::Denied, &origin(), None).into_response(None);
        assert_eq!(denied.status(), StatusCode::FORBIDDEN);
        assert!(!denied.headers().contains_key(header::WWW_AUTHENTICATE));
    }

    /// protocol.md L1.
    #[test]
    fn the_body_of_an_error() {
        let response = ApiError::from(core::Error::BlobUnknown(
            "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
                .parse::<Digest>()
                .expect("a digest"),
        ))
        .into_response(None);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
        let body: Value = serde_json::from_str(&text(response)).expect("JSON");
        assert_eq!(body["errors"][0]["code"], "BLOB_UNKNOWN");
        assert!(body["errors"][0]["detail"]["digest"].is_string());
    }

    #[test]
    fn internals_stay_inside() {
        for error in [
            core::Error::Internal("secret".into()),
            core::Error::Unavailable("secret".into()),
            core::Error::Full("secret".into()),
        ] {
            let response = ApiError::from(error).into_response(Some(&RequestId("r-1".into())));
            assert!(response.status().is_server_error());
            let body = text(response);
            assert!(!body.contains("secret") && body.contains("r-1"), "{body}");
        }
    }
}
