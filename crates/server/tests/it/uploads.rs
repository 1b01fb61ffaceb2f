//! protocol.md 1, Upload (D): sessions, their answers, and every way that bytes come in. Digests are in
//! [`crate::uploads_digests`], what goes wrong in [`crate::uploads_faults`].

use roadstead_testkit::{
    Body, Request, Response,
    content::{digest, random_bytes},
    http::with_parameter,
};

use crate::scene::{Scene, conformance};

conformance!(
    d1_begin,
    d4_begin_with_any_content_type,
    d5_patch_in_every_form,
    d6_range_grows_with_each_chunk,
    d8_status,
    d8_status_on_older_locations,
    d9_put_with_the_last_chunk,
    d9_put_without_a_body,
    d9_location_of_the_blob,
    d10_parameters_of_location,
    d16_chunk_minimum,
    d17_cancel,
    d17_cancel_after_a_mount_that_failed,
);

/// Asserts what the answer to a PATCH, or a status, says about a session that has `size` bytes; its Location.
#[track_caller]
pub(crate) fn expect_session(t: &Scene, answer: &Response, status: u16, size: usize) -> String {
    answer.expect(status);
    answer.expect_header("Range", &format!("0-{}", size.saturating_sub(1)));
    if status == 202 {
        answer.expect_length(0);
        let id = answer.header("Docker-Upload-UUID");
        assert!(!id.is_empty(), "{answer:?}");
    }
    let location = answer.location_path();
    assert!(location.starts_with(&t.at("blobs/uploads/")), "{answer:?}");
    location
}

/// Asserts that the repository has a blob with these bytes.
#[track_caller]
pub(crate) fn expect_blob(t: &Scene, digest: &str, bytes: &[u8]) {
    let head = t.client.head(&t.at(&format!("blobs/{digest}")));
    head.expect(200).expect_length(bytes.len()).expect_header("Docker-Content-Digest", digest);
    assert!(t.client.pull_blob(&t.repo, digest) == bytes, "other bytes than were pushed");
}

/// Asserts that the repository has no such blob.
#[track_caller]
pub(crate) fn expect_no_blob(t: &Scene, digest: &str) {
    t.client.head(&t.at(&format!("blobs/{digest}"))).expect(404);
    t.client.get(&t.at(&format!("blobs/{digest}"))).expect(404);
}

/// protocol.md D1 and 1.4: Location with an id of its own, `Range: 0-0`, no body, Docker-Upload-UUID.
fn d1_begin(t: &Scene) {
    let mut seen = Vec::new();
    for _ in 0..3 {
        let answer = t.client.post(&t.at("blobs/uploads/"));
        let location = expect_session(t, &answer, 202, 0);
        answer.expect_header("Range", "0-0").expect_body(b"");
        // docker takes the id from the last element of the path where the header is missing.
        let last = location.split('?').next().unwrap().rsplit('/').next().unwrap();
        assert_eq!(last, answer.header("Docker-Upload-UUID"), "{answer:?}");
        assert!(!seen.contains(&location), "{answer:?}");
        seen.push(location);
    }
    t.client.post(&t.at("blobs/uploads")).expect_one_of(&[202, 404]);
}

/// protocol.md D4: application/json (ggcr), octet-stream or no type; with or without Content-Length.
fn d4_begin_with_any_content_type(t: &Scene) {
    for body in [Body::None, Body::Length(Vec::new()), Body::Chunked(Vec::new())] {
        for content_type in [None, Some("application/json"), Some("application/octet-stream"), Some("")] {
            let mut request = Request::new("POST", &t.at("blobs/uploads/")).body(body.clone());
            if let Some(content_type) = content_type {
                request = request.header("Content-Type", content_type);
            }
            let location = expect_session(t, &t.client.send(request), 202, 0);
            let bytes = random_bytes(10);
            t.client.put(&with_parameter(&location, "digest", &digest(&bytes)), &bytes).expect(201);
        }
    }
}

