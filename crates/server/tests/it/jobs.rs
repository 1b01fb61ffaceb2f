//! Keyless access for CI: a robot trusts the tokens of an issuer, and jobs push and pull with those. The issuer is one of our own on this
//! machine.

use roadstead_testkit::{
    Body, Client, Issuer, Login, Request, Response, Server, Setup, content, http::escape, token::basic,
};
use serde_json::{Value, json};

use crate::{
    management::{request, send},
    scene::{Engine, Storage, on_both_engines},
};

on_both_engines!(
    jobs_push_and_pull_with_their_own_token,
    jobs_that_are_not_meant_all_get_one_answer,
    jobs_exchange_their_token,
    jobs_end_with_the_trust_on_every_node,
    jobs_stay_signed_in_for_a_while,
    jobs_are_trusted_only_when_somebody_is_meant,
    jobs_may_come_from_an_issuer_that_cannot_be_reached,
);

const ROBOT: &str = "shop/ci";
const AUDIENCE: &str = "https://registry.example.com";
const TRUSTS: &str = "/projects/shop/robots/ci/trusts";

fn setup(storage: &Storage, issuer: &Issuer) -> Setup {
    storage.setup().set("ROADSTEAD_CI_INTERNAL_ISSUERS", &issuer.address)
}

/// A project with a registry and a robot without keys.
fn prepare(root: &Client) {
    send(root, "PUT", "/projects/shop", &json!({})).expect(201);
    send(root, "PUT", "/registries/shop-images", &json!({"project": "shop"})).expect(201);
    send(root, "PUT", "/projects/shop/robots/ci", &json!({})).expect(201);
}

fn new_trust(issuer: &str) -> Value {
    json!({
        "description": "builds of main",
        "issuer": issuer,
        "audience": AUDIENCE,
        "claims": {"repository": "acme/app", "ref": "refs/heads/*"},
        "limits": [{"registry": "shop-images", "repositories": "web/**", "actions": ["pull", "push"]}],
    })
}

/// Makes a trust; its id.
fn trust(root: &Client, issuer: &Issuer) -> String {
    let made = send(root, "POST", TRUSTS, &new_trust(&issuer.address)).expect(201).json();
    made["id"].as_str().unwrap().to_owned()
}

fn job() -> Value {
    json!({"sub": "repo:acme/app:ref:refs/heads/main", "repository": "acme/app", "ref": "refs/heads/main"})
}

fn token(issuer: &Issuer) -> String {
    issuer.sign(&issuer.claims(AUDIENCE, &job()))
}

/// What a client gets for a robot and the token of a job, as docker asks for it.
fn ask(client: &Client, robot: &str, token: &str) -> Response {
    let target =
        format!("/token?service=x&offline_token=true&scope={}", escape("repository:shop-images/web/app:pull,push"));
    client.anonymous().send(Request::new("GET", &target).header("Authorization", &basic(robot, token)))
}

fn post(client: &Client, form: &[(&str, &str)]) -> Response {
    let form: Vec<_> = form.iter().map(|(name, value)| format!("{name}={}", escape(value))).collect();
    let asked = Request::new("POST", "/token").header("Content-Type", "application/x-www-form-urlencoded");
    client.anonymous().send(asked.body(Body::Length(form.join("&").into_bytes())))
}

fn with_bearer(client: &Client, token: &str, target: &str) -> Response {
    client.anonymous().send(Request::new("GET", target).header("Authorization", &format!("Bearer {token}")))
}

