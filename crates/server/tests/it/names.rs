//! protocol.md 1, Names (A).

use roadstead_testkit::{content, http::escape};

use crate::scene::{Scene, conformance};

conformance!(
    a1_repository_names,
    a1_longest_name,
    a2_tags,
    a2_not_a_tag,
    a3_references_with_a_colon,
    a4_words_of_the_protocol_in_names,
    a5_bad_names
);

/// protocol.md A1: what a repository may be called, runs of `-` included.
fn a1_repository_names(t: &Scene) {
    for name in ["a", "a/b/c", "a--b/c__d", "a.b_c", "0/1", "x---y", "library/nginx", "a1-b2.c3_d4__e5"] {
        let repo = format!("{}/{name}", t.repo);
        let digest = t.client.push_image(&repo, "v1", &content::image(1));
        t.client.get(&format!("/v2/{repo}/manifests/v1")).expect(200).expect_header("Docker-Content-Digest", &digest);
        let tags = t.client.get(&format!("/v2/{repo}/tags/list")).expect(200).json();
        assert_eq!(tags["name"].as_str(), Some(repo.as_str()));
    }
}

/// protocol.md A1: long names; one that no host leaves room for is refused.
fn a1_longest_name(t: &Scene) {
    let long = format!("{}/{}", t.repo, "n".repeat(190 - t.repo.len()));
    t.client.push_image(&long, "v1", &content::image(0));
    let too_long = format!("{}/{}", t.repo, "n".repeat(300));
    t.client.post(&format!("/v2/{too_long}/blobs/uploads/")).expect_one_of(&[400, 404]).error_code();
}

/// protocol.md A2: what a tag may be called, up to 128 characters.
fn a2_tags(t: &Scene) {
    let longest = "t".repeat(128);
    let mut tags = ["latest", "_x", "1.0.0_build.5", "A-b", "0", "V1", "v1", "a__b..c--d", &longest];
    for tag in tags {
        let digest = t.client.push_image(&t.repo, tag, &content::image(0));
        let head = t.client.head(&t.at(&format!("manifests/{tag}")));
        head.expect(200).expect_header("Docker-Content-Digest", &digest);
    }
    tags.sort_unstable();
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json()["tags"], serde_json::json!(tags));
}

/// protocol.md A2: nothing else is one, and nothing of it is stored.
fn a2_not_a_tag(t: &Scene) {
    let image = content::image(0);
    t.client.push_image(&t.repo, "good", &image);
    let too_long = "t".repeat(129);
    for tag in [".x", "-x", "a+b", "a b", "a@b", "ä", "a%b", &too_long] {
        let tag = escape(tag);
        t.client.put_manifest(&t.repo, &tag, &image.manifest).expect_one_of(&[400, 404]).error_code();
        t.client.get(&t.at(&format!("manifests/{tag}"))).expect_one_of(&[400, 404]).error_code();
    }
    assert_eq!(t.client.get(&t.at("tags/list")).expect(200).json()["tags"], serde_json::json!(["good"]));
}

/// protocol.md A3: with a `:` it is a digest; one that is none is 400 on PUT, 400 or 404 on GET.
fn a3_references_with_a_colon(t: &Scene) {
    let image = content::image(0);
    t.client.push_image(&t.repo, "good", &image);
    let hex = "0".repeat(64);
    let short = format!("sha256:{}", "0".repeat(63));
    let long = format!("sha256:{}", "0".repeat(65));
    let upper = format!("sha256:{}", "A".repeat(64));
    let unknown = format!("md5:{hex}");
    let empty = format!(":{hex}");
    let sha512_of_256 = format!("sha512:{hex}");
    for digest in
        ["sha256:baddigeststring", "sha256:", "latest:1", &short, &long, &upper, &unknown, &empty, &sha512_of_256]
    {
        t.client.put_manifest(&t.repo, digest, &image.manifest).expect(400).error_code();
        for what in ["manifests", "blobs"] {
            t.client.get(&t.at(&format!("{what}/{digest}"))).expect_one_of(&[400, 404]).error_code();
            t.client.head(&t.at(&format!("{what}/{digest}"))).expect_one_of(&[400, 404]).expect_body(b"");
            t.client.delete(&t.at(&format!("{what}/{digest}"))).expect_one_of(&[400, 404]).error_code();
        }
    }
}

/// protocol.md A4 and 4 #25 (jkube #2419): components that are words of the protocol, or of its scopes.
fn a4_words_of_the_protocol_in_names(t: &Scene) {
    for name in [
        "blobs",
        "manifests",
        "tags",
        "uploads",
        "referrers",
        "blobs/uploads",
        "manifests/latest",
        "tags/list",
        "manifests/tags/list",
        "blobs/uploads/x",
        "a/push",
        "pull/x",
        "v2",
        "_catalog/x",
    ] {
        if name.starts_with('_') {
            continue; // not a legal component; here to say so
        }
        let repo = format!("{}/{name}", t.repo);
        let image = content::image(1);
        let digest = t.client.push_image(&repo, "list", &image);
        let layer = content::descriptor("", &image.blobs[1])["digest"].as_str().unwrap().to_owned();
        assert_eq!(t.client.pull_blob(&repo, &layer), image.blobs[1], "{repo}");
        t.client.get(&format!("/v2/{repo}/manifests/{digest}")).expect(200).expect_body(&image.manifest.bytes);
        let tags = t.client.get(&format!("/v2/{repo}/tags/list")).expect(200).json();
        assert_eq!(tags, serde_json::json!({"name": repo, "tags": ["list"]}));
        t.client.get(&format!("/v2/{repo}/referrers/{digest}")).expect(200);
        t.client.delete(&format!("/v2/{repo}/manifests/list")).expect(202);
    }
}

/// protocol.md A5: 400 NAME_INVALID or 404, never 500.
fn a5_bad_names(t: &Scene) {
    let digest = content::digest(b"");
    for name in [
        "Upper", "a___b", "a..b", "a._b", "-a", "a-", "a//b", "%C3%BC", "a%20b", "a%00b", "..", "a/../b", "%2e%2e",
        "a/.", "_a", "a%3Ab", "%ff",
    ] {
        let repo = format!("{}/{name}", t.repo);
        for target in [
            format!("/v2/{repo}/tags/list"),
            format!("/v2/{repo}/manifests/latest"),
            format!("/v2/{repo}/manifests/{digest}"),
            format!("/v2/{repo}/blobs/{digest}"),
        ] {
            t.client.get(&target).expect_one_of(&[400, 404]).error_code();
            t.client.head(&target).expect_one_of(&[400, 404]);
        }
        t.client.post(&format!("/v2/{repo}/blobs/uploads/")).expect_one_of(&[400, 404]).error_code();
        let image = content::image(0);
        t.client.put_manifest(&repo, "latest", &image.manifest).expect_one_of(&[400, 404]).error_code();
    }
    t.client.get(&format!("/v2/{}/Upper/tags/list", t.repo)).expect_error(400, "NAME_INVALID");
}
