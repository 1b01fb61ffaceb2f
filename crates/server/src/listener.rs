//! Listeners: an accept loop of our own, so that slow, large and endless clients have bounds, certificates can change
//! while it runs, and a drain cuts no request that has begun.
//!
//! What happens to a connection: a place among `limits.connections`, TLS if there is any, then HTTP/1.1 or HTTP/2 as
//! the client speaks. Everything that a client may do slowly has a clock: headers, bodies ([`RequestBody`]), reading
//! answers (`guarded`, `flow`), doing nothing.

mod body;
mod crowd;
mod flow;
mod guarded;
mod quota;

use std::convert::Infallible;
use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::FutureExt as _;
use http::header::{CONNECTION, TRANSFER_ENCODING};
use http::{HeaderValue, Request, Response};
use http_body::Body;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, sockopt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

pub use body::{Reply, RequestBody, RequestBodyError};

use crate::config::Limits;
use crate::drain::Drain;
use crate::tls::Certificates;
use crowd::Crowd;
use flow::{Flow, Streams};
use guarded::Guarded;
use quota::Quota;

/// The largest piece that is read from a socket at once (architecture.md 3), while few connections are open.
const BUFFER_BYTES: usize = 1 << 20;
/// A silent HTTP/2 client is asked after this time whether it is still there, and has as long to answer.
const PING: Duration = Duration::from_secs(30);

/// Where a request came in.
#[derive(Clone, Copy, Debug)]
pub struct Peer {
    /// The other end of the connection.
    pub remote: SocketAddr,
    /// The connection is encrypted.
    pub tls: bool,
    /// The request's line and headers are larger than allowed: it must be answered with 431 and nothing else.
    pub head_too_large: bool,
    /// The request has both a `Content-Length` and a `Transfer-Encoding`: nobody knows where it ends.
    pub two_lengths: bool,
}

/// Answers requests. A clone goes to each connection.
pub trait Respond: Clone + Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>> + Send + Unpin + 'static;

    /// One request, one answer.
    fn respond(self, request: Request<RequestBody>, peer: Peer) -> impl Future<Output = Response<Self::Body>> + Send;
}

/// Counts what goes over the wire. The default counts nothing.
pub trait Meter: Send + Sync + 'static {
    /// So many bytes were received, as the client sent them inside TLS.
    fn received(&self, _bytes: u64) {}
    /// So many bytes were sent.
    fn sent(&self, _bytes: u64) {}
    /// A connection came (+1) or went (-1).
    fn connections(&self, _change: i64) {}
}

/// What all listeners of a node have in common.
#[derive(Clone)]
pub struct Terms {
    limits: Arc<Limits>,
    places: Arc<Semaphore>,
    meter: Arc<dyn Meter>,
    drain: Drain,
}

impl Terms {
    /// Bounds, a meter, and the drain that ends the listeners. Listeners that share terms share `limits.connections`.
    pub fn new(limits: &Limits, meter: Arc<dyn Meter>, drain: Drain) -> Self {
        let places = usize::try_from(limits.connections).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        Self { limits: Arc::new(limits.clone()), places: Arc::new(Semaphore::new(places)), meter, drain }
    }
}

/// Opens the addresses. `[::]` answers IPv4 too, unless `0.0.0.0` of the same port is in the list.
///
/// # Errors
/// The first address that can't be had, in words.
pub fn bind(addresses: &[SocketAddr]) -> Result<Vec<TcpListener>, String> {
    let has_ipv4 = |port| addresses.iter().any(|other| other.is_ipv4() && other.port() == port && port != 0);
    let open = |address: &SocketAddr| {
        bind_one(*address, address.is_ipv6() && has_ipv4(address.port())).map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => format!("{address} is in use by another program: set `listen` to another port"),
            io::ErrorKind::AddrNotAvailable => format!("{address} is not an address of this machine: see `listen`"),
            io::ErrorKind::PermissionDenied => {
                format!("{address} can't be listened on: ports below 1024 need a privilege, see `listen`")
            }
            _ => format!("{address} can't be listened on: {error}"),
        })
    };
    addresses.iter().map(open).collect()
}

