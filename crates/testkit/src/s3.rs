//! A real S3 for tests: SeaweedFS, one a test process, one bucket a test.

use std::{
    net::{SocketAddr, ToSocketAddrs},
    process::Command,
    sync::{
        OnceLock,
        atomic::{AtomicU32, Ordering},
    },
};

use rustix::process::Signal;

use crate::{
    http::{Body, Request, Response},
    process::{self, Output, Process, until},
    sigv4, wire,
};

/// An S3 endpoint: SeaweedFS started here, or the one that `ROADSTEAD_TEST_S3_ENDPOINT` names (with
/// `ROADSTEAD_TEST_S3_ACCESS_KEY_ID`, `ROADSTEAD_TEST_S3_SECRET_ACCESS_KEY` and `ROADSTEAD_TEST_S3_REGION`).
pub struct S3 {
    /// `http://HOST:PORT`, path style.
    pub endpoint: String,
    /// The access key for servers.
    pub access_key_id: String,
    /// Its secret.
    pub secret_access_key: String,
    /// The region to sign for.
    pub region: String,
    /// Id and secret of the key that makes buckets, and reads all their settings.
    pub owner: (String, String),
    process: Option<Process>,
    /// How it was started here.
    command: Option<Command>,
}

/// An object as a listing shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Object {
    /// Its key.
    pub key: String,
    /// Its bytes.
    pub size: u64,
}

