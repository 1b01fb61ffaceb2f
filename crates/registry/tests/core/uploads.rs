//! Uploads: any interruption is only a pause, and what is given up leaves nothing behind.

use std::{pin::pin, time::Duration};

use bytes::Bytes;
use futures::{future::join_all, poll};
use roadstead_db::{
    DbError,
    upload::{self, Purpose},
};
use roadstead_registry::{Body, Error, UploadStatus};

use crate::{
    content::{body, digest, push_blob, read_blob, slow_body},
    scene::{DAY, SECOND, Scene, gate, in_all_ways, maintain, place, until},
};

in_all_ways!(
    a_newer_request_stops_the_older_one_and_goes_on_where_it_was,
    the_newer_request_is_the_one_that_arrived_later,
    a_body_that_breaks_off_is_kept,
    finishing_twice_is_harmless,
    a_finished_upload_is_over_when_its_blob_was_deleted,
    a_wrong_digest_ends_the_upload_and_leaves_nothing,
    a_cancelled_upload_leaves_nothing,
    an_idle_upload_expires_with_all_it_stored,
    an_upload_that_was_begun_is_known_to_all_nodes_for_a_while_and_to_no_other_repository,
    an_upload_that_was_just_written_to_is_not_idle,
    the_look_for_idle_uploads_does_not_wait_for_one_that_is_idle_no_more,
    an_upload_goes_on_after_a_crash,
    the_same_digest_finished_many_times_at_once_is_one_blob,
    an_upload_belongs_to_its_repository,
);

const APP: &str = "main/app";

pub(crate) async fn begin(scene: &Scene) -> UploadStatus {
    let app = place(APP);
    scene.core.begin_upload(&gate(&scene.core, &app).await, &app, None).unwrap()
}

/// More than a part of the test's buckets.
pub(crate) fn large(seed: u8) -> Bytes {
    (0..6u32 << 20).map(|at| (at ^ (at >> 8) ^ (at >> 16)).to_le_bytes()[0] ^ seed).collect()
}

pub(crate) async fn nothing_is_left(scene: &Scene) {
    scene.maintain(0).await;
    assert_eq!(scene.objects().await, Vec::<String>::new());
    let rows = scene.rows().await;
    assert_eq!((unfinished(scene).await, rows["blob"], rows["object_removal"]), (0, 0, 0));
}

async fn unfinished(scene: &Scene) -> i64 {
    scene.count("SELECT COUNT(*) FROM upload WHERE finished IS NULL").await
}

async fn a_newer_request_stops_the_older_one_and_goes_on_where_it_was(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    let (older, asked, older_body) = slow_body();
    let first = tokio::spawn({
        let (core, gate, id) = (scene.core.clone(), gate.clone(), upload.id.clone());
        async move { core.append(&gate, &place(APP), &id, None, older_body).await }
    });
    older.send(Ok(Bytes::from_static(b"hello "))).unwrap();
    until("the first chunk was taken", async || asked.count() >= 2).await;
    // Its length makes it wait for the offset that the older one leaves.
    let status = scene.core.append(&gate, &place(APP), &upload.id, None, Body::empty()).await.unwrap();
    assert_eq!(status.stored, 6);
    assert!(matches!(first.await.unwrap(), Err(Error::UploadBusy)));
    let whole = digest(b"hello world");
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &whole, Some((6, 10)), body("world")).await.unwrap();
    assert_eq!(read_blob(&scene.core, &place(APP), &whole).await.unwrap(), b"hello world");
}

/// Not the one whose task began later: of two tasks that a worker makes, it begins the second first.
async fn the_newer_request_is_the_one_that_arrived_later(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    let core = scene.core.clone();
    let (older, newer) = tokio::spawn(async move {
        let (sender, _, slow) = slow_body();
        let app = place(APP);
        let mut older = pin!(core.append(&gate, &app, &upload.id, None, slow));
        assert!(poll!(&mut older).is_pending());
        let newer = core.append(&gate, &place(APP), &upload.id, None, body("hello")).await;
        drop(sender);
        (older.await, newer)
    })
    .await
    .unwrap();
    assert!(matches!(older, Err(Error::UploadBusy)), "{older:?}");
    assert_eq!(newer.unwrap().stored, 5);
}

