//! The one parser of paths: method and path in, [`Route`] out.
//!
//! A repository may be called `a/blobs/uploads/manifests/b` (protocol.md A4), so a path is read from its right end: the last components
//! say what it is about, and all that is left of them is the name. Percent-encoded characters are decoded once; what is then no valid
//! name, tag or digest (`..`, empty components, control characters) is refused here and never reaches the core.

use std::borrow::Cow;

use http::Method;
use percent_encoding::percent_decode_str;
use roadstead_model::{Digest, DigestError, NameError, Reference, RepositoryName, Tag};

/// What a request is about. HEAD is GET without the body, except that a handler may save itself the work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Route {
    /// `GET /v2/` (end-1).
    Ping,
    /// `GET /v2/_catalog`.
    Catalog,
    /// `GET /token`.
    TokenGet,
    /// `POST /token`.
    TokenPost,
    /// `GET /v2/N/tags/list` (end-8).
    Tags(RepositoryName),
    /// `GET /v2/N/referrers/D` (end-12).
    Referrers(RepositoryName, Digest),
    /// `GET /v2/N/manifests/R` (end-3).
    ManifestGet(RepositoryName, Reference),
    /// `PUT /v2/N/manifests/R` (end-7).
    ManifestPut(RepositoryName, Reference),
    /// `DELETE /v2/N/manifests/R` (end-9).
    ManifestDelete(RepositoryName, Reference),
    /// `GET /v2/N/blobs/D` (end-2).
    BlobGet(RepositoryName, Digest),
    /// `DELETE /v2/N/blobs/D` (end-10).
    BlobDelete(RepositoryName, Digest),
    /// `POST /v2/N/blobs/uploads/` (end-4, end-11).
    UploadBegin(RepositoryName),
    /// `GET` of an upload (end-13).
    UploadStatus(RepositoryName, String),
    /// `PATCH` of an upload (end-5).
    UploadPatch(RepositoryName, String),
    /// `PUT` of an upload (end-6).
    UploadPut(RepositoryName, String),
    /// `DELETE` of an upload (end-14).
    UploadDelete(RepositoryName, String),
}

/// Why a method and path are no [`Route`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RouteError {
    /// There is nothing at this path (404).
    Path,
    /// The path is known, the method is not; these are (405 with `Allow`).
    Method(&'static str),
    /// The repository's name, or the tag, is malformed (400 NAME_INVALID).
    Name(NameError),
    /// The digest is malformed (400 DIGEST_INVALID, protocol.md A3).
    Digest(DigestError),
    /// No upload can have this id (404 BLOB_UPLOAD_UNKNOWN).
    Upload,
}

/// The longest id of an upload that is looked up at all.
const MAX_UPLOAD_ID: usize = 64;

/// Reads `method` and the raw `path` of a request.
pub fn parse(method: &Method, path: &str) -> Result<Route, RouteError> {
    if path == "/token" {
        return match *method {
            Method::GET => Ok(Route::TokenGet),
            Method::POST => Ok(Route::TokenPost),
            _ => Err(RouteError::Method("GET, POST")),
        };
    }
    let rest = path.strip_prefix("/v2").ok_or(RouteError::Path)?;
    if matches!(rest, "" | "/") {
        return read(method, Route::Ping);
    }
    let rest = rest.strip_prefix('/').ok_or(RouteError::Path)?;
    let rest = if rest.as_bytes().contains(&b'%') { decoded(rest)? } else { Cow::Borrowed(rest) };
    if rest == "_catalog" {
        return read(method, Route::Catalog);
    }
    parse_in_repository(method, &rest)
}

fn decoded(rest: &str) -> Result<Cow<'_, str>, RouteError> {
    // A proxy in front that grants rights by path reads an encoded slash as part of a name; so it must not be a path's slash here.
    if rest.contains("%2f") || rest.contains("%2F") {
        return Err(RouteError::Path);
    }
    percent_decode_str(rest).decode_utf8().map_err(|_| RouteError::Path)
}

