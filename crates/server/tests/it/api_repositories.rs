//! Repositories and usage through the management API.

use std::time::{Duration, Instant};

use roadstead_testkit::{Client, content};
use serde_json::{Value, json};

use crate::{
    management::{person, request, role, send},
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    api_repositories_are_listed_in_every_order,
    api_repositories_are_described_and_deleted,
    api_usage_is_exact,
    api_pulls_are_counted,
    api_pulls_are_shown_by_day,
    api_repositories_take_no_nonsense,
);

const REPOSITORIES: &str = "/api/v1/registries/conf/repositories";

/// The names on all pages of a list.
#[track_caller]
pub(crate) fn all(client: &Client, list: &str, member: &str) -> Vec<String> {
    let (mut names, mut next) = (Vec::new(), Some(list.to_owned()));
    while let Some(page) = next {
        let answer = client.get(&page);
        let json = answer.expect(200).json();
        names.extend(json["items"].as_array().unwrap().iter().map(|it| it[member].as_str().unwrap().to_owned()));
        next = answer.next_page();
        assert_eq!(json.get("next").is_some(), next.is_some());
    }
    names
}

/// Asks until the answer is as it has to become: what is folded or counted in the background.
#[track_caller]
fn until<T: PartialEq + std::fmt::Debug>(expected: &T, ask: impl Fn() -> T) {
    let end = Instant::now() + Duration::from_secs(60);
    loop {
        let seen = ask();
        if seen == *expected {
            return;
        }
        assert!(Instant::now() < end, "{seen:?} instead of {expected:?}");
        std::thread::sleep(Duration::from_millis(100));
    }
}

fn api_repositories_are_listed_in_every_order(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    assert_eq!(all(&root, REPOSITORIES, "name"), [""; 0]);
    for (name, layers) in [("team/b", 3), ("a", 1), ("team/a", 2)] {
        root.push_image(&format!("conf/{name}"), "v1", &content::image(layers));
    }
    root.get("/v2/conf/a/manifests/v1").expect(200);
    for (sort, expected) in [
        ("name", ["a", "team/a", "team/b"]),
        ("-name", ["team/b", "team/a", "a"]),
        ("changed", ["team/b", "a", "team/a"]),
        ("-changed", ["team/a", "a", "team/b"]),
        ("size", ["a", "team/a", "team/b"]),
        ("-size", ["team/b", "team/a", "a"]),
        ("-pulls", ["a", "team/b", "team/a"]),
    ] {
        let list = format!("{REPOSITORIES}?limit=1&sort={sort}");
        until(&expected.map(str::to_owned).to_vec(), || all(&root, &list, "name"));
    }
    assert_eq!(all(&root, &format!("{REPOSITORIES}?search=TEAM&limit=1"), "name"), ["team/a", "team/b"]);
    assert_eq!(all(&root, &format!("{REPOSITORIES}?search=m/b"), "name"), ["team/b"]);
    let viewer = person(&root, "viewer");
    viewer.get(REPOSITORIES).expect(404);
    role(&root, "registries/conf", "viewer", "viewer");
    assert_eq!(all(&viewer, REPOSITORIES, "name").len(), 3);
}

fn api_repositories_are_described_and_deleted(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    root.push_image("conf/team/app", "v1", &content::image(1));
    let path = "/registries/conf/repositories/team%2Fapp";
    let shown = root.get(&format!("/api/v1{path}"));
    assert_eq!(shown.expect(200).json()["mutable_tags"], true);
    let tag = shown.header("ETag").to_owned();
    let change = |body: Value| root.send(request("PATCH", path, &body).header("If-Match", &tag));
    let words = json!({"description": "The app", "full_description": "# App\n\nIt *works*.", "mutable_tags": false});
    let changed = change(words).expect(200).json();
    assert_eq!(
        (&changed["description"], &changed["full_description"]),
        (&json!("The app"), &json!("# App\n\nIt *works*."))
    );
    assert_eq!(change(json!({"description": "x"})).expect(412).json()["code"], "stale");
    for wrong in [
        json!({"description": "x".repeat(101)}),
        json!({"description": "two\nlines"}),
        json!({"full_description": "x".repeat(25_001)}),
        json!({"full_description": "\u{0}"}),
        json!({"immutable": true}),
    ] {
        send(&root, "PATCH", path, &wrong).expect(400);
    }
    send(&root, "PATCH", path, &json!({"description": "ü".repeat(100)})).expect(200);
    // It holds for the next push.
    let other = content::image(1);
    for blob in &other.blobs {
        root.push_blob("conf/team/app", blob);
    }
    root.put_manifest("conf/team/app", "v1", &other.manifest).expect_error(403, "DENIED");
    root.put_manifest("conf/team/app", "v2", &other.manifest).expect(201);
    send(&root, "DELETE", path, &Value::Null).expect(204);
    root.get(&format!("/api/v1{path}")).expect(404);
    root.get("/v2/conf/team/app/manifests/v2").expect(404);
    assert_eq!(all(&root, REPOSITORIES, "name"), [""; 0]);
    let log = root.get("/api/v1/audit?object=conf/team/app").expect(200).json();
    let whats: Vec<&str> = log["items"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["repository.delete", "repository.change", "repository.change"]);
    assert_eq!(log["items"][2]["before"]["mutable_tags"], true);
}

