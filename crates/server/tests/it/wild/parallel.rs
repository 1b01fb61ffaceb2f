//! protocol.md 4: bugs that show when many requests come at once.

use std::thread;

use roadstead_testkit::{
    Body, Request,
    content::{self, random_bytes},
    digest,
    http::with_parameter,
};

use crate::{
    scene::{Scene, conformance},
    uploads::expect_blob,
};

conformance!(bug41_d18_same_digest_at_the_same_time, bug42_many_layers_at_once, bug49_many_sessions_at_once);

/// protocol.md D18 and 4 #41 (nexus-public #967): sixteen uploads of one digest finish together, all with 201.
fn bug41_d18_same_digest_at_the_same_time(t: &Scene) {
    let bytes = random_bytes(100_000);
    let digest = digest(&bytes);
    let ready: Vec<String> = (0..16)
        .map(|_| {
            let patch = Request::new("PATCH", &t.client.begin(&t.repo)).body(Body::Length(bytes.clone()));
            t.client.send(patch).expect(202).location_path()
        })
        .collect();
    thread::scope(|scope| {
        for location in &ready {
            scope.spawn(|| {
                let answer = t.client.put(&with_parameter(location, "digest", &digest), b"");
                answer.expect(201).expect_header("Docker-Content-Digest", &digest);
            });
        }
    });
    expect_blob(t, &digest, &bytes);
}

/// protocol.md 4 #42 (gitea #19586): twenty layers, ten at a time; none is lost.
fn bug42_many_layers_at_once(t: &Scene) {
    let image = content::image(20);
    thread::scope(|scope| {
        for blobs in image.blobs.chunks(2) {
            scope.spawn(move || blobs.iter().for_each(|blob| drop(t.client.push_blob(&t.repo, blob))));
        }
    });
    t.client.push_manifest(&t.repo, "v1", &image.manifest);
    for blob in &image.blobs {
        assert_eq!(&t.client.pull_blob(&t.repo, &digest(blob)), blob);
    }
}

/// protocol.md 4 #49 (jib #2372): many sessions at once, and no cookie is needed.
fn bug49_many_sessions_at_once(t: &Scene) {
    thread::scope(|scope| {
        for _ in 0..32 {
            scope.spawn(|| {
                let bytes = random_bytes(20_000);
                let begun = t.client.post(&t.at("blobs/uploads/"));
                let location = begun.expect(202).expect_no("Set-Cookie").location_path();
                let location = t.client.patch(&location, Some(0), &bytes[..7000]).expect(202).location_path();
                let location = t.client.patch(&location, Some(7000), &bytes[7000..]).expect(202).location_path();
                t.client.put(&with_parameter(&location, "digest", &digest(&bytes)), b"").expect(201);
            });
        }
    });
}
