//! `GET /api/v1/me`: who the caller is.

use roadstead_access::Presented;
use serde::Serialize;
use utoipa::ToSchema;

use crate::{body::Json, caller::Caller};

/// Who the caller is.
#[derive(Serialize, ToSchema)]
pub(super) struct Me {
    /// With what the request came.
    kind: CallerKind,
    /// The id of the access key, or of the one that the token was made for.
    #[serde(skip_serializing_if = "Option::is_none")]
    key_id: Option<String>,
}

/// With what a request came.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
enum CallerKind {
    /// Key id and secret of an access key.
    AccessKey,
    /// A token.
    Token,
    /// Nothing: the region is open to everybody.
    Open,
}

/// Who am I?
///
/// Tells who the caller is, and so whether its credentials are right.
#[utoipa::path(
    get,
    path = "/api/v1/me",
    tag = "Callers",
    responses((status = 200, description = "Who the caller is.", body = Me)),
)]
pub(super) async fn get_me(caller: Caller) -> Json<Me> {
    let who = caller.who();
    let kind = match who.presented() {
        Presented::Basic => CallerKind::AccessKey,
        Presented::Token => CallerKind::Token,
        // Nobody without credentials gets here otherwise.
        Presented::Open | Presented::Nothing => CallerKind::Open,
    };
    Json(Me { kind, key_id: who.shared_key_id().map(ToString::to_string) })
}
