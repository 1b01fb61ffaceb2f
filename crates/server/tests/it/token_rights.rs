//! protocol.md 2.6: what a token opens and what it does not; anonymous pull; the end of a token. T16, behind a proxy, is
//! in [`crate::wild::proxies`].

use std::net::SocketAddr;

use roadstead_testkit::{
    Body, Client, Login, Request, Response, Server, Setup, content, digest,
    http::{escape, with_parameter},
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic},
    until,
};

use crate::{
    beside::{Beside, with_known_secret},
    scene::{BINARY, Scene, Storage, conformance, on_both_engines},
    token::{bearer, granted, token},
};

conformance!(
    t5_insufficient_scope,
    t9_catalog,
    t10_push_and_pull_in_names,
    t14_delete_and_star,
    t15_token_of_another_repository,
    t24_checked_at_the_start_only,
);
on_both_engines!(
    t1_anonymous_pull,
    t5_pull_without_push,
    t6_mount_with_and_without_right,
    t7_revoked_key,
    t8_expired_token,
);

/// protocol.md T5, 2.1, 4 #24: fewer actions than needed, but the key has the right: 401 insufficient_scope that
/// names what is needed, and the client recovers.
fn t5_insufficient_scope(t: &Scene) {
    let pull = token(t, &[&format!("repository:{}:pull", t.repo)]);
    bearer(t, "HEAD", &t.at("manifests/v1"), &pull).expect(404);
    let challenge = Challenge::of(&bearer(t, "POST", &t.at("blobs/uploads/"), &pull));
    assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(challenge.scope, Some(format!("repository:{}:pull,push", t.repo)));
    let push = token(t, &[challenge.scope.as_deref().unwrap()]);
    bearer(t, "POST", &t.at("blobs/uploads/"), &push).expect(202);
    let none = token(t, &[]);
    bearer(t, "GET", "/v2/", &none).expect(200);
    let challenge = Challenge::of(&bearer(t, "GET", &t.at("manifests/v1"), &none));
    assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(challenge.scope, Some(format!("repository:{}:pull", t.repo)));
}

/// protocol.md T5, 2.1: somebody who may pull and not push: a better token would not help, so it is 403 DENIED, at the
/// POST and at each further step, whether the token names push or not, and docker prints "denied". An anonymous client
/// is asked to sign in.
fn t5_pull_without_push(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "open", "--public"]).ok();
    let client = server.client();
    let image = content::image(1);
    client.push_image("open/app", "v1", &image);
    let session = client.begin("open/app");
    let key = Beside::new(&server).person("reader");
    for actions in ["pull", "pull,push"] {
        let challenge = Challenge::of(&client.anonymous().get("/v2/"));
        let target = challenge.target(&[&format!("repository:open/app:{actions}")]);
        let get = Request::new("GET", &target).header("Authorization", &basic(&key.key_id, &key.secret));
        let token = client.send(get).expect(200).json()["token"].as_str().unwrap().to_owned();
        assert_eq!(granted(&token), [("open/app".to_owned(), vec!["pull".to_owned()])]);
        for login in [format!("Bearer {token}"), basic(&key.key_id, &key.secret)] {
            let send =
                |method: &str, target: &str| client.send(Request::new(method, target).header("Authorization", &login));
            send("GET", "/v2/open/app/manifests/v1").expect(200).expect_body(&image.manifest.bytes);
            for (method, target) in [
                ("POST", "/v2/open/app/blobs/uploads/"),
                ("PATCH", session.as_str()),
                ("PUT", "/v2/open/app/manifests/v2"),
                ("DELETE", "/v2/open/app/manifests/v1"),
            ] {
                let answer = send(method, target);
                answer.expect_error(403, "DENIED").expect_no("WWW-Authenticate");
            }
        }
    }
    let nobody = client.logged_in(Login::AnonymousToken).post("/v2/open/app/blobs/uploads/");
    assert_eq!(Challenge::of(&nobody).error.as_deref(), Some("insufficient_scope"));
}

