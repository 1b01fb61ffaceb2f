//! Where a test plays: a server on one of the two storages, a client with one of the two logins, and repositories
//! that no other test uses. Starting a server costs a second, so all tests that leave the server alone share one for
//! each storage.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
};

use roadstead_testkit::{
    Client, Cluster, Login, Server, Setup, engines,
    server::{KEY_ID, KEY_SECRET, REGISTRY, print_end},
};

/// The program under test.
pub(crate) const BINARY: &str = env!("CARGO_BIN_EXE_roadstead");

/// What a server stores in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Engine {
    /// SQLite and a directory.
    Directory,
    /// PostgreSQL and S3, whose bytes the server streams (redirects have tests of their own in `nodes`).
    S3,
}

/// How the client of a scene logs in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Auth {
    /// HTTP Basic with each request.
    Basic,
    /// The token flow, each 401 checked for its form.
    Token,
}

/// One test's stage on a shared server.
pub(crate) struct Scene {
    pub(crate) client: Client,
    /// A repository of this test alone, with its registry: `conf/c3_ranges/...`.
    pub(crate) repo: String,
    repositories: AtomicUsize,
}

impl Scene {
    /// One more repository of this test alone.
    pub(crate) fn another(&self) -> String {
        format!("{}-{}", self.repo, self.repositories.fetch_add(1, Ordering::Relaxed) + 2)
    }

    /// `/v2/REPOSITORY/REST` of this test's repository.
    pub(crate) fn at(&self, rest: &str) -> String {
        format!("/v2/{}/{rest}", self.repo)
    }
}

/// Makes of each function `fn name(t: &Scene)` four tests, `name::{directory,s3}::{basic,token}`.
macro_rules! conformance {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            mod directory {
                use crate::scene::{Auth, Engine, play};
                #[test]
                fn basic() {
                    play(stringify!($name), Engine::Directory, Auth::Basic, super::super::$name);
                }
                #[test]
                fn token() {
                    play(stringify!($name), Engine::Directory, Auth::Token, super::super::$name);
                }
            }
            mod s3 {
                use crate::scene::{Auth, Engine, play};
                #[test]
                fn basic() {
                    play(stringify!($name), Engine::S3, Auth::Basic, super::super::$name);
                }
                #[test]
                fn token() {
                    play(stringify!($name), Engine::S3, Auth::Token, super::super::$name);
                }
            }
        }
    )+};
}
pub(crate) use conformance;

/// Makes of each function `fn name(storage: &Storage)` two tests, `name::directory` and `name::s3`, which start
/// servers of their own.
macro_rules! on_both_engines {
    ($($name:ident),+ $(,)?) => {$(
        mod $name {
            #[test]
            fn directory() {
                crate::scene::with_storage(crate::scene::Engine::Directory, super::$name);
            }
            #[test]
            fn s3() {
                crate::scene::with_storage(crate::scene::Engine::S3, super::$name);
            }
        }
    )+};
}
pub(crate) use on_both_engines;

/// Up to how many bytes a blob lies in the database.
const SMALL_BYTES: &str = "ROADSTEAD_BUCKET_SMALL_BYTES";

/// A fresh storage for servers of a test's own.
pub(crate) struct Storage {
    pub(crate) engine: Engine,
    cluster: Option<Arc<Cluster>>,
}

impl Storage {
    /// How a server on it is started: bytes are streamed unless the test says otherwise.
    pub(crate) fn setup(&self) -> Setup {
        let setup = match &self.cluster {
            // Whatever a test stores is an object there, as small as it is; on the other engine it is as without configuration.
            Some(cluster) => {
                Setup::node(BINARY, cluster).set("ROADSTEAD_BUCKET_REDIRECT", "false").set(SMALL_BYTES, "0")
            }
            None => Setup::directory(BINARY),
        };
        // Whoever waits for the background does not wait long.
        setup.set("ROADSTEAD_GC_INTERVAL_SECONDS", "1")
    }