fn jobs_push_and_pull_with_their_own_token(storage: &Storage) {
    let issuer = Issuer::start();
    let server = Server::start(setup(storage, &issuer));
    let root = server.client();
    prepare(&root);
    let id = trust(&root, &issuer);
    let shown = || root.get(&format!("/api/v1{TRUSTS}")).expect(200).json()["items"][0].clone();
    let seen = shown();
    assert_eq!((&seen["id"], &seen["used"], &seen["living"]), (&json!(id), &Value::Null, &json!(true)));
    assert_eq!(seen["claims"], json!({"repository": "acme/app", "ref": "refs/heads/*"}));
    let token = token(&issuer);
    let (robot, secret) = (ROBOT.to_owned(), token.clone());
    for login in [Login::Basic(robot.clone(), secret.clone()), Login::Token(robot, secret)] {
        let job = root.logged_in(login);
        let image = content::image(1);
        job.push_image("shop-images/web/app", "v1", &image);
        job.get("/v2/shop-images/web/app/manifests/v1").expect(200).expect_body(&image.manifest.bytes);
        job.get("/v2/shop-images/other/manifests/v1").expect_error(403, "DENIED");
        job.delete("/v2/shop-images/web/app/manifests/v1").expect_error(403, "DENIED");
        job.get("/v2/").expect(200);
    }
    assert!(shown()["used"].is_string());
    // It is no key: not in the lists, not among the five, and nobody has a secret for it.
    let keys = root.get("/api/v1/projects/shop/robots/ci/keys").expect(200).json();
    assert_eq!(keys["items"], json!([]));
    for secret in ["", "x"] {
        root.logged_in(Login::Basic(id.clone(), secret.to_owned())).get("/v2/").expect(401);
    }
    let audited = root.get(&format!("/api/v1/audit?object={id}")).expect(200).json();
    assert_eq!(audited["items"][0]["what"], "trust.create");
}

/// Whoever is not meant can't tell whether there is such a robot, nor what it trusts.
fn jobs_that_are_not_meant_all_get_one_answer(storage: &Storage) {
    let (issuer, stranger) = (Issuer::start(), Issuer::start());
    let server = Server::start(setup(storage, &issuer));
    let root = server.client();
    prepare(&root);
    send(&root, "PUT", "/projects/shop/robots/other", &json!({})).expect(201);
    trust(&root, &issuer);
    let with = |change: Value| {
        let mut claims = issuer.claims(AUDIENCE, &job());
        for (name, value) in change.as_object().unwrap() {
            claims[name] = value.clone();
        }
        issuer.sign(&claims)
    };
    let right = token(&issuer);
    ask(&root, ROBOT, &right).expect(200);
    let payload = right.split('.').nth(1).unwrap();
    let mut cases = vec![
        ("shop/other", right.clone()),
        ("shop/absent", right.clone()),
        ("absent/ci", right.clone()),
        ("shop/CI", right.clone()),
        ("/", right.clone()),
        ("shop/ci/x", right.clone()),
        ("shop/c\0i", right.clone()),
        (ROBOT, "x".to_owned()),
        (ROBOT, String::new()),
        (ROBOT, format!("eyJhbGciOiJub25lIiwia2lkIjoib25lIn0.{payload}.")),
        (ROBOT, format!("eyJhbGciOiJIUzI1NiIsImtpZCI6Im9uZSJ9.{payload}.AAAA")),
        (ROBOT, stranger.sign(&issuer.claims(AUDIENCE, &job()))),
        (ROBOT, stranger.sign(&stranger.claims(AUDIENCE, &job()))),
        (ROBOT, "x.".repeat(10_000)),
    ];
    for change in [
        json!({"repository": "acme/other"}),
        json!({"repository": "acme/app2"}),
        json!({"repository": null}),
        json!({"repository": ["acme/app"]}),
        json!({"ref": "refs/tags/v1"}),
        json!({"ref": "refs/heads/a/b"}),
        json!({"aud": "https://other.example.com"}),
        json!({"aud": [AUDIENCE, "https://other.example.com"]}),
        json!({"exp": 1_000_000_000}),
        json!({"nbf": 4_000_000_000_u64}),
        json!({"iss": "https://token.actions.githubusercontent.com"}),
    ] {
        cases.push((ROBOT, with(change)));
    }
    let body = |answer: &Response| answer.expect(401).text();
    let unknown_key = body(&ask(&root, "RSKNOBODY", "x"));
    for (robot, token) in &cases {
        assert_eq!(body(&ask(&root, robot, token)), unknown_key, "{robot} {token}");
        let basic = root.logged_in(Login::Basic((*robot).to_owned(), token.clone()));
        basic.get("/v2/shop-images/web/app/manifests/v1").expect_error(401, "UNAUTHORIZED");
    }
    // Whatever kids strangers make up, the issuer was asked once.
    let asked = issuer.asked().iter().filter(|path| *path == "/keys").count();
    assert_eq!(asked, 1);
    assert!(stranger.asked().is_empty(), "an issuer that nobody trusts was asked");
}

