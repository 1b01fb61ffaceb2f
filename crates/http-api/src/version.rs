//! Entity tags: a change that says what it is based on fails when somebody else was faster.
//!
//! The tag of a thing is the number that its row counts its changes with: `ETag: "3"`.

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use http::{HeaderMap, HeaderName, HeaderValue, header, request::Parts};
use serde::Serialize;
use utoipa::{
    IntoParams,
    openapi::path::{Parameter, ParameterIn},
};

use crate::{
    body::Json,
    problem::{Code, Problem},
};

/// An answer with the version of what it shows.
#[derive(Clone, Debug)]
pub struct Versioned<T>(pub i64, pub T);

impl<T: Serialize> IntoResponse for Versioned<T> {
    fn into_response(self) -> Response {
        let mut response = Json(self.1).into_response();
        if let Ok(tag) = HeaderValue::from_str(&format!("\"{}\"", self.0)) {
            response.headers_mut().insert(header::ETAG, tag);
        }
        response
    }
}

/// What a change is based on: `If-Match` and `If-None-Match: *`. An endpoint lists it under `params(Conditions)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    matches: Option<Matches>,
    none: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Matches {
    Any,
    /// Versions; a tag that can't be one of ours matches nothing and is left out.
    Of(Vec<i64>),
}

impl Conditions {
    /// Whether the change may be made to what has this version now; `None`: it does not exist. To be asked inside the transaction
    /// that changes it.
    ///
    /// # Errors
    /// 412 `stale`.
    pub fn check(&self, version: Option<i64>) -> Result<(), Problem> {
        if self.none && version.is_some() {
            let words = "it exists already, and `If-None-Match: *` wants it to be new";
            return Err(Problem::new(Code::Stale, words));
        }
        let fits = match (&self.matches, version) {
            (None, _) | (Some(Matches::Any), Some(_)) => true,
            (Some(Matches::Of(versions)), Some(version)) => versions.contains(&version),
            (Some(_), None) => false,
        };
        if fits {
            return Ok(());
        }
        let now =
            version.map_or_else(|| "is not there".to_owned(), |version| format!("has the entity tag \"{version}\""));
        let words = format!("it {now}, which is not what `If-Match` says: read it again and decide anew");
        Err(Problem::new(Code::Stale, words))
    }

    /// For operations on what has no entity tag: whether it has to be new.
    ///
    /// # Errors
    /// 400 for an `If-Match`.
    pub fn without_tag(&self) -> Result<bool, Problem> {
        match self.matches {
            None => Ok(self.none),
            Some(_) => Err(Problem::field("If-Match", "this has no `ETag`: leave the header out")),
        }
    }

    /// For operations that make something.
    ///
    /// # Errors
    /// 400 for an `If-Match`, which means something that is there.
    pub fn only_new(&self) -> Result<(), Problem> {
        if self.matches.is_none() {
            return Ok(());
        }
        Err(Problem::field("If-Match", "PUT makes something new here: change what is there with PATCH"))
    }

    /// What a change of something that has this version now has to find still: nothing special without `If-Match`.
    ///
    /// # Errors
    /// 412 `stale`.
    pub fn expected(&self, version: i64) -> Result<Option<i64>, Problem> {
        self.check(Some(version))?;
        Ok(self.matches.is_some().then_some(version))
    }

    fn read(headers: &HeaderMap) -> Result<Self, Problem> {
        let matches = list(headers, header::IF_MATCH)?;
        let matches = match matches.as_deref() {
            None => None,
            Some(["*"]) => Some(Matches::Any),
            Some(tags) => {
                let mut versions = Vec::new();
                for tag in tags {
                    let wrong =
                        || Problem::field("If-Match", "must be the `ETag` of an answer as it is, such as \"3\"");
                    // Weak tags never match here (RFC 9110, 13.1.1).
                    let bare = tag.strip_prefix("W/").unwrap_or(tag);
                    let inner = bare.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).ok_or_else(wrong)?;
                    versions.extend(inner.parse::<i64>().ok().filter(|_| bare == *tag));
                }
                Some(Matches::Of(versions))
            }
        };
        // Other tags in it are for reading.
        let none = list(headers, header::IF_NONE_MATCH)?.is_some_and(|tags| tags == ["*"]);
        Ok(Self { matches, none })
    }
}

/// The entries of all headers of this name.
fn list(headers: &HeaderMap, name: HeaderName) -> Result<Option<Vec<&str>>, Problem> {
    let mut entries = None;
    for value in headers.get_all(&name) {
        let text = value.to_str().map_err(|_| Problem::field(name.as_str(), "is not text"))?;
        entries.get_or_insert_with(Vec::new).extend(text.split(',').map(str::trim));
    }
    Ok(entries)
}

impl<S: Send + Sync> FromRequestParts<S> for Conditions {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        Self::read(&parts.headers)
    }
}

#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "for the document alone")]
struct Headers {
    /// The `ETag` of what the change is based on.
    #[param(rename = "If-Match")]
    if_match: Option<String>,
    /// `*`: only if there is nothing yet.
    #[param(rename = "If-None-Match")]
    if_none_match: Option<String>,
}

impl IntoParams for Conditions {
    fn into_params(provider: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Headers::into_params(provider)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn conditions(given: &[(HeaderName, &'static str)]) -> Result<Conditions, Problem> {
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(name, HeaderValue::from_static(value));
        }
        Conditions::read(&headers)
    }

    #[test]
    fn a_tag_is_the_version() {
        let response = Versioned(7, "x").into_response();
        assert_eq!(response.headers()[header::ETAG], "\"7\"");
        let same = conditions(&[(header::IF_MATCH, "\"7\"")]).expect("right");
        same.check(Some(7)).expect("the same");
        assert_eq!(same.check(Some(8)).expect_err("changed").code(), Code::Stale);
        assert_eq!(same.check(None).expect_err("gone").code(), Code::Stale);
    }

    #[test]
    fn what_matches() {
        let fits = |value, version| conditions(&[(header::IF_MATCH, value)]).expect(value).check(version).is_ok();
        assert!(fits("*", Some(1)) && !fits("*", None));
        assert!(fits("\"1\", \"2\"", Some(2)) && !fits("\"1\", \"2\"", Some(3)));
        assert!(!fits("W/\"1\"", Some(1)) && !fits("\"other\"", Some(1)));
        for wrong in ["1", "\"1", ""] {
            assert_eq!(conditions(&[(header::IF_MATCH, wrong)]).expect_err(wrong).code(), Code::Invalid);
        }
        assert_eq!(conditions(&[]).expect("right"), Conditions::default());
        assert!(Conditions::default().check(Some(1)).is_ok() && Conditions::default().check(None).is_ok());
    }

    #[test]
    fn only_if_it_is_new() {
        let new = conditions(&[(header::IF_NONE_MATCH, "*")]).expect("right");
        new.check(None).expect("new");
        assert_eq!(new.check(Some(1)).expect_err("there").code(), Code::Stale);
        conditions(&[(header::IF_NONE_MATCH, "\"1\"")]).expect("right").check(Some(1)).expect("for reading alone");
    }
}
