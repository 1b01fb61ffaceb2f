//! Whatever several do at once in whatever order: what lives is whole, and when all is deleted nothing is left.

use futures::future::join_all;
use rand::{RngExt as _, SeedableRng, rngs::StdRng};
use roadstead_db::params;
use roadstead_model::{Digest, Place};
use roadstead_registry::{Core, Error, MountFrom};

use crate::{
    content::{delete, digest, image_with, index, push_blob, put_manifest, read_blob, read_manifest},
    scene::{DAY, Scene, gate, maintain, on_both_engines, place},
};

on_both_engines!(what_lives_is_whole_and_in_the_end_nothing_is_left);

const TASKS: u64 = 5;
const STEPS: usize = 40;
const BLOBS: [&[u8]; 3] = [b"one", b"three", b"seven"];
const PLACES: [&str; 3] = ["main/a", "main/b", "other/c"];

/// The manifests of the test: images over one or two blobs, a referrer, an index over the first two.
fn manifest(number: usize) -> bytes::Bytes {
    let images = |number: usize| match number {
        0 => image_with(&[BLOBS[0]], None, serde_json::json!({})),
        1 => image_with(&[BLOBS[0], BLOBS[1]], None, serde_json::json!({})),
        _ => image_with(&[BLOBS[1], BLOBS[2]], None, serde_json::json!({})),
    };
    match number {
        0..=2 => images(number),
        3 => image_with(&[BLOBS[0]], Some(&images(0)), serde_json::json!({ "signature": "yes" })),
        _ => index(&[&images(0), &images(1)], "top"),
    }
}

/// What a client may be answered with in such a crowd.
fn is_expected(error: &Error) -> bool {
    matches!(
        error,
        Error::NameUnknown
            | Error::BlobUnknown(_)
            | Error::BlobHeld
            | Error::ManifestUnknown(_)
            | Error::ManifestBlobUnknown(_)
            | Error::UploadBusy
            | Error::UploadUnknown
    )
}

async fn step(core: &Core, random: &mut StdRng) -> Result<(), Error> {
    let at = place(PLACES[random.random_range(0..PLACES.len())]);
    let blob = BLOBS[random.random_range(0..BLOBS.len())];
    let bytes = manifest(random.random_range(0..5));
    match random.random_range(0..100) {
        0..30 => push_blob(core, &at, blob).await.map(drop),
        30..60 => {
            let tags: &[&str] = if random.random() { &["latest"] } else { &[] };
            put_manifest(core, &at, tags, &bytes).await.map(drop)
        }
        60..70 => delete(core, &at, &digest(&bytes)).await,
        70..78 => {
            core.delete_blob(&gate(core, &at).await, &digest(blob), &roadstead_db::audit::By::name("tester")).await
        }
        78..85 => {
            let from = gate(core, &place(PLACES[random.random_range(0..PLACES.len())])).await;
            core.mount(&gate(core, &at).await, &at, &digest(blob), MountFrom::Place(&from)).await.map(drop)
        }
        85..90 => core.mount(&gate(core, &at).await, &at, &digest(blob), MountFrom::Registry).await.map(drop),
        90..94 => {
            let (gate, found) = core.find_blob(&at, &digest(blob), None).await?;
            match found {
                Some(found) => core.keep_blob(&gate, &found).await.map(drop),
                None => Ok(()),
            }
        }
        _ => core.maintain_once().await.map(drop),
    }
}

/// Digests of all artifacts that live, with their places.
async fn living(core: &Core) -> Vec<(Place, Digest)> {
    let sql = "SELECT g.name, r.name, m.digest FROM artifact a JOIN repository r ON r.id = a.repository
               JOIN registry g ON g.id = r.registry JOIN manifest m ON m.id = a.manifest WHERE a.deletion IS NULL";
    let rows = core.db().query(sql, params![], |row| {
        Ok((format!("{}/{}", row.get::<String>(0)?, row.get::<String>(1)?), row.get::<Vec<u8>>(2)?))
    });
    let rows = rows.await.unwrap();
    rows.iter().map(|(at, stored)| (place(at), Digest::from_stored(stored).unwrap())).collect()
}

/// Every blob of every living artifact can be read; tags lead to living artifacts; usage is what the rows say.
async fn all_is_whole(scene: &Scene) {
    for (at, artifact) in living(&scene.core).await {
        let (_, bytes) = read_manifest(&scene.core, &at, &artifact.to_string()).await.expect("its bytes");
        for blob in BLOBS {
            // An index names manifests only.
            let named = String::from_utf8_lossy(&bytes).contains(&digest(blob).to_string());
            if named {
                assert_eq!(read_blob(&scene.core, &at, &digest(blob)).await.as_deref(), Some(blob), "{at} {artifact}");
            }
        }
    }
    let astray = "SELECT COUNT(*) FROM tag t JOIN artifact a ON a.id = t.artifact WHERE a.deletion IS NOT NULL";
    assert_eq!(scene.count(astray).await, 0);
    for name in ["main", "other"] {
        let (repositories, artifacts, bytes) = scene.usage(name).await;
        let counted = "SELECT CAST(COUNT(DISTINCT a.repository) AS BIGINT), CAST(COUNT(a.id) AS BIGINT), CAST(COALESCE(
            (SELECT SUM(b.size) FROM registry_blob x JOIN blob b ON b.id = x.blob JOIN registry h ON h.id = x.registry WHERE h.name = $1),
            0) AS BIGINT)
            FROM artifact a JOIN repository r ON r.id = a.repository JOIN registry g ON g.id = r.registry WHERE g.name = $1";
        let counted = scene
            .core
            .db()
            .query_opt(counted, params![name], |row| Ok((row.get::<i64>(0)?, row.get::<i64>(1)?, row.get::<i64>(2)?)));
        assert_eq!((repositories, artifacts, bytes), counted.await.unwrap().unwrap(), "{name}");
    }
    figures_are_what_the_rows_say(scene).await;
}