fn jobs_exchange_their_token(storage: &Storage) {
    let issuer = Issuer::start();
    let server = Server::start(setup(storage, &issuer));
    let root = server.client();
    prepare(&root);
    trust(&root, &issuer);
    let token = token(&issuer);
    let right = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("client_id", ROBOT),
        ("subject_token", &*token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:jwt"),
        ("scope", "repository:shop-images/web/app:pull,push repository:shop-images/other:pull"),
    ];
    let answer = post(&root, &right).expect(200).json();
    assert_eq!(answer["issued_token_type"], "urn:ietf:params:oauth:token-type:access_token");
    assert_eq!((&answer["token_type"], &answer["expires_in"]), (&json!("Bearer"), &json!(3600)));
    assert_eq!(answer["scope"], "repository:shop-images/web/app:pull,push");
    let access = answer["access_token"].as_str().unwrap();
    with_bearer(&root, access, "/v2/shop-images/web/app/tags/list").expect(404);
    with_bearer(&root, access, "/v2/shop-images/other/tags/list").expect(403);
    // Management is not for robots.
    with_bearer(&root, access, "/api/v1/projects/shop").expect(403);
    for (name, value) in [
        ("subject_token_type", "urn:ietf:params:oauth:token-type:saml2"),
        ("client_id", "docker"),
        ("client_id", "shop/absent"),
        ("subject_token", "x"),
        ("subject_token", ""),
    ] {
        let form = right.map(|(own, given)| if own == name { (own, value) } else { (own, given) });
        assert_eq!(post(&root, &form).expect(400).json()["error"], "invalid_request", "{name} {value}");
    }
    // Containerd asks with a password grant, and has the same.
    let form =
        [("grant_type", "password"), ("username", ROBOT), ("password", &*token), ("client_id", "containerd-client")];
    post(&root, &form).expect(200);
}

