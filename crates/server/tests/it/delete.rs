//! protocol.md 1, Delete (J).

use roadstead_testkit::{
    content::{self, ALGORITHMS, random_bytes},
    digest,
};
use serde_json::json;

use crate::{
    scene::{Scene, conformance},
    uploads::{expect_blob, expect_no_blob},
};

conformance!(
    j1_by_sha512,
    j3_unknown,
    j5_blob,
    j5_blob_of_a_living_artifact,
    j6_referrer,
    j6_subject,
    j7_push_again,
    j7_child_of_an_index,
);

/// protocol.md J1 with the other algorithm.
fn j1_by_sha512(t: &Scene) {
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    for algorithm in ALGORITHMS {
        let digest = algorithm.of(&image.manifest.bytes);
        t.client.put_manifest(&t.repo, &format!("{digest}?tag=v1"), &image.manifest).expect(201);
        t.client.delete(&t.at(&format!("manifests/{digest}"))).expect(202);
        t.client.head(&t.at(&format!("manifests/{digest}"))).expect(404);
        t.client.head(&t.at("manifests/v1")).expect(404);
    }
}

/// protocol.md J3.
fn j3_unknown(t: &Scene) {
    t.client.push_image(&t.repo, "v1", &content::image(0));
    let unknown = digest(&random_bytes(10));
    t.client.delete(&t.at("manifests/v2")).expect_error(404, "MANIFEST_UNKNOWN");
    t.client.delete(&t.at(&format!("manifests/{unknown}"))).expect_error(404, "MANIFEST_UNKNOWN");
    t.client.delete(&t.at(&format!("blobs/{unknown}"))).expect_error(404, "BLOB_UNKNOWN");
    let nowhere = t.another();
    for what in ["manifests/v1".to_owned(), format!("manifests/{unknown}"), format!("blobs/{unknown}")] {
        t.client.delete(&format!("/v2/{nowhere}/{what}")).expect(404).error_code();
    }
}

/// protocol.md J5, 1.4: 202, gone at once here, and alive in the repository beside.
fn j5_blob(t: &Scene) {
    let other = t.another();
    let bytes = random_bytes(1000);
    let digest = t.client.push_blob(&t.repo, &bytes);
    t.client.push_blob(&other, &bytes);
    t.client.delete(&t.at(&format!("blobs/{digest}"))).expect(202);
    expect_no_blob(t, &digest);
    t.client.delete(&t.at(&format!("blobs/{digest}"))).expect_error(404, "BLOB_UNKNOWN");
    assert_eq!(t.client.pull_blob(&other, &digest), bytes);
    t.client.push_blob(&t.repo, &bytes);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md J5: 405 UNSUPPORTED while a living artifact of the repository holds it; after that 202.
fn j5_blob_of_a_living_artifact(t: &Scene) {
    let image = content::image(1);
    let manifest = t.client.push_image(&t.repo, "v1", &image);
    for blob in &image.blobs {
        t.client.delete(&t.at(&format!("blobs/{}", digest(blob)))).expect_error(405, "UNSUPPORTED");
        expect_blob(t, &digest(blob), blob);
    }
    t.client.delete(&t.at("manifests/v1")).expect(202);
    t.client.delete(&t.at(&format!("blobs/{}", digest(&image.blobs[1])))).expect_error(405, "UNSUPPORTED");
    t.client.delete(&t.at(&format!("manifests/{manifest}"))).expect(202);
    for blob in &image.blobs {
        t.client.delete(&t.at(&format!("blobs/{}", digest(blob)))).expect(202);
        expect_no_blob(t, &digest(blob));
    }
}

fn referrers(t: &Scene, subject: &str) -> Vec<serde_json::Value> {
    let json = t.client.get(&t.at(&format!("referrers/{subject}"))).expect(200).json();
    json["manifests"].as_array().unwrap().iter().map(|descriptor| descriptor["digest"].clone()).collect()
}

/// protocol.md J6: a deleted manifest leaves the list of its subject.
fn j6_referrer(t: &Scene) {
    let subject = content::image(0);
    t.client.push_image(&t.repo, "v1", &subject);
    let mut artifact = content::artifact("x/y");
    artifact.manifest = artifact.manifest.about(&subject.manifest);
    let digest = t.client.push_image(&t.repo, &artifact.manifest.digest(), &artifact);
    assert_eq!(referrers(t, &subject.manifest.digest()), [json!(digest)]);
    t.client.delete(&t.at(&format!("manifests/{digest}"))).expect(202);
    assert_eq!(referrers(t, &subject.manifest.digest()), [json!(null); 0]);
}

/// protocol.md J6 and product.md 7: a referrer that a tag holds stays, and is still listed for the deleted subject.
fn j6_subject(t: &Scene) {
    let subject = content::image(0);
    let named = t.client.push_image(&t.repo, "v1", &subject);
    let mut artifact = content::artifact("x/y");
    artifact.manifest = artifact.manifest.about(&subject.manifest);
    let digest = t.client.push_image(&t.repo, "signature", &artifact);
    t.client.delete(&t.at(&format!("manifests/{named}"))).expect(202);
    t.client.head(&t.at("manifests/signature")).expect(200).expect_header("Docker-Content-Digest", &digest);
    assert_eq!(referrers(t, &named), [json!(digest)]);
}

/// protocol.md J7 and 4 #12 (distribution #3743, #3254): the same content can be pushed again and pulled.
fn j7_push_again(t: &Scene) {
    let image = content::image(2);
    for _ in 0..3 {
        let digest = t.client.push_image(&t.repo, "v1", &image);
        for blob in &image.blobs {
            expect_blob(t, &roadstead_testkit::digest(blob), blob);
        }
        t.client.get(&t.at("manifests/v1")).expect(200).expect_body(&image.manifest.bytes);
        t.client.delete(&t.at(&format!("manifests/{digest}"))).expect(202);
        t.client.delete(&t.at(&format!("blobs/{}", roadstead_testkit::digest(&image.blobs[1])))).expect(202);
    }
    // Mounted instead of pushed, after the blob was deleted here.
    let other = t.another();
    t.client.push_image(&other, "v1", &image);
    for blob in &image.blobs {
        let mount = format!("blobs/uploads/?mount={}&from={other}", roadstead_testkit::digest(blob));
        t.client.post(&t.at(&mount)).expect(201);
    }
    t.client.push_manifest(&t.repo, "v1", &image.manifest);
    t.client.get(&t.at("manifests/v1")).expect(200).expect_body(&image.manifest.bytes);
}

/// product.md 7: an index takes along children that nothing else holds; one that a tag holds stays.
fn j7_child_of_an_index(t: &Scene) {
    let [tagged, bare] = [content::image(0), content::image(0)];
    t.client.push_image(&t.repo, "amd64", &tagged);
    let untagged = t.client.push_image(&t.repo, &bare.manifest.digest(), &bare);
    let index = content::index(&[&tagged.manifest, &bare.manifest]);
    let digest = t.client.push_manifest(&t.repo, "multi", &index);
    t.client.delete(&t.at("manifests/multi")).expect(202);
    t.client.head(&t.at(&format!("manifests/{untagged}"))).expect(200);
    t.client.delete(&t.at(&format!("manifests/{digest}"))).expect(202);
    t.client.head(&t.at("manifests/amd64")).expect(200);
    roadstead_testkit::until("the child that nothing holds has followed its index", || {
        (t.client.head(&t.at(&format!("manifests/{untagged}"))).status == 404).then_some(())
    });
}
