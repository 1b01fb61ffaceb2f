//! The body of a request on its way to the core.
//!
//! What becomes of a body that nobody reads to its end (protocol.md N2)? hyper closes an HTTP/1.1 connection when the body is dropped
//! early, and a close with unread bytes is a reset, which can destroy the answer before a client that is still sending has seen it. So a
//! dropped body is read on in the background and thrown away, within [`DRAIN_BYTES`] and [`DRAIN_TIME`]: hyper sends the answer at once
//! and, when the end is reached in time, goes on with the connection. Three cases are left to hyper instead: HTTP/2, where a stream ends
//! alone; a body that has failed; and a client that waits for `100 Continue`, which reading would send for. That client is told
//! `Connection: close` (see [`Watch::must_close`]), since whether its body follows is anyone's guess.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use futures::{
    Stream, StreamExt,
    stream::{self, BoxStream},
};
use http::{HeaderMap, Version, header};
use http_body::Body;
use roadstead_registry::BodyError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How much of an unwanted body is read and thrown away.
pub const DRAIN_BYTES: u64 = 16 << 20;
/// How long that may take.
pub const DRAIN_TIME: Duration = Duration::from_secs(10);

/// The body of a request, whatever its type.
pub struct Incoming {
    /// The bytes; dropping it early drains it.
    pub stream: BoxStream<'static, Result<Bytes, BodyError>>,
    /// Content-Length.
    pub length: Option<u64>,
}

/// Tells, when the answer is made, what became of the body.
pub struct Watch {
    /// For a client that waits for `100 Continue`: whether its body was sent for.
    awaited: Option<Arc<AtomicBool>>,
}

impl Watch {
    /// The client still waits for `100 Continue`: the connection can't be used again.
    pub fn must_close(&self) -> bool {
        self.awaited.as_ref().is_some_and(|touched| !touched.load(Ordering::Relaxed))
    }
}

impl Incoming {
    /// Wraps the body of a request with this `version` and these `headers`.
    pub fn new<B>(body: B, version: Version, headers: &HeaderMap) -> (Self, Watch)
    where
        B: Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: std::fmt::Display,
    {
        let length = headers.get(header::CONTENT_LENGTH).and_then(|it| it.to_str().ok()?.parse().ok());
        if body.is_end_stream() {
            let empty = Self { stream: stream::empty().boxed(), length: length.or(Some(0)) };
            return (empty, Watch { awaited: None });
        }
        let old = version < Version::HTTP_2;
        let expects = headers.get(header::EXPECT).is_some_and(|it| it.as_bytes().eq_ignore_ascii_case(b"100-continue"));
        let touched = Arc::new(AtomicBool::new(false));
        let awaited = old && expects;
        let watch = Watch { awaited: awaited.then(|| touched.clone()) };
        let stream = Reading { body: Some(body), touched, drain: old, awaited };
        (Self { stream: stream.boxed(), length }, watch)
    }

    /// For the core.
    pub(crate) fn into_core(self) -> roadstead_registry::Body {
        roadstead_registry::Body { stream: self.stream, length: self.length }
    }

    /// All of it in memory, at most `limit` bytes, out of `room`. It must have come within `time`: bodies that are read whole are
    /// small, and a sender of a byte now and then would hold a connection for weeks.
    ///
    /// # Errors
    /// [`CollectError`] says why it could not be read.
    pub async fn collect(self, limit: usize, time: Duration, room: &Room) -> Result<Collected, CollectError> {
        tokio::time::timeout(time, self.read_whole(limit, room)).await.unwrap_or(Err(CollectError::TooSlow))
    }

    async fn read_whole(mut self, limit: usize, room: &Room) -> Result<Collected, CollectError> {
        if self.length.is_some_and(|length| length > limit as u64) {
            return Err(CollectError::TooLarge);
        }
        let mut share = room.none();
        let mut first = None;
        let mut all = BytesMut::new();
        while let Some(chunk) = self.stream.next().await {
            let chunk = chunk.map_err(CollectError::Broken)?;
            let size = all.len() + first.as_ref().map_or(0, Bytes::len) + chunk.len();
            if size > limit {
                return Err(CollectError::TooLarge);
            }
            room.grow(&mut share, size)?;
            // Most manifests come in one piece, which then needs no copy.
            match first.take() {
                None if all.is_empty() => first = Some(chunk),
                None => all.extend_from_slice(&chunk),
                Some(start) => {
                    all.reserve(start.len() + chunk.len());
                    all.extend_from_slice(&start);
                    all.extend_from_slice(&chunk);
                }
            }
        }
        let bytes = first.unwrap_or_else(|| all.freeze());
        match self.length {
            Some(length) if length != bytes.len() as u64 => {
                Err(CollectError::Broken(BodyError("the body is shorter than its Content-Length".into())))
            }
            _ => Ok(Collected { bytes, _share: share }),
        }
    }
}