/// protocol.md T6, E1, E2: pull on the source in the token: 201. Without it 202; within one registry, whose rights are
/// one (product.md 3), 201 too.
fn t6_mount_with_and_without_right(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "second"]).ok();
    let client = server.client();
    let bytes = content::random_bytes(100);
    let digest = client.push_blob("conf/source", &bytes);
    client.push_blob("second/source", &bytes);
    let bearer = |scopes: &[&str]| {
        let challenge = Challenge::of(&client.anonymous().get("/v2/"));
        let get = Request::new("GET", &challenge.target(scopes)).header("Authorization", &basic(KEY_ID, KEY_SECRET));
        format!("Bearer {}", client.send(get).expect(200).json()["token"].as_str().unwrap())
    };
    let mount = |from: &str, to: &str, bearer: &str| {
        let target = format!("/v2/{to}/blobs/uploads/?mount={digest}&from={from}");
        client.send(Request::new("POST", &target).header("Authorization", bearer))
    };
    let target_only = bearer(&["repository:conf/target:pull,push"]);
    mount("conf/source", "conf/target", &target_only).expect(201);
    mount("second/source", "conf/target2", &bearer(&["repository:conf/target2:pull,push"])).expect(202);
    let scopes = ["repository:conf/target3:pull,push", "repository:second/source:pull"];
    mount("second/source", "conf/target3", &bearer(&scopes)).expect(201);
    client.head(&format!("/v2/conf/target3/blobs/{digest}")).expect(200);
    // Basic says no scopes: what the key may, it may.
    mount("second/source", "conf/target4", &basic(KEY_ID, KEY_SECRET)).expect(201);
}

/// protocol.md T9, I2: `registry:catalog:*` opens it, nothing else does.
fn t9_catalog(t: &Scene) {
    bearer(t, "GET", "/v2/_catalog", &token(t, &["registry:catalog:*"])).expect(200);
    let challenge = Challenge::of(&bearer(t, "GET", "/v2/_catalog", &token(t, &[])));
    assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(challenge.scope.as_deref(), Some("registry:catalog:*"));
}

/// protocol.md T10 and 4 #25 (jkube #2419).
fn t10_push_and_pull_in_names(t: &Scene) {
    for name in ["push", "pull", "a/push", "pull/x", "push-pull", "delete"] {
        let repo = format!("{}/{name}", t.repo);
        let token = token(t, &[&format!("repository:{repo}:pull,push")]);
        bearer(t, "POST", &format!("/v2/{repo}/blobs/uploads/"), &token).expect(202);
        let only = super::token::token(t, &[&format!("repository:{repo}:pull")]);
        Challenge::of(&bearer(t, "POST", &format!("/v2/{repo}/blobs/uploads/"), &only));
    }
}

/// protocol.md T14, 2.1, 2.5 (skopeo delete asks `*`): delete needs its own action; `*` is all of them.
fn t14_delete_and_star(t: &Scene) {
    for scope in ["delete", "*", "pull,delete", "pull,push,delete"] {
        let named = t.client.push_image(&t.repo, "v1", &content::image(0));
        let target = t.at(&format!("manifests/{named}"));
        let weak = token(t, &[&format!("repository:{}:pull,push", t.repo)]);
        let challenge = Challenge::of(&bearer(t, "DELETE", &target, &weak));
        assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
        assert_eq!(challenge.scope, Some(format!("repository:{}:delete", t.repo)));
        let strong = token(t, &[&format!("repository:{}:{scope}", t.repo)]);
        bearer(t, "DELETE", &target, &strong).expect(202);
    }
    let all = token(t, &[&format!("repository:{}:*", t.repo)]);
    bearer(t, "POST", &t.at("blobs/uploads/"), &all).expect(202);
    bearer(t, "GET", &t.at("tags/list"), &all).expect(200);
}

