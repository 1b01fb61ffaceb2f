//! Single sign-on: people sign in at a provider of OpenID Connect, which here is one of our own on this machine.

use roadstead_testkit::{
    Client, Issuer, Request, Response, Server, Setup,
    http::{escape, path_of},
    issuer::{CLIENT, query},
};
use serde_json::{Value, json};

use crate::{
    management::{PASSWORD, request, role, send},
    scene::{Engine, Storage, on_both_engines},
};

on_both_engines!(
    sign_on_begins_a_session,
    sign_on_is_of_one_browser_and_once,
    sign_on_believes_no_wrong_token,
    sign_on_gives_nobody_the_name_of_another,
    sign_on_brings_groups_up_to_date,
    sign_on_goes_nowhere_else,
);

const BEGIN: &str = "/api/v1/session/oidc";

fn setup(storage: &Storage, provider: &Issuer) -> Setup {
    storage
        .setup()
        .set("ROADSTEAD_OIDC_ISSUER", &provider.address)
        .set("ROADSTEAD_OIDC_INTERNAL", "true")
        .set("ROADSTEAD_OIDC_CLIENT_ID", CLIENT.0)
        .set("ROADSTEAD_OIDC_CLIENT_SECRET", CLIENT.1)
        .set("ROADSTEAD_OIDC_MAKE_PEOPLE", "true")
        .set("ROADSTEAD_OIDC_ADMINISTRATORS", "admins")
        .set(
            "ROADSTEAD_OIDC_ROLES",
            "devs:project:shop:uploader,/ops:team:project:shop:manager,devs:registry:gone:viewer",
        )
}

/// A browser on its way to the provider: where it is sent, and its cookie.
fn begin(client: &Client) -> (String, String) {
    let answer = client.anonymous().get(BEGIN);
    answer.expect(303);
    let cookie = answer.header("Set-Cookie");
    assert!(
        cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && cookie.contains("Max-Age=600"),
        "{cookie}"
    );
    (answer.header("Location").to_owned(), first(cookie))
}

fn first(cookie: &str) -> String {
    cookie.split(';').next().unwrap().to_owned()
}

/// A browser that comes back from the provider.
fn come_back(client: &Client, address: &str, cookie: &str) -> Response {
    let target = path_of(address);
    client.anonymous().send(Request::new("GET", target).header("Cookie", cookie).header("Sec-Fetch-Site", "cross-site"))
}

/// The whole way; the answer of the callback.
fn sign_on(client: &Client, provider: &Issuer, claims: &Value) -> Response {
    let (page, cookie) = begin(client);
    come_back(client, &provider.sign_in(&page, claims), &cookie)
}

/// The cookie of the session that an answer began.
fn session(answer: &Response) -> String {
    let cookies = answer.expect(200).all("Set-Cookie");
    let cookie = cookies.iter().find(|it| it.starts_with("roadstead_session=")).unwrap();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    assert!(cookies.iter().any(|it| it.starts_with("roadstead_sign_on=;") && it.contains("Max-Age=0")), "{cookies:?}");
    first(cookie)
}

fn with(client: &Client, cookie: &str, path: &str) -> Response {
    client.anonymous().send(request("GET", path, &Value::Null).header("Cookie", cookie))
}

#[track_caller]
fn refused(answer: &Response, status: u16, words: &str) {
    let detail = answer.expect(status).json()["detail"].as_str().unwrap().to_owned();
    assert!(detail.contains(words), "{detail:?}, not {words:?}");
    assert!(answer.all("Set-Cookie").is_empty(), "{answer:?}");
}

fn ada() -> Value {
    json!({"sub": "id-of-ada", "preferred_username": "Ada", "name": "Ada Lovelace", "email": "ada@example.com"})
}

fn sign_on_begins_a_session(storage: &Storage) {
    let provider = Issuer::start();
    let server = Server::start(setup(storage, &provider));
    let root = server.client();
    let answer = sign_on(&root, &provider, &ada());
    let cookie = session(&answer);
    assert!(answer.text().contains("content=\"0; url=/\""), "{answer:?}");
    answer.expect_header("Cache-Control", "no-store");
    let me = with(&root, &cookie, "/me").expect(200).json();
    assert_eq!((&me["kind"], &me["key_id"]), (&json!("session"), &json!("ada")));
    let made = root.get("/api/v1/people/ada").expect(200).json();
    assert_eq!((&made["full_name"], &made["email"]), (&json!("Ada Lovelace"), &json!("ada@example.com")));
    assert_eq!(root.get("/api/v1/people/ada/identity").expect(200).json()["subject"], "id-of-ada");
    // Another name at the provider, and still the same person.
    let mut renamed = ada();
    renamed["preferred_username"] = "countess".into();
    let cookie = session(&sign_on(&root, &provider, &renamed));
    assert_eq!(with(&root, &cookie, "/me").expect(200).json()["key_id"], "ada");
    let lines = root.get("/api/v1/audit?who=ada&what=session").expect(200).json();
    assert_eq!(lines["items"].as_array().unwrap().len(), 2, "{lines}");
    // Disabled people stay out, and what they had is over.
    send(&root, "PATCH", "/people/ada", &json!({"disabled": true})).expect(200);
    with(&root, &cookie, "/me").expect(401);
    refused(&sign_on(&root, &provider, &ada()), 403, "may not sign in");
    let lines = root.get("/api/v1/audit?who=ada&what=session.refused").expect(200).json();
    assert_eq!(lines["items"].as_array().unwrap().len(), 1, "{lines}");
}

