//! The servers that are measured: each in a directory of its own on the same disk.

use std::{
    fs::{self, File},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::Duration,
};

use roadstead_testkit::{
    Client, Cluster, Login, Setup,
    content::{Image, Manifest, digest, types},
    process::{directory, find_program, free_port},
    server::{KEY_ID, KEY_SECRET},
    token::Challenge,
    until,
};
use rustix::{
    param::clock_ticks_per_second,
    process::{Pid, Signal, kill_process},
};

use crate::{certificate::Certificate, cores, load::Target};

/// Registry and repository that all content is in.
pub(crate) const REPOSITORY: &str = "conf/app";

/// Who takes part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Name {
    /// This project, as it starts without configuration, tokens checked.
    Roadstead,
    /// Another build of it, the same way.
    Before,
    /// `docker-registry` of Debian (Distribution 2).
    Dr,
    /// Distribution 3.
    D3,
    /// The same bytes as files: the limit for reads.
    Nginx,
    /// [`crate::bare_loop`]: the limit for pushes.
    Loop,
}

/// All of them.
pub(crate) const ALL: [Name; 6] = [Name::Roadstead, Name::Before, Name::Dr, Name::D3, Name::Nginx, Name::Loop];

impl Name {
    /// As it stands in the table.
    pub(crate) fn text(self) -> &'static str {
        match self {
            Self::Roadstead => "Roadstead",
            Self::Before => "before",
            Self::Dr => "DR",
            Self::D3 => "D3",
            Self::Nginx => "nginx",
            Self::Loop => "loop",
        }
    }

    /// Whether it is a build of this project.
    pub(crate) fn is_ours(self) -> bool {
        matches!(self, Self::Roadstead | Self::Before)
    }
}

/// What is stored on each.
pub(crate) struct Content {
    /// Under the tag `latest`, with its blobs.
    pub(crate) image: Image,
    /// A blob of 100 MiB.
    pub(crate) large: Vec<u8>,
}

impl Content {
    /// Path of the image by tag.
    pub(crate) fn by_tag() -> String {
        format!("/v2/{REPOSITORY}/manifests/latest")
    }

    /// Path of the image by digest.
    pub(crate) fn by_digest(&self) -> String {
        format!("/v2/{REPOSITORY}/manifests/{}", self.image.manifest.digest())
    }

    /// Path of a blob.
    pub(crate) fn blob(bytes: &[u8]) -> String {
        format!("/v2/{REPOSITORY}/blobs/{}", digest(bytes))
    }
}

/// The programs that are here.
pub(crate) struct Programs {
    roadstead: PathBuf,
    before: Option<PathBuf>,
    docker_registry: Option<PathBuf>,
    registry: Option<PathBuf>,
    nginx: Option<PathBuf>,
}

impl Programs {
    /// Looks for the peers in `PATH`; ours is the release build, and perhaps one from before.
    pub(crate) fn find(roadstead: PathBuf, before: Option<PathBuf>) -> Self {
        let find = |program| find_program(program, &["/usr/sbin", "/usr/bin"].map(PathBuf::from));
        let (docker_registry, registry) = (find("docker-registry"), find("registry"));
        Self { roadstead, before, docker_registry, registry, nginx: find("nginx") }
    }

    /// Whether a server can take part.
    pub(crate) fn has(&self, name: Name) -> bool {
        self.version(name).is_some()
    }

    /// The first line that a program says of its version. `None`: it is not here.
    pub(crate) fn version(&self, name: Name) -> Option<String> {
        let (program, argument) = match name {
            Name::Roadstead => (&self.roadstead, "--version"),
            Name::Before => (self.before.as_ref()?, "--version"),
            Name::Dr => (self.docker_registry.as_ref()?, "--version"),
            Name::D3 => (self.registry.as_ref()?, "--version"),
            Name::Nginx => (self.nginx.as_ref()?, "-v"),
            Name::Loop => return Some("a loop of the bench".to_owned()),
        };
        let output = Command::new(program).arg(argument).output().ok()?;
        let text = [output.stdout, output.stderr].concat();
        let line = String::from_utf8_lossy(&text).lines().next().unwrap_or_default().to_owned();
        // Distribution says where it lies, too.
        Some(line.trim_start_matches(&*program.to_string_lossy()).trim().to_owned())
    }

    /// Roadstead in its embedded default.
    pub(crate) fn embedded(&self) -> Setup {
        lasting(Setup::directory(&self.roadstead))
    }

    /// The same of the build that has this name.
    fn build(&self, name: Name) -> Setup {
        match &self.before {
            Some(before) if name == Name::Before => lasting(Setup::directory(before)),
            _ => self.embedded(),
        }
    }

    /// Roadstead as a node.
    pub(crate) fn node(&self, cluster: &Arc<Cluster>) -> Setup {
        lasting(Setup::node(&self.roadstead, cluster).unset("ROADSTEAD_DATABASE_POOL"))
    }
}

