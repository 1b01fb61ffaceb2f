//! Two nodes over one PostgreSQL and one S3, and redirects to it.

use std::{sync::Arc, thread};

use roadstead_testkit::{
    Body, Client, Cluster, Login, Request, Server, Setup,
    content::{self, ALGORITHMS, random_bytes},
    digest,
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic},
};
use serde_json::{Value, json};

use crate::{
    management::{person, robot, role, send},
    scene::{BINARY, with_cluster},
};

const MIB: usize = 1024 * 1024;

/// Runs a test on two nodes that stream what they serve.
fn on_two_nodes(test: impl FnOnce(&Client, &Client, &Arc<Cluster>)) {
    with_cluster(|cluster| {
        let setup = Setup::node(BINARY, cluster).set("ROADSTEAD_BUCKET_REDIRECT", "false");
        let nodes = [Server::start(setup.clone()), Server::start(setup)];
        test(&nodes[0].client(), &nodes[1].client(), cluster);
    });
}

/// Invariant 7: each request of an upload on the other node, parts and tails of them included, both algorithms.
#[test]
fn upload_begun_on_one_continued_on_the_other() {
    on_two_nodes(|one, two, _| {
        for algorithm in ALGORITHMS {
            for announced in [false, true] {
                let bytes = random_bytes(37 * MIB + 11);
                let digest = algorithm.of(&bytes);
                let post = if announced { format!("?digest-algorithm={}", algorithm.name()) } else { String::new() };
                let begun = one.post(&format!("/v2/conf/app/blobs/uploads/{post}"));
                let mut location = begun.expect(202).location_path();
                let mut size = 0;
                for (n, piece) in bytes.chunks(9 * MIB + 1).enumerate() {
                    let node = [two, one][n % 2];
                    let answer = node.patch(&location, Some(size), piece);
                    size += piece.len();
                    answer.expect(202).expect_header("Range", &format!("0-{}", size - 1));
                    location = answer.location_path();
                    let status = [one, two][n % 2].get(&location);
                    status.expect(204).expect_header("Range", &format!("0-{}", size - 1));
                }
                two.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
                // The same PUT once more, on the node that did not do it (protocol.md D19b).
                one.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
                assert!(one.pull_blob("conf/app", &digest) == bytes);
                assert!(two.pull_blob("conf/app", &digest) == bytes);
            }
        }
    });
}

/// What one node does is seen on the other with the next request: tags, deletions, referrers, registries, keys.
#[test]
fn tag_moved_on_one_seen_on_the_other() {
    on_two_nodes(|one, two, _| {
        let images = [content::image(1), content::image(1), content::image(1)];
        for image in &images {
            let digest = one.push_image("conf/app", "latest", image);
            let head = two.head("/v2/conf/app/manifests/latest");
            head.expect(200).expect_header("Docker-Content-Digest", &digest);
            two.get("/v2/conf/app/manifests/latest").expect(200).expect_body(&image.manifest.bytes);
        }
        let mut artifact = content::artifact("x/y");
        artifact.manifest = artifact.manifest.about(&images[2].manifest);
        let referrer = two.push_image("conf/app", "sbom", &artifact);
        let list = one.get(&format!("/v2/conf/app/referrers/{}", images[2].manifest.digest())).expect(200).json();
        assert_eq!(list["manifests"][0]["digest"], json!(referrer));
        two.delete("/v2/conf/app/manifests/latest").expect(202);
        one.head("/v2/conf/app/manifests/latest").expect(404);
        assert_eq!(one.get("/v2/conf/app/tags/list").expect(200).json()["tags"], json!(["sbom"]));
        one.delete(&format!("/v2/conf/app/manifests/{}", images[0].manifest.digest())).expect(202);
        two.get(&format!("/v2/conf/app/manifests/{}", images[0].manifest.digest())).expect(404);
        let blob = digest(&images[0].blobs[1]);
        two.delete(&format!("/v2/conf/app/blobs/{blob}")).expect(202);
        one.head(&format!("/v2/conf/app/blobs/{blob}")).expect(404);
        one.push_blob("conf/app", &images[0].blobs[1]);
        two.head(&format!("/v2/conf/app/blobs/{blob}")).expect(200);
    });
}

