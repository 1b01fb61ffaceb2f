//! `GET /v2/N/tags/list` (end-8; protocol.md H1-H7).

use http::{Response, StatusCode};
use roadstead_access::Action;
use roadstead_model::RepositoryName;
use serde_json::json;

use crate::{
    answer::json,
    body::Body,
    call::Call,
    error::ApiError,
    link::{self, Paging},
};

pub(crate) async fn get(call: &Call<'_>, name: &RepositoryName) -> Result<Response<Body>, ApiError> {
    let (_, gate) = call.enter(Action::ListTags, name).await?;
    let paging = Paging::read(call.query());
    // With n=0 one is asked for all the same: that there is such a repository must still be found out.
    let mut page = call.core().tags(&gate, paging.last.as_deref(), paging.limit().max(1)).await?;
    if paging.n == Some(0) {
        page.names.clear();
    }
    let mut response = json(StatusCode::OK, &json!({ "name": name.as_str(), "tags": page.names }));
    link::add(&mut response, &format!("/v2/{name}/tags/list"), &paging, &page);
    Ok(response)
}
