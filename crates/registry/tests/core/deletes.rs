//! Deletes: who goes along, who stays, what history says.

use roadstead_db::{
    DbError, Engine, params,
    tag::{self, Because},
    trash,
};
use roadstead_model::Digest;
use serde_json::json;

use crate::{
    content::{
        delete, digest, image, image_with, index, push_blob, push_image, put_manifest, read_blob, read_manifest,
    },
    scene::{DAY, Scene, gate, on_both_engines, place},
};

on_both_engines!(
    children_and_referrers_that_nothing_else_holds_go_along,
    tagged_children_and_those_of_another_living_index_stay,
    a_child_goes_with_the_last_of_its_indexes,
    referrers_stay_when_the_subject_lives_again,
    a_referrer_stays_whose_tag_moves_to_its_subject_that_lives_again,
    a_follower_that_was_pushed_after_the_delete_stays,
    a_referrer_that_is_being_tagged_stays,
    a_child_that_is_being_tagged_stays,
    tags_go_and_history_names_the_deletion,
    pushing_again_makes_it_anew_and_leaves_the_trash_alone,
    a_blob_that_an_artifact_holds_is_not_deleted,
    a_deletion_waits_in_the_trash_until_all_have_followed,
);

async fn lives(scene: &Scene, digest: &Digest) -> bool {
    read_manifest(&scene.core, &place("main/app"), &digest.to_string()).await.is_some()
}

/// Pushes an image without layers under no tag; its bytes.
async fn child(scene: &Scene, name: &str, tags: &[&str]) -> bytes::Bytes {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"{}").await.unwrap();
    let bytes = image_with(&[b"{}"], None, json!({ "name": name }));
    put_manifest(&scene.core, &app, tags, &bytes).await.unwrap();
    bytes
}

async fn referrer(scene: &Scene, name: &str, subject: &[u8], tags: &[&str]) -> Digest {
    let bytes = image_with(&[b"{}"], Some(subject), json!({ "name": name }));
    put_manifest(&scene.core, &place("main/app"), tags, &bytes).await.unwrap().digest
}

async fn push_index(scene: &Scene, children: &[&[u8]], name: &str, tags: &[&str]) -> Digest {
    put_manifest(&scene.core, &place("main/app"), tags, &index(children, name)).await.unwrap().digest
}

async fn children_and_referrers_that_nothing_else_holds_go_along(scene: Scene) {
    let child = child(&scene, "child", &[]).await;
    let of_child = referrer(&scene, "of the child", &child, &[]).await;
    let top_bytes = index(&[&child], "top");
    let top = push_index(&scene, &[&child], "top", &["v1"]).await;
    let signature = referrer(&scene, "signature", &top_bytes, &[]).await;
    delete(&scene.core, &place("main/app"), &top).await.unwrap();
    for gone in [top, digest(&child), of_child, signature] {
        assert!(!lives(&scene, &gone).await, "{gone}");
    }
    let rows = scene.rows().await;
    assert_eq!((rows["artifact"], rows["deletion"], rows["deletion_step"]), (4, 1, 0), "all in one entry of the trash");
}

async fn tagged_children_and_those_of_another_living_index_stay(scene: Scene) {
    let tagged = child(&scene, "tagged", &["child"]).await;
    let shared = child(&scene, "shared", &[]).await;
    let alone = child(&scene, "alone", &[]).await;
    let top = push_index(&scene, &[&tagged, &shared, &alone], "top", &["v1"]).await;
    push_index(&scene, &[&shared], "other", &["v2"]).await;
    let kept = referrer(&scene, "kept", &index(&[&tagged, &shared, &alone], "top"), &["sig"]).await;
    delete(&scene.core, &place("main/app"), &top).await.unwrap();
    assert!(lives(&scene, &digest(&tagged)).await);
    assert!(lives(&scene, &digest(&shared)).await);
    assert!(lives(&scene, &kept).await, "a tag holds the referrer");
    assert!(!lives(&scene, &digest(&alone)).await);
}

async fn a_child_goes_with_the_last_of_its_indexes(scene: Scene) {
    let child = child(&scene, "child", &[]).await;
    let first = push_index(&scene, &[&child], "first", &["v1"]).await;
    let second = push_index(&scene, &[&child], "second", &["v2"]).await;
    delete(&scene.core, &place("main/app"), &first).await.unwrap();
    assert!(lives(&scene, &digest(&child)).await);
    delete(&scene.core, &place("main/app"), &second).await.unwrap();
    assert!(!lives(&scene, &digest(&child)).await);
}

