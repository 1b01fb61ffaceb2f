//! The door of `/api`: what all requests and all answers have in common.

use std::{
    convert::Infallible,
    fmt::Display,
    sync::{Arc, OnceLock},
};

use axum::Router;
use bytes::Bytes;
use futures::TryStreamExt;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use roadstead_access::{Access, Entropy, People, Sessions};
use roadstead_http_oci::{Body, CallerLabel, Connection, Incoming, Naming, RequestId, Room};
use roadstead_registry::Core;
use tower::ServiceExt as _;

use crate::{
    endpoint::Endpoints,
    endpoints,
    enter::Asked,
    limits::{Limits, Ticks},
    problem::Problem,
    viewer,
};

/// Memory that the bodies of requests under way may take together, in KiB: 256 of the largest.
const ROOM_KIB: usize = 16 << 10;
const NOSNIFF: HeaderValue = HeaderValue::from_static("nosniff");
/// What somebody may see today is nothing for a cache.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// The management API. Cheap to clone.
#[derive(Clone)]
pub struct ApiService {
    api: Api,
    /// Made with the first request: what describes the operations takes megabytes while it is made, and many nodes never need it.
    router: Arc<OnceLock<Router>>,
    endpoints: fn() -> Endpoints,
}

/// What endpoints work with: `State(api): State<Api>`. Cheap to clone.
#[derive(Clone)]
pub struct Api(Arc<Shared>);

struct Shared {
    core: Core,
    access: Access,
    people: People,
    sessions: Sessions,
    naming: Naming,
    limits: Limits,
    room: Room,
}

impl Api {
    /// Registries, images and all that is stored.
    pub fn core(&self) -> &Core {
        &self.0.core
    }

    /// Keys, people and rights.
    pub fn access(&self) -> &Access {
        &self.0.access
    }

    /// People, projects, members and robots.
    pub fn people(&self) -> &People {
        &self.0.people
    }

    /// Who is signed in with a password.
    pub fn sessions(&self) -> &Sessions {
        &self.0.sessions
    }

    /// By which names clients come.
    pub(crate) fn naming(&self) -> &Naming {
        &self.0.naming
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.0.limits
    }

    pub(crate) fn room(&self) -> &Room {
        &self.0.room
    }
}

impl ApiService {
    /// The API over a core, with these rights. `naming` is what `/v2` has: a token is good for one host, here as there.
    pub fn new(core: Core, access: Access, naming: Naming) -> Self {
        Self::of(endpoints::all, core, access, naming, Ticks::of_machine())
    }

    fn of(endpoints: fn() -> Endpoints, core: Core, access: Access, naming: Naming, ticks: Ticks) -> Self {
        let limits = Limits::new(ticks);
        let people = People::new(core.db().clone());
        let sessions = Sessions::new(core.db().clone(), Entropy::system());
        let room = Room::new(ROOM_KIB);
        let api = Api(Arc::new(Shared { core, access, people, sessions, naming, limits, room }));
        Self { router: Arc::default(), endpoints, api }
    }

    fn router(&self) -> Router {
        let make = || {
            let (router, _) = (self.endpoints)().into_parts();
            router.merge(viewer::routes()).with_state(self.api.clone())
        };
        self.router.get_or_init(make).clone()
    }

    /// Whether a path is this service's: `/api` and all below it.
    pub fn serves(path: &str) -> bool {
        path.strip_prefix("/api").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers a request. Never fails: what goes wrong is an answer too, and logged here if it is our fault.
    ///
    /// Errors name `id`. The label is absent for callers without an access key.
    pub async fn handle<B>(
        &self,
        request: Request<B>,
        connection: Connection,
        id: RequestId,
    ) -> (Response<Body>, Option<CallerLabel>)
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Display,
    {
        let (parts, body) = request.into_parts();
        let (incoming, watch) = Incoming::new(body, parts.version, &parts.headers);
        let head = parts.method == Method::HEAD;
        let naming = &self.api.0.naming;
        let (origin, _) = naming.read(&connection, &parts.uri, &parts.headers);
        let client = connection.client;
        let mut request = Request::from_parts(parts, axum::body::Body::from_stream(incoming.stream));
        request.extensions_mut().insert(Asked { api: self.api.clone(), origin, client, request: Arc::clone(&id.0) });
        let answered: Result<_, Infallible> = self.router().oneshot(request).await;
        let Ok(mut answer) = answered;
        let label = answer.extensions_mut().remove();
        let mut response = finish(answer, &id, head).await;
        if watch.must_close() {
            response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        (response, label)
    }
}

/// Put into the extensions of an answer, it has its body sent as it comes, whose size nobody knows beforehand. What fails then breaks the
/// answer off.
#[derive(Clone, Copy)]
pub(crate) struct Streamed;

/// Writes problems, those that axum has made too, and gives the answer what all have.
async fn finish(answer: axum::response::Response, id: &RequestId, head: bool) -> Response<Body> {
    let (mut parts, body) = answer.into_parts();
    let told: Option<Problem> = parts.extensions.remove();
    let streamed: Option<Streamed> = parts.extensions.remove();
    if let Some(Streamed) = streamed.filter(|_| told.is_none()) {
        parts.headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
        parts.headers.insert(header::CACHE_CONTROL, NO_STORE);
        let pieces = TryStreamExt::map_err(body.into_data_stream(), |error| error.to_string());
        return Response::from_parts(parts, if head { Body::Empty } else { Body::stream(pieces) });
    }
    let bytes = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let mut response = if let Some(problem) = told {
        problem.render(id)
    } else if parts.status.is_client_error() || parts.status.is_server_error() {
        Problem::of_axum(parts.status, &String::from_utf8_lossy(&bytes), &parts.headers).render(id)
    } else {
        Response::from_parts(parts, Body::from(bytes))
    };
    let length = response.body().size();
    let bodiless = matches!(response.status(), StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, NOSNIFF);
    headers.entry(header::CACHE_CONTROL).or_insert(NO_STORE);
    if !bodiless {
        headers.entry(header::CONTENT_LENGTH).or_insert(length.into());
    }
    if head || bodiless {
        *response.body_mut() = Body::Empty;
    }
    response
}

#[cfg(test)]
mod tests;
