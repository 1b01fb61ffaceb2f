//! Clients that are slow, vanish, or hold on to memory: each costs no more than a limit says, and nobody else.

use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt as _;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};
use roadstead_testkit::{
    Server, Setup,
    content::random_bytes,
    digest,
    http::with_parameter,
    process::directory,
    server::{KEY_ID, KEY_SECRET},
    token::basic,
    until,
};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};

use crate::{
    faults::{MIB, Watched, expect_trouble, push_and_pull, stored},
    scene::{BINARY, Storage, on_both_engines},
};

on_both_engines!(slow_senders_and_readers, memory_used_up_keeps_what_came, vanished_in_the_middle);

const REPO: &str = "conf/app";
/// How a slow client paces itself: many times faster than a byte a second, and still too slow.
const PACE: Duration = Duration::from_millis(100);

/// Clients have 3 seconds for headers, and must move 384 bytes in 3 seconds.
fn strict(setup: Setup) -> Setup {
    setup
        .set("ROADSTEAD_LIMITS_HEADER_SECONDS", "3")
        .set("ROADSTEAD_LIMITS_IDLE_SECONDS", "3")
        .set("ROADSTEAD_LIMITS_BYTES_PER_SECOND", "128")
}

fn head(method: &str, target: &str, more: &str) -> String {
    format!("{method} {target} HTTP/1.1\r\nHost: x\r\nAuthorization: {}\r\n{more}\r\n", basic(KEY_ID, KEY_SECRET))
}

/// Sends one byte after the other until the server ends it; the answer, if there was one. Fails when all are taken.
fn dribble(server: &Server, first: &str, rest: &[u8]) -> String {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.write_all(first.as_bytes()).unwrap();
    stream.set_read_timeout(Some(PACE)).unwrap();
    let mut answer = Vec::new();
    for byte in rest {
        if stream.write_all(&[*byte]).is_err() {
            return String::from_utf8_lossy(&answer).into_owned();
        }
        let mut some = [0; 4096];
        // Reading with a time limit is what paces it.
        match stream.read(&mut some) {
            Ok(0) => return String::from_utf8_lossy(&answer).into_owned(),
            Ok(read) => answer.extend_from_slice(&some[..read]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            Err(_) => return String::from_utf8_lossy(&answer).into_owned(),
        }
    }
    panic!("{} bytes were taken, one after the other", rest.len());
}

/// HTTP/1.1: headers and bodies that come byte by byte, answers that are read so. Others are served meanwhile, and one
/// that is slow and steady is served too.
fn slow_senders_and_readers(storage: &Storage) {
    let server = Server::start(strict(storage.setup()));
    let (client, watched) = (server.client(), Watched::new(&server));
    let large = client.push_blob(REPO, &random_bytes(24 * MIB));
    let location = client.begin(REPO);
    thread::scope(|scope| {
        for _ in 0..5 {
            scope.spawn(|| {
                assert_eq!(dribble(&server, "GET /v2/ HTTP/1.1\r\n", &[b'x'; 2000]), "");
            });
            scope.spawn(|| {
                let first = head("PATCH", &client.begin(REPO), "Content-Length: 2000\r\n");
                let answer = dribble(&server, &first, &[b'x'; 1999]);
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
            });
            scope.spawn(|| {
                let first = head("PUT", &format!("/v2/{REPO}/manifests/slow"), "Content-Length: 2000\r\n");
                let answer = dribble(&server, &first, &[b'x'; 1999]);
                assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 4"), "{answer}");
            });
            scope.spawn(|| read_byte_by_byte(&server, &large));
        }
        scope.spawn(|| {
            let first = head("PATCH", &location, "Content-Length: 2000\r\n");
            dribble(&server, &first, &[b'x'; 1999]);
            // What came is kept, and goes on.
            let (kept, location) = until("the upload is at rest", || {
                let (kept, location) = stored(&client, &location);
                let rest = vec![b'x'; 5000 - kept];
                let answer = client.patch(&location, Some(kept), &rest);
                (answer.expect_one_of(&[202, 416, 429]).status == 202).then(|| (kept, answer.location_path()))
            });
            assert!(kept < 2000);
            client.put(&with_parameter(&location, "digest", &digest(&[b'x'; 5000])), b"").expect(201);
        });
        scope.spawn(|| steady_sender(&server));
        for _ in 0..10 {
            push_and_pull(&client, REPO, 100_000);
        }
    });
    watched.check();
}

/// Reads the answer one byte after the other, until the server has given up: what it logs then is less than the whole.
fn read_byte_by_byte(server: &Server, blob: &str) {
    let id = format!("slow-{:08x}", u32::from_be_bytes(random_bytes(4).try_into().unwrap()));
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let request = head("GET", &format!("/v2/{REPO}/blobs/{blob}"), &format!("X-Request-Id: {id}\r\n"));
    stream.write_all(request.as_bytes()).unwrap();
    let output = server.output().clone();
    until("the server gives up who reads so slowly", || {
        thread::sleep(PACE);
        let _ = stream.read(&mut [0]);
        let given_up = |line: &String| line.contains(&id) && line.contains("status=200");
        output.since(0).iter().any(given_up).then_some(())
    });
}

/// 64 KiB a second for longer than the idle time: slow, and honest.
fn steady_sender(server: &Server) {
    let bytes = random_bytes(400 * 1024);
    let location = server.client().begin(REPO);
    let mut stream = TcpStream::connect(server.address()).unwrap();
    let more = format!("Content-Length: {}\r\nConnection: close\r\n", bytes.len());
    stream.write_all(head("PATCH", &location, &more).as_bytes()).unwrap();
    for piece in bytes.chunks(6554) {
        stream.write_all(piece).unwrap();
        thread::sleep(PACE);
    }
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let target = with_parameter(&location, "digest", &digest(&bytes));
    server.client().put(&target, b"").expect(201);
}

fn certificate(dir: &Path) -> rustls_pki_types::CertificateDer<'static> {
    let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    std::fs::write(dir.join("tls.key"), made.signing_key.serialize_pem()).unwrap();
    std::fs::write(dir.join("tls.pem"), made.cert.pem()).unwrap();
    made.cert.der().clone()
}

