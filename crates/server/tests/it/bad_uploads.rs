//! Uploads that lie: about the place of a chunk, about the digest, about the length. A new trick is a new line.

use roadstead_testkit::{
    Body, Request,
    content::{digest, random_bytes},
    http::{escape, with_parameter},
};

use crate::{
    bad_input::{Victim, ask},
    scene::{Storage, on_both_engines},
};

on_both_engines!(chunks, finishing, lengths_that_lie);

/// protocol.md D7: a chunk that lies about its place is 416, and nothing of it is stored.
fn chunks(storage: &Storage) {
    let v = Victim::start(storage);
    let location = v.client.begin(&v.repo);
    for range in [
        "bytes 0-9/5",
        "0-9/9",
        "0-9/x",
        "0-18446744073709551615",
        "18446744073709551615-18446744073709551615",
        "18446744073709551606-18446744073709551615",
        "-1-8",
        "0-8",
        "0-10",
        "9-0",
        "0-9-",
        "0x0-0x9",
        "0-9\t0-9",
        "0-9,10-19",
        "+0-9",
        "1-10",
        "9223372036854775807-9223372036854775816",
        "bytes",
        "*/10",
        "bytes */10",
        "9-",
        "\u{e9}",
    ] {
        ask("PATCH", &location, &[416], "").header("Content-Range", range).body(*b"0123456789").play(&v);
        v.client.get(&location).expect(204).expect_header("Range", "0-0");
    }
    let twice = Request::new("PATCH", &location).header("Content-Range", "0-9").header("Content-Range", "10-19");
    v.client.send(twice.body(Body::Length(b"0123456789".to_vec()))).expect(416).error_code();
    v.client.get(&location).expect(204).expect_header("Range", "0-0");
    v.holds_no_more_than_before();
}

/// protocol.md D11, D14: a blob is there under the digest of its bytes or not at all.
fn finishing(storage: &Storage) {
    let v = Victim::start(storage);
    let bytes = random_bytes(100);
    let right = digest(&bytes);
    let other = digest(b"other bytes");
    for query in [
        String::new(),
        "digest=".to_owned(),
        "digest".to_owned(),
        format!("digest={right}&digest={other}"),
        format!("digest={other}&digest={right}"),
        format!("digest={other}"),
        format!("digest={}", right.to_uppercase()),
        format!("digest={right}%00"),
        format!("digest={}", &right[..70]),
        format!("digest=md5:{}", &right[7..39]),
        format!("digest=sha512:{}", &right[7..]),
        format!("digest={}", escape(&escape(&right))),
        format!("Digest={right}"),
        format!("digest={}", "%".repeat(10_000)),
        format!("digest={}", "0".repeat(30_000)),
    ] {
        let target = format!("{}?{query}", v.client.begin(&v.repo));
        ask("PUT", &target, &[400], "DIGEST_INVALID")
            .body(bytes.clone())
            .called(&query[..query.len().min(200)])
            .play(&v);
        v.client.get(&v.at(&format!("blobs/{right}"))).expect_error(404, "BLOB_UNKNOWN");
    }
    let packed = Request::new("PUT", &with_parameter(&v.client.begin(&v.repo), "digest", &right));
    // What says that it is packed is taken as the bytes that came.
    let packed = packed.header("Content-Encoding", "gzip").body(Body::Length(bytes.clone()));
    v.client.send(packed).expect(201);
    let pulled = v.client.get(&v.at(&format!("blobs/{right}")));
    pulled.expect(200).expect_no("Content-Encoding").expect_body(&bytes);
    v.holds_no_more_than_before();
}

/// protocol.md D19, RFC 9112 6.3: a body ends where its length says; what is missing is missing, and what comes after is not part of it.
fn lengths_that_lie(storage: &Storage) {
    let v = Victim::start(storage);
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    for body in [
        Body::CutShort(1001, bytes.clone()),
        Body::CutShort(usize::MAX / 2, bytes.clone()),
        Body::ChunkedCutShort(vec![bytes.clone()]),
        Body::CutShort(1000, bytes[..999].to_vec()),
    ] {
        let put = Request::new("PUT", &with_parameter(&v.client.begin(&v.repo), "digest", &digest)).body(body.clone());
        // Whoever has closed their half gets a refusal or the end of the connection.
        if let Ok(answer) = v.client.try_send(&put) {
            answer.expect_one_of(&[400, 413]).error_code();
        }
        let push = Request::new("PUT", &v.at("manifests/short")).header("Content-Type", "application/json").body(body);
        if let Ok(answer) = v.client.try_send(&push) {
            answer.expect_one_of(&[400, 413]).error_code();
        }
        v.client.get(&v.at(&format!("blobs/{digest}"))).expect_error(404, "BLOB_UNKNOWN");
        v.client.get(&v.at("manifests/short")).expect_error(404, "MANIFEST_UNKNOWN");
        v.is_well(&"a body that is cut short");
    }
    // Longer than it says: the rest is a request, and no part of the blob.
    let target = with_parameter(&v.client.begin(&v.repo), "digest", &digest);
    let head = format!("PUT {target} HTTP/1.1\r\nHost: x\r\n{}Content-Length: 1000\r\n\r\n", v.login());
    let rest = "GET /v2/rest/of/it/tags/list HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    let answers = v.converse([head.as_bytes(), &bytes, rest.as_bytes()].concat());
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [201, 401], "{answers:?}");
    assert_eq!(v.client.pull_blob(&v.repo, &digest), bytes);
    v.holds_no_more_than_before();
}
