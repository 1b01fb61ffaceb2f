//! protocol.md 4: bugs about referrers.

use roadstead_testkit::{
    Request,
    content::{self, Algorithm, Image, Manifest, random_bytes, types},
    digest,
    http::escape,
};
use serde_json::{Value, json};

use crate::{
    referrers::{digests, fallback_tag, list, push_about, referrers},
    scene::{Scene, conformance},
};

conformance!(
    bug18_k4_filter_of_nothing,
    bug19_k3_kinds_of_artifact_types,
    bug20_the_type_is_an_index,
    bug21_k1_empty,
    bug45_an_empty_filter_is_none,
    bug46_k6_fallback_tag,
);

/// protocol.md K4 and 4 #18 (harbor #18413): the filter that was applied is said, with hits and without any.
fn bug18_k4_filter_of_nothing(t: &Scene) {
    let subject = content::image(0).manifest;
    push_about(t, "x/y", &subject);
    let unknown = digest(b"nobody");
    // The last is a text that PostgreSQL can't be asked for.
    for (digest, wanted, found) in [
        (&subject.digest(), "x%2Fy", 1),
        (&unknown, "x%2Fy", 0),
        (&subject.digest(), "x%2Fz", 0),
        (&subject.digest(), "%00", 0),
    ] {
        let answer = t.client.get(&t.at(&format!("referrers/{digest}?artifactType={wanted}")));
        assert_eq!(list(&answer).len(), found, "{answer:?}");
        answer.expect_header("OCI-Filters-Applied", "artifactType");
    }
    t.client.get(&t.at(&format!("referrers/{}", subject.digest()))).expect(200).expect_no("OCI-Filters-Applied");
}

/// protocol.md K3 and 4 #19 (harbor #19867): the manifest's artifactType, else the config's media type; none for an index without.
fn bug19_k3_kinds_of_artifact_types(t: &Scene) {
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

/// protocol.md K1, 1.6.3, 4 #21 (go-containerregistry #1647) and oras' ping: 200 and an empty index, also for what nobody has heard of.
fn bug21_k1_empty(t: &Scene) {
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

/// protocol.md K6 and 4 #46 (cosign #4641): what an index under the fallback tag lists is in the answer, its missing fields taken
/// from the stored manifest; each entry once; the filter sees them too.
fn bug46_k6_fallback_tag(t: &Scene) {
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

/// protocol.md 4 #20 (go-containerregistry #1760), K1: the exact type, without a charset and in one line, on an answer
/// with entries, on an empty one, on a filtered one, and for a repository that is not there.
fn bug20_the_type_is_an_index(t: &Scene) {
    let subject = content::image(0).manifest;
    let nowhere = format!("/v2/{}/referrers/{}", t.another(), subject.digest());
    let here = t.at(&format!("referrers/{}", subject.digest()));
    for pushed in [false, true] {
        if pushed {
            push_about(t, "x/y", &subject);
        }
        for target in [&nowhere, &here, &format!("{here}?artifactType=x%2Fy"), &format!("{here}?artifactType=none")] {
            for accept in ["application/json", types::INDEX, "*/*"] {
                let answer = t.client.send(Request::new("GET", target).header("Accept", accept));
                assert_eq!(answer.expect(200).all("Content-Type"), [types::INDEX], "{answer:?}");
            }
        }
    }
}

/// protocol.md 4 #45 (quay #6385), K4: `?artifactType=` asks for everything, and the answer says no filter.
fn bug45_an_empty_filter_is_none(t: &Scene) {
    let subject = content::image(0).manifest;
    let pushed = ["x/y", "x/z"].map(|artifact_type| push_about(t, artifact_type, &subject).digest());
    let target = t.at(&format!("referrers/{}", subject.digest()));
    for query in ["?artifactType=", "?artifactType", ""] {
        let answer = t.client.get(&format!("{target}{query}"));
        let found = digests(&list(&answer));
        assert!(found.len() == 2 && pushed.iter().all(|digest| found.contains(digest)), "{answer:?}");
        answer.expect_no("OCI-Filters-Applied");
    }
}
