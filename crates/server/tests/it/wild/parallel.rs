//! protocol.md 4: bugs that show when many requests come at once.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use roadstead_testkit::{
    Body, Login, Request, Response,
    content::{self, random_bytes, types},
    digest,
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    wire::Connection,
};

use crate::{
    scene::{Scene, conformance},
    token::token,
    uploads::expect_blob,
};

conformance!(
    bug41_d18_same_digest_at_the_same_time,
    bug42_many_layers_at_once,
    bug49_many_sessions_on_a_few_connections,
);

/// protocol.md D18 and 4 #41 (nexus-public #967): sixteen uploads of one digest at once, which also end together: all
/// of them 201.
fn bug41_d18_same_digest_at_the_same_time(t: &Scene) {
    let bytes = random_bytes(100_000);
    let digest = digest(&bytes);
    let ready: Vec<String> = thread::scope(|scope| {
        let upload = || {
            let patch = Request::new("PATCH", &t.client.begin(&t.repo)).body(Body::Length(bytes.clone()));
            t.client.send(patch).expect(202).location_path()
        };
        let uploads: Vec<_> = (0..16).map(|_| scope.spawn(upload)).collect();
        uploads.into_iter().map(|upload| upload.join().unwrap()).collect()
    });
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

/// protocol.md 4 #42 (gitea #19586, #37093): ten times an image of twenty layers, ten at a time: none is lost. Its index
/// is served by tag to a client that takes the OCI types alone.
fn bug42_many_layers_at_once(t: &Scene) {
    for round in 0..10 {
        let image = content::image(20);
        let next = AtomicUsize::new(0);
        thread::scope(|scope| {
            for _ in 0..10 {
                scope.spawn(|| {
                    while let Some(blob) = image.blobs.get(next.fetch_add(1, Ordering::Relaxed)) {
                        t.client.push_blob(&t.repo, blob);
                    }
                });
            }
        });
        let named = image.manifest.digest();
        t.client.put_manifest(&t.repo, &named, &image.manifest).expect(201).expect_no("Warning");
        let index = content::index(&[&image.manifest]);
        t.client.put_manifest(&t.repo, "latest", &index).expect(201).expect_no("Warning");
        let get = Request::new("GET", &t.at("manifests/latest")).header("Accept", types::INDEX);
        t.client.send(get).expect(200).expect_header("Content-Type", types::INDEX).expect_body(&index.bytes);
        for blob in &image.blobs {
            assert!(&t.client.pull_blob(&t.repo, &digest(blob)) == blob, "round {round}");
        }
    }
}

/// protocol.md 4 #49 (jib #2372): 64 uploads at once over a pool of eight connections, so that the requests of each come
/// over several of them. The Location alone says which upload is meant: no cookie is ever set.
fn bug49_many_sessions_on_a_few_connections(t: &Scene) {
    const CONNECTIONS: usize = 8;
    let login = match &t.client.login {
        Login::Basic(..) => basic(KEY_ID, KEY_SECRET),
        _ => format!("Bearer {}", token(t, &[&format!("repository:{}:pull,push", t.repo)])),
    };
    let bytes: Vec<Vec<u8>> = (0..64).map(|_| random_bytes(20_000)).collect();
    let mut pool: Vec<Connection> = (0..CONNECTIONS).map(|_| Connection::open(t.client.address).unwrap()).collect();
    // One request of each upload, each over the connection that stands so many places behind the first one's.
    let mut turn = |shift: usize, request: &(dyn Fn(usize) -> Request + Sync)| -> Vec<Response> {
        let mut answers: Vec<(usize, Response)> = thread::scope(|scope| {
            let workers: Vec<_> = { pool.iter_mut().enumerate() }
                .map(|(place, connection)| {
                    let login = &login;
                    scope.spawn(move || {
                        let own = (0..64).filter(|n| (n + shift) % CONNECTIONS == place);
                        let send = |n| {
                            let answer = connection.send(&request(n).header("Authorization", login)).unwrap();
                            answer.expect_no("Set-Cookie");
                            (n, answer)
                        };
                        own.map(send).collect::<Vec<_>>()
                    })
                })
                .collect();
            workers.into_iter().flat_map(|worker| worker.join().unwrap()).collect()
        });
        answers.sort_by_key(|(n, _)| *n);
        answers.into_iter().map(|(_, answer)| answer).collect()
    };
    let begun = turn(0, &|_| Request::new("POST", &t.at("blobs/uploads/")));
    let mut at: Vec<String> = begun.iter().map(|answer| answer.expect(202).location_path()).collect();
    for (shift, range) in [(1, 0..7000), (3, 7000..20_000)] {
        let patched = turn(shift, &|n| {
            let patch = Request::new("PATCH", &at[n]);
            let patch = patch.header("Content-Range", &format!("{}-{}", range.start, range.end - 1));
            patch.body(Body::Length(bytes[n][range.clone()].to_vec()))
        });
        at = patched.iter().map(|answer| answer.expect(202).location_path()).collect();
    }
    let put = turn(6, &|n| Request::new("PUT", &with_parameter(&at[n], "digest", &digest(&bytes[n]))));
    for (answer, bytes) in put.iter().zip(&bytes) {
        answer.expect(201).expect_header("Docker-Content-Digest", &digest(bytes));
    }
}
