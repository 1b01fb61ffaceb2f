//! What the management API makes of input that is not right.

use roadstead_testkit::Login;
use serde_json::{Value, json};

use crate::{
    management::{client_of, person, request, role, send},
    scene::{Storage, on_both_engines},
};

on_both_engines!(management_takes_no_nonsense);

/// Bad input is a clear answer, never a fault of the server.
fn management_takes_no_nonsense(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/team", &json!({"description": "ours"})).expect(201);
    // Doing it again changes nothing; something else of the same name is a conflict.
    send(&root, "PUT", "/projects/team", &json!({"description": "ours"})).expect(200);
    send(&root, "PUT", "/projects/team", &json!({"description": "theirs"})).expect(409);
    let tag = root.get("/api/v1/projects/team").expect(200).header("ETag").to_owned();
    let change = |tag: &str| request("PATCH", "/projects/team", &json!({"description": "x"})).header("If-Match", tag);
    root.send(change(&tag)).expect(200);
    assert_eq!(root.send(change(&tag)).expect(412).json()["code"], "stale");
    send(&root, "PUT", "/registries/team-one", &json!({"project": "team"})).expect(201);
    for (method, path, body) in [
        ("PUT", "/projects/X", json!({})),
        ("PUT", "/projects/a%00b", json!({})),
        ("PUT", "/projects/team", json!({"descripion": "typo"})),
        ("PUT", "/people/Ada", json!({})),
        ("PUT", "/people/ada", json!({"email": "x"})),
        ("PUT", "/people/ada", json!({"full_name": "a\u{0}b"})),
        ("PUT", "/registries/new-one", json!({"project": "team", "bucket": "no-such-bucket"})),
        ("PUT", "/registries/new-one", json!({})),
        ("PATCH", "/registries/team-one", json!({"description": "a\u{0}"})),
        ("PUT", "/projects/team/members/ada", json!({"role": "owner"})),
        ("POST", "/me/keys", json!({"days": 0})),
        ("POST", "/me/keys", json!({"days": 4_000_000_000_u32})),
        ("POST", "/me/keys", json!({"days": -1})),
        ("POST", "/me/keys", json!({"description": "a\u{0}"})),
        ("POST", "/session", json!({"name": "a\u{0}b"})),
    ] {
        let answer = send(&root, method, path, &body);
        assert!([400, 422].contains(&answer.status), "{method} {path} {body}: {answer:?}");
        assert_eq!(answer.json()["code"], "invalid", "{answer:?}");
    }
    send(&root, "POST", "/session", &json!({"name": "a\u{0}b", "password": "\u{0}"})).expect(401);
    send(&root, "PUT", "/projects/absent/members/administrator", &json!({"role": "viewer"})).expect(404);
    send(&root, "PUT", "/projects/team/members/absent", &json!({"role": "viewer"})).expect(404);
    send(&root, "DELETE", "/projects/team", &Value::Null).expect(409);
    for path in ["/people/administrator", "/people/administrator?x=1"] {
        assert!([400, 409].contains(&send(&root, "DELETE", path, &Value::Null).status));
    }
    // What can't be a name is nothing, and no fault of the database.
    for path in ["projects/a%00b", "projects/%FF", "registries/%00", "projects/team/robots/%00"] {
        assert!([400, 404].contains(&root.get(&format!("/api/v1/{path}")).status), "{path}");
    }
    send(&root, "PUT", "/registries/new-one", &json!({"project": "a\u{0}"})).expect(404);
    root.get("/api/v1/audit?who=%00").expect(400);
    let many = format!("/api/v1/me?{}", "a&".repeat(2000));
    assert!(root.get(&many).expect(400).text().len() < 4000);
    let made = request("PUT", "/people/ada", &json!({})).header("If-Match", "\"7\"");
    root.send(made).expect(400);
    // What a manager is not to know: other buckets, and whose registry lies in the trash.
    let manager = person(&root, "manager");
    role(&root, "projects/team", "manager", "manager");
    send(&root, "PUT", "/projects/other", &json!({})).expect(201);
    send(&root, "PUT", "/registries/other-one", &json!({"project": "other"})).expect(201);
    let taken = |name: &str| {
        let answer = send(&manager, "PUT", &format!("/registries/{name}"), &json!({"project": "team"}));
        answer.expect(409).json()["detail"].as_str().unwrap().to_owned()
    };
    let living = taken("other-one");
    send(&root, "DELETE", "/registries/other-one", &Value::Null).expect(204);
    assert_eq!(taken("other-one"), living);
    let bucket = send(&manager, "PUT", "/registries/new-one", &json!({"project": "team", "bucket": "nowhere"}));
    assert!(!bucket.expect(400).text().contains("default"), "{bucket:?}");
    // A key that ends makes none that outlives it, and a key alone is not enough for a first password.
    let short = client_of(&root, &send(&manager, "POST", "/me/keys", &json!({"days": 1})).expect(201).json());
    let made = send(&short, "POST", "/me/keys", &json!({"days": 300})).expect(201).json();
    let keys = short.get("/api/v1/me/keys").expect(200).json();
    let of = |id: &Value| keys["items"].as_array().unwrap().iter().find(|key| key["key_id"] == *id).unwrap().clone();
    let Login::Basic(id, _) = &short.login else { unreachable!("a key") };
    let [child, parent] = [&made["key_id"], &json!(id)].map(|id| of(id)["expires"].as_str().unwrap()[..16].to_owned());
    assert!(child <= parent, "{child} {parent}");
    send(&root, "PUT", "/me/password", &json!({"old": "", "new": "another good password"})).expect(409);
    root.get("/api/v1/audit?since=yesterday").expect(400);
    root.get("/api/v1/audit?after=!").expect(400);
}
