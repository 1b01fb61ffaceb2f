//! One request from its headers to the last byte of its answer, for the log and the figures.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{Method, Request, StatusCode, Uri};
use http_body::{Frame, SizeHint};
use roadstead_blobs::BlobError;
use roadstead_http_oci::Body;
use tokio::time::Instant;

use crate::logs::{Line, Logs};
use crate::metrics::{Metrics, method_label, route_label};

/// What is known of a request so far. It is told when this is dropped: after the answer, or when the client has left.
pub(super) struct Exchange {
    metrics: Metrics,
    told: Option<Told>,
    begun: Instant,
    method: &'static str,
    route: &'static str,
    status: u16,
    bytes: u64,
}

/// What the log says beyond the figures.
struct Told {
    logs: Logs,
    id: Arc<str>,
    method: Method,
    uri: Uri,
    remote: IpAddr,
    key: Option<String>,
    failure: Option<String>,
}

impl Exchange {
    pub(super) fn begin<B>(
        metrics: &Metrics,
        logs: Option<&Logs>,
        id: &Arc<str>,
        request: &Request<B>,
        remote: IpAddr,
    ) -> Self {
        let (method, uri) = (request.method(), request.uri());
        let route = route_label(uri.path());
        metrics.begin(route);
        let told = |logs: &Logs| Told {
            logs: logs.clone(),
            id: Arc::clone(id),
            method: method.clone(),
            uri: uri.clone(),
            remote,
            key: None,
            failure: None,
        };
        Self {
            metrics: metrics.clone(),
            told: logs.map(told),
            begun: Instant::now(),
            method: method_label(method),
            route,
            status: 0,
            bytes: 0,
        }
    }

    pub(super) fn answered(&mut self, status: StatusCode, key: Option<String>) {
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
        self.metrics.end(self.method, self.route, self.status, duration);
        let Some(told) = &self.told else { return };
        let failure = told.failure.as_deref().or((self.status == 0).then_some("the client left before the answer"));
        let line = Line {
            request: &told.id,
            method: told.method.as_str(),
            path: told.uri.path(),
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
