//! protocol.md 4: bugs about blobs: where they are seen, and what a pull of one gives.

use roadstead_testkit::{
    Body, Login, Request, Response,
    content::{self, random_bytes},
    digest, h2,
    http::{escape, with_parameter},
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    wire::Connection,
};
use serde_json::json;

use crate::{
    blobs::range,
    scene::{Scene, conformance},
    token::token,
};

conformance!(
    bug8_c4_local_to_the_repository,
    bug11_length_on_every_head,
    bug33_the_length_is_the_right_one,
    bug44_c3_several_ranges,
    bug50_no_content_encoding,
);

/// protocol.md C4 and 4 #8 (zot #4166, #4363): a blob of another repository is unknown here until it is pushed or
/// mounted, and stays when it is deleted there.
fn bug8_c4_local_to_the_repository(t: &Scene) {
    for mounted in [false, true] {
        let bytes = random_bytes(100);
        let digest = t.client.push_blob(&t.repo, &bytes);
        let other = t.another();
        t.client.push_blob(&other, b"so that the repository exists");
        let there = format!("/v2/{other}/blobs/{digest}");
        t.client.get(&there).expect_error(404, "BLOB_UNKNOWN");
        t.client.head(&there).expect(404);
        if mounted {
            let mount = format!("/v2/{other}/blobs/uploads/?mount={}&from={}", escape(&digest), escape(&t.repo));
            t.client.post(&mount).expect(201);
        } else {
            t.client.push_blob(&other, &bytes);
        }
        t.client.head(&there).expect(200);
        t.client.delete(&t.at(&format!("blobs/{digest}"))).expect(202);
        t.client.head(&t.at(&format!("blobs/{digest}"))).expect(404);
        t.client.get(&there).expect(200).expect_body(&bytes);
    }
}

/// protocol.md C3 and 4 #44 (podman #24885): several ranges (zstd:chunked) are 206 multipart/byteranges or 200 with everything.
fn bug44_c3_several_ranges(t: &Scene) {
    let bytes = random_bytes(4000);
    let digest = t.client.push_blob(&t.repo, &bytes);
    let answer = range(t, &digest, "bytes=0-9,100-109");
    if answer.expect_one_of(&[200, 206]).status == 200 {
        answer.expect_body(&bytes).expect_length(4000);
        return;
    }
    let boundary = answer.header("Content-Type").strip_prefix("multipart/byteranges; boundary=").map(str::to_owned);
    let boundary = boundary.unwrap_or_else(|| panic!("{answer:?}"));
    for (first, last) in [(0, 9), (100, 109)] {
        let mark = format!("bytes {first}-{last}/4000").into_bytes();
        let find = |from: usize, what: &[u8]| {
            let place = answer.body[from..].windows(what.len()).position(|window| window == what);
            from + place.unwrap_or_else(|| panic!("{answer:?}")) + what.len()
        };
        let start = find(find(0, &mark), b"\r\n\r\n");
        assert_eq!(answer.body[start..start + 10], bytes[first..=last], "{answer:?}");
    }
    assert!(answer.text().contains(&format!("--{}--", boundary.trim_matches('"'))), "{answer:?}");
}

/// The login of the scene as a header, for connections that have none of their own.
fn login(t: &Scene) -> String {
    match &t.client.login {
        Login::Basic(..) => basic(KEY_ID, KEY_SECRET),
        _ => format!("Bearer {}", token(t, &[&format!("repository:{}:pull,push", t.repo)])),
    }
}

/// An image with a blob of each size that frameworks have stumbled over, and its addresses with their sizes.
fn of_every_size(t: &Scene) -> Vec<(String, usize)> {
    let mut image = content::image_of(&[Vec::new(), b"{}".to_vec(), random_bytes(100_000), vec![b'a'; 300_000]]);
    image.manifest = image.manifest.with("annotations", json!({"long": "x".repeat(200_000)}));
    let named = t.client.push_image(&t.repo, "v1", &image);
    let empty = content::index_of(Vec::new());
    t.client.push_manifest(&t.repo, "empty", &empty);
    let mut all: Vec<_> =
        image.blobs.iter().map(|blob| (t.at(&format!("blobs/{}", digest(blob))), blob.len())).collect();
    all.extend(["v1", &named].map(|reference| (t.at(&format!("manifests/{reference}")), image.manifest.bytes.len())));
    all.push((t.at("manifests/empty"), empty.bytes.len()));
    all
}

/// protocol.md 4 #11 (distribution #4895), C1: every HEAD of a blob or manifest says its length, the empty blob's too,
/// over HTTP/1.1 and HTTP/2, also to a client that would take it compressed.
fn bug11_length_on_every_head(t: &Scene) {
    let login = login(t);
    for (target, size) in of_every_size(t) {
        for encodings in ["identity", "gzip, deflate, br, zstd"] {
            let head = Request::new("HEAD", &target).header("Authorization", &login);
            let head = head.header("Accept-Encoding", encodings);
            for answer in [t.client.send(head.clone()), h2::exchange(t.client.address, &head).unwrap()] {
                answer.expect(200).expect_length(size).expect_no("Content-Encoding").expect_no("Transfer-Encoding");
            }
        }
    }
}

/// protocol.md 4 #33 (nora #337, wharf #11): the length on HEAD is that of the bytes GET sends, not that of the body HEAD
/// has not: one connection, one answer after another, which a wrong length would tear apart.
fn bug33_the_length_is_the_right_one(t: &Scene) {
    let login = login(t);
    let all = of_every_size(t);
    let mut connection = Connection::open(t.client.address).unwrap();
    let mut send = |method: &str, target: &str| -> Response {
        connection.send(&Request::new(method, target).header("Authorization", &login)).unwrap()
    };
    for (target, size) in &all {
        let head = send("HEAD", target);
        let get = send("GET", target);
        assert_eq!(get.expect(200).body.len(), *size);
        head.expect(200).expect_header("Content-Length", get.header("Content-Length"));
        for same in ["Content-Type", "Docker-Content-Digest"] {
            head.expect_header(same, get.header(same));
        }
    }
}

/// protocol.md 4 #50 (moby #17595), C2: a gzipped layer, pushed by a client that says so in headers, comes back as bytes
/// and nothing else: no Content-Encoding whatever Accept-Encoding says, on GET, HEAD and a range.
fn bug50_no_content_encoding(t: &Scene) {
    let bytes = [&[0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3][..], &random_bytes(5000)].concat();
    let named = digest(&bytes);
    for said in ["application/octet-stream", "application/x-gzip"] {
        let put = Request::new("PUT", &with_parameter(&t.client.begin(&t.repo), "digest", &named));
        t.client.send(put.header("Content-Type", said).body(Body::Length(bytes.clone()))).expect(201);
        for encodings in ["x-gzip", "gzip", "zstd,gzip,deflate", "identity;q=0, *"] {
            for method in ["GET", "HEAD"] {
                let request =
                    Request::new(method, &t.at(&format!("blobs/{named}"))).header("Accept-Encoding", encodings);
                let answer = t.client.send(request);
                answer.expect(200).expect_no("Content-Encoding").expect_length(bytes.len());
                answer.expect_header("Content-Type", "application/octet-stream");
                answer.expect_body(if method == "GET" { &bytes } else { b"" });
            }
            let request = Request::new("GET", &t.at(&format!("blobs/{named}"))).header("Accept-Encoding", encodings);
            let answer = t.client.send(request.header("Range", "bytes=10-19"));
            answer.expect(206).expect_no("Content-Encoding").expect_body(&bytes[10..20]);
        }
    }
}
