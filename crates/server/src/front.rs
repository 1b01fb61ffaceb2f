//! The front door: every request gets an id, a place in the figures and a line in the log, and goes to who answers it.

mod exchange;

use std::collections::HashSet;
use std::future::ready;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::header::{AUTHORIZATION, CONNECTION, CONTENT_TYPE, HOST, HeaderName, TRANSFER_ENCODING, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, request};
use ipnet::IpNet;
use roadstead_access::{Access, Presented, Refusal};
use roadstead_http_api::ApiService;
use roadstead_http_oci::{Body, CallerLabel, Connection, OciService, RequestId, client_of, is_host, refusal};
use roadstead_model::{Reach, digest::hex_into};
use roadstead_registry::{Core, Error};

use crate::health::Health;
use crate::listener::{Peer, RequestBody, Respond};
use crate::logs::{Logs, REQUEST};
use crate::metrics::{MEDIA_TYPE, Metrics};
use exchange::Exchange;
pub use exchange::Recorded;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
/// Peers that are warned of at most: an address costs its sender nothing.
const STRANGERS: usize = 100;

/// Who may read `/metrics` on a listener, and what else it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Doors {
    /// A main listener: both APIs; figures for the access key of an administrator.
    Main,
    /// A main listener of a node that has a listener for figures.
    MainWithoutMetrics,
    /// The listener for figures: no API, no password.
    Metrics,
}

/// What answers the requests of a listener.
#[derive(Clone)]
pub struct Front(Arc<Parts>, Arc<Strangers>);

/// Peers that speak as a proxy does and are not trusted.
#[derive(Default)]
struct Strangers(Mutex<HashSet<IpAddr>>);

/// What the front door needs.
pub struct Parts {
    /// `/v2` and `/token`.
    pub oci: OciService,
    /// The management API.
    pub api: ApiService,
    /// For the rights to `/metrics`.
    pub access: Access,
    /// For the rights to `/metrics`.
    pub core: Core,
    /// For `/readyz`.
    pub health: Health,
    /// The figures.
    pub metrics: Metrics,
    /// Proxies whose `X-Forwarded-For` is believed in the log.
    pub trusted_proxies: Vec<IpNet>,
    /// Where each request gets a line, if it gets one.
    pub logs: Option<Logs>,
}

impl Front {
    /// The door of all listeners.
    pub fn new(parts: Parts) -> Self {
        Self(Arc::new(parts), Arc::default())
    }

    /// The door of one listener.
    pub fn door(&self, doors: Doors, reach: Reach) -> Door {
        Door { front: self.clone(), doors, reach }
    }

    /// The answer at a path that is no API's.
    async fn own(&self, parts: &request::Parts, doors: Doors, client: IpAddr) -> (Response<Body>, Option<CallerLabel>) {
        let answer = match (parts.uri.path(), doors) {
            ("/healthz", _) => reading(&parts.method, || plain(StatusCode::OK, "ok\n")),
            ("/readyz", _) => self.ready().await,
            ("/metrics", Doors::Metrics) => reading(&parts.method, || self.figures()),
            ("/metrics", Doors::Main) => self.figures_for_administrators(&parts.headers, client).await,
            (_, Doors::Metrics) | ("/metrics", Doors::MainWithoutMetrics) => not_found(),
            _ => refusal(StatusCode::NOT_FOUND, "UNSUPPORTED", "there is nothing at this path"),
        };
        (answer, None)
    }

    async fn ready(&self) -> Response<Body> {
        match self.0.health.trouble().await.as_slice() {
            [] => plain(StatusCode::OK, "ready\n"),
            trouble => plain(StatusCode::SERVICE_UNAVAILABLE, format!("{}\n", trouble.join("\n"))),
        }
    }

    fn figures(&self) -> Response<Body> {
        let mut answer = plain(StatusCode::OK, self.0.metrics.page());
        answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(MEDIA_TYPE));
        answer
    }

    /// HTTP Basic with the living access key of an administrator: to all others there is nothing here.
    async fn figures_for_administrators(&self, headers: &HeaderMap, client: IpAddr) -> Response<Body> {
        let Some(authorization) = headers.get(AUTHORIZATION).and_then(|value| value.to_str().ok()) else {
            let mut answer = plain(StatusCode::UNAUTHORIZED, "sign in with the access key of an administrator\n");
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"metrics\""));
            return answer;
        };
        let caller = match self.0.access.authenticate(Some(authorization), "metrics", client).await {
            Ok(caller) => caller,
            Err(Refusal::Unavailable(_)) => return unavailable(),
            Err(_) => return not_found(),
        };
        if caller.presented() != Presented::Basic {
            return not_found();
        }
        match self.0.core.facts_of(caller.key()).await {
            Ok(facts) if facts.key.as_ref().is_some_and(|key| key.living && key.administrator) => self.figures(),
            Err(Error::Unavailable(_)) => unavailable(),
            _ => not_found(),
        }
    }
}

