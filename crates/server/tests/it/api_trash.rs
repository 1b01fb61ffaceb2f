//! The trash through the management API.

use roadstead_testkit::{Client, Response, content};
use serde_json::{Value, json};

use crate::{
    api_repositories::all,
    management::{person, role, send},
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    api_trash_gives_back_what_was_deleted,
    api_trash_asks_which_tag_stays,
    api_trash_of_a_repository_and_a_registry,
    api_trash_shows_a_registry_that_lies_in_it,
    api_trash_is_emptied_for_good,
);

const TRASH: &str = "/registries/conf/trash";

fn restore(client: &Client, entry: &Value, body: &Value) -> u16 {
    send(client, "POST", &format!("{TRASH}/{}/restore", entry["id"].as_str().unwrap()), body).status
}

/// The newest entry.
fn newest(client: &Client) -> Value {
    client.get(&format!("/api/v1{TRASH}")).expect(200).json()["items"][0].clone()
}

fn api_trash_gives_back_what_was_deleted(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let child = content::image(1);
    let digest = root.push_image("conf/team/app", &child.manifest.digest(), &child);
    let index = content::index(&[&child.manifest]);
    root.push_manifest("conf/team/app", "v1", &index);
    root.delete(&format!("/v2/conf/team/app/manifests/{}", index.digest())).expect(202);
    let entry = newest(&root);
    assert_eq!(
        (&entry["kind"], &entry["subject"]),
        (&json!("artifact"), &json!(format!("team/app@{}", index.digest())))
    );
    assert!(entry["at"].as_str() < entry["until"].as_str(), "{entry}");
    let (manager, uploader) = (person(&root, "manager"), person(&root, "uploader"));
    role(&root, "registries/conf", "manager", "manager");
    role(&root, "registries/conf", "uploader", "uploader");
    assert_eq!(newest(&uploader), entry);
    assert_eq!((restore(&uploader, &entry, &json!({})), restore(&manager, &entry, &json!({}))), (403, 204));
    for reference in ["v1", &digest] {
        root.get(&format!("/v2/conf/team/app/manifests/{reference}")).expect(200);
    }
    assert_eq!(restore(&root, &entry, &json!({})), 404, "it is back");
    root.delete("/v2/conf/team/app/manifests/v1").expect(202);
    let entry = newest(&root);
    assert_eq!((&entry["kind"], &entry["subject"]), (&json!("tag"), &json!("team/app:v1")));
    assert_eq!(restore(&root, &entry, &json!({})), 204);
    root.get("/v2/conf/team/app/manifests/v1").expect(200);
    let log = root.get("/api/v1/audit?what=tag.restore").expect(200).json();
    assert_eq!(log["items"][0]["object"], "conf/team/app:v1");
    assert_eq!(root.get("/api/v1/audit?what=artifact.restore").json()["items"][0]["who"], "manager");
}

fn api_trash_asks_which_tag_stays(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let first = root.push_image("conf/app", "v1", &content::image(1));
    root.delete(&format!("/v2/conf/app/manifests/{first}")).expect(202);
    let second = root.push_image("conf/app", "v1", &content::image(1));
    let entry = newest(&root);
    let asked = send(&root, "POST", &format!("{TRASH}/{}/restore", entry["id"].as_str().unwrap()), &json!({}));
    let problem = asked.expect(409).json();
    assert!(
        problem["detail"].as_str().is_some_and(|words| words.contains("v1") && words.contains("`replace`")),
        "{problem}"
    );
    root.get(&format!("/v2/conf/app/manifests/{first}")).expect(404);
    assert_eq!(restore(&root, &entry, &json!({"tags": "keep"})), 204);
    let leads = |digest: &str| {
        root.get("/v2/conf/app/manifests/v1").expect(200).expect_header("Docker-Content-Digest", digest);
    };
    leads(&second);
    // The old one by hand, and away again; the new one was pushed meanwhile.
    send(&root, "PUT", "/registries/conf/repositories/app/tags/v1", &json!({"digest": first})).expect(200);
    root.delete(&format!("/v2/conf/app/manifests/{first}")).expect(202);
    send(&root, "PUT", "/registries/conf/repositories/app/tags/v1", &json!({"digest": second})).expect(201);
    assert_eq!(restore(&root, &newest(&root), &json!({"tags": "replace"})), 204);
    leads(&first);
}

