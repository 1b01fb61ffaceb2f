//! Tests that need a database: each on both engines, in a database of its own, with a node's clock that stands until it is moved.

mod attacks;
mod grants;
mod keys;
mod people;
mod refusals;
mod roles;
mod sessions;
mod signing;

use std::{
    net::{IpAddr, Ipv4Addr},
    sync::{
        Arc,
        atomic::{AtomicI64, Ordering},
    },
};

use roadstead_db::{
    DatabaseUrl, Db, DbError, Options, audit, facts::View, keys as rows, member, person, project, pull, registry, robot,
};
use roadstead_model::{Place, Role, scope::Scopes};
use roadstead_testkit::{engines, postgres::Database};
use tempfile::TempDir;

use crate::{
    Access, AccessOptions, Action, By, Caller, Clock, Credentials, Entropy, FirstKey, KeyEntry, KeyError, KeyFor, Keys,
    NewKey, Of, OpenError, Refusal, Target, TokenError, TokenGrant, TokenRequest, decide,
};

const HOST: &str = "registry.example:5000";
const FROM: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
const SECOND: i64 = 1_000_000;
const DAY: i64 = 24 * 3600 * SECOND;
const SECRET_KEY: [u8; 32] = [9; 32];

/// Runs a test on SQLite, then, where there is one, on PostgreSQL.
fn on_each_engine(test: impl AsyncFn(World)) {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async { test(World::on_sqlite().await).await });
    if let Some(postgres) = engines::postgres() {
        let database = postgres.database();
        let url = DatabaseUrl::Postgres(database.url());
        runtime.block_on(async { test(World::open(url, None, Some(database)).await).await });
    }
}

/// A database with a clock; nodes are opened on it.
#[derive(Clone)]
struct World {
    url: DatabaseUrl,
    db: Db,
    now: Arc<AtomicI64>,
    // Gone when the last test of it is.
    _directory: Arc<Option<TempDir>>,
    _database: Arc<Option<Database>>,
}

impl World {
    async fn on_sqlite() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let url = DatabaseUrl::Sqlite(directory.path().join("test.db"));
        Self::open(url, Some(directory), None).await
    }

    async fn open(url: DatabaseUrl, directory: Option<TempDir>, database: Option<Database>) -> Self {
        let db = open(&url, 0).await;
        let now = Arc::new(AtomicI64::new(db.now().await.unwrap()));
        Self { url, db, now, _directory: Arc::new(directory), _database: Arc::new(database) }
    }

    /// A node, and the first administrator.
    async fn with_administrator(&self) -> (Access, NewKey) {
        let node = self.node().await;
        let key = node.keys().first_administrator(FirstKey::default()).await.unwrap().unwrap();
        (node, key)
    }

    async fn node(&self) -> Access {
        Access::open(self.db.clone(), self.options()).await.unwrap()
    }

    /// A node on the same database, so much later by its clock.
    async fn node_later(&self, micros: i64) -> Access {
        Access::open(open(&self.url, micros).await, self.options()).await.unwrap()
    }

    fn options(&self) -> AccessOptions {
        let now = Arc::clone(&self.now);
        AccessOptions { clock: Clock::new(move || now.load(Ordering::Relaxed)), ..AccessOptions::new(SECRET_KEY) }
    }

    fn keys(&self) -> Keys {
        Keys::new(self.db.clone(), Entropy::system())
    }

    /// Moves the nodes' clocks; the database's goes on by itself.
    fn pass(&self, micros: i64) {
        self.now.fetch_add(micros, Ordering::Relaxed);
    }

    /// Makes a person who is no administrator, with a key.
    async fn person(&self) -> NewKey {
        let new = person::NewPerson {
            name: "somebody".to_owned(),
            full_name: String::new(),
            email: String::new(),
            administrator: false,
            password: None,
        };
        let made: Result<_, DbError> =
            self.db.write((new, By::default()), |tx, (new, by)| Box::pin(person::insert(tx, new, by, "{}"))).await;
        made.unwrap().unwrap();
        make(&self.keys(), "somebody", "").await.unwrap()
    }

    /// Gives a person a role in a project, or in one registry of it.
    async fn role(&self, person: &str, place: &str, role: Option<Role>) {
        let input = (person.to_owned(), place.to_owned(), role);
        let given: Result<(), DbError> = self
            .db
            .write(input, |tx, (person, place, role)| {
                Box::pin(async move {
                    let person = person::lock(tx, person).await?.unwrap().id;
                    let project = project::hold(tx, &"project".parse().unwrap()).await?.unwrap().id;
                    let place = match registry::hold_by_name(tx, &place.parse().unwrap()).await? {
                        Some((registry, project)) => member::In::Registry(project, registry),
                        None => member::In::Project(project),
                    };
                    match role {
                        Some(role) => member::set(tx, place, person, *role).await,
                        None => member::remove(tx, place, person).await.map(drop),
                    }
                })
            })
            .await;
        given.unwrap();
    }

    /// A key of a new robot with these limits.
    async fn robot(&self, name: &str, limits: &str) -> NewKey {
        let made: Result<_, DbError> = self
            .db
            .write(name.to_owned(), |tx, name| {
                Box::pin(async move {
                    let project = project::hold(tx, &"project".parse().unwrap()).await?.unwrap().id;
                    robot::insert(tx, project, name, "").await
                })
            })
            .await;
        made.unwrap().unwrap();
        let whose = KeyFor::Robot("project".parse().unwrap(), name.parse().unwrap(), limits.parse().unwrap());
        self.keys().create(whose, "", None, &By::default()).await.unwrap()
    }

    /// Makes two registries, `open` where anyone may pull, and `closed`.
    async fn registries(&self) {
        let made: Result<(), DbError> = self
            .db
            .write((), |tx, ()| {
                Box::pin(async move {
                    let bucket = registry::find_or_make_bucket(tx, "bucket", "directory", "").await?.id;
                    for (name, public_pull) in [("open", true), ("closed", false)] {
                        let new = registry::NewRegistry {
                            project: "project".parse().unwrap(),
                            name: name.parse().unwrap(),
                            bucket,
                            alone: false,
                            private_id: name.to_owned(),
                            description: String::new(),
                            public_pull,
                            public_endpoint: true,
                            by: By::name("test"),
                        };
                        registry::create(tx, &new).await?;
                    }
                    Ok(())
                })
            })
            .await;
        made.unwrap();
    }

    /// How many refresh tokens the key has at [`HOST`].
    async fn refresh_tokens(&self, key: &NewKey) -> i64 {
        let key = rows::find(&self.db, &key.key_id).await.unwrap().unwrap().id;
        let count: Result<_, DbError> =
            self.db.write(key, |tx, key| Box::pin(rows::count_refresh(tx, *key, 1_000_000))).await;
        count.unwrap()
    }

    async fn listed(&self, key: &NewKey) -> KeyEntry {
        let all = self.keys().list(Of::All, "", 1000).await.unwrap();
        all.into_iter().find(|entry| entry.key_id == key.key_id).unwrap()
    }
}

