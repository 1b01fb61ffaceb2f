//! Tags: immutability is part of the statement that moves a tag, and history is what really happened.

use futures::future::join_all;
use roadstead_db::{
    artifact, params,
    tag::{self, Because},
};
use roadstead_model::Reference;
use roadstead_registry::Error;

use crate::{
    content::{digest, image, push_blob, push_image, put_manifest, read_manifest},
    scene::{Scene, gate, on_both_engines, place},
};

on_both_engines!(
    a_tag_is_not_pushed_over_where_tags_do_not_move,
    of_many_first_pushes_of_an_immutable_tag_one_wins,
    history_has_no_gap_when_many_push_one_tag,
    history_of_a_tag_that_is_deleted_while_it_moves_is_what_happened,
);

/// Images that differ, over blobs that are there.
async fn images(scene: &Scene, count: u8) -> Vec<bytes::Bytes> {
    let mut images = Vec::new();
    for number in 0..count {
        push_blob(&scene.core, &place("main/app"), &[number]).await.unwrap();
        images.push(image(&[&[number]]));
    }
    images
}

async fn a_tag_is_not_pushed_over_where_tags_do_not_move(scene: Scene) {
    let app = place("main/app");
    let images = images(&scene, 2).await;
    let signature = format!("sha256-{}.sig", digest(b"subject").hex());
    let tags = ["v1", &signature];
    put_manifest(&scene.core, &app, &tags, &images[0]).await.unwrap();
    scene.execute("UPDATE repository SET mutable_tags = FALSE").await;
    let refused = put_manifest(&scene.core, &app, &["v1"], &images[1]).await;
    assert!(matches!(refused, Err(Error::TagImmutable(tag)) if tag == "v1"));
    assert!(read_manifest(&scene.core, &app, &digest(&images[1]).to_string()).await.is_none(), "nothing of it is left");
    let refused = put_manifest(&scene.core, &app, &["v2", "v1"], &images[1]).await;
    assert!(matches!(refused, Err(Error::TagImmutable(_))));
    assert!(read_manifest(&scene.core, &app, "v2").await.is_none());
    put_manifest(&scene.core, &app, &["v1"], &images[0]).await.expect("it leads there already");
    put_manifest(&scene.core, &app, &["v2"], &images[1]).await.expect("a new tag");
    put_manifest(&scene.core, &app, &[&signature], &images[1]).await.expect("a second signature");
    assert_eq!(read_manifest(&scene.core, &app, "v1").await.unwrap().1, images[0]);
}

async fn of_many_first_pushes_of_an_immutable_tag_one_wins(scene: Scene) {
    let app = place("main/app");
    let images = images(&scene, 12).await;
    scene.execute("UPDATE repository SET mutable_tags = FALSE").await;
    let pushes = join_all(images.iter().map(|image| put_manifest(&scene.core, &app, &["v1"], image))).await;
    let (pushed, refused): (Vec<_>, Vec<_>) = pushes.into_iter().partition(Result::is_ok);
    assert_eq!(pushed.len(), 1);
    assert!(refused.iter().all(|error| matches!(error, Err(Error::TagImmutable(_)))), "{refused:?}");
    let winner = pushed.into_iter().next().unwrap().unwrap().digest;
    assert_eq!(digest(&read_manifest(&scene.core, &app, "v1").await.unwrap().1), winner);
    assert_eq!(scene.rows().await["artifact"], 1);
}

/// Each change begins where the one before it ended.
async fn history_has_no_gap_when_many_push_one_tag(scene: Scene) {
    let app = place("main/app");
    push_image(&scene.core, &app, &["v1"], &[b"first"]).await;
    let images = images(&scene, 12).await;
    for pushed in join_all(images.iter().map(|image| put_manifest(&scene.core, &app, &["v1", "new"], image))).await {
        pushed.unwrap();
    }
    for name in ["v1", "new"] {
        let sql = "SELECT from_digest, to_digest FROM tag_change WHERE name = $1";
        let changes = scene
            .core
            .db()
            .query(sql, params![name], |row| Ok((row.get::<Option<Vec<u8>>>(0)?, row.get::<Option<Vec<u8>>>(1)?)));
        let mut changes = changes.await.unwrap();
        assert_eq!(changes.len(), if name == "v1" { 13 } else { 12 });
        let mut at = None;
        while !changes.is_empty() {
            let next = changes.iter().position(|(from, _)| *from == at).expect("a change that goes on from there");
            at = changes.swap_remove(next).1;
        }
        let now = digest(&read_manifest(&scene.core, &app, name).await.unwrap().1).to_stored();
        assert_eq!(at, Some(now));
    }
}

async fn history_of_a_tag_that_is_deleted_while_it_moves_is_what_happened(scene: Scene) {
    let app = place("main/app");
    let images = images(&scene, 2).await;
    put_manifest(&scene.core, &app, &["v1"], &images[0]).await.unwrap();
    put_manifest(&scene.core, &app, &[], &images[1]).await.unwrap();
    let gate = gate(&scene.core, &app).await;
    let input = (gate.facts.repository.unwrap(), digest(&images[1]));
    let delete = {
        let core = scene.core.clone();
        async move {
            core.delete_manifest(
                &gate,
                &Reference::Tag("v1".parse().unwrap()),
                &roadstead_db::audit::By::name("tester"),
            )
            .await
        }
    };
    let (moved, deleted) = scene
        .interleave(
            input,
            |tx, (repository, to)| {
                Box::pin(async move {
                    let artifact = artifact::find_living(tx, *repository, to).await?.expect("it lives");
                    tag::set(tx, *repository, "v1", (artifact, to), Because { why: "push", by: "tester" }, true)
                        .await
                        .map(drop)
                })
            },
            delete,
        )
        .await;
    moved.unwrap();
    deleted.unwrap();
    let sql = "SELECT from_digest FROM tag_change WHERE why = 'delete'";
    let from = scene.core.db().query_opt(sql, params![], |row| row.get::<Vec<u8>>(0)).await.unwrap();
    assert_eq!(from, Some(digest(&images[1]).to_stored()), "a restore would put back another image");
}
