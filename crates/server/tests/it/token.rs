//! protocol.md 2: the challenge, `GET /token`, `POST /token`, and what a token says. What a token opens is in
//! [`crate::token_rights`].

use std::thread;

use roadstead_testkit::{
    Body, Login, Request, Response,
    http::escape,
    server::{KEY_ID, KEY_SECRET, REGISTRY},
    token::{Challenge, basic, claims},
};
use serde_json::json;

use crate::scene::{Scene, conformance};

conformance!(
    t2_login_good_and_bad,
    t3_scopes_in_every_form,
    t3_malformed_scope,
    t4_unknown_repository,
    t7_refresh_token,
    t7_wrong_refresh_token,
    t7_password_grant,
    t7_bad_requests,
    t11_odd_passwords,
    t12_account_is_not_the_user,
    t13_many_at_once,
    t21_challenge_on_the_request_itself,
    t22_answer,
    t22_anonymous,
    t22_other_service,
    t24_claims,
    t24_token_that_is_none,
);

/// `GET /token` for scopes, with key id and secret if given.
pub(crate) fn get_token(t: &Scene, scopes: &[&str], login: Option<(&str, &str)>) -> Response {
    let challenge = Challenge::of(&t.client.anonymous().get("/v2/"));
    let mut request = Request::new("GET", &challenge.target(scopes));
    if let Some((id, secret)) = login {
        request = request.header("Authorization", &basic(id, secret));
    }
    t.client.anonymous().send(request)
}

/// A token of the administrator for scopes.
pub(crate) fn token(t: &Scene, scopes: &[&str]) -> String {
    let answer = get_token(t, scopes, Some((KEY_ID, KEY_SECRET)));
    answer.expect(200).json()["token"].as_str().unwrap().to_owned()
}

/// `POST /token` with form fields.
pub(crate) fn post_token(t: &Scene, fields: &[(&str, &str)]) -> Response {
    let service = t.client.address.to_string();
    let mut form = format!("service={}", escape(&service));
    for (name, value) in fields {
        form += &format!("&{name}={}", escape(value));
    }
    let request = Request::new("POST", "/token").header("Content-Type", "application/x-www-form-urlencoded");
    t.client.anonymous().send(request.body(Body::Length(form.into_bytes())))
}

/// Sends a request with a token.
pub(crate) fn bearer(t: &Scene, method: &str, target: &str, token: &str) -> Response {
    t.client.send(Request::new(method, target).header("Authorization", &format!("Bearer {token}")))
}

/// What a token gives, as `name -> actions`, actions sorted.
pub(crate) fn granted(token: &str) -> Vec<(String, Vec<String>)> {
    let claims = claims(token);
    let access = claims["access"].as_array().cloned().unwrap_or_default();
    let mut granted: Vec<_> = access
        .iter()
        .map(|entry| {
            let mut actions: Vec<String> =
                entry["actions"].as_array().unwrap().iter().map(|action| action.as_str().unwrap().to_owned()).collect();
            actions.sort();
            (entry["name"].as_str().unwrap().to_owned(), actions)
        })
        .filter(|(_, actions)| !actions.is_empty())
        .collect();
    granted.sort();
    granted
}

/// protocol.md T2: good is 200; bad secret, unknown id and no secret are 401 at the first request.
fn t2_login_good_and_bad(t: &Scene) {
    get_token(t, &[], Some((KEY_ID, KEY_SECRET))).expect(200);
    for (id, secret) in
        [(KEY_ID, "wrong"), ("nobody", KEY_SECRET), (KEY_ID, ""), ("", KEY_SECRET), (KEY_SECRET, KEY_ID)]
    {
        get_token(t, &[], Some((id, secret))).expect(401).error_code();
        let direct = t.client.logged_in(Login::Basic(id.to_owned(), secret.to_owned())).get("/v2/");
        direct.expect_error(401, "UNAUTHORIZED");
    }
    for header in ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Digest x=y", "Bearer", "nonsense"] {
        t.client.send(Request::new("GET", "/v2/").header("Authorization", header)).expect_one_of(&[400, 401]);
        let token = Challenge::of(&t.client.anonymous().get("/v2/")).target(&[]);
        t.client.send(Request::new("GET", &token).header("Authorization", header)).expect_one_of(&[400, 401]);
    }
}