/// A run takes longer than a token lives.
fn lasting(setup: Setup) -> Setup {
    setup.set("ROADSTEAD_TOKEN_LIFETIME_SECONDS", "43200")
}

/// What a server is started with.
#[derive(Clone, Copy)]
pub(crate) struct Ground<'a> {
    pub(crate) programs: &'a Programs,
    pub(crate) certificate: &'a Certificate,
}

/// A running server.
pub(crate) struct Contestant {
    pub(crate) name: Name,
    pub(crate) target: Target,
    /// Head lines of every request: whom it asks, and who asks.
    pub(crate) head: String,
    folder: Arc<Folder>,
    program: Child,
}

impl Contestant {
    /// Starts a server and stores the content, if any is given. With `tls` it is filled in the clear and started again.
    pub(crate) fn start(name: Name, tls: bool, ground: &Ground<'_>, content: Option<&Content>) -> Self {
        let (folder, port) = (Arc::new(Folder(directory(name.text()))), free_port());
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let place = Place { folder: &folder.0, port, tls: None };
        if let (Name::Nginx, Some(content)) = (name, content) {
            write_files(&folder.0.join("root"), content);
        }
        let setup = ground.programs.build(name);
        let program = start(command(name, &setup, ground, &place), &place);
        let target = Target { address, tls: None, alone: true };
        let mut contestant = Self { name, target, head: format!("Host: {address}\r\n"), folder, program };
        let client = contestant.client();
        if name.is_ours() {
            contestant.head += &format!("Authorization: Bearer {}\r\n", token(&client));
        }
        if let Some(content) = content.filter(|_| !matches!(name, Name::Nginx | Name::Loop)) {
            client.push_blob(REPOSITORY, &content.large);
            client.push_image(REPOSITORY, "latest", &content.image);
        }
        if tls {
            contestant.stop();
            let folder = Arc::clone(&contestant.folder);
            let place = Place { folder: &folder.0, port, tls: Some(ground.certificate) };
            contestant.program = start(command(name, &setup, ground, &place), &place);
            contestant.target.tls = Some(ground.certificate.connector());
        }
        contestant
    }

    /// A client that may do everything; in the clear.
    pub(crate) fn client(&self) -> Client {
        let login = match self.name {
            name if name.is_ours() => Login::Basic(KEY_ID.to_owned(), KEY_SECRET.to_owned()),
            _ => Login::Anonymous,
        };
        Client::new(self.target.address, login)
    }

    /// A request without a body.
    pub(crate) fn request(&self, method: &str, path: &str, further: &str) -> Vec<u8> {
        // Distribution serves an OCI manifest only to who says that it is understood.
        let accept = format!("{}, */*", types::MANIFEST);
        format!("{method} {path} HTTP/1.1\r\n{}Accept: {accept}\r\n{further}\r\n", self.head).into_bytes()
    }

    /// Processor time that it has used so far.
    pub(crate) fn cpu(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.program.id())).unwrap_or_default();
        // `NUMBER (NAME) STATE ...`; user and system time are the 14th and 15th field.
        let fields: Vec<u64> = stat.rsplit_once(')').map_or_else(Vec::new, |(_, rest)| {
            rest.split_whitespace().map(|field| field.parse().unwrap_or(0)).collect()
        });
        let ticks = fields.get(11).unwrap_or(&0) + fields.get(12).unwrap_or(&0);
        Duration::from_secs_f64(ticks as f64 / clock_ticks_per_second() as f64)
    }

    /// Bytes of a line of `/proc/PID/status`: `VmRSS`, or `VmHWM` for the highest so far.
    pub(crate) fn memory(&self, line: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.program.id())).unwrap_or_default();
        let value = status.lines().find_map(|it| it.strip_prefix(line)?.strip_prefix(':'));
        let kib = value.and_then(|value| value.trim().trim_end_matches("kB").trim().parse::<u64>().ok());
        kib.unwrap_or(0) << 10
    }

    /// What it stores, which stays for as long as this is held.
    pub(crate) fn folder(&self) -> Arc<Folder> {
        Arc::clone(&self.folder)
    }

    fn stop(&mut self) {
        if let Some(pid) = i32::try_from(self.program.id()).ok().and_then(Pid::from_raw) {
            let _ = kill_process(pid, Signal::KILL);
        }
        let _ = self.program.wait();
    }
}

impl Drop for Contestant {
    /// The disk has nothing left to write.
    fn drop(&mut self) {
        self.stop();
        rustix::fs::sync();
    }
}

/// What a contestant stored; gone when it is dropped.
pub(crate) struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

struct Place<'a> {
    folder: &'a Path,
    port: u16,
    tls: Option<&'a Certificate>,
}

