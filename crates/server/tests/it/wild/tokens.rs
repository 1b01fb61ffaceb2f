//! protocol.md 4: bugs about logging in and tokens.

use roadstead_testkit::{
    Body, Client, Request, Response, Server,
    content::{self, random_bytes},
    digest,
    http::{escape, with_parameter},
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic},
    until,
    wire::Connection,
};
use serde_json::json;

use crate::{
    beside::{Beside, with_known_secret},
    scene::{Scene, Storage, conformance, on_both_engines},
    token::{bearer, granted, token},
};

conformance!(
    bug22_one_repository_in_two_scopes,
    bug23_two_entries_in_one_scope,
    bug24_pull_first_then_push,
    bug25_words_of_the_protocol_in_names,
    bug31_one_scheme_in_every_challenge,
    bug40_i2_catalog_scope,
);
on_both_engines!(
    bug4_public_beside_private,
    bug5_whatever_the_user_agent,
    bug47_a_token_that_ends_in_the_middle_of_a_patch,
);

/// A server with a public registry `open` beside the private `conf`, an image in each.
fn public_beside_private(storage: &Storage) -> Server {
    let server = storage.start();
    server.run(&["registry", "create", "open", "--public"]).ok();
    for repository in ["open/app", "conf/app"] {
        server.client().push_image(repository, "v1", &content::image(1));
    }
    server
}

fn pull(client: &Client, repository: &str, login: &str) -> Response {
    let get = Request::new("GET", &format!("/v2/{repository}/manifests/v1"));
    client.anonymous().send(get.header("Authorization", login))
}

/// protocol.md 4 #4 (zot #2928), 2.1: docker reads the challenge of the ping alone, so that must be 401 although
/// anybody may pull something here; then login, a private pull and a public one without login all work from it. The
/// real program: `e2e/docker.sh`.
fn bug4_public_beside_private(storage: &Storage) {
    let server = public_beside_private(storage);
    let client = server.client();
    let ping = Challenge::of(&client.anonymous().get("/v2/"));

    // `docker login`, which forgets the password when it gets a refresh token, and `docker pull` with that.
    let target = format!("{}&account={KEY_ID}&client_id=docker&offline_token=true", ping.target(&[]));
    let get = Request::new("GET", &target).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let refresh = client.send(get).expect(200).json()["refresh_token"].as_str().unwrap().to_owned();
    for repository in ["conf/app", "open/app"] {
        let form = format!(
            "grant_type=refresh_token&client_id=docker&service={}&scope={}&refresh_token={refresh}",
            escape(&ping.service),
            escape(&format!("repository:{repository}:pull")),
        );
        let post = Request::new("POST", "/token").header("Content-Type", "application/x-www-form-urlencoded");
        let grant = client.anonymous().send(post.body(Body::Length(form.into_bytes()))).expect(200).json();
        pull(&client, repository, &format!("Bearer {}", grant["access_token"].as_str().unwrap())).expect(200);
    }

    // `docker pull` without login.
    for (repository, status) in [("open/app", 200), ("conf/app", 401)] {
        let target = ping.target(&[&format!("repository:{repository}:pull")]);
        let grant = client.anonymous().get(&target).expect(200).json();
        pull(&client, repository, &format!("Bearer {}", grant["token"].as_str().unwrap())).expect(status);
    }
}

