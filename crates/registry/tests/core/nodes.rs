//! Two nodes and one upload: one that was thought dead spoils nothing that its successor relies on (PostgreSQL and S3).

use bytes::Bytes;
use roadstead_model::Digest;
use roadstead_registry::Error;
use tokio::{sync::mpsc::UnboundedSender, task::JoinHandle};

use crate::{
    content::{Sent, body, digest, read_blob, slow_body},
    scene::{SECOND, Scene, gate, place, until},
    uploads::{begin, large},
};

const APP: &str = "main/app";

/// A node has taken `bytes` of a request that finishes the upload, and waits for the end of the body.
async fn first_node(
    scene: &Scene,
    id: &str,
    wanted: Digest,
    bytes: Bytes,
) -> (UnboundedSender<Sent>, JoinHandle<Result<(), Error>>) {
    let (sender, asked, slow) = slow_body();
    let gate = gate(&scene.core, &place(APP)).await;
    let finishing = tokio::spawn({
        let (core, id) = (scene.core.clone(), id.to_owned());
        async move { core.finish_upload(&gate, &place(APP), &id, &wanted, None, slow).await }
    });
    sender.send(Ok(bytes)).unwrap();
    until("the chunk was taken", async || asked.count() >= 2).await;
    (sender, finishing)
}

