//! The query of a request under `/v2`.

use percent_encoding::percent_decode_str;

/// The parameters of a query, percent-decoded when they are asked for. A `+` stays a `+`: media types contain it and clients forget to
/// escape it (protocol.md K4), while nothing under `/v2` contains a space.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Query<'a>(&'a str);

impl<'a> Query<'a> {
    /// The part of a URI behind the `?`.
    pub(crate) fn new(query: Option<&'a str>) -> Self {
        Self(query.unwrap_or(""))
    }

    /// The first parameter of this name; an empty value is a value.
    pub(crate) fn get(&self, name: &str) -> Option<String> {
        self.all(name).next()
    }

    /// Like [`Query::get`], but an empty value counts as none.
    pub(crate) fn filled(&self, name: &str) -> Option<String> {
        self.get(name).filter(|value| !value.is_empty())
    }

    /// All parameters of this name, in their order.
    pub(crate) fn all<'n>(&self, name: &'n str) -> impl Iterator<Item = String> + use<'a, 'n> {
        self.0.split('&').filter_map(move |pair| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decode_str(key).decode_utf8().ok()? == name)
                .then(|| percent_decode_str(value).decode_utf8_lossy().into_owned())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_decoded() {
        let query = Query::new(Some(
            "mount=sha256:ab&from=a/b&from=c%2Fd&artifactType=application/x+json&artifactType=y%2Bz&n=&&=&x",
        ));
        assert_eq!(query.get("mount").as_deref(), Some("sha256:ab"));
        assert_eq!(query.all("from").collect::<Vec<_>>(), ["a/b", "c/d"]);
        assert_eq!(query.all("artifactType").collect::<Vec<_>>(), ["application/x+json", "y+z"]);
        assert_eq!((query.get("n"), query.filled("n")), (Some(String::new()), None));
        assert_eq!((query.get("x"), query.get("y")), (Some(String::new()), None));
    }
}