    /// The same where all blobs are objects of the bucket, for who counts those.
    pub(crate) fn setup_of_objects(&self) -> Setup {
        self.setup().set(SMALL_BYTES, "0")
    }

    /// Whether several servers can use it at once.
    pub(crate) fn is_shared(&self) -> bool {
        self.cluster.is_some()
    }

    /// A server on it.
    pub(crate) fn start(&self) -> Server {
        Server::start(self.setup())
    }
}

/// Runs a test on a storage of its own, if this machine has it.
pub(crate) fn with_storage(engine: Engine, test: impl FnOnce(&Storage)) {
    let cluster = match engine {
        Engine::Directory => None,
        Engine::S3 => match engines::scale_out() {
            Some((postgres, s3)) => Some(Cluster::new(postgres, s3)),
            None => return,
        },
    };
    test(&Storage { engine, cluster });
}

/// Runs a test on a fresh PostgreSQL database and S3 bucket, if this machine has them.
pub(crate) fn with_cluster(test: impl FnOnce(&Arc<Cluster>)) {
    if let Some((postgres, s3)) = engines::scale_out() {
        test(&Cluster::new(postgres, s3));
    }
}

/// Runs a test on the shared server of `engine`, if this machine has it. What the server printed meanwhile is shown
/// when the test fails.
pub(crate) fn play(name: &str, engine: Engine, auth: Auth, test: impl FnOnce(&Scene)) {
    let Some((server, registry, id, secret)) = shared(engine) else { return };
    let login = match auth {
        Auth::Basic => Login::Basic(id.clone(), secret.clone()),
        Auth::Token => Login::Token(id.clone(), secret.clone()),
    };
    let scene = Scene {
        client: Client::new(server.address(), login),
        repo: format!("{registry}/{name}/{engine:?}-{auth:?}").to_lowercase(),
        repositories: AtomicUsize::new(0),
    };
    let position = server.output().position();
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| test(&scene))) {
        print_end(&server.output().since(position));
        resume_unwind(panic);
    }
}

type Shared = (Server, String, String, String);

/// The shared server with registry, key id and secret. `ROADSTEAD_TEST_REGISTRY=HOST:PORT/PREFIX` (with
/// `ROADSTEAD_TEST_LOGIN=USER:PASSWORD`) puts any other running registry in the place of the one with a directory:
/// to see what a peer does.
fn shared(engine: Engine) -> Option<&'static Shared> {
    static DIRECTORY: OnceLock<Shared> = OnceLock::new();
    static S3: OnceLock<Option<Shared>> = OnceLock::new();
    let ours = |server| (server, REGISTRY.to_owned(), KEY_ID.to_owned(), KEY_SECRET.to_owned());
    let foreign = std::env::var("ROADSTEAD_TEST_REGISTRY").ok();
    match engine {
        Engine::Directory => Some(DIRECTORY.get_or_init(|| match foreign {
            Some(address) => {
                let (host, prefix) = address.split_once('/').expect("ROADSTEAD_TEST_REGISTRY=HOST:PORT/PREFIX");
                let login = std::env::var("ROADSTEAD_TEST_LOGIN").unwrap_or_else(|_| "user:password".to_owned());
                let (id, secret) = login.split_once(':').expect("ROADSTEAD_TEST_LOGIN=USER:PASSWORD");
                (Server::foreign(host), prefix.to_owned(), id.to_owned(), secret.to_owned())
            }
            None => ours(Server::start(Setup::directory(BINARY))),
        })),
        Engine::S3 if foreign.is_some() => None,
        Engine::S3 => S3
            .get_or_init(|| {
                let (postgres, s3) = engines::scale_out()?;
                let setup = Setup::node(BINARY, &Cluster::new(postgres, s3));
                let setup = setup.set(SMALL_BYTES, "0");
                Some(ours(Server::start(setup.set("ROADSTEAD_BUCKET_REDIRECT", "false"))))
            })
            .as_ref(),
    }
}
