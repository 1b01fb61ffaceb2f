//! PostgreSQL for tests: one cluster a test process, one database a test.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::PathBuf,
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::process::Signal;
use tokio_postgres::NoTls;

use crate::process::{self, Output, Process, until};

/// A PostgreSQL cluster: one that was started here, or one that `ROADSTEAD_TEST_POSTGRES_URL` names.
pub struct Postgres {
    /// Address of a database whose user may make others, `postgres://USER@HOST:PORT/NAME`.
    url: String,
    started: Option<Started>,
}

struct Started {
    process: Process,
    command: Command,
    user: Option<(u32, u32)>,
}

impl Postgres {
    /// The one of this test process, started at its first use, with `fsync` off for speed. `None` when the machine
    /// has no PostgreSQL.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Postgres>> = OnceLock::new();
        SHARED
            .get_or_init(|| match std::env::var("ROADSTEAD_TEST_POSTGRES_URL") {
                Ok(url) => Some(Self { url, started: None }),
                Err(_) => Self::start(false),
            })
            .as_ref()
    }

    /// Starts a cluster of its own. `None` when the machine has no PostgreSQL.
    ///
    /// # Panics
    /// When it is there but does not start.
    pub fn start(fsync: bool) -> Option<Self> {
        let postgres = find("postgres")?;
        let initdb = find("initdb")?;
        let user = process::ordinary_user();
        let base = process::directory("postgres");
        process::give(&base, user);
        let data = base.join("data");
        let port = process::free_port();

        let mut init = Command::new(initdb);
        init.args(["--auth=trust", "--username=roadstead", "--encoding=UTF8", "--no-locale", "--no-sync", "-D"]);
        init.arg(&data).current_dir(&base);
        let mut init = Process::start(&init, "KILL", user, Output::default());
        assert_eq!(init.wait(), 0, "initdb failed:\n{}", init.output.text());

        let mut command = Command::new(postgres);
        command.arg("-D").arg(&data).current_dir(&base).args(["-p", &port.to_string(), "-k"]).arg(&base);
        let fsync = if fsync { "on" } else { "off" };
        let settings = ["listen_addresses=127.0.0.1", "max_connections=400", "shared_buffers=64MB", "max_wal_size=4GB"];
        for setting in settings.iter().copied().chain([format!("fsync={fsync}").as_str()]) {
            command.args(["-c", setting]);
        }
        let process = Process::start(&command, "QUIT", user, Output::default());
        let url = format!("postgres://roadstead@127.0.0.1:{port}/postgres");
        let mut this = Self { url, started: Some(Started { process, command, user }) };
        this.wait_until_ready();
        Some(this)
    }

    /// Kills every process of the cluster at once, as a power cut does, and starts it on the same files.
    ///
    /// # Panics
    /// When this cluster was not started here, or does not start again.
    pub fn crash_and_restart(&mut self) {
        let started = self.started.as_mut().expect("only a cluster of the test kit can be crashed");
        // SIGQUIT: all leave without a word to disk; the next start recovers from the log.
        started.process.signal(Signal::QUIT);
        started.process.wait();
        started.process = Process::start(&started.command, "QUIT", started.user, Output::default());
        self.wait_until_ready();
    }

    /// Kills every process of the cluster (SIGKILL), the one that would clean up after the others first.
    ///
    /// # Panics
    /// When this cluster was not started here.
    pub fn kill(&mut self) {
        let started = self.started.as_mut().expect("only a cluster of the test kit can be killed");
        let children = process::children(started.process.pid());
        started.process.signal(Signal::KILL);
        for child in &children {
            // Gone in between: what was wanted.
            let _ = rustix::process::kill_process(*child, Signal::KILL);
        }
        started.process.wait();
        until("all processes of PostgreSQL are gone", || {
            (!children.iter().any(|child| process::runs(*child))).then_some(())
        });
    }

    /// Starts a killed cluster on the same files.
    ///
    /// # Panics
    /// When this cluster was not started here, or does not start again.
    pub fn start_again(&mut self) {
        let started = self.started.as_mut().expect("only a cluster of the test kit can be started again");
        started.process = Process::start(&started.command, "QUIT", started.user, Output::default());
        self.wait_until_ready();
    }

    fn wait_until_ready(&mut self) {
        let url = self.url.clone();
        let started = self.started.as_mut().expect("it was started just now");
        until("PostgreSQL answers", || {
            assert!(started.process.exit_code().is_none(), "PostgreSQL ended:\n{}", started.process.output.text());
            execute(&url, "SELECT 1").ok()
        });
    }

    /// A new empty database, dropped with the value.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn database(&self) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("roadstead_test_{}_{number}_{:08x}", std::process::id(), rand::random::<u32>());
        execute(&self.url, &format!("CREATE DATABASE {name}")).unwrap_or_else(|error| panic!("{name}: {error}"));
        Database { admin: self.url.clone(), name }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(started) = &mut self.started {
            started.process.signal(Signal::QUIT);
            started.process.wait();
        }
    }
}

