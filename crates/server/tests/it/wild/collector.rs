//! protocol.md 4: bugs between pushes and the collector: what a client was told exists has to stay usable.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use roadstead_testkit::{
    Client, Server,
    content::{self, random_bytes, types},
    digest, eventually,
    http::with_parameter,
    until,
};
use serde_json::json;

use crate::scene::{Storage, on_both_engines};

on_both_engines!(
    bug12_push_again_after_collection,
    bug15_pushes_beside_the_collector,
    bug48_a_layer_that_was_just_seen,
);

/// A server that lets nothing lie: no trash, and what nothing holds goes after so many seconds.
fn collecting(storage: &Storage, grace: u64) -> Server {
    let setup = storage.setup_of_objects().set("ROADSTEAD_TRASH_DAYS", "0").set("ROADSTEAD_GC_RECOVERY_DAYS", "0");
    Server::start(setup.set("ROADSTEAD_GC_GRACE_SECONDS", &grace.to_string()))
}

/// protocol.md 4 #12 (distribution #3743, #3254, #1848, #3800), J7: push, delete, collect, push again, twice over, without
/// a restart. After the collection nothing says that a layer is there that is not: neither HEAD nor a mount; so the
/// client sends it, and the pull has everything.
fn bug12_push_again_after_collection(storage: &Storage) {
    let server = collecting(storage, 5);
    let client = server.client();
    let image = content::image(3);
    let before = server.objects().len();
    for _ in 0..2 {
        for blob in &image.blobs {
            let digest = digest(blob);
            client.head(&format!("/v2/conf/app/blobs/{digest}")).expect(404);
            let mount = format!("/v2/conf/app/blobs/uploads/?mount={digest}&from=conf/app");
            let put = with_parameter(&client.post(&mount).expect(202).location_path(), "digest", &digest);
            client.put(&put, blob).expect(201);
        }
        client.put_manifest("conf/app", "v1", &image.manifest).expect(201).expect_no("Warning");
        client.get("/v2/conf/app/manifests/v1").expect(200).expect_body(&image.manifest.bytes);
        for blob in &image.blobs {
            assert_eq!(&client.pull_blob("conf/app", &digest(blob)), blob);
        }
        client.delete(&format!("/v2/conf/app/manifests/{}", image.manifest.digest())).expect(202);
        until("the bytes have left the bucket", || (server.objects().len() <= before).then_some(()));
    }
}

/// protocol.md 4 #48 (korifi #2381): the last reference to a layer goes while another client has asked for it and leaves
/// out its upload. Each HEAD 200 makes the layer stay for the grace time: it is here when the manifest comes, although
/// what was let go at the same moment, and nobody asked for, has long been taken.
fn bug48_a_layer_that_was_just_seen(storage: &Storage) {
    // Long enough for a machine that stands still for a moment between two requests.
    let server = collecting(storage, 6);
    let client = server.client();
    let shared = random_bytes(2000);
    let first = content::image_of(std::slice::from_ref(&shared));
    let mut unseen = content::image(20);
    unseen.manifest = unseen.manifest.with("annotations", json!({"gone": "with the first"}));
    let head = || client.head(&format!("/v2/conf/app/blobs/{}", digest(&shared)));
    for image in [&first, &unseen] {
        client.push_image("conf/app", "v1", image);
    }
    let all = server.objects().len();
    for image in [&first, &unseen] {
        client.delete(&format!("/v2/conf/app/manifests/{}", image.manifest.digest())).expect(202);
    }
    until("what nobody asks for has been taken", || {
        head().expect(200);
        (server.objects().len() + 20 <= all).then_some(())
    });
    let second = content::image_of(std::slice::from_ref(&shared));
    client.push_blob("conf/app", &second.blobs[0]);
    head().expect(200);
    client.put_manifest("conf/app", "v2", &second.manifest).expect(201).expect_no("Warning");
    assert!(client.pull_blob("conf/app", &digest(&shared)) == shared);
}

/// protocol.md 4 #15 (quay #6318, nora #584): the same layers pushed, deleted and pushed again until the collector has
/// been at work for a while; whatever a push got 201 for can be pulled, and a layer that HEAD has just shown can be
/// used.
fn bug15_pushes_beside_the_collector(storage: &Storage) {
    let server = collecting(storage, 6);
    let client = server.client();
    // Layers that all pushers share, so that each is held, let go and taken again all the time. The configurations are
    // of one push each: what the collector has to take.
    let shared: Vec<Vec<u8>> = (0..3).map(|_| random_bytes(2000)).collect();
    let enough = AtomicBool::new(false);
    let pushed = AtomicUsize::new(0);
    thread::scope(|scope| {
        for n in 0..3 {
            let (client, shared, enough, pushed) = (&client, &shared, &enough, &pushed);
            scope.spawn(move || {
                while !enough.load(Ordering::SeqCst) {
                    push_use_delete(client, &format!("t{n}"), shared);
                    pushed.fetch_add(1, Ordering::SeqCst);
                }
            });
        }
        let mut most = 0;
        let taken = eventually(|| {
            let now = server.objects().len();
            most = most.max(now);
            (now + 20 < most).then_some(())
        });
        let before = pushed.load(Ordering::SeqCst);
        let gone_on = eventually(|| (pushed.load(Ordering::SeqCst) > before + 20).then_some(()));
        enough.store(true, Ordering::SeqCst);
        assert!(taken.is_some(), "the collector has taken nothing, of {most} objects");
        assert!(gone_on.is_some(), "pushes have not gone on");
    });
}

/// One push that asks before it sends, a pull, and the deletion of what it pushed.
fn push_use_delete(client: &Client, tag: &str, shared: &[Vec<u8>]) {
    let mut image = content::image(0);
    let layers: Vec<_> = shared.iter().map(|layer| content::descriptor(types::LAYER, layer)).collect();
    image.manifest = image.manifest.with("layers", json!(layers));
    image.blobs.extend(shared.iter().cloned());
    for blob in &image.blobs {
        let target = format!("/v2/conf/app/blobs/{}", digest(blob));
        if client.head(&target).expect_one_of(&[200, 404]).status == 404 {
            client.push_blob("conf/app", blob);
        }
    }
    client.put_manifest("conf/app", tag, &image.manifest).expect(201).expect_no("Warning");
    for blob in &image.blobs {
        assert_eq!(&client.pull_blob("conf/app", &digest(blob)), blob);
    }
    client.delete(&format!("/v2/conf/app/manifests/{}", image.manifest.digest())).expect(202);
}
