//! `GET /api/v1/openapi.json`: the document of this API.

use http::{HeaderValue, header};

use crate::document::openapi_json;

/// This document
#[utoipa::path(
    get,
    path = "/api/v1/openapi.json",
    tag = "Documentation",
    responses((status = 200, description = "The OpenAPI document of this API.", body = serde_json::Value)),
)]
pub(super) async fn get_openapi() -> ([(header::HeaderName, HeaderValue); 1], &'static str) {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], openapi_json())
}
