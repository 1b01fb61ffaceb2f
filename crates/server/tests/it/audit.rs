//! The audit log (product.md 3): of a project for its managers, refused access keys added up, and the whole of it at once.

use roadstead_testkit::{Client, Login, Request, content, server::KEY_ID, token::basic, until};
use serde_json::{Value, json};

use crate::{
    beside::Beside,
    management::{person, robot, role, send},
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    audit_of_a_project_is_for_its_managers,
    audit_says_who_deleted_what_over_v2,
    audit_adds_refused_keys_up,
    audit_is_exported_as_a_whole,
    audit_pages_lead_through_what_few_lines_are_asked_for,
);

/// All lines behind this address, as one who follows the pages sees them.
fn lines(client: &Client, path: &str) -> Vec<Value> {
    let (mut found, mut next) = (Vec::new(), Some(format!("/api/v1{path}")));
    while let Some(page) = next {
        let answer = client.get(&page);
        found.extend(answer.expect(200).json()["items"].as_array().unwrap().clone());
        next = answer.next_page();
    }
    found
}

fn whats(lines: &[Value]) -> Vec<String> {
    lines
        .iter()
        .map(|line| format!("{} {}", line["what"].as_str().unwrap(), line["object"].as_str().unwrap()))
        .collect()
}

fn audit_of_a_project_is_for_its_managers(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    for name in ["alpha", "beta"] {
        send(&root, "PUT", &format!("/projects/{name}"), &json!({})).expect(201);
    }
    let manager = person(&root, "manager");
    role(&root, "projects/alpha", "manager", "manager");
    send(&manager, "PUT", "/registries/alpha-one", &json!({"project": "alpha"})).expect(201);
    send(&manager, "PATCH", "/registries/alpha-one", &json!({"public_pull": true})).expect(200);
    role(&manager, "registries/alpha-one", "manager", "viewer");
    robot(&manager, "alpha", "ci", &json!([{"actions": ["pull"]}]));
    send(&manager, "PATCH", "/projects/alpha/robots/ci", &json!({"disabled": true})).expect(200);
    send(&root, "PATCH", "/projects/alpha", &json!({"description": "ours"})).expect(200);
    send(&root, "PUT", "/registries/beta-one", &json!({"project": "beta"})).expect(201);
    server.run(&["registry", "delete", "alpha-one", "--confirm", "alpha-one"]).ok();

    let own = lines(&manager, "/projects/alpha/audit?limit=2");
    let key = own.iter().find(|line| line["what"] == "key.create").unwrap()["object"].as_str().unwrap();
    assert_eq!(
        whats(&own),
        [
            "registry.delete alpha-one",
            "project.change alpha",
            "robot.change alpha/ci",
            &format!("key.create {key}"),
            "robot.create alpha/ci",
            "member.set registry alpha-one: manager",
            "registry.change alpha-one",
            "registry.create alpha-one",
            "member.set project alpha: manager",
            "project.create alpha",
        ]
    );
    assert_eq!(
        (&own[0]["who"], &own[1]["who"], &own[2]["who"]),
        (&json!("operator"), &json!("administrator"), &json!("manager"))
    );
    let some = lines(&manager, "/projects/alpha/audit?who=manager&what=registry&limit=1");
    assert_eq!(whats(&some), ["registry.change alpha-one", "registry.create alpha-one"]);
    let exported = manager.get("/api/v1/projects/alpha/audit/export").expect(200).text();
    assert_eq!(exported.lines().count(), own.len());
    for path in ["/audit", "/audit/export", "/projects/beta/audit"] {
        manager.get(&format!("/api/v1{path}")).expect_one_of(&[403, 404]);
    }
    // Another project of the same name is another one's.
    send(&root, "DELETE", "/projects/beta", &Value::Null).expect(409);
    send(&root, "PUT", "/projects/gamma", &json!({"description": "the first"})).expect(201);
    send(&root, "DELETE", "/projects/gamma", &Value::Null).expect(204);
    send(&root, "PUT", "/projects/gamma", &json!({})).expect(201);
    assert_eq!(whats(&lines(&root, "/projects/gamma/audit")), ["project.create gamma"]);
    assert_eq!(whats(&lines(&root, "/audit?object=gamma")).len(), 3);
}

/// Tags, manifests and blobs; by the name of whose key it was.
fn audit_says_who_deleted_what_over_v2(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/alpha", &json!({})).expect(201);
    send(&root, "PUT", "/registries/alpha-one", &json!({"project": "alpha"})).expect(201);
    let image = content::image(1);
    let named = root.push_image("alpha-one/app", "v1", &image);
    let loose = root.push_blob("alpha-one/app", b"of no image");
    let ci = robot(&root, "alpha", "ci", &json!([{"actions": ["*"]}]));
    let asked = Request::new("DELETE", "/v2/alpha-one/app/manifests/v1").header("X-Request-Id", "delete-1");
    ci.send(asked).expect(202);
    root.delete(&format!("/v2/alpha-one/app/manifests/{named}")).expect(202);
    root.delete(&format!("/v2/alpha-one/app/blobs/{loose}")).expect(202);
    // What fails leaves no line.
    root.delete("/v2/alpha-one/app/manifests/v1").expect(404);
    let found = lines(&root, "/projects/alpha/audit?limit=3");
    assert_eq!(
        whats(&found[..3]),
        [
            format!("blob.delete alpha-one/app@{loose}"),
            format!("artifact.delete alpha-one/app@{named}"),
            "tag.delete alpha-one/app:v1".to_owned(),
        ]
    );
    assert_eq!((&found[0]["who"], &found[2]["who"]), (&json!("administrator"), &json!("alpha/ci")));
    assert_eq!((&found[2]["from"], &found[2]["request"]), (&json!("127.0.0.1"), &json!("delete-1")));
}

