//! Requests that are right as HTTP and wrong as anything else: names, tags, parameters, ranges. A new trick is a new line.

use roadstead_testkit::Request;

use crate::{
    bad_input::{Victim, ask},
    scene::{Storage, on_both_engines},
};

on_both_engines!(names, tags_and_digests, parameters, ranges);

/// protocol.md A1, A5: a name that is none is 400 or 404 with every method, and nothing else is found by it.
fn names(storage: &Storage) {
    let v = Victim::start(storage);
    let long = "a/".repeat(5_000) + "a";
    for name in [
        "..",
        ".",
        "%2e%2e",
        "%2E",
        "a/..",
        "a/%2e%2e/b",
        "..%2f..",
        "a%2Fb",
        "a%5Cb",
        "a\\b",
        "%252e%252e",
        "a//b",
        "/a",
        "a/",
        "%2f",
        "a%00",
        "a%0d%0aX:y",
        "a%0a",
        "%7f",
        "%80",
        "%c0%ae",
        "%c3%28",
        "%ed%a0%80",
        "%EF%BC%8E%EF%BC%8E",
        "b%D0%B0d",
        "%ef%bb%bfa",
        "A",
        "a%20b",
        "a+b",
        "a:b",
        "a@b",
        "a;b",
        "a?b",
        "a%3Fb",
        "a%23b",
        "%",
        "%a",
        "%zz",
        "a%",
        "~",
        "*",
        "$x",
        "{a}",
        "<a>",
        "a..b",
        "a._b",
        "_a",
        "a_",
        "-",
        "uploads/",
        &long,
    ] {
        let at = |rest: &str| format!("/v2/{}/{name}/{rest}", v.repo);
        for (method, rest) in [
            ("GET", "tags/list".to_owned()),
            ("GET", "manifests/good".to_owned()),
            ("DELETE", "manifests/good".to_owned()),
            ("GET", format!("blobs/{}", v.layer)),
            ("GET", format!("referrers/{}", v.layer)),
        ] {
            ask(method, &at(&rest), &[400, 404, 405], "").play(&v);
        }
        for (method, rest) in [("POST", "blobs/uploads/"), ("PUT", "manifests/x"), ("PATCH", "blobs/uploads/x")] {
            // This one is a path of its own, up to the question mark.
            if name != "a?b" {
                ask(method, &at(rest), &[400, 404, 405], "").body(*b"{}").play(&v);
            }
        }
    }
    for path in [
        "/v2/..",
        "/v2/%2e%2e/",
        "//v2/",
        "/v2//",
        "/V2/",
        "/v2/./",
        "/v2/%00",
        "/v2?/../",
        "/v2/..;/x",
        "/%76%32/",
        "/v2%2f",
        "/token/..",
        "/*",
    ] {
        ask("GET", path, &[200, 400, 404], "").play(&v);
    }
    v.holds_no_more_than_before();
}

/// protocol.md A2, A3: what is neither a tag nor a digest is 400 or 404, and is not looked up.
fn tags_and_digests(storage: &Storage) {
    let v = Victim::start(storage);
    let hex = "0".repeat(64);
    for reference in [
        "-x",
        ".x",
        "..",
        "%2e%2e",
        &"t".repeat(129),
        &"t".repeat(20_000),
        "a%2Fb",
        "a%20",
        "a%00b",
        "a%0a",
        "%ff",
        "a%c3%bc",
        "a+b",
        "a@b",
        "%E2%80%AEx",
        "good%00",
        "good%20",
        "good%2e%2f",
        "good;x",
        "GOOD%zz",
        "sha256:",
        ":",
        "a:b",
        "sha256%3A",
        "sha256:%2e%2e",
        &format!("sha256:{}", "A".repeat(64)),
        &format!("sha256:{}", &hex[1..]),
        &format!("sha256:{hex}0"),
        &format!("sha256%253A{hex}"),
        &format!("SHA256:{hex}"),
        &format!("sha512:{hex}"),
        &format!("md5:{}", &hex[..32]),
        &format!("sha256:{hex}%00"),
        &format!("sha256:{hex}:"),
        &format!("sha256:sha256:{hex}"),
        &format!("sha256:{}", "%30".repeat(20_000)),
        "sha256:../../etc/passwd",
    ] {
        for (method, what) in [
            ("GET", "manifests"),
            ("HEAD", "manifests"),
            ("DELETE", "manifests"),
            ("PUT", "manifests"),
            ("GET", "blobs"),
            ("DELETE", "blobs"),
            ("GET", "referrers"),
        ] {
            // A path whose end is cut off at a slash is another path.
            ask(method, &v.at(&format!("{what}/{reference}")), &[400, 404, 405], "").play(&v);
        }
    }
    let odd = [
        "x%00y",
        "../x",
        "%2e%2e",
        &"x".repeat(65),
        &"x".repeat(10_000),
        "x y",
        "%ff",
        "'; DROP TABLE upload; --",
        "x?y=%00",
    ];
    for id in odd.map(|id| id.replace(' ', "%20")) {
        for method in ["GET", "PATCH", "PUT", "DELETE"] {
            ask(method, &v.at(&format!("blobs/uploads/{id}")), &[400, 404, 405], "").play(&v);
        }
    }
    v.holds_no_more_than_before();
}

