//! The command line as a client of the API: the real program against a real server.

use std::{fs, os::unix::fs::PermissionsExt as _, process::Command};

use roadstead_testkit::{
    Login, Server, Setup, content, engines,
    process::directory,
    server::{KEY_ID, KEY_SECRET},
};
use serde_json::{Value, json};

use crate::{
    client::{Person, key_of},
    scene::{BINARY, Storage, on_both_engines},
    tls,
};

on_both_engines!(
    client_signs_in_and_out,
    client_ends_with_a_number,
    client_shows_what_the_api_says,
    client_changes_what_it_says,
    client_follows_all_pages,
    client_deletes_what_is_meant,
    client_gives_roles_and_keys,
    client_is_out_with_its_key,
    client_works_by_variables,
);

/// The names of a list.
fn names(list: &Value) -> Vec<&str> {
    list.as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap()).collect()
}

fn client_signs_in_and_out(storage: &Storage) {
    let server = storage.start();
    let person = Person::new();
    assert!(person.fails("whoami", 3).contains("roadstead login"));
    // A wrong key is tried, and not kept.
    let ran = person.sign_in(&server, KEY_ID, "wrong-secret");
    assert!(ran.code == 3 && ran.refused().contains("refused"), "{ran:?}");
    assert!(!person.contexts().exists());

    let ran = person.sign_in(&server, KEY_ID, &format!("{KEY_SECRET}\n"));
    assert!(ran.ok().contains(KEY_ID) && !ran.out.contains(KEY_SECRET) && ran.err.is_empty(), "{ran:?}");
    let mode = |path: &std::path::Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode(&person.contexts()), mode(person.contexts().parent().unwrap())), (0o600, 0o700));
    assert_eq!(person.json("whoami"), json!({"kind": "access_key", "key_id": KEY_ID}));
    let address = format!("http://{}", server.address());
    assert!(person.run("whoami").ok().contains(&address));

    // A second context becomes the current one; each can be named.
    let made = person.json("key create --description second");
    let (id, secret) = key_of(&made);
    person.login(&server.address().to_string(), &id, &secret, &["--context", "second"]).ok();
    assert_eq!(person.json("whoami")["key_id"], id);
    let first = server.address().to_string();
    assert_eq!(person.json(&format!("whoami --context {first}"))["key_id"], KEY_ID);
    let listed = person.run("context list -o json");
    assert!(!listed.ok().contains(&secret) && !listed.out.contains(KEY_SECRET), "{listed:?}");
    let listed: Value = serde_json::from_str(&listed.out).unwrap();
    let here =
        |name: &str, key: &str, current: bool| json!({"name": name, "url": address, "key_id": key, "current": current});
    assert_eq!(listed, json!([here(&first, KEY_ID, false), here("second", &id, true)]));
    person.run(&format!("context use {first}")).ok();
    assert_eq!(person.json("whoami")["key_id"], KEY_ID);
    assert!(person.fails("whoami --context third", 3).contains("second"));
    assert!(person.fails("context use third", 3).contains("second"));

    person.run("logout").ok();
    person.fails("whoami", 3);
    assert_eq!(person.json("whoami --context second")["key_id"], id);
    assert!(!fs::read_to_string(person.contexts()).unwrap().contains(KEY_SECRET));
    person.run("logout --all").ok();
    person.fails("whoami --context second", 3);

    // What others could have read is not used.
    person.sign_in(&server, KEY_ID, KEY_SECRET).ok();
    fs::set_permissions(person.contexts(), fs::Permissions::from_mode(0o640)).unwrap();
    assert!(person.fails("whoami", 1).contains("chmod 600"));
}

