//! The invariants of ARCHITECTURE.md, each seen from outside.

use std::{
    collections::HashSet,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    thread,
};

use roadstead_testkit::{
    Body, Client, Login, Request, Response, Server,
    content::{self, Image, Manifest, random_bytes, types},
    digest, eventually,
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    until,
    wire::Connection,
};
use serde_json::json;

use crate::scene::{Storage, on_both_engines};

on_both_engines!(
    killed_in_mid_upload,
    killed_in_mid_manifest_push,
    killed_under_load,
    deleted_here_alive_there,
    unknown_and_forbidden_look_the_same,
    same_bytes_as_two_media_types,
    push_into_a_registry_that_is_being_deleted,
    deleted_bytes_are_reclaimed,
);

const MIB: usize = 1024 * 1024;

/// The leases of a killed node have run out: what waiting a minute would do.
fn let_leases_run_out(server: &Server) {
    if let Some(cluster) = server.cluster() {
        cluster.database.execute("UPDATE upload SET lease = 0");
    }
}

/// Invariants 3 and 7: kill -9 while a PATCH comes in. What was acknowledged is there, the upload goes on from what
/// status says, and nothing of it is a blob before its PUT.
fn killed_in_mid_upload(storage: &Storage) {
    let mut server = storage.start();
    let bytes = random_bytes(40 * MIB);
    let whole = digest(&bytes);
    let first = 18 * MIB + 5;
    let location = server.client().begin("conf/app");
    let location = server.client().patch(&location, Some(0), &bytes[..first]).expect(202).location_path();
    let mut connection = Connection::open(server.address()).unwrap();
    let patch = Request::new("PATCH", &location).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let patch = patch.header("Content-Range", &format!("{first}-{}", bytes.len() - 1));
    connection.write_head(&patch.body(Body::Length(bytes[first..].to_vec()))).unwrap();
    connection.write_raw(&bytes[first..39 * MIB]).unwrap();
    server.kill();
    server.start_again();
    let_leases_run_out(&server);

    let client = server.client();
    client.head(&format!("/v2/conf/app/blobs/{whole}")).expect(404);
    let status = client.get(&location);
    let stored = status.expect(204).header("Range").strip_prefix("0-").unwrap().parse::<usize>().unwrap() + 1;
    assert!((first..=39 * MIB).contains(&stored), "{status:?}");
    let location = client.patch(&status.location_path(), Some(stored), &bytes[stored..]).expect(202).location_path();
    client.put(&with_parameter(&location, "digest", &whole), b"").expect(201);
    assert!(client.pull_blob("conf/app", &whole) == bytes);
}

/// Invariant 3: kill -9 while manifests come in: each is there whole, or not at all.
fn killed_in_mid_manifest_push(storage: &Storage) {
    let mut server = storage.start();
    let client = server.client();
    let kept = client.push_image("conf/app", "kept", &content::image(1));
    let image = content::image(1);
    for blob in &image.blobs {
        client.push_blob("conf/app", blob);
    }
    let put = Request::new("PUT", "/v2/conf/app/manifests/cut").header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let put = put.header("Content-Type", types::MANIFEST).body(Body::Length(image.manifest.bytes.clone()));
    let mut connection = Connection::open(server.address()).unwrap();
    connection.write_head(&put).unwrap();
    connection.write_raw(&image.manifest.bytes[..100]).unwrap();
    server.kill();
    server.start_again();
    let client = server.client();
    client.get("/v2/conf/app/manifests/cut").expect_error(404, "MANIFEST_UNKNOWN");
    client.get(&format!("/v2/conf/app/manifests/{}", image.manifest.digest())).expect(404);
    client.head("/v2/conf/app/manifests/kept").expect(200).expect_header("Docker-Content-Digest", &kept);
    assert_eq!(client.get("/v2/conf/app/tags/list").expect(200).json()["tags"], json!(["kept"]));
    client.push_manifest("conf/app", "cut", &image.manifest);
}

