//! HTTP/2 over plain TCP, with prior knowledge.

use std::{convert::Infallible, net::SocketAddr};

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::Frame;
use hyper_util::rt::{TokioExecutor, TokioIo};

use crate::http::{Body, Request, Response};

/// One request on a connection of its own.
pub fn exchange(address: SocketAddr, request: &Request) -> Result<Response, String> {
    exchange_all(address, std::slice::from_ref(request))?.pop().ok_or_else(|| "no answer".to_owned())
}

/// All requests at once on one connection; answers in the order of the requests.
pub fn exchange_all(address: SocketAddr, requests: &[Request]) -> Result<Vec<Response>, String> {
    std::thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.map_err(|error| error.to_string())?.block_on(run(address, requests))
        });
        worker.join().unwrap_or_else(|_| Err("the thread panicked".to_owned()))
    })
}

async fn run(address: SocketAddr, requests: &[Request]) -> Result<Vec<Response>, String> {
    let stream = tokio::net::TcpStream::connect(address).await.map_err(|error| error.to_string())?;
    let (sender, connection) = hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream))
        .await
        .map_err(|error| format!("{error:?}"))?;
    let connection = tokio::spawn(connection);
    let mut answers = Vec::new();
    for request in requests {
        let mut sender = sender.clone();
        let (asked, request) = (format!("h2 {} {}", request.method, request.target), build(address, request)?);
        answers.push(tokio::spawn(async move {
            let answer = sender.send_request(request).await.map_err(|error| format!("{asked}: {error:?}"))?;
            let (head, body) = answer.into_parts();
            let body = body.collect().await.map_err(|error| format!("{asked}: {error:?}"))?.to_bytes().to_vec();
            let value = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
            let headers = head.headers.iter().map(|(n, v)| (n.to_string(), value(v))).collect();
            Ok(Response { asked, status: head.status.as_u16(), headers, body, interim: Vec::new() })
        }));
    }
    drop(sender);
    let mut done = Vec::new();
    for answer in answers {
        done.push(answer.await.map_err(|error| error.to_string()).and_then(|answer: Result<_, String>| answer)?);
    }
    connection.abort();
    Ok(done)
}

fn build(address: SocketAddr, request: &Request) -> Result<http::Request<BoxBody<Bytes, Infallible>>, String> {
    let host = request.header_value("Host").map_or_else(|| address.to_string(), str::to_owned);
    let mut built =
        http::Request::builder().method(request.method.as_str()).uri(format!("http://{host}{}", request.target));
    for (name, value) in request.headers.iter().filter(|(name, _)| !name.eq_ignore_ascii_case("host")) {
        built = built.header(name, value);
    }
    let body = match &request.body {
        Body::None => Full::new(Bytes::new()).boxed(),
        Body::Length(bytes) => {
            built = built.header("content-length", bytes.len());
            Full::new(Bytes::from(bytes.clone())).boxed()
        }
        Body::Chunked(pieces) => {
            let frames: Vec<_> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::from(piece.clone())))).collect();
            BodyExt::boxed(StreamBody::new(futures_iter(frames)))
        }
        Body::CutShort(..) | Body::ChunkedCutShort(_) => return Err("no cut bodies over HTTP/2".to_owned()),
    };
    built.body(body).map_err(|error| error.to_string())
}

fn futures_iter<T: Unpin + Send + Sync + 'static>(
    items: Vec<T>,
) -> impl futures::Stream<Item = T> + Send + Sync + 'static {
    futures::stream::iter(items)
}
