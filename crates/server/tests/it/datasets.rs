//! The data sets of protocol.md 1.7: each pushed by digest, then by tag, headed, pulled byte for byte, listed, deleted.

use roadstead_testkit::{
    Request,
    content::{self, Algorithm, Image, Manifest, random_bytes, types},
};
use serde_json::json;

use crate::scene::{Scene, conformance};

conformance!(
    image,
    image_uncompressed,
    large_manifest,
    index,
    nested_index,
    empty_index,
    artifact,
    artifact_index,
    artifact_without_layers,
    artifacts_with_subject,
    index_with_subject,
    missing_subject,
    data_field,
    non_distributable_layers,
    custom_fields,
    no_layers,
    sparse,
    sha512_image,
    tag_param,
);

/// Pushes manifests in order (blobs first), by digest and then by tag, and takes the last through its whole life.
fn whole_life(t: &Scene, images: &[Image], algorithm: Algorithm) {
    for image in images {
        for blob in &image.blobs {
            t.client.push_blob(&t.repo, blob);
        }
        let digest = algorithm.of(&image.manifest.bytes);
        let answer = t.client.put_manifest(&t.repo, &digest, &image.manifest);
        answer.expect(201).expect_header("Docker-Content-Digest", &digest);
        t.client.get(&answer.location_path()).expect(200).expect_body(&image.manifest.bytes);
    }
    let Some(Image { manifest, .. }) = images.last() else { panic!("nothing to push") };
    let digest = algorithm.of(&manifest.bytes);
    t.client.put_manifest(&t.repo, &format!("{digest}?tag=by-parameter"), manifest).expect(201);
    let by_tag = t.client.put_manifest(&t.repo, "by-tag", manifest);
    let tagged = by_tag.expect(201).header("Docker-Content-Digest").to_owned();
    for (reference, digest) in [(&digest[..], &digest), ("by-parameter", &digest), ("by-tag", &tagged)] {
        for (method, body) in [("GET", &manifest.bytes[..]), ("HEAD", b"")] {
            let request = Request::new(method, &t.at(&format!("manifests/{reference}")));
            let answer = t.client.send(request.header("Accept", &manifest.media_type));
            answer.expect(200).expect_header("Content-Type", &manifest.media_type).expect_body(body);
            answer.expect_length(manifest.bytes.len()).expect_header("Docker-Content-Digest", digest);
        }
    }
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json()["tags"], json!(["by-parameter", "by-tag"]));
    t.client.delete(&t.at("manifests/by-tag")).expect(202);
    t.client.head(&t.at("manifests/by-tag")).expect(404);
    t.client.head(&t.at(&format!("manifests/{digest}"))).expect(200);
    t.client.delete(&t.at(&format!("manifests/{digest}"))).expect(202);
    t.client.head(&t.at("manifests/by-parameter")).expect(404);
    t.client.head(&t.at(&format!("manifests/{digest}"))).expect(404);
}

fn bare(manifest: Manifest) -> Image {
    Image { manifest, blobs: Vec::new() }
}

/// protocol.md 1.7: image.
fn image(t: &Scene) {
    whole_life(t, &[content::image(3)], Algorithm::Sha256);
}

/// protocol.md 1.7: image-uncompressed.
fn image_uncompressed(t: &Scene) {
    let mut image = content::image(1);
    let mut json = image.manifest.json();
    json["layers"][0]["mediaType"] = types::LAYER_TAR.into();
    image.manifest = Manifest::new(&json);
    whole_life(t, &[image], Algorithm::Sha256);
}

/// protocol.md 1.7: large-manifest, 390 annotations of 10,000 bytes.
fn large_manifest(t: &Scene) {
    let mut image = content::image(1);
    let annotations = (0..390).map(|n| (format!("org.example.{n}"), json!("x".repeat(10_000))));
    image.manifest = image.manifest.with("annotations", annotations.collect::<serde_json::Map<_, _>>());
    whole_life(t, &[image], Algorithm::Sha256);
}

/// protocol.md 1.7: index.
fn index(t: &Scene) {
    let [a, b] = [content::image(1), content::image(1)];
    let index = bare(content::index(&[&a.manifest, &b.manifest]));
    whole_life(t, &[a, b, index], Algorithm::Sha256);
}

/// protocol.md 1.7: nested-index.
fn nested_index(t: &Scene) {
    let [a, b] = [content::image(1), content::image(1)];
    let inner = content::index(&[&a.manifest]);
    let outer = content::index(&[&inner, &b.manifest]);
    whole_life(t, &[a, b, bare(inner), bare(outer)], Algorithm::Sha256);
}

/// protocol.md 1.7: empty-index, `manifests: []`.
fn empty_index(t: &Scene) {
    whole_life(t, &[bare(content::index(&[]))], Algorithm::Sha256);
}

/// protocol.md 1.7: artifact.
fn artifact(t: &Scene) {
    whole_life(t, &[content::artifact("application/vnd.example.artifact")], Algorithm::Sha256);
}

/// protocol.md 1.7: artifact-index.
fn artifact_index(t: &Scene) {
    let child = content::artifact("application/vnd.example.artifact");
    let index = content::index(&[&child.manifest]).with("artifactType", "application/vnd.example.index");
    whole_life(t, &[child, bare(index)], Algorithm::Sha256);
}

