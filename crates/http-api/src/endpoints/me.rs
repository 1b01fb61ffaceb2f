//! `/api/v1/me`: who the caller is, and one's own password.

use axum::extract::State;
use http::StatusCode;
use roadstead_access::{Presented, SignInError, Subject};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::{body::Json, caller::Caller, problem::Problem, service::Api};

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
    /// A session of the console.
    Session,
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
        Presented::Session => CallerKind::Session,
        // Nobody without credentials gets here otherwise.
        Presented::Open | Presented::Nothing => CallerKind::Open,
    };
    Json(Me { kind, key_id: who.shared_key_id().map(ToString::to_string) })
}

/// A new password, and the one that there is.
#[derive(Deserialize, ToSchema)]
pub(super) struct OwnPassword {
    /// The one that there is. The first one is given by a system administrator.
    old: String,
    /// 12 to 128 characters.
    new: String,
}

/// Change my password
///
/// All sessions end.
#[utoipa::path(put, path = "/api/v1/me/password", tag = "Callers", request_body = OwnPassword,
    responses((status = 204, description = "The password was changed.")))]
pub(super) async fn put_my_password(
    State(api): State<Api>,
    caller: Caller,
    Json(given): Json<OwnPassword>,
) -> Result<StatusCode, Problem> {
    let allowed = caller.allow(&api, Subject::Region).await?;
    allowed.person()?;
    let name = super::named("name", &allowed.name)?;
    match api.sessions().change_password(&name, given.old, given.new, &allowed.by).await {
        Err(SignInError::Wrong) => Err(Problem::field("old", "is not your password")),
        changed => Ok(changed.map(|_| StatusCode::NO_CONTENT)?),
    }
}
