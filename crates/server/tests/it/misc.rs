//! protocol.md 1, Misc (N): addresses behind proxies, the connection itself, HTTP/2.

use std::thread;

use roadstead_testkit::{
    Body, Client, Request, Response, Server, Setup,
    content::{self, random_bytes, types},
    digest, h2,
    http::with_parameter,
    server::{KEY_ID, KEY_SECRET},
    token::{Challenge, basic},
    wire::Connection,
};

use crate::scene::{BINARY, Scene, conformance};

conformance!(
    n2_keep_alive,
    n2_keep_alive_after_a_refused_body,
    n2_pipelined_requests,
    n3_expect_continue,
    n3_expect_continue_refused,
    n4_http2,
    n4_http2_many_streams,
    n5_head_has_no_body,
);

fn locations(client: &Client, headers: &[(&str, &str)]) -> Vec<String> {
    let request = |method: &str, target: &str| {
        let request = Request::new(method, target).header("Authorization", &basic(KEY_ID, KEY_SECRET));
        headers.iter().fold(request, |request, (name, value)| request.header(name, value))
    };
    let bytes = random_bytes(10);
    let digest = digest(&bytes);
    let begun = client.send(request("POST", "/v2/conf/forwarded/blobs/uploads/"));
    let target = with_parameter(&begun.expect(202).location_path(), "digest", &digest);
    let put = client.send(request("PUT", &target).body(Body::Length(bytes)));
    vec![begun.location(), put.expect(201).location()]
}

fn realm(client: &Client, headers: &[(&str, &str)]) -> Challenge {
    let request =
        headers.iter().fold(Request::new("GET", "/v2/"), |request, (name, value)| request.header(name, value));
    Challenge::of(&client.anonymous().send(request))
}

fn fits(location: &str, origin: &str) -> bool {
    location.starts_with('/') || location.starts_with(&format!("{origin}/"))
}

