//! `PATCH` of an upload (end-5): more bytes, with or without a Content-Range, with or without a length.

use http::{Response, StatusCode};
use roadstead_access::Action;
use roadstead_model::RepositoryName;

use super::upload;
use crate::{body::Body, call::Call, error::ApiError, incoming::Incoming};

pub(crate) async fn patch(
    call: &Call<'_>,
    name: &RepositoryName,
    id: &str,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let (place, gate) = call.enter(Action::Push, name).await?;
    let chunk = upload::chunk(call, name, (&place, &gate), id, body.length).await?;
    let range = chunk.and_then(|chunk| chunk.inclusive());
    let stored = call.core().append(&gate, &place, id, range, body.into_core()).await;
    let stored = stored.map_err(|error| upload::failed(name, id, error, range.is_some()))?;
    Ok(upload::standing(StatusCode::ACCEPTED, name, &stored))
}
