//! What somebody may try who wants in, or wants to know what is here, and which test holds that it is of no use. A new attack is a new
//! line. Those of `access` and `oidc` are in these crates' own tests; all others are here in `it`.
//!
//! | attack | held by |
//! | --- | --- |
//! | a token that was forged or changed, cut, unsigned; `alg` none, HMAC with the public key, a key of one's own | `access`: `attacks::{no_signature, symmetric_with_the_public_key, another_key, changed_payload}`; [`crate::token`] `t24_token_that_is_none`; [`crate::bad_credentials`] |
//! | one that has expired, or is not valid yet | `access`: `grants::t8_expiry`; [`crate::token_rights`] `t8_expired_token` |
//! | one for another audience, host or listener, also of one region; refresh tokens likewise | `access`: `attacks::another_audience`; [`attacks_with_what_another_host_gave`]; [`crate::private`] `private_tokens_are_of_no_use_outside` |
//! | one for another repository, or for less than is done | [`crate::token_rights`] `t5_*`, `t9_catalog`, `t14_delete_and_star`, `t15_token_of_another_repository` |
//! | a refresh token (reusable, not rotated: protocol.md 2.4) of a revoked key, of a barred person, of another service | `access`: `grants::t7_refresh_tokens`, `people::keys_end_with_their_owner`; [`crate::token_rights`] `t7_revoked_key`; [`attacks_with_what_another_host_gave`] |
//! | what a key began goes on after it was revoked, on this node or another | [`attacks_by_a_key_that_was_revoked_mid_push`]; [`crate::token_rights`] `t7_revoked_key`; [`crate::jobs`] `jobs_end_with_the_trust_on_every_node` |
//! | the token of a CI's job: of another issuer, job, audience, time, `alg` | [`crate::jobs`] `jobs_that_are_not_meant_all_get_one_answer`; `oidc` |
//! | telling a key or a name that is there from one that is not: by the answer | [`attacks_that_ask_who_is_there`] |
//! | and by its time: the same work is done for a name that nobody has | `access`: `sessions::a_name_that_nobody_has_costs_the_same`, `keys::secret_fits` takes one way for both |
//! | guessing passwords | `access`: `sessions::{who_fails_often_waits, who_guesses_at_once_or_elsewhere_waits}` |
//! | session fixation: a cookie that somebody else chose, or has | [`attacks_with_a_session_of_somebodys_choice`]; at a provider: [`crate::sign_on`] `sign_on_is_of_one_browser_and_once` |
//! | CSRF: another site has a browser do something, sign in, sign out | [`attacks_from_other_sites`]; at a provider: `sign_on_is_of_one_browser_and_once` |
//! | the names of what is private, by every operation of `/v2`, `/token` and `/api/v1`, mounts, referrers, catalog and scopes included | [`crate::enumeration`]; where the public endpoint is off: [`crate::private`] |

use roadstead_testkit::{
    Body, Client, Login, Request, Response, Server,
    content::{self, random_bytes},
    digest,
    http::{escape, with_parameter},
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic, claims},
    wire::Connection,
};
use serde_json::{Value, json};

use crate::{
    management::{PASSWORD, person, request, robot, send},
    private::seen,
    scene::{Storage, on_both_engines},
};

on_both_engines!(
    attacks_with_what_another_host_gave,
    attacks_by_a_key_that_was_revoked_mid_push,
    attacks_that_ask_who_is_there,
    attacks_with_a_session_of_somebodys_choice,
    attacks_from_other_sites,
);

/// Key id and secret of a client.
fn pair(client: &Client) -> (&str, &str) {
    let Login::Basic(id, secret) = &client.login else { unreachable!("a key") };
    (id, secret)
}

/// Sends a form to `/token` of a host.
fn post_token(client: &Client, host: &str, form: &[(&str, &str)]) -> Response {
    let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let asked = Request::new("POST", "/token").header("Host", host);
    let asked = asked.header("Content-Type", "application/x-www-form-urlencoded");
    client.anonymous().send(asked.body(Body::Length(form.join("&").into_bytes())))
}

