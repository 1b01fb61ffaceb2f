//! Figures for Prometheus. Labels have few values: never a name of a repository, registry or person.

use std::array;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use roadstead_blobs::MemoryBudget;

use crate::listener::Meter;

/// The media type of [`Metrics::page`].
pub const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Asked {
    method: &'static str,
    route: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: &'static str,
    status: u32,
}

/// The labels of methods and of kinds of paths; the last of each is that of all others.
const METHODS: [&str; 8] = ["GET", "HEAD", "PUT", "POST", "PATCH", "DELETE", "OPTIONS", "other"];
const ROUTES: [&str; 12] = [
    "manifest",
    "blob",
    "upload",
    "tags",
    "referrers",
    "catalog",
    "ping",
    "token",
    "api",
    "health",
    "metrics",
    "other",
];

/// What was asked for, as labels say it: never a name.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    method: usize,
    route: usize,
}

impl Kind {
    /// The kind of a request.
    pub(crate) fn of(method: &http::Method, path: &str) -> Self {
        let place = |labels: &[&str], label| labels.iter().position(|it| *it == label).unwrap_or(labels.len() - 1);
        Self { method: place(&METHODS, method.as_str()), route: place(&ROUTES, route_label(path)) }
    }

    /// The method, if it is one of those that are known.
    pub(crate) fn method(self) -> Option<&'static str> {
        Some(METHODS[self.method]).filter(|_| self.method < METHODS.len() - 1)
    }

    fn is_upload(self) -> bool {
        ROUTES[self.route] == "upload"
    }
}

/// The figures of one kind, once they were found by their labels.
#[derive(Default)]
struct Found {
    seconds: OnceLock<Histogram>,
    /// Those that were answered with 200.
    fine: OnceLock<Counter>,
}

/// All figures of a node.
#[derive(Clone)]
pub struct Metrics(Arc<Figures>);

struct Figures {
    registry: Registry,
    requests: Family<Answered, Counter>,
    seconds: Family<Asked, Histogram, fn() -> Histogram>,
    found: [[Found; ROUTES.len()]; METHODS.len()],
    received: Counter,
    sent: Counter,
    connections: Gauge,
    running: Gauge,
    uploads: Gauge,
    memory_free: Gauge,
    budget: MemoryBudget,
}

fn durations() -> Histogram {
    Histogram::new(exponential_buckets(0.001, 4.0, 10))
}

impl Metrics {
    /// Everything at zero. `budget` is what bodies may use of memory.
    pub fn new(budget: MemoryBudget) -> Self {
        let mut figures = Figures {
            registry: Registry::with_prefix("roadstead"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(durations),
            found: array::from_fn(|_| array::from_fn(|_| Found::default())),
            received: Counter::default(),
            sent: Counter::default(),
            connections: Gauge::default(),
            running: Gauge::default(),
            uploads: Gauge::default(),
            memory_free: Gauge::default(),
            budget,
        };
        let it = &mut figures;
        let build = Family::<[(&str, &str); 1], Gauge>::default();
        build.get_or_create(&[("version", env!("CARGO_PKG_VERSION"))]).set(1);
        it.registry.register("build_info", "The version of the program", build);
        it.registry.register(
            "http_requests",
            "Requests that were answered, 0 for clients that left",
            it.requests.clone(),
        );
        it.registry.register("http_request_seconds", "From headers to the last byte of the answer", it.seconds.clone());
        it.registry.register("http_received_bytes", "Bytes that clients sent, headers included", it.received.clone());
        it.registry.register("http_sent_bytes", "Bytes sent to clients, headers included", it.sent.clone());
        it.registry.register("http_connections", "Connections open now", it.connections.clone());
        it.registry.register("http_requests_running", "Requests under way now", it.running.clone());
        it.registry.register("uploads_running", "Requests under way now that send layers", it.uploads.clone());
        it.registry.register("memory_free_bytes", "What bodies may use of memory and do not", it.memory_free.clone());
        Self(Arc::new(figures))
    }

    /// All figures as Prometheus reads them.
    pub fn page(&self) -> String {
        self.0.memory_free.set(i64::try_from(self.0.budget.free()).unwrap_or(i64::MAX));
        let mut page = String::new();
        text::encode(&mut page, &self.0.registry).expect("writing to a String never fails");
        page
    }

    /// Bytes that have come and gone.
    pub(crate) fn traffic(&self) -> u64 {
        self.0.received.get() + self.0.sent.get()
    }

    /// A request has begun.
    pub(crate) fn begin(&self, kind: Kind) {
        self.0.running.inc();
        if kind.is_upload() {
            self.0.uploads.inc();
        }
    }

    /// A request is over; status 0 when the client left before its answer.
    pub(crate) fn end(&self, kind: Kind, status: u16, duration: Duration) {
        self.0.running.dec();
        if kind.is_upload() {
            self.0.uploads.dec();
        }
        let (method, route) = (METHODS[kind.method], ROUTES[kind.route]);
        let found = &self.0.found[kind.method][kind.route];
        let requests = || self.0.requests.get_or_create_owned(&Answered { method, route, status: u32::from(status) });
        if status == 200 {
            found.fine.get_or_init(requests).inc();
        } else {
            requests().inc();
        }
        let seconds = found.seconds.get_or_init(|| self.0.seconds.get_or_create_owned(&Asked { method, route }));
        seconds.observe(duration.as_secs_f64());
    }
}

impl Meter for Metrics {
    fn received(&self, bytes: u64) {
        self.0.received.inc_by(bytes);
    }

