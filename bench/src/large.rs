//! What a large registry costs: lists and the start, with many tags, blobs and repositories in the database and with few.

use std::{
    path::Path,
    time::{Duration, Instant},
};

use roadstead_testkit::{Server, content::image, process::directory, server::REGISTRY};
use rusqlite::Connection;
use tokio::runtime::Runtime;

use crate::{
    contestants::{Ground, REPOSITORY, token},
    cores,
    load::{self, Target, Work},
    table::{Check, Must},
};

/// Starts that are timed.
const STARTS: usize = 5;
const FEW: u32 = 100;

/// `tags`: as many tags and blobs are in the large database, and a tenth as many repositories.
pub(crate) fn measure(runtime: &Runtime, ground: &Ground<'_>, tags: u32, time: Duration) -> Vec<Check> {
    let [few, many] = [FEW, tags].map(|tags| {
        let folder = directory("large");
        fill(ground, &folder, tags);
        figures(runtime, ground, &folder, tags, time)
    });
    let check = |what: String, many: Duration, few: Duration, most: f64| Check {
        what,
        ours: format!("{:.2} ms", many.as_secs_f64() * 1e3),
        beside: format!("with {FEW}: {:.2} ms", few.as_secs_f64() * 1e3),
        ratio: many.as_secs_f64() / few.as_secs_f64(),
        must: Some(Must::AtMost(most)),
    };
    vec![
        check(format!("a page of 100 tags of {tags}"), many.tags, few.tags, 2.0),
        check(format!("a page of 100 repositories of {}", tags / 10), many.catalog, few.catalog, 2.0),
        check(format!("start with {tags} tags and blobs"), many.start, few.start, 2.0),
    ]
}

struct Figures {
    tags: Duration,
    catalog: Duration,
    start: Duration,
}

/// The tables as they are after so many pushes. Pushing them would take an hour.
fn fill(ground: &Ground<'_>, folder: &Path, tags: u32) {
    let mut server = Server::on(ground.programs.embedded(), folder);
    server.start_again();
    server.client().push_image(REPOSITORY, "latest", &image(1));
    server.stop();
    let database = Connection::open(folder.join("roadstead.db")).expect("the database opens");
    let numbers = format!("WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {tags})");
    let some =
        format!("WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {})", tags.max(1000) / 10);
    let made = database.execute_batch(&format!(
        "BEGIN;
         INSERT INTO tag (repository, name, artifact, since, set_by)
             {numbers} SELECT repository, printf('t%08d', n), artifact, since, set_by FROM tag, n WHERE name = 'latest';
         INSERT INTO blob (bucket, digest, size, object_key, created)
             {numbers} SELECT bucket, randomblob(33), 1000, printf('key-%d', n), created FROM n, (SELECT * FROM blob LIMIT 1);
         INSERT INTO repository_blob (repository, blob, since, hidden)
             SELECT r.id, b.id, b.created, FALSE FROM blob b, repository r WHERE b.object_key LIKE 'key-%';
         INSERT INTO registry_blob (registry, blob, repositories)
             SELECT r.registry, b.id, 1 FROM blob b, repository r WHERE b.object_key LIKE 'key-%';
         INSERT INTO repository (registry, name, mutable_tags, created)
             {some} SELECT registry, printf('many/r%08d', n), mutable_tags, created FROM repository, n WHERE name = 'app';
         INSERT INTO artifact (repository, manifest, media_type, kind, size, layer_size, pushed_at, pushed_by)
             SELECT r.id, a.manifest, a.media_type, a.kind, a.size, a.layer_size, a.pushed_at, a.pushed_by
             FROM repository r, artifact a WHERE r.name LIKE 'many/%';
         COMMIT;"
    ));
    made.expect("the tables are those of this version");
}

fn figures(runtime: &Runtime, ground: &Ground<'_>, folder: &Path, tags: u32, time: Duration) -> Figures {
    let mut server = Server::on(ground.programs.embedded(), folder);
    let mut starts: Vec<_> = (0..STARTS)
        .map(|_| {
            let begun = Instant::now();
            cores::on_server_core(|| server.start_again());
            server.client().anonymous().get("/v2/").expect(401);
            let took = begun.elapsed();
            server.stop();
            took
        })
        .collect();
    starts.sort_unstable();
    cores::on_server_core(|| server.start_again());
    let address = server.address();
    let token = token(&server.client());
    let once = |path: &str| {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {token}\r\n\r\n");
        let target = Target { address, tls: None, alone: true };
        let work = Work::Fetch(vec![request.into_bytes()]);
        let done = runtime.block_on(load::run(&target, &work, 1, time));
        let done = done.unwrap_or_else(|error| panic!("{path}: {error}"));
        done.took.div_f64(done.operations as f64)
    };
    // From the middle, where a page must be found first.
    let middle = format!("t{:08}", if tags > FEW { tags / 2 } else { 0 });
    let repositories = tags / 10;
    let middle_repository = format!("many/r{:08}", if tags > FEW { repositories / 2 } else { 0 });
    Figures {
        tags: once(&format!("/v2/{REPOSITORY}/tags/list?n=100&last={middle}")),
        catalog: once(&format!("/v2/_catalog?n=100&last={REGISTRY}/{middle_repository}")),
        start: starts[STARTS / 2],
    }
}
