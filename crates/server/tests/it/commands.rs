//! The commands beside a running server, and without one.

use roadstead_testkit::{
    Cluster, Login, Server, Setup, content, engines,
    process::{self, directory},
};
use serde_json::Value;

use crate::scene::{BINARY, Storage, on_both_engines, with_cluster};

on_both_engines!(registries, registry_names, keys, config_check, without_a_server);

fn json(server: &Server, arguments: &[&str]) -> Value {
    let ran = server.run(&[arguments, &["-o", "json"]].concat());
    serde_json::from_str(ran.ok()).unwrap_or_else(|error| panic!("{error}: {ran:?}"))
}

fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|registry| registry["name"].as_str().unwrap()).collect()
}

/// `registry create|list|show|delete`: at once to be seen by the server, and the other way round.
fn registries(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    client.post("/v2/team/app/blobs/uploads/").expect_error(404, "NAME_UNKNOWN");
    json(&server, &["registry", "create", "team", "--description", "of the team"]);
    client.push_image("team/app", "v1", &content::image(1));
    assert_eq!(names(&json(&server, &["registry", "list"])), ["conf", "team"]);
    let shown = json(&server, &["registry", "show", "team"]);
    assert_eq!(shown["description"], "of the team");
    assert_eq!(shown["usage"]["artifacts"], 1);
    assert_eq!(shown["public_pull"], false);
    for arguments in [&["registry", "list"][..], &["registry", "show", "team"]] {
        assert!(server.run(arguments).ok().contains("team"));
    }

    // Deleting asks for the name.
    server.run(&["registry", "delete", "team"]).refused();
    server.run(&["registry", "delete", "team", "--confirm", "other"]).refused();
    client.get("/v2/team/app/manifests/v1").expect(200);
    server.run(&["registry", "delete", "team", "--confirm", "team"]).ok();
    client.get("/v2/team/app/manifests/v1").expect_error(404, "NAME_UNKNOWN");
    client.post("/v2/team/app/blobs/uploads/").expect_error(404, "NAME_UNKNOWN");
    // Its name stays taken: nobody else gets its pulls.
    assert!(server.run(&["registry", "create", "team"]).refused().contains("trash"));
    server.run(&["registry", "delete", "team", "--confirm", "team"]).refused();
}

/// product.md 2: names of registries; what is wrong is said.
fn registry_names(storage: &Storage) {
    let server = storage.start();
    let longest = "a".repeat(30);
    for name in ["abc", "a-1", "team-a2", &longest] {
        server.run(&["registry", "create", name]).ok();
        server.client().push_image(&format!("{name}/app"), "v1", &content::image(0));
    }
    let too_long = "a".repeat(31);
    for name in ["ab", "1ab", "abc-", "-abc", "Abc", "a_b", "a.b", "a/b", "äbc", "", &too_long, "abc"] {
        server.run(&["registry", "create", "--", name]).refused();
    }
    assert!(server.run(&["registry", "show", "none"]).refused().contains("none"));
}

/// `key create|list|revoke`: the secret is shown once, revoked is revoked at the next request.
fn keys(storage: &Storage) {
    let server = storage.start();
    let key = json(&server, &["key", "create", "--description", "build server"]);
    let [id, secret] = ["key_id", "secret"].map(|name| key[name].as_str().unwrap().to_owned());
    assert!(secret.len() >= 20, "a secret that can be guessed");
    let client = server.client();
    let basic = client.logged_in(Login::Basic(id.clone(), secret.clone()));
    let with_token = client.logged_in(Login::Token(id.clone(), secret.clone()));
    basic.push_image("conf/app", "v1", &content::image(0));
    with_token.get("/v2/conf/app/manifests/v1").expect(200);

    let listed = server.run(&["key", "list", "-o", "json"]);
    assert!(listed.ok().contains(&id) && !listed.out.contains(&secret), "{listed:?}");
    assert!(server.run(&["key", "list"]).ok().contains("build server"));
    server.run(&["key", "revoke", &id]).ok();
    basic.get("/v2/").expect(401);
    assert!(
        with_token.try_send(&roadstead_testkit::Request::new("HEAD", "/v2/")).is_ok_and(|answer| answer.status == 401)
    );
    client.get("/v2/").expect(200);
    server.run(&["key", "revoke", "no-such-key"]).refused();

    server.run(&["key", "create", "--days", "0"]).refused();
    let short = json(&server, &["key", "create", "--days", "1"]);
    let expires = short["expires"].as_str().unwrap();
    assert!(server.run(&["key", "list", "-o", "json"]).ok().contains(&expires[..16]), "{expires}");
    server.run(&["key", "revoke", short["key_id"].as_str().unwrap()]).ok();

    // product.md 3: five at most for one person.
    let living = json(&server, &["key", "list"]);
    let living = living.as_array().unwrap().iter().filter(|key| key["living"] == true).count();
    for _ in living..5 {
        server.run(&["key", "create"]).ok();
    }
    server.run(&["key", "create"]).refused();
}

/// `config check` tries the database and the bucket, beside a server and without one.
fn config_check(storage: &Storage) {
    let mut server = storage.start();
    for running in [true, false] {
        let checked = server.run(&["config", "check"]);
        for part in ["configuration", "database", "bucket"] {
            assert!(checked.ok().contains(part), "{running}: {checked:?}");
        }
        if running {
            server.stop();
        }
    }
    server.start_again();
    server.client().get("/v2/").expect(200);
}

