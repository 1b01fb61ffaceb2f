//! A full disk: pushes are refused in words, everything else goes on, and the room that is made is used at once.

use std::path::Path;

use roadstead_testkit::{
    Body, Client, Request, Response, Server, Setup, SmallDisk,
    content::{Manifest, image, random_bytes},
    digest,
    http::with_parameter,
    until,
};
use serde_json::json;

use crate::{
    faults::{MIB, Watched, expect_trouble, go_on, push_and_pull, stored},
    scene::BINARY,
};

const REPO: &str = "conf/app";

/// Everything on the small disk, and what is deleted leaves it at once.
fn all_on(disk: &SmallDisk) -> Setup {
    quick().set("ROADSTEAD_DATA_DIR", disk.path().join("data").to_str().unwrap())
}

/// Only the layers on the small disk.
fn bucket_on(disk: &SmallDisk) -> Setup {
    quick().set("ROADSTEAD_BUCKET_PATH", disk.path().join("bucket").to_str().unwrap())
}

fn quick() -> Setup {
    Setup::directory(BINARY)
        .set("ROADSTEAD_GC_INTERVAL_SECONDS", "1")
        .set("ROADSTEAD_GC_RECOVERY_DAYS", "0")
        .set("ROADSTEAD_TRASH_DAYS", "0")
        .set("ROADSTEAD_LIMITS_MEMORY_MIB", "64")
}

/// All object files below a directory.
fn files(path: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false if entry.path().to_string_lossy().contains("/objects/") => {
                found.push(entry.path().display().to_string());
            }
            false => {}
        }
    }
    found.sort();
    found
}

#[track_caller]
fn expect_full(answer: &Response) {
    expect_trouble(answer);
    assert!(answer.text().contains("no space left"), "{answer:?}");
}

fn try_blob(client: &Client, bytes: &[u8]) -> Response {
    client.put(&with_parameter(&client.begin(REPO), "digest", &digest(bytes)), bytes)
}

/// Pushes blobs until there is no room for more; what was pushed.
fn fill_with_blobs(client: &Client) -> Vec<String> {
    let mut pushed = Vec::new();
    for _ in 0..200 {
        let bytes = random_bytes(MIB);
        let answer = try_blob(client, &bytes);
        if answer.status != 201 {
            expect_full(&answer);
            return pushed;
        }
        pushed.push(digest(&bytes));
    }
    panic!("this disk has no end");
}

/// What goes on while no push has room: pulls, lists, deletes, and pushes of manifests, for which the rest is kept.
fn the_rest_goes_on(server: &Server, named: &str, blob: &str) {
    let client = server.client();
    client.get(&format!("/v2/{REPO}/manifests/{named}")).expect(200);
    client.get(&format!("/v2/{REPO}/blobs/{blob}")).expect(200);
    client.get(&format!("/v2/{REPO}/tags/list")).expect(200);
    client.push_manifest(
        REPO,
        "small",
        &Manifest::new(&json!({
            "schemaVersion": 2, "mediaType": roadstead_testkit::content::types::INDEX, "manifests": []
        })),
    );
    client.delete(&format!("/v2/{REPO}/manifests/small")).expect(202);
    client.anonymous().get("/readyz").expect(200);
}