async fn a_body_that_breaks_off_is_kept(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    let (sender, _, slow) = slow_body();
    sender.send(Ok(Bytes::from_static(b"hello "))).unwrap();
    sender.send(Err(roadstead_registry::BodyError("the client is gone".to_owned()))).unwrap();
    let broken = scene.core.append(&gate, &place(APP), &upload.id, None, slow).await;
    assert!(matches!(broken, Err(Error::BodyBroken { stored: 6 })), "{broken:?}");
    assert_eq!(scene.core.upload_status(&gate, &place(APP), &upload.id).await.unwrap().stored, 6);
    let elsewhere = scene.core.append(&gate, &place(APP), &upload.id, Some((3, 7)), body("hello")).await;
    assert!(matches!(elsewhere, Err(Error::UploadOffset { stored: 6 })), "{elsewhere:?}");
}

async fn finishing_twice_is_harmless(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    let layer = digest(b"layer");
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &layer, None, body("layer")).await.unwrap();
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &layer, None, body("layer")).await.unwrap();
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &layer, None, Body::empty()).await.unwrap();
    let other = scene.core.finish_upload(&gate, &place(APP), &upload.id, &digest(b"other"), None, body("other")).await;
    assert!(matches!(other, Err(Error::DigestMismatch { actual, .. }) if actual == layer));
    assert!(matches!(
        scene.core.append(&gate, &place(APP), &upload.id, None, body("x")).await,
        Err(Error::UploadUnknown)
    ));
    assert!(matches!(scene.core.cancel_upload(&gate, &place(APP), &upload.id).await, Err(Error::UploadUnknown)));
    assert_eq!(read_blob(&scene.core, &place(APP), &layer).await.unwrap(), b"layer");
    scene.maintain(2 * 3600 * SECOND).await;
    assert_eq!(scene.rows().await["upload"], 0, "remembered for a while only");
    assert_eq!(read_blob(&scene.core, &place(APP), &layer).await.unwrap(), b"layer");
}

async fn a_finished_upload_is_over_when_its_blob_was_deleted(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    let layer = digest(b"layer");
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &layer, None, body("layer")).await.unwrap();
    let now = scene.core.gate(&place(APP), None).await.unwrap();
    scene.core.delete_blob(&now, &layer, &roadstead_db::audit::By::name("tester")).await.unwrap();
    let again = scene.core.finish_upload(&gate, &place(APP), &upload.id, &layer, None, body("layer")).await;
    assert!(matches!(again, Err(Error::UploadUnknown)), "{again:?}: it would be told that it is there");
}

async fn a_wrong_digest_ends_the_upload_and_leaves_nothing(scene: Scene) {
    let gate = {
        begin(&scene).await;
        gate(&scene.core, &place(APP)).await
    };
    for bytes in [Bytes::from_static(b"layer"), large(1)] {
        let upload = begin(&scene).await;
        let wrong = scene
            .core
            .finish_upload(&gate, &place(APP), &upload.id, &digest(b"other"), None, body(bytes.clone()))
            .await;
        assert!(matches!(wrong, Err(Error::DigestMismatch { actual, .. }) if actual == digest(&bytes)));
        assert!(matches!(scene.core.upload_status(&gate, &place(APP), &upload.id).await, Err(Error::UploadUnknown)));
    }
    let wrong = scene.core.upload_whole(&gate, &place(APP), &digest(b"other"), body("layer")).await;
    assert!(matches!(wrong, Err(Error::DigestMismatch { .. })));
    nothing_is_left(&scene).await;
}

async fn a_cancelled_upload_leaves_nothing(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    scene.core.append(&gate, &place(APP), &upload.id, None, body(large(2))).await.unwrap();
    scene.core.append(&gate, &place(APP), &upload.id, None, body("more")).await.unwrap();
    // And one that nothing was sent to.
    let untouched = begin(&scene).await;
    for upload in [upload, untouched] {
        scene.core.cancel_upload(&gate, &place(APP), &upload.id).await.unwrap();
        assert!(matches!(scene.core.upload_status(&gate, &place(APP), &upload.id).await, Err(Error::UploadUnknown)));
        let appended = scene.core.append(&gate, &place(APP), &upload.id, None, body("more")).await;
        assert!(matches!(appended, Err(Error::UploadUnknown)), "{appended:?}");
        let again = scene.core.cancel_upload(&gate, &place(APP), &upload.id).await;
        assert!(matches!(again, Err(Error::UploadUnknown)), "{again:?}");
    }
    nothing_is_left(&scene).await;
    scene.maintain(2 * DAY).await;
    assert_eq!((scene.rows().await["upload"], scene.rows().await["repository"]), (0, 0));
}

