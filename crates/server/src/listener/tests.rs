//! What clients that are slow, large or impolite meet, and what a drain leaves whole.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use futures::{StreamExt as _, stream};
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full, StreamBody};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, ReadBuf};
use tokio::sync::Notify;

use super::*;
use crate::config::{Config, Sources};

#[derive(Clone, Default)]
struct Echo {
    arrived: Arc<Notify>,
    release: Arc<Notify>,
    answered: Arc<AtomicUsize>,
    /// The body of an answer is gone.
    left: Arc<Notify>,
}

struct Leaving(Arc<Notify>);

impl Drop for Leaving {
    fn drop(&mut self) {
        self.0.notify_one();
    }
}

impl Respond for Echo {
    type Body = UnsyncBoxBody<Bytes, Infallible>;

    async fn respond(self, request: Request<RequestBody>, peer: Peer) -> Response<Self::Body> {
        self.arrived.notify_one();
        if peer.head_too_large {
            let answer = Response::builder().status(431).header("connection", "close");
            return answer.body(text("")).expect("an answer");
        }
        match request.uri().path() {
            "/wait" => self.release.notified().await,
            "/large" => return Response::new(large(1024, &self.left)),
            // A little more than a client takes ahead: its last bytes lie in the protocol's own buffer.
            "/tail" => return Response::new(large(33, &self.left)),
            "/endless" => return Response::new(large(usize::MAX, &self.left)),
            _ => {}
        }
        let answer = match request.into_body().collect().await {
            Ok(body) => Response::new(text(body.to_bytes())),
            Err(error) => {
                let mut answer = Response::new(text(error.to_string()));
                *answer.status_mut() = http::StatusCode::BAD_REQUEST;
                answer
            }
        };
        self.answered.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

fn text(text: impl Into<Bytes>) -> UnsyncBoxBody<Bytes, Infallible> {
    Full::new(text.into()).boxed_unsync()
}

/// So many pieces of 64 KiB.
fn large(pieces: usize, left: &Arc<Notify>) -> UnsyncBoxBody<Bytes, Infallible> {
    let (piece, leaving) = (Bytes::from(vec![b'x'; 1 << 16]), Leaving(Arc::clone(left)));
    let give = move || {
        let _ = &leaving;
        Ok(Frame::data(piece.clone()))
    };
    StreamBody::new(stream::repeat_with(give).take(pieces)).boxed_unsync()
}

struct Quiet;
impl Meter for Quiet {}

struct Running {
    echo: Echo,
    drain: Drain,
    address: SocketAddr,
}

impl Running {
    fn start(change: impl FnOnce(&mut Limits)) -> Self {
        Self::start_with(None, change)
    }

    fn start_with(certificates: Option<Arc<Certificates>>, change: impl FnOnce(&mut Limits)) -> Self {
        let mut limits = Config::load(&Sources::default()).expect("the defaults").limits;
        change(&mut limits);
        let (echo, drain) = (Echo::default(), Drain::new());
        let terms = Terms::new(&limits, Arc::new(Quiet), drain.clone());
        let listener = bind(&["127.0.0.1:0".parse().expect("an address")]).expect("bound").remove(0);
        let address = listener.local_addr().expect("an address");
        drain.watch(serve(listener, certificates, echo.clone(), terms));
        Self { echo, drain, address }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.expect("connected")
    }

    async fn ask(&self, request: &str) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_bytes()).await.expect("written");
        read_all(&mut stream).await
    }
}

async fn read_all(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// A client that has sent its request and takes everything at once.
struct Greedy {
    request: &'static [u8],
    taken: Arc<AtomicUsize>,
}

impl AsyncRead for Greedy {
    fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let (now, later) = this.request.split_at(this.request.len().min(buf.remaining()));
        this.request = later;
        buf.put_slice(now);
        if now.is_empty() { Poll::Pending } else { Poll::Ready(Ok(())) }
    }
}

