//! Whole conversations as programs hold them: protocol.md 1.4 and 3.

use roadstead_testkit::{
    Body, Request, Response,
    content::{self, random_bytes, types},
    digest,
    http::{path_of, with_parameter},
    token::Challenge,
};
use serde_json::json;

use crate::scene::{Scene, conformance};

conformance!(
    p14_chunked_manifest_and_patch,
    p14_first_challenge_only,
    p14_empty_basic_is_anonymous,
    p14_addresses_of_a_session,
    p31_docker_push_and_pull,
    p31_docker_resumes_a_layer,
    p32_containerd_push,
    p33_skopeo_push,
    p35_streamed_layer,
    p35_push_permission,
    p37_regctl_upload,
    p38_oras_ping,
    p38_helm_version_tags,
    p38_cosign_signature_tag,
);

/// protocol.md 1.4: manifest PUT and PATCH with `Transfer-Encoding: chunked`, Location of both fetched.
fn p14_chunked_manifest_and_patch(t: &Scene) {
    let image = content::image(1);
    for blob in &image.blobs {
        let patch = Request::new("PATCH", &t.client.begin(&t.repo)).body(Body::streamed(blob));
        let location = t.client.send(patch).expect(202).location_path();
        let put = t.client.put(&with_parameter(&location, "digest", &digest(blob)), b"");
        t.client.get(&put.expect(201).location_path()).expect(200).expect_body(blob);
    }
    let put = Request::new("PUT", &t.at("manifests/v1")).header("Content-Type", types::MANIFEST);
    let put = t.client.send(put.body(Body::streamed(&image.manifest.bytes)));
    t.client.get(&put.expect(201).location_path()).expect(200).expect_body(&image.manifest.bytes);
}

/// protocol.md 1.4, 2.1 and 4 #31: one challenge of one scheme (`Challenge::of` fails at a second or another).
fn p14_first_challenge_only(t: &Scene) {
    for (method, target, scope) in [
        ("GET", t.at("manifests/v1"), format!("repository:{}:pull", t.repo)),
        ("HEAD", t.at("manifests/v1"), format!("repository:{}:pull", t.repo)),
        ("GET", t.at("tags/list"), format!("repository:{}:pull", t.repo)),
        ("GET", t.at(&format!("blobs/{}", digest(b""))), format!("repository:{}:pull", t.repo)),
        ("GET", t.at(&format!("referrers/{}", digest(b""))), format!("repository:{}:pull", t.repo)),
        ("POST", t.at("blobs/uploads/"), format!("repository:{}:pull,push", t.repo)),
        ("PUT", t.at("manifests/v1"), format!("repository:{}:pull,push", t.repo)),
        ("PATCH", t.at("blobs/uploads/x"), format!("repository:{}:pull,push", t.repo)),
        ("DELETE", t.at("manifests/v1"), format!("repository:{}:delete", t.repo)),
    ] {
        let challenge = Challenge::of(&t.client.anonymous().send(Request::new(method, &target)));
        assert_eq!(challenge.scope, Some(scope), "{method} {target}");
        assert_eq!(challenge.error, None);
    }
}

/// protocol.md 1.4: `Basic Og==` at the token endpoint is an anonymous client, not a wrong password.
fn p14_empty_basic_is_anonymous(t: &Scene) {
    let challenge = Challenge::of(&t.client.anonymous().get("/v2/"));
    let request = Request::new("GET", &challenge.target(&[])).header("Authorization", "Basic Og==");
    let token = t.client.send(request).expect(200).json()["token"].as_str().unwrap().to_owned();
    let bearer = Request::new("GET", "/v2/").header("Authorization", &format!("Bearer {token}"));
    t.client.send(bearer).expect_one_of(&[200, 401]);
}

/// protocol.md 1.4: every address of an upload looks like `/v2/REPO/blobs/uploads/x`.
fn p14_addresses_of_a_session(t: &Scene) {
    let begun = t.client.post(&t.at("blobs/uploads/")).location();
    let patched = t.client.patch(path_of(&begun), None, b"x").expect(202).location();
    for location in [begun, patched] {
        let path = path_of(&location).split('?').next().unwrap();
        let id = path.strip_prefix(&t.at("blobs/uploads/")).unwrap_or_else(|| panic!("{location}"));
        assert!(!id.is_empty() && !id.contains('/'), "{location}");
    }
}

