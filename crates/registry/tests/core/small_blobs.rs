//! Small blobs, whose bytes lie in the database: no object is made of them, and all that holds for others holds for them.

use bytes::Bytes;
use roadstead_registry::{Body, Error};

use crate::{
    content::{body, delete, digest, image, push_blob, put_manifest, read_blob, slow_body},
    scene::{DAY, SECOND, SMALL_BYTES, Scene, gate, maintain, place, until, with_small_blobs},
    uploads::{begin, crash_in_mid_body, large, nothing_is_left},
};

with_small_blobs!(
    no_object_is_made_of_them_and_all_their_bytes_are_read,
    what_was_acknowledged_is_kept_when_an_upload_grows_beyond_what_is_small,
    a_small_upload_can_be_finished_after_a_writer_of_more_has_died,
    a_newer_request_stops_a_whole_one_that_hangs,
    one_that_is_sent_whole_to_an_upload_that_goes_on_is_told_where_it_stands,
    they_go_with_their_row,
    what_is_an_object_already_stays_one,
    what_is_in_the_database_already_stays_there,
);

const APP: &str = "main/app";

async fn in_database(scene: &Scene) -> i64 {
    scene.count("SELECT COUNT(*) FROM blob WHERE body IS NOT NULL").await
}

async fn no_object_is_made_of_them_and_all_their_bytes_are_read(scene: Scene) {
    let app = place(APP);
    let small = &large(1)[..SMALL_BYTES];
    for bytes in [&b""[..], b"{}", small] {
        push_blob(&scene.core, &app, bytes).await.unwrap();
        assert_eq!(read_blob(&scene.core, &app, &digest(bytes)).await.unwrap(), bytes);
    }
    assert_eq!((in_database(&scene).await, scene.objects().await.len()), (3, 0));
    let more = &large(1)[..SMALL_BYTES + 1];
    push_blob(&scene.core, &app, more).await.unwrap();
    assert_eq!((in_database(&scene).await, scene.objects().await.len()), (3, 1));
    // Another node has nothing of them in memory.
    let other = scene.node(0).await;
    for bytes in [b"{}", small, more] {
        assert_eq!(read_blob(&other, &app, &digest(bytes)).await.unwrap(), bytes);
    }
    assert_eq!(scene.usage("main").await.2, 2 + small.len() as i64 + more.len() as i64);
}

async fn what_was_acknowledged_is_kept_when_an_upload_grows_beyond_what_is_small(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    let whole = large(2);
    let pieces = [0, 5, SMALL_BYTES, SMALL_BYTES + 1, whole.len()];
    for (number, bounds) in pieces.windows(2).enumerate() {
        let piece = whole.slice(bounds[0]..bounds[1]);
        // Each by another node, so that nothing but what was saved is known.
        let node = scene.node(0).await;
        let status = node.append(&gate, &place(APP), &upload.id, None, body(piece)).await.unwrap();
        assert_eq!(status.stored, bounds[1] as u64);
        assert_eq!(scene.objects().await.is_empty(), number < 2, "after {} bytes", bounds[1]);
    }
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &digest(&whole), None, Body::empty()).await.unwrap();
    assert!(read_blob(&scene.core, &place(APP), &digest(&whole)).await.unwrap() == whole);
    scene.maintain(0).await;
    assert_eq!((in_database(&scene).await, scene.objects().await.len()), (0, 1));
}

async fn a_small_upload_can_be_finished_after_a_writer_of_more_has_died(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    scene.core.append(&gate, &place(APP), &upload.id, None, body("layer")).await.unwrap();
    // Less than a part: nothing of it is saved.
    let more = large(3).slice(..4 << 20);
    let dying = scene.node(0).await;
    let id = upload.id.clone();
    let crash = move || crash_in_mid_body(async move { dying }, id, more);
    tokio::task::spawn_blocking(crash).await.unwrap();
    // The dead node's lease is over.
    let other = scene.node(120 * SECOND).await;
    assert_eq!(other.upload_status(&gate, &place(APP), &upload.id).await.unwrap().stored, 5);
    other.finish_upload(&gate, &place(APP), &upload.id, &digest(b"layer"), None, Body::empty()).await.unwrap();
    assert_eq!(read_blob(&other, &place(APP), &digest(b"layer")).await.unwrap(), b"layer");
    assert_eq!(in_database(&scene).await, 1);
    scene.maintain(2 * 3600 * SECOND).await;
    assert_eq!(scene.objects().await, Vec::<String>::new(), "what the dead one stored is removed");
}

