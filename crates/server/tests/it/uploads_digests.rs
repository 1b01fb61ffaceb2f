//! protocol.md 1, Upload (D): the digest decides. Every method of 1.7 with sha256 and sha512, with right and wrong
//! digests, and for the blobs that are empty or nearly so.

use roadstead_testkit::{
    Body, Request, Response,
    content::{ALGORITHMS, Algorithm, random_bytes},
    http::{escape, with_parameter},
};

use crate::{
    scene::{Scene, conformance},
    uploads::{expect_blob, expect_no_blob},
};

conformance!(
    d2_single_post,
    d3_single_post_of_other_bytes,
    d9_every_method_with_both_algorithms,
    d11_every_method_with_a_wrong_digest,
    d11_malformed_digest,
    d12_sha512_without_announcement,
    d12_sha512_announced,
    d12_unknown_algorithm_announced,
    d14_put_without_digest,
    d12_both_algorithms_name_the_same_bytes,
);

/// Pushes bytes as a digest; the last answer.
type Push = fn(&Scene, &str, &[u8]) -> Response;

/// The methods of 1.7.
const METHODS: [(&str, Push); 7] = [
    ("single POST", single_post),
    ("POST and PUT", |t, digest, bytes| finish(t, &t.client.begin(&t.repo), digest, bytes)),
    ("announced POST and PUT", |t, digest, bytes| finish(t, &announced(t, digest), digest, bytes)),
    ("one chunk", |t, digest, bytes| {
        let location = patched(t, t.client.begin(&t.repo), 0, bytes);
        finish(t, &location, digest, b"")
    }),
    ("stream", |t, digest, bytes| {
        let patch = Request::new("PATCH", &t.client.begin(&t.repo)).body(Body::streamed(bytes));
        let location = t.client.send(patch).expect(202).location_path();
        finish(t, &location, digest, b"")
    }),
    ("several chunks", |t, digest, bytes| {
        let (a, b) = bytes.split_at(bytes.len() / 3);
        let location = patched(t, t.client.begin(&t.repo), 0, a);
        let location = patched(t, location, a.len(), b);
        finish(t, &location, digest, b"")
    }),
    ("several chunks, the last with PUT", |t, digest, bytes| {
        let (a, rest) = bytes.split_at(bytes.len() / 3);
        let (b, c) = rest.split_at(rest.len() / 2);
        let location = patched(t, announced(t, digest), 0, a);
        let location = patched(t, location, a.len(), b);
        finish(t, &location, digest, c)
    }),
];

fn single_post(t: &Scene, digest: &str, bytes: &[u8]) -> Response {
    let post = Request::new("POST", &with_parameter(&t.at("blobs/uploads/"), "digest", digest));
    t.client.send(post.header("Content-Type", "application/octet-stream").body(Body::Length(bytes.to_vec())))
}

/// Begins an upload that says which algorithm will come (end-4c).
fn announced(t: &Scene, digest: &str) -> String {
    let algorithm = digest.split(':').next().unwrap();
    let post = with_parameter(&t.at("blobs/uploads/"), "digest-algorithm", algorithm);
    t.client.post(&post).expect(202).location_path()
}

fn patched(t: &Scene, location: String, start: usize, bytes: &[u8]) -> String {
    if bytes.is_empty() {
        return location;
    }
    t.client.patch(&location, Some(start), bytes).expect(202).location_path()
}

fn finish(t: &Scene, location: &str, digest: &str, rest: &[u8]) -> Response {
    t.client.put(&with_parameter(location, "digest", digest), rest)
}