/// protocol.md T3, 2.2 and 4 #22, #23: several parameters, a list in one, duplicates: all are united.
fn t3_scopes_in_every_form(t: &Scene) {
    let (a, b) = (t.repo.clone(), t.another());
    let [pull_a, push_a, pull_b] =
        [format!("repository:{a}:pull"), format!("repository:{a}:pull,push"), format!("repository:{b}:pull")];
    let both = format!("{pull_a} {push_a} {pull_b}");
    let plugin = format!("repository(plugin):{a}:pull,push");
    for scopes in [
        vec![pull_a.as_str(), &push_a, &pull_b],
        vec![&push_a, &pull_a, &pull_b, &pull_b],
        vec![&both],
        vec![&pull_b, &both, &pull_a],
        vec![&plugin, &pull_b],
    ] {
        let token = token(t, &scopes);
        bearer(t, "POST", &format!("/v2/{a}/blobs/uploads/"), &token).expect(202);
        bearer(t, "GET", &format!("/v2/{b}/tags/list"), &token).expect(404);
        Challenge::of(&bearer(t, "POST", &format!("/v2/{b}/blobs/uploads/"), &token));
        assert_eq!(granted(&token).len(), 2, "{scopes:?}: {:?}", granted(&token));
    }
}

/// protocol.md 2.2: a scope that is none is ignored or 400; unknown types and actions are dropped.
fn t3_malformed_scope(t: &Scene) {
    for scope in [
        "",
        "x",
        "repository",
        "repository:",
        "repository::pull",
        "::",
        ":::::",
        "repository:a b:pull",
        "registry:nothing:*",
        "unknown:type:pull",
    ] {
        let answer = get_token(t, &[scope], Some((KEY_ID, KEY_SECRET)));
        if answer.expect_one_of(&[200, 400]).status == 200 {
            assert_eq!(granted(answer.json()["token"].as_str().unwrap()), [], "{scope}");
        }
    }
    let odd = token(t, &[&format!("repository:{}:pull,brew,,push", t.repo)]);
    bearer(t, "POST", &t.at("blobs/uploads/"), &odd).expect(202);
}

/// protocol.md T4 and 2.5 (helm 3.18): a token for what does not exist yet is given, and pushes there.
fn t4_unknown_repository(t: &Scene) {
    let never = t.another();
    let pull = token(t, &[&format!("repository:{never}:pull")]);
    bearer(t, "HEAD", &format!("/v2/{never}/manifests/v1"), &pull).expect(404);
    let push = token(t, &[&format!("repository:{never}:pull,push")]);
    bearer(t, "POST", &format!("/v2/{never}/blobs/uploads/"), &push).expect(202);
    get_token(t, &["repository:no-such-registry/x:pull,push"], Some((KEY_ID, KEY_SECRET))).expect(200);
    get_token(t, &["repository:no-such-registry/x:pull,push"], None).expect(200);
}

/// protocol.md T7, 2.3, 2.5: docker login's way: refresh token asked for, then only POST; the same one stays good.
fn t7_refresh_token(t: &Scene) {
    let challenge = Challenge::of(&t.client.anonymous().get("/v2/"));
    let target = format!("{}&offline_token=true&client_id=docker&account={KEY_ID}", challenge.target(&[]));
    let request = Request::new("GET", &target).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let refresh = t.client.send(request).expect(200).json()["refresh_token"].as_str().unwrap().to_owned();
    let scope = format!("repository:{}:pull,push", t.repo);
    for _ in 0..3 {
        let answer = post_token(
            t,
            &[("grant_type", "refresh_token"), ("client_id", "docker"), ("scope", &scope), ("refresh_token", &refresh)],
        );
        let json = answer.expect(200).json();
        let token = json["access_token"].as_str().unwrap();
        assert!(json["refresh_token"].is_null() || json["refresh_token"] == refresh, "rotated: {answer:?}");
        bearer(t, "POST", &t.at("blobs/uploads/"), token).expect(202);
    }
    assert!(get_token(t, &[], Some((KEY_ID, KEY_SECRET))).json()["refresh_token"].is_null(), "nobody asked for one");
    // It is no access token.
    t.client.send(Request::new("GET", "/v2/").header("Authorization", &format!("Bearer {refresh}"))).expect(401);
}

/// protocol.md 2.3: 400 `{"error":"invalid_grant"}`; a client may also take 401.
fn t7_wrong_refresh_token(t: &Scene) {
    for wrong in ["", "wrong", &token(t, &[])] {
        let answer = post_token(t, &[("grant_type", "refresh_token"), ("client_id", "x"), ("refresh_token", wrong)]);
        answer.expect_one_of(&[400, 401]);
        if answer.status == 400 && !wrong.is_empty() {
            assert_eq!(answer.json()["error"], "invalid_grant", "{answer:?}");
            // What docker tells its user.
            assert_eq!(answer.json()["errors"][0]["code"], "UNAUTHORIZED", "{answer:?}");
        }
    }
}