fn api_trash_of_a_repository_and_a_registry(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let old = root.push_image("conf/app", "old", &content::image(1));
    send(&root, "DELETE", "/registries/conf/repositories/app", &Value::Null).expect(204);
    let entry = newest(&root);
    assert_eq!((&entry["kind"], &entry["subject"]), (&json!("repository"), &json!("app")));
    // It lives again, and takes in what it was.
    let new = root.push_image("conf/app", "new", &content::image(1));
    assert_eq!(restore(&root, &entry, &json!({})), 204);
    for (tag, digest) in [("old", &old), ("new", &new)] {
        root.get(&format!("/v2/conf/app/manifests/{tag}")).expect(200).expect_header("Docker-Content-Digest", digest);
    }
    assert_eq!(all(&root, "/api/v1/registries/conf/repositories/app/tags", "name"), ["new", "old"]);

    send(&root, "DELETE", "/registries/conf", &Value::Null).expect(204);
    root.get("/v2/conf/app/manifests/old").expect(404);
    root.get("/api/v1/registries/conf/repositories").expect(404);
    let stranger = person(&root, "stranger");
    send(&stranger, "POST", "/registries/conf/restore", &Value::Null).expect(404);
    send(&root, "POST", "/registries/conf/restore", &Value::Null).expect(200);
    root.get("/v2/conf/app/manifests/old").expect(200);
    send(&root, "POST", "/registries/conf/restore", &Value::Null).expect(404);
}

fn api_trash_shows_a_registry_that_lies_in_it(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    root.push_image("conf/app", "v1", &content::image(1));
    let [viewer, stranger] = ["viewer", "stranger"].map(|name| person(&root, name));
    role(&root, "registries/conf", "viewer", "viewer");
    let (path, shown) = ("/api/v1/registries/conf", || root.get("/api/v1/registries/conf").expect(200).json());
    assert_eq!(shown().get("trashed_until"), None);
    send(&root, "DELETE", "/registries/conf", &Value::Null).expect(204);
    // As the list shows it, to whoever sees it there.
    let listed = root.get("/api/v1/registries").expect(200).json();
    assert_eq!(shown(), listed["items"][0]);
    assert!(shown()["trashed_until"].is_string());
    assert_eq!(viewer.get(path).expect(200).json(), shown());
    stranger.get(path).expect(404);
    // It is changed no more, and says why; so does what is in it.
    let says = |answer: Response| {
        let detail = answer.json()["detail"].as_str().unwrap().to_owned();
        assert!(detail.contains("lies in the trash"), "{detail}");
    };
    for (method, body) in [("PATCH", json!({"description": "x"})), ("PATCH", json!({})), ("DELETE", Value::Null)] {
        let answer = send(&root, method, "/registries/conf", &body);
        answer.expect(409);
        says(answer);
        send(&viewer, method, "/registries/conf", &body).expect(403);
        send(&stranger, method, "/registries/conf", &body).expect(404);
    }
    for (method, path, body) in [
        ("GET", "/repositories", Value::Null),
        ("GET", "/repositories/app/tags", Value::Null),
        ("PUT", "/members/stranger", json!({"role": "viewer"})),
        ("PUT", "/quotas", json!({"repositories": 1})),
    ] {
        let answer = send(&root, method, &format!("/registries/conf{path}"), &body);
        answer.expect(404);
        says(answer);
        let hidden = send(&stranger, method, &format!("/registries/conf{path}"), &body).expect(404).json();
        assert_eq!(hidden["detail"], "there is no such registry");
    }
    assert_eq!(shown()["description"], "");
    send(&root, "POST", "/registries/conf/restore", &Value::Null).expect(200);
    assert_eq!(shown().get("trashed_until"), None);
    send(&root, "PATCH", "/registries/conf", &json!({"description": "x"})).expect(200);
}

fn api_trash_is_emptied_for_good(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let [first, second] = ["v1", "v2"].map(|tag| root.push_image("conf/app", tag, &content::image(1)));
    for digest in [&first, &second] {
        root.delete(&format!("/v2/conf/app/manifests/{digest}")).expect(202);
    }
    let ids = all(&root, &format!("/api/v1{TRASH}?limit=1"), "id");
    assert_eq!(ids.len(), 2);
    send(&root, "DELETE", &format!("{TRASH}/{}", ids[0]), &Value::Null).expect(204);
    send(&root, "DELETE", &format!("{TRASH}/{}", ids[0]), &Value::Null).expect(404);
    assert_eq!(all(&root, &format!("/api/v1{TRASH}"), "id"), ids[1..]);
    send(&root, "DELETE", TRASH, &Value::Null).expect(204);
    assert_eq!(all(&root, &format!("/api/v1{TRASH}"), "id"), [""; 0]);
    for id in &ids {
        send(&root, "POST", &format!("{TRASH}/{id}/restore"), &json!({})).expect(404);
    }
    let log = root.get("/api/v1/audit?what=trash").expect(200).json();
    let whats: Vec<&str> = log["items"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["trash.empty", "trash.remove"]);
    // A registry that lies there itself goes with it, and its name is free again.
    send(&root, "DELETE", "/registries/conf", &Value::Null).expect(204);
    send(&root, "DELETE", TRASH, &Value::Null).expect(204);
    send(&root, "POST", "/registries/conf/restore", &Value::Null).expect(404);
}
