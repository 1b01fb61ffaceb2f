//! The real program as a process, on a data directory of its own.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
};

use base64::{Engine, prelude::BASE64_STANDARD};
use rustix::process::{Pid, Resource, Rlimit, Signal, getrlimit, prlimit};

use crate::{
    Client, Login, Postgres, S3,
    content::random_bytes,
    postgres::Database,
    process::{self, Output, Process},
};

/// Id of the key that the first start of every server makes.
pub const KEY_ID: &str = "TESTKEY0000000000001";
/// Its secret.
pub const KEY_SECRET: &str = "test-secret-of-the-first-administrator";
/// The registry that the first start makes.
pub const REGISTRY: &str = "conf";

/// One database and one bucket for any number of servers: what makes them nodes of one region.
pub struct Cluster {
    /// The database.
    pub database: Database,
    /// Name of the bucket.
    pub bucket: String,
    s3: &'static S3,
    secret_key: String,
}

impl Cluster {
    /// A fresh database and a fresh bucket.
    pub fn new(postgres: &Postgres, s3: &'static S3) -> Arc<Self> {
        let secret_key = BASE64_STANDARD.encode(random_bytes(32));
        Arc::new(Self { database: postgres.database(), bucket: s3.bucket(), s3, secret_key })
    }

    /// The keys of all objects in the bucket.
    pub fn objects(&self) -> Vec<String> {
        self.s3.objects(&self.bucket)
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let mut environment = vec![
            ("ROADSTEAD_DATABASE_URL", self.database.url()),
            ("ROADSTEAD_DATABASE_ALLOW_FSYNC_OFF", "true".to_owned()),
            ("ROADSTEAD_DATABASE_POOL", "8".to_owned()),
            ("ROADSTEAD_SECRET_KEY", self.secret_key.clone()),
        ];
        environment.extend(bucket_environment(self.s3, &self.bucket));
        environment
    }
}

/// The settings that make `bucket` of `s3` the bucket of a server.
pub fn bucket_environment(s3: &S3, bucket: &str) -> Vec<(&'static str, String)> {
    vec![
        ("ROADSTEAD_BUCKET_KIND", "s3".to_owned()),
        ("ROADSTEAD_BUCKET_NAME", bucket.to_owned()),
        ("ROADSTEAD_BUCKET_ENDPOINT", s3.endpoint.clone()),
        ("ROADSTEAD_BUCKET_REGION", s3.region.clone()),
        ("ROADSTEAD_BUCKET_ACCESS_KEY_ID", s3.access_key_id.clone()),
        ("ROADSTEAD_BUCKET_SECRET_ACCESS_KEY", s3.secret_access_key.clone()),
    ]
}

/// How a server is started. What is not said here is the program's default.
#[derive(Clone)]
pub struct Setup {
    binary: PathBuf,
    cluster: Option<Arc<Cluster>>,
    environment: Vec<(String, String)>,
}

impl Setup {
    /// SQLite and a directory. `binary` is `env!("CARGO_BIN_EXE_roadstead")` of the test binary.
    pub fn directory(binary: impl Into<PathBuf>) -> Self {
        Self { binary: binary.into(), cluster: None, environment: Vec::new() }
            .set("ROADSTEAD_LISTEN", "127.0.0.1:0")
            .set("ROADSTEAD_INITIAL_KEY_ID", KEY_ID)
            .set("ROADSTEAD_INITIAL_KEY_SECRET", KEY_SECRET)
            .set("ROADSTEAD_INITIAL_REGISTRY", REGISTRY)
            // Whoever counts objects, or fails requests, meets none but its own.
            .set("ROADSTEAD_BUCKET_CHECK_MINUTES", "0")
    }

    /// A node over PostgreSQL and S3.
    pub fn node(binary: impl Into<PathBuf>, cluster: &Arc<Cluster>) -> Self {
        let mut setup = Self::directory(binary);
        for (name, value) in cluster.environment() {
            setup = setup.set(name, &value);
        }
        Self { cluster: Some(Arc::clone(cluster)), ..setup }
    }