/// protocol.md N1, T16 and 4 #39: what a trusted proxy says of scheme, host and port is in Location and realm.
#[test]
fn n1_forwarded_by_a_trusted_proxy() {
    let server = Server::start(Setup::directory(BINARY).set("ROADSTEAD_TRUSTED_PROXIES", "127.0.0.0/8,::1/128"));
    let client = server.client();
    for (headers, origin) in [
        (&[("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "registry.example")][..], "https://registry.example"),
        (
            &[("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "registry.example:8443")],
            "https://registry.example:8443",
        ),
        (&[("X-Forwarded-Proto", "https"), ("Host", "registry.example")], "https://registry.example"),
        (&[("Host", "registry.example:5000")], "http://registry.example:5000"),
    ] {
        let challenge = realm(&client, headers);
        assert_eq!(challenge.realm, format!("{origin}/token"));
        assert_eq!(challenge.service, origin.split_once("://").unwrap().1);
        for location in locations(&client, headers) {
            assert!(fits(&location, origin), "{location} for {origin}");
        }
    }
}

/// protocol.md N1: nobody else is believed.
#[test]
fn n1_forwarded_by_anybody() {
    let server = Server::start(Setup::directory(BINARY).set("ROADSTEAD_TRUSTED_PROXIES", "10.0.0.0/8"));
    let headers = [("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "evil.example")];
    let origin = format!("http://{}", server.address());
    assert_eq!(realm(&server.client(), &headers).realm, format!("{origin}/token"));
    for location in locations(&server.client(), &headers) {
        assert!(fits(&location, &origin), "{location}");
    }
}

/// protocol.md N1: a configured address goes before everything.
#[test]
fn n1_external_address() {
    let server = Server::start(Setup::directory(BINARY).set("ROADSTEAD_EXTERNAL_URL", "https://registry.example"));
    let challenge = realm(&server.client(), &[]);
    assert_eq!(challenge.realm, "https://registry.example/token");
    for location in locations(&server.client(), &[]) {
        assert!(fits(&location, "https://registry.example"), "{location}");
    }
}

fn authorized(t: &Scene, method: &str, target: &str) -> Request {
    // A raw connection has no login of its own.
    let (id, secret) = match &t.client.login {
        roadstead_testkit::Login::Basic(id, secret) | roadstead_testkit::Login::Token(id, secret) => (id, secret),
        _ => unreachable!("scenes log in with a key"),
    };
    Request::new(method, target).header("Authorization", &basic(id, secret))
}

/// protocol.md N2: one connection for a whole push, refusals in between.
fn n2_keep_alive(t: &Scene) {
    let mut connection = Connection::open(t.client.address).unwrap();
    let mut send = |request: Request| -> Response { connection.send(&request).unwrap() };
    let bytes = random_bytes(1000);
    let digest = digest(&bytes);
    send(authorized(t, "HEAD", &t.at(&format!("blobs/{digest}")))).expect(404);
    send(Request::new("GET", "/v2/")).expect(401);
    let begun = send(authorized(t, "POST", &t.at("blobs/uploads/")));
    let put = with_parameter(&begun.expect(202).location_path(), "digest", &digest);
    send(authorized(t, "GET", &t.at("manifests/none"))).expect(404);
    send(authorized(t, "PUT", &put).body(Body::Length(bytes.clone()))).expect(201);
    send(authorized(t, "HEAD", &t.at(&format!("blobs/{digest}")))).expect(200).expect_length(1000);
    send(authorized(t, "GET", &t.at(&format!("blobs/{digest}")))).expect(200).expect_body(&bytes);
}

/// protocol.md N2: after a 4xx the rest of the body is read away or the connection ends; it is never taken for the
/// next request.
fn n2_keep_alive_after_a_refused_body(t: &Scene) {
    // If this were read as a request, its answer would come before ours.
    let smuggled = b"GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\n".repeat(40_000);
    for body in [Body::Length(smuggled.clone()), Body::Chunked(smuggled.chunks(60_000).map(<[u8]>::to_vec).collect())] {
        for target in [t.at("manifests/-bad-"), t.at("blobs/uploads/none?digest=x"), "/v2/nothing".to_owned()] {
            let mut connection = Connection::open(t.client.address).unwrap();
            let put = Request::new("PUT", &target).header("Content-Type", types::MANIFEST).body(body.clone());
            let Ok(answer) = connection.send(&put) else { continue };
            assert!((400..500).contains(&answer.status), "{answer:?}");
            let next = authorized(t, "GET", &t.at("manifests/none"));
            if let Ok(answer) = connection.send(&next) {
                answer.expect_error(404, "NAME_UNKNOWN");
            } else {
                assert!(connection.is_closed());
            }
        }
    }
}

/// Two requests in one packet are answered in order.
fn n2_pipelined_requests(t: &Scene) {
    let mut connection = Connection::open(t.client.address).unwrap();
    let one = "GET /v2/ HTTP/1.1\r\nHost: x\r\n\r\nGET /v2/conf/a/tags/list HTTP/1.1\r\nHost: x\r\n\r\n";
    connection.write_raw(one.as_bytes()).unwrap();
    let get = Request::new("GET", "/v2/");
    let first = Challenge::of(&connection.read_answer(&get).unwrap());
    let second = Challenge::of(&connection.read_answer(&get).unwrap());
    assert_eq!((first.scope, second.scope.as_deref()), (None, Some("repository:conf/a:pull")));
}

/// protocol.md N3: the body waits for 100.
fn n3_expect_continue(t: &Scene) {
    for method in ["PATCH", "PUT"] {
        let bytes = random_bytes(1000);
        let digest = digest(&bytes);
        let target = with_parameter(&t.client.begin(&t.repo), "digest", &digest);
        let mut connection = Connection::open(t.client.address).unwrap();
        let request = authorized(t, method, &target).header("Expect", "100-continue").body(Body::Length(bytes.clone()));
        connection.write_head(&request).unwrap();
        // Only the server's 100 makes this client send; without it the read below would wait in vain.
        let first = connection.read_line().unwrap();
        assert!(first.starts_with("HTTP/1.1 100"), "{first}");
        assert_eq!(connection.read_line().unwrap(), "");
        connection.write_body(&request.body).unwrap();
        let answer = connection.read_answer(&request).unwrap();
        answer.expect(if method == "PUT" { 201 } else { 202 });
    }
}

/// protocol.md N3: a refusal comes instead of 100, before any byte is sent.
fn n3_expect_continue_refused(t: &Scene) {
    let mut connection = Connection::open(t.client.address).unwrap();
    let request = Request::new("PUT", &t.at("manifests/v1")).header("Expect", "100-continue");
    let request = request.header("Content-Type", types::MANIFEST).body(Body::Length(random_bytes(1000)));
    connection.write_head(&request).unwrap();
    let answer = connection.read_answer(&request).unwrap();
    assert_eq!(answer.interim, Vec::<u16>::new());
    Challenge::of(&answer);
}

fn over_h2(t: &Scene, request: &Request) -> Response {
    h2::exchange(t.client.address, request).unwrap()
}

/// protocol.md N4 and 4 #11: the same push and pull over HTTP/2, lengths on HEAD included.
fn n4_http2(t: &Scene) {
    let image = content::image(1);
    for blob in &image.blobs {
        let begun = over_h2(t, &authorized(t, "POST", &t.at("blobs/uploads/")));
        let location = begun.expect(202).expect_header("Range", "0-0").location_path();
        let patch = authorized(t, "PATCH", &location).body(Body::streamed(blob));
        let patched = over_h2(t, &patch);
        patched.expect(202).expect_header("Range", &format!("0-{}", blob.len() - 1));
        let put = with_parameter(&patched.location_path(), "digest", &digest(blob));
        over_h2(t, &authorized(t, "PUT", &put)).expect(201).expect_header("Docker-Content-Digest", &digest(blob));
        let target = t.at(&format!("blobs/{}", digest(blob)));
        over_h2(t, &authorized(t, "HEAD", &target)).expect(200).expect_length(blob.len()).expect_body(b"");
        over_h2(t, &authorized(t, "GET", &target)).expect(200).expect_length(blob.len()).expect_body(blob);
        let ranged = over_h2(t, &authorized(t, "GET", &target).header("Range", "bytes=1-3"));
        ranged.expect(206).expect_body(&blob[1..4]);
    }
    let put = authorized(t, "PUT", &t.at("manifests/v1")).header("Content-Type", types::MANIFEST);
    let pieces = image.manifest.bytes.chunks(10).map(<[u8]>::to_vec).collect();
    over_h2(t, &put.body(Body::Chunked(pieces))).expect(201);
    let head = over_h2(t, &authorized(t, "HEAD", &t.at("manifests/v1")));
    head.expect(200).expect_length(image.manifest.bytes.len()).expect_header("Content-Type", types::MANIFEST);
    over_h2(t, &authorized(t, "GET", &t.at("manifests/v1"))).expect(200).expect_body(&image.manifest.bytes);
    over_h2(t, &authorized(t, "GET", &t.at("manifests/none"))).expect_error(404, "MANIFEST_UNKNOWN");
    Challenge::of(&over_h2(t, &Request::new("GET", "/v2/")));
}

/// protocol.md N4: many pulls on one connection at once.
fn n4_http2_many_streams(t: &Scene) {
    let bytes = random_bytes(300_000);
    let digest = t.client.push_blob(&t.repo, &bytes);
    let requests: Vec<Request> = (0..50).map(|_| authorized(t, "GET", &t.at(&format!("blobs/{digest}")))).collect();
    thread::scope(|scope| {
        scope.spawn(|| {
            for answer in h2::exchange_all(t.client.address, &requests).unwrap() {
                answer.expect(200).expect_body(&bytes);
            }
        });
    });
}

/// protocol.md N5: HEAD never has a body (the client fails when bytes follow), and says the length GET has.
fn n5_head_has_no_body(t: &Scene) {
    let image = content::image(1);
    let digest = t.client.push_image(&t.repo, "v1", &image);
    for target in [
        "manifests/v1".to_owned(),
        format!("manifests/{digest}"),
        format!("blobs/{}", roadstead_testkit::digest(&image.blobs[1])),
    ] {
        let get = t.client.get(&t.at(&target));
        let head = t.client.head(&t.at(&target));
        head.expect(200).expect_header("Content-Length", get.expect(200).header("Content-Length"));
        assert_eq!(head.header("Content-Type"), get.header("Content-Type"));
    }
}
