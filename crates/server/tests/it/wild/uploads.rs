//! protocol.md 4: bugs about uploads.

use roadstead_testkit::{
    Body, Request,
    content::{digest, random_bytes},
    http::with_parameter,
};

use crate::{
    scene::{Scene, conformance},
    uploads::{expect_blob, expect_no_blob, expect_session},
};

conformance!(
    bug26_d6_large_chunks_over_several_parts,
    bug27_d6_patch_is_202_to_the_last_byte,
    bug29_d19_replayed_patch,
    bug30_d19b_repeated_put
);

/// protocol.md D6 and 4 #26, #28: 40 MiB in four chunks, of which no end falls together with the end of a part.
fn bug26_d6_large_chunks_over_several_parts(t: &Scene) {
    let bytes = random_bytes(40 * 1024 * 1024 + 5);
    let mut location = t.client.begin(&t.repo);
    let mut size = 0;
    for piece in bytes.chunks(10 * 1024 * 1024 + 3) {
        let mut request = Request::new("PATCH", &location).body(Body::streamed(piece));
        request = request.header("Content-Range", &format!("{size}-{}", size + piece.len() - 1));
        size += piece.len();
        location = expect_session(t, &t.client.send(request), 202, size);
    }
    let digest = digest(&bytes);
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md 4 #27: PATCH with the last byte is 202, and nothing is a blob before PUT.
fn bug27_d6_patch_is_202_to_the_last_byte(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let location = t.client.begin(&t.repo);
    let location = expect_session(t, &t.client.patch(&location, Some(0), &bytes), 202, 1000);
    expect_no_blob(t, &digest);
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D19 and 4 #29 (jib #4526): a replay with the same range is 416; without a range it is more data, so
/// the digest does not fit; a fresh session succeeds.
fn bug29_d19_replayed_patch(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let location = t.client.begin(&t.repo);
    t.client.patch(&location, Some(0), &bytes).expect(202);
    t.client.patch(&location, Some(0), &bytes).expect(416).expect_header("Range", "0-999");
    let answer = t.client.patch(&location, None, &bytes);
    if answer.expect_one_of(&[202, 416]).status == 202 {
        let location = expect_session(t, &answer, 202, 2000);
        t.client.put(&with_parameter(&location, "digest", &digest), b"").expect_error(400, "DIGEST_INVALID");
        expect_no_blob(t, &digest);
    }
    t.client.push_blob(&t.repo, &bytes);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D19b and 4 #30 (jib #4301): the last PUT once more is 201 again; with another digest it is not.
fn bug30_d19b_repeated_put(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let location = t.client.patch(&t.client.begin(&t.repo), Some(0), &bytes[..500]).expect(202).location_path();
    let target = with_parameter(&location, "digest", &digest);
    for _ in 0..3 {
        let answer = t.client.put(&target, &bytes[500..]);
        answer.expect(201).expect_header("Docker-Content-Digest", &digest);
        assert_eq!(answer.location_path(), t.at(&format!("blobs/{digest}")));
    }
    t.client.put(&target, b"").expect(201);
    let other = roadstead_testkit::digest(b"other");
    t.client.put(&with_parameter(&location, "digest", &other), b"other").expect_one_of(&[400, 404]).error_code();
    expect_no_blob(t, &other);
    expect_blob(t, &digest, &bytes);
}