/// protocol.md 2.4: each registry's host, and the one of all, has tokens of its own, for the same key too; and `service` and what a
/// stranger says of the host make no token for another.
fn attacks_with_what_another_host_gave(storage: &Storage) {
    let server = Server::start(storage.setup().set("ROADSTEAD_DOMAIN", "example.test"));
    let root = server.client();
    for name in ["alpha-one", "beta-one"] {
        send(&root, "PUT", &format!("/registries/{name}"), &json!({"project": "default"})).expect(201);
        root.push_image(&format!("{name}/app"), "v1", &content::image(1));
    }
    let address = root.address.to_string();
    // Where it is asked, and what the images of both registries are called there.
    let hosts = [
        ("alpha-one.example.test", "app", "beta-one/app"),
        ("beta-one.example.test", "alpha-one/app", "app"),
        (address.as_str(), "alpha-one/app", "beta-one/app"),
    ];
    let ask = |host: &str, name: &str, token: &str| {
        let get = Request::new("GET", &format!("/v2/{name}/manifests/v1")).header("Host", host);
        root.anonymous().send(get.header("Authorization", &format!("Bearer {token}")))
    };
    for (host, alpha, beta) in hosts {
        let scopes = escape(&format!("repository:{alpha}:pull repository:{beta}:pull"));
        let get = Request::new("GET", &format!("/token?service=other.example&offline_token=true&scope={scopes}"));
        let get = get.header("Host", host).header("Authorization", &basic(KEY_ID, KEY_SECRET));
        let got = root.send(get.header("X-Forwarded-Host", "beta-one.example.test")).expect(200).json();
        let [token, refresh] = ["token", "refresh_token"].map(|name| got[name].as_str().unwrap());
        assert_eq!(claims(token)["aud"], host);
        // At the host of one registry a name never means what is in another one.
        let opens = |name: &str| ask(host, name, token).status == 200;
        assert_eq!((opens(alpha), opens(beta)), (host != hosts[1].0, host != hosts[0].0), "{host}");
        for (other, alpha, beta) in hosts.into_iter().filter(|(other, ..)| *other != host) {
            for name in [alpha, beta, "app"] {
                let challenge = Challenge::of(&ask(other, name, token));
                assert_eq!(challenge.error.as_deref(), Some("invalid_token"), "of {host} at {other}: {name}");
            }
            let form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("service", host)];
            let refused = post_token(&root, other, &form);
            assert_eq!(refused.expect(400).json()["error"], "invalid_grant", "of {host} at {other}");
        }
        for other in ["other.example", host] {
            let form = [("grant_type", "refresh_token"), ("refresh_token", refresh), ("service", other)];
            let again = post_token(&root, host, &form).expect(200).json();
            assert_eq!(claims(again["access_token"].as_str().unwrap())["aud"], host);
        }
    }
}

/// Invariant 10 and protocol.md 2.4: a request that had begun ends well, and no other one begins, on any node, with nothing that the key
/// ever got; nothing of the push is to be seen.
fn attacks_by_a_key_that_was_revoked_mid_push(storage: &Storage) {
    let server = storage.start();
    let second = storage.is_shared().then(|| storage.start());
    let root = server.client();
    let nodes: Vec<Client> = [Some(&server), second.as_ref()].into_iter().flatten().map(Server::client).collect();
    let there = nodes.last().unwrap();
    send(&root, "PUT", "/projects/team", &json!({})).expect(201);
    send(&root, "PUT", "/registries/team-one", &json!({"project": "team"})).expect(201);
    let key = robot(&root, "team", "ci", &json!([{"actions": ["*"]}]));
    let (id, secret) = pair(&key);
    let image = content::image(1);
    for blob in &image.blobs {
        key.push_blob("team-one/app", blob);
    }
    let host = there.address.to_string();
    let target = format!("/token?offline_token=true&scope={}", escape("repository:team-one/app:pull,push,delete"));
    let got = there.anonymous().send(Request::new("GET", &target).header("Authorization", &basic(id, secret)));
    let [token, refresh] =
        ["token", "refresh_token"].map(|name| got.expect(200).json()[name].as_str().unwrap().to_owned());
    let bearer = format!("Bearer {token}");

    let bytes = random_bytes(200_000);
    let begin = Request::new("POST", "/v2/team-one/app/blobs/uploads/").header("Authorization", &bearer);
    let location = there.anonymous().send(begin).expect(202).location_path();
    let patch = Request::new("PATCH", &location).header("Expect", "100-continue").header("Authorization", &bearer);
    let patch = patch.body(Body::Length(bytes.clone()));
    let mut connection = Connection::open(there.address).unwrap();
    connection.write_head(&patch).unwrap();
    assert!(connection.read_line().unwrap().starts_with("HTTP/1.1 100"));
    assert_eq!(connection.read_line().unwrap(), "");
    connection.write_raw(&bytes[..100_000]).unwrap();

    send(&root, "DELETE", &format!("/projects/team/robots/ci/keys/{id}"), &Value::Null).expect(204);
    let refused = |node: &Client, method: &str, target: &str, body: &[u8]| {
        for login in [&bearer, &basic(id, secret)] {
            let asked = Request::new(method, target).header("Host", &host).header("Authorization", login);
            let asked = asked.header("Content-Type", &image.manifest.media_type);
            node.anonymous().send(asked.body(Body::Length(body.to_vec()))).expect_error(401, "UNAUTHORIZED");
        }
    };
    let manifest = "/v2/team-one/app/manifests/v1";
    for node in &nodes {
        refused(node, "POST", "/v2/team-one/app/blobs/uploads/", b"");
        refused(node, "GET", &location, b"");
        refused(node, "PUT", manifest, &image.manifest.bytes);
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*refresh)];
        post_token(node, &host, &form).expect(400);
    }
    connection.write_raw(&bytes[100_000..]).unwrap();
    let location = connection.read_answer(&patch).unwrap().expect(202).location_path();
    for node in &nodes {
        refused(node, "PUT", &with_parameter(&location, "digest", &digest(&bytes)), b"");
        refused(node, "DELETE", &location, b"");
        node.head(&format!("/v2/team-one/app/blobs/{}", digest(&bytes))).expect(404);
        node.head(manifest).expect(404);
    }
}

