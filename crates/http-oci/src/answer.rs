//! Building an answer, and what all answers have in common.

use std::fmt::Write as _;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode, header};
use roadstead_model::Digest;

use crate::body::Body;

/// `Docker-Content-Digest`: docker and containerd give a push up without it (protocol.md 3.9).
pub(crate) const CONTENT_DIGEST: HeaderName = HeaderName::from_static("docker-content-digest");
/// `Docker-Upload-UUID`.
pub(crate) const UPLOAD_UUID: HeaderName = HeaderName::from_static("docker-upload-uuid");
/// `OCI-Subject`.
pub(crate) const SUBJECT: HeaderName = HeaderName::from_static("oci-subject");
/// `OCI-Tag`.
pub(crate) const TAG: HeaderName = HeaderName::from_static("oci-tag");
/// `OCI-Filters-Applied`.
pub(crate) const FILTERS: HeaderName = HeaderName::from_static("oci-filters-applied");
const API_VERSION: HeaderName = HeaderName::from_static("docker-distribution-api-version");

/// As many as the answers to pulls have, with those that are added to all answers.
const HEADERS: usize = 8;

/// An answer under construction. Without its body, since it is handed on with each header.
pub(crate) struct Answer(StatusCode, HeaderMap);

impl Answer {
    /// An empty answer.
    pub(crate) fn new(status: StatusCode) -> Self {
        Self(status, HeaderMap::with_capacity(HEADERS))
    }

    /// Adds a header, beside others of its name. What can't be a header value never comes here from a parsed name or digest; a media
    /// type that was pushed could, and is then left out.
    pub(crate) fn header(self, name: HeaderName, value: impl TryInto<HeaderValue>) -> Self {
        self.value(name, value.try_into().map_err(drop))
    }

    fn value(mut self, name: HeaderName, value: Result<HeaderValue, ()>) -> Self {
        match value {
            Ok(value) => {
                self.1.append(name, value);
            }
            Err(()) => tracing::error!(%name, "left a header out: its value is not one"),
        }
        self
    }

    /// `Docker-Content-Digest`.
    pub(crate) fn digest(self, digest: &Digest) -> Self {
        self.header(CONTENT_DIGEST, digest.to_string())
    }

    /// As [`Answer::header`], of bytes that are not copied.
    pub(crate) fn text(self, name: HeaderName, value: Bytes) -> Self {
        self.value(name, HeaderValue::from_maybe_shared(value).map_err(drop))
    }

    /// `Docker-Content-Digest` and `ETag` ([`etag`]), out of one text.
    pub(crate) fn named(self, etag: Bytes) -> Self {
        let digest = etag.slice(1..etag.len() - 1);
        self.text(CONTENT_DIGEST, digest).text(header::ETAG, etag)
    }

    /// The answer with this body.
    pub(crate) fn body(self, body: impl Into<Body>) -> Response<Body> {
        let Self(status, headers) = self;
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        *response.headers_mut() = headers;
        response
    }

    /// The answer to a HEAD about something of `size` bytes.
    pub(crate) fn without_body(self, size: u64) -> Response<Body> {
        self.header(header::CONTENT_LENGTH, size).empty()
    }

    /// The answer without a body.
    pub(crate) fn empty(self) -> Response<Body> {
        self.body(Body::Empty)
    }
}

/// A JSON answer: exactly `application/json`.
pub(crate) fn json(status: StatusCode, value: &impl serde::Serialize) -> Response<Body> {
    let text = serde_json::to_vec(value).unwrap_or_default();
    Answer::new(status)
        .header(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .body(Bytes::from(text))
}

/// Gives an answer what all have: the version of the API, and a Content-Length (also HEAD, protocol.md 3.9) wherever HTTP allows one.
/// HEAD loses its body.
pub(crate) fn complete(response: &mut Response<Body>, head: bool) {
    let length = response.body().size();
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    headers.insert(API_VERSION, HeaderValue::from_static("registry/2.0"));
    if !bodiless && !headers.contains_key(header::CONTENT_LENGTH) {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    if head || bodiless {
        *response.body_mut() = Body::Empty;
    }
}

/// Whether `If-None-Match` names what the client has already: then 304 spares it the body.
pub(crate) fn is_known(headers: &HeaderMap, etag: &[u8]) -> bool {
    headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok()).any(|list| {
        list.split(',').map(str::trim).any(|one| one == "*" || one.strip_prefix("W/").unwrap_or(one).as_bytes() == etag)
    })
}

/// The entity tag of what a digest names: it never changes.
pub(crate) fn etag(digest: &Digest) -> Bytes {
    let mut text = String::with_capacity(2 + Digest::MAX_TEXT_BYTES);
    let _ = write!(text, "\"{digest}\"");
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_answer_has_its_length() {
        let mut response = json(StatusCode::OK, &["x"]);
        complete(&mut response, true);
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "5");
        assert_eq!(response.body().size(), 0);
        assert_eq!(response.headers()["docker-distribution-api-version"], "registry/2.0");

        let mut response = Answer::new(StatusCode::OK).without_body(42);
        complete(&mut response, true);
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "42");

        let mut response = Answer::new(StatusCode::ACCEPTED).empty();
        complete(&mut response, false);
        assert_eq!(response.headers()[header::CONTENT_LENGTH], "0");

        let mut response = Answer::new(StatusCode::NO_CONTENT).empty();
        complete(&mut response, false);
        assert!(!response.headers().contains_key(header::CONTENT_LENGTH));
    }

    #[test]
    fn if_none_match() {
        let known = |value: &'static str| {
            let headers = HeaderMap::from_iter([(header::IF_NONE_MATCH, HeaderValue::from_static(value))]);
            is_known(&headers, b"\"sha256:a\"")
        };
        assert!(known("\"sha256:a\"") && known("W/\"sha256:a\"") && known("\"x\", \"sha256:a\"") && known("*"));
        assert!(!known("\"sha256:b\"") && !known("sha256:a"));
    }
}
