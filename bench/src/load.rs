//! The client: so many connections, each of which sends its next request when the last is answered. It does as little as can be, so that it
//! is the server that is measured.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::try_join_all;
use roadstead_testkit::{content::hex, http, random_bytes};
use rustls::pki_types::ServerName;
use sha2::{Digest as _, Sha256};
use tokio::{
    io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _},
    net::TcpStream,
};
use tokio_rustls::TlsConnector;
use tokio_util::task::AbortOnDropHandle;

/// What came of a load.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    /// Operations that ended well; another end is an error of the whole load.
    pub(crate) operations: u64,
    /// Bytes of bodies, in the direction of the operation.
    pub(crate) bytes: u64,
    /// From the first request to the last answer.
    pub(crate) took: Duration,
}

/// Whom a load goes to.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) address: SocketAddr,
    /// With TLS.
    pub(crate) tls: Option<TlsConnector>,
    /// Nothing that is measured needs the client's core.
    pub(crate) alone: bool,
}

/// What each connection does again and again.
#[derive(Clone, Debug)]
pub(crate) enum Work {
    /// Sends these requests in turn; `GET` or `HEAD`.
    Fetch(Vec<Vec<u8>>),
    /// Pushes fresh bytes.
    Push(Push),
    /// Sends requests of a push of which all is there already: `HEAD` of each blob, then `PUT` of the manifest.
    PushAgain(Vec<Vec<u8>>),
}

/// Fresh bytes without end: one long beginning, and another end each time, so that the client need not hash them again.
#[derive(Clone, Debug)]
pub(crate) struct Push {
    head: String,
    uploads: String,
    beginning: Arc<Vec<u8>>,
    hashed: Sha256,
}

/// Bytes in which two blobs differ; none that is pushed is shorter.
pub(crate) const END: usize = 16;

impl Push {
    /// Blobs of `size` bytes, pushed to the path `uploads` with the lines `head` in each request.
    pub(crate) fn new(head: &str, uploads: &str, size: usize) -> Self {
        let beginning = random_bytes(size - END);
        let hashed = Sha256::new_with_prefix(&beginning);
        Self { head: head.to_owned(), uploads: uploads.to_owned(), beginning: Arc::new(beginning), hashed }
    }

    /// Pushes one blob; its size.
    pub(crate) async fn once(&self, connection: &mut Connection) -> io::Result<u64> {
        let end = random_bytes(END);
        let digest = format!("sha256:{}", hex(&self.hashed.clone().chain_update(&end).finalize()));
        let lines = &self.head;
        let begin = format!("POST {} HTTP/1.1\r\n{lines}Content-Length: 0\r\n\r\n", self.uploads);
        let begun = connection.exchange(begin.as_bytes()).await?;
        let location = begun.location.ok_or_else(|| io::Error::other("no Location"))?;
        let target = http::with_parameter(http::path_of(&location), "digest", &digest);
        let size = self.beginning.len() + END;
        let mut head = format!(
            "PUT {target} HTTP/1.1\r\n{lines}Content-Type: application/octet-stream\r\nContent-Length: {size}\r\n\r\n"
        )
        .into_bytes();
        // What is small goes out in one piece, as a client with a buffer sends it.
        let whole = size <= 64 << 10;
        if whole {
            head.extend_from_slice(&self.beginning);
            head.extend_from_slice(&end);
        }
        connection.stream.write_all(&head).await?;
        if !whole {
            connection.stream.write_all(&self.beginning).await?;
            connection.stream.write_all(&end).await?;
        }
        connection.stream.flush().await?;
        connection.answer(false).await?;
        Ok(size as u64)
    }
}

