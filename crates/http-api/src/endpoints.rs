//! One file an endpoint, and the one list of them.

mod me;
mod openapi;

use utoipa_axum::routes;

use crate::{endpoint::Endpoints, rights::Row};

/// All endpoints, each with its row of the permission matrix.
pub fn all() -> Endpoints {
    Endpoints::new().with(Row::Open, routes!(openapi::get_openapi)).with(Row::SignedIn, routes!(me::get_me))
}
