//! What a large registry costs: lists and the start, with many rows of each kind in the database and with few.

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
    pages::{self, PAGES},
    table::{Check, Must},
};

/// Starts that are timed.
const STARTS: usize = 5;
const FEW: u32 = 100;

/// `rows`: as many tags, blobs, repositories, artifacts and lines of the audit log are in the large database.
pub(crate) fn measure(runtime: &Runtime, ground: &Ground<'_>, rows: u32, time: Duration) -> Vec<Check> {
    let [few, many] = [FEW, rows].map(|rows| {
        let folder = directory("large");
        fill(ground, &folder, rows);
        figures(runtime, ground, &folder, rows, time)
    });
    let check = |what: String, many: Duration, few: Duration, most: f64| Check {
        what,
        ours: format!("{:.2} ms", many.as_secs_f64() * 1e3),
        beside: format!("with {FEW}: {:.2} ms", few.as_secs_f64() * 1e3),
        ratio: many.as_secs_f64() / few.as_secs_f64(),
        must: Some(Must::AtMost(most)),
    };
    let mut checks = vec![
        check(format!("a page of 100 tags of {rows}"), many.tags, few.tags, 2.0),
        check(format!("a page of 100 repositories of {rows}"), many.catalog, few.catalog, 2.0),
        check(format!("start with {rows} tags and blobs"), many.start, few.start, 2.0),
    ];
    for (page, (many, few)) in PAGES.iter().zip(many.pages.into_iter().zip(few.pages)) {
        checks.push(check(format!("management: 100 {} of {rows}", page.what), many, few, 2.0));
    }
    checks
}

struct Figures {
    tags: Duration,
    catalog: Duration,
    start: Duration,
    /// Those of [`PAGES`].
    pages: Vec<Duration>,
}

/// The tables as they are after so many pushes. Pushing them would take an hour. The one tag comes last, of which the others are made.
fn fill(ground: &Ground<'_>, folder: &Path, rows: u32) {
    let mut server = Server::on(ground.programs.embedded(), folder);
    server.start_again();
    server.client().push_image(REPOSITORY, "latest", &image(1));
    server.stop();
    let database = Connection::open(folder.join("roadstead.db")).expect("the database opens");
    let numbers =
        |last: u32| format!("WITH RECURSIVE n (n) AS (VALUES (1) UNION ALL SELECT n + 1 FROM n WHERE n < {last})");
    let (all, keys) = (numbers(rows), numbers(pages::KEYS));
    let made = database.execute_batch(&format!(
        "BEGIN;
         INSERT INTO blob (bucket, digest, size, object_key, created)
             {all} SELECT bucket, randomblob(33), 1000, printf('key-%d', n), created FROM n, (SELECT * FROM blob LIMIT 1);
         INSERT INTO repository_blob (repository, blob, since, hidden)
             SELECT r.id, b.id, b.created, FALSE FROM blob b, repository r WHERE b.object_key LIKE 'key-%';
         INSERT INTO registry_blob (registry, blob, repositories)
             SELECT r.registry, b.id, 1 FROM blob b, repository r WHERE b.object_key LIKE 'key-%';
         INSERT INTO repository (registry, name, mutable_tags, created)
             {all} SELECT registry, printf('many/r%08d', n), mutable_tags, n FROM repository, n WHERE name = 'app';
         INSERT INTO repository_figures (repository, listed_in, name, changed, pulls, artifacts, tags, bytes, image_bytes)
             SELECT id, registry, name, created, 0, 1, 0, 0, 0 FROM repository WHERE name LIKE 'many/%';
         INSERT INTO artifact (repository, manifest, media_type, kind, size, layer_size, pushed_at, pushed_by)
             SELECT r.id, a.manifest, a.media_type, a.kind, a.size, a.layer_size, a.pushed_at, a.pushed_by
             FROM repository r, artifact a WHERE r.name LIKE 'many/%';
         INSERT INTO manifest (digest, body) {all} SELECT unhex(printf('01%064d', n)), x'' FROM n;
         INSERT INTO artifact (repository, manifest, media_type, kind, size, layer_size, pushed_at, pushed_by)
             SELECT a.repository, m.id, a.media_type, a.kind, a.size, a.layer_size, m.id, a.pushed_by
             FROM manifest m, tag t JOIN artifact a ON a.id = t.artifact WHERE length(m.body) = 0;
         INSERT INTO audit (at, who, came_from, what, object, after, project)
             {all} SELECT t.since, 'administrator', '127.0.0.1', 'tag.set', 'conf/app:latest', printf('{{\"n\":%d}}', n), g.project
             FROM n, tag t, registry g;
         INSERT INTO access_key (key_id, secret_hash, person, description, created, used)
             {keys} SELECT printf('{key}%d', n), secret_hash, person, '', created, unixepoch() * 1000000 FROM access_key, n;
         INSERT INTO tag (repository, name, artifact, since, set_by)
             {all} SELECT repository, printf('t%08d', n), artifact, since, set_by FROM tag, n WHERE name = 'latest';
         COMMIT;",
        key = pages::KEY
    ));
    made.expect("the tables are those of this version");
}

fn figures(runtime: &Runtime, ground: &Ground<'_>, folder: &Path, rows: u32, time: Duration) -> Figures {
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
    let once = |path: &str, credentials: &[String], time: Duration| {
        let request =
            |by: &String| format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: {by}\r\n\r\n").into_bytes();
        let target = Target { address, tls: None, alone: true };
        let work = Work::Fetch(credentials.iter().map(request).collect());
        let run = |time| {
            let done = runtime.block_on(load::run(&target, &work, 1, time));
            done.unwrap_or_else(|error| panic!("{path}: {error}"))
        };
        run(time / 10);
        let done = run(time);
        done.took.div_f64(done.operations as f64)
    };
    // From the middle, where a page must be found first.
    let middle = if rows > FEW { rows / 2 } else { 0 };
    let token = [format!("Bearer {}", token(&server.client()))];
    let keys = pages::credentials();
    Figures {
        tags: once(&format!("/v2/{REPOSITORY}/tags/list?n=100&last=t{middle:08}"), &token, time),
        catalog: once(&format!("/v2/_catalog?n=100&last={REGISTRY}/many/r{middle:08}"), &token, time),
        start: starts[STARTS / 2],
        pages: PAGES.iter().map(|page| once(&page.path(rows, middle), &keys, time / 2)).collect(),
    }
}
