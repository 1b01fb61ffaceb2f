//! Artifacts and tags through the management API.

use roadstead_testkit::{
    Client,
    content::{self, Image, Manifest, types},
};
use serde_json::{Value, json};

use crate::{
    api_repositories::all,
    management::{person, request, role, send},
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    api_artifacts_say_what_is_known_of_them,
    api_configs_of_any_kind_are_no_fault,
    api_artifacts_are_deleted_with_what_they_hold,
    api_tags_are_made_moved_and_deleted,
    api_tags_obey_rights_and_mutability,
);

const APP: &str = "/registries/conf/repositories/team%2Fapp";

fn path(rest: &str) -> String {
    format!("/api/v1{APP}{rest}")
}

/// An image of one layer with this config.
fn with_config(config: &[u8], media_type: &str) -> Image {
    let layer = content::random_bytes(100);
    let manifest = Manifest::new(&json!({
        "schemaVersion": 2, "mediaType": types::MANIFEST,
        "config": content::descriptor(media_type, config), "layers": [content::descriptor(types::LAYER, &layer)],
    }));
    Image { manifest, blobs: vec![config.to_vec(), layer] }
}

fn details(client: &Client, digest: &str) -> Value {
    client.get(&path(&format!("/artifacts/{digest}"))).expect(200).json()
}

fn api_artifacts_say_what_is_known_of_them(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let config = json!({"os": "linux", "architecture": "amd64", "created": "2026-01-02T03:04:05Z",
        "config": {"Env": ["PATH=/bin"], "Entrypoint": ["/app"], "Labels": {"a": "b"}},
        "history": [{"created_by": "COPY app /app"}, {"created_by": "ENTRYPOINT", "empty_layer": true}]});
    let amd = with_config(config.to_string().as_bytes(), types::CONFIG);
    let arm = content::image(2);
    let [amd_digest, arm_digest] =
        [&amd, &arm].map(|image| root.push_image("conf/team/app", &image.manifest.digest(), image));
    let index = content::index(&[&amd.manifest, &arm.manifest]);
    root.push_manifest("conf/team/app", "v1", &index);
    root.push_manifest("conf/team/app", "latest", &index);
    let sbom = content::artifact("application/spdx+json");
    let about = sbom.manifest.about(&index);
    root.push_image("conf/team/app", &about.digest(), &Image { manifest: about.clone(), ..sbom });

    let listed = root.get(&path("/artifacts")).expect(200).json();
    let digests: Vec<&str> =
        listed["items"].as_array().unwrap().iter().map(|it| it["digest"].as_str().unwrap()).collect();
    assert_eq!(digests, [&about.digest(), &index.digest(), &arm_digest, &amd_digest], "the newest first");
    let whole = &listed["items"][1];
    assert_eq!((&whole["kind"], &whole["tags"]), (&json!("index"), &json!(["latest", "v1"])));
    assert_eq!(whole["platforms"], json!(["linux/amd64", "linux/arm64"]));
    let size = |image: &Image| image.manifest.bytes.len() + image.blobs.iter().map(Vec::len).sum::<usize>();
    assert_eq!(whole["size"], json!(index.bytes.len() + size(&amd) + size(&arm)), "with its children");
    assert_eq!(listed["items"][0]["subject"], json!(index.digest()));
    for (filter, expected) in [
        ("kind=index".to_owned(), vec![index.digest()]),
        ("tagged=false&kind=image".to_owned(), vec![arm_digest.clone(), amd_digest.clone()]),
        (format!("search={}", &amd_digest[7..17]), vec![amd_digest.clone()]),
        (format!("search={}", &amd_digest[..17]), vec![amd_digest.clone()]),
        ("limit=1".to_owned(), digests.iter().map(|it| (*it).to_owned()).collect()),
    ] {
        assert_eq!(all(&root, &path(&format!("/artifacts?{filter}")), "digest"), expected, "{filter}");
    }

    let children = &details(&root, &index.digest())["children"];
    assert_eq!(
        children[0],
        json!({"digest": amd_digest, "media_type": types::MANIFEST, "platform": "linux/amd64",
        "size": size(&amd), "here": true})
    );
    let shown = details(&root, &amd_digest);
    assert_eq!(
        shown["layers"],
        json!([{"digest": content::digest(&amd.blobs[1]), "media_type": types::LAYER, "size": 100}])
    );
    assert_eq!((&shown["config"]["platform"], &shown["config"]["env"]), (&json!("linux/amd64"), &json!(["PATH=/bin"])));
    assert_eq!((&shown["config"]["entrypoint"], &shown["config"]["labels"]), (&json!(["/app"]), &json!({"a": "b"})));
    assert_eq!(
        shown["history"],
        json!([{"created_by": "COPY app /app", "empty_layer": false},
        {"created_by": "ENTRYPOINT", "empty_layer": true}])
    );
    let referrers = root.get(&path(&format!("/artifacts/{}/referrers", index.digest()))).expect(200).json();
    assert_eq!(referrers["items"][0]["digest"], about.digest());
    assert_eq!(referrers["items"][0]["artifact_type"], "application/spdx+json");
    assert_eq!(referrers["items"].as_array().unwrap().len(), 1);
    root.get(&path(&format!("/artifacts/{}", content::digest(b"absent")))).expect(404);
}

