//! Quotas (product.md 4): what does not fit is refused as soon as that is known, and a registry is never over by more than the uploads
//! under way.

use roadstead_testkit::{
    Body, Client, Request, Response,
    content::{self, digest, random_bytes},
    http::with_parameter,
    until,
};
use serde_json::{Value, json};

use crate::{
    management::{person, role, send},
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    quotas_refuse_what_does_not_fit,
    quotas_have_the_last_word_at_the_end,
    quotas_of_a_project_hold_for_its_registries_together,
    quotas_of_registries_and_repositories,
);

fn quotas(client: &Client, place: &str, body: &Value) -> Response {
    send(client, "PUT", &format!("/{place}/quotas"), body)
}

/// Used and limit of the bytes of a place.
fn bytes(client: &Client, place: &str) -> (Value, Value) {
    let shown = client.get(&format!("/api/v1/{place}/quotas")).expect(200).json();
    (shown["bytes"]["used"].clone(), shown["bytes"]["limit"].clone())
}

fn begun(root: &Client, projects: &[&str]) {
    for project in projects {
        send(root, "PUT", &format!("/projects/{project}"), &json!({})).expect(201);
        send(root, "PUT", &format!("/registries/{project}-one"), &json!({"project": project})).expect(201);
    }
}

#[track_caller]
fn refused(answer: &Response) {
    answer.expect_error(413, "DENIED");
    let words = answer.json()["errors"][0]["message"].as_str().unwrap().to_owned();
    assert!(words.contains("quota of the") && words.contains("100000 bytes"), "{words}");
}

fn quotas_refuse_what_does_not_fit(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    begun(&root, &["alpha"]);
    let place = "registries/alpha-one";
    assert_eq!(bytes(&root, place), (json!(0), Value::Null));
    quotas(&root, place, &json!({"repositories": 10, "bytes": 100_000})).expect(200);
    root.push_blob("alpha-one/app", &random_bytes(60_000));
    assert_eq!(bytes(&root, place), (json!(60_000), json!(100_000)));

    let large = random_bytes(50_000);
    let named = digest(&large);
    // Nothing of it stays, whatever had come: the upload is over.
    let patch = |body: Body| {
        let location = root.begin("alpha-one/app");
        refused(
            &root.send(Request::new("PATCH", &location).header("Content-Type", "application/octet-stream").body(body)),
        );
        root.get(&location).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        root.patch(&location, Some(0), b"more").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    };
    let objects = server.objects().len();
    patch(Body::Length(large.clone()));
    // Of one that says no size it is known while it comes.
    patch(Body::streamed(&large));
    refused(&root.put(&with_parameter(&root.begin("alpha-one/app"), "digest", &named), &large));
    let whole = Request::new("POST", &format!("/v2/alpha-one/app/blobs/uploads/?digest={named}"));
    refused(&root.send(whole.body(Body::Length(large.clone()))));
    // What one request of an upload brought counts with the next ones.
    let location = root.begin("alpha-one/app");
    let next = root.patch(&location, Some(0), &large[..30_000]).expect(202).location_path();
    refused(&root.patch(&next, Some(30_000), &large[30_000..]));
    root.get(&next).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    until("what was refused is removed", || (server.objects().len() == objects).then_some(()));
    root.head(&format!("/v2/alpha-one/app/blobs/{named}")).expect(404);

    root.push_blob("alpha-one/app", &random_bytes(35_000));
    let [first, second] = [(); 2]
        .map(|()| root.patch(&root.begin("alpha-one/app"), Some(0), &large[..4_000]).expect(202).location_path());
    refused(&root.put(&with_parameter(&first, "digest", &named), &large[4_000..10_000]));
    root.get(&first).expect_error(404, "BLOB_UPLOAD_UNKNOWN");

    // Just as much as there is room for; then it is full for everybody, from the beginning on, and says what to know about the trash.
    root.push_blob("alpha-one/app", &random_bytes(5_000));
    refused(&root.patch(&second, Some(4_000), &large[4_000..5_000]));
    root.get(&second).expect_error(404, "BLOB_UPLOAD_UNKNOWN");
    let full = root.post("/v2/alpha-one/app/blobs/uploads/");
    refused(&full);
    assert!(full.text().contains("trash"), "{full:?}");
    refused(&root.post(&format!("/v2/alpha-one/app/blobs/uploads/?mount={named}")));
    assert_eq!(bytes(&root, place), (json!(100_000), json!(100_000)));
    // Others are not full, and it is not when it may have more.
    root.push_blob("conf/app", &large);
    quotas(&root, place, &json!({"repositories": 10})).expect(200);
    root.push_blob("alpha-one/app", &large);
    let log = root.get("/api/v1/projects/alpha/audit?what=registry.quotas").expect(200).json();
    assert_eq!(log["items"][1]["after"], json!({"repositories": 10, "bytes": 100_000}));
}

