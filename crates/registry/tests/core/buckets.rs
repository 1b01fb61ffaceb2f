//! Buckets are tried from time to time, by one node; and one can be for one registry alone.

use roadstead_db::{
    DbError,
    audit::By,
    bucket::{self, BucketUse, Pace},
    registry,
};
use roadstead_registry::{Buckets, Core, DEFAULT_BUCKET, RegistryError, RegistryPlan};

use crate::scene::{DAY, SECOND, Scene, on_both_engines};

on_both_engines!(
    a_bucket_is_tried_when_it_is_new_and_from_time_to_time,
    a_bucket_in_trouble_is_tried_again_soon,
    one_node_tries_and_the_next_clears_up_if_it_dies,
    one_registry_has_its_bucket_alone,
    of_two_that_want_a_bucket_at_once_one_has_it,
);

const MINUTE: i64 = 60 * SECOND;

async fn shown(scene: &Scene) -> BucketUse {
    bucket::show(scene.core.db(), DEFAULT_BUCKET).await.unwrap().expect("the default bucket")
}

async fn a_bucket_is_tried_when_it_is_new_and_from_time_to_time(scene: Scene) {
    assert_eq!(shown(&scene).await.checked, None);
    assert_eq!(scene.core.check_due_buckets().await.unwrap(), 1);
    let first = shown(&scene).await;
    assert!(first.checked.is_some() && first.found == bucket::Found::default(), "{first:?}");
    for (ahead, tried) in [(0, 0), (59 * MINUTE, 0), (61 * MINUTE, 1)] {
        assert_eq!(scene.node(ahead).await.check_due_buckets().await.unwrap(), tried, "after {ahead}");
    }
    assert!(shown(&scene).await.checked > first.checked);
    assert_eq!(scene.objects().await, Vec::<String>::new());
}

async fn a_bucket_in_trouble_is_tried_again_soon(scene: Scene) {
    scene.core.check_due_buckets().await.unwrap();
    scene.execute("UPDATE bucket SET trouble = 'it was locked'").await;
    let is_in_trouble = async || {
        registry::show(scene.core.db(), &"main".parse().unwrap()).await.unwrap().expect("a registry").bucket_trouble
    };
    assert!(is_in_trouble().await);
    for (ahead, tried) in [(4 * MINUTE, 0), (6 * MINUTE, 1)] {
        assert_eq!(scene.node(ahead).await.check_due_buckets().await.unwrap(), tried, "after {ahead}");
    }
    assert!(!is_in_trouble().await && shown(&scene).await.found.trouble.is_none());
}

async fn one_node_tries_and_the_next_clears_up_if_it_dies(scene: Scene) {
    let key = scene.bucket.fresh_key();
    let pace = Pace { every: 60 * MINUTE, in_trouble: 5 * MINUTE };
    let begun = scene.core.db().write((scene.core.default_bucket(), key.clone()), move |tx, (row, key)| {
        Box::pin(bucket::begin_check(tx, *row, pace, 15 * MINUTE, key))
    });
    assert_eq!(begun.await.map_err(|error: DbError| error).unwrap(), Some(key.clone()));
    // It wrote this, and then it died.
    scene.bucket.put_small(&key, "left".into(), true).await.unwrap();
    assert_eq!(scene.node(14 * MINUTE).await.check_due_buckets().await.unwrap(), 0);
    assert_eq!(scene.node(16 * MINUTE).await.check_due_buckets().await.unwrap(), 1);
    assert_eq!(scene.objects().await, Vec::<String>::new());
    assert_eq!(scene.count("SELECT COUNT(*) FROM bucket WHERE check_key IS NOT NULL").await, 0);
}

fn plan(project: &str) -> RegistryPlan {
    RegistryPlan {
        project: project.parse().unwrap(),
        bucket: Some("own".to_owned()),
        description: String::new(),
        public_pull: false,
        public_endpoint: true,
        make_project: true,
    }
}

async fn make(core: &Core, name: &str, project: &str) -> Result<(), RegistryError> {
    core.create_registry(&name.parse().unwrap(), plan(project), &By::name("tester")).await.map(drop)
}

fn taken() -> Result<(), RegistryError> {
    Err(RegistryError::BucketTaken("own".to_owned()))
}

async fn one_registry_has_its_bucket_alone(scene: Scene) {
    let (own, _kept) = scene.other_bucket().await;
    let node = scene.node_over(0, Buckets::from(scene.bucket.clone()).and("own", own.clone()).for_one("own")).await;
    make(&node, "first", "home").await.unwrap();
    assert_eq!(make(&node, "second", "new-one").await, taken());
    assert_eq!(scene.count("SELECT COUNT(*) FROM project WHERE name = 'new-one'").await, 0);
    assert_eq!(make(&node, "first", "home").await, Err(RegistryError::Taken("first".parse().unwrap())));
    // It has it in the trash too, and until nothing is left of it.
    node.delete_registry(&"first".parse().unwrap(), &By::name("tester")).await.unwrap();
    assert_eq!(make(&node, "second", "home").await, taken());
    let later = scene.node_over(8 * DAY, Buckets::from(scene.bucket.clone()).and("own", own).for_one("own")).await;
    crate::scene::maintain(&later).await;
    make(&node, "second", "home").await.unwrap();
    let shown = bucket::show(node.db(), "own").await.unwrap().expect("the bucket");
    assert_eq!((shown.registries, shown.registry.as_deref()), (1, Some("second")));
}

/// The first one has made its registry, and has not committed yet, when another node is asked for one in another project.
async fn of_two_that_want_a_bucket_at_once_one_has_it(scene: Scene) {
    let (own, _kept) = scene.other_bucket().await;
    let node = scene.node_over(0, Buckets::from(scene.bucket.clone()).and("own", own).for_one("own")).await;
    let new = registry::NewRegistry {
        project: "home".parse().unwrap(),
        name: "first".parse().unwrap(),
        bucket: node.bucket_row("own").unwrap(),
        alone: true,
        private_id: "first".to_owned(),
        description: String::new(),
        public_pull: false,
        public_endpoint: true,
        by: By::name("tester"),
    };
    let second = {
        let node = node.clone();
        async move { make(&node, "second", "elsewhere").await }
    };
    let (first, second) = scene
        .interleave(
            new,
            |tx, new| {
                Box::pin(async move {
                    assert!(matches!(registry::create(tx, new).await?, registry::Created::Made(_)));
                    Ok(())
                })
            },
            second,
        )
        .await;
    first.unwrap();
    assert_eq!(second, taken());
    assert_eq!(bucket::show(node.db(), "own").await.unwrap().expect("the bucket").registries, 1);
}
