//! JSON bodies of requests and answers.

use std::time::Duration;

use axum::{
    extract::{FromRequest, Request},
    response::{IntoResponse, Response},
};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderValue, header};
use roadstead_http_oci::{CollectError, Incoming};
use roadstead_registry::BodyError;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    problem::{Code, FieldError, Problem},
    service::Api,
};

/// So many bytes may a body have: ten times the largest policy that makes sense.
pub const BODY_BYTES: usize = 64 << 10;
/// A body must have come within this time.
const BODY_TIME: Duration = Duration::from_secs(30);

/// A JSON body. Of a request: at most [`BODY_BYTES`], its members all known, its type said by `Content-Type`. Of an answer: anything.
///
/// Members are checked here, whatever their type says. Do not use `serde(flatten)` or `untagged` in types of requests: behind those
/// serde hides what was left over.
#[derive(Clone, Debug)]
pub struct Json<T>(pub T);

impl<T: DeserializeOwned> FromRequest<Api> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, api: &Api) -> Result<Self, Problem> {
        let (parts, body) = request.into_parts();
        if !says_json(&parts.headers) {
            let words = "the body must be JSON: send `Content-Type: application/json`";
            return Err(Problem::new(Code::UnsupportedMediaType, words));
        }
        let length = parts.headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        let stream = body.into_data_stream().map(|part| part.map_err(|error| BodyError(error.to_string()))).boxed();
        let body = Incoming { stream, length }.collect(BODY_BYTES, BODY_TIME, api.room()).await?;
        parse(&body.bytes).map(Self)
    }
}

impl<T: Serialize> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        match serde_json::to_vec(&self.0) {
            Ok(text) => ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], text).into_response(),
            Err(error) => Problem::internal(format!("an answer can't be written as JSON: {error}")).into_response(),
        }
    }
}

impl From<CollectError> for Problem {
    fn from(error: CollectError) -> Self {
        match error {
            CollectError::TooLarge => Self::new(Code::TooLarge, format!("a body may have {BODY_BYTES} bytes here")),
            CollectError::TooSlow => Self::new(Code::TooSlow, "the body did not come in time"),
            CollectError::NoRoom => Self::unavailable("no memory for another body"),
            CollectError::Broken(error) => Self::invalid(format!("the body did not arrive whole: {error}")),
        }
    }
}

/// `application/json`, or another type in JSON such as `application/merge-patch+json`.
fn says_json(headers: &HeaderMap) -> bool {
    let Some(value) = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()) else { return false };
    let essence = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || essence.starts_with("application/") && essence.ends_with("+json")
}

fn parse<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, Problem> {
    if bytes.trim_ascii().is_empty() {
        return Err(Problem::invalid("the body is empty: send a JSON object"));
    }
    // serde would take an array for an object whose members stand in their order.
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(Problem::invalid("the body must be an object in JSON: `{...}`"));
    }
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let tracked = serde_path_to_error::Deserializer::new(&mut json, &mut track);
    let value = serde_ignored::deserialize(tracked, |path| {
        if unknown.len() < Problem::MOST_FIELDS {
            unknown.push(name_of(&path));
        }
    });
    let value = value.map_err(|error| refused(&error, &track.path().to_string()))?;
    json.end().map_err(|error| refused(&error, "."))?;
    if unknown.is_empty() {
        return Ok(value);
    }
    let message = || "there is no such member here: leave it out, or look for its right name in /api".to_owned();
    Err(Problem::fields(unknown.into_iter().map(|field| FieldError { field, message: message() }).collect()))
}

/// `inner.days` and `rules[0].days`, as serde_path_to_error writes them.
fn name_of(path: &serde_ignored::Path<'_>) -> String {
    use serde_ignored::Path as P;
    match path {
        P::Root => String::new(),
        P::Seq { parent, index } => format!("{}[{index}]", name_of(parent)),
        P::Map { parent, key } => match name_of(parent) {
            parent if parent.is_empty() => key.clone(),
            parent => format!("{parent}.{key}"),
        },
        P::Some { parent } | P::NewtypeStruct { parent } | P::NewtypeVariant { parent } => name_of(parent),
    }
}

fn refused(error: &serde_json::Error, path: &str) -> Problem {
    let words = error.to_string();
    if !error.is_data() {
        return Problem::invalid(format!("the body is not JSON: {words}"));
    }
    let words = words.rsplit_once(" at line ").map_or(&*words, |(words, _)| words);
    // serde says these of the object around the member.
    let named = ["missing field `", "unknown field `", "duplicate field `"];
    let member = named.iter().find_map(|start| words.strip_prefix(start)?.split('`').next());
    let field = match (member, path) {
        (None, ".") => return Problem::invalid(format!("the body is not as it must be: {words}")),
        (Some(member), ".") => member.to_owned(),
        (Some(member), path) if path == member || path.ends_with(&format!(".{member}")) => path.to_owned(),
        (Some(member), path) => format!("{path}.{member}"),
        (None, path) => path.to_owned(),
    };
    Problem::field(field, words)
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Outer {
        name: String,
        #[serde(default)]
        inner: Option<Inner>,
    }

    #[derive(Debug, Deserialize)]
    struct Inner {
        days: u32,
    }

    fn wrong(text: &str) -> (String, Vec<String>) {
        let problem = parse::<Outer>(text.as_bytes()).expect_err(text);
        assert_eq!(problem.code(), Code::Invalid);
        (problem.detail().to_owned(), problem.errors().iter().map(|error| error.field.clone()).collect())
    }

    #[test]
    fn what_is_wrong_is_named() {
        let right = parse::<Outer>(br#"{"name":"a","inner":{"days":3}}"#).expect("right");
        assert_eq!((right.name.as_str(), right.inner.map(|inner| inner.days)), ("a", Some(3)));
        assert_eq!(wrong("{}").1, ["name"]);
        assert_eq!(wrong(r#"{"name":"a","inner":{}}"#).1, ["inner.days"]);
        assert_eq!(wrong(r#"{"name":"a","inner":{"days":"x"}}"#).1, ["inner.days"]);
        assert_eq!(wrong(r#"{"name":"a","name":"b"}"#).1, ["name"]);
        assert_eq!(wrong(r#"{"name":"a","nmae":"b","other":1}"#).1, ["nmae", "other"]);
        assert_eq!(wrong(r#"{"name":"a","inner":{"days":1,"dyas":2}}"#).1, ["inner.dyas"]);
        for text in ["{", "{\"name\":\"a\"} x", "nothing"] {
            assert!(wrong(text).0.contains("not JSON"), "{text}: {}", wrong(text).0);
        }
        assert!(wrong(" ").0.contains("empty"));
        assert!(wrong(r#"["a"]"#).0.contains("an object"));
    }

    #[test]
    fn types_that_are_json() {
        let says = |value: &'static str| {
            says_json(&HeaderMap::from_iter([(header::CONTENT_TYPE, HeaderValue::from_static(value))]))
        };
        assert!(says("application/json") && says("Application/JSON; charset=utf-8"));
        assert!(says("application/merge-patch+json"));
        assert!(!says("text/plain") && !says("application/jsonp") && !says("text/x+json"));
        assert!(!says_json(&HeaderMap::new()));
    }
}
