//! Lists of what there is: pages are whole and bounded, figures are right, pulls are counted.

use roadstead_db::{
    audit::By,
    figures::{self, Order},
    tag_views,
};
use roadstead_model::Reference;
use roadstead_registry::{ArtifactsAsked, Days, ImageError, Options};

use crate::{
    content::{digest, image, push_blob, push_image, put_manifest},
    scene::{DAY, Scene, gate, maintain, on_both_engines, place},
};

on_both_engines!(
    pages_of_each_order_hold_all_repositories_once,
    a_search_that_finds_little_ends_its_page,
    a_repository_without_figures_comes_on_the_list,
    pulls_are_counted_by_artifact_day_and_repository,
    a_tag_by_hand_obeys_the_rules_of_pushes,
    artifacts_are_found_by_kind_tag_and_digest,
);

async fn pages_of_each_order_hold_all_repositories_once(scene: Scene) {
    let names = ["a", "b-c", "b/c", "d_e", "z"];
    for (number, name) in names.iter().enumerate() {
        let at = place(&format!("main/{name}"));
        for layer in 0..number {
            push_image(&scene.core, &at, &[&format!("v{layer}")], &[b"config", format!("{layer}").as_bytes()]).await;
        }
        push_image(&scene.core, &at, &["v"], &[b"config"]).await;
    }
    push_blob(&scene.core, &place("main/no-artifact"), b"blob").await.unwrap();
    maintain(&scene.core).await;
    let registry = gate(&scene.core, &place("main/a")).await.facts.registry.unwrap().id;
    for (order, descending) in
        [Order::Name, Order::Changed, Order::Pulls, Order::Size].map(|it| [(it, false), (it, true)]).concat()
    {
        let (mut seen, mut after) = (Vec::new(), None);
        loop {
            let asked = figures::Asked { search: "", order, descending, after, limit: 2 };
            let page = scene.core.repositories(registry, &asked).await.unwrap();
            let Some(last) = page.last() else { break };
            after = Some(last.key.clone());
            seen.extend(page.into_iter().map(|row| row.found.expect("no search").name));
        }
        let mut expected: Vec<_> = names.iter().map(|name| (*name).to_owned()).collect();
        if descending {
            expected.reverse();
        }
        assert_eq!(seen, expected, "{order:?} {descending}");
    }
}

async fn a_search_that_finds_little_ends_its_page(scene: Scene) {
    let app = place("main/app");
    push_image(&scene.core, &app, &["V1.0", "v1_0", "v100"], &[b"config"]).await;
    let repository = gate(&scene.core, &app).await.facts.repository.unwrap();
    let search = async |search: &str| {
        let asked = tag_views::Asked { search, by_change: false, descending: false, after: None, limit: 10 };
        let found = tag_views::list(scene.core.db(), repository, &asked).await.unwrap();
        found.into_iter().filter_map(|row| row.found).map(|tag| tag.name).collect::<Vec<_>>()
    };
    assert_eq!(search("1.").await, ["V1.0"]);
    assert_eq!(search("1_").await, ["v1_0"], "no pattern");
    assert_eq!(search("v1").await, ["V1.0", "v100", "v1_0"], "whatever the case");
    assert_eq!(search("%").await, [""; 0]);
    // More tags than a page looks at.
    scene
        .execute(
            "INSERT INTO tag (repository, name, artifact, since, set_by)
             WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10010)
             SELECT t.repository, 'm' || CAST(100000 + n.i AS TEXT), t.artifact, n.i, 'x' FROM n, tag t WHERE t.name = 'v100'",
        )
        .await;
    let asked = |after| tag_views::Asked { search: "v1", by_change: false, descending: false, after, limit: 3 };
    let first = tag_views::list(scene.core.db(), repository, &asked(None)).await.unwrap();
    let last = first.last().unwrap();
    assert!(last.found.is_none() && last.key.1 == "m109999" && first.len() == 2, "{first:?}");
    let rest = tag_views::list(scene.core.db(), repository, &asked(Some(last.key.clone()))).await.unwrap();
    assert_eq!(rest.into_iter().filter_map(|row| row.found).map(|tag| tag.name).collect::<Vec<_>>(), ["v100", "v1_0"]);
}

/// A node of before the figures made it, while this version was already there.
async fn a_repository_without_figures_comes_on_the_list(scene: Scene) {
    let app = place("main/app");
    push_blob(&scene.core, &app, b"blob").await.unwrap();
    maintain(&scene.core).await;
    scene.execute("DELETE FROM repository_figures").await;
    push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    maintain(&scene.core).await;
    let registry = gate(&scene.core, &app).await.facts.registry.unwrap().id;
    let asked = figures::Asked { search: "", order: Order::Name, descending: false, after: None, limit: 2 };
    let page = scene.core.repositories(registry, &asked).await.unwrap();
    let listed: Vec<_> =
        page.into_iter().filter_map(|row| row.found).map(|it| (it.name, it.artifacts, it.tags)).collect();
    assert_eq!(listed, [("app".to_owned(), 1, 1)]);
    let image = scene.core.image(app).await.unwrap();
    assert_eq!(scene.core.repository(&image).await.unwrap().0.name, "app");
}