fn command(name: Name, setup: &Setup, ground: &Ground<'_>, place: &Place<'_>) -> Command {
    let here = |program: &Option<PathBuf>| program.clone().expect("a program that takes part is here");
    match name {
        Name::Roadstead | Name::Before => roadstead(setup, place),
        Name::Dr => distribution(&here(&ground.programs.docker_registry), place),
        Name::D3 => distribution(&here(&ground.programs.registry), place),
        Name::Nginx => nginx(&here(&ground.programs.nginx), place),
        Name::Loop => {
            let mut command = Command::new(std::env::current_exe().expect("the path of this program"));
            command.args(["bare-loop", "--port", &place.port.to_string()]).arg(place.folder);
            command
        }
    }
}

/// On the core of the servers. What it says goes into a file, as it would go to a journal. It listens when this returns.
fn start(mut command: Command, place: &Place<'_>) -> Child {
    let log = File::create(place.folder.join("log")).expect("a log can be written");
    let also = log.try_clone().expect("a descriptor");
    command.stdin(Stdio::null()).stdout(log).stderr(also);
    let started = cores::on_server_core(|| command.spawn());
    let program = started.unwrap_or_else(|error| panic!("{command:?}: {error}"));
    until("a server listens", || std::net::TcpStream::connect(("127.0.0.1", place.port)).ok());
    program
}

fn roadstead(setup: &Setup, place: &Place<'_>) -> Command {
    let mut setup = setup.clone().set("ROADSTEAD_LISTEN", &format!("127.0.0.1:{}", place.port));
    if let Some(certificate) = place.tls {
        setup = setup
            .set("ROADSTEAD_TLS_CERTIFICATE", &certificate.chain().display().to_string())
            .set("ROADSTEAD_TLS_KEY", &certificate.key().display().to_string());
    }
    setup.command(place.folder, &["serve"])
}

/// Distribution, version 2 or 3, with files.
fn distribution(program: &Path, place: &Place<'_>) -> Command {
    let config = format!(
        "version: 0.1\nlog:\n  level: error\n  accesslog:\n    disabled: true\nstorage:\n  filesystem:\n    rootdirectory: {}\n  delete:\n    enabled: true\nhttp:\n  addr: 127.0.0.1:{}\n",
        place.folder.join("data").display(),
        place.port
    );
    let path = place.folder.join("config.yml");
    fs::write(&path, config).expect("a configuration can be written");
    let mut command = Command::new(program);
    command.arg("serve").arg(path).env("OTEL_TRACES_EXPORTER", "none");
    command
}

/// One worker that serves files as fast as it can.
fn nginx(program: &Path, place: &Place<'_>) -> Command {
    let listen = match place.tls {
        None => format!("listen 127.0.0.1:{};", place.port),
        Some(certificate) => format!(
            "listen 127.0.0.1:{} ssl; ssl_certificate {}; ssl_certificate_key {}; ssl_protocols TLSv1.3;",
            place.port,
            certificate.chain().display(),
            certificate.key().display()
        ),
    };
    let config = format!(
        "daemon off; master_process off; worker_processes 1; error_log stderr; pid {0}/pid;
events {{ worker_connections 1024; }}
http {{
    access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; default_type {1};
    client_body_temp_path {0}/body; proxy_temp_path {0}/proxy; fastcgi_temp_path {0}/fastcgi; uwsgi_temp_path {0}/uwsgi;
    scgi_temp_path {0}/scgi;
    server {{ {listen} root {0}/root; }}
}}",
        place.folder.display(),
        types::MANIFEST
    );
    let path = place.folder.join("nginx.conf");
    fs::write(&path, config).expect("a configuration can be written");
    let mut command = Command::new(program);
    command.arg("-c").arg(path).arg("-p").arg(place.folder);
    command
}

/// The content as files under the paths of the registry.
fn write_files(root: &Path, content: &Content) {
    let write = |path: &str, bytes: &[u8]| {
        let path = root.join(path.trim_start_matches('/'));
        fs::create_dir_all(path.parent().expect("a path below the root")).expect("a directory can be made");
        fs::write(path, bytes).expect("a file can be written");
    };
    let Manifest { bytes, .. } = &content.image.manifest;
    write(&Content::by_tag(), bytes);
    write(&content.by_digest(), bytes);
    for blob in content.image.blobs.iter().chain([&content.large]) {
        write(&Content::blob(blob), blob);
    }
}

/// A token to pull from and push to [`REPOSITORY`].
pub(crate) fn token(client: &Client) -> String {
    let challenge = Challenge::of(&client.anonymous().get("/v2/"));
    let scopes = [format!("repository:{REPOSITORY}:pull,push"), "registry:catalog:*".to_owned()];
    let answer = client.get(&challenge.target(&scopes.each_ref().map(String::as_str)));
    answer.expect(200).json()["token"].as_str().expect("a token").to_owned()
}