async fn over_tls(
    server: &Server,
    root: &rustls_pki_types::CertificateDer<'static>,
    protocol: &[u8],
) -> tokio_rustls::client::TlsStream<tokio::net::TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root.clone()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let mut config = config.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.to_vec()];
    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
    let name = "localhost".try_into().unwrap();
    tokio_rustls::TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// Sends a body byte by byte over HTTP/2, or at an honest pace; the status of the answer, none where the stream was reset.
async fn patch_over_http2<S>(stream: S, location: &str, piece: usize, pieces: usize) -> Option<u16>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let io = TokioIo::new(stream);
    let (mut sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), io).await.unwrap();
    let connection = tokio::spawn(connection);
    let ticks = futures::stream::unfold(tokio::time::interval(PACE), async |mut ticks| {
        ticks.tick().await;
        Some(((), ticks))
    });
    let frames = ticks
        .take(pieces)
        .map(move |()| Ok::<_, std::convert::Infallible>(Frame::data(Bytes::from(vec![b'x'; piece]))));
    let request = http::Request::patch(format!("http://x{location}"))
        .header("authorization", basic(KEY_ID, KEY_SECRET))
        .header("content-length", piece * pieces)
        .body(BodyExt::boxed_unsync(StreamBody::new(frames)))
        .unwrap();
    let answer = sender.send_request(request).await;
    connection.abort();
    answer.ok().map(|answer| answer.status().as_u16())
}

/// The same over TLS, and over HTTP/2 with and without it.
#[test]
fn slow_senders_over_tls_and_http2() {
    let dir = directory("slow");
    let root = certificate(&dir);
    let plain = Server::start(strict(Setup::directory(BINARY)));
    let sealed = strict(Setup::directory(BINARY))
        .set("ROADSTEAD_TLS_CERTIFICATE", dir.join("tls.pem").to_str().unwrap())
        .set("ROADSTEAD_TLS_KEY", dir.join("tls.key").to_str().unwrap())
        .set("ROADSTEAD_ACCESS_OPEN", "true");
    let sealed = Server::start(sealed);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        // A handshake that goes on and on.
        let mut stream = tokio::net::TcpStream::connect(sealed.address()).await.unwrap();
        let mut ticks = tokio::time::interval(PACE);
        let hello = [[0x16, 3, 1, 0x3f, 0xff].as_slice(), &[1; 2000]].concat();
        let mut taken = 0;
        for byte in &hello {
            ticks.tick().await;
            let ended = tokio::select! {
                biased;
                read = stream.read_u8() => read.is_err(),
                () = std::future::ready(()) => false,
            };
            if ended || stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            taken += 1;
        }
        assert!(taken < hello.len(), "a handshake may take for ever");

        // HTTP/1.1 in TLS: headers, then a body.
        for (first, rest) in [
            ("GET /v2/ HTTP/1.1\r\n".to_owned(), "x"),
            (head("PUT", &format!("/v2/{REPO}/manifests/slow"), "Content-Length: 4000\r\n"), "x"),
        ] {
            let mut stream = over_tls(&sealed, &root, b"http/1.1").await;
            stream.write_all(first.as_bytes()).await.unwrap();
            let mut ticks = tokio::time::interval(PACE);
            let mut taken = 0;
            let mut answer = [0; 4096];
            while taken < 2000 {
                tokio::select! {
                    // The end of it, or an answer before the body is here.
                    _ = stream.read(&mut answer) => break,
                    _ = ticks.tick() => {
                        if stream.write_all(rest.as_bytes()).await.is_err() || stream.flush().await.is_err() {
                            break;
                        }
                        taken += 1;
                    }
                }
            }
            assert!(taken < 2000, "{first} may take for ever");
        }

        for tls in [false, true] {
            let server = if tls { &sealed } else { &plain };
            let location = match tls {
                false => plain.client().begin(REPO),
                true => begin_over_tls(&sealed, &root).await,
            };
            let patch = async |piece, pieces| match tls {
                true => patch_over_http2(over_tls(server, &root, b"h2").await, &location, piece, pieces).await,
                false => {
                    let stream = tokio::net::TcpStream::connect(server.address()).await.unwrap();
                    patch_over_http2(stream, &location, piece, pieces).await
                }
            };
            let slow = patch(1, 2000).await;
            assert!(slow.is_none_or(|status| (400..500).contains(&status)), "{slow:?}");
            // 64 KiB a second.
            assert_eq!(patch(6554, 60).await, Some(202));
        }
    });
    push_and_pull(&plain.client(), REPO, 100_000);
    for server in [&plain, &sealed] {
        assert!(!server.output().text().contains("panicked"));
    }
}

