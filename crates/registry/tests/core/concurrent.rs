//! Usage is exact, however many push and delete the same at once.

use futures::future::join_all;
use roadstead_registry::Error;

use crate::{
    content::{delete, digest, image, push_blob, push_image, put_manifest, read_manifest},
    scene::{DAY, Scene, on_both_engines, place},
};

on_both_engines!(
    the_same_image_pushed_by_many_into_several_repositories,
    many_delete_one_artifact_and_one_does,
    pushes_and_deletes_of_one_artifact_count_right,
);

async fn the_same_image_pushed_by_many_into_several_repositories(scene: Scene) {
    let places: Vec<_> = (0..64).map(|number| place(&format!("main/app{}", number % 4))).collect();
    let blobs: [&[u8]; 3] = [b"config", b"first layer", b"second layer"];
    let pushes = places.iter().map(|place| {
        let core = scene.core.clone();
        let place = place.clone();
        tokio::spawn(
            async move { push_image(&core, &place, &["v1"], &[b"config", b"first layer", b"second layer"]).await },
        )
    });
    for pushed in join_all(pushes).await {
        pushed.expect("each push is answered with success");
    }
    let bytes: i64 = blobs.iter().map(|blob| i64::try_from(blob.len()).unwrap()).sum();
    assert_eq!(scene.usage("main").await, (4, 4, bytes));
    scene.maintain(0).await;
    assert_eq!(scene.usage("main").await, (4, 4, bytes));
    let rows = scene.rows().await;
    assert_eq!((rows["usage_change"], rows["blob"], rows["manifest"]), (0, 3, 1));
    for place in &places[..4] {
        delete(&scene.core, place, &digest(&image(&blobs))).await.unwrap();
    }
    let nodes = [scene.node(8 * DAY).await, scene.node(8 * DAY).await];
    join_all(nodes.iter().map(crate::scene::maintain)).await;
    scene.maintain(10 * DAY).await;
    assert_eq!(scene.usage("main").await, (0, 0, 0));
    assert_eq!(scene.rows().await["manifest"], 0);
}

async fn many_delete_one_artifact_and_one_does(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    let deletes = join_all((0..12).map(|_| delete(&scene.core, &app, &pushed))).await;
    assert_eq!(deletes.iter().filter(|deleted| deleted.is_ok()).count(), 1);
    assert!(deletes.iter().all(|deleted| matches!(deleted, Ok(()) | Err(Error::ManifestUnknown(_)))), "{deletes:?}");
    assert_eq!(scene.rows().await["deletion"], 1);
}

async fn pushes_and_deletes_of_one_artifact_count_right(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"config").await.unwrap();
    let bytes = image(&[b"config"]);
    let work = (0..32).map(|number| {
        let (core, app, bytes) = (scene.core.clone(), app.clone(), bytes.clone());
        tokio::spawn(async move {
            match number % 2 {
                0 => put_manifest(&core, &app, &["v1"], &bytes).await.map(drop),
                _ => delete(&core, &app, &digest(&bytes)).await,
            }
        })
    });
    for done in join_all(work).await {
        let done = done.unwrap();
        assert!(matches!(done, Ok(()) | Err(Error::ManifestUnknown(_))), "{done:?}");
    }
    let tagged = scene.count("SELECT COUNT(*) FROM tag").await;
    let lives = i64::from(read_manifest(&scene.core, &app, "v1").await.is_some());
    assert_eq!(tagged, lives, "a tag leads to something");
    let artifacts = scene.rows().await["artifact"];
    assert_eq!(scene.usage("main").await, (1, artifacts, 6));
    if lives == 1 {
        delete(&scene.core, &app, &digest(&bytes)).await.unwrap();
    }
    scene.maintain(8 * DAY).await;
    scene.maintain(10 * DAY).await;
    assert_eq!(scene.usage("main").await, (0, 0, 0));
}