/// Parameters that are odd are ignored or refused; a page is never longer than it may be.
fn parameters(storage: &Storage) {
    let v = Victim::start(storage);
    let large = "x".repeat(50_000);
    let many = (0..5_000).map(|n| format!("n={n}")).collect::<Vec<_>>().join("&");
    for query in [
        "n=-1",
        "n=99999999999999999999",
        "n=18446744073709551616",
        "n=1e3",
        "n=0x10",
        "n=%31",
        "n=%",
        "n=%zz",
        "n=%00",
        "n=",
        "n=1&n=2",
        "n[]=1",
        "last=%00",
        "last=%ff",
        "last=%",
        "last=a%00b",
        "last=%f0%9f%92%a9",
        "last=/",
        "last=..",
        "last='%20OR%201=1--",
        &format!("last={large}"),
        &many,
        &"&".repeat(20_000),
        &"=".repeat(20_000),
        &"%".repeat(20_000),
        &format!("{large}=1"),
        "?",
        "a=b?c=d",
        "n=1#x",
    ] {
        for target in [v.at("tags/list"), "/v2/_catalog".to_owned()] {
            ask("GET", &format!("{target}?{query}"), &[200, 400], "").play(&v);
        }
        ask("GET", &v.at(&format!("referrers/{}?{query}", v.layer)), &[200, 400], "").play(&v);
    }
    for artifact_type in ["%00", "%ff", "a/b%00", "%", "+", &large, "a&artifactType=b", "%0d%0aX: y"] {
        let target = v.at(&format!("referrers/{}?artifactType={}", v.layer, artifact_type.replace(' ', "%20")));
        ask("GET", &target, &[200, 400], "").play(&v).expect_no("X");
    }
    for query in [
        "mount=",
        "mount=x",
        "mount=%00",
        "mount=x&from=%00",
        "from=..",
        "from=%ff",
        "mount=sha256:0&from=a&mount=b",
        "digest-algorithm=",
        "origin=%00",
    ] {
        ask("POST", &v.at(&format!("blobs/uploads/?{query}")), &[201, 202, 400], "").play(&v);
    }
    for query in
        ["digest-algorithm=md5", "digest-algorithm=%00", "digest=md5:00", "digest=sha256:x", "digest=%00", "digest=%ff"]
    {
        ask("POST", &v.at(&format!("blobs/uploads/?{query}")), &[400], "DIGEST_INVALID").play(&v);
    }
    let tags = (0..3_000).map(|n| format!("tag=t{n}")).collect::<Vec<_>>().join("&");
    ask("PUT", &v.at(&format!("manifests/x?{tags}")), &[400, 414], "").body(*b"{}").play(&v);
    v.holds_no_more_than_before();
}

/// protocol.md C3, RFC 9110 14.2: whatever is asked for, no wrong byte and not many times the blob is sent.
fn ranges(storage: &Storage) {
    let v = Victim::start(storage);
    let target = v.at(&format!("blobs/{}", v.layer));
    let whole = v.client.get(&target).expect(200).body.clone();
    for (range, right) in [
        (format!("bytes={}", vec!["0-0"; 9_000].join(",")), &[200, 206, 416][..]),
        (format!("bytes={}", vec!["0-"; 1_000].join(",")), &[200]),
        (format!("bytes={}", (0..900).map(|n| format!("{n}-{n}")).collect::<Vec<_>>().join(",")), &[206]),
        ("bytes=0-18446744073709551615".to_owned(), &[206]),
        ("bytes=0-999999999999999999999999".to_owned(), &[206]),
        ("bytes=18446744073709551615-".to_owned(), &[416]),
        ("bytes=18446744073709551615-18446744073709551615".to_owned(), &[416]),
        ("bytes=-18446744073709551616".to_owned(), &[206]),
        ("bytes=-0".to_owned(), &[416]),
        ("bytes=5-2".to_owned(), &[200, 416]),
        ("bytes=-1-2".to_owned(), &[200, 416]),
        ("bytes=0x0-0x5".to_owned(), &[200]),
        ("bytes=+1-+2".to_owned(), &[200]),
        ("bytes=1.5-2".to_owned(), &[200]),
        ("bytes = 0-1".to_owned(), &[200, 206]),
        ("bytes=,,,".to_owned(), &[200]),
        ("bytes=0-1,".to_owned(), &[200, 206]),
        ("octets=0-1".to_owned(), &[200]),
        ("bytes".to_owned(), &[200]),
        (",".repeat(30_000), &[200]),
        (format!("bytes={}", "-".repeat(30_000)), &[200]),
    ] {
        let answer = v.client.send(Request::new("GET", &target).header("Range", &range));
        answer.expect_one_of(right);
        assert!(answer.status != 200 || answer.body == whole, "{answer:?}");
        assert!(answer.body.len() < 200_000, "{answer:?}");
        v.is_well(&&range[..range.len().min(100)]);
    }
    let twice = Request::new("GET", &target).header("Range", "bytes=0-1").header("Range", "bytes=5-6");
    v.client.send(twice).expect(200).expect_body(&whole);
    v.holds_no_more_than_before();
}
