//! The management API with people, roles and robots: every operation for every kind of caller, and what a change means for pushes and pulls.

use std::collections::BTreeMap;

use roadstead_testkit::{Body, Client, Login, Request, Response, Server, content};
use serde_json::{Value, json};

use crate::scene::{Storage, on_both_engines};

on_both_engines!(
    management_is_decided_by_the_matrix,
    management_of_roles_holds_at_once,
    management_of_robots_holds_at_once,
    management_sessions_are_for_browsers,
    management_changes_are_in_the_audit_log,
);

pub(crate) const PASSWORD: &str = "correct horse battery";

/// Sends JSON.
#[track_caller]
pub(crate) fn send(client: &Client, method: &str, path: &str, body: &Value) -> Response {
    client.send(request(method, path, body))
}

pub(crate) fn request(method: &str, path: &str, body: &Value) -> Request {
    let request = Request::new(method, &format!("/api/v1{path}"));
    if body.is_null() {
        return request;
    }
    request.header("Content-Type", "application/json").body(Body::Length(body.to_string().into_bytes()))
}

/// The cookie of a new session.
fn sign_in(client: &Client, name: &str) -> String {
    let given = json!({"name": name, "password": PASSWORD});
    let answer = send(&client.anonymous(), "POST", "/session", &given);
    answer.expect(204).header("Set-Cookie").split(';').next().unwrap().to_owned()
}

/// Makes a person with a password, who makes a key for themselves: a client with it.
pub(crate) fn person(administrator: &Client, name: &str) -> Client {
    send(administrator, "PUT", &format!("/people/{name}"), &json!({})).expect(201);
    send(administrator, "PUT", &format!("/people/{name}/password"), &json!({"password": PASSWORD})).expect(204);
    let cookie = sign_in(administrator, name);
    let made = administrator.anonymous().send(request("POST", "/me/keys", &json!({})).header("Cookie", &cookie));
    client_of(administrator, &made.expect(201).json())
}

pub(crate) fn client_of(client: &Client, key: &Value) -> Client {
    let text = |name: &str| key[name].as_str().unwrap().to_owned();
    client.logged_in(Login::Basic(text("key_id"), text("secret")))
}

pub(crate) fn role(administrator: &Client, place: &str, name: &str, role: &str) {
    let path = format!("/{place}/members/{name}");
    send(administrator, "PUT", &path, &json!({"role": role})).expect_one_of(&[200, 201]);
}

pub(crate) fn robot(administrator: &Client, project: &str, name: &str, limits: &Value) -> Client {
    let path = format!("/projects/{project}/robots/{name}");
    send(administrator, "PUT", &path, &json!({})).expect(201);
    let made = send(administrator, "POST", &format!("{path}/keys"), &json!({"limits": limits}));
    client_of(administrator, &made.expect(201).json())
}

/// Two projects with a registry each, and one caller of each kind.
fn cast(server: &Server) -> (Client, BTreeMap<&'static str, Client>) {
    let root = server.client();
    for name in ["alpha", "beta"] {
        send(&root, "PUT", &format!("/projects/{name}"), &json!({})).expect(201);
        send(&root, "PUT", &format!("/registries/{name}-one"), &json!({"project": name})).expect(201);
    }
    let mut callers = BTreeMap::new();
    for (name, place, given) in [
        ("nobody", "", ""),
        ("viewer", "projects/alpha", "viewer"),
        ("uploader", "projects/alpha", "uploader"),
        ("manager", "projects/alpha", "manager"),
        ("one-viewer", "registries/alpha-one", "viewer"),
        ("one-manager", "registries/alpha-one", "manager"),
        ("other-manager", "projects/beta", "manager"),
    ] {
        callers.insert(name, person(&root, name));
        if !place.is_empty() {
            role(&root, place, name, given);
        }
    }
    callers.insert("robot", robot(&root, "alpha", "ci", &json!([{"actions": ["*"]}])));
    callers.insert("anonymous", root.anonymous());
    callers.insert("administrator", root.clone());
    (root, callers)
}

