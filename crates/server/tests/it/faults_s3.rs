//! An object storage that is slow, broken, gone, or answers what nobody hears.

use std::{sync::Arc, thread, time::Duration};

use roadstead_testkit::{
    Client, Cluster, Proxy, Request, S3Fault, S3Proxy, Server, Setup, Way,
    content::{image, random_bytes},
    digest, engines,
    http::with_parameter,
    until,
};

use crate::{
    faults::{MIB, Watched, expect_trouble, go_on, push_and_pull, recovers, stored},
    scene::{BINARY, with_cluster},
};

const REPO: &str = "conf/app";

/// Seconds after which a node gives S3 up where a test waits for that.
const SOON: &str = "4";
/// Where a request must get through in the end, however busy the machine is: the default.
const PATIENTLY: &str = "40";

/// A node that asks S3 at `endpoint`, and gives it up after `seconds`.
fn node(cluster: &Arc<Cluster>, endpoint: &str, seconds: &str) -> Setup {
    Setup::node(BINARY, cluster)
        .set("ROADSTEAD_BUCKET_REDIRECT", "false")
        .set("ROADSTEAD_BUCKET_ENDPOINT", endpoint)
        .set("ROADSTEAD_BUCKET_ANSWER_SECONDS", seconds)
        .set("ROADSTEAD_BUCKET_PROBE_SECONDS", "1")
        .set("ROADSTEAD_BUCKET_PART_MIB", "5")
        .set("ROADSTEAD_BUCKET_SMALL_BYTES", "0")
        .set("ROADSTEAD_LIMITS_MEMORY_MIB", "64")
        .set("ROADSTEAD_GC_INTERVAL_SECONDS", "1")
        .set("ROADSTEAD_GC_RECOVERY_DAYS", "0")
}

/// A test on a node whose S3 requests can be chosen to fail.
fn with_s3_proxy(seconds: &str, test: impl FnOnce(&S3Proxy, &Server, &Client)) {
    with_cluster(|cluster| {
        let proxy = S3Proxy::new(engines::s3().unwrap().address());
        let server = Server::start(node(cluster, &proxy.endpoint(), seconds));
        test(&proxy, &server, &server.client());
    });
}

/// A test on a node whose way to S3 can be bad.
fn with_way(seconds: &str, test: impl FnOnce(&Proxy, &Server, &Client)) {
    with_cluster(|cluster| {
        let proxy = Proxy::new(engines::s3().unwrap().address());
        let server = Server::start(node(cluster, &format!("http://{}", proxy.address()), seconds));
        test(&proxy, &server, &server.client());
    });
}

fn push_once(client: &Client, bytes: &[u8]) -> roadstead_testkit::Response {
    client.put(&with_parameter(&client.begin(REPO), "digest", &digest(bytes)), bytes)
}

/// What needs no layer goes on while the store fails: manifests, tags, lists, and whether a layer is there.
#[track_caller]
fn the_rest_goes_on(client: &Client, named: &str, blob: &str) {
    let manifest = client.get(&format!("/v2/{REPO}/manifests/{named}"));
    manifest.expect(200);
    client.head(&format!("/v2/{REPO}/blobs/{blob}")).expect(200);
    client.get(&format!("/v2/{REPO}/tags/list")).expect(200);
    let put = Request::new("PUT", &format!("/v2/{REPO}/manifests/again"))
        .header("Content-Type", manifest.header("Content-Type"));
    client.send(put.body(roadstead_testkit::Body::Length(manifest.body.clone()))).expect(201);
    client.delete(&format!("/v2/{REPO}/manifests/again")).expect(202);
}

/// Errors of the store, as long as it has them: 503 to whoever needs it, nothing to anybody else.
#[test]
fn errors_of_the_store() {
    with_s3_proxy(SOON, |proxy, server, client| {
        let watched = Watched::new(server);
        let named = client.push_image(REPO, "kept", &image(1));
        let blob = push_and_pull(client, REPO, 300_000);
        for (status, code) in [
            (503, "SlowDown"),
            (500, "InternalError"),
            (403, "AccessDenied"),
            (502, "BadGateway"),
            (404, "NoSuchBucket"),
        ] {
            for method in ["GET", "PUT", "POST", "HEAD", "DELETE"] {
                proxy.fail(method, "/objects/", S3Fault::Answer(status, code), u64::MAX);
            }
            let before = proxy.hits();
            let location = client.begin(REPO);
            let bytes = random_bytes(6 * MIB);
            for length in [1000, 6 * MIB] {
                let answer = push_once(client, &bytes[..length]);
                expect_trouble(&answer);
            }
            expect_trouble(&client.patch(&location, Some(0), &bytes));
            // What is not there of an object that must be is a fault of the store that nobody can wait for.
            let pull = client.get(&format!("/v2/{REPO}/blobs/{blob}"));
            if (status, code) != (404, "NoSuchBucket") || pull.status != 500 {
                expect_trouble(&pull);
            }
            the_rest_goes_on(client, &named, &blob);
            assert!(proxy.hits() > before, "the fault was never met");
            watched.check();
            proxy.clear();
            go_on(client, REPO, &location, &bytes);
            recovers(server, REPO);
            client.get(&format!("/v2/{REPO}/blobs/{blob}")).expect(200);
        }
        watched.check();
    });
}