/// Invariant 10: without the trust, or the robot, the next request is refused, whatever was got by it, on every node.
fn jobs_end_with_the_trust_on_every_node(storage: &Storage) {
    let issuer = Issuer::start();
    let server = Server::start(setup(storage, &issuer));
    let other = (storage.engine == Engine::S3).then(|| Server::start(setup(storage, &issuer)));
    let root = server.client();
    prepare(&root);
    root.push_image("shop-images/web/app", "v1", &content::image(1));
    let token = token(&issuer);
    let nodes: Vec<_> = [Some(&server), other.as_ref()].into_iter().flatten().map(Server::client).collect();
    let manifest = "/v2/shop-images/web/app/manifests/v1";
    let get = |node: &Client, access: &str| {
        let asked = Request::new("GET", manifest).header("Host", &root.address.to_string());
        node.anonymous().send(asked.header("Authorization", &format!("Bearer {access}")))
    };
    let ends = |end: &dyn Fn(&str), begin: &dyn Fn() -> String| {
        let id = begin();
        let granted = ask(&root, ROBOT, &token).expect(200).json();
        let [access, refresh] = ["token", "refresh_token"].map(|name| granted[name].as_str().unwrap().to_owned());
        let basic = |node: &Client| node.logged_in(Login::Basic(ROBOT.to_owned(), token.clone())).get(manifest);
        for node in &nodes {
            get(node, &access).expect(200);
            basic(node).expect(200);
        }
        end(&id);
        for node in &nodes {
            get(node, &access).expect_error(401, "UNAUTHORIZED");
            basic(node).expect_error(401, "UNAUTHORIZED");
            ask(node, ROBOT, &token).expect(401);
        }
        let form = [("grant_type", "refresh_token"), ("refresh_token", &*refresh), ("client_id", "docker")];
        post(&root, &form).expect(400);
    };
    let delete = |id: &str| {
        send(&root, "DELETE", &format!("{TRUSTS}/{id}"), &Value::Null).expect(204);
    };
    ends(&delete, &|| trust(&root, &issuer));
    send(&root, "DELETE", &format!("{TRUSTS}/RSTABSENT"), &Value::Null).expect(404);
    let robot = "/projects/shop/robots/ci";
    let disable = |_: &str| {
        send(&root, "PATCH", robot, &json!({"disabled": true})).expect(200);
    };
    ends(&disable, &|| trust(&root, &issuer));
    let enable = || {
        send(&root, "PATCH", robot, &json!({"disabled": false})).expect(200);
        String::new()
    };
    let remove = |_: &str| {
        send(&root, "DELETE", robot, &Value::Null).expect(204);
    };
    ends(&remove, &enable);
    // A trust of another robot is none of this one's.
    send(&root, "PUT", robot, &json!({})).expect(201);
    send(&root, "PUT", "/projects/shop/robots/other", &json!({})).expect(201);
    let id = trust(&root, &issuer);
    send(&root, "DELETE", &format!("/projects/shop/robots/other/trusts/{id}"), &Value::Null).expect(404);
    ask(&root, ROBOT, &token).expect(200);
}

/// The token of a job lives for minutes; what docker got for it, and keeps instead, for as long as the settings say and no longer.
fn jobs_stay_signed_in_for_a_while(storage: &Storage) {
    let issuer = Issuer::start();
    let server = Server::start(setup(storage, &issuer).set("ROADSTEAD_CI_LOGIN_SECONDS", "100"));
    let root = server.client();
    prepare(&root);
    trust(&root, &issuer);
    let granted = ask(&root, ROBOT, &token(&issuer)).expect(200).json();
    assert_eq!(granted["expires_in"], 100);
    let refresh = granted["refresh_token"].as_str().unwrap();
    let form = [
        ("grant_type", "refresh_token"),
        ("refresh_token", refresh),
        ("client_id", "docker"),
        ("access_type", "offline"),
    ];
    let again = post(&root, &form).expect(200).json();
    assert_eq!(again["refresh_token"], refresh, "it is not changed for one that lives longer");
    let left = again["expires_in"].as_i64().unwrap();
    assert!((60..=100).contains(&left), "{left} is beyond the end of the sign-in");
}