/// Pushes images until the server is gone; each goes into `begun` before its first request and into `done` after its
/// last 201.
fn push_until_killed(client: &Client, n: usize, begun: &Mutex<Vec<Image>>, done: &Mutex<HashSet<String>>) {
    loop {
        let image = content::image(2);
        begun.lock().unwrap().push(image.clone());
        for blob in &image.blobs {
            let Ok(answer) = client.try_send(&Request::new("POST", &format!("/v2/conf/app{n}/blobs/uploads/"))) else {
                return;
            };
            let target = with_parameter(&answer.expect(202).location_path(), "digest", &digest(blob));
            let put = Request::new("PUT", &target).body(Body::Length(blob.clone()));
            let Ok(answer) = client.try_send(&put) else { return };
            answer.expect(201);
            done.lock().unwrap().insert(format!("/v2/conf/app{n}/blobs/{}", digest(blob)));
        }
        let target = format!("/v2/conf/app{n}/manifests/{}?tag=latest", image.manifest.digest());
        let put = Request::new("PUT", &target).header("Content-Type", types::MANIFEST);
        let Ok(answer) = client.try_send(&put.body(Body::Length(image.manifest.bytes.clone()))) else { return };
        answer.expect(201);
        done.lock().unwrap().insert(format!("/v2/conf/app{n}/manifests/{}", image.manifest.digest()));
    }
}

/// Invariant 3, three times over: what got 201 before a kill -9 is there after the restart, byte for byte; what did
/// not is there whole or not at all.
fn killed_under_load(storage: &Storage) {
    let mut server = storage.start();
    let begun: Vec<Mutex<Vec<Image>>> = (0..4).map(|_| Mutex::default()).collect();
    let done = Mutex::default();
    for round in 1..=3 {
        let client = server.client();
        thread::scope(|scope| {
            for (n, begun) in begun.iter().enumerate() {
                let (client, done) = (&client, &done);
                scope.spawn(move || push_until_killed(client, n, begun, done));
            }
            let enough = eventually(|| (done.lock().unwrap().len() >= round * 40).then_some(()));
            server.kill();
            assert!(enough.is_some(), "no pushes are done");
        });
        server.start_again();
        let client = server.client();
        for (n, images) in begun.iter().enumerate() {
            for image in images.lock().unwrap().iter() {
                check_whole(&client, n, image, &done.lock().unwrap());
            }
            let latest = client.get(&format!("/v2/conf/app{n}/manifests/latest"));
            assert!(latest.status == 404 || images.lock().unwrap().iter().any(|i| i.manifest.bytes == latest.body));
        }
    }
}

fn check_whole(client: &Client, n: usize, image: &Image, done: &HashSet<String>) {
    let expect = |target: String, bytes: &[u8]| {
        let answer = client.get(&target);
        assert!(answer.status == 200 || !done.contains(&target), "lost: {answer:?}");
        if answer.expect_one_of(&[200, 404]).status == 200 {
            answer.expect_body(bytes);
        }
        answer.status == 200
    };
    let blobs: Vec<bool> =
        image.blobs.iter().map(|blob| expect(format!("/v2/conf/app{n}/blobs/{}", digest(blob)), blob)).collect();
    let target = format!("/v2/conf/app{n}/manifests/{}", image.manifest.digest());
    assert!(!expect(target, &image.manifest.bytes) || blobs.iter().all(|there| *there), "a manifest without its blobs");
}

/// Invariants 2 and 4: a blob that is deleted in one repository lives on in another, also across registries, and also
/// when it was mounted.
fn deleted_here_alive_there(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "second"]).ok();
    let client = server.client();
    for bytes in [random_bytes(1000), random_bytes(17 * MIB)] {
        let digest = client.push_blob("conf/a", &bytes);
        client.push_blob("second/a", &bytes);
        client.post(&format!("/v2/conf/b/blobs/uploads/?mount={digest}&from=conf/a")).expect(201);
        for gone in ["conf/a", "second/a"] {
            client.delete(&format!("/v2/{gone}/blobs/{digest}")).expect(202);
            client.head(&format!("/v2/{gone}/blobs/{digest}")).expect(404);
            assert!(client.pull_blob("conf/b", &digest) == bytes);
        }
    }
}