/// protocol.md 2.3 and 2.5: containerd's POST with duplicate scopes; several `scope` fields (c/image).
fn t7_password_grant(t: &Scene) {
    let [pull, push] = ["pull", "pull,push"].map(|actions| format!("repository:{}:{actions}", t.repo));
    let list = format!("{pull} {push} {pull}");
    for scopes in [vec![("scope", list.as_str())], vec![("scope", pull.as_str()), ("scope", push.as_str())]] {
        let mut fields = vec![("grant_type", "password"), ("client_id", "containerd-client")];
        fields.extend([("username", KEY_ID), ("password", KEY_SECRET), ("access_type", "offline")]);
        fields.extend(scopes);
        let json = post_token(t, &fields).expect(200).json();
        let token = json["access_token"].as_str().unwrap();
        assert_eq!(json["token"], token);
        assert!(json["expires_in"].as_u64().unwrap() >= 60);
        assert!(json["refresh_token"].is_string(), "access_type=offline asks for one");
        let scope = json["scope"].as_str().unwrap();
        assert!(scope.contains(&t.repo) && scope.contains("push"), "{scope}");
        bearer(t, "POST", &t.at("blobs/uploads/"), token).expect(202);
    }
}

/// protocol.md 2.3: 401 for bad credentials, 400 for what is no request.
fn t7_bad_requests(t: &Scene) {
    let password = [("grant_type", "password"), ("client_id", "x"), ("username", KEY_ID), ("password", "wrong")];
    post_token(t, &password).expect(401);
    for fields in [&[][..], &[("grant_type", "magic")], &[("grant_type", "authorization_code"), ("code", "x")]] {
        let answer = post_token(t, fields);
        answer.expect(400);
        assert!(answer.json()["error"].is_string(), "{answer:?}");
    }
    let json = Request::new("POST", "/token").header("Content-Type", "application/json");
    t.client.anonymous().send(json.body(Body::Length(b"{}".to_vec()))).expect_one_of(&[400, 415]);
    let huge = Request::new("POST", "/token").header("Content-Type", "application/x-www-form-urlencoded");
    let huge = huge.body(Body::Length(vec![b'a'; 3_000_000]));
    t.client.anonymous().send(huge).expect_one_of(&[400, 413]);
}

/// protocol.md T11: `:` and UTF-8 in a password are part of it (and here wrong), never 500.
fn t11_odd_passwords(t: &Scene) {
    for password in ["with:colon", "ü-ñ-漢", "  ", "%41", "a\tb"] {
        get_token(t, &[], Some((KEY_ID, password))).expect(401);
    }
    get_token(t, &[], Some(("üser", "x"))).expect(401);
    get_token(t, &[], Some(("", ""))).expect(200);
}

/// protocol.md T12: `account` says nothing.
fn t12_account_is_not_the_user(t: &Scene) {
    let challenge = Challenge::of(&t.client.anonymous().get("/v2/"));
    let scope = format!("repository:{}:pull,push", t.repo);
    let target = format!("{}&account=somebody-else&unknown=parameter", challenge.target(&[&scope]));
    let request = Request::new("GET", &target).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let token = t.client.send(request).expect(200).json()["token"].as_str().unwrap().to_owned();
    bearer(t, "POST", &t.at("blobs/uploads/"), &token).expect(202);
    let bad = Request::new("GET", &format!("{}&account={KEY_ID}", challenge.target(&[])));
    let anonymous = t.client.anonymous().send(bad);
    assert_eq!(claims(anonymous.expect(200).json()["token"].as_str().unwrap())["sub"], "");
}

/// protocol.md T13: fifty at once.
fn t13_many_at_once(t: &Scene) {
    thread::scope(|scope| {
        for n in 0..50 {
            scope.spawn(move || {
                let token = token(t, &[&format!("repository:{}/{n}:pull,push", t.repo)]);
                bearer(t, "POST", &format!("/v2/{}/{n}/blobs/uploads/", t.repo), &token).expect(202);
            });
        }
    });
}

/// protocol.md 2.1: a 401 with the scope comes on the data request itself; a wrong token says so.
fn t21_challenge_on_the_request_itself(t: &Scene) {
    let challenge = Challenge::of(&t.client.anonymous().get(&t.at("manifests/v1")));
    assert_eq!(challenge.scope, Some(format!("repository:{}:pull", t.repo)));
    assert_eq!(challenge.service, t.client.address.to_string());
    let invalid = Challenge::of(&bearer(t, "GET", &t.at("manifests/v1"), "not.a.token"));
    assert_eq!(invalid.error.as_deref(), Some("invalid_token"));
    assert_eq!(invalid.scope, Some(format!("repository:{}:pull", t.repo)));
}

