//! A node inside the test process, on the database of a server that runs: for what no command does yet, and for a clock
//! that a test can set.

use std::{net::Ipv4Addr, time::Duration};

use base64::{Engine as _, prelude::BASE64_STANDARD};
use roadstead_access::{Access, AccessOptions, By, Clock, Credentials, Entropy, KeyFor, Keys, NewKey, TokenRequest};
use roadstead_db::{
    DatabaseUrl, Db, DbError, Options, audit,
    facts::View,
    person::{self, NewPerson},
};
use roadstead_model::{Place, scope::Scopes};
use roadstead_testkit::{
    Server, Setup,
    server::{KEY_ID, KEY_SECRET},
};
use tokio::runtime::Runtime;

const SECRET_KEY: [u8; 32] = [9; 32];
/// What the shortest token lives, and what clocks may differ by (protocol.md 2.2, 2.4), in seconds.
const SHORTEST: u64 = 60;
const LEEWAY: u64 = 60;

/// The node. Servers it stands beside are started with [`with_known_secret`].
pub(crate) struct Beside {
    db: Db,
    runtime: Runtime,
    host: String,
}

/// A server whose tokens this node can make too.
pub(crate) fn with_known_secret(setup: Setup) -> Setup {
    setup.set("ROADSTEAD_SECRET_KEY", &BASE64_STANDARD.encode(SECRET_KEY))
}

impl Beside {
    /// A node on the database of `server`.
    pub(crate) fn new(server: &Server) -> Self {
        let url = match server.cluster() {
            Some(cluster) => DatabaseUrl::Postgres(cluster.database.url()),
            None => DatabaseUrl::Sqlite(server.data().join("roadstead.db")),
        };
        // The test cluster does not flush.
        let options = Options {
            url,
            pool: 2,
            allow_fsync_off: true,
            clock_offset_micros: 0,
            ca_certificates: Vec::new(),
            answer_within: Options::ANSWER,
            alone: false,
        };
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let db = runtime.block_on(Db::open(options)).unwrap();
        Self { db, runtime, host: server.address().to_string() }
    }

    /// Writes lines into the audit log.
    pub(crate) fn audit(&self, lines: usize, what: &str, object: &str) {
        let input = (lines, what.to_owned(), object.to_owned());
        let written: Result<(), DbError> = self.runtime.block_on(self.db.write(input, |tx, (lines, what, object)| {
            Box::pin(async move {
                for _ in 0..*lines {
                    audit::record(tx, &By::name("tester"), what, object, None, None).await?;
                }
                Ok(())
            })
        }));
        written.unwrap();
    }

    /// A key of somebody who is no administrator and has no role anywhere.
    pub(crate) fn person(&self, name: &str) -> NewKey {
        self.runtime.block_on(async {
            let new = NewPerson {
                name: name.to_owned(),
                full_name: String::new(),
                email: String::new(),
                administrator: false,
                password: None,
            };
            let made: Result<_, DbError> =
                self.db.write((new, By::default()), |tx, (new, by)| Box::pin(person::insert(tx, new, by, "{}"))).await;
            assert!(made.unwrap().is_some(), "{name} was there");
            let keys = Keys::new(self.db.clone(), Entropy::system());
            keys.create(KeyFor::Person(name.to_owned()), "", None, &By::default()).await.unwrap()
        })
    }

    /// A token of 60 seconds of the first key, made by a node whose clock is so late that the server takes it for about
    /// `left` seconds more; and a refresh token.
    pub(crate) fn ending_token(&self, scopes: &[&str], left: u64) -> (String, String) {
        let late = i64::try_from((SHORTEST + LEEWAY - left) * 1_000_000).unwrap();
        let options = AccessOptions {
            token_lifetime: Duration::from_secs(SHORTEST),
            clock: Clock::new(move || Clock::system().micros() - late),
            ..AccessOptions::new(SECRET_KEY)
        };
        let grant = self.runtime.block_on(async {
            let access = Access::open(self.db.clone(), options).await.unwrap();
            let request = TokenRequest {
                service: &self.host,
                from: Ipv4Addr::LOCALHOST.into(),
                credentials: Credentials::password(KEY_ID.to_owned(), KEY_SECRET.to_owned()),
                scopes: Scopes::parse(scopes.iter().copied()),
                view: View::Public,
                resolve: &|name| {
                    let (registry, repository) = name.split_once('/')?;
                    Some(Place { registry: registry.parse().ok()?, repository: repository.parse().ok()? })
                },
                offline: true,
            };
            access.token(request).await.unwrap()
        });
        assert_eq!(grant.expires_in, SHORTEST);
        (grant.token, grant.refresh_token.unwrap())
    }
}
