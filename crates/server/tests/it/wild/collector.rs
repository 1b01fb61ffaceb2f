//! protocol.md 4: bugs between pushes and the collector: what a client was told exists has to stay usable.

use std::{
    sync::atomic::{AtomicBool, AtomicUsize, Ordering},
    thread,
};

use roadstead_testkit::{
    Client, Server,
    content::{self, random_bytes, types},
    digest, eventually,
};
use serde_json::json;

use crate::scene::{Storage, on_both_engines};

on_both_engines!(bug15_pushes_beside_the_collector);

/// protocol.md 4 #15, #48 (quay #6318, nora #584): the same layers pushed, deleted and pushed again until the collector
/// has been at work for a while; whatever a push got 201 for can be pulled, and a layer that HEAD has just shown can be
/// used.
fn bug15_pushes_beside_the_collector(storage: &Storage) {
    let setup = storage.setup().set("ROADSTEAD_TRASH_DAYS", "0").set("ROADSTEAD_GC_GRACE_SECONDS", "6");
    let server = Server::start(setup.set("ROADSTEAD_GC_RECOVERY_DAYS", "0"));
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
