//! The command line about quotas and buckets.

use std::fs;

use roadstead_testkit::{Server, content, process::directory};
use serde_json::{Value, json};

use crate::{
    client::{Person, key_of},
    scene::{Storage, on_both_engines},
};

on_both_engines!(client_shows_and_sets_quotas, client_shows_and_tries_buckets);

/// What the API answers to a path.
fn api(server: &Server, path: &str) -> Value {
    server.client().get(&format!("/api/v1/{path}")).expect(200).json()
}

/// Somebody signed in who has no rights.
fn stranger(server: &Server, root: &Person) -> Person {
    root.run("person create ada").ok();
    let made = server.run(&["key", "create", "--person", "ada", "-o", "json"]);
    let (id, secret) = key_of(&serde_json::from_str(made.ok()).unwrap());
    let ada = Person::new();
    ada.sign_in(server, &id, &secret).ok();
    ada
}

fn client_shows_and_sets_quotas(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    root.run("project create shop").ok();
    root.run("registry create shop-images --project shop").ok();
    server.client().push_image("shop-images/app", "v1", &content::image(0));
    let (project, registry) = ("quota show --project shop", "quota show --registry shop-images");
    assert_eq!(root.json(project), api(&server, "projects/shop/quotas"));
    assert_eq!(root.json(registry), api(&server, "registries/shop-images/quotas"));
    assert!(root.run(project).ok().starts_with("registries  1 of 100\n"));
    let shown = root.run(registry);
    assert!(shown.ok().contains("1 of 10000\n") && shown.out.contains("no limit"), "{shown:?}");

    // What is not said stays, and what is said is so.
    let set = root.json("quota change --registry shop-images --bytes 20GiB");
    assert_eq!((&set["repositories"]["limit"], &set["bytes"]["limit"]), (&json!(10_000), &json!(20_u64 << 30)));
    let set = root.json("quota change --registry shop-images --images 7");
    assert_eq!((&set["repositories"]["limit"], &set["bytes"]["limit"]), (&json!(7), &json!(20_u64 << 30)));
    let said = root.run("quota change --registry shop-images --images 8 --bytes none");
    assert!(said.ok().contains("shop-images has 1 of 8 images") && said.out.contains("no limit"), "{said:?}");
    assert_eq!(root.json(registry)["bytes"]["limit"], Value::Null);
    let set = root.json("quota change --project shop --registries 1 --bytes 500GB");
    assert_eq!((&set["registries"]["limit"], &set["bytes"]["limit"]), (&json!(1), &json!(500_000_000_000_u64)));
    assert!(root.fails("registry create shop-more --project shop", 6).contains("quota"));

    assert!(root.fails("quota change --project shop", 2).contains("nothing was said"));
    for wrong in [
        "show",
        "show --project shop --registry shop-images",
        "change --project shop --images 1",
        "change --registry shop-images --registries 1",
        "change --project shop --bytes much",
        "change --project shop --registries -1",
    ] {
        assert_eq!(root.run(&format!("quota {wrong}")).code, 2, "{wrong}");
    }
    root.fails("quota change --project shop --bytes 9999PB", 1);
    root.fails("quota show --project none", 5);
    root.fails("quota change --registry none --images 1", 5);
    let ada = stranger(&server, &root);
    ada.fails(project, 5);
    root.run("member create ada --role manager --project shop").ok();
    assert_eq!(ada.json(project), root.json(project));
    ada.fails("quota change --project shop --registries 9", 4);
    assert_eq!(root.json(project)["registries"]["limit"], 1);
}

fn client_shows_and_tries_buckets(storage: &Storage) {
    let path = directory("archive").join("bucket");
    let setup = storage.setup().set("ROADSTEAD_BUCKETS_ARCHIVE_KIND", "directory");
    let server = Server::start(setup.set("ROADSTEAD_BUCKETS_ARCHIVE_PATH", &path.display().to_string()));
    let root = Person::administrator(&server);
    root.run("registry create far --bucket archive").ok();
    assert_eq!(root.json("bucket list"), api(&server, "buckets")["items"]);
    assert_eq!(root.json("bucket list --limit 1").as_array().unwrap().len(), 1);
    let table = root.run("bucket list");
    assert!(table.ok().starts_with("NAME ") && table.out.lines().count() == 3, "{table:?}");
    assert_eq!(root.json("bucket show archive"), api(&server, "buckets/archive"));
    assert!(root.run("bucket show archive").ok().contains("directory"));
    root.fails("bucket show none", 5);

    assert_eq!(root.json("bucket check archive"), json!({"works": true}));
    assert!(root.run("bucket check default").ok().contains("all that is needed"));
    root.fails("bucket check none", 5);
    // One that does not work any more is told to scripts too, and programs get what the API says.
    fs::rename(&path, path.with_extension("away")).unwrap();
    fs::write(&path, "").unwrap();
    assert!(root.fails("bucket check archive", 1).contains("archive does not do what is needed"));
    let trouble = api(&server, "buckets/archive")["trouble"].as_str().unwrap().to_owned();
    assert!(root.run("bucket show archive").ok().contains(&trouble));
    assert!(root.run("registry show far").ok().contains("bucket trouble"));
    let ran = root.run("bucket check archive -o json");
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    assert!(ran.code == 1 && found["works"] == false && ran.err.contains("archive"), "{ran:?}");

    let ada = stranger(&server, &root);
    for line in ["bucket list", "bucket show default", "bucket check default"] {
        ada.fails(line, 4);
    }
}
