//! Private listeners (product.md 2): a registry whose public endpoint is off answers there alone, and nobody outside notices that it is
//! there: every answer about it is, to the byte, that about one that does not exist.

use std::net::SocketAddr;

use roadstead_testkit::{
    Body, Client, Login, Request, Response, Server, Setup,
    content::{self, digest},
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic},
};
use serde_json::{Value, json};

use crate::{
    management::{person, robot, role, send},
    scene::{BINARY, Storage, on_both_engines, with_cluster},
};

on_both_engines!(
    private_registry_is_not_noticed_outside,
    private_registry_works_inside,
    private_tokens_are_of_no_use_outside,
    private_host_names_lead_to_one_registry,
    private_endpoint_is_turned_off_and_on_at_once,
    private_registry_is_managed_from_outside_too,
);

/// What is hidden, and what is not there: names of one length, so that no length tells them apart.
const HIDDEN: &str = "hidden-one";
const ABSENT: &str = "absent-one";

fn with_private(setup: Setup) -> Setup {
    setup.set("ROADSTEAD_PRIVATE_LISTEN", "127.0.0.1:0")
}

/// The address for private clients of a server that listens there.
fn inside(server: &Server) -> SocketAddr {
    let read = |line: &str| line.split_once("for private clients on http://")?.1.trim().parse().ok();
    server.output().wait_for(0, read).expect("a private listener")
}

/// The same client, come in by another address.
fn at(address: SocketAddr, client: &Client) -> Client {
    Client::new(address, client.login.clone())
}

