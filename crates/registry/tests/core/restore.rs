//! What was deleted comes back as it was, whoever pushes, purges or collects meanwhile.

use roadstead_db::{
    DbError, artifact_views,
    audit::By,
    restore::{self, Choice},
    trash,
};
use roadstead_model::{Digest, Place, RegistryName};
use roadstead_registry::{Core, ImageError};
use serde_json::json;

use crate::{
    content::{delete, digest, image, image_with, index, push_image, put_manifest, read_blob, read_manifest},
    property::figures_are_what_the_rows_say,
    scene::{DAY, Scene, gate, maintain, on_both_engines, place},
};

on_both_engines!(
    an_index_comes_back_with_children_referrers_and_tags,
    a_tag_in_the_way_is_asked_about,
    an_immutable_tag_is_not_replaced,
    what_was_pushed_again_gets_its_tags_back,
    a_tag_comes_back_to_its_artifact,
    a_repository_comes_back_as_it_was,
    a_repository_that_lives_again_takes_the_other_one_in,
    a_large_repository_is_taken_in_step_by_step,
    the_time_does_not_end_between_two_steps,
    a_trash_that_is_emptied_between_two_steps,
    two_who_restore_a_large_repository,
    pulls_of_what_was_moved_are_added_up,
    a_registry_comes_back,
    what_is_due_can_not_be_restored,
    blobs_that_were_hidden_meanwhile_are_seen_again,
    a_push_of_the_same_while_it_is_restored,
    a_purge_while_it_is_restored,
    followers_of_a_deletion_that_is_restored_stay,
);

pub(crate) fn by() -> By {
    By::name("tester")
}

pub(crate) fn main_registry() -> RegistryName {
    "main".parse().unwrap()
}

pub(crate) async fn registry_of(core: &Core, at: &Place) -> i64 {
    gate(core, at).await.facts.registry.unwrap().id
}

/// The newest entry of the trash of the registry `main`.
pub(crate) async fn newest(core: &Core) -> i64 {
    let registry = registry_of(core, &place("main/app")).await;
    core.trash(registry, None, 1).await.unwrap()[0].id
}

pub(crate) async fn restore(core: &Core, entry: i64, choice: Choice) -> Result<(), ImageError> {
    let registry = registry_of(core, &place("main/app")).await;
    core.restore((registry, &main_registry()), entry, choice, &by()).await
}

pub(crate) async fn delete_repository(core: &Core, at: &Place) {
    let image = core.image(at.clone()).await.unwrap();
    core.delete_repository(&image, None, &by()).await.unwrap();
}

/// Where a tag leads.
async fn leads(core: &Core, at: &Place, tag: &str) -> Option<Digest> {
    let (_, bytes) = read_manifest(core, at, tag).await?;
    Some(digest(&bytes))
}

async fn an_index_comes_back_with_children_referrers_and_tags(scene: Scene) {
    let app = place("main/app");
    let child = push_image(&scene.core, &app, &[], &[b"config", b"layer"]).await;
    let whole = index(&[&image(&[b"config", b"layer"])], "whole");
    put_manifest(&scene.core, &app, &["v1", "v2"], &whole).await.unwrap();
    let signature = image_with(&[b"config"], Some(&whole), json!({}));
    put_manifest(&scene.core, &app, &[], &signature).await.unwrap();
    delete(&scene.core, &app, &digest(&whole)).await.unwrap();
    assert!(read_manifest(&scene.core, &app, &child.to_string()).await.is_none());
    restore(&scene.core, newest(&scene.core).await, Choice::Ask).await.unwrap();
    for digest in [digest(&whole), child, digest(&signature)] {
        assert!(read_manifest(&scene.core, &app, &digest.to_string()).await.is_some());
    }
    assert_eq!(leads(&scene.core, &app, "v2").await, Some(digest(&whole)));
    figures_are_what_the_rows_say(&scene).await;
    let rows = scene.rows().await;
    assert_eq!((rows["deletion"], rows["deletion_step"]), (0, 0));
    scene.maintain(30 * DAY).await;
    assert_eq!(read_blob(&scene.core, &app, &digest(b"layer")).await.as_deref(), Some(&b"layer"[..]));
    let image = scene.core.image(app).await.unwrap();
    let history = scene.core.tag_history(&image, &"v1".parse().unwrap(), None, 10).await.unwrap();
    assert_eq!(history.iter().map(|it| it.why.as_str()).collect::<Vec<_>>(), ["restore", "delete", "push"]);
}

