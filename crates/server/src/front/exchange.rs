//! One request from its headers to the last byte of its answer, for the log and the figures.

use std::borrow::Cow;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{StatusCode, request::Parts};
use http_body::{Frame, SizeHint};
use roadstead_blobs::BlobError;
use roadstead_http_oci::Body;
use tokio::time::Instant;

use crate::logs::{Line, Logs};
use crate::metrics::{Kind, Metrics};

/// So much of a method and a path goes into the log.
const METHOD_BYTES: usize = 32;
const PATH_BYTES: usize = 1024;

/// What is known of a request so far. It is told when this is dropped: after the answer, or when the client has left.
pub(super) struct Exchange {
    metrics: Metrics,
    told: Option<Told>,
    begun: Instant,
    kind: Kind,
    status: u16,
    bytes: u64,
}

/// What the log says beyond the figures.
struct Told {
    logs: Logs,
    id: Arc<str>,
    method: Cow<'static, str>,
    /// A copy: the address shares its memory with all that was read along with it.
    path: String,
    remote: IpAddr,
    key: Option<Arc<str>>,
    failure: Option<String>,
}

impl Exchange {
    pub(super) fn begin(metrics: &Metrics, logs: Option<&Logs>, id: &Arc<str>, parts: &Parts, remote: IpAddr) -> Self {
        let (method, path) = (&parts.method, parts.uri.path());
        let kind = Kind::of(method, path);
        metrics.begin(kind);
        let told = |logs: &Logs| Told {
            logs: logs.clone(),
            id: Arc::clone(id),
            method: kind.method().map_or_else(|| cut(method.as_str(), METHOD_BYTES).into(), Cow::Borrowed),
            path: cut(path, PATH_BYTES),
            remote,
            key: None,
            failure: None,
        };
        Self { metrics: metrics.clone(), told: logs.map(told), begun: Instant::now(), kind, status: 0, bytes: 0 }
    }

    pub(super) fn answered(&mut self, status: StatusCode, key: Option<Arc<str>>) {
        self.status = status.as_u16();
        if let Some(told) = &mut self.told {
            told.key = key;
        }
    }

    pub(super) fn record(self, body: Body) -> Recorded {
        Recorded { body, exchange: self }
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let duration = self.begun.elapsed();
        self.metrics.end(self.kind, self.status, duration);
        let Some(told) = &self.told else { return };
        let failure = told.failure.as_deref().or((self.status == 0).then_some("the client left before the answer"));
        let line = Line {
            request: &told.id,
            method: &told.method,
            path: &told.path,
            status: self.status,
            bytes: self.bytes,
            took: duration,
            remote: told.remote,
            key: told.key.as_deref(),
            failure,
        };
        line.log(&told.logs);
    }
}

fn cut(text: &str, bytes: usize) -> String {
    let whole = text.len() <= bytes;
    if whole { text.to_owned() } else { format!("{}...", &text[..text.floor_char_boundary(bytes)]) }
}

/// The body of an answer that counts what is taken from it.
pub struct Recorded {
    body: Body,
    exchange: Exchange,
}

impl http_body::Body for Recorded {
    type Data = Bytes;
    type Error = BlobError;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BlobError>>> {
        let this = self.get_mut();
        let frame = Pin::new(&mut this.body).poll_frame(context);
        match &frame {
            Poll::Ready(Some(Ok(frame))) => this.exchange.bytes += frame.data_ref().map_or(0, |data| data.len() as u64),
            Poll::Ready(Some(Err(error))) => {
                if let Some(told) = &mut this.exchange.told {
                    told.failure = Some(format!("the answer broke off: {error}"));
                }
            }
            _ => {}
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_log_has_an_end() {
        assert_eq!(cut("GET", 3), "GET");
        assert_eq!(cut("GETS", 3), "GET...");
        assert_eq!(cut("aé", 2), "a...");
    }
}
