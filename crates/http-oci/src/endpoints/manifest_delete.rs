//! `DELETE /v2/N/manifests/R` (end-9; protocol.md J1-J3): a digest takes its tags along, a tag goes alone.

use http::{Response, StatusCode};
use roadstead_access::Action;
use roadstead_model::{Reference, RepositoryName};

use crate::{answer::Answer, body::Body, call::Call, error::ApiError};

pub(crate) async fn delete(
    call: &Call<'_>,
    name: &RepositoryName,
    reference: &Reference,
) -> Result<Response<Body>, ApiError> {
    let (_, gate) = call.enter(Action::Delete, name).await?;
    call.core().delete_manifest(&gate, reference, &call.by()).await?;
    Ok(Answer::new(StatusCode::ACCEPTED).empty())
}