async fn a_tag_in_the_way_is_asked_about(scene: Scene) {
    let app = place("main/app");
    let first = push_image(&scene.core, &app, &["v1", "v2"], &[b"config", b"layer"]).await;
    delete(&scene.core, &app, &first).await.unwrap();
    let second = push_image(&scene.core, &app, &["v1"], &[b"config", b"more"]).await;
    let entry = newest(&scene.core).await;
    match restore(&scene.core, entry, Choice::Ask).await {
        Err(ImageError::InTheWay(words)) => assert!(words.contains("v1") && !words.contains("v2"), "{words}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(leads(&scene.core, &app, "v2").await, None, "nothing of it is back");
    assert!(read_manifest(&scene.core, &app, &first.to_string()).await.is_none());
    restore(&scene.core, entry, Choice::Keep).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "v1").await, Some(second));
    assert_eq!(leads(&scene.core, &app, "v2").await, Some(first));
    delete(&scene.core, &app, &first).await.unwrap();
    push_image(&scene.core, &app, &["v2"], &[b"config", b"more"]).await;
    restore(&scene.core, newest(&scene.core).await, Choice::Replace).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "v2").await, Some(first));
    figures_are_what_the_rows_say(&scene).await;
}

async fn an_immutable_tag_is_not_replaced(scene: Scene) {
    let app = place("main/app");
    let first = push_image(&scene.core, &app, &["v1"], &[b"config", b"layer"]).await;
    delete(&scene.core, &app, &first).await.unwrap();
    let second = push_image(&scene.core, &app, &["v1"], &[b"config", b"more"]).await;
    let image = scene.core.image(app.clone()).await.unwrap();
    let change = roadstead_registry::RepositoryChange { mutable_tags: Some(false), ..Default::default() };
    scene.core.change_repository(&image, None, change, &by()).await.unwrap();
    let entry = newest(&scene.core).await;
    let refused = restore(&scene.core, entry, Choice::Replace).await;
    assert!(matches!(refused, Err(ImageError::InTheWay(_))), "{refused:?}");
    assert_eq!(leads(&scene.core, &app, "v1").await, Some(second));
    restore(&scene.core, entry, Choice::Keep).await.unwrap();
    assert!(read_manifest(&scene.core, &app, &first.to_string()).await.is_some());
}

async fn what_was_pushed_again_gets_its_tags_back(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config", b"layer"]).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    push_image(&scene.core, &app, &["other"], &[b"config", b"layer"]).await;
    restore(&scene.core, newest(&scene.core).await, Choice::Ask).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "v1").await, Some(pushed));
    figures_are_what_the_rows_say(&scene).await;
    scene.maintain(0).await;
    let rows = scene.rows().await;
    assert_eq!((rows["artifact"], rows["tag"], rows["deletion"]), (1, 2, 0));
    figures_are_what_the_rows_say(&scene).await;
}

async fn a_tag_comes_back_to_its_artifact(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    let image = scene.core.image(app.clone()).await.unwrap();
    scene.core.delete_tag(&image, &"v1".parse().unwrap(), &by()).await.unwrap();
    let entry = newest(&scene.core).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    let without = restore(&scene.core, entry, Choice::Ask).await;
    assert!(matches!(without, Err(ImageError::InTheWay(_))), "{without:?}");
    restore(&scene.core, newest(&scene.core).await, Choice::Ask).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "v1").await, None, "it was gone before its artifact went");
    restore(&scene.core, entry, Choice::Ask).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "v1").await, Some(pushed));
    figures_are_what_the_rows_say(&scene).await;
}

