//! The end of the trash: everything is taken apart, and usage ends at zero, whoever else is at work.

use roadstead_db::{DbError, params, trash};
use roadstead_model::{Digest, Place};
use roadstead_registry::Options;

use crate::{
    content::{delete, digest, image, push_image, put_manifest, read_manifest},
    scene::{DAY, Scene, maintain, on_both_engines, place},
};

on_both_engines!(
    after_its_time_all_is_taken_apart_and_usage_is_zero,
    manifest_bytes_stay_for_another_repository,
    a_last_artifact_that_is_purged_while_another_is_pushed,
    two_last_artifacts_of_a_repository_purged_at_once,
    two_last_artifacts_of_a_manifest_purged_at_once,
    history_goes_by_age_and_what_it_alone_held_with_it,
    the_audit_log_goes_by_age,
    history_that_a_restore_needs_stays_as_long,
);

async fn after_its_time_all_is_taken_apart_and_usage_is_zero(scene: Scene) {
    let (app, other) = (place("main/app"), place("main/other"));
    let first = push_image(&scene.core, &app, &["v1"], &[b"config", b"layer"]).await;
    let second = push_image(&scene.core, &app, &["v2"], &[b"config", b"more"]).await;
    let third = push_image(&scene.core, &other, &["v1"], &[b"config", b"layer"]).await;
    assert_eq!(scene.usage("main").await, (2, 3, 15));
    scene.maintain(0).await;
    assert_eq!(scene.usage("main").await, (2, 3, 15), "the same when the changes are folded");
    delete(&scene.core, &app, &first).await.unwrap();
    delete(&scene.core, &app, &second).await.unwrap();
    delete(&scene.core, &other, &third).await.unwrap();
    scene.maintain(6 * DAY).await;
    assert_eq!(scene.usage("main").await, (2, 3, 15), "what lies in the trash counts");
    scene.maintain(8 * DAY).await;
    assert_eq!(scene.rows().await["artifact"], 0);
    scene.maintain(10 * DAY).await;
    assert_eq!(scene.usage("main").await, (0, 0, 0));
    scene.maintain(20 * DAY).await;
    let rows = scene.rows().await;
    for table in ["artifact", "artifact_blob", "artifact_edge", "manifest", "blob", "repository_blob", "registry_blob"]
    {
        assert_eq!(rows[table], 0, "{table}");
    }
    for table in ["deletion", "deletion_step", "link_review", "blob_review", "object_removal", "tag", "usage_change"] {
        assert_eq!(rows[table], 0, "{table}");
    }
    assert_eq!(scene.objects().await, Vec::<String>::new());
}

async fn manifest_bytes_stay_for_another_repository(scene: Scene) {
    let (app, other) = (place("main/app"), place("main/other"));
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    push_image(&scene.core, &other, &["v1"], &[b"config"]).await;
    assert_eq!(scene.rows().await["manifest"], 1, "once for both");
    delete(&scene.core, &app, &pushed).await.unwrap();
    scene.maintain(8 * DAY).await;
    assert!(read_manifest(&scene.core, &app, &pushed.to_string()).await.is_none());
    let fresh = scene.node(8 * DAY).await;
    assert_eq!(read_manifest(&fresh, &other, "v1").await.unwrap().1, image(&[b"config"]));
    delete(&scene.core, &other, &pushed).await.unwrap();
    scene.maintain(8 * DAY).await;
    assert_eq!(scene.rows().await["manifest"], 0);
}

/// The deletions of artifacts whose time is over eight days from now.
async fn deleted(scene: &Scene, what: &[(&Place, Digest)]) -> Vec<i64> {
    for (place, digest) in what {
        delete(&scene.core, place, digest).await.unwrap();
    }
    trash::over(scene.node(8 * DAY).await.db(), 10).await.unwrap()
}

/// Purges the first deletion up to its commit, and then runs `second` into it.
async fn purge_and<T: Send + 'static>(
    scene: &Scene,
    deletion: i64,
    second: impl Future<Output = T> + Send + 'static,
) -> T {
    // The clock of the test is not ahead, so the time of the deletion is moved instead.
    scene.execute("UPDATE deletion SET until = 0").await;
    let (purged, second) = scene
        .interleave(
            deletion,
            |tx, deletion| Box::pin(async { trash::purge(tx, *deletion, 100, DAY).await.map(drop) }),
            second,
        )
        .await;
    purged.unwrap();
    second
}