/// protocol.md D5: without Content-Type, chunked without length and range (docker), with `Content-Range: a-b`.
fn d5_patch_in_every_form(t: &Scene) {
    let bytes = random_bytes(150_000);
    let last = bytes.len() - 1;
    let plain = Body::Length(bytes.clone());
    let octets = Some("application/octet-stream");
    for (body, content_type, range) in [
        (plain.clone(), None, None),
        (plain.clone(), octets, None),
        (plain.clone(), octets, Some(format!("0-{last}"))),
        (plain.clone(), None, Some(format!("0-{last}"))),
        // Not the form of the specification, but its old wording and what an HTTP library would write.
        (plain, octets, Some(format!("bytes 0-{last}/*"))),
        (Body::streamed(&bytes), None, None),
        (Body::streamed(&bytes), octets, None),
        (Body::streamed(&bytes), octets, Some(format!("0-{last}"))),
    ] {
        let mut request = Request::new("PATCH", &t.client.begin(&t.repo)).body(body);
        if let Some(content_type) = content_type {
            request = request.header("Content-Type", content_type);
        }
        if let Some(range) = range {
            request = request.header("Content-Range", &range);
        }
        let location = expect_session(t, &t.client.send(request), 202, bytes.len());
        let digest = digest(&bytes);
        t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
        expect_blob(t, &digest, &bytes);
    }
}

