//! Parameters: those of the query and those of the path.

use axum::extract::{FromRequestParts, Path, Query};
use http::request::Parts;
use serde::de::DeserializeOwned;

use crate::problem::{FieldError, Problem};

/// Parameters of the query, as a type that also derives `utoipa::IntoParams` with `#[into_params(parameter_in = Query)]`.
#[derive(Clone, Debug)]
pub struct Params<T>(pub T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Params<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let Query(read) = Query::try_from_uri(&parts.uri).map_err(|error| wrong(&error.body_text()))?;
        Ok(Self(read))
    }
}

/// Variable segments of the path: one value, a tuple in their order, or a type with their names.
#[derive(Clone, Debug)]
pub struct Segments<T>(pub T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Segments<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let read = Path::from_request_parts(parts, state).await;
        read.map(|Path(read)| Self(read)).map_err(|error| wrong(&error.body_text()))
    }
}

/// axum says `Failed to deserialize query string: limit: invalid digit found in string`.
fn wrong(text: &str) -> Problem {
    let words = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(text);
    let words = words.strip_prefix("Invalid URL: ").unwrap_or(words);
    match words.split_once(": ") {
        Some((field, words)) if !field.contains(' ') => Problem::field(field, words),
        _ => Problem::invalid(format!("the path or a parameter is not right: {words}")),
    }
}

/// A parameter that nobody reads is most often one that was written wrong, and then the answer is not what was asked for.
pub(crate) fn only_known(query: Option<&str>, known: &[String]) -> Result<(), Problem> {
    let names = form_urlencoded::parse(query.unwrap_or_default().as_bytes()).map(|(name, _)| name.into_owned());
    let unknown: Vec<_> = names.filter(|name| !known.contains(name)).take(Problem::MOST_FIELDS).collect();
    if unknown.is_empty() {
        return Ok(());
    }
    let message = match known {
        [] => "this path has no parameters".to_owned(),
        known => format!("there is no such parameter here: this path knows {}", known.join(", ")),
    };
    Err(Problem::fields(unknown.into_iter().map(|field| FieldError { field, message: message.clone() }).collect()))
}

#[cfg(test)]
mod tests {
    use http::Request;
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    struct Filter {
        days: Option<u32>,
    }

    async fn read(query: &str) -> Result<Option<u32>, Problem> {
        let request = Request::builder().uri(format!("/x?{query}")).body(()).expect("a request");
        let mut parts = request.into_parts().0;
        Params::<Filter>::from_request_parts(&mut parts, &()).await.map(|Params(filter)| filter.days)
    }

    #[tokio::test]
    async fn a_wrong_parameter_is_named() {
        assert_eq!(read("days=3").await.expect("right"), Some(3));
        assert_eq!(read("").await.expect("right"), None);
        let problem = read("days=x").await.expect_err("wrong");
        assert_eq!(problem.errors().iter().map(|error| &*error.field).collect::<Vec<_>>(), ["days"]);
    }

    #[test]
    fn an_unknown_parameter_is_refused() {
        let known = ["limit".to_owned(), "after".to_owned()];
        only_known(None, &[]).expect("none");
        only_known(Some("limit=1&after=a%20b"), &known).expect("known");
        let problem = only_known(Some("limt=1"), &known).expect_err("unknown");
        assert!(problem.detail().contains("`limt`") && problem.detail().contains("limit, after"));
        assert!(only_known(Some("x"), &[]).expect_err("unknown").detail().contains("no parameters"));
    }
}