/// Login CSRF, fixation and replay: what was begun in one browser is finished there alone, and once.
fn sign_on_is_of_one_browser_and_once(storage: &Storage) {
    let provider = Issuer::start();
    let server = Server::start(setup(storage, &provider));
    let root = server.client();
    let (page, cookie) = begin(&root);
    let (_, of_another) = begin(&root);
    let back = provider.sign_in(&page, &ada());
    for stolen in ["", "roadstead_sign_on=x", &of_another] {
        refused(&come_back(&root, &back, stolen), 400, "begin again");
    }
    let sent_elsewhere = back.replace(&escape(&provider.address), "https%3A%2F%2Fevil.example");
    refused(&come_back(&root, &sent_elsewhere, &cookie), 403, "another provider");
    refused(&come_back(&root, &back.replace("&code=", "&code=x"), &cookie), 403, "does not take the code");
    refused(&come_back(&root, &back.replace("&code=", "&error=access_denied&x="), &cookie), 403, "access_denied");
    let changed = back.replace("state=", "state=x");
    refused(&come_back(&root, &changed, &cookie), 400, "begin again");
    // Begun at one node, it may be finished at another, and then at none again.
    let other = (storage.engine == Engine::S3).then(|| Server::start(setup(storage, &provider)));
    let there = other.as_ref().unwrap_or(&server).client();
    let first = session(&come_back(&there, &back, &cookie));
    with(&root, &first, "/me").expect(200);
    refused(&come_back(&root, &back, &cookie), 400, "finished already");
    // Each sign-in has a session of its own, whatever the browser brought.
    let (page, cookie) = begin(&root);
    let again = come_back(&root, &provider.sign_in(&page, &ada()), &format!("{first}; {cookie}"));
    assert_ne!(session(&again), first);
    // The provider is strict about PKCE: a code of another sign-in is of no use in ours.
    let (page, cookie) = begin(&root);
    let (of_another, _) = begin(&root);
    let (own, other) = (query(&page), provider.sign_in(&of_another, &ada()));
    let injected =
        format!("http://x/api/v1/session/oidc/callback?state={}&code={}", own["state"], query(&other)["code"]);
    refused(&come_back(&root, &injected, &cookie), 403, "does not take the code");
}

fn sign_on_believes_no_wrong_token(storage: &Storage) {
    let (provider, stranger) = (Issuer::start(), Issuer::start());
    let server = Server::start(setup(storage, &provider));
    let root = server.client();
    let wrong = |claims: &Value, words: &str| refused(&sign_on(&root, &provider, claims), 403, words);
    wrong(&json!({"nonce": "of another sign-in"}), "nonce");
    wrong(&json!({"aud": "another client"}), "another client");
    wrong(&json!({"aud": [CLIENT.0, "another"]}), "azp");
    wrong(&json!({"iss": stranger.address}), "another issuer");
    wrong(&json!({"exp": 1_000_000_000}), "expired");
    wrong(&json!({"nbf": 4_000_000_000_u64}), "not valid yet");
    wrong(&json!({"sub": ""}), "subject");
    wrong(&json!({"sub": "x"}), "can't be a name");
    for name in ["operator", "a/b", "", "ä"] {
        wrong(&json!({"sub": "x", "preferred_username": name}), "can't be a name");
    }
    let (page, cookie) = begin(&root);
    let asked = query(&page);
    let mut claims = provider.claims(CLIENT.0, &ada());
    claims["nonce"] = asked["nonce"].clone().into();
    let right = provider.sign(&claims);
    let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", right.split('.').nth(1).unwrap());
    for (token, words) in
        [(stranger.sign(&claims), "signature"), (unsigned, "don't know"), ("x".to_owned(), "can read")]
    {
        refused(&come_back(&root, &provider.sign_in_with(&page, token), &cookie), 403, words);
    }
    session(&come_back(&root, &provider.sign_in_with(&page, right), &cookie));
}

