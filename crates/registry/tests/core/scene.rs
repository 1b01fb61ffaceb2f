//! A core with its database and its bucket, on one of the two engines; and other cores over the same, at other times.

use std::{collections::BTreeMap, path::Path, time::Duration};

use futures::future::BoxFuture;
use roadstead_blobs::{Bucket, BucketKind, BucketOptions, MemoryBudget, S3Options};
use roadstead_db::{DatabaseUrl, Db, DbError, Engine, Tx, params, registry};
use roadstead_model::Place;
use roadstead_registry::{Buckets, Core, Gate, Options};
use roadstead_testkit::{S3, engines, postgres::Database};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Microseconds of a day.
pub(crate) const DAY: i64 = 24 * 3600 * 1_000_000;
/// Microseconds of a second.
pub(crate) const SECOND: i64 = 1_000_000;

/// Runs each test on both engines, as `embedded::NAME` and `scale_out::NAME`.
macro_rules! on_both_engines {
    ($($name:ident),* $(,)?) => {
        mod embedded {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                super::$name(crate::scene::Scene::embedded().await).await;
            })*
        }
        mod scale_out {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                if let Some(scene) = crate::scene::Scene::scale_out().await {
                    super::$name(scene).await;
                }
            })*
        }
    };
}
pub(crate) use on_both_engines;

/// Runs each test on both engines with buckets that leave small blobs to the database, as `small::embedded::NAME` and `small::scale_out::NAME`.
macro_rules! with_small_blobs {
    ($($name:ident),* $(,)?) => {
        mod small {
            mod embedded {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    super::super::$name(crate::scene::Scene::embedded().await.leaving_small_blobs().await).await;
                })*
            }
            mod scale_out {
                $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $name() {
                    if let Some(scene) = crate::scene::Scene::scale_out().await {
                        super::super::$name(scene.leaving_small_blobs().await).await;
                    }
                })*
            }
        }
    };
}
pub(crate) use with_small_blobs;

/// Runs each test in both of these ways.
macro_rules! in_all_ways {
    ($($name:ident),* $(,)?) => {
        crate::scene::on_both_engines!($($name),*);
        crate::scene::with_small_blobs!($($name),*);
    };
}
pub(crate) use in_all_ways;

/// What is small where small blobs are left to the database, in bytes.
pub(crate) const SMALL_BYTES: usize = 16 << 10;

/// What a test works with.
pub(crate) struct Scene {
    /// A node.
    pub(crate) core: Core,
    /// The bucket.
    pub(crate) bucket: Bucket,
    /// The settings of the cores.
    pub(crate) options: Options,
    place: Storage,
    /// Up to how many bytes blobs are left to the database.
    small_bytes: usize,
}

enum Storage {
    Files(tempfile::TempDir),
    Servers { database: Database, s3: &'static S3, bucket: String },
}

impl Scene {
    pub(crate) async fn embedded() -> Self {
        Self::over(Storage::Files(tempfile::tempdir().expect("a temporary directory"))).await
    }

    pub(crate) async fn scale_out() -> Option<Self> {
        let made = || {
            let (postgres, s3) = engines::scale_out()?;
            Some(Storage::Servers { database: postgres.database(), s3, bucket: s3.bucket() })
        };
        let storage = tokio::task::spawn_blocking(made).await.expect("the engines start")?;
        Some(Self::over(storage).await)
    }

    async fn over(place: Storage) -> Self {
        // A manifest that names what is missing is refused: so a blob that was taken away too early is noticed.
        let options = Options { require_blobs: true, ..Options::default() };
        let bucket = place.bucket(0).await;
        let db = place.db(0).await;
        let core = Core::open(db, bucket.clone(), options.clone()).await.expect("a fresh database and a fresh bucket");
        let scene = Self { core, bucket, options, place, small_bytes: 0 };
        scene.make_registry("main").await;
        scene
    }

    /// The same storage, where the bucket leaves small blobs to the database from now on.
    pub(crate) async fn leaving_small_blobs(mut self) -> Self {
        self.small_bytes = SMALL_BYTES;
        self.bucket = self.place.bucket(SMALL_BYTES).await;
        self.core = self.node(0).await;
        self
    }

    pub(crate) async fn make_registry(&self, name: &str) {
        let new = registry::NewRegistry {
            project: "home".parse().unwrap(),
            name: name.parse().unwrap(),
            bucket: self.core.default_bucket(),
            alone: false,
            private_id: name.to_owned(),
            description: String::new(),
            public_pull: false,
            public_endpoint: true,
            by: roadstead_db::audit::By::name("test"),
        };
        let made = self.core.db().write(new, |tx, new| Box::pin(registry::create(tx, new))).await;
        let made = made.map_err(|error: DbError| error).unwrap();
        assert!(matches!(made, registry::Created::Made(_)), "{name}: {made:?}");
    }

