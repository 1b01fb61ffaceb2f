//! A registry that is deleted: nothing comes into it any more, its name stays taken, and after its time nothing of it is left. And what
//! is listed of all of them.

use roadstead_db::{DbError, facts::View, registry};
use roadstead_registry::{CatalogOf, Core, Error, MountFrom};

use crate::{
    content::{
        body, delete, digest, image, image_with, index, push_blob, push_image, put_manifest, read_blob, slow_body,
    },
    scene::{DAY, Scene, gate, maintain, on_both_engines, place, until},
};

on_both_engines!(
    nothing_comes_into_a_registry_in_the_trash,
    a_push_that_runs_into_the_deletion_is_refused,
    a_deletion_waits_for_a_push_that_was_first,
    the_name_stays_taken_until_the_end_of_the_trash,
    after_its_time_no_row_of_it_is_left,
    an_upload_under_way_holds_its_registry_until_it_expires,
    pages_of_the_catalog_go_over_all_registries,
);

async fn delete_registry(core: &Core, name: &str) -> bool {
    let deleted = core.db().write(name.to_owned(), |tx, name| {
        Box::pin(async {
            registry::delete(tx, &name.parse().unwrap(), &roadstead_db::audit::By::name("tester"), 7 * DAY).await
        })
    });
    deleted.await.map_err(|error: DbError| error).unwrap()
}

async fn nothing_comes_into_a_registry_in_the_trash(scene: Scene) {
    scene.make_registry("other").await;
    let (app, source) = (place("main/app"), place("other/app"));
    push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    push_blob(&scene.core, &source, b"layer").await.unwrap();
    // All of these requests had begun before.
    let core = &scene.core;
    let (held, from) = (gate(core, &app).await, gate(core, &source).await);
    let begun = core.begin_upload(&held, &app, None).unwrap();
    let (sender, asked, slow) = slow_body();
    let finishing = tokio::spawn({
        let (core, held, id) = (core.clone(), held.clone(), core.begin_upload(&held, &app, None).unwrap().id);
        async move { core.finish_upload(&held, &place("main/app"), &id, &digest(b"late"), None, slow).await }
    });
    sender.send(Ok(b"late"[..].into())).unwrap();
    until("the chunk was taken", async || asked.count() >= 2).await;

    assert!(delete_registry(core, "main").await);
    assert!(!delete_registry(core, "main").await, "once is enough");
    drop(sender);
    assert!(matches!(finishing.await.unwrap(), Err(Error::NameUnknown)));
    let finished = core.finish_upload(&held, &app, &begun.id, &digest(b"late"), None, body("late")).await;
    assert!(matches!(finished, Err(Error::NameUnknown)), "{finished:?}");
    assert!(matches!(core.upload_whole(&held, &app, &digest(b"x"), body("x")).await, Err(Error::NameUnknown)));
    let late = core.begin_upload(&held, &app, None).unwrap();
    let appended = core.append(&held, &app, &late.id, None, body("late")).await;
    assert!(matches!(appended, Err(Error::NameUnknown)), "{appended:?}");
    assert!(matches!(core.begin_upload(&gate(core, &app).await, &app, None), Err(Error::NameUnknown)));
    assert!(!core.mount(&held, &place("main/new"), &digest(b"layer"), MountFrom::Place(&from)).await.unwrap());
    let push = roadstead_registry::ManifestPush {
        media_type: None,
        body: image_with(&[b"config"], None, serde_json::json!({ "late": "yes" })),
        digest: None,
        tags: vec!["late".parse().unwrap()],
        by: "tester".to_owned(),
    };
    assert!(matches!(core.put_manifest(&held, &app, push).await, Err(Error::NameUnknown)));
    let manifest = digest(&image(&[b"config"]));
    let deleted = core
        .delete_manifest(&held, &roadstead_model::Reference::Digest(manifest), &roadstead_db::audit::By::name("tester"))
        .await;
    assert!(matches!(deleted, Err(Error::NameUnknown)));
    assert!(matches!(
        core.delete_blob(&held, &digest(b"config"), &roadstead_db::audit::By::name("tester")).await,
        Err(Error::NameUnknown)
    ));

    assert!(gate(core, &app).await.facts.registry.is_none());
    assert!(read_blob(core, &app, &digest(b"config")).await.is_none());
    let rows = scene.rows().await;
    assert_eq!((rows["artifact"], rows["tag"], rows["blob"], rows["repository"]), (1, 1, 2, 2));
}

async fn a_push_that_runs_into_the_deletion_is_refused(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"config").await.unwrap();
    let core = scene.core.clone();
    let held = gate(&core, &app).await;
    let push = async move {
        let bytes = image(&[b"config"]);
        let push = roadstead_registry::ManifestPush {
            media_type: None,
            body: bytes,
            digest: None,
            tags: vec!["v1".parse().unwrap()],
            by: "tester".to_owned(),
        };
        core.put_manifest(&held, &app, push).await
    };
    let (deleted, pushed) = scene
        .interleave(
            (),
            |tx, ()| {
                Box::pin(async {
                    registry::delete(tx, &"main".parse().unwrap(), &roadstead_db::audit::By::name("tester"), DAY)
                        .await
                        .map(drop)
                })
            },
            push,
        )
        .await;
    deleted.unwrap();
    assert!(matches!(pushed, Err(Error::NameUnknown)));
    assert_eq!(scene.rows().await["artifact"], 0);
}

async fn a_deletion_waits_for_a_push_that_was_first(scene: Scene) {
    push_blob(&scene.core, &place("main/app"), b"config").await.unwrap();
    let row = gate(&scene.core, &place("main/app")).await.facts.registry.unwrap().id;
    let core = scene.core.clone();
    let (made, deleted) = scene
        .interleave(
            row,
            |tx, row| Box::pin(async { roadstead_db::repository::find_or_make(tx, *row, "new").await.map(drop) }),
            async move { delete_registry(&core, "main").await },
        )
        .await;
    made.unwrap();
    assert!(deleted);
    assert_eq!(scene.rows().await["repository"], 2);
}