async fn an_idle_upload_expires_with_all_it_stored(scene: Scene) {
    let idle = [begin(&scene).await, begin(&scene).await];
    let gate = gate(&scene.core, &place(APP)).await;
    scene.core.append(&gate, &place(APP), &idle[0].id, None, body("layer")).await.unwrap();
    scene.core.append(&gate, &place(APP), &idle[1].id, None, body(large(3))).await.unwrap();
    scene.maintain(DAY - 60 * SECOND).await;
    assert_eq!(unfinished(&scene).await, 2);
    scene.maintain(DAY + 60 * SECOND).await;
    nothing_is_left(&scene).await;
    assert_eq!(scene.rows().await["repository"], 0, "and a repository that nothing was ever pushed to");
}

async fn an_upload_that_was_begun_is_known_to_all_nodes_for_a_while_and_to_no_other_repository(scene: Scene) {
    let upload = begin(&scene).await;
    let (app, other) = (place(APP), place("main/other"));
    assert_eq!((scene.rows().await["upload"], scene.rows().await["repository"]), (0, 0), "nothing is written");
    let node = scene.node(20 * 60 * SECOND).await;
    assert_eq!(node.upload_status(&gate(&node, &app).await, &app, &upload.id).await.unwrap().stored, 0);
    let elsewhere = node.append(&gate(&node, &other).await, &other, &upload.id, None, body("layer")).await;
    assert!(matches!(elsewhere, Err(Error::UploadUnknown)), "{elsewhere:?}");
    let late = scene.node(30 * 60 * SECOND).await;
    let too_late = late.append(&gate(&late, &app).await, &app, &upload.id, None, body("layer")).await;
    assert!(matches!(too_late, Err(Error::UploadUnknown)), "{too_late:?}");
    // What was sent to in time goes on.
    node.append(&gate(&node, &app).await, &app, &upload.id, None, body("lay")).await.unwrap();
    late.append(&gate(&late, &app).await, &app, &upload.id, None, body("er")).await.unwrap();
    late.finish_upload(&gate(&late, &app).await, &app, &upload.id, &digest(b"layer"), None, Body::empty())
        .await
        .unwrap();
    assert_eq!(read_blob(&late, &app, &digest(b"layer")).await.unwrap(), b"layer");
}

/// The look for idle uploads and the end of one are two steps.
async fn an_upload_that_was_just_written_to_is_not_idle(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    scene.core.append(&gate, &place(APP), &upload.id, None, Body::empty()).await.unwrap();
    let later = scene.node(2 * DAY).await;
    let idle = upload::idle(later.db(), DAY, 10).await.unwrap();
    later.append(&gate, &place(APP), &upload.id, None, body("hello ")).await.unwrap();
    let input = (idle[0].id.clone(), idle[0].repository);
    let claimed = later
        .db()
        .write(input, |tx, (id, repository)| {
            Box::pin(upload::claim(tx, id, Some(*repository), Purpose::Expire(DAY), SECOND, true))
        })
        .await
        .map_err(|error: DbError| error)
        .unwrap();
    assert!(claimed.is_none());
    later.finish_upload(&gate, &place(APP), &upload.id, &digest(b"hello world"), None, body("world")).await.unwrap();
}

async fn the_look_for_idle_uploads_does_not_wait_for_one_that_is_idle_no_more(scene: Scene) {
    let (living, left_alone) = (begin(&scene).await, begin(&scene).await);
    let gate = gate(&scene.core, &place(APP)).await;
    scene.core.append(&gate, &place(APP), &living.id, None, body("hello ")).await.unwrap();
    scene.core.append(&gate, &place(APP), &left_alone.id, None, Body::empty()).await.unwrap();
    scene.execute("UPDATE upload SET touched = touched - 172800000000").await;
    let core = scene.core.clone();
    let look = async move { tokio::time::timeout(Duration::from_secs(60), maintain(&core)).await };
    let (written, looked) =
        scene.interleave(living.id[..32].to_owned(), |tx, id| Box::pin(upload::release(tx, id, 1)), look).await;
    written.unwrap();
    looked.expect("the look goes on");
    assert_eq!(unfinished(&scene).await, 1, "the one that was left alone is given up");
    scene
        .core
        .finish_upload(&gate, &place(APP), &living.id, &digest(b"hello world"), None, body("world"))
        .await
        .unwrap();
}

