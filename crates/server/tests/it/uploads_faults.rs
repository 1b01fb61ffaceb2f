//! protocol.md 1, Upload (D): chunks out of order, cut connections, repeated requests, requests at the same time.

use roadstead_testkit::{
    Body, Request,
    content::{digest, random_bytes},
    http::with_parameter,
    until,
};

use crate::{
    scene::{Scene, Storage, conformance, on_both_engines},
    uploads::{expect_blob, expect_no_blob, expect_session},
};

conformance!(
    d7_chunk_out_of_order,
    d7_length_that_disagrees,
    d7_malformed_content_range,
    d7_an_empty_range,
    d11_after_a_failed_finish,
    d13_last_chunk_out_of_order,
    d15_unknown_session,
    d15_session_of_another_repository,
    d19_aborted_patch,
    d19_aborted_put,
);
on_both_engines!(d20_size_limit);

/// protocol.md D7, 1.5.4 and 1.7: 416 with Location and Range, nothing stored; then the upload goes on.
fn d7_chunk_out_of_order(t: &Scene) {
    let bytes = random_bytes(3000);
    let begun = t.client.begin(&t.repo);
    // A first chunk that is not the first.
    let answer = t.client.patch(&begun, Some(1000), &bytes[1000..2000]);
    answer.expect(416).error_code();
    expect_session(t, &answer, 416, 0);
    let first = t.client.patch(&begun, Some(0), &bytes[..1000]).expect(202).location_path();
    // Beyond the end; the same once more, at the old Location and the new; overlapping.
    for (location, start) in [(&first, 2000), (&begun, 0), (&first, 0), (&first, 500)] {
        let answer = t.client.patch(location, Some(start), &bytes[start..start + 1000]);
        answer.expect(416).error_code();
        expect_session(t, &answer, 416, 1000);
        expect_session(t, &t.client.get(&begun), 204, 1000);
    }
    let location = t.client.get(&first).expect(204).location_path();
    let location = t.client.patch(&location, Some(1000), &bytes[1000..]).expect(202).location_path();
    let digest = digest(&bytes);
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D7: a body that is shorter or longer than its range says is 416. Where its length is known before,
/// nothing is stored; where it is not, what is stored is what status says, and the upload goes on from there.
fn d7_length_that_disagrees(t: &Scene) {
    for streamed in [false, true] {
        let bytes = random_bytes(200_000);
        for (range, length) in [("0-99", 99), ("0-99", 101), ("0-0", 100_000), ("0-199999", 100_000)] {
            let location = t.client.begin(&t.repo);
            let part = &bytes[..length];
            let body = if streamed { Body::streamed(part) } else { Body::Length(part.to_vec()) };
            let answer = t.client.send(Request::new("PATCH", &location).header("Content-Range", range).body(body));
            answer.expect(416).error_code();
            let stored = stored(answer.header("Range"));
            assert!(stored <= if streamed { length } else { 0 }, "{answer:?}");
            let location = expect_session(t, &t.client.get(&answer.location_path()), 204, stored);
            let location = t.client.patch(&location, Some(stored), &bytes[stored..]).expect(202).location_path();
            let digest = digest(&bytes);
            t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
            expect_blob(t, &digest, &bytes);
        }
    }
}

/// protocol.md D7: what is no range.
fn d7_malformed_content_range(t: &Scene) {
    let bytes = random_bytes(100);
    let location = t.client.begin(&t.repo);
    for range in ["x", "0", "-", "0-", "-99", "99-0", "a-b", "0-99999999999999999999", "0-99, 100-199", "1e1-99"] {
        let request = Request::new("PATCH", &location).header("Content-Range", range);
        let answer = t.client.send(request.body(Body::Length(bytes.clone())));
        answer.expect(416).error_code();
        expect_session(t, &answer, 416, 0);
        expect_session(t, &t.client.get(&location), 204, 0);
    }
}

/// protocol.md D7: an empty range is a range: it has no body, and begins where the upload ends.
fn d7_an_empty_range(t: &Scene) {
    let bytes = random_bytes(100);
    let location = t.client.begin(&t.repo);
    let empty = |range, body| t.client.send(Request::new("PATCH", &location).header("Content-Range", range).body(body));
    for (range, body) in [
        ("50-49", Body::Chunked(vec![bytes[..5].to_vec()])),
        ("0--1", Body::Chunked(vec![bytes[..5].to_vec()])),
        ("100-99", Body::Length(Vec::new())),
    ] {
        let answer = empty(range, body);
        answer.expect(416).error_code();
        expect_session(t, &answer, 416, 0);
        expect_session(t, &t.client.get(&location), 204, 0);
    }
    empty("0--1", Body::Length(Vec::new())).expect(202);
}

/// protocol.md D11: after a failed finish the session is gone or goes on; a fresh one succeeds either way.
fn d11_after_a_failed_finish(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let location = t.client.patch(&t.client.begin(&t.repo), Some(0), &bytes[..500]).expect(202).location_path();
    // What is sent is not the whole: another digest.
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect_error(400, "DIGEST_INVALID");
    expect_no_blob(t, &digest);
    t.client.get(&location).expect_one_of(&[204, 404]);
    t.client.put(&with_parameter(&t.client.begin(&t.repo), "digest", &digest), &bytes).expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D13 and 1.7: 416 for a last chunk in PUT that does not continue; then the upload goes on.
fn d13_last_chunk_out_of_order(t: &Scene) {
    let bytes = random_bytes(3000);
    let digest = digest(&bytes);
    let location = t.client.patch(&t.client.begin(&t.repo), Some(0), &bytes[..1000]).expect(202).location_path();
    let target = with_parameter(&location, "digest", &digest);
    for (range, part) in [("2000-2999", &bytes[2000..]), ("0-2999", &bytes[..]), ("1000-2998", &bytes[1000..])] {
        let put = Request::new("PUT", &target).header("Content-Range", range).body(Body::Length(part.to_vec()));
        let answer = t.client.send(put);
        answer.expect(416).error_code();
        expect_session(t, &answer, 416, 1000);
        expect_no_blob(t, &digest);
    }
    let location = expect_session(t, &t.client.get(&location), 204, 1000);
    let put = Request::new("PUT", &with_parameter(&location, "digest", &digest)).header("Content-Range", "1000-2999");
    t.client.send(put.body(Body::Length(bytes[1000..].to_vec()))).expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D15: 404 BLOB_UPLOAD_UNKNOWN, whatever the id looks like.
fn d15_unknown_session(t: &Scene) {
    t.client.push_blob(&t.repo, b"so that the repository exists");
    let real = t.client.begin(&t.repo);
    let (path, query) = real.split_once('?').map_or((real.as_str(), String::new()), |(p, q)| (p, format!("?{q}")));
    let other: String = path.chars().rev().collect();
    let other: String = other.split('/').next().unwrap().to_owned();
    let digest = digest(b"x");
    for id in [&other, "00000000-0000-4000-8000-000000000000", "1", "no-such-session", "%00"] {
        let location = t.at(&format!("blobs/uploads/{id}{query}"));
        for answer in [
            t.client.get(&location),
            t.client.patch(&location, Some(0), b"x"),
            t.client.put(&with_parameter(&location, "digest", &digest), b"x"),
            t.client.delete(&location),
        ] {
            answer.expect_one_of(&[404, 400]).error_code();
        }
    }
    let location = t.at(&format!("blobs/uploads/{other}{query}"));
    t.client.get(&location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
}

/// protocol.md D15: a session belongs to its repository.
fn d15_session_of_another_repository(t: &Scene) {
    let other = t.another();
    t.client.push_blob(&other, b"so that the repository exists");
    let location = t.client.begin(&t.repo);
    let elsewhere = location.replacen(&t.repo, &other, 1);
    let bytes = random_bytes(10);
    t.client.get(&elsewhere).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    t.client.patch(&elsewhere, Some(0), &bytes).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let put = with_parameter(&elsewhere, "digest", &digest(&bytes));
    t.client.put(&put, &bytes).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    t.client.delete(&elsewhere).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    expect_session(t, &t.client.get(&location), 204, 0);
}

/// protocol.md D19: when a PATCH is cut off, status says what is stored, and the upload goes on from there.
fn d19_aborted_patch(t: &Scene) {
    let bytes = random_bytes(300_000);
    let digest = digest(&bytes);
    let sent = bytes[..200_000].to_vec();
    for body in [Body::CutShort(bytes.len(), sent.clone()), Body::ChunkedCutShort(vec![sent])] {
        let location = t.client.begin(&t.repo);
        let patch = Request::new("PATCH", &location).body(body);
        if let Ok(answer) = t.client.try_send(&patch) {
            assert!(answer.status >= 400, "a body that was cut off is not whole: {answer:?}");
        }
        // The server may still be busy with what had come when the connection ended: its word counts when a
        // chunk that goes on from there is taken.
        let location = until("the upload goes on", || {
            let status = t.client.get(&location);
            let stored = stored(status.expect(204).header("Range"));
            assert!(stored <= 200_000, "{status:?}");
            let answer = t.client.patch(&status.location_path(), Some(stored), &bytes[stored..]);
            (answer.expect_one_of(&[202, 416]).status == 202).then(|| answer.location_path())
        });
        t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
        expect_blob(t, &digest, &bytes);
    }
}

/// The number of bytes that `Range: 0-LAST` speaks of, where `0-0` is read as nothing stored.
fn stored(range: &str) -> usize {
    let last: usize = range.strip_prefix("0-").unwrap().parse().unwrap();
    if last == 0 { 0 } else { last + 1 }
}

/// protocol.md D19: a PUT that is cut off publishes nothing.
fn d19_aborted_put(t: &Scene) {
    let bytes = random_bytes(300_000);
    let (half, whole) = (digest(&bytes[..200_000]), digest(&bytes));
    for claimed in [&half, &whole] {
        for cut in
            [Body::CutShort(300_000, bytes[..200_000].to_vec()), Body::ChunkedCutShort(vec![bytes[..200_000].to_vec()])]
        {
            let put = Request::new("PUT", &with_parameter(&t.client.begin(&t.repo), "digest", claimed)).body(cut);
            if let Ok(answer) = t.client.try_send(&put) {
                assert!(answer.status >= 400, "a body that was cut off is not whole: {answer:?}");
            }
            expect_no_blob(t, claimed);
        }
    }
    t.client.push_blob(&t.repo, &bytes);
    expect_blob(t, &whole, &bytes);
}

/// protocol.md D20: above the limit 413, whichever way the bytes come; at the limit 201.
fn d20_size_limit(storage: &Storage) {
    let server = roadstead_testkit::Server::start(storage.setup().set("ROADSTEAD_LIMITS_BLOB_BYTES", "1000"));
    let client = server.client();
    client.push_blob("conf/limit", &random_bytes(1000));
    let bytes = random_bytes(1001);
    let digest = digest(&bytes);
    let by_put = with_parameter(&client.begin("conf/limit"), "digest", &digest);
    client.put(&by_put, &bytes).expect(413).error_code();
    client.patch(&client.begin("conf/limit"), Some(0), &bytes).expect(413).error_code();
    let streamed = Request::new("PATCH", &client.begin("conf/limit")).body(Body::streamed(&bytes));
    client.send(streamed).expect(413).error_code();
    let location = client.patch(&client.begin("conf/limit"), Some(0), &bytes[..600]).expect(202).location_path();
    client.patch(&location, Some(600), &bytes[600..]).expect(413).error_code();
    let post = Request::new("POST", &with_parameter("/v2/conf/limit/blobs/uploads/", "digest", &digest));
    client.send(post.body(Body::Length(bytes))).expect(413).error_code();
    client.head(&format!("/v2/conf/limit/blobs/{digest}")).expect(404);
}