/// Invariant 10: a right taken away is gone with the next request on every node; tokens of one are good on the other.
#[test]
fn rights_on_every_node() {
    with_cluster(|cluster| {
        // One address for both, as behind a load balancer.
        let setup = Setup::node(BINARY, cluster).set("ROADSTEAD_EXTERNAL_URL", "http://registry.example");
        let [one, two] = [Server::start(setup.clone()), Server::start(setup)];
        let key: serde_json::Value = serde_json::from_str(one.run(&["key", "create", "-o", "json"]).ok()).unwrap();
        let [id, secret] = ["key_id", "secret"].map(|name| key[name].as_str().unwrap().to_owned());
        let challenge = Challenge::of(&one.client().anonymous().get("/v2/"));
        let get = Request::new("GET", &challenge.target(&["repository:conf/app:pull,push"]));
        let token = one.client().send(get.header("Authorization", &basic(&id, &secret))).expect(200).json();
        let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
        let post = Request::new("POST", "/v2/conf/app/blobs/uploads/").header("Authorization", &bearer);
        for node in [&one, &two] {
            node.client().send(post.clone()).expect(202);
        }
        one.run(&["key", "revoke", &id]).ok();
        for node in [&two, &one] {
            Challenge::of(&node.client().send(post.clone()));
            node.client().logged_in(Login::Basic(id.clone(), secret.clone())).get("/v2/").expect(401);
        }
    });
}

/// Both finish the same digest at the same time, over and over: all 201, one blob that can be read, deleted, pushed.
#[test]
fn both_finish_the_same_digest() {
    on_two_nodes(|one, two, _| {
        for round in 0..5 {
            let bytes = random_bytes(if round == 0 { 17 * MIB } else { 1000 });
            let digest = digest(&bytes);
            let ready: Vec<(&Client, String)> = [one, two, one, two]
                .map(|node| (node, node.patch(&node.begin("conf/app"), Some(0), &bytes).expect(202).location_path()))
                .to_vec();
            thread::scope(|scope| {
                for (node, location) in &ready {
                    scope.spawn(|| node.put(&with_parameter(location, "digest", &digest), b"").expect(201).status);
                }
            });
            for node in [one, two] {
                assert!(node.pull_blob("conf/app", &digest) == bytes);
            }
            one.delete(&format!("/v2/conf/app/blobs/{digest}")).expect(202);
            two.head(&format!("/v2/conf/app/blobs/{digest}")).expect(404);
        }
    });
}

/// Both write the same chunk to the same upload: one gets 202, the other 416 (or is asked to come again), and what is
/// stored is what was acknowledged.
#[test]
fn both_write_to_the_same_upload() {
    on_two_nodes(|one, two, _| {
        for size in [1000, 5 * MIB] {
            let bytes = random_bytes(size * 4);
            let mut location = one.begin("conf/app");
            for (n, piece) in bytes.chunks(size).enumerate() {
                let answers = thread::scope(|scope| {
                    let write = |node: &'static str| {
                        let node = if node == "one" { one } else { two };
                        let location = &location;
                        scope.spawn(move || node.patch(location, Some(n * size), piece))
                    };
                    [write("one"), write("two")].map(|thread| thread.join().unwrap())
                });
                let mut statuses = answers.each_ref().map(|answer| answer.status);
                statuses.sort_unstable();
                assert!(statuses[0] == 202 && [409, 416, 429, 503].contains(&statuses[1]), "{answers:?}");
                let status = one.get(&location);
                status.expect(204).expect_header("Range", &format!("0-{}", (n + 1) * size - 1));
                location = status.location_path();
            }
            let digest = digest(&bytes);
            two.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
            assert!(one.pull_blob("conf/app", &digest) == bytes);
        }
    });
}

/// Both write without saying where: whatever order came out, it is whole pieces and as many as were acknowledged.
#[test]
fn both_stream_to_the_same_upload() {
    on_two_nodes(|one, two, _| {
        let pieces = [random_bytes(700_000), random_bytes(700_000)];
        let location = one.begin("conf/app");
        let answers = thread::scope(|scope| {
            let write = |node, piece: &Vec<u8>| {
                let patch = Request::new("PATCH", &location).body(Body::streamed(piece));
                scope.spawn(move || Client::send(node, patch))
            };
            [write(one, &pieces[0]), write(two, &pieces[1])].map(|thread| thread.join().unwrap())
        });
        let taken: Vec<usize> = (0..2).filter(|n| answers[*n].status == 202).collect();
        let status = two.get(&location);
        status.expect(204).expect_header("Range", &format!("0-{}", taken.len() * 700_000 - 1));
        let orders = match taken[..] {
            [only] => vec![pieces[only].clone()],
            _ => vec![pieces.concat(), [pieces[1].clone(), pieces[0].clone()].concat()],
        };
        let put = |whole: &Vec<u8>| {
            let target = with_parameter(&status.location_path(), "digest", &digest(whole));
            one.put(&target, b"").status
        };
        // A wrong guess may end the session, so the right one is looked for without one.
        let found = orders.iter().any(|whole| put(whole) == 201);
        assert!(found || orders.len() == 2, "the pieces were mixed: {answers:?}");
    });
}

