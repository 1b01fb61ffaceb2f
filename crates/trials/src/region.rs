//! The thing under trial: the real program on a directory, or as nodes over PostgreSQL and S3, which a trial can start,
//! kill, stop and freeze one by one.

use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use rand::RngExt;
use roadstead_testkit::{
    Postgres, S3, Server, Setup, engines, postgres::Database, process, server::bucket_environment,
};
use rustix::process::Signal;

use crate::content::Random;

/// On what a region stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Engine {
    /// SQLite and a directory: one node.
    Directory,
    /// PostgreSQL and S3: several nodes.
    Cluster,
}

impl fmt::Display for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Directory => "SQLite and a directory",
            Self::Cluster => "PostgreSQL and S3",
        })
    }
}

/// Where the region answers. Clones share one list, so the load follows a node that comes back elsewhere.
#[derive(Clone, Debug, Default)]
pub struct Addresses(Arc<RwLock<Vec<SocketAddr>>>);

impl Addresses {
    /// A list.
    pub fn new(addresses: Vec<SocketAddr>) -> Self {
        Self(Arc::new(RwLock::new(addresses)))
    }

    /// Another list in place of this one.
    pub fn set(&self, addresses: Vec<SocketAddr>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = addresses;
    }

    /// All of them.
    pub fn all(&self) -> Vec<SocketAddr> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Any of them.
    ///
    /// # Panics
    /// When there is none.
    pub fn any(&self, random: &mut Random) -> SocketAddr {
        let all = self.0.read().unwrap_or_else(PoisonError::into_inner);
        all[random.random_range(0..all.len())]
    }
}

/// Where a region keeps what it has, for the audit.
pub enum Store {
    /// SQLite and the files below one data directory.
    Directory(PathBuf),
    /// A database and a bucket.
    Cluster(Box<Outside>),
}

/// The engines of a cluster: its own ones, for a trial may kill them.
pub struct Outside {
    /// The database; before its server, for it is dropped with it.
    pub database: Database,
    /// Its server, with `fsync` on.
    pub postgres: Postgres,
    /// The object store.
    pub s3: S3,
    /// The bucket in it.
    pub bucket: String,
}

/// A region of one or more nodes. Everything that it started ends with it.
pub struct Region {
    engine: Engine,
    nodes: Vec<Server>,
    addresses: Addresses,
    store: Store,
}

impl Region {
    /// SQLite and a directory, not started. `data` may be anywhere; it stays.
    pub fn directory(binary: &Path, data: &Path) -> Self {
        // Works elsewhere, so that the file system below `data` can be unmounted when the server has ended.
        let settings = settings(binary).set("ROADSTEAD_DATA_DIR", &data.to_string_lossy());
        let setups = vec![(settings, process::directory("node"))];
        Self::new(Engine::Directory, setups, Store::Directory(data.to_owned()))
    }

    /// `nodes` nodes over a PostgreSQL and a SeaweedFS of their own, which run; the nodes do not yet. `None`, with a line that
    /// says so, where the machine lacks one of the two and `ROADSTEAD_TEST_REQUIRE` does not say `all`.
    pub fn cluster(binary: &Path, nodes: usize) -> Option<Self> {
        let (Some(postgres), Some(s3)) = (Postgres::start(true), S3::start()) else {
            // Says what is missing, or fails.
            engines::scale_out();
            return None;
        };
        let (database, bucket) = (postgres.database(), s3.bucket());
        let mut setup = settings(binary).set("ROADSTEAD_DATABASE_URL", &database.url());
        setup = setup.set("ROADSTEAD_DATABASE_POOL", "8").set("ROADSTEAD_SECRET_KEY", SECRET_KEY);
        for (name, value) in bucket_environment(&s3, &bucket) {
            setup = setup.set(name, &value);
        }
        let setups = (0..nodes).map(|_| (setup.clone(), process::directory("node"))).collect();
        let store = Store::Cluster(Box::new(Outside { database, postgres, s3, bucket }));
        Some(Self::new(Engine::Cluster, setups, store))
    }