fn api_configs_of_any_kind_are_no_fault(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let large = [b"\"".to_vec(), vec![b'x'; 1 << 20], b"\"".to_vec()].concat();
    let chart = json!({"name": "shop", "version": "1.0.0"}).to_string();
    let helm = "application/vnd.cncf.helm.config.v1+json";
    for (config, media_type, unread) in [
        (&b"not JSON"[..], types::CONFIG, "not JSON"),
        (b"[1]", types::CONFIG, "not an object"),
        (b"\xff\xfe", helm, "not JSON"),
        (&large, types::CONFIG, "too large"),
        (chart.as_bytes(), helm, ""),
    ] {
        let image = with_config(config, media_type);
        let shown = details(&root, &root.push_image("conf/team/app", "v1", &image));
        let said = shown["config"]["unread"].as_str().unwrap_or_default();
        assert!(said.contains(unread) && said.is_empty() == unread.is_empty(), "{shown}");
        assert_eq!(shown["config"]["size"], config.len());
    }
    assert_eq!(root.get(&path("/tags/v1")).expect(200).json()["kind"], "chart");
    let chart = root.get(&path("/artifacts?kind=chart")).expect(200).json();
    let shown = details(&root, chart["items"][0]["digest"].as_str().unwrap());
    assert_eq!(shown["config"]["content"]["name"], "shop");
}

fn api_artifacts_are_deleted_with_what_they_hold(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let child = content::image(1);
    let digest = root.push_image("conf/team/app", &child.manifest.digest(), &child);
    let index = content::index(&[&child.manifest]);
    root.push_manifest("conf/team/app", "v1", &index);
    send(&root, "DELETE", &format!("{APP}/artifacts/{}", index.digest()), &Value::Null).expect(204);
    for reference in ["v1", &index.digest(), &digest] {
        root.get(&format!("/v2/conf/team/app/manifests/{reference}")).expect(404);
    }
    assert_eq!(all(&root, &path("/artifacts"), "digest"), [""; 0]);
    send(&root, "DELETE", &format!("{APP}/artifacts/{digest}"), &Value::Null).expect(404);
    let log = root.get("/api/v1/audit?what=artifact.delete").expect(200).json();
    assert_eq!(log["items"][0]["object"], format!("conf/team/app@{}", index.digest()));
    assert_eq!(
        (&log["items"][0]["who"], &log["items"][0]["before"]["tags"]),
        (&json!("administrator"), &json!(["v1"]))
    );
}