/// protocol.md T15: 401 with the scope of the repository that was asked.
fn t15_token_of_another_repository(t: &Scene) {
    let other = t.another();
    t.client.push_image(&other, "v1", &content::image(0));
    let mine = token(t, &[&format!("repository:{}:pull,push", t.repo)]);
    let challenge = Challenge::of(&bearer(t, "GET", &format!("/v2/{other}/manifests/v1"), &mine));
    assert_eq!(challenge.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(challenge.scope, Some(format!("repository:{other}:pull")));
    // Beginnings of names are other names.
    let challenge = Challenge::of(&bearer(t, "GET", &format!("/v2/{}/x/manifests/v1", t.repo), &mine));
    assert_eq!(challenge.scope, Some(format!("repository:{}/x:pull", t.repo)));
}

/// protocol.md 2.4: the whole of an upload with one token; each request is checked when it begins.
fn t24_checked_at_the_start_only(t: &Scene) {
    let token = token(t, &[&format!("repository:{}:pull,push", t.repo)]);
    let bytes = content::random_bytes(100_000);
    let send = |method: &str, target: &str, body: Body| {
        t.client.send(Request::new(method, target).header("Authorization", &format!("Bearer {token}")).body(body))
    };
    let location = send("POST", &t.at("blobs/uploads/"), Body::None).expect(202).location_path();
    let location = send("PATCH", &location, Body::streamed(&bytes)).expect(202).location_path();
    send("PUT", &with_parameter(&location, "digest", &digest(&bytes)), Body::None).expect(201);
}

/// protocol.md T1: a public and a private registry beside each other. The ping is 401 all the same;
/// anonymous pull goes through an anonymous token; pushing does not; the private one is not to be seen.
fn t1_anonymous_pull(storage: &Storage) {
    let server = storage.start();
    server.run(&["registry", "create", "open", "--public"]).ok();
    let client = server.client();
    let image = content::image(1);
    client.push_image("open/app", "v1", &image);
    client.push_image("conf/app", "v1", &image);

    Challenge::of(&client.anonymous().get("/v2/"));
    let challenge = Challenge::of(&client.anonymous().get("/v2/open/app/manifests/v1"));
    assert_eq!(challenge.scope.as_deref(), Some("repository:open/app:pull"));
    let nobody = client.logged_in(Login::AnonymousToken);
    nobody.get("/v2/open/app/manifests/v1").expect(200).expect_body(&image.manifest.bytes);
    assert_eq!(nobody.pull_blob("open/app", &digest(&image.blobs[1])), image.blobs[1]);
    nobody.get("/v2/open/app/tags/list").expect(200);
    nobody.get("/v2/open/app/manifests/none").expect_error(404, "MANIFEST_UNKNOWN");
    for target in ["/v2/open/app/blobs/uploads/", "/v2/conf/app/blobs/uploads/"] {
        nobody.post(target).expect_one_of(&[401, 403]).error_code();
    }
    nobody.delete("/v2/open/app/manifests/v1").expect_one_of(&[401, 403]).error_code();
    for target in ["/v2/conf/app/manifests/v1", "/v2/conf/app/tags/list"] {
        nobody.get(target).expect_one_of(&[401, 403]).error_code();
    }
    client.get("/v2/conf/app/manifests/v1").expect(200);
    client
        .logged_in(Login::Token(KEY_ID.to_owned(), KEY_SECRET.to_owned()))
        .get("/v2/conf/app/manifests/v1")
        .expect(200);
    let catalog = nobody.get("/v2/_catalog");
    assert!(!catalog.text().contains("conf/app"), "{catalog:?}");
}

/// protocol.md T7, 2.4: a key that was revoked is over with the next request: its secret, its token and its refresh
/// token. What it began goes on with another key of the same right.
fn t7_revoked_key(storage: &Storage) {
    let server = storage.start();
    let created = server.run(&["key", "create", "-o", "json"]).ok().to_owned();
    let key: serde_json::Value = serde_json::from_str(&created).unwrap_or_else(|error| panic!("{error}: {created}"));
    let [id, secret] = ["key_id", "secret"].map(|name| key[name].as_str().unwrap().to_owned());
    let second = server.client().logged_in(Login::Basic(id.clone(), secret.clone()));
    let ask = Challenge::of(&second.anonymous().get("/v2/"));
    let offline = format!("{}&offline_token=true", ask.target(&["repository:conf/app:pull,push"]));
    let grant =
        second.send(Request::new("GET", &offline).header("Authorization", &basic(&id, &secret))).expect(200).json();
    let bearer = format!("Bearer {}", grant["token"].as_str().unwrap());
    let with_token = |method: &str, target: &str, body: &[u8]| {
        let request = Request::new(method, target).header("Authorization", &bearer);
        second.send(request.body(Body::Length(body.to_vec())))
    };
    let location = with_token("POST", "/v2/conf/app/blobs/uploads/", b"").expect(202).location_path();
    let location = with_token("PATCH", &location, b"first").expect(202).location_path();
    let refresh_token = grant["refresh_token"].as_str().unwrap();
    refresh(second.address, &ask, refresh_token).expect(200);

    server.run(&["key", "revoke", &id]).ok();
    let challenge = Challenge::of(&with_token("PATCH", &location, b" second"));
    assert_eq!(challenge.error.as_deref(), Some("invalid_token"));
    second.get("/v2/").expect(401);
    refresh(second.address, &ask, refresh_token).expect_one_of(&[400, 401]);

    let client = server.client();
    client.get(&location).expect(204).expect_header("Range", "0-4");
    let location = client.patch(&location, Some(5), b" second").expect(202).location_path();
    client.put(&with_parameter(&location, "digest", &digest(b"first second")), b"").expect(201);
}

/// Asks for a token to push to `conf/app` with a refresh token, as docker does it.
fn refresh(address: SocketAddr, challenge: &Challenge, refresh_token: &str) -> Response {
    let form = format!(
        "grant_type=refresh_token&client_id=docker&service={}&scope={}&refresh_token={refresh_token}",
        escape(&challenge.service),
        escape("repository:conf/app:pull,push"),
    );
    let post = Request::new("POST", "/token").header("Content-Type", "application/x-www-form-urlencoded");
    Client::new(address, Login::Anonymous).send(post.body(Body::Length(form.into_bytes())))
}

/// protocol.md T8, 2.4: a token that runs out between two requests of an upload: 401 `invalid_token` with the scope that
/// is needed at the next PATCH, of which nothing is stored; with a new token, got by the refresh token, the upload goes
/// on where it was. (One that runs out within a request: `wild::tokens::bug47`.)
fn t8_expired_token(storage: &Storage) {
    let server = Server::start(with_known_secret(storage.setup()));
    let client = server.client();
    let node = Beside::new(&server);
    let send = |bearer: &str, method: &str, target: &str, body: &[u8]| {
        let request = Request::new(method, target).header("Authorization", &format!("Bearer {bearer}"));
        client.send(request.body(Body::Length(body.to_vec())))
    };
    // On a busy machine the first token may be over before its two requests are.
    let (token, refresh_token, location) = [3, 10, 30, 60]
        .into_iter()
        .find_map(|left| {
            let (token, refresh_token) = node.ending_token(&["repository:conf/app:pull,push"], left);
            let begun = send(&token, "POST", "/v2/conf/app/blobs/uploads/", b"");
            let patched = (begun.status == 202).then(|| send(&token, "PATCH", &begun.location_path(), b"first"))?;
            (patched.status == 202).then(|| (token, refresh_token, patched.location_path()))
        })
        .expect("no token lived long enough to begin with");
    until("the token has ended", || (send(&token, "GET", "/v2/", b"").status == 401).then_some(()));

    let challenge = Challenge::of(&send(&token, "PATCH", &location, b" second"));
    assert_eq!(challenge.error.as_deref(), Some("invalid_token"));
    assert_eq!(challenge.scope.as_deref(), Some("repository:conf/app:pull,push"));
    let grant = refresh(client.address, &challenge, &refresh_token).expect(200).json();
    let renewed = grant["access_token"].as_str().unwrap();
    send(renewed, "GET", &location, b"").expect(204).expect_header("Range", "0-4");
    let location = send(renewed, "PATCH", &location, b" second").expect(202).location_path();
    let put = with_parameter(&location, "digest", &digest(b"first second"));
    send(renewed, "PUT", &put, b"").expect(201);
}

/// The lifetime of tokens is a setting, 12 hours at most.
#[test]
fn t22_lifetime() {
    let server = Server::start(Setup::directory(BINARY).set("ROADSTEAD_TOKEN_LIFETIME_SECONDS", "120"));
    let challenge = Challenge::of(&server.client().anonymous().get("/v2/"));
    let request = Request::new("GET", &challenge.target(&[])).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    assert_eq!(server.client().send(request).expect(200).json()["expires_in"], 120);
    let data = roadstead_testkit::process::directory("data");
    let too_long = Setup::directory(BINARY).set("ROADSTEAD_TOKEN_LIFETIME_SECONDS", "43201").run(&data, &["serve"]);
    assert!(too_long.refused().contains("lifetime"), "{too_long:?}");
}
