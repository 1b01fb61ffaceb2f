//! Out of file descriptors: who is there is answered, in words where need be, and everybody else when it is over.

use std::{net::TcpStream, os::unix::fs::PermissionsExt};

use roadstead_testkit::{
    Request, Server, Setup,
    content::{image, random_bytes},
    digest,
    http::with_parameter,
    process::directory,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    until,
    wire::Connection,
};

use crate::{
    faults::{Watched, expect_trouble, push_and_pull, recovers},
    scene::{BINARY, Storage, on_both_engines},
};

on_both_engines!(none_left_while_it_runs);

const REPO: &str = "conf/app";

/// Not one more can be had: what needs one is answered with 503, connections that are open go on, new ones are accepted
/// when there are some again.
fn none_left_while_it_runs(storage: &Storage) {
    let server = storage.start();
    let client = server.client();
    let image = image(2);
    let named = client.push_image(REPO, "kept", &image);
    let blob = client.push_blob(REPO, &random_bytes(300_000));
    let watched = Watched::new(&server);
    let mut open = Connection::open(server.address()).unwrap();
    let ask = |open: &mut Connection, method: &str, target: &str| {
        open.send(&Request::new(method, target).header("Authorization", &basic(KEY_ID, KEY_SECRET))).unwrap()
    };
    ask(&mut open, "GET", "/v2/").expect(200);
    server.limit_open_files(Some(1));
    let mut troubles = 0;
    for _ in 0..20 {
        for (method, target) in [
            ("GET", format!("/v2/{REPO}/manifests/{named}")),
            ("GET", format!("/v2/{REPO}/blobs/{blob}")),
            ("HEAD", format!("/v2/{REPO}/blobs/{blob}")),
        ] {
            let answer = ask(&mut open, method, &target);
            if answer.expect_one_of(&[200, 503]).status == 503 && method != "HEAD" {
                expect_trouble(&answer);
                troubles += 1;
            }
        }
        let begun = ask(&mut open, "POST", &format!("/v2/{REPO}/blobs/uploads/"));
        if begun.expect_one_of(&[202, 503]).status == 202 {
            let bytes = random_bytes(1000);
            let put = Request::new("PUT", &with_parameter(&begun.location_path(), "digest", &digest(&bytes)))
                .header("Authorization", &basic(KEY_ID, KEY_SECRET))
                .body(roadstead_testkit::Body::Length(bytes));
            let answer = open.send(&put).unwrap();
            if answer.expect_one_of(&[201, 503]).status == 503 {
                expect_trouble(&answer);
                troubles += 1;
            }
        }
    }
    if storage.engine == crate::scene::Engine::Directory {
        assert!(troubles > 0, "files were opened without descriptors");
    }
    // The kernel takes this connection; the server can't yet.
    let mut waiting = Connection::open(server.address()).unwrap();
    let get = Request::new("GET", "/v2/").header("Authorization", &basic(KEY_ID, KEY_SECRET));
    waiting.write_head(&get).unwrap();
    let told = server.output().wait_for(0, |line| line.contains("no connection can be accepted").then_some(()));
    told.expect("the log says so");
    server.limit_open_files(None);
    waiting.read_answer(&get).unwrap().expect(200);
    recovers(&server, REPO);
    for blob in &image.blobs {
        assert!(&client.pull_blob(REPO, &digest(blob)) == blob);
    }
    watched.check();
}

/// A server that was given few: clients that do nothing wait outside, and don't keep it from opening its own files.
#[test]
fn few_from_the_start() {
    let script = directory("few").join("roadstead");
    std::fs::write(&script, format!("#!/bin/sh\nulimit -n 96\nexec {BINARY} \"$@\"\n")).unwrap();
    std::fs::set_permissions(&script, std::fs::Permissions::from_mode(0o755)).unwrap();
    let setup = Setup::directory(script)
        .set("ROADSTEAD_LIMITS_KEEP_ALIVE_SECONDS", "1")
        .set("ROADSTEAD_LIMITS_HEADER_SECONDS", "1");
    let server = Server::start(setup);
    let (client, watched) = (server.client(), Watched::new(&server));
    push_and_pull(&client, REPO, 300_000);
    let idle: Vec<_> = (0..100).map(|_| TcpStream::connect(server.address()).unwrap()).collect();
    // It takes its place in the queue behind them all.
    push_and_pull(&client, REPO, 300_000);
    let text = server.output().text();
    assert!(text.contains("the limit of open files is low"), "nobody was told");
    assert!(!text.contains("Too many open files"), "{text}");
    drop(idle);
    until("all descriptors are given back", || (server.open_files() < 60).then_some(()));
    watched.check();
}
