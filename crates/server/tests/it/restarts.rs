//! Restarting the server is only a pause (invariant 7): uploads, tokens and sessions go on.

use roadstead_testkit::{
    Login, Request, Server, content,
    content::random_bytes,
    digest,
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic},
};

use crate::scene::{Storage, on_both_engines};

on_both_engines!(upload_goes_on, finished_upload_is_remembered, everything_is_there, tokens_stay_good);

fn again(server: &mut Server) {
    assert_eq!(server.stop(), 0);
    server.start_again();
}

/// Invariant 7: an upload of several chunks, the server restarted after each; sha512 too, whose state is kept along.
fn upload_goes_on(storage: &Storage) {
    let mut server = storage.start();
    for algorithm in content::ALGORITHMS {
        let bytes = random_bytes(20 * 1024 * 1024);
        let digest = algorithm.of(&bytes);
        let post = format!("/v2/conf/app/blobs/uploads/?digest-algorithm={}", algorithm.name());
        let mut location = server.client().post(&post).expect(202).location_path();
        let mut size = 0;
        for piece in bytes.chunks(7 * 1024 * 1024) {
            location = server.client().patch(&location, Some(size), piece).expect(202).location_path();
            size += piece.len();
            again(&mut server);
            server.client().get(&location).expect(204).expect_header("Range", &format!("0-{}", size - 1));
        }
        server.client().put(&with_parameter(&location, "digest", &digest), b"").expect(201);
        assert!(server.client().pull_blob("conf/app", &digest) == bytes);
    }
}

/// protocol.md D19b across a restart.
fn finished_upload_is_remembered(storage: &Storage) {
    let mut server = storage.start();
    let location =
        server.client().patch(&server.client().begin("conf/app"), None, b"bytes").expect(202).location_path();
    let put = with_parameter(&location, "digest", &digest(b"bytes"));
    server.client().put(&put, b"").expect(201);
    again(&mut server);
    server.client().put(&put, b"").expect(201);
}

/// Tags, referrers, deletions: as they were.
fn everything_is_there(storage: &Storage) {
    let mut server = storage.start();
    let client = server.client();
    let [image, gone] = [content::image(1), content::image(1)];
    let named = client.push_image("conf/app", "v1", &image);
    client.push_image("conf/app", "gone", &gone);
    let mut artifact = content::artifact("x/y");
    artifact.manifest = artifact.manifest.about(&image.manifest);
    client.push_image("conf/app", &artifact.manifest.digest(), &artifact);
    client.delete("/v2/conf/app/manifests/gone").expect(202);
    let ask = |server: &Server| {
        ["tags/list".to_owned(), format!("referrers/{named}"), format!("manifests/{named}")]
            .map(|what| server.client().get(&format!("/v2/conf/app/{what}")).expect(200).body.clone())
    };
    let before = ask(&server);
    again(&mut server);
    assert!(ask(&server) == before);
    server.client().get("/v2/conf/app/manifests/gone").expect(404);
}

/// A token that was given before the restart is good after it; so is a refresh token.
fn tokens_stay_good(storage: &Storage) {
    let setup = storage.setup().set("ROADSTEAD_EXTERNAL_URL", "http://registry.example");
    let mut server = Server::start(setup);
    let challenge = Challenge::of(&server.client().anonymous().get("/v2/"));
    let get = Request::new("GET", &challenge.target(&["repository:conf/app:pull"]));
    let grant = server.client().send(get.header("Authorization", &basic(KEY_ID, KEY_SECRET))).expect(200).json();
    let bearer = format!("Bearer {}", grant["token"].as_str().unwrap());
    again(&mut server);
    let get = Request::new("GET", "/v2/conf/app/tags/list").header("Authorization", &bearer);
    server.client().send(get).expect(404);
    server.client().logged_in(Login::Token(KEY_ID.to_owned(), KEY_SECRET.to_owned())).get("/v2/").expect(200);
}
