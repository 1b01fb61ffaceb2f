//! How the service starts and ends: the first start, the second, the configuration, health, draining.

use std::{net::SocketAddr, thread};

use roadstead_testkit::{
    Body, Cluster, Login, Postgres, Request, Server, Setup,
    content::{self, random_bytes},
    digest, engines,
    http::with_parameter,
    process::directory,
    server::{KEY_ID, KEY_SECRET, bucket_environment},
    token::basic,
    until,
    wire::Connection,
};
use rustix::process::Signal;

use crate::scene::{BINARY, Engine, Storage, on_both_engines, with_cluster, with_storage};

on_both_engines!(first_start_and_second, what_the_first_start_is_given, health, drain, drain_that_is_too_short);

fn words_after<'a>(text: &'a str, mark: &str) -> Vec<&'a str> {
    let Some((_, rest)) = text.split_once(mark) else { panic!("no {mark:?} in:\n{text}") };
    rest.lines().next().unwrap_or_default().split_whitespace().collect()
}

/// The first start makes a registry and a key and says what to type; what it says works. The second says where it
/// left off, and the secret not again.
fn first_start_and_second(storage: &Storage) {
    let setup = storage.setup().unset("ROADSTEAD_INITIAL_KEY_ID").unset("ROADSTEAD_INITIAL_KEY_SECRET");
    let mut server = Server::start(setup.unset("ROADSTEAD_INITIAL_REGISTRY"));
    let said = server.output().text();
    let login = words_after(&said, "docker login ");
    let ["-u", id, "-p", secret] = login[1..] else { panic!("{login:?}") };
    let (id, secret) = (id.to_owned(), secret.to_owned());
    assert_eq!(login[0], server.address().to_string());
    let push = words_after(&said, "docker push ");
    let (host, repository) = push[0].split_once('/').unwrap();
    assert_eq!(host, server.address().to_string());
    assert!(words_after(&said, "docker tag ")[1].starts_with(host));

    let client = server.client().logged_in(Login::Token(id, secret.clone()));
    client.push_image(repository, "latest", &content::image(1));
    assert_eq!(server.stop(), 0);

    let position = server.output().position();
    server.start_again();
    let said = server.output().since(position).join("\n");
    assert!(!said.contains(&secret) && !said.contains("docker login"), "{said}");
    assert!(said.contains("1 artifact"), "{said}");
    client_of(&server, &client.login).get(&format!("/v2/{repository}/manifests/latest")).expect(200);
}

fn client_of(server: &Server, login: &Login) -> roadstead_testkit::Client {
    server.client().logged_in(login.clone())
}

/// For automation the first start takes what it would invent, and does not print a secret it was given.
fn what_the_first_start_is_given(storage: &Storage) {
    let mut server = storage.start();
    server.client().push_image("conf/app", "v1", &content::image(0));
    let said = server.output().text();
    assert!(said.contains(KEY_ID) && said.contains("conf") && !said.contains(KEY_SECRET), "{said}");
    // The next start has another opinion of the first: nothing changes.
    server.stop();
    server.start_with(storage.setup().set("ROADSTEAD_INITIAL_KEY_SECRET", "another-secret-0123456789-0123456789"));
    server.client().get("/v2/conf/app/manifests/v1").expect(200);
    let other = Login::Basic(KEY_ID.to_owned(), "another-secret-0123456789-0123456789".to_owned());
    server.client().logged_in(other).get("/v2/").expect(401);
}

/// `/healthz`, `/readyz`; `/metrics` for an administrator, or on a listener of its own.
fn health(storage: &Storage) {
    let server = storage.start();
    let nobody = server.client().anonymous();
    nobody.get("/healthz").expect(200);
    nobody.get("/readyz").expect(200);
    nobody.get("/metrics").expect_one_of(&[401, 404]);
    server.client().push_image("conf/app", "v1", &content::image(0));
    let figures = server.client().get("/metrics").expect(200).text();
    assert!(figures.contains("# TYPE") && !figures.contains("conf/app"), "no names in labels:\n{figures}");
}

/// SIGTERM: what runs is finished, what comes later is not begun, and the program ends in order.
fn drain(storage: &Storage) {
    let mut server = storage.start();
    let client = server.client();
    let bytes = random_bytes(200_000);
    let digest = digest(&bytes);
    let target = with_parameter(&client.begin("conf/app"), "digest", &digest);
    let mut connection = Connection::open(server.address()).unwrap();
    let put = Request::new("PUT", &target).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let put = put.body(Body::Length(bytes.clone()));
    connection.write_head(&put).unwrap();
    connection.write_raw(&bytes[..100_000]).unwrap();
    let mut idle = Connection::open(server.address()).unwrap();
    idle.send(&Request::new("GET", "/healthz")).unwrap();

    server.signal(Signal::TERM);
    assert!(idle.is_closed(), "a connection that waits for nothing is closed");
    until("nothing new is begun", || {
        let refused = client.anonymous().try_send(&Request::new("GET", "/readyz"));
        refused.map_or(true, |answer| answer.status == 503).then_some(())
    });
    connection.write_raw(&bytes[100_000..]).unwrap();
    connection.read_answer(&put).unwrap().expect(201);
    assert_eq!(server.wait(), 0);
    server.start_again();
    assert!(server.client().pull_blob("conf/app", &digest) == bytes);
}

