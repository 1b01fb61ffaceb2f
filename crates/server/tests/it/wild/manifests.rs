//! protocol.md 4: bugs about manifests: what must be taken, and how it comes back.

use roadstead_testkit::{
    Body, Request,
    content::{self, Manifest, random_bytes, types},
};
use serde_json::json;

use crate::scene::{Scene, conformance};

conformance!(
    bug6_attestations_beside_a_docker_image,
    bug16_f6_children_that_are_blobs,
    bug17_children_without_platform,
    bug32_what_docker_reads_of_a_head,
    bug35_media_type_byte_for_byte,
);

/// protocol.md 3.4 and 4 #6 (zot #3005): an index with attestation manifests, and a Docker image beside it, without any
/// switch. The real build: `e2e/buildkit.sh`.
fn bug6_attestations_beside_a_docker_image(t: &Scene) {
    let image = content::image(1);
    let mut attestation = content::image(1);
    let mut json = attestation.manifest.json();
    json["layers"][0]["mediaType"] = "application/vnd.in-toto+json".into();
    attestation.manifest = roadstead_testkit::content::Manifest::new(&json);
    for image in [&image, &attestation] {
        t.client.push_image(&t.repo, &image.manifest.digest(), image);
    }
    let mut index = content::index(&[&image.manifest, &attestation.manifest]).json();
    index["manifests"][1]["platform"] = json!({"architecture": "unknown", "os": "unknown"});
    index["manifests"][1]["annotations"] = json!({
        "vnd.docker.reference.type": "attestation-manifest",
        "vnd.docker.reference.digest": image.manifest.digest(),
    });
    let index = content::Manifest::new(&index);
    t.client.push_manifest(&t.repo, "built", &index);
    t.client.push_image(&t.repo, "schema2", &content::docker_image());
    t.client.get(&t.at("manifests/built")).expect(200).expect_body(&index.bytes);
}

/// protocol.md F6, 3.4 and 4 #16 (harbor #14774, buildkit #2479): BuildKit's cache is an index of layers and a config, without platforms.
fn bug16_f6_children_that_are_blobs(t: &Scene) {
    for media_type in [types::INDEX, types::DOCKER_LIST] {
        let layers = [random_bytes(100), random_bytes(100)];
        let cache = random_bytes(50);
        let mut children: Vec<_> = layers.iter().map(|layer| content::descriptor(types::LAYER, layer)).collect();
        children.push(content::descriptor("application/vnd.buildkit.cacheconfig.v0", &cache));
        for blob in layers.iter().chain([&cache]) {
            t.client.push_blob(&t.repo, blob);
        }
        let index = Manifest::new(&content::index_of(children).with("mediaType", media_type).json());
        let digest = t.client.push_manifest(&t.repo, "cache", &index);
        let answer = t.client.get(&t.at("manifests/cache"));
        answer.expect(200).expect_header("Content-Type", media_type).expect_header("Docker-Content-Digest", &digest);
        answer.expect_body(&index.bytes);
    }
}

/// protocol.md 4 #17 (buildkit #1550), 3.4: entries without `platform`, in an index and in Docker's list, are taken and
/// come back as they were; and the cache in its newer form, a manifest with BuildKit's configuration.
fn bug17_children_without_platform(t: &Scene) {
    let images = [content::image(1), content::image(1)];
    for image in &images {
        t.client.push_image(&t.repo, &image.manifest.digest(), image);
    }
    for media_type in [types::INDEX, types::DOCKER_LIST] {
        let children = images.iter().map(|image| image.manifest.descriptor()).collect();
        let index = Manifest::new(&content::index_of(children).with("mediaType", media_type).json());
        t.client.put_manifest(&t.repo, "list", &index).expect(201).expect_no("Warning");
        let answer = t.client.get(&t.at("manifests/list"));
        answer.expect(200).expect_header("Content-Type", media_type).expect_body(&index.bytes);
    }
    let mut cache = content::image(2);
    let mut json = cache.manifest.json();
    json["config"]["mediaType"] = "application/vnd.buildkit.cacheconfig.v0".into();
    cache.manifest = Manifest::new(&json);
    t.client.push_image(&t.repo, "cache", &cache);
    t.client.get(&t.at("manifests/cache")).expect(200).expect_body(&cache.manifest.bytes);
}

/// protocol.md 4 #32 (harbor #13740, #13793), 3.1: docker 20.10 takes type, length and digest from HEAD of the tag, with
/// its Accept in several lines, and then asks for the digest. The real program: `e2e/docker.sh`.
fn bug32_what_docker_reads_of_a_head(t: &Scene) {
    let image = content::docker_image();
    t.client.push_image(&t.repo, "latest", &image);
    let index = content::index(&[&image.manifest]);
    t.client.push_manifest(&t.repo, "multi", &index);
    for (tag, manifest) in [("latest", &image.manifest), ("multi", &index)] {
        let ask = |method: &str, reference: &str| {
            let request = Request::new(method, &t.at(&format!("manifests/{reference}")));
            let accept =
                [types::DOCKER_LIST, types::INDEX, types::DOCKER_MANIFEST, types::MANIFEST, "application/json"];
            t.client.send(accept.iter().fold(request, |request, line| request.header("Accept", line)))
        };
        let head = ask("HEAD", tag);
        head.expect(200).expect_header("Content-Type", &manifest.media_type).expect_length(manifest.bytes.len());
        ask("GET", head.header("Docker-Content-Digest")).expect(200).expect_body(&manifest.bytes);
    }
}

/// protocol.md 4 #35 (pulp_container #1997): the header is the stored type byte for byte, in one line, though the push
/// said a charset and the pull asks for one.
fn bug35_media_type_byte_for_byte(t: &Scene) {
    for media_type in [types::MANIFEST, types::DOCKER_MANIFEST, types::INDEX, types::DOCKER_LIST] {
        let image = content::image(0);
        t.client.push_blob(&t.repo, &image.blobs[0]);
        let of_images = [types::MANIFEST, types::DOCKER_MANIFEST].contains(&media_type);
        let manifest = if of_images { image.manifest } else { content::index_of(Vec::new()) };
        let bytes = manifest.with("mediaType", media_type).bytes;
        let put = Request::new("PUT", &t.at("manifests/v1"));
        let put = put.header("Content-Type", &format!("{media_type}; charset=utf-8"));
        t.client.send(put.body(Body::Length(bytes.clone()))).expect(201);
        for method in ["GET", "HEAD"] {
            for accept in [media_type.to_owned(), format!("{media_type}; charset=utf-8"), "*/*".to_owned()] {
                let answer = t.client.send(Request::new(method, &t.at("manifests/v1")).header("Accept", &accept));
                assert_eq!(answer.expect(200).all("Content-Type"), [media_type], "{answer:?}");
                answer.expect_length(bytes.len());
            }
        }
    }
}
