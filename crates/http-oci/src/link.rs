//! The `Link` header of a page (RFC 8288) and the parameters `n` and `last` of lists (protocol.md H3-H5).

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use http::{HeaderValue, Response, header};
use roadstead_registry::Page;

use crate::query::Query;

/// What a list holds when the client does not say, and at most.
pub(crate) const MOST_NAMES: usize = 10_000;

/// What stays as it is in the value of a query parameter.
const KEPT: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~').remove(b'/').remove(b':');

/// The page a client asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Paging {
    /// `n`, as far as it is a number. Zero asks for an empty list without a `Link`.
    pub(crate) n: Option<usize>,
    /// `last`: names after this one.
    pub(crate) last: Option<String>,
}

impl Paging {
    /// Reads `n` and `last`. An `n` that is no number, or negative, is ignored.
    pub(crate) fn read(query: Query<'_>) -> Self {
        let n = query.filled("n").filter(|n| n.bytes().all(|c| c.is_ascii_digit()));
        // No name has a control character, so what comes after one makes no difference; PostgreSQL can't take a NUL.
        let last = query.filled("last").map(|last| last.split(char::is_control).next().unwrap_or_default().to_owned());
        Self { n: n.map(|n| n.parse().unwrap_or(usize::MAX)), last: last.filter(|last| !last.is_empty()) }
    }

    /// How many names the page may hold.
    pub(crate) fn limit(&self) -> usize {
        self.n.unwrap_or(MOST_NAMES).min(MOST_NAMES)
    }
}

/// `</v2/N/tags/list?n=10&last=x>; rel="next"`: relative, so that it stays on the host the client used.
pub(crate) fn next(path: &str, parameters: &[(&str, &str)]) -> String {
    let mut link = format!("<{path}");
    for (index, (name, value)) in parameters.iter().enumerate() {
        link.push(if index == 0 { '?' } else { '&' });
        link.push_str(name);
        link.push('=');
        link.extend(utf8_percent_encode(value, &KEPT));
    }
    link.push_str(">; rel=\"next\"");
    link
}

/// Adds the `Link` of a page of names, if there is more after it. The last page has none at all (some clients follow any), nor has an
/// empty one that was asked for with `n=0`.
pub(crate) fn add<B>(response: &mut Response<B>, path: &str, paging: &Paging, page: &Page) {
    let Some(last) = page.names.last().filter(|_| page.more) else { return };
    let n = paging.limit().to_string();
    if let Ok(value) = HeaderValue::try_from(next(path, &[("n", &n), ("last", last)])) {
        response.headers_mut().insert(header::LINK, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paging_is_read() {
        let read = |query: &str| Paging::read(Query::new(Some(query)));
        assert_eq!(read("n=5&last=a"), Paging { n: Some(5), last: Some("a".into()) });
        assert_eq!(read("last=a").limit(), MOST_NAMES);
        assert_eq!(read("n=0").limit(), 0);
        for ignored in ["n=-1", "n=x", "n=", "n=1.5", "n=+1"] {
            assert_eq!(read(ignored).n, None, "{ignored}");
        }
        assert_eq!(read("n=99999999999999999999999").limit(), MOST_NAMES);
    }

    #[test]
    fn a_link_is_relative_and_escaped() {
        assert_eq!(
            next("/v2/a/b/tags/list", &[("n", "2"), ("last", "v1+x&y")]),
            "</v2/a/b/tags/list?n=2&last=v1%2Bx%26y>; rel=\"next\""
        );
    }
}
