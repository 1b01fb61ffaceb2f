//! protocol.md 1, Errors (L) and Warning (M).

use roadstead_testkit::{Body, Request, content, digest, http::with_parameter};

use crate::scene::{Scene, conformance};

conformance!(
    l1_form_of_every_error,
    l1_head_has_no_body,
    l2_codes,
    l4_unknown_path,
    l4_wrong_method,
    l4_request_id,
    m1_warning
);

/// protocol.md L1: JSON errors on every 4xx of every method.
fn l1_form_of_every_error(t: &Scene) {
    let unknown = digest(b"unknown to everybody");
    for (method, target) in [
        ("GET", t.at("manifests/none")),
        ("GET", t.at(&format!("blobs/{unknown}"))),
        ("GET", t.at("tags/list")),
        ("POST", "/v2/UPPER/blobs/uploads/".to_owned()),
        ("PUT", t.at("manifests/none")),
        ("PUT", t.at("blobs/uploads/none?digest=x")),
        ("PATCH", t.at("blobs/uploads/none")),
        ("DELETE", t.at("manifests/none")),
        ("DELETE", t.at(&format!("blobs/{unknown}"))),
    ] {
        let answer = t.client.send(Request::new(method, &target));
        assert!((400..500).contains(&answer.status), "{answer:?}");
        answer.error_code();
        let anonymous = t.client.anonymous().send(Request::new(method, &target));
        assert!((400..500).contains(&anonymous.status), "{anonymous:?}");
        anonymous.error_code();
    }
}

/// protocol.md N5: no error has a body after HEAD; its length may be said.
fn l1_head_has_no_body(t: &Scene) {
    for target in [t.at("manifests/none"), t.at("blobs/sha256:none"), "/v2/nothing/here".to_owned()] {
        // The client fails when bytes follow.
        let answer = t.client.head(&target);
        assert!((400..500).contains(&answer.status), "{answer:?}");
        t.client.anonymous().head(&target).expect_one_of(&[400, 401, 404]);
    }
}

/// protocol.md L2: the codes of the specification, each where it belongs.
fn l2_codes(t: &Scene) {
    let image = content::image(1);
    let unknown = digest(b"unknown to everybody");
    t.client.get(&t.at("tags/list")).expect_error(404, "NAME_UNKNOWN");
    t.client.push_image(&t.repo, "v1", &image);
    t.client.get(&t.at("manifests/v2")).expect_error(404, "MANIFEST_UNKNOWN");
    t.client.get(&t.at(&format!("blobs/{unknown}"))).expect_error(404, "BLOB_UNKNOWN");
    t.client.get("/v2/UPPER/case/tags/list").expect_error(400, "NAME_INVALID");
    t.client.delete(&t.at(&format!("blobs/{}", digest(&image.blobs[0])))).expect_error(405, "UNSUPPORTED");
    let put = with_parameter(&t.client.begin(&t.repo), "digest", &unknown);
    t.client.put(&put, b"other bytes").expect_error(400, "DIGEST_INVALID");
    t.client.get(&t.at("blobs/uploads/00000000-0000-4000-8000-000000000000")).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let bad = Request::new("PUT", &t.at("manifests/bad")).header("Content-Type", content::types::MANIFEST);
    t.client.send(bad.body(Body::Length(b"{".to_vec()))).expect_error(400, "MANIFEST_INVALID");
    t.client.anonymous().get(&t.at("manifests/v1")).expect_error(401, "UNAUTHORIZED");
}

/// protocol.md L4: unknown paths are 404 and never 500; `docker search` gets its 404.
fn l4_unknown_path(t: &Scene) {
    for target in
        ["/v1/search?q=x", "/v3/", "/v2/x", "/v2//", "/v2/conf/x/y/z", "/v2/_nothing", "/no/such/page", "//", "/v2/%"]
    {
        let answer = t.client.get(target);
        answer.expect_one_of(&[404, 400]);
    }
    t.client.get("/v2/conf/some/nothing").expect_one_of(&[400, 404]).error_code();
}

/// protocol.md L4: 405 with Allow.
fn l4_wrong_method(t: &Scene) {
    t.client.push_image(&t.repo, "v1", &content::image(0));
    for (method, target, allowed) in [
        ("POST", t.at("manifests/v1"), "GET"),
        ("PATCH", t.at("manifests/v1"), "PUT"),
        ("PUT", t.at("tags/list"), "GET"),
        ("DELETE", t.at("tags/list"), "GET"),
        ("POST", t.at(&format!("referrers/{}", digest(b""))), "GET"),
        ("PUT", t.at(&format!("blobs/{}", digest(b""))), "GET"),
        ("GET", t.at("blobs/uploads/"), "POST"),
        ("DELETE", "/v2/_catalog".to_owned(), "GET"),
        ("PUT", "/v2/".to_owned(), "GET"),
    ] {
        let answer = t.client.send(Request::new(method, &target));
        answer.expect(405).error_code();
        let allow = answer.header("Allow");
        assert!(allow.split(',').any(|name| name.trim() == allowed), "{answer:?}");
        assert!(!allow.split(',').any(|name| name.trim() == method), "{answer:?}");
    }
    let odd = t.client.send(Request::new("BREW", &t.at("manifests/v1")));
    odd.expect_one_of(&[405, 501, 400]);
}

/// The request id of the logs is one that the client sees too.
fn l4_request_id(t: &Scene) {
    let ids = [t.client.get("/v2/"), t.client.get(&t.at("manifests/none"))]
        .map(|answer| answer.header("X-Request-Id").to_owned());
    assert!(!ids[0].is_empty() && ids[0] != ids[1], "{ids:?}");
}

/// protocol.md M1: if there is a warning, it has the one form that is allowed.
fn m1_warning(t: &Scene) {
    t.client.push_image(&t.repo, "v1", &content::image(0));
    for answer in [t.client.get("/v2/"), t.client.get(&t.at("manifests/v1")), t.client.get(&t.at("tags/list"))] {
        let warnings = answer.all("Warning");
        assert!(warnings.iter().all(|w| w.starts_with("299 - \"") && w.ends_with('"')), "{answer:?}");
        assert!(warnings.iter().map(|w| w.len()).sum::<usize>() <= 4096, "{answer:?}");
    }
}