fn api_tags_are_made_moved_and_deleted(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let [first, second] = [1, 2].map(|layers| root.push_image("conf/team/app", "v1", &content::image(layers)));
    let put = |tag: &str, digest: &str| send(&root, "PUT", &format!("{APP}/tags/{tag}"), &json!({"digest": digest}));
    let made = put("stable", &first).expect(201).json();
    assert_eq!((&made["digest"], &made["changed_by"]), (&json!(first), &json!("administrator")));
    put("stable", &first).expect(200);
    put("stable", &second).expect(200);
    put("stable", &content::digest(b"absent")).expect(404);
    let only_new =
        request("PUT", &format!("{APP}/tags/stable"), &json!({"digest": first})).header("If-None-Match", "*");
    let problem = root.send(only_new).expect(412).json();
    assert!(problem["detail"].as_str().unwrap().contains("there is a tag of this name already"), "{problem}");
    root.get("/v2/conf/team/app/manifests/stable").expect(200).expect_header("Docker-Content-Digest", &second);
    for (list, expected) in [
        ("/tags", ["stable", "v1"]),
        ("/tags?sort=-name&limit=1", ["v1", "stable"]),
        ("/tags?sort=changed&limit=1", ["v1", "stable"]),
        ("/tags?sort=-changed&limit=1", ["stable", "v1"]),
    ] {
        assert_eq!(all(&root, &path(list), "name"), expected, "{list}");
    }
    assert_eq!(all(&root, &path("/tags?search=TAB"), "name"), ["stable"]);
    send(&root, "DELETE", &format!("{APP}/tags/stable"), &Value::Null).expect(204);
    send(&root, "DELETE", &format!("{APP}/tags/stable"), &Value::Null).expect(404);
    root.get(&path("/tags/stable")).expect(404);
    root.get(&format!("/v2/conf/team/app/manifests/{second}")).expect(200);
    let history = root.get(&path("/tags/stable/history")).expect(200).json();
    let led: Vec<_> =
        { history["items"].as_array().unwrap().iter() }.map(|it| (&it["why"], &it["from"], &it["to"])).collect();
    let (none, create) = (Value::Null, json!("create"));
    let [first, second] = [json!(first), json!(second)];
    assert_eq!(led, [(&json!("delete"), &second, &none), (&create, &first, &second), (&create, &none, &first)]);
    assert_eq!(all(&root, &path("/tags/stable/history?limit=1"), "why"), ["delete", "create", "create"]);
    assert_eq!(root.get(&path("/tags/v1/history?limit=1")).json()["items"][0]["why"], "push");
    let log = root.get("/api/v1/audit?object=conf/team/app:stable").expect(200).json();
    let whats: Vec<&str> = log["items"].as_array().unwrap().iter().map(|it| it["what"].as_str().unwrap()).collect();
    assert_eq!(whats, ["tag.delete", "tag.set", "tag.set"]);
    assert_eq!((&log["items"][1]["before"]["digest"], &log["items"][1]["after"]["digest"]), (&first, &second));
}

fn api_tags_obey_rights_and_mutability(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let [first, second] = [1, 2].map(|layers| root.push_image("conf/team/app", "v1", &content::image(layers)));
    let (viewer, uploader) = (person(&root, "viewer"), person(&root, "uploader"));
    role(&root, "registries/conf", "viewer", "viewer");
    role(&root, "registries/conf", "uploader", "uploader");
    let put = |client: &Client, tag: &str, digest: &str| {
        send(client, "PUT", &format!("{APP}/tags/{tag}"), &json!({"digest": digest})).status
    };
    assert_eq!((put(&viewer, "v2", &first), put(&uploader, "v2", &first)), (403, 201));
    send(&uploader, "DELETE", &format!("{APP}/tags/v2"), &Value::Null).expect(403);
    send(&uploader, "PATCH", APP, &json!({"mutable_tags": false})).expect(403);
    send(&root, "PATCH", APP, &json!({"mutable_tags": false})).expect(200);
    assert_eq!((put(&root, "v2", &second), put(&root, "v2", &first), put(&root, "v3", &second)), (409, 200, 201));
    // The tags that carry signatures move all the same.
    let signature = format!("sha256-{}.sig", &first[7..]);
    assert_eq!((put(&root, &signature, &first), put(&root, &signature, &second)), (201, 200));
}