/// The numbers of `docs/cli.md`.
fn client_ends_with_a_number(storage: &Storage) {
    let mut server = storage.start();
    let root = Person::administrator(&server);
    assert_eq!(root.run("registry shwo conf").code, 2);
    assert_eq!(root.run("registry").code, 2);
    root.fails("registry change conf", 2);
    root.fails("image show conf", 2);
    root.fails("member list --project default --config x", 2);
    // The fields of a problem are named.
    let line = root.fails("registry create ab", 1);
    assert!(line.contains("3 to 30 characters"), "{line}");
    assert!(root.fails("registry show none", 5).contains("no such registry"));
    root.fails("project delete default --yes", 6);
    root.run("project create shop").ok();
    root.run("project create shop").ok();
    root.fails("project create shop --description other", 6);

    root.run("person create ada").ok();
    let made: Value =
        serde_json::from_str(server.run(&["key", "create", "--person", "ada", "-o", "json"]).ok()).unwrap();
    let (id, secret) = key_of(&made);
    let ada = Person::new();
    ada.sign_in(&server, &id, &secret).ok();
    assert!(ada.fails("person list", 4).contains("roadstead: "));
    ada.fails("registry show conf", 5);

    server.stop();
    for line in ["whoami", "registry create new", "registry list -o json"] {
        assert!(root.fails(line, 7).contains("can't be reached"), "{line}");
    }
    // Something else listens there.
    let other = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = other.local_addr().unwrap().to_string();
    let answering = std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        let (mut stream, _) = other.accept().unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            let mut byte = [0];
            stream.read_exact(&mut byte).unwrap();
            head.push(byte[0]);
        }
        stream.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno").unwrap();
    });
    let ran = root.login(&address, KEY_ID, KEY_SECRET, &[]);
    answering.join().unwrap();
    assert!(ran.code == 1 && ran.refused().contains("is the address right"), "{ran:?}");
}

/// JSON is what the API says, to the last member; tables are for people.
fn client_shows_what_the_api_says(storage: &Storage) {
    let server = storage.start();
    let (api, root) = (server.client(), Person::administrator(&server));
    root.run("project create shop --description Shop").ok();
    root.run("registry create shop-images --project shop --public").ok();
    root.run("person create ada --full-name 에이다 --email ada@example.com").ok();
    root.run("member create ada --role viewer --project shop").ok();
    root.run("robot create shop/ci").ok();
    api.push_image("shop-images/web/app", "v1", &content::image(0));
    for (line, path) in [
        ("project show shop", "/projects/shop"),
        ("registry show shop-images", "/registries/shop-images"),
        ("person show ada", "/people/ada"),
        ("robot show shop/ci", "/projects/shop/robots/ci"),
    ] {
        assert_eq!(root.json(line), api.get(&format!("/api/v1{path}")).expect(200).json(), "{line}");
        root.run(line).ok();
    }
    for (line, path) in [
        ("project list", "/projects"),
        ("registry list", "/registries"),
        ("person list", "/people"),
        ("robot list --project shop", "/projects/shop/robots"),
        ("robot key list shop/ci", "/projects/shop/robots/ci/keys"),
        ("member list --project shop", "/projects/shop/members"),
        ("member list --registry shop-images", "/registries/shop-images/members"),
        ("key list", "/me/keys"),
        ("audit list --what project", "/audit?what=project"),
    ] {
        assert_eq!(root.json(line), api.get(&format!("/api/v1{path}")).expect(200).json()["items"], "{line}");
        root.run(line).ok();
    }
    let table = root.run("registry list");
    let lines: Vec<_> = table.ok().lines().collect();
    assert!(lines.len() == 3 && lines[0].starts_with("NAME ") && lines[2].starts_with("shop-images "), "{table:?}");
    let column = lines[0].find("STORED").unwrap();
    assert!(lines[2][column..].starts_with(|first: char| first.is_ascii_digit()), "{table:?}");
    assert!(lines[2].contains("ago") && lines[2].contains(" B ") | lines[2].contains("KiB"), "{table:?}");
    assert!(!table.out.contains('\u{1b}'), "{table:?}");
    assert!(root.run("robot key list shop/ci").ok().contains("robot key create"));
    assert_eq!(root.run("robot key list shop/ci -o json").ok(), "[]\n");
}

