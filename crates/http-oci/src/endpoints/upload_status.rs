//! `GET` of an upload (end-13): what is stored of it, also at an old Location (protocol.md D8).

use http::{Response, StatusCode};
use roadstead_access::Action;
use roadstead_model::RepositoryName;

use super::upload;
use crate::{body::Body, call::Call, error::ApiError};

pub(crate) async fn get(call: &Call<'_>, name: &RepositoryName, id: &str) -> Result<Response<Body>, ApiError> {
    let (place, gate) = call.enter(Action::Push, name).await?;
    let stored = call.core().upload_status(&gate, &place, id).await?;
    Ok(upload::standing(StatusCode::NO_CONTENT, name, &stored))
}
