//! The one form of everything that can go wrong: RFC 9457, with a code for programs and a sentence for people.
//!
//! What a client may know is in `detail`: what was wrong and what would be right. What it may not know (a fault of ours, or of database
//! and bucket) is logged here, once, and answered without its words.

mod code;
mod from;

use std::borrow::Cow;

use axum::response::IntoResponse;
use http::{HeaderName, HeaderValue, Response, StatusCode, header};
use roadstead_http_oci::{Body, RequestId};
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{RefOr, Schema},
};

pub use code::Code;

/// The media type of problems.
pub const MEDIA_TYPE: &str = "application/problem+json";

/// An answer that says what went wrong.
#[derive(Clone, Debug)]
pub struct Problem(Box<Inner>);

#[derive(Clone, Debug)]
struct Inner {
    code: Code,
    detail: String,
    errors: Vec<FieldError>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Words for the log alone.
    inside: Option<String>,
}

/// One member or parameter that is not right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldError {
    /// Where it is: `name`, `rules[0].days`.
    pub field: String,
    /// What is wrong with it and what would be right.
    pub message: String,
}

/// What went wrong (RFC 9457).
#[derive(Serialize, ToSchema)]
struct Document<'a> {
    /// Address of the page that explains the code.
    #[serde(rename = "type")]
    kind: String,
    /// The code in words.
    title: &'static str,
    /// The status of the answer.
    status: u16,
    /// What was wrong here, and what would be right.
    detail: &'a str,
    /// The same in all versions: for programs.
    code: Code,
    /// The id of the request in the server's log.
    request_id: &'a str,
    /// Which members of the body or parameters are not right.
    #[serde(skip_serializing_if = "<[FieldError]>::is_empty")]
    errors: &'a [FieldError],
}

impl Problem {
    /// So many members and parameters are named at most: an answer is no larger than what was asked.
    pub(crate) const MOST_FIELDS: usize = 10;

    /// A problem of this code; `detail` says what was wrong and what would be right.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self(Box::new(Inner { code, detail: detail.into(), errors: Vec::new(), headers: Vec::new(), inside: None }))
    }

    /// 404. What the caller must not know of is `not_found` too, in the same words.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(Code::NotFound, detail)
    }

    /// 409.
    pub fn conflict(detail: impl Into<String>) -> Self {
        Self::new(Code::Conflict, detail)
    }

    /// 403.
    pub fn denied(detail: impl Into<String>) -> Self {
        Self::new(Code::Denied, detail)
    }

    /// 400.
    pub fn invalid(detail: impl Into<String>) -> Self {
        Self::new(Code::Invalid, detail)
    }

    /// 400 about one member or parameter.
    pub fn field(field: impl Into<String>, message: impl Into<String>) -> Self {
        let error = FieldError { field: field.into(), message: message.into() };
        Self::fields(vec![error])
    }

    /// 400 about several members or parameters.
    pub fn fields(mut errors: Vec<FieldError>) -> Self {
        errors.truncate(Self::MOST_FIELDS);
        for error in &mut errors {
            let end = error.field.floor_char_boundary(100);
            error.field.truncate(end);
        }
        let words: Vec<_> = errors.iter().map(|error| format!("`{}`: {}", error.field, error.message)).collect();
        let mut problem = Self::invalid(words.join("; "));
        problem.0.errors = errors;
        problem
    }

    /// 401: no credentials, or wrong ones.
    pub fn unauthenticated(detail: impl Into<String>) -> Self {
        Self::new(Code::Unauthenticated, detail)
            .header(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"roadstead\""))
    }

    /// 503; `why` is for the log.
    pub fn unavailable(why: impl Into<String>) -> Self {
        Self::new(Code::Unavailable, "this can't be done at the moment: try again in a few seconds")
            .header(header::RETRY_AFTER, HeaderValue::from_static("5"))
            .inside(why)
    }

    /// 500 without a word of what happened; `why` is for the log.
    pub fn internal(why: impl Into<String>) -> Self {
        Self::new(Code::Internal, "a fault of the service; its log says more under this request's id").inside(why)
    }

    /// Adds a header.
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.headers.push((name, value));
        self
    }

    fn inside(mut self, why: impl Into<String>) -> Self {
        self.0.inside = Some(why.into());
        self
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// Its sentence.
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// What is wrong with single members or parameters.
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    /// An error that axum made by itself, from its status and its words.
    pub(crate) fn of_axum(status: StatusCode, text: &str, headers: &http::HeaderMap) -> Self {
        let code = Code::of_status(status);
        if code == Code::Internal {
            return Self::internal(format!("axum answered {}: {text}", status.as_u16()));
        }
        let allowed = headers.get(header::ALLOW);
        let detail = match (code, allowed.and_then(|value| value.to_str().ok())) {
            (Code::NotFound, _) => {
                "there is nothing at this path: /api/v1/openapi.json lists all paths, and /api shows them".into()
            }
            (Code::MethodNotAllowed, Some(allowed)) => format!("this path knows {}", allowed.replace(',', ", ")),
            _ if text.trim().is_empty() => code.meaning().to_owned(),
            _ => text.to_owned(),
        };
        let problem = Self::new(code, detail);
        match allowed {
            Some(allowed) => problem.header(header::ALLOW, allowed.clone()),
            None => problem,
        }
    }

    /// The answer; logs what the client must not see.
    pub(crate) fn render(self, request: &RequestId) -> Response<Body> {
        let Inner { code, detail, errors, headers, inside } = *self.0;
        if let Some(why) = inside {
            if code == Code::Unavailable {
                tracing::warn!(%why, "answered 503");
            } else {
                tracing::error!(%why, "answered {}", code.status().as_u16());
            }
        }
        let document = Document {
            kind: format!("/api/problems#{}", code.word()),
            title: code.title(),
            status: code.status().as_u16(),
            detail: &detail,
            code,
            request_id: &request.0,
            errors: &errors,
        };
        let text = serde_json::to_vec(&document).unwrap_or_default();
        let mut response = Response::new(Body::Bytes(text.into()));
        *response.status_mut() = code.status();
        response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        response.headers_mut().extend(headers);
        response
    }
}

