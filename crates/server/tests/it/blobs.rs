//! protocol.md 1, Blob GET/HEAD (C) and the ranges of 1.7.

use roadstead_testkit::{
    Body, Request, Response,
    content::{ALGORITHMS, random_bytes},
    http::with_parameter,
};

use crate::scene::{Scene, conformance};

conformance!(
    c1_headers,
    c1_empty_blob,
    c2_exact_bytes_and_no_encoding,
    c3_ranges,
    c3_ranges_of_a_large_blob,
    c3_unsatisfiable,
    c3_a_range_that_is_none,
    c4_unknown_blob,
    c6_etag,
);

/// protocol.md C1: length, digest in the algorithm that was asked for, type, ranges; HEAD the same without a body.
fn c1_headers(t: &Scene) {
    let bytes = random_bytes(5000);
    for algorithm in ALGORITHMS {
        let digest = algorithm.of(&bytes);
        t.client.put(&with_parameter(&t.client.begin(&t.repo), "digest", &digest), &bytes).expect(201);
        for (method, body) in [("GET", &bytes[..]), ("HEAD", b"")] {
            let answer = t.client.send(Request::new(method, &t.at(&format!("blobs/{digest}"))));
            answer.expect(200).expect_length(5000).expect_body(body);
            answer.expect_header("Docker-Content-Digest", &digest);
            answer.expect_header("Content-Type", "application/octet-stream");
            answer.expect_header("Accept-Ranges", "bytes");
        }
    }
}

/// protocol.md C1: `Content-Length: 0` on GET and HEAD of the empty blob.
fn c1_empty_blob(t: &Scene) {
    let digest = t.client.push_blob(&t.repo, b"");
    for method in ["GET", "HEAD"] {
        let answer = t.client.send(Request::new(method, &t.at(&format!("blobs/{digest}"))));
        answer.expect(200).expect_length(0).expect_body(b"").expect_header("Docker-Content-Digest", &digest);
    }
}

/// protocol.md C2 and 4 #50: whatever encodings the client takes, the bytes are those that were pushed.
fn c2_exact_bytes_and_no_encoding(t: &Scene) {
    // What compresses well, and what looks compressed already.
    let gzip_head = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &random_bytes(2000)].concat();
    for bytes in [vec![b'a'; 100_000], b"{\"json\": true}".repeat(5000), gzip_head] {
        let digest = t.client.push_blob(&t.repo, &bytes);
        for encodings in ["zstd,gzip,deflate", "gzip", "identity", "*", "br;q=1.0, gzip;q=0.8"] {
            let request = Request::new("GET", &t.at(&format!("blobs/{digest}"))).header("Accept-Encoding", encodings);
            let answer = t.client.send(request);
            answer.expect(200).expect_no("Content-Encoding").expect_length(bytes.len()).expect_body(&bytes);
        }
    }
}

pub(crate) fn range(t: &Scene, digest: &str, range: &str) -> Response {
    t.client.send(Request::new("GET", &t.at(&format!("blobs/{digest}"))).header("Range", range))
}

/// protocol.md C3 and 1.7: `a-b`, `a-`, `-n`, clipped past the end: 206 with the exact `Content-Range`.
fn c3_ranges(t: &Scene) {
    let bytes = random_bytes(4000);
    let digest = t.client.push_blob(&t.repo, &bytes);
    for (asked, first, last) in [
        ("500-1499", 500, 1499),
        ("500-", 500, 3999),
        ("-500", 3500, 3999),
        ("2000-5000", 2000, 3999),
        ("0-0", 0, 0),
        ("0-", 0, 3999),
        ("3999-3999", 3999, 3999),
        ("3999-", 3999, 3999),
        ("-1", 3999, 3999),
        ("-4000", 0, 3999),
        ("-9999", 0, 3999),
        ("0-99999999999999", 0, 3999),
        ("1000-18446744073709551615", 1000, 3999),
    ] {
        let answer = range(t, &digest, &format!("bytes={asked}"));
        answer.expect(206).expect_length(last - first + 1).expect_body(&bytes[first..=last]);
        answer.expect_header("Content-Range", &format!("bytes {first}-{last}/4000"));
    }
}