fn api_usage_is_exact(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/shop", &json!({})).expect(201);
    for name in ["shop-one", "shop-two"] {
        send(&root, "PUT", &format!("/registries/{name}"), &json!({"project": "shop"})).expect(201);
    }
    let layer = content::random_bytes(5000);
    let [first, second] = [(); 2].map(|()| content::image_of(std::slice::from_ref(&layer)));
    root.push_image("shop-one/app", "v1", &first);
    root.push_image("shop-one/app", "v2", &second);
    root.push_image("shop-two/app", "v1", &first);
    let size = |image: &content::Image| image.blobs[0].len() + image.manifest.bytes.len();
    let (one, two) = (first.blobs[0].len() + second.blobs[0].len() + 5000, first.blobs[0].len() + 5000);
    let images = size(&first) + size(&second) + 10_000;
    let usage = |repositories, artifacts, tags, bytes, image_bytes| json!({"repositories": repositories, "artifacts": artifacts, "tags": tags, "bytes": bytes, "image_bytes": image_bytes});
    assert_eq!(root.get("/api/v1/registries/shop-one").json()["usage"], usage(1, 2, 2, one, images));
    let mut whole = usage(2, 3, 3, one + two, images + size(&first) + 5000);
    whole["registries"] = json!(2);
    assert_eq!(root.get("/api/v1/projects/shop/usage").expect(200).json(), whole);
    let app = root.get("/api/v1/registries/shop-one/repositories/app").expect(200).json();
    assert_eq!((&app["size"], &app["image_size"]), (&json!(one), &json!(images)));
    assert_eq!((&app["tags"], &app["artifacts"]), (&json!(2), &json!(2)));
    // What lies in the trash counts until it is gone.
    root.delete(&format!("/v2/shop-one/app/manifests/{}", second.manifest.digest())).expect(202);
    assert_eq!(root.get("/api/v1/registries/shop-one").json()["usage"], usage(1, 2, 1, one, images));
    let app = root.get("/api/v1/registries/shop-one/repositories/app").expect(200).json();
    assert_eq!((&app["tags"], &app["artifacts"]), (&json!(1), &json!(1)));
    send(&root, "DELETE", "/registries/shop-one/trash", &Value::Null).expect(204);
    until(&json!(size(&first) + 5000), || {
        root.get("/api/v1/registries/shop-one").json()["usage"]["image_bytes"].clone()
    });
}

fn api_pulls_are_counted(storage: &Storage) {
    let mut server = storage.start();
    let root = server.client();
    let image = content::image(1);
    let digest = root.push_image("conf/app", "v1", &image);
    let index = content::index(&[&image.manifest]);
    root.push_manifest("conf/app", "multi", &index);
    // As a client pulls an index: what is asked with HEAD is no pull.
    root.head("/v2/conf/app/manifests/multi").expect(200);
    root.get("/v2/conf/app/manifests/multi").expect(200);
    root.get(&format!("/v2/conf/app/manifests/{digest}")).expect(200);
    root.get("/v2/conf/app/manifests/absent").expect(404);
    let path = format!("{REPOSITORIES}/app");
    until(&json!(2), || root.get(&path).json()["pulls"].clone());
    let artifact = root.get(&format!("{path}/artifacts/{digest}")).expect(200).json();
    assert_eq!(artifact["pulls"], 1);
    assert!(artifact["pulled"].is_string(), "{artifact}");
    // The last seconds before an ordered end are written.
    root.get("/v2/conf/app/manifests/v1").expect(200);
    assert_eq!(server.stop(), 0);
    server.start_again();
    let root = server.client();
    assert_eq!(root.get(&path).expect(200).json()["pulls"], 3);
}