    /// Sets a variable of the environment, in place of an earlier value.
    pub fn set(mut self, name: &str, value: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Leaves a variable out.
    pub fn unset(mut self, name: &str) -> Self {
        self.environment.retain(|(known, _)| known != name);
        self
    }

    /// The value of a variable of the environment, if it is set.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.environment.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    /// The program with these settings and `arguments`, in `data` as its working and data directory.
    pub fn command(&self, data: &Path, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.binary);
        command.args(arguments).current_dir(data);
        for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ROADSTEAD_")) {
            command.env_remove(name);
        }
        // Nobody is signed in anywhere.
        command.env("XDG_CONFIG_HOME", data);
        command.env("ROADSTEAD_DATA_DIR", data).envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command of the program to its end.
    ///
    /// # Panics
    /// When the program is not there.
    pub fn run(&self, data: &Path, arguments: &[&str]) -> Ran {
        let output = self.command(data, arguments).stdin(Stdio::null()).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.binary.display()));
        Ran {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// What came of a command.
#[derive(Debug)]
pub struct Ran {
    /// Its exit code.
    pub code: i32,
    /// Its standard output.
    pub out: String,
    /// Its standard error.
    pub err: String,
}

impl Ran {
    /// Asserts that it succeeded; its output.
    #[track_caller]
    pub fn ok(&self) -> &str {
        assert!(self.code == 0, "{self:#?}");
        &self.out
    }

    /// Asserts that it failed in an orderly way (no panic, no signal); its standard error.
    #[track_caller]
    pub fn refused(&self) -> &str {
        assert!((1..100).contains(&self.code) && !self.err.contains("panicked"), "{self:#?}");
        assert!(!self.err.trim().is_empty(), "refused without a word: {self:#?}");
        &self.err
    }
}

/// A server and its data directory.
pub struct Server {
    setup: Setup,
    data: PathBuf,
    /// The directory was given: it stays.
    given: bool,
    launched: usize,
    process: Option<Process>,
    output: Output,
    address: SocketAddr,
}

impl Server {
    /// Starts a server on a fresh data directory and waits until it listens.
    ///
    /// # Panics
    /// When it does not start; with what it printed.
    pub fn start(setup: Setup) -> Self {
        let data = process::directory("data");
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let output = Output::default();
        let mut server = Self { setup, data, given: false, launched: 0, process: None, output, address: nowhere };
        server.start_again();
        server
    }

    /// A server on a data directory of the caller's, which stays when the server is dropped. It is not started yet.
    pub fn on(setup: Setup, data: &Path) -> Self {
        let nowhere = SocketAddr::from(([127, 0, 0, 1], 0));
        let (data, output) = (data.to_owned(), Output::default());
        Self { setup, data, given: true, launched: 0, process: None, output, address: nowhere }
    }

    /// A server that runs already and is not ours: nothing can be done to it but talk.
    ///
    /// # Panics
    /// When `host` is no `HOST:PORT`.
    pub fn foreign(host: &str) -> Self {
        let address = host.to_socket_addrs().ok().and_then(|mut all| all.next());
        let address = address.unwrap_or_else(|| panic!("ROADSTEAD_TEST_REGISTRY: no HOST:PORT: {host}"));
        let setup = Setup::directory("/nonexistent");
        let (data, output) = (PathBuf::new(), Output::default());
        Self { setup, data, given: true, launched: 0, process: None, output, address }
    }

    /// Starts a stopped server on the same data. Its address changes.
    ///
    /// # Panics
    /// When it does not start.
    pub fn start_again(&mut self) {
        self.launch();
        self.wait_until_it_listens().unwrap_or_else(|said| panic!("the server does not listen:\n{said}"));
    }

    /// Starts a stopped server on the same data, without waiting for it.
    ///
    /// # Panics
    /// When it runs.
    pub fn launch(&mut self) {
        assert!(self.process.is_none(), "the server runs");
        self.launched = self.output.position();
        let command = self.setup.command(&self.data, &["serve"]);
        self.process = Some(Process::start(&command, "KILL", None, self.output.clone()));
    }

    /// Waits until a server that was launched listens.
    ///
    /// # Errors
    /// What it has printed, when it ended instead or hangs.
    pub fn wait_until_it_listens(&mut self) -> Result<(), String> {
        let address = self.output.wait_for(self.launched, |line| {
            let (_, rest) = line.strip_prefix("out: ")?.split_once("listening on http")?;
            rest.trim_start_matches(['s', ':', '/']).split_whitespace().next()?.parse().ok()
        });
        self.address = address.ok_or_else(|| self.output.since(self.launched).join("\n"))?;
        Ok(())
    }

    /// Whether it was started, and neither stopped nor killed by the caller since.
    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// The exit code of a server that ended by itself.
    pub fn exit_code(&mut self) -> Option<i32> {
        self.process.as_mut().and_then(Process::exit_code)
    }

    /// Gives it other settings for its next start.
    pub fn configure(&mut self, setup: Setup) {
        self.setup = setup;
    }

    /// Starts a stopped server on the same data with other settings.
    pub fn start_with(&mut self, setup: Setup) {
        self.configure(setup);
        self.start_again();
    }

    /// Asks it to end (SIGTERM) and waits; the exit code.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn stop(&mut self) -> i32 {
        let mut process = self.process.take().expect("the server runs");
        process.signal(Signal::TERM);
        process.wait()
    }

    /// Sends a signal to it.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("the server runs").signal(signal);
    }

    /// Waits until it has ended; the exit code.
    ///
    /// # Panics
    /// When it does not run, or does not end.
    pub fn wait(&mut self) -> i32 {
        self.process.take().expect("the server runs").wait()
    }

    /// Ends it without a word (SIGKILL).
    ///
    /// # Panics
    /// When it does not run.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the server runs");
        process.signal(Signal::KILL);
        process.wait();
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> Pid {
        self.process.as_ref().expect("the server runs").pid()
    }

    /// KiB of memory that it uses now (resident).
    ///
    /// # Panics
    /// When it does not run.
    pub fn memory_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid().as_raw_nonzero()));
        let status = status.expect("a running process has a status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("it has memory");
        line.trim().trim_end_matches(" kB").parse().expect("a number of kB")
    }

    /// Descriptors that it holds now.
    ///
    /// # Panics
    /// When it does not run.
    pub fn open_files(&self) -> usize {
        let folder = format!("/proc/{}/fd", self.pid().as_raw_nonzero());
        std::fs::read_dir(folder).expect("a running process has descriptors").count()
    }

    /// From now on it may hold so many descriptors; `None` for as many as it was started with.
    ///
    /// # Panics
    /// When it does not run, or is not ours to limit.
    pub fn limit_open_files(&self, most: Option<u64>) {
        let maximum = getrlimit(Resource::Nofile).maximum;
        let current = most.or(maximum);
        prlimit(Some(self.pid()), Resource::Nofile, Rlimit { current, maximum }).expect("a limit of our own child");
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Its data directory.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// How it was started.
    pub fn setup(&self) -> &Setup {
        &self.setup
    }

    /// What it has printed.
    pub fn output(&self) -> &Output {
        &self.output
    }

    /// Runs a command of the program beside it, with its settings and data directory.
    pub fn run(&self, arguments: &[&str]) -> Ran {
        self.setup.run(&self.data, arguments)
    }

    /// A client that says its key with each request.
    pub fn client(&self) -> Client {
        Client::new(self.address, Login::Basic(KEY_ID.to_owned(), KEY_SECRET.to_owned()))
    }

    /// The settings of its database and bucket, if they are shared.
    pub fn cluster(&self) -> Option<&Arc<Cluster>> {
        self.setup.cluster.as_ref()
    }

    /// Object files or objects that its bucket holds now.
    pub fn objects(&self) -> Vec<String> {
        match self.cluster() {
            Some(cluster) => cluster.objects(),
            None => files(&self.data.join("objects")),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.take();
        if std::thread::panicking() {
            print_end(&self.output.since(0));
        } else if !self.given && self.data.is_dir() {
            let _ = std::fs::remove_dir_all(&self.data);
        }
    }
}

/// Prints the last lines of a server, into the output of the test that fails.
pub fn print_end(lines: &[String]) {
    let skipped = lines.len().saturating_sub(200);
    eprintln!("--- the server said ({skipped} earlier lines left out):\n{}", lines[skipped..].join("\n"));
}

fn files(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).map(|entries| entries.flatten().collect::<Vec<_>>()).unwrap_or_default();
    let mut found = Vec::new();
    for entry in entries {
        match entry.file_type() {
            Ok(kind) if kind.is_dir() => found.extend(files(&entry.path())),
            _ => found.push(entry.path().display().to_string()),
        }
    }
    found
}