/// What a client sees of an answer, with the name of the repository and what differs in each answer taken out.
fn seen(answer: &Response, name: &str) -> String {
    let mut seen = format!("{}\n", answer.status);
    let own = ["date", "x-request-id"];
    for (header, value) in answer.headers.iter().filter(|(header, _)| !own.contains(&&header.to_lowercase()[..])) {
        seen += &format!("{header}: {value}\n");
    }
    (seen + &answer.text()).replace(name, "NAME")
}

/// Invariant 4, product.md 2: nobody learns that a private registry or repository exists: status, headers and body are
/// the same bytes as for one that does not.
fn unknown_and_forbidden_look_the_same(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    server.run(&["registry", "create", "open", "--public"]).ok();
    let image = content::image(1);
    client.push_image("conf/app", "v1", &image);
    client.push_image("open/app", "v1", &image);
    let session = client.begin("conf/app").replace("conf/app", "NAME");
    let layer = digest(&image.blobs[1]);
    for login in [Login::Anonymous, Login::AnonymousToken, Login::Basic(String::new(), String::new())] {
        for (method, target) in [
            ("GET", "/v2/NAME/manifests/v1".to_owned()),
            ("HEAD", "/v2/NAME/manifests/v1".to_owned()),
            ("GET", format!("/v2/NAME/blobs/{layer}")),
            ("HEAD", format!("/v2/NAME/blobs/{layer}")),
            ("GET", "/v2/NAME/tags/list".to_owned()),
            ("GET", format!("/v2/NAME/referrers/{}", image.manifest.digest())),
            ("POST", "/v2/NAME/blobs/uploads/".to_owned()),
            ("GET", session.clone()),
            ("PATCH", session.clone()),
            ("PUT", "/v2/NAME/manifests/v1".to_owned()),
            ("DELETE", "/v2/NAME/manifests/v1".to_owned()),
        ] {
            let ask = |name: &str| {
                let client = client.logged_in(login.clone());
                seen(&client.send(Request::new(method, &target.replace("NAME", name))), name)
            };
            let forbidden = ask("conf/app");
            assert_eq!(forbidden, ask("conf/apx"), "{login:?} {method} {target}: a repository");
            assert_eq!(forbidden, ask("none/app"), "{login:?} {method} {target}: a registry");
            assert!(forbidden.starts_with("401") || forbidden.starts_with("403"), "{forbidden}");
        }
    }
    // Nor does a mount tell: from a private repository as from none (protocol.md E2), and without `from`.
    let nobody = client.logged_in(Login::AnonymousToken);
    let mount =
        |from: &str| seen(&nobody.post(&format!("/v2/open/app/blobs/uploads/?mount={layer}&from={from}")), from);
    assert_eq!(mount("conf/app"), mount("none/app"));
    // What may be seen in one registry says nothing of the other.
    let other = nobody.get(&format!("/v2/open/app/blobs/{}", digest(b"elsewhere")));
    other.expect_error(404, "BLOB_UNKNOWN");
}

/// schema.md, `manifest`: the same bytes pushed as two media types by two registries are each what they were pushed as.
fn same_bytes_as_two_media_types(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "second"]).ok();
    let client = server.client();
    let image = content::image(1);
    let mut json = image.manifest.json();
    json.as_object_mut().unwrap().remove("mediaType");
    let bytes = serde_json::to_vec(&json).unwrap();
    let named = digest(&bytes);
    for (repository, media_type) in [("conf/app", types::MANIFEST), ("second/app", types::DOCKER_MANIFEST)] {
        for blob in &image.blobs {
            client.push_blob(repository, blob);
        }
        let manifest = Manifest { media_type: media_type.to_owned(), bytes: bytes.clone() };
        client.push_manifest(repository, "v1", &manifest);
    }
    for (repository, media_type) in [("conf/app", types::MANIFEST), ("second/app", types::DOCKER_MANIFEST)] {
        for reference in ["v1", &named] {
            let answer = client.get(&format!("/v2/{repository}/manifests/{reference}"));
            answer.expect(200).expect_header("Content-Type", media_type).expect_body(&bytes);
        }
    }
    client.delete(&format!("/v2/conf/app/manifests/{named}")).expect(202);
    client.get("/v2/second/app/manifests/v1").expect(200).expect_header("Content-Type", types::DOCKER_MANIFEST);
}

