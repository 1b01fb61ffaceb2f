//! protocol.md 1, Catalog (I). The catalog is of the whole region, so other tests' repositories are in it too.

use std::collections::BTreeSet;

use roadstead_testkit::{Client, Login, content, http::with_parameter};

use crate::scene::{Scene, conformance};

conformance!(i1_pages, i1_n_and_last, i1_only_what_has_an_artifact, i3_without_rights,);

fn repositories(answer: &roadstead_testkit::Response) -> Vec<String> {
    let json = answer.expect(200).expect_header("Content-Type", "application/json").json();
    let list = json["repositories"].as_array().unwrap_or_else(|| panic!("no list: {answer:?}"));
    list.iter().map(|name| name.as_str().unwrap().to_owned()).collect()
}

fn whole(client: &Client, n: usize) -> Vec<String> {
    let mut found = Vec::new();
    let mut next = Some(format!("/v2/_catalog?n={n}"));
    while let Some(target) = next {
        let answer = client.get(&target);
        let page = repositories(&answer);
        assert!(page.len() <= n, "{answer:?}");
        found.extend(page);
        next = answer.next_page();
    }
    found
}

/// protocol.md I1: sorted, each once, in pages of any size, Link as for tags.
fn i1_pages(t: &Scene) {
    let mine: BTreeSet<String> = (0..7).map(|_| t.another()).collect();
    for repo in &mine {
        t.client.push_image(repo, "v1", &content::image(0));
    }
    for n in [3, 100, 1000] {
        let found = whole(&t.client, n);
        assert!(found.is_sorted_by(|a, b| a < b), "{found:?}");
        let found: BTreeSet<String> = found.into_iter().collect();
        assert!(mine.is_subset(&found), "{mine:?} in {found:?}");
    }
}

/// protocol.md I1: `last` is exclusive, `n=0` is empty without a Link.
fn i1_n_and_last(t: &Scene) {
    let mut mine = [t.another(), t.another()];
    mine.sort();
    for repo in &mine {
        t.client.push_image(repo, "v1", &content::image(0));
    }
    let after = t.client.get(&with_parameter("/v2/_catalog?n=1", "last", &mine[0]));
    assert_eq!(repositories(&after), mine[1..]);
    assert_eq!(repositories(&t.client.get("/v2/_catalog?n=0").expect_no("Link").clone()), Vec::<String>::new());
    for n in ["-1", "x"] {
        t.client.get(&format!("/v2/_catalog?n={n}")).expect_one_of(&[200, 400]);
    }
}

/// schema.md, `repository`: one that has only uploads or blobs is not listed yet.
fn i1_only_what_has_an_artifact(t: &Scene) {
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    assert!(!whole(&t.client, 1000).contains(&t.repo));
    t.client.push_manifest(&t.repo, "v1", &image.manifest);
    assert!(whole(&t.client, 1000).contains(&t.repo));
}

/// protocol.md I3: only what the caller may pull, or 401/403.
fn i3_without_rights(t: &Scene) {
    t.client.push_image(&t.repo, "v1", &content::image(0));
    let nobody = t.client.logged_in(Login::AnonymousToken);
    let answer = nobody.get("/v2/_catalog?n=1000");
    if answer.expect_one_of(&[200, 401, 403]).status == 200 {
        assert!(!repositories(&answer).contains(&t.repo), "{answer:?}");
    } else {
        answer.error_code();
    }
}