fn bind_one(address: SocketAddr, only_ipv6: bool) -> io::Result<TcpListener> {
    let family = if address.is_ipv6() { AddressFamily::INET6 } else { AddressFamily::INET };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        sockopt::set_ipv6_v6only(&socket, only_ipv6)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, 4096)?;
    TcpListener::from_std(std::net::TcpListener::from(socket))
}

/// The address to print for people: `0.0.0.0` and `[::]` can't be typed into a client.
pub fn reachable(address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()),
        IpAddr::V6(ip) if ip.is_unspecified() => SocketAddr::new(IpAddr::from([127, 0, 0, 1]), address.port()),
        _ => address,
    }
}

/// Answers on one listener until the drain begins. Its connections go on by themselves, watched by the drain.
pub async fn serve<R: Respond>(
    listener: TcpListener,
    certificates: Option<Arc<Certificates>>,
    responder: R,
    terms: Terms,
) {
    let mut refused = Duration::ZERO;
    loop {
        let accepted = tokio::select! {
            biased;
            () = terms.drain.begun() => break,
            accepted = next(&listener, &terms) => accepted,
        };
        match accepted {
            Ok((stream, remote, place)) => {
                refused = Duration::ZERO;
                start(stream, remote, place, certificates.clone(), &responder, &terms);
            }
            // The client went away again before we came to it.
            Err(error) if is_of_one_connection(&error) => {}
            // Out of file descriptors or memory: it gets better when others end, so the loop never does.
            Err(error) => {
                if refused.is_zero() {
                    tracing::error!(%error, "no connection can be accepted at the moment");
                }
                refused = (refused * 2).clamp(Duration::from_millis(10), Duration::from_secs(1));
                tokio::time::sleep(refused).await;
            }
        }
    }
    // Who connected before the end is answered, although nobody had accepted them yet.
    while let Some(Ok((stream, remote, place))) = next(&listener, &terms).now_or_never() {
        start(stream, remote, place, certificates.clone(), &responder, &terms);
    }
}

type Place = tokio::sync::OwnedSemaphorePermit;

async fn next(listener: &TcpListener, terms: &Terms) -> io::Result<(TcpStream, SocketAddr, Place)> {
    let place = Arc::clone(&terms.places).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, remote) = listener.accept().await?;
    Ok((stream, remote, place))
}

fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

fn start<R: Respond>(
    stream: TcpStream,
    remote: SocketAddr,
    place: Place,
    certificates: Option<Arc<Certificates>>,
    responder: &R,
    terms: &Terms,
) {
    let (responder, terms) = (responder.clone(), terms.clone());
    terms.drain.clone().watch(async move {
        terms.meter.connections(1);
        let _ = stream.set_nodelay(true);
        let mut peer = Peer { remote: canonical(remote), tls: false, head_too_large: false, two_lengths: false };
        match certificates {
            None => converse(stream, peer, responder, &terms).await,
            Some(certificates) => {
                peer.tls = true;
                let limit = Duration::from_secs(terms.limits.header_seconds);
                match tokio::time::timeout(limit, certificates.accept(stream)).await {
                    Ok(Ok(stream)) => converse(stream, peer, responder, &terms).await,
                    Ok(Err(error)) => tracing::debug!(remote = %peer.remote, %error, "TLS handshake failed"),
                    Err(_) => tracing::debug!(remote = %peer.remote, "TLS handshake took too long"),
                }
            }
        }
        terms.meter.connections(-1);
        drop(place);
    });
}

/// IPv4 through an IPv6 listener is IPv4, for logs and for `trusted_proxies`.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

