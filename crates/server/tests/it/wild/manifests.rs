//! protocol.md 4: bugs about manifests: what must be taken, and how it comes back.

use roadstead_testkit::content::{self, Manifest, random_bytes, types};
use serde_json::json;

use crate::scene::{Scene, conformance};

conformance!(bug6_attestations_beside_a_docker_image, bug16_f6_children_that_are_blobs);

/// protocol.md 3.4 and 4 #6 (zot #3005): an index with attestation manifests, and a Docker image beside it.
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

/// protocol.md F6, 3.4 and 4 #16, #17: BuildKit's cache is an index of layers and a config, without platforms.
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