/// protocol.md D2: POST with body and digest is the whole push; 201, Location of the blob, digest.
fn d2_single_post(t: &Scene) {
    for algorithm in ALGORITHMS {
        for size in [0, 2, 1000, 1_000_000] {
            let bytes = random_bytes(size);
            let digest = algorithm.of(&bytes);
            let answer = single_post(t, &digest, &bytes);
            answer.expect(201).expect_length(0).expect_header("Docker-Content-Digest", &digest);
            assert_eq!(answer.location_path(), t.at(&format!("blobs/{digest}")));
            expect_blob(t, &digest, &bytes);
        }
    }
    let bytes = random_bytes(1000);
    let digest = Algorithm::Sha256.of(&bytes);
    let post = Request::new("POST", &with_parameter(&t.at("blobs/uploads/"), "digest", &digest));
    t.client.send(post.body(Body::streamed(&bytes))).expect(201);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md D3: 400 DIGEST_INVALID.
fn d3_single_post_of_other_bytes(t: &Scene) {
    for algorithm in ALGORITHMS {
        let digest = algorithm.of(&random_bytes(100));
        single_post(t, &digest, &random_bytes(100)).expect_error(400, "DIGEST_INVALID");
        expect_no_blob(t, &digest);
    }
    let malformed = format!("sha256:{}", "x".repeat(64));
    single_post(t, &malformed, b"x").expect_error(400, "DIGEST_INVALID");
}

/// protocol.md D9 and 1.7: each method with each algorithm, also of the empty blob and of `{}`.
fn d9_every_method_with_both_algorithms(t: &Scene) {
    for (name, push) in METHODS {
        for algorithm in ALGORITHMS {
            for bytes in [random_bytes(5000), b"{}".to_vec(), Vec::new()] {
                let digest = algorithm.of(&bytes);
                let answer = push(t, &digest, &bytes);
                assert_eq!(answer.status, 201, "{name}, {} bytes: {answer:?}", bytes.len());
                answer.expect_header("Docker-Content-Digest", &digest);
                assert_eq!(answer.location_path(), t.at(&format!("blobs/{digest}")), "{name}");
                expect_blob(t, &digest, &bytes);
            }
        }
    }
}

/// protocol.md D11 and 1.7: 400 DIGEST_INVALID by each method, and neither digest is a blob afterwards.
fn d11_every_method_with_a_wrong_digest(t: &Scene) {
    for (name, push) in METHODS {
        for algorithm in ALGORITHMS {
            let bytes = random_bytes(5000);
            let wrong = algorithm.of(&random_bytes(5000));
            let answer = push(t, &wrong, &bytes);
            assert_eq!((answer.status, answer.error_code().as_str()), (400, "DIGEST_INVALID"), "{name}: {answer:?}");
            expect_no_blob(t, &wrong);
            expect_no_blob(t, &algorithm.of(&bytes));
        }
    }
}

/// protocol.md D11: a digest that is none is 400, and an upload that is not asked for again is no blob.
fn d11_malformed_digest(t: &Scene) {
    let bytes = random_bytes(100);
    let right = Algorithm::Sha256.of(&bytes);
    let unknown = right.replace("sha256", "md5");
    for malformed in ["sha256:xyz", "sha256", "", ":", &right[..70], &right.to_uppercase(), &unknown] {
        let location = t.client.begin(&t.repo);
        let put = format!("{location}{}digest={}", if location.contains('?') { '&' } else { '?' }, escape(malformed));
        t.client.put(&put, &bytes).expect(400).error_code();
    }
    expect_no_blob(t, &right);
}

/// protocol.md D12: sha512 at PUT though nothing was announced, with bytes in one part and in several.
fn d12_sha512_without_announcement(t: &Scene) {
    for size in [0, 1000, 17 * 1024 * 1024] {
        let bytes = random_bytes(size);
        let digest = Algorithm::Sha512.of(&bytes);
        let patch = Request::new("PATCH", &t.client.begin(&t.repo)).body(Body::streamed(&bytes));
        let location = t.client.send(patch).expect(202).location_path();
        finish(t, &location, &digest, b"").expect(201).expect_header("Docker-Content-Digest", &digest);
        expect_blob(t, &digest, &bytes);
    }
}

/// protocol.md end-4c: `digest-algorithm=sha512` at POST; sha256 may still be what PUT says.
fn d12_sha512_announced(t: &Scene) {
    for said in ALGORITHMS {
        for done in ALGORITHMS {
            let bytes = random_bytes(1000);
            let digest = done.of(&bytes);
            let location = patched(t, announced(t, said.name()), 0, &bytes[..300]);
            finish(t, &location, &digest, &bytes[300..]).expect(201).expect_header("Docker-Content-Digest", &digest);
            expect_blob(t, &digest, &bytes);
        }
    }
}

/// protocol.md end-4c: an algorithm that nobody knows is 400.
fn d12_unknown_algorithm_announced(t: &Scene) {
    t.client.post(&t.at("blobs/uploads/?digest-algorithm=md5")).expect(400).error_code();
}

/// protocol.md D14.
fn d14_put_without_digest(t: &Scene) {
    let location = t.client.begin(&t.repo);
    t.client.put(&location, b"bytes").expect(400).error_code();
    expect_no_blob(t, &Algorithm::Sha256.of(b"bytes"));
}

/// protocol.md 1.6.1: what was pushed as sha512 is read as sha512, also when the same bytes are there as sha256.
fn d12_both_algorithms_name_the_same_bytes(t: &Scene) {
    let bytes = random_bytes(3000);
    for algorithm in [Algorithm::Sha256, Algorithm::Sha512, Algorithm::Sha256] {
        let digest = algorithm.of(&bytes);
        single_post(t, &digest, &bytes).expect(201).expect_header("Docker-Content-Digest", &digest);
        expect_blob(t, &digest, &bytes);
    }
    t.client.delete(&t.at(&format!("blobs/{}", Algorithm::Sha512.of(&bytes)))).expect(202);
    expect_blob(t, &Algorithm::Sha256.of(&bytes), &bytes);
}