/// protocol.md C3: ranges are exact where a stored part or a read buffer ends, too.
fn c3_ranges_of_a_large_blob(t: &Scene) {
    const MIB: usize = 1024 * 1024;
    let bytes = random_bytes(17 * MIB + 17);
    let digest = t.client.push_blob(&t.repo, &bytes);
    for boundary in [4096, 64 * 1024, 256 * 1024, MIB, 16 * MIB] {
        for (first, last) in [(boundary - 1, boundary), (boundary, boundary + 70_000), (1, boundary - 1)] {
            let answer = range(t, &digest, &format!("bytes={first}-{last}"));
            answer.expect(206).expect_header("Content-Range", &format!("bytes {first}-{last}/{}", bytes.len()));
            assert!(answer.body == bytes[first..=last], "other bytes in {first}-{last}");
        }
    }
    assert!(t.client.pull_blob(&t.repo, &digest) == bytes, "other bytes in the whole");
}

/// protocol.md C3 and 1.7: 416 with `Content-Range: bytes */SIZE`.
fn c3_unsatisfiable(t: &Scene) {
    let digest = t.client.push_blob(&t.repo, &random_bytes(4000));
    for asked in ["5000-10000", "4000-", "4000-4000", "99999999999999999999-"] {
        let answer = range(t, &digest, &format!("bytes={asked}"));
        answer.expect(416).expect_header("Content-Range", "bytes */4000");
    }
    // A range whose end lies before its start is none (RFC 9110 14.1.1), so the whole is right as well.
    range(t, &digest, "bytes=500-0").expect_one_of(&[416, 200]);
    let empty = t.client.push_blob(&t.repo, b"");
    range(t, &empty, "bytes=0-").expect_one_of(&[416, 200]);
}

/// protocol.md C3: never 206 with the wrong bytes. What is no range of bytes is ignored.
fn c3_a_range_that_is_none(t: &Scene) {
    let bytes = random_bytes(100);
    let digest = t.client.push_blob(&t.repo, &bytes);
    for asked in ["bytes", "bytes=", "bytes=a-b", "bytes=-", "lines=0-1", "bytes=1", "bytes=--1", "0-1"] {
        let answer = range(t, &digest, asked);
        if answer.expect_one_of(&[200, 400, 416]).status == 200 {
            answer.expect_body(&bytes);
        }
    }
    let head = Request::new("HEAD", &t.at(&format!("blobs/{digest}"))).header("Range", "bytes=10-19");
    let answer = t.client.send(head);
    let length = if answer.expect_one_of(&[200, 206]).status == 200 { 100 } else { 10 };
    answer.expect_length(length);
}

/// protocol.md C4 and 1.7: 404 BLOB_UNKNOWN; HEAD 404 without a body.
fn c4_unknown_blob(t: &Scene) {
    let known = t.client.push_blob(&t.repo, b"known");
    for algorithm in ALGORITHMS {
        let target = t.at(&format!("blobs/{}", algorithm.of(&random_bytes(10))));
        t.client.get(&target).expect_error(404, "BLOB_UNKNOWN");
        t.client.head(&target).expect(404).expect_body(b"");
    }
    // The same bytes under the digest of the other algorithm are another blob, unless the registry knows both names.
    t.client.get(&t.at(&format!("blobs/{known}"))).expect(200);
    let never = format!("/v2/{}/blobs/{known}", t.another());
    t.client.get(&never).expect(404).error_code();
    t.client.head(&never).expect(404).expect_body(b"");
}

/// protocol.md C6: where there is an ETag, it works.
fn c6_etag(t: &Scene) {
    let digest = t.client.push_blob(&t.repo, &random_bytes(100));
    let target = t.at(&format!("blobs/{digest}"));
    let answer = t.client.get(&target);
    let Some(etag) = answer.expect(200).get("ETag") else { return };
    assert!(etag.ends_with('"') && etag.trim_start_matches("W/").starts_with('"'), "{answer:?}");
    for method in ["GET", "HEAD"] {
        let same = t.client.send(Request::new(method, &target).header("If-None-Match", etag));
        same.expect_one_of(&[304, 200]);
        let other = t.client.send(Request::new(method, &target).header("If-None-Match", "\"other\""));
        other.expect(200);
    }
    // A body on a GET is odd but harmless (the older suite sends one).
    let odd = Request::new("GET", &target).body(Body::Length(b"?".to_vec()));
    t.client.send(odd).expect(200).expect_header("Docker-Content-Digest", &digest);
}