fn parse_in_repository(method: &Method, rest: &str) -> Result<Route, RouteError> {
    let (before, last) = rest.rsplit_once('/').ok_or(RouteError::Path)?;
    let (name, what) = before.rsplit_once('/').unwrap_or(("", before));
    match what {
        // `.../blobs/uploads/`, also without its last slash: an algorithm is never called `uploads`.
        "uploads" if last.is_empty() => match name.strip_suffix("/blobs") {
            Some(name) => begin(method, name),
            None => Err(RouteError::Path),
        },
        "blobs" if last == "uploads" => begin(method, name),
        "blobs" => blob(method, name, last),
        "manifests" => manifest(method, name, last),
        "referrers" => {
            known(method, "GET, HEAD")?;
            Ok(Route::Referrers(repository(name)?, digest(last)?))
        }
        "tags" if last == "list" => {
            known(method, "GET, HEAD")?;
            Ok(Route::Tags(repository(name)?))
        }
        "uploads" => match name.strip_suffix("/blobs") {
            Some(name) => upload(method, name, last),
            None => Err(RouteError::Path),
        },
        _ => Err(RouteError::Path),
    }
}

fn read(method: &Method, route: Route) -> Result<Route, RouteError> {
    known(method, "GET, HEAD").map(|()| route)
}

/// `allowed` lists the methods of a path as the `Allow` header has them.
fn known(method: &Method, allowed: &'static str) -> Result<(), RouteError> {
    let mut methods = allowed.as_bytes().split(|byte| *byte == b',');
    let known = methods.any(|one| one.trim_ascii_start() == method.as_str().as_bytes());
    if known { Ok(()) } else { Err(RouteError::Method(allowed)) }
}

fn begin(method: &Method, name: &str) -> Result<Route, RouteError> {
    known(method, "POST")?;
    Ok(Route::UploadBegin(repository(name)?))
}

fn blob(method: &Method, name: &str, last: &str) -> Result<Route, RouteError> {
    known(method, "GET, HEAD, DELETE")?;
    let (name, digest) = (repository(name)?, digest(last)?);
    Ok(match *method {
        Method::DELETE => Route::BlobDelete(name, digest),
        _ => Route::BlobGet(name, digest),
    })
}

fn manifest(method: &Method, name: &str, last: &str) -> Result<Route, RouteError> {
    known(method, "GET, HEAD, PUT, DELETE")?;
    let (name, reference) = (repository(name)?, reference(last)?);
    Ok(match *method {
        Method::PUT => Route::ManifestPut(name, reference),
        Method::DELETE => Route::ManifestDelete(name, reference),
        _ => Route::ManifestGet(name, reference),
    })
}

fn upload(method: &Method, name: &str, last: &str) -> Result<Route, RouteError> {
    known(method, "GET, HEAD, PATCH, PUT, DELETE")?;
    let name = repository(name)?;
    let plain = last.bytes().all(|c| c.is_ascii_alphanumeric() || matches!(c, b'-' | b'_'));
    if !plain || last.len() > MAX_UPLOAD_ID {
        return Err(RouteError::Upload);
    }
    let id = last.to_owned();
    Ok(match *method {
        Method::PATCH => Route::UploadPatch(name, id),
        Method::PUT => Route::UploadPut(name, id),
        Method::DELETE => Route::UploadDelete(name, id),
        _ => Route::UploadStatus(name, id),
    })
}

fn repository(text: &str) -> Result<RepositoryName, RouteError> {
    text.parse().map_err(RouteError::Name)
}

fn digest(text: &str) -> Result<Digest, RouteError> {
    text.parse().map_err(RouteError::Digest)
}