/// What is changed by a command is so, and the table says what was done.
fn client_changes_what_it_says(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    assert!(
        root.run("registry create team --description Images").ok().contains(&format!("{}/team/NAME", server.address()))
    );
    let changed = root.json("registry change team --public true");
    assert_eq!((&changed["public_pull"], &changed["description"]), (&json!(true), &json!("Images")));
    assert_eq!(root.json("registry show team")["public_pull"], true);
    root.run("registry create open --public").ok();
    root.run("project create shop").ok();
    assert_eq!(root.json("project change shop --description Shop")["description"], "Shop");
    root.run("person create ada").ok();
    let changed = root.json("person change ada --barred true --full-name Ada");
    assert_eq!(
        (&changed["barred"], &changed["full_name"], &changed["disabled"]),
        (&json!(true), &json!("Ada"), &json!(false))
    );
    root.run("robot create shop/ci").ok();
    assert_eq!(root.json("robot change shop/ci --disabled true")["disabled"], true);
    // A password is never an argument.
    let ran = root.run_with(&[], &["person", "password", "ada", "--stdin"], "correct horse battery\n");
    assert!(!ran.ok().contains("horse"), "{ran:?}");
    assert_eq!(root.json("person show ada")["has_password"], true);
    root.run("person password ada --none").ok();
    assert_eq!(root.json("person show ada")["has_password"], false);
    root.fails("person password ada", 2);
    let ran = root.run_with(&[], &["person", "password", "--stdin"], "old\nnew battery horse\n");
    assert!((1..=6).contains(&ran.code) && !ran.err.contains("horse"), "{ran:?}");
}

fn client_follows_all_pages(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    let mut expected = vec!["default".to_owned()];
    for number in 0..4 {
        root.run(&format!("project create team-{number}")).ok();
        expected.push(format!("team-{number}"));
    }
    for size in [1, 2, 4, 5, 6, 1000] {
        assert_eq!(names(&root.json(&format!("project list --page-size {size}"))), expected, "{size}");
    }
    assert_eq!(names(&root.json("project list --page-size 2 --limit 3")), expected[..3]);
    assert_eq!(root.run("project list --page-size 2").ok().lines().count(), 6);
    for wrong in ["--limit 0", "--page-size 0", "--page-size 1001"] {
        assert_eq!(root.run(&format!("project list {wrong}")).code, 2, "{wrong}");
    }
}

fn client_deletes_what_is_meant(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    root.run("registry create team").ok();
    root.run("project create shop").ok();
    root.run("person create ada").ok();
    root.run("member create ada --role manager --project shop").ok();
    root.run("robot create shop/ci").ok();
    let all = [
        "registry delete team",
        "member delete ada --project shop",
        "robot delete shop/ci",
        "person delete ada",
        "project delete shop",
    ];
    for line in all {
        assert!(root.fails(line, 2).contains("--yes"), "{line}");
        assert!(root.fails(&format!("{line} --confirm other"), 1).contains("nothing was deleted"), "{line}");
    }
    root.json("registry show team");
    for line in all {
        root.run(&format!("{line} --yes")).ok();
    }
    let registries = root.json("registry list");
    let team = registries.as_array().unwrap().iter().find(|it| it["name"] == "team").unwrap();
    assert!(team["trashed_until"].is_string() && root.run("registry list").ok().contains("in the trash"), "{team}");
    assert_eq!(root.run("person delete ada --confirm ada -o json").code, 5);
}