fn jobs_are_trusted_only_when_somebody_is_meant(storage: &Storage) {
    let issuer = Issuer::start();
    let server = Server::start(setup(storage, &issuer));
    let root = server.client();
    prepare(&root);
    let wrong = |name: &str, value: Value, field: &str, words: &str| {
        let mut new = new_trust(&issuer.address);
        new[name] = value;
        let answer = send(&root, "POST", TRUSTS, &new);
        let told = answer.expect(400).json()["errors"][0].clone();
        assert!(told["field"] == field && told["message"].as_str().unwrap().contains(words), "{told}");
    };
    wrong("claims", json!({}), "claims", "whose jobs are meant");
    wrong("claims", json!({"ref": "refs/heads/main"}), "claims", "whose jobs are meant");
    wrong("claims", json!({"repository": "**"}), "claims", "whose jobs are meant");
    // Every repository of GitHub can have its tokens say so.
    for sub in ["ref:refs/**", "environment:production", "environment:prod:repository_owner:*"] {
        wrong("claims", json!({ "sub": sub }), "claims", "anybody can have GitHub write one");
    }
    wrong("claims", json!({"repository": "acme/app", "ref": "{"}), "claims", "braces");
    wrong("issuer", json!("https://gitlab.com"), "issuer", &issuer.address);
    wrong("audience", json!(""), "audience", "1 to 255");
    wrong("limits", json!([]), "limits", "1 to 50");
    wrong("days", json!(0), "days", "at least 1");
    for _ in 0..20 {
        trust(&root, &issuer);
    }
    assert!(send(&root, "POST", TRUSTS, &new_trust(&issuer.address)).expect(409).text().contains("20 trusts"));
    let first = root.get(&format!("/api/v1{TRUSTS}?limit=15")).expect(200).json();
    let next = first["next"].as_str().unwrap();
    let rest = root.get(&format!("/api/v1{TRUSTS}?after={next}")).expect(200).json();
    assert_eq!((first["items"].as_array().unwrap().len(), rest["items"].as_array().unwrap().len()), (15, 5));
    // Five keys are there beside them, and the project goes with all of it.
    for _ in 0..5 {
        let limits = json!({"limits": [{"actions": ["pull"]}]});
        send(&root, "POST", "/projects/shop/robots/ci/keys", &limits).expect(201);
    }
    send(&root, "PUT", "/projects/gone", &json!({})).expect(201);
    send(&root, "PUT", "/projects/gone/robots/ci", &json!({})).expect(201);
    send(&root, "POST", "/projects/gone/robots/ci/trusts", &new_trust(&issuer.address)).expect(201);
    root.anonymous().send(request("GET", TRUSTS, &Value::Null)).expect(401);
    send(&root, "DELETE", "/projects/gone", &Value::Null).expect(204);
}

/// As that of a Kubernetes cluster: its keys are in a file, and nothing is asked of it.
fn jobs_may_come_from_an_issuer_that_cannot_be_reached(storage: &Storage) {
    let issuer = Issuer::start();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("keys.json");
    std::fs::write(&file, json!({ &issuer.address: issuer.keys() }).to_string()).unwrap();
    let server = Server::start(storage.setup().set("ROADSTEAD_CI_KEYS_FILE", file.to_str().unwrap()));
    let root = server.client();
    prepare(&root);
    let mut new = new_trust(&issuer.address);
    new["claims"] = json!({"sub": "system:serviceaccount:builds:*"});
    send(&root, "POST", TRUSTS, &new).expect(201);
    let pod =
        |name: &str| issuer.sign(&issuer.claims(AUDIENCE, &json!({"sub": format!("system:serviceaccount:{name}")})));
    ask(&root, ROBOT, &pod("builds:kaniko")).expect(200);
    ask(&root, ROBOT, &pod("default:kaniko")).expect(401);
    assert!(issuer.asked().is_empty(), "{:?}", issuer.asked());
}

/// Before anybody signs in: an issuer that can't be asked is named, of people as of jobs.
#[test]
fn config_check_asks_issuers() {
    let (issuer, data) = (Issuer::start(), tempfile::tempdir().unwrap());
    let check = |address: &str| {
        Setup::directory(crate::scene::BINARY)
            .set("ROADSTEAD_CI_INTERNAL_ISSUERS", address)
            .set("ROADSTEAD_OIDC_ISSUER", address)
            .set("ROADSTEAD_OIDC_INTERNAL", "true")
            .set("ROADSTEAD_OIDC_CLIENT_ID", "x")
            .run(data.path(), &["config", "check"])
    };
    let right = check(&issuer.address);
    assert_eq!(right.ok().lines().filter(|line| line.contains(&issuer.address)).count(), 2, "{right:?}");
    // Another address leads to it as well, but is not what its tokens name.
    for wrong in ["http://127.0.0.1:9", &issuer.address.replace("127.0.0.1", "localhost")] {
        let told = check(wrong);
        assert_eq!(told.code, 1, "{told:?}");
        let trouble = told.out.lines().filter(|line| line.starts_with("TROUBLE") && line.contains(wrong));
        assert_eq!(trouble.count(), 2, "{told:?}");
    }
}