/// Marks an artifact as deleted, as the first transaction of a delete does; the followers are still to be looked at.
async fn put_into_the_trash(scene: &Scene, digest: &Digest) {
    let row = artifact_row(scene, digest).await;
    let app = gate(&scene.core, &place("main/app")).await.facts;
    let (registry, repository) = (app.registry.unwrap().id, app.repository.unwrap());
    let put = scene.core.db().write((row, registry, repository), |tx, (row, registry, repository)| {
        Box::pin(async move {
            let deletion = trash::begin(tx, "artifact", *registry, Some(*repository), "app", "tester", DAY).await?;
            trash::put_artifact(tx, *row, deletion).await
        })
    });
    put.await.map_err(|error: DbError| error).unwrap();
}

async fn artifact_row(scene: &Scene, digest: &Digest) -> i64 {
    let sql =
        "SELECT a.id FROM artifact a JOIN manifest m ON m.id = a.manifest WHERE m.digest = $1 AND a.deletion IS NULL";
    let stored = digest.to_stored();
    scene.core.db().query_opt(sql, params![&stored], |row| row.get(0)).await.unwrap().unwrap()
}

async fn referrers_stay_when_the_subject_lives_again(scene: Scene) {
    let subject = child(&scene, "subject", &["v1"]).await;
    let signature = referrer(&scene, "signature", &subject, &[]).await;
    scene.execute("DELETE FROM tag").await;
    put_into_the_trash(&scene, &digest(&subject)).await;
    put_manifest(&scene.core, &place("main/app"), &["v1"], &subject).await.unwrap();
    scene.maintain(0).await;
    assert!(lives(&scene, &signature).await);
    assert_eq!(scene.rows().await["deletion_step"], 0);
}

/// The push that brings the subject back takes the tag away from the referrer: at no time does neither hold it.
async fn a_referrer_stays_whose_tag_moves_to_its_subject_that_lives_again(scene: Scene) {
    let subject = child(&scene, "subject", &[]).await;
    let signature = referrer(&scene, "signature", &subject, &["v1"]).await;
    let row = artifact_row(&scene, &digest(&subject)).await;
    put_into_the_trash(&scene, &digest(&subject)).await;
    let node = scene.node(0).await;
    let push = scene.interleave(
        row,
        |tx, row| {
            Box::pin(async move {
                if tx.engine() == Engine::Postgres {
                    // Whoever asks for tags waits for the end of this.
                    tx.execute("LOCK TABLE tag IN ACCESS EXCLUSIVE MODE", params![]).await?;
                }
                tx.execute("UPDATE artifact SET deletion = NULL WHERE id = $1", params![*row]).await?;
                tx.execute("UPDATE tag SET artifact = $1", params![*row]).await.map(drop)
            })
        },
        async move { crate::scene::maintain(&node).await },
    );
    push.await.0.unwrap();
    assert!(lives(&scene, &signature).await);
}

/// Runs the background work into a push of a tag for `held` that has not committed yet.
async fn tag_while_it_is_to_follow(scene: &Scene, held: &Digest) {
    let row = artifact_row(scene, held).await;
    let repository = gate(&scene.core, &place("main/app")).await.facts.repository.unwrap();
    let node = scene.node(0).await;
    let (tagged, ()) = scene
        .interleave(
            (repository, row, *held),
            |tx, (repository, row, digest)| {
                Box::pin(async move {
                    // As a repeated push of the manifest does.
                    let sql = "SELECT id FROM artifact WHERE id = $1 {for_key_share}";
                    tx.query_opt(sql, params![*row], |_| Ok(())).await?;
                    tag::set(tx, *repository, "held", (*row, digest), Because { why: "push", by: "tester" }, true)
                        .await
                        .map(drop)
                })
            },
            async move { crate::scene::maintain(&node).await },
        )
        .await;
    tagged.unwrap();
    assert!(lives(scene, held).await);
    assert!(read_manifest(&scene.core, &place("main/app"), "held").await.is_some(), "a tag leads to something");
}

