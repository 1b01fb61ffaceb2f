//! protocol.md 1, Referrers (K).

use roadstead_testkit::{
    Response,
    content::{self, Algorithm, Manifest, types},
    http::escape,
};
use serde_json::{Value, json};

use crate::scene::{Scene, conformance};

conformance!(
    k2_malformed_digest,
    k3_descriptor,
    k4_filter,
    k5_pages,
    k5_one_page_while_it_fits,
    k6_fallback_tag_beside_the_api,
    k7_subject_at_any_time,
    k8_sha512_subject,
    k8_only_of_this_repository,
);

/// The descriptors of a whole answer, which must look as protocol.md K1 says.
#[track_caller]
pub(crate) fn list(answer: &Response) -> Vec<Value> {
    answer.expect(200).expect_header("Content-Type", types::INDEX);
    let json = answer.json();
    assert_eq!(json["schemaVersion"], 2, "{answer:?}");
    assert_eq!(json["mediaType"], types::INDEX, "{answer:?}");
    json["manifests"].as_array().unwrap_or_else(|| panic!("no list: {answer:?}")).clone()
}

pub(crate) fn referrers(t: &Scene, subject: &str) -> Vec<Value> {
    list(&t.client.get(&t.at(&format!("referrers/{subject}"))))
}

pub(crate) fn digests(list: &[Value]) -> Vec<String> {
    let mut digests: Vec<String> = list.iter().map(|d| d["digest"].as_str().unwrap().to_owned()).collect();
    digests.sort();
    digests
}

/// Pushes an artifact of this type about `subject`; its manifest.
pub(crate) fn push_about(t: &Scene, artifact_type: &str, subject: &Manifest) -> Manifest {
    let mut artifact = content::artifact(artifact_type);
    artifact.manifest = artifact.manifest.about(subject);
    t.client.push_image(&t.repo, &artifact.manifest.digest(), &artifact);
    artifact.manifest
}

/// protocol.md K2.
fn k2_malformed_digest(t: &Scene) {
    for subject in ["sha256:xyz", "latest", "md5:d41d8cd98f00b204e9800998ecf8427e", "sha256:"] {
        t.client.get(&t.at(&format!("referrers/{subject}"))).expect(400).error_code();
    }
}

/// protocol.md K3: media type, digest, size, artifact type, annotations copied in full; nothing else is invented.
fn k3_descriptor(t: &Scene) {
    let subject = content::image(0);
    let mut artifact = content::artifact("application/vnd.example.sbom.v1");
    let annotations =
        json!({"a": "1", "org.opencontainers.image.created": "2026-01-01T00:00:00Z", "ä": "ö \"quoted\" <&>", "": ""});
    artifact.manifest = artifact.manifest.about(&subject.manifest).with("annotations", annotations.clone());
    let digest = t.client.push_image(&t.repo, "sbom", &artifact);
    let expected = json!({
        "mediaType": types::MANIFEST, "digest": digest, "size": artifact.manifest.bytes.len(),
        "artifactType": "application/vnd.example.sbom.v1", "annotations": annotations,
    });
    assert_eq!(referrers(t, &subject.manifest.digest()), [expected]);
}

/// protocol.md K4 and 1.5.8: the filter, escaped, and the header that says it was applied.
fn k4_filter(t: &Scene) {
    let subject = content::image(0).manifest;
    let types = ["application/vnd.oci.sbom.v1+json", "application/vnd.oci.sbom.v1+json", "x/y", "x/y;a=b", "X/Y"];
    let pushed: Vec<Manifest> = types.iter().map(|artifact_type| push_about(t, artifact_type, &subject)).collect();
    assert_eq!(referrers(t, &subject.digest()).len(), 5);
    for (filter, expected) in [("application/vnd.oci.sbom.v1+json", 2), ("x/y", 1), ("x/y;a=b", 1), ("none/such", 0)] {
        let target = t.at(&format!("referrers/{}?artifactType={}", subject.digest(), escape(filter)));
        let answer = t.client.get(&target);
        let found = list(&answer);
        answer.expect_header("OCI-Filters-Applied", "artifactType");
        assert_eq!(found.len(), expected, "{filter}: {answer:?}");
        assert!(found.iter().all(|descriptor| descriptor["artifactType"] == filter), "{answer:?}");
        for descriptor in &found {
            let manifest = pushed.iter().find(|manifest| descriptor["digest"] == manifest.digest()).unwrap();
            assert_eq!(descriptor["annotations"], manifest.json()["annotations"]);
        }
    }
}

/// Pushes `count` artifacts about `subject`, each with an annotation of this many bytes; their digests, sorted.
fn push_many(t: &Scene, subject: &Manifest, count: usize, annotation: usize) -> Vec<String> {
    t.client.push_blob(&t.repo, b"{}");
    let mut pushed: Vec<String> = (0..count)
        .map(|n| {
            let manifest = content::artifact(if n % 2 == 0 { "x/even" } else { "x/odd" }).manifest;
            let annotations = json!({"n": n.to_string(), "long": "x".repeat(annotation)});
            let manifest = manifest.about(subject).with("layers", json!([])).with("annotations", annotations);
            t.client.push_manifest(&t.repo, &manifest.digest(), &manifest)
        })
        .collect();
    pushed.sort();
    pushed
}

