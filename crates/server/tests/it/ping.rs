//! protocol.md 1, Ping (B).

use roadstead_testkit::{Client, Request, token::Challenge};

use crate::scene::{Scene, conformance};

conformance!(b1_ping, b2_ping_without_credentials, b2_api_version_on_all_answers, b3_with_and_without_slash);

/// protocol.md B1: 200 with the body `{}`.
fn b1_ping(t: &Scene) {
    let answer = t.client.get("/v2/");
    answer.expect(200).expect_header("Content-Type", "application/json").expect_length(2).expect_body(b"{}");
    t.client.head("/v2/").expect(200).expect_body(b"");
}

/// protocol.md B2 and 2.1: without credentials 401, one Bearer challenge, no scope and no error in it.
fn b2_ping_without_credentials(t: &Scene) {
    let challenge = Challenge::of(&t.client.anonymous().get("/v2/"));
    assert_eq!(challenge.scope, None);
    assert_eq!(challenge.error, None);
    assert_eq!(challenge.service, t.client.address.to_string());
    assert_eq!(challenge.realm, format!("http://{}/token", t.client.address));
}

/// protocol.md B2: old docker wants the version header on every answer, refusals too.
fn b2_api_version_on_all_answers(t: &Scene) {
    let on = |client: &Client, method: &str, target: &str| {
        client.send(Request::new(method, target)).expect_header("Docker-Distribution-Api-Version", "registry/2.0");
    };
    for target in ["/v2/", "/v2", "/v2/_catalog", &t.at("tags/list"), &t.at("blobs/sha256:0")] {
        on(&t.client, "GET", target);
        on(&t.client.anonymous(), "GET", target);
    }
    on(&t.client, "POST", &t.at("blobs/uploads/"));
    on(&t.client, "PUT", &t.at("manifests/latest"));
}

/// protocol.md B3.
fn b3_with_and_without_slash(t: &Scene) {
    t.client.get("/v2").expect(200).expect_body(b"{}");
    t.client.get("/v2/").expect(200).expect_body(b"{}");
    Challenge::of(&t.client.anonymous().get("/v2"));
}