async fn a_repository_comes_back_as_it_was(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config", b"layer"]).await;
    delete_repository(&scene.core, &app).await;
    assert!(scene.core.image(app.clone()).await.is_err());
    assert!(read_manifest(&scene.core, &app, "v1").await.is_none());
    figures_are_what_the_rows_say(&scene).await;
    restore(&scene.core, newest(&scene.core).await, Choice::Ask).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "v1").await, Some(pushed));
    scene.core.image(app.clone()).await.unwrap();
    figures_are_what_the_rows_say(&scene).await;
    delete_repository(&scene.core, &app).await;
    scene.maintain(8 * DAY).await;
    scene.maintain(40 * DAY).await;
    let rows = scene.rows().await;
    assert_eq!((rows["repository"], rows["artifact"], rows["blob"], rows["tag"]), (0, 0, 0, 0));
    assert_eq!(scene.usage("main").await, (0, 0, 0));
}

async fn a_repository_that_lives_again_takes_the_other_one_in(scene: Scene) {
    let app = place("main/app");
    let [both, old] = [&[&b"config"[..], b"both"][..], &[b"config", b"old"]];
    let both = push_image(&scene.core, &app, &["both", "moved"], both).await;
    let old = push_image(&scene.core, &app, &["old", "way"], old).await;
    let gone = push_image(&scene.core, &app, &["gone"], &[b"config", b"gone"]).await;
    delete(&scene.core, &app, &gone).await.unwrap();
    let inner = newest(&scene.core).await;
    delete_repository(&scene.core, &app).await;
    let entry = newest(&scene.core).await;
    push_image(&scene.core, &app, &["again"], &[b"config", b"both"]).await;
    let new = push_image(&scene.core, &app, &["way"], &[b"config", b"new"]).await;
    match restore(&scene.core, entry, Choice::Ask).await {
        Err(ImageError::InTheWay(words)) => assert!(words.contains("way") && !words.contains("old"), "{words}"),
        other => panic!("{other:?}"),
    }
    restore(&scene.core, entry, Choice::Keep).await.unwrap();
    for (tag, digest) in [("both", both), ("moved", both), ("again", both), ("old", old), ("way", new)] {
        assert_eq!(leads(&scene.core, &app, tag).await, Some(digest), "{tag}");
    }
    figures_are_what_the_rows_say(&scene).await;
    restore(&scene.core, inner, Choice::Ask).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "gone").await, Some(gone), "what lay in the trash there lies here");
    scene.maintain(0).await;
    scene.maintain(8 * DAY).await;
    scene.maintain(40 * DAY).await;
    let rows = scene.rows().await;
    assert_eq!((rows["repository"], rows["artifact"], rows["tag"], rows["deletion"]), (1, 4, 6, 0));
    for blob in [&b"config"[..], b"both", b"old", b"new", b"gone"] {
        assert_eq!(read_blob(&scene.core, &app, &digest(blob)).await.as_deref(), Some(blob));
    }
    figures_are_what_the_rows_say(&scene).await;
    let image = scene.core.image(app).await.unwrap();
    let history = scene.core.tag_history(&image, &"old".parse().unwrap(), None, 10).await.unwrap();
    assert_eq!(history.iter().map(|it| it.why.as_str()).collect::<Vec<_>>(), ["restore", "push"]);
}