    fn sent(&self, bytes: u64) {
        self.0.sent.inc_by(bytes);
    }

    fn connections(&self, change: i64) {
        self.0.connections.inc_by(change);
    }
}

/// The kind of a path as a label. Names are read from the right: a repository may be called `blobs` (protocol.md A4).
fn route_label(path: &str) -> &'static str {
    match path {
        "/v2" | "/v2/" => return "ping",
        "/v2/_catalog" => return "catalog",
        "/token" => return "token",
        "/healthz" | "/readyz" => return "health",
        "/metrics" => return "metrics",
        "/api" => return "api",
        _ if path.starts_with("/api/") => return "api",
        _ if !path.starts_with("/v2/") => return "other",
        _ => {}
    }
    let mut parts = path.rsplit('/');
    match (parts.next(), parts.next(), parts.next()) {
        (Some("list"), Some("tags"), _) => "tags",
        (_, Some("uploads"), Some("blobs")) | (Some("uploads"), Some("blobs"), _) => "upload",
        (_, Some("manifests"), _) => "manifest",
        (_, Some("blobs"), _) => "blob",
        (_, Some("referrers"), _) => "referrers",
        _ => "other",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_never_holds_a_name() {
        for (path, label) in [
            ("/v2/", "ping"),
            ("/v2/main/secret/manifests/latest", "manifest"),
            ("/v2/main/blobs/blobs/sha256:00", "blob"),
            ("/v2/main/manifests/blobs/uploads/", "upload"),
            ("/v2/main/a/blobs/uploads/0123", "upload"),
            ("/v2/main/manifests/tags/list", "tags"),
            ("/v2/main/a/referrers/sha256:00", "referrers"),
            ("/api", "api"),
            ("/api/v1/projects/secret", "api"),
            ("/apiary", "other"),
            ("/whatever/secret", "other"),
        ] {
            assert_eq!(route_label(path), label, "{path}");
        }
        let secret = http::Method::from_bytes(b"SECRET").expect("a method");
        assert_eq!(Kind::of(&secret, "/v2/").method(), None);
        for route in ["/v2/", "/v2/_catalog", "/token", "/healthz", "/metrics", "/v2/a/tags/list", "/v2/a/referrers/b"]
        {
            assert_eq!(ROUTES[Kind::of(&http::Method::GET, route).route], route_label(route));
        }
    }

    #[test]
    fn what_was_answered_is_on_the_page() {
        let metrics = Metrics::new(MemoryBudget::new(64));
        let upload = Kind::of(&http::Method::PATCH, "/v2/main/a/blobs/uploads/0123");
        metrics.begin(upload);
        assert!(metrics.page().contains("roadstead_uploads_running 1"));
        metrics.end(upload, 202, Duration::from_millis(3));
        let manifest = Kind::of(&http::Method::GET, "/v2/main/a/manifests/v1");
        for status in [200, 404, 200] {
            metrics.begin(manifest);
            metrics.end(manifest, status, Duration::ZERO);
        }
        metrics.received(7);
        let page = metrics.page();
        assert!(
            page.contains("roadstead_http_requests_total{method=\"PATCH\",route=\"upload\",status=\"202\"} 1"),
            "{page}"
        );
        for line in [
            "requests_total{method=\"GET\",route=\"manifest\",status=\"200\"} 2",
            "requests_total{method=\"GET\",route=\"manifest\",status=\"404\"} 1",
            "seconds_count{method=\"GET\",route=\"manifest\"} 3",
        ] {
            assert!(page.contains(line), "{line}: {page}");
        }
        assert!(page.contains("roadstead_http_received_bytes_total 7") && page.contains("roadstead_uploads_running 0"));
        assert!(page.ends_with("# EOF\n"));
    }
}