/// A project with a registry that is hidden, and callers of all kinds. All that is pushed went in on the inside.
fn hidden(server: &Server) -> (content::Image, Vec<(&'static str, Client)>) {
    let root = server.client();
    send(&root, "PUT", "/projects/alpha", &json!({})).expect(201);
    let closed = json!({"project": "alpha", "public_pull": true, "public_endpoint": false});
    send(&root, "PUT", &format!("/registries/{HIDDEN}"), &closed).expect(201);
    let image = content::image(1);
    at(inside(server), &root).push_image(&format!("{HIDDEN}/app"), "v1", &image);
    let manager = person(&root, "manager");
    role(&root, "projects/alpha", "manager", "manager");
    let token = |client: &Client| {
        let Login::Basic(id, secret) = client.login.clone() else { unreachable!("a key") };
        client.logged_in(Login::Token(id, secret))
    };
    let callers = vec![
        ("anonymous", root.anonymous()),
        ("anyone", root.logged_in(Login::AnonymousToken)),
        ("stranger", person(&root, "stranger")),
        ("manager by token", token(&manager)),
        ("manager", manager),
        ("robot", robot(&root, "alpha", "ci", &json!([{"actions": ["*"]}]))),
        ("administrator by token", token(&root)),
        ("administrator", root),
    ];
    (image, callers)
}

/// All that can be asked of `/v2` about a registry of this name, and for tokens for it.
pub(crate) fn questions(name: &str, image: &content::Image) -> Vec<Request> {
    let (blob, manifest) = (digest(&image.blobs[0]), image.manifest.digest());
    let at = |method: &str, rest: &str| Request::new(method, &format!("/v2/{name}/app/{rest}"));
    let upload = "blobs/uploads/00000000-0000-0000-0000-000000000000";
    let put = |request: Request, bytes: &[u8]| request.body(Body::Length(bytes.to_vec()));
    let mut all = vec![
        at("GET", "manifests/v1"),
        at("HEAD", "manifests/v1"),
        at("GET", &format!("manifests/{manifest}")),
        put(at("PUT", "manifests/v2").header("Content-Type", &image.manifest.media_type), &image.manifest.bytes),
        put(at("PUT", "manifests/v2").header("Content-Type", "text/plain"), b"no manifest"),
        at("DELETE", "manifests/v1"),
        at("DELETE", &format!("manifests/{manifest}")),
        at("GET", &format!("blobs/{blob}")),
        at("HEAD", &format!("blobs/{blob}")),
        at("GET", &format!("blobs/{blob}")).header("Range", "bytes=0-3"),
        at("DELETE", &format!("blobs/{blob}")),
        at("POST", "blobs/uploads/"),
        put(at("POST", &format!("blobs/uploads/?digest={blob}")), &image.blobs[0]),
        at("POST", &format!("blobs/uploads/?mount={blob}")),
        at("POST", &format!("blobs/uploads/?mount={blob}&from={name}/app")),
        at("GET", upload),
        put(at("PATCH", upload), b"bytes"),
        put(at("PUT", &format!("{upload}?digest={blob}")), b""),
        at("DELETE", upload),
        at("GET", "tags/list"),
        at("GET", &format!("referrers/{manifest}")),
        Request::new("GET", &format!("/v2/{name}/manifests/v1")),
        Request::new("GET", &format!("/v2/_catalog?last={name}")),
        // Into another registry, from this one: a mount that can't be is an upload that begins.
        Request::new("POST", &format!("/v2/conf/app/blobs/uploads/?mount={blob}&from={name}/app")),
    ];
    all.extend(
        ["pull", "pull,push", "delete", "*"]
            .map(|actions| Request::new("GET", &format!("/token?service=x&scope=repository:{name}/app:{actions}"))),
    );
    all
}

/// What a client sees of an answer, but for what differs between any two: times, ids, signatures, and the name itself.
pub(crate) fn seen(answer: &Response, name: &str) -> String {
    let mut headers: Vec<_> = answer
        .headers
        .iter()
        .filter(|(header, _)| !["date", "x-request-id"].contains(&header.to_ascii_lowercase().as_str()))
        .map(|(header, value)| {
            let drawn = ["location", "docker-upload-uuid"].contains(&header.to_ascii_lowercase().as_str());
            format!("{header}: {}", if drawn { "drawn" } else { value })
        })
        .collect();
    headers.sort();
    let body = match serde_json::from_slice::<Value>(&answer.body) {
        Ok(mut json) if json["token"].is_string() => {
            let granted = roadstead_testkit::token::claims(json["token"].as_str().unwrap())["access"].clone();
            for drawn in ["token", "access_token", "issued_at"] {
                json[drawn] = granted.clone();
            }
            json.to_string()
        }
        Ok(mut json) => {
            if let Some(problem) = json.as_object_mut() {
                problem.remove("request_id");
            }
            json.to_string()
        }
        Err(_) => answer.text(),
    };
    // The length of a token is that of its random parts and names.
    headers.retain(|header| !body.contains("access_token") || !header.starts_with("content-length"));
    format!("{} {headers:?} {body}", answer.status).replace(name, "NAME")
}

fn private_registry_is_not_noticed_outside(storage: &Storage) {
    let server = Server::start(with_private(storage.setup()));
    let (image, callers) = hidden(&server);
    for (who, client) in &callers {
        for (there, absent) in questions(HIDDEN, &image).into_iter().zip(questions(ABSENT, &image)) {
            let what = format!("{who}: {} {}", there.method, there.target);
            let [there, absent] = [(HIDDEN, there), (ABSENT, absent)].map(|(name, request)| {
                // Asking for a token is done with the key itself, whatever the client does with it otherwise.
                let request = match &client.login {
                    Login::Token(id, secret) if request.target.starts_with("/token") => {
                        request.header("Authorization", &basic(id, secret))
                    }
                    _ => request,
                };
                seen(&client.send(request), name)
            });
            assert_eq!(there, absent, "{what}");
        }
    }
    // The management of it is for who has rights on it, by every address. To all others it is not there (product.md 3).
    let by_key = |client: &Client| matches!(client.login, Login::Basic(..) | Login::Anonymous);
    for (who, client) in callers.iter().filter(|(_, client)| by_key(client)) {
        let sees = ["administrator", "manager"].contains(who);
        for (method, path, body) in [
            ("GET", "", Value::Null),
            ("PATCH", "", json!({"description": "x"})),
            ("GET", "/members", Value::Null),
            ("PUT", "/members/stranger", json!({"role": "viewer"})),
            ("DELETE", "/members/stranger", Value::Null),
        ] {
            let [there, absent] = [HIDDEN, ABSENT].map(|name| {
                let answer = send(client, method, &format!("/registries/{name}{path}"), &body);
                (answer.status, seen(&answer, name))
            });
            assert!(if sees { there.0 < 300 } else { there == absent }, "{who}: {method} {path}: {there:?} {absent:?}");
        }
        if *who == "stranger" {
            let listed = client.get("/api/v1/registries").expect(200).text();
            assert!(!listed.contains(HIDDEN), "{who}: {listed}");
        }
    }
    let root = server.client();
    assert!(!root.get("/v2/_catalog").expect(200).text().contains(HIDDEN));
    assert!(at(inside(&server), &root).get("/v2/_catalog").expect(200).text().contains(HIDDEN));
}

fn private_registry_works_inside(storage: &Storage) {
    let setup = with_private(storage.setup()).set("ROADSTEAD_PRIVATE_EXTERNAL_URL", "http://registry.inside:5001");
    let server = Server::start(setup.set("ROADSTEAD_EXTERNAL_URL", "http://registry.outside"));
    let (image, callers) = hidden(&server);
    let address = inside(&server);
    // Whoever comes in there is sent to where they can go, whatever they called the host.
    let challenge = Challenge::of(&Client::new(address, Login::Anonymous).get("/v2/"));
    assert_eq!(
        (challenge.realm.as_str(), challenge.service.as_str()),
        ("http://registry.inside:5001/token", "registry.inside:5001")
    );
    let challenge = Challenge::of(&server.client().anonymous().get("/v2/"));
    assert_eq!(challenge.realm, "http://registry.outside/token");
    let target = format!("/v2/{HIDDEN}/app/manifests/v1");
    for (who, client) in &callers {
        let answer = at(address, client).get(&target);
        // Anyone may pull it, with a token too; who shows no credentials is asked for some.
        answer.expect(if *who == "anonymous" { 401 } else { 200 });
    }
    for client in callers.iter().filter(|(who, _)| who.starts_with("manager")).map(|(_, client)| at(address, client)) {
        let again = content::image(2);
        let named = client.push_image(&format!("{HIDDEN}/other"), "v1", &again);
        for blob in &again.blobs {
            assert_eq!(&client.pull_blob(&format!("{HIDDEN}/other"), &digest(blob)), blob);
        }
        let mount = format!("/v2/{HIDDEN}/third/blobs/uploads/?mount={}&from={HIDDEN}/app", digest(&image.blobs[0]));
        client.post(&mount).expect(201);
        client.get(&format!("/v2/{HIDDEN}/other/tags/list")).expect(200);
        client.delete(&format!("/v2/{HIDDEN}/other/manifests/{named}")).expect(202);
    }
    let shown = server.client().get(&format!("/api/v1/registries/{HIDDEN}")).expect(200).json();
    assert_eq!(shown["endpoints"], json!({"private": {"path": format!("registry.inside:5001/{HIDDEN}")}}));
    let shown = server.client().get("/api/v1/registries/conf").expect(200).json();
    assert_eq!(shown["endpoints"]["public"], json!({"path": "registry.outside/conf"}));
}

/// A token is of use on the kind of listener that it was got at, also where both are called the same; refresh tokens likewise.
fn private_tokens_are_of_no_use_outside(storage: &Storage) {
    let server = Server::start(with_private(storage.setup()));
    let _ = hidden(&server);
    let root = server.client();
    let doors = [root.address, inside(&server)];
    for (from, to) in [(doors[0], doors[1]), (doors[1], doors[0])] {
        let ask = |address: SocketAddr, request: Request| {
            Client::new(address, Login::Anonymous).send(request.header("Host", "registry.test"))
        };
        let scopes = format!("scope=repository:conf/app:pull,push&scope=repository:{HIDDEN}/app:pull,push");
        let get = Request::new("GET", &format!("/token?service=x&offline_token=true&{scopes}"));
        let got = ask(from, get.header("Authorization", &basic(KEY_ID, KEY_SECRET))).expect(200).json();
        let bearer = format!("Bearer {}", got["token"].as_str().unwrap());
        let begin = || Request::new("POST", "/v2/conf/app/blobs/uploads/").header("Authorization", &bearer);
        ask(from, begin()).expect(202);
        let challenge = Challenge::of(&ask(to, begin()));
        assert_eq!(challenge.error.as_deref(), Some("invalid_token"));
        let refresh = format!("grant_type=refresh_token&refresh_token={}", got["refresh_token"].as_str().unwrap());
        let post = || {
            let form = Request::new("POST", "/token").header("Content-Type", "application/x-www-form-urlencoded");
            form.body(Body::Length(refresh.clone().into_bytes()))
        };
        ask(to, post()).expect(400);
        ask(from, post()).expect(200);
    }
}

/// `ID.REGION.private.DOMAIN/REPOSITORY`, on private listeners alone.
fn private_host_names_lead_to_one_registry(storage: &Storage) {
    let setup = with_private(storage.setup()).set("ROADSTEAD_DOMAIN", "example.test").set("ROADSTEAD_REGION", "kr1");
    let server = Server::start(setup);
    let (image, _) = hidden(&server);
    let root = server.client();
    let private = at(inside(&server), &root);
    let shown = send(&private, "GET", &format!("/registries/{HIDDEN}"), &Value::Null).expect(200).json();
    let host = shown["endpoints"]["private"]["host"].as_str().unwrap().to_owned();
    assert_eq!(shown["endpoints"]["private"]["path"], format!("{}/{HIDDEN}", private.address));
    let id = host.strip_suffix(&format!(".kr1.private.example.test:{}", private.address.port())).unwrap();
    assert!(id.len() == 16 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{host}");
    let ask = |client: &Client, host: &str, request: Request| client.send(request.header("Host", host));
    let get = |target: &str| Request::new("GET", target);

    ask(&private, &host, get("/v2/app/manifests/v1")).expect(200).expect_body(&image.manifest.bytes);
    assert_eq!(ask(&private, &host, get("/v2/_catalog")).expect(200).json()["repositories"], json!(["app"]));
    let challenge = Challenge::of(&ask(&private.anonymous(), &host, get("/v2/app/tags/list")));
    assert_eq!(challenge.realm, format!("http://{host}/token"));
    assert_eq!(challenge.scope.as_deref(), Some("repository:app:pull"));
    let token = ask(&private, &host, get(&challenge.target(&[]))).expect(200).json();
    let bearer = format!("Bearer {}", token["token"].as_str().unwrap());
    ask(&private, &host, get("/v2/app/tags/list").header("Authorization", &bearer)).expect(200);
    // The registry's own name is the repository's there; another id is nobody's; outside all of this means nothing.
    ask(&private, &host, get(&format!("/v2/{HIDDEN}/app/manifests/v1"))).expect(404);
    let absent = host.replace(id, "0123456789abcdef");
    ask(&private, &absent, get("/v2/app/manifests/v1")).expect(404);
    ask(&private, &absent, get("/v2/_catalog")).expect(200).expect_body(br#"{"repositories":[]}"#);
    ask(&root, &host, get("/v2/app/manifests/v1")).expect(404);

    // What was looked up once leads nowhere when the registry is gone.
    send(&root, "DELETE", &format!("/registries/{HIDDEN}"), &Value::Null).expect(204);
    ask(&private, &host, get("/v2/app/manifests/v1")).expect(404);
}

fn private_endpoint_is_turned_off_and_on_at_once(storage: &Storage) {
    let server = Server::start(with_private(storage.setup()));
    let mut nodes = vec![server.client()];
    let second = storage.is_shared().then(|| storage.start());
    nodes.extend(second.as_ref().map(Server::client));
    let root = &nodes[0];
    let image = content::image(1);
    root.push_image("conf/app", "v1", &image);
    let begun = root.begin("conf/app");
    let target = "/v2/conf/app/manifests/v1";
    for round in 0..2 {
        for node in &nodes {
            node.get(target).expect(200);
        }
        send(&nodes[round % nodes.len()], "PATCH", "/registries/conf", &json!({"public_endpoint": false})).expect(200);
        for node in &nodes {
            node.get(target).expect_error(404, "NAME_UNKNOWN");
            node.patch(&begun, None, b"bytes").expect_error(404, "BLOB_UPLOAD_UNKNOWN");
        }
        at(inside(&server), root).get(target).expect(200);
        let shown = root.get("/api/v1/registries/conf").expect(200).json();
        assert_eq!((&shown["public_endpoint"], &shown["endpoints"]["public"]), (&json!(false), &Value::Null));
        send(root, "PATCH", "/registries/conf", &json!({"public_endpoint": true})).expect(200);
    }
    let changed = root.get("/api/v1/audit?what=registry.change&limit=1").expect(200).json();
    let line = &changed["items"][0];
    assert_eq!((&line["before"]["public_endpoint"], &line["after"]["public_endpoint"]), (&json!(false), &json!(true)));
}

/// A presigned address covers its host: each kind of listener gives one that its clients reach, or streams.
#[test]
fn private_redirects_lead_to_the_private_store() {
    with_cluster(|cluster| {
        let base = with_private(Setup::node(BINARY, cluster)).set("ROADSTEAD_BUCKET_SMALL_BYTES", "0");
        let streams = Server::start(base.clone());
        let bytes = content::random_bytes(20_000);
        let target = format!("/v2/conf/app/blobs/{}", streams.client().push_blob("conf/app", &bytes));
        streams.client().get(&target).expect(307);
        at(inside(&streams), &streams.client()).get(&target).expect(200).expect_body(&bytes);

        // Another name of the same store: the host is part of what is signed.
        let endpoint = base.get("ROADSTEAD_BUCKET_ENDPOINT").unwrap().to_owned();
        let private = endpoint.replace("127.0.0.1", "localhost");
        assert_ne!(private, endpoint);
        let both = base.clone().set("ROADSTEAD_BUCKET_PRIVATE_SIGNING_ENDPOINT", &private);
        let redirects = Server::start(both.clone());
        let outside = redirects.client().get(&target).expect(307).location();
        let address = at(inside(&redirects), &redirects.client()).get(&target).expect(307).location();
        assert!(outside.starts_with(&endpoint) && address.starts_with(&private), "{outside} {address}");
        let host = private.strip_prefix("http://").unwrap();
        let reached = Request::new("GET", &address.replace("localhost", "127.0.0.1")).header("Host", host);
        redirects.client().anonymous().send(reached).expect(200).expect_body(&bytes);

        // Each has a switch of its own.
        let inside_only = Server::start(both.clone().set("ROADSTEAD_BUCKET_REDIRECT", "false"));
        inside_only.client().get(&target).expect(200).expect_body(&bytes);
        at(inside(&inside_only), &inside_only.client()).get(&target).expect(307);
        let outside_only = Server::start(both.set("ROADSTEAD_PRIVATE_REDIRECT", "false"));
        outside_only.client().get(&target).expect(307);
        at(inside(&outside_only), &outside_only.client()).get(&target).expect(200).expect_body(&bytes);
    });
}

/// What is closed is the way of images: who has rights on the registry sees by the management API what lies in it, and changes it.
fn private_registry_is_managed_from_outside_too(storage: &Storage) {
    let server = Server::start(with_private(storage.setup()));
    let (image, _) = hidden(&server);
    let root = server.client();
    let app = format!("/registries/{HIDDEN}/repositories/app");
    send(&root, "GET", &app, &Value::Null).expect(200);
    let shown =
        send(&root, "GET", &format!("{app}/artifacts/{}", image.manifest.digest()), &Value::Null).expect(200).json();
    assert_eq!((&shown["tags"], &shown["config"]["unread"]), (&json!(["v1"]), &Value::Null), "{shown}");
    let tag = json!({"digest": image.manifest.digest()});
    send(&root, "PUT", &format!("{app}/tags/v2"), &tag).expect(201);
    send(&root, "DELETE", &format!("{app}/tags/v2"), &Value::Null).expect(204);
}