    fn new(engine: Engine, setups: Vec<(Setup, PathBuf)>, store: Store) -> Self {
        let nodes = setups.into_iter().map(|(setup, data)| {
            // A port of its own: clients find the node again after a restart.
            let address = SocketAddr::from(([127, 0, 0, 1], process::free_port()));
            (address, Server::on(setup.set("ROADSTEAD_LISTEN", &address.to_string()), &data))
        });
        let (addresses, nodes) = nodes.unzip();
        Self { engine, nodes, addresses: Addresses::new(addresses), store }
    }

    /// Sets a variable for the next starts of all nodes.
    pub fn set(&mut self, name: &str, value: &str) {
        for node in &mut self.nodes {
            node.configure(node.setup().clone().set(name, value));
        }
    }

    /// On what it stands.
    pub fn engine(&self) -> Engine {
        self.engine
    }

    /// How many nodes it has.
    pub fn nodes(&self) -> usize {
        self.nodes.len()
    }

    /// Where it answers.
    pub fn addresses(&self) -> Addresses {
        self.addresses.clone()
    }

    /// Where it keeps what it has.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Its engines, to be killed.
    ///
    /// # Panics
    /// When it is no cluster.
    pub fn outside(&mut self) -> &mut Outside {
        match &mut self.store {
            Store::Cluster(outside) => outside,
            Store::Directory(_) => panic!("a directory has no engine outside"),
        }
    }

    /// Starts all nodes that do not run and waits until they answer.
    ///
    /// # Errors
    /// What the first printed that did not start.
    pub fn start(&mut self) -> Result<(), String> {
        self.nodes.iter_mut().filter(|node| !node.is_started()).for_each(Server::launch);
        (0..self.nodes.len()).try_for_each(|node| self.wait_until_up(node))
    }

    /// Starts a node without waiting.
    pub fn launch(&mut self, node: usize) {
        self.nodes[node].launch();
    }

    /// Waits until a node that was launched listens.
    ///
    /// # Errors
    /// What it printed, when it does not start.
    pub fn wait_until_up(&mut self, node: usize) -> Result<(), String> {
        self.nodes[node].wait_until_it_listens().map_err(|said| format!("node {node} does not start:\n{said}"))
    }

    /// Kills a node (SIGKILL).
    pub fn kill(&mut self, node: usize) {
        self.nodes[node].kill();
    }

    /// Asks a node to end (SIGTERM) and waits; its exit code.
    pub fn stop(&mut self, node: usize) -> i32 {
        self.nodes[node].stop()
    }

    /// Halts a node (SIGSTOP): it is there, and does nothing.
    pub fn freeze(&mut self, node: usize) {
        self.nodes[node].signal(Signal::STOP);
    }

    /// Lets a halted node go on (SIGCONT).
    pub fn thaw(&mut self, node: usize) {
        self.nodes[node].signal(Signal::CONT);
    }

    /// A node, for what is not here.
    pub fn node(&mut self, node: usize) -> &mut Server {
        &mut self.nodes[node]
    }

    /// The last lines that the nodes printed, for a report of findings.
    pub fn said(&self) -> String {
        let last = |node: &Server| {
            let lines = node.output().since(0);
            lines[lines.len().saturating_sub(40)..].join("\n")
        };
        self.nodes.iter().map(last).collect::<Vec<_>>().join("\n---\n")
    }
}

/// Any will do, as long as all nodes have the same.
const SECRET_KEY: &str = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=";

/// What all trials want: no trash and no waiting for what was deleted, so that the collector works all the time; what is pushed
/// and not yet held by a manifest stays, as it does in production.
fn settings(binary: &Path) -> Setup {
    Setup::directory(binary)
        .set("ROADSTEAD_TRASH_DAYS", "0")
        .set("ROADSTEAD_GC_RECOVERY_DAYS", "0")
        .set("ROADSTEAD_GC_INTERVAL_SECONDS", "1")
        .set("ROADSTEAD_GC_GRACE_SECONDS", "86400")
        .set("ROADSTEAD_MANIFESTS_REQUIRE_BLOBS", "true")
        .set("ROADSTEAD_LOG_ACCESS", "false")
}
