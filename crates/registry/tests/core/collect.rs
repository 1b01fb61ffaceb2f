//! The collector: what is held stays, what was just told to exist stays long enough to be used, what nobody holds goes.

use futures::future::BoxFuture;
use roadstead_blobs::Bucket;
use roadstead_db::{
    DbError, Tx,
    artifact::{self, NewArtifact},
    blob,
    collect::{self, LinkReview},
    params, repository, trash,
};
use roadstead_model::{Digest, Place, manifest::Manifest};
use roadstead_registry::{Core, Error, MountFrom, Options};

use crate::{
    content::{delete, digest, image, push_blob, push_image, put_manifest, read_blob, read_manifest},
    scene::{DAY, SECOND, Scene, gate, maintain, on_both_engines, place},
};

on_both_engines!(
    a_link_that_is_being_collected_refuses_the_manifest_that_names_it,
    a_manifest_that_is_being_pushed_keeps_the_link,
    a_blob_that_is_being_collected_is_made_anew_by_an_upload,
    a_mount_of_a_blob_that_is_being_collected_finds_nothing_half,
    a_link_that_is_being_made_keeps_the_blob,
    a_head_puts_the_review_off,
    a_mount_and_a_repeated_push_put_the_review_off,
    what_a_purge_lets_go_of_stays_for_the_grace,
    a_blob_lives_on_in_another_repository_and_goes_after_its_last,
    a_blob_that_is_pushed_again_has_a_new_key_and_survives_the_removal,
    a_deleted_blob_that_is_pushed_again_is_seen_again,
    a_blob_is_pushed_while_an_artifact_that_names_it_is_taken_apart,
    a_link_is_collected_although_an_artifact_that_names_it_is_taken_apart_just_then,
    a_blob_that_was_deleted_after_it_was_found_is_unknown,
);

/// The review of a blob's link to a place.
async fn review(core: &Core, place: &Place, digest: &Digest) -> LinkReview {
    let gate = gate(core, place).await;
    let sql = "SELECT v.repository, v.blob, v.due FROM link_review v JOIN blob b ON b.id = v.blob
               WHERE v.repository = $1 AND b.digest = $2";
    let found = core
        .db()
        .query_opt(sql, params![gate.facts.repository, digest.to_stored()], |row| {
            Ok(LinkReview { repository: row.get(0)?, blob: row.get(1)?, due: row.get(2)? })
        })
        .await;
    found.unwrap().expect("a review")
}

async fn key_of(core: &Core, digest: &Digest) -> Option<String> {
    let sql = "SELECT object_key FROM blob WHERE digest = $1";
    core.db().query_opt(sql, params![digest.to_stored()], |row| row.get(0)).await.unwrap()
}

async fn is_stored(bucket: &Bucket, key: &str) -> bool {
    bucket.size(key).await.unwrap().is_some()
}

async fn a_link_that_is_being_collected_refuses_the_manifest_that_names_it(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    let review = review(&scene.core, &app, &digest(b"layer")).await;
    let core = scene.core.clone();
    let push = async move { put_manifest(&core, &place("main/app"), &["v1"], &image(&[b"layer"])).await };
    let (collected, pushed) =
        scene.interleave(review, |tx, review| Box::pin(collect::collect_link(tx, review)), push).await;
    collected.unwrap();
    assert!(matches!(pushed, Err(Error::ManifestBlobUnknown(missing)) if missing == [digest(b"layer")]));
    assert_eq!(scene.rows().await["artifact"], 0);
}

async fn a_manifest_that_is_being_pushed_keeps_the_link(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    let row = gate(&scene.core, &app).await.facts.repository.unwrap();
    let later = scene.node(2 * DAY).await;
    let collector = async move { maintain(&later).await };
    let (pushed, ()) = scene
        .interleave(
            row,
            |tx, row| {
                Box::pin(async move {
                    let bytes = image(&[b"layer"]);
                    let held = repository::hold(tx, *row).await?.expect("it lives");
                    let blob = blob::find_all_linked(tx, *row, held.bucket, &[digest(b"layer").to_stored()]).await?[0];
                    let blob = blob.expect("it is here");
                    let new = NewArtifact {
                        repository: *row,
                        registry: held.registry,
                        digest: &digest(&bytes),
                        body: &bytes,
                        manifest: &Manifest::read(&bytes, None).unwrap(),
                        referrer: None,
                        blobs: &[blob],
                        by: "tester",
                        grace: DAY,
                    };
                    artifact::store(tx, &new).await.map(drop)
                })
            },
            collector,
        )
        .await;
    pushed.unwrap();
    assert_eq!(read_blob(&scene.core, &app, &digest(b"layer")).await.unwrap(), b"layer");
    assert!(read_manifest(&scene.core, &app, &digest(&image(&[b"layer"])).to_string()).await.is_some());
}