/// A body in memory, with its share of the [`Room`].
#[derive(Debug)]
pub struct Collected {
    /// All of it.
    pub bytes: Bytes,
    _share: OwnedSemaphorePermit,
}

/// The memory of all bodies that are read whole (manifests, forms), in KiB. When it is used up, further ones are refused rather than
/// made to wait: whoever waits holds what it has.
#[derive(Clone, Debug)]
pub struct Room(Arc<Semaphore>);

impl Room {
    /// So many KiB.
    pub fn new(kib: usize) -> Self {
        Self(Arc::new(Semaphore::new(kib)))
    }

    fn none(&self) -> OwnedSemaphorePermit {
        self.0.clone().try_acquire_many_owned(0).expect("nothing is always free, and the semaphore is never closed")
    }

    fn grow(&self, share: &mut OwnedSemaphorePermit, bytes: usize) -> Result<(), CollectError> {
        let wanted = bytes.div_ceil(1024).saturating_sub(share.num_permits());
        let more = u32::try_from(wanted).map_err(|_| CollectError::NoRoom)?;
        share.merge(self.0.clone().try_acquire_many_owned(more).map_err(|_| CollectError::NoRoom)?);
        Ok(())
    }
}

/// Why a body could not be read into memory.
#[derive(Debug)]
pub enum CollectError {
    /// It is larger than it may be.
    TooLarge,
    /// It did not come in time.
    TooSlow,
    /// Too many bodies are being read at once.
    NoRoom,
    /// It broke off.
    Broken(BodyError),
}

struct Reading<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    body: Option<B>,
    touched: Arc<AtomicBool>,
    drain: bool,
    awaited: bool,
}

impl<B> Stream for Reading<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
    B::Error: std::fmt::Display,
{
    type Item = Result<Bytes, BodyError>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        this.touched.store(true, Ordering::Relaxed);
        loop {
            let Some(body) = &mut this.body else { return Poll::Ready(None) };
            match Pin::new(body).poll_frame(context) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    this.body = None;
                    return Poll::Ready(None);
                }
                Poll::Ready(Some(Err(error))) => {
                    this.body = None;
                    return Poll::Ready(Some(Err(BodyError(error.to_string()))));
                }
                Poll::Ready(Some(Ok(frame))) => match frame.into_data() {
                    Ok(data) if !data.is_empty() => return Poll::Ready(Some(Ok(data))),
                    // Trailers mean nothing here.
                    _ => {}
                },
            }
        }
    }
}

impl<B> Drop for Reading<B>
where
    B: Body<Data = Bytes> + Send + Unpin + 'static,
{
    fn drop(&mut self) {
        let waits = self.awaited && !self.touched.load(Ordering::Relaxed);
        let Some(body) = self.body.take().filter(|_| self.drain && !waits) else { return };
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(tokio::time::timeout(DRAIN_TIME, drain(body)));
        }
    }
}