fn audit_adds_refused_keys_up(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/alpha", &json!({})).expect(201);
    let ci = robot(&root, "alpha", "ci", &json!([{"actions": ["pull"]}]));
    let Login::Basic(robot_id, robot_secret) = ci.login.clone() else { unreachable!("a key") };
    let wrong = |id: &str| root.logged_in(Login::Basic(id.to_owned(), "not-the-secret-of-it".to_owned()));
    let absent = "RSKTHEREISNOSUCHKEY";
    for id in [KEY_ID, robot_id.as_str(), absent] {
        wrong(id).get("/v2/").expect(401);
        wrong(id).get("/v2/").expect(401);
        let token = Request::new("GET", "/token?service=x").header("Authorization", &basic(id, "not-the-secret-of-it"));
        root.anonymous().send(token).expect(401);
        wrong(id).get("/api/v1/me").expect(401);
    }
    // A key that works no more is refused too.
    send(&root, "DELETE", &format!("/projects/alpha/robots/ci/keys/{robot_id}"), &Value::Null).expect(204);
    root.logged_in(Login::Basic(robot_id.clone(), robot_secret)).get("/v2/").expect(401);
    let refused = until("the refusals are written", || {
        let found = lines(&root, "/audit?what=key.refused");
        let times = |line: &Value| line["after"].as_i64().unwrap();
        (found.iter().map(times).sum::<i64>() == 9).then_some(found)
    });
    let mut told: Vec<_> = refused
        .iter()
        .map(|line| {
            let text = |name: &str| line[name].as_str().unwrap().to_owned();
            (text("object"), text("who"), text("from"), line["after"].as_i64().unwrap())
        })
        .collect();
    told.sort();
    let line = |id: &str, who: &str, times| (id.to_owned(), who.to_owned(), "127.0.0.1".to_owned(), times);
    let mut expected = vec![line(KEY_ID, "administrator", 4), line(&robot_id, "alpha/ci", 5)];
    expected.sort();
    assert_eq!(told, expected);
    assert!(!root.get("/api/v1/audit").expect(200).text().contains(absent));
    // Those of its robots are for the managers of a project.
    assert_eq!(whats(&lines(&root, "/projects/alpha/audit?what=key.refused")), [format!("key.refused {robot_id}")]);
}

/// More lines than are read at once, the same ones as the pages have, and a table that no spreadsheet runs.
fn audit_is_exported_as_a_whole(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let odd = "=HYPERLINK(\"http://x\",\"y\")";
    Beside::new(&server).audit(2500, "try.line", odd);
    let expected = lines(&root, "/audit?limit=1000");
    assert!(expected.len() > 2500);
    let answer = root.get("/api/v1/audit/export");
    answer.expect(200).expect_header("Content-Type", "application/x-ndjson").expect_no("Content-Length");
    let exported: Vec<Value> = answer.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(exported == expected, "{} lines of {}", exported.len(), expected.len());
    let answer = root.get("/api/v1/audit/export?format=csv&what=try");
    answer.expect(200).expect_header("Content-Type", "text/csv; charset=utf-8");
    let text = answer.text();
    let mut rows = text.split_terminator("\r\n");
    assert_eq!(rows.next().unwrap(), "at,who,from,request,what,object,before,after");
    assert!(rows.clone().all(|row| row.contains("\"'=HYPERLINK(\"\"http://x\"\",\"\"y\"\")\"")), "{text:.300}");
    assert_eq!(rows.count(), 2500);
    root.head("/api/v1/audit/export").expect(200).expect_body(b"");
    for wrong in ["format=xml", "limit=3", "who=%00"] {
        root.get(&format!("/api/v1/audit/export?{wrong}")).expect(400);
    }
    let none = root.get("/api/v1/audit/export?who=nobody").expect(200).text();
    assert_eq!(none, "");
}

/// A page costs the same however many lines there are that are not asked for; whoever goes on finds all that are.
fn audit_pages_lead_through_what_few_lines_are_asked_for(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let beside = Beside::new(&server);
    beside.audit(1, "rare.line", "first");
    beside.audit(12_000, "try.line", "many");
    beside.audit(1, "rare.line", "last");
    beside.audit(11_000, "try.line", "many");
    let page = root.get("/api/v1/audit?what=rare").expect(200).json();
    assert!(page["items"].as_array().unwrap().is_empty() && page["next"].is_string(), "{page}");
    assert_eq!(whats(&lines(&root, "/audit?what=rare")), ["rare.line last", "rare.line first"]);
    assert_eq!(root.get("/api/v1/audit/export?what=rare").expect(200).text().lines().count(), 2);
    let since = lines(&root, "/audit?what=rare&limit=1")[0]["at"].as_str().unwrap().to_owned();
    assert_eq!(whats(&lines(&root, &format!("/audit?what=rare&since={since}"))), ["rare.line last"]);
    assert_eq!(whats(&lines(&root, &format!("/audit?what=rare&until={since}"))), ["rare.line first"]);
}