/// product.md 3: an unknown key and a wrong secret, a revoked key and one of a barred person are one answer, to the byte, wherever
/// they are shown. So are an unknown name, a wrong password, none and a disabled person.
fn attacks_that_ask_who_is_there(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let _ = [person(&root, "ada"), person(&root, "grace")];
    send(&root, "PUT", "/projects/team", &json!({})).expect(201);
    let (living, revoked, barred) = (person(&root, "alan"), person(&root, "edsger"), person(&root, "barbara"));
    let stopped = robot(&root, "team", "ci", &json!([{"actions": ["*"]}]));
    let own = format!("/me/keys/{}", pair(&revoked).0);
    send(&revoked, "DELETE", &own, &Value::Null).expect(204);
    send(&root, "PATCH", "/people/barbara", &json!({"barred": true})).expect(200);
    send(&root, "PATCH", "/projects/team/robots/ci", &json!({"disabled": true})).expect(200);
    let ask = |id: &str, secret: &str| {
        let with = |request: Request| root.anonymous().send(request.header("Authorization", &basic(id, secret)));
        let form = [("grant_type", "password"), ("client_id", "x"), ("username", id), ("password", secret)];
        [
            with(Request::new("GET", "/v2/")),
            with(Request::new("GET", "/v2/conf/app/manifests/v1")),
            with(Request::new("GET", "/token?service=x&scope=repository:conf/app:pull")),
            post_token(&root, &root.address.to_string(), &form),
            with(Request::new("GET", "/api/v1/me")),
        ]
        .map(|answer| seen(answer.expect(401), id))
    };
    let unknown = ask("RSKAAAAAAAAAAAAAAAAA", pair(&living).1);
    for (what, id, secret) in [
        ("a wrong secret", pair(&living).0, "wrong"),
        ("a revoked key", pair(&revoked).0, pair(&revoked).1),
        ("a revoked key and a wrong secret", pair(&revoked).0, "wrong"),
        ("the key of a barred person", pair(&barred).0, pair(&barred).1),
        ("the key of a disabled robot", pair(&stopped).0, pair(&stopped).1),
        ("a robot that is there, and no token of a job", "team/ci", "x"),
        ("one that is not there", "team/absent", "x"),
        ("no key id at all", "a b", "x"),
    ] {
        assert_eq!(ask(id, secret), unknown, "{what}");
    }

    send(&root, "PATCH", "/people/ada", &json!({"disabled": true})).expect(200);
    send(&root, "PUT", "/people/grace/password", &json!({"password": null})).expect(204);
    let sign_in = |name: &str, password: &str| {
        let answer = send(&root.anonymous(), "POST", "/session", &json!({"name": name, "password": password}));
        seen(answer.expect(401), name)
    };
    let unknown = sign_in("nobody", PASSWORD);
    for (what, name, password) in [
        ("a wrong password", "alan", "wrong"),
        ("a disabled person", "ada", PASSWORD),
        ("a person without a password", "grace", PASSWORD),
        ("what is no name", "a b", PASSWORD),
    ] {
        assert_eq!(sign_in(name, password), unknown, "{what}");
    }
}

