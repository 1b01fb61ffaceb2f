//! The same bytes pushed as two media types.

use bytes::Bytes;
use futures::future::join_all;
use roadstead_model::manifest::{DOCKER_MANIFEST, OCI_MANIFEST};

use crate::{
    content::{digest, image, push_blob, put_manifest_as, read_manifest},
    scene::{DAY, Scene, maintain, on_both_engines, place},
};

on_both_engines!(
    each_repository_serves_the_type_it_was_pushed_with,
    in_one_repository_the_later_type_wins,
    many_pushes_with_both_types_at_once_end_well,
);

async fn manifest_in(scene: &Scene, places: &[&str]) -> Bytes {
    for text in places {
        push_blob(&scene.core, &place(text), b"config").await.unwrap();
    }
    image(&[b"config"])
}

async fn each_repository_serves_the_type_it_was_pushed_with(scene: Scene) {
    scene.make_registry("tenant").await;
    let bytes = manifest_in(&scene, &["main/app", "tenant/app"]).await;
    for (text, media_type) in [("main/app", OCI_MANIFEST), ("tenant/app", DOCKER_MANIFEST)] {
        put_manifest_as(&scene.core, &place(text), &["v1"], &bytes, Some(media_type)).await.unwrap();
    }
    assert_eq!(read_manifest(&scene.core, &place("main/app"), "v1").await.unwrap().0, OCI_MANIFEST);
    let theirs = read_manifest(&scene.core, &place("tenant/app"), &digest(&bytes).to_string()).await.unwrap();
    assert_eq!(theirs, (DOCKER_MANIFEST.to_owned(), bytes));
    assert_eq!(scene.rows().await["manifest"], 1);
}

async fn in_one_repository_the_later_type_wins(scene: Scene) {
    let bytes = manifest_in(&scene, &["main/app"]).await;
    put_manifest_as(&scene.core, &place("main/app"), &["v1"], &bytes, Some(OCI_MANIFEST)).await.unwrap();
    put_manifest_as(&scene.core, &place("main/app"), &["v2"], &bytes, Some(DOCKER_MANIFEST)).await.unwrap();
    for tag in ["v1", "v2"] {
        assert_eq!(read_manifest(&scene.core, &place("main/app"), tag).await.unwrap().0, DOCKER_MANIFEST);
    }
    assert_eq!(scene.usage("main").await, (1, 1, 6));
    maintain(&scene.node(3 * DAY).await).await;
    assert_eq!(scene.rows().await["artifact_blob"], 1, "it holds its blob still");
}

async fn many_pushes_with_both_types_at_once_end_well(scene: Scene) {
    let bytes = manifest_in(&scene, &["main/app"]).await;
    let app = place("main/app");
    let pushes = (0..24).map(|number| {
        let media_type = if number % 2 == 0 { OCI_MANIFEST } else { DOCKER_MANIFEST };
        put_manifest_as(&scene.core, &app, &[], &bytes, Some(media_type))
    });
    for pushed in join_all(pushes).await {
        pushed.expect("no push is in another's way");
    }
    let rows = scene.rows().await;
    assert_eq!((rows["artifact"], rows["artifact_edge"], rows["artifact_blob"]), (1, 1, 1));
}