/// protocol.md 3.1: as docker does it, in Docker's own types.
fn p31_docker_push_and_pull(t: &Scene) {
    let image = content::docker_image();
    for blob in &image.blobs {
        let target = t.at(&format!("blobs/{}", digest(blob)));
        t.client.head(&target).expect(404);
        let begun = t.client.send(Request::new("POST", &t.at("blobs/uploads/")));
        let patch = Request::new("PATCH", &begun.expect(202).location_path()).body(Body::streamed(blob));
        let patched = t.client.send(patch);
        // docker reads "%d-%d" and takes the second + 1 for the size of the layer.
        let (first, last) = patched.expect(202).header("Range").split_once('-').unwrap();
        assert_eq!((first, last.parse::<usize>().unwrap() + 1), ("0", blob.len()));
        let put = with_parameter(&patched.location_path(), "digest", &digest(blob));
        t.client.send(Request::new("PUT", &put).body(Body::None)).expect(201);
        t.client.head(&target).expect(200).expect_length(blob.len());
    }
    let pushed = t.client.put_manifest(&t.repo, "latest", &image.manifest);
    let named = pushed.expect(201).header("Docker-Content-Digest").to_owned();
    let head = t.client.head(&t.at("manifests/latest"));
    head.expect(200).expect_header("Content-Type", types::DOCKER_MANIFEST).expect_length(image.manifest.bytes.len());
    assert_eq!(head.header("Docker-Content-Digest"), named);
    t.client.get(&t.at(&format!("manifests/{named}"))).expect(200).expect_body(&image.manifest.bytes);
    for blob in &image.blobs {
        t.client.get(&t.at(&format!("blobs/{}", digest(blob)))).expect(200).expect_body(blob);
    }
}

/// protocol.md 3.1: a pull that broke off goes on with `Range: bytes=N-`.
fn p31_docker_resumes_a_layer(t: &Scene) {
    let bytes = random_bytes(500_000);
    let digest = t.client.push_blob(&t.repo, &bytes);
    let request = Request::new("GET", &t.at(&format!("blobs/{digest}"))).header("Range", "bytes=123456-");
    let rest: Response = t.client.send(request);
    rest.expect(206).expect_body(&bytes[123_456..]).expect_header("Content-Range", "bytes 123456-499999/500000");
}

/// protocol.md 3.2: POST, then one PUT with everything; HEAD of the manifest before.
fn p32_containerd_push(t: &Scene) {
    let image = content::image(1);
    let accept = [types::MANIFEST, types::INDEX, "*/*"].join(", ");
    let head = Request::new("HEAD", &t.at("manifests/v1?ns=registry.example")).header("Accept", &accept);
    t.client.send(head).expect(404);
    for blob in &image.blobs {
        let post = Request::new("POST", &t.at("blobs/uploads/")).body(Body::None);
        let put = with_parameter(&t.client.send(post).expect(202).location_path(), "digest", &digest(blob));
        t.client.put(&put, blob).expect(201).expect_header("Docker-Content-Digest", &digest(blob));
    }
    let named = image.manifest.digest();
    let answer = t.client.put_manifest(&t.repo, &named, &image.manifest);
    answer.expect(201).expect_header("Docker-Content-Digest", &named);
    t.client.put_manifest(&t.repo, "v1", &image.manifest).expect(201).expect_header("Docker-Content-Digest", &named);
}

/// protocol.md 3.3: PATCH with length, PUT empty, the rest of a failed mount deleted.
fn p33_skopeo_push(t: &Scene) {
    let image = content::image(1);
    for blob in &image.blobs {
        let location = t.client.patch(&t.client.begin(&t.repo), None, blob).expect(202).location_path();
        let put = with_parameter(&location, "digest", &digest(blob));
        t.client.put(&put, b"").expect(201);
    }
    t.client.push_manifest(&t.repo, "v1", &image.manifest);
    let listed = t.client.get(&t.at("tags/list")).expect(200).expect_no("X-Registry-Supports-Signatures").json();
    assert_eq!(listed["tags"], json!(["v1"]));
    // `skopeo delete`: the digest by HEAD, then DELETE, which must be 202 exactly.
    let named = t.client.head(&t.at("manifests/v1")).header("Docker-Content-Digest").to_owned();
    t.client.delete(&t.at(&format!("manifests/{named}"))).expect(202);
}