/// The blob's last link is gone and its row is due; what the collector deletes and when.
async fn unlinked(scene: &Scene) -> (i64, i64) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    let review = review(&scene.core, &app, &digest(b"layer")).await;
    let write = scene.core.db().write(review, |tx, review| Box::pin(collect::collect_link(tx, review))).await;
    write.map_err(|error: DbError| error).unwrap();
    let due = collect::due_blobs(scene.core.db(), 10).await.unwrap();
    assert_eq!(due.len(), 1);
    due[0]
}

async fn a_blob_that_is_being_collected_is_made_anew_by_an_upload(scene: Scene) {
    let due = unlinked(&scene).await;
    let old = key_of(&scene.core, &digest(b"layer")).await.unwrap();
    let core = scene.core.clone();
    let push = async move { push_blob(&core, &place("main/app"), b"layer").await };
    let (collected, pushed) =
        scene.interleave(due, |tx, (row, due)| Box::pin(collect::collect_blob(tx, *row, *due, DAY)), push).await;
    collected.unwrap();
    pushed.unwrap();
    let new = key_of(&scene.core, &digest(b"layer")).await.unwrap();
    assert_ne!(old, new);
    // Its grace begins anew; after the old object's time only the new one is there.
    push_image(&scene.core, &place("main/app"), &["v1"], &[b"layer"]).await;
    scene.maintain(2 * DAY).await;
    assert!(!is_stored(&scene.bucket, &old).await);
    assert_eq!(read_blob(&scene.core, &place("main/app"), &digest(b"layer")).await.unwrap(), b"layer");
}

async fn a_mount_of_a_blob_that_is_being_collected_finds_nothing_half(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    let review = review(&scene.core, &app, &digest(b"layer")).await;
    let core = scene.core.clone();
    let mount = async move {
        let other = place("main/other");
        core.mount(&gate(&core, &other).await, &other, &digest(b"layer"), MountFrom::Registry).await
    };
    let (collected, mounted) = scene
        .interleave(
            review,
            |tx, review| {
                Box::pin(async move {
                    collect::collect_link(tx, review).await?;
                    let sql = "SELECT due FROM blob_review WHERE blob = $1";
                    let due = tx.query_one(sql, params![review.blob], |row| row.get::<i64>(0)).await?;
                    collect::collect_blob(tx, review.blob, due, DAY).await
                })
            },
            mount,
        )
        .await;
    collected.unwrap();
    assert!(!mounted.unwrap());
    let rows = scene.rows().await;
    assert_eq!((rows["blob"], rows["repository_blob"], rows["registry_blob"]), (0, 0, 0));
}

async fn a_link_that_is_being_made_keeps_the_blob(scene: Scene) {
    let (row, _) = unlinked(&scene).await;
    push_blob(&scene.core, &place("main/other"), b"else").await.unwrap();
    let other = gate(&scene.core, &place("main/other")).await.facts;
    let (registry, other) = (other.registry.unwrap().id, other.repository.unwrap());
    let node = scene.node(0).await;
    let collector = async move { maintain(&node).await };
    let (linked, ()) = scene
        .interleave(
            (registry, other, row),
            |tx, (registry, repository, blob)| {
                let found = blob::Found { id: *blob, made: None };
                Box::pin(blob::link(tx, *registry, *repository, found, DAY))
            },
            collector,
        )
        .await;
    linked.unwrap();
    assert_eq!(read_blob(&scene.core, &place("main/other"), &digest(b"layer")).await.unwrap(), b"layer");
    assert_eq!(scene.usage("main").await.2, 9);
}

