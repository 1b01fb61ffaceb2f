//! protocol.md 4: bugs about deleting.

use roadstead_testkit::content;
use serde_json::json;

use crate::{
    scene::{Scene, conformance},
    tags::{push_tags, tags},
};

conformance!(bug13_j1_by_digest, bug14_j2_by_tag, bug34_deleted_tags_stay_deleted);

/// protocol.md J1 and 4 #13 (distribution #3828): 202, and at once no tag on it is left.
fn bug13_j1_by_digest(t: &Scene) {
    let image = content::image(1);
    let digest = t.client.push_image(&t.repo, "a", &image);
    t.client.push_manifest(&t.repo, "b", &image.manifest);
    t.client.push_image(&t.repo, "other", &content::image(0));
    t.client.delete(&t.at(&format!("manifests/{digest}"))).expect(202);
    for reference in ["a", "b", &digest] {
        t.client.head(&t.at(&format!("manifests/{reference}"))).expect(404);
        t.client.get(&t.at(&format!("manifests/{reference}"))).expect_error(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json()["tags"], json!(["other"]));
    t.client.delete(&t.at(&format!("manifests/{digest}"))).expect_error(404, "MANIFEST_UNKNOWN");
}

/// protocol.md J2, 1.5.7 and 4 #14 (distribution #1566, #2317): only that tag goes; the manifest and its other tags stay.
fn bug14_j2_by_tag(t: &Scene) {
    let names: Vec<String> = (0..3).map(|n| format!("v{n}")).collect();
    push_tags(t, &names);
    let digest = t.client.head(&t.at("manifests/v0")).header("Docker-Content-Digest").to_owned();
    t.client.delete(&t.at("manifests/v0")).expect(202);
    t.client.head(&t.at("manifests/v0")).expect(404);
    assert_eq!(t.client.get(&t.at("tags/list")).json()["tags"], json!(["v1", "v2"]));
    for reference in ["v1", "v2", &digest] {
        let head = t.client.head(&t.at(&format!("manifests/{reference}")));
        head.expect(200).expect_header("Docker-Content-Digest", &digest);
    }
}

/// protocol.md 4 #34 (nora #658): a manifest deleted by digest leaves no tag behind, however many it had: pushed again
/// by its digest it has none, and a tag that is made anew is the only one.
fn bug34_deleted_tags_stay_deleted(t: &Scene) {
    let names: Vec<String> = (0..25).map(|n| format!("v{n:02}")).collect();
    push_tags(t, &names);
    let head = t.client.head(&t.at("manifests/v00"));
    let digest = head.expect(200).header("Docker-Content-Digest").to_owned();
    let bytes = t.client.get(&t.at("manifests/v00")).expect(200).body.clone();
    let manifest = content::Manifest { media_type: content::types::MANIFEST.to_owned(), bytes };
    t.client.delete(&t.at(&format!("manifests/{digest}"))).expect(202);
    assert_eq!(tags(&t.client.get(&t.at("tags/list"))), Vec::<String>::new());
    t.client.push_manifest(&t.repo, &digest, &manifest);
    for name in &names {
        t.client.get(&t.at(&format!("manifests/{name}"))).expect_error(404, "MANIFEST_UNKNOWN");
    }
    assert_eq!(tags(&t.client.get(&t.at("tags/list"))), Vec::<String>::new());
    t.client.push_manifest(&t.repo, "v07", &manifest);
    assert_eq!(tags(&t.client.get(&t.at("tags/list"))), ["v07"]);
}