/// Runs a node in a runtime of its own, which is dropped in the middle of a body.
pub(crate) fn crash_in_mid_body(
    core: impl Future<Output = roadstead_registry::Core> + Send + 'static,
    id: String,
    bytes: Bytes,
) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    runtime.block_on(async move {
        let core = core.await;
        let gate = gate(&core, &place(APP)).await;
        let (sender, asked, slow) = slow_body();
        tokio::spawn({
            let core = core.clone();
            async move { core.append(&gate, &place(APP), &id, None, slow).await }
        });
        sender.send(Ok(bytes)).unwrap();
        until("the chunk was taken", async || asked.count() >= 2).await;
        // The body does not end: the node would begin to save what came of it.
        std::mem::forget(sender);
    });
    runtime.shutdown_background();
}

async fn an_upload_goes_on_after_a_crash(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    scene.core.append(&gate, &place(APP), &upload.id, None, body("begin ")).await.unwrap();
    let whole = [b"begin ", &large(4)[..]].concat();
    let scene = std::sync::Arc::new(scene);
    let crashing = std::thread::spawn({
        let (scene, id) = (scene.clone(), upload.id.clone());
        move || crash_in_mid_body(async move { scene.node(0).await }, id, large(4))
    });
    tokio::task::spawn_blocking(move || crashing.join()).await.unwrap().unwrap();
    // The dead node's lease is over.
    let other = scene.node(120 * SECOND).await;
    let stored = usize::try_from(other.upload_status(&gate, &place(APP), &upload.id).await.unwrap().stored).unwrap();
    // A directory has what was acknowledged, an object store the parts that were stored too.
    assert!(if scene.is_embedded() { stored == 6 } else { stored == 5 << 20 }, "{stored}");
    let range = Some((stored as u64, whole.len() as u64 - 1));
    let rest = Bytes::copy_from_slice(&whole[stored..]);
    other.finish_upload(&gate, &place(APP), &upload.id, &digest(&whole), range, body(rest)).await.unwrap();
    assert!(read_blob(&other, &place(APP), &digest(&whole)).await.unwrap() == whole);
    scene.maintain(0).await;
    assert_eq!(scene.objects().await.len(), 1);
}

async fn the_same_digest_finished_many_times_at_once_is_one_blob(scene: Scene) {
    let places: Vec<_> = (0..16).map(|number| place(&format!("main/app{}", number % 4))).collect();
    for pushed in join_all(places.iter().map(|place| push_blob(&scene.core, place, b"layer"))).await {
        pushed.unwrap();
    }
    scene.maintain(0).await;
    assert_eq!(scene.rows().await["blob"], 1);
    let objects = scene.count("SELECT COUNT(*) FROM blob WHERE body IS NULL").await;
    assert_eq!(scene.objects().await.len() as i64, objects);
    assert_eq!(scene.usage("main").await, (0, 0, 5));
    assert_eq!(read_blob(&scene.core, &places[3], &digest(b"layer")).await.unwrap(), b"layer");
}

async fn an_upload_belongs_to_its_repository(scene: Scene) {
    let upload = begin(&scene).await;
    let other = place("main/other");
    push_blob(&scene.core, &other, b"else").await.unwrap();
    let other = gate(&scene.core, &other).await;
    assert!(matches!(
        scene.core.upload_status(&other, &place("main/other"), &upload.id).await,
        Err(Error::UploadUnknown)
    ));
    assert!(matches!(
        scene.core.append(&other, &place("main/other"), &upload.id, None, body("x")).await,
        Err(Error::UploadUnknown)
    ));
    assert!(matches!(
        scene.core.cancel_upload(&other, &place("main/other"), &upload.id).await,
        Err(Error::UploadUnknown)
    ));
    let finish =
        scene.core.finish_upload(&other, &place("main/other"), &upload.id, &digest(b"x"), None, body("x")).await;
    assert!(matches!(finish, Err(Error::UploadUnknown)));
}
