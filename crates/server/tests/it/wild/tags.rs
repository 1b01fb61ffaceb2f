//! protocol.md 4: bugs about lists of tags.

use roadstead_testkit::content;
use serde_json::json;

use crate::{
    scene::{Scene, conformance},
    tags::{numbered, push_tags, tags},
};

conformance!(bug37_h7_after_the_last_tag, bug38_h5_pages);

/// protocol.md H7 and 4 #37: 200 and `[]` when the last tag is gone but artifacts are not.
fn bug37_h7_after_the_last_tag(t: &Scene) {
    t.client.push_image(&t.repo, "only", &content::image(0));
    t.client.delete(&t.at("manifests/only")).expect(202);
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json(), json!({"name": t.repo, "tags": []}));
}

/// protocol.md H5 and 4 #38: 1,234 tags in pages of 100: thirteen, each once; `n` and `last` once in the Link.
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
