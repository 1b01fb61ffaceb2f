//! What comes before each endpoint: who calls, how often, and whether somebody must be signed in.

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::Request,
    middleware::Next,
    response::{IntoResponse as _, Response},
};
use http::request::Parts;
use roadstead_http_oci::{CallerLabel, Origin};

use crate::{
    caller::{Caller, identify},
    limits::Who,
    problem::Problem,
    query,
    rights::Row,
    service::Api,
};

/// What the door knows of a request, for all that comes after it.
#[derive(Clone)]
pub(crate) struct Asked {
    pub(crate) api: Api,
    pub(crate) origin: Origin,
    /// The client, or who speaks for it and is not trusted.
    pub(crate) client: IpAddr,
    /// Its id.
    pub(crate) request: Arc<str>,
}

/// What is checked for every operation of a path.
#[derive(Clone)]
pub(crate) struct Gate {
    pub(crate) row: Row,
    /// The names of the parameters that the document lists; `None`: others are no matter.
    pub(crate) parameters: Option<Arc<[String]>>,
}

/// Lets a request through to its endpoint, or answers it.
pub(crate) async fn enter(gate: Gate, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut label = None;
    let mut response = match admit(&gate, &mut parts, &mut label).await {
        Ok(()) => next.run(Request::from_parts(parts, body)).await,
        Err(problem) => problem.into_response(),
    };
    if let Some(label) = label {
        response.extensions_mut().insert(label);
    }
    response
}

async fn admit(gate: &Gate, parts: &mut Parts, label: &mut Option<CallerLabel>) -> Result<(), Problem> {
    let asked = parts.extensions.get::<Asked>().cloned();
    let Some(asked) = asked else {
        return Err(Problem::internal("a request came past the door"));
    };
    let caller = match gate.row {
        Row::Open => None,
        Row::SignedIn | Row::Right(_) => {
            let come = (&asked.origin, asked.client);
            Some(identify(&asked.api, come, &parts.method, &parts.headers).await)
        }
    };
    // Only a key that was proven: else anyone could use up the requests of another one.
    let key = caller.as_ref().and_then(|it| it.as_ref().ok()).and_then(|caller| caller.shared_key_id().cloned());
    *label = key.clone().map(CallerLabel);
    asked.api.limits().take(key.map_or_else(|| Who::client(asked.client), Who::Key))?;
    if let Some(caller) = caller.transpose()? {
        parts.extensions.insert(Caller::new(caller, gate.row, &asked));
    }
    gate.parameters.as_ref().map_or(Ok(()), |known| query::only_known(parts.uri.query(), known))
}