/// Errors of the store that pass are not even noticed.
#[test]
fn errors_that_pass() {
    with_s3_proxy(PATIENTLY, |proxy, server, client| {
        let watched = Watched::new(server);
        for (method, status, code) in [
            ("PUT", 503, "SlowDown"),
            ("PUT", 500, "InternalError"),
            ("POST", 503, "SlowDown"),
            ("GET", 503, "SlowDown"),
        ] {
            proxy.fail(method, "/objects/", S3Fault::Answer(status, code), 2);
            push_and_pull(client, REPO, 12 * MIB);
            push_and_pull(client, REPO, 100);
            proxy.clear();
        }
        watched.check();
    });
}

/// A part whose connection is reset in the middle, or whose answer is lost, is sent again.
#[test]
fn a_part_is_sent_again() {
    with_s3_proxy(PATIENTLY, |proxy, server, client| {
        let watched = Watched::new(server);
        let bytes = random_bytes(12 * MIB);
        for part in ["partNumber=1&", "partNumber=2&", "partNumber=3&"] {
            proxy.fail("PUT", part, S3Fault::Reset(MIB), 1);
            proxy.fail("PUT", part, S3Fault::LoseAnswer, 1);
        }
        let pushed = push_once(client, &bytes);
        pushed.expect(201);
        assert!(client.pull_blob(REPO, &digest(&bytes)) == bytes);
        assert!(proxy.hits() >= 6, "{} of 6 faults were met", proxy.hits());
        watched.check();
    });
}

/// Where a part fails for good, the upload goes on from what its status says.
#[test]
fn reset_in_the_middle_of_a_part() {
    with_s3_proxy(SOON, |proxy, server, client| {
        let watched = Watched::new(server);
        let bytes = random_bytes(12 * MIB);
        let location = client.begin(REPO);
        proxy.fail("PUT", "partNumber=2&", S3Fault::Reset(2 * MIB), u64::MAX);
        expect_trouble(&client.patch(&location, Some(0), &bytes));
        let (kept, _) = stored(client, &location);
        assert!((5 * MIB..12 * MIB).contains(&kept), "{kept} bytes of it are stored");
        // The same once more, from there.
        expect_trouble(&client.patch(&location, Some(kept), &bytes[kept..]));
        assert!(stored(client, &location).0 >= kept);
        watched.check();
        proxy.clear();
        go_on(client, REPO, &location, &bytes);
        watched.check();
    });
}

/// The store did what it was asked, and the answer never came: the push is acknowledged once, and the bytes are right.
#[test]
fn done_but_never_heard() {
    with_s3_proxy(PATIENTLY, |proxy, server, client| {
        for (method, part, length) in [
            // Completing a multipart upload, a small object, the beginning of an upload, the tail of one.
            ("POST", "uploadId=", 12 * MIB),
            ("PUT", "/objects/", 1000),
            ("POST", "uploads", 12 * MIB),
            ("PUT", "partNumber=", 12 * MIB),
        ] {
            for times in [1, 2] {
                proxy.fail(method, part, S3Fault::LoseAnswer, times);
                let bytes = random_bytes(length);
                let target = with_parameter(&client.begin(REPO), "digest", &digest(&bytes));
                until("the push is acknowledged", || {
                    let answer = client.put(&target, &bytes);
                    if answer.status == 404 {
                        // The upload was lost with what the store no longer knew: it is begun anew.
                        push_once(client, &bytes).expect(201);
                        return Some(());
                    }
                    if answer.status != 201 {
                        expect_trouble(&answer);
                    }
                    (answer.status == 201).then_some(())
                });
                assert!(client.pull_blob(REPO, &digest(&bytes)) == bytes, "{method} {part}");
                proxy.clear();
            }
        }
        // A part at a time, the tail of each PATCH stored and its answer lost.
        let bytes = random_bytes(3 * MIB);
        let mut location = client.begin(REPO);
        for (n, piece) in bytes.chunks(MIB).enumerate() {
            proxy.fail("PUT", "/objects/", S3Fault::LoseAnswer, 1);
            location = client.patch(&location, Some(n * MIB), piece).expect(202).location_path();
        }
        go_on_to_the_end(client, &location, &bytes);
        Watched::new(server).check();
    });
}

fn go_on_to_the_end(client: &Client, location: &str, bytes: &[u8]) {
    let digest = digest(bytes);
    client.put(&with_parameter(location, "digest", &digest), b"").expect(201);
    assert!(client.pull_blob(REPO, &digest) == bytes);
}

