//! Locks have one order: who waits for the first of several holds none of those after it. Two that took them in different
//! orders would wait for each other, until PostgreSQL looks after a second and gives one of them up.

use roadstead_db::{DbError, Tx};
use roadstead_model::{Digest, Place};
use roadstead_registry::{Core, Error};
use tokio_util::sync::CancellationToken;

use crate::{
    content::{delete, digest, image, image_with, index, push_blob, push_image, put_manifest, put_manifest_as},
    scene::{Scene, gate, on_both_engines, place, until, waits_for_a_lock},
};

on_both_engines!(
    tags_of_a_push_are_locked_by_name,
    tags_of_a_deleted_artifact_are_locked_by_name,
    the_review_of_a_blob_is_locked_before_its_link,
    children_of_an_index_are_locked_by_digest,
);

/// Locks what `first` selects, waits until `second` is held up by it, and asserts that everything that `all` selects and
/// nobody else has locked is `expected` rows. Then both come to their ends.
async fn waits_with_empty_hands(
    scene: &Scene,
    first: &'static str,
    all: (&'static str, usize),
    second: impl Future<Output = Result<(), Error>> + Send + 'static,
) {
    if scene.is_embedded() {
        // One writer: there is nobody to wait for.
        return second.await.unwrap();
    }
    let db = scene.core.db().clone();
    let (reached, go) = (CancellationToken::new(), CancellationToken::new());
    let paused = tokio::spawn({
        let (db, input) = (db.clone(), (first, all.0, reached.clone(), go.clone()));
        async move { db.write(input, |tx, (first, all, reached, go)| Box::pin(look(tx, first, all, reached, go))).await }
    });
    until("the first lock is held", async || reached.is_cancelled() || paused.is_finished()).await;
    let second = tokio::spawn(second);
    until("the second one waits for it", async || second.is_finished() || waits_for_a_lock(&db).await).await;
    assert!(!second.is_finished(), "it needs no lock of `{first}`");
    go.cancel();
    let (locked, free) = paused.await.unwrap().unwrap();
    assert!(locked > 0, "`{first}` locks nothing");
    assert_eq!(free, all.1, "who waits for `{first}` holds some of `{}`", all.0);
    second.await.unwrap().unwrap();
}

async fn look(
    tx: &mut Tx<'_>,
    first: &'static str,
    all: &'static str,
    reached: &CancellationToken,
    go: &CancellationToken,
) -> Result<(usize, usize), DbError> {
    let locked = tx.query(first, [], |_| Ok(())).await?.len();
    reached.cancel();
    go.cancelled().await;
    Ok((locked, tx.query(all, [], |_| Ok(())).await?.len()))
}

const FIRST_TAG: &str = "SELECT name FROM tag WHERE name = 'a' {for_update}";
const ALL_TAGS: &str = "SELECT name FROM tag {skip_locked}";

async fn tags_of_a_push_are_locked_by_name(scene: Scene) {
    let app = place("main/app");
    push_image(&scene.core, &app, &["c", "b", "a"], &[b"config"]).await;
    let other = image_with(&[b"config"], None, serde_json::json!({ "other": "yes" }));
    let core = scene.core.clone();
    let push = async move { put_manifest(&core, &app, &["c", "a", "b", "c"], &other).await.map(drop) };
    waits_with_empty_hands(&scene, FIRST_TAG, (ALL_TAGS, 3), push).await;
}

async fn tags_of_a_deleted_artifact_are_locked_by_name(scene: Scene) {
    let app = place("main/app");
    for tag in ["c", "b", "a"] {
        push_image(&scene.core, &app, &[tag], &[b"config"]).await;
    }
    let core = scene.core.clone();
    let gone = async move { delete(&core, &app, &digest(&image(&[b"config"]))).await };
    waits_with_empty_hands(&scene, FIRST_TAG, (ALL_TAGS, 3), gone).await;
}

async fn the_review_of_a_blob_is_locked_before_its_link(scene: Scene) {
    const REVIEWS: &str = "SELECT blob FROM link_review {for_update}";
    const LINKS: &str = "SELECT blob FROM repository_blob {skip_locked}";
    let app = place("main/app");
    let docker = "application/vnd.docker.distribution.manifest.v2+json";
    push_image(&scene.core, &app, &["v1"], &[b"config"]).await;

    let (core, to) = (scene.core.clone(), app.clone());
    let again = async move { push_blob(&core, &to, b"config").await.map(drop) };
    waits_with_empty_hands(&scene, REVIEWS, (LINKS, 1), again).await;

    let (core, to) = (scene.core.clone(), app.clone());
    let new_type =
        async move { put_manifest_as(&core, &to, &["v1"], &image(&[b"config"]), Some(docker)).await.map(drop) };
    waits_with_empty_hands(&scene, REVIEWS, (LINKS, 1), new_type).await;

    let lonely = push_blob(&scene.core, &place("main/other"), b"lonely").await.unwrap();
    let hidden = hide(scene.core.clone(), place("main/other"), lonely);
    waits_with_empty_hands(&scene, REVIEWS, (LINKS, 2), hidden).await;
}

async fn hide(core: Core, place: Place, digest: Digest) -> Result<(), Error> {
    core.delete_blob(&gate(&core, &place).await, &digest, &roadstead_db::audit::By::name("tester")).await
}

async fn children_of_an_index_are_locked_by_digest(scene: Scene) {
    let app = place("main/app");
    let images = [image(&[b"one"]), image(&[b"two"]), image(&[b"three"])];
    for blob in [b"one".as_slice(), b"two", b"three"] {
        push_image(&scene.core, &app, &[], &[blob]).await;
    }
    let mut last_first: Vec<&[u8]> = images.iter().map(|image| &image[..]).collect();
    last_first.sort_by_key(|image| std::cmp::Reverse(digest(image)));
    let index = index(&last_first, "index");
    let core = scene.core.clone();
    let push = async move { put_manifest(&core, &app, &["v1"], &index).await.map(drop) };
    let first =
        "SELECT id FROM artifact WHERE manifest = (SELECT id FROM manifest ORDER BY digest LIMIT 1) {for_update}";
    waits_with_empty_hands(&scene, first, ("SELECT id FROM artifact {skip_locked}", 3), push).await;
}