/// More artifacts, tags and lines of history than one step moves, of which some are there already.
async fn a_large_repository_is_taken_in_step_by_step(scene: Scene) {
    let app = place("main/app");
    push_image(&scene.core, &app, &[], &[b"config", b"layer"]).await;
    let manifest = |number: usize| image_with(&[b"config", b"layer"], None, json!({ "number": number.to_string() }));
    for number in 0..250 {
        let tag = format!("v{number}");
        put_manifest(&scene.core, &app, &[&tag], &manifest(number)).await.unwrap();
    }
    delete_repository(&scene.core, &app).await;
    let entry = newest(&scene.core).await;
    push_image(&scene.core, &app, &["again"], &[b"config", b"layer"]).await;
    for number in 0..120 {
        put_manifest(&scene.core, &app, &[], &manifest(number)).await.unwrap();
    }
    restore(&scene.core, entry, Choice::Ask).await.unwrap();
    for number in [0, 119, 120, 249] {
        assert_eq!(leads(&scene.core, &app, &format!("v{number}")).await, Some(digest(&manifest(number))));
    }
    figures_are_what_the_rows_say(&scene).await;
    scene.maintain(2 * DAY).await;
    let rows = scene.rows().await;
    assert_eq!((rows["artifact"], rows["tag"], rows["deletion"]), (251, 251, 0));
    figures_are_what_the_rows_say(&scene).await;
}

/// A repository of more than two steps in the trash, and one of its name that lives; the entry.
async fn large_one_and_living_one(scene: &Scene) -> i64 {
    let app = place("main/app");
    push_image(&scene.core, &app, &["v"], &[b"config", b"layer"]).await;
    for number in 0..250 {
        let manifest = image_with(&[b"config", b"layer"], None, json!({ "number": number.to_string() }));
        put_manifest(&scene.core, &app, &[], &manifest).await.unwrap();
    }
    delete_repository(&scene.core, &app).await;
    push_image(&scene.core, &app, &["again"], &[b"config", b"layer"]).await;
    newest(&scene.core).await
}

/// Has the database run a statement for each artifact that comes to another repository.
macro_rules! when_one_is_moved {
    ($scene:expr, $sql:literal) => {
        if $scene.is_embedded() {
            let made = concat!("CREATE TRIGGER moved AFTER UPDATE OF repository ON artifact BEGIN ", $sql, "; END");
            $scene.execute(made).await;
        } else {
            $scene
                .execute(concat!(
                    "CREATE FUNCTION moved() RETURNS TRIGGER LANGUAGE plpgsql AS 'BEGIN ",
                    $sql,
                    "; RETURN NULL; END'"
                ))
                .await;
            const MADE: &str =
                "CREATE TRIGGER moved AFTER UPDATE OF repository ON artifact FOR EACH ROW EXECUTE FUNCTION moved()";
            $scene.execute(MADE).await;
        }
    };
}

async fn the_time_does_not_end_between_two_steps(scene: Scene) {
    let entry = large_one_and_living_one(&scene).await;
    // Half a minute goes by with each: more than an hour in all, and less in one step.
    scene.execute("UPDATE deletion SET until = {now} + 3600000000").await;
    when_one_is_moved!(scene, "UPDATE deletion SET until = until - 30000000");
    restore(&scene.core, entry, Choice::Ask).await.unwrap();
    figures_are_what_the_rows_say(&scene).await;
    scene.maintain(2 * DAY).await;
    assert_eq!(scene.rows().await["artifact"], 251);
}

async fn a_trash_that_is_emptied_between_two_steps(scene: Scene) {
    let entry = large_one_and_living_one(&scene).await;
    when_one_is_moved!(scene, "UPDATE deletion SET until = 1");
    let cut = restore(&scene.core, entry, Choice::Ask).await;
    assert!(matches!(&cut, Err(ImageError::InTheWay(words)) if words.contains("not all")), "{cut:?}");
    figures_are_what_the_rows_say(&scene).await;
}

/// Who is slower is told that it is back, or that there is no such entry any more.
async fn two_who_restore_a_large_repository(scene: Scene) {
    let entry = large_one_and_living_one(&scene).await;
    let both = tokio::join!(restore(&scene.core, entry, Choice::Ask), restore(&scene.core, entry, Choice::Ask));
    let fine = |it: &Result<(), ImageError>| matches!(it, Ok(()) | Err(ImageError::Missing(_)));
    assert!(fine(&both.0) && fine(&both.1) && (both.0.is_ok() || both.1.is_ok()), "{both:?}");
    figures_are_what_the_rows_say(&scene).await;
    scene.maintain(2 * DAY).await;
    assert_eq!(scene.rows().await["artifact"], 251);
}