impl AsyncWrite for Greedy {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.taken.fetch_add(bytes.len(), Ordering::Relaxed);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

#[tokio::test]
async fn a_client_that_takes_everything_at_once_leaves_others_their_turn() {
    let taken = Arc::new(AtomicUsize::default());
    let stream = Greedy { request: b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n", taken: Arc::clone(&taken) };
    let limits = Config::load(&Sources::default()).expect("the defaults").limits;
    let terms = Terms::new(&limits, Arc::new(Quiet), Drain::new());
    let remote = ([127, 0, 0, 1], 1).into();
    let peer = Peer { remote, tls: false, head_too_large: false, two_lengths: false };
    let conversation = tokio::spawn(async move { converse(stream, peer, Echo::default(), &terms).await });
    // A task as any other, behind the conversation in the queue.
    let other = tokio::spawn(async move {
        let more_than = async |bytes: usize| {
            while taken.load(Ordering::Relaxed) <= bytes {
                assert!(!conversation.is_finished(), "only {taken:?} bytes came");
                let mut waited = false;
                poll_fn(|context| {
                    context.waker().wake_by_ref();
                    if std::mem::replace(&mut waited, true) { Poll::Ready(()) } else { Poll::Pending }
                })
                .await;
            }
        };
        more_than(0).await;
        // Of 64 MiB.
        assert!(taken.load(Ordering::Relaxed) <= 2 << 20, "{taken:?}");
        more_than(64 << 20).await;
    });
    other.await.expect("it had its turns");
}

#[tokio::test]
async fn a_request_in_flight_ends_whole_and_a_drained_listener_takes_no_new_one() {
    let running = Running::start(|_| {});
    let mut stream = running.connect().await;
    stream.write_all(b"POST /wait HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe").await.expect("written");
    running.echo.arrived.notified().await;
    running.drain.begin();
    stream.write_all(b"llo").await.expect("written");
    running.echo.release.notify_one();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("hello"), "{answer}");
    assert!(running.drain.finish(Duration::from_secs(20)).await, "all ended by themselves");
    assert!(TcpStream::connect(running.address).await.is_err(), "the address is free again");
}

/// RFC 9112, 9.6: who sends nothing more may still read.
#[tokio::test]
async fn a_client_that_closes_its_half_is_answered() {
    let running = Running::start(|_| {});
    let mut stream = running.connect().await;
    stream.write_all(b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("written");
    running.echo.arrived.notified().await;
    stream.shutdown().await.expect("closed");
    // The other side has its turns to see that, before there is an answer.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    running.echo.release.notify_one();
    let answer = read_all(&mut stream).await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer:?}");
}

#[tokio::test]
async fn a_request_that_was_sent_before_the_drain_is_answered_although_nobody_had_accepted_it() {
    let running = Running::start(|_| {});
    // One thread: the listener's task has not run when the drain begins.
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
    running.drain.begin();
    assert!(read_all(&mut stream).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn an_idle_connection_does_not_hold_up_the_drain() {
    let running = Running::start(|_| {});
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
    let mut answer = [0; 12];
    stream.read_exact(&mut answer).await.expect("an answer");
    assert!(running.drain.finish(Duration::from_secs(20)).await);
}

#[tokio::test]
async fn headers_that_are_too_large_are_answered_with_431() {
    let running = Running::start(|limits| limits.header_bytes = 4096);
    for bytes in [5_000, 100_000, 3_000_000] {
        let large = "x".repeat(bytes);
        let answer = running.ask(&format!("GET / HTTP/1.1\r\nhost: a\r\nx-large: {large}\r\n\r\n")).await;
        assert!(answer.starts_with("HTTP/1.1 431"), "{bytes}: {answer}");
    }
    let many = "a: b\r\n".repeat(1_000);
    let answer = running.ask(&format!("GET / HTTP/1.1\r\nhost: a\r\n{many}\r\n")).await;
    assert!(answer.starts_with("HTTP/1.1 431"), "{answer}");
    assert_eq!(running.echo.answered.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_large_body_is_not_taken_for_headers() {
    let running = Running::start(|limits| limits.header_bytes = 4096);
    let body = "x".repeat(500_000);
    let request = format!("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 500000\r\n\r\n{body}");
    let mut stream = running.connect().await;
    for _ in 0..3 {
        stream.write_all(request.as_bytes()).await.expect("written");
        let mut answer = vec![0; 500_000];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert!(answer.starts_with(b"HTTP/1.1 200"));
        let mut rest = answer.windows(4).position(|it| it == b"\r\n\r\n").expect("headers") + 4;
        while rest > 0 {
            rest -= stream.read(&mut vec![0; rest]).await.expect("the rest");
        }
    }
}

// The clocks are of tokio: a test with paused time reaches a deadline as soon as nothing else happens.

#[tokio::test(start_paused = true)]
async fn headers_that_come_too_slowly_end_the_connection() {
    let running = Running::start(|_| {});
    let mut stream = running.connect().await;
    stream.write_all(b"GET / HTTP/1.1\r\nhost:").await.expect("written");
    assert_eq!(read_all(&mut stream).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_says_nothing_is_closed() {
    let running = Running::start(|_| {});
    assert_eq!(read_all(&mut running.connect().await).await, "");
}

#[tokio::test(start_paused = true)]
async fn a_body_that_stops_coming_is_broken_off() {
    let running = Running::start(|_| {});
    let answer = running.ask("POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nhe").await;
    assert!(answer.contains("sent nothing for 60 seconds"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_nothing_is_closed() {
    let running = Running::start(|_| {});
    let mut stream = running.connect().await;
    stream.write_all(b"GET /large HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
    assert!(running.drain.finish(Duration::from_secs(3600)).await, "the connection ended by itself");
    assert!(read_all(&mut stream).await.len() < 64 << 20);
}

#[tokio::test]
async fn nothing_follows_a_request_of_two_lengths() {
    let running = Running::start(|_| {});
    let chunked = "POST / HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n";
    let next = "0\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n";
    for (request, answers) in [
        (format!("{chunked}\r\n{next}"), 2),
        (format!("{chunked}content-length: 5\r\n\r\n{next}"), 1),
        (chunked.replace("host", "content-length: 5\r\nhost") + "\r\n" + next, 1),
        // The headers of the second one come with the first: that it has one length can't be seen.
        (format!("GET / HTTP/1.1\r\nhost: a\r\n\r\n{chunked}\r\n{next}"), 2),
    ] {
        let answer = running.ask(&request).await;
        assert_eq!(answer.matches("HTTP/1.1 200").count(), answers, "{request}\n{answer}");
    }
}

#[tokio::test]
async fn more_connections_than_allowed_wait_for_their_turn() {
    let running = Running::start(|limits| limits.connections = 1);
    let mut first = running.connect().await;
    first.write_all(b"GET / HTTP/1.1\r\nhost: a\r\n\r\n").await.expect("written");
    first.read_exact(&mut [0; 12]).await.expect("an answer");
    let mut second = running.connect().await;
    second.write_all(b"GET / HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n").await.expect("written");
    assert_eq!(running.echo.answered.load(Ordering::Relaxed), 1);
    drop(first);
    assert!(read_all(&mut second).await.starts_with("HTTP/1.1 200"));
}

#[tokio::test]
async fn ipv4_and_ipv6_are_answered_by_one_listener() {
    let Ok(listeners) = bind(&["[::]:0".parse().expect("an address")]) else { return };
    let port = listeners[0].local_addr().expect("an address").port();
    TcpStream::connect(("127.0.0.1", port)).await.expect("IPv4");
    TcpStream::connect(("::1", port)).await.expect("IPv6");
}

#[tokio::test]
async fn an_address_that_is_taken_is_named_with_the_setting() {
    let first = bind(&["127.0.0.1:0".parse().expect("an address")]).expect("bound");
    let taken = first[0].local_addr().expect("an address");
    let error = bind(&[taken]).expect_err("taken");
    assert!(error.contains(&taken.to_string()) && error.contains("listen"), "{error}");
}

mod http2 {
    use hyper::client::conn::http2::{SendRequest, handshake};
    use hyper_util::rt::TokioExecutor;

    use super::*;

    async fn connect<S>(stream: S) -> SendRequest<Full<Bytes>>
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (sender, connection) = handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("HTTP/2");
        tokio::spawn(connection);
        sender
    }

    fn request(path: &str, body: &'static str) -> Request<Full<Bytes>> {
        Request::post(format!("http://a{path}")).body(Full::from(body)).expect("a request")
    }

    #[tokio::test]
    async fn is_answered_without_tls_to_a_client_that_knows_it() {
        let running = Running::start(|_| {});
        let mut sender = connect(running.connect().await).await;
        let answer = sender.send_request(request("/", "hello")).await.expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), "hello");
    }

    #[tokio::test]
    async fn streams_that_have_begun_end_whole_in_a_drain() {
        let running = Running::start(|_| {});
        let mut sender = connect(running.connect().await).await;
        let answer = tokio::spawn(sender.send_request(request("/wait", "hello")));
        running.echo.arrived.notified().await;
        running.drain.begin();
        running.echo.release.notify_one();
        let answer = answer.await.expect("no panic").expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), "hello");
        assert!(running.drain.finish(Duration::from_secs(20)).await);
    }

    #[tokio::test]
    async fn headers_that_are_too_large_are_answered_with_431() {
        let running = Running::start(|limits| limits.header_bytes = 4096);
        let mut sender = connect(running.connect().await).await;
        let mut large = request("/", "");
        large.headers_mut().insert("x-large", "x".repeat(5_000).parse().expect("a value"));
        assert_eq!(sender.send_request(large).await.expect("an answer").status(), 431);
    }

    // In real time: with time paused the pings of HTTP/2 would end the connection before its answers.
    #[tokio::test]
    async fn a_client_that_takes_nothing_from_its_streams_is_closed() {
        let running = Running::start(|limits| limits.idle_seconds = 1);
        let mut sender = connect(running.connect().await).await;
        // The answer's window fills, the socket never does: the client's connection goes on answering pings.
        let answer = sender.send_request(request("/large", "")).await.expect("an answer");
        assert!(running.drain.finish(Duration::from_secs(20)).await, "the connection ended by itself");
        assert!(answer.into_body().collect().await.is_err());
    }

    // What keeps the connection alive must not keep the answers alive that nobody reads.
    #[tokio::test]
    async fn a_stream_from_which_nothing_is_taken_is_reset_while_another_one_goes_on() {
        for path in ["/large", "/tail"] {
            let running = Running::start(|limits| limits.idle_seconds = 1);
            let mut sender = connect(running.connect().await).await;
            let stalled = sender.send_request(request(path, "")).await.expect("an answer");
            let read = sender.send_request(request("/endless", "")).await.expect("an answer");
            let mut read = read.into_body();
            let mut given_up =
                std::pin::pin!(tokio::time::timeout(Duration::from_secs(20), running.echo.left.notified()));
            loop {
                tokio::select! {
                    left = &mut given_up => break left.expect("the answer that nobody reads is given up"),
                    frame = read.frame() => drop(frame.expect("more").expect("no error")),
                }
            }
            assert!(stalled.into_body().collect().await.is_err(), "{path}");
            read.frame().await.expect("more").expect("the connection goes on");
        }
    }

    #[tokio::test]
    async fn an_answer_is_whole_however_it_is_cut() {
        let running = Running::start(|_| {});
        let mut sender = connect(running.connect().await).await;
        for bytes in [0, 1, (16 << 10) - 1, 16 << 10, (16 << 10) + 1, 100_000] {
            let body = Bytes::from(vec![b'x'; bytes]);
            let post = Request::post("http://a/").body(Full::from(body.clone())).expect("a request");
            let answer = sender.send_request(post).await.expect("an answer");
            let length =
                answer.headers().get("content-length").map(|value| value.to_str().expect("a number").to_owned());
            assert!(length.is_none() && bytes == 0 || length == Some(bytes.to_string()), "{length:?}");
            assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), body);
        }
    }

    #[tokio::test]
    async fn is_what_tls_clients_get() {
        let directory = tempfile::tempdir().expect("a directory");
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("made");
        let (certificate, key) = (directory.path().join("tls.pem"), directory.path().join("tls.key"));
        std::fs::write(&certificate, made.cert.pem()).expect("written");
        std::fs::write(&key, made.signing_key.serialize_pem()).expect("written");
        let certificates = Certificates::open(&certificate, &key).expect("right");
        let running = Running::start_with(Some(Arc::new(certificates)), |_| {});

        let mut roots = rustls::RootCertStore::empty();
        roots.add(made.cert.der().clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let mut client = client.expect("versions").with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec()];
        let name = "localhost".try_into().expect("a name");
        let connector = tokio_rustls::TlsConnector::from(Arc::new(client));
        let stream = connector.connect(name, running.connect().await).await.expect("a handshake");
        assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
        let answer = connect(stream).await.send_request(request("/", "hello")).await.expect("an answer");
        assert_eq!(answer.into_body().collect().await.expect("whole").to_bytes(), "hello");
    }
}