/// A transaction that holds on to something.
pub struct Held {
    end: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Drop for Held {
    fn drop(&mut self) {
        drop(self.end.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// A database of one test.
pub struct Database {
    admin: String,
    name: String,
}

impl Database {
    /// Its address, `postgres://USER@HOST:PORT/NAME`.
    pub fn url(&self) -> String {
        let (before, after) = self.admin.rsplit_once('/').unwrap_or((&self.admin, ""));
        let query = after.split_once('?').map(|(_, query)| format!("?{query}")).unwrap_or_default();
        format!("{before}/{}{query}", self.name)
    }

    /// Where its server listens.
    ///
    /// # Panics
    /// When the address of the cluster is no `postgres://USER@HOST:PORT/NAME` that can be resolved.
    pub fn server(&self) -> SocketAddr {
        let (_, rest) = self.admin.rsplit_once('@').expect("postgres://USER@HOST:PORT/NAME");
        let host = rest.split('/').next().unwrap_or_default();
        { host.to_socket_addrs().ok().and_then(|mut all| all.next()) }.unwrap_or_else(|| panic!("no address: {host}"))
    }

    /// Its address by way of a proxy.
    ///
    /// # Panics
    /// As [`Self::server`].
    pub fn url_through(&self, proxy: SocketAddr) -> String {
        let url = self.url();
        let (before, rest) = url.rsplit_once('@').expect("postgres://USER@HOST:PORT/NAME");
        let name = rest.split_once('/').map(|(_, name)| name).unwrap_or_default();
        format!("{before}@{proxy}/{name}")
    }

    /// Ends all connections to it, and lets those that are made from now on only read, or write again: as after a
    /// failover to a standby.
    ///
    /// # Panics
    /// When its cluster does not answer.
    pub fn set_read_only(&self, read_only: bool) {
        let on = if read_only { "on" } else { "off" };
        let name = &self.name;
        for sql in [
            format!("ALTER DATABASE {name} SET default_transaction_read_only = {on}"),
            format!("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"),
        ] {
            execute(&self.admin, &sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
    }

    /// Begins a transaction with `sql` and holds on to what it has locked until the answer is dropped.
    ///
    /// # Panics
    /// When the statement fails.
    pub fn hold(&self, sql: &str) -> Held {
        let (begun, when_begun) = std::sync::mpsc::channel();
        let (end, when_ended) = tokio::sync::oneshot::channel::<()>();
        let (url, sql) = (self.url(), format!("BEGIN; {sql}"));
        let run = async move {
            let (client, connection) = tokio_postgres::connect(&url, NoTls).await.expect("a connection");
            let connection = tokio::spawn(connection);
            let _ = begun.send(client.batch_execute(&sql).await.map_err(|error| format!("{sql}: {error:?}")));
            let _ = when_ended.await;
            drop(client);
            let _ = connection.await;
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(run);
        });
        when_begun.recv().expect("it begins").expect("it holds");
        Held { end: Some(end), thread: Some(thread) }
    }

    /// Runs statements in it.
    ///
    /// # Panics
    /// When one fails.
    pub fn execute(&self, sql: &str) {
        execute(&self.url(), sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // The cluster may be gone, and with it the database.
        let _ = execute(&self.admin, &format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name));
    }
}

/// In a thread of its own, because the caller may be inside a runtime that must not block.
fn execute(url: &str, sql: &str) -> Result<(), String> {
    let run = async || {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.map_err(|error| error.to_string())?;
        let connection = tokio::spawn(connection);
        let answer = client.batch_execute(sql).await.map_err(|error| format!("{error:?}"));
        drop(client);
        let _ = connection.await;
        answer
    };
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(run())
        });
        worker.join().unwrap_or_else(|_| Err("the thread panicked".to_owned()))
    })
}

/// In `PATH`, or the newest of Debian's versions.
fn find(program: &str) -> Option<PathBuf> {
    let mut further: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .map(|entries| entries.flatten().map(|entry| entry.path().join("bin")).collect())
        .unwrap_or_default();
    further.sort();
    further.reverse();
    process::find_program(program, &further)
}