impl S3 {
    /// The one of this test process, started at its first use. `None` when the machine has no `weed`.
    pub fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<S3>> = OnceLock::new();
        let given = |name: &str| std::env::var(format!("ROADSTEAD_TEST_S3_{name}")).ok();
        SHARED
            .get_or_init(|| match given("ENDPOINT") {
                Some(endpoint) => Some(Self {
                    endpoint: endpoint.trim_end_matches('/').to_owned(),
                    access_key_id: given("ACCESS_KEY_ID").expect("ROADSTEAD_TEST_S3_ACCESS_KEY_ID"),
                    secret_access_key: given("SECRET_ACCESS_KEY").expect("ROADSTEAD_TEST_S3_SECRET_ACCESS_KEY"),
                    region: given("REGION").unwrap_or_else(|| "us-east-1".to_owned()),
                    owner: given("ACCESS_KEY_ID").zip(given("SECRET_ACCESS_KEY")).unwrap_or_default(),
                    process: None,
                    command: None,
                }),
                None => Self::start(),
            })
            .as_ref()
    }

    /// Starts a SeaweedFS of its own. `None` when the machine has no `weed`.
    ///
    /// # Panics
    /// When it is there but makes no bucket.
    pub fn start() -> Option<Self> {
        let home = std::env::home_dir().unwrap_or_default();
        // The second is where e2e/install puts it.
        let tools = std::env::var_os("ROADSTEAD_TOOLS").map_or(home.join(".cache/roadstead-tools"), Into::into);
        let weed = process::find_program("weed", &[tools.join("bin")])?;
        let base = process::directory("s3");
        let owner = ("roadstead-owner".to_owned(), "roadstead-owner-secret".to_owned());
        let (key, secret) = ("roadstead-test", "roadstead-test-secret");
        // Servers get a key that may not make buckets: SeaweedFS makes a missing one for whoever may.
        let config = serde_json::json!({"identities": [
            {
                "name": "owner",
                "credentials": [{"accessKey": owner.0, "secretKey": owner.1}],
                "actions": ["Admin", "Read", "List", "Tagging", "Write"],
            },
            {
                "name": "server",
                "credentials": [{"accessKey": key, "secretKey": secret}],
                "actions": ["Read", "List", "Tagging", "Write"],
            },
        ]});
        let keys = base.join("keys.json");
        std::fs::write(&keys, config.to_string()).expect("a file in a new directory");

        let mut command = Command::new(weed);
        // A bucket is a collection, and each collection gets volumes of its own: one each is enough here.
        command.current_dir(&base).env("WEED_MASTER_VOLUME_GROWTH_COPY_1", "1");
        command.args(["-logtostderr=true", "server", "-s3", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]);
        command.args(["-volume.max=4000", "-master.volumeSizeLimitMB=256", "-volume.minFreeSpace=0"]);
        command.arg(format!("-dir={}", base.display())).arg(format!("-s3.config={}", keys.display()));
        let s3_port = process::free_port();
        command.arg(format!("-s3.port={s3_port}"));
        // Further services, on ports that every weed of the machine would take.
        command.args(["-s3.port.iceberg=0", "-s3.port.lance=0", "-iam=false", "-master.telemetry=false"]);
        for name in [
            "s3.port.grpc",
            "filer.port",
            "filer.port.grpc",
            "master.port",
            "master.port.grpc",
            "volume.port",
            "volume.port.grpc",
        ] {
            command.arg(format!("-{name}={}", process::free_port()));
        }
        let process = Process::start(&command, "KILL", None, Output::default());
        let mut this = Self {
            endpoint: format!("http://127.0.0.1:{s3_port}"),
            access_key_id: key.to_owned(),
            secret_access_key: secret.to_owned(),
            region: "us-east-1".to_owned(),
            owner,
            process: Some(process),
            command: Some(command),
        };
        this.wait_until_ready(&[200]);
        Some(this)
    }

    /// Kills the SeaweedFS process (SIGKILL).
    ///
    /// # Panics
    /// When it was not started here.
    pub fn kill(&mut self) {
        let process = self.process.as_mut().expect("only a SeaweedFS of the test kit can be killed");
        process.signal(Signal::KILL);
        process.wait();
    }

    /// Starts a killed SeaweedFS on the same files and ports.
    ///
    /// # Panics
    /// When it was not started here, or does not start again.
    pub fn start_again(&mut self) {
        let command = self.command.as_ref().expect("only a SeaweedFS of the test kit can be started again");
        self.process = Some(Process::start(command, "KILL", None, Output::default()));
        // Made before; made anew it answers 409.
        self.wait_until_ready(&[200, 409]);
    }

    fn wait_until_ready(&mut self, statuses: &[u16]) {
        until("SeaweedFS makes a bucket", || {
            let process = self.process.as_mut().expect("it was started just now");
            assert!(process.exit_code().is_none(), "weed ended:\n{}", process.output.text());
            self.send(Request::new("PUT", "/ready")).ok().filter(|answer| statuses.contains(&answer.status))
        });
    }

    /// Where it listens.
    ///
    /// # Panics
    /// When the endpoint is no `http://HOST:PORT` that can be resolved.
    pub fn address(&self) -> SocketAddr {
        let host = self.host();
        { host.to_socket_addrs().ok().and_then(|mut all| all.next()) }.unwrap_or_else(|| panic!("no address: {host}"))
    }

    fn host(&self) -> &str {
        self.endpoint.strip_prefix("http://").expect("ROADSTEAD_TEST_S3_ENDPOINT is http://HOST:PORT")
    }

    fn send(&self, request: Request) -> Result<Response, wire::WireError> {
        let request = sigv4::sign(request, self.host(), &self.region, &self.owner.0, &self.owner.1);
        wire::exchange(self.address(), &request)
    }

    /// A new bucket; its name.
    ///
    /// # Panics
    /// When it cannot be made.
    pub fn bucket(&self) -> String {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("test-{}-{number}-{:08x}", std::process::id(), rand::random::<u32>());
        let answer = self.send(Request::new("PUT", &format!("/{name}"))).expect("S3 answers");
        assert_eq!(answer.status, 200, "PUT /{name}: {answer:?}");
        name
    }

    /// A new bucket that keeps what is deleted; its name. `None`: the S3 knows no object lock.
    ///
    /// # Panics
    /// When S3 does not answer.
    pub fn locked_bucket(&self) -> Option<String> {
        let name = format!("locked-{}-{:08x}", std::process::id(), rand::random::<u32>());
        let request = Request::new("PUT", &format!("/{name}")).header("X-Amz-Bucket-Object-Lock-Enabled", "true");
        (self.send(request).expect("S3 answers").status == 200).then_some(name)
    }

    /// Gives a bucket a life-cycle configuration with these rules.
    ///
    /// # Panics
    /// When it is refused.
    pub fn set_lifecycle(&self, bucket: &str, rules: &str) {
        let text = format!(
            "<LifecycleConfiguration xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">{rules}</LifecycleConfiguration>"
        );
        let request = Request::new("PUT", &format!("/{bucket}?lifecycle=")).body(Body::Length(text.into_bytes()));
        let answer = self.send(request).expect("S3 answers");
        assert_eq!(answer.status, 200, "PUT /{bucket}?lifecycle: {answer:?}");
    }

    /// The keys of all objects of a bucket.
    ///
    /// # Panics
    /// When the bucket cannot be listed.
    pub fn objects(&self, bucket: &str) -> Vec<String> {
        self.list(bucket).into_iter().map(|object| object.key).collect()
    }

    /// All objects of a bucket.
    ///
    /// # Panics
    /// When the bucket cannot be listed.
    pub fn list(&self, bucket: &str) -> Vec<Object> {
        let mut found = Vec::new();
        let mut after = String::new();
        loop {
            let text =
                self.get(&format!("/{bucket}?list-type=2&max-keys=1000&start-after={}", after.replace('/', "%2F")));
            let contents = text.split("<Contents>").skip(1).filter_map(|rest| rest.split("</Contents>").next());
            let page: Vec<Object> = contents
                .filter_map(|entry| {
                    let key = element(entry, "Key")?.to_owned();
                    Some(Object { key, size: element(entry, "Size")?.parse().ok()? })
                })
                .collect();
            after = page.last().map(|object| object.key.clone()).unwrap_or_default();
            found.extend(page);
            if element(&text, "IsTruncated") != Some("true") || after.is_empty() {
                return found;
            }
        }
    }

    /// The keys of multipart uploads of a bucket that were begun and neither completed nor aborted (the first thousand).
    ///
    /// # Panics
    /// When they cannot be listed.
    pub fn unfinished(&self, bucket: &str) -> Vec<String> {
        let text = self.get(&format!("/{bucket}?uploads="));
        let uploads = text.split("<Upload>").skip(1).filter_map(|rest| rest.split("</Upload>").next());
        uploads.filter_map(|entry| element(entry, "Key").map(str::to_owned)).collect()
    }

    fn get(&self, target: &str) -> String {
        let answer = self.send(Request::new("GET", target)).expect("S3 answers");
        assert_eq!(answer.status, 200, "GET {target}: {answer:?}");
        answer.text()
    }

    /// Stops or resumes the SeaweedFS process (SIGSTOP, SIGCONT) or ends it (SIGKILL): the bucket is unreachable.
    ///
    /// # Panics
    /// When it was not started here.
    pub fn signal(&mut self, signal: Signal) {
        self.process.as_mut().expect("only a SeaweedFS of the test kit").signal(signal);
    }
}

/// The text of the first XML element of this name.
fn element<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(&format!("<{name}>"))?;
    rest.split_once("</").map(|(value, _)| value)
}
