//! The management API as clients see it: who is let in, what errors look like, and the document.

use roadstead_testkit::{
    Client, Login, Request, Response, Server,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
};

use crate::scene::{Storage, on_both_engines};

on_both_engines!(
    api_says_who_the_caller_is,
    api_tells_nobody_anything,
    api_token_is_good_for_one_host,
    api_key_that_was_revoked_is_out_at_once,
    api_errors_say_what_would_be_right,
    api_document_and_viewer_come_from_here,
    api_has_its_place_in_the_figures,
);

/// The sentence of a problem.
#[track_caller]
fn problem(answer: &Response, status: u16, code: &str) -> String {
    answer.expect(status).expect_header("Content-Type", "application/problem+json");
    answer.expect_header("Cache-Control", "no-store").expect_header("X-Content-Type-Options", "nosniff");
    let body = answer.json();
    assert_eq!(body["code"], code, "{answer:?}");
    assert_eq!(body["status"], status, "{answer:?}");
    assert_eq!(body["type"], format!("/api/problems#{code}"), "{answer:?}");
    assert_eq!(body["request_id"], answer.header("X-Request-Id"), "{answer:?}");
    body["detail"].as_str().unwrap().to_owned()
}

/// A token of the administrator that was asked for at this host.
fn token_of(client: &Client, host: &str) -> String {
    let request = Request::new("GET", &format!("/token?service={host}")).header("Host", host);
    let answer = client.anonymous().send(request.header("Authorization", &basic(KEY_ID, KEY_SECRET)));
    answer.expect(200).json()["token"].as_str().unwrap().to_owned()
}

fn me(client: &Client, host: &str, token: &str) -> Response {
    let request = Request::new("GET", "/api/v1/me").header("Host", host);
    client.send(request.header("Authorization", &format!("Bearer {token}")))
}

fn api_says_who_the_caller_is(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    let answer = client.get("/api/v1/me");
    answer.expect(200).expect_header("Content-Type", "application/json").expect_header("Cache-Control", "no-store");
    assert_eq!(answer.json(), serde_json::json!({ "kind": "access_key", "key_id": KEY_ID }));
    client.head("/api/v1/me").expect(200).expect_body(b"");
    let host = client.address.to_string();
    let answer = me(&client, &host, &token_of(&client, &host));
    assert_eq!(answer.expect(200).json(), serde_json::json!({ "kind": "token", "key_id": KEY_ID }));
}

/// One answer to all who have no right credentials, whether there is something behind the path or not.
fn api_tells_nobody_anything(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    let anonymous = token_for_nobody(&client);
    let nobody = client.anonymous();
    let wrong = client.logged_in(Login::Basic(KEY_ID.to_owned(), "wrong".to_owned()));
    let token = |token: &str| {
        client.send(Request::new("GET", "/api/v1/me").header("Authorization", &format!("Bearer {token}")))
    };
    for answer in [nobody.get("/api/v1/me"), wrong.get("/api/v1/me"), token("x"), token(&anonymous)] {
        problem(&answer, 401, "unauthenticated");
        answer.expect_header("WWW-Authenticate", "Basic realm=\"roadstead\"");
    }
}

/// What a client gets that wants to pull without signing in.
fn token_for_nobody(client: &Client) -> String {
    let answer = client.anonymous().get(&format!("/token?service={}", client.address));
    answer.expect(200).json()["token"].as_str().unwrap().to_owned()
}

fn api_token_is_good_for_one_host(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    let (here, elsewhere) = (client.address.to_string(), "other.test");
    let token = token_of(&client, elsewhere);
    me(&client, elsewhere, &token).expect(200);
    assert!(problem(&me(&client, &here, &token), 401, "unauthenticated").contains("not valid for this host"));
}

/// Invariant 10, with the key itself and with a token that was made for it.
fn api_key_that_was_revoked_is_out_at_once(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    let host = client.address.to_string();
    let token = token_of(&client, &host);
    me(&client, &host, &token).expect(200);
    server.run(&["key", "revoke", KEY_ID]).ok();
    problem(&client.get("/api/v1/me"), 401, "unauthenticated");
    problem(&me(&client, &host, &token), 401, "unauthenticated");
}

fn api_errors_say_what_would_be_right(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    assert!(problem(&client.get("/api/v1/nothing"), 404, "not_found").contains("/api/v1/openapi.json"));
    assert!(problem(&client.get("/api/v2/me"), 404, "not_found").contains("/api/v1/openapi.json"));
    let answer = client.delete("/api/v1/me");
    assert!(problem(&answer, 405, "method_not_allowed").contains("GET, HEAD"));
    answer.expect_header("Allow", "GET,HEAD");
    let answer = client.get("/api/v1/me?limt=3");
    assert!(problem(&answer, 400, "invalid").contains("`limt`"));
    assert_eq!(answer.json()["errors"][0]["field"], "limt");
    let page = client.anonymous().get("/api/problems").expect(200).text();
    assert!(page.contains("id=\"not_found\"") && page.contains("id=\"invalid\""));
}

fn api_document_and_viewer_come_from_here(storage: &Storage) {
    let server = storage.start();
    let nobody = server.client().anonymous();
    let answer = nobody.get("/api/v1/openapi.json");
    let document = answer.expect(200).expect_header("Content-Type", "application/json").json();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert!(document["paths"]["/api/v1/me"]["get"].is_object());

    let page = nobody.get("/api");
    let text = page.expect(200).expect_header("Content-Type", "text/html; charset=utf-8").text();
    assert!(!text.contains("//"), "the page refers to another host: {text}");
    let policy = page.header("Content-Security-Policy");
    assert!(policy.starts_with("default-src 'none';"), "{policy}");
    assert!(!policy.contains('*') && !policy.contains("http") && !policy.contains("unsafe-eval"), "{policy}");
    let files: Vec<_> = text.split('"').filter(|part| part.starts_with("/api/")).collect();
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        assert!(!nobody.get(file).expect(200).body.is_empty(), "{file}");
    }
}

fn api_has_its_place_in_the_figures(storage: &Storage) {
    let server = Server::start(storage.setup().set("ROADSTEAD_METRICS_LISTEN", "127.0.0.1:0"));
    server.client().get("/api/v1/me").expect(200);
    let address = server
        .output()
        .wait_for(0, |line| line.split_once("metrics on http://")?.1.split('/').next()?.parse().ok())
        .unwrap();
    let figures = Client::new(address, Login::Basic(KEY_ID.to_owned(), KEY_SECRET.to_owned()));
    for path in ["/api", "/api/v1/me", "/api/v1/openapi.json"] {
        figures.get(path).expect(404);
    }
    let page = figures.get("/metrics").expect(200).text();
    assert!(page.lines().any(|line| line.contains("route=\"api\"") && line.contains("status=\"200\"")), "{page}");
}