/// One node pushes, the other deletes and lists: nobody sees a half of anything.
#[test]
fn push_and_pull_on_both_at_once() {
    on_two_nodes(|one, two, _| {
        thread::scope(|scope| {
            for (n, node) in [one, two, one, two].into_iter().enumerate() {
                scope.spawn(move || {
                    for round in 0..5 {
                        let image = content::image(2);
                        let tag = format!("t{n}-{round}");
                        let named = node.push_image("conf/app", &tag, &image);
                        let other = if n % 2 == 0 { two } else { one };
                        other
                            .get(&format!("/v2/conf/app/manifests/{tag}"))
                            .expect(200)
                            .expect_body(&image.manifest.bytes);
                        for blob in &image.blobs {
                            assert_eq!(&other.pull_blob("conf/app", &digest(blob)), blob);
                        }
                        other.delete(&format!("/v2/conf/app/manifests/{named}")).expect(202);
                        node.head(&format!("/v2/conf/app/manifests/{tag}")).expect(404);
                    }
                });
            }
        });
    });
}

/// protocol.md C5: a blob is served by redirect to a presigned address: no `Authorization` needed there, the bytes and
/// ranges right, the node answers HEAD and what cannot be satisfied itself.
#[test]
fn c5_redirect() {
    with_cluster(|cluster| {
        let server = Server::start(Setup::node(BINARY, cluster));
        for login in [
            Login::Basic(KEY_ID.to_owned(), KEY_SECRET.to_owned()),
            Login::Token(KEY_ID.to_owned(), KEY_SECRET.to_owned()),
        ] {
            let client = server.client().logged_in(login);
            for bytes in [random_bytes(20_000), random_bytes(17 * MIB)] {
                let digest = client.push_blob("conf/app", &bytes);
                let target = format!("/v2/conf/app/blobs/{digest}");
                let answer = client.get(&target);
                answer.expect(307);
                assert!(!answer.location().contains(KEY_SECRET));
                let nobody = client.anonymous();
                let stored = nobody.get(&answer.location());
                stored.expect(200).expect_no("Content-Encoding").expect_length(bytes.len());
                assert!(stored.body == bytes);
                client
                    .head(&target)
                    .expect(200)
                    .expect_length(bytes.len())
                    .expect_header("Docker-Content-Digest", &digest);
                let last = bytes.len() - 1;
                for (range, expected) in
                    [("bytes=1-".to_owned(), &bytes[1..]), (format!("bytes=0-{}", last / 2), &bytes[..=last / 2])]
                {
                    let answer = client.send(Request::new("GET", &target).header("Range", &range));
                    let part = nobody.send(Request::new("GET", &answer.expect(307).location()).header("Range", &range));
                    part.expect(206);
                    assert!(part.body == expected);
                }
                let beyond = format!("bytes={}-", bytes.len());
                let answer = client.send(Request::new("GET", &target).header("Range", &beyond));
                answer.expect(416).expect_header("Content-Range", &format!("bytes */{}", bytes.len()));
                client.head(&target.replace(&digest, &roadstead_testkit::digest(b"none"))).expect(404);
                client.get(&target.replace(&digest, &roadstead_testkit::digest(b"none"))).expect(404);
                // A presigned address is for reading this one thing.
                nobody.send(Request::new("DELETE", &answer_location(&client, &target))).expect_one_of(&[403, 405]);
                client.follow(client.get(&target)).expect(200);
            }
        }
        // What is small lies in the database: there is nothing to redirect to.
        for small in [&b""[..], b"{}", &random_bytes(16_384)] {
            let digest = server.client().push_blob("conf/app", small);
            server.client().get(&format!("/v2/conf/app/blobs/{digest}")).expect(200).expect_body(small);
            let half = small.len() / 2;
            if half > 0 {
                let range = format!("bytes={half}-");
                let request = Request::new("GET", &format!("/v2/conf/app/blobs/{digest}")).header("Range", &range);
                server.client().send(request).expect(206).expect_body(&small[half..]);
            }
        }
        server.client().push_image("conf/app", "v1", &content::image(1));
        server.client().get("/v2/conf/app/manifests/v1").expect(200);
    });
}