async fn pulls_are_counted_by_artifact_day_and_repository(scene: Scene) {
    let app = place("main/app");
    let pushed = push_image(&scene.core, &app, &["v1"], &[b"config"]).await;
    let tomorrow = scene.node(DAY).await;
    for (core, references) in [(&scene.core, ["v1", "v1"]), (&tomorrow, ["v1", &pushed.to_string()])] {
        for reference in references {
            let reference = match reference.parse() {
                Ok(digest) => Reference::Digest(digest),
                Err(_) => Reference::Tag(reference.parse().unwrap()),
            };
            let (gate, manifest) = core.find_manifest(&app, &reference, None).await.unwrap();
            core.count_pull(&gate, &manifest.unwrap());
        }
        core.write_pulls().await.unwrap();
        core.write_pulls().await.unwrap();
    }
    let image = scene.core.image(app).await.unwrap();
    let shown = scene.core.artifact(&image, &pushed).await.unwrap().artifact;
    let now = tomorrow.db().now().await.unwrap();
    assert!(shown.pulls == 4 && shown.pulled.is_some_and(|pulled| (now - pulled).abs() < DAY / 2), "{shown:?}");
    assert_eq!(scene.core.repository(&image).await.unwrap().0.pulls, 4);
    assert_eq!(scene.count("SELECT COUNT(*) FROM pull_day WHERE pulls = 2").await, 2);
    // Both days, which are the last ones for the later node; the earlier one knows nothing of tomorrow.
    let by_day = tomorrow.pulls_by_day(&image, Days::default()).await.unwrap();
    let today = scene.core.db().now().await.unwrap().div_euclid(DAY);
    assert_eq!((by_day.len(), &by_day[27..]), (30, &[(today - 1, 0), (today, 2), (today + 1, 2)][..]));
    let range = |from, to| Days { from: Some(from), to: Some(to) };
    let shown = scene.core.pulls_by_day(&image, range(today - 1, today + 1)).await.unwrap();
    assert_eq!(shown, [(today - 1, 0), (today, 2)]);
    // Days of which nothing is kept are not shown as days without pulls.
    let forgetful = scene.node_with(DAY, Options { history_life: 2 * DAY, ..scene.options.clone() }).await;
    let shown = forgetful.pulls_by_day(&image, Days::default()).await.unwrap();
    assert_eq!(shown, [(today - 1, 0), (today, 2), (today + 1, 2)]);
    for wrong in [range(today, today - 1), range(today - 366, today)] {
        let refused = scene.core.pulls_by_day(&image, wrong).await;
        assert!(matches!(refused, Err(ImageError::Invalid("from", _))), "{refused:?}");
    }
    maintain(&scene.core).await;
    assert_eq!(scene.core.repository(&image).await.unwrap().0.pulls, 4, "the same when the changes are folded");
    scene.maintain(400 * DAY).await;
    assert_eq!(scene.count("SELECT COUNT(*) FROM pull_day").await, 0, "by age");
}

async fn a_tag_by_hand_obeys_the_rules_of_pushes(scene: Scene) {
    let (app, by) = (place("main/app"), By::name("tester"));
    let first = push_image(&scene.core, &app, &["v1"], &[b"config", b"1"]).await;
    let second = push_image(&scene.core, &app, &[], &[b"config", b"2"]).await;
    let image = scene.core.image(app).await.unwrap();
    let [v1, v2] = ["v1", "v2"].map(|tag| tag.parse().unwrap());
    assert!(scene.core.set_tag(&image, &v2, &first, true, &by).await.unwrap());
    assert!(matches!(scene.core.set_tag(&image, &v2, &first, true, &by).await, Err(ImageError::Exists("tag"))));
    assert!(!scene.core.set_tag(&image, &v2, &second, false, &by).await.unwrap());
    let absent = digest(b"absent");
    assert!(matches!(scene.core.set_tag(&image, &v2, &absent, false, &by).await, Err(ImageError::Missing("artifact"))));
    let change = roadstead_registry::RepositoryChange { mutable_tags: Some(false), ..Default::default() };
    scene.core.change_repository(&image, None, change, &by).await.unwrap();
    let refused = scene.core.set_tag(&image, &v1, &second, false, &by).await;
    assert!(matches!(refused, Err(ImageError::Core(roadstead_registry::Error::TagImmutable(_)))), "{refused:?}");
    assert!(!scene.core.set_tag(&image, &v1, &first, false, &by).await.unwrap(), "where it leads already");
    let history = scene.core.tag_history(&image, &v2, None, 10).await.unwrap();
    let led: Vec<_> = history.iter().map(|it| (it.why.as_str(), it.from, it.to)).collect();
    assert_eq!(led, [("create", Some(first), Some(second)), ("create", None, Some(first))]);
}

async fn artifacts_are_found_by_kind_tag_and_digest(scene: Scene) {
    let app = place("main/app");
    let tagged = push_image(&scene.core, &app, &["v1"], &[b"config", b"1"]).await;
    let untagged = push_image(&scene.core, &app, &[], &[b"config", b"2"]).await;
    let whole = crate::content::index(&[&image(&[b"config", b"1"])], "whole");
    put_manifest(&scene.core, &app, &["multi"], &whole).await.unwrap();
    let image = scene.core.image(app).await.unwrap();
    let find = async |asked: ArtifactsAsked| {
        let found = scene.core.artifacts(&image, ArtifactsAsked { limit: 10, ..asked }).await.unwrap();
        found.into_iter().filter_map(|row| row.found).map(|it| it.digest).collect::<Vec<_>>()
    };
    let asked = ArtifactsAsked::default;
    assert_eq!(find(asked()).await, [digest(&whole), untagged, tagged]);
    assert_eq!(find(ArtifactsAsked { kind: "index".to_owned(), ..asked() }).await, [digest(&whole)]);
    assert_eq!(find(ArtifactsAsked { tagged: Some(false), ..asked() }).await, [untagged]);
    assert_eq!(find(ArtifactsAsked { search: tagged.hex()[..12].to_owned(), ..asked() }).await, [tagged]);
    assert_eq!(find(ArtifactsAsked { search: tagged.to_string(), tagged: Some(false), ..asked() }).await, []);
}
