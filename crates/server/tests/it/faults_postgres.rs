//! A database that is gone, silent, slow, read-only, in use to its limits, or restarted under load.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use roadstead_testkit::{
    Client, Cluster, Postgres, Proxy, Response, Server, Setup, Way,
    content::{Image, image, random_bytes},
    digest, engines,
    http::with_parameter,
    until,
};

use crate::{
    faults::{MIB, Watched, expect_trouble, go_on, push_and_pull, recovers, stored},
    scene::{BINARY, with_cluster},
};

const REPO: &str = "conf/app";

/// Seconds after which a node gives PostgreSQL up where a test waits for that.
const SOON: &str = "6";
/// Where every request must be answered in the end, however busy the machine is: the default.
const PATIENTLY: &str = "30";

fn node(cluster: &Arc<Cluster>, url: &str, seconds: &str) -> Setup {
    Setup::node(BINARY, cluster)
        .set("ROADSTEAD_BUCKET_REDIRECT", "false")
        .set("ROADSTEAD_DATABASE_URL", url)
        .set("ROADSTEAD_DATABASE_ANSWER_SECONDS", seconds)
        .set("ROADSTEAD_LIMITS_MEMORY_MIB", "64")
        .set("ROADSTEAD_BUCKET_PART_MIB", "5")
        .set("ROADSTEAD_GC_INTERVAL_SECONDS", "1")
}

/// A test on a node whose way to PostgreSQL can be bad.
fn with_way(seconds: &str, test: impl FnOnce(&Proxy, &Server, &Client, &Cluster)) {
    with_cluster(|cluster| {
        let proxy = Proxy::new(cluster.database.server());
        let server = Server::start(node(cluster, &cluster.database.url_through(proxy.address()), seconds));
        test(&proxy, &server, &server.client(), cluster);
    });
}

/// One of each kind of request.
fn each(client: &Client, named: &str, blob: &str) -> Vec<Response> {
    vec![
        client.get(&format!("/v2/{REPO}/manifests/{named}")),
        client.get(&format!("/v2/{REPO}/blobs/{blob}")),
        client.get(&format!("/v2/{REPO}/tags/list")),
        client.post(&format!("/v2/{REPO}/blobs/uploads/")),
        client.delete(&format!("/v2/{REPO}/manifests/none")),
        client.put_manifest(REPO, "index", &roadstead_testkit::content::index(&[])),
    ]
}

/// The server is away, or hangs: 503 in time to everybody, however many they are; an upload under way is not lost; what
/// was acknowledged is there when it is back, and everything goes on by itself.
#[test]
fn gone_and_back() {
    with_way(SOON, |proxy, server, client, _| {
        let image = image(2);
        let named = client.push_image(REPO, "kept", &image);
        let blob = push_and_pull(client, REPO, 300_000);
        let watched = Watched::new(server);
        for way in [Way::Refused, Way::Silent, Way::ResetAfterReceived(50)] {
            let bytes = random_bytes(12 * MIB);
            let part = client.patch(&client.begin(REPO), Some(0), &bytes[..6 * MIB]).expect(202).location_path();
            proxy.set(way.clone());
            proxy.cut();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| each(client, &named, &blob).iter().for_each(expect_trouble));
                }
                scope.spawn(|| expect_trouble(&client.patch(&part, Some(6 * MIB), &bytes[6 * MIB..])));
                scope.spawn(|| {
                    let said = client.anonymous().get("/readyz");
                    assert!(said.expect(503).text().contains("database"), "{said:?}");
                });
            });
            watched.check();
            proxy.set(Way::Open);
            recovers(server, REPO);
            assert!(stored(client, &part).0 >= 6 * MIB, "{way:?}");
            go_on(client, REPO, &part, &bytes);
            client.get(&format!("/v2/{REPO}/manifests/kept")).expect(200).expect_body(&image.manifest.bytes);
            watched.check();
        }
    });
}