/// What was moved by a restore that was interrupted is pulled in both repositories on one day.
async fn pulls_of_what_was_moved_are_added_up(scene: Scene) {
    let app = place("main/app");
    push_image(&scene.core, &app, &["v1"], &[b"config", b"layer"]).await;
    delete_repository(&scene.core, &app).await;
    push_image(&scene.core, &app, &["again"], &[b"config", b"more"]).await;
    let pulled =
        "INSERT INTO pull_day (repository, day, artifact, pulls) SELECT r.id, 1, a.id, 2 FROM repository r, artifact a";
    assert_eq!(scene.execute(pulled).await, 4);
    restore(&scene.core, newest(&scene.core).await, Choice::Ask).await.unwrap();
    let here = "SELECT COUNT(*) FROM pull_day WHERE pulls = 4
         AND repository = (SELECT id FROM repository WHERE deletion IS NULL)";
    assert_eq!((scene.count(here).await, scene.count("SELECT COUNT(*) FROM pull_day").await), (2, 2));
}

async fn a_registry_comes_back(scene: Scene) {
    let app = place("main/app");
    push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    let registry = registry_of(&scene.core, &app).await;
    scene.core.delete_registry(&main_registry(), &by()).await.unwrap();
    assert!(read_manifest(&scene.core, &app, "v1").await.is_none());
    scene.core.restore_registry(registry, &main_registry(), &by()).await.unwrap();
    assert!(read_manifest(&scene.core, &app, "v1").await.is_some());
    let again = scene.core.restore_registry(registry, &main_registry(), &by()).await;
    assert!(matches!(again, Err(ImageError::Missing(_))), "{again:?}");
    scene.core.delete_registry(&main_registry(), &by()).await.unwrap();
    scene.core.empty_trash_of(registry, &main_registry(), &by()).await.unwrap();
    let late = scene.core.restore_registry(registry, &main_registry(), &by()).await;
    assert!(matches!(late, Err(ImageError::Missing(_))), "{late:?}");
    // Past the life of the uploads, which hold their repository.
    scene.maintain(2 * DAY).await;
    assert_eq!(scene.rows().await["registry"], 0);
}

async fn what_is_due_can_not_be_restored(scene: Scene) {
    let app = place("main/app");
    let first = push_image(&scene.core, &app, &["v1"], &[b"config", b"1"]).await;
    let second = push_image(&scene.core, &app, &["v2"], &[b"config", b"2"]).await;
    delete(&scene.core, &app, &first).await.unwrap();
    let entry = newest(&scene.core).await;
    let late = scene.node(8 * DAY).await;
    assert!(matches!(restore(&late, entry, Choice::Ask).await, Err(ImageError::Missing(_))));
    let registry = registry_of(&scene.core, &app).await;
    assert!(late.trash(registry, None, 10).await.unwrap().is_empty());
    // Ended by hand.
    scene.core.end_deletion((registry, &main_registry()), entry, &by()).await.unwrap();
    assert!(matches!(restore(&scene.core, entry, Choice::Ask).await, Err(ImageError::Missing(_))));
    delete(&scene.core, &app, &second).await.unwrap();
    scene.core.empty_trash_of(registry, &main_registry(), &by()).await.unwrap();
    scene.maintain(0).await;
    assert_eq!(scene.rows().await["artifact"], 0);
}

async fn blobs_that_were_hidden_meanwhile_are_seen_again(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config", b"layer"]).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    scene.core.delete_blob(&gate(&scene.core, &app).await, &digest(b"layer"), &by()).await.unwrap();
    assert!(read_blob(&scene.core, &app, &digest(b"layer")).await.is_none());
    restore(&scene.core, newest(&scene.core).await, Choice::Ask).await.unwrap();
    scene.maintain(30 * DAY).await;
    assert_eq!(read_blob(&scene.core, &app, &digest(b"layer")).await.as_deref(), Some(&b"layer"[..]));
}

