//! Several buckets in one region: which registry's bytes go where, and what is refused.

use roadstead_testkit::{
    Client, Response, Server, Setup, content, digest, engines,
    http::{escape, with_parameter},
    process, random_bytes,
    server::bucket_environment,
};

use serde_json::{Value, json};

use crate::{
    management::send,
    scene::{Engine, Storage, on_both_engines},
};

on_both_engines!(
    mount_between_registries,
    a_bucket_must_be_known,
    one_place_is_one_bucket,
    a_bucket_in_use_stays_configured,
    a_bucket_is_for_one_registry,
    a_bucket_of_two_becomes_one_for_one,
);

/// A server with the further bucket `archive`, of the same kind as its default one.
fn with_archive(storage: &Storage) -> Setup {
    match storage.engine {
        Engine::Directory => {
            let path = process::directory("archive");
            storage
                .setup()
                .set("ROADSTEAD_BUCKETS_ARCHIVE_KIND", "directory")
                .set("ROADSTEAD_BUCKETS_ARCHIVE_PATH", &path.display().to_string())
        }
        Engine::S3 => {
            let s3 = engines::s3().expect("the storage has one");
            let settings = bucket_environment(s3, &s3.bucket());
            settings.into_iter().fold(storage.setup(), |setup, (name, value)| {
                setup.set(&name.replace("ROADSTEAD_BUCKET_", "ROADSTEAD_BUCKETS_ARCHIVE_"), &value)
            })
        }
    }
}

/// protocol.md E1, E2: between registries of one bucket a mount is 201; of two buckets it is 202, and the upload it gives
/// works, as does the image. The bytes of each registry lie in its own bucket alone.
fn mount_between_registries(storage: &Storage) {
    let server = Server::start(with_archive(storage));
    server.run(&["registry", "create", "same"]).ok();
    server.run(&["registry", "create", "far", "--bucket", "archive"]).ok();
    assert!(server.run(&["registry", "show", "far"]).ok().contains("archive"));
    let client = server.client();

    for bytes in [random_bytes(1000), random_bytes(17 << 20), Vec::new()] {
        let digest = digest(&bytes);
        assert_eq!(client.push_blob("conf/app", &bytes), digest);
        let objects = server.objects().len();
        let mount = |to: &str, from: &str| {
            client.post(&format!("/v2/{to}/blobs/uploads/?mount={}&from={}", escape(&digest), escape(from)))
        };
        mount("same/app", "conf/app").expect(201).expect_header("Docker-Content-Digest", &digest);
        assert!(client.pull_blob("same/app", &digest) == bytes);

        let answer = mount("far/app", "conf/app");
        answer.expect(202);
        client.head(&format!("/v2/far/app/blobs/{digest}")).expect(404);
        client.put(&with_parameter(&answer.location_path(), "digest", &digest), &bytes).expect(201);
        assert!(client.pull_blob("far/app", &digest) == bytes);
        assert_eq!(server.objects().len(), objects, "the other bucket's bytes went into the default one");
        // Inside the other bucket it is as inside the first; and back it is 202 only where the bytes are not held.
        mount("far/other", "far/app").expect(201);
        mount("conf/second", "far/app").expect(202);
    }

    let image = content::image(2);
    let named = client.push_image("far/image", "v1", &image);
    client.get("/v2/far/image/manifests/v1").expect(200).expect_header("Docker-Content-Digest", &named);
    for blob in &image.blobs {
        assert!(&client.pull_blob("far/image", &digest(blob)) == blob);
    }
    assert!(server.run(&["config", "check"]).ok().contains("bucket archive"));
}

/// A name that is not configured is refused with those that are.
fn a_bucket_must_be_known(storage: &Storage) {
    let server = Server::start(with_archive(storage));
    let words = server.run(&["registry", "create", "team", "--bucket", "archiv"]).refused().to_owned();
    assert!(words.contains("archiv") && words.contains("archive, default"), "{words}");
    server.run(&["registry", "create", "team", "--bucket", "default"]).ok();
}