/// Blobs have filled the disk that the database lies on too: pushes are refused in words, all else goes on, and what is
/// deleted makes room without a restart.
#[test]
fn full_of_blobs_beside_the_database() {
    let Some(disk) = SmallDisk::mount("size=48m") else { return };
    let server = Server::start(all_on(&disk));
    let watched = Watched::new(&server);
    let client = server.client();
    let named = client.push_image(REPO, "kept", &image(2));
    let begun = client.begin(REPO);
    let bytes = random_bytes(3 * MIB);
    let part = client.patch(&begun, Some(0), &bytes[..MIB]).expect(202).location_path();

    // Larger than the disk, however it is sent: refused, and nothing of it is left.
    let before = files(disk.path());
    let large = random_bytes(50 * MIB);
    for body in [Body::Length(large.clone()), Body::streamed(&large)] {
        let location = client.begin(REPO);
        let answer = client.send(Request::new("PATCH", &location).body(body.clone()));
        expect_full(&answer);
        assert_eq!(files(disk.path()), before);
        assert_eq!(stored(&client, &location).0, 0);
        let target = with_parameter(&format!("/v2/{REPO}/blobs/uploads/"), "digest", &digest(&large));
        expect_full(&client.send(Request::new("POST", &target).body(body)));
        assert_eq!(files(disk.path()), before);
    }
    watched.check();

    let blobs = fill_with_blobs(&client);
    assert!(blobs.len() > 20, "only {} MiB found room", blobs.len());
    the_rest_goes_on(&server, &named, &blobs[0]);
    // A part of an upload that found no room: what was acknowledged before is kept, and goes on later.
    expect_full(&client.patch(&part, Some(MIB), &[&bytes[MIB..], &large[..6 * MIB]].concat()));
    assert_eq!(stored(&client, &part).0, MIB);

    for blob in &blobs[..10] {
        client.delete(&format!("/v2/{REPO}/blobs/{blob}")).expect(202);
    }
    until("what was deleted has made room", || (disk.free() > 8 * MIB as u64).then_some(()));
    go_on(&client, REPO, &part, &bytes);
    push_and_pull(&client, REPO, MIB);
    for blob in &blobs[10..] {
        client.head(&format!("/v2/{REPO}/blobs/{blob}")).expect(200);
    }
    watched.check();
}

/// Somebody else has filled the disk to its last byte: SQLite can't write, and it does not break by that.
#[test]
fn full_to_the_last_byte() {
    let Some(disk) = SmallDisk::mount("size=48m") else { return };
    let mut server = Server::start(all_on(&disk));
    let client = server.client();
    let images: Vec<_> = (0..4).map(|_| image(2)).collect();
    for (n, image) in images.iter().enumerate() {
        client.push_image(REPO, &format!("t{n}"), image);
    }
    for _ in 0..3 {
        let watched = Watched::new(&server);
        let (begun, half) = (client.begin(REPO), random_bytes(MIB));
        let part = client.patch(&begun, Some(0), &half[..MIB / 2]).expect(202).location_path();
        disk.fill();
        let before = files(disk.path());
        // Beginning an upload may still find room in the log of the database.
        let post = client.post(&format!("/v2/{REPO}/blobs/uploads/"));
        if post.status == 202 {
            expect_full(&client.put(&with_parameter(&post.location_path(), "digest", &digest(&half)), &half));
        } else {
            expect_full(&post);
        }
        let answer = client.patch(&part, Some(MIB / 2), &half[MIB / 2..]);
        expect_full(&answer);
        let refused = (0..100).any(|n| {
            let answer = client.put_manifest(REPO, &format!("more{n}"), &large_manifest());
            if answer.status != 201 {
                expect_full(&answer);
            }
            answer.status != 201
        });
        assert!(refused, "the database grows on a full disk");
        for image in &images {
            let target = format!("/v2/{REPO}/manifests/{}", image.manifest.digest());
            client.get(&target).expect(200).expect_body(&image.manifest.bytes);
            for blob in &image.blobs {
                assert!(&client.pull_blob(REPO, &digest(blob)) == blob);
            }
        }
        assert_eq!(files(disk.path()), before, "nothing of what was refused is left");
        watched.check();
        disk.make_room();
        // At once, with no restart.
        push_and_pull(&client, REPO, MIB);
        go_on(&client, REPO, &part, &half);
        client.push_image(REPO, "after", &image(1));
        watched.check();
    }
    assert_eq!(server.stop(), 0);
    server.start_again();
    for (n, image) in images.iter().enumerate() {
        let answer = server.client().get(&format!("/v2/{REPO}/manifests/t{n}"));
        answer.expect(200).expect_body(&image.manifest.bytes);
    }
}

