//! What is taken out of the trash locks its deletions first and in the order of their rows, so that nobody waits in a circle.

use roadstead_db::{DbError, restore::Choice};
use roadstead_registry::ImageError;
use tokio_util::sync::CancellationToken;

use crate::{
    content::{delete, digest, image, push_image},
    restore::{by, delete_repository, main_registry, newest, registry_of, restore},
    scene::{Scene, on_both_engines, place, until, waits_for_a_lock},
};

on_both_engines!(deletions_inside_are_locked_before_repositories, deletions_are_ended_in_their_order);

/// A repository in the trash with two deletions inside, and one of its name that lives; its entry.
async fn deletions_inside(scene: &Scene) -> i64 {
    let app = place("main/app");
    for (tag, blob) in [("v1", b"1"), ("v2", b"2"), ("v3", b"3")] {
        push_image(&scene.core, &app, &[tag], &[blob]).await;
    }
    for blob in [b"1", b"2"] {
        delete(&scene.core, &app, &digest(&image(&[blob]))).await.unwrap();
    }
    delete_repository(&scene.core, &app).await;
    push_image(&scene.core, &app, &["again"], &[b"4"]).await;
    newest(&scene.core).await
}

/// Holds the first deletion until a restore waits for it, and tells how many rows of `all` nobody has locked then.
async fn free_meanwhile(
    scene: &Scene,
    all: &'static str,
    second: impl Future<Output = Result<(), ImageError>> + Send + 'static,
) -> Option<usize> {
    if scene.is_embedded() {
        // One writer: there is nobody to wait for.
        second.await.unwrap();
        return None;
    }
    let db = scene.core.db().clone();
    let (reached, go) = (CancellationToken::new(), CancellationToken::new());
    let input = (all, reached.clone(), go.clone());
    let first = db.write(input, |tx, (all, reached, go)| {
        Box::pin(async move {
            tx.query(FIRST_DELETION, [], |_| Ok(())).await?;
            reached.cancel();
            go.cancelled().await;
            Ok::<_, DbError>(tx.query(all, [], |_| Ok(())).await?.len())
        })
    });
    let both = async {
        until("the deletion is held", async || reached.is_cancelled()).await;
        let second = tokio::spawn(second);
        until("it is waited for", async || second.is_finished() || waits_for_a_lock(&db).await).await;
        assert!(!second.is_finished(), "it needs no lock of the first deletion");
        go.cancel();
        second.await.unwrap().unwrap();
    };
    let (free, ()) = tokio::join!(first, both);
    Some(free.unwrap())
}

const FIRST_DELETION: &str = "SELECT id FROM deletion WHERE id = (SELECT MIN(id) FROM deletion) {for_update}";

/// Whoever purges one of them waits for a repository.
async fn deletions_inside_are_locked_before_repositories(scene: Scene) {
    let entry = deletions_inside(&scene).await;
    let core = scene.core.clone();
    let back = async move { restore(&core, entry, Choice::Ask).await };
    let free = free_meanwhile(&scene, "SELECT id FROM repository {skip_locked}", back).await;
    assert!(matches!(free, None | Some(2)), "{free:?}");
}

async fn deletions_are_ended_in_their_order(scene: Scene) {
    const ALL: &str = "SELECT id FROM deletion {skip_locked}";
    let entry = deletions_inside(&scene).await;
    // So that the first one is the last that is found.
    scene.execute("UPDATE deletion SET until = until WHERE id = (SELECT MIN(id) FROM deletion)").await;
    let registry = registry_of(&scene.core, &place("main/app")).await;
    let core = scene.core.clone();
    let ended = async move { core.end_deletion((registry, &main_registry()), entry, &by()).await };
    let free = free_meanwhile(&scene, ALL, ended).await;
    assert!(matches!(free, None | Some(3)), "{free:?}");
    for sql in [
        "UPDATE deletion SET until = {now} + 3600000000 WHERE id > (SELECT MIN(id) FROM deletion)",
        "UPDATE deletion SET until = {now} + 3600000000 WHERE id = (SELECT MIN(id) FROM deletion)",
    ] {
        scene.execute(sql).await;
    }
    let core = scene.core.clone();
    let emptied = async move { core.empty_trash_of(registry, &main_registry(), &by()).await };
    let free = free_meanwhile(&scene, ALL, emptied).await;
    assert!(matches!(free, None | Some(3)), "{free:?}");
}