fn answer_location(client: &Client, target: &str) -> String {
    client.get(target).expect(307).location()
}

/// `bucket.redirect = false`: the same bytes, streamed by the node, with all headers of its own.
#[test]
fn c5_streamed_where_redirects_are_off() {
    with_cluster(|cluster| {
        let redirecting = Server::start(Setup::node(BINARY, cluster));
        let bytes = random_bytes(17 * MIB + 3);
        let digest = redirecting.client().push_blob("conf/app", &bytes);
        let setup = Setup::node(BINARY, cluster).set("ROADSTEAD_BUCKET_REDIRECT", "false");
        let streaming = Server::start(setup);
        let target = format!("/v2/conf/app/blobs/{digest}");
        let answer = streaming.client().get(&target);
        answer.expect(200).expect_length(bytes.len()).expect_header("Docker-Content-Digest", &digest);
        answer.expect_header("Content-Type", "application/octet-stream").expect_header("Accept-Ranges", "bytes");
        assert!(answer.body == bytes);
        redirecting.client().get(&target).expect(307);
    });
}

/// Invariant 10: what is changed by the management API on one node holds on the other with the next request, also for tokens that are out.
#[test]
fn rights_and_settings_changed_on_one_hold_on_the_other() {
    on_two_nodes(|one, two, _| {
        send(one, "PUT", "/projects/team", &json!({})).expect(201);
        send(one, "PUT", "/registries/team-one", &json!({"project": "team"})).expect(201);
        one.push_image("team-one/app", "v1", &content::image(1));
        let manifest = "/v2/team-one/app/manifests/v1";
        let ada = two.logged_in(person(one, "ada").login);
        let Login::Basic(id, secret) = ada.login.clone() else { unreachable!("a key") };
        let clients = [ada.logged_in(Login::Token(id, secret)), ada];
        let all = |status: u16| {
            for client in &clients {
                client.get(manifest).expect(status);
            }
        };
        clients[1].get(manifest).expect(403);
        role(one, "projects/team", "ada", "viewer");
        all(200);
        send(one, "DELETE", "/projects/team/members/ada", &Value::Null).expect(204);
        all(403);
        role(one, "registries/team-one", "ada", "viewer");
        all(200);
        send(one, "PATCH", "/people/ada", &json!({"disabled": true})).expect(200);
        all(401);
        send(one, "PATCH", "/people/ada", &json!({"disabled": false})).expect(200);
        all(200);

        let program = robot(one, "team", "ci", &json!([{"actions": ["pull"]}]));
        let program = two.logged_in(program.login);
        program.get(manifest).expect(200);
        send(one, "PATCH", "/projects/team/robots/ci", &json!({"disabled": true})).expect(200);
        program.get(manifest).expect(401);

        let anyone = two.logged_in(Login::AnonymousToken);
        for (setting, status) in [
            (json!({"public_pull": true}), 200),
            (json!({"public_endpoint": false}), 401),
            (json!({"public_endpoint": true}), 200),
            (json!({"public_pull": false}), 401),
        ] {
            send(one, "PATCH", "/registries/team-one", &setting).expect(200);
            assert_eq!(anyone.get(manifest).status, status, "{setting}");
        }

        // Tags that can't be moved any more, and a quota that is full.
        send(one, "PATCH", "/registries/team-one/repositories/app", &json!({"mutable_tags": false})).expect(200);
        let other = content::image(2);
        for blob in &other.blobs {
            two.push_blob("team-one/app", blob);
        }
        two.put_manifest("team-one/app", "v1", &other.manifest).expect_error(403, "DENIED");
        send(one, "PUT", "/registries/team-one/quotas", &json!({"repositories": 1, "bytes": 1})).expect(200);
        two.post("/v2/team-one/app/blobs/uploads/").expect_error(413, "DENIED");
        send(one, "DELETE", "/registries/team-one", &Value::Null).expect(204);
        all(403);
        assert_eq!(two.get(manifest).status, 404);
    });
}