/// A bucket that belongs to the same region under another name is refused, and nothing of it is changed by the attempt.
fn one_place_is_one_bucket(storage: &Storage) {
    let mut server = Server::start(with_archive(storage));
    let digest = server.client().push_blob("conf/app", b"bytes");
    server.stop();
    let setup = server.setup().clone();
    let twice = match storage.engine {
        Engine::Directory => {
            // The same directory by another path.
            let alias = process::directory("alias").join("link");
            std::os::unix::fs::symlink(server.data(), &alias).expect("a link");
            setup
                .clone()
                .set("ROADSTEAD_BUCKETS_TWICE_KIND", "directory")
                .set("ROADSTEAD_BUCKETS_TWICE_PATH", &alias.display().to_string())
        }
        Engine::S3 => {
            let s3 = engines::s3().expect("the storage has one");
            let bucket = &server.cluster().expect("a cluster").bucket;
            let settings = bucket_environment(s3, bucket).into_iter();
            let named = settings.fold(setup.clone(), |setup, (name, value)| {
                setup.set(&name.replace("ROADSTEAD_BUCKET_", "ROADSTEAD_BUCKETS_TWICE_"), &value)
            });
            // The same endpoint by another name.
            named.set("ROADSTEAD_BUCKETS_TWICE_ENDPOINT", &s3.endpoint.replace("127.0.0.1", "localhost"))
        }
    };
    let words = twice.run(server.data(), &["serve"]).refused().to_owned();
    assert!(words.contains("`twice`") && words.contains("another name"), "{words}");
    server.start_with(setup);
    assert_eq!(server.client().pull_blob("conf/app", &digest), b"bytes");
}

/// A start without a bucket that registries are in would answer them with errors: it is refused with what to add.
fn a_bucket_in_use_stays_configured(storage: &Storage) {
    let setup = with_archive(storage);
    let mut server = Server::start(setup.clone());
    server.run(&["registry", "create", "far", "--bucket", "archive"]).ok();
    server.stop();
    let words = storage.setup().run(server.data(), &["serve"]).refused().to_owned();
    assert!(words.contains("[buckets.archive]"), "{words}");
    server.start_with(setup);
    server.client().push_image("far/app", "v1", &content::image(1));
}

const EXCLUSIVE: &str = "ROADSTEAD_BUCKETS_ARCHIVE_EXCLUSIVE";

fn make_in_archive(root: &Client, name: &str) -> Response {
    send(root, "PUT", &format!("/registries/{name}"), &json!({"project": "team", "bucket": "archive"}))
}

/// The first registry that is made in it has it, in the trash too; who has it is shown to whom it concerns.
fn a_bucket_is_for_one_registry(storage: &Storage) {
    let server = Server::start(with_archive(storage).set(EXCLUSIVE, "true"));
    let root = server.client();
    let bucket = |name: &str| root.get(&format!("/api/v1/buckets/{name}")).expect(200).json();
    send(&root, "PUT", "/projects/team", &json!({})).expect(201);
    let shown = bucket("archive");
    assert_eq!((&shown["exclusive"], &shown["registry"]), (&json!(true), &Value::Null));
    make_in_archive(&root, "first").expect(201);
    make_in_archive(&root, "first").expect(200);
    let refused = make_in_archive(&root, "second").expect(409).json();
    let words = refused["detail"].as_str().unwrap();
    assert!(words.contains("archive is for one registry alone") && words.contains("another bucket"), "{words}");
    assert!(!words.contains("first"), "whose it is, is not for everybody: {words}");
    let said = server.run(&["registry", "create", "second", "--bucket", "archive"]).refused().to_owned();
    assert!(said.contains("one registry alone"), "{said}");
    let shown = bucket("archive");
    assert_eq!((&shown["registry"], &shown["warning"]), (&json!("first"), &Value::Null));
    let default = bucket("default");
    assert_eq!((&default["exclusive"], &default["registry"]), (&json!(false), &Value::Null));

    root.push_image("first/app", "v1", &content::image(1));
    send(&root, "DELETE", "/registries/first", &Value::Null).expect(204);
    make_in_archive(&root, "second").expect(409);
    assert_eq!(bucket("archive")["registry"], "first");
}

/// Those that were in it before stay, which is said; no further one comes.
fn a_bucket_of_two_becomes_one_for_one(storage: &Storage) {
    let setup = with_archive(storage);
    let mut server = Server::start(setup.clone());
    send(&server.client(), "PUT", "/projects/team", &json!({})).expect(201);
    for name in ["first", "second"] {
        make_in_archive(&server.client(), name).expect(201);
    }
    server.stop();
    server.start_with(setup.set(EXCLUSIVE, "true"));
    let words = "is meant for one registry alone, and 2 are in it";
    let logged = server.output().wait_for(0, |line| (line.contains(words) && line.contains("archive")).then_some(()));
    logged.expect("the log says so");
    let root = server.client();
    let shown = root.get("/api/v1/buckets/archive").expect(200).json();
    assert!(shown["warning"].as_str().is_some_and(|warning| warning.contains(words)), "{shown}");
    assert_eq!(shown["registry"], Value::Null);
    for name in ["first", "second"] {
        root.push_image(&format!("{name}/app"), "v1", &content::image(1));
    }
    make_in_archive(&root, "third").expect(409);
}
