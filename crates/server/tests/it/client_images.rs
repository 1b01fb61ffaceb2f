//! The command line about images, artifacts, tags and the trash, about the trusts of robots and identities of people, and exports.

use roadstead_testkit::{Server, content, until};
use serde_json::{Value, json};

use crate::{
    client::Person,
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    client_shows_images,
    client_shows_pulls_by_day,
    client_moves_tags,
    client_deletes_and_restores,
    client_makes_trusts,
    client_links_identities,
    client_exports_the_audit_log,
);

fn items(server: &Server, path: &str) -> Value {
    server.client().get(&format!("/api/v1/registries/conf{path}")).expect(200).json()["items"].clone()
}

/// JSON is what the API says; an image is named as it is pulled.
fn client_shows_images(storage: &Storage) {
    let server = storage.start();
    let (api, root) = (server.client(), Person::administrator(&server));
    api.push_image("conf/web/app", "v1", &content::image(1));
    api.push_image("conf/web/app", "v2", &content::image(2));
    api.push_image("conf/api", "v1", &content::image(1));
    for (line, path) in [
        ("image list conf", "/repositories"),
        ("image list conf --sort -name", "/repositories?sort=-name"),
        ("image list conf --search web", "/repositories?search=web"),
        ("artifact list conf/web/app", "/repositories/web%2Fapp/artifacts"),
        ("artifact list conf/web/app --tagged false", "/repositories/web%2Fapp/artifacts?tagged=false"),
        ("tag list conf/web/app --sort -name", "/repositories/web%2Fapp/tags?sort=-name"),
        ("tag history conf/web/app:v1", "/repositories/web%2Fapp/tags/v1/history"),
        ("artifact referrers conf/api:v1", &referrers(&server)),
    ] {
        assert_eq!(root.json(line), items(&server, path), "{line}");
        root.run(line).ok();
    }
    let names = root.json("image list conf --page-size 1");
    assert_eq!(names.as_array().unwrap().len(), 2, "{names}");
    let digest = root.json("tag show conf/web/app:v1")["digest"].as_str().unwrap().to_owned();
    let shown = root.json(&format!("artifact show {}/conf/web/app:v1", server.address()));
    assert_eq!(shown["digest"], digest.as_str());
    assert_eq!(root.json(&format!("artifact show conf/web/app@{digest}")), shown);
    assert!(root.run("artifact show conf/web/app:v1").ok().contains(&digest));
    let changed = root.json("image change conf/web/app --description Shop --mutable-tags false");
    assert_eq!((&changed["description"], &changed["mutable_tags"]), (&json!("Shop"), &json!(false)));
    assert!(root.run("image show conf/web/app").ok().contains("Shop"));
    root.fails("image show conf/none", 5);
    root.fails("tag show conf/web/app:none", 5);
    root.fails("artifact show conf/web/app:none", 5);
    assert_eq!(root.json("project usage default")["repositories"], 2);
    root.run("project usage default").ok();
}

fn client_shows_pulls_by_day(storage: &Storage) {
    let server = storage.start();
    let (api, root) = (server.client(), Person::administrator(&server));
    api.push_image("conf/web/app", "v1", &content::image(1));
    api.get("/v2/conf/web/app/manifests/v1").expect(200);
    let days = until("the pull is written", || {
        let days = root.json("image pulls conf/web/app");
        (days[29]["pulls"] == 1 || days[28]["pulls"] == 1).then_some(days)
    });
    let first = days[0]["day"].as_str().unwrap();
    let answer = api.get(&format!("/api/v1/registries/conf/repositories/web%2Fapp/pulls?from={first}"));
    let listed = root.json(&format!("image pulls conf/web/app --from {first}"));
    assert_eq!(listed, answer.json()["days"]);
    assert_eq!(root.json(&format!("image pulls conf/web/app --from {first} --to {first}")), json!([days[0]]));
    let table = root.run("image pulls conf/web/app");
    assert!(table.ok().starts_with("DAY         PULLS\n") && table.out.contains(first), "{table:?}");
    assert!(root.run("image pulls conf/web/app --from 1999-01-01 --to 1999-01-02").ok().contains("Nothing is known"));
    assert!(root.fails("image pulls conf/web/app --from yesterday", 1).contains("from"));
    root.fails("image pulls conf/none", 5);
    root.fails("image pulls conf/web/app:v1", 2);
}

fn referrers(server: &Server) -> String {
    let tag = server.client().get("/api/v1/registries/conf/repositories/api/tags/v1").expect(200).json();
    format!("/repositories/api/artifacts/{}/referrers", tag["digest"].as_str().unwrap())
}