/// schema.md: every push holds its registry. When it goes, each push that has not got its 201 is refused, and nothing
/// of it is to be found; one that has is gone with the registry.
fn push_into_a_registry_that_is_being_deleted(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "doomed"]).ok();
    let client = server.client();
    let image = content::image(1);
    client.push_image("doomed/app", "v1", &image);
    let session = client.patch(&client.begin("doomed/app"), Some(0), b"first").expect(202).location_path();
    let deleted = AtomicBool::new(false);
    let pushed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for n in 0..4 {
            let (deleted, pushed, client) = (&deleted, &pushed, &client);
            scope.spawn(move || {
                for round in 0.. {
                    let image = content::image(1);
                    // Read before the request: what began after the deletion was answered must fail.
                    let late = deleted.load(Ordering::SeqCst);
                    let status = push_status(client, &format!("doomed/app{n}"), &format!("t{round}"), &image);
                    assert!(status == 201 || status == 404, "{status}");
                    assert!(!late || status == 404, "pushed into a registry that is gone");
                    pushed.fetch_add(1, Ordering::SeqCst);
                    if late {
                        return;
                    }
                }
            });
        }
        let under_way = eventually(|| (pushed.load(Ordering::SeqCst) > 8).then_some(()));
        let ran = server.run(&["registry", "delete", "doomed", "--confirm", "doomed"]);
        deleted.store(true, Ordering::SeqCst);
        assert!(under_way.is_some(), "no pushes are under way");
        ran.ok();
    });
    for answer in [
        client.get(&session),
        client.patch(&session, Some(5), b" second"),
        client.put(&with_parameter(&session, "digest", &digest(b"first")), b""),
        client.put_manifest("doomed/app", "v2", &image.manifest),
        client.get("/v2/doomed/app/manifests/v1"),
        client.get("/v2/doomed/app0/tags/list"),
        client.post("/v2/doomed/app/blobs/uploads/"),
    ] {
        answer.expect(404);
        assert!(["NAME_UNKNOWN", "BLOB_UPLOAD_UNKNOWN"].contains(&answer.error_code().as_str()), "{answer:?}");
    }
    assert!(!client.get("/v2/_catalog?n=1000").expect(200).text().contains("doomed/"));
    client.push_image("conf/app", "v1", &image);
}

/// The last status of a push: 201, or the first that was not a success.
fn push_status(client: &Client, repository: &str, tag: &str, image: &Image) -> u16 {
    for blob in &image.blobs {
        let begun = client.post(&format!("/v2/{repository}/blobs/uploads/"));
        if begun.status != 202 {
            return begun.status;
        }
        let answer = client.put(&with_parameter(&begun.location_path(), "digest", &digest(blob)), blob);
        if answer.status != 201 {
            return answer.status;
        }
    }
    client.put_manifest(repository, tag, &image.manifest).status
}

/// Invariant 6 and ARCHITECTURE.md, garbage collection: when its time in the trash and the grace are over, what nothing
/// holds leaves the bucket; what something holds stays.
fn deleted_bytes_are_reclaimed(storage: &Storage) {
    let setup = storage.setup_of_objects().set("ROADSTEAD_TRASH_DAYS", "0").set("ROADSTEAD_GC_GRACE_SECONDS", "1");
    let server = Server::start(setup.set("ROADSTEAD_GC_RECOVERY_DAYS", "0"));
    let client = server.client();
    let [kept, gone] = [content::image(1), content::image(3)];
    client.push_image("conf/app", "kept", &kept);
    let before = server.objects().len();
    let named = client.push_image("conf/app", "gone", &gone);
    assert!(server.objects().len() > before);
    client.delete(&format!("/v2/conf/app/manifests/{named}")).expect(202);
    until("the bytes have left the bucket", || (server.objects().len() <= before).then_some(()));
    client.get("/v2/conf/app/manifests/kept").expect(200);
    for blob in &kept.blobs {
        assert_eq!(&client.pull_blob("conf/app", &digest(blob)), blob);
    }
    // protocol.md J7: and can be pushed again.
    client.push_image("conf/app", "gone", &gone);
    for blob in &gone.blobs {
        assert_eq!(&client.pull_blob("conf/app", &digest(blob)), blob);
    }
}