/// A download that the store breaks off is whole or seen to be broken, never short.
#[test]
fn an_answer_that_breaks_off() {
    with_s3_proxy(SOON, |proxy, server, client| {
        let watched = Watched::new(server);
        let bytes = random_bytes(6 * MIB);
        let digest = client.push_blob(REPO, &bytes);
        let get = Request::new("GET", &format!("/v2/{REPO}/blobs/{digest}"));
        for cut in [0, 1, MIB, 6 * MIB - 1] {
            for times in [1, u64::MAX] {
                proxy.fail("GET", "/objects/", S3Fault::CutAnswer(cut), times);
                match client.try_send(&get) {
                    Ok(answer) if answer.expect_one_of(&[200, 503]).status == 200 => assert!(answer.body == bytes),
                    Ok(answer) => expect_trouble(&answer),
                    Err(_) => {}
                }
                proxy.clear();
            }
        }
        client.send(get).expect(200).expect_body(&bytes);
        watched.check();
    });
}

/// A store that can't be reached, or says nothing: 503 in time to all who need it, however many they are, in bounded
/// memory; `/readyz` says so; when it is back everything goes on.
#[test]
fn gone_and_back() {
    with_way(SOON, |proxy, server, client| {
        let named = client.push_image(REPO, "kept", &image(1));
        let blob = push_and_pull(client, REPO, 6 * MIB);
        let watched = Watched::new(server);
        for way in [Way::Refused, Way::Silent, Way::ResetAfterReceived(100), Way::ResetAfterSent(300_000)] {
            let bytes = random_bytes(8 * MIB);
            let (location, whole) =
                (client.begin(REPO), with_parameter(&client.begin(REPO), "digest", &digest(&bytes)));
            let part = client.patch(&location, Some(0), &bytes[..MIB]).expect(202).location_path();
            proxy.set(way.clone());
            proxy.cut();
            thread::scope(|scope| {
                for _ in 0..12 {
                    scope.spawn(|| expect_trouble(&push_once(client, &random_bytes(6 * MIB))));
                }
                scope.spawn(|| expect_trouble(&client.patch(&part, Some(MIB), &bytes[MIB..])));
                scope.spawn(|| expect_trouble(&client.put(&whole, &bytes)));
                if matches!(way, Way::Refused | Way::Silent) {
                    scope.spawn(|| expect_trouble(&client.get(&format!("/v2/{REPO}/blobs/{blob}"))));
                    scope.spawn(|| {
                        let ready = || client.anonymous().get("/readyz");
                        let said =
                            until("it says that the bucket is away", || Some(ready()).filter(|it| it.status != 200));
                        assert!(said.expect(503).text().contains("bucket"), "{said:?}");
                    });
                }
                for _ in 0..5 {
                    the_rest_goes_on(client, &named, &blob);
                }
            });
            let (kept, _) = stored(client, &part);
            assert!((MIB..=8 * MIB).contains(&kept), "{way:?}: {kept} bytes");
            watched.check();
            proxy.set(Way::Open);
            recovers(server, REPO);
            go_on(client, REPO, &part, &bytes);
            client.put(&whole, &bytes[stored(client, &whole).0..]).expect(201);
            client.get(&format!("/v2/{REPO}/blobs/{blob}")).expect(200);
            watched.check();
        }
    });
}

/// A slow store makes pushes and pulls slow, and nothing else.
#[test]
fn slow_but_there() {
    with_way(PATIENTLY, |proxy, server, client| {
        let named = client.push_image(REPO, "kept", &image(1));
        let watched = Watched::new(server);
        proxy.set(Way::Slow(64 * 1024, Duration::from_millis(15)));
        thread::scope(|scope| {
            for _ in 0..3 {
                scope.spawn(|| push_and_pull(client, REPO, 6 * MIB));
            }
            for _ in 0..20 {
                client.get(&format!("/v2/{REPO}/manifests/{named}")).expect(200);
            }
        });
        proxy.set(Way::Open);
        recovers(server, REPO);
        watched.check();
    });
}

/// What could not be removed from the bucket is removed later.
#[test]
fn a_removal_that_fails_is_tried_again() {
    with_s3_proxy(SOON, |proxy, server, client| {
        let bytes = random_bytes(1000);
        let before = server.objects().len();
        let digest = client.push_blob(REPO, &bytes);
        assert_eq!(server.objects().len(), before + 1);
        proxy.fail("DELETE", "/objects/", S3Fault::Answer(503, "SlowDown"), u64::MAX);
        client.delete(&format!("/v2/{REPO}/blobs/{digest}")).expect(202);
        until("a removal has failed", || (proxy.hits() > 2).then_some(()));
        assert_eq!(server.objects().len(), before + 1);
        proxy.clear();
        until("the object is gone", || (server.objects().len() == before).then_some(()));
    });
}