/// Days, their order and their bounds are tried in the core, which can be of another day.
fn api_pulls_are_shown_by_day(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let digest = root.push_image("conf/team/app", "v1", &content::image(1));
    root.push_image("conf/team/other", "v1", &content::image(1));
    for path in ["team/app/manifests/v1", &format!("team/app/manifests/{digest}"), "team/other/manifests/v1"] {
        root.get(&format!("/v2/conf/{path}")).expect(200);
    }
    let path = format!("{REPOSITORIES}/team%2Fapp/pulls");
    let days = |client: &Client, query: &str| {
        client.get(&format!("{path}{query}")).expect(200).json()["days"].as_array().unwrap().clone()
    };
    let pulls = |days: &[Value]| days.iter().map(|day| day["pulls"].as_i64().unwrap()).sum::<i64>();
    until(&2, || pulls(&days(&root, "")));
    let shown = days(&root, "");
    assert_eq!((shown.len(), pulls(&shown[..28])), (30, 0));
    let today = shown[29]["day"].as_str().unwrap();
    let before = shown[0]["day"].as_str().unwrap();
    assert!(today.len() == 10 && before < today, "{shown:?}");
    assert_eq!(days(&root, &format!("?from={before}&to={today}")), shown);
    assert_eq!(days(&root, &format!("?from={before}&to={before}")), shown[..1]);
    // Nothing is known of days that are not yet, nor of those long ago.
    assert_eq!(days(&root, "?from=2999-01-01&to=2999-02-01"), [Value::Null; 0]);
    assert_eq!(days(&root, "?to=1999-01-01"), [Value::Null; 0]);

    for (wrong, field) in [
        ("?from=2026-11-31", "from"),
        ("?from=yesterday", "from"),
        ("?to=2026-11-28T00:00:00Z", "to"),
        ("?to=", "to"),
        ("?from=2026-11-02&to=2026-11-01", "from"),
        ("?from=2025-01-01&to=2026-01-02", "from"),
        ("?from=-9999-01-01&to=9999-12-31", "from"),
        ("?from=2999-01-01", "from"),
        ("?limit=1", "limit"),
    ] {
        let problem = root.get(&format!("{path}{wrong}")).expect(400).json();
        assert_eq!(problem["errors"][0]["field"], field, "{wrong}: {problem}");
    }
    root.get(&format!("{path}?from=2025-01-01&to=2026-01-01")).expect(200);
    root.get(&format!("{REPOSITORIES}/absent/pulls")).expect(404);
    let viewer = person(&root, "viewer");
    viewer.get(&path).expect(404);
    role(&root, "registries/conf", "viewer", "viewer");
    assert_eq!(pulls(&days(&viewer, "")), 2);
}

fn api_repositories_take_no_nonsense(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    root.push_image("conf/app", "v1", &content::image(1));
    for wrong in ["sort=age", "search=%00", "after=!", "limit=0", "sort=pulls&after=bmFtZTowOmE", "x=1"] {
        root.get(&format!("{REPOSITORIES}?{wrong}")).expect(400);
    }
    for path in ["App", "a%2F%2Fb", "%00", "absent", "app%2F"] {
        root.get(&format!("{REPOSITORIES}/{path}")).expect_one_of(&[400, 404]);
    }
    for (list, wrong) in [
        ("artifacts", "search=x"),
        ("artifacts", "kind=thing"),
        ("artifacts", "tagged=maybe"),
        ("artifacts", "after=cHVzaGVkOjE6eA"),
        ("tags", "sort=size"),
        ("tags", "search=%00"),
        ("tags/v1/history", "after=eA"),
    ] {
        root.get(&format!("{REPOSITORIES}/app/{list}?{wrong}")).expect(400);
    }
    for path in ["artifacts/x", "artifacts/sha256:0", "tags/-", "tags/%00"] {
        root.get(&format!("{REPOSITORIES}/app/{path}")).expect(400);
    }
    send(&root, "PUT", "/registries/conf/repositories/app/tags/v2", &json!({"digest": "x"})).expect(400);
    send(&root, "POST", "/registries/conf/trash/x/restore", &json!({})).expect(404);
    send(&root, "POST", "/registries/conf/trash/1/restore", &json!({"tags": "both"})).expect(400);
}