    /// Another node over the same storage, whose clock is ahead by so many microseconds.
    pub(crate) async fn node(&self, ahead: i64) -> Core {
        self.node_with(ahead, self.options.clone()).await
    }

    /// Another node, whose bucket leaves blobs of up to so many bytes to the database.
    pub(crate) async fn with_small_bytes(&self, small_bytes: usize) -> Core {
        let (db, bucket) = (self.place.db(0).await, self.place.bucket(small_bytes).await);
        Core::open(db, bucket, self.options.clone()).await.expect("another node")
    }

    pub(crate) async fn node_with(&self, ahead: i64, options: Options) -> Core {
        Core::open(self.place.db(ahead).await, self.place.bucket(self.small_bytes).await, options)
            .await
            .expect("another node")
    }

    /// Another node over the same database and buckets of the caller's.
    pub(crate) async fn node_over(&self, ahead: i64, buckets: Buckets) -> Core {
        Core::open(self.place.db(ahead).await, buckets, self.options.clone()).await.expect("another node")
    }

    pub(crate) fn is_embedded(&self) -> bool {
        self.core.db().engine() == Engine::Sqlite
    }

    /// Does all background work that is due when the clock is ahead by so much.
    pub(crate) async fn maintain(&self, ahead: i64) {
        maintain(&self.node(ahead).await).await;
    }

    /// Keys of all objects in the bucket but the identity marker.
    pub(crate) async fn objects(&self) -> Vec<String> {
        let mut keys = match &self.place {
            Storage::Files(folder) => files(&folder.path().join("bucket")),
            Storage::Servers { s3, bucket, .. } => {
                let (s3, bucket) = (*s3, bucket.clone());
                tokio::task::spawn_blocking(move || s3.objects(&bucket)).await.unwrap()
            }
        };
        keys.retain(|key| !key.contains("roadstead-"));
        keys
    }

    pub(crate) async fn other_bucket(&self) -> (Bucket, Box<dyn std::any::Any>) {
        match &self.place {
            Storage::Files(_) => {
                let folder = tempfile::tempdir().unwrap();
                (directory(folder.path(), 0).await, Box::new(folder))
            }
            Storage::Servers { s3, .. } => {
                let s3 = *s3;
                let name = tokio::task::spawn_blocking(move || s3.bucket()).await.unwrap();
                (s3_bucket(s3, &name, 0).await, Box::new(()))
            }
        }
    }

    pub(crate) async fn other_database(&self) -> (Db, Box<dyn std::any::Any>) {
        match &self.place {
            Storage::Files(_) => {
                let folder = tempfile::tempdir().unwrap();
                (open(DatabaseUrl::Sqlite(folder.path().join("db")), 0).await, Box::new(folder))
            }
            Storage::Servers { .. } => {
                let made = || engines::postgres().map(roadstead_testkit::Postgres::database);
                let database = tokio::task::spawn_blocking(made).await.unwrap().unwrap();
                (open(DatabaseUrl::Postgres(database.url()), 0).await, Box::new(database))
            }
        }
    }

    /// `first` runs up to its commit and then waits until `second` is held up by it (or is done); then both go on. On
    /// SQLite `second` runs after `first`. Both outcomes.
    pub(crate) async fn interleave<I, F, T>(
        &self,
        input: I,
        first: F,
        second: impl Future<Output = T> + Send + 'static,
    ) -> (Result<(), DbError>, T)
    where
        I: Send + Sync + 'static,
        T: Send + 'static,
        F: for<'t> Fn(&'t mut Tx<'_>, &'t I) -> BoxFuture<'t, Result<(), DbError>> + Send + Sync + 'static,
    {
        let db = self.core.db().clone();
        if self.is_embedded() {
            let first = db.write((input, first), |tx, (input, first)| first(tx, input)).await;
            return (first, second.await);
        }
        let (reached, go) = (CancellationToken::new(), CancellationToken::new());
        let paused = tokio::spawn({
            let (db, reached, go) = (db.clone(), reached.clone(), go.clone());
            async move {
                db.write((input, first, reached, go), |tx, (input, first, reached, go)| {
                    Box::pin(async move {
                        first(tx, input).await?;
                        reached.cancel();
                        go.cancelled().await;
                        Ok(())
                    })
                })
                .await
            }
        });
        until("the first transaction is about to commit", async || reached.is_cancelled() || paused.is_finished())
            .await;
        let second = tokio::spawn(second);
        until("the second one waits for the first", async || second.is_finished() || waits_for_a_lock(&db).await).await;
        go.cancel();
        (paused.await.unwrap(), second.await.unwrap())
    }

