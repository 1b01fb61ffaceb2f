//! protocol.md 1, Referrers (K).

use roadstead_testkit::{
    Response,
    content::{self, Algorithm, Image, Manifest, random_bytes, types},
    digest,
    http::escape,
};
use serde_json::{Value, json};

use crate::scene::{Scene, conformance};

conformance!(
    k1_empty,
    k2_malformed_digest,
    k3_descriptor,
    k3_kinds_of_artifact_types,
    k4_filter,
    k4_filter_of_nothing,
    k5_pages,
    k5_one_page_while_it_fits,
    k6_fallback_tag,
    k6_fallback_tag_beside_the_api,
    k7_subject_at_any_time,
    k8_sha512_subject,
    k8_only_of_this_repository,
);

/// The descriptors of a whole answer, which must look as protocol.md K1 says.
#[track_caller]
fn list(answer: &Response) -> Vec<Value> {
    answer.expect(200).expect_header("Content-Type", types::INDEX);
    let json = answer.json();
    assert_eq!(json["schemaVersion"], 2, "{answer:?}");
    assert_eq!(json["mediaType"], types::INDEX, "{answer:?}");
    json["manifests"].as_array().unwrap_or_else(|| panic!("no list: {answer:?}")).clone()
}

fn referrers(t: &Scene, subject: &str) -> Vec<Value> {
    list(&t.client.get(&t.at(&format!("referrers/{subject}"))))
}

fn digests(list: &[Value]) -> Vec<String> {
    let mut digests: Vec<String> = list.iter().map(|d| d["digest"].as_str().unwrap().to_owned()).collect();
    digests.sort();
    digests
}

/// Pushes an artifact of this type about `subject`; its manifest.
fn push_about(t: &Scene, artifact_type: &str, subject: &Manifest) -> Manifest {
    let mut artifact = content::artifact(artifact_type);
    artifact.manifest = artifact.manifest.about(subject);
    t.client.push_image(&t.repo, &artifact.manifest.digest(), &artifact);
    artifact.manifest
}

/// protocol.md K1, 1.6.3, 4 #20, #21 and oras' ping: 200 and an empty index, also for what nobody has heard of.
fn k1_empty(t: &Scene) {
    let unknown = digest(&random_bytes(10));
    let zeroes = format!("sha256:{}", "0".repeat(64));
    for subject in [&unknown, &zeroes, &Algorithm::Sha512.of(b"unknown")] {
        assert_eq!(referrers(t, subject), Vec::<Value>::new());
    }
    let image = content::image(0);
    let there = t.client.push_image(&t.repo, "v1", &image);
    for subject in [&unknown, &there] {
        let answer = t.client.get(&t.at(&format!("referrers/{subject}")));
        assert_eq!(list(&answer), Vec::<Value>::new());
        answer.expect_no("OCI-Filters-Applied").expect_no("Link");
    }
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

/// protocol.md K3 and 4 #19: the manifest's artifactType, else the config's media type; none for an index without.
fn k3_kinds_of_artifact_types(t: &Scene) {
    let subject = content::image(0).manifest;
    let mut both = content::artifact("application/vnd.a");
    let mut json = both.manifest.about(&subject).json();
    json["config"]["mediaType"] = "application/vnd.b".into();
    both.manifest = Manifest::new(&json);
    let mut config_only = content::artifact("unused");
    json = config_only.manifest.about(&subject).json();
    json.as_object_mut().unwrap().remove("artifactType");
    json["config"]["mediaType"] = "application/vnd.b".into();
    config_only.manifest = Manifest::new(&json);
    let index = content::index(&[]).about(&subject);
    let typed_index = content::index(&[]).about(&subject).with("artifactType", "application/vnd.c");
    let bare = |manifest: &Manifest| Image { manifest: manifest.clone(), blobs: Vec::new() };
    let mut expected = Vec::new();
    for (image, artifact_type) in [
        (&both, json!("application/vnd.a")),
        (&config_only, json!("application/vnd.b")),
        (&bare(&index), Value::Null),
        (&bare(&typed_index), json!("application/vnd.c")),
    ] {
        expected.push((t.client.push_image(&t.repo, "x", image), artifact_type));
    }
    let found = referrers(t, &subject.digest());
    assert_eq!(found.len(), 4);
    for (digest, artifact_type) in expected {
        let descriptor = found.iter().find(|descriptor| descriptor["digest"] == digest).unwrap();
        assert_eq!(descriptor["artifactType"], artifact_type, "{descriptor}");
        assert_eq!(
            descriptor.get("artifactType").is_some(),
            !artifact_type.is_null(),
            "omitted, not null: {descriptor}"
        );
    }
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

/// protocol.md K4 and 4 #18, #45: zero hits still say the filter; an empty value is no filter (quay #6385).
fn k4_filter_of_nothing(t: &Scene) {
    let subject = content::image(0).manifest;
    push_about(t, "x/y", &subject);
    let answer = t.client.get(&t.at(&format!("referrers/{}?artifactType=", subject.digest())));
    assert_eq!(list(&answer).len(), 1);
    answer.expect_no("OCI-Filters-Applied");
    let unknown = digest(b"nobody");
    // The second is a text that PostgreSQL can't be asked for.
    for (digest, wanted) in [(&unknown, "x%2Fy"), (&subject.digest(), "%00")] {
        let answer = t.client.get(&t.at(&format!("referrers/{digest}?artifactType={wanted}")));
        assert_eq!(list(&answer), Vec::<Value>::new());
        answer.expect_header("OCI-Filters-Applied", "artifactType");
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
fn fallback_tag(subject: &str) -> String {
    subject.replace(':', "-")
}

/// protocol.md K6 and 4 #46: what an index under the fallback tag lists is in the answer, its missing fields taken
/// from the stored manifest; each entry once; the filter sees them too.
fn k6_fallback_tag(t: &Scene) {
    let subject = content::image(0).manifest;
    // Pushed without `subject`, as it looks when only the fallback tag says what it is about.
    let mut old = content::artifact("application/vnd.example.signature");
    old.manifest = old.manifest.with("annotations", json!({"signed": "yes"}));
    let digest = t.client.push_image(&t.repo, &old.manifest.digest(), &old);
    let both = push_about(t, "application/vnd.example.sbom", &subject);
    let entries = vec![old.manifest.descriptor(), both.descriptor()];
    t.client.push_manifest(&t.repo, &fallback_tag(&subject.digest()), &content::index_of(entries));

    let found = referrers(t, &subject.digest());
    let mut expected = [digest.clone(), both.digest()];
    expected.sort();
    assert_eq!(digests(&found), expected);
    let merged = found.iter().find(|descriptor| descriptor["digest"] == digest).unwrap();
    assert_eq!(merged["artifactType"], "application/vnd.example.signature", "{merged}");
    assert_eq!(merged["annotations"], json!({"signed": "yes"}), "{merged}");
    let filter = format!("?artifactType={}", escape("application/vnd.example.signature"));
    let filtered = t.client.get(&t.at(&format!("referrers/{}{filter}", subject.digest())));
    assert_eq!(digests(&list(&filtered)), [digest]);
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
