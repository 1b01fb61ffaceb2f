//! Lists in pages: each goes on behind the last key of the one before, so what comes and goes meanwhile neither repeats nor hides others.

use axum::{
    extract::FromRequestParts,
    response::{IntoResponse, Response},
};
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use http::{HeaderValue, Uri, header, request::Parts};
use roadstead_db::figures::Looked;
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams, ToSchema,
    openapi::path::{Parameter, ParameterIn},
};

use crate::{body::Json, problem::Problem, query::Params};

/// What a page holds when nobody says how much.
const USUAL: u32 = 100;
/// What it holds at most.
const MOST: u32 = 1000;

#[derive(Deserialize, IntoParams)]
struct Parameters {
    /// How many entries a page holds at most.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
    /// `next` of the page before.
    after: Option<String>,
}

/// The page that is asked for. An endpoint lists it under `params(Paging)`, reads [`Paging::fetch`] rows behind [`Paging::after`] in the
/// order of their keys, and gives them to [`Paging::page`].
#[derive(Clone, Debug)]
pub struct Paging {
    limit: usize,
    after: Option<String>,
    uri: Uri,
}

/// One page of a list.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct Page<T> {
    /// The entries.
    pub items: Vec<T>,
    /// Where the next page begins (parameter `after`); absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// The address of the next page.
    #[serde(skip)]
    link: Option<String>,
}

impl Paging {
    /// How many rows to read: one more than the page holds, which tells whether there are others.
    pub fn fetch(&self) -> usize {
        self.limit + 1
    }

    /// The same, as the database counts.
    pub fn rows(&self) -> i64 {
        i64::try_from(self.fetch()).unwrap_or(i64::MAX)
    }

    /// The key behind which the page begins; the beginning of the list without one.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// The page of these rows, whose keys `key` tells.
    pub fn page<T>(&self, rows: Vec<T>, key: impl Fn(&T) -> String) -> Page<T> {
        self.page_before(rows, key, None)
    }

    /// The same, of rows that were looked for as far as the key `rest`: behind it there may be others.
    pub fn page_before<T>(&self, mut rows: Vec<T>, key: impl Fn(&T) -> String, rest: Option<String>) -> Page<T> {
        let more = rows.len() > self.limit;
        rows.truncate(self.limit);
        let next = if more { rows.last().map(key) } else { rest };
        let next = next.map(|next| URL_SAFE_NO_PAD.encode(next));
        let link = next.as_deref().map(|next| self.link(next));
        Page { items: rows, next, link }
    }

    /// As [`Self::page`], of rows that were looked at, of which the last may be one that is not meant: then there may be others behind it.
    pub fn looked<T>(&self, mut rows: Vec<Looked<T>>, key: impl Fn(&(i64, String)) -> String) -> Page<T> {
        let more = rows.len() > self.limit || rows.last().is_some_and(|last| last.found.is_none());
        rows.truncate(self.limit);
        let next = rows.last().filter(|_| more).map(|last| URL_SAFE_NO_PAD.encode(key(&last.key)));
        let link = next.as_deref().map(|next| self.link(next));
        Page { items: rows.into_iter().filter_map(|row| row.found).collect(), next, link }
    }

    /// The row behind which the page begins, where rows are the keys.
    ///
    /// # Errors
    /// 400 for an `after` of another list.
    pub fn row(&self) -> Result<Option<i64>, Problem> {
        self.after().map(str::parse).transpose().map_err(|_| Self::foreign())
    }

    /// The number and the name behind which the page begins, where both are the key and `list` says of which list.
    ///
    /// # Errors
    /// 400 for an `after` of another list.
    pub fn sorted(&self, list: &str) -> Result<Option<(i64, String)>, Problem> {
        let Some(after) = self.after() else { return Ok(None) };
        let rest = after.strip_prefix(list).and_then(|rest| rest.strip_prefix(':'));
        let (number, name) = rest.and_then(|rest| rest.split_once(':')).ok_or_else(Self::foreign)?;
        Ok(Some((number.parse().map_err(|_| Self::foreign())?, name.to_owned())))
    }

    pub(crate) fn foreign() -> Problem {
        Problem::field(
            "after",
            "is not one of this list: take `next` of the page before as it is, with the same `sort`",
        )
    }

    /// The same address with another `after`; relative, so that it stays on the host that the client used.
    fn link(&self, next: &str) -> String {
        let mut query = form_urlencoded::Serializer::new(String::new());
        let asked = form_urlencoded::parse(self.uri.query().unwrap_or_default().as_bytes());
        query.extend_pairs(asked.filter(|(name, _)| name != "after"));
        query.append_pair("after", next);
        format!("<{}?{}>; rel=\"next\"", self.uri.path(), query.finish())
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Paging {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let Params(Parameters { limit, after }) = Params::from_request_parts(parts, state).await?;
        let limit = limit.unwrap_or(USUAL);
        if !(1..=MOST).contains(&limit) {
            return Err(Problem::field("limit", format!("must be from 1 to {MOST}")));
        }
        let read = |cursor: String| {
            let key = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|key| String::from_utf8(key).ok());
            // PostgreSQL can't take a NUL, and no key has one.
            let key = key.filter(|key| !key.contains('\0'));
            key.ok_or_else(|| Problem::field("after", "is not one of ours: take `next` of the page before as it is"))
        };
        let after = after.map(read).transpose()?;
        Ok(Self { limit: limit as usize, after, uri: parts.uri.clone() })
    }
}