async fn the_name_stays_taken_until_the_end_of_the_trash(scene: Scene) {
    push_image(&scene.core, &place("main/app"), &["v1"], &[b"config"]).await;
    delete_registry(&scene.core, "main").await;
    let again = async |core: Core| {
        let new = registry::NewRegistry {
            project: "home".parse().unwrap(),
            name: "main".parse().unwrap(),
            bucket: core.default_bucket(),
            alone: false,
            private_id: "again".to_owned(),
            description: String::new(),
            public_pull: false,
            public_endpoint: true,
            by: roadstead_db::audit::By::name("test"),
        };
        let made = core.db().write(new, |tx, new| Box::pin(registry::create(tx, new))).await;
        matches!(made.map_err(|error: DbError| error).unwrap(), registry::Created::Made(_))
    };
    scene.maintain(6 * DAY).await;
    assert!(!again(scene.core.clone()).await);
    scene.maintain(8 * DAY).await;
    assert!(again(scene.core.clone()).await);
    assert!(gate(&scene.core, &place("main/app")).await.facts.repository.is_none(), "nothing of the old one is in it");
    assert_eq!(scene.usage("main").await, (0, 0, 0));
}

async fn after_its_time_no_row_of_it_is_left(scene: Scene) {
    scene.make_registry("other").await;
    push_image(&scene.core, &place("other/app"), &["v1"], &[b"config"]).await;
    scene.maintain(8 * DAY).await;
    scene.execute("DELETE FROM event").await;
    let before = scene.rows().await;

    scene.make_registry("doomed").await;
    let (app, more) = (place("doomed/app"), place("doomed/more"));
    let child = push_image(&scene.core, &app, &[], &[b"config", b"layer"]).await;
    put_manifest(&scene.core, &app, &["v1"], &index(&[&image(&[b"config", b"layer"])], "top")).await.unwrap();
    let trashed = push_image(&scene.core, &more, &["v1"], &[b"config", b"more"]).await;
    delete(&scene.core, &more, &trashed).await.unwrap();
    push_blob(&scene.core, &more, b"without an artifact").await.unwrap();
    let upload = scene.core.begin_upload(&gate(&scene.core, &app).await, &app, None).unwrap();
    scene.core.append(&gate(&scene.core, &app).await, &app, &upload.id, None, body("half")).await.unwrap();
    assert!(delete_registry(&scene.core, "doomed").await);
    assert!(read_blob(&scene.core, &app, &child).await.is_none());

    let later = scene.node(8 * DAY).await;
    maintain(&later).await;
    // Uploads that ended on the way let go of their repositories, and the events have their own time.
    maintain(&later).await;
    scene.execute("DELETE FROM event").await;
    let mut after = scene.rows().await;
    let removals = after.insert("object_removal", 0).unwrap();
    assert_eq!(removals, 3, "the objects of its own blobs are due after the recovery window");
    assert_eq!(after, before);
    assert_eq!(read_blob(&scene.core, &place("other/app"), &digest(b"config")).await.unwrap(), b"config");
    maintain(&scene.node(16 * DAY).await).await;
    assert_eq!(scene.objects().await.len(), 1);
}

async fn an_upload_under_way_holds_its_registry_until_it_expires(scene: Scene) {
    let app = place("main/app");
    let upload = scene.core.begin_upload(&gate(&scene.core, &app).await, &app, None).unwrap();
    scene.core.append(&gate(&scene.core, &app).await, &app, &upload.id, None, body("half")).await.unwrap();
    delete_registry(&scene.core, "main").await;
    let options = roadstead_registry::Options { upload_life: 30 * DAY, ..scene.options.clone() };
    maintain(&scene.node_with(8 * DAY, options).await).await;
    assert_eq!(scene.rows().await["registry"], 1);
    let later = scene.node(9 * DAY).await;
    maintain(&later).await;
    maintain(&later).await;
    let rows = scene.rows().await;
    assert_eq!((rows["registry"], rows["repository"], rows["upload"]), (0, 0, 0));
    assert_eq!(scene.objects().await, Vec::<String>::new());
}

async fn pages_of_the_catalog_go_over_all_registries(scene: Scene) {
    // By bytes the slash is part of the order: `aaa-b/x` comes before `aaa/x`.
    let all = ["aaa-b/x", "aaa-b/y/z", "aaa/x", "bbb/x", "bbb/y", "cc0/x", "cc1/x", "cc2/x", "cc3/x", "ddd/x"];
    for registry in ["ddd", "cc3", "cc2", "cc1", "cc0", "bbb", "aaa", "aaa-b", "empty"] {
        scene.make_registry(registry).await;
    }
    for name in all {
        push_image(&scene.core, &place(name), &[], &[b"config"]).await;
    }
    for limit in 1..=all.len() + 1 {
        let (mut listed, mut last) = (Vec::<String>::new(), None);
        loop {
            let page = scene.core.catalog(&CatalogOf::Region, View::Public, last.as_deref(), limit).await.unwrap();
            assert!(page.names.len() <= limit && (page.names.len() == limit || !page.more), "{page:?}");
            listed.extend(page.names);
            if !page.more {
                break;
            }
            last = listed.last().cloned();
        }
        assert_eq!(listed, all, "in pages of {limit}");
    }
    let after = scene.core.catalog(&CatalogOf::Region, View::Public, Some("bbb"), 2).await.unwrap();
    assert_eq!(after.names, ["bbb/x", "bbb/y"], "a name without a slash is before all of its registry");
}