async fn a_head_puts_the_review_off(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    push_blob(&scene.core, &app, b"unasked").await.unwrap();
    let soon_due = scene.node(DAY - 60 * SECOND).await;
    let (gate, blob) = soon_due.find_blob(&app, &digest(b"layer"), None).await.unwrap();
    assert!(soon_due.keep_blob(&gate, &blob.unwrap()).await.unwrap());
    scene.maintain(DAY + 60 * SECOND).await;
    assert!(read_blob(&scene.core, &app, &digest(b"unasked")).await.is_none());
    let after = scene.node(DAY + 60 * SECOND).await;
    put_manifest(&after, &app, &["v1"], &image(&[b"layer"])).await.expect("what HEAD said exists can be used");
}

async fn a_mount_and_a_repeated_push_put_the_review_off(scene: Scene) {
    let (app, other) = (place("main/app"), place("main/other"));
    for blob in [&b"mounted"[..], b"pushed", b"left"] {
        push_blob(&scene.core, &app, blob).await.unwrap();
        push_blob(&scene.core, &other, blob).await.unwrap();
    }
    let soon_due = scene.node(DAY - 60 * SECOND).await;
    let from = gate(&soon_due, &app).await;
    let target = gate(&soon_due, &other).await;
    assert!(soon_due.mount(&target, &other, &digest(b"mounted"), MountFrom::Place(&from)).await.unwrap());
    push_blob(&soon_due, &other, b"pushed").await.unwrap();
    scene.maintain(DAY + 60 * SECOND).await;
    let mut left = Vec::new();
    for blob in [&b"mounted"[..], b"pushed", b"left"] {
        left.push(read_blob(&scene.core, &other, &digest(blob)).await.is_some());
    }
    assert_eq!(left, [true, true, false]);
}

/// The client was told by HEAD that the blob is here, while only an artifact in the trash held it.
async fn what_a_purge_lets_go_of_stays_for_the_grace(scene: Scene) {
    let app = place("main/app");
    let image_digest = push_image(&scene.core, &app, &["v1"], &[b"layer"]).await;
    scene.maintain(2 * DAY).await;
    crate::content::delete(&scene.core, &app, &image_digest).await.unwrap();
    let (gate, blob) = scene.core.find_blob(&app, &digest(b"layer"), None).await.unwrap();
    assert!(scene.core.keep_blob(&gate, &blob.unwrap()).await.unwrap());
    let purged = scene.node(7 * DAY + 60 * SECOND).await;
    // Pushed once more, or only asked for: the end of the trash must not shorten that.
    push_blob(&purged, &app, b"layer").await.unwrap();
    maintain(&purged).await;
    assert_eq!(scene.rows().await["artifact"], 0);
    put_manifest(&purged, &app, &["v2"], &image(&[b"layer"])).await.expect("the blob is still here");
}

async fn a_blob_lives_on_in_another_repository_and_goes_after_its_last(scene: Scene) {
    let (app, other) = (place("main/app"), place("main/other"));
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    push_blob(&scene.core, &other, b"layer").await.unwrap();
    let key = key_of(&scene.core, &digest(b"layer")).await.unwrap();
    scene
        .core
        .delete_blob(&gate(&scene.core, &app).await, &digest(b"layer"), &roadstead_db::audit::By::name("tester"))
        .await
        .unwrap();
    assert!(read_blob(&scene.core, &app, &digest(b"layer")).await.is_none());
    scene.maintain(0).await;
    assert_eq!(read_blob(&scene.core, &other, &digest(b"layer")).await.unwrap(), b"layer");
    assert_eq!(scene.usage("main").await, (0, 0, 5));
    scene
        .core
        .delete_blob(&gate(&scene.core, &other).await, &digest(b"layer"), &roadstead_db::audit::By::name("tester"))
        .await
        .unwrap();
    scene.maintain(0).await;
    assert_eq!(key_of(&scene.core, &digest(b"layer")).await, None);
    assert_eq!(scene.usage("main").await, (0, 0, 0));
    scene.maintain(7 * DAY - 60 * SECOND).await;
    assert!(is_stored(&scene.bucket, &key).await, "the recovery window is not over");
    scene.maintain(7 * DAY + 60 * SECOND).await;
    assert!(!is_stored(&scene.bucket, &key).await);
    assert_eq!(scene.rows().await["object_removal"], 0);
}