/// The figures of each repository and of the registries, whatever is folded of them.
pub(crate) async fn figures_are_what_the_rows_say(scene: &Scene) {
    let sql = "SELECT r.id, f.tags, f.artifacts, f.bytes, f.image_bytes, CASE WHEN f.listed_in = r.registry THEN 1 ELSE 0 END,
         COALESCE(c.tags, 0), COALESCE(c.living, 0), COALESCE(c.own_bytes, 0), COALESCE(c.image_bytes, 0),
         (SELECT COUNT(*) FROM tag t WHERE t.repository = r.id),
         (SELECT COUNT(*) FROM artifact a WHERE a.repository = r.id AND a.deletion IS NULL),
         COALESCE((SELECT CAST(SUM(b.size) AS BIGINT) FROM repository_blob l JOIN blob b ON b.id = l.blob WHERE l.repository = r.id), 0),
         COALESCE((SELECT CAST(SUM(a.size) AS BIGINT) FROM artifact a WHERE a.repository = r.id), 0)
         + COALESCE((SELECT CAST(SUM(b.size) AS BIGINT) FROM artifact a JOIN artifact_blob h ON h.artifact = a.id JOIN blob b ON b.id = h.blob
             WHERE a.repository = r.id), 0),
         CASE WHEN r.deletion IS NULL AND EXISTS (SELECT 1 FROM artifact a WHERE a.repository = r.id) THEN 1 ELSE 0 END
         FROM repository r JOIN repository_figures f ON f.repository = r.id LEFT JOIN (
             SELECT repository, CAST(SUM(tags) AS BIGINT) AS tags, CAST(SUM(living) AS BIGINT) AS living,
             CAST(SUM(own_bytes) AS BIGINT) AS own_bytes, CAST(SUM(image_bytes) AS BIGINT) AS image_bytes
             FROM usage_change GROUP BY repository) AS c ON c.repository = r.id";
    let rows = scene
        .core
        .db()
        .query(sql, params![], |row| (0..15).map(|column| row.get::<i64>(column)).collect::<Result<Vec<_>, _>>());
    let rows = rows.await.unwrap();
    assert_eq!(i64::try_from(rows.len()).unwrap(), scene.count("SELECT COUNT(*) FROM repository").await);
    let mut sums = (0, 0);
    for row in rows {
        let shown: Vec<i64> = (1..5).map(|column| row[column] + row[column + 5]).chain([row[5]]).collect();
        assert_eq!(shown, row[10..], "tags, artifacts, bytes, bytes of images, listed of repository {}", row[0]);
        sums = (sums.0 + row[10], sums.1 + row[13]);
    }
    let all = roadstead_db::registry::list(scene.core.db(), None, "", 100).await.unwrap();
    let shown = all.iter().fold((0, 0), |sum, one| (sum.0 + one.usage.tags, sum.1 + one.usage.image_bytes));
    assert_eq!(shown, sums, "tags and bytes of images of all registries");
}

async fn what_lives_is_whole_and_in_the_end_nothing_is_left(scene: Scene) {
    scene.make_registry("other").await;
    let seed = std::env::var("ROADSTEAD_TEST_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(rand::random);
    println!("ROADSTEAD_TEST_SEED={seed}");
    // Nothing has time: what can be taken is taken at once.
    let hasty =
        roadstead_registry::Options { collect_grace: 0, recovery_window: 0, trash_life: 0, ..scene.options.clone() };
    let core = scene.node_with(0, hasty.clone()).await;
    for round in 0..3 {
        let tasks = (0..TASKS).map(|task| {
            let core = core.clone();
            tokio::spawn(async move {
                let mut random = StdRng::seed_from_u64(seed ^ (round * TASKS + task));
                for _ in 0..STEPS {
                    if let Err(error) = step(&core, &mut random).await {
                        assert!(is_expected(&error), "{error:?}");
                    }
                }
            })
        });
        for task in join_all(tasks).await {
            task.unwrap();
        }
        all_is_whole(&scene).await;
    }
    for (at, artifact) in living(&core).await {
        match delete(&core, &at, &artifact).await {
            Ok(()) | Err(Error::ManifestUnknown(_)) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!(living(&core).await.len(), 0);
    // Past the life of finished uploads and of events too.
    let last = scene.node_with(40 * DAY, hasty).await;
    maintain(&last).await;
    maintain(&last).await;
    let mut rows = scene.rows().await;
    // What is left is that which has no end: two registries, and history with the repositories it is of.
    for table in ["registry", "repository", "tag_change", "usage"] {
        rows.remove(table);
    }
    assert!(rows.values().all(|rows| *rows == 0), "{rows:?}");
    assert_eq!(scene.objects().await, Vec::<String>::new());
    for name in ["main", "other"] {
        assert_eq!(scene.usage(name).await, (0, 0, 0), "{name}");
    }
}
