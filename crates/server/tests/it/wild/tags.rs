//! protocol.md 4: bugs about lists of tags.

use roadstead_testkit::content;
use serde_json::json;

use crate::{
    scene::{Scene, conformance},
    tags::{numbered, push_tags, tags},
};

conformance!(bug37_h7_after_the_last_tag, bug38_h5_pages, bug43_an_empty_list_is_a_list);

/// protocol.md H7 and 4 #37 (distribution-spec #527): 200 and `[]` when the last tag is gone but artifacts are not.
fn bug37_h7_after_the_last_tag(t: &Scene) {
    t.client.push_image(&t.repo, "only", &content::image(0));
    t.client.delete(&t.at("manifests/only")).expect(202);
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json(), json!({"name": t.repo, "tags": []}));
}

/// protocol.md H5 and 4 #38 (cue-labs/oci #53, serverless-registry #75): 1,234 tags in pages of 100: thirteen, each once; `n` and `last` once in the Link.
fn bug38_h5_pages(t: &Scene) {
    push_tags(t, &numbered(1234));
    for (n, pages) in [(100, 13), (617, 2), (1000, 2)] {
        let mut found = Vec::new();
        let mut seen = 0;
        let mut next = Some(t.at(&format!("tags/list?n={n}")));
        while let Some(target) = next {
            let answer = t.client.get(&target);
            found.extend(tags(&answer));
            seen += 1;
            next = answer.next_page();
            if let Some(next) = &next {
                assert!(next.starts_with(&t.at("tags/list?")), "{answer:?}");
                assert_eq!((next.matches("n=").count(), next.matches("last=").count()), (1, 1), "{answer:?}");
            }
            assert!(seen <= pages, "more pages than there can be: {answer:?}");
        }
        assert_eq!(seen, pages);
        assert_eq!(found, numbered(1234));
    }
    // Without `n` a page may have a limit of its own, but never one without a Link.
    let answer = t.client.get(&t.at("tags/list"));
    assert!(tags(&answer).len() == 1234 || answer.next_page().is_some(), "{answer:?}");
}

/// protocol.md 4 #43 (skopeo #2409), H1: no tags are `[]`, never null, whatever the reason that there are none.
fn bug43_an_empty_list_is_a_list(t: &Scene) {
    let none = json!({"name": t.repo, "tags": []});
    let ask = |query: &str| t.client.get(&t.at(&format!("tags/list{query}"))).expect(200).json();
    let image = content::image(0);
    t.client.push_blob(&t.repo, &image.blobs[0]);
    t.client.push_manifest(&t.repo, &image.manifest.digest(), &image.manifest);
    assert_eq!(ask(""), none, "a repository that has only digests");
    t.client.push_manifest(&t.repo, "only", &image.manifest);
    for query in ["?n=0", "?last=only", "?last=zzz", "?n=10&last=only", "?n=0&last=a"] {
        assert_eq!(ask(query), none, "{query}");
    }
    t.client.delete(&t.at("manifests/only")).expect(202);
    assert_eq!(ask(""), none, "the last tag was deleted");
    t.client.delete(&t.at(&format!("manifests/{}", image.manifest.digest()))).expect(202);
    let gone = t.client.get(&t.at("tags/list"));
    assert!(gone.status == 404 || gone.expect(200).json() == none, "{gone:?}");
}