/// Works on `target` for a while; each connection does its work once at least.
///
/// # Errors
/// The server closed a connection, or answered with a failure.
pub(crate) async fn run(target: &Target, work: &Work, connections: usize, time: Duration) -> io::Result<Done> {
    let mut open = Vec::new();
    for _ in 0..connections {
        open.push(Connection::open(target).await?);
    }
    let (operations, bytes) = (AtomicU64::new(0), AtomicU64::new(0));
    let _awake =
        (target.alone && matches!(work, Work::Fetch(_))).then(|| AbortOnDropHandle::new(tokio::spawn(stay_awake())));
    let begun = Instant::now();
    let end = begun + time;
    let work_on = async |mut connection: Connection, number: usize| -> io::Result<()> {
        let mut turn = number;
        loop {
            let moved = match work {
                Work::Fetch(requests) => connection.exchange(&requests[turn % requests.len()]).await?.length,
                Work::Push(push) => push.once(&mut connection).await?,
                Work::PushAgain(requests) => {
                    for request in requests {
                        connection.exchange(request).await?;
                    }
                    0
                }
            };
            turn += 1;
            operations.fetch_add(1, Ordering::Relaxed);
            bytes.fetch_add(moved, Ordering::Relaxed);
            if Instant::now() >= end {
                return Ok(());
            }
        }
    };
    try_join_all(open.into_iter().enumerate().map(|(number, connection)| work_on(connection, number))).await?;
    Ok(Done { operations: operations.into_inner(), bytes: bytes.into_inner(), took: begun.elapsed() })
}

/// Keeps the client's core from sleeping. To wake a core that sleeps costs its waker as much as a small answer does, on a virtual machine above all: a server
/// would pay for that the more often the slower it is, and over a network none does. What waits for a disk needs the core's sleep.
async fn stay_awake() {
    loop {
        tokio::task::yield_now().await;
    }
}

trait Stream: AsyncRead + AsyncWrite + Unpin + Send {}

impl<S: AsyncRead + AsyncWrite + Unpin + Send> Stream for S {}

/// A connection that is used for one request after another.
pub(crate) struct Connection {
    stream: Box<dyn Stream>,
    buffer: Vec<u8>,
}

/// What is looked at of an answer.
pub(crate) struct Answer {
    /// Bytes of the body, or that it would have.
    pub(crate) length: u64,
    location: Option<String>,
}

impl Connection {
    /// Connects.
    ///
    /// # Errors
    /// The server does not take it.
    pub(crate) async fn open(target: &Target) -> io::Result<Self> {
        let stream = TcpStream::connect(target.address).await?;
        stream.set_nodelay(true)?;
        let stream: Box<dyn Stream> = match &target.tls {
            None => Box::new(stream),
            Some(tls) => Box::new(tls.connect(ServerName::IpAddress(target.address.ip().into()), stream).await?),
        };
        Ok(Self { stream, buffer: vec![0; 64 << 10] })
    }

    /// Sends a request and reads its answer to the end.
    ///
    /// # Errors
    /// The connection ended, or the answer is neither success nor redirect.
    pub(crate) async fn exchange(&mut self, request: &[u8]) -> io::Result<Answer> {
        self.stream.write_all(request).await?;
        self.stream.flush().await?;
        self.answer(request.starts_with(b"HEAD")).await
    }

    async fn answer(&mut self, no_body: bool) -> io::Result<Answer> {
        let mut filled = 0;
        let head = loop {
            let read = self.stream.read(&mut self.buffer[filled..]).await?;
            if read == 0 {
                return Err(io::Error::other("the server closed the connection"));
            }
            filled += read;
            if let Some(head) = self.buffer[..filled].windows(4).position(|window| window == b"\r\n\r\n") {
                break head + 4;
            }
        };
        let text = String::from_utf8_lossy(&self.buffer[..head]);
        if !matches!(text.as_bytes().get(9), Some(b'2' | b'3')) {
            return Err(io::Error::other(format!("answered {text}")));
        }
        let field = |name: &str| {
            text.lines().find_map(|line| {
                let (field, value) = line.split_once(':')?;
                field.eq_ignore_ascii_case(name).then(|| value.trim().to_owned())
            })
        };
        let length: u64 = field("content-length").and_then(|value| value.parse().ok()).unwrap_or(0);
        let location = field("location");
        let chunked = field("transfer-encoding").is_some();
        if chunked && !no_body {
            while !self.buffer[..filled].ends_with(b"0\r\n\r\n") {
                let read = self.stream.read(&mut self.buffer[filled..]).await?;
                if read == 0 {
                    return Err(io::Error::other("the server closed the connection in a body"));
                }
                filled += read;
            }
        } else if !no_body {
            let mut left = length.saturating_sub((filled - head) as u64);
            while left > 0 {
                let read = self.stream.read(&mut self.buffer).await?;
                if read == 0 {
                    return Err(io::Error::other("the server closed the connection in a body"));
                }
                left = left.saturating_sub(read as u64);
                // Other connections have their turn: what they wait for is to be the server's time and not ours.
                tokio::task::yield_now().await;
            }
        }
        Ok(Answer { length, location })
    }
}