/// protocol.md 4 #5 (zot #3991): what a program calls itself changes no answer. Compose's name was taken for docker's,
/// and docker's for that of a client which needs no challenge.
fn bug5_whatever_the_user_agent(storage: &Storage) {
    let server = public_beside_private(storage);
    let client = server.client();
    let ask = |agent: Option<&str>, login: Option<&str>, target: &str| {
        let mut request = Request::new("GET", target);
        for (name, value) in [("User-Agent", agent), ("Authorization", login)] {
            if let Some(value) = value {
                request = request.header(name, value);
            }
        }
        let answer = client.anonymous().send(request);
        (answer.status, answer.get("WWW-Authenticate").map(str::to_owned), answer.body)
    };
    let nobody = client.anonymous().get("/token?scope=repository%3Aopen%2Fapp%3Apull").expect(200).json();
    let nobody = format!("Bearer {}", nobody["token"].as_str().unwrap());
    let someone = basic(KEY_ID, KEY_SECRET);
    for (target, login, status) in [
        ("/v2/", None, 401),
        ("/v2/open/app/manifests/v1", None, 401),
        ("/v2/open/app/manifests/v1", Some(&nobody), 200),
        ("/v2/open/app/manifests/v1", Some(&someone), 200),
        ("/v2/conf/app/manifests/v1", None, 401),
        ("/v2/conf/app/manifests/v1", Some(&nobody), 401),
        ("/v2/conf/app/manifests/v1", Some(&someone), 200),
    ] {
        let login = login.map(String::as_str);
        let plain = ask(None, login, target);
        assert_eq!(plain.0, status, "{target} {login:?}");
        for agent in [
            "docker/29.0.0 go/go1.25 kernel/6.12 os/linux arch/amd64 UpstreamClient(compose/2.40.0)",
            "docker/20.10.24 UpstreamClient(Docker-Client/20.10.24 \\(linux\\))",
            "containerd/2.1.0",
            "Mozilla/5.0",
            "",
        ] {
            assert_eq!(ask(Some(agent), login, target), plain, "{agent} {target}");
        }
    }
}

/// Pushes a chart as helm does, with one token.
fn push_with(t: &Scene, token: &str) {
    let chart = content::image(1);
    let send = |method: &str, target: &str, body: &[u8]| {
        let request = Request::new(method, target).header("Authorization", &format!("Bearer {token}"));
        let request = request.header("Content-Type", &chart.manifest.media_type);
        t.client.send(request.body(Body::Length(body.to_vec())))
    };
    for blob in &chart.blobs {
        let head = Request::new("HEAD", &t.at(&format!("blobs/{}", digest(blob))));
        t.client.send(head.header("Authorization", &format!("Bearer {token}"))).expect(404);
        let location = send("POST", &t.at("blobs/uploads/"), b"").expect(202).location_path();
        send("PUT", &with_parameter(&location, "digest", &digest(blob)), blob).expect(201);
    }
    send("PUT", &t.at("manifests/0.1.0"), &chart.manifest.bytes).expect(201);
}

/// protocol.md 4 #22 (helm #12121, Keycloak): `scope=R:pull&scope=R:pull,push`: one entry for the repository with both
/// actions, whichever comes first.
fn bug22_one_repository_in_two_scopes(t: &Scene) {
    let [pull, push] = ["pull", "pull,push"].map(|actions| format!("repository:{}:{actions}", t.repo));
    for scopes in [[&pull, &push], [&push, &pull]] {
        let token = token(t, &scopes.map(String::as_str));
        assert_eq!(granted(&token), [(t.repo.clone(), vec!["pull".to_owned(), "push".to_owned()])]);
        push_with(t, &token);
    }
}

/// protocol.md 4 #23 (helm #6214): one `scope` with two entries, the space between them written as `%20` or, as Go does
/// it, as `+`.
fn bug23_two_entries_in_one_scope(t: &Scene) {
    let other = t.another();
    let challenge = Challenge::of(&t.client.anonymous().get("/v2/"));
    for space in ["%20", "+"] {
        let [push, pull] = [(&t.repo, "pull,push"), (&other, "pull")]
            .map(|(name, actions)| escape(&format!("repository:{name}:{actions}")));
        let target = format!("{}&scope={pull}{space}{push}", challenge.target(&[]));
        let get = Request::new("GET", &target).header("Authorization", &basic(KEY_ID, KEY_SECRET));
        let token = t.client.send(get).expect(200).json()["token"].as_str().unwrap().to_owned();
        assert_eq!(granted(&token).len(), 2, "{space}: {:?}", granted(&token));
        push_with(t, &token);
        bearer(t, "GET", &format!("/v2/{other}/manifests/v1"), &token).expect(404);
    }
}