/// Stays what it is until the door writes it, which knows the id of the request.
impl IntoResponse for Problem {
    fn into_response(self) -> axum::response::Response {
        let mut response = self.0.code.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl PartialSchema for Problem {
    fn schema() -> RefOr<Schema> {
        Document::schema()
    }
}

impl ToSchema for Problem {
    fn name() -> Cow<'static, str> {
        Cow::Borrowed("Problem")
    }

    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        Document::schemas(schemas);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn rendered(problem: Problem) -> (Response<()>, Value) {
        let (parts, body) = problem.render(&RequestId("r-1".into())).into_parts();
        let Body::Bytes(bytes) = body else { panic!("no bytes") };
        (Response::from_parts(parts, ()), serde_json::from_slice(&bytes).expect("JSON"))
    }

    #[test]
    fn a_problem_says_all_of_rfc_9457() {
        let (answer, body) = rendered(Problem::field("name", "must have 3 letters"));
        assert_eq!(answer.status(), 400);
        assert_eq!(answer.headers()[header::CONTENT_TYPE], MEDIA_TYPE);
        let expected = json!({
            "type": "/api/problems#invalid", "title": "Invalid request", "status": 400, "code": "invalid",
            "detail": "`name`: must have 3 letters", "request_id": "r-1",
            "errors": [{ "field": "name", "message": "must have 3 letters" }],
        });
        assert_eq!(body, expected);
        assert!(rendered(Problem::not_found("x")).1.get("errors").is_none());
    }

    #[test]
    fn internals_stay_inside() {
        for problem in [Problem::internal("secret"), Problem::unavailable("secret")] {
            let (answer, body) = rendered(problem);
            assert!(answer.status().is_server_error());
            assert!(!body.to_string().contains("secret") && body["request_id"] == "r-1", "{body}");
        }
    }

    #[test]
    fn what_axum_refuses_is_told_in_words() {
        let allow = http::HeaderMap::from_iter([(header::ALLOW, HeaderValue::from_static("GET,HEAD"))]);
        let problem = Problem::of_axum(StatusCode::METHOD_NOT_ALLOWED, "", &allow);
        assert_eq!(problem.detail(), "this path knows GET, HEAD");
        assert_eq!(rendered(problem).0.headers()[header::ALLOW], "GET,HEAD");
        let problem = Problem::of_axum(StatusCode::NOT_FOUND, "", &http::HeaderMap::new());
        assert!(problem.detail().contains("openapi.json"));
        let problem = Problem::of_axum(StatusCode::URI_TOO_LONG, "secret", &http::HeaderMap::new());
        assert_eq!(problem.code(), Code::Invalid);
        let problem = Problem::of_axum(StatusCode::INTERNAL_SERVER_ERROR, "secret", &http::HeaderMap::new());
        assert!(!rendered(problem).1.to_string().contains("secret"));
    }
}