/// protocol.md D6 and 4 #10, #26: `Range: 0-LAST` after each chunk, and what status says is the same.
fn d6_range_grows_with_each_chunk(t: &Scene) {
    let bytes = random_bytes(10_000);
    let mut location = t.client.begin(&t.repo);
    let mut size = 0;
    for piece in [1, 1, 998, 3000, 6000] {
        let answer = t.client.patch(&location, Some(size), &bytes[size..size + piece]);
        size += piece;
        location = expect_session(t, &answer, 202, size);
        expect_session(t, &t.client.get(&location), 204, size);
    }
    let digest = digest(&bytes);
    t.client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D8: 204, Location, `Range: 0-N`; `0-0` for a session without bytes.
fn d8_status(t: &Scene) {
    let location = t.client.begin(&t.repo);
    expect_session(t, &t.client.get(&location), 204, 0);
    let location = t.client.patch(&location, None, &random_bytes(777)).expect(202).location_path();
    let answer = t.client.get(&location);
    let location = expect_session(t, &answer, 204, 777);
    answer.expect_header("Range", "0-776");
    // Asking changes nothing.
    expect_session(t, &t.client.get(&location), 204, 777);
    let location = t.client.patch(&location, Some(777), &random_bytes(1)).expect(202).location_path();
    expect_session(t, &t.client.get(&location), 204, 778);
}

/// protocol.md D8 and 1.5.4: an older Location of the session still says where it stands.
fn d8_status_on_older_locations(t: &Scene) {
    let first = t.client.begin(&t.repo);
    let second = t.client.patch(&first, Some(0), &random_bytes(10)).expect(202).location_path();
    let third = t.client.patch(&second, Some(10), &random_bytes(10)).expect(202).location_path();
    for location in [&first, &second, &third] {
        expect_session(t, &t.client.get(location), 204, 20);
    }
}

/// protocol.md D9: the last chunk may come with PUT, with or without Content-Range, with a length or chunked.
fn d9_put_with_the_last_chunk(t: &Scene) {
    for (patched, range) in [(0, false), (0, true), (600, false), (600, true)] {
        for streamed in [false, true] {
            let bytes = random_bytes(1000);
            let digest = digest(&bytes);
            let mut location = t.client.begin(&t.repo);
            if patched > 0 {
                location = t.client.patch(&location, Some(0), &bytes[..patched]).expect(202).location_path();
            }
            let rest = &bytes[patched..];
            let body = if streamed { Body::streamed(rest) } else { Body::Length(rest.to_vec()) };
            let mut request = Request::new("PUT", &with_parameter(&location, "digest", &digest)).body(body);
            if range {
                request = request.header("Content-Range", &format!("{patched}-999"));
            }
            let answer = t.client.send(request);
            answer.expect(201).expect_length(0).expect_header("Docker-Content-Digest", &digest);
            expect_blob(t, &digest, &bytes);
        }
    }
}

/// protocol.md D9 and 3.1: docker's PUT has neither body nor Content-Type, and HEAD follows at once.
fn d9_put_without_a_body(t: &Scene) {
    for body in [Body::None, Body::Length(Vec::new()), Body::Chunked(Vec::new())] {
        let bytes = random_bytes(1000);
        let digest = digest(&bytes);
        let location = t.client.begin(&t.repo);
        let patch = Request::new("PATCH", &location).body(Body::streamed(&bytes));
        let location = t.client.send(patch).expect(202).location_path();
        let put = Request::new("PUT", &with_parameter(&location, "digest", &digest)).body(body);
        t.client.send(put).expect(201);
        expect_blob(t, &digest, &bytes);
    }
}

/// protocol.md D9 and 1.5.3: Location is the blob, and GET of it gives the bytes.
fn d9_location_of_the_blob(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    let answer = t.client.put(&with_parameter(&t.client.begin(&t.repo), "digest", &digest), &bytes);
    let location = answer.expect(201).location_path();
    assert_eq!(location, t.at(&format!("blobs/{digest}")));
    t.client.get(&location).expect(200).expect_body(&bytes);
}

/// protocol.md D10: what is in the query of Location survives beside `digest`, escaped or not, in any order.
fn d10_parameters_of_location(t: &Scene) {
    let bytes = random_bytes(100);
    let digest = digest(&bytes);
    let escaped = digest.replace(':', "%3A");
    for (before, after) in [
        (String::new(), format!("digest={escaped}")),
        (String::new(), format!("digest={digest}")),
        ("_state=a%2Bb&".to_owned(), format!("digest={escaped}&x=y")),
        (format!("digest={escaped}&"), "ns=docker.io".to_owned()),
    ] {
        let location = t.client.begin(&t.repo);
        let (path, query) = location.split_once('?').unwrap_or((&location, ""));
        let query = [query, &format!("{before}{after}")].map(|part| part.trim_matches('&').to_owned());
        let query: Vec<String> = query.into_iter().filter(|part| !part.is_empty()).collect();
        t.client.put(&format!("{path}?{}", query.join("&")), &bytes).expect(201);
    }
}

/// protocol.md D16: a minimum, if there is one, is a number, and the last chunk is exempt.
fn d16_chunk_minimum(t: &Scene) {
    let answer = t.client.post(&t.at("blobs/uploads/"));
    let location = answer.expect(202).location_path();
    let minimum = answer.get("OCI-Chunk-Min-Length").map_or(0, |value| value.parse::<usize>().unwrap());
    assert!(minimum <= 16 * 1024 * 1024, "a chunk that no client sends: {answer:?}");
    let bytes = random_bytes(minimum + 1);
    let answer = t.client.patch(&location, Some(0), &bytes[..minimum.max(1)]);
    let location = expect_session(t, &answer, 202, minimum.max(1));
    let rest = &bytes[minimum.max(1)..];
    t.client.put(&with_parameter(&location, "digest", &digest(&bytes)), rest).expect(201);
}

/// protocol.md D17 and 1.7: DELETE of a session is 204, afterwards every use of it is 404.
fn d17_cancel(t: &Scene) {
    for patched in [0, 500] {
        let bytes = random_bytes(500);
        let digest = digest(&bytes);
        let mut location = t.client.begin(&t.repo);
        if patched > 0 {
            location = t.client.patch(&location, None, &bytes).expect(202).location_path();
        }
        t.client.delete(&location).expect(204).expect_body(b"");
        t.client.get(&location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        t.client.patch(&location, None, &bytes).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        let put = with_parameter(&location, "digest", &digest);
        t.client.put(&put, &bytes).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        t.client.delete(&location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        expect_no_blob(t, &digest);
    }
}

/// protocol.md 3.3: skopeo deletes the session that a failed mount gave it.
fn d17_cancel_after_a_mount_that_failed(t: &Scene) {
    let unknown = digest(&random_bytes(10));
    let mount = t.at(&format!("blobs/uploads/?mount={unknown}&from={}", t.repo));
    let location = t.client.post(&mount).expect(202).location_path();
    t.client.delete(&location).expect(204);
    t.client.get(&location).expect(404);
}
