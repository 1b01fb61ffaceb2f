//! The door of `/v2` and `/token`.

use std::{fmt::Display, sync::Arc};

use bytes::Bytes;
use futures::FutureExt as _;
use http::{HeaderMap, HeaderValue, Method, Response, header, request::Parts};
use roadstead_access::{Access, Caller, Presented};
use roadstead_model::Reach;
use roadstead_registry::Core;

use crate::{
    answer,
    body::Body,
    call::{Call, asks},
    endpoints as at,
    error::{ApiError, RequestId},
    incoming::{Incoming, Room},
    origin::{Connection, Naming},
    private::PrivateNames,
    route::{self, Route},
};

/// Settings of the API.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Hosts, proxies and the external address.
    pub naming: Naming,
    /// Most bytes of a manifest (at least 4 MiB by protocol.md F5).
    pub manifest_bytes: usize,
    /// Blobs may be served by redirect to the bucket, where it can do that, to clients of public listeners.
    pub redirect: bool,
    /// The same for those of private listeners.
    pub private_redirect: bool,
}

impl Settings {
    /// Whether blobs may be served by redirect on listeners of this kind.
    pub(crate) fn redirects(&self, reach: Reach) -> bool {
        match reach {
            Reach::Public => self.redirect,
            Reach::Private => self.private_redirect,
        }
    }
}

/// The access key id that a request came with, for the access log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerLabel(pub Arc<str>);

/// The OCI Distribution API and the token endpoint. Cheap to clone.
#[derive(Clone)]
pub struct OciService(Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) core: Core,
    pub(crate) access: Access,
    pub(crate) settings: Settings,
    pub(crate) room: Room,
    private: PrivateNames,
}

/// Memory that the manifests and forms under way may take together, in KiB.
const ROOM_KIB: usize = 128 << 10;

impl OciService {
    /// The API over a core, with these rights and settings.
    pub fn new(core: Core, access: Access, settings: Settings) -> Self {
        Self(Arc::new(Shared { core, access, settings, room: Room::new(ROOM_KIB), private: PrivateNames::new() }))
    }

    /// Whether a path is this service's: `/v2`, all below it, and `/token`.
    pub fn serves(path: &str) -> bool {
        path == "/token" || path.strip_prefix("/v2").is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
    }

    /// Answers a request. Never fails: what goes wrong is an answer too, and logged here if it is our fault.
    ///
    /// Errors of the server name `id`. The label is absent for anonymous callers.
    pub fn handle<'a, B>(
        &'a self,
        parts: &'a Parts,
        body: B,
        connection: &'a Connection,
        id: &'a RequestId,
    ) -> impl Future<Output = (Response<Body>, Option<CallerLabel>)> + Send + 'a
    where
        B: http_body::Body<Data = Bytes> + Send + Unpin + 'static,
        B::Error: Display,
    {
        let (incoming, watch) = Incoming::new(body, parts.version, &parts.headers);
        async move {
            let mut label = None;
            let answer = self.route(parts, incoming, connection, id, &mut label).await;
            let mut response = answer.unwrap_or_else(|error| error.into_response(Some(id)));
            answer::complete(&mut response, parts.method == Method::HEAD);
            if watch.must_close() {
                response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
            }
            (response, label)
        }
    }

    async fn route(
        &self,
        parts: &Parts,
        incoming: Incoming,
        connection: &Connection,
        id: &RequestId,
        label: &mut Option<CallerLabel>,
    ) -> Result<Response<Body>, ApiError> {
        let shared = &*self.0;
        let (origin, mut addressing) = shared.settings.naming.read(connection, &parts.uri, &parts.headers);
        let route = route::parse(&parts.method, parts.uri.path())?;
        if matches!(route, Route::TokenGet | Route::TokenPost) {
            shared.private.find(&shared.core, &mut addressing).await?;
            let asked = at::token::Asked {
                access: &shared.access,
                origin: &origin,
                addressing: &addressing,
                room: &shared.room,
                client: connection.client,
            };
            return match route {
                Route::TokenPost => asked.post(incoming).boxed().await,
                _ => asked.get(&parts.uri, authorization(&parts.headers)).boxed().await,
            };
        }

        let caller =
            shared.access.authenticate(authorization(&parts.headers), &origin.audience(), connection.client).await;
        let (caller, refusal) = match caller {
            Ok(caller) => (caller, None),
            Err(refusal) => (Caller::nobody(), Some(refusal)),
        };
        let mut call = Call { shared, origin, addressing, caller, parts, client: connection.client, id };
        if let Some(refusal) = refusal {
            let (action, name) = asks(&route);
            return Err(call.refused(&refusal, action, name));
        }
        if call.caller.presented() == Presented::Nothing {
            let (action, name) = asks(&route);
            call.turn_away_nobody(action, name)?;
        } else {
            *label = call.caller.shared_key_id().cloned().map(CallerLabel);
        }
        shared.private.find(&shared.core, &mut call.addressing).await?;
        dispatch(&call, &route, incoming).await
    }
}

/// What pulls ask most goes straight on. All else is boxed: it keeps more on its way, and the future of every request would be as large.
async fn dispatch(call: &Call<'_>, route: &Route, body: Incoming) -> Result<Response<Body>, ApiError> {
    let boxed = match route {
        Route::ManifestGet(name, reference) => return at::manifest_get::get(call, name, reference).await,
        Route::BlobGet(name, digest) => return at::blob_get::get(call, name, digest).await,
        Route::Ping => at::ping::get(call).boxed(),
        Route::Catalog => at::catalog::get(call).boxed(),
        Route::Tags(name) => at::tags::get(call, name).boxed(),
        Route::Referrers(name, digest) => at::referrers::get(call, name, digest).boxed(),
        Route::ManifestPut(name, reference) => at::manifest_put::put(call, name, reference.clone(), body).boxed(),
        Route::ManifestDelete(name, reference) => at::manifest_delete::delete(call, name, reference).boxed(),
        Route::BlobDelete(name, digest) => at::blob_delete::delete(call, name, digest).boxed(),
        Route::UploadBegin(name) => at::upload_begin::post(call, name, body).boxed(),
        Route::UploadStatus(name, id) => at::upload_status::get(call, name, id).boxed(),
        Route::UploadPatch(name, id) => at::upload_patch::patch(call, name, id, body).boxed(),
        Route::UploadPut(name, id) => at::upload_put::put(call, name, id, body).boxed(),
        Route::UploadDelete(name, id) => at::upload_delete::delete(call, name, id).boxed(),
        Route::TokenGet | Route::TokenPost => return Err(route::RouteError::Path.into()),
    };
    boxed.await
}

/// The `Authorization` of a request. A header that is no text is one that no scheme knows, and so are two of them: who stands in front may have looked at the other one.
pub fn authorization(headers: &HeaderMap) -> Option<&str> {
    let mut all = headers.get_all(header::AUTHORIZATION).iter();
    let first = all.next()?;
    Some(first.to_str().ok().filter(|_| all.next().is_none()).unwrap_or("unreadable"))
}

#[cfg(test)]
mod tests;