async fn a_blob_that_is_pushed_again_has_a_new_key_and_survives_the_removal(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    let old = key_of(&scene.core, &digest(b"layer")).await.unwrap();
    scene
        .core
        .delete_blob(&gate(&scene.core, &app).await, &digest(b"layer"), &roadstead_db::audit::By::name("tester"))
        .await
        .unwrap();
    scene.maintain(0).await;
    push_image(&scene.core, &app, &["v1"], &[b"layer"]).await;
    let new = key_of(&scene.core, &digest(b"layer")).await.unwrap();
    assert_ne!(old, new);
    scene.maintain(30 * DAY).await;
    assert!(!is_stored(&scene.bucket, &old).await);
    assert_eq!(read_blob(&scene.core, &app, &digest(b"layer")).await.unwrap(), b"layer");
}

async fn a_deleted_blob_that_is_pushed_again_is_seen_again(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    scene
        .core
        .delete_blob(&gate(&scene.core, &app).await, &digest(b"layer"), &roadstead_db::audit::By::name("tester"))
        .await
        .unwrap();
    push_blob(&scene.core, &app, b"layer").await.unwrap();
    scene.maintain(0).await;
    assert_eq!(read_blob(&scene.core, &app, &digest(b"layer")).await.unwrap(), b"layer");
    let objects = scene.objects().await;
    assert_eq!(objects.len(), 1, "the object of the second upload is not kept: {objects:?}");
}

/// A node without trash and grace, that takes manifests whose blobs come later.
async fn hasty(scene: &Scene) -> Core {
    let options =
        Options { collect_grace: 0, recovery_window: 0, trash_life: 0, require_blobs: false, ..scene.options.clone() };
    scene.node_with(0, options).await
}

/// Takes a deletion apart whose time is over.
fn purge<'t>(tx: &'t mut Tx<'_>, deletion: &'t i64) -> BoxFuture<'t, Result<(), DbError>> {
    Box::pin(async move { trash::purge(tx, *deletion, 100, 0).await.map(drop) })
}

async fn a_blob_is_pushed_while_an_artifact_that_names_it_is_taken_apart(scene: Scene) {
    let (core, app) = (hasty(&scene).await, place("main/app"));
    let sparse = put_manifest(&core, &app, &["v1"], &image(&[b"config", b"layer"])).await.unwrap().digest;
    delete(&core, &app, &sparse).await.unwrap();
    let deletion = scene.count("SELECT id FROM deletion").await;
    let push = {
        let (core, app) = (core.clone(), app.clone());
        async move { push_blob(&core, &app, b"layer").await }
    };
    let (purged, pushed) = scene.interleave(deletion, purge, push).await;
    purged.unwrap();
    pushed.expect("what once named the blob is no reason to refuse it");
    assert_eq!(read_blob(&core, &app, &digest(b"layer")).await.as_deref(), Some(&b"layer"[..]));
}

async fn a_link_is_collected_although_an_artifact_that_names_it_is_taken_apart_just_then(scene: Scene) {
    let (core, app) = (hasty(&scene).await, place("main/app"));
    let pushed = push_image(&core, &app, &["v1"], &[b"config"]).await;
    delete(&core, &app, &pushed).await.unwrap();
    // As after a push of blob and manifest in the same moment.
    scene.execute("DELETE FROM artifact_blob").await;
    let deletion = scene.count("SELECT id FROM deletion").await;
    let collector = {
        let core = core.clone();
        async move { maintain(&core).await }
    };
    let (purged, ()) = scene.interleave(deletion, purge, collector).await;
    purged.unwrap();
    maintain(&core).await;
    assert_eq!(scene.rows().await["blob"], 0, "nobody will ever look at it again");
}

async fn a_blob_that_was_deleted_after_it_was_found_is_unknown(scene: Scene) {
    let (core, app) = (hasty(&scene).await, place("main/app"));
    push_blob(&core, &app, b"layer").await.unwrap();
    let (gate, found) = core.find_blob(&app, &digest(b"layer"), None).await.unwrap();
    core.delete_blob(&gate, &digest(b"layer"), &roadstead_db::audit::By::name("tester")).await.unwrap();
    maintain(&core).await;
    let download = core.download(&found.expect("it is there"), 0..5, None).await;
    assert!(matches!(download.err(), Some(Error::BlobUnknown(it)) if it == digest(b"layer")));
}