/// A [`Front`] as one listener shows it.
#[derive(Clone)]
pub struct Door {
    front: Front,
    doors: Doors,
    reach: Reach,
}

impl Respond for Door {
    type Body = Recorded;

    fn respond(self, request: Request<RequestBody>, peer: Peer) -> impl Future<Output = Response<Recorded>> + Send {
        let Self { front, doors, reach } = self;
        let (parts, body) = request.into_parts();
        let id = RequestId(request_id(&parts.headers));
        front.1.look(peer.remote.ip(), &parts.headers, &front.0.trusted_proxies);
        let client = client_of(peer.remote.ip(), &parts.headers, &front.0.trusted_proxies);
        let mut exchange = Exchange::begin(&front.0.metrics, front.0.logs.as_ref(), &id.0, &parts, client);
        let connection = Connection { remote: peer.remote, client, tls: peer.tls, reach };
        async move {
            let path = parts.uri.path();
            let has_apis = doors != Doors::Metrics;
            // Each by itself in a box: the future of every request would be as large as the largest, and is moved by those who poll it.
            let answer: BoxFuture<'_, _> = if let Some(misframed) = misframed(&parts, peer) {
                Box::pin(ready((misframed, None)))
            } else if has_apis && OciService::serves(path) {
                Box::pin(front.0.oci.handle(&parts, body, &connection, &id))
            } else if has_apis && ApiService::serves(path) {
                Box::pin(front.0.api.handle(Request::from_parts(parts, body), connection, id.clone()))
            } else {
                Box::pin(front.own(&parts, doors, client))
            };
            let (mut response, key) = REQUEST.scope(Arc::clone(&id.0), answer).await;
            if let Ok(value) = HeaderValue::from_str(&id.0) {
                response.headers_mut().insert(REQUEST_ID, value);
            }
            exchange.answered(response.status(), key.map(|CallerLabel(key)| key));
            response.map(|body| exchange.record(body))
        }
    }
}

impl Strangers {
    /// Warns once of a peer that says `X-Forwarded-Proto` and is not trusted: most often a proxy that was forgotten.
    fn look(&self, peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) {
        if self.is_new(peer, headers, trusted) {
            tracing::warn!(
                %peer,
                "X-Forwarded-Proto comes from a peer that is not in trusted_proxies, and is ignored: list it there if it is your proxy"
            );
        }
    }

