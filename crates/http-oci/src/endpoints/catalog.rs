//! `GET /v2/_catalog` (protocol.md I1-I3): names as this host's clients use them.

use http::{Response, StatusCode};
use roadstead_access::{Action, Target};
use roadstead_registry::CatalogOf;
use serde_json::json;

use crate::{
    answer::json,
    body::Body,
    call::Call,
    error::ApiError,
    link::{self, Paging},
    origin::Addressing,
};

pub(crate) async fn get(call: &Call<'_>) -> Result<Response<Body>, ApiError> {
    call.enter_at_large(Action::Catalog, Target::Catalog).await?;
    let paging = Paging::read(call.query());
    if paging.n == Some(0) {
        return Ok(json(StatusCode::OK, &json!({ "repositories": [] })));
    }
    let of = match &call.addressing {
        Addressing::Path => CatalogOf::Region,
        Addressing::Host(registry) | Addressing::Private { registry: Some(registry), .. } => {
            CatalogOf::Registry(registry.clone())
        }
        Addressing::Private { registry: None, .. } => {
            return Ok(json(StatusCode::OK, &json!({ "repositories": [] })));
        }
    };
    let page = call.core().catalog(&of, call.asker().view, paging.last.as_deref(), paging.limit()).await?;
    let mut response = json(StatusCode::OK, &json!({ "repositories": page.names }));
    link::add(&mut response, "/v2/_catalog", &paging, &page);
    Ok(response)
}