/// The first node takes `ours` and stalls until its lease is over; the second one finishes the upload with `theirs`; then the
/// first one goes on to finish with the digest `wanted`.
async fn takeover(ours: Bytes, theirs: Bytes, wanted: Digest) {
    let Some(scene) = Scene::scale_out().await else { return };
    let upload = begin(&scene).await;
    let (sender, finishing) = first_node(&scene, &upload.id, wanted, ours).await;
    let second = scene.node(120 * SECOND).await;
    let gate = gate(&second, &place(APP)).await;
    let stored = second.upload_status(&gate, &place(APP), &upload.id).await.unwrap().stored;
    let rest = theirs.slice(usize::try_from(stored).unwrap()..);
    second.finish_upload(&gate, &place(APP), &upload.id, &digest(&theirs), None, body(rest)).await.unwrap();
    drop(sender);
    finishing.await.unwrap().expect_err("its lease was lost");
    assert!(read_blob(&second, &place(APP), &digest(&theirs)).await.unwrap() == theirs, "the second one's bytes");
    assert!(read_blob(&second, &place(APP), &wanted).await.is_none());
    scene.maintain(0).await;
    assert!(read_blob(&second, &place(APP), &digest(&theirs)).await.unwrap() == theirs, "also later");
    assert_eq!(scene.objects().await.len(), 1, "nothing of the first one is left");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lease_does_not_spoil_a_small_blob() {
    let (ours, theirs) = (Bytes::from_static(b"first"), Bytes::from_static(b"other"));
    takeover(ours.clone(), theirs, digest(&ours)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lease_and_a_wrong_digest_do_not_remove_the_blob() {
    takeover(Bytes::from_static(b"first"), Bytes::from_static(b"other"), digest(b"neither")).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_lease_does_not_spoil_a_blob_of_parts() {
    let ours = large(1);
    let mut theirs = ours.to_vec();
    *theirs.last_mut().unwrap() ^= 1;
    takeover(ours.clone(), theirs.into(), digest(&ours)).await;
}

/// Its parts were completed by the first node: the second one must not take that object for its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_does_not_take_the_object_of_another_for_its_own() {
    let Some(scene) = Scene::scale_out().await else { return };
    let upload = begin(&scene).await;
    let ours = large(1);
    let mut theirs = ours.to_vec();
    *theirs.last_mut().unwrap() ^= 1;
    let (sender, finishing) = first_node(&scene, &upload.id, digest(&ours), ours).await;
    let second = scene.node(120 * SECOND).await;
    let gate = gate(&second, &place(APP)).await;
    let stored = usize::try_from(second.upload_status(&gate, &place(APP), &upload.id).await.unwrap().stored).unwrap();
    let (their_sender, asked, slow) = slow_body();
    let their_digest = digest(&theirs);
    let successor = tokio::spawn({
        let (core, gate, id) = (second.clone(), gate.clone(), upload.id.clone());
        async move { core.finish_upload(&gate, &place(APP), &id, &their_digest, None, slow).await }
    });
    their_sender.send(Ok(Bytes::copy_from_slice(&theirs[stored..]))).unwrap();
    until("the chunk was taken", async || asked.count() >= 2).await;
    drop(sender);
    finishing.await.unwrap().expect_err("its lease was lost");
    drop(their_sender);
    let finished = successor.await.unwrap();
    let seen = read_blob(&second, &place(APP), &their_digest).await;
    match finished {
        Ok(()) => assert!(seen.unwrap() == theirs),
        Err(_) => assert!(seen.is_none()),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_waits_for_a_living_first_one() {
    let Some(scene) = Scene::scale_out().await else { return };
    let upload = begin(&scene).await;
    let layer = digest(b"layer");
    let (sender, finishing) = first_node(&scene, &upload.id, layer, Bytes::from_static(b"layer")).await;
    let second = scene.node(0).await;
    let repeated = tokio::spawn({
        let gate = gate(&second, &place(APP)).await;
        let (second, id) = (second.clone(), upload.id.clone());
        async move { second.finish_upload(&gate, &place(APP), &id, &layer, None, body("layer")).await }
    });
    let tried = async || scene.count("SELECT epoch FROM upload").await;
    assert_eq!(tried().await, 1, "it has no claim");
    drop(sender);
    finishing.await.unwrap().unwrap();
    repeated.await.unwrap().expect("the same answer");
    assert_eq!(read_blob(&second, &place(APP), &layer).await.unwrap(), b"layer");
    scene.maintain(0).await;
    assert_eq!(scene.objects().await.len(), 1);
}

/// A node that has stored the end of a request and then died or slept, before it could say so in the database, leaves an object
/// that no row names. Its successor knows under which key.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_object_of_a_node_that_was_left_behind_is_removed() {
    let Some(scene) = Scene::scale_out().await else { return };
    let upload = begin(&scene).await;
    let (sender, asked, slow) = slow_body();
    let ours = gate(&scene.core, &place(APP)).await;
    let appending = tokio::spawn({
        let (core, id) = (scene.core.clone(), upload.id.clone());
        async move { core.append(&ours, &place(APP), &id, None, slow).await }
    });
    sender.send(Ok(Bytes::from_static(b"first"))).unwrap();
    until("the chunk was taken", async || asked.count() >= 2).await;
    let second = scene.node(120 * SECOND).await;
    let theirs = gate(&second, &place(APP)).await;
    second.finish_upload(&theirs, &place(APP), &upload.id, &digest(b"other"), None, body("other")).await.unwrap();
    drop(sender);
    appending.await.unwrap().expect_err("its lease was lost");
    scene.maintain(2 * 3600 * SECOND).await;
    assert_eq!(scene.objects().await.len(), 1, "that of the blob");
    assert_eq!(read_blob(&second, &place(APP), &digest(b"other")).await.unwrap(), b"other");
}

/// A node sleeps in the last request of an upload; another one cancels the upload; then the first one wakes up, and stores the object.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cancelled_upload_leaves_nothing_also_when_a_node_wakes_up_late() {
    let Some(scene) = Scene::scale_out().await else { return };
    let upload = begin(&scene).await;
    let (sender, finishing) = first_node(&scene, &upload.id, digest(b"first"), Bytes::from_static(b"first")).await;
    let second = scene.node(120 * SECOND).await;
    let theirs = gate(&second, &place(APP)).await;
    second.cancel_upload(&theirs, &place(APP), &upload.id).await.unwrap();
    drop(sender);
    finishing.await.unwrap().expect_err("its lease was lost");
    assert!(read_blob(&second, &place(APP), &digest(b"first")).await.is_none());
    scene.maintain(2 * 3600 * SECOND).await;
    assert_eq!(scene.objects().await.len(), 0);
}