fn client_gives_roles_and_keys(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    for line in [
        "project create shop",
        "registry create shop-images --project shop",
        "person create ada",
        "robot create shop/ci",
    ] {
        root.run(line).ok();
    }
    let made: Value =
        serde_json::from_str(server.run(&["key", "create", "--person", "ada", "-o", "json"]).ok()).unwrap();
    let ada = Person::new();
    let (id, secret) = key_of(&made);
    ada.sign_in(&server, &id, &secret).ok();
    ada.fails("registry show shop-images", 5);
    root.run("member create ada --role viewer --project shop").ok();
    ada.run("registry show shop-images").ok();
    ada.fails("registry change shop-images --public true", 4);
    root.run("member change ada --role manager --registry shop-images").ok();
    ada.run("registry change shop-images --public true").ok();
    root.run("member delete ada --registry shop-images --yes").ok();
    ada.fails("registry change shop-images --public false", 4);
    // The key that a command makes is one; the secret is in that answer alone.
    let own = ada.run("key create --description laptop --days 3");
    assert!(own.ok().contains("docker login") && own.out.contains("ada"), "{own:?}");
    assert_eq!(ada.json("key list").as_array().unwrap().len(), 2);
    ada.fails("key list --person root", 2);

    let made = root.json("robot key create shop/ci --allow pull,push:shop-images/web/** --days 3");
    let (id, secret) = key_of(&made);
    let robot = server.client().logged_in(Login::Basic(id.clone(), secret));
    robot.push_image("shop-images/web/app", "v1", &content::image(0));
    robot.post("/v2/shop-images/other/blobs/uploads/").expect(403);
    assert!(root.run("robot key list shop/ci").ok().contains("pull,push:shop-images/web/**"));
    root.run(&format!("robot key delete shop/ci {id}")).ok();
    robot.get("/v2/").expect(401);
    assert!(root.fails("robot key create shop/ci --allow fly", 1).contains("there is no action"));
    root.fails("robot show shop", 2);
}

fn client_is_out_with_its_key(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    let other = Person::new();
    let (id, secret) = key_of(&root.json("key create"));
    other.sign_in(&server, &id, &secret).ok();
    other.run("registry list").ok();
    root.run(&format!("key revoke {id}")).ok();
    assert!(other.fails("registry list", 3).contains("roadstead login"));
    // A new one for the same place: nothing else has to be said again.
    let (id, secret) = key_of(&root.json("key create"));
    other.run_with(&[], &["login", "--key-id", &id, "--secret-stdin"], &secret).ok();
    other.run("registry list").ok();
}

/// In CI nothing is kept; and what could mean two services is refused.
fn client_works_by_variables(storage: &Storage) {
    let server = storage.start();
    let ci = Person::new();
    let url = format!("http://{}", server.address());
    let variables = [("ROADSTEAD_URL", url.as_str()), ("ROADSTEAD_KEY_ID", KEY_ID), ("ROADSTEAD_SECRET", KEY_SECRET)];
    let run = |variables: &[(&str, &str)], line: &str| ci.run_with(variables, &line.split(' ').collect::<Vec<_>>(), "");
    assert!(run(&variables, "registry list").ok().contains("conf"));
    assert!(fs::read_dir(ci.home()).unwrap().next().is_none());
    let half = run(&variables[..2], "registry list");
    assert!(half.code == 2 && half.refused().contains("ROADSTEAD_SECRET"), "{half:?}");

    let data = server.data().to_str().unwrap();
    let both = [&variables[..], &[("ROADSTEAD_DATA_DIR", data)]].concat();
    for line in ["registry create team", "registry list", "key list"] {
        let ran = run(&both, line);
        assert!(ran.code == 2 && ran.refused().contains("--local"), "{ran:?}");
        assert!(ran.err.contains("ROADSTEAD_DATA_DIR") && ran.err.contains(&server.address().to_string()), "{ran:?}");
    }
    run(&both, "registry create there --remote").ok();
    run(&variables, "registry show there").ok();
    let nothing = run(&[], "registry create team");
    assert!(nothing.code == 3 && nothing.refused().contains("--local"), "{nothing:?}");
    assert!(fs::read_dir(ci.home()).unwrap().next().is_none(), "nothing is made by a command that means no service");
    // Who runs a server with these variables in place is not told that they are no settings.
    let setup = variables.iter().fold(Setup::directory(BINARY), |setup, (name, value)| setup.set(name, value));
    assert!(setup.run(&directory("data"), &["config", "check"]).ok().contains("configuration"));
}