async fn drain<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let mut left = DRAIN_BYTES;
    while let Some(Ok(frame)) = std::future::poll_fn(|context| Pin::new(&mut body).poll_frame(context)).await {
        let size = frame.data_ref().map_or(0, |data| data.len() as u64);
        let Some(rest) = left.checked_sub(size) else { return };
        left = rest;
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http::{Request, Response, StatusCode};
    use hyper::{server::conn::http1, service::service_fn};
    use hyper_util::rt::TokioIo;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    use super::*;

    /// A server that answers 404 without a look at the body, as [`crate::OciService`] does for an upload that it does not know.
    fn refusing() -> DuplexStream {
        let (client, server) = tokio::io::duplex(64 << 10);
        let service = service_fn(|request: Request<hyper::body::Incoming>| async move {
            let (parts, body) = request.into_parts();
            let (incoming, watch) = Incoming::new(body, parts.version, &parts.headers);
            drop(incoming);
            let mut response = Response::new(crate::Body::from(Bytes::from_static(b"no")));
            *response.status_mut() = StatusCode::NOT_FOUND;
            if watch.must_close() {
                response.headers_mut().insert(header::CONNECTION, http::HeaderValue::from_static("close"));
            }
            Ok::<_, Infallible>(response)
        });
        tokio::spawn(http1::Builder::new().serve_connection(TokioIo::new(server), service));
        client
    }

    async fn read_answer(client: &mut DuplexStream) -> String {
        let mut text = Vec::new();
        while !text.ends_with(b"\r\n\r\nno") {
            let byte = client.read_u8().await.expect("an answer");
            text.push(byte);
        }
        String::from_utf8(text).expect("text")
    }

    /// protocol.md N2: the answer comes at once, and the connection goes on when the rest of the body has come.
    #[tokio::test]
    async fn n2_a_refused_body_does_not_end_the_connection() {
        let mut client = refusing();
        for _ in 0..2 {
            let head = "PATCH /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\n\r\n";
            client.write_all(head.as_bytes()).await.expect("written");
            client.write_all(&[0; 1000]).await.expect("written");
            let answer = read_answer(&mut client).await;
            assert!(answer.starts_with("HTTP/1.1 404") && !answer.contains("connection"), "{answer}");
            client.write_all(&vec![0; 999_000]).await.expect("the rest is taken");
        }
    }

    /// protocol.md N2: what is too much is not read; the answer came before.
    #[tokio::test]
    async fn n2_an_endless_body_ends_the_connection() {
        let mut client = refusing();
        client
            .write_all(b"PATCH /x HTTP/1.1\r\nhost: x\r\ncontent-length: 10000000000\r\n\r\n")
            .await
            .expect("written");
        client.write_all(&[0; 1000]).await.expect("written");
        let answer = read_answer(&mut client).await;
        assert!(answer.starts_with("HTTP/1.1 404"), "{answer}");
        let chunk = vec![0; 1 << 20];
        let mut sent = 0;
        while client.write_all(&chunk).await.is_ok() {
            sent += chunk.len() as u64;
            assert!(sent < 2 * DRAIN_BYTES, "it reads on and on");
        }
    }

    /// protocol.md N3: a body that was not sent for is not sent for to be thrown away.
    #[tokio::test]
    async fn n3_a_refused_expectation_closes() {
        let mut client = refusing();
        let head = "PUT /x HTTP/1.1\r\nhost: x\r\ncontent-length: 1000000\r\nexpect: 100-continue\r\n\r\n";
        client.write_all(head.as_bytes()).await.expect("written");
        let mut all = String::new();
        // Were it drained, the end would come with the end of that time.
        let end = tokio::time::timeout(DRAIN_TIME / 2, client.read_to_string(&mut all)).await;
        end.expect("an end at once").expect("an end");
        assert!(all.starts_with("HTTP/1.1 404") && all.contains("connection: close"), "{all}");
    }

    fn whole(chunks: &[&'static str], length: Option<u64>) -> Incoming {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        Incoming { stream: futures::stream::iter(chunks).boxed(), length }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[tokio::test]
    async fn collecting_is_bounded_and_exact() {
        let room = Room::new(1024);
        assert_eq!(whole(&["ab", "cd", "e"], None).collect(5, HOUR, &room).await.expect("fits").bytes, "abcde");
        assert_eq!(whole(&["abc"], Some(3)).collect(3, HOUR, &room).await.expect("fits").bytes, "abc");
        assert_eq!(whole(&[], None).collect(0, HOUR, &room).await.expect("fits").bytes, "");
        assert!(matches!(whole(&["ab", "cd"], None).collect(3, HOUR, &room).await, Err(CollectError::TooLarge)));
        assert!(matches!(whole(&[], Some(10)).collect(3, HOUR, &room).await, Err(CollectError::TooLarge)));
        assert!(matches!(whole(&["ab"], Some(3)).collect(3, HOUR, &room).await, Err(CollectError::Broken(_))));
    }
    #[tokio::test]
    async fn half_sent_bodies_take_no_more_than_the_room_and_give_it_back() {
        let room = Room::new(2);
        let half = || Incoming {
            stream: futures::stream::iter([Ok(Bytes::from_static(&[0; 1024]))])
                .chain(futures::stream::pending())
                .boxed(),
            length: Some(4096),
        };
        let mut under_way = [Box::pin(half().collect(4096, HOUR, &room)), Box::pin(half().collect(4096, HOUR, &room))];
        for body in &mut under_way {
            assert!(futures::poll!(body).is_pending());
        }
        assert!(matches!(half().collect(4096, HOUR, &room).await, Err(CollectError::NoRoom)));
        drop(under_way);
        assert_eq!(whole(&["abc"], None).collect(3, HOUR, &room).await.expect("room again").bytes, "abc");
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_dribbles_is_given_up() {
        let dribble = futures::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(25)).await;
            Some((Ok(Bytes::from_static(b"x")), ()))
        });
        let body = Incoming { stream: dribble.boxed(), length: Some(65536) };
        assert!(matches!(
            body.collect(65536, Duration::from_secs(60), &Room::new(100)).await,
            Err(CollectError::TooSlow)
        ));
    }
}