    fn is_new(&self, peer: IpAddr, headers: &HeaderMap, trusted: &[IpNet]) -> bool {
        if !headers.contains_key(FORWARDED_PROTO) || trusted.iter().any(|network| network.contains(&peer)) {
            return false;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        seen.len() < STRANGERS && seen.insert(peer)
    }
}

/// The answer to a request that can't be understood, whatever it asks for; its connection is closed.
fn misframed(parts: &request::Parts, peer: Peer) -> Option<Response<Body>> {
    let (status, words) = misframing(parts, peer)?;
    let mut answer = refusal(status, "UNSUPPORTED", words);
    answer.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    Some(answer)
}

/// What is wrong with such a request (RFC 9112, 3.2 and 6.1; RFC 9113, 8.3.1).
fn misframing(parts: &request::Parts, peer: Peer) -> Option<(StatusCode, &'static str)> {
    if peer.head_too_large {
        return Some((StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE, "the request's headers are too large"));
    }
    if peer.two_lengths {
        let words = "a request has Content-Length or Transfer-Encoding, not both";
        return Some((StatusCode::BAD_REQUEST, words));
    }
    let headers = &parts.headers;
    let mut codings = headers.get_all(TRANSFER_ENCODING).iter();
    if let Some(coding) = codings.next()
        && !(coding.as_bytes().trim_ascii().eq_ignore_ascii_case(b"chunked") && codings.next().is_none())
    {
        return Some((StatusCode::BAD_REQUEST, "the only Transfer-Encoding that is understood is `chunked`"));
    }
    let mut hosts = headers.get_all(HOST).iter();
    let host = hosts.next();
    if parts.version == Version::HTTP_11 && host.is_none() || hosts.next().is_some() {
        return Some((StatusCode::BAD_REQUEST, "a request has one Host header"));
    }
    let host = host.filter(|host| !host.is_empty());
    let authority = parts.uri.authority().map(|authority| authority.as_str().as_bytes());
    let mut named = host.map(HeaderValue::as_bytes).into_iter().chain(authority);
    if !named.all(|name| str::from_utf8(name).is_ok_and(is_host)) {
        return Some((StatusCode::BAD_REQUEST, "what the request names as its host is not a host and a port"));
    }
    if parts.version == Version::HTTP_2
        && let (Some(host), Some(authority)) = (host, authority)
        && !host.as_bytes().eq_ignore_ascii_case(authority)
    {
        return Some((StatusCode::BAD_REQUEST, "the request names two hosts"));
    }
    None
}

/// A client's own id when it is sane, else a new one of 128 random bits.
fn request_id(headers: &HeaderMap) -> Arc<str> {
    let sane = |id: &&str| {
        (1..=128).contains(&id.len())
            && id
                .bytes()
                .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.' | b':' | b'=' | b'+' | b'/'))
    };
    let own = headers.get(REQUEST_ID).and_then(|value| value.to_str().ok()).filter(sane);
    own.map_or_else(|| hex_into(&rand::random::<[u8; 16]>(), &mut [0; 32]).into(), Arc::from)
}

fn reading(method: &Method, answer: impl FnOnce() -> Response<Body>) -> Response<Body> {
    if matches!(*method, Method::GET | Method::HEAD) {
        return answer();
    }
    plain(StatusCode::METHOD_NOT_ALLOWED, "this path knows GET and HEAD\n")
}

fn not_found() -> Response<Body> {
    plain(StatusCode::NOT_FOUND, "there is nothing at this path\n")
}

fn unavailable() -> Response<Body> {
    plain(StatusCode::SERVICE_UNAVAILABLE, "the database can't be reached at the moment\n")
}

fn plain(status: StatusCode, text: impl Into<Bytes>) -> Response<Body> {
    let mut answer = Response::new(Body::from(text.into()));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, HeaderValue::from_str(value).expect("a value"));
        }
        headers
    }

    #[test]
    fn a_sane_id_of_the_client_is_kept_and_any_other_is_replaced() {
        assert_eq!(&*request_id(&headers("x-request-id", &["a-1.B_2"])), "a-1.B_2");
        let long = "x".repeat(129);
        for wrong in ["", "a b", "a\"b", long.as_str()] {
            let id = request_id(&headers("x-request-id", &[wrong]));
            assert!(id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit()), "{id}");
        }
    }

    #[test]
    fn a_request_that_others_may_read_differently_is_refused() {
        let peer = Peer { remote: ([127, 0, 0, 1], 1).into(), tls: false, head_too_large: false, two_lengths: false };
        let ask = |version, given: &[(&str, &str)], peer| {
            let request =
                given.iter().fold(Request::builder().version(version), |it, (name, value)| it.header(*name, *value));
            misframing(&request.body(()).expect("a request").into_parts().0, peer).map(|(status, _)| status.as_u16())
        };
        let one = Version::HTTP_11;
        assert_eq!(ask(one, &[("host", "a")], peer), None);
        assert_eq!(ask(one, &[], peer), Some(400));
        assert_eq!(ask(one, &[("host", "a"), ("host", "a")], peer), Some(400));
        assert_eq!(ask(Version::HTTP_10, &[], peer), None);
        assert_eq!(ask(Version::HTTP_2, &[], peer), None);
        assert_eq!(ask(one, &[("host", "a"), ("transfer-encoding", "Chunked")], peer), None);
        for codings in [&["gzip, chunked"][..], &["chunked, chunked"], &["chunked", "chunked"], &["identity"]] {
            let given: Vec<_> =
                codings.iter().map(|coding| ("transfer-encoding", *coding)).chain([("host", "a")]).collect();
            assert_eq!(ask(one, &given, peer), Some(400), "{codings:?}");
        }
        for host in ["a", "a.b_c:5000", "[::1]:5000", "127.0.0.1", "a:", ""] {
            assert_eq!(ask(one, &[("host", host)], peer), None, "{host}");
        }
        for host in ["user@a", "a b", "a/b", "a:b", "a:99999", "a,b", "[::1", "a\"b", "a:1:2", ":5000"] {
            assert_eq!(ask(one, &[("host", host)], peer), Some(400), "{host}");
        }
        assert_eq!(ask(one, &[("host", "a")], Peer { two_lengths: true, ..peer }), Some(400));
    }

    #[test]
    fn a_proxy_that_was_forgotten_is_told_of_once() {
        let (strangers, trusted) = (Strangers::default(), ["10.0.0.0/8".parse().expect("a network")]);
        let forwarded = headers("x-forwarded-proto", &["https"]);
        let [known, unknown] = ["10.0.0.1", "192.0.2.1"].map(|text| text.parse::<IpAddr>().expect("an address"));
        assert!(!strangers.is_new(known, &forwarded, &trusted));
        assert!(!strangers.is_new(unknown, &HeaderMap::new(), &trusted));
        assert!(strangers.is_new(unknown, &forwarded, &trusted));
        assert!(!strangers.is_new(unknown, &forwarded, &trusted));
        let new = (0..1000)
            .filter(|host| strangers.is_new(IpAddr::from([192, 0, 3, (host % 250) as u8]), &forwarded, &trusted));
        assert_eq!(new.count(), STRANGERS - 1);
    }
}