/// What is asked in the walk: nothing of it changes anything that the next caller needs. Operations that would are asked on a condition
/// that is not met, or for something that is not there, both of which only those hear of who may do it.
pub(crate) fn attempt(operation: &str) -> (Value, Option<(&'static str, &'static str)>) {
    let (new, stale) = (Some(("If-None-Match", "*")), Some(("If-Match", "\"0\"")));
    match operation {
        "put_person" | "put_project" | "put_robot" => (json!({}), new),
        "put_registry" => (json!({"project": "alpha"}), new),
        "patch_person" | "patch_project" | "patch_robot" | "patch_registry" | "patch_repository" => (json!({}), stale),
        "delete_person" | "delete_repository" => (Value::Null, stale),
        "put_tag" => (json!({"digest": content::digest(b"absent")}), new),
        "restore_trash" => (json!({}), None),
        "put_password" => (json!({"password": "short"}), None),
        "put_my_password" => (json!({"old": "x", "new": "short"}), None),
        "post_my_key" => (json!({"days": 0}), None),
        "post_robot_key" => (json!({"limits": []}), None),
        "post_trust" => (json!({"issuer": "x", "audience": "x", "claims": {}, "limits": []}), None),
        "put_identity" => (json!({"issuer": "x", "subject": ""}), None),
        "put_in_project" | "put_in_registry" => (json!({"role": "viewer"}), None),
        "put_project_quotas" => (json!({"registries": -1}), None),
        "put_registry_quotas" => (json!({"repositories": -1}), None),
        _ => (Value::Null, None),
    }
}

const MANAGER: &[&str] =
    &["See", "SeeImages", "Push", "ChangeImages", "Collect", "ChangeRegistries", "Members", "Audit"];

/// Whether a caller has a right, by the table of product.md 3: `registry` and `project` say what the operation is about.
fn has(who: &str, right: &str, subject: &str) -> bool {
    let role = match (who, subject) {
        ("administrator", _) => "administrator",
        ("viewer" | "uploader" | "manager", "project" | "registry") => who,
        ("one-viewer", "registry") => "viewer",
        ("one-manager", "registry") => "manager",
        _ => return false,
    };
    let rights: &[&str] = match role {
        "viewer" => &["See", "SeeImages"],
        "uploader" => &["See", "SeeImages", "Push"],
        "manager" => MANAGER,
        _ => return MANAGER.contains(&right) || right == "System",
    };
    rights.contains(&right)
}

/// `y`: done, or hindered by what only those hear of who may; else the status.
fn expected(who: &str, right: &str, subject: &str, operation: &str) -> &'static str {
    let signed_in = who != "anonymous";
    match (right, subject) {
        _ if !signed_in => "401",
        ("SignedIn", _) => "y",
        ("Own", _) => {
            if who == "robot" {
                "403"
            } else {
                "y"
            }
        }
        // Lists show what the caller may see, which may be nothing.
        ("See", "region") => {
            if who == "robot" {
                "403"
            } else {
                "y"
            }
        }
        _ if has(who, right, subject) => "y",
        (_, "region") => "403",
        _ if operation != "put_registry" && has(who, "See", subject) => "403",
        _ if operation == "put_registry" && has(who, "See", "project") => "403",
        _ => "404",
    }
}

