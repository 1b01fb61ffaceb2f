//! protocol.md 1, Mount (E).

use roadstead_testkit::{
    content::{ALGORITHMS, random_bytes},
    digest,
    http::{escape, with_parameter},
};

use crate::{
    scene::{Scene, conformance},
    uploads::{expect_blob, expect_no_blob, expect_session},
};

conformance!(
    e1_mount,
    e1_mount_by_sha512,
    e2_mount_that_cannot_be,
    e2_bad_from,
    e3_mount_without_from,
    e4_never_what_is_not_there,
    e4_deleted_at_the_source,
    e5_forms_of_the_query,
);

/// `POST ...?mount=D&from=N2` with everything escaped.
fn mount_target(t: &Scene, digest: &str, from: &str) -> String {
    t.at(&format!("blobs/uploads/?mount={}&from={}", escape(digest), escape(from)))
}

/// protocol.md E1 and 1.5.3: 201, Location exactly the blob, digest; and the blob is here without the source.
fn e1_mount(t: &Scene) {
    let source = t.another();
    for bytes in [random_bytes(1000), Vec::new()] {
        let digest = t.client.push_blob(&source, &bytes);
        let answer = t.client.post(&mount_target(t, &digest, &source));
        answer.expect(201).expect_length(0).expect_header("Docker-Content-Digest", &digest);
        assert_eq!(answer.location_path(), t.at(&format!("blobs/{digest}")));
        expect_blob(t, &digest, &bytes);
        t.client.delete(&format!("/v2/{source}/blobs/{digest}")).expect(202);
        expect_blob(t, &digest, &bytes);
        // What is here already is mounted again without complaint, also from itself.
        t.client.post(&mount_target(t, &digest, &t.repo)).expect(201);
    }
}

/// protocol.md E1 with the other algorithm.
fn e1_mount_by_sha512(t: &Scene) {
    let source = t.another();
    let bytes = random_bytes(1000);
    for algorithm in ALGORITHMS {
        let digest = algorithm.of(&bytes);
        let location = t.client.begin(&source);
        t.client.put(&with_parameter(&location, "digest", &digest), &bytes).expect(201);
        let answer = t.client.post(&mount_target(t, &digest, &source));
        answer.expect(201).expect_header("Docker-Content-Digest", &digest);
        expect_blob(t, &digest, &bytes);
    }
}

/// protocol.md E2: unknown blob, unknown repository, unknown registry: 202 and a session that works.
fn e2_mount_that_cannot_be(t: &Scene) {
    let source = t.another();
    t.client.push_blob(&source, b"so that the source exists");
    for from in [source.clone(), t.another(), t.repo.clone(), "conf/never-pushed".to_owned(), "other/never".to_owned()]
    {
        let bytes = random_bytes(100);
        let digest = digest(&bytes);
        let answer = t.client.post(&mount_target(t, &digest, &from));
        let location = expect_session(t, &answer, 202, 0);
        expect_no_blob(t, &digest);
        t.client.put(&with_parameter(&location, "digest", &digest), &bytes).expect(201);
        expect_blob(t, &digest, &bytes);
    }
}

/// protocol.md E2: never 4xx for a `from` that is no name; a digest that is none may be refused.
fn e2_bad_from(t: &Scene) {
    let digest = digest(&random_bytes(10));
    for from in ["", "UPPER/case", "a//b", "..", "conf", "a b", "/", "conf/a:tag", "ä"] {
        let answer = t.client.post(&mount_target(t, &digest, from));
        expect_session(t, &answer, 202, 0);
    }
    t.client.post(&mount_target(t, "sha256:xyz", &t.repo)).expect_one_of(&[202, 400]);
}

/// protocol.md E3, 1.5.2 and 4 #7 (zot #442): without `from` 201 or 202, never 405; unknown: 202.
fn e3_mount_without_from(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = t.client.push_blob(&t.another(), &bytes);
    let answer = t.client.post(&t.at(&format!("blobs/uploads/?mount={}", escape(&digest))));
    if answer.expect_one_of(&[201, 202]).status == 201 {
        answer.expect_header("Docker-Content-Digest", &digest);
        expect_blob(t, &digest, &bytes);
    } else {
        expect_session(t, &answer, 202, 0);
        expect_no_blob(t, &digest);
    }
    let unknown = roadstead_testkit::digest(&random_bytes(10));
    let answer = t.client.post(&t.at(&format!("blobs/uploads/?mount={unknown}")));
    expect_session(t, &answer, 202, 0);
    expect_no_blob(t, &unknown);
}

/// protocol.md E4: bytes of an upload that is not finished are no blob yet.
fn e4_never_what_is_not_there(t: &Scene) {
    let source = t.another();
    let bytes = random_bytes(100);
    let digest = digest(&bytes);
    let location = t.client.patch(&t.client.begin(&source), Some(0), &bytes).expect(202).location_path();
    t.client.post(&mount_target(t, &digest, &source)).expect(202);
    expect_no_blob(t, &digest);
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    t.client.post(&mount_target(t, &digest, &source)).expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md E4: what was deleted at the source cannot be mounted from there.
fn e4_deleted_at_the_source(t: &Scene) {
    let source = t.another();
    let digest = t.client.push_blob(&source, &random_bytes(100));
    t.client.delete(&format!("/v2/{source}/blobs/{digest}")).expect(202);
    t.client.post(&mount_target(t, &digest, &source)).expect(202);
    expect_no_blob(t, &digest);
}

/// protocol.md E5: unescaped, `from` first, with `origin` (ggcr).
fn e5_forms_of_the_query(t: &Scene) {
    let source = t.another();
    for query in
        ["mount=D&from=F", "from=F&mount=D", "mount=D&from=F&origin=REGISTRY.example", "from=F&origin=&mount=D"]
    {
        let bytes = random_bytes(100);
        let digest = t.client.push_blob(&source, &bytes);
        let query = query.replace('D', &digest).replace('F', &source);
        t.client.post(&t.at(&format!("blobs/uploads/?{query}"))).expect(201);
        expect_blob(t, &digest, &bytes);
    }
}