fn reference(text: &str) -> Result<Reference, RouteError> {
    if text.contains(':') {
        return digest(text).map(Reference::Digest);
    }
    text.parse::<Tag>().map(Reference::Tag).map_err(RouteError::Name)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use roadstead_model::Algorithm;

    use super::*;

    const HEX: &str = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a";

    fn name(text: &str) -> RepositoryName {
        text.parse().expect("a name of the test")
    }

    fn get(path: &str) -> Result<Route, RouteError> {
        parse(&Method::GET, path)
    }

    /// protocol.md B3.
    #[test]
    fn ping_with_and_without_a_slash() {
        assert_eq!(get("/v2"), Ok(Route::Ping));
        assert_eq!(get("/v2/"), Ok(Route::Ping));
        assert_eq!(parse(&Method::HEAD, "/v2/"), Ok(Route::Ping));
        assert_eq!(parse(&Method::POST, "/v2/"), Err(RouteError::Method("GET, HEAD")));
        assert_eq!(get("/v2x"), Err(RouteError::Path));
    }

    /// protocol.md A4: components of the API are also names.
    #[test]
    fn names_made_of_the_words_of_the_api() {
        let tag = |text: &str| Reference::Tag(text.parse().expect("a tag of the test"));
        assert_eq!(get("/v2/blobs/manifests/blobs"), Ok(Route::ManifestGet(name("blobs"), tag("blobs"))));
        assert_eq!(get("/v2/a/blobs/uploads/manifests/x"), Ok(Route::ManifestGet(name("a/blobs/uploads"), tag("x"))));
        assert_eq!(get("/v2/manifests/tags/tags/list"), Ok(Route::Tags(name("manifests/tags"))));
        assert_eq!(get("/v2/a/manifests/tags/list"), Ok(Route::Tags(name("a/manifests"))));
        assert_eq!(get("/v2/a/tags/manifests/list"), Ok(Route::ManifestGet(name("a/tags"), tag("list"))));
        assert_eq!(
            parse(&Method::POST, "/v2/blobs/uploads/blobs/uploads/"),
            Ok(Route::UploadBegin(name("blobs/uploads")))
        );
        assert_eq!(
            get("/v2/a/referrers/blobs/uploads/0123abcd"),
            Ok(Route::UploadStatus(name("a/referrers"), "0123abcd".into()))
        );
    }

    #[test]
    fn begin_also_without_its_last_slash() {
        assert_eq!(parse(&Method::POST, "/v2/a/blobs/uploads"), Ok(Route::UploadBegin(name("a"))));
        assert_eq!(parse(&Method::GET, "/v2/a/blobs/uploads/"), Err(RouteError::Method("POST")));
    }

    /// protocol.md D10: clients write `%3A` for the colon of a digest; nothing is decoded twice.
    #[test]
    fn percent_encoding_is_decoded_once() {
        let digest: Digest = format!("sha256:{HEX}").parse().expect("a digest");
        assert_eq!(get(&format!("/v2/a/blobs/sha256%3A{HEX}")), Ok(Route::BlobGet(name("a"), digest)));
        assert_eq!(get(&format!("/v2/%61/blobs/sha256%3a{HEX}")), Ok(Route::BlobGet(name("a"), digest)));
        assert_eq!(get(&format!("/v2/a%2Fb/blobs/sha256:{HEX}")), Err(RouteError::Path));
        assert_eq!(get("/v2/a/manifests/%2561"), Err(RouteError::Name(NameError::Tag)));
        assert_eq!(get("/v2/%2e%2e/tags/list"), Err(RouteError::Name(NameError::Repository)));
        assert_eq!(get("/v2/a/manifests/%ff"), Err(RouteError::Path));
    }

    #[test]
    fn path_tricks_are_refused() {
        for path in ["/v2//tags/list", "/v2/../tags/list", "/v2/a//tags/list", "/v2/a/../b/tags/list", "/v2/tags/list"]
        {
            assert_eq!(get(path), Err(RouteError::Name(NameError::Repository)), "{path}");
        }
        for path in ["/v2/a", "/v2/a/tags/list/", "/v2/a/blobs/", "/v2/_catalog/", "/v2/a/uploads/x", "/token/", "/"] {
            assert!(matches!(get(path), Err(RouteError::Path | RouteError::Digest(_))), "{path}");
        }
        assert_eq!(get("/v2/a/blobs/uploads/x%00y"), Err(RouteError::Upload));
    }

    /// protocol.md A3: malformed digests are 400, not 404 or 500.
    #[test]
    fn malformed_digests() {
        assert_eq!(get("/v2/a/manifests/sha256:totallywrong"), Err(RouteError::Digest(DigestError::Hash)));
        assert_eq!(get("/v2/a/blobs/md5:00"), Err(RouteError::Digest(DigestError::Algorithm)));
        assert_eq!(get("/v2/a/referrers/latest"), Err(RouteError::Digest(DigestError::Form)));
    }

    fn any_name() -> impl Strategy<Value = RepositoryName> {
        let component = prop_oneof![
            Just("blobs".to_owned()),
            Just("manifests".to_owned()),
            Just("tags".to_owned()),
            Just("list".to_owned()),
            Just("uploads".to_owned()),
            Just("referrers".to_owned()),
            "[a-z0-9]{1,8}([._-][a-z0-9]{1,4})?",
        ];
        prop::collection::vec(component, 1..6).prop_map(|parts| parts.join("/").parse().expect("built as a valid name"))
    }

    fn any_digest() -> impl Strategy<Value = Digest> {
        (any::<bool>(), any::<u64>()).prop_map(|(long, seed)| {
            let algorithm = if long { Algorithm::Sha512 } else { Algorithm::Sha256 };
            Digest::of(algorithm, &seed.to_be_bytes())
        })
    }

    fn any_reference() -> impl Strategy<Value = Reference> {
        let tag = prop_oneof![Just("list".to_owned()), Just("uploads".to_owned()), "[A-Za-z0-9_][A-Za-z0-9._-]{0,20}"];
        prop_oneof![
            any_digest().prop_map(Reference::Digest),
            tag.prop_map(|tag| Reference::Tag(tag.parse().expect("built as a valid tag"))),
        ]
    }

    fn any_route() -> impl Strategy<Value = (Method, String, Route)> {
        let id = "[0-9a-f]{32}";
        let manifest = (any_name(), any_reference(), 0..3usize).prop_map(|(name, reference, which)| {
            let path = format!("/v2/{name}/manifests/{reference}");
            match which {
                0 => (Method::GET, path, Route::ManifestGet(name, reference)),
                1 => (Method::PUT, path, Route::ManifestPut(name, reference)),
                _ => (Method::DELETE, path, Route::ManifestDelete(name, reference)),
            }
        });
        let blob = (any_name(), any_digest(), 0..3usize).prop_map(|(name, digest, which)| {
            let path = format!("/v2/{name}/blobs/{digest}");
            match which {
                0 => (Method::GET, path, Route::BlobGet(name, digest)),
                1 => (Method::DELETE, path, Route::BlobDelete(name, digest)),
                _ => (Method::GET, format!("/v2/{name}/referrers/{digest}"), Route::Referrers(name, digest)),
            }
        });
        let upload = (any_name(), id, 0..6usize).prop_map(|(name, id, which)| {
            let path = format!("/v2/{name}/blobs/uploads/{id}");
            match which {
                0 => (Method::GET, path, Route::UploadStatus(name, id)),
                1 => (Method::PATCH, path, Route::UploadPatch(name, id)),
                2 => (Method::PUT, path, Route::UploadPut(name, id)),
                3 => (Method::DELETE, path, Route::UploadDelete(name, id)),
                4 => (Method::POST, format!("/v2/{name}/blobs/uploads/"), Route::UploadBegin(name)),
                _ => (Method::GET, format!("/v2/{name}/tags/list"), Route::Tags(name)),
            }
        });
        prop_oneof![manifest, blob, upload]
    }

    proptest! {
        #[test]
        fn every_built_route_is_read_back((method, path, route) in any_route(), encode: bool) {
            let path = if encode { path.replace(':', "%3A") } else { path };
            prop_assert_eq!(parse(&method, &path), Ok(route));
        }

        #[test]
        fn no_path_panics(path in "\\PC{0,80}", pieces in prop::collection::vec("(/|v2|%|%2[fF]|%00|\\.\\.|blobs|uploads|manifests|:|[a-z]{0,3})", 0..12)) {
            for method in [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::OPTIONS] {
                let _ = parse(&method, &path);
                let _ = parse(&method, &format!("/v2/{path}"));
                let _ = parse(&method, &format!("/v2/{}", pieces.concat()));
            }
        }
    }
}
