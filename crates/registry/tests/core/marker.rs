//! A bucket and a database that do not belong together are refused at start, with words.

use roadstead_db::{Db, DbError, registry};
use roadstead_registry::{Core, Error};

use crate::{
    content::push_blob,
    scene::{Scene, on_both_engines, place},
};

on_both_engines!(
    another_bucket_is_refused,
    another_database_is_refused,
    the_same_two_are_opened_again,
    nodes_that_start_at_once_agree,
    a_node_that_is_late_takes_no_marker_back,
);

fn words(opened: Result<Core, Error>) -> String {
    match opened {
        Err(Error::Refused(words)) => words,
        Err(other) => panic!("{other:?}"),
        Ok(_) => panic!("it was opened"),
    }
}

async fn another_bucket_is_refused(scene: Scene) {
    push_blob(&scene.core, &place("main/app"), b"layer").await.unwrap();
    let (bucket, _kept) = scene.other_bucket().await;
    let words = words(Core::open(scene.core.db().clone(), bucket, scene.options.clone()).await);
    assert!(words.contains("marker"), "{words}");
}

async fn another_database_is_refused(scene: Scene) {
    let (db, _kept): (Db, _) = scene.other_database().await;
    let words = words(Core::open(db, scene.bucket.clone(), scene.options.clone()).await);
    assert!(words.contains("another Roadstead database"), "{words}");
}

async fn the_same_two_are_opened_again(scene: Scene) {
    push_blob(&scene.core, &place("main/app"), b"layer").await.unwrap();
    let again = scene.node(0).await;
    assert_eq!(again.default_bucket(), scene.core.default_bucket());
}

async fn a_node_that_is_late_takes_no_marker_back(scene: Scene) {
    let bucket = scene.core.default_bucket();
    let late = scene.core.db().write(bucket, |tx, bucket| Box::pin(registry::end_marking(tx, *bucket, false)));
    late.await.map_err(|error: DbError| error).unwrap();
    let (other, _kept) = scene.other_bucket().await;
    let words = words(Core::open(scene.core.db().clone(), other, scene.options.clone()).await);
    assert!(words.contains("marker"), "{words}");
}

async fn nodes_that_start_at_once_agree(scene: Scene) {
    let (db, _kept) = scene.other_database().await;
    let (bucket, _folder) = scene.other_bucket().await;
    let opened =
        futures::future::join_all((0..8).map(|_| Core::open(db.clone(), bucket.clone(), scene.options.clone())));
    for core in opened.await {
        core.expect("the first one's marker is everybody's");
    }
}