async fn converse<S, R>(stream: S, peer: Peer, responder: R, terms: &Terms)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Respond,
{
    let limits = &terms.limits;
    let quota = Quota::of(limits);
    let flow = Flow::new();
    let service = service_fn({
        let (flow, limit) = (Arc::clone(&flow), limits.header_bytes);
        move |request: Request<hyper::body::Incoming>| {
            let begun = flow.begin();
            let head_too_large = flow.head_is_cut() || head_bytes(&request) > limit;
            let chunked = request.headers().contains_key(TRANSFER_ENCODING);
            let had_length = flow.had_length(chunked);
            let two_lengths = had_length == Some(true);
            // Where it can't be told, nothing may follow on this connection (RFC 9112, 6.1).
            let last = had_length != Some(false);
            let request = request.map(|body| RequestBody::new(body, quota, begun.clone()));
            let answer = responder.clone().respond(request, Peer { head_too_large, two_lengths, ..peer });
            answer.map(move |mut answer| {
                if last {
                    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
                }
                Ok::<_, Infallible>(answer.map(|body| Reply::new(body, begun)))
            })
        }
    });
    let builder = builder(limits, &flow);
    let crowd = Crowd::new(limits, &terms.places);
    let io = TokioIo::new(Guarded::new(stream, Arc::clone(&flow), limits, Arc::clone(&terms.meter), crowd));
    let mut connection = std::pin::pin!(builder.serve_connection(io, service));
    let mut watch = flow.watch(quota.idle());
    let mut draining = false;
    loop {
        tokio::select! {
            // The connection first: a request that lies in the socket begins before the drain can end it.
            biased;
            result = poll_fn(|context| {
                flow.begin_turn();
                connection.as_mut().poll(context)
            }) => {
                if let Err(error) = result {
                    tracing::debug!(remote = %peer.remote, error = %error, "connection ended early");
                }
                return;
            }
            () = terms.drain.begun(), if !draining => {
                draining = true;
                connection.as_mut().graceful_shutdown();
            }
            () = watch.stalled() => {
                tracing::debug!(remote = %peer.remote, "the client takes nothing of an answer: closed");
                return;
            }
        }
    }
}

fn builder(limits: &Limits, flow: &Arc<Flow>) -> auto::Builder<Streams> {
    let size = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
    // It takes so much only where reads fill it, which `Crowd` bounds; headers must fit.
    let buffer = BUFFER_BYTES.max(usize::try_from(limits.header_bytes).unwrap_or(usize::MAX).saturating_mul(2));
    let mut builder = auto::Builder::new(Streams(Arc::clone(flow)));
    // The clock of headers is in `Guarded`, which also sees the bytes before hyper knows the protocol. Never
    // `pipeline_flush`: it copies each byte of a body again (architecture.md 3). A client that closes its half is answered, as RFC 9112
    // wants (9.6); to look for that meanwhile hyper would take a fresh buffer with each request, since the last one holds its headers.
    builder.http1().timer(TokioTimer::new()).header_read_timeout(None).max_buf_size(buffer).half_close(true);
    builder
        .http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(size(limits.http2_streams))
        .initial_stream_window_size(size(limits.http2_window_bytes))
        .initial_connection_window_size(size(limits.http2_connection_window_bytes))
        .max_pending_accept_reset_streams(usize::try_from(limits.http2_resets).unwrap_or(usize::MAX))
        .max_header_list_size(size(limits.header_bytes))
        .keep_alive_interval(PING)
        .keep_alive_timeout(PING);
    builder
}

/// What the line and headers of a request take, about as they were sent.
fn head_bytes<B>(request: &Request<B>) -> u64 {
    let uri = request.uri();
    let target = uri.path_and_query().map_or(0, |it| it.as_str().len());
    let line = request.method().as_str().len() + target + uri.authority().map_or(0, |it| it.as_str().len()) + 12;
    let headers = request.headers().iter().map(|(name, value)| name.as_str().len() + value.len() + 4);
    headers.sum::<usize>().saturating_add(line) as u64
}

#[cfg(test)]
mod tests;
