//! protocol.md 1.5: the checks that only the older conformance suite (v1.1.x) makes, in its order.

use roadstead_testkit::{
    Body, Request,
    content::{self, random_bytes},
    digest,
    http::{escape, with_parameter},
};
use serde_json::json;

use crate::{
    scene::{Scene, conformance},
    tags::{push_tags, tags},
};

conformance!(
    s1_exactly_n_tags,
    s2_anonymous_mount_of_an_unknown_digest,
    s3_locations_of_mounts,
    s4_stale_location,
    s5_totally_wrong_digest,
    s6_refused_delete_of_a_tag,
    s7_count_of_tags,
    s8_five_referrers,
    s9_oci_subject,
    s10_zero_byte_layer,
);

/// protocol.md 1.5.1.
fn s1_exactly_n_tags(t: &Scene) {
    let names: Vec<String> = (0..6).map(|n| format!("test{n}")).collect();
    push_tags(t, &names);
    assert_eq!(tags(&t.client.get(&t.at("tags/list?n=4"))), names[..4]);
    assert_eq!(tags(&t.client.get(&t.at("tags/list?n=4&last=test2"))), names[3..]);
    assert_eq!(tags(&t.client.get(&t.at("tags/list?n=2&last=test2"))), names[3..5]);
}

/// protocol.md 1.5.2.
fn s2_anonymous_mount_of_an_unknown_digest(t: &Scene) {
    let unknown = digest(&random_bytes(10));
    let answer = t.client.post(&t.at(&format!("blobs/uploads/?mount={unknown}")));
    assert!(!answer.expect(202).location().is_empty());
}

/// protocol.md 1.5.3.
fn s3_locations_of_mounts(t: &Scene) {
    let source = t.another();
    let digest = t.client.push_blob(&source, &random_bytes(100));
    let mounted = t.client.post(&t.at(&format!("blobs/uploads/?mount={digest}&from={source}")));
    assert_eq!(mounted.expect(201).location_path(), t.at(&format!("blobs/{digest}")));
    let unknown = roadstead_testkit::digest(&random_bytes(10));
    let failed = t.client.post(&t.at(&format!("blobs/uploads/?mount={unknown}&from={source}")));
    assert!(failed.expect(202).location_path().starts_with(&t.at("blobs/uploads/")), "{failed:?}");
}

/// protocol.md 1.5.4: the stored chunk once more on the stale Location 416; GET there 204 with `Range: 0-N` exactly.
fn s4_stale_location(t: &Scene) {
    let chunks = [random_bytes(3), random_bytes(5)];
    let stale = t.client.begin(&t.repo);
    let location = t.client.patch(&stale, Some(0), &chunks[0]).expect(202).location_path();
    t.client.patch(&stale, Some(0), &chunks[0]).expect(416);
    t.client.get(&stale).expect(204).expect_header("Range", "0-2");
    let location = t.client.patch(&location, Some(3), &chunks[1]).expect(202).location_path();
    let whole = chunks.concat();
    let answer = t.client.put(&with_parameter(&location, "digest", &digest(&whole)), b"");
    t.client.get(&answer.expect(201).location_path()).expect(200).expect_body(&whole);
}

/// protocol.md 1.5.5: the suite sends a body with the GET.
fn s5_totally_wrong_digest(t: &Scene) {
    let request = Request::new("GET", &t.at("manifests/sha256:totallywrong"));
    let answer = t.client.send(request.body(Body::Length(b"{\"some\": \"body\"}".to_vec())));
    answer.expect_one_of(&[400, 404]);
    let code = answer.error_code();
    let known = ["DIGEST_INVALID", "MANIFEST_UNKNOWN", "MANIFEST_INVALID", "NAME_UNKNOWN", "NAME_INVALID"];
    assert!(known.contains(&code.as_str()), "{answer:?}");
}

/// protocol.md 1.5.6: should a tag not be deletable, 400 carries UNSUPPORTED. Roadstead deletes it.
fn s6_refused_delete_of_a_tag(t: &Scene) {
    t.client.push_image(&t.repo, "tag", &content::image(0));
    let answer = t.client.delete(&t.at("manifests/tag"));
    assert!(answer.status != 400 || answer.error_code() == "UNSUPPORTED", "{answer:?}");
    answer.expect(202);
}

/// protocol.md 1.5.7: the count falls with each; 404 at most when none is left.
fn s7_count_of_tags(t: &Scene) {
    let names: Vec<String> = (0..3).map(|n| format!("t{n}")).collect();
    push_tags(t, &names);
    for left in (1..3).rev() {
        t.client.delete(&t.at(&format!("manifests/t{left}"))).expect(202);
        assert_eq!(tags(&t.client.get(&t.at("tags/list"))).len(), left);
    }
    t.client.delete(&t.at("manifests/t0")).expect(202);
    t.client.get(&t.at("tags/list")).expect_one_of(&[200, 404]);
}

/// protocol.md 1.5.8: five, two when filtered, annotations equal.
fn s8_five_referrers(t: &Scene) {
    let subject = content::image(1);
    let named = t.client.push_image(&t.repo, "subject", &subject);
    let push = |artifact_type: &str| {
        let mut artifact = content::artifact(artifact_type);
        artifact.manifest = artifact.manifest.about(&subject.manifest);
        t.client.push_image(&t.repo, &artifact.manifest.digest(), &artifact);
        artifact.manifest
    };
    let pushed = ["a/b", "a/b", "c/d", "e/f", "g/h"].map(push);
    for (query, count) in [(String::new(), 5), (format!("?artifactType={}", escape("a/b")), 2)] {
        let answer = t.client.get(&t.at(&format!("referrers/{named}{query}")));
        let list = answer.expect(200).json()["manifests"].as_array().unwrap().clone();
        assert_eq!(list.len(), count, "{answer:?}");
        assert_eq!(answer.get("OCI-Filters-Applied"), (count == 2).then_some("artifactType"));
        for descriptor in list {
            let manifest = pushed.iter().find(|manifest| descriptor["digest"] == manifest.digest()).unwrap();
            assert_eq!(descriptor["annotations"], manifest.json()["annotations"]);
        }
    }
}

/// protocol.md 1.5.9: before the subject is there, and after.
fn s9_oci_subject(t: &Scene) {
    let subject = content::image(0);
    let mut artifact = content::artifact("a/b");
    artifact.manifest = artifact.manifest.about(&subject.manifest);
    for blob in &artifact.blobs {
        t.client.push_blob(&t.repo, blob);
    }
    let answer = t.client.put_manifest(&t.repo, "a", &artifact.manifest);
    answer.expect(201).expect_header("OCI-Subject", &subject.manifest.digest());
    t.client.push_image(&t.repo, "subject", &subject);
    let answer = t.client.put_manifest(&t.repo, "a", &artifact.manifest);
    answer.expect(201).expect_header("OCI-Subject", &subject.manifest.digest());
}

/// protocol.md 1.5.10: a layer of no bytes, in an image that can be pulled.
fn s10_zero_byte_layer(t: &Scene) {
    let mut image = content::image(0);
    image.manifest = image.manifest.with("layers", json!([content::descriptor(content::types::LAYER, b"")]));
    image.blobs.push(Vec::new());
    t.client.push_image(&t.repo, "empty", &image);
    t.client.get(&t.at(&format!("blobs/{}", digest(b"")))).expect(200).expect_length(0).expect_body(b"");
    t.client.get(&t.at("manifests/empty")).expect(200).expect_body(&image.manifest.bytes);
}