/// protocol.md K5: more than 4 MiB are several pages, each 4 MiB at most, each entry once, the filter kept.
fn k5_pages(t: &Scene) {
    let subject = content::image(0).manifest;
    let pushed = push_many(t, &subject, 14, 700_000);
    for (query, expected) in [("", 14), ("?artifactType=x%2Feven", 7)] {
        let mut found = Vec::new();
        let mut pages = 0;
        let mut next = Some(t.at(&format!("referrers/{}{query}", subject.digest())));
        while let Some(target) = next {
            let answer = t.client.get(&target);
            let page = list(&answer);
            assert!(answer.body.len() <= 4 * 1024 * 1024, "a page of {} bytes", answer.body.len());
            assert!(!page.is_empty(), "an empty page: {answer:?}");
            assert_eq!(answer.get("OCI-Filters-Applied"), (!query.is_empty()).then_some("artifactType"));
            found.extend(page);
            pages += 1;
            next = answer.next_page();
        }
        assert!(pages > 1, "{pages} pages");
        let found = digests(&found);
        assert_eq!(found.len(), expected);
        assert!(found.iter().all(|digest| pushed.contains(digest)) && found.is_sorted_by(|a, b| a < b));
    }
}

/// protocol.md K5: no Link while everything fits (ggcr ignored it).
fn k5_one_page_while_it_fits(t: &Scene) {
    let subject = content::image(0).manifest;
    let pushed = push_many(t, &subject, 120, 10);
    let answer = t.client.get(&t.at(&format!("referrers/{}", subject.digest())));
    assert_eq!(digests(&list(&answer)), pushed);
    answer.expect_no("Link");
}

/// The tag of the referrers tag schema.
pub(crate) fn fallback_tag(subject: &str) -> String {
    subject.replace(':', "-")
}

/// protocol.md K6: the tag itself stays what was pushed, and when it goes, so do its entries.
fn k6_fallback_tag_beside_the_api(t: &Scene) {
    let subject = content::image(0).manifest;
    let old = content::artifact("x/y");
    let digest = t.client.push_image(&t.repo, &old.manifest.digest(), &old);
    let index = content::index_of(vec![old.manifest.descriptor()]);
    let tag = fallback_tag(&subject.digest());
    t.client.push_manifest(&t.repo, &tag, &index);
    let new = push_about(t, "x/y", &subject);
    t.client.get(&t.at(&format!("manifests/{tag}"))).expect(200).expect_body(&index.bytes);
    assert_eq!(referrers(t, &subject.digest()).len(), 2);
    t.client.delete(&t.at(&format!("manifests/{tag}"))).expect(202);
    assert_eq!(digests(&referrers(t, &subject.digest())), [new.digest()]);
    t.client.get(&t.at(&format!("manifests/{digest}"))).expect(200);
    // Something else under such a tag lists nothing.
    t.client.push_image(&t.repo, &tag, &content::image(0));
    assert_eq!(digests(&referrers(t, &subject.digest())), [new.digest()]);
}

/// protocol.md K7: pushed earlier, later, or never: the same answer.
fn k7_subject_at_any_time(t: &Scene) {
    let subject = content::image(0);
    let named = subject.manifest.digest();
    let before = push_about(t, "x/y", &subject.manifest);
    let never = referrers(t, &named);
    assert_eq!(digests(&never), [before.digest()]);
    t.client.push_image(&t.repo, "v1", &subject);
    assert_eq!(referrers(t, &named), never);
    let after = push_about(t, "x/y", &subject.manifest);
    let mut expected = [before.digest(), after.digest()];
    expected.sort();
    assert_eq!(digests(&referrers(t, &named)), expected);
    // The same referrer again, also under a tag, is listed once.
    t.client.push_manifest(&t.repo, "sbom", &after);
    assert_eq!(digests(&referrers(t, &named)), expected);
}

/// protocol.md K8.
fn k8_sha512_subject(t: &Scene) {
    let subject = content::image(0);
    t.client.push_blob(&t.repo, &subject.blobs[0]);
    let named = Algorithm::Sha512.of(&subject.manifest.bytes);
    t.client.put_manifest(&t.repo, &named, &subject.manifest).expect(201);
    let mut descriptor = subject.manifest.descriptor();
    descriptor["digest"] = named.clone().into();
    let mut artifact = content::artifact("x/y");
    artifact.manifest = artifact.manifest.with("subject", descriptor);
    for blob in &artifact.blobs {
        t.client.push_blob(&t.repo, blob);
    }
    let answer = t.client.put_manifest(&t.repo, "sbom", &artifact.manifest);
    answer.expect(201).expect_header("OCI-Subject", &named);
    assert_eq!(digests(&referrers(t, &named)), [artifact.manifest.digest()]);
}

/// Invariant 4: referrers of another repository are not listed here.
fn k8_only_of_this_repository(t: &Scene) {
    let subject = content::image(0);
    let other = t.another();
    let mut artifact = content::artifact("x/y");
    artifact.manifest = artifact.manifest.about(&subject.manifest);
    t.client.push_image(&other, "sbom", &artifact);
    t.client.push_image(&t.repo, "v1", &subject);
    assert_eq!(referrers(t, &subject.manifest.digest()), Vec::<Value>::new());
}
