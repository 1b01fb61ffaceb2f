//! protocol.md 1, Tags (H).

use roadstead_testkit::{Response, content, http::escape};
use serde_json::json;

use crate::scene::{Scene, conformance};

conformance!(
    h1_list,
    h2_order,
    h3_n,
    h3_n_that_is_none,
    h4_last,
    h4_last_that_no_tag_has,
    h5_a_full_last_page_has_no_link,
    h6_unknown_repository,
);

/// The tags of one page.
pub(crate) fn tags(answer: &Response) -> Vec<String> {
    let json = answer.expect(200).expect_header("Content-Type", "application/json").json();
    let list = json["tags"].as_array().unwrap_or_else(|| panic!("no list of tags: {answer:?}"));
    list.iter().map(|tag| tag.as_str().unwrap().to_owned()).collect()
}

/// Pushes one image under all these tags.
pub(crate) fn push_tags(t: &Scene, names: &[String]) {
    let image = content::image(0);
    let digest = t.client.push_image(&t.repo, &names[0], &image);
    for names in names.chunks(10) {
        let query: Vec<String> = names.iter().map(|name| format!("tag={name}")).collect();
        t.client.put_manifest(&t.repo, &format!("{digest}?{}", query.join("&")), &image.manifest).expect(201);
    }
}

pub(crate) fn numbered(count: usize) -> Vec<String> {
    (0..count).map(|n| format!("v{n:04}")).collect()
}

/// protocol.md H1: name and tags; `[]` where there are none, also in a repository that has only digests.
fn h1_list(t: &Scene) {
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    t.client.push_manifest(&t.repo, &image.manifest.digest(), &image.manifest);
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json(), json!({"name": t.repo, "tags": []}));
    t.client.push_manifest(&t.repo, "one", &image.manifest);
    let answer = t.client.get(&t.at("tags/list"));
    answer.expect(200).expect_header("Content-Type", "application/json").expect_no("Link");
    assert_eq!(answer.json(), json!({"name": t.repo, "tags": ["one"]}));
    t.client.head(&t.at("tags/list")).expect_one_of(&[200, 405]).expect_body(b"");
}

/// protocol.md H2: by bytes.
fn h2_order(t: &Scene) {
    let mut names = ["b", "a", "B", "A", "_", "0", "a.1", "a-1", "a_1", "a1", "Z", "10", "9", "aa"].map(str::to_owned);
    push_tags(t, &names);
    names.sort_unstable();
    assert_eq!(tags(&t.client.get(&t.at("tags/list"))), names);
}

/// protocol.md H3 and 1.5.1: exactly `n` where there are more; `n=0` is empty and has no Link.
fn h3_n(t: &Scene) {
    push_tags(t, &numbered(5));
    for n in 1..=4 {
        let answer = t.client.get(&t.at(&format!("tags/list?n={n}")));
        assert_eq!(tags(&answer), numbered(n));
        assert!(answer.next_page().is_some(), "{answer:?}");
    }
    for n in ["5", "6", "1000", "10000"] {
        let answer = t.client.get(&t.at(&format!("tags/list?n={n}")));
        assert_eq!(tags(&answer), numbered(5));
        answer.expect_no("Link");
    }
    let none = t.client.get(&t.at("tags/list?n=0"));
    assert_eq!(tags(&none), Vec::<String>::new());
    none.expect_no("Link");
}

/// protocol.md H3: 400 or ignored, never 500.
fn h3_n_that_is_none(t: &Scene) {
    push_tags(t, &numbered(2));
    for n in ["-1", "x", "", "1.5", "99999999999999999999", "%20", "1e3"] {
        let answer = t.client.get(&t.at(&format!("tags/list?n={n}")));
        if answer.expect_one_of(&[200, 400]).status == 200 {
            assert_eq!(tags(&answer), numbered(2));
        } else {
            answer.error_code();
        }
    }
}

/// protocol.md H4 and 1.5.1: exclusive, without `n`, for what does not exist, past the end.
fn h4_last(t: &Scene) {
    push_tags(t, &numbered(5));
    for (query, from, to) in [
        ("last=v0001", 2, 5),
        ("n=2&last=v0001", 2, 4),
        ("last=v0001&n=10", 2, 5),
        ("last=v0001x", 2, 5),
        ("last=a", 0, 5),
        ("last=v0004", 5, 5),
        ("last=zzz", 5, 5),
        ("last=", 0, 5),
        ("n=2&last=v0003", 4, 5),
    ] {
        let answer = t.client.get(&t.at(&format!("tags/list?{query}")));
        assert_eq!(tags(&answer), numbered(5)[from..to], "{query}");
    }
    // Not a tag, but a client may still ask.
    t.client.get(&t.at(&format!("tags/list?last={}", escape("ä /'\"")))).expect_one_of(&[200, 400]);
}

/// protocol.md H5: no Link at all on the last page, also when it is full.
fn h5_a_full_last_page_has_no_link(t: &Scene) {
    push_tags(t, &numbered(4));
    let first = t.client.get(&t.at("tags/list?n=2"));
    let second = t.client.get(&first.next_page().unwrap());
    assert_eq!(tags(&second), numbered(4)[2..]);
    second.expect_no("Link");
}

/// protocol.md H6 and 1.7: 404 NAME_UNKNOWN.
fn h6_unknown_repository(t: &Scene) {
    t.client.get(&t.at("tags/list")).expect_error(404, "NAME_UNKNOWN");
    let (registry, _) = t.repo.split_once('/').unwrap();
    t.client.get(&format!("/v2/{registry}x/never/tags/list")).expect_error(404, "NAME_UNKNOWN");
}

/// protocol.md H4: `last` need not exist; a control character (PostgreSQL takes no NUL) is no reason for an error.
fn h4_last_that_no_tag_has(t: &Scene) {
    push_tags(t, &["a".to_owned(), "b".to_owned()]);
    for (last, expected) in [("a%00", vec!["b"]), ("%00", vec!["a", "b"]), ("b%01x", vec![]), ("%ff", vec![])] {
        assert_eq!(tags(&t.client.get(&t.at(&format!("tags/list?last={last}")))), expected, "{last}");
    }
}