/// Connections that a firewall has dropped without a word: whoever gets one is answered by way of a new one.
#[test]
fn connections_that_were_forgotten() {
    with_way(PATIENTLY, |proxy, server, client, _| {
        let named = client.push_image(REPO, "kept", &image(1));
        let blob = push_and_pull(client, REPO, 300_000);
        for _ in 0..2 {
            // All connections of the pool are in use at once, so that all are open.
            thread::scope(|scope| {
                for _ in 0..16 {
                    scope.spawn(|| push_and_pull(client, REPO, 1000));
                }
            });
            proxy.forget();
            thread::scope(|scope| {
                for _ in 0..8 {
                    scope.spawn(|| {
                        let statuses: Vec<u16> = each(client, &named, &blob).iter().map(|it| it.status).collect();
                        assert_eq!(statuses, [200, 200, 200, 202, 404, 201]);
                    });
                }
            });
        }
        Watched::new(server).check();
    });
}

/// A slow line to the database makes everything slow, and nothing wrong.
#[test]
fn slow_but_there() {
    with_way(PATIENTLY, |proxy, server, client, _| {
        client.push_image(REPO, "before", &image(1));
        proxy.set(Way::Slow(4096, Duration::from_millis(3)));
        thread::scope(|scope| {
            for n in 0..3 {
                scope.spawn(move || {
                    let image = image(1);
                    client.push_image(REPO, &format!("t{n}"), &image);
                    let answer = client.get(&format!("/v2/{REPO}/manifests/t{n}"));
                    answer.expect(200).expect_body(&image.manifest.bytes);
                });
            }
        });
        proxy.set(Way::Open);
        recovers(server, REPO);
    });
}

/// After a failover the old server takes no writes: 503, no fault of ours, until it does again.
#[test]
fn read_only() {
    with_way(SOON, |_, server, client, cluster| {
        let image = image(2);
        let named = client.push_image(REPO, "kept", &image);
        let blob = push_and_pull(client, REPO, 300_000);
        let watched = Watched::new(server);
        for _ in 0..2 {
            let bytes = random_bytes(3 * MIB);
            let part = client.patch(&client.begin(REPO), Some(0), &bytes[..MIB]).expect(202).location_path();
            cluster.database.set_read_only(true);
            for answer in &each(client, &named, &blob)[3..] {
                expect_trouble(answer);
            }
            expect_trouble(&client.patch(&part, Some(MIB), &bytes[MIB..]));
            for answer in &each(client, &named, &blob)[..3] {
                answer.expect_one_of(&[200, 503]);
            }
            watched.check();
            cluster.database.set_read_only(false);
            recovers(server, REPO);
            go_on(client, REPO, &part, &bytes);
            client.get(&format!("/v2/{REPO}/manifests/kept")).expect(200).expect_body(&image.manifest.bytes);
        }
        watched.check();
    });
}

/// The server did what it was asked, and the answer never came. The client hears 503, asks again, and it was done once.
#[test]
fn committed_but_never_heard() {
    with_way(SOON, |proxy, server, client, _| {
        let bytes = random_bytes(100_000);
        let digest = digest(&bytes);
        let image = image(1);
        for blob in &image.blobs {
            client.push_blob(REPO, blob);
        }
        let location = client.patch(&client.begin(REPO), Some(0), &bytes).expect(202).location_path();
        let put = with_parameter(&location, "digest", &digest);

        let lost = proxy.lost();
        proxy.set(Way::LosesAnswerTo(b"COMMIT\0"));
        expect_trouble(&client.put(&put, b""));
        expect_trouble(&client.put_manifest(REPO, "v1", &image.manifest));
        assert!(proxy.lost() > lost, "no answer was lost");
        proxy.set(Way::Open);
        recovers(server, REPO);
        client.put(&put, b"").expect(201);
        assert!(client.pull_blob(REPO, &digest) == bytes);
        client.put_manifest(REPO, "v1", &image.manifest).expect(201);
        client.get(&format!("/v2/{REPO}/manifests/v1")).expect(200).expect_body(&image.manifest.bytes);
        let tags = client.get(&format!("/v2/{REPO}/tags/list")).expect(200).json();
        assert_eq!(tags["tags"], serde_json::json!(["v1"]));

        // The answer to saving a part of an upload is lost: its status says what is stored, and it goes on.
        let bytes = random_bytes(3 * MIB);
        let begun = client.begin(REPO);
        proxy.set(Way::LosesAnswerTo(b"COMMIT\0"));
        expect_trouble(&client.patch(&begun, Some(0), &bytes[..MIB]));
        proxy.set(Way::Open);
        recovers(server, REPO);
        // A claim whose answer was lost ends with its lease.
        until("the upload goes on", || {
            let (stored, location) = stored(client, &begun);
            let answer = client.patch(&location, Some(stored), &bytes[stored..]);
            (answer.expect_one_of(&[202, 429, 503]).status == 202).then_some(())
        });
        go_on_to_the_end(client, &begun, &bytes);
        Watched::new(server).check();
    });
}