async fn a_last_artifact_that_is_purged_while_another_is_pushed(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &[], &[b"config"]).await;
    let deletions = deleted(&scene, &[(&app, pushed)]).await;
    let core = scene.core.clone();
    let other = image(&[b"config", b"config"]);
    purge_and(&scene, deletions[0], async move { put_manifest(&core, &place("main/app"), &["v1"], &other).await })
        .await
        .unwrap();
    assert_eq!(scene.usage("main").await, (1, 1, 6));
}

/// Purges a deletion in a transaction of its own.
async fn purge(core: roadstead_registry::Core, deletion: i64) {
    let purged = core.db().write(deletion, |tx, deletion| Box::pin(trash::purge(tx, *deletion, 100, DAY))).await;
    purged.map_err(|error: DbError| error).unwrap();
}

async fn two_last_artifacts_of_a_repository_purged_at_once(scene: Scene) {
    let app = place("main/app");
    // Nothing that both hold puts the two in order.
    let first = push_image(&scene.core, &app, &[], &[b"config"]).await;
    let second = push_image(&scene.core, &app, &[], &[b"layer"]).await;
    let deletions = deleted(&scene, &[(&app, first), (&app, second)]).await;
    purge_and(&scene, deletions[0], purge(scene.core.clone(), deletions[1])).await;
    assert_eq!(scene.usage("main").await, (0, 0, 11));
}

async fn two_last_artifacts_of_a_manifest_purged_at_once(scene: Scene) {
    let (app, other) = (place("main/app"), place("main/other"));
    let pushed = push_image(&scene.core, &app, &[], &[b"config"]).await;
    push_image(&scene.core, &other, &[], &[b"config"]).await;
    let deletions = deleted(&scene, &[(&app, pushed), (&other, pushed)]).await;
    purge_and(&scene, deletions[0], purge(scene.core.clone(), deletions[1])).await;
    assert_eq!(scene.rows().await["manifest"], 0, "neither left it to the other");
    let stored = digest(b"config").to_stored();
    let blob = "SELECT COUNT(*) FROM blob WHERE digest = $1";
    let kept = scene.core.db().query_opt(blob, params![&stored], |row| row.get::<i64>(0)).await.unwrap();
    assert_eq!(kept, Some(1), "its grace is not over");
}

async fn history_goes_by_age_and_what_it_alone_held_with_it(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1", "v2"], &[b"config"]).await;
    push_image(&scene.core, &place("main/other"), &["v1"], &[b"config"]).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    scene.maintain(8 * DAY).await;
    scene.maintain(20 * DAY).await;
    let rows = scene.rows().await;
    assert_eq!((rows["repository"], rows["tag_change"]), (2, 5), "it is still known what was there");
    scene.maintain(366 * DAY).await;
    let rows = scene.rows().await;
    assert_eq!((rows["repository"], rows["tag_change"], rows["tag"]), (1, 0, 1));
}

async fn the_audit_log_goes_by_age(scene: Scene) {
    let lines = async || roadstead_db::audit::list(scene.core.db(), &Default::default(), 100).await.unwrap().rows.len();
    assert!(lines().await > 0, "the registry was made");
    scene.maintain(364 * DAY).await;
    assert!(lines().await > 0);
    scene.maintain(366 * DAY).await;
    assert_eq!(lines().await, 0);
}

async fn history_that_a_restore_needs_stays_as_long(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    let options = Options { history_life: 0, ..scene.options.clone() };
    maintain(&scene.node_with(0, options.clone()).await).await;
    assert_eq!(scene.rows().await["tag_change"], 0);
    delete(&scene.core, &app, &pushed).await.unwrap();
    maintain(&scene.node_with(6 * DAY, options.clone()).await).await;
    assert_eq!(scene.rows().await["tag_change"], 1, "the tag that would be put back");
    maintain(&scene.node_with(8 * DAY, options).await).await;
    assert_eq!(scene.rows().await["tag_change"], 0);
}
