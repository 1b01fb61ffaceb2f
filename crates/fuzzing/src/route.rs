//! Method and path.

use http::Method;
use roadstead_http_oci::route::{Route, RouteError, parse};

const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];

/// Reads a path (all bytes but the first) with a method (the first). A route that is understood prints back to a path without any trick
/// in it, which means the same.
pub fn route(data: &[u8]) {
    let Some((first, path)) = data.split_first() else { return };
    let Ok(path) = str::from_utf8(path) else { return };
    let method = &METHODS[usize::from(*first) % METHODS.len()];
    match parse(method, path) {
        Ok(route) => {
            let plain = print(&route);
            let harmless = |byte: u8| byte.is_ascii_alphanumeric() || b"/.:_-".contains(&byte);
            assert!(plain.bytes().all(harmless), "{plain:?} of {path:?}");
            let mut parts = plain.trim_start_matches('/').trim_end_matches('/').split('/');
            assert!(parts.all(|part| !matches!(part, "" | "." | "..")), "{plain:?} of {path:?}");
            assert_eq!(parse(method, &plain).as_ref(), Ok(&route), "{plain:?} of {path:?}");
            assert_eq!(parse(method, &plain.replace(':', "%3A")).as_ref(), Ok(&route), "{plain:?} of {path:?}");
        }
        Err(RouteError::Method(allowed)) => {
            assert!(!allowed.split(", ").any(|one| one == method.as_str()), "{method} {path:?}");
            for allowed in allowed.split(", ") {
                let allowed: Method = allowed.parse().expect("a method");
                assert!(!matches!(parse(&allowed, path), Err(RouteError::Method(_))), "{allowed} {path:?}");
            }
        }
        // What is wrong with a path is wrong whatever is done with it.
        Err(_) => assert!(METHODS.iter().all(|method| parse(method, path).is_err()), "{path:?}"),
    }
}

fn print(route: &Route) -> String {
    match route {
        Route::Ping => "/v2/".to_owned(),
        Route::Catalog => "/v2/_catalog".to_owned(),
        Route::TokenGet | Route::TokenPost => "/token".to_owned(),
        Route::Tags(name) => format!("/v2/{name}/tags/list"),
        Route::Referrers(name, digest) => format!("/v2/{name}/referrers/{digest}"),
        Route::ManifestGet(name, reference)
        | Route::ManifestPut(name, reference)
        | Route::ManifestDelete(name, reference) => format!("/v2/{name}/manifests/{reference}"),
        Route::BlobGet(name, digest) | Route::BlobDelete(name, digest) => format!("/v2/{name}/blobs/{digest}"),
        Route::UploadBegin(name) => format!("/v2/{name}/blobs/uploads/"),
        Route::UploadStatus(name, id)
        | Route::UploadPatch(name, id)
        | Route::UploadPut(name, id)
        | Route::UploadDelete(name, id) => format!("/v2/{name}/blobs/uploads/{id}"),
    }
}