fn go_on_to_the_end(client: &Client, location: &str, bytes: &[u8]) {
    let digest = digest(bytes);
    client.put(&with_parameter(location, "digest", &digest), b"").expect(201);
    assert!(client.pull_blob(REPO, &digest) == bytes);
}

/// All connections wait for a lock that somebody holds: pushes are told 503 in time, pulls do not notice.
#[test]
fn all_connections_in_use() {
    with_way(SOON, |_, server, client, cluster| {
        let named = client.push_image(REPO, "kept", &image(1));
        let blob = push_and_pull(client, REPO, 300_000);
        let watched = Watched::new(server);
        let held = cluster.database.hold("LOCK TABLE upload IN ACCESS EXCLUSIVE MODE");
        thread::scope(|scope| {
            for _ in 0..40 {
                scope.spawn(|| {
                    expect_trouble(
                        &client.put(&format!("{}?digest={}", client.begin(REPO), digest(b"layer")), b"layer"),
                    );
                });
            }
            for _ in 0..50 {
                client.get(&format!("/v2/{REPO}/manifests/{named}")).expect(200);
                client.get(&format!("/v2/{REPO}/blobs/{blob}")).expect(200);
            }
        });
        watched.check();
        drop(held);
        recovers(server, REPO);
        watched.check();
    });
}

/// The server is killed under load, twice, and started again on its files: pushers hear 503 at worst and come again, and
/// all that was acknowledged can be pulled.
#[test]
fn restarted_under_load() {
    let Some(s3) = engines::s3() else { return };
    if engines::postgres().is_none() {
        return;
    }
    // One of its own: the others' tests must not notice. One that is given can't be killed.
    let Some(mut postgres) = Postgres::start(true) else { return };
    let cluster = Cluster::new(&postgres, s3);
    let server = Server::start(node(&cluster, &cluster.database.url(), SOON));
    let client = server.client();
    let watched = Watched::new(&server);
    let (end, pushed) = (AtomicBool::new(false), Mutex::new(Vec::<(String, Image)>::new()));
    let count = || pushed.lock().unwrap().len();
    let more = |than: usize| until("pushes are acknowledged", || (count() > than).then_some(()));
    thread::scope(|scope| {
        for thread in 0..4 {
            let (end, pushed, client) = (&end, &pushed, &client);
            scope.spawn(move || {
                for n in 0.. {
                    if end.load(Ordering::Relaxed) {
                        return;
                    }
                    let (tag, image) = (format!("t{thread}-{n}"), image(1));
                    if try_push(client, &tag, &image) {
                        pushed.lock().unwrap().push((tag, image));
                    }
                }
            });
        }
        more(8);
        for _ in 0..2 {
            postgres.crash_and_restart();
            more(count() + 8);
        }
        end.store(true, Ordering::Relaxed);
    });
    for (tag, image) in pushed.lock().unwrap().iter() {
        let answer = client.get(&format!("/v2/{REPO}/manifests/{tag}"));
        answer.expect(200).expect_body(&image.manifest.bytes);
        for blob in &image.blobs {
            assert!(&client.pull_blob(REPO, &digest(blob)) == blob, "{tag}");
        }
    }
    recovers(&server, REPO);
    watched.check();
}

/// Pushes an image; false when it was told to come again.
fn try_push(client: &Client, tag: &str, image: &Image) -> bool {
    let fine = |answer: &Response, status: u16| {
        if answer.status != status {
            answer.expect_one_of(&[503, 429]);
        }
        answer.status == status
    };
    let blobs = image.blobs.iter().all(|blob| {
        let begun = client.post(&format!("/v2/{REPO}/blobs/uploads/"));
        fine(&begun, 202) && {
            let target = with_parameter(&begun.location_path(), "digest", &digest(blob));
            fine(&client.put(&target, blob), 201)
        }
    });
    blobs && fine(&client.put_manifest(REPO, tag, &image.manifest), 201)
}