/// Who chooses a name at the provider does not become the person of that name here.
fn sign_on_gives_nobody_the_name_of_another(storage: &Storage) {
    let provider = Issuer::start();
    let server = Server::start(setup(storage, &provider));
    let root = server.client();
    send(&root, "PUT", "/people/ada", &json!({"email": "ada@example.com"})).expect(201);
    send(&root, "PUT", "/people/ada/password", &json!({"password": PASSWORD})).expect(204);
    let answer = sign_on(&root, &provider, &ada());
    refused(&answer, 403, "there is a person called ada here who is not linked");
    refused(&answer, 403, "id-of-ada");
    root.get("/api/v1/people/ada/identity").expect(404);
    send(&root, "PUT", "/people/ada/identity", &json!({"subject": "id-of-ada"})).expect(200);
    let cookie = session(&sign_on(&root, &provider, &ada()));
    assert_eq!(with(&root, &cookie, "/me").expect(200).json()["key_id"], "ada");
    // The subject is hers alone.
    send(&root, "PUT", "/people/bob", &json!({})).expect(201);
    send(&root, "PUT", "/people/bob/identity", &json!({"subject": "id-of-ada"})).expect(409);
    send(&root, "PUT", "/people/bob/identity", &json!({"subject": ""})).expect(400);
    send(&root, "DELETE", "/people/ada/identity", &Value::Null).expect(204);
    with(&root, &cookie, "/me").expect(401);
    refused(&sign_on(&root, &provider, &ada()), 403, "not linked");
    // Where nobody is made, a stranger stays one.
    let server = Server::start(setup(storage, &provider).set("ROADSTEAD_OIDC_MAKE_PEOPLE", "false"));
    refused(
        &sign_on(&server.client(), &provider, &json!({"sub": "x", "preferred_username": "eve"})),
        403,
        "no person called eve",
    );
}

fn sign_on_brings_groups_up_to_date(storage: &Storage) {
    let provider = Issuer::start();
    let server = Server::start(setup(storage, &provider));
    let root = server.client();
    send(&root, "PUT", "/projects/shop", &json!({})).expect(201);
    let enter = |groups: Value| {
        let mut claims = ada();
        claims["groups"] = groups;
        session(&sign_on(&root, &provider, &claims))
    };
    let roles = || {
        let members = root.get("/api/v1/projects/shop/members").expect(200).json();
        members["items"].as_array().unwrap().first().map(|it| {
            let of = |name: &str| it[name].as_str().unwrap_or("-").to_owned();
            format!("{} {} {}", of("role"), of("by_hand"), of("by_groups"))
        })
    };
    enter(json!(["devs", "others"]));
    assert_eq!(roles().as_deref(), Some("uploader - uploader"));
    let taken = send(&root, "DELETE", "/projects/shop/members/ada", &Value::Null);
    assert!(taken.expect(409).text().contains("by a group"), "{taken:?}");
    enter(json!(["devs", "/ops:team"]));
    assert_eq!(roles().as_deref(), Some("manager - manager"), "the stronger one");
    role(&root, "projects/shop", "ada", "viewer");
    assert_eq!(roles().as_deref(), Some("manager viewer manager"));
    enter(json!([]));
    assert_eq!(roles().as_deref(), Some("viewer viewer -"), "what was given by hand stays");
    enter(json!("devs"));
    assert_eq!(roles().as_deref(), Some("uploader viewer uploader"));
    send(&root, "DELETE", "/projects/shop/members/ada", &Value::Null).expect(204);
    assert_eq!(roles().as_deref(), Some("uploader - uploader"));
    enter(json!(["others"]));
    assert_eq!(roles(), None);
    let leads = || root.get("/api/v1/people/ada").expect(200).json()["administrator"].as_bool().unwrap();
    let cookie = enter(json!(["admins"]));
    assert!(leads());
    with(&root, &cookie, "/people").expect(200);
    enter(json!([]));
    assert!(!leads());
    with(&root, &cookie, "/people").expect(403);
    send(&root, "PATCH", "/people/ada", &json!({"administrator": true})).expect(200);
    enter(json!([]));
    assert!(leads(), "given by hand");
    let lines = root.get("/api/v1/projects/shop/audit?who=ada&what=member").expect(200).json();
    assert!(lines["items"].as_array().unwrap().len() >= 5, "{lines}");
}

fn sign_on_goes_nowhere_else(storage: &Storage) {
    let provider = Issuer::start();
    let server = Server::start(setup(storage, &provider));
    let root = server.client();
    for to in ["https://evil.example/", "//evil.example", "/\\evil.example", "evil", "/%0a/evil", ""] {
        let escaped = to.replace('\\', "%5C");
        let answer = root.anonymous().get(&format!("{BEGIN}?to={escaped}"));
        assert!(answer.expect(400).text().contains("a path on this service"), "{answer:?}");
    }
    let answer = root.anonymous().get(&format!("{BEGIN}?to=/a%3Fb%3D%22%3E%3Cscript%3E"));
    let (page, cookie) = (answer.expect(303).header("Location").to_owned(), first(answer.header("Set-Cookie")));
    let back = come_back(&root, &provider.sign_in(&page, &ada()), &cookie);
    assert!(back.text().contains("url=/a?b=&quot;&gt;&lt;script&gt;\""), "{back:?}");
    back.expect_header(
        "Content-Security-Policy",
        "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    );
    // Where nobody signs in at a provider there is nothing.
    let without = storage.start();
    refused(&without.client().anonymous().get(BEGIN), 404, "oidc.issuer");
}