/// A sign-in makes a session of its own: a cookie that was planted in the browser stays what it was, be it nothing or another person's. Over TLS
/// no other host can plant one.
fn attacks_with_a_session_of_somebodys_choice(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    let _ = [person(&root, "ada"), person(&root, "mallory")];
    let sign_in = |name: &str, cookie: &str| {
        let asked = request("POST", "/session", &json!({"name": name, "password": PASSWORD})).header("Cookie", cookie);
        let answer = root.anonymous().send(asked);
        answer.expect(204).header("Set-Cookie").split(';').next().unwrap().to_owned()
    };
    let me = |cookie: &str| {
        let answer = root.anonymous().send(request("GET", "/me", &Value::Null).header("Cookie", cookie));
        if answer.status == 401 { Value::Null } else { answer.expect(200).json()["key_id"].clone() }
    };
    let planted = format!("roadstead_session={}", "A".repeat(43));
    let of_mallory = sign_in("mallory", "");
    for before in [&planted, &of_mallory] {
        let of_ada = sign_in("ada", before);
        assert_ne!(&of_ada, before);
        assert_eq!(me(&of_ada), "ada");
    }
    assert_eq!((me(&planted), me(&of_mallory)), (Value::Null, json!("mallory")));

    let behind_tls = Server::start(storage.setup().set("ROADSTEAD_EXTERNAL_URL", "https://registry.example"));
    let asked = request("POST", "/session", &json!({"name": "administrator", "password": PASSWORD}));
    let root = behind_tls.client();
    send(&root, "PUT", "/people/administrator/password", &json!({"password": PASSWORD})).expect(204);
    let cookie = root.anonymous().send(asked).expect(204).header("Set-Cookie").to_owned();
    assert!(cookie.starts_with("__Host-roadstead_session=") && cookie.contains("; Secure"), "{cookie}");
    let own = cookie.split(';').next().unwrap();
    for (cookie, status) in [(own, 200), (own.trim_start_matches("__Host-"), 401)] {
        root.anonymous().send(request("GET", "/me", &Value::Null).header("Cookie", cookie)).expect(status);
    }
}

/// Each operation that changes something, with all that a browser sends along by itself: a session, or the key that somebody typed into its
/// own form for it.
fn attacks_from_other_sites(storage: &Storage) {
    let server = storage.start();
    let root = server.client();
    send(&root, "PUT", "/people/administrator/password", &json!({"password": PASSWORD})).expect(204);
    let given = json!({"name": "administrator", "password": PASSWORD});
    let answer = send(&root.anonymous(), "POST", "/session", &given);
    let cookie = answer.expect(204).header("Set-Cookie").split(';').next().unwrap().to_owned();
    let logins = [("Cookie", cookie.clone()), ("Authorization", basic(KEY_ID, KEY_SECRET))];
    let host = root.address.to_string();
    let others = [
        ("Origin", "https://evil.example".to_owned()),
        ("Origin", "null".to_owned()),
        ("Origin", format!("https://{host}")),
        ("Origin", format!("http://{host}.evil.example")),
        ("Sec-Fetch-Site", "cross-site".to_owned()),
        ("Sec-Fetch-Site", "same-site".to_owned()),
    ];
    let document = root.anonymous().get("/api/v1/openapi.json").expect(200).json();
    // Each operation with both, and with one way after another in which browsers say it: more would be more than an address may ask.
    let mut ways = others.iter().cycle();
    let mut walked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let target = path.strip_prefix("/api/v1").unwrap().replace("{digest}", &digest(b"x")).replace(['{', '}'], "");
        for method in operations.as_object().unwrap().keys().filter(|method| *method != "get") {
            for (name, login) in &logins {
                let (header, value) = ways.next().unwrap();
                let asked = request(&method.to_uppercase(), &target, &given).header(name, login);
                let answer = root.anonymous().send(asked.header(header, value));
                let detail = answer.expect(403).json()["detail"].clone();
                assert!(detail.as_str().unwrap().contains("another site"), "{name} {header}: {value}: {answer:?}");
                assert!(answer.all("Set-Cookie").is_empty(), "{answer:?}");
                walked += 1;
            }
            ways.nth(2); // so that each of the two meets all six
        }
    }
    assert!(walked >= 60, "{walked}");
    // Nothing of it was done: the session is there, and its own site has it end.
    let with = |method: &str, path: &str| request(method, path, &Value::Null).header("Cookie", &cookie);
    root.anonymous().send(with("GET", "/me")).expect(200);
    // And no answer is for another site's scripts.
    for method in ["GET", "OPTIONS"] {
        for target in ["/api/v1/me", "/v2/", "/token"] {
            let asked = Request::new(method, target).header("Origin", "https://evil.example");
            let answer = root.send(asked.header("Access-Control-Request-Method", "DELETE"));
            let allowed =
                answer.headers.iter().filter(|(name, _)| name.to_ascii_lowercase().starts_with("access-control"));
            assert_eq!(allowed.count(), 0, "{answer:?}");
        }
    }
    let own = format!("http://{host}");
    root.anonymous().send(with("DELETE", "/session").header("Origin", &own)).expect(204);
    root.anonymous().send(with("GET", "/me")).expect(401);
}