/// protocol.md 3.5: the digest is known only at PUT (`crane append`, ko).
fn p35_streamed_layer(t: &Scene) {
    let bytes = random_bytes(200_000);
    let post = Request::new("POST", &t.at("blobs/uploads/")).header("Content-Type", "application/json");
    let patch = Request::new("PATCH", &t.client.send(post).expect(202).location_path()).body(Body::streamed(&bytes));
    let location = t.client.send(patch).expect(202).location_path();
    t.client.put(&with_parameter(&location, "digest", &digest(&bytes)), b"").expect(201);
}

/// protocol.md 2.5, 3.5: cosign and kaniko try POST and cancel it.
fn p35_push_permission(t: &Scene) {
    let location = t.client.begin(&t.repo);
    t.client.delete(&location).expect(204);
    t.client.get(&t.at("tags/list")).expect(404);
}

/// protocol.md 3.7: anonymous mount first, then chunks by `Content-Range`, on from a 416 by what it says.
fn p37_regctl_upload(t: &Scene) {
    let bytes = random_bytes(3000);
    let digest = digest(&bytes);
    let mounted = t.client.post(&t.at(&format!("blobs/uploads/?mount={digest}")));
    let location =
        t.client.patch(&mounted.expect(202).location_path(), Some(0), &bytes[..1000]).expect(202).location_path();
    let refused = t.client.patch(&location, Some(2000), &bytes[2000..]);
    let stored: usize = refused.expect(416).header("Range").strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    let location = t.client.patch(&refused.location_path(), Some(stored), &bytes[stored..]).expect(202).location_path();
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
}

/// protocol.md 3.8: oras asks for the referrers of a digest of zeroes: 200, or it takes the API for missing.
fn p38_oras_ping(t: &Scene) {
    let zeroes = format!("sha256:{}", "0".repeat(64));
    let answer = t.client.get(&t.at(&format!("referrers/{zeroes}")));
    answer.expect(200).expect_header("Content-Type", types::INDEX);
}

/// protocol.md 3.8: `+` of a chart's version becomes `_`; versions are found by tags/list.
fn p38_helm_version_tags(t: &Scene) {
    let mut chart = content::image(1);
    let mut json = chart.manifest.json();
    json["config"]["mediaType"] = "application/vnd.cncf.helm.config.v1+json".into();
    json["layers"][0]["mediaType"] = "application/vnd.cncf.helm.chart.content.v1.tar+gzip".into();
    chart.manifest = content::Manifest::new(&json);
    for version in ["0.1.0", "0.1.1_build.5"] {
        t.client.push_image(&t.repo, version, &chart);
    }
    assert_eq!(t.client.get(&t.at("tags/list")).json()["tags"], json!(["0.1.0", "0.1.1_build.5"]));
    t.client.head(&t.at(&format!("blobs/{}", digest(&chart.blobs[1])))).expect(200).expect_length(1000);
}

/// protocol.md 3.8: cosign 2 reads, adds to and moves the tag `sha256-HEX.sig`.
fn p38_cosign_signature_tag(t: &Scene) {
    let image = content::image(0);
    let tag = format!("{}.sig", t.client.push_image(&t.repo, "v1", &image).replace(':', "-"));
    t.client.head(&t.at(&format!("manifests/{tag}"))).expect(404);
    for _ in 0..2 {
        let mut signature = content::image(1);
        let mut json = signature.manifest.json();
        json["layers"][0]["mediaType"] = "application/vnd.dev.cosign.simplesigning.v1+json".into();
        json["layers"][0]["annotations"] = json!({"dev.cosignproject.cosign/signature": "MEUC"});
        signature.manifest = content::Manifest::new(&json);
        let named = t.client.push_image(&t.repo, &tag, &signature);
        let head = t.client.head(&t.at(&format!("manifests/{tag}")));
        head.expect(200).expect_header("Docker-Content-Digest", &named);
    }
}