async fn a_newer_request_stops_a_whole_one_that_hangs(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    let (older, asked, slow) = slow_body();
    let hanging = tokio::spawn({
        let (core, gate, id) = (scene.core.clone(), gate.clone(), upload.id.clone());
        let body = Body { length: Some(5), ..slow };
        async move { core.finish_upload(&gate, &place(APP), &id, &digest(b"layer"), None, body).await }
    });
    older.send(Ok(Bytes::from_static(b"lay"))).unwrap();
    until("the chunk was taken", async || asked.count() >= 2).await;
    let newer = scene.core.append(&gate, &place(APP), &upload.id, None, body("hello ")).await.unwrap();
    assert_eq!(newer.stored, 6);
    assert!(matches!(hanging.await.unwrap(), Err(Error::UploadBusy)));
    let whole = digest(b"hello world");
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &whole, Some((6, 10)), body("world")).await.unwrap();
    assert_eq!(read_blob(&scene.core, &place(APP), &whole).await.unwrap(), b"hello world");
}

async fn one_that_is_sent_whole_to_an_upload_that_goes_on_is_told_where_it_stands(scene: Scene) {
    let upload = begin(&scene).await;
    let gate = gate(&scene.core, &place(APP)).await;
    scene.core.append(&gate, &place(APP), &upload.id, None, body("lay")).await.unwrap();
    let whole = scene.core.finish_upload(&gate, &place(APP), &upload.id, &digest(b"layer"), None, body("layer")).await;
    assert!(matches!(whole, Err(Error::UploadOffset { stored: 3 })), "{whole:?}");
    scene.core.finish_upload(&gate, &place(APP), &upload.id, &digest(b"layer"), None, body("er")).await.unwrap();
    assert_eq!(read_blob(&scene.core, &place(APP), &digest(b"layer")).await.unwrap(), b"layer");
}

async fn they_go_with_their_row(scene: Scene) {
    let app = place(APP);
    let manifest = image(&[b"layer"]);
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    put_manifest(&scene.core, &app, &["v1"], &manifest).await.unwrap();
    scene.maintain(2 * DAY).await;
    assert_eq!(read_blob(&scene.core, &app, &digest(b"layer")).await.unwrap(), b"layer", "it is held");
    delete(&scene.core, &app, &digest(&manifest)).await.unwrap();
    let later = scene.node(30 * DAY).await;
    let (_, found) = later.find_blob(&app, &digest(b"layer"), None).await.unwrap();
    maintain(&later).await;
    maintain(&scene.node(60 * DAY).await).await;
    nothing_is_left(&scene).await;
    // A node that had not read it yet, and found it just before.
    let gone = scene.node(0).await.download(&found.unwrap(), 0..5, None).await;
    assert!(matches!(gone, Err(Error::BlobUnknown(unknown)) if unknown == digest(b"layer")));
}

async fn what_is_an_object_already_stays_one(scene: Scene) {
    let (app, other) = (place(APP), place("main/other"));
    let all = scene.with_small_bytes(0).await;
    push_blob(&all, &app, b"layer").await.unwrap();
    push_blob(&scene.core, &other, b"layer").await.unwrap();
    assert_eq!((in_database(&scene).await, scene.objects().await.len()), (0, 1));
    for place in [&app, &other] {
        assert_eq!(read_blob(&scene.core, place, &digest(b"layer")).await.unwrap(), b"layer");
    }
}

async fn what_is_in_the_database_already_stays_there(scene: Scene) {
    let (app, other) = (place(APP), place("main/other"));
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    let all = scene.with_small_bytes(0).await;
    push_blob(&all, &other, b"layer").await.unwrap();
    scene.maintain(0).await;
    assert_eq!((in_database(&scene).await, scene.objects().await.len()), (1, 0), "the object of the second is removed");
    for place in [&app, &other] {
        assert_eq!(read_blob(&all, place, &digest(b"layer")).await.unwrap(), Bytes::from_static(b"layer"));
    }
}
