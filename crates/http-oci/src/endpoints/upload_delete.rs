//! `DELETE` of an upload (end-14): it ends without a blob.

use http::{Response, StatusCode};
use roadstead_access::Action;
use roadstead_model::RepositoryName;

use crate::{answer::Answer, body::Body, call::Call, error::ApiError};

pub(crate) async fn delete(call: &Call<'_>, name: &RepositoryName, id: &str) -> Result<Response<Body>, ApiError> {
    let (place, gate) = call.enter(Action::Push, name).await?;
    call.core().cancel_upload(&gate, &place, id).await?;
    Ok(Answer::new(StatusCode::NO_CONTENT).empty())
}