fn quotas_have_the_last_word_at_the_end(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    begun(&root, &["alpha"]);
    quotas(&root, "registries/alpha-one", &json!({"repositories": 10, "bytes": 100_000})).expect(200);
    // Each fits for itself.
    let uploads: Vec<_> = (0..2)
        .map(|_| {
            let blob = random_bytes(60_000);
            let at = root.patch(&root.begin("alpha-one/app"), Some(0), &blob).expect(202).location_path();
            (at, digest(&blob))
        })
        .collect();
    let finish = |(at, named): &(String, String)| root.put(&with_parameter(at, "digest", named), b"");
    finish(&uploads[0]).expect(201);
    let objects = server.objects().len();
    refused(&finish(&uploads[1]));
    root.head(&format!("/v2/alpha-one/app/blobs/{}", uploads[1].1)).expect(404);
    // It is over, and takes no room.
    root.get(&uploads[1].0).expect(404);
    until("what was refused is removed", || (server.objects().len() < objects).then_some(()));
    assert_eq!(bytes(&root, "registries/alpha-one").0, json!(60_000));
    // Done again it is as it was.
    finish(&uploads[0]).expect(201);
    // A mount brings bytes too; one of what is here already brings none.
    let other = random_bytes(50_000);
    let named = root.push_blob("conf/app", &other);
    refused(&root.post(&format!("/v2/alpha-one/b/blobs/uploads/?mount={named}&from=conf/app")));
    root.post(&format!("/v2/alpha-one/b/blobs/uploads/?mount={}&from=alpha-one/app", uploads[0].1)).expect(201);
    assert_eq!(bytes(&root, "registries/alpha-one").0, json!(60_000));
}

fn quotas_of_a_project_hold_for_its_registries_together(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    begun(&root, &["alpha", "beta"]);
    quotas(&root, "projects/alpha", &json!({"registries": 5, "bytes": 100_000})).expect(200);
    // Also one that is made later.
    send(&root, "PUT", "/registries/alpha-two", &json!({"project": "alpha"})).expect(201);
    root.push_blob("alpha-one/app", &random_bytes(60_000));
    refused(&root.patch(&root.begin("alpha-two/app"), None, &random_bytes(50_000)));
    root.push_blob("alpha-two/app", &random_bytes(40_000));
    refused(&root.post("/v2/alpha-one/app/blobs/uploads/"));
    assert_eq!(bytes(&root, "projects/alpha"), (json!(100_000), json!(100_000)));
    root.push_blob("beta-one/app", &random_bytes(60_000));
    // A registry's own does not take the project's away.
    quotas(&root, "registries/alpha-one", &json!({"repositories": 10, "bytes": 500_000})).expect(200);
    quotas(&root, "registries/alpha-one", &json!({"repositories": 10})).expect(200);
    refused(&root.post("/v2/alpha-one/app/blobs/uploads/"));
    quotas(&root, "projects/alpha", &json!({"registries": 5, "bytes": null})).expect(200);
    root.push_blob("alpha-one/app", &random_bytes(60_000));
}

fn quotas_of_registries_and_repositories(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    begun(&root, &["alpha"]);
    let shown = root.get("/api/v1/projects/alpha/quotas").expect(200).json();
    assert_eq!(shown["registries"], json!({"limit": 100, "used": 1}));
    quotas(&root, "projects/alpha", &json!({"registries": 2})).expect(200);
    let make = |name: &str| send(&root, "PUT", &format!("/registries/{name}"), &json!({"project": "alpha"}));
    make("alpha-two").expect(201);
    make("alpha-two").expect(200);
    assert!(make("alpha-three").expect(409).json()["detail"].as_str().unwrap().contains("quota"));
    // What lies in the trash counts.
    send(&root, "DELETE", "/registries/alpha-two", &Value::Null).expect(204);
    make("alpha-three").expect(409);

    let place = "registries/alpha-one";
    quotas(&root, place, &json!({"repositories": 1})).expect(200);
    root.push_image("alpha-one/app", "v1", &content::image(1));
    root.push_image("alpha-one/app", "v2", &content::image(1));
    let refused = root.post("/v2/alpha-one/other/blobs/uploads/");
    refused.expect_error(403, "DENIED");
    assert!(refused.text().contains("1 repositories"), "{refused:?}");
    let index = content::index(&[]);
    root.put_manifest("alpha-one/other", "v1", &index).expect_error(403, "DENIED");
    let shown = root.get(&format!("/api/v1/{place}/quotas")).expect(200).json();
    assert_eq!(shown["repositories"], json!({"limit": 1, "used": 1}));
    // Whoever sees it sees its quotas; only who runs the region sets them.
    let viewer = person(&root, "viewer");
    role(&root, "projects/alpha", "viewer", "viewer");
    viewer.get("/api/v1/projects/alpha/quotas").expect(200);
    quotas(&viewer, place, &json!({"repositories": 5})).expect(403);
    for wrong in [json!({"repositories": -1}), json!({"repositories": 1, "bytes": -1}), json!({"bytes": 5}), json!({})]
    {
        let answer = quotas(&root, place, &wrong);
        assert!([400, 422].contains(&answer.status), "{wrong}: {answer:?}");
    }
}