async fn begin_over_tls(server: &Server, root: &rustls_pki_types::CertificateDer<'static>) -> String {
    let mut stream = over_tls(server, root, b"http/1.1").await;
    let post = head("POST", &format!("/v2/{REPO}/blobs/uploads/"), "Content-Length: 0\r\nConnection: close\r\n");
    stream.write_all(post.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    let answer = String::from_utf8_lossy(&answer).into_owned();
    let line = answer.lines().find(|line| line.to_ascii_lowercase().starts_with("location:"));
    let location = line.unwrap_or_else(|| panic!("{answer}"))["location:".len()..].trim().to_owned();
    roadstead_testkit::http::path_of(&location).to_owned()
}

/// Uploads that stand still hold the memory: one more is told 503 in time, what came of it is kept, and it goes on.
fn memory_used_up_keeps_what_came(storage: &Storage) {
    let setup = storage
        .setup()
        .set("ROADSTEAD_LIMITS_MEMORY_MIB", "32")
        .set("ROADSTEAD_BUCKET_PART_MIB", "5")
        .set("ROADSTEAD_LIMITS_MEMORY_SECONDS", "1");
    let server = Server::start(setup);
    let (client, watched) = (server.client(), Watched::new(&server));
    // In a crowd each takes little.
    let standing: Vec<TcpStream> = (0..100)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).unwrap();
            let first = head("PATCH", &client.begin(REPO), "Content-Length: 100000000\r\n");
            stream.write_all(first.as_bytes()).unwrap();
            stream.write_all(&random_bytes(MIB)).unwrap();
            stream
        })
        .collect();
    let bytes = random_bytes(3 * MIB);
    // The memory of those is in use when one more is refused.
    let location = until("the memory is used up", || {
        let location = client.begin(REPO);
        let answer = client.patch(&location, Some(0), &bytes);
        if answer.expect_one_of(&[202, 503]).status == 503 {
            expect_trouble(&answer);
        }
        (answer.status == 503).then_some(location)
    });
    let (kept, _) = stored(&client, &location);
    assert!((64 * 1024..3 * MIB).contains(&kept), "{kept} bytes of it are kept");
    drop(standing);
    until("there is memory again", || {
        let (kept, location) = stored(&client, &location);
        let answer = client.patch(&location, Some(kept), &bytes[kept..]);
        (answer.expect_one_of(&[202, 503, 429]).status == 202).then_some(())
    });
    let digest = digest(&bytes);
    client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
    assert!(client.pull_blob(REPO, &digest) == bytes);
    watched.check();
}

/// Clients that vanish in the middle of an upload, many of them: each leaves a session that goes on from what its status
/// says.
fn vanished_in_the_middle(storage: &Storage) {
    let server = storage.start();
    let (client, watched) = (server.client(), Watched::new(&server));
    thread::scope(|scope| {
        for n in 0..8 {
            let (client, server) = (&client, &server);
            scope.spawn(move || {
                let bytes = random_bytes(2 * MIB);
                let begun = client.begin(REPO);
                let mut stream = TcpStream::connect(server.address()).unwrap();
                let first = head("PATCH", &begun, &format!("Content-Length: {}\r\n", bytes.len()));
                stream.write_all(first.as_bytes()).unwrap();
                stream.write_all(&bytes[..MIB + n]).unwrap();
                // With a reset, as when a machine loses its power; or with an end.
                if n % 2 == 0 {
                    rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
                }
                drop(stream);
                let location = until("the upload goes on", || {
                    let (kept, location) = stored(client, &begun);
                    assert!(kept <= MIB + n);
                    let answer = client.patch(&location, Some(kept), &bytes[kept..]);
                    (answer.expect_one_of(&[202, 416, 429]).status == 202).then(|| answer.location_path())
                });
                let digest = digest(&bytes);
                client.put(&with_parameter(&location, "digest", &digest), b"").expect(201);
                assert!(client.pull_blob(REPO, &digest) == bytes);
            });
        }
    });
    watched.check();
}