    /// How many rows each table has.
    pub(crate) async fn rows(&self) -> BTreeMap<&'static str, i64> {
        rows(self.core.db()).await
    }

    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        self.core.db().query_opt(sql, params![], |row| row.get(0)).await.unwrap().unwrap()
    }

    /// Runs a statement, for what no function of the core does.
    pub(crate) async fn execute(&self, sql: &'static str) -> u64 {
        self.core.db().write(sql, |tx, sql| Box::pin(tx.execute(sql, []))).await.map_err(|e: DbError| e).unwrap()
    }

    pub(crate) async fn usage(&self, name: &str) -> (i64, i64, i64) {
        let shown = registry::show(self.core.db(), &name.parse().unwrap()).await.unwrap().expect("such a registry");
        (shown.usage.repositories, shown.usage.artifacts, shown.usage.bytes)
    }
}

pub(crate) async fn waits_for_a_lock(db: &Db) -> bool {
    let waiting =
        "SELECT COUNT(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    db.query_opt(waiting, params![], |row| row.get::<i64>(0)).await.unwrap() > Some(0)
}

/// Does all background work that is due for a node.
pub(crate) async fn maintain(core: &Core) {
    let end = Instant::now() + Duration::from_secs(60);
    while core.maintain_once().await.expect("background work") > 0 {
        assert!(Instant::now() < end, "the background work does not end");
    }
}

/// Polls a condition until it holds.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(60);
    while !condition().await {
        assert!(Instant::now() < end, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(crate) async fn gate(core: &Core, place: &Place) -> Gate {
    core.gate(place, None).await.expect("the database answers")
}

/// `registry/repository` as a place.
pub(crate) fn place(text: &str) -> Place {
    let (registry, repository) = text.split_once('/').unwrap();
    Place { registry: registry.parse().unwrap(), repository: repository.parse().unwrap() }
}

impl Storage {
    async fn db(&self, ahead: i64) -> Db {
        let url = match self {
            Self::Files(folder) => DatabaseUrl::Sqlite(folder.path().join("roadstead.db")),
            Self::Servers { database, .. } => DatabaseUrl::Postgres(database.url()),
        };
        open(url, ahead).await
    }

    async fn bucket(&self, small_bytes: usize) -> Bucket {
        match self {
            Self::Files(folder) => directory(&folder.path().join("bucket"), small_bytes).await,
            Self::Servers { s3, bucket, .. } => s3_bucket(s3, bucket, small_bytes).await,
        }
    }
}

async fn open(url: DatabaseUrl, ahead: i64) -> Db {
    let options = roadstead_db::Options {
        url,
        pool: 12,
        allow_fsync_off: true,
        clock_offset_micros: ahead,
        ca_certificates: Vec::new(),
        answer_within: roadstead_db::Options::ANSWER,
        alone: true,
    };
    Db::open(options).await.expect("the database opens")
}

async fn directory(path: &Path, small_bytes: usize) -> Bucket {
    open_bucket(BucketKind::Directory { path: path.to_owned(), shared: false }, small_bytes).await
}

async fn s3_bucket(s3: &S3, name: &str, small_bytes: usize) -> Bucket {
    let kind = BucketKind::S3(S3Options {
        name: name.to_owned(),
        endpoint: Some(s3.endpoint.clone()),
        region: Some(s3.region.clone()),
        access_key_id: Some(s3.access_key_id.clone()),
        secret_access_key: Some(s3.secret_access_key.clone()),
        ..S3Options::default()
    });
    open_bucket(kind, small_bytes).await
}

async fn open_bucket(kind: BucketKind, small_bytes: usize) -> Bucket {
    let options = BucketOptions { part_bytes: 5 << 20, small_bytes, ..BucketOptions::new(kind) };
    Bucket::open(options, MemoryBudget::new(256)).await.expect("the bucket opens")
}

fn files(folder: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        match entry.file_type().unwrap().is_dir() {
            true => found.extend(files(&entry.path())),
            false => found.push(entry.file_name().into_string().unwrap()),
        }
    }
    found
}

macro_rules! count_each {
    ($db:expr, $($table:literal),*) => {
        BTreeMap::from([$(($table, {
            let count = $db.query_opt(concat!("SELECT COUNT(*) FROM ", $table), params![], |row| row.get::<i64>(0)).await;
            count.unwrap().unwrap()
        })),*])
    };
}

async fn rows(db: &Db) -> BTreeMap<&'static str, i64> {
    #[rustfmt::skip]
    let counts = count_each!(
        db, "registry", "repository", "blob", "object_removal", "repository_blob", "registry_blob", "upload", "manifest",
        "artifact", "artifact_blob", "artifact_edge", "tag", "tag_change", "deletion", "deletion_step", "link_review",
        "blob_review", "event", "usage_change", "usage"
    );
    counts
}
