//! protocol.md 4: bugs about mounting a layer from another repository. What broke the clients was any answer but 201,
//! 202 or 401: containerd gives up the push. `e2e/ctr.sh`, `e2e/docker.sh` and `e2e/buildkit.sh` show the real clients.
//!
//! Rights are given on registries (product.md 3), and the key of these tests is a system administrator's. So a source that
//! the pusher may not read lies in another registry, and what takes the right away is a token that does not name it.

use roadstead_testkit::{
    Body, Client, Request, Response,
    content::{self, Image, random_bytes},
    digest,
    http::{escape, with_parameter},
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic},
};

use crate::{
    scene::{Scene, Storage, conformance, on_both_engines},
    token::{bearer, granted, token},
    uploads::{expect_blob, expect_no_blob, expect_session},
};

conformance!(bug2_the_source_was_dropped_from_the_token, bug7_mount_without_a_source);
on_both_engines!(bug1_no_right_on_the_source, bug3_two_registries_of_two_people);

/// A token as the token endpoint gives it to the first key; the value of `Authorization`.
fn token_for(client: &Client, scopes: &[&str]) -> String {
    let challenge = Challenge::of(&client.anonymous().get("/v2/"));
    let get = Request::new("GET", &challenge.target(scopes)).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    format!("Bearer {}", client.send(get).expect(200).json()["token"].as_str().unwrap())
}

/// Asserts that a mount was answered by an upload that works with the same login.
fn expect_usable(client: &Client, mounted: &Response, login: &str, bytes: &[u8]) {
    let put = with_parameter(&mounted.expect(202).location_path(), "digest", &digest(bytes));
    let request = Request::new("PUT", &put).header("Authorization", login).body(Body::Length(bytes.to_vec()));
    client.send(request).expect(201).expect_header("Docker-Content-Digest", &digest(bytes));
}

/// protocol.md 4 #1 (containerd #14086), E2: push on the target, nothing on the source: 202 and an upload that works,
/// never 403; the same for a source that nobody has. It says nothing of what is there. The real push: `e2e/ctr.sh`.
fn bug1_no_right_on_the_source(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "second"]).ok();
    let client = server.client();
    for (n, from) in ["second/source", "second/none", "third/source", "alone"].iter().enumerate() {
        let bytes = random_bytes(1000);
        let digest = client.push_blob("second/source", &bytes);
        let target = format!("conf/target{n}");
        let login = token_for(&client, &[&format!("repository:{target}:pull,push")]);
        let mount = format!("/v2/{target}/blobs/uploads/?mount={digest}&from={}", escape(from));
        let mounted = client.send(Request::new("POST", &mount).header("Authorization", &login));
        client.head(&format!("/v2/{target}/blobs/{digest}")).expect(404);
        expect_usable(&client, &mounted, &login, &bytes);
        assert!(client.pull_blob(&target, &digest) == bytes);
    }
}

/// protocol.md 4 #2 (buildkit #2454), E2: the client asks for the source too, the token server drops it in silence
/// (here since no registry can have that name), or the token has push and nothing else: 202 each time, and no 401 that
/// would send the client round in circles.
fn bug2_the_source_was_dropped_from_the_token(t: &Scene) {
    let bytes = random_bytes(1000);
    let source = t.another();
    let digest = t.client.push_blob(&source, &bytes);
    let both = token(t, &[&format!("repository:{}:pull,push", t.repo), "repository:alone:pull"]);
    assert_eq!(granted(&both).len(), 1, "{:?}", granted(&both));
    let push = token(t, &[&format!("repository:{}:push", t.repo)]);
    assert_eq!(granted(&push)[0].1, ["push"]);
    for (token, from) in [(&both, "alone"), (&push, source.as_str()), (&push, t.repo.as_str())] {
        let target = t.at(&format!("blobs/uploads/?mount={digest}&from={from}"));
        for _ in 0..3 {
            expect_session(t, &bearer(t, "POST", &target, token), 202, 0);
            expect_no_blob(t, &digest);
        }
    }
    let mounted = bearer(t, "POST", &t.at(&format!("blobs/uploads/?mount={digest}&from={source}")), &push);
    expect_usable(&t.client, &mounted, &format!("Bearer {push}"), &bytes);
    expect_blob(t, &digest, &bytes);
}

/// protocol.md 4 #3 (containerd #12163): one host, two people with a registry each, layers in common: docker with the
/// containerd store tries to mount from the other's, since it saw the layer there, and pushes all the same.
fn bug3_two_registries_of_two_people(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "second"]).ok();
    let client = server.client();
    let layers = [random_bytes(1000), random_bytes(70_000)];
    let own: Vec<Image> = (0..2).map(|_| content::image_of(&layers)).collect();
    for (image, mine, other) in [(&own[0], "conf/app", "second/app"), (&own[1], "second/app", "conf/app")] {
        // Each one's token is for the own registry alone.
        let login = token_for(&client, &[&format!("repository:{mine}:pull,push")]);
        for blob in &image.blobs {
            let digest = digest(blob);
            let with_login = |method: &str, target: String| {
                client.send(Request::new(method, &target).header("Authorization", &login))
            };
            with_login("HEAD", format!("/v2/{mine}/blobs/{digest}")).expect(404);
            let mounted = with_login("POST", format!("/v2/{mine}/blobs/uploads/?mount={digest}&from={other}"));
            expect_usable(&client, &mounted, &login, blob);
        }
        client.put_manifest(mine, "v1", &image.manifest).expect(201).expect_no("Warning");
    }
    for (image, repository) in [(&own[0], "conf/app"), (&own[1], "second/app")] {
        client.get(&format!("/v2/{repository}/manifests/v1")).expect(200).expect_body(&image.manifest.bytes);
        for blob in &image.blobs {
            assert!(&client.pull_blob(repository, &digest(blob)) == blob);
        }
    }
}

/// protocol.md 4 #7 (zot #442), E3: `mount` alone is never 405. Roadstead knows where the layer is: whoever may pull in
/// this registry gets 201; whoever may not, and whoever asks for what only another registry has, an upload.
fn bug7_mount_without_a_source(t: &Scene) {
    let bytes = random_bytes(1000);
    let digest = t.client.push_blob(&t.another(), &bytes);
    let target = t.at(&format!("blobs/uploads/?mount={}", escape(&digest)));
    let push = token(t, &[&format!("repository:{}:push", t.repo)]);
    expect_session(t, &bearer(t, "POST", &target, &push), 202, 0);
    expect_no_blob(t, &digest);
    t.client.post(&target).expect(201).expect_header("Docker-Content-Digest", &digest);
    expect_blob(t, &digest, &bytes);
    let unknown = roadstead_testkit::digest(&random_bytes(10));
    let answer = t.client.post(&t.at(&format!("blobs/uploads/?mount={unknown}")));
    expect_session(t, &answer, 202, 0);
}