fn client_moves_tags(storage: &Storage) {
    let server = storage.start();
    let (api, root) = (server.client(), Person::administrator(&server));
    api.push_image("conf/web/app", "v1", &content::image(1));
    api.push_image("conf/web/app", "v2", &content::image(2));
    let digest = |tag: &str| root.json(&format!("tag show conf/web/app:{tag}"))["digest"].as_str().unwrap().to_owned();
    root.run("tag create conf/web/app:stable --from v1").ok();
    assert_eq!(digest("stable"), digest("v1"));
    root.fails("tag create conf/web/app:stable --from v2 --only-new", 6);
    root.run(&format!("tag change conf/web/app:stable --from {}", digest("v2"))).ok();
    assert_eq!(digest("stable"), digest("v2"));
    root.fails("tag create conf/web/app:stable --from none", 5);
    let history = root.json("tag history conf/web/app:stable");
    assert_eq!((&history[0]["to"], &history[0]["from"]), (&json!(digest("v2")), &json!(digest("v1"))));
    root.run("image change conf/web/app --mutable-tags false").ok();
    root.fails("tag create conf/web/app:stable --from v1", 6);
}

fn client_deletes_and_restores(storage: &Storage) {
    let server = storage.start();
    let (api, root) = (server.client(), Person::administrator(&server));
    for tag in ["v1", "v2"] {
        api.push_image("conf/web/app", tag, &content::image(1));
    }
    for line in ["image delete conf/web/app", "tag delete conf/web/app:v1", "trash empty conf"] {
        root.fails(line, 2);
    }
    root.fails("artifact delete conf/web/app:v1 --yes", 2);
    root.run("tag delete conf/web/app:v1 conf/web/app:v2 --yes").ok();
    assert_eq!(root.json("tag list conf/web/app"), json!([]));
    let trash = root.json("trash list conf");
    assert_eq!(trash, items(&server, "/trash"));
    let entry = trash[0]["id"].as_str().unwrap();
    assert!(root.run("trash list conf").ok().contains(entry));
    root.run(&format!("trash restore conf {entry}")).ok();
    root.fails(&format!("trash restore conf {entry}"), 5);
    assert_eq!(root.json("tag list conf/web/app").as_array().unwrap().len(), 1);
    root.run("image delete conf/web/app --confirm conf/web/app").ok();
    root.fails("image show conf/web/app", 5);
    root.run("trash empty conf --yes").ok();
    assert_eq!(root.json("trash list conf"), json!([]));
    root.run("registry delete conf --yes").ok();
    assert_eq!(root.json("registry restore conf").get("trashed_until"), None);
    root.fails("registry restore conf", 5);
}

fn client_makes_trusts(storage: &Storage) {
    let mut server = storage.start();
    server.stop();
    server.start_with(server.setup().clone().set("ROADSTEAD_CI_ISSUERS", "https://issuer.example.com"));
    let root = Person::administrator(&server);
    root.run("robot create default/ci").ok();
    let line = "robot trust create default/ci --issuer https://issuer.example.com --audience https://registry.example.com \
        --claim repository=acme/app --claim ref=refs/heads/* --allow pull,push:conf/web/** --days 3";
    let made = root.json(line);
    assert_eq!(made["claims"], json!({"repository": "acme/app", "ref": "refs/heads/*"}));
    assert_eq!(made["limits"], json!([{"registry": "conf", "repositories": "web/**", "actions": ["pull", "push"]}]));
    let listed = root.json("robot trust list default/ci");
    assert_eq!(listed[0]["id"], made["id"]);
    assert!(root.run("robot trust list default/ci").ok().contains("ref=refs/heads/* repository=acme/app"));
    let id = made["id"].as_str().unwrap();
    root.run(&format!("robot trust delete default/ci {id} --yes")).ok();
    root.fails(&format!("robot trust delete default/ci {id} --yes"), 5);
}

fn client_links_identities(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    root.run("person create ada").ok();
    root.fails("person identity show ada", 5);
    root.run("person identity create ada --subject 7 --issuer https://issuer.example.com").ok();
    assert_eq!(root.json("person identity show ada")["subject"], "7");
    root.run("person create bob").ok();
    root.fails("person identity create bob --subject 7 --issuer https://issuer.example.com", 6);
    root.run("person identity delete ada --yes").ok();
    root.fails("person identity show ada", 5);
}

fn client_exports_the_audit_log(storage: &Storage) {
    let server = storage.start();
    let root = Person::administrator(&server);
    root.run("project create shop").ok();
    root.run("robot create shop/ci").ok();
    let lines = |line: &str| -> Vec<Value> {
        root.run(line).ok().lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    assert_eq!(Value::from(lines("audit export --what project")), root.json("audit list --what project"));
    let of_project = lines("audit export --project shop");
    assert!(of_project.iter().any(|line| line["object"] == "shop/ci"), "{of_project:?}");
    assert_eq!(Value::from(of_project), root.json("audit list --project shop"));
    assert!(root.run("audit export --format csv --what robot").ok().starts_with("at,who,from,"));
    root.fails("audit export --project none", 5);
}