/// Brings the artifacts of a deletion back up to the commit, and runs `second` into it.
async fn restore_and<T: Send + 'static>(
    scene: &Scene,
    entry: i64,
    second: impl Future<Output = T> + Send + 'static,
) -> T {
    let app = gate(&scene.core, &place("main/app")).await.facts;
    let (registry, repository) = (app.registry.unwrap().id, app.repository.unwrap());
    let (restored, second) = scene
        .interleave(
            (registry, repository, entry),
            |tx, (registry, repository, entry)| {
                Box::pin(async move {
                    restore::lock(tx, *registry, *entry).await?.expect("it lies in the trash");
                    let living = restore::artifacts(tx, *entry, *repository).await?;
                    let change = roadstead_db::usage::Change::of(*registry, *repository);
                    roadstead_db::usage::add(tx, &roadstead_db::usage::Change { living, ..change }).await?;
                    restore::close(tx, *entry).await
                })
            },
            second,
        )
        .await;
    restored.unwrap();
    second
}

async fn a_push_of_the_same_while_it_is_restored(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &[], &[b"config", b"layer"]).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    let (entry, core) = (newest(&scene.core).await, scene.core.clone());
    let again =
        async move { put_manifest(&core, &place("main/app"), &["v1"], &image(&[b"config", b"layer"])).await.map(drop) };
    restore_and(&scene, entry, again).await.unwrap();
    assert_eq!(leads(&scene.core, &app, "v1").await, Some(pushed));
    scene.maintain(0).await;
    assert_eq!(scene.rows().await["artifact"], 1, "it lives once");
    figures_are_what_the_rows_say(&scene).await;
}

async fn a_purge_while_it_is_restored(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &[], &[b"config", b"layer"]).await;
    delete(&scene.core, &app, &pushed).await.unwrap();
    let (entry, late) = (newest(&scene.core).await, scene.node(8 * DAY).await);
    // To a node that is ahead its time is over.
    let purge = async move {
        let purged = late.db().write(entry, |tx, entry| Box::pin(trash::purge(tx, *entry, 100, DAY))).await;
        purged.map_err(|error: DbError| error).map(drop)
    };
    restore_and(&scene, entry, purge).await.unwrap();
    assert!(read_manifest(&scene.core, &app, &pushed.to_string()).await.is_some());
    figures_are_what_the_rows_say(&scene).await;
}

/// What follows a deletion in the background finds that it was taken back.
async fn followers_of_a_deletion_that_is_restored_stay(scene: Scene) {
    let app = place("main/app");
    let child = push_image(&scene.core, &app, &[], &[b"config", b"layer"]).await;
    let whole = index(&[&image(&[b"config", b"layer"])], "whole");
    put_manifest(&scene.core, &app, &[], &whole).await.unwrap();
    let facts = gate(&scene.core, &app).await.facts;
    let (registry, repository) = (facts.registry.unwrap().id, facts.repository.unwrap());
    let found = artifact_views::show(scene.core.db(), repository, &digest(&whole)).await.unwrap().unwrap();
    let begun = scene.core.db().write((registry, repository, found.id), |tx, (registry, repository, row)| {
        Box::pin(async move {
            let life = DAY;
            let entry = trash::begin(tx, "artifact", *registry, Some(*repository), "app", "tester", life).await?;
            trash::put_artifact(tx, *row, entry).await?;
            Ok::<_, DbError>(entry)
        })
    });
    let (entry, node) = (begun.await.unwrap(), scene.node(0).await);
    restore_and(&scene, entry, async move { maintain(&node).await }).await;
    assert!(read_manifest(&scene.core, &app, &child.to_string()).await.is_some());
    assert!(read_manifest(&scene.core, &app, &digest(&whole).to_string()).await.is_some());
    assert_eq!(scene.rows().await["deletion"], 0);
}