/// When the time of a drain is over, what arrived of an upload is kept, and the upload goes on from there.
fn drain_that_is_too_short(storage: &Storage) {
    let mut server = Server::start(storage.setup().set("ROADSTEAD_LIMITS_DRAIN_SECONDS", "1"));
    let upload = server.client().begin("conf/app");
    let bytes = random_bytes(300_000);
    let mut connection = Connection::open(server.address()).unwrap();
    let patch = Request::new("PATCH", &upload).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let patch = patch.header("Content-Type", "application/octet-stream").body(Body::Length(bytes.clone()));
    connection.write_head(&patch).unwrap();
    connection.write_raw(&bytes[..200_000]).unwrap();
    assert_eq!(server.stop(), 0);
    server.start_again();
    let client = server.client();
    let range = client.get(&upload).expect(204).get("Range").map(str::to_owned);
    assert_eq!(range.as_deref(), Some("0-199999"));
    let rest = Request::new("PATCH", &upload).header("Content-Range", "200000-299999");
    let location =
        client.send(rest.body(Body::Length(bytes[200_000..].to_vec()))).expect(202).get("Location").unwrap().to_owned();
    client.put(&with_parameter(&location, "digest", &digest(&bytes)), &[]).expect(201);
    assert!(client.pull_blob("conf/app", &digest(&bytes)) == bytes);
}

/// Metrics on a listener of their own are not on the main one.
#[test]
fn metrics_listener() {
    let server = Server::start(Setup::directory(BINARY).set("ROADSTEAD_METRICS_LISTEN", "127.0.0.1:0"));
    let address: SocketAddr = server
        .output()
        .wait_for(0, |line| line.split_once("metrics on http://")?.1.split('/').next()?.parse().ok())
        .unwrap();
    let figures = roadstead_testkit::Client::new(address, Login::Anonymous);
    assert!(figures.get("/metrics").expect(200).text().contains("# TYPE"));
    figures.get("/v2/").expect(404);
    server.client().get("/metrics").expect(404);
}

/// An unknown or wrong setting is refused with its
/// name and what would be right.
#[test]
fn configuration() {
    let data = directory("data");
    let file = data.join("roadstead.toml");
    let refused = |setup: Setup, arguments: &[&str], words: &[&str]| {
        let ran = setup.run(&data, arguments);
        let said = ran.refused().to_owned();
        assert!(words.iter().all(|word| said.contains(word)), "{words:?} in {said}");
    };
    let setup = || Setup::directory(BINARY);
    refused(setup().set("ROADSTEAD_NONSENSE", "1"), &["serve"], &["ROADSTEAD_NONSENSE"]);
    refused(setup().set("ROADSTEAD_DATABASE_POOL", "many"), &["serve"], &["ROADSTEAD_DATABASE_POOL", "many"]);
    refused(setup().set("ROADSTEAD_BUCKET_KIND", "tape"), &["serve"], &["ROADSTEAD_BUCKET_KIND", "s3"]);
    refused(setup().set("ROADSTEAD_INITIAL_REGISTRY", "No"), &["serve"], &["ROADSTEAD_INITIAL_REGISTRY"]);
    refused(setup().set("ROADSTEAD_LISTEN", "nowhere"), &["serve"], &["ROADSTEAD_LISTEN", "nowhere"]);
    std::fs::write(&file, "[limits]\nmanifset_bytes = 1").unwrap();
    refused(setup(), &["serve", "--config", file.to_str().unwrap()], &["manifset_bytes", "manifest_bytes"]);
    let none = data.join("none.toml");
    refused(setup(), &["serve", "--config", none.to_str().unwrap()], &["none.toml"]);
    setup().run(&data, &["serve", "--no-such-flag"]).refused();
}

/// What the file says holds, and the environment goes before it.
#[test]
fn configuration_file() {
    let file = directory("config").join("roadstead.toml");
    std::fs::write(&file, "[limits]\nblob_bytes = 100\nmanifest_bytes = 65536\n").unwrap();
    let setup = Setup::directory(BINARY).set("ROADSTEAD_CONFIG", file.to_str().unwrap());
    let server = Server::start(setup.set("ROADSTEAD_LIMITS_BLOB_BYTES", "2000"));
    let client = server.client();
    client.push_blob("conf/app", &random_bytes(2000));
    let put = with_parameter(&client.begin("conf/app"), "digest", &digest(&[7; 2001]));
    client.put(&put, &[7; 2001]).expect(413);
    let large = content::index(&[]).with("annotations", serde_json::json!({"x": "y".repeat(70_000)}));
    client.put_manifest("conf/app", "large", &large).expect(413);
}

/// One data directory, one server; the second is told so, and the first goes on.
#[test]
fn data_directory_in_use() {
    let server = Server::start(Setup::directory(BINARY));
    let second = server.run(&["serve"]);
    assert!(second.refused().contains(server.data().to_str().unwrap()), "{second:?}");
    server.client().get("/v2/").expect(200);
}

