//! `DELETE /v2/N/blobs/D` (end-10; protocol.md J5): gone from this repository alone, and refused while an artifact of it holds the blob.

use http::{Response, StatusCode};
use roadstead_access::Action;
use roadstead_model::{Digest, RepositoryName};

use crate::{answer::Answer, body::Body, call::Call, error::ApiError};

pub(crate) async fn delete(
    call: &Call<'_>,
    name: &RepositoryName,
    digest: &Digest,
) -> Result<Response<Body>, ApiError> {
    let (_, gate) = call.enter(Action::Delete, name).await?;
    call.core().delete_blob(&gate, digest, &call.by()).await?;
    Ok(Answer::new(StatusCode::ACCEPTED).digest(digest).empty())
}
