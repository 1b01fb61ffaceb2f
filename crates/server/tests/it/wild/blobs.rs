//! protocol.md 4: bugs about blobs: where they are seen, and what a pull of one gives.

use roadstead_testkit::content::random_bytes;

use crate::{
    blobs::range,
    scene::{Scene, conformance},
};

conformance!(bug8_c4_local_to_the_repository, bug44_c3_several_ranges);

/// protocol.md C4 and 4 #8 (zot #4166, #4363): a blob of another repository is unknown here.
fn bug8_c4_local_to_the_repository(t: &Scene) {
    let bytes = random_bytes(100);
    let digest = t.client.push_blob(&t.repo, &bytes);
    let other = t.another();
    t.client.push_blob(&other, b"so that the repository exists");
    t.client.get(&format!("/v2/{other}/blobs/{digest}")).expect_error(404, "BLOB_UNKNOWN");
    t.client.head(&format!("/v2/{other}/blobs/{digest}")).expect(404);
    t.client.push_blob(&other, &bytes);
    t.client.head(&format!("/v2/{other}/blobs/{digest}")).expect(200);
}

/// protocol.md C3 and 4 #44: several ranges (zstd:chunked) are 206 multipart/byteranges or 200 with everything.
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