/// A secret does not leave this machine in the clear.
#[test]
fn client_sends_no_secret_in_the_clear() {
    let person = Person::new();
    for url in ["http://registry.example.com", "http://192.0.2.1:5000"] {
        let ran = person.login(url, KEY_ID, KEY_SECRET, &[]);
        assert!(ran.code == 2 && ran.refused().contains("--insecure-http") && !ran.err.contains(KEY_SECRET), "{ran:?}");
        let variables = [("ROADSTEAD_URL", url), ("ROADSTEAD_KEY_ID", KEY_ID), ("ROADSTEAD_SECRET", KEY_SECRET)];
        assert_eq!(person.run_with(&variables, &["whoami"], "").code, 2, "{url}");
    }
    assert!(!person.contexts().exists());
    // Nor does anybody have to type it where others read it.
    let ran = person.run("login http://127.0.0.1:1 --key-id x --secret y");
    assert_eq!(ran.code, 2, "{ran:?}");
    assert!(person.fails("login http://127.0.0.1:1 --key-id x", 2).contains("--secret-stdin"));
}

/// A certificate of one's own authority is trusted when it is named, and the name is kept.
#[test]
fn client_trusts_the_certificates_it_is_given() {
    let dir = directory("tls");
    tls::certificate(&dir);
    let (pem, key) = (dir.join("tls.pem"), dir.join("tls.key"));
    let setup = Setup::directory(BINARY)
        .set("ROADSTEAD_TLS_CERTIFICATE", pem.to_str().unwrap())
        .set("ROADSTEAD_TLS_KEY", key.to_str().unwrap());
    let server = Server::start(setup);
    let url = format!("https://{}", server.address());
    let person = Person::new();
    let ran = person.login(&url, KEY_ID, KEY_SECRET, &[]);
    assert!(ran.code == 7 && ran.refused().to_lowercase().contains("certificate"), "{ran:?}");
    let ran = person.login(&url, KEY_ID, KEY_SECRET, &["--ca-file", key.to_str().unwrap()]);
    assert_eq!(ran.code, 2, "{ran:?}");
    person.login(&url, KEY_ID, KEY_SECRET, &["--ca-file", pem.to_str().unwrap()]).ok();
    person.run("registry list").ok();
}

/// What makes shells complete is understood by them.
#[test]
fn client_completes_in_shells() {
    let person = Person::new();
    for (shell, check) in [("bash", "-n"), ("zsh", "-n"), ("fish", "--no-execute")] {
        let script = person.run(&format!("completion {shell}"));
        for word in ["registry", "trash", "restore", "page-size"] {
            assert!(script.ok().contains(word), "{shell}: {word}");
        }
        let file = person.home().join(shell);
        fs::write(&file, &script.out).unwrap();
        if engines::program(shell).is_some() {
            let ran = Command::new(shell).arg(check).arg(&file).output().unwrap();
            assert!(ran.status.success() && ran.stderr.is_empty(), "{shell}: {}", String::from_utf8_lossy(&ran.stderr));
        }
    }
    if engines::program("bash").is_some() {
        let asked = "source ./bash; COMP_WORDS=(roadstead registry cre); COMP_CWORD=2; _roadstead roadstead cre registry; echo \"${COMPREPLY[@]}\"";
        let ran = Command::new("bash").args(["-c", asked]).current_dir(person.home()).output().unwrap();
        assert_eq!(String::from_utf8_lossy(&ran.stdout).trim(), "create");
    }
    assert_eq!(person.run("completion tcsh").code, 2);
}
