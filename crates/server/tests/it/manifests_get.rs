//! protocol.md 1, Manifest GET/HEAD (G).

use roadstead_testkit::{
    Request,
    content::{self, ALGORITHMS, Image, Manifest, random_bytes, types},
    digest,
};

use crate::scene::{Scene, conformance};

conformance!(
    g1_headers,
    g2_any_accept,
    g4_unknown,
    g5_tag_of_a_sha512_push,
    g6_mirror_parameter,
    n6_range_on_a_manifest,
    c6_etag_of_a_manifest,
);

/// protocol.md G1, G3 and 4 #35: the stored type byte for byte, length, digest; HEAD the same without a body.
fn g1_headers(t: &Scene) {
    let image = content::image(1);
    let docker = content::docker_image();
    let index = content::index(&[&image.manifest]);
    let list = Manifest::new(&content::index(&[&docker.manifest]).with("mediaType", types::DOCKER_LIST).json());
    let bare = |manifest: &Manifest| Image { manifest: manifest.clone(), blobs: Vec::new() };
    for (tag, image) in [("image", &image), ("docker", &docker), ("index", &bare(&index)), ("list", &bare(&list))] {
        let digest = t.client.push_image(&t.repo, tag, image);
        for reference in [tag, &digest] {
            for (method, body) in [("GET", &image.manifest.bytes[..]), ("HEAD", b"")] {
                let answer = t.client.send(Request::new(method, &t.at(&format!("manifests/{reference}"))));
                answer.expect(200).expect_header("Content-Type", &image.manifest.media_type);
                answer.expect_length(image.manifest.bytes.len()).expect_header("Docker-Content-Digest", &digest);
                answer.expect_no("Content-Encoding").expect_body(body);
            }
        }
    }
}

/// protocol.md G2 and 4 #42: what is stored is served, whatever Accept says, in one line or several.
fn g2_any_accept(t: &Scene) {
    let image = content::docker_image();
    let digest = t.client.push_image(&t.repo, "docker", &image);
    let accepts: [&[&str]; 7] = [
        &[],
        &["*/*"],
        &[types::MANIFEST],
        &[types::INDEX, types::DOCKER_LIST, types::MANIFEST, types::DOCKER_MANIFEST],
        &["application/vnd.docker.distribution.manifest.v1+prettyjws", "application/json", "*/*;q=0.1"],
        &["application/vnd.oci.image.index.v1+json, application/vnd.docker.distribution.manifest.v2+json, */*"],
        &["text/html"],
    ];
    for accept in accepts {
        for reference in ["docker", &digest] {
            for method in ["GET", "HEAD"] {
                let mut request = Request::new(method, &t.at(&format!("manifests/{reference}")));
                for line in accept {
                    request = request.header("Accept", line);
                }
                let answer = t.client.send(request);
                answer.expect(200).expect_header("Content-Type", types::DOCKER_MANIFEST);
            }
        }
    }
}

/// protocol.md G4, H6 and 1.7: MANIFEST_UNKNOWN in a repository that is there, NAME_UNKNOWN (or the same) elsewhere.
fn g4_unknown(t: &Scene) {
    t.client.push_image(&t.repo, "v1", &content::image(0));
    let mut references = vec!["v2".to_owned()];
    references.extend(ALGORITHMS.map(|algorithm| algorithm.of(&random_bytes(10))));
    let nowhere = t.another();
    for reference in references {
        t.client.get(&t.at(&format!("manifests/{reference}"))).expect_error(404, "MANIFEST_UNKNOWN");
        t.client.head(&t.at(&format!("manifests/{reference}"))).expect(404).expect_body(b"");
        let answer = t.client.get(&format!("/v2/{nowhere}/manifests/{reference}"));
        answer.expect(404);
        assert!(["NAME_UNKNOWN", "MANIFEST_UNKNOWN"].contains(&answer.error_code().as_str()), "{answer:?}");
        t.client.head(&format!("/v2/{nowhere}/manifests/{reference}")).expect(404);
    }
}

/// protocol.md G5 and 3.7: the tag of a manifest that was pushed by sha512 resolves to that digest.
fn g5_tag_of_a_sha512_push(t: &Scene) {
    for algorithm in ALGORITHMS {
        let image = content::image(0);
        t.client.push_blob(&t.repo, &image.blobs[0]);
        let digest = algorithm.of(&image.manifest.bytes);
        let target = format!("{digest}?tag={}", algorithm.name());
        t.client.put_manifest(&t.repo, &target, &image.manifest).expect(201).expect_header("OCI-Tag", algorithm.name());
        for method in ["GET", "HEAD"] {
            let answer = t.client.send(Request::new(method, &t.at(&format!("manifests/{}", algorithm.name()))));
            answer.expect(200).expect_header("Docker-Content-Digest", &digest);
        }
    }
}

/// protocol.md G6: containerd names the registry that it mirrors.
fn g6_mirror_parameter(t: &Scene) {
    let image = content::image(1);
    t.client.push_image(&t.repo, "v1", &image);
    t.client.get(&t.at("manifests/v1?ns=docker.io")).expect(200).expect_body(&image.manifest.bytes);
    let layer = digest(&image.blobs[1]);
    t.client.get(&t.at(&format!("blobs/{layer}?ns=docker.io"))).expect(200).expect_body(&image.blobs[1]);
}

/// protocol.md N6: a range on a manifest may be ignored, never be wrong.
fn n6_range_on_a_manifest(t: &Scene) {
    let image = content::image(0);
    t.client.push_image(&t.repo, "v1", &image);
    let answer = t.client.send(Request::new("GET", &t.at("manifests/v1")).header("Range", "bytes=10-19"));
    if answer.expect_one_of(&[200, 206]).status == 200 {
        answer.expect_body(&image.manifest.bytes);
    } else {
        answer.expect_body(&image.manifest.bytes[10..20]);
    }
}

/// protocol.md C6 for manifests: where there is an ETag, it works, and follows the tag.
fn c6_etag_of_a_manifest(t: &Scene) {
    t.client.push_image(&t.repo, "v1", &content::image(0));
    let answer = t.client.get(&t.at("manifests/v1"));
    let Some(etag) = answer.expect(200).get("ETag") else { return };
    let again = || t.client.send(Request::new("GET", &t.at("manifests/v1")).header("If-None-Match", etag));
    again().expect_one_of(&[200, 304]);
    t.client.push_image(&t.repo, "v1", &content::image(0));
    again().expect(200);
}