/// protocol.md 4 #24 (helm #31211, #32156), 2.5: a client that asks for pull first, in a repository that is not there
/// yet, gets that token; its POST is answered with what is needed, and asking for just that is enough for the whole push.
fn bug24_pull_first_then_push(t: &Scene) {
    let first = Challenge::of(&t.client.anonymous().head(&t.at("manifests/0.1.0")));
    assert_eq!(first.scope, Some(format!("repository:{}:pull", t.repo)));
    let pull = token(t, &[first.scope.as_deref().unwrap()]);
    bearer(t, "HEAD", &t.at("manifests/0.1.0"), &pull).expect(404);
    let second = Challenge::of(&bearer(t, "POST", &t.at("blobs/uploads/"), &pull));
    assert_eq!(second.error.as_deref(), Some("insufficient_scope"));
    assert_eq!(second.scope, Some(format!("repository:{}:pull,push", t.repo)));
    push_with(t, &token(t, &[second.scope.as_deref().unwrap()]));
}

/// protocol.md 4 #25 (jkube #2419), A4: a client makes its scope out of the address it asked. Names with words of the
/// protocol in them get the challenge of just that repository, and its token opens it.
fn bug25_words_of_the_protocol_in_names(t: &Scene) {
    for name in ["a/push", "pull/x", "blobs/uploads", "manifests/x", "push", "x/tags/list", "referrers/blobs"] {
        let repository = format!("{}/{name}", t.repo);
        let begin = format!("/v2/{repository}/blobs/uploads/");
        let challenge = Challenge::of(&t.client.anonymous().post(&begin));
        assert_eq!(challenge.scope, Some(format!("repository:{repository}:pull,push")));
        let token = token(t, &[challenge.scope.as_deref().unwrap()]);
        assert_eq!(granted(&token), [(repository.clone(), vec!["pull".to_owned(), "push".to_owned()])]);
        bearer(t, "POST", &begin, &token).expect(202);
        let image = content::image(1);
        let named = t.client.push_image(&repository, "v1", &image);
        for (reference, kind) in
            [("v1", "manifests"), (named.as_str(), "manifests"), (&digest(&image.blobs[1]), "blobs")]
        {
            let target = format!("/v2/{repository}/{kind}/{reference}");
            let challenge = Challenge::of(&t.client.anonymous().get(&target));
            assert_eq!(challenge.scope, Some(format!("repository:{repository}:pull")), "{target}");
            bearer(t, "GET", &target, &token).expect(200);
        }
        let tags = bearer(t, "GET", &format!("/v2/{repository}/tags/list"), &token).expect(200).json();
        assert_eq!(tags, json!({"name": repository, "tags": ["v1"]}));
    }
}

/// protocol.md 4 #31 (jib #2784), 2.1: whatever a client showed, Basic too, a 401 names one scheme, in one header
/// ([`Challenge::of`] fails at a second). Basic is taken without being offered.
fn bug31_one_scheme_in_every_challenge(t: &Scene) {
    for login in [
        None,
        Some(basic(KEY_ID, "wrong")),
        Some(basic("", "")),
        Some("Bearer wrong".to_owned()),
        Some("Digest username=\"x\"".to_owned()),
    ] {
        for (method, target) in
            [("GET", "/v2/".to_owned()), ("HEAD", t.at("manifests/v1")), ("POST", t.at("blobs/uploads/"))]
        {
            let mut request = Request::new(method, &target);
            if let Some(login) = &login {
                request = request.header("Authorization", login);
            }
            Challenge::of(&t.client.anonymous().send(request));
        }
    }
    let with_key = Request::new("GET", "/v2/").header("Authorization", &basic(KEY_ID, KEY_SECRET));
    t.client.anonymous().send(with_key).expect(200).expect_no("WWW-Authenticate");
}