fn management_is_decided_by_the_matrix(storage: &Storage) {
    let server = storage.start();
    let (root, callers) = cast(&server);
    send(&root, "PUT", "/people/fixture", &json!({})).expect(201);
    send(&root, "PUT", "/registries/alpha-two", &json!({"project": "alpha"})).expect(201);
    let image = root.push_image("alpha-one/web/app", "v1", &content::image(1));
    let document = root.anonymous().get("/api/v1/openapi.json").expect(200).json();
    let (mut walked, absent) = (0, content::digest(b"absent"));
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let (name, right) = (operation["operationId"].as_str().unwrap(), operation["x-right"].as_str().unwrap());
            if right == "Open" {
                assert!(
                    ["get_openapi", "post_session", "delete_session", "begin_sign_on", "finish_sign_on"]
                        .contains(&name),
                    "{name} is open to all"
                );
                continue;
            }
            let subject = match path.as_str() {
                _ if name == "put_registry" => "project",
                path if path.contains("{registry}") => "registry",
                path if path.contains("{project}") && right != "System" => "project",
                _ => "region",
            };
            for (who, client) in &callers {
                let expected = expected(who, right, subject, name);
                // A registry that is deleted is there for nobody: each has one that it can spare.
                let registry = if name == "delete_registry" && expected == "y" {
                    format!("spare-{who}")
                } else {
                    "alpha-one".to_owned()
                };
                if registry != "alpha-one" {
                    send(&root, "PUT", &format!("/registries/{registry}"), &json!({"project": "alpha"})).expect(201);
                    if *who == "one-manager" {
                        role(&root, &format!("registries/{registry}"), who, "manager");
                    }
                }
                let target = path
                    .replace("{registry}", &registry)
                    .replace("{project}", "alpha")
                    .replace("{person}", "fixture")
                    .replace("{bucket}", "default")
                    .replace("{robot}", if name == "delete_robot" { "absent" } else { "ci" })
                    .replace("{key}", "RSKABSENT")
                    .replace("{trust}", "RSTABSENT")
                    .replace("{repository}", "web%2Fapp")
                    .replace("{tag}", if name == "delete_tag" { "absent" } else { "v1" })
                    .replace("{entry}", "0")
                    .replace("{digest}", if name == "delete_artifact" { &absent } else { &image });
                let (body, condition) = attempt(name);
                let mut asked = request(&method.to_uppercase(), target.strip_prefix("/api/v1").unwrap(), &body);
                if let Some((header, value)) = condition {
                    asked = asked.header(header, value);
                }
                let answer = client.send(asked);
                let detail = if answer.status == 404 {
                    answer.json()["detail"].as_str().unwrap().to_owned()
                } else {
                    String::new()
                };
                let inner = [
                    "no such robot",
                    "no such member",
                    "no access key",
                    "no such artifact",
                    "no such tag",
                    "no such entry",
                    "no such registry in the trash",
                    "no such trust",
                    "no such identity",
                ];
                let inner = inner.iter().any(|it| detail.contains(it));
                let seen = match answer.status {
                    200 | 201 | 204 | 400 | 409 | 412 | 422 => "y",
                    404 if inner => "y",
                    401 => "401",
                    403 => "403",
                    404 => "404",
                    _ => "another status",
                };
                assert_eq!(seen, expected, "{who}: {method} {target} ({name}, {right}): {answer:?}");
                walked += 1;
            }
        }
    }
    assert!(walked >= 500, "{walked} cells");
    // One who may not see a project can't tell it from one that is not there.
    let nobody = &callers["nobody"];
    for place in ["projects", "registries"] {
        let known = if place == "projects" { "alpha" } else { "alpha-one" };
        let [there, absent] = [known, "absent"].map(|name| {
            let answer = nobody.get(&format!("/api/v1/{place}/{name}"));
            let mut problem = answer.expect(404).json();
            problem.as_object_mut().unwrap().remove("request_id");
            problem
        });
        assert_eq!(there, absent);
    }
    let names = |client: &Client, list: &str| -> Vec<String> {
        let listed = client.get(&format!("/api/v1/{list}")).expect(200).json();
        listed["items"].as_array().unwrap().iter().map(|it| it["name"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(names(nobody, "registries"), [""; 0]);
    assert_eq!(names(&callers["one-viewer"], "registries"), ["alpha-one"]);
    assert_eq!(names(&callers["other-manager"], "registries"), ["beta-one"]);
    assert_eq!(names(&callers["other-manager"], "projects"), ["beta"]);
}

/// A role holds from the next request on, and is gone with the next one, for pushes and pulls and for tokens that are out.
fn management_of_roles_holds_at_once(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/team", &json!({})).expect(201);
    send(&root, "PUT", "/registries/team-one", &json!({"project": "team"})).expect(201);
    let image = content::image(1);
    root.push_image("team-one/app", "v1", &image);
    let ada = person(&root, "ada");
    let Login::Basic(id, secret) = ada.login.clone() else { unreachable!("a key") };
    let with_token = ada.logged_in(Login::Token(id, secret));
    let manifest = "/v2/team-one/app/manifests/v1";
    ada.get(manifest).expect_error(403, "DENIED");
    role(&root, "projects/team", "ada", "viewer");
    for client in [&ada, &with_token] {
        client.get(manifest).expect(200).expect_body(&image.manifest.bytes);
        assert!([401, 403].contains(&client.post("/v2/team-one/app/blobs/uploads/").status));
    }
    role(&root, "projects/team", "ada", "uploader");
    ada.push_image("team-one/app", "v2", &content::image(2));
    with_token.push_image("team-one/new", "v1", &content::image(3));
    ada.delete("/v2/team-one/app/manifests/v1").expect_error(403, "DENIED");
    role(&root, "registries/team-one", "ada", "manager");
    ada.delete("/v2/team-one/app/manifests/v2").expect(202);
    send(&root, "DELETE", "/registries/team-one/members/ada", &Value::Null).expect(204);
    send(&root, "DELETE", "/projects/team/members/ada", &Value::Null).expect(204);
    for client in [&ada, &with_token] {
        client.get(manifest).expect_error(403, "DENIED");
    }
    role(&root, "projects/team", "ada", "viewer");
    ada.get(manifest).expect(200);
    send(&root, "PATCH", "/people/ada", &json!({"barred": true})).expect(200);
    ada.get(manifest).expect_error(401, "UNAUTHORIZED");
    with_token.get(manifest).expect_error(401, "UNAUTHORIZED");
    send(&root, "PATCH", "/people/ada", &json!({"barred": false})).expect(200);
    ada.get(manifest).expect(200);
    // Anyone may pull, from the next request on, and not any more.
    root.logged_in(Login::AnonymousToken).get(manifest).expect(401);
    let anyone = root.logged_in(Login::AnonymousToken);
    send(&root, "PATCH", "/registries/team-one", &json!({"public_pull": true})).expect(200);
    anyone.get(manifest).expect(200);
    send(&root, "PATCH", "/registries/team-one", &json!({"public_pull": false})).expect(200);
    anyone.get(manifest).expect(401);
}

/// A robot pushes and pulls within its limits, mounts nothing from outside of them, and ends with its key, itself or being disabled.
fn management_of_robots_holds_at_once(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/team", &json!({})).expect(201);
    send(&root, "PUT", "/registries/team-one", &json!({"project": "team"})).expect(201);
    let secret = content::image(1);
    root.push_image("team-one/secret/app", "v1", &secret);
    let limits = json!([{"registry": "team-one", "repositories": "builds/**", "actions": ["pull", "push"]}]);
    let ci = robot(&root, "team", "ci", &limits);
    ci.push_image("team-one/builds/app", "v1", &content::image(2));
    ci.get("/v2/team-one/builds/app/manifests/v1").expect(200);
    ci.get("/v2/team-one/secret/app/manifests/v1").expect_error(403, "DENIED");
    ci.delete("/v2/team-one/builds/app/manifests/v1").expect_error(403, "DENIED");
    let layer = content::digest(&secret.blobs[1]);
    for from in ["", "&from=team-one/secret/app"] {
        let mount = ci.post(&format!("/v2/team-one/builds/app/blobs/uploads/?mount={layer}{from}"));
        mount.expect(202);
    }
    ci.get(&format!("/v2/team-one/builds/app/blobs/{layer}")).expect(404);
    ci.get("/api/v1/me").expect(200);
    ci.get("/api/v1/projects/team").expect(404);

    let manifest = "/v2/team-one/builds/app/manifests/v1";
    send(&root, "PATCH", "/projects/team/robots/ci", &json!({"disabled": true})).expect(200);
    ci.get(manifest).expect_error(401, "UNAUTHORIZED");
    send(&root, "PATCH", "/projects/team/robots/ci", &json!({"disabled": false})).expect(200);
    ci.get(manifest).expect(200);
    let keys = root.get("/api/v1/projects/team/robots/ci/keys").expect(200).json();
    assert_eq!(keys["items"][0]["limits"], limits);
    let path = format!("/projects/team/robots/ci/keys/{}", keys["items"][0]["key_id"].as_str().unwrap());
    send(&root, "DELETE", &path, &Value::Null).expect(204);
    ci.get(manifest).expect_error(401, "UNAUTHORIZED");
}

/// A session is a cookie that no script reads and no other site uses; it is good for management and not for `/v2`.
fn management_sessions_are_for_browsers(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let _ = person(&root, "ada");
    let given = json!({"name": "ada", "password": PASSWORD});
    let answer = send(&root.anonymous(), "POST", "/session", &given);
    let cookie = answer.expect(204).header("Set-Cookie").to_owned();
    for part in ["HttpOnly", "SameSite=Strict", "Path=/", "Max-Age="] {
        assert!(cookie.contains(part), "{cookie}");
    }
    let cookie = cookie.split(';').next().unwrap();
    let nobody = root.anonymous();
    let with = |method: &str, path: &str, body: &Value| request(method, path, body).header("Cookie", cookie);
    assert_eq!(nobody.send(with("GET", "/me", &Value::Null)).expect(200).json()["kind"], "session");
    let made = with("POST", "/me/keys", &json!({}));
    nobody.send(made.clone().header("Origin", "https://evil.example")).expect(403);
    nobody.send(made.clone().header("Sec-Fetch-Site", "cross-site")).expect(403);
    nobody.send(made.clone().header("Origin", &format!("http://{}", root.address))).expect(201);
    nobody.send(Request::new("GET", "/v2/").header("Cookie", cookie)).expect(401);
    let other = send(&nobody, "POST", "/session", &json!({"name": "ada", "password": "wrong"}));
    assert_eq!(other.expect(401).json()["detail"], "the name or the password is wrong");
    let unknown = send(&nobody, "POST", "/session", &json!({"name": "nobody", "password": "wrong"}));
    assert_eq!(unknown.expect(401).json()["detail"], other.json()["detail"]);
    nobody.send(with("DELETE", "/session", &Value::Null)).expect(204);
    nobody.send(with("GET", "/me", &Value::Null)).expect(401);
}

fn management_changes_are_in_the_audit_log(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/projects/team", &json!({})).expect(201);
    send(&root, "PUT", "/registries/team-one", &json!({"project": "team"})).expect(201);
    let named = request("PATCH", "/registries/team-one", &json!({"description": "ours"}));
    root.send(named.header("X-Request-Id", "audit-1")).expect(200);
    let _ = person(&root, "ada");
    role(&root, "registries/team-one", "ada", "viewer");
    let log = root.get("/api/v1/audit?limit=100").expect(200).json();
    let lines = log["items"].as_array().unwrap();
    let whats: Vec<&str> = lines.iter().map(|line| line["what"].as_str().unwrap()).collect();
    for what in [
        "member.set",
        "key.create",
        "session.begin",
        "person.password",
        "person.create",
        "registry.change",
        "project.create",
    ] {
        assert!(whats.contains(&what), "{what}: {whats:?}");
    }
    let changed = lines.iter().find(|line| line["what"] == "registry.change").unwrap();
    assert_eq!(
        (&changed["who"], &changed["from"], &changed["request"]),
        (&json!("administrator"), &json!("127.0.0.1"), &json!("audit-1"))
    );
    assert_eq!((&changed["before"]["description"], &changed["after"]["description"]), (&json!(""), &json!("ours")));
    assert!(!log.to_string().contains(PASSWORD));
    let some = root.get("/api/v1/audit?what=member&limit=1").expect(200).json();
    assert_eq!(some["items"][0]["object"], "registry team-one: ada");
    let first = root.get("/api/v1/audit?limit=2");
    let next = first.next_page().unwrap();
    let second = root.get(&next).expect(200).json();
    assert_eq!(second["items"][0], lines[2]);
}