/// A key for a person that does not end by itself.
async fn make(keys: &Keys, person: &str, description: &str) -> Result<NewKey, KeyError> {
    keys.create(KeyFor::Person(person.to_owned()), description, None, &By::default()).await
}

async fn open(url: &DatabaseUrl, clock_offset_micros: i64) -> Db {
    // The test cluster does not flush.
    let allow_fsync_off = true;
    let options = Options {
        url: url.clone(),
        pool: 4,
        allow_fsync_off,
        clock_offset_micros,
        ca_certificates: Vec::new(),
        answer_within: Options::ANSWER,
        alone: true,
    };
    Db::open(options).await.unwrap()
}

/// Path style: the first component is the registry.
fn resolve(name: &str) -> Option<Place> {
    let name = name.strip_prefix(HOST).and_then(|rest| rest.strip_prefix('/')).unwrap_or(name);
    let (registry, repository) = name.split_once('/')?;
    Some(Place { registry: registry.parse().ok()?, repository: repository.parse().ok()? })
}

fn place(name: &str) -> Place {
    resolve(name).unwrap()
}

fn signed_in(key: &NewKey) -> Credentials {
    Credentials::password(key.key_id.clone(), key.secret.clone())
}

async fn ask(
    node: &Access,
    credentials: Credentials,
    scopes: &[&str],
    offline: bool,
) -> Result<TokenGrant, TokenError> {
    ask_at(node, HOST, credentials, scopes, offline).await
}

async fn ask_at(
    node: &Access,
    service: &str,
    credentials: Credentials,
    scopes: &[&str],
    offline: bool,
) -> Result<TokenGrant, TokenError> {
    let scopes = Scopes::parse(scopes.iter().copied());
    node.token(TokenRequest {
        service,
        from: FROM,
        credentials,
        scopes,
        view: View::Public,
        resolve: &resolve,
        offline,
    })
    .await
}

async fn bearer(node: &Access, token: &str) -> Result<Caller, Refusal> {
    node.authenticate(Some(&format!("Bearer {token}")), HOST, FROM).await
}

async fn basic(node: &Access, id: &str, secret: &str) -> Result<Caller, Refusal> {
    use base64::{Engine, engine::general_purpose::STANDARD};
    let header = format!("Basic {}", STANDARD.encode(format!("{id}:{secret}")));
    node.authenticate(Some(&header), HOST, FROM).await
}

/// What becomes of a request: credentials, facts, decision.
async fn attempt(world: &World, caller: &Caller, action: Action, at: &str) -> Result<(), Refusal> {
    let place = place(at);
    let facts = pull::facts(&world.db, &place, caller.key().into()).await.unwrap();
    decide(caller, action, Target::Place(&place), &facts)
}