/// protocol.md 4 #40 (distribution #3165), I2: the challenge asks for `registry:catalog:*`, and a token for just that
/// lists.
fn bug40_i2_catalog_scope(t: &Scene) {
    t.client.push_image(&t.repo, "v1", &content::image(0));
    let challenge = Challenge::of(&t.client.anonymous().send(Request::new("GET", "/v2/_catalog")));
    assert_eq!(challenge.scope.as_deref(), Some("registry:catalog:*"));
    let token = token(t, &["registry:catalog:*"]);
    let before = t.repo.trim_end_matches(|c: char| c.is_ascii_alphanumeric());
    let answer = bearer(t, "GET", &with_parameter("/v2/_catalog", "last", before), &token);
    assert!(answer.expect(200).text().contains(&format!("\"{}\"", t.repo)), "{answer:?}");
}

/// protocol.md 4 #47 (docker_auth #240, moby #33558, buildx #324), 2.4: a token is looked at when a request begins. One
/// of 60 seconds ends while its PATCH is under way: the PATCH passes, the next request is 401 `invalid_token`, and with
/// a new token the upload goes on where it was.
fn bug47_a_token_that_ends_in_the_middle_of_a_patch(storage: &Storage) {
    let server = Server::start(with_known_secret(storage.setup()));
    let client = server.client();
    let node = Beside::new(&server);
    let bytes = random_bytes(300_000);
    let begin = client.begin("conf/app");
    let patch = Request::new("PATCH", &begin).header("Expect", "100-continue").header("Content-Range", "0-199999");
    let patch = patch.body(Body::Length(bytes[..200_000].to_vec()));

    // The server's 100 says that the token was good at the start. On a busy machine it may have come too late.
    let (bearer, mut connection) = [3, 10, 30, 60]
        .into_iter()
        .find_map(|left| {
            let (token, _) = node.ending_token(&["repository:conf/app:pull,push"], left);
            let bearer = format!("Bearer {token}");
            let mut connection = Connection::open(server.address()).unwrap();
            connection.write_head(&patch.clone().header("Authorization", &bearer)).unwrap();
            let first = connection.read_line().unwrap();
            first.starts_with("HTTP/1.1 100").then_some((bearer, connection))
        })
        .expect("no token lived long enough to begin with");
    assert_eq!(connection.read_line().unwrap(), "");
    connection.write_raw(&bytes[..100_000]).unwrap();
    let ended = until("the token has ended", || {
        let answer = client.send(Request::new("GET", "/v2/conf/app/tags/list").header("Authorization", &bearer));
        (answer.status == 401).then_some(answer)
    });
    assert_eq!(Challenge::of(&ended).error.as_deref(), Some("invalid_token"));
    connection.write_raw(&bytes[100_000..200_000]).unwrap();
    let patched = connection.read_answer(&patch).unwrap();
    let location = patched.expect(202).expect_header("Range", "0-199999").location_path();

    let rest = |bearer: &str| {
        let request = Request::new("PATCH", &location).header("Authorization", bearer);
        client.send(request.header("Content-Range", "200000-299999").body(Body::Length(bytes[200_000..].to_vec())))
    };
    let challenge = Challenge::of(&rest(&bearer));
    assert_eq!(challenge.error.as_deref(), Some("invalid_token"));
    assert_eq!(challenge.scope.as_deref(), Some("repository:conf/app:pull,push"));
    let get = Request::new("GET", &challenge.target(&[])).header("Authorization", &basic(KEY_ID, KEY_SECRET));
    let renewed = client.send(get).expect(200).json()["token"].as_str().unwrap().to_owned();
    let location = rest(&format!("Bearer {renewed}")).expect(202).expect_header("Range", "0-299999").location_path();
    client.put(&with_parameter(&location, "digest", &digest(&bytes)), b"").expect(201);
    assert!(client.pull_blob("conf/app", &digest(&bytes)) == bytes);
}
