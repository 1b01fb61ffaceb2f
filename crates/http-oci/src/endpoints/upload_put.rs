//! `PUT` of an upload (end-6): the last bytes, if any are left, and the digest of all. Repeating it is fine (protocol.md D19b).

use http::Response;
use roadstead_access::Action;
use roadstead_model::RepositoryName;

use super::upload;
use crate::{body::Body, call::Call, error::ApiError, incoming::Incoming};

pub(crate) async fn put(
    call: &Call<'_>,
    name: &RepositoryName,
    id: &str,
    body: Incoming,
) -> Result<Response<Body>, ApiError> {
    let (place, gate) = call.enter(Action::Push, name).await?;
    let digest = upload::named_digest(call)?;
    let digest = digest.ok_or_else(|| ApiError::digest("the last request of an upload needs ?digest="))?;
    let chunk = upload::chunk(call, name, (&place, &gate), id, body.length).await?;
    let range = chunk.and_then(|chunk| chunk.inclusive());
    let finished = call.core().finish_upload(&gate, &place, id, &digest, range, body.into_core()).await;
    finished.map_err(|error| upload::failed(name, id, error, range.is_some()))?;
    Ok(upload::created(name, &digest))
}