/// More than one request takes along, so that some are followed later.
async fn a_follower_that_was_pushed_after_the_delete_stays(scene: Scene) {
    let mut children = Vec::new();
    for n in 0..260 {
        children.push(child(&scene, &format!("child {n}"), &[]).await);
    }
    let last = children.last().unwrap().clone();
    let referrers = [referrer(&scene, "first", &last, &[]).await, referrer(&scene, "second", &last, &[]).await];
    let children: Vec<&[u8]> = children.iter().map(|child| &child[..]).collect();
    let top = push_index(&scene, &children, "top", &[]).await;
    delete(&scene.core, &place("main/app"), &top).await.unwrap();
    assert!(
        !lives(&scene, &digest(&last)).await && lives(&scene, &referrers[1]).await,
        "it is not the turn of all yet"
    );
    assert_eq!(referrer(&scene, "second", &last, &[]).await, referrers[1]);
    scene.maintain(0).await;
    assert!(!lives(&scene, &referrers[0]).await && lives(&scene, &referrers[1]).await);
}

async fn a_referrer_that_is_being_tagged_stays(scene: Scene) {
    let subject = child(&scene, "subject", &[]).await;
    let signature = referrer(&scene, "signature", &subject, &[]).await;
    put_into_the_trash(&scene, &digest(&subject)).await;
    tag_while_it_is_to_follow(&scene, &signature).await;
}

async fn a_child_that_is_being_tagged_stays(scene: Scene) {
    let child = child(&scene, "child", &[]).await;
    let top = push_index(&scene, &[&child], "top", &[]).await;
    put_into_the_trash(&scene, &top).await;
    tag_while_it_is_to_follow(&scene, &digest(&child)).await;
}

async fn tags_go_and_history_names_the_deletion(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1", "latest"], &[b"config"]).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    assert!(read_manifest(&scene.core, &app, "v1").await.is_none());
    let named = "SELECT COUNT(*) FROM tag_change c JOIN deletion d ON d.id = c.deletion
                 WHERE c.why = 'delete' AND c.to_digest IS NULL AND c.from_digest IS NOT NULL AND c.name IN ('v1', 'latest')";
    assert_eq!(scene.count(named).await, 2);
    assert_eq!(scene.rows().await["tag_change"], 4);
    let listed = scene.core.tags(&gate(&scene.core, &app).await, None, 10).await.unwrap();
    assert!(listed.names.is_empty() && !listed.more);
}

async fn pushing_again_makes_it_anew_and_leaves_the_trash_alone(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    put_manifest(&scene.core, &app, &["v2"], &image(&[b"config"])).await.unwrap();
    assert!(lives(&scene, &pushed).await);
    assert!(read_manifest(&scene.core, &app, "v1").await.is_none());
    assert_eq!(scene.count("SELECT COUNT(*) FROM artifact WHERE deletion IS NOT NULL").await, 1);
    assert_eq!(scene.usage("main").await, (1, 2, 6));
    scene.maintain(8 * DAY).await;
    assert!(lives(&scene, &pushed).await);
    assert_eq!(read_blob(&scene.core, &app, &digest(b"config")).await.unwrap(), b"config");
    assert_eq!(scene.usage("main").await, (1, 1, 6));
}

async fn a_blob_that_an_artifact_holds_is_not_deleted(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &[], &[b"config"]).await;
    let gate = gate(&scene.core, &app).await;
    let refused = scene.core.delete_blob(&gate, &digest(b"config"), &roadstead_db::audit::By::name("tester")).await;
    assert!(matches!(refused, Err(roadstead_registry::Error::BlobHeld)), "{refused:?}");
    delete(&scene.core, &app, &pushed).await.unwrap();
    scene
        .core
        .delete_blob(&gate, &digest(b"config"), &roadstead_db::audit::By::name("tester"))
        .await
        .expect("what lies in the trash does not count");
    scene.maintain(2 * DAY).await;
    let held = "SELECT COUNT(*) FROM repository_blob";
    assert_eq!(scene.count(held).await, 1, "but it keeps the bytes, so that it can be restored");
}

async fn a_deletion_waits_in_the_trash_until_all_have_followed(scene: Scene) {
    let child = child(&scene, "child", &[]).await;
    let top = push_index(&scene, &[&child], "top", &[]).await;
    put_into_the_trash(&scene, &top).await;
    // Its time is over before anybody has looked at the children.
    assert_eq!(trash::over(scene.node(2 * DAY).await.db(), 10).await.unwrap(), Vec::<i64>::new());
    scene.maintain(2 * DAY).await;
    assert!(!lives(&scene, &digest(&child)).await);
}
