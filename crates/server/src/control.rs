//! Commands beside a running server that holds an embedded database: a Unix socket in the data directory, which only its
//! owner can open. One command a connection: a line of JSON each way.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};

use crate::commands::{Command, Failure, Outcome, Services, execute};
use crate::drain::Drain;

/// The longest path that an address of a Unix socket holds.
const MAX_PATH: usize = 107;
/// The longest command or outcome.
const MAX_LINE: u64 = 64 << 20;
/// A command is carried out within this time, or the server is in trouble.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a server may take from holding its directory to listening here.
const STARTING: Duration = Duration::from_secs(10);

type Answer = Result<Outcome, Failure>;

/// The open socket of a server; its file goes when this is dropped.
pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    own_directory: Option<PathBuf>,
}

impl Control {
    /// Opens the socket. The caller holds the data directory, so what lies there is a dead server's.
    ///
    /// # Errors
    /// Of the file system.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let usual = data_dir.join("control.sock");
        let named = data_dir.join("control.path");
        let (path, own_directory) = if usual.as_os_str().len() <= MAX_PATH {
            (usual, None)
        } else {
            let name = format!("roadstead-{:016x}", rand::random::<u64>());
            let directory = std::env::temp_dir().join(name);
            fs::DirBuilder::new().mode(0o700).create(&directory)?;
            (directory.join("control.sock"), Some(directory))
        };
        for old in [&path, &named] {
            match fs::remove_file(old) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        let listener = UnixListener::bind(&path)?;
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600))?;
        if own_directory.is_some() {
            fs::write(&named, path.as_os_str().as_encoded_bytes())?;
        }
        Ok(Self { listener, path, own_directory })
    }

    /// Carries out what it is asked, until the drain begins.
    pub async fn serve(self, services: Services, drain: Drain) {
        loop {
            let accepted = tokio::select! {
                () = drain.begun() => return,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, _)) => {
                    let services = services.clone();
                    drain.watch(async move {
                        if let Err(error) = answer(stream, &services).await {
                            tracing::debug!(%error, "a command was not answered");
                        }
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "the control socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
        if let Some(directory) = &self.own_directory {
            let _ = fs::remove_dir(directory);
        }
    }
}

async fn answer(mut stream: UnixStream, services: &Services) -> io::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut line = String::new();
    BufReader::new(reader.take(MAX_LINE)).read_line(&mut line).await?;
    let answer: Answer = match serde_json::from_str::<Command>(&line) {
        Ok(command) => execute(services, command).await,
        // A program of another version: what it says may be new.
        Err(error) => Err(Failure(format!("the running server does not know this command ({error}): is it older?"))),
    };
    let mut text = serde_json::to_vec(&answer)?;
    text.push(b'\n');
    writer.write_all(&text).await?;
    writer.shutdown().await
}

/// Has the server that holds this directory carry out a command.
///
/// # Errors
/// In words, when no server answers. What the server refuses is the inner error.
pub async fn ask(data_dir: &Path, command: &Command) -> Result<Answer, String> {
    let failed = |error: io::Error| format!("the server that holds {} does not answer: {error}", data_dir.display());
    let stream = tokio::time::timeout(STARTING, connect(data_dir)).await;
    let stream = stream.map_err(|_| failed(io::Error::from(io::ErrorKind::TimedOut)))?.map_err(failed)?;
    let asked = tokio::time::timeout(PATIENCE, exchange(stream, command)).await;
    asked.map_err(|_| failed(io::Error::from(io::ErrorKind::TimedOut)))?.map_err(failed)
}

/// A server that has just started may not listen yet.
async fn connect(data_dir: &Path) -> io::Result<UnixStream> {
    loop {
        let path = match fs::read_to_string(data_dir.join("control.path")) {
            Ok(path) => PathBuf::from(path),
            Err(_) => data_dir.join("control.sock"),
        };
        match UnixStream::connect(&path).await {
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused) => {
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
            result => return result,
        }
    }
}

async fn exchange(mut stream: UnixStream, command: &Command) -> io::Result<Answer> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut text = Vec::new();
    stream.take(MAX_LINE).read_to_end(&mut text).await?;
    if text.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(serde_json::from_slice(&text)?)
}