/// A manifest of a MiB, which lies in the database.
fn large_manifest() -> Manifest {
    let text: String = random_bytes(MIB / 2).iter().map(|byte| format!("{byte:02x}")).collect();
    Manifest::new(&json!({
        "schemaVersion": 2, "mediaType": roadstead_testkit::content::types::INDEX, "manifests": [],
        "annotations": { "text": text }
    }))
}

/// The database itself has filled the disk, its log too: what was acknowledged is there, now, after more room came, and
/// after a restart.
#[test]
fn full_of_the_database() {
    let Some(disk) = SmallDisk::mount("size=24m") else { return };
    let mut server = Server::start(all_on(&disk));
    let client = server.client();
    let mut kept = Vec::new();
    for n in 0.. {
        assert!(n < 100, "this disk has no end");
        let manifest = large_manifest();
        let answer = client.put_manifest(REPO, &format!("t{n}"), &manifest);
        if answer.status != 201 {
            expect_full(&answer);
            break;
        }
        kept.push(manifest);
    }
    assert!(kept.len() > 3, "only {} MiB found room", kept.len());
    let watched = Watched::new(&server);
    let pulls = |client: &Client| {
        for (n, manifest) in kept.iter().enumerate() {
            client.get(&format!("/v2/{REPO}/manifests/t{n}")).expect(200).expect_body(&manifest.bytes);
        }
    };
    pulls(&client);
    for _ in 0..3 {
        expect_full(&client.put_manifest(REPO, "more", &large_manifest()));
    }
    watched.check();
    disk.grow("size=96m");
    client.push_manifest(REPO, "more", &large_manifest());
    pulls(&client);
    watched.check();
    assert_eq!(server.stop(), 0);
    server.start_again();
    pulls(&server.client());
    server.client().push_manifest(REPO, "again", &large_manifest());
}

/// Only the layers have no room: manifests are pushed, tags moved and things deleted as ever. With nothing kept free, the
/// disk itself says that it is full, in the middle of a write.
#[test]
fn full_bucket_of_its_own() {
    for reserve in ["0", "64"] {
        let Some(disk) = SmallDisk::mount("size=32m") else { return };
        let server = Server::start(bucket_on(&disk).set("ROADSTEAD_BUCKET_RESERVE_MIB", reserve));
        let (client, watched) = (server.client(), Watched::new(&server));
        let named = client.push_image(REPO, "kept", &image(2));
        let blobs = fill_with_blobs(&client);
        let before = files(disk.path());
        expect_full(&try_blob(&client, &random_bytes(4 * MIB)));
        assert_eq!(files(disk.path()), before);
        the_rest_goes_on(&server, &named, &blobs[0]);
        client.delete(&format!("/v2/{REPO}/blobs/{}", blobs[1])).expect(202);
        client.delete(&format!("/v2/{REPO}/blobs/{}", blobs[2])).expect(202);
        until("what was deleted has made room", || {
            let answer = try_blob(&client, &random_bytes(MIB));
            (answer.status == 201).then_some(())
        });
        watched.check();
    }
}

/// There is room for bytes, and none for files.
#[test]
fn full_of_files() {
    let Some(disk) = SmallDisk::mount("size=32m,nr_inodes=400") else { return };
    let server = Server::start(bucket_on(&disk));
    let (client, watched) = (server.client(), Watched::new(&server));
    let named = client.push_image(REPO, "kept", &image(2));
    let blob = push_and_pull(&client, REPO, 1000);
    disk.fill_inodes();
    for _ in 0..3 {
        expect_full(&try_blob(&client, &random_bytes(20_000)));
    }
    // What is small needs no file.
    push_and_pull(&client, REPO, 1000);
    the_rest_goes_on(&server, &named, &blob);
    watched.check();
    disk.make_room();
    push_and_pull(&client, REPO, 20_000);
}