/// What is broken is named, and the exit code says it.
#[test]
fn config_check_finds_trouble() {
    with_cluster(|cluster| {
        let data = directory("data");
        let setup = Setup::node(BINARY, cluster);
        setup.run(&data, &["config", "check"]).ok();
        for (name, value, part) in [
            ("ROADSTEAD_BUCKET_NAME", "no-such-bucket", "bucket"),
            ("ROADSTEAD_BUCKET_SECRET_ACCESS_KEY", "wrong", "bucket"),
            ("ROADSTEAD_BUCKET_SIGNING_ENDPOINT", "http://127.0.0.1:9", "bucket"),
            ("ROADSTEAD_DATABASE_URL", "postgres://nobody@127.0.0.1:9/none", "database"),
        ] {
            let checked = setup.clone().set(name, value).run(&data, &["config", "check"]);
            assert_eq!(checked.code, 1, "{name}: {checked:?}");
            let trouble = checked.out.lines().find(|line| line.contains("TROUBLE")).unwrap_or_default();
            assert!(trouble.contains(part), "{name}: {checked:?}");
            assert!(!checked.out.contains("wrong") && !checked.err.contains("wrong"), "{checked:?}");
        }
    });
}

/// What `serve` refuses the check refuses, before it writes anything: another secret key, another database's bucket.
#[test]
fn config_check_refuses_what_serve_refuses() {
    let Some((postgres, s3)) = engines::scale_out() else { return };
    let [one, other] = [Cluster::new(postgres, s3), Cluster::new(postgres, s3)];
    drop(Server::start(Setup::node(BINARY, &one)));
    drop(Server::start(Setup::node(BINARY, &other)));
    let data = directory("data");
    let setup = || Setup::node(BINARY, &one);
    std::fs::write(data.join("file"), "").unwrap();
    let in_a_file = data.join("file/bucket");
    let key = base64::Engine::encode(&base64::prelude::BASE64_STANDARD, [7; 32]);
    for (wrong, part) in [
        (setup().set("ROADSTEAD_SECRET_KEY", &key), "secret key"),
        // The first start would make a key of its own.
        (setup().unset("ROADSTEAD_SECRET_KEY"), "secret key"),
        (setup().set("ROADSTEAD_BUCKET_NAME", &other.bucket), "bucket"),
        (Setup::directory(BINARY).set("ROADSTEAD_BUCKET_PATH", in_a_file.to_str().unwrap()), "bucket"),
    ] {
        let before = other.objects();
        let checked = wrong.run(&data, &["config", "check"]);
        assert_eq!(checked.code, 1, "{checked:?}");
        assert!(checked.out.lines().any(|line| line.starts_with("TROUBLE") && line.contains(part)), "{checked:?}");
        assert_eq!(before, other.objects());
    }
    // Each node of a database needs the key: said, and no failure.
    let fresh = Setup::node(BINARY, &Cluster::new(postgres, s3)).unset("ROADSTEAD_SECRET_KEY");
    let checked = fresh.run(&data, &["config", "check"]);
    assert!(checked.ok().lines().any(|line| line.starts_with("warning") && line.contains("secret_key")), "{checked:?}");
}

/// A check and a question before the first start, or with a slip in the path, leave nothing behind.
#[test]
fn nothing_is_made_by_looking() {
    let parent = directory("parent");
    let data = parent.join("data");
    let data = data.to_str().unwrap();
    let setup = Setup::directory(BINARY);
    let checked = setup.run(&parent, &["config", "check", "--data-dir", data]);
    assert!(checked.ok().contains("is made by the first start"), "{checked:?}");
    for arguments in [&["key", "list"][..], &["registry", "list"], &["key", "revoke", "x"], &["registry", "show", "x"]]
    {
        let ran = setup.run(&parent, &[arguments, &["--data-dir", data]].concat());
        assert!(ran.refused().contains("there is no Roadstead data in") && ran.err.contains(data), "{ran:?}");
    }
    assert!(std::fs::read_dir(&parent).unwrap().next().is_none());
}

/// Files of another user in the data directory would be in the server's way.
#[test]
fn config_check_is_for_the_owner() {
    let Some(user) = process::ordinary_user() else { return };
    let data = directory("data");
    process::give(&data, Some(user));
    let checked = Setup::directory(BINARY).run(&data, &["config", "check"]);
    assert!(checked.code == 1 && checked.out.contains(&format!("belongs to user {}", user.0)), "{checked:?}");
    assert!(std::fs::read_dir(&data).unwrap().next().is_none());
}

/// Commands work while no server runs, and the next start finds what they did.
fn without_a_server(storage: &Storage) {
    let mut server = storage.start();
    server.stop();
    server.run(&["registry", "create", "offline", "--public"]).ok();
    let key = json(&server, &["key", "create"]);
    server.start_again();
    let login = Login::Basic(key["key_id"].as_str().unwrap().to_owned(), key["secret"].as_str().unwrap().to_owned());
    server.client().logged_in(login).push_image("offline/app", "v1", &content::image(0));
    server.client().logged_in(Login::AnonymousToken).get("/v2/offline/app/manifests/v1").expect(200);
}

/// `--help` teaches; a mistyped command says what there is.
#[test]
fn help() {
    let data = directory("data");
    let setup = Setup::directory(BINARY);
    let help = setup.run(&data, &["--help"]);
    for word in ["serve", "registry", "key", "config check", "docker login", "127.0.0.1:5000"] {
        assert!(help.ok().contains(word), "{word} in {help:?}");
    }
    for command in ["serve", "registry", "key", "config"] {
        assert!(setup.run(&data, &[command, "--help"]).ok().contains("Examples"), "{command}");
    }
    assert!(setup.run(&data, &["registyr"]).refused().contains("registry"));
    assert!(std::fs::read_dir(&data).unwrap().next().is_none(), "help leaves nothing behind");
}