/// A database that may forget is refused unless the operator says otherwise.
#[test]
fn fsync_off() {
    with_cluster(|cluster| {
        if std::env::var_os("ROADSTEAD_TEST_POSTGRES_URL").is_some() {
            return; // a given server is not ours to judge
        }
        let data = directory("data");
        let setup = Setup::node(BINARY, cluster).unset("ROADSTEAD_DATABASE_ALLOW_FSYNC_OFF");
        assert!(setup.run(&data, &["serve"]).refused().contains("fsync"));
    });
}

/// Each bucket holds a marker that the database names: another database's bucket is refused.
#[test]
fn bucket_of_another_database() {
    let Some((postgres, s3)) = engines::scale_out() else { return };
    let [one, other] = [Cluster::new(postgres, s3), Cluster::new(postgres, s3)];
    let server = Server::start(Setup::node(BINARY, &one));
    server.client().push_image("conf/app", "v1", &content::image(0));
    drop(Server::start(Setup::node(BINARY, &other)));
    let data = directory("data");
    let mixed = Setup::node(BINARY, &one).set("ROADSTEAD_BUCKET_NAME", &other.bucket);
    assert!(mixed.run(&data, &["serve"]).refused().contains("bucket"));
    let missing = Setup::node(BINARY, &one).set("ROADSTEAD_BUCKET_NAME", "no-such-bucket-here");
    assert!(missing.run(&data, &["serve"]).refused().contains("bucket"));
    let wrong = Setup::node(BINARY, &one).set("ROADSTEAD_BUCKET_SECRET_ACCESS_KEY", "wrong");
    wrong.run(&data, &["serve"]).refused();
    server.client().get("/v2/conf/app/manifests/v1").expect(200);
}

/// SQLite with a bucket on S3 is a pair that works too.
#[test]
fn sqlite_and_s3() {
    let Some(s3) = engines::s3() else { return };
    let mut setup = Setup::directory(BINARY).set("ROADSTEAD_BUCKET_REDIRECT", "false");
    for (name, value) in bucket_environment(s3, &s3.bucket()) {
        setup = setup.set(name, &value);
    }
    let mut server = Server::start(setup);
    let image = content::image(2);
    server.client().push_image("conf/app", "v1", &image);
    server.kill();
    server.start_again();
    let client = server.client();
    client.get("/v2/conf/app/manifests/v1").expect(200).expect_body(&image.manifest.bytes);
    for blob in &image.blobs {
        assert_eq!(&client.pull_blob("conf/app", &digest(blob)), blob);
    }
}

/// Several nodes start at once on an empty database: one makes the tables, all come up.
#[test]
fn nodes_that_start_at_once() {
    with_cluster(|cluster| {
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let server = Server::start(Setup::node(BINARY, cluster));
                    server.client().push_image("conf/app", "v1", &content::image(0));
                });
            }
        });
    });
}

/// PostgreSQL without any leave to forget, ended as by a power cut: what got 201 is there.
#[test]
fn database_that_crashes() {
    if engines::scale_out().is_none() || std::env::var_os("ROADSTEAD_TEST_POSTGRES_URL").is_some() {
        return;
    }
    let Some((mut postgres, s3)) = Postgres::start(true).zip(roadstead_testkit::S3::shared()) else { return };
    let cluster = Cluster::new(&postgres, s3);
    let setup = Setup::node(BINARY, &cluster).unset("ROADSTEAD_DATABASE_ALLOW_FSYNC_OFF");
    let server = Server::start(setup.set("ROADSTEAD_BUCKET_REDIRECT", "false"));
    let client = server.client();
    let image = content::image(2);
    client.push_image("conf/app", "v1", &image);
    postgres.crash_and_restart();
    // The same process finds its way back by itself.
    let answer = until("the server has its database again", || {
        let answer = client.get("/v2/conf/app/manifests/v1");
        (answer.expect_one_of(&[200, 503]).status == 200).then_some(answer)
    });
    answer.expect_body(&image.manifest.bytes);
    for blob in &image.blobs {
        assert_eq!(&client.pull_blob("conf/app", &digest(blob)), blob);
    }
}

/// Host names of registries: `REGISTRY.DOMAIN/REPOSITORY` is `HOST/REGISTRY/REPOSITORY`.
#[test]
fn host_style() {
    with_storage(Engine::Directory, |storage| {
        assert_eq!(storage.engine, Engine::Directory);
        let setup = storage.setup().set("ROADSTEAD_DOMAIN", "registry.example");
        let server = Server::start(setup.set("ROADSTEAD_EXTERNAL_URL", "http://registry.example"));
        let client = server.client();
        let digest = client.push_image("conf/team/app", "v1", &content::image(0));
        let get = Request::new("GET", "/v2/team/app/manifests/v1").header("Host", "conf.registry.example");
        client.send(get).expect(200).expect_header("Docker-Content-Digest", &digest);
        let other = Request::new("GET", "/v2/team/app/manifests/v1").header("Host", "none.registry.example");
        client.send(other).expect(404);
    });
}