/// protocol.md 1.7: artifact-without-layers: the empty blob `{}` stands for one.
fn artifact_without_layers(t: &Scene) {
    let mut artifact = content::artifact("application/vnd.example.artifact");
    artifact.manifest = artifact.manifest.with("layers", json!([content::descriptor(types::EMPTY, b"{}")]));
    artifact.blobs.truncate(1);
    whole_life(t, &[artifact], Algorithm::Sha256);
}

/// protocol.md 1.7: artifacts-with-subject.
fn artifacts_with_subject(t: &Scene) {
    let subject = content::image(1);
    let about = |artifact_type: &str| {
        let mut artifact = content::artifact(artifact_type);
        artifact.manifest = artifact.manifest.about(&subject.manifest);
        artifact
    };
    let [signature, sbom] = [about("application/vnd.example.signature"), about("application/vnd.example.sbom")];
    whole_life(t, &[subject, signature, sbom], Algorithm::Sha256);
}

/// protocol.md 1.7: index-with-subject.
fn index_with_subject(t: &Scene) {
    let subject = content::image(1);
    let child = content::image(1);
    let index = content::index(&[&child.manifest]).about(&subject.manifest);
    whole_life(t, &[subject, child, bare(index)], Algorithm::Sha256);
}

/// protocol.md 1.7: missing-subject.
fn missing_subject(t: &Scene) {
    let mut artifact = content::artifact("application/vnd.example.artifact");
    artifact.manifest = artifact.manifest.about(&content::image(0).manifest);
    whole_life(t, &[artifact], Algorithm::Sha256);
}

/// protocol.md 1.7: data-field: a descriptor that carries its bytes.
fn data_field(t: &Scene) {
    let mut artifact = content::artifact("application/vnd.example.artifact");
    let mut json = artifact.manifest.json();
    json["config"]["data"] = "e30=".into();
    artifact.manifest = Manifest::new(&json);
    whole_life(t, &[artifact], Algorithm::Sha256);
}

/// protocol.md 1.7, 1.6.4 and F6: layers that are never pushed, by their type or by `urls`.
fn non_distributable_layers(t: &Scene) {
    for (media_type, urls) in [
        (types::FOREIGN_LAYER, json!(["https://example.com/layer"])),
        ("application/vnd.oci.image.layer.nondistributable.v1.tar", json!(null)),
        ("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", json!(["https://example.com/layer"])),
        (types::LAYER, json!(["https://example.com/layer"])),
    ] {
        let mut image = content::image(1);
        let mut foreign = content::descriptor(media_type, &random_bytes(100));
        if urls.is_array() {
            foreign["urls"] = urls;
        }
        let mut json = image.manifest.json();
        json["layers"].as_array_mut().unwrap().push(foreign);
        image.manifest = Manifest::new(&json);
        whole_life(t, &[image], Algorithm::Sha256);
    }
}

/// protocol.md 1.7: custom-fields: members that nobody knows are kept.
fn custom_fields(t: &Scene) {
    let mut image = content::image(1);
    let mut json = image.manifest.json();
    json["org.example.custom"] = json!({"nested": [1, 2.5, null, true]});
    json["config"]["org.example.custom"] = "x".into();
    json["layers"][0]["platform"] = json!({"os": "x", "custom": "y"});
    image.manifest = Manifest::new(&json);
    whole_life(t, &[image], Algorithm::Sha256);
}

/// protocol.md 1.7: no-layers, `layers: []`.
fn no_layers(t: &Scene) {
    whole_life(t, &[content::image(0)], Algorithm::Sha256);
}

/// protocol.md 1.7: sparse: one child of three is here.
fn sparse(t: &Scene) {
    let here = content::image(1);
    let [a, b] = [content::image(0), content::image(0)];
    let index = bare(content::index(&[&a.manifest, &here.manifest, &b.manifest]));
    whole_life(t, &[here, index], Algorithm::Sha256);
}

/// protocol.md 1.7: sha512: every digest in and around the manifest.
fn sha512_image(t: &Scene) {
    let mut image = content::image(1);
    let mut json = image.manifest.json();
    for (part, blob) in [("config", &image.blobs[0]), ("layer", &image.blobs[1])] {
        let digest = Algorithm::Sha512.of(blob);
        let location = t.client.begin(&t.repo);
        t.client.put(&roadstead_testkit::http::with_parameter(&location, "digest", &digest), blob).expect(201);
        let descriptor = if part == "config" { &mut json["config"] } else { &mut json["layers"][0] };
        descriptor["digest"] = digest.into();
    }
    image.manifest = Manifest::new(&json);
    image.blobs.clear();
    whole_life(t, &[image], Algorithm::Sha512);
}

/// protocol.md 1.7: tag-param, sha256 and sha512 (end-7b).
fn tag_param(t: &Scene) {
    for algorithm in content::ALGORITHMS {
        let image = content::image(1);
        for blob in &image.blobs {
            t.client.push_blob(&t.repo, blob);
        }
        let digest = algorithm.of(&image.manifest.bytes);
        let answer = t.client.put_manifest(&t.repo, &format!("{digest}?tag=a&tag=b"), &image.manifest);
        answer.expect(201);
        let mut tags = answer.all("OCI-Tag");
        tags.sort_unstable();
        assert_eq!(tags, ["a", "b"]);
        for reference in ["a", "b", &digest] {
            let answer = t.client.get(&t.at(&format!("manifests/{reference}")));
            answer.expect(200).expect_header("Docker-Content-Digest", &digest).expect_body(&image.manifest.bytes);
        }
    }
}