impl IntoParams for Paging {
    fn into_params(_: impl Fn() -> Option<ParameterIn>) -> Vec<Parameter> {
        Parameters::into_params(|| Some(ParameterIn::Query))
    }
}

impl<T> Page<T> {
    /// The same page with something else made of its entries.
    pub fn map<U>(self, make: impl FnMut(T) -> U) -> Page<U> {
        Page { items: self.items.into_iter().map(make).collect(), next: self.next, link: self.link }
    }
}

impl<T> Page<T> {
    /// As [`Self::map`], where something may go wrong.
    ///
    /// # Errors
    /// Those of `make`.
    pub fn try_map<U>(self, make: impl FnMut(T) -> Result<U, Problem>) -> Result<Page<U>, Problem> {
        let items = self.items.into_iter().map(make).collect::<Result<_, _>>()?;
        Ok(Page { items, next: self.next, link: self.link })
    }
}

impl<T: Serialize> IntoResponse for Page<T> {
    fn into_response(self) -> Response {
        let link = self.link.as_deref().and_then(|link| HeaderValue::from_str(link).ok());
        let mut response = Json(self).into_response();
        if let Some(link) = link {
            response.headers_mut().insert(header::LINK, link);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    async fn paging(uri: &str) -> Result<Paging, Problem> {
        let mut parts = Request::builder().uri(uri).body(()).expect("a request").into_parts().0;
        Paging::from_request_parts(&mut parts, &()).await
    }

    /// All pages of the numbers below 250, as one who follows the links sees them.
    #[tokio::test]
    async fn the_links_lead_through_the_whole_list() {
        let all: Vec<String> = (0..250).map(|number| format!("n/ä {number:03}")).collect();
        let (mut uri, mut seen, mut pages) = ("/x?limit=100&q=a%26b".to_owned(), Vec::new(), 0);
        loop {
            let paging = paging(&uri).await.expect("right");
            let behind = |name: &&String| paging.after().is_none_or(|after| name.as_str() > after);
            let rows: Vec<_> = all.iter().filter(behind).take(paging.fetch()).cloned().collect();
            let page = paging.page(rows, Clone::clone);
            seen.extend(page.items.clone());
            pages += 1;
            let next = page.next.clone();
            let response = page.into_response();
            let Some(link) = response.headers().get(header::LINK) else {
                assert_eq!(next, None);
                break;
            };
            let link = link.to_str().expect("text").strip_prefix('<').expect("an address");
            uri = link.strip_suffix(">; rel=\"next\"").expect("the next page").to_owned();
            assert!(uri.contains("limit=100&q=a%26b") && uri.contains(&next.expect("a cursor")), "{uri}");
        }
        assert_eq!((seen, pages), (all, 3));
    }

    #[tokio::test]
    async fn a_page_that_is_just_full_is_the_last() {
        let page = paging("/x?limit=2").await.expect("right").page(vec![1, 2], ToString::to_string);
        assert_eq!((page.items, page.next), (vec![1, 2], None));
    }

    #[tokio::test]
    async fn a_page_that_found_little_has_others_behind_it() {
        let looked = |key: i64, found| Looked { key: (key, "n".to_owned()), found };
        let key = |(number, name): &(i64, String)| format!("x:{number}:{name}");
        let paging = paging("/x?limit=2").await.expect("right");
        let page = paging.looked(vec![looked(1, Some(1)), looked(9, None)], key);
        assert_eq!((page.items, page.next), (vec![1], Some(URL_SAFE_NO_PAD.encode("x:9:n"))));
        let page = paging.looked(vec![looked(1, Some(1)), looked(2, Some(2)), looked(9, None)], key);
        assert_eq!((page.items, page.next), (vec![1, 2], Some(URL_SAFE_NO_PAD.encode("x:2:n"))));
        assert_eq!(paging.looked(vec![looked(1, Some(1))], key).next, None);
        let next = self::paging(&format!("/x?after={}", URL_SAFE_NO_PAD.encode("-size:7:a/b"))).await.expect("right");
        assert_eq!(next.sorted("-size").expect("of this list"), Some((7, "a/b".to_owned())));
        assert!(next.sorted("size").is_err() && next.row().is_err());
    }

    #[tokio::test]
    async fn limits_and_cursors_are_checked() {
        assert_eq!(paging("/x").await.expect("right").fetch(), 101);
        assert_eq!(paging("/x?limit=1000").await.expect("right").fetch(), 1001);
        for wrong in ["limit=0", "limit=1001", "limit=-1", "limit=x", "after=!", "after=_w", "after=AA"] {
            let problem = paging(&format!("/x?{wrong}")).await.expect_err(wrong);
            let field = wrong.split('=').next().expect("a name");
            assert_eq!(problem.errors()[0].field, field, "{wrong}");
        }
    }
}
