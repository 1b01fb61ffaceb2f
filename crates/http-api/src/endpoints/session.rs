//! `/api/v1/session`: signing in and out with a password, for the console.

use axum::extract::State;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use roadstead_access::By;
use serde::Deserialize;
use utoipa::ToSchema;

use crate::{body::Json, caller::Asking, problem::Problem, service::Api};

/// Name and password of a person.
#[derive(Deserialize, ToSchema)]
pub(super) struct SignIn {
    name: String,
    password: String,
}

/// Sign in
///
/// The answer sets a cookie that scripts can't read and other sites can't use. After ten wrong tries one waits a quarter of an hour.
#[utoipa::path(post, path = "/api/v1/session", tag = "Session", request_body = SignIn,
    responses((status = 204, description = "Signed in.")))]
pub(super) async fn post_session(
    State(api): State<Api>,
    asking: Asking,
    Json(given): Json<SignIn>,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), Problem> {
    asking.refuse_other_sites()?;
    let by = By { who: String::new(), from: asking.from(), request: Some(asking.request()), ..By::default() };
    let session = api.sessions().sign_in(&given.name, given.password, &by).await?;
    let cookie = asking.cookie(&session.secret, session.lifetime.as_secs());
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie?)]))
}

/// Sign out
#[utoipa::path(delete, path = "/api/v1/session", tag = "Session",
    responses((status = 204, description = "Signed out; so was who had no session.")))]
pub(super) async fn delete_session(
    State(api): State<Api>,
    asking: Asking,
    headers: HeaderMap,
) -> Result<(StatusCode, [(HeaderName, HeaderValue); 1]), Problem> {
    asking.refuse_other_sites()?;
    if let Some(secret) = asking.session(&headers) {
        api.sessions().sign_out(secret).await.map_err(Problem::from)?;
    }
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, asking.cookie("", 0)?)]))
}