/// protocol.md 2.2: token = access_token, expires_in, issued_at; 12 hours at most; small enough for a header.
fn t22_answer(t: &Scene) {
    let scope = format!("repository:{}:pull,push", t.repo);
    let answer = get_token(t, &[&scope], Some((KEY_ID, KEY_SECRET)));
    answer.expect(200).expect_header("Content-Type", "application/json");
    let json = answer.json();
    let token = json["token"].as_str().unwrap();
    assert_eq!(json["access_token"], token);
    let expires_in = json["expires_in"].as_u64().unwrap();
    assert!((60..=12 * 3600).contains(&expires_in), "{answer:?}");
    let issued_at = json["issued_at"].as_str().unwrap();
    assert!(issued_at.ends_with('Z') && issued_at.as_bytes()[10] == b'T', "{issued_at}");
    assert!(token.len() < 8 * 1024);
    let cached = answer.get("Cache-Control").unwrap_or("no-store");
    assert!(cached.contains("no-store") || cached.contains("private"), "a token must not be cached: {answer:?}");
}

/// protocol.md 2.2: no credentials: an anonymous token, from which everything forbidden is dropped in silence.
fn t22_anonymous(t: &Scene) {
    let answer = get_token(t, &[&format!("repository:{}:pull,push", t.repo)], None);
    let token = answer.expect(200).json()["token"].as_str().unwrap().to_owned();
    assert_eq!(claims(&token)["sub"], "");
    assert!(!granted(&token).iter().any(|(_, actions)| actions.contains(&"push".to_owned())));
    bearer(t, "POST", &t.at("blobs/uploads/"), &token).expect_one_of(&[401, 403]).error_code();
}

/// protocol.md 2.2 and 2.4: another `service` is 400, or its token does not fit this host.
fn t22_other_service(t: &Scene) {
    let request =
        Request::new("GET", "/token?service=other.example").header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let answer = t.client.send(request);
    if answer.expect_one_of(&[200, 400]).status == 200 {
        let token = answer.json()["token"].as_str().unwrap().to_owned();
        assert!([json!("other.example"), json!(t.client.address.to_string())].contains(&claims(&token)["aud"]));
    }
    // A token of this host does not fit another.
    let token = token(t, &[]);
    let elsewhere = Request::new("GET", "/v2/").header("Host", "other.example");
    let answer = t.client.send(elsewhere.header("Authorization", &format!("Bearer {token}")));
    assert_eq!(Challenge::of(&answer).error.as_deref(), Some("invalid_token"));
    // None at all: clients that were given no service by an older challenge.
    let bare = Request::new("GET", "/token").header("Authorization", &basic(KEY_ID, KEY_SECRET));
    t.client.send(bare).expect_one_of(&[200, 400]);
}

/// protocol.md 2.4: the claims.
fn t24_claims(t: &Scene) {
    let claims = claims(&token(t, &[&format!("repository:{}:pull,push", t.repo)]));
    for name in ["iss", "sub", "jti"] {
        assert!(claims[name].as_str().is_some_and(|value| !value.is_empty()), "{name}: {claims}");
    }
    assert_eq!(claims["aud"], t.client.address.to_string());
    let [exp, nbf, iat] = ["exp", "nbf", "iat"].map(|name| claims[name].as_i64().unwrap());
    assert!(nbf <= iat && iat < exp && exp - iat <= 12 * 3600, "{claims}");
    assert_eq!(claims["access"][0]["type"], "repository", "{claims}");
    assert!(claims["access"][0]["name"].as_str().unwrap().contains(t.repo.strip_prefix(REGISTRY).unwrap()));
    assert!(!claims.to_string().contains(KEY_SECRET));
}

/// protocol.md 2.4: changed, cut, unsigned, foreign: 401 invalid_token.
fn t24_token_that_is_none(t: &Scene) {
    let token = token(t, &[&format!("repository:{}:pull", t.repo)]);
    let [head, body, signature] = token.split('.').collect::<Vec<_>>()[..] else { panic!("not three parts: {token}") };
    let other = super::token::token(t, &[&format!("repository:{}:pull,push", t.another())]);
    let other_body = other.split('.').nth(1).unwrap();
    // {"alg":"none","typ":"JWT"}
    let none = "eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0";
    for wrong in [
        format!("{head}.{other_body}.{signature}"),
        format!("{head}.{body}."),
        format!("{none}.{body}."),
        format!("{none}.{body}.{signature}"),
        format!("{head}.{body}"),
        format!("{head}.{body}.{}", &signature[..signature.len() - 4]),
        "a".repeat(6000),
        String::from("..."),
    ] {
        let answer = bearer(t, "GET", &t.at("tags/list"), &wrong);
        assert_eq!(Challenge::of(&answer).error.as_deref(), Some("invalid_token"), "{wrong}");
    }
}
